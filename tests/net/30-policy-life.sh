#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The life of a policy on a running node: applied, refused, on trial, confirmed, rolled back, found again after a restart
# and after kill -9. Each time two nodes really connect, or really do not. Policy A lets web reach db on tcp/5432 alone,
# policy B on tcp/8080 alone.
. tests/net/lib.sh
need ip nsenter jq curl pgrep setpriv
need_file "$BUILD/baileyd" 'run make'

dir=$TMP
prefix=$T
host_of() { case $1 in web) echo 2 ;; db) echo 3 ;; esac; }
netns_of() { echo "/var/run/netns/$(ns "$1")"; }
# shellcheck source=tests/net/nodes-lib.sh
. tests/net/nodes-lib.sh
ifname_of() { echo "by$U-$(host_of "$1")"; }

write_policy() { # PORT [OTHER PORT]
	cat <<-END
	version: 1
	apps:
	  web: { app-id: $(app_of web) }
	  db: { app-id: $(app_of db) }
	rules:
	  - { name: only-$1, from: web, to: db, allow: [tcp/$1] }
	tests:
	  - { from: web, to: db, port: tcp/$1, expect: allow }
	  - { from: web, to: db, port: tcp/22, expect: deny }
	END
}

load wireguard tun sch_ingress cls_bpf bridge veth
ns_add hub web db
bridge hub br0
for n in web db; do
	veth_bridge $n eth0 "$(underlay_of $n)/24" hub br0
done
make_root || exit 1
{ write_policy 5432 | sed '/^tests/,$d; s/tcp.5432/any/'; } >"$dir/web-policy.yaml"
write_policy 5432 >"$dir/a.yaml"
write_policy 8080 >"$dir/b.yaml"
cp "$dir/a.yaml" "$dir/configured.yaml"
make_identity web web
make_identity db db
write_config web "$dir/web-policy.yaml" 3600 db
write_config db "$dir/configured.yaml" 3600 web
for n in web db; do
	at_end "take_down $n"
	start_node $n
done

# --- helpers ---------------------------------------------------------------------------------------------------------
policy() { command=$1 && shift && "$bailey" policy "$command" --instance "$prefix-db" "$@"; }
of_status() { status_of db | jq -r ".policy.$1"; }
metric() { "$bailey" metrics --instance "$prefix-db" | sed -n "s/^$1 //p"; }
tcp_ok() { in_ns web "$talk" ask tcp "$(overlay_of db)" "$1"; }
digest_of() { sha256sum "$1" | cut -d ' ' -f 1; }
sock=/run/bailey/$prefix-db/ctl.sock
store=$dir/state-db/policy.json

# decided_by a|b: what two connections meet, and what the daemon says
decided_by() {
	case $1 in a) yes=5432 no=8080 ;; *) yes=8080 no=5432 ;; esac
	tcp_ok $yes && ! in_ns web timeout 1 "$talk" ask tcp "$(overlay_of db)" $no && [ "$(of_status digest)" = "$(digest_of "$dir/$1.yaml")" ]
}
either() { decided_by a || decided_by b; }
decides() { eventually 10 decided_by "$1"; }
restart() { # [SIGNAL]
	end_pid "$dir/db.pid" "${1:--TERM}"
	start_node db
	wait_until 30 knows db 1
}
post() { curl -s -o "$TMP/answer" -w '%{http_code}' --unix-socket "$sock" -X POST -d "$2" "http://localhost/v1/$1"; }

check 'web and db know each other' wait_until 30 knows db 1
spawn db "$talk" echo 5432
spawn db "$talk" echo 8080

