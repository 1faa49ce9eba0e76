#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The user leaves the source: in sync, the destination takes over while the mirror is in
# use, and nothing that was acknowledged is lost. The legs may change places then, so
# that the old source follows, and lacks only what was written since.

# shellcheck source=dm-zmirror-lib.sh
. "$(dirname "$0")/dm-zmirror-lib.sh"

new_pair()
{
	new_broken_pair && wait_sync m
}

pivot()
{
	message m pivot || return
	status_of m
	expect_eq "state" "${ZM_ST[state]}" pivoted
	expect_eq "health" "${ZM_ST[health]}" AA
}

exchange() # FEATURE...
{
	reload_mirror m "$ZM_DEV/dst" 0 "$ZM_DEV/src" 0 128 "$@"
}

exchange_back()
{
	reload_mirror m "$ZM_DEV/src" 0 "$ZM_DEV/dst" 0 128
}

more_events() # THAN
{
	events_of m && [ "$ZM_EVENTS" -gt "$1" ]
}

t_pivots()
{
	local events written

	new_pair || return
	events_of m
	events=$ZM_EVENTS
	pivot || return
	wait_until "the event" 10 more_events "$events"
	expect_eq "events" "$ZM_EVENTS" $((events + 1))
	log_read
	expect_like "the log" "$ZM_LOG_NEW" 'pivoted: destination .* has taken over' ||
		return

	counters "$ZM_DEV/src"
	written=${ZM_IO[written]}
	must io "$ZM_DEV/m" write:65536:4096 flush:0:0 zeroes:131072:65536 \
		punch:262144:65536
	counters "$ZM_DEV/src"
	expect_eq "sectors written to the source" "${ZM_IO[written]}" "$written"
	expect_equal "$ZM_DEV/m" 0 "$ZM_DEV/dst" 0 "$SECTORS"
	message m list dirty
	expect_eq "what the source lacks" "$ZM_ANSWER" 1-2,4

	# It is the only leg, whatever the mode.
	message m set copy_mode async
	must io "$ZM_DEV/m" write:524288:65536 discard:524288:65536
	message m set copy_mode sync
	run cmp -n 65536 -i 524288:0 "$ZM_DEV/dst" /dev/zero

	# Once more is no more, and what it was is not forgotten.
	events_of m
	events=$ZM_EVENTS
	pivot || return
	exchange_back
	status_of m
	expect_eq "state" "${ZM_ST[state]}" pivoted
	message m list dirty
	expect_eq "what the source lacks" "$ZM_ANSWER" 1-2,4,8
	must_dm table m
	dm_swap m "0 $SECTORS linear $ZM_DEV/dst 0" || return
	expect_equal "$ZM_DEV/m" 0 "$ZM_DEV/dst" 0 "$SECTORS"
}
zm_test "the destination takes over" t_pivots

refuses()
{
	local state=$1

	must_fail message "$ZM_ID-m" pivot
	log_read
	expect_like "the log" "$ZM_LOG_NEW" "$2" || return
	status_of m
	expect_eq "state" "${ZM_ST[state]}" "$state"
	must io "$ZM_DEV/m" write:65536:4096
	expect_equal "$ZM_DEV/m" 0 "$ZM_DEV/src" 0 "$SECTORS"
}

t_refuses()
{
	new_broken_pair paused || return
	refuses paused 'pivot: it is not in sync' || return
	message m resume
	wait_sync m || return
	must_fail message "$ZM_ID-m" "pivot now"
	must io "$ZM_DEV/m" write:65536:4096
	message m set copy_mode async
	dm_swap dst "$BROKEN" || return
	must io "$ZM_DEV/m" write:1048576:4096
	wait_state m stopped || return
	refuses stopped 'pivot: it is not in sync'
}
zm_test "out of sync, it does not" t_refuses

# Milliseconds of a slow request. A guest may stand still for a part of a second.
MS=$((1250 + 250 * ZM_SLOWER))

