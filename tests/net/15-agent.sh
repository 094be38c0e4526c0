#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# bailey-agent as applications see it: curl on its sockets, openssl on what it issues, dstack's own JavaScript SDK. The
# commands marked with "docs" are those of docs/agent.md.
. tests/net/lib.sh
any_kernel 'HTTP over local sockets, keys and certificates'

need curl jq openssl
agent=$BUILD/bailey-agent
bailey=$BUILD/bailey
need_file "$agent" 'make tests builds it'

sock=$TMP/dstack.sock
printf '{"name":"demo","runner":"docker-compose"}' >"$TMP/app-compose.json"
"$bailey" dev-identity root --out "$TMP/root" >/dev/null || not_ok 'a simulation root is made'

# agent_up OPTION...: in the background, until its socket answers.
agent_up() {
	"$agent" --state "$TMP/state" --compose "$TMP/app-compose.json" --listen "$sock" "$@" >>"$TMP/agent.log" 2>&1 &
	agent_pid=$!
	at_end "kill $agent_pid"
	tries=0
	until [ -S "$sock" ] && ask Version >/dev/null; do
		tries=$((tries + 1))
		[ $tries -lt 100 ] && kill -0 "$agent_pid" 2>/dev/null || return 1
		sleep 0.1
	done
}

agent_down() {
	kill "$agent_pid"
	wait "$agent_pid"
}

# ask METHOD [JSON]
ask() { curl -s -m 20 --unix-socket "$sock" -H 'Content-Type: application/json' -d "${2:-}" "http://dstack/$1"; }
tappd() { curl -s -m 20 --unix-socket "$TMP/tappd.sock" -H 'Content-Type: application/json' -d "${2:-}" "http://dstack/prpc/$1"; }
status_of() { curl -s -m 20 -o /dev/null -w '%{http_code}' --unix-socket "$sock" -H 'Content-Type: application/json' -d "$2" "http://dstack/$1"; }
error_of() { ask "$1" "$2" | jq -r .error; }

sim="--tee sim --sim-root $TMP/root"
# shellcheck disable=SC2086 # words
agent_up $sim --tappd "$TMP/tappd.sock" || not_ok "the agent starts: $(cat "$TMP/agent.log")"
like 'its log says that evidence is simulated' "$(cat "$TMP/agent.log")" '*SIMULATED*'

# --- keys --------------------------------------------------------------------------------------------------------
key=$(ask GetKey '{"path":"wallet","purpose":"eth"}' | jq -r .key)
is 'a key has 32 bytes' "${#key}" 64
is 'the same path is the same key' "$(ask GetKey '{"path":"wallet","purpose":"other"}' | jq -r .key)" "$key"
is 'GET says the same as POST' "$(curl -s --unix-socket "$sock" 'http://dstack/GetKey?path=wallet' | jq -r .key)" "$key"
check_not 'another path is another key' [ "$(ask GetKey '{"path":"wallet2"}' | jq -r .key)" = "$key" ]
is 'ed25519 has the same bytes, as dstack documents' "$(ask GetKey '{"path":"wallet","algorithm":"ed25519"}' | jq -r .key)" "$key"
is 'a chain has two signatures' "$(ask GetKey '{}' | jq -r '.signature_chain | map(length) | join(" ")')" '130 130'
like 'another algorithm is refused' "$(error_of GetKey '{"algorithm":"rsa"}')" '*Unsupported algorithm*rsa*'

for algorithm in secp256k1 ed25519; do
	signed=$(ask Sign "{\"algorithm\":\"$algorithm\",\"data\":\"c0ffee\"}")
	request=$(echo "$signed" | jq -c "{algorithm: \"$algorithm\", data: \"c0ffee\", signature, public_key}")
	is "$algorithm: what was signed verifies" "$(ask Verify "$request" | jq -r .valid)" true
	is "$algorithm: other data does not" "$(ask Verify "$(echo "$request" | jq -c '.data = "c0ffef"')" | jq -r .valid)" false
	is "$algorithm: three signatures in the chain" "$(echo "$signed" | jq '.signature_chain | length')" 3
done
like 'a prehashed message has 32 bytes' "$(error_of Sign '{"algorithm":"secp256k1_prehashed","data":"00"}')" '*32 bytes*'

