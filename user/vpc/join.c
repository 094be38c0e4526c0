// SPDX-License-Identifier: Apache-2.0
#include "join.h"

#include <errno.h>
#include <event2/bufferevent.h>
#include <event2/bufferevent_ssl.h>
#include <openssl/err.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "mesh/ratls.h"

#define RETRY_MAX_S 60
#define JOIN_MAX_S  60 /* from dialling to a grant: a thousand others may dial, too */
#define PING_S      20
#define IDLE_S      60 /* nothing from the server: it is gone */

struct vpc_join {
	struct vpc_join_conf conf;
	char where[ENDPOINT_TEXT + 16];
	struct ratls ratls, next; /* next: in use with the next record; ctx NULL: none */
	struct bufferevent *bev;  /* NULL: not connected */
	struct event *retry, *deadline, *ping;
	unsigned failures;
	uint32_t at; /* in conf.servers */
	bool is_granted, is_up;
	bool is_asking, is_newer; /* the server has yet to take a record; there is a newer one since */
	uint8_t *record;          /* NULL: none yet */
	size_t record_len;
};

static void join_close(struct vpc_join *j);

unsigned vpc_join_pause_s(unsigned failures, uint32_t n_servers)
{
	unsigned rounds = failures / n_servers;

	if (failures % n_servers)
		return 0;
	return rounds && rounds <= 6 ? 1u << (rounds - 1) : RETRY_MAX_S;
}

/* And a part of a second: nodes that lost their server together come back apart. */
static void retry_later(struct vpc_join *j)
{
	struct timeval pause = { .tv_sec = vpc_join_pause_s(++j->failures, j->conf.servers.n),
				 .tv_usec = rand() % 1000000 };

	j->at = (j->at + 1) % j->conf.servers.n;
	event_add(j->retry, &pause);
}

static void failed(struct vpc_join *j, const struct err *e, bool is_remote)
{
	j->conf.refused(e, is_remote, j->conf.arg);
	join_close(j);
	retry_later(j);
}

static void join_close(struct vpc_join *j)
{
	if (j->bev)
		bufferevent_free(take_ptr(j->bev));
	event_del(j->deadline);
	event_del(j->ping);
	j->is_granted = j->is_asking = j->is_newer = false;
	if (j->is_up)
		j->conf.up(false, j->conf.arg);
	j->is_up = false;
}

static struct evbuffer *output(struct vpc_join *j)
{
	return bufferevent_get_output(j->bev);
}

/* One at a time. */
static void record_send(struct vpc_join *j)
{
	j->is_newer = j->is_asking;
	if (j->is_asking)
		return;
	vpc_send(output(j), VPC_RECORD, j->record, j->record_len);
	j->is_asking = true;
}

static void on_taken(struct vpc_join *j)
{
	j->is_asking = false;
	j->failures = 0; /* not before: who is shown the network may still be refused */
	if (j->conf.taken)
		j->conf.taken(j->conf.arg);
	if (j->is_newer)
		record_send(j);
}

/* --- what the server says --- */

/* Its evidence was judged in the handshake; here: is it the app that was configured? */
static int server_check(struct vpc_join *j, struct err *e)
{
	const struct ratls_peer *peer = ratls_peer(bufferevent_openssl_get_ssl(j->bev));

	if (j->conf.servers.any_app || memcmp(peer->claims.app_id, j->conf.servers.app_id, BY_APP_ID_LEN) == 0)
		return 0;
	return err_reason(e, ID_SERVER_IDENTITY, j->where, "its evidence proves another app than the configured one");
}

static int hello(struct vpc_join *j, struct err *e)
{
	struct vpc_hello h = { .serial = j->conf.seen.serial };
	auto_out struct out have = { 0 };
	auto_free char *text = NULL;

	memcpy(h.node, j->conf.node, sizeof(h.node));
	memcpy(h.key, j->conf.servers.key, sizeof(h.key));
	text = vpc_hello_text(&h);
	j->conf.have(&have, j->conf.arg);
	if (!text || !out_ok(&have))
		return err_at(e, -ENOMEM, j->where, "out of memory");
	vpc_send(output(j), VPC_HELLO, text, strlen(text));
	vpc_send(output(j), VPC_HAVE, have.data, have.len);
	return 0;
}

