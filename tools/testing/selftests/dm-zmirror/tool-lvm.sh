#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# A volume of LVM's with a mounted file system is moved to a thin volume in another group
# by one command, while applications write: they see no error and no pause to speak of,
# both places have the same content, and the new place occupies what the old one did.

# shellcheck source=dm-zmirror-lib.sh
. "$(dirname "$0")/dm-zmirror-lib.sh"
# shellcheck source=tool-lib.sh
. "$(dirname "$0")/tool-lib.sh"

OLD=$ZM_ID-old		# the groups; both names have a dash
NEW=$ZM_ID-new
FS_DIR=			# set when ZM_DIR is

# How long a write may have to wait, in microseconds. In a guest whose clock counts
# instructions that is the bar; elsewhere time passes that is not the guest's.
MOST_PAUSE=${ZM_EXACT:+100000}

expect_pause() # WHEN SINCE
{
	local gap

	rest 0.2
	gap=$(longest_gap "$2")
	ktap_print_msg "the longest write $1 took $((gap / 1000)) ms"
	[ -z "$MOST_PAUSE" ] || expect_le "microseconds of a write $1" "$gap" "$MOST_PAUSE"
}

# Files whose sums are known.
fill_fs() # DIRECTORY MIBYTES
{
	local i

	for ((i = 0; i < $2; i++)); do
		run dd if=/dev/urandom of="$1/file$i" bs=1M count=1 status=none
	done
	run sync -f "$1"
}

sums() # DIRECTORY
{
	(cd "$1" && md5sum file*)
}

new_places() # KIND SIZE
{
	FS_DIR=$ZM_DIR/fs
	new_group "$OLD" 900M && new_group "$NEW" 900M &&
		new_lv_pool "$NEW" 700 64 && new_lv_thin "$NEW" data-2 "$2" || return
	if [ "$1" = thin ]; then
		new_lv_pool "$OLD" 700 64 && new_lv_thin "$OLD" data "$2"
	else
		new_lv_linear "$OLD" data "$2"
	fi
}

# As LVM has it in Data%, also of a thin volume that LVM does not know.
percent_mapped() # NAME of device-mapper's
{
	run dmsetup status "$1" > /dev/null
	awk 'NF { printf "%.2f", 100 * $4 / $2 }' <<< "$ZM_SAID"
}

# The legs are equal at a moment when nobody writes, and the new place occupies what the
# old one does.
compare_places() # KIND
{
	local old new sectors

	run fsfreeze -f "$FS_DIR" || return
	wait_until "it is in sync" 30 in_sync
	old=$(lv_path "$OLD" data)-zorigin
	new=$(lv_path "$NEW" data-2)
	sectors=$(blockdev --getsz "$new")
	expect_equal "$old" 0 "$new" 0 "$sectors"
	if [ "$1" = thin ]; then
		old=$(percent_mapped "$(lv_name "$OLD" data)-zorigin")
		new=$(percent_mapped "$(lv_name "$NEW" data-2)")
		expect_eq "Data% that LVM tells" "$(lv_is "$NEW" data-2 data_percent)" "$new"
		ktap_print_msg "Data% of the old place $old, of the new one $new"
		# It is less where the old place has zeroes in blocks of its own.
		expect "Data% is more than 2 over what it was" \
			awk -v a="$old" -v b="$new" 'BEGIN { exit !(b - a <= 2) }'
	fi
	run fsfreeze -u "$FS_DIR"
}

in_sync()
{
	[[ $("$ZMIRROR" status --line "$OLD/data") == *state=in_sync* ]]
}

# What LVM knows of is what is there, also after all was deactivated.
expect_moved() # SUMS
{
	expect_eq "the name of the old place" "$(lv_is "$OLD" data_old lv_name)" data_old
	expect_eq "the old name" "$(lv_is "$OLD" data lv_name)" ""
	expect_eq "devices left behind" "$(dmsetup ls | grep -c zorigin)" 0
	unmount_lv "$FS_DIR"
	run lvm vgchange -q -an "$OLD" "$NEW"
	run lvm vgchange -q -ay "$OLD" "$NEW"
	expect_eq "whether the old place is active" \
		"$(lv_is "$OLD" data_old lv_active)" ""
	run fsck -n -f "$(lv_path "$NEW" data-2)"
	mount_lv "$(lv_path "$NEW" data-2)" "$FS_DIR.new" || return
	expect_eq "the sums of the files" "$(sums "$FS_DIR.new")" "$1"
	run python3 "$ZM_LIB_DIR/zm-writers.py" check "$FS_DIR.new/database" "$ROWS"
	expect_eq "what is wrong with the database" "$ZM_SAID" ""
	unmount_lv "$FS_DIR.new"
}

# In two steps, to look at both places in between; or in one.
t_move() # FS KIND SIZE MIBYTES STEPS
{
	local since before

	need_tool && need_lvm && need_fs "$1" || return
	new_places "$2" "$3" && make_fs "$1" "$(lv_path "$OLD" data)" || return
	mount_lv "$(lv_path "$OLD" data)" "$FS_DIR" || return
	fill_fs "$FS_DIR" "$4"
	before=$(sums "$FS_DIR")
	start_applications "$FS_DIR"
	wait_until "the applications write" 30 [ -s "$FS_DIR/database" ]
	rest 1
	since=$(now)
	if [ "$5" = 2 ]; then
		zmirror start "$OLD/data" "$NEW/data-2" || return
		expect_pause "at the start" "$since"
		zmirror wait --timeout 300 "$OLD/data" || return
		compare_places "$2"
		since=$(now)
	fi
	zmirror migrate --lvm "$OLD/data" "$NEW/data-2"
	expect_pause "at the pivot" "$since"
	rest 1
	stop_applications
	expect_moved "$before"
}

need_fs() # FS
{
	need_program "mkfs.$1" fsfreeze && need_module "$1"
}

zm_test "ext4 on a thin volume" t_move ext4 thin 256M 16 2
zm_test "XFS on a thin volume" t_move xfs thin 320M 16 2
zm_test "ext4 on a linear volume, in one step" t_move ext4 linear 128M 16 1

zm_run
