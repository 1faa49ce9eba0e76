# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# What the tests of dm-zmirror share. A test sources this file, registers its
# functions with zm_test, and ends with zm_run:
#
#	t_copies()
#	{
#		local src src_file dst
#
#		new_loop src 16M && new_loop dst 16M || return
#		must fill "$src_file" 65536
#		new_mirror m "$src" 0 "$dst" 0 128 || return
#		wait_sync m
#		expect_equal "$src" 0 "$dst" 0 32768
#	}
#	zm_test "a full resync copies" t_copies
#	zm_run
#
# Each function is one line of TAP. It fails when one of its expectations does
# (expect*, must*, run, wait_*: they say why and go on), when it returns non-zero, when
# something it made cannot be removed, or when the kernel complains meanwhile.
# What a function makes is removed when it ends; what is made before zm_run, in
# the function named to zm_setup, when the script ends.

ZM_ID="zmt$$"			# begins the name of everything that is made
export LC_ALL=C			# what programs say, and no time lost on languages
ZM_SLOWER=$((${ZM_SLOW:+4} + 1))	# ZM_SLOW: a kernel with many checks
# ZM_EXACT: a clock that counts instructions, and jumps on while a program is read from a
# busy host. To wait costs nothing there.
ZM_PATIENCE=$((ZM_SLOWER * (${ZM_EXACT:+9} + 1)))
ZM_LIMIT=${ZM_LIMIT:-$((60 * ZM_PATIENCE))}	# seconds that one command may take
ZM_LIB_DIR=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")

KSFT_PASS=0
KSFT_FAIL=1
KSFT_SKIP=4

# ---------------------------------------------------------------------------
# TAP, in the form of ../kselftest/ktap_helpers.sh
# ---------------------------------------------------------------------------

KTAP_TESTNO=0
KTAP_PASSED=0
KTAP_FAILED=0
KTAP_SKIPPED=0
KTAP_PLANNED=0

ktap_print_header()
{
	printf 'TAP version 13\n'
}

ktap_print_msg()
{
	local text

	while read -r text; do
		printf '# %s\n' "$text"
	done <<< "$*"
}

ktap_set_plan()
{
	KTAP_PLANNED=$1
	printf '1..%d\n' "$1"
}

ktap_test_pass()
{
	printf 'ok %d %s\n' $((++KTAP_TESTNO)) "$1"
	KTAP_PASSED=$((KTAP_PASSED + 1))
}

ktap_test_fail()
{
	printf 'not ok %d %s\n' $((++KTAP_TESTNO)) "$1"
	KTAP_FAILED=$((KTAP_FAILED + 1))
}

ktap_test_skip() # DESCRIPTION REASON
{
	printf 'ok %d %s # SKIP %s\n' $((++KTAP_TESTNO)) "$1" "$2"
	KTAP_SKIPPED=$((KTAP_SKIPPED + 1))
}

ktap_finished()
{
	printf '# Totals: pass:%d fail:%d xfail:0 xpass:0 skip:%d error:0\n' \
		"$KTAP_PASSED" "$KTAP_FAILED" "$KTAP_SKIPPED"
	if [ "$KTAP_FAILED" -gt 0 ] || [ "$KTAP_TESTNO" -ne "$KTAP_PLANNED" ]; then
		exit "$KSFT_FAIL"
	fi
	if [ "$KTAP_PASSED" -eq 0 ]; then
		exit "$KSFT_SKIP"
	fi
	exit "$KSFT_PASS"
}

# ---------------------------------------------------------------------------
# Tests and what they expect
# ---------------------------------------------------------------------------

ZM_DESCRIPTIONS=()
ZM_COMMANDS=()
ZM_SETUP=
ZM_WRONG=0		# the running test has failed
ZM_SKIP=		# why the running test is skipped

zm_test() # DESCRIPTION FUNCTION [ARGUMENT...]
{
	local command

	printf -v command '%q ' "${@:2}"
	ZM_DESCRIPTIONS+=("$1")
	ZM_COMMANDS+=("$command")
}

zm_setup() # FUNCTION, called before the first test
{
	ZM_SETUP=$1
}

wrong() # REASON...
{
	ktap_print_msg "$*"
	ZM_WRONG=1
	return 1
}

