#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Resync without foreground load: what it copies, what it zeroes, what it leaves
# alone, how much it reads, and what pause and resume do.

# shellcheck source=dm-zmirror-lib.sh
. "$(dirname "$0")/dm-zmirror-lib.sh"

REGION=65536	# bytes of a region of 128 sectors

# Legs of a number of MiB; every EVERY-th piece of the source holds data.
# Stores src, dst and their files, sectors, and data: the bytes of data.
new_legs() # MIBYTES [EVERY [BYTES]]
{
	local piece=${3:-$REGION} pieces

	new_loop src "$1M" && new_loop dst "$1M" || return
	pieces=$(($1 * 1048576 / piece))
	sectors=$(($1 * 2048))
	data=0
	[ "${2:-0}" -ne 0 ] || return 0
	pieces=$(((pieces + $2 - 1) / $2))
	data=$((pieces * piece))
	must fill "$src_file" "$piece" "$2"
}

expect_read_once()
{
	expect_ge "sectors read" "${ZM_ST[read]}" "$sectors"
	expect_le "sectors read" "${ZM_ST[read]}" $((sectors * 110 / 100))
}

t_dense()
{
	local src dst src_file dst_file sectors data waiter

	new_legs 16 1 || return
	new_mirror m "$src" 0 "$dst" 0 128 paused || return
	events_of m
	dmsetup wait "$ZM_ID-m" "$ZM_EVENTS" > /dev/null &
	waiter=$!
	message m resume
	finish "$waiter" 60 "waiting for an event"
	wait_sync m || return
	expect_eq "sectors copied" "${ZM_ST[copied]}" "$sectors"
	expect_eq "regions known to be zero" "${ZM_ST[zero]}" 0
	expect_read_once
	counters "$src"
	expect_le "sectors that the source says were read" \
		"${ZM_IO[read]}" $((sectors * 110 / 100 + 2048))
	expect_equal "$src" 0 "$dst" 0 "$sectors"
}
zm_test "a full resync copies, gets in sync and raises an event" t_dense

# The destination of a source with one region in ten of data.
expect_sparse()
{
	expect_eq "sectors copied" "${ZM_ST[copied]}" $((data / 512))
	expect_eq "regions known to be zero" "${ZM_ST[zero]}" \
		$(((sectors * 512 - data) / REGION))
	expect_le "bytes allocated" "$(allocated "$dst_file")" \
		$((data * 102 / 100))
	expect_equal "$src" 0 "$dst" 0 "$sectors"
}

t_sparse()
{
	local src dst src_file dst_file sectors data

	new_legs 40 10 || return
	new_mirror m "$src" 0 "$dst" 0 128 || return
	wait_sync m || return
	expect_eq "sectors zeroed" "${ZM_ST[zeroed]}" $((sectors - data / 512))
	expect_read_once
	expect_sparse
}
zm_test "a sparse destination stays sparse, with at most 1.02 of the data" \
	t_sparse

t_dest_zeroed()
{
	local src dst src_file dst_file sectors data

	new_legs 40 10 || return
	new_mirror m "$src" 0 "$dst" 0 128 dest_zeroed || return
	wait_sync m || return
	expect_eq "sectors zeroed" "${ZM_ST[zeroed]}" 0
	expect_eq "sectors skipped" "${ZM_ST[skipped]}" \
		$((sectors - data / 512))
	counters "$dst"
	expect_eq "sectors that the destination says were written" \
		"${ZM_IO[written]}" $((data / 512))
	expect_eq "discards" "${ZM_IO[discards]}" 0
	expect_read_once
	expect_sparse
}
zm_test "a dest_zeroed destination gets no byte for zero regions" t_dest_zeroed

t_garbage()
{
	local src dst src_file dst_file sectors data

	new_legs 16 10 || return
	must fill "$dst_file" "$REGION" 1 0 2
	new_mirror m "$src" 0 "$dst" 0 128 || return
	wait_sync m || return
	expect_sparse
}
zm_test "old content of the destination is zeroed by unmapping" t_garbage

t_no_unmap()
{
	local src dst src_file dst_file sectors data

	new_legs 16 10 || return
	must fill "$dst_file" "$REGION" 1 0 2
	new_mirror m "$src" 0 "$dst" 0 128 no_unmap || return
	wait_sync m || return
	expect_eq "bytes allocated" "$(allocated "$dst_file")" \
		$((sectors * 512))
	expect_eq "sectors zeroed" "${ZM_ST[zeroed]}" $((sectors - data / 512))
	expect_equal "$src" 0 "$dst" 0 "$sectors"
}
zm_test "with no_unmap the destination stays allocated" t_no_unmap

t_no_zeroing()
{
	local src src_file dst sectors data

	new_loop src 16M && new_null dst 16 || return
	must fill "$src_file" "$REGION" 10
	must fill "$dst" "$REGION" 1 0 2
	sectors=32768
	new_mirror m "$src" 0 "$dst" 0 128 || return
	wait_sync m || return
	expect_equal "$src" 0 "$dst" 0 "$sectors"
}
zm_test "a destination that cannot write zeroes is zeroed all the same" \
	t_no_zeroing

