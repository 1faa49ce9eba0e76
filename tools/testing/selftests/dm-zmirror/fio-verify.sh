#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Load while a full resync runs: fio with verify on one half of the mirror; on the
# other half writes, zeroes, discards and flushes that overlap one another in
# flight. Afterwards nothing has been lost and the legs are equal.

# shellcheck source=dm-zmirror-lib.sh
. "$(dirname "$0")/dm-zmirror-lib.sh"

HALF=$((16 * 1048576))
TAIL=$((4 * 1048576))		# written by nobody, so left to resync
SIZE=$((HALF * 2 + TAIL))
SECTORS=$((SIZE / 512))
TIME=${ZM_TIME:-$((2 * ZM_SLOWER))}	# seconds of load

new_leg() # VARIABLE KIND
{
	case $2 in
	loop)	new_loop "$1" "$SIZE" ;;
	loop4k)	new_loop "$1" "$SIZE" 4096 ;;
	null)	new_null "$1" $((SIZE / 1048576)) ;;
	esac
}

# A device has one lock for all who zero or discard on it, so that these never
# overlap. They do when each goes through a device of its own.
new_names() # NUMBER: stored in names
{
	local i

	names=()
	for ((i = 0; i < $1; i++)); do
		new_dm "name$i" "0 $SECTORS linear $ZM_DEV/m 0" || return
		names+=("$ZM_DEV/name$i")
	done
}

start_storm()
{
	python3 -I "$ZM_LIB_DIR/zm-helper.py" storm "$TIME" "$RANDOM" \
		"$HALF" "$HALF" "write,write,dsync,zeroes,$zero,discard,flush" \
		"${names[@]:0:6}" > "$ZM_DIR/storm.out" 2>&1 &
	storm=$!
	zm_fio --name=verified --filename="$ZM_DEV/m" --size="$HALF" \
		--rw=randwrite --bsrange="$bs-1m" --iodepth=16 \
		--verify=crc32c --verify_fatal=1 --serialize_overlap=1 \
		--name=overlap --filename="${names[6]}" --rw=randwrite \
		--bsrange="$bs-128k" --norandommap --iodepth=32 \
		--offset="$HALF" --size=2m --time_based --runtime="$TIME" \
		--name=zeroes --filename="${names[7]}" --rw=randwrite \
		--bsrange="$bs-256k" --norandommap --iodepth=32 --zero_buffers \
		--offset="$HALF" --size=2m --time_based --runtime="$TIME" \
		--name=trim --filename="${names[8]}" --rw=randtrim \
		--bsrange="$bs-256k" --norandommap --iodepth=32 \
		--offset="$HALF" --size=2m --time_based --runtime="$TIME" \
		> "$ZM_DIR/fio.out" 2>&1 &
	fio=$!
}

t_load() # SOURCE_KIND DEST_KIND REGION [FEATURE...]
{
	local src src_file dst dst_file names storm fio bs=4k zero=punch,punch

	need_program fio || return
	new_leg src "$1" && new_leg dst "$2" || return
	must fill "${src_file:-$src}" 65536 3
	must fill "${dst_file:-$dst}" 65536 5 0 2
	new_mirror m "$src" 0 "$dst" 0 "$3" paused "${@:4}" || return
	new_names 9 || return
	[ "$1$2" != "${1#*4k}${2#*4k}" ] || bs=512
	# A loop device on tmpfs that is asked for this cannot punch any more.
	[ "$1" = loop ] && [ $# -gt 3 ] || zero=punch,zeroout
	[ "$1 $#" != "loop 3" ] || zero=punch,punch
	start_storm
	rest 1
	message m resume
	finish "$fio" 60 "fio" || ktap_print_msg "$(tail -n 5 "$ZM_DIR/fio.out")"
	finish "$storm" 60 "the storm"
	ktap_print_msg "$(cat "$ZM_DIR/storm.out")"

	wait_sync m || return
	expect_ge "sectors read by resync" "${ZM_ST[read]}" $((TAIL / 512))
	expect_equal "$src" 0 "$dst" 0 "$SECTORS"
	# What the zero bits claim is still believed, so it must be true.
	must io "$ZM_DEV/m" "zeroes:0:$SIZE"
	wait_sync m || return
	expect_eq "regions known to be zero" "${ZM_ST[zero]}" "${ZM_ST[total]}"
	expect_zero "$src" 0 "$SECTORS"
	expect_zero "$dst" 0 "$SECTORS"
}

zm_test "loop devices" t_load loop loop 128
zm_test "loop devices, regions of 8 sectors" t_load loop loop 8
zm_test "loop devices, regions of 2048 sectors" t_load loop loop 2048
zm_test "loop devices, copy_mode:async" t_load loop loop 128 copy_mode:async
zm_test "null_blk devices" t_load null null 128
zm_test "null_blk to loop, regions of 8 sectors" t_load null loop 8
zm_test "loop to null_blk, copy_mode:async" t_load loop null 128 copy_mode:async
zm_test "blocks of 4096 bytes, no_unmap" t_load loop4k loop 128 no_unmap

# Resync gets to its end under the load, and tells of it by an event.
t_through() # REGION
{
	local src src_file dst dst_file before waiter

	need_program fio || return
	new_leg src loop && new_leg dst loop || return
	must fill "$src_file" 65536 3
	must fill "$dst_file" 65536 5 0 2
	new_mirror m "$src" 0 "$dst" 0 "$1" paused || return
	start_load --name=load --filename="$ZM_DEV/m" --bsrange=4k-1m \
		--size="$HALF" --offset="$HALF"
	events_of m && before=$ZM_EVENTS
	dmsetup wait "$ZM_ID-m" "$before" > /dev/null 2>&1 &
	waiter=$!
	message m resume
	wait_state m in_sync || return
	load_goes_on
	finish "$waiter" 30 "dmsetup wait"
	rest 0.5
	load_goes_on
	stop_load
	wait_sync m || return
	expect_ge "sectors read by resync" "${ZM_ST[read]}" $((TAIL / 512))
	expect_equal "$src" 0 "$dst" 0 "$SECTORS"
}
zm_test "fio with verify writes through the end of resync" t_through 128
zm_test "the same with regions of 8 sectors" t_through 8

zm_run
