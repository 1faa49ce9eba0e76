#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Who waits for an event is woken once for each change, and misses none.

# shellcheck source=dm-zmirror-lib.sh
. "$(dirname "$0")/dm-zmirror-lib.sh"

# Each message makes one change; it is seen before the next one is sent.
t_cycles() # COUNT MESSAGE...
{
	local src src_file dst left=$1

	new_loop src 8M && new_loop dst 8M || return
	must fill "$src_file" 65536 || return
	new_mirror m "$src" 0 "$dst" 0 128 && wait_sync m || return
	for (( ; left > 0; left -= 100)); do
		must_dm cycles m 100 "${@:2}" || return
		[ -z "$ZM_ANSWER" ] || wrong "$ZM_ANSWER" || return
	done
}
zm_test "1000 times in sync again" t_cycles "$((1000 / ZM_SLOWER))" 'mark dirty 0'
zm_test "verifies" t_cycles "$((200 / ZM_SLOWER))" verify
zm_test "both by turns" t_cycles "$((200 / ZM_SLOWER))" 'mark dirty 0-127' \
	'verify 0 128'

expect_events() # NUMBER WHAT
{
	rest 0.3
	events_of m
	expect_eq "events after $2" "$ZM_EVENTS" "$1"
}

t_each()
{
	local events i

	# shellcheck disable=SC2119 # no feature
	new_broken_pair && wait_sync m || return
	rest 0.3
	events_of m
	events=$ZM_EVENTS
	for ((i = 0; i < 5; i++)); do
		dm_swap dst "$BROKEN" || return
		must io "$ZM_DEV/m" write:65536:4096 write:131072:4096
		wait_state m stopped 30 || return
		expect_events $((++events)) "a failure of the destination" ||
			return
		mend dst && wait_sync m || return
		expect_events $((++events)) "in sync" || return
		message m pause
		message m mark dirty 0
		dm_swap src "$BROKEN" && message m resume || return
		wait_state m stopped 30 || return
		expect_events $((++events)) "a read error of the source" ||
			return
		mend src && wait_sync m || return
		expect_events $((++events)) "in sync again" || return
	done
}
zm_test "each change is an event" t_each

# What changes nothing is none.
t_none()
{
	local src dst

	new_loop src 8M && new_loop dst 8M || return
	new_mirror m "$src" 0 "$dst" 0 128 && wait_sync m || return
	expect_events 1 "in sync" || return
	must_dm suspend m
	must_dm resume m
	message m pause
	message m resume
	message m resume
	message m set jobs 4
	reload_mirror m "$src" 0 "$dst" 0 128 jobs:4 || return
	must io "$ZM_DEV/m" write:65536:65536 punch:0:65536 flush:0:0
	expect_events 1 "what changes nothing"
}
zm_test "what changes nothing is no event" t_none

zm_run