# --- certificates ------------------------------------------------------------------------------------------------
ask GetTlsKey '{"subject":"web","alt_names":["web.internal","10.0.0.1","fd00::1"],"usage_ra_tls":true,"usage_server_auth":true}' >"$TMP/tls"
jq -r .key "$TMP/tls" >"$TMP/tls.key"
for i in 0 1 2; do jq -r ".certificate_chain[$i]" "$TMP/tls" >"$TMP/cert$i.pem"; done
check 'the chain verifies, root last' openssl verify -CAfile "$TMP/cert2.pem" -untrusted "$TMP/cert1.pem" "$TMP/cert0.pem"
is 'the key is the leaf'\''s' "$(openssl pkey -in "$TMP/tls.key" -pubout)" "$(openssl x509 -in "$TMP/cert0.pem" -pubkey -noout)"
text=$(openssl x509 -in "$TMP/cert0.pem" -noout -text)
like 'names are DNS names, addresses are addresses' "$text" '*DNS:web.internal, IP Address:10.0.0.1, IP Address:FD00:0:0:0:0:0:0:1*'
like 'with evidence there is an attestation' "$text" '*1.3.6.1.4.1.62397.1.8*'
check_not 'and no app_info that was not asked for' sh -c "echo '$text' | grep -q 62397.1.9"
like 'server only: no client usage' "$text" '*TLS Web Server Authentication*'
check_not 'and nothing of clients' sh -c "echo '$text' | grep -q 'TLS Web Client'"
check_not 'without usage_ra_tls there is no quote' sh -c "curl -s --unix-socket $sock 'http://dstack/GetTlsKey?subject=a' | jq -r .certificate_chain[0] | openssl x509 -noout -text | grep -q 62397.1.8:"
check_not 'each call has a fresh key' [ "$(ask GetTlsKey '{}' | jq -r .key)" = "$(ask GetTlsKey '{}' | jq -r .key)" ]
# verdict CERTIFICATE: what a verifier that believes the simulation root says of it
verdict() { "$bailey" cert inspect "$1" --json --root "$TMP/root/root.pem" --allow-simulated | jq -r "$2"; }
is 'our verifier accepts the leaf by its attestation' "$(verdict "$TMP/cert0.pem" .verdict)" 'accepted, SIMULATED'
ask GetTlsKey '{"usage_ra_tls":true,"with_app_info":true}' | jq -r '.certificate_chain[0]' >"$TMP/informed.pem"
is 'app_info is there when asked for, and what the quote proves' "$(verdict "$TMP/informed.pem" '.verdict, .extensions.app_info_bytes')" "accepted, SIMULATED
208"
"$bailey" dev-identity root --out "$TMP/stranger" >/dev/null
is 'not under another root' "$("$bailey" cert inspect "$TMP/cert0.pem" --root "$TMP/stranger/root.pem" --allow-simulated >/dev/null 2>&1; echo $?)" 1
ask GetTlsKey '{"not_before":1800000000,"not_after":1900000000}' | jq -r '.certificate_chain[0]' >"$TMP/dated.pem"
is 'times are those asked for' "$(openssl x509 -in "$TMP/dated.pem" -noout -startdate -enddate | tr '\n' ' ')" \
	'notBefore=Jan 15 08:00:00 2027 GMT notAfter=Mar 17 17:46:40 2030 GMT '
like 'an end before the start is refused' "$(error_of GetTlsKey '{"not_before":5,"not_after":5}')" '*not_before must be earlier than not_after*'
like 'a name that is none is refused' "$(error_of GetTlsKey '{"alt_names":["a b"]}')" '*a b*neither*'
like 'a subject beyond 64 characters is refused' "$(error_of GetTlsKey "{\"subject\":\"$(printf 'x%.0s' $(seq 65))\"}")" '*common name*'

