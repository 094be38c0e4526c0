#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The tables of include/tbl: codes that counters and events carry never change their meaning or leave a gap, every
# entry has words for the operator, and every refusal is shown by name in a test. One TAP line each.
set -u
cd "$(dirname "$0")/../.." || exit 2
. tests/lib/tap-lib.sh

# $1 table: name|code|text of each entry; evidence has no codes.
entries() {
	sed -n 's/^\(DROP\|EVIDENCE\)(\([A-Z0-9_]*\), *\(\([0-9]*\), *\)\{0,1\}"\(.*\)")$/\2|\4|\5/p' "$1"
}

drop=include/tbl/drop.h evidence=include/tbl/evidence.h

broken_codes() {
	entries "$1" | awk -F '|' '$2 != NR - 1 { print $1 " has code " $2 ", its place is " NR - 1 }'
}

twice() {
	entries "$1" | cut -d '|' -f "$2" | sort | uniq -d
}

# Every line that opens an entry must have been understood above.
unread() {
	[ "$(grep -cE '^(DROP|EVIDENCE)\(' "$1")" = "$(entries "$1" | wc -l)" ] || echo "$1 has an entry of another shape"
}

wordless() {
	entries "$1" | awk -F '|' 'length($3) < 5 { print $1 }'
}

# $1 table, the rest: where a test must name it, as the enum does or as a string
untested() {
	# NONE is no refusal; INTERNAL is a lookup in an array that can not fail, which only the verifier wants answered
	names=$(entries "$1" | cut -d '|' -f 1 | grep -vxE 'NONE|INTERNAL')
	shift
	for name in $names; do
		grep -rqE "\b(D_|ID_|BY_DROP_)?$name\b" "$@" 2>/dev/null || echo "$name"
	done
}

for table in $drop $evidence; do
	tap "$table: every entry is read" "$(unread $table)"
	tap "$table: no name twice" "$(twice $table 1)"
	tap "$table: every entry has words" "$(wordless $table)"
	tap "$table: the same words are not used twice" "$(twice $table 3)"
done
tap "$drop: codes count up from 0 without a gap" "$(broken_codes $drop)"

fault=$(mktemp)
trap 'rm -f "$fault"' EXIT
printf 'DROP(NONE, 0, "passed")\nDROP(A, 2, "words")\n' >"$fault"
tap_planted 'a planted gap is found' "broken_codes $fault"

# The folders are filled room by room: a table whose tests are not there yet is told, not passed over.
if [ -d tests/unit/identity ]; then
	tap "$evidence: a test refuses by each name" "$(untested $evidence tests/unit tests/bpf tests/net)"
else
	skip "$evidence: a test refuses by each name" 'no tests/unit/identity'
fi
if [ -d tests/bpf ]; then
	tap "$drop: a test drops by each name" "$(untested $drop tests/bpf)"
else
	skip "$drop: a test drops by each name" 'no tests/bpf'
fi
