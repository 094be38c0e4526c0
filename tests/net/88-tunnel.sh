#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# UDP does not get through between two nodes: WireGuard's datagrams go in TCP. What a stranger sends there ends only his own.
. tests/net/lib.sh
need ip nsenter jq wg python3
need_file "$BUILD/baileyd" 'run make'

dir=$TMP
prefix=$T
host_of() { case $1 in web) echo 2 ;; db) echo 3 ;; esac; }
netns_of() { echo "/var/run/netns/$(ns "$1")"; }
# shellcheck source=tests/net/nodes-lib.sh
. tests/net/nodes-lib.sh
ifname_of() { echo "by$U-$(host_of "$1")"; }
tcp_ok() { in_ns "$1" "$talk" ask tcp "$2" "$3"; }
tunnel() { "$bailey" tunnel "$@" 2>&1; }

# --- what is refused -------------------------------------------------------------------------------------------------------
like 'no option is told' "$(tunnel; echo "status $?")" 'usage: *status 2'
like 'two of a kind are told' "$(tunnel --listen udp:127.0.0.1:1 --to udp:127.0.0.1:2; echo "status $?")" '*both udp*status 2'
like 'no endpoint is told' "$(tunnel --listen udp:127.0.0.1 --to tcp:127.0.0.1:2; echo "status $?")" "*--listen: needs*'udp:127.0.0.1'*status 2"
like 'an address of others is told' "$(tunnel --listen udp:192.0.2.1:9 --to tcp:127.0.0.1:2; echo "status $?")" '*192.0.2.1:9: *status 1'

# --- two nodes that hear of each other by TCP, and no UDP ---------------------------------------------------------------------
load wireguard tun sch_ingress cls_bpf veth
ns_add web db
veth web eth0 "$(underlay_of web)/24" db eth0 "$(underlay_of db)/24"
for n in web db; do in_ns $n ip rule add pref 1 to 10.99.0.0/24 ipproto udp blackhole; done
make_root || exit 1
make_identity web web
make_identity db db
write_config web "$PWD/policy/examples/three-tier.yaml" 3600 db
write_config db "$PWD/policy/examples/three-tier.yaml" 3600 web
sed -i "s/^  endpoints:.*/&\n  via: { \"$(underlay_of db):51820\": \"127.0.0.1:51831\" }/" "$dir/web.yaml"
for n in web db; do
	at_end "take_down $n"
	start_node $n
done
nsenter --net="$(netns_of db)" "$talk" echo 5432 >/dev/null 2>&1 &
at_end "kill $!"
check 'both know each other' wait_until 30 knows web 1
check 'on both sides' wait_until 30 knows db 1
check_not 'UDP does not get through' tcp_ok web "$(overlay_of db)" 5432

start_tunnel() { # NODE OPTION...
	tunnel_node=$1
	shift
	nsenter --net="$(netns_of "$tunnel_node")" setpriv --reuid=65534 --regid=65534 --clear-groups "$bailey" tunnel "$@" 2>>"$dir/tunnel-$tunnel_node.log" &
	echo $! >"$dir/tunnel-$tunnel_node.pid"
}
for n in web db; do at_end "end_pid $dir/tunnel-$n.pid"; done
chmod 711 "$TMP"
via() { in_ns web "$bailey" doctor --instance "$prefix-web" --json | jq -r '.findings[] | select(.area == "via" or .area == "firewall") | "\(.state) \(.text)"'; }
like 'doctor misses the tunnel' "$(via)" "*WRONG $(underlay_of db):51820 is dialled at 127.0.0.1:51831, where nothing listens*"
like 'and the one for key rotations' "$(via)" '*look nothing listens at 127.0.0.1:51832, where*while a key is rotated*'
start_tunnel web --listen udp:127.0.0.1:51831 --to "tcp:$(underlay_of db):4443"
check 'where nobody listens yet it goes on trying' eventually 20 grep -q 'has ended' "$dir/tunnel-web.log"
start_tunnel db --listen "tcp:0.0.0.0:4443" --to udp:127.0.0.1:51820
check 'in TCP they reach each other' wait_until 30 tcp_ok web "$(overlay_of db)" 5432
like 'doctor sees that it is taken' "$(via)" '*well*127.0.0.1:51831, and taken there*'
if command -v nft >/dev/null; then
	in_ns web nft add table inet planted
	in_ns web nft add chain inet planted in '{ type filter hook input priority 10; }'
	in_ns web nft add rule inet planted in udp dport 51832 drop
	like 'and a rule that closes the port of rotations' "$(via)" "*WRONG*'drop' for udp/51832 (overlay.via)*"
	in_ns web nft delete table inet planted
