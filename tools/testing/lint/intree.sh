#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Builds the target in a kernel's own tree, 6.12's, as a module and built in:
# the folder's files are copied to drivers/md/zmirror, and two lines added.
set -uo pipefail

# What the two lines say is in README.md too.
here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../../.." && pwd)
cache=${ZMIRROR_CACHE:-/var/cache/dm-zmirror}
tree=$cache/intree-$(dpkg-query -W -f '${Version}' linux-source-6.12)
log=$cache/intree.log

prepare()
{
	if [ ! -e "$tree/.complete" ]; then
		rm -rf "$tree"
		mkdir -p "$tree"
		tar -C "$tree" --strip-components=1 \
			-xf /usr/src/linux-source-6.12.tar.xz || return
		cp "$tree/drivers/md/Makefile" "$tree/drivers/md/Makefile.orig"
		cp "$tree/drivers/md/Kconfig" "$tree/drivers/md/Kconfig.orig"
		touch "$tree/.complete"
	fi
	rm -rf "$tree/drivers/md/zmirror"
	mkdir "$tree/drivers/md/zmirror"
	cp "$top"/drivers/md/{Kconfig,Makefile,*.c,*.h} "$tree/drivers/md/zmirror/"

	# The two lines. That of the Kconfig stands before the end of its menu.
	cp "$tree/drivers/md/Makefile.orig" "$tree/drivers/md/Makefile"
	# shellcheck disable=SC2016
	echo 'obj-$(CONFIG_DM_ZMIRROR) += zmirror/' >>"$tree/drivers/md/Makefile"
	sed 's|^endif # MD$|source "drivers/md/zmirror/Kconfig"\n&|' \
		"$tree/drivers/md/Kconfig.orig" >"$tree/drivers/md/Kconfig"
	grep -q zmirror "$tree/drivers/md/Kconfig"
}

# The smallest kernel that has device-mapper. Between the two builds only the
# target's own setting differs, so the second one is quick.
build() # y OR m
{
	cat >"$tree/zmirror.config" <<-END
	CONFIG_64BIT=y
	CONFIG_BLOCK=y
	CONFIG_MODULES=y
	CONFIG_MD=y
	CONFIG_BLK_DEV_DM=y
	CONFIG_DM_ZMIRROR=$1
	END
	make -C "$tree" KCONFIG_ALLCONFIG=zmirror.config allnoconfig &&
		grep -qx "CONFIG_DM_ZMIRROR=$1" "$tree/.config" &&
		nice make -C "$tree" -j"$(nproc)" vmlinux modules
}

nr=0
failed=0
result() # NUMBER DESCRIPTION STATUS
{
	nr=$1
	if [ "$3" = 0 ]; then
		echo "ok $1 $2"
	else
		echo "not ok $1 $2"
		tail -n 30 "$log" | sed 's/^/# /'
		failed=$((failed + 1))
	fi
}

mkdir -p "$cache"
exec 9>"$cache/lock.intree"
flock 9
prepare >"$log" 2>&1 && build y >>"$log" 2>&1 &&
	nm "$tree/vmlinux" | grep zm_io_map >/dev/null
result 1 "built into the kernel" $?
rm -f "$tree/drivers/md/zmirror/dm-zmirror.ko"
build m >>"$log" 2>&1 && [ -e "$tree/drivers/md/zmirror/dm-zmirror.ko" ] &&
	! nm "$tree/vmlinux" | grep zm_io_map >/dev/null
result 2 "built as a module" $?
! grep -n 'warning:\|WARNING:' "$log"
result 3 "built without a warning" $?
echo "1..$nr"
echo "$((nr - failed)) passed, $failed failed"
[ "$failed" = 0 ]
