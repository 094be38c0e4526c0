#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The host firewall as a user has it: web is a node whose configuration names its own network device. db is another node
# of the overlay, cli anybody on the wire, adm the address that the fail-safe names.
. tests/net/lib.sh
need ip nsenter jq curl pgrep tcpdump bpftool /usr/bin/python3
need_file "$BUILD/baileyd" 'run make'

dir=$TMP
prefix=$T
host_of() { case $1 in web) echo 2 ;; db) echo 3 ;; cli) echo 9 ;; adm) echo 77 ;; esac; }
netns_of() { echo "/var/run/netns/$(ns "$1")"; }
# shellcheck source=tests/net/nodes-lib.sh
. tests/net/nodes-lib.sh
ifname_of() { echo "by$U-$(host_of "$1")"; }
underlay6_of() { echo "fd99::$(host_of "$1")"; }
traffic=$PWD/$BUILD/tests/net/traffic
web4=$(underlay_of web) web6=$(underlay6_of web)

load wireguard tun sch_ingress cls_bpf bridge veth
ns_add hub web db cli adm
bridge hub br0
# else the hub looks into what it forwards, and keeps malformed packets for itself
in_ns hub sh -c 'echo 0 >/proc/sys/net/bridge/bridge-nf-call-iptables; echo 0 >/proc/sys/net/bridge/bridge-nf-call-ip6tables' 2>/dev/null
for n in web db cli adm; do
	veth_bridge $n eth0 "$(underlay_of $n)/16,$(underlay6_of $n)/64" hub br0
done
in_ns web sh -c 'echo 2 >/proc/sys/net/ipv4/tcp_syncookies'
mac=$(in_ns web ip -j link show eth0 | jq -r '.[0].address') # /sys is another namespace's

write_policy() { # FILE [RULE...]: beside the overlay's
	file=$1
	shift
	cat >"$file" <<-END
	version: 1
	apps:
	  web: { app-id: $(app_of web) }
	  db: { app-id: $(app_of db) }
	networks: { friends: [$(underlay_of cli), "$(underlay6_of cli)"] }
	rules:
	  - { name: overlay, from: any-attested, to: any-attested, allow: [any] }
	END
	for rule; do
		echo "  - $rule" >>"$file"
	done
}

make_root || exit 1
make_identity web web
make_identity db db
write_policy "$dir/overlay.yaml"
write_policy "$dir/open.yaml" \
	'{ name: pages, from: world, to: host, on: web, allow: [tcp/80, udp/80] }' \
	'{ name: store, from: friends, to: host, allow: [tcp/5432] }' \
	'{ name: ping, from: world, to: host, allow: [icmp/8, icmpv6/128] }' \
	'{ name: out, from: host, to: friends, allow: [tcp/8080, udp/8080] }'
write_policy "$dir/deny.yaml" '{ name: shut, from: world, to: host, deny: [any] }' \
	'{ name: shut-out, from: host, to: world, deny: [any] }'
write_config web "$dir/open.yaml" 3600 db
write_config db "$dir/overlay.yaml" 3600 web
write_underlay() { # INTERFACE [LINE...]: the section of web
	sed '/^underlay:/,$d' "$dir/web.yaml" >"$dir/web.new"
	cat >>"$dir/web.new" <<-END
	underlay:
	  interface: $1
	  failsafe: { from: [$(underlay_of adm), "$(underlay6_of adm)"] }
	  dhcp: false
	  limits: { syns: { rate: $((50 / PATIENCE)), burst: $((50 / PATIENCE)) }, handshakes: { rate: 5, burst: 10 }, flows: { rate: 1000, burst: 1000 } }
	END
	shift
	for line; do
		echo "  $line" >>"$dir/web.new"
	done
	mv "$dir/web.new" "$dir/web.yaml"
}

# --- helpers ---------------------------------------------------------------------------------------------------------
# shellcheck disable=SC2317 # called through check
{
bailey_() { command=$1 && shift && "$bailey" "$command" --instance "$prefix-web" "$@"; }
policy() { command=$1 && shift && "$bailey" policy "$command" --instance "$prefix-web" "$@"; }
reaches() { in_ns "$1" timeout "$((${5:-2} * PATIENCE))" "$talk" ask "$2" "$3" "$4"; }
of_underlay() { status_of web | jq -r ".underlay.$1"; }
dropped() { status_of web | jq "[.underlay.drops[] | select(.reason == \"$1\") | .packets] | add // 0"; }
# what says that it is ready judges the device: never ready and attached by none
ready() {
	case $(status_of web | jq -r '"\(.ready and (.peers | length == 1)) \(.ready) \(.underlay.attach)"') in
	*' true none') touch "$TMP/early" ;;
	true*) return 0 ;;
	esac
	return 1
}
role_pid() { pgrep -P "$(cat "$dir/web.pid")" -f -- "--role=$1" | head -n 1; }
restart() { # [SIGNAL]
	end_pid "$dir/web.pid" "${1:--TERM}"
	start_node web
	wait_until 30 ready
}
says() { grep -q "$1" "$TMP/monitor"; }
asked() { policy explain --live "$@" 2>&1; }
}

