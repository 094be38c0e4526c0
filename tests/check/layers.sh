#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Who may include whom (docs/design.md, house map), and which library is spoken to from where. No output but TAP.
set -u
cd "$(dirname "$0")/../.." || exit 2
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

# room: the rooms that it may include, itself apart. Rooms of one level never include each other; a room that is not
# here may include nothing, so a new room is added here first.
rooms='
base:
policy: base
identity: base
evidence: base policy identity
pcs: base identity
dns: base identity
datapath: base policy identity
overlay: base policy identity
agent: base policy identity
http: base
mesh: base policy identity http datapath overlay agent
vpc: base identity mesh
gateway: base policy identity datapath overlay agent
ctl: base policy identity datapath overlay agent mesh vpc gateway
baileyd: base policy identity evidence http pcs dns datapath overlay agent mesh vpc gateway ctl
kms: base policy identity evidence agent mesh baileyd
meshd: base policy identity evidence agent mesh ctl baileyd
vpcd: base policy identity evidence http mesh vpc ctl baileyd
cli: base policy identity evidence pcs datapath overlay ctl
'

# header: the files that may include it
libraries='
openssl/: user/identity/ user/overlay/key.c user/overlay/initiation.c user/policy/model.c user/agent/ user/mesh/ user/vpc/ user/vpcd/ user/gateway/ user/kms/ user/meshd/ user/baileyd/
libmnl/: user/overlay/
yaml.h: user/policy/yaml
sqlite3.h: user/vpcd/store
nghttp2/: user/mesh/h2
ldns/: user/dns/answer.c
bpf/: user/datapath/ bpf/
skel/: user/datapath/
event2/: user/base/listening user/overlay/tunnel.c user/agent/ user/mesh/ user/vpc/ user/vpcd/ user/gateway/ user/kms/ user/meshd/ user/ctl/ user/baileyd/
curl/: user/pcs/ user/agent/ user/mesh/ user/vpc/ user/vpcd/ user/gateway/ user/kms/ user/ctl/ user/cli/ user/baileyd/
seccomp.h: user/baileyd/
cap-ng.h: user/baileyd/
xdp/: user/datapath/
'

# $1 root of a tree: one line for each include that the tables do not allow.
violations() {
	(cd "$1" && find user bpf include -name '*.[ch]' ! -name vmlinux.h \
		-exec grep -HnE '^[[:space:]]*#[[:space:]]*include' {} + 2>/dev/null) |
		awk -v rooms="$rooms" -v libraries="$libraries" '
			BEGIN {
				n = split(rooms, line, "\n")
				for (i = 1; i <= n; i++) {
					split(line[i], word, ": *")
					if (word[1] == "") continue
					is_room[word[1]]
					m = split(word[2], dep, " ")
					for (j = 1; j <= m; j++) may[word[1], dep[j]]
				}
				n = split(libraries, line, "\n")
				for (i = 1; i <= n; i++) {
					split(line[i], word, ": *")
					if (word[1] != "") users[word[1]] = word[2]
				}
			}
			function bad(why) { print place ": " why }
			{
				split($0, part, ":")
				file = part[1]; place = file ":" part[2]
				match($0, /[<"][^>"]*[>"]/)
				quoted = substr($0, RSTART, 1) == "\""
				name = substr($0, RSTART + 1, RLENGTH - 2)
				split(file, dir, "/")
				first = name; sub(/\/.*/, "", first)
				for (l in users) {
					if (index(name, l) != 1 || (quoted && l !~ /^skel/)) continue
					ok = 0
					m = split(users[l], prefix, " ")
					for (j = 1; j <= m; j++) if (index(file, prefix[j]) == 1) ok = 1
					if (!ok) bad("<" name "> belongs to " users[l])
				}
				if (!quoted) next
				if (first == "bailey" || first == "tbl") next
				if (dir[1] == "include") {
					if (index(name, "/") && index(name, "../tbl/") != 1) bad("include/ includes only itself, not " name)
					next
				}
				if (dir[1] == "bpf") {
					if (first in is_room) bad("bpf/ never sees user/, here " name)
					next
				}
				if (index(name, "../") == 1) { bad("an include by .. hides its room: " name); next }
				if (index(name, "/") == 0 || first == "skel" || first == dir[2]) next
				if (!((dir[2], first) in may)) bad(dir[2] " may not include " first " (" name ")")
			}'
}

# $1 file of a tree that must be refused, $2 its one include
plant() {
	mkdir -p "$tmp/$(dirname "$1")"
	printf '#include %s\n' "$2" >"$tmp/$1"
	[ -n "$(violations "$tmp")" ] || missed="$missed $1:$2"
	rm "$tmp/$1"
}

found=$(violations .)
if [ -z "$found" ]; then
	echo 'ok 1 - every include goes down the house map'
else
	echo 'not ok 1 - an include goes against the house map'
	echo "$found"
fi

missed=''
plant user/base/x.c '"policy/policy.h"'
plant user/policy/x.c '"identity/identity.h"'
plant user/overlay/x.c '"datapath/datapath.h"'
plant user/identity/x.h '"cli/cmds.h"'
plant user/newroom/x.c '"base/err.h"'
plant user/policy/x.c '<bpf/libbpf.h>'
plant user/policy/check.c '<yaml.h>'
plant user/identity/x.c '<libmnl/libmnl.h>'
plant user/overlay/apply.c '<openssl/evp.h>'
plant user/vpcd/front.c '<sqlite3.h>'
plant user/baileyd/dns.c '<ldns/ldns.h>'
plant user/cli/x.c '"skel/tc.skel.h"'
plant user/mesh/x.c '"../policy/image.h"'
plant bpf/lib/x.h '"base/addr.h"'
plant include/bailey/x.h '"base/addr.h"'
if [ -z "$missed" ]; then
	echo 'ok 2 - a planted include against the map is found'
else
	echo "not ok 2 - not found:$missed"
fi
mkdir -p "$tmp/user/datapath"
printf '#include "%s"\n' base/err.h policy/image.h bailey/maps.h tbl/drop.h skel/tc.skel.h internal.h >"$tmp/user/datapath/x.c"
if [ -z "$(violations "$tmp")" ]; then
	echo 'ok 3 - what the map allows is not found'
else
	echo 'not ok 3 - an allowed include was found'
	violations "$tmp"
fi
