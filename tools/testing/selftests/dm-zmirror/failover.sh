#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The source dies. In sync, the destination takes over and nobody notices; out of
# sync, nothing old is served.

# shellcheck source=dm-zmirror-lib.sh
. "$(dirname "$0")/dm-zmirror-lib.sh"

new_pair() # FEATURE...
{
	new_broken_pair on_source_error:failover "$@" && wait_sync m
}

expect_over()
{
	wait_state m failed_over 30 || return
	expect_eq "health" "${ZM_ST[health]}" DA
	log_read
	expect_like "the log" "$ZM_LOG_NEW" 'has taken over' || return
}

t_write()
{
	local events written

	new_pair || return
	events_of m
	events=$ZM_EVENTS
	dm_swap src "$BROKEN" || return
	must io "$ZM_DEV/m" write:65536:4096
	expect_over
	events_of m
	expect_eq "events" "$ZM_EVENTS" $((events + 1))
	expect_eq "dirty regions" "${ZM_ST[dirty]}" 1

	# What is written now is remembered, and what is read is what was written.
	must io "$ZM_DEV/m" write:1048576:131072 flush:0:0 dsync:2097152:4096
	message m list dirty
	expect_eq "what the source lacks" "$ZM_ANSWER" 1,16-17,32
	expect_equal "$ZM_DEV/m" 0 "$ZM_DEV/dst" 0 "$SECTORS"

	# The source comes back, and is not used.
	dm_swap src "${WELL[src]}" || return
	counters "$ZM_DEV/src"
	written=${ZM_IO[written]}
	message m resume
	must io "$ZM_DEV/m" write:3145728:4096
	rest 0.5
	counters "$ZM_DEV/src"
	expect_eq "sectors written to the source" "${ZM_IO[written]}" "$written"
	status_of m
	expect_eq "state" "${ZM_ST[state]}" failed_over
	expect_equal "$ZM_DEV/m" 0 "$ZM_DEV/dst" 0 "$SECTORS"
}
zm_test "a write finds that the source is dead" t_write

t_flush()
{
	need_target flakey && new_pair || return
	dm_swap src "0 $SECTORS flakey ${DISK[src]} 0 0 600 1 error_writes" ||
		return
	must io "$ZM_DEV/m" flush:0:0
	expect_over
	expect_eq "dirty regions" "${ZM_ST[dirty]}" 0
}
zm_test "a flush finds it" t_flush

# A bad sector is no reason.
t_read()
{
	new_pair || return
	dm_swap src "$BROKEN" || return
	expect_equal "$ZM_DEV/m" 0 "$ZM_DEV/dst" 0 "$SECTORS"
	status_of m
	expect_eq "state" "${ZM_ST[state]}" in_sync
	must io "$ZM_DEV/m" write:0:512
	expect_over
}
zm_test "reads are served meanwhile" t_read

# All kinds of requests, by a destination that knows them and by one that does not.
t_kinds() # loop|null
{
	local disk

	new_leg src || return
	if [ "$1" = loop ]; then
		new_leg dst || return
	else
		new_null disk 16 || return
		DISK[dst]=$disk
		WELL[dst]="0 $SECTORS linear $disk 0"
		new_dm dst "${WELL[dst]}" || return
	fi
	must fill "$ZM_DEV/src" 65536 || return
	new_mirror m "$ZM_DEV/src" 0 "$ZM_DEV/dst" 0 128 \
		on_source_error:failover || return
	wait_sync m || return
	dm_swap src "$BROKEN" || return
	must io "$ZM_DEV/m" write:0:512
	expect_over
	must io "$ZM_DEV/m" punch:65536:131072 zeroout:262144:65536 \
		zeroes:393216:4096 write:69632:4096
	ask io "$ZM_DEV/m" discard:1048576:65536
	status_of m
	expect_ge "regions known to be zero" "${ZM_ST[zero]}" 2
	expect_zero "$ZM_DEV/m" 128 8
	expect_zero "$ZM_DEV/m" 144 240
	expect_zero "$ZM_DEV/m" 512 128
	expect_zero "$ZM_DEV/m" 768 8
	must io "$ZM_DEV/m" punch:65536:131072 punch:65536:131072
	expect_zero "$ZM_DEV/m" 128 256
	expect_equal "$ZM_DEV/m" 0 "$ZM_DEV/dst" 0 "$SECTORS"
}
zm_test "all kinds of requests, with a loop device" t_kinds loop
zm_test "all kinds of requests, with a disk that cannot zero" t_kinds null

