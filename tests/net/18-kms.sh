#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# bailey-kms from outside: its calls by curl, what it refuses, what its disk survives, a second KMS, a guest agent over it.
# The way on to two nodes is in 16-chain.sh.
. tests/net/lib.sh
any_kernel 'HTTP over TLS, keys and what lies on the disk'

need curl jq openssl python3 ip
kms=$BUILD/bailey-kms
agent=$BUILD/bailey-agent
bailey=$BUILD/bailey
need_file "$kms" 'make tests builds it'
need_file "$BUILD/tests/net/forge" 'make tests builds it'

ns_add k
chmod 711 "$TMP"

"$bailey" dev-identity root --out "$TMP/root" >/dev/null || not_ok 'a simulation root is made'
"$bailey" dev-identity root --out "$TMP/strange" >/dev/null || not_ok 'another simulation root is made'
printf 'simulated: true\n' >"$TMP/evidence.yaml"
printf '{"name":"kms"}' >"$TMP/kms.json"
printf '{"name":"not the kms"}' >"$TMP/other.json"
printf '{"name":"app"}' >"$TMP/app.json"
app=a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1
one=1111111111111111111111111111111111111111
good=$(printf 'c0%.0s' $(seq 32))
bad=$(printf 'c1%.0s' $(seq 32))
port=8000

# identity NAME ROOT COMPOSE_HASH [APP_ID]
identity() {
	"$bailey" dev-identity issue --root "$TMP/$2" --app-id "${4:-$app}" --instance-id $one --compose-hash "$3" --out "$TMP/$1" >/dev/null
}
cp "$TMP/root/pck-ca.pem" "$TMP/amd.pem" # a CA that vouches for nobody here
identity web root "$good"
identity changed root "$bad"
identity foreign strange "$good"
identity unknown root "$good" b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2
"$BUILD/tests/net/forge" stolen-quote "$TMP/web.pem" "$TMP/stolen"
"$BUILD/tests/net/forge" altered-quote "$TMP/web.pem" "$TMP/altered"

# agent_up NAME COMPOSE OPTION...: $TMP/NAME.sock
agent_up() {
	agent_name=$1 agent_compose=$2
	shift 2
	nsenter --net="/var/run/netns/$(ns k)" "$agent" --state "$TMP/$agent_name.agent" --compose "$TMP/$agent_compose.json" \
		--listen "$TMP/$agent_name.sock" --tee sim --sim-root "$TMP/root" "$@" >>"$TMP/$agent_name.log" 2>&1 &
	agent_pid=$!
	at_end "kill $agent_pid"
	eventually 10 curl -s -o "$TMP/out" --unix-socket "$TMP/$agent_name.sock" http://dstack/Version
}

# config NAME PORT AUTHORIZE: $TMP/NAME.yaml
config() {
	cat >"$TMP/$1.yaml" <<-END
	version: 1
	listen: 127.0.0.1:$2
	domain: kms.internal
	state: $TMP/$1
	agent: $TMP/$1.sock
	seal: agent
	evidence: { policy: $TMP/evidence.yaml, simulated_roots: $TMP/root/root.pem, collateral: [$TMP/amd.pem] }
	authorize: $3
	END
}

# kms_up NAME PORT
kms_up() {
	nsenter --net="/var/run/netns/$(ns k)" "$kms" --config "$TMP/$1.yaml" >>"$TMP/$1.log" 2>&1 &
	kms_pid=$!
	at_end "kill $kms_pid"
	eventually 10 sh -c "kill -0 $kms_pid && nsenter --net=/var/run/netns/$(ns k) curl -sk -m 2 -o $TMP/out https://127.0.0.1:$2/health"
}

kms_down() {
	kill "$1"
	wait "$1" 2>/dev/null
}

