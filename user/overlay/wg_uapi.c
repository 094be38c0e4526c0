// SPDX-License-Identifier: Apache-2.0
#include "wg_uapi.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/clock.h"

#define TALK_MS 5000

const char *ov_uapi_path(char buf[static 64], const char *name)
{
	snprintf(buf, 64, OV_UAPI_DIR "/%s.sock", name);
	return buf;
}

int ov_uapi_connect(const char *name, int *fd)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	auto_fd int s = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	char path[64];

	if (s < 0)
		return -errno;
	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s", ov_uapi_path(path, name));
	if (connect(s, (struct sockaddr *)&sa, sizeof(sa)) < 0)
		return -errno;
	*fd = take_fd(&s);
	return 0;
}

int ov_uapi_is_foreign(int fd)
{
	struct stat ours, theirs;
	struct ucred cred;
	socklen_t len = sizeof(cred);
	char path[64];

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0)
		return 0;
	snprintf(path, sizeof(path), "/proc/%d/ns/net", (int)cred.pid);
	if (stat("/proc/self/ns/net", &ours) < 0 || stat(path, &theirs) < 0)
		return 0;
	return ours.st_ino != theirs.st_ino || ours.st_dev != theirs.st_dev;
}

static int wait_for(int fd, short events, int64_t deadline_ms)
{
	struct pollfd p = { .fd = fd, .events = events };
	int64_t left = deadline_ms - clock_ms(CLOCK_MONOTONIC);
	int n;

	if (left <= 0)
		return -ETIMEDOUT;
	n = poll(&p, 1, (int)left);
	if (n < 0 && errno != EINTR)
		return -errno;
	return n == 0 ? -ETIMEDOUT : 0;
}

static int send_all(int fd, const uint8_t *data, size_t len, int64_t deadline_ms)
{
	ssize_t n;
	int rc;

	while (len) {
		n = send(fd, data, len, MSG_NOSIGNAL);
		if (n < 0 && errno != EAGAIN && errno != EINTR)
			return -errno;
		if (n > 0) {
			data += n;
			len -= (size_t)n;
			continue;
		}
		rc = wait_for(fd, POLLOUT, deadline_ms);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static bool is_whole(const struct out *got)
{
	return got->len >= 2 && !memcmp(got->data + got->len - 2, "\n\n", 2);
}

static int recv_answer(int fd, struct out *got, int64_t deadline_ms)
{
	uint8_t part[4096];
	ssize_t n;
	int rc;

	while (!is_whole(got)) {
		n = recv(fd, part, sizeof(part), 0);
		if (n < 0 && errno != EAGAIN && errno != EINTR)
			return -errno;
		if (n == 0)
			return -ECONNRESET;
		if (n < 0) {
			rc = wait_for(fd, POLLIN, deadline_ms);
			if (rc < 0)
				return rc;
			continue;
		}
		out_bytes(got, part, (size_t)n);
		if (!out_ok(got))
			return -ENOMEM;
		if (got->len > OV_UAPI_MAX)
			return -EMSGSIZE;
	}
	explicit_bzero(part, sizeof(part));
	return 0;
}

static void wipe(struct out *out)
{
	if (out->data)
		explicit_bzero(out->data, out->len);
	out_fini(out);
}

/* One request, one answer. */
static int talk(const char *name, const struct out *request, struct ov_device *dev, struct err *e)
{
	auto_call(wipe) struct out got = { 0 };
	int64_t deadline_ms = clock_ms(CLOCK_MONOTONIC) + TALK_MS;
	auto_fd int fd = -1;
	char path[64];
	int rc;

	ov_uapi_path(path, name);
	rc = ov_uapi_connect(name, &fd);
	if (!rc)
		rc = send_all(fd, request->data, request->len, deadline_ms);
	if (!rc)
		rc = recv_answer(fd, &got, deadline_ms);
	if (rc < 0)
		return err_at(e, rc, path, "no answer from the userspace WireGuard: %s", strerror(-rc));
	return ov_uapi_parse((char *)got.data, got.len, path, dev, e);
}

int ov_uapi_get(const char *name, struct ov_device *dev, struct err *e)
{
	static const char get[] = "get=1\n\n";
	const struct out request = { .data = (uint8_t *)get, .len = strlen(get) };

	return talk(name, &request, dev, e);
}

int ov_uapi_set(const char *name, const struct ov_device *want, const struct ov_diff *diff, struct err *e)
{
	auto_call(wipe) struct out request = { 0 };
	struct ov_device none = { 0 };
	int rc;

	ov_uapi_print_set(&request, want, diff);
	if (!out_ok(&request))
		return -ENOMEM;
	rc = talk(name, &request, &none, e);
	ov_device_fini(&none);
	return rc;
}
