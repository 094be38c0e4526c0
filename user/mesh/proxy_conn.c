// SPDX-License-Identifier: Apache-2.0
/* Sockets, TLS on them, and buffers that are only there while they hold something. */
#include <errno.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "proxy_internal.h"

int64_t mp_clock(struct mp *mp)
{
	return mp->now_ms = clock_ms(CLOCK_MONOTONIC_COARSE);
}

/* --- memory that is used again, the latest first --- */

void *kept_get(struct kept **list, unsigned *n, size_t size)
{
	struct kept *k = *list;

	if (!k)
		return malloc(size);
	*list = k->next;
	--*n;
	return k;
}

void kept_put(struct kept **list, unsigned *n, void *p)
{
	struct kept *k = p;

	if (!k)
		return;
	if (*n >= KEPT_MAX) {
		free(k);
		return;
	}
	k->next = *list;
	*list = k;
	++*n;
}

bool buf_need(struct mp *mp, struct buf *b)
{
	if (b->p)
		return true;
	b->start = b->end = 0;
	b->p = kept_get(&mp->bufs, &mp->n_bufs, mp->conf.buffer);
	mp->counters.buffers_in_use += b->p != NULL;
	return b->p;
}

void buf_drop(struct mp *mp, struct buf *b)
{
	if (!b->p)
		return;
	kept_put(&mp->bufs, &mp->n_bufs, b->p);
	mp->counters.buffers_in_use--;
	*b = (struct buf){ 0 };
}

void buf_done(struct mp *mp, struct buf *b)
{
	if (b->start == b->end)
		buf_drop(mp, b);
}

void buf_eat(struct buf *b, uint32_t n)
{
	b->start += n;
	if (b->start == b->end)
		b->start = b->end = 0;
}

/* Room behind what is there: only the unfinished line of a head or chunk is ever moved. */
static uint32_t buf_room(struct mp *mp, struct buf *b)
{
	if (b->end == mp->conf.buffer && b->start > 0) {
		memmove(b->p, b->p + b->start, buf_len(b));
		b->end -= b->start;
		b->start = 0;
	}
	return mp->conf.buffer - b->end;
}

/* --- the socket --- */

/* From now on its end matters, also one that came with the bytes that were read already. */
void conn_stream(struct conn *c)
{
	c->is_streaming = true;
	c->is_drained = false;
	if (c->ssl)
		SSL_set_default_read_buffer_len(c->ssl, c->mp->conf.buffer + RECORDS_BYTES);
}

static bool is_later(int error)
{
	return error == EAGAIN || error == EINTR || error == ENOTCONN || error == EINPROGRESS;
}

/* >0: bytes. 0: none now, or never again, as the connection then says. */
static size_t socket_read(struct conn *c, void *p, size_t len)
{
	ssize_t n;

	if (c->is_drained || c->is_eof)
		return 0;
	if (c->stream)
		return h2_read(c, p, len);
	n = recv(c->fd, p, len, 0);
	if (n > 0) {
		c->is_drained = (size_t)n < len && !c->has_rdhup && !c->is_streaming;
		return (size_t)n;
	}
	if (n == 0)
		c->is_eof = true;
	else if (is_later(errno))
		c->is_drained = true;
	else
		c->is_eof = c->is_broken = true;
	return 0;
}

static size_t socket_write(struct conn *c, const void *p, size_t len)
{
	ssize_t n;

	if (c->stream)
		return h2_write(c, p, len);
	n = send(c->fd, p, len, MSG_NOSIGNAL | (c->has_more ? MSG_MORE : 0));
	if (n >= 0)
		return (size_t)n;
	if (!is_later(errno))
		c->cannot_write = true;
	return 0;
}

/* --- OpenSSL reads and writes through these, so that it asks the kernel no more than plain text does --- */

static int bio_read(BIO *bio, char *p, int len)
{
	struct conn *c = BIO_get_data(bio);
	size_t max = ktls_read_max(c, (size_t)len), n = max ? socket_read(c, p, max) : 0;

	BIO_clear_retry_flags(bio);
	ktls_saw(c, (const uint8_t *)p, n);
	if (n == 0 && !c->is_eof)
		BIO_set_retry_read(bio);
	return n > 0 ? (int)n : c->is_eof && !c->is_broken ? 0 : -1;
}

static int bio_write(BIO *bio, const char *p, int len)
{
	struct conn *c = BIO_get_data(bio);
	size_t n = 0;

	BIO_clear_retry_flags(bio);
	if (ktls_has(c, false)) /* what OpenSSL would say now is not in the kernel's order */
		c->cannot_write = true;
	else
		n = socket_write(c, p, (size_t)len);
	if (n == 0 && !c->cannot_write)
		BIO_set_retry_write(bio);
	return n > 0 ? (int)n : -1;
}

