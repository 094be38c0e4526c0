#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# WireGuard keys and certificates are changed under load, when somebody says so and on schedule: numbered datagrams, a stream
# in both directions and requests through meshes, none lost. Then false records about keys, a daemon that is killed at each step, and a revocation in the middle.
. tests/net/lib.sh
need ip nsenter jq wg openssl python3
need_file "$BUILD/tests/net/traffic" 'run make tests'

dir=$TMP
prefix=$T
host_of() { case $1 in s) echo 2 ;; a) echo 3 ;; b) echo 4 ;; esac; }
netns_of() { echo "/var/run/netns/$(ns "$1")"; }
# shellcheck source=tests/net/nodes-lib.sh
. tests/net/nodes-lib.sh
# shellcheck source=tests/net/vpc-lib.sh
. tests/net/vpc-lib.sh
# shellcheck source=tests/net/node-mesh-lib.sh
. tests/net/node-mesh-lib.sh
ifname_of() { echo "by$U-$(host_of "$1")"; }

load wireguard tun sch_ingress cls_bpf bridge veth
ns_add hub s a b
bridge hub br0
for n in s a b; do
	veth_bridge $n eth0 "$(underlay_of $n)/24" hub br0
done
make_root || exit 1
identity s "$control" "$(printf '%040d' 99)"
identity a "$member"
# b has its certificate from a guest agent, for half a minute each
printf '{"name":"b","runner":"docker-compose"}' >"$dir/compose-b.json"
renewed=$(sha256sum <"$dir/compose-b.json" | cut -c 1-40)
"$PWD/$BUILD/bailey-agent" --state "$dir/agent-b" --compose "$dir/compose-b.json" --tee sim --sim-root "$dir/root" \
	--listen "$dir/dstack.sock" >>"$dir/agent.log" 2>&1 &
at_end "kill $!"
cat >"$dir/admit.yaml" <<-END
	version: 1
	apps:
	  control: { app-id: $control }
	  member: { app-id: $member, require: { simulated: true } }
	  renewed: { app-id: $renewed, require: { simulated: true } }
	rules:
	  - { name: may-join, from: [member, renewed], to: control, allow: [tcp/7947] }
END
cat >"$dir/policy.yaml" <<-END
	version: 1
	apps: { member: { app-id: $member }, renewed: { app-id: $renewed } }
	rules:
	  - { name: members, from: [member, renewed], to: [member, renewed], allow: [any] }
END
server_config
for n in a b; do
	node_config $n web-$n "records: { directory: records-$n }" "$(at_server)"
	[ $n = a ] || sed -i 's|^identity: .*|identity: { agent: dstack.sock, lifetime: '$((30 * PATIENCE))' }|' "$dir/b.yaml"
done
sed 's|listen_port.*||; s|^  private_key: .*|&\n  listen_port: 65535\n  rotate: 3600|' "$dir/a.yaml" >"$dir/bad.yaml"
like 'a rotation needs a next port' "$("$baileyd" -c "$dir/bad.yaml" --check 2>&1)" '*bad.yaml:*rotate*needs the port behind*'

start_server
at_end stop_server
for n in a b; do
	at_end "take_down $n"
	start_node $n
done
key_of() { status_of "$1" | jq -r .overlay.public_key; }
phase_of() { status_of "$1" | jq -r .overlay.key.phase; }
rotated() { status_has "$1" ".overlay.key.phase == \"\" and .overlay.key.rotated >= ${2:-1}"; }
sees() { status_has "$1" ".peers[] | select(.node == \"web-$2\" and .public_key == \"$3\")"; }
in_phase() { [ "$(phase_of "$1")" = "$2" ]; }
is_told() { "$bailey" record show "$dir/state-$1/self.record" --json | jq -e .detour_key >/dev/null; }
second_is_there() { in_ns "$1" ip link show dev "$(ifname_of "$1")~" >/dev/null 2>&1; }
second_is_gone() { ! second_is_there "$1"; }
rotate() { "$bailey" key rotate --instance "$prefix-$1"; }
check 'two nodes know each other' eventually 30 knows a 1
check 'both ways' eventually 30 knows b 1
ip_a=$(status_of a | jq -r '.overlay.addresses[0]') ip_b=$(status_of b | jq -r '.overlay.addresses[0]')
check 'and reach each other' eventually 20 ping_from a "$ip_b"

