# shellcheck shell=sh
# SPDX-License-Identifier: Apache-2.0
# Two meshes, cli's and srv's, each in a namespace of its own. Sourced behind lib.sh:
#
#	mesh_set_up 70                # 10.70.0.1 and 10.70.0.2; one root, whose simulated evidence is believed
#	identity cli $web $web        # NAME APP INSTANCE: $TMP/cli.pem and .key
#	conf cli any-attested <<-END  # $TMP/cli.yaml
#		client: { listen: ["127.0.0.1:8091"], gateway: direct/10.70.0.2 }
#	END
#	mesh_up cli
mesh=$BUILD/bailey-mesh
bailey=$BUILD/bailey
web=a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1
db=b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2
hash=$(printf 'c0%.0s' $(seq 32)) # of everybody's compose file

mesh_set_up() { # NET
	need_file "$mesh" 'make tests builds it'
	chmod 711 "$TMP" # its user's processes come to their files
	ns_add cli srv
	veth cli vc "10.$1.0.1/24" srv vs "10.$1.0.2/24"
	"$bailey" dev-identity root --out "$TMP/root" >/dev/null || not_ok 'a simulation root is made'
	printf 'simulated: true\n' >"$TMP/evidence.yaml"
}

# identity NAME APP INSTANCE [OPTION...]: a later --root is the one that counts
identity() {
	id_name=$1 id_app=$2 id_instance=$3
	shift 3
	"$bailey" dev-identity issue --root "$TMP/root" --app-id "$id_app" --instance-id "$id_instance" --compose-hash "$hash" \
		--out "$TMP/$id_name" "$@" >/dev/null
}

# conf NAME POLICY: what it does on standard input
conf() {
	{
		cat <<-END
			version: 1
			instance: $1
			run: $TMP/run
			identity: { certificate: $TMP/$1.pem, key: $TMP/$1.key }
			trust: { policy: $TMP/evidence.yaml, simulated_roots: $TMP/root/root.pem }
			policy: $2
		END
		cat
	} >"$TMP/$1.yaml"
}

# mesh_start NAME [OPTION...]: $mesh_pid
mesh_start() {
	mesh_name=$1
	shift
	nsenter --net="/var/run/netns/$(ns "$mesh_name")" "$mesh" -c "$TMP/$mesh_name.yaml" "$@" >>"$TMP/$mesh_name.log" 2>&1 &
	mesh_pid=$!
	at_end "kill -9 $mesh_pid"
}
mesh_up() { # NAME
	mesh_start "$1"
	eventually 20 ready "$1"
}
ready() { [ "$(status "$1" '.identity.app_id | length')" = 40 ]; }
status() { "$bailey" mesh status --json --socket "$TMP/run/$1/ctl.sock" 2>/dev/null | jq -r "$2"; } # NAME FILTER
metric() { "$bailey" mesh metrics --socket "$TMP/run/$1/ctl.sock" 2>/dev/null | awk -v n="bailey_mesh_$2" '$1 == n { print $2 }'; }
reload() { "$bailey" mesh reload --socket "$TMP/run/$1/ctl.sock"; }
