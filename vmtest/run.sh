#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Boots Debian's kernel with virtme-ng, the host's files as its root, and runs the BPF and namespace suites inside.
# usage: vmtest/run.sh KERNEL[,KERNEL]            the suites; the last line is `N passed, N failed, N skipped`
#        vmtest/run.sh KERNEL[,KERNEL] -- CMD...  a command instead; its exit status is this script's
#        vmtest/run.sh --shell KERNEL             a shell in the VM (leave it with exit)
#
# VM_ACCEL=kvm|tcg (default: kvm where a guest really runs with it) VM_CPUS=2 VM_MEM=2G VM_TIMEOUT (seconds; 1800,
# but 10800 where suites are emulated)
# What a run leaves behind is in $BUILD/vm/KERNEL: console (all output), log/ (one file a test), rc (exit status).
set -u
cd "$(dirname "$0")/.." || exit 2
build=${BUILD:-build}
no_status=130

# $1 folder of the run, $2 folder of the kernel: replaces the shell by virtme-ng; what follows --qemu-opts is QEMU's.
vng() {
	tree=$PWD out=$1 kernel=$2
	set -- -m virtme.commands.run --kimg "$kernel/vmlinux" --mods auto --force-9p --disable-microvm \
		--memory "${VM_MEM:-2G}" --cpus "${VM_CPUS:-2}"
	[ -t 0 ] || set -- "$@" --disable-monitor
	[ "$accel" = kvm ] || set -- "$@" --disable-kvm
	# The first init= is the one that virtme-ng's initramfs obeys. The rest keeps an emulated kernel from work that no
	# test gains by; with panic=-1 and -no-reboot a crash ends the VM at once.
	for word in "init=$tree/vmtest/init.sh" "vm.tree=$tree" "vm.out=$out" "vm.kernel=$kernel" "vm.accel=$accel" panic=-1 \
		mitigations=off audit=0 apparmor=0 selinux=0 nokaslr no_timer_check tsc=reliable random.trust_cpu=on \
		rcupdate.rcu_expedited=1 cryptomgr.notests net.ifnames=0; do
		set -- "$@" -a "$word"
	done
	set -- "$@" --qemu-opts -no-reboot -display none
	[ "$accel" = kvm ] || set -- "$@" -accel tcg,thread=multi -cpu max
	share=local,security_model=none,multidevs=remap
	set -- "$@" -fsdev "$share,id=vmroot,path=/,readonly=on" -device virtio-9p-pci,fsdev=vmroot,mount_tag=vm.root \
		-fsdev "$share,id=vmtree,path=$tree" -device virtio-9p-pci,fsdev=vmtree,mount_tag=vm.tree
	if [ -t 0 ]; then
		exec python3 "$@"
	fi
	exec timeout -k 10 "$limit" python3 "$@"
}

# $1 folder of the run, $2 folder of the kernel: the VM's whole life. timeout leads a process group, so that one
# signal to it ends QEMU too.
boot() {
	(vng "$1" "$2") </dev/null 2>&1 &
	vm=$!
	trap 'kill $vm 2>/dev/null' INT TERM HUP
	wait $vm
	trap - INT TERM HUP
}

# $1 kernel, $2 folder of the run: runs $2/cmd, streams its output, leaves its exit status in $2/rc.
in_vm() {
	rm -rf "$2/rc" "$2/console" "$2/log"
	mkdir -p "$2/log"
	folder=$(vmtest/kernel.sh "$1") || return
	boot "$2" "$folder" | tee "$2/console"
	[ -s "$2/rc" ] || echo $no_status >"$2/rc"
}

# A KVM that opens may still crash its guests: only a guest that ran to its end proves it. Asked once a boot.
choose_accel() {
	accel=${VM_ACCEL:-}
	[ -z "$accel" ] || return 0
	verdict=build/cache/accel-$(cat /proc/sys/kernel/random/boot_id)
	if [ ! -e "$verdict" ]; then
		accel=tcg
		if [ -w /dev/kvm ]; then
			accel=kvm limit=20
			mkdir -p "$build/vm/probe"
			echo true >"$build/vm/probe/cmd"
			in_vm "${1%%,*}" "$PWD/$build/vm/probe" >/dev/null
			[ "$(cat "$build/vm/probe/rc")" = 0 ] || accel=tcg
		fi
		rm -f build/cache/accel-*
		echo $accel >"$verdict"
	fi
	accel=$(cat "$verdict")
}

