#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# A mesh's connections stop in the kernel when their peer or its rule is gone, while the worker is stopped and can do nothing: what
# waits in the kernel for the peer and for the backend stays there, of TCP and of HTTP/2, also when the worker goes on; and what waits
# for an application that speaks HTTP/2 itself, to one peer or to several. By the receivers' own counts, and the kernel's. The peers come
# past the overlay, where no other program would stop them. Paths that no peer of bailey-mesh is on are in tests/bpf/guard_paths_test.c.
. tests/net/lib.sh
need ip ss nsenter jq wg python3
need_file "$BUILD/baileyd" 'run make'
need_file "$BUILD/bailey-mesh" 'run make'
cgroups=$(sed -n 's/^[^ ]* \([^ ]*\) cgroup2 .*/\1/p' /proc/mounts | head -n 1)
[ -n "$cgroups" ] || skip_all 'needs a cgroup2 file system'

dir=$TMP
prefix=$T
host_of() { case $1 in web) echo 2 ;; db) echo 3 ;; other) echo 4 ;; esac; }
netns_of() { echo "/var/run/netns/$(ns "$1")"; }
# shellcheck source=tests/net/nodes-lib.sh
. tests/net/nodes-lib.sh
ifname_of() { echo "by$U-$(host_of "$1")"; }
mesh=$PWD/$BUILD/bailey-mesh
chmod 711 "$TMP"
mkdir "$dir/counts"

load wireguard tun sch_ingress cls_bpf veth tls
ns_add web db
veth web eth0 "$(underlay_of web)/24" db eth0 "$(underlay_of db)/24"
cgroup=$cgroups/by-$T # comes with the mesh, as that of a service does
at_end "for i in 1 2 3 4 5 6 7 8 9; do rmdir $cgroup; [ -e $cgroup ] || break; sleep 0.2; done"

make_root || exit 1
make_identity web web
make_identity db db
make_identity other web # another instance of the same app, and no node that baileyd knows
cat >"$dir/kernel.yaml" <<-END
	version: 1
	apps: { web: { app-id: $(app_of web) }, db: { app-id: $(app_of db) } }
	rules: [{ name: all, from: any-attested, to: any-attested, allow: [any] }]
END
rules() { # PORTS PORTS: of db's services, and of those that its applications ask
	cat >"$dir/rules.yaml" <<-END
		version: 1
		apps: { web: { app-id: $(app_of web) }, db: { app-id: $(app_of db) } }
		rules:
		  - { name: pump, from: web, to: db, allow: [$1] }
		  - { name: ask, from: db, to: web, allow: [$2] }
	END
}
rules 'tcp/7001, tcp/7002, tcp/7003, tcp/7004' 'tcp/7020, tcp/7021, tcp/7022, tcp/7023, tcp/7024'
write_config web "$dir/kernel.yaml" 3600 db
write_config db "$dir/kernel.yaml" 3600 web
echo "mesh: { cgroups: [$cgroup] }" >>"$dir/db.yaml"
printf 'simulated: true\n' >"$dir/evidence.yaml"
cat >"$dir/mesh-db.yaml" <<-END
	version: 1
	instance: db
	run: $dir/run
	identity: { certificate: $dir/db.pem, key: $dir/db.key }
	trust: { policy: $dir/evidence.yaml, simulated_roots: $dir/root/root.pem }
	policy: [$dir/rules.yaml]
	client: { listen: ["127.0.0.1:8091"], gateway: direct/$(underlay_of web), baileyd: /run/bailey/$prefix-db/ctl.sock }
	server:
	  services:
	    - { name: one, listen: "$(underlay_of db):7001", tcp: "127.0.0.1:7000" }
	    - { name: two, listen: "$(underlay_of db):7002", tcp: "127.0.0.1:7000" }
	    - { name: up, listen: "$(underlay_of db):7003", h2: "127.0.0.1:7010" }
	    - { name: down, listen: "$(underlay_of db):7004", h2: "127.0.0.1:7011" }
