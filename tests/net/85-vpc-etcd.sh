#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# One network with three control planes on an etcd of three members: joining anywhere, revoking anywhere, a server killed under
# a storm of joins, a server cut off from etcd.
. tests/net/lib.sh
any_kernel "control planes and etcd; the nodes' packets are those of 80-vpc"
need ip nsenter jq wg pgrep curl openssl etcd
need_file "$BUILD/bailey-vpc" 'run make'
need_file "$BUILD/tests/net/joiners" 'run make tests'

dir=$TMP
prefix=$T
joiners=$PWD/$BUILD/tests/net/joiners
host_of() { case $1 in a) echo 3 ;; b) echo 4 ;; c) echo 5 ;; j) echo 6 ;; s1) echo 11 ;; s2) echo 12 ;; s3) echo 13 ;; esac; }
etcd_of() { echo "10.98.0.$(host_of "$1")"; }
netns_of() { echo "/var/run/netns/$(ns "$1")"; }
# shellcheck source=tests/net/nodes-lib.sh
. tests/net/nodes-lib.sh
# shellcheck source=tests/net/vpc-lib.sh
. tests/net/vpc-lib.sh
ifname_of() { echo "by$U-$(host_of "$1")"; }
chmod 711 "$TMP"

# Nodes and control planes on one network, etcd on another, so that a control plane can lose the one and keep the other.
load wireguard tun sch_ingress cls_bpf bridge veth
ns_add hub s1 s2 s3 a b c j
bridge hub br0
bridge hub br1
for n in s1 s2 s3 a b c j; do
	veth_bridge $n eth0 "$(underlay_of $n)/24" hub br0
done
for n in s1 s2 s3; do
	veth $n eth1 "$(etcd_of $n)/24" hub "q-$n" ''
	in_ns hub ip link set "q-$n" master br1
done
make_root || exit 1
storm_app=$(printf '5b%.0s' $(seq 20))
for n in s1 s2 s3; do identity $n "$control"; done
for n in a b c; do identity $n "$member"; done

# --- etcd, with certificates on both sides -------------------------------------------------------------------------------------
mkdir "$dir/tls"
ca() { # NAME
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj "/CN=$1" -keyout "$dir/tls/$1.key" -out "$dir/tls/$1.pem" 2>/dev/null
}
tls() { # NAME IP: the gateway talks to its own server with the server's certificate
	openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$1" -keyout "$dir/tls/$1.key" -out "$dir/tls/$1.csr" 2>/dev/null
	printf 'subjectAltName=IP:%s\nextendedKeyUsage=serverAuth,clientAuth\n' "$2" >"$dir/tls/$1.ext"
	openssl x509 -req -in "$dir/tls/$1.csr" -CA "$dir/tls/ca.pem" -CAkey "$dir/tls/ca.key" -CAcreateserial -days 2 \
		-extfile "$dir/tls/$1.ext" -out "$dir/tls/$1.pem" 2>/dev/null
}
ca ca
ca other
for n in s1 s2 s3; do tls $n "$(etcd_of $n)"; done
tls client 127.0.0.1
cluster="s1=https://$(etcd_of s1):2380,s2=https://$(etcd_of s2):2380,s3=https://$(etcd_of s3):2380"
start_etcd() { # SERVER
	t=$dir/tls
	nsenter --net="$(netns_of "$1")" etcd --name "$1" --data-dir "$dir/etcd-$1" --heartbeat-interval 250 --election-timeout 2500 \
		--listen-client-urls "https://$(etcd_of "$1"):2379" --advertise-client-urls "https://$(etcd_of "$1"):2379" \
		--cert-file "$t/$1.pem" --key-file "$t/$1.key" --client-cert-auth --trusted-ca-file "$t/ca.pem" \
		--listen-peer-urls "https://$(etcd_of "$1"):2380" --initial-advertise-peer-urls "https://$(etcd_of "$1"):2380" \
		--peer-cert-file "$t/$1.pem" --peer-key-file "$t/$1.key" --peer-client-cert-auth --peer-trusted-ca-file "$t/ca.pem" \
		--initial-cluster "$cluster" --initial-cluster-token "$T" >>"$dir/etcd-$1.log" 2>&1 &
	echo $! >"$dir/etcd-$1.pid"
}
ask_etcd() { # PATH JSON
	in_ns s1 curl -sS --max-time 5 --cacert "$dir/tls/ca.pem" --cert "$dir/tls/client.pem" --key "$dir/tls/client.key" "https://$(etcd_of s1):2379/v3/$1" -d "$2"
}
# Every row that etcd has, one JSON object a line.
rows() {
	ask_etcd kv/range "{\"key\":\"$(printf '/bailey/net/data/node/' | base64)\",\"range_end\":\"$(printf '/bailey/net/data/node0' | base64)\"}" |
		jq -r '.kvs[]?.value | @base64d'
}
healthy() { ask_etcd kv/txn '{}' | jq -e .succeeded >/dev/null; }

