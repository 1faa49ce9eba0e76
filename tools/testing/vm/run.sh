#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Runs a command in a guest, with the module built afresh and loaded:
#
#	run.sh [options] [--] COMMAND [ARGUMENT...]
#
#	--kernel K	6.1, 6.12 (default), newest, debug, or clean: 6.1 on
#			a Debian 12 that has nothing of the project's
#	--cpus N	virtual processors (2)
#	--mem MIB	memory (4096)
#	--timeout S	seconds until the guest is given up (1800)
#	--icount	one processor whose clock counts instructions
#	--plugin FILE	a plugin of QEMU's, with its arguments after commas
#	--append ARGS	more for the kernel's command line
#	--module none	load no module
#	--out DIR	a directory that the guest can write to, as /out/files
#	--no-klog	do not fail for what the kernel log says
#
# The guest runs on this machine's own root (or on a tree of its kernel's) read-only,
# under an overlay in its memory, so nothing that it does is kept. The output of
# the command comes out here as it goes; its exit status is this one's, but
#	98	the guest died: a panic, or it did not start
#	99	the command passed, but the kernel log tells of trouble
#	124	the time was up
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../../.." && pwd)

kernel=6.12
cpus=2
mem=4096
limit=1800
icount=""
plugin=()
append=""
module=yes
out=""
klog=yes
while [ $# -gt 0 ]; do
	case "$1" in
	--kernel) kernel=$2; shift 2 ;;
	--cpus) cpus=$2; shift 2 ;;
	--mem) mem=$2; shift 2 ;;
	--timeout) limit=$2; shift 2 ;;
	--icount) icount=yes; shift ;;
	--plugin) plugin=(-plugin "$2"); shift 2 ;;
	--append) append=$2; shift 2 ;;
	--module) module=$2; shift 2 ;;
	--out) out=$(cd "$2" && pwd); shift 2 ;;
	--no-klog) klog=no; shift ;;
	--) shift; break ;;
	-*) echo "run.sh: unknown option $1" >&2; exit 2 ;;
	*) break ;;
	esac
