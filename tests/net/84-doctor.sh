#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Asking a node: `bailey ping` (path, round trip, longest packet), `bailey doctor` (what is planted is found), the status
# service on a port of its own, and `bailey up` from nothing.
. tests/net/lib.sh
need ip nsenter ss jq curl nft pgrep python3
need_file "$BUILD/bailey-vpc" 'run make'

dir=$TMP
prefix=$T
host_of() { case $1 in web) echo 2 ;; db) echo 3 ;; s) echo 9 ;; new) echo 7 ;; esac; }
netns_of() { echo "/var/run/netns/$(ns "$1")"; }
# shellcheck source=tests/net/nodes-lib.sh
. tests/net/nodes-lib.sh
# shellcheck source=tests/net/vpc-lib.sh
. tests/net/vpc-lib.sh
ifname_of() { echo "by$U-$(host_of "$1")"; }
policy=$PWD/policy/examples/three-tier.yaml
chmod 711 "$TMP"

load wireguard tun sch_ingress cls_bpf bridge veth
ns_add hub web db s new
bridge hub br0
for n in web db s new; do
	veth_bridge $n eth0 "$(underlay_of $n)/24" hub br0
done
make_root || exit 1
make_identity web web
make_identity db db
write_config web "$policy" 3600 db
write_config db "$policy" 3600 web
echo 'status: { listen: ["0.0.0.0:8000"] }' >>"$dir/db.yaml"
echo "status: { listen: [\"$(overlay_of web):8000\"] }" >>"$dir/web.yaml"
echo 'underlay: { interface: eth0, failsafe: none }' >>"$dir/web.yaml" # WireGuard's longest messages pass there, too
for n in web db; do
	at_end "take_down $n"
	start_node $n
done
check 'web knows db' wait_until 60 knows web 1
check 'db knows web' wait_until 60 knows db 1

# --- ping ----------------------------------------------------------------------------------------------------------------
ping() { node=$1; shift; in_ns "$node" "$bailey" ping "$@" --instance "$prefix-$node"; }
check 'db pings web' wait_until 10 ping db web --count 1
out=$(ping db web)
like 'with path, times and the longest packet' "$out" "*web at 100.64.0.2, path $(ifname_of db) to 10.99.0.2:51820*3 of 3 answered*mtu 1420, all of*"
is 'by address, over IPv6, as JSON' "$(ping db fdba:11e7::2 --json --count 2 | jq -c '[.node, .answered, .mtu]')" '["web",2,1420]'
is 'by instance' "$(ping db "$(instance_of web)" --json | jq .answered)" 3
check_not 'a stranger is not pinged' ping db 100.64.0.77
check_not 'nor a name of nobody' ping db nobody
is 'itself is said to be itself' "$(ping db db 2>&1)" 'bailey ping: db: is this node itself'
is 'also by its address' "$(ping db 100.64.0.3 2>&1)" 'bailey ping: 100.64.0.3: is this node itself'
like 'nobody is asked for nobody' "$("$bailey" ping 2>&1; echo $?)" 'usage: *
2'
out=$(ping web db --count 1)
is 'what policy denies is not answered' $? 1
like 'and the node says that it was itself' "$out" "*this node's own policy denies it: POLICY_DENY*"
in_ns hub ip link set p-web mtu 1400
in_ns web ip link set eth0 mtu 1400
in_ns db ip link set eth0 mtu 1400
like 'a path that is shorter is found' "$(ping db web --json --count 1 | jq .mtu)" '1[34]*'
for n in web db; do in_ns $n ip link set eth0 mtu 1500; done
in_ns hub ip link set p-web mtu 1500
check_not 'who may open no socket is told' in_ns db setpriv --reuid=65534 --clear-groups "$bailey" ping web --instance "$prefix-db"

# --- the status service ----------------------------------------------------------------------------------------------------
get() { in_ns hub curl -s --max-time 5 "$@"; }
in_ns hub ip addr add 10.99.0.1/24 dev br0
url=http://$(underlay_of db):8000
check 'it answers' eventually 10 get -f "$url/health"
is 'health' "$(get "$url/health")" OK
is 'status says what the experiment says' "$(get "$url/status" | jq -c 'keys')" \
	'["disk_free_gb","node","overlay_ip","status","time","wg"]'
