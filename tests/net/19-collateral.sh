#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Collateral in the daemon: bundles of a folder, fetches ahead of the end from a service, and what bad ones do.
. tests/net/lib.sh
any_kernel 'files and fetches of collateral; no packet is judged'
need ip nsenter jq curl wg python3
need_file "$BUILD/baileyd" 'run make'
need_file "$BUILD/tests/net/forge" 'make tests builds it'

dir=$TMP
prefix=$T
host_of() { echo 2; }
netns_of() { echo "/var/run/netns/$(ns "$1")"; }
# shellcheck source=tests/net/nodes-lib.sh
. tests/net/nodes-lib.sh
ifname_of() { echo "by$U-2"; }

load wireguard tun sch_ingress cls_bpf
ns_add a
in_ns a ip addr add 10.99.0.2/32 dev lo
make_root && make_identity a web || exit 1
write_lax_policy "$dir/policy.yaml"
write_config a policy.yaml 3600
sed -i '/^exchange:/,$d' "$dir/a.yaml"
mkdir "$dir/collateral"
cp "$dir/a.yaml" "$dir/plain.yaml"

with_trust() { # LINE...: the node's configuration with them in its trust section
	sed '/^trust:/d' "$dir/plain.yaml" >"$dir/a.yaml"
	echo 'trust:' >>"$dir/a.yaml"
	for line in 'allow_simulated: true' 'simulated_roots: root/root.pem' "$@"; do
		echo "  $line" >>"$dir/a.yaml"
	done
}

checked() { "$baileyd" -c "$dir/a.yaml" --check 2>&1; }
of_collateral() { status_of a | jq -r ".collateral | $1"; }
says() { [ "$(of_collateral "$1")" = "$2" ]; }
at_least() { n=$(of_collateral "$1") && [ "${n:-null}" != null ] && [ "$n" -ge "$2" ]; }
refused() { status_has a ".refusals[] | select(.origin | test(\"$1\")) | select(.reason == \"$2\")"; }

# --- refusals of the configuration ---------------------------------------------------------------------------------
with_trust 'collateral_service: pccs.example'
like 'a service needs its scheme' "$(checked)" '*trust*collateral_service*https://*'
with_trust 'service_ca: ca.pem'
like 'what is of a service needs one' "$(checked)" '*there is none*'
with_trust 'evidence_policy: evidence.yaml'
like 'the evidence policy must be there' "$(checked)" '*evidence.yaml*'
echo 'tcb: { accept: [Revoked] }' >"$dir/evidence.yaml"
check_not 'and say what can be accepted' checked
echo 'simulated: true' >"$dir/evidence.yaml"
check 'a good one is good' checked

# --- a folder and a service that gives rubbish ---------------------------------------------------------------------
echo '{}' >"$dir/collateral/bad.json"
echo '-----BEGIN CERTIFICATE-----' >"$dir/collateral/bad.pem"
echo 'not a bundle' >"$dir/collateral/readme.txt"
echo 'rubbish' >"$dir/served"
with_trust 'evidence_policy: evidence.yaml' 'collateral: collateral' 'collateral_service: http://127.0.0.1:8081'
in_ns a "$PWD/tests/net/pcs_server.py" 8081 "$dir/served" >"$dir/service.log" 2>&1 &
at_end "kill $!"
at_end 'take_down a'
start_node a
check 'the node starts in spite of it' eventually 20 at_least .bundles 0
check 'a bundle that is none is refused by name' eventually 10 refused bad.json COLLATERAL_MALFORMED
check 'and so is a PEM file without a certificate' eventually 10 refused bad.pem SNP_CHAIN
check_not 'other files are let be' refused readme.txt COLLATERAL_MALFORMED
is 'the fetch process runs without a capability' "$(sed -n 's/^CapEff:\t//p' "/proc/$(status_of a | jq .processes.fetch.pid)/status")" 0000000000000000
is 'and with a filter' "$(sed -n 's/^Seccomp:\t//p' "/proc/$(status_of a | jq .processes.fetch.pid)/status")" 2

# --- SEV-SNP, which only a policy that speaks of it admits -----------------------------------------------------------
printf '{"app_id":"%s","compose_hash":"%s","instance_id":"%s","key_provider":"kms"}' "$(app_of web)" "$(printf '%064d' 1)" \
	"$(printf '%040d' 9)" >"$dir/snp.json"
"$forge" snp-report "$dir/snp.json" "$dir/snp"
check 'a record with a report is signed' "$bailey" record sign --cert "$dir/snp.pem" --key "$dir/snp.key" --node snp \
	--wg-key "$("$bailey" genkey | "$bailey" pubkey)" --addr 100.64.0.9 --out "$dir/records-a/snp.record"
