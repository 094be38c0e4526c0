#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Applications that know nothing of a mesh dial a node's overlay address: the kernel brings them to bailey-mesh, which takes
# them to that very node over mutual TLS, or nowhere. Two real nodes, a cgroup, a container, both families.
. tests/net/lib.sh
need ip nsenter jq curl wg python3
need_file "$BUILD/baileyd" 'run make'
cgroups=$(sed -n 's/^[^ ]* \([^ ]*\) cgroup2 .*/\1/p' /proc/mounts | head -n 1)
[ -n "$cgroups" ] || skip_all 'needs a cgroup2 file system'

dir=$TMP
prefix=$T
host_of() { case $1 in web) echo 2 ;; db) echo 3 ;; esac; }
netns_of() { echo "/var/run/netns/$(ns "$1")"; }
# shellcheck source=tests/net/nodes-lib.sh
. tests/net/nodes-lib.sh
# shellcheck source=tests/net/node-mesh-lib.sh
. tests/net/node-mesh-lib.sh
ifname_of() { echo "by$U-$(host_of "$1")"; }

load wireguard tun sch_ingress cls_bpf veth
ns_add web db box
veth web eth0 "$(underlay_of web)/24" db eth0 "$(underlay_of db)/24"
veth box eth0 10.55.0.2/24,fd55::2/64 web p-box 10.55.0.1/24,fd55::1/64
in_ns box ip route add default via 10.55.0.1
in_ns box ip route add default via fd55::1

# --- cgroups -------------------------------------------------------------------------------------------------------------
top=$cgroups/by-$T
mkdir "$top" || skip_all 'no cgroup can be made'
at_end "for i in 1 2 3 4 5 6 7 8 9; do rmdir $top/app $top/proxy $top; [ -e $top ] || break; sleep 0.2; done"
mkdir "$top/app" "$top/proxy"
in_cgroup() { # NAME COMMAND...: in the namespace of web
	cg_name=$1
	shift
	# shellcheck disable=SC2016 # the inner shell's
	sh -c 'echo $$ >"$0/cgroup.procs" && exec nsenter --net="$@"' "$top/$cg_name" "$(netns_of web)" "$@"
}
app() { in_cgroup app python3 tests/net/captured_client.py "$@"; }
box() { in_ns box python3 tests/net/captured_client.py "$@"; }

# --- nodes, and a mesh on each ---------------------------------------------------------------------------------------------
make_root || exit 1
make_identity web web
make_identity db db
"$bailey" dev-identity issue --root "$dir/root" --app-id "$(app_of intruder)" --instance-id "$(instance_of db)" --out "$dir/liar" >/dev/null
cat >"$dir/kernel.yaml" <<-END
	version: 1
	apps: { web: { app-id: $(app_of web) }, db: { app-id: $(app_of db) } }
	rules: [{ name: all, from: any-attested, to: any-attested, allow: [any] }]
