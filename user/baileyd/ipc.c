// SPDX-License-Identifier: Apache-2.0
#include "ipc.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"

struct pending {
	TAILQ_ENTRY(pending) link;
	size_t len;
	int fd;
	uint8_t bytes[]; /* the type in host order, then the payload */
};

struct ipc {
	int fd;
	struct event *readable, *writable;
	TAILQ_HEAD(, pending) queue;
	size_t n_queued;
	ipc_fn fn;
	ipc_down_fn down;
	void *arg;
	bool *freed; /* set while callbacks run, so that ipc_free() inside one is seen */
};

int ipc_pair(int fds[2])
{
	return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) < 0 ? -errno : 0;
}

static void pending_free(struct pending *p)
{
	if (p->fd >= 0)
		close(p->fd);
	free(p);
}

/* 0, or -EAGAIN when the socket is full. */
static int send_now(int sock, struct iovec *part, size_t n_parts, int fd)
{
	char control[CMSG_SPACE(sizeof(int))] = { 0 };
	struct msghdr m = { .msg_iov = part, .msg_iovlen = n_parts };
	struct cmsghdr *c;

	if (fd >= 0) {
		m.msg_control = control;
		m.msg_controllen = sizeof(control);
		c = CMSG_FIRSTHDR(&m);
		*c = (struct cmsghdr){ .cmsg_len = CMSG_LEN(sizeof(int)),
				       .cmsg_level = SOL_SOCKET,
				       .cmsg_type = SCM_RIGHTS };
		memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	}
	while (sendmsg(sock, &m, MSG_NOSIGNAL) < 0)
		if (errno != EINTR)
			return -errno;
	return 0;
}

static void on_writable(evutil_socket_t sock, short what, void *arg)
{
	struct ipc *ipc = arg;
	struct pending *p;

	(void)what;
	while ((p = TAILQ_FIRST(&ipc->queue))) {
		struct iovec all = { .iov_base = p->bytes, .iov_len = p->len };
		int ret = send_now(sock, &all, 1, p->fd);

		if (ret == -EAGAIN)
			return;
		/* another failure shows at the reading side as the end of the channel */
		TAILQ_REMOVE(&ipc->queue, p, link);
		ipc->n_queued--;
		pending_free(p);
	}
	event_del(ipc->writable);
}

/* Without the queue, where nothing waits in it: what is said now is not held up by what its sender does next. */
static int post(int sock, uint16_t type, const void *data, size_t len, int fd)
{
	struct iovec part[] = { { .iov_base = &type, .iov_len = sizeof(type) },
				{ .iov_base = (void *)data, .iov_len = len } };

	return send_now(sock, part, len ? 2 : 1, fd);
}

int ipc_send(struct ipc *ipc, uint16_t type, const void *data, size_t len, int fd)
{
	struct pending *p;

	if (len > IPC_MAX)
		return -EMSGSIZE;
	if (!ipc->n_queued && post(ipc->fd, type, data, len, fd) == 0)
		return 0;
	if (ipc->n_queued >= IPC_QUEUE_MAX)
		return -ENOBUFS;
	p = malloc(sizeof(*p) + sizeof(type) + len);
	if (!p)
		return -ENOMEM;
	p->len = sizeof(type) + len;
	p->fd = fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 0);
	memcpy(p->bytes, &type, sizeof(type));
	if (len)
		memcpy(p->bytes + sizeof(type), data, len);
	TAILQ_INSERT_TAIL(&ipc->queue, p, link);
	if (!ipc->n_queued++)
		event_add(ipc->writable, NULL);
	return 0;
}

/* The first descriptor of the message; others, which our side never sends, are closed. */
static int take_rights(struct msghdr *m)
{
	int got = -1, fd;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t i = 0; CMSG_LEN((i + 1) * sizeof(int)) <= c->cmsg_len; i++) {
			memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(fd));
			if (got < 0)
				got = fd;
			else
				close(fd);
		}
	}
	return got;
}

