// SPDX-License-Identifier: Apache-2.0
#include "exchange.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/bufferevent_ssl.h>
#include <event2/listener.h>
#include <openssl/err.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "ratls.h"

#define FRAME_HEAD     5
#define FRAME_RECORD   1
#define FRAME_REFUSAL  2
#define REFUSAL_MAX    64
#define RETRY_MAX_S    60
#define ACCEPT_PAUSE_S 1 /* after the process ran out of descriptors */

struct dial {
	SLIST_ENTRY(dial) link;
	struct mx *mx;
	struct ip_endpoint to;
	unsigned refresh_s, failures;
	struct event *timer;
	struct session *session; /* under way, or NULL */
};

/* A record and the certificate that signed it go together: a session keeps both as they were when it began. */
struct own_record {
	unsigned refs;
	size_t len;
	uint8_t bytes[];
};

struct session {
	LIST_ENTRY(session) link;
	struct mx *mx;
	struct own_record *own;
	struct bufferevent *bev;
	struct event *deadline;
	struct dial *dial; /* NULL: the peer dialled us */
	char origin[MX_ORIGIN_LEN];
	bool has_sent; /* our record */
	bool is_done;  /* only the rest of our output is to be written */
	bool went_well;
};

struct listener {
	SLIST_ENTRY(listener) link;
	struct evconnlistener *ev;
};

struct mx {
	struct mx_conf conf;
	struct ratls ratls;
	struct ratls next; /* in use from the next record on; ctx NULL: none */
	struct own_record *own;
	LIST_HEAD(, session) sessions;
	SLIST_HEAD(, dial) dials;
	SLIST_HEAD(, listener) listeners;
	unsigned n_sessions;
	struct event *resume;
};

static void own_drop(struct own_record *own)
{
	if (own && --own->refs == 0)
		free(own);
}

/* --- sessions --- */

static void accept_pause(struct mx *mx, bool pause)
{
	struct listener *l;

	SLIST_FOREACH(l, &mx->listeners, link)
	{
		if (pause)
			evconnlistener_disable(l->ev);
		else
			evconnlistener_enable(l->ev);
	}
}

/* 1, 2, 4 .. RETRY_MAX_S seconds. */
static unsigned retry_s(unsigned failures)
{
	unsigned s = failures > 6 ? RETRY_MAX_S : 1u << (failures - 1);

	return s < RETRY_MAX_S ? s : RETRY_MAX_S;
}

static void dial_later(struct dial *d, bool went_well)
{
	struct timeval pause = { 0 };

	d->session = NULL;
	d->failures = went_well ? 0 : d->failures + 1;
	pause.tv_sec = went_well ? d->refresh_s : retry_s(d->failures);
	pause.tv_usec = rand() % 500000; /* peers that started together shall not stay together */
	event_add(d->timer, &pause);
}

static void session_free(struct session *s)
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
	if (mx->n_sessions == MX_SESSIONS_MAX - 1)
		accept_pause(mx, false);
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
	return s->mx->conf.node(&node, data, len, s->origin, e, s->mx->conf.arg);
}

static void on_record(struct session *s, const uint8_t *data, size_t len)
{
	struct err e = ERR_INIT;
	int ret = record_take(s, data, len, &e);

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
	int reason = ID_NONE;

	for (int r = 1; r < ID_REASON_COUNT; r++)
		if (strlen(id_reason_name(r)) == len && memcmp(id_reason_name(r), data, len) == 0)
			reason = r;
	err_reason(&e, reason, s->origin, "the peer refused our record: %s",
		   reason ? id_reason_text(reason) : "for a reason that this version does not know");
	session_refuse(s, &e, true);
	session_finish(s);
}

static bool frame_bound(uint8_t type, size_t len)
{
	return (type == FRAME_RECORD && len > 0 && len <= ID_RECORD_MAX) ||
	       (type == FRAME_REFUSAL && len > 0 && len <= REFUSAL_MAX);
}

static void on_read(struct bufferevent *bev, void *arg)
{
	struct session *s = arg;
	struct evbuffer *in = bufferevent_get_input(bev);
	struct err e = ERR_INIT;
	uint8_t head[FRAME_HEAD];
	const uint8_t *frame;
	size_t len;

	if (s->is_done || evbuffer_copyout(in, head, sizeof(head)) < (ssize_t)sizeof(head))
		return;
	len = (size_t)head[1] << 24 | (size_t)head[2] << 16 | (size_t)head[3] << 8 | head[4];
	if (!frame_bound(head[0], len)) {
		err_reason(&e, ID_RECORD_MALFORMED, s->origin, "frame of type %u with %zu bytes", head[0], len);
		session_refuse(s, &e, false);
		session_free(s);
		return;
	}
	if (evbuffer_get_length(in) < FRAME_HEAD + len)
		return;
	frame = evbuffer_pullup(in, (ssize_t)(FRAME_HEAD + len));
	if (head[0] == FRAME_RECORD)
		on_record(s, frame + FRAME_HEAD, len);
	else
		on_refusal(s, frame + FRAME_HEAD, len);
}

static void on_written(struct bufferevent *bev, void *arg)
{
	struct session *s = arg;

	(void)bev;
	if (s->is_done)
		session_free(s);
}

