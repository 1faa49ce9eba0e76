#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Makes a kernel available for guests: kernels.sh 6.1|6.12|newest|debug|clean
#
# Prints what run.sh and build-module.sh need to know of it, as shell variables:
#	RELEASE	what uname -r says in the guest
#	IMAGE	the kernel
#	MODULES	the directory that has lib/modules/$RELEASE
#	KDIR	where modules are built against it, as seen from $ROOT
#	ROOT	the tree that the guest runs on; / is this machine's own
#
# What is slow to make is kept in $ZMIRROR_CACHE, /var/cache/dm-zmirror unless
# set, and made again when it is missing or outdated. No kernel is installed on
# this machine: its boot menu stays as it is.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
cache=${ZMIRROR_CACHE:-/var/cache/dm-zmirror}

die()
{
	echo "kernels.sh: $*" >&2
	exit 1
}

facts()
{
	printf 'RELEASE=%q\nIMAGE=%q\nMODULES=%q\nKDIR=%q\nROOT=%q\n' "$@"
}

# The lists of packages may be older than what the mirror has.
get()
{
	apt-get download -q "$1" ||
		{ apt-get update -q && apt-get download -q "$1"; }
}

# The headers are installed, and tell the release; the image of the same
# release is only unpacked.
stock()
{
	local meta=$1 package release dir tmp

	"$here/deps.sh" build >&2
	package=$(dpkg-query -W -f '${Depends}' "linux-headers-$meta" |
		  tr ',' '\n' | sed 's/ *(.*//; s/^ *//' |
		  grep -m 1 '^linux-headers-')
	release=${package#linux-headers-}
	dir=$cache/$release

	if [ ! -e "$dir/boot/vmlinuz-$release" ]; then
		tmp=$(mktemp -d "$cache/tmp.$kernel.XXXXXX")
		(
			cd "$tmp"
			chmod 755 .
			get "linux-image-$release" >"$cache/download.log" 2>&1 ||
				{ cat "$cache/download.log" >&2; exit 1; }
			dpkg-deb -x linux-image-*.deb .
			rm -f linux-image-*.deb
			depmod -b "$tmp" "$release"
		)
		rm -rf "$dir"
		mv "$tmp" "$dir"
	fi
	facts "$release" "$dir/boot/vmlinuz-$release" "$dir" \
	      "/usr/src/linux-headers-$release" /
}

# The address of an archive, debian or debian-security, on the mirror that this
# machine installs from.
mirror() # ARCHIVE
{
	{
		cat /etc/apt/sources.list 2>/dev/null
		find /etc/apt/sources.list.d -name '*.list' -exec cat {} +
	} | sed -n 's/^deb  *\(\[[^]]*\] *\)\{0,1\}\([^ ]*\) .*/\2/p' |
		grep -m 1 "/$1/\\{0,1\\}\$" && return
	find /etc/apt/sources.list.d -name '*.sources' -exec cat {} + |
		sed -n 's/^URIs: *\([^ ]*\).*/\1/p' |
		grep -m 1 "/$1/\\{0,1\\}\$"
}

# A tree of Debian with these packages and what they depend on, from these
# suites. It is made again when they change.
tree() # DIRECTORY PACKAGES "SUITE..." [OPTION...]
{
	local root=$1 packages=$2 suites=$3 tmp uri suite sources=() log
	shift 3

	"$here/deps.sh" newest >&2
	if [ "$(cat "$root/.complete" 2>/dev/null)" = "$packages" ]; then
		return
	fi
	for suite in $suites; do
		case $suite in
		*-security) uri=$(mirror debian-security) ;;
		*) uri=$(mirror debian) ;;
		esac || die "no mirror of $suite in the apt sources"
		sources+=("deb $uri $suite main")
	done
	tmp=$(mktemp -d "$cache/tmp.$kernel.XXXXXX")
	suite=${suites%% *}
	log=$root.log
	echo "making a Debian $suite tree" >&2
	mmdebstrap --mode=root --variant=minbase --quiet \
		--include="$packages" \
		--aptopt='APT::Install-Recommends "false"' "$@" \
		"$suite" "$tmp" "${sources[@]}" >"$log" 2>&1 ||
		{ tail -n 20 "$log" >&2
		  rm -rf --one-file-system "$tmp"; die "mmdebstrap failed"; }
	chmod 755 "$tmp"
	echo "$packages" >"$tmp/.complete"
	rm -rf "$root"
	mv "$tmp" "$root"
}

