#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# dstack-vpc's REST API through bailey-mesh: its answers, who may ask, whose is what; and pre-auth keys, with which a node
# joins where newcomers wait; server and nodes by dstack-vpc's environment.
. tests/net/lib.sh
need ip nsenter jq curl setpriv wg python3 openssl pgrep
need_file "$BUILD/bailey-vpc" 'run make'
need_file "$BUILD/bailey-kms" 'run make'

dir=$TMP
prefix=$T
host_of() { case $1 in s) echo 2 ;; a) echo 3 ;; b) echo 4 ;; x) echo 5 ;; v) echo 6 ;; w) echo 7 ;; u) echo 8 ;; esac; }
netns_of() { echo "/var/run/netns/$(ns "$1")"; }
# shellcheck source=tests/net/nodes-lib.sh
. tests/net/nodes-lib.sh
# shellcheck source=tests/net/vpc-lib.sh
. tests/net/vpc-lib.sh
# shellcheck source=tests/net/node-mesh-lib.sh
. tests/net/node-mesh-lib.sh
ifname_of() { echo "by$U-$(host_of "$1")"; }

load wireguard tun sch_ingress cls_bpf bridge veth
ns_add hub s a b x u
bridge hub br0
for n in s a b x u; do
	veth_bridge $n eth0 "$(underlay_of $n)/24" hub br0
done
make_root || exit 1
stranger=$(app_of intruder)
identity s "$control" "$(printf '%040d' 99)"
identity a "$member" "$(instance_of a)"
identity b "$member" "$(instance_of b)"
identity x "$stranger" "$(instance_of x)"
write_members_admission
write_members_policy

# --- the control plane, and meshes -------------------------------------------------------------------------------------------
# mesh's user is one whom nobody else here runs as
server_config 'approve: true' "api: { apps: [$member], mesh_user: daemon, shared_key: $dir/shared_key, lease: 3600 }"
serve() {
	start_server
	eventually 20 "$bailey" node list --socket "$dir/run/ctl.sock"
}
mesh_conf s any-attested <<-END
	user: daemon
	server: { services: [{ name: vpc, listen: "$(underlay_of s):443", host: vpc-server, http: "unix:$dir/run/api.sock", headers: [instance] }] }
END
for n in a b x; do
	mesh_conf $n any-attested <<-END
		client: { listen: ["127.0.0.1:8091"], gateway: direct/$(underlay_of s) }
	END
done