is 'of this node' "$(get "$url/status" | jq -c '[.node, .overlay_ip, .status, .wg.interface, .wg.peer_count]')" \
	"[\"db\",\"100.64.0.3\",\"healthy\",\"$(ifname_of db)\",1]"
check 'with the age of a handshake' test "$(get "$url/status" | jq '.wg.max_last_handshake_sec')" -ge 0
check_not 'no key, no peer is in it' sh -c "nsenter --net=$(netns_of hub) curl -s $url/status | grep -qE 'key|web|10\\.99'"
code() { get -o /dev/null -w '%{http_code}' "$@"; }
is 'another path' "$(code "$url/v1/status")" 404
is 'another method' "$(code -X POST "$url/status")" 405
is 'a body' "$(code -X GET -d x "$url/status")" 413
is 'a head too long' "$(code -H "X: $(head -c 5000 /dev/zero | tr '\0' x)" "$url/status")" 431
# say TEXT COUNT SECONDS: so many connections that say it, held so long; the first line of what the first is answered
say() {
	in_ns hub python3 -c 'import socket, sys, time
conns = [socket.create_connection((sys.argv[1], 8000), 5) for _ in range(int(sys.argv[3]))]
for c in conns: c.sendall(sys.argv[2].encode())
time.sleep(float(sys.argv[4])); conns[0].settimeout(6); print(conns[0].recv(100).decode()[:12])' "$(underlay_of db)" "$@"
}
is 'no HTTP' "$(say 'nonsense

' 1 0)" 'HTTP/1.1 400'
role_pid() { pgrep -P "$(cat "$dir/$1.pid")" -f -- "--role=$2" | head -n 1; }
of_status() { sed -n "s/^$1:[[:space:]]*//p" "/proc/$(role_pid db status)/status"; }
is 'its process has no capability and a list of calls' "$(of_status CapEff) $(of_status CapBnd) $(of_status Seccomp) $(of_status NoNewPrivs)" \
	'0000000000000000 0000000000000000 2 1'
check 'and is not root' test "$(of_status Uid | awk '{print $1}')" != 0
is 'on an overlay address the policy decides' "$(in_ns db curl -s -o /dev/null -w '%{http_code}' --max-time 2 "http://$(overlay_of web):8000/status")" 000
is 'and the node itself is answered' "$(in_ns web curl -s -o /dev/null -w '%{http_code}' --max-time 10 "http://$(overlay_of web):8000/status")" 200
is 'many at once are answered' "$(seq 200 | in_ns hub xargs -n 1 -P $((40 / PATIENCE)) sh -c "curl -s --max-time 20 '$url/health'" | sort | uniq -c | tr -s ' ')" ' 200 OK'
say 'GET /status HTTP/1.1' 70 8 >"$TMP/slow" 2>&1 &
sleep 1
check 'seventy that say nothing do not stop it for long' eventually 12 get -f "$url/health"
old=$(role_pid db status)
kill -9 "$old"
check 'it is started again' eventually 10 get -f "$url/health"
net=$(role_pid db net)
kill -STOP "$net"
sleep 1.2
is 'a node that does not know is not healthy' "$(code "$url/health")" 503
kill -CONT "$net"
check 'and is again when it does' eventually 10 get -f "$url/health"

