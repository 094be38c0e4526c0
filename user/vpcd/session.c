// SPDX-License-Identifier: Apache-2.0
/* One node's connection: its evidence, its hello, what it is granted, its record. What it is told: stream.c. */
#include <errno.h>
#include <event2/bufferevent.h>
#include <event2/bufferevent_ssl.h>
#include <openssl/err.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"
#include "front.h"
#include "identity/crypto.h"

#define OPEN_MAX_S 20  /* from accept to a grant */
#define IDLE_S     60  /* a node says PING when it has nothing to say */
#define NEW_MAX    512 /* connections that are not open yet; beyond it the listener pauses */

static struct evbuffer *output(struct session *s)
{
	return bufferevent_get_output(s->bev);
}

static struct session *session_find(struct front *f, uint64_t id)
{
	return f->by_id.n ? hash_of(hash_find(&f->by_id, &id), struct session, item) : NULL;
}

static void link_tell(struct front *f, const struct session *s, bool is_up)
{
	struct vs_msg_link m = { .is_up = is_up };

	memcpy(m.instance_id, s->who.instance_id, sizeof(m.instance_id));
	ipc_send(f->store, VS_LINK, &m, sizeof(m), -1);
}

static void new_count(struct front *f, int step)
{
	bool was_full = f->n_new >= NEW_MAX;

	f->n_new += (size_t)step;
	if (was_full != (f->n_new >= NEW_MAX))
		listening_full(&f->listening, !was_full);
}

void session_free(struct session *s)
{
	struct front *f = s->front;

	if (s->member) {
		s->member->session = NULL;
		f->stats.sessions--;
		link_tell(f, s, false);
	}
	LIST_REMOVE(s, link);
	hash_del(&f->by_id, &s->item);
	if (s->is_new)
		new_count(f, -1);
	if (s->deadline)
		event_free(s->deadline);
	if (s->bev)
		bufferevent_free(s->bev);
	free(s->have);
	free(s->record);
	free(s);
}

static void on_written_last(struct bufferevent *bev, void *arg)
{
	if (evbuffer_get_length(bufferevent_get_output(bev)) == 0)
		session_free(arg);
}

static void on_end(struct bufferevent *bev, short what, void *arg)
{
	(void)bev, (void)what;
	session_free(arg);
}

/* Says why, and hangs up when that is written. */
static void refuse(struct session *s, const struct err *e)
{
	const char *name = id_reason_name(e->reason);

	front_refused(s->front, s->who.from, e);
	s->state = SESSION_ENDING;
	vpc_send(output(s), VPC_REFUSED, name, strlen(name));
	bufferevent_disable(s->bev, EV_READ);
	bufferevent_setcb(s->bev, NULL, on_written_last, on_end, s);
}

/* --- hello --- */

static int have_take(struct session *s, struct in in, struct err *e)
{
	s->have = malloc(in.left + 1);
	if (!s->have)
		return err_at(e, -ENOMEM, s->who.from, "out of memory");
	memcpy(s->have, in.p, in.left);
	s->n_have = in.left / VPC_DIGEST;
	qsort(s->have, s->n_have, VPC_DIGEST, stream_digest_cmp);
	return 0;
}

/* "; rule may-join needs tcb UpToDate of the node, which is OutOfDate": what would have let it in. */
static void needs_print(const struct pol_answer *a, char *buf, size_t size)
{
	struct pol_lack lack[POL_LACKS_MAX];
	size_t n = pol_lacks(a, lack), len = 0;

	buf[0] = '\0';
	for (size_t i = 0; i < n && len < size; i++)
		len += (size_t)snprintf(buf + len, size - len, "%s%s%s%s %.70s of the %s, which is %.70s",
					i ? " and " : "; rule ", i ? "" : a->nearest_rule, i ? "" : " needs ",
					lack[i].claim, lack[i].needed, lack[i].is_to ? "control plane" : "node",
					lack[i].has[0] ? lack[i].has : "unknown");
}

/* The policy that is named by `admit`, asked whether this node may reach the control plane's port. */
static int admit(const struct session *s, const struct id_claims *claims, struct err *e)
{
	const struct front *f = s->front;
	struct pol_subject from = evp_subject(claims), to = evp_subject(&f->self);
	struct pol_answer answer;
	char needs[240];

	if (!claims->has_instance_id)
		return err_reason(e, ID_RECORD_IDENTITY, s->who.from, "the certificate proves no instance-id");
	pol_explain_nodes(f->loaded->admit, &from, &to, f->selector, &answer);
	if (answer.action == BY_ALLOW)
		return 0;
	needs_print(&answer, needs, sizeof(needs));
	return err_reason(e, ID_NOT_ADMITTED, s->who.from, "%s: %s of %s%s", s->who.node, answer.rung,
			  f->loaded->conf.admit, needs);
}