# ask METHOD JSON [CURL_OPTION...]; as NAME: with NAME's certificate
ask() {
	ask_method=$1 ask_body=$2
	shift 2
	in_ns k curl -sk -m 40 "https://127.0.0.1:$port/prpc/$ask_method?json" -d "$ask_body" "$@"
}
ask_as() {
	ask_who=$1
	shift
	ask "$@" --cert "$TMP/$ask_who.pem" --key "$TMP/$ask_who.key"
}
error_as() { ask_as "$1" GetAppKey '{"api_version":1}' | jq -r .error; }
app_key() { ask_as "$1" GetAppKey '{"api_version":1}' | jq -r .k256_key; }
records() { "$kms" audit verify --state "$TMP/kms" | cut -d ' ' -f 1; }

# --- configuration and first start ------------------------------------------------------------------------------------
agent_up kms kms --instance-id $one || not_ok "the KMS's agent starts: $(cat "$TMP/kms.log")"
cat >"$TMP/allow.yaml" <<-END
	version: 1
	gateway_app_id: $(printf 'ab%.0s' $(seq 20))
	apps:
	  $app: { compose_hashes: [$good] }
END
config kms $port "{ allow: $TMP/allow.yaml }"
check 'a configuration is checked' "$kms" check --config "$TMP/kms.yaml"
like 'a KMS without keys does not start' "$("$kms" --config "$TMP/kms.yaml" 2>&1)" '*no keys yet*bootstrap*keys.sealed*No such file*'
check 'root keys are made' in_ns k "$kms" bootstrap --config "$TMP/kms.yaml"
like 'and never replaced' "$(in_ns k "$kms" bootstrap --config "$TMP/kms.yaml" 2>&1)" '*is there already, and keys are never replaced*'
is 'nobody else reads state, keys and log' "$(cd "$TMP/kms" && stat -c %a . keys.sealed audit.log audit.head | tr '\n' ' ')" '700 600 600 600 '
kms_up kms $port || not_ok "the KMS starts: $(cat "$TMP/kms.log")"
main_pid=$kms_pid

# --- what anybody may ask ---------------------------------------------------------------------------------------------
ask GetMeta '' >"$TMP/meta"
jq -r .ca_cert "$TMP/meta" >"$TMP/ca.pem"
is 'GetMeta has the root CA' "$(openssl x509 -in "$TMP/ca.pem" -noout -subject)" 'subject=O = Dstack, CN = Dstack KMS CA'
is 'which is the file to pin' "$(cat "$TMP/ca.pem")" "$(cat "$TMP/kms/root-ca.pem")"
is 'and says that evidence may be simulated' "$(jq .is_dev "$TMP/meta")" true
is 'bootstrap info names the same key' "$(jq -r .bootstrap_info.k256_pubkey "$TMP/meta")" "$(jq -r .k256_pubkey "$TMP/meta")"
check 'and has an attestation' [ "$(jq -r '.bootstrap_info.attestation | length' "$TMP/meta")" -gt 1000 ]
ask KMS.GetTempCaCert '' >"$TMP/temp"
jq -r .temp_ca_key "$TMP/temp" >"$TMP/temp.key"
jq -r .temp_ca_cert "$TMP/temp" >"$TMP/temp.pem"
is 'GetTempCaCert has a CA and its key' "$(openssl pkey -in "$TMP/temp.key" -pubout 2>&1)" "$(openssl x509 -in "$TMP/temp.pem" -noout -pubkey)"
env_key=$(ask GetAppEnvEncryptPubKey "{\"app_id\":\"$app\"}" | jq -r '.public_key + " " + (.signature_v1 | length | tostring)')
like 'GetAppEnvEncryptPubKey has key and signatures' "$env_key" '???????????????????????????????????????????????????????????????? 130'
is 'its app_id has 20 bytes' "$(ask GetAppEnvEncryptPubKey '{"app_id":"a1"}' | jq -r .error)" 'app_id must be 20 bytes'
in_ns k openssl s_client -connect 127.0.0.1:$port -showcerts </dev/null >"$TMP/shown" 2>/dev/null
check 'its own certificate leads to the root' sh -c "openssl x509 -in '$TMP/shown' | openssl verify -CAfile '$TMP/ca.pem'"
like 'has the usage kms:rpc' "$(openssl x509 -in "$TMP/shown" -noout -text)" '*62397.1.8:*62397.1.4:*kms:rpc*'
is '/health answers' "$(in_ns k curl -sk -o "$TMP/out" -w '%{http_code}' https://127.0.0.1:$port/health)" 200