static int rollback(const struct vpc_join *j, struct err *e, uint64_t serial)
{
	return err_reason(e, ID_SERVER_ROLLBACK, j->where, "is at change %llu, this node has heard of %llu already",
			  (unsigned long long)serial, (unsigned long long)j->conf.seen.serial);
}

static int on_grant(struct vpc_join *j, struct in in, struct err *e)
{
	struct vpc_seen *seen = &j->conf.seen;
	struct vpc_grant grant;
	int ret = vpc_grant_read(in, &grant, e);

	if (ret < 0)
		return ret;
	if (seen->serial && memcmp(seen->network, grant.network, VPC_NETWORK) != 0)
		return err_reason(e, ID_SERVER_ROLLBACK, j->where,
				  "shows another network than the one that was joined");
	if (grant.serial < seen->serial)
		return rollback(j, e, grant.serial);
	memcpy(seen->network, grant.network, VPC_NETWORK);
	event_del(j->deadline); /* from now on something comes every IDLE_S, or it is gone */
	j->is_granted = true;
	return j->conf.granted(&grant, e, j->conf.arg);
}

static int on_mark(struct vpc_join *j, uint64_t serial, struct err *e)
{
	struct vpc_seen *seen = &j->conf.seen;

	if (serial < seen->serial)
		return rollback(j, e, serial);
	if (!j->is_up)
		j->conf.up(true, j->conf.arg);
	j->is_up = true;
	if (serial != seen->serial) {
		seen->serial = serial;
		j->conf.seen_fn(seen, j->conf.arg);
	}
	return 0;
}

/* Only names of our own table are repeated. */
static int on_refused(const struct vpc_join *j, struct in in, struct err *e)
{
	int reason = id_reason_of((const char *)in.p, in.left);

	err_reason(e, reason, j->where, "refused by the control plane: %s",
		   reason ? id_reason_text(reason) : "for a reason that this version does not know");
	return 1;
}

static int on_serial_frame(struct vpc_join *j, enum vpc_frame type, struct in in, struct err *e)
{
	uint64_t serial;

	if (!vpc_serial_read(&in, &serial))
		return err_reason(e, ID_SERVER_MALFORMED, j->where, "frame of type %d is cut off", type);
	if (type == VPC_CHANGE)
		j->conf.record(in.p, in.left, j->conf.arg);
	else if (type == VPC_REVOKED || type == VPC_ALLOWED)
		j->conf.revoked(in.p, type == VPC_REVOKED, j->conf.arg);
	else if (type == VPC_TAKEN)
		on_taken(j);
	else
		return on_mark(j, serial, e);
	return 0;
}

/* 0, <0: the server is wrong, 1: it has refused. Nothing is taken of a server that has granted nothing. */
static int on_frame(struct vpc_join *j, enum vpc_frame type, struct in in, struct err *e)
{
	if (type == VPC_REFUSED)
		return on_refused(j, in, e);
	if (type == VPC_GRANT && !j->is_granted)
		return on_grant(j, in, e);
	if (type == VPC_GRANT || !j->is_granted)
		return err_reason(e, ID_SERVER_MALFORMED, j->where, "frame of type %d out of turn", type);
	return on_serial_frame(j, type, in, e);
}

static void on_read(struct bufferevent *bev, void *arg)
{
	struct evbuffer *in = bufferevent_get_input(bev);
	struct vpc_join *j = arg;
	struct err e = ERR_INIT;
	enum vpc_frame type;
	struct in payload;
	int ret;

	while ((ret = vpc_frame_next(in, false, &type, &payload, &e)) > 0) {
		size_t len = payload.left;

		ret = on_frame(j, type, payload, &e);
		if (ret)
			break;
		if (j->bev != bev) /* a callback has closed it */
			return;
		vpc_frame_drop(in, len);
	}
	if (ret)
		failed(j, &e, ret > 0);
}

