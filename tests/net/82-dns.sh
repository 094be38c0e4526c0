#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Names of nodes: asked with dig, kdig and dnsperf, by those who may and those who may not, while nodes come and go.
# shellcheck disable=SC2317 # functions called through check and eventually
. tests/net/lib.sh
any_kernel "names and their answers; the nodes' packets are those of 20-daemon"
need ip nsenter jq pgrep dig kdig dnsmasq
need_file "$BUILD/bailey-vpc" 'run make'

dir=$TMP
prefix=$T
host_of() { case $1 in s) echo 2 ;; a) echo 3 ;; b) echo 4 ;; c) echo 5 ;; x) echo 9 ;; esac; }
netns_of() { echo "/var/run/netns/$(ns "$1")"; }
# shellcheck source=tests/net/nodes-lib.sh
. tests/net/nodes-lib.sh
# shellcheck source=tests/net/vpc-lib.sh
. tests/net/vpc-lib.sh
ifname_of() { echo "by$U-$(host_of "$1")"; }
chmod 711 "$TMP"
sum_before=$(cksum </etc/resolv.conf)

load wireguard tun sch_ingress cls_bpf bridge veth
ns_add hub s a b c x
bridge hub br0
for n in s a b c x; do
	veth_bridge $n eth0 "$(underlay_of $n)/24" hub br0
done
make_root || exit 1
identity s "$control" "$(printf '%040d' 99)"
for n in a b c; do identity $n "$member"; done
cat >"$dir/admit.yaml" <<-END
	version: 1
	apps: { control: { app-id: $control }, web: { app-id: $member, require: { simulated: true } } }
	rules:
	  - { name: may-join, from: web, to: control, allow: [tcp/7947] }
END
cat >"$dir/policy.yaml" <<-END
	version: 1
	apps: { web: { app-id: $member } }
	rules:
	  - { name: members, from: web, to: web, allow: [any] }
END
server_config

config() { # NODE NAME LIFETIME DNS [SERVICES]
	node_config "$1" "$2" "records: { lifetime: $3 }" "$(at_server)" "services: [${5:-}]" "dns: { $4 }"
}
node() { "$bailey" node "$@" --socket "$dir/run/ctl.sock"; }
answers() { status_has "$1" '.dns.running and .dns.names > 0'; }
ask() { # FROM SERVER WORD...: with dig, one try
	ask_from=$1 ask_at=$2
	shift 2
	in_ns "$ask_from" dig +tries=1 +timeout=2 "@$ask_at" "$@"
}
short() { ask "$@" +short; }
# The code, "aa" where it is said, and how many records are in answer and authority.
code() {
	ask "$@" | sed -n 's/.*status: \([A-Z]*\).*/\1/p; s/.*flags: \([a-z ]*\); QUERY: 1, ANSWER: \([0-9]*\), AUTHORITY: \([0-9]*\).*/\1 \2 \3/p' |
		tr '\n' ' ' | sed 's/ qr//; s/ rd//; s/ ra//; s/ ad//; s/ $//'
}
silent() { ! ask "$@" +timeout=1 >/dev/null 2>&1; }
gone() { [ "$(code a "$at" "$1")" = 'NXDOMAIN aa 0 1' ]; }
process_of() { pgrep -P "$(cat "$dir/$1.pid")" -f role=dns; }

# --- nodes, a resolver of others, and a host that is no member -----------------------------------------------------------
mkdir "$dir/bin"
cat >"$dir/bin/resolvectl" <<-END
	#!/bin/sh
	echo "\$*" >>$dir/resolvectl.log
END
chmod 755 "$dir/bin/resolvectl"
PATH=$dir/bin:$PATH
start_server
at_end stop_server
words=$(for i in 1 2 3 4 5 6 7 8; do printf ',%0200d' "$i"; done)
spawn s dnsmasq --no-daemon --conf-file=/dev/null --no-resolv --no-hosts --bind-interfaces --interface=eth0 --no-ping --user=root --pid-file= \
	--address=/example.org/192.0.2.80 "--txt-record=big.example.org$words"
