#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# What the kernel's own tools say of the sources, as TAP: lint.sh [CHECK...]
#
# All checks are made unless some are named. One passes when nothing is said.
set -uo pipefail

here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../../.." && pwd)
vm=$top/tools/testing/vm
cache=${ZMIRROR_CACHE:-/var/cache/dm-zmirror}
manual=Documentation/admin-guide/device-mapper/dm-zmirror.rst
cd "$top" || exit

# The scripts of a kernel's source, which are unpacked once.
unpack_scripts()
{
	scripts=$cache/scripts-$(dpkg-query -W -f '${Version}' linux-source-6.12)
	if [ ! -e "$scripts/.complete" ]; then
		rm -rf "$scripts"
		mkdir -p "$scripts"
		tar -C "$scripts" --strip-components=1 \
			-xf /usr/src/linux-source-6.12.tar.xz \
			linux-source-6.12/scripts \
			linux-source-6.12/Documentation/sphinx || return
		touch "$scripts/.complete"
	fi
	scripts=$scripts/scripts
}

build()
{
	"$vm/build-module.sh" "$1" /dev/null "${@:2}"
}

# Each kernel is built for by the compiler that it was built with.
warnings()
{
	build "$1" W=1
}

# Debian's headers of the newest kernel lack the script by which it finds out
# whether sparse is any good, and leaves it out: KBUILD_CHECKSRC insists. And
# sparse 0.6.4 does not know __typeof_unqual__.
newest_sparse=(KBUILD_CHECKSRC=2 CF=-D__typeof_unqual__=__typeof__)

# It takes the length of a string for no constant either, which the newest
# kernel's MODULE_AUTHOR() and the like assert something of.
without_module_info()
{
	local line place='([^/:]+\.c):([0-9]+):[0-9]+: error: bad constant expr'

	while read -r line; do
		if [[ $line =~ $place ]] &&
		   sed -n "${BASH_REMATCH[2]}p" "drivers/md/${BASH_REMATCH[1]}" |
		   grep -q MODULE_; then
			continue
		fi
		printf '%s\n' "$line"
	done
}