skip() # REASON...
{
	ZM_SKIP="$*"
	return 1
}

expect() # WHAT COMMAND...
{
	"${@:2}" || wrong "$1"
}

expect_eq() # WHAT GOT WANTED
{
	[ "$2" = "$3" ] || wrong "$1 is '$2', not '$3'"
}

expect_ne() # WHAT GOT UNWANTED
{
	[ "$2" != "$3" ] || wrong "$1 is '$2'"
}

expect_le() # WHAT GOT MOST
{
	[ "$2" -le "$3" ] || wrong "$1 is $2, more than $3"
}

expect_ge() # WHAT GOT LEAST
{
	[ "$2" -ge "$3" ] || wrong "$1 is $2, less than $3"
}

expect_like() # WHAT GOT REGEX
{
	[[ "$2" =~ $3 ]] || wrong "$1 is '$2', which does not match '$3'"
}

# Sleeps without starting a program.
rest() # SECONDS
{
	read -r -t "$1" -u "$ZM_NOTHING" 2> /dev/null
	return 0
}

# Runs a command with a time limit, and keeps what it says in ZM_SAID.
attempt()
{
	local fd pid said rc

	exec {fd}< <("$@" 2>&1 < /dev/null; printf '\n%d' $?)
	pid=$!
	IFS= read -r -d '' -t "$ZM_LIMIT" -u "$fd" said
	rc=$?
	exec {fd}<&-
	if [ "$rc" -gt 128 ]; then
		kill -9 "$pid" 2> /dev/null
		ZM_SAID=$said
		return 124
	fi
	ZM_SAID=${said%$'\n'*}
	return "${said##*$'\n'}"
}

# Runs a command that must succeed; shows what it says when it does not.
run()
{
	attempt "$@" || wrong "'$*' ends with $?: $ZM_SAID"
}

# Runs a command that must fail of itself, not by a time limit.
run_fails()
{
	attempt "$@"
	case $? in
	0) wrong "'$*' succeeds" ;;
	124) wrong "'$*' hangs: $ZM_SAID" ;;
	esac
}

# Waits for a background job that must end within a time, and end well. Sees a
# job that cannot be killed, too.
finish() # PID SECONDS WHAT
{
	local deadline=$((SECONDS + $2 * ZM_PATIENCE)) rc

	while kill -0 "$1" 2> /dev/null; do
		if [ "$SECONDS" -ge "$deadline" ]; then
			wrong "$3 does not end within $2 s"
			[ -r "/proc/$1/stack" ] &&
				ktap_print_msg "$(cat "/proc/$1/stack")"
			kill -9 "$1" 2> /dev/null
			return 1
		fi
		rest 0.1
	done
	wait "$1"
	rc=$?
	[ "$rc" -eq 0 ] || wrong "$3 ends with $rc"
}

# ---------------------------------------------------------------------------
# The kernel's log
# ---------------------------------------------------------------------------

ZM_TROUBLE='BUG:|WARNING:|Oops|general protection|Call Trace|KASAN|KCSAN|UBSAN|'
ZM_TROUBLE+='possible recursive locking|circular locking|inconsistent lock|'
ZM_TROUBLE+='suspicious RCU|blocked for more than|soft lockup|rcu.*stall|'
ZM_TROUBLE+='ODEBUG|refcount_t|list_add corruption|list_del corruption|'
ZM_TROUBLE+='sleeping function called|scheduling while atomic'

# What the kernel has said since the last call is added to ZM_LOG, and stands
# alone in ZM_LOG_NEW. Records are read from one open file, which keeps the
# place; a record is "priority,number,time,flags;text".
log_read()
{
	local line

	ZM_LOG_NEW=
	if read -r -t 0 -u "$ZM_KMSG"; then
		while read -r line; do
			ZM_LOG_NEW+="${line#*;}"$'\n'
		done < <(dd bs=8192 iflag=nonblock status=none \
				<&"$ZM_KMSG" 2> /dev/null)
	fi
	ZM_LOG+=$ZM_LOG_NEW
}

log_check()
{
	local line

	log_read
	while read -r line; do
		[[ "$line" =~ $ZM_TROUBLE ]] && wrong "the kernel says: $line"
	done <<< "$ZM_LOG"
	ZM_LOG=
}

