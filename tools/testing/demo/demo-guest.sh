#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# The demo, inside the guest: a device of 1 GiB, with a file system that is in
# use, is mirrored to a sparse file; then dm-mirror does the same.
set -uo pipefail
source='' dest='' other=''	# loop devices, set by new_device
mirror=''			# the mirror's device

size_mib=1024
data_mib=96
fio_mib=48
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
	device=$(losetup --find --show "$2") || die "no loop device for $2"
	printf -v "$1" '%s' "$device"
}

# MiB written to a device so far; zeroings count as writes here.
written() # DEVICE
{
	local -a stat

	read -ra stat <"/sys/class/block/${1##*/}/stat"
	echo $((stat[6] / 2048))
}

allocated() # FILE: MiB
{
	echo $(($(stat -c %b "$1") / 2048))
}

# MiB of a file in those pieces of 64 KiB, a region each, that hold data.
data() # FILE
{
	python3 - "$1" <<-'END'
	import sys

	pieces = 0
	zeroes = bytes(65536)
	with open(sys.argv[1], "rb", buffering=0) as file:
	    while piece := file.read(65536):
	        pieces += piece != zeroes
	print(pieces // 16)
	END
}

# The mirror's status, as an array, and its figures by name.
declare -a status
declare -A figure
read_status()
{
	local word

	read -ra status <<<"$(dm status demo)"
	[ ${#status[@]} -gt 8 ] || die "the mirror has no status"
	for word in "${status[@]:8}"; do
		figure[${word%:*}]=${word#*:}
	done
}

# One line, drawn again and again on a terminal, now and then elsewhere.
shown=-10
progress() # DONE TOTAL REMARK
{
	local percent=$(($1 * 100 / $2)) width=$((columns - 62)) full bar

	[ "$width" -le 40 ] || width=40
	[ "$width" -ge 10 ] || width=10
	full=$((percent * width / 100))
	printf -v bar '%*s' "$full" ''
	bar=${bar// /#}
	while [ ${#bar} -lt "$width" ]; do
		bar+=.
	done
	if [ "$tty" = yes ]; then
		printf '\r  [%s] %3d %%  %-46s' "$bar" "$percent" "$3"
	elif [ $((SECONDS - shown)) -ge 3 ] || [ "$1" = "$2" ]; then
		shown=$SECONDS
		printf '  [%s] %3d %%  %s\n' "$bar" "$percent" "$3"
	fi
}

# Ends well when the mirror is in sync, or fails after some minutes.
watch_resync()
{
	local deadline=$((SECONDS + 300)) remark

	while :; do
		read_status
		printf -v remark '%d MiB copied, %d skipped; %d written meanwhile' \
			$((figure[copied] / 2048)) $((figure[skipped] / 2048)) \
			$(($(written "$mirror") - mounted))
		progress "${status[3]%/*}" "${status[3]#*/}" "$remark"
		case "${status[5]}" in
		in_sync) break ;;
		stopped) die "an error has stopped resync: ${status[*]}" ;;
		esac
		[ $SECONDS -lt $deadline ] || die "resync does not end"
		sleep 0.2
	done
	[ "$tty" = no ] || echo
}

# The mirror's devices are closed first, so the files have it all.
compare() # FILE
{
	cmp "$dir/source" "$1" >"$log" 2>&1 ||
		die "the source and ${1##*/} differ"
}

mkdir -p "$dir/mnt"
quiet modprobe loop
quiet modprobe dm-mirror
new_device source "$dir/source"
new_device dest "$dir/dest"
new_device other "$dir/other"

echo "Source: $size_mib MiB, with an ext4 file system and $data_mib MiB of files."
quiet mkfs.ext4 -q "$source"
quiet mount "$source" "$dir/mnt"
quiet dd if=/dev/urandom of="$dir/mnt/files" bs=1M count=$data_mib
quiet umount "$dir/mnt"
before=$(written "$dest")

echo "Destination: $size_mib MiB, a sparse file. The mirror is created over the two,"
echo "and the file system is mounted again, on the mirror:"
echo
line="0 $sectors zmirror $source 0 $dest 0 0 2 dest_zeroed paused"
echo "  # dmsetup create demo --table \\"
echo "      '$line'"
echo "  # mount /dev/mapper/demo /mnt"
echo
if ! dm create demo --table "$line" >"$log" 2>&1; then
	dmesg | grep 'device-mapper: ' | tail -n 2 >>"$log"
	die "the mirror cannot be created"
fi
quiet dm mknodes
mirror=/dev/dm-$(dm info --columns --noheadings -o minor demo)
quiet mount /dev/mapper/demo "$dir/mnt"
mounted=$(written "$mirror")

echo "fio writes to a file there, and reads back what it wrote, while resync runs:"
fio --name=demo --filename="$dir/mnt/fio" --size=${fio_mib}m --rw=randwrite \
	--bsrange=4k-64k --direct=1 --ioengine=libaio --iodepth=8 \
	--verify=crc32c --verify_fatal=1 --output-format=terse \
	>"$dir/fio" 2>"$dir/fio.errors" </dev/null &
fio=$!
until [ "$(written "$mirror")" -gt "$mounted" ] || ! kill -0 $fio 2>/dev/null; do
	sleep 0.1
done
quiet dm message demo 0 resume
begin=$SECONDS
watch_resync
took=$((SECONDS - begin))
still='had ended by then'
! kill -0 $fio 2>/dev/null || still='went on after it'
wait $fio || { cp "$dir/fio.errors" "$log"; die "fio found an error"; }
echo "fio $still: $(awk -F ';' '{
	printf "%d MiB written, %d MiB read back and verified, no error",
	$47 / 1024, $6 / 1024 }' "$dir/fio")."

quiet umount "$dir/mnt"
tty=no watch_resync >/dev/null
ours=$(($(written "$dest") - before))
quiet dm remove demo
quiet losetup -d "$dest"
echo "The file system is unmounted; the two are compared, byte for byte:"
compare "$dir/dest"
echo "  they are equal."

# Its regions are of 1 MiB, which make it faster than small ones.
echo "The same source, to another sparse file, by dm-mirror, with nothing beside it:"
before=$(written "$other")
quiet dm create peer --table "0 $sectors mirror core 1 2048 2 $source 0 $other 0"
begin=$SECONDS
while :; do
	IFS=/ read -r now all <<<"$(dm status peer | awk '{ print $7 }')"
	progress "$now" "$all" "$now MiB copied"
	[ "$now" != "$all" ] || break
	[ $((SECONDS - begin)) -lt 300 ] || die "dm-mirror does not end"
	sleep 0.2
done
[ "$tty" = no ] || echo
peer_took=$((SECONDS - begin))
theirs=$(($(written "$other") - before))
quiet dm remove peer
quiet losetup -d "$other"
compare "$dir/other"

has=$(data "$dir/source")
row()
{
	printf '  %-38s %10s %10s\n' "$@"
}
echo
row "MiB of $size_mib" "zmirror" "dm-mirror"
row "data on the source" "$has" "$has"
row "copied by resync" "$((figure[copied] / 2048))" "$all"
row "skipped by resync, being zero" "$((figure[skipped] / 2048))" "0"
row "written to the destination in all" "$ours" "$theirs"
row "allocated there" "$(allocated "$dir/dest")" "$(allocated "$dir/other")"
row "seconds until in sync" "$took" "$peer_took"
echo