END
cat >"$dir/rules.yaml" <<-END
	version: 1
	apps: { web: { app-id: $(app_of web) }, db: { app-id: $(app_of db) } }
	rules:
	  - { name: postgres, from: web, to: db, allow: [tcp/5432, tcp/5434] }
	  - { name: api, from: web, to: db, allow: [tcp/8080], http: [{ methods: [GET], path: /v1/** }] }
END
write_config web "$dir/kernel.yaml" 3600 db
write_config db "$dir/kernel.yaml" $((30 * PATIENCE)) web
cat >>"$dir/web.yaml" <<-END
	capture:
	  cgroups: [$top/app]
	  proxy_cgroup: $top/proxy
	  devices: [p-box]
	  to:
	    - { net: 100.64.0.0/10, ports: [tcp], via: '127.0.0.1:15001' }
	    - { net: "fdba:11e7::/48", ports: [tcp], via: '[::1]:15001' }
END
mesh_conf web "[$dir/rules.yaml]" <<-END
	client:
	  captured: ["127.0.0.1:15001", "[::1]:15001"]
	  baileyd: /run/bailey/$prefix-web/ctl.sock
END
mesh_conf db "[$dir/rules.yaml]" <<-END
	server:
	  services:
	    - { name: pg, listen: "$(overlay_of db):5432", tcp: "127.0.0.1:6432" }
	    - { name: pg6, listen: "[$(overlay6_of db)]:5432", tcp: "127.0.0.1:6432" }
	    - { name: secret, listen: "$(overlay_of db):5433", tcp: "127.0.0.1:6432" }
	    - { name: api, listen: "$(overlay_of db):8080", http: "127.0.0.1:8081" }
END
for n in web db; do
	at_end "take_down $n"
	start_node $n
done
spawn db python3 tests/net/captured_client.py serve 6432 "$dir/heard"
spawn db python3 tests/net/mesh_backend.py 8081
check 'the nodes know each other' wait_until 30 knows web 1
check 'both of them' wait_until 30 knows db 1

mesh_start db
mesh_start web "$top/proxy"
proxy=$mesh_pid
check 'the mesh of db is there' eventually 10 mesh_ready db || cat "$dir/mesh-db.log"
check 'and that of web' eventually 10 mesh_ready web || cat "$dir/mesh-web.log"
knows_peers() { [ "$(mesh_status web .baileyd.peers)" = 1 ]; }
check 'which learns of db' eventually 5 knows_peers

# --- what an application gets ------------------------------------------------------------------------------------------------
is 'an application reaches the service by its address' "$(app say "$(overlay_of db)" 5432 hello)" "db: hello $(overlay_of db)"
is 'by that of the other family' "$(app say "$(overlay6_of db)" 5432 hello)" "db: hello $(overlay6_of db)"
is 'so does a container' "$(box say "$(overlay_of db)" 5432 hello)" "db: hello $(overlay_of db)"
is 'by both families' "$(box say "$(overlay6_of db)" 5432 hello)" "db: hello $(overlay6_of db)"
check 'it was a peer that was proved' [ "$(mesh_status web .counters.handshakes_out)" -ge 4 ]
is 'who is not captured speaks to the TLS of it, in vain' "$(in_ns web python3 tests/net/captured_client.py say "$(overlay_of db)" 5432 hello)" end
http() { in_cgroup app curl -s -m 10 --resolve "db:8080:$(overlay_of db)" "$@"; }
is 'a name does as well; the backend is told who asks' "$(http http://db:8080/v1/a | jq -r '.headers["x-dstack-app-id"] + " " + .path')" "$(app_of web) /v1/a"
is 'several requests on a connection' "$(http http://db:8080/v1/a http://db:8080/v1/b -o "$TMP/out" -o "$TMP/out" -w '%{http_code} %{num_connects} ')" '200 1 200 0 '
is 'and as HTTP/2' "$(http --http2-prior-knowledge http://db:8080/v1/a -o "$TMP/out" -w '%{http_code} %{http_version}')" '200 2'

# --- who gets nothing ----------------------------------------------------------------------------------------------------------
is 'a request that no rule allows: 403' "$(http http://db:8080/v1/a -X POST -o "$TMP/out" -w '%{http_code}')" 403
is 'another path: 403' "$(http http://db:8080/admin -o "$TMP/out" -w '%{http_code}')" 403
like 'what is no HTTP, on a port whose rules are about requests' "$(app say "$(overlay_of db)" 8080 'rubbish')" '*400 Bad Request*'
is 'a header that says where to leads nowhere else' "$(http http://db:8080/v1/a -H "x-dstack-target-port: 5432" | jq -r .path)" /v1/a
heard=$(wc -l <"$dir/heard")
is 'a port that no rule allows' "$(app say "$(overlay_of db)" 5433 hello)" end
is 'a container, neither' "$(box say "$(overlay_of db)" 5433 hello)" end
like 'status says why' "$(mesh_status web .last_refused.why)" '*no rule from web to db covers*'
is 'an address that is no node'\''s' "$(app say 100.64.0.77 5432 hello)" end
like 'status says so' "$(mesh_status web .last_refused.why)" '100.64.0.77:5432 was captured, and is no node*'
is 'the own address' "$(app say "$(overlay_of web)" 5432 hello)" end
before=$(mesh_status web .counters.accepted)
is 'who dials the door itself' "$(app say 127.0.0.1 15001 hello)" end
is 'of the other family' "$(app say ::1 15001 hello)" end
is 'from outside' "$(in_ns web python3 tests/net/captured_client.py say 127.0.0.1 15001 hello)" end
is 'from a container' "$(box say 10.55.0.1 15001 hello)" ConnectionRefusedError
is 'is not sent in circles' $(($(mesh_status web .counters.accepted) - before)) 3
like 'status says so, too' "$(mesh_status web .last_refused.why)" '*is for what the kernel captured, and was dialled*'
spawn db python3 tests/net/captured_client.py lie "$(overlay_of db)" 5434 "$dir/liar" "$dir/lied"
eventually 5 sh -c "grep -q listens '$dir/lied' 2>/dev/null"
is 'somebody else at the address of db' "$(app say "$(overlay_of db)" 5434 secret-word)" end
like 'is found out' "$(mesh_status web .last_refused.why)" "*is app $(app_of intruder), not $(app_of db)*"
check 'who listened' eventually 3 sh -c "[ \$(wc -l <'$dir/lied') -ge 2 ]"
check_not 'and heard nothing' grep -q secret-word "$dir/lied"
is 'none of it came to a backend' "$(wc -l <"$dir/heard")" "$heard"

# --- what people see -----------------------------------------------------------------------------------------------------------
in_cgroup app python3 tests/net/captured_client.py hold "$(overlay_of db)" 5432 >"$dir/held" &
holder=$!
at_end "kill $holder"
check 'a connection is held' eventually 5 grep -q open "$dir/held"
like 'it is among the flows of the mesh, with what was dialled' "$("$bailey" mesh flows --socket "$dir/run-mesh/web/ctl.sock")" "*captured $(overlay_of db):5432*"
shown() { "$bailey" flows --instance "$prefix-web" | grep -q "$(overlay_of db). 5432 tcp .*captured, to the proxy"; }
check 'and among those of the node' eventually 3 shown

# --- ends ------------------------------------------------------------------------------------------------------------------------
end_pid "$dir/db.pid" -KILL
is 'without its daemon db is a node until its record ends' "$(app say "$(overlay_of db)" 5432 hello)" "db: hello $(overlay_of db)"
gone() { [ "$(status_of web | jq '.peers | length')" = 0 ]; }
cp "$dir/held" "$dir/still"
check 'the record ends' eventually 45 gone
ended() { grep -q cut "$dir/held"; }
check 'the connection is cut' eventually 2 ended
is 'and was not before' "$(cat "$dir/still")" open
is 'and nobody comes there any more' "$(app say "$(overlay_of db)" 5432 hello)" end
like 'for it is no node now' "$(mesh_status web .last_refused.why)" '*was captured, and is no node*'
kill -9 "$proxy"
wait "$proxy" 2>/dev/null
is 'without the proxy a captured address is refused at once' "$(app say "$(overlay_of db)" 5432 hello)" ConnectionRefusedError

# --- configurations that are refused -------------------------------------------------------------------------------------------
sed 's/127.0.0.1:15001/0.0.0.0:15001/' "$dir/mesh-web.yaml" >"$dir/bad.yaml"
like 'a door on every address is refused' "$("$mesh" -c "$dir/bad.yaml" --check 2>&1)" '*needs one address*'
sed '/baileyd:/d' "$dir/mesh-web.yaml" >"$dir/bad.yaml"
like 'and one without a baileyd' "$("$mesh" -c "$dir/bad.yaml" --check 2>&1)" '*needs client.baileyd*'
done_testing
