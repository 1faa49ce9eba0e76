#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# What a sparse source leaves allocated on the destination, for each kind of
# destination, what it held before, and what the table promises and allows: the
# matrix of QEMU's mirror-sparse test. Each line of TAP has a table before it.
#
# ZM_ALL	if set: every combination, which takes minutes

# shellcheck source=dm-zmirror-lib.sh
. "$(dirname "$0")/dm-zmirror-lib.sh"

MIB=20			# of each leg; sectors 16384 to 20479 of the source hold data
SECTORS=$((MIB * 2048))
FORM='%-9s %-12s %-7s %-27s %6s  %-6s %s'

# ---------------------------------------------------------------------------
# Sources, and what destinations are filled with
# ---------------------------------------------------------------------------

holes='' holes_file='' zeroes='' zeroes_file=''

make_files()
{
	local file

	for file in zeroes random; do
		must make "$ZM_DIR/$file" "${MIB}M" || return
		undo ask unlink "$ZM_DIR/$file"
	done
	must fill "$ZM_DIR/random" 1048576 1 0 2

	new_loop holes "${MIB}M" && new_loop zeroes "${MIB}M" || return
	must copy "$ZM_DIR/zeroes" "$zeroes" 1048576
	must fill "$holes" $((2 << 20)) 100 4
	must fill "$zeroes" $((2 << 20)) 100 4
	expect_eq "bytes allocated to holes" "$(allocated "$holes_file")" \
		$((2 << 20))
	expect_eq "bytes allocated to zeroes" "$(allocated "$zeroes_file")" \
		$((MIB << 20))
}
zm_setup make_files

# ---------------------------------------------------------------------------
# Destinations: dst, and what allocated_mib needs to know
# ---------------------------------------------------------------------------

# Writes zeroes by punching holes, and discards.
new_dest_loop()
{
	new_loop dst "${MIB}M"
}

# Discards only.
new_dest_delay()
{
	local dst_disk

	need_target delay && new_loop dst_disk "${MIB}M" &&
		new_dm delay "0 $SECTORS delay $dst_disk 0 0" || return
	dst=$ZM_DEV/delay
	# shellcheck disable=SC2154 # new_loop sets it
	dst_file=$dst_disk_file
}

# A pool of thin volumes, for the whole test.
new_pool() # [FEATURE...]
{
	local meta data

	need_target thin-pool && new_loop meta 4M &&
		new_loop data $((MIB + 4))M || return
	new_dm pool "0 $((SECTORS + 8192)) thin-pool $meta $data 128 0 $# $*"
}

# Discards only; nothing at all in a pool that ignores discards.
new_dest_thin()
{
	must_dm message pool "create_thin $((++THIN))" || return
	undo must_dm message pool "delete $THIN"
	new_dm thin "0 $SECTORS thin $ZM_DEV/pool $THIN" || return
	dst=$ZM_DEV/thin
}

new_dest_bare()
{
	new_dest_thin
}

allocated_mib() # KIND
{
	local bytes sectors

	case $1 in
	loop|delay)
		bytes=$(allocated "$dst_file") ;;
	*)
		dm status thin
		read -r _ _ _ sectors _ <<< "$ZM_ANSWER"
		bytes=$((sectors * 512)) ;;
	esac
	MIB_ALLOCATED=$(((bytes + 1048575) >> 20))
}

# It can do what its kind is here for, and nothing else.
check_kind() # KIND
{
	local queue zeroes discards can=

	queue=/sys/class/block/$(disk_of "$dst")/queue
	read -r zeroes < "$queue/write_zeroes_max_bytes"
	read -r discards < "$queue/discard_max_bytes"
	[ "$zeroes" = 0 ] || can+=" zeroes"
	[ "$discards" = 0 ] || can+=" discards"
	case $1$can in
	"loop zeroes discards"|"delay discards"|"thin discards"|bare) ;;
	*) skip "here, $1 can do:${can:- nothing}" ;;
	esac
}

# ---------------------------------------------------------------------------
# The matrix
# ---------------------------------------------------------------------------

# Whether a destination of that kind unmaps, as the table allows.
unmaps() # KIND FEATURE...
{
	case " ${*:2} " in
	*" no_unmap "*) return 1 ;;
	*" discard_zeroes "*) [ "$1" != bare ] ;;
	*) [ "$1" = loop ] ;;
	esac
}

