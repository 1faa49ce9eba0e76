#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# What users know of regions, they can tell.

# shellcheck source=dm-zmirror-lib.sh
. "$(dirname "$0")/dm-zmirror-lib.sh"

SECTORS=32768

new_pair() # FEATURE...
{
	new_loop src 16M && new_loop dst 16M || return
	must fill "$src_file" 65536 || return
	new_mirror m "$src" 0 "$dst" 0 128 "$@"
}

list() # KIND
{
	message m list "$1"
	printf '%s' "$ZM_ANSWER"
}

# An earlier copy, of which it is known what has changed since.
t_incremental()
{
	local src src_file dst dst_file

	new_loop src 16M && new_loop dst 16M || return
	must fill "$src_file" 65536 && must fill "$dst_file" 65536 || return
	must fill "$src_file" 65536 40 3 9 || return
	new_mirror m "$src" 0 "$dst" 0 128 paused nosync || return
	message m mark dirty 3,43,83,123,163,203,243
	status_of m
	expect_eq "dirty regions" "${ZM_ST[dirty]}" 7
	message m resume
	wait_sync m || return
	expect_eq "sectors copied" "${ZM_ST[copied]}" $((7 * 128))
	expect_equal "$src" 0 "$dst" 0 "$SECTORS"
}
zm_test "an incremental mirror, by what is dirty" t_incremental

t_clean()
{
	local src src_file dst dst_file

	new_loop src 16M && new_loop dst 16M || return
	must fill "$src_file" 65536 && must fill "$dst_file" 65536 || return
	must fill "$src_file" 65536 256 100 9 || return
	new_mirror m "$src" 0 "$dst" 0 128 paused || return
	must_fail message "$ZM_ID-m" 'mark clean 0-99'
	must_dm suspend m
	message m mark clean 0-99,101-255
	must_dm resume m
	expect_eq "dirty regions" "$(list dirty)" 100
	must_fail message "$ZM_ID-m" 'mark clean 100'
	message m resume
	wait_sync m || return
	expect_eq "sectors copied" "${ZM_ST[copied]}" 128
	expect_equal "$src" 0 "$dst" 0 "$SECTORS"
}
zm_test "an incremental mirror, by what is clean" t_clean

t_all_clean()
{
	local src src_file dst dst_file

	new_loop src 16M && new_loop dst 16M || return
	new_mirror m "$src" 0 "$dst" 0 128 paused || return
	must_dm suspend m
	message m mark clean 0-255
	must_dm resume m
	wait_sync m
	events_of m
	expect_eq "events" "$ZM_EVENTS" 1
}
zm_test "all clean is in sync" t_all_clean

# Ranges within words, over several, and up to the end.
t_ranges()
{
	local src src_file dst dst_file ranges

	new_pair nosync paused || return
	for ranges in 0 255 63-64 0-63 64-127 1-254 0-255 0,2,4-9,128-191,255 \
		      62,65; do
		message m mark dirty "$ranges"
		expect_eq "after mark dirty $ranges the regions" \
			"$(list dirty)" "$ranges"
		must_dm suspend m
		message m mark clean 0-255
		message m mark zero "$ranges"
		must_dm resume m
		expect_eq "the dirty regions" "$(list dirty)" none
		expect_eq "after mark zero $ranges the regions" \
			"$(list zero)" "$ranges"
		message m mark nonzero "$ranges"
		expect_eq "the zero regions" "$(list zero)" none
	done
}
zm_test "what is marked is listed" t_ranges

# Half of the destination is known to be zero.
t_zero()
{
	local src src_file dst dst_file

	new_loop src 16M && new_loop dst 16M || return
	must fill "$src_file" 65536 256 7 || return
	new_mirror m "$src" 0 "$dst" 0 128 paused || return
	must_fail message "$ZM_ID-m" 'mark zero 0'
	must_dm suspend m
	message m mark zero 0-127
	must_dm resume m
	message m resume
	wait_sync m || return
	expect_eq "sectors skipped" "${ZM_ST[skipped]}" $((127 * 128))
	expect_eq "sectors zeroed" "${ZM_ST[zeroed]}" $((128 * 128))
	expect_eq "sectors copied" "${ZM_ST[copied]}" 128
	expect_equal "$src" 0 "$dst" 0 "$SECTORS"
}
zm_test "a destination that is zero in part" t_zero

# To mark what is dirty or not zero is safe at any time.
t_in_use()
{
	local src src_file dst dst_file

	need_program fio && new_pair && wait_sync m || return
	start_load --name=v --filename="$ZM_DEV/m" --size=4m --bsrange=4k-64k
	for _ in {1..20}; do
		message m mark dirty 0-31,60-255
		message m mark nonzero 0-255
		rest 0.1
	done
	load_goes_on
	stop_load
	wait_sync m || return
	expect_equal "$src" 0 "$dst" 0 "$SECTORS"
}
zm_test "a mirror in use" t_in_use

zm_run
