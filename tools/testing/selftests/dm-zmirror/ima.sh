#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# What IMA measures of a table, where it measures device-mapper's. With ZM_IMA set it is
# told to do so, from then on until the machine is started again.

# shellcheck source=dm-zmirror-lib.sh
. "$(dirname "$0")/dm-zmirror-lib.sh"

IMA=/sys/kernel/security/ima

# The last table that was measured, as text.
measured()
{
	local line words

	line=$(grep -a ' dm_table_load ' "$IMA/ascii_runtime_measurements" | tail -n 1)
	read -r -a words <<< "$line"
	python3 -c 'import sys; print(bytes.fromhex(sys.argv[1]).decode())' \
		"${words[5]}"
}

t_measured()
{
	local src dst

	[ -e "$IMA" ] || mount -t securityfs securityfs /sys/kernel/security 2> /dev/null
	[ -e "$IMA" ] || { skip "there is no IMA"; return; }
	if [ -n "${ZM_IMA-}" ] && [ -w "$IMA/policy" ]; then
		echo 'measure func=CRITICAL_DATA label=device-mapper' \
			> "$IMA/policy" || return
	fi
	new_loop src 8M && new_loop dst 9M || return
	new_mirror m "$src" 8 "$dst" 16 128 no_unmap rate:auto \
		latency_target:10 copy_mode:async || return
	[[ $(measured) = *";name=$ZM_ID-m,"* ]] ||
		{ skip "IMA does not measure device-mapper"; return; }
	expect_like "what is measured" "$(measured)" \
		"target_name=zmirror,target_version=[0-9.]+,source_device_name=[0-9]+:[0-9]+,source_offset=8,dest_device_name=[0-9]+:[0-9]+,dest_offset=16,region_sectors=128,no_unmap=y,copy_mode=async,rate=auto,latency_target=10;\$"
}
zm_test "the table, with its features" t_measured

zm_run