"$bailey" reload --instance "$prefix-a" >/dev/null
check 'the daemon refuses it: nothing says which TCB is good' eventually 10 refused snp.record SNP_TCB
echo 'snp: { min_tcb: { boot_loader: 0, tee: 0, snp: 0, microcode: 0 } }' >>"$dir/evidence.yaml"
like 'as does who verifies by hand' "$("$bailey" record verify "$dir/records-a/snp.record" --root "$dir/root/root.pem" 2>&1)" '*SNP_TCB*no section snp*'
like 'with such a section the report is judged' \
	"$("$bailey" record verify "$dir/records-a/snp.record" --root "$dir/root/root.pem" --policy "$dir/evidence.yaml" 2>&1)" '*SNP_VEK*'
end_pid "$dir/a.pid"
start_node a
check 'by the daemon, too' eventually 20 refused snp.record SNP_VEK
rm "$dir/records-a/snp.record"

# --- a node goes when what it is judged by no longer admits it, and comes back ---------------------------------------
has_peers() { status_has a "if (.peers | length) == $1 then true else false end"; }
"$bailey" dev-identity issue --root "$dir/root" --app-id "$(app_of web)" --instance-id "$(printf '%040d' 7)" --name b --out "$dir/b" >/dev/null
check 'a record of another node is signed' "$bailey" record sign --cert "$dir/b.pem" --key "$dir/b.key" --node b \
	--wg-key "$("$bailey" genkey | "$bailey" pubkey)" --addr 100.64.0.7 --out "$dir/records-a/b.record"
"$bailey" reload --instance "$prefix-a" >/dev/null
check 'it is a peer' eventually 20 has_peers 1
rm "$dir/records-a/b.record"
cp "$dir/evidence.yaml" "$dir/lax.yaml"
echo 'hardware: [00000000000000000000000000000000]' >>"$dir/evidence.yaml"
"$bailey" reload --instance "$prefix-a" >/dev/null
check 'a stricter evidence policy takes it out at once' eventually 20 has_peers 0
check 'status says why' eventually 10 refused "$(printf '%040d' 7).record" HARDWARE
check 'and that this node itself would not be admitted' eventually 10 refused 'own certificate' HARDWARE
like 'so does the log' "$(cat "$dir/a.log")" '*b: taken out, its evidence is not accepted any more: HARDWARE*'
cp "$dir/lax.yaml" "$dir/evidence.yaml"
"$bailey" reload --instance "$prefix-a" >/dev/null
check 'the record that was kept brings it back' eventually 20 has_peers 1

# --- Intel's own, where it is at hand: all of it is out of date by now, so it is due at once -------------------------
data=${BAILEY_SHARED:-../shared}/data/quotes/collateral
if [ ! -r "$data/c-90c06f-2026-06.json" ]; then
	skip 'real collateral is fetched and kept' "no $data"
	[ $tap_bad = 0 ] || note "$(tail -5 "$dir/a.log")"
done_testing
	exit
fi
cp "$data/c-90c06f-2026-02.json" "$dir/collateral/old.json"
"$bailey" reload --instance "$prefix-a" >/dev/null
check 'a real bundle is taken' eventually 10 says .bundles 1
check 'a bundle that ended is asked for' eventually 10 at_least .failed 1
like 'and what came is refused' "$(of_collateral .last_failure)" '*127.0.0.1:8081*'
is 'the old one stays' "$(of_collateral .bundles)" 1
check 'status says that it ended' test "$(of_collateral .days)" -lt 0

cp "$data/c-90c06f-2026-06.json" "$dir/served"
fetch=$(status_of a | jq .processes.fetch.pid)
kill -9 "$fetch"
is_new() { [ "$(status_of a | jq '.processes.fetch | select(.running).pid')" -ne "$fetch" ]; }
check 'a dead fetch process is started again' eventually 20 is_new
"$bailey" reload --instance "$prefix-a" >/dev/null
check 'who reloads need not wait: it is asked for again, and comes' eventually 20 at_least .fetched 1
check 'it is in use' eventually 10 says .bundles 2
check 'and kept' "$bailey" collateral show "$dir/state-a/collateral/90c06f000000.json" --at 1781000000
check 'metrics tell' sh -c "'$bailey' metrics --instance '$prefix-a' | grep -q '^bailey_collateral_fetched_total 1'"
end_pid "$dir/a.pid"
rm "$dir/collateral/old.json"
start_node a
check 'it is there after a restart' eventually 20 says .bundles 1

done_testing
