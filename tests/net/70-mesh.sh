#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# bailey-mesh from outside: an application in cli, a backend in srv, two meshes between them. What is refused, what is
# passed on byte for byte, what policy says of requests, and what a change of certificate, trust or policy does to those
# who are connected. dstack-vpc's own example, with its environment variables, is at the end.
. tests/net/lib.sh
. tests/net/mesh-lib.sh

need curl jq openssl python3 ip
mesh_set_up 70
"$bailey" dev-identity root --out "$TMP/strange" >/dev/null || not_ok 'another simulation root is made'
ops=c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3
one=1111111111111111111111111111111111111111
two=2222222222222222222222222222222222222222
identity web $web $one
identity db $db $two
identity ops $ops $one
identity foreign $web $one --root "$TMP/strange"
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=x -days 5 -keyout "$TMP/plain.key" -out "$TMP/plain.pem" 2>/dev/null

# --- what both sides run --------------------------------------------------------------------------------------------------
cat >"$TMP/rules.yaml" <<-END
	version: 1
	apps:
	  web: { app-id: $web }
	  db: { app-id: $db }
	  ops: { app-id: $ops }
	rules:
	  - { name: web-to-db, from: web, to: db, allow: [tcp/443] }
	  - { name: web-api, from: web, to: db, allow: [tcp/8445], http: [{ methods: [GET, HEAD], path: /v1/items/** }] }
	  - { name: no-admin, from: any-attested, to: db, deny: [tcp/443, tcp/8445], http: [{ path: /admin/** }] }
	  - { name: sockets, from: web, to: db, allow: [tcp/8443] }
	  - { name: postgres, from: web, to: db, allow: [tcp/5433] }
	  - { name: redis, from: web, to: db, allow: [tcp/6380] }
	  - { name: open, from: web, to: db, allow: [tcp/8446] }
	  - { name: circle, from: [web, db], to: db, allow: [tcp/8447] }
END
conf cli "[$TMP/rules.yaml]" <<-END
	client:
	  listen: ["127.0.0.1:8091"]
	  gateway: direct/10.70.0.2
	  tunnels:
	    - { name: raw, listen: "127.0.0.1:4430", app: $db, port: 8446 }
	    - { name: pg, listen: "127.0.0.1:5432", app: $db, instance: $two, port: 5433 }
	    - { name: redis, listen: "127.0.0.1:6379", app: $db, port: 6380 }
	limits: { head_s: $((2 * PATIENCE)), connect_s: $((5 * PATIENCE)), drain_s: $((5 * PATIENCE)) }
END
conf srv "[$TMP/rules.yaml]" <<-END
	client:
	  gateway: direct/10.70.0.2
	  tunnels: [{ name: circle, listen: "127.0.0.1:8099", app: $db, port: 8447 }]
	server:
	  auth: ["127.0.0.1:8092"]
	  services:
	    - { name: web, listen: "10.70.0.2:443", http: "127.0.0.1:8080", headers: [instance, claims, verified] }
	    - { name: named, listen: "10.70.0.2:443", http: "127.0.0.1:8081", host: other.internal }
	    - { name: ws, listen: "10.70.0.2:8443", http: "127.0.0.1:8082" }
	    - { name: shut, listen: "10.70.0.2:8449", http: "127.0.0.1:8080" }
	    - { name: api, listen: "10.70.0.2:8445", http: "127.0.0.1:8080" }
	    - { name: open, listen: "10.70.0.2:8446", http: "127.0.0.1:8080" }
	    - { name: circle, listen: "10.70.0.2:8447", http: "127.0.0.1:8099" }
	    - { name: pg, listen: "10.70.0.2:5433", tcp: "127.0.0.1:5432" }
	    - { name: redis, listen: "10.70.0.2:6380", tcp: "127.0.0.1:6379" }
	limits: { head_s: $((2 * PATIENCE)), connect_s: $((5 * PATIENCE)), drain_s: $((5 * PATIENCE)) }
	workers: 2
END
cp "$TMP/web.pem" "$TMP/cli.pem"; cp "$TMP/web.key" "$TMP/cli.key"
cp "$TMP/db.pem" "$TMP/srv.pem"; cp "$TMP/db.key" "$TMP/srv.key"

mesh_down() {
	kill "$1"
	wait "$1" 2>/dev/null
}
# get PATH [CURL_OPTION...]: as the application, of db
get() {
	get_path=$1
	shift
	in_ns cli curl -s -m $((10 * PATIENCE)) -H "x-dstack-target-app: $db" "$@" "http://127.0.0.1:8091$get_path"
}
code() { get "$@" -o "$TMP/body" -w '%{http_code}'; }
py() { in_ns cli python3 tests/net/mesh_client.py "$@" 2>"$TMP/py.err"; }
raw() { py raw 127.0.0.1 8091 "$@"; }
T_DB="Host: x\r\nx-dstack-target-app: $db\r\n"

check 'a configuration is checked' "$mesh" -c "$TMP/srv.yaml" --check
sed 's/listen: \["127.0.0.1:8091"\]/listen: ["127.0.0.1:8091", "127.0.0.1:8091"]/' "$TMP/cli.yaml" >"$TMP/twice.yaml"
like 'an address that is named for two things is seen then' "$("$mesh" -c "$TMP/twice.yaml" --check 2>&1)" '*127.0.0.1:8091: is named for two things'
"$bailey" mesh no-such 2>/dev/null
is 'a question that nobody knows is one of usage, whatever runs' $? 2
spawn srv python3 tests/net/mesh_backend.py 8080 8082
spawn srv python3 tests/net/mesh_backend.py 8081
mesh_up srv || not_ok "the server's mesh starts: $(cat "$TMP/srv.log")"
srv_pid=$mesh_pid
mesh_up cli || not_ok "the client's mesh starts: $(cat "$TMP/cli.log")"
cli_pid=$mesh_pid
eventually 5 in_ns srv curl -s -o "$TMP/out" http://127.0.0.1:8080/

# --- what an application gets ---------------------------------------------------------------------------------------------
is '/health answers' "$(in_ns cli curl -s -o "$TMP/out" -w '%{http_code}' http://127.0.0.1:8091/health)" 200
is '/gateway tells the gateway' "$(in_ns cli curl -s http://127.0.0.1:8091/gateway | jq -r .gateway_domain)" direct/10.70.0.2
is 'the backend is told who asks' "$(get /hello)" "Your app_id is: $web"
get /echo >"$TMP/echo"
is 'instance and claims, too' "$(jq -r '.headers["x-dstack-instance-id"] + " " + .headers["x-dstack-verified"]' "$TMP/echo")" "$one simulated"
is 'what it proves is JSON' "$(jq -r '.headers["x-dstack-claims"] | fromjson | .["compose-hash"]' "$TMP/echo")" "$hash"
is 'the headers that say where are gone' "$(jq -r '[.headers | keys[] | select(startswith("x-dstack-target"))] | length' "$TMP/echo")" 0
for method in GET POST PUT PATCH DELETE OPTIONS TRACE PURGE; do
	is "$method is passed on with its body" "$(get '/a/b?c=d' -X $method -d body | jq -r '.method + " " + .path + " " + (.size | tostring)')" "$method /a/b?c=d 4"
done
is 'HEAD has no body' "$(get /hello -I -o "$TMP/out" -w '%{http_code} %{size_download}')" '200 0'
is 'its own path is the backend'\''s' "$(get /health | jq -r .path)" /health
for status in 204 304 404 418 503; do
	is "status $status is passed on" "$(code /status/$status)" $status
done
head -c 20000000 /dev/urandom >"$TMP/big"
is 'twenty megabytes go up whole' "$(get /echo -T "$TMP/big" | jq -r .sha256)" "$(sha256sum <"$TMP/big" | cut -d ' ' -f 1)"
is 'chunked, too' "$(get /echo -T - -X POST <"$TMP/big" | jq -r .sha256)" "$(sha256sum <"$TMP/big" | cut -d ' ' -f 1)"
is 'and come back whole' "$(get /stream -T "$TMP/big" | sha256sum)" "$(sha256sum <"$TMP/big")"
is 'nothing waits for the end of a body' "$(py duplex 127.0.0.1 8091 $db)" duplex
like 'trailers go up' "$(raw "POST /echo HTTP/1.1\r\n${T_DB}TE: trailers\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 900\r\n\r\n")" '*"x-sum": "900"*'
like 'and down' "$(raw "POST /stream HTTP/1.1\r\n${T_DB}TE: trailers\r\nTransfer-Encoding: chunked\r\nConnection: close, TE\r\n\r\n3\r\nabc\r\n0\r\n\r\n")" '*X-Sum: done*'
like '100-continue comes from the backend' "$(raw "POST /echo HTTP/1.1\r\n${T_DB}Expect: 100-continue\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc")" 'HTTP/1.1 100*HTTP/1.1 200*'
if python3 -c 'import websockets' 2>/dev/null; then
	is 'a WebSocket client talks' "$(py websocket 127.0.0.1 8091 $db)" echoed || cat "$TMP/py.err"
else
	skip 'a WebSocket client talks' 'python3-websockets is not installed'
fi
is 'CONNECT makes a tunnel' "$(in_ns cli curl -s -m 10 -p -x http://127.0.0.1:8091 --proxy-header "x-dstack-target-app: $db" --proxy-header 'x-dstack-target-port: 8446' http://any.name:80/hello)" 'Your app_id is: None'
is 'services are told apart by host name' "$(get /hello -H 'Host: other.internal')" "Your app_id is: $web"
is 'a TCP tunnel leads there, too' "$(in_ns cli curl -s -m 5 http://127.0.0.1:4430/hello)" "Your app_id is: $web"

# --- who is not let in ------------------------------------------------------------------------------------------------------
is 'a forged identity is overwritten' "$(get /hello -H 'X-Dstack-App-Id: 00' -H "x_dstack_app_id: 00" -H 'X-DSTACK-APP-ID: 01')" "Your app_id is: $web"
error() { get /hello "$@" | jq -r .error; }
other() { in_ns cli curl -s -m 10 -H "x-dstack-target-app: $1" "http://127.0.0.1:8091/hello" | jq -r .error; }
like 'another app than the one that answers' "$(other $ops)" "SSL_VERIFICATION_FAILED*is app $db, not $ops"
is 'which gets 526' "$(in_ns cli curl -s -o "$TMP/out" -w '%{http_code}' -H "x-dstack-target-app: $ops" http://127.0.0.1:8091/)" 526
like 'another instance' "$(error -H "x-dstack-target-instance: $one")" "SSL_VERIFICATION_FAILED*is instance $two, not $one"
is 'the right instance' "$(get /hello -H "x-dstack-target-instance: $two")" "Your app_id is: $web"
for bad in "x-dstack-target-app;" 'x-dstack-target-app: 12' "x-dstack-target-app: ${db}0" "x-dstack-target-app: z${db#?}"; do
	is "refused: $bad" "$(in_ns cli curl -s -m 5 -o "$TMP/out" -w '%{http_code}' -H "$bad" http://127.0.0.1:8091/hello)" 400
done
for bad in 'x-dstack-target-port: 0' 'x-dstack-target-port: 65536' 'x-dstack-target-port: 443x' 'x-dstack-target-instance: 12' 'x-dstack-target-use-tls: no' 'x-dstack-target-use-tls: false' "x-dstack-target-app: $ops"; do
	is "refused: $bad" "$(code /hello -H "$bad")" 400
done
tls() { py tls 10.70.0.2 443 "$@"; }
like 'no certificate: 401' "$(tls - 'GET /hello HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n')" 'HTTP/1.1 401*'
like 'no certificate: /health answers' "$(tls - 'GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n')" 'HTTP/1.1 200*healthy*'
like 'no certificate: not as a part of a path' "$(tls - 'GET /health/x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n')" 'HTTP/1.1 401*'
like 'a certificate without evidence' "$(tls "$TMP/plain" 'GET /hello HTTP/1.1\r\nHost: x\r\n\r\n')" 'T*'
like 'evidence of another root' "$(tls "$TMP/foreign" 'GET /hello HTTP/1.1\r\nHost: x\r\n\r\n')" 'T*'
like 'the right one, without a mesh' "$(tls "$TMP/web" 'GET /hello HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n')" "*Your app_id is: $web*"
like 'TLS 1.2 is refused' "$(in_ns cli openssl s_client -connect 10.70.0.2:443 -tls1_2 </dev/null 2>&1)" '*alert protocol version*'

# --- policy -----------------------------------------------------------------------------------------------------------------
like 'an app without a rule: 403 that names it' "$(tls "$TMP/ops" 'GET /hello HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n')" 'HTTP/1.1 403*no rule from ops to db covers*'
is 'a path that a rule denies: 403' "$(code /admin/users)" 403
like 'which names the rule' "$(jq -r .error "$TMP/body")" 'DENIED*rule no-admin denies web to db tcp/443*'
like 'the server says so by itself' "$(tls "$TMP/web" 'GET /ADMIN/%75sers HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n')" 'HTTP/1.1 403*no-admin*'
api() { py tls 10.70.0.2 8445 "$TMP/web" "$1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"; }
like 'a method and path that are allowed' "$(api 'GET /v1/items/3')" 'HTTP/1.1 200*'
like 'another method' "$(api 'DELETE /v1/items/3')" 'HTTP/1.1 403*'
like 'another path' "$(api 'GET /v1/itemsets')" 'HTTP/1.1 403*'
like 'a path that can be read in two ways' "$(api 'GET /v1/items/../../hello')" 'HTTP/1.1 403*'
denied=$(metric cli denied_total)
is 'each request on a kept connection is judged as itself' \
	"$(in_ns cli curl -s -m $((10 * PATIENCE)) -H "x-dstack-target-app: $db" -o "$TMP/out" -o "$TMP/out" -o "$TMP/out" -w '%{num_connects}:%{http_code} ' \
		http://127.0.0.1:8091/admin/a http://127.0.0.1:8091/hello http://127.0.0.1:8091/admin/b)" '1:403 0:200 0:403 '
is 'by the side that asks, too' "$(metric cli denied_total)" $((denied + 2))
denied=$(metric cli denied_total)
is 'a port that no rule opens' "$(code /hello -H 'x-dstack-target-port: 8449')" 403
like 'is named so' "$(jq -r .error "$TMP/body")" 'DENIED: policy: default deny: no rule from web to db covers tcp/8449'
is 'and counted, though it was a peer that nobody had met there' "$(metric cli denied_total)" $((denied + 1))
check 'denials are counted' [ "$(metric srv denied_total)" -ge 5 ]

like 'a trailer that would be an identity is refused, and said to be one' \
	"$(tls "$TMP/web" 'POST /hello HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX-Dstack-App-Id: x\r\n\r\n')" \
	'HTTP/1.1 400*a trailer field that may not be one*'

# --- in circles ---------------------------------------------------------------------------------------------------------------
get /echo >"$TMP/echo"
is 'each mesh says that it passed a request on' "$(jq -r '.headers.via' "$TMP/echo")" '1.1 bailey-mesh'
hops() { for _ in $(seq "$1"); do printf 'Via: 1.1 bailey-mesh\\r\\n'; done; }
like 'fourteen meshes before are no circle' "$(raw "GET /hello HTTP/1.1\r\n${T_DB}$(hops 14)Connection: close\r\n\r\n")" 'HTTP/1.1 200*'
like 'sixteen are' "$(raw "GET /hello HTTP/1.1\r\n${T_DB}$(hops 16)Connection: close\r\n\r\n")" 'HTTP/1.1 508*LOOP_DETECTED*'
list=$(for _ in $(seq 16); do printf '1.1 bailey-mesh, '; done)
is 'also in one list' "$(code /hello -H "Via: ${list%, }")" 508
is 'others do not count' "$(code /hello -H "Via: $(echo "$list" | sed 's/bailey-mesh/nginx/g; s/, $//')")" 200
# a service whose backend is a tunnel that leads to the service
is 'a circle ends' "$(code /hello -H 'x-dstack-target-port: 8447')" 508

# --- requests that two programs would read in two ways ------------------------------------------------------------------------
smuggle() { raw "$1" 1 | head -n 1 | tr -d '\r'; }
for what in 'Content-Length: 3\r\nTransfer-Encoding: chunked' 'Content-Length: 3\r\nContent-Length: 4' 'Transfer-Encoding: chunked, chunked' \
	'Transfer-Encoding: xchunked' 'Transfer-Encoding : chunked' 'Content-Length: +3' 'Content-Length: 3, 3' 'X: a\r\n b: c'; do
	like "refused: $(echo "$what" | tr -d '\r\n')" "$(smuggle "POST /echo HTTP/1.1\r\n$T_DB$what\r\n\r\n0\r\n\r\n")" 'HTTP/1.1 [45]0[01]*'
done
like 'refused: two Hosts' "$(smuggle "GET / HTTP/1.1\r\n${T_DB}Host: y\r\n\r\n")" 'HTTP/1.1 400*'
like 'refused: a bare LF' "$(smuggle "GET / HTTP/1.1\n$T_DB\r\n")" 'HTTP/1.1 400*'
like 'refused: a chunk that is not one' "$(raw "POST /echo HTTP/1.1\r\n${T_DB}Transfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n0\r\n\r\n" 1)" '*400*'
check 'each is counted' [ "$(metric cli malformed_requests_total)" -ge 9 ]
is 'a head that drips is not waited for' "$(py slow 127.0.0.1 8091 $((2 * PATIENCE)) $((60 * PATIENCE)))" cut
like 'a head without end' "$(raw "GET / HTTP/1.1\r\n$T_DB$(printf 'X-A: %01000d\\r\\n' $(seq 20))" 1)" 'HTTP/1.1 431*'

# --- tickets and keys ---------------------------------------------------------------------------------------------------------
for _ in 1 2 3 4 5 6; do
	in_ns cli curl -s -o "$TMP/out" http://127.0.0.1:4430/hello
done
check 'later connections are resumed, by whichever worker' [ "$(metric srv resumed_in_total)" -ge 4 ]
key_pid=$(status srv .key.pid)
is 'the key process holds the key alone' "$(tr '\0' ' ' <"/proc/$key_pid/cmdline" | grep -c -- '--role=key')" 1
is 'all but the parent have no capability, and a filter' "$(for p in $key_pid $(status srv '.workers[].pid'); do awk '/^CapEff|^Seccomp:|^NoNewPrivs/ { print $2 }' "/proc/$p/status"; done | sort | uniq -c | awk '{ print $1 "x" $2 }' | tr '\n' ' ')" '3x0000000000000000 3x1 3x2 '
kill -9 "$key_pid"
eventually 5 sh -c "[ \"\$('$bailey' mesh status --json --socket '$TMP/run/srv/ctl.sock' | jq -r '.key.pid')\" -gt 0 ]"
check 'a key process that dies is started again' eventually 5 sh -c "nsenter --net=/var/run/netns/$(ns cli) python3 tests/net/mesh_client.py tls 10.70.0.2 443 '$TMP/web' 'GET /hello HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n' | grep -q 'Your app_id'"
worker_pid=$(status srv '.workers[0].pid')
kill -9 "$worker_pid"
check 'so is a worker' eventually 5 sh -c "[ \"\$('$bailey' mesh status --json --socket '$TMP/run/srv/ctl.sock' | jq -r '[.workers[].running, (.silent_workers == 0)] | all')\" = true ]"
is 'and requests go on' "$(get /hello)" "Your app_id is: $web"

# --- PostgreSQL and Redis -----------------------------------------------------------------------------------------------------
if [ -n "$(command -v redis-server)" ]; then
	nsenter --net="/var/run/netns/$(ns srv)" redis-server --bind 127.0.0.1 --port 6379 --save '' --dir "$TMP" >"$TMP/redis.log" 2>&1 &
	at_end "kill $!"
	eventually 5 in_ns srv redis-cli ping
	is 'Redis is reached by a tunnel' "$(in_ns cli redis-cli -h 127.0.0.1 set key value; in_ns cli redis-cli -h 127.0.0.1 get key)" "OK
value"
	check 'and works it' in_ns cli redis-benchmark -h 127.0.0.1 -q -n 2000 -c 20 -t set,get
else
	skip 'Redis is reached by a tunnel' 'redis-server is not installed'
fi
pg_bin=$(dirname "$(find /usr/lib/postgresql -name initdb -path '*/bin/*' 2>/dev/null | sort -V | tail -n 1)")
if [ -x "$pg_bin/initdb" ]; then
	mkdir -m 700 "$TMP/pg"
	chown nobody "$TMP/pg"
	setpriv --reuid nobody --regid nogroup --clear-groups env HOME="$TMP/pg" "$pg_bin/initdb" -D "$TMP/pg/data" -U web -A trust -N >"$TMP/pg.log" 2>&1
	nsenter --net="/var/run/netns/$(ns srv)" setpriv --reuid nobody --regid nogroup --clear-groups "$pg_bin/postgres" -D "$TMP/pg/data" \
		-c listen_addresses=127.0.0.1 -c unix_socket_directories= >>"$TMP/pg.log" 2>&1 &
	pg_pid=$!
	at_end "kill $pg_pid"
	sql() { in_ns cli env PGCONNECT_TIMEOUT=5 psql -h 127.0.0.1 -U web -d postgres -qAtc "$1" 2>&1; }
	eventually 20 sh -c "nsenter --net=/var/run/netns/$(ns srv) psql -h 127.0.0.1 -U web -d postgres -qAtc 'select 1' >/dev/null 2>&1"
	is 'PostgreSQL is reached by a tunnel' "$(sql 'create table t as select generate_series(1, 100000) as n; select sum(n) from t')" 5000050000
	is 'and its answers are whole' "$(sql 'select n from t order by n' | sha256sum)" "$(seq 100000 | sha256sum)"
	kill -INT $pg_pid
else
	skip 'PostgreSQL is reached by a tunnel' 'postgresql is not installed'
fi

# --- a change under load ------------------------------------------------------------------------------------------------------
rotate() {
	for _ in 1 2 3 4 5; do
		identity next $db $two
		cat "$TMP/next.key" >"$TMP/srv.key"; cat "$TMP/next.pem" >"$TMP/srv.pem"
		reload srv || return 1
		identity next $web $one
		cat "$TMP/next.key" >"$TMP/cli.key"; cat "$TMP/next.pem" >"$TMP/cli.pem"
		reload cli || return 1
		sleep 0.5
	done
}
before=$(status srv .identity.certificates)
(py load 127.0.0.1 8091 $db $((5 * PATIENCE)) 8 >"$TMP/load") &
load_pid=$!
(in_ns cli python3 tests/net/mesh_client.py lines 127.0.0.1 4430 $((5 * PATIENCE)) >"$TMP/lines" 2>"$TMP/lines.err") &
lines_pid=$!
check 'five certificates of each side are taken into use' rotate
wait $load_pid $lines_pid
is 'no request failed meanwhile' "$(cat "$TMP/load")" '0 failed'
is 'no new connection did' "$(cat "$TMP/lines")" '0 failed'
note "$(cat "$TMP/py.err" "$TMP/lines.err" | tr '\n' ' ')"
is 'each was counted' "$(status srv .identity.certificates)" $((before + 5))
identity next $ops $two
cp "$TMP/srv.pem" "$TMP/srv.pem.good"; cp "$TMP/srv.key" "$TMP/srv.key.good"
cat "$TMP/next.key" >"$TMP/srv.key"; cat "$TMP/next.pem" >"$TMP/srv.pem"
reload srv
like 'a certificate of another app is not taken' "$(sleep "$PATIENCE"; status srv .last_refused.why)" '*another app or instance*'
is 'and the old one goes on' "$(get /hello)" "Your app_id is: $web"
is_told() { [ "$(status srv .identity.certificates)" -gt "$had" ]; }
refused_again() { # more often than the key process keeps keys
	for _ in 1 2 3 4 5; do
		had=$(status srv .identity.certificates)
		identity next $ops $two
		cat "$TMP/next.key" >"$TMP/srv.key"; cat "$TMP/next.pem" >"$TMP/srv.pem"
		reload srv && eventually 10 is_told || return 1
	done
}
shakes() { tls "$TMP/web" 'GET /hello HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n' | grep -q '^HTTP/1.1 200'; }
check 'nor are five more' refused_again
check 'which push no key out that is in use' eventually 10 shakes
victim=$(status srv '.workers[0].pid')
kill -9 "$victim"
is_itself() { [ "$(status srv "$1")" != "$victim" ] && [ "$(status srv .identity.app_id)" = $db ] && [ "$(get /hello)" = "Your app_id is: $web" ]; }
check 'a worker that is started then has the old one, too' eventually 30 is_itself '.workers[0].pid'
victim=$(status srv .key.pid)
kill -9 "$victim"
signs() { is_itself .key.pid && shakes; }
check 'and a key process its key' eventually 30 signs
cat "$TMP/srv.key.good" >"$TMP/srv.key"; cat "$TMP/srv.pem.good" >"$TMP/srv.pem"
reload srv
printf 'rules: [\n' >>"$TMP/rules.yaml"
check_not 'a broken policy is refused' reload srv
sed -i '$d' "$TMP/rules.yaml"

# --- who is connected, and may not any more -------------------------------------------------------------------------------------
# hold: a tunnel. cut COMMAND...: it must be cut by what the command does. How soon is noted, and attacked in 75-mesh-guard.sh: a
# machine that does much else at the time takes long to run those who see it.
is_held() { # the rules of a moment ago may still be a worker's
	nsenter --net="/var/run/netns/$(ns cli)" python3 tests/net/mesh_client.py hold 127.0.0.1 8091 "$db" $((60 * PATIENCE)) >"$TMP/held" 2>&1 &
	hold_pid=$!
	at_end "kill $hold_pid"
	eventually 5 grep -q HTTP "$TMP/held"
	grep -q ' 200 ' "$TMP/held"
}
hold() { eventually 10 is_held; }
cut() {
	cut_start=$(date +%s%3N)
	"$@" || return 1
	cut_done=$(date +%s%3N)
	wait $hold_pid
	cut_at=$(sed -n 2p "$TMP/held")
	[ "$cut_at" -ge "$cut_start" ] || return 1
	note "reload took $((cut_done - cut_start)) ms; the tunnel was cut $((cut_at - cut_done)) ms after it was done"
}
hold
like 'status says by which paths relays can go, and why not by others' "$("$bailey" mesh status --socket "$TMP/run/srv/ctl.sock")" \
	'*paths     copied, spliced*no path   sockmap: every TCP relay here has TLS on one side*'
is 'the path of each is in flows' "$("$bailey" mesh flows --json --socket "$TMP/run/srv/ctl.sock" | jq -r '[.flows[] | select(.tunnel) | .path] | unique | join(" ")')" copied
check 'a tunnel is in flows with its rule' sh -c "'$bailey' mesh flows --socket '$TMP/run/srv/ctl.sock' | grep -q 'tunnel.*rule open'"
cp "$TMP/rules.yaml" "$TMP/rules.all"
printf '  - { name: no-open, from: any-attested, to: db, deny: [tcp/8446] }\n' >>"$TMP/rules.yaml"
check 'a rule that denies now cuts it' cut reload srv
is 'and lets nobody in' "$(code /hello -H 'x-dstack-target-port: 8446')" 403
cp "$TMP/rules.all" "$TMP/rules.yaml"
reload srv
hold
sed -i '/name: sockets/d' "$TMP/rules.yaml"
reload srv
sleep "$PATIENCE"
check 'a rule that was not its own leaves it' kill -0 $hold_pid
sed -i '/name: open/d' "$TMP/rules.yaml"
check 'a rule that is gone cuts it' cut reload srv
cp "$TMP/rules.all" "$TMP/rules.yaml"
reload srv
hold
cp "$TMP/root/root.pem" "$TMP/root.good"
cat "$TMP/strange/root.pem" >"$TMP/root/root.pem"
reload srv >/dev/null 2>&1
like 'a trust that refuses the own certificate is not taken into use' "$(sleep "$PATIENCE"; tail -n 5 "$TMP/srv.log")" '*own certificate*'
cat "$TMP/root.good" >"$TMP/root/root.pem"
cat "$TMP/root.good" "$TMP/strange/root.pem" >"$TMP/root/root.pem"
check 'another trust cuts those who were believed by the old' cut reload srv
is 'who then proves it anew' "$(get /hello)" "Your app_id is: $web"

# --- /auth for nginx ------------------------------------------------------------------------------------------------------------
pem() { python3 -c 'import sys, urllib.parse; print(urllib.parse.quote(open(sys.argv[1]).read(), safe=""), end="")' "$1"; }
auth() { in_ns srv curl -s -m 5 -D "$TMP/auth.head" -o "$TMP/auth" -w '%{http_code}' "$@" http://127.0.0.1:8092/auth; }
is '/auth: a good certificate' "$(auth -H 'x-client-verify: SUCCESS' -H "x-client-cert: $(pem "$TMP/web.pem")" -H 'x-original-method: GET' -H 'x-original-uri: /a?b')" 200
like 'tells who it is' "$(tr -d '\r' <"$TMP/auth.head" | grep -i x-dstack-app-id)" "[Xx]-[Dd]stack-[Aa]pp-[Ii]d: $web"
is '/auth: a request that a rule denies' "$(auth -H 'x-client-verify: SUCCESS' -H "x-client-cert: $(pem "$TMP/web.pem")" -H 'x-original-method: GET' -H 'x-original-uri: /admin/a')" 403
is '/auth: a request that nginx does not tell, where rules ask' "$(auth -H 'x-client-verify: SUCCESS' -H "x-client-cert: $(pem "$TMP/web.pem")")" 403
is '/auth: not proved to nginx' "$(auth -H 'x-client-verify: NONE' -H "x-client-cert: $(pem "$TMP/web.pem")")" 401
is '/auth: no evidence' "$(auth -H 'x-client-verify: SUCCESS' -H "x-client-cert: $(pem "$TMP/plain.pem")")" 401
is '/auth: an app without a rule' "$(auth -H 'x-client-verify: SUCCESS' -H "x-client-cert: $(pem "$TMP/ops.pem")")" 403
is '/auth: no PEM' "$(auth -H 'x-client-verify: SUCCESS' -H 'x-client-cert: %zz')" 401
is '/auth: twice' "$(auth -H 'x-client-verify: SUCCESS' -H 'x-client-verify: SUCCESS' -H "x-client-cert: $(pem "$TMP/web.pem")")" 401
is '/auth: nothing at all' "$(auth)" 401

# --- an end without an end of requests --------------------------------------------------------------------------------------------
(get /slow?$((3 * PATIENCE)) >"$TMP/slow") &
slow_pid=$!
is_active() { [ "$(metric cli active)" -gt 0 ]; }
eventually 10 is_active
kill "$cli_pid"
check_not 'a mesh that drains takes nobody new' in_ns cli curl -s -m 2 -o "$TMP/out" http://127.0.0.1:8091/health
wait $slow_pid
is 'and answers who was there' "$(cat "$TMP/slow")" slow
check 'then it ends' eventually 6 sh -c "! kill -0 $cli_pid 2>/dev/null"
mesh_down "$srv_pid"

# --- peers that a baileyd knows -----------------------------------------------------------------------------------------------
# its part is played here, line by line; that baileyd says so is in 20-daemon.sh
mkfifo "$TMP/peers.fifo"
python3 tests/net/mesh_peers.py "$TMP/peers.sock" <"$TMP/peers.fifo" &
at_end "kill $!"
exec 8>"$TMP/peers.fifo"
printf '{"event":"peer","node":"db","app_id":"%s","instance_id":"%s","addresses":["10.70.0.2"]}\n{"event":"all"}\n' "$db" "$two" >&8
sed -i "s|gateway: .*|baileyd: $TMP/peers.sock|" "$TMP/cli.yaml"
mesh_up srv || not_ok "the server's mesh starts again: $(cat "$TMP/srv.log")"
mesh_up cli || not_ok "the client's mesh starts with a baileyd: $(cat "$TMP/cli.log")"
check 'it learns who is there' eventually 5 sh -c "[ \"\$('$bailey' mesh status --json --socket '$TMP/run/cli/ctl.sock' | jq .baileyd.peers)\" = 1 ]"
is 'a peer that baileyd knows is dialled on the overlay' "$(get /hello)" "Your app_id is: $web"
like 'another one is not known, and there is no gateway' "$(other $ops)" 'CONNECTION_FAILED*no peer that is known here*'
hold
gone() { printf '{"event":"gone","node":"db","app_id":"%s","instance_id":"%s","addresses":["10.70.0.2"]}\n' "$db" "$two" >&8; }
check 'a peer that is gone is cut' cut gone
like 'and dialled no more' "$(get /hello | jq -r .error)" 'CONNECTION_FAILED*no peer that is known here*'
mesh_down "$mesh_pid"

# --- dstack-vpc's example, by its environment -----------------------------------------------------------------------------------
ns_add vpc
printf '{"name":"vpc"}' >"$TMP/vpc.json"
agent_args="--state $TMP/agent --compose $TMP/vpc.json --listen $TMP/dstack.sock --tee sim --sim-root $TMP/root --instance-id $one"
# shellcheck disable=SC2086 # the options are meant to split
spawn vpc "$BUILD/bailey-agent" $agent_args
eventually 10 in_ns vpc curl -s -o "$TMP/out" --unix-socket "$TMP/dstack.sock" http://dstack/Version
spawn vpc python3 tests/net/mesh_backend.py 8080
eventually 5 in_ns vpc curl -s -o "$TMP/out" http://127.0.0.1:8080/
vpc_env="MESH_BACKEND=127.0.0.1:8080 DSTACK_GATEWAY_DOMAIN=fixed/127.0.0.1:443 DSTACK_AGENT_ADDRESS=unix:$TMP/dstack.sock BAILEY_MESH_RUN=$TMP/run"
like 'what is no part of a mesh is refused by name' "$(env DSTACK_VPC_HA_MODE=true $vpc_env "$mesh" --env --check 2>&1)" '*DSTACK_VPC_HA_MODE*part of dstack-vpc*'
# without root, in the namespace alone: ports below 1024 by its setting
in_ns vpc sh -c 'echo 80 >/proc/sys/net/ipv4/ip_unprivileged_port_start'
chmod 777 "$TMP/run"
nsenter --net="/var/run/netns/$(ns vpc)" setpriv --reuid nobody --regid nogroup --clear-groups --bounding-set -all --inh-caps -all \
	env $vpc_env "$mesh" --env >"$TMP/vpc.log" 2>&1 &
vpc_pid=$!
at_end "kill -9 $vpc_pid"
vpc() { in_ns vpc curl -s -m 5 "$@"; }
check 'it starts from the environment, without root' eventually 10 ready mesh || cat "$TMP/vpc.log"
own=$(vpc http://127.0.0.1/info | jq -r .app_id)
is 'a client learns its own app_id' "${#own}" 40
is 'and calls itself by it' "$(vpc -H "x-dstack-target-app: $own" http://127.0.0.1/hello)" "Your app_id is: $own"
is 'the agent is asked by JSON, whatever the case of its call' "$(vpc -H 'Content-Type: application/json' -d '{"report_data":"00"}' http://127.0.0.1/get_quote | jq -r '.quote | length > 1000')" true
is '/gateway' "$(vpc http://127.0.0.1/gateway | jq -r .gateway_domain)" fixed/127.0.0.1:443
like 'status says that this is weaker' "$("$bailey" mesh status --socket "$TMP/run/mesh/ctl.sock")" '*by issuer: a CA vouches for peers; what they run is not proved*none: every peer*'
like 'another app is not this one' "$(vpc -H "x-dstack-target-app: $db" http://127.0.0.1/hello | jq -r .error)" 'SSL_VERIFICATION_FAILED*'
like 'a certificate of another CA is refused' "$(in_ns vpc python3 tests/net/mesh_client.py tls 127.0.0.1 443 "$TMP/web" 'GET /hello HTTP/1.1\r\nHost: x\r\n\r\n')" 'T*'
like 'no certificate: 401' "$(in_ns vpc python3 tests/net/mesh_client.py tls 127.0.0.1 443 - 'GET /hello HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n')" 'HTTP/1.1 401*'
mesh_down $vpc_pid

done_testing