# only_open SOURCE PORT/PROTO...: these are reached over both families, and of the others that somebody serves none.
served='22/tcp 80/tcp 443/tcp 5432/tcp 22/udp 80/udp 443/udp 5432/udp'
only_open() {
	oo_from=$1 oo_pids=
	shift
	rm -f "$TMP"/reach.*
	for oo_to in "$web4" "$web6"; do
		for oo_port; do
			echo "$oo_to $oo_port" >>"$TMP/reach.wanted"
		done
		for oo_port in $served; do
			case " $* " in *" $oo_port "*) oo_s=5 ;; *) oo_s=2 ;; esac
			reaches "$oo_from" "${oo_port#*/}" "$oo_to" "${oo_port%/*}" $oo_s && echo "$oo_to $oo_port" >>"$TMP/reach.got" &
			oo_pids="$oo_pids $!"
		done
	done
	# shellcheck disable=SC2086
	wait $oo_pids
	sort -o "$TMP/reach.wanted" "$TMP/reach.wanted" 2>/dev/null
	sort -o "$TMP/reach.got" "$TMP/reach.got" 2>/dev/null
	touch "$TMP/reach.wanted" "$TMP/reach.got"
	diff "$TMP/reach.wanted" "$TMP/reach.got"
}
pings() { in_ns "$1" ping_ -c 1 -W $((2 * PATIENCE)) "$web4" && in_ns "$1" ping_ -c 1 -W $((2 * PATIENCE)) "$web6"; }

for port in 22 80 443 5432; do
	spawn web "$talk" echo $port
done
spawn cli "$talk" echo 8080
spawn cli "$talk" echo 8081
at_end "take_down web"
at_end "take_down db"
start_node db

# --- before ----------------------------------------------------------------------------------------------------------
# shellcheck disable=SC2086
check 'without a firewall everything that is served is reached' eventually 5 only_open cli $served
write_underlay nothere
start_node web
check 'a device that is not there ends the daemon' eventually 20 grep -q "underlay.interface: there is no network device 'nothere'" "$dir/web.log"
end_pid "$dir/web.pid"
check 'and changes nothing' reaches cli tcp "$web4" 443
mkfifo "$TMP/in"
exec 9<>"$TMP/in" # open for both: nobody waits for the other end, and no word is lost
nsenter --net="$(netns_of cli)" "$talk" hold "$web4" 80 <"$TMP/in" >"$TMP/echo" 2>/dev/null &
at_end "kill $!"
echo before >&9
check 'a connection stands before the start' eventually 5 grep -q before "$TMP/echo"

# --- the first start -------------------------------------------------------------------------------------------------
write_underlay eth0
start_node web
check 'both nodes know each other' wait_until 30 ready
check 'db, too' wait_until 30 knows db 1
note "underlay by $(of_underlay attach): $(of_underlay not_better)"
no_freplace=$(of_underlay not_better | grep -c freplace)
check 'the overlay works through the firewall' eventually 5 ping_from db "$(overlay_of web)"
end_pid "$dir/db.pid"
start_node db
check 'a node that starts anew is heard: its exchange is an opening' wait_until 30 knows db 1
check 'which is shown' test "$(status_of web | jq '[.underlay.rules[] | select(.name | startswith("@exchange-")) | .packets] | add')" -gt 0
echo after >&9
sleep 1
check_not 'the connection from before has no flow: it must connect anew' grep -q after "$TMP/echo"
check 'which is counted' test "$(dropped NO_FLOW)" -gt 0

# --- what is open ----------------------------------------------------------------------------------------------------
check 'a friend reaches what YAML opens to it, v4 and v6, and nothing else' only_open cli 80/tcp 80/udp 5432/tcp
check 'the administrator what is open to all, and SSH' only_open adm 80/tcp 80/udp 22/tcp
check 'ping is a rule like others' pings cli
check 'outwards what a rule allows' reaches web tcp "$(underlay_of cli)" 8080
check_not 'and nothing else' reaches web tcp "$(underlay_of cli)" 8081
check_not 'not to others either' reaches web tcp "$(underlay_of adm)" 22

