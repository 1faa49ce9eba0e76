#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# How zeroes are made on the destination: all of it before resync (prezero), by
# discards (discard_zeroes), by pages where it cannot zero or stops to, and what
# discards of the mirror do (discard:exact, pass, ignore).

# shellcheck source=dm-zmirror-lib.sh
. "$(dirname "$0")/dm-zmirror-lib.sh"

MIB=1048576
SECTORS=32768	# of 16 MiB

list() # NAME dirty|zero [FIRST [COUNT]]
{
	dm message "$1" "list ${*:2}"
	printf '%s' "$ZM_ANSWER"
}

discard_limit() # DEVICE
{
	cat "/sys/class/block/$(disk_of "$1")/queue/discard_max_bytes"
}

# ---------------------------------------------------------------------------
# list
# ---------------------------------------------------------------------------

t_list()
{
	local src src_file dst dst_file

	new_loop src 16M && new_loop dst 16M || return
	new_mirror m "$src" 0 "$dst" 0 128 paused || return
	expect_eq "dirty" "$(list m dirty)" "0-255"
	expect_eq "zero" "$(list m zero)" none
	message m resume
	wait_sync m || return
	expect_eq "dirty" "$(list m dirty)" none
	expect_eq "zero" "$(list m zero)" "0-255"
	must io "$ZM_DEV/m" write:65536:512 write:$((63 * 65536)):131072 \
		write:$((255 * 65536 + 65024)):512
	expect_eq "zero" "$(list m zero)" "0,2-62,65-254"
	expect_eq "zero from 1" "$(list m zero 1)" "2-62,65-254"
	expect_eq "zero from 62, 10 of them" "$(list m zero 62 10)" "62,65-71"
	expect_eq "zero of 255" "$(list m zero 255 1)" none
	expect_eq "zero of 254 and more" "$(list m zero 254 4294967295)" 254

	# A list that is too long for the caller's buffer.
	attempt dmsetup message "$ZM_ID-m" 0 list zero
	expect_eq "dmsetup" "${ZM_SAID%$'\n'}" "0,2-62,65-254"
}
zm_test "message list tells the regions" t_list

# ---------------------------------------------------------------------------
# prezero
# ---------------------------------------------------------------------------

# A destination full of what is not zero.
new_full() # VARIABLE MIBYTES
{
	local file

	new_loop "$1" "$2M" || return
	file=${1}_file
	must fill "${!file}" 65536
}

t_prezero() # REGION [FEATURE...]
{
	local src src_file dst dst_file blocks

	new_loop src 16M && new_full dst 16 || return
	must fill "$src_file" 65536 10 3
	new_mirror m "$src" 0 "$dst" 0 "$1" prezero paused "${@:2}" || return
	status_of m
	expect_eq "state" "${ZM_ST[state]}" paused
	expect_eq "regions known to be zero" "${ZM_ST[zero]}" 0
	message m resume
	wait_sync m || return
	expect_eq "sectors zeroed" "${ZM_ST[zeroed]}" "$SECTORS"
	expect_eq "sectors copied" "${ZM_ST[copied]}" $((26 * 128))
	expect_eq "zero and data" \
		$((ZM_ST[zero] * $1 + 26 * 128)) "$SECTORS"
	expect_equal "$src" 0 "$dst" 0 "$SECTORS"
	blocks=$(allocated "$dst_file")
	[ "${2:-}" = no_unmap ] ||
		expect_eq "bytes allocated" "$blocks" $((26 * 65536))
}
zm_test "prezero" t_prezero 128
zm_test "prezero, regions of 8 sectors" t_prezero 8

# No unmapping where that is forbidden: tmpfs refuses it, and pages do it.
t_prezero_no_unmap()
{
	local src src_file dst dst_file

	new_loop src 16M && new_full dst 16 || return
	must fill "$src_file" 65536 10 3
	new_mirror m "$src" 0 "$dst" 0 128 prezero no_unmap || return
	wait_sync m || return
	expect_equal "$src" 0 "$dst" 0 "$SECTORS"
	expect_eq "bytes allocated" "$(allocated "$dst_file")" $((16 * MIB))
	expect_eq "regions known to be zero" "${ZM_ST[zero]}" $((256 - 26))
}
zm_test "prezero with no_unmap" t_prezero_no_unmap

