# shellcheck shell=sh
# SPDX-License-Identifier: Apache-2.0
# Of 80-vpc.sh: whoever has the control plane's certificate and key, and says what he likes. Nodes a and b know each other.

from_state() { sed -n "s/^$1 //p" "$dir/state-a/vpc"; }
epoch_at() { status_of "$1" | jq ".peers[] | select(.node == \"$2\") | .epoch"; }
# lie NETWORK SERIAL MARK ADDRESS,... [RECORD...]
lie() {
	stop_liar
	nsenter --net="$(netns_of s)" "$liar" "$(underlay_of s):7947" "$dir/s.pem" "$dir/s.key" "$@" >>"$dir/liar.log" 2>&1 &
	echo $! >"$dir/liar.pid"
}
stop_liar() { end_pid "$dir/liar.pid"; }
# false_record OUT NODE WG_KEY ADDRESS [IDENTITY]: by an attested member whose word is false
false_record() {
	"$bailey" record sign --cert "$dir/${5:-d}.pem" --key "$dir/${5:-d}.key" --node "$2" --wg-key "$3" --addr "$4" \
		--endpoint "$(underlay_of c):51820" --out "$dir/lies/$1.record"
}
# heard REASON: node a refused what the liar said, by this name, and still knows b as it was
heard() {
	check "$2: $1" eventually 15 has_reason a "$1" 15
	check 'and nothing changed' test "$(peer_now)" = "$peer_before"
}
peer_now() { status_of a | jq -c '[.peers[] | select(.node == "web-2") | .instance_id, .addresses, .public_key, .epoch]'; }
again() { # a node that has refused starts anew, with the same liar
	end_pid "$dir/a.pid"
	start_node a
}

take_down c
at_end stop_liar
mkdir "$dir/lies"
cp "$dir/state-b/self.record" "$dir/lies/old.record"
old_epoch=$(epoch_at a web-2)
end_pid "$dir/b.pid"
start_node b
# shellcheck disable=SC2317 # called through check
b_is_newer() { [ "$(epoch_at a web-2)" -gt "$old_epoch" ]; }
check 'a node that starts again has a newer record' eventually 70 b_is_newer
sleep 1.5 # what was heard is on disk a second later
stop_server
network=$(from_state network)
serial=$(from_state serial)
later=$((serial + 1000000))
mine=$(address_of a),$(address_of a 1)
peer_before=$(peer_now)

identity d "$member" "$(printf '%040d' 88)"
identity twin "$member" "$(instance_of a)"
key_of_b=$(status_of a | jq -r '.peers[] | select(.node == "web-2") | .public_key')
new_key() { "$bailey" genkey | "$bailey" pubkey; }
for kind in stolen-quote altered-quote; do
	"$forge" $kind "$dir/b.pem" "$dir/lies/$kind"
	false_record $kind web-2 "$(new_key)" "$(address_of b)" "lies/$kind"
done
"$forge" altered-signature "$dir/state-b/self.record" "$dir/lies/altered-signature.record"
"$forge" altered-key "$dir/state-b/self.record" "$dir/lies/altered-key.record"
false_record taken-address web-9 "$(new_key)" "$(address_of b)"
false_record own-address web-9 "$(new_key)" "$(address_of a)"
false_record outside web-9 "$(new_key)" 192.0.2.1
false_record taken-key web-9 "$key_of_b" 100.64.0.9
false_record taken-name web-2 "$(new_key)" 100.64.0.9
false_record own-name web-1 "$(new_key)" 100.64.0.9
false_record twin web-9 "$(new_key)" 100.64.0.9 twin
printf 'no record' >"$dir/lies/broken.record"

told() { # REASON WHAT RECORD...
	reason=$1 what=$2
	shift 2
	for name; do
		set -- "$@" "$dir/lies/$name.record"
		shift
	done
	lie "$network" "$later" "$later" "$mine" "$@"
	again
	heard "$reason" "$what"
}
told QUOTE_BINDING "a member with another's quote" stolen-quote
told QUOTE_SIGNATURE "a quote that was altered" altered-quote
told RECORD_SIGNATURE "a record whose signature was altered" altered-signature
told RECORD_SIGNATURE 'a record whose key was swapped' altered-key
told RECORD_ADDRESS "a member with another's address" taken-address
told RECORD_ADDRESS "one with this node's own address" own-address
told RECORD_ADDRESS 'one with an address outside the network' outside
told RECORD_KEY "one with another's WireGuard key" taken-key
told RECORD_NAME "one with another's name" taken-name
told RECORD_NAME "one with this node's name" own-name
told PEER_MISMATCH 'one that says it is this very instance' twin
told RECORD_EPOCH 'an older record of a member' old
told RECORD_MALFORMED 'what is no record' broken
check 'the liar is listened to: what it says and is true, counts' wait_until 20 up a

lie "$network" "$later" "$later" "$(address_of b)"
again
heard RECORD_ADDRESS "another's address for this node"
lie "$network" "$later" "$later" 192.0.2.7
again
heard RECORD_ADDRESS 'an address outside the network for this node'
is 'its addresses are those that it had' "$(address_of a),$(address_of a 1)" "$mine"
lie "$network" "$((serial - 1))" "$later" "$mine"
again
heard SERVER_ROLLBACK 'an older state of the network'
lie "$network" "$later" "$((serial - 1))" "$mine"
again
heard SERVER_ROLLBACK 'a step back in the stream'
lie "$(printf 'ab%.0s' $(seq 16))" "$later" "$later" "$mine"
again
heard SERVER_ROLLBACK 'another network in place of this one'
lie "$network" "$later" "$later" garbage
again
heard SERVER_MALFORMED 'what is no grant'
stop_liar
check 'after all of it the two reach each other' reaches a b
identity s "$member" "$(printf '%040d' 99)"
lie "$network" "$later" "$later" "$mine"
again
heard SERVER_IDENTITY 'a member that plays the control plane'
stop_liar
