#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Names of bailey-mesh's targets: several addresses, of which some do not answer, and a resolv.conf that changes.
. tests/net/lib.sh
. tests/net/mesh-lib.sh

need curl jq python3 ip unshare
mesh_set_up 76
identity cli $web $web
identity srv $db $db
conf cli any-attested <<-END
	client: { listen: ["127.0.0.1:8091"], gateway: fixed/gateway.test:443 }
END
conf srv any-attested <<-END
	server: { services: [{ name: web, listen: "10.76.0.2:443", http: "127.0.0.1:8080" }] }
END
get() { in_ns cli curl -s -m 15 -H "x-dstack-target-app: $db" http://127.0.0.1:8091/hello; }
answers() { [ "$(get)" = "Your app_id is: $web" ]; }

spawn srv python3 tests/net/mesh_backend.py 8080
# one that nobody has, one that refuses, and the right one
spawn cli python3 tests/net/mesh_dns.py 127.0.0.61 gateway.test 10.76.0.9 10.76.0.1 10.76.0.2
spawn cli python3 tests/net/mesh_dns.py 127.0.0.62 other.test 10.76.0.2
printf 'nameserver 127.0.0.61\n' >"$TMP/resolv.conf"
mesh_start srv
# with a resolv.conf of its own
nsenter --net="/var/run/netns/$(ns cli)" unshare -m sh -c "mount --bind '$TMP/resolv.conf' /etc/resolv.conf && exec '$mesh' -c '$TMP/cli.yaml'" >>"$TMP/cli.log" 2>&1 &
at_end "kill -9 $!"
for side in srv cli; do
	eventually 30 ready $side || not_ok "the mesh of $side starts: $(cat "$TMP/$side.log")"
done
check 'of several addresses the one that answers is found' eventually 30 answers
check 'others were tried' [ "$(metric cli upstream_redials_total)" -ge 2 ]
before=$(metric cli upstream_redials_total)
for _ in 1 2 3; do get >"$TMP/got"; done
is 'and are not tried again for each request' "$(metric cli upstream_redials_total)" "$before"

# --- resolv.conf -----------------------------------------------------------------------------------------------------------
is 'it was read once' "$(metric cli resolver_changes_total)" 0
printf '# another\nnameserver 127.0.0.62\nsearch test\noptions ndots:1\n' >"$TMP/resolv.conf"
seen() { [ "$(metric cli resolver_changes_total)" -ge 1 ]; }
check 'a resolv.conf that changes is read again' eventually 20 seen
sed -i 's/gateway.test/other.test/' "$TMP/cli.yaml"
check 'a gateway that only the new name server knows' reload cli
check 'is found' eventually 30 answers
sed -i 's/other.test/other/' "$TMP/cli.yaml"
check 'a name in the domain that is searched' reload cli
check 'is found, too' eventually 30 answers
sed -i 's/fixed.other/fixed\/gateway.test/' "$TMP/cli.yaml"
check 'a name that only the old one knew' reload cli
like 'is none any more' "$(get)" '*CONNECTION_FAILED*can not be resolved*'
done_testing
