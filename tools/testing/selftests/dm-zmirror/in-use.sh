#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Resync gives way to those who use the mirror: then one job runs on devices near
# by, and more where copies take long because of the way; each writes a little at
# a time. When the mirror is not in use, more jobs write more at a time.

# shellcheck source=dm-zmirror-lib.sh
. "$(dirname "$0")/dm-zmirror-lib.sh"

MIBYTES=64
SECTORS=$((MIBYTES * 2048))
DELAY=40	# milliseconds that a write takes to a destination far away

# Reads now and then, until the reader is killed.
start_reader()
{
	# No function, for that would be a shell whose end does not end fio.
	fio --name=reader --filename="$ZM_DEV/m" --allow_file_create=0 \
		--ioengine=libaio --direct=1 --thread --rw=randread --bs=4k \
		--rate_iops=500 --time_based --runtime=600 > /dev/null 2>&1 &
	READER=$!
	undo stop_reader
	wait_until "the reader reads" 30 reads
}

stop_reader()
{
	kill "$READER" 2> /dev/null
	wait "$READER" 2> /dev/null
	return 0
}

reads()
{
	counters "$ZM_DEV/m"
	[ "${ZM_IO[reads]}" -gt 100 ]
}

# By the events: MOST copies at the same time, and how many of the COPIES began
# while another one was in flight, CROWDED.
count_copies()
{
	local line flying=0

	COPIES=0 CROWDED=0 MOST=0
	while read -r line; do
		case $line in
		*zmirror_begin:*\ copy\ *)
			COPIES=$((COPIES + 1))
			[ "$flying" = 0 ] || CROWDED=$((CROWDED + 1))
			flying=$((flying + 1))
			[ "$flying" -le "$MOST" ] || MOST=$flying
			;;
		*zmirror_copied:*)
			flying=$((flying - 1))
			;;
		esac
	done < <(trace_read)
}

# The mirror is paused, on the caller's src and dst. Stores also the sectors of a
# MEAN write to the destination.
resync()
{
	new_trace zmirror || return
	read -r -a before < "/sys/class/block/$(disk_of "$disk")/stat"
	message m resume
	wait_sync m 120 || return
	read -r -a after < "/sys/class/block/$(disk_of "$disk")/stat"
	MEAN=$(((after[6] - before[6]) / (after[4] - before[4])))
	count_copies
	ktap_print_msg "$COPIES copies, $MOST at most, $CROWDED with others, $MEAN sectors a write"
}

t_near() # USED
{
	local src dst disk before after COPIES CROWDED MOST MEAN

	new_null src "$MIBYTES" && new_null dst "$MIBYTES" || return
	disk=$dst
	must fill "$src" 1048576
	new_mirror m "$src" 0 "$dst" 0 128 paused || return
	if [ "$1" = used ]; then
		start_reader && resync || return
		# A busy machine may not let the reader read for a while.
		expect_le "copies with others" "$CROWDED" $((COPIES / 4))
		expect_le "sectors of a write" "$MEAN" 160
	else
		resync || return
		expect_ge "copies with others" "$CROWDED" $((COPIES / 2))
		expect_ge "sectors of a write" "$MEAN" 161
	fi
	expect_equal "$src" 0 "$dst" 0 "$SECTORS"
}
zm_test "near and in use: a job, and little at a time" t_near used
zm_test "near and not in use: some jobs, and much at a time" t_near unused

t_far()
{
	local src dst disk before after COPIES CROWDED MOST MEAN

	need_target delay && new_null src "$MIBYTES" && new_null dst "$MIBYTES" ||
		return
	disk=$dst
	must fill "$src" 1048576
	new_dm far "0 $SECTORS delay $dst 0 0 $dst 0 $DELAY" || return
	new_mirror m "$src" 0 "$ZM_DEV/far" 0 128 paused || return
	start_reader && resync || return
	expect_ge "copies at the same time" "$MOST" 12
	expect_equal "$src" 0 "$dst" 0 "$SECTORS"
}
zm_test "far away and in use: many jobs" t_far

zm_run