done
[ $# -gt 0 ] || { echo "run.sh: no command" >&2; exit 2; }

"$here/deps.sh" vm
facts=$("$here/kernels.sh" "$kernel")
eval "$facts"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/out" "$work/initrd"

if [ "$module" != none ]; then
	"$here/build-module.sh" "$kernel" "$work/out/dm-zmirror.ko"
fi
tty=no
[ ! -t 0 ] || [ ! -t 1 ] || tty=yes
hung=120 leaks=no
[ "$kernel" != debug ] || { hung=300 leaks=yes; }
printf 'TOP=%q\nTTY=%q\nHUNG_TASK=%q\nLEAKS=%q\nEXACT=%q\n' \
	"$top" "$tty" "$hung" "$leaks" "$icount" >"$work/out/facts"
printf '%q ' "$@" >"$work/out/command"

# An initramfs with what is needed to get at the root, and no more.
make_initrd()
{
	local root=$work/initrd path n=0

	mkdir -p "$root"/{bin,mod,proc,dev}
	cp "$(command -v busybox)" "$root/bin/busybox"
	for path in $(for m in virtio_pci virtio_console 9pnet_virtio 9p overlay; do
		modprobe -S "$RELEASE" -d "$MODULES" --show-depends "$m"
	done | awk '$1 == "insmod" && !seen[$2]++ { print $2 }'); do
		n=$((n + 1))
		case "$path" in
		*.xz) xz -dc "$path" ;;
		*.zst) zstd -qdc "$path" ;;
		*.gz) gzip -dc "$path" ;;
		*) cat "$path" ;;
		esac >"$root/mod/$(printf %02d "$n").ko"
	done

	# shellcheck disable=SC2153 # the facts have ROOT
	cat >"$root/init" <<-END
	#!/bin/busybox sh
	export PATH=/bin
	/bin/busybox --install /bin
	mount -t proc proc /proc
	mount -t devtmpfs dev /dev
	for m in /mod/*.ko; do insmod "\$m"; done
	mkdir -p /lower /rw /new
	o=trans=virtio,version=9p2000.L,msize=512000
	mount -t 9p -o ro,\$o,cache=loose root /lower || exec sh
	mount -t tmpfs -o size=90% rw /rw
	mkdir /rw/upper /rw/work
	mount -t overlay -o lowerdir=/lower,upperdir=/rw/upper,workdir=/rw/work root /new
	mkdir -p /new/out /new/lib/modules/$RELEASE "/new$top" /new/proc /new/sys
	mkdir -p /new/dev /new/run /new/tmp
	mount -t 9p -o \$o,cache=none out /new/out
	[ "$ROOT" = / ] || mount -t 9p -o ro,\$o,cache=loose top "/new$top"
	[ ! -d "/lower$MODULES/lib/modules/$RELEASE" ] || [ "$MODULES" = "$ROOT" ] ||
		mount --bind "/lower$MODULES/lib/modules/$RELEASE" /new/lib/modules/$RELEASE
	[ ! -e /new/out/files.yes ] || mount -t 9p -o \$o,cache=none files /new/out/files
	exec switch_root /new /bin/bash "$here/guest-init.sh"
	END
	chmod +x "$root/init"
	(cd "$root" && find . | cpio --quiet -o -H newc) >"$work/initrd.img"
}
make_initrd

# What QEMU has to emulate less of makes the guest faster by a fifth: a plain processor,
# and pages that are not zeroed before use. The exact clock counts what the full one does.
accel=(-accel "tcg,thread=multi" -smp "$cpus"
       -cpu "qemu64,+ssse3,+sse4.1,+sse4.2,+popcnt,+cx16")
plain="init_on_alloc=0 apparmor=0 audit=0"
if [ -n "$icount" ]; then
	accel=(-accel "tcg,thread=single" -smp 1 -cpu max
	       -icount "shift=0,sleep=off")
	plain=""
elif grep -q -w -E 'vmx|svm' /proc/cpuinfo && [ -w /dev/kvm ]; then
	accel=(-accel kvm -smp "$cpus" -cpu host)
fi

share()
{
	printf -- '-virtfs\nlocal,path=%s,mount_tag=%s,security_model=none,multidevs=remap,id=%s%s\n' \
		"$1" "$2" "$2" "${3:-}"
}
mapfile -t shares < <(
	share "$ROOT" root ,readonly=on
	share "$work/out" out
	[ "$ROOT" = / ] || share "$top" top ,readonly=on
	[ -z "$out" ] || share "$out" files)
if [ -n "$out" ]; then
	mkdir "$work/out/files"
	touch "$work/out/files.yes"
fi

console=(-chardev "stdio,id=con,signal=on")
[ $tty = no ] || console=(-chardev "stdio,id=con,signal=off")
status=0
timeout --foreground --kill-after=10 "$limit" qemu-system-x86_64 \
	-M q35 "${accel[@]}" "${plugin[@]}" -m "$mem" -nodefaults -no-user-config -display none \
	-no-reboot -kernel "$IMAGE" -initrd "$work/initrd.img" \
	-append "console=ttyS0 loglevel=7 panic=-1 log_buf_len=16M random.trust_cpu=on mitigations=off $plain $append" \
	-serial "file:$work/console" \
	-device virtio-serial-pci "${console[@]}" -device virtconsole,chardev=con \
	-device virtio-rng-pci \
	"${shares[@]}" || status=$?

if [ -e "$work/out/kernel.log" ]; then
	log=$work/out/kernel.log
else
	log=$work/console
fi
if [ -n "${ZM_KERNEL_LOG:-}" ]; then
	cp "$log" "$ZM_KERNEL_LOG"
fi
if [ "$status" = 124 ] || [ "$status" = 137 ]; then
	echo "run.sh: no end after $limit seconds; the end of the kernel log:" >&2
	tail -n 30 "$log" >&2
	exit 124
fi
if [ ! -e "$work/out/status" ]; then
	echo "run.sh: the guest died; the end of the kernel log:" >&2
	tail -n 60 "$log" >&2
	exit 98
fi
status=$(cat "$work/out/status")
if [ $klog = yes ] && ! "$here/klog.sh" <"$log" >&2; then
	echo "run.sh: the kernel log tells of trouble" >&2
	[ "$status" != 0 ] || status=99
fi
exit "$status"
