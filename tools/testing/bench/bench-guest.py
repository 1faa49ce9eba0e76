#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""The benchmark, inside the guest; see bench.sh.

    bench-guest.py PART...      throughput, bars, 4kn, resync, latency, pace,
                                rates, verify, growth, smp

Each figure is a JSON object on a line of its own, appended to $ZM_RESULTS.
QUICK in the environment measures less.

Whoever waits for the host in this clock waits for ages, because an idle guest
jumps to its next timer. So what is measured runs in a root of its own in memory,
with all that it opens, and device-mapper is asked from here.
"""

import fcntl
import glob
import importlib.util
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
RESULTS = os.environ["ZM_RESULTS"]
QUICK = bool(os.environ.get("QUICK"))
KERNEL = os.uname().release
NULLB = "/sys/kernel/config/nullb"
WORK = tempfile.mkdtemp()	# the root of those that are measured
TOOLS = ("fio", "dd", "mdadm", "qemu-img", "qemu-storage-daemon", "losetup",
         "cmp", "dmsetup", "blockdev", "sleep")
MIB = 1 << 20

LINEAR = "linear"
LEGS = ("src", "dst")


def result(**figures):
    figures["kernel"] = KERNEL
    with open(RESULTS, "a", encoding="ascii") as file:
        file.write(json.dumps(figures) + "\n")
    print(" ".join(f"{k}={v}" for k, v in figures.items()), flush=True)


def enter():
    os.chroot(WORK)
    os.chdir("/")


def start(*command, **more):
    # pylint: disable=consider-using-with,subprocess-popen-preexec-fn
    return subprocess.Popen(
        (f"/bin/{command[0]}",) + command[1:], preexec_fn=enter, text=True,
        stdin=subprocess.DEVNULL, close_fds=False,
        **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **more})


def run(*command, check=True, env=None):
    child = start(*command, env=env)
    out, errors = child.communicate()
    if check and child.returncode:
        sys.exit(f"{' '.join(command)}: {errors.strip()}")
    return out


def put(path, value):
    with open(path, "w", encoding="ascii") as file:
        file.write(str(value))


def get(path):
    with open(path, encoding="ascii") as file:
        return file.read().strip()


def load_helper():
    path = f"{HERE}/../selftests/dm-zmirror/zm-helper.py"
    spec = importlib.util.spec_from_file_location("helper", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


dm = load_helper()


def dm_create(name, table):
    dm.dm_create(name, table)
    run("dmsetup", "mknodes")


def dm_wait(name, event):
    """Until there has been another event than that one."""
    header = dm.HEADER.pack(4, 0, 0, dm.DM_SIZE, dm.HEADER.size, 0, 0, 0, event,
                            0, 0, name.encode(), b"")
    buf = bytearray(header.ljust(dm.DM_SIZE, b"\0"))
    with open("/dev/mapper/control", "rb") as control:
        fcntl.ioctl(control, 3 << 30 | dm.HEADER.size << 16 | 0xFD << 8 | 8, buf)


# ---------------------------------------------------------------------------
# Devices
# ---------------------------------------------------------------------------

def new_null(name, mib, **settings):
    base = {"size": mib, "blocksize": 512, "completion_nsec": 0, "irqmode": 0,
            "memory_backed": 1, "discard": 1}
    os.mkdir(f"{NULLB}/{name}")
    for key, value in {**base, **settings, "power": 1}.items():
        put(f"{NULLB}/{name}/{key}", value)
    run("dmsetup", "mknodes")
    return f"/dev/{name}"


def drop_null(name):
    put(f"{NULLB}/{name}/power", 0)
    os.rmdir(f"{NULLB}/{name}")


def sectors(device):
    with open(device, "rb") as file:
        return file.seek(0, os.SEEK_END) // 512


def fill(device, every=1):
    """Data in one region of 64 KiB of EVERY, zeroes in between."""
    size = sectors(device) * 512
    fd = os.open(device, os.O_WRONLY)
    for at in range(0, size, 65536):
        if at // 65536 % every == 0:
            os.pwrite(fd, os.urandom(65536), at)
        else:
            os.pwrite(fd, bytes(65536), at)
    os.fsync(fd)
    os.close(fd)


def zmirror(source, destination, *features, region=128):
    line = f"0 {sectors(source)} zmirror {source} 0 {destination} 0 {region}"
    return f"{line} {len(features)} {' '.join(features)}".strip()


def mirror(source, destination, *sync, region=128):
    return (f"0 {sectors(source)} mirror core {1 + len(sync)} {region} "
            f"{' '.join(sync)} 2 {source} 0 {destination} 0")


def linear(source):
    return f"0 {sectors(source)} linear {source} 0"


class Device:
    """One of those that are compared, on /dev/src and /dev/dst."""

    NAMES = ("raw", LINEAR, "floor", "zmirror", "zmirror-paused",
             "zmirror-async", "dm-mirror", "md-raid1", "md-raid1-bitmap")

    def __init__(self, name):
        self.name = name
        self.md = name.startswith("md-")
        src, dst = (f"/dev/{leg}" for leg in LEGS)
        table = {
            LINEAR: linear(src),
            "floor": f"0 {sectors(src)} zmfloor {src} {dst}",
            "zmirror": zmirror(src, dst, "nosync"),
            # All is dirty and stays so.
            "zmirror-paused": zmirror(src, dst, "paused"),
            # What is written becomes dirty; its copies are no part of this.
            "zmirror-async": zmirror(src, dst, "nosync", "copy_mode:async",
                                     "paused"),
            "dm-mirror": mirror(src, dst, "nosync"),
        }.get(name)
        self.path = src
        if table:
            dm_create(name, table)
            self.path = f"/dev/mapper/{name}"
        elif self.md:
            bitmap = "internal" if name.endswith("bitmap") else "none"
            run("mdadm", "--create", "/dev/md0", "--run", "--metadata=1.0",
                "--level=1", "--raid-devices=2", "--assume-clean",
                f"--bitmap={bitmap}", src, dst)
            self.path = "/dev/md0"

    def drop(self):
        if self.md:
            run("mdadm", "--stop", "/dev/md0")
            for leg in LEGS:
                run("mdadm", "--zero-superblock", f"/dev/{leg}")
        elif self.name != "raw":
            dm.dm_remove(self.name)


def fio(job, device, **settings):
    """The job of fio's JSON."""
    env = {"DEVICE": device, **{k.upper(): str(v) for k, v in settings.items()}}
    out = run("fio", f"/jobs/{job}.fio", "--output-format=json", env=env)
    return json.loads(out[out.index("{"):])["jobs"][0]


