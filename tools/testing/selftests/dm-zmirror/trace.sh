#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The tracepoints tell why a region was or was not written.

# shellcheck source=dm-zmirror-lib.sh
. "$(dirname "$0")/dm-zmirror-lib.sh"

# What has happened since the last call, in TRACED: one event a line.
traced()
{
	local line

	TRACED=
	while read -r line; do
		[[ $line != *zmirror_* ]] ||
			TRACED+="zmirror_${line#*zmirror_}"$'\n'
	done < <(trace_read)
	trace_clear
}

expect_traced() # REGEX...
{
	local regex

	traced
	for regex; do
		[[ $TRACED =~ $regex ]] ||
			wrong "no event matches '$regex' of: ${TRACED:0:2000}"
	done
}

expect_untraced() # REGEX
{
	[[ ! $TRACED =~ $1 ]] || wrong "'$1' matches: ${BASH_REMATCH[0]}"
}

t_trace()
{
	local src src_file dst dev

	new_trace zmirror || return
	new_loop src 16M && new_loop dst 16M || return
	must fill "$src_file" 65536 2 1
	new_mirror m "$src" 0 "$dst" 0 128 dest_zeroed || return
	wait_sync m || return
	read -r dev < "/sys/block/$(disk_of "$ZM_DEV/m")/dev"
	# A mirror just resumed is taken for in use, and copied 64 KiB at a time.
	expect_traced "zmirror_begin: $dev copy 0\+2048 legs=both chunk=0 touch=ffff raced=0 dirty=f+ zero=f+" \
		"zmirror_nonzero: $dev chunk=0 regions=(aaaa|2"$'\n)' \
		"zmirror_copied: $dev 0\+2048 chunk=0 touch=ffff copied=ffff zeroes=5555 known=5555 raced=0" \
		"zmirror_clean: $dev chunk=3 regions=f+"
	expect_untraced 'zmirror_zero:'
	expect_untraced "zmirror_nonzero: $dev chunk=. regions=[028a]*[1345679b-f]"

	must io "$ZM_DEV/m" punch:0:65536
	expect_traced "zeroes 0\+128 legs=none skipped chunk=0 touch=1 raced=0 dirty=0 zero=5+"
	expect_untraced 'zmirror_end'

	must io "$ZM_DEV/m" zeroes:512:512
	expect_traced "zeroes 1\+1 legs=source skipped chunk=0 touch=1" \
		"zmirror_end: $dev zeroes 1\+1 legs=source chunk=0 whole=0 raced=0 failed=--"

	must io "$ZM_DEV/m" write:0:512
	expect_traced "zmirror_begin: $dev write 0\+1 legs=both chunk=0 touch=1" \
		"zmirror_nonzero: $dev chunk=0 regions=1"

	must io "$ZM_DEV/m" punch:65536:65536
	expect_traced "zeroes 128\+128 legs=both chunk=0 touch=2" \
		"zmirror_end: $dev zeroes 128\+128 legs=both chunk=0 whole=2 raced=0 failed=--" \
		"zmirror_zero: $dev chunk=0 regions=2"

	message m pause
	must io "$ZM_DEV/m" discard:196608:65536
	expect_traced "zmirror_begin: $dev discard 384\+128 legs=both chunk=0 touch=8" \
		"zmirror_dirty: $dev chunk=0 regions=8"
	must io "$ZM_DEV/m" write:196608:512
	expect_traced "zmirror_begin: $dev write 384\+1 legs=source chunk=0 touch=8 raced=0 dirty=8"
	must io "$ZM_DEV/m" discard:262144:65536
	expect_traced "zmirror_begin: $dev discard 512\+128 legs=source chunk=0 touch=10"
	expect_equal "$src" 0 "$dst" 0 256
}
zm_test "what is done, and why" t_trace

zm_run
