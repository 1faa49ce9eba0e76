#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# The packages as users of Debian 12 have them: packages.sh
#
# They are built twice, the second time with a higher version. On a Debian that
# has nothing of ours they are installed, upgraded, purged and installed again;
# a guest that runs on it then loads the module, makes mirrors, and upgrades the
# packages under one. Only what takes the kernel is done in the guest, where
# DKMS takes minutes for what it does in seconds. Ends with the count of tests.
set -uo pipefail

here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../../.." && pwd)
vm=$top/tools/testing/vm

# What follows mounts over the tree, for itself alone.
if [ "${1:-}" != --in-namespace ]; then
	exec unshare --mount --propagation private "$0" --in-namespace
fi

work=$(mktemp -d)
clean_up()
{
	[ -z "${mounted:-}" ] || umount -R -l "$ROOT" "$work/over"
	rm -rf "$work"
}
trap clean_up EXIT

version=$(sed -n 's/^PACKAGE_VERSION="\(.*\)"/\1/p' "$top/dkms.conf")
versions=("$version" "$version.1")
mkdir "$work/files" "$work/over"
for v in "${versions[@]}"; do
	"$top/tools/packages/deb.sh" --version "$v" "$work/files/$v" || exit
done
cp "$here"/packages-*.sh "$work/files"

# The tree stays clean: what is changed is kept in memory, over it. The guest
# finds it where it is.
facts=$("$vm/kernels.sh" clean) || exit
eval "$facts"
mounted=yes
mount -t tmpfs -o mode=755 over "$work/over" &&
	mkdir "$work/over/upper" "$work/over/work" &&
	mount -t overlay -o "lowerdir=$ROOT,upperdir=$work/over/upper,workdir=$work/over/work" \
		tree "$ROOT" || exit

# DKMS wants /proc and /dev.
mkdir -p "$ROOT/out/files" &&
	mount --bind "$work/files" "$ROOT/out/files" &&
	mount -t proc proc "$ROOT/proc" &&
	mount --rbind /dev "$ROOT/dev" || exit
echo "# in a tree with $RELEASE"
chroot "$ROOT" /out/files/packages-chroot.sh "${versions[@]}" | tee "$work/log"
status=${PIPESTATUS[0]}
umount -R "$ROOT/dev" "$ROOT/proc" "$ROOT/out/files" || exit

echo "# in a guest on it"
"$vm/run.sh" --kernel clean --module none --timeout 1500 \
	--out "$work/files" -- \
	/out/files/packages-guest.sh "${versions[@]}" | tee -a "$work/log"
[ "${PIPESTATUS[0]}" = 0 ] || status=1

passed=$(grep -c '^ok ' "$work/log")
failed=$(grep -c '^not ok ' "$work/log")
[ "$status" = 0 ] || [ "$failed" != 0 ] || failed=1
echo "$passed passed, $failed failed"
[ "$failed" = 0 ] && [ "$passed" != 0 ]
