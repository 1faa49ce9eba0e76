#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Makes results.json, results.md and plots of the benchmark's figures.

    report.py [--quick] [--old RESULTS.JSON] DIRECTORY FILE...

The files hold a JSON object a line, in any order. The parts that they do not have are
taken from older results, if there are any. What is missing is told to be missing,
unless this was --quick. Exits with 1 when a bar is missed, or its figure missing.
"""

import json
import subprocess
import sys

SIZES = {4096: "4 KiB", 65536: "64 KiB", 1 << 20: "1 MiB"}
DEVICES = ("raw", "linear", "floor", "zmirror", "zmirror-paused",
           "zmirror-async", "dm-mirror", "md-raid1", "md-raid1-bitmap")
LIVE = ("zmirror", "dm-mirror", "md-raid1")


class Figures:
    def __init__(self, rows, kernel):
        self.rows = [row for row in rows if row["kernel"] == kernel]

    def all(self, part, **keys):
        return [row for row in self.rows if row["part"] == part and
                all(row.get(key) == value for key, value in keys.items())]

    def one(self, part, figure, **keys):
        found = self.all(part, **keys)
        return found[-1].get(figure) if found else None


def number(value, form="{:,.0f}"):
    return "missing" if value is None else form.format(value)


def ratio(one, other):
    return one / other if one and other else None


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


# ---------------------------------------------------------------------------
# Bars
# ---------------------------------------------------------------------------

def iops(figures, device, job, size=4096, depth=16):
    return figures.one("throughput", "iops", device=device, job=job, bs=size,
                       depth=depth)


def throughput_bars(figures):
    def best(device, job, size=4096):
        return figures.one("bars", "iops", device=device, job=job, bs=size,
                           depth=16) or iops(figures, device, job, size)

    def bar(what, device, other, least, job="randwrite", size=4096):
        return (f"{what} of {SIZES[size]}, to {other}",
                ratio(best(device, job, size), best(other, job, size)), ">=", least)

    for size in SIZES:
        yield bar("in sync, random write", "zmirror", "floor", 1.00, size=size)
    yield bar("in sync, random write", "zmirror", "linear", 0.72)
    yield bar("random read", "zmirror", "linear", 0.99, job="randread")
    for device in ("zmirror-paused", "zmirror-async"):
        yield bar(f"{device}, random write", device, "linear", 0.93)


def latency(figures, model, device, figure, op="write", phase="during"):
    return figures.one("latency", figure, model=model, device=device, op=op,
                       phase=phase)


def latency_bars(figures):
    """What a resync adds is what counts: no mirror makes the disk faster. The
    least of the figures before it is the disk's."""
    for model, most in (("nvme", 0.5), ("nvme-backed", 1.0)):
        for op in ("read", "write"):
            for figure in ("mean_us", "p999_us"):
                idle = min((value for value in (
                    latency(figures, model, peer, figure, op, "before")
                    for peer in LIVE) if value is not None), default=None)
                for peer in LIVE[1:]:
                    mine = latency(figures, model, "zmirror", figure, op)
                    its = latency(figures, model, peer, figure, op)
                    known = None not in (idle, mine, its)
                    yield (f"{model}: {figure[:-3]} that a resync adds to a "
                           f"{op}, to {peer}",
                           (mine - idle) / max(its - idle, 1)
                           if known else None, "<=", most)
        for peer in LIVE[1:]:
            mine = figures.one("latency-resync", "seconds", model=model,
                               device="zmirror")
            its = figures.one("latency-resync", "seconds", model=model,
                              device=peer)
            yield (f"{model}: time of that resync, to {peer}",
                   ratio(mine, its), "<=", 1.0)


