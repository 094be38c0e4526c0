// SPDX-License-Identifier: Apache-2.0
#include "exchange.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/bufferevent_ssl.h>
#include <openssl/err.h>
#include <openssl/rand.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "internal.h"

#define FRAME_HEAD  5
#define REFUSAL_MAX 64

enum frame { FRAME_RECORD = 1, FRAME_REFUSAL, FRAME_CHALLENGE, FRAME_PROOF };

static void own_drop(struct own_record *own)
{
	if (own && --own->refs == 0)
		free(own);
}

/* --- sessions --- */

void session_free(struct session *s)
{
	struct mx *mx = s->mx;

	LIST_REMOVE(s, link);
	mx->n_sessions--;
	if (s->dial)
		dial_later(s->dial, s->went_well);
	if (s->deadline)
		event_free(s->deadline);
	if (s->bev)
		bufferevent_free(s->bev);
	own_drop(s->own);
	free(s);
	accept_settle(mx);
}

static void session_refuse(struct session *s, const struct err *e, bool is_remote)
{
	s->mx->conf.refused(s->origin, e, is_remote, s->mx->conf.arg);
}

static void frame_send(struct session *s, uint8_t type, const void *data, size_t len)
{
	uint8_t head[FRAME_HEAD] = { type, (uint8_t)(len >> 24), (uint8_t)(len >> 16), (uint8_t)(len >> 8),
				     (uint8_t)len };
	struct evbuffer *out = bufferevent_get_output(s->bev);

	evbuffer_add(out, head, sizeof(head));
	evbuffer_add(out, data, len);
}

static void record_send(struct session *s)
{
	frame_send(s, FRAME_RECORD, s->own->bytes, s->own->len);
	s->has_sent = true;
}

static void refusal_send(struct session *s, const struct err *e)
{
	const char *name = id_reason_name(e->reason);

	frame_send(s, FRAME_REFUSAL, name, strlen(name));
}

/* Nothing more is read; what is still to be written goes out, then the session ends. */
static void session_finish(struct session *s)
{
	s->is_done = true;
	bufferevent_disable(s->bev, EV_READ);
	if (evbuffer_get_length(bufferevent_get_output(s->bev)) == 0)
		session_free(s);
}

/* --- freshness --- */

static SSL *ssl_of(struct session *s)
{
	return bufferevent_openssl_get_ssl(s->bev);
}

static void session_end(struct session *s, const struct err *e)
{
	session_refuse(s, e, false);
	refusal_send(s, e);
	session_finish(s);
}

static void challenge_send(struct session *s)
{
	struct err e = ERR_INIT;

	s->challenge[0] = (uint8_t)s->mx->conf.fresh;
	if (RAND_bytes(s->challenge + 1, FRESH_RANDOM_LEN) == 1) {
		frame_send(s, FRAME_CHALLENGE, s->challenge, sizeof(s->challenge));
		return;
	}
	err_at(&e, -EIO, s->origin, "no randomness for a challenge");
	session_refuse(s, &e, false);
	session_free(s);
}

/* The dialler's turn comes when both sides have proved themselves. */
static void record_try(struct session *s)
{
	if (s->dial && s->is_fresh && s->has_proved && !s->has_sent)
		record_send(s);
}

static bool proof_send(struct session *s, enum id_fresh level, struct in attestation)
{
	auto_out struct out proof = { 0 };
	struct err e = ERR_INIT;

	if (!fresh_prove(ssl_of(s), &s->own_fresh, level, attestation, &proof)) {
		err_at(&e, -EIO, s->origin, "no proof of freshness can be made");
		session_refuse(s, &e, false);
		session_free(s);
		return false;
	}
	frame_send(s, FRAME_PROOF, proof.data, proof.len);
	s->has_proved = true;
	record_try(s);
	return true;
}

