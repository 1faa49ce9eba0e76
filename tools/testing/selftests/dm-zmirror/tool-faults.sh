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
KEEP="pivot.message.done pivot.load.done pivot.resume pivot.resume.done"
CANCEL="cancel.load cancel.load.done cancel.resume cancel.resume.done cancel.remove"
if [ -n "${ZM_LESS:-}" ]; then
	START="start.create.done start.load.done start.resume.done"
	PIVOT="pivot.message.done pivot.load.done pivot.resume.done"
	KEEP="pivot.load.done pivot.resume.done"
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
	local theirs="0 $SECTORS linear $HERE 0;$SECTORS 8 zero"

	stop_at start.load.done start "$DEVICE" "$THERE"
	dm_swap d "$theirs"
	kill -CONT "$ZM_PID"
	wait "$ZM_PID"
	expect_eq "the exit code" $? 4
	expect_like "what it says" "$(cat "$ZM_DIR/said")" "somebody else"
	works "changed"
	expect_like "the table" "$(table_of d)" "$SECTORS 8 zero"
	expect_eq "the table that is loaded" "$(table_of d inactive)" ""
	expect "a private device" [ ! -e "/dev/mapper/$DEVICE-zorigin" ]
	dm_swap d "0 $SECTORS linear $HERE 0"
}

zm_test "what somebody else has changed stays" t_changed

