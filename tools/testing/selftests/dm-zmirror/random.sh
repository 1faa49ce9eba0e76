#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Thousands of requests at random, of every kind, size and alignment, several at a
# time, while tables, messages and the state of the destination change; compared
# with a model after each hundred. See zm-random.py.
#
# Each line is done with one seed that is always the same, and with a new one,
# which is printed: ZM_SEED repeats it. What is asked for is then the same, the
# order in which it ends is not. ZM_REQUESTS is the number for each seed: ZM_ALL is for
# those who have the time for more.

# shellcheck source=dm-zmirror-lib.sh
. "$(dirname "$0")/dm-zmirror-lib.sh"

MIBYTES=8
SECTORS=$((MIBYTES * 2048))
SEED=${ZM_SEED:-$((RANDOM << 15 | RANDOM))}
REQUESTS=${ZM_REQUESTS:-$(((${ZM_ALL:+1000} + 500) / ZM_SLOWER))}

# A file on ext4, which can be zeroed with and without unmapping.
new_source()
{
	local disk

	need_program mkfs.ext4 && need_module ext4 || return
	new_loop disk 32M || return
	run mkfs.ext4 -q -F -O ^has_journal -b 4096 "$disk" || return
	mkdir "$ZM_DIR/fs"
	undo rmdir "$ZM_DIR/fs"
	run mount "$disk" "$ZM_DIR/fs" || return
	undo umount "$ZM_DIR/fs"
	must make "$ZM_DIR/fs/src" "${MIBYTES}M" || return
	attach_loop SRC "$ZM_DIR/fs/src"
}
zm_setup new_source

# A volume in a pool that zeroes its chunks of 64 KiB.
new_thin() # VARIABLE
{
	local pool_data pool_meta

	need_target thin-pool && new_loop pool_data 16M &&
		new_loop pool_meta 4M || return
	new_dm pool "0 32768 thin-pool $pool_meta $pool_data 128 0" &&
		must_dm message pool "create_thin 0" &&
		new_dm thin "0 $SECTORS thin $ZM_DEV/pool 0" || return
	printf -v "$1" '%s' "$ZM_DEV/thin"
}

# With one seed after another. The words are what later tables may have, see
# zm-random.py; the first table has the features behind the --.
random_requests() # SOURCE DESTINATION REGION [WORD...] [-- FEATURE...]
{
	local legs=("$1" "$2") region=$3 words=() pid seeds=1,$SEED

	shift 3
	[ -z "${ZM_LESS-}" ] || seeds=$SEED
	while [ $# -gt 0 ] && [ "$1" != -- ]; do
		words+=("$1")
		shift
	done
	new_dm low "0 $SECTORS linear ${legs[1]} 0" || return
	new_mirror m "${legs[0]}" 0 "$ZM_DEV/low" 0 "$region" "${@:2}" || return
	python3 -I "$ZM_LIB_DIR/zm-random.py" "$ZM_ID-m" "$ZM_ID-low" \
		"${legs[@]}" "$region" "$REQUESTS" "$seeds" "${words[@]}" \
		> "$ZM_DIR/random" 2>&1 &
	pid=$!
	finish "$pid" 150 "zm-random.py" || ktap_print_msg "ZM_SEED is $SEED"
	ktap_print_msg "$(cat "$ZM_DIR/random")"
	ask unlink "$ZM_DIR/random"
}

t_loop()
{
	local dst

	new_loop dst "${MIBYTES}M" || return
	must fill "$dst" 4096
	random_requests "$SRC" "$dst" 128
}
zm_test "to a loop device" t_loop

t_small_regions()
{
	local dst

	new_loop dst "${MIBYTES}M" || return
	must io "$SRC" "punch:0:$((SECTORS * 512))" || return
	random_requests "$SRC" "$dst" 8 discard_zeroes -- dest_zeroed nosync
}
zm_test "to a loop device, regions of 4 KiB, both legs zero" t_small_regions

t_null()
{
	local dst

	new_null dst "$MIBYTES" || return
	must fill "$dst" 65536
	random_requests "$SRC" "$dst" 64 discard_zeroes
}
zm_test "to a destination without WRITE_ZEROES" t_null

t_null_source()
{
	local src dst

	new_null src "$MIBYTES" && new_loop dst "${MIBYTES}M" || return
	random_requests "$src" "$dst" 16
}
zm_test "from a source without WRITE_ZEROES" t_null_source

t_thin()
{
	local dst

	new_thin dst || return
	random_requests "$SRC" "$dst" 128 =discard_zeroes -- discard_zeroes
}
zm_test "to a thin volume, which is zeroed by discards" t_thin

t_async()
{
	local dst

	new_loop dst "${MIBYTES}M" || return
	random_requests "$SRC" "$dst" 32 =copy_mode:async -- copy_mode:async
}
zm_test "in async mode" t_async

t_prezero()
{
	local dst

	new_loop dst "${MIBYTES}M" || return
	must fill "$dst" 4096
	random_requests "$SRC" "$dst" 128 =prezero -- prezero
}
zm_test "with prezero" t_prezero

zm_run
