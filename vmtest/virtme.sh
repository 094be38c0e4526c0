#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Prints where virtme-ng's Python modules are: unpacked below build/cache, nothing is installed. Debian 12 has no
# virtme-ng; the next release's package holds no compiled code and runs as it is.
set -eu
cd "$(dirname "$0")/.."
dir=$PWD/build/cache/virtme-ng
if [ ! -e "$dir" ]; then
	tmp=$dir.tmp.$$
	trap 'rm -rf "$tmp"' EXIT
	tests/setup/debian.sh get trixie "$tmp/deb" virtme-ng
	dpkg-deb -x "$tmp"/deb/virtme-ng_*.deb "$tmp/x"
	[ -e "$dir" ] || mv "$tmp/x" "$dir"
fi
echo "$dir/usr/lib/python3/dist-packages"
