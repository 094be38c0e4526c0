#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# A thousand nodes of one control plane on this machine: rows for results.json. Two of them are real ones in namespaces of
# their own, with tunnels; vpc_storm plays the others. Run in a mount namespace of its own (run.sh does).
set -u
cd "$(dirname "$0")/../.." || exit 2
BUILD=${BUILD:-build}
few=${FEW:-250} many=${MANY:-1000} rounds=${ROUNDS:-3} renewals=50
prefix=bench$$
dir=$(mktemp -d)
chmod 711 "$dir"
host_of() { case $1 in s) echo 2 ;; a) echo 3 ;; b) echo 4 ;; esac; }
ns() { echo "$prefix-$1"; }
netns_of() { echo "/run/netns/$(ns "$1")"; }
in_ns() {
	inside=$(netns_of "$1")
	shift
	nsenter --net="$inside" "$@"
}
# shellcheck source=tests/net/nodes-lib.sh
. tests/net/nodes-lib.sh
# shellcheck source=tests/net/vpc-lib.sh
. tests/net/vpc-lib.sh
ifname_of() { echo "by$$-$1"; }

# shellcheck disable=SC2317,SC2329 # called by the trap
clean() {
	end_pid "$dir/vpc.pid"
	for n in a b; do
		[ ! -e "$dir/$n.yaml" ] || take_down $n >/dev/null 2>&1
	done
	for n in s a b; do ip netns del "$(ns $n)" 2>/dev/null; done
	rm -rf "$dir"
}
trap clean EXIT
trap 'exit 1' INT TERM

for n in s a b; do ip netns add "$(ns $n)" || exit 1; done
in_ns s ip link set lo up mtu 1500 # as on a wire
in_ns s sysctl -qw net.ipv4.tcp_rmem='4096 1048576 33554432' # one process reads for all: it comes late
in_ns s ip link add br0 type bridge && in_ns s ip addr add 10.99.0.2/24 dev br0 && in_ns s ip link set br0 up || exit 1
for n in a b; do
	in_ns s ip link add "v$n" type veth peer name eth0 netns "$(ns $n)" || exit 1
	in_ns s ip link set "v$n" master br0 up
	in_ns $n ip addr add "$(underlay_of $n)/24" dev eth0
	in_ns $n ip link set eth0 up
done

member=$(printf '5b%.0s' $(seq 20)) # vpc_storm's
make_root || exit 1
identity s "$control" || exit 1
for n in a b; do identity $n "$member" || exit 1; done
cat >"$dir/admit.yaml" <<-END
	version: 1
	apps: { control: { app-id: $control }, member: { app-id: $member } }
	rules: [{ name: may-join, from: member, to: control, allow: [tcp/7947] }]
END
write_members_policy
for n in a b; do node_config $n $n "$(at_server)"; done

