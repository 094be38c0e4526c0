#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Three real nodes (web, db, lax) end to end: what passes, what does not, who may do what, and what happens when processes
# die, policies break, evidence is false, records end. `lax` is attested and its own policy allows everything.
. tests/net/lib.sh
need ip nsenter jq bpftool curl wg pgrep
need_file "$BUILD/baileyd" 'run make'

dir=$TMP
prefix=$T
host_of() { case $1 in web) echo 2 ;; db) echo 3 ;; lax) echo 4 ;; esac; }
netns_of() { echo "/var/run/netns/$(ns "$1")"; }
# shellcheck source=tests/net/nodes-lib.sh
. tests/net/nodes-lib.sh
ifname_of() { echo "by$U-$(host_of "$1")"; }
policy=$PWD/policy/examples/three-tier.yaml

load wireguard tun sch_ingress cls_bpf bridge veth
ns_add hub web db lax
bridge hub br0
for n in web db lax; do
	veth_bridge $n eth0 "$(underlay_of $n)/24" hub br0
done

make_root || exit 1
cp "$policy" "$dir/db-policy.yaml"
write_lax_policy "$dir/lax-policy.yaml"
make_identity web web
make_identity db db
make_identity lax intruder
write_config web "$policy" 3600 db lax
write_config db "$dir/db-policy.yaml" 3600 web lax
write_config lax "$dir/lax-policy.yaml" $((30 * PATIENCE)) db
for n in web db lax; do
	at_end "take_down $n"
	start_node $n
done

# --- helpers ---------------------------------------------------------------------------------------------------------
role_pid() { pgrep -P "$(cat "$dir/$1.pid")" -f -- "--role=$2" | head -n 1; }
generation() { status_of db | jq .policy.generation; }
tcp_ok() { in_ns "$1" "$talk" ask tcp "$2" "$3"; }
state_of() { sed -n "s/^$2:[[:space:]]*//p" "/proc/$1/status"; }
caps_of() { state_of "$1" CapEff; }
metric() { "$bailey" metrics --instance "$prefix-db" | sed -n "s/^$1 //p"; }
drops_of() { status_of "$1" | jq "[.datapath.drops[] | select(.reason == \"$2\") | .packets] | add // 0"; }

# hold N: a connection from web to db that says what is written to $TMP/inN; answers are in $TMP/echoN.
hold() {
	mkfifo "$TMP/in$1"
	sleep 1000 >"$TMP/in$1" &
	at_end "kill $!"
	nsenter --net="$(netns_of web)" "$talk" hold "$(overlay_of db)" 5432 <"$TMP/in$1" >"$TMP/echo$1" 2>/dev/null &
	at_end "kill $!"
	sleep 0.5
}

# monitored NODE PORT PATTERN: asked again each time, for a monitor that starts slowly has missed the first.
# shellcheck disable=SC2317 # called through check
monitored() {
	tcp_ok "$1" "$(overlay_of db)" "$2"
	sleep 0.2
	grep -q "$3" "$TMP/monitor"
}

# The second connection still carries a word and its echo.
# shellcheck disable=SC2317 # called through check
goes_on() {
	echo "$1" >"$TMP/in2"
	eventually 5 grep -q "$1" "$TMP/echo2"
}

# --- the overlay comes up from nothing ---------------------------------------------------------------------------------
check 'web knows both others' wait_until 30 knows web 2
check 'db knows both others' wait_until 30 knows db 2
check 'lax knows both others' wait_until 30 knows lax 2
like 'evidence is marked as simulated' "$(status_of db | jq -c '[.simulated, .peers[].simulated]')" '?true,true,true?'
note "overlay by $(status_of db | jq -r .overlay.backend), programs by $(status_of db | jq -r .datapath.attach)"
spawn db "$talk" echo 5432
spawn db "$talk" echo 8080

# --- policy decides, at both ends, for both families -------------------------------------------------------------------
check 'web reaches db on tcp/5432' eventually 10 tcp_ok web "$(overlay_of db)" 5432
check 'and over IPv6' tcp_ok web "$(overlay6_of db)" 5432
check_not 'web does not reach db on tcp/8080' tcp_ok web "$(overlay_of db)" 8080
check_not 'nor over IPv6' tcp_ok web "$(overlay6_of db)" 8080
check 'db pings web' eventually 10 ping_from db "$(overlay_of web)"
check 'and over IPv6' ping_from db "$(overlay6_of web)"
check 'also in fragments' ping_from db "$(overlay_of web)" -s 3000
check 'and those over IPv6' ping_from db "$(overlay6_of web)" -s 3000
check_not 'web does not ping db' ping_from web "$(overlay_of db)"
before=$(drops_of db POLICY_DENY)
check_not 'lax, whose own policy allows it, does not reach db' tcp_ok lax "$(overlay_of db)" 5432
check_not 'nor over IPv6' tcp_ok lax "$(overlay6_of db)" 5432
check "db's kernel dropped it" test "$(drops_of db POLICY_DENY)" -gt "$before"
like 'bailey drops says who and which rule is nearest' "$("$bailey" drops --instance "$prefix-db")" '*POLICY_DENY*in*lax*db*5432*'
is 'the rule that allowed is counted' \
	"$(status_of db | jq -r '.rules[] | select(.name == "web-to-db") | .where')" 'db-policy.yaml:9'
