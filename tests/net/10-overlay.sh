#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The overlay room on real devices, with every backend that this machine has; `wg`, `ip` and ping are the judges.
. tests/net/lib.sh

need wg ip nsenter setpriv
probe=$BUILD/tests/net/overlay_probe
need_file "$probe" 'make tests builds it'
zero='added=0 changed=0 removed=0 addrs=0 routes=0 device=0 link=0'

# --- keys --------------------------------------------------------------------------------------------------------
umask 077
for name in a a2 b c; do "$probe" genkey >"$TMP/$name.key"; done
umask 022
for name in a a2 b c; do wg pubkey <"$TMP/$name.key" >"$TMP/$name.pub"; done
pub_a=$(cat "$TMP/a.pub") pub_a2=$(cat "$TMP/a2.pub") pub_b=$(cat "$TMP/b.pub") pub_c=$(cat "$TMP/c.pub")
is 'pubkey agrees with wg' "$("$probe" pubkey <"$TMP/a.key")" "$pub_a"
check_not 'pubkey refuses what is no key' sh -c "echo short | $probe pubkey"

# --- helpers of this test ------------------------------------------------------------------------------------------
# up NS DEV KEY PEERS...: what every node of this mesh has, and its peers.
up() {
	up_n=$1 up_d=$2 up_k=$3
	shift 3
	case $up_n in a) up_h=1 ;; *) up_h=2 ;; esac
	in_ns "$up_n" "$probe" up "$up_d" backend="$backend" key="$TMP/$up_k.key" port=51820 mtu=1420 \
		addr=100.64.0.$up_h/24 addr=fd64::$up_h/64 "$@" 2>&1
}

peer_a() { echo "peer=$1 endpoint=10.9.0.1:51820 allowed=100.64.0.1/32 allowed=fd64::1/128"; }
peer_b() { echo "peer=$pub_b endpoint=${1:-10.9.0.2:51820} keepalive=25 allowed=100.64.0.2/32 allowed=fd64::2/128"; }
peer_c() { echo "peer=$pub_c endpoint=10.9.0.3:51820 allowed=100.64.0.3/32 allowed=${1:-fd64::3/128}"; }

handshake() { in_ns a wg show "$dev_a" latest-handshakes | awk -v k="$pub_b" '$1 == k { print $2 }'; }
endpoint() { in_ns a wg show "$dev_a" endpoints | awk -v k="$pub_b" '$1 == k { print $2 }'; }
ip_of() { in_ns "$1" ip -br addr show dev "$2" | awk '{ for (i = 3; i <= NF; i++) print $i }' | sort | tr '\n' ' '; }
gone() { ! in_ns "$1" ip link show dev "$2" >/dev/null 2>&1; }
runs() { ps -e -o args= | grep -q "^wireguard-go -f $1\$"; }

# What the room reads, in the form of `wg show DEV dump`.
read_as_dump() {
	in_ns "$1" "$probe" read "$2" | awk '
		{ for (i = 1; i <= NF; i++) { k = $i; sub(/=.*/, "", k); v = $i; sub(/^[^=]*=/, "", v); f[k] = v } }
		/^listen_port=/ { print "device", f["public_key"], f["listen_port"] }
		/^peer=/ { print f["peer"], f["endpoint"], f["allowed"], f["handshake"], f["keepalive"] }' | sort
}

wg_dump() {
	in_ns "$1" wg show "$2" dump | awk -F '\t' '
		NR == 1 { print "device", $2, $3; next }
		{ print $1, $3, $4, $5, $8 == "off" ? 0 : $8 }' | sort
}

# --- parts --------------------------------------------------------------------------------------------------------
birth() {
	like 'open creates the device' "$(in_ns a "$probe" open "$dev_a" backend="$backend")" "backend=$backend ifindex=*"
	check 'a new device is down' in_ns a sh -c "ip link show dev $dev_a | grep -q DOWN"
	# shellcheck disable=SC2046
	is 'the first apply says what it did' "$(up a "$dev_a" a $(peer_b))" \
		'added=1 changed=0 removed=0 addrs=2 routes=0 device=1 link=1'
	# shellcheck disable=SC2046
	like 'the other node too' "$(up b "$dev_b" b $(peer_a "$pub_a"))" 'added=1 *'
	is 'addresses are the wanted ones, none link-local' "$(ip_of a "$dev_a")" '100.64.0.1/24 fd64::1/64 '
	is 'the MTU is set' "$(in_ns a cat "/proc/sys/net/ipv6/conf/$dev_a/mtu")" 1420
}

