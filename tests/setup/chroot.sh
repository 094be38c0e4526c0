#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Runs a command in a bare Debian of another release, in this checkout. usage: tests/setup/chroot.sh SUITE CMD...
#
#   tests/setup/chroot.sh trixie make check
#
# The chroot is made when it is missing (build/cache/chroot-SUITE: the smallest Debian there is, nothing of the
# project's needs) and kept, with what was installed into it. What is built lands in build/SUITE. All mounts are in a
# mount namespace of their own, so they are gone when the command ends, however it ends.
set -eu
cd "$(dirname "$0")/../.."
[ $# -ge 2 ] || { echo 'usage: tests/setup/chroot.sh SUITE CMD...' >&2; exit 2; }
suite=$1
shift
root=$PWD/build/cache/chroot-$suite

make_root() {
	command -v debootstrap >/dev/null || PATH=$PATH:/usr/sbin
	command -v debootstrap >/dev/null || { echo 'chroot.sh: debootstrap is missing (package debootstrap)' >&2; exit 1; }
	mirror=$(tests/setup/debian.sh mirror)
	tmp=$root.tmp.$$
	trap 'rm -rf "$tmp"' EXIT
	mkdir -p "$tmp"
	debootstrap --variant=minbase --keyring=/usr/share/keyrings/debian-archive-keyring.gpg \
		"$suite" "$tmp" "$mirror" >"$root.log" 2>&1 || { tail -n 5 "$root.log" >&2; exit 1; }
	tests/setup/debian.sh sources "$suite" >"$tmp/etc/apt/sources.list"
	mv "$tmp" "$root"
	trap - EXIT
}

# Runs in the new mount namespace; $1 is the checkout.
enter() {
	mount --make-rprivate /
	mount --bind "$root" "$root"
	cp -L /etc/resolv.conf "$root/etc/resolv.conf" 2>/dev/null || :
	mount -t proc proc "$root/proc"
	mount --rbind /sys "$root/sys"
	mount -t tmpfs -o mode=755 dev "$root/dev"
	mkdir "$root/dev/shm" "$root/dev/pts" "$root/dev/net"
	for node in null zero full random urandom tty net/tun; do
		[ -e "/dev/$node" ] || continue
		: >"$root/dev/$node"
		mount --bind "/dev/$node" "$root/dev/$node"
	done
	for link in fd:fd stdin:fd/0 stdout:fd/1 stderr:fd/2; do
		ln -s "/proc/self/${link#*:}" "$root/dev/${link%:*}"
	done
	mount -t devpts -o newinstance,ptmxmode=666 devpts "$root/dev/pts"
	ln -s pts/ptmx "$root/dev/ptmx"
	for dir in dev/shm tmp run; do
		mount -t tmpfs -o mode=1777 tmpfs "$root/$dir"
	done
	mkdir -p "$root$1"
	mount --bind "$1" "$root$1"
	cd "$root"
}

if [ "${IN_NAMESPACE:-}" != "$$" ]; then
	[ -d "$root" ] || make_root
	# the same process goes on: its number tells the second pass from the first
	IN_NAMESPACE=$$ exec unshare --mount "$0" "$suite" "$@"
fi
tree=$PWD
enter "$tree"
# shellcheck disable=SC2016
exec chroot . /usr/bin/env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root \
	TERM="${TERM:-dumb}" LANG=C.UTF-8 BUILD="build/$suite" \
	sh -c 'cd "$1" && shift && exec "$@"' sh "$tree" "$@"