# ---------------------------------------------------------------------------
# The helper, a process that does most of the work, see zm-helper.py. It is not
# for background jobs, for these would mix up the answers.
# ---------------------------------------------------------------------------

helper_start()
{
	coproc ZM_HELPER {
		exec {ZM_NOTHING}>&-
		exec python3 -I "$ZM_LIB_DIR/zm-helper.py"
	}
	# The descriptors of a coprocess are not there in subshells.
	exec {ZM_TO}>&"${ZM_HELPER[1]}" {ZM_FROM}<&"${ZM_HELPER[0]}"
	ZM_HELPER_ID=${ZM_HELPER_PID:?}
	disown "$ZM_HELPER_ID"
}

# Asks the helper for something; what it answers is in ZM_ANSWER. A command that
# hangs ends the script, for none that follows would do better.
ask() # VERB [WORD...]
{
	local IFS=$'\t' error lines line

	ZM_ANSWER=
	printf '%s\n' "$*" >&"$ZM_TO"
	if ! IFS=' ' read -r -t "$ZM_LIMIT" -u "$ZM_FROM" error lines; then
		ktap_print_msg "$(cat "/proc/$ZM_HELPER_ID/stack" 2>&1)"
		echo "'$*' hangs" > "$ZM_DIR/hung"
		kill -USR1 "$$"
		return 124
	fi
	while [ "$lines" -gt 0 ]; do
		IFS= read -r -u "$ZM_FROM" line
		ZM_ANSWER+=${ZM_ANSWER:+$'\n'}$line
		lines=$((lines - 1))
	done
	return "$error"
}

# What must succeed, and what must fail.
must() # VERB [WORD...]
{
	ask "$@" || wrong "'$*' ends with error $?"
}

must_fail() # VERB [WORD...]
{
	! ask "$@" || wrong "'$*' succeeds"
}

# A device-mapper command for a device of ours.
dm() # VERB NAME [WORD...]
{
	ask "$1" "$ZM_ID-$2" "${@:3}"
}

must_dm() # VERB NAME [WORD...]
{
	must "$1" "$ZM_ID-$2" "${@:3}"
}

# ---------------------------------------------------------------------------
# Undoing
# ---------------------------------------------------------------------------

ZM_UNDO=()

undo() # COMMAND...
{
	local command

	printf -v command '%q ' "$@"
	ZM_UNDO+=("$command")
}

# Undoes, last first, until LEFT commands are left. What has to be removed may
# be kept open for a moment by a program that looks at new devices.
undo_to() # LEFT
{
	local command try

	while [ "${#ZM_UNDO[@]}" -gt "$1" ]; do
		command=${ZM_UNDO[-1]}
		unset 'ZM_UNDO[-1]'
		for try in 1 2 3 4 5 6; do
			eval "$command" && break
			[ "$try" -lt 6 ] || wrong "cannot undo: $command"
			rest 0.3
		done
	done
}

close_nothing()
{
	exec {ZM_NOTHING}>&-
}

zm_cleanup()
{
	local pids

	trap '' INT TERM
	mapfile -t pids < <(jobs -p)
	[ "${#pids[@]}" -eq 0 ] || kill "${pids[@]}" 2> /dev/null
	[ -z "${ZM_DIR:-}" ] || [ ! -e "$ZM_DIR/hung" ] || return
	undo_to 0
}

# ---------------------------------------------------------------------------
# What a test needs
# ---------------------------------------------------------------------------

bail_out()
{
	printf 'Bail out! %s\n' "$*"
	exit "$KSFT_FAIL"
}

skip_all()
{
	ktap_print_header
	printf '1..0 # SKIP %s\n' "$*"
	exit "$KSFT_SKIP"
}

need_program()
{
	local program

	for program; do
		command -v "$program" > /dev/null ||
			{ skip "there is no $program"; return 1; }
	done
}

# The command zmirror, in ZMIRROR.
need_tool()
{
	ZMIRROR=${ZMIRROR:-$ZM_LIB_DIR/../../../zmirror/build/zmirror}
	[ -x "$ZMIRROR" ] || ZMIRROR=$(command -v zmirror) ||
		{ skip "there is no tool zmirror"; return 1; }
}

