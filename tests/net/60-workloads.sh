#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Machines behind one host: web on a veth, db and vm on a bridge (vm by a tap, as a virtual machine is), and rogue on the
# same bridge, which nobody vouches for and nobody guards. What passes, what each of them tries in somebody else's name,
# and what becomes of it when processes, devices and records come and go.
. tests/net/lib.sh
need ip nsenter jq curl wg python3
need_file "$BUILD/baileyd" 'run make'

dir=$TMP
prefix=$T
host_of() { case $1 in host) echo 1 ;; web) echo 10 ;; db) echo 11 ;; vm) echo 12 ;; late) echo 13 ;; esac; }
netns_of() { echo "/var/run/netns/$(ns "$1")"; }
# shellcheck source=tests/net/nodes-lib.sh
. tests/net/nodes-lib.sh
ifname_of() { echo "by$U-$(host_of "$1")"; }
app_of() { printf '%040d' "7$(host_of "$1")"; }
tapguest=$PWD/$BUILD/tests/net/tapguest

load wireguard tun tap sch_ingress cls_bpf bridge veth 8021q
ns_add host web db vm rogue late
set_up host lo 10.99.0.1/32 # where nobody comes

# --- policy and identities -----------------------------------------------------------------------------------------------
write_policy() { # PORT: of web on vm
	cat >"$dir/policy.yaml" <<-END
	version: 1
	apps:
	  hosting: { app-id: '$(app_of host)' }
	  web: { app-id: '$(app_of web)' }
	  db: { app-id: '$(app_of db)' }
	  vm: { app-id: '$(app_of vm)' }
	  late: { app-id: '$(app_of late)' }
	rules:
	  - { name: web-to-host, from: web, to: hosting, allow: [tcp/80] }
	  - { name: host-pings, from: hosting, to: any-attested, allow: [icmp, icmpv6] }
	  - { name: vm-to-db, from: vm, to: db, allow: [tcp/5432, udp/53, icmp, icmpv6] }
	  - { name: late-to-web, from: late, to: web, allow: [tcp/$1] }
	END
}
write_policy 8080
make_root || exit 1
for n in host web db vm late; do
	"$bailey" dev-identity issue --root "$dir/root" --app-id "$(app_of $n)" --instance-id "$(instance_of $n)" --name $n \
		--out "$dir/$n" >/dev/null
done
write_config host policy.yaml 3600
sed -i '/^  peers:/d' "$dir/host.yaml"
sign() { # NODE OPTION...: its record, where the host reads
	node=$1
	shift
	"$bailey" record sign --cert "$dir/$node.pem" --key "$dir/$node.key" --node "$node" \
		--wg-key "$("$bailey" genkey | "$bailey" pubkey)" --addr "$(overlay_of "$node")" --addr "$(overlay6_of "$node")" \
		"$@" --out "$dir/records-host/$node.record" >/dev/null
}
for n in web db vm; do sign $n; done
cat >>"$dir/host.yaml" <<-END
	workloads:
	  - { name: web, interface: p-web, instance: '$(instance_of web)', mac: '02:00:00:00:00:0a' }
	  - { name: db, interface: p-db, instance: '$(instance_of db)' }
	  - { name: vm, interface: p-vm, instance: '$(instance_of vm)' }
END

# --- cables --------------------------------------------------------------------------------------------------------------
# The kernel's own help against spoofing is off: what is refused here, Bailey refuses.
in_ns host sh -c 'for f in /proc/sys/net/ipv4/conf/*/rp_filter; do echo 0 >$f; done
	echo 1 >/proc/sys/net/ipv4/ip_forward; echo 1 >/proc/sys/net/ipv6/conf/all/forwarding'
bridge host br0
make_web() {
	veth web eth0 '' host p-web ''
	in_ns web ip link set eth0 address 02:00:00:00:00:0a
}
make_web
veth_bridge db eth0 '' host br0
veth_bridge rogue eth0 '' host br0
spawn host "$tapguest" p-vm "$(netns_of vm)"
eventually 5 in_ns vm ip link show eth0 >/dev/null 2>&1 || skip_all 'no tap devices here'
in_ns host ip link set p-vm up master br0
set_up vm eth0