# --- what it says ----------------------------------------------------------------------------------------------------
like 'status names device and way' "$(bailey_ status)" '*underlay  eth0, *passed*'
like 'rules of the host with their place' "$(bailey_ status)" '*on eth0*pages*open.yaml:8*'
like 'openings, too' "$(bailey_ status)" '*@failsafe-1*web.yaml:*'
metric="bailey_packets_total{interface=\"eth0\",dir=\"in\",reason=\"POLICY_DENY\"}"
check 'metrics count by device' test "$(bailey_ metrics | sed -n "s/^$metric //p")" -gt 0
like 'drops say why' "$(bailey_ drops --interface eth0)" "*POLICY_DENY*$(underlay_of cli) -> $web4 443 tcp*on eth0*"
like 'with the rule that comes nearest' "$(bailey_ drops --interface eth0 --port tcp/443)" '*pages*open.yaml:8*'
check 'flows are shown' sh -c "'$bailey' flows --instance '$prefix-web' --interface eth0 | grep -q 'pages'"
like 'top has the device' "$(bailey_ top --once 2>/dev/null || bailey_ top --count 1)" '*eth0*'
bailey_ monitor --drops --interface eth0 >"$TMP/monitor" 2>&1 &
at_end "kill $!"
bailey_ capture --drops --interface eth0 -w "$TMP/drops.pcapng" --count 1 --seconds 10 >"$TMP/capture" 2>&1 &
capture=$!
sleep 1
reaches cli tcp "$web4" 443
check 'monitor shows it as it happens' eventually 5 says '443 tcp on eth0'
wait "$capture"
like 'capture has the frame' "$(tcpdump -e -nn -r "$TMP/drops.pcapng" 2>/dev/null)" "*ethertype*$web4.443*"

# --- what would become of it -----------------------------------------------------------------------------------------
cli4=$(underlay_of cli) cli6=$(underlay6_of cli) adm4=$(underlay_of adm)
like 'the programs are asked: an allowed port' "$(asked "$dir/open.yaml" --from "$cli4" --to host tcp/5432)" \
	"ALLOW  $cli4 -> $web4 tcp/5432 in on eth0: rule store (open.yaml:9)"
like 'IPv6' "$(asked --from "$cli6" --to host tcp/5432)" "ALLOW  $cli6 -> $web6 tcp/5432 in on eth0: rule store (open.yaml:9)"
like 'another source of the same' "$(asked --from "$adm4" --to host tcp/5432)" 'DENY   *POLICY_DENY: no rule allows it*'
like 'outwards' "$(asked --from host --to "$cli4" tcp/8080)" "ALLOW  $web4 -> $cli4 tcp/8080 out on eth0: rule out (open.yaml:11)"
like 'an opening' "$(asked --from "$adm4" --to host tcp/22)" 'ALLOW  *rule @failsafe-1 (web.yaml:*)'
like "WireGuard's port" "$(asked --from "$adm4" --to host udp/51820)" 'ALLOW  *passes by itself*'
like 'a source that can not be' "$(asked --from 127.0.0.1 --to host tcp/80)" 'DENY   *MARTIAN:*'
like 'in JSON' "$(asked --json --from "$cli4" --to host tcp/443 | jq -c '.answers[0] | [.action, .interface, .reason]')" \
	'*"deny","eth0","POLICY_DENY"*'
like 'a network is no packet' "$(asked --from 10.99.0.0/16 --to host tcp/80)" '*the other side of host is one address*'
like 'nor is a host both' "$(asked --from host --to host tcp/80)" '*the other side of host is one address*'
like 'a host that nobody judges is not asked' "$("$bailey" policy explain --instance "$prefix-db" --live --from "$cli4" --to host tcp/80 2>&1)" \
	"*the host of db is not judged: its configuration has no 'underlay'*"
like 'of another policy the files are no word' "$(asked "$dir/deny.yaml" --from "$cli4" --to host tcp/80)" '*what web has loaded is*'

# --- what nobody honest sends ----------------------------------------------------------------------------------------
frames() { in_ns cli /usr/bin/python3 tests/net/host_frames.py "$@"; }
# a SYN or FIN of the steps before may be sent again meanwhile: what policy denies and what belongs to no flow is not counted here
odd() { status_of web | jq '[.underlay.drops[] | select(.reason != "POLICY_DENY" and .reason != "NO_FLOW").packets] | add // 0'; }
before=$(odd) strays=$(dropped NO_FLOW)
sent=$(frames malformed eth0 "$mac" "$web4" | grep -vc stray-ack)
is "each of $sent malformed packets is dropped" $(($(odd) - before)) "$sent"
check 'the stray ACK, too' test "$(dropped NO_FLOW)" -gt "$strays"
for reason in MARTIAN NOT_WIREGUARD FRAG_TINY; do
	check "as $reason" test "$(dropped $reason)" -gt 0
