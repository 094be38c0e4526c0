#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Runs test suites and counts. usage: tests/run.sh SUITE...   (unit bpf crash net judge check fuzz)
#
# A test is a program of a suite's folder; it prints TAP: `ok N - name`, `not ok N - name`, and a skip as
# `ok N - name # SKIP why` (cmocka writes `not ok N # SKIP name`). A program that dies or prints no result counts
# as one failure. Exit status 77 with no result is one skip. The last line is `N passed, N failed, N skipped`.
#
# AGAIN=N (.ci/run): where no more than N programs failed, each runs once more when all others are done, and counts as it did
# then. One that passes is named as unsteady beside what failed: what depends on a busy machine is a fault of the test, or of Bailey,
# to be mended, but says nothing of the change under test. More than N failures are a broken tree: none runs again.
set -u
cd "$(dirname "$0")/.." || exit 2
build=${BUILD:-build}
log=$build/tests/log
mkdir -p "$log"
tally=$log/tally
failed_runs=$log/failed
: >"$tally"
: >"$failed_runs"
export CMOCKA_MESSAGE_OUTPUT=TAP BUILD="$build"

# $1 name, $2 log file, $3 exit status: appends one P, F or S line per result to the tally.
count() {
	awk -v name="$1" -v rc="$3" '
		/^(not )?ok/ {
			n++
			if (/# *SKIP/) { sub(/^(not )?ok[ 0-9]*-? */, ""); print "S " name ": " $0 }
			else if (/^ok/) print "P " name
			else { bad = 1; sub(/^not ok[ 0-9]*-? */, ""); print "F " name ": " $0 }
		}
		END {
			if (!n && rc == 77) print "S " name ": " (last ? last : "not possible here")
			else if (!n) print "F " name ": no result, exit status " rc
			else if (rc && rc != 77 && !bad) print "F " name ": exit status " rc
		}
		{ last = $0 }' "$2" >>"$tally"
}

run() {
	name=${1#"$build"/}
	out=$log/$(echo "$name" | tr / -).log
	start=$(date +%s)
	timeout "${TEST_TIMEOUT:-900}" "$@" >"$out" 2>&1
	rc=$?
	took=$(($(date +%s) - start))
	before=$(grep -c '^F' "$tally")
	count "$name" "$out" "$rc"
	if [ "$(grep -c '^F' "$tally")" -gt "$before" ]; then
		echo "$1" >>"$failed_runs"
		echo "FAIL $name ($took s)"
		{
			grep '^not ok' "$out" | head -n 20
			tail -n 40 "$out"
		} | sed 's/^/  | /'
	else
		echo "ok   $name ($took s)"
	fi
}

# Every result of a program leaves the tally, then it runs again. Its first log is kept.
run_again() {
	name=${1#"$build"/}
	first=$log/$(echo "$name" | tr / -).first.log
	mv "${first%.first.log}.log" "$first"
	awk -v name="$name" '$2 != name && $2 != name ":"' "$tally" >"$tally.new" && mv "$tally.new" "$tally"
	before=$(grep -c '^F' "$tally")
	run "$1"
	[ "$(grep -c '^F' "$tally")" -gt "$before" ] || echo "U $name: failed, then passed ($first)" >>"$tally"
}

# Is it wanted? ONLY: texts that names may have, with commas between them; without it everything is.
wanted() {
	[ -n "${ONLY:-}" ] || return 0
	for text in $(echo "$ONLY" | tr , ' '); do
		case $1 in *"$text"*) return 0 ;; esac
	done
	return 1
}

for suite; do
	case $suite in
	unit) set -- "$build"/tests/unit/*/*_test ;;
	bpf) set -- "$build"/tests/bpf/*_test ;;
	crash) set -- "$build"/tests/crash/*_test ;;
	net) set -- tests/net/[0-9]*.sh ;;
	judge) set -- tests/judge/[0-9]*.sh ;;
	check) set -- tests/check/*.sh ;;
	fuzz) set -- "$build"/tests/fuzz/*_replay ;;
	*) echo "tests/run.sh: no suite '$suite'" >&2; exit 2 ;;
	esac
	for t; do
		[ -e "$t" ] || continue
		wanted "$t" || continue
		case $(id -u)-$suite in
		0-* | *-unit | *-check | *-fuzz) ;;
		*)
			echo "S ${t#"$build"/}: needs root" >>"$tally"
			continue
			;;
		esac
		run "$t"
	done
done

if [ "$(wc -l <"$failed_runs")" -le "${AGAIN:-0}" ]; then
	mv "$failed_runs" "$failed_runs.first"
	: >"$failed_runs"
	while read -r t; do
		run_again "$t"
	done <"$failed_runs.first"
fi

sed -n 's/^S /skipped /p; s/^F /failed  /p; s/^U /unsteady /p' "$tally"
passed=$(grep -c '^P' "$tally"); failed=$(grep -c '^F' "$tally"); skipped=$(grep -c '^S' "$tally")
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" = 0 ] && [ "$passed" -gt 0 ]
