#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The net process is killed when the second device, which a peer's rotation keeps, has got another key: a session of before is none.
. tests/net/lib.sh
need ip nsenter jq wg nft

dir=$TMP
prefix=$T
probe=$PWD/$BUILD/tests/net/overlay_probe
host_of() { case $1 in s) echo 2 ;; a) echo 3 ;; b) echo 4 ;; c) echo 5 ;; esac; }
netns_of() { echo "/var/run/netns/$(ns "$1")"; }
# shellcheck source=tests/net/nodes-lib.sh
. tests/net/nodes-lib.sh
# shellcheck source=tests/net/vpc-lib.sh
. tests/net/vpc-lib.sh
ifname_of() { echo "by$U-$(host_of "$1")"; }
chmod 711 "$TMP"

# a's record lives for half a minute, and no phase of its rotation takes longer. It has no endpoint, so it keeps its tunnels open.
load wireguard tun sch_ingress cls_bpf bridge veth nf_tables
ns_add hub s a b c
bridge hub br0
for n in s a b c; do
	veth_bridge $n eth0 "$(underlay_of $n)/24" hub br0
done
printf 'table inet t {\n chain i {\n type filter hook input priority 0\n }\n chain o {\n type filter hook output priority 0\n }\n}\n' >"$TMP/nft"
in_ns b nft -f "$TMP/nft" 2>/dev/null || skip_all 'needs a kernel with nf_tables'
make_root || exit 1
identity s "$control" "$(printf '%040d' 99)"
for n in a b c; do identity $n "$member"; done
write_members_admission
write_members_policy
server_config
start_server
at_end stop_server
node_config a web-a 'records: { lifetime: 30 }' "$(at_server)"
sed -i '/^  endpoints:/d' "$dir/a.yaml"
node_config b web-b "records: { directory: records-b }" "$(at_server)"
for n in a b; do
	at_end "take_down $n"
	start_node $n
done

phase_of() { status_of "$1" | jq -r .overlay.key.phase; }
in_phase() { [ "$(phase_of "$1")" = "$2" ]; }
rotate() { "$bailey" key rotate --instance "$prefix-$1"; }
key_of() { status_of "$1" | jq -r .overlay.public_key; }
# shaken NODE DEVICE KEY: when it shook hands with that peer
shaken() { in_ns "$1" wg show "$2" latest-handshakes 2>/dev/null | awk -v k="$3" '$1 == k { print $2 }'; }
has_shaken() { [ "$(shaken "$1" "$2" "$3")" -ge "${4:-1}" ] 2>/dev/null; }
check 'two nodes know each other' eventually 30 knows a 1
check 'both ways' eventually 30 knows b 1
ip_b=$(status_of b | jq -r '.overlay.addresses[0]')
check 'and reach each other' eventually 20 ping_from a "$ip_b"

# A node whose daemon is gone, with a WireGuard that lives on: b, which it has a session with, can not get to the end of leaving.
(umask 077 && "$bailey" genkey >"$dir/c.wgkey")
key_c=$("$bailey" pubkey <"$dir/c.wgkey") key_b=$(key_of b)
at_end "in_ns c $probe down by$U-c"
check 'a third has a tunnel and no daemon' in_ns c "$probe" up "by$U-c" "key=$dir/c.wgkey" port=51820 addr=100.64.0.77/32 "peer=$key_b" \
	"endpoint=$(underlay_of b):51820" keepalive=5 "allowed=$ip_b/32"
"$bailey" record sign --cert "$dir/c.pem" --key "$dir/c.key" --node web-c --wg-key "$key_c" --addr 100.64.0.77 \
	--endpoint "$(underlay_of c):51820" --out "$dir/records-b/c.record"
"$bailey" reload --instance "$prefix-b" >/dev/null
check 'b has shaken hands with it' eventually 30 has_shaken b "$(ifname_of b)" "$key_c"

rotate b >/dev/null
check 'b leaves its first device, and stays on the way' eventually 20 in_phase b leaving
check 'a has shaken hands with it by the second' eventually 30 has_shaken a "$(ifname_of a)~" "$key_b"
rotate a >/dev/null
check 'a leaves, and comes back' eventually 60 in_phase a returning
# From here on nothing passes between the second devices, so that none shakes hands there by a's new key.
for way in 'i udp dport' 'o udp sport' 'i udp sport' 'o udp dport'; do
	# shellcheck disable=SC2086
	in_ns b nft add rule inet t $way 51821 drop
done
began=$(date +%s)
check 'the first devices shake hands by the new key' eventually 40 has_shaken a "$(ifname_of a)" "$key_b" "$began"
former=$(shaken a "$(ifname_of a)~" "$key_b")
check 'the rotation of a ends' eventually 60 in_phase a ''
check 'that of b does not' in_phase b leaving
private_key() { in_ns a wg show "$1" private-key; }
same_key() { [ "$(private_key "$(ifname_of a)")" = "$(private_key "$(ifname_of a)~")" ]; }
check 'the second device of a is still there, with the new key' eventually 20 same_key
is 'and says when it last shook hands by the former one' "$(shaken a "$(ifname_of a)~" "$key_b")" "$former"
check 'a reaches b by the first' eventually 20 ping_from a "$ip_b"

# --- a process that was not there when the key changed -----------------------------------------------------------------------
reaches_on() { # every second, while the node looks at its devices
	for _ in 1 2 3 4 5; do
		sleep 1
		ping_from a "$ip_b" >"$TMP/out" 2>&1 || return 1
	done
}
net=$(status_of a | jq .processes.net.pid)
kill -9 "$net"
check 'net is started again' eventually 20 status_has a ".processes.net.running and .processes.net.pid != $net and .ready"
check 'it takes the former session for none, and does not send by it' reaches_on
end_pid "$dir/a.pid" -KILL
start_node a
check 'so does a daemon that was killed' eventually 30 knows a 1
check 'and does not send by it' reaches_on
in_ns b nft flush ruleset
check 'a session by the new key is one' eventually 60 has_shaken a "$(ifname_of a)~" "$key_b" "$((former + 1))"
check 'and is sent by' reaches_on

done_testing
