#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# nmap against a node whose host is judged, from the wire: what `bailey policy explain` allows from this address to the host
# of `web` is what it finds, and stealth scans find nothing; IPv4 and IPv6, at XDP and at tc.
. tests/net/lib.sh
need ip nsenter jq nmap /usr/bin/python3
need_file "$BUILD/baileyd" 'run make'
# shellcheck source=tests/judge/host-lib.sh
. tests/judge/host-lib.sh

list='21 22 23 25 53 80 81 443 5432 5433 8000 8001 65535' # a listener on each but 8001, which the policy opens
commas=$(echo "$list" | tr ' ' ,)
cat >"$dir/host.yaml" <<END
version: 1
apps:
  web: { app-id: $(app_of web) }
networks: { friends: [10.82.0.8, "fd82::8"], others: [10.82.0.9, "fd82::9"] }
rules:
  - { from: world, to: host, allow: [tcp/80, tcp/8000-8010, udp/53, udp/8000-8010] }
  - { from: friends, to: host, allow: [tcp/5432, udp/5432, tcp/21-23] }
  - { from: others, to: host, allow: [tcp/25, tcp/443, udp/443] }
  - { from: world, to: host, deny: [tcp/23] }
  - { from: world, to: host, on: web, allow: [tcp/65535] }
END
host_namespaces 10.82.0.9 fd82::9
set_up out o0 10.82.0.8/24 fd82::8/64
for a in 10.82.0.8 fd82::8; do
	in_ns web ip neigh add "$a" lladdr $out_mac dev eth0 nud permanent
done
for a in 10.82.0.1 fd82::1; do
	in_ns out ip neigh add "$a" lladdr $web_mac dev o0 nud permanent
done
# shellcheck disable=SC2046
spawn web /usr/bin/python3 tests/judge/listen.py $(echo "$list" | sed 's/ 8001//')
eventually 10 grep -q ready "$TMP/spawn.out" || skip_all 'the listener does not start'

# shellcheck source=tests/judge/nmap-lib.sh
. tests/judge/nmap-lib.sh
scan_from=out
allowed() { "$bailey" policy explain "$dir/host.yaml" --from "$source" --to host --on web "$1"; }

# each IPv TARGET SOURCE: the scans over one family
each() {
	family=$1 target=$2 source=$3 six=
	[ "$family" = 4 ] || six=-6
	want tcp open closed filtered
	# shellcheck disable=SC2086
	for how in -sT -sS '-sS -g 80' '-sS -g 51820'; do
		scan seen "$target" $six $how -p "$commas"
		check "$way, IPv$family: $how sees the YAML's ports" as_wanted seen
	done
	want udp open closed 'open|filtered'
	# shellcheck disable=SC2086
	scan seen "$target" $six -sU --data-length 20 -p "$commas"
	check "$way, IPv$family: UDP likewise" as_wanted seen
	# shellcheck disable=SC2086
	for how in -sN -sF -sX '-sS --scanflags SYNFIN'; do
		scan seen "$target" $six $how -p "$commas"
		check "$way, IPv$family: nothing answers $how" not_seen seen
	done
	# shellcheck disable=SC2086
	scan seen "$target" $six -sA -p "$commas"
	check "$way, IPv$family: nor -sA" all_are seen filtered
}
# shellcheck disable=SC2317
not_seen() { all_are "$1" 'open|filtered' || all_are "$1" filtered; }

quiet=8001
scan open 10.82.0.1 -sS -p "$commas"
is 'without Bailey each listener is seen' "$(grep -c ' open$' "$TMP/open")" 12
for way in auto tc; do
	host_node "$dir/host.yaml" "attach: $way"
	check "attach: $way: the host is judged" wait_until 30 host_is_judged
	way=$(status_of web | jq -r .underlay.attach)
	each 4 10.82.0.1 10.82.0.8
	each 6 fd82::1 fd82::8
	end_pid "$dir/web.pid"
done
done_testing