# --- keys -------------------------------------------------------------------------------------------------------------
ask_as web GetAppKey '{"api_version":1,"vm_config":""}' >"$TMP/keys"
is 'an app that is listed gets its keys' "$(jq -r '[.disk_crypt_key, .env_crypt_key, .k256_key, .k256_signature] | map(length) | join(" ")' "$TMP/keys")" '64 64 64 130'
is 'and who its gateway is' "$(jq -r .gateway_app_id "$TMP/keys")" "$(printf 'ab%.0s' $(seq 20))"
is 'each time the same' "$(app_key web)" "$(jq -r .k256_key "$TMP/keys")"
is 'the environment key is the public one'\''s' "$( (printf '302e020100300506032b656e04220420'; jq -r .env_crypt_key "$TMP/keys") | tr -d '\n' | sed 's/../\\x&/g' >"$TMP/esc"; env printf "$(cat "$TMP/esc")" | openssl pkey -inform DER -pubout -outform DER | tail -c 32 | od -An -tx1 | tr -d ' \n')" "${env_key% *}"
is 'it is in the audit log' "$(tail -n 1 "$TMP/kms/audit.log" | jq -r '[.what, .app_id, .compose_hash] | join(" ")')" "app-keys $app $good"

# --- refusals: evidence and authority -----------------------------------------------------------------------------------
before=$(records)
like 'no certificate: no keys' "$(ask GetAppKey '{"api_version":1}' | jq -r .error)" 'a client certificate with evidence is needed'
is 'another compose hash' "$(error_as changed)" 'Boot denied: Compose hash not allowed'
is 'an app that is not listed' "$(error_as unknown)" 'Boot denied: App not registered'
like 'evidence of another simulation root' "$(error_as foreign)" '*root is none of the 1 trusted*'
like 'evidence of another key, replayed' "$(error_as stolen)" '*report_data*'
like 'a quote that was altered' "$(error_as altered)" '*sign*'
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=x -days 5 -keyout "$TMP/plain.key" -out "$TMP/plain.pem" 2>/dev/null
like 'a certificate without evidence' "$(error_as plain)" '*carries no quote*'
printf '{"app_id":"%s","compose_hash":"%s","key_provider":"kms"}' $app "$good" >"$TMP/snp.json"
"$BUILD/tests/net/forge" snp-report "$TMP/snp.json" "$TMP/snp"
like 'a SEV-SNP report, of which the policy does not speak' "$(error_as snp)" '*no section snp*'
# what the temp CA signs proves nothing: a leaf of it without evidence
openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj '/CN=RA-TLS TEMP Cert' -keyout "$TMP/temped.key" -out "$TMP/temped.csr" 2>/dev/null
echo keyUsage=critical,digitalSignature >"$TMP/ext"
openssl x509 -req -extfile "$TMP/ext" -in "$TMP/temped.csr" -CA "$TMP/temp.pem" -CAkey "$TMP/temp.key" -CAcreateserial -days 5 -out "$TMP/temped.pem" 2>/dev/null
like 'nor does the temp CA help' "$(error_as temped)" '*carries no quote*'
is 'GetKmsKey is off' "$(ask_as web GetKmsKey '{}' | jq -r .error)" 'this KMS hands its keys to nobody (onboard is off)'
is 'another API version' "$(ask_as web GetAppKey '{"api_version":9}' | jq -r .error)" 'Unsupported API version: 9'

