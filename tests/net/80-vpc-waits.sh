#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# A newcomer that waits for longer than its certificate lives, and a node whose control plane is away for longer: both come in with
# the certificate that they have by then. What `bailey up` says of a node that does not join.
. tests/net/lib.sh
any_kernel "what TLS and the control plane ask for; the nodes' packets are those of 20-daemon"
need ip nsenter jq
need_file "$BUILD/bailey-vpc" 'run make'
need_file "$BUILD/bailey-agent" 'run make'

dir=$TMP
prefix=$T
host_of() { case $1 in s) echo 2 ;; a) echo 3 ;; b) echo 4 ;; esac; }
netns_of() { echo "/var/run/netns/$(ns "$1")"; }
# shellcheck source=tests/net/nodes-lib.sh
. tests/net/nodes-lib.sh
# shellcheck source=tests/net/vpc-lib.sh
. tests/net/vpc-lib.sh
ifname_of() { echo "by$U-$(host_of "$1")"; }
node() { "$bailey" node "$@" --socket "$dir/run/ctl.sock"; }
serves() { eventually 20 node list; }
up() { status_has "$1" .vpc.connected; }
has_addresses() { status_has "$1" '.overlay.addresses | length > 0'; }
has_reason() { status_has "$1" ".refusals[] | select(.reason == \"$2\")"; }

load wireguard tun sch_ingress cls_bpf bridge veth
ns_add hub s a b
bridge hub br0
for n in s a b; do
	veth_bridge $n eth0 "$(underlay_of $n)/24" hub br0
done
make_root || exit 1
chmod 711 "$dir"
identity s "$control" "$(printf '%040d' 99)"
write_members_policy
write_members_admission
echo '{"name":"waits"}' >"$dir/compose.json"

# --- certificates of an agent that live half a minute, the shortest there are ----------------------------------------------------
start_agent() { # NODE
	"$BUILD/bailey-agent" --state "$dir/agent-$1" --compose "$dir/compose.json" --app-id "$member" --instance-id "$(instance_of "$1")" \
		--tee sim --sim-root "$dir/root" --listen "$dir/$1.agent" >>"$dir/agent-$1.log" 2>&1 &
	echo $! >"$dir/agent-$1.pid"
	at_end "end_pid $dir/agent-$1.pid"
}
for n in a b; do
	start_agent $n
	node_config $n web-$n "$(at_server)"
	sed -i "s|^identity:.*|identity: { agent: $n.agent, lifetime: 30 }|" "$dir/$n.yaml"
	at_end "take_down $n"
done
server_config 'approve: true'
at_end stop_server
start_server
check 'the control plane starts' serves
for n in a b; do eventually 20 test -S "$dir/$n.agent"; done

start_node a
check 'a newcomer waits' eventually 20 has_reason a NOT_APPROVED
check 'who is approved joins' node approve web-a
check 'as its next attempt shows' eventually 60 up a
start_node b
check 'another one waits' eventually 20 has_reason b NOT_APPROVED
stop_server
kill "$(cat "$dir/a.pid")"
wait "$(cat "$dir/a.pid")"
start_node a
check 'a node starts without its control plane' eventually 20 has_addresses a
check 'and says in words that nobody is there' eventually 20 sh -c "'$bailey' status --instance '$prefix-a' | grep -q 'Connection refused'"
sleep 35 # both certificates of the start have ended
start_server
serves
check 'it comes back with the certificate that it has now' eventually 90 up a
check 'the one that waited still does' eventually 90 sh -c "'$bailey' node list --socket '$dir/run/ctl.sock' | grep -q 'web-b *pending'"
check 'and is approved' node approve web-b
check 'and joins, its first certificate long over' eventually 90 up b
is 'nobody came with a certificate that had ended' "$(grep -c CERT_VALIDITY "$dir/vpc.log")" 0
done_testing