static int grant_ask(struct session *s, struct err *e)
{
	const struct ratls_peer *peer = ratls_peer(bufferevent_openssl_get_ssl(s->bev));
	struct vs_msg_grant m = { .id = s->id };
	int ret;

	memcpy(s->who.instance_id, peer->claims.instance_id, BY_INSTANCE_ID_LEN);
	memcpy(s->who.app_id, peer->claims.app_id, BY_APP_ID_LEN);
	s->who.is_simulated = peer->claims.is_simulated;
	ret = front_fresh(s->front, s->who.from, e);
	if (!ret)
		ret = admit(s, &peer->claims, e);
	if (ret < 0)
		return ret;
	m.who = s->who;
	s->state = SESSION_ASKED;
	return ipc_send(s->front->store, VS_GRANT, &m, sizeof(m), -1);
}

static int on_hello(struct session *s, struct in in, struct err *e)
{
	struct vpc_hello hello;
	int ret = vpc_hello_read(in, &hello, e);

	if (ret < 0)
		return ret;
	memcpy(s->who.node, hello.node, sizeof(s->who.node));
	s->heard = hello.serial;
	s->who.has_key = hello.key[0] != '\0';
	if (s->who.has_key && !id_hash(EVP_sha256(), s->who.key, hello.key, strlen(hello.key), NULL, 0))
		ret = err_at(e, -EIO, s->who.from, "can not be hashed");
	OPENSSL_cleanse(&hello, sizeof(hello));
	s->has_hello = true;
	return ret;
}

/* --- what it is granted --- */

static void grant_send(struct session *s)
{
	const struct vs_conf *conf = &s->front->loaded->conf;
	struct vpc_grant grant = { .serial = s->front->serial, .n_addrs = conf->n_pools };
	auto_free char *text = NULL;

	memcpy(grant.network, s->front->network, sizeof(grant.network));
	for (uint32_t i = 0; i < conf->n_pools; i++)
		grant.addrs[i] = vs_conf_address(conf, i, s->number);
	text = vpc_grant_text(&grant);
	if (text)
		vpc_send(output(s), VPC_GRANT, text, strlen(text));
}

/* The newer of two connections is the node: the other may be one whose end nobody has told us. */
static void session_open(struct session *s, struct member *m)
{
	if (m->session)
		session_free(m->session);
	m->session = s;
	s->member = m;
	s->state = SESSION_OPEN;
	event_del(s->deadline);
	s->is_new = false;
	new_count(s->front, -1);
	s->front->stats.sessions++;
	link_tell(s->front, s, true);
	grant_send(s);
	stream_begin(s);
}

void session_granted(struct front *f, const struct vs_msg_granted *m)
{
	struct session *s = session_find(f, m->id);
	struct err e = m->err;
	struct member *member;

	if (!s || s->state != SESSION_ASKED)
		return;
	if (m->code || front_fresh(f, s->who.from, &e) < 0) {
		refuse(s, &e);
		return;
	}
	s->number = m->number;
	member = member_get(&f->members, s->who.instance_id);
	if (member)
		session_open(s, member);
	else
		session_free(s);
}

/* --- its record --- */

static bool is_granted(const struct session *s, const struct id_record *r)
{
	const struct vs_conf *conf = &s->front->loaded->conf;

	if (r->n_addrs != conf->n_pools)
		return false;
	for (uint32_t i = 0; i < r->n_addrs; i++) {
		struct by_addr a = vs_conf_address(conf, i, s->number);

		if (!addr_equal(&r->addrs[i], &a))
			return false;
	}
	return true;
}

static void trust_of(const struct session *s, struct id_trust *trust)
{
	s->front->judge.trust(trust, s->front->judge.arg);
}

