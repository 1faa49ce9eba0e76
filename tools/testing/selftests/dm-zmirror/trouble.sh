#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# A table of troubles: of each kind, on either leg, in each phase of a mirror's life.
# What happens to the destination is never seen by who uses the mirror, who never
# reads a wrong byte; and when the trouble is over, and the mirror resumed, the legs
# are equal.

# shellcheck source=dm-zmirror-lib.sh
. "$(dirname "$0")/dm-zmirror-lib.sh"

KINDS=(error flakey delay scsi thin)
PHASES=(zeroing resync in_sync verify suspend)

# ---------------------------------------------------------------------------
# Kinds of trouble: a leg that may have it, with its name; how it begins and ends
# ---------------------------------------------------------------------------

SCSI=/sys/bus/pseudo/drivers/scsi_debug

new_troubled() # KIND LEG
{
	local disk meta

	case $1 in
	scsi)
		new_scsi disk $((SECTORS / 2048)) || return
		DISK[$2]=$disk
		WELL[$2]="0 $SECTORS linear $disk 0"
		new_dm "$2" "${WELL[$2]}"
		;;
	thin)
		# Three quarters can be allocated, which is more than the test needs.
		need_target thin-pool && new_loop meta 4M &&
			new_loop disk 32M || return
		POOL="$meta $disk 128 0 1 error_if_no_space"
		new_dm pool "0 24576 thin-pool $POOL" || return
		must_dm message pool "create_thin 0" || return
		new_dm "$2" "0 $SECTORS thin $ZM_DEV/pool 0"
		;;
	error)
		new_leg "$2"
		;;
	*)
		need_target "$1" && new_leg "$2"
		;;
	esac
}

trouble_begins() # KIND LEG
{
	case $1 in
	error)
		dm_swap "$2" "$BROKEN" noflush
		;;
	flakey)
		dm_swap "$2" "0 $SECTORS flakey ${DISK[$2]} 0 0 600 1 error_writes" \
			noflush
		;;
	delay)
		dm_swap "$2" "0 $SECTORS delay ${DISK[$2]} 0 20 ${DISK[$2]} 0 40" \
			noflush
		;;
	scsi)
		# Transport errors, more often than they are tried again.
		echo 16 > "$SCSI/opts"
		echo 1 > "$SCSI/every_nth"
		;;
	thin)
		fill_pool
		;;
	esac
}

# Another volume takes what is left.
fill_pool()
{
	local at

	must_dm message pool "create_thin 1" &&
		new_dm hog "0 $SECTORS thin $ZM_DEV/pool 1" || return
	for ((at = 0; at < SECTORS / 128; at++)); do
		ask io "$ZM_DEV/hog" "write:$((at * 65536)):4096" || return 0
	done
	wrong "the pool is not full"
}

trouble_ends() # KIND LEG
{
	case $1 in
	scsi)
		echo 0 > "$SCSI/every_nth"
		echo 0 > "$SCSI/opts"
		;;
	thin)
		must_dm load pool "0 65536 thin-pool $POOL" &&
			must_dm suspend pool && must_dm resume pool
		;;
	*)
		dm_swap "$2" "${WELL[$2]}" noflush
		;;
	esac
}

# ---------------------------------------------------------------------------
# Phases
# ---------------------------------------------------------------------------

# The mirror is paused. Leaves it in the phase, with the trouble begun.
enter() # PHASE KIND LEG
{
	case $1 in
	zeroing|resync)
		message m resume
		rest 0.05
		[ "$1" = zeroing ] || expect "it resyncs" status_is m state resync
		trouble_begins "$2" "$3"
		return
		;;
	esac
	message m resume
	wait_state m in_sync || return
	case $1 in
	in_sync)
		trouble_begins "$2" "$3"
		;;
	verify)
		ask message "$ZM_ID-m" verify
		trouble_begins "$2" "$3"
		;;
	suspend)
		must_dm suspend m
		trouble_begins "$2" "$3"
		must_dm resume m
		;;
	esac
}