t_prezero_cannot()
{
	local src src_file dst

	new_loop src 16M && new_null dst 16 || return
	must fill "$src_file" 65536 10 3
	new_mirror m "$src" 0 "$dst" 0 128 prezero || return
	wait_sync m || return
	log_read
	expect_like "the log" "$ZM_LOG_NEW" 'prezero given up.*no fast way to zero'
	expect_equal "$src" 0 "$dst" 0 "$SECTORS"
	expect_eq "sectors zeroed" "${ZM_ST[zeroed]}" $((SECTORS - 26 * 128))
}
zm_test "prezero is given up where it would be a write of everything" \
	t_prezero_cannot

# What is clean or known to be zero is left alone.
t_prezero_dirty_only()
{
	local src src_file dst dst_file

	new_loop src 16M && new_full dst 16 || return
	new_mirror m "$src" 0 "$dst" 0 128 paused || return
	must io "$ZM_DEV/m" write:0:"$MIB" zeroes:$((4 * MIB)):"$MIB"
	expect_eq "zero" "$(list m zero)" "64-79"
	expect_eq "dirty" "$(list m dirty)" "16-63,80-255"
	reload_mirror m "$src" 0 "$dst" 0 128 prezero || return
	wait_sync m || return
	expect_eq "sectors zeroed" "${ZM_ST[zeroed]}" $((SECTORS - 2 * 2048))
	expect_equal "$src" 0 "$dst" 0 "$SECTORS"
	expect_eq "zero" "$(list m zero)" "16-255"
}
zm_test "prezero leaves alone what is clean or zero" t_prezero_dirty_only

# Stops and reloads on the way; each sector is zeroed once all the same.
t_prezero_interrupted()
{
	local src src_file dst dst_file i seen=0 before=0

	new_loop src 512M && new_loop dst 512M || return
	must fill "$src_file" 4096 4096
	new_mirror m "$src" 0 "$dst" 0 8 prezero paused || return
	for ((i = 0; i < 30; i++)); do
		message m resume
		case $((i % 3)) in
		0) must_dm suspend m && must_dm resume m ;;
		1) message m pause ;;
		2) reload_mirror m "$src" 0 "$dst" 0 8 prezero ;;
		esac
		status_of m
		if [ "${ZM_ST[zeroed]}" -gt "$before" ] &&
		   [ "${ZM_ST[zeroed]}" -lt 1048576 ]; then
			seen=$((seen + 1))
		fi
		expect_ge "sectors zeroed" "${ZM_ST[zeroed]}" "$before"
		before=${ZM_ST[zeroed]}
	done
	message m resume
	wait_sync m 180 || return
	expect_eq "sectors zeroed" "${ZM_ST[zeroed]}" 1048576
	ktap_print_msg "stopped on the way $seen times"
	expect_equal "$src" 0 "$dst" 0 1048576
}
zm_test "prezero goes on where it was" t_prezero_interrupted

t_prezero_load()
{
	local src src_file dst dst_file

	need_program fio || return
	new_loop src 64M && new_full dst 64 || return
	new_mirror m "$src" 0 "$dst" 0 8 prezero paused || return
	start_load --name=load --filename="$ZM_DEV/m" --bsrange=512-64k --size=16m
	rest 0.3
	message m resume
	wait_until "resync has begun" 60 status_at_least m zeroed 1
	rest 1
	load_goes_on
	stop_load
	wait_sync m || return
	expect_equal "$src" 0 "$dst" 0 131072
}
zm_test "prezero under fio with verify" t_prezero_load