def absolute_table(figures):
    """The same figures as they are, with the disk's own share in them."""
    rows = []
    for model in ("nvme", "nvme-backed"):
        for peer in LIVE[1:]:
            row = [f"{model}, to {peer}"]
            for op in ("read", "write"):
                for figure in ("mean_us", "p999_us"):
                    row.append(number(ratio(
                        latency(figures, model, "zmirror", figure, op),
                        latency(figures, model, peer, figure, op)), "{:.3f}"))
            rows.append(row)
    return table(("latency during a resync", "read: mean", "p99.9",
                  "write: mean", "p99.9"), rows)


PACED = ("nvme", "sata", "cloud", "slow-dest")
TARGET = 25		# percent; as in bench-guest.py


def pace_bars(figures):
    for model in PACED:
        def pace(figure, rate="auto", model=model):
            return figures.one("pace", figure, model=model, rate=rate)

        limit = 1 + TARGET / 100
        yield (f"{model}: mean latency with rate:auto in resync, to that alone",
               ratio(pace("both_us"), pace("alone_us")), "<=", limit)
        yield (f"{model}: the same from 100 ms after a load came to an idle mirror",
               ratio(pace("again_us"), pace("alone_us")), "<=", limit)
        yield (f"{model}: idle, speed of resync with rate:auto, to no rate",
               ratio(pace("idle_mib_s"), pace("idle_mib_s", "none")), ">=", 0.85)
        yield (f"{model}: under load, MiB/s of resync with rate:auto",
               pace("both_mib_s"), ">=", 1)


def rates_bars(figures):
    for feature, kib in (("rate", 10240), ("rate", 512), ("scan_rate", 10240)):
        for figure, sign, limit in (("least", ">=", 0.95), ("most", "<=", 1.05)):
            yield (f"{feature}:{kib}: {figure} in any ten seconds, to that",
                   figures.one("rates", figure, feature=feature, kib=kib), sign,
                   limit)
    for zeroed, what in ((1, "dest_zeroed"), (0, "no promise")):
        yield (f"seconds for 1 GiB with 10 MiB of data at 10 MiB/s, {what}",
               figures.one("exempt", "seconds", dest_zeroed=zeroed), "<=", 1.25)


def verify_bars(figures):
    yield ("seconds of verify under load", figures.one("verify", "seconds"), ">=",
           3600)
    yield ("mismatches that are none", figures.one("verify", "mismatches"), "<=", 0)


def growth_bars(figures):
    rows = figures.all("growth")
    largest = max(rows, key=lambda row: row["size_gib"], default=None)
    if not largest:
        yield "growth", None, "<=", 0
        return
    bits = max(0, largest["bytes"] - (4 << 20)) * 8 / largest["regions"]
    yield ("64 TiB: bits a region beyond 4 MiB", bits, "<=", 3)
    small = min(rows, key=lambda row: row["size_gib"])
    yield ("1 GiB: MiB of memory", small["bytes"] / (1 << 20), "<=", 4)
    yield ("64 TiB: seconds to create", largest["create_ms"] / 1000, "<=", 1)


def bars(figures, quick):
    found = list(throughput_bars(figures)) + list(latency_bars(figures)) + \
        list(pace_bars(figures)) + list(rates_bars(figures)) + \
        list(verify_bars(figures)) + list(growth_bars(figures))
    missed = False
    rows = []
    for what, value, sign, limit in found:
        if value is None and quick:
            continue
        if value is None:
            verdict = "missing"
            missed = True
        else:
            holds = value >= limit if sign == ">=" else value <= limit
            verdict = "ok" if holds else "MISSED"
            missed |= not holds
        rows.append((what, number(value, "{:.3f}"), f"{sign} {limit}", verdict))
    return table(("bar", "measured", "wanted", ""), rows), missed


# ---------------------------------------------------------------------------
# Tables
# ---------------------------------------------------------------------------

