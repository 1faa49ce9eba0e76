#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# The benchmark of zeroes, inside the guest; see zeroes.sh. Prints tables, and
# exits with 1 when a bar is missed.

# shellcheck disable=SC2317 # what copy is told to call
set -euo pipefail

bench=$1
size_mib=256
sectors=$((size_mib * 2048))
rounds=${ZM_ROUNDS:-3}
parts=${ZM_PARTS:-zeroes sparse dense detect}
dir=/tmp/bench
nullb=/sys/kernel/config/nullb
missed=0
rows=()		# of the table of bars
copies=()	# of the table of copies

die()
{
	echo "zeroes-guest.sh: $*" >&2
	exit 1
}

dm()
{
	dmsetup --noudevsync --noudevrules "$@" < /dev/null
}

# What cannot run counts as a miss.
row() # WHAT MIRROR PEER RATIO BAR VERDICT
{
	[ "$6" = ok ] || missed=1
	rows+=("| $1 | $2 | $3 | $4 | $5 | $6 |")
}

ratio() # A B
{
	awk -v a="$1" -v b="$2" 'BEGIN { printf "%.3f", a / b }'
}

holds() # AWK CONDITION
{
	awk "BEGIN { exit !($1) }" && echo ok || echo MISSED
}

# What disturbs a measurement makes it longer, never shorter.
least()
{
	printf '%s\n' "$@" | sort -n | head -n 1
}

ms()
{
	awk -v ns="$1" 'BEGIN { printf "%.1f ms", ns / 1e6 }'
}

per_second()
{
	echo "$((1000000000 / $1))/s"
}

# ---------------------------------------------------------------------------
# Devices
# ---------------------------------------------------------------------------

# A sparse file on tmpfs behind a loop device.
new_loop() # VARIABLE FILE
{
	local device

	truncate -s "${size_mib}M" "$2"
	device=$(losetup --find --show "$2")
	printf -v "$1" '%s' "$device"
}

drop_loop() # DEVICE FILE
{
	losetup --detach "$1"
	rm "$2"
}

new_null() # NAME
{
	local setting

	mkdir "$nullb/$1"
	for setting in size=$size_mib blocksize=512 completion_nsec=0 irqmode=0 \
		       memory_backed=1 discard=1 power=1; do
		echo "${setting#*=}" > "$nullb/$1/${setting%%=*}"
	done
	dmsetup mknodes
}

drop_null() # NAME
{
	echo 0 > "$nullb/$1/power"
	rmdir "$nullb/$1"
}

mirror_line() # SOURCE DESTINATION [FEATURE...]
{
	echo "0 $sectors zmirror $1 0 $2 0 128 $(($# - 2)) ${*:3}"
}

figure() # NAME WORD
{
	local line

	line=$(dm status "$1")
	[[ $line =~ \ $2:([0-9]+) ]] || die "no $2 in: $line"
	echo "${BASH_REMATCH[1]}"
}

# ---------------------------------------------------------------------------
# Zeroes over zeroes
# ---------------------------------------------------------------------------

punches() # DEVICE COUNT
{
	local times=()

	"$bench" punch "$1" 65536 100 > /dev/null
	for ((i = 0; i < rounds; i++)); do
		times+=("$("$bench" punch "$1" 65536 "$2")")
	done
	least "${times[@]}"
}

over_zeroes() # WHAT SOURCE
{
	local dst linear mirror skipped

	new_loop dst "$dir/dst"
	dm create linear --table "0 $sectors linear $2 0"
	dm create mirror --table "$(mirror_line "$2" "$dst" dest_zeroed nosync)"
	linear=$(punches /dev/mapper/linear 4000)
	mirror=$(punches /dev/mapper/mirror 4000)
	# All of them, and no other way, must have been measured.
	skipped=$(figure mirror fg_skipped)
	[ "$skipped" = $(((rounds * 4000 + 100) * 128)) ] ||
		die "$skipped sectors skipped"
	dm remove mirror
	dm remove linear
	drop_loop "$dst" "$dir/dst"
	row "zeroes of 64 KiB over zeroes, $1; dm-linear" \
		"$(per_second "$mirror")" "$(per_second "$linear")" \
		"$(ratio "$linear" "$mirror")" ">= 3.0" \
		"$(holds "$linear / $mirror >= 3.0")"
}