END
# What db's applications ask: a node that db knows, on the overlay, and another instance, past it.
asked() { # NAME ADDRESS PORT...: of each port the backend is ten further
	asked_name=$1 asked_at=$2
	shift 2
	cat >"$dir/mesh-$asked_name.yaml" <<-END
		version: 1
		instance: $asked_name
		run: $dir/run
		identity: { certificate: $dir/$asked_name.pem, key: $dir/$asked_name.key }
		trust: { policy: $dir/evidence.yaml, simulated_roots: $dir/root/root.pem }
		policy: any-attested
		server:
		  services:
	END
	for port; do
		echo "    - { name: p$port, listen: \"$asked_at:$port\", h2: \"127.0.0.1:$((port + 10))\" }" >>"$dir/mesh-$asked_name.yaml"
		spawn web python3 tests/net/guard_pump.py backend $((port + 10)) "$dir/counts" h2
	done
}
asked web "$(overlay_of web)" 7020 7023
asked other "$(underlay_of web)" 7021 7022 7024
for n in web db; do
	at_end "take_down $n"
	start_node $n
done
check 'the nodes know each other' wait_until 30 knows db 1
check 'both of them' wait_until 30 knows web 1

status() { "$bailey" mesh status --json --socket "$dir/run/db/ctl.sock" 2>/dev/null | jq -r "$1"; }
says() { [ "$(status "$1")" = "$2" ]; }
mesh_start() {
	nsenter --net="$(netns_of db)" "$mesh" -c "$dir/mesh-db.yaml" >>"$dir/mesh-db.log" 2>&1 &
	mesh_pid=$!
	at_end "kill -9 $mesh_pid"
}

for n in web other; do
	nsenter --net="$(netns_of web)" "$mesh" -c "$dir/mesh-$n.yaml" >>"$dir/mesh-$n.log" 2>&1 &
	at_end "kill -9 $!"
done
asked_listen() { [ "$(in_ns web ss -Hltn | grep -c ':70[23][0-9] ')" = 10 ]; }
check 'the nodes that applications ask listen' eventually 30 asked_listen || cat "$dir/mesh-web.log" "$dir/mesh-other.log"

# --- without a guard the worker alone does it, and says so -----------------------------------------------------------------
mesh_start
check 'a mesh outside of any guarded cgroup' eventually 20 says .guard.available false || cat "$dir/mesh-db.log"
like 'says what it lacks' "$(status .guard.why_not)" '*mesh.cgroups*'
kill -9 $mesh_pid
wait $mesh_pid 2>/dev/null
rm -rf "$dir/run"

# --- with one --------------------------------------------------------------------------------------------------------------
mkdir "$cgroup" || skip_all 'no cgroup can be made'
# shellcheck disable=SC2016 # the inner shell's
sh -c 'echo $$ >"$0/cgroup.procs" && exec nsenter --net="$@"' "$cgroup" "$(netns_of db)" "$mesh" -c "$dir/mesh-db.yaml" \
	>>"$dir/mesh-db.log" 2>&1 &
at_end "kill -9 $!"
check 'in its cgroup it is guarded' eventually 20 says .guard.available true || cat "$dir/mesh-db.log"
knows_peers() { [ "$(status .baileyd.peers)" = 1 ]; }
check 'and knows the node' eventually 10 knows_peers
worker=$(status '.workers[0].pid')
at_end "kill -CONT $worker" # what is stopped would not end