# A signal comes while the mirror is put in place. (The shell has those that it starts
# like this ignore that of Ctrl-C.)
t_interrupted()
{
	stop_at start.load.done migrate "$DEVICE" "$THERE"
	kill -TERM "$ZM_PID"
	kill -CONT "$ZM_PID"
	wait "$ZM_PID"
	expect_eq "the exit code" $? 7
	expect_like "what it says" "$(cat "$ZM_DIR/said")" \
		"interrupted.*same command again.*zmirror cancel $DEVICE"
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

# A signal that comes meanwhile ends it when all is done, and told.
t_told()
{
	mirror || return
	stop_at pivot.message.done pivot "$DEVICE"
	kill -TERM "$ZM_PID"
	kill -CONT "$ZM_PID"
	wait "$ZM_PID" 2> /dev/null
	expect_eq "the exit code" $? 143
	expect_like "what it says" "$(cat "$ZM_DIR/said")" "goes on with ${THERE##*/} alone"
	expect_moved
}
zm_test "a pivot that is interrupted tells what it has done" t_told

# So does a migrate, and then there is nothing left to interrupt.
t_done()
{
	quietly start "$DEVICE" "$THERE"
	stop_at pivot.message.done migrate "$DEVICE" "$THERE"
	kill -TERM "$ZM_PID"
	kill -CONT "$ZM_PID"
	wait "$ZM_PID"
	expect_eq "the exit code" $? 0
	expect_like "what it says" "$(cat "$ZM_DIR/said")" "goes on with ${THERE##*/} alone"
	! grep -q interrupted "$ZM_DIR/said" || wrong "it says that it was interrupted"
	expect_moved
}
zm_test "a migrate that is interrupted at its end" t_done

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
	if [ "$1" = pivot.resume.done ]; then
		ends_with 4 "has not changed places" revert "$DEVICE"
	else
		quietly revert "$DEVICE" ||
			ktap_print_msg "$(table_of d) $("$ZMIRROR" status --line "$DEVICE")"
	fi
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

ends_with() # CODE REGEX VERB [WORD...]
{
	attempt "$ZMIRROR" "${@:3}"
	expect_eq "the exit code of ${*:3}" $? "$1"
	expect_like "what ${*:3} says" "$ZM_SAID" "$2"
}

# What was left behind is removed by any of them, but only one of them has what it wants.
t_where()
{
	local verb private=$DEVICE-zorigin

	for verb in pivot "pivot --keep-mirroring" revert; do
		killed_at start.load.done start "$DEVICE" "$THERE"
		[ "$verb" != revert ] ||
			ends_with 0 "dmsetup clear $DEVICE.*dmsetup remove --retry $private" \
				--dry-run cancel "$DEVICE"

		# shellcheck disable=SC2086
		ends_with 3 "is no mirror: it is on its source alone, ${HERE##*/}" $verb "$DEVICE"
		expect_alone_on "$HERE" "$verb"
	done
	mirror || return
	for verb in cancel revert; do
		killed_at pivot.resume.done pivot "$DEVICE"
		ends_with 3 "is no mirror: it is on ${THERE##*/} alone" "$verb" "$DEVICE"
		expect_moved
		[ "$verb" = revert ] || mirror || return
	done
}
zm_test "where the device is when there is no mirror" t_where

# Were it removed as if all were well, nobody would know why the device hangs.
t_suspended()
{
	killed_at start.create.done start "$DEVICE" "$THERE"
	must_dm suspend d
	ends_with 4 "is suspended.*dmsetup resume $DEVICE" cancel "$DEVICE"
	ends_with 4 "is suspended.*dmsetup resume $DEVICE" start "$DEVICE" "$THERE"
	must_dm resume d
	works "resumed"
	ends_with 0 "on its source alone; what was left behind is removed" cancel "$DEVICE"
	expect_alone_on "$HERE" "resumed"

	# Nor is it resumed under the hands of whoever has suspended it.
	mirror || return
	must_dm suspend d
	ends_with 4 "is suspended.*dmsetup resume $DEVICE" pivot "$DEVICE"
	ends_with 4 "is suspended.*dmsetup resume $DEVICE" cancel "$DEVICE"
	dm info d
	expect_like "the device" "$ZM_ANSWER" suspended
	{ rest 0.5; dmsetup resume "$DEVICE"; } &
	quietly cancel "$DEVICE"
	wait $!
	expect_alone_on "$HERE" "cancelled"
}
zm_test "a device that is suspended" t_suspended

t_private()
{
	mirror || return
	ends_with 4 "is a part of a mirror" start "$DEVICE-zorigin" "$ZM_DEV/spare"
	quietly cancel "$DEVICE"
}
zm_test "the device that zmirror has made for itself" t_private

is_async() # NAME
{
	[[ $(table_of "$1") == *" copy_mode:async"* ]]
}

is_sync() # NAME
{
	! is_async "$1"
}

# A pivot has it in sync mode for a while, and not for longer.
t_mode()
{
	local pid

	quietly start --set copy_mode:async "$DEVICE" "$THERE" || return
	quietly wait --timeout 60 "$DEVICE"
	fails_at pivot.message pivot "$DEVICE"
	expect "it is not in async mode, failed" is_async d

	# One that stands still stays so.
	quietly pause "$DEVICE"
	message d mark dirty 0-$((SECTORS / 128 - 1))
	wait_until "it is out of sync" 20 state_is paused
	die_at pivot.sync:fail pivot "$DEVICE"
	expect_eq "the exit code of a pivot when it is paused" $? 5

	# More than users could write whole until it is interrupted.
	message d set rate 64
	message d resume
	message d mark dirty 0-$((SECTORS / 128 - 1))
	"$ZMIRROR" pivot "$DEVICE" > "$ZM_DIR/said" 2>&1 &
	pid=$!
	wait_until "it is in sync mode" 5 is_sync d
	kill -TERM "$pid"
	wait "$pid" 2> /dev/null
	expect_eq "the exit code" $? 143
	expect "it is not in async mode, interrupted" is_async d
	quietly cancel "$DEVICE"
	expect_alone_on "$HERE" "cancelled"
}
zm_test "a pivot that does not come about leaves async mode" t_mode

# Each write makes something dirty until resync has been there.
t_async()
{
	run timeout 120 "$ZMIRROR" migrate --set copy_mode:async "$DEVICE" "$THERE"
	expect_moved
}
zm_test "migrate in async mode, while others write" t_async

# It was in sync when the command looked, and is not when async mode ends.
t_settle()
{
	local here there

	new_loop here 1M && new_loop there 1M && new_dm s "0 2048 linear $here 0" || return
	quietly start --set copy_mode:async "$ZM_ID-s" "$there" || return
	quietly wait --timeout 60 "$ZM_ID-s"
	stop_at pivot.sync pivot "$ZM_ID-s"
	message s pause
	message s mark dirty 0-15
	kill -CONT "$ZM_PID"
	wait_until "it is in sync mode" 5 is_sync s
	sleep 0.5
	message s resume
	finish "$ZM_PID" 20 pivot
	expect_eq "the table" "$(table_of s)" "0 2048 linear $(numbers_of "$there") 0"
}
zm_test "pivot looks again when async mode has ended" t_settle

waits_for() # NAME
{
	grep -q "^$1: " "$ZM_DIR/said"
}

# What it waits for is in sync, with another destination.
t_another()
{
	local here there other pid

	new_loop here 4M && new_loop there 4M && new_loop other 4M &&
		new_dm s "0 8192 linear $here 0" || return
	must io "$ZM_DEV/s" write:0:4194304
	"$ZMIRROR" migrate --set rate:64 "$ZM_ID-s" "$there" > "$ZM_DIR/said" 2>&1 &
	pid=$!
	wait_until "it waits" 20 waits_for "$ZM_ID-s"
	kill -STOP "$pid"
	quietly cancel "$ZM_ID-s"
	quietly start "$ZM_ID-s" "$other"
	quietly wait --timeout 60 "$ZM_ID-s"
	kill -CONT "$pid"
	wait "$pid"
	expect_eq "the exit code" $? 4
	expect_like "what it says" "$(cat "$ZM_DIR/said")" \
		"$ZM_ID-s is not what it was: another command has changed it meanwhile"
	quietly cancel "$ZM_ID-s"
}
zm_test "what migrate waits for is changed by another command" t_another

# The source fails while cancel is at work. Who writes to it then is not to lose it.
t_failover()
{
	local under there

	new_loop under 1M && new_loop there 1M &&
		new_dm u "0 2048 linear $under 0" &&
		new_dm f "0 2048 linear $ZM_DEV/u 0" || return
	quietly start --set on_source_error:failover "$ZM_ID-f" "$there" || return
	quietly wait --timeout 60 "$ZM_ID-f"
	fails_at cancel.load cancel "$ZM_ID-f"
	expect_like "the table" "$(table_of f)" " on_source_error:failover"
	stop_at cancel.load cancel "$ZM_ID-f"
	[[ $(table_of f) != *failover* ]] || wrong "it may fail over"
	kill -CONT "$ZM_PID"
	finish "$ZM_PID" 20 cancel
	quietly start --force --set on_source_error:failover "$ZM_ID-f" "$there"
	quietly wait --timeout 60 "$ZM_ID-f"
	stop_at cancel.stop cancel "$ZM_ID-f"
	dm_swap u "0 2048 error"
	must io "$ZM_DEV/f" write:0:65536
	kill -CONT "$ZM_PID"
	wait "$ZM_PID"
	expect_eq "the exit code" $? 4
	expect_like "what it says" "$(cat "$ZM_DIR/said")" "has gone on with ${there##*/}"
	quietly pivot "$ZM_ID-f"
	expect_eq "the table" "$(table_of f)" "0 2048 linear $(numbers_of "$there") 0"
}
zm_test "the source fails while it is cancelled" t_failover

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

	# One of ours that was left does not stay.
	run blkdiscard "$B"
	die_at start.snapshot start "$GROUP/a" "$GROUP/b"
	held_root
	expect_ne "the snapshot, killed" "$HELD" -
	quietly cancel "$GROUP/a"
	held_root
	expect_eq "the snapshot, cancelled" "$HELD" -
	dump_told
}