printf 'nameserver %s\nsearch corp.example\n' "$(underlay_of s)" >"$dir/upstream.conf"
ln -s upstream.conf "$dir/etc.conf"
config a web-1 3600 "listen: [127.0.0.66, $(underlay_of a)], clients: [$(underlay_of x)/32], resolver: systemd-resolved, resolv_conf: upstream.conf"
config b db-1 3600 'members: true, forward: [], resolver: resolv.conf, resolv_conf: etc.conf' mongodb/tcp/27017
config c web-2 30 'forward: ["10.99.0.250"]'
for n in a b c; do
	at_end "take_down $n"
	start_node $n
	wait_until 20 answers $n || note "$n does not answer: $(tail -n 3 "$dir/$n.log")"
done
check 'all know each other' wait_until 30 knows a 2
at=100.64.0.1 at_b=100.64.0.2 at_c=100.64.0.3
check 'and their names' wait_until 10 sh -c "[ \"\$('$bailey' status --instance '$prefix-a' --json | jq .dns.names)\" = 3 ]"

# --- what names there are ------------------------------------------------------------------------------------------------
is "a node's address" "$(short a $at db-1.dstack.internal)" $at_b
is 'of the other family' "$(short a $at db-1.dstack.internal AAAA)" fdba:11e7::2
is 'at its own loopback address' "$(short a 127.0.0.66 web-2.dstack.internal)" $at_c
is 'over IPv6' "$(short a fdba:11e7::1 web-2.dstack.internal)" $at_c
is 'by TCP' "$(short a $at db-1.dstack.internal +tcp)" $at_b
is 'its own' "$(short a $at web-1.dstack.internal)" $at
is 'all instances of an app' "$(short a $at web.app.dstack.internal | sort | tr '\n' ' ')" "$at $at_b $at_c "
is "by the app's id, with kdig" "$(in_ns a kdig +short "@$at" AAAA "$member.app.dstack.internal" | sort | tr '\n' ' ')" 'fdba:11e7::1 fdba:11e7::2 fdba:11e7::3 '
is 'who has a service' "$(short a $at mongodb.svc.dstack.internal)" $at_b
is 'and on which port' "$(short a $at _mongodb._tcp.dstack.internal SRV)" '0 0 27017 db-1.dstack.internal.'
is 'what a node proved' "$(short a $at db-1.dstack.internal TXT)" "\"app-id=$member\" \"instance-id=$(instance_of b)\" \"simulated=true\""
is "an address's name" "$(ask a $at +short -x $at_b)" db-1.dstack.internal.
is 'over IPv6, by TCP' "$(ask a $at +short +tcp -x fdba:11e7::3)" web-2.dstack.internal.
is 'answers have authority' "$(code a $at db-1.dstack.internal)" 'NOERROR aa 1 0'
is 'no such name' "$(code a $at nobody.dstack.internal)" 'NXDOMAIN aa 0 1'
is 'no such data' "$(code a $at db-1.dstack.internal MX)" 'NOERROR aa 0 1'
is 'no such address' "$(code a $at -x 100.64.0.77)" 'NXDOMAIN aa 0 1'
is 'a name above names' "$(code a $at svc.dstack.internal)" 'NOERROR aa 0 1'
like 'who is not there may be asked for again soon' "$(ask a $at nobody.dstack.internal)" '*dstack.internal.*5*IN*SOA*web-1.dstack.internal. hostmaster.dstack.internal.*600 86400 5*'
like 'the case of a question comes back' "$(ask a $at dB-1.DsTaCk.InTeRnAl)" '*;dB-1.DsTaCk.InTeRnAl.*dB-1.DsTaCk.InTeRnAl.?5*'
like 'EDNS is spoken' "$(ask a $at db-1.dstack.internal)" '*EDNS: version: 0*udp: 1232*'
like 'and only version 0' "$(ask a $at db-1.dstack.internal +edns=1 +noednsneg)" '*status: BADVERS*'
like 'not where nobody asked for it' "$(ask a $at db-1.dstack.internal +noedns)" '*ADDITIONAL: 0*'
is 'no zone is handed over' "$(code a $at dstack.internal AXFR +tcp | grep -c NOERROR)" 0
like 'kdig has no complaint' "$(in_ns a kdig +edns +bufsize=512 "@$at" db-1.dstack.internal ANY 2>&1)" '*status: NOERROR*ANSWER: 1*'
check_not 'nor about bytes' sh -c "nsenter --net=$(netns_of a) kdig @$at web.app.dstack.internal A 2>&1 | grep -i 'warning\|malformed'"

