#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Verify finds what differs, and nothing else, whatever goes on meanwhile.

# shellcheck source=dm-zmirror-lib.sh
. "$(dirname "$0")/dm-zmirror-lib.sh"

MIBYTES=16
SECTORS=$((MIBYTES * 2048))

events_after() # NUMBER
{
	events_of m && [ "$ZM_EVENTS" -gt "$1" ]
}

# Waits for the end of a verify, which is an event.
verify() # [WORD...]
{
	local events

	events_of m
	events=$ZM_EVENTS
	message m verify "$@"
	wait_until "verify ends" 120 verify_ended "$events"
}

# A repair may get the mirror in sync meanwhile, which is an event too.
verify_ended() # EVENTS
{
	events_after "$1" && status_of m &&
		[ "${ZM_ST[verify]%/*}" = "${ZM_ST[verify]#*/}" ]
}

# A mirror in sync, whose destination is a file of which bits can be flipped.
new_pair() # REGION [FEATURE...]
{
	new_loop src "${MIBYTES}M" && new_loop dst "${MIBYTES}M" || return
	must fill "$src_file" 65536 2 || return
	new_mirror m "$src" 0 "$dst" 0 "$@" && wait_sync m || return
	# What was written must be in the file, and not in a cache of the device.
	must io "$ZM_DEV/m" flush:0:0
}

t_equal() # REGION
{
	local src src_file dst dst_file

	new_pair "$1" || return
	verify || return
	expect_eq "verify" "${ZM_ST[verify]}" "$((SECTORS / $1))/$((SECTORS / $1))"
	expect_eq "mismatches" "${ZM_ST[mismatch]}" 0
	expect_eq "regions not compared" "${ZM_ST[unverified]}" 0
	message m list mismatch
	expect_eq "the regions" "$ZM_ANSWER" none
}
zm_test "equal legs" t_equal 128
zm_test "equal legs, regions of 8 sectors" t_equal 8
zm_test "equal legs, regions of 2048 sectors" t_equal 2048

# 1000 regions of 4096, in data and in zeroes.
t_bits()
{
	local src src_file dst dst_file regions

	new_pair 8 || return
	must flip "$dst_file" 4096 1000 17 || return
	regions=$ZM_ANSWER
	verify || return
	expect_eq "mismatches" "${ZM_ST[mismatch]}" 1000
	expect_eq "regions not compared" "${ZM_ST[unverified]}" 0
	expect_eq "dirty regions" "${ZM_ST[dirty]}" 0
	message m list mismatch
	expect_eq "the regions" "$ZM_ANSWER" "$regions"

	verify repair || return
	expect_eq "mismatches" "${ZM_ST[mismatch]}" 1000
	wait_sync m || return
	expect_equal "$src" 0 "$dst" 0 "$SECTORS"
	verify || return
	expect_eq "mismatches" "${ZM_ST[mismatch]}" 0
}
zm_test "1000 single bits" t_bits

t_large_regions() # REGION
{
	local src src_file dst dst_file regions

	new_pair "$1" || return
	must flip "$dst_file" $(($1 * 512)) 3 5 || return
	regions=$ZM_ANSWER
	verify || return
	expect_eq "mismatches" "${ZM_ST[mismatch]}" 3
	message m list mismatch
	expect_eq "the regions" "$ZM_ANSWER" "$regions"
}
zm_test "bits in regions of 2048 sectors" t_large_regions 2048
zm_test "bits in regions of 128 sectors" t_large_regions 128

# The mirror is in use now and then, so that pieces of half a region are looked at, and
# then larger ones from there on. Each region is told of, and none in place of another.
t_half_regions() # REGION
{
	local src src_file dst dst_file count=$((SECTORS / $1)) user

	new_pair "$1" || return
	must flip "$dst_file" $(($1 * 512)) "$count" 11 || return
	message m set scan_rate 2048
	while dd if="$ZM_DEV/m" of=/dev/null bs=4k count=1 iflag=direct status=none; do
		sleep 0.25
	done &
	user=$!
	verify
	kill "$user"
	wait "$user" 2> /dev/null
	expect_eq "mismatches" "${ZM_ST[mismatch]}" "$count"
	message m list mismatch
	expect_eq "the regions" "$ZM_ANSWER" "0-$((count - 1))"
}
zm_test "bits in each region of 256 sectors, now and then in use" t_half_regions 256