# A flush that failed before may be noticed after the message.
in_sync_by_and_by()
{
	status_is m state in_sync && return
	[ "${ZM_ST[state]}" != stopped ] || message m resume
	return 1
}

over_and_equal() # KIND LEG
{
	trouble_ends "$1" "$2" || return
	message m resume
	wait_until "the mirror is in sync" 60 in_sync_by_and_by || return
	expect_equal "$ZM_DEV/src" 0 "$ZM_DEV/dst" 0 "$SECTORS"
}

# ---------------------------------------------------------------------------
# The table
# ---------------------------------------------------------------------------

# A resync that lasts for some seconds; a thin destination is not filled by zeroes.
features() # PHASE [KIND of the destination]
{
	case $1 in
	zeroing) printf 'prezero ' ;;
	resync) printf 'rate:4096 ' ;;
	esac
	[ "${2:-}" != thin ] || printf discard_zeroes
}

# What is only slow is no failure.
dest_has_failed() # KIND
{
	[ "$1" = delay ] && return
	status_of m && [ "${ZM_ST[health]}" != AA ] && [ "${ZM_ST[dest_errors]}" -gt 0 ]
}

t_dest() # KIND PHASE
{
	need_program fio && new_leg src && new_troubled "$1" dst || return
	must fill "$ZM_DEV/src" 65536 2 || return
	[ "$2:$1" = zeroing:thin ] || [ "$2" != zeroing ] ||
		must fill "$ZM_DEV/dst" 65536 3 1 7 || return
	# shellcheck disable=SC2046 # words
	new_mirror m "$ZM_DEV/src" 0 "$ZM_DEV/dst" 0 128 paused \
		$(features "$2" "$1") || return
	start_load --name=v --filename="$ZM_DEV/m" --size=2m --offset=7m \
		--bsrange=4k-64k
	enter "$2" "$1" dst && rest 0.5 && load_goes_on

	# Where the destination has nothing yet.
	must io "$ZM_DEV/m" write:65536:65536 write:12648448:65536 flush:0:0
	wait_until "the destination has failed" 20 dest_has_failed "$1"
	trouble_ends "$1" dst
	message m resume
	message m set rate 0
	rest 0.2
	load_goes_on
	stop_load
	wait_until "the mirror is in sync" 60 in_sync_by_and_by || return
	expect_equal "$ZM_DEV/src" 0 "$ZM_DEV/dst" 0 "$SECTORS"
}

# Errors of the source are the user's, who tries again when it is well.
t_source() # KIND PHASE
{
	local failed=0 written=(write:1048576:65536 write:12582912:262144
		       zeroes:2097152:65536 write:4194304:4096)

	new_leg dst && new_troubled "$1" src || return
	must fill "$ZM_DEV/src" 65536 4 || return
	# shellcheck disable=SC2046 # words
	new_mirror m "$ZM_DEV/src" 0 "$ZM_DEV/dst" 0 128 paused \
		$(features "$2") || return
	enter "$2" "$1" src || return
	for request in "${written[@]}"; do
		ask io "$ZM_DEV/m" "$request" || failed=$((failed + 1))
	done
	ask io "$ZM_DEV/m" flush:0:0
	[ "$1" = delay ] || expect_ge "requests that failed" "$failed" 1
	rest 0.3
	message m set rate 0
	over_and_equal "$1" src || return
	must io "$ZM_DEV/m" "${written[@]}" flush:0:0
	wait_sync m || return
	expect_equal "$ZM_DEV/src" 0 "$ZM_DEV/dst" 0 "$SECTORS"
}

for kind in "${KINDS[@]}"; do
	for phase in "${PHASES[@]}"; do
		zm_test "destination: $kind, $phase" t_dest "$kind" "$phase"
		zm_test "source: $kind, $phase" t_source "$kind" "$phase"
	done
done
zm_run
