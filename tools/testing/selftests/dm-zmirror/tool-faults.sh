#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The command zmirror is killed at each of its steps, or a step fails: the device always
# works, and the same command, said again, finishes, or another one undoes. fio writes
# and verifies all the time.

# shellcheck source=dm-zmirror-lib.sh
. "$(dirname "$0")/dm-zmirror-lib.sh"
# shellcheck source=tool-lib.sh
. "$(dirname "$0")/tool-lib.sh"

SECTORS=16384
DEVICE=$ZM_ID-d
HERE=			# where the device's data are, and where they may go
THERE=

# The device is on one of two disks, and moves to the other one and back.
setup()
{
	local disk

	need_tool || return
	new_loop disk $((SECTORS / 2))K && HERE=$disk &&
		new_loop disk $((SECTORS / 2))K && THERE=$disk &&
		new_dm d "0 $SECTORS linear $HERE 0" || return
	undo cancel_all
	start_load --name=d --filename="/dev/$(disk_of "$ZM_DEV/d")" \
		--size=$((SECTORS * 512)) --bs=4k-64k --rate_iops=400
}
zm_setup setup

# Whatever went wrong, the devices can be removed then.
cancel_all()
{
	"$ZMIRROR" cancel "$DEVICE" > /dev/null 2>&1
	"$ZMIRROR" pivot "$DEVICE" > /dev/null 2>&1
	[ ! -e "/dev/mapper/$DEVICE-zorigin" ] ||
		dmsetup remove "$DEVICE-zorigin" > /dev/null 2>&1
	return 0
}

# The shell tells of who was killed, with 128 and the signal's number as exit code.
die_at() # POINT VERB [WORD...]
{
	{ ZMIRROR_FAULT=$1 "$ZMIRROR" "${@:2}" > "$ZM_DIR/said" 2>&1; } 2> /dev/null
}

killed_at() # POINT VERB [WORD...]
{
	local status

	die_at "$@"
	status=$?
	expect_eq "the exit code of ${*:2}, killed at $1" "$status" 137 ||
		ktap_print_msg "$(cat "$ZM_DIR/said")"
	works "killed at $1"
}

fails_at() # POINT VERB [WORD...]
{
	local status

	ZMIRROR_FAULT=$1:fail "$ZMIRROR" "${@:2}" > "$ZM_DIR/said" 2>&1
	status=$?
	expect_eq "the exit code of ${*:2}, which fails at $1" "$status" 1 ||
		ktap_print_msg "$(cat "$ZM_DIR/said")"
	works "failed at $1"
}

# It is not suspended, and those who use it go on.
works() # WHEN
{
	dm info d
	[[ $ZM_ANSWER != *suspended* ]] || wrong "the device is suspended, $1"
	load_goes_on || wrong "those who use it see an error, $1"
}

state_is() # STATE
{
	[[ $("$ZMIRROR" status --line "$DEVICE") == *" state=$1 "* ]]
}

# A mirror, or what it was: nothing is left of another device or table.
expect_alone_on() # DISK WHEN
{
	expect_eq "the table, $2" "$(table_of d)" \
		"0 $SECTORS linear $(numbers_of "$1") 0"
	expect_eq "the table that is loaded, $2" "$(table_of d inactive)" ""
	expect "a private device, $2" [ ! -e "/dev/mapper/$DEVICE-zorigin" ]
}

mirror()
{
	quietly start "$DEVICE" "$THERE" && quietly wait --timeout 60 "$DEVICE"
}

# Each step has a point before it and one after it.
START="start.create start.create.done start.load start.load.done start.resume start.resume.done"
PIVOT="pivot.message pivot.message.done pivot.load pivot.load.done pivot.resume pivot.resume.done
       pivot.remove"
KEEP="pivot.message.done pivot.load.done pivot.resume"
CANCEL="cancel.load cancel.load.done cancel.resume cancel.resume.done cancel.remove"
if [ -n "${ZM_LESS:-}" ]; then
	START="start.create.done start.load.done start.resume.done"
	PIVOT="pivot.message.done pivot.load.done pivot.resume.done"
	KEEP="pivot.load.done"
	CANCEL="cancel.load.done cancel.resume.done"