# Both are dead, and the user must know.
t_both_dead()
{
	local source dest

	new_pair || return
	dm_swap src "$BROKEN" || return
	must io "$ZM_DEV/m" write:0:4096
	expect_over
	dm_swap dst "$BROKEN" || return
	must_fail io "$ZM_DEV/m" write:0:4096

	# What fails then is the destination's, and it is asked once.
	status_of m
	source=${ZM_ST[source_errors]} dest=${ZM_ST[dest_errors]}
	must_fail zero "$ZM_DEV/m" 0 4096
	status_of m
	expect_eq "errors of the source" "${ZM_ST[source_errors]}" "$source"
	expect_eq "errors of the destination" "${ZM_ST[dest_errors]}" $((dest + 1))
	must_fail io "$ZM_DEV/m" zeroes:0:65536
	dm_swap dst "${WELL[dst]}" || return
	must io "$ZM_DEV/m" write:0:4096 flush:0:0
	expect_equal "$ZM_DEV/m" 0 "$ZM_DEV/dst" 0 "$SECTORS"
}
zm_test "and then the destination dies too" t_both_dead

# With a destination that is dead or lacks something, the error is the user's.
t_out_of_sync() # WHY
{
	new_pair || return
	case $1 in
	dirty)
		message m set copy_mode async
		message m pause
		must io "$ZM_DEV/m" write:8388608:4096
		;;
	dest)
		dm_swap dst "$BROKEN" || return
		must io "$ZM_DEV/m" write:8388608:4096
		wait_state m stopped || return
		;;
	esac
	dm_swap src "$BROKEN" || return
	must_fail io "$ZM_DEV/m" write:0:4096
	must_fail io "$ZM_DEV/m" write:65536:4096
	must_fail zero "$ZM_DEV/m" 8388608 4096
	status_of m
	expect_ne "state" "${ZM_ST[state]}" failed_over
	message m resume
	[ "$1" = dest ] || wait_state m stopped
	must_fail zero "$ZM_DEV/m" 8388608 4096
	dm_swap dst "${WELL[dst]}" || return
	message m set copy_mode sync
	mend src && legs_are_equal
}
zm_test "not with a dirty region" t_out_of_sync dirty
zm_test "not with a failed destination" t_out_of_sync dest

t_taken_over()
{
	new_pair || return
	dm_swap src "$BROKEN" || return
	must io "$ZM_DEV/m" write:65536:4096
	expect_over
	must_dm suspend m
	must_dm resume m
	reload_mirror m "$ZM_DEV/src" 0 "$ZM_DEV/dst" 0 128 || return
	status_of m
	expect_eq "state" "${ZM_ST[state]}" failed_over
	must io "$ZM_DEV/m" write:131072:4096
	message m list dirty
	expect_eq "what the source lacks" "$ZM_ANSWER" 1-2
	expect_equal "$ZM_DEV/m" 0 "$ZM_DEV/dst" 0 "$SECTORS"

	# Back again, by a mirror the other way round.
	dm_swap src "${WELL[src]}" || return
	must_dm suspend m
	zm_line "$SECTORS" "$ZM_DEV/dst" 0 "$ZM_DEV/src" 0 128 nosync paused
	must_dm load m "$ZM_LINE" && must_dm resume m || return
	message m mark dirty 1-2
	message m resume
	wait_sync m || return
	expect_eq "sectors copied" "${ZM_ST[copied]}" 256
	expect_equal "$ZM_DEV/src" 0 "$ZM_DEV/dst" 0 "$SECTORS"
}
zm_test "a table that takes over, and the way back" t_taken_over

# No write that was acknowledged is lost, whatever is in flight.
t_load() # FEATURE...
{
	local round

	need_program fio || return
	new_pair "$@" || return
	for round in 1 2 3; do
		start_load --name=v --filename="$ZM_DEV/m" --size=4m \
			--bsrange=4k-64k
		rest 1
		dm_swap src "$BROKEN" noflush || break
		wait_state m failed_over 30 || break
		rest 1
		load_goes_on
		stop_load || break
		expect_equal "$ZM_DEV/m" 0 "$ZM_DEV/dst" 0 "$SECTORS"
		[ "$round" -lt 3 ] || break

		# A new mirror of all, for the next round.
		dm_swap src "${WELL[src]}" || break
		must_dm suspend m
		zm_line "$SECTORS" "$ZM_DEV/dst" 0 "$ZM_DEV/src" 0 128
		must_dm load m "$ZM_LINE" || break
		must_dm resume m || break
		wait_sync m || break
		must_dm suspend m
		zm_line "$SECTORS" "$ZM_DEV/src" 0 "$ZM_DEV/dst" 0 128 nosync \
			on_source_error:failover
		must_dm load m "$ZM_LINE" || break
		must_dm resume m || break
		wait_sync m || break
	done
}
zm_test "under fio with verify" t_load