# What is read after that may be anything.
t_released()
{
	local pool

	new_volumes || return
	pool=$(lv_name "$GROUP" pool)-tpool
	new_script thin_dump "dmsetup message $pool 0 release_metadata_snap" || return
	PATH=$ZM_DIR/bin:$PATH quietly start "$GROUP/a" "$GROUP/b"
	expect_like "what is told" "$ZM_SAID" "was released by somebody else.*all of the source is read"
	quietly wait --timeout 60 "$GROUP/a"
	expect_like "what was read" "$("$ZMIRROR" status --line "$GROUP/a")" \
		" read_bytes=(3355443[2-9]|335544[4-9]|33554[5-9]|3355[5-9]|335[6-9]|33[6-9]|3[4-9])"
	quietly cancel "$GROUP/a"
	held_root
	expect_eq "the snapshot" "$HELD" -
}
[ -n "${ZM_LESS:-}" ] || zm_test "a snapshot that somebody else releases" t_released

# Ctrl-Z is kept from thin_dump, for which zmirror waits, and Ctrl-C is not.
dump_told()
{
	local mask

	new_script thin_dump "grep SigBlk: /proc/self/status > $ZM_DIR/mask" || return
	run blkdiscard "$B"
	PATH=$ZM_DIR/bin:$PATH quietly start "$GROUP/a" "$GROUP/b"
	read -r _ mask < "$ZM_DIR/mask"
	expect_eq "signals that thin_dump has blocked" $((0x$mask & 0x80003)) $((0x80000))
	quietly cancel "$GROUP/a"
}

