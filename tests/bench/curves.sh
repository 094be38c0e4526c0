#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Draws the points that benchmarks wrote (bench_point()): one picture a curve, one line a contender.
# usage: tests/bench/curves.sh DIRECTORY-OF-POINTS DIRECTORY-OF-PICTURES
set -u
points=$1
to=$2
command -v gnuplot >/dev/null || exit 1

# $1 curve, $2 title, $3 x axis, $4 y axis
draw() {
	lines=
	for f in "$points/$1".*.dat; do
		[ -s "$f" ] || continue
		who=${f#"$points/$1."}
		lines="$lines${lines:+, }'$f' smooth unique with linespoints linewidth 2 pointtype 7 pointsize 0.4 title '${who%.dat}'"
	done
	[ -n "$lines" ] || return 0
	gnuplot <<-END
		set terminal svg size 720,400 font "sans-serif,12" background "white"
		set output "$to/$1.svg"
		set title "$2"
		set xlabel "$3"
		set ylabel "$4"
		set logscale xy
		set grid
		set key outside bottom center maxcols 1
		plot $lines
	END
	sed -i 's/[[:blank:]]*$//' "$to/$1.svg" # git and tests/check/style.sh want none
}

draw program 'The program alone' 'n' 'ns a packet'
draw frames 'The same frames into one veth, generator included' 'rules, elements or addresses' 'ns a frame'
draw load 'Loading n rules and n identities' 'n' 'seconds'
draw update 'One more among n' 'identities; elements of a set' 'ms'
draw host 'The host program alone' 'rules and prefixes; addresses of xdp-filter' 'ns a packet'
draw bytes 'Memory of one among n' 'n' 'bytes'
draw flood 'TCP_RR under four times the flood that halves the bare host' 'rules and prefixes' 'share that is kept'
