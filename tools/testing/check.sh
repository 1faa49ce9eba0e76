#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# The tests of make check: the region module against its model in user space, the
# tool's unit tests, and the selftests in guests on 6.12. Ends with the count of all.
set -uo pipefail

here=$(cd "$(dirname "$0")" && pwd)
log=$(mktemp)
other=$(mktemp)
exact=$(mktemp)
trap 'rm -f "$log" "$other" "$exact"' EXIT
bad=0

passed=0
failed=0
for what in "$here/region" "$here/../zmirror"; do
	make -s -C "$what" check | tee "$log"
	status=${PIPESTATUS[0]}
	lines=$(grep -c '^not ok ' "$log")
	passed=$((passed + $(grep -c '^ok ' "$log")))
	failed=$((failed + lines))
	[ "$status" = 0 ] || bad=1
	[ "$status" = 0 ] || [ "$lines" != 0 ] || failed=$((failed + 1))
done

# Adds the count in a log of selftests.
count()
{
	local status=$1 line

	line=$(grep -E '^[0-9]+ passed, [0-9]+ failed' "$2" | tail -n 1)
	if [ -n "$line" ]; then
		passed=$((passed + ${line%% passed*}))
		line=${line#*passed, }
		failed=$((failed + ${line%% failed*}))
	fi
	[ "$status" = 0 ] || bad=1
}

# Waits for selftests that ran beside, and adds their count.
finish() # PID LOG
{
	local status

	wait "$1"
	status=$?
	cat "$2"
	count $status "$2"
}

# Two guests, for one seldom keeps two processors busy. What the second one says
# comes when the first one is done. A third one has the exact clock, for the time that a
# network takes is in the test that it is for.
"$here/vm/selftests.sh" --kernel 6.12 --part 2/2 >"$other" 2>&1 &
parts=$!
"$here/vm/selftests.sh" --kernel 6.12 --icount tool-nbd.sh >"$exact" 2>&1 &
network=$!
"$here/vm/selftests.sh" --kernel 6.12 --part 1/2 | tee "$log"
count "${PIPESTATUS[0]}" "$log"
finish "$parts" "$other"
finish "$network" "$exact"
[ $bad = 0 ] || [ "$failed" != 0 ] || failed=1

echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