# What has been promised to be zero is left as it is, whatever is allocated. Of
# anything else nothing is known, so that it is zeroed in one way or another.
wanted() # KIND STATE FEATURE...
{
	case " ${*:3} " in
	*" dest_zeroed "*)
		[ "$2" = fresh ] && echo sparse || echo full ;;
	*)
		unmaps "$1" "${@:3}" && echo sparse || echo full ;;
	esac
}

# A destination that has no cheap way to zero is not zeroed beforehand, which the
# kernel tells. Without unmapping, it depends on the file system.
check_prezero() # KIND FEATURE...
{
	local told=no want=yes

	log_read
	[[ " ${*:2} " != *" no_unmap "* ]] || return 0
	[[ $ZM_LOG_NEW != *prezero* ]] || told=yes
	! unmaps "$@" || want=no
	expect_eq "a warning of prezero" "$told" "$want"
}

# A promise must be true. Without ZM_ALL, much of what makes no difference to the
# mirror is left out.
chosen() # KIND STATE WAY PROMISE
{
	[ "$2:$4" != random:dest_zeroed ] || return
	[ -z "${ZM_ALL:-}" ] || return 0
	if [ "$source" = zeroes ]; then
		[ "$2$4" = random ] && [ "$3" != no_unmap ]
		return
	fi
	case $1:$2:$3:$4 in
	loop:zeroes:*:prezero|loop:zeroes:?*:?*) return 1 ;;
	thin:zeroes:*:prezero|thin:zeroes:?*:?*|thin:*:no_unmap:?*) return 1 ;;
	delay:zeroes:*|delay:*:no_unmap:?*) return 1 ;;
	bare:zeroes:*|bare:*:?*:?*) return 1 ;;
	esac
}

# Faster than to compare all of two legs.
check_content()
{
	expect_zero "$dst" 0 16384
	expect_equal "$src" 16384 "$dst" 16384 4096
	expect_zero "$dst" 20480 $((SECTORS - 20480))
}

row() # KIND STATE FEATURE...
{
	local kind=$1 state=$2 verdict=ok least=0 most=1000000 want
	local dst dst_file failed=$ZM_WRONG before=${#ZM_UNDO[@]}

	ZM_WRONG=0
	MIB_ALLOCATED=-
	want=$(wanted "$@")
	case $want in
	sparse) most=3 ;;
	full) least=$MIB ;;
	esac
	if "new_dest_$kind" && check_kind "$kind"; then
		[ "$state" = fresh ] ||
			must copy "$ZM_DIR/$state" "${dst_file:-$dst}" 1048576
		if new_mirror m "$src" 0 "$dst" 0 128 "${@:3}" &&
		   wait_sync m; then
			allocated_mib "$kind"
			expect_ge "MiB allocated" "$MIB_ALLOCATED" "$least"
			expect_le "MiB allocated" "$MIB_ALLOCATED" "$most"
			check_content
			[[ " ${*:3} " != *" prezero "* ]] ||
				check_prezero "$kind" "${@:3}"
		fi
	fi
	undo_to "$before"
	[ -z "$ZM_SKIP" ] || return
	[ "$ZM_WRONG" -eq 0 ] || verdict="NOT OK"
	# shellcheck disable=SC2059 # the form is ours
	ktap_print_msg "$(printf "$FORM" "$source" "$state" "$kind" "${*:3}" \
		"$MIB_ALLOCATED" "$want" "$verdict")"
	[ "$failed" -eq 0 ] || ZM_WRONG=1
}

t_matrix() # SOURCE KIND
{
	local source=$1 kind=$2 src=${!1} state way promise

	THIN=0
	case $kind in
	thin) new_pool || return ;;
	bare) new_pool ignore_discard || return ;;
	esac
	# shellcheck disable=SC2059 # the form is ours
	ktap_print_msg "$(printf "$FORM" source destination kind features MiB want "")"
	for state in fresh zeroes random; do
		for way in "" no_unmap discard_zeroes; do
			for promise in "" prezero dest_zeroed; do
				chosen "$kind" "$state" "$way" "$promise" ||
					continue
				# shellcheck disable=SC2086 # words
				row "$kind" "$state" $way $promise
				[ -z "$ZM_SKIP" ] || return
			done
		done
	done
	expect_zero "$src" 0 16384
	expect_zero "$src" 20480 $((SECTORS - 20480))
}

for kind in loop delay thin bare; do
	for source in holes zeroes; do
		zm_test "source of $source, destination $kind" \
			t_matrix $source $kind
	done
done

zm_run