need_module()
{
	local module

	for module; do
		[ -d "/sys/module/${module//-/_}" ] ||
			modprobe -q "$module" 2> /dev/null ||
			{ skip "there is no module $module"; return 1; }
	done
}

# The target of that name, built in or as a module.
need_target() # TARGET
{
	local targets

	targets=$(dmsetup targets 2> /dev/null)
	[[ $'\n'$targets =~ $'\n'$1' ' ]] && return 0
	[ -d "/sys/module/dm_$1" ] && return 0
	modprobe -q "dm-$1" 2> /dev/null ||
		{ skip "there is no target $1"; return 1; }
}

need_null_blk()
{
	need_module configfs || return
	[ -d /sys/module/null_blk ] || modprobe -q null_blk nr_devices=0 ||
		{ skip "there is no module null_blk"; return 1; }
	[ -d /sys/kernel/config/nullb ] ||
		mount -t configfs none /sys/kernel/config 2> /dev/null
	[ -d /sys/kernel/config/nullb ] ||
		{ skip "null_blk cannot be configured"; return 1; }
}

# ---------------------------------------------------------------------------
# Tracing, into a buffer of our own
# ---------------------------------------------------------------------------

ZM_TRACING=/sys/kernel/tracing

drop_trace() # EVENT
{
	echo 0 > "$ZM_TRACE/events/$1/enable"
	rmdir "$ZM_TRACE"
}

# Events, as "group" or "group/event".
new_trace() # EVENT
{
	[ -d "$ZM_TRACING/events" ] ||
		mount -t tracefs none "$ZM_TRACING" 2> /dev/null
	[ -d "$ZM_TRACING/events/$1" ] ||
		{ skip "there are no tracepoints $1"; return 1; }
	ZM_TRACE=$ZM_TRACING/instances/$ZM_ID
	mkdir "$ZM_TRACE" && undo drop_trace "$1" &&
		echo 1 > "$ZM_TRACE/events/$1/enable"
}

trace_clear()
{
	echo > "$ZM_TRACE/trace"
}

# The shell would seek in what it reads, which this file does not like.
trace_read()
{
	cat "$ZM_TRACE/trace"
}

# ---------------------------------------------------------------------------
# Devices. new_X VARIABLE ... stores the path of the new device in VARIABLE.
# ---------------------------------------------------------------------------

declare -A ZM_DISK		# path of a device: its name in /sys/block

