#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# One TCP stream over a WireGuard overlay of two namespaces, with our programs on one end and without. Takes turns,
# best of the rounds each. Prints one JSON row. Run in a mount namespace of its own (run.sh does).
set -u
umask 077
bin=${BUILD:-build}/tests/bench
rounds=${ROUNDS:-4}
seconds=${SECONDS_EACH:-3}
name=overlay.with_policy_vs_without
a=by-bench-a-$$
b=by-bench-b-$$
tmp=$(mktemp -d)
pids=

skip() {
	echo "{\"name\":\"$name\",\"skipped\":\"$1\"}"
	exit 0
}

# shellcheck disable=SC2317,SC2329 # called by the trap
clean() {
	for pid in $pids; do kill "$pid" 2>/dev/null; done
	wait
	ip netns del "$a" 2>/dev/null
	ip netns del "$b" 2>/dev/null
	umount "$tmp/bpf" 2>/dev/null
	rm -rf "$tmp"
}
trap clean EXIT
trap 'exit 1' INT TERM

for tool in wg iperf3 ip; do
	command -v $tool >/dev/null || skip "$tool is not installed"
done

ip netns add "$a" && ip netns add "$b" || exit 1
ip link add bya type veth peer name byb || exit 1
ip link set bya netns "$a" && ip link set byb netns "$b" || exit 1
ip -n "$a" addr add 10.99.0.1/24 dev bya && ip -n "$b" addr add 10.99.0.2/24 dev byb || exit 1
ip -n "$a" link set bya up && ip -n "$b" link set byb up || exit 1

# $1 namespace, $2 device: the kernel's WireGuard where it has one
device() {
	ip -n "$1" link add "$2" type wireguard 2>/dev/null && return
	command -v wireguard-go >/dev/null || return 1
	LOG_LEVEL=error nsenter --net="/run/netns/$1" wireguard-go -f "$2" >/dev/null 2>&1 &
	pids="$pids $!"
	for _ in 1 2 3 4 5 6 7 8 9 10; do
		ip -n "$1" link show "$2" >/dev/null 2>&1 && return
		sleep 0.1
	done
	return 1
}
mkdir -p /run/wireguard && mount -t tmpfs none /run/wireguard || exit 1
device "$a" bywga || skip "neither the kernel's WireGuard nor wireguard-go"
device "$b" bywgb || skip "neither the kernel's WireGuard nor wireguard-go"
in_a="nsenter --net=/run/netns/$a"
in_b="nsenter --net=/run/netns/$b"

wg genkey >"$tmp/a" && wg genkey >"$tmp/b" || exit 1
$in_a wg set bywga private-key "$tmp/a" listen-port 51820 \
	peer "$(wg pubkey <"$tmp/b")" allowed-ips 100.64.0.3/32 endpoint 10.99.0.2:51820 || exit 1
$in_b wg set bywgb private-key "$tmp/b" listen-port 51820 \
	peer "$(wg pubkey <"$tmp/a")" allowed-ips 100.64.0.2/32 endpoint 10.99.0.1:51820 || exit 1
ip -n "$a" addr add 100.64.0.2/24 dev bywga && ip -n "$b" addr add 100.64.0.3/24 dev bywgb || exit 1
ip -n "$a" link set bywga mtu 1420 up && ip -n "$b" link set bywgb mtu 1420 up || exit 1

mkdir "$tmp/bpf" && mount -t bpf bpf "$tmp/bpf" || exit 1
$in_a iperf3 -s -p 5432 >/dev/null 2>&1 &
pids="$pids $!"
sleep 0.5

# Mbit/s of one run from b to a
stream() {
	$in_b iperf3 -c 100.64.0.2 -p 5432 -t "$seconds" -f m 2>/dev/null | awk '/receiver/ { print $7 }'
}

with=0
without=0
round=0
while [ "$round" -lt "$rounds" ]; do
	n=$(stream)
	without=$(awk -v a="$without" -v b="${n:-0}" 'BEGIN { print (b + 0 > a + 0 ? b : a) }')
	$in_a "$bin/policy" "$tmp/bpf" on bywga || exit 1
	n=$(stream)
	with=$(awk -v a="$with" -v b="${n:-0}" 'BEGIN { print (b + 0 > a + 0 ? b : a) }')
	judged=$($in_a "$bin/policy" "$tmp/bpf" off bywga) || exit 1
	[ "$judged" -gt 100 ] || skip "the stream did not go through the programs ($judged packets)"
	round=$((round + 1))
done
if [ "$with" = 0 ] || [ "$without" = 0 ]; then
	skip "no stream went through"
fi
awk -v n="$name" -v w="$with" -v o="$without" 'BEGIN {
	printf "{\"name\":\"%s\",\"ours\":%s,\"peer\":%s,\"peer_name\":\"no programs\",\"ratio\":%.3f,\"unit\":\"Mbit/s\",\"note\":\"%s\"}\n",
		n, w, o, w / o, "one TCP stream over WireGuard, programs on the receiving end; more is better" }'
