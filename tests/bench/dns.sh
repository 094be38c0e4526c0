#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Queries a second for the names of 1000 nodes, against dnsmasq with the same names from a hosts file. In turns, best of the
# rounds each; server on one CPU, dnsperf on the other. Prints a JSON row. Run in a network namespace of its own (run.sh does).
set -u
bin=${BUILD:-build}/tests/bench
rounds=${ROUNDS:-4}
seconds=${SECONDS_EACH:-3}
nodes=1000
name=vpc.dns_qps
tmp=$(mktemp -d)
pids=

skip() {
	echo "{\"name\":\"$name\",\"skipped\":\"$1\"}"
	exit 0
}

# shellcheck disable=SC2317,SC2329 # called by the trap
clean() {
	exec 3>&-
	for pid in $pids; do kill "$pid" 2>/dev/null; done
	wait
	rm -rf "$tmp"
}
trap clean EXIT
trap 'exit 1' INT TERM

for tool in dnsperf dnsmasq taskset chrt; do
	command -v $tool >/dev/null || skip "$tool is not installed"
done
ip link set lo up || exit 1
awk -v n=$nodes 'BEGIN { for (i = 0; i < n; i++) printf "100.64.%d.%d node-%d.dstack.internal\n", int(i / 256), i % 256, i }' >"$tmp/hosts"
awk '{ print $2, "A"; if (NR % 4 == 0) print "no-" $2, "A" }' "$tmp/hosts" >"$tmp/queries"

mkfifo "$tmp/in"
taskset -c 0 chrt -r 1 "$bin/dns" 5301 $nodes <"$tmp/in" >"$tmp/ours" &
pids=$!
exec 3>"$tmp/in"
taskset -c 0 chrt -r 1 dnsmasq --no-daemon --conf-file=/dev/null --no-resolv --no-hosts --port=5302 --listen-address=127.0.0.1 --bind-interfaces \
	--user=root --pid-file= --addn-hosts="$tmp/hosts" --local=/dstack.internal/ --local-ttl=5 --auth-ttl=5 >"$tmp/dnsmasq" 2>&1 &
pids="$pids $!"
sleep 1
grep -q ready "$tmp/ours" || skip 'the dns process did not start'

# $1 port: queries a second, nothing when some were lost
rate() {
	taskset -c 1 chrt -r 1 dnsperf -s 127.0.0.1 -p "$1" -d "$tmp/queries" -l "$seconds" -c 4 -q 100 >"$tmp/out" 2>&1 || return
	awk '/Queries lost/ { lost = $3 } /Queries per second/ { qps = $4 } END { if (lost == 0) print qps }' "$tmp/out"
}
more() { awk -v a="${1:-0}" -v b="${2:-0}" 'BEGIN { print (a + 0 > b + 0) ? a + 0 : b + 0 }'; }
ours=0 peer=0
for _ in $(seq "$rounds"); do
	ours=$(more "$ours" "$(rate 5301)")
	peer=$(more "$peer" "$(rate 5302)")
done
awk -v name=$name -v ours="$ours" -v peer="$peer" 'BEGIN {
	if (ours <= 0 || peer <= 0) { printf "{\"name\":\"%s\",\"skipped\":\"every round lost queries\"}\n", name; exit }
	printf "{\"name\":\"%s\",\"ours\":%.0f,\"peer\":%.0f,\"peer_name\":\"dnsmasq\",\"ratio\":%.2f,\"unit\":\"queries/s\",\"note\":\"1000 names, one query in five for none; UDP, one CPU each; more is better\"}\n", name, ours, peer, ours / peer }'
