#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Makes profile.sh's table of what insn-count.c has counted: profile.py DIRECTORY"""

import bisect
import collections
import sys

WRITES = 10000		# that the second count of a device has more
LEAST = 5		# instructions a write, to be in the table


def read_symbols(path):
    symbols = []
    with open(path, encoding="ascii") as file:
        for line in file:
            address, kind, name, *module = line.split()
            if kind in "tTwW":
                symbols.append((int(address, 16), " ".join([name] + module)))
    return sorted(symbols)


def read_counts(path, symbols, addresses):
    counts = collections.Counter()
    with open(path, encoding="ascii") as file:
        for line in file:
            address, insns, times = line.split()
            address = int(address, 16)
            at = bisect.bisect_right(addresses, address) - 1
            name = "(user space)" if address < 1 << 47 else symbols[at][1]
            counts[name] += int(insns) * int(times)
    return counts


def main():
    directory = sys.argv[1]
    symbols = read_symbols(f"{directory}/symbols")
    addresses = [address for address, _ in symbols]
    found = []
    for device in range(2):
        few, many = (read_counts(f"{directory}/insns.{2 * device + n}", symbols,
                                 addresses) for n in range(2))
        many.subtract(few)
        found.append({name: n / WRITES for name, n in many.items()})
    linear, zmirror = found
    print("| instructions a write | dm-linear | zmirror | more |\n|---|---|---|---|")
    rows = [("all", sum(linear.values()), sum(zmirror.values())),
            ("dm-zmirror's own", 0, sum(n for name, n in zmirror.items()
                                        if "[dm_zmirror]" in name))]
    rows += sorted(((name, linear.get(name, 0), n) for name, n in
                    zmirror.items() if n >= LEAST),
                   key=lambda row: (row[1] - row[2], row[0]))
    for name, its, mine in rows:
        print(f"| {name} | {its:,.1f} | {mine:,.1f} | {mine - its:,.1f} |")


main()
