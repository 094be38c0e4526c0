// SPDX-License-Identifier: Apache-2.0
#include "source.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/buf.h"
#include "base/cleanup.h"

#define WHERE      "agent"
#define ANSWER_S   60 /* a quote may take this long, as dstack's clients wait */
#define RETRY_S    60 /* 1, 2, 4 .. seconds between tries */
#define CHAIN_MAX  8
#define RENEW_MIN  5 /* seconds; a certificate that lives shorter is renewed no more often */
#define RENEW_PART 2 / 3

DEFINE_CLEANUP(json, json_t, json_decref)

struct source {
	struct source_conf conf;
	struct event *timer;
	unsigned failures;
};

/* --- what comes --- */

/* Leaf first, one after the other. NULL: no list of texts, or too long. */
static char *chain_text(const json_t *list)
{
	auto_out struct out out = { 0 };
	const json_t *pem;
	size_t i, len;

	if (!json_is_array(list) || !json_array_size(list) || json_array_size(list) > CHAIN_MAX)
		return NULL;
	json_array_foreach (list, i, pem) {
		if (!json_is_string(pem))
			return NULL;
		out_bytes(&out, json_string_value(pem), json_string_length(pem));
		out_bytes(&out, "\n", 1);
	}
	out_u8(&out, 0);
	return (char *)out_take(&out, &len);
}

static void later(struct source *s, int64_t seconds)
{
	struct timeval pause = { .tv_sec = seconds };

	event_add(s->timer, &pause);
}

static void try_again(struct source *s, const struct err *e)
{
	unsigned pause = s->failures < 6 ? 1u << s->failures : RETRY_S;

	s->failures++;
	later(s, pause);
	s->conf.failed(e, s->conf.arg);
}

static int identity_take(struct source *s, const json_t *answer, int64_t *until, struct err *e)
{
	const char *key = json_string_value(json_object_get(answer, "key"));
	char *cert = chain_text(json_object_get(answer, "certificate_chain")), *copy = key ? strdup(key) : NULL;
	int ret;

	if (cert && copy)
		ret = s->conf.take(cert, copy, until, e, s->conf.arg);
	else
		ret = err_at(e, -EBADMSG, WHERE, "answers no key with a certificate_chain");
	if (ret == 0)
		return 0;
	if (copy)
		OPENSSL_cleanse(copy, strlen(copy));
	free(copy);
	free(cert);
	return ret;
}

static void on_answer(const json_t *answer, const struct err *why, void *arg)
{
	struct source *s = arg;
	struct err e = *why;
	int64_t until, left;

	if (!answer || identity_take(s, answer, &until, &e) < 0) {
		try_again(s, &e);
		return;
	}
	s->failures = 0;
	left = until - time(NULL);
	if (left > s->conf.life_s) /* an agent that does not heed not_after */
		left = s->conf.life_s;
	left = left * RENEW_PART;
	later(s, left > RENEW_MIN ? left : RENEW_MIN);
}

/* --- asking --- */

static json_t *arguments(const struct source *s)
{
	/* without a quote the issuer says which instance it is */
	json_t *args = json_pack("{s:s, s:b, s:b, s:b, s:b}", "subject", s->conf.subject, "usage_ra_tls",
				 !s->conf.without_quote, "with_app_info", s->conf.without_quote, "usage_server_auth", 1,
				 "usage_client_auth", 1);

	if (args && s->conf.is_legacy)
		json_object_set_new(args, "random_seed", json_true());
	else if (args)
		json_object_set_new(args, "not_after", json_integer(time(NULL) + s->conf.life_s));
	return args;
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct source *s = arg;
	auto_call(cleanup_json) json_t *args = arguments(s);
	struct ag_question q = { .path = s->conf.is_legacy ? "/prpc/Tappd.DeriveKey" : "/GetTlsKey",
				 .args = args,
				 .timeout_s = ANSWER_S,
				 .fn = on_answer,
				 .arg = s };
	struct err e = ERR_INIT;

	(void)fd, (void)what;
	if (!args)
		err_at(&e, -ENOMEM, WHERE, "out of memory");
	if (e.code || link_ask(s->conf.link, &q, &e) < 0)
		try_again(s, &e);
}

int source_new(const struct source_conf *conf, struct source **source, struct err *e)
{
	struct source *made = calloc(1, sizeof(*made));

	if (made)
		made->timer = evtimer_new(conf->base, on_timer, made);
	if (!made || !made->timer) {
		free(made);
		return err_at(e, -ENOMEM, WHERE, "out of memory");
	}
	made->conf = *conf;
	later(made, 0);
	*source = made;
	return 0;
}

void source_free(struct source *source)
{
	if (!source)
		return;
	event_free(source->timer);
	free(source);
}