# addressed NODE: its own addresses, everything else by the host.
addressed() {
	set_up "$1" eth0 "$(overlay_of "$1")/32" "$(overlay6_of "$1")/128"
	in_ns "$1" ip route replace "$(overlay_of host)" dev eth0
}
for n in web db vm; do addressed $n; done
by_host() { # NODE: what is not its own is the host's to route, which asks for it as itself
	set_up host "p-$1" "$(overlay_of host)/32" "$(overlay6_of host)/128"
	in_ns "$1" ip route replace default via "$(overlay_of host)" dev eth0
	in_ns "$1" ip -6 route replace "$(overlay6_of host)" dev eth0
	in_ns "$1" ip -6 route replace default via "$(overlay6_of host)" dev eth0
}
by_host web
bridged() { # NODE OTHER: on one bridge, at hand
	in_ns "$1" ip route replace "$(overlay_of "$2")" dev eth0
	in_ns "$1" ip -6 route replace "$(overlay6_of "$2")" dev eth0
}
bridged db vm
bridged vm db
at_end 'take_down host'
host_routes() {
	in_ns host ip route replace "$(overlay_of web)/32" dev p-web src "$(overlay_of host)"
	in_ns host ip -6 route replace "$(overlay6_of web)/128" dev p-web
	for n in db vm; do
		in_ns host ip route replace "$(overlay_of $n)/32" dev br0 src "$(overlay_of host)"
		in_ns host ip -6 route replace "$(overlay6_of $n)/128" dev br0
	done
}

# --- helpers ---------------------------------------------------------------------------------------------------------------
sock=/run/bailey/$prefix-host/ctl.sock
host() { # COMMAND...: asks the host's daemon
	command=$1
	shift
	"$bailey" "$command" --instance "$prefix-host" "$@"
}
workload() { # ACTION ARGUMENT...
	"$bailey" workload --instance "$prefix-host" "$@"
}
of() { workload list --json | jq -r ".[] | select(.name == \"$1\") | $2"; }
guarded() { [ "$(of "$1" '.attach != "none" and .verified')" = true ]; }
dropped() { of "$1" "[.drops[] | select(.dir == \"$2\" and .reason == \"$3\") | .packets] | add // 0"; }
tcp_ok() { in_ns "$1" "$talk" ask tcp "$2" "$3"; }
udp_ok() { in_ns "$1" "$talk" ask udp "$2" "$3"; }
refused() { # WORDS COMMAND...
	refused_words=$1
	shift
	"$@" >"$TMP/refusal" 2>&1 && return 1
	grep -qF -- "$refused_words" "$TMP/refusal" || {
		cat "$TMP/refusal"
		return 1
	}
}

# attacked NAME WORKLOAD DIR REASON COMMAND...: the command has no answer, and its packets were dropped there as REASON.
attacked() {
	at_name=$1 at_who=$2 at_dir=$3 at_reason=$4
	shift 4
	at_had=$(dropped "$at_who" "$at_dir" "$at_reason")
	check_not "$at_name" "$@"
	at_now=$(dropped "$at_who" "$at_dir" "$at_reason")
	check "  dropped $at_dir as $at_reason" test "${at_now:-0}" -gt "${at_had:-0}"
}

# as NODE ADDRESS COMMAND...: with an address that is not its own, for as long as the command runs.
# shellcheck disable=SC2317 # called through attacked
as() {
	as_node=$1 as_addr=$2
	shift 2
	case $as_addr in *:*) as_flag=nodad ;; *) as_flag= ;; esac
	# shellcheck disable=SC2086
	in_ns "$as_node" ip addr add "$as_addr" dev eth0 $as_flag
	"$@"
	as_status=$?
	in_ns "$as_node" ip addr del "$as_addr" dev eth0
	return $as_status
}