else
	skip 'and a rule that closes the port of rotations' 'needs nft, which is not installed'
fi
is 'the peer is dialled where the configuration says' "$(in_ns web wg show "$(ifname_of web)" endpoints | cut -f 2)" 127.0.0.1:51831
is 'and learned where its datagrams come from' "$(in_ns db wg show "$(ifname_of db)" endpoints | cut -f 2 | cut -d : -f 1)" 127.0.0.1
lossless() {
	in_ns web python3 - "$(overlay_of db)" <<-'END'
		import socket, sys, threading
		s = socket.create_connection((sys.argv[1], 5432), 20)
		sent = bytes(i * i % 251 for i in range(3 << 20))
		s.settimeout(60)
		threading.Thread(target=lambda: (s.sendall(sent), s.shutdown(socket.SHUT_WR)), daemon=True).start()
		got = b''
		while len(got) < len(sent):
		    part = s.recv(1 << 16)
		    if not part: break
		    got += part
		sys.exit(got != sent)
	END
}
check 'three megabytes come back as they went' lossless

# --- a key is rotated: by the next port, in a second pair of tunnels ---------------------------------------------------------------
rotated() { status_has "$1" '.overlay.key | .phase == "" and .rotated == 1 and .forced == 0'; }
spawn db "$bailey" tunnel --listen tcp:0.0.0.0:4444 --to udp:127.0.0.1:51821
spawn web "$bailey" tunnel --listen udp:127.0.0.1:51832 --to "tcp:$(underlay_of db):4444"
check 'the key of who is dialled by a tunnel' "$bailey" key rotate --instance "$prefix-db"
check 'is rotated, and nobody is left behind' wait_until 60 rotated db
check 'they reach each other' tcp_ok web "$(overlay_of db)" 5432
check 'the key of who dials by a tunnel' "$bailey" key rotate --instance "$prefix-web"
check 'is rotated, too' wait_until 60 rotated web
check 'and they reach each other' tcp_ok web "$(overlay_of db)" 5432

# --- strangers, and an end ------------------------------------------------------------------------------------------------------
in_ns web python3 - "$(underlay_of db)" >"$TMP/strangers" <<'END'
import socket, sys
def ended(s):
    s.settimeout(20)
    try:
        return s.recv(1) == b''
    except ConnectionError:
        return True
long = socket.create_connection((sys.argv[1], 4443), 20)
long.sendall(b'\xff\xff' + b'x' * 1000)
print('long', ended(long))
held = [socket.create_connection((sys.argv[1], 4443), 20) for _ in range(255)]
more = socket.create_connection((sys.argv[1], 4443), 20)
print('more', ended(more))
held[0].sendall(b'\x00\x05he')  # half a frame, then silence
held[1].sendall(b'\x00\x00\x00\x03abc')  # nothing, and what is no message of WireGuard's
held[1].settimeout(1)
try:
    print('answer', held[1].recv(1))
except TimeoutError:
    print('answer none')
END
is 'a frame too long ends its connection, one too many is refused, noise has no answer' "$(tr '\n' ' ' <"$TMP/strangers")" 'long True more True answer none '
check 'the nodes go on' tcp_ok web "$(overlay_of db)" 5432
end_pid "$dir/tunnel-db.pid"
start_tunnel db --listen "tcp:0.0.0.0:4443" --to udp:127.0.0.1:51820
check 'the other end was started again' wait_until 60 tcp_ok web "$(overlay_of db)" 5432
end_pid "$dir/tunnel-web.pid"
like 'each said what it does' "$(head -n 1 "$dir/tunnel-web.log")" '*udp in tcp: 127.0.0.1:51831 to 10.99.0.3:4443*'

done_testing