traffic() {
	# the keepalive of the first node met nobody: WireGuard tries again after 5 s
	check 'ping over the overlay, IPv4' eventually 10 in_ns a ping_ -c 1 -W 1 100.64.0.2
	check 'ping over the overlay, IPv6' in_ns a ping_ -c 2 -W 3 fd64::2
	check 'a full packet passes unfragmented' in_ns a ping_ -c 1 -W 3 -s 1372 fd64::2
	is 'wg reads what the room reads, a' "$(read_as_dump a "$dev_a")" "$(wg_dump a "$dev_a")"
	is 'wg reads what the room reads, b' "$(read_as_dump b "$dev_b")" "$(wg_dump b "$dev_b")"
}

reconcile() {
	hs=$(handshake)
	# shellcheck disable=SC2046
	is 'an apply without change sends nothing' "$(up a "$dev_a" a $(peer_b))" "$zero"
	# shellcheck disable=SC2046
	is 'a peer is added' "$(up a "$dev_a" a $(peer_b) $(peer_c))" \
		'added=1 changed=0 removed=0 addrs=0 routes=0 device=0 link=0'
	check 'the session of the other still carries' in_ns a ping_ -c 1 -W 3 100.64.0.2
	is 'and made no new handshake' "$(handshake)" "$hs"
	# shellcheck disable=SC2046
	is 'an address outside the network gets a route' "$(up a "$dev_a" a $(peer_b) $(peer_c 192.0.2.7/32))" \
		'added=0 changed=1 removed=0 addrs=0 routes=1 device=0 link=0'
	like 'the route is there' "$(in_ns a ip route show 192.0.2.7)" "192.0.2.7 dev $dev_a*"
	# shellcheck disable=SC2046
	is 'a peer is removed, and its route' "$(up a "$dev_a" a $(peer_b))" \
		'added=0 changed=0 removed=1 addrs=0 routes=1 device=0 link=0'
	is 'wg knows one peer' "$(in_ns a wg show "$dev_a" peers)" "$pub_b"
	is 'still the same session' "$(handshake)" "$hs"
}

# More than one netlink message holds, read back in more than one.
many() {
	hs=$(handshake)
	crowd=$(awk 'BEGIN { for (n = 1; n <= 500; n++)
		printf "peer=%04d%039d= allowed=10.99.%d.%d/32 allowed=fd99::%x/128\n", n, 0, n / 250, n % 250, n }')
	# shellcheck disable=SC2046,SC2086
	is '500 peers are added' "$(up a "$dev_a" a $(peer_b) $crowd)" \
		'added=500 changed=0 removed=0 addrs=0 routes=1000 device=0 link=0'
	# shellcheck disable=SC2046,SC2086
	is 'and all are as wanted' "$(up a "$dev_a" a $(peer_b) $crowd)" "$zero"
	is 'wg reads what the room reads, 501 peers' "$(read_as_dump a "$dev_a")" "$(wg_dump a "$dev_a")"
	# shellcheck disable=SC2046
	is 'and are removed' "$(up a "$dev_a" a $(peer_b))" \
		'added=0 changed=0 removed=500 addrs=0 routes=1000 device=0 link=0'
	is 'beside the same session' "$(handshake)" "$hs"
}

# What others did to the device is undone; what is not the overlay's stays.
drift() {
	# ours becomes a secondary address: it goes when the stranger goes
	in_ns a ip addr del 100.64.0.1/24 dev "$dev_a"
	in_ns a ip addr add 100.64.0.77/24 dev "$dev_a"
	in_ns a ip addr add 100.64.0.1/24 dev "$dev_a"
	in_ns a ip link set "$dev_a" mtu 1300
	in_ns a ip route add 198.51.100.0/24 dev "$dev_a"
	in_ns a wg set "$dev_a" peer "$pub_b" allowed-ips 100.64.0.2/32,0.0.0.0/0
	# shellcheck disable=SC2046
	like 'drift is corrected' "$(up a "$dev_a" a $(peer_b))" 'added=0 changed=1 removed=0 addrs=2 routes=0 device=0 link=1'
	is 'the addresses are back' "$(ip_of a "$dev_a")" '100.64.0.1/24 fd64::1/64 '
	is 'the allowed addresses are back' "$(in_ns a wg show "$dev_a" allowed-ips)" "$pub_b	100.64.0.2/32 fd64::2/128"
	# shellcheck disable=SC2046
	is 'then nothing differs' "$(up a "$dev_a" a $(peer_b))" "$zero"
	check 'and traffic passes' in_ns a ping_ -c 1 -W 3 100.64.0.2
}

