#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# The packages where the kernel runs that they are for, which is in a guest:
# packages-guest.sh VERSION HIGHER-VERSION. VERSION is installed already.
set -uo pipefail

# shellcheck source=packages-lib.sh
. "$(dirname "$0")/packages-lib.sh"
new=$2
mib=256
source='' dest=''	# loop devices, set by new_device

module_loads()
{
	modprobe dm-zmirror && dmsetup targets | grep '^zmirror '
}

module_unloads()
{
	modprobe -r dm-zmirror
}

doctor_is_well() # WHAT IT SAYS OF THE MODULE
{
	zmirror doctor >"$dir/doctor" || { cat "$dir/doctor"; return 1; }
	cat "$dir/doctor"
	! grep '^missing' "$dir/doctor" && grep "^ok  .*$1" "$dir/doctor"
}

# What is new is loaded: the file and the kernel agree on its build.
loaded_is_installed()
{
	expect "srcversion" "$(cat /sys/module/dm_zmirror/srcversion)" \
		"$(modinfo -F srcversion dm-zmirror)"
}

new_loop() # VARIABLE FILE
{
	local device

	truncate -s "${mib}M" "$2" && device=$(losetup --find --show "$2") &&
		printf -v "$1" '%s' "$device"
}

# A device in use, with data in one MiB of so many, and a sparse destination.
new_device() # HOW MANY
{
	local i

	rm -f "$dir"/{source,dest,wanted}
	for ((i = 0; i < mib; i += $1)); do
		dd if=/dev/urandom of="$dir/source" bs=1M count=1 seek="$i" \
			conv=notrunc status=none || return
	done
	new_loop source "$dir/source" && new_loop dest "$dir/dest" &&
		cp "$dir/source" "$dir/wanted" &&
		dmsetup create data --table "0 $((mib * 2048)) linear $source 0"
}

# The device is on the destination alone, which has what it is to have, and is
# about as sparse as the source.
moved()
{
	local number

	number=$(lsblk -n -d -o MAJ:MIN "$dest" | tr -d ' ')
	expect "table" "$(dmsetup table data)" \
		"0 $((mib * 2048)) linear $number 0" || return
	cmp /dev/mapper/data "$dir/wanted" || return
	dmsetup remove data && losetup -d "$source" "$dest" &&
		cmp "$dir/dest" "$dir/wanted" || return
	echo "$(stat -c %b "$dir/dest") of $((mib * 2048)) sectors allocated"
	[ "$(stat -c %b "$dir/dest")" -lt $((mib * 2048 / 2)) ]
}

migrate()
{
	new_device 8 && zmirror migrate data "$dest" --dest-is-zero && moved
}

# Writes to the first eighth of the device, and the same to a file, until it is
# told to end.
write_on()
{
	local i at

	for ((i = 0; ; i++)); do
		[ ! -e "$dir/enough" ] || return 0
		at=$((i * 37 % (mib * 2)))
		dd if=/dev/urandom of="$dir/piece" bs=64k count=1 status=none &&
			dd if="$dir/piece" of="$dir/wanted" bs=64k status=none \
				seek=$at conv=notrunc &&
			dd if="$dir/piece" of=/dev/mapper/data bs=64k status=none \
				seek=$at conv=notrunc oflag=direct || return
		echo "$i" >"$dir/written"
		sleep 0.5
	done
}

# As slow as it takes to be under way all along: the upgrade compiles the module, for
# minutes here, and 86 MiB would take 23 of them.
start_live()
{
	new_device 3 && zmirror start data "$dest" --dest-is-zero --set rate:64 ||
		return
	write_on >"$dir/writer" 2>&1 &
	writer=$!
}

written()
{
	cat "$dir/written" 2>/dev/null || echo 0
}

goes_on() # WRITTEN BEFORE
{
	echo "pieces written: $1 before, $(written) now"
	dmsetup status data
	dmsetup status data | grep -q ' resync AA ' && kill -0 "$writer" &&
		[ "$(written)" -gt "$1" ]
}

finish_live()
{
	local status=0

	zmirror set data rate 0 && zmirror migrate data "$dest" || return
	touch "$dir/enough"
	wait "$writer" || status=$?
	cat "$dir/writer"
	expect "writer" "$status" 0 && moved
}

modprobe loop
touch "$dir/stamp"
check "doctor finds a module that is not loaded" \
	doctor_is_well "which is loaded when it is needed"
check "a mirror loads it, and a device is migrated" migrate
check "doctor finds it loaded" doctor_is_well "the target zmirror .* loaded"
check "modprobe unloads it" module_unloads
check "modprobe loads it" module_loads

check "a mirror is begun, with a writer on it" start_live
before=$(written)
check "both packages are upgraded meanwhile" install_packages "$new"
check "the mirror goes on, and so does the writer" goes_on "$before"
check "DKMS has built the new module, and forgotten the old one" \
	module_is_built "$new"
check "the tool is the new one" tool_is "$new"
check "which brings the mirror to its end, with all that was written" finish_live
check "the old module is unloaded" module_unloads
check "the new one is loaded" module_loads
check "it is what is installed" loaded_is_installed
check "both are removed, though the module is loaded" remove_packages
check "it can still be unloaded" rmmod dm-zmirror

no_failure
