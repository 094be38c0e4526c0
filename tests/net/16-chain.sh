#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The whole way of an identity: a KMS that proves itself, guest agents that take keys and certificates from it by their
# evidence, two nodes that take theirs from the agents, and a packet between them. What the KMS does not allow has no way.
. tests/net/lib.sh
any_kernel "a KMS, certificates and keys; the nodes' packets are those of 20-daemon"
need ip nsenter jq curl wg openssl
need_file "$BUILD/bailey-kms" 'run make'
need_file "$BUILD/bailey-agent" 'run make'

dir=$TMP
prefix=$T
agent=$PWD/$BUILD/bailey-agent
kms=$PWD/$BUILD/bailey-kms
host_of() { case $1 in kms) echo 1 ;; a) echo 2 ;; b) echo 3 ;; esac; }
netns_of() { echo "/var/run/netns/$(ns "$1")"; }
# shellcheck source=tests/net/nodes-lib.sh
. tests/net/nodes-lib.sh
ifname_of() { echo "by$U-$(host_of "$1")"; }

load wireguard tun sch_ingress cls_bpf bridge veth
ns_add hub kms a b
bridge hub br0
for n in kms a b; do
	veth_bridge $n eth0 "$(underlay_of $n)/24" hub br0
done
chmod 711 "$TMP"
make_root || exit 1

agent_up() { # NAME [OPTION...]: its compose file and socket are NAME's
	name=$1
	shift
	mkdir -p "$dir/sockets-$name"
	printf '{"name":"%s","runner":"docker-compose"}' "$name" >"$dir/compose-$name.json"
	nsenter --net="$(netns_of "$name")" "$agent" --state "$dir/agent-$name" --compose "$dir/compose-$name.json" \
		--tee sim --sim-root "$dir/root" --listen "$dir/sockets-$name/dstack.sock" "$@" >>"$dir/agent-$name.log" 2>&1 &
	echo $! >"$dir/agent-$name.pid"
	at_end "end_pid $dir/agent-$name.pid"
	eventually 10 curl -s -o "$TMP/out" --unix-socket "$dir/sockets-$name/dstack.sock" http://dstack/Version
}

node_up() { # NODE PEER
	cat >"$dir/$1.yaml" <<-END
	instance: $prefix-$1
	node: $1
	policy: policy.yaml
	state: state-$1
	identity: { agent: sockets-$1/dstack.sock }
	trust: { allow_simulated: true, simulated_roots: root/root.pem }
	overlay:
	  interface: $(ifname_of "$1")
	  private_key: $1.wgkey
	  networks: [100.64.0.0/10, "fdba:11e7::/48"]
	  addresses: [$(overlay_of "$1"), "$(overlay6_of "$1")"]
	  endpoints: ["$(underlay_of "$1"):51820"]
	exchange: { listen: ["$(underlay_of "$1"):7946"], peers: ["$(underlay_of "$2"):7946"] }
	END
	at_end "take_down $1"
	start_node "$1"
}

compose_hash_of() { printf '{"name":"%s","runner":"docker-compose"}' "$1" | sha256sum | cut -c 1-64; }
app_id_of() { compose_hash_of "$1" | cut -c 1-40; }

# --- the KMS, which allows a and not b -------------------------------------------------------------------------------
printf 'simulated: true\n' >"$dir/evidence.yaml"
allow() { # NAME...
	printf 'version: 1\napps:\n' >"$dir/allow.yaml"
	for name; do
		echo "  $(app_id_of "$name"): { compose_hashes: [$(compose_hash_of "$name")] }" >>"$dir/allow.yaml"
	done
}
allow a
cat >"$dir/kms.yaml" <<-END
	version: 1
	listen: $(underlay_of kms):8000
	domain: kms.internal
	state: $dir/kms
	agent: $dir/sockets-kms/dstack.sock
	seal: agent
	evidence: { policy: $dir/evidence.yaml, simulated_roots: $dir/root/root.pem }
	authorize: { allow: $dir/allow.yaml }
END
cat >"$dir/policy.yaml" <<-END
	version: 1
	apps: { a: { app-id: $(app_id_of a) }, b: { app-id: $(app_id_of b) } }
	rules:
	  - { name: both, from: [a, b], to: [a, b], allow: [icmp, icmpv6] }
END
check 'the KMS has an agent' agent_up kms
check 'makes its keys' in_ns kms "$kms" bootstrap --config "$dir/kms.yaml"
nsenter --net="$(netns_of kms)" "$kms" --config "$dir/kms.yaml" >>"$dir/kms.log" 2>&1 &
echo $! >"$dir/kms.pid"
at_end "end_pid $dir/kms.pid"
from_kms="--kms https://$(underlay_of kms):8000 --kms-ca $dir/kms/root-ca.pem"
check 'and answers' eventually 10 in_ns a curl -sk -m 2 -o "$TMP/out" "https://$(underlay_of kms):8000/health"

# shellcheck disable=SC2086 # words
check 'an app that it allows has its keys' agent_up a $from_kms
# shellcheck disable=SC2086
check_not 'one that it does not allow has none' agent_up b $from_kms
like 'and says why' "$(cat "$dir/agent-b.log")" '*KMS refuses: Boot denied*'
end_pid "$dir/agent-b.pid"

# --- two nodes -------------------------------------------------------------------------------------------------------
allow a b
kill -HUP "$(cat "$dir/kms.pid")"
# shellcheck disable=SC2086
check 'allowed by a person, it has' agent_up b $from_kms
node_up a b
node_up b a
check 'the nodes find each other' eventually 20 knows a 1
check 'both of them' eventually 20 knows b 1
check 'and speak' eventually 10 ping_from a "$(overlay_of b)"
own_cert() { jq -r .cert "$dir/state-$1/self.record" | base64 -d; }
own_cert a | openssl x509 -inform DER -out "$dir/leaf.pem"
curl -s --unix-socket "$dir/sockets-a/dstack.sock" 'http://dstack/GetTlsKey?subject=x' | jq -r '.certificate_chain[1]' >"$dir/ca.pem"
check 'the certificate of a node leads to the KMS' openssl verify -CAfile "$dir/kms/root-ca.pem" -untrusted "$dir/ca.pem" "$dir/leaf.pem"
is 'its app is what the evidence proves' "$(status_of b | jq -r '.peers[0].app_id')" "$(app_id_of a)"
like 'everything issued is in the log' "$("$kms" audit verify --state "$dir/kms")" '*records*'
end_pid "$dir/kms.pid"
check 'the KMS gone, they go on' ping_from a "$(overlay_of b)"
done_testing