static int record_check(struct session *s, struct in in, struct id_node *node, struct err *e)
{
	const struct ratls_peer *peer = ratls_peer(bufferevent_openssl_get_ssl(s->bev));
	struct id_trust trust = { 0 };
	int ret;

	trust_of(s, &trust);
	ret = id_record_verify(in.p, in.left, &trust, node, e);
	if (ret < 0)
		return ret;
	if (memcmp(peer->claims.spki_sha256, node->claims.spki_sha256, sizeof(node->claims.spki_sha256)) != 0)
		return err_reason(e, ID_PEER_MISMATCH, s->who.from,
				  "the record of %s is signed by another key than this connection's",
				  node->record.node);
	if (strcmp(node->record.node, s->who.node) != 0)
		return err_reason(e, ID_RECORD_NAME, s->who.from, "the record's name is %s, the node said %s",
				  node->record.node, s->who.node);
	if (!is_granted(s, &node->record))
		return err_reason(e, ID_RECORD_ADDRESS, s->who.from,
				  "the record of %s has other addresses than were granted", node->record.node);
	return 0;
}

static int on_record(struct session *s, struct in in, struct err *e)
{
	struct vs_msg_publish m = { .id = s->id };
	struct id_node node;
	int ret;

	if (s->record)
		return err_reason(e, ID_SERVER_MALFORMED, s->who.from, "a record before the last one was taken");
	ret = record_check(s, in, &node, e);
	if (ret < 0)
		return ret;
	m.record = (struct vs_record){ .epoch = node.record.epoch, .not_after = node.record.not_after };
	if (node.claims.not_after < m.record.not_after)
		m.record.not_after = node.claims.not_after;
	memcpy(m.record.instance_id, s->who.instance_id, BY_INSTANCE_ID_LEN);
	memcpy(m.record.wg_key, node.record.wg_key, sizeof(m.record.wg_key));
	memcpy(m.record.digest, node.digest, sizeof(m.record.digest));
	s->record = malloc(in.left);
	if (!s->record)
		return err_at(e, -ENOMEM, s->who.from, "out of memory");
	memcpy(s->record, in.p, in.left);
	s->record_len = in.left;
	s->meta = m.record;
	ret = vs_send(s->front->store, VS_PUBLISH, &m, sizeof(m), in.p, in.left);
	return ret < 0 ? err_at(e, ret, s->who.from, "can not be handed to the store: %s", strerror(-ret)) : 0;
}

void session_published(struct front *f, const struct vs_msg_published *m)
{
	struct session *s = session_find(f, m->id);
	auto_free uint8_t *record = s ? take_ptr(s->record) : NULL;
	struct member *member;
	struct err e = m->err;

	if (m->serial > f->serial)
		f->serial = m->serial;
	if (!s || !s->member || !record)
		return; /* gone meanwhile: who joins is told from the store's row at the next start, or by its next
			   record */
	if (m->code) {
		refuse(s, &e);
		return;
	}
	member = s->member;
	vpc_send_serial(output(s), VPC_TAKEN, m->serial, NULL, 0);
	if (member->record && memcmp(member->digest, s->meta.digest, VPC_DIGEST) == 0)
		return;
	member->serial = m->serial;
	if (member_record(member, record, s->record_len) < 0)
		return;
	member->not_after = s->meta.not_after;
	memcpy(member->digest, s->meta.digest, sizeof(member->digest));
	streams_record(f, member);
}

void session_set(struct front *f, const struct vs_msg_set *m)
{
	struct member *member = member_get(&f->members, m->instance_id);
	bool was_revoked;
	struct err e = ERR_INIT;

	f->serial = m->serial > f->serial ? m->serial : f->serial;
	if (!member)
		return;
	was_revoked = member->is_revoked;
	member->is_revoked = m->is_revoked;
	member->serial = m->serial;
	if (was_revoked && !m->is_revoked)
		member->lifted = m->serial;
	if (m->is_revoked && member->session) {
		err_reason(&e, ID_RECORD_REVOKED, member->session->who.from, "%s was revoked just now",
			   member->session->who.node);
		refuse(member->session, &e);
	}
	if (was_revoked || m->is_revoked)
		streams_set(f, member);
}

/* The node itself may be connected here, still or again. */
void session_row(struct front *f, const struct member *was, struct member *m, bool is_new)
{
	struct err e = ERR_INIT;

	if (m->is_revoked && m->session) {
		err_reason(&e, ID_RECORD_REVOKED, m->session->who.from, "%s was revoked at another server",
			   m->session->who.node);
		refuse(m->session, &e);
	}
	if (m->is_revoked != was->is_revoked || m->lifted != was->lifted)
		streams_set(f, m);
	else if (is_new)
		streams_record(f, m);
}

