#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# More nodes than overlay.lazy_peers: WireGuard is told of those that somebody talks to, from either side, and forgets the idle.
# shellcheck disable=SC2317 # functions are called through check
. tests/net/lib.sh
need ip nsenter jq wg python3
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
like 'ping says that it is asleep' "$(in_ns web "$bailey" ping db --count 1 --instance "$prefix-web")" '*: asleep until somebody talks to it*'
spawn db "$talk" echo 5432
at=$(date +%s.%N)
check 'the first connection is made' tcp_ok web "$(overlay_of db)"
note "it took $(awk "BEGIN { printf \"%.1f\", $(date +%s.%N) - $at }") s"
like 'a drop says that it wakes' "$("$bailey" drops --instance "$prefix-web")" '*PEER_ASLEEP*web-to-db *: to a peer that WireGuard is told of*'
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
check 'and keeps who was talked to' eventually 5 ping_from db "$(overlay_of web)"
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

# --- handshakes by former keys, recorded and sent again, at either port ---------------------------------------------------------
# message KEYFILE PUBLIC-KEY FILE: the initiation that the first sends to the second
message() {
	in_ns stranger python3 -c 'import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("127.0.0.1", 9999))
s.settimeout(60)
open(sys.argv[2], "w")
while True:
	data = s.recv(2048)
	if len(data) == 148 and data[0] == 1:
		break
open(sys.argv[1], "wb").write(data)' "$3" "$3.ready" &
	listener=$!
	eventually 20 [ -e "$3.ready" ]
	in_ns stranger "$PWD/$BUILD/tests/net/overlay_probe" up "x$U" backend=$backend key="$1" port=51820 mtu=1420 addr=100.64.0.77/10 \
		peer="$2" endpoint=127.0.0.1:9999 keepalive=1 allowed=100.64.0.78/32 >/dev/null
	wait "$listener"
	in_ns stranger "$PWD/$BUILD/tests/net/overlay_probe" down "x$U" >/dev/null
}
say() { # FILE PORT: to web
	in_ns stranger python3 -c 'import socket, sys
socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(open(sys.argv[1], "rb").read(), (sys.argv[2], int(sys.argv[3])))' \
		"$1" "$(underlay_of web)" "$2"
}
peer_is() { in_ns web wg show "$(ifname_of web)" peers | grep -qxF "$1"; }
says_until() { # FILE PORT COMMAND...: a flood of others may have taken its turn
	file=$1 port=$2
	shift 2
	say "$file" "$port"
	eventually 2 "$@"
}
key_of() { status_of "$1" | jq -r .overlay.public_key; }
phase_is() { [ "$(status_of web | jq -r .overlay.key.phase)" = "$1" ]; }

# a node whose keys this test has
host_of_t=99
for n in t old new; do (umask 077 && "$bailey" genkey >"$TMP/$n.wgkey"); done
public() { "$bailey" pubkey <"$TMP/$1.wgkey"; }
make_t() { # OPTION...: its record, at web
	"$bailey" record sign --cert "$dir/t.pem" --key "$dir/t.key" --node t --addr 100.64.0.$host_of_t \
		--endpoint 10.99.0.$host_of_t:51820 "$@" --out "$dir/records-web/t.record" >/dev/null &&
		"$bailey" reload --instance "$prefix-web" >/dev/null
}
"$bailey" dev-identity issue --root "$dir/root" --app-id "$(app_of intruder)" --instance-id "$(printf '%040d' $host_of_t)" --name t \
	--out "$dir/t" >/dev/null
at=$(date +%s)
make_t --wg-key "$(public t)" --epoch "$at"
check 'web knows one more' wait_until 30 knows web $((many + 2))
former=$(key_of web) db_key=$(key_of db) t_key=$(public t)
message "$TMP/t.wgkey" "$former" "$TMP/t-former"
message "$TMP/stranger.key" "$former" "$TMP/stranger-former"
check 'awake on both sides' wait_until 20 tcp_ok web "$(overlay_of db)"
check 'the key of web is rotated again' "$bailey" key rotate --instance "$prefix-web"
# db hears that it shall leave, and not that it shall come back: that half waits for it
is_told() { "$bailey" record show "$dir/state-web/self.record" --json | jq -e .detour_key >/dev/null; }
check 'its record says so' eventually 20 is_told
cp "$dir/state-web/self.record" "$dir/records-db/" && "$bailey" reload --instance "$prefix-db" >/dev/null
check 'web comes back to its new key' wait_until 90 phase_is returning
is 'awake is who was' "$(in_ns web wg show "$(ifname_of web)" peers)" "$db_key"
says_until "$TMP/stranger-former" 51821 false
is 'for the former key a handshake of nobody wakes nobody' "$(in_ns web wg show "$(ifname_of web)" peers)" "$db_key"
check "a member's, at the second port, wakes the member" eventually 20 says_until "$TMP/t-former" 51821 peer_is "$t_key"
is_on_second() { in_ns web wg show "$(ifname_of web)~" peers | grep -qxF "$t_key"; }
check 'on the second device, too' eventually 5 is_on_second
check 'all this while the key came back' phase_is returning
check 'the rotation ends' wait_until 90 follow status_has web '.overlay.key.rotated == 2'
check 'all sleep again' wait_until 60 follow has_peers web 0
for port in 51821 51820; do
	says_until "$TMP/t-former" $port false
	is "then the same handshake, recorded, wakes nobody at $port" "$(peers web)" 0
done
message "$TMP/t.wgkey" "$(key_of web)" "$TMP/t-now"
check 'one for the new key does' eventually 20 says_until "$TMP/t-now" 51821 peer_is "$t_key"
check 'and sleeps again' wait_until 60 has_peers web 0

# the other end's former key
message "$TMP/old.wgkey" "$(key_of web)" "$TMP/t-old"
check 'web takes a record with a former key' make_t --wg-key "$(public new)" --detour-key "$(public old)" --epoch $((at + 1))
check 'a handshake by that, at the second port, wakes its node' \
	eventually 20 says_until "$TMP/t-old" 51821 peer_is "$(public new)"
check 'its rotation is over' make_t --wg-key "$(public new)" --epoch $((at + 2))
check 'it sleeps again' wait_until 60 has_peers web 0
for port in 51821 51820; do
	says_until "$TMP/t-old" $port false
	is "its former key wakes nobody at $port" "$(peers web)" 0
done
check 'the edge lives' status_has web '.processes.edge.restarts == 0'

for n in web db; do
	take_down $n
done
done_testing
