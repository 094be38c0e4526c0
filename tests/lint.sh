#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The slower readers of the source: clang-tidy, cppcheck, shellcheck, clang-format. A tool that is not installed is
# a counted skip. The last line is `N passed, N failed, N skipped`. usage: tests/lint.sh
set -u
cd "$(dirname "$0")/.." || exit 2
build=${BUILD:-build}
log=$build/lint
passed=0 failed=0 skipped=0
mkdir -p "$log"

rooms() {
	find user -name '*.c' | sort
}

scripts() {
	find .ci tests vmtest -type f \( -name '*.sh' -o -path .ci/run \)
}

format() {
	find user bpf include tests -name '*.[ch]' ! -name vmlinux.h -print0 | xargs -0 clang-format --dry-run -Werror
}

# Two at a time; the includes are the Makefile's.
tidy() {
	# shellcheck disable=SC2016
	rooms | xargs -P "$(nproc)" -n 4 sh -c 'clang-tidy --quiet "$@" -- -std=gnu11 -D_GNU_SOURCE -Iinclude -Iuser \
		-I"$0" 2>/dev/null' "$build" | grep -v '^$'
	# xargs tells a failure by its status, which the pipe hides: what was printed decides
	return 0
}

# Owning locals free themselves by attribute, which cppcheck takes for leaks; queue.h's heads and loops it can not read; across
# functions it forgets what a status said.
check_c() {
	cppcheck --quiet --inline-suppr --std=c11 --enable=warning,portability -j "$(nproc)" --error-exitcode=1 \
		--suppress=missingIncludeSystem --suppress=unknownMacro --suppress=memleak --suppress=resourceLeak \
		--suppress=getpwnamCalled --suppress=readdirCalled --suppress=invalidFunctionArgBool --suppress=ctuuninitvar \
		--suppress=ctunullpointer --library=posix \
		'-DTAILQ_HEAD(name,type)=void *' '-DSTAILQ_HEAD(name,type)=void *' \
		'-DLIST_HEAD(name,type)=void *' '-DSLIST_HEAD(name,type)=void *' \
		'-DLIST_FOREACH(v,head,field)=while (((v) = next(v)))' -Iinclude -Iuser user
}

check_sh() {
	scripts | grep -v 'lib\.sh$' | xargs shellcheck -x -S warning &&
		scripts | grep 'lib\.sh$' | xargs -r shellcheck -S warning -s dash -e SC2034,SC2154
}

# $1 program, $2 function; what it prints is the finding
tool() {
	if ! command -v "$1" >/dev/null; then
		echo "skipped $1: not installed"
		skipped=$((skipped + 1))
	elif $2 >"$log/$1" 2>&1 && [ ! -s "$log/$1" ]; then
		echo "ok   $1"
		passed=$((passed + 1))
	else
		echo "FAIL $1"
		if grep -q ': error: ' "$log/$1"; then
			grep ': error: ' "$log/$1"
		else
			cat "$log/$1"
		fi | sed "s|$PWD/||" | head -n 60 | sed 's/^/  | /'
		echo "  | all of it: $log/$1"
		failed=$((failed + 1))
	fi
}

if clang-format --version 2>/dev/null | grep -q 'version 14\.'; then
	tool clang-format format
else
	echo 'skipped clang-format: .clang-format is written for version 14'
	skipped=$((skipped + 1))
fi
tool shellcheck check_sh
tool cppcheck check_c
tool clang-tidy tidy
echo "$passed passed, $failed failed, $skipped skipped"
[ $failed = 0 ]
