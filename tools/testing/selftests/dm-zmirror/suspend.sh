#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Suspending, resuming, reloading and removing a mirror while resync runs and
# programs write: nothing is lost and nothing hangs.

# shellcheck source=dm-zmirror-lib.sh
. "$(dirname "$0")/dm-zmirror-lib.sh"

SECTORS=65536	# 512 regions of 128 sectors
CYCLES=${ZM_CYCLES:-${ZM_SLOW:+30}${ZM_LESS:+50}}
CYCLES=${CYCLES:-100}

new_pair() # FEATURE...
{
	new_loop src $((SECTORS / 2))K && new_loop dst $((SECTORS / 2))K ||
		return
	# shellcheck disable=SC2154 # the legs are the caller's
	must fill "$src" 65536 2 || return
	# shellcheck disable=SC2154
	new_mirror m "$src" 0 "$dst" 0 128 "$@"
}

one_of()
{
	ZM_ONE=${*:$((RANDOM % $# + 1)):1}
}

# One random thing that an administrator may do, and its opposite.
cycle()
{
	local words=()

	case $((RANDOM % 8)) in
	0 | 1)
		one_of "" noflush nolockfs
		[ -z "$ZM_ONE" ] || words=("$ZM_ONE")
		must_dm suspend m "${words[@]}" && must_dm resume m
		;;
	2)
		reload_mirror m "$src" 0 "$dst" 0 128
		;;
	3)
		one_of copy_mode:async copy_mode:sync zero_detect:off jobs:1 \
			jobs:40 no_unmap paused
		reload_mirror m "$src" 0 "$dst" 0 128 "$ZM_ONE"
		;;
	4)
		# Another geometry starts anew, all dirty.
		one_of 64 128 256
		reload_mirror m "$src" 0 "$dst" 0 "$ZM_ONE"
		;;
	5)
		message m pause && message m resume
		;;
	6)
		one_of "copy_mode sync" "copy_mode async" "jobs 2" "jobs 20" \
			"zero_detect on" "zero_detect off"
		message m set "$ZM_ONE"
		;;
	7)
		zm_line "$SECTORS" "$src" 0 "$dst" 0 128
		must_dm load m "$ZM_LINE" && must_dm clear m
		;;
	esac
}

t_cycles()
{
	local src dst i

	need_program fio && new_pair || return
	RANDOM=${ZM_SEED:-1}
	start_load --filename="$ZM_DEV/m" --bsrange=4k-128k --size=4m --name=v \
		--name=w --offset=24m --do_verify=0
	for ((i = 1; i <= CYCLES; i++)); do
		cycle || wrong "cycle $i fails" || break
		load_goes_on || break
	done
	stop_load

	reload_mirror m "$src" 0 "$dst" 0 128
	message m resume
	wait_sync m || return
	expect_equal "$src" 0 "$dst" 0 "$SECTORS"
}

# A slow destination has jobs in flight for long: they end, and no more start.
t_suspend_in_resync()
{
	local begin before

	need_target delay || return
	new_loop src $((SECTORS / 2))K && new_loop disk $((SECTORS / 2))K ||
		return
	must fill "$src" 65536 || return
	# shellcheck disable=SC2154 # set by new_loop
	new_dm slow "0 $SECTORS delay $disk 0 0 $disk 0 400" || return
	new_mirror m "$src" 0 "$ZM_DEV/slow" 0 128 jobs:4 || return
	wait_until "resync has begun" 20 status_at_least m copied 128 || return
	begin=$SECONDS
	must_dm suspend m || return
	expect_le "seconds of suspend" $((SECONDS - begin)) $((10 * ZM_SLOWER))
	status_of m
	before=${ZM_ST[copied]}
	rest 1
	status_of m
	expect_eq "sectors copied while suspended" "${ZM_ST[copied]}" "$before"
	expect_ge "dirty regions" "${ZM_ST[dirty]}" 1
	must_dm resume m
	wait_sync m || return
	expect_equal "$src" 0 "$disk" 0 "$SECTORS"
}

t_remove_in_resync()
{
	local begin

	need_target delay || return
	new_loop src $((SECTORS / 2))K && new_loop disk $((SECTORS / 2))K ||
		return
	must fill "$src" 65536 || return
	# shellcheck disable=SC2154 # set by new_loop
	new_dm slow "0 $SECTORS delay $disk 0 0 $disk 0 400" || return
	new_mirror m "$src" 0 "$ZM_DEV/slow" 0 128 jobs:4 || return
	wait_until "resync has begun" 20 status_at_least m copied 128 || return
	begin=$SECONDS
	must_dm remove m
	expect_le "seconds of removal" $((SECONDS - begin)) $((10 * ZM_SLOWER))
}

# A message to a suspended mirror starts nothing before it is resumed.
t_message_while_suspended()
{
	new_pair paused || return
	must_dm suspend m || return
	message m resume
	rest 0.5
	status_of m
	expect_eq "sectors read while suspended" "${ZM_ST[read]}" 0
	must_dm resume m
	wait_sync m
}

zm_test "$CYCLES random suspends, resumes, reloads and pauses under fio" t_cycles
zm_test "a suspend waits for the jobs in flight, and no more start" \
	t_suspend_in_resync
zm_test "a mirror is removed in the middle of its resync" t_remove_in_resync
zm_test "a message to a suspended mirror" t_message_while_suspended
zm_run
