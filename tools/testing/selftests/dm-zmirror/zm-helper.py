#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Does for the tests of dm-zmirror what many programs would have to be started
for, which takes longer than the work itself on an emulated machine.

Reads commands from standard input, one a line, with tabs between the words. The
answer to each is a line with the number of the error (0 is none) and the number
of lines that follow, and then these. Sizes and places are bytes.

Device-mapper; a TABLE is lines with semicolons between:
create NAME [TABLE]             make a device; with a table, resume it
load NAME TABLE [readonly]      load a table
clear NAME                      forget the table that was loaded
suspend NAME [noflush] [nolockfs]
resume NAME [noflush] [nolockfs]
message NAME TEXT               answers with what the target does, if it does
status NAME
table NAME [inactive]
info NAME                       minor, open count, event number, and
                                "active" or "suspended"
remove NAME

Loop devices and files:
attach FILE BLOCK [readonly] [partscan]     answers with the device
detach DEVICE
addpart DEVICE NUMBER START LENGTH      tell the kernel of a partition, in sectors
make FILE SIZE                  a sparse file; K, M, G or T may follow the size
link TARGET PATH                a symbolic link
unlink PATH

Content; devices are read and written past their cache:
fill FILE BYTES [EVERY [FIRST [SEED]]]
        write every EVERY-th piece of BYTES, from number FIRST on, up to the end;
        no 512 bytes of it are zero or occur twice
poke FILE OFFSET...             write one byte that is not zero at each offset
copy FILE DEVICE BYTES          write a file in pieces of BYTES
io DEVICE KIND:START:LENGTH...  one request after another
equal FILE START FILE START LENGTH          answers with what differs
zero FILE START LENGTH          answers with what is not zero
allocated FILE                  answers with the bytes that it occupies

log TEXT                        write to the kernel's log

There is one command of its own, to be used in the background:

zm-helper.py storm SECONDS SEED START LENGTH KIND[,KIND...] DEVICE...

One thread for each device writes, zeroes and discards at random within LENGTH
bytes from START on, each regardless of the others. The devices are different
names of one. What the device says it cannot do is no error. Prints how many of
each kind were done.

Kinds: write, dsync (a write with FUA), zeroes (a payload of zeroes), zeroout
(BLKZEROOUT), punch, discard, flush.
"""
import contextlib
import ctypes
import errno
import fcntl
import itertools
import mmap
import os
import queue
import random
import stat
import struct
import sys
import threading
import time
import traceback

SECTOR = 512
LARGEST = 1 << 20       # bytes in one request

# ---------------------------------------------------------------------------
# Device-mapper
# ---------------------------------------------------------------------------

# struct dm_ioctl, and struct dm_target_spec
HEADER = struct.Struct("=3I II I i I I I Q 128s 129s 7x")
SPEC = struct.Struct("=QQiI16s")
DM_SIZE = 1 << 16

CREATE, REMOVE, SUSPEND, STATUS, WAIT, LOAD, CLEAR = 3, 4, 6, 7, 8, 9, 10
TABLE, MESSAGE = 12, 14

FLAGS = {"readonly": 1, "suspend": 2, "table": 16, "nolockfs": 1 << 10,
         "noflush": 1 << 11, "inactive": 1 << 12}
SUSPENDED = 2
DATA_OUT = 1 << 16


def dm(number, name, flags=(), targets=0, payload=b"", event=0, size=DM_SIZE):
    """Returns the header's fields and the data behind it."""
    bits = sum(FLAGS[flag] for flag in flags)
    header = HEADER.pack(4, 0, 0, size, HEADER.size, targets, 0, bits, event,
                         0, 0, name.encode(), b"")
    buf = bytearray((header + payload).ljust(size, b"\0"))
    request = 3 << 30 | HEADER.size << 16 | 0xFD << 8 | number
    with open("/dev/mapper/control", "rb") as control:
        fcntl.ioctl(control, request, buf)
    fields = HEADER.unpack_from(buf)
    return fields, buf[fields[4]:]


