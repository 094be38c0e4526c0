# shellcheck shell=sh
# SPDX-License-Identifier: Apache-2.0
# For the judges of the host firewall: `web` is a node whose underlay is eth0, `out` is the wire. They are the two ends of
# a veth; out's addresses are those of nobody's stack, so that only the judge answers what web sends.
dir=$TMP
prefix=$T
host_of() { echo 2; }
netns_of() { echo "/var/run/netns/$(ns "$1")"; }
# shellcheck source=tests/net/nodes-lib.sh
. tests/net/nodes-lib.sh
ifname_of() { echo "by$U-2"; }
underlay_of() { echo 10.82.0.1; }
web_mac=02:00:00:00:00:01 out_mac=02:00:00:00:00:02

host_namespaces() { # ADDRESS...: of out, as web's neighbours
	load wireguard tun 8021q sch_ingress cls_bpf veth
	ns_add out web
	veth out o0 '' web eth0 '10.82.0.1/24,fd82::1/64'
	in_ns out ip link set o0 address $out_mac
	in_ns web ip link set eth0 address $web_mac
	for a; do
		in_ns web ip neigh add "$a" lladdr $out_mac dev eth0 nud permanent
	done
	# what is refused is answered at once and each time
	in_ns web sh -c 'echo 0 >/proc/sys/net/ipv4/icmp_ratelimit; echo 0 >/proc/sys/net/ipv6/icmp/ratelimit'
	in_ns web sh -c 'echo 2 >/proc/sys/net/ipv4/tcp_syncookies'
}

# host_node POLICY [LINE...]: its configuration; the lines come into the section `underlay`.
host_node() {
	[ -e "$dir/root" ] || make_root || exit 1
	[ -e "$dir/web.pem" ] || make_identity web web
	write_config web "$1" 3600
	sed -i '/^  peers:$/d' "$dir/web.yaml"
	shift
	printf 'underlay:\n  interface: eth0\n  failsafe: none\n  dhcp: false\n' >>"$dir/web.yaml"
	for line; do
		echo "  $line" >>"$dir/web.yaml"
	done
	start_node web
	at_end 'take_down web'
}

# shellcheck disable=SC2317 # called through wait_until
host_is_judged() { status_has web '.ready and (.underlay.attach // "" | test("xdp|tcx|clsact"))'; }
