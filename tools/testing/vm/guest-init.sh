#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# The first process of a guest, once its root is there; run.sh starts it. What
# it is to do lies in /out, where it leaves the exit status.

export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export HOME=/root TERM=${TERM:-linux} LANG=C.UTF-8
export DM_DISABLE_UDEV=1 ZM_IN_GUEST=1

# shellcheck disable=SC1091
. /out/facts

# The clock counts instructions, so that bars on time hold.
[ -z "$EXACT" ] || export ZM_EXACT=1

# The project may lie below one of the mounts that follow.
mkdir -p /zmirror-top
mount --bind "$TOP" /zmirror-top

mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev 2>/dev/null
mkdir -p /dev/pts /dev/shm
ln -s /proc/self/fd /dev/fd
mount -t devpts pts /dev/pts
mount -t tmpfs -o mode=1777 shm /dev/shm
mount -t tmpfs -o mode=1777,size=90% tmp /tmp
mount -t tmpfs -o mode=755 run /run
[ -d "$TOP" ] || { mkdir -p "$TOP" && mount --bind /zmirror-top "$TOP"; }
mount -t tmpfs -o mode=755 etclvm /etc/lvm 2>/dev/null
mount -t debugfs debug /sys/kernel/debug 2>/dev/null
mount -t tracefs trace /sys/kernel/tracing 2>/dev/null
hostname zmirror
ip link set lo up 2>/dev/null

modprobe configfs 2>/dev/null
mount -t configfs config /sys/kernel/config 2>/dev/null
echo "$HUNG_TASK" >/proc/sys/kernel/hung_task_timeout_secs 2>/dev/null
echo 0 >/proc/sys/kernel/panic_on_oops

exec </dev/hvc0 >/dev/hvc0 2>&1
[ "$TTY" = yes ] || stty raw -echo

status=97
if [ ! -e /out/dm-zmirror.ko ] ||
   { modprobe dm-mod && insmod /out/dm-zmirror.ko; }; then
	# The node of device-mapper's control device is there after this.
	dmsetup mknodes >/dev/null 2>&1
	[ ! -e /out/dm-zmirror.ko ] || export ZM_MODULE=/out/dm-zmirror.ko
	cd "$TOP" || exit
	setsid -c -w bash /out/command
	status=$?
else
	echo "guest: the module cannot be loaded"
fi

# A clean guest has no use of the module left, and its memory comes back.
if [ -e /sys/kernel/debug/kmemleak ] && [ "$LEAKS" = yes ]; then
	rmmod dm-zmirror 2>/dev/null
	for _ in 1 2; do
		sleep 6
		echo scan >/sys/kernel/debug/kmemleak
	done
	grep -A 30 -E 'unreferenced' /sys/kernel/debug/kmemleak >/out/leaks
	if grep -q -E 'zm_|zmirror' /out/leaks; then
		cat /out/leaks >/dev/kmsg
	fi
fi

dmesg >/out/kernel.log
echo "$status" >/out/status
sync
echo o >/proc/sysrq-trigger
sleep 60
