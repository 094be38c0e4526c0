#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Debian packages of a release other than the host's, from the mirror that the host's apt already uses.
# usage: tests/setup/debian.sh mirror               prints the mirror
#        tests/setup/debian.sh sources SUITE        the lines of a sources.list for that release
#        tests/setup/debian.sh real SUITE PKG       the package that a metapackage stands for today
#        tests/setup/debian.sh get SUITE DIR PKG... downloads .debs to DIR
#
# apt itself does the work, with its lists and sources below build/cache/apt: it checks every signature and hash,
# and nothing of the host's apt changes. DEBIAN_MIRROR= names a mirror where the host has none (Ubuntu).
set -eu
cd "$(dirname "$0")/../.."
cache=$PWD/build/cache/apt
keyring=/usr/share/keyrings/debian-archive-keyring.gpg

die() {
	echo "debian.sh: $*" >&2
	exit 1
}

# $1 label of the archive: its address as the host's apt has it.
site() {
	# shellcheck disable=SC2016
	apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' "Label: $1" 2>/dev/null |
		sed -n '1{s|/*$||;p;}'
}

# A host whose lists were never fetched knows no labels: then the sources alone must tell.
listed() {
	sed -n 's/^URIs: *\([^ ]*\).*/\1/p; s/^deb \(\[[^]]*\] \)*\([^ ]*\) .*/\2/p' \
		/etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources 2>/dev/null |
		sed 's|/*$||' | grep '/debian$' | head -n 1
}

mirror() {
	m=${DEBIAN_MIRROR:-$(site Debian)}
	[ -n "$m" ] || m=$(listed)
	[ -n "$m" ] || die 'apt has no Debian mirror here; name one in DEBIAN_MIRROR='
	echo "$m"
}

security() {
	s=$(site Debian-Security)
	echo "${s:-$(mirror)-security}"
}

sources() {
	echo "deb [signed-by=$keyring] $(mirror) $1 main"
	echo "deb [signed-by=$keyring] $(security) $1-security main"
}

# $1 suite: an apt configuration of its own. Lists are fetched once a day.
use_suite() {
	dir=$cache/$1
	export APT_CONFIG="$dir/apt.conf"
	[ -z "$(find "$dir/fresh" -mmin -1440 2>/dev/null)" ] || return 0
	[ -r "$keyring" ] || die "$keyring is missing (package debian-archive-keyring)"
	mkdir -p "$dir/state/lists/partial" "$dir/cache/archives/partial" "$dir/apt.conf.d" "$dir/preferences.d"
	unset APT_CONFIG
	sources "$1" >"$dir/sources.list"
	cat >"$dir/apt.conf" <<-EOF
		Dir::State "$dir/state";
		Dir::State::status "/dev/null";
		Dir::Cache "$dir/cache";
		Dir::Etc "$dir";
		Dir::Etc::sourcelist "$dir/sources.list";
		Dir::Etc::sourceparts "/dev/null";
		Dir::Etc::trusted "/dev/null";
		Dir::Etc::trustedparts "/dev/null";
		Acquire::Languages "none";
		APT::Sandbox::User "root";
		APT::Architecture "amd64";
	EOF
	export APT_CONFIG="$dir/apt.conf"
	apt-get -q=2 -o APT::Update::Error-Mode=any update >&2
	: >"$dir/fresh"
}

case ${1:-} in
mirror) mirror ;;
sources) sources "$2" ;;
real)
	use_suite "$2"
	apt-cache depends "$3" | sed -n 's/^ *Depends: //p' | grep '^linux-image-' | head -n 1
	;;
get)
	use_suite "$2"
	mkdir -p "$3"
	cd "$3"
	shift 3
	apt-get -q=2 download "$@" >&2
	;;
*) die 'mirror, sources, real or get?' ;;
esac
