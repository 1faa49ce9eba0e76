#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# What a mirror does about errors, besides stopping: it serves reads from the
# destination, leaves out what it cannot read, tries a failed destination again,
# and tells a full one from a broken one.

# shellcheck source=dm-zmirror-lib.sh
. "$(dirname "$0")/dm-zmirror-lib.sh"

# ---------------------------------------------------------------------------
# Reads that fail on the source
# ---------------------------------------------------------------------------

t_served()
{
	new_broken_pair && wait_sync m || return
	dm_swap src "$BROKEN" || return
	expect_equal "$ZM_DEV/m" 0 "$ZM_DEV/dst" 0 "$SECTORS"
	status_of m
	expect_eq "sectors served" "${ZM_ST[served]}" "$SECTORS"
	expect_ge "source errors" "${ZM_ST[source_errors]}" 1
	expect_eq "destination errors" "${ZM_ST[dest_errors]}" 0

	# A region that the destination may not have.
	must_fail io "$ZM_DEV/m" write:4194304:4096
	must_fail zero "$ZM_DEV/m" 4194304 4096
	must_fail zero "$ZM_DEV/m" 4128768 131072
	dm_swap dst "$BROKEN" || return
	must_fail zero "$ZM_DEV/m" 0 4096
	dm_swap dst "${WELL[dst]}" || return
	must zero "$ZM_DEV/m" 0 4096
	mend src && legs_are_equal
}
zm_test "reads that fail on the source are served" t_served

# What it has may not be what it acknowledged.
t_not_served()
{
	new_broken_pair && wait_sync m || return
	dm_swap dst "$BROKEN" || return
	must io "$ZM_DEV/m" write:65536:4096
	wait_state m stopped || return
	dm_swap dst "${WELL[dst]}" && dm_swap src "$BROKEN" || return
	must_fail zero "$ZM_DEV/m" 8388608 4096
	status_of m
	expect_eq "sectors served" "${ZM_ST[served]}" 0
	mend src && legs_are_equal
}
zm_test "a failed destination serves none" t_not_served

# The mirror's device asks for less than a chunk at a time, and for what lies in
# two of them.
t_served_verified()
{
	local i

	need_program fio && new_broken_pair && wait_sync m || return
	for i in 1 2 3; do
		run zm_fio --name=w --filename="$ZM_DEV/m" --rw=randwrite \
			--bsrange=4k-1m --size=8m --offset=3m --verify=crc32c \
			--do_verify=0 --randseed="$i" --iodepth=8 || return
		wait_sync m || return
		dm_swap src "0 8192 linear ${DISK[src]} 0;8192 12288 error;20480 12288 linear ${DISK[src]} 20480" ||
			return
		run zm_fio --name=w --filename="$ZM_DEV/m" --rw=randwrite \
			--bsrange=4k-1m --size=8m --offset=3m --verify=crc32c \
			--verify_only=1 --randseed="$i" --iodepth=8 || return
		mend src || return
	done
	status_of m
	expect_ge "sectors served" "${ZM_ST[served]}" 8192
	legs_are_equal
}
zm_test "what is served is what was written" t_served_verified

# ---------------------------------------------------------------------------
# Regions that cannot be read
# ---------------------------------------------------------------------------

# A bad block in region 5, and two regions that are bad whole.
BAD="0 656 linear %s 0;656 8 error;664 15720 linear %s 664;\
16384 256 error;16640 16128 linear %s 16640"

break_source()
{
	local disk=${DISK[src]}

	# shellcheck disable=SC2059 # a format it is
	dm_swap src "$(printf "$BAD" "$disk" "$disk" "$disk")"
}

# Regions of 128 sectors, joined or not; the bad ones are 5, 128 and 129.
t_skip() # FEATURE...
{
	local events

	new_broken_pair paused on_source_error:skip "$@" && break_source ||
		return
	events_of m
	events=$ZM_EVENTS
	rest 0.3	# and so it is not in use
	message m resume
	wait_state m degraded 30 || return
	expect_eq "health" "${ZM_ST[health]}" RA
	expect_eq "dirty regions" "${ZM_ST[dirty]}" 3
	expect_eq "regions left out" "${ZM_ST[unread]}" 3
	expect_ge "source errors" "${ZM_ST[source_errors]}" 1
	message m list unread
	expect_eq "the regions" "$ZM_ANSWER" "5,128-129"
	wait_until "there is an event" 5 events_after "$events"
	expect_equal "${DISK[src]}" 0 "$ZM_DEV/dst" 0 640
	expect_equal "${DISK[src]}" 768 "$ZM_DEV/dst" 768 15616
	expect_equal "${DISK[src]}" 16640 "$ZM_DEV/dst" 16640 16128

	# One is written anew, one is tried again.
	dm_swap src "${WELL[src]}" || return
	must io "$ZM_DEV/m" write:327680:65536
	status_of m
	expect_eq "regions left out" "${ZM_ST[unread]}" 2
	rest 0.5
	status_of m
	expect_eq "dirty regions" "${ZM_ST[dirty]}" 2
	message m resume
	legs_are_equal
	message m list unread
	expect_eq "the regions" "$ZM_ANSWER" none
}
zm_test "what cannot be read is left out" t_skip
zm_test "and so by copies of all that is there" t_skip zero_detect:off
zm_test "and so at a rate" t_skip rate:16384

events_after() # NUMBER
{
	events_of m && [ "$ZM_EVENTS" -gt "$1" ]
}