def throughput_tables(figures):
    rows = figures.all("throughput")
    for job in sorted({row["job"] for row in rows}):
        for size in sorted({row["bs"] for row in rows if row["job"] == job}):
            depths = sorted({row["depth"] for row in rows
                             if row["job"] == job and row["bs"] == size})
            lines = []
            for device in DEVICES:
                line = [device]
                for depth in depths:
                    mine = iops(figures, device, job, size, depth)
                    line += [number(mine)] + [
                        number(ratio(mine, iops(figures, peer, job, size,
                                                depth)), "{:.3f}")
                        for peer in ("linear", "floor")]
                lines.append(line)
            head = ["IOPS"]
            for depth in depths:
                head += [f"depth {depth}", "to linear", "to floor"]
            yield f"### {job}, {SIZES[size]}\n\n{table(head, lines)}"
    lines = []
    for device in DEVICES:
        mine = figures.one("4kn", "iops", device=device)
        lines.append([device, number(mine)] + [
            number(ratio(mine, figures.one("4kn", "iops",
                                           device=peer)), "{:.3f}")
            for peer in ("linear", "floor")])
    if figures.all("4kn"):
        yield "### randwrite, 4 KiB, on disks with blocks of that size\n\n" + \
            table(("IOPS", "depth 16", "to linear", "to floor"), lines)


def resync_tables(figures):
    for data, what in (("dense", "all data"),
                       ("tenth", "one region of 64 KiB in ten has data"),
                       ("empty", "all zeroes")):
        rows = sorted(figures.all("resync", data=data), key=lambda r: r["ms"])
        if rows:
            yield f"### A full copy of {rows[0]['mib']} MiB, {what}\n\n" + table(
                ("tool", "ms", "MiB read", "written", "allocated"),
                [(r["tool"], number(r["ms"], "{:,.1f}"),
                  *(number(r[key]) for key in ("read_mib", "written_mib",
                                               "allocated_mib")))
                 for r in rows])


def latency_tables(figures):
    for model in sorted({r["model"] for r in figures.all("latency")}):
        lines = []
        for device in LIVE:
            for phase in ("before", "during", "after"):
                line = [device, phase]
                for op in ("read", "write"):
                    line += [number(latency(figures, model, device, key, op,
                                            phase))
                             for key in ("mean_us", "p99_us", "p999_us", "iops")]
                seconds = figures.one("latency-resync", "seconds", model=model,
                                      device=device)
                line.append(number(seconds, "{:.2f}")
                            if phase == "during" else "")
                lines.append(line)
        yield f"### {model}\n\n" + table(
            ("us", "resync", "read: mean", "p99", "p99.9", "IOPS", "write: mean",
             "p99", "p99.9", "IOPS", "seconds"), lines)


def pace_table(figures):
    lines = []
    for model in PACED:
        for rate in ("none", "auto"):
            lines.append([model, rate] + [
                number(figures.one("pace", key, model=model, rate=rate))
                for key in ("alone_us", "both_us", "first_us", "again_us",
                            "both_mib_s", "idle_mib_s")])
    return table(("", "rate", "mean us, load alone", "and resync",
                  "first 100 ms of load", "after these",
                  "MiB/s under load", "idle"), lines)


def growth_table(figures):
    rows = sorted(figures.all("growth"), key=lambda row: row["size_gib"])
    return table(
        ("GiB", "regions", "MiB of memory", "bits a region", "create, ms",
         "dm-linear's", "status", "pass", "list", "suspend", "resume"),
        [(number(r["size_gib"]), number(r["regions"]),
          number(r["bytes"] / (1 << 20), "{:,.1f}"),
          number(r["bytes"] * 8 / r["regions"], "{:,.2f}"),
          *(number(r[key], "{:,.1f}") for key in (
              "create_ms", "linear_ms", "status_ms", "pass_ms", "list_ms",
              "suspend_ms", "resume_ms"))) for r in rows])


def smp_table(figures):
    counts = sorted({row["cpus"] for row in figures.all("smp")})
    names = ("raw", "linear", "floor", "zmirror")
    return table(["IOPS, noisy"] + [f"{n} processors" for n in counts], [
        [name] + [number(figures.one("smp", "iops", device=name, cpus=n))
                  for n in counts] for name in names])


