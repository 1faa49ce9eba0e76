#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# rate:auto, a rate that follows the latency of those who use the mirror. How well it
# keeps to the bound is measured in tools/testing/bench; here it is what it goes by.

# shellcheck source=dm-zmirror-lib.sh
. "$(dirname "$0")/dm-zmirror-lib.sh"

MIBYTES=64
SLOW=(hw_queue_depth=1 irqmode=2 completion_nsec=5000000)	# settings of null_blk
SECTORS=$((MIBYTES * 2048))
LOADER='' MARKER=''

# Reads and writes some requests a second, until it is stopped.
start_user() # REQUESTS
{
	# No function, for that would be a shell whose end does not end fio.
	fio --name=user --filename="$ZM_DEV/m" --allow_file_create=0 \
		--ioengine=libaio --direct=1 --thread --rw=randrw --bs=4k \
		--rate_iops="$1" --time_based --runtime=600 > /dev/null 2>&1 &
	LOADER=$!
	undo stop_user
	wait_until "the user has begun" 30 used
}

stop_user()
{
	[ -z "$LOADER" ] || kill "$LOADER" 2> /dev/null
	[ -z "$LOADER" ] || wait "$LOADER" 2> /dev/null
	LOADER=
}

used()
{
	counters "$ZM_DEV/m"
	[ "${ZM_IO[reads]}" -gt 20 ]
}

bound() # TEST NUMBER
{
	status_of m && test "${ZM_ST[bound]}" "$1" "$2"
}

# There is one, and it is less. None is told as 0, when nobody was seen just now.
bound_below() # NUMBER
{
	bound -gt 0 && [ "${ZM_ST[bound]}" -lt "$1" ]
}

latency_known()
{
	status_of m && [[ ${ZM_ST[latency]} =~ ^[1-9][0-9]*/[1-9][0-9]*$ ]]
}

# A mirror of the caller's src and dst that never ends to be in resync.
new_endless() # FEATURE...
{
	new_mirror m "$src" 0 "$dst" 0 128 zero_detect:off "$@" || return
	while dmsetup message "$ZM_ID-m" 0 mark dirty \
		0-$((SECTORS / 128 - 1)); do
		rest 0.3
	done > /dev/null 2>&1 &
	MARKER=$!
	undo stop_endless
}

stop_endless()
{
	[ -z "$MARKER" ] || kill "$MARKER" 2> /dev/null
	[ -z "$MARKER" ] || wait "$MARKER" 2> /dev/null
	MARKER=
}

t_follows()
{
	local src dst

	need_program fio && new_null src "$MIBYTES" && new_null dst "$MIBYTES" ||
		return
	must fill "$src" 1048576
	new_endless rate:auto latency_target:1000 || return
	wait_until "no bound when idle" 10 bound -eq 0
	start_user 200 || return
	wait_until "a bound when in use" 10 bound -gt 0
	wait_until "the latency is known" 30 latency_known
	wait_until "the rate grows" 30 bound -gt 5000
	stop_user
	wait_until "no bound when idle again" 10 bound -eq 0
	stop_endless
	wait_sync m || return
	expect_equal "$src" 0 "$dst" 0 "$SECTORS"
}
zm_test "in use the rate is bound, and grows; idle there is no bound" t_follows

# Such a disk does one request after another, each in five milliseconds: what resync
# writes delays what users write by far more than five percent.
t_falls()
{
	local src dst

	need_program fio && new_null src "$MIBYTES" &&
		new_null dst "$MIBYTES" "${SLOW[@]}" || return
	must fill "$src" 1048576
	new_endless paused rate:auto latency_target:5 || return
	start_user 100 || return
	message m resume
	wait_until "the rate falls" 60 bound_below 3000
	expect_ge "KiB a second" "${ZM_ST[bound]}" 256
	stop_user
	message m set rate 0
	status_of m
	expect_eq "bound" "${ZM_ST[bound]}" 0
	expect_eq "latency" "${ZM_ST[latency]}" 0/0
}
zm_test "it falls where users have to wait" t_falls

# One in 200 ms; each would find resync at full speed if that had begun again.
t_seldom()
{
	local src dst looks bound=0

	need_program fio && new_null src "$MIBYTES" && new_null dst "$MIBYTES" ||
		return
	new_endless rate:auto || return
	start_user 5 || return
	for ((looks = 0; looks < 40; looks++)); do
		status_of m
		[ "${ZM_ST[bound]}" = 0 ] || bound=$((bound + 1))
		rest 0.1
	done
	expect_ge "looks of $looks with a bound" "$bound" 30
}
zm_test "who comes seldom uses the mirror all the time" t_seldom

t_verify()
{
	local src dst looked begin ms

	need_program fio && new_null src "$MIBYTES" &&
		new_null dst "$MIBYTES" "${SLOW[@]}" || return
	new_mirror m "$src" 0 "$dst" 0 128 nosync latency_target:5 rate:auto ||
		return
	start_user 100 || return
	message m verify
	wait_until "the rate falls" 60 bound_below 1000
	looked=${ZM_ST[verify]%/*} begin=$EPOCHREALTIME
	rest 4
	status_of m
	ms=$(((${EPOCHREALTIME/./} - ${begin/./}) / 1000))
	expect_le "regions verified in $ms ms" $((${ZM_ST[verify]%/*} - looked)) \
		$((ms * 2000 / 1000 / 64 + 10))
	stop_user
	wait_until "the end of verify" 60 status_is m verify 1024/1024
	expect_eq "mismatches" "${ZM_ST[mismatch]}" 0
}
zm_test "verify keeps to it" t_verify

# Whatever the rate waits for, nobody else does.
t_waits()
{
	local src dst

	need_program fio && new_null src "$MIBYTES" &&
		new_null dst "$MIBYTES" "${SLOW[@]}" || return
	new_endless rate:auto latency_target:1 || return
	start_user 100 || return
	wait_until "the rate falls" 60 bound_below 3000
	must io "$ZM_DEV/m" write:0:1048576 write:65536:4096
	must_dm suspend m
	must_dm resume m
	message m pause
	message m resume
	stop_user
	stop_endless
	wait_sync m 120 || return
	expect_equal "$src" 0 "$dst" 0 "$SECTORS"
}
zm_test "who waits for it holds up nobody" t_waits

written_less()
{
	status_of m && [ "${ZM_ST[writing]}" -lt "$1" ]
}

# Measured rates: what was copied, over the time it took.
t_measured()
{
	local src dst

	new_null src 64 && new_null dst 64 || return
	must fill "$src" 1048576
	new_mirror m "$src" 0 "$dst" 0 128 rate:4096 || return
	rest 5
	status_of m
	expect_ge "KiB a second written" "${ZM_ST[writing]}" 2500
	expect_le "KiB a second written" "${ZM_ST[writing]}" 5000
	expect_ge "KiB a second read" "${ZM_ST[reading]}" 2500
	expect_eq "bound" "${ZM_ST[bound]}" 4096
	message m pause
	wait_until "nothing is written" 60 written_less 100
}
zm_test "the status tells the rates" t_measured

zm_run