def dm_load(name, table, *flags):
    payload = b""
    lines = table.split(";")
    for line in lines:
        start, length, target, *params = line.strip().split(" ", 3)
        text = (params[0] if params else "").encode() + b"\0"
        text = text.ljust((len(text) + 7) & ~7, b"\0")
        payload += SPEC.pack(int(start), int(length), 0, SPEC.size + len(text),
                             target.encode()) + text
    dm(LOAD, name, flags, len(lines), payload)


def dm_create(name, table=None):
    dm(CREATE, name)
    if table is None:
        return
    try:
        dm_load(name, table)
        dm(SUSPEND, name)
    except OSError:
        dm(REMOVE, name)
        raise


def dm_clear(name):
    dm(CLEAR, name)


def dm_suspend(name, *flags):
    dm(SUSPEND, name, ("suspend",) + flags)


def dm_resume(name, *flags):
    dm(SUSPEND, name, flags)


def dm_message(name, text):
    fields, data = dm(MESSAGE, name,
                      payload=struct.pack("=Q", 0) + text.encode() + b"\0")
    if not fields[7] & DATA_OUT:
        return []
    return data[:data.index(0)].decode().splitlines()


def dm_remove(name):
    """Whoever looks at new devices may keep one open for a moment."""
    deadline = time.monotonic() + 3
    while True:
        try:
            dm(REMOVE, name)
            return
        except OSError as error:
            if error.errno != errno.EBUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.05)


class Waiter(threading.Thread):
    """Waits for the events of a device, as dmsetup wait does."""

    def __init__(self, name):
        super().__init__(daemon=True)
        self.name_of = name
        self.event = dm(STATUS, name)[0][8]
        self.seen = queue.Queue()
        self.enough = False

    def run(self):
        while not self.enough:
            try:
                # Others may run meanwhile only if the buffer is a small one.
                number = dm(WAIT, self.name_of, event=self.event,
                            size=1024)[0][8]
            except OSError:     # it is removed, which is an event as well
                return
            self.seen.put(number - self.event)
            self.event = number


def dm_cycles(name, count, *messages):
    """Sends messages in turn, each of which is to make one event. Tells of those
    that made none, or several."""
    waiter = Waiter(name)
    waiter.start()
    first = waiter.event
    for number in range(int(count)):
        message = messages[number % len(messages)]
        dm_message(name, message)
        try:
            got = waiter.seen.get(timeout=20)
        except queue.Empty:
            return ["no event after %s, the %dth" % (message, number + 1)]
        if got != 1:
            return ["%d events after %s" % (got, message)]
    time.sleep(0.3)
    got = dm(STATUS, name)[0][8] - first
    waiter.enough = True
    return [] if got == int(count) else ["%d events after %s" % (got, count)]


def dm_lines(name, *flags):
    fields, data = dm(TABLE, name, flags)
    lines, at = [], 0
    for _ in range(fields[5]):
        start, length, _, following, target = SPEC.unpack_from(data, at)
        text = data[at + SPEC.size:data.index(0, at + SPEC.size)].decode()
        lines.append("%d %d %s %s" % (start, length,
                                      target.rstrip(b"\0").decode(), text))
        at = following
    return [line.rstrip(" ") for line in lines]


def dm_table(name, *flags):
    return dm_lines(name, "table", *flags)


def dm_info(name):
    fields, _ = dm(STATUS, name)
    minor = fields[10] & 0xFF | fields[10] >> 12 & 0xFFF00
    state = "suspended" if fields[7] & SUSPENDED else "active"
    return ["%d %d %d %s" % (minor, fields[6], fields[8], state)]


# ---------------------------------------------------------------------------
# Loop devices and files
# ---------------------------------------------------------------------------

# struct loop_config: fd, block size, struct loop_info64 of which only the flags
# are set, and room for later fields
LOOP_CONFIG = struct.Struct("=II 52x I 176x 64x")
LOOP_FLAGS = {"readonly": 1, "partscan": 8}
LOOP_CTL_GET_FREE, LOOP_CONFIGURE, LOOP_CLR_FD = 0x4C82, 0x4C0A, 0x4C01


