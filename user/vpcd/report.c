// SPDX-License-Identifier: Apache-2.0
#include "report.h"

#include <event2/buffer.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/json.h"
#include "base/text.h"

#define BODY_MAX 4096

struct link {
	struct hash_item item;
	uint8_t instance_id[BY_INSTANCE_ID_LEN];
};

void vs_links_set(struct vs_links *links, const struct vs_msg_link *m)
{
	struct link *l;

	links->by_instance.key_len = BY_INSTANCE_ID_LEN;
	l = hash_of(hash_find(&links->by_instance, m->instance_id), struct link, item);
	if (l && !m->is_up) {
		hash_del(&links->by_instance, &l->item);
		free(l);
	}
	if (l || !m->is_up)
		return;
	l = calloc(1, sizeof(*l));
	if (!l)
		return;
	memcpy(l->instance_id, m->instance_id, sizeof(l->instance_id));
	if (hash_add(&links->by_instance, &l->item, l->instance_id) < 0)
		free(l);
}

static bool is_up(const struct vs_report *r, const uint8_t *instance_id)
{
	return r->links->by_instance.n && hash_find(&r->links->by_instance, instance_id);
}

json_t *vs_report_body(struct evhttp_request *req)
{
	struct evbuffer *in = evhttp_request_get_input_buffer(req);
	size_t len = evbuffer_get_length(in);

	return len && len <= BODY_MAX ? json_loadb((char *)evbuffer_pullup(in, -1), len, 0, NULL) : NULL;
}

char *vs_report_asked(struct evhttp_request *req, const char *key)
{
	json_t *o = vs_report_body(req);
	const char *text = json_string_value(json_object_get(o, key));
	char *copy = text ? strdup(text) : NULL;

	json_decref(o);
	return copy;
}

/* --- nodes --- */

struct listing {
	const struct vs_report *r;
	json_t *list;
	size_t n[VS_STATES], ended;
	int64_t now;
};

static const char *state_of(const struct vs_row *row, int64_t now)
{
	return row->state == VS_REVOKED                          ? "revoked"
	       : row->state == VS_PENDING                        ? "pending"
	       : row->record.not_after < now || !row->has_record ? "ended"
								 : "member";
}

static json_t *addresses(const struct vs_conf *conf, uint32_t number)
{
	json_t *list = json_array();
	char text[ADDR_TEXT];

	for (uint32_t i = 0; i < conf->n_pools; i++) {
		struct by_addr a = vs_conf_address(conf, i, number);

		json_array_append_new(list, json_string(addr_print(&a, text)));
	}
	return list;
}

static void node_add(const struct vs_row *row, const void *record, size_t len, void *arg)
{
	struct listing *l = arg;
	char key[BASE64_LEN(ID_WG_KEY_LEN)] = "";
	json_t *o;

	(void)record, (void)len;
	if (row->has_record)
		base64_print(key, row->record.wg_key, sizeof(row->record.wg_key));
	o = json_pack("{s:s, s:s, s:o, s:o, s:o, s:b, s:b, s:b, s:s, s:s, s:I, s:I, s:I, s:I}", "node", row->who.node,
		      "state", state_of(row, l->now), "instance_id", json_hex(row->who.instance_id, BY_INSTANCE_ID_LEN),
		      "app_id", json_hex(row->who.app_id, BY_APP_ID_LEN), "addresses",
		      addresses(l->r->conf, row->number), "simulated", row->who.is_simulated, "ephemeral",
		      row->is_ephemeral, "connected", is_up(l->r, row->who.instance_id), "public_key", key, "from",
		      row->who.from, "epoch", (json_int_t)row->record.epoch, "serial", (json_int_t)row->serial,
		      "joined", (json_int_t)row->joined, "expires_in_s", (json_int_t)(row->record.not_after - l->now));
	json_array_append_new(l->list, o);
}

json_t *vs_report_nodes(const struct vs_report *r)
{
	struct listing l = { .r = r, .list = json_array(), .now = time(NULL) };
	struct err e = ERR_INIT;

	if (vs_store_each(r->store, node_add, &l, &e) < 0) {
		json_decref(l.list);
		return json_pack("{s:s}", "error", e.msg);
	}
	return json_pack("{s:o}", "nodes", l.list);
}

static void node_count(const struct vs_row *row, const void *record, size_t len, void *arg)
{
	struct listing *l = arg;

	(void)record, (void)len;
	if (row->state == VS_MEMBER && (row->record.not_after < l->now || !row->has_record))
		l->ended++;
	else
		l->n[row->state]++;
}

static struct listing counts_of(const struct vs_report *r)
{
	struct listing l = { .r = r, .now = time(NULL) };
	struct err e = ERR_INIT;

	vs_store_each(r->store, node_count, &l, &e);
	return l;
}

/* null: the store is a file. */
static json_t *etcd_part(const struct vs_report *r)
{
	json_t *list = json_array();
	const struct vs_server *server;
	size_t n;

	if (!vs_store_is_shared(r->store)) {
		json_decref(list);
		return json_null();
	}
	server = vs_store_servers(r->store, &n);
	for (size_t i = 0; i < n; i++)
		json_array_append_new(list, json_pack("{s:s, s:s, s:I, s:I}", "id", server[i].id, "listen",
						      server[i].listen, "connected", (json_int_t)server[i].sessions,
						      "since", (json_int_t)server[i].since));
	return json_pack("{s:b, s:I, s:o}", "fresh", vs_store_fresh_until(r->store) > vs_clock_ms(), "fresh_for_ms",
			 (json_int_t)(vs_store_fresh_until(r->store) - vs_clock_ms()), "servers", list);
}

