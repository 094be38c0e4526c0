#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Hub and spokes: what a hub forwards, what it can not open, and what a hub that lies can do to spokes and what not.
# shellcheck disable=SC2317 # functions are called through check
. tests/net/lib.sh
need ip nsenter jq wg bridge
need_file "$BUILD/baileyd" 'run make'

dir=$TMP
prefix=$T
host_of() { case $1 in hub) echo 1 ;; web) echo 2 ;; db) echo 3 ;; esac; }
netns_of() { echo "/var/run/netns/$(ns "$1")"; }
# shellcheck source=tests/net/nodes-lib.sh
. tests/net/nodes-lib.sh
ifname_of() { echo "by$U-$(host_of "$1")"; }
policy=$TMP/policy.yaml # lets any attested node ping web
probe=$PWD/$BUILD/tests/net/overlay_probe
hub_app=$(app_of intruder)
dropped() { status_of "$1" | jq "[.datapath.drops[] | select(.dir == \"$2\" and .reason == \"$3\").packets] | add // 0"; }
# attacked WHAT NODE DIR REASON COMMAND...: it does not work, and the node counts why
attacked() {
	what=$1 at=$2 way=$3 reason=$4
	shift 4
	before=$(dropped "$at" "$way" "$reason")
	check_not "$what" "$@"
	check "$what: $reason at $at" [ "$(dropped "$at" "$way" "$reason")" -gt "$before" ]
}
tcp_ok() { in_ns "$1" "$talk" ask tcp "$2" 5432; }

load wireguard tun sch_ingress cls_bpf bridge veth
ns_add sw hub web db
bridge sw br0
for n in hub web db; do
	veth_bridge $n eth0 "$(underlay_of $n)/24" sw br0
done
for n in web db; do in_ns sw bridge link set dev "p-$n" isolated on; done
check_not 'spokes do not reach each other on the underlay' ping_from web "$(underlay_of db)"
sed 's/^rules:/&\n  - { name: ping-hub, from: web, to: intruder, allow: [icmp] }/' policy/examples/three-tier.yaml >"$policy"
make_root || exit 1
make_identity hub intruder
make_identity web web
make_identity db db
write_config hub "$policy" 3600
write_config web "$policy" 3600 hub
write_config db "$policy" 3600 hub
sed -i 's/^  endpoints:/  topology: hub\n&/; s/^  peers:.*//' "$dir/hub.yaml"
for n in web db; do sed -i "s/^  endpoints:.*/  topology: spoke\n  hub: $hub_app/" "$dir/$n.yaml"; done
for n in hub web db; do
	at_end "take_down $n"
	start_node $n
done
check 'the hub knows both spokes' wait_until 30 knows hub 2
# a session hands out a node's own record: those of the spokes are carried
check 'the spokes know the hub' wait_until 30 knows web 1
check 'both of them' wait_until 30 knows db 1
cp "$dir/state-web/self.record" "$dir/records-db/" && cp "$dir/state-db/self.record" "$dir/records-web/"
for n in web db; do "$bailey" reload --instance "$prefix-$n" >/dev/null; done
check 'a spoke knows the other' wait_until 30 knows web 2
check 'and is known to it' wait_until 30 knows db 2

# --- what it is for -----------------------------------------------------------------------------------------------------
is 'a spoke has one peer of WireGuard' "$(in_ns web wg show "$(ifname_of web)" peers | wc -l)" 1
is 'the hub has both' "$(in_ns hub wg show "$(ifname_of hub)" peers | wc -l)" 2
spawn db "$talk" echo 5432
check 'web reaches db through the hub' wait_until 30 tcp_ok web "$(overlay_of db)"
check 'over IPv6 too' wait_until 10 tcp_ok web "$(overlay6_of db)"
check 'db can ping web' ping_from db "$(overlay_of web)"
check 'a packet as long as the MTU' ping_from db "$(overlay_of web)" -s 1392
check 'fragments' ping_from db "$(overlay6_of web)" -s 3000
in_ns hub ip link set dev "$(ifname_of hub)" mtu 1280
check 'and through a hub with a smaller MTU' ping_from db "$(overlay_of web)" -s 1392
is 'the hub forwards by no route' "$(in_ns hub cat /proc/sys/net/ipv4/conf/all/forwarding /proc/sys/net/ipv6/conf/all/forwarding | tr -d '\n')" 00
check_not 'what policy denies is denied' tcp_ok db "$(overlay_of web)"
is 'it is web that db sees' "$("$bailey" flows --instance "$prefix-db" --from web --json 2>/dev/null | jq -r .src.node | sort -u)" web
check 'status says that it is a hub' status_has hub '.overlay.topology == "hub"'
check 'and whose spoke another is' status_has web '.overlay.hub == "hub"'
check 'and by which way one goes' status_has web '.peers[] | select(.node == "db").via == "hub"'
like 'ping tells the way' "$(in_ns db "$bailey" ping web --count 1 --instance "$prefix-db")" '*and hub hub to 10.99.0.1:51820*'
check 'metrics know the hub' sh -c "'$bailey' metrics --instance '$prefix-web' | grep -qx 'bailey_hub_known 1'"

