#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# By which path the bytes of a tunnel go through two real meshes, boxes and all: TLS in the kernel where there is one, copied
# where there is none; byte for byte, with ends of its own, and cut all the same.
. tests/net/lib.sh

need curl jq python3 ip
mesh=$BUILD/bailey-mesh
bailey=$BUILD/bailey
need_file "$mesh" 'make tests builds it'
chmod 711 "$TMP"

ns_add cli srv
veth cli vc 10.74.0.1/24 srv vs 10.74.0.2/24
web=a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1
db=b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2
"$bailey" dev-identity root --out "$TMP/root" >/dev/null || not_ok 'a simulation root is made'
printf 'simulated: true\n' >"$TMP/evidence.yaml"
for who in cli:$web srv:$db; do
	"$bailey" dev-identity issue --root "$TMP/root" --app-id "${who#*:}" --instance-id "${who#*:}" \
		--compose-hash "$(printf 'c0%.0s' $(seq 32))" --out "$TMP/${who%%:*}" >/dev/null
done
cat >"$TMP/rules.yaml" <<-END
	version: 1
	apps: { web: { app-id: $web }, db: { app-id: $db } }
	rules:
	  - { name: bulk, from: web, to: db, allow: [tcp/7001] }
END
# $1 name; what it does on standard input
conf() {
	{
		cat <<-END
			version: 1
			instance: $1
			run: $TMP/run
			identity: { certificate: $TMP/$1.pem, key: $TMP/$1.key }
			trust: { policy: $TMP/evidence.yaml, simulated_roots: $TMP/root/root.pem }
			policy: [$TMP/rules.yaml]
		END
		cat
	} >"$TMP/$1.yaml"
}
conf cli <<-END
	client: { gateway: direct/10.74.0.2, tunnels: [{ name: bulk, listen: "127.0.0.1:7002", app: $db, port: 7001 }] }
END
conf srv <<-END
	server: { services: [{ name: bulk, listen: "10.74.0.2:7001", tcp: "127.0.0.1:7000" }] }
END
ask() { "$bailey" mesh "$2" --json --socket "$TMP/run/$1/ctl.sock" 2>/dev/null | jq -r "$3"; }
ready() { [ "$(ask "$1" status .identity.app_id)" != null ] && [ -n "$(ask "$1" status .identity.app_id)" ]; }
metric() { "$bailey" mesh metrics --socket "$TMP/run/$1/ctl.sock" | awk -v n="bailey_mesh_$2_total" '$1 == n { print $2 }'; }

spawn srv python3 tests/net/mesh_stream.py echo 7000
for side in srv cli; do
	nsenter --net="/var/run/netns/$(ns $side)" "$mesh" -c "$TMP/$side.yaml" >>"$TMP/$side.log" 2>&1 &
	at_end "kill -9 $!"
	eventually 20 ready $side || not_ok "the mesh of $side starts: $(cat "$TMP/$side.log")"
done

told() { [ "$(ask srv status .paths.ktls.why_not)" != 'no worker has said' ]; }
eventually 20 told
path=copied
[ "$(ask srv status .paths.ktls.available)" != true ] || path=ktls
note "paths: $(ask srv status .paths.ktls)"
is 'bytes both ways at once, and the ends' "$(in_ns cli python3 tests/net/mesh_stream.py whole 127.0.0.1 7002 3000000 2>&1)" whole
is 'less than is handed over' "$(in_ns cli python3 tests/net/mesh_stream.py whole 127.0.0.1 7002 1000 2>&1)" whole

nsenter --net="/var/run/netns/$(ns cli)" python3 tests/net/mesh_stream.py held 127.0.0.1 7002 3000000 >"$TMP/held" 2>&1 &
held_pid=$!
at_end "kill $held_pid"
check 'a tunnel that stays' eventually 30 grep -q '^whole' "$TMP/held"
is "the server's mesh says by which path it goes" "$(ask srv flows '[.flows[] | select(.tunnel) | .path] | join(" ")')" $path
is "the client's, too" "$(ask cli flows '[.flows[] | select(.tunnel) | .path] | join(" ")')" $path
printf '  - { name: no, from: web, to: db, deny: [tcp/7001] }\n' >>"$TMP/rules.yaml"
check 'a rule that is gone' "$bailey" mesh reload --socket "$TMP/run/srv/ctl.sock"
gone=$(date +%s%3N)
check 'cuts it, whatever its path' eventually 10 grep -q '^reset' "$TMP/held"
note "$(($(sed -n 's/^reset //p' "$TMP/held") - gone)) ms after the reload was done"
is 'and nothing failed on the way' "$(metric srv ktls_failed) $(metric cli ktls_failed) $(metric srv ktls_rekeys)" '0 0 0'
if [ $path = ktls ]; then
	check 'what was spliced is counted' [ "$(metric srv bytes_spliced)" -gt 1000000 ]
fi

# --- switched off -------------------------------------------------------------------------------------------------------------
sed -i '$d' "$TMP/rules.yaml"
printf 'paths: { splice: false, ktls: false }\n' >>"$TMP/srv.yaml"
check_not 'paths change with a restart only' "$bailey" mesh reload --socket "$TMP/run/srv/ctl.sock"
nsenter --net="/var/run/netns/$(ns srv)" "$mesh" -c "$TMP/srv.yaml" --takeover >>"$TMP/srv.log" 2>&1 &
at_end "kill -9 $!"
off() { [ "$(ask srv status '.paths | .spliced.why_not + ", " + .ktls.why_not')" = 'paths.splice is false, paths.ktls is false' ] && ready srv; }
check 'status says what is switched off' eventually 20 off
nsenter --net="/var/run/netns/$(ns cli)" python3 tests/net/mesh_stream.py held 127.0.0.1 7002 3000000 >"$TMP/held" 2>&1 &
at_end "kill $!"
check 'a tunnel goes on' eventually 30 grep -q '^whole' "$TMP/held"
is 'and is copied' "$(ask srv flows '[.flows[] | select(.tunnel) | .path] | join(" ")')" copied
is 'by a count, too' "$(metric srv bytes_spliced)" 0
done_testing