static long bio_ctrl(BIO *bio, int cmd, long num, void *ptr)
{
	struct conn *c = BIO_get_data(bio);

	(void)num, (void)ptr;
	if (cmd == BIO_CTRL_EOF)
		return c->is_eof;
	return cmd == BIO_CTRL_FLUSH || cmd == BIO_CTRL_DUP;
}

static const BIO_METHOD *bio_method(void)
{
	static BIO_METHOD *method;

	if (method)
		return method;
	method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "bailey socket");
	if (!method)
		return NULL;
	BIO_meth_set_read(method, bio_read);
	BIO_meth_set_write(method, bio_write);
	BIO_meth_set_ctrl(method, bio_ctrl);
	return method;
}

/*
 * Key updates and tickets are read inside OpenSSL, one after the other while there are any: who sends nothing else
 * would have the worker for himself.
 */
static void on_tls_message(int is_written, int version, int type, const void *p, size_t len, SSL *ssl, void *arg)
{
	struct conn *c = arg;

	(void)version, (void)ssl;
	ktls_message(c, is_written, type, p, len);
	if (!is_written && type == SSL3_RT_HANDSHAKE && c->phase == PHASE_OPEN && ++c->asides > ASIDES_MAX)
		c->is_eof = c->is_broken = true;
}

