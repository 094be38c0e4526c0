#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# WireGuard keys of a hub and of its spokes change under load, one of which is behind a NAT: numbered datagrams from spoke to spoke, and
# to the hub and back, and a stream, none lost. The hub is killed in the middle, and a node that was one of a mesh comes as a spoke.
# shellcheck disable=SC2317 # functions are called through check
. tests/net/lib.sh
need ip nsenter jq wg nft
need_file "$BUILD/tests/net/traffic" 'run make tests'
export PACE=6 # what five flows need at the hub fits its socket for a second without a processor

dir=$TMP
prefix=$T
host_of() { case $1 in s) echo 1 ;; hub) echo 2 ;; a) echo 3 ;; b) echo 4 ;; gate) echo 5 ;; esac; }
netns_of() { echo "/var/run/netns/$(ns "$1")"; }
# shellcheck source=tests/net/nodes-lib.sh
. tests/net/nodes-lib.sh
# shellcheck source=tests/net/vpc-lib.sh
. tests/net/vpc-lib.sh
ifname_of() { echo "by$U-$(host_of "$1")"; }
chmod 711 "$TMP"

# --- s, hub, a and a gate on one bridge; spokes do not reach each other there; b is behind the gate, under an address of its own ---------
load wireguard tun sch_ingress cls_bpf bridge veth nf_tables nft_masq nf_nat
ns_add sw s hub a gate b
bridge sw br0
for n in s hub a gate; do
	veth_bridge $n eth0 "$(underlay_of $n)/24" sw br0
done
for n in a gate; do in_ns sw bridge link set dev "p-$n" isolated on; done
veth gate lan 10.98.0.1/24 b eth0 10.98.0.2/24
in_ns b ip route add default via 10.98.0.1
in_ns gate sh -c 'echo 1 >/proc/sys/net/ipv4/ip_forward'
printf 'table ip t {\n chain c {\n type nat hook postrouting priority 100\n masquerade random\n }\n}\n' >"$TMP/nat"
in_ns gate nft -f "$TMP/nat" 2>/dev/null || skip_all 'needs a kernel with masquerade'
check_not 'spokes do not reach each other on the underlay' ping_from b "$(underlay_of a)"

make_root || exit 1
hub_app=$(app_of intruder)
identity s "$control" "$(printf '%040d' 99)"
identity hub "$hub_app"
for n in a b; do identity $n "$member"; done
cat >"$dir/admit.yaml" <<-END
	version: 1
	apps:
	  control: { app-id: $control }
	  member: { app-id: $member, require: { simulated: true } }
	  hub: { app-id: $hub_app, require: { simulated: true } }
	rules:
	  - { name: may-join, from: [member, hub], to: control, allow: [tcp/7947] }
END
cat >"$dir/policy.yaml" <<-END
	version: 1
	apps: { member: { app-id: $member }, hub: { app-id: $hub_app } }
	rules:
	  - { name: members, from: member, to: [member, hub], allow: [any] }
END
server_config
for n in hub a b; do node_config $n node-$n "records: { directory: records-$n }" "$(at_server)"; done
sed -i 's|^  endpoints:.*|  topology: hub\n&|' "$dir/hub.yaml"
for n in a b; do sed -i "s|^  endpoints:.*|  topology: spoke\n  hub: $hub_app|" "$dir/$n.yaml"; done
for n in hub a; do
	sed 's/^  interface:.*/&\n  rotate: 3600/' "$dir/$n.yaml" >"$dir/timed.yaml"
	check "a schedule is for a $n, too" "$baileyd" -c "$dir/timed.yaml" --check
done

start_server
at_end stop_server
for n in hub a b; do
	at_end "take_down $n"
	start_node $n
done
for n in hub a b; do check "$n knows the two others" eventually 60 knows $n 2; done
address_of() { status_of "$1" | jq -r '.overlay.addresses[0]'; }
ip_hub=$(address_of hub) ip_a=$(address_of a) ip_b=$(address_of b)
check 'b reaches a by way of the hub' eventually 30 ping_from b "$ip_a"
check 'and the hub' eventually 30 ping_from b "$ip_hub"
check 'so does a' eventually 30 ping_from a "$ip_hub"
check 'the hub finds b where the gate lets it out' sh -c "nsenter --net=$(netns_of hub) wg show $(ifname_of hub) endpoints | grep -q '$(underlay_of gate):'"

key_of() { status_of "$1" | jq -r .overlay.public_key; }
in_phase() { [ "$(status_of "$1" | jq -r .overlay.key.phase)" = "$2" ]; }
has_rotated() { status_has "$1" ".overlay.key.phase == \"\" and .overlay.key.rotated >= ${2:-1}"; }
sees() { status_has "$1" ".peers[] | select(.node == \"node-$2\" and .public_key == \"$3\")"; }
second_is_there() { in_ns "$1" ip link show dev "$(ifname_of "$1")~" >/dev/null 2>&1; }
second_is_gone() { ! second_is_there "$1"; }
rotate() { "$bailey" key rotate --instance "$prefix-$1"; }

# --- load: both ways between the spokes, from each to the hub and back --------------------------------------------------------------------
for n in hub a; do
	nsenter --net="$(netns_of $n)" "$talk" echo 7001 >/dev/null 2>&1 &
	at_end "kill $!"
