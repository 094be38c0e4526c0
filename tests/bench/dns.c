// SPDX-License-Identifier: Apache-2.0
/*
 * The daemon's dns process with the names of many nodes, on two loopback sockets, until standard input ends. Prints
 * "ready". usage: dns PORT NODES
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/listen.h"
#include "baileyd/ipc.h"
#include "baileyd/msg.h"
#include "baileyd/role.h"
#include "../lib/bench.h"

#define NOBODY 65534

static void nothing(struct ipc_msg *msg, void *arg)
{
	(void)msg, (void)arg;
}

static void ended(void *arg)
{
	(void)arg;
	fprintf(stderr, "the dns process ended\n");
	exit(1);
}

/* It ends when the other end of its channel is gone: no copy of that may stay here. */
static void child(const int fds[2])
{
	close(fds[0]);
	if (dup2(fds[1], IPC_CHILD_FD) < 0)
		_exit(1);
	if (fds[1] != IPC_CHILD_FD)
		close(fds[1]);
	_exit(role_dns(NOBODY, NOBODY));
}

static void send_listener(struct ipc *ipc, const struct ip_endpoint *at)
{
	struct msg_dns_listen m = { .from = DNS_FROM_LOCAL };
	struct sockaddr_storage ss;
	socklen_t len = endpoint_to_sockaddr(at, &ss);
	auto_fd int fd = socket(ss.ss_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	bench_must(fd < 0 || bind(fd, (struct sockaddr *)&ss, len) < 0 ? -errno : 0, NULL, "socket");
	ipc_send(ipc, MSG_DNS_LISTEN, &m, sizeof(m), fd);
}

static void send_names(struct ipc *ipc, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		struct dns_node node = { .n_addrs = 1, .until = INT64_MAX, .since = i };
		char text[ADDR_TEXT];

		memcpy(node.instance_id, &i, sizeof(i));
		snprintf(node.node, sizeof(node.node), "node-%u", i);
		snprintf(text, sizeof(text), "100.64.%u.%u", i >> 8, i & 255);
		bench_must(addr_parse(&node.addrs[0], text) ? 0 : -EINVAL, NULL, "address");
		ipc_send(ipc, MSG_DNS_NODE, &node, sizeof(node), -1);
	}
}

int main(int argc, char **argv)
{
	struct msg_dns_conf conf = { .zone = { .suffix = "dstack.internal", .self = "node-0", .ttl = 5 } };
	struct event_base *base = event_base_new();
	struct ip_endpoint at;
	struct ipc *ipc;
	char text[ENDPOINT_TEXT];
	struct pollfd in = { .fd = STDIN_FILENO, .events = POLLIN };
	int fds[2];

	snprintf(text, sizeof(text), "127.0.0.1:%s", argc == 3 ? argv[1] : "");
	if (argc != 3 || !endpoint_parse(&at, text)) {
		fprintf(stderr, "usage: dns PORT NODES\n");
		return 2;
	}
	bench_must(ipc_pair(fds), NULL, "messages");
	if (!fork())
		child(fds);
	close(fds[1]);
	bench_must(ipc_new(base, fds[0], nothing, ended, NULL, &ipc), NULL, "messages");
	ipc_send(ipc, MSG_DNS_CONF, &conf, sizeof(conf), -1);
	send_listener(ipc, &at);
	send_names(ipc, (unsigned)atoi(argv[2]));
	printf("ready\n");
	fflush(stdout);
	while (poll(&in, 1, 10) == 0)
		event_base_loop(base, EVLOOP_NONBLOCK);
	return 0;
}
