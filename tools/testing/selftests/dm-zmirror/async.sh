#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# copy_mode:async: a write ends when the source has it, and resync follows.

# shellcheck disable=SC2154 # variables are set by new_loop
# shellcheck source=dm-zmirror-lib.sh
. "$(dirname "$0")/dm-zmirror-lib.sh"

SECTORS=32768

settled()
{
	wait_sync m || return
	expect_equal "$src" 0 "$dst" 0 "$SECTORS"
}

new_slow_pair() # FEATURE...
{
	need_target delay && new_loop src 16M && new_loop dst 16M || return
	new_dm slow "0 $SECTORS delay $dst 0 0 $dst 0 500" || return
	new_mirror m "$src" 0 "$ZM_DEV/slow" 0 128 nosync "$@"
}

milliseconds()
{
	local up

	read -r up _ < /proc/uptime
	NOW=$((10#${up/./} * 10))
}

# Eight writes to a destination that takes half a second for each.
timed_writes() # stored in TOOK
{
	local i requests=() begin

	for i in 0 1 2 3 4 5 6 7; do
		requests+=("write:$((i * 1000448)):4096")
	done
	milliseconds
	begin=$NOW
	must io "$ZM_DEV/m" "${requests[@]}"
	milliseconds
	TOOK=$((NOW - begin))
}

t_slow_destination()
{
	new_slow_pair copy_mode:async || return
	timed_writes
	expect_le "milliseconds of eight writes" "$TOOK" 2000
	settled

	message m set copy_mode sync
	timed_writes
	expect_ge "milliseconds of eight writes in sync mode" "$TOOK" 4000
	settled
}

t_dirty()
{
	new_loop src 16M && new_loop dst 16M || return
	new_mirror m "$src" 0 "$dst" 0 128 nosync copy_mode:async paused ||
		return
	must io "$ZM_DEV/m" write:65536:4096 write:131072:65536
	status_of m
	expect_eq "dirty regions" "${ZM_ST[dirty]}" 2
	counters "$dst"
	expect_eq "sectors written to the destination" "${ZM_IO[written]}" 0
	message m resume
	settled
}

t_switching()
{
	local fio i

	need_program fio && new_loop src 16M && new_loop dst 16M || return
	new_mirror m "$src" 0 "$dst" 0 128 || return
	zm_fio --name=v --filename="$ZM_DEV/m" --rw=randwrite --size=12m \
		--bsrange=4k-64k --iodepth=16 --verify=crc32c \
		--verify_fatal=1 --output-format=terse > "$ZM_DIR/fio.out" 2>&1 &
	fio=$!
	for ((i = 0; i < 200; i++)); do
		message m set copy_mode async
		rest 0.05
		message m set copy_mode sync
		rest 0.05
		kill -0 "$fio" 2> /dev/null || break
	done
	finish "$fio" 100 "fio with verify" ||
		ktap_print_msg "$(tail -n 3 "$ZM_DIR/fio.out")"
	rm -f "$ZM_DIR/fio.out"
	expect_ge "switches" "$i" 1
	settled
}

zm_test "a slow destination slows nobody" t_slow_destination
zm_test "what was written is dirty until resync has been there" t_dirty
zm_test "switching both ways under fio with verify" t_switching
zm_run
