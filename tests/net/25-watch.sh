#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# What a node tells of its traffic: events and their filters, drops, flows, rates, captures; over two real nodes.
. tests/net/lib.sh
need ip nsenter jq curl wg tcpdump bpftool python3
need_file "$BUILD/baileyd" 'run make'

dir=$TMP
prefix=$T
host_of() { case $1 in web) echo 2 ;; db) echo 3 ;; esac; }
netns_of() { echo "/var/run/netns/$(ns "$1")"; }
# shellcheck source=tests/net/nodes-lib.sh
. tests/net/nodes-lib.sh
ifname_of() { echo "by$U-$(host_of "$1")"; }

load wireguard tun sch_ingress cls_bpf bridge veth
ns_add hub web db
bridge hub br0
for n in web db; do
	veth_bridge $n eth0 "$(underlay_of $n)/24" hub br0
done
make_root || exit 1
make_identity web web
make_identity db db
{
	sed '/name: ping/a\  - { name: genuine-only, from: genuine, to: db, allow: [tcp/9090] }' policy/examples/three-tier.yaml
	echo 'claims: { genuine: { simulated: false } }'
} >"$dir/db-policy.yaml"
write_lax_policy "$dir/lax-policy.yaml"
write_config web "$dir/lax-policy.yaml" 3600 db
write_config db "$dir/db-policy.yaml" 3600 web
for n in web db; do
	at_end "take_down $n"
	start_node $n
done

# --- helpers ---------------------------------------------------------------------------------------------------------
tcp_ok() { in_ns "$1" "$talk" ask tcp "$2" "$3"; }
sock=/run/bailey/$prefix-db/ctl.sock
db() { # COMMAND...: asks db
	command=$1
	shift
	"$bailey" "$command" --instance "$prefix-db" "$@"
}

# watched FILE: db is asked on an open and on a closed port until the monitor that writes FILE has said something.
# shellcheck disable=SC2317 # called through check
watched() {
	tcp_ok web "$(overlay_of db)" 5432
	tcp_ok web "$(overlay_of db)" 8080
	sleep 0.2
	test -s "$1"
}

# watch NAME OPTION...: what `bailey monitor OPTION...` shows, in $TMP/NAME.
watch() {
	watch_file=$TMP/$1
	shift
	"$bailey" monitor --instance "$prefix-db" --json "$@" >"$watch_file" &
	watch_pid=$!
	at_end "kill $watch_pid"
	check "monitor $* shows something" eventually 15 watched "$watch_file"
	watched "$watch_file"
	sleep 0.3
	kill $watch_pid
}

all_of() { jq -s "all(.[] | select(.event != \"loss\"); $2)" "$TMP/$1"; }
refused() { # WORDS COMMAND...
	refused_words=$1
	shift
	"$@" >"$TMP/refusal" 2>&1 && return 1
	grep -qF -- "$refused_words" "$TMP/refusal" || {
		cat "$TMP/refusal"
		return 1
	}
}

check 'web knows db' wait_until 30 knows web 1
check 'db knows web' wait_until 30 knows db 1
spawn db "$talk" echo 5432
check 'web reaches db on tcp/5432' eventually 15 tcp_ok web "$(overlay_of db)" 5432

# --- monitor and its filters -------------------------------------------------------------------------------------------
watch all
is 'flows and drops are shown without a filter' "$(jq -r .event "$TMP/all" | sort -u | tr '\n' ' ')" 'drop flow '
is 'with the interface' "$(jq -r .interface "$TMP/all" | sort -u)" "$(ifname_of db)"
watch drops --drops
is '--drops shows drops alone' "$(all_of drops '.event == "drop"')" true
watch port --port tcp/5432
is '--port shows that port alone' "$(all_of port '.dst.port == 5432 and .event == "flow"')" true
watch reason --reason POLICY_DENY
is '--reason shows that reason alone' "$(all_of reason '.reason == "POLICY_DENY"')" true
watch from --from web --to "$(overlay_of db)"
is '--from a node and --to an address' "$(all_of from '.src.node == "web" and .dst.node == "db"')" true
watch prefix --from 100.64.0.0/30 --interface "$(ifname_of db)"
is '--from a prefix' "$(all_of prefix '.src.addr == "100.64.0.2"')" true
db monitor --from db --json >"$TMP/nothing" &
nothing=$!
db monitor --count 3 >"$TMP/three" &
three=$!
at_end "kill $nothing $three"
sleep "$PATIENCE"
for _ in 1 2 3 4; do tcp_ok web "$(overlay_of db)" 5432; done
check '--count ends the monitor' eventually 5 sh -c "! kill -0 $three"
is 'after that many' "$(grep -cv LOST "$TMP/three")" 3
kill $nothing
is 'what does not match is not shown' "$(grep -cv '"loss"' "$TMP/nothing")" 0

