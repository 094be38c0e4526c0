#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Makes one of Debian's kernels ready to boot below build/cache and prints its folder. usage: vmtest/kernel.sh 6.12
#
#   vmlinux             the bare ELF: QEMU enters it by PVH, so that nothing is decompressed under emulation
#   lib/modules/VERSION the modules a network test can ask for, not compressed, with modprobe's lists
set -eu
cd "$(dirname "$0")/.."
want=$1
dir=$PWD/build/cache/kernel/$want

case $want in
6.1) meta=linux-image-amd64 ;;
6.12) meta=linux-image-6.12-amd64 ;;
*) echo "vmtest/kernel.sh: no kernel '$want'; there are 6.1 and 6.12 (Debian 12's)" >&2; exit 2 ;;
esac

# $1 file, $2 offset: a little-endian 32-bit number.
word() {
	od -An -tu4 -j "$2" -N 4 "$1" | tr -d ' '
}

# The boot protocol's header says where the compressed kernel lies; its last 4 bytes are the length, not the stream.
unpack_image() {
	setup=$(od -An -tu1 -j 497 -N 1 "$1" | tr -d ' ')
	start=$(((setup + 1) * 512 + $(word "$1" 584)))
	length=$(($(word "$1" 588) - 4))
	case $(od -An -tx1 -j "$start" -N 4 "$1" | tr -d ' ') in
	28b52ffd) unpack=zstd ;;
	fd377a58) unpack=xz ;;
	*) echo "vmtest/kernel.sh: unknown compression of $1" >&2; return 1 ;;
	esac
	tail -c +$((start + 1)) "$1" | head -c "$length" | $unpack -dc >"$2"
}

# Sound, graphics and most drivers stay behind: they are two thirds of the package.
copy_modules() {
	drivers='9p|netfs|fscache|overlayfs|fuse|virtio|wireguard|vxlan|vhost|hw_random'
	(cd "$1" && find modules.* kernel -type f) |
		grep -Ev '^kernel/(sound|drivers|fs)/' >"$2.list"
	(cd "$1" && find kernel/fs kernel/drivers -type f) |
		grep -E "/($drivers)/|/virtio[^/]*\$|^kernel/drivers/net/[^/]*\$" >>"$2.list"
	tar -C "$1" -cf - -T "$2.list" | tar -C "$2" -xf -
	rm "$2.list"
	find "$2" -name '*.ko.xz' -print0 | xargs -0 -r -P 2 -n 100 xz -d
}

make_ready() {
	tmp=$dir.tmp.$$
	trap 'rm -rf "$tmp"' EXIT
	mkdir -p "$tmp/deb"
	image=$(tests/setup/debian.sh real bookworm "$meta")
	version=${image#linux-image-}
	echo "vmtest: fetching Debian's kernel $version" >&2
	tests/setup/debian.sh get bookworm "$tmp/deb" "$image"
	dpkg-deb -x "$tmp"/deb/*.deb "$tmp/x"
	mkdir -p "$tmp/k/lib/modules/$version"
	unpack_image "$tmp/x/boot/vmlinuz-$version" "$tmp/k/vmlinux"
	cp "$tmp/x/boot/config-$version" "$tmp/k/config"
	copy_modules "$tmp/x/lib/modules/$version" "$tmp/k/lib/modules/$version"
	PATH=$PATH:/usr/sbin:/sbin depmod -b "$tmp/k" "$version"
	chmod -R a+rX "$tmp/k"
	mkdir "$dir" 2>/dev/null || :
	# two runs may race for it: the first one wins, the second throws its copy away
	[ -e "$dir/vmlinux" ] || { rm -rf "$dir"; mv "$tmp/k" "$dir"; }
}

[ -e "$dir/vmlinux" ] || make_ready
echo "$dir"