t_nosync()
{
	local src dst src_file dst_file sectors data

	new_legs 8 10 || return
	must fill "$dst_file" "$REGION" 1 0 2
	cp "$dst_file" "$ZM_DIR/before"
	new_mirror m "$src" 0 "$dst" 0 128 nosync || return
	wait_sync m
	rest 0.5
	status_of m
	expect_eq "sectors read" "${ZM_ST[read]}" 0
	expect_eq "sectors copied" "${ZM_ST[copied]}" 0
	counters "$dst"
	expect_eq "sectors written" "${ZM_IO[written]}" 0
	run cmp "$dst_file" "$ZM_DIR/before"
	rm "$ZM_DIR/before"
}
zm_test "nosync copies nothing" t_nosync

t_reads() # REGION EVERY BYTES
{
	local src dst src_file dst_file sectors data

	new_legs 20 "$2" "$3" || return
	new_mirror m "$src" 0 "$dst" 0 "$1" || return
	wait_sync m || return
	expect_read_once
	counters "$src"
	expect_le "sectors that the source says were read" \
		"${ZM_IO[read]}" $((sectors * 110 / 100 + 2048))
	expect_equal "$src" 0 "$dst" 0 "$sectors"
}
for region in 8 128 2048 32768; do
	zm_test "regions of $region sectors: a dense source is read once" \
		t_reads $region 1 "$REGION"
	zm_test "regions of $region sectors: a sparse source is read once" \
		t_reads $region 10 $((region == 8 ? 4096 : REGION))
done
zm_test "regions of 8 sectors: an empty source is read once" \
	t_reads 8 0 "$REGION"
zm_test "regions of 128 sectors: an empty source is read once" \
	t_reads 128 0 "$REGION"

t_no_detection()
{
	local src dst src_file dst_file sectors data

	new_legs 16 10 || return
	new_mirror m "$src" 0 "$dst" 0 128 zero_detect:off dest_zeroed || return
	wait_sync m || return
	expect_eq "sectors copied" "${ZM_ST[copied]}" "$sectors"
	expect_eq "sectors skipped" "${ZM_ST[skipped]}" 0
	expect_eq "regions known to be zero" "${ZM_ST[zero]}" 0
	expect_eq "bytes allocated" "$(allocated "$dst_file")" \
		$((sectors * 512))
	expect_equal "$src" 0 "$dst" 0 "$sectors"
}
zm_test "zero_detect:off copies everything" t_no_detection

t_jobs() # JOBS
{
	local src dst src_file dst_file sectors data

	new_legs 16 2 || return
	new_mirror m "$src" 0 "$dst" 0 128 "jobs:$1" || return
	wait_sync m || return
	expect_equal "$src" 0 "$dst" 0 "$sectors"
}
zm_test "one job" t_jobs 1
zm_test "256 jobs" t_jobs 256

t_paused()
{
	local src dst src_file dst_file sectors data

	new_legs 16 2 || return
	new_mirror m "$src" 0 "$dst" 0 128 paused || return
	must io "$ZM_DEV/m" write:$((5 * REGION)):"$REGION"
	rest 0.5
	status_of m
	expect_eq "state" "${ZM_ST[state]}" paused
	expect_eq "sectors read" "${ZM_ST[read]}" 0
	expect_eq "sectors copied" "${ZM_ST[copied]}" 0

	message m set jobs 4
	rest 0.2
	status_of m
	expect_eq "state after another message" "${ZM_ST[state]}" paused

	message m resume
	wait_sync m || return
	expect_equal "$src" 0 "$dst" 0 "$sectors"
}
zm_test "a mirror made paused copies nothing until the message resume" t_paused

t_pause()
{
	local src dst src_file dst_file sectors data copied

	need_target delay || return
	new_legs 16 1 || return
	new_dm slow "0 $sectors delay $dst 0 0 $dst 0 400" || return
	new_mirror m "$src" 0 "$ZM_DEV/slow" 0 128 jobs:1 || return
	wait_until "the first copy" 20 status_at_least m copied 1 || return
	message m pause
	rest 2
	status_of m
	expect_eq "state" "${ZM_ST[state]}" paused
	copied=${ZM_ST[copied]}
	expect_le "sectors copied" "$copied" $((sectors / 2))
	rest 1
	status_of m
	expect_eq "sectors copied a second later" "${ZM_ST[copied]}" "$copied"
	must io "$ZM_DEV/m" write:$((200 * REGION)):"$REGION"
	expect_equal "$ZM_DEV/m" 0 "$src" 0 "$sectors"

	message m set jobs 16
	message m resume
	wait_sync m || return
	expect_equal "$src" 0 "$dst" 0 "$sectors"
}
zm_test "the message pause stops resync, and resume goes on" t_pause

t_state_goes_back()
{
	local src dst src_file dst_file sectors data

	new_legs 8 1 || return
	new_mirror m "$src" 0 "$dst" 0 128 || return
	wait_sync m || return
	message m pause
	message m set copy_mode async
	expect "in sync though paused" status_is m state in_sync
	must io "$ZM_DEV/m" write:$((11 * REGION)):$((2 * REGION))
	expect "paused" status_is m state paused
	expect_eq "dirty regions" "${ZM_ST[dirty]}" 2
	message m resume
	wait_sync m || return
	expect_equal "$src" 0 "$dst" 0 "$sectors"
}
zm_test "dirty regions of a paused mirror wait for the message resume" \
	t_state_goes_back

zm_run
