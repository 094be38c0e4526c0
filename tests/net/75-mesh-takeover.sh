#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# bailey-mesh started again, and replaced by another program, under load: no connection is refused, no request fails, and
# who is connected goes on. What does not come so far as to serve changes nothing. A service manager's sockets, too.
. tests/net/lib.sh
. tests/net/mesh-lib.sh

need curl jq python3 ip setpriv
mesh_set_up 75
identity cli $web $web
identity srv $db $db
conf cli any-attested <<-END
	limits: { drain_s: 12 }
	client:
	  listen: ["127.0.0.1:8091"]
	  gateway: direct/10.75.0.2
	  tunnels:
	    - { name: lines, listen: "127.0.0.1:4430", app: $db, port: 443 }
	    - { name: echo, listen: "127.0.0.1:7002", app: $db, port: 7001 }
END
conf srv any-attested <<-END
	limits: { drain_s: 12 }
	server:
	  services:
	    - { name: web, listen: "10.75.0.2:443", http: "127.0.0.1:8080" }
	    - { name: echo, listen: "10.75.0.2:7001", tcp: "127.0.0.1:7000" }
	workers: 2
END

serves() { [ "$(status "$1" .pid)" = "$2" ] && [ "$(status "$1" '.identity.app_id | length')" = 40 ]; }
gone() { ! kill -0 "$1" 2>/dev/null; }
get() { in_ns cli curl -s -m 10 -H "x-dstack-target-app: $db" "http://127.0.0.1:8091/$1"; }
# replace NAME PROGRAM: by one that takes over; $replaced is who was there
replace() {
	replaced=$(status "$1" .pid)
	mesh=$2
	mesh_start "$1" --takeover
	eventually 30 serves "$1" $mesh_pid
}

spawn srv python3 tests/net/mesh_backend.py 8080
spawn srv python3 tests/net/mesh_stream.py echo 7000
mesh_start srv --takeover
check 'with nobody there a takeover is a start' eventually 30 serves srv $mesh_pid || cat "$TMP/srv.log"
mesh_start cli
check 'the other side starts' eventually 30 serves cli $mesh_pid || cat "$TMP/cli.log"
check 'a request goes through' eventually 20 sh -c "[ \"\$(nsenter --net=/var/run/netns/$(ns cli) curl -s -m 5 -H 'x-dstack-target-app: $db' http://127.0.0.1:8091/hello)\" = 'Your app_id is: $web' ]"

# --- under load -------------------------------------------------------------------------------------------------------------
# with another file of the same program, as an upgrade brings it
cp "$BUILD/bailey-mesh" "$TMP/mesh-next"
chmod 755 "$TMP/mesh-next"
py() { nsenter --net="/var/run/netns/$(ns cli)" python3 "$@"; }
py tests/net/mesh_client.py load 127.0.0.1 8091 $db 9 6 >"$TMP/load" 2>"$TMP/load.err" &
load_pid=$!
py tests/net/mesh_client.py lines 127.0.0.1 4430 9 >"$TMP/lines" 2>"$TMP/lines.err" &
lines_pid=$!
py tests/net/mesh_stream.py talk 127.0.0.1 7002 9 >"$TMP/talk" 2>&1 &
talk_pid=$!
sleep 1
check "the server's side is started again" replace srv "$BUILD/bailey-mesh"
srv_first=$replaced
check 'and upgraded' replace srv "$TMP/mesh-next"
check "the client's side is started again" replace cli "$BUILD/bailey-mesh"
cli_first=$replaced
check 'and upgraded, too' replace cli "$TMP/mesh-next"
wait $load_pid $lines_pid $talk_pid
is 'no request failed meanwhile' "$(cat "$TMP/load")" '0 failed'
is 'no connection was refused or failed' "$(cat "$TMP/lines")" '0 failed'
is 'a tunnel of before goes on' "$(cat "$TMP/talk")" 'all came'
note "$(cat "$TMP/load.err" "$TMP/lines.err" | tr '\n' ' ')"
is 'those who serve are the new ones' "$(readlink "/proc/$(status cli .pid)/exe") $(readlink "/proc/$(status srv .pid)/exe")" "$TMP/mesh-next $TMP/mesh-next"
check 'those of before end when nobody is left' eventually 20 sh -c "! kill -0 $srv_first 2>/dev/null && ! kill -0 $cli_first 2>/dev/null"

# --- what does not come so far ------------------------------------------------------------------------------------------------
serving=$(status srv .pid)
cp "$TMP/cli.pem" "$TMP/cli.pem.good"
cp "$TMP/srv.pem" "$TMP/cli.pem"
in_ns cli timeout 20 "$BUILD/bailey-mesh" -c "$TMP/cli.yaml" --takeover >"$TMP/bad.log" 2>&1
is 'one with a certificate that is not its key ends' $? 1
cp "$TMP/cli.pem.good" "$TMP/cli.pem"
is 'and the one before goes on' "$(get hello)" "Your app_id is: $web"
check_not 'without being told to, nobody takes over' in_ns srv timeout 20 "$BUILD/bailey-mesh" -c "$TMP/srv.yaml"
check_not 'another user does not get the sockets' setpriv --reuid nobody --regid nogroup --clear-groups python3 -c "
import socket
socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET).connect('$TMP/run/srv/takeover.sock')"
is 'who takes the sockets and ends before it serves' "$(python3 -c "
import socket
s, n = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET), 0
s.connect('$TMP/run/srv/takeover.sock')
s.settimeout(20)
while True:
    data, fds, _, _ = socket.recv_fds(s, 64, 4)
    n += len(fds)
    if int.from_bytes(data, 'little') == 2:
        break
s.send(b'x' * 5000)
print(n)" 2>&1)" 2
is 'changes nothing, and says nothing that is understood' "$(get hello) $(status srv .pid)" "Your app_id is: $web $serving"
kill "$(status cli .pid)"

# --- a service manager's ------------------------------------------------------------------------------------------------------
eventually 20 sh -c "! '$bailey' mesh status --socket '$TMP/run/cli/ctl.sock' >/dev/null 2>&1"
conf cli any-attested <<-END
	limits: { drain_s: 12 }
	client: { listen: ["127.0.0.1:8093"], gateway: direct/10.75.0.2 }
END
nsenter --net="/var/run/netns/$(ns cli)" python3 tests/net/mesh_manager.py 127.0.0.1 8093 "$BUILD/bailey-mesh" -c "$TMP/cli.yaml" >>"$TMP/cli.log" 2>&1 &
manager_pid=$!
at_end "kill $manager_pid"
health() { in_ns cli curl -s -m 20 -o "$TMP/out.health" -w '%{http_code}' http://127.0.0.1:8093/health; }
check 'it serves at a socket that it was given' eventually 20 sh -c "[ \"\$('$bailey' mesh status --json --socket '$TMP/run/cli/ctl.sock' 2>/dev/null | jq -r '.identity.app_id | length')\" = 40 ]" || cat "$TMP/cli.log"
is 'and answers' "$(health)" 200
first=$(status cli .pid)
kill "$first"
check 'it ends' eventually 20 gone "$first"
is 'who comes while nobody serves waits and is answered' "$(health)" 200
check_not 'by another process' [ "$(status cli .pid)" = "$first" ]
kill $manager_pid
done_testing