fi

# Twice: the same again, then cancel; and cancel at once.
t_start() # POINT
{
	killed_at "$1" start "$DEVICE" "$THERE"
	mirror
	state_is in_sync || wrong "it does not get in sync after $1"
	quietly cancel "$DEVICE"
	expect_alone_on "$HERE" "cancelled"

	[ -z "${ZM_LESS:-}" ] || return 0
	killed_at "$1" start "$DEVICE" "$THERE"
	"$ZMIRROR" cancel "$DEVICE" > "$ZM_DIR/said" 2>&1
	case $? in
	0) ;;
	3)
		# There is nothing yet.
		expect_eq "the point" "$1" start.create
		;;
	*)
		wrong "cancel after $1: $(cat "$ZM_DIR/said")"
		;;
	esac
	expect_alone_on "$HERE" "cancelled at once"
}
for point in $START; do
	zm_test "killed at $point" t_start "$point"
done

t_start_fails()
{
	local point

	for point in start.create start.load start.resume; do
		fails_at "$point" start "$DEVICE" "$THERE"
		expect_alone_on "$HERE" "failed at $point"
	done
}
zm_test "a start that fails is undone" t_start_fails

# Somebody else, such as LVM, changes the device just before the mirror goes live.
t_changed()
{
	local theirs="0 $SECTORS linear $HERE 0;$SECTORS 8 zero" pid

	ZMIRROR_FAULT=start.load.done:stop "$ZMIRROR" start "$DEVICE" "$THERE" \
		> "$ZM_DIR/said" 2>&1 &
	pid=$!
	wait_until "the command has stopped" 20 has_stopped "$pid"
	dm_swap d "$theirs"
	kill -CONT "$pid"
	wait "$pid"
	expect_eq "the exit code" $? 4
	expect_like "what it says" "$(cat "$ZM_DIR/said")" "somebody else"
	works "changed"
	expect_like "the table" "$(table_of d)" "$SECTORS 8 zero"
	expect_eq "the table that is loaded" "$(table_of d inactive)" ""
	expect "a private device" [ ! -e "/dev/mapper/$DEVICE-zorigin" ]
	dm_swap d "0 $SECTORS linear $HERE 0"
}

has_stopped() # PID
{
	[[ $(cat "/proc/$1/stat") == *') T '* ]]
}
zm_test "what somebody else has changed stays" t_changed

# A signal comes while the mirror is put in place. (The shell has those that it starts
# like this ignore that of Ctrl-C.)
t_interrupted()
{
	local pid

	ZMIRROR_FAULT=start.load.done:stop "$ZMIRROR" migrate "$DEVICE" "$THERE" \
		> "$ZM_DIR/said" 2>&1 &
	pid=$!
	wait_until "the command has stopped" 20 has_stopped "$pid"
	kill -TERM "$pid"
	kill -CONT "$pid"
	wait "$pid"
	expect_eq "the exit code" $? 7
	expect_like "what it says" "$(cat "$ZM_DIR/said")" \
		"interrupted.*same command again.*zmirror cancel '$DEVICE'"
	works "interrupted"
	expect_like "the table" "$(table_of d)" " zmirror "
	quietly cancel "$DEVICE"
	expect_alone_on "$HERE" "cancelled"
}
zm_test "migrate, interrupted before it waits" t_interrupted

# The device goes to the other disk, and the next test starts from there.
expect_moved()
{
	local disk=$HERE

	HERE=$THERE THERE=$disk
	expect_alone_on "$HERE" "pivoted"
	works "pivoted"
}

