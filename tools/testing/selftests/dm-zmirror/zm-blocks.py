#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Somebody who uses a file while the device under it is moved.

    zm-blocks.py FILE STOP LOG

Writes blocks of 4 KiB through all caches, at most 20 a second, and reads after each what
an earlier one wrote. Ends when a file STOP is there, having read all of them, and says
how many it wrote; or with an error, at the first write or read that fails or finds
other data. LOG gets a line for each write: when it began and how long it took, in
microseconds of the clock that bash has as EPOCHREALTIME.
"""

import mmap
import os
import sys
import time

BLOCK = 4096
BLOCKS = 256


def content(number):
    return number.to_bytes(8, "little") * (BLOCK // 8)


def verify(file, buffer, block, number):
    if number is None:
        return
    if os.preadv(file, [buffer], BLOCK * block) != BLOCK or buffer[:] != content(number):
        sys.exit(f"block {block} does not have what write {number} wrote")


def use(path, stop, log):
    buffer = mmap.mmap(-1, BLOCK)
    with open(path, "wb") as file:
        file.write(b"\xff" * (BLOCK * BLOCKS))
        file.flush()
        os.fsync(file.fileno())
    file = os.open(path, os.O_RDWR | os.O_DIRECT | os.O_DSYNC)
    last = [None] * BLOCKS
    number = 0
    while not os.path.exists(stop):
        block = number * 37 % BLOCKS
        buffer[:] = content(number)
        begin = time.time_ns()
        if os.pwritev(file, [buffer], BLOCK * block) != BLOCK:
            sys.exit("a short write")
        took = time.time_ns() - begin
        print(begin // 1000, took // 1000, file=log, flush=True)
        last[block] = number
        number += 1
        other = number * 101 % BLOCKS
        verify(file, buffer, other, last[other])
        time.sleep(0.05)
    for block, written in enumerate(last):
        verify(file, buffer, block, written)
    print(number)


if __name__ == "__main__":
    with open(sys.argv[3], "w", encoding="ascii") as log_file:
        use(sys.argv[1], sys.argv[2], log_file)