new_disk() # VARIABLE DEVICE [NAME]
{
	local stat

	ZM_DISK[$2]=${3:-${2##*/}}
	read -r stat < "/sys/class/block/${ZM_DISK[$2]}/stat"
	ZM_IO_BEFORE[$2]=$stat
	printf -v "$1" '%s' "$2"
}

drop_loop() # DEVICE FILE
{
	[ ! -e "$2" ] || ask unlink "$2"
	ask detach "$1"
}

# A sparse file on tmpfs behind a loop device; VARIABLE_file is the file. Asked
# once to write zeroes without unmapping, it cannot write zeroes any more.
new_loop() # VARIABLE SIZE [BLOCK [OPTION of attach...]]
{
	local file="$ZM_DIR/$1.$((++ZM_SERIAL))"

	must make "$file" "$2" && attach_loop "$1" "$file" "${@:3}"
}

attach_loop() # VARIABLE FILE [BLOCK [OPTION of attach...]]
{
	need_module loop || return
	must attach "$2" "${3:-512}" "${@:4}" || return
	undo drop_loop "$ZM_ANSWER" "$2"
	new_disk "$1" "$ZM_ANSWER"
	printf -v "${1}_file" '%s' "$2"
}

drop_null() # NAME
{
	echo 0 > "/sys/kernel/config/nullb/$1/power"
	rmdir "/sys/kernel/config/nullb/$1"
}

# A disk in memory that can discard but not write zeroes.
new_null() # VARIABLE MIBYTES [ATTRIBUTE=VALUE...]
{
	local name="$ZM_ID-$((++ZM_SERIAL))" dir setting device

	need_null_blk || return
	dir=/sys/kernel/config/nullb/$name
	mkdir "$dir" || { wrong "no null_blk"; return 1; }
	undo drop_null "$name"
	for setting in "size=$2" blocksize=512 completion_nsec=0 irqmode=0 \
		       memory_backed=1 discard=1 "${@:3}" power=1; do
		# Older kernels lack some.
		[ -e "$dir/${setting%%=*}" ] ||
			{ skip "null_blk has no ${setting%%=*}"; return 1; }
		echo "${setting#*=}" > "$dir/${setting%%=*}" ||
			{ wrong "null_blk refuses $setting"; return 1; }
	done
	device=/dev/$name
	[ -b "$device" ] || device=/dev/nullb$(cat "$dir/index")
	new_disk "$1" "$device"
}

drop_scsi()
{
	modprobe -r scsi_debug
}

# A simulated SCSI disk, one at a time; it knows all ways of zeroing.
new_scsi() # VARIABLE MIBYTES [PARAMETER of scsi_debug...]
{
	local path=() try

	[ ! -d /sys/module/scsi_debug ] ||
		{ skip "scsi_debug is in use"; return 1; }
	modprobe -q sd_mod 2> /dev/null
	modprobe -q scsi_debug dev_size_mb="$2" lbpu=1 lbpws=1 "${@:3}" \
		2> /dev/null || { skip "there is no scsi_debug"; return 1; }
	undo drop_scsi
	for try in {1..50}; do
		path=(/sys/bus/pseudo/drivers/scsi_debug/adapter*/host*/target*/*/block/*)
		[ -b "/dev/${path[0]##*/}" ] && break
		rest 0.1
	done
	[ "$try" -lt 50 ] || { wrong "no disk of scsi_debug"; return 1; }
	new_disk "$1" "/dev/${path[0]##*/}"
}

# From now on the disk of new_scsi answers nothing, and what it is asked fails when
# that many seconds are over, and the midlayer has tried to abort it. Stores in
# ZM_HANGS how many milliseconds that takes.
scsi_hangs() # DEVICE SECONDS
{
	local dir setting begin

	dir=/sys/block/$(disk_of "$1")/device
	echo "$2" > "$dir/timeout"
	for setting in "$dir"/scsi_disk/*/max_retries; do
		echo 0 > "$setting"
	done
	undo scsi_answers
	echo 4 > /sys/bus/pseudo/drivers/scsi_debug/opts &&
		echo -1 > /sys/bus/pseudo/drivers/scsi_debug/every_nth ||
		{ wrong "scsi_debug cannot be made to hang"; return 1; }
	begin=${EPOCHREALTIME/./}
	must_fail io "$1" write:0:4096 || return
	ZM_HANGS=$(((${EPOCHREALTIME/./} - begin) / 1000))
	ktap_print_msg "a request fails in $ZM_HANGS ms"
}

scsi_answers()
{
	echo 0 > /sys/bus/pseudo/drivers/scsi_debug/every_nth
	echo 0 > /sys/bus/pseudo/drivers/scsi_debug/opts
}

drop_dm() # NAME
{
	if ! dm info "$1"; then
		[ ! -L "$ZM_DEV/$1" ] || ask unlink "$ZM_DEV/$1"
		return 0
	fi
	[[ $ZM_ANSWER != *suspended ]] || dm resume "$1" noflush
	must_dm remove "$1" && ask unlink "$ZM_DEV/$1"
}

# A mapped device of this NAME, its path is $ZM_DEV/NAME. A TABLE is lines with
# semicolons between; with none, one is to be loaded.
new_dm() # NAME [TABLE]
{
	must_dm create "$@" || return
	undo drop_dm "$1"
	[ ! -L "$ZM_DEV/$1" ] || ask unlink "$ZM_DEV/$1"
	dm info "$1"
	ZM_DISK[$ZM_DEV/$1]=dm-${ZM_ANSWER%% *}
	must link "/dev/dm-${ZM_ANSWER%% *}" "$ZM_DEV/$1"
}

# Puts another table under a mapped device.
dm_swap() # NAME TABLE [OPTION of suspend...]
{
	must_dm load "$1" "$2" && must_dm suspend "$1" "${@:3}" &&
		must_dm resume "$1" "${@:3}"
}

# ---------------------------------------------------------------------------
# Counters
# ---------------------------------------------------------------------------

disk_of() # DEVICE
{
	printf '%s' "${ZM_DISK[$1]:-${1##*/}}"
}