# $1 folder of the run. The VM's tests log below the run's folder: a run on the host may be using the usual one.
suites_cmd() {
	cat <<-EOF
		export BUILD=$build ONLY='${ONLY:-}' TEST_TIMEOUT=${TEST_TIMEOUT:-1800} OTHER_KERNEL=1
		mkdir -p $build/tests/log
		mount --bind $1/log $build/tests/log
		vmtest/smoke.sh
		a=\$?
		RELOADS=100 AGAIN=${AGAIN:-0} tests/run.sh bpf net
		b=\$?
		exit \$((a | b))
	EOF
}

# $1 kernel, $2 folder of the run: adds what the console's closing lines say to passed, failed and skipped. A VM
# that ended without a status, or with one that its lines do not explain, is a failure of its own.
add_counts() {
	rc=$(cat "$2/rc")
	# shellcheck disable=SC2046
	set -- "$1" $(sed -n 's/^\([0-9]*\) passed, \([0-9]*\) failed, \([0-9]*\) skipped$/\1 \2 \3/p' "$2/console" |
		awk '{ p += $1; f += $2; s += $3 } END { print p + 0, f + 0, s + 0 }')
	if [ "$rc" != 0 ] && [ "$3" = 0 ]; then
		set -- "$1" "$2" 1 "$4"
		[ "$rc" = $no_status ] && why='the VM ended without a status' || why="exit status $rc"
		echo "failed  vm-$1: $why"
	fi
	[ "$many" = 0 ] || echo "$1: $2 passed, $3 failed, $4 skipped"
	passed=$((passed + $2)) failed=$((failed + $3)) skipped=$((skipped + $4))
}

run_suites() {
	passed=0 failed=0 skipped=0
	[ "$accel" = kvm ] || limit=${VM_TIMEOUT:-10800} # all of them are an hour and more there
	case $1 in *,*) many=1 ;; *) many=0 ;; esac
	for kernel in $(echo "$1" | tr , ' '); do
		run=$PWD/$build/vm/$kernel
		mkdir -p "$run"
		suites_cmd "$run" >"$run/cmd"
		echo "kernel $kernel ($accel)"
		# the closing lines of the suites inside are not this script's
		in_vm "$kernel" "$run" | sed -u '/^[0-9]* passed, [0-9]* failed, [0-9]* skipped$/d'
		add_counts "$kernel" "$run"
	done
	if [ -d "$build/verifier" ]; then
		echo 'instructions that the verifier walked, of 1000000 (budget 25 %), by program and kernel:'
		(cd "$build/verifier" && awk '{ printf "  %-34s %s\n", FILENAME, $0 }' ./*)
	fi
	echo "$passed passed, $failed failed, $skipped skipped"
	[ $failed = 0 ] && [ $passed -gt 0 ]
}

# Each word of the command in quotes, as the guest's shell will read it.
quote() {
	for word; do
		printf "'%s' " "$(printf '%s' "$word" | sed "s/'/'\\\\''/g")"
	done
}

run_command() {
	kernels=$1 status=0
	shift
	for kernel in $(echo "$kernels" | tr , ' '); do
		run=$PWD/$build/vm/$kernel-command
		mkdir -p "$run"
		quote "$@" >"$run/cmd"
		in_vm "$kernel" "$run"
		[ "$(cat "$run/rc")" = 0 ] || status=$(cat "$run/rc")
	done
	return "$status"
}

shell=0
[ "${1:-}" != --shell ] || { shell=1; shift; }
kernels=${1:-6.12}
[ $# = 0 ] || shift
PYTHONPATH=$(vmtest/virtme.sh) || exit 1
export PYTHONPATH PYTHONDONTWRITEBYTECODE=1
choose_accel "$kernels"
limit=${VM_TIMEOUT:-1800}
if [ $shell = 1 ]; then
	run=$PWD/$build/vm/shell
	mkdir -p "$run"
	folder=$(vmtest/kernel.sh "$kernels") || exit 1
	(vng "$run" "$folder")
elif [ "${1:-}" = -- ]; then
	shift
	run_command "$kernels" "$@"
elif [ $# = 0 ]; then
	run_suites "$kernels"
else
	echo "usage: vmtest/run.sh [--shell] KERNEL[,KERNEL] [-- CMD...]" >&2
	exit 2
fi
