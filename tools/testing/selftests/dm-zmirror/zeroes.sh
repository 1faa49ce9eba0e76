#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Zeroes from the foreground: WRITE_ZEROES that may unmap (fallocate -p) and that
# must not (blkdiscard -z, fallocate -z), and payloads of zeroes. They cost the
# destination nothing where it has them already.

# shellcheck source=dm-zmirror-lib.sh
. "$(dirname "$0")/dm-zmirror-lib.sh"

SECTORS=32768	# of the small legs

# The source must zero without unmapping, which a file on tmpfs cannot do.
new_source() # MIBYTES
{
	local disk

	need_program mkfs.ext4 && need_module ext4 || return
	new_loop disk $(($1 + $1 / 8 + 16))M &&
		run mkfs.ext4 -q -F -O ^has_journal -b 4096 "$disk" || return
	mkdir "$ZM_DIR/fs"
	undo rmdir "$ZM_DIR/fs"
	run mount "$disk" "$ZM_DIR/fs" || return
	undo umount "$ZM_DIR/fs"
	truncate -s "$1M" "$ZM_DIR/fs/src"
	attach_loop src "$ZM_DIR/fs/src"
}

# A mirror in sync, both legs of which read as zeroes and are known to.
new_zero_mirror() # MIBYTES
{
	new_source "$1" && new_loop dst "$1M" || return
	new_mirror m "$src" 0 "$dst" 0 128 nosync dest_zeroed || return
	wait_sync m || return
	expect_eq "regions known to be zero" "${ZM_ST[zero]}" $(($1 * 16))
	mark
}

# Remembers the counters of the legs. Programs flush what they have written, and
# a flush counts as a write of nothing, so flushes are taken off.
mark()
{
	counters "$src"
	SRC_WRITTEN=${ZM_IO[written]}
	counters "$dst"
	DST_WRITTEN=${ZM_IO[written]}
	DST_WRITES=$((ZM_IO[writes] - ZM_IO[flushes]))
	DST_DISCARDS=${ZM_IO[discards]}
}

# Since the mark, the destination has written this many sectors, and has
# discarded nothing.
dest_wrote() # SECTORS WHAT
{
	counters "$dst"
	expect_eq "after $2 sectors written to the destination" \
		$((ZM_IO[written] - DST_WRITTEN)) "$1"
	[ "$1" -ne 0 ] ||
		expect_eq "after $2 writes to the destination" \
			$((ZM_IO[writes] - ZM_IO[flushes] - DST_WRITES)) 0
	expect_eq "after $2 discards of the destination" \
		"${ZM_IO[discards]}" "$DST_DISCARDS"
}

source_wrote() # SECTORS WHAT
{
	counters "$src"
	expect_eq "after $2 sectors written to the source" \
		$((ZM_IO[written] - SRC_WRITTEN)) "$1"
}

settled() # SECTORS
{
	wait_sync m || return
	expect_equal "$src" 0 "$dst" 0 "$1"
}

t_large()
{
	local src src_file dst dst_file length=$((1 << 30))

	new_zero_mirror 1024 || return

	run fallocate -p -o 0 -l "$length" "$ZM_DEV/m"
	dest_wrote 0 "fallocate -p"
	source_wrote 0 "fallocate -p"

	run blkdiscard -z "$ZM_DEV/m"
	dest_wrote 0 "blkdiscard -z"
	source_wrote $((length / 512)) "blkdiscard -z"
	status_of m
	expect_eq "sectors skipped" "${ZM_ST[fg_skipped]}" $((length / 256))

	must fill "$dst_file" 4096 1000000000
	run dd if="$dst_file" of="$ZM_DEV/m" bs=4k count=1 seek=100000 \
		oflag=direct conv=notrunc status=none
	wait_sync m
	run fallocate -p -o 0 -l 4096 "$dst_file"
	expect_eq "regions known to be zero" "${ZM_ST[zero]}" 16383
	mark
	run blkdiscard -z "$ZM_DEV/m"
	dest_wrote 128 "4 KiB of data and blkdiscard -z"
	wait_sync m
	expect_eq "regions known to be zero" "${ZM_ST[zero]}" 16384
	expect_eq "bytes allocated" "$(allocated "$dst_file")" 0

	run dd if=/dev/urandom of="$ZM_DEV/m" bs=4k count=1 seek=100000 \
		oflag=direct conv=notrunc status=none
	mark
	run fallocate -p -o 0 -l "$length" "$ZM_DEV/m"
	dest_wrote 128 "4 KiB of data and fallocate -p"
	wait_sync m
	expect_zero "$src" $((99999 * 8)) 24
	expect_zero "$dst" $((99999 * 8)) 24
}
zm_test "zeroes over 1 GiB cost a zero destination nothing, or one region" \
	t_large