sectors_of() # DEVICE
{
	local size

	read -r size < "/sys/class/block/${ZM_DISK[$1]:-${1##*/}}/size"
	printf '%s' "$size"
}

# Stores what a device has done since it was made in ZM_IO: sectors read, written,
# discarded, and the number of reads, writes, discards and flushes. Write zeroes
# are writes.
declare -A ZM_IO
declare -A ZM_IO_BEFORE

counters() # DEVICE
{
	local now old

	read -r -a now < "/sys/class/block/$(disk_of "$1")/stat"
	read -r -a old <<< "${ZM_IO_BEFORE[$1]:-}"
	# shellcheck disable=SC2034 # the tests use it
	ZM_IO=([reads]=$((now[0] - old[0])) [read]=$((now[2] - old[2]))
	       [writes]=$((now[4] - old[4])) [written]=$((now[6] - old[6]))
	       [discards]=$((now[11] - old[11]))
	       [discarded]=$((now[13] - old[13]))
	       [flushes]=$((now[15] - old[15])))
}

# ---------------------------------------------------------------------------
# Content. Devices are read past any cache: what a mirror writes to its legs
# does not pass through theirs.
# ---------------------------------------------------------------------------

allocated() # FILE: bytes that it occupies
{
	ask allocated "$1"
	printf '%s' "$ZM_ANSWER"
}

expect_equal() # DEVICE OFFSET DEVICE OFFSET LENGTH, in sectors
{
	must equal "$1" $(($2 * 512)) "$3" $(($4 * 512)) $(($5 * 512)) || return
	[ -z "$ZM_ANSWER" ] || wrong "$1 and $3 are not equal: $ZM_ANSWER"
}

expect_zero() # DEVICE OFFSET LENGTH, in sectors
{
	must zero "$1" $(($2 * 512)) $(($3 * 512)) || return
	[ -z "$ZM_ANSWER" ] || wrong "$1 is not zero: $ZM_ANSWER"
}

# fio with what all its jobs have in common; each --name begins a job.
zm_fio() # OPTION...
{
	fio --direct=1 --ioengine=libaio --allow_file_create=0 --verify_state_save=0 --thread \
		--output-format=terse "$@"
}

# Writes and verifies in the background, again and again, until stop_load.
start_load() # OPTION of fio...
{
	until [ -e "$ZM_DIR/enough" ]; do
		zm_fio --rw=randwrite --iodepth=16 --verify=crc32c \
			--verify_fatal=1 "$@" || break
	done > "$ZM_DIR/fio.out" 2>&1 &
	ZM_LOAD=$!
}

load_goes_on()
{
	kill -0 "$ZM_LOAD" 2> /dev/null || wrong "fio is gone"
}

stop_load()
{
	must make "$ZM_DIR/enough" 0
	finish "$ZM_LOAD" 120 "fio with verify" ||
		ktap_print_msg "$(tail -n 5 "$ZM_DIR/fio.out")"
	grep -q -E '^fio: |verify: ' "$ZM_DIR/fio.out" &&
		wrong "fio says: $(grep -m 3 -E '^fio: |verify: ' "$ZM_DIR/fio.out")"
	ask unlink "$ZM_DIR/enough"
	ask unlink "$ZM_DIR/fio.out"
}

make_fs() # FS DEVICE
{
	case $1 in
	ext4) run mkfs.ext4 -q -F "$2" ;;
	xfs) run mkfs.xfs -q -f "$2" ;;
	btrfs) run mkfs.btrfs -q -f "$2" ;;
	esac
}

# ---------------------------------------------------------------------------
# Mirrors
# ---------------------------------------------------------------------------