def loop_attach(path, block, *flags):
    """Someone else may be quicker to take the device that is free."""
    bits = sum(LOOP_FLAGS[flag] for flag in flags)
    mode = os.O_RDONLY if "readonly" in flags else os.O_RDWR
    backing = os.open(path, mode)
    while True:
        with open("/dev/loop-control", "rb") as control:
            number = fcntl.ioctl(control, LOOP_CTL_GET_FREE)
        device = "/dev/loop%d" % number
        fd = os.open(device, mode)
        try:
            fcntl.ioctl(fd, LOOP_CONFIGURE,
                        LOOP_CONFIG.pack(backing, int(block), bits))
            os.close(backing)
            return [device]
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise
        finally:
            os.close(fd)


def part_add(path, number, start, length):
    """struct blkpg_partition, and struct blkpg_ioctl_arg"""
    fields = struct.pack("=qqi64s64s4x", int(start) * SECTOR,
                         int(length) * SECTOR, int(number), b"", b"")
    part = ctypes.create_string_buffer(fields, len(fields))
    with open(path, "rb") as device:
        fcntl.ioctl(device, BLKPG, struct.pack(
            "@iiiP", BLKPG_ADD_PARTITION, 0, len(part), ctypes.addressof(part)))


def loop_detach(device):
    with open(device, "rb") as fd:
        fcntl.ioctl(fd, LOOP_CLR_FD)


def make(path, size):
    units = {"K": 10, "M": 20, "G": 30, "T": 40}
    length = (int(size[:-1]) << units[size[-1]] if size[-1] in units
              else int(size))
    with open(path, "xb") as file:
        file.truncate(length)


def link(target, path):
    os.symlink(target, path)


def unlink(path):
    os.unlink(path)


# ---------------------------------------------------------------------------
# Content
# ---------------------------------------------------------------------------

