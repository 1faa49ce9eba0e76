#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Applications that write while a volume is moved, for the tests of the tool.

    zm-writers.py rows DATABASE STOP     transactions of SQLite's, each one counted
    zm-writers.py check DATABASE COUNT   whether all of them are there
    zm-writers.py gaps FILE STOP LOG     writes of 4 KiB one after another, timed
    zm-writers.py spread DEVICE MIBYTES  that much in pieces with holes of a GiB and more
    zm-writers.py spread-check DEVICE MIBYTES

Writers go on until a file STOP is there; they end with an error at the first write that
fails. The number of rows goes to standard output. LOG gets a line for each write that took
longer than 2 ms: when it began and how long it took, in microseconds of the clock that
bash has as EPOCHREALTIME.
"""

import mmap
import os
import sqlite3
import sys
import time

BLOCK = 4096
BLOCKS = 256
UNIT = 65536
MIBYTE = 1 << 20
PIECE_MIBYTES = 64


def rows(database, stop):
    """Commits a row a transaction; each is on the disk when it has ended."""
    connection = sqlite3.connect(database, isolation_level=None)
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("CREATE TABLE t (n INTEGER PRIMARY KEY, text TEXT, check_sum INTEGER)")
    count = 0
    while not os.path.exists(stop):
        text = f"row {count} " * (count % 50 + 1)
        connection.execute("INSERT INTO t VALUES (?, ?, ?)", (count, text, sum(text.encode())))
        count += 1
    connection.close()
    print(count)


def check(database, count):
    """Prints what is wrong."""
    connection = sqlite3.connect(database)
    state = connection.execute("PRAGMA integrity_check").fetchone()[0]
    if state != "ok":
        print(f"integrity: {state}")
    at = 0
    for number, text, check_sum in connection.execute("SELECT * FROM t ORDER BY n"):
        if number != at or check_sum != sum(text.encode()):
            print(f"row {at} is not there, or is not as it was")
            return
        at += 1
    if at != int(count):
        print(f"{at} rows, not {count}")


def gaps(path, stop, log_path):
    """Writes the blocks of a file in turn, past the page cache and through all others."""
    buffer = mmap.mmap(-1, BLOCK)
    file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    os.posix_fallocate(file, 0, BLOCK * BLOCKS)
    os.pwrite(file, b"\0" * (BLOCK * BLOCKS), 0)
    os.fsync(file)
    os.close(file)
    file = os.open(path, os.O_RDWR | os.O_DIRECT | os.O_DSYNC)
    number = 0
    with open(log_path, "w", encoding="ascii") as log:
        while not os.path.exists(stop):
            buffer[:] = number.to_bytes(8, "little") * (BLOCK // 8)
            begin = time.time_ns()
            if os.pwritev(file, [buffer], BLOCK * (number % BLOCKS)) != BLOCK:
                sys.exit("a short write")
            took = time.time_ns() - begin
            if took > 2_000_000:
                print(begin // 1000, took // 1000, file=log, flush=True)
            number += 1
            time.sleep(0.0005)
    print(number)


def pieces(device, mibytes):
    """Where they are, and what is in them: no two units of one are alike, but a page takes
    no memory of a disk that compresses."""
    size = os.lseek(device, 0, os.SEEK_END)
    count = int(mibytes) // PIECE_MIBYTES
    for number in range(count):
        at = size // count * number // MIBYTE * MIBYTE
        for mib in range(PIECE_MIBYTES):
            unit = (number << 32) + mib * MIBYTE // UNIT + 1
            yield at + mib * MIBYTE, b"".join((unit + i).to_bytes(8, "little") * (UNIT // 8)
                                              for i in range(MIBYTE // UNIT))


def spread(path, mibytes):
    device = os.open(path, os.O_RDWR | os.O_DIRECT)
    buffer = mmap.mmap(-1, MIBYTE)
    for at, data in pieces(device, mibytes):
        buffer[:] = data
        if os.pwritev(device, [buffer], at) != MIBYTE:
            sys.exit("a short write")
    os.fsync(device)


def spread_check(path, mibytes):
    device = os.open(path, os.O_RDONLY | os.O_DIRECT)
    buffer = mmap.mmap(-1, MIBYTE)
    for at, data in pieces(device, mibytes):
        if os.preadv(device, [buffer], at) != MIBYTE or buffer[:] != data:
            sys.exit(f"other data behind {at}")


if __name__ == "__main__":
    {"rows": rows, "check": check, "gaps": gaps, "spread": spread,
     "spread-check": spread_check}[sys.argv[1]](*sys.argv[2:])