t_prezero_error()
{
	local src src_file dst dst_file

	need_target error || return
	new_loop src 16M && new_full dst 16 || return
	must fill "$src_file" 65536 10 3
	new_dm under "0 $SECTORS linear $dst 0" || return
	new_mirror m "$src" 0 "$ZM_DEV/under" 0 128 prezero paused || return
	dm_swap under "0 16384 linear $dst 0;16384 16384 error"
	message m resume
	wait_state m stopped || return
	expect_eq "health" "${ZM_ST[health]}" AD
	dm_swap under "0 $SECTORS linear $dst 0"
	message m resume
	wait_sync m || return
	expect_equal "$src" 0 "$dst" 0 "$SECTORS"
}
zm_test "prezero on a destination that fails" t_prezero_error

# ---------------------------------------------------------------------------
# discard_zeroes
# ---------------------------------------------------------------------------

# Discards make these disks read as zeroes.
t_discard_zeroes() # [FEATURE...]
{
	local src src_file dst

	new_loop src 16M && new_null dst 16 || return
	must fill "$src_file" 65536 10 3
	new_mirror m "$src" 0 "$dst" 0 128 discard_zeroes "$@" || return
	wait_sync m || return
	counters "$dst"
	expect_eq "sectors discarded" "${ZM_IO[discarded]}" \
		$((SECTORS - (${#} ? 0 : 26 * 128)))
	expect_eq "sectors written" "${ZM_IO[written]}" $((26 * 128))
	expect_equal "$src" 0 "$dst" 0 "$SECTORS"
	expect_eq "regions known to be zero" "${ZM_ST[zero]}" $((256 - 26))

	# In the foreground, too; payloads of zeroes as well.
	must io "$ZM_DEV/m" zeroes:$((3 * 65536)):65536 \
		punch:$((13 * 65536)):65536 zeroes:$((23 * 65536 + 512)):1024
	counters "$dst"
	expect_eq "sectors written" "${ZM_IO[written]}" $((26 * 128))
	expect_equal "$src" 0 "$dst" 0 "$SECTORS"
	expect_eq "zero" "$(list m zero 3 1)" 3
	expect_eq "zero" "$(list m zero 13 1)" 13
	expect_eq "zero" "$(list m zero 23 1)" none
}
zm_test "discard_zeroes" t_discard_zeroes
zm_test "discard_zeroes and prezero" t_discard_zeroes prezero

# Granules of 64 KiB that do not begin where regions do: heads and tails are
# written, and all that is whole is discarded.
t_granules()
{
	local meta data src src_file thin mapped

	need_target thin-pool || return
	new_loop meta 4M && new_loop data 64M || return
	new_dm pool "0 131072 thin-pool $meta $data 128 0" || return
	must_dm message pool "create_thin 0"
	new_dm thin "0 $((SECTORS + 128)) thin $ZM_DEV/pool 0" || return
	thin=$ZM_DEV/thin

	new_loop src 16M || return
	must fill "$src_file" 65536 10 3
	must io "$thin" write:0:"$MIB" write:$((4 * MIB)):"$MIB"
	new_mirror m "$src" 0 "$thin" 56 128 discard_zeroes || return
	wait_sync m || return
	expect_equal "$src" 0 "$thin" 56 "$SECTORS"
	dm status thin
	read -r _ _ _ mapped _ <<< "$ZM_ANSWER"
	# Two chunks a piece of data, and a head and a tail a run of zeroes.
	expect_le "sectors mapped" "$mapped" $((26 * 2 * 128 + 34 * 128))

	must io "$ZM_DEV/m" punch:0:$((16 * MIB))
	wait_sync m || return
	expect_eq "regions known to be zero" "${ZM_ST[zero]}" 256
	expect_zero "$thin" 56 "$SECTORS"
}
zm_test "discard_zeroes with granules across regions" t_granules

# ---------------------------------------------------------------------------
# A destination that cannot zero any more
# ---------------------------------------------------------------------------

# Asked once to zero without unmapping, a loop device on tmpfs cannot zero.
t_vanishes()
{
	local src src_file dst dst_file

	new_loop src 16M && new_full dst 16 || return
	must fill "$src_file" 65536 10 3
	new_mirror m "$src" 0 "$dst" 0 128 no_unmap || return
	wait_sync m || return
	expect_equal "$src" 0 "$dst" 0 "$SECTORS"
	expect_eq "bytes allocated" "$(allocated "$dst_file")" $((16 * MIB))

	must io "$ZM_DEV/m" punch:$((3 * 65536)):65536 zeroes:$((13 * 65536)):512
	expect_eq "health" "${ZM_ST[health]}" AA
	wait_sync m || return
	expect_eq "zero" "$(list m zero 3 1)" 3
	expect_eq "bytes allocated" "$(allocated "$dst_file")" $((16 * MIB))
	expect_ne "limit of the mirror" \
		"$(cat "/sys/class/block/$(disk_of "$ZM_DEV/m")/queue/write_zeroes_max_bytes")" 0
	expect_equal "$src" 0 "$dst" 0 "$SECTORS"
	reload_mirror m "$src" 0 "$dst" 0 128 || return
	expect_ne "limit of the mirror after a reload" \
		"$(cat "/sys/class/block/$(disk_of "$ZM_DEV/m")/queue/write_zeroes_max_bytes")" 0
}
zm_test "a destination that stops to zero is zeroed by pages" t_vanishes

# Its request is in flight when it finds out.
t_vanishes_foreground()
{
	local src src_file dst dst_file

	new_loop src 16M && new_full dst 16 || return
	must fill "$src_file" 65536
	must fill "$dst_file" 65536
	new_mirror m "$src" 0 "$dst" 0 128 no_unmap nosync || return
	wait_sync m || return
	message m pause
	must io "$ZM_DEV/m" punch:65536:131072
	status_of m
	expect_eq "dirty regions" "${ZM_ST[dirty]}" 0
	expect_eq "zero" "$(list m zero)" 1-2
	expect_eq "errors of the destination" "${ZM_ST[dest_errors]}" 0
	expect_zero "$dst" 128 256
	expect_eq "bytes allocated" "$(allocated "$dst_file")" $((16 * MIB))
}
zm_test "zeroes that are refused on the way are made of pages" \
	t_vanishes_foreground

# ---------------------------------------------------------------------------
# discard
# ---------------------------------------------------------------------------

t_pass()
{
	local src src_file dst dst_file before

	new_loop src 16M && new_loop dst 16M || return
	must fill "$src_file" 65536
	new_mirror m "$src" 0 "$dst" 0 128 discard:pass || return
	wait_sync m || return
	before=${ZM_ST[read]}
	must io "$ZM_DEV/m" discard:0:$((4 * MIB)) discard:$((8 * MIB + 512)):65536
	status_of m
	expect_eq "state" "${ZM_ST[state]}" in_sync
	expect_eq "dirty regions" "${ZM_ST[dirty]}" 0
	expect_eq "sectors discarded" "${ZM_ST[discarded]}" $((8192 + 128))
	expect_eq "regions known to be zero" "${ZM_ST[zero]}" 0
	expect_eq "sectors read" "${ZM_ST[read]}" "$before"
	expect_le "bytes allocated" "$(allocated "$dst_file")" $((12 * MIB))
	expect_equal "$src" 0 "$dst" 0 "$SECTORS"
}
zm_test "discard:pass discards both legs, and that is all" t_pass

# The destination is left out, so that the legs differ, and resync has to do it.
t_pass_cannot() # [FEATURE...]
{
	local src src_file dst dst_file

	new_loop src 16M || return
	if [ $# -gt 0 ]; then
		new_loop dst 16M
	else
		new_null dst 16 discard=0
	fi || return
	must fill "$src_file" 65536
	new_mirror m "$src" 0 "$dst" 0 128 discard:pass "$@" || return
	wait_sync m || return
	message m pause
	must io "$ZM_DEV/m" discard:0:$((4 * MIB))
	status_of m
	expect_eq "dirty regions" "${ZM_ST[dirty]}" 64
	expect_eq "sectors discarded" "${ZM_ST[discarded]}" 0
	message m resume
	wait_sync m || return
	expect_equal "$src" 0 "$dst" 0 "$SECTORS"
	[ $# -eq 0 ] ||
		expect_eq "bytes allocated" "$(allocated "$dst_file")" $((16 * MIB))
}
zm_test "discard:pass with a destination that cannot discard" t_pass_cannot
zm_test "discard:pass with a destination that must stay allocated" \
	t_pass_cannot no_unmap

t_ignore()
{
	local src src_file dst dst_file

	new_loop src 16M && new_loop dst 16M || return
	must fill "$src_file" 65536
	new_mirror m "$src" 0 "$dst" 0 128 discard:ignore || return
	wait_sync m || return
	expect_eq "the limit" "$(discard_limit "$ZM_DEV/m")" 0
	must_fail io "$ZM_DEV/m" discard:0:$((4 * MIB))
	expect_eq "bytes allocated" "$(allocated "$src_file")" $((16 * MIB))
	expect_eq "bytes allocated" "$(allocated "$dst_file")" $((16 * MIB))
	status_of m
	expect_eq "dirty regions" "${ZM_ST[dirty]}" 0

	reload_mirror m "$src" 0 "$dst" 0 128 || return
	expect_ne "the limit after a reload" "$(discard_limit "$ZM_DEV/m")" 0
	must io "$ZM_DEV/m" discard:0:$((4 * MIB))
	wait_sync m || return
	expect_eq "bytes allocated" "$(allocated "$dst_file")" $((12 * MIB))
}
zm_test "discard:ignore offers none" t_ignore

# Each region that was discarded is read once.
t_exact_once()
{
	local src src_file dst dst_file before

	new_loop src 64M && new_loop dst 64M || return
	must fill "$src_file" 65536
	new_mirror m "$src" 0 "$dst" 0 128 || return
	wait_sync m || return
	before=${ZM_ST[read]}
	run blkdiscard -f "$ZM_DEV/m"
	wait_sync m || return
	expect_le "sectors read" $((ZM_ST[read] - before)) \
		$((131072 + 131072 / 16))
	expect_eq "bytes allocated" "$(allocated "$src_file")" 0
	expect_eq "bytes allocated" "$(allocated "$dst_file")" 0
	expect_eq "regions known to be zero" "${ZM_ST[zero]}" 1024
}
zm_test "a discard of everything is read once by resync" t_exact_once

# What is known to be zero is left alone, and what lies between is discarded.
t_exact_zero()
{
	local src src_file dst dst_file

	new_loop src 16M && new_loop dst 16M || return
	must fill "$src_file" 65536 10 3
	new_mirror m "$src" 0 "$dst" 0 128 dest_zeroed || return
	wait_sync m || return
	message m pause
	counters "$dst"
	expect_eq "discards" "${ZM_IO[discards]}" 0
	must io "$ZM_DEV/m" discard:0:$((3 * 65536))
	counters "$dst"
	expect_eq "discards" "${ZM_IO[discards]}" 0
	status_of m
	expect_eq "dirty regions" "${ZM_ST[dirty]}" 3
	expect_eq "zero" "$(list m zero 0 5)" 0-2,4

	# From the middle of region 2 to that of region 14, with data in 3 and 13.
	must io "$ZM_DEV/m" discard:$((2 * 65536 + 32768)):$((12 * 65536))
	counters "$dst"
	expect_eq "sectors discarded" "${ZM_IO[discarded]}" 256
	status_of m
	expect_eq "sectors discarded" "${ZM_ST[discarded]}" 256
	expect_eq "dirty" "$(list m dirty)" 0-14
	expect_eq "zero" "$(list m zero 0 15)" 0-2,4-12,14
	message m resume
	wait_sync m || return
	expect_eq "zero" "$(list m zero 0 16)" 0-15
	expect_equal "$src" 0 "$dst" 0 "$SECTORS"
}
zm_test "a discard leaves the destination alone where it is zero" t_exact_zero

zm_run
