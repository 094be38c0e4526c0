#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# By which path the bytes of a tunnel go through two real meshes, boxes and all: TLS in the kernel where there is one, copied
# where there is none; byte for byte, with ends of its own, and cut all the same.
. tests/net/lib.sh
. tests/net/mesh-lib.sh

need curl jq python3 ip
mesh_set_up 74
identity cli $web $web
identity srv $db $db
cat >"$TMP/rules.yaml" <<-END
	version: 1
	apps: { web: { app-id: $web }, db: { app-id: $db } }
	rules:
	  - { name: bulk, from: web, to: db, allow: [tcp/7001] }
END
conf cli "[$TMP/rules.yaml]" <<-END
	client: { gateway: direct/10.74.0.2, tunnels: [{ name: bulk, listen: "127.0.0.1:7002", app: $db, port: 7001 }] }
END
conf srv "[$TMP/rules.yaml]" <<-END
	server: { services: [{ name: bulk, listen: "10.74.0.2:7001", tcp: "127.0.0.1:7000" }] }
END
paths() { # NAME: of its tunnels
	"$bailey" mesh flows --json --socket "$TMP/run/$1/ctl.sock" 2>/dev/null | jq -r '[.flows[] | select(.tunnel) | .path] | join(" ")'
}

spawn srv python3 tests/net/mesh_stream.py echo 7000
for side in srv cli; do
	mesh_up $side || not_ok "the mesh of $side starts: $(cat "$TMP/$side.log")"
done

told() { [ "$(status srv .paths.ktls.why_not)" != 'no worker has said' ]; }
eventually 20 told
path=copied
[ "$(status srv .paths.ktls.available)" != true ] || path=ktls
note "paths: $(status srv .paths.ktls)"
is 'bytes both ways at once, and the ends' "$(in_ns cli python3 tests/net/mesh_stream.py whole 127.0.0.1 7002 3000000 2>&1)" whole
is 'less than is handed over' "$(in_ns cli python3 tests/net/mesh_stream.py whole 127.0.0.1 7002 1000 2>&1)" whole

nsenter --net="/var/run/netns/$(ns cli)" python3 tests/net/mesh_stream.py held 127.0.0.1 7002 3000000 >"$TMP/held" 2>&1 &
held_pid=$!
at_end "kill $held_pid"
check 'a tunnel that stays' eventually 30 grep -q '^whole' "$TMP/held"
is "the server's mesh says by which path it goes" "$(paths srv)" $path
is "the client's, too" "$(paths cli)" $path
printf '  - { name: no, from: web, to: db, deny: [tcp/7001] }\n' >>"$TMP/rules.yaml"
check 'a rule that is gone' reload srv
gone=$(date +%s%3N)
check 'cuts it, whatever its path' eventually 10 grep -q '^reset' "$TMP/held"
note "$(($(sed -n 's/^reset //p' "$TMP/held") - gone)) ms after the reload was done"
is 'and nothing failed on the way' "$(metric srv ktls_failed_total) $(metric cli ktls_failed_total) $(metric srv ktls_rekeys_total)" '0 0 0'
if [ $path = ktls ]; then
	check 'what was spliced is counted' [ "$(metric srv bytes_spliced_total)" -gt 1000000 ]
fi

# --- switched off -------------------------------------------------------------------------------------------------------------
sed -i '$d' "$TMP/rules.yaml"
printf 'paths: { splice: false, ktls: false }\n' >>"$TMP/srv.yaml"
check_not 'paths change with a restart only' reload srv
mesh_start srv --takeover
off() { [ "$(status srv '.paths | .spliced.why_not + ", " + .ktls.why_not')" = 'paths.splice is false, paths.ktls is false' ] && ready srv; }
check 'status says what is switched off' eventually 20 off
nsenter --net="/var/run/netns/$(ns cli)" python3 tests/net/mesh_stream.py held 127.0.0.1 7002 3000000 >"$TMP/held" 2>&1 &
at_end "kill $!"
check 'a tunnel goes on' eventually 30 grep -q '^whole' "$TMP/held"
is 'and is copied' "$(paths srv)" copied
is 'by a count, too' "$(metric srv bytes_spliced_total)" 0
done_testing
