#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# make demo-cluster: PostgreSQL under Patroni and etcd, from the release's packages, over an overlay that a policy rules. The
# primary is killed and another takes over; only who the policy names reaches a database. KEEP=1 leaves all running;
# `tests/demo/cluster.sh stop` ends it.
#
#   pg1 pg2 pg3  100.64.0.11 .12 .13   etcd, Patroni, PostgreSQL: the cluster; their own network device is judged, too
#   shop         100.64.0.21           the app that may reach PostgreSQL
#   other        100.64.0.22           attested like the others; no rule names it
#   stranger     10.99.0.99            on the same network as all of them, no member of anything
set -u
cd "$(dirname "$0")/../.." || exit 2
prefix=cluster
policy=policy/examples/postgres-cluster.yaml
members='pg1 pg2 pg3'
nodes="$members shop other"
outsiders=stranger
host_of() { case $1 in pg1) echo 11 ;; pg2) echo 12 ;; pg3) echo 13 ;; shop) echo 21 ;; other) echo 22 ;; stranger) echo 99 ;; esac; }
# shellcheck source=tests/demo/demo-lib.sh
. tests/demo/demo-lib.sh
app_named() { sed -n "s/^  $1: *{ *app-id: *\([0-9a-f]\{40\}\).*/\1/p" $policy; }
app_of() { case $1 in pg*) app_named postgres ;; intruder) app_named other ;; *) app_named "$1" ;; esac; }

# Each of what was started is the head of a session of its own; its id is in NAME.sid.
end_session() { # FILE SIGNAL
	[ -s "$1" ] || return 0
	kill "$2" "-$(cat "$1")"
	rm -f "$1"
}

end_servers() {
	rm -f "$dir/writing"
	for n in $members; do
		end_session "$dir/$n-patroni.sid" -KILL
		end_session "$dir/$n-etcd.sid" -KILL
		for pid in $(ip netns pids "by-cluster-$n" 2>/dev/null); do # PostgreSQL begins a session itself
			case $(cat "/proc/$pid/comm" 2>/dev/null) in postgres | pg_*) kill -KILL "$pid" 2>/dev/null ;; esac
		done
	done
}

