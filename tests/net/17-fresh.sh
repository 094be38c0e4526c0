#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Two nodes that get certificate and key from bailey-agent (sim), as docs/agent.md tells a newcomer to set them up. Then
# live proofs (freshness), and a relay that has a node's certificate and key but not its machine.
. tests/net/lib.sh
any_kernel "certificates and live proofs; the nodes' packets are those of 20-daemon"
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
refused() { status_has "$1" ".refusals[] | select(.text | test(\"$2\"))"; }

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

# --- live proofs -------------------------------------------------------------------------------------------------------
restart() { # NODE LINE...: with these lines in its configuration
	end_pid "$dir/$1.pid"
	node=$1
	shift
	printf '%s\n' "$@" >>"$dir/$node.yaml"
	start_node "$node"
}
peer_of() { status_of "$1" | jq -r ".peers[0].$2"; }
# shellcheck disable=SC2317 # called through check
forgets() { [ "$(status_of "$1" | jq '.peers | length')" = 0 ]; }
# has_reason NODE REASON [SECONDS]: refused so, lately
has_reason() { status_has "$1" ".refusals[] | select(.reason == \"$2\" and .age_s < ${3:-5})"; }

configure a dstack.sock 86400 b 'freshness: { level: quote, max_age: 15 }'
configure b tappd.sock 86400 a 'freshness: { level: key, max_age: 15 }'
restart a
restart b
check 'with live proofs they find each other' eventually 20 knows a 1
check 'both of them' eventually 20 knows b 1
is 'one has a quote of the other' "$(peer_of a freshness)" quote
is 'which has a signature of it, as it wants' "$(peer_of b freshness)" key
check 'a proof is good for fifteen seconds' [ "$(peer_of a evidence_expires_in_s)" -le 15 ]
like 'people see it' "$("$bailey" status --instance "$prefix-a" | grep ' b ')" '*evidence * left, quote proved * ago*'
like 'metrics too' "$("$bailey" metrics --instance "$prefix-a")" '*bailey_evidence_expires_seconds{node="b"} *'
# shellcheck disable=SC2046 # two words
in_ns a $(command -v ping || echo busybox ping) -q -w 20 "$(overlay_of b)" >"$dir/ping.out" 2>&1
like 'it is renewed again and again without a packet lost' "$(cat "$dir/ping.out")" '* 0% packet loss*'
check 'and is never older than that' [ "$(peer_of a proved_s_ago)" -lt 15 ]
end_pid "$dir/a.pid"
end_pid "$dir/b.pid"
start_node a
check 'after a restart the proof of before still counts' eventually 4 knows a 1
start_node b
check 'the other is back too' eventually 20 knows b 1

end_pid "$dir/agent-b.pid"
check 'a node whose machine does not answer is cut off when its proof ends' eventually 25 forgets a
check 'by that name' eventually 10 has_reason a FRESH_LEVEL 60
check_not 'no packet passes' ping_from a "$(overlay_of b)"
mkdir "$dir/carried"
cp "$dir/state-b/self.record" "$dir/carried/b.record"
restart a 'records: { directory: carried }'
check 'nor does its record help, which is good by itself' eventually 10 has_reason a FRESH_MISSING

# --- a relay: the certificate and key of b's agent in its hands, b's machine not ------------------------------------------
start_agent b
eventually 10 [ -S "$dir/sockets-b/dstack.sock" ]
eventually 10 knows a 1
curl -s --unix-socket "$dir/sockets-b/dstack.sock" 'http://dstack/GetTlsKey?usage_ra_tls=true' >"$dir/stolen"
jq -r .key "$dir/stolen" >"$dir/relay.key"
jq -r '.certificate_chain[0]' "$dir/stolen" >"$dir/relay.pem"
end_pid "$dir/b.pid"
sed -i 's/^identity:.*/identity: { certificate: relay.pem, key: relay.key }/' "$dir/b.yaml"
start_node b
check 'a relay is refused where a quote is demanded' eventually 25 has_reason a FRESH_LEVEL
check 'and the node that it plays is cut off' eventually 25 forgets a
end_pid "$dir/a.pid"
sed -i 's/level: quote/level: off/' "$dir/a.yaml"
start_node a
check 'where nothing live is demanded it passes: that is what the level is for' eventually 20 knows a 1
done_testing
