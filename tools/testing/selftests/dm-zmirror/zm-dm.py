#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Carries out many device-mapper commands in one process.

Reads commands from standard input, one a line, and answers each with a line:
0, or the number of the error.

create NAME	make a device without a table
load NAME LINE	load a table of one line
loadro NAME LINE	the same, read-only
resume NAME	begin to use the table that was loaded
suspend NAME
clear NAME	forget the table that was loaded
message NAME TEXT
remove NAME
log TEXT	write a line to the kernel's log
"""
import fcntl
import os
import struct
import sys

HEADER = struct.Struct("=3I I I I i I I I Q 128s 129s 7x")
SPEC = struct.Struct("=QQiI16s")
SIZE = 16384

CREATE, REMOVE, SUSPEND, LOAD, CLEAR, MESSAGE = 3, 4, 6, 9, 10, 14
READONLY, SUSPENDED = 1, 2


def request(number):
    return 3 << 30 | HEADER.size << 16 | 0xFD << 8 | number


def call(control, number, name, flags=0, targets=0, payload=b""):
    header = HEADER.pack(4, 0, 0, SIZE, HEADER.size, targets, 0, flags, 0, 0, 0,
                         name.encode(), b"")
    buf = bytearray((header + payload).ljust(SIZE, b"\0"))
    try:
        fcntl.ioctl(control, request(number), buf)
    except OSError as error:
        return error.errno
    return 0


def load(control, name, line, flags=0):
    start, length, target, *params = line.split(" ", 3)
    text = (params[0] if params else "").encode() + b"\0"
    text = text.ljust((len(text) + 7) & ~7, b"\0")
    spec = SPEC.pack(int(start), int(length), 0, SPEC.size + len(text),
                     target.encode())
    return call(control, LOAD, name, flags, 1, spec + text)


def one(control, verb, name, rest):
    if verb == "create":
        return call(control, CREATE, name)
    if verb == "load":
        return load(control, name, rest)
    if verb == "loadro":
        return load(control, name, rest, READONLY)
    if verb == "resume":
        return call(control, SUSPEND, name)
    if verb == "suspend":
        return call(control, SUSPEND, name, SUSPENDED)
    if verb == "clear":
        return call(control, CLEAR, name)
    if verb == "message":
        return call(control, MESSAGE, name,
                    payload=struct.pack("=Q", 0) + rest.encode() + b"\0")
    if verb == "remove":
        return call(control, REMOVE, name)
    if verb == "log":
        with open("/dev/kmsg", "w", encoding="ascii") as log:
            log.write("%s %s\n" % (name, rest))
        return 0
    sys.exit(__doc__)


def main():
    assert HEADER.size == 312 and SPEC.size == 40
    control = os.open("/dev/mapper/control", os.O_RDWR)
    for line in sys.stdin:
        verb, name, *rest = line.rstrip("\n").split(" ", 2)
        print(one(control, verb, name, rest[0] if rest else ""))
    os.close(control)


if __name__ == "__main__":
    main()
