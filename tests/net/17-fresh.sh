#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Two nodes that get certificate and key from bailey-agent (sim), as docs/agent.md tells a newcomer to set them up.
. tests/net/lib.sh
need ip nsenter jq curl wg openssl
need_file "$BUILD/baileyd" 'run make'
need_file "$BUILD/bailey-agent" 'run make'

dir=$TMP
prefix=$T
agent=$PWD/$BUILD/bailey-agent
host_of() { case $1 in a) echo 2 ;; b) echo 3 ;; esac; }
netns_of() { echo "/var/run/netns/$(ns "$1")"; }
# shellcheck source=tests/net/nodes-lib.sh
. tests/net/nodes-lib.sh
ifname_of() { echo "by$U-$(host_of "$1")"; }

load wireguard tun sch_ingress cls_bpf bridge veth
ns_add hub a b
bridge hub br0
for n in a b; do
	veth_bridge $n eth0 "$(underlay_of $n)/24" hub br0
done
make_root || exit 1

cat >"$dir/policy.yaml" <<-END
	version: 1
	apps: { demo: { app-id: $(app_of web) } }
	rules:
	  - { name: everything, from: any-attested, to: any-attested, allow: [any] }
END

start_agent() { # NODE [OPTION...]
	node=$1
	shift
	mkdir -p "$dir/sockets-$node"
	printf '{"name":"%s","runner":"docker-compose"}' "$node" >"$dir/compose-$node.json"
	"$agent" --state "$dir/agent-$node" --compose "$dir/compose-$node.json" --tee sim --sim-root "$dir/root" \
		--listen "$dir/sockets-$node/dstack.sock" --tappd "$dir/sockets-$node/tappd.sock" "$@" \
		>>"$dir/agent-$node.log" 2>&1 &
	echo $! >"$dir/agent-$node.pid"
}

configure() { # NODE SOCKET LIFETIME PEER [LINE]
	cat >"$dir/$1.yaml" <<-END
	instance: $prefix-$1
	node: $1
	policy: policy.yaml
	state: state-$1
	identity: { agent: sockets-$1/$2, lifetime: $3 }
	trust: { allow_simulated: true, simulated_roots: root/root.pem }
	overlay:
	  interface: $(ifname_of "$1")
	  private_key: $1.wgkey
	  networks: [100.64.0.0/10, "fdba:11e7::/48"]
	  addresses: [$(overlay_of "$1"), "$(overlay6_of "$1")"]
	  endpoints: ["$(underlay_of "$1"):51820"]
	exchange:
	  listen: ["$(underlay_of "$1"):7946"]
	  peers: ["$(underlay_of "$4"):7946"]
	${5:-}
	END
}

up() { # NODE
	at_end "take_down $1"
	start_node "$1"
}

own_cert() { jq -r .cert "$dir/state-$1/self.record" | base64 -d; }
issuer_of() { own_cert "$1" | openssl x509 -inform DER -noout -issuer; }
key_of() { own_cert "$1" | openssl x509 -inform DER -noout -pubkey | sha256sum; }
has_changed() { [ "$(key_of "$1")" != "$2" ]; }
refused() { status_of "$1" | jq -e ".refusals[] | select(.text | test(\"$2\"))" >/dev/null; }

# --- identity from the agent -------------------------------------------------------------------------------------------
configure a dstack.sock 30 b
configure b tappd.sock 86400 a
at_end "end_pid $dir/agent-a.pid"
at_end "end_pid $dir/agent-b.pid"
start_agent a
up a
up b
check 'without its agent a node says what it misses' eventually 10 refused b 'socket: No such file'
start_agent b
check 'and comes up when the agent does' eventually 20 knows b 1
check 'the other knows it' eventually 20 knows a 1
check 'and they reach each other' eventually 10 ping_from a "$(overlay_of b)"
like 'the certificate is the agent'\''s' "$(issuer_of a)" '*Dstack App CA*'
like 'so is that of legacy calls' "$(issuer_of b)" '*Dstack App CA*'
is 'the app-id is that of the compose file' "$(status_of b | jq -r '.peers[0].app_id')" "$(sha256sum <"$dir/compose-a.json" | cut -c 1-40)"
check_not 'no file has the key' grep -rlq 'PRIVATE KEY' "$dir/state-a" "$dir/state-b"

# --- renewal -----------------------------------------------------------------------------------------------------------
old=$(key_of a)
# shellcheck disable=SC2046 # two words
in_ns a $(command -v ping || echo busybox ping) -q -w 25 "$(overlay_of b)" >"$dir/ping.out" 2>&1 &
pinging=$!
check 'before a certificate ends there is another' eventually 30 has_changed a "$old"
new=$(key_of a)
a_is_new_at_b() { [ "$(jq -r .cert "$dir/state-b/records/"*.record | base64 -d | openssl x509 -inform DER -noout -pubkey | sha256sum)" = "$new" ]; }
check 'which the peer takes' eventually 10 a_is_new_at_b
wait $pinging
like 'no packet is lost over it' "$(cat "$dir/ping.out")" '* 0% packet loss*'
is 'nothing was refused at the peer for it' "$(status_of b | jq '[.refusals[] | select(.reason != "")] | length')" 0

# --- an agent that turns bad -------------------------------------------------------------------------------------------
end_pid "$dir/agent-a.pid"
start_agent a --instance-id "$(instance_of b)"
check 'an agent that answers for another instance is refused' eventually 30 refused a 'another app or instance'
check 'the node goes on as it was' knows b 1
check 'and reaches the other' ping_from a "$(overlay_of b)"
end_pid "$dir/agent-a.pid"
start_agent a
old=$(key_of a)
check 'with its own agent it renews again' eventually 40 has_changed a "$old"
done_testing
