#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# Builds the packages for Debian: deb.sh [--version V] [--revision R] DIRECTORY
#
# They come into DIRECTORY, where the sources are copied to first, so that their
# folders stay clean; it loses the packages that it had. The version is that of
# dkms.conf unless another one is given, which the copy then has everywhere.
set -eu

top=$(cd "$(dirname "$0")/../.." && pwd)
version=
revision=1
while [ $# -gt 1 ]; do
	case "$1" in
	--version) version=$2; shift 2 ;;
	--revision) revision=$2; shift 2 ;;
	*) break ;;
	esac
done
[ $# = 1 ] || {
	echo "usage: deb.sh [--version V] [--revision R] DIRECTORY" >&2
	exit 2
}
mkdir -p "$1"
out=$(cd "$1" && pwd)

cd "$top"
has=$(sed -n 's/^PACKAGE_VERSION="\(.*\)"/\1/p' dkms.conf)
[ -n "$version" ] || version=$has
copy=$out/dm-zmirror-$version

rm -rf "$out"/dm-zmirror-[0-9]* "$out"/dm-zmirror_* \
	"$out"/dm-zmirror-dkms_* "$out"/zmirror-tools_*
mkdir "$copy"
tar -c --exclude=build dkms.conf debian drivers tools/zmirror \
	Documentation/install.md Documentation/other-machine.md \
	Documentation/admin-guide |
	tar -x -C "$copy"
sed -i "s/^PACKAGE_VERSION=.*/PACKAGE_VERSION=\"$version\"/" "$copy/dkms.conf"

# Built again from the same commit, the packages are the same.
if [ -n "${SOURCE_DATE_EPOCH:-}" ]; then
	date=$(date -u -R -d "@$SOURCE_DATE_EPOCH")
else
	date=$(git log -1 --format=%cD 2>/dev/null) || date=$(date -R -r dkms.conf)
fi
cat >"$copy/debian/changelog" <<END
dm-zmirror ($version-$revision) UNRELEASED; urgency=medium

  * Version $version, built from its sources by make deb.

 -- $(sed -n 's/^Maintainer: //p' debian/control)  $date
END

# What make at the top was told is not for the makefiles of the packages. The
# tests of the tool have a place of their own.
unset MAKEFLAGS MFLAGS MAKELEVEL MAKEOVERRIDES
export DEB_BUILD_OPTIONS="nocheck noautodbgsym${DEB_BUILD_OPTIONS:+ $DEB_BUILD_OPTIONS}"
export DEB_BUILD_PROFILES="nocheck${DEB_BUILD_PROFILES:+ $DEB_BUILD_PROFILES}"
(cd "$copy" && dpkg-buildpackage -b -us -uc) >"$out/log" 2>&1 || {
	cat "$out/log" >&2
	exit 1
}
rm -rf "$copy"
ls "$out"/*.deb