# ---------------------------------------------------------------------------
# Plots
# ---------------------------------------------------------------------------

def gnuplot(script):
    subprocess.run(["gnuplot"], input=script, text=True, check=True)


def data(rows):
    return "\n".join(" ".join(str(word) for word in row) for row in rows)


def plot_latency(figures, directory, short):
    for model in sorted({r["model"] for r in figures.all("latency-log")}):
        blocks, curves = [], []
        for device in LIVE:
            rows = sorted((r["t_ms"] / 1000, r["mean_us"]) for r in
                          figures.all("latency-log", model=model,
                                      device=device))
            if rows:
                name = device.replace("-", "_")
                blocks.append(f"${name} << EOD\n{data(rows)}\nEOD\n")
                curves.append(f'${name} with lines lw 2 title "{device}"')
        gnuplot("".join(blocks) + f"""
set terminal svg size 900,420 font "sans,13" background "white"
set output "{directory}/latency-{model}-{short}.svg"
set title "Latency through a resync: {model}, Linux {short}"
set xlabel "seconds since the resync began"
set ylabel "mean of 50 ms, us"
set logscale y
set yrange [50:*]
set grid ytics
set key outside right
plot {", ".join(curves)}
""")


def plot_pace(figures, directory, short):
    for model in PACED:
        blocks, latency_curves, speeds = [], [], []
        for rate, title in (("none", "no rate"), ("auto", "rate:auto")):
            for part, key, curves in (
                    ("pace-latency", "mean_us", latency_curves),
                    ("pace-speed", "mib_s", speeds)):
                rows = sorted((r["t_ms"] / 1000, r[key]) for r in
                              figures.all(part, model=model, rate=rate))
                if not rows:
                    continue
                # No line where there was no load.
                spaced = []
                for one, after in zip(rows, rows[1:] + rows[-1:]):
                    spaced.append(one)
                    if after[0] - one[0] > 0.4:
                        spaced.append(())
                name = f"{key}_{rate}"
                blocks.append(f"${name} << EOD\n{data(spaced)}\nEOD\n")
                curves.append(f'${name} with lines lw 2 title "{title}"')
        if not latency_curves or not speeds:
            continue
        alone = figures.one("pace", "alone_us", model=model, rate="auto")
        gnuplot("".join(blocks) + f"""
set terminal svg noenhanced size 900,640 font "sans,13" background "white"
set output "{directory}/pace-{model}-{short}.svg"
set multiplot layout 2,1 title "rate:auto, latency_target:{TARGET}: {model}, Linux {short}"
set lmargin 10
set rmargin 18
set grid ytics
set key outside right
set xrange [-2:*]
set ylabel "mean latency of 100 ms, us"
set logscale y
set yrange [50:*]
plot {", ".join(latency_curves)}, {alone * (1 + TARGET / 100)} with lines dt 2 lc "black" title "bound"
unset logscale y
set yrange [0:*]
set ylabel "resync, MiB/s"
set xlabel "seconds since resync began; the load stops for 2.5 seconds"
plot {", ".join(speeds)}
""")


def plot_throughput(figures, directory, short):
    shown = [d for d in DEVICES if iops(figures, d, "randwrite", 65536)]
    sizes = [s for s in SIZES if iops(figures, "zmirror", "randwrite", s)]
    if len(shown) < 3:
        return
    rows = []
    for device in shown:
        found = [iops(figures, device, "randwrite", size) for size in sizes]
        rows.append([f'"{device}"'] + [
            n * size / (1 << 20) if n else "?" for n, size in zip(found, sizes)])
    curves = ", ".join(f'$d using {i + 2}:xtic(1) title "{SIZES[size]}"'
                       for i, size in enumerate(sizes))
    gnuplot(f"""$d << EOD
{data(rows)}
EOD
set terminal svg size 900,420 font "sans,13" background "white"
set output "{directory}/throughput-{short}.svg"
set title "Random writes, depth 16, Linux {short}"
set ylabel "MiB/s of the exact clock"
set style data histogram
set style fill solid 0.8 border -1
set xtics rotate by -30
set yrange [0:*]
set grid ytics
set key outside right
plot {curves}
""")


