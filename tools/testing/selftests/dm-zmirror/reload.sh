#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# A table loaded over a running mirror: of the same legs and geometry, it takes
# over what is known; any other starts with all regions dirty and none known to
# be zero. What was promised once is never believed again.

# shellcheck source=dm-zmirror-lib.sh
. "$(dirname "$0")/dm-zmirror-lib.sh"

SECTORS=16384	# 128 regions

# A mirror in sync; one region in four holds data.
new_pair()
{
	new_loop src $((SECTORS / 2))K && new_loop dst $((SECTORS / 2))K ||
		return
	must fill "$src_file" 65536 4
	new_mirror m "$src" 0 "$dst" 0 128 && wait_sync m
}

remember()
{
	counters "$src"
	BEFORE_READ=${ZM_IO[read]}
	counters "$dst"
	BEFORE_WRITTEN=${ZM_IO[written]}
}

# Nothing was read or written for the sake of resync.
expect_quiet() # WHAT
{
	rest 0.3
	counters "$src"
	expect_eq "sectors read after $1" "${ZM_IO[read]}" "$BEFORE_READ"
	counters "$dst"
	expect_eq "sectors written after $1" "${ZM_IO[written]}" \
		"$BEFORE_WRITTEN"
}

t_adopts()
{
	local src src_file dst

	new_pair || return
	remember
	reload_mirror m "$src" 0 "$dst" 0 128
	status_of m
	expect_eq "state" "${ZM_ST[state]}" in_sync
	expect_eq "dirty regions" "${ZM_ST[dirty]}" 0
	expect_eq "regions known to be zero" "${ZM_ST[zero]}" 96
	reload_mirror m "$src" 0 "$dst" 0 128 jobs:3 copy_mode:async \
		zero_detect:off no_unmap
	status_of m
	expect_eq "dirty regions" "${ZM_ST[dirty]}" 0
	expect_eq "regions known to be zero" "${ZM_ST[zero]}" 96
	expect_eq "features" "$(table_of m | cut -d ' ' -f 10-)" \
		"zero_detect:off no_unmap copy_mode:async jobs:3"
	# A reload of the default size means the same regions.
	reload_mirror m "$src" 0 "$dst" 0 0
	expect "still in sync" status_is m state in_sync
	expect_quiet "reloads"
	must io "$ZM_DEV/m" write:102400:200704 punch:1048576:1048576
	wait_sync m || return
	expect_equal "$src" 0 "$dst" 0 "$SECTORS"
}
zm_test "a table of the same legs takes over what is known" t_adopts

t_adopts_dirty()
{
	local src src_file dst

	new_pair || return
	message m pause
	message m set copy_mode async
	must io "$ZM_DEV/m" write:655360:65536 write:1310720:65536
	expect "two dirty regions" status_is m dirty 2
	remember
	reload_mirror m "$src" 0 "$dst" 0 128 paused
	expect "two dirty regions" status_is m dirty 2
	expect "state" status_is m state paused
	expect_quiet "a reload"
	reload_mirror m "$src" 0 "$dst" 0 128
	wait_sync m || return
	counters "$dst"
	expect_eq "sectors written by resync" \
		$((ZM_IO[written] - BEFORE_WRITTEN)) 256
	expect_equal "$src" 0 "$dst" 0 "$SECTORS"
}
zm_test "what is dirty stays so, and nothing else is copied" t_adopts_dirty

# Reloads while resync runs: what was copied is not copied again.
t_in_resync()
{
	local src src_file disk i

	need_target delay || return
	new_loop src $((SECTORS / 2))K && new_loop disk $((SECTORS / 2))K ||
		return
	must fill "$src_file" 65536
	new_dm slow "0 $SECTORS delay $disk 0 0 $disk 0 40" || return
	new_mirror m "$src" 0 "$ZM_DEV/slow" 0 128 jobs:2 || return
	for i in 1 2 3 4 5 6; do
		reload_mirror m "$src" 0 "$ZM_DEV/slow" 0 128 jobs:$((i + 1))
	done
	wait_sync m || return
	counters "$ZM_DEV/slow"
	expect_eq "sectors written" "${ZM_IO[written]}" "$SECTORS"
	expect_equal "$src" 0 "$disk" 0 "$SECTORS"
}
zm_test "reloads during resync copy nothing twice" t_in_resync