t_payload()
{
	local src src_file dst dst_file

	new_zero_mirror 16 || return
	run dd if=/dev/zero of="$ZM_DEV/m" bs=64k count=64 oflag=direct
	dest_wrote 0 "zeroes of 64 KiB"
	source_wrote 8192 "zeroes of 64 KiB"
	run dd if=/dev/zero of="$ZM_DEV/m" bs=64k count=1 oflag=direct,dsync
	dest_wrote 0 "zeroes with FUA"
	settled "$SECTORS"
}
zm_test "payloads of zeroes go to the source only" t_payload

t_partial()
{
	local src src_file dst dst_file place range todo=()

	new_zero_mirror 16 || return
	# First sector and number of sectors.
	for place in "0 1" "127 1" "128 1" "127 2" "1 126" "5 123" "5 124" \
		     "64 128" "100 300" "8191 1" "8191 2" "32767 1" \
		     "32640 128" "32639 129"; do
		# shellcheck disable=SC2086 # words
		set -- $place
		range=$(($1 * 512)):$(($2 * 512))
		todo+=("zeroes:$range" "punch:$range" "zeroout:$range")
	done
	must io "$ZM_DEV/m" "${todo[@]}"
	dest_wrote 0 "zeroes of all alignments"
	status_of m
	expect_eq "regions known to be zero" "${ZM_ST[zero]}" 256
	settled "$SECTORS"
}
zm_test "zeroes of any alignment in zero regions do no I/O on the destination" \
	t_partial

t_sequence()
{
	local src src_file dst dst_file

	new_zero_mirror 16 || return
	for _ in 1 2; do
		must io "$ZM_DEV/m" write:$((7 * 65536)):131072
		status_of m
		expect_eq "zero regions after data" "${ZM_ST[zero]}" 254
		expect_equal "$src" 0 "$dst" 0 "$SECTORS"
		expect_eq "bytes allocated" "$(allocated "$dst_file")" 131072

		must io "$ZM_DEV/m" zeroes:$((7 * 65536)):65536 \
			punch:$((8 * 65536)):65536
		wait_sync m
		expect_eq "zero regions after zeroes" "${ZM_ST[zero]}" 256
		expect_eq "bytes allocated" "$(allocated "$dst_file")" 0
		expect_zero "$dst" $((7 * 128)) 256
	done
	settled "$SECTORS"
}
zm_test "data, zeroes, data and zeroes again" t_sequence

t_partly_over_data()
{
	local src src_file dst dst_file other other_file

	new_zero_mirror 16 || return
	new_loop other 256K || return
	must fill "$other_file" 65536
	must copy "$other_file" "$ZM_DEV/m" 65536
	must io "$ZM_DEV/m" zeroes:4096:4096 punch:66048:65024 \
		zeroout:131072:65024 punch:196096:66048
	wait_sync m
	# Region 2 has been zeroed by two requests, each of which left some of it.
	expect_ge "regions known to be zero" "${ZM_ST[zero]}" 253
	expect_le "regions known to be zero" "${ZM_ST[zero]}" 254
	expect_equal "$other" 0 "$dst" 0 8
	expect_zero "$dst" 8 8
	expect_equal "$other" 16 "$dst" 16 113
	expect_zero "$dst" 129 383
	settled "$SECTORS"
}
zm_test "zeroes over a part of a region with data reach the destination" \
	t_partly_over_data

