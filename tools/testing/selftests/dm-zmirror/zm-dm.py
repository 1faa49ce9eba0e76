#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Carries out device-mapper commands, as dmsetup does, many in one process.

Where programs take long to start, as on an emulated machine, the tests would
otherwise spend most of their time on starting dmsetup.

Reads commands from standard input, one a line, with tabs between the words. The
answer to each is a line with the number of the error (0 is none) and the number
of lines that follow, and then these. A TABLE is lines with semicolons between.

create NAME [TABLE]             make a device; with a table, resume it
load NAME TABLE [readonly]      load a table
clear NAME                      forget the table that was loaded
suspend NAME [noflush] [nolockfs]
resume NAME [noflush] [nolockfs]
message NAME TEXT
status NAME
table NAME [inactive]
info NAME                       minor, open count, event number, and
                                "active" or "suspended"
remove NAME
log TEXT                        write to the kernel's log
"""
import errno
import fcntl
import os
import struct
import sys
import time

# struct dm_ioctl, and struct dm_target_spec
HEADER = struct.Struct("=3I II I i I I I Q 128s 129s 7x")
SPEC = struct.Struct("=QQiI16s")
SIZE = 1 << 16

CREATE, REMOVE, SUSPEND, STATUS, LOAD, CLEAR = 3, 4, 6, 7, 9, 10
TABLE, MESSAGE = 12, 14

FLAGS = {"readonly": 1, "suspend": 2, "table": 16, "nolockfs": 1 << 10,
         "noflush": 1 << 11, "inactive": 1 << 12}
SUSPENDED = 2


class Failure(Exception):
    """A command that the kernel refuses."""


def call(control, number, name, flags=(), targets=0, payload=b""):
    """Returns the header's fields and the data behind it."""
    bits = sum(FLAGS[flag] for flag in flags)
    header = HEADER.pack(4, 0, 0, SIZE, HEADER.size, targets, 0, bits, 0, 0, 0,
                         name.encode(), b"")
    buf = bytearray((header + payload).ljust(SIZE, b"\0"))
    try:
        fcntl.ioctl(control, 3 << 30 | HEADER.size << 16 | 0xFD << 8 | number,
                    buf)
    except OSError as error:
        raise Failure(error.errno) from error
    fields = HEADER.unpack_from(buf)
    return fields, buf[fields[4]:]


def load(control, name, table, *flags):
    payload = b""
    lines = table.split(";")
    for line in lines:
        start, length, target, *params = line.strip().split(" ", 3)
        text = (params[0] if params else "").encode() + b"\0"
        text = text.ljust((len(text) + 7) & ~7, b"\0")
        payload += SPEC.pack(int(start), int(length), 0, SPEC.size + len(text),
                             target.encode()) + text
    call(control, LOAD, name, flags, len(lines), payload)


def create(control, name, table=None):
    call(control, CREATE, name)
    if table is None:
        return
    try:
        load(control, name, table)
        call(control, SUSPEND, name)
    except Failure:
        call(control, REMOVE, name)
        raise


def remove(control, name):
    """Whoever looks at new devices may keep one open for a moment."""
    deadline = time.monotonic() + 3
    while True:
        try:
            return call(control, REMOVE, name) and None
        except Failure as failure:
            if (failure.args[0] != errno.EBUSY or
                    time.monotonic() > deadline):
                raise
            time.sleep(0.05)


def status(control, name, *flags):
    fields, data = call(control, TABLE, name, flags)
    lines, at = [], 0
    for _ in range(fields[5]):
        start, length, _, following, target = SPEC.unpack_from(data, at)
        text = data[at + SPEC.size:data.index(0, at + SPEC.size)].decode()
        lines.append("%d %d %s %s" % (start, length,
                                      target.rstrip(b"\0").decode(), text))
        at = following
    return [line.rstrip(" ") for line in lines]


def info(control, name):
    fields, _ = call(control, STATUS, name)
    minor = fields[10] & 0xFF | fields[10] >> 12 & 0xFFF00
    state = "suspended" if fields[7] & SUSPENDED else "active"
    return ["%d %d %d %s" % (minor, fields[6], fields[8], state)]


def one(control, verb, name, *args):
    if verb == "create":
        return create(control, name, *args)
    if verb == "load":
        return load(control, name, *args)
    if verb == "clear":
        call(control, CLEAR, name)
    elif verb == "suspend":
        call(control, SUSPEND, name, ("suspend",) + args)
    elif verb == "resume":
        call(control, SUSPEND, name, args)
    elif verb == "message":
        call(control, MESSAGE, name,
             payload=struct.pack("=Q", 0) + args[0].encode() + b"\0")
    elif verb == "status":
        return status(control, name)
    elif verb == "table":
        return status(control, name, "table", *args)
    elif verb == "info":
        return info(control, name)
    elif verb == "remove":
        return remove(control, name)
    elif verb == "log":
        with open("/dev/kmsg", "w", encoding="ascii") as log:
            log.write(name + "\n")
    else:
        raise Failure(errno.ENOSYS)
    return None


def main():
    assert HEADER.size == 312 and SPEC.size == 40
    control = os.open("/dev/mapper/control", os.O_RDWR)
    for line in sys.stdin:
        code, lines = 0, []
        try:
            lines = one(control, *line.rstrip("\n").split("\t")) or []
        except Failure as failure:
            code = failure.args[0]
        print("\n".join(["%d %d" % (code, len(lines))] + lines), flush=True)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        sys.exit(__doc__)
    main()
