#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# copy_mode:async: a write ends when the source has it, however slow the
# destination is; resync follows. The mode may change at any time.

# shellcheck source=dm-zmirror-lib.sh
. "$(dirname "$0")/dm-zmirror-lib.sh"

SECTORS=32768	# 256 regions
DELAY=$((600 + 200 * ZM_SLOWER))	# milliseconds that a write to it takes

# A mirror in sync on the caller's legs, whose destination becomes slow then.
new_slow_pair() # [FEATURE...]
{
	need_target delay && new_loop src $((SECTORS / 2))K &&
		new_loop dst $((SECTORS / 2))K || return
	new_dm slow "0 $SECTORS linear $dst 0" || return
	must fill "$src" 65536 4
	new_mirror m "$src" 0 "$ZM_DEV/slow" 0 128 "$@" && wait_sync m &&
		dm_swap slow "0 $SECTORS delay $dst 0 0 $dst 0 $DELAY"
}

# Stores the milliseconds in TOOK.
timed_io() # REQUEST...
{
	local begin=$EPOCHREALTIME end

	must io "$ZM_DEV/m" "$@"
	end=$EPOCHREALTIME
	TOOK=$(((${end/./} - ${begin/./}) / 1000))
}

eight_writes() # START
{
	local i requests=()

	for ((i = 0; i < 8; i++)); do
		requests+=("write:$(($1 + i * 200704)):4096")
	done
	timed_io "${requests[@]}"
}

settled()
{
	dm_swap slow "0 $SECTORS linear $dst 0"
	wait_sync m || return
	expect_equal "$src" 0 "$dst" 0 "$SECTORS"
}

t_slow_destination()
{
	local src dst

	new_slow_pair || return
	eight_writes 0
	expect_ge "ms of eight writes in sync mode" "$TOOK" $((8 * DELAY))
	message m set copy_mode async
	eight_writes 4194304
	expect_le "ms of eight writes in async mode" "$TOOK" $((4 * DELAY))
	settled
}
# Whether the mode is sync: then a write of a whole region makes it clean, or leaves
# it so. The mirror is paused, and what is under copy then ends.
mode_is_sync()
{
	local dirty region=0

	rest 0.5
	status_of m
	dirty=${ZM_ST[dirty]}
	if [ "$dirty" != 0 ]; then
		message m list dirty
		region=${ZM_ANSWER%%[-,]*}
	fi
	must io "$ZM_DEV/m" write:$((region * 65536)):65536
	status_of m
	[ "${ZM_ST[dirty]}" = $((dirty ? dirty - 1 : 0)) ]
}

# 16 MiB at 4 MiB a second: half of it is 2 seconds away.
t_auto()
{
	local src dst

	new_loop src 16M && new_loop dst 16M || return
	must fill "$src" 65536
	new_mirror m "$src" 0 "$dst" 0 128 paused copy_mode:auto rate:4096 ||
		return
	mode_is_sync && wrong "it begins in sync mode"
	message m resume
	rest 0.6
	message m pause
	mode_is_sync && wrong "it is in sync mode with all to copy"
	message m resume
	wait_until "little is left" 30 status_at_least m synced 228 || return
	message m pause
	expect "it is in async mode with little to copy" mode_is_sync
	message m resume
	wait_sync m || return
	message m pause
	expect "it is in async mode in sync" mode_is_sync
	expect_like "the table" "$(table_of m)" 'copy_mode:auto'

	# A destination that comes back has much to get.
	message m set rate 0
	message m mark dirty 0-255
	message m resume
	message m pause
	message m set copy_mode async
	message m set copy_mode auto
	message m mark dirty 0-255
	mode_is_sync && wrong "it is in sync mode with all to copy again"
	message m resume
	wait_sync m || return
	expect_equal "$src" 0 "$dst" 0 "$SECTORS"
}

# More is written than can be copied.
t_auto_converges()
{
	local src dst

	need_program fio && new_loop src 16M && new_loop dst 16M || return
	must fill "$src" 65536
	new_mirror m "$src" 0 "$dst" 0 128 copy_mode:auto rate:2048 || return
	start_load --name=v --filename="$ZM_DEV/m" --size=16m --bs=4k
	wait_until "it is in sync" 90 status_is m state in_sync
	load_goes_on
	stop_load
	wait_sync m || return
	expect_equal "$src" 0 "$dst" 0 "$SECTORS"
}

zm_test "a slow destination slows nobody" t_slow_destination

# A second copy of a region holds writes back, but a first one does not.
t_under_copy()
{
	local src dst

	new_slow_pair copy_mode:async || return
	eight_writes 4194304
	eight_writes 4194304
	expect_le "ms of eight writes to regions under copy" "$TOOK" \
		$((4 * DELAY))
	settled
}
zm_test "a write does not wait for the first copy of its region" t_under_copy

t_flush()
{
	local src dst

	new_slow_pair copy_mode:async && message m pause || return
	timed_io write:0:4096 flush:0:0 dsync:65536:4096 flush:0:0
	expect_le "ms of two writes and flushes" "$TOOK" $((2 * DELAY))
	message m resume
	settled
}
zm_test "a flush does not wait for a slow destination" t_flush

t_dirty()
{
	local src dst

	new_loop src 16M && new_loop dst 16M || return
	new_mirror m "$src" 0 "$dst" 0 128 nosync copy_mode:async paused ||
		return
	must io "$ZM_DEV/m" write:65536:4096 write:131072:65536
	status_of m
	expect_eq "dirty regions" "${ZM_ST[dirty]}" 2
	counters "$dst"
	expect_eq "sectors written to the destination" "${ZM_IO[written]}" 0
	message m resume
	wait_sync m || return
	expect_equal "$src" 0 "$dst" 0 "$SECTORS"
}
zm_test "what was written is dirty until resync has been there" t_dirty

t_zeroes()
{
	local src dst

	new_slow_pair copy_mode:async || return
	must io "$ZM_DEV/m" zeroes:0:65536 punch:262144:65536 \
		zeroout:1048576:65536 discard:2097152:262144 \
		zeroes:65536:65536 punch:131072:65536
	settled || return
	expect_eq "regions known to be zero" "${ZM_ST[zero]}" 196
}
zm_test "zeroes and discards" t_zeroes

t_switching()
{
	local src dst i

	need_program fio && new_loop src 16M && new_loop dst 16M || return
	must fill "$src" 65536 4
	new_mirror m "$src" 0 "$dst" 0 128 || return
	start_load --name=v --filename="$ZM_DEV/m" --size=8m --bsrange=512-128k
	for ((i = 0; i < 40; i++)); do
		message m set copy_mode async
		rest 0.05
		message m set copy_mode sync
		rest 0.05
		load_goes_on || break
	done
	stop_load
	wait_sync m || return
	expect_equal "$src" 0 "$dst" 0 "$SECTORS"
}
zm_test "switching both ways under fio with verify" t_switching

zm_test "auto: sync when little is left" t_auto
zm_test "auto: in sync, however much is written" t_auto_converges

# What cannot be read is no reason to stay in async mode, when all else is there.
t_auto_left_out()
{
	new_broken_pair copy_mode:auto on_source_error:skip paused || return
	bad_sectors src 1000 8 || return
	message m resume
	wait_state m degraded || return
	message m resume
	wait_state m degraded || return
	rest 0.5
	message m pause
	must io "$ZM_DEV/m" write:1310720:65536
	message m list dirty
	expect_eq "dirty regions" "$ZM_ANSWER" 7
	mend src
	legs_are_equal
}
zm_test "auto: in sync mode, but for what is left out" t_auto_left_out
zm_run
