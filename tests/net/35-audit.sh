#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# A rule in audit mode and one that logs, from real traffic to everything that tells of them: the counters, `bailey monitor`,
# the daemon's log and its bound, metrics, status. What would be dropped passes. Beside them what each peer sent.
. tests/net/lib.sh
need ip nsenter jq /usr/bin/python3
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
write_policy() { # FILE RULE...
	file=$1
	shift
	{
		printf 'version: 1\napps:\n  web: { app-id: %s }\n  db: { app-id: %s }\nrules:\n' "$(app_of web)" "$(app_of db)"
		for rule; do echo "  - $rule"; done
	} >"$file"
}
write_policy "$dir/web-policy.yaml" '{ name: out, from: web, to: db, allow: [any] }'
write_policy "$dir/db-policy.yaml" '{ name: told, from: web, to: db, allow: [tcp/5432], log: true }' \
	'{ name: all, from: web, to: db, allow: [tcp, udp] }' \
	'{ name: no-old, from: web, to: db, deny: [tcp/8080, udp/9999], mode: audit }' \
	'{ name: never-asked, from: web, to: db, deny: [tcp/7], mode: audit }' \
	'{ name: no-ssh, from: web, to: db, deny: [tcp/22], log: true }'
make_identity web web
make_identity db db
write_config web "$dir/web-policy.yaml" 3600 db
write_config db "$dir/db-policy.yaml" 3600 web
for n in web db; do
	at_end "take_down $n"
	start_node $n
done
for port in 22 80 5432 8080; do
	spawn db "$talk" echo $port
done
# shellcheck disable=SC2317 # called through check
{
asks() { in_ns web "$talk" ask tcp "$(overlay_of db)" "$1"; }
told() { grep -q "$1" "$2"; }
many_would_drop() { [ "$(would_drop)" -gt 200 ]; }
}
metric() { "$bailey" metrics --instance "$prefix-db" | sed -n "s/^$1 //p"; }
peer() { metric "bailey_peer_packets_total{interface=\"$(ifname_of db)\",node=\"web\",dir=\"$1\",outcome=\"$2\"}"; }
would_drop() { metric "bailey_rule_packets_total{interface=\"$(ifname_of db)\",rule=\"no-old\",mode=\"audit\"}"; }

check 'the nodes know each other' wait_until 30 knows db 1
check 'and web' wait_until 30 knows web 1
like 'status names the rules in audit mode, also one that nothing met' "$("$bailey" status --instance "$prefix-db")" \
	'*audit*no-old db-policy.yaml:8*never-asked db-policy.yaml:9*'
is 'and no other' "$(status_of db | jq -r '[.policy.audit[].name] | join(" ")')" 'no-old never-asked'
"$bailey" monitor --instance "$prefix-db" --audit >"$TMP/audit" 2>&1 &
at_end "kill $!"
"$bailey" monitor --instance "$prefix-db" >"$TMP/monitor" 2>&1 &
at_end "kill $!"
sleep "$PATIENCE"

check 'what an audit rule would drop passes' eventually 10 asks 8080
is 'it is counted' "$(would_drop)" 1
check 'monitor says what would be dropped' eventually 5 told "WOULD-DROP *in .*web.* -> .*db.* 8080 tcp on .* no-old db-policy.yaml:8" "$TMP/audit"
check 'so does the log' eventually 5 told 'audit: rule no-old (db-policy.yaml:8) would drop web -> db tcp/8080' "$dir/db.log"
check 'another port' asks 80
is 'is none of its business' "$(would_drop)" 1
check_not 'nor told in the log' told 'tcp/80$' "$dir/db.log"
is 'a drop it is not' "$(status_of db | jq '[.datapath.drops[] | select(.reason == "POLICY_DENY" and .dir == "in") | .packets] | add // 0')" 0

check 'a rule that logs: what it allows' asks 5432
check 'is in the log' eventually 5 told 'rule: rule told (db-policy.yaml:6) allowed web -> db tcp/5432' "$dir/db.log"
check_not 'what it denies' asks 22
check 'too' eventually 5 told 'rule: rule no-ssh (db-policy.yaml:10) dropped web -> db tcp/22' "$dir/db.log"
check 'and monitor has it' eventually 5 told 'POLICY_DENY *in .*web.* -> .*db.* 22 tcp on .* no-ssh db-policy.yaml:10' "$TMP/monitor"

# --- many of them ----------------------------------------------------------------------------------------------------
before=$(grep -c 'would drop' "$dir/db.log") start=$(date +%s)
in_ns web /usr/bin/python3 -c '
import socket, sys
for i in range(400):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.sendto(b"x", (sys.argv[1], 9999))
    s.close()' "$(overlay_of db)"
check 'they are counted' eventually 10 many_would_drop
check 'the log says that it held lines back' eventually 5 told 'lines of rules that log or audit were held back' "$dir/db.log"
lines=$(($(grep -c 'would drop' "$dir/db.log") - before)) seconds=$(($(date +%s) - start + 1))
note "$lines lines in $seconds s"
check 'and keeps to 50 a second' test "$lines" -le $((50 * seconds))

# --- what each peer sent -----------------------------------------------------------------------------------------------
check 'metrics have what web sent' test "$(peer in passed)" -gt 200
check 'and what was dropped of it' test "$(peer in dropped)" -gt 0
check 'and what it got' test "$(peer out passed)" -gt 0
is 'none of a peer that is not there' "$("$bailey" metrics --instance "$prefix-db" | grep -c '^bailey_peer_packets_total{.*node="lax"')" 0
is 'nobody is left out' "$(metric bailey_peers_uncounted)" 0
done_testing