# --- evidence ----------------------------------------------------------------------------------------------------
quote=$(ask GetQuote '{"report_data":"0xc0ffee"}')
is 'report data is padded to 64 bytes' "$(echo "$quote" | jq -r .report_data)" "c0ffee$(printf '0%.0s' $(seq 122))"
is 'the quote holds it' "$(echo "$quote" | jq -r .quote | cut -c 1137-1264)" "$(echo "$quote" | jq -r .report_data)"
like 'more than 64 bytes are refused' "$(error_of GetQuote "{\"report_data\":\"$(printf '00%.0s' $(seq 65))\"}")" '*65 bytes, the limit is 64*'
like 'what is no hex is refused' "$(error_of GetQuote '{"report_data":"xyz!"}')" '*report_data: is not hex*'
attested=$(ask Attest '{"report_data":"c0ffee"}' | jq -r .attestation)
is 'no GPU is attested' "$(ask GpuInfo '{}' | jq -c .)" '{"attestation":""}'
is 'an attestation is version 0 of a TDX quote' "$(echo "$attested" | cut -c 1-4)" 0000
like 'with the report data' "$attested" "*$(echo "$quote" | jq -r .report_data)00"
ask Info >"$TMP/info"
is 'the app-id is the compose hash'\''s first 20 bytes' "$(jq -r .app_id "$TMP/info")" "$(sha256sum <"$TMP/app-compose.json" | cut -c 1-40)"
is 'info has the compose file as it is' "$(jq -r '.tcb_info | fromjson | .app_compose' "$TMP/info")" "$(cat "$TMP/app-compose.json")"
is 'info'\''s RTMR3 is the quote'\''s' "$(jq -r '.tcb_info | fromjson | .rtmr3' "$TMP/info")" "$(echo "$quote" | jq -r .quote | cut -c 1041-1136)"

# --- events --------------------------------------------------------------------------------------------------------
rtmr3_of() { ask GetQuote '{}' | jq -r .quote | cut -c 1041-1136; }
before=$(rtmr3_of)
is 'EmitEvent answers nothing' "$(ask EmitEvent '{"event":"deployed","payload":"c0ffee"}')" null
check_not 'and RTMR3 is another' [ "$(rtmr3_of)" = "$before" ]
is 'the event is in the log' "$(ask GetQuote '{}' | jq -r '.event_log | fromjson | last | .event + " " + .event_payload')" 'deployed c0ffee'
ask GetTlsKey '{"usage_ra_tls":true,"with_app_info":true}' | jq -r '.certificate_chain[0]' >"$TMP/later.pem"
is 'what an application emits changes no identity' "$(verdict "$TMP/later.pem" .verdict)" 'accepted, SIMULATED'
before=$(rtmr3_of)
like 'a name that no log can have is refused' "$(error_of EmitEvent '{"event":"a:b","payload":"00"}')" '*with a name of*'
like 'so is none' "$(error_of EmitEvent '{"payload":"00"}')" '*event: a name is needed*'
like 'and a payload beyond the limit' "$(error_of EmitEvent "{\"event\":\"a\",\"payload\":\"$(printf '00%.0s' $(seq 1025))\"}")" '*1025 bytes, the limit is 1024*'
is 'refused events extend nothing' "$(rtmr3_of)" "$before"

# --- legacy calls ------------------------------------------------------------------------------------------------
derive() { tappd Tappd.DeriveKey "{\"path\":\"$1\",\"subject\":\"old\"}" | jq -r .key; }
is 'Tappd.DeriveKey is the same key for a path' "$(derive a)" "$(derive a)"
check_not 'and another for another' [ "$(derive a)" = "$(derive b)" ]
is 'Tappd.DeriveK256Key is GetKey' "$(tappd Tappd.DeriveK256Key '{"path":"wallet"}' | jq -r .k256_key)" "$key"
tappd Tappd.DeriveKey '{"path":"a","usage_ra_tls":true}' | jq -r '.certificate_chain[0]' >"$TMP/legacy.pem"
like 'Tappd.DeriveKey has evidence in the legacy extensions' "$(openssl x509 -in "$TMP/legacy.pem" -noout -text)" '*62397.1.1*62397.1.2*'
is 'which our verifier accepts too' "$(verdict "$TMP/legacy.pem" .verdict)" 'accepted, SIMULATED'
data=$( (printf 'app-data:'; printf '\300\377\356') | sha512sum | cut -d ' ' -f 1)
is 'Tappd.TdxQuote hashes with its prefix' "$(tappd TdxQuote '{"report_data":"c0ffee"}' | jq -r .quote | cut -c 1137-1264)" "$data"
is 'and by keccak, as Ethereum does' "$(tappd TdxQuote '{"report_data":"c0ffee","hash_algorithm":"keccak256","prefix":"x"}' | jq -r .quote | cut -c 1137-1264)" \
	"e0ad626854556eac46f819012538d651d38ca55405adf38d5a86c9a08d874efd$(printf '0%.0s' $(seq 64))"
like 'a hash that dstack does not know is refused' "$(tappd TdxQuote '{"report_data":"c0ffee","hash_algorithm":"md5"}' | jq -r .error)" '*Unsupported algorithm*md5*'
like 'Tappd.RawQuote takes 64 bytes' "$(tappd RawQuote '{"report_data":"00"}' | jq -r .error)" '*raw needs 64*'

