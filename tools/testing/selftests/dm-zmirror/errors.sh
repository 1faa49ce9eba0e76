#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Errors of the legs. Those of the destination never reach the user, and make its
# regions dirty; those of the source are the user's, and leave the legs equal in
# the end.

# shellcheck source=dm-zmirror-lib.sh
. "$(dirname "$0")/dm-zmirror-lib.sh"

expect_failed_dest()
{
	wait_state m stopped 30 || return
	expect_eq "health" "${ZM_ST[health]}" AD
	expect_ge "destination errors" "${ZM_ST[dest_errors]}" 1
}

# Lets writes and flushes of the destination fail, and reads not.
break_flushes()
{
	need_target flakey &&
		dm_swap dst "0 $SECTORS flakey ${DISK[dst]} 0 0 600 1 error_writes"
}

t_write_error()
{
	local before

	new_broken_pair && wait_sync m || return
	events_of m
	before=$ZM_EVENTS
	dm_swap dst "$BROKEN" || return
	must io "$ZM_DEV/m" write:65536:4096
	expect_failed_dest
	expect_ge "dirty regions" "${ZM_ST[dirty]}" 1
	events_of m
	expect_ge "events" "$ZM_EVENTS" $((before + 1))

	# Nothing is sent there any more, and what is written is remembered.
	counters "$ZM_DEV/dst"
	before=${ZM_IO[writes]}
	must io "$ZM_DEV/m" write:8388608:262144
	counters "$ZM_DEV/dst"
	expect_eq "writes to a failed destination" "${ZM_IO[writes]}" "$before"
	mend dst && legs_are_equal
}

t_error_in_resync()
{
	new_broken_pair paused || return
	dm_swap dst "$BROKEN" && message m resume || return
	expect_failed_dest
	expect_eq "dirty regions" "${ZM_ST[dirty]}" 256
	mend dst && legs_are_equal
}

t_half_broken()
{
	new_broken_pair paused || return
	dm_swap dst "0 16384 linear ${DISK[dst]} 0;16384 16384 error" || return
	message m resume
	expect_failed_dest
	expect_ge "dirty regions" "${ZM_ST[dirty]}" 128
	mend dst && legs_are_equal
}

t_flush_error()
{
	need_target flakey && new_broken_pair && wait_sync m || return
	break_flushes || return
	must io "$ZM_DEV/m" flush:0:0
	expect_failed_dest
	mend dst && legs_are_equal
}

# Writes that the destination has acknowledged, but not flushed, may be lost with
# it. The chunks that they are in become dirty, and no others.
t_not_flushed()
{
	need_target flakey && new_broken_pair && wait_sync m || return
	must io "$ZM_DEV/m" flush:0:0 write:4194304:4096 write:12582912:4096
	status_of m
	expect_eq "dirty regions" "${ZM_ST[dirty]}" 0
	break_flushes || return
	must io "$ZM_DEV/m" flush:0:0
	expect_failed_dest
	wait_until "two chunks are dirty" 10 status_is m dirty 128
	mend dst && legs_are_equal
}

# What was copied is flushed before the event tells that it is in sync.
in_sync_is_told()
{
	events_of m && [ "$ZM_EVENTS" -ge 1 ]
}

t_flushed()
{
	new_broken_pair && wait_sync m || return
	wait_until "the event" 20 in_sync_is_told || return
	must io "$ZM_DEV/m" write:4194304:4096 flush:0:0
	dm_swap dst "$BROKEN" || return
	must io "$ZM_DEV/m" write:12582912:4096
	expect_failed_dest
	wait_until "one chunk is dirty" 10 status_is m dirty 64 ||
		wrong "the status is $ZM_ANSWER"
	mend dst && legs_are_equal
}

# The zero bits of what may be lost go as well.
t_zeroes_not_flushed()
{
	need_target flakey && new_broken_pair && wait_sync m || return
	must io "$ZM_DEV/m" flush:0:0 zeroes:0:1048576
	wait_sync m
	expect_eq "regions known to be zero" "${ZM_ST[zero]}" 16
	break_flushes || return
	must io "$ZM_DEV/m" flush:0:0
	expect_failed_dest
	wait_until "no region is known to be zero" 10 status_is m zero 0
	mend dst && legs_are_equal
}

t_errors_under_load()
{
	need_program fio && new_broken_pair || return
	start_load --name=v --filename="$ZM_DEV/m" --size=4m --bsrange=4k-64k
	for _ in 1 2 3; do
		rest 0.5
		dm_swap dst "$BROKEN" || break
		wait_state m stopped 20 || break
		expect_eq "health" "${ZM_ST[health]}" AD
		rest 0.3
		mend dst || break
	done
	stop_load
	legs_are_equal
}

t_source_read_error()
{
	local before

	new_broken_pair paused || return
	events_of m
	before=$ZM_EVENTS
	dm_swap src "$BROKEN" && message m resume || return
	wait_state m stopped || return
	expect_eq "health" "${ZM_ST[health]}" RA
	expect_ge "source errors" "${ZM_ST[source_errors]}" 1
	events_of m
	expect_ge "events" "$ZM_EVENTS" $((before + 1))
	must_fail io "$ZM_DEV/m" write:0:4096
	mend src && legs_are_equal
}

# The user is told of an error of the source. The destination may have what the
# source has not; it follows in the end.
t_source_write_error()
{
	new_broken_pair && wait_sync m || return
	message m pause
	dm_swap src "$BROKEN" || return
	must_fail io "$ZM_DEV/m" write:131072:65536
	status_of m
	expect_eq "dirty regions" "${ZM_ST[dirty]}" 1
	expect_ge "source errors" "${ZM_ST[source_errors]}" 1
	mend src && legs_are_equal
}

