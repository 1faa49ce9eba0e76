# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# What the tests of the command zmirror share, beside dm-zmirror-lib.sh: groups and
# volumes of LVM's on loop devices, and applications that write.

# The command, which must succeed; what it says is in ZM_SAID.
zmirror()
{
	run "$ZMIRROR" "$@" || return
	ktap_print_msg "zmirror $*: $ZM_SAID"
}

quietly() # VERB [WORD...]
{
	run "$ZMIRROR" "$@"
}

has_stopped() # PID
{
	[[ $(cat "/proc/$1/stat") == *') T '* ]]
}

# The command, in the background, until it stops at a point; its number is in ZM_PID, and
# what it says in a file.
stop_at() # POINT VERB [WORD...]
{
	ZMIRROR_FAULT=$1:stop "$ZMIRROR" "${@:2}" > "$ZM_DIR/said" 2>&1 &
	ZM_PID=$!
	wait_until "the command has stopped" 20 has_stopped "$ZM_PID"
}

numbers_of() # DISK, as a table has them
{
	local number

	read -r number < "/sys/class/block/${1##*/}/dev"
	printf '%s' "$number"
}

# ---------------------------------------------------------------------------
# LVM, which sees the disks of this test alone and leaves udev out
# ---------------------------------------------------------------------------

ZM_DISKS=()

configure_lvm()
{
	local disk accept=

	for disk in "${ZM_DISKS[@]}"; do
		accept+="\"a|^$disk\$|\", "
	done
	cat > "$LVM_SYSTEM_DIR/lvm.conf" <<-END
	devices {
		dir = "/dev"
		scan = [ "/dev" ]
		obtain_device_list_from_udev = 0
		use_devicesfile = 0
		types = [ "zram", 1 ]
		global_filter = [ $accept"r|.*|" ]
		scan_lvs = ${SCAN_LVS:-0}
	}
	activation {
		udev_sync = ${LVM_UDEV:-0}
		udev_rules = ${LVM_UDEV:-0}
		monitoring = 0
		${LVM_VOLUMES:+volume_list = [ $LVM_VOLUMES ]}
	}
	global {
		event_activation = 0
		use_lvmpolld = 0
	}
	backup {
		backup = 0
		archive = 0
	}
	END
}

need_lvm()
{
	need_program lvm && need_target thin-pool && need_target snapshot || return
	export LVM_SYSTEM_DIR=$ZM_DIR/lvm LVM_SUPPRESS_FD_WARNINGS=1
	run mkdir -p "$LVM_SYSTEM_DIR"
	undo rm -rf "$LVM_SYSTEM_DIR"
	configure_lvm
}

# A volume that was moved is still on the other one, which can go after it only.
drop_group() # GROUP
{
	lvm vgchange -q -an "$1" > /dev/null 2>&1 ||
		lvm vgchange -q -an "$1" > /dev/null 2>&1
	run lvm vgremove -q -y -f "$1" || return

	# Links to volumes that were renamed while they were active.
	[ ! -d "/dev/$1" ] || rm -r "/dev/${1:?}"
}

# A group on a disk, by its path.
new_group_on() # GROUP DISK
{
	ZM_DISKS+=("$2")
	configure_lvm
	run lvm vgcreate -q -s 1M "$1" "$2" || return
	undo drop_group "$1"
}

new_group() # GROUP SIZE
{
	local disk

	new_loop disk "$2" && new_group_on "$1" "$disk"
}

drop_zram() # NUMBER
{
	echo 1 > "/sys/block/zram$1/reset" && echo "$1" > /sys/class/zram-control/hot_remove
}

# A disk in memory that takes none for pages that are the same all over.
new_zram() # VARIABLE MIBYTES
{
	local number

	need_module zram || return
	read -r number < /sys/class/zram-control/hot_add ||
		{ skip "there is no further zram"; return 1; }
	undo drop_zram "$number"
	echo "$2M" > "/sys/block/zram$number/disksize" || { wrong "no zram"; return 1; }
	new_disk "$1" "/dev/zram$number"
}

# A pool of that many MiB, named pool, with blocks of KiB.
new_lv_pool() # GROUP MIBYTES BLOCK
{
	run lvm lvcreate -q -y -T -L "$2M" -c "$3K" --poolmetadatasize 16M "$1/pool"
}

