#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# The life of the packages, apart from what takes the kernel to run:
# packages-chroot.sh VERSION HIGHER-VERSION. The root is a clean tree; VERSION
# is installed there in the end.
set -uo pipefail

# shellcheck source=packages-lib.sh
. "$(dirname "$0")/packages-lib.sh"
old=$1
new=$2

# For each verb that the tool has.
manuals()
{
	local verb missing=0

	for verb in '' $(zmirror --help | sed -n 's/^  \([a-z]\{3,\}\) .*/-\1/p'); do
		zcat "/usr/share/man/man8/zmirror$verb.8.gz" | grep -q '^\.TH' ||
			missing=1
	done
	return "$missing"
}

completion()
{
	local file=/usr/share/bash-completion/completions/zmirror

	bash -n "$file" && grep zmirror "$file"
}

schema()
{
	dpkg -L "$tools" | grep 'schema.json$'
}

snapshot() # FILE
{
	find /boot /etc /home /opt /root /srv /usr /var -xdev \
		! -path '/var/log/*' | sort >"$1"
}

# The key is DKMS's own, for all modules.
nothing_is_left()
{
	snapshot "$dir/after"
	diff "$dir/before" <(grep -v '^/var/lib/dkms/mok\.' "$dir/after")
}

# DKMS signs with a key of the machine's owner, where it is told to.
own_key()
{
	local key=/root/module-signing

	openssl req -new -x509 -nodes -days 30 -newkey rsa:2048 \
		-subj '/CN=The owner of this machine' \
		-keyout "$key.key" -outform DER -out "$key.der" &&
		printf 'mok_signing_key=%s\nmok_certificate=%s\n' \
			"$key.key" "$key.der" \
			>/etc/dkms/framework.conf.d/own-key.conf
}

touch "$dir/stamp"
check "nothing of ours is there at first" nothing_of_ours
snapshot "$dir/before"

check "both packages are installed" install_packages "$old"
check "their version is $old" packages_are "$old"
check "DKMS has built the module" module_is_built "$old"
check "DKMS has signed it with its key" signer_is "DKMS module signing key"
check "the tool is that of the package" tool_is "$old"
check "there is a manual for each verb" manuals
check "there is a completion" completion
check "there is the schema of status --json" schema

touch "$dir/stamp"
check "both are upgraded" install_packages "$new"
check "their version is $new" packages_are "$new"
check "DKMS has built the new module, and forgotten the old one" \
	module_is_built "$new"
check "both are removed" remove_packages
check "both are purged" dpkg -P "$tools" "$module"
check "nothing is left of them" nothing_is_left

check "DKMS is told of another key" own_key
touch "$dir/stamp"
check "both are installed again" install_packages "$old"
check "DKMS has built the module again" module_is_built "$old"
check "DKMS has signed it with that key" signer_is "The owner of this machine"

no_failure