/* null: there is none. */
static json_t *api_part(const struct vs_report *r)
{
	return r->conf->api.is_on
		       ? json_pack("{s:s, s:I, s:I, s:I}", "mesh_user", r->conf->api.mesh_user, "nodes",
				   (json_int_t)vs_api_count(r->store), "requests", (json_int_t)r->stats->api_requests,
				   "refused", (json_int_t)r->stats->api_refused)
		       : json_null();
}

json_t *vs_report_status(const struct vs_report *r)
{
	struct listing l = counts_of(r);
	json_t *pools = json_array(), *refused = json_object();
	char listen[ENDPOINT_TEXT], text[PREFIX_TEXT];

	for (uint32_t i = 0; i < r->conf->n_pools; i++)
		json_array_append_new(pools, json_string(prefix_print(&r->conf->pools[i], text)));
	for (int i = 0; i < ID_REASON_COUNT; i++)
		if (r->stats->refused[i])
			json_object_set_new(refused, i ? id_reason_name(i) : "connection",
					    json_integer((json_int_t)r->stats->refused[i]));
	return json_pack("{s:o, s:I, s:s, s:o, s:I, s:I, s:I, s:I, s:I, s:I, s:o, s:I, s:o, s:o}", "network",
			 json_hex(vs_store_network(r->store), VPC_NETWORK), "serial",
			 (json_int_t)vs_store_serial(r->store), "listen", endpoint_print(&r->conf->listen, listen),
			 "pools", pools, "members", (json_int_t)l.n[VS_MEMBER], "pending", (json_int_t)l.n[VS_PENDING],
			 "revoked", (json_int_t)l.n[VS_REVOKED], "ended", (json_int_t)l.ended, "connected",
			 (json_int_t)r->stats->sessions, "authkeys", (json_int_t)vs_keys_good(r->store), "api",
			 api_part(r), "evidence_expires_in_s",
			 (json_int_t)(r->stats->own_until ? r->stats->own_until - l.now : 0), "refused", refused,
			 "etcd", etcd_part(r));
}

/* --- metrics --- */

static void put(struct out *out, const char *name, const char *type, const char *help, uint64_t v)
{
	out_print(out, "# HELP bailey_vpc_%s %s\n# TYPE bailey_vpc_%s %s\nbailey_vpc_%s %llu\n", name, help, name, type,
		  name, (unsigned long long)v);
}

static void refusals_put(struct out *out, const struct vs_msg_stats *stats)
{
	out_print(out, "# HELP bailey_vpc_refused_total Refused nodes by reason; NONE: connections that failed.\n"
		       "# TYPE bailey_vpc_refused_total counter\n");
	for (int i = 0; i < ID_REASON_COUNT; i++)
		out_print(out, "bailey_vpc_refused_total{reason=\"%s\"} %llu\n", i ? id_reason_name(i) : "NONE",
			  (unsigned long long)stats->refused[i]);
}

char *vs_report_metrics(const struct vs_report *r)
{
	struct listing l = counts_of(r);
	struct out out = { 0 };
	size_t len, n;

	put(&out, "members", "gauge", "Nodes with a record that is good.", l.n[VS_MEMBER]);
	put(&out, "pending", "gauge", "Nodes that wait to be approved.", l.n[VS_PENDING]);
	put(&out, "revoked", "gauge", "Nodes that were revoked.", l.n[VS_REVOKED]);
	put(&out, "connected", "gauge", "Nodes that are connected.", r->stats->sessions);
	put(&out, "authkeys", "gauge", "Pre-auth keys that still admit somebody.", (uint64_t)vs_keys_good(r->store));
	if (r->conf->api.is_on) {
		put(&out, "api_nodes", "gauge", "Entries of the REST API.", (uint64_t)vs_api_count(r->store));
		put(&out, "api_requests_total", "counter", "Requests of the REST API.", r->stats->api_requests);
		put(&out, "api_refused_total", "counter", "Of them those that were told 401 or 403.",
		    r->stats->api_refused);
	}
	put(&out, "accepted_total", "counter", "Connections that came.", r->stats->accepted);
	put(&out, "accept_failed_total", "counter",
	    "Times that no connection could be accepted, as without descriptors.", r->stats->accept_failed);
	put(&out, "changes_sent_total", "counter", "Records and revocations told to nodes.", r->stats->changes_sent);
	put(&out, "serial", "counter", "Number of the last change.", vs_store_serial(r->store));
	if (vs_store_is_shared(r->store)) {
		vs_store_servers(r->store, &n);
		put(&out, "servers", "gauge", "Control planes that share the store.", n);
		put(&out, "fresh", "gauge", "1: etcd answers. 0: this one serves nobody.",
		    vs_store_fresh_until(r->store) > vs_clock_ms());
	}
	refusals_put(&out, r->stats);
	out_u8(&out, 0);
	return (char *)out_take(&out, &len);
}
