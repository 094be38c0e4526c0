#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Random policies against nftables: nft_differ.py on two routers, one filtered by Bailey, one by nftables.
# JUDGE_POLICIES=N (default 20) of 200 packets each, JUDGE_SEED=N (default 1).
. tests/net/lib.sh
need ip nsenter nft /usr/bin/python3
need_file "$BUILD/tests/judge/gate" 'run make tests'

load nf_conntrack nf_conntrack_netlink nft_ct nf_tables sch_ingress cls_bpf veth
netns_of() { echo "/var/run/netns/$(ns "$1")"; }
set_sysctl() { echo "$3" | in_ns "$1" sh -c "cat >/proc/sys/$2"; }

ns_add out by nf
set_sysctl out net/ipv6/conf/default/disable_ipv6 1
for w in by nf; do
	for end in 0 1; do
		[ $end = 0 ] && outer=a-$w || outer=o-$w
		net=$((76 + 3 * end)) behind=$((77 + end))
		veth out "$outer" '' $w in$end ''
		in_ns $w ip link set in$end address 02:00:00:00:00:01
		set_up $w in$end 10.$net.0.1/24 fd$net::1/64
		for next in 10.$net.0.2 fd$net::2; do
			in_ns $w ip neigh add "$next" lladdr 02:00:00:00:00:02 dev in$end nud permanent
		done
		in_ns $w ip route add 10.$behind.0.0/24 via 10.$net.0.2 dev in$end
		in_ns $w ip -6 route add fd$behind::/64 via fd$net::2 dev in$end
		set_sysctl $w net/ipv4/conf/in$end/rp_filter 0
	done
	set_sysctl $w net/ipv4/conf/all/rp_filter 0
	set_sysctl $w net/ipv4/ip_forward 1
	set_sysctl $w net/ipv6/conf/all/forwarding 1
done
# Bailey refuses a segment of no flow; conntrack takes one up unless it is told not to. Neither shall look at windows.
set_sysctl nf net/netfilter/nf_conntrack_tcp_loose 0
set_sysctl nf net/netfilter/nf_conntrack_tcp_be_liberal 1

mkdir "$TMP/bpf" "$TMP/files"
mount -t bpf bpf "$TMP/bpf" || skip_all 'no bpffs can be mounted'
at_end "umount '$TMP/bpf'"

judge() { # POLICIES [translate-wrongly]
	in_ns out env PYTHONDONTWRITEBYTECODE=1 /usr/bin/python3 tests/judge/nft_differ.py "$BUILD/tests/judge/gate" "$TMP/bpf" \
		"$TMP/files" "$(netns_of by)" "$(netns_of nf)" "$1" 200 "${JUDGE_SEED:-1}" ${2:+"$2"}
}

check 'nftables and Bailey let the same packets through' judge "${JUDGE_POLICIES:-20}"
sed 's/^/# /' "$TMP/out"
judge 20 translate-wrongly >"$TMP/out" 2>&1
is 'a ruleset without the denials is found out' "$?" 1
in_ns by "$BUILD/tests/judge/gate" "$TMP/bpf" in0 off
done_testing