# --- a hub opens nothing ------------------------------------------------------------------------------------------------
check 'a spoke that may talks to the hub' ping_from web "$(overlay_of hub)"
attacked 'the hub pings a spoke, which policy allows' hub out HUB_ORIGIN ping_from hub "$(overlay_of web)"
attacked 'over IPv6' hub out HUB_ORIGIN ping_from hub "$(overlay6_of web)"
attacked 'the hub connects to a spoke' hub out HUB_ORIGIN tcp_ok hub "$(overlay_of db)"
like 'and says why' "$(in_ns hub "$bailey" ping web --count 1 --instance "$prefix-hub")" '*HUB_ORIGIN*'
in_ns hub ip addr add "$(overlay_of db)/32" dev lo
attacked 'a program on the hub takes the address of a spoke' hub out SPOOFED \
	ping_from hub "$(overlay_of web)" -I "$(overlay_of db)"
in_ns hub ip addr del "$(overlay_of db)/32" dev lo

# --- a spoke that is removed at the hub is cut off, though the other spoke still knows it ---------------------------------
check 'web still reaches db' tcp_ok web "$(overlay_of db)"
check 'web is removed at the hub' "$bailey" node remove web --instance "$prefix-hub"
check_not 'and reaches db no more' tcp_ok web "$(overlay_of db)"
check_not 'nor does db reach it' ping_from db "$(overlay_of web)"
check 'db knows it all the same' knows db 2

# --- a hub that lies: its key, no programs of ours -----------------------------------------------------------------------
take_down hub
key_of() { status_of "$1" | jq -r .overlay.public_key; }
spoke() { echo "peer=$(key_of "$1") endpoint=$(underlay_of "$1"):51820 keepalive=1 allowed=$(overlay_of "$1")/32"; }
backend=kernel
in_ns hub ip link add "$(ifname_of hub)" type wireguard 2>/dev/null && in_ns hub ip link del "$(ifname_of hub)" || backend=userspace
# shellcheck disable=SC2046
check 'it takes the real one'"'"'s place' in_ns hub "$probe" up "$(ifname_of hub)" backend=$backend key="$dir/hub.wgkey" port=51820 \
	mtu=1420 addr="$(overlay_of hub)/10" $(spoke web) $(spoke db)
came() { in_ns hub wg show "$(ifname_of hub)" latest-handshakes | awk '$2 { n++ } END { exit n != 2 }'; }
check 'the spokes take it for theirs' wait_until 30 came
in_ns hub ip addr add "$(overlay_of db)/32" dev lo
in_ns hub ip addr add 100.64.0.77/32 dev lo
attacked 'a spoke takes nothing from the hub itself' web in HUB_ORIGIN ping_from hub "$(overlay_of web)" -I "$(overlay_of hub)"
attacked 'nor from an address without a record' web in NO_IDENTITY ping_from hub "$(overlay_of web)" -I 100.64.0.77
# web's address is local here now: another route goes first
in_ns hub ip addr add "$(overlay_of web)/32" dev lo
in_ns hub ip route add 100.64.0.0/10 dev "$(ifname_of hub)" table 77
in_ns hub ip rule add pref 1 iif lo lookup 77
in_ns hub ip rule add pref 10 lookup local
in_ns hub ip rule del pref 0
attacked 'nor from its own address' web in NO_IDENTITY ping_from hub "$(overlay_of web)" -I "$(overlay_of web)"
passed() { "$bailey" metrics --instance "$prefix-web" |
	sed -n 's/^bailey_peer_packets_total{.*node="db",dir="in",outcome="passed"} //p'; }
before=$(passed)
ping_from hub "$(overlay_of web)" -I "$(overlay_of db)" >/dev/null 2>&1
check 'what its attestation vouches for, docs/vpc.md: it could speak for another spoke' [ "$(passed)" -gt "$before" ]
in_ns hub "$probe" down "$(ifname_of hub)"

for n in web db; do
	take_down $n
done
done_testing
