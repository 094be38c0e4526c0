// SPDX-License-Identifier: Apache-2.0
#include "nl.h"

#include <errno.h>
#include <linux/netlink.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>

#define ANSWER_S 5

int ov_nl_open(struct ov_nl *nl, int bus, struct err *e)
{
	struct timeval limit = { .tv_sec = ANSWER_S };
	struct mnl_socket *sock;
	int on = 1, code;

	sock = mnl_socket_open2(bus, SOCK_CLOEXEC);
	if (!sock)
		return err_at(e, -errno, "netlink", "no socket: %s", strerror(errno));
	if (mnl_socket_bind(sock, 0, MNL_SOCKET_AUTOPID) < 0 ||
	    setsockopt(mnl_socket_get_fd(sock), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) < 0) {
		code = -errno;
		mnl_socket_close(sock);
		return err_at(e, code, "netlink", "no socket: %s", strerror(-code));
	}
	/* the kernel's own words, without our request repeated; an older kernel only lacks them */
	mnl_socket_setsockopt(sock, NETLINK_EXT_ACK, &on, sizeof(on));
	mnl_socket_setsockopt(sock, NETLINK_CAP_ACK, &on, sizeof(on));
	*nl = (struct ov_nl){ .sock = sock, .seq = (uint32_t)time(NULL) };
	return 0;
}

void ov_nl_fini(struct ov_nl *nl)
{
	if (nl->sock)
		mnl_socket_close(nl->sock);
	nl->sock = NULL;
}

bool ov_nl_bytes(const struct nlattr *attr, void *dst, size_t n)
{
	if (mnl_attr_get_payload_len(attr) != n)
		return false;
	memcpy(dst, mnl_attr_get_payload(attr), n);
	return true;
}

bool ov_nl_text(const struct nlattr *attr, char *dst, size_t size)
{
	size_t len = strnlen(mnl_attr_get_payload(attr), mnl_attr_get_payload_len(attr));

	if (len >= size)
		return false;
	memcpy(dst, mnl_attr_get_payload(attr), len);
	dst[len] = '\0';
	return true;
}

/* An acknowledgement or a refusal; its text follows the capped request header. */
static int answer_code(const struct nlmsghdr *nlh, const char *what, struct err *e)
{
	const struct nlmsgerr *answer = mnl_nlmsg_get_payload(nlh);
	const struct nlattr *attr;
	char text[160] = "";

	if (mnl_nlmsg_get_payload_len(nlh) < sizeof(*answer))
		return err_at(e, -EPROTO, what, "the kernel's answer is cut short");
	if (!answer->error)
		return 0;
	if ((nlh->nlmsg_flags & NLM_F_ACK_TLVS) && (nlh->nlmsg_flags & NLM_F_CAPPED))
		mnl_attr_for_each(attr, nlh, sizeof(*answer)) if (mnl_attr_get_type(attr) == NLMSGERR_ATTR_MSG)
			ov_nl_text(attr, text, sizeof(text));
	return err_at(e, answer->error, what, "%s%s%s", strerror(-answer->error), text[0] ? ": " : "", text);
}

struct talk {
	uint32_t seq;
	ov_nl_cb cb;
	void *data;
	const char *what;
	struct err *e;
	bool torn; /* NLM_F_DUMP_INTR was seen */
	bool done;
};

/* One received buffer. 0 or the code of the refusal; t->done when nothing follows. */
static int take(struct talk *t, const void *buf, int len)
{
	const struct nlmsghdr *nlh;
	int rc = 0;

	for (nlh = buf; mnl_nlmsg_ok(nlh, len) && !rc && !t->done; nlh = mnl_nlmsg_next(nlh, &len)) {
		if (nlh->nlmsg_seq != t->seq)
			continue;
		t->torn |= nlh->nlmsg_flags & NLM_F_DUMP_INTR;
		if (nlh->nlmsg_type == NLMSG_ERROR || nlh->nlmsg_type == NLMSG_DONE)
			t->done = true;
		if (nlh->nlmsg_type == NLMSG_ERROR)
			rc = answer_code(nlh, t->what, t->e);
		else if (nlh->nlmsg_type >= NLMSG_MIN_TYPE && t->cb)
			rc = t->cb(nlh, t->data);
	}
	return rc;
}

int ov_nl_talk(struct ov_nl *nl, struct nlmsghdr *req, ov_nl_cb cb, void *data, const char *what, struct err *e)
{
	struct talk t = { .seq = ++nl->seq, .cb = cb, .data = data, .what = what, .e = e };
	char buf[OV_NL_BUF] __attribute__((aligned(NLMSG_ALIGNTO)));
	ssize_t n;
	int rc = 0;

	req->nlmsg_seq = t.seq;
	req->nlmsg_flags |= NLM_F_REQUEST | ((req->nlmsg_flags & NLM_F_DUMP) == NLM_F_DUMP ? 0 : NLM_F_ACK);
	if (mnl_socket_sendto(nl->sock, req, req->nlmsg_len) < 0)
		return err_at(e, -errno, what, "request not sent: %s", strerror(errno));
	while (!t.done && !rc) {
		n = mnl_socket_recvfrom(nl->sock, buf, sizeof(buf));
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_at(e, errno == EAGAIN ? -ETIMEDOUT : -errno, what, "no answer: %s", strerror(errno));
		rc = take(&t, buf, (int)n);
	}
	explicit_bzero(buf, sizeof(buf)); /* a WireGuard dump carries the private key */
	return rc ? rc : t.torn ? -EINTR : 0;
}