# ---------------------------------------------------------------------------
# Throughput
# ---------------------------------------------------------------------------

# How many requests: so many that a millisecond of the clock is a small part.
COUNTS = {4096: 6000, 65536: 3000, 1 << 20: 256}
BARS = {("randwrite", 4096, 16): 200000, ("randread", 4096, 16): 200000,
        ("randwrite", 65536, 16): 8192, ("randwrite", 1 << 20, 16): 512}
BARRED = (LINEAR, "floor", "zmirror", "zmirror-paused", "zmirror-async")


def workloads():
    if QUICK:
        return list(BARS)
    jobs = [os.path.basename(path)[:-4] for path in
            sorted(glob.glob(f"{HERE}/jobs/*.fio"))]
    return [(job, size, depth) for job in jobs if job != "latency"
            for size in COUNTS for depth in (1, 16, 64)]


def measure(device, job, block, depth, count, size):
    """How many requests were made, and how many milliseconds they took."""
    done = fio(job, device.path, bs=block, depth=depth, count=count, size=size)
    total = sum(done[way]["total_ios"] for way in ("read", "write"))
    return total, done["job_runtime"]


def iops(total, took):
    return round(total * 1000 / took, 1)


def part_throughput():
    for leg in LEGS:
        fill(new_null(leg, 256))
    for name in Device.NAMES:
        device = Device(name)
        # Pages fio in, and what it calls.
        fio("randwrite", device.path, bs=4096, depth=16, count=3000, size="256m")
        size = "255m" if device.md else "256m"
        for job, block, depth in workloads():
            if QUICK and block > 4096 and name not in ("floor", "zmirror"):
                continue
            # What is written whole gets in sync, and would stay so.
            if name == "zmirror-paused":
                device.drop()
                device = Device(name)
            count = COUNTS[block]
            if QUICK:
                count = (count + 1) // 2
            total, took = measure(device, job, block, depth, count, size)
            result(part="throughput", device=name, job=job, bs=block,
                   depth=depth, count=total, iops=iops(total, took))
        device.drop()
    for leg in LEGS:
        drop_null(leg)


