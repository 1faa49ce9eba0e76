#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The bounds on what resync moves. A busy machine may make it slower, so that only
# what must not be too fast is timed closely; how near it comes to the bound is
# measured in tools/testing/bench.

# shellcheck source=dm-zmirror-lib.sh
. "$(dirname "$0")/dm-zmirror-lib.sh"

MIBYTES=16
SECTORS=$((MIBYTES * 2048))

now() # stored in MS
{
	MS=$((${EPOCHREALTIME/./} / 1000))
}

new_data() # FEATURE...
{
	new_null src "$MIBYTES" && new_null dst "$MIBYTES" || return
	must fill "$src" 1048576
	new_mirror m "$src" 0 "$dst" 0 128 paused "$@"
}

# Looks at a figure of a mirror that has just been told to go on, until it is in
# sync: between any two looks it grows by what the rate allows, and the fifth of a
# second's worth that may come in a burst.
expect_within() # FIGURE KIB
{
	local before=() at=() sum=() i j most begin

	now
	begin=$MS
	message m resume
	while now && before+=("$MS") && status_of m; do
		now
		at+=("$MS")
		sum+=("$((ZM_ST[$1] / 2))")
		[ "${ZM_ST[state]}" != in_sync ] || break
		rest 0.2
	done
	for ((i = 0; i < ${#at[@]}; i++)); do
		for ((j = i + 1; j < ${#at[@]}; j++)); do
			# Each figure is of some time between two looks at the clock.
			most=$(($2 * (at[j] - before[i] + 250) / 1000))
			expect_le "$1 in $((at[j] - before[i])) ms" \
				$((sum[j] - sum[i])) "$most" || return
		done
	done
	TOOK=$((at[-1] - begin))
	ktap_print_msg "$TOOK ms"
}

t_rate() # KIB SECONDS
{
	local src dst TOOK

	new_data rate:"$1" || return
	expect_within copied "$1"
	expect_le "ms" "$TOOK" $(($2 * 2000 + 2000))
	expect_eq "sectors copied" "${ZM_ST[copied]}" "$SECTORS"
	expect_equal "$src" 0 "$dst" 0 "$SECTORS"
}
zm_test "no more is copied than the rate allows" t_rate 4096 4
zm_test "nor by kcopyd, at a higher rate" t_rate 20480 1

t_large_region()
{
	local src dst TOOK

	new_null src 2 && new_null dst 2 || return
	must fill "$src" 1048576
	new_mirror m "$src" 0 "$dst" 0 4096 paused rate:512 || return
	expect_within copied 512
	expect_equal "$src" 0 "$dst" 0 4096
}
zm_test "nor of one large region" t_large_region

# A disk that cannot write zeroes: they are written, and so are bytes copied.
t_zero_pages()
{
	local src dst TOOK

	new_null src 4 && new_null dst 4 || return
	must fill "$dst" 1048576
	new_mirror m "$src" 0 "$dst" 0 128 paused rate:2048 || return
	expect_within zeroed 2048
	expect_ge "ms" "$TOOK" 1700
	expect_zero "$dst" 0 8192
}
zm_test "zeroes that are written count" t_zero_pages

# Two mebibytes of data; the rest of it would take two minutes at this rate.
t_exempt() # FEATURE...
{
	local src src_file dst TOOK

	new_loop src 128M && new_loop dst 128M || return
	must fill "$src_file" 65536 64 1
	new_mirror m "$src" 0 "$dst" 0 128 paused rate:1024 "$@" || return
	now
	TOOK=$MS
	message m resume
	wait_sync m 120 || return
	now
	TOOK=$((MS - TOOK))
	ktap_print_msg "$TOOK ms"
	expect_eq "sectors copied" "${ZM_ST[copied]}" 4096
	expect_ge "ms" "$TOOK" 1700
	expect_equal "$src" 0 "$dst" 0 262144
}
zm_test "zeroes that are skipped cost nothing" t_exempt dest_zeroed
zm_test "nor do zeroes that need not be written" t_exempt

t_scan_rate()
{
	local src dst TOOK

	new_loop src 16M && new_loop dst 16M || return
	new_mirror m "$src" 0 "$dst" 0 128 paused dest_zeroed scan_rate:4096 ||
		return
	expect_within read 4096
	expect_ge "ms" "$TOOK" 3500
	expect_eq "sectors skipped" "${ZM_ST[skipped]}" "$SECTORS"
}
zm_test "no more is read in vain than scan_rate allows" t_scan_rate

# At this rate, to read all would take 16 seconds.
t_scan_rate_data()
{
	local src dst TOOK

	new_data scan_rate:1024 || return
	now
	TOOK=$MS
	message m resume
	wait_sync m 120 || return
	now
	expect_le "ms" $((MS - TOOK)) 10000
}
zm_test "data costs nothing of scan_rate" t_scan_rate_data

t_change()
{
	local src dst

	new_data rate:64 && message m resume || return
	rest 1
	status_of m
	expect_le "sectors copied" "${ZM_ST[copied]}" 512
	message m set rate 0
	wait_sync m 30 || return
	expect_equal "$src" 0 "$dst" 0 "$SECTORS"
}
zm_test "a rate that is changed counts at once" t_change

# Nobody waits for the share of somebody else: not who writes where a copy waits,
# nor who pauses or suspends.
t_waits()
{
	local src dst sum TOOK

	new_data rate:64 && message m resume || return
	rest 0.3
	now
	TOOK=$MS
	must io "$ZM_DEV/m" write:0:65536 write:65536:4096 write:0:4096
	must_dm suspend m
	must_dm resume m
	message m pause
	now
	expect_le "ms" $((MS - TOOK)) $((4000 * ZM_SLOWER))
	rest 0.3
	status_of m
	sum=${ZM_ST[copied]}
	rest 1
	status_of m
	expect_eq "sectors copied when paused" "${ZM_ST[copied]}" "$sum"
	message m set rate 0
	message m resume
	wait_sync m 30 || return
	expect_equal "$src" 0 "$dst" 0 "$SECTORS"
}
zm_test "who waits for the rate holds up nobody" t_waits

# A region that is written while it is copied is copied once more, at once.
t_rewritten()
{
	local src dst

	need_program fio && new_null src 4 && new_null dst 4 || return
	new_mirror m "$src" 0 "$dst" 0 128 paused rate:2048 || return
	start_load --name=hot --filename="$ZM_DEV/m" --size=512k --bs=4k
	message m resume
	rest 2
	load_goes_on
	message m set rate 0
	stop_load
	wait_sync m 60 || return
	expect_equal "$src" 0 "$dst" 0 8192
}
zm_test "regions that are written all the time" t_rewritten

# After the first pass as well: what is dirtied then is copied at that rate.
t_later()
{
	local src dst TOOK

	new_data || return
	message m resume
	wait_sync m || return
	message m set rate 4096
	message m set copy_mode async
	message m pause
	must fill "$ZM_DEV/m" 1048576 1 0 7
	status_of m
	expect_eq "dirty regions" "${ZM_ST[dirty]}" 256
	expect_within copied 4096
	expect_ge "ms" "$TOOK" 3500
	expect_equal "$src" 0 "$dst" 0 "$SECTORS"
}
zm_test "what is dirtied later is bound too" t_later

zm_run
