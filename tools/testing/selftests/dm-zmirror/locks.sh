#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Which locks writers share who write to distinct chunks.

# shellcheck source=dm-zmirror-lib.sh
. "$(dirname "$0")/dm-zmirror-lib.sh"

# Four writers, each with four chunks of its own: an area of 16 MiB.
write_apart() # OPTION of fio...
{
	local i jobs=()

	for ((i = 0; i < 4; i++)); do
		jobs+=("--name=j$i" "--offset=$((i * 16))m" --size=16m)
	done
	zm_fio --filename="$ZM_DEV/m" --rw=randwrite --bs=4k --iodepth=16 "$@" \
		"${jobs[@]}" > /dev/null || wrong "fio fails"
}

# The tracer tells each call and its caller. What is locked in the functions of
# this module is locked by these, and they take a bucket's lock only.
t_locks()
{
	local src dst lock locks

	[ -d "$ZM_TRACING/events" ] || mount -t tracefs none "$ZM_TRACING"
	grep -qw function "$ZM_TRACING/available_tracers" ||
		{ skip "there is no function tracer"; return; }
	new_null src 64 && new_null dst 64 || return
	new_mirror m "$src" 0 "$dst" 0 128 nosync || return
	ZM_TRACE=$ZM_TRACING/instances/$ZM_ID
	mkdir "$ZM_TRACE" && undo rmdir "$ZM_TRACE" || return
	for lock in '_raw_spin_lock*' '_raw_spin_trylock*' '_raw_read_lock*' \
		    '_raw_write_lock*' 'mutex_lock*' 'mutex_trylock*' \
		    '__mutex_lock*' 'down_read*' 'down_write*' 'rt_*lock*'; do
		echo "$lock" >> "$ZM_TRACE/set_ftrace_filter"
	done 2> /dev/null
	echo function > "$ZM_TRACE/current_tracer"
	write_apart --io_size=256k
	echo 0 > "$ZM_TRACE/tracing_on"
	locks=$(trace_read | grep -o '[a-z_]*lock[a-z_]* <-z\(m\|mirror\)_.*' |
		sort | uniq -c)
	echo nop > "$ZM_TRACE/current_tracer"
	ktap_print_msg "${locks//$'\n'/;}"
	[[ $locks =~ zm_op_begin.*zm_op_end ]] ||
		wrong "no lock of a bucket was seen"
	! grep -v -q -E 'zm_op_(begin|end)' <<< "$locks" ||
		wrong "there are other locks"
}
zm_test "writers to distinct chunks share no lock but a bucket's" t_locks

# Lockdep counts how often each class of locks is taken, and how often somebody has
# to wait. All buckets' locks are one class.
t_lock_stat()
{
	local src dst taken waited other

	[ -w /proc/lock_stat ] || { skip "no lock statistics"; return; }
	new_null src 64 && new_null dst 64 || return
	new_mirror m "$src" 0 "$dst" 0 128 nosync || return
	echo 0 > /proc/lock_stat
	echo 1 > /proc/sys/kernel/lock_stat
	write_apart --io_size=2m
	echo 0 > /proc/sys/kernel/lock_stat

	# name: con-bounces contentions 4 times of waiting acq-bounces acquisitions ...
	sed -n 's/^ *\(&\(zr\|zm\|rs\|pace\|rate\|meter\|vf\)->[^:]*\|zm_mirrors_lock\): */\1 /p' \
		/proc/lock_stat > "$ZM_DIR/stat"
	read -r waited taken < <(
		awk '/->buckets/ { w += $3; t += $9 } END { print w + 0, t + 0 }' \
			"$ZM_DIR/stat")
	other=$(awk '!/->buckets/ { n += $9 } END { print n + 0 }' "$ZM_DIR/stat")
	ktap_print_msg "$(nproc) processors: a bucket's lock taken $taken times," \
		"waited for $waited times; others of the module's $other times"
	# Each of 2,048 writes has a begin and an end.
	expect_ge "how often a bucket's lock was taken" "$taken" 4096
	expect_eq "how often somebody waited for one" "$waited" 0
	expect_eq "how often another lock was taken" "$other" 0
}
zm_test "the same by lock statistics: nobody waits" t_lock_stat

zm_run
