# shellcheck shell=sh
# SPDX-License-Identifier: Apache-2.0
# Nodes of an overlay, for the demo and the namespace tests. Who sources this sets
#	dir     directory of everything that is written
#	prefix  in front of instance names: "demo" makes instance demo-web
#	netns_of, in_ns   functions: the file of NODE's network namespace; in_ns NODE COMMAND... runs there
# and numbers its nodes with host_of NODE.
bailey=$PWD/$BUILD/bailey
baileyd=$PWD/$BUILD/baileyd
forge=$PWD/$BUILD/tests/net/forge
traffic=$PWD/$BUILD/tests/net/traffic
talk=$PWD/$BUILD/tests/net/talk

overlay_of() { echo "100.64.0.$(host_of "$1")"; }
overlay6_of() { echo "fdba:11e7::$(host_of "$1")"; }
underlay_of() { echo "10.99.0.$(host_of "$1")"; }
instance_of() { printf '%040d' "$(host_of "$1")"; }
app_of() { sed -n "s/^  $1: *{ *app-id: *\([0-9a-f]\{40\}\).*/\1/p" policy/examples/three-tier.yaml; }
status_of() { "$bailey" status --instance "$prefix-$1" --json; }
# status_has NODE FILTER: the node answers, and jq's filter gives something but null and false. jq -e alone says yes to a
# node that does not answer at all.
status_has() {
	case $(status_of "$1" | jq "$2") in '' | null | false) return 1 ;; esac
}
ifname_of() { echo "by-$1"; }
pins_of() { echo "/sys/fs/bpf/bailey/$prefix-$1/v3"; }

make_root() { "$bailey" dev-identity root --out "$dir/root" >/dev/null; }

make_identity() { # NODE APP
	"$bailey" dev-identity issue --root "$dir/root" --app-id "$(app_of "$2")" --instance-id "$(instance_of "$1")" \
		--name "$1" --out "$dir/$1" >/dev/null
}

write_config() { # NODE POLICY LIFETIME PEER...
	conf=$dir/$1.yaml
	cat >"$conf" <<-END
	instance: $prefix-$1
	node: $1
	policy: $2
	state: state-$1
	identity: { certificate: $1.pem, key: $1.key }
	trust: { allow_simulated: true, simulated_roots: root/root.pem }
	overlay:
	  interface: $(ifname_of "$1")
	  private_key: $1.wgkey
	  networks: [100.64.0.0/10, "fdba:11e7::/48"]
	  addresses: [$(overlay_of "$1"), "$(overlay6_of "$1")"]
	  endpoints: ["$(underlay_of "$1"):51820"]
	records: { directory: records-$1, lifetime: $3 }
	exchange:
	  listen: ["$(underlay_of "$1"):7946"]
	  peers:
	END
	mkdir -p "$dir/records-$1"
	shift 3
	for peer; do
		echo "    - \"$(underlay_of "$peer"):7946\"" >>"$conf"
	done
}

# A node whose own policy would let it do anything.
write_lax_policy() { # FILE
	cat >"$1" <<-END
	version: 1
	apps: { me: { app-id: $(app_of intruder) } }
	rules:
	  - { name: everything, from: any-attested, to: any-attested, allow: [any] }
	END
}

start_node() { # NODE
	# no shell function here: $! is then the daemon itself, not a shell that waits for it
	nsenter --net="$(netns_of "$1")" "$baileyd" -c "$dir/$1.yaml" >>"$dir/$1.log" 2>&1 &
	echo $! >"$dir/$1.pid"
}

# Ends one process that we started, and waits for it.
end_pid() { # PIDFILE [SIGNAL]
	[ -s "$1" ] || return 0
	pid=$(cat "$1")
	kill "${2:--TERM}" "$pid" 2>/dev/null
	tries=0
	while kill -0 "$pid" 2>/dev/null && [ $tries -lt 50 ]; do
		sleep 0.1
		tries=$((tries + 1))
	done
	kill -9 "$pid" 2>/dev/null
	rm -f "$1"
}

take_down() { # NODE: as if it had never been
	end_pid "$dir/$1.pid"
	in_ns "$1" "$baileyd" -c "$dir/$1.yaml" --down
	rm -rf "/run/bailey/$prefix-$1"
	rmdir /run/bailey /sys/fs/bpf/bailey 2>/dev/null
	return 0
}

knows() { # NODE N: it is ready and has N verified peers
	[ "$(status_of "$1" 2>/dev/null | jq ".ready and (.peers | length == $2) and .datapath != null")" = true ]
}

refusals_of() { status_of "$1" | jq -r '.refusals[] | select(.reason != "") | "\(.origin | sub(".*/"; "")) \(.reason): \(.text)"'; }

# False evidence in the name of VICTIM, left where NODE reads records. Four files.
forge_for() { # VICTIM NODE ENDPOINT
	mkdir -p "$dir/forged"
	for kind in stolen-quote altered-quote; do
		"$forge" $kind "$dir/$1.pem" "$dir/forged/$kind" || return 1
		"$bailey" record sign --cert "$dir/forged/$kind.pem" --key "$dir/forged/$kind.key" --node "$1" \
			--wg-key "$("$bailey" genkey | "$bailey" pubkey)" --addr "$(overlay_of "$1")" --endpoint "$3" \
			--out "$dir/records-$2/$kind.record" || return 1
	done
	for kind in altered-signature altered-key; do
		"$forge" $kind "$dir/state-$1/self.record" "$dir/records-$2/$kind.record" || return 1
	done
}

wait_until() { # SECONDS COMMAND...: as eventually does, and where lib.sh is not (tests/demo)
	end=$(($(date +%s) + 3 * $1 * ${PATIENCE:-1}))
	shift
	until "$@" 2>/dev/null; do
		[ "$(date +%s)" -lt "$end" ] || return 1
		sleep 0.2
	done
}

ping_from() { # NODE ADDRESS [OPTION...]
	target=$2 node=$1
	shift 2
	tool=$(command -v ping || echo 'busybox ping')
	# shellcheck disable=SC2086
	in_ns "$node" $tool -c 1 -W 2 "$@" "$target"
}

# --- load ----------------------------------------------------------------------------------------------------------------
# Each one ends on SIGTERM and says how it went. Slowly, as on an emulated machine: what wireguard-go loses when it gets no
# processor would be taken for a loss of the rotation. PACE: more slowly still (traffic.c, PATIENCE).
go() { # NODE NAME ARGUMENT...
	node=$1 name=$2
	shift 2
	PATIENCE=${PACE:-2} nsenter --net="$(netns_of "$node")" "$traffic" "$@" >"$TMP/$name.out" 2>&1 &
	eval "pid_$name=$!"
	at_end "kill $!"
}
halt() { # NAME: its status
	eval "pid=\$pid_$1"
	# shellcheck disable=SC2154
	kill "$pid"
	wait "$pid"
}
streams_end() { # NAME: whole; else how far it came
	halt "$1" || { cat "$TMP/$1.out" >&2 && false; }
}
number() { sed -n 's/^\([0-9]*\) .*/\1/p' "$TMP/$1.out"; }