# --- applied, rolled back --------------------------------------------------------------------------------------------
check 'the configured policy decides' decides a
is 'status says where it is from' "$(of_status origin)" configured
check_not 'there is nothing to go back to' policy rollback
check_not 'nor to confirm' policy confirm
check 'another one is applied' policy apply "$dir/b.yaml"
check 'and decides' decides b
is 'status says that it was applied' "$(of_status origin)" applied
is 'metrics, too' "$(metric "bailey_policy_info{digest=\"$(digest_of "$dir/b.yaml")\",origin=\"applied\"}")" 1
is 'the store is for root' "$(stat -c %a "$store")" 600
check 'rollback' policy rollback
check 'goes back' decides a
check 'rollback again' policy rollback
check 'returns' decides b
is 'both are counted' "$(metric bailey_policy_rollbacks_total)" 2
gen=$(of_status generation)
check 'the same one again' policy apply "$dir/b.yaml"
is 'is no new generation' "$(of_status generation)" "$gen"
check 'and what a rollback goes back to stays' sh -c "'$bailey' policy rollback --instance '$prefix-db'"
check 'apply without files is the configured policy' policy apply
check 'which decides' decides a

# --- asked -----------------------------------------------------------------------------------------------------------
# The loaded programs themselves, with packets that nobody sends.
live() { "$bailey" policy explain --live --instance "$prefix-db" "$@" 2>&1; echo "status $?"; }
pair="web (100.64.0.2) -> db (100.64.0.3)"
write_policy 5432 | sed 's/^\(  web: {.*\) }/\1, require: { simulated: false } }/' >"$dir/claims.yaml"
check 'a policy that asks for more than web proves' policy apply "$dir/claims.yaml"
like 'what it lacks is told' "$(live --from web --to db tcp/5432)" \
	"DENY   $pair tcp/5432 in on *: POLICY_DENY: *; nearest only-5432 *claims.yaml:6 allows tcp/5432, but the sender's simulated is true*status 1"
check 'the configured one again' policy apply
dropped=$(status_of db | jq '[.datapath.drops[].packets] | add')
is 'the program allows what the policy allows' "$(live --from web --to db tcp/5432)" \
	"ALLOW  $pair tcp/5432 in on $(ifname_of db): rule only-5432 (configured.yaml:6)
status 0"
like 'and denies what it does not' "$(live --from web --to db tcp/8080)" "DENY   $pair tcp/8080 in on *: POLICY_DENY: *status 1"
is 'the nearest rule is told' "$("$bailey" policy explain --live --json --instance "$prefix-db" --from web --to db tcp/5433 |
	jq -r '.answers[0].nearest | [.rule, .allows] | join(" ")') $(live --from web --to db tcp/5433 | sed -n 's/.*; //p')" \
	'only-5432 tcp/5432 nearest only-5432 configured.yaml:6 allows tcp/5432'
like 'out, too' "$(live --from db --to web tcp/5432)" 'DENY   db (100.64.0.3) -> web (100.64.0.2) tcp/5432 out on *: POLICY_DENY: *status 1'
like 'over IPv6 by address' "$(live --from fdba:11e7::2 --to db tcp/5432)" 'ALLOW  web (fdba:11e7::2) -> db (fdba:11e7::3) *status 0'
like 'ICMPv6 over IPv6' "$(live --from web --to db icmpv6/128)" 'DENY   web (fdba:11e7::2) -> *status 1'
like 'an address that nobody has proved' "$(live --from 100.64.0.99 --to db tcp/5432)" 'DENY   100.64.0.99 -> *: NO_IDENTITY: *status 1'
is 'as JSON' "$("$bailey" policy explain --live --json --instance "$prefix-db" --from web --to db tcp/5432 |
	jq -r '[.node, .answers[0].action, .answers[0].rule.name, .answers[0].rule.where, .answers[0].src.app, .policy] | join(" ")')" \
	"db allow only-5432 configured.yaml:6 web $(digest_of "$dir/configured.yaml")"
like 'with the files that are loaded' "$(live "$dir/configured.yaml" --from web --to db tcp/5432)" 'ALLOW *status 0'
like 'not with others' "$(live "$dir/b.yaml" --from web --to db tcp/5432)" \
	"*the files are policy $(digest_of "$dir/b.yaml" | cut -c 1-12), and what db has loaded is $(digest_of "$dir/configured.yaml" | cut -c 1-12);*status 2"
