#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Measures Bailey against its peers and writes $BUILD/bench/results.json, a list of
#   {"name", "ours", "peer", "peer_name", "ratio": ours / peer, "unit", "note"}  or  {"name", "skipped": why}
# and the curves of what grows with rules, identities or flows as $BUILD/bench/*.svg (curves.sh; DOCS=1 puts them into docs/bench).
# Needs root and two or more CPUs. usage: tests/bench/run.sh
#
# Absolute times say little on a shared machine: contenders take turns inside one run, the best round of each is kept, and
# the ratio is the result. Nothing here fails because something was slow.
set -u
cd "$(dirname "$0")/../.." || exit 2
build=${BUILD:-build}
bin=$build/tests/bench
rows=$build/bench/rows
mkdir -p "$build/bench"
CURVES=$(cd "$build/bench" && pwd)/curves
export CURVES
rm -rf "$CURVES"
mkdir "$CURVES"
: >"$rows"

if [ "$(id -u)" != 0 ]; then
	echo "tests/bench/run.sh: needs root" >&2
	exit 77
fi

"$bin/verdict" >>"$rows" || echo '{"name":"verdict","skipped":"tests/bench/verdict failed"}' >>"$rows"
"$bin/host" >>"$rows" || echo '{"name":"host","skipped":"tests/bench/host failed"}' >>"$rows"
"$bin/quote" >>"$rows" || echo '{"name":"quote","skipped":"tests/bench/quote failed"}' >>"$rows"
"$bin/ratls" >>"$rows" || echo '{"name":"ratls","skipped":"tests/bench/ratls failed"}' >>"$rows"
for name in scale load update flood; do
	"$bin/$name" >>"$rows" || echo "{\"name\":\"$name\",\"skipped\":\"tests/bench/$name failed\"}" >>"$rows"
done
"$bin/veth" >>"$rows" || echo '{"name":"veth","skipped":"tests/bench/veth failed"}' >>"$rows"
tests/bench/mesh.sh >>"$rows" || echo '{"name":"mesh","skipped":"tests/bench/mesh.sh failed"}' >>"$rows"
chrt -r 1 "$bin/paths" >>"$rows" || echo '{"name":"mesh.paths","skipped":"tests/bench/paths failed"}' >>"$rows"
"$bin/guard" >>"$rows" || echo '{"name":"mesh.guard_rps","skipped":"tests/bench/guard failed"}' >>"$rows"
unshare --net tests/bench/dns.sh >>"$rows" || echo '{"name":"vpc.dns_qps","skipped":"tests/bench/dns.sh failed"}' >>"$rows"
# a mount namespace of its own: wireguard-go's socket and the pins vanish with it
unshare --mount --propagation private tests/bench/overlay.sh >>"$rows" ||
	echo '{"name":"overlay.with_policy_vs_without","skipped":"tests/bench/overlay.sh failed"}' >>"$rows"
chrt -r 1 unshare --mount --propagation private tests/bench/vpc.sh >>"$rows" ||
	echo '{"name":"vpc","skipped":"tests/bench/vpc.sh failed"}' >>"$rows"

tests/bench/curves.sh "$CURVES" "$build/bench" || echo '{"name":"curves","skipped":"gnuplot is not installed"}' >>"$rows"
if [ "${DOCS:-}" = 1 ]; then
	mkdir -p docs/bench && cp "$build"/bench/*.svg docs/bench/
fi

{ echo '['; sed '$!s/$/,/' "$rows"; echo ']'; } >"$build/bench/results.json"

awk -F'"' '
	# fields of a row: names are at even places after the split by quotes, numbers follow their name
	function num(name,   i) { for (i = 2; i < NF; i++) if ($i == name) { v = $(i + 1); gsub(/[:,}]/, "", v); return v }; return "" }
	function str(name,   i) { for (i = 2; i < NF; i++) if ($i == name) return $(i + 2); return "" }
	BEGIN { printf "%-36s %10s %10s %7s  %-10s %s\n", "name", "ours", "peer", "ratio", "unit", "against" }
	str("skipped") != "" { printf "%-36s skipped: %s\n", str("name"), str("skipped"); next }
	{ printf "%-36s %10s %10s %7s  %-10s %s: %s\n", str("name"), num("ours"), num("peer"), num("ratio"), str("unit"),
		str("peer_name"), str("note") }' "$rows"
echo "written: $build/bench/results.json"