# --- refusals: form -----------------------------------------------------------------------------------------------------
is 'no such method: the words of dstack' "$(ask Nope '{}' | jq -r .error)" 'Service not found: Nope'
like 'broken JSON' "$(ask GetAppKey '{"api' | jq -r .error)" '*no JSON object*'
like 'a list' "$(ask SignCert '[]' | jq -r .error)" '*no JSON object*'
like 'a CSR that is no hex' "$(ask SignCert '{"api_version":2,"csr":"xy","signature":""}' | jq -r .error)" 'csr: is not hex'
like 'a CSR that is a number' "$(ask SignCert '{"api_version":2,"csr":7,"signature":""}' | jq -r .error)" 'csr: is not hex'
like 'a CSR that is none' "$(ask SignCert '{"api_version":2,"csr":"00","signature":"00"}' | jq -r .error)" '*is not one of version 2*'
like 'a signature beyond its size' "$(ask SignCert "{\"api_version\":2,\"csr\":\"00\",\"signature\":\"$(printf '00%.0s' $(seq 80))\"}" | jq -r .error)" '*80 bytes, the limit is 72*'
big=$(head -c 3000000 /dev/zero | tr '\0' 0 | in_ns k curl -sk -m 20 -o "$TMP/out" -w '%{http_code}' -H 'Expect:' --data-binary @- "https://127.0.0.1:$port/prpc/SignCert?json")
check "a body beyond the limit ends the call (status $big)" [ "$big" = 413 -o "$big" = 000 ]
is 'protobuf is refused with what to send' "$(in_ns k curl -sk "https://127.0.0.1:$port/prpc/GetMeta" --data-binary x -H 'Content-Type: application/octet-stream' | jq -r .error)" 'only JSON is spoken here: send Content-Type: application/json'
check_not 'a client without TLS gets nothing' in_ns k curl -s -m 5 "http://127.0.0.1:$port/prpc/GetMeta"
check_not 'nor one with TLS 1.2' in_ns k curl -sk -m 5 --tls-max 1.2 "https://127.0.0.1:$port/prpc/GetMeta"
head -c 5000 /dev/urandom | in_ns k openssl s_client -quiet -connect 127.0.0.1:$port >"$TMP/out" 2>&1
is 'after all that it answers' "$(app_key web)" "$(jq -r .k256_key "$TMP/keys")"
is 'and what was refused was not issued' "$(records)" $((before + 1))
is 'refusals are counted' "$(in_ns k curl -sk https://127.0.0.1:$port/metrics | sed -n 's/^dstack_kms_attestation_failures_total //p')" 6
echo 'snp: { min_tcb: { boot_loader: 0, tee: 0, snp: 0, microcode: 0 } }' >>"$TMP/evidence.yaml"
kill -HUP "$main_pid"
like 'as soon as it does, the report is judged' "$(error_as snp)" '*VEK*'
logged() { grep -q "$1" "$TMP/kms.log"; }
echo nothing >"$TMP/new.pem" && mv "$TMP/new.pem" "$TMP/amd.pem"
check 'collateral that is none is noticed and refused' eventually 20 logged 'new collateral refused.*amd.pem'
is 'and what was there is in force' "$(app_key web)" "$(jq -r .k256_key "$TMP/keys")"
cp "$TMP/root/root.pem" "$TMP/new.pem" && mv "$TMP/new.pem" "$TMP/amd.pem"
check 'other collateral is noticed and taken' eventually 20 logged 'collateral read again'
same_keys() { [ "$(app_key web)" = "$(jq -r .k256_key "$TMP/keys")" ]; }
check 'and it goes on' eventually 10 same_keys

# --- processes ----------------------------------------------------------------------------------------------------------
for pid in $(pgrep -P "$main_pid"); do
	check "process $pid has no privilege and a list of calls" sh -c "grep -q '^Uid:.65534.65534' /proc/$pid/status && grep -q '^CapEff:.0000000000000000' /proc/$pid/status && grep -q '^Seccomp:.2' /proc/$pid/status"
done
like 'a KMS that writes this log is not joined by another' "$(in_ns k "$kms" --config "$TMP/kms.yaml" 2>&1)" '*can not listen*'