# --- load ----------------------------------------------------------------------------------------------------------------
load_begins() {
	nsenter --net="$(netns_of a)" python3 tests/net/mesh_client.py load 127.0.0.1 8091 "$renewed" 600 2 0.05 >"$TMP/load" 2>"$TMP/load.err" &
	eval "pid_load=$!"
	at_end "kill $!"
	go a count_a count 7000
	go b count_b count 7000
	sleep 0.5
	go a knock_a knock "$ip_b" 7000
	go b knock_b knock "$ip_a" 7000
	go a stream_a stream "$ip_b" 7001
	go b stream_b stream "$ip_a" 7001
}
load_ends() { # WHAT
	halt load
	is "$1: no request failed" "$(cat "$TMP/load")" '0 failed'
	note "requests: $(cat "$TMP/load.err")"
	is "$1: no connection of the mesh was cut" "$(mesh_status a .counters.cuts)" 0
	for n in a b; do
		check "$1: the stream of $n" streams_end stream_$n
		halt knock_$n
	done
	sleep 1
	halt count_a
	halt count_b
	note "a sent $(number knock_a), b got $(number count_b); b sent $(number knock_b), a got $(number count_a)"
	note "$(cat "$TMP/count_a.out" "$TMP/count_b.out")"
	note "streams: $(number stream_a) and $(number stream_b) bytes"
	is "$1: every datagram of a arrived" "$(number count_b)" "$(number knock_a)"
	is "$1: every datagram of b arrived" "$(number count_a)" "$(number knock_b)"
	check "$1: there were some" test "$(number count_a)" -gt 1000
}
for n in a b; do
	nsenter --net="$(netns_of $n)" "$talk" echo 7001 >/dev/null 2>&1 &
	at_end "kill $!"
done

# b's mesh has its certificates from the agent, too. It asks for hours, and takes what it gets.
python3 tests/net/agent_short.py "$dir/short.sock" "$dir/dstack.sock" $((30 * PATIENCE)) >"$dir/short.log" 2>&1 &
at_end "kill $!"
mesh_conf a "[$dir/policy.yaml]" <<-END
	client: { listen: ["127.0.0.1:8091"], gateway: direct/$ip_b, baileyd: /run/bailey/$prefix-a/ctl.sock }
END
mesh_conf b "[$dir/policy.yaml]" "agent: $dir/short.sock" <<-END
	server: { services: [{ name: web, listen: "$ip_b:443", http: "127.0.0.1:8080" }] }
END
spawn b python3 tests/net/mesh_backend.py 8080
for n in b a; do
	mesh_start $n
	check "the mesh of $n serves" eventually 30 mesh_ready $n
done
renewed_twice() { [ "$(mesh_status b .identity.certificates)" -ge $((certificates + 2)) ]; }
cert_of() { jq -r .cert "$dir/state-$1/self.record" | base64 -d | sha256sum; }
has_renewed() { [ "$(cert_of b)" != "$1" ]; }
certificates=$(mesh_status b .identity.certificates)
old_a=$(key_of a) old_b=$(key_of b)
cp "$dir/a.wgkey" "$TMP/former"
load_begins
check 'a rotation begins when told' rotate a
like 'and no second one beside it' "$(rotate a 2>&1)" '*is being rotated*'
check 'its record says so' eventually 10 is_told a
cp "$dir/state-a/self.record" "$TMP/leaving.record"
check 'a has a new key' eventually 60 rotated a
new_a=$(key_of a)
check_not 'which is another one' test "$old_a" = "$new_a"
check 'b has heard of it' eventually 10 sees b a "$new_a"
check 'the second device is gone' eventually 20 second_is_gone a
check "b's, too" eventually 20 second_is_gone b

# both at once, b by itself, and a is killed in either half
restart_b() { # WHY
	end_pid "$dir/b.pid"
	start_node b
	check "b is back $1" eventually 60 knows b 1
}
sed -i 's/^  interface:.*/&\n  rotate: 10/' "$dir/b.yaml"
restart_b 'with a key that is older than it may be'
old_cert=$(cert_of b)
check 'and changes it' eventually 20 in_phase b leaving
key_before=$(key_of a)
rotate a >/dev/null
kill_and_start() {
	kill -9 "$(cat "$dir/a.pid")"
	start_node a
	check "a is back that was killed while $1" eventually 60 knows a 1
}
check 'a leaves' eventually 20 in_phase a leaving
kill_and_start leaving
# A machine that is slow to start a daemon and to ask it may see it only when it has come back. A new process counts from 0.
is_over() { status_has a ".overlay.key.phase == \"\" and (.overlay.public_key // \"$key_before\") != \"$key_before\""; }
came_back() { in_phase a returning || is_over; }
check 'a comes back' eventually 60 came_back
if in_phase a returning; then
	kill_and_start returning
else
	skip 'a is back that was killed while returning' 'this machine asked too late'
