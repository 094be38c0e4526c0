// SPDX-License-Identifier: Apache-2.0
/*
 * POST /v1/records/add: a record that a person brought is judged by the edge, like any other, and the answer says what
 * came of it. POST /v1/records/remove and /v1/records/readmit: where no control plane says who belongs.
 */
#include <errno.h>
#include <event2/buffer.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/text.h"
#include "parent.h"
#include "report_json.h"

#define ADDS_MAX     16
#define HEX_MIN      8 /* digits of an instance-id that name it */
#define INSTANCE_HEX (2 * BY_INSTANCE_ID_LEN + 1)

DEFINE_CLEANUP(json, json_t, json_decref)

/* The edge answers the mark that was sent behind the record when it is done with it. */
struct adding {
	struct adding *next;
	struct evhttp_request *req; /* NULL: the client has gone */
	uint64_t token;
	char origin[MSG_ORIGIN_LEN];
	uint8_t digest[32]; /* of the record's text, which names it */
	struct err err;     /* why it was refused */
};

static void refuse(struct evhttp_request *req, const struct err *e)
{
	json_t *o = json_pack("{s:s, s:s, s:s}", "where", e->where, "error", e->msg, "reason",
			      e->reason ? id_reason_name(e->reason) : "");

	ctl_reply_json(req, e->reason || e->code == -EINVAL ? 422 : e->code == -EAGAIN ? 503 : 409, o);
}

/* A member of the request's object, which is a string. */
static int read_text(struct evhttp_request *req, const char *key, json_t **body, const char **text, struct err *e)
{
	struct evbuffer *in = evhttp_request_get_input_buffer(req);
	size_t len = evbuffer_get_length(in);
	json_error_t why;

	*body = len ? json_loadb((const char *)evbuffer_pullup(in, -1), len, JSON_REJECT_DUPLICATES, &why) : NULL;
	*text = json_string_value(json_object_get(*body, key));
	return *text ? 0 : err_at(e, -EINVAL, "request", "needs an object with '%s', a string", key);
}

/* --- add --- */

static const struct node *node_of_record(const struct parent *p, const uint8_t digest[32])
{
	for (size_t i = 0; i < p->n_nodes; i++)
		if (memcmp(p->nodes[i]->id.digest, digest, 32) == 0)
			return p->nodes[i];
	return NULL;
}

static void answer(struct parent *p, struct adding *a)
{
	const struct node *n = node_of_record(p, a->digest);
	char instance[INSTANCE_HEX];

	evhttp_connection_set_closecb(evhttp_request_get_connection(a->req), NULL, NULL);
	if (!a->err.code && !n)
		err_at(&a->err, -EEXIST, "record", "is this node's own");
	if (!a->err.code && !node_is_stored(p, n))
		err_at(&a->err, -EIO, "record", "is believed, but not kept for a restart: see the log");
	if (a->err.code) {
		refuse(a->req, &a->err);
		return;
	}
	hex_print(instance, n->id.record.instance_id, BY_INSTANCE_ID_LEN);
	ctl_reply_json(a->req, 200,
		       json_pack("{s:s, s:s, s:b, s:I}", "node", n->id.record.node, "instance_id", instance,
				 "simulated", n->id.claims.is_simulated, "until", (json_int_t)node_until(n)));
}

static void finish(struct parent *p, struct adding **at)
{
	struct adding *a = *at;

	*at = a->next;
	if (a->req)
		answer(p, a);
	free(a);
}

void report_record_refused(struct parent *p, const char *origin, const struct err *e)
{
	for (struct adding *a = p->adding; a; a = a->next)
		if (strcmp(a->origin, origin) == 0)
			a->err = *e;
}

void report_record_marked(struct parent *p, uint64_t token)
{
	for (struct adding **at = &p->adding; *at; at = &(*at)->next) {
		if ((*at)->token != token)
			continue;
		finish(p, at);
		return;
	}
}

void report_records_end(struct parent *p)
{
	while (p->adding) {
		err_at(&p->adding->err, -EAGAIN, "edge process", "is gone; ask again");
		finish(p, &p->adding);
	}
}

static void on_client_gone(struct evhttp_connection *conn, void *arg)
{
	struct adding *a = arg;

	(void)conn;
	a->req = NULL;
}

static size_t adds(const struct parent *p)
{
	size_t n = 0;

	for (const struct adding *a = p->adding; a; a = a->next)
		n++;
	return n;
}

