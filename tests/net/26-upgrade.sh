#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Everything of a daemon dies, comes back, is replaced, finds maps that it can not read, and its policy is loaded again and again,
# under one TCP transfer that policy allows and one sender that it does not: the transfer loses no byte, the sender gets no packet
# through.
. tests/net/lib.sh
need ip nsenter jq pgrep
need_file "$BUILD/baileyd" 'run make'

dir=$TMP
prefix=$T
host_of() { case $1 in web) echo 2 ;; db) echo 3 ;; lax) echo 4 ;; esac; }
netns_of() { echo "/var/run/netns/$(ns "$1")"; }
# shellcheck source=tests/net/nodes-lib.sh
. tests/net/nodes-lib.sh
ifname_of() { echo "by$U-$(host_of "$1")"; }
traffic=$PWD/$BUILD/tests/net/traffic

load wireguard tun sch_ingress cls_bpf bridge veth
ns_add hub web db lax
bridge hub br0
for n in web db lax; do
	veth_bridge $n eth0 "$(underlay_of $n)/24" hub br0
done

# db runs a copy, which is replaced later; its policy is of two files that say the same in other words
mkdir "$dir/bin"
cp "$baileyd" "$dir/bin/baileyd"
make_root || exit 1
policy=policy/examples/three-tier.yaml
sed '/^tests:/,$d' $policy >"$dir/a.yaml"
{ cat "$dir/a.yaml"; echo '  - { name: another, from: intruder, to: web, allow: [tcp/1-100, udp/53] }'; } >"$dir/b.yaml"
cp "$dir/a.yaml" "$dir/db-policy.yaml"
write_lax_policy "$dir/lax-policy.yaml"
make_identity web web
make_identity db db
make_identity lax intruder
write_config web "$PWD/$policy" 3600 db
write_config db "$dir/db-policy.yaml" 3600 web lax
write_config lax "$dir/lax-policy.yaml" 3600 db
for n in web db lax; do
	at_end "take_down $n"
	[ $n = db ] && baileyd=$dir/bin/baileyd || baileyd=$PWD/$BUILD/baileyd
	start_node $n
done
baileyd=$dir/bin/baileyd # from here on only db's is started again

# --- helpers -----------------------------------------------------------------------------------------------------------
role_pid() { pgrep -P "$(cat "$dir/db.pid")" -f -- "--role=$1" | head -n 1; }
generation() { status_of db | jq .policy.generation; }

# go NAME NODE ARGS...: traffic in the background; what it says at its end is in $TMP/NAME.
go() {
	name=$1 node=$2
	shift 2
	nsenter --net="$(netns_of "$node")" "$traffic" "$@" >"$TMP/$name" 2>&1 &
	echo $! >"$TMP/$name.pid"
	at_end "kill -9 $!"
}

# over NAME: ends it; its exit status is that of the traffic.
over() {
	kill "$(cat "$TMP/$1.pid")"
	wait "$(cat "$TMP/$1.pid")"
}

said() { sed -n "s/^\([0-9]*\) .*/\1/p" "$TMP/$1"; }

# The transfer moves: its flow's device counts on.
bytes_in() { in_ns db sed -n "s/^ *$(ifname_of db): *\([0-9]*\) .*/\1/p" /proc/net/dev; }
# shellcheck disable=SC2317 # called through check
moves() {
	moved_from=$(bytes_in)
	eventually 10 more_than "$moved_from"
}
# shellcheck disable=SC2317
more_than() { [ "$(bytes_in)" -gt $(($1 + 200000)) ]; }

# --- traffic -----------------------------------------------------------------------------------------------------------
check 'the nodes know each other' wait_until 30 knows db 2
check 'lax knows db' wait_until 30 knows lax 1
spawn db "$talk" echo 5432
check 'web reaches db' eventually 10 in_ns web "$talk" ask tcp "$(overlay_of db)" 5432
go count db count 8080
go knock4 lax knock "$(overlay_of db)" 8080
go knock6 lax knock "$(overlay6_of db)" 8080
go stream4 web stream "$(overlay_of db)" 5432
go stream6 web stream "$(overlay6_of db)" 5432
check 'the transfer moves' moves