# --- other names -----------------------------------------------------------------------------------------------------------
is 'others are asked elsewhere' "$(short a $at www.example.org)" 192.0.2.80
is 'by TCP too' "$(short a $at www.example.org +tcp)" 192.0.2.80
is 'with no authority of ours' "$(code a $at www.example.org | sed 's/ aa//')" 'NOERROR 1 0'
like 'what is long is cut' "$(ask a $at big.example.org TXT +ignore)" '*flags:* tc*'
is 'and comes by TCP' "$(short a $at big.example.org TXT | grep -c 0000000008)" 1
is 'a resolver that is not there' "$(code c $at_c www.example.org +timeout=7)" 'SERVFAIL 0 0'
is 'or that nobody named' "$(code b $at_b www.example.org)" 'REFUSED 0 0'
is 'our names need none' "$(short c $at_c db-1.dstack.internal)" $at_b

# --- who may not ask -------------------------------------------------------------------------------------------------------
check 'they reach each other' eventually 15 ping_from c $at
is 'a member asks a node that lets it' "$(short c $at_b web-1.dstack.internal)" $at
is 'by TCP' "$(short c $at_b web-1.dstack.internal +tcp)" $at
is 'and gets names alone' "$(code c $at_b www.example.org)" 'REFUSED 0 0'
check 'a node that lets nobody is silent' silent c $at web-2.dstack.internal
check 'by TCP, too' silent c $at web-2.dstack.internal +tcp
in_ns x ip route add 100.64.0.0/10 via "$(underlay_of b)"
check 'a stranger is not answered at an overlay address' silent x $at_b web-1.dstack.internal
in_ns x ip addr add 100.64.0.99/32 dev lo
in_ns b ip route add 100.64.0.99/32 dev eth0 2>/dev/null
check 'nor with the address of a member' silent x $at_b web-1.dstack.internal -b 100.64.0.99
is 'a client that is named may ask' "$(short x "$(underlay_of a)" db-1.dstack.internal)" $at_b
is 'for everything' "$(short x "$(underlay_of a)" www.example.org)" 192.0.2.80
check 'another one is no open door' silent s "$(underlay_of a)" www.example.org
check 'by TCP, too' silent s "$(underlay_of a)" www.example.org +tcp
check 'and the loopback address is not for the network' silent x 127.0.0.66 db-1.dstack.internal

end_pid "$dir/c.pid" -KILL
ended=$(date +%s)

# --- the process -------------------------------------------------------------------------------------------------------------
pid=$(process_of a)
is 'it has no capability, no root, and a list of system calls' "$(awk '/^CapEff/ { print $2 } /^CapBnd/ { print $2 } /^Uid:/ { print ($2 != 0) } /^Seccomp:/ { print $2 }' "/proc/$pid/status" | tr '\n' ' ')" '1 0000000000000000 0000000000000000 2 '
python3 - >"$dir/junk" <<-'END'
	import random, sys
	random.seed(1)
	for i in range(3000):
	    sys.stdout.buffer.write(bytes([i % 200]) + bytes(random.randrange(256) for _ in range(i % 200)))
END
in_ns a python3 -c "
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
b = open('$dir/junk', 'rb').read()
while b:
    s.sendto(b[1:1 + b[0]], ('$at', 53))
    b = b[1 + b[0]:]