# --- the cluster -------------------------------------------------------------------------------------------------
find_postgres() { for b in /usr/lib/postgresql/*/bin; do [ -x "$b/initdb" ] && found=$b; done; echo "${found:-}"; }

# run NODE NAME COMMAND...: as PostgreSQL's user, in the node's namespace
run() {
	run_node=$1 run_name=$2
	shift 2
	setsid nsenter --net="$(netns_of "$run_node")" setpriv --reuid=postgres --regid=postgres --clear-groups \
		env -i PATH="$PATH" HOME="$data" LC_ALL=C "$@" >>"$dir/$run_node-$run_name.log" 2>&1 &
	echo $! >"$dir/$run_node-$run_name.sid"
}

start_etcd() {
	all=
	for n in $members; do all=$all${all:+,}$n=http://$(overlay_of $n):2380; done
	for n in $members; do
		at=$(overlay_of $n)
		run $n etcd etcd --name $n --data-dir "$data/$n-etcd" --initial-cluster "$all" --initial-cluster-state new \
			--initial-cluster-token cluster --listen-peer-urls "http://$at:2380" --initial-advertise-peer-urls "http://$at:2380" \
			--listen-client-urls "http://$at:2379" --advertise-client-urls "http://$at:2379" \
			--heartbeat-interval 250 --election-timeout 2500
	done
	for n in $members; do
		wait_until 60 in_ns $n curl -sf --max-time 2 -o /dev/null "http://$(overlay_of $n):2379/health" ||
			{ tail -n 20 "$dir/$n-etcd.log" >&2; die "etcd on $n is not healthy"; }
	done
}

patroni_config() { # NODE
	cat <<-END
	scope: dstack-cluster
	name: $1
	restapi: { listen: "$(overlay_of "$1"):8008", connect_address: "$(overlay_of "$1"):8008" }
	etcd3: { hosts: ["$(overlay_of pg1):2379", "$(overlay_of pg2):2379", "$(overlay_of pg3):2379"] }
	bootstrap:
	  dcs: { ttl: 20, loop_wait: 3, retry_timeout: 8, maximum_lag_on_failover: 1048576, synchronous_mode: true,
	    postgresql: { use_pg_rewind: true, parameters: { fsync: "off", max_connections: 30 } } }
	  initdb: [encoding: UTF8, no-sync, auth-local: trust, auth-host: scram-sha-256]
	postgresql:
	  listen: "$(overlay_of "$1"):5432"
	  connect_address: "$(overlay_of "$1"):5432"
	  data_dir: $data/$1-data
	  bin_dir: $pg
	  pgpass: $data/$1-pgpass
	  basebackup: [checkpoint: fast]
	  authentication:
	    superuser: { username: postgres, password: $password }
	    replication: { username: replicator, password: $password }
	  parameters: { unix_socket_directories: "$data/$1-run" }
	  pg_hba: ["local all all trust", "host all all 100.64.0.0/10 scram-sha-256", "host replication replicator 100.64.0.0/10 scram-sha-256"]
	END
}

start_patroni() { run "$1" patroni patroni "$data/$1-patroni.yaml"; }

rest() { in_ns "$1" curl -s --max-time 2 "http://$(overlay_of "$1"):8008/$2"; }
role_of() { rest "$1" patroni 2>/dev/null | jq -r 'select(.state == "running") | .role' 2>/dev/null; }
primary() {
	for n in $members; do
		case $(role_of "$n") in master | primary) echo "$n" && return ;; esac
	done
}
has_primary() { [ -n "$(primary)" ]; }
other_primary() { now=$(primary); [ -n "$now" ] && [ "$now" != "$1" ]; }
replicas() { for n in $members; do [ "$(role_of "$n")" = replica ] && echo "$n"; done; }
has_replicas() { [ "$(replicas | wc -l)" = "$1" ]; }
# A standby that a commit waits for: from then on what was acknowledged is on two nodes.
is_synchronous() { rest "$(primary)" cluster | jq -e '[.members[] | select(.role == "sync_standby")] | length == 1' >/dev/null; }

start_cluster() {
	pg=$(find_postgres)
	[ -n "$pg" ] && command -v patroni etcd >/dev/null || die 'PostgreSQL, Patroni and etcd are needed: make deps-cluster'
	data=$(mktemp -d /tmp/by-cluster.XXXXXX)
	echo "$data" >"$dir/data"
	chown postgres: "$data"
	password=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
	start_etcd
	for n in $members; do
		mkdir "$data/$n-run"
		patroni_config "$n" >"$data/$n-patroni.yaml"
		chown postgres: "$data/$n-patroni.yaml" "$data/$n-run"
		chmod 600 "$data/$n-patroni.yaml"
		start_patroni "$n"
	done
	wait_until 90 has_primary || { tail -n 30 "$dir"/pg*-patroni.log >&2; die 'no primary'; }
	wait_until 120 has_replicas 2 || { tail -n 30 "$dir"/pg*-patroni.log >&2; die 'no two replicas'; }
	wait_until 60 is_synchronous || die 'no synchronous standby'
}

# --- the app -------------------------------------------------------------------------------------------------------
# libpq tries one host after the other until one takes writes.
sql() { # NODE QUERY
	in_ns "$1" env PGPASSWORD="$password" PGCONNECT_TIMEOUT=3 psql -XAtq -v ON_ERROR_STOP=1 \
		"host=$(overlay_of pg1),$(overlay_of pg2),$(overlay_of pg3) user=postgres dbname=postgres target_session_attrs=read-write" \
		-c "$2"
}

expect() { # WHAT WANTED GOT
	if [ "$2" = "$3" ]; then
		printf '%-58s %s\n' "$1" "$3"
	else
		failed=$((failed + 1))
		printf '%-58s %s   EXPECTED %s\n' "$1" "$3" "$2"
	fi
}
reaches() { if in_ns "$1" "$talk" ask tcp "$2" "$3" >/dev/null 2>&1 || in_ns "$1" curl -s -o /dev/null --max-time 2 --connect-timeout 2 "telnet://$2:$3" </dev/null; then echo reached; else echo denied; fi; }

# Rows until "$dir/writing" is gone; each that was acknowledged is counted in a file.
writer() {
	i=0
	while [ -e "$dir/writing" ]; do
		i=$((i + 1))
		sql shop "insert into orders values ($i)" >/dev/null 2>&1 && echo "$i" >>"$dir/acknowledged"
	done
}

who_reaches_what() {
	leader=$(primary)
	expect "shop writes to $leader" 1 "$(sql shop 'create table orders (id bigint); insert into orders values (0); select count(*) from orders')"
	expect 'shop and Patroni'"'"'s REST API' denied "$(reaches shop "$(overlay_of "$leader")" 8008)"
	expect 'shop and etcd' denied "$(reaches shop "$(overlay_of "$leader")" 2379)"
	expect 'other, attested, whose own policy allows everything' denied "$(reaches other "$(overlay_of "$leader")" 5432)"
	expect "stranger, at the overlay address" denied "$(reaches stranger "$(overlay_of "$leader")" 5432)"
	expect "stranger, at $leader's own network device" denied "$(reaches stranger "$(underlay_of "$leader")" 5432)"
}

kill_primary() {
	old=$(primary)
	: >"$dir/writing"
	: >"$dir/acknowledged"
	writer &
	writing=$!
	sleep 3
	t0=$(date +%s)
	end_session "$dir/$old-patroni.sid" -KILL
	for pid in $(ip netns pids "by-cluster-$old"); do
		case $(cat "/proc/$pid/comm" 2>/dev/null) in postgres | pg_*) kill -KILL "$pid" 2>/dev/null ;; esac
	done
	echo "$old killed: Patroni and PostgreSQL, SIGKILL"
	wait_until 120 other_primary "$old" || die 'nobody took over'
	new=$(primary)
	echo "$new took over after $(($(date +%s) - t0)) s"
	before=$(wc -l <"$dir/acknowledged")
	wait_until 60 more_than "$before" || die 'no writes after the takeover'
	rm "$dir/writing"
	wait "$writing"
	# every acknowledged row is there; one that was not acknowledged may be
	sql shop 'select id from orders' | sort -n >"$dir/there"
	sort -n "$dir/acknowledged" >"$dir/acknowledged.sorted"
	expect "rows acknowledged: $(wc -l <"$dir/acknowledged"); lost" 0 \
		"$(awk 'NR == FNR { has[$1]; next } !($1 in has)' "$dir/there" "$dir/acknowledged.sorted" | wc -l)"
	start_patroni "$old"
	wait_until 90 has_replicas 2 && back=replica || back=missing
	expect "$old comes back as" replica "$back"
}
more_than() { [ "$(wc -l <"$dir/acknowledged")" -gt "$1" ]; }

story() {
	say 'five nodes, three apps (SIMULATED evidence: this needs no TEE and proves nothing about one)'
	make_underlay
	make_nodes other
	for n in $members; do
		echo 'underlay: { interface: eth0, failsafe: none }' >>"$dir/$n.yaml"
	done
	start_nodes 60
	echo "overlay by $(status_of pg1 | jq -r .overlay.backend), policy $policy; on pg1..3 the host's device is judged too"
	say 'etcd, Patroni and PostgreSQL over the overlay'
	start_cluster
	echo "primary $(primary), replicas $(replicas | tr '\n' ' ')"
	say 'who reaches what'
	who_reaches_what
	say "what $leader dropped, as bailey drops tells it"
	"$bailey" drops --instance "cluster-$leader"
	expect 'of other, on the overlay' seen "$("$bailey" drops --instance "cluster-$leader" --json | grep -q '"node": *"other"' && echo seen)"
	expect 'of the stranger, on the network device' seen \
		"$("$bailey" drops --instance "cluster-$leader" --interface eth0 --json | grep -q "$(underlay_of stranger)" && echo seen)"
	say 'the primary is killed while shop writes'
	kill_primary
}

look_around() {
	cat <<-END
	$BUILD/bailey status --instance cluster-pg1
	$BUILD/bailey flows --instance cluster-pg1
	nsenter --net=$(netns_of pg1) curl -s http://$(overlay_of pg1):8008/cluster | jq .
	END
}

main "$@"