# A pivot in the background, on a destination that takes MS for a flush; meanwhile there is
# a write to the first region, or another request. Ends as the pivot does.
pivot_and_write() # [REQUEST]
{
	local begin=$EPOCHREALTIME end pivot

	dmsetup message "$ZM_ID-m" 0 pivot 2> /dev/null &
	pivot=$!
	rest "$(awk -v ms="$MS" 'BEGIN { print ms / 2000 }')"
	must io "$ZM_DEV/m" "${1:-write:0:4096}"
	wait "$pivot"
	pivot=$?
	end=$EPOCHREALTIME
	TOOK=$(((${end/./} - ${begin/./}) / 1000))
	return "$pivot"
}

pivot_is_refused()
{
	! pivot_and_write || wrong "the destination takes over with a dirty region"
}

# While it is decided resync begins nothing. Here it is to copy the region once more just
# then, for the copy that is under way ends before the write does.
t_goes_on()
{
	need_target delay && new_pair || return
	message m set copy_mode async
	dm_swap dst "0 $SECTORS delay ${DISK[dst]} 0 0 ${DISK[dst]} 0 $MS" &&
		dm_swap src "0 $SECTORS delay ${DISK[src]} 0 0 ${DISK[src]} 0 $((3 * MS))" ||
		return
	pivot_is_refused
	wait_sync m
	dm_swap dst "${WELL[dst]}" && dm_swap src "${WELL[src]}" || return
	expect_equal "$ZM_DEV/src" 0 "$ZM_DEV/dst" 0 "$SECTORS"
}
zm_test "resync goes on when it did not" t_goes_on

# A copy that waits for its rate has all requests wait, and gives up: here it would be for
# 256 seconds. It does not read on either.
t_rate()
{
	need_target delay && new_leg src && new_leg dst || return
	must fill "$ZM_DEV/src" 65536 && must fill "$ZM_DEV/dst" 65536 || return
	new_mirror m "$ZM_DEV/src" 0 "$ZM_DEV/dst" 0 32768 nosync rate:64 \
		copy_mode:async || return
	dm_swap dst "0 $SECTORS delay ${DISK[dst]} 0 0 ${DISK[dst]} 0 0 ${DISK[dst]} 0 $MS" ||
		return
	pivot_is_refused
	expect_le "ms of a pivot" "$TOOK" $((8 * MS))
	status_of m
	expect_eq "state" "${ZM_ST[state]}" resync
	expect_le "sectors read" "${ZM_ST[read]}" 8192
	message m set rate 0
	wait_sync m
	dm_swap dst "${WELL[dst]}" || return
	expect_equal "$ZM_DEV/src" 0 "$ZM_DEV/dst" 0 "$SECTORS"
}
zm_test "a slow rate does not hold all up" t_rate

# Nor does a copy of a large region that has no rate but a slow source: here it would take
# 16 times as long as the source takes for a request.
t_large()
{
	need_target delay && new_leg src && new_leg dst || return
	must fill "$ZM_DEV/src" 65536 && must fill "$ZM_DEV/dst" 65536 || return
	new_mirror m "$ZM_DEV/src" 0 "$ZM_DEV/dst" 0 32768 nosync copy_mode:async || return
	dm_swap dst "0 $SECTORS delay ${DISK[dst]} 0 0 ${DISK[dst]} 0 0 ${DISK[dst]} 0 $MS" &&
		dm_swap src "0 $SECTORS delay ${DISK[src]} 0 $MS ${DISK[src]} 0 0" || return
	pivot_is_refused
	expect_le "ms of a pivot" "$TOOK" $((6 * MS))
	dm_swap src "${WELL[src]}" && dm_swap dst "${WELL[dst]}" || return
	wait_sync m
	expect_equal "$ZM_DEV/src" 0 "$ZM_DEV/dst" 0 "$SECTORS"
}
zm_test "a large region on a slow source does not either" t_large