start_node host
check 'web is guarded' wait_until 30 guarded web
check 'db is guarded' wait_until 30 guarded db
check 'vm is guarded' wait_until 30 guarded vm
host_routes
spawn host "$talk" echo 80
spawn host "$talk" echo 8080
for n in web db vm; do
	spawn $n "$talk" echo 5432
	spawn $n "$talk" echo 8080
	spawn $n "$talk" echo 53
done
note "programs by $(of web .attach)"

# --- host and machine, by policy --------------------------------------------------------------------------------------------
check 'the host pings a machine on a veth' eventually 10 ping_from host "$(overlay_of web)"
check 'over IPv6' eventually 5 ping_from host "$(overlay6_of web)"
check 'in fragments' ping_from host "$(overlay_of web)" -s 3000
check 'and those over IPv6' ping_from host "$(overlay6_of web)" -s 3000
check 'a machine on a bridge port' eventually 5 ping_from host "$(overlay_of db)"
check 'a machine on a tap' eventually 5 ping_from host "$(overlay_of vm)"
check 'a machine reaches the host where a rule says so' tcp_ok web "$(overlay_of host)" 80
attacked 'but not on another port' web out POLICY_DENY tcp_ok web "$(overlay_of host)" 8080
attacked 'nor does the host reach it on one' web in POLICY_DENY tcp_ok host "$(overlay_of web)" 5432
attacked 'nor at the address of its underlay' web out NO_IDENTITY tcp_ok web 10.99.0.1 80

# --- machine and machine ------------------------------------------------------------------------------------------------------
check 'two machines on a bridge talk by a rule' eventually 5 tcp_ok vm "$(overlay_of db)" 5432
check 'over IPv6' eventually 5 tcp_ok vm "$(overlay6_of db)" 5432
check 'over UDP' udp_ok vm "$(overlay_of db)" 53
check 'in fragments' ping_from vm "$(overlay_of db)" -s 3000
attacked 'without a rule they do not' vm out POLICY_DENY tcp_ok vm "$(overlay_of db)" 8080
attacked 'nor in the other direction' db out POLICY_DENY tcp_ok db "$(overlay_of vm)" 5432
attacked 'nor over IPv6' db out POLICY_DENY tcp_ok db "$(overlay6_of vm)" 5432
attacked 'nor by way of the host' web out POLICY_DENY tcp_ok web "$(overlay_of db)" 5432
is 'the drop names machine, node and nearest rule' \
	"$(host drops --json | jq -r '[.[] | select(.workload == "db" and .reason == "POLICY_DENY")] | last | "\(.interface) \(.src.node) \(.dst.node)"')" \
	'p-db db vm'
like 'a flow names its machine' "$(host flows --json --interface p-db)" '*"workload":*"db"*'
check 'metrics name them' sh -c "'$bailey' metrics --instance '$prefix-host' >'$TMP/metrics' &&
	grep -q '^bailey_workload_guarded{workload=\"vm\",interface=\"p-vm\"} 1' '$TMP/metrics' &&
	grep -q '^bailey_workload_packets_total{workload=\"db\",dir=\"out\",reason=\"POLICY_DENY\"} [1-9]' '$TMP/metrics'"
like 'status shows them' "$(host status)" '*workloads behind this host*web*p-web*POLICY_DENY*vm*p-vm*'

# --- in somebody else's name ----------------------------------------------------------------------------------------------------
attacked 'a machine with another source, IPv4' vm out SPOOFED \
	as vm "$(overlay_of web)/32" ping_from vm "$(overlay_of db)" -I "$(overlay_of web)"
attacked 'IPv6' vm out SPOOFED as vm "$(overlay6_of web)" ping_from vm "$(overlay6_of db)" -I "$(overlay6_of web)"
attacked 'in fragments' vm out SPOOFED \
	as vm "$(overlay_of web)/32" ping_from vm "$(overlay_of db)" -I "$(overlay_of web)" -s 3000