# The newest kernel of a tree that has its headers.
tree_facts() # DIRECTORY
{
	local root=$1 release

	release=$(find "$root/lib/modules/" -mindepth 2 -maxdepth 2 \
		  -name build -printf '%h\n' | sed 's,.*/,,' | sort -V | tail -n 1)
	[ -n "$release" ] || die "no kernel in $root"
	facts "$release" "$root/boot/vmlinuz-$release" "$root" \
	      "/lib/modules/$release/build" "$root"
}

newest()
{
	local packages

	# The kernel and its headers, what builds a module, what tests need.
	packages=linux-image-amd64/trixie-backports
	packages+=,linux-headers-amd64/trixie-backports
	packages+=,gcc,make,sparse,kmod,procps,util-linux,dmsetup,fio,python3
	packages+=,thin-provisioning-tools,e2fsprogs,xfsprogs,btrfs-progs
	packages+=,lvm2,libjson-c5,nbd-server,nbd-client,iproute2
	packages+=,mdadm,qemu-utils/trixie-backports,qemu-system-common/trixie-backports

	tree "$cache/trixie" "$packages" "trixie trixie-backports" \
		--dpkgopt='path-exclude=/usr/share/doc/*' \
		--dpkgopt='path-exclude=/usr/share/man/*'
	tree_facts "$cache/trixie"
}

# Debian 12 as one has it before the project's packages are installed: its
# kernel of today, and what those packages depend on or recommend.
clean()
{
	local packages drivers options

	packages=linux-image-amd64/bookworm-security
	packages+=,linux-headers-amd64/bookworm-security
	packages+=,dkms,openssl,dmsetup,lvm2,thin-provisioning-tools
	packages+=,libdevmapper1.02.1,libsmartcols1,libjson-c5,libblkid1
	packages+=,kmod,procps,util-linux,iproute2
	# And what spares a guest to compile what was compiled before.
	packages+=,ccache

	# An emulated processor takes long to run depmod on drivers of what a
	# guest does not have.
	options=("--dpkgopt=path-exclude=/lib/modules/*/kernel/drivers/*"
		 "--dpkgopt=path-exclude=/lib/modules/*/kernel/sound/*")
	for drivers in block char dax md virtio; do
		options+=("--dpkgopt=path-include=/lib/modules/*/kernel/drivers/$drivers/*")
	done
	tree "$cache/bookworm" "$packages" "bookworm bookworm-security" \
		--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr "${options[@]}"
	tree_facts "$cache/bookworm"
}

# Built from Debian's source with the fragment beside this script. A change of
# either makes another kernel.
debug()
{
	local source=/usr/src/linux-source-6.12.tar.xz key dir tmp release

	"$here/deps.sh" debug >&2
	key=$(cat "$here/debug.config" \
	      <(dpkg-query -W -f '${Version}' linux-source-6.12) | sha256sum |
	      cut -c 1-12)
	dir=$cache/debug-$key
	if [ ! -e "$dir/.complete" ]; then
		rm -rf "$cache"/debug-*
		tmp=$(mktemp -d "$cache/tmp.$kernel.XXXXXX")
		echo "building the debug kernel; this takes some minutes" >&2
		{
			tar -C "$tmp" -xf "$source"
			mv "$tmp"/linux-source-6.12/* "$tmp/"
			make -C "$tmp" allnoconfig \
				KCONFIG_ALLCONFIG="$here/debug.config"
			nice make -C "$tmp" -j"$(nproc)" bzImage modules
			make -C "$tmp" modules_install \
				INSTALL_MOD_PATH="$tmp/root"
		} >"$cache/debug.log" 2>&1 ||
			{ tail -n 20 "$cache/debug.log" >&2
			  rm -rf "$tmp"; die "the debug kernel does not build"; }
		chmod 755 "$tmp"
		touch "$tmp/.complete"
		mv "$tmp" "$dir"
	fi
	release=$(cat "$dir/include/config/kernel.release")
	facts "$release" "$dir/arch/x86/boot/bzImage" "$dir/root" "$dir" /
}

mkdir -p "$cache"
kernel=${1:-}
case "$kernel" in
6.1|6.12|newest|debug|clean) ;;
*) die "usage: kernels.sh 6.1|6.12|newest|debug|clean" ;;
esac

# Two at once must not make the same thing, and what an interrupted one left is
# of no use to anyone.
exec 9>"$cache/lock.$kernel"
flock 9
find "$cache" -maxdepth 1 -name "tmp.$kernel.*" \
	-exec rm -rf --one-file-system {} +
case "$kernel" in
6.1)	stock amd64 ;;
6.12)	stock 6.12-amd64 ;;
newest)	newest ;;
debug)	debug ;;
clean)	clean ;;
esac
