#!/bin/busybox sh
# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=dash
#
# First process of a test VM, in the place of virtme-ng's own (bash, systemd-tmpfiles, udev: slow under emulation).
# virtme-ng's root is a 9p mount without a cache, so the host is mounted once more, cached, and that becomes the root.
#
# vmtest/run.sh says on the kernel's command line: vm.tree=CHECKOUT vm.out=FOLDER vm.kernel=FOLDER vm.accel=kvm|tcg
# FOLDER of vm.out has cmd, the script to run (none: a shell); its exit status goes to FOLDER/rc.
set -u
export PATH=/run/vm:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/run/home TERM=linux LANG=C.UTF-8

# By its path always: until /proc is there, busybox' shell would look for itself in /proc/self/exe for ever.
bb() {
	/bin/busybox "$@"
}

power_off() {
	bb sync
	bb poweroff -f
}

host() {
	bb mount -t 9p -o "trans=virtio,version=9p2000.L,msize=512000,cache=loose,$1" "$2" "$3"
}

enter_root() {
	bb mount -t proc proc /proc
	bb mount -t tmpfs tmpfs /run
	bb mkdir /run/root
	host ro vm.root /run/root || power_off
	cd /run/root || power_off
	bb mount --move . /
	exec /bin/busybox chroot . /bin/busybox sh "$0" inside
}

word() {
	bb sed -n "s/.* $1=\([^ ]*\).*/\1/p" /proc/cmdline
}

mount_all() {
	bb mount -t proc proc /proc
	bb mount -t sysfs sys /sys
	bb mount -t devtmpfs dev /dev
	bb mkdir -p /dev/pts /dev/shm
	bb mount -t devpts -o ptmxmode=666 devpts /dev/pts
	bb mount -t bpf bpf /sys/fs/bpf
	bb mount -t cgroup2 cgroup2 /sys/fs/cgroup
	bb mount -t tracefs tracefs /sys/kernel/tracing
	for dir in /dev/shm /run /tmp /var/lib /var/log /var/tmp; do
		bb mount -t tmpfs -o mode=1777 tmpfs $dir
	done
	bb mkdir -p /dev/net
	bb mknod /dev/net/tun c 10 200
	bb mkdir -p /run/home /run/lock /run/netns /run/vm /run/wireguard
	for link in fd:fd stdin:fd/0 stdout:fd/1 stderr:fd/2; do
		bb ln -sf "/proc/self/${link#*:}" "/dev/${link%:*}"
	done
}

# The modules lie below the checkout and the root can not be written to: a wrapper tells modprobe, for the kernel's
# own requests and, first in PATH, for everybody else's.
modules() {
	printf '#!/bin/sh\nexec /sbin/modprobe -d %s "$@"\n' "$(word vm.kernel)" >/run/vm/modprobe
	bb chmod 755 /run/vm/modprobe
	echo /run/vm/modprobe >/proc/sys/kernel/modprobe
}

# The cat makes standard output a pipe: a program that asks must not take it for a terminal.
run() {
	{
		sh "$out/cmd" </dev/null 2>&1
		echo $? >/run/rc
	} | bb cat
	bb cp /run/rc "$out/rc"
}

[ "${1:-}" = inside ] || enter_root
mount_all
modules
tree=$(word vm.tree) out=$(word vm.out)
bb mkdir -p "$tree"
host rw,access=any vm.tree "$tree" || power_off
cd "$tree" || power_off
bb hostname bailey-vm
bb ip link set lo up
if [ -e "$out/cmd" ]; then
	bb stty -F /dev/ttyS0 raw
	run >/dev/ttyS0 2>&1
else
	setsid -c bash </dev/ttyS0 >/dev/ttyS0 2>&1
fi
power_off
