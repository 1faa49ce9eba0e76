#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# The benchmark: bench.sh [--kernel 6.1|6.12|newest]... [--quick] [--save] [PART...]
#
# In guests whose clock counts instructions, so that the figures are the same on
# any machine: throughput beside a bare device, dm-linear, the floor, dm-mirror and
# md; a full resync beside other ways to copy; the latency of a steady load through
# a resync, on modelled disks; what rate:auto makes of that; how near rates are kept;
# an hour of verify; and how things grow with the device. The part smp has a
# free-running clock, and is noisy. Parts: throughput bars 4kn resync latency pace
# rates verify growth smp; all of them unless told.
#
# The results are in build/bench: results.json, results.md and plots. --save puts
# them into Documentation/benchmark; parts that were not run stay there as they were.
# Exits with 1 when a bar is missed.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../../.." && pwd)
vm=$here/../vm
kernels=() parts=() quick="" save=""
while [ $# -gt 0 ]; do
	case "$1" in
	--kernel) kernels+=("$2"); shift 2 ;;
	--quick) quick=1; shift ;;
	--save) save=1; shift ;;
	-*) sed -n '4p' "$0" >&2; exit 2 ;;
	*) parts+=("$1"); shift ;;
	esac
done
if [ -n "$quick" ]; then
	[ ${#kernels[@]} -gt 0 ] || kernels=(6.12)
	[ ${#parts[@]} -gt 0 ] || parts=(throughput latency pace rates growth resync)
fi
[ ${#kernels[@]} -gt 0 ] || kernels=(6.12 newest)
[ ${#parts[@]} -gt 0 ] || parts=(throughput bars 4kn latency pace rates verify
					 growth resync smp)

"$vm/deps.sh" build vm bench
out=$top/build/bench
mkdir -p "$out"
running=()

# Each guest has a folder of its own; two run side by side, for none keeps more
# than one processor busy. With several processors QEMU's emulation may run into
# the breakpoint by which one of them patches code while another executes it: that
# guest is started again.
guest() # KERNEL PART [OPTION of run.sh...]
{
	local tries=3

	while [ "$tries" -gt 0 ]; do
		one_guest "$@" && return
		grep -q 'Oops: int3:' "$out/$1-$2/log" || break
		tries=$((tries - 1))
	done
	echo "bench.sh: $2 on $1 failed; the end of its log:" >&2
	tail -n 20 "$out/$1-$2/log" >&2
	return 1
}

one_guest() # KERNEL PART [OPTION of run.sh...]
{
	local dir=$out/$1-$2

	rm -rf "$dir"
	mkdir -p "$dir"
	FROM=$here/floor NAME=dm-zmfloor "$vm/build-module.sh" "$1" \
		"$dir/floor.ko"
	"$vm/run.sh" --kernel "$1" --out "$dir" --timeout 10800 "${@:3}" -- \
		env ZM_RESULTS=/out/files/results ZM_FLOOR=/out/files/floor.ko \
		${quick:+QUICK=1} "$here/bench-guest.py" "$2" \
		>"$dir/log" 2>&1
}

queue() # COMMAND...
{
	while [ "$(jobs -rp | wc -l)" -ge 2 ]; do
		wait -n || :
	done
	"$@" &
	running+=($!)
}

for kernel in "${kernels[@]}"; do
	for part in "${parts[@]}"; do
		[ "$part" != smp ] || continue
		queue guest "$kernel" "$part" --icount
	done
done
failed=0
for pid in "${running[@]}"; do
	wait "$pid" || failed=1
done
# With nothing else beside it.
for kernel in "${kernels[@]}"; do
	for part in "${parts[@]}"; do
		[ "$part" = smp ] || continue
		for cpus in 1 2 4; do
			guest "$kernel" smp --cpus "$cpus" || failed=1
			mv "$out/$kernel-smp" "$out/$kernel-smp$cpus.new" &&
				rm -rf "$out/$kernel-smp$cpus" &&
				mv "$out/$kernel-smp$cpus"{.new,}
		done
	done
done

old=()
saved=$top/Documentation/benchmark/results.json
[ -z "$save" ] || [ ! -e "$saved" ] || old=(--old "$saved")
"$here/report.py" ${quick:+--quick} "${old[@]}" "$out" "$out"/*/results || failed=1
echo "the results are in $out"
if [ -n "$save" ]; then
	mkdir -p "$top/Documentation/benchmark"
	cp "$out"/results.{md,json} "$out"/*.svg "$top/Documentation/benchmark/"
fi
exit $failed
