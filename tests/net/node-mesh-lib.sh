# shellcheck shell=sh
# SPDX-License-Identifier: Apache-2.0
# A mesh beside a node's daemon, in the node's namespace. Sourced behind lib.sh and nodes-lib.sh:
#
#	mesh_conf web any-attested <<-END    # $dir/mesh-web.yaml, with the node's own certificate
#		client: { listen: ["127.0.0.1:8091"], gateway: direct/10.99.0.3 }
#	END
#	mesh_start web
#	eventually 20 mesh_ready web
mesh=$PWD/$BUILD/bailey-mesh
need_file "$mesh" 'run make'
chmod 711 "$dir" # its user's processes come to their files

mesh_conf() { # NODE POLICY [IDENTITY]: what it does on standard input
	printf 'simulated: true\n' >"$dir/evidence.yaml"
	{
		cat <<-END
			version: 1
			instance: $1
			run: $dir/run-mesh
			identity: { ${3:-certificate: $dir/$1.pem, key: $dir/$1.key} }
			trust: { policy: $dir/evidence.yaml, simulated_roots: $dir/root/root.pem }
			policy: $2
		END
		cat
	} >"$dir/mesh-$1.yaml"
}

mesh_start() { # NODE [CGROUP]: $mesh_pid
	# shellcheck disable=SC2016 # the inner shell's
	sh -c '{ [ -z "$0" ] || echo $$ >"$0/cgroup.procs"; } && exec nsenter --net="$@"' "${2:-}" "$(netns_of "$1")" \
		"$mesh" -c "$dir/mesh-$1.yaml" >>"$dir/mesh-$1.log" 2>&1 &
	mesh_pid=$!
	at_end "kill -9 $mesh_pid"
}
mesh_status() { "$bailey" mesh status --json --socket "$dir/run-mesh/$1/ctl.sock" 2>/dev/null | jq -r "$2"; } # NODE FILTER
mesh_ready() { [ "$(mesh_status "$1" '.identity.app_id | length')" = 40 ]; }
