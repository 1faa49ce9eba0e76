#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# A volume in use moves to another machine, by NBD over a link that takes 20 ms there and
# back and loses one packet of a hundred. The server is killed in the middle and started
# again, and the link is cut and mended: users see no error and wait for nbd's time limit
# at most, and what was clean is not copied again. Documentation/other-machine.md has the
# same commands.
#
# The other machine is a network namespace in which nothing runs but the server. An nbd
# device that somebody has open cannot be connected again by nbd-client. So the destination
# is a linear device on it, which is put on another nbd device then.

# shellcheck source=dm-zmirror-lib.sh
. "$(dirname "$0")/dm-zmirror-lib.sh"
# shellcheck source=tool-lib.sh
. "$(dirname "$0")/tool-lib.sh"

MIB=64			# of the volume
TIMEOUT=5		# of nbd, in seconds
NETEM="delay 10ms loss 1%"
OTHER=$ZM_ID-other	# the other machine
OTHER_ADDRESS=192.0.2.2	# of those that are for examples
DATA=$ZM_ID-data	# the volume
FAR=$ZM_ID-far		# the destination

# ---------------------------------------------------------------------------
# The other machine
# ---------------------------------------------------------------------------

far_run() # COMMAND...
{
	run ip netns exec "$OTHER" "$@"
}

set_link() # NETEM...
{
	run tc qdisc replace dev "${ZM_ID}a" root netem "$@" &&
		far_run tc qdisc replace dev "${ZM_ID}b" root netem "$@"
}

new_other_machine()
{
	need_tool && need_program ip tc nbd-server nbd-client fio mkfs.ext4 &&
		need_module nbd veth sch_netem ext4 || return
	run ip netns add "$OTHER" || return
	undo ip netns del "$OTHER"
	undo kill_server
	run ip link add "${ZM_ID}a" type veth peer name "${ZM_ID}b" netns "$OTHER" ||
		return
	undo ip link del "${ZM_ID}a"
	run ip address add 192.0.2.1/24 dev "${ZM_ID}a"
	run ip link set "${ZM_ID}a" up
	run ip -n "$OTHER" address add "$OTHER_ADDRESS/24" dev "${ZM_ID}b"
	run ip -n "$OTHER" link set "${ZM_ID}b" up
	# shellcheck disable=SC2086 # words they are
	set_link $NETEM || return

	SERVER_CONFIG=$ZM_DIR/nbd-server.conf
	cat > "$SERVER_CONFIG" <<-END
	[generic]
	[data]
		exportname = $ZM_DIR/far.img
		trim = true
		flush = true
		fua = true
	END
	undo rm "$SERVER_CONFIG"
}
zm_setup new_other_machine

start_server()
{
	far_run nbd-server -C "$SERVER_CONFIG" || return
	wait_until "the server listens" 10 server_listens
}

server_listens()
{
	[ -n "$(ip netns exec "$OTHER" ss -H -l -t -n sport = 10809)" ]
}

# The server has a process for each connection.
kill_server()
{
	local pids

	mapfile -t pids < <(ip netns pids "$OTHER")
	[ "${#pids[@]}" -eq 0 ] || kill -9 "${pids[@]}"
	wait_until "the server is gone" 10 server_is_gone
}

server_is_gone()
{
	[ -z "$(ip netns pids "$OTHER")" ]
}

# ---------------------------------------------------------------------------
# The connection, and the destination on it
# ---------------------------------------------------------------------------

NBDS=()			# that were connected

# A device that is free, in NBD.
connect()
{
	local try

	for NBD in /dev/nbd{0..15}; do
		[ -e "/sys/block/${NBD#/dev/}/pid" ] || break
	done
	NBDS+=("$NBD")
	# A packet or two that are lost may hold up the greeting for long.
	for try in 20 20 60; do
		timeout "$((try * ZM_PATIENCE))" nbd-client -timeout "$TIMEOUT" -name data \
			"$OTHER_ADDRESS" "$NBD" > "$ZM_DIR/said" 2>&1 && return
	done
	wrong "nbd-client: $(cat "$ZM_DIR/said")"
}

