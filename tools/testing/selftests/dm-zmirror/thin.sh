#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Thin volumes: under file systems, the destination holds hardly more than the
# source; and where a pool shows stale data, the legs are equal all the same.

# shellcheck source=dm-zmirror-lib.sh
. "$(dirname "$0")/dm-zmirror-lib.sh"

REGION=128
DATA_MIB=16

# A file of data, and what pools find on a disk.
make_files()
{
	DATA=$ZM_DIR/data
	STALE=$ZM_DIR/stale
	must make "$DATA" "${DATA_MIB}M" && must make "$STALE" 12M || return
	undo ask unlink "$DATA"
	undo ask unlink "$STALE"
	must fill "$DATA" 1048576
	head -c 12M /dev/zero | tr '\0' '\245' > "$STALE"
}
zm_setup make_files

# ---------------------------------------------------------------------------
# Pools and volumes
# ---------------------------------------------------------------------------

declare -A POOL_VIEW POOL_BLOCK		# by the name of the pool
declare -A THIN_ID THIN_POOL		# by the name of the volume
THIN=0

# A pool with a new data device, or on POOL_DATA. It should be larger than what is
# written: discarded blocks cannot be used again at once.
new_pool() # NAME MIBYTES BLOCK [FEATURE...]
{
	local meta meta_file view data=${POOL_DATA:-} features=

	need_target thin-pool && new_loop meta 4M &&
		attach_loop view "$meta_file" 512 readonly || return
	[ -n "$data" ] || new_loop data "$2M" || return
	[ $# -le 3 ] || features=" $(($# - 3)) ${*:4}"
	new_dm "$1" "0 $(($2 * 2048)) thin-pool $meta $data $3 0$features"
	POOL_VIEW[$1]=$view
	POOL_BLOCK[$1]=$3
}

# A volume, which goes with the pool.
new_thin() # VARIABLE POOL MIBYTES
{
	must_dm message "$2" "create_thin $((++THIN))" &&
		new_dm "$1" "0 $(($3 * 2048)) thin $ZM_DEV/$2 $THIN" || return
	printf -v "$1" '%s' "$ZM_DEV/$1"
	THIN_ID[$1]=$THIN
	THIN_POOL[$1]=$2
}

mapped() # NAME: sectors that a volume occupies
{
	local sectors

	dm status "$1"
	read -r _ _ _ sectors _ <<< "$ZM_ANSWER"
	printf '%s' "$sectors"
}

# Adds the extents of volumes to EXTENTS, a first sector and a number in each
# line. What a pool says of itself with nothing in flight is all on its metadata
# device, which can be read by another name.
add_extents() # NAME...
{
	local name pool

	for name; do
		pool=${THIN_POOL[$name]}
		dm status "$pool"
		run thin_dump "${POOL_VIEW[$pool]}" || return
		EXTENTS+=$(awk -F '"' -v id="${THIN_ID[$name]}" \
			-v block="${POOL_BLOCK[$pool]}" '
			/<device /		{ ours = $2 == id }
			ours && /<single_/	{ print $2 * block, block }
			ours && /<range_/	{ print $2 * block, $6 * block }' \
			<<< "$ZM_SAID")$'\n'
	done
}

# Joins extents after they have been rounded to multiples of UNIT.
join() # UNIT
{
	sort -n <<< "$EXTENTS" | awk -v unit="$1" '
		function show() { if (end) print start, end - start }
		NF {
			from = int($1 / unit) * unit
			to = int(($1 + $2 + unit - 1) / unit) * unit
			if (!end || from > end) {
				show()
				start = from
				end = to
			} else if (to > end) {
				end = to
			}
		}
		END { show() }'
}

# The bound for the destination: where the source has nothing in a region, and in
# what the pool allocates around it, the destination has nothing.
expect_thin() # WHEN
{
	local unit=${POOL_BLOCK[${THIN_POOL[dst]}]} source got most EXTENTS=

	[ "$unit" -ge "$REGION" ] || unit=$REGION
	got=$(mapped dst)
	source=$(mapped src)
	add_extents src || return
	most=$(join "$unit" | awk '{ sum += $2 } END { print sum + 0 }')
	ktap_print_msg "$1: KiB of the source $((source / 2))," \
		"of the destination $((got / 2)), at most $((most / 2))"
	expect_ge "what the source touches, $1" "$most" "$source"
	expect_le "what the destination occupies, $1" "$got" "$most"
}

# Two volumes of the same size in two pools.
new_thin_legs() # MIBYTES SOURCE_BLOCK DESTINATION_BLOCK
{
	new_pool a $(($1 + 32)) "$2" && new_thin src a "$1" &&
		new_pool b $(($1 + 32)) "$3" && new_thin dst b "$1"
}

# Where both volumes have nothing, both read as zeroes.
settled()
{
	local start length EXTENTS=

	wait_sync m || return
	if command -v thin_dump > /dev/null; then
		add_extents src dst || return
	else
		EXTENTS="0 $(sectors_of "$src")"
	fi
	while read -r start length; do
		[ -z "$start" ] ||
			expect_equal "$src" "$start" "$dst" "$start" "$length"
	done <<< "$(join 1)"
}

# ---------------------------------------------------------------------------
# File systems
# ---------------------------------------------------------------------------

need_fs() # FS
{
	need_program "mkfs.$1" fstrim && need_module "$1"
}

mount_fs() # DEVICE [OPTIONS]
{
	mkdir "$ZM_DIR/fs"
	undo rmdir "$ZM_DIR/fs"
	undo unmount_fs
	run mount ${2:+-o "$2"} "$1" "$ZM_DIR/fs"
}

unmount_fs()
{
	! grep -q " $ZM_DIR/fs " /proc/mounts || run umount "$ZM_DIR/fs"
}

# The destination starts with data in it.
t_life() # FS MIBYTES SOURCE_BLOCK DESTINATION_BLOCK
{
	local src dst fs=$ZM_DIR/fs

	need_fs "$1" && need_program thin_dump && new_thin_legs "${@:2}" || return
	must copy "$DATA" "$dst" 1048576
	new_mirror m "$src" 0 "$dst" 0 "$REGION" discard_zeroes && wait_sync m ||
		return
	expect_eq "sectors of an empty destination" "$(mapped dst)" 0

	make_fs "$1" "$ZM_DEV/m" && mount_fs "$ZM_DEV/m" || return
	run split -a 3 -b 200K "$DATA" "$fs/s"
	run cp "$DATA" "$fs/large"
	run sync -f "$fs"
	rm "$fs"/s??[a-m]
	run cp "$DATA" "$fs/other"
	rm "$fs/large"
	run sync -f "$fs"
	run fstrim "$fs"
	wait_sync m
	expect_thin "used and trimmed"
	while cat "$DATA" >> "$fs/full" 2> /dev/null; do :; done
	run sync -f "$fs"
	expect_thin "filled"
	expect_ge "sectors of the source, filled" "$(mapped src)" $(($2 * 1800))
	rm "$fs/full" "$fs"/s*
	run sync -f "$fs"
	run fstrim "$fs"
	unmount_fs
	settled
	expect_thin "emptied and trimmed"
}
zm_test "life of ext4 on thin volumes" t_life ext4 192 128 128
zm_test "life of XFS on thin volumes, the destination's blocks are larger" \
	t_life xfs 300 128 512

t_mkfs() # FS MIBYTES FEATURE...
{
	local src dst alone most

	need_program "mkfs.$1" && new_pool a $(($2 * 2)) 128 &&
		new_thin alone a "$2" && new_thin src a "$2" &&
		new_thin dst a "$2" || return
	make_fs "$1" "$alone" || return
	new_mirror m "$src" 0 "$dst" 0 "$REGION" "${@:3}" && wait_sync m || return
	expect_eq "sectors of the destination before" "$(mapped dst)" 0
	make_fs "$1" "$ZM_DEV/m" || return
	wait_sync m
	ktap_print_msg "KiB alone: $(($(mapped alone) / 2)), of the source:" \
		"$(($(mapped src) / 2)), of the destination: $(($(mapped dst) / 2))"
	most=$(($(mapped alone) * 105 / 100))
	expect_le "sectors of the destination" "$(mapped dst)" "$most"
	expect_ge "sectors of the destination" "$(mapped dst)" 1
}
zm_test "mkfs.ext4 on a destination of zeroes" t_mkfs ext4 128 dest_zeroed
zm_test "mkfs.xfs on a destination of zeroes" t_mkfs xfs 300 dest_zeroed
zm_test "mkfs.btrfs on a destination of zeroes" t_mkfs btrfs 128 dest_zeroed
zm_test "mkfs.ext4 on a destination zeroed by discards" t_mkfs ext4 128 \
	dest_zeroed discard_zeroes

# ---------------------------------------------------------------------------
# Stale data
# ---------------------------------------------------------------------------

# What is listed reads as zero on the destination.
expect_listed() # REGION WHEN
{
	local range ranges

	run dmsetup message "$ZM_ID-m" 0 list zero || return
	IFS=, read -r -a ranges <<< "$ZM_SAID"
	for range in "${ranges[@]}"; do
		[ "$range" != none ] || return 0
		expect_zero "$dst" $((${range%-*} * $1)) \
			$(((${range#*-} - ${range%-*} + 1) * $1)) ||
			{ wrong "regions $range are listed as zero, $2"; return; }
	done
}

# Requests at random, most of which leave a part of some block or region.
random_requests() # NUMBER MIBYTES BLOCK
{
	local i first kinds=(write write dsync zeroes punch discard discard)
	local most=$(($2 * 2048))

	REQUESTS=()
	for ((i = 0; i < $1; i++)); do
		first=$(((RANDOM << 15 | RANDOM) % (most - 2048)))
		REQUESTS+=("${kinds[RANDOM % 7]}:$((first * 512)):$(((RANDOM % 1500 + 1) * 512))")
		# Whole blocks, then a part of one.
		[ $((i % 6)) -eq 0 ] || continue
		first=$((first / $3 * $3))
		REQUESTS+=("discard:$((first * 512)):$(($3 * 512))"
			   "write:$(((first + 8) * 512)):4096")
	done
}

t_stale() # BLOCK REGION
{
	local src dst data mib=8 round

	new_loop data 12M && must copy "$STALE" "$data" 1048576 || return
	POOL_DATA=$data new_pool a 12 "$1" skip_block_zeroing \
		no_discard_passdown && new_thin dst a "$mib" &&
		new_loop src "${mib}M" || return
	RANDOM=${ZM_SEED:-1}
	must fill "$src" $(($2 * 512)) 3
	new_mirror m "$src" 0 "$dst" 0 "$2" && wait_sync m || return
	expect_ge "regions known to be zero" "${ZM_ST[zero]}" 8
	expect_listed "$2" "at first"
	for round in 1 2; do
		random_requests 25 "$mib" "$1"
		must io "$ZM_DEV/m" "${REQUESTS[@]}"
		wait_sync m
		expect_equal "$src" 0 "$dst" 0 $((mib * 2048))
		expect_listed "$2" "in round $round"
		message m pause
		random_requests 25 "$mib" "$1"
		must io "$ZM_DEV/m" "${REQUESTS[@]}"
		expect_listed "$2" "paused in round $round"
		message m resume
	done
	wait_sync m
	expect_equal "$src" 0 "$dst" 0 $((mib * 2048))
}
zm_test "stale data, blocks as large as regions" t_stale 128 128
zm_test "stale data, blocks larger than regions" t_stale 512 64
zm_test "stale data, blocks of 192 KiB" t_stale 384 128
zm_test "stale data, blocks smaller than regions" t_stale 128 1024

# ---------------------------------------------------------------------------
# Discards
# ---------------------------------------------------------------------------

t_discard() # DISCARD
{
	local src dst mib=64 written=$((DATA_MIB * 2048)) read

	new_thin_legs "$mib" 128 128 || return
	new_mirror m "$src" 0 "$dst" 0 "$REGION" dest_zeroed discard_zeroes \
		"discard:$1" && wait_sync m || return
	must copy "$DATA" "$ZM_DEV/m" 1048576
	expect_eq "sectors of the source" "$(mapped src)" "$written"
	expect_eq "sectors of the destination" "$(mapped dst)" "$written"
	status_of m
	read=${ZM_ST[read]}
	"discard_$1"
}

# Resync has read at most the device once since the last look, and the heads of
# regions twice.
expect_read_once() # WHAT
{
	status_of m
	expect_le "sectors read after $1" $((ZM_ST[read] - read)) \
		$((mib * 2048 * 107 / 100))
	read=${ZM_ST[read]}
}

discard_exact()
{
	local fs=$ZM_DIR/fs before

	run blkdiscard "$ZM_DEV/m"
	wait_sync m
	# Where the destination is known to be zero, it is left alone.
	expect_eq "sectors discarded" "${ZM_ST[discarded]}" "$written"
	expect_eq "sectors of the source after blkdiscard" "$(mapped src)" 0
	expect_eq "sectors of the destination after blkdiscard" "$(mapped dst)" 0
	expect_read_once blkdiscard

	# Nothing is to be allocated behind the test's back.
	need_fs ext4 && make_fs ext4 "$ZM_DEV/m" &&
		mount_fs "$ZM_DEV/m" noinit_itable || return
	run cp "$DATA" "$fs/1"
	run cp "$DATA" "$fs/2"
	rm "$fs/1"
	run sync -f "$fs"
	wait_sync m
	read=${ZM_ST[read]}
	before=$(mapped src)
	run fstrim "$fs"
	unmount_fs
	settled
	expect_read_once fstrim
	expect_le "sectors of the source after fstrim" "$(mapped src)" \
		$((before - (DATA_MIB - 2) * 2048))
	expect_le "sectors of the destination after fstrim" "$(mapped dst)" \
		"$(mapped src)"
}

discard_pass()
{
	run blkdiscard "$ZM_DEV/m"
	status_of m
	expect_eq "state" "${ZM_ST[state]}" in_sync
	expect_eq "dirty regions" "${ZM_ST[dirty]}" 0
	expect_eq "sectors discarded" "${ZM_ST[discarded]}" $((mib * 2048))
	expect_eq "sectors of the source after blkdiscard" "$(mapped src)" 0
	expect_eq "sectors of the destination after blkdiscard" "$(mapped dst)" 0
	must io "$ZM_DEV/m" write:4096:4096 write:1048576:1048576
	settled
	expect_eq "sectors read" "${ZM_ST[read]}" "$read"
}

discard_ignore()
{
	local most

	read -r most < "/sys/class/block/$(disk_of "$ZM_DEV/m")/queue/discard_max_bytes"
	expect_eq "what can be discarded" "$most" 0
	run_fails blkdiscard "$ZM_DEV/m"
	expect_eq "sectors of the source" "$(mapped src)" "$written"
	expect_eq "sectors of the destination" "$(mapped dst)" "$written"
	status_of m
	expect_eq "sectors discarded" "${ZM_ST[discarded]}" 0
	expect_eq "dirty regions" "${ZM_ST[dirty]}" 0
}

for how in exact pass ignore; do
	zm_test "discard:$how" t_discard $how
done

zm_run
