#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# What profile.sh counts, inside the guest: profile-guest.sh DIRECTORY
set -euo pipefail

dir=$1
size_mib=256
sectors=$((size_mib * 2048))
modprobe null_blk nr_devices=0
for leg in src dst; do
	null=/sys/kernel/config/nullb/$leg
	mkdir "$null"
	for setting in size=$size_mib blocksize=512 completion_nsec=0 irqmode=0 \
		       memory_backed=1 power=1; do
		echo "${setting#*=}" > "$null/${setting%%=*}"
	done
	# Memory is allocated at the first write.
	dd if=/dev/urandom of="/dev/$leg" bs=1M count=$size_mib oflag=direct \
		status=none
done
dmsetup create linear --table "0 $sectors linear /dev/src 0"
dmsetup create zmirror --table \
	"0 $sectors zmirror /dev/src 0 /dev/dst 0 128 1 nosync"
dmsetup mknodes
cat /proc/kallsyms > "$dir/symbols"
cp "$dir/zm-bench" /tmp
dmesg -n 1

writes() # DEVICE COUNT
{
	fio --name=w --filename="/dev/mapper/$1" --rw=randwrite --bs=4k \
		--iodepth=16 --ioengine=libaio --direct=1 --size=${size_mib}m \
		--number_ios="$2" > /dev/null
}

# What fio does besides is the same in both, and left out by the difference.
for device in linear zmirror; do
	writes $device 3000
	for count in 10000 20000; do
		/tmp/zm-bench mark 0
		writes $device $count
		/tmp/zm-bench mark 1
	done
done