# While the two bounds of this are in flight at once: a write that is held because
# it overlaps one that failed, and one that waits for the decision.
t_delayed()
{
	need_program fio && need_target delay && new_pair || return
	start_load --name=v --filename="$ZM_DEV/m" --size=1m --bsrange=512-64k
	dm_swap dst "0 $SECTORS delay ${DISK[dst]} 0 50" || return
	rest 1
	dm_swap src "$BROKEN" noflush
	wait_state m failed_over 30
	must_dm suspend m noflush
	must_dm resume m
	dm_swap dst "${WELL[dst]}" noflush
	rest 1
	load_goes_on
	stop_load
	expect_equal "$ZM_DEV/m" 0 "$ZM_DEV/dst" 0 "$SECTORS"
}
zm_test "with a slow destination, and a suspend" t_delayed

# With a time limit of two seconds, those in flight wait that long.
t_hangs()
{
	local src dst begin ms

	new_scsi src 16 && new_null dst 16 || return
	new_mirror m "$src" 0 "$dst" 0 128 on_source_error:failover || return
	wait_sync m || return
	scsi_hangs "$src" 2 || return

	begin=${EPOCHREALTIME/./}
	must io "$ZM_DEV/m" write:0:65536
	ms=$(((${EPOCHREALTIME/./} - begin) / 1000))
	ktap_print_msg "$ms ms"
	expect_over
	expect_ge "ms that the write takes" "$ms" 1500
	expect_le "ms that the write takes" "$ms" $((ZM_HANGS * 3 / 2 + 2000 * ZM_SLOWER))
	must io "$ZM_DEV/m" write:65536:65536 flush:0:0
	scsi_answers
	expect_equal "$ZM_DEV/m" 0 "$dst" 0 32768
}
zm_test "a source that hangs, within its time limit" t_hangs

resume_is_refused() # WHAT
{
	! dm resume m || wrong "the old source is back, $1"
	log_read
	expect_like "the log" "$ZM_LOG_NEW" "had taken over.*load the mirror the other way round"
}

# Only a table of the same regions knows that the source is old. Any other one would have
# it copied over what was written since.
t_other_regions()
{
	local before

	new_pair || return
	zm_line "$SECTORS" "$ZM_DEV/src" 0 "$ZM_DEV/dst" 0 256 nosync
	must_dm load m "$ZM_LINE" && dm_swap src "$BROKEN" noflush || return
	must io "$ZM_DEV/m" write:0:1048576
	expect_over
	dm_swap src "${WELL[src]}" || return
	before=$(sum_of "$ZM_DEV/dst")

	# One that was loaded before, and resumed twice.
	must_dm suspend m || return
	resume_is_refused "of other regions"
	resume_is_refused "the second time"
	zm_line "$((SECTORS / 2))" "$ZM_DEV/src" 0 "$ZM_DEV/dst" 0 128
	! dm load m "$ZM_LINE" || wrong "it is loaded"
	zm_line "$SECTORS" "$ZM_DEV/dst" 0 "$ZM_DEV/src" 0 128
	must_dm load m "$ZM_LINE" && must_dm resume m || return
	legs_are_equal
	expect_eq "what is on the destination" "$(sum_of "$ZM_DEV/dst")" "$before"
}
zm_test "a table of other regions does not bring the old source back" t_other_regions

# It is not even loaded, and all goes on.
t_other_length()
{
	new_pair || return
	dm_swap src "$BROKEN" noflush || return
	must io "$ZM_DEV/m" write:0:65536
	expect_over
	zm_line "$((SECTORS - 128))" "$ZM_DEV/src" 128 "$ZM_DEV/dst" 128 128
	! dm load m "$ZM_LINE" || wrong "it is loaded"
	log_read
	expect_like "the log" "$ZM_LOG_NEW" "had taken over from this source" || return
	must io "$ZM_DEV/m" write:65536:65536
	reload_mirror m "$ZM_DEV/src" 0 "$ZM_DEV/dst" 0 128 || return
	status_of m
	expect_eq "state" "${ZM_ST[state]}" failed_over
	expect_equal "$ZM_DEV/m" 0 "$ZM_DEV/dst" 0 "$SECTORS"
}
zm_test "nor does one of another length" t_other_length

t_by_message()
{
	new_broken_pair && wait_sync m || return
	message m set on_source_error failover
	dm_swap src "$BROKEN" || return
	must io "$ZM_DEV/m" write:65536:4096
	expect_over
}
zm_test "set by message" t_by_message

# Without it, the error is the user's.
t_stop()
{
	new_broken_pair && wait_sync m || return
	dm_swap src "$BROKEN" || return
	must_fail io "$ZM_DEV/m" write:65536:4096
	status_of m
	expect_ne "state" "${ZM_ST[state]}" failed_over
	mend src && legs_are_equal
}
zm_test "not without the feature" t_stop

zm_run
