// SPDX-License-Identifier: Apache-2.0
/* The store process's part of the REST API: what front asks for, decided and answered as dstack-vpc words it. */
#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/text.h"
#include "store_process.h"

#define KEY_LIFE_S 86400

DEFINE_CLEANUP(json, json_t, json_decref)

/* --- lists --- */

struct listing {
	json_t *list;
	bool is_discovery, is_etcd;
};

static json_t *text_or_null(const char *text)
{
	return *text ? json_string(text) : json_null();
}

static void discovered(const struct vs_api_node *node, struct listing *l)
{
	char place[VS_API_HOST + 8];
	json_t *o;

	if (!node->hostname[0])
		return;
	snprintf(place, sizeof(place), "%s:2379", node->hostname);
	o = json_pack("{s:s, s:s*, s:o, s:s}", "hostname", node->hostname, "hostname_with_port",
		      l->is_etcd ? place : NULL, "tailscale_ip", text_or_null(node->ip), "uuid", node->uuid);
	json_array_append_new(l->list, o);
}

static void node_list(const struct vs_api_node *node, void *arg)
{
	struct listing *l = arg;

	if (l->is_discovery)
		discovered(node, l);
	else
		json_array_append_new(l->list,
				      json_pack("{s:s, s:s, s:s, s:o, s:o}", "uuid", node->uuid, "name", node->uuid,
						"node_type", node->type, "tailscale_ip", text_or_null(node->ip),
						"actual_hostname", text_or_null(node->hostname)));
}

static json_t *error(const char *text)
{
	return json_pack("{s:s}", "error", text);
}

static json_t *none_found(const char *type)
{
	char text[VS_API_TYPE + 32];

	snprintf(text, sizeof(text), "No %s nodes found", type);
	return error(text);
}

static json_t *list(struct process *p, const struct vs_msg_api *m, int *status, struct err *e)
{
	bool is_discovery = m->path == VS_API_DISCOVER;
	struct listing l = { .list = json_array(),
			     .is_discovery = is_discovery,
			     .is_etcd = strcmp(m->node.type, "etcd") == 0 };
	int n;

	if (vs_api_each(p->store, is_discovery ? m->node.type : NULL, time(NULL), node_list, &l, e) < 0) {
		json_decref(l.list);
		return NULL;
	}
	n = (int)json_array_size(l.list);
	if (n || !is_discovery)
		*status = 200;
	if (n && is_discovery)
		return json_pack("{s:i, s:s, s:o}", "count", n, "node_type", m->node.type, "nodes", l.list);
	if (n)
		return json_pack("{s:i, s:o}", "count", n, "nodes", l.list);
	json_decref(l.list);
	if (!is_discovery)
		return json_pack("{s:i, s:n}", "count", 0, "nodes");
	*status = 404;
	return none_found(m->node.type);
}

/* --- changes --- */

/* One of our addresses is told by the node whose it is, and by nobody else. */
static int address_check(struct process *p, const struct vs_msg_api *m, struct err *e)
{
	uint32_t number = 0;
	struct by_addr addr, own;
	int ret;

	if (!m->node.ip[0] || !addr_parse(&addr, m->node.ip))
		return 0;
	ret = m->who.has_instance ? vs_store_number(p->store, m->who.instance_id, time(NULL), &number, e) : 0;
	for (uint32_t i = 0; i < p->conf.n_pools && !ret; i++) {
		if (!addr_in_prefix(&addr, &p->conf.pools[i]))
			continue;
		own = vs_conf_address(&p->conf, i, number);
		if (!number || !addr_equal(&addr, &own))
			ret = err_at(e, -EPERM, "REST API", "%s is not the caller's address", m->node.ip);
	}
	return ret;
}

static json_t *update(struct process *p, const struct vs_msg_api *m, int *status, struct err *e)
{
	bool is_new = false;
	int ret = address_check(p, m, e);

	if (!ret)
		ret = vs_api_update(p->store, &m->who, &m->node, time(NULL), p->conf.api.lease_s, &is_new, e);
	if (ret == -ENOSPC) {
		*status = 503;
		return error("Too many nodes");
	}
	if (ret)
		return NULL;
	*status = 200;
	return json_pack("{s:s}", "status", is_new ? "created" : "updated");
}