# A copy that is soon at its end is waited for, and then the mirror is in sync.
t_soon()
{
	need_target delay && new_leg src && new_leg dst || return
	must fill "$ZM_DEV/src" 65536
	new_mirror m "$ZM_DEV/src" 0 "$ZM_DEV/dst" 0 1024 && wait_sync m || return
	dm_swap dst "0 $SECTORS delay ${DISK[dst]} 0 0 ${DISK[dst]} 0 0 ${DISK[dst]} 0 $MS" &&
		dm_swap src "0 $SECTORS delay ${DISK[src]} 0 $((MS / 5)) ${DISK[src]} 0 0" || return
	pivot_and_write discard:0:524288 || wrong "the destination does not take over"
	dm_swap src "${WELL[src]}" && dm_swap dst "${WELL[dst]}" || return
	expect_equal "$ZM_DEV/m" 0 "$ZM_DEV/dst" 0 "$SECTORS"
}
zm_test "a copy that is soon at its end is waited for" t_soon

# Whoever had it killed does something else then, and it must not come true after that.
t_killed()
{
	local pivot

	need_target delay && new_pair || return
	dm_swap dst "0 $SECTORS delay ${DISK[dst]} 0 0 ${DISK[dst]} 0 0 ${DISK[dst]} 0 $MS" ||
		return
	dmsetup message "$ZM_ID-m" 0 pivot &
	pivot=$!
	rest "$(awk -v ms="$MS" 'BEGIN { print ms / 2000 }')"
	kill -KILL "$pivot"
	wait "$pivot" 2> /dev/null
	rest "$(awk -v ms="$MS" 'BEGIN { print 3 * ms / 1000 }')"
	status_is m state in_sync || wrong "the state is $ZM_ANSWER"
	must io "$ZM_DEV/m" write:0:4096
	dm_swap dst "${WELL[dst]}" || return
	legs_are_equal
	pivot
}
zm_test "whose user is killed" t_killed

# What was copied and not flushed could be lost, and the source be gone.
t_flush()
{
	need_target flakey && new_pair || return
	dm_swap dst "0 $SECTORS flakey ${DISK[dst]} 0 0 600 1 error_writes" ||
		return
	refuses stopped 'pivot: (the destination failed|it is not in sync)' ||
		return
	mend dst
	wait_sync m || return
	pivot
}
zm_test "a destination that cannot flush does not" t_flush

# A flush more on the destination after all that was written there.
t_is_flushed()
{
	local src dst

	new_null src 16 memory_backed=1 &&
		new_null dst 16 memory_backed=1 cache_size=4 || return
	must fill "$src" 65536
	new_mirror m "$src" 0 "$dst" 0 128 && wait_sync m || return
	must io "$ZM_DEV/m" write:65536:65536
	pivot || return
	expect_equal "$ZM_DEV/m" 0 "$dst" 0 32768
}
zm_test "a destination with a cache" t_is_flushed

t_suspended()
{
	new_pair || return
	must_dm suspend m
	pivot || return
	must_dm resume m
	must io "$ZM_DEV/m" write:65536:4096
	expect_equal "$ZM_DEV/m" 0 "$ZM_DEV/dst" 0 "$SECTORS"
}
zm_test "while it is suspended" t_suspended

# All that fio wrote is found where it wrote it, whichever leg was the truth.
t_load()
{
	local round

	need_program fio && new_pair || return
	start_load --name=v --filename="$ZM_DEV/m" --size=16m --bsrange=4k-64k
	for round in 1 2 3; do
		rest 0.5
		wait_until "pivot $round" 60 dm message m pivot || break
		rest 0.5
		load_goes_on
		status_of m
		expect_eq "state" "${ZM_ST[state]}" pivoted
		if [ $((round % 2)) = 1 ]; then
			exchange
		else
			exchange_back
		fi
		rest 0.5
		load_goes_on
		status_of m
		expect_ne "state" "${ZM_ST[state]}" pivoted
	done
	stop_load
	wait_sync m || return
	expect_equal "$ZM_DEV/src" 0 "$ZM_DEV/dst" 0 "$SECTORS"
}
zm_test "under load, there and back" t_load

