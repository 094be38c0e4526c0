#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# nmap from another namespace sees exactly the ports that the YAML opens: what `bailey policy explain` allows, and nothing by
# tricks (NULL, FIN, XMAS, ACK, tiny fragments, chosen source ports), over IPv4 and IPv6. A listener is on each port but the
# two of $quiet, so that a packet that passes is answered: closed ports by the RST that stealth scans wait for.
. tests/net/lib.sh
need ip nsenter nmap /usr/bin/python3
need_file "$BUILD/tests/judge/gate" 'run make tests'

bailey=$PWD/$BUILD/bailey
gate=$PWD/$BUILD/tests/judge/gate
load sch_ingress cls_bpf veth
ports='21-25 53 79-82 443 5431-5433 8000 8010 8011 65535'
quiet='8090 9000' # the policy opens the first
# shellcheck disable=SC2086 # lists of words, here and below
all=$(for p in $ports; do seq "${p%-*}" "${p#*-}"; done; printf '%s\n' $quiet)
commas=$(echo "$all" | paste -sd, -)

cat >"$TMP/policy.yaml" <<END
version: 1
apps:
  scanner: { app-id: $(printf '%040d' 1) }
  machine: { app-id: $(printf '%040d' 2) }
  other: { app-id: $(printf '%040d' 3) }
rules:
  - { from: scanner, to: machine, allow: [tcp/80, tcp/5432, tcp/8000-8010, tcp/8090, tcp/65535, udp/53, udp/79-81, udp/8000] }
  - { from: any-attested, to: machine, allow: [tcp/21-25, proto/47, proto/89, icmp/8, icmpv6/128] }
  - { from: scanner, to: any-attested, deny: [tcp/23, udp/80] }
  - { from: machine, to: scanner, allow: [tcp/443, udp/5431] }
  - { from: other, to: machine, allow: [tcp/9000, tcp/82, udp/82] }
END
printf 'machine 10.81.0.1 fd81::1\nscanner 10.81.0.2 fd81::2\nother 10.81.0.3 fd81::3\n' >"$TMP/cast"

ns_add scan host
veth scan s0 '10.81.0.2/24,10.81.0.99/24,fd81::2/64' host h0 '10.81.0.1/24,fd81::1/64'
in_ns scan ip addr add fd81::99/64 dev s0 nodad preferred_lft 0 # nobody's, only used when asked for
in_ns scan ip link set s0 address 02:00:00:00:00:02
in_ns host ip link set h0 address 02:00:00:00:00:01
for a in 10.81.0.1 fd81::1; do
	in_ns scan ip neigh add $a lladdr 02:00:00:00:00:01 dev s0 nud permanent
done
for a in 10.81.0.2 10.81.0.99 fd81::2 fd81::99; do
	in_ns host ip neigh add $a lladdr 02:00:00:00:00:02 dev h0 nud permanent
done
# closed ports and unknown protocols are answered at once and each time
in_ns host sh -c 'echo 0 >/proc/sys/net/ipv4/icmp_ratelimit; echo 0 >/proc/sys/net/ipv6/icmp/ratelimit'
# shellcheck disable=SC2086
spawn host /usr/bin/python3 tests/judge/listen.py $ports
eventually 10 grep -q ready "$TMP/spawn.out" || skip_all 'the listener does not start'

mkdir "$TMP/bpf"
mount -t bpf bpf "$TMP/bpf" || skip_all 'no bpffs can be mounted'
at_end "umount '$TMP/bpf'"

# shellcheck source=tests/judge/nmap-lib.sh
. tests/judge/nmap-lib.sh
# shellcheck disable=SC2034 # the library's
scan_from=scan
# shellcheck disable=SC2317
allowed() { "$bailey" policy explain "$TMP/policy.yaml" --from scanner --to machine "$1"; }

list=$all
# --- can the scans see anything? without a policy --------------------------------------------------------------------------
scan open 10.81.0.1 -sS -p "$commas"
is 'without Bailey each listener is seen' "$(grep -c ' open$' "$TMP/open")" "$(($(echo "$all" | wc -l) - 2))"
scan open 10.81.0.1 -sN -p 9000
like 'and a NULL scan finds a closed port' "$(grep 9000 "$TMP/open")" '9000 closed'
scan open 10.81.0.1 -sA -p 9000
like 'and an ACK scan an unfiltered one' "$(grep 9000 "$TMP/open")" '9000 unfiltered'

check 'the policy is loaded' in_ns host "$gate" "$TMP/bpf" h0 "$TMP/cast" "$TMP/policy.yaml"

# --- exactly what the YAML opens -------------------------------------------------------------------------------------------
want tcp open closed filtered
for ip in 4 6; do
	[ $ip = 4 ] && target=10.81.0.1 six='' || target=fd81::1 six=-6
	# shellcheck disable=SC2086
	{
		scan seen $target $six -sT -p "$commas"
		check "IPv$ip: a connect scan sees the YAML's ports" as_wanted seen
		scan seen $target $six -sS -p "$commas"
		check "IPv$ip: so does a SYN scan" as_wanted seen
		scan seen $target $six -sS -g 443 -p "$commas"
		check "IPv$ip: also from a port that this node may reach" as_wanted seen
	}
done
want udp open closed 'open|filtered'
for ip in 4 6; do
	[ $ip = 4 ] && target=10.81.0.1 six='' || target=fd81::1 six=-6
	# shellcheck disable=SC2086
	scan seen $target $six -sU --data-length 20 -p "$commas"
	check "IPv$ip: UDP likewise" as_wanted seen
done
scan seen 10.81.0.1 -sU --data-length 100 --mtu 16 -p "$commas"
check 'and UDP in fragments of 16 bytes' as_wanted seen
list='2 47 50 89 90 132 253'
want proto closed closed 'open|filtered'
scan seen 10.81.0.1 -sO --data-length 16 -p "$(echo "$list" | tr ' ' ,)"
check 'IP protocols: those of the YAML are answered' as_wanted seen

# --- tricks ----------------------------------------------------------------------------------------------------------------
list=$all
for trick in -sN -sF -sX -sM; do
	scan seen 10.81.0.1 $trick -p "$commas"
	check "nothing answers $trick" all_are seen 'open|filtered'
done
scan seen 10.81.0.1 -sA -p "$commas"
check 'nothing answers -sA' all_are seen filtered
scan seen 10.81.0.1 -sW -p "$commas"
check 'nor -sW' all_are seen filtered
scan seen 10.81.0.1 -sS -f -p "$commas"
check 'a SYN in fragments of 8 bytes goes nowhere' all_are seen filtered
for flags in SYNFIN SYNRST URGPSHFIN; do
	scan seen 10.81.0.1 -sS --scanflags $flags -p "$commas"
	check "nor one with $flags" all_are seen filtered
done
scan seen 10.81.0.1 -sS -S 10.81.0.99 -e s0 -p "$commas"
check 'an address of nobody sees nothing' all_are seen filtered
scan seen fd81::1 -6 -sS -S fd81::99 -e s0 -p "$commas"
check 'nor one of IPv6' all_are seen filtered
in_ns host "$gate" "$TMP/bpf" h0 off
done_testing
