#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# The guest's side of selftests.sh: guest-selftests.sh LIMIT TEST.sh...
#
# Runs each test for LIMIT seconds at most, and reads the kernel log of its time
# when it has ended. A test that hangs ends the guest, with status 75.
set -u

here=$(cd "$(dirname "$0")" && pwd)
dir=$here/../selftests/dm-zmirror
results=/out/files/results
limit=$1
shift

# With every check that there is, less must do. So it must on other kernels than the one
# on which all is done.
case $(uname -r) in
*debug*) export ZM_SLOW=1 ;;
6.12.*) ;;
*) export ZM_LESS=1 ;;
esac
# What IMA is told to measure stays in memory, and ends with the guest.
export ZM_IMA=1
: >>"$results"

for test; do
	echo "# $test on $(uname -r)"
	echo "zmirror-selftest: start of $test" >/dev/kmsg
	begin=$SECONDS
	(cd "$dir" && exec timeout -k 10 "$limit" "./$test") </dev/null
	status=$?
	took="($((SECONDS - begin)) s)"

	log=$(dmesg | sed "1,/zmirror-selftest: start of $test/d")
	if ! trouble=$("$here/klog.sh" <<<"$log"); then
		echo "# the kernel log tells of trouble in $test:"
		echo "$trouble"
		echo "not ok $test $took: kernel log" >>"$results"
	else
		case $status in
		0) echo "ok $test $took" >>"$results" ;;
		4) echo "skip $test $took" >>"$results" ;;
		124|137) echo "not ok $test $took: hangs" >>"$results" ;;
		*) echo "not ok $test $took" >>"$results" ;;
		esac
	fi
	if [ $status = 124 ] || [ $status = 137 ]; then
		echo "# what hangs:"
		echo w >/proc/sysrq-trigger
		dmesg | tail -n 100
		exit 75
	fi
	if dmsetup ls 2>/dev/null | grep -v '^No devices'; then
		echo "# $test leaves devices behind"
		sed -i '$s/^ok/not ok/' "$results"
		exit 75
	fi
done