# --- an app's agent takes its keys and certificates here -------------------------------------------------------------------
app_hash=$(sha256sum <"$TMP/app.json" | cut -c 1-64)
like 'an agent that is not listed does not start' "$(in_ns k "$agent" --state "$TMP/no.agent" --compose "$TMP/app.json" --listen "$TMP/no.sock" --tee sim --sim-root "$TMP/root" --kms https://127.0.0.1:$port --kms-ca "$TMP/ca.pem" 2>&1)" '*Boot denied: App not registered*'
echo "  $(echo "$app_hash" | cut -c 1-40): { compose_hashes: [$app_hash] }" >>"$TMP/allow.yaml"
kill -HUP "$main_pid"
eventually 10 agent_up app app --kms "https://127.0.0.1:$port" --kms-ca "$TMP/ca.pem" || not_ok "the agent starts: $(cat "$TMP/app.log")"
tls() { curl -s -m 20 --unix-socket "$TMP/app.sock" "http://dstack/GetTlsKey?subject=web&usage_server_auth=true&$1"; }
tls 'usage_ra_tls=true&with_app_info=true' >"$TMP/tls"
jq -r '.certificate_chain[0]' "$TMP/tls" >"$TMP/leaf.pem"
jq -r '.certificate_chain[1]' "$TMP/tls" >"$TMP/appca.pem"
check 'its certificates lead to the root' openssl verify -CAfile "$TMP/ca.pem" -untrusted "$TMP/appca.pem" "$TMP/leaf.pem"
check 'and its evidence is accepted' "$bailey" cert inspect "$TMP/leaf.pem" --allow-simulated --root "$TMP/root/root.pem"
like 'with all extensions of the profile' "$(openssl x509 -in "$TMP/leaf.pem" -noout -text)" '*62397.1.3:*62397.1.8:*62397.1.9:*62397.1.4:*app:custom*'
check_not 'not asked for, the leaf has no quote' sh -c "curl -s --unix-socket '$TMP/app.sock' 'http://dstack/GetTlsKey?subject=a' | jq -r '.certificate_chain[0]' | openssl x509 -noout -text | grep -q 62397.1.8"
is 'the log has its certificate' "$(jq -r 'select(.what == "certificate") | .cert_sha256' "$TMP/kms/audit.log" | head -n 1)" "$(openssl x509 -in "$TMP/leaf.pem" -outform DER | sha256sum | cut -c 1-64)"
like 'an end beyond ten years is refused' "$(tls 'not_after=9999999999' | jq -r .error)" '*not_after*'
like 'another KMS'\''s root is not taken' "$(in_ns k "$agent" --state "$TMP/no.agent" --compose "$TMP/app.json" --listen "$TMP/no.sock" --tee sim --sim-root "$TMP/root" --kms https://127.0.0.1:$port --kms-ca "$TMP/temp.pem" 2>&1)" '*does not lead to the root*'
# the same root, but an app's certificate: a server with it is no KMS
jq -r .key "$TMP/tls" >"$TMP/leaf.key"
cat "$TMP/leaf.pem" "$TMP/appca.pem" >"$TMP/fake.pem"
nsenter --net="/var/run/netns/$(ns k)" openssl s_server -quiet -accept 127.0.0.1:8009 -cert "$TMP/leaf.pem" -cert_chain "$TMP/appca.pem" -key "$TMP/leaf.key" -tls1_3 >"$TMP/fake.log" 2>&1 </dev/null &
at_end "kill $!"
eventually 5 in_ns k sh -c 'echo | openssl s_client -connect 127.0.0.1:8009 >/dev/null 2>&1'
like 'an app that plays the KMS is found out' "$(in_ns k "$agent" --state "$TMP/no.agent" --compose "$TMP/app.json" --listen "$TMP/no.sock" --tee sim --sim-root "$TMP/root" --kms https://127.0.0.1:8009 --kms-ca "$TMP/ca.pem" 2>&1)" '*usage is "app:custom", kms:rpc is needed*'