like 'nor between others' "$(live --from web --to web tcp/1)" '*one side must be this node (db)*status 2'
like 'a name that nobody has' "$(live --from wbe --to db tcp/1)" "*found 'wbe', needed a node*did you mean 'web'?*status 2"
like 'what a packet can not ask' "$(live --from web --to db tcp/70000)" '*port 70000 is above 65535*status 2'
like 'without the right to ask' "$(setpriv --reuid 65534 --regid 65534 --clear-groups "$bailey" policy explain --live --instance "$prefix-db" \
	--from web --to db tcp/5432 2>&1; echo "status $?")" '*ermission denied: only root is answered*status 2'
is 'no packet was counted for it' "$(status_of db | jq '[.datapath.drops[].packets] | add')" "$dropped"

# --- refused ---------------------------------------------------------------------------------------------------------
sed 's/tcp\/8080\]/tcp\/70000]/' "$dir/b.yaml" >"$dir/bad.yaml"
check_not 'a policy with an error is refused' policy apply "$dir/bad.yaml"
like 'with its place' "$(policy apply "$dir/bad.yaml" 2>&1)" '*bad.yaml:6:*rules?0?.allow?0?: port 70000 is above 65535*'
sed 's/expect: allow/expect: deny/' "$dir/b.yaml" >"$dir/bad.yaml"
like 'one whose tests fail is refused' "$(policy apply "$dir/bad.yaml" 2>&1; echo "status $?")" '*bad.yaml:8:*expected deny*status 1'
like 'also on trial' "$(policy apply "$dir/bad.yaml" --confirm 1h 2>&1; echo "status $?")" '*expected deny*status 1'
is 'a file that is not there is no answer' "$(policy apply "$dir/none.yaml" 2>/dev/null; echo $?)" 2
check 'what decided goes on' decides a
like 'status tells the refusal' "$("$bailey" status --instance "$prefix-db")" '*last one refused*bad.yaml:8*'
is 'a request that is no JSON is refused' "$(post policy/apply '{')" 422
is 'one with an unknown key' "$(post policy/apply '{ "flies": [] }')" 422
is 'one without a text' "$(post policy/apply '{ "files": [{ "name": "x" }] }')" 422
is 'one that is confirmed never' "$(post policy/apply '{ "confirm_s": 0 }')" 422
jq -n --arg t "version: 1
include: [deny.yaml]
$(sed 1d "$dir/b.yaml")" '{ files: [{ name: "b.yaml", text: $t }] }' >"$TMP/partial"
is 'one that lacks what it includes' "$(post policy/apply "@$TMP/partial")" 422
like 'by name' "$(cat "$TMP/answer")" '*deny.yaml* is not among the files*'
check 'still the same decides' decides a

# --- several files ---------------------------------------------------------------------------------------------------
mkdir -p "$dir/policy.d/teams"
{ echo 'version: 1' && echo 'include: [teams]' && sed -n '2,4p' "$dir/b.yaml"; } >"$dir/policy.d/base.yaml"
{ echo 'version: 1' && sed -n '5,$p' "$dir/b.yaml"; } >"$dir/policy.d/teams/rules.yaml"
check 'a folder with what it includes is applied' policy apply "$dir/policy.d"
check 'and opens the port' eventually 5 tcp_ok 8080
is 'the rule names its file' "$(status_of db | jq -r '.rules[] | select(.name == "only-8080") | .where')" rules.yaml:3
rm -r "$dir/policy.d"
check 'a restart finds it' restart
check 'without its files' eventually 5 tcp_ok 8080
check 'back to the configured one' policy apply
check 'which decides again' decides a

