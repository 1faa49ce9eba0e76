#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# What the kernel's own tools say of the sources, as TAP. Nothing may be said.
set -uo pipefail

here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../../.." && pwd)
vm=$top/tools/testing/vm
cache=${ZMIRROR_CACHE:-/var/cache/dm-zmirror}
cd "$top" || exit

nr=0
failed=0

# check DESCRIPTION COMMAND... passes when the command does and prints nothing.
check()
{
	local what=$1 said
	shift

	nr=$((nr + 1))
	if said=$("$@" 2>&1) && [ -z "$said" ]; then
		echo "ok $nr $what"
	else
		echo "not ok $nr $what"
		printf '%s\n' "$said" | sed 's/^/# /' | head -n 60
		failed=$((failed + 1))
	fi
}

# The scripts of a kernel's source, which are unpacked once.
kernel_scripts()
{
	local dir

	dir=$cache/scripts-$(dpkg-query -W -f '${Version}' linux-source-6.12)
	if [ ! -e "$dir/.complete" ]; then
		rm -rf "$dir"
		mkdir -p "$dir"
		tar -C "$dir" --strip-components=1 \
			-xf /usr/src/linux-source-6.12.tar.xz \
			linux-source-6.12/scripts \
			linux-source-6.12/Documentation/sphinx &&
			touch "$dir/.complete"
	fi
	echo "$dir/scripts"
}
scripts=$(kernel_scripts)

build()
{
	"$vm/build-module.sh" "$@" | grep -v '/dm-zmirror.ko$'
	[ "${PIPESTATUS[0]}" = 0 ]
}

# The Makefile of modules copies the sources to a place that has no name in
# common with a kernel's, hence --no-tree. Each file is checked as a file.
checkpatch()
{
	"$scripts/checkpatch.pl" --strict --no-tree --no-summary --terse \
		--color=never -f "$@"
}

# 6.1 has no kernel-doc that knows all that newer ones do; 6.12's is used.
kernel_doc()
{
	"$scripts/kernel-doc" -none -Werror "$@"
}

no_versions()
{
	! grep -nE 'LINUX_VERSION_CODE|KERNEL_VERSION\(' \
		drivers/md/*.c drivers/md/dm-zmirror.h \
		drivers/md/dm-zmirror-{io,region,resync,zero}.h
}

manual()
{
	rst2html --halt=2 --report=1 \
		Documentation/admin-guide/device-mapper/dm-zmirror.rst /dev/null
}

shell_scripts()
{
	git ls-files -co --exclude-standard |
		xargs grep -lE '^#!/bin/(ba)?sh' -- | sort
}

for kernel in 6.1 6.12 newest; do
	check "W=1 on $kernel" build "$kernel" W=1
	check "sparse on $kernel" build "$kernel" C=2
done
check "checkpatch --strict" checkpatch drivers/md/*.[ch]
check "checkpatch --strict of the model" checkpatch tools/testing/region/*.c
check "kernel-doc" kernel_doc drivers/md/*.[ch]
check "kernel versions in one header only" no_versions
check "the manual" manual
mapfile -t shells < <(shell_scripts)
check "shellcheck" shellcheck -x -S warning "${shells[@]}"

echo "1..$nr"
echo "$((nr - failed)) passed, $failed failed"
[ "$failed" = 0 ]
