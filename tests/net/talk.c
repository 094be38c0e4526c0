// SPDX-License-Identifier: Apache-2.0
/*
 * A peer to talk to, for namespace tests.
 *
 *   talk echo PORT                 serves TCP and UDP on both families, until it is ended
 *   talk ask tcp|udp ADDR PORT     0: what was said came back within 3 s
 *   talk hold ADDR PORT            one TCP connection: says each line of standard input, prints what comes back
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/addr.h"
#include "base/cleanup.h"

#define WAIT_MS 3000
#define GONE_MS                                                                                                        \
	2000 /* a peer that the firewall cut off acknowledges nothing: its connection must not hold up the others */
#define FDS_MAX   64
#define LISTENERS 2 /* fds[0] TCP, fds[1] UDP, connections after them */

/* Of an answer: an emulated machine takes its time (lib.sh). */
static int patience(void)
{
	const char *text = getenv("PATIENCE");

	return text ? atoi(text) : 1;
}

static int wait_ms(void)
{
	return WAIT_MS * patience();
}

static int open_socket(const char *addr, unsigned port, int type, struct sockaddr_storage *ss, socklen_t *len)
{
	struct ip_endpoint e = { .port = (uint16_t)port };

	if (!addr_parse(&e.addr, addr))
		return -1;
	*len = endpoint_to_sockaddr(&e, ss);
	return socket(ss->ss_family, type | SOCK_CLOEXEC, 0);
}

static int serve(unsigned port, int type)
{
	struct sockaddr_storage ss;
	int one = 1;
	socklen_t len;
	int fd = open_socket("::", port, type, &ss, &len); /* v6 sockets take v4 too */

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0 ||
	    bind(fd, (struct sockaddr *)&ss, len) < 0 || (type == SOCK_STREAM && listen(fd, 16) < 0)) {
		perror("talk");
		return -1;
	}
	return fd;
}

static void answer_udp(int fd)
{
	struct sockaddr_storage from;
	socklen_t len = sizeof(from);
	char buf[2048];
	ssize_t n = recvfrom(fd, buf, sizeof(buf), 0, (struct sockaddr *)&from, &len);

	if (n > 0)
		(void)!sendto(fd, buf, (size_t)n, 0, (struct sockaddr *)&from, len);
}

/* false: the connection is over */
static bool answer_tcp(int fd)
{
	char buf[2048];
	ssize_t n = read(fd, buf, sizeof(buf));

	return n > 0 && write(fd, buf, (size_t)n) == n;
}

static int accept_peer(int listener)
{
	unsigned ms = GONE_MS * (unsigned)patience();
	int fd = accept(listener, NULL, NULL);

	(void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &ms, sizeof(ms));
	return fd;
}

static int echo(unsigned port)
{
	struct pollfd fds[FDS_MAX] = { { .fd = serve(port, SOCK_STREAM), .events = POLLIN },
				       { .fd = serve(port, SOCK_DGRAM), .events = POLLIN } };
	nfds_t n = LISTENERS;

	while (fds[0].fd >= 0 && fds[1].fd >= 0 && poll(fds, n, -1) > 0) {
		for (nfds_t i = n; i-- > LISTENERS;) {
			if (fds[i].revents && !answer_tcp(fds[i].fd)) {
				close(fds[i].fd);
				fds[i] = fds[--n];
			}
		}
		if (fds[1].revents)
			answer_udp(fds[1].fd);
		if (fds[0].revents && n < FDS_MAX)
			fds[n++] = (struct pollfd){ .fd = accept_peer(fds[0].fd), .events = POLLIN };
	}
	return 1;
}

static int dial(const char *addr, unsigned port, int type)
{
	struct pollfd p = { .events = POLLOUT };
	struct sockaddr_storage ss;
	int error = 0;
	socklen_t len, size = sizeof(error);

	p.fd = open_socket(addr, port, type | SOCK_NONBLOCK, &ss, &len);
	if (p.fd < 0 || (connect(p.fd, (struct sockaddr *)&ss, len) < 0 && errno != EINPROGRESS))
		return -1;
	if (poll(&p, 1, wait_ms()) != 1 || getsockopt(p.fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0 || error)
		return -1;
	return p.fd;
}

static int ask(const char *addr, unsigned port, int type)
{
	struct pollfd p = { .fd = dial(addr, port, type), .events = POLLIN };
	char got[16];

	if (p.fd < 0 || write(p.fd, "hello", 5) != 5 || poll(&p, 1, wait_ms()) != 1)
		return 1;
	return read(p.fd, got, sizeof(got)) == 5 ? 0 : 1;
}

static int hold(const char *addr, unsigned port)
{
	struct pollfd p[2] = { { .fd = dial(addr, port, SOCK_STREAM), .events = POLLIN },
			       { .fd = STDIN_FILENO, .events = POLLIN } };
	char buf[2048];

	while (p[0].fd >= 0 && poll(p, 2, -1) > 0) {
		for (int i = 0; i < 2; i++) {
			ssize_t n = p[i].revents ? read(p[i].fd, buf, sizeof(buf)) : 0;

			if (p[i].revents && (n <= 0 || write(i ? p[0].fd : STDOUT_FILENO, buf, (size_t)n) != n))
				return 1;
		}
	}
	return 1;
}

int main(int argc, char **argv)
{
	unsigned port = 0;

	if (argc < 3 || sscanf(argv[argc - 1], "%u", &port) != 1 || !port || port > 65535)
		return 2;
	if (strcmp(argv[1], "echo") == 0)
		return echo(port);
	if (strcmp(argv[1], "ask") == 0 && argc == 5)
		return ask(argv[3], port, strcmp(argv[2], "udp") == 0 ? SOCK_DGRAM : SOCK_STREAM);
	if (strcmp(argv[1], "hold") == 0 && argc == 4)
		return hold(argv[2], port);
	return 2;
}
