#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# No control plane and no exchange: a wg-quick file becomes a node, records are carried by hand, judged, kept, taken away.
. tests/net/lib.sh
any_kernel "records carried by hand; the nodes' packets are those of 20-daemon"
need ip nsenter jq wg curl
need_file "$BUILD/baileyd" 'run make'

dir=$TMP
prefix=$T
host_of() { case $1 in web) echo 2 ;; db) echo 3 ;; guest) echo 5 ;; esac; }
netns_of() { echo "/var/run/netns/$(ns "$1")"; }
# shellcheck source=tests/net/nodes-lib.sh
. tests/net/nodes-lib.sh
ifname_of() { echo "by$U-$(host_of "$1")"; }
policy=$PWD/policy/examples/three-tier.yaml
node() { "$bailey" node "$@" --instance "$prefix-db"; }
tcp_ok() { in_ns "$1" "$talk" ask tcp "$2" "$3"; }
stored() { find "$dir/state-db/records" -name '*.record' | wc -l; }

# --- keys ----------------------------------------------------------------------------------------------------------------
umask 077
"$bailey" genkey >"$TMP/key"
is 'genkey and pubkey make what wg makes' "$("$bailey" pubkey <"$TMP/key")" "$(wg pubkey <"$TMP/key")"
umask 022
check_not 'a key goes into no file that everybody may read' sh -c "'$bailey' genkey >'$TMP/open'"
is 'and none is in it' "$(cat "$TMP/open")" ''
check 'but where that is asked for' sh -c "'$bailey' genkey --world-readable >'$TMP/open' && wg pubkey <'$TMP/open'"

# --- how it is used --------------------------------------------------------------------------------------------------------
commands() { "$bailey" --help | sed -n 's/^  \([a-z-]*\) .*/\1/p'; }
helpless() {
	{ commands; printf '%s\n' 'quote verify' 'cert inspect' 'record sign' 'dev-identity issue' 'eventlog replay' 'collateral fetch' 'node add'; } |
		while read -r c; do
			# shellcheck disable=SC2086 # words
			[ -n "$("$bailey" $c --help 2>/dev/null)" ] && "$bailey" $c --help >/dev/null 2>&1 || echo "$c"
		done
}
check 'there are commands' [ "$(commands | wc -l)" -gt 25 ]
is 'each says how it is used when asked, which is no error' "$(helpless)" ''
"$bailey" import "$TMP/nobody" --policy p 2>/dev/null
is 'a file that is not there is wrong usage' $? 2

# --- two nodes, one from a wg-quick file -----------------------------------------------------------------------------------
load wireguard tun sch_ingress cls_bpf bridge veth
ns_add hub web db
bridge hub br0
for n in web db; do
	veth_bridge $n eth0 "$(underlay_of $n)/24" hub br0
done
make_root || exit 1
make_identity web web
make_identity db db
make_identity guest intruder
mkdir "$dir/wireguard"
quick=$dir/wireguard/$(ifname_of web).conf
cat >"$quick" <<END
[Interface]
PrivateKey = $(cat "$TMP/key")
Address = $(overlay_of web)/10, $(overlay6_of web)/48
ListenPort = 51820
PostUp = touch $TMP/ran
[Peer]
PublicKey = $("$bailey" genkey | "$bailey" pubkey)
AllowedIPs = $(overlay_of db)/32
END
# shellcheck disable=SC2120,SC2317 # called through check, with options
import() { (cd "$dir/root" && "$bailey" import "$quick" --name "$prefix-web" --policy "$policy" --out "$dir" --certificate ../web.pem \
	--key ../web.key --simulated-root root.pem --endpoint "$(underlay_of web):51820" "$@"); }
check_not 'a file with a script is refused' import
like 'with the line' "$(import 2>&1)" '*.conf:5: NOT TAKEN OVER: PostUp: a script*'
check_not 'and nothing is written' test -e "$dir/$prefix-web.yaml"
check 'what can be taken over is, when asked' import --partial
check_not 'no script ran' test -e "$TMP/ran"
check 'paths are those of where one was' grep -qF "simulated_roots: '$dir/root/root.pem'" "$dir/$prefix-web.yaml"
check_not 'what is there is not written over' import --partial
is 'the key is for root alone' "$(stat -c %a "$dir/$prefix-web.wgkey")" 600
check_not 'and is not in the configuration' grep -qF "$(cat "$TMP/key")" "$dir/$prefix-web.yaml"
sed -i 's/PrivateKey = .*/PrivateKey = secret-that-is-no-key/' "$quick"
check_not 'a broken key is not told' sh -c "'$bailey' import '$quick' --policy p --partial 2>&1 | grep -q secret-that"
check_not 'and refused' import --partial --name other

