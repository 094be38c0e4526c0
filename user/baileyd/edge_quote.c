// SPDX-License-Identifier: Apache-2.0
#include "edge_quote.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "identity/attestation.h"

#define WHERE "agent"

DEFINE_CLEANUP(json, json_t, json_decref)

struct waiting_quote {
	struct quote_ask ask;
	uint8_t report_data[ID_REPORT_DATA_LEN];
};

static int attestation_make(const json_t *answer, const uint8_t report_data[ID_REPORT_DATA_LEN], struct out *out,
			    struct err *e)
{
	const char *hex = json_string_value(json_object_get(answer, "quote"));
	const char *log = json_string_value(json_object_get(answer, "event_log"));
	auto_call(id_events_fini) struct id_events events = { 0 };
	size_t len = hex ? strlen(hex) / 2 : 0;
	auto_free uint8_t *quote = malloc(len + 1);
	int ret;

	if (!quote || !len || len > ID_CERT_MAX || !log || !hex_parse(quote, len, hex))
		return err_at(e, -EBADMSG, WHERE, "answers no quote with an event_log");
	ret = id_events_from_json(log, strlen(log), &events, e);
	if (ret < 0)
		return ret;
	return id_attestation_write(out, in_of(quote, len), &events, report_data, true)
		       ? 0
		       : err_at(e, -EOPNOTSUPP, WHERE, "its event log has digests of version 2");
}

static void on_answer(const json_t *answer, const struct err *why, void *arg)
{
	auto_free struct waiting_quote *w = arg;
	auto_out struct out out = { 0 };
	struct err e = *why;
	bool ok = answer && attestation_make(answer, w->report_data, &out, &e) == 0;

	w->ask.fn(w->ask.token, out.data, ok ? out.len : 0, &e, w->ask.arg);
}

int edge_quote(const struct quote_ask *ask, const uint8_t report_data[ID_REPORT_DATA_LEN], struct err *e)
{
	auto_free struct waiting_quote *w = malloc(sizeof(*w));
	auto_call(cleanup_json) json_t *args = NULL;
	char hex[2 * ID_REPORT_DATA_LEN + 1];
	struct ag_question q = { .path = ask->is_legacy ? "/prpc/Tappd.RawQuote" : "/GetQuote",
				 .timeout_s = ask->budget_s,
				 .fn = on_answer,
				 .arg = w };

	hex_print(hex, report_data, ID_REPORT_DATA_LEN);
	q.args = args = json_pack("{s:s}", "report_data", hex);
	if (!w || !args)
		return err_at(e, -ENOMEM, WHERE, "out of memory");
	*w = (struct waiting_quote){ .ask = *ask };
	memcpy(w->report_data, report_data, sizeof(w->report_data));
	if (link_ask(ask->link, &q, e) < 0)
		return e->code;
	w = NULL; /* on_answer() frees it */
	return 0;
}