check_not 'an address of the overlay that is nobody is not reached' ping_from lax 100.64.0.99

# --- who may do what ---------------------------------------------------------------------------------------------------
edge=$(role_pid db edge)
net=$(role_pid db net)
is 'edge has no capability' "$(caps_of "$edge")" 0000000000000000
is 'and can gain none' "$(state_of "$edge" CapBnd) $(state_of "$edge" NoNewPrivs)" '0000000000000000 1'
is 'edge runs under a system call list' "$(state_of "$edge" Seccomp)" 2
check 'edge is not root' test "$(state_of "$edge" Uid | awk '{print $2}')" != 0
is 'net has CAP_NET_ADMIN, CAP_PERFMON, CAP_BPF and no other' "$(caps_of "$net")" 000000c000001000
is 'and can gain no other' "$(state_of "$net" CapBnd)" 000000c000001000
is 'the control socket is for root' "$(stat -c %a "/run/bailey/$prefix-db/ctl.sock")" 600
is 'the pins are for root' "$(stat -c %a /sys/fs/bpf/bailey)" 700
is 'keys are for root' "$(stat -c %a "$dir/db.wgkey" "$dir/state-db")" "600
700"
check_not 'a second daemon for the instance is refused' in_ns db "$baileyd" -c "$dir/db.yaml"
check_not 'nor is a running one taken down' in_ns db "$baileyd" -c "$dir/db.yaml" --down

# --- the control socket ------------------------------------------------------------------------------------------------
sock=/run/bailey/$prefix-db/ctl.sock
is 'curl reads the status' "$(curl -s --unix-socket "$sock" http://localhost/v1/status | jq -r .node)" db
is 'an unknown path is 404' "$(curl -s -o /dev/null -w '%{http_code}' --unix-socket "$sock" http://localhost/v2)" 404
is 'a wrong method is 405' "$(curl -s -o /dev/null -w '%{http_code}' --unix-socket "$sock" http://localhost/v1/reload)" 405
check 'metrics count passed packets' test "$(metric "bailey_packets_total{interface=\"$(ifname_of db)\",dir=\"in\",reason=\"NONE\"}")" -gt 0
check 'metrics count denied packets' test "$(metric "bailey_packets_total{interface=\"$(ifname_of db)\",dir=\"in\",reason=\"POLICY_DENY\"}")" -gt 0
"$bailey" monitor --instance "$prefix-db" --json >"$TMP/monitor" &
monitor=$!
at_end "kill $monitor"
check 'monitor shows the flow' eventually 30 monitored web 5432 '"event":"flow".*"rule":"web-to-db"'
check 'monitor shows the drop' eventually 30 monitored lax 8080 '"reason":"POLICY_DENY"'
kill $monitor

# --- a broken policy changes nothing -----------------------------------------------------------------------------------
gen=$(generation)
sed -i 's/tcp\/5432/tcp\/70000/' "$dir/db-policy.yaml"
check_not 'a broken policy is refused' "$bailey" reload --instance "$prefix-db"
like 'with its place' "$("$bailey" reload --instance "$prefix-db" 2>&1)" '*db-policy.yaml:9:*70000 is above 65535*'
is 'the generation stays' "$(generation)" "$gen"
check 'the old policy goes on' tcp_ok web "$(overlay_of db)" 5432
like 'status says so' "$("$bailey" status --instance "$prefix-db")" '*last one refused*'

# --- a new policy cuts flows that it does not allow ----------------------------------------------------------------------
hold 1
echo one >"$TMP/in1"
check 'a connection stands' eventually 5 grep -q one "$TMP/echo1"
sed 's/allow: \[tcp\/5432\]/allow: [tcp\/9999]/; /^tests:/,$d' "$policy" >"$dir/db-policy.yaml"
check 'a policy without the rule is loaded' "$bailey" reload --instance "$prefix-db"
is_new() { [ "$(generation)" != "$gen" ]; }
check 'as a new generation' eventually 5 is_new
echo two >"$TMP/in1"
sleep 1
check_not 'the standing connection is cut' grep -q two "$TMP/echo1"
check_not 'and no new one is made' tcp_ok web "$(overlay_of db)" 5432
cp "$policy" "$dir/db-policy.yaml"
check 'the rule comes back' "$bailey" reload --instance "$prefix-db"
check 'and new connections are made' eventually 5 tcp_ok web "$(overlay_of db)" 5432
sleep 2
check_not 'what was cut stays cut' grep -q two "$TMP/echo1"
gen=$(generation)
"$bailey" reload --instance "$prefix-db"
is 'the same text again is no new generation' "$(generation)" "$gen"

