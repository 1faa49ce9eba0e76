#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Flushes, and writes that ask for stable storage, reach both legs, whatever the
# legs have to say of their caches. What is queued on a leg is seen by the
# kernel's block tracepoints: "FW" is a flush, "WF" a write with FUA.

# shellcheck source=dm-zmirror-lib.sh
. "$(dirname "$0")/dm-zmirror-lib.sh"

# How many bios have been queued on a device whose operation matches, and whose
# number of sectors does.
seen() # DEVICE REGEX [REGEX]
{
	local number line count=0

	read -r number < "/sys/class/block/$(disk_of "$1")/dev"
	while read -r line; do
		[[ $line =~ block_bio_queue:\ ${number/:/,}\ $2\ [0-9]+\ \+\ ${3:-} ]] &&
			count=$((count + 1))
	done < <(trace_read)
	printf '%d' "$count"
}

# ---------------------------------------------------------------------------
# By counters: a loop device has a cache, and no FUA
# ---------------------------------------------------------------------------

new_pair() # [FEATURE...]
{
	new_loop src 16M && new_loop dst 16M || return
	new_mirror m "$src" 0 "$dst" 0 128 "$@" && wait_sync m
}

flushes_of() # DEVICE, stored in FLUSHES
{
	counters "$1"
	FLUSHES=${ZM_IO[flushes]}
}

# How many flushes each leg gets by requests to the mirror.
expect_flushes() # OF_SOURCE OF_DESTINATION REQUEST...
{
	local source dest

	flushes_of "$src"
	source=$FLUSHES
	flushes_of "$dst"
	dest=$FLUSHES
	must io "$ZM_DEV/m" "${@:3}"
	flushes_of "$src"
	expect_eq "flushes of the source by ${*:3}" $((FLUSHES - source)) "$1"
	flushes_of "$dst"
	expect_eq "flushes of the destination by ${*:3}" \
		$((FLUSHES - dest)) "$2"
}

t_flush()
{
	local src src_file dst

	new_pair || return
	expect_flushes 1 1 flush:0:0
	expect_flushes 0 0 write:65536:4096
}
zm_test "a flush goes to both legs" t_flush

# Without FUA the block layer flushes after the write; and a program that asks
# for stable storage makes a flush of its own besides.
t_fua()
{
	local src src_file dst

	new_pair || return
	expect_flushes 2 2 dsync:65536:4096
}
zm_test "a write with FUA is stable on both legs" t_fua

# As long as it is out of sync nobody counts on the destination, but regions that
# are in sync are there already.
t_out_of_sync()
{
	local src dst

	new_loop src 16M && new_loop dst 16M || return
	new_mirror m "$src" 0 "$dst" 0 128 paused || return
	expect_flushes 1 1 flush:0:0
	expect_flushes 2 1 dsync:65536:4096
}
zm_test "flushes out of sync" t_out_of_sync

t_async()
{
	local src src_file dst

	new_pair copy_mode:async || return
	expect_flushes 1 0 flush:0:0
	message m set copy_mode sync
	expect_flushes 1 1 flush:0:0
}
zm_test "flushes in async mode" t_async

# What was copied is made stable before it is said to be in sync.
t_in_sync()
{
	local src dst waiter

	new_loop src 16M && new_loop dst 16M || return
	must fill "$src" 65536
	new_mirror m "$src" 0 "$dst" 0 128 paused || return
	flushes_of "$dst"
	expect_eq "flushes before resync" "$FLUSHES" 0
	events_of m
	dmsetup wait "$ZM_ID-m" "$ZM_EVENTS" > /dev/null &
	waiter=$!
	message m resume
	finish "$waiter" 30 "waiting for an event" || return
	flushes_of "$dst"
	expect_ge "flushes after resync" "$FLUSHES" 1
}
zm_test "a resync ends with a flush of the destination" t_in_sync

# ---------------------------------------------------------------------------
# By tracepoints: legs with all kinds of caches
# ---------------------------------------------------------------------------

new_disk_with() # VARIABLE CACHE
{
	case $2 in
	none)	new_null "$1" 8 ;;
	cache)	new_null "$1" 8 cache_size=4 ;;
	fua)	new_null "$1" 8 cache_size=4 fua=1 ;;
	esac
}

# A flush is only queued where there is a cache.
expect_flushed() # DEVICE CACHE WHAT
{
	if [ "$2" = none ]; then
		expect_eq "$3" "$(seen "$1" 'FW[A-Z]*')" 0
	else
		expect_ge "$3" "$(seen "$1" 'FW[A-Z]*')" 1
	fi
}

# A write with FUA is queued as such, where there is a cache.
expect_fua() # DEVICE CACHE WHAT
{
	if [ "$2" = none ]; then
		expect_ge "$3 as a write" "$(seen "$1" 'W[A-Z]*')" 1
	else
		expect_ge "$3" "$(seen "$1" 'F?WF[A-Z]*')" 1
	fi
}

t_caches() # SOURCE_CACHE DEST_CACHE
{
	local src dst mode

	new_trace block/block_bio_queue && new_disk_with src "$1" && new_disk_with dst "$2" || return
	must fill "$src" 65536 2
	new_mirror m "$src" 0 "$dst" 0 128 && wait_sync m || return
	read -r mode < "/sys/class/block/$(disk_of "$ZM_DEV/m")/queue/write_cache"
	[ "$1$2" = nonenone ] || expect_eq "cache" "$mode" "write back"
	rest 0.3

	must io "$ZM_DEV/m" write:0:65536
	trace_clear
	must io "$ZM_DEV/m" flush:0:0
	expect_flushed "$src" "$1" "flushes of the source"
	expect_flushed "$dst" "$2" "flushes of the destination"

	trace_clear
	must io "$ZM_DEV/m" dsync:4096:4096
	expect_fua "$src" "$1" "FUA on the source"
	expect_fua "$dst" "$2" "FUA on the destination"

	# As a program that does not go past the cache.
	trace_clear
	run dd if=/dev/urandom of="$ZM_DEV/m" bs=4k count=3 conv=notrunc,fsync
	expect_flushed "$src" "$1" "flushes of the source by fsync"
	expect_flushed "$dst" "$2" "flushes of the destination by fsync"
	expect_ge "writes to the destination" "$(seen "$dst" 'W[A-Z]*')" 1
	wait_sync m || return
	expect_equal "$src" 0 "$dst" 0 16384
}
for caches in "cache cache" "fua fua" "none cache" "cache none" "fua cache" \
	      "none none"; do
	# shellcheck disable=SC2086 # words
	zm_test "source: ${caches% *}, destination: ${caches#* }" \
		t_caches $caches
done

t_stable_zeroes()
{
	local src src_file dst

	new_trace block/block_bio_queue && new_loop src 8M && new_disk_with dst fua || return
	must fill "$src_file" 65536
	new_mirror m "$src" 0 "$dst" 0 128 && wait_sync m || return
	trace_clear
	run dd if=/dev/zero of="$ZM_DEV/m" bs=64k count=1 oflag=direct,dsync
	expect_fua "$dst" fua "FUA on the destination"
	expect_zero "$dst" 0 128

	# Zero already: the destination has nothing to write.
	trace_clear
	run dd if=/dev/zero of="$ZM_DEV/m" bs=64k count=1 oflag=direct,dsync
	expect_fua "$src" cache "FUA on the source"
	expect_eq "writes to the destination" \
		"$(seen "$dst" 'F?W[A-Z]*' '[1-9]')" 0
	wait_sync m || return
	expect_equal "$src" 0 "$dst" 0 16384
}
zm_test "stable writes of zeroes" t_stable_zeroes

zm_run
