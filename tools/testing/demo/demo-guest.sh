#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# The demo, inside the guest: a file system with some data on a device of 1 GiB
# is used while the device is mirrored to a sparse file.
set -uo pipefail
source='' dest='' other=''	# set by new_device

size_mib=1024
data_mib=96
sectors=$((size_mib * 2048))
tty=${DEMO_TTY:-no}
columns=${DEMO_COLUMNS:-80}
dir=/tmp/demo
log=$dir/log

die()
{
	[ "$tty" = no ] || echo
	echo "demo: $*" >&2
	[ ! -s "$log" ] || tail -n 20 "$log" >&2
	exit 1
}

# Runs what is of no interest unless it fails.
quiet()
{
	"$@" >"$log" 2>&1 </dev/null || die "this failed: $*"
}

dm()
{
	dmsetup --noudevsync --noudevrules "$@" </dev/null
}

new_device() # VARIABLE FILE
{
	local device

	truncate -s "${size_mib}M" "$2" || die "no room for $2"
	device=$(losetup --find --show "$2") || die "no loop device"
	printf -v "$1" '%s' "$device"
}

written() # DEVICE: MiB written to it so far, zeroings not counted
{
	awk '{ printf "%d", $7 / 2048 }' "/sys/block/${1##*/}/stat"
}

allocated() # FILE: MiB
{
	echo $(($(stat -c %b "$1") / 2048))
}

field() # NUMBER: of the mirror's status
{
	dm status demo | awk -v n="$1" '{ print $(n + 3) }'
}

figure() # NAME: of the mirror's status
{
	dm status demo | tr ' ' '\n' | sed -n "s/^$1://p"
}

# One line, drawn again and again on a terminal, now and then elsewhere.
shown=-10
progress() # DONE TOTAL REMARK
{
	local percent=$(($1 * 100 / $2)) width=$((columns - 56)) bar='' i

	[ "$width" -le 40 ] || width=40
	[ "$width" -ge 10 ] || width=10
	for ((i = 0; i < width; i++)); do
		if [ $((i * 100)) -lt $((percent * width)) ]; then
			bar+='#'
		else
			bar+='.'
		fi
	done
	if [ "$tty" = yes ]; then
		printf '\r  [%s] %3d %%  %-42s' "$bar" "$percent" "$3"
	elif [ $((SECONDS - shown)) -ge 3 ] || [ "$1" = "$2" ]; then
		shown=$SECONDS
		printf '  [%s] %3d %%  %s\n' "$bar" "$percent" "$3"
	fi
}

# Ends well when the mirror is in sync, or fails after some minutes.
watch_resync()
{
	local now total state deadline=$((SECONDS + 400))

	while :; do
		IFS=/ read -r now total <<<"$(field 1)"
		state=$(field 3)
		progress "$now" "$total" "$(printf '%s: %d MiB copied, %d skipped' \
			"$state" $(($(figure copied) / 2048)) \
			$(($(figure skipped) / 2048)))"
		[ "$state" != in_sync ] || break
		[ "$state" != stopped ] || die "resync stopped: $(dm status demo)"
		[ $SECONDS -lt $deadline ] || die "resync does not end"
		sleep 0.3
	done
	[ "$tty" = no ] || echo
}

mkdir -p "$dir/mnt"
quiet modprobe loop
quiet modprobe dm-mirror
new_device source "$dir/source"
new_device dest "$dir/dest"
new_device other "$dir/other"

echo "Source: $size_mib MiB with an ext4 file system and $data_mib MiB of files."
quiet mkfs.ext4 -q "$source"
quiet mount "$source" "$dir/mnt"
quiet dd if=/dev/urandom of="$dir/mnt/files" bs=1M count=$data_mib
quiet umount "$dir/mnt"
before=$(written "$dest")

echo "Destination: $size_mib MiB, a sparse file. The mirror is created over them,"
echo "its resync starts, and the file system is mounted on it again:"
line="0 $sectors zmirror $source 0 $dest 0 0 2 dest_zeroed paused"
echo "  # dmsetup create demo --table '$line'"
dm create demo --table "$line" || die "the mirror cannot be created"
quiet dm mknodes
quiet mount /dev/mapper/demo "$dir/mnt"

echo "fio writes to a file there, and reads back what it wrote, while resync runs:"
fio --name=demo --filename="$dir/mnt/fio" --size=48m --rw=randwrite \
	--bsrange=4k-64k --direct=1 --ioengine=libaio --iodepth=8 \
	--verify=crc32c --verify_fatal=1 --output-format=terse \
	>"$dir/fio" 2>"$dir/fio.errors" </dev/null &
fio=$!
sleep 0.5
dm message demo 0 resume || die "resync cannot be started"
begin=$SECONDS
watch_resync
took=$((SECONDS - begin))
wait $fio || { cp "$dir/fio.errors" "$log"; die "fio found an error"; }
echo "fio: $(awk -F ';' '{ printf "%d MiB written, %d MiB read back and verified",
	$47 / 1024, $6 / 1024 }' "$dir/fio"), no error."

quiet umount "$dir/mnt"
watch_resync >/dev/null
skipped=$((($(figure skipped) + $(figure fg_skipped)) / 2048))
quiet dm remove demo
echo "The file system is unmounted; both devices are compared, byte for byte:"
cmp "$source" "$dest" || die "source and destination differ"
echo "  they are equal."
ours=$(($(written "$dest") - before))

echo "The same source, to another sparse file, by dm-mirror:"
before=$(written "$other")
begin=$SECONDS
dm create peer --table "0 $sectors mirror core 1 128 2 $source 0 $other 0" ||
	die "dm-mirror cannot be created"
while :; do
	IFS=/ read -r now all <<<"$(dm status peer | awk '{ print $7 }')"
	progress "$now" "$all" "$((now * 64 / 1024)) MiB copied"
	[ "$now" != "$all" ] || break
	sleep 0.3
done
[ "$tty" = no ] || echo
peer_took=$((SECONDS - begin))
quiet dm remove peer
quiet cmp "$source" "$other"

row()
{
	printf '  %-28s %10s %10s\n' "$@"
}
echo
row "MiB" "zmirror" "dm-mirror"
row "allocated on the source" "$(allocated "$dir/source")" "$(allocated "$dir/source")"
row "written to the destination" "$ours" "$(($(written "$other") - before))"
row "allocated there" "$(allocated "$dir/dest")" "$(allocated "$dir/other")"
row "skipped as zero" "$skipped" "0"
row "seconds of resync" "$took (fio)" "$peer_took (idle)"
echo