/* What the peer demands. A node whose TEE is out of reach proves its key, and the peer says whether that will do. */
static bool on_challenge(struct session *s, const uint8_t *data)
{
	struct err e = ERR_INIT;

	if (s->was_challenged || data[0] >= ID_FRESH_COUNT ||
	    !fresh_bind(ssl_of(s), true, s->dial != NULL, data, &s->own_fresh)) {
		err_reason(&e, ID_FRESH_MALFORMED, s->origin, "a second challenge, or one of an unknown level");
		session_end(s, &e);
		return false;
	}
	s->was_challenged = true;
	s->token = ++s->mx->last_token;
	if (data[0] < ID_FRESH_QUOTE)
		return proof_send(s, data[0], in_of(NULL, 0));
	if (s->mx->conf.quote && s->mx->conf.quote(s->token, s->own_fresh.report_data, s->mx->conf.arg) == 0)
		return true; /* mx_quoted() goes on */
	return proof_send(s, ID_FRESH_KEY, in_of(NULL, 0));
}

void mx_quoted(struct mx *mx, uint64_t token, const uint8_t *attestation, size_t len)
{
	struct session *s;

	LIST_FOREACH(s, &mx->sessions, link)
	if (s->token == token && s->was_challenged && !s->has_proved && !s->is_done)
		break;
	if (s)
		proof_send(s, len ? ID_FRESH_QUOTE : ID_FRESH_KEY, in_of(attestation, len));
}

static bool on_proof(struct session *s, const uint8_t *data, size_t len)
{
	const struct ratls_peer *peer = ratls_peer(ssl_of(s));
	struct id_trust trust = { 0 };
	struct err e = ERR_INIT;
	struct fresh fresh;

	s->mx->conf.trust(&trust, s->mx->conf.arg);
	if (s->is_fresh || !fresh_bind(ssl_of(s), false, s->dial == NULL, s->challenge, &fresh))
		err_reason(&e, ID_FRESH_MALFORMED, s->origin, "a second proof");
	else
		fresh_check(ssl_of(s), &fresh, s->mx->conf.fresh, in_of(data, len), &trust, &peer->claims, &e);
	if (e.code) {
		session_end(s, &e);
		return false;
	}
	s->is_fresh = true;
	record_try(s);
	return true;
}

/* --- records --- */

/* The peer's own record: verified by itself, and signed by the key that this connection proved. */
static int record_take(struct session *s, const uint8_t *data, size_t len, struct err *e)
{
	const struct ratls_peer *peer = ratls_peer(bufferevent_openssl_get_ssl(s->bev));
	struct id_trust trust = { 0 };
	struct id_node node;
	int ret;

	s->mx->conf.trust(&trust, s->mx->conf.arg);
	ret = id_record_verify(data, len, &trust, &node, e);
	if (ret < 0)
		return ret;
	if (!peer->is_verified ||
	    memcmp(peer->claims.spki_sha256, node.claims.spki_sha256, sizeof(node.claims.spki_sha256)))
		return err_reason(e, ID_PEER_MISMATCH, s->origin,
				  "the record of %s is signed by another key than this connection's", node.record.node);
	node.claims.fresh = s->mx->conf.fresh;
	node.claims.fresh_at = trust.now;
	return s->mx->conf.node(&node, data, len, s->origin, e, s->mx->conf.arg);
}

static void on_record(struct session *s, const uint8_t *data, size_t len)
{
	struct err e = ERR_INIT;
	int ret;

	if (s->is_fresh && s->has_proved)
		ret = record_take(s, data, len, &e);
	else
		ret = err_reason(&e, ID_FRESH_MISSING, s->origin, "a record came before the proof of freshness");
	if (ret < 0)
		session_refuse(s, &e, false);
	s->went_well = ret == 0;
	if (!s->has_sent) {
		if (ret == 0)
			record_send(s);
		else
			refusal_send(s, &e);
	}
	session_finish(s);
}

/* Only names of our own table are repeated: what a stranger wrote does not reach a log. */
static void on_refusal(struct session *s, const uint8_t *data, size_t len)
{
	struct err e = ERR_INIT;
	int reason = id_reason_of((const char *)data, len);

	err_reason(&e, reason, s->origin, "the peer refused our record: %s",
		   reason ? id_reason_text(reason) : "for a reason that this version does not know");
	session_refuse(s, &e, true);
	session_finish(s);
}