PATTERN = 1 << 16       # bytes after which a pattern has another number
ONES = int.from_bytes(b"\1\0\0\0\0\0\0\0" * (PATTERN // 8), "little")
LIMIT = 1 << 8 * PATTERN


@contextlib.contextmanager
def past_cache(path, mode):
    device = stat.S_ISBLK(os.stat(path).st_mode)
    fd = os.open(path, mode | (os.O_DIRECT if device else 0))
    try:
        yield fd
    finally:
        os.close(fd)


class Pattern:
    """64 KiB of random bytes for each number."""

    def __init__(self, seed):
        self.base = int.from_bytes(random.Random(seed).randbytes(PATTERN),
                                   "little")

    def number(self, number):
        return ((self.base ^ ONES * number) % LIMIT).to_bytes(PATTERN, "little")


def write(fd, buf, length, start, flags=0):
    with memoryview(buf) as view:
        if os.pwritev(fd, [view[:length]], start, flags) != length:
            raise OSError(errno.EIO, "short write")


def fill(path, piece, every=1, first=0, seed=1):
    piece, every, first = int(piece), int(every), int(first)
    pattern = Pattern(int(seed))
    buf = mmap.mmap(-1, PATTERN)
    with past_cache(path, os.O_RDWR) as fd:
        size = os.lseek(fd, 0, os.SEEK_END)
        for start in range(first * piece, size, every * piece):
            end = min(start + piece, size)
            for at in range(start, end, PATTERN):
                buf[:] = pattern.number(at // SECTOR + 1)
                write(fd, buf, min(PATTERN, end - at), at)


def poke(path, *offsets):
    with past_cache(path, os.O_WRONLY) as fd:
        for offset in offsets:
            os.pwrite(fd, b"\x01", int(offset))


def ranges(numbers):
    """As the message list prints regions: 0-4,9."""
    words = []
    for number in sorted(numbers):
        if words and words[-1][1] == number - 1:
            words[-1][1] = number
        else:
            words.append([number, number])
    return ",".join(str(a) if a == b else "%d-%d" % (a, b) for a, b in words)


def flip(path, piece, count, seed):
    """Flips one bit in each of so many pieces of a file; says in which."""
    piece, rng = int(piece), random.Random(int(seed))
    with open(path, "r+b", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        pieces = rng.sample(range(size // piece), int(count))
        for number in pieces:
            at = number * piece + rng.randrange(piece)
            byte = os.pread(file.fileno(), 1, at)[0] ^ 1 << rng.randrange(8)
            os.pwrite(file.fileno(), bytes((byte,)), at)
    return [ranges(pieces)]


def copy(source, path, piece):
    buf = mmap.mmap(-1, int(piece))
    at = 0
    with open(source, "rb", buffering=0) as file, \
            past_cache(path, os.O_WRONLY) as fd:
        while length := file.readinto(buf):
            write(fd, buf, length, at)
            at += length


def read_pieces(path, start, length):
    """Yields the content in pieces that are overwritten by the next one."""
    buf = mmap.mmap(-1, LARGEST)
    with past_cache(path, os.O_RDONLY) as fd, memoryview(buf) as view:
        for at in range(start, start + length, LARGEST):
            want = min(LARGEST, start + length - at)
            if os.preadv(fd, [view[:want]], at) != want:
                raise OSError(errno.EIO, "short read")
            yield view[:want]


def differences(pieces):
    """Says where the first few blocks are of which the two sides differ."""
    lines, at = [], 0
    for one, other in pieces:
        # Views would be compared byte by byte.
        if bytes(one) != bytes(other):
            for block in range(0, len(one), SECTOR):
                if one[block:block + SECTOR] != other[block:block + SECTOR]:
                    lines.append("sector %d differs" % ((at + block) // SECTOR))
        if len(lines) > 5:
            return lines[:5] + ["and more"]
        at += len(one)
    return lines


def equal(one, start, other, other_start, length):
    return differences(zip(
        read_pieces(one, int(start), int(length)),
        read_pieces(other, int(other_start), int(length))))


def zero(path, start, length):
    nothing = bytes(LARGEST)
    return differences((piece, nothing[:len(piece)])
                       for piece in read_pieces(path, int(start), int(length)))


def allocated(path):
    return [str(os.stat(path).st_blocks * 512)]


# ---------------------------------------------------------------------------
# Requests
# ---------------------------------------------------------------------------

BLKPG, BLKPG_ADD_PARTITION = 0x1269, 1
BLKDISCARD, BLKZEROOUT, BLKSSZGET = 0x1277, 0x127F, 0x1268
FALLOC_PUNCH = 0x03     # FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE

libc = ctypes.CDLL(None, use_errno=True)
libc.fallocate.argtypes = (ctypes.c_int, ctypes.c_int,
                           ctypes.c_int64, ctypes.c_int64)

serial = itertools.count(1)


class Device:
    """A device and what can be asked of it. Each has data of its own."""

    def __init__(self, fd):
        self.fd = fd
        size = bytearray(4)
        fcntl.ioctl(self.fd, BLKSSZGET, size)
        self.block = struct.unpack("I", size)[0]
        self.zeroes = mmap.mmap(-1, LARGEST)
        self.data = mmap.mmap(-1, LARGEST)
        pattern = Pattern(next(serial))
        for at in range(0, LARGEST, PATTERN):
            self.data[at:at + PATTERN] = pattern.number(at + 1)

    def ioctl(self, request, start, length):
        fcntl.ioctl(self.fd, request, struct.pack("QQ", start, length))

    def punch(self, start, length):
        if libc.fallocate(self.fd, FALLOC_PUNCH, start, length):
            raise OSError(ctypes.get_errno(), "punch")

    def write(self, buf, start, length, flags=0):
        for at in range(0, length, LARGEST):
            write(self.fd, buf, min(LARGEST, length - at), start + at, flags)

    def request(self, kind, start, length):
        if kind == "write":
            self.write(self.data, start, length)
        elif kind == "dsync":
            self.write(self.data, start, length, os.RWF_DSYNC)
        elif kind == "zeroes":
            self.write(self.zeroes, start, length)
        elif kind == "zeroout":
            self.ioctl(BLKZEROOUT, start, length)
        elif kind == "punch":
            self.punch(start, length)
        elif kind == "discard":
            self.ioctl(BLKDISCARD, start, length)
        elif kind == "flush":
            os.fsync(self.fd)
        else:
            raise OSError(errno.EINVAL, kind)


def io(path, *requests):
    with past_cache(path, os.O_RDWR) as fd:
        device = Device(fd)
        for kind, start, length in (word.split(":") for word in requests):
            device.request(kind, int(start), int(length))


class Storm(threading.Thread):
    """One source of requests; ends when the time is up."""

    def __init__(self, fd, seed, start, length, kinds, until):
        super().__init__()
        self.device = Device(fd)
        self.random = random.Random(seed)
        self.start_at, self.length = start, length
        self.kinds, self.until = kinds, until
        self.done = dict.fromkeys(kinds, 0)
        self.error = None

    def place(self):
        """Mostly within a few regions that everyone wants."""
        block = self.device.block
        blocks = self.length // block
        if self.random.random() < 0.7:
            blocks = min(blocks, (1 << 20) // block)
        most = self.random.choice((1, 8, 8, 64, 256, 2048))
        start = self.random.randrange(blocks)
        count = min(self.random.randint(1, most), blocks - start,
                    LARGEST // block)
        return self.start_at + start * block, count * block

    def run(self):
        while time.monotonic() < self.until and self.error is None:
            kind = self.random.choice(self.kinds)
            try:
                self.device.request(kind, *self.place())
                self.done[kind] += 1
            except OSError as error:
                if error.errno != errno.EOPNOTSUPP:
                    self.error = "%s: %s" % (kind, error)


def storm(seconds, seed, start, length, kinds, *paths):
    kinds = kinds.split(",")
    until = time.monotonic() + float(seconds)
    with contextlib.ExitStack() as stack:
        threads = [
            Storm(stack.enter_context(past_cache(path, os.O_RDWR)),
                  int(seed) * 1000 + i, int(start), int(length), kinds, until)
            for i, path in enumerate(paths)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    print(" ".join("%s:%d" % (kind, sum(t.done[kind] for t in threads))
                   for kind in kinds))
    errors = [t.error for t in threads if t.error]
    for error in errors:
        print(error)
    return bool(errors)


# ---------------------------------------------------------------------------
# Commands
# ---------------------------------------------------------------------------

def log(text):
    with open("/dev/kmsg", "w", encoding="ascii") as file:
        file.write(text + "\n")


COMMANDS = {
    "create": dm_create, "load": dm_load, "clear": dm_clear,
    "suspend": dm_suspend, "resume": dm_resume, "message": dm_message,
    "status": dm_lines, "table": dm_table, "info": dm_info,
    "remove": dm_remove, "cycles": dm_cycles, "attach": loop_attach, "detach": loop_detach,
    "addpart": part_add,
    "make": make, "link": link, "unlink": unlink,
    "fill": fill, "poke": poke, "flip": flip, "copy": copy, "io": io, "equal": equal,
    "zero": zero, "allocated": allocated, "log": log,
}


def main():
    for line in sys.stdin:
        verb, *words = line.rstrip("\n").split("\t")
        code, lines = 0, []
        try:
            lines = COMMANDS[verb](*words) or []
        except OSError as error:
            code = error.errno or errno.EIO
        except Exception:
            traceback.print_exc()
            code = 255
        print("\n".join(["%d %d" % (code, len(lines))] + lines), flush=True)


if __name__ == "__main__":
    assert HEADER.size == 312 and SPEC.size == 40 and LOOP_CONFIG.size == 304
    if len(sys.argv) > 5 and sys.argv[1] == "storm":
        sys.exit(storm(*sys.argv[2:]))
    if len(sys.argv) > 1:
        sys.exit(__doc__)
    main()
