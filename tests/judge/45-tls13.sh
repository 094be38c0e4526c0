#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Clients that lie, against the mesh's TLS 1.3 and its demand for certificates: what each is told is written down here. With
# TLSFUZZER=DIR (a checkout of tlsfuzzer, tlslite-ng in PYTHONPATH), its script for such servers is run, too: it is in no
# Debian release.
. tests/net/lib.sh
need ip nsenter jq curl /usr/bin/python3
need_file "$BUILD/bailey-mesh" 'run make'
/usr/bin/python3 -c 'import cryptography' 2>/dev/null || skip_all 'needs python3-cryptography, which is not installed'
chmod 711 "$TMP"
ns_add srv
app=a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1
identity() { # NAME APP INSTANCE
	"$BUILD/bailey" dev-identity issue --root "$TMP/root" --app-id "$2" --instance-id "$3" --out "$TMP/$1" >/dev/null
}
"$BUILD/bailey" dev-identity root --out "$TMP/root" >/dev/null || exit 1
identity node "$(printf 'b2%.0s' $(seq 20))" "$(printf '22%.0s' $(seq 20))"
identity own $app "$(printf '11%.0s' $(seq 20))"
identity other "$(printf 'c3%.0s' $(seq 20))" "$(printf '33%.0s' $(seq 20))"
printf 'simulated: true\n' >"$TMP/evidence.yaml"
cat >"$TMP/mesh.yaml" <<-END
	version: 1
	instance: mesh
	run: $TMP/run
	identity: { certificate: node.pem, key: node.key }
	trust: { policy: evidence.yaml, simulated_roots: root/root.pem }
	policy: any-attested
	server:
	  services:
	    - { name: web, listen: "127.0.0.1:443", http: "127.0.0.1:8080" }
	    - { name: gone, listen: "127.0.0.1:444", http: "127.0.0.1:8081" }
END
spawn srv "$BUILD/bailey-mesh" -c "$TMP/mesh.yaml"
spawn srv python3 tests/net/mesh_backend.py 8080
there() { in_ns srv curl -s -m 2 -o "$TMP/body" http://127.0.0.1:8080/ && in_ns srv curl -sk -m 2 https://127.0.0.1/health | grep -q healthy; }
check 'the mesh is there' eventually 10 there
status() { "$BUILD/bailey" mesh status --json --socket "$TMP/run/mesh/ctl.sock" | jq -r "$1"; }

in_ns srv timeout $((60 * PATIENCE)) /usr/bin/python3 tests/judge/tls13.py 127.0.0.1 443 "$TMP/own" "$TMP/other" >"$TMP/said" 2>"$TMP/said.err"
cat "$TMP/said.err"
while read -r name; do
	read -r wanted
	like "$name" "$(sed -n "s/^$name: //p" "$TMP/said")" "$wanted"
done <<END
honest
app $app
in pieces of records
app $app
a key update
app $app
a key update that asks for one
app $app
resumption
resumed, app $app
no certificate
HTTP/1.1 401*
no certificate, but a proof
alert unexpected_message
no certificate message
alert unexpected_message
a certificate without a proof
alert unexpected_message
the proof first
alert unexpected_message
two certificates, a proof of one
alert unexpected_message
a proof by another key
alert decrypt_error
a proof of another session
alert decrypt_error
a server's proof
alert decrypt_error
a proof of no bytes
alert decrypt_error
a proof by SHA-384 on P-256
alert illegal_parameter
a proof by SHA-1
alert illegal_parameter
a proof said to be RSA
alert illegal_parameter
a proof said to be PKCS 1
alert illegal_parameter
a certificate that is none
alert decode_error
a certificate for another request
alert decode_error
a wrong Finished
alert decrypt_error
Finished in plain text
alert unexpected_message
a request before Finished
alert unexpected_message
TLS 1.2
alert protocol_version
a version that nobody knows
alert protocol_version
a record that is too long
alert record_overflow
more text than a record has
alert record_overflow
a torn record
alert bad_record_mac
a record twice
alert bad_record_mac
a heartbeat
alert unexpected_message
empty records without end
alert unexpected_message
empty records with padding without end
alert unexpected_message
an empty handshake record
alert unexpected_message
key updates without end
cut
a key update with another word
alert illegal_parameter
a key update that is too long
alert illegal_parameter
another handshake
alert unexpected_message
a certificate afterwards
alert unexpected_message
a ticket of the client's
alert unexpected_message
a request for certificates
alert unexpected_message
Finished again
alert unexpected_message
a ticket that was altered
not resumed, HTTP/1.1 401*
a ticket without its secret
alert illegal_parameter
a ticket for early data
no
early data
resumed, app $app
honest again
app $app
END
is 'nothing else was tried' "$(wc -l <"$TMP/said")" 47
is 'no process ended of it' "$(status '[.workers[].restarts, .key.restarts] | add')" 0

if [ -d "${TLSFUZZER:-}" ]; then
	script=test-tls13-ecdsa-in-certificate-verify.py
	sigalgs='ecdsa_secp256r1_sha256 ecdsa_secp384r1_sha384 ecdsa_secp521r1_sha512 ed25519 rsa_pss_pss_sha256 rsa_pss_pss_sha384
rsa_pss_pss_sha512 rsa_pss_rsae_sha256 rsa_pss_rsae_sha384 rsa_pss_rsae_sha512 rsa_pkcs1_sha256 rsa_pkcs1_sha384 rsa_pkcs1_sha512'
	# the answer that it waits for is one record: the mesh's own, for there is no backend
	check "tlsfuzzer: $script" in_ns srv env PYTHONPATH="$TLSFUZZER:${PYTHONPATH:-}" timeout 300 /usr/bin/python3 \
		"$TLSFUZZER/scripts/$script" -h 127.0.0.1 -p 444 -k "$TMP/own.key" -c "$TMP/own.pem" -s "$sigalgs"
else
	skip 'tlsfuzzer' 'TLSFUZZER does not name a checkout of it'
fi
done_testing