# Thousands of datagrams that policy denies, as fast as the machine makes them: an emulated one pings too slowly.
burst() {
	in_ns web python3 -c 'import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for i in range(3000): s.sendto(b"x", (sys.argv[1], 9))' "$(overlay_of db)"
}

# --- what does not arrive is counted and said --------------------------------------------------------------------------
db monitor --drops --json >"$TMP/flood" &
flood=$!
at_end "kill $flood"
sleep "$PATIENCE"
burst
check 'events held back in the kernel are said' eventually 5 grep -q '"event":"loss".*"kernel":[1-9]' "$TMP/flood"
check 'and counted' test "$(status_of db | jq .datapath.events_lost)" -gt 0
kill $flood

# --- what is no filter is refused, with the word that was meant ----------------------------------------------------------
check 'an unknown name, with the nearest' refused "did you mean 'web'?" db monitor --from wep
check 'an unknown name that is near none' refused 'no node has this name' db monitor --to somebody-else
check 'an unknown reason' refused "did you mean 'POLICY_DENY'?" db monitor --reason POLICY_DENI
check 'an unknown interface' refused "did you mean '$(ifname_of db)'?" db monitor --interface "x$(ifname_of db)"
check 'an unknown protocol' refused 'port:' db monitor --port tpc/22
check 'a range of ports' refused 'needed one port' db monitor --port tcp/1-5
check 'a reason of what is no drop' refused 'only drops have one' db monitor --audit --reason POLICY_DENY
check 'a count of nothing' refused "found '0', needed a number from 1 on" db monitor --count 0
check 'an option of another command' refused 'usage: bailey drops' db drops --count 1
is 'a filter that no request knows is 400' \
	"$(curl -s -o "$TMP/body" -w '%{http_code}' --unix-socket "$sock" 'http://localhost/v1/monitor?form=web')" 400
like 'and names the nearest' "$(cat "$TMP/body")" "*did you mean 'from'?*"

# --- drops ---------------------------------------------------------------------------------------------------------------
tcp_ok web "$(overlay_of db)" 22
tcp_ok web "$(overlay_of db)" 8080
tcp_ok web "$(overlay_of db)" 9090
db drops >"$TMP/drops.text"
is 'drops of a kind are one' "$(grep -c ' 8080 tcp' "$TMP/drops.text")" 1
like 'with both names, the nearest rule and an example' "$(cat "$TMP/drops.text")" \
	'*POLICY_DENY*in*web (100.64.0.2) -> db (100.64.0.3) 22 tcp*no rule; nearest web-to-db db-policy.yaml:9 allows tcp/5432*last *s ago: 60 bytes from port*'
like 'with the claim that is in the way' "$(db drops --port tcp/9090)" \
	"*no rule; nearest genuine-only db-policy.yaml:11 allows tcp/9090, but the sender's simulated is true*"
is 'and what would do' "$(db drops --port tcp/9090 --json | jq -c '.[-1].nearest.needs')" \
	'[{"side":"from","claim":"simulated","needed":"false","has":"true"}]'
is 'drops are filtered too' "$(db drops --port tcp/22 --json | jq 'all(.[]; .dst.port == 22) and length > 0')" true

# --- flows ---------------------------------------------------------------------------------------------------------------
for i in 1 2; do
	mkfifo "$TMP/in$i"
	sleep 1000 >"$TMP/in$i" &
	at_end "kill $!"
	nsenter --net="$(netns_of web)" "$talk" hold "$(overlay_of db)" 5432 <"$TMP/in$i" >"$TMP/echo$i" 2>/dev/null &
	at_end "kill $!"
	echo one >"$TMP/in$i"
	eventually 5 grep -q one "$TMP/echo$i"
done
like 'a flow with both ends, its state and its rule' "$(db flows --from web | grep established)" \
	'in*web (100.64.0.2) * -> db (100.64.0.3) 5432 tcp*established*age *s idle *s  web-to-db db-policy.yaml:9*'
is 'flows to a port that has none' "$(db flows --port tcp/9 --json)" ''
is '--limit shows the last ones' "$(db flows --limit 1 --json 2>/dev/null | jq -r .dst.port)" 5432
like 'and says how many there are' "$(db flows --limit 1 2>&1 >/dev/null)" '*more flows*'
is 'flows are sorted' "$(db flows --json | jq -s '[.[].idle_s] | . == sort')" true
check 'a wrong filter is refused' refused "did you mean 'web'?" db flows --from wep

