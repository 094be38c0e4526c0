// SPDX-License-Identifier: Apache-2.0
#include "h2.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#include "proxy.h"

static void begin(struct h2t *h, int fd)
{
	*h = (struct h2t){ .fd = fd };
	if (nghttp2_hd_inflate_new(&h->inflater) != 0)
		abort();
}

void h2t_client(struct h2t *h, int fd)
{
	begin(h, fd);
	pw_send(fd, NGHTTP2_CLIENT_MAGIC);
	h2t_send(h, NGHTTP2_SETTINGS, 0, 0, "", 0);
}

void h2t_server(struct h2t *h, int fd)
{
	char preface[24];

	begin(h, fd);
	if (!pw_exactly(fd, preface, 24) || memcmp(preface, NGHTTP2_CLIENT_MAGIC, 24) != 0)
		fprintf(stderr, "no preface came\n");
	h2t_send(h, NGHTTP2_SETTINGS, 0, 0, "", 0);
}

void h2t_end(struct h2t *h)
{
	nghttp2_hd_inflate_del(h->inflater);
	close(h->fd);
}

void h2t_send(struct h2t *h, uint8_t type, uint8_t flags, uint32_t id, const void *p, size_t len)
{
	uint8_t head[9] = {
		(uint8_t)(len >> 16), (uint8_t)(len >> 8), (uint8_t)len,       type,        flags,
		(uint8_t)(id >> 24),  (uint8_t)(id >> 16), (uint8_t)(id >> 8), (uint8_t)id,
	};
	uint8_t *all = malloc(len + 9);

	memcpy(all, head, 9);
	if (len)
		memcpy(all + 9, p, len);
	pw_send_bytes(h->fd, all, len + 9);
	free(all);
}

static size_t put_text(uint8_t *p, const char *text, size_t len)
{
	size_t n = 0;

	if (len < 127) {
		p[n++] = (uint8_t)len;
	} else {
		size_t left = len - 127;

		p[n++] = 127;
		for (; left >= 128; left /= 128)
			p[n++] = (uint8_t)(left % 128 + 128);
		p[n++] = (uint8_t)left;
	}
	memcpy(p + n, text, len);
	return n + len;
}

/* "\x0d" in a value is that byte. */
static size_t unescape(char *to, const char *from, size_t len)
{
	unsigned byte;
	size_t n = 0;

	for (size_t i = 0; i < len; i++)
		if (from[i] == '\\' && i + 3 < len && sscanf(from + i + 1, "x%2x", &byte) == 1) {
			to[n++] = (char)byte;
			i += 3;
		} else {
			to[n++] = from[i];
		}
	return n;
}

size_t h2t_block(uint8_t *p, const char *fields)
{
	static char value[70000];
	size_t n = 0;

	for (const char *end; (end = strchr(fields, '\n')); fields = end + 1) {
		const char *colon = strstr(fields, ": ");

		p[n++] = 0; /* a literal, not indexed, with a new name */
		n += put_text(p + n, fields, (size_t)(colon - fields));
		n += put_text(p + n, value, unescape(value, colon + 2, (size_t)(end - colon - 2)));
	}
	return n;
}

void h2t_headers(struct h2t *h, uint32_t id, uint8_t flags, const char *fields)
{
	static uint8_t block[70000];

	h2t_send(h, NGHTTP2_HEADERS, flags | NGHTTP2_FLAG_END_HEADERS, id, block, h2t_block(block, fields));
}

void h2t_reset(struct h2t *h, uint32_t id, uint32_t code)
{
	uint8_t p[4] = { (uint8_t)(code >> 24), (uint8_t)(code >> 16), (uint8_t)(code >> 8), (uint8_t)code };

	h2t_send(h, NGHTTP2_RST_STREAM, 0, id, p, 4);
}

static uint32_t number(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static void decode(struct h2t *h, struct h2t_frame *f, uint8_t *p, size_t len)
{
	nghttp2_nv nv;
	int flags;

	f->len = 0;
	do {
		ssize_t n = nghttp2_hd_inflate_hd2(h->inflater, &nv, &flags, p, len, 1);

		if (n < 0)
			break;
		p += n;
		len -= (size_t)n;
		if (flags & NGHTTP2_HD_INFLATE_EMIT)
			f->len += (size_t)snprintf(f->text + f->len, sizeof(f->text) - f->len, "%.*s: %.*s\n",
						   (int)nv.namelen, nv.name, (int)nv.valuelen, nv.value);
	} while (!(flags & NGHTTP2_HD_INFLATE_FINAL) && (len || flags & NGHTTP2_HD_INFLATE_EMIT));
	nghttp2_hd_inflate_end_headers(h->inflater);
}

static bool read_one(struct h2t *h, struct h2t_frame *f)
{
	static uint8_t body[70000];
	uint8_t head[9];

	if (!pw_exactly(h->fd, head, 9))
		return false;
	f->len = (size_t)head[0] << 16 | (size_t)head[1] << 8 | head[2];
	f->type = head[3];
	f->flags = head[4];
	f->id = number(head + 5) & 0x7fffffff;
	if (f->len >= sizeof(body) || (f->len && !pw_exactly(h->fd, body, f->len)))
		return false;
	memcpy(f->text, body, f->len);
	f->text[f->len] = '\0';
	f->code = f->type == NGHTTP2_RST_STREAM ? number(body) : f->type == NGHTTP2_GOAWAY ? number(body + 4) : 0;
	if (f->type == NGHTTP2_HEADERS)
		decode(h, f, body, f->len);
	return true;
}

bool h2t_next(struct h2t *h, struct h2t_frame *f)
{
	while (read_one(h, f)) {
		if (f->type == NGHTTP2_SETTINGS && !(f->flags & NGHTTP2_FLAG_ACK))
			h2t_send(h, NGHTTP2_SETTINGS, NGHTTP2_FLAG_ACK, 0, "", 0);
		else if (f->type != NGHTTP2_SETTINGS && f->type != NGHTTP2_PING &&
			 (f->type != NGHTTP2_WINDOW_UPDATE || h->shows_windows))
			return true;
	}
	return false;
}

bool h2t_until(struct h2t *h, struct h2t_frame *f, uint8_t type, uint32_t id)
{
	while (h2t_next(h, f))
		if (f->type == type && f->id == id)
			return true;
	return false;
}

static unsigned under_way(struct pw *w)
{
	return (unsigned)(pw_counters(w, false).active + pw_counters(w, true).active);
}

void h2t_done(struct pw *w, struct h2t *app, struct h2t *back)
{
	h2t_end(app);
	for (int i = 0; i < 2000 && under_way(w) > 0; i++)
		usleep(1000);
	assert_int_equal(under_way(w), 0);
	if (back->inflater)
		h2t_end(back);
	pw_stop(w);
}