t_stale_promise() # PROMISE
{
	local src src_file dst dst_file line

	new_loop src $((SECTORS / 2))K && new_loop dst $((SECTORS / 2))K ||
		return
	must fill "$src_file" 65536 4
	new_dm m || return
	zm_line "$SECTORS" "$src" 0 "$dst" 0 128 "$1" paused
	must_dm load m "$ZM_LINE"
	line=$(table_of m inactive)
	expect_like "the table before the first resume" "$line" " $1( |\$)"
	must_dm resume m
	expect_like "the table after it" "$(table_of m)" ' 128 1 paused$'

	# What was promised is no longer true.
	must io "$ZM_DEV/m" write:0:1048576
	message m resume
	wait_sync m || return
	message m pause
	message m set copy_mode async
	must io "$ZM_DEV/m" write:2097152:1048576
	must fill "$dst_file" 65536 8 1 2

	dm_swap m "$line"
	status_of m
	[ "$1" = nosync ] || expect_le "regions known to be zero" \
		"${ZM_ST[zero]}" $((128 - 16))
	expect_eq "dirty regions" "${ZM_ST[dirty]}" 16
	expect_like "the table" "$(table_of m)" ' 128 1 paused$'
}
zm_test "dest_zeroed is not believed twice" t_stale_promise dest_zeroed
zm_test "nosync is not believed twice" t_stale_promise nosync

# Another target of the same table does not resume: device-mapper has let go of the old
# table by then, and of what was known. Here a snapshot waits for another one to be
# suspended.
new_neighbours() # FEATURE of the mirror...
{
	local origin store

	need_target snapshot && new_pair && new_loop origin 1M && new_loop store 1M || return
	must_dm remove m
	new_dm x "0 $SECTORS linear $src 0" || return
	SNAPSHOT="0 2048 snapshot $origin $store P 8"
	zm_line "$SECTORS" "$ZM_DEV/x" 0 "$dst" 0 128 "$@"
	new_dm s "$SNAPSHOT" && new_dm n "0 2048 zero;2048 ${ZM_LINE#* }"
}

fails_to_resume() # FEATURE of the mirror...
{
	zm_line "$SECTORS" "$ZM_DEV/x" 0 "$dst" 0 128 "$@"
	must_dm load n "$SNAPSHOT;2048 ${ZM_LINE#* }" && must_dm suspend n || return
	! dm resume n || wrong "the snapshot has resumed"
}

status_has() # NAME WORDS
{
	[[ $(status_line "$1") == *"$2"* ]]
}

t_neighbour() # PROMISE again|load
{
	local src src_file dst

	new_neighbours nosync copy_mode:async paused || return
	must io "$ZM_DEV/n" write:$((2048 * 512)):1048576 || return
	expect_like "the status" "$(status_line n)" " dirty:16 "
	fails_to_resume "$1" paused || return
	if [ "$2" = again ]; then
		must_dm suspend s
	else
		must_dm load n "0 2048 zero;2048 ${ZM_LINE#* }"
	fi
	must_dm resume n || return
	expect_like "the status" "$(status_line n)" " dirty:128 zero:0 "

	zm_line "$SECTORS" "$ZM_DEV/x" 0 "$dst" 0 128
	dm_swap n "0 2048 zero;2048 ${ZM_LINE#* }"
	wait_until "it is in sync" 60 status_has n " in_sync "
	expect_equal "$ZM_DEV/x" 0 "$dst" 0 "$SECTORS"
}
zm_test "dest_zeroed is not believed after a neighbour has failed" t_neighbour dest_zeroed again
zm_test "nosync is not believed after a neighbour has failed" t_neighbour nosync again
zm_test "nor in a table without the neighbour" t_neighbour nosync load

# Nor is it known any more that the source is old, which must not be copied.
t_neighbour_over()
{
	local src src_file dst before

	new_neighbours nosync on_source_error:failover || return
	dm_swap x "0 $SECTORS error" noflush || return
	must io "$ZM_DEV/n" write:$((2048 * 512 + 1048576)):1048576
	wait_until "the destination has taken over" 30 status_has n " failed_over "
	dm_swap x "0 $SECTORS linear $src 0"
	before=$(sum_of "$dst")
	fails_to_resume paused || return
	must_dm suspend s
	! dm resume n || wrong "the mirror has resumed"
	must_dm load n "0 2048 zero;2048 ${ZM_LINE#* }"
	! dm resume n || wrong "the mirror has resumed with another table"
	log_read
	expect_like "the log" "$ZM_LOG_NEW" "had taken over.*load the mirror the other way round" ||
		return

	zm_line "$SECTORS" "$dst" 0 "$ZM_DEV/x" 0 128 nosync
	must_dm load n "0 2048 zero;2048 ${ZM_LINE#* }" && must_dm resume n || return
	wait_until "it is in sync" 60 status_has n " in_sync "
	expect_equal "$ZM_DEV/x" 0 "$dst" 0 "$SECTORS"
	expect_eq "what is on the destination" "$(sum_of "$dst")" "$before"
}
zm_test "an old source is not copied after a neighbour has failed" t_neighbour_over