def part_bars():
    """What bars are about, with so many requests that fio's milliseconds count for
    nothing."""
    for leg in LEGS:
        fill(new_null(leg, 256))
    for name in BARRED:
        device = Device(name)
        fio("randwrite", device.path, bs=4096, depth=16, count=3000, size="256m")
        for (job, block, depth), count in BARS.items():
            if name == "zmirror-paused":
                device.drop()
                device = Device(name)
            total, took = measure(device, job, block, depth, count, "256m")
            result(part="bars", device=name, job=job, bs=block, depth=depth,
                   count=total, iops=iops(total, took))
        device.drop()
    for leg in LEGS:
        drop_null(leg)


def part_4kn():
    """The same on disks of larger blocks: null_blk looks up each block that it
    holds, so it takes much less of the time here, and what lies above it more."""
    for leg in LEGS:
        fill(new_null(leg, 256, blocksize=4096))
    for name in Device.NAMES:
        device = Device(name)
        fio("randwrite", device.path, bs=4096, depth=16, count=3000, size="255m")
        total, took = measure(device, "randwrite", 4096, 16, 60000, "255m")
        result(part="4kn", device=name, job="randwrite", bs=4096, depth=16,
               count=total, iops=iops(total, took))
        device.drop()
    for leg in LEGS:
        drop_null(leg)


# ---------------------------------------------------------------------------
# A full resync
# ---------------------------------------------------------------------------

def new_loop(path, mib):
    with open(WORK + path, "wb") as file:
        file.truncate(mib * MIB)
    return run("losetup", "--find", "--show", path).strip()


def stat(device):
    """Bytes read and written so far."""
    words = get(f"/sys/class/block/{os.path.basename(device)}/stat").split()
    return int(words[2]) * 512, int(words[6]) * 512


def timed(function, *arguments):
    begin = time.monotonic_ns()
    function(*arguments)
    return (time.monotonic_ns() - begin) / 1e6


def resync_dm(table):
    dm.dm_create("copy")
    dm.dm_load("copy", table)

    def go():
        dm.dm_resume("copy")
        dm_wait("copy", 0)
    took = timed(go)
    dm.dm_remove("copy")
    return took


def md_idle(path="/sys/block/md0/md"):
    while get(f"{path}/sync_action") != "idle" or \
            get(f"{path}/array_state") == "inactive":
        time.sleep(0.005)


def resync_md(src, dst):
    for limit in ("min", "max"):
        put(f"/proc/sys/dev/raid/speed_limit_{limit}", 100000000)

    def go():
        run("mdadm", "--create", "/dev/md0", "--run", "--metadata=1.0",
            "--level=1", "--raid-devices=2", "--bitmap=none", src, dst)
        time.sleep(0.02)
        md_idle()
    took = timed(go)
    run("mdadm", "--stop", "/dev/md0")
    return took


def resync_clone(src, dst):
    meta = new_loop("/meta", 16)
    dm.dm_create("copy")
    dm.dm_load("copy", f"0 {sectors(src)} clone {meta} {dst} {src} 128 0 2 "
               "hydration_batch_size 16")

    def go():
        dm.dm_resume("copy")
        dm.dm_message("copy", "enable_hydration")
        whole = sectors(src) // 128
        while f" {whole}/{whole} " not in dm.dm_lines("copy")[0]:
            time.sleep(0.002)
    took = timed(go)
    dm.dm_remove("copy")
    run("losetup", "--detach", meta)
    return took


def qsd_job(src, dst, **more):
    """QEMU's mirror job, by its storage daemon: live, as zmirror is."""
    sock = "/qmp"
    target = {"driver": "host_device", "filename": dst, "node-name": "dst",
              "discard": "unmap", **more.pop("target", {})}
    args = ["--blockdev", json.dumps({"driver": "host_device", "filename": src,
                                      "node-name": "src"}),
            "--blockdev", json.dumps(target),
            "--chardev", f"socket,id=q,path={sock},server=on,wait=off",
            "--monitor", "chardev=q"]
    daemon = start("qemu-storage-daemon", *args)
    link = socket.socket(socket.AF_UNIX)
    while daemon.poll() is None and not os.path.exists(WORK + sock):
        time.sleep(0.01)
    link.connect(WORK + sock)
    stream = link.makefile("rw")
    stream.readline()

    def ask(command, **arguments):
        stream.write(json.dumps({"execute": command,
                                 "arguments": arguments}) + "\n")
        stream.flush()
        while True:
            said = json.loads(stream.readline())
            if "return" in said or "error" in said:
                return said

    def go():
        said = ask("blockdev-mirror", **{
            "job-id": "j", "device": "src", "target": "dst", "sync": "full",
            **more})
        if "error" in said:
            raise RuntimeError(said["error"]["desc"])
        while True:
            if json.loads(stream.readline()).get("event") == "BLOCK_JOB_READY":
                return
    ask("qmp_capabilities")
    try:
        took = timed(go)
    except RuntimeError as error:
        print(f"# qemu-storage-daemon: {error}")
        took = None
    ask("quit")
    daemon.wait()
    if os.path.exists(WORK + sock):
        os.unlink(WORK + sock)
    return took


