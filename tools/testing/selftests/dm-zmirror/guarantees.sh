#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# What a mirror guarantees to those who write: one order of writes that overlap,
# pages that stay as they are while two legs read them, and what becomes of a
# buffer that its owner changes while it is written. And what they have to wait
# for.

# shellcheck source=dm-zmirror-lib.sh
. "$(dirname "$0")/dm-zmirror-lib.sh"

SECTORS=32768
DELAY=$((750 + 250 * ZM_SLOWER))	# milliseconds that a write takes, where it is slow

# A mirror in sync, whose destination reads what it writes only after a while.
new_late_pair()
{
	need_target delay && new_null src $((SECTORS / 2048)) &&
		new_null dst $((SECTORS / 2048)) || return
	new_dm late "0 $SECTORS delay $dst 0 0 $dst 0 $DELAY" || return
	new_mirror m "$src" 0 "$ZM_DEV/late" 0 128 nosync
}

t_stable_pages()
{
	local src dst

	new_null src 16 || return
	new_null dst 16 || return
	new_mirror m "$src" 0 "$dst" 0 128 nosync || return
	expect_eq "stable_writes" \
		"$(cat "/sys/block/$(disk_of "$ZM_DEV/m")/queue/stable_writes")" 1
}
zm_test "pages stay as they are while they are written" t_stable_pages

# Writes a page of $2, and of $3 from half of the delay on.
write_changing() # OFFSET BYTE BYTE
{
	python3 -I - "$ZM_DEV/m" "$1" "$2" "$3" "$DELAY" <<-'END'
	import mmap, os, sys, threading, time

	path, offset, old, new, delay = sys.argv[1], *map(int, sys.argv[2:])
	page = mmap.mmap(-1, 4096)
	page.write(bytes([old]) * 4096)
	fd = os.open(path, os.O_RDWR | os.O_DIRECT)

	def change():
	    time.sleep(delay / 2000)
	    page[:] = bytes([new]) * 4096

	thread = threading.Thread(target=change)
	thread.start()
	os.pwrite(fd, page, offset)
	thread.join()
	END
}

# The first byte that a device has at an offset, in decimal.
byte_at() # DEVICE OFFSET
{
	dd if="$1" bs=4096 skip=$(($2 / 4096)) count=1 iflag=direct \
		status=none | head -c 1 | od -A n -t u1 | tr -d ' '
}

t_changed_buffer()
{
	local src dst

	new_late_pair || return
	write_changing 65536 17 34 || wrong "the write fails"
	# One leg has taken it before, the other one after the change.
	expect_eq "what the source has" "$(byte_at "$src" 65536)" 17
	expect_eq "what the destination has" "$(byte_at "$dst" 65536)" 34
	status_is m dirty 0 || wrong "a region is dirty"
	must io "$ZM_DEV/m" write:65536:4096
	expect_equal "$src" 0 "$dst" 0 "$SECTORS"
}
zm_test "a buffer changed in flight: each leg has one content or another" \
	t_changed_buffer

# The destination is left as it is, for zeroes; so the change must be seen. It
# comes while the source, which is slow here, has not taken the data yet.
t_changed_zeroes()
{
	local src dst

	need_target delay && new_null src $((SECTORS / 2048)) &&
		new_loop dst $((SECTORS / 2))K || return
	new_dm late "0 $SECTORS delay $src 0 0 $src 0 $DELAY" || return
	new_mirror m "$ZM_DEV/late" 0 "$dst" 0 128 nosync dest_zeroed || return
	write_changing 65536 0 34 || wrong "the write fails"
	wait_sync m || return
	expect_eq "what the source has" "$(byte_at "$src" 65536)" 34
	expect_equal "$src" 0 "$dst" 0 "$SECTORS"
}
zm_test "zeroes changed in flight: the region is copied" t_changed_zeroes

# The second one comes while the first one is on its way, and is sent to neither leg
# until that has ended on both.
t_overlap()
{
	local src dst first order DELAY=$((3000 * ZM_SLOWER))

	new_late_pair && new_trace zmirror || return
	dd if=/dev/urandom of="$ZM_DEV/m" bs=8k seek=8 count=1 oflag=direct \
		conv=notrunc status=none &
	first=$!
	wait_until "the first write has begun" 10 begun "write 128+16"
	dd if=/dev/urandom of="$ZM_DEV/m" bs=4k seek=17 count=1 oflag=direct \
		conv=notrunc status=none || wrong "the second write fails"
	wait "$first" || wrong "the first write fails"
	order=$(trace_read | grep -o -E 'zmirror_(begin|end): [0-9:]+ write [0-9+]+' |
		sed 's/: [0-9:]* / /' | tr '\n' ';')
	expect_eq "what is done" "$order" "$(printf %s \
		'zmirror_begin write 128+16;zmirror_end write 128+16;' \
		'zmirror_begin write 136+8;zmirror_end write 136+8;')"
	expect_equal "$src" 0 "$dst" 0 "$SECTORS"
}

begun() # WRITE
{
	trace_read | grep -q -F "$1"
}
zm_test "writes that overlap reach both legs in one order" t_overlap

# Of a region that is written while it is copied, there is one more copy, and only
# that holds up writes. A copy reads in no time here and writes for one delay, and
# so does a write; two more may be held up before, where fio writes the same block
# again.
t_hot_set()
{
	local src dst fio

	need_target delay && new_null src $((SECTORS / 2048)) &&
		new_null dst $((SECTORS / 2048)) || return
	new_dm late "0 $SECTORS delay $dst 0 0 $dst 0 $DELAY" || return
	new_mirror m "$src" 0 "$ZM_DEV/late" 0 128 paused || return
	zm_fio --name=hot --filename="$ZM_DEV/m" --rw=randwrite --bs=4k \
		--size=4m --iodepth=64 --time_based --runtime=600 \
		--max_latency=$((5 * DELAY))ms > "$ZM_DIR/hot" 2>&1 &
	fio=$!
	rest 1
	message m resume
	wait_sync m 120
	status_is m state in_sync || wrong "resync does not end"
	pkill -TERM -P "$fio" fio
	wait "$fio"
	! grep -q max_latency "$ZM_DIR/hot" ||
		wrong "a write waits too long: $(grep -m 1 max_latency "$ZM_DIR/hot")"
	expect_equal "$src" 0 "$dst" 0 "$SECTORS"
}
zm_test "64 regions written without pause: resync ends, and writes wait for a copy" \
	t_hot_set

zm_run
