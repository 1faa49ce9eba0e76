#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# What status --json prints is as its schema says, and the schema says no to what is
# not: a member more, one less, or one of another type.
#
# usage: check-json.sh TEST-SHOW, the program of test-show.c
set -eu

schema=$(dirname "$0")/../zmirror-status.schema.json

if ! python3 -c 'import jsonschema' 2>/dev/null; then
	echo "check-json: skipped: python3-jsonschema is not there"
	exit 4
fi

"$1" --json | python3 -c '
import copy
import json
import sys

import jsonschema

schema = json.load(open(sys.argv[1]))
status = json.load(sys.stdin)
jsonschema.Draft7Validator.check_schema(schema)
validator = jsonschema.Draft7Validator(schema)
validator.validate(status)
assert len(status["mirrors"]) == 3, "not all mirrors"

def refused(change):
    wrong = copy.deepcopy(status)
    change(wrong["mirrors"][0])
    assert not validator.is_valid(wrong), "the schema takes what is wrong"

for key in status["mirrors"][0]:
    refused(lambda mirror: mirror.pop(key))
    refused(lambda mirror: mirror.update({key: 1.5}))
refused(lambda mirror: mirror.update({"more": 1}))
refused(lambda mirror: mirror.update({"state": "unheard_of"}))
print("check-json: ok")
' "$schema"