t_pivot() # POINT
{
	mirror || return
	killed_at "$1" pivot "$DEVICE"
	case $1 in
	pivot.message)
		expect "it is in sync" state_is in_sync
		;;
	pivot.message.done | pivot.load*)
		# Who writes has gone on with the destination, and there is no way back.
		state_is pivoted || wrong "it has not pivoted at $1"
		"$ZMIRROR" cancel "$DEVICE" > "$ZM_DIR/said" 2>&1
		expect_eq "the exit code of cancel" $? 4
		;;
	esac
	quietly pivot "$DEVICE"
	expect_moved
}
for point in $PIVOT; do
	zm_test "killed at $point" t_pivot "$point"
done

t_pivot_fails()
{
	local point

	mirror || return
	fails_at pivot.message pivot "$DEVICE"
	state_is in_sync || wrong "it is not in sync any more"
	for point in pivot.load pivot.resume; do
		fails_at "$point" pivot "$DEVICE"
		state_is pivoted || wrong "it has not pivoted at $point"
		expect_eq "the table that is loaded" "$(table_of d inactive)" ""
	done
	fails_at pivot.remove pivot "$DEVICE"
	quietly pivot "$DEVICE"
	expect_moved
}
zm_test "a pivot that fails can be said again" t_pivot_fails

# There, and back again.
t_keep() # POINT
{
	mirror || return
	killed_at "$1" pivot --keep-mirroring "$DEVICE"
	quietly pivot --keep-mirroring "$DEVICE"
	quietly wait --timeout 60 "$DEVICE"
	expect_like "the table" "$(table_of d)" \
		"^0 $SECTORS zmirror $(numbers_of "$THERE") 0 "
	killed_at "$1" revert "$DEVICE"
	quietly revert "$DEVICE" ||
		ktap_print_msg "$(table_of d) $("$ZMIRROR" status --line "$DEVICE")"
	quietly wait --timeout 60 "$DEVICE"
	quietly cancel "$DEVICE"
	expect_alone_on "$HERE" "back again"
}
for point in $KEEP; do
	zm_test "killed at $point, there and back" t_keep "$point"
done

t_cancel() # POINT
{
	quietly start "$DEVICE" "$THERE" || return
	killed_at "$1" cancel "$DEVICE"
	quietly cancel "$DEVICE"
	expect_alone_on "$HERE" "cancelled"
}
for point in $CANCEL; do
	zm_test "killed at $point" t_cancel "$point"
done

t_cancel_fails()
{
	local point

	for point in cancel.load cancel.resume; do
		mirror || return
		fails_at "$point" cancel "$DEVICE"
		state_is in_sync || wrong "it is not in sync after $point"
		expect_eq "the table that is loaded" "$(table_of d inactive)" ""
	done
	quietly cancel "$DEVICE"
	expect_alone_on "$HERE" "cancelled"
}
zm_test "a cancel that fails can be said again" t_cancel_fails

# ---------------------------------------------------------------------------
# Thin volumes of LVM's
# ---------------------------------------------------------------------------

GROUP=$ZM_ID-g

new_volumes()
{
	need_lvm && need_program thin_dump && new_group "$GROUP" 96M &&
		new_lv_pool "$GROUP" 40 64 && new_lv_thin "$GROUP" a 32M &&
		new_lv_thin "$GROUP" b 32M || return
	A=$(lv_path "$GROUP" a)
	B=$(lv_path "$GROUP" b)
	must io "$A" write:0:1048576 write:20971520:65536
}

held_root()
{
	run dmsetup status "$(lv_name "$GROUP" pool)-tpool" || return
	read -r _ _ _ _ _ _ HELD _ <<< "$ZM_SAID"
}

