#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The command zmirror on all that it may meet: names that have to be quoted, commands
# that race, many mirrors, destinations that it must refuse, promises that are not true,
# large thin volumes with little in them, other targets than linear.

# shellcheck source=dm-zmirror-lib.sh
. "$(dirname "$0")/dm-zmirror-lib.sh"
# shellcheck source=tool-lib.sh
. "$(dirname "$0")/tool-lib.sh"

SECTORS=16384

zm_setup need_tool

# Ends with that code, and says why.
refused() # CODE REGEX VERB [WORD...]
{
	attempt "$ZMIRROR" "${@:3}"
	expect_eq "the exit code of ${*:3}" $? "$1"
	expect_like "what ${*:3} says" "$ZM_SAID" "$2"
}

line_of() # NAME
{
	"$ZMIRROR" status --line "$ZM_ID-$1"
}

new_legs()
{
	new_loop there $((SECTORS / 2))K && new_loop here $((SECTORS / 2))K &&
		new_dm d "0 $SECTORS linear $here 0" || return
	must io "$ZM_DEV/d" write:0:1048576
}

expect_linear_on() # DISK
{
	expect_eq "the table" "$(table_of d)" "0 $SECTORS linear $(numbers_of "$1") 0"
	expect "a private device" [ ! -e "/dev/mapper/$ZM_ID-d-zorigin" ]
}

# ---------------------------------------------------------------------------
# Names
# ---------------------------------------------------------------------------

# dmsetup has it unmangled here, so that the name is what it says.
drop_named() # NAME
{
	dmsetup --manglename none remove "$1" 2> /dev/null ||
		dmsetup remove "$1" 2> /dev/null || ! dmsetup info "$1" > /dev/null 2>&1
}

