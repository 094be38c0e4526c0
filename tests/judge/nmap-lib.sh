# shellcheck shell=sh
# SPDX-License-Identifier: Apache-2.0
# What nmap finds against what a policy says. Who sources this sets
#	scan_from  the namespace that nmap runs in
#	list       the ports, in words
#	quiet      those that nobody listens on
#	allowed PROTO/PORT   a function: the policy allows it

# scan NAME TARGET OPTION...: $TMP/NAME has a line for each port.
scan() {
	scan_name=$1 scan_target=$2
	shift 2
	in_ns "$scan_from" nmap -Pn -n --disable-arp-ping -T4 --max-retries 2 --max-rtt-timeout 400ms --send-ip -oX "$TMP/xml" "$@" \
		"$scan_target" >"$TMP/nmap" 2>&1 || sed 's/^/# /' "$TMP/nmap"
	# shellcheck disable=SC2086,SC2154
	/usr/bin/python3 tests/judge/nmap_states.py $list <"$TMP/xml" >"$TMP/$scan_name"
}

# want PROTO ALLOWED ALLOWED-BUT-QUIET DENIED: $TMP/want, by what explain says.
want() {
	for p in $list; do
		if allowed "$1/$p" >/dev/null; then
			# shellcheck disable=SC2154
			case " $quiet " in *" $p "*) echo "$p $3" ;; *) echo "$p $2" ;; esac
		else
			echo "$p $4"
		fi
	done >"$TMP/want"
}

# as_wanted NAME
# shellcheck disable=SC2317 # called through check
as_wanted() { diff "$TMP/want" "$TMP/$1" >"$TMP/diff" || { sed 's/^/# /' "$TMP/diff"; return 1; }; }

# all_are NAME STATE
# shellcheck disable=SC2317
all_are() { [ "$(sort -u -k2 "$TMP/$1" | cut -d' ' -f2-)" = "$2" ] || { sed 's/^/# /' "$TMP/$1"; return 1; }; }
