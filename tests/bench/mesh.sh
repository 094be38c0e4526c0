#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# bailey-mesh against nginx (mutual TLS and auth_request, the shape of dstack-vpc) and HAProxy (mutual TLS): client ->
# proxy -> mutual TLS 1.3 -> proxy -> backend, the proxies on one CPU, wrk and the backend on another, P-256 certificates
# that are the same for all. Contenders take turns; the best round of each is kept, of latencies the middle one.
# Prints rows for run.sh. usage: tests/bench/mesh.sh [PART...], see the end
set -u
cd "$(dirname "$0")/../.." || exit 2
build=$(pwd)/${BUILD:-build}
bin=$build/tests/bench/mesh
[ -x "$bin" ] || { echo "$0: $bin is not built: make bench does" >&2; exit 2; }
dir=$(mktemp -d)
base=$((20000 + $$ % 50 * 240))
backend=$base ours=$((base + 2)) ours_in=$((base + 1)) ng=$((base + 10)) ng_in=$((base + 11)) ha=$((base + 20)) ha_in=$((base + 21))
# HTTP/2: the same programs, other ports
backend2=$((base + 50)) ours2_in=$((base + 51)) ha2=$((base + 60)) ha2_in=$((base + 61))
rounds=${ROUNDS:-3} seconds=${SECONDS_A_ROUND:-2} idle=${IDLE:-9000}
from=by-mesh-from-$$ to=by-mesh-to-$$
pids=''
# shellcheck disable=SC2086
trap 'kill $pids 2>/dev/null; wait 2>/dev/null; direct_end; rm -rf "$dir"' EXIT

# Namespaces of the direct path; the programs go with their devices, the pins with the file system.
# shellcheck disable=SC2317,SC2329 # called by the trap
direct_end() {
	ip netns del "$from" 2>/dev/null
	ip netns del "$to" 2>/dev/null
	! mountpoint -q "$dir/bpf" || umount "$dir/bpf"
}

skip() {
	echo "{\"name\":\"mesh\",\"skipped\":\"$1\"}"
	exit 0
}
for tool in wrk nginx haproxy curl jq taskset chrt; do
	command -v $tool >/dev/null || skip "$tool is not installed"
done
[ "$(nproc)" -ge 2 ] || skip "needs two CPUs"

# As an application has them from its guest agent: leaf, App CA and root, without a quote, which the others could not judge.
certificates() {
	echo '{"name":"bench","runner":"docker-compose"}' >"$dir/compose.json"
	"$build/bailey" dev-identity root --out "$dir/root" >/dev/null || return 1
	"$build/bailey-agent" --state "$dir/state" --compose "$dir/compose.json" --listen "$dir/dstack.sock" --tee sim \
		--sim-root "$dir/root" 2>"$dir/agent.log" &
	pids="$pids $!"
	for _ in $(seq 50); do
		ask GetTlsKey '{"subject":"localhost","usage_server_auth":true,"usage_client_auth":true}' >"$dir/key.json" && break
		sleep 0.1
	done
	app=$(ask Info '{}' | jq -r .app_id)
	jq -r .key "$dir/key.json" >"$dir/node.key" && jq -r '.certificate_chain[]' "$dir/key.json" >"$dir/node.crt" &&
		jq -r '.certificate_chain[-1]' "$dir/key.json" >"$dir/ca.crt" && cat "$dir/node.crt" "$dir/node.key" >"$dir/both.pem"
}
ask() { curl -sf -m 5 --unix-socket "$dir/dstack.sock" -H 'Content-Type: application/json' -d "$2" "http://dstack/$1"; }

# $1 name; what it serves on standard input
bailey_conf() {
	{
		cat <<-END
			version: 1
			instance: bench-$1
			run: $dir/run
			identity: { certificate: node.crt, key: node.key }
			trust: { ca: ca.crt }
			policy: any-attested
			limits: { connections: 16000 }
		END
		cat
	} >"$dir/bailey-$1.yaml"
}

