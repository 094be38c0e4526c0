// SPDX-License-Identifier: Apache-2.0
/*
 * The front process: what strangers send is parsed here and nowhere else. It has the key of its own certificate, no
 * file and no capability. It serves once it has a certificate and the store has told all.
 */
#include "front.h"

#include <errno.h>
#include <event2/buffer.h>
#include <openssl/crypto.h>
#include <string.h>
#include <sys/resource.h>

#include "api.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "baileyd/box.h"
#include "baileyd/msg.h"

#define API_ANSWER_MAX (16u << 20)
#define FORGET_EACH_S  60
#define MARK_MS        50 /* changes that come together are one step for the nodes that remember it */
#define SUBJECT        "bailey-vpc"

static void trust_now(struct id_trust *trust, void *arg)
{
	const struct front *f = arg;

	*trust = evp_trust_now(&f->loaded->evidence);
}

void front_refused(struct front *f, const char *from, const struct err *e)
{
	f->stats.refused[e->reason > 0 && e->reason < ID_REASON_COUNT ? e->reason : ID_NONE]++;
	log_limited(LOG_WARN, "refused %s: %s%s%s", from, e->reason ? id_reason_name(e->reason) : "",
		    e->reason ? ": " : "", e->msg);
}

/* --- listening --- */

static void on_accept(int fd, const struct sockaddr *sa, void *arg)
{
	struct ip_endpoint from;

	if (endpoint_from_sockaddr(&from, sa))
		session_new(arg, fd, &from);
	else
		close(fd);
}

static void serve(struct front *f)
{
	struct err e = ERR_INIT;

	if (!f->has_self || !f->is_told || f->listening.ev)
		return;
	f->listening.what = "nodes";
	f->listening.accepted = on_accept;
	f->listening.arg = f;
	if (listening_start(&f->listening, f->base, f->listener_fd, &e) < 0) {
		log_err("%s: %s", e.where, e.msg);
		event_base_loopbreak(f->base);
		return;
	}
	log_info("serves %zu nodes", f->members.n);
}

/* --- who we are --- */

/* Takes nothing over. The evidence is judged as nodes will: one that they would refuse is told here. */
static int identity_use(struct front *f, const char *cert, const char *key, struct err *e)
{
	struct ratls made = { 0 };
	struct id_claims claims;
	struct id_trust trust;
	int ret;

	trust_now(&trust, f);
	ret = id_cert_verify_pem(cert, strlen(cert), &trust, &claims, e);
	if (ret < 0)
		return err_wrap(e, "own certificate");
	ret = ratls_init(&made, &f->judge, cert, key, e);
	if (ret < 0) {
		ratls_fini(&made);
		return ret;
	}
	ratls_fini(&f->tls); /* sessions under way hold it */
	f->tls = made;
	f->self = claims;
	f->has_self = true;
	f->stats.own_until = claims.not_after;
	if (claims.is_simulated)
		log_warn("the control plane's evidence is SIMULATED: it proves nothing about hardware");
	serve(f);
	return 0;
}

static int identity_take(char *cert, char *key, int64_t *until, struct err *e, void *arg)
{
	struct front *f = arg;
	int ret = identity_use(f, cert, key, e);

	*until = f->self.not_after;
	if (ret < 0)
		return ret;
	OPENSSL_cleanse(key, strlen(key));
	free(key);
	free(cert);
	return 0;
}

static void identity_failed(const struct err *e, void *arg)
{
	char text[600];

	(void)arg;
	log_limited(LOG_WARN, "%s", err_text(e, text, sizeof(text)));
}

