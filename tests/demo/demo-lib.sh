# shellcheck shell=sh
# SPDX-License-Identifier: Apache-2.0
# Attested nodes on one switch, a network namespace each, and a story told with them. Who sources this sets
#	prefix     in front of instances and namespaces; what is written is in $BUILD/$prefix
#	policy     a file; of all nodes but one
#	nodes      their names, which host_of numbers
#	outsiders  others on the switch
# writes the functions story, end_servers (ends what is neither node nor namespace) and look_around (says what may be tried),
# and ends with main "$@".
PATH=$PATH:/usr/sbin:/sbin
BUILD=${BUILD:-build}
dir=$PWD/$BUILD/$prefix
failed=0

netns_of() { echo "/var/run/netns/by-$prefix-$1"; }
in_ns() { ns=$1; shift; nsenter --net="$(netns_of "$ns")" "$@"; }
# shellcheck source=tests/net/nodes-lib.sh
. tests/net/nodes-lib.sh
say() { printf '\n== %s\n' "$*"; }
die() { echo "$prefix: $*" >&2; exit 1; }

# --- the end, whatever happened ---------------------------------------------------------------------------------
stop() {
	end_servers
	for n in $nodes; do
		[ ! -f "$dir/$n.yaml" ] || [ ! -e "$(netns_of "$n")" ] || take_down "$n"
	done
	for n in $nodes $outsiders hub; do ip netns del "by-$prefix-$n" 2>/dev/null; done
	[ ! -s "$dir/data" ] || rm -rf "$(cat "$dir/data")"
	[ ! -e "$dir/mounted-bpffs" ] || umount /sys/fs/bpf 2>/dev/null
	rm -rf "$dir"
}

# --- the underlay: a switch in a namespace of its own, one leg for each ---------------------------------------------
make_underlay() {
	ip netns add "by-$prefix-hub"
	in_ns hub ip link add br0 type bridge
	in_ns hub ip link set br0 up
	for n in $nodes $outsiders; do
		ip netns add "by-$prefix-$n"
		in_ns hub ip link add "to-$n" type veth peer name eth0 netns "by-$prefix-$n"
		in_ns hub ip link set "to-$n" master br0 up
		in_ns "$n" ip addr add "$(underlay_of "$n")/24" dev eth0
		in_ns "$n" ip link set eth0 up
		in_ns "$n" ip link set lo up
	done
}

# --- nodes -----------------------------------------------------------------------------------------------------------
others() { for o in $nodes; do [ "$o" = "$1" ] || echo "$o"; done; }

make_nodes() { # NODE: its own policy allows everything
	make_root || die 'no simulation root'
	write_lax_policy "$dir/$1-policy.yaml"
	for n in $nodes; do
		make_identity "$n" "$n" || die "no identity for $n"
		file=$PWD/$policy
		[ "$n" != "$1" ] || file=$dir/$1-policy.yaml
		# shellcheck disable=SC2046 # the list is meant to split
		write_config "$n" "$file" 3600 $(others "$n")
	done
}

start_nodes() { # SECONDS
	mountpoint -q /sys/fs/bpf || : >"$dir/mounted-bpffs"
	for n in $nodes; do start_node "$n"; done
	for n in $nodes; do
		wait_until "$1" knows "$n" "$(others "$n" | wc -l)" || { cat "$dir/$n.log" >&2; die "$n does not know the others"; }
	done
}

# --- the story -------------------------------------------------------------------------------------------------------
keep_note() {
	cat <<-END

	It is left running. Look around:
	$(look_around | sed 's/^/  /')
	  logs and configuration: $dir
	Stop it:
	  tests/demo/${0##*/} stop
	END
}

main() { # [stop]
	began=$(date +%s)
	[ "$(id -u)" = 0 ] || die 'needs root, for namespaces and BPF'
	if [ "${1:-}" = stop ]; then
		stop
		exit 0
	fi
	[ ! -e "$dir" ] || stop # what an earlier run left
	trap 'exit 130' INT TERM HUP
	[ "${KEEP:-}" = 1 ] || trap stop EXIT
	mkdir -p "$dir"
	story
	[ "${KEEP:-}" != 1 ] || keep_note
	say "$(($(date +%s) - began)) s; $([ $failed = 0 ] && echo 'all as expected' || echo "$failed NOT as expected")"
	[ $failed = 0 ]
}
