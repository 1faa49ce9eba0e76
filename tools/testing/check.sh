#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# The tests of make check: the region module against its model in user space,
# and the selftests in a guest on 6.12. Ends with the count of both.
set -uo pipefail

here=$(cd "$(dirname "$0")" && pwd)
log=$(mktemp)
trap 'rm -f "$log"' EXIT
bad=0

make -s -C "$here/region" check | tee "$log"
[ "${PIPESTATUS[0]}" = 0 ] || bad=1
passed=$(grep -c '^ok ' "$log")
failed=$(grep -c '^not ok ' "$log")
[ $bad = 0 ] || [ "$failed" != 0 ] || failed=1

"$here/vm/selftests.sh" --kernel 6.12 | tee "$log"
[ "${PIPESTATUS[0]}" = 0 ] || bad=1
line=$(grep -E '^[0-9]+ passed, [0-9]+ failed' "$log" | tail -n 1)
if [ -n "$line" ]; then
	passed=$((passed + ${line%% passed*}))
	line=${line#*passed, }
	failed=$((failed + ${line%% failed*}))
fi
[ $bad = 0 ] || [ "$failed" != 0 ] || failed=1

echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
