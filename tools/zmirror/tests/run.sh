#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# Runs tests under valgrind, and checks what status --json prints, and the manuals, each
# as a line "ok" or "not ok": run.sh BUILD-DIRECTORY PROGRAM...
set -u

here=$(dirname "$0")
build=$1
shift
bad=0
log=$(mktemp)
trap 'rm -f "$log"' EXIT

# Says how a command did, and what it printed when it did not do well.
run()
{
	name=$1
	shift
	"$@" >"$log" 2>&1
	case $? in
	0) echo "ok zmirror: $name" ;;
	4) echo "ok zmirror: $name # SKIP"; cat "$log" ;;
	*) cat "$log"; echo "not ok zmirror: $name"; bad=1 ;;
	esac
}

for program; do
	run "${program##*/}" valgrind -q --error-exitcode=9 --leak-check=full \
		--errors-for-leak-kinds=definite,indirect,possible \
		--track-fds=no "$program"
done
for program; do
	[ "${program##*/}" != test-show ] ||
		run check-json "$here/check-json.sh" "$program"
done
run check-docs "$here/check-docs.sh" "$build/zmirror" "$build/man"
exit $bad
