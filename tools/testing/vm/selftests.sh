#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Runs the selftests in a guest: selftests.sh [options of run.sh] [TEST.sh...]
#
#	--part N/M	every M-th of the tests, from the N-th on
#	--lines N/M	every M-th line of each test, from the N-th on
#
# All of them unless some are named; lines with a word in them only if that is in
# ZM_ONLY. The guest is started again when a test hangs or kills it, so that it costs that
# test alone. Ends with a line for each test, and their count.
set -uo pipefail

here=$(cd "$(dirname "$0")" && pwd)
dir=$(cd "$here/../selftests/dm-zmirror" && pwd)

options=()
kernel=6.12
part=1/1
lines=1/1
exact=""
while [ $# -gt 0 ]; do
	case "$1" in
	--kernel) kernel=$2; options+=("$1" "$2"); shift 2 ;;
	--icount) options+=("$1"); exact=1; shift ;;
	--part) part=$2; shift 2 ;;
	--lines) lines=$2; shift 2 ;;
	--*) options+=("$1" "$2"); shift 2 ;;
	*) break ;;
	esac
done
tests=("$@")
if [ ${#tests[@]} = 0 ]; then
	mapfile -t tests < <(make -s -C "$dir" list)
fi

# Tests of the tool are left out where it is not there.
"$here/deps.sh" tool && make -s -C "$here/../../zmirror" program >&2 || exit 1

for i in "${!tests[@]}"; do
	[ $((i % ${part#*/})) = $((${part%/*} - 1)) ] || unset "tests[$i]"
done
tests=("${tests[@]}")

# An emulated processor with every check of the debug kernel is slow.
limit=${ZM_TEST_LIMIT:-1200}
[ "$kernel" != debug ] || limit=$((limit * 2))

# The exact clock may run ahead of the host's.
within=$limit
[ -z "$exact" ] || within=$((limit * 4))

out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT

# QEMU's emulation of several processors may run into the breakpoint by which
# one of them patches code (a tracepoint, a static key) while another executes
# it. That is not the kernel's doing: the test is run again, twice at most.
patched=0
emulator_died()
{
	grep -q 'Oops: int3:' "$out/kernel.log" 2>/dev/null &&
		[ $((patched += 1)) -le 2 ]
}

started=0
while [ "$started" -lt ${#tests[@]} ]; do
	left=("${tests[@]:started}")
	rm -f "$out/kernel.log"
	ZM_KERNEL_LOG=$out/kernel.log \
		"$here/run.sh" "${options[@]}" --no-klog --out "$out" \
		--timeout $((limit * ${#left[@]} + 300)) -- \
		env ZM_LINES="$lines" ZM_ONLY="${ZM_ONLY:-}" ZM_EXACT="$exact" \
		"$here/guest-selftests.sh" "$within" "${left[@]}"
	status=$?

	now=$(wc -l <"$out/results" 2>/dev/null || echo 0)
	if [ "$now" = "${#tests[@]}" ]; then
		break
	fi
	# The guest did not come to the end: the test that ran is to blame.
	if [ $status != 75 ] && emulator_died; then
		echo "# the emulator died in ${tests[now]}, which is run again"
		started=$now
		continue
	fi
	if [ $status != 75 ]; then
		echo "not ok ${tests[now]} (the guest died)" >>"$out/results"
		now=$((now + 1))
	fi
	if [ "$now" = "$started" ]; then
		echo "selftests.sh: the guest does not start" >&2
		exit 1
	fi
	started=$now
done

echo "# selftests on $kernel"
cat "$out/results"
passed=$(grep -c '^ok .*' "$out/results")
failed=$(grep -c '^not ok' "$out/results")
skipped=$(grep -c '^skip' "$out/results")
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" = 0 ] && [ $((passed + skipped)) = ${#tests[@]} ]