bool conn_tls(struct conn *c, SSL *ssl, bool is_server)
{
	BIO *bio = bio_method() ? BIO_new(bio_method()) : NULL;

	c->ssl = ssl;
	if (!bio)
		return false;
	BIO_set_data(bio, c);
	BIO_set_init(bio, 1);
	SSL_set_bio(ssl, bio, bio);
	SSL_set_mode(ssl,
		     SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
	SSL_set_read_ahead(ssl, 1);
	SSL_set_msg_callback(ssl, on_tls_message);
	SSL_set_msg_callback_arg(ssl, c);
	if (is_server)
		SSL_set_accept_state(ssl);
	else
		SSL_set_connect_state(ssl);
	ktls_prepare(c);
	return true;
}

/* --- connections --- */

static void on_event(int fd, short what, void *arg)
{
	struct conn *c = arg;
	struct mp *mp = c->mp;

	(void)fd;
	mp_clock(mp);
	if (what & (EV_READ | EV_CLOSED))
		c->is_drained = false;
	if (what & EV_CLOSED)
		c->has_rdhup = true;
	if (c->phase != PHASE_OPEN) /* a handshake takes long */
		due_flush(mp);
	if (c->relay)
		relay_run(c->relay);
	else if (c->session)
		h2_event(c);
	else
		pool_event(c);
	if (mp->n_due == DUE_MAX)
		due_flush(mp);
}

static bool conn_watch(struct conn *c, int fd)
{
	c->fd = fd;
	return event_assign(&c->ev, c->mp->conf.base, fd, EV_READ | EV_WRITE | EV_CLOSED | EV_ET | EV_PERSIST, on_event,
			    c) == 0 &&
	       event_add(&c->ev, NULL) == 0;
}

struct conn *conn_new(struct mp *mp, int fd, struct relay *s)
{
	struct conn *c = calloc(1, sizeof(*c));

	if (!c) {
		close(fd);
		return NULL;
	}
	c->mp = mp;
	c->relay = s;
	if (!conn_watch(c, fd)) {
		free(c);
		close(fd);
		return NULL;
	}
	return c;
}

bool conn_reopen(struct conn *c, int fd)
{
	event_del(&c->ev);
	close(c->fd);
	c->has_rdhup = c->is_drained = false;
	return conn_watch(c, fd);
}

void conn_free(struct conn *c)
{
	if (!c)
		return;
	if (c->stream)
		h2_detach(c, false);
	h2_dialled(c);
	guard_forget(c);
	h2_free(c->session);
	event_del(&c->ev); /* which those before may have woken */
	buf_drop(c->mp, &c->in);
	buf_drop(c->mp, &c->out);
	ktls_free(c);
	SSL_free(c->ssl);
	if (c->fd >= 0)
		close(c->fd);
	mp_peer_unref(c->peer);
	mp_peer_unref(c->owner);
	upstream_unref(c->up);
	free(c);
}

void conn_reset(struct conn *c)
{
	struct linger now = { .l_onoff = 1, .l_linger = 0 };

	if (c && c->stream)
		h2_detach(c, true);
	else if (c)
		setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	conn_free(c);
}

/* --- plain text in, plain text out --- */

/* SSL_get_error() is misled by what another left. Mostly it is nothing, and OpenSSL frees thirty-two times nothing. */
static void errors_clear(void)
{
	if (ERR_peek_error())
		ERR_clear_error();
}

static size_t tls_read(struct conn *c, char *p, size_t len)
{
	size_t n = 0;

	if (c->is_drained && !SSL_has_pending(c->ssl))
		return 0;
	errors_clear();
	if (SSL_read_ex(c->ssl, p, len, &n) == 1) {
		c->asides = 0;
		return n;
	}
	switch (SSL_get_error(c->ssl, 0)) {
	case SSL_ERROR_WANT_READ: /* a ticket that was read has made OpenSSL take a buffer for writing, too */
		SSL_free_buffers(c->ssl);
		return 0;
	case SSL_ERROR_WANT_WRITE: /* a key update waits for room; the next event tries again */
		return 0;
	case SSL_ERROR_ZERO_RETURN:
		c->is_eof = true;
		return 0;
	default:
		c->is_truncated = true;
		c->is_eof = c->is_broken = c->cannot_write = true;
		errors_clear();
		return 0;
	}
}

static size_t read_once(struct conn *c)
{
	uint32_t room = buf_room(c->mp, &c->in);
	size_t n;

	if (room == 0)
		return 0;
	if (ktls_has(c, true))
		n = ktls_read(c, c->in.p + c->in.end, room);
	else
		n = c->ssl ? tls_read(c, c->in.p + c->in.end, room) : socket_read(c, c->in.p + c->in.end, room);
	c->in.end += (uint32_t)n;
	return n;
}

size_t conn_read(struct conn *c)
{
	size_t n, more;

	if (c->is_broken || c->is_eof || (c->is_drained && !c->ssl) || !buf_need(c->mp, &c->in))
		return 0;
	n = more = read_once(c);
	/* the records that came with the first: one write takes them all */
	while (more > 0 && c->ssl && c->is_streaming && !ktls_has(c, true) && SSL_has_pending(c->ssl)) {
		more = read_once(c);
		n += more;
	}
	return n;
}

static size_t tls_write(struct conn *c, const char *p, size_t len)
{
	size_t n = 0;

	errors_clear();
	ktls_wrote(c, false);
	if (SSL_write_ex(c->ssl, p, len, &n) == 1)
		return n;
	switch (SSL_get_error(c->ssl, 0)) {
	case SSL_ERROR_WANT_READ:
	case SSL_ERROR_WANT_WRITE:
		ktls_wrote(c, true);
		return 0;
	default:
		c->cannot_write = true;
		errors_clear();
		return 0;
	}
}

size_t conn_write(struct conn *c, const char *p, size_t len)
{
	bool is_tls = c->ssl && !ktls_has(c, false);
	size_t done = 0, n;

	while (done < len && !c->cannot_write && !c->is_broken) {
		/* each record is a write of its own; the kernel is told when the next is on its way */
		c->has_more = is_tls && len - done > SSL3_RT_MAX_PLAIN_LENGTH;
		n = is_tls ? tls_write(c, p + done, len - done) : socket_write(c, p + done, len - done);
		if (n == 0)
			break;
		done += n;
	}
	c->has_more = false;
	return done;
}

bool conn_flush(struct conn *c)
{
	if (buf_len(&c->out))
		buf_eat(&c->out, (uint32_t)conn_write(c, c->out.p + c->out.start, buf_len(&c->out)));
	if (buf_len(&c->out))
		return false;
	buf_drop(c->mp, &c->out);
	return true;
}

/* close_notify may find no room. */
static bool tls_shut(struct conn *c)
{
	int rc, error;

	if (!c->ssl || c->phase != PHASE_OPEN || c->cannot_write || c->is_broken)
		return true;
	if (ktls_has(c, false))
		return ktls_shut(c);
	errors_clear();
	rc = SSL_shutdown(c->ssl);
	error = rc < 0 ? SSL_get_error(c->ssl, rc) : SSL_ERROR_NONE;
	errors_clear();
	return error != SSL_ERROR_WANT_WRITE;
}

bool conn_shut(struct conn *c)
{
	if (c->has_shut)
		return true;
	if (!tls_shut(c))
		return false;
	c->has_shut = true;
	if (c->stream)
		h2_shut(c);
	else
		shutdown(c->fd, SHUT_WR);
	return true;
}

/* Has the other side ended it, or said something nobody asked for? For one that is about to be used again. */
bool conn_is_dead(struct conn *c)
{
	char byte;
	ssize_t n = recv(c->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);

	return n == 0 || (n > 0 && (!c->ssl || ktls_has(c, true))) || (n < 0 && !is_later(errno));
}

enum step conn_handshake(struct conn *c)
{
	int rc;

	errors_clear();
	rc = SSL_do_handshake(c->ssl);
	if (rc == 1)
		return STEP_AGAIN;
	switch (SSL_get_error(c->ssl, rc)) {
	case SSL_ERROR_WANT_READ:
	case SSL_ERROR_WANT_WRITE:
		return STEP_WAIT;
	default:
		return STEP_GONE;
	}
}