serve() { # NAME: of its state
	server_config
	sed -i "s|^state:.*|state: $dir/state-$1|; s|^run:.*|run: $dir/run-$1|" "$dir/vpc.yaml"
	start_server
	wait_until 10 "$bailey" node list --socket "$dir/run-$1/ctl.sock" >/dev/null
}
fail() {
	echo "vpc.sh: $1" >&2
	tail -n 3 "$dir"/*.log >&2
	exit 1
}

row() { # NAME OURS PEER PEER_NAME UNIT NOTE
	awk -v n="$1" -v o="$2" -v p="$3" -v pn="$4" -v u="$5" -v t="$6" 'BEGIN {
		printf "{\"name\":\"%s\",\"ours\":%s,\"peer\":%s,\"peer_name\":\"%s\",\"ratio\":%.3f,\"unit\":\"%s\",\"note\":\"%s\"}\n",
			n, o, p, pn, o / p, u, t }'
}

ping=$(command -v ping || echo 'busybox ping')
# --- one node, from nothing ------------------------------------------------------------------------------------------------
serve one || fail 'the control plane does not start'
start_node b
wait_until 20 status_has b .vpc.connected || fail 'b does not join'
addr_b=$(status_of b | jq -r '.overlay.addresses[0]')
best=
while [ "$rounds" -gt 0 ]; do
	rounds=$((rounds - 1))
	begin=$(date +%s%N)
	start_node a
	tries=0
	until in_ns a $ping -i 0.02 -c 100 "$addr_b" 2>/dev/null | grep -q -m 1 'bytes from' || [ $((tries += 1)) -gt 2000 ]; do
		sleep 0.005
	done
	took=$((($(date +%s%N) - begin) / 1000000))
	[ $tries -le 2000 ] || fail 'no packet passes'
	[ -n "$best" ] && [ "$best" -le $took ] || best=$took
	take_down a >/dev/null 2>&1
	rm -rf "$dir/state-a"
	sleep 1 # the next one's records are newer
done
row vpc.join_first_packet_ms "$best" 1000 'the goal' ms 'baileyd starts without any state, until a ping is answered'
take_down b >/dev/null 2>&1
end_pid "$dir/vpc.pid"

# --- many ------------------------------------------------------------------------------------------------------------------
# What vpc_storm runs when all know all, and again when the revocation is through.
cat >"$dir/revoke.sh" <<-END
	'$bailey' node revoke node-1 --socket '$dir/run-'\$1/ctl.sock >/dev/null &
END
cat >"$dir/cpu.sh" <<-END
	for pid in \$(pgrep -P "\$(cat '$dir/vpc.pid')"); do cat "/proc/\$pid/stat"; done |
		awk -v what="\$2" -v hz="$(getconf CLK_TCK)" '{ sub(/.*\) /, ""); s += \$12 + \$13 } END { printf "%s %.2f\n", what, s / hz }' >>'$dir/'\$1
END
cat >"$dir/restart.sh" <<-END
	server=\$(cat '$dir/vpc.pid')
	front=\$(pgrep -P "\$server" | head -n 1)
	awk '/^VmHWM:/ { printf "rss %.1f\n", \$2 / 1024 }' "/proc/\$front/status" >>'$dir/'\$1
	children=\$(pgrep -P "\$server")
	kill -9 "\$server" \$children
	while kill -0 \$children 2>/dev/null; do sleep 0.05; done
	nsenter --net='$(netns_of s)' '$BUILD/bailey-vpc' --config '$dir/vpc.yaml' >>'$dir/vpc.log' 2>&1 &
	echo \$! >'$dir/vpc.pid'
END

storm() { # NODES REAL...
	nodes=$1 pins=
	shift
	serve "$nodes" || fail 'the control plane does not start'
	for n; do
		rm -rf "$dir/state-$n"
		start_node "$n"
		wait_until 20 status_has "$n" .vpc.connected || fail "$n does not join"
		wait_until 20 test -e "$(pins_of "$n")/by_addr"
		pins="$pins -m $(pins_of "$n")/by_addr"
	done
	: >"$dir/$nodes"
	# shellcheck disable=SC2086 # words
	in_ns s "$BUILD/tests/net/vpc_storm" -k $pins -n $renewals -q "sh '$dir/cpu.sh' $nodes cpu" -r "sh '$dir/revoke.sh' $nodes" -s "sh '$dir/restart.sh' $nodes" \
		"$(underlay_of s):7947" "$nodes" "$dir/root" "$dir/root/root.pem" >>"$dir/$nodes" || fail "$nodes nodes"
	for n; do take_down "$n" >/dev/null 2>&1; done
	end_pid "$dir/vpc.pid"
}

storm "$few"
storm "$many" a b
of() { sed -n "s/^$2 //p" "$dir/$1"; }
join_cpu() { of "$1" cpu | head -n 1; }
# Of the control plane, milliseconds of CPU for one renewal, and of a core in all while records live an hour.
renew_cpu() { of "$1" cpu | awk -v n="$1" -v r="$renewals" '{ c[NR] = $1 } END { s = (c[2] - c[1]) / r; printf "%.1f ms, %.4f of a core", 1000 * s, s * n / 2400 }'; }
row "vpc.join_storm_${many}_s" "$(of "$many" join)" "$(of "$few" join)" "$few nodes" s \
	"all dial at once, until each has been told of all; the control plane's CPU took $(join_cpu "$many") s"
row "vpc.renew_${many}_s" "$(of "$many" renew)" "$(of "$few" renew)" "$few nodes" s \
	"in quiet times: one node's new record, until all others have it; the control plane's CPU for it $(renew_cpu "$many") while records live an hour"
row "vpc.revoke_${many}_s" "$(of "$many" revoke)" 1 'the goal' s \
	'bailey node revoke, until no kernel map has the node, nor those of two real nodes'
row "vpc.server_rss_mb_${many}" "$(of "$many" rss)" "$(of "$few" rss)" "$few nodes" MB 'highest of the front process, connections included'
row "vpc.restart_${many}_s" "$(of "$many" restart)" "$(of "$few" restart)" "$few nodes" s \
	'kill -9 of the control plane, until all nodes are connected again and have been told of all'
row "vpc.real_nodes_${many}_s" "$(of "$many" real)" "$(of "$many" join)" 'the simulated ones' s \
	'two real nodes: each record verified, in the kernel, a peer of WireGuard'
