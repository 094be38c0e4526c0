#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# A bulk TCP transfer ends with the policy or the identity that let it. By the packets' own clock: behind the programs, tcpdump on
# the server's device stamps what they let out; the last such packet must lie before the moment in which the reload had
# returned, or the peer was gone from the status (and 100 ms, for a packet that was judged already and waited for its stamp).
. tests/net/lib.sh
need ip nsenter jq tcpdump pgrep
need_file "$BUILD/baileyd" 'run make'
need_file "$BUILD/tests/judge/gate" 'run make tests'

dir=$TMP
prefix=$T
host_of() { case $1 in web) echo 2 ;; db) echo 3 ;; esac; }
netns_of() { echo "/var/run/netns/$(ns "$1")"; }
# shellcheck source=tests/net/nodes-lib.sh
. tests/net/nodes-lib.sh
ifname_of() { echo "by$U-$(host_of "$1")"; }
traffic=$PWD/$BUILD/tests/net/traffic
gate=$PWD/$BUILD/tests/judge/gate

load wireguard tun sch_ingress cls_bpf bridge veth
ns_add hub web db
bridge hub br0
for n in web db; do
	veth_bridge $n eth0 "$(underlay_of $n)/24" hub br0
done
make_root || exit 1
make_identity web web
make_identity db db
write_lax_policy "$dir/lax-policy.yaml"
cp policy/examples/three-tier.yaml "$dir/db-policy.yaml"
write_config web "$dir/lax-policy.yaml" $((40 * PATIENCE)) db
write_config db "$dir/db-policy.yaml" 3600 web
for n in web db; do
	at_end "take_down $n"
	start_node $n
done

# --- helpers -----------------------------------------------------------------------------------------------------------
now() { date +%s.%N; }

# flow FROM TO DEVICE ADDRESS: a transfer, and what TO's programs let out of it in $TMP/pcap.
flow() {
	nsenter --net="$(netns_of "$2")" tcpdump -n -i "$3" -Q out -s 96 -U -w "$TMP/pcap" 'tcp src port 5432' 2>"$TMP/tcpdump" &
	dump=$!
	at_end "kill $dump"
	eventually 10 grep -q 'listening on' "$TMP/tcpdump"
	nsenter --net="$(netns_of "$1")" "$traffic" stream "$4" 5432 >"$TMP/stream" 2>&1 &
	stream=$!
	at_end "kill -9 $stream"
	check 'a transfer moves' eventually 15 sh -c "[ \$(stat -c %s '$TMP/pcap') -gt 20000 ]"
}

flow_ends() {
	kill -9 $stream
	kill $dump
	wait $stream $dump 2>/dev/null
}

# last_before TIME SINCE WHAT EVENT: no packet came out after TIME and 100 ms; says when the last one did, also from SINCE on, when EVENT
# was.
last_before() {
	sleep 1.5 # a sender that nobody answers tries again within that time
	last=$(tcpdump -tt -n -r "$TMP/pcap" 2>/dev/null | sed -n '$s/ .*//p')
	note "$3: the last packet came out $(awk "BEGIN { printf \"%.1f\", ($last - $2) * 1000 }") ms after $4, \
$(awk "BEGIN { printf \"%.1f\", ($last - $1) * 1000 }") ms after it was done"
	check "$3: nothing came out after it" awk "BEGIN { exit !($last <= $1 + 0.1) }"
}

still() { # TIME: something came out after it, so that the above can fail
	sleep 1
	check 'a reload that allows the same ends nothing' awk "BEGIN { exit !($(tcpdump -tt -n -r "$TMP/pcap" 2>/dev/null |
		sed -n '$s/ .*//p') > $1 + 0.1) }"
}

nobody_may() { # FILE: the policy, with all denied
	sed '/^rules:/,$d' policy/examples/three-tier.yaml >"$1"
	echo 'rules: [{ from: any-attested, to: any-attested, deny: [any] }]' >>"$1"
}

reload_db() { "$bailey" reload --instance "$prefix-db" >/dev/null; }

# --- the bare program ----------------------------------------------------------------------------------------------------
ns_add left right
veth left l0 10.82.0.2/24 right r0 10.82.0.1/24
mkdir "$TMP/bpf"
mount -t bpf bpf "$TMP/bpf" || skip_all 'no bpffs can be mounted'
at_end "umount '$TMP/bpf'"
printf 'db 10.82.0.1\nweb 10.82.0.2\n' >"$TMP/cast"
in_ns left ping_ -q -c 1 -W 1 10.82.0.1 >/dev/null 2>&1 # neighbours are known before the gate
gated() { nsenter --net="$(netns_of right)" "$gate" "$TMP/bpf" r0 "$TMP/cast" "$1"; }
check 'a program without a daemon' gated policy/examples/three-tier.yaml
at_end "nsenter --net=$(netns_of right) '$gate' '$TMP/bpf' r0 off"
spawn right "$talk" echo 5432
nobody_may "$TMP/nobody.yaml"
flow left right r0 10.82.0.1
check 'the same policy again' gated policy/examples/three-tier.yaml
still "$(now)"
asked=$(now)
check 'a policy that forbids it' gated "$TMP/nobody.yaml"
last_before "$(now)" "$asked" 'bare program, policy' 'it was asked for'
flow_ends

# --- over the overlay -----------------------------------------------------------------------------------------------------
check 'the nodes know each other' wait_until 30 knows db 1
check 'both of them' wait_until 30 knows web 1
spawn db "$talk" echo 5432
check 'web reaches db' eventually 15 in_ns web "$talk" ask tcp "$(overlay_of db)" 5432
flow web db "$(ifname_of db)" "$(overlay_of db)"
check 'the same policy again' reload_db
still "$(now)"
nobody_may "$dir/db-policy.yaml"
asked=$(now)
check 'a policy that forbids it' reload_db
last_before "$(now)" "$asked" 'overlay, policy' 'it was asked for'
# what the stream's ends still had to say may be nothing, when the cut finds their windows shut
check_not 'a new connection does not come through' in_ns web "$talk" ask tcp "$(overlay_of db)" 5432
check 'it was dropped as what policy denies' sh -c "[ \$('$bailey' drops --instance '$prefix-db' --reason POLICY_DENY --port tcp/5432 --json | jq length) -gt 0 ]"
flow_ends

# --- a record that ends: nobody renews it --------------------------------------------------------------------------------------
cp policy/examples/three-tier.yaml "$dir/db-policy.yaml"
check 'the policy allows it again' reload_db
check 'web reaches db again' eventually 15 in_ns web "$talk" ask tcp "$(overlay_of db)" 5432
flow web db "$(ifname_of db)" "$(overlay_of db)"
end_pid "$dir/web.pid" -KILL
check 'it goes on without its daemon' sh -c "a=\$(stat -c %s '$TMP/pcap'); sleep 1.5; [ \$(stat -c %s '$TMP/pcap') -gt \$a ]"
# a record is good for its last second, too; asked again, though not for ever, while a second passed in between
for _ in 1 2 3; do
	at=$(date +%s) in_s=$(status_of db | jq '.peers[0].expires_in_s') asked=$(date +%s)
	[ "$at" != "$asked" ] || break
done
end=$((asked + in_s + 1))
# shellcheck disable=SC2317 # called through check
gone() { [ "$(status_of db | jq '.peers | length')" = 0 ]; }
check 'its record ends' eventually 60 gone
last_before "$(now)" "$end" 'overlay, identity' 'its end'
flow_ends

for n in web db; do
	take_down $n
done
done_testing
