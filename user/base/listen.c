// SPDX-License-Identifier: Apache-2.0
#include "listen.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "cleanup.h"

#define BACKLOG 4096 /* connections that a burst brings; the kernel's limit (somaxconn) holds as well */

static int listen_at(const struct ip_endpoint *at, bool is_early, const char *where, struct err *e)
{
	struct sockaddr_storage ss;
	socklen_t len = endpoint_to_sockaddr(at, &ss);
	auto_fd int fd = socket(ss.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	char text[ENDPOINT_TEXT];
	int one = 1;

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0 ||
	    (is_early && setsockopt(fd, IPPROTO_IP, IP_FREEBIND, &one, sizeof(one)) < 0) ||
	    bind(fd, (struct sockaddr *)&ss, len) < 0 || listen(fd, BACKLOG) < 0)
		return err_at(e, -errno, where, "can not listen on %s: %s", endpoint_print(at, text), strerror(errno));
	return take_fd(&fd);
}

int tcp_listen(const struct ip_endpoint *at, const char *where, struct err *e)
{
	return listen_at(at, false, where, e);
}

int tcp_listen_early(const struct ip_endpoint *at, const char *where, struct err *e)
{
	return listen_at(at, true, where, e);
}

static bool address_of(const char *path, struct sockaddr_un *sun)
{
	*sun = (struct sockaddr_un){ .sun_family = AF_UNIX };
	return snprintf(sun->sun_path, sizeof(sun->sun_path), "%s", path) < (int)sizeof(sun->sun_path);
}

int unix_connect(const char *path, int type)
{
	auto_fd int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
	struct sockaddr_un sun;

	if (fd >= 0 && !address_of(path, &sun))
		return -ENAMETOOLONG;
	return fd < 0 || connect(fd, (struct sockaddr *)&sun, sizeof(sun)) < 0 ? -errno : take_fd(&fd);
}

bool unix_is_served(const char *path)
{
	auto_fd int fd = unix_connect(path, SOCK_STREAM);

	return fd >= 0;
}

/* Bound with no rights, opened up when it has its mode: nobody gets in between. */
static int unix_listen_at(const char *path, int type, mode_t mode, const char *taken, struct err *e)
{
	auto_fd int fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), other = -1;
	struct sockaddr_un sun;
	mode_t old;
	int ret;

	if (fd < 0)
		return err_at(e, -errno, path, "%s", strerror(errno));
	if (!address_of(path, &sun))
		return err_at(e, -ENAMETOOLONG, path, "is longer than %zu bytes, the limit for a socket",
			      sizeof(sun.sun_path) - 1);
	other = unix_connect(path, type);
	if (other >= 0)
		return err_at(e, -EADDRINUSE, path, "%s", taken);
	unlink(path);
	old = umask(0777);
	ret = bind(fd, (struct sockaddr *)&sun, sizeof(sun)) < 0 || listen(fd, BACKLOG) < 0 || chmod(path, mode) < 0
		      ? -errno
		      : 0;
	umask(old);
	return ret ? err_at(e, ret, path, "%s", strerror(-ret)) : take_fd(&fd);
}

int unix_listen(const char *path, mode_t mode, const char *taken, struct err *e)
{
	return unix_listen_at(path, SOCK_STREAM, mode, taken, e);
}

int unix_listen_packets(const char *path, mode_t mode, const char *taken, struct err *e)
{
	return unix_listen_at(path, SOCK_SEQPACKET, mode, taken, e);
}