# A region that is repaired is not known to be zero any more.
t_repair_zero()
{
	local src src_file dst dst_file

	new_loop src 8M && new_loop dst 8M || return
	new_mirror m "$src" 0 "$dst" 0 128 dest_zeroed && wait_sync m || return
	expect_eq "regions known to be zero" "${ZM_ST[zero]}" 128
	must poke "$dst_file" 65536 || return
	verify repair || return
	expect_eq "mismatches" "${ZM_ST[mismatch]}" 1
	wait_sync m || return
	expect_equal "$src" 0 "$dst" 0 16384
}
zm_test "repair of what should be zero" t_repair_zero

t_range()
{
	local src src_file dst dst_file

	new_pair 128 || return
	must poke "$dst_file" 65535 65536 196607 196608 || return
	verify 128 256 || return
	expect_eq "verify" "${ZM_ST[verify]}" 2/2
	message m list mismatch
	expect_eq "the regions" "$ZM_ANSWER" 1-2
	verify 255 1 || return
	expect_eq "verify" "${ZM_ST[verify]}" 1/1
	message m list mismatch
	expect_eq "the regions" "$ZM_ANSWER" 1
	verify repair 0 1 || return
	wait_sync m || return
	expect_equal "$src" 0 "$dst" 0 128
}
zm_test "a range" t_range

# Writers of all kinds at the same blocks, and verifies all the time: by O_DIRECT,
# through the cache, and by a mapping.
t_in_use() # FEATURE...
{
	local src src_file dst dst_file pids=() pid i=0 deadline

	need_program fio && new_pair 8 "$@" || return
	zm_fio --name=d --filename="$ZM_DEV/m" --rw=randwrite --size=1m \
		--bsrange=512-64k --time_based --runtime=10 --iodepth=8 \
		> "$ZM_DIR/fio.1" 2>&1 &
	pids+=($!)
	fio --name=c --filename="$ZM_DEV/m" --rw=randwrite --offset=1m --size=1m \
		--allow_file_create=0 --bs=4k --time_based --runtime=10 \
		--ioengine=psync --thread > "$ZM_DIR/fio.2" 2>&1 &
	pids+=($!)
	fio --name=m --filename="$ZM_DEV/m" --rw=randwrite --offset=1m --size=1m \
		--allow_file_create=0 --bs=4k --time_based --runtime=10 \
		--ioengine=mmap --thread > "$ZM_DIR/fio.3" 2>&1 &
	pids+=($!)
	deadline=$((SECONDS + 9 * ZM_SLOWER))
	while [ "$SECONDS" -lt "$deadline" ]; do
		verify 0 6144 || break
		i=$((i + 1))
		[ "${ZM_ST[mismatch]}" = 0 ] || {
			message m list mismatch
			wrong "verify $i finds $ZM_ANSWER"
			break
		}
	done
	ktap_print_msg "$i verifies"
	for pid in "${pids[@]}"; do
		finish "$pid" 60 "fio"
	done
	ask unlink "$ZM_DIR/fio.1"
	ask unlink "$ZM_DIR/fio.2"
	ask unlink "$ZM_DIR/fio.3"
	expect_ge "verifies" "$i" 2
	wait_sync m || return
	verify || return
	expect_eq "mismatches" "${ZM_ST[mismatch]}" 0
	expect_eq "regions not compared" "${ZM_ST[unverified]}" 0
	expect_equal "$src" 0 "$dst" 0 "$SECTORS"
}
zm_test "nothing is found wrong while others write" t_in_use

