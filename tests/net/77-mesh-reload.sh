#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# `bailey mesh reload` has answered: then no worker judges by the rules of before. Eight workers, on connections that they have and on
# new ones; a worker that does not get to it, and one that refuses what it is told.
. tests/net/lib.sh
. tests/net/mesh-lib.sh

need curl jq python3 ip
any_kernel 'what processes say to each other'
mesh_set_up 77
identity web $web $web
identity srv $db $db
WORKERS=8
rules() { # PORT
	cat >"$TMP/rules.yaml" <<-END
		version: 1
		apps: { web: { app-id: $web }, db: { app-id: $db } }
		rules: [{ name: ask, from: web, to: db, allow: [tcp/$1] }]
	END
}
conf srv "[$TMP/rules.yaml]" <<-END
	server: { services: [{ name: web, listen: "10.77.0.2:443", http: "127.0.0.1:8080" }] }
	workers: $WORKERS
END
rules 443
spawn srv python3 tests/net/mesh_backend.py 8080
mesh_up srv || not_ok "the mesh starts: $(cat "$TMP/srv.log")"
answers() { in_ns srv curl -s -o "$TMP/out" http://127.0.0.1:8080/; }
eventually 20 answers
all_serve() { [ "$(status srv '.silent_workers == 0 and ([.workers[].running] | all)')" = true ]; }
check 'all workers are there' eventually 20 all_serve

# --- the next request, whichever worker has it ----------------------------------------------------------------------------------
after() { in_ns cli python3 tests/net/mesh_reload.py 10.77.0.2 443 "$TMP/web" 32 "$bailey" mesh reload --socket "$TMP/run/srv/ctl.sock"; }
for turn in 1 2 3 4; do
	rules 444
	is "turn $turn: the rule is gone for all" "$(after)" 'kept 403=32 new 403=32'
	rules 443
	is "turn $turn: and there again for all" "$(after)" 'kept 200=32 new 200=32'
done

# --- a worker that does not get to it --------------------------------------------------------------------------------------------
late=$(status srv '.workers[3].pid')
at_end "kill -CONT $late"
kill -STOP "$late"
(reload srv >"$TMP/answer" 2>&1; echo "status $?" >>"$TMP/answer") &
waits=$!
sleep 2
is 'while one worker is stopped nobody is told that it is done' "$(grep -c status "$TMP/answer")" 0
kill -CONT "$late"
wait $waits
is 'when it goes on it is' "$(tail -n 1 "$TMP/answer")" 'status 0'
kill -STOP "$late"
answer=$(reload srv 2>&1)
is 'one that stays stopped is waited for for a while' "$?" 1
like 'and named' "$answer" "*worker 3 (pid $late)*"
is 'the control socket serves others meanwhile, and later' "$(status srv .silent_workers)" 1
kill -CONT "$late"
check 'then all is well again' reload srv

# --- one that refuses ------------------------------------------------------------------------------------------------------------
"$bailey" dev-identity root --out "$TMP/strange" >/dev/null
cp "$TMP/root/root.pem" "$TMP/root.good"
cat "$TMP/strange/root.pem" >"$TMP/root/root.pem"
answer=$(reload srv 2>&1)
is 'what workers refuse is no success' "$?" 1
like 'and told with its cause' "$answer" '*worker 0 refuses it*own certificate*'
ask() { in_ns cli python3 tests/net/mesh_reload.py 10.77.0.2 443 "$TMP/web" 16 true; }
is 'peers are judged as before' "$(ask)" 'kept 200=16 new 200=16'
cat "$TMP/root.good" >"$TMP/root/root.pem"
check 'what is right again is one' reload srv
done_testing