# Of a large region, all is copied but what cannot be read.
t_skip_large()
{
	local disk

	new_leg src && new_leg dst && must fill "$ZM_DEV/src" 65536 || return
	break_source || return
	new_mirror m "$ZM_DEV/src" 0 "$ZM_DEV/dst" 0 4096 on_source_error:skip ||
		return
	wait_state m degraded || return
	expect_eq "regions left out" "${ZM_ST[unread]}" 2
	expect_equal "${DISK[src]}" 4096 "$ZM_DEV/dst" 4096 12288
	expect_equal "${DISK[src]}" 1024 "$ZM_DEV/dst" 1024 15360
	mend src && legs_are_equal
}
zm_test "all the rest of a large region is copied" t_skip_large

t_skip_by_message()
{
	new_broken_pair paused && break_source && message m resume || return
	wait_state m stopped || return
	message m set on_source_error skip
	message m resume
	wait_state m degraded || return
	expect_eq "regions left out" "${ZM_ST[unread]}" 3

	# A table that takes over goes on so.
	reload_mirror m "$ZM_DEV/src" 0 "$ZM_DEV/dst" 0 128 || return
	wait_state m degraded || return
	mend src && legs_are_equal
}
zm_test "set by message, and taken over" t_skip_by_message

# The regions that are taken over have no room for it yet.
t_skip_by_table()
{
	new_broken_pair paused || return
	reload_mirror m "$ZM_DEV/src" 0 "$ZM_DEV/dst" 0 128 paused \
		on_source_error:skip || return
	break_source && message m resume || return
	wait_state m degraded || return
	expect_eq "regions left out" "${ZM_ST[unread]}" 3
	mend src && legs_are_equal
}
zm_test "set by a table that takes over" t_skip_by_table

# ---------------------------------------------------------------------------
# A destination that is tried again
# ---------------------------------------------------------------------------

t_retry()
{
	local events

	new_broken_pair on_dest_error:retry && wait_sync m || return
	events_of m
	events=$ZM_EVENTS
	dm_swap dst "$BROKEN" || return
	must io "$ZM_DEV/m" write:65536:4096
	wait_state m stopped 30 || return
	rest 6
	must io "$ZM_DEV/m" write:65536:4096 write:8388608:262144

	# After one second, two more, and four more.
	events_of m
	expect_le "events" $((ZM_EVENTS - events)) 4
	expect_ge "events" $((ZM_EVENTS - events)) 2
	dm_swap dst "${WELL[dst]}" || return
	wait_until "it is in sync again" 30 status_is m state in_sync
	legs_are_equal
}
zm_test "a failed destination is tried again" t_retry

t_retry_by_message()
{
	new_broken_pair && wait_sync m || return
	dm_swap dst "$BROKEN" || return
	must io "$ZM_DEV/m" write:65536:4096
	wait_state m stopped && dm_swap dst "${WELL[dst]}" || return
	rest 2
	status_of m
	expect_eq "state" "${ZM_ST[state]}" stopped
	message m set on_dest_error retry
	wait_until "it is in sync again" 30 status_is m state in_sync
	legs_are_equal
}
zm_test "set by message" t_retry_by_message

# Neither suspend nor a reload loses it, nor does it run in between.
t_retry_suspended()
{
	new_broken_pair on_dest_error:retry && wait_sync m || return
	dm_swap dst "$BROKEN" || return
	must io "$ZM_DEV/m" write:65536:4096
	wait_state m stopped 30 || return
	must_dm suspend m && dm_swap dst "${WELL[dst]}" || return
	rest 2
	must_dm resume m
	wait_until "it is in sync again" 30 status_is m state in_sync
	legs_are_equal
}
zm_test "a suspended mirror goes on trying" t_retry_suspended

# ---------------------------------------------------------------------------
# A destination without space
# ---------------------------------------------------------------------------

# A thin volume in a pool of 8 MiB; more is there.
new_small_pool()
{
	local meta data

	need_target thin-pool && new_loop meta 4M && new_loop data 32M || return
	POOL="$meta $data 128 0 1 error_if_no_space"
	new_dm pool "0 16384 thin-pool $POOL" || return
	must_dm message pool "create_thin 0" || return
	new_dm dst "0 $SECTORS thin $ZM_DEV/pool 0"
}

extend_pool()
{
	must_dm load pool "0 65536 thin-pool $POOL" && must_dm suspend pool &&
		must_dm resume pool
}

expect_full()
{
	wait_state m stopped || return
	expect_eq "health" "${ZM_ST[health]}" AN
	expect_like "the log" "$(log_read; echo "$ZM_LOG_NEW")" \
		'has no space left: resync stopped'
	extend_pool && message m resume && legs_are_equal
}

t_full_in_resync() # FEATURE...
{
	new_leg src && must fill "$ZM_DEV/src" 65536 && new_small_pool ||
		return
	new_mirror m "$ZM_DEV/src" 0 "$ZM_DEV/dst" 0 128 "$@" || return
	rest 0.3
	message m resume
	expect_full
}
zm_test "a pool that is full in resync" t_full_in_resync
zm_test "a pool that is full in resync by kcopyd" t_full_in_resync paused zero_detect:off

t_full_in_sync()
{
	new_leg src && new_small_pool || return
	new_mirror m "$ZM_DEV/src" 0 "$ZM_DEV/dst" 0 128 dest_zeroed || return
	wait_sync m || return
	must fill "$ZM_DEV/m" 65536 1 0 3
	expect_full
}
zm_test "a pool that is full in sync" t_full_in_sync

zm_run
