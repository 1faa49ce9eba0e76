#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# A live mirror, shown in a guest; make demo. Fails when anything differs.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
vm=$here/../vm

"$vm/deps.sh" build vm
echo "A guest is started, with Linux 6.12 and the module built just now ..."
tty=no
columns=80
if [ -t 1 ]; then
	tty=yes
	columns=$(tput cols 2>/dev/null || echo 80)
fi
exec "$vm/run.sh" --kernel 6.12 --timeout 900 -- \
	env DEMO_TTY="$tty" DEMO_COLUMNS="$columns" "$here/demo-guest.sh"