static int identity_start(struct front *f, struct err *e)
{
	const struct vs_conf *conf = &f->loaded->conf;
	const char *name = strrchr(conf->agent, '/');
	struct source_conf source = { .base = f->base,
				      .subject = SUBJECT,
				      .is_legacy = name && strcmp(name, "/tappd.sock") == 0,
				      .life_s = conf->agent_life_s,
				      .take = identity_take,
				      .failed = identity_failed,
				      .arg = f };
	int ret;

	if (!conf->agent[0])
		return identity_use(f, f->loaded->cert_pem, f->loaded->key_pem, e);
	ret = link_new(f->base, f->parent, &f->link, e);
	source.link = f->link;
	return ret ? ret : source_new(&source, &f->source, e);
}

/* --- the other processes --- */

static void row_take(struct front *f, const struct vs_row *row, const uint8_t *bytes, size_t len)
{
	struct member *m = member_get(&f->members, row->who.instance_id), was;
	bool is_new;

	if (!m)
		return;
	was = *m;
	m->is_revoked = row->state == VS_REVOKED;
	m->serial = row->serial;
	m->lifted = row->lifted;
	m->not_after = row->record.not_after;
	is_new = len && (!m->record || memcmp(m->digest, row->record.digest, VPC_DIGEST) != 0) &&
		 member_record(m, bytes, len) == 0;
	memcpy(m->digest, row->record.digest, sizeof(m->digest));
	if (!len)
		m->not_after = 0; /* what front has of it is no more */
	if (f->is_told)
		session_row(f, &was, m, is_new);
	else if (is_new)
		members_list(&f->members, m);
}

/* --- how long what is known may be relied on; with a file for ever --- */

int front_fresh(const struct front *f, const char *from, struct err *e)
{
	return vs_clock_ms() < f->fresh_until ? 0
					      : err_reason(e, ID_SERVER_STALE, from,
							   "etcd has not answered for "
							   "%d s",
							   VS_LEASE_S);
}

/* By this process's own clock: neither a store that hangs nor an etcd that is cut off can put it off. */
static void stale_watch(struct front *f)
{
	int64_t left = f->fresh_until - vs_clock_ms();
	struct timeval at = { .tv_sec = left / 1000, .tv_usec = left % 1000 * 1000 };

	if (f->fresh_until == INT64_MAX)
		return;
	if (left > 0)
		event_add(f->stale, &at);
	else
		sessions_end(f);
}

static void on_stale(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what;
	stale_watch(arg);
}

static void on_ready(struct front *f, const struct vs_msg_ready *m)
{
	memcpy(f->network, m->network, sizeof(f->network));
	if (f->is_told && m->serial != f->serial)
		front_mark_soon(f);
	f->serial = m->serial;
	f->fresh_until = m->fresh_until;
	f->is_told = true;
	stale_watch(f);
	serve(f);
}

static void on_api_done(struct front *f, struct ipc_msg *msg)
{
	struct vs_msg_api_done m;
	auto_free uint8_t *copy = NULL;
	const uint8_t *body = (const uint8_t *)msg->data + sizeof(m);
	size_t len;

	if (msg->len < sizeof(m))
		return;
	memcpy(&m, msg->data, sizeof(m));
	len = msg->len - sizeof(m);
	if (msg->fd >= 0 && ipc_blob_read(msg->fd, API_ANSWER_MAX, &copy, &len) < 0)
		return; /* the connection ends by its clock */
	api_done(f->api, &m, (const char *)(copy ? copy : body), len);
}

static void on_store(struct ipc_msg *msg, void *arg)
{
	auto_free uint8_t *copy = NULL;
	struct front *f = arg;
	const uint8_t *bytes;
	const void *m;
	size_t len;

	if (msg->type == VS_ROW && vs_take(msg, sizeof(struct vs_row), &bytes, &len, &copy))
		row_take(f, msg->data, bytes, len);
	else if (msg->type == VS_READY && (m = ipc_as(msg, sizeof(struct vs_msg_ready))))
		on_ready(f, m);
	else if (msg->type == VS_GRANTED && (m = ipc_as(msg, sizeof(struct vs_msg_granted))))
		session_granted(f, m);
	else if (msg->type == VS_PUBLISHED && (m = ipc_as(msg, sizeof(struct vs_msg_published))))
		session_published(f, m);
	else if (msg->type == VS_SET && (m = ipc_as(msg, sizeof(struct vs_msg_set))))
		session_set(f, m);
	else if (msg->type == VS_API_DONE && f->api)
		on_api_done(f, msg);
}