# --- three control planes ------------------------------------------------------------------------------------------------------
printf 'simulated: true\n' >"$dir/evidence.yaml"
cat >"$dir/admit.yaml" <<-END
	version: 1
	apps:
	  control: { app-id: $control }
	  member: { app-id: $member, require: { simulated: true } }
	  storm: { app-id: $storm_app, require: { simulated: true } }
	rules:
	  - { name: may-join, from: member, to: control, allow: [tcp/7947] }
	  - { name: storm-too, from: storm, to: control, allow: [tcp/7947] }
END
write_members_policy
config_of() { # SERVER [CA]
	others=$(for o in s1 s2 s3; do [ $o = "$1" ] || printf ', "https://%s:2379"' "$(etcd_of $o)"; done)
	cat >"$dir/$1.yaml" <<-END
	version: 1
	listen: $(underlay_of "$1"):7947
	state: $dir/state-$1
	run: $dir/run-$1
	identity: { certificate: $dir/$1.pem, key: $dir/$1.key }
	evidence: { policy: $dir/evidence.yaml, simulated_roots: $dir/root/root.pem }
	admit: $dir/admit.yaml
	store:
	  etcd:
	    endpoints: ["https://$(etcd_of "$1"):2379"$others]
	    ca: $dir/tls/${2:-ca}.pem
	    certificate: $dir/tls/client.pem
	    key: $dir/tls/client.key
	    prefix: /bailey/net
	END
}
start() { # SERVER
	nsenter --net="$(netns_of "$1")" "$vpc" --config "$dir/$1.yaml" >>"$dir/$1.log" 2>&1 &
	echo $! >"$dir/$1.vpc.pid"
}
node() { # SERVER COMMAND...
	at=$1
	shift
	"$bailey" node "$@" --socket "$dir/run-$at/ctl.sock"
}
about() { curl -s --max-time 10 --unix-socket "$dir/run-$1/ctl.sock" http://vpc/v1/status | jq -r "$2"; }
answers() { node "$1" list --json >/dev/null 2>&1; }
fresh() { [ "$(about "$1" .etcd.fresh)" = true ]; }
stale() { [ "$(about "$1" .etcd.fresh)" = false ]; }
sees_servers() { [ "$(about "$1" '.etcd.servers | length')" = "$2" ]; }
for n in s1 s2 s3; do
	config_of $n
	at_end "end_pid $dir/$n.vpc.pid"
	start $n
done
check 'a server that is there before etcd waits' eventually 5 grep -q 'waits for etcd' "$dir/s1.log"
like 'and changes nothing' "$(node s1 revoke web-1 2>&1)" '*waits for etcd*'
for n in s1 s2 s3; do
	at_end "end_pid $dir/etcd-$n.pid -KILL"
	start_etcd $n
done
check 'etcd has a leader' eventually 30 healthy
is 'and wants a certificate' "$(in_ns s1 curl -s -o /dev/null --max-time 5 --cacert "$dir/tls/ca.pem" "https://$(etcd_of s1):2379/v3/kv/txn" -d '{}' && echo open)" ''
for n in s1 s2 s3; do check "server $n serves" eventually 20 fresh $n; done
check 'each sees all' eventually 10 sees_servers s1 3
is 'of one network' "$(for n in s1 s2 s3; do about $n .network; done | sort -u | wc -l)" 1
like 'metrics count them' "$(curl -s --unix-socket "$dir/run-s1/ctl.sock" http://vpc/metrics)" '*bailey_vpc_servers 3*bailey_vpc_fresh 1*'
like 'a copy is etcd'"'"'s to make' "$("$vpc" backup --config "$dir/s1.yaml" --out "$dir/copy" 2>&1)" '*etcdctl snapshot save*'
is 'there is no file' "$(ls "$dir/state-s1")" ''
store=$(pgrep -P "$(cat "$dir/s1.vpc.pid")" | tail -n 1)
is 'the process that talks to etcd has no capability, and a list of system calls' "$(awk '/^CapEff:/ { print $2 } /^Uid:/ { print ($2 != 0) } /^Seccomp:/ { print $2 }' "/proc/$store/status" | tr '\n' ' ')" '1 0000000000000000 2 '
config_of s1 other
sed "s|^listen:.*|listen: $(underlay_of s1):7948|; s|^run:.*|run: $dir/run-other|" "$dir/s1.yaml" >"$dir/other.yaml"
like 'an etcd of another CA is none' "$(in_ns s1 timeout 3 "$vpc" --config "$dir/other.yaml" 2>&1)" '*waits for etcd: https://*certificate*'

# --- nodes, each at another server ---------------------------------------------------------------------------------------------
config() { # NODE NAME SERVER...
	n=$1 name=$2
	shift 2
	node_config "$n" "$name" "records: { directory: records-$n }" \
		"vpc: { servers: [$(for s; do printf '"%s:7947", ' "$(underlay_of "$s")"; done | sed 's/, $//')], app: $control }"
}
has_reason() { status_has "$1" ".refusals[] | select(.reason == \"$2\" and .age_s < 10)"; }
is_at() { status_has "$1" ".vpc | select(.connected and .server == \"$(underlay_of "$2"):7947\")"; }
address_of() { status_of "$1" | jq -r '.overlay.addresses[0]'; }
knows_node() { status_has "$1" ".peers[] | select(.node == \"$2\")"; }
forgot() { [ "$(status_of "$1" | jq "[.peers[] | select(.node == \"$2\")] | length")" = 0 ]; }
for n in a b c; do at_end "take_down $n"; done
config a web-1 s1 s2
config b web-2 s3 s1
config c web-3 s3
start_node a
start_node b
check 'a node joins at one server' wait_until 20 is_at a s1
check 'another at another' wait_until 20 is_at b s3
check 'the first hears of it' wait_until 5 knows a 1
check 'and it of the first' wait_until 5 knows b 1
check 'they reach each other' eventually 10 ping_from a "$(address_of b)"
is 'their addresses differ' "$(printf '%s\n' "$(address_of a)" "$(address_of b)" | sort -u | wc -l)" 2
addr_b=$(address_of b)
begin=$(date +%s%N)
check 'a node is revoked at a third server' node s2 revoke web-2
check 'one at the first knows it no more' eventually 5 forgot a web-2
note "revoked at one server and gone at a node of another within $((($(date +%s%N) - begin) / 1000000)) ms, the asking included"
check_not 'no packet passes' ping_from a "$addr_b"
check 'it learns so from its own server' eventually 10 has_reason b RECORD_REVOKED
check 'approved at the first' node s1 approve web-2
check 'it comes back' wait_until 40 knows a 1

# --- a server dies under a storm -------------------------------------------------------------------------------------------------
all=$(for s in s1 s2 s3; do printf '%s:7947,' "$(underlay_of $s)"; done)
storm=150
nsenter --net="$(netns_of j)" "$joiners" "${all%,}" $storm 60 "$dir/root" "$dir/root/root.pem" >"$TMP/storm" 2>&1 &
storm_pid=$!
at_end "kill $storm_pid"
count() { grep -c "^$1" "$TMP/storm"; }
under_way() { [ "$(count taken)" -ge $((storm / 4)) ]; }
check 'many join at all servers' eventually 30 under_way
for p in $(pgrep -P "$(cat "$dir/s2.vpc.pid")") $(cat "$dir/s2.vpc.pid"); do kill -9 "$p"; done
note "killed one server when $(count taken) of $storm had been acknowledged"
rm -f "$dir/s2.vpc.pid"
check 'a server is killed, and all have joined' wait "$storm_pid"
rows >"$TMP/rows"
note "$(count taken) acknowledgements, $(count refused) failed connections, $(wc -l <"$TMP/rows") rows"
# Each record that was acknowledged is in etcd, or a later one that was acknowledged to the same node.
awk '$1 == "taken" { last[$2] = $3 } END { for (n in last) print n, last[n] }' "$TMP/storm" | sort >"$TMP/acknowledged"
jq -r 'select(.name // "" | startswith("storm-")) | "\(.name) \(.digest)"' "$TMP/rows" | sort >"$TMP/kept"
is 'no acknowledged record is lost' "$(comm -23 "$TMP/acknowledged" "$TMP/kept" | wc -l) of $(wc -l <"$TMP/acknowledged")" "0 of $storm"
# Each address that was granted is the one that its node has.
awk '$1 == "granted" { print $2, $3 }' "$TMP/storm" | sort -u >"$TMP/granted"
jq -r 'select(.name // "" | startswith("storm-")) | "\(.name) 100.64.\(.number / 256 | floor).\(.number % 256)"' "$TMP/rows" | sort >"$TMP/numbers"
is 'nor any grant' "$(comm -3 "$TMP/granted" "$TMP/numbers" | wc -l)" 0
unique() {
	jq -s -r '[map(.number), map(.instance), map(.name | select(. != null)), map(.wg_key | select(. != null))] |
		map(length > 0 and length == (unique | length) | tostring) | join(",")' "$TMP/rows"
}
is 'no number, instance, name or key is there twice' "$(unique)" true,true,true,true
start s2
check 'the server comes back' eventually 20 fresh s2
state_at() { node "$1" list --json | jq -c '[.[] | [.instance_id, .node, .state, .addresses, .serial]] | sort'; }
same_state() { [ "$(state_at "$1" | md5sum)" = "$(state_at "$2" | md5sum)" ]; }
check 'with what the others know' eventually 5 same_state s1 s2

# --- a server and its member are cut off from the others -------------------------------------------------------------------------
in_ns hub ip link set q-s3 down
begin=$(date +%s)
start_node c
check 'the majority goes on: it revokes' eventually 10 node s1 revoke storm-1
check 'who is cut off ends its sessions' wait_until 20 has_reason b SERVER_STALE
note "ended after $(($(date +%s) - begin)) s"
check 'and its node goes to another server' wait_until 10 is_at b s1
check 'it says that it serves nobody' stale s3
check 'a newcomer is refused' wait_until 10 has_reason c SERVER_STALE
like 'nothing can be changed there' "$(node s3 revoke web-1 2>&1)" '*https://*:2379*'
is 'nor was it' "$(node s1 list --json | jq -r '.[] | select(.node == "web-1") | .state')" member
check 'nodes go on' ping_from a "$(address_of b)"
in_ns hub ip link set q-s3 up
check 'it is back by itself' eventually 30 fresh s3
check 'with one state' eventually 10 same_state s1 s3
is 'in which is what the majority did' "$(node s3 list --json | jq -r '.[] | select(.node == "storm-1") | .state')" revoked
check 'and serves the newcomer' wait_until 40 is_at c s3
check 'whom the others know' wait_until 10 knows_node a web-3
rows >"$TMP/rows"
is 'still nothing is there twice' "$(unique)" true,true,true,true

# --- a store process that hangs can not put it off ---------------------------------------------------------------------------------
store=$(pgrep -P "$(cat "$dir/s3.vpc.pid")" | tail -n 1)
kill -STOP "$store"
check 'a server whose store hangs ends its sessions, too' wait_until 15 has_reason c SERVER_STALE
kill -CONT "$store"
check 'and serves again' wait_until 40 is_at c s3

done_testing