# --- what is done to the daemon ------------------------------------------------------------------------------------------
for role in net edge net; do
	old=$(role_pid $role)
	kill -9 "$old"
	check "$role dies: the transfer moves" moves
	check "and $role is another" eventually 20 sh -c "pgrep -P $(cat "$dir/db.pid") -f -- --role=$role | grep -qvx $old"
done
check 'the node is ready again' wait_until 30 knows db 2

end_pid "$dir/db.pid" -KILL
check 'kill -9 of the parent: the transfer moves' moves
start_node db
check 'it starts again' wait_until 30 knows db 2
check 'the transfer moves' moves

printf 'another build' >"$dir/bin/tail"
cat "$PWD/$BUILD/baileyd" "$dir/bin/tail" >"$dir/bin/new"
chmod 755 "$dir/bin/new"
mv "$dir/bin/new" "$dir/bin/baileyd"
end_pid "$dir/db.pid"
check 'the binary is replaced, the daemon stopped: the transfer moves' moves
start_node db
check 'the new one starts' wait_until 30 knows db 2
check 'it is the new one' cmp "/proc/$(role_pid net)/exe" "$dir/bin/baileyd"
check 'the transfer moves' moves

# --- maps of another layout ----------------------------------------------------------------------------------------------
# As if what is pinned were another version's, which this build does not read.
other_pins=$(dirname "$(pins_of db)")/v1
end_pid "$dir/db.pid"
mv "$(pins_of db)" "$other_pins"
check_not 'it does not start over flows that it can not carry over' in_ns db timeout 60 "$baileyd" -c "$dir/db.yaml"
like 'and says which map, and what to do' "$(cat "$TMP/out")" "*$other_pins/by_ct4: flows *Start that one again*--forget-flows*"
check_not 'a check says so beforehand' in_ns db "$baileyd" -c "$dir/db.yaml" --check
check 'what is there goes on: the transfer moves' moves
mv "$other_pins" "$(pins_of db)"
start_node db
check 'what it can read it takes' wait_until 30 knows db 2
check 'the transfer moves' moves

# --- policies --------------------------------------------------------------------------------------------------------------
before=$(generation)
for i in 1 2 3 4 5 6 7 8 9 10 11 12; do
	[ $((i % 2)) = 0 ] && cp "$dir/a.yaml" "$dir/db-policy.yaml" || cp "$dir/b.yaml" "$dir/db-policy.yaml"
	"$bailey" reload --instance "$prefix-db" >/dev/null || note "reload $i failed"
done
check 'twelve reloads are twelve generations' eventually 5 sh -c "[ \$('$bailey' status --instance '$prefix-db' --json |
	jq .policy.generation) -ge $((before + 12)) ]"
check 'the transfer moves' moves

# --- the end ---------------------------------------------------------------------------------------------------------------
check 'each byte over IPv4 came back, over one connection' over stream4
check 'and over IPv6' over stream6
over knock4
over knock6
sleep 0.5
over count
note "$(cat "$TMP/stream4"), $(cat "$TMP/stream6"), $(said knock4) and $(said knock6) forbidden datagrams"
check 'the forbidden sender sent' test "$(said knock4)" -gt 1000
is 'and nothing of it came' "$(said count)" 0

# Can that fail? The same sender, when policy lets it.
{ cat "$dir/a.yaml"; echo '  - { name: open, from: intruder, to: db, allow: [udp/8080] }'; } >"$dir/db-policy.yaml"
"$bailey" reload --instance "$prefix-db" >/dev/null
go count db count 8080
go knock4 lax knock "$(overlay_of db)" 8080
sleep 2
over knock4
sleep 0.5
over count
check 'a policy that allows it lets it through' test "$(said count)" -gt 100

# Flows that somebody gave up.
end_pid "$dir/db.pid"
mv "$(pins_of db)" "$other_pins"
check 'flows are given up' in_ns db "$baileyd" -c "$dir/db.yaml" --forget-flows
check 'a check has nothing against it' in_ns db "$baileyd" -c "$dir/db.yaml" --check
start_node db
check 'then it starts' wait_until 30 knows db 2
check_not 'nothing of the other layout is left' test -e "$other_pins"
check 'connections are made anew' eventually 10 in_ns web "$talk" ask tcp "$(overlay_of db)" 5432

for n in web db lax; do
	take_down $n
done
done_testing
