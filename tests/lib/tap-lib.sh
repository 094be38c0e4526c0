# shellcheck shell=sh
# SPDX-License-Identifier: Apache-2.0
# Results of scripts that look for places where something does not hold.
tap_n=0

# $1 what holds, $2 the places where it does not
tap() {
	tap_n=$((tap_n + 1))
	if [ -z "$2" ]; then
		echo "ok $tap_n - $1"
	else
		echo "not ok $tap_n - $1"
		echo "$2"
	fi
}

skip() { # WHAT WHY
	tap_n=$((tap_n + 1))
	echo "ok $tap_n - $1 # SKIP $2"
}

# Each of these must be able to find something: to be asked where there is a fault for each.
tap_planted() { # WHAT COMMAND...
	tap_what=$1 tap_blind=
	shift
	for rule; do
		[ -n "$($rule)" ] || tap_blind="$tap_blind $rule"
	done
	tap "$tap_what" "$tap_blind"
}
