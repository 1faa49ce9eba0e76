#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# The tests of make check: the region module against its model in user space,
# and the selftests in a guest on 6.12. Ends with the count of both.
set -uo pipefail

here=$(cd "$(dirname "$0")" && pwd)
log=$(mktemp)
other=$(mktemp)
trap 'rm -f "$log" "$other"' EXIT
bad=0

make -s -C "$here/region" check | tee "$log"
[ "${PIPESTATUS[0]}" = 0 ] || bad=1
passed=$(grep -c '^ok ' "$log")
failed=$(grep -c '^not ok ' "$log")
[ $bad = 0 ] || [ "$failed" != 0 ] || failed=1

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

# Two guests, for one seldom keeps two processors busy. What the second one says
# comes when the first one is done.
"$here/vm/selftests.sh" --kernel 6.12 --part 2/2 >"$other" 2>&1 &
"$here/vm/selftests.sh" --kernel 6.12 --part 1/2 | tee "$log"
count "${PIPESTATUS[0]}" "$log"
wait $!
status=$?
cat "$other"
count $status "$other"
[ $bad = 0 ] || [ "$failed" != 0 ] || failed=1

echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
