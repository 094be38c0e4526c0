// SPDX-License-Identifier: Apache-2.0
#include "prpc.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/keyvalq_struct.h>
#include <string.h>

#include "internal.h"

void prpc_reply(struct evhttp_request *req, int status, const json_t *body)
{
	struct evbuffer *out = evhttp_request_get_output_buffer(req);
	auto_free char *text =
		body ? json_dumps(body, JSON_ENCODE_ANY | (status == 200 ? JSON_COMPACT : JSON_INDENT(2))) : NULL;

	if (!text) {
		evhttp_send_error(req, 500, "out of memory");
		return;
	}
	evhttp_add_header(evhttp_request_get_output_headers(req), "Content-Type", "application/json");
	evbuffer_add(out, text, strlen(text));
	evhttp_send_reply(req, status, NULL, NULL);
}

void prpc_reply_error(struct evhttp_request *req, const struct err *e)
{
	char text[sizeof(e->where) + sizeof(e->msg) + 3];
	bool is_whole = strcmp(e->where, "request") == 0; /* dstack's clients compare some of these texts */
	auto_json json_t *body = json_pack("{s:s}", "error", is_whole ? e->msg : err_text(e, text, sizeof(text)));

	prpc_reply(req, 400, body);
}

/* GET, ?json, or a JSON body. The rest is protobuf, which no client of these sockets needs to speak. */
static bool wants_json(struct evhttp_request *req)
{
	const struct evhttp_uri *uri = evhttp_request_get_evhttp_uri(req);
	const char *type = evhttp_find_header(evhttp_request_get_input_headers(req), "Content-Type");
	const char *query = evhttp_uri_get_query(uri);

	return evhttp_request_get_command(req) == EVHTTP_REQ_GET || (query && strncmp(query, "json", 4) == 0) ||
	       (type && strncmp(type, "application/json", 16) == 0);
}

/* Arguments of a GET are texts; "true" and "false" are what a boolean is there. */
static json_t *query_args(struct evhttp_request *req)
{
	const char *query = evhttp_uri_get_query(evhttp_request_get_evhttp_uri(req));
	struct evkeyvalq pairs;
	json_t *args = json_object();

	if (!query || evhttp_parse_query_str(query, &pairs) < 0)
		return args;
	for (struct evkeyval *p = pairs.tqh_first; p; p = p->next.tqe_next) {
		bool is_true = strcmp(p->value, "true") == 0, is_bool = is_true || strcmp(p->value, "false") == 0;

		json_object_set_new(args, p->key, is_bool ? json_boolean(is_true) : json_string(p->value));
	}
	evhttp_clear_headers(&pairs);
	return args;
}

static json_t *body_args(struct evhttp_request *req, struct err *e)
{
	struct evbuffer *in = evhttp_request_get_input_buffer(req);
	size_t len = evbuffer_get_length(in);
	json_error_t why;
	json_t *args;

	if (!len)
		return json_object();
	args = json_loadb((const char *)evbuffer_pullup(in, -1), len, JSON_REJECT_DUPLICATES, &why);
	if (args && json_is_object(args))
		return args;
	err_at(e, -EINVAL, "request", "is no JSON object: %s", args ? "another kind of value" : why.text);
	json_decref(args);
	return NULL;
}

json_t *prpc_args(struct evhttp_request *req, struct err *e)
{
	if (!wants_json(req)) {
		err_at(e, -EOPNOTSUPP, "request", "only JSON is spoken here: send Content-Type: application/json");
		return NULL;
	}
	return evhttp_request_get_command(req) == EVHTTP_REQ_GET ? query_args(req) : body_args(req, e);
}