# api NODE PATH [CURL-OPTION...]: as an application of NODE; the body, and behind it the status
api() {
	api_node=$1 api_path=$2
	shift 2
	in_ns "$api_node" curl -s -m 10 -w ' %{http_code}' -H "x-dstack-target-app: $control" -H 'Host: vpc-server' "$@" "http://127.0.0.1:8091$api_path"
}
# local_ USER PATH [CURL-OPTION...]: on the control plane's own machine, past the mesh
local_() {
	local_user=$1 local_path=$2
	shift 2
	in_ns s setpriv --reuid "$local_user" --clear-groups curl -s -m 5 -w ' %{http_code}' --unix-socket "$dir/run/api.sock" "$@" "http://vpc-server$local_path"
}
key() { "$bailey" authkey "$@" --socket "$dir/run/ctl.sock"; }
status() { curl -s --unix-socket "$dir/run/ctl.sock" http://vpc/v1/status | jq -c "$1"; }

at_end stop_server
check 'a configuration is checked' "$vpc" check --config "$dir/vpc.yaml"
check_not 'which makes no shared key' test -e "$dir/shared_key"
sed 's|shared_key: [^,]*|shared_key: /dev/null|' "$dir/vpc.yaml" >"$dir/bad.yaml"
like 'a shared key that others may read is none' "$("$vpc" check --config "$dir/bad.yaml" 2>&1)" '*/dev/null*mode 0600*'
sed 's|apps: [^,]*|apps: [web]|' "$dir/vpc.yaml" >"$dir/bad.yaml"
like 'apps are ids' "$("$vpc" check --config "$dir/bad.yaml" 2>&1)" "*needs any, or a list of app-ids*web*"
check 'the control plane starts' serve
for n in s a b x; do mesh_start $n; done
for n in s a b x; do check "the mesh of $n starts" eventually 20 mesh_ready $n; done
eventually 20 api a /health >"$TMP/out"

# --- answers ---------------------------------------------------------------------------------------------------------------------
is '/health' "$(api a /health)" 'OK 200'
is '/api/ping' "$(api a /api/ping)" 'pong 200'
is 'no nodes' "$(api a /api/nodes)" '{"count":0,"nodes":null} 200'
is 'none of a type' "$(api a /api/discover/mongodb)" '{"error":"No mongodb nodes found"} 404'
is 'an update without uuid' "$(api a /api/nodes/update -X POST)" '{"error":"uuid parameter is required"} 400'
is 'an update' "$(api a '/api/nodes/update?uuid=u-a&node_type=mongodb&hostname=db-0' -X POST)" '{"status":"created"} 200'
is 'another' "$(api a '/api/nodes/update?uuid=u-a&tailscale_ip=192.0.2.7' -X POST --data '{"uuid":"not-read"}')" '{"status":"updated"} 200'
is 'discovery' "$(api b /api/discover/mongodb)" '{"count":1,"node_type":"mongodb","nodes":[{"hostname":"db-0","tailscale_ip":"192.0.2.7","uuid":"u-a"}]} 200'
is 'etcd has a port' "$(api b '/api/nodes/update?uuid=u-b&node_type=etcd&hostname=e-0' -X POST) $(api a /api/discover/etcd)" '{"status":"created"} 200 {"count":1,"node_type":"etcd","nodes":[{"hostname":"e-0","hostname_with_port":"e-0:2379","tailscale_ip":null,"uuid":"u-b"}]} 200'
is 'all nodes' "$(api a /api/nodes)" '{"count":2,"nodes":[{"uuid":"u-a","name":"u-a","node_type":"mongodb","tailscale_ip":"192.0.2.7","actual_hostname":"db-0"},{"uuid":"u-b","name":"u-b","node_type":"etcd","tailscale_ip":null,"actual_hostname":"e-0"}]} 200'
is 'elsewhere there is nothing' "$(api a /api/else)" '404 page not found 404'
is 'a key without an instance' "$(api a /api/register)" '{"error":"Missing required parameters"} 400'
api a "/api/register?instance_id=$(instance_of a)&node_name=web-1" -o "$dir/boot" >"$TMP/out"
is 'a registration' "$(cat "$TMP/out") $(jq -c keys_unsorted "$dir/boot")" ' 200 ["pre_auth_key","shared_key","server_url"]'
is 'the shared key is the file' "$(jq -r .shared_key "$dir/boot")" "$(cat "$dir/shared_key")"
is 'and has 64 bytes' "$(base64 -d "$dir/shared_key" | wc -c) $(stat -c '%U %a' "$dir/shared_key")" '64 root 600'
is 'server_url is where the control plane is' "$(jq -r .server_url "$dir/boot")" "https://$(underlay_of s):7947"

# --- whose is what ----------------------------------------------------------------------------------------------------------------
is "an entry is not its twin's" "$(api b '/api/nodes/update?uuid=u-a&hostname=evil' -X POST)" '{"error":"Forbidden"} 403'
is "nor is another instance's key" "$(api b "/api/register?instance_id=$(instance_of a)")" '{"error":"Forbidden"} 403'
is "nor its address" "$(api b '/api/nodes/update?uuid=u-b&tailscale_ip=100.64.0.1' -X POST)" '{"error":"Forbidden"} 403'
is 'it stayed as it was' "$(api b /api/discover/mongodb | jq -rR 'sub(" 200$"; "") | fromjson | .nodes[0].hostname')" db-0
is 'an app that is not allowed' "$(api x /api/nodes)" '{"error":"Forbidden"} 403'

# --- attacks on x-dstack-app-id --------------------------------------------------------------------------------------------------
is 'what a client says it is, is replaced' "$(api x /api/nodes -H "x-dstack-app-id: $member" -H "X_Dstack_App_Id: $member")" '{"error":"Forbidden"} 403'
is 'also of the instance' "$(api b "/api/register?instance_id=$(instance_of a)" -H "x-dstack-instance-id: $(instance_of a)")" '{"error":"Forbidden"} 403'
is 'the mesh itself says it' "$(local_ daemon /api/ping) $(local_ daemon /api/nodes) $(local_ daemon /api/discover/none -H "x-dstack-app-id: $member")" \
	'pong 200 {"error":"Unauthorized"} 401 {"error":"No none nodes found"} 404'
is 'nobody else on this machine reaches the socket' "$(local_ nobody /api/nodes -H "x-dstack-app-id: $member")" ' 000'
is 'who can, as root, is not heard' "$(local_ root /api/nodes -H "x-dstack-app-id: $member")" '{"error":"Forbidden"} 403'
is 'not even asked for its health' "$(local_ root /health)" '{"error":"Forbidden"} 403'
before=$(key list --json | jq length)
smuggled=$(printf 'GET /api/register?instance_id=%s HTTP/1.1\r\nHost: vpc-server\r\nx-dstack-app-id: %s\r\n\r\n' "$(instance_of x)" "$member")
is 'a request in the body of another is nobody'"'"'s' "$(api x /api/nodes -X GET --data-binary "$smuggled") $(key list --json | jq length)" "{\"error\":\"Forbidden\"} 403 $before"
is 'nor behind it' "$(api a /api/nodes/update?uuid=u-a -X POST --data-binary "$smuggled") $(key list --json | jq length)" "{\"status\":\"updated\"} 200 $before"
is 'what is too long is told so' "$(api a "/api/nodes/update?uuid=$(printf 'u%.0s' $(seq 200))" -X POST)" '{"error":"uuid is malformed"} 400'

# --- pre-auth keys --------------------------------------------------------------------------------------------------------------------
up() { status_has "$1" .vpc.connected; }
reload() { "$bailey" reload --instance "$prefix-$1" 2>&1; }
has_reason() { status_has "$1" ".refusals[] | select(.reason == \"$2\" and .age_s < ${3:-10})"; }
is 'the key is bound, one-time, a day long' "$(key list --json | jq -c '.[] | [.state, .reusable, .ephemeral, .instance_id, .made_by, (.expires_in_s > 86000)]')" \
	"[\"good\",false,false,\"$(instance_of a)\",\"$member\",true]"
jq -r .pre_auth_key "$dir/boot" >"$dir/a.authkey"
at_end 'take_down a'
at_end 'take_down b'
echo 'too short' >"$dir/bad.authkey"
node_config b web-2 "$(at_server 'key: bad.authkey')"
like 'a file that has no key is refused' "$("$baileyd" -c "$dir/b.yaml" 2>&1)" '*bad.authkey*is no pre-auth key*'
node_config b web-2 "$(at_server 'key: a.authkey')"
sed -i 's|^vpc: .*server: "[0-9.]*|vpc: { server: "10.99.0.250|' "$dir/b.yaml"
start_node b
check 'a node whose control plane is not there waits' eventually 20 status_has b '.vpc.connected == false and .ready == false'
node_config b web-2 "$(at_server 'key: a.authkey')"
check 'a reload takes another server, and asks it' reload b
check "another instance's key admits nobody" eventually 20 has_reason b AUTH_KEY
node_config a web-1 "$(at_server 'key: a.authkey')"
start_node a
check 'with its own a node joins where newcomers wait' wait_until 30 up a
is 'and the key is used' "$(key list --json | jq -c '.[] | [.state, .uses, .used_by]')" "[\"used\",1,\"$(instance_of a)\"]"
is 'it may tell its address, and its name' "$(api a "/api/nodes/update?uuid=$(instance_of a)&node_type=app&hostname=web-1.dstack.internal&tailscale_ip=100.64.0.1" -X POST)" '{"status":"created"} 200'
is 'which nobody else may' "$(api b '/api/nodes/update?uuid=u-b&hostname=web-1' -X POST)" '{"error":"Forbidden"} 403'
end_pid "$dir/a.pid"
rm "$dir/a.authkey"
start_node a
check 'a member starts again without its key' wait_until 30 up a
node_config b web-2 "$(at_server 'key: bad.authkey')"
like 'a reload with what is no key is refused' "$(reload b)" '*bad.authkey*is no pre-auth key*'
check 'and changes nothing' has_reason b AUTH_KEY 60
key create --ephemeral --expires 1h --instance "$(instance_of b)" >"$dir/b.authkey"
node_config b web-2 "$(at_server 'key: b.authkey')"
pid_b=$(cat "$dir/b.pid")
check 'a reload takes another key' reload b
check 'a key of people admits, too' wait_until 30 up b
check 'the daemon that was refused' kill -0 "$pid_b"
rm "$dir/b.authkey"
is 'a key that is over is forgotten by a reload, a member stays' "$(reload b && status_of b | jq .vpc.connected)" true
is 'its node is an ephemeral one' "$("$bailey" node list --json --socket "$dir/run/ctl.sock" | jq -c '[.[] | [.node, .ephemeral]]')" '[["web-1",false],["web-2",true]]'
many=$(key create --reusable --json | jq -r .id)
like 'a key is seen' "$(key list)" "*$many  good     reusable*"
like 'and revoked' "$(key revoke "$many")" "$many: revoked*"
like 'which is seen' "$(key list)" "*$many  revoked*"
like 'who is no key is told so' "$(key revoke 00000000 2>&1)" '*there is no such key*'
check_not 'nor is a year and a day' key create --expires 366d
like 'nor 3x, by its name' "$(key create --expires 3x 2>&1)" "*--expires: needs a duration*found '3x'*"
is 'status and metrics' "$(status '[.authkeys, .api.nodes, .api.refused > 5]') $(curl -s --unix-socket "$dir/run/ctl.sock" http://vpc/metrics | grep -c 'bailey_vpc_api_\(nodes\|requests_total\|refused_total\) [1-9]')" '[0,3,true] 3'

# --- bailey up, with a key -------------------------------------------------------------------------------------------------------------
identity u "$member" "$(instance_of u)"
up_name=$prefix-u
# shellcheck disable=SC2317 # called through check, too
up_u() {
	in_ns u "$bailey" up --server "$(underlay_of s):7947" --app "$control" --policy "$dir/policy.yaml" --certificate "$dir/u.pem" \
		--key "$dir/u.key" --simulated-root "$dir/root/root.pem" --endpoint "$(underlay_of u):51820,$(underlay_of u):51821" \
		--name "$up_name" --interface "$(ifname_of u)" --config "$dir/u.yaml" "$@"
}
daemon_of_u() { pgrep -f -x "baileyd -c $dir/u.yaml"; }
daemon_end() {
	pid=$(daemon_of_u) || return 0
	kill "$pid"
	eventually 10 sh -c "! kill -0 $pid 2>/dev/null"
}
up_end() {
	daemon_end
	in_ns u "$baileyd" -c "$dir/u.yaml" --down
	rm -rf "/run/bailey/$up_name" "/var/lib/bailey/$up_name" "/var/log/bailey-$up_name.log"
}
at_end up_end
like 'a key in a file that is not there' "$(up_u --authkey "file:$dir/none" 2>&1)" '*pre-auth key: */none: No such file*'
like 'what is no key' "$(up_u --authkey short 2>&1)" '*pre-auth key: needs 16 to 127 characters*'
check_not 'nothing is written for either' test -e "$dir/u.yaml"
wrong=no-such-key-0123456789
nsenter --net="$(netns_of u)" "$bailey" up --server "$(underlay_of s):7947" --app "$control" --policy "$dir/policy.yaml" --certificate "$dir/u.pem" \
	--key "$dir/u.key" --simulated-root "$dir/root/root.pem" --endpoint "$(underlay_of u):51820,$(underlay_of u):51821" --name "$up_name" \
	--interface "$(ifname_of u)" --config "$dir/u.yaml" --wait 600 --authkey $wrong >"$dir/up.log" 2>&1 &
echo $! >"$dir/up.pid"
at_end "end_pid $dir/up.pid"
check 'a key that nobody made admits nobody' eventually 30 has_reason u AUTH_KEY 600
check_not 'who lists processes does not see it' grep -q $wrong "/proc/$(cat "$dir/up.pid")/cmdline"
end_pid "$dir/up.pid"
is 'it is in a file for root alone' "$(stat -c %a "/var/lib/bailey/$up_name/authkey") $(cat "/var/lib/bailey/$up_name/authkey")" "600 $wrong"
check_not 'and not in the configuration' grep -q $wrong "$dir/u.yaml"
daemon_end
key create >"$dir/u.authkey"
BAILEY_AUTHKEY=$(cat "$dir/u.authkey")
export BAILEY_AUTHKEY
check 'with one of the environment a newcomer joins' up_u --wait 60
unset BAILEY_AUTHKEY
check_not 'which baileyd does not inherit' grep -qF "$(cat "$dir/u.authkey")" "/proc/$(daemon_of_u)/environ"
is 'it was this one' "$(key list --json | jq -c ".[] | select(.used_by == \"$(instance_of u)\") | .state")" '"used"'
check 'of two endpoints' grep -qF "endpoints: [\"$(underlay_of u):51820\", \"$(underlay_of u):51821\"]" "$dir/u.yaml"
rm "$dir/u.yaml"
# shellcheck disable=SC2317 # called through check
up_in_dir() { (cd "$dir" && up_u --authkey file:u.authkey); }
check 'a file is named from where one is' up_in_dir
check 'and by the configuration' grep -qF "key: '$dir/u.authkey'" "$dir/u.yaml"

# --- more connections than the API takes -------------------------------------------------------------------------------------------------
# As the mesh's user, and so past the mesh, which would wait for whole requests. 64 is api.c's bound.
slow() { nsenter --net="$(netns_of s)" setpriv --reuid daemon --clear-groups python3 tests/net/api_slow.py "$1" "$dir/run/api.sock" "$2"; }
is 'the 65th waits until a slow one was cut, and all of those are' "$(slow bound 64)" 'HTTP/1.1 200 OK, after a cut; 64 cut, 0 bytes to them'
nsenter --net="$(netns_of s)" setpriv --reuid daemon --clear-groups python3 tests/net/api_slow.py hold "$dir/run/api.sock" 100 >"$dir/slow.log" 2>&1 &
echo $! >"$dir/slow.pid"
at_end "end_pid $dir/slow.pid"
check 'a hundred hold all that there is' eventually 20 grep -q held "$dir/slow.log"
daemon_end
check 'a node joins meanwhile' up_u --authkey "file:$dir/u.authkey" --wait 60
u_epoch=$(jq -r .payload "/var/lib/bailey/$up_name/self.record" | base64 -d | jq .epoch)
check 'and the others are told' eventually 30 status_has b ".peers[] | select(.node == \"$up_name\" and .epoch == $u_epoch)"
check 'the slow ones are still there' kill -0 "$(cat "$dir/slow.pid")"
end_pid "$dir/slow.pid"
# shellcheck disable=SC2317 # called through eventually
is_served() { [ "$(api b /health)" = 'OK 200' ]; }
check 'when they have gone the API is there for others' eventually 60 is_served
stop_server
check 'the control plane starts again' serve
is 'entries are there' "$(eventually 20 api b /api/discover/mongodb)" '{"count":1,"node_type":"mongodb","nodes":[{"hostname":"db-0","tailscale_ip":"192.0.2.7","uuid":"u-a"}]} 200'
check 'a node is revoked' "$bailey" node revoke web-1 --socket "$dir/run/ctl.sock"
is 'its entries go with it' "$(api b /api/nodes | jq -rR 'sub(" 200$"; "") | fromjson | [.nodes[].uuid] | join(" ")')" u-b
is 'and it is not heard' "$(api a /api/nodes)" '{"error":"Forbidden"} 403'

# --- dstack-vpc's server and nodes, by their environment ------------------------------------------------------------------------------
# Two CVMs with apps of one KMS: v has the server and is a node of it, w is a node. Both know a gateway that goes by names alone.
kms=$PWD/$BUILD/bailey-kms
ns_add v w
for n in v w; do veth_bridge $n eth0 "$(underlay_of $n)/24" hub br0; done
for at in 1 250; do in_ns hub ip addr add 10.99.0.$at/24 dev br0; done
agent_up() { # NAME NODE [OPTION...]
	agent_name=$1 agent_ns=$2
	shift 2
	nsenter --net="$(netns_of "$agent_ns")" "$BUILD/bailey-agent" --state "$dir/agent-$agent_name" --compose "$dir/compose-$agent_name" \
		--tee sim --sim-root "$dir/root" --listen "$dir/dstack-$agent_name.sock" "$@" >>"$dir/agent-$agent_name.log" 2>&1 &
	echo $! >"$dir/agent-$agent_name.pid"
	at_end "end_pid $dir/agent-$agent_name.pid"
	eventually 20 curl -s -o "$TMP/out" --unix-socket "$dir/dstack-$agent_name.sock" http://dstack/Version
}
for n in kms v w; do printf '{"name":"%s"}' $n >"$dir/compose-$n"; done
hash_of() { sha256sum "$dir/compose-$1" | cut -c 1-64; }
compose_app_of() { hash_of "$1" | cut -c 1-40; }
cat >"$dir/allow.yaml" <<-END
	version: 1
	apps:
	  $(compose_app_of v): { compose_hashes: [$(hash_of v)] }
	  $(compose_app_of w): { compose_hashes: [$(hash_of w)] }
END
cat >"$dir/kms.yaml" <<-END
	version: 1
	listen: $(underlay_of s):8000
	domain: kms.internal
	state: $dir/kms
	agent: $dir/dstack-kms.sock
	seal: agent
	evidence: { policy: $dir/evidence.yaml, simulated_roots: $dir/root/root.pem }
	authorize: { allow: $dir/allow.yaml }
END
check 'the KMS has an agent' agent_up kms s
check 'and keys' in_ns s "$kms" bootstrap --config "$dir/kms.yaml"
nsenter --net="$(netns_of s)" "$kms" --config "$dir/kms.yaml" >>"$dir/kms.log" 2>&1 &
echo $! >"$dir/kms.pid"
at_end "end_pid $dir/kms.pid"
eventually 20 in_ns v curl -sk -m 2 -o "$TMP/out" "https://$(underlay_of s):8000/health"
for n in v w; do
	check "a guest agent answers on $n" agent_up $n $n --instance-id "$(instance_of $n)" --kms "https://$(underlay_of s):8000" --kms-ca "$dir/kms/root-ca.pem"
	mkdir -p "$dir/env-mesh-$n"
done
own=$(compose_app_of v)
gateway=$own-443s.apps.example.com vpc_name=$own-8080s.apps.example.com
gateway_at() { # ADDRESS: it is there from now on, and nowhere else
	[ -z "${gateway_pid:-}" ] || { kill -9 "$gateway_pid" && wait "$gateway_pid"; } 2>/dev/null
	spawn hub tests/net/sni_gateway.py "$1:443" "$dir/names" "$gateway=$(underlay_of v):443" "$vpc_name=$(underlay_of v):8080"
	gateway_pid=$spawned
	printf '%s %s %s\n' "$1" "$gateway" "$vpc_name" >"$dir/hosts" # in place: it is mounted
}
gateway_at 10.99.0.1

common_env() { # NODE
	cat <<-END
	export DSTACK_AGENT_ADDRESS=unix:$dir/dstack-$1.sock DSTACK_GATEWAY_DOMAIN=apps.example.com BAILEY_MESH_RUN=$dir/env-mesh-$1
	export VPC_NODE_NAME=$prefix-$1 VPC_SERVER_APP_ID=$own TUN_DEV_NAME=$(ifname_of "$1") BAILEY_NODE_ENDPOINT=$(underlay_of "$1"):51820
	export BAILEY_NODE_STATE=$dir/env-state-$1 BAILEY_NODE_SHARED=$dir/env-shared-$1 BAILEY_NODE_SIMULATED_ROOTS=$dir/root/root.pem
	END
}
common_env w >"$dir/w.env"
echo "export VPC_NODE_TYPE=mongodb VPC_ALLOWED_APPS=$own" >>"$dir/w.env" # and its own
common_env v >"$dir/v.env"
cat >>"$dir/v.env" <<-END
	export VPC_SERVER_ENABLED=true VPC_ALLOWED_APPS='$own, $(compose_app_of w)' VPC_SERVER_APP_ID=self BAILEY_VPC_RUN=$dir/env-run BAILEY_VPC_STATE=$dir/env-state
	export BAILEY_VPC_SHARED_KEY=$dir/env-shared BAILEY_VPC_SIMULATED_ROOTS=$dir/root/root.pem
END
# in-env NODE [NAME=VALUE...] COMMAND...: with the node's environment, and the gateway's names
cat >"$dir/in-env" <<-END
	#!/bin/sh
	. $dir/\$1.env && shift && mount --bind $dir/hosts /etc/hosts && exec env "\$@"
END
chmod 755 "$dir/in-env"
of() { nsenter --net="$(netns_of "$1")" unshare -m "$dir/in-env" "$@"; }
start_of() { # PROCESS NODE COMMAND...
	start_name=$1 start_ns=$2
	shift
	nsenter --net="$(netns_of "$start_ns")" unshare -m "$dir/in-env" "$@" >>"$dir/$start_name.log" 2>&1 &
	echo $! >"$dir/$start_name.pid"
	at_end "end_pid $dir/$start_name.pid"
}
env_down() { # NODE
	end_pid "$dir/$1.pid"
	in_ns "$1" "$baileyd" -c "$dir/env-state-$1/env.yaml" --down
	rm -rf "/run/bailey/$prefix-$1"
}
check 'the environment is a configuration' of v "$vpc" check --env
like 'without apps it is none' "$(of v VPC_ALLOWED_APPS= "$vpc" check --env 2>&1)" '*VPC_ALLOWED_APPS*is needed*'
like 'what has no counterpart is refused by name' "$(of v DSTACK_VPC_HA_MODE=true "$vpc" check --env 2>&1)" '*DSTACK_VPC_HA_MODE*'
like 'nor is a node one without a name' "$(of w VPC_NODE_NAME= "$bailey" up --env 2>&1)" '*VPC_NODE_NAME: is needed*'
like 'or without a control plane' "$(of w VPC_SERVER_APP_ID= "$bailey" up --env 2>&1)" '*VPC_SERVER_APP_ID: is needed*'
at_end 'env_down v'
at_end 'env_down w'
start_of w w "$bailey" up --env
check 'a node that finds nobody tries again' eventually 20 grep -q 'http://127.0.0.1/info: no answer' "$dir/w.log"
start_of env-vpc v "$vpc" --env
for n in v w; do start_of env-mesh-$n $n "$mesh" --env; done
there() { # NODE HOST PATH: as an application on NODE
	in_ns "$1" curl -s -m 10 -w ' %{http_code}' -H "x-dstack-target-app: $own" -H "Host: $2" "http://127.0.0.1$3"
}
# shellcheck disable=SC2317 # called through eventually
answers() { [ "$(there w vpc-server /health)" = 'OK 200' ]; }
check 'server and meshes are there' eventually 30 answers
is 'by the name of the forks, too' "$(there v dstack-vpc-server /health)" 'OK 200'
env_key=$("$bailey" authkey create --ephemeral --socket "$dir/env-run/ctl.sock")
start_of v v BAILEY_NODE_AUTHKEY="$env_key" "$bailey" up --env
env_up() { status_has "$1" "(.vpc.connected and (.peers | length == 1))"; }
for n in v w; do check "$n joins by its environment alone" eventually 60 env_up $n; done
check 'they reach each other' eventually 20 in_ns w "$bailey" ping "$prefix-v" --count 1 --instance "$prefix-w"
is "a key of one's own is taken in place of the server's" "$("$bailey" node list --json --socket "$dir/env-run/ctl.sock" |
	jq -c '[.[] | [.node, .ephemeral]] | sort')" "[[\"$prefix-v\",true],[\"$prefix-w\",false]]"
is 'and is for root alone' "$(stat -c %a "$dir/env-state-v/authkey") $(grep -rlF "$env_key" "$dir/env-state-v" "$dir/env-shared-v")" "600 $dir/env-state-v/authkey"
is 'the gateway was asked by name, and by no other' "$(grep . "$dir/names" | sort -u | tr '\n' ' ')" "$(printf '%s\n' "$gateway" "$vpc_name" | sort | tr '\n' ' ')"
like 'a hello without the name leads nowhere' "$(of w timeout 5 openssl s_client -noservername -connect "$gateway:443" </dev/null 2>&1)" '*no peer certificate available*'
discovered() { there v vpc-server /api/discover/mongodb | sed 's/ [0-9]*$//' | jq -r '.nodes[]? | "\(.uuid) \(.hostname) \(.tailscale_ip)"'; }
# shellcheck disable=SC2317 # called through eventually
is_discovered() { [ -n "$(discovered)" ]; }
check 'a node of a type is found by it' eventually 20 is_discovered
is 'with its name and address' "$(discovered)" "$(instance_of w) $prefix-w.dstack.internal $(cat "$dir/env-shared-w/tailscale_ip")"
is 'applications have the shared key where they look for it' "$(cat "$dir/env-shared-w/shared_key")" "$(cat "$dir/env-shared")"
is 'and nobody else has' "$(stat -c %a "$dir/env-shared-w/shared_key" "$dir/env-shared-w/pre_auth_key" | tr '\n' ' ')" '600 600 '
like 'what is written of a node says why' "$(cat "$dir/env-state-w/env.yaml")" "# VPC_NODE_NAME=$prefix-w*host: $vpc_name*"
for p in w env-mesh-w env-vpc; do end_pid "$dir/$p.pid"; done
start_of w w "$bailey" up --env
check 'without mesh and server it goes on with what it has' eventually 60 status_has w '.peers | length == 1'
like 'and says so' "$(cat "$dir/w.log")" '*goes on with*env.yaml of the last time*'

# --- a gateway that moves ------------------------------------------------------------------------------------------------------------
dials() { status_has "$1" ".vpc.server == \"$2:443\""; }
daemon_of() { tr '\0' ' ' <"/proc/$(cat "$dir/$1.pid")/cmdline"; }
like 'it is this process from here on' "$(daemon_of w)" 'baileyd *'
check 'and asks where it was' dials w 10.99.0.1
gateway_at 10.99.0.250
start_of env-vpc v "$vpc" --env
start_of env-mesh-w w "$mesh" --env
check 'who began without mesh and server finds them where they are now' eventually 120 env_up w
check 'at another address' dials w 10.99.0.250
gateway_at 10.99.0.1
check 'who loses its control plane finds it again' eventually 120 dials w 10.99.0.1
check 'and is connected' eventually 60 env_up w
like 'the same process' "$(daemon_of w)" 'baileyd *'
check 'it can still be asked of the other node' eventually 60 env_up v

done_testing