# --- processes die, the kernel goes on -----------------------------------------------------------------------------------
hold 2
check 'another connection stands' goes_on one
kill -9 "$edge" "$net"
check 'with edge and net dead the connection goes on' goes_on three
check_not 'and what was denied is denied' tcp_ok lax "$(overlay_of db)" 5432
check 'both are started again' wait_until 30 knows db 2
check 'as others' test "$(role_pid db edge)" != "$edge"
is 'and counted' "$(metric 'bailey_process_restarts_total{process="net"}')" 1
ident=$(bpftool -j map dump pinned "$(pins_of db)/by_ident" | jq -cS '[.[].formatted | {(.value.node): .key}] | add')
end_pid "$dir/db.pid"
check 'with baileyd stopped the connection goes on' goes_on four
check 'and new ones are judged' tcp_ok web "$(overlay_of db)" 5432
check_not 'as before' tcp_ok web "$(overlay_of db)" 8080
check_not 'also for lax' tcp_ok lax "$(overlay_of db)" 5432
start_node db
check 'baileyd takes over what it left' wait_until 30 knows db 2
is 'with the same identities' \
	"$(bpftool -j map dump pinned "$(pins_of db)/by_ident" | jq -cS '[.[].formatted | {(.value.node): .key}] | add')" "$ident"
check 'and the connection goes on' goes_on five
end_pid "$dir/db.pid" -KILL
check 'also after kill -9 of the parent' tcp_ok web "$(overlay_of db)" 5432
check 'its children end with it' eventually 5 sh -c "! pgrep -f -- '--role=net' -P 1 >/dev/null"
start_node db
check 'and it starts again' wait_until 30 knows db 2

# --- false evidence ------------------------------------------------------------------------------------------------------
check 'false evidence is made' forge_for web db "$(underlay_of lax):51820"
"$bailey" reload --instance "$prefix-db"
for pair in stolen-quote:QUOTE_BINDING altered-quote:QUOTE_SIGNATURE altered-signature:RECORD_SIGNATURE \
	altered-key:RECORD_SIGNATURE; do
	check "${pair%:*} is refused as ${pair#*:}" eventually 5 status_has db ".refusals[] |
		select(.reason == \"${pair#*:}\" and (.origin | endswith(\"${pair%:*}.record\")))"
done
check 'the real web is who it was' tcp_ok web "$(overlay_of db)" 5432

# --- a record that came as a file ----------------------------------------------------------------------------------------
host_of() { case $1 in web) echo 2 ;; db) echo 3 ;; lax) echo 4 ;; guest) echo 5 ;; esac; }
make_identity guest intruder
"$bailey" record sign --cert "$dir/guest.pem" --key "$dir/guest.key" --node guest --wg-key "$("$bailey" genkey | "$bailey" pubkey)" \
	--addr "$(overlay_of guest)" --out "$dir/records-db/guest.record"
check 'a true record is read from the directory' "$bailey" reload --instance "$prefix-db"
check 'and its node is known' wait_until 5 knows db 3
like 'the kernel knows its address' "$(bpftool map dump pinned "$(pins_of db)/by_ident")" '*"node": "guest"*'

# --- a record ends ---------------------------------------------------------------------------------------------------------
curl -sN --unix-socket "$sock" http://localhost/v1/peers >"$TMP/peers" &
at_end "kill $!"
check 'peers are told, then that these are all' eventually 10 grep -q '"event":"all"' "$TMP/peers"
is 'each once' "$(sed '/"event":"all"/q' "$TMP/peers" | grep -c '"event":"peer"')" "$(curl -s --unix-socket "$sock" http://localhost/v1/status | jq '.peers | length')"
end_pid "$dir/lax.pid"
check "lax does not renew: db forgets it when its record ends" wait_until 45 knows db 2
check 'who follows the peers is told' grep -q '"event":"gone","node":"lax"' "$TMP/peers"
check_not 'its address has no identity any more' ping_from lax "$(overlay_of db)"
is 'WireGuard has two peers left' "$(in_ns db wg show "$(ifname_of db)" peers | wc -l)" 2

# --- the end ---------------------------------------------------------------------------------------------------------------
for n in web db lax; do
	take_down $n
done
check_not 'after --down there is no device' in_ns db ip link show "$(ifname_of db)"
check_not 'and no pin' test -e "/sys/fs/bpf/bailey/$prefix-db"
done_testing
