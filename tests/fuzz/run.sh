#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Fuzzes with libFuzzer, ASan and UBSan. usage: tests/fuzz/run.sh SECONDS TARGET...   (tests/fuzz/TARGET_fuzz.c)
#
# Starts from tests/fuzz/corpus/TARGET, which is only read, and from what earlier runs found (build/fuzz/corpus/TARGET).
# A crash leaves its input in build/fuzz/crash and fails. The last line is `N passed, N failed, N skipped`.
set -u
cd "$(dirname "$0")/../.." || exit 2
[ $# -ge 1 ] || { echo 'usage: tests/fuzz/run.sh SECONDS TARGET...' >&2; exit 2; }
seconds=$1
shift
out=build/fuzz
passed=0 failed=0 skipped=0

# The Makefile's own rules, with clang and the fuzzer's counters, into a build folder of their own.
fuzz_make() {
	make -s --no-print-directory BUILD=$out SAN=1 CC=clang CFLAGS='-O1 -g -Wno-error -fsanitize=fuzzer-no-link' "$@"
}

build() {
	# shellcheck disable=SC2016
	libs=$(fuzz_make --eval 'print-libs: ; @echo $(LDLIBS)' print-libs)
	# shellcheck disable=SC2086
	fuzz_make -j"$(nproc)" "$out/libbailey.a" "$out/obj/tests/fuzz/$1_fuzz.o" >"$out/log/$1-build" 2>&1 &&
		clang -fsanitize=fuzzer,address,undefined "$out/obj/tests/fuzz/$1_fuzz.o" "$out/libbailey.a" \
			$libs -o "$out/$1_fuzz" >>"$out/log/$1-build" 2>&1
}

# A corpus of many small inputs and few large ones: libFuzzer picks its lengths from the seeds.
run() {
	mkdir -p "$out/corpus/$1"
	set -- "$1" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 -verbosity=1 \
		-artifact_prefix="$out/crash/$1-" "$out/corpus/$1"
	[ ! -d "tests/fuzz/corpus/$1" ] || set -- "$@" "tests/fuzz/corpus/$1"
	[ ! -f "tests/fuzz/$1.dict" ] || set -- "$@" "-dict=tests/fuzz/$1.dict"
	target=$1
	shift
	UBSAN_OPTIONS=print_stacktrace=1 "$out/${target}_fuzz" "$@" >"$out/log/$target" 2>&1
}

# $1 target: executions and coverage, from libFuzzer's log.
figures() {
	runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$out/log/$1" | tail -n 1)
	edges=$(sed -n 's/.* cov: \([0-9]*\) .*/\1/p' "$out/log/$1" | tail -n 1)
	inputs=$(find "$out/corpus/$1" -type f | wc -l)
	echo "${runs:-0} executions, ${edges:-0} edges, $inputs inputs kept"
}

tell_crash() {
	input=$(sed -n 's/.*Test unit written to //p' "$out/log/$1" | tail -n 1)
	grep -m 1 -E 'ERROR: |runtime error: ' "$out/log/$1" | sed 's/^/  | /'
	if [ -n "$input" ]; then
		echo "  | input kept; again: $out/$1_fuzz $input"
	else
		tail -n 20 "$out/log/$1" | sed 's/^/  | /'
	fi
}

one() {
	if ! build "$1"; then
		echo "FAIL $1: does not build"
		tail -n 20 "$out/log/$1-build" | sed 's/^/  | /'
		failed=$((failed + 1))
	elif run "$1"; then
		echo "ok   $1: $(figures "$1")"
		passed=$((passed + 1))
	else
		echo "FAIL $1: $(figures "$1")"
		tell_crash "$1"
		failed=$((failed + 1))
	fi
}

mkdir -p $out/log $out/crash
if ! clang -fsanitize=fuzzer -x c -c -o $out/log/probe.o /dev/null 2>/dev/null ||
	[ -z "$(find "$(clang -print-resource-dir)" -name 'libclang_rt.fuzzer*.a' 2>/dev/null)" ]; then
	echo 'skipped: clang has no fuzzer runtime (package libclang-rt-dev)'
	skipped=$#
else
	for target; do
		one "$target"
	done
fi
echo "$passed passed, $failed failed, $skipped skipped"
[ $failed = 0 ]