# One program as client's side, one as server's: on two machines there is one of them on each. A third is the client's
# side of TCP.
bailey_pair() {
	bailey_conf in <<-END
		server:
		  services:
		    - { name: web, listen: "127.0.0.1:$ours_in", http: "127.0.0.1:$backend" }
		    - { name: tcp, listen: "127.0.0.1:$((ours_in + 100))", tcp: "127.0.0.1:$backend" }
		    - { name: h2, listen: "127.0.0.1:$ours2_in", h2: "127.0.0.1:$backend2" }
	END
	bailey_conf out <<-END
		client:
		  listen: ["127.0.0.1:$ours"]
		  gateway: direct/127.0.0.1
		  port: $ours_in
	END
	bailey_conf tcp <<-END
		client:
		  gateway: fixed/127.0.0.1:$((ours_in + 100))
		  tunnels: [{ name: tcp, listen: "127.0.0.1:$((ours + 100))", app: $app, port: $((ours_in + 100)) }]
	END
}

# $1 file, $2 pid file; the http block's content on standard input
nginx_conf() {
	{
		cat <<-END
			daemon off; master_process off; worker_processes 1; pid $dir/$1.pid; error_log $dir/$1.err;
			worker_rlimit_nofile 20000;
			events { worker_connections 9900; }
			http { access_log off; keepalive_requests 10000000;
			client_body_temp_path $dir/t1; proxy_temp_path $dir/t2; fastcgi_temp_path $dir/t3;
			uwsgi_temp_path $dir/t4; scgi_temp_path $dir/t5;
			proxy_http_version 1.1; proxy_set_header Connection "";
		END
		cat
		echo '}'
	} >"$dir/$1.conf"
}

nginx_pair() {
	nginx_conf in <<-END
		upstream back { server 127.0.0.1:$backend; keepalive 128; keepalive_requests 10000000; }
		server { listen 127.0.0.1:$ng_in ssl backlog=4096;
		ssl_certificate $dir/node.crt; ssl_certificate_key $dir/node.key; ssl_client_certificate $dir/ca.crt;
		ssl_verify_client on; ssl_verify_depth 3; ssl_protocols TLSv1.3;
		location / { auth_request /auth; auth_request_set \$app \$upstream_http_x_dstack_app_id;
			proxy_set_header X-Dstack-App-Id \$app; proxy_pass http://back; }
		location = /auth { internal; proxy_pass_request_body off; proxy_set_header Content-Length "";
			proxy_set_header x-client-verify \$ssl_client_verify;
			proxy_set_header x-client-cert \$ssl_client_escaped_cert; proxy_pass http://back/auth; } }
	END
	nginx_conf out <<-END
		upstream next { server 127.0.0.1:$ng_in; keepalive 128; keepalive_requests 10000000; }
		server { listen 127.0.0.1:$ng backlog=4096;
		location / { proxy_ssl_certificate $dir/node.crt; proxy_ssl_certificate_key $dir/node.key;
			proxy_ssl_trusted_certificate $dir/ca.crt; proxy_ssl_verify on; proxy_ssl_verify_depth 3; proxy_ssl_name localhost;
			proxy_ssl_protocols TLSv1.3; proxy_pass https://next; } }
	END
}

# $1 file, $2 port in, $3 its TLS, $4 server, $5 its TLS, $6 server of TCP: without it HTTP/2 alone, on both legs
haproxy_conf() {
	{
		cat <<-END
			global
			 nbthread 1
			 maxconn 9900
			defaults
			 mode http
			 timeout client 600s
			 timeout server 600s
			 timeout connect 5s
			 http-reuse $([ "${6-}" ] && echo safe || echo always)
			listen http
			 bind 127.0.0.1:$2 $3
			 http-request set-header X-Dstack-App-Id node
			 server s 127.0.0.1:$4 $5
		END
		[ -z "${6-}" ] || cat <<-END
			listen tcp
			 mode tcp
			 bind 127.0.0.1:$(($2 + 100)) $3
			 server s 127.0.0.1:$6 $5
		END
	} >"$dir/$1.cfg"
}

# $1 CPU, then a command, in the scheduler's real-time class: others on the machine are not measured
on() {
	taskset -c "$1" chrt -r 1 "${@:2}"
}

run_on() {
	taskset -c "$1" chrt -r 1 "${@:2}" >>"$dir/log" 2>&1 &
	pids="$pids $!"
}

certificates || skip "no certificates"
bailey_pair
nginx_pair
tls="crt $dir/both.pem ca-file $dir/ca.crt verify required ssl-min-ver TLSv1.3"
haproxy_conf ha_out "$ha" '' "$ha_in" "ssl $tls" $((ha_in + 100))
haproxy_conf ha_in "$ha_in" "ssl $tls" "$backend" '' "$backend"
haproxy_conf ha2_out "$ha2" 'proto h2' "$ha2_in" "ssl alpn h2 $tls"
haproxy_conf ha2_in "$ha2_in" "ssl alpn h2 $tls" "$backend2" 'proto h2'
run_on 1 "$bin" backend "$backend"
run_on 0 "$build/bailey-mesh" -c "$dir/bailey-in.yaml"
bailey_in=$!
run_on 0 "$build/bailey-mesh" -c "$dir/bailey-out.yaml"
bailey_out=$!
run_on 0 "$build/bailey-mesh" -c "$dir/bailey-tcp.yaml"
bailey_tcp=$!
run_on 0 nginx -c "$dir/in.conf"
ng_pids=$!
run_on 0 nginx -c "$dir/out.conf"
ng_pids="$ng_pids $!"
run_on 0 haproxy -f "$dir/ha_in.cfg"
ha_pids=$!
run_on 0 haproxy -f "$dir/ha_out.cfg"
ha_pids="$ha_pids $!"
if command -v nghttpd h2load >/dev/null; then
	mkdir "$dir/www"
	echo hello >"$dir/www/hello"
	run_on 1 nghttpd --no-tls -d "$dir/www" "$backend2"
	run_on 0 haproxy -f "$dir/ha2_in.cfg"
	ha2_pids=$!
	run_on 0 haproxy -f "$dir/ha2_out.cfg"
	ha2_pids="$ha2_pids $!"
fi
sleep 1
family() { echo "$1" "$(pgrep -P "$1" | tr '\n' ' ')"; }
ours_pids="$(family $bailey_in) $(family $bailey_out)" idle_pids="$(family $bailey_in) $(family $bailey_tcp)"

# Ticks that these processes have used.
cpu() {
	for p; do cat "/proc/$p/stat"; done | awk '{ n += $14 + $15 } END { print n }'
}

pss() {
	for p; do awk '/^Pss:/ { print $2 * 1024 }' "/proc/$p/smaps_rollup"; done | awk '{ n += $1 } END { printf "%d", n }'
}

# $1 port, $2 path, $3 connections: requests a second
wrk_on() {
	on 1 wrk -t1 -c"$3" -d"$seconds" -H "x-dstack-target-app: $app" "http://127.0.0.1:$1$2" | wrk_says
}

wrk_says() {
	awk '
		/^Requests\/sec/ { rps = $2 }
		/Non-2xx|Socket errors/ { bad = 1 }
		END { print bad ? 0 : rps }'
}

better() {
	awk -v a="$1" -v b="$2" 'BEGIN { print(a + 0 > b + 0 ? a : b) }'
}

row() {
	awk -v name="$1" -v ours="$2" -v peer="$3" -v who="$4" -v unit="$5" -v note="$6" 'BEGIN {
		printf "{\"name\":\"%s\",\"ours\":%s,\"peer\":%s,\"peer_name\":\"%s\",\"ratio\":%.3f,\"unit\":\"%s\",\"note\":\"%s\"}\n",
			name, ours, peer, who, (peer > 0 ? ours / peer : 0), unit, note }'
}

# CPU microseconds a request, of both proxies: says more than a rate does on a machine that others use
cost() {
	awk -v ticks="$1" -v rps="$2" -v s="$seconds" 'BEGIN { printf "%.0f", (rps > 0 ? ticks * 10000 / (rps * s) : 0) }'
}

compare_rates() {
	local o=0 n=0 h=0 d=0 co=0 cn=0 ch=0 t r
	for _ in $(seq "$rounds"); do
		d=$(better "$(wrk_on "$backend" /hello 32)" "$d")
		# shellcheck disable=SC2086
		t=$(cpu $ours_pids) r=$(wrk_on "$ours" /hello 32) co=$(cost $(($(cpu $ours_pids) - t)) "$r") o=$(better "$r" "$o")
		# shellcheck disable=SC2086
		t=$(cpu $ng_pids) r=$(wrk_on "$ng" /hello 32) cn=$(cost $(($(cpu $ng_pids) - t)) "$r") n=$(better "$r" "$n")
		# shellcheck disable=SC2086
		t=$(cpu $ha_pids) r=$(wrk_on "$ha" /hello 32) ch=$(cost $(($(cpu $ha_pids) - t)) "$r") h=$(better "$r" "$h")
	done
	row mesh.rps_vs_nginx "$o" "$n" nginx 1/s "2 proxies, 32 connections; no proxy $d; CPU us a request, last round: $co and $cn"
	row mesh.rps_vs_haproxy "$o" "$h" haproxy 1/s "2 proxies, 32 connections; CPU us a request, last round: $co and $ch"
}

# $1 port: requests a second over HTTP/2, 4 connections with 32 streams each; 0 when one failed
h2load_on() {
	on 1 h2load -t1 -c4 -m32 -D "$seconds" -H "x-dstack-target-app: $app" -H "x-dstack-target-port: $ours2_in" \
		"http://127.0.0.1:$1/hello" | awk '
		/^finished/ { rps = $4 }
		/^requests:/ { bad = $10 + $12 }
		END { print bad ? 0 : rps + 0 }'
}

compare_h2() {
	local o=0 h=0 d=0 co=0 ch=0 t r
	if ! command -v nghttpd h2load >/dev/null; then
		echo '{"name":"mesh.h2_rps_vs_haproxy","skipped":"nghttp2-client or nghttp2-server is not installed"}'
		return
	fi
	for _ in $(seq "$rounds"); do
		d=$(better "$(h2load_on "$backend2")" "$d")
		# shellcheck disable=SC2086
		t=$(cpu $ours_pids) r=$(h2load_on "$ours") co=$(cost $(($(cpu $ours_pids) - t)) "$r") o=$(better "$r" "$o")
		# shellcheck disable=SC2086
		t=$(cpu $ha2_pids) r=$(h2load_on "$ha2") ch=$(cost $(($(cpu $ha2_pids) - t)) "$r") h=$(better "$r" "$h")
	done
	row mesh.h2_rps_vs_haproxy "$o" "$h" haproxy 1/s "2 proxies, HTTP/2 on all legs, 4 connections of 32 streams; no proxy $d; CPU us a request, last round: $co and $ch"
}

compare_bulk() {
	local o=0 n=0 h=0 size=20000000
	for _ in $(seq "$rounds"); do
		o=$(better "$(wrk_on "$ours" /bytes/$size 4)" "$o")
		n=$(better "$(wrk_on "$ng" /bytes/$size 4)" "$n")
		h=$(better "$(wrk_on "$ha" /bytes/$size 4)" "$h")
	done
	best=$(better "$n" "$h")
	row mesh.bulk_vs_best "$(awk "BEGIN{print $o * 20}")" "$(awk "BEGIN{print $best * 20}")" \
		"$([ "$best" = "$n" ] && echo nginx || echo haproxy)" MB/s "2 proxies, bodies of 20 MB, 4 connections"
}

# $1 rate, $2 port, $3 who: p50, p99 and the longest in microseconds, of one round
latency_on() {
	on 1 "$bin" latency "$2" "$app" "$1" "$seconds" >>"$dir/latency-$3" 2>>"$dir/log"
}

# $1 who, $2 field: of the middle round
middle() {
	sort -n -k "$2" "$dir/latency-$1" | awk -v f="$2" '{ v[NR] = $f } END { print v[int((NR + 1) / 2)] }'
}

# $1 name of the row, $2 rate
latency_row() {
	local d o n h
	rm -f "$dir"/latency-*
	for _ in $(seq $((2 * rounds - 1))); do
		if ! latency_on "$2" "$backend" direct || ! latency_on "$2" "$ours" ours || ! latency_on "$2" "$ng" nginx ||
			! latency_on "$2" "$ha" haproxy; then
			echo "{\"name\":\"$1\",\"skipped\":\"not every request was answered\"}"
			return
		fi
	done
	d=$(middle direct 2) o=$(middle ours 2) n=$(middle nginx 2) h=$(middle haproxy 2)
	if awk "BEGIN { exit !($n <= $d) }"; then
		echo "{\"name\":\"$1\",\"skipped\":\"two proxies answered no later than none: the machine is too busy\"}"
		return
	fi
	row "$1" "$(awk "BEGIN{print $o - $d}")" "$(awk "BEGIN{print $n - $d}")" nginx us \
		"99th percentile from when a request was due, $2 a second, less that without a proxy ($d us); with two of HAProxy $h; p50 $(middle ours 1), nginx $(middle nginx 1), HAProxy $(middle haproxy 1), without $(middle direct 1)"
}

# Two loads: half of what nginx's two can carry, and so few requests that the processors sleep between them. There most of
# the time is that of waking another one, which is the machine's: in a virtual one tens of microseconds each time.
compare_latency() {
	local n=0
	for _ in $(seq "$rounds"); do
		n=$(better "$(wrk_on "$ng" /hello 32)" "$n")
	done
	latency_row mesh.p99_added_vs_nginx "$(awk "BEGIN { printf \"%d\", $n / 2 }")"
	latency_row mesh.p99_added_idle_vs_nginx 1000
}

compare_handshakes() {
	local o=0 h=0
	for _ in $(seq "$rounds"); do
		o=$(better "$(on 1 "$bin" handshakes "$ours_in" "$dir" "$seconds")" "$o")
		h=$(better "$(on 1 "$bin" handshakes "$ha_in" "$dir" "$seconds")" "$h")
	done
	row mesh.conn_vs_haproxy "$o" "$h" haproxy 1/s "new mutual TLS connections with one request each, no resumption"
}

# $1 port of TCP, $2... pids: bytes for each idle relayed connection, of both proxies together, half of it for one
idle_bytes() {
	local port=$1 before after
	shift
	before=$(pss "$@")
	mkfifo "$dir/hold"
	"$bin" idle "$port" "$idle" <"$dir/hold" >"$dir/ready" &
	exec 9>"$dir/hold"
	for _ in $(seq 3000); do
		[ -s "$dir/ready" ] && break
		sleep 0.1
	done
	sleep 1
	after=$([ -s "$dir/ready" ] && pss "$@" || echo "$before")
	exec 9>&-
	wait $!
	rm "$dir/hold" "$dir/ready"
	echo $(((after - before) / 2 / idle))
}

compare_idle() {
	local o h
	# shellcheck disable=SC2086
	o=$(idle_bytes $((ours + 100)) $idle_pids) h=$(idle_bytes $((ha + 100)) $ha_pids)
	if [ "$o" = 0 ] || [ "$h" = 0 ]; then
		echo '{"name":"mesh.bytes_per_idle_connection","skipped":"not all connections were made"}'
		return
	fi
	row mesh.bytes_per_idle_connection "$o" "$h" haproxy bytes "PSS for one proxy, $idle idle TCP relays, TLS on one leg"
}

# Two namespaces and two pairs of devices between them: one as it is, one with the programs and a policy on both ends.
# Applications dial the other's address, and no proxy is there.
direct_make() {
	local end
	ip netns add "$from" && ip netns add "$to" && mkdir "$dir/bpf" && mount -t bpf bpf "$dir/bpf" || return 1
	for end in plain judged; do
		ip link add $end netns "$from" type veth peer name $end netns "$to" || return 1
	done
	for end in "$from 2" "$to 3"; do
		ip -n "${end% *}" addr add "10.88.1.${end#* }/24" dev plain && ip -n "${end% *}" link set plain up &&
			ip -n "${end% *}" addr add "10.88.2.${end#* }/24" dev judged && ip -n "${end% *}" link set judged up || return 1
	done
	printf '%s 10.88.2.2\n%s 10.88.2.3\n' "$(printf 'a1%.0s' $(seq 20))" "$(printf 'b2%.0s' $(seq 20))" >"$dir/from.cast"
	tac "$dir/from.cast" >"$dir/to.cast"
	cat >"$dir/direct.yaml" <<-END
		version: 1
		apps:
		  from: { app-id: $(printf 'a1%.0s' $(seq 20)) }
		  to: { app-id: $(printf 'b2%.0s' $(seq 20)) }
		rules: [{ name: web, from: from, to: to, allow: [tcp/$backend] }]
	END
	direct_judge "$from" from && direct_judge "$to" to || return 1
	nsenter --net="/run/netns/$to" taskset -c 1 chrt -r 1 "$bin" backend "$backend" 0.0.0.0 >>"$dir/log" 2>&1 &
	pids="$pids $!"
	sleep 0.5
}

direct_judge() {
	mkdir "$dir/bpf/$2"
	nsenter --net="/run/netns/$1" "$build/tests/judge/gate" "$dir/bpf/$2" judged "$dir/$2.cast" "$dir/direct.yaml" >>"$dir/log" 2>&1
}

direct_rps() {
	nsenter --net="/run/netns/$from" taskset -c 1 chrt -r 1 wrk -t1 -c32 -d"$seconds" "http://$1:$backend/hello" | wrk_says
}

compare_direct() {
	local o=0 v=0 n=0
	if ! direct_make; then
		echo '{"name":"mesh.direct_rps_vs_nginx","skipped":"no namespaces or no programs on them"}'
		return
	fi
	# a port that no rule allows: silence, where an open way would refuse at once
	nsenter --net="/run/netns/$from" curl -s -m 1 -o /dev/null "http://10.88.2.3:$((backend + 1))/"
	if [ $? != 28 ]; then
		echo '{"name":"mesh.direct_rps_vs_nginx","skipped":"the policy lets everything pass"}'
		return
	fi
	for _ in $(seq "$rounds"); do
		o=$(better "$(direct_rps 10.88.2.3)" "$o")
		v=$(better "$(direct_rps 10.88.1.3)" "$v")
		n=$(better "$(wrk_on "$ng" /hello 32)" "$n")
	done
	row mesh.direct_rps_vs_nginx "$o" "$n" nginx 1/s "the peer's address, policy on both ends, no proxy and no tunnel; nginx with 2 proxies; 32 connections"
	row mesh.direct_rps_vs_veth "$o" "$v" veth 1/s "the same, and without the programs"
}

# All processes of one mesh that serves, before anything went through.
compare_memory() {
	# shellcheck disable=SC2046
	row mesh.pss_idle_mb "$(awk "BEGIN{print $(pss $(family $bailey_in)) / 1e6}")" 16 bound MB "all processes of one bailey-mesh, idle"
}

[ $# -gt 0 ] || set -- memory rates direct h2 bulk latency handshakes idle
for part; do
	compare_"$part"
done
