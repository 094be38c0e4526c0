#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Packets that scapy makes, from another namespace, against a node whose host is judged: what the YAML opens is answered,
# and of all else nothing comes as far as a socket, be it malformed, in pieces, wrapped or spoofed; IPv4 and IPv6, at XDP
# and at tc. Who hears is web's own stack: servers, and raw sockets that get whatever it would deliver.
. tests/net/lib.sh
need ip nsenter jq /usr/bin/python3
need_file "$BUILD/baileyd" 'run make'
/usr/bin/python3 -c 'import scapy' 2>/dev/null || skip_all 'needs scapy (python3-scapy)'
# shellcheck source=tests/judge/host-lib.sh
. tests/judge/host-lib.sh

cat >"$dir/host.yaml" <<END
version: 1
apps:
  web: { app-id: $(app_of web) }
networks: { friends: [10.82.0.9, "fd82::9"] }
rules:
  - { name: pages, from: world, to: host, allow: [tcp/80, udp/80] }
  - { name: store, from: friends, to: host, allow: [tcp/5432, udp/5432] }
  - { name: ping, from: world, to: host, allow: [icmp/8, icmpv6/128] }
END
host_namespaces 10.82.0.8 10.82.0.9 fd82::8 fd82::9

in_ns web ip link add link eth0 name eth0.7 type vlan id 7 2>/dev/null && vlan=7 || vlan=none
[ "$vlan" = none ] || in_ns web ip link set eth0.7 up
in_ns web sh -c 'for f in /proc/sys/net/ipv4/conf/*/rp_filter; do echo 0 >"$f"; done'

# judge plain|judged 4|6: a line for each case that is not as it must be.
start=20000
judge() {
	in_ns out env PYTHONDONTWRITEBYTECODE=1 /usr/bin/python3 tests/judge/scapy_host.py "$1" "$2" o0 "$(netns_of web)" "$bailey" \
		"$prefix-web" "$dir/host.yaml" "$((start += 1000))" "$vlan"
}

check 'without Bailey what is dropped below is heard' judge plain 4
note "$(tail -n 1 "$TMP/out")"
check 'also over IPv6' judge plain 6
note "$(tail -n 1 "$TMP/out")"
[ "$vlan" = 7 ] || skip 'what is tagged reaches a VLAN device' 'this kernel makes none'
for way in auto tc; do
	host_node "$dir/host.yaml" "attach: $way"
	check "attach: $way: the host is judged" wait_until 30 host_is_judged
	note "by $(status_of web | jq -r .underlay.attach)"
	for ip in 4 6; do
		check "IPv$ip: what the YAML opens is heard, and nothing else" judge judged $ip
		note "$(tail -n 1 "$TMP/out")"
	done
	end_pid "$dir/web.pid"
done
done_testing