disconnect() # DEVICE
{
	[ ! -e "/sys/block/${1#/dev/}/pid" ] || run nbd-client -d "$1"
}

disconnect_all()
{
	local device

	for device in "${NBDS[@]}"; do
		disconnect "$device" || return
	done
	NBDS=()
}

far_table()
{
	printf '0 %d linear %s 0' $((MIB * 2048)) "$NBD"
}

# The destination, on a sparse file on the other machine.
new_far()
{
	local most

	FAR_FILE=$ZM_DIR/far.img
	must make "$FAR_FILE" "${MIB}M" || return
	undo ask unlink "$FAR_FILE"
	undo kill_server
	start_server || return
	undo disconnect_all
	connect || return
	read -r most < "/sys/block/${NBD#/dev/}/queue/write_zeroes_max_bytes"
	ktap_print_msg "bytes that a request to write zeroes to $NBD may have: $most"
	run dmsetup create "$FAR" --table "$(far_table)" || return
	undo run dmsetup remove "$FAR"
}

# The server is there again. What is still in flight to the old device ends by its
# disconnection.
reconnect()
{
	local old_device=$NBD

	start_server && disconnect "$old_device" && connect || return
	run dmsetup load "$FAR" --table "$(far_table)" &&
		run dmsetup suspend --noflush --nolockfs "$FAR" &&
		run dmsetup resume "$FAR"
}

# ---------------------------------------------------------------------------
# The volume
# ---------------------------------------------------------------------------

drop_mirror()
{
	! dm info data-zorigin || run "$ZMIRROR" cancel "$DATA"
}

# An ext4 with a file of random data, and somebody who writes and verifies.
new_volume() # MIBYTES
{
	local src src_file

	new_loop src "${MIB}M" || return
	SRC=$src
	SRC_FILE=$src_file
	new_dm data "0 $((MIB * 2048)) linear $src 0" || return
	undo drop_mirror
	FS_DIR=$ZM_DIR/fs
	run mkfs.ext4 -q -b 4096 -J size=4 "$ZM_DEV/data" &&
		mount_lv "$ZM_DEV/data" "$FS_DIR" noinit_itable &&
		run dd if=/dev/urandom of="$FS_DIR/file" bs=1M count="$1" \
			status=none &&
		run sync -f "$FS_DIR" || return
	SUM=$(md5sum < "$FS_DIR/file")
	rm -f "$ZM_DIR/stop"
	python3 "$ZM_LIB_DIR/zm-blocks.py" "$FS_DIR/blocks" "$ZM_DIR/stop" \
		"$ZM_DIR/application.log" > "$ZM_DIR/writer" 2>&1 &
	WRITER=$!
	wait_until "the writer has begun" 20 [ -s "$ZM_DIR/application.log" ]
}

# It has not seen an error, and what is in the file is what was.
stop_volume()
{
	run touch "$ZM_DIR/stop"
	finish "$WRITER" 60 "the writer"
	ktap_print_msg "writes: $(cat "$ZM_DIR/writer")"
	# Not by way of what is cached, and what is cached stays: in the exact clock, where
	# this is done, a program that has to be read from the host takes ages.
	expect_eq "the sum of the file" \
		"$(dd if="$FS_DIR/file" bs=1M iflag=direct status=none | md5sum)" "$SUM"
	log_read
	[[ ! $ZM_LOG_NEW =~ EXT4-fs\ error|Aborting\ journal|Buffer\ I/O\ error\ on\ dev(ice)?\ dm- ]] ||
		wrong "the kernel says: ${BASH_REMATCH[0]}"
}

# Of a device that may be no mirror yet.
copied_half() # MIBYTES
{
	status_of data && [ "${ZM_ST[copied]:-0}" -ge $(($1 * 1024)) ]
}