fi
check 'it goes on and ends' eventually 150 is_over
check 'so does b' eventually 90 rotated b
check 'and says when it does so again' status_has b '.overlay.key.next_s <= 10'
shows_age() { "$bailey" status --instance "$prefix-b" | grep -q '^key .*s old.*rotated in'; }
check 'people see how old a key is' eventually 20 shows_age
like 'and monitoring does' "$("$bailey" metrics --instance "$prefix-b")" '*bailey_key_rotations_total [1-9]*'
is 'nobody was left behind' "$(status_of a | jq .overlay.key.forced),$(status_of b | jq .overlay.key.forced)" 0,0
check 'when its time has come b does so again' eventually 60 in_phase b leaving
sed -i '/^  rotate:/d' "$dir/b.yaml"
check 'meanwhile b got another certificate' eventually 40 has_renewed "$old_cert"
restart_b 'without a schedule'
check 'and ends what it began' eventually 60 in_phase b ''
check 'the first certificate of its mesh has ended' eventually 60 renewed_twice
load_ends 'rotations by command and on schedule, four ends of a daemon and renewals under load'
epoch_of_b() { status_of "$1" | jq '[.peers[] | select(.node == "web-b") | .epoch][0]'; }
is_current() { [ "$(epoch_of_b a)" = "$("$bailey" record show "$dir/state-b/self.record" --json | jq .epoch)" ]; }
check 'which a has taken' eventually 10 is_current
is 'nothing was refused for any of it' "$(status_of a | jq -c '[.refusals[] | select(.reason != "")]')" '[]'
check_not "a's key is another one" test "$new_a" = "$(key_of a)"
check_not "so is b's" test "$old_b" = "$(key_of b)"
is 'no former key is on the disk' "$(find "$dir" -name '*.wgkey.*' | wc -l)" 0
check_not 'nor on a device' sh -c "nsenter --net=$(netns_of a) wg show all private-key 2>/dev/null | grep -qF '$(cat "$TMP/former")'"

# --- who lies about keys ---------------------------------------------------------------------------------------------------
refuses() { status_has b ".refusals[] | select(.reason == \"$1\" and (.origin | endswith(\"$2\")))"; }
"$forge" altered-detour "$dir/state-a/self.record" "$dir/records-b/forged-next.record"
cp "$TMP/leaving.record" "$dir/records-b/played-back.record"
identity m "$member" "$(printf '%040d' 77)"
"$bailey" record sign --cert "$dir/m.pem" --key "$dir/m.key" --node web-m --wg-key "$("$bailey" genkey | "$bailey" pubkey)" \
	--detour-key "$(key_of a)" --addr 100.64.0.77 --out "$dir/records-b/thief.record"
"$bailey" reload --instance "$prefix-b" >/dev/null
check 'a key of a second device that its node did not sign' eventually 10 refuses RECORD_SIGNATURE forged-next.record
check 'a record of before the new key, played back' eventually 10 refuses RECORD_EPOCH played-back.record
check "a member that claims another's key for its second device" eventually 10 refuses RECORD_KEY thief.record
check 'and nothing changed' sees b a "$(key_of a)"
rm "$dir"/records-b/*

# --- killed between the two names of its key; nothing passes by the second device unjudged -----------------------------------
kill -9 "$(cat "$dir/a.pid")"
mv "$dir/a.wgkey" "$dir/a.wgkey.old"
(umask 077 && "$bailey" genkey >"$dir/a.wgkey.next")
key=$(wg pubkey <"$dir/a.wgkey.next")
start_node a
check 'a node that was killed between two names goes on' eventually 60 in_phase a returning
is 'with its next key' "$(key_of a)" "$key"
unjudged() { status_of a | jq -r '[.datapath.drops[] | select(.reason == "UNJUDGED") | .packets] | add // 0'; }
second_is_up() { in_ns a ip -o link show up dev "$(ifname_of a)~" 2>/dev/null | grep -q .; }
check 'its second device is up' eventually 20 second_is_up
is 'nothing was dropped there' "$(unjudged)" 0
check_not 'who sends by it past the policy does not reach anybody' in_ns a ping_ -c 1 -W 1 -I "$(ifname_of a)~" "$ip_b"
check_not 'and is counted' test "$(unjudged)" = 0

# --- who is revoked in the middle is cut off on both -----------------------------------------------------------------------
peer_is_on() { in_ns a wg show "$1" peers 2>/dev/null | grep -q .; }
check 'the rotation ends' eventually 90 rotated a
rotate a >/dev/null
check 'b is on the first device' eventually 10 peer_is_on "$(ifname_of a)"
check 'and on the second' eventually 10 peer_is_on "$(ifname_of a)~"
"$bailey" node revoke web-b --socket "$dir/run/ctl.sock" >/dev/null
check 'a hears of a revocation' eventually 10 knows a 0
check_not 'its peer is on neither' eventually 2 peer_is_on "$(ifname_of a)"
check_not 'of the two devices' peer_is_on "$(ifname_of a)~"
check 'the rotation ends all the same' eventually 90 rotated a 2
is 'with no key left' "$(find "$dir" -name '*.wgkey.*' | wc -l)" 0

done_testing
