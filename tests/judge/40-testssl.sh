#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# testssl.sh looks at the mesh's TLS: TLS 1.3 and nothing else, no weak suite, none of the holes that it knows. The same eyes
# must find an old server's faults.
. tests/net/lib.sh
need ip nsenter jq openssl curl testssl
need_file "$BUILD/bailey-mesh" 'run make'
chmod 711 "$TMP"
ns_add srv
"$BUILD/bailey" dev-identity root --out "$TMP/root" >/dev/null || exit 1
"$BUILD/bailey" dev-identity issue --root "$TMP/root" --app-id "$(printf 'b2%.0s' $(seq 20))" --instance-id "$(printf '22%.0s' $(seq 20))" \
	--out "$TMP/node" >/dev/null || exit 1
printf 'simulated: true\n' >"$TMP/evidence.yaml"
cat >"$TMP/mesh.yaml" <<-END
	version: 1
	instance: mesh
	run: $TMP/run
	identity: { certificate: node.pem, key: node.key }
	trust: { policy: evidence.yaml, simulated_roots: root/root.pem }
	policy: any-attested
	server: { services: [{ name: web, listen: "127.0.0.1:443", http: "127.0.0.1:8080" }] }
END
spawn srv "$BUILD/bailey-mesh" -c "$TMP/mesh.yaml"
health() { in_ns srv curl -sk -m 2 https://127.0.0.1/health | grep -q healthy; }
check 'the mesh is there' eventually 10 health

# look PORT FILE OPTION...: findings as JSON
look() {
	look_port=$1 look_file=$2
	shift 2
	in_ns srv timeout $((300 * PATIENCE)) testssl --openssl "$(command -v openssl)" --warnings off --color 0 --ip one --jsonfile "$look_file" \
		"$@" "127.0.0.1:$look_port" >"$TMP/look.out" 2>&1
}
found() { jq -r --arg id "$2" '[.[] | select(.id == $id) | .finding] | unique | join(", ")' "$1"; }
bad() { jq -r '[.[] | select(.severity == "LOW" or .severity == "MEDIUM" or .severity == "HIGH" or .severity == "CRITICAL") | .id] | join(" ")' "$1"; }

look 443 "$TMP/ours.json" -p -s -f -U
for old in SSLv2 SSLv3 TLS1 TLS1_1 TLS1_2; do
	is "$old is not offered" "$(found "$TMP/ours.json" $old)" 'not offered'
done
like 'TLS 1.3 is' "$(found "$TMP/ours.json" TLS1_3)" 'offered with final'
for weak in NULL aNULL EXPORT LOW 3DES_IDEA AVERAGE; do
	is "suites $weak are not offered" "$(found "$TMP/ours.json" cipherlist_$weak)" 'not offered'
done
is 'suites that keep secrets are, and no others' "$(found "$TMP/ours.json" PFS_ciphers | tr ' ' '\n' | sort | tr '\n' ' ' | sed 's/^ //')" \
	'TLS_AES_128_GCM_SHA256 TLS_AES_256_GCM_SHA384 TLS_CHACHA20_POLY1305_SHA256 '
for hole in heartbleed CCS ticketbleed ROBOT secure_renego secure_client_renego CRIME_TLS BREACH POODLE_SSL FREAK DROWN LOGJAM BEAST LUCKY13 RC4; do
	is "$hole" "$(jq -r --arg id $hole '[.[] | select(.id == $id) | .severity] | unique | join(" ")' "$TMP/ours.json")" OK
done
is 'nothing else is found' "$(bad "$TMP/ours.json")" ''

# an old server: TLS 1.0 to 1.2, with suites nobody should have
openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=old -days 2 -keyout "$TMP/old.key" -out "$TMP/old.pem" 2>/dev/null
spawn srv openssl s_server -accept 127.0.0.1:444 -cert "$TMP/old.pem" -key "$TMP/old.key" -www -no_tls1_3 -cipher 'ALL:NULL:@SECLEVEL=0'
look 444 "$TMP/old.json" -p -s
like 'an old server is found out' " $(bad "$TMP/old.json") " '* TLS1 *cipherlist_NULL*'
done_testing