# --- top -----------------------------------------------------------------------------------------------------------------
in_ns web ping_ -q -w $((4 * PATIENCE)) -i 0.01 -W 1 "$(overlay_of db)" >/dev/null 2>&1 &
pings=$!
db top --once --json >"$TMP/top"
is 'top has the rate of the peer' "$(jq '.targets[0].pairs[0] | .node == "web" and .dropped_in.packets > 10' "$TMP/top")" true
is 'and of the reason' "$(jq '.targets[0].drops[0] | .reason == "POLICY_DENY" and .rate.packets > 10' "$TMP/top")" true
like 'also in words, in a pipe' "$(db top --count 2 | cat)" '*peers*web *drops*POLICY_DENY*'
wait $pings # what is captured next is not theirs

# --- capture -------------------------------------------------------------------------------------------------------------
captures() { bpftool -j map dump pinned "$(pins_of db)/by_switch" | jq '.[0].formatted.value.snaplen'; }
# shellcheck disable=SC2317 # called through eventually
captures_all() { [ "$(captures)" = 256 ]; }
is 'nobody captures: the kernel copies nothing' "$(captures)" 0
db capture --drops -w "$TMP/drops.pcapng" --reason POLICY_DENY --count 3 2>"$TMP/capture.err" &
capture=$!
"$bailey" capture --instance "$prefix-db" --drops -w "$TMP/second.pcapng" 2>/dev/null & # no function: $! is it
second=$!
at_end "kill $capture $second"
check 'a capture turns it on' eventually 5 captures_all
for port in 22 23 24 25; do tcp_ok web "$(overlay_of db)" $port; done
check '--count ends it' eventually 5 sh -c "! kill -0 $capture"
like 'with the count' "$(cat "$TMP/capture.err")" '3 packets, 0 more *'
tcpdump -nr "$TMP/drops.pcapng" >"$TMP/tcpdump" 2>"$TMP/tcpdump.err"
is 'tcpdump reads three packets' "$(wc -l <"$TMP/tcpdump")" 3
like 'what they were' "$(head -n 1 "$TMP/tcpdump")" '* IP 100.64.0.2.* > 100.64.0.3.22: Flags *S*'
like 'as packets without a link header' "$(cat "$TMP/tcpdump.err")" '*link-type RAW*'
seen=$(tcpdump -ttnr "$TMP/drops.pcapng" -c 1 2>/dev/null | cut -d. -f1)
check 'seen now' test "$seen" -gt $(($(date +%s) - 60)) -a "$seen" -le "$(date +%s)"
check 'the reason is in the comment' grep -aq 'POLICY_DENY in: no rule allows it' "$TMP/drops.pcapng"
is 'the other capture goes on' "$(captures)" 256
kill -9 $second
check 'it costs nothing any more when its reader was killed' eventually 5 sh -c "[ \"\$(bpftool -j map dump pinned '$(pins_of db)/by_switch' | jq '.[0].formatted.value.snaplen')\" = 0 ]"
check 'what the killed one wrote can be read' tcpdump -nr "$TMP/second.pcapng" -c 2
db capture --drops -w "$TMP/flood.pcapng" --seconds $((4 * PATIENCE)) 2>"$TMP/capture.err" &
capture=$!
eventually 5 captures_all
burst
wait $capture
note "flood: $(cat "$TMP/capture.err")"
check '--seconds ends it, and what was left out is said' grep -q '^[1-9][0-9]* packets, ' "$TMP/capture.err"
check 'no file, no capture' refused 'usage: bailey capture' db capture --drops
check 'nothing but drops' refused 'usage: bailey capture' db capture -w "$TMP/x"
check 'a wrong reason' refused "did you mean 'NO_FLOW'?" db capture --drops -w "$TMP/x" --reason NO_FLOWS
check 'a file that can not be made' refused 'No such file' db capture --drops -w "$TMP/no/x"

# --- a drop is remembered whatever comes after it of another reason -----------------------------------------------------
drops_of() { db drops --reason "$1" --json | jq length; }
# shellcheck disable=SC2317 # called through check
flooded() {
	in_ns web ping_ -q -c 300 -i 0.005 -W 1 "$(overlay_of db)" >/dev/null 2>&1
	[ "$(drops_of POLICY_DENY)" = 256 ]
}
in_ns db ping_ -q -c 1 -W 1 100.64.0.99 >/dev/null 2>&1
check 'a drop of another reason' eventually 5 sh -c "[ \"\$('$bailey' drops --instance '$prefix-db' --reason NO_IDENTITY --json | jq length)\" = 1 ]"
check 'a flood of drops fills its own place' eventually 60 flooded
flooded
is 'and pushes no other reason out' "$(drops_of NO_IDENTITY)" 1

done_testing
