#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# HTTP/2 and gRPC through two meshes, judged by programs of others: curl, nghttp, h2load, gRPC's own client and server.
. tests/net/lib.sh
. tests/net/mesh-lib.sh
any_kernel 'HTTP/2 over the TLS connections of 70-mesh'

need curl jq python3 ip ss nghttp h2load
mesh_set_up 71
identity cli $web 1111111111111111111111111111111111111111
identity srv $db 2222222222222222222222222222222222222222

cat >"$TMP/cli.rules" <<-END
	version: 1
	apps:
	  web: { app-id: $web }
	  db: { app-id: $db }
	rules:
	  - { name: web-to-db, from: web, to: db, allow: [tcp/443, tcp/8443, tcp/8444] }
	  - { name: no-admin, from: any-attested, to: db, deny: [tcp/443, tcp/8443], http: [{ path: /admin/** }, { path: /bailey.Echo/Admin }] }
END
cat "$TMP/cli.rules" - >"$TMP/srv.rules" <<-END
	  - { name: no-wipe, from: any-attested, to: db, deny: [tcp/443, tcp/8443], http: [{ path: /wipe }, { path: /bailey.Echo/Wipe }] }
END
conf cli "[$TMP/cli.rules]" <<-END
	limits: { head_s: 2, drain_s: 10 }
	client:
	  listen: ["127.0.0.1:8091"]
	  gateway: direct/10.71.0.2
	  tunnels: [{ name: raw, listen: "127.0.0.1:4430", app: $db, port: 8444 }]
END
conf srv "[$TMP/srv.rules]" <<-END
	limits: { head_s: 2, drain_s: 10 }
	server:
	  services:
	    - { name: web, listen: "10.71.0.2:443", http: "127.0.0.1:8080", headers: [instance, verified] }
	    - { name: rpc, listen: "10.71.0.2:8443", h2: "127.0.0.1:50051" }
	    - { name: files, listen: "10.71.0.2:8444", h2: "127.0.0.1:8081" }
END

get() {
	get_path=$1
	shift
	in_ns cli curl -s -m 20 --http2-prior-knowledge -H "x-dstack-target-app: $db" "$@" "http://127.0.0.1:8091$get_path"
}
code() { get "$@" -o "$TMP/body" -w '%{http_version} %{http_code}'; }
FILES='x-dstack-target-port: 8444'

spawn srv python3 tests/net/mesh_backend.py 8080
mkdir "$TMP/www"
echo hello >"$TMP/www/hello"
head -c 20000000 /dev/urandom >"$TMP/www/big"
if [ -n "$(command -v nghttpd)" ]; then
	spawn srv nghttpd --no-tls -d "$TMP/www" 8081
fi
mesh_up srv || not_ok "the server's mesh starts: $(cat "$TMP/srv.log")"
srv_pid=$mesh_pid
mesh_up cli || not_ok "the client's mesh starts: $(cat "$TMP/cli.log")"
eventually 5 in_ns srv curl -s -o "$TMP/out" http://127.0.0.1:8080/

# --- curl and nghttp ------------------------------------------------------------------------------------------------------
is 'curl speaks HTTP/2 to the mesh, the backend HTTP/1.1' "$(get /hello -w ' %{http_version}')" "Your app_id is: $web 2"
for method in GET POST PUT PATCH DELETE OPTIONS; do
	is "$method is passed on with its body" "$(get '/a/b?c=d' -X $method -d body | jq -r '.method + " " + .path + " " + (.size | tostring)')" "$method /a/b?c=d 4"
done
is 'HEAD has no body' "$(get /hello -I -o "$TMP/out" -w '%{http_code} %{size_download}')" '200 0'
is 'a body without a length is whole' "$(get /echo -T - -X POST <"$TMP/www/big" | jq -r .sha256)" "$(sha256sum <"$TMP/www/big" | cut -d ' ' -f 1)"
is 'and comes back whole' "$(get /stream -T "$TMP/www/big" | sha256sum)" "$(sha256sum <"$TMP/www/big")"
is 'a forged identity is overwritten' "$(get /hello -H 'x-dstack-app-id: 00' -H 'x_dstack_app_id: 00')" "Your app_id is: $web"
is 'a rule denies: 403' "$(code /admin/users)" '2 403'
like 'which names the rule' "$(jq -r .error "$TMP/body")" 'DENIED*rule no-admin denies web to db tcp/443*'
is 'the server denies by itself' "$(code /wipe)" '2 403'
like 'and names its rule' "$(jq -r .error "$TMP/body")" 'DENIED*rule no-wipe denies web to db tcp/443*'
is 'a path that can be read in two ways' "$(code '/x/../admin/y' --path-as-is)" '2 403'
is 'without a target header: 404' "$(in_ns cli curl -s -o "$TMP/out" -w '%{http_code}' --http2-prior-knowledge http://127.0.0.1:8091/x)" 404
is '/health answers' "$(in_ns cli curl -s -o "$TMP/out" -w '%{http_code}' --http2-prior-knowledge http://127.0.0.1:8091/health)" 200
direct() { in_ns cli curl -sk -m 5 "$@" -w ' %{http_version} %{http_code}'; }
is 'ALPN chooses HTTP/2 on the server side' "$(direct --cert "$TMP/cli.pem" --key "$TMP/cli.key" https://10.71.0.2/hello)" "Your app_id is: $web 2 200"
is 'or HTTP/1.1' "$(direct --http1.1 --cert "$TMP/cli.pem" --key "$TMP/cli.key" https://10.71.0.2/hello)" "Your app_id is: $web 1.1 200"
like 'no certificate: 401' "$(direct https://10.71.0.2/hello)" '* 2 401'
check 'nghttp talks, too' sh -c "nsenter --net=/var/run/netns/$(ns cli) nghttp -v -H 'x-dstack-target-app: $db' http://127.0.0.1:8091/hello | grep -q 'Your app_id is: $web'"
is 'all of it was one connection between the meshes, for each service' "$(status srv '[.counters.h2_requests > 10, .counters.handshakes_in < 8] | all')" true

# --- load -----------------------------------------------------------------------------------------------------------------
# load N CONNECTIONS STREAMS [HEADER...]: what failed
load() {
	load_n=$1 load_c=$2 load_m=$3
	shift 3
	in_ns cli h2load -n "$load_n" -c "$load_c" -m "$load_m" -H "x-dstack-target-app: $db" "$@" >"$TMP/load" 2>&1
	sed -n 's/^requests: .*, \([0-9]*\) succeeded, \([0-9]*\) failed, \([0-9]*\) errored.*/\1 \2 \3/p' "$TMP/load"
}
if [ -n "$(command -v nghttpd)" ]; then
	is '10,000 requests, none fails' "$(load 10000 4 32 -H "$FILES" http://127.0.0.1:8091/hello)" '10000 0 0'
	note "$(grep '^finished' "$TMP/load")"
	is 'more streams at once than one connection to the backend takes' "$(load 5000 10 100 -H "$FILES" http://127.0.0.1:8091/hello)" '5000 0 0'
	is 'megabytes from a backend of HTTP/2' "$(get /big -H "$FILES" | sha256sum)" "$(sha256sum <"$TMP/www/big")"
	is 'and to a client of HTTP/1.1' "$(in_ns cli curl -s -m 20 -H "x-dstack-target-app: $db" -H "$FILES" http://127.0.0.1:8091/big | sha256sum)" "$(sha256sum <"$TMP/www/big")"
	is 'a tunnel carries HTTP/2 without ALPN' "$(in_ns cli curl -s -m 5 --http2-prior-knowledge http://127.0.0.1:4430/hello)" hello
	(load 20000 4 16 -H "$FILES" http://127.0.0.1:8091/hello >"$TMP/rotated") &
	load_pid=$!
	for _ in 1 2 3; do
		identity next $db 2222222222222222222222222222222222222222
		cat "$TMP/next.key" >"$TMP/srv.key"; cat "$TMP/next.pem" >"$TMP/srv.pem"
		reload srv
		sleep 0.2
	done
	wait $load_pid
	is 'certificates change under load, and none fails' "$(cat "$TMP/rotated")" '20000 0 0'
else
	skip '10,000 requests, none fails' 'nghttp2-server is not installed'
fi
is 'a backend of HTTP/1.1 serves many streams' "$(load 500 2 16 http://127.0.0.1:8091/hello)" '500 0 0'
like 'streams that are opened and taken back end their connection' "$(in_ns cli python3 tests/net/mesh_client.py rapid 127.0.0.1 8091 $db 3000)" 'GOAWAY 11 *'
is 'which is counted' "$(metric cli h2_floods_total)" 1

# --- gRPC -----------------------------------------------------------------------------------------------------------------
if ! python3 -c 'import grpc' 2>/dev/null; then
	skip 'gRPC' 'python3-grpcio is not installed'
	done_testing
	exit
fi
spawn srv python3 tests/net/mesh_grpc.py serve 50051
listens() { in_ns srv ss -Hltn 'sport = :50051' | grep -q .; }
eventually 30 listens
in_ns cli timeout 100 python3 tests/net/mesh_grpc.py ask 8091 $db 8443 >"$TMP/grpc" 2>"$TMP/grpc.err" || note "$(tail -n 3 "$TMP/grpc.err")"
said() { sed -n "s/^$1: //p" "$TMP/grpc"; }
is 'a call, with who asks' "$(said unary)" "$web hi"
is 'its trailers' "$(said trailers)" 'after True'
is 'a message of three megabytes' "$(said large)" True
is 'a stream from the server' "$(said down)" '2000 True'
is 'a stream from the client' "$(said up)" 5000000
is 'both, in turns' "$(said both)" '100 True'
is 'a status with its text' "$(said status)" 'DATA_LOSS: lost: 100% –'
is 'a method that is not there' "$(said none)" UNIMPLEMENTED
like 'a call that a rule denies' "$(said denied)" 'PERMISSION_DENIED: *rule no-admin denies web to db tcp/8443*'
like 'a call that the server denies' "$(said wipe)" 'PERMISSION_DENIED: *rule no-wipe denies web to db tcp/8443*'
is 'a server that has heard enough' "$(said early)" 'RESOURCE_EXHAUSTED: enough'
is 'a deadline reaches the server' "$(said deadline)" 'DEADLINE_EXCEEDED True'
is 'so does a cancellation' "$(said cancelled)" True
like 'another app than the one that answers' "$(said other)" '*SSL_VERIFICATION_FAILED*'
is 'many at once' "$(said many)" 500

# --- who is connected, and may not any more -----------------------------------------------------------------------------------
talk() { in_ns cli timeout 60 python3 tests/net/mesh_grpc.py talk 8091 $db 8443 "$1" >"$TMP/talk" 2>&1; }
talk 20 &
talk_pid=$!
check 'a stream is in flows, with its rule' eventually 10 sh -c "'$bailey' mesh flows --socket '$TMP/run/srv/ctl.sock' | grep -q 'HTTP/2 stream.*rule web-to-db'"
check 'and its connection with its streams' sh -c "'$bailey' mesh flows --socket '$TMP/run/srv/ctl.sock' | grep -q 'HTTP/2, 1 streams'"
cp "$TMP/srv.rules" "$TMP/all.rules"
sed -i 's|tcp/443, tcp/8443, tcp/8444|tcp/443, tcp/8444|' "$TMP/srv.rules"
reload srv
check 'a rule that is gone cuts it' sh -c "for _ in \$(seq 50); do kill -0 $talk_pid 2>/dev/null || exit 0; sleep 0.1; done; exit 1"
like 'which its client sees' "$(cat "$TMP/talk")" 'INTERNAL *'
check 'the connection is still there for others' [ "$(code /hello)" = '2 200' ]
cp "$TMP/all.rules" "$TMP/srv.rules"
reload srv
talk 3 &
talk_pid=$!
eventually 10 sh -c "'$bailey' mesh flows --socket '$TMP/run/srv/ctl.sock' | grep -q 'HTTP/2 stream'"
kill "$srv_pid"
wait $talk_pid
like 'a drain lets a stream come to its end' "$(cat "$TMP/talk")" 'OK 30'
wait "$srv_pid"
is 'and ends then' $? 0

done_testing