def copy_tools(src, dst, file):
    """Name: function that copies and returns milliseconds, or None."""
    def cmd(*words):
        return lambda: timed(run, *words)

    dd = ("dd", f"if={src}", "bs=64k", "status=none", "iflag=direct")
    tools = {
        # These four are not live: who writes meanwhile is not copied.
        "dd": cmd(*dd, f"of={dst}", "oflag=direct"),
        "dd conv=sparse": cmd(*dd, f"of={dst}", "oflag=direct", "conv=sparse"),
        "qemu-img convert": cmd("qemu-img", "convert", "-n", "--target-is-zero",
                                "-f", "raw", "-O", "raw", src, file),
        "zmirror": lambda: resync_dm(zmirror(src, dst)),
        "zmirror dest_zeroed": lambda: resync_dm(
            zmirror(src, dst, "dest_zeroed")),
        "zmirror prezero": lambda: resync_dm(zmirror(src, dst, "prezero")),
        "dm-mirror 128": lambda: resync_dm(mirror(src, dst)),
        "dm-mirror 2048": lambda: resync_dm(mirror(src, dst, region=2048)),
        "md-raid1": lambda: resync_md(src, dst),
    }
    if os.path.exists(f"{WORK}/bin/qemu-storage-daemon"):
        tools["blockdev-mirror"] = lambda: qsd_job(src, dst)
        tools["blockdev-mirror target-is-zero"] = lambda: qsd_job(
            src, dst, **{"target-is-zero": True})
        tools["blockdev-mirror detect-zeroes"] = lambda: qsd_job(
            src, dst, target={"detect-zeroes": "unmap"})
    if os.path.exists("/sys/module/dm_clone"):
        tools["dm-clone"] = lambda: resync_clone(src, dst)
    return tools


def same(src, file):
    return run("cmp", src, file, check=False) == ""


def part_resync():
    mib = 64 if QUICK else 256
    rounds = 1 if QUICK else 2
    file = "/dst"
    for data, every in (("dense", 1), ("tenth", 10), ("empty", 1 << 30)):
        src = new_null("src", mib)
        fill(src, every)
        for tool in copy_tools(src, "", ""):
            figures = []
            for turn in range(rounds):
                dst = new_loop(file, mib)
                run("blockdev", "--flushbufs", src)
                before = stat(src)[0], stat(dst)[1]
                took = copy_tools(src, dst, file)[tool]()
                after = stat(src)[0], stat(dst)[1]
                run("blockdev", "--flushbufs", dst)
                if took is not None:
                    figures.append((took, after[0] - before[0],
                                    after[1] - before[1],
                                    os.stat(WORK + file).st_blocks * 512))
                    # md's superblock is at the end.
                    if turn == 0 and tool != "md-raid1" and \
                            not same(src, file):
                        sys.exit(f"{tool} copies wrongly")
                run("losetup", "--detach", dst)
                os.unlink(WORK + file)
                if tool == "md-raid1":
                    run("mdadm", "--zero-superblock", src, check=False)
            if figures:
                took, read, written, allocated = min(figures)
                result(part="resync", tool=tool, data=data, mib=mib,
                       ms=round(took, 1), read_mib=round(read / MIB, 1),
                       written_mib=round(written / MIB, 1),
                       allocated_mib=round(allocated / MIB, 1))
        drop_null("src")


# ---------------------------------------------------------------------------
# Latency through a resync, on modelled disks
# ---------------------------------------------------------------------------

# null_blk has a timer for each request, and a budget for each 20 ms (mbps). A
# limit of requests a second is a queue of one, with the time that one takes.
NVME = {"completion_nsec": 80000, "irqmode": 2, "mbps": 2000}
SATA = {"completion_nsec": 150000, "irqmode": 2, "mbps": 500,
        "hw_queue_depth": 32}
CLOUD = {"completion_nsec": 333333, "irqmode": 2, "mbps": 125,
         "hw_queue_depth": 1}
