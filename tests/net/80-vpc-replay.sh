#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Whoever has the control plane brings back an older record of a node, to one that was killed since: of a node whose last record has
# ended, or that was revoked. The control plane is a liar from the start; node b is never there, only its records are.
. tests/net/lib.sh
any_kernel "what is believed of records; the nodes' packets are those of 20-daemon"
need ip nsenter jq
need_file "$BUILD/baileyd" 'run make'
need_file "$BUILD/tests/net/liar" 'run make tests'

dir=$TMP
prefix=$T
liar=$PWD/$BUILD/tests/net/liar
host_of() { case $1 in s) echo 2 ;; a) echo 3 ;; b) echo 4 ;; esac; }
netns_of() { echo "/var/run/netns/$(ns "$1")"; }
# shellcheck source=tests/net/nodes-lib.sh
. tests/net/nodes-lib.sh
ifname_of() { echo "by$U-$(host_of "$1")"; }

load wireguard tun sch_ingress cls_bpf bridge veth
ns_add hub s a b
bridge hub br0
for n in s a b; do
	veth_bridge $n eth0 "$(underlay_of $n)/24" hub br0
done
make_root || exit 1
control=$(printf 'c7%.0s' $(seq 20))
"$bailey" dev-identity issue --root "$dir/root" --app-id "$control" --instance-id "$(printf '%040d' 99)" --name s --out "$dir/s" >/dev/null
make_identity a web
make_identity b web
write_lax_policy "$dir/policy.yaml"
node_config() { # NODE LIFETIME ADDRESS-LINE LAST-LINE
	cat >"$dir/$1.yaml" <<-END
	instance: $prefix-$1
	node: $1
	policy: policy.yaml
	state: state-$1
	identity: { certificate: $1.pem, key: $1.key }
	trust: { allow_simulated: true, simulated_roots: root/root.pem }
	overlay:
	  interface: $(ifname_of "$1")
	  private_key: $1.wgkey
	  networks: [100.64.0.0/10]
	  endpoints: ["$(underlay_of "$1"):51820"]
	$3
	records: { lifetime: $2 }
	$4
	END
}

# --- records of b, from the oldest on ----------------------------------------------------------------------------------------
(umask 077 && "$bailey" genkey >"$dir/b.wgkey")
for epoch in 5 7; do
	"$bailey" record sign --cert "$dir/b.pem" --key "$dir/b.key" --node b --wg-key "$("$bailey" pubkey <"$dir/b.wgkey")" \
		--addr "$(overlay_of b)" --endpoint "$(underlay_of b):51820" --epoch $epoch --out "$dir/epoch-$epoch.record"
done

# --- helpers -----------------------------------------------------------------------------------------------------------------
# told WORD...: node a, killed and started anew, hears this of its control plane
told() {
	end_pid "$dir/liar.pid"
	nsenter --net="$(netns_of s)" "$liar" "$(underlay_of s):7947" "$dir/s.pem" "$dir/s.key" "$(printf 'ab%.0s' $(seq 16))" 1000 1000 \
		"$(overlay_of a)" "$@" >>"$dir/liar.log" 2>&1 &
	echo $! >"$dir/liar.pid"
	end_pid "$dir/a.pid" -KILL
	start_node a
}
epoch_is() { status_has a ".peers[] | select(.node == \"b\" and .epoch $1)"; }
# shellcheck disable=SC2317 # called through check
is_alone() { status_has a '.ready and .vpc.connected and (.peers | length) == 0'; }
has_refused() { status_has a ".refusals[] | select(.reason == \"$1\")"; }
refused() { # REASON WHAT
	check "$1: $2" eventually 20 has_refused "$1"
	check 'it brings nobody back' eventually 20 is_alone
}
at_end 'end_pid $dir/liar.pid'
for n in a b; do at_end "take_down $n"; done

# --- the last record has ended -----------------------------------------------------------------------------------------------
node_config a 3600 '' "vpc: { server: \"$(underlay_of s):7947\", app: $control }"
node_config b $((40 * PATIENCE)) "  addresses: [$(overlay_of b)]" ''
told "$dir/epoch-7.record"
check 'a knows b' eventually 20 epoch_is '== 7'
told "$dir/epoch-5.record"
check 'an older record than a living one' eventually 20 has_refused RECORD_EPOCH
check 'changes nothing' epoch_is '== 7'
start_node b
check 'b makes a short record' eventually 20 test -s "$dir/state-b/self.record"
cp "$dir/state-b/self.record" "$dir/short.record"
end_pid "$dir/b.pid"
told "$dir/short.record"
check 'a hears of it' eventually 20 epoch_is '> 7'
check 'and it ends' eventually 60 is_alone
memory=$dir/state-a/records/$(instance_of b).record.proof
check 'its epoch is on disk' test -s "$memory"
told "$dir/epoch-7.record"
refused RECORD_EPOCH 'an older record than one that has ended'
cp "$memory" "$dir/memory"
head -c 20 "$dir/memory" >"$memory"
told "$dir/epoch-7.record"
refused RECORD_EPOCH 'any record, where what was seen can not be read'
check 'the log says whose' grep -q "$(instance_of b).record.proof: is not what baileyd wrote: no record of this instance is taken" "$dir/a.log"
rm "$memory"
told "$dir/epoch-7.record"
check 'it was this memory that refused it' eventually 20 epoch_is '== 7'

# --- a revocation that is taken back ----------------------------------------------------------------------------------------
told "revoked=$(instance_of b)"
check 'b is revoked' eventually 20 is_alone
told "$dir/epoch-7.record"
refused RECORD_REVOKED 'its record'
told "allowed=$(instance_of b)" "$dir/epoch-5.record"
refused RECORD_EPOCH 'a record of before, when the revocation is taken back'
told "allowed=$(instance_of b)" "$dir/epoch-7.record"
check 'the last one is as good as it was' eventually 20 epoch_is '== 7'

done_testing
