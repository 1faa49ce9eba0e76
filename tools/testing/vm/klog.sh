#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# Looks for trouble in a kernel log on standard input. Prints each line that
# tells of any, with some that follow, and fails if there is one.

bad='WARNING:|BUG:|Oops|[Gg]eneral protection|kernel panic|Kernel panic'
bad="$bad|KASAN|UBSAN|KCSAN|KFENCE|ODEBUG|unreferenced object"
bad="$bad|possible circular locking|possible recursive locking"
bad="$bad|inconsistent lock state|bad unlock balance|held lock freed"
bad="$bad|suspicious RCU usage|irq lock inversion|INFO: trying to register"
bad="$bad|INFO: task .* blocked for more than|soft lockup|hard LOCKUP"
bad="$bad|self-detected stall|detected stalls|refcount_t:"
bad="$bad|list_(add|del) corruption|scheduling while atomic"
bad="$bad|sleeping function called|Call Trace:|page allocation failure"
bad="$bad|unable to handle|new suspected memory leaks"

# What a guest under emulation says of its own clock and processor.
fine='TSC|tsc|clocksource|x86/|spectre|Spectre|mitigat|perf: interrupt took'

found=$(grep -E -v "$fine" | grep -E -A 40 "$bad" | head -n 150)
[ -n "$found" ] || exit 0
echo "$found"
exit 1
