#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# One TCP stream over a WireGuard overlay of two namespaces, with our programs on one end and without; and with them, stream
# and round trip, against nebula on the same wire. Takes turns, best of the rounds each. Prints JSON rows. Run in a mount
# namespace of its own (run.sh does).
# shellcheck disable=SC2086 # words
set -u
umask 077
bin=${BUILD:-build}/tests/bench
rounds=${ROUNDS:-8}
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

# Mbit/s of one run from b to a, by this address of a
stream() {
	$in_b iperf3 -c "$1" -p 5432 -t "$seconds" -f m 2>/dev/null | awk '/receiver/ { print $7 }'
}

# the mean of 300 round trips, one after the other, in microseconds
rtt() {
	$in_b $ping -q -A -c 300 -w 10 "$1" 2>/dev/null | awk -F/ '/min\/avg/ { print $(NF == 5 ? 4 : 5) * 1000 }'
}
ping=$(command -v ping || echo 'busybox ping')

nebula_node() { # NAMESPACE NAME ADDRESS: its own, the other's is in $4 $5
	nebula-cert sign -name "$2" -ip "$3/24" -ca-crt "$tmp/ca.crt" -ca-key "$tmp/ca.key" -out-crt "$tmp/$2.crt" -out-key "$tmp/$2.key" || return 1
	cat >"$tmp/$2.yml" <<-EOF
		pki: { ca: $tmp/ca.crt, cert: $tmp/$2.crt, key: $tmp/$2.key }
		static_host_map: { "$4": ["$5:4242"] }
		lighthouse: { am_lighthouse: false }
		listen: { host: 0.0.0.0, port: 4242 }
		tun: { dev: byneb$2, mtu: 1420 }
		logging: { level: error }
		firewall:
		  outbound: [{ port: any, proto: any, host: any }]
		  inbound: [{ port: 5432, proto: tcp, host: any }, { port: any, proto: icmp, host: any }]
	EOF
	nsenter --net="/run/netns/$1" nebula -config "$tmp/$2.yml" >"$tmp/$2.log" 2>&1 &
	pids="$pids $!"
}

nebula_up() {
	nebula-cert ca -name bench -out-crt "$tmp/ca.crt" -out-key "$tmp/ca.key" &&
		nebula_node "$a" a 100.65.0.2 100.65.0.3 10.99.0.2 && nebula_node "$b" b 100.65.0.3 100.65.0.2 10.99.0.1 || return 1
	for _ in $(seq 20); do
		$in_b $ping -q -c 1 -W 1 100.65.0.2 2>/dev/null | grep -q ' 0% packet loss' && return
		sleep 0.5
	done
	return 1
}

higher() { awk -v a="$1" -v b="${2:-0}" 'BEGIN { print (b + 0 > a + 0 ? b : a) }'; }
lower() { awk -v a="$1" -v b="$2" 'BEGIN { print (a == "" || (b != "" && b + 0 < a + 0) ? b : a) }'; }

without_nebula=
command -v nebula-cert >/dev/null || without_nebula='nebula is not installed'
[ -n "$without_nebula" ] || nebula_up || without_nebula="nebula's nodes do not reach each other"
with=0 without=0 their=0 our_rtt='' their_rtt=''
round=0
while [ "$round" -lt "$rounds" ]; do
	without=$(higher "$without" "$(stream 100.64.0.2)")
	if [ -z "$without_nebula" ]; then
		their=$(higher "$their" "$(stream 100.65.0.2)")
		their_rtt=$(lower "$their_rtt" "$(rtt 100.65.0.2)")
	fi
	$in_a "$bin/policy" "$tmp/bpf" on bywga || exit 1
	with=$(higher "$with" "$(stream 100.64.0.2)")
	our_rtt=$(lower "$our_rtt" "$(rtt 100.64.0.2)")
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
nebula_row() { # NAME OURS PEER UNIT NOTE
	awk -v n="overlay.$1" -v w="$2" -v o="$3" -v u="$4" -v t="$5" -v why="$without_nebula" 'BEGIN {
		if (why == "" && (w + 0 == 0 || o + 0 == 0)) why = "nothing went through"
		if (why != "") { printf "{\"name\":\"%s\",\"skipped\":\"%s\"}\n", n, why; exit }
		printf "{\"name\":\"%s\",\"ours\":%s,\"peer\":%s,\"peer_name\":\"nebula\",\"ratio\":%.3f,\"unit\":\"%s\",\"note\":\"%s\"}\n", n, w, o, w / o, u, t }'
}
nebula_row bulk_vs_nebula "$with" "$their" Mbit/s "one TCP stream, programs on the receiving end; more is better"
nebula_row rtt_vs_nebula "$our_rtt" "$their_rtt" us "mean round trip of the best round; less is better"