attacked 'as the host' db out SPOOFED \
	as db 100.64.0.1/32 in_ns db ping_ -c 1 -W 1 -I 100.64.0.1 "$(overlay_of vm)"
in_ns db ip neigh flush dev eth0
in_ns db ip route del "$(overlay_of vm)"
attacked 'ARP in the name of another' db out ARP_SPOOF as db 100.64.0.99/24 ping_from db "$(overlay_of vm)" -I 100.64.0.99
attacked 'neighbour discovery in the name of another' db out ARP_SPOOF \
	as db fdba:11e7::99/64 ping_from db fdba:11e7::98 -I fdba:11e7::99
bridged db vm
in_ns web ip link set eth0 address 02:00:00:00:00:bb
attacked 'another MAC than its own' web out SPOOFED tcp_ok web "$(overlay_of host)" 80
in_ns web ip link set eth0 address 02:00:00:00:00:0a
check 'its own again' eventually 5 tcp_ok web "$(overlay_of host)" 80

# frame NODE HEX: as it is, from the machine's own MAC.
frame() {
	in_ns "$1" python3 -c 'import socket, sys
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
s.bind(("eth0", 0))
s.send(b"\xff" * 6 + s.getsockname()[4] + bytes.fromhex(sys.argv[1]).ljust(60, b"\0"))
' "$2"
	return 1 # no answer is waited for
}
attacked 'a VLAN tag' db out VLAN frame db 810000070800
attacked 'the priority tag' db out VLAN frame db 810000000800
attacked 'two of them' db out VLAN frame db 88a80007810000080800
attacked 'a frame of no protocol that is known' db out NOT_IP frame db 88cc
attacked 'a gratuitous ARP for the host' db out ARP_SPOOF \
	frame db "080600010800060400020200000000bb64400001ffffffffffff64400001"

# rogue sits on the same bridge, where nothing guards its port: what it says must not be believed by those that are guarded.
in_ns rogue ip addr add "$(overlay_of vm)/32" dev eth0
in_ns rogue ip route add "$(overlay_of db)" dev eth0 src "$(overlay_of vm)"
db_mac=$(in_ns db ip -j link show eth0 | jq -r '.[0].address')
in_ns rogue ip neigh replace "$(overlay_of db)" dev eth0 lladdr "$db_mac"
attacked 'an unguarded port with the source of a machine' db in SPOOFED tcp_ok rogue "$(overlay_of db)" 5432
attacked 'in fragments' db in SPOOFED ping_from rogue "$(overlay_of db)" -s 3000
in_ns rogue ip neigh del "$(overlay_of db)" dev eth0
attacked 'ARP for it' db in ARP_SPOOF tcp_ok rogue "$(overlay_of db)" 5432
in_ns rogue ip addr flush dev eth0
set_up rogue eth0 "$(overlay_of host)/32"
in_ns rogue ip route add "$(overlay_of db)" dev eth0 src "$(overlay_of host)"
in_ns rogue ip neigh replace "$(overlay_of db)" dev eth0 lladdr "$db_mac"
attacked 'with the source of the host' db in SPOOFED ping_from rogue "$(overlay_of db)"
in_ns rogue ip addr flush dev eth0
set_up rogue eth0 10.98.0.2/24 "$(overlay_of vm)/32"
in_ns host ip addr add 10.98.0.1/24 dev br0
in_ns rogue ip route replace "$(overlay_of web)" via 10.98.0.1 src "$(overlay_of vm)"
attacked 'routed by the host' web in SPOOFED ping_from rogue "$(overlay_of web)"
check 'vm still reaches db' eventually 5 tcp_ok vm "$(overlay_of db)" 5432

# --- a device that goes and comes again --------------------------------------------------------------------------------------------
in_ns host ip link del p-web
check 'a device that is gone is said' wait_until 5 sh -c "'$bailey' workload list --instance '$prefix-host' | grep -q 'NOT GUARDED.*no such device'"
make_web
addressed web
by_host web
check 'and guarded when it comes again' wait_until 5 guarded web
host_routes
check 'with the same policy' eventually 5 tcp_ok web "$(overlay_of host)" 80
attacked 'both ways' web out POLICY_DENY tcp_ok web "$(overlay_of host)" 8080
check 'and its place' ping_from host "$(overlay_of web)"

