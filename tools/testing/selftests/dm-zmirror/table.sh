#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# What users type and read: every malformed table line and message is refused
# with its own message in the kernel's log, and changes nothing; a table that is
# printed loads again and means the same; the status has its form.

# shellcheck source=dm-zmirror-lib.sh
. "$(dirname "$0")/dm-zmirror-lib.sh"

LENGTH=16384		# sectors of a leg
BIG=$((1 << 36))	# 32 TiB, 2^29 regions of 128 sectors

# The lines and messages to be refused. All are tried on one running mirror
# before the first test, so that the log is read once; a marker stands before
# each.
BAD_COMMANDS=()
BAD_WANTED=()
BAD_RC=()
BAD_LOG=()
declare -A PLACES

# Words in capitals stand for devices.
bad() # DESCRIPTION LOGGED VERB WORD...
{
	local IFS=$'\t'

	zm_test "refused: $1" t_refused "${#BAD_COMMANDS[@]}"
	BAD_COMMANDS+=("${*:3}")
	BAD_WANTED+=("$2")
}

bad_line() # DESCRIPTION LINE LOGGED
{
	bad "$1" "$3" load "$2"
}

bad_message() # DESCRIPTION MESSAGE LOGGED
{
	bad "$1" "$3" message "$2"
}

t_refused() # NUMBER
{
	expect_ne "the error for '${BAD_COMMANDS[$1]}'" "${BAD_RC[$1]}" 0 &&
		expect_like "the log" "${BAD_LOG[$1]}" "${BAD_WANTED[$1]}"
}