static void on_parent(struct ipc_msg *msg, void *arg)
{
	struct front *f = arg;
	const void *m;

	if (msg->type == MSG_EDGE_AGENT && f->link && (m = ipc_as(msg, sizeof(struct msg_agent))))
		link_socket(f->link, m, &msg->fd);
}

static void on_second(evutil_socket_t fd, short what, void *arg)
{
	struct front *f = arg;

	(void)fd, (void)what;
	if (++f->n_seconds % FORGET_EACH_S == 0)
		streams_forget(f);
	f->stats.accept_failed = f->listening.n_failed + (f->api ? api_accept_failed(f->api) : 0);
	ipc_send(f->store, VS_STATS, &f->stats, sizeof(f->stats), -1);
}

static void on_mark(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what;
	streams_mark(arg);
}

void front_mark_soon(struct front *f)
{
	static const struct timeval soon = { .tv_usec = MARK_MS * 1000 };

	if (!event_pending(f->mark, EV_TIMEOUT, NULL))
		event_add(f->mark, &soon);
}

/* --- start --- */

/* Each node is a descriptor. */
static void many_descriptors(void)
{
	struct rlimit l;

	if (getrlimit(RLIMIT_NOFILE, &l) == 0) {
		l.rlim_cur = l.rlim_max;
		setrlimit(RLIMIT_NOFILE, &l);
	}
}

static int timers(struct front *f, struct err *e)
{
	static const struct timeval second = { .tv_sec = 1 };

	f->mark = evtimer_new(f->base, on_mark, f);
	f->stale = evtimer_new(f->base, on_stale, f);
	f->each_second = event_new(f->base, -1, EV_PERSIST, on_second, f);
	if (!f->mark || !f->stale || !f->each_second || event_add(f->each_second, &second) < 0)
		return err_at(e, -ENOMEM, "front", "out of memory");
	return 0;
}

static int start(struct front *f, uid_t uid, gid_t gid, const struct vs_front_fds *fd, struct err *e)
{
	char text[16];
	int ret;

	many_descriptors();
	/* what a library opens lazily must be open before the box closes */
	OPENSSL_init_ssl(OPENSSL_INIT_NO_LOAD_CONFIG, NULL);
	snprintf(text, sizeof(text), "tcp/%u", f->loaded->conf.listen.port);
	f->base = event_base_new();
	if (!f->base || !pol_selector_parse(text, &f->selector, e))
		return err_at(e, -ENOMEM, "front", "out of memory");
	ret = timers(f, e);
	if (!ret)
		ret = box_edge(uid, gid, e);
	if (!ret && (ipc_new(f->base, fd->store, on_store, NULL, f, &f->store) < 0 ||
		     ipc_new(f->base, fd->parent, on_parent, NULL, f, &f->parent) < 0))
		ret = err_at(e, -ENOMEM, "front", "out of memory");
	if (!ret && fd->api >= 0)
		ret = api_new(f, fd->api, fd->mesh, &f->api, e);
	return ret ? ret : identity_start(f, e);
}

int vs_front(struct vs_loaded *loaded, uid_t uid, gid_t gid, const struct vs_front_fds *fd)
{
	struct front f = { .loaded = loaded, .listener_fd = fd->listener };
	struct err e = ERR_INIT;
	int ret;

	TAILQ_INIT(&f.members.changes);
	f.judge = (struct ratls){ .trust = trust_now, .arg = &f, .alpn = VPC_ALPN };
	ret = start(&f, uid, gid, fd, &e);
	if (ret < 0)
		return vs_failed("front", ret, &e);
	event_base_dispatch(f.base);
	return 1; /* one of the others is gone; the parent ends and starts all */
}
