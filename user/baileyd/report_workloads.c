// SPDX-License-Identifier: Apache-2.0
/* The control socket's requests about the machines behind this host. */
#include <errno.h>
#include <event2/buffer.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "report_json.h"

static json_t *addresses(const struct node *n)
{
	json_t *list = json_array();
	char text[ADDR_TEXT];

	for (uint32_t i = 0; n && i < n->id.record.n_addrs; i++)
		json_array_append_new(list, json_string(addr_print(&n->id.record.addrs[i], text)));
	return list;
}

static void add_counts(json_t *o, const struct msg_counts *m)
{
	const struct dp_status *dp = &m->dp;

	json_object_set_new(o, "attach", json_string(m->attach));
	if (m->trouble[0])
		json_object_set_new(o, "trouble", json_string(m->trouble));
	json_object_set_new(o, "generation", json_integer(dp->gen.gen));
	json_object_set_new(o, "flows", json_integer((json_int_t)dp->n_flows));
	json_object_set_new(o, "passed_in", json_integer((json_int_t)dp->stat[BY_DIR_IN][BY_DROP_NONE].packets));
	json_object_set_new(o, "passed_out", json_integer((json_int_t)dp->stat[BY_DIR_OUT][BY_DROP_NONE].packets));
	json_object_set_new(o, "events_lost", json_integer((json_int_t)dp->events_lost));
	json_object_set_new(o, "drops", report_drops_json(dp));
}

static json_t *one(struct parent *p, uint32_t target)
{
	const struct target *t = &p->targets[target];
	const struct node *n = node_find(p, t->workload.instance_id);
	const char *app = n && p->model ? pol_app_name(p->model, n->id.record.app_id) : NULL;
	json_t *o = json_pack("{s:s, s:s, s:o, s:b, s:b, s:o}", "name", t->workload.name, "interface", t->interface,
			      "instance_id", json_hex(t->workload.instance_id, BY_INSTANCE_ID_LEN), "configured",
			      t->is_configured, "verified", n != NULL, "addresses", addresses(n));

	if (n) {
		json_object_set_new(o, "node", json_string(n->id.record.node));
		json_object_set_new(o, "app", app ? json_string(app) : json_null());
		json_object_set_new(o, "app_id", json_hex(n->id.record.app_id, BY_APP_ID_LEN));
		json_object_set_new(o, "simulated", json_boolean(n->id.claims.is_simulated));
	}
	if (p->report.is_known)
		add_counts(o, &p->report.counts[target]);
	if (p->report.is_known)
		json_object_set_new(o, "rules", report_rules_json(p, target));
	return o;
}

json_t *report_workloads_json(struct parent *p)
{
	json_t *list = json_array();

	for (uint32_t i = 0; i < p->n_targets; i++)
		if (p->targets[i].kind == TARGET_IS_WORKLOAD)
			json_array_append_new(list, one(p, i));
	return list;
}

static void answer_list(struct parent *p, struct evhttp_request *req)
{
	ctl_reply_json(req, 200, report_workloads_json(p));
}

void report_on_workloads(struct evhttp_request *req, void *arg)
{
	report_ask_net(arg, req, false, answer_list);
}

static void refuse(struct evhttp_request *req, int ret, const struct err *e)
{
	ctl_reply_error(req,
			ret == -EBUSY || ret == -EEXIST ? 409
			: ret == -EAGAIN                ? 503
			: ret == -ENOENT                ? 404
							: 422,
			e);
}

/* By now net has opened it, or has not. */
static void answer_added(struct parent *p, struct evhttp_request *req)
{
	if (p->workload_err.code)
		refuse(req, p->workload_err.code, &p->workload_err);
	else
		answer_list(p, req);
}

static int read_request(struct evhttp_request *req, struct conf_workloads *list, struct err *e)
{
	auto_call(diags_fini) struct diags d = { 0 };
	struct evbuffer *in = evhttp_request_get_input_buffer(req);
	size_t len = evbuffer_get_length(in);

	if (!len)
		return err_at(e, -EINVAL, "request", "is empty, needed: workloads");
	if (conf_workloads_parse("request", (const char *)evbuffer_pullup(in, -1), len, list, &d) < 0)
		return diags_first(&d, e);
	return list->n == 1 ? 0 : err_at(e, -EINVAL, "request", "has %u workloads, needed: 1", list->n);
}

/* The body is what the configuration file has: JSON is YAML. */
void report_on_workload_add(struct evhttp_request *req, void *arg)
{
	struct conf_workloads list;
	struct parent *p = arg;
	struct err e = ERR_INIT;
	int ret = read_request(req, &list, &e);

	p->workload_err = ERR_INIT;
	if (!ret)
		ret = workload_add(p, &list.item[0], &e);
	if (ret)
		refuse(req, ret, &e);
	else
		report_ask_net(p, req, false, answer_added);
}

void report_on_workload_remove(struct evhttp_request *req, void *arg)
{
	struct evbuffer *in = evhttp_request_get_input_buffer(req);
	json_t *body = json_loadb((const char *)evbuffer_pullup(in, -1), evbuffer_get_length(in), 0, NULL);
	const char *name = json_string_value(json_object_get(body, "name"));
	struct err e = ERR_INIT;
	int ret = name ? workload_remove(arg, name, &e) : err_at(&e, -EINVAL, "request", "needs an object with a name");

	if (ret)
		refuse(req, ret, &e);
	else
		report_ask_net(arg, req, false, answer_list);
	json_decref(body);
}
