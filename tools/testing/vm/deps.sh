#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# Installs what a task needs, where it is missing: deps.sh PURPOSE...
# Every package that the project uses is listed here, and nowhere else.
# shellcheck disable=SC2046,SC2086
set -eu

packages()
{
	case "$1" in
	build)	# the module, for the kernels that Debian 12 has
		echo gcc make libc6-dev kmod xz-utils \
		     linux-headers-amd64 linux-headers-6.12-amd64 ;;
	model)	# the region module in user space, with gcc's sanitizers
		echo gcc make libc6-dev ;;
	vm)	# guests, and what the tests run in them
		echo qemu-system-x86 busybox-static cpio kmod xz-utils zstd \
		     util-linux dmsetup fio thin-provisioning-tools \
		     e2fsprogs xfsprogs btrfs-progs python3-minimal python3 \
		     lvm2 nbd-server nbd-client iproute2 ;;
	tool)	# the command zmirror, its manuals, and its tests
		echo gcc make libc6-dev pkg-config libdevmapper-dev \
		     libsmartcols-dev libjson-c-dev libblkid-dev scdoc \
		     libcmocka-dev valgrind libc6-dbg groff python3 \
		     python3-jsonschema ;;
	bench)	# the peers that are measured, and plots
		echo mdadm qemu-utils qemu-system-common gnuplot-nox python3 ;;
	newest)	# trees of Debian: the next one with its newest kernel, a clean one
		echo mmdebstrap ca-certificates ;;
	debug)	# a kernel with the checks that stock kernels leave out
		echo linux-source-6.12 gcc make libc6-dev flex bison bc \
		     libelf-dev libssl-dev xz-utils rsync cpio perl python3 ;;
	lint)
		echo sparse shellcheck linux-source-6.12 xz-utils perl \
		     python3 python3-docutils python3-ply python3-git git ;;
	dkms)
		echo dkms ;;
	deb)	# packages for Debian; debian/control has the same list
		echo dpkg-dev debhelper dh-dkms git gcc make libc6-dev \
		     pkg-config libdevmapper-dev libsmartcols-dev \
		     libjson-c-dev libblkid-dev scdoc ;;
	*)
		echo "deps.sh: unknown purpose '$1'" >&2
		exit 2 ;;
	esac
}

missing()
{
	for package in $(packages "$1"); do
		# A package may be provided by another one; ask for the name.
		state=$(dpkg-query -W -f '${Status}' "$package" 2>/dev/null) ||
			state=
		[ "$state" = "install ok installed" ] || echo "$package"
	done
}

[ $# -gt 0 ] || { echo "usage: deps.sh PURPOSE..." >&2; exit 2; }
want=
for purpose; do
	packages "$purpose" >/dev/null
	want="$want $(missing "$purpose")"
done
want=$(echo "$want" | tr -s ' \n' '\n' | sort -u)
[ -n "$want" ] || exit 0

if [ "$(id -u)" != 0 ]; then
	echo "deps.sh: not root, and these packages are missing:" $want >&2
	exit 1
fi
export DEBIAN_FRONTEND=noninteractive
echo "installing:" $want >&2

# Two of these may run side by side; apt takes its turn.
lock="-o DPkg::Lock::Timeout=600"
install()
{
	# shellcheck disable=SC2086
	apt-get install -y -q --no-install-recommends $lock $want
}
# The lists may be old, or there may be none yet.
(apt-get update -q && install) >/tmp/zmirror-deps.$$ 2>&1 || {
	cat /tmp/zmirror-deps.$$ >&2
	rm -f /tmp/zmirror-deps.$$
	exit 1
}
rm -f /tmp/zmirror-deps.$$