static bool frame_bound(uint8_t type, size_t len)
{
	static const size_t max[] = { [FRAME_RECORD] = ID_RECORD_MAX,
				      [FRAME_REFUSAL] = REFUSAL_MAX,
				      [FRAME_CHALLENGE] = FRESH_CHALLENGE_LEN,
				      [FRAME_PROOF] = FRESH_PROOF_MAX };

	return type >= FRAME_RECORD && type < ARRAY_LEN(max) && len > 0 && len <= max[type] &&
	       (type != FRAME_CHALLENGE || len == FRESH_CHALLENGE_LEN);
}

/* false: the session is at its end. */
static bool frame_take(struct session *s, uint8_t type, const uint8_t *data, size_t len)
{
	switch (type) {
	case FRAME_CHALLENGE:
		return on_challenge(s, data);
	case FRAME_PROOF:
		return on_proof(s, data, len);
	case FRAME_RECORD:
		on_record(s, data, len);
		return false;
	default:
		on_refusal(s, data, len);
		return false;
	}
}

/* The next whole frame, if it is there. */
static bool frame_next(struct session *s, struct evbuffer *in)
{
	struct err e = ERR_INIT;
	uint8_t head[FRAME_HEAD];
	const uint8_t *frame;
	size_t len;

	if (evbuffer_copyout(in, head, sizeof(head)) < (ssize_t)sizeof(head))
		return false;
	len = (size_t)head[1] << 24 | (size_t)head[2] << 16 | (size_t)head[3] << 8 | head[4];
	if (!frame_bound(head[0], len)) {
		err_reason(&e, ID_RECORD_MALFORMED, s->origin, "frame of type %u with %zu bytes", head[0], len);
		session_refuse(s, &e, false);
		session_free(s);
		return false;
	}
	if (evbuffer_get_length(in) < FRAME_HEAD + len)
		return false;
	frame = evbuffer_pullup(in, (ssize_t)(FRAME_HEAD + len));
	if (!frame || !frame_take(s, head[0], frame + FRAME_HEAD, len))
		return false;
	evbuffer_drain(in, FRAME_HEAD + len);
	return true;
}

static void on_read(struct bufferevent *bev, void *arg)
{
	struct session *s = arg;

	while (!s->is_done && frame_next(s, bufferevent_get_input(bev)))
		;
}

static void on_written(struct bufferevent *bev, void *arg)
{
	struct session *s = arg;

	/* the call may be about an earlier frame */
	if (s->is_done && evbuffer_get_length(bufferevent_get_output(bev)) == 0)
		session_free(s);
}

static void on_event(struct bufferevent *bev, short what, void *arg)
{
	struct session *s = arg;
	struct err e = ERR_INIT;

	if (what & BEV_EVENT_CONNECTED) {
		challenge_send(s);
		return;
	}
	if (!s->went_well && !s->is_done) {
		ratls_explain_end(bev, s->origin, "closed by the peer", &e);
		session_refuse(s, &e, false);
	}
	ERR_clear_error();
	session_free(s);
}

/* Long enough for the peer's TEE, where a quote is demanded of it or of us. */
static unsigned session_max_s(const struct mx *mx)
{
	return MX_SESSION_MAX_S + mx->conf.budget_s;
}

static void on_deadline(evutil_socket_t fd, short what, void *arg)
{
	struct session *s = arg;
	struct err e = ERR_INIT;

	(void)fd, (void)what;
	if (!s->went_well) {
		err_at(&e, -ETIMEDOUT, s->origin, "no %s within %u s", s->is_fresh ? "record" : "proof of freshness",
		       session_max_s(s->mx));
		session_refuse(s, &e, false);
	}
	session_free(s);
}