done

# --- floods ----------------------------------------------------------------------------------------------------------
frames handshakes eth0 "$mac" "$web4" 51820 200
check 'handshakes from one source are limited' test "$(dropped HANDSHAKE_LIMIT)" -ge 150
is 'another source is not its neighbour' "$(bailey_ drops --json --interface eth0 | jq '[.[] | select(.reason == "HANDSHAKE_LIMIT") | .src.addr] | unique | join(" ")')" '"10.99.0.66"'
check 'and the overlay goes on' ping_from db "$(overlay_of web)"
if [ "$(of_underlay syn_cookies)" = true ]; then
	frames syns eth0 "$mac" "$web4" 80 3000 &
	flood=$!
	sleep 1
	check 'in a SYN flood a client connects' reaches adm tcp "$web4" 80
	wait $flood
	check 'for SYNs were answered with cookies' test "$(dropped SYN_COOKIE)" -gt 500
	frames syns eth0 "$mac" "$web6" 80 2000 &
	flood=$!
	sleep 1
	check 'also over IPv6' reaches adm tcp "$web6" 80
	wait $flood
else
	skip 'in a SYN flood a client connects' "$(of_underlay no_cookies)"
fi

# --- nobody is locked out --------------------------------------------------------------------------------------------
check 'a policy that denies all' policy apply "$dir/deny.yaml"
check 'shuts everything' only_open cli
like 'as the programs say, if asked' "$(asked --from "$cli4" --to host tcp/80)" 'DENY   *rule shut (deny.yaml:8)'
like 'but of the fail-safe' "$(asked --from "$adm4" --to host tcp/22)" 'ALLOW  *rule @failsafe-1 (web.yaml:*)'
check 'but the fail-safe' only_open adm 22/tcp
check 'and what the daemon needs' ping_from db "$(overlay_of web)"
like 'the drop names the rule' "$(bailey_ drops --interface eth0 --port tcp/80)" '*shut*deny.yaml:8*'
check 'back' policy rollback
check 'and open' only_open cli 80/tcp 80/udp 5432/tcp
check 'a trial of such a policy' policy apply "$dir/deny.yaml" --confirm $((4 * PATIENCE))s
check_not 'decides' reaches cli tcp "$web4" 80
check 'and ends by itself' eventually 20 reaches cli tcp "$web4" 80
check 'a policy without host rules' policy apply "$dir/overlay.yaml"
check 'opens nothing' only_open cli
check 'but the fail-safe, still' only_open adm 22/tcp
check 'which is said' grep -q 'no rule for the host' "$dir/web.log"
check 'back again' policy rollback
check 'and open again' only_open cli 80/tcp 80/udp 5432/tcp

for i in 1 2 3 4 5; do
	end_pid "$dir/web.pid"
	start_node web
	i=$(($(date +%s) + 30 * PATIENCE))
	until ready 2>/dev/null || [ "$(date +%s)" -gt $i ]; do :; done
	[ $PATIENCE = 1 ] || break
done
check_not 'never did it say that it is ready before it judged' test -e "$TMP/early"

# --- beside another's XDP program: it stays there while processes die --------------------------------------------------
# shellcheck disable=SC2317
programs() { in_ns web xdp-loader status eth0 | grep -o 'xdpfilt[a-z_]*\|by_xdp_in' | paste -s -d ' '; }
beside=
case $(of_underlay attach) in
dispatcher-*)
	# its maps have one place on the whole machine
	command -v xdp-filter >/dev/null && [ ! -e /sys/fs/bpf/xdp-filter ] && beside=yes
	;;
esac
if [ $beside ]; then
	mode=$(of_underlay attach | sed 's/^dispatcher-//; s/generic/skb/')
	at_end 'in_ns web xdp-filter unload eth0'
	check "xdp-filter takes its place before ours, $mode" in_ns web xdp-filter load -m "$mode" eth0
	like 'both are in the dispatcher' "$(programs)" 'xdpfilt* by_xdp_in'
	check 'what both let pass is as before' only_open cli 80/tcp 80/udp 5432/tcp
	in_ns web xdp-filter port 5432 -m dst -p tcp
	check 'what it drops is gone' only_open cli 80/tcp 80/udp
	in_ns web xdp-filter port 5432 -m dst -p tcp -r
	passed=$(of_underlay passed_in) denied=$(dropped POLICY_DENY)
	check 'and is back' only_open cli 80/tcp 80/udp 5432/tcp
	check 'ours counts what it lets pass' test "$(of_underlay passed_in)" -gt "$passed"
	check 'and what it drops' test "$(dropped POLICY_DENY)" -gt "$denied"
