#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Legs of all shapes: lengths that are no multiple of a region or of 4 KiB, tiny
# ones, different block sizes and limits, offsets, legs on one device, a
# destination that is larger. What does not fit is refused.

# shellcheck source=dm-zmirror-lib.sh
. "$(dirname "$0")/dm-zmirror-lib.sh"

queue() # DEVICE NAME
{
	cat "/sys/class/block/$(disk_of "$1")/queue/$2"
}

# Legs with SECTORS from an offset each, and garbage before, behind and on the
# destination; expects a mirror to be made of them, and nothing else touched.
t_length() # SECTORS REGION SOURCE_OFFSET DEST_OFFSET [FEATURE...]
{
	local src src_file dst dst_file old_file sectors=$1
	local size=$((($1 + $4 + 4096) * 512)) tail=$(($1 + $4))
	local ZM_LENGTH=$1

	new_loop src $((($1 + $3) * 512)) && new_loop dst "$size" || return
	must fill "$src_file" 4096 3 1
	must fill "$dst_file" 65536 1 0 2
	old_file=$ZM_DIR/old
	cp --sparse=never "$dst_file" "$old_file"

	new_mirror m "$src" "$3" "$dst" "$4" "$2" "${@:5}" || return
	wait_sync m || return
	expect_eq "regions" "${ZM_ST[total]}" $((($1 + $2 - 1) / $2))
	expect_equal "$src" "$3" "$dst" "$4" "$sectors"

	# The last sector alone, the last region, and all of it.
	must io "$ZM_DEV/m" write:$((($1 - 1) * 512)):512 || return
	expect_equal "$src" "$3" "$dst" "$4" "$sectors"
	must io "$ZM_DEV/m" punch:$((($1 - 1) / $2 * $2 * 512)):$(((($1 - 1) % $2 + 1) * 512))
	wait_sync m || return
	expect_equal "$src" "$3" "$dst" "$4" "$sectors"
	expect_zero "$dst" $(($4 + ($1 - 1) / $2 * $2)) $((($1 - 1) % $2 + 1))
	run fallocate -p -o 0 -l $(($1 * 512)) "$ZM_DEV/m"
	wait_sync m || return
	expect_eq "regions known to be zero" "${ZM_ST[zero]}" "${ZM_ST[total]}"
	expect_zero "$dst" "$4" "$sectors"

	run cmp -n $(($4 * 512)) "$dst_file" "$old_file"
	run cmp -i $((tail * 512)) "$dst_file" "$old_file"
	rm "$old_file"
}

for sectors in 1 9 8191; do
	zm_test "$sectors sectors, regions of 8 sectors" t_length $sectors 8 0 0
done
for sectors in 1 127 128 129 8191 8192 8193; do
	zm_test "$sectors sectors, regions of 128 sectors" \
		t_length $sectors 128 0 0
done
zm_test "65 regions of 8 sectors and a bit, offsets 3 and 77" \
	t_length 523 8 3 77
zm_test "65 regions of 128 sectors and a bit, offsets 3 and 77" \
	t_length 8323 128 3 77
zm_test "one region of 1 GiB on 4 MiB and a bit" t_length 8195 2097152 5 0

# The limits of a mirror and the equality of its legs, through writes.
t_block_sizes() # SOURCE_BLOCK DEST_BLOCK
{
	local src src_file dst dst_file larger=$(($1 > $2 ? $1 : $2))

	new_loop src 8M "$1" &&
		new_loop dst 8M "$2" || return
	must fill "$src_file" 65536 3
	new_mirror m "$src" 0 "$dst" 0 128 || return
	expect_eq "logical block size" \
		"$(queue "$ZM_DEV/m" logical_block_size)" "$larger"
	expect_ge "physical block size" \
		"$(queue "$ZM_DEV/m" physical_block_size)" "$larger"
	wait_sync m || return
	expect_equal "$src" 0 "$dst" 0 16384

	must io "$ZM_DEV/m" write:0:"$larger" punch:"$larger":"$larger" \
		zeroes:$((65536 + larger)):"$larger" discard:131072:"$larger"
	[ "$larger" -eq 512 ] ||
		must_fail io "$ZM_DEV/m" write:512:512
	wait_sync m || return
	expect_equal "$src" 0 "$dst" 0 16384
}
for pair in "512 512" "512 4096" "4096 512" "4096 4096"; do
	# shellcheck disable=SC2086 # words
	zm_test "blocks of ${pair/ / and } bytes" t_block_sizes $pair
done

t_block_size_grows()
{
	local src src_file dst four length

	new_loop src 8M && new_loop dst 8M &&
		new_loop four 8M 4096 || return
	for length in 16383 16380; do
		ZM_LENGTH=$length new_mirror m "$src" 0 "$dst" 0 128 || return
		zm_line "$length" "$src" 0 "$four" 0 128
		must_fail load "$ZM_ID-m" "$ZM_LINE"
		wait_sync m
		must_dm remove m
	done
}
zm_test "a length that is no multiple of the larger block is refused" \
	t_block_size_grows

