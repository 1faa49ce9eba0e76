#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# The help, the manuals and the completion tell of the same verbs, options and exit
# codes: check-docs.sh PROGRAM DIRECTORY-OF-THE-MANUALS
set -u

here=$(cd "$(dirname "$0")/.." && pwd)
program=$1
manuals=$2
bad=0

wrong()
{
	echo "check-docs: $*"
	bad=1
}

# Sorted words, and what a word's neighbour may not have.
same() # WHAT ONE OTHER
{
	[ "$2" = "$3" ] || wrong "$1 differ:
$(diff <(echo "$2") <(echo "$3"))"
}

sorted()
{
	sort -u | grep .
}

# shellcheck source=../completion/zmirror
. "$here/completion/zmirror"

verbs=$("$program" --help | sed -n 's/^  \([a-z]\{3,\}\) .*/\1/p' | sorted)
same "the verbs of the help and of the completion" "$verbs" \
	"$(tr ' ' '\n' <<< "$_zmirror_verbs" | sorted)"
same "the verbs of the help and the manuals" "$verbs" \
	"$(find "$manuals" -name 'zmirror-*.8' | sed 's/.*zmirror-\(.*\)\.8/\1/' | sorted)"

# A manual tells of options in bold where a line begins.
for verb in $verbs; do
	help=$("$program" "$verb" --help | sed -n 's/^  \(-l, \)\{0,1\}\(--.*\)/\2/p' |
		grep -oE '^--[a-z-]+(, --[a-z-]+)?' | grep -oE '\-\-[a-z-]+' | sorted)
	same "options of $verb in the help and the manual" "$help" \
		"$(sed -n '/^# OPTIONS/,/^# [^O]/p' "$here/man/zmirror-$verb.8.scd" |
		   grep -E '^\*' | grep -oE '\*--[a-z-]+' | tr -d '*' | sorted)"
	same "options of $verb in the help and the completion" "$help" \
		"$(_zmirror_options "$verb" | tr ' ' '\n' | sorted)"
	grep -q "zmirror-$verb\*(8)" "$here/man/zmirror.8.scd" ||
		wrong "zmirror(8) does not name zmirror-$verb(8)"
done

same "exit codes in the header and in zmirror(8)" \
	"$(sed -n 's/^\tZM_[A-Z_]* = \([0-9]\),.*/\1/p' "$here/zmirror.h" | sorted)" \
	"$(sed -n '/^# EXIT STATUS/,/^# W/s/^\*\([0-9]\)\*$/\1/p' "$here/man/zmirror.8.scd" | sorted)"
same "features to set in show.c and the completion" \
	"$(sed -n '/^} zm_settings/,/^};/s/^\t{ "\([a-z_]*\)".*/\1/p' "$here/show.c" | sorted)" \
	"$(tr ' ' '\n' <<< "$_zmirror_features" | sorted)"
same "features to set in show.c and zmirror-set(8)" \
	"$(sed -n '/^} zm_settings/,/^};/s/^\t{ "\([a-z_]*\)".*/\1/p' "$here/show.c" | sorted)" \
	"$(sed -n '/^# FEATURES/,/^# E/s/^\*\([a-z_]*\)\*$/\1/p' "$here/man/zmirror-set.8.scd" | sorted)"

# Numbers are told in the order of show.c, after the other keys.
same "keys of status --line in show.c and zmirror-status(8)" \
	"$(sed -n '/^static int zm_show_line/,/^}/p' "$here/show.c" |
	   grep -oE '[a-z_]+=%|show_word\("[a-z_]+' | sed 's/=%//; s/.*"//' | grep -v '^s$'
	   sed -n '/^} zm_numbers/,/^};/s/^\t{ "\([a-z_]*\)".*/\1/p' "$here/show.c")" \
	"$(sed -n '/^# KEYS/,/^# E/s/^\*\([a-z_]*\)\*$/\1/p' "$here/man/zmirror-status.8.scd")"

for file in "$manuals"/*.8; do
	said=$(groff -k -man -Tutf8 -ww "$file" 2>&1 > /dev/null)
	[ -z "$said" ] || wrong "$file: $said"
done

completes() # WORDS WANTED
{
	read -r -a COMP_WORDS <<< "$1"
	[[ $1 != *' ' ]] || COMP_WORDS+=("")
	COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
	_zmirror
	[ "${COMPREPLY[*]}" = "$2" ] || wrong "'$1' is completed to '${COMPREPLY[*]}', not '$2'"
}

completes "zmirror mi" migrate
completes "zmirror --dry-run pi" pivot
completes "zmirror pivot --k" --keep-mirroring
completes "zmirror set x on_s" on_source_error
completes "zmirror set x copy_mode a" "async auto"
completes "zmirror start a b --set zero" zero_detect:
completes "zmirror start a b --set no_" no_unmap
completes "zmirror start a b --set no" "no_unmap nosync"
completes "zmirror start a b --set discard_" discard_zeroes
completes "zmirror start a b --set copy_mode :" "sync async auto"
completes "zmirror start a b --set copy_mode : as" async
completes "zmirror start a b --set copy_mode:as" copy_mode:async
completes "zmirror start a b --set rate :" "auto 0"
completes "zmirror set x rate " "auto 0 100MiB"
completes "zmirror wait --timeout " ""
completes "zmirror verify --range 0 " ""
completes "zmirror start --dr" --dry-run

# What follows a value is no part of it.
# shellcheck disable=SC2317
_zmirror_devices()
{
	printf 'vg-data\nvg/data\n'
}
completes "zmirror start --set jobs : 4 vg" "vg-data vg/data"
completes "zmirror migrate --lvm vg/" vg/data

# shellcheck disable=SC2317
zmirror()
{
	[ "$*" = list ] && printf 'one\na b\n'
}
completes "zmirror pivot " 'one a\ b'
completes "zmirror set on" one

completes "zmirror start --hints $here/zmirror.h" "$here/zmirror.h"
exit $bad
