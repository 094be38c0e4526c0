#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The rules of style that a script can hold. One TAP line a rule; each rule must also find a planted fault.
set -u
cd "$(dirname "$0")/../.." || exit 2
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
n=0

sources() {
	find . \( -path ./build -o -path ./.git \) -prune -o -type f \( -name '*.[ch]' -o -name '*.sh' -o -name Makefile \
		-o -path ./.ci/run \) ! -name vmlinux.h -print
}

c_files() {
	sources | grep '\.[ch]$'
}

texts() {
	find . \( -path ./build -o -path ./.git -o -path ./tests/fuzz/corpus -o -path ./tests/golden \) -prune -o \
		-type f ! -name vmlinux.h -exec grep -lI . {} +
}

# Each rule prints the places that break it: nothing is good.
no_licence() {
	sources | while read -r f; do
		head -n 3 "$f" | grep -q 'SPDX-License-Identifier: ' || echo "$f"
	done
}

gotos() {
	c_files | grep '^./user/' | xargs -r grep -HnE '\bgoto\b'
}

# spelt in two halves, so that this file passes its own rule
to_dos() {
	sources | xargs -r grep -HnE '\b(TO''DO|FIX''ME|XX''X)\b'
}

long_files() {
	sources | while read -r f; do
		[ "$(wc -l <"$f")" -le 600 ] || echo "$f: $(wc -l <"$f") lines"
	done
}

# An owning local without a value is freed or closed as whatever the stack held.
bare_autos() {
	c_files | xargs -r grep -HnE '\bauto_(free|fd|fclose|call\([a-z0-9_]+\))[[:space:]][^=;(]*;'
}

# Standard output belongs to the commands; rooms return what they have to say.
prints() {
	c_files | grep '^./user/' | grep -vE '^./user/(cli|[a-z]*/main\.c)' |
		xargs -r grep -HnE '(^|[^a-z_])(printf|vprintf|puts|putchar)[[:space:]]*\(|\bstdout\b'
}

# Pure rooms: the same input gives the same verdict on any machine at any time.
impure() {
	c_files | grep -E '^./user/(policy|identity)/' |
		xargs -r grep -HnE '(^|[^a-z_>.])(time|clock_gettime|clock_n?m?s|gettimeofday|socket|connect|getenv)[[:space:]]*\('
}

trailing() {
	texts | xargs -r grep -HnE '[[:space:]]+$'
}

# A script says by its first line who reads it; one whose name ends in lib.sh is read by others.
unreadable_scripts() {
	sources | grep -vE '\.[ch]$|Makefile$' | while read -r f; do
		case $(head -n 1 "$f") in
		'#!'*bash) bash -n "$f" 2>&1 ;;
		'#!'*sh) sh -n "$f" 2>&1 ;;
		*) [ "${f%lib.sh}" != "$f" ] && sh -n "$f" 2>&1 && continue
			echo "$f: no interpreter in line 1" ;;
		esac
	done
}

not_executable() {
	sources | grep -vE '\.[ch]$|Makefile$|lib\.sh$' | while read -r f; do
		[ -x "$f" ] || echo "$f"
	done
}

sudos() {
	sources | grep -vE '\.[ch]$' | xargs -r grep -HnE '(^|[^a-z])su''do ' | grep -v ':[0-9]*:[[:space:]]*#'
}

# Which mirror a machine uses is its own affair: the name that apt has must not be in the tree.
mirror_names() {
	host=$(tests/setup/debian.sh mirror 2>/dev/null | sed 's|.*//||; s|/.*||')
	[ -z "$host" ] || texts | xargs -r grep -HnF "$host"
}

# $1 rule, $2 what it holds, $3 file and $4 text that break it
rule() {
	n=$((n + 1))
	found=$($1)
	mkdir -p "$tmp/$(dirname "$3")" "$tmp/tests/setup"
	cp tests/setup/debian.sh "$tmp/tests/setup/"
	printf "$4" >"$tmp/$3"
	chmod +x "$tmp"/tests/*/*.sh 2>/dev/null
	[ "$1" != not_executable ] || chmod -x "$tmp/$3"
	planted=$(cd "$tmp" && $1 | grep -c "$(basename "$3")")
	rm -r "${tmp:?}"/*
	if [ -n "$found" ]; then
		echo "not ok $n - $2"
		echo "$found" | head -n 20
	elif [ "$planted" = 0 ]; then
		echo "not ok $n - $2: the rule does not find a planted fault"
	else
		echo "ok $n - $2"
	fi
}

rule no_licence 'every source names its licence' user/base/x.c 'int x;\n'
rule gotos 'no goto in user/' user/base/x.c 'goto out;\n'
rule to_dos 'nothing is left for later' user/base/x.c '/* TO''DO: all */\n'
rule long_files 'no file above 600 lines' user/base/x.c "$(seq -s '\n' 700)"
rule bare_autos 'every owning local has a value from the start' user/base/x.c '\tauto_fd int fd;\n'
rule prints 'no room prints but the commands' user/base/x.c '\tprintf("x");\n'
rule impure 'pure rooms ask no clock, socket or environment' user/policy/x.c '\tnow = time(NULL);\n'
rule trailing 'no blanks at the end of a line' user/base/x.c 'int x; \n'
rule unreadable_scripts 'every script parses' tests/net/x.sh '#!/bin/sh\nif true\n'
rule not_executable 'every script can be started' tests/net/x.sh '#!/bin/sh\n'
rule sudos 'no script raises its rights' tests/net/x.sh '#!/bin/sh\nsu''do true\n'

n=$((n + 1))
if ! tests/setup/debian.sh mirror >/dev/null 2>&1; then
	echo "ok $n - no mirror is named in the tree # SKIP apt has no mirror here"
elif [ -z "$(mirror_names)" ]; then
	echo "ok $n - no mirror is named in the tree"
else
	echo "not ok $n - a mirror is named in the tree"
	mirror_names
fi

# What a lib.sh sets is used by those who read it, and it says no interpreter.
check_scripts() {
	sources | grep -vE '\.[ch]$|Makefile$|lib\.sh$' | xargs shellcheck -x -S warning &&
		sources | grep 'lib\.sh$' | xargs -r shellcheck -S warning -s dash -e SC2034,SC2154
}

n=$((n + 1))
if ! command -v shellcheck >/dev/null; then
	echo "ok $n - shellcheck # SKIP not installed"
elif check_scripts; then
	echo "ok $n - shellcheck"
else
	echo "not ok $n - shellcheck"
fi

# Another version of clang-format lays the same file out otherwise: only the one that .clang-format was written for.
n=$((n + 1))
format=$(command -v clang-format-14 || command -v clang-format)
if ! "${format:-false}" --version 2>/dev/null | grep -q 'version 14\.'; then
	echo "ok $n - layout # SKIP needs clang-format 14"
elif c_files | xargs "$format" --dry-run -Werror; then
	echo "ok $n - layout"
else
	echo "not ok $n - layout: clang-format -i mends it"
fi
