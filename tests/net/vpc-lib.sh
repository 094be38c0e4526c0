# shellcheck shell=sh
# SPDX-License-Identifier: Apache-2.0
# A network with a control plane, in namespace s, and nodes that join it. Sourced behind nodes-lib.sh; who sources it writes
# $dir/admit.yaml and $dir/policy.yaml, or has them written.
#
#	identity s "$control" "$(printf '%040d' 99)"
#	identity a "$member"
#	server_config 'approve: true'
#	start_server
#	node_config a web-1 "$(at_server)" 'records: { lifetime: 60 }'
vpc=$PWD/$BUILD/bailey-vpc
control=$(printf 'c7%.0s' $(seq 20))
member=$(app_of web)

identity() { # NAME APP-ID [INSTANCE]
	"$bailey" dev-identity issue --root "$dir/root" --app-id "$2" --instance-id "${3:-$(instance_of "$1")}" --name "$1" \
		--out "$dir/$1" >/dev/null
}

server_config() { # [LINE...]
	printf 'simulated: true\n' >"$dir/evidence.yaml"
	cat >"$dir/vpc.yaml" <<-END
	version: 1
	listen: $(underlay_of s):7947
	state: $dir/vpc
	run: $dir/run
	identity: { certificate: $dir/s.pem, key: $dir/s.key }
	evidence: { policy: $dir/evidence.yaml, simulated_roots: $dir/root/root.pem }
	admit: $dir/admit.yaml
	END
	for line; do echo "$line" >>"$dir/vpc.yaml"; done
}

write_members_admission() { # members may join
	cat >"$dir/admit.yaml" <<-END
	version: 1
	apps: { control: { app-id: $control }, member: { app-id: $member } }
	rules:
	  - { name: may-join, from: member, to: control, allow: [tcp/7947] }
	END
}

write_members_policy() { # members reach each other
	cat >"$dir/policy.yaml" <<-END
	version: 1
	apps: { member: { app-id: $member } }
	rules:
	  - { name: members, from: member, to: member, allow: [any] }
	END
}

start_server() {
	nsenter --net="$(netns_of s)" "$vpc" --config "$dir/vpc.yaml" >>"$dir/vpc.log" 2>&1 &
	echo $! >"$dir/vpc.pid"
}
stop_server() { end_pid "$dir/vpc.pid" "${1:--TERM}"; }

at_server() { echo "vpc: { server: \"$(underlay_of s):7947\", app: $control${1:+, $1} }"; } # [MORE]

node_config() { # NODE NAME LINE...: where its control plane is, and whatever else
	conf=$dir/$1.yaml
	cat >"$conf" <<-END
	instance: $prefix-$1
	node: $2
	policy: policy.yaml
	state: state-$1
	identity: { certificate: $1.pem, key: $1.key }
	trust: { allow_simulated: true, simulated_roots: root/root.pem }
	overlay:
	  interface: $(ifname_of "$1")
	  private_key: $1.wgkey
	  networks: [100.64.0.0/10, "fdba:11e7::/48"]
	  endpoints: ["$(underlay_of "$1"):51820"]
	END
	mkdir -p "$dir/records-$1"
	shift 2
	for line; do echo "$line" >>"$conf"; done
}