# What is accepted by mistake is cleared away.
try_bad() # COMMAND
{
	local words word line=$1

	for word in "${!PLACES[@]}"; do
		line=${line//$word/${PLACES[$word]}}
	done
	IFS=$'\t' read -r -a words <<< "$line"
	dm "${words[0]}" live "${words[@]:1}" && {
		dm clear live
		return 0
	}
}

setup()
{
	local src dst four small big ro ratelimit i n=-1 line

	new_loop src 8M 512 partscan && new_loop dst 8M &&
		new_loop four 8M 4096 && new_loop small 4M &&
		new_loop big 32T && new_loop ro 8M 512 readonly || return
	must addpart "$src" 1 8192 8192 || return
	new_mirror live "$src" 0 "$dst" 0 128 dest_zeroed paused || return

	PLACES=([LEN]=$LENGTH [SRC]=$src [DST]=$dst [FOUR]=$four [SMALL]=$small
		[BIG]=$big [SELF]=$ZM_DEV/live [PART]=${src}p1 [LOCKED]=$ro)
	BEFORE_TABLE=$(table_of live)
	BEFORE_STATUS=$(status_line live)

	ratelimit=$(cat /proc/sys/kernel/printk_devkmsg)
	echo on > /proc/sys/kernel/printk_devkmsg 2> /dev/null
	log_read
	for i in "${!BAD_COMMANDS[@]}"; do
		ask log "$ZM_ID line $i"
		try_bad "${BAD_COMMANDS[i]}"
		BAD_RC[i]=$?
	done
	log_read
	echo "$ratelimit" > /proc/sys/kernel/printk_devkmsg 2> /dev/null

	while read -r line; do
		if [[ $line == "$ZM_ID line "* ]]; then
			n=${line##* }
		elif [ "$n" -ge 0 ]; then
			BAD_LOG[n]+="$line"$'\n'
		fi
	done <<< "$ZM_LOG_NEW"
	ZM_LOG=
}
zm_setup setup

# ---------------------------------------------------------------------------
# Lines
# ---------------------------------------------------------------------------

LINE='0 LEN zmirror SRC 0 DST 0 128'

bad_line "no arguments" '0 LEN zmirror' 'Missing arguments'
bad_line "a source alone" '0 LEN zmirror SRC' 'Missing arguments'
bad_line "no destination" '0 LEN zmirror SRC 0' 'Missing arguments'
bad_line "no destination offset" '0 LEN zmirror SRC 0 DST' 'Missing arguments'
bad_line "no region size" '0 LEN zmirror SRC 0 DST 0' 'Missing arguments'
bad_line "length zero" '0 0 zmirror SRC 0 DST 0 128' 'zero-length'
bad "a read-only mirror" 'cannot be read-only' load "$LINE" readonly

for leg in Source Destination; do
	if [ $leg = Source ]; then
		before='' after=' DST 0 128'
		device=SRC
	else
		before='SRC 0 ' after=' 128'
		device=DST
	fi
	name=${leg,}
	bad_line "a $name that is not there" \
		"0 LEN zmirror ${before}/dev/$ZM_ID-none 0$after" \
		"Cannot open $name device"
	bad_line "a $name that is no device" \
		"0 LEN zmirror ${before}/proc/version 0$after" \
		"Cannot open $name device"
	bad_line "a read-only $name" "0 LEN zmirror ${before}LOCKED 0$after" \
		"[Rr]ead-only|Cannot open $name device"
	bad_line "a $name that is the mirror itself" \
		"0 LEN zmirror ${before}SELF 0$after" \
		"Cannot open $name device|$leg device is the mirror itself"
	bad_line "a $name that is too small" \
		"0 LEN zmirror ${before}SMALL 0$after" \
		"$leg device is too small"
	for offset in -1 x 1x 0x10 1.5 99999999999999999999; do
		bad_line "$name offset $offset" \
			"0 LEN zmirror ${before}$device $offset$after" \
			"Invalid $name offset"
	done
	for offset in 8 16385 18446744073709551608; do
		bad_line "$name offset $offset, past the end" \
			"0 LEN zmirror ${before}$device $offset$after" \
			"$leg device is too small"
	done
	bad_line "$name offset that is no multiple of its block size" \
		"0 8192 zmirror ${before}FOUR 4$after" \
		"$leg offset or length is not a multiple"
done
bad_line "a length that is no multiple of the block size" \
	'0 16380 zmirror FOUR 0 DST 0 128' 'length is not a multiple'

bad_line "the source as destination" '0 LEN zmirror SRC 0 SRC 0 128' 'overlap'
bad_line "legs that overlap in one sector" \
	'0 4097 zmirror SRC 0 SRC 4096 128' 'overlap'
bad_line "legs that overlap, the destination first" \
	'0 4097 zmirror SRC 4096 SRC 0 128' 'overlap'
bad_line "a partition of the source as destination" \
	'0 8192 zmirror SRC 1 PART 0 128' 'overlap|Cannot open destination'
bad_line "a partition of the destination as source" \
	'0 8192 zmirror PART 0 SRC 8191 128' \
	'overlap|Cannot open source'

for region in -8 x 128x 0x80 4294967304 18446744073709551744; do
	bad_line "region size $region" "${LINE% *} $region" 'Invalid region size'
done
for region in 7 12 129 2097153; do
	bad_line "region size $region, no power of two" "${LINE% *} $region" \
		'Region size is not a power of two'
done
for region in 1 4 4194304 2147483648; do
	bad_line "region size $region" "${LINE% *} $region" \
		'Region size is not between 8 and 2097152'
done
bad_line "regions of 4 KiB on 32 TiB" \
	"0 $((BIG / 4)) zmirror BIG 0 BIG $((BIG / 2)) 8" 'more than 2\^28 regions'

for count in -1 x 1x 99999999999 8; do
	bad_line "feature count $count" "$LINE $count paused" \
		'[Ii]nvalid number of features'
done
bad_line "fewer features than counted" "$LINE 2 paused" \
	'[Ii]nvalid number of features'
bad_line "more features than counted" "$LINE 1 paused nosync" \
	'Arguments after the features'
bad_line "features though none are counted" "$LINE 0 paused" \
	'Arguments after the features'
bad_line "a feature without a count" "$LINE paused" '[Ii]nvalid number of features'

bad_line "an unknown feature" "$LINE 1 bogus" 'Unknown feature: bogus'
bad_line "an unknown feature with a value" "$LINE 1 bogus:1" 'Unknown feature: bogus:1'
bad_line "a feature cut short" "$LINE 1 pause" 'Unknown feature: pause'
bad_line "a feature with a tail" "$LINE 1 pausedx" 'Unknown feature: pausedx'
bad_line "an empty name with a value" "$LINE 1 :4" 'Unknown feature: :4'
for feature in dest_zeroed nosync no_unmap paused prezero discard_zeroes; do
	bad_line "$feature twice" "$LINE 2 $feature $feature" \
		"Feature given twice: $feature"
	for value in : :1 :on; do
		bad_line "a value for $feature: '$value'" "$LINE 1 $feature$value" \
			"Feature $feature takes no value"
	done
done
bad_line "jobs twice" "$LINE 2 jobs:4 jobs:8" 'Feature given twice: jobs:8'
bad_line "zero_detect twice" "$LINE 2 zero_detect:on zero_detect:on" \
	'Feature given twice: zero_detect'
bad_line "copy_mode twice" "$LINE 2 copy_mode:sync copy_mode:async" \
	'Feature given twice: copy_mode'
for value in '' : :0 :257 :-1 :x :4x :4:4 :99999999999; do
	bad_line "jobs$value" "$LINE 1 jobs$value" \
		'Feature jobs takes a number from 1 to 256'
done
for value in '' : :1 :63 :-64 :x :AUTO :64K :4294967296; do
	bad_line "rate$value" "$LINE 1 rate$value" \
		'Feature rate takes KiB a second, from 64, or 0, or auto'
done
for value in '' : :0 :1001 :-1 :x :25% :4294967296; do
	bad_line "latency_target$value" "$LINE 1 latency_target$value" \
		'Feature latency_target takes percent, from 1 to 1000'
done
for value in '' : :1 :1023 :-1024 :x :1M :4294967296; do
	bad_line "scan_rate$value" "$LINE 1 scan_rate$value" \
		'Feature scan_rate takes KiB a second, from 1024, or 0'
done
for value in '' : :yes :ON :1 :on:; do
	bad_line "zero_detect$value" "$LINE 1 zero_detect$value" \
		'Feature zero_detect takes on or off'
done
for value in '' : :fast :sync,async; do
	bad_line "copy_mode$value" "$LINE 1 copy_mode$value" \
		'Feature copy_mode takes sync, async or auto'
done
for value in '' : :yes :EXACT :pass,ignore; do
	bad_line "discard$value" "$LINE 1 discard$value" \
		'Feature discard takes exact, pass or ignore'
done
bad_line "discard twice" "$LINE 2 discard:pass discard:exact" \
	'Feature given twice: discard'
bad_line "prezero with nosync" "$LINE 2 prezero nosync" \
	'nosync and prezero exclude each other'
bad_line "discard_zeroes with no_unmap" "$LINE 2 no_unmap discard_zeroes" \
	'discard_zeroes and no_unmap exclude each other'
for value in '' : :on :skip :STOP; do
	bad_line "on_dest_error$value" "$LINE 1 on_dest_error$value" \
		'Feature on_dest_error takes stop or retry'
done
for value in '' : :on :retry :SKIP; do
	bad_line "on_source_error$value" "$LINE 1 on_source_error$value" \
		'Feature on_source_error takes stop, skip or failover'
done
bad_line "metadata, which is not there yet" "$LINE 1 metadata:SRC" \
	"not supported yet: metadata"

# ---------------------------------------------------------------------------
# Messages
# ---------------------------------------------------------------------------

bad_message "message bogus" 'bogus' 'bogus'
bad_message "message pause with an argument" 'pause now' 'pause takes no'
bad_message "message resume with an argument" 'resume now' 'resume takes no'
bad_message "message set alone" 'set' 'set takes a feature and a value'
bad_message "message set without a value" 'set jobs' \
	'set takes a feature and a value'
bad_message "message set with two values" 'set jobs 4 5' \
	'set takes a feature and a value'
for value in 0 257 -1 x 4x 99999999999; do
	bad_message "message set jobs $value" "set jobs $value" \
		"jobs takes a number from 1 to 256.*$value"
done
bad_message "message set jobs:4" 'set jobs:4 4' 'Unknown feature: jobs:4'
bad_message "message set zero_detect maybe" 'set zero_detect maybe' \
	'zero_detect takes on or off.*maybe'
bad_message "message set copy_mode fast" 'set copy_mode fast' \
	'copy_mode takes sync, async or auto.*fast'
bad_message "message set bogus" 'set bogus 1' 'Unknown feature: bogus'
for feature in dest_zeroed nosync no_unmap paused prezero discard_zeroes \
	       discard; do
	bad_message "message set $feature" "set $feature on" \
		"cannot be set by message: $feature"
done
for value in 1 63 x -64; do
	bad_message "message set rate $value" "set rate $value" \
		"rate takes KiB a second, from 64, or 0, or auto, not $value"
done
for feature in on_dest_error on_source_error; do
	bad_message "message set $feature maybe" "set $feature maybe" \
		"$feature takes stop.*maybe"
done
bad_message "message set metadata" 'set metadata x' \
	'not supported yet: metadata'
bad_message "message list alone" 'list' 'list takes dirty, zero, unread or mismatch'
bad_message "message list with four words" 'list zero 0 1 2' \
	'list takes dirty, zero, unread or mismatch'
bad_message "message list clean" 'list clean' 'list: dirty, zero, unread or mismatch, not clean'
for value in -1 x 1x 99999999999 128; do
	bad_message "message list dirty $value" "list dirty $value" \
		"list: a region below 128, not $value"
done
for value in 0 -1 x 99999999999; do
	bad_message "message list zero 0 $value" "list zero 0 $value" \
		"list: a number of regions, not $value"
done
bad_message "message verify with a word" 'verify all' 'verify takes repair'
bad_message "message verify with a start alone" 'verify 0' 'verify takes repair'
bad_message "message verify stop with a word" 'verify stop now' \
	'verify: a sector below .*, not stop'
bad_message "message verify repair with three words" 'verify repair 0 8 8' \
	'verify takes repair'
for value in -1 x 16384; do
	bad_message "message verify $value" "verify $value 8" \
		"verify: a sector below 16384, not $value"
done
for value in 0 -1 x 16377; do
	bad_message "message verify 8 $value" "verify 8 $value" \
		"verify: a number of sectors up to 16376, not $value"
done
bad_message "message mark alone" 'mark' 'mark takes dirty, clean'
bad_message "message mark without ranges" 'mark dirty' 'mark takes dirty'
bad_message "message mark with two words" 'mark dirty 0 1' 'mark takes dirty'
bad_message "message mark wrong" 'mark wrong 0' 'mark: dirty, clean.*not wrong'
for value in 128 0-128 4-3 x 1x -1 1- 1-2-3 '0,' ,0 0,,1 0,128 99999999999999999999; do
	bad_message "message mark dirty $value" "mark dirty $value" \
		"mark: ranges of regions below 128, not $value"
done
for value in clean zero; do
	bad_message "message mark $value of a mirror in use" "mark $value 0" \
		"mark: $value only while the device is suspended"
done

t_nothing_changed()
{
	expect_eq "table" "$(table_of live)" "$BEFORE_TABLE"
	expect_eq "status" "$(status_line live)" "$BEFORE_STATUS"
	expect_eq "inactive table" "$(table_of live inactive)" ""
	must_dm resume live
	expect_eq "table" "$(table_of live)" "$BEFORE_TABLE"
}
zm_test "what is refused changes nothing" t_nothing_changed

# ---------------------------------------------------------------------------
# What is accepted
# ---------------------------------------------------------------------------

sorted()
{
	[ $# -eq 0 ] || printf '%s\n' "$@" | sort | paste -s -d ' '
}

# Loads a line, and then the line that is printed for it.
t_round_trip() # REGION PRINTED_REGION FEATURES PRINTED_FEATURES
{
	local length src dst words features line again

	read -r -a features <<< "$3"
	length=$LENGTH src=${PLACES[SRC]} dst=${PLACES[DST]}
	new_dm trip || return
	zm_line $((length - 8)) "$src" 8 "$dst" 0 "$1" "${features[@]}"
	must_dm load trip "$ZM_LINE" || return
	line=$(table_of trip inactive)

	read -r -a words <<< "$line"
	expect_like "the line" "$line" \
		"^0 $((length - 8)) zmirror [0-9]+:[0-9]+ 8 [0-9]+:[0-9]+ 0 $2( |\$)"
	expect_eq "count of features" "${words[8]:-0}" "$(wc -w <<< "$4")"
	# shellcheck disable=SC2086 # words
	expect_eq "features" "$(sorted "${words[@]:9}")" "$(sorted $4)"

	must_dm clear trip
	must_dm load trip "$line" || return
	again=$(table_of trip inactive)
	expect_eq "the line once more" "$again" "$line"
}

trip() # REGION PRINTED_REGION FEATURES [PRINTED_FEATURES]
{
	zm_test "table round trip: region size $1 ${3:-no features}" \
		t_round_trip "$1" "$2" "$3" "${4-$3}"
}

trip 0 128 ""
trip 8 8 ""
trip 2097152 2097152 ""
trip 128 128 dest_zeroed
trip 128 128 nosync
trip 128 128 "dest_zeroed nosync"
trip 128 128 zero_detect:off
trip 128 128 zero_detect:on ""
trip 128 128 jobs:1
trip 128 128 jobs:256
trip 128 128 jobs:16 ""
trip 128 128 on_dest_error:retry
trip 128 128 on_dest_error:stop ""
trip 128 128 on_source_error:skip
trip 128 128 on_source_error:failover
trip 128 128 on_source_error:stop ""
trip 128 128 rate:64
trip 128 128 rate:4294967295
trip 128 128 rate:0 ""
trip 128 128 "rate:1000 scan_rate:1024"
trip 128 128 rate:auto
trip 128 128 "rate:auto latency_target:1"
trip 128 128 latency_target:1000
trip 128 128 latency_target:25 ""
trip 128 128 scan_rate:0 ""
trip 128 128 no_unmap
trip 128 128 copy_mode:async
trip 128 128 copy_mode:auto
trip 128 128 copy_mode:sync ""
trip 128 128 paused
trip 128 128 prezero
trip 128 128 discard_zeroes
trip 128 128 discard:pass
trip 128 128 discard:ignore
trip 128 128 discard:exact ""
trip 128 128 "prezero discard_zeroes dest_zeroed discard:pass"
trip 128 128 "paused jobs:7 copy_mode:async zero_detect:off no_unmap nosync dest_zeroed"
trip 128 128 "no_unmap zero_detect:on jobs:3" "no_unmap jobs:3"

t_no_features_counted()
{
	new_dm trip "0 $LENGTH zmirror ${PLACES[SRC]} 0 ${PLACES[DST]} 0 128 0" ||
		return
	expect_like "the line" "$(table_of trip)" ' 0 128$'
}
zm_test "a feature count of 0 is accepted" t_no_features_counted

t_region_grows()
{
	new_dm trip || return
	must_dm load trip \
		"0 $((BIG / 2)) zmirror ${PLACES[BIG]} 0 ${PLACES[BIG]} $((BIG / 2)) 0" ||
		return
	expect_like "the line" "$(table_of trip inactive)" ' 128$'
	must_fail load "$ZM_ID-trip" \
		"0 $((BIG / 2)) zmirror ${PLACES[BIG]} 0 ${PLACES[BIG]} $((BIG / 2)) 64"
	must_dm clear trip
	new_loop huge 128T || return
	# shellcheck disable=SC2154 # set by new_loop
	must_dm load trip \
		"0 $((BIG * 2)) zmirror $huge 0 $huge $((BIG * 2)) 0" || return
	expect_like "the line" "$(table_of trip inactive)" ' 512$'
}
zm_test "the default region size grows until there are at most 2^28 regions" \
	t_region_grows

# ---------------------------------------------------------------------------
# What messages do
# ---------------------------------------------------------------------------

features_are() # FEATURES
{
	expect_like "after '$1' the table" "$(table_of live)" \
		" 128${2:+ $2}\$"
}

t_messages()
{
	message live resume
	features_are resume
	message live set jobs 4
	features_are "set jobs 4" "1 jobs:4"
	message live set zero_detect off
	features_are "set zero_detect off" "2 zero_detect:off jobs:4"
	message live set copy_mode async
	features_are "set copy_mode async" \
		"3 zero_detect:off copy_mode:async jobs:4"
	message live set rate 100000
	features_are "set rate 100000" \
		"4 zero_detect:off copy_mode:async rate:100000 jobs:4"
	message live set rate auto
	message live set latency_target 10
	features_are "set rate auto" \
		"5 zero_detect:off copy_mode:async rate:auto latency_target:10 jobs:4"
	message live set latency_target 25
	message live set rate 0
	message live set jobs 16
	features_are "set jobs 16" "2 zero_detect:off copy_mode:async"
	message live set zero_detect on
	features_are "set zero_detect on" "1 copy_mode:async"
	message live set copy_mode sync
	features_are "set copy_mode sync"
	message live pause
	features_are pause "1 paused"
	message live pause
	features_are "pause twice" "1 paused"
}
zm_test "messages change the table that is printed" t_messages

t_messages_reload()
{
	local line

	message live set jobs 5
	message live set copy_mode async
	line=$(table_of live)
	dm_swap live "$line"
	expect_eq "the line" "$(table_of live)" "$line"
	message live set jobs 16
	message live set copy_mode sync
}
zm_test "a line that messages have changed loads again" t_messages_reload

# ---------------------------------------------------------------------------
# The status
# ---------------------------------------------------------------------------

t_status()
{
	local line regions=$((LENGTH / 128)) sum

	message live resume
	wait_state live in_sync || return
	line=$(status_line live)
	expect_like "status" "$line" "^0 $LENGTH zmirror $regions/$regions 128 \
(resync|in_sync|paused|stopped) [A-Z][A-Z] [0-9]+ dirty:[0-9]+ zero:[0-9]+ \
read:[0-9]+ copied:[0-9]+ zeroed:[0-9]+ skipped:[0-9]+ fg_skipped:[0-9]+ \
source_errors:[0-9]+ dest_errors:[0-9]+ discarded:[0-9]+ served:[0-9]+ \
unread:[0-9]+ verify:[0-9]+/[0-9]+ mismatch:[0-9]+ unverified:[0-9]+ remaining:[0-9]+ writing:[0-9]+ reading:[0-9]+ bound:[0-9]+ latency:[0-9]+/[0-9]+\$"

	# shellcheck disable=SC2086 # words
	set -- $line
	expect_eq "count of figures" "$8" $(($# - 8))
	status_of live
	expect_eq "regions in sync and dirty" \
		$((ZM_ST[synced] + ZM_ST[dirty])) "$regions"
	sum=$((ZM_ST[copied] + ZM_ST[zeroed] + ZM_ST[skipped]))
	expect_eq "copied, zeroed and skipped" "$sum" "$LENGTH"
}
zm_test "the status has its form, and its sums are right" t_status

zm_run