/* 1: one message was delivered, 0: none is there, negative: the channel is finished. */
static int receive_one(struct ipc *ipc)
{
	_Alignas(8) static uint8_t buf[8 + IPC_MAX];
	char control[CMSG_SPACE(4 * sizeof(int))];
	/* the payload begins at buf + 8, aligned for any structure */
	struct iovec iov = { .iov_base = buf + 6, .iov_len = sizeof(buf) - 6 };
	struct msghdr m = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)
	};
	struct ipc_msg msg = { .data = buf + 8 };
	ssize_t n = recvmsg(ipc->fd, &m, MSG_CMSG_CLOEXEC);

	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	msg.fd = take_rights(&m);
	if (n < (ssize_t)sizeof(msg.type) || (m.msg_flags & (MSG_TRUNC | MSG_CTRUNC))) {
		close_at(&msg.fd);
		return n ? -EPROTO : -EPIPE;
	}
	memcpy(&msg.type, buf + 6, sizeof(msg.type));
	msg.len = (size_t)n - sizeof(msg.type);
	ipc->fn(&msg, ipc->arg);
	close_at(&msg.fd);
	return 1;
}

#define BATCH 64 /* messages before the loop looks at other events */

static void on_readable(evutil_socket_t sock, short what, void *arg)
{
	struct ipc *ipc = arg;
	bool freed = false;
	int ret = 1;

	(void)sock;
	(void)what;
	ipc->freed = &freed;
	for (int i = 0; i < BATCH && ret > 0; i++) {
		ret = receive_one(ipc);
		if (freed)
			return;
	}
	ipc->freed = NULL;
	if (ret >= 0)
		return;
	if (ipc->down)
		ipc->down(ipc->arg);
	else
		event_base_loopbreak(event_get_base(ipc->readable));
}

int ipc_new(struct event_base *base, int fd, ipc_fn fn, ipc_down_fn down, void *arg, struct ipc **ipc)
{
	struct ipc *made = calloc(1, sizeof(*made));

	if (!made)
		return -ENOMEM;
	*made = (struct ipc){ .fd = fd, .fn = fn, .down = down, .arg = arg };
	TAILQ_INIT(&made->queue);
	made->readable = event_new(base, fd, EV_READ | EV_PERSIST, on_readable, made);
	made->writable = event_new(base, fd, EV_WRITE | EV_PERSIST, on_writable, made);
	if (!made->readable || !made->writable || event_add(made->readable, NULL) < 0) {
		ipc_free(made);
		return -ENOMEM;
	}
	*ipc = made;
	return 0;
}

void ipc_free(struct ipc *ipc)
{
	struct pending *p;

	if (!ipc)
		return;
	if (ipc->freed)
		*ipc->freed = true;
	while ((p = TAILQ_FIRST(&ipc->queue))) {
		TAILQ_REMOVE(&ipc->queue, p, link);
		pending_free(p);
	}
	if (ipc->readable)
		event_free(ipc->readable);
	if (ipc->writable)
		event_free(ipc->writable);
	close(ipc->fd);
	free(ipc);
}

size_t ipc_queued(const struct ipc *ipc)
{
	return ipc->n_queued;
}

const void *ipc_as(const struct ipc_msg *msg, size_t size)
{
	return msg->len == size ? msg->data : NULL;
}

int ipc_blob_make(const void *data, size_t len)
{
	auto_fd int fd = memfd_create("bailey", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	size_t done = 0;

	if (fd < 0)
		return -errno;
	while (done < len) {
		ssize_t n = write(fd, (const char *)data + done, len - done);

		if (n < 0 && errno != EINTR)
			return -errno;
		done += n > 0 ? (size_t)n : 0;
	}
	if (fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) < 0)
		return -errno;
	return take_fd(&fd);
}

int ipc_blob_read(int fd, size_t max, uint8_t **data, size_t *len)
{
	auto_free uint8_t *copy = NULL;
	struct stat st;
	ssize_t n;

	if (fd < 0 || fstat(fd, &st) < 0)
		return -EBADF;
	if (st.st_size < 0 || (uint64_t)st.st_size > max)
		return -EFBIG;
	copy = malloc((size_t)st.st_size + 1);
	if (!copy)
		return -ENOMEM;
	for (off_t done = 0; done < st.st_size; done += n) {
		n = pread(fd, copy + done, (size_t)(st.st_size - done), done);
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
	}
	copy[st.st_size] = '\0';
	*data = take_ptr(copy);
	*len = (size_t)st.st_size;
	return 0;
}

int ipc_send_blob(struct ipc *ipc, uint16_t type, const void *head, size_t head_len, const void *blob, size_t len)
{
	auto_fd int fd = ipc_blob_make(blob, len);

	return fd < 0 ? fd : ipc_send(ipc, type, head, head_len, fd);
}
