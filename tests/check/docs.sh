#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# What the documentation names must exist, and the other way round. One TAP line each.
set -u
cd "$(dirname "$0")/../.." || exit 2
. tests/lib/tap-lib.sh

pages=$(find README.md docs -name '*.md' 2>/dev/null | sort)

targets() {
	sed -n 's/^\([a-z][a-z_ -]*\):.*/\1/p' Makefile | tr ' ' '\n' | sort -u
}

# `make X` in code marks or at the start of an indented or fenced line; VAR=value words are not targets.
wrong_targets() {
	for page in $pages; do
		grep -ohE '(`|^[[:space:]]*(\$ |# )?)make( [a-z][a-z-]*)+' "$page" | sed 's/.*make //' | tr ' ' '\n' | sort -u |
			while read -r target; do
				targets | grep -qx -- "$target" || echo "$page: make $target"
			done
	done
}

wrong_links() {
	for page in $pages; do
		grep -oE '\]\([^)#]+' "$page" | sed 's/^](//' | grep -v '^[a-z]*:' | while read -r link; do
			[ -e "$(dirname "$page")/$link" ] || echo "$page: $link"
		done
	done
}

# A path in code marks that begins with a folder of the tree; a name in capitals is a placeholder.
wrong_paths() {
	for page in $pages; do
		grep -oE '`(bpf|user|include|policy|tests|vmtest|docs|\.ci)/[A-Za-z0-9_./-]+`' "$page" | tr -d '`' | grep -v '/[A-Z][A-Z]' | sort -u |
			while read -r path; do
				[ -e "$path" ] || echo "$page: $path"
			done
	done
}

commands() {
	sed -n 's/^\t{ "\([a-z-]*\)", cmd_.*/\1/p' user/cli/main.c | sort -u
}

# .It Cm policy check ...   and   .It Cm genkey , pubkey
in_man_page() {
	sed -n 's/^\.It Cm //p' docs/man/bailey.1 | awk '{ print $1; for (i = 2; i < NF; i++) if ($i == ",") print $(i + 1) }' |
		sort -u
}

differences() {
	commands >"$tmp/code"
	in_man_page >"$tmp/man"
	comm -23 "$tmp/code" "$tmp/man" | sed 's/$/: not in the man page/'
	comm -13 "$tmp/code" "$tmp/man" | sed 's/$/: no such command/'
}

wrong_commands() {
	for page in $pages; do
		grep -oE '(`|^[[:space:]]*\$ |^    )(build/)?bailey [a-z][a-z-]+' "$page" | sed 's/.*bailey //' | sort -u |
			while read -r command; do
				commands | grep -qx -- "$command" || echo "$page: bailey $command"
			done
	done
}

# Every package that deps.sh installs, with its reason.
unexplained() {
	for package in $(sed -n '/^packages()/,/^}/p' tests/setup/deps.sh | tr -d "'\"\\\\" | sed 's/^.*) echo//; s/;;.*//' |
		grep -oE '[a-z0-9.+-]+[?]?' | grep -vxE 'packages|case|in|esac|echo|build|test|vm|bench|demo|or|not|exit|deps.sh|[0-9]' |
		tr -d '?' | sort -u); do
		grep -qw -- "$package" docs/dependencies.md || echo "$package"
	done
}

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
tap 'every make target that a page names exists' "$(wrong_targets)"
tap 'every link leads somewhere' "$(wrong_links)"
tap 'every path that a page names exists' "$(wrong_paths)"
if [ -e user/cli/main.c ] && [ -e docs/man/bailey.1 ]; then
	tap 'bailey.1 and the command table agree' "$(differences)"
	tap 'every bailey command that a page names exists' "$(wrong_commands)"
else
	skip 'bailey.1 and the command table agree' 'one of them is missing'
fi
if [ -e docs/dependencies.md ]; then
	tap 'every package has its reason in dependencies.md' "$(unexplained)"
else
	skip 'every package has its reason in dependencies.md' 'there is no such page'
fi

# the checks must be able to fail
printf 'run `make no-such-target` and see `tests/no-such-file.sh` or [it](no-such-page.md)\n' >"$tmp/page.md"
pages=$tmp/page.md
tap_planted 'planted faults are found' wrong_targets wrong_links wrong_paths