# Name: source, destination, MiB, holds data, requests a second.
MODELS = {
    "nvme": (NVME, NVME, 1024, False, 10000),
    "nvme-backed": (NVME, NVME, 256, True, 10000),
    "sata": (SATA, SATA, 512, False, 4000),
    "cloud": (CLOUD, CLOUD, 256, False, 1000),
    "slow-dest": (NVME, SATA, 512, False, 4000),
}
LIVE = ("zmirror", "dm-mirror", "md-raid1")


def start_latency(device, mib, rate, seconds):
    env = {"DEVICE": device, "SIZE": f"{mib - 1}m",
           "READS": str(rate * 7 // 10), "WRITES": str(rate * 3 // 10),
           "TIME": str(seconds)}
    return start("fio", "/jobs/latency.fio", env=env,
                 stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def latencies(phases):
    """Of each phase, microseconds of its reads and writes; and all of them."""
    found = {(phase, op): [] for phase in phases for op in ("read", "write")}
    every = []
    for path in glob.glob(f"{WORK}/latency_lat*.log"):
        with open(path, encoding="ascii") as file:
            for line in file:
                at, ns, way = (int(word) for word in line.split(",")[:3])
                op = "write" if way else "read"
                every.append((at, ns / 1000))
                for phase, (begin, end) in phases.items():
                    if begin <= at < end:
                        found[phase, op].append(ns / 1000)
        os.unlink(path)
    return found, every


def begin_mirroring(kind, backed):
    """Puts a mirror in place of the source alone, under load. Returns a function
    that waits until it is in sync."""
    src, dst = (f"/dev/{leg}" for leg in LEGS)
    if kind == "md-raid1":
        for limit in ("min", "max"):
            put(f"/proc/sys/dev/raid/speed_limit_{limit}", 100000000)
        run("mdadm", "/dev/md0", "--add", dst)

        def wait():
            while get("/sys/block/md0/md/sync_action") == "idle":
                time.sleep(0.005)
            md_idle()
        return wait
    features = [] if backed else ["zero_detect:off"]
    table = zmirror(src, dst, *features) if kind == "zmirror" else \
        mirror(src, dst)
    dm.dm_load("data", table)
    events = int(dm.dm_info("data")[0].split()[2])
    dm.dm_suspend("data")
    dm.dm_resume("data")
    return lambda: dm_wait("data", events)


def quantile(values, part):
    return values[min(int(len(values) * part), len(values) - 1)]


def measure_latency(model, kind):
    source, destination, mib, backed, rate = MODELS[model]
    for leg, settings in zip(LEGS, (source, destination)):
        path = new_null(leg, mib, memory_backed=int(backed), **settings)
        if backed:
            fill(path)
    if kind == "md-raid1":
        # One that moves no data keeps no superblock.
        run("mdadm", "--build", "/dev/md0", "--level=1", "--raid-devices=2",
            "/dev/src", "missing")
        path = "/dev/md0"
    else:
        dm_create("data", linear("/dev/src"))
        path = "/dev/mapper/data"
    load = start_latency(path, mib, rate, 60)
    time.sleep(3.5)
    begin = time.time_ns() // 1000000
    wait = begin_mirroring(kind, backed)
    wait()
    end = time.time_ns() // 1000000
    time.sleep(1.0)
    load.terminate()
    load.wait()
    # To put the mirror in its place takes time as well, which is no resync's.
    phases = {"before": (begin - 1000, begin), "during": (begin + 250, end),
              "after": (end + 50, end + 1000)}
    found, every = latencies(phases)
    for (phase, op), values in found.items():
        if not values:
            continue
        values.sort()
        result(part="latency", model=model, device=kind, phase=phase, op=op,
               mean_us=round(sum(values) / len(values), 1),
               p99_us=round(quantile(values, .99), 1),
               p999_us=round(quantile(values, .999), 1),
               max_us=round(values[-1], 1),
               iops=round(len(values) * 1000 / (phases[phase][1] -
                                                phases[phase][0])))
    result(part="latency-resync", model=model, device=kind, mib=mib,
           seconds=(end - begin) / 1000)
    windows = {}
    for at, us in every:
        if begin - 1000 <= at < end + 1000:
            windows.setdefault((at - begin) // 50 * 50, []).append(us)
    for at, values in sorted(windows.items()):
        result(part="latency-log", model=model, device=kind, t_ms=at,
               mean_us=round(sum(values) / len(values), 1),
               max_us=round(max(values), 1))
    if kind == "md-raid1":
        run("mdadm", "--stop", "/dev/md0")
    else:
        dm.dm_remove("data")
    for leg in LEGS:
        drop_null(leg)


def part_latency():
    for model in MODELS:
        for kind in LIVE:
            if QUICK and (model != "nvme" or kind == "md-raid1"):
                continue
            measure_latency(model, kind)


# ---------------------------------------------------------------------------
# A resync that keeps to a bound on latency
# ---------------------------------------------------------------------------

# Percent, seconds of a load alone, of a load and a resync, of a resync alone, of both.
TARGET = 25
ALONE, BOTH, FREE, AGAIN = 2.0, 5.0, 2.0, 2.0
PACED = ("nvme", "sata", "cloud", "slow-dest")


def now_ms():
    return time.time_ns() // 1000000


class Watch:
    """How much resync has written, as time goes by: what the destination got and
    the source did not."""

    def __init__(self):
        self.rows = []

    def look(self):
        self.rows.append((now_ms(), stat("/dev/dst")[1] - stat("/dev/src")[1]))

    def until(self, seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.look()
            time.sleep(0.1)
        self.look()

    def mib_s(self, begin, end):
        rows = [row for row in self.rows if begin <= row[0] <= end]
        return (rows[-1][1] - rows[0][1]) / MIB * 1000 / (rows[-1][0] - rows[0][0])


def stop(load):
    load.terminate()
    load.wait()


def measure_pace(model, *features):
    source, destination, _, _, rate = MODELS[model]
    for leg, settings in zip(LEGS, (source, destination)):
        new_null(leg, 65536, memory_backed=0, **settings)
    dm_create("data", zmirror("/dev/src", "/dev/dst", "zero_detect:off", "paused",
                              *features, region=2048))
    watch, device = Watch(), "/dev/mapper/data"
    every, times = [], {}

    load = start_latency(device, 65536, rate, 60)
    time.sleep(2)		# fio has begun
    times["alone"] = now_ms()
    watch.until(ALONE)
    times["both"] = now_ms()
    dm.dm_message("data", "resume")
    watch.until(BOTH)
    times["free"] = now_ms()
    stop(load)
    every += latencies({})[1]
    time.sleep(0.5)
    times["idle"] = now_ms()
    watch.until(FREE)
    times["end"] = now_ms()
    load = start_latency(device, 65536, rate, 60)
    watch.until(2 + AGAIN)
    stop(load)
    again = latencies({})[1]
    every += again
    dm.dm_remove("data")
    for leg in LEGS:
        drop_null(leg)

    def mean(begin, end):
        found = [us for at, us in every if begin <= at < end]
        return sum(found) / len(found)
    came = min(at for at, _ in again)
    kind = "auto" if features else "none"
    alone = mean(times["alone"], times["both"])
    result(part="pace", model=model, rate=kind, alone_us=round(alone, 1),
           both_us=round(mean(times["both"], times["free"]), 1),
           again_us=round(mean(came + 100, came + 1000), 1),
           first_us=round(mean(came, came + 100), 1),
           both_mib_s=round(watch.mib_s(times["both"], times["free"]), 1),
           idle_mib_s=round(watch.mib_s(times["idle"], times["end"]), 1))
    windows = {}
    for at, us in every:
        windows.setdefault((at - times["both"]) // 100 * 100, []).append(us)
    for at, values in sorted(windows.items()):
        if at >= -ALONE * 1000:
            result(part="pace-latency", model=model, rate=kind, t_ms=at,
                   mean_us=round(sum(values) / len(values), 1))
    for one, other in zip(watch.rows, watch.rows[1:]):
        if other[0] > one[0]:
            result(part="pace-speed", model=model, rate=kind,
                   t_ms=one[0] - times["both"],
                   mib_s=round((other[1] - one[1]) / MIB * 1000 /
                               (other[0] - one[0]), 1))


def part_pace():
    for model in PACED[:1] if QUICK else PACED:
        for features in ((), ("rate:auto", f"latency_target:{TARGET}")):
            measure_pace(model, *features)


# ---------------------------------------------------------------------------
# Rates
# ---------------------------------------------------------------------------

def figure(name, which):
    return int(re.search(rf" {which}:(\d+)", dm.dm_lines(name)[0])[1])


def measure_rate(feature, which, kib, *more):
    """The least and the most that comes in any ten seconds, to what is allowed."""
    for leg in LEGS:
        new_null(leg, 1024)
    dm.dm_create("copy", zmirror("/dev/src", "/dev/dst", f"{feature}:{kib}", *more))
    rows = []
    for _ in range(251):
        rows.append((time.monotonic(), figure("copy", which) / 2))
        time.sleep(0.1)
    parts = []
    for i, (begin, done) in enumerate(rows):
        later = [row for row in rows[i:] if row[0] >= begin + 10]
        if later:
            parts.append((later[0][1] - done) / (later[0][0] - begin) / kib)
    dm.dm_remove("copy")
    for leg in LEGS:
        drop_null(leg)
    result(part="rates", feature=feature, kib=kib, least=round(min(parts), 4),
           most=round(max(parts), 4))


def measure_exempt():
    """1 GiB with 10 MiB of data in it, at 10 MiB a second."""
    src, dst = new_loop("/src", 1024), new_loop("/dst", 1024)
    with open(WORK + "/src", "r+b") as file:
        for i in range(160):
            file.seek(i * (1024 * MIB // 160) // 65536 * 65536)
            file.write(os.urandom(65536))
    for features in (("dest_zeroed",), ()):
        took = resync_dm(zmirror(src, dst, "rate:10240", *features))
        if not same("/src", "/dst"):
            sys.exit("copied wrongly")
        result(part="exempt", dest_zeroed=len(features), seconds=took / 1000)
    for device in (src, dst):
        run("losetup", "--detach", device)
    for path in ("/src", "/dst"):
        os.unlink(WORK + path)


def part_rates():
    measure_rate("rate", "copied", 10240, "zero_detect:off")
    measure_rate("rate", "copied", 512, "zero_detect:off")
    measure_rate("scan_rate", "read", 10240, "dest_zeroed")
    measure_exempt()


# ---------------------------------------------------------------------------
# Verify, for an hour
# ---------------------------------------------------------------------------

def part_verify():
    """Under a load that writes each region again and again, past the cache and
    through it, one verify after another; the legs are equal all the time."""
    seconds = 60 if QUICK else 3600
    for leg in LEGS:
        new_null(leg, 16)	# all zeroes
    dm_create("data", zmirror("/dev/src", "/dev/dst", "nosync", "scan_rate:4096"))
    common = ("--filename=/dev/mapper/data", "--rw=randwrite", "--time_based",
              f"--runtime={seconds}", "--norandommap=1",
              "--allow_file_create=0", "--refill_buffers=1", "--minimal")
    loads = [start("fio", "--name=direct", "--direct=1", "--ioengine=libaio",
                   "--iodepth=8", "--rate=640k", "--size=8m",
                   "--bsrange=512-128k", *common,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL),
             start("fio", "--name=mapped", "--ioengine=mmap", "--offset=8m",
                   "--rate=320k", "--size=8m", "--fsync=32",
                   "--bsrange=4k-128k", *common,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)]
    begin = time.monotonic()
    passes = compared = mismatches = unverified = 0
    while any(load.poll() is None for load in loads):
        dm.dm_message("data", "verify")
        while re.search(r" verify:(\d+)/(?!\1 )", dm.dm_lines("data")[0]):
            time.sleep(0.5)
        passes += 1
        mismatches += figure("data", "mismatch")
        unverified += figure("data", "unverified")
        compared += sectors("/dev/src") // 128
    result(part="verify", seconds=round(time.monotonic() - begin), passes=passes,
           regions=compared, mismatches=mismatches, unverified=unverified,
           written_mib=stat("/dev/src")[1] // MIB)
    dm.dm_remove("data")
    if not same("/dev/src", "/dev/dst"):
        sys.exit("the legs differ")
    for leg in LEGS:
        drop_null(leg)


# ---------------------------------------------------------------------------
# Growth
# ---------------------------------------------------------------------------

def memory():
    """Bytes that the kernel has in use for itself."""
    found = dict(re.findall(r"(\w+): +(\d+) kB", get("/proc/meminfo")))
    return sum(int(found[word]) * 1024 for word in
               ("VmallocUsed", "Slab", "Percpu"))


def grown(gib):
    """Figures of a mirror of that size; its legs hold nothing."""
    length = gib << 21
    for leg in LEGS:
        dm_create(leg, f"0 {length} zero")
    legs = [f"/dev/mapper/{leg}" for leg in LEGS]
    plain = timed(dm.dm_create, "one", f"0 {length} linear {legs[0]} 0")
    dm.dm_remove("one")
    time.sleep(0.1)
    before = memory()
    create = timed(dm.dm_create, "one", f"0 {length} zmirror {legs[0]} 0 "
                   f"{legs[1]} 0 0 2 nosync paused")
    used = memory() - before
    regions = int(dm.dm_lines("one")[0].split()[3].split("/")[1])
    dm.dm_message("one", f"mark dirty {regions - 1}")
    events = int(dm.dm_info("one")[0].split()[2])

    def whole_pass():
        """Over all that is clean, to the last region."""
        dm.dm_message("one", "resume")
        dm_wait("one", events)

    figures = {
        "create_ms": create,
        "linear_ms": plain,
        "status_ms": timed(dm.dm_lines, "one"),
        "pass_ms": timed(whole_pass),
        "list_ms": timed(dm.dm_message, "one", "list dirty"),
        "suspend_ms": timed(dm.dm_suspend, "one"),
        "resume_ms": timed(dm.dm_resume, "one"),
    }
    for name in ("one", *LEGS):
        dm.dm_remove(name)
    return {"size_gib": gib, "regions": regions, "bytes": used,
            **{k: round(v, 2) for k, v in figures.items()}}


def part_growth():
    sizes = (1, 1024, 65536) if QUICK else (1, 64, 1024, 16384, 65536)
    for gib in sizes:
        grown(gib)
    for gib in sizes:
        result(part="growth", **grown(gib))


# ---------------------------------------------------------------------------
# Several processors; this clock is not exact
# ---------------------------------------------------------------------------

def part_smp():
    cpus = os.cpu_count()
    for leg in LEGS:
        fill(new_null(leg, 256, submit_queues=cpus))
    figures = {name: [] for name in ("raw", LINEAR, "floor", "zmirror")}
    for turn in range(4):
        for name, found in figures.items():
            device = Device(name)
            out = run("fio", "--name=smp", f"--filename={device.path}",
                      "--ioengine=libaio", "--direct=1", "--rw=randwrite",
                      "--bs=4k", "--iodepth=16", f"--numjobs={cpus}",
                      "--thread", "--size=64m", "--offset_increment=64m",
                      "--norandommap=1", "--time_based", "--runtime=1500ms",
                      "--group_reporting", "--allow_file_create=0",
                      "--output-format=json")
            iops = json.loads(out[out.index("{"):])["jobs"][0]["write"]["iops"]
            if turn:
                found.append(iops)
            device.drop()
    for name, found in figures.items():
        result(part="smp", device=name, cpus=cpus,
               iops=round(sorted(found)[len(found) // 2]), noisy=True)
    for leg in LEGS:
        drop_null(leg)


PARTS = {"throughput": part_throughput, "bars": part_bars,
         "4kn": part_4kn, "resync": part_resync,
         "latency": part_latency, "pace": part_pace, "rates": part_rates,
         "verify": part_verify, "growth": part_growth, "smp": part_smp}


def host(*command, check=True):
    """Runs what is not measured."""
    return subprocess.run(command, check=check, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                          text=True).stdout


def new_root():
    host("mount", "-t", "tmpfs", "-o", "size=80%,huge=never", "bench", WORK)
    for name in ("bin", "dev", "etc", "jobs", "proc", "run", "sys", "tmp"):
        os.mkdir(f"{WORK}/{name}")
    for name in ("dev", "proc", "sys"):
        host("mount", "--rbind", f"/{name}", f"{WORK}/{name}")
    for path in glob.glob(f"{HERE}/jobs/*.fio"):
        shutil.copy(path, f"{WORK}/jobs")
    for name in TOOLS:
        path = shutil.which(name)
        if not path:
            continue
        shutil.copy(path, f"{WORK}/bin")
        for library in re.findall(r"(/\S+) \(0x", host("ldd", path,
                                                       check=False)):
            copy = WORK + library
            if not os.path.exists(copy):
                os.makedirs(os.path.dirname(copy), exist_ok=True)
                shutil.copy(library, copy)


def main():
    for module in ("loop", "null_blk", "dm-mirror", "raid1", "dm-clone"):
        more = ["nr_devices=0"] if module == "null_blk" else []
        host("modprobe", module, *more, check=False)
    host("insmod", os.environ["ZM_FLOOR"])
    # The console is slow, and not what is measured.
    host("dmesg", "-n", "1")
    # For what fio writes from.
    put("/proc/sys/vm/nr_hugepages", 80)
    new_root()
    for part in sys.argv[1:]:
        PARTS[part]()


main()