# --- on trial --------------------------------------------------------------------------------------------------------
check 'a short trial' policy apply "$dir/b.yaml" --confirm $((8 * PATIENCE))s
check 'decides' decides b
check 'and ends by itself' eventually 20 decided_by a
check_not 'too late to confirm' policy confirm
is 'metrics have nothing to confirm' "$(metric bailey_policy_confirm_seconds)" 0
check 'a longer trial' policy apply "$dir/b.yaml" --confirm 5m
check 'decides, too' decides b
like 'status shows the time left' "$("$bailey" status --instance "$prefix-db")" '*not confirmed*back to*in 2?? s*'
check 'so do metrics' test "$(metric bailey_policy_confirm_seconds)" -gt 200
check_not 'meanwhile nothing else is applied' policy apply "$dir/a.yaml"
check_not 'nor reloaded' "$bailey" reload --instance "$prefix-db"
check 'the trial goes on' decides b
check 'rollback gives it up' policy rollback
check 'at once' decides a
check 'a third' policy apply "$dir/b.yaml" --confirm $((2 * PATIENCE))s
check 'is confirmed' policy confirm
sleep $((3 * PATIENCE))
check 'and stays' decides b
check 'rollback from it' policy rollback
check 'goes to the one before' decides a

# --- the daemon dies -------------------------------------------------------------------------------------------------
check 'a policy that was applied' policy apply "$dir/b.yaml"
check 'decides after a restart' restart
check 'as before' decides b
is 'as the applied one' "$(of_status origin)" applied
check 'also after kill -9' restart -KILL
check 'as ever' decides b
check 'and a rollback finds the one before' policy rollback
check 'after all that' decides a
check 'a trial' policy apply "$dir/b.yaml" --confirm 5m
check 'in whose window' decides b
check 'the daemon is killed' restart -KILL
check 'ends with it' decides a
like 'which the log says' "$(cat "$dir/db.log")" '*was not confirmed before baileyd ended: back to the one before*'
check 'for good' restart
check 'also later' decides a

# --- the files change ------------------------------------------------------------------------------------------------
check 'an applied policy' policy apply "$dir/b.yaml"
check 'decides for now' decides b
end_pid "$dir/db.pid"
sed -i '1i # newer' "$dir/configured.yaml" && cp "$dir/configured.yaml" "$dir/a.yaml"
start_node db
check 'the files were changed while the daemon was down' wait_until 30 knows db 1
check 'they win: it is the later act' decides a
like 'and the log says so' "$(cat "$dir/db.log")" '*configured policy has changed since the last one was chosen: it decides now*'
cp "$dir/b.yaml" "$dir/configured.yaml"
check 'changed files on trial' policy apply --confirm $((8 * PATIENCE))s
check 'decide' decides b
check 'until nobody confirms' eventually 20 decided_by a
check 'a restart' restart
check 'does not take them for a later act' decides a
check 'a reload is one' "$bailey" reload --instance "$prefix-db"
check 'and they decide' decides b
echo 'rules: [' >"$dir/configured.yaml"
check 'with broken files it starts with what decided before' restart
check 'which does' decides b
like 'and says so' "$("$bailey" status --instance "$prefix-db")" '*last one refused*configured.yaml*'
cp "$dir/a.yaml" "$dir/configured.yaml"
check 'once they are good, the next start' restart
check 'takes them' decides a
echo '{ "version": 1' >"$store"
check 'with a broken store it starts, too' restart
check 'with the configured files' decides a

# --- kill -9 at any moment -------------------------------------------------------------------------------------------
policy apply "$dir/b.yaml" >/dev/null
whole=0
for i in 0 1 2 3 4 5 6 7; do
	case $((i % 2)) in 0) to=a ;; *) to=b ;; esac
	policy apply "$dir/$to.yaml" >/dev/null 2>&1 &
	apply=$!
	sleep "0.0$((i * 2 / 3))$((i % 3))"
	end_pid "$dir/db.pid" -KILL
	wait $apply
	start_node db
	wait_until 30 knows db 1
	if eventually 10 either; then whole=$((whole + 1)); fi
done
is 'killed while it applies, it starts with the old or the new policy, whole' $whole 8
policy apply "$dir/a.yaml" >/dev/null 2>&1 &
one=$!
policy apply "$dir/b.yaml" >/dev/null 2>&1 &
wait $! $one
check 'of two at once one decides, whole' eventually 10 either
done_testing
