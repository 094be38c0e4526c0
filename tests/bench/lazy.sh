#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# What a node of a network of N nodes (1000) costs with all of them in WireGuard and with none: overlay.lazy_peers. The others
# are records, as real as any, that nobody runs. As root; by hand: tests/bench/lazy.sh [N]. The table is in docs/scaling.md.
. tests/net/lib.sh
need ip nsenter jq wg
many=${1:-1000}
renewed=20

dir=$TMP
prefix=$T
host_of() { echo 2; }
netns_of() { echo "/var/run/netns/$(ns "$1")"; }
# shellcheck source=tests/net/nodes-lib.sh
. tests/net/nodes-lib.sh
ifname_of() { echo "by$U-$1"; }
addr() { echo "100.64.$((4 + $1 / 250)).$((1 + $1 % 250))"; }
sign() { # NUMBER
	"$bailey" record sign --cert "$dir/s.$1.pem" --key "$dir/s.$1.key" --node "s$1" --wg-key "$(cat "$dir/s.$1.pub")" \
		--addr "$(addr "$1")" --endpoint "10.99.$((1 + $1 / 250)).$((1 + $1 % 250)):51820" \
		--out "$dir/records-web/s$1.record" >/dev/null
}
cpu_of() { awk '{ print ($14 + $15) * 10 }' "/proc/$1/stat"; } # milliseconds
rss_of() { awk '/VmRSS/ { print $2 }' "/proc/$1/status"; }
go_of() { pgrep -f "wireguard-go -f $(ifname_of web)\$"; }
ready() { [ "$(status_of web 2>/dev/null | jq ".ready and (.peers | length == $many)")" = true ]; }

ns_add web
set_up web lo "$(underlay_of web)/32"
make_root || exit 1
make_identity web web
mkdir -p "$dir/records-web"
i=0
while [ $i -lt "$many" ]; do
	"$bailey" dev-identity issue --root "$dir/root" --app-id "$(app_of intruder)" --instance-id "$(printf '%040d' $((1000 + i)))" \
		--name "s$i" --out "$dir/s.$i" >/dev/null
	"$bailey" genkey | "$bailey" pubkey >"$dir/s.$i.pub"
	sign $i
	i=$((i + 1))
done
at_end 'take_down web'
for threshold in 131072 10; do
	write_config web "$PWD/policy/examples/three-tier.yaml" 3600
	sed -i "/^exchange:/,\$d; s/^  endpoints:/  lazy_peers: $threshold\n&/" "$dir/web.yaml"
	at=$(date +%s%N)
	start_node web
	eventually 600 ready || exit 1
	took=$((($(date +%s%N) - at) / 1000000))
	net=$(status_of web | jq .processes.net.pid) go=$(go_of)
	eventually 60 status_has web '.overlay.wireguard.configured == 0 or .overlay.wireguard.configured == (.peers | length)'
	before=$(($(cpu_of "$net") + $(cpu_of "${go:-$net}")))
	start_cpu=$before
	i=0
	while [ $i -lt $renewed ]; do
		i=$((i + 1))
		sleep 1 # an epoch is a second
		sign $i
		"$bailey" node add "$dir/records-web/s$i.record" --instance "$prefix-web" >/dev/null
	done
	after=$(($(cpu_of "$net") + $(cpu_of "${go:-$net}")))
	echo "lazy_peers $threshold: $(status_of web | jq -c .overlay.wireguard), ready after $took ms, net and WireGuard $start_cpu ms of CPU \
until then, net $(rss_of "$net") KB, WireGuard ${go:+$(rss_of "$go")} KB, a renewal $(((after - before) / renewed)) ms of CPU"
	take_down web
	rm -rf "$dir/state-web"
done
