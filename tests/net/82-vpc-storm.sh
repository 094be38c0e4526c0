#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# A control plane that is killed while many nodes join, again and again: what it had acknowledged is there when it is back,
# and nobody has another address. Then it is killed once more, and who was revoked stays so.
. tests/net/lib.sh
any_kernel 'joining and a database; no packet is judged'
need ip nsenter jq pgrep sqlite3
need_file "$BUILD/bailey-vpc" 'run make'
need_file "$BUILD/tests/net/vpc_storm" 'run make tests'
bailey=$PWD/$BUILD/bailey
nodes=120

ns_add s
in_ns s ip link set lo up
chmod 711 "$TMP"
netns=/var/run/netns/$(ns s)
acks=$TMP/acks
: >"$acks"
control=$(printf 'c7%.0s' $(seq 20))
member=$(printf '5b%.0s' $(seq 20))
"$bailey" dev-identity root --out "$TMP/root" >/dev/null || exit 1
"$bailey" dev-identity issue --root "$TMP/root" --app-id "$control" --instance-id "$(printf '%040d' 99)" --name s \
	--out "$TMP/s" >/dev/null || exit 1
printf 'simulated: true\n' >"$TMP/evidence.yaml"
cat >"$TMP/admit.yaml" <<-END
	version: 1
	apps: { control: { app-id: $control }, member: { app-id: $member } }
	rules: [{ name: may-join, from: member, to: control, allow: [tcp/7947] }]
END
cat >"$TMP/vpc.yaml" <<-END
	version: 1
	listen: 127.0.0.1:7947
	state: $TMP/state
	run: $TMP/run
	identity: { certificate: $TMP/s.pem, key: $TMP/s.key }
	evidence: { policy: $TMP/evidence.yaml, simulated_roots: $TMP/root/root.pem }
	admit: $TMP/admit.yaml
END
node() { "$bailey" node "$@" --socket "$TMP/run/ctl.sock"; }
start_server() {
	nsenter --net="$netns" "$BUILD/bailey-vpc" --config "$TMP/vpc.yaml" >>"$TMP/log" 2>&1 &
	echo $! >"$TMP/pid"
}
# All three at once: none has time to tell the others. Waits until the socket that they share is closed.
kill_server() {
	pids="$(cat "$TMP/pid") $(pgrep -P "$(cat "$TMP/pid")")"
	# shellcheck disable=SC2086 # words
	kill -9 $pids
	wait "$(cat "$TMP/pid")" 2>/dev/null
	tries=0
	# shellcheck disable=SC2086 # words
	while kill -0 $pids 2>/dev/null && [ $tries -lt 50 ]; do
		sleep 0.1
		tries=$((tries + 1))
	done
}
# shellcheck disable=SC2317 # called through check
answers() { eventually 10 node list; }
# shellcheck disable=SC2317 # called through check
wait_storm() { grep -q ^restart "$TMP/storm"; }
acked() { wc -l <"$acks"; }
# shellcheck disable=SC2317 # called through check
has_acked() { [ "$(acked)" -ge "$1" ]; }
# shellcheck disable=SC2317 # called through check
are_members() { [ "$(node list --json | jq '[.[] | select(.state == "member")] | length')" = "$1" ]; }
# Whoever was told that it is a member and is none in the database at $1.
lost() {
	sort -u "$acks" >"$TMP/told"
	sqlite3 -separator ' ' "$1" 'SELECT name, epoch FROM node WHERE record IS NOT NULL' | sort | comm -23 "$TMP/told" -
}
# Of a server that was killed, a copy is looked at: to look is to repair.
lost_by_kill() {
	rm -rf "$TMP/copy"
	mkdir "$TMP/copy"
	cp "$TMP"/state/vpc.db* "$TMP/copy/"
	lost "$TMP/copy/vpc.db"
}
lost_in_all() {
	"$BUILD/bailey-vpc" backup --config "$TMP/vpc.yaml" --out "$TMP/backup.db" && lost "$TMP/backup.db"
}

at_end "kill -9 \$(pgrep -P \$(cat '$TMP/pid')) \$(cat '$TMP/pid')"
start_server
check 'the control plane answers' answers
cat >"$TMP/revoke" <<-END
	until [ -e '$TMP/quiet' ]; do sleep 0.05; done
	'$bailey' node revoke node-1 --socket '$TMP/run/ctl.sock' >/dev/null
END
cat >"$TMP/again" <<-END
	touch '$TMP/revoked'
	until [ -e '$TMP/killed' ]; do sleep 0.05; done
END
nsenter --net="$netns" "$BUILD/tests/net/vpc_storm" -a "$acks" \
	-r "sh '$TMP/revoke' &" -s "sh '$TMP/again' &" \
	127.0.0.1:7947 $nodes "$TMP/root" "$TMP/root/root.pem" >"$TMP/storm" 2>"$TMP/storm.err" &
storm=$!
at_end "kill $storm"

for at in 10 40 80; do
	check "$at nodes have been told that they are members" eventually 60 has_acked $at
	kill_server
	sleep 0.3 # words that were under way arrive
	note "killed when $(acked) of $nodes had been told so"
	is 'each of them is on disk' "$(lost_by_kill)" ''
	start_server
	check 'it comes back' answers
done
touch "$TMP/quiet" # the control plane is killed no more
check 'all join in the end, and a node is revoked' eventually 120 test -e "$TMP/revoked"
is 'nobody was lost on the way' "$(lost_in_all)" ''
check 'all are members, but the one' eventually 30 are_members $((nodes - 1))
is 'that was revoked' "$(node list --json | jq -r '.[] | select(.state == "revoked") | .node')" node-1
kill_server
touch "$TMP/killed"
start_server
check 'it comes back once more' answers
check 'and so do all but the one, with the addresses that they had' eventually 60 wait_storm
is 'who was revoked stays so' "$(node show node-1 | jq -r .state)" revoked
is 'nobody found anything wrong' "$(cat "$TMP/storm.err")" ''
note "$(tr '\n' ' ' <"$TMP/storm")"
done_testing