# --- doctor ----------------------------------------------------------------------------------------------------------------
doctor() { in_ns db "$bailey" doctor --instance "$prefix-db" "$@"; }
wrong() { doctor --json | jq -r ".findings[] | select(.state == \"WRONG\" and .area == \"$1\") | .text"; }
look() { doctor --json | jq -r ".findings[] | select(.state == \"look\" and .area == \"$1\") | .text"; }
out=$(doctor)
is 'a node that is well' "$? $(echo "$out" | grep -c WRONG)" '0 0'
like 'is told so' "$out" '*ready and knows 1 nodes*kernel*tc programs*'
like 'and its certificate' "$out" '*certificate*own certificate: * days left*'
in_ns db nft add table inet planted
in_ns db nft add chain inet planted in '{ type filter hook input priority 10; }'
in_ns db nft add rule inet planted in udp dport 51000-52000 drop
like 'a rule over WireGuard is found' "$(wrong firewall)" "*inet planted in: a rule has 'drop' for udp/51820 (WireGuard)*"
doctor >/dev/null
is 'and the status says so' $? 1
in_ns db nft flush chain inet planted in
in_ns db nft add rule inet planted in tcp dport '{ 22, 7946 }' reject
like 'one in a set, over the exchange' "$(wrong firewall)" "*'reject' for tcp/7946 (records)*"
in_ns db nft flush chain inet planted in
in_ns db nft add rule inet planted in meta mark 0xba110001 accept
like "one with capture's mark" "$(wrong firewall)" '*uses the mark 0xba110001*'
in_ns db nft flush chain inet planted in
is 'rules for other ports are left alone' "$(in_ns db nft add rule inet planted in tcp dport 51820 drop; wrong firewall)" ''
in_ns db nft flush chain inet planted in
in_ns db nft add chain inet planted in '{ policy drop; }'
like 'a chain that drops the rest is told' "$(look firewall)" '*drops what no rule accepts, and none names udp/51820*'
in_ns db nft add rule inet planted in udp dport 51820 accept
like 'but not where a rule lets it in' "$(look firewall | grep -c 51820)" 0
in_ns db nft delete table inet planted
in_ns db ip link add vpn0 type veth peer name vpn1 && in_ns db ip link set vpn0 up && in_ns db ip link set vpn1 up
in_ns db ip route add 100.65.0.0/16 dev vpn0
like 'a route over the same addresses is found' "$(wrong routes)" '100.65.0.0/16 goes by vpn0*table 254*'
in_ns db ip route del 100.65.0.0/16 dev vpn0
in_ns db ip route add 100.64.0.0/10 dev vpn0 table 52
like "also in another table, as tailscale's is" "$(wrong routes)" '100.64.0.0/10 goes by vpn0*table 52*'
in_ns db ip link del vpn0
if in_ns db tc qdisc add dev "$(ifname_of db)" clsact 2>/dev/null || in_ns db tc qdisc show dev "$(ifname_of db)" | grep -q clsact; then
	if in_ns db tc filter add dev "$(ifname_of db)" ingress prio 7 matchall action pass 2>/dev/null; then
		like 'a foreign filter is told' "$(look programs)" '*tc filter, matchall*'
		in_ns db tc filter del dev "$(ifname_of db)" ingress prio 7
	else
		skip 'a foreign filter is told' 'this kernel has no matchall'
	fi
fi
# a second daemon whose pins are on a BPF file system of its own, as `ip netns exec` leads to
if in_ns db "$bailey" status --instance "$prefix-db" --json | jq -e '.datapath.attach == "tcx"' >/dev/null; then
	sed "s/^instance: .*/instance: ${prefix}2/; s/^state: .*/state: state-2/; /^status:/d; s/51820/51822/; s/7946/7949/
		s/^overlay:/&\n  listen_port: 51822/" "$dir/db.yaml" >"$dir/second.yaml"
	nsenter --net="$(netns_of db)" unshare --mount --propagation private sh -c 'mount -t bpf bpf /sys/fs/bpf && exec "$@"' sh \
		"$baileyd" -c "$dir/second.yaml" >>"$dir/second.log" 2>&1 &
	echo $! >"$dir/second.pid"
	at_end end_pid "$dir/second.pid"
	twice() { look programs | grep -q "another baileyd's program, by_tc_out .* tcx egress"; }
	check 'a second baileyd on our device is told' eventually 20 twice
	end_pid "$dir/second.pid"
	check 'and no more when it is gone with its pins' eventually 20 sh -c "! nsenter --net=$(netns_of db) '$bailey' doctor \
		--instance '$prefix-db' | grep -q \"another baileyd\""
	rm -rf "/run/bailey/${prefix}2"
else
	skip 'a second baileyd on our device is told' 'no tcx in this kernel'
fi
end_pid "$dir/web.pid"
out=$(in_ns web "$bailey" doctor --socket "$TMP/no-such.sock" --json)
is 'without a daemon the rest is looked at' "$(echo "$out" | jq -r '[.findings[] | .area] | unique | join(" ")' | tr -d '\n')" 'baileyd clock firewall kernel routes'