# What was asked of the pool when the command died is given back.
t_hints()
{
	local point

	new_volumes || return
	for point in start.reserve start.snapshot start.hints start.hints.done; do
		die_at "$point" start "$GROUP/a" "$GROUP/b"
		expect_eq "the exit code, killed at $point" $? 137
		must io "$A" write:65536:65536
		quietly start "$GROUP/a" "$GROUP/b"
		quietly wait --timeout 60 "$GROUP/a"
		held_root
		expect_eq "the snapshot, killed at $point" "$HELD" -
		expect_equal "$A-zorigin" 0 "$B" 0 65536

		# 18 of 512 regions are not zero.
		expect_like "what is told" "$("$ZMIRROR" status --line "$GROUP/a")" \
			" read_bytes=1[0-9]{6} "
		quietly cancel "$GROUP/a"
		run blkdiscard "$B"
	done
}
# LVM's commands take most of the time, and are the same with each kernel.
[ -n "${ZM_LESS:-}" ] || zm_test "killed while the pool is asked" t_hints

# Somebody else has a snapshot of the pool's metadata: it is left alone, and all is read.
t_held()
{
	local pool

	new_volumes || return
	pool=$(lv_name "$GROUP" pool)-tpool
	run dmsetup message "$pool" 0 reserve_metadata_snap
	quietly start "$GROUP/a" "$GROUP/b"
	quietly wait --timeout 60 "$GROUP/a"
	held_root
	expect_ne "the snapshot of the pool's metadata" "$HELD" -
	expect_equal "$A-zorigin" 0 "$B" 0 65536
	quietly cancel "$GROUP/a"
	run dmsetup message "$pool" 0 release_metadata_snap
}
[ -n "${ZM_LESS:-}" ] || zm_test "a snapshot of somebody else's" t_held

expect_names() # A B, the UUIDs of what has the name and what has not
{
	expect_eq "who has the name" "$(lv_is "$GROUP" a lv_uuid)" "$1"
	expect_eq "devices left behind" "$(dmsetup ls | grep -c zorigin)" 0
	must io "$A" write:65536:65536
}

NAMES="lvm.source lvm.source.done lvm.skip lvm.skip.done lvm.dest lvm.dest.done"
[ -z "${ZM_LESS:-}" ] || NAMES="lvm.source.done lvm.dest.done"

# Only when the command has come as far as LVM's names.
doctor_tells() # POINT
{
	local device

	device=$(lv_name "$GROUP" a)
	"$ZMIRROR" doctor > "$ZM_DIR/said"
	case $1 in
	lvm.source)
		expect_like "what is told at $1" "$(grep -c ^begun "$ZM_DIR/said")" "^0$"
		;;
	*)
		expect_like "what is told at $1" "$(cat "$ZM_DIR/said")" \
			"begun  *$device: .*$GROUP/a_old.*to give it up: zmirror cancel $device"
		;;
	esac
}

t_names_back()
{
	local a b point

	new_volumes || return
	a=$(lv_is "$GROUP" a lv_uuid)
	b=$(lv_is "$GROUP" b lv_uuid)
	for point in $NAMES; do
		die_at "$point" migrate --lvm "$GROUP/a" "$GROUP/b"
		expect_eq "the exit code, killed at $point" $? 137
		must io "$A" write:65536:65536
		doctor_tells "$point"
		quietly cancel "$A"
		expect_names "$a" "cancelled at $point"
		expect_eq "the name of the other" "$(lv_is "$GROUP" b lv_uuid)" "$b"
	done
}
zm_test "names are given back by cancel" t_names_back

t_names_on() # POINT
{
	local a b

	new_volumes || return
	a=$(lv_is "$GROUP" a lv_uuid)
	b=$(lv_is "$GROUP" b lv_uuid)
	die_at "$1" migrate --lvm "$GROUP/a" "$GROUP/b"
	expect_eq "the exit code, killed at $1" $? 137
	quietly migrate --lvm "$A" "$B"
	expect_names "$b" "migrated after $1"
	expect_eq "the name of the old one" "$(lv_is "$GROUP" a_old lv_uuid)" "$a"
}
for point in lvm.source.done ${ZM_LESS:-pivot.message.done pivot.resume.done}; do
	[ "$point" = 1 ] ||
		zm_test "killed at $point, LVM knows in the end" t_names_on "$point"
done

t_users()
{
	stop_load
}
zm_test "those who use it have seen nothing of all that" t_users

zm_run