/* Of one instance, used once, a day long: what a key of dstack-vpc's is not. */
static json_t *key_make(struct process *p, const struct vs_msg_api *m, int *status, struct err *e)
{
	struct vs_key key = { .has_instance = true, .expires = time(NULL) + KEY_LIFE_S };
	int ret = 0;

	if (!hex_parse(key.instance, sizeof(key.instance), m->node.uuid))
		ret = err_at(e, -EINVAL, "REST API", "instance_id is none");
	else if (m->who.has_instance && memcmp(key.instance, m->who.instance_id, sizeof(key.instance)) != 0)
		ret = err_at(e, -EPERM, "REST API", "asks for a key of another instance");
	memcpy(key.hash, m->key, sizeof(key.hash));
	hex_print(key.origin, m->who.app_id, BY_APP_ID_LEN);
	if (!ret)
		ret = vs_key_add(p->store, &key, true, time(NULL), e);
	*status = ret ? 500 : 200;
	if (ret)
		log_limited(LOG_WARN, "no pre-auth key for app %s: %s", key.origin, e->msg);
	return ret == -EPERM ? NULL : ret ? error("Failed to generate pre-auth key") : json_object();
}

/* --- answers --- */

/* What went wrong beside what dstack-vpc knows is said in its words and logged in ours. */
static json_t *failed(const struct vs_msg_api *m, int *status, const struct err *e)
{
	char app[2 * BY_APP_ID_LEN + 1], text[600];

	hex_print(app, m->who.app_id, BY_APP_ID_LEN);
	log_limited(LOG_WARN, "app %s: %s", app, err_text(e, text, sizeof(text)));
	*status = e->code == -EPERM ? 403 : 500;
	return error(*status == 403 ? "Forbidden" : "Internal Server Error");
}

static json_t *answer_of(struct process *p, const struct vs_msg_api *m, int *status, struct err *e)
{
	if (vs_caller_check(p->store, &m->who, e) < 0)
		return NULL;
	if (m->path == VS_API_UPDATE)
		return update(p, m, status, e);
	if (m->path == VS_API_REGISTER)
		return key_make(p, m, status, e);
	return list(p, m, status, e);
}

static char *answer_text(struct process *p, const struct vs_msg_api *asked, struct vs_msg_api_done *a,
			 const struct err *no)
{
	struct vs_msg_api m = *asked;
	auto_call(cleanup_json) json_t *o = NULL;
	struct err e = ERR_INIT;
	int status = 500;

	m.node.uuid[VS_API_UUID - 1] = m.node.type[VS_API_TYPE - 1] = '\0';
	m.node.ip[VS_API_IP - 1] = m.node.hostname[VS_API_HOST - 1] = '\0';
	o = no ? error("Service Unavailable") : answer_of(p, &m, &status, &e);
	if (no)
		status = 503;
	if (!o)
		o = failed(&m, &status, &e);
	*a = (struct vs_msg_api_done){ .id = m.id, .status = status };
	return json_dumps(o, JSON_COMPACT);
}

/* Questions are answered from what is committed. */
void vs_api_look(struct process *p, const struct vs_msg_api *m)
{
	struct vs_msg_api_done a;
	auto_free char *text = answer_text(p, m, &a, NULL);

	vs_send(p->front, VS_API_DONE, &a, sizeof(a), text ? text : "", text ? strlen(text) : 0);
}

void vs_api_decide(struct process *p, const struct vs_msg_api *m, const struct err *no)
{
	struct vs_msg_api_done a;
	auto_free char *text = answer_text(p, m, &a, no);
	size_t len = text ? strlen(text) : 0;
	auto_free char *whole = text ? malloc(sizeof(a) + len) : NULL;

	if (!whole)
		return; /* front's connection ends by its clock */
	memcpy(whole, &a, sizeof(a));
	memcpy(whole + sizeof(a), text, len);
	queue_answer(p, VS_API_DONE, whole, sizeof(a) + len);
}