# Stands for a program, and calls it after a command. (Other shells let all signals come.)
new_script() # PROGRAM COMMAND
{
	local program

	program=$(command -v "$1")
	run mkdir -p "$ZM_DIR/bin"
	undo rm -r "$ZM_DIR/bin"
	printf '#!/bin/bash\n%s\nexec %s "$@"\n' "$2" "$program" > "$ZM_DIR/bin/$1" &&
		chmod +x "$ZM_DIR/bin/$1"
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
		[ "$point" != lvm.dest.done ] ||
			ends_with 0 "lvrename .* a b.*lvrename .* a_old a.*dmsetup load" \
				--dry-run cancel "$A"
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

# LVM as others may have configured it: what it says looks different.
odd_lvm() # COMMAND...
{
	local odd=$ZM_DIR/odd

	run mkdir -p "$odd"
	{
		cat "$LVM_SYSTEM_DIR/lvm.conf"
		echo 'report { output_format = "json" prefixes = 1 binary_values_as_numeric = 1 }'
		echo 'log { command_names = 1 prefix = "> " report_command_log = 1 }'
	} > "$odd/lvm.conf"
	LVM_SYSTEM_DIR=$odd "$@"
	rm -r "${odd:?}"
}

expect_skipped() # VOLUME SKIPPED WHEN
{
	expect_eq "whether $1 is activated by hand only, $3" \
		"$(lv_is "$GROUP" "$1" lv_skip_activation)" "$2"
}

# The new volume is activated as the old one was, whatever it was before.
t_skipped()
{
	new_volumes || return
	run lvm lvchange -q -ky "$GROUP/b"
	ends_with 0 "setactivationskip n $GROUP/b.*lvrename .* a a_old" \
		--dry-run migrate --lvm "$A" "$B"
	odd_lvm quietly migrate --lvm "$GROUP/a" "$GROUP/b"
	expect_skipped a "" "migrated"
	expect_skipped a_old skipactivation "migrated"
}
zm_test "a volume that was activated by hand only takes the place of one that was not" \
	t_skipped

t_skipped_back()
{
	new_volumes || return
	run lvm lvchange -q -ky "$GROUP/a"
	die_at lvm.skip.done migrate --lvm "$GROUP/a" "$GROUP/b"
	expect_skipped b skipactivation "killed"
	odd_lvm quietly cancel "$A"
	expect_skipped a skipactivation "cancelled"
	quietly migrate --lvm "$GROUP/a" "$GROUP/b"
	expect_skipped a skipactivation "migrated"
}
[ -n "${ZM_LESS:-}" ] || zm_test "and the other way round" t_skipped_back

# Something else has put an end to the mirror after names were changed.
t_names_left()
{
	new_volumes || return
	die_at lvm.dest.done migrate --lvm "$GROUP/a" "$GROUP/b"
	expect_eq "the exit code, killed" $? 137
	run dmsetup load "$(lv_name "$GROUP" a)" --table "$(dmsetup table "$(lv_name "$GROUP" a)-zorigin")"
	run dmsetup resume "$(lv_name "$GROUP" a)"
	ends_with 0 "what has its name is behind: see lvs $GROUP" cancel "$A"
}
[ -n "${ZM_LESS:-}" ] || zm_test "names that are left when the mirror is gone" t_names_left

all_volumes() # their names and UUIDs, without blanks
{
	lvm lvs --noheadings --separator = -o lv_name,lv_uuid "$GROUP" 2> /dev/null |
		tr -d ' ' | sort | tr '\n' ' '
}

volumes_are() # A A_OLD C, their UUIDs, WHEN
{
	expect_eq "the volumes, $4" "$(all_volumes)" "a=$1 a_old=$2 c=$3 "
}

# LVM waits for a lock, perhaps for long; only the group is asked for.
lvm_hangs()
{
	local pid

	new_script lvm "echo \"\$\$ \$*\" > $ZM_DIR/asked; exec sleep 60" || return
	PATH=$ZM_DIR/bin:$PATH "$ZMIRROR" cancel "$A" > "$ZM_DIR/said" 2>&1 &
	pid=$!
	wait_until "LVM is asked" 20 [ -s "$ZM_DIR/asked" ]
	kill -TERM "$pid"
	wait "$pid" 2> /dev/null
	expect_eq "the exit code" $? 143
	read -r pid words < "$ZM_DIR/asked"
	kill "$pid"
	expect_like "what LVM is asked" "$words" "^lvs .* $GROUP$"
}

# Until it is deactivated LVM calls it a_old, also when nothing is to be finished.
t_moved()
{
	local a b c words

	need_lvm && new_group "$GROUP" 64M && new_lv_linear "$GROUP" a 8M &&
		new_lv_linear "$GROUP" b 8M && new_lv_linear "$GROUP" c 8M || return
	A=$(lv_path "$GROUP" a)
	read -r a b c < <(all_volumes)
	a=${a#*=} b=${b#*=} c=${c#*=}
	quietly start "$A" "$GROUP/b" && quietly wait --timeout 60 "$A" || return
	lvm_hangs
	quietly pivot "$A"
	expect_like "what pivot says" "$ZM_SAID" "LVM does not know.*zmirror migrate --lvm .*-a .*-b"
	ends_with 4 "has moved to .*-b already.*zmirror migrate --lvm .*-a .*-b" \
		migrate --lvm "$A" "$GROUP/c"
	words=$(grep -o 'migrate --lvm .*' <<< "$ZM_SAID")

	# shellcheck disable=SC2086
	quietly $words
	quietly start "$A" "$GROUP/c" && quietly wait --timeout 60 "$A"
	run "$ZMIRROR" doctor
	[[ $ZM_SAID != *begun* ]] || wrong "doctor tells of something begun"
	quietly cancel "$A"
	ends_with 4 "lvchange -an $GROUP/a_old.*lvchange -an $GROUP/a; lvchange -ay $GROUP/a" \
		migrate --lvm "$A" "$GROUP/c"
	volumes_are "$b" "$a" "$c" "refused"
}
[ -n "${ZM_LESS:-}" ] || zm_test "a volume that has moved is not half moved" t_moved

t_users()
{
	stop_load
}
zm_test "those who use it have seen nothing of all that" t_users

zm_run
