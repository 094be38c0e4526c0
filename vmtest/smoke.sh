#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Run inside the VM, before the suites: is this the kernel and the set-up that they count on?
set -u
passed=0 failed=0

# $1 what is checked, the rest: the command that shows it
check() {
	what=$1
	shift
	if "$@" >/dev/null 2>&1; then
		echo "ok   vm: $what"
		passed=$((passed + 1))
	else
		echo "FAIL vm: $what ($*)"
		failed=$((failed + 1))
	fi
}

wireguard_device() {
	ip link add bailey-smoke type wireguard && ip -d link show bailey-smoke | grep -q wireguard &&
		ip link del bailey-smoke
}

two_namespaces() {
	ip netns add bailey-a && ip netns add bailey-b &&
		ip link add va netns bailey-a type veth peer name vb netns bailey-b &&
		ip -n bailey-a addr add 10.0.0.1/24 dev va && ip -n bailey-b addr add 10.0.0.2/24 dev vb &&
		ip -n bailey-a link set va up && ip -n bailey-b link set vb up &&
		ip netns exec bailey-a busybox ping -c 1 -w 5 10.0.0.2
	rc=$?
	ip netns del bailey-a
	ip netns del bailey-b
	return $rc
}

check 'kernel has BTF' test -s /sys/kernel/btf/vmlinux
check 'bpffs is mounted' grep -q '^bpf /sys/fs/bpf bpf rw' /proc/mounts
check 'loopback is up' busybox ping -c 1 -w 5 127.0.0.1
check 'a module loads by name' modprobe tls
check 'kernel WireGuard makes a device' wireguard_device
check 'clsact attaches' tc qdisc add dev lo clsact
check 'two namespaces reach each other' two_namespaces
check 'the checkout can be written to' touch "${BUILD:-build}/tests/log/touched"
check 'the host can not be written to' sh -c '! touch /etc/bailey-smoke'
echo "$passed passed, $failed failed, 0 skipped"
[ $failed = 0 ]
