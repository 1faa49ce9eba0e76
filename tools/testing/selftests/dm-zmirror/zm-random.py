#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Does things at random to a mirror, and compares it with a model: random.sh.

zm-random.py NAME LOWER SOURCE DESTINATION REGION REQUESTS SEED[,SEED...] WORD...

NAME and LOWER are mapped devices: the mirror, and the linear one that is its
destination, below which DESTINATION is. REGION is in sectors. The words are
features that a new table may have besides those that all may have; a word that
begins with = is in nearly every one.

Threads send requests in batches, while tables, messages and the state of the
destination change. When a batch has ended, the mirror is brought to rest:

- the source must read as the model says,
- what is listed as zero must be zero on the destination,
- what is not listed as dirty must be equal on both legs.

The model has one number for each sector of the source. Where requests that
were in flight at the same time overlap, it takes the last of any thread.
"""
import array
import errno
import importlib.util
import mmap
import os
import random
import struct
import sys
import threading
import time

sys.dont_write_bytecode = True
SPEC = importlib.util.spec_from_file_location(
    "zm_helper", os.path.join(os.path.dirname(os.path.realpath(__file__)),
                              "zm-helper.py"))
helper = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(helper)
memcmp = helper.libc.memcmp
memcmp.argtypes = (helper.ctypes.c_void_p, helper.ctypes.c_void_p,
                   helper.ctypes.c_size_t)

SECTOR = 512
CHUNK = 64                  # regions
BATCH = 100                 # requests
THREADS = 4
LONGEST = 160               # sectors of data
LONGEST_ZERO = 2048
SPECK = 1 << 63             # of the number of a sector with one word of data
KEEP_SIZE, ZERO_RANGE = 0x01, 0x10

KINDS = {"data": 30, "fua": 6, "speck": 6, "zeroes": 12, "fua zeroes": 3,
         "punch": 14, "zero range": 5, "zeroout": 6, "discard": 10, "flush": 3,
         "read": 5}
DATA = ("data", "fua", "speck")
NONE = ("flush", "read")


class Wrong(Exception):
    """The mirror is not as it must be."""


class Request:
    """What is done to a range of sectors."""

    def __init__(self, serial, kind, start, count, speck):
        self.serial, self.kind = serial, kind
        self.start, self.count, self.speck = start, count, speck
        self.refused = False

    def __str__(self):
        return "%s %d+%d" % (self.kind, self.start, self.count)

    @property
    def end(self):
        return self.start + self.count

    def values(self):
        """The numbers of its sectors afterwards; a discard may do nothing."""
        if self.kind in ("data", "fua"):
            first = self.serial << 24 | self.start
            return list(range(first, first + self.count))
        values = [0] * self.count
        if self.kind == "speck":
            values[self.speck] = (SPECK | self.serial << 24 |
                                  self.start + self.speck)
        return values


def address(buf):
    return helper.ctypes.addressof(helper.ctypes.c_char.from_buffer(buf))


class Disk:
    """A device, past its cache; one for each thread."""

    def __init__(self, path):
        self.fd = os.open(path, os.O_RDWR | os.O_DIRECT)
        self.buf = mmap.mmap(-1, LONGEST * SECTOR)
        self.words = memoryview(self.buf).cast("Q")

    def write(self, request, flags=0):
        """A sector has its number in all its words, a speck in the last."""
        length = request.count * SECTOR
        values = array.array("Q", request.values())
        last = request.count * 64
        if request.kind in ("data", "fua"):
            for word in range(64):
                self.words[word:last:64] = values
        else:
            self.buf[:length] = bytes(length)
            self.words[63:last:64] = values
        helper.write(self.fd, self.buf, length, request.start * SECTOR, flags)

    def close(self):
        os.close(self.fd)

    def fallocate(self, mode, start, length):
        if helper.libc.fallocate(self.fd, mode, start, length):
            raise OSError(helper.ctypes.get_errno(), "fallocate")

    def ioctl(self, number, start, length):
        helper.fcntl.ioctl(self.fd, number, struct.pack("QQ", start, length))

    def request(self, request):
        kind = request.kind
        where = request.start * SECTOR, request.count * SECTOR
        if kind in ("data", "speck", "zeroes"):
            self.write(request)
        elif kind.startswith("fua"):
            self.write(request, os.RWF_DSYNC)
        elif kind == "punch":
            self.fallocate(helper.FALLOC_PUNCH, *where)
        elif kind == "zero range":
            self.fallocate(ZERO_RANGE | KEEP_SIZE, *where)
        elif kind == "zeroout":
            self.ioctl(helper.BLKZEROOUT, *where)
        elif kind == "discard":
            self.ioctl(helper.BLKDISCARD, *where)
        elif kind == "flush":
            os.fsync(self.fd)
        elif kind == "read":
            with memoryview(self.buf) as view:
                os.preadv(self.fd, [view[:where[1]]], where[0])


class Content:
    """All of a device as it was when it was read."""

    def __init__(self, path, sectors):
        self.path, self.size = path, sectors * SECTOR
        self.buf = mmap.mmap(-1, self.size)
        self.address = address(self.buf)
        self.fd = os.open(path, os.O_RDONLY | os.O_DIRECT)
        self.words = memoryview(self.buf).cast("Q")

    def read(self):
        if os.preadv(self.fd, [self.buf], 0) != self.size:
            raise Wrong("short read of " + self.path)

    def close(self):
        os.close(self.fd)

    def same(self, other, at=0, size=None):
        return not memcmp(self.address + at, other.address + at,
                          self.size if size is None else size)


class Nothing:
    """Zeroes, to compare with."""

    def __init__(self, sectors):
        self.buf = mmap.mmap(-1, sectors * SECTOR)
        self.address = address(self.buf)


def ranges(text):
    """What a message lists, as ranges of regions."""
    words = text.split(",") if text != "none" else []
    pairs = (word.partition("-")[::2] for word in words)
    return [range(int(first), int(last or first) + 1) for first, last in pairs]


class Worker(threading.Thread):
    """Sends its requests one after another."""

    def __init__(self, disk, requests, may_refuse):
        super().__init__(daemon=True)
        self.disk, self.requests = disk, requests
        self.may_refuse, self.error = may_refuse, None

    def run(self):
        for request in self.requests:
            try:
                self.disk.request(request)
            except OSError as error:
                request.refused = error.errno == errno.EOPNOTSUPP
                if not request.refused or request.kind not in self.may_refuse:
                    self.error = "%s: %s" % (request, error)
                    return


class Tester:
    """A mirror and its model."""

    def __init__(self, name, lower, source, destination, region, seed, words):
        self.name, self.lower, self.words = name, lower, words
        self.region = region
        self.random = random.Random(seed)
        self.path = "/dev/dm-" + helper.dm_info(name)[0].split()[0]
        line = helper.dm_table(lower)[0].split()
        self.sectors, self.linear = int(line[1]), " ".join(line)
        self.regions = self.sectors // region
        self.legs = " ".join(helper.dm_table(name)[0].split()[3:8])
        self.disks = [Disk(self.path) for _ in range(THREADS)]
        self.one = Content(source, self.sectors)
        self.other = Content(destination, self.sectors)
        self.whole = Content(self.path, self.sectors)
        self.nothing = Nothing(self.sectors)
        self.one.read()
        self.model = self.numbers(self.one)
        self.undefined = bytearray(self.sectors)
        self.passing = self.broken = False
        self.serial = 0
        self.done = {}
        self.at_once = self.claims = self.refused = 0

    # -- requests

    def place(self, longest):
        """Mostly where others are: at whole regions, within, across."""
        choose = self.random
        area = self.regions if choose.random() < 0.4 else min(self.regions, 24)
        first = choose.randrange(area) * self.region
        shape = choose.randrange(5)
        if shape == 0:
            start, count = first, self.region * choose.randint(1, 3)
        elif shape == 1:
            start = first + choose.randrange(self.region)
            count = choose.randint(1, self.region)
        elif shape == 2:
            start, count = first + choose.randrange(self.region), 1
        elif shape == 3:
            start = first // (CHUNK * self.region) * CHUNK * self.region
            start = max(0, start - choose.randint(0, 2 * self.region))
            count = choose.randint(1, 4 * self.region)
        else:
            start = first
            count = choose.choice((longest, self.region * 80, self.region))
        start = min(start, self.sectors - 1)
        return start, min(count, longest, self.sectors - start)

    def new_request(self, popular):
        kind = self.random.choices(tuple(KINDS), tuple(KINDS.values()))[0]
        if kind == "zeroout" or kind == "punch" or kind == "discard":
            longest = LONGEST_ZERO
        else:
            longest = LONGEST
        start, count = self.random.choice(popular)
        if self.random.random() < 0.7:
            start, count = self.place(longest)
        self.serial += 1
        return Request(self.serial, kind, start, count,
                       self.random.randrange(count))

    def start(self, number):
        popular = [self.place(LONGEST) for _ in range(3)]
        workers = [Worker(disk, [self.new_request(popular)
                                 for _ in range(number // THREADS)],
                          ("discard", "punch"))
                   for disk in self.disks]
        for worker in workers:
            worker.start()
        return workers

    # -- what happens meanwhile

    def message(self, text):
        return (helper.dm_message(self.name, text) or [""])[0]

    def load(self, name, table):
        helper.dm_load(name, table)
        helper.dm_suspend(name)
        helper.dm_resume(name)

    def new_table(self):
        choose = self.random
        words = [word.lstrip("=") for word in self.words
                 if choose.random() < (0.9 if word[0] == "=" else 0.5)]
        words.append(choose.choice(("jobs:1", "jobs:3", "jobs:16", "jobs:40")))
        words.append(choose.choice(("discard:exact", "discard:exact",
                                    "discard:pass", "discard:ignore")))
        for word, part in (("zero_detect:off", 0.25), ("prezero", 0.2),
                           ("paused", 0.2), ("no_unmap", 0.2),
                           ("copy_mode:async", 0.2)):
            if choose.random() < part and word not in words:
                words.append(word)
        if "discard_zeroes" in words and "no_unmap" in words:
            words.remove("no_unmap")
        self.passing |= "discard:pass" in words
        self.load(self.name, "0 %d zmirror %s %d %s" % (
            self.sectors, self.legs, len(words), " ".join(words)))
        return "discard:pass" in words

    def fail(self, broken):
        if broken != self.broken:
            self.broken = broken
            self.load(self.lower, "0 %d error" % self.sectors
                      if broken else self.linear)

    def suspend(self):
        flags = self.random.choice(((), ("noflush",), ("nolockfs",)))
        helper.dm_suspend(self.name, *flags)
        time.sleep(self.random.random() / 50)
        helper.dm_resume(self.name)

    def meddle(self):
        """One thing that is not a request. Returns what discards do then."""
        choose = self.random
        what = choose.choice((
            "pause", "resume", "resume", "list zero", "list dirty",
            "set zero_detect off", "set zero_detect on", "set jobs 1",
            "set jobs 20", "set copy_mode sync", "set copy_mode async",
            "suspend", "suspend", "table", "table", "fail", "fail",
            "repair"))
        self.done[what] = self.done.get(what, 0) + 1
        if what == "suspend":
            self.suspend()
        elif what == "table":
            return self.new_table()
        elif what == "fail":
            self.fail(True)
        elif what == "repair":
            self.fail(False)
            self.message("resume")
        else:
            self.message(what)
        return None

    # -- the model

    @staticmethod
    def numbers(leg):
        """The number of each sector, which its last word has."""
        first, last = leg.words[::64].tolist(), leg.words[63::64].tolist()
        for at in range(0, len(last), 256):
            if first[at:at + 256] == last[at:at + 256]:
                continue
            for sector in range(at, min(at + 256, len(last))):
                one, other = first[sector], last[sector]
                if one != (0 if other & SPECK else other):
                    raise Wrong("sector %d begins with %x and ends with %x" %
                                (sector, one, other))
        return last

    def candidates(self, workers, sector):
        """What a sector may read as when all requests have ended."""
        every, last = {self.model[sector]}, set()
        undefined = False
        for worker in workers:
            own = None
            for request in worker.requests:
                if not request.start <= sector < request.end or \
                   request.kind in NONE or request.refused:
                    continue
                own = request.values()[sector - request.start]
                every.add(own)
                undefined |= request.kind == "discard"
            if own is not None:
                last.add(own)
        return every | {0} if undefined else last or every

    def follow(self, workers, now):
        """Takes over in the model what has been done, if it may be so."""
        wanted = self.model[:]
        for worker in workers:
            for request in worker.requests:
                if request.refused:
                    self.refused += 1
                elif request.kind not in NONE:
                    wanted[request.start:request.end] = request.values()
        for at in range(0, self.sectors, 512):
            if now[at:at + 512] == wanted[at:at + 512]:
                continue
            for sector in range(at, min(at + 512, self.sectors)):
                if now[sector] == wanted[sector]:
                    continue
                may = self.candidates(workers, sector)
                if now[sector] not in may:
                    raise Wrong("sector %d reads as %x, not as one of %s" % (
                        sector, now[sector], ", ".join("%x" % n for n in may)))
        self.model = now

    def forget(self, workers):
        """Where the legs may differ: discarded, and not written since."""
        requests = [request for worker in workers
                    for request in worker.requests if not request.refused]
        for request in requests:
            if request.kind not in NONE + ("discard",):
                nothing = bytes(request.count)
                self.undefined[request.start:request.end] = nothing
        for request in requests:
            if request.kind == "discard" and self.passing:
                self.undefined[request.start:request.end] = (b"\1" *
                                                             request.count)

    # -- at rest

    def status(self):
        words = helper.dm_lines(self.name)[0].split()
        figures = dict(word.split(":") for word in words[8:])
        return words[5], words[6], figures

    def wait_sync(self):
        deadline = time.monotonic() + (300 if "ZM_SLOW" in os.environ else 60)
        while True:
            state, health, figures = self.status()
            if state == "in_sync" and health == "AA":
                return
            if time.monotonic() > deadline:
                raise Wrong("not in sync: %s %s %s" % (state, health, figures))
            time.sleep(0.005)

    def listed(self, which, *where):
        return ranges(self.message(" ".join(["list", which] +
                                            ["%d" % n for n in where])))

    def compare(self, dirty, zero):
        """The legs; those that differ are looked at sector by sector."""
        size = self.region * SECTOR
        for regions in zero:
            if memcmp(self.other.address + regions.start * size,
                      self.nothing.address, len(regions) * size):
                raise Wrong("regions %d-%d, listed as zero, are not all zero" %
                            (regions.start, regions.stop - 1))
        if self.one.same(self.other):
            return
        dirty = set(region for regions in dirty for region in regions)
        for region in range(self.regions):
            if region in dirty or \
               self.one.same(self.other, region * size, size):
                continue
            for sector in range(region * self.region,
                                (region + 1) * self.region):
                if not self.undefined[sector] and \
                   not self.one.same(self.other, sector * SECTOR, SECTOR):
                    raise Wrong("sector %d differs, and region %d is not dirty"
                                % (sector, region))

    def check(self, workers):
        """The mirror rests: all writes have ended, and there is no resync."""
        _, _, figures = self.status()
        dirty, zero = self.listed("dirty"), self.listed("zero")
        for which, regions in (("dirty", dirty), ("zero", zero)):
            if sum(map(len, regions)) != int(figures[which]):
                raise Wrong("%d regions are listed as %s, the status has %s" %
                            (sum(map(len, regions)), which, figures[which]))
        self.one.read()
        self.other.read()
        self.follow(workers, self.numbers(self.one))
        self.forget(workers)
        self.compare(dirty, zero)
        self.claims += sum(map(len, zero))
        for worker in workers:
            for request in worker.requests:
                key = request.kind + (" refused" if request.refused else "")
                self.done[key] = self.done.get(key, 0) + 1

    def probe(self):
        """In sync, so that what zeroes and data do to a region is certain."""
        self.message("set copy_mode sync")
        self.message("set zero_detect on")
        region = self.random.randrange(self.regions)
        start, disk = region * self.region, self.disks[0]
        self.serial += 1
        request = Request(self.serial, "punch", start, self.region, 0)
        try:
            disk.request(request)
        except OSError as error:
            if error.errno != errno.EOPNOTSUPP:
                raise
            for at in range(0, self.region, LONGEST):
                disk.request(Request(self.serial, "zeroes", start + at,
                                     min(LONGEST, self.region - at), 0))
        if self.region <= LONGEST:
            self.at_once += bool(self.listed("zero", region, 1))
        self.wait_sync()
        if not self.listed("zero", region, 1):
            raise Wrong("region %d was zeroed, and is not listed" % region)
        requests = [request]
        if self.random.random() < 0.5:
            self.serial += 1
            sector = start + self.random.randrange(self.region)
            request = Request(self.serial, self.random.choice(DATA), sector,
                              1, 0)
            disk.request(request)
            requests.append(request)
            for which in "zero", "dirty":
                if self.listed(which, region, 1):
                    raise Wrong("region %d is listed as %s after a write" %
                                (region, which))
        # The source is read when the next batch has ended.
        self.model[start:start + self.region] = [0] * self.region
        for request in requests[1:]:
            self.model[request.start] = request.values()[0]
        self.undefined[start:start + self.region] = bytes(self.region)

    def rest(self, workers, last):
        """Checks the mirror in sync, or as it was when it was suspended."""
        if not last and self.random.random() < 0.4:
            helper.dm_suspend(self.name)
            self.check(workers)
            helper.dm_resume(self.name)
            return
        self.fail(False)
        self.message("resume")
        self.wait_sync()
        self.check(workers)
        if last or self.random.random() < 0.2:
            self.whole.read()
            if not self.whole.same(self.one):
                raise Wrong("the mirror does not read as its source")
        self.probe()

    def batch(self, last):
        workers = self.start(BATCH)
        ignored = None
        for _ in range(self.random.randrange(4)):
            time.sleep(self.random.random() / 40)
            changed = self.meddle()
            ignored = ignored if changed is None else changed
        deadline = time.monotonic() + (300 if "ZM_SLOW" in os.environ else 60)
        for worker in workers:
            worker.join(max(0, deadline - time.monotonic()))
            if worker.is_alive():
                raise Wrong("a request hangs")
        for worker in workers:
            if worker.error:
                raise Wrong(worker.error)
        self.rest(workers, last)
        # Until the next table, discards do what this one says.
        if ignored is not None:
            self.passing = ignored

    def close(self):
        for part in self.disks + [self.one, self.other, self.whole]:
            part.close()

    def run(self, number_of_requests):
        batches = max(number_of_requests // BATCH, 2)
        for number in range(batches):
            try:
                self.batch(number == batches - 1)
            except Wrong as error:
                return "batch %d: %s" % (number, error)
        if not self.claims:
            return "no region was ever listed as zero"
        if self.region <= LONGEST and not self.at_once:
            return "no region became zero at once"
        return None


def one_seed(seed, number, *where):
    tester = Tester(*where[:5], seed, where[5:])
    error = tester.run(number)
    if error:
        print(error)
        print("table: " + helper.dm_table(tester.name)[0])
        print("status: " + helper.dm_lines(tester.name)[0])
    print("seed %d: %s; zero at once: %d, zero regions looked at: %d" % (
        seed, ", ".join("%d %s" % (number, kind)
                        for kind, number in sorted(tester.done.items())),
        tester.at_once, tester.claims), flush=True)
    if error:
        # A thread that hangs would be waited for.
        os._exit(1)
    tester.close()


def main(name, lower, source, destination, region, number, seeds, *words):
    for seed in seeds.split(","):
        one_seed(int(seed), int(number), name, lower, source, destination,
                 int(region), *words)


if __name__ == "__main__":
    if len(sys.argv) < 8:
        sys.exit(__doc__)
    main(*sys.argv[1:])