void sessions_end(struct front *f)
{
	struct err e = ERR_INIT;
	struct session *s;

	LIST_FOREACH(s, &f->sessions, link)
	if (s->state == SESSION_OPEN && front_fresh(f, s->who.from, &e) < 0)
		refuse(s, &e);
}

/* --- frames --- */

static int on_frame(struct session *s, enum vpc_frame type, struct in in, struct err *e)
{
	if (type == VPC_HELLO && s->state == SESSION_NEW && !s->has_hello)
		return on_hello(s, in, e);
	if (type == VPC_HAVE && s->state == SESSION_NEW && s->has_hello) {
		int ret = have_take(s, in, e);

		return ret ? ret : grant_ask(s, e);
	}
	if (type == VPC_RECORD && s->state == SESSION_OPEN)
		return on_record(s, in, e);
	if (type == VPC_PING && s->state != SESSION_NEW) {
		if (s->state == SESSION_OPEN)
			stream_mark(s);
		return 0;
	}
	return err_reason(e, ID_SERVER_MALFORMED, s->who.from, "frame of type %d out of turn", type);
}

static void on_read(struct bufferevent *bev, void *arg)
{
	struct evbuffer *in = bufferevent_get_input(bev);
	struct session *s = arg;
	struct err e = ERR_INIT;
	enum vpc_frame type;
	struct in payload;
	int ret;

	while ((ret = vpc_frame_next(in, true, &type, &payload, &e)) > 0) {
		size_t len = payload.left;

		ret = on_frame(s, type, payload, &e);
		if (ret < 0)
			break;
		vpc_frame_drop(in, len);
	}
	if (ret < 0)
		refuse(s, &e);
}

static void on_event(struct bufferevent *bev, short what, void *arg)
{
	struct session *s = arg;
	const struct ratls_peer *peer = ratls_peer(bufferevent_openssl_get_ssl(bev));
	struct err e = peer->err;

	if (what & BEV_EVENT_CONNECTED)
		return;
	if (e.code)
		front_refused(s->front, s->who.from, &e);
	else if (s->state != SESSION_OPEN)
		s->front->stats.refused[ID_NONE]++;
	ERR_clear_error();
	session_free(s);
}

static void on_deadline(evutil_socket_t fd, short what, void *arg)
{
	struct session *s = arg;

	(void)fd, (void)what;
	s->front->stats.refused[ID_NONE]++;
	session_free(s);
}

static int stream_open(struct session *s, int fd, struct err *e)
{
	static const struct timeval idle = { .tv_sec = IDLE_S };
	SSL *ssl = ratls_session(&s->front->tls, true, e);

	if (!ssl)
		return e->code;
	s->bev = bufferevent_openssl_socket_new(s->front->base, fd, ssl, BUFFEREVENT_SSL_ACCEPTING,
						BEV_OPT_CLOSE_ON_FREE | BEV_OPT_DEFER_CALLBACKS);
	if (!s->bev) {
		SSL_free(ssl);
		return err_at(e, -ENOMEM, s->who.from, "out of memory");
	}
	bufferevent_openssl_set_allow_dirty_shutdown(s->bev, 1); /* frames have lengths: truncation is seen */
	bufferevent_setcb(s->bev, on_read, stream_written, on_event, s);
	bufferevent_setwatermark(s->bev, EV_READ, 0, VPC_HEAD + VPC_HAVE_MAX);
	bufferevent_set_timeouts(s->bev, &idle, &idle);
	return bufferevent_enable(s->bev, EV_READ | EV_WRITE) < 0 ? -ENOMEM : 0;
}

void session_new(struct front *f, int fd, const struct ip_endpoint *from)
{
	static const struct timeval deadline = { .tv_sec = OPEN_MAX_S };
	struct session *s = calloc(1, sizeof(*s));
	struct err e = ERR_INIT;

	if (!s) {
		close(fd);
		return;
	}
	*s = (struct session){ .front = f, .id = ++f->last_id, .from = *from };
	endpoint_print(from, s->who.from);
	f->by_id.key_len = sizeof(s->id);
	if (hash_add(&f->by_id, &s->item, &s->id) < 0) {
		free(s);
		close(fd);
		return;
	}
	LIST_INSERT_HEAD(&f->sessions, s, link);
	s->is_new = true;
	new_count(f, 1);
	f->stats.accepted++;
	s->deadline = evtimer_new(f->base, on_deadline, s);
	if (s->deadline && event_add(s->deadline, &deadline) == 0 && stream_open(s, fd, &e) == 0)
		return;
	if (!s->bev)
		close(fd);
	session_free(s);
}
