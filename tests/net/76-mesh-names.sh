#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Names of bailey-mesh's targets: several addresses, of which some do not answer, and a resolv.conf that changes.
. tests/net/lib.sh

need curl jq python3 ip unshare
mesh=$BUILD/bailey-mesh
bailey=$BUILD/bailey
need_file "$mesh" 'make tests builds it'
chmod 711 "$TMP"

ns_add cli srv
veth cli vc 10.76.0.1/24 srv vs 10.76.0.2/24
web=a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1
db=b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2
"$bailey" dev-identity root --out "$TMP/root" >/dev/null || not_ok 'a simulation root is made'
printf 'simulated: true\n' >"$TMP/evidence.yaml"
for who in cli:$web srv:$db; do
	"$bailey" dev-identity issue --root "$TMP/root" --app-id "${who#*:}" --instance-id "${who#*:}" \
		--compose-hash "$(printf 'c0%.0s' $(seq 32))" --out "$TMP/${who%%:*}" >/dev/null
done
# $1 name; what it does on standard input
conf() {
	{
		cat <<-END
			version: 1
			instance: $1
			run: $TMP/run
			identity: { certificate: $TMP/$1.pem, key: $TMP/$1.key }
			trust: { policy: $TMP/evidence.yaml, simulated_roots: $TMP/root/root.pem }
			policy: any-attested
		END
		cat
	} >"$TMP/$1.yaml"
}
conf cli <<-END
	client: { listen: ["127.0.0.1:8091"], gateway: fixed/gateway.test:443 }
END
conf srv <<-END
	server: { services: [{ name: web, listen: "10.76.0.2:443", http: "127.0.0.1:8080" }] }
END
status() { "$bailey" mesh status --json --socket "$TMP/run/$1/ctl.sock" 2>/dev/null | jq -r "$2"; }
metric() { "$bailey" mesh metrics --socket "$TMP/run/cli/ctl.sock" 2>/dev/null | awk -v n="bailey_mesh_$1_total" '$1 == n { print $2 }'; }
ready() { [ "$(status "$1" '.identity.app_id | length')" = 40 ]; }
get() { in_ns cli curl -s -m 15 -H "x-dstack-target-app: $db" http://127.0.0.1:8091/hello; }
answers() { [ "$(get)" = "Your app_id is: $web" ]; }

spawn srv python3 tests/net/mesh_backend.py 8080
# one that nobody has, one that refuses, and the right one
spawn cli python3 tests/net/mesh_dns.py 127.0.0.61 gateway.test 10.76.0.9 10.76.0.1 10.76.0.2
spawn cli python3 tests/net/mesh_dns.py 127.0.0.62 other.test 10.76.0.2
printf 'nameserver 127.0.0.61\n' >"$TMP/resolv.conf"
nsenter --net="/var/run/netns/$(ns srv)" "$mesh" -c "$TMP/srv.yaml" >>"$TMP/srv.log" 2>&1 &
at_end "kill -9 $!"
# with a resolv.conf of its own
nsenter --net="/var/run/netns/$(ns cli)" unshare -m sh -c "mount --bind '$TMP/resolv.conf' /etc/resolv.conf && exec '$mesh' -c '$TMP/cli.yaml'" >>"$TMP/cli.log" 2>&1 &
at_end "kill -9 $!"
for side in srv cli; do
	eventually 30 ready $side || not_ok "the mesh of $side starts: $(cat "$TMP/$side.log")"
done
check 'of several addresses the one that answers is found' eventually 30 answers
check 'others were tried' [ "$(metric upstream_redials)" -ge 2 ]
before=$(metric upstream_redials)
for _ in 1 2 3; do get >"$TMP/got"; done
is 'and are not tried again for each request' "$(metric upstream_redials)" "$before"

# --- resolv.conf -----------------------------------------------------------------------------------------------------------
is 'it was read once' "$(metric resolver_changes)" 0
printf '# another\nnameserver 127.0.0.62\nsearch test\noptions ndots:1\n' >"$TMP/resolv.conf"
seen() { [ "$(metric resolver_changes)" -ge 1 ]; }
check 'a resolv.conf that changes is read again' eventually 20 seen
sed -i 's/gateway.test/other.test/' "$TMP/cli.yaml"
check 'a gateway that only the new name server knows' "$bailey" mesh reload --socket "$TMP/run/cli/ctl.sock"
check 'is found' eventually 30 answers
sed -i 's/other.test/other/' "$TMP/cli.yaml"
check 'a name in the domain that is searched' "$bailey" mesh reload --socket "$TMP/run/cli/ctl.sock"
check 'is found, too' eventually 30 answers
sed -i 's/fixed.other/fixed\/gateway.test/' "$TMP/cli.yaml"
check 'a name that only the old one knew' "$bailey" mesh reload --socket "$TMP/run/cli/ctl.sock"
like 'is none any more' "$(get)" '*CONNECTION_FAILED*can not be resolved*'
done_testing
