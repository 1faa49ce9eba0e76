#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Many mirrors are made, refused, written to, reloaded and removed: no memory, no
# thread and no reference to the module is left behind.

# shellcheck source=dm-zmirror-lib.sh
. "$(dirname "$0")/dm-zmirror-lib.sh"

CYCLES=${ZM_CYCLES:-${ZM_SLOW:+40}}
CYCLES=${CYCLES:-${ZM_ALL:+200}}
CYCLES=${CYCLES:-120}
ROUNDS=4
MOST_KIB=$((CYCLES * 128 * 9 / 10))	# the buffer of a job is 128 KiB
SECTORS=4096
MODULE=/sys/module/dm_zmirror

# Objects in the caches whose use follows from that of mirrors. Others hold what
# the kernel keeps for its own ends, like names and pages of files.
declare -A OBJECTS SLAB

# Each processor keeps some slabs for itself, all objects of which count as in
# use. A cache that is shrunk takes them back, but it is soon asked for one again:
# so a growth by one slab of each processor tells nothing. Of caches with many
# objects in a slab only kmemleak can tell.
count_objects()
{
	local name active slab cache

	echo 3 > /proc/sys/vm/drop_caches
	for cache in /sys/kernel/slab/{kmalloc-,dm_,bio-,kcopyd}*; do
		[ ! -w "$cache/shrink" ] || echo 1 > "$cache/shrink"
	done
	OBJECTS=()
	while read -r name active _ _ slab _; do
		case $name in
		kmalloc-* | dm_* | bio-* | kcopyd* | biovec* | \
		request_queue | pool_workqueue | task_struct | bdev_cache)
			OBJECTS[$name]=$active
			SLAB[$name]=$slab
			;;
		esac
	done < <(tail -n +3 /proc/slabinfo)
}

kib_available()
{
	local name size

	while read -r name size _; do
		[ "$name" != MemAvailable: ] || printf '%d' "$size"
	done < /proc/meminfo
}

# The threads that belong to workqueues, not those that work for one just now.
count_threads()
{
	grep -l -s -E '^(kworker/R-)?zmirr' /proc/[0-9]*/comm | wc -l
}

count_areas()
{
	grep -c -E 'zm_|zmirror' /proc/vmallocinfo
}

count_references()
{
	cat "$MODULE/refcnt" 2> /dev/null || echo 0
}

# A line that is refused, each time at another place.
refused() # NUMBER
{
	local lines=("0 $SECTORS zmirror $src 0"
		     "0 $SECTORS zmirror $src 0 /dev/nothing 0 128"
		     "0 $SECTORS zmirror $src 0 $dst 8 128"
		     "0 $SECTORS zmirror $src 0 $dst 0 127"
		     "$LINE 1 bogus"
		     "$LINE 2 paused jobs:0"
		     "$LINE;$SECTORS 8 bogus")

	! dm load m "${lines[$1 % ${#lines[@]}]}"
}

cycle() # NUMBER
{
	must_dm create m "$LINE" || return
	refused "$1" || wrong "line $1 is not refused" || return
	case $(($1 % 4)) in
	0)
		dm info m
		must io "/dev/dm-${ZM_ANSWER%% *}" write:0:65536 zeroes:512:512
		;;
	1)
		must_dm load m "$LINE 1 jobs:17" && must_dm suspend m &&
			must_dm resume m
		;;
	2)
		must_dm message m "set jobs 20"
		;;
	3)
		must_dm load m "$LINE 1 nosync"
		;;
	esac
	must_dm remove m
}

# Stores in ROUND the KiB that are gone after all cycles.
measure_round()
{
	local i before

	before=$(kib_available)
	for ((i = 0; i < CYCLES; i++)); do
		cycle "$i" || return
	done
	rest 1
	count_objects
	ROUND=$((before - $(kib_available)))
	ktap_print_msg "$ROUND KiB are gone after $CYCLES cycles"
}

# All cycles run before the first test, some of them before the first count. What the
# kernel takes for its own ends now and then is gone after one round of cycles; what leaks
# is gone after each. So when too much is gone the rounds go on, and the least one counts.
setup()
{
	local i name round

	new_loop src $((SECTORS / 2))K && new_loop dst $((SECTORS / 2))K ||
		return
	zm_line "$SECTORS" "${src:?}" 0 "${dst:?}" 0 128
	LINE=$ZM_LINE
	THREADS=$(count_threads) AREAS=$(count_areas)
	REFERENCES=$(count_references)
	for ((i = 0; i < 24; i++)); do
		cycle "$i" || return
	done
	count_objects
	declare -g -A FIRST
	for name in "${!OBJECTS[@]}"; do
		FIRST[$name]=${OBJECTS[$name]}
	done
	measure_round || return
	KIB=$ROUND
	for ((round = 1; round < ROUNDS && KIB > MOST_KIB; round++)); do
		measure_round || return
		[ "$ROUND" -ge "$KIB" ] || KIB=$ROUND
	done
}
zm_setup setup

# One object in each cycle would show, even with some returned late.
t_objects()
{
	local name most cpus

	[ "${#FIRST[@]}" -gt 0 ] || { skip "no slabinfo"; return; }
	# KASAN keeps what was freed; kmemleak sees what was not.
	[ -z "${ZM_SLOW:-}" ] || { skip "left to kmemleak"; return; }
	cpus=$(nproc)
	for name in "${!FIRST[@]}"; do
		most=$((SLAB[$name] * cpus))
		[ "$most" -ge $((CYCLES * 9 / 10)) ] ||
			most=$((CYCLES * 9 / 10))
		expect_le "growth of $name" \
			$((${OBJECTS[$name]:-0} - FIRST[$name])) "$most"
	done
}
zm_test "$CYCLES mirrors leave no objects behind" t_objects

t_memory()
{
	expect_eq "areas of virtual memory" "$(count_areas)" "$AREAS"
	expect_le "KiB that are gone" "$KIB" "$MOST_KIB"
}
zm_test "$CYCLES mirrors leave no memory behind" t_memory

t_threads()
{
	expect_eq "threads" "$(count_threads)" "$THREADS"
}
zm_test "$CYCLES mirrors leave no threads behind" t_threads

t_references()
{
	expect_eq "references" "$(count_references)" "$REFERENCES"
}
zm_test "$CYCLES mirrors leave no references to the module behind" t_references

# Whoever has loaded the module from a file says which in ZM_MODULE.
t_unload()
{
	local load=(modprobe dm-zmirror)

	[ -d "$MODULE" ] || { skip "it is built in"; return; }
	[ "$(count_references)" -eq 0 ] || { skip "it is in use"; return; }
	if [ -n "${ZM_MODULE:-}" ]; then
		load=(insmod "$ZM_MODULE")
	elif ! modprobe -q -n dm-zmirror 2> /dev/null; then
		skip "modprobe does not know it"
		return
	fi

	# In use it stays.
	new_dm m "$LINE" || return
	run_fails rmmod dm-zmirror
	wait_sync m
	must_dm remove m
	run rmmod dm-zmirror || return
	expect "the module is gone" [ ! -d "$MODULE" ]
	run "${load[@]}"
	new_dm m "$LINE" && wait_sync m
}
zm_test "the module goes and comes again" t_unload

zm_run