/* --- the connection --- */

static void on_event(struct bufferevent *bev, short what, void *arg)
{
	static const struct timeval each = { .tv_sec = PING_S };
	struct vpc_join *j = arg;
	struct err e = ERR_INIT;
	char idle[40];

	if (!(what & BEV_EVENT_CONNECTED)) {
		snprintf(idle, sizeof(idle), "nothing came for %d s", IDLE_S);
		ratls_explain_end(bev, j->where, what & BEV_EVENT_TIMEOUT ? idle : "closed by the server", &e);
		ERR_clear_error();
		failed(j, &e, false);
		return;
	}
	if (server_check(j, &e) < 0 || hello(j, &e) < 0)
		failed(j, &e, false);
	else
		event_add(j->ping, &each);
}

static void on_ping(evutil_socket_t fd, short what, void *arg)
{
	struct vpc_join *j = arg;

	(void)fd, (void)what;
	vpc_send(output(j), VPC_PING, NULL, 0);
}

static void on_deadline(evutil_socket_t fd, short what, void *arg)
{
	struct vpc_join *j = arg;
	struct err e = ERR_INIT;

	(void)fd, (void)what;
	err_at(&e, -ETIMEDOUT, j->where, "no addresses were granted within %d s", JOIN_MAX_S);
	failed(j, &e, false);
}

static int dial(struct vpc_join *j, struct err *e)
{
	static const struct timeval deadline = { .tv_sec = JOIN_MAX_S }, idle = { .tv_sec = IDLE_S };
	const struct ip_endpoint *server = &j->conf.servers.at[j->at];
	char text[ENDPOINT_TEXT];
	struct sockaddr_storage ss;
	socklen_t len = endpoint_to_sockaddr(server, &ss);
	SSL *ssl = ratls_session(&j->ratls, false, e);

	snprintf(j->where, sizeof(j->where), "vpc %s", endpoint_print(server, text));
	if (!ssl)
		return e->code;
	if (j->conf.servers.host[0] && !SSL_set_tlsext_host_name(ssl, j->conf.servers.host)) {
		SSL_free(ssl);
		return err_at(e, -ENOMEM, j->where, "out of memory");
	}
	j->bev = bufferevent_openssl_socket_new(j->conf.base, -1, ssl, BUFFEREVENT_SSL_CONNECTING,
						BEV_OPT_CLOSE_ON_FREE | BEV_OPT_DEFER_CALLBACKS);
	if (!j->bev) {
		SSL_free(ssl);
		return err_at(e, -ENOMEM, j->where, "out of memory");
	}
	bufferevent_openssl_set_allow_dirty_shutdown(j->bev, 1); /* frames have lengths: truncation is seen */
	bufferevent_setcb(j->bev, on_read, NULL, on_event, j);
	bufferevent_set_timeouts(j->bev, &idle, &idle);
	event_add(j->deadline, &deadline);
	if (bufferevent_enable(j->bev, EV_READ | EV_WRITE) < 0 ||
	    bufferevent_socket_connect(j->bev, (struct sockaddr *)&ss, (int)len) < 0)
		return err_at(e, -errno, j->where, "can not be reached: %s", strerror(errno));
	return 0;
}

static void on_retry(evutil_socket_t fd, short what, void *arg)
{
	struct vpc_join *j = arg;
	struct err e = ERR_INIT;

	(void)fd, (void)what;
	if (!j->bev && dial(j, &e) < 0)
		failed(j, &e, false);
}

/* --- the node's own --- */

static void connect_now(struct vpc_join *j)
{
	struct timeval at_once = { 0 };

	join_close(j);
	event_add(j->retry, &at_once);
}