t_nounmap()
{
	local src src_file dst dst_file

	new_zero_mirror 16 || return
	expect_eq "bytes allocated on the source" "$(allocated "$src_file")" 0
	run fallocate -p -o 65536 -l 1048576 "$ZM_DEV/m"
	source_wrote 0 "fallocate -p"
	dest_wrote 0 "fallocate -p"
	run fallocate -z -o 65536 -l 1048576 "$ZM_DEV/m"
	source_wrote 2048 "fallocate -z"
	dest_wrote 0 "fallocate -z"
	expect_ge "bytes allocated on the source" \
		"$(allocated "$src_file")" 1048576
	expect_eq "bytes allocated on the destination" \
		"$(allocated "$dst_file")" 0
	settled "$SECTORS"
}
zm_test "zeroes that must not unmap go to the source, others nowhere" t_nounmap

t_no_detection()
{
	local src src_file dst dst_file

	new_zero_mirror 16 || return
	message m set zero_detect off
	must io "$ZM_DEV/m" zeroes:0:1048576
	dest_wrote 2048 "zeroes as data"
	status_of m
	expect_eq "regions known to be zero" "${ZM_ST[zero]}" 240
	message m set zero_detect on
	must io "$ZM_DEV/m" zeroes:0:1048576
	status_of m
	expect_eq "regions known to be zero" "${ZM_ST[zero]}" 256
	settled "$SECTORS"
}
zm_test "zero_detect off and on again by message" t_no_detection

limit() # DEVICE
{
	cat "/sys/class/block/$(disk_of "$1")/queue/write_zeroes_max_bytes"
}

t_dest_cannot()
{
	local src src_file dst

	new_loop src 16M && new_null dst 16 || return
	must fill "$src_file" 65536
	new_mirror m "$src" 0 "$dst" 0 128 || return
	wait_sync m || return
	expect_eq "limit of the destination" "$(limit "$dst")" 0
	expect_ne "limit of the mirror" "$(limit "$ZM_DEV/m")" 0

	# The same request makes them there of pages.
	message m pause
	mark
	run fallocate -p -o 65536 -l $((5 * 65536 + 512)) "$ZM_DEV/m"
	dest_wrote $((5 * 128 + 1)) "zeroes of pages"
	status_of m
	expect_eq "dirty regions" "${ZM_ST[dirty]}" 0
	expect_eq "state" "${ZM_ST[state]}" in_sync
	message m resume
	wait_sync m || return
	expect_eq "regions known to be zero" "${ZM_ST[zero]}" 5
	expect_zero "$dst" 128 641
	settled "$SECTORS"

	mark
	run fallocate -p -o 65536 -l $((5 * 65536)) "$ZM_DEV/m"
	dest_wrote 0 "fallocate -p over zero regions"
	expect_ne "limit of the mirror" "$(limit "$ZM_DEV/m")" 0
}
zm_test "a destination without WRITE_ZEROES is zeroed by pages" t_dest_cannot

t_source_cannot()
{
	local src dst dst_file

	new_null src 16 && new_loop dst 16M || return
	must fill "$src" 65536
	new_mirror m "$src" 0 "$dst" 0 128 || return
	wait_sync m || return
	expect_eq "limit of the mirror" "$(limit "$ZM_DEV/m")" 0
	run blkdiscard -z -o 65536 -l 655360 "$ZM_DEV/m"
	wait_sync m
	expect_eq "regions known to be zero" "${ZM_ST[zero]}" 10
	expect_eq "bytes allocated" "$(allocated "$dst_file")" $((246 * 65536))
	mark
	run blkdiscard -z -o 65536 -l 655360 "$ZM_DEV/m"
	dest_wrote 0 "blkdiscard -z"
	settled "$SECTORS"
}
zm_test "a source without WRITE_ZEROES offers none, and zeroes are found" \
	t_source_cannot

# Asked to zero without unmapping, a file on tmpfs fails, and says that it can
# write no zeroes at all from then on.
t_source_learns()
{
	local src src_file dst dst_file

	new_loop src 16M && new_loop dst 16M || return
	new_mirror m "$src" 0 "$dst" 0 128 dest_zeroed nosync || return
	wait_sync m || return
	run blkdiscard -z "$ZM_DEV/m"
	wait_sync m
	expect_eq "regions known to be zero" "${ZM_ST[zero]}" 256
	must fill "$ZM_DEV/m" 65536 4
	run blkdiscard -z "$ZM_DEV/m"
	wait_sync m
	expect_eq "bytes allocated" "$(allocated "$dst_file")" 0
	settled "$SECTORS"
}
zm_test "a source that finds out that it cannot write zeroes" t_source_learns

zm_run