# --- a second KMS ---------------------------------------------------------------------------------------------------------
mr=$(jq -r 'select(.what == "app-keys") | .mr_aggregated' "$TMP/kms/audit.log" | head -n 1)
agent_up twin kms --instance-id $one || not_ok 'the second KMS'\''s agent starts'
agent_up wrong other --instance-id $one || not_ok 'a wrong KMS'\''s agent starts'
kms_mr=$(curl -s --unix-socket "$TMP/kms.sock" http://dstack/Info | jq -r '.tcb_info | fromjson | .mr_aggregated')
check 'the KMS'\''s measurement is known' [ "${#kms_mr}" = 64 -a "$kms_mr" != "$mr" ]
printf 'kms: { mr_aggregated: [%s] }\n' "$kms_mr" >>"$TMP/allow.yaml"
echo 'onboard: true' >>"$TMP/kms.yaml"
kill -HUP "$main_pid"
config twin 8001 "{ allow: $TMP/allow.yaml }"
config wrong 8002 "{ allow: $TMP/allow.yaml }"
eventually 10 sh -c "[ \"\$(nsenter --net=/var/run/netns/$(ns k) curl -sk -o $TMP/out -w '%{http_code}' https://127.0.0.1:$port/health)\" = 200 ]"
like 'a KMS of another measurement gets nothing' "$(in_ns k "$kms" onboard --config "$TMP/wrong.yaml" --from https://127.0.0.1:$port 2>&1)" '*Boot denied: Aggregated MR not allowed*'
check_not 'and keeps nothing' [ -e "$TMP/wrong/keys.sealed" ]
like 'an app gets nothing either' "$(ask_as web GetKmsKey '{}' | jq -r .error)" '*usage*kms:rpc*'
sed "s/$kms_mr/$(printf '0%.0s' $(seq 64))/" "$TMP/allow.yaml" >"$TMP/allow-none.yaml"
config twin 8001 "{ allow: $TMP/allow-none.yaml }"
like 'the second one judges the first, too' "$(in_ns k "$kms" onboard --config "$TMP/twin.yaml" --from https://127.0.0.1:$port 2>&1)" '*other KMS: is not allowed: Aggregated MR*'
config twin 8001 "{ allow: $TMP/allow.yaml }"
check 'a KMS of the same measurement takes the keys' in_ns k "$kms" onboard --config "$TMP/twin.yaml" --from https://127.0.0.1:$port
is 'it is in the log of the first' "$(tail -n 1 "$TMP/kms/audit.log" | jq -r '[.what, .mr_aggregated] | join(" ")')" "root-keys $kms_mr"
kms_up twin 8001 || not_ok "the second KMS starts: $(cat "$TMP/twin.log")"
twin_pid=$kms_pid
port=8001
is 'an app has the same keys from it' "$(app_key web)" "$(jq -r .k256_key "$TMP/keys")"
check 'its certificate leads to the first one'\''s root' sh -c "nsenter --net=/var/run/netns/$(ns k) openssl s_client -connect 127.0.0.1:8001 </dev/null 2>/dev/null | openssl x509 | openssl verify -CAfile '$TMP/ca.pem'"
kms_down "$twin_pid"
port=8000

# --- the webhook --------------------------------------------------------------------------------------------------------
nsenter --net="/var/run/netns/$(ns k)" python3 tests/net/kms_webhook.py "$TMP/port" "$TMP/mode" "$TMP/seen" &
at_end "kill $!"
hook_pid=$!
eventually 10 [ -s "$TMP/port" ]
kms_down "$main_pid"
config kms $port "{ webhook: \"http://127.0.0.1:$(cat "$TMP/port")/\", timeout_s: 2 }"
kms_up kms $port || not_ok "the KMS starts with a webhook: $(cat "$TMP/kms.log")"
main_pid=$kms_pid
hook() { echo "$1" >"$TMP/mode"; error_as web; }
hook yes >/dev/null
is 'the webhook says yes' "$(app_key web)" "$(jq -r .k256_key "$TMP/keys")"
is 'it is asked as dstack asks' "$(jq -r '[.path, .agent, .body.appId, .body.composeHash, .body.tcbStatus, (.body.advisoryIds | length)] | join(" ")' "$TMP/seen")" "/bootAuth/app dstack-kms/0.5.8 $app $good Simulated 0"
before=$(records)
is 'the webhook says no' "$(hook no)" 'Boot denied: not today'
like 'the webhook is slow' "$(hook slow)" '*webhook does not answer*'
like 'the webhook lies about its types' "$(hook lie)" '*boolean isAllowed*'
like 'the webhook answers too much' "$(hook oversize)" '*more than 65536 bytes*'
like 'the webhook fails, whatever its body says' "$(hook error)" '*HTTP 500*'
like 'the webhook sends elsewhere' "$(hook redirect)" '*HTTP 302*'
kill "$hook_pid"
like 'the webhook is down' "$(hook yes)" '*webhook does not answer*'
is 'nothing of this was issued' "$(records)" "$before"
is 'what needs no authority goes on' "$(ask GetMeta '' | jq -r .k256_pubkey)" "$(jq -r .k256_pubkey "$TMP/meta")"

# --- what the disk survives ----------------------------------------------------------------------------------------------
kms_down "$main_pid"
config kms $port "{ allow: $TMP/allow.yaml }"
cp -a "$TMP/kms" "$TMP/kept"
restore() { rm -rf "$TMP/kms"; cp -a "$TMP/kept" "$TMP/kms"; }
refused_start() { like "$1" "$(in_ns k timeout 20 "$kms" --config "$TMP/kms.yaml" 2>&1)" "$2"; restore; }
last=$("$kms" audit verify --state "$TMP/kms" | sed 's/.* //')
check 'the log has what was last seen' "$kms" audit verify --state "$TMP/kms" --contains "$last"
sed -i "s/$good/$bad/" "$TMP/kms/audit.log"
like 'audit verify finds a changed record' "$("$kms" audit verify --state "$TMP/kms" 2>&1)" '*was changed*'
refused_start 'and the KMS does not start on it' '*was changed*'
sed -i '$d' "$TMP/kms/audit.log"
like 'audit verify finds a cut log' "$("$kms" audit verify --state "$TMP/kms" 2>&1)" '*it was cut*'
refused_start 'and the KMS does not start on it' '*it was cut*'
sed -i 2d "$TMP/kms/audit.log"
refused_start 'a record was taken out' '*record 2 is missing*'
rm "$TMP/kms/audit.log"
refused_start 'the log is gone' '*audit.log: No such file*'
like 'another log of the same name does not contain it' "$("$kms" audit verify --state "$TMP/twin" --contains "$last" 2>&1)" '*does not contain*'
printf x | dd of="$TMP/kms/keys.sealed" bs=1 seek=100 conv=notrunc 2>/dev/null
refused_start 'the sealed file was changed' '*do not open*'
truncate -s 100 "$TMP/kms/keys.sealed"
refused_start 'the sealed file was cut' '*100 bytes that are no sealed keys*'
chmod 640 "$TMP/kms/keys.sealed"
refused_start 'the sealed file is loose' '*mode 0640*'
cp "$TMP/temp.pem" "$TMP/kms/root-ca.pem"
refused_start 'another root certificate' '*not the certificate of the sealed root key*'
sed -i "s|^agent: .*|agent: $TMP/wrong.sock|" "$TMP/kms.yaml"
refused_start 'an agent of another app does not open it' '*do not open*'
config kms $port "{ allow: $TMP/allow.yaml }"
sed -i "s|^seal: .*|seal: $TMP/seal.key|" "$TMP/kms.yaml"
head -c 32 /dev/urandom >"$TMP/seal.key"
chmod 600 "$TMP/seal.key"
refused_start 'a key file does not open what an agent sealed' '*the configuration says a key file*'
config kms $port "{ allow: $TMP/allow.yaml }"
kms_up kms $port || not_ok "the KMS starts again: $(tail -n 3 "$TMP/kms.log")"
is 'with all in its place it starts, with the same keys' "$(app_key web)" "$(jq -r .k256_key "$TMP/keys")"
kill -9 "$(pgrep -P "$kms_pid" | head -n 1)"
wait "$kms_pid"
is 'when one process dies, all end' "$?" 1
like 'and it is said' "$(tail -n 2 "$TMP/kms.log")" '*process ended (*'
check 'the log is whole' "$kms" audit verify --state "$TMP/kms"
done_testing