# Makes a table line, in ZM_LINE.
zm_line() # LENGTH SOURCE OFFSET DESTINATION OFFSET REGION [FEATURE...]
{
	ZM_LINE="0 $1 zmirror $2 $3 $4 $5 $6"
	[ $# -le 6 ] || ZM_LINE+=" $(($# - 6)) ${*:7}"
}

# A mirror, as long as the source is behind the offset, or ZM_LENGTH sectors.
new_mirror() # NAME SOURCE OFFSET DESTINATION OFFSET REGION [FEATURE...]
{
	local length=${ZM_LENGTH:-$(($(sectors_of "$2") - $3))}

	zm_line "$length" "${@:2}"
	new_dm "$1" "$ZM_LINE"
}

# Puts another line under a mirror.
reload_mirror() # NAME SOURCE OFFSET DESTINATION OFFSET REGION [FEATURE...]
{
	local length=${ZM_LENGTH:-$(($(sectors_of "$2") - $3))}

	zm_line "$length" "${@:2}"
	dm_swap "$1" "$ZM_LINE"
}

# What a message answers, in ZM_ANSWER.
message() # NAME WORD...
{
	must_dm message "$1" "${*:2}"
}

table_of() # NAME [inactive]
{
	dm table "$@"
	printf '%s' "$ZM_ANSWER"
}

events_of() # NAME: stored in ZM_EVENTS
{
	# shellcheck disable=SC2034 # the tests use it
	dm info "$1" && read -r _ _ ZM_EVENTS _ <<< "$ZM_ANSWER"
}

# Takes the status line apart, into ZM_ST: synced, total, region, state, health
# and the figures by their names.
declare -A ZM_ST

status_of() # NAME
{
	local word words

	dm status "$1" || { wrong "no status of $1"; return 1; }
	read -r -a words <<< "$ZM_ANSWER"
	ZM_ST=([synced]=${words[3]%/*} [total]=${words[3]#*/}
	       [region]=${words[4]} [state]=${words[5]} [health]=${words[6]})
	for word in "${words[@]:8}"; do
		ZM_ST[${word%%:*}]=${word#*:}
	done
}

status_line() # NAME
{
	dm status "$1"
	printf '%s' "$ZM_ANSWER"
}

wait_until() # WHAT SECONDS COMMAND...
{
	local deadline=$((SECONDS + $2 * ZM_PATIENCE + 1))

	until "${@:3}"; do
		[ "$SECONDS" -lt "$deadline" ] ||
			{ wrong "$1: not within $2 s"; return 1; }
		rest 0.1
	done
	return 0
}

status_is() # NAME KEY VALUE
{
	status_of "$1" && [ "${ZM_ST[$2]}" = "$3" ]
}

status_at_least() # NAME KEY VALUE
{
	status_of "$1" && [ "${ZM_ST[$2]}" -ge "$3" ]
}

# A mirror under writes is in sync and out of it by turns.
wait_state() # NAME STATE [SECONDS]
{
	wait_until "$1 is $2" "${3:-60}" status_is "$1" state "$2" ||
		wrong "the status is $ZM_ANSWER"
}

wait_sync() # NAME [SECONDS]
{
	wait_state "$1" in_sync "${2:-}" || return
	expect_eq "dirty regions" "${ZM_ST[dirty]}" 0
	expect_eq "regions in sync" "${ZM_ST[synced]}" "${ZM_ST[total]}"
	expect_eq "health" "${ZM_ST[health]}" AA
}

# ---------------------------------------------------------------------------
# Legs that can be broken and mended, SECTORS long: 256 regions of 128 sectors,
# 4 chunks
# ---------------------------------------------------------------------------

SECTORS=32768
# shellcheck disable=SC2034 # the tests use it
BROKEN="0 $SECTORS error"	# passes flushes
declare -A WELL		# tables of the legs by their names
declare -A DISK		# what the legs are made of

# A mapped device of that name.
new_leg() # NAME
{
	local disk

	new_loop disk $((SECTORS / 2))K || return
	# shellcheck disable=SC2034 # the tests use it
	DISK[$1]=$disk
	WELL[$1]="0 $SECTORS linear $disk 0"
	new_dm "$1" "${WELL[$1]}"
}

# Both legs, the source with data, and a mirror m.
new_broken_pair() # FEATURE...
{
	new_leg src && new_leg dst || return
	must fill "$ZM_DEV/src" 65536 || return
	new_mirror m "$ZM_DEV/src" 0 "$ZM_DEV/dst" 0 128 "$@"
}

# Some sectors of a leg can be neither read nor written.
bad_sectors() # LEG FIRST NUMBER
{
	local disk=${DISK[$1]} behind=$(($2 + $3))

	dm_swap "$1" "0 $2 linear $disk 0;$2 $3 error;$behind $((SECTORS - behind)) linear $disk $behind"
}

mend() # LEG
{
	dm_swap "$1" "${WELL[$1]}" && message m resume
}

# What a device has, as a whole.
sum_of() # DEVICE
{
	dd if="$1" bs=1M iflag=direct status=none | cksum
}

legs_are_equal()
{
	wait_sync m || return
	expect_equal "$ZM_DEV/src" 0 "$ZM_DEV/dst" 0 "$SECTORS"
}

# ---------------------------------------------------------------------------
# The whole script
# ---------------------------------------------------------------------------

zm_begin()
{
	[ "$(id -u)" -eq 0 ] || skip_all "must be root"
	need_program dmsetup losetup blockdev python3 || skip_all "$ZM_SKIP"
	need_target zmirror || skip_all "$ZM_SKIP"

	ZM_DIR=$(mktemp -d "/tmp/$ZM_ID.XXXXXX") || skip_all "no directory"
	trap 'zm_cleanup' EXIT
	trap 'exit 130' INT TERM HUP
	undo rmdir "$ZM_DIR"
	# Huge pages would allocate what nobody wrote.
	mount -t tmpfs -o size=90%,huge=never "$ZM_ID" "$ZM_DIR" 2> /dev/null ||
		mount -t tmpfs -o size=90% "$ZM_ID" "$ZM_DIR" ||
		skip_all "no tmpfs"
	undo umount "$ZM_DIR"
	ZM_DEV=$ZM_DIR/dev
	mkdir "$ZM_DEV"
	[ -e /dev/fd ] || ln -s /proc/self/fd /dev/fd
	mkfifo "$ZM_DIR/nothing"
	exec {ZM_NOTHING}<> "$ZM_DIR/nothing"
	undo close_nothing
	exec {ZM_KMSG}< /dev/kmsg || skip_all "no /dev/kmsg"
	log_read
	ZM_LOG=
	trap 'bail_out "$(cat "$ZM_DIR/hung")"' USR1
	helper_start
}

zm_one() # DESCRIPTION COMMAND
{
	local before=${#ZM_UNDO[@]} started=$SECONDS

	ZM_WRONG=0
	ZM_SKIP=
	eval "$2" || [ -n "$ZM_SKIP" ] || ZM_WRONG=1
	undo_to "$before"
	log_check
	[ $((SECONDS - started)) -lt 15 ] ||
		ktap_print_msg "took $((SECONDS - started)) s"

	if [ "$ZM_WRONG" -ne 0 ]; then
		ktap_test_fail "$1"
	elif [ -n "$ZM_SKIP" ]; then
		ktap_test_skip "$1" "$ZM_SKIP"
	else
		ktap_test_pass "$1"
	fi
}

# Runs the tests, or those whose description contains the word in ZM_ONLY; with N/M in
# ZM_LINES, of these every M-th from the N-th on, where there are that many.
zm_run()
{
	local i chosen=() lines=${ZM_LINES:-1/1}

	for i in "${!ZM_COMMANDS[@]}"; do
		[[ ${ZM_DESCRIPTIONS[i]} != *"${ZM_ONLY:-}"* ]] ||
			chosen+=("$i")
	done
	if [ "${#chosen[@]}" -ge "${lines#*/}" ]; then
		for i in "${!chosen[@]}"; do
			[ $((i % ${lines#*/})) = $((${lines%/*} - 1)) ] ||
				unset "chosen[$i]"
		done
	fi

	zm_begin
	if [ -n "$ZM_SETUP" ]; then
		"$ZM_SETUP" || ZM_WRONG=1
		[ -z "$ZM_SKIP" ] || skip_all "$ZM_SKIP"
		[ "$ZM_WRONG" -eq 0 ] || bail_out "the setup failed"
	fi
	ktap_print_header
	ktap_set_plan "${#chosen[@]}"
	for i in "${chosen[@]}"; do
		zm_one "${ZM_DESCRIPTIONS[i]}" "${ZM_COMMANDS[i]}"
	done
	zm_cleanup
	ktap_finished
}
