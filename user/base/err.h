/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Errors that people read. Mechanics return 0 or -errno; what a person must understand also fills a struct err:
 * caller-owned, fixed size, nothing allocated. The first cause wins: a filled err is not overwritten, outer
 * layers only put their place in front with err_wrap(). Printed once, where it is handled.
 */
#pragma once

#include <stdbool.h>

struct err {
	int code;        /* negative errno; 0: no error */
	int reason;      /* a room's own enum (enum id_reason), 0: none */
	char where[192]; /* object and place: "policy/web.yaml:14:7", "record of web" */
	char msg[320];   /* what was found, what was needed */
};

#define ERR_INIT ((struct err){ 0 })

/* Both return `code` (a negative errno). `where` may be NULL. `e` may be NULL. */
int err_at(struct err *e, int code, const char *where, const char *fmt, ...) __attribute__((format(printf, 4, 5)));
int err_reason(struct err *e, int reason, const char *where, const char *fmt, ...)
	__attribute__((format(printf, 4, 5))); /* code is -EBADMSG */

/* Puts "place: " in front of where. Returns e->code. */
int err_wrap(struct err *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* "where: msg", into a caller's buffer; returns buf. */
const char *err_text(const struct err *e, char *buf, unsigned long size);