uint32_t vpc_server_at(const struct ip_endpoint *servers, uint32_t n, const struct ip_endpoint *server)
{
	uint32_t i = 0;

	while (i < n && !endpoint_equal(&servers[i], server))
		i++;
	return i;
}

static bool is_same_app(const struct vpc_servers *a, const struct vpc_servers *b)
{
	return a->any_app == b->any_app && memcmp(a->app_id, b->app_id, sizeof(a->app_id)) == 0;
}

void vpc_join_change(struct vpc_join *j, const struct vpc_servers *to)
{
	const struct ip_endpoint now = j->conf.servers.at[j->at];
	uint32_t at = vpc_server_at(to->at, to->n, &now);
	bool stays = j->is_granted && at < to->n && is_same_app(&j->conf.servers, to);

	j->conf.servers = *to;
	j->at = at < to->n ? at : 0;
	if (stays)
		return;
	j->failures = 0;
	connect_now(j);
}

int vpc_join_publish(struct vpc_join *j, const uint8_t *bytes, size_t len)
{
	uint8_t *copy = malloc(len);

	if (!copy)
		return -ENOMEM;
	memcpy(copy, bytes, len);
	free(j->record);
	j->record = copy;
	j->record_len = len;
	if (j->next.ctx) {
		ratls_fini(&j->ratls);
		j->ratls.ctx = take_ptr(j->next.ctx);
		connect_now(j);
	} else if (j->is_granted) {
		record_send(j);
	}
	return 0;
}

int vpc_join_renew(struct vpc_join *j, const char *cert_pem, const char *key_pem, struct err *e)
{
	struct ratls made = { .trust = j->conf.trust, .arg = j->conf.arg };
	int ret = ratls_init(&made, &j->ratls, cert_pem, key_pem, e);

	if (ret < 0) {
		ratls_fini(&made);
		return ret;
	}
	if (j->record) {
		ratls_fini(&j->next);
		j->next = made;
		return 0;
	}
	/* no record to wait for: who has been granted nothing would dial with the old one for ever */
	ratls_fini(&j->ratls);
	j->ratls.ctx = take_ptr(made.ctx);
	if (j->bev)
		connect_now(j);
	return 0;
}

int vpc_join_new(const struct vpc_join_conf *conf, struct vpc_join **join, struct err *e)
{
	struct vpc_join *j = calloc(1, sizeof(*j));
	int ret;

	if (!j)
		return err_at(e, -ENOMEM, "control plane", "out of memory");
	j->conf = *conf;
	j->ratls = (struct ratls){ .trust = conf->trust, .arg = conf->arg, .alpn = VPC_ALPN };
	snprintf(j->where, sizeof(j->where), "vpc");
	j->retry = evtimer_new(conf->base, on_retry, j);
	j->deadline = evtimer_new(conf->base, on_deadline, j);
	j->ping = event_new(conf->base, -1, EV_PERSIST, on_ping, j);
	if (!j->retry || !j->deadline || !j->ping)
		ret = err_at(e, -ENOMEM, j->where, "out of memory");
	else
		ret = ratls_init(&j->ratls, &j->ratls, conf->cert_pem, conf->key_pem, e);
	if (ret < 0) {
		vpc_join_free(j);
		return ret;
	}
	j->conf.cert_pem = j->conf.key_pem = NULL;
	connect_now(j);
	*join = j;
	return 0;
}

uint32_t vpc_join_server(const struct vpc_join *j)
{
	return j->at;
}

void vpc_join_free(struct vpc_join *j)
{
	if (!j)
		return;
	if (j->bev)
		bufferevent_free(j->bev);
	if (j->retry)
		event_free(j->retry);
	if (j->deadline)
		event_free(j->deadline);
	if (j->ping)
		event_free(j->ping);
	ratls_fini(&j->ratls);
	ratls_fini(&j->next);
	free(j->record);
	free(j);
}
