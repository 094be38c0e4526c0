# shellcheck shell=sh
# SPDX-License-Identifier: Apache-2.0
# Namespace helpers of all tests in tests/net. A test starts with
#
#	. tests/net/lib.sh          # the runner's working directory is the repository
#	need wg ip                  # skips (77) with the reason when a tool is missing
#	ns_add a; ns_add b          # namespaces $(ns a), $(ns b), removed at the end whatever happens
#	veth a va 10.9.0.1/24 b vb 10.9.0.2/24
#	check 'a reaches b' in_ns a ping_ -c 1 10.9.0.2
#	done_testing
#
# Names carry the test's name and process id, so tests may run side by side. Everything made through these helpers
# is removed by a trap, last made first. `in_ns` uses nsenter, because `ip netns exec` mounts a new /sys over
# /sys/fs/bpf. Runs with dash; in Debian's static busybox sh the applets `ip` and `ps` hide the tools, so a test is
# started by its own first line, not as `busybox sh TEST`.
set -u

PATH=/usr/sbin:/usr/bin:/sbin:/bin:$PATH
BUILD=${BUILD:-build}
T=$(basename "$0" .sh | tr -c 'a-zA-Z0-9\n' '-')-$$
# Interface names are at most 15 characters and a userspace WireGuard's are unique on the whole machine.
U=$(printf '%x' $$)
TMP=$(mktemp -d "${TMPDIR:-/tmp}/by-$T.XXXXXX") || exit 1
# What takes a second on a machine takes some on an emulated one: bounds of patience are multiplied by this.
export PATIENCE=1
grep -qw vm.accel=tcg /proc/cmdline && PATIENCE=4
tap_n=0
tap_bad=0
undo_list=

# --- ends ------------------------------------------------------------------------------------------------------
# Remembers a command line for the end; the last remembered runs first.
at_end() {
	undo_list="$*
$undo_list"
}

cleanup() {
	trap '' INT TERM HUP
	trap - EXIT
	echo "$undo_list" | while IFS= read -r line; do
		[ -n "$line" ] && eval "$line" >/dev/null 2>&1
	done
	rm -rf "$TMP"
}

trap 'rc=$?; cleanup; exit $rc' EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

# --- TAP -------------------------------------------------------------------------------------------------------
ok() {
	tap_n=$((tap_n + 1))
	echo "ok $tap_n - $*"
}

not_ok() {
	tap_n=$((tap_n + 1))
	tap_bad=$((tap_bad + 1))
	echo "not ok $tap_n - $*"
}

# skip NAME WHY: one result that was not possible here.
skip() {
	tap_n=$((tap_n + 1))
	echo "ok $tap_n - $1 # SKIP $2"
}

skip_all() {
	echo "$*"
	exit 77
}

note() {
	printf '%s\n' "$*" | sed 's/^/# /'
}

# check NAME COMMAND...: one result; the end of the command's output is shown when it fails.
check() {
	tap_name=$1
	shift
	if "$@" >"$TMP/out" 2>&1; then
		ok "$tap_name"
	else
		not_ok "$tap_name (status $?: $*)"
		tail -n 20 "$TMP/out" | sed 's/^/#   /'
	fi
}

check_not() {
	tap_name=$1
	shift
	if "$@" >"$TMP/out" 2>&1; then
		not_ok "$tap_name (worked: $*)"
		tail -n 20 "$TMP/out" | sed 's/^/#   /'
	else
		ok "$tap_name"
	fi
}

# is NAME GOT WANTED
is() {
	if [ "$2" = "$3" ]; then
		ok "$1"
	else
		not_ok "$1"
		note "  got:    $2"
		note "  wanted: $3"
	fi
}

# like NAME GOT PATTERN: a shell pattern.
like() {
	# shellcheck disable=SC2254 # the pattern is meant as one
	case $2 in
	$3) ok "$1" ;;
	*)
		not_ok "$1"
		note "  got:  $2"
		note "  like: $3"
		;;
	esac
}

# eventually SECONDS COMMAND...: repeats until it works. SECONDS are an idle machine's; three times as long costs nothing where it
# works. COMMAND must ask anew each time: `eventually 5 test "$(count)" = 2` asks once.
eventually() {
	ev_end=$(($(date +%s) + 3 * $1 * PATIENCE))
	shift
	until "$@"; do
		[ "$(date +%s)" -lt "$ev_end" ] || return 1
		sleep 0.1
	done
}