static int add(struct parent *p, struct evhttp_request *req, const char *text, struct err *e)
{
	struct msg_stored m = { 0 };
	struct msg_token mark;
	struct adding *a;

	if (!p->is_loaded || !p->edge.ipc)
		return err_at(e, -EAGAIN, "baileyd", "is still starting; ask again");
	if (strlen(text) > ID_RECORD_MAX)
		return err_at(e, -EINVAL, "record", "is longer than %d bytes", ID_RECORD_MAX);
	a = adds(p) < ADDS_MAX ? calloc(1, sizeof(*a)) : NULL;
	if (!a)
		return err_at(e, -EAGAIN, "baileyd", "%d records wait already; ask again", ADDS_MAX);
	a->req = req;
	a->token = mark.token = MARK_OF_ADD | ++p->last_token;
	EVP_Digest(text, strlen(text), a->digest, NULL, EVP_sha256(), NULL);
	snprintf(a->origin, sizeof(a->origin), "bailey node add, %llu", (unsigned long long)p->last_token);
	memcpy(m.origin, a->origin, sizeof(m.origin));
	a->next = p->adding;
	p->adding = a;
	evhttp_connection_set_closecb(evhttp_request_get_connection(req), on_client_gone, a);
	ipc_send_blob(p->edge.ipc, MSG_EDGE_RECORD, &m, sizeof(m), text, strlen(text));
	ipc_send(p->edge.ipc, MSG_EDGE_MARK, &mark, sizeof(mark), -1);
	return 0;
}

void report_on_record_add(struct evhttp_request *req, void *arg)
{
	auto_call(cleanup_json) json_t *body = NULL;
	struct err e = ERR_INIT;
	const char *text;

	if (read_text(req, "record", &body, &text, &e) < 0 || add(arg, req, text, &e) < 0)
		refuse(req, &e);
}

/* --- remove, readmit --- */

static bool is_named(const uint8_t instance_id[BY_INSTANCE_ID_LEN], const char *text)
{
	char hex[INSTANCE_HEX];

	hex_print(hex, instance_id, BY_INSTANCE_ID_LEN);
	return strlen(text) >= HEX_MIN && strncmp(hex, text, strlen(text)) == 0;
}

/* Of those that are known, or revoked. Two that fit are none. */
static int find(const struct parent *p, const char *text, bool is_revoked, uint8_t instance_id[BY_INSTANCE_ID_LEN],
		struct err *e)
{
	size_t n = 0;

	for (size_t i = 0; !is_revoked && i < p->n_nodes; i++) {
		const struct id_record *r = &p->nodes[i]->id.record;

		if (strcmp(r->node, text) != 0 && !is_named(r->instance_id, text))
			continue;
		n++;
		memcpy(instance_id, r->instance_id, BY_INSTANCE_ID_LEN);
	}
	for (size_t i = 0; is_revoked && i < p->vpc.n_revoked; i++) {
		if (!is_named(p->vpc.revoked[i], text))
			continue;
		n++;
		memcpy(instance_id, p->vpc.revoked[i], BY_INSTANCE_ID_LEN);
	}
	if (n == 1)
		return 0;
	return err_at(e, -ENOENT, "node", n ? "'%.60s' fits %zu: say more of the instance-id" : "there is no '%.60s'",
		      text, n);
}

static void set(struct parent *p, struct evhttp_request *req, bool is_revoked)
{
	struct msg_revoked m = { .is_revoked = is_revoked };
	auto_call(cleanup_json) json_t *body = NULL;
	struct err e = ERR_INIT;
	char hex[INSTANCE_HEX];
	const char *text;

	if (p->conf.vpc.is_on)
		err_at(&e, -EPERM, "vpc",
		       "the control plane says who belongs: `bailey node revoke` or `approve` there");
	else if (!p->edge.ipc)
		err_at(&e, -EAGAIN, "edge process", "is starting; ask again");
	else if (read_text(req, "node", &body, &text, &e) == 0)
		find(p, text, !is_revoked, m.instance_id, &e);
	if (e.code) {
		refuse(req, &e);
		return;
	}
	ipc_send(p->edge.ipc, MSG_EDGE_REVOKE, &m, sizeof(m), -1);
	vpc_on_revoked(p, &m);
	hex_print(hex, m.instance_id, BY_INSTANCE_ID_LEN);
	ctl_reply_json(req, 200, json_pack("{s:s}", "instance_id", hex));
}

void report_on_record_remove(struct evhttp_request *req, void *arg)
{
	set(arg, req, true);
}

void report_on_record_readmit(struct evhttp_request *req, void *arg)
{
	set(arg, req, false);
}