new_lv_thin() # GROUP VOLUME SIZE
{
	run lvm lvcreate -q -y -W n -V "$3" -T "$1/pool" -n "$2"
}

new_lv_linear() # GROUP VOLUME SIZE
{
	run lvm lvcreate -q -y -W n -Z n -L "$3" -n "$2" "$1"
}

# Device-mapper's name of a volume, which has every dash twice.
lv_name() # GROUP VOLUME
{
	printf '%s-%s' "${1//-/--}" "${2//-/--}"
}

lv_path() # GROUP VOLUME
{
	printf '/dev/mapper/%s' "$(lv_name "$1" "$2")"
}

lv_is() # GROUP VOLUME FIELD: without blanks
{
	local said

	said=$(lvm lvs --noheadings -o "$3" "$1/$2" 2> /dev/null)
	printf '%s' "${said//[[:space:]]/}"
}

# A file system stays mounted, whatever becomes of the device under it.
mount_lv() # DEVICE DIRECTORY [OPTIONS]
{
	run mkdir -p "$2"
	undo rmdir "$2"
	run mount ${3:+-o "$3"} "$1" "$2" || return
	undo unmount_lv "$2"
}

unmount_lv() # DIRECTORY
{
	! grep -q " $1 " /proc/mounts || run umount "$1"
}

# ---------------------------------------------------------------------------
# Applications
# ---------------------------------------------------------------------------

# In a directory: fio with verify, a database, and writes that are timed.
start_applications() # DIRECTORY
{
	APPLICATIONS=$1
	rm -f "$ZM_DIR/stop" "$ZM_DIR"/application.*
	python3 "$ZM_LIB_DIR/zm-writers.py" rows "$1/database" "$ZM_DIR/stop" \
		> "$ZM_DIR/application.rows" 2>&1 &
	ROWS_PID=$!
	python3 "$ZM_LIB_DIR/zm-writers.py" gaps "$1/gaps" "$ZM_DIR/stop" \
		"$ZM_DIR/application.log" > "$ZM_DIR/application.gaps" 2>&1 &
	GAPS_PID=$!
	until [ -e "$ZM_DIR/stop" ]; do
		fio --name=verify --directory="$1" --size=8M --direct=1 \
			--ioengine=libaio --iodepth=4 --rw=randwrite --bs=4k-64k \
			--rate_iops=150 --verify=crc32c --verify_fatal=1 \
			--verify_state_save=0 --thread --output-format=terse || break
	done > "$ZM_DIR/application.fio" 2>&1 &
	FIO_PID=$!
}

# They have not seen an error.
stop_applications()
{
	run touch "$ZM_DIR/stop"
	finish "$ROWS_PID" 60 "the database" ||
		ktap_print_msg "$(tail -n 3 "$ZM_DIR/application.rows")"
	finish "$GAPS_PID" 60 "the writer" ||
		ktap_print_msg "$(tail -n 3 "$ZM_DIR/application.gaps")"
	finish "$FIO_PID" 120 "fio with verify" ||
		ktap_print_msg "$(tail -n 5 "$ZM_DIR/application.fio")"
	! grep -q -E '^fio: |verify: ' "$ZM_DIR/application.fio" ||
		wrong "fio says: $(grep -m 3 -E '^fio: |verify: ' "$ZM_DIR/application.fio")"
	read -r ROWS < "$ZM_DIR/application.rows"
	ktap_print_msg "$ROWS transactions, $(cat "$ZM_DIR/application.gaps") timed writes"
	expect_ge "transactions" "$ROWS" 10
	run python3 "$ZM_LIB_DIR/zm-writers.py" check "$APPLICATIONS/database" "$ROWS"
	expect_eq "what is wrong with the database" "$ZM_SAID" ""
}

# The longest of the timed writes that were under way after a moment, in microseconds.
longest_gap() # SINCE
{
	awk -v since="$1" '$1 + $2 >= since && $2 > most { most = $2 }
		END { print most + 0 }' "$ZM_DIR/application.log"
}

now()
{
	printf '%s' "${EPOCHREALTIME/./}"
}
