#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# More nodes than overlay.lazy_peers: WireGuard is told of those that somebody talks to, from either side, and forgets the idle.
# shellcheck disable=SC2317 # functions are called through check
. tests/net/lib.sh
need ip nsenter jq wg
need_file "$BUILD/baileyd" 'run make'

dir=$TMP
prefix=$T
many=24
host_of() { case $1 in web) echo 2 ;; db) echo 3 ;; s*) echo $((100 + ${1#s})) ;; esac; }
netns_of() { echo "/var/run/netns/$(ns "$1")"; }
# shellcheck source=tests/net/nodes-lib.sh
. tests/net/nodes-lib.sh
ifname_of() { echo "by$U-$(host_of "$1")"; }
policy=$PWD/policy/examples/three-tier.yaml
tcp_ok() { in_ns "$1" "$talk" ask tcp "$2" 5432; }
peers() { in_ns "$1" wg show "$(ifname_of "$1")" peers | wc -l; }
has_peers() { [ "$(peers "$1")" = "$2" ]; }

load wireguard tun sch_ingress cls_bpf bridge veth
ns_add sw web db
bridge sw br0
for n in web db; do
	veth_bridge $n eth0 "$(underlay_of $n)/24" sw br0
done
make_root || exit 1
make_identity web web
make_identity db db
for n in web db; do
	write_config $n "$policy" 3600
	sed -i '/^exchange:/,$d; s/^  endpoints:/  lazy_peers: 10\n  lazy_idle: 5\n&/' "$dir/$n.yaml"
done
# nodes that nobody runs: records with evidence, as real as any
i=0
while [ $i -lt $many ]; do
	i=$((i + 1))
	make_identity s$i intruder
	"$bailey" record sign --cert "$dir/s$i.pem" --key "$dir/s$i.key" --node s$i --wg-key "$("$bailey" genkey | "$bailey" pubkey)" \
		--addr "$(overlay_of s$i)" --endpoint "10.99.0.$((100 + i)):51820" --out "$dir/records-web/s$i.record" >/dev/null
	cp "$dir/records-web/s$i.record" "$dir/records-db/"
done
for n in web db; do
	at_end "take_down $n"
	start_node $n
	check "$n verifies all" wait_until 60 knows $n $many
done
cp "$dir/state-web/self.record" "$dir/records-db/" && cp "$dir/state-db/self.record" "$dir/records-web/"
for n in web db; do "$bailey" reload --instance "$prefix-$n" >/dev/null; done
for n in web db; do
	check "$n knows the other real one" wait_until 30 knows $n $((many + 1))
	is "WireGuard of $n has no peer" "$(peers $n)" 0
	check 'status says so' status_has $n ".overlay.wireguard == {configured: 0, asleep: $((many + 1)), lazy: true, woken: 0}"
done

# --- from this side, and at the other from theirs --------------------------------------------------------------------------
check_not 'what policy denies goes to nobody' ping_from web "$(overlay_of db)"
is 'and wakes nobody' "$(peers web)" 0
spawn db "$talk" echo 5432
at=$(date +%s.%N)
check 'the first connection is made' tcp_ok web "$(overlay_of db)"
note "it took $(awk "BEGIN { printf \"%.1f\", $(date +%s.%N) - $at }") s"
is 'web told WireGuard of one' "$(peers web)" 1
is 'a handshake told db of one' "$(peers db)" 1
check 'both have it once' status_has db '.overlay.wireguard.woken == 1'
check 'peers says who' status_has web '[.peers[] | select(.configured).node] == ["db"]'
like 'and people can read it' "$("$bailey" status --instance "$prefix-web")" "*WireGuard has 1 peers, $many are asleep*"
check 'metrics, too' sh -c "'$bailey' metrics --instance '$prefix-web' | grep -qx 'bailey_wireguard_asleep $many'"
check 'IPv6 needs no other one' tcp_ok web "$(overlay6_of db)"

# --- who talks stays, who does not goes --------------------------------------------------------------------------------------
talked() { for _ in 1 2 3 4; do
	tcp_ok web "$(overlay_of db)" || return 1
	sleep 2
done; }
check 'a peer that is talked to stays' talked
is 'all the time' "$(status_of web | jq .overlay.wireguard.woken)" 1
check 'an idle one goes at web' wait_until 30 has_peers web 0
check 'and at db' wait_until 30 has_peers db 0

# --- processes that start again -------------------------------------------------------------------------------------------------
pid=$(status_of web | jq .processes.edge.pid)
kill -9 "$pid"
check 'the edge is started again' wait_until 20 status_has web ".processes.edge.running and .processes.edge.pid != $pid"
check 'and hears the handshake when db begins' wait_until 20 ping_from db "$(overlay_of web)"
end_pid "$dir/web.pid" -KILL
check 'WireGuard goes on without the daemon' ping_from db "$(overlay_of web)"
start_node web
check 'it starts again' wait_until 60 knows web $((many + 1))
check 'and keeps who was talked to' ping_from db "$(overlay_of web)"
is 'without having told WireGuard again' "$(status_of web | jq -cS .overlay.wireguard)" "{\"asleep\":$many,\"configured\":1,\"lazy\":true,\"woken\":0}"

# --- a key that is rotated ------------------------------------------------------------------------------------------------------
follow() { # what the exchange of records would do
	cp "$dir/state-web/self.record" "$dir/records-db/"
	"$bailey" reload --instance "$prefix-db" >/dev/null
	"$@"
}
check 'awake on both sides' wait_until 20 tcp_ok web "$(overlay_of db)"
before=$(status_of web | jq -r .overlay.public_key)
check 'the key of web is rotated' "$bailey" key rotate --instance "$prefix-web"
sleep 8
is 'nobody falls asleep meanwhile' "$(peers web)" 1
check 'it ends without those that sleep' wait_until 40 follow status_has web '.overlay.key.rotated == 1'
check_not 'it is another one' test "$(status_of web | jq -r .overlay.public_key)" = "$before"
check 'then who is idle goes at web' wait_until 30 has_peers web 0
check 'and at db' wait_until 30 follow has_peers db 0
check 'the edge opens what is sealed for the new key' wait_until 20 ping_from db "$(overlay_of web)"
is 'and wakes db at web' "$(peers web)" 1

# --- strangers at the port ----------------------------------------------------------------------------------------------------
check 'idle again' wait_until 40 has_peers db 0
ns_add stranger
veth_bridge stranger eth0 10.99.0.77/24 sw br0
key=$("$bailey" genkey)
umask 077
echo "$key" >"$TMP/stranger.key"
umask 022
backend=kernel
in_ns stranger ip link add "x$U" type wireguard 2>/dev/null && in_ns stranger ip link del "x$U" || backend=userspace
in_ns stranger "$PWD/$BUILD/tests/net/overlay_probe" up "x$U" backend=$backend key="$TMP/stranger.key" port=51820 mtu=1420 \
	addr=100.64.0.77/10 peer="$(status_of db | jq -r .overlay.public_key)" endpoint="$(underlay_of db):51820" keepalive=1 \
	allowed="$(overlay_of db)/32" >/dev/null
in_ns stranger sh -c "for i in 1 2 3; do printf '\001\000\000\000%0144d' 0; sleep 0.1; done | timeout 2 busybox nc -u -w 1 $(underlay_of db) 51820" >/dev/null 2>&1
sleep 2
is 'a key of nobody wakes nobody' "$(peers db)" 0
check 'the edge lives' status_has db '.processes.edge.restarts == 0'
in_ns stranger "$PWD/$BUILD/tests/net/overlay_probe" down "x$U" >/dev/null

for n in web db; do
	take_down $n
done
done_testing