# The volume is still for the moment of the comparison.
expect_equal_legs()
{
	local source far

	for _ in {1..20}; do
		wait_state data in_sync || return
		must_dm suspend data || return
		status_of data
		[ "${ZM_ST[dirty]}" -gt 0 ] || break
		must_dm resume data
	done
	expect_eq "dirty regions" "${ZM_ST[dirty]}" 0
	expect_equal "$SRC" 0 "$FAR_FILE" 0 $((MIB * 2048))
	source=$(allocated "$SRC_FILE")
	far=$(allocated "$FAR_FILE")
	must_dm resume data
	ktap_print_msg "KiB allocated of $((MIB * 1024)): here $((source / 1024)), there $((far / 1024))"
	expect_le "bytes allocated there" "$far" $((source * 11 / 10 + (2 << 20)))
}

# Waits until the mirror has seen that the destination is gone. No write waits longer than
# nbd's time limit, which is looked at once a second.
expect_stopped() # SINCE
{
	local gap writes

	wait_state data stopped $((TIMEOUT * 3)) || return
	ktap_print_msg "the mirror stopped after $((($(now) - $1) / 1000)) ms"
	expect_eq "health" "${ZM_ST[health]}" AD
	writes=$(longest_gap 0)
	rest 2
	gap=$(longest_gap "$1")
	ktap_print_msg "the longest write since took $((gap / 1000)) ms, before $((writes / 1000)) ms"
	expect_le "microseconds of a write" "$gap" $(((TIMEOUT + 2) * 1000000 * ZM_SLOWER))
	run_fails "$ZMIRROR" wait "$DATA"
	ktap_print_msg "zmirror wait: $ZM_SAID"
	zmirror status "$DATA"
}