# --- refusals ----------------------------------------------------------------------------------------------------
is 'no such method: the words of dstack' "$(error_of Nope '{}')" 'Service not found: Nope'
is 'a refusal is status 400' "$(status_of Nope '{}')" 400
like 'broken JSON is refused' "$(error_of GetKey '{"path":')" '*no JSON object*'
like 'a list is refused' "$(error_of GetKey '[]')" '*no JSON object*'
like 'a number for a text is refused' "$(error_of GetKey '{"path":7}')" '*path: is not a text*'
like 'protobuf is refused with what to send' "$(curl -s --unix-socket "$sock" --data-binary x http://dstack/GetKey | jq -r .error)" '*application/json*'
# the agent need not read the rest before it closes: then the reset may overtake its answer (curl's 000)
big=$(head -c 5000000 /dev/zero | curl -s -m 20 -o /dev/null -w '%{http_code}' --unix-socket "$sock" -H 'Expect:' --data-binary @- http://dstack/GetKey)
check 'a body beyond the limit ends the call' test "$big" = 413 -o "$big" = 000
is 'and the agent goes on' "$(ask Version | jq -r .rev)" bailey
check_not 'a second agent does not take the socket' "$agent" --state "$TMP/state2" --compose "$TMP/app-compose.json" --listen "$sock" --tee sim --sim-root "$TMP/root"
is 'the seed is the owner'\''s alone' "$(stat -c %a "$TMP/state/agent.seed" "$TMP/state" | tr '\n' ' ')" '600 700 '

# --- the real client ---------------------------------------------------------------------------------------------
sdk=$BUILD/npm/node_modules/@phala/dstack-sdk
sdk_get() { [ -d "$sdk" ] || npm install --prefix "$BUILD/npm" --ignore-scripts --no-audit --no-fund @phala/dstack-sdk@0.5.8 @noble/curves@1 @noble/hashes@1 >"$TMP/npm" 2>&1; }
if ! command -v npm >/dev/null || ! sdk_get; then
	skip 'dstack'\''s JavaScript SDK works against it' 'npm or its registry is not there'
else
	cat >"$BUILD/npm/client.mjs" <<-'JS'
		import { DstackClient } from '@phala/dstack-sdk'
		import { secp256k1 } from '@noble/curves/secp256k1'
		import { keccak_256 } from '@noble/hashes/sha3'
		import { X509Certificate, createPrivateKey } from 'crypto'
		const hex = (b) => Buffer.from(b).toString('hex')
		const recover = (sig, text) => secp256k1.Signature.fromCompact(sig.slice(0, 64)).addRecoveryBit(sig[64])
			.recoverPublicKey(keccak_256(text)).toHex(true)
		const say = (name, ok) => console.log(`${ok ? 'ok' : 'not ok'} ${name}`)
		const c = new DstackClient(process.argv[2])
		const info = await c.info()
		const tls = await c.getTlsKey({ subject: 'js', altNames: ['js.internal'], usageRaTls: true })
		const leaf = new X509Certificate(tls.certificate_chain[0]), ca = new X509Certificate(tls.certificate_chain[1])
		say('TLS key fits its certificate', leaf.checkPrivateKey(createPrivateKey(tls.key)) && leaf.verify(ca.publicKey))
		const key = await c.getKey('wallet', 'eth')
		const pub = hex(secp256k1.getPublicKey(key.key, true))
		const app = recover(key.signature_chain[0], new TextEncoder().encode(`eth:${pub}`))
		const note = Buffer.concat([Buffer.from('dstack-kms-issued:'), Buffer.from(info.app_id, 'hex'), Buffer.from(app, 'hex')])
		const again = await c.getKey('other', 'eth')
		const pub2 = hex(secp256k1.getPublicKey(again.key, true))
		say('key chain: app key signs each key', recover(again.signature_chain[0], new TextEncoder().encode(`eth:${pub2}`)) === app)
		say('key chain: one root signs the app key', recover(key.signature_chain[1], note) === recover(again.signature_chain[1], note))
		const quote = await c.getQuote('some data')
		say('quote replays to its RTMR3', quote.replayRtmrs()[3] === info.tcb_info.rtmr3)
		const s = await c.sign('secp256k1', 'message')
		say('signature verifies', (await c.verify('secp256k1', 'message', s.signature, s.public_key)).valid)
		const before = (await c.getQuote('x')).replayRtmrs()[3]
		await c.emitEvent('js-event', 'payload')
		say('emitted event', (await c.getQuote('x')).replayRtmrs()[3] !== before)
		say('version', (await c.version()).version.length > 0)
	JS
	node "$BUILD/npm/client.mjs" "$sock" >"$TMP/js" 2>&1 || note "$(cat "$TMP/js")"
	for name in 'TLS key fits its certificate' 'key chain: app key signs each key' 'key chain: one root signs the app key' \
		'quote replays to its RTMR3' 'signature verifies' 'emitted event' version; do
		check "JavaScript SDK: $name" grep -qx "ok $name" "$TMP/js"
	done
fi

# --- restart -----------------------------------------------------------------------------------------------------
instance=$(jq -r .instance_id "$TMP/info")
agent_down
check_not 'a stopped agent leaves no socket' [ -e "$sock" ]
# shellcheck disable=SC2086
agent_up $sim || not_ok 'the agent starts again'
is 'keys survive a restart' "$(ask GetKey '{"path":"wallet"}' | jq -r .key)" "$key"
is 'so does the instance' "$(ask Info | jq -r .instance_id)" "$instance"
agent_down
printf short >"$TMP/state/agent.seed"
like 'a broken seed is no new one' "$("$agent" --state "$TMP/state" --compose "$TMP/app-compose.json" --tee sim --sim-root "$TMP/root" 2>&1)" '*5 bytes long, a seed has 32*'
rm "$TMP/state/agent.seed"

# --- configfs-tsm, played by files: outblob is a pipe, so that the answer comes after the question ----------------------
like 'no configfs-tsm is said' "$("$agent" --state "$TMP/state" --compose "$TMP/app-compose.json" --configfs "$TMP/none" 2>&1)" '*configfs-tsm*'
mkdir -p "$TMP/configfs/tsm/report"
echo '[{"imr":3,"event_type":134217729,"digest":"","event":"app-id","event_payload":"00","version":2}]' >"$TMP/log2.json"
agent_up --tee tsm --configfs "$TMP/configfs" --event-log "$TMP/log2.json" || not_ok "the agent starts on configfs: $(cat "$TMP/agent.log")"
entry=$TMP/configfs/tsm/report/bailey-$agent_pid
mkdir "$entry"
mkfifo "$entry/outblob"
echo tdx_guest >"$entry/provider"
# kernel GENERATION: answers one question with the bytes of the quote from above
kernel() {
	echo 7 >"$entry/generation"
	: >"$entry/inblob"
	{
		exec 3>"$entry/outblob"
		echo "$1" >"$entry/generation"
		cat "$TMP/quote.bin" >&3
	} &
	kernel_pid=$!
	at_end "kill $kernel_pid"
}
echo "$quote" | jq -r .quote | sed 's/../\\x&/g' >"$TMP/quote.esc"
env printf "$(cat "$TMP/quote.esc")" >"$TMP/quote.bin"
kernel 8
is 'configfs-tsm: the quote is what outblob gives' "$(ask GetQuote '{"report_data":"aa"}' | jq -r .quote)" "$(echo "$quote" | jq -r .quote)"
is 'configfs-tsm: inblob got 64 bytes' "$(stat -c %s "$entry/inblob")" 64
kernel 8
is 'configfs-tsm: of a log with digests of version 2 an attestation is version 1' "$(ask Attest '{"report_data":"aa"}' | jq -r .attestation | cut -c 1-20)" 83a776657273696f6e01
like 'configfs-tsm: no event can be emitted' "$(error_of EmitEvent '{"event":"a"}')" '*RTMR3 can not be extended by way of tsm*'
echo sev_guest >"$entry/provider"
kernel 8
like 'configfs-tsm: another provider is refused' "$(error_of GetQuote '{}')" '*sev_guest*tdx_guest*'
agent_down

# --- command line ------------------------------------------------------------------------------------------------
check_not 'needs --state' "$agent" --compose "$TMP/app-compose.json"
like 'an unknown TEE is refused' "$("$agent" --state "$TMP/state" --compose "$TMP/app-compose.json" --tee magic 2>&1)" '*magic*'
like 'sim needs its root' "$("$agent" --state "$TMP/state" --compose "$TMP/app-compose.json" --tee sim 2>&1)" '*--sim-root*'
like 'an app-id has 40 digits' "$("$agent" --state "$TMP/state" --compose "$TMP/app-compose.json" --tee sim --sim-root "$TMP/root" --app-id 12 2>&1)" '*40 hex digits*'
done_testing