spawn db python3 tests/net/guard_pump.py backend 7000 "$dir/counts"
spawn db python3 tests/net/guard_pump.py backend 7010 "$dir/counts" h2
spawn db python3 tests/net/guard_pump.py backend 7011 "$dir/counts" h2
listen() { [ "$(in_ns db ss -Hltn | grep -c '127\.0\.0\.1:70[01][01] ')" = 3 ]; }
check 'the backends listen' eventually 30 listen
pump() { # NAME CERT PORT [up|down]
	spawn web python3 tests/net/guard_pump.py peer "$(underlay_of db)" "$3" "$dir/$2" "$1" "$dir/counts" ${4:+"$4"}
}
app() { # NAME WHOM:PORT...
	app_name=$1
	shift
	for target; do
		shift
		set -- "$@" "$(app_of web):${target#*:}:$(instance_of "${target%:*}")"
	done
	spawn db python3 tests/net/guard_pump.py app 8091 "$app_name" "$dir/counts" "$@"
}
# An end is peer-NAME, backend-NAME or app-NAME.
count() { # END
	sed -n '1s/ .*//p' "$dir/counts/$1" 2>/dev/null
}
counts() { # END...
	for end; do echo "$end $(count "$end")"; done
}
over() { [ "$(count "$1")" -gt "$2" ] 2>/dev/null; }
flows() { # END...
	for end; do check "bytes come to $end" eventually 30 over "$end" 20000; done
}
rise() { # END...
	marks=$(counts "$@")
	for end; do check "more comes to $end" eventually 20 over "$end" "$(echo "$marks" | sed -n "s/^$end //p")"; done
}
dropped() { status_of db | jq ".mesh.dropped.$1.packets // 0"; }
has_dropped() { [ "$(dropped "$1")" -gt "$2" ]; }
stays() { # END...: none has any more of it
	sleep 1 # what they had is taken
	was=$(counts "$@")
	sleep 2
	is "nothing comes to $*" "$(counts "$@")" "$was"
}
has_ended() { grep -qs 'reset\|end' "$dir/counts/$1"; }
ended() { # END...: after stays
	for end; do check "when the worker goes on $end is told" eventually 30 has_ended "$end"; done
	is "and nothing has come to $* before" "$(counts "$@")" "$was"
}

# Of TCP, and of HTTP/2 with bytes in one direction each, to backends that the peers have in common.
pump node web 7001
pump stranger other 7001
pump kept other 7002
pump node-up web 7003 up
pump node-dn web 7004 down
pump other-up other 7003 up
pump other-dn other 7004 down
# Of applications: to one peer, to two on one connection, and to those that stay.
app one web:7020
app two web:7023 other:7021
app stranger other:7024
app kept other:7022
flows app-one app-two app-stranger app-kept
flows peer-node backend-node peer-stranger backend-stranger peer-kept backend-kept backend-node-up peer-node-dn backend-other-up peer-other-dn
check 'the kernel was told of both legs of each' [ "$(status .guard.sockets)" -ge 14 ]
is 'nothing was dropped' "$(status_of db | jq -c .mesh)" '{"cgroups":1,"dropped":{}}'
all_ktls() { [ "$("$bailey" mesh flows --json --socket "$dir/run/db/ctl.sock" | jq -r '[.flows[] | select(.tunnel and .path == "ktls")] | length')" = 3 ]; }
if [ "$(status .paths.ktls.available)" = true ]; then
	check 'the kernel does the TLS of those of TCP' eventually 60 all_ktls
else
	skip 'relays of kTLS' "$(status .paths.ktls.why_not)"
fi
note "paths: $("$bailey" mesh flows --json --socket "$dir/run/db/ctl.sock" | jq -r '[.flows[] | select(.tunnel) | .path] | join(" ")')"

shown=$("$bailey" flows --instance "$prefix-db" --mesh "$dir/run/db/ctl.sock")
path=$("$bailey" mesh flows --json --socket "$dir/run/db/ctl.sock" | jq -r '[.flows[] | select(.tunnel) | .path][0]')
like 'the path of each is among the flows of the node' "$shown" "*mesh $path *service $(underlay_of db):7001 from app *tunnel*"
is 'of all of them, as JSON' "$("$bailey" flows --instance "$prefix-db" --mesh "$dir/run/db/ctl.sock" --json |
	jq -r 'select(.mesh and .tunnel) | .path' | grep -cx 'copied\|ktls')" 3