t_promise_before_resume()
{
	local src src_file dst line

	new_loop src $((SECTORS / 2))K && new_loop dst $((SECTORS / 2))K ||
		return
	must fill "$src_file" 65536 4
	new_dm m || return
	zm_line "$SECTORS" "$src" 0 "$dst" 0 128 dest_zeroed
	must_dm load m "$ZM_LINE"
	line=$(table_of m inactive)
	must_dm load m "$line"
	must_dm resume m
	wait_sync m || return
	expect_eq "sectors zeroed" "${ZM_ST[zeroed]}" 0
	counters "$dst"
	expect_eq "sectors written" "${ZM_IO[written]}" $((32 * 128))
	expect_equal "$src" 0 "$dst" 0 "$SECTORS"
}
zm_test "a promise that is saved before the first resume holds" \
	t_promise_before_resume

# Another LINE over a mirror in sync: everything is dirty, nothing known.
starts_anew() # WHAT REGIONS SOURCE OFFSET DESTINATION OFFSET REGION
{
	zm_line "$SECTORS" "${@:3}" paused
	dm_swap m "$ZM_LINE"
	status_of m
	expect_eq "dirty regions with $1" "${ZM_ST[dirty]}" "$2"
	expect_eq "zero regions with $1" "${ZM_ST[zero]}" 0
	expect_eq "state with $1" "${ZM_ST[state]}" paused
	message m resume
	wait_sync m || return
	expect_equal "$3" "$4" "$5" "$6" "$SECTORS"
}

t_others()
{
	local src src_file dst dst_file other

	new_loop src $((SECTORS))K && new_loop dst $((SECTORS))K &&
		new_loop other $((SECTORS))K || return
	must fill "$src_file" 65536 4
	must fill "$dst_file" 65536 3 1 2
	ZM_LENGTH=$SECTORS new_mirror m "$src" 0 "$dst" 0 128 || return
	wait_sync m || return
	starts_anew "another region size" 256 "$src" 0 "$dst" 0 64
	starts_anew "another region size" 128 "$src" 0 "$dst" 0 128
	starts_anew "another destination" 128 "$src" 0 "$other" 0 128
	starts_anew "another destination offset" 128 "$src" 0 "$other" 128 128
	starts_anew "another source offset" 128 "$src" 128 "$other" 128 128
	starts_anew "another source" 128 "$dst" 128 "$other" 128 128
	starts_anew "the legs the other way" 128 "$other" 128 "$dst" 128 128
	ZM_LENGTH=$((SECTORS - 8)) reload_mirror m "$other" 128 "$dst" 128 128 \
		paused
	expect "all dirty with another length" status_is m dirty 128
}
zm_test "another geometry or leg starts with everything dirty" t_others

t_other_target()
{
	local src src_file dst

	new_pair || return
	dm_swap m "0 $SECTORS linear $src 0"
	must io "$ZM_DEV/m" write:0:1048576
	zm_line "$SECTORS" "$src" 0 "$dst" 0 128 paused
	dm_swap m "$ZM_LINE"
	expect "all dirty" status_is m dirty 128
	expect "none zero" status_is m zero 0
	message m resume
	wait_sync m || return
	expect_equal "$src" 0 "$dst" 0 "$SECTORS"
}
zm_test "nothing is remembered across another target" t_other_target

# A line may be loaded and never used.
t_clear()
{
	local src src_file dst

	new_pair || return
	remember
	zm_line "$SECTORS" "$src" 0 "$dst" 0 64 paused
	must_dm load m "$ZM_LINE"
	must_dm clear m
	must_dm load m "$ZM_LINE"
	expect "in sync" status_is m state in_sync
	zm_line "$SECTORS" "$src" 0 "$dst" 0 128
	must_dm load m "$ZM_LINE"
	must_dm suspend m
	must_dm resume m
	expect "in sync" status_is m state in_sync
	expect_quiet "loads"
}
zm_test "a table that is loaded and cleared changes nothing" t_clear

# Two mirrors of one destination are a mistake, but one must not take the other's
# regions.
t_two()
{
	local src src_file dst

	new_pair || return
	zm_line "$SECTORS" "$src" 0 "$dst" 0 128 paused
	new_dm other "$ZM_LINE" || return
	expect "all dirty" status_is other dirty 128
	expect "in sync" status_is m state in_sync
}
zm_test "another device takes nothing over" t_two

zm_run