done_testing() {
	echo "1..$tap_n"
	[ "$tap_n" -gt 0 ] && [ "$tap_bad" = 0 ]
	exit $?
}

# --- what the machine must have ---------------------------------------------------------------------------------
need() {
	[ "$(id -u)" = 0 ] || skip_all 'needs root'
	for tool; do
		command -v "$tool" >/dev/null 2>&1 || skip_all "needs $tool, which is not installed"
	done
}

# any_kernel WHY: nothing that this test asks can a kernel answer otherwise. vmtest/run.sh, which is about kernels, leaves it to
# the machine itself, and counts a skip with that reason.
any_kernel() {
	[ "${OTHER_KERNEL:-}" != 1 ] || skip_all "the same on any kernel: $*"
}

# need_file FILE WHY
need_file() {
	[ -e "$1" ] || skip_all "needs $1: $2"
}

# load MODULE...: by the kernel's own helper, which in a VM knows where its modules are. No error where built in.
load() {
	load_helper=$(cat /proc/sys/kernel/modprobe 2>/dev/null)
	for module; do
		"${load_helper:-/sbin/modprobe}" "$module" >/dev/null 2>&1
	done
	:
}

# A ping with the few options that iputils and busybox share: -c -W -s -i -I -q.
ping_() {
	if command -v ping >/dev/null 2>&1; then
		ping "$@"
	else
		busybox ping "$@"
	fi
}

# --- namespaces -------------------------------------------------------------------------------------------------
ns() {
	echo "by-$T-$1"
}

# Ends what still runs in a namespace of this test, then removes it.
ns_del() {
	for pid in $(ip netns pids "$(ns "$1")" 2>/dev/null); do
		kill "$pid" 2>/dev/null
	done
	ip netns del "$(ns "$1")"
}

# ns_add NAME...: namespaces with the loopback up and no link-local noise of IPv6 (DAD) on new links.
ns_add() {
	for ns_name; do
		ip netns add "$(ns "$ns_name")" || exit 1
		at_end "ns_del $ns_name"
		in_ns "$ns_name" ip link set lo up
		in_ns "$ns_name" sh -c 'echo 0 >/proc/sys/net/ipv6/conf/default/accept_dad' 2>/dev/null
	done
}

# in_ns NAME COMMAND...: shell functions of this file work as commands too.
in_ns() {
	in_name=$(ns "$1")
	shift
	if [ "$1" = ping_ ]; then
		shift
		if command -v ping >/dev/null 2>&1; then set -- ping "$@"; else set -- busybox ping "$@"; fi
	fi
	nsenter --net="/var/run/netns/$in_name" "$@"
}

# spawn NAME COMMAND...: in the background in namespace NAME; $spawned is its process id. Output: $TMP/spawn.PID.
spawn() {
	spawn_ns=$1
	shift
	nsenter --net="/var/run/netns/$(ns "$spawn_ns")" "$@" >"$TMP/spawn.out" 2>&1 </dev/null &
	spawned=$!
	at_end "kill $spawned"
}

# set_up NS DEV ADDRESS...: addresses (IPv6 without DAD) and up.
set_up() {
	up_ns=$1 up_dev=$2
	shift 2
	for up_addr; do
		case $up_addr in
		*:*) in_ns "$up_ns" ip addr add "$up_addr" dev "$up_dev" nodad ;;
		*) in_ns "$up_ns" ip addr add "$up_addr" dev "$up_dev" ;;
		esac
	done
	in_ns "$up_ns" ip link set "$up_dev" up
}

# veth NS1 DEV1 ADDRS1 NS2 DEV2 ADDRS2: a pair; ADDRS are comma separated or empty.
veth() {
	ip link add "$2" netns "$(ns "$1")" type veth peer name "$5" netns "$(ns "$4")" || exit 1
	# shellcheck disable=SC2046 # the list is meant to split
	set_up "$1" "$2" $(echo "$3" | tr ',' ' ')
	# shellcheck disable=SC2046
	set_up "$4" "$5" $(echo "$6" | tr ',' ' ')
}

# bridge NS DEV: a bridge in namespace NS, to be joined by `veth_bridge`.
bridge() {
	in_ns "$1" ip link add "$2" type bridge && in_ns "$1" ip link set "$2" up
}

# veth_bridge NS DEV ADDRS BRIDGE_NS BRIDGE: connects NS to the bridge; its port there is named p-NS.
veth_bridge() {
	veth "$1" "$2" "$3" "$4" "p-$1" ''
	in_ns "$4" ip link set "p-$1" master "$5"
}
