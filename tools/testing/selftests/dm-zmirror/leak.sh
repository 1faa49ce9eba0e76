#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Many mirrors are made, loaded, refused, reloaded and removed: no memory, no
# thread and no reference to the module is left behind.

# shellcheck source=dm-zmirror-lib.sh
. "$(dirname "$0")/dm-zmirror-lib.sh"

CYCLES=${ZM_CYCLES:-200}
SECTORS=16384
MODULE=/sys/module/dm_zmirror

setup()
{
	new_loop src $((SECTORS / 2))K && new_loop dst $((SECTORS / 2))K ||
		return
	zm_line "$SECTORS" "$src" 0 "$dst" 0 128
	LINE=$ZM_LINE
}
zm_setup setup

# Objects by cache. What other parts of the kernel keep for their own ends, like
# names and pages of files, is left out.
declare -A OBJECTS

objects()
{
	local name active others

	echo 3 > /proc/sys/vm/drop_caches
	OBJECTS=()
	while read -r name active others; do
		case $name in
		kmalloc-* | dm_* | bio-* | kcopyd* | biovec* | blkdev* | \
		request_queue | pool_workqueue | task_struct | bdev_cache)
			OBJECTS[$name]=$active
			;;
		esac
	done < <(tail -n +3 /proc/slabinfo)
}

free_kib()
{
	local name size unit

	while read -r name size unit; do
		[ "$name" != MemAvailable: ] || printf '%d' "$size"
	done < /proc/meminfo
}

threads()
{
	grep -l -s zmirror /proc/[0-9]*/comm | wc -l
}

vmallocs()
{
	grep -c -E 'zm_|zmirror' /proc/vmallocinfo
}

references()
{
	cat "$MODULE/refcnt" 2> /dev/null || echo 0
}

# Does something CYCLES times, after some times before the first count; a leak of
# one object in each cycle shows.
t_cycles() # FUNCTION
{
	local i name before free grown
	local -A first

	for ((i = 0; i < 20; i++)); do
		"$1" || return
	done
	objects
	for name in "${!OBJECTS[@]}"; do
		first[$name]=${OBJECTS[$name]}
	done
	free=$(free_kib)
	before="$(threads) $(vmallocs) $(references)"

	for ((i = 0; i < CYCLES; i++)); do
		"$1" || return
	done
	rest 1
	expect_eq "threads, areas of memory and references to the module" \
		"$(threads) $(vmallocs) $(references)" "$before"
	objects
	for name in "${!first[@]}"; do
		grown=$((${OBJECTS[$name]:-0} - first[$name]))
		expect_le "growth of $name" "$grown" $((CYCLES * 9 / 10))
	done
	expect_le "KiB of memory that are gone" $((free - $(free_kib))) \
		$((CYCLES * 160))
}

create_remove()
{
	must_dm create m "$LINE" && must_dm remove m
}

create_write_remove()
{
	must_dm create m "$LINE 1 jobs:3" && dm info m || return
	must io "/dev/dm-${ZM_ANSWER%% *}" write:0:65536 zeroes:4096:4096
	must_dm remove m
}

# Each fails at another place, the last ones when nearly all is allocated.
refused()
{
	must_dm create m || return
	dm load m "0 $SECTORS zmirror $src 0" && return 1
	dm load m "0 $SECTORS zmirror $src 0 /dev/nothing 0 128" && return 1
	dm load m "0 $SECTORS zmirror $src 0 $dst 8 128" && return 1
	dm load m "0 $SECTORS zmirror $src 0 $dst 0 127" && return 1
	dm load m "$LINE 1 bogus" && return 1
	dm load m "$LINE 2 paused jobs:0" && return 1
	dm load m "$LINE;$SECTORS 8 bogus" && return 1
	must_dm remove m
}

reload()
{
	must_dm load live "$LINE" && must_dm suspend live &&
		must_dm resume live && must_dm message live "set jobs 20" &&
		must_dm load live "$LINE 1 nosync" && must_dm clear live
}

t_reload()
{
	new_dm live "$LINE" && t_cycles reload
}

zm_test "$CYCLES mirrors made and removed leave nothing" t_cycles create_remove
zm_test "$CYCLES mirrors made, written to and removed leave nothing" \
	t_cycles create_write_remove
zm_test "$CYCLES times seven refused lines leave nothing" t_cycles refused
zm_test "$CYCLES reloads leave nothing" t_reload

# Whoever has loaded the module from a file must be able to load it again.
t_unload()
{
	[ -d "$MODULE" ] || { skip "it is built in"; return; }
	[ "$(references)" -eq 0 ] || { skip "it is in use"; return; }
	modprobe -q -n dm-zmirror 2> /dev/null ||
		{ skip "modprobe does not know it"; return; }
	run modprobe -r dm-zmirror || return
	expect "the module is gone" [ ! -d "$MODULE" ]
	run modprobe dm-zmirror
	new_dm m "$LINE" && wait_sync m
}
zm_test "the module goes and comes again" t_unload

zm_run
