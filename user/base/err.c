// SPDX-License-Identifier: Apache-2.0
#include "err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void fill(struct err *e, int code, int reason, const char *where, const char *fmt, va_list ap)
{
	if (!e || e->code)
		return;
	e->code = code;
	e->reason = reason;
	snprintf(e->where, sizeof(e->where), "%s", where ? where : "");
	vsnprintf(e->msg, sizeof(e->msg), fmt, ap);
}

int err_at(struct err *e, int code, const char *where, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	fill(e, code, 0, where, fmt, ap);
	va_end(ap);
	return code;
}

int err_reason(struct err *e, int reason, const char *where, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	fill(e, -EBADMSG, reason, where, fmt, ap);
	va_end(ap);
	return -EBADMSG;
}

int err_wrap(struct err *e, const char *fmt, ...)
{
	char outer[sizeof(e->where)], inner[sizeof(e->where)];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(outer, sizeof(outer), fmt, ap);
	va_end(ap);
	memcpy(inner, e->where, sizeof(inner));
	if (snprintf(e->where, sizeof(e->where), "%s%s%s", outer, inner[0] ? ": " : "", inner) < 0)
		e->where[0] = '\0';
	return e->code;
}

const char *err_text(const struct err *e, char *buf, unsigned long size)
{
	if (e->where[0])
		snprintf(buf, size, "%s: %s", e->where, e->msg);
	else
		snprintf(buf, size, "%s", e->msg);
	return buf;
}
