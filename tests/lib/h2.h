/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One end of HTTP/2 by hand, over a blocking socket, frame by frame: it sends what a library would not. Names and
 * values are literals without an index; what comes is decoded by nghttp2's inflater.
 */
#pragma once

#include <nghttp2/nghttp2.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct h2t {
	int fd;
	nghttp2_hd_inflater *inflater;
	bool shows_windows; /* WINDOW_UPDATE is a frame to h2t_next(), too */
};

struct h2t_frame {
	uint8_t type, flags;
	uint32_t id, code; /* code: of RST_STREAM and GOAWAY */
	size_t len;
	char text[70000]; /* HEADERS: "name: value\n"..; else the payload, and NUL */
};

void h2t_client(struct h2t *h, int fd); /* preface and SETTINGS go out */
void h2t_server(struct h2t *h, int fd); /* preface is read, SETTINGS go out */
struct pw;
/* The end of a test: both ends go, and the engines of `w` once nothing is under way. */
void h2t_done(struct pw *w, struct h2t *app, struct h2t *back);
void h2t_end(struct h2t *h); /* with its socket */

void h2t_send(struct h2t *h, uint8_t type, uint8_t flags, uint32_t id, const void *p, size_t len);
/* `fields` as "name: value\n"..; \x in a value is the byte. */
void h2t_headers(struct h2t *h, uint32_t id, uint8_t flags, const char *fields);
size_t h2t_block(uint8_t *p, const char *fields);
void h2t_reset(struct h2t *h, uint32_t id, uint32_t code);
/*
 * The next frame that is not SETTINGS (which are acknowledged), PING or WINDOW_UPDATE. False: the connection has ended,
 * or nothing came in time.
 */
bool h2t_next(struct h2t *h, struct h2t_frame *f);
bool h2t_until(struct h2t *h, struct h2t_frame *f, uint8_t type, uint32_t id); /* other frames are skipped */
