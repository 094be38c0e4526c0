// SPDX-License-Identifier: Apache-2.0
/*
 * A virtual machine's network, for namespace tests: tap NAME of this network namespace is what the host has of it, a
 * tap eth0 in the namespace GUEST (a file) is the machine's own card. Carries frames between the two until it is ended.
 *
 *   tapguest NAME GUEST
 */
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/cleanup.h"

#define FRAME_MAX 65536

static int tap_open(const char *name)
{
	struct ifreq ifr = { .ifr_flags = IFF_TAP | IFF_NO_PI };
	auto_fd int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);

	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", name);
	return fd < 0 || ioctl(fd, TUNSETIFF, &ifr) < 0 ? -1 : take_fd(&fd);
}

/* A frame that the other side does not take is lost, as on a wire. */
static int carry(int from, int to)
{
	static char frame[FRAME_MAX];
	ssize_t n = read(from, frame, sizeof(frame));

	if (n > 0 && write(to, frame, (size_t)n) < 0)
		return 0;
	return n < 0 ? -1 : 0;
}

int main(int argc, char **argv)
{
	struct pollfd fds[2] = { { .events = POLLIN }, { .events = POLLIN } };
	int ns;

	if (argc != 3)
		return 2;
	fds[0].fd = tap_open(argv[1]);
	ns = open(argv[2], O_RDONLY | O_CLOEXEC);
	if (fds[0].fd < 0 || ns < 0 || setns(ns, CLONE_NEWNET) < 0)
		return 1;
	fds[1].fd = tap_open("eth0");
	if (fds[1].fd < 0)
		return 1;
	while (poll(fds, 2, -1) > 0)
		for (int i = 0; i < 2; i++)
			if (fds[i].revents & POLLIN && carry(fds[i].fd, fds[!i].fd) < 0 && fds[i].revents & POLLERR)
				return 1;
	return 0;
}
