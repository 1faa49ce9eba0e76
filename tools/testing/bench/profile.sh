#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Where the instructions of a write of 4 KiB go: profile.sh [--kernel 6.1|6.12|newest]
#
# A plugin counts what the guest executes while fio writes at random, depth 16, to
# dm-linear and to a mirror in sync. Prints a table: instructions a write, by
# function, of all that takes five or more.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
kernel=6.12
while [ $# -gt 0 ]; do
	case "$1" in
	--kernel) kernel=$2; shift 2 ;;
	*) sed -n '4p' "$0" >&2; exit 2 ;;
	esac
done

"$here/../vm/deps.sh" build vm
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
gcc -O2 -Wall -Wextra -shared -fPIC -o "$out/insn-count.so" "$here/insn-count.c"
# The guest may have another C library.
gcc -O2 -Wall -static -o "$out/zm-bench" "$here/zm-bench.c"
"$here/../vm/run.sh" --icount --kernel "$kernel" --out "$out" \
	--plugin "$out/insn-count.so,out=$out/insns" -- \
	"$here/profile-guest.sh" /out/files
"$here/profile.py" "$out"
