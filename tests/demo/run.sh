#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# make demo: three attested nodes in namespaces of their own, one policy file, real programs that talk. KEEP=1 leaves all
# running and says how to look around; `tests/demo/run.sh stop` ends it.
#
#   web  100.64.0.2   allowed to reach db's PostgreSQL port by policy/examples/three-tier.yaml
#   db   100.64.0.3   serves it
#   intruder 100.64.0.4  attested like the others, and its own policy allows everything; db's does not
set -u
cd "$(dirname "$0")/../.." || exit 2
prefix=demo
policy=policy/examples/three-tier.yaml
nodes='web db intruder'
outsiders=
host_of() { case $1 in web) echo 2 ;; db) echo 3 ;; intruder) echo 4 ;; esac; }
# shellcheck source=tests/demo/demo-lib.sh
. tests/demo/demo-lib.sh

# --- a real server behind db's port 5432 ----------------------------------------------------------------------------
find_postgres() {
	for d in /usr/lib/postgresql/*/bin; do
		if [ -x "$d/postgres" ] && [ -x "$d/initdb" ]; then
			echo "$d"
			return
		fi
	done
}

# PostgreSQL does not run as root, so its files are where its user may go.
start_postgres() {
	pgdir=$(mktemp -d /tmp/by-demo-pg.XXXXXX)
	echo "$pgdir" >"$dir/data"
	user=nobody
	chown $user "$pgdir"
	as_user="setpriv --reuid=$user --regid=nogroup --clear-groups"
	# shellcheck disable=SC2086
	(cd "$pgdir" && $as_user "$1/initdb" -D "$pgdir/data" -U demo -A trust --no-sync) >"$dir/server.log" 2>&1 || return 1
	echo 'host all all 100.64.0.0/10 trust' >>"$pgdir/data/pg_hba.conf"
	# shellcheck disable=SC2086
	nsenter --net="$(netns_of db)" $as_user "$1/postgres" -D "$pgdir/data" -k "$pgdir" -h "$(overlay_of db)" -p 5432 -c fsync=off \
		>>"$dir/server.log" 2>&1 &
	echo $! >"$dir/server.pid"
	server=PostgreSQL
	ask="psql -h $(overlay_of db) -U demo -d postgres -Atc"
	question='select version()'
}

start_nginx() {
	mkdir -p "$dir/nginx"
	cat >"$dir/nginx/nginx.conf" <<-END
	daemon off; worker_processes 1; pid $dir/nginx/pid; error_log stderr; user root;
	events { worker_connections 64; }
	http { access_log off; client_body_temp_path $dir/nginx; proxy_temp_path $dir/nginx; fastcgi_temp_path $dir/nginx;
	  uwsgi_temp_path $dir/nginx; scgi_temp_path $dir/nginx;
	  server { listen $(overlay_of db):5432; listen $(overlay_of db):8080; return 200 "nginx on db"; } }
	END
	nsenter --net="$(netns_of db)" nginx -c "$dir/nginx/nginx.conf" >"$dir/server.log" 2>&1 &
	echo $! >"$dir/server.pid"
	server=nginx
	ask='curl -sS --max-time 3'
	question=http://$(overlay_of db):5432/
}

start_server() {
	pg=$(find_postgres)
	if [ -n "$pg" ] && command -v psql >/dev/null; then start_postgres "$pg"; else start_nginx; fi
	wait_until 20 listens || { cat "$dir/server.log" >&2; die "$server does not listen"; }
}

end_servers() { end_pid "$dir/server.pid"; }

listens() { in_ns db ss -ltn | grep -q "$(overlay_of db):5432"; }

# --- what is tried ---------------------------------------------------------------------------------------------------
table=
row() { # FROM TO WHAT GOT WHY
	table="$table$(printf '%-9s %-9s %-10s %-8s %s' "$@")
"
}

expect() { # allow|deny FROM TO WHAT COMMAND...
	want=$1 from=$2 to=$3 what=$4
	shift 4
	if answer=$("$@" 2>&1); then got=allow; else got=deny; fi
	[ "$got" = "$want" ] || failed=$((failed + 1))
	row "$from" "$to" "$what" "$(echo $got | tr '[:lower:]' '[:upper:]')" "$(why "$from" "$to" "$what")"
	[ "$got" = "$want" ] || row '' '' '' '' "EXPECTED $want: $answer"
}

# The policy's own words for it, as `bailey policy explain` has them.
why() {
	"$bailey" policy explain $policy --from "$1" --to "$2" "$3" --json |
		jq -r 'def at: "\(.name) (\(.file):\(.line))";
			if .rule then .rule | at else "default deny" + (if .nearest then "; nearest " + (.nearest | at) else "" end) end'
}

try_all() {
	export PGCONNECT_TIMEOUT=3
	# shellcheck disable=SC2086
	expect allow web db tcp/5432 in_ns web $ask "$question"
	talk=$answer
	# shellcheck disable=SC2086
	expect deny intruder db tcp/5432 in_ns intruder $ask "$question"
	expect deny web db tcp/22 in_ns web "$talk" ask tcp "$(overlay_of db)" 22
	expect allow db web icmp/8 ping_from db "$(overlay_of web)"
	expect allow db web icmpv6/128 ping_from db "$(overlay6_of web)"
	expect deny web db icmp/8 ping_from web "$(overlay_of db)"
}

four_refused() { [ "$(refusals_of db | wc -l)" -ge 4 ]; }

# --- the story -------------------------------------------------------------------------------------------------------
story() {
	say "three namespaces, three identities (SIMULATED evidence: this needs no TEE and proves nothing about one)"
	make_underlay
	make_nodes intruder
	echo "web, db, intruder: certificates with quotes; policy $policy"

	say "three baileyd exchange records, verify each other's evidence, bring the overlay up"
	start_nodes 30
	status_of db | jq -r '"db: overlay by \(.overlay.backend), programs by \(.datapath.attach), knows " +
		([.peers[].node] | sort | join(" and "))'
	start_server

	say "real programs talk ($server on db, port 5432)"
	try_all
	echo "web asked, db answered: $talk"

	say "false evidence for db: a stolen quote, an altered quote, an altered signature, an altered WireGuard key"
	forge_for web db "$(underlay_of intruder):51820" || die 'can not forge'
	"$bailey" reload --instance demo-db
	wait_until 5 four_refused || { failed=$((failed + 1)); echo 'EXPECTED four refusals'; }
	refusals_of db

	say 'what was allowed and denied, and by which rule'
	printf '%-9s %-9s %-10s %-8s %s\n' FROM TO WHAT VERDICT RULE
	printf '%s' "$table"

	say 'drops, as db tells them'
	"$bailey" drops --instance demo-db
	say "bailey status --instance demo-db"
	"$bailey" status --instance demo-db
	say 'the same truth in the kernel: bpftool map dump pinned /sys/fs/bpf/bailey/demo-db/v3/by_rule'
	bpftool map dump pinned /sys/fs/bpf/bailey/demo-db/v3/by_rule
	echo "(also by_addr, by_ident, by_verdict, by_ct4 ...: docs/inspect.md)"
}

look_around() {
	cat <<-END
	$BUILD/bailey status --instance demo-web
	$BUILD/bailey monitor --instance demo-db
	nsenter --net=/var/run/netns/by-demo-web curl http://$(overlay_of db):5432/
	bpftool map dump pinned /sys/fs/bpf/bailey/demo-db/v3/by_ct4
	edit $dir/db.yaml's policy, then $BUILD/bailey reload --instance demo-db
	END
}

main "$@"