mv "$dir/$prefix-web.yaml" "$dir/web.yaml"
sed -i '/^exchange:/,$d' "$dir/web.yaml"
echo 'state: state-web' >>"$dir/web.yaml"
write_config db "$policy" 3600
sed -i '/^exchange:/,$d; /^records:/d' "$dir/db.yaml"
for n in web db; do
	at_end "take_down $n"
	start_node $n
done
check 'web starts from it' wait_until 30 knows web 0
check 'db starts' wait_until 30 knows db 0
is 'with its WireGuard key' "$(status_of web | jq -r .overlay.public_key)" "$(wg pubkey <"$TMP/key")"
nsenter --net="$(netns_of db)" "$talk" echo 5432 >/dev/null 2>&1 &
at_end "kill $!"

# --- records by hand -------------------------------------------------------------------------------------------------------
check_not 'nobody knows anybody' tcp_ok web "$(overlay_of db)" 5432
check 'web is told of db' wait_until 10 "$bailey" node add "$dir/state-db/self.record" --instance "$prefix-web"
like 'db of web' "$(node add "$dir/state-web/self.record")" "*: node $prefix-web, instance *2, until 20*SIMULATED"
check 'web reaches db' wait_until 10 tcp_ok web "$(overlay_of db)" 5432
check 'once more is no harm' node add "$dir/state-web/self.record"
is 'one record is kept' "$(stored)" 1

record() { # NAME OPTION...
	out=$dir/$1.record
	shift
	"$bailey" record sign --cert "$dir/guest.pem" --key "$dir/guest.key" --node guest --out "$out" \
		--wg-key "$("$bailey" genkey | "$bailey" pubkey)" "$@"
}
refused() { # WHAT FILE REASON
	like "$1 is refused as $3" "$(node add "$dir/$2" 2>&1; echo " status $?")" "*refused: $3*status 1"
}
"$forge" altered-signature "$dir/state-web/self.record" "$dir/forged.record"
"$forge" altered-key "$dir/state-web/self.record" "$dir/key.record"
record taken --addr "$(overlay_of web)"
record outside --addr 192.0.2.77
record over --addr "$(overlay_of guest)" --not-before 1700000000 --hours 1
echo '{}' >"$dir/empty.record"
refused 'an altered signature' forged.record RECORD_SIGNATURE
refused 'an altered key' key.record RECORD_SIGNATURE
refused "another's address" taken.record RECORD_ADDRESS
refused 'an address outside' outside.record RECORD_ADDRESS
refused 'a record that has ended' over.record RECORD_VALIDITY
refused 'what is no record' empty.record RECORD_MALFORMED
head -c 600000 /dev/zero | tr '\0' x >"$dir/long.record"
check_not 'a flood is refused' node add "$dir/long.record"
head -c 1000 /dev/urandom >"$dir/noise.record"
check_not 'noise is refused' node add "$dir/noise.record"
like "the node's own is told" "$(node add "$dir/state-db/self.record" 2>&1)" "*is this node's own*"
is 'none of them is kept' "$(stored)" 1
check 'a good one is taken after all that' record good --addr "$(overlay_of guest)" --epoch 7
check 'and kept' sh -c "'$bailey' node add '$dir/good.record' --instance '$prefix-db'"
record older --addr "$(overlay_of guest)" --epoch 6
refused 'an older one' older.record RECORD_EPOCH
is 'a wrong request is told' "$(curl -s -o /dev/null -w '%{http_code}' -d '{"record": 1}' --unix-socket "/run/bailey/$prefix-db/ctl.sock" \
	http://localhost/v1/records/add)" 422

# --- over a restart, and away ------------------------------------------------------------------------------------------------
end_pid "$dir/db.pid"
start_node db
check 'a restart knows both' wait_until 30 knows db 2
check_not 'a node that is not there is not removed' node remove nobody
check 'web is removed' node remove "$prefix-web"
check_not 'and reaches db no more' tcp_ok web "$(overlay_of db)" 5432
refused 'its record' state-web/self.record RECORD_REVOKED
end_pid "$dir/db.pid"
start_node db
check 'also over a restart' wait_until 30 knows db 1
refused 'and then' state-web/self.record RECORD_REVOKED
check 'it is let in again' node readmit "$(instance_of web)"
check 'with its record' node add "$dir/state-web/self.record"
# web still has the old session's keys: WireGuard makes a new one when nothing has come back for 15 s
check 'and reaches db' wait_until 60 tcp_ok web "$(overlay_of db)" 5432

done_testing
