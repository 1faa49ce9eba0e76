#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Discards: what a range reads as afterwards is the source's affair; the
# destination reads the same, whatever it can do itself, and is sparse where the
# source reads as zeroes.

# shellcheck source=dm-zmirror-lib.sh
. "$(dirname "$0")/dm-zmirror-lib.sh"

SECTORS=32768	# 256 regions

# A mirror in sync, all of it data. The legs are the caller's variables.
new_pair() # [FEATURE...]
{
	local disk

	for disk in src dst; do
		[ -n "${!disk:-}" ] || new_loop "$disk" $((SECTORS / 2))K || return
	done
	must fill "$src" 65536
	new_mirror m "$src" 0 "$dst" 0 128 "$@" && wait_sync m
}

settled()
{
	wait_sync m || return
	expect_equal "$src" 0 "$dst" 0 "$SECTORS"
}

t_discard()
{
	local src src_file dst dst_file

	new_pair || return
	expect_eq "bytes allocated before" "$(allocated "$dst_file")" 16777216
	must io "$ZM_DEV/m" discard:0:8388608
	settled || return
	expect_eq "bytes allocated with half of it discarded" \
		"$(allocated "$dst_file")" 8388608
	run blkdiscard "$ZM_DEV/m"
	settled || return
	expect_eq "bytes allocated with all discarded" \
		"$(allocated "$dst_file")" 0
	expect_eq "bytes allocated on the source" "$(allocated "$src_file")" 0
	expect_eq "regions known to be zero" "${ZM_ST[zero]}" 256
}
zm_test "a discard reaches both legs, and the destination is sparse" t_discard

t_dirty()
{
	local src src_file dst dst_file

	new_pair || return
	message m pause
	must io "$ZM_DEV/m" discard:65536:131072 discard:1000448:4096
	status_of m
	expect_eq "dirty regions" "${ZM_ST[dirty]}" 3
	expect_eq "regions known to be zero" "${ZM_ST[zero]}" 0
	expect_eq "state" "${ZM_ST[state]}" paused
	message m resume
	settled || return
	expect_eq "regions known to be zero" "${ZM_ST[zero]}" 2
	expect_le "bytes allocated" "$(allocated "$dst_file")" $((254 * 65536))
}
zm_test "discarded regions are dirty until resync has been there" t_dirty

t_unaligned()
{
	local src src_file dst dst_file i requests=()

	new_pair || return
	RANDOM=${ZM_SEED:-1}
	for ((i = 0; i < 40; i++)); do
		requests+=("discard:$((RANDOM % 32000 * 512)):$((RANDOM % 300 * 512 + 512))")
		requests+=("write:$((RANDOM % 32000 * 512)):$((RANDOM % 64 * 512 + 512))")
	done
	requests+=(discard:512:512 discard:65024:1024 discard:4190208:8192
		   discard:16776704:512 write:16776704:512)
	must io "$ZM_DEV/m" "${requests[@]}"
	settled
}
zm_test "discards of any alignment between writes" t_unaligned

t_async()
{
	local src src_file dst dst_file

	new_pair copy_mode:async || return
	must io "$ZM_DEV/m" discard:512:66048 discard:200704:131072 \
		discard:8388608:1048576 write:8388608:4096
	settled
}
zm_test "discards with copy_mode:async" t_async

# What a filesystem does: many ranges, in the middle of writes.
t_filesystem()
{
	local src src_file dst dst_file i

	need_program mkfs.ext4 fstrim && need_module ext4 || return
	new_pair || return
	run mkfs.ext4 -q -F -E discard "$ZM_DEV/m" || return
	mkdir "$ZM_DIR/fs"
	undo rmdir "$ZM_DIR/fs"
	run mount -o discard "$ZM_DEV/m" "$ZM_DIR/fs" || return
	for i in 1 2 3 4; do
		head -c 2000000 /dev/urandom > "$ZM_DIR/fs/$i"
	done
	sync -f "$ZM_DIR/fs"
	rm "$ZM_DIR/fs/1" "$ZM_DIR/fs/3"
	sync -f "$ZM_DIR/fs"
	run fstrim "$ZM_DIR/fs"
	run umount "$ZM_DIR/fs"
	settled || return
	expect_le "bytes allocated" "$(allocated "$dst_file")" 8000000
}
zm_test "a filesystem with fstrim and discards" t_filesystem

# What the source cannot discard stays as it is, on both legs.
t_source_cannot()
{
	local src dst dst_file

	new_null src 16 discard=0 && new_pair || return
	must io "$ZM_DEV/m" discard:0:8388608
	status_of m
	expect_eq "dirty regions" "${ZM_ST[dirty]}" 0
	counters "$dst"
	expect_eq "discards of the destination" "${ZM_IO[discards]}" 0
	settled
}
zm_test "a source that cannot discard" t_source_cannot

t_dest_cannot()
{
	local src src_file dst

	new_null dst 16 discard=0 && new_pair || return
	must io "$ZM_DEV/m" discard:512:512 discard:200704:131072 \
		discard:8388608:4194304
	counters "$src"
	expect_ge "discards of the source" "${ZM_IO[discards]}" 3
	settled || return
	expect_zero "$dst" 16384 8192
}
zm_test "a destination that cannot discard" t_dest_cannot

# Its discards are of whole granules only, and leave anything there.
t_other_granularity()
{
	local src src_file dst

	new_scsi dst 16 unmap_granularity=64 unmap_alignment=0 lbprz=0 &&
		new_pair || return
	must io "$ZM_DEV/m" discard:512:66048 discard:4096:8388608 \
		discard:10000384:2048000 discard:4194304:4096
	settled
}
zm_test "a destination with another granularity" t_other_granularity

t_null()
{
	local src dst

	new_null src 16 && new_null dst 16 && new_pair || return
	must io "$ZM_DEV/m" discard:512:66048 discard:200704:131072 \
		discard:8388608:4194304 discard:4194304:512
	settled
}
zm_test "null_blk on both sides" t_null

zm_run