part_zeroes()
{
	local src path try

	new_loop src "$dir/src"
	over_zeroes "loop on tmpfs" "$src"
	drop_loop "$src" "$dir/src"

	src=
	modprobe -a sd_mod
	modprobe scsi_debug dev_size_mb="$size_mib" lbpws=1 lbpu=1 delay=0
	for ((try = 0; try < 50 && ${#src} == 0; try++)); do
		sleep 0.1
		for path in /sys/bus/pseudo/drivers/scsi_debug/adapter*/host*/target*/*/block/*; do
			[ -e "$path" ] && [ "$(cat "$path/size")" = "$sectors" ] &&
				src=/dev/${path##*/}
		done
	done
	[ -b "$src" ] || die "no scsi_debug"
	over_zeroes "scsi_debug" "$src"
	rmmod scsi_debug
}

# ---------------------------------------------------------------------------
# Copies of the whole device, from a null_blk to a sparse file on loop
# ---------------------------------------------------------------------------

# Regions of 64 KiB of random data, one in EVERY, and zeroes in between.
fill() # EVERY
{
	python3 - /dev/src "$1" "$size_mib" <<-'END'
	import os, sys

	every, mib = int(sys.argv[2]), int(sys.argv[3])
	with open(sys.argv[1], "wb", buffering=0) as file:
	    for region in range(mib * 16):
	        file.write(bytes(65536) if region % every else os.urandom(65536))
	    os.fsync(file)
	END
}

copy_dd() # DESTINATION OPTION of dd...
{
	"$bench" run "$dir/dd" if=/dev/src of="$1" bs=64k status=none "${@:2}"
}

copy_dd_file() # DESTINATION OPTION of dd...
{
	copy_dd "$dir/dst" conv=notrunc "${@:2}"
}

copy_zmirror() # DESTINATION FEATURE...
{
	dm create copy --notable
	dm load copy --table "$(mirror_line /dev/src "$@")"
	"$bench" resync copy in_sync
	dm remove copy
}

copy_mirror() # DESTINATION REGION
{
	local regions=$((sectors / $2))

	dm create copy --notable
	dm load copy --table "0 $sectors mirror core 1 $2 2 /dev/src 0 $1 0"
	"$bench" resync copy "$regions/$regions"
	dm remove copy
}

# Time in $took.
copy() # WHAT COMMAND [ARGUMENT...], with the destination as its first
{
	local dst stat times=() i written allocated

	for ((i = 0; i < rounds; i++)); do
		new_loop dst "$dir/dst"
		blockdev --flushbufs /dev/src
		read -ra stat < "/sys/block/${dst##*/}/stat"
		written=${stat[6]}
		times+=("$("$2" "$dst" "${@:3}")")
		read -ra stat < "/sys/block/${dst##*/}/stat"
		written=$(((stat[6] - written) / 2048))
		allocated=$(($(stat -c %b "$dir/dst") / 2048))
		if [ "$i" = 0 ]; then
			cmp /dev/src "$dir/dst" || die "$1 copies wrongly"
		fi
		drop_loop "$dst" "$dir/dst"
	done
	took=$(least "${times[@]}")
	copies+=("| $1 | $(ms "$took") | $written | $allocated |")
}

part_sparse()
{
	local took dd mirror

	new_null src
	fill 10
	copy "1 in 10: dd conv=sparse" copy_dd conv=sparse
	dd=$took
	copy "1 in 10: dd conv=sparse, direct" copy_dd conv=sparse \
		iflag=direct oflag=direct
	[ "$took" -ge "$dd" ] || dd=$took
	copy "1 in 10: dd conv=sparse, to the file" copy_dd_file conv=sparse
	copy "1 in 10: zmirror" copy_zmirror
	copy "1 in 10: zmirror, prezero" copy_zmirror prezero
	copy "1 in 10: zmirror, dest_zeroed" copy_zmirror dest_zeroed
	mirror=$took
	drop_null src
	row "copy, one region in ten has data; dd conv=sparse" \
		"$(ms "$mirror")" "$(ms "$dd")" "$(ratio "$mirror" "$dd")" \
		"<= 1.10" "$(holds "$mirror / $dd <= 1.10")"
}

part_dense()
{
	local took other mirror

	new_null src
	fill 1
	copy "all data: dd" copy_dd
	copy "all data: dm-mirror, 2048 sectors" copy_mirror 2048
	other=$took
	copy "all data: zmirror, zero_detect:off" copy_zmirror zero_detect:off
	copy "all data: zmirror" copy_zmirror
	mirror=$took
	drop_null src
	row "copy, all data; dm-mirror" \
		"$(ms "$mirror")" "$(ms "$other")" \
		"$(ratio "$mirror" "$other")" "<= 1.05" \
		"$(holds "$mirror / $other <= 1.05")"
}

# ---------------------------------------------------------------------------
# The price of looking for zeroes
# ---------------------------------------------------------------------------

# Nanoseconds for each write.
writes() # DEVICE BYTES COUNT
{
	fio --name=w --filename="$1" --rw=randwrite --bs="$2" --iodepth=16 \
		--ioengine=libaio --direct=1 --randseed=1 --norandommap=1 \
		--io_size=$(($2 * $3)) --size="${size_mib}M" \
		--output-format=json |
		awk -F '[:,]' '/"write" *:/ { w = 1 }
			w && /"runtime"/ { ms = $2 }
			w && /"total_ios"/ { n = $2; w = 0 }
			END { printf "%d", ms * 1e6 / n }'
}

# A line for writes of one size.
looking() # BYTES COUNT
{
	local raw on off state

	raw=$(writes /dev/src "$1" "$2")
	for state in off on; do
		dm message mirror 0 set zero_detect "$state"
		printf -v "$state" '%s' "$(writes /dev/mapper/mirror "$1" "$2")"
	done
	[ "$(figure mirror zero)" = 0 ] || die "regions are zero"
	row "write of $(($1 / 1024)) KiB with and without zero_detect; raw $raw ns" \
		"$on ns" "$off ns" "$(ratio $((on - off)) "$raw")" "< 0.02" \
		"$(holds "($on - $off) / $raw < 0.02")"
}

part_detect()
{
	new_null src
	new_null dst
	dm create mirror --table "$(mirror_line /dev/src /dev/dst nosync)"
	# Memory is allocated at the first write.
	fill 1
	dd if=/dev/src of=/dev/mapper/mirror bs=1M oflag=direct status=none
	looking 4096 100000
	looking 131072 10000
	dm remove mirror
	drop_null dst
	drop_null src
}

modprobe -a loop null_blk dm-mirror 2> /dev/null ||
	modprobe -a loop dm-mirror
mkdir "$dir"
mount -t tmpfs -o size=90%,huge=never bench "$dir"
# What waits for the host would wait for ages of this clock.
cp "$bench" "$(command -v dd)" "$dir"
bench=$dir/zm-bench
"$dir/dd" if=/dev/zero bs=64k count=1 of="$dir/out" conv=sparse status=none
# The console is slow, and not what is measured.
dmesg -n 1
for part in $parts; do
	case $part in
	zeroes) part_zeroes ;;
	sparse) part_sparse ;;
	dense) part_dense ;;
	detect) part_detect ;;
	*) die "no part $part" ;;
	esac
done

printf '\nzmirror on %s\n\n' "$(uname -r)"
printf '| what; peer | zmirror | peer | ratio | bar | |\n'
printf '|---|---|---|---|---|---|\n'
printf '%s\n' "${rows[@]}"
if [ ${#copies[@]} -gt 0 ]; then
	printf '\n| copy of %d MiB | time | MiB written | MiB allocated |\n' \
		$size_mib
	printf '|---|---|---|---|\n'
	printf '%s\n' "${copies[@]}"
fi
exit $missed
