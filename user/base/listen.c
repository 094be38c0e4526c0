// SPDX-License-Identifier: Apache-2.0
#include "listen.h"

#include <errno.h>
#include <string.h>

#include "cleanup.h"

#define BACKLOG 128

int tcp_listen(const struct ip_endpoint *at, const char *where, struct err *e)
{
	struct sockaddr_storage ss;
	socklen_t len = endpoint_to_sockaddr(at, &ss);
	auto_fd int fd = socket(ss.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	char text[ENDPOINT_TEXT];
	int one = 1;

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0 ||
	    bind(fd, (struct sockaddr *)&ss, len) < 0 || listen(fd, BACKLOG) < 0)
		return err_at(e, -errno, where, "can not listen on %s: %s", endpoint_print(at, text), strerror(errno));
	return take_fd(&fd);
}