t = [socket.create_connection(('$at', 53)) for i in range(150)]
t[0].sendall(b'\xff\xff' + b'x' * 9000)
"
is 'junk and too many connections do not stop it' "$(short a $at db-1.dstack.internal)" $at_b
is 'it is the same process' "$(process_of a)" "$pid"
kill -KILL "$pid"
check 'killed, it comes back' wait_until 10 sh -c "[ \"\$(nsenter --net=$(netns_of a) dig +short +tries=1 +timeout=1 @$at db-1.dstack.internal)\" = $at_b ]"
like 'people see it' "$("$bailey" status --instance "$prefix-a")" '*names *.dstack.internal, 3 nodes,*forwarded*resolver: systemd-resolved*'
like 'and metrics' "$("$bailey" metrics --instance "$prefix-a")" '*bailey_dns_names 3*bailey_dns_answers_total{rcode="NOERROR"} *'
if command -v dnsperf >/dev/null; then
	printf '%s A\n' db-1.dstack.internal web-2.dstack.internal nobody.dstack.internal web.app.dstack.internal >"$dir/queries"
	in_ns a dnsperf -s $at -d "$dir/queries" -l 2 -c 4 >"$dir/dnsperf" 2>&1
	like 'none of many is lost' "$(cat "$dir/dnsperf")" '*Queries lost:*0 (0.00%)*NOERROR*NXDOMAIN*'
	note "$(grep 'Queries per second' "$dir/dnsperf")"
else
	skip 'none of many is lost' 'needs dnsperf'
fi

# --- this host's own resolver ----------------------------------------------------------------------------------------------
check 'systemd-resolved is told' eventually 5 grep -qx "domain $(ifname_of a) ~dstack.internal" "$dir/resolvectl.log"
check 'where to ask' grep -qx "dns $(ifname_of a) $at fdba:11e7::1" "$dir/resolvectl.log"
check 'and that it is for nothing else' grep -qx "default-route $(ifname_of a) no" "$dir/resolvectl.log"
is 'a resolv.conf that was asked for has us first' "$(grep -v '^#' "$dir/etc.conf" | tr '\n' ' ')" "nameserver $at_b nameserver $(underlay_of s) search corp.example "
is 'what it led to is as it was' "$(tr '\n' ' ' <"$dir/upstream.conf")" "nameserver $(underlay_of s) search corp.example "
end_pid "$dir/b.pid" -KILL
is 'after kill -9 the resolvers of before are in it' "$(grep -c "nameserver $(underlay_of s)" "$dir/etc.conf")" 1
start_node b
wait_until 20 answers b
end_pid "$dir/b.pid"
is 'at the end it is what it was, link and all' "$(readlink "$dir/etc.conf")" upstream.conf
start_node b
wait_until 20 answers b
end_pid "$dir/b.pid" -KILL
config b db-1 3600 'resolver: none, resolv_conf: etc.conf' mongodb/tcp/27017
start_node b
wait_until 20 answers b
is 'or at the next start' "$(readlink "$dir/etc.conf")" upstream.conf
is "nobody touched the machine's own" "$(cksum </etc/resolv.conf)" "$sum_before"

# --- who goes ----------------------------------------------------------------------------------------------------------------
wait_until 10 sh -c "[ \"\$(nsenter --net=$(netns_of a) dig +short +tries=1 @$at db-1.dstack.internal)\" = $at_b ]"
check 'a node is revoked' node revoke db-1
check 'and has no name any more' eventually 2 gone db-1.dstack.internal
check 'nor a service' gone mongodb.svc.dstack.internal
is 'nor an address' "$(code a $at -x $at_b)" 'NXDOMAIN aa 0 1'
check 'a record that ends has no name any more' eventually 40 gone web-2.dstack.internal
note "$(($(date +%s) - ended)) s after its node"
is 'who is left has' "$(short a $at web.app.dstack.internal)" $at
end_pid "$dir/a.pid"
check 'at the end systemd-resolved is told' eventually 5 grep -qx "revert $(ifname_of a)" "$dir/resolvectl.log"
printf '#!/bin/sh\nexit 1\n' >"$dir/bin/resolvectl"
start_node a
check 'a resolvectl that fails is said to' eventually 10 grep -q "was not told of $(ifname_of a), resolvectl failed" "$dir/a.log"
done_testing
