// SPDX-License-Identifier: Apache-2.0
/* The control socket's requests about the policy: reload, apply, confirm, rollback. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <event2/buffer.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "parent.h"

static json_t *outcome_json(const struct parent *p)
{
	const struct stored *s = life_deciding(p);
	char hex[65];
	json_t *o;

	hex_print(hex, s->digest, sizeof(s->digest));
	o = json_pack("{s:s, s:s, s:i, s:I}", "digest", hex, "origin", s->is_applied ? "applied" : "configured",
		      "rules", (int)pol_rule_count(p->model), "files", (json_int_t)s->sources.n);
	if (p->life.trial)
		json_object_set_new(o, "confirm_in_s", json_integer(life_seconds_left(p)));
	return o;
}

static int status_of(int ret)
{
	switch (ret) {
	case -EBUSY:
	case -ENODATA:
		return 409;
	case -EAGAIN:
		return 503;
	default:
		return 422;
	}
}

static void refuse(struct evhttp_request *req, int ret, const struct diags *d, const struct err *e)
{
	json_t *o = json_pack("{s:s, s:s}", "where", e->where, "error", e->msg);
	auto_free char *lines = NULL;
	size_t size;
	FILE *to = d && d->n ? open_memstream(&lines, &size) : NULL;

	if (to) {
		diags_print(d, to);
		fclose(to);
		json_object_set_new(o, "problems", json_string(lines));
	}
	ctl_reply_json(req, status_of(ret), o);
}

/* --- who waits for net's answer --- */

static void on_gone(struct evhttp_connection *conn, void *arg)
{
	struct parent *p = arg;

	(void)conn;
	p->life.done = NULL; /* it goes on without a reader */
}

static void on_done(struct parent *p, int ret, const struct err *e, void *arg)
{
	struct evhttp_request *req = arg;

	evhttp_connection_set_closecb(evhttp_request_get_connection(req), NULL, NULL);
	if (ret < 0)
		refuse(req, ret, NULL, e);
	else
		ctl_reply_json(req, 200, outcome_json(p));
}

static void answer(struct parent *p, struct evhttp_request *req, int ret, const struct diags *d, const struct err *e)
{
	if (ret < 0) {
		refuse(req, ret, d, e);
	} else if (ret != LIFE_WAITS) {
		ctl_reply_json(req, 200, outcome_json(p));
	} else {
		p->life.done = on_done;
		p->life.done_arg = req;
		evhttp_connection_set_closecb(evhttp_request_get_connection(req), on_gone, p);
	}
}

/* --- requests --- */

void report_on_reload(struct evhttp_request *req, void *arg)
{
	auto_call(diags_fini) struct diags d = { 0 };
	struct err e = ERR_INIT;

	answer(arg, req, parent_reload(arg, &d, &e), &d, &e);
}

/* { "files": [{ "name", "text" }], "confirm_s": 60 }; each may be missing, and an empty body is {}. */
static int read_body(struct evhttp_request *req, json_t **body, struct err *e)
{
	struct evbuffer *in = evhttp_request_get_input_buffer(req);
	size_t len = evbuffer_get_length(in);
	json_error_t why;

	*body = len ? json_loadb((const char *)evbuffer_pullup(in, -1), len, JSON_REJECT_DUPLICATES, &why)
		    : json_object();
	if (!*body)
		return err_at(e, -EINVAL, "request", "is not JSON: %s", len ? why.text : "out of memory");
	return json_is_object(*body) ? 0 : err_at(e, -EINVAL, "request", "needs an object");
}

static int read_files(const json_t *files, struct pol_sources *s, struct err *e)
{
	const json_t *file;
	size_t i;
	int ret = 0;

	if (!json_is_array(files) || !json_array_size(files))
		return err_at(e, -EINVAL, "request", "'files' needs a list of at least one file");
	json_array_foreach (files, i, file) {
		const json_t *name = json_object_get(file, "name"), *text = json_object_get(file, "text");

		if (ret)
			break;
		if (!json_is_string(name) || !json_is_string(text) || strlen(json_string_value(name)) >= POL_PATH_MAX)
			return err_at(e, -EINVAL, "request", "files[%zu] needs a name and a text", i);
		ret = pol_sources_add(s, json_string_value(name), json_string_value(text), json_string_length(text), e);
	}
	return ret;
}

static int read_request(const json_t *body, struct pol_sources *s, unsigned *confirm_s, struct err *e)
{
	const json_t *confirm = json_object_get(body, "confirm_s"), *files = json_object_get(body, "files");
	json_int_t seconds = json_integer_value(confirm);

	if (json_object_size(body) > (size_t) !!confirm + !!files)
		return err_at(e, -EINVAL, "request", "has other keys than 'files' and 'confirm_s'");
	if (confirm && (seconds < 1 || seconds > LIFE_CONFIRM_MAX))
		return err_at(e, -EINVAL, "request", "'confirm_s' needs a number from 1 to %u", LIFE_CONFIRM_MAX);
	*confirm_s = (unsigned)seconds;
	return files ? read_files(files, s, e) : 0;
}

void report_on_apply(struct evhttp_request *req, void *arg)
{
	auto_call(pol_sources_fini) struct pol_sources s = { 0 };
	auto_call(diags_fini) struct diags d = { 0 };
	struct err e = ERR_INIT;
	json_t *body = NULL;
	unsigned confirm_s = 0;
	int ret = read_body(req, &body, &e);

	if (!ret)
		ret = read_request(body, &s, &confirm_s, &e);
	json_decref(body);
	if (!ret)
		ret = life_apply(arg, s.n ? &s : NULL, confirm_s, &d, &e);
	answer(arg, req, ret, &d, &e);
}

void report_on_confirm(struct evhttp_request *req, void *arg)
{
	struct err e = ERR_INIT;

	answer(arg, req, life_confirm(arg, &e), NULL, &e);
}

void report_on_rollback(struct evhttp_request *req, void *arg)
{
	auto_call(diags_fini) struct diags d = { 0 };
	struct err e = ERR_INIT;

	answer(arg, req, life_rollback(arg, &d, &e), &d, &e);
}
