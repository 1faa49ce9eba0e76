#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Builds the module for a kernel: build-module.sh KERNEL MODULE [make arguments...]
#
# The sources are copied first, so that no object lands beside them; MODULE is
# where the module is put. FROM=DIR NAME=MODULE builds another one than dm-zmirror.
# Warnings go to standard error, and when it cannot be
# built all that make says.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../../.." && pwd)
cache=${ZMIRROR_CACHE:-/var/cache/dm-zmirror}
from=${FROM:-$top/drivers/md}
name=${NAME:-dm-zmirror}
kernel=$1
module=$2
shift 2

facts=$("$here/kernels.sh" "$kernel")
eval "$facts"
dir=/var/tmp/dm-zmirror-build-$kernel
[ "$ROOT" != / ] || { ROOT=; dir=$cache/build-$kernel; }

exec 9>"$cache/lock.build-$kernel"
flock 9
rm -rf "$ROOT$dir"
mkdir -p "$ROOT$dir"
find "$from" -maxdepth 1 \( -name Makefile -o -name '*.[ch]' \) \
	-exec cp -t "$ROOT$dir" {} +
[ ! -d "$top/include/trace" ] || cp -r "$top/include" "$ROOT$dir/"

build=(make -C "$KDIR" M="$dir" CONFIG_DM_ZMIRROR=m "$@" modules)
if [ -n "$ROOT" ]; then
	# objtool asks /proc for its limits; the mount ends with the command.
	# shellcheck disable=SC2016
	build=(unshare --mount --propagation private sh -c
	       'mount -t proc proc "$0/proc" && exec chroot "$@"'
	       "$ROOT" "$ROOT" "${build[@]}")
fi
"${build[@]}" >"$ROOT$dir/log" 2>&1 || { cat "$ROOT$dir/log" >&2; exit 1; }
grep -E 'warning|error' "$ROOT$dir/log" >&2 || :
cp "$ROOT$dir/$name.ko" "$module"
