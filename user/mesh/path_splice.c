// SPDX-License-Identifier: Apache-2.0
/*
 * Bytes that nobody here looks at, from socket to socket by way of a pipe, without a copy in this process. It pays for
 * bulk and costs a little for small messages, so a direction takes this way when a read has filled its buffer, and
 * leaves it when a splice brought little. A pipe is held only while there is something in it: at most SPLICE_BYTES.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "proxy_internal.h"

#define SPLICE_BYTES (256u << 10)
#define PIPES_MAX    1024 /* at once; directions above it copy, which holds no descriptors */

struct pipe {
	struct pipe *next;
	int r, w;
};

bool splice_may(const struct conn *src, const struct conn *dst, const struct flow *f)
{
	return flow_is_opaque(src, dst, f) && (!src->ssl || ktls_has(src, true)) &&
	       (!dst->ssl || ktls_has(dst, false)) && !src->relay->joined &&
	       !(src->mp->conf.no_paths & 1u << MP_PATH_SPLICED);
}

/* --- pipes --- */

static struct pipe *pipe_make(void)
{
	struct pipe *p = calloc(1, sizeof(*p));
	int fd[2];

	if (!p || pipe2(fd, O_NONBLOCK | O_CLOEXEC) < 0) {
		free(p);
		return NULL;
	}
	p->r = fd[0];
	p->w = fd[1];
	fcntl(p->w, F_SETPIPE_SZ, SPLICE_BYTES); /* refused where the user has many: then it takes less at a time */
	return p;
}

static void pipe_free(struct pipe *p)
{
	close(p->r);
	close(p->w);
	free(p);
}

static bool pipe_get(struct mp *mp, struct flow *f)
{
	if (f->pipe)
		return true;
	if (mp->n_pipes_used >= PIPES_MAX)
		return false;
	f->pipe = mp->pipes;
	if (f->pipe) {
		mp->pipes = f->pipe->next;
		mp->n_pipes--;
	} else {
		f->pipe = pipe_make();
	}
	mp->n_pipes_used += f->pipe != NULL;
	return f->pipe;
}

/* What is left in it goes with it. */
void splice_drop(struct mp *mp, struct flow *f)
{
	if (!f->pipe)
		return;
	mp->n_pipes_used--;
	if (f->piped || mp->n_pipes >= PIPES_KEPT) {
		pipe_free(f->pipe);
	} else {
		f->pipe->next = mp->pipes;
		mp->pipes = f->pipe;
		mp->n_pipes++;
	}
	f->pipe = NULL;
	f->piped = 0;
}

void splice_fini(struct mp *mp)
{
	while (mp->pipes) {
		struct pipe *p = mp->pipes;

		mp->pipes = p->next;
		pipe_free(p);
	}
}

/* --- moving --- */

static size_t splice_in(struct conn *src, struct flow *f)
{
	bool is_tls = ktls_has(src, true), has_length = f->body.framing == HTTP_LENGTH;
	size_t room = SPLICE_BYTES - f->piped;
	ssize_t n;

	if (src->is_drained || src->is_eof || src->is_broken || f->body.is_done)
		return 0;
	if (has_length && f->body.left < room)
		room = f->body.left;
	n = splice(src->fd, NULL, f->pipe->w, NULL, room, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
	if (n > 0 && has_length)
		http_body_passed(&f->body, (uint64_t)n);
	if (n > 0)
		return (size_t)n;
	if (is_tls && (n == 0 || errno != EAGAIN)) /* a record that is not data, or the end: a read says what */
		f->is_bulk = false;
	else if (n == 0)
		src->is_eof = true;
	else if (errno == EAGAIN || errno == EINTR)
		src->is_drained |= !f->piped; /* or the pipe is full */
	else
		src->is_eof = src->is_broken = true;
	return 0;
}

static size_t splice_out(struct conn *dst, struct flow *f)
{
	ssize_t n = splice(f->pipe->r, NULL, dst->fd, NULL, f->piped, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);

	if (n > 0)
		return (size_t)n;
	if (n < 0 && errno != EAGAIN && errno != EINTR)
		dst->cannot_write = true;
	return 0;
}

/* Did what it filled the pipe with come to anything? Little at a time is copied from now on. */
static bool fill(struct relay *s, struct conn *src, struct flow *f)
{
	size_t n;

	if (!pipe_get(s->mp, f)) {
		f->is_bulk = false;
		return true;
	}
	do { /* the kernel's TLS gives a record at a time */
		n = splice_in(src, f);
		f->piped += (uint32_t)n;
	} while (n && ktls_has(src, true) && f->piped < SPLICE_BYTES / 2);
	if (!f->piped) {
		splice_drop(s->mp, f);
		return !f->is_bulk;
	}
	f->is_bulk &= f->piped >= s->mp->conf.bulk / 4 && !f->body.is_done;
	return true;
}

bool splice_move(struct relay *s, struct conn *src, struct conn *dst, struct flow *f, size_t *moved)
{
	*moved = 0;
	if (!f->piped && !fill(s, src, f))
		return false;
	if (!f->piped)
		return true;
	*moved = splice_out(dst, f);
	f->piped -= (uint32_t)*moved;
	s->mp->counters.bytes_spliced += *moved;
	if (!f->piped)
		splice_drop(s->mp, f);
	return !f->piped;
}