t_dirty()
{
	local src src_file dst dst_file

	new_pair 128 || return
	message m pause
	message m set copy_mode async
	must io "$ZM_DEV/m" write:0:4096 write:131072:65536
	verify || return
	expect_eq "verify" "${ZM_ST[verify]}" 256/256
	expect_eq "mismatches" "${ZM_ST[mismatch]}" 0
	expect_eq "regions not compared" "${ZM_ST[unverified]}" 2
}
zm_test "dirty regions are not compared" t_dirty

# It takes some 8 seconds, in which all kinds of things happen.
t_interrupted()
{
	local src src_file dst dst_file events

	new_pair 128 scan_rate:2048 || return
	must poke "$dst_file" 16711680 || return
	events_of m
	events=$ZM_EVENTS
	message m verify
	rest 0.5
	must_fail message "$ZM_ID-m" verify
	must_dm suspend m
	status_of m
	expect_eq "mismatches" "${ZM_ST[mismatch]}" 0
	must_dm resume m
	rest 0.5
	reload_mirror m "$src" 0 "$dst" 0 128 scan_rate:2048 || return
	events_of m
	expect_eq "events" "$ZM_EVENTS" "$events"
	wait_until "verify ends" 60 events_after "$events" || return
	status_of m
	expect_eq "verify" "${ZM_ST[verify]}" 256/256
	expect_eq "mismatches" "${ZM_ST[mismatch]}" 1
	message m list mismatch
	expect_eq "the regions" "$ZM_ANSWER" 255

	# And one that is stopped.
	events_of m
	events=$ZM_EVENTS
	message m verify
	rest 0.5
	message m verify stop
	events_of m
	expect_eq "events" "$ZM_EVENTS" $((events + 1))
	status_of m
	expect_le "regions compared" "${ZM_ST[verify]%/*}" 200
	message m verify stop
	message m verify repair
	rest 0.3
}
zm_test "suspended, taken over, stopped, removed" t_interrupted

# What the destination cannot read is not there; what the source cannot read
# cannot be compared.
t_unreadable()
{
	new_broken_pair && wait_sync m || return
	bad_sectors dst 1000 8 || return
	verify || return
	expect_eq "mismatches" "${ZM_ST[mismatch]}" 1
	expect_eq "regions not compared" "${ZM_ST[unverified]}" 0
	message m list mismatch
	expect_eq "the regions" "$ZM_ANSWER" 7
	status_of m
	expect_eq "health" "${ZM_ST[health]}" AA

	dm_swap dst "${WELL[dst]}" || return
	bad_sectors src 1000 8 || return
	verify || return
	expect_eq "mismatches" "${ZM_ST[mismatch]}" 0
	expect_eq "regions not compared" "${ZM_ST[unverified]}" 1
	mend src && legs_are_equal
}
zm_test "legs that cannot be read" t_unreadable

t_dest_fails()
{
	new_broken_pair scan_rate:2048 && wait_sync m || return
	message m verify
	rest 0.5
	dm_swap dst "$BROKEN" || return
	must io "$ZM_DEV/m" write:65536:4096
	wait_until "verify ends" 30 log_has 'verify given up' || return
	status_of m
	expect_le "regions compared" "${ZM_ST[verify]%/*}" 200
	mend dst && legs_are_equal
}

log_has() # TEXT
{
	log_read
	[[ $ZM_LOG == *"$1"* ]]
}
zm_test "a destination that fails meanwhile" t_dest_fails

# The old source is not read any more.
t_pivots()
{
	new_broken_pair scan_rate:2048 && wait_sync m || return
	message m verify
	rest 0.5
	message m pivot
	wait_until "verify ends" 30 log_has 'verify given up' || return
	status_of m
	expect_le "regions compared" "${ZM_ST[verify]%/*}" 200
	expect_eq "regions not compared" "${ZM_ST[unverified]}" 0
}
zm_test "the destination takes over meanwhile" t_pivots

zm_run