t_remove_failed()
{
	new_broken_pair && wait_sync m || return
	dm_swap dst "$BROKEN" || return
	must io "$ZM_DEV/m" write:65536:4096
	expect_failed_dest
	must_dm suspend m
	must_dm resume m
	status_of m
	expect_eq "health after suspend and resume" "${ZM_ST[health]}" AD
}

# Errors that come and go: dm-flakey fails for a second of every two.
t_flakey()
{
	need_target flakey && new_broken_pair paused || return
	dm_swap dst "0 $SECTORS flakey ${DISK[dst]} 0 1 1 1 error_writes" ||
		return
	message m resume
	for _ in 1 2 3 4 5 6; do
		rest 0.5
		must io "$ZM_DEV/m" write:1048576:65536 flush:0:0
		message m resume
	done
	mend dst || return

	# A flush that failed before may be noticed after the message.
	wait_until "the mirror is in sync" 60 in_sync_by_and_by
	legs_are_equal
}

in_sync_by_and_by()
{
	status_is m state in_sync && return
	[ "${ZM_ST[state]}" != stopped ] || message m resume
	return 1
}

zm_test "a write error of the destination is not the user's" t_write_error
zm_test "a destination that fails in resync" t_error_in_resync
zm_test "a destination of which one half fails" t_half_broken
zm_test "a flush error of the destination is not the user's" t_flush_error
zm_test "what was not flushed is copied again" t_not_flushed
zm_test "what was flushed is not" t_flushed
zm_test "zeroes that were not flushed are not believed" t_zeroes_not_flushed
zm_test "a destination that fails under fio with verify" t_errors_under_load
zm_test "a read error of the source stops resync" t_source_read_error
zm_test "a write error of the source is the user's" t_source_write_error
zm_test "a mirror with a failed destination goes" t_remove_failed
zm_test "errors that come and go" t_flakey

# A block of what could not be written is written once more, to learn why. What is behind
# the mirror is somebody else's.
t_behind() # BAD_SECTOR SECTORS [the last sector's content: REQUEST]
{
	local length=2561 before

	new_leg src && new_leg dst && must fill "$ZM_DEV/src" 65536 &&
		must fill "$ZM_DEV/dst" 65536 1 0 2 || return
	[ -z "${3:-}" ] || must io "$ZM_DEV/src" "$3:$(((length - 1) * 512)):512"
	before=$(behind "$length")
	bad_sectors dst "$1" "$2" || return
	ZM_LENGTH=$length new_mirror m "$ZM_DEV/src" 0 "$ZM_DEV/dst" 0 128 paused || return
	rest 0.3	# and so it is not in use, and written in large pieces
	message m resume
	expect_failed_dest
	expect_eq "what is behind the mirror" "$(behind "$length")" "$before"
}

behind() # SECTOR
{
	dd if="${DISK[dst]}" bs=512 skip="$1" count=64 iflag=direct status=none | cksum
}
zm_test "what is behind the mirror is left alone when a write fails" t_behind 2280 8
zm_test "and when zeroes cannot be written" t_behind 2560 1 zeroes

# What could not be read is written anew, and there is no reason to stand still any more.
t_source_rewritten()
{
	new_broken_pair nosync paused || return
	message m mark dirty 7
	bad_sectors src 1000 8 || return
	message m resume
	wait_state m stopped || return
	dm_swap src "${WELL[src]}" || return
	must io "$ZM_DEV/m" write:458752:65536
	wait_state m in_sync || return
	wait_until "the source is well" 10 status_is m health AA
	message m mark dirty 0-255
	legs_are_equal
}
zm_test "a region that could not be read is written anew" t_source_rewritten

# With a time limit of two seconds, who has to wait waits that long.
bounded() # WHAT COMMAND...
{
	local begin=${EPOCHREALTIME/./} ms

	"${@:2}" || return
	ms=$(((${EPOCHREALTIME/./} - begin) / 1000))
	ktap_print_msg "$1 in $ms ms"
	expect_le "ms until it is $1" "$ms" $((ZM_HANGS * 5 / 2 + 2000 * ZM_SLOWER))
}

t_dest_hangs()
{
	local src dst

	new_null src 16 && new_scsi dst 16 || return
	must fill "$src" 1048576
	new_mirror m "$src" 0 "$dst" 0 128 paused || return
	scsi_hangs "$dst" 2 || return
	message m resume
	rest 0.5
	bounded suspended must_dm suspend m
	must_dm resume m
	message m resume
	rest 0.5
	bounded written must io "$ZM_DEV/m" write:0:65536
	wait_state m stopped 60 || return
	expect_eq "health" "${ZM_ST[health]}" AD
	message m resume
	rest 0.5
	bounded removed must_dm remove m
	scsi_answers
}
zm_test "a destination that hangs holds up nobody beyond its time limit" t_dest_hangs

# Each region that cannot be read takes as long; nobody waits for all of them.
t_verify_hangs()
{
	local src dst

	new_null src 16 && new_scsi dst 16 || return
	new_mirror m "$src" 0 "$dst" 0 128 nosync && wait_sync m || return
	scsi_hangs "$dst" 2 || return
	message m verify
	rest 0.5
	bounded suspended must_dm suspend m
	must_dm resume m
	rest 0.5
	bounded removed must_dm remove m
	scsi_answers
}
zm_test "nor does a verify of it" t_verify_hangs

zm_run