# --- a daemon that goes and comes again -------------------------------------------------------------------------------------------
# hold FILE: a connection from vm to db that says what is written to FILE; answers are in FILE.echo.
hold() {
	mkfifo "$1"
	sleep 1000 >"$1" &
	at_end "kill $!"
	nsenter --net="$(netns_of vm)" "$talk" hold "$(overlay_of db)" 5432 <"$1" >"$1.echo" 2>/dev/null &
	at_end "kill $!"
	sleep 0.5
}
hold "$TMP/in"
echo before >"$TMP/in"
check 'a connection between two machines' eventually 5 grep -q before "$TMP/in.echo"
kill -9 "$(cat "$dir/host.pid")"
sleep 0.5
echo without >"$TMP/in"
check 'goes on without the daemon' eventually 5 grep -q without "$TMP/in.echo"
check_not 'and what had no rule has none' tcp_ok vm "$(overlay_of db)" 8080
start_node host
check 'the daemon is back' wait_until 30 guarded vm
echo after >"$TMP/in"
check 'and the connection still goes on' eventually 5 grep -q after "$TMP/in.echo"
attacked 'what had no rule has none' vm out POLICY_DENY tcp_ok vm "$(overlay_of db)" 8080

# --- machines that come and go while the daemon runs ----------------------------------------------------------------------------------
veth late eth0 '' host p-late ''
addressed late
by_host late
in_ns host ip route replace "$(overlay_of late)/32" dev p-late src "$(overlay_of host)"
check 'one is added' workload add late p-late "$(instance_of late)"
like 'nothing is known of it' "$(workload list)" "*late*p-late*no verified record*$(instance_of late)*"
attacked 'so nothing passes' late in NO_POLICY ping_from host "$(overlay_of late)"
sign late
check 'its record comes' host reload
check 'and counts' wait_until 5 guarded late
check 'now it is reached' eventually 5 ping_from host "$(overlay_of late)"
check 'it reaches another by a rule' eventually 5 tcp_ok late "$(overlay_of web)" 8080
attacked 'and not without one' late out POLICY_DENY tcp_ok late "$(overlay_of web)" 5432
check 'a reload that knows nothing of it leaves it' host reload
check 'it is still there' guarded late
end_pid "$dir/host.pid"
start_node host
check 'also after a restart' wait_until 30 guarded late
check 'and reaches what it may' eventually 5 tcp_ok late "$(overlay_of web)" 8080
write_policy 5432
check 'a new policy is for it too' host reload
check 'it decides' eventually 5 tcp_ok late "$(overlay_of web)" 5432
check_not 'and the old one does not' tcp_ok late "$(overlay_of web)" 8080

check 'a name that is taken' refused 'there is a workload of this name' workload add web p-x "$(printf '%040d' 5)"
check 'an interface that is taken' refused "leads to workload 'db'" workload add x p-db "$(printf '%040d' 5)"
check 'an instance that is taken' refused "is workload 'vm' already" workload add x p-x "$(instance_of vm)"
check 'the overlay' refused "is the overlay's" workload add x "$(ifname_of host)" "$(printf '%040d' 5)"
check 'a name that is none' refused "needs 1 to 15 of a-z" workload add Web p-x "$(printf '%040d' 5)"
check 'an instance that is none' refused 'needs the instance-id of its record, 40 hex digits' workload add x p-x web
check 'a MAC of many' refused 'needs the address of one machine' workload add x p-x "$(printf '%040d' 5)" --mac 01:00:00:00:00:01
check 'a tag that is none' refused 'vlan' workload add x p-x "$(printf '%040d' 5)" --vlan seven
check 'to remove what the file has' refused 'take it out there and reload' workload remove web
check 'to remove nobody' refused 'there is no workload of this name' workload remove nobody
check 'no argument' refused 'usage: bailey workload' workload
is 'a body that is none is 422' "$(curl -s -o /dev/null -w '%{http_code}' --unix-socket "$sock" -d '{}' http://localhost/v1/workloads/add)" 422

