#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Measures what zeroes cost: zeroes.sh [--kernel 6.1|6.12|newest]
#
# In a guest whose clock counts instructions, so that the figures are the same
# on any machine: unmapping zeroes over zeroes against dm-linear, a copy of the
# whole device against dd and dm-mirror, and what zero_detect costs a write that
# has data. Prints tables, and exits with 1 when a bar is missed.
#
#	ZM_PARTS	some of: zeroes sparse dense detect
#	ZM_ROUNDS	how often each is measured (3); the least counts
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
kernel=6.12
while [ $# -gt 0 ]; do
	case "$1" in
	--kernel) kernel=$2; shift 2 ;;
	*) sed -n '4p' "$0" >&2; exit 2 ;;
	esac
done

out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
# The guest may have another C library.
gcc -O2 -Wall -static -o "$out/zm-bench" "$here/zm-bench.c"
"$here/../vm/run.sh" --icount --kernel "$kernel" --out "$out" -- \
	env ZM_PARTS="${ZM_PARTS:-zeroes sparse dense detect}" \
	ZM_ROUNDS="${ZM_ROUNDS:-3}" \
	"$here/zeroes-guest.sh" /out/files/zm-bench