done
load_begins() {
	full=$(overflows)
	go a count_a count 7000
	go b count_b count 7000
	sleep 0.5
	go a knock_a knock "$ip_b" 7000
	go b knock_b knock "$ip_a" 7000
	go a ask_a ask "$ip_hub" 7001
	go b ask_b ask "$ip_hub" 7001
	go b stream stream "$ip_a" 7001
}
# What found a socket full: wireguard-go had no processor meanwhile. That is the machine's loss, before WireGuard saw it.
overflows() {
	for n in hub a b gate; do in_ns "$n" awk '/^Udp:/ && $6 ~ /^[0-9]/ { print $6 }' /proc/net/snmp; done |
		awk '{ n += $1 } END { print n + 0 }'
}
drops_of() {
	echo "$1 dropped: $(status_of "$1" | jq -c '[.datapath.drops[] | select(.packets > 0) | {dir, reason, packets}]')"
}
# none_lost WHAT COMMAND...
none_lost() {
	none_what=$1
	shift
	if ! "$@" && [ "$full" -gt 0 ]; then
		skip "$none_what" "the machine was too busy: $full datagrams found a socket full"
	else
		check "$none_what" "$@"
	fi
}
load_ends() { # WHAT
	for n in a b; do
		halt knock_$n
		halt ask_$n >/dev/null
	done
	check "$1: the stream between the spokes" streams_end stream
	sleep 1
	halt count_a
	halt count_b
	full=$(($(overflows) - full))
	for n in hub a b; do note "$(drops_of $n)"; done
	note "found a socket full: $full"
	for n in a b; do
		note "$(cat "$TMP/ask_$n.out" "$TMP/count_$n.out")"
		none_lost "$1: every datagram of $n to the hub came back" [ "$(number ask_$n)" = "$(back ask_$n)" ]
	done
	none_lost "$1: every datagram of a to b arrived" [ "$(number count_b)" = "$(number knock_a)" ]
	none_lost "$1: every datagram of b to a arrived" [ "$(number count_a)" = "$(number knock_b)" ]
	check "$1: there were some" [ "$(number count_a)" -gt 100 ]
}
back() { sed -n 's/.* sent, \([0-9]*\) came back/\1/p' "$TMP/$1.out"; }
all_quiet() { # every second device is gone
	for n in hub a b; do second_is_gone "$n" || return 1; done
}

for who in a b hub; do
	load_begins
	key=$(key_of $who)
	check "$who begins" rotate $who
	check "$who has a second device" eventually 20 second_is_there $who
	check "$who comes back" eventually 90 in_phase $who returning
	# who is on the second device takes a new policy there
	echo "  - { name: for-$who, from: any-attested, to: member, allow: [tcp/9] }" >>"$dir/policy.yaml"
	for n in hub a b; do check "$n takes another policy" "$bailey" reload --instance "$prefix-$n"; done
	check "$who has a new key" eventually 120 has_rotated $who
	check_not 'which is another one' test "$key" = "$(key_of $who)"
	for n in hub a b; do
		[ $n = $who ] || check "$n has heard of it" eventually 20 sees $n $who "$(key_of $who)"
	done
	check 'the second devices are gone' eventually 30 all_quiet
	load_ends "$who rotates"
done

# --- all three at once, and the hub is killed in either half -------------------------------------------------------------------------------
load_begins
for n in hub a b; do rotate $n >/dev/null; done
for phase in leaving returning; do
	check "the hub is $phase" eventually 150 in_phase hub $phase
	kill -9 "$(cat "$dir/hub.pid")"
	start_node hub
	check "it is back that was killed while $phase" eventually 60 knows hub 2
done
check 'the hub goes on and ends' eventually 180 has_rotated hub
for n in a b; do check "so does $n" eventually 150 has_rotated $n 2; done
check 'the second devices are gone' eventually 30 all_quiet
load_ends 'all at once, and a hub that is killed'
for n in hub a b; do
	is "$n left nobody behind" "$(status_of $n | jq .overlay.key.forced)" 0
	is "$n refused nothing" "$(status_of $n | jq -c '[.refusals[] | select(.reason != "")]')" '[]'
done
is 'no former key is on the disk' "$(find "$dir" -name '*.wgkey.*' | wc -l)" 0

# --- one that was of a mesh, killed in either half of its rotation, comes as a spoke, and as a hub ------------------------------------------
as_left() { # NODE FILE...: its key, and these beside it, as a daemon leaves them that is killed
	take_down "$1"
	[ "$2" = old ] && mv "$dir/$1.wgkey" "$dir/$1.wgkey.old"
	[ "$2" = next ] && kept=$(wg pubkey <"$dir/$1.wgkey")
	(umask 077 && "$bailey" genkey >"$dir/$1.wgkey.next")
	start_node "$1"
}
as_left a old
check 'with a former key it comes back' eventually 60 in_phase a returning
check 'and ends' eventually 150 has_rotated a
check 'reached as ever' eventually 30 ping_from b "$ip_a"
as_left hub next
check 'a hub with a next key leaves' eventually 60 in_phase hub leaving
check 'and ends' eventually 180 has_rotated hub
check_not 'with another key' test "$(key_of hub)" = "$kept"
check 'both spokes reach each other by it' eventually 30 ping_from b "$ip_a"
is 'no former key is left' "$(find "$dir" -name '*.wgkey.*' | wc -l)" 0

done_testing