check 'one is removed' workload remove late
is 'and gone' "$(of late .name)" ''
check_not 'its pins too' test -e "$(pins_of host)/w-late"
in_ns host ip link show p-late >"$TMP/out" 2>&1
check 'its device is not guarded any more' in_ns late ping_ -c 1 -W 2 "$(overlay_of host)"

sed -i '/name: vm,/d' "$dir/host.yaml"
check 'one leaves the file' host reload
is 'and is gone' "$(of vm .name)" ''
attacked 'the others do not believe what comes from its port' db in SPOOFED tcp_ok vm "$(overlay_of db)" 5432
echo "  - { name: vm, interface: p-vm, instance: '$(instance_of vm)' }" >>"$dir/host.yaml"
check 'and comes back' host reload
check 'guarded' wait_until 5 guarded vm
check 'as before' eventually 5 tcp_ok vm "$(overlay_of db)" 5432
cp "$dir/host.yaml" "$dir/host.good"
echo "  - { name: vm2, interface: p-vm, instance: '$(printf '%040d' 6)' }" >>"$dir/host.yaml"
check 'a file that has one device twice is refused' refused "interface 'p-vm' leads to 'vm' already" host reload
check 'and changes nothing' tcp_ok vm "$(overlay_of db)" 5432
cp "$dir/host.good" "$dir/host.yaml"

# --- a record that ends -----------------------------------------------------------------------------------------------------------------
hold "$TMP/in2"
echo held >"$TMP/in2"
check 'a connection' eventually 5 grep -q held "$TMP/in2.echo"
# else, where all takes long, vm asks for its neighbour anew: ARP is dropped for another reason
in_ns vm ip neigh replace "$(overlay_of db)" dev eth0 lladdr "$db_mac" nud permanent
# No command signs for less than an hour: a daemon of vm's does, where it disturbs nobody.
write_config vm policy.yaml $((30 * PATIENCE))
sed -i '/^exchange:/,$d' "$dir/vm.yaml"
nsenter --net="$(netns_of late)" "$baileyd" -c "$dir/vm.yaml" >"$dir/vm.log" 2>&1 &
echo $! >"$dir/vm.pid"
check 'a record that ends soon' wait_until 10 test -s "$dir/state-vm/self.record"
end_pid "$dir/vm.pid"
in_ns late "$baileyd" -c "$dir/vm.yaml" --down
rm -rf "/run/bailey/$prefix-vm"
cp "$dir/state-vm/self.record" "$dir/records-host/vm.record"
check 'takes the place of the other' host reload
check 'with its end' wait_until 5 sh -c "[ \"\$('$bailey' status --instance '$prefix-host' --json |
	jq '.peers[] | select(.node == \"vm\") | .expires_in_s')\" -le $((30 * PATIENCE)) ]"
check 'it ends' wait_until 45 sh -c "[ \"\$('$bailey' workload list --json --instance '$prefix-host' |
	jq '.[] | select(.name == \"vm\") | .verified')\" = false ]"
had=$(dropped vm out SPOOFED)
echo revoked >"$TMP/in2"
sleep 1
check_not 'its connection is dead' grep -q revoked "$TMP/in2.echo"
check 'dropped as nobody' test "$(dropped vm out SPOOFED)" -gt "$had"
attacked 'nothing new passes' vm out SPOOFED tcp_ok vm "$(overlay_of db)" 5432
check_not 'nor to it' ping_from host "$(overlay_of vm)"

# --- taken down -------------------------------------------------------------------------------------------------------------------------
end_pid "$dir/host.pid"
check 'down' in_ns host "$baileyd" -c "$dir/host.yaml" --down
check_not 'leaves no pin' test -e "/sys/fs/bpf/bailey/$prefix-host"
done_testing