t_exchange()
{
	local read zero

	new_pair || return
	must io "$ZM_DEV/m" zeroes:2097152:1048576
	status_of m
	zero=${ZM_ST[zero]}
	expect_ge "regions known to be zero" "$zero" 16
	pivot || return
	must io "$ZM_DEV/m" write:65536:4096 write:1048576:131072 \
		write:2097152:4096
	counters "$ZM_DEV/dst"
	read=${ZM_IO[read]}
	exchange paused dest_zeroed
	status_of m
	expect_eq "state" "${ZM_ST[state]}" paused
	expect_eq "regions known to be zero" "${ZM_ST[zero]}" $((zero - 1))
	message m list dirty
	expect_eq "what the old source lacks" "$ZM_ANSWER" 1,16-17,32
	message m resume
	wait_sync m || return
	counters "$ZM_DEV/dst"
	expect_le "sectors read" $((ZM_IO[read] - read)) $((4 * 128 + 64))
	expect_equal "$ZM_DEV/src" 0 "$ZM_DEV/dst" 0 "$SECTORS"
	must io "$ZM_DEV/m" write:4194304:65536
	expect_equal "$ZM_DEV/src" 0 "$ZM_DEV/dst" 0 "$SECTORS"

	# And back.
	pivot || return
	must io "$ZM_DEV/m" write:0:512
	expect_equal "$ZM_DEV/m" 0 "$ZM_DEV/src" 0 "$SECTORS"
	exchange_back
	wait_sync m || return
	expect_equal "$ZM_DEV/src" 0 "$ZM_DEV/dst" 0 "$SECTORS"
}
zm_test "the legs change places" t_exchange

# The leg that follows now fails as a destination does.
t_exchanged_fails()
{
	new_pair || return
	pivot && exchange && wait_sync m || return
	must io "$ZM_DEV/m" write:65536:4096
	dm_swap src "$BROKEN" || return
	must io "$ZM_DEV/m" write:131072:4096
	wait_state m stopped || return
	expect_eq "health" "${ZM_ST[health]}" AD
	mend src
	legs_are_equal
}
zm_test "an old source that fails is a destination that fails" t_exchanged_fails

copies_all()
{
	exchange paused
	status_of m
	expect_eq "dirty regions" "${ZM_ST[dirty]}" "${ZM_ST[total]}"
	message m resume
	wait_sync m || return
	expect_equal "$ZM_DEV/src" 0 "$ZM_DEV/dst" 0 "$SECTORS"
}

# Without a pivot the legs that change places are new ones; so they are when the old
# source may have lost what it was sent.
t_all_dirty()
{
	new_pair || return
	exchange paused
	status_of m
	expect_eq "dirty regions" "${ZM_ST[dirty]}" "${ZM_ST[total]}"
	exchange_back
	wait_sync m || return

	need_target flakey || return
	dm_swap src "0 $SECTORS flakey ${DISK[src]} 0 0 600 1 error_writes" ||
		return
	pivot || return
	dm_swap src "${WELL[src]}" || return
	copies_all
}
zm_test "what the old source may lack is copied" t_all_dirty

# A flush that succeeds later does not tell that of a disk that told of it once.
t_doubtful()
{
	need_target flakey && new_pair || return
	dm_swap src "0 $SECTORS flakey ${DISK[src]} 0 0 600 1 error_writes" || return
	must_fail io "$ZM_DEV/m" flush:0:0
	dm_swap src "${WELL[src]}" || return
	must io "$ZM_DEV/m" flush:0:0
	reload_mirror m "$ZM_DEV/src" 0 "$ZM_DEV/dst" 0 128 || return
	pivot || return
	copies_all || return

	# All of it has been copied since.
	pivot && exchange_back || return
	status_of m
	expect_eq "dirty regions, there and back" "${ZM_ST[dirty]}" 0
}
zm_test "and what a flush has failed for, before" t_doubtful

zm_run
