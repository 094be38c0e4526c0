// SPDX-License-Identifier: Apache-2.0
#include "verdict.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

bool id_verdict_has(const struct id_verdict *v, enum id_reason reason)
{
	for (unsigned i = 0; i < v->n_findings; i++)
		if (v->finding[i].reason == reason)
			return true;
	return false;
}

void id_verdict_add(struct id_verdict *v, enum id_reason reason, const char *fmt, ...)
{
	struct id_finding *f = &v->finding[v->n_findings];
	va_list ap;

	v->is_accepted = false;
	if (v->n_findings == ID_FINDINGS_MAX || id_verdict_has(v, reason))
		return;
	f->reason = reason;
	va_start(ap, fmt);
	vsnprintf(f->text, sizeof(f->text), fmt, ap);
	va_end(ap);
	v->n_findings++;
}

bool id_verdict_advise(struct id_verdict *v, const char *advisory, size_t len)
{
	char text[ID_ADVISORY_LEN] = { 0 };
	unsigned at = 0;

	if (len >= sizeof(text))
		return false;
	memcpy(text, advisory, len);
	while (at < v->n_advisories && strcmp(v->advisory[at], text) < 0)
		at++;
	if (at < v->n_advisories && strcmp(v->advisory[at], text) == 0)
		return true;
	if (v->n_advisories == ID_ADVISORIES_MAX)
		return false;
	memmove(v->advisory[at + 1], v->advisory[at], (v->n_advisories - at) * sizeof(text));
	memcpy(v->advisory[at], text, sizeof(text));
	v->n_advisories++;
	return true;
}

const char *id_verdict_word(const struct id_verdict *v, const struct id_finding *finding, char buf[static 64])
{
	const char *name = id_reason_name((int)finding->reason);
	size_t i = 0;

	if (finding->reason == ID_TCB_STATUS) {
		snprintf(buf, 64, "tcb-%s", id_tcb_status_name(v->tcb_status));
		return buf;
	}
	if (finding->reason == ID_QUOTE_CHAIN)
		return "pck-chain";
	for (; i < 63 && name[i]; i++)
		buf[i] = name[i] == '_' ? '-' : (char)tolower((unsigned char)name[i]);
	buf[i] = '\0';
	return buf;
}

int id_verdict_err(const struct id_verdict *v, const char *where, struct err *e)
{
	if (v->is_accepted)
		return 0;
	if (!v->n_findings)
		return err_reason(e, ID_QUOTE_UNSUPPORTED, where, "was not judged");
	return err_reason(e, (int)v->finding[0].reason, where, "%s", v->finding[0].text);
}