# --- up ----------------------------------------------------------------------------------------------------------------------
identity s "$control" "$(printf '%040d' 99)"
identity new "$member"
cat >"$dir/admit.yaml" <<END
version: 1
apps:
  control: { app-id: $control }
  member: { app-id: $member, require: { simulated: true } }
rules:
  - { name: may-join, from: member, to: control, allow: [tcp/7947] }
END
server_config
name=$prefix-new
up() {
	in_ns new "$bailey" up --server "$(underlay_of s):7947" --app "$control" --policy "$policy" --certificate "$dir/new.pem" \
		--key "$dir/new.key" --simulated-root "$dir/root/root.pem" --endpoint "$(underlay_of new):51820" --name "$name" \
		--interface "$(ifname_of new)" --config "$dir/new.yaml" "$@"
}
new_end() {
	kill "$(pgrep -f -x "baileyd -c $dir/new.yaml")"
	sleep 1
	in_ns new "$baileyd" -c "$dir/new.yaml" --down
	rm -rf "/run/bailey/$name" "/var/lib/bailey/$name" "/var/log/bailey-$name.log"
}
at_end new_end
at_end stop_server
check_not 'without a control plane it has not joined' up --wait 3
like 'and says why' "$(up --wait 1 2>&1)" '*not joined after 1 s; baileyd goes on trying*connection failed: Connection refused*'
mv "$dir/new.yaml" "$dir/kept.yaml"
like 'whose daemon runs already is told what a new configuration changes' "$(up --wait 1 2>&1)" '*baileyd runs already*not joined after 1 s*'
cmp "$dir/new.yaml" "$dir/kept.yaml" || not_ok 'it is the same configuration'
nsenter --net="$(netns_of new)" python3 -c 'import socket, time; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(("", 51820)); time.sleep(600)' &
echo $! >"$dir/taken.pid"
at_end 'end_pid "$dir/taken.pid"'
eventually 10 sh -c "nsenter --net='$(netns_of new)' ss -uln | grep -q :51820"
start_server
check_not 'with it, while another program has the port of WireGuard, it does not' up --wait 10
like 'which its log says' "$(cat "/var/log/bailey-$name.log")" '*Address already in use*'
end_pid "$dir/taken.pid"
check 'and by itself when the port is free' up --wait 90
like 'what it became is told' "$(up)" "$name: up as 100.64.0.*, $(ifname_of new), 0 nodes verified"
is 'the configuration is for reading' "$(stat -c %a "$dir/new.yaml")" 644
is 'the key is not' "$(stat -c %a "/var/lib/bailey/$name/wg.key")" 600
like 'other wishes than what is there are refused' "$(up --network 100.64.0.0/16 2>&1)" '*is there and says otherwise*'
BAILEY_AUTHKEY=another-key-that-is-not-asked-for up --network 100.64.0.0/16 2>"$TMP/out"
check_not 'and keep no key for them' test -e "/var/lib/bailey/$name/authkey"
in_ns new "$bailey" up --server 192.0.2.1:7947 --app web --policy p --name "$name" --config "$dir/x.yaml" 2>"$TMP/out"
is 'a wrong app is a usage error' "$? $(cat "$TMP/out")" '2 bailey up: --app: needs 40 hex digits, or any'
check_not 'and nothing is written' test -e "$dir/x.yaml"
check_not 'what baileyd refuses is not started' in_ns new "$bailey" up --server 192.0.2.1:7947 --app any --policy "$dir/none.yaml" \
	--name "${prefix}x" --config "$dir/y.yaml"
check_not 'and leaves nothing behind' test -e "$dir/y.yaml"
at_end 'rm -rf "/run/bailey/${prefix}z" "/var/lib/bailey/${prefix}z" "/var/log/bailey-${prefix}z.log"
	rmdir "/sys/fs/bpf/bailey/${prefix}z/v3" "/sys/fs/bpf/bailey/${prefix}z"'
like 'a daemon that ends is not waited for, and has said why' "$(in_ns new "$bailey" up --server 192.0.2.1:7947 --app any --policy "$policy" \
	--certificate "$dir/new.pem" --key "$dir/new.key" --name "${prefix}z" --config "$dir/z.yaml" --wait 600 2>&1)" '*baileyd has ended: *QUOTE_SIMULATED*'

done_testing