static int session_bufferevent(struct session *s, int fd, struct err *e)
{
	bool is_server = !s->dial;
	SSL *ssl = ratls_session(&s->mx->ratls, is_server, e);

	if (!ssl)
		return -ENOMEM;
	s->bev = bufferevent_openssl_socket_new(s->mx->conf.base, fd, ssl,
						is_server ? BUFFEREVENT_SSL_ACCEPTING : BUFFEREVENT_SSL_CONNECTING,
						BEV_OPT_CLOSE_ON_FREE | BEV_OPT_DEFER_CALLBACKS);
	if (!s->bev) {
		SSL_free(ssl);
		return err_at(e, -ENOMEM, s->origin, "out of memory");
	}
	bufferevent_openssl_set_allow_dirty_shutdown(s->bev, 1); /* frames have lengths: truncation is seen */
	bufferevent_setcb(s->bev, on_read, on_written, on_event, s);
	bufferevent_setwatermark(s->bev, EV_READ, 0, FRAME_HEAD + ID_RECORD_MAX);
	return bufferevent_enable(s->bev, EV_READ | EV_WRITE) < 0 ? -ENOMEM : 0;
}

struct session *session_new(struct mx *mx, struct dial *dial, int fd, const struct ip_endpoint *peer)
{
	struct timeval deadline = { .tv_sec = session_max_s(mx) };
	struct session *s = calloc(1, sizeof(*s));
	struct err e = ERR_INIT;

	if (!s) {
		if (fd >= 0)
			close(fd);
		return NULL;
	}
	s->mx = mx;
	s->dial = dial;
	s->own = mx->own;
	s->own->refs++;
	endpoint_print(peer, s->origin);
	LIST_INSERT_HEAD(&mx->sessions, s, link);
	mx->n_sessions++;
	accept_settle(mx);
	s->deadline = evtimer_new(mx->conf.base, on_deadline, s);
	if (s->deadline && event_add(s->deadline, &deadline) == 0 && session_bufferevent(s, fd, &e) == 0)
		return s;
	if (!s->bev && fd >= 0)
		close(fd);
	session_free(s);
	return NULL;
}

int mx_set_record(struct mx *mx, const uint8_t *bytes, size_t len)
{
	struct timeval at_once = { 0 };
	struct own_record *own = malloc(sizeof(*own) + len);
	struct dial *d;

	if (!own)
		return -ENOMEM;
	own->refs = 1;
	own->len = len;
	memcpy(own->bytes, bytes, len);
	own_drop(mx->own);
	mx->own = own;
	if (mx->next.ctx) {
		ratls_fini(&mx->ratls); /* sessions under way hold it */
		mx->ratls.ctx = take_ptr(mx->next.ctx);
	}
	SLIST_FOREACH(d, &mx->dials, link)
	if (!d->session)
		event_add(d->timer, &at_once);
	return 0;
}

int mx_renew(struct mx *mx, const char *cert_pem, const char *key_pem, struct err *e)
{
	struct ratls made = { .trust = mx->conf.trust, .arg = mx->conf.arg };
	int ret = ratls_init(&made, &mx->ratls, cert_pem, key_pem, e);

	if (ret < 0) {
		ratls_fini(&made);
		return ret;
	}
	ratls_fini(&mx->next);
	mx->next = made;
	return 0;
}

/* --- the whole --- */

int mx_new(const struct mx_conf *conf, struct mx **mx, struct err *e)
{
	struct mx *made = calloc(1, sizeof(*made));
	int ret;

	if (!made)
		return err_at(e, -ENOMEM, "record exchange", "out of memory");
	made->conf = *conf;
	made->ratls.trust = conf->trust;
	made->ratls.arg = conf->arg;
	ret = ratls_init(&made->ratls, &made->ratls, conf->cert_pem, conf->key_pem, e);
	if (ret < 0) {
		mx_free(made);
		return ret;
	}
	made->conf.cert_pem = made->conf.key_pem = NULL;
	*mx = made;
	return 0;
}

void mx_free(struct mx *mx)
{
	struct session *s;

	if (!mx)
		return;
	while ((s = LIST_FIRST(&mx->sessions)))
		session_free(s);
	dials_free(mx);
	listeners_free(mx);
	ratls_fini(&mx->ratls);
	ratls_fini(&mx->next);
	own_drop(mx->own);
	free(mx);
}
