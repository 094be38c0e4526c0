// SPDX-License-Identifier: Apache-2.0
/* The node's own: certificate and keys from files, a connection to the guest agent for what comes from there. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"
#include "base/text.h"
#include "agent_link.h"
#include "parent.h"

#define PEM_MAX (1 << 20)

static int read_pem(const char *path, char **text, struct err *e)
{
	size_t len;

	return file_read(path, PEM_MAX, text, &len, e);
}

int own_identity(struct parent *p, struct err *e)
{
	int ret = p->conf.agent[0] ? 0 : read_pem(p->conf.certificate, &p->cert_pem, e);

	if (!ret && !p->conf.agent[0])
		ret = read_pem(p->conf.key, &p->key_pem, e);
	if (!ret && p->conf.simulated_roots[0])
		ret = read_pem(p->conf.simulated_roots, &p->roots_pem, e);
	return ret;
}

static int write_wg_key(const char *path, const uint8_t key[OV_KEY_LEN], struct err *e)
{
	char text[BASE64_LEN(OV_KEY_LEN) + 1];
	int ret;

	base64_print(text, key, OV_KEY_LEN);
	strcat(text, "\n");
	ret = file_write(path, text, strlen(text), 0600, e);
	explicit_bzero(text, sizeof(text));
	return ret;
}

int own_wg_key(struct parent *p, struct err *e)
{
	const char *path = p->conf.wg_key;
	auto_free char *text = NULL;
	size_t len, n;

	if (access(path, F_OK) < 0 && errno == ENOENT) {
		if (ov_key_generate(p->wg_private) < 0)
			return err_at(e, -EIO, path, "no randomness for a key");
		log_info("%s: made a new WireGuard key", path);
		return write_wg_key(path, p->wg_private, e);
	}
	if (file_read(path, 128, &text, &len, e) < 0)
		return e->code;
	while (len && (text[len - 1] == '\n' || text[len - 1] == '\r'))
		len--;
	if (!base64_parse(p->wg_private, OV_KEY_LEN, &n, text, len) || n != OV_KEY_LEN)
		return err_at(e, -EINVAL, path, "needs a WireGuard private key: 44 characters of base64");
	explicit_bzero(text, len);
	return 0;
}

/* The edge may open no socket of this kind. Nothing is said here. */
void own_agent(struct parent *p, const struct msg_token *ask)
{
	struct msg_agent m = { .token = ask->token };
	auto_fd int fd = -1;

	if (p->conf.agent[0])
		fd = link_connect(p->conf.agent, &m.err);
	else
		err_at(&m.err, -ENOENT, "identity.agent", "is not configured");
	ipc_send(p->edge.ipc, MSG_EDGE_AGENT, &m, sizeof(m), fd);
}