t_name() # NAME
{
	local here there name="$ZM_ID $1"

	new_loop there $((SECTORS / 2))K && new_loop here $((SECTORS / 2))K || return
	must io "$here" write:0:1048576
	run dmsetup create "$name" --table "0 $SECTORS linear $here 0" || return
	undo drop_named "$name"
	quietly start "$name" "$there"
	expect_eq "the name in what is told" \
		"$(eval "printf %s ${ZM_SAID#*to see it: zmirror watch}")" "$name"
	quietly wait --timeout 60 "$name"
	quietly --dry-run wait "$name"
	expect_eq "the name in a command" "$(eval "printf %s ${ZM_SAID#dmsetup wait}")" \
		"$name"
	expect_eq "the list" "$("$ZMIRROR" list)" "$name"
	expect_like "the line" "$("$ZMIRROR" status --line "$name")" "state=in_sync"
	run bash -c '"$1" status --json "$2" | python3 -c "
import json, sys
mirror, = json.load(sys.stdin)[\"mirrors\"]
assert mirror[\"name\"] == sys.argv[1], mirror[\"name\"]
" "$2"' - "$ZMIRROR" "$name"
	quietly set "$name" jobs 3
	quietly pause "$name"
	quietly resume "$name"
	quietly pivot "$name"
	expect_eq "the table" "$(dmsetup table "$name")" \
		"0 $SECTORS linear $(numbers_of "$there") 0"
	expect_equal "$here" 0 "$there" 0 "$SECTORS"
}
zm_test "a name with spaces and quotes" t_name "it's \"odd\" \$HOME;x"
zm_test "a name with dashes and a back quote" t_name "a--b-c- \`%s\` --"

t_dry_run()
{
	local here there name="$ZM_ID dry run" line words=()

	new_loop there $((SECTORS / 2))K && new_loop here $((SECTORS / 2))K || return
	run dmsetup create "$name" --table "0 $SECTORS linear $here 0" || return
	undo drop_named "$name"
	run "$ZMIRROR" --dry-run start "$name" "$there" || return
	expect_eq "devices" "$(dmsetup ls | grep -c zorigin)" 0

	# What it prints does the same.
	run bash -e -c "$ZM_SAID" || return
	undo drop_named "$name-zorigin"
	undo drop_named "$name"
	quietly wait --timeout 60 "$name"
	quietly cancel "$name"
}
zm_test "the commands of --dry-run do what they say" t_dry_run

# ---------------------------------------------------------------------------
# Races, and many
# ---------------------------------------------------------------------------

# The exit codes of jobs, in CODES, with a blank after each.
codes_of() # PID...
{
	local pid

	CODES=
	for pid; do
		wait "$pid"
		CODES+="$? "
	done
}

# One of them does it; the others say that it does, or that it is done.
t_race()
{
	local here there pids=() i

	new_legs || return
	for i in 1 2 3 4; do
		"$ZMIRROR" start "$ZM_ID-d" "$there" > "$ZM_DIR/race.$i" 2>&1 &
		pids+=($!)
	done
	codes_of "${pids[@]}"
	expect_like "the exit codes" "$CODES" "^[04] [04] [04] [04] $"
	expect_like "the exit codes" "$CODES" 0
	quietly wait --timeout 60 "$ZM_ID-d"
	pids=()
	for i in pivot cancel pivot cancel; do
		"$ZMIRROR" "$i" "$ZM_ID-d" > "$ZM_DIR/race.$i" 2>&1 &
		pids+=($!)
	done
	codes_of "${pids[@]}"
	expect_like "the exit codes" "$CODES" "^[034] [034] [034] [034] $"
	expect_like "the exit codes" "$CODES" 0
	expect_like "the table" "$(table_of d)" "^0 $SECTORS linear [0-9:]+ 0$"
	expect "a private device" [ ! -e "/dev/mapper/$ZM_ID-d-zorigin" ]
	expect_equal "$here" 0 "$there" 0 "$SECTORS"
}
zm_test "commands that race" t_race

MANY=${ZM_LESS:+20}
MANY=${MANY:-100}

t_many()
{
	local source dest i pids=() pid lines

	new_loop source $((MANY * 1024))K && new_loop dest $((MANY * 1024))K || return
	must fill "$source" 65536 3
	for ((i = 0; i < MANY; i++)); do
		new_dm "t$i" "0 2048 linear $dest $((i * 2048))" &&
			new_dm "s$i" "0 2048 linear $source $((i * 2048))" || return
	done
	for ((i = 0; i < MANY; i++)); do
		"$ZMIRROR" start "$ZM_ID-s$i" "$ZM_ID-t$i" > "$ZM_DIR/many.$i" 2>&1 &
		pids+=($!)
	done
	for i in "${!pids[@]}"; do
		wait "${pids[i]}" || wrong "start of mirror $i ends with $?: $(cat "$ZM_DIR/many.$i")"
	done
	lines=$("$ZMIRROR" list | grep -c "^$ZM_ID-s")
	expect_eq "mirrors" "$lines" "$MANY"
	wait_until "all are in sync" 60 all_in_sync
	expect_equal "$source" 0 "$dest" 0 $((MANY * 2048))
	pids=()
	for ((i = 0; i < MANY; i++)); do
		"$ZMIRROR" pivot "$ZM_ID-s$i" > "$ZM_DIR/many.$i" 2>&1 &
		pids+=($!)
	done
	for i in "${!pids[@]}"; do
		wait "${pids[i]}" || wrong "pivot of mirror $i ends with $?: $(cat "$ZM_DIR/many.$i")"
	done
	expect_eq "mirrors left" "$("$ZMIRROR" list | grep -c "^$ZM_ID-s")" 0
}

all_in_sync()
{
	[ "$("$ZMIRROR" status --line | grep -c 'state=in_sync')" = "$MANY" ]
}
zm_test "$MANY mirrors at once" t_many

# ---------------------------------------------------------------------------
# What is refused
# ---------------------------------------------------------------------------

t_refused()
{
	local here there small large fd

	new_legs && new_loop small $((SECTORS / 4))K || return
	refused 4 "too small|smaller" start "$ZM_ID-d" "$small"
	refused 4 "part of|source|itself" start "$ZM_ID-d" "$here"
	refused 4 "." start "$ZM_ID-d" "$ZM_ID-d"
	refused 3 "no-such" start "$ZM_ID-d" /dev/no-such
	refused 3 "no-such" start no-such "$there"
	refused 3 "not a device-mapper device" start "$here" "$there"
	refused 2 "." start "$ZM_ID-d"
	refused 2 "." start --set "jobs 4" "$ZM_ID-d" "$there"
	refused 1 "jobs" start --set jobs:0 "$ZM_ID-d" "$there"
	refused 2 "unknown option -f" start -f "$ZM_ID-d" "$there"
	refused 4 "not proved" start --set nosync "$ZM_ID-d" "$there"

	run mkfs.ext4 -q -F "$there"
	refused 4 "ext4" start "$ZM_ID-d" "$there"
	run mkdir "$ZM_DIR/mnt"
	undo rmdir "$ZM_DIR/mnt"
	run mount "$there" "$ZM_DIR/mnt"
	refused 4 "use|mounted" start --force "$ZM_ID-d" "$there"
	run umount "$ZM_DIR/mnt"
	expect_linear_on "$here"

	# Somebody who does not keep others out; blocks that are too large.
	exec {fd}< "$there"
	refused 4 "in use" start "$ZM_ID-d" "$there"
	exec {fd}<&-
	new_loop large $((SECTORS / 2))K 4096 || return
	refused 4 "blocks of 4096" start "$ZM_ID-d" "$large"
	quietly start --force "$ZM_ID-d" "$there"
	refused 4 "mirror already" start "$ZM_ID-d" "$small"
	refused 0 "zmirror set" start --set jobs:7 "$ZM_ID-d" "$there"
	refused 0 "zmirror set" start --region 1MiB "$ZM_ID-d" "$there"
	quietly start "$ZM_ID-d" "$there"
	[[ $ZM_SAID != *"zmirror set"* ]] || wrong "what is not asked for is told of"
	quietly wait --timeout 60 "$ZM_ID-d"
	expect_equal "$here" 0 "$there" 0 "$SECTORS"
	quietly cancel "$ZM_ID-d"
	expect_linear_on "$here"
}

zm_test "what must not be done is refused" t_refused

# What the kernel itself has open keeps nobody out.
t_loop_on_it()
{
	local here there above

	new_legs && run losetup --find --show --offset 1M "$there" || return
	above=${ZM_SAID%$'\n'}
	undo losetup --detach "$above"
	refused 4 "a loop device is on it: .*/${above##*/}/" start --force "$ZM_ID-d" "$there"
	expect_linear_on "$here"
}
zm_test "a destination with a loop device on it" t_loop_on_it

drop_nvmet() # DIRECTORY
{
	echo 0 > "$1/namespaces/1/enable"
	rmdir "$1/namespaces/1" "$1"
}

t_nvmet()
{
	local here there dir=/sys/kernel/config/nvmet/subsystems/$ZM_ID

	need_null_blk && need_module nvmet && new_legs || return
	run mkdir "$dir" "$dir/namespaces/1" || return
	undo drop_nvmet "$dir"
	echo "$there" > "$dir/namespaces/1/device_path"
	echo 1 > "$dir/namespaces/1/enable" || { wrong "no namespace"; return; }
	refused 4 "NVMe gives it to other machines" start --force "$ZM_ID-d" "$there"
	echo 0 > "$dir/namespaces/1/enable"
	quietly start "$ZM_ID-d" "$there"
	quietly cancel "$ZM_ID-d"
	expect_linear_on "$here"
}
zm_test "a destination that other machines have by NVMe" t_nvmet

# A look at it would never end.
t_suspended()
{
	local here there

	new_legs && new_dm s "0 $SECTORS linear $there 0" && must_dm suspend s || return
	refused 4 "is suspended" start "$ZM_ID-d" "$ZM_ID-s"
	must_dm resume s
	expect_linear_on "$here"
}
zm_test "a destination that is suspended" t_suspended

# As udev does with what is new.
t_short_look()
{
	local here there fd

	new_legs || return
	(
		exec {fd}< "$there"
		rest 0.4
	) &
	quietly start "$ZM_ID-d" "$there"
	wait
	quietly cancel "$ZM_ID-d"
}
zm_test "a destination that somebody looks at for a moment" t_short_look

# What he leaves there is not overwritten, whether he is seen or what he has left.
t_short_write()
{
	local here there image

	new_legs && new_loop image $((SECTORS / 2))K && run mkfs.ext4 -q -F "$image" || return
	python3 -c "
import sys, time
with open(sys.argv[1], 'r+b') as disk:
    open(sys.argv[3], 'w')
    time.sleep(0.5)
    disk.write(open(sys.argv[2], 'rb').read(1 << 16))
" "$there" "$image" "$ZM_DIR/begun" &
	wait_until "it is open" 20 test -e "$ZM_DIR/begun"
	refused 4 "ext4|in use" start "$ZM_ID-d" "$there"
	wait
	expect_linear_on "$here"
}
zm_test "a destination that somebody writes to for a moment" t_short_write

# The key stays in the table; what is in the device is not encrypted on the destination,
# nor is it where the device is opened from the next time.
t_crypt()
{
	local here there key table

	need_target crypt && new_loop there $((SECTORS / 2))K &&
		new_loop here $((SECTORS / 2))K || return
	printf -v key '%064d' 17
	table="0 $SECTORS crypt aes-xts-plain64 $key 0 $here 0"
	run dmsetup create "$ZM_ID-c" --uuid "CRYPT-PLAIN-$ZM_ID" --table "$table" || return
	undo dmsetup remove "$ZM_ID-c"
	must fill "/dev/mapper/$ZM_ID-c" 65536 4
	refused 0 "${there##*/} gets what is in it in clear" start "$ZM_ID-c" "$there"
	quietly wait --timeout 60 "$ZM_ID-c"
	quietly cancel "$ZM_ID-c"
	expect_eq "the table" "$(dmsetup table --showkeys "$ZM_ID-c")" \
		"${table/$here/$(numbers_of "$here")}"
	quietly start "$ZM_ID-c" "$there"
	quietly wait --timeout 60 "$ZM_ID-c"
	expect_equal "/dev/mapper/$ZM_ID-c" 0 "$there" 0 "$SECTORS"
	refused 0 "cryptsetup does not know.*crypttab" pivot "$ZM_ID-c"
	expect_equal "/dev/mapper/$ZM_ID-c" 0 "$there" 0 "$SECTORS"
}
zm_test "a device of dm-crypt" t_crypt

# Data at the very end, where samples look.
t_promise()
{
	local here there

	new_legs || return
	refused 0 "" --version
	must io "$there" write:$((SECTORS * 512 - 4096)):4096
	refused 4 "not zero" start --dest-is-zero "$ZM_ID-d" "$there"
	expect_linear_on "$here"
	must io "$there" zeroes:0:$((SECTORS * 512))
	quietly start --dest-is-zero "$ZM_ID-d" "$there"
	quietly wait --timeout 60 "$ZM_ID-d"
	expect_like "the line" "$(line_of d)" " copied_bytes=1048576 "
	expect_equal "$here" 0 "$there" 0 "$SECTORS"
	quietly cancel "$ZM_ID-d"
}
zm_test "a promise is sampled before it is believed" t_promise

# It is about as much as is mirrored to.
t_promise_larger()
{
	local here there large

	new_legs && new_loop large "${SECTORS}K" || return
	must io "$large" write:$((SECTORS * 512 - 4096)):4096 write:$((SECTORS * 1024 - 4096)):4096
	refused 4 "not zero" start --dest-is-zero "$ZM_ID-d" "$large"
	must io "$large" zeroes:$((SECTORS * 512 - 4096)):4096
	quietly start --dest-is-zero "$ZM_ID-d" "$large"
	quietly cancel "$ZM_ID-d"
}
zm_test "of a larger destination as much as is mirrored to" t_promise_larger

# What start says of a destination; the mirror copies what is not zero, and is given up.
told() # DESTINATION REGEX [OPTION]
{
	quietly start ${3:+"$3"} "$ZM_ID-d" "$1"
	expect_like "what is told of $1" "$ZM_SAID" "$2"
	quietly wait --timeout 60 "$ZM_ID-d"
	expect_equal "$here" 0 "$1" 0 "$SECTORS"
	quietly cancel "$ZM_ID-d"
}

# By the page cache, where it stays while somebody has the device open.
soil() # DEVICE SECTOR
{
	run dd if=/dev/urandom of="$1" bs=512 count=1 seek="$2" conv=notrunc status=none
}

t_file_proof()
{
	local here there

	new_legs || return
	told "$there" "known to be zero: a loop device on a file without data"
	told "$there" "[(]not known to be zero"
	run blkdiscard "$there"
	told "$there" "[(]known to be zero"
	run blkdiscard "$there"
	soil "$there" $((SECTORS - 1))
	told "$there" "[(]not known to be zero"
	other_file
}

# Another file without data has the path of the one that the loop device is on.
other_file()
{
	local hidden

	run mkdir "$ZM_DIR/under"
	undo rmdir "$ZM_DIR/under"
	run truncate -s $((SECTORS / 2))K "$ZM_DIR/under/file" "$ZM_DIR/file"
	undo rm "$ZM_DIR/file"
	attach_loop hidden "$ZM_DIR/under/file" || return
	must fill "$hidden" 65536 1
	run mount --bind "$ZM_DIR/file" "$ZM_DIR/under/file"
	told "$hidden" "[(]not known to be zero"
	run umount "$ZM_DIR/under/file"
}
zm_test "a destination that is a file without data" t_file_proof

# What is outside of a partition does not matter to it.
t_scsi_proof()
{
	local here there fd disk zero="[(]known to be zero: a SCSI disk of which nothing is mapped"

	new_legs && new_scsi disk 16 lbprz=1 || return
	told "$disk" "$zero"
	told "$disk" "[(]not known to be zero"
	run blkdiscard "$disk"
	told "$disk" "$zero"
	run blkdiscard "$disk"
	exec {fd}< "$disk"
	soil "$disk" 32767
	told "$disk" "[(]not known to be zero" --force
	exec {fd}<&-
	run blkdiscard "$disk"
	soil "$disk" 2047
	must addpart "$disk" 1 2048 "$SECTORS" || return
	told "${disk}1" "$zero"
	run blkdiscard "${disk}1"
	soil "${disk}1" $((SECTORS - 1))
	told "${disk}1" "[(]not known to be zero"
}
zm_test "a destination that is a SCSI disk without data" t_scsi_proof

# Nothing is mapped, and it may read as anything.
t_scsi_no_proof()
{
	local here there disk

	new_legs && new_scsi disk 16 lbprz=0 || return
	told "$disk" "[(]not known to be zero"
}
zm_test "a SCSI disk that promises nothing" t_scsi_no_proof

# What is written after the mirror has begun is copied, whatever the file says.
t_hints()
{
	local here there fd

	new_legs || return
	echo "4096 $((SECTORS - 4096)) # all but 2 MiB" > "$ZM_DIR/map"
	exec {fd}< "$ZM_DEV/d"
	refused 4 "in use" start --hints "$ZM_DIR/map" "$ZM_ID-d" "$there"
	expect_linear_on "$here"
	quietly start --want-hints "$ZM_ID-d" "$there"
	must io "$ZM_DEV/d" write:4194304:65536
	exec {fd}<&-
	echo "4096 $SECTORS" > "$ZM_DIR/wrong"
	refused 2 "line 1" hint "$ZM_ID-d" "$ZM_DIR/wrong"
	quietly --dry-run hint "$ZM_ID-d" "$ZM_DIR/map"
	expect_eq "what it stands for" "${ZM_SAID%$'\n'}" \
		"dmsetup message $ZM_ID-d 0 'hint zero 32-127'"
	quietly --dry-run wait "$ZM_ID-d"
	expect_eq "what it stands for" "${ZM_SAID%$'\n'}" "dmsetup wait $ZM_ID-d"
	quietly hint "$ZM_ID-d" "$ZM_DIR/map"
	quietly resume "$ZM_ID-d"
	quietly wait --timeout 60 "$ZM_ID-d"
	expect_like "the line" "$(line_of d)" " read_bytes=2[0-9]{6} "
	expect_equal "$here" 0 "$there" 0 "$SECTORS"
	quietly cancel "$ZM_ID-d"
	quietly start "$ZM_ID-d" "$there"
	refused 4 "does not keep in mind" hint "$ZM_ID-d" "$ZM_DIR/map"
	quietly cancel "$ZM_ID-d"
}
zm_test "hints from a file" t_hints

# Somebody writes when the device has been looked at, and is not a mirror yet. That is not
# seen any more when the same is said again.
t_hints_late() # OPTION
{
	local here there

	new_legs || return
	echo "4096 $((SECTORS - 4096))" > "$ZM_DIR/map"
	stop_at start.load start ${1:+"$1"} --hints "$ZM_DIR/map" "$ZM_ID-d" "$there" || return
	must io "$ZM_DEV/d" write:4194304:65536
	kill -CONT "$ZM_PID"
	wait "$ZM_PID"
	expect_eq "the exit code" $? 0
	expect_like "what it says" "$(cat "$ZM_DIR/said")" "map is not used.*read therefore"
	[ -z "$1" ] || refused 0 "map is not used.*nobody knows" start --hints "$ZM_DIR/map" \
		"$ZM_ID-d" "$there"
	quietly wait --timeout 60 "$ZM_ID-d"
	expect_equal "$here" 0 "$there" 0 "$SECTORS"
	quietly cancel "$ZM_ID-d"
}
zm_test "hints from a file that something is written after" t_hints_late ""
zm_test "hints from such a file, and the same again" t_hints_late --paused

# Blocks of a pool that does not zero come with what was in them before.
t_unzeroed()
{
	local group=$ZM_ID-g

	need_lvm && new_group "$group" 160M && new_lv_pool "$group" 64 512 &&
		new_lv_linear "$group" a 32M || return
	must fill "$(lv_path "$group" a)" 65536 8
	run lvm lvchange -q --zero n "$group/pool"
	new_lv_thin "$group" old 32M || return
	must fill "$(lv_path "$group" old)" 65536 1 0 7
	run lvm lvremove -q -y -f "$group/old"
	new_lv_thin "$group" b 32M || return
	refused 4 "does not zero" start --dest-is-zero "$group/a" "$group/b"
	refused 4 "does not read as zeroes" start --set discard_zeroes "$group/a" "$group/b"
	zmirror start "$group/a" "$group/b" || return
	quietly wait --timeout 60 "$group/a"
	expect_equal "$(lv_path "$group" a)-zorigin" 0 "$(lv_path "$group" b)" 0 65536
	quietly cancel "$group/a"
}
zm_test "a thin pool that does not zero" t_unzeroed

# ---------------------------------------------------------------------------
# Thin volumes
# ---------------------------------------------------------------------------

# To free a disk of zram takes an emulated processor so long, with 2 GiB on it and others at
# work beside, that the kernel takes it for stuck: ZM_ALL is for a machine that is free.
IN_USE=${ZM_ALL:+2048}
IN_USE=${IN_USE:-256}

# Nothing of what the pool has never mapped is read; what is there is read and written
# once. The first bytes of a region are read to see whether it is zero.
t_sparse() # MIBYTES
{
	local source dest from=$ZM_ID-old to=$ZM_ID-new begin most=$(($1 * 2048 * 110 / 100))

	need_lvm && need_program thin_dump || return
	new_zram source $(($1 + 200)) && new_zram dest $(($1 + 200)) || return
	new_group_on "$from" "$source" && new_lv_pool "$from" $(($1 + 64)) 64 &&
		new_lv_thin "$from" data 1T && new_group_on "$to" "$dest" &&
		new_lv_pool "$to" $(($1 + 64)) 64 && new_lv_thin "$to" data 1T || return
	run python3 "$ZM_LIB_DIR/zm-writers.py" spread "$(lv_path "$from" data)" "$1" || return
	echo 3 > /proc/sys/vm/drop_caches
	expect_eq "Data% of the pool" "$(lv_is "$from" pool data_percent)" \
		"$(awk -v size="$1" 'BEGIN { printf "%.2f", 100 * size / (size + 64) }')"
	read_before "$source" "$dest"
	begin=$SECONDS
	zmirror migrate "$from/data" "$to/data" || return
	read_after "$source" "$dest"
	ktap_print_msg "1 TiB with $1 MiB in use, in $((SECONDS - begin)) s:" \
		"$((READ / 2048)) MiB read, $((WRITTEN / 2048)) MiB written"
	expect_le "sectors read" "$READ" "$most"
	expect_le "sectors written" "$WRITTEN" "$most"
	expect_ge "sectors written" "$WRITTEN" $(($1 * 2048))
	run python3 "$ZM_LIB_DIR/zm-writers.py" spread-check "$(lv_path "$to" data)" "$1"
	expect_eq "sectors mapped" "$(mapped_of "$(lv_name "$to" data)")" $(($1 * 2048))
	run lvm vgchange -q -an "$from" "$to"
}

mapped_of() # NAME of device-mapper's
{
	run dmsetup status "$1" && awk 'NF { print $4 }' <<< "$ZM_SAID"
}

read_before() # SOURCE DESTINATION
{
	counters "$1" && READ=${ZM_IO[read]}
	counters "$2" && WRITTEN=${ZM_IO[written]}
}

read_after() # SOURCE DESTINATION
{
	counters "$1" && READ=$((ZM_IO[read] - READ))
	counters "$2" && WRITTEN=$((ZM_IO[written] - WRITTEN))
}
zm_test "a thin volume of 1 TiB that has little in it" t_sparse "$IN_USE"

# The pool is not active itself; then LVM would have reloaded a volume to extend it.
t_extend()
{
	local group=$ZM_ID-g table

	need_lvm && new_group "$group" 160M && new_lv_pool "$group" 64 64 &&
		new_lv_thin "$group" a 32M && new_lv_thin "$group" b 32M || return
	run dmsetup remove "$(lv_name "$group" pool)"
	zmirror start "$group/a" "$group/b" || return
	run lvm lvextend -q -L +4M "$group/pool"
	expect_like "the table" "$(dmsetup table "$(lv_name "$group" a)")" " zmirror "
	quietly wait --timeout 60 "$group/a"
	zmirror migrate --lvm "$group/a" "$group/b" || return
	table=$(dmsetup table "$(lv_name "$group" a)")
	expect_like "the table" "$table" " linear "
	run lvm lvextend -q -L +4M "$group/pool"
	expect_eq "the table" "$(dmsetup table "$(lv_name "$group" a)")" "$table"
}
zm_test "LVM extends the pool of a volume that has moved" t_extend

# A pool that LVM will not activate, though it says so of no error.
t_no_pool()
{
	local group=$ZM_ID-g

	need_lvm && new_group "$group" 160M && new_lv_pool "$group" 64 64 &&
		new_lv_thin "$group" a 32M && new_lv_thin "$group" b 32M || return
	run dmsetup remove "$(lv_name "$group" pool)"
	LVM_VOLUMES="\"$group/a\", \"$group/b\"" configure_lvm
	refused 4 "does not activate the pool" start "$group/a" "$group/b"
	expect_like "the table" "$(dmsetup table "$(lv_name "$group" a)")" " thin "
	configure_lvm
}
zm_test "LVM that does not activate a pool" t_no_pool

# What LVM would find on the private device is not for this machine.
t_hidden()
{
	local group=$ZM_ID-g inner=$ZM_ID-inner path scan

	need_lvm && new_group "$group" 96M && new_lv_linear "$group" a 32M &&
		new_lv_linear "$group" b 32M || return
	path=$(lv_path "$group" a)
	scan='devices { scan_lvs = 1 global_filter = [ "a|.*|" ] }'
	run lvm vgcreate -q -y --config "$scan" "$inner" "$path" || return
	zmirror start "$group/a" "$group/b" || return
	run lvm vgs --noheadings -o vg_name --config 'devices { global_filter = [ "a|.*|" ] }'
	expect_like "the groups" "$ZM_SAID" "$group"
	[[ $ZM_SAID != *"$inner"* ]] || wrong "LVM sees the group in the volume"
	run lvm lvchange -q -an "$group/a"
	expect_eq "devices left behind" "$(dmsetup ls | grep -c "$(lv_name "$group" a)")" 0
}
zm_test "what is in a volume LVM does not see" t_hidden

zm_run