# Each file that was looked at is told of, in words that build-module.sh lets
# through, so that a sparse that was left out is no success.
sparse()
{
	local -a flags=() sources=(drivers/md/*.c)
	local said status=0 checked mark='CHECK, error or not:'

	[ "$1" != newest ] || flags=("${newest_sparse[@]}")
	said=$(build "$1" C=2 "quiet_cmd_force_checksrc=$mark \$<" \
		"${flags[@]}" 2>&1) || status=$?
	checked=$(grep -c "$mark" <<<"$said")
	grep -v "$mark" <<<"$said" | without_module_info | grep .
	[ "$checked" = ${#sources[@]} ] ||
		echo "$checked of ${#sources[@]} files were checked"
	return "$status"
}

# There is no kernel's tree around the files, hence --no-tree.
run_checkpatch()
{
	"$scripts/checkpatch.pl" --strict --no-tree --no-summary --terse \
		--show-types --color=never -f "$@"
}

# Tracepoints have a form of their own, which it does not know.
checkpatch()
{
	local trace=drivers/md/dm-zmirror-trace.h file files=()

	for file in drivers/md/*.[ch]; do
		[ "$file" = "$trace" ] || files+=("$file")
	done
	run_checkpatch "${files[@]}"
	run_checkpatch --ignore OPEN_ENDED_LINE,PARENTHESIS_ALIGNMENT,SPACING \
		"$trace"
}

# User space has no __printf() or __noreturn, nor any use for __func__ in words
# that happen to be the name of a function.
checkpatch_model()
{
	run_checkpatch \
		--ignore PREFER_DEFINED_ATTRIBUTE_MACRO,EMBEDDED_FUNCTION_NAME \
		tools/testing/region/*.c
}

# Nor has it BIT() or kstrtou64(), and its libraries have names in CamelCase. What a user
# is told stays one string, however long.
checkpatch_tool()
{
	local ignore=PREFER_DEFINED_ATTRIBUTE_MACRO,EMBEDDED_FUNCTION_NAME,BIT_MACRO

	ignore+=,NAKED_SSCANF,CAMELCASE,AVOID_EXTERNS,COMPLEX_MACRO
	ignore+=,LONG_LINE,MISSING_SPACE,LONG_LINE_STRING,SPLIT_STRING,QUOTED_WHITESPACE_BEFORE_NEWLINE
	run_checkpatch --ignore "$ignore" tools/zmirror/*.[ch] tools/zmirror/tests/*.[ch]
}

# The shim has the kernel's own macros and types, which use an argument twice
# where the kernel does, and define what the kernel defines.
checkpatch_shim()
{
	run_checkpatch --ignore MACRO_ARG_REUSE,MEMORY_BARRIER,NEW_TYPEDEFS \
		tools/testing/region/shim/*.h tools/testing/region/shim/linux/*.h
}

kernel_doc()
{
	"$scripts/kernel-doc" -none -Werror drivers/md/*.[ch]
}

# A function or type that one file offers to others has its contract over it.
headers_documented()
{
	local header name

	for header in drivers/md/dm-zmirror*.h; do
		sed -n 's/^[a-z].*[ *]\(zm_[a-z0-9_]*\)(.*/\1/p' "$header" |
		while read -r name; do
			grep -q "^ \* $name - " "$header" ||
				echo "$header: $name() has no kernel-doc"
		done
	done
}

versions()
{
	! grep -nE 'LINUX_VERSION_CODE|KERNEL_VERSION\(|linux/version\.h' \
		--exclude=dm-zmirror-compat.h drivers/md/*.[ch]
}

# As in the kernel's tree, fragments of a configuration and the like bear none.
licences()
{
	local file

	git ls-files -co --exclude-standard |
	while read -r file; do
		case "$file" in
		*.md|*.config|*/README|*/config|*/settings) continue ;;
		debian/control|debian/source/format|debian/*.*) continue ;;
		.gitignore|*/.gitignore|*/.shellcheckrc) continue ;;
		Documentation/benchmark/*.svg|*.json) continue ;;
		esac
		[ ! -f "$file" ] || head -n 3 "$file" |
			grep -qE 'SPDX-License-Identifier: GPL-2\.0(-only)?( |$)' ||
			echo "$file: no licence"
	done
}

rst()
{
	rst2html --halt=2 --report=1 "$manual" /dev/null
}

# What the manual does not name, nobody finds.
manual_complete()
{
	local word

	{
		sed -n 's/^\t{ "\([a-z_]*\):\{0,1\}", .*/\1/p' \
			drivers/md/dm-zmirror-feature.c
		grep -oE '(^|[" ])[a-z_]+:%(u|lld)' drivers/md/dm-zmirror-message.c |
			sed 's/[" ]*\([a-z_]*\):.*/\1/; /^jobs$/d'
		sed -n 's/.*MODULE_WITH_PARM(\([a-z_]*\),.*/\1/p
			s/.*THROTTLE_WITH_MODULE_PARM(\([a-z_]*\),.*/\1/p' \
			drivers/md/*.c
	} | sort -u |
	while read -r word; do
		grep -qE "^\`\`${word}[:\`]" "$manual" ||
			echo "$manual does not tell of $word"
	done
}

shell_scripts()
{
	local -a files

	mapfile -t files < <(git ls-files -co --exclude-standard |
		xargs grep -slE '^#!/bin/(ba)?sh' -- | sort)
	shellcheck -x -P SCRIPTDIR "${files[@]}"
}

# Each check: the words that name it, and the function, as one line.
checks()
{
	local kernel

	for kernel in 6.1 6.12 newest; do
		echo "W=1 on $kernel;warnings $kernel"
		echo "sparse on $kernel;sparse $kernel"
	done
	cat <<-END
	checkpatch --strict;checkpatch
	checkpatch --strict of the model;checkpatch_model
	checkpatch --strict of the model's shim;checkpatch_shim
	checkpatch --strict of the tool;checkpatch_tool
	kernel-doc;kernel_doc
	contracts in the headers;headers_documented
	kernel versions in one header only;versions
	licences;licences
	the manual, by rst2html;rst
	the manual is complete;manual_complete
	shellcheck;shell_scripts
	END
}

nr=0
failed=0
check() # DESCRIPTION COMMAND...
{
	local what=$1 said
	shift

	nr=$((nr + 1))
	if said=$("$@" 2>&1) && [ -z "$said" ]; then
		echo "ok $nr $what"
	else
		echo "not ok $nr $what"
		printf '%s\n' "$said" | sed 's/^/# /' | head -n 100
		failed=$((failed + 1))
	fi
}

unpack_scripts || { echo "lint.sh: no linux-source-6.12" >&2; exit 1; }
while IFS=';' read -r what command; do
	if [ $# = 0 ] || [[ " $* " == *" ${command%% *} "* ]]; then
		# shellcheck disable=SC2086
		check "$what" $command </dev/null
	fi
done < <(checks)

echo "1..$nr"
echo "$((nr - failed)) passed, $failed failed"
[ "$failed" = 0 ] && [ $nr -gt 0 ]