else
	skip "beside another's XDP program" "$(of_underlay not_better)"
fi

# --- processes die ---------------------------------------------------------------------------------------------------
nsenter --net="$(netns_of cli)" "$traffic" stream "$web4" 5432 >"$TMP/stream" 2>&1 &
stream=$!
nsenter --net="$(netns_of web)" "$traffic" count 4444 >"$TMP/count" 2>&1 &
count=$!
nsenter --net="$(netns_of cli)" "$traffic" knock "$web4" 4444 >"$TMP/knock" 2>&1 &
knock=$!
at_end "kill $stream $count $knock"
for role in net edge; do
	kill -9 "$(role_pid $role)"
	sleep 1
	check "kill -9 of $role: it is started again" wait_until 60 ready
done
kill -9 "$(cat "$dir/web.pid")"
check 'kill -9 of the parent: the kernel goes on' reaches cli tcp "$web4" 80
check_not 'and shuts what is shut' reaches cli tcp "$web4" 443
check 'a new daemon takes over' restart
cp "$baileyd" "$dir/baileyd-new"
former=$baileyd
baileyd=$dir/baileyd-new
check 'an upgrade takes over' restart
baileyd=$former
kill "$stream"
wait "$stream"
is 'the connection of a friend went on through all of it' "$?" 0
for file in deny open deny open; do
	policy apply "$dir/$file.yaml" >/dev/null
done
kill "$knock" "$count"
wait "$knock" "$count"
is 'of all that knocked meanwhile nothing came in' "$(cat "$TMP/count")" '0 received'
check 'and many did' test "$(sed 's/ .*//' "$TMP/knock")" -gt 1000
check 'the fail-safe, too, is as before' only_open adm 80/tcp 80/udp 22/tcp

if [ $beside ]; then
	like 'both are still in the dispatcher' "$(programs)" 'xdpfilt* by_xdp_in'
	check 'xdp-filter goes' in_ns web xdp-filter unload eth0
	is 'ours stays' "$(programs)" by_xdp_in
	check 'and judges' only_open cli 80/tcp 80/udp 5432/tcp
fi

# --- the end ---------------------------------------------------------------------------------------------------------
write_underlay eth0 'attach: tc'
check 'tc instead' restart
like 'is what judges' "$(of_underlay attach)" '[tc][cl][xs]*'
like 'and alone' "$(in_ns web bpftool net show dev eth0 2>/dev/null | sed -n '/^xdp:/,/^$/p')" 'xdp:'
check 'the same' only_open cli 80/tcp 80/udp 5432/tcp
like 'and the same answers' "$(asked --from "$cli4" --to host tcp/443)" 'DENY   *on eth0: POLICY_DENY: *'
for mode in native generic; do
	write_underlay eth0 "attach: $mode"
	check "$mode XDP" restart
	is 'is what judges now' "$(of_underlay attach)" xdp-$mode
	check 'the same, too' only_open cli 80/tcp 80/udp 5432/tcp
done
write_underlay eth0 'attach: dispatcher'
if [ $no_freplace = 1 ]; then
	end_pid "$dir/web.pid"
	start_node web
	check 'a dispatcher that the kernel can not have ends the daemon' \
		eventually 20 grep -q 'dispatcher: the kernel has no freplace' "$dir/web.log"
	check 'what judged goes on' only_open cli 80/tcp 80/udp 5432/tcp
else
	check 'a dispatcher alone' restart
	like 'is what judges at last' "$(of_underlay attach)" 'dispatcher-*'
	check 'the same once more' only_open cli 80/tcp 80/udp 5432/tcp
fi
sed -i '/^underlay:/,$d' "$dir/web.yaml"
end_pid "$dir/web.pid"
start_node web
check 'without the section' wait_until 30 knows web 1
check 'the host is not judged' eventually 5 reaches cli tcp "$web4" 443
check_not 'and no pins are left' test -e "/sys/fs/bpf/bailey/$prefix-web/v3/host"
write_underlay eth0
check 'with it again' restart
check_not 'it is' reaches cli tcp "$web4" 443
end_pid "$dir/web.pid"
check '--down' in_ns web "$baileyd" -c "$dir/web.yaml" --down
check 'removes it' reaches cli tcp "$web4" 443
check_not 'pins and all' test -e "/sys/fs/bpf/bailey/$prefix-web"
done_testing
