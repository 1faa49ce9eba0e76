# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-only
#
# What packages-chroot.sh and packages-guest.sh have in common: how a test is
# told of, and what is looked at wherever the packages are installed. What is
# installed is in /out/files/VERSION.

tools=zmirror-tools
module=dm-zmirror-dkms
kernel=$(ls /lib/modules)	# the tree has one
dir=/tmp/packages
export DEBIAN_FRONTEND=noninteractive
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin

# Debian's kernel headers have a switch for ccache. A guest takes some minutes
# to compile what it finds in there, from the time before it was started.
export DEBIAN_KERNEL_USE_CCACHE=1
export CCACHE_DIR=/ccache
export CCACHE_SLOPPINESS=file_stat_matches,file_stat_matches_ctime

mkdir -p "$dir"
failed=no
begin=$SECONDS

# Each test is a line "ok" or "not ok", and builds on those before it.
check() # DESCRIPTION COMMAND...
{
	local what=$1 word=ok
	shift

	"$@" >"$dir/log" 2>&1 </dev/null || word='not ok'
	echo "$word $what ($((SECONDS - begin)) s)"
	begin=$SECONDS
	if [ "$word" != ok ]; then
		sed 's/^/# /' "$dir/log" | tail -n 60
		failed=yes
	fi
}

expect() # WHAT IS WANTED
{
	echo "$1: $2, expected: $3"
	[ "$2" = "$3" ]
}

install_packages() # VERSION
{
	dpkg -i "/out/files/$1"/*.deb && return
	tail -n 30 /var/lib/dkms/dm-zmirror/*/build/make.log
	return 1
}

packages_are() # VERSION
{
	local package has

	for package in "$module" "$tools"; do
		has=$(dpkg-query -W -f '${Status} ${Version}' "$package")
		expect "$package" "$has" "install ok installed $1-1" || return
	done
}

# Of one version only, new, and where DKMS puts it.
module_is_built() # VERSION
{
	local file

	expect "dkms status" "$(dkms status dm-zmirror)" \
		"dm-zmirror/$1, $kernel, $(uname -m): installed" || return
	file=$(modinfo -k "$kernel" -n dm-zmirror)
	expect "file" "$file" \
		"/lib/modules/$kernel/updates/dkms/dm-zmirror.ko" || return
	[ "$file" -nt "$dir/stamp" ] || { echo "$file is old"; return 1; }
	expect "sources" "$(echo /usr/src/dm-zmirror-*)" \
		"/usr/src/dm-zmirror-$1" || return
	expect "registered" "$(cd /var/lib/dkms/dm-zmirror && ls -d -- [0-9]*)" "$1"
}

signer_is() # NAME
{
	expect "signer" "$(modinfo -k "$kernel" -F signer dm-zmirror)" "$1"
}

tool_is() # VERSION
{
	expect "path" "$(command -v zmirror)" /usr/sbin/zmirror &&
		expect "version" "$(zmirror --version)" "zmirror $1"
}

nothing_of_ours()
{
	hash -r
	! dpkg-query -W -f '${Package} ${Status}\n' |
		grep 'zmirror.*install ok installed' &&
		! command -v zmirror && ! modinfo -k "$kernel" dm-zmirror &&
		expect "dkms status" "$(dkms status dm-zmirror)" ""
}

remove_packages()
{
	dpkg -r "$tools" "$module" && nothing_of_ours
}

# Whether all was well, for whoever ends.
no_failure()
{
	[ "$failed" = no ]
}
