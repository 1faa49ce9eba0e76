#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# What a user knows of the source when the mirror begins: regions that it has as zeroes
# are not read, but for those that were written to meanwhile.

# shellcheck source=dm-zmirror-lib.sh
. "$(dirname "$0")/dm-zmirror-lib.sh"

# The source has data in its first 64 regions.
new_hinted() # FEATURE...
{
	new_leg src && new_leg dst || return
	must io "$ZM_DEV/src" write:0:4194304
	new_mirror m "$ZM_DEV/src" 0 "$ZM_DEV/dst" 0 128 paused "$@"
}

message_refused() # REGEX MESSAGE...
{
	must_fail message "$ZM_ID-m" "${*:2}"
	log_read
	expect_like "the log" "$ZM_LOG_NEW" "$1"
}

t_hints()
{
	local read

	new_hinted dest_zeroed hints || return
	counters "$ZM_DEV/src"
	read=${ZM_IO[read]}
	must io "$ZM_DEV/m" write:8388608:4096 write:9437184:65536
	message m hint zero 64-99,101,110-255
	message m list dirty
	expect_eq "dirty regions" "$ZM_ANSWER" 0-63,100,102-109,128
	status_of m
	expect_eq "skipped sectors" "${ZM_ST[skipped]}" $((181 * 128))
	message m resume
	wait_sync m || return
	counters "$ZM_DEV/src"
	expect_le "sectors read" $((ZM_IO[read] - read)) $((80 * 128))
	expect_equal "$ZM_DEV/src" 0 "$ZM_DEV/dst" 0 "$SECTORS"
	expect_eq "features" "$(table_of m | cut -d ' ' -f 9-)" "1 hints"
}
zm_test "what is known to be zero is not read" t_hints

# The destination has something else there, or may have.
t_no_zero()
{
	new_hinted hints || return
	message m hint zero 0-255
	status_of m
	expect_eq "dirty regions" "${ZM_ST[dirty]}" 256
	expect_eq "skipped sectors" "${ZM_ST[skipped]}" 0
}
zm_test "a destination that may not be zero" t_no_zero

# What is written while nothing else goes on, or has been zero again since.
t_changed()
{
	new_hinted dest_zeroed hints || return
	must io "$ZM_DEV/m" write:4194304:512 zeroes:4194304:65536 \
		write:5242880:131072 discard:6291456:65536
	message m hint zero 64-255
	message m list dirty 64
	expect_eq "dirty regions" "$ZM_ANSWER" 96
	message m resume
	wait_sync m || return
	expect_equal "$ZM_DEV/src" 0 "$ZM_DEV/dst" 0 "$SECTORS"
}
zm_test "what was changed since is read" t_changed

t_load()
{
	need_program fio && new_hinted dest_zeroed hints || return
	start_load --name=v --filename="$ZM_DEV/m" --size=16m --bsrange=4k-64k \
		--rate_iops=200
	rest 0.7
	load_goes_on
	message m hint zero 64-127
	message m resume
	rest 0.7
	load_goes_on
	message m hint zero 128-255
	stop_load
	wait_sync m || return
	expect_equal "$ZM_DEV/src" 0 "$ZM_DEV/dst" 0 "$SECTORS"
}
zm_test "under load" t_load

# A table that takes the regions over has what was known of them.
t_reload()
{
	new_hinted dest_zeroed hints || return
	must io "$ZM_DEV/m" write:8388608:4096
	reload_mirror m "$ZM_DEV/src" 0 "$ZM_DEV/dst" 0 128 paused
	expect_eq "features" "$(table_of m | cut -d ' ' -f 9-)" "2 hints paused"
	message m hint zero 64-255
	message m list dirty
	expect_eq "dirty regions" "$ZM_ANSWER" 0-63,128

	reload_mirror m "$ZM_DEV/src" 0 "$ZM_DEV/dst" 0 256 paused
	message_refused 'hint: the table has no feature hints' hint zero 0
}
zm_test "another table" t_reload

t_refused()
{
	local words

	new_hinted dest_zeroed hints || return
	for words in '' zero 'data 0' 'zero 0 1'; do
		# shellcheck disable=SC2086
		message_refused 'Message hint takes zero, and ranges' hint $words
	done
	for words in 256 0-256 1-0 a 0- ',0' '0,' '0,,1' 0-1-2 4294967296; do
		message_refused 'hint: ranges of regions below 256' hint zero \
			"$words"
	done
	status_of m
	expect_eq "dirty regions" "${ZM_ST[dirty]}" 256
}
zm_test "what is no hint changes nothing" t_refused

zm_run
