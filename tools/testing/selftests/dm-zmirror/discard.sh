#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Discards: afterwards both legs read the same, and a sparse destination is sparse
# where the source reads as zeroes.

# shellcheck disable=SC2154 # variables are set by new_loop and new_null
# shellcheck source=dm-zmirror-lib.sh
. "$(dirname "$0")/dm-zmirror-lib.sh"

SECTORS=32768

settled()
{
	wait_sync m || return
	expect_equal "$src" 0 "$dst" 0 "$SECTORS"
}

t_discard()
{
	new_loop src 16M && new_loop dst 16M || return
	must fill "$src" 65536
	new_mirror m "$src" 0 "$dst" 0 128 && wait_sync m || return
	expect_eq "bytes allocated before" "$(allocated "$dst_file")" 16777216

	must io "$ZM_DEV/m" discard:0:8388608
	settled
	expect_eq "bytes allocated with half of it discarded" \
		"$(allocated "$dst_file")" 8388608
	must io "$ZM_DEV/m" discard:8388608:8388608
	settled
	expect_eq "bytes allocated with all discarded" \
		"$(allocated "$dst_file")" 0
	expect_eq "regions known to be zero" "${ZM_ST[zero]}" 256
}

# A discard makes regions dirty that were clean, and says so until it is mended.
t_dirty()
{
	new_loop src 16M && new_loop dst 16M || return
	new_mirror m "$src" 0 "$dst" 0 128 && wait_sync m || return
	message m pause
	must io "$ZM_DEV/m" discard:65536:131072 discard:1000448:4096
	status_of m
	expect_eq "dirty regions" "${ZM_ST[dirty]}" 3
	expect_eq "regions known to be zero" "${ZM_ST[zero]}" 253
	expect_eq "state" "${ZM_ST[state]}" paused
	message m resume
	settled
}

t_unaligned()
{
	local i requests=()

	new_loop src 16M && new_loop dst 16M || return
	must fill "$src" 65536
	new_mirror m "$src" 0 "$dst" 0 128 && wait_sync m || return
	RANDOM=1
	for ((i = 0; i < 40; i++)); do
		requests+=("discard:$((RANDOM % 32000 * 512)):$((RANDOM % 300 * 512 + 512))")
		requests+=("write:$((RANDOM % 32000 * 512)):$((RANDOM % 64 * 512 + 512))")
	done
	must io "$ZM_DEV/m" "${requests[@]}"
	settled
}

# What the source cannot discard stays as it is, on both legs.
t_source_cannot()
{
	new_null src 16 discard=0 && new_loop dst 16M || return
	must fill "$src" 65536
	new_mirror m "$src" 0 "$dst" 0 128 && wait_sync m || return
	must io "$ZM_DEV/m" discard:0:8388608
	status_of m
	expect_eq "dirty regions" "${ZM_ST[dirty]}" 0
	counters "$dst"
	expect_eq "discards of the destination" "${ZM_IO[discards]}" 0
	settled
}

t_dest_cannot()
{
	new_loop src 16M && new_null dst 16 discard=0 || return
	must fill "$src" 65536
	new_mirror m "$src" 0 "$dst" 0 128 && wait_sync m || return
	must io "$ZM_DEV/m" discard:0:8388608
	counters "$src"
	expect_ge "discards of the source" "${ZM_IO[discards]}" 1
	settled
}

t_other_granularity()
{
	new_loop src 16M && new_scsi dst 16 unmap_granularity=64 \
		unmap_alignment=0 lbprz=0 || return
	must fill "$src" 65536
	new_mirror m "$src" 0 "$dst" 0 128 && wait_sync m || return
	must io "$ZM_DEV/m" discard:4096:8388608 discard:10000384:2048000
	settled
}

zm_test "a discard reaches both legs, and the destination is sparse" t_discard
zm_test "discarded regions are dirty until resync has been there" t_dirty
zm_test "discards of any alignment between writes" t_unaligned
zm_test "a source that cannot discard" t_source_cannot
zm_test "a destination that cannot discard" t_dest_cannot
zm_test "a destination with another granularity" t_other_granularity
zm_run
