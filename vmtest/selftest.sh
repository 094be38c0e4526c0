#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Can the VM runs fail? Boots guests that fail in every way and demands that each is told. usage: vmtest/selftest.sh [KERNEL]
set -u
cd "$(dirname "$0")/.." || exit 2
kernel=${1:-6.12}
passed=0 failed=0

# $1 what happens in the guest, $2 the status to come out, the rest: the command
expect() {
	what=$1 want=$2
	shift 2
	vmtest/run.sh "$kernel" -- "$@" >/dev/null 2>&1
	got=$?
	if [ $got = "$want" ]; then
		echo "ok   $what: status $got"
		passed=$((passed + 1))
	else
		echo "FAIL $what: status $got, not $want"
		failed=$((failed + 1))
	fi
}

expect 'a command that succeeds' 0 true
expect 'a command that fails' 3 sh -c 'exit 3'
expect 'quotes in a command' 0 test "it's  so" = "it's  so"
expect 'a guest that powers off by itself' 130 busybox poweroff -f
expect 'a guest that crashes' 130 sh -c 'echo c >/proc/sysrq-trigger; sleep 60'
VM_TIMEOUT=12 expect 'a guest that hangs' 130 sleep 1000
echo "$passed passed, $failed failed, 0 skipped"
[ $failed = 0 ]