# Peer b moves to another port: a learns it from b's packets.
roaming() {
	mkfifo "$TMP/again"
	# shellcheck disable=SC2046
	up a "$dev_a" a $(peer_b) again=1 <"$TMP/again" >"$TMP/again.out" &
	exec 9>"$TMP/again"
	eventually 5 test -s "$TMP/again.out"
	in_ns b wg set "$dev_b" listen-port 40404
	in_ns b ping_ -c 1 -W 3 100.64.0.1 >/dev/null 2>&1
	is 'the device learned the new endpoint' "$(endpoint)" 10.9.0.2:40404
	echo >&9
	wait $!
	exec 9>&-
	rm "$TMP/again"
	is 'the same wish again leaves it' "$(sed -n 2p "$TMP/again.out")" "$zero"
	# shellcheck disable=SC2046
	is 'so does a new process while the session lives' "$(up a "$dev_a" a $(peer_b))" "$zero"
	is 'the endpoint is the learned one' "$(endpoint)" 10.9.0.2:40404
	in_ns b wg set "$dev_b" listen-port 51820
	in_ns b ping_ -c 1 -W 3 100.64.0.1 >/dev/null 2>&1
}

# Debian 13's wireguard-go (20231211) loses every other packet once an endpoint changed from IPv4 to IPv6, also when `wg
# set` alone does it; 20220316 and the kernel's WireGuard do not.
loses_after_family_change() {
	[ "$backend" = wireguard-go ] && [ "$(wireguard-go --version 2>&1 | sed -n 's/.*v0\.0\.\([0-9]*\).*/\1/p;q')" -ge 20230000 ]
}

# 1420 inside, 80 of WireGuard over IPv6: exactly the 1500 of the underlay.
outer_ipv6() {
	up a "$dev_a" a >/dev/null
	# shellcheck disable=SC2046
	like 'an endpoint over IPv6' "$(up a "$dev_a" a $(peer_b '[fd09::2]:51820'))" 'added=1 *'
	if loses_after_family_change; then
		skip 'ping over it' 'this wireguard-go loses packets after a change of family'
		skip 'a full packet passes it' 'this wireguard-go loses packets after a change of family'
	else
		check 'ping over it' eventually 10 in_ns a ping_ -c 1 -W 1 100.64.0.2
		check 'a full packet passes it' in_ns a ping_ -c 1 -W 3 -s 1372 fd64::2
	fi
	is 'the endpoint is it' "$(endpoint)" '[fd09::2]:51820'
	up a "$dev_a" a >/dev/null
	# shellcheck disable=SC2046
	up a "$dev_a" a $(peer_b) >/dev/null
	check 'and back' eventually 10 in_ns a ping_ -c 1 -W 1 100.64.0.2
}

rekey() {
	# shellcheck disable=SC2046
	like 'another private key' "$(up a "$dev_a" a2 $(peer_b))" 'added=0 changed=0 removed=0 addrs=0 routes=0 device=1 link=0'
	check_not 'the old session is worth nothing' in_ns b ping_ -c 1 -W 1 100.64.0.1
	# shellcheck disable=SC2046
	is 'the other node learns it' "$(up b "$dev_b" b $(peer_a "$pub_a2"))" \
		'added=1 changed=0 removed=1 addrs=0 routes=0 device=0 link=0'
	check 'ping with the new key' eventually 10 in_ns b ping_ -c 1 -W 1 100.64.0.1
}

refusals() {
	like 'the own key as a peer' "$(up a "$dev_a" a2 peer="$pub_a2" allowed=100.64.0.9/32)" '*own key*'
	# shellcheck disable=SC2046
	like 'an address with two owners' "$(up a "$dev_a" a2 $(peer_b) peer="$pub_c" allowed=fd64::2/128)" '*given twice*'
	# shellcheck disable=SC2046
	is 'neither changed anything' "$(up a "$dev_a" a2 $(peer_b))" "$zero"
	like 'a veth is not taken' "$(in_ns a "$probe" open va 2>&1)" '*no WireGuard device*'
	like 'nor destroyed' "$(in_ns a "$probe" down va 2>&1)" '*not removed*'
	[ "$backend" = kernel ] || like 'a backend that it is not' \
		"$(in_ns a "$probe" open "$dev_a" backend=kernel 2>&1)" '*exists with backend wireguard-go, wanted kernel'
	like 'a name that is a path' "$(in_ns a "$probe" open ../x 2>&1)" '*not an interface name*'
}