# What fits one leg may not fit the block of the other one; said by the load,
# so that nobody is left with a suspended device.
t_offsets_and_blocks()
{
	local src src_file four legs

	new_loop src 8M && new_loop four 8M 4096 || return
	new_dm m || return
	for legs in "$src 4 $four 0" "$src 8 $four 4" "$four 4 $src 0" \
		    "$src 7 $four 8"; do
		must_fail load "$ZM_ID-m" "0 8192 zmirror $legs 128"
	done
	must fill "$src_file" 65536 3
	must_dm load m "0 8192 zmirror $src 8 $four 16 128"
	must_dm resume m
	wait_sync m
	expect_equal "$src" 8 "$four" 16 8192

	# The offset of a destination is a matter of its own block alone.
	must_dm load m "0 8192 zmirror $four 16 $src 8 128"
	must_dm suspend m
	must_dm resume m
	wait_sync m
	must_dm load m "0 8192 zmirror $four 16 $src 3 128"
	must_dm suspend m
	must_dm resume m
	wait_sync m
	expect_equal "$four" 16 "$src" 3 8192
}
zm_test "offsets that do not fit a block are refused" t_offsets_and_blocks

t_dest_size()
{
	local src src_file dst big

	new_loop src 8M && new_loop dst $((8 * 1048576 - 512)) &&
		new_loop big 64M || return
	new_dm m || return
	zm_line 16384 "$src" 0 "$dst" 0 128
	must_fail load "$ZM_ID-m" "$ZM_LINE"
	zm_line 16384 "$src" 0 "$dst" 1 128
	must_fail load "$ZM_ID-m" "$ZM_LINE"
	zm_line 16383 "$src" 0 "$dst" 0 128
	must_dm load m "$ZM_LINE"
	zm_line 16384 "$src" 1 "$big" 0 128
	must_fail load "$ZM_ID-m" "$ZM_LINE"
	zm_line 16384 "$src" 0 "$big" 100000 128
	must_dm load m "$ZM_LINE"
	must_dm resume m
	wait_sync m
	expect_eq "sectors of the mirror" "$(sectors_of "$ZM_DEV/m")" 16384
}
zm_test "a smaller destination is refused, a larger one is not" t_dest_size

t_one_device()
{
	local disk disk_file ZM_LENGTH=8192

	new_loop disk 16M || return
	must fill "$disk_file" 65536 2 1
	new_mirror m "$disk" 8292 "$disk" 100 128 || return
	wait_sync m || return
	expect_equal "$disk" 8292 "$disk" 100 8192
	must io "$ZM_DEV/m" write:0:1048576 punch:524288:1048576
	wait_sync m || return
	expect_equal "$disk" 8292 "$disk" 100 8192
}
zm_test "both legs on one device" t_one_device

t_partition()
{
	local disk disk_file dst

	new_loop disk 16M 512 partscan && new_loop dst 4M || return
	must fill "$disk_file" 65536 2 1
	must addpart "$disk" 1 5000 8192 || return
	new_disk part "${disk}p1"
	# shellcheck disable=SC2154 # set by new_disk
	new_mirror m "$part" 0 "$dst" 0 128 || return
	wait_sync m || return
	must io "$ZM_DEV/m" write:0:1048576 punch:524288:1048576
	wait_sync m || return
	expect_equal "$disk" 5000 "$dst" 0 8192
}
zm_test "a partition as source" t_partition

t_two_mirrors()
{
	local src src_file a b

	new_loop src 8M && new_loop a 8M && new_loop b 8M || return
	must fill "$src_file" 65536 2
	new_mirror inner "$src" 0 "$a" 0 128 || return
	new_mirror outer "$ZM_DEV/inner" 0 "$b" 0 8 || return
	must io "$ZM_DEV/outer" write:0:1048576 punch:524288:1048576 \
		discard:3145728:1048576
	wait_sync inner
	wait_sync outer || return
	expect_equal "$src" 0 "$a" 0 16384
	expect_equal "$src" 0 "$b" 0 16384
	must_dm remove outer
}
zm_test "a mirror as the source of another one" t_two_mirrors

t_scsi()
{
	local src dst dst_file

	new_scsi src 10 unmap_granularity=8 opt_blks=64 physblk_exp=3 || return
	new_loop dst 10M || return
	must fill "$src" 65536 3
	new_mirror m "$src" 0 "$dst" 0 128 || return
	expect_eq "physical block size" \
		"$(queue "$ZM_DEV/m" physical_block_size)" 4096
	expect_ne "limit of WRITE_ZEROES" \
		"$(queue "$ZM_DEV/m" write_zeroes_max_bytes)" 0
	expect_eq "limit of WRITE_ZEROES" \
		"$(queue "$ZM_DEV/m" write_zeroes_max_bytes)" \
		"$(queue "$src" write_zeroes_max_bytes)"
	wait_sync m || return
	must io "$ZM_DEV/m" write:512:66048 punch:1049088:1048576 \
		zeroout:4194304:1048576 discard:8388608:1048576 write:8389120:512
	wait_sync m || return
	expect_equal "$src" 0 "$dst" 0 20480
}
zm_test "a SCSI disk as source" t_scsi

t_scsi_dest() # [FEATURE]
{
	local src src_file dst

	new_loop src 10M && new_scsi dst 10 physblk_exp=3 || return
	must fill "$src_file" 65536 3
	must fill "$dst" 65536 1 0 2
	new_mirror m "$src" 0 "$dst" 0 128 "$@" || return
	wait_sync m || return
	expect_equal "$src" 0 "$dst" 0 20480
	must io "$ZM_DEV/m" write:512:66048 punch:1049088:1048576 \
		discard:8388608:1048576 write:8389120:512
	wait_sync m || return
	expect_equal "$src" 0 "$dst" 0 20480
}
zm_test "a SCSI disk as destination" t_scsi_dest
zm_test "a SCSI disk as destination with no_unmap" t_scsi_dest no_unmap

zm_run
