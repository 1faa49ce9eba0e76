#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Flushes and writes that ask for stable storage reach both legs, whatever the
# legs have to say of their caches.

# shellcheck disable=SC2154 # variables are set by new_loop and new_null
# shellcheck source=dm-zmirror-lib.sh
. "$(dirname "$0")/dm-zmirror-lib.sh"

new_pair() # FEATURE...
{
	new_loop src 16M && new_loop dst 16M || return
	new_mirror m "$src" 0 "$dst" 0 128 "$@" && wait_sync m
}

flushes_of() # DEVICE, stored in FLUSHES
{
	counters "$1"
	FLUSHES=${ZM_IO[flushes]}
}

# How many flushes each leg gets by requests to the mirror.
expect_flushes() # OF-SOURCE OF-DESTINATION REQUEST...
{
	local source dest

	flushes_of "$src"
	source=$FLUSHES
	flushes_of "$dst"
	dest=$FLUSHES
	must io "$ZM_DEV/m" "${@:3}"
	flushes_of "$src"
	expect_eq "flushes of the source by ${*:3}" $((FLUSHES - source)) "$1"
	flushes_of "$dst"
	expect_eq "flushes of the destination by ${*:3}" \
		$((FLUSHES - dest)) "$2"
}

t_flush()
{
	new_pair || return
	expect_flushes 1 1 flush:0:0
	expect_flushes 0 0 write:65536:4096
}

# A loop device has no FUA, so the block layer flushes after the write. A program
# that asks for stable storage makes a flush of its own besides.
t_fua()
{
	new_pair || return
	expect_flushes 2 2 dsync:65536:4096
}

# As long as it is out of sync nobody counts on the destination, but regions that
# are in sync are there already.
t_out_of_sync()
{
	new_loop src 16M && new_loop dst 16M || return
	new_mirror m "$src" 0 "$dst" 0 128 paused || return
	expect_flushes 1 1 flush:0:0
	expect_flushes 2 1 dsync:65536:4096
}

t_async()
{
	new_pair copy_mode:async || return
	expect_flushes 1 0 flush:0:0
	message m set copy_mode sync
	expect_flushes 1 1 flush:0:0
}

# What was copied is made stable before it is said to be in sync.
t_in_sync()
{
	new_loop src 16M && new_loop dst 16M || return
	must fill "$src" 65536
	new_mirror m "$src" 0 "$dst" 0 128 paused || return
	flushes_of "$dst"
	expect_eq "flushes before resync" "$FLUSHES" 0
	message m resume
	wait_sync m
	wait_until "an event" 10 has_event
	flushes_of "$dst"
	expect_ge "flushes after resync" "$FLUSHES" 1
}

has_event()
{
	events_of m && [ "$ZM_EVENTS" -ge 1 ]
}

t_one_cache() # CACHED UNCACHED: variables of the legs
{
	new_loop "$1" 16M && new_null "$2" 16 || return
	new_mirror m "$src" 0 "$dst" 0 128 && wait_sync m || return
	expect_eq "the write cache of the mirror" \
		"$(cat "/sys/class/block/$(disk_of "$ZM_DEV/m")/queue/write_cache")" \
		"write back"
	if [ "$1" = src ]; then
		expect_flushes 1 0 flush:0:0
	else
		expect_flushes 0 1 flush:0:0
	fi
}

zm_test "a flush goes to both legs" t_flush
zm_test "a write with FUA is stable on both legs" t_fua
zm_test "flushes out of sync" t_out_of_sync
zm_test "flushes in async mode" t_async
zm_test "a resync ends with a flush of the destination" t_in_sync
zm_test "only the destination has a write cache" t_one_cache dst src
zm_test "only the source has a write cache" t_one_cache src dst
zm_run