restart() {
	index=$(in_ns a cat "/proc/net/dev_snmp6/$dev_a" | awk '$1 == "ifIndex" { print $2 }')
	is 'open adopts the running device' "$(in_ns a "$probe" open "$dev_a")" "backend=$backend ifindex=$index"
	check 'destroy' in_ns a "$probe" down "$dev_a"
	check 'the link is gone' gone a "$dev_a"
	check_not 'its socket is gone' test -e "/var/run/wireguard/$dev_a.sock"
	check_not 'its process is gone' runs "$dev_a"
	check 'destroy of nothing' in_ns a "$probe" down "$dev_a"
	# root without root's powers: only CAP_NET_ADMIN, as the daemon runs
	check 'created and set with CAP_NET_ADMIN alone' in_ns a setpriv --securebits=+noroot --inh-caps=-all,+net_admin \
		--ambient-caps=-all,+net_admin --bounding-set=-all,+net_admin "$probe" up "$dev_a" backend="$backend" \
		key="$TMP/a.key" port=51820 addr=100.64.0.1/24
	check 'destroy again' in_ns a "$probe" down "$dev_a"
}

# The text socket lives in the mount namespace: two network namespaces cannot use one name.
userspace_only() {
	like 'a name that another namespace has' "$(in_ns a "$probe" open "$dev_b" backend=wireguard-go 2>&1)" \
		'*network namespace has no such link*'
	check 'is left alone by destroy' in_ns a "$probe" down "$dev_b"
	in_ns a ip tuntap add "$dev_b" mode tun
	like 'nor is a TUN of that name taken for it' "$(in_ns a "$probe" open "$dev_b" 2>&1)" '*another network namespace*'
	like 'nor destroyed' "$(in_ns a "$probe" down "$dev_b" 2>&1)" '*another network namespace*'
	in_ns a ip tuntap del "$dev_b" mode tun
	in_ns a ip tuntap add "$dev_a" mode tun
	like 'a TUN without a socket' "$(in_ns a "$probe" open "$dev_a" 2>&1)" '*nobody answers*'
	in_ns a ip tuntap del "$dev_a" mode tun
	check 'the other device still works' in_ns b "$probe" read "$dev_b"

	in_ns a "$probe" open "$dev_a" backend=wireguard-go >/dev/null
	pid=$(ps -e -o pid=,args= | awk -v d="$dev_a" '$2 == "wireguard-go" && $4 == d { print $1 }')
	is 'only CAP_NET_ADMIN, and nothing to gain' "$(awk '/^Cap(Prm|Bnd|Amb)|^NoNewPrivs/ { printf "%s ", $2 }' "/proc/$pid/status")" \
		'0000000000001000 0000000000001000 0000000000001000 1 '
	kill -9 "$pid"
	check 'a killed wireguard-go takes the link along' eventually 5 gone a "$dev_a"
	check 'and leaves its socket' test -S "/var/run/wireguard/$dev_a.sock"
	check 'which is no obstacle' in_ns a "$probe" open "$dev_a" backend=wireguard-go
	pid=$(ps -e -o pid=,args= | awk -v d="$dev_a" '$2 == "wireguard-go" && $4 == d { print $1 }')
	kill -9 "$pid"
	eventually 5 gone a "$dev_a"
	check 'and is removed by destroy' in_ns a "$probe" down "$dev_a"
	check_not 'so nothing stays' test -e "/var/run/wireguard/$dev_a.sock"
	like 'without wireguard-go in PATH' "$(in_ns a env PATH=/nowhere "$probe" open "$dev_a" backend=wireguard-go 2>&1)" \
		'*: no wireguard-go in PATH'
}

# $1: a backend. Fresh namespaces, the same parts.
suite() {
	backend=$1
	dev_a=bya$U dev_b=byb$U
	note "backend $backend"
	ns_add a b
	at_end "rm -f /var/run/wireguard/$dev_a.sock /var/run/wireguard/$dev_b.sock"
	veth a va 10.9.0.1/24,fd09::1/64 b vb 10.9.0.2/24,fd09::2/64
	birth
	traffic
	reconcile
	many
	drift
	roaming
	outer_ipv6
	rekey
	refusals
	restart
	[ "$backend" = kernel ] || userspace_only
	check 'destroy of the other node' in_ns b "$probe" down "$dev_b"
	ns_del a
	ns_del b
}

has_kernel() {
	ip link add "byk$U" type wireguard 2>/dev/null && ip link del "byk$U"
}

[ -c /dev/net/tun ] || load tun
ran=
if has_kernel; then
	ran=1
	suite kernel
fi
if command -v wireguard-go >/dev/null && [ -c /dev/net/tun ]; then
	ran=1
	suite wireguard-go
fi
[ "$ran" ] || skip_all 'needs WireGuard in the kernel, or wireguard-go and /dev/net/tun'
done_testing
