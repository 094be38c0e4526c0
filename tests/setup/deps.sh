#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Installs what is missing, by Debian package name (Debian 12 and 13, Ubuntu 24.04). usage: tests/setup/deps.sh WHAT...
# WHAT is build, test, vm, bench, demo or cluster; why each package is needed is in docs/dependencies.md.
#
# Nothing missing: silent and quick, asks no mirror. Not root: says what is missing; that is a failure for build and vm
# and a note for the others, whose tests then skip what they can not run. A name with ? may be absent from a release.
set -eu
cd "$(dirname "$0")/../.."

bpftool_packages() {
	# shellcheck disable=SC1091
	case $(. /etc/os-release && echo "$ID") in
	ubuntu) echo linux-tools-common linux-tools-generic ;;
	*) echo bpftool ;;
	esac
}

packages() {
	case $1 in
	build) echo gcc libc6-dev make pkgconf clang llvm "$(bpftool_packages)" libbpf-dev libelf-dev zlib1g-dev libssl-dev \
		libmnl-dev libyaml-dev libevent-dev libjansson-dev libcap-ng-dev libseccomp-dev libcurl4-openssl-dev \
		libxdp-dev libsqlite3-dev libnghttp2-dev libldns-dev ;;
	test) echo libcmocka-dev libclang-rt-dev iproute2 wireguard-tools wireguard-go busybox-static util-linux procps \
		kmod openssl curl jq tcpdump clang-format clang-tidy cppcheck shellcheck nmap nftables python3 python3-scapy python3-cryptography sqlite3 'xdp-tools?' \
		bind9-dnsutils knot-dnsutils dnsperf dnsmasq-base \
		'python3-websockets?' nghttp2-client 'nghttp2-server?' 'python3-grpcio?' 'redis-server?' 'postgresql?' 'etcd-server?' 'testssl.sh?' ;;
	vm) echo qemu-system-x86 python3 busybox-static kmod xz-utils zstd file binutils iproute2 \
		debian-archive-keyring gpgv ;;
	bench) echo nftables iperf3 iproute2 procps wireguard-go jq nebula gnuplot-nox wrk nghttp2-client nghttp2-server haproxy nginx-light openssl dnsperf dnsmasq-base 'xdp-tools?' ;;
	demo) echo iproute2 util-linux busybox-static wireguard-go curl jq "$(server_package)" ;;
	cluster) echo iproute2 util-linux busybox-static wireguard-go curl jq patroni etcd-server etcd-client postgresql ;;
	*) echo "deps.sh: build, test, vm, bench, demo or cluster, not '$1'" >&2; exit 2 ;;
	esac
}

# The demo talks to a real server: PostgreSQL where it is, else a small HTTP server.
server_package() {
	[ -n "$(find /usr/lib/postgresql -name postgres -path '*/bin/*' 2>/dev/null)" ] || echo nginx-light
}

# Those of the words that dpkg does not have; ? stays on.
missing() {
	{
		dpkg-query -W -f '${db:Status-Status} ${Package}\n'
		printf 'want %s\n' "$@"
	} | awk '$1 == "installed" { have[$2] } $1 == "want" { n = $2; sub(/[?]$/, "", n); if (!(n in have)) print $2 }' |
		while read -r name; do
			[ -e "build/cache/absent-${name%\?}" ] || echo "$name"
		done
}

# Remembered, so that the next run does not ask the mirror again.
no_such() {
	echo "note: this release has no $1; what needs it is skipped"
	mkdir -p build/cache
	: >"build/cache/absent-$1"
}

# Lists are fetched only when the ones that are there do not do.
install() {
	apt_install "$@" || { apt-get -qq update >>"$log" 2>&1 && apt_install "$@"; }
}

apt_install() {
	DEBIAN_FRONTEND=noninteractive apt-get -qq -y -o Dpkg::Use-Pty=0 --no-install-recommends install "$@" >>"$log" 2>&1
}

# A package that brings a server must not start one on a developer's machine.
no_services() {
	policy=/usr/sbin/policy-rc.d
	[ ! -e $policy ] || return 0
	trap 'rm -f $policy' EXIT
	printf '#!/bin/sh\nexit 101\n' >$policy
	chmod 755 $policy
}

install_all() {
	required=$(printf '%s\n' "$@" | grep -v '?$' || :)
	mkdir -p build
	log=build/deps.log
	: >"$log"
	no_services
	echo "installing" "$@"
	# shellcheck disable=SC2086
	if [ -n "$required" ] && ! install $required; then
		tail -n 20 "$log" >&2
		echo "deps.sh: apt could not install them (all of its output: $log)" >&2
		exit 1
	fi
	for name; do
		case $name in
		*\?) install "${name%?}" || no_such "${name%?}" ;;
		esac
	done
}

# Ubuntu's bpftool is a wrapper that runs only the one of the running kernel; any kernel's does for a build.
real_bpftool() {
	bpftool=$(PATH=$PATH:/usr/sbin:/sbin command -v bpftool) || return 0
	[ "$(head -c 2 "$bpftool")" = '#!' ] || return 0
	real=$(find /usr/lib/linux-tools* -name bpftool -type f 2>/dev/null | sort -V | tail -n 1)
	[ -n "$real" ] || return 0
	mkdir -p build/cache/bin
	ln -sf "$real" build/cache/bin/bpftool
}

[ $# -gt 0 ] || set -- build
must='' may=''
for what; do
	# word splitting is meant, here and below: package names
	# shellcheck disable=SC2046
	names=$(missing $(packages "$what"))
	case $what in
	build | vm) must="$must$names " ;;
	*) may="$may$names " ;;
	esac
done
# shellcheck disable=SC2046,SC2086
set -- $(printf '%s\n' $must $may | sort -u)
if [ $# -gt 0 ] && [ "$(id -u)" = 0 ]; then
	install_all "$@"
elif [ $# -gt 0 ]; then
	echo "not installed, and this is not root:" "$@"
	# shellcheck disable=SC2086
	set -- $must
	[ $# = 0 ] || { echo "deps.sh: needed:" "$@" >&2; exit 1; }
fi
real_bpftool
