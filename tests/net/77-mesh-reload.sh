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
was=$(status srv .reloads) refused=$(status srv .reloads_refused)
answer=$(reload srv 2>&1)
is 'what workers refuse is no success' "$?" 1
like 'and told with its cause' "$answer" '*worker [0-7] refuses it*own certificate*'
refuses() { reload srv 2>&1 | grep -q 'refuses it'; }
ask() { in_ns cli python3 tests/net/mesh_reload.py 10.77.0.2 443 "$TMP/web" 16 true; }
is 'peers are judged as before' "$(ask)" 'kept 200=16 new 200=16'
is 'it is counted as refused, and as nothing else' "$(status srv '"\(.reloads) \(.reloads_refused)"')" "$was $((refused + 1))"
workers() { status srv '[.workers[].pid] | sort | join(" ")'; }
others() {
	now=$(workers)
	all_serve && [ -z "$(printf '%s\n' $old $now | sort | uniq -d)" ]
}
died() { # all workers: those that are started in their place
	old=$(workers)
	kill -9 $old
	eventually 30 others
}
check 'all workers die, and are started again' died
is 'with what runs, not with what was refused' "$(ask)" 'kept 200=16 new 200=16'
check 'what is on disk is refused as before' refuses
is 'and again nothing has changed' "$(ask)" 'kept 200=16 new 200=16'
cat "$TMP/root.good" >"$TMP/root/root.pem"
cp "$TMP/srv.yaml" "$TMP/srv.good"
printf 'simulated: false\n' >"$TMP/strict.yaml"
sed -i "s|evidence.yaml|strict.yaml|; s|^server.*|server: { services: [{ name: web, listen: \"10.77.0.2:443\", http: \"127.0.0.1:8080\" }, { name: more, listen: \"10.77.0.2:444\", http: \"127.0.0.1:8080\" }] }|" "$TMP/srv.yaml"
check 'an evidence policy of another file, and another address to listen on, are refused' refuses
is 'peers are judged by the evidence policy of before' "$(ask)" 'kept 200=16 new 200=16'
closed() { in_ns cli curl -sk -o "$TMP/out" https://10.77.0.2:444/; [ $? = 7 ]; }
check 'nobody listens where the refused configuration would have' eventually 10 closed
check 'all workers die once more' died
is 'and are as before' "$(ask)" 'kept 200=16 new 200=16'
check 'nor do those that were started later listen there' closed
sed -i 's|strict.yaml|evidence.yaml|' "$TMP/srv.yaml"
check 'what is right of it is taken into use' reload srv
opened() { in_ns cli curl -sk -o "$TMP/out" -w '%{http_code}' https://10.77.0.2:444/ | grep -q 401; }
check 'and the address with it' eventually 10 opened
sed -i 's|evidence.yaml|strict.yaml|' "$TMP/srv.yaml"
check 'the file of the evidence policy is the one that is named now' refuses
cp "$TMP/srv.good" "$TMP/srv.yaml"
sed -i "s/^workers: .*/workers: 2/" "$TMP/srv.yaml"
like 'what needs a restart is named' "$(reload srv 2>&1)" '*workers: changes with a restart only*'
cp "$TMP/srv.good" "$TMP/srv.yaml"
cat "$TMP/root.good" >"$TMP/root/root.pem"
check 'what is right again is one' reload srv
done_testing