check_not 'no mesh there is said' "$bailey" flows --instance "$prefix-db" --mesh "$dir/run/nobody.sock"

# --- a node that is removed --------------------------------------------------------------------------------------------------
kill -STOP "$worker"
note 'the worker is stopped: the kernel hands over what it has'
rise backend-node peer-node backend-node-up peer-node-dn app-one app-two
check 'the node is removed' "$bailey" node remove web --instance "$prefix-db"
stays peer-node backend-node peer-node-dn backend-node-up app-one app-two
check 'the kernel counts what it kept' eventually 20 has_dropped NO_IDENTITY 0
kill -CONT "$worker"
ended peer-node backend-node peer-node-dn backend-node-up app-one app-two
rise peer-stranger backend-stranger peer-other-dn backend-other-up app-stranger app-kept

# --- a rule that is gone -----------------------------------------------------------------------------------------------------
stale=$(dropped RELAY_STALE)
kill -STOP "$worker"
note 'the worker is stopped'
rise backend-stranger peer-stranger backend-other-up peer-other-dn app-stranger
rules tcp/7002 tcp/7022
like 'the rule is gone, and the worker said not to know it' "$("$bailey" mesh reload --socket "$dir/run/db/ctl.sock" 2>&1)" "*worker 0 (pid $worker)*"
stays peer-stranger backend-stranger peer-other-dn backend-other-up app-stranger
check 'the kernel counts that, too' eventually 20 has_dropped RELAY_STALE "$stale"
kill -CONT "$worker"
ended peer-stranger backend-stranger peer-other-dn backend-other-up app-stranger
note 'whose rule is there still goes on'
rise peer-kept backend-kept app-kept
like 'metrics have it' "$("$bailey" metrics --instance "$prefix-db")" '*bailey_guard_dropped_packets_total{reason="NO_IDENTITY"} [1-9]*'
like 'of the mesh, too' "$("$bailey" mesh metrics --socket "$dir/run/db/ctl.sock")" '*bailey_mesh_guarded_workers 1*'

# --- baileyd goes and comes --------------------------------------------------------------------------------------------------
told() { [ "$(status .guard.sockets)" -ge 4 ]; } # of TCP, and of an application
end_pid "$dir/db.pid" -9
rise peer-kept backend-kept app-kept
check 'while no baileyd runs the guard is there, and has what it was told' told
start_node db
check 'one that dies is started again' eventually 20 sh -c "'$bailey' status --instance '$prefix-db' --json 2>/dev/null | jq -e .ready"
rise peer-kept backend-kept app-kept
take_down db
unguarded() { says .guard.available false && says .guard.sockets 0; }
check 'with its programs gone the mesh has no guard' eventually 20 unguarded
rise peer-kept backend-kept app-kept
start_node db
check 'when they are back it has one' eventually 20 says .guard.available true
check 'which is told of what is there' eventually 20 told
rise peer-kept backend-kept app-kept
kill -STOP "$worker"
note 'the worker is stopped'
rules tcp/7001 tcp/7020
like 'the last rules go' "$("$bailey" mesh reload --socket "$dir/run/db/ctl.sock" 2>&1)" "*worker 0 (pid $worker)*"
stays peer-kept backend-kept app-kept
kill -CONT "$worker"
ended peer-kept backend-kept app-kept

# --- configurations that are refused ------------------------------------------------------------------------------------------
sed 's|^mesh:.*|mesh: { cgroups: [relative] }|' "$dir/db.yaml" >"$dir/bad.yaml"
like 'a cgroup is a path' "$("$baileyd" -c "$dir/bad.yaml" --check 2>&1)" '*mesh*cgroups*the path of a cgroup*'
done_testing
