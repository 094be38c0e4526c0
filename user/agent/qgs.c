// SPDX-License-Identifier: Apache-2.0
/* The host's quoting service (Intel's QGS): a TDREPORT out, a quote back. */
#include "qgs.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <linux/vm_sockets.h>

#include "base/buf.h"
#include "internal.h"

#define QGS_TIMEOUT_S 30
#define QGS_HEADER    16
#define QGS_GET_QUOTE 0
#define QGS_QUOTE     1

/* "vsock:CID:PORT" or the path of a Unix socket. */
static int qgs_address(const char *text, struct sockaddr_storage *ss, socklen_t *len, struct err *e)
{
	struct sockaddr_vm *vm = (struct sockaddr_vm *)ss;
	struct sockaddr_un *un = (struct sockaddr_un *)ss;
	unsigned cid, port;
	char end;

	*ss = (struct sockaddr_storage){ 0 };
	if (sscanf(text, "vsock:%u:%u%c", &cid, &port, &end) == 2) {
		*vm = (struct sockaddr_vm){ .svm_family = AF_VSOCK, .svm_cid = cid, .svm_port = port };
		*len = sizeof(*vm);
		return 0;
	}
	if (text[0] != '/' || strlen(text) >= sizeof(un->sun_path))
		return err_at(e, -EINVAL, text, "is neither vsock:CID:PORT nor the path of a socket");
	un->sun_family = AF_UNIX;
	memcpy(un->sun_path, text, strlen(text) + 1);
	*len = sizeof(*un);
	return 0;
}

static int qgs_connect(const char *text, struct err *e)
{
	const struct timeval wait = { .tv_sec = QGS_TIMEOUT_S };
	struct sockaddr_storage ss;
	auto_fd int fd = -1;
	socklen_t len;
	int ret = qgs_address(text, &ss, &len, e);

	if (ret < 0)
		return ret;
	fd = socket(ss.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait)) < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof(wait)) < 0 ||
	    connect(fd, (struct sockaddr *)&ss, len) < 0)
		return err_at(e, -errno, text, "quoting service: %s", strerror(errno));
	return take_fd(&fd);
}

static int send_all(int fd, const uint8_t *p, size_t n)
{
	while (n) {
		ssize_t sent = send(fd, p, n, MSG_NOSIGNAL);

		if (sent < 0)
			return -errno;
		p += sent;
		n -= (size_t)sent;
	}
	return 0;
}

static int receive_all(int fd, uint8_t *p, size_t n)
{
	while (n) {
		ssize_t got = recv(fd, p, n, 0);

		if (got <= 0)
			return got < 0 ? -errno : -ECONNRESET;
		p += got;
		n -= (size_t)got;
	}
	return 0;
}

static int qgs_ask(int fd, const uint8_t report[AG_TDREPORT_LEN])
{
	auto_out struct out out = { 0 };
	uint32_t size = QGS_HEADER + 8 + AG_TDREPORT_LEN;

	out_u32be(&out, size);
	out_u16le(&out, 1); /* version 1.0 */
	out_u16le(&out, 0);
	out_u32le(&out, QGS_GET_QUOTE);
	out_u32le(&out, size);
	out_u32le(&out, 0); /* no error */
	out_u32le(&out, AG_TDREPORT_LEN);
	out_u32le(&out, 0); /* any quoting enclave */
	out_bytes(&out, report, AG_TDREPORT_LEN);
	return out_ok(&out) ? send_all(fd, out.data, out.len) : -ENOMEM;
}

/* The sizes are the host's word: each must fit what is there. */
static int qgs_answer(struct in in, const char *where, uint8_t **quote, size_t *len, struct err *e)
{
	uint16_t major, minor;
	uint32_t type, size, error, id_len, quote_len;
	size_t total = in.left;
	const uint8_t *id, *bytes;

	if (!in_u16le(&in, &major) || !in_u16le(&in, &minor) || !in_u32le(&in, &type) || !in_u32le(&in, &size) ||
	    !in_u32le(&in, &error) || major != 1 || type != QGS_QUOTE || size != total)
		return err_at(e, -EBADMSG, where, "quoting service answers something else than a quote");
	if (error)
		return err_at(e, -EREMOTEIO, where, "quoting service refuses with error 0x%x", error);
	if (!in_u32le(&in, &id_len) || !in_u32le(&in, &quote_len) || !in_ref(&in, &id, id_len) ||
	    !in_ref(&in, &bytes, quote_len) || in.left || !quote_len)
		return err_at(e, -EBADMSG, where, "quoting service's answer has sizes that do not fit");
	*quote = malloc(quote_len);
	if (!*quote)
		return err_at(e, -ENOMEM, where, "out of memory");
	memcpy(*quote, bytes, quote_len);
	*len = quote_len;
	return 0;
}

int ag_qgs_quote(const char *where, const uint8_t report[AG_TDREPORT_LEN], uint8_t **quote, size_t *len, struct err *e)
{
	auto_fd int fd = qgs_connect(where, e);
	auto_free uint8_t *answer = NULL;
	uint8_t prefix[4];
	struct in in = in_of(prefix, sizeof(prefix));
	uint32_t size;
	int ret;

	if (fd < 0)
		return e->code;
	ret = qgs_ask(fd, report);
	if (!ret)
		ret = receive_all(fd, prefix, sizeof(prefix));
	if (ret < 0)
		return err_at(e, ret, where, "quoting service: %s", strerror(-ret));
	if (!in_u32be(&in, &size) || size < QGS_HEADER || size > AG_QUOTE_MAX)
		return err_at(e, -EBADMSG, where, "quoting service announces %u bytes, the limit is %d", size,
			      AG_QUOTE_MAX);
	answer = malloc(size);
	ret = answer ? receive_all(fd, answer, size) : -ENOMEM;
	if (ret < 0)
		return err_at(e, ret, where, "quoting service: %s", strerror(-ret));
	return qgs_answer(in_of(answer, size), where, quote, len, e);
}

bool ag_qgs_is_address(const char *text, struct err *e)
{
	struct sockaddr_storage ss;
	socklen_t len;

	return qgs_address(text, &ss, &len, e) == 0;
}