/* Why a handshake or a connection failed. Our own verdict on the peer's evidence comes before TLS's words for it. */
static void explain_end(struct session *s, short what, struct err *e)
{
	const struct ratls_peer *peer = ratls_peer(bufferevent_openssl_get_ssl(s->bev));
	unsigned long code = bufferevent_get_openssl_error(s->bev);
	char text[160] = "closed by the peer";

	if (peer->err.code) {
		*e = peer->err;
		err_wrap(e, "%s", s->origin);
		return;
	}
	if (code)
		ERR_error_string_n(code, text, sizeof(text));
	else if (what & BEV_EVENT_ERROR)
		snprintf(text, sizeof(text), "%s", strerror(EVUTIL_SOCKET_ERROR()));
	err_at(e, -ECONNRESET, s->origin, "connection failed: %s", text);
}

static void on_event(struct bufferevent *bev, short what, void *arg)
{
	struct session *s = arg;
	struct err e = ERR_INIT;

	(void)bev;
	if (what & BEV_EVENT_CONNECTED) {
		if (s->dial)
			record_send(s);
		return;
	}
	if (!s->went_well && !s->is_done) {
		explain_end(s, what, &e);
		session_refuse(s, &e, false);
	}
	ERR_clear_error();
	session_free(s);
}

static void on_deadline(evutil_socket_t fd, short what, void *arg)
{
	struct session *s = arg;
	struct err e = ERR_INIT;

	(void)fd, (void)what;
	if (!s->went_well) {
		err_at(&e, -ETIMEDOUT, s->origin, "no record within %d s", MX_SESSION_MAX_S);
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

/* NULL: `fd` (if any) was closed. */
static struct session *session_new(struct mx *mx, struct dial *dial, int fd, const struct ip_endpoint *peer)
{
	struct timeval deadline = { .tv_sec = MX_SESSION_MAX_S };
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
	s->deadline = evtimer_new(mx->conf.base, on_deadline, s);
	if (s->deadline && event_add(s->deadline, &deadline) == 0 && session_bufferevent(s, fd, &e) == 0)
		return s;
	if (!s->bev && fd >= 0)
		close(fd);
	session_free(s);
	return NULL;
}

/* --- listening --- */

static void on_accept(struct evconnlistener *ev, evutil_socket_t fd, struct sockaddr *sa, int len, void *arg)
{
	struct mx *mx = arg;
	struct ip_endpoint peer;

	(void)ev, (void)len;
	if (!mx->own || !endpoint_from_sockaddr(&peer, sa)) {
		close(fd);
		return;
	}
	if (session_new(mx, NULL, fd, &peer) && mx->n_sessions == MX_SESSIONS_MAX)
		accept_pause(mx, true);
}

static void on_resume(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what;
	accept_pause(arg, false);
}

static void on_accept_error(struct evconnlistener *ev, void *arg)
{
	struct timeval pause = { .tv_sec = ACCEPT_PAUSE_S };
	struct mx *mx = arg;

	(void)ev;
	log_limited(LOG_WARN, "record exchange: can not accept: %s", strerror(EVUTIL_SOCKET_ERROR()));
	accept_pause(mx, true);
	event_add(mx->resume, &pause);
}

int mx_listen(struct mx *mx, int fd, struct err *e)
{
	struct listener *l = calloc(1, sizeof(*l));

	if (l)
		l->ev = evconnlistener_new(mx->conf.base, on_accept, mx, LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC,
					   0, fd);
	if (!l || !l->ev) {
		free(l);
		close(fd);
		return err_at(e, -ENOMEM, "record exchange", "can not listen");
	}
	evconnlistener_set_error_cb(l->ev, on_accept_error);
	SLIST_INSERT_HEAD(&mx->listeners, l, link);
	return 0;
}

/* --- dialling --- */

static void on_dial(evutil_socket_t fd, short what, void *arg)
{
	struct dial *d = arg;
	struct sockaddr_storage ss;
	socklen_t len = endpoint_to_sockaddr(&d->to, &ss);

	(void)fd, (void)what;
	if (d->session || !d->mx->own)
		return;
	d->session = session_new(d->mx, d, -1, &d->to);
	if (!d->session)
		return; /* session_free() has set the timer */
	if (bufferevent_socket_connect(d->session->bev, (struct sockaddr *)&ss, (int)len) < 0)
		session_free(d->session);
}

int mx_dial(struct mx *mx, const struct ip_endpoint *to, unsigned refresh_s, struct err *e)
{
	struct timeval at_once = { 0 };
	struct dial *d = calloc(1, sizeof(*d));

	if (!d)
		return err_at(e, -ENOMEM, "record exchange", "out of memory");
	*d = (struct dial){ .mx = mx, .to = *to, .refresh_s = refresh_s };
	d->timer = evtimer_new(mx->conf.base, on_dial, d);
	if (!d->timer || event_add(d->timer, &at_once) < 0) {
		free(d);
		return err_at(e, -ENOMEM, "record exchange", "out of memory");
	}
	SLIST_INSERT_HEAD(&mx->dials, d, link);
	return 0;
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
	made->resume = evtimer_new(conf->base, on_resume, made);
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
	struct dial *d;
	struct listener *l;

	if (!mx)
		return;
	while ((s = LIST_FIRST(&mx->sessions)))
		session_free(s);
	while ((d = SLIST_FIRST(&mx->dials))) {
		SLIST_REMOVE_HEAD(&mx->dials, link);
		event_free(d->timer);
		free(d);
	}
	while ((l = SLIST_FIRST(&mx->listeners))) {
		SLIST_REMOVE_HEAD(&mx->listeners, link);
		evconnlistener_free(l->ev);
		free(l);
	}
	if (mx->resume)
		event_free(mx->resume);
	ratls_fini(&mx->ratls);
	ratls_fini(&mx->next);
	own_drop(mx->own);
	free(mx);
}
