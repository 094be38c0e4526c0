// SPDX-License-Identifier: Apache-2.0
/*
 * The key process: private keys, and signatures for the workers. It reads messages of fixed size, the key that the
 * parent read from a file, and the answers of the guest agent, which has made the key; nothing that came over the
 * network.
 */
#include "role.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/ssl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "baileyd/box.h"
#include "baileyd/proc.h"
#include "baileyd/source.h"
#include "identity/x509.h"
#include "msg.h"

#define PEM_MAX (1 << 20)

struct keys {
	struct event_base *base;
	struct ipc *parent;
	struct sign_ring *ring;
	struct md_key_conf conf;
	bool has_conf;
	struct agent_link *link;
	struct source *source;
	uint32_t last;
};

static void tell_failed(const struct err *err, void *arg)
{
	struct msg_refused m = { .origin = "agent", .err = *err };
	struct keys *k = arg;

	ipc_send(k->parent, MSG_EDGE_REFUSED, &m, sizeof(m), -1);
}

static void on_pem(struct keys *k, struct ipc_msg *msg)
{
	const struct md_number *m = ipc_as(msg, sizeof(*m));
	struct md_key_ready ready = { 0 };
	uint8_t *pem = NULL;
	size_t len;

	if (!m || ipc_blob_read(msg->fd, PEM_MAX, &pem, &len) < 0)
		return;
	ready.number = k->last = m->n;
	ready.code = sign_ring_add(k->ring, m->n, (char *)pem, ready.spki, &ready.err);
	OPENSSL_cleanse(pem, len);
	free(pem);
	ipc_send(k->parent, MD_KEY_READY, &ready, sizeof(ready), -1);
}

/* --- from the agent --- */

static int end_of(const char *cert, int64_t *until, struct err *e)
{
	X509 *x509[16];
	struct tm tm;
	int n = id_x509_from_pem(cert, strlen(cert), x509, ARRAY_LEN(x509));
	bool ok = n > 0 && ASN1_TIME_to_tm(X509_get0_notAfter(x509[0]), &tm) == 1;

	for (int i = 0; i < n; i++)
		X509_free(x509[i]);
	if (!ok)
		return err_at(e, -EBADMSG, "agent", "answers a certificate that can not be read");
	*until = timegm(&tm);
	return 0;
}

static int take_identity(char *cert, char *key, int64_t *until, struct err *e, void *arg)
{
	struct keys *k = arg;
	struct md_key_ready ready = { .number = k->last + 1 };
	int ret = end_of(cert, until, e);

	if (!ret)
		ret = sign_ring_add(k->ring, ready.number, key, ready.spki, e);
	if (!ret && ipc_send_blob(k->parent, MD_KEY_READY, &ready, sizeof(ready), cert, strlen(cert)) < 0)
		ret = err_at(e, -EIO, "agent", "can not hand the certificate on");
	if (ret < 0)
		return ret;
	k->last = ready.number;
	free(cert);
	id_secret_free(key);
	return 0;
}

static void on_conf(struct keys *k, const struct md_key_conf *conf)
{
	struct source_conf source = {
		.base = k->base, .subject = k->conf.subject, .take = take_identity, .failed = tell_failed, .arg = k
	};
	struct err e = ERR_INIT;

	if (!conf)
		return;
	if (!k->has_conf)
		k->last = conf->last;
	k->has_conf = true;
	k->conf = *conf;
	msg_terminate(k->conf.subject);
	source_free(k->source);
	k->source = NULL;
	if (!conf->has_agent)
		return;
	source.link = k->link;
	source.is_legacy = conf->agent_is_legacy;
	source.life_s = conf->agent_life_s;
	source.without_quote = !conf->with_quote;
	if (source_new(&source, &k->source, &e) < 0)
		tell_failed(&e, k);
}

/* --- the process --- */

static void on_message(struct ipc_msg *msg, void *arg)
{
	struct keys *k = arg;
	const struct md_number *refused;
	const struct msg_agent *agent;

	switch (msg->type) {
	case MD_KEY_CONF:
		on_conf(k, ipc_as(msg, sizeof(struct md_key_conf)));
		break;
	case MD_KEY_PEM:
		on_pem(k, msg);
		break;
	case MD_KEY_FORGET:
		if ((refused = ipc_as(msg, sizeof(*refused))))
			sign_ring_forget(k->ring, refused->n);
		break;
	case MD_KEY_LINK:
		if (msg->fd >= 0)
			sign_ring_serve(k->ring, take_fd(&msg->fd));
		break;
	case MSG_EDGE_AGENT:
		if ((agent = ipc_as(msg, sizeof(*agent))))
			link_socket(k->link, agent, &msg->fd);
		break;
	default:
		log_err("message of unknown type %u", msg->type);
	}
}

static int open_all(struct keys *k, struct err *e)
{
	int ret;

	OPENSSL_init_ssl(OPENSSL_INIT_NO_LOAD_CONFIG, NULL);
	k->base = event_base_new();
	if (!k->base)
		return -ENOMEM;
	ret = ipc_new(k->base, IPC_CHILD_FD, on_message, NULL, k, &k->parent);
	if (!ret)
		ret = sign_ring_new(k->base, &k->ring, e);
	return ret ? ret : link_new(k->base, k->parent, &k->link, e);
}

int md_role_key(uid_t uid, gid_t gid)
{
	struct keys k = { 0 };
	struct err e = ERR_INIT;
	int ret = open_all(&k, &e);

	if (!ret)
		ret = box_signer(uid, gid, &e);
	ret = proc_serve(k.base, ret, &e);
	source_free(k.source);
	link_free(k.link);
	sign_ring_free(k.ring);
	ipc_free(k.parent);
	if (k.base)
		event_base_free(k.base);
	return ret;
}