def main():
    words, old, rows, quick = sys.argv[1:], [], [], False
    if words[0] == "--quick":
        words, quick = words[1:], True
    if words[0] == "--old":
        with open(words[1], encoding="ascii") as file:
            old = json.load(file)
        words = words[2:]
    directory = words[0]
    for path in words[1:]:
        with open(path, encoding="ascii") as file:
            rows += [json.loads(line) for line in file]
    there = {(row["kernel"], row["part"]) for row in rows}
    rows = [row for row in old
            if (row["kernel"], row["part"]) not in there] + rows
    with open(f"{directory}/results.json", "w", encoding="ascii") as file:
        file.write("[\n" + ",\n".join(json.dumps(row, sort_keys=True)
                                      for row in rows) + "\n]\n")

    text = ["# dm-zmirror, measured\n", """\
Made by `make bench` (tools/testing/bench/bench.sh; `--save` puts it here). The
clock counts instructions, one a nanosecond, so that the figures are the same on
any machine; what a processor does in parallel or waits for is not in them. The
disks are null_blk devices. *linear* is dm-linear; the *floor* is a bare target
that clones each write twice and tracks nothing (tools/testing/bench/floor).
zmirror-paused is out of sync with resync paused: what is written whole gets in
sync all the same, so that writes of 64 KiB and more go to both legs. In copies,
requests to write zeroes count as written; what they cost shows in what is
allocated; qemu-img writes to the file and not to the loop device. dd and qemu-img
do not copy what is written meanwhile. The latency bars are about what a resync
adds to the idle figure of the disk, which no mirror can go below; the ratios of the
figures as they are stand in a table of their own. The first 250 ms, in which the
mirror is put in its place under load, are in the plots only. null_blk refills its
budget of bytes every 20 ms, which is a knee: below it resync adds next to nothing,
above it requests wait for the next 20 ms. The cloud volume is a queue of one, so its
own latency is queueing in part. In the table on growth, *pass* is a resync of the
last region alone: over all that is clean. The bars on IOPS are of runs of their own,
which are longer. Where the instructions go, and why dm-linear's figure has its
bound: instructions.md.
"""]
    missed = False
    for kernel in sorted({row["kernel"] for row in rows}):
        figures = Figures(rows, kernel)
        short = ".".join(kernel.split("-")[0].split("+")[0].split(".")[:2])
        found, bad = bars(figures, quick)
        missed |= bad
        text += [f"## Linux {kernel}\n", found]
        text += throughput_tables(figures)
        text += resync_tables(figures)
        text += ["### Latency during a resync, zmirror to others\n",
                 absolute_table(figures)]
        text += latency_tables(figures)
        if figures.all("pace"):
            text += ["### A load and a resync, with and without rate:auto\n",
                     pace_table(figures)]
        for row in figures.all("verify")[-1:]:
            text += [f"### Verify\n\nIn {row['seconds']:,} seconds, {row['passes']:,} "
                     f"passes compared {row['regions']:,} regions while "
                     f"{row['written_mib']:,} MiB were written: {row['mismatches']} "
                     f"mismatches, {row['unverified']:,} regions not compared.\n"]
        if figures.all("growth"):
            text += ["### Growth\n", growth_table(figures)]
        if figures.all("smp"):
            text += ["### Processors, in a clock that is not exact\n",
                     smp_table(figures)]
        plot_latency(figures, directory, short)
        plot_throughput(figures, directory, short)
        plot_pace(figures, directory, short)
        print(f"Linux {kernel}\n\n{found}")
    with open(f"{directory}/results.md", "w", encoding="ascii") as file:
        file.write("\n".join(text))
    return 1 if missed else 0


sys.exit(main())
