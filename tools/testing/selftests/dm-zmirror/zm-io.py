#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Writes the contents that the tests of dm-zmirror need, and makes trouble.

zm-io.py fill FILE BYTES [EVERY [FIRST [SEED]]]
    Write every EVERY-th piece of BYTES, from number FIRST on, up to the
    end of the file or device. No 512 bytes of it are zero or occur twice.

zm-io.py poke FILE OFFSET...
    Write one non-zero byte at each offset of a file.

zm-io.py ops DEVICE KIND:START:LENGTH...
    One request after another, in bytes.

zm-io.py storm SECONDS SEED START LENGTH KIND[,KIND...] DEVICE...
    One thread for each device writes, zeroes and discards at random within
    LENGTH bytes from START on, each regardless of the others. The devices are
    different names of one. What the device says it cannot do is no error.
    Prints how many of each kind were done.

Kinds: write, dsync (a write with FUA), zeroes (a payload of zeroes), zeroout
(BLKZEROOUT), punch, discard, flush.
"""
import ctypes
import errno
import fcntl
import mmap
import os
import random
import stat
import struct
import sys
import threading
import time

SECTOR = 512
BLKDISCARD = 0x1277
BLKZEROOUT = 0x127F
BLKSSZGET = 0x1268
FALLOC_PUNCH = 0x03     # FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE
LARGEST = 1 << 20
PATTERN = 1 << 16
LIMIT = 1 << 8 * PATTERN

libc = ctypes.CDLL(None, use_errno=True)
libc.fallocate.argtypes = (ctypes.c_int, ctypes.c_int,
                           ctypes.c_int64, ctypes.c_int64)


def open_to_write(path):
    """Devices are written past their cache."""
    device = stat.S_ISBLK(os.stat(path).st_mode)
    return os.open(path, os.O_RDWR | (os.O_DIRECT if device else 0))


def fill(path, piece, every=1, first=0, seed=1):
    """Each 8 bytes are those of a random pattern, xor their 64 KiB's number."""
    fd = open_to_write(path)
    size = os.lseek(fd, 0, os.SEEK_END)
    pattern = int.from_bytes(random.Random(seed).randbytes(PATTERN), "little")
    ones = int.from_bytes(b"\1\0\0\0\0\0\0\0" * (PATTERN // 8), "little")
    buf = mmap.mmap(-1, PATTERN)
    for start in range(first * piece, size, every * piece):
        end = min(start + piece, size)
        for at in range(start, end, PATTERN):
            mixed = pattern ^ ones * (at // SECTOR + 1)
            buf[:] = (mixed % LIMIT).to_bytes(PATTERN, "little")
            length = min(PATTERN, end - at)
            with memoryview(buf) as view:
                assert os.pwrite(fd, view[:length], at) == length
    os.close(fd)


def poke(path, offsets):
    fd = os.open(path, os.O_WRONLY)
    for offset in offsets:
        os.pwrite(fd, b"\x01", offset)
    os.close(fd)


class Device:
    """A device and what can be done with it."""

    def __init__(self, path, seed):
        self.fd = open_to_write(path)
        size = bytearray(4)
        fcntl.ioctl(self.fd, BLKSSZGET, size)
        self.block = struct.unpack("I", size)[0]
        self.zeroes = mmap.mmap(-1, LARGEST)
        self.data = mmap.mmap(-1, LARGEST)
        self.data[:] = (random.Random(seed).randbytes(PATTERN) *
                        (LARGEST // PATTERN))

    def ioctl(self, request, start, length):
        fcntl.ioctl(self.fd, request, struct.pack("QQ", start, length))

    def punch(self, start, length):
        if libc.fallocate(self.fd, FALLOC_PUNCH, start, length):
            raise OSError(ctypes.get_errno(), "punch")

    def write(self, buf, start, length, flags=0):
        with memoryview(buf) as view:
            n = os.pwritev(self.fd, [view[:length]], start, flags)
        if n != length:
            raise OSError(errno.EIO, "short write")

    def one(self, kind, start, length):
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
        else:
            os.fsync(self.fd)


class Storm(threading.Thread):
    """One source of requests; ends when the time is up."""

    def __init__(self, path, seed, start, length, kinds, until):
        super().__init__()
        self.device = Device(path, seed)
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
                self.device.one(kind, *self.place())
                self.done[kind] += 1
            except OSError as error:
                if error.errno != errno.EOPNOTSUPP:
                    self.error = "%s: %s" % (kind, error)


def do_all(path, todo):
    device = Device(path, 1)
    for kind, start, length in (word.split(":") for word in todo):
        device.one(kind, int(start), int(length))


def storm(seconds, seed, start, length, kinds, paths):
    until = time.monotonic() + seconds
    threads = [Storm(path, seed * 1000 + i, start, length, kinds, until)
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


def main(verb, *args):
    if verb == "fill":
        return fill(args[0], *map(int, args[1:]))
    if verb == "poke":
        return poke(args[0], map(int, args[1:]))
    if verb == "ops":
        return do_all(args[0], args[1:])
    if verb == "storm":
        return storm(float(args[0]), *map(int, args[1:4]),
                     args[4].split(","), args[5:])
    sys.exit(__doc__)


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    sys.exit(main(*sys.argv[1:]))