# How long a write takes in the mean, in MEAN, in microseconds.
mean_write() # SECONDS
{
	local begin

	begin=$(now)
	rest "$1"
	MEAN=$(awk -v since="$begin" '$1 >= since { sum += $2; count++ }
		END { print count ? int(sum / count) : 0 }' "$ZM_DIR/application.log")
}

# ---------------------------------------------------------------------------
# What goes wrong
# ---------------------------------------------------------------------------

t_killed_in_resync()
{
	local mib=4 begin dirty copied

	new_far && new_volume "$mib" || return
	zmirror start --dest-is-zero --set discard_zeroes "$DATA" "$FAR" || return
	wait_until "half of it is copied" 60 copied_half "$mib"
	begin=$(now)
	status_of data
	dirty=${ZM_ST[dirty]}
	kill_server
	expect_stopped "$begin"
	ktap_print_msg "dirty regions: $dirty when it was killed, ${ZM_ST[dirty]} now," \
		"of ${ZM_ST[total]}"
	copied=${ZM_ST[copied]}

	reconnect || return
	zmirror resume "$DATA"
	run "$ZMIRROR" wait "$DATA" || return
	status_of data
	ktap_print_msg "sectors copied: $copied before, $((ZM_ST[copied] - copied)) since"
	expect_equal_legs

	zmirror pivot "$DATA"
	expect_like "the table" "$(table_of data)" ' linear '
	stop_volume
}
zm_test "the server is killed in resync" t_killed_in_resync

# Nothing was copied for a second.
is_at_rest()
{
	local copied

	status_of data
	copied=${ZM_ST[copied]}
	rest 1
	status_of data
	[ "${ZM_ST[copied]}" = "$copied" ]
}

# 1 MiB of data in each of 16 chunks. What was flushed stays clean; a chunk that was
# written to since does not, and one job is in one chunk or in two.
t_clean_stays()
{
	local src src_file dirty copied

	new_far && new_loop src "${MIB}M" && must fill "$src" 1048576 4 ||
		return
	SRC=$src
	SRC_FILE=$src_file
	new_dm data "0 $((MIB * 2048)) linear $src 0" || return
	undo drop_mirror
	zmirror start --dest-is-zero --set discard_zeroes --set jobs:1 "$DATA" \
		"$FAR" || return
	wait_until "half of it is copied" 60 copied_half 16

	# No copy ends between the flush and the end of the server.
	zmirror pause "$DATA"
	wait_until "no copy is under way" 20 is_at_rest
	must io "$ZM_DEV/data" flush:0:0
	status_of data
	dirty=${ZM_ST[dirty]}
	kill_server
	zmirror resume "$DATA"
	wait_state data stopped $((TIMEOUT * 3)) || return
	ktap_print_msg "dirty regions: $dirty after a flush, ${ZM_ST[dirty]} after the failure"
	expect_le "dirty regions after a flush" "$dirty" 768
	expect_le "dirty regions" "${ZM_ST[dirty]}" $((dirty + 2 * 64))
	dirty=${ZM_ST[dirty]}
	copied=${ZM_ST[copied]}

	reconnect || return
	zmirror resume "$DATA"
	run "$ZMIRROR" wait "$DATA" || return
	status_of data
	copied=$((ZM_ST[copied] - copied))
	ktap_print_msg "sectors copied after resume: $copied"
	expect_le "sectors copied after resume" "$copied" $((dirty * 128))
	expect_equal_legs
	zmirror cancel "$DATA"
}
zm_test "what was flushed is not copied again" t_clean_stays

# One command, and somebody who connects again.
t_migrate()
{
	local mib=2 begin pid

	new_far && new_volume "$mib" || return
	"$ZMIRROR" migrate --dest-is-zero --set discard_zeroes \
		--set on_dest_error:retry "$DATA" "$FAR" > "$ZM_DIR/migrate" 2>&1 &
	pid=$!
	wait_until "half of it is copied" 60 copied_half "$mib"
	begin=$(now)
	kill_server
	wait_state data stopped $((TIMEOUT * 3))
	reconnect || return
	finish "$pid" 100 "zmirror migrate"
	ktap_print_msg "zmirror migrate: $(cat "$ZM_DIR/migrate")"
	rm "$ZM_DIR/migrate"
	ktap_print_msg "the longest write took $(($(longest_gap "$begin") / 1000)) ms"
	expect_like "the table" "$(table_of data)" ' linear '
	stop_volume
}
zm_test "it is killed, and migrate goes on by itself" t_migrate

t_in_sync()
{
	local begin sync

	new_far && new_volume 1 || return
	zmirror start --dest-is-zero --set discard_zeroes \
		--set on_dest_error:retry "$DATA" "$FAR" || return
	wait_state data in_sync || return

	mean_write 3
	sync=$MEAN
	zmirror set "$DATA" copy_mode async
	mean_write 3
	ktap_print_msg "microseconds of a write, in the mean: sync $sync, async $MEAN"
	expect_ge "microseconds of a write, sync" "$sync" 20000
	expect_le "microseconds of a write, async" "$MEAN" $((sync * 3 / 4))
	zmirror set "$DATA" copy_mode sync
	wait_state data in_sync || return

	begin=$(now)
	kill_server
	wait_state data stopped $((TIMEOUT * 3)) || return
	reconnect || return
	begin=$(now)
	wait_state data in_sync 60
	ktap_print_msg "in sync again after $((($(now) - begin) / 1000)) ms"
	expect_equal_legs

	zmirror set "$DATA" on_dest_error stop
	begin=$(now)
	set_link loss 100%
	expect_stopped "$begin"
	# What is on its way to the old server must not come to the file any more.
	kill_server
	# shellcheck disable=SC2086 # words they are
	set_link $NETEM
	reconnect || return
	zmirror resume "$DATA"
	wait_state data in_sync 60
	expect_equal_legs
	zmirror cancel "$DATA"
	stop_volume
}
zm_test "it is killed, then the link is cut, in sync" t_in_sync

zm_run
