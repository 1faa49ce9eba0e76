#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# One byte that is not zero is never taken for zero, wherever it is: first and
# last byte of a region, each of its blocks, the last and partial region; by
# resync and by foreground writes, whatever the size of a write.

# shellcheck source=dm-zmirror-lib.sh
. "$(dirname "$0")/dm-zmirror-lib.sh"

# The place of the byte: in region number N it is in block number N, somewhere.
# The source ends in the middle of a region. Stores places, sectors.
new_places() # REGION BLOCK, in bytes
{
	local regions=$(($1 / $2)) n

	sectors=$(((regions + 4) * $1 / 512 + $1 / 1024))
	places=()
	for ((n = 0; n < regions; n++)); do
		places+=($((n * $1 + n * $2 + RANDOM % $2)))
	done
	# First byte and last byte of a region; of the last region.
	places+=($((n * $1)) $(((n + 2) * $1 - 1)))
	places+=($(((n + 4) * $1)) $((sectors * 512 - 1)))
}

expect_places()
{
	wait_sync m || return
	expect_equal "$src" 0 "$dst" 0 "$sectors"
	expect_equal "$want" 0 "$dst" 0 "$sectors"
}

# Stores the legs, and the device want, which is as they should be.
new_legs()
{
	new_loop src $((sectors * 512)) && new_loop dst $((sectors * 512)) &&
		new_loop want $((sectors * 512)) || return
	must poke "$want_file" "${places[@]}"
}

t_resync() # REGION BLOCK [FEATURE...]
{
	local src src_file dst want want_file places sectors

	new_places "$1" "$2" && new_legs || return
	must poke "$src_file" "${places[@]}"
	new_mirror m "$src" 0 "$dst" 0 $(($1 / 512)) "${@:3}" || return
	expect_places
	expect_eq "regions known to be zero" "${ZM_ST[zero]}" 2
}

# Writes all of it, in pieces of BYTES; with several, resync is under way.
t_write() # REGION BLOCK BYTES [FEATURE...]
{
	local src src_file dst want want_file places sectors

	new_places "$1" "$2" && new_legs || return
	new_mirror m "$src" 0 "$dst" 0 $(($1 / 512)) "${@:4}" || return
	must copy "$want_file" "$ZM_DEV/m" "$3"
	expect_places
}

for region in 8 128; do
	bytes=$((region * 512))
	for block in 512 4096; do
		[ $block -lt $bytes ] || continue
		zm_test "resync, regions of $region sectors, each $block bytes" \
			t_resync $bytes $block
	done
	zm_test "resync with dest_zeroed, regions of $region sectors" \
		t_resync $bytes 512 dest_zeroed
	for piece in 512 4096 65536 1048576; do
		# Very many writes, of which few are to one region.
		[ $((region * piece)) -ne 65536 ] || continue
		zm_test "writes of $piece bytes, regions of $region sectors" \
			t_write $bytes 512 "$piece" dest_zeroed nosync
	done
	zm_test "writes during resync, regions of $region sectors" \
		t_write $bytes 512 16384 dest_zeroed
done

zm_test "resync, regions of 2048 sectors, each 65536 bytes" \
	t_resync 1048576 65536

zm_run
