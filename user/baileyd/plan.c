// SPDX-License-Identifier: Apache-2.0
/* What net shall do: the policy compiled with the nodes that are known, and those nodes. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"
#include "evidence/files.h"
#include "parent.h"

/* For whom a target's policy is compiled. */
static const struct id_claims *self_of(const struct parent *p, const struct target *t)
{
	return t->kind == TARGET_IS_WORKLOAD ? &t->self : &p->self;
}

/* Peers of the host are networks, not nodes. What the configuration keeps open comes before all rules. */
static int compile_host(struct parent *p, const struct target *t, const struct pol_model *model, struct pol_image **img,
			struct err *e)
{
	struct pol_subject self = evp_subject(&p->self);

	if (!pol_has_host_rules(model))
		log_warn("the policy has no rule for the host: what the configuration keeps open is all that passes "
			 "%s",
			 t->interface);
	return pol_compile_host(model, &self, p->conf.underlay.openings, p->conf.underlay.n_openings, img, e);
}

/* Nothing can be compiled for a machine that nobody has vouched for yet: its target has no policy and drops. */
static bool has_self(const struct target *t)
{
	return t->kind != TARGET_IS_FREE && (t->kind != TARGET_IS_WORKLOAD || t->has_self);
}

/* Compiles `model` for a target and the nodes it may meet: for a workload this one, too. */
static int compile(struct parent *p, const struct target *t, const struct pol_model *model, struct pol_image **img,
		   struct err *e)
{
	struct pol_subject self = evp_subject(self_of(p, t));
	auto_free struct pol_subject *peers = NULL;

	if (t->kind == TARGET_IS_UNDERLAY)
		return compile_host(p, t, model, img, e);
	peers = calloc(p->n_nodes + 1, sizeof(*peers));
	if (!peers)
		return err_at(e, -ENOMEM, "policy", "out of memory");
	for (size_t i = 0; i < p->n_nodes; i++)
		peers[i] = evp_subject(&p->nodes[i]->id.claims);
	peers[p->n_nodes] = evp_subject(&p->self);
	if (t->kind == TARGET_IS_WORKLOAD) /* whose mesh nobody vouches for: what it decides is nothing to build on */
		return pol_compile(model, &self, peers, p->n_nodes + 1, img, e);
	return pol_compile_mesh(model, &self, p->conf.mesh, p->conf.n_mesh, peers, p->n_nodes, img, e);
}

static bool has_nodes(const struct target *t)
{
	return t->kind != TARGET_IS_UNDERLAY;
}

static uint32_t number_of(const struct parent *p, const struct target *t)
{
	return (uint32_t)(t - p->targets);
}

_Static_assert(sizeof(((struct parent *)0)->unsent) <= IPC_MAX, "nodes do not fit into a message");

static void nodes_flush(struct parent *p)
{
	if (p->n_unsent && p->net.ipc)
		ipc_send(p->net.ipc, MSG_NET_NODE_SET, p->unsent, p->n_unsent * sizeof(*p->unsent), -1);
	p->n_unsent = 0;
}

int plan_send_image(struct parent *p, uint32_t target)
{
	const struct target *t = &p->targets[target];
	struct msg_number m = { .target = target };
	int ret;

	nodes_flush(p); /* their classes are those of the image before */
	ret = ipc_send_blob(p->net.ipc, MSG_NET_POLICY, &m, sizeof(m), t->image, t->image->size);

	if (ret < 0)
		log_err("policy can not be handed to net: %s", strerror(-ret));
	else
		life_sent(p, target);
	return ret;
}

int plan_compile(struct parent *p, const struct pol_model *model, struct pol_image *imgs[TARGETS_MAX], struct err *e)
{
	int ret = 0;

	for (uint32_t i = 0; i < p->n_targets && !ret; i++)
		ret = has_self(&p->targets[i]) ? compile(p, &p->targets[i], model, &imgs[i], e) : 0;
	for (uint32_t i = 0; i < p->n_targets && ret; i++) {
		free(imgs[i]);
		imgs[i] = NULL;
	}
	return ret;
}

bool plan_is_hub(const struct parent *p, const struct id_claims *claims)
{
	return p->conf.topology == BY_TOPOLOGY_SPOKE &&
	       memcmp(claims->app_id, p->conf.hub_app, sizeof(p->conf.hub_app)) == 0;
}

/* Spokes speak WireGuard with hubs alone. */
static bool is_direct(const struct parent *p, const struct node *n)
{
	return p->conf.topology != BY_TOPOLOGY_SPOKE || plan_is_hub(p, &n->id.claims);
}

static void fill_identity(const struct parent *p, struct dp_identity *id, const struct id_record *r,
			  const struct id_claims *claims)
{
	*id = (struct dp_identity){ .flags = claims->is_simulated ? BY_IDENT_SIMULATED : 0, .n_addrs = r->n_addrs };
	if (plan_is_hub(p, claims))
		id->flags |= BY_IDENT_HUB;
	memcpy(id->app_id, claims->app_id, sizeof(id->app_id));
	memcpy(id->instance_id, claims->instance_id, sizeof(id->instance_id));
	memcpy(id->node, r->node, sizeof(id->node));
	memcpy(id->addrs, r->addrs, r->n_addrs * sizeof(id->addrs[0]));
}

static int target_compile(struct parent *p, struct target *t)
{
	struct pol_image *img = NULL;
	struct err e = ERR_INIT;
	char text[600];

	if (compile(p, t, p->model, &img, &e) < 0) {
		log_err("policy: %s", err_text(&e, text, sizeof(text)));
		return e.code;
	}
	free(t->image);
	t->image = img;
	if (p->net.ipc)
		plan_send_image(p, number_of(p, t));
	return 0;
}

/* A class that the image lacks needs a new image; the new one has it. */
static uint32_t class_of(struct parent *p, struct target *t, const struct id_claims *claims)
{
	struct pol_subject s = evp_subject(claims);
	uint32_t peer_class = 0; /* nothing is allowed */

	if (pol_classify(p->model, t->image, &s, &peer_class) < 0 && target_compile(p, t) == 0)
		pol_classify(p->model, t->image, &s, &peer_class);
	return peer_class;
}

/* Waits for others that go with it, until nodes_flush(). */
static void put_node(struct parent *p, struct target *t, const struct node *n)
{
	const struct target *w = workload_of(p, n->id.record.instance_id);
	uint32_t peer_class = class_of(p, t, &n->id.claims); /* may send an image */
	const struct id_record *r = &n->id.record;
	struct msg_node_set *m;

	if (p->n_unsent == ARRAY_LEN(p->unsent))
		nodes_flush(p);
	m = &p->unsent[p->n_unsent++];
	*m = (struct msg_node_set){ .target = number_of(p, t),
				    .is_wg_peer = number_of(p, t) == TARGET_OVERLAY && !w && is_direct(p, n),
				    .is_way = number_of(p, t) == TARGET_OVERLAY && n == p->hub,
				    .way = w ? number_of(p, w) : TARGET_OVERLAY };
	fill_identity(p, &m->identity, r, &n->id.claims);
	memcpy(m->wg_key, r->wg_key, sizeof(m->wg_key));
	m->has_endpoint = conf_endpoint(&p->conf, r->endpoints, r->n_endpoints, &m->endpoint);
	m->has_detour = r->has_detour;
	memcpy(m->detour_key, r->detour_key, sizeof(m->detour_key));
	m->identity.peer_class = peer_class;
}

/* This node, as a workload's target knows it. */
static void send_host(struct parent *p, struct target *t)
{
	struct msg_node_set m = { .target = number_of(p, t), .way = WAY_HOST };

	if (t->kind != TARGET_IS_WORKLOAD)
		return;
	fill_identity(p, &m.identity, &p->record, &p->self);
	m.identity.peer_class = class_of(p, t, &p->self);
	ipc_send(p->net.ipc, MSG_NET_NODE_SET, &m, sizeof(m), -1);
}

static void send_local(struct parent *p, struct target *t, const struct id_record *r, const struct id_claims *claims)
{
	struct msg_node_set m = { .target = number_of(p, t), .way = number_of(p, t) };

	fill_identity(p, &m.identity, r, claims);
	m.identity.is_local = true;
	ipc_send(p->net.ipc, MSG_NET_NODE_SET, &m, sizeof(m), -1);
}

static bool is_own(const struct target *t, const struct node *n)
{
	return t->kind == TARGET_IS_WORKLOAD &&
	       memcmp(t->workload.instance_id, n->id.record.instance_id, BY_INSTANCE_ID_LEN) == 0;
}

static void send_others(struct parent *p, struct target *t)
{
	for (size_t i = 0; i < p->n_nodes; i++)
		if (!is_own(t, p->nodes[i]))
			put_node(p, t, p->nodes[i]);
	nodes_flush(p);
	send_host(p, t);
}

/* A workload's own record: what its policy is compiled for may have changed with it. */
static void send_own(struct parent *p, struct target *t, const struct node *n)
{
	bool is_first = !t->image, is_same = t->has_self && memcmp(&t->self, &n->id.claims, sizeof(t->self)) == 0;

	t->self = n->id.claims;
	t->has_self = true;
	if (is_first && p->life.change)
		return; /* comes again when it is known which policy decides */
	if ((is_first || !is_same) && target_compile(p, t) < 0)
		return;
	send_local(p, t, &n->id.record, &n->id.claims);
	if (is_first)
		send_others(p, t);
}

static void send_to_all(struct parent *p, const struct node *n)
{
	for (uint32_t i = 0; i < p->n_targets && p->net.ipc; i++) {
		struct target *t = &p->targets[i];

		if (is_own(t, n))
			send_own(p, t, n);
		else if (t->image && has_nodes(t))
			put_node(p, t, n);
		nodes_flush(p);
	}
}

/* The same at every spoke that knows the same hubs: what comes by another one is not believed to be from the others. */
static const struct node *elect(const struct parent *p)
{
	const struct node *best = NULL;

	for (size_t i = 0; i < p->n_nodes; i++)
		if (plan_is_hub(p, &p->nodes[i]->id.claims) &&
		    (!best ||
		     memcmp(p->nodes[i]->id.record.instance_id, best->id.record.instance_id, BY_INSTANCE_ID_LEN) < 0))
			best = p->nodes[i];
	return best;
}

/* The former hub steps back first: two can not have the same networks. */
void plan_elect_hub(struct parent *p)
{
	const struct node *former = p->hub;

	if (p->conf.topology != BY_TOPOLOGY_SPOKE)
		return;
	p->hub = elect(p);
	if (p->hub == former)
		return;
	if (p->hub)
		log_info("%s is the hub", p->hub->id.record.node);
	else
		log_warn("no hub is known: other nodes are out of reach");
	if (!p->is_loaded)
		return;
	if (former)
		send_to_all(p, former);
	if (p->hub)
		send_to_all(p, p->hub);
}

void plan_send_node(struct parent *p, const struct node *n)
{
	if (plan_is_hub(p, &n->id.claims))
		plan_elect_hub(p);
	send_to_all(p, n);
}

void plan_remove_node(struct parent *p, const uint8_t instance_id[BY_INSTANCE_ID_LEN])
{
	struct msg_instance m = { 0 };

	memcpy(m.instance_id, instance_id, sizeof(m.instance_id));
	for (; m.target < p->n_targets && p->net.ipc; m.target++)
		if (p->targets[m.target].image && has_nodes(&p->targets[m.target]))
			ipc_send(p->net.ipc, MSG_NET_NODE_DEL, &m, sizeof(m), -1);
}

void plan_send_nodes(struct parent *p)
{
	for (size_t i = 0; i < p->n_nodes; i++)
		send_to_all(p, p->nodes[i]);
	for (uint32_t i = 0; i < p->n_targets && p->net.ipc; i++)
		if (p->targets[i].image)
			send_host(p, &p->targets[i]);
}

/*
 * The image first: nothing is decided by an older policy with the new nodes. It is made anew, because one from before a
 * node joined has no class for it: the commit would end that node's flows before net hears its class.
 */
bool plan_send_policy(struct parent *p, uint32_t target)
{
	struct target *t = &p->targets[target];

	return target_compile(p, t) == 0 || (t->image && plan_send_image(p, target) == 0);
}

void plan_send_target(struct parent *p, uint32_t target)
{
	struct target *t = &p->targets[target];
	const struct node *own = t->kind == TARGET_IS_WORKLOAD ? node_find(p, t->workload.instance_id) : NULL;

	if (own) {
		t->self = own->id.claims;
		t->has_self = true;
	}
	if (!has_self(t) || !plan_send_policy(p, target))
		return;
	if (!has_nodes(t))
		return;
	if (t->kind == TARGET_IS_OVERLAY)
		send_local(p, t, &p->record, &p->self);
	else if (own)
		send_local(p, t, &own->id.record, &own->id.claims);
	send_others(p, t);
}

struct msg_addrs plan_addrs(const struct parent *p)
{
	struct msg_addrs m = { 0 };

	for (uint32_t i = 0; i < p->conf.n_addrs; i++)
		m.addrs[m.n_addrs++] = (struct ip_prefix){ .addr = p->conf.addrs[i],
							   .bits = conf_network_of(&p->conf, &p->conf.addrs[i])->bits };
	return m;
}

void plan_send_addrs(struct parent *p)
{
	struct msg_addrs m = plan_addrs(p);

	if (p->net.ipc)
		ipc_send(p->net.ipc, MSG_NET_ADDRS, &m, sizeof(m), -1);
	plan_send_all(p);
}

/* Before there are addresses the device stays down. */
void plan_send_all(struct parent *p)
{
	if (!p->net.ipc || !p->is_loaded || !vpc_has_addresses(p))
		return;
	plan_elect_hub(p);
	for (uint32_t i = 0; i < p->n_targets; i++)
		plan_send_target(p, i);
	ipc_send(p->net.ipc, MSG_NET_SYNC, NULL, 0, -1);
}

/* An epoch is the time of signing in seconds, or one more than the last where the clock went back. */
static uint64_t next_epoch(struct parent *p, int64_t now)
{
	auto_free char *text = NULL;
	struct err e = ERR_INIT;
	uint64_t last = 0, epoch;
	char path[PATH_MAX], line[32];
	size_t len;

	snprintf(path, sizeof(path), "%.*s/epoch", PATH_MAX - 16, p->conf.state);
	if (file_read(path, sizeof(line), &text, &len, &e) == 0)
		last = strtoull(text, NULL, 10);
	epoch = (uint64_t)now > last ? (uint64_t)now : last + 1;
	snprintf(line, sizeof(line), "%llu\n", (unsigned long long)epoch);
	e = ERR_INIT;
	if (file_write(path, line, strlen(line), 0600, &e) < 0)
		log_err("%s: %s", e.where, e.msg);
	return epoch;
}

#define CLOCK_SKEW_S 60 /* a peer's clock may be this much behind ours */

void plan_sign_self(struct parent *p)
{
	struct id_record *r = &p->record;
	int64_t now = time(NULL);
	struct timeval renew = { .tv_sec = p->conf.record_life_s * 2 / 3 };

	*r = (struct id_record){ .n_addrs = p->conf.n_addrs, .n_endpoints = p->conf.n_endpoints };
	memcpy(r->node, p->conf.node, sizeof(r->node));
	memcpy(r->app_id, p->self.app_id, sizeof(r->app_id));
	memcpy(r->instance_id, p->self.instance_id, sizeof(r->instance_id));
	memcpy(r->wg_key, p->wg_public, sizeof(r->wg_key));
	r->has_detour = p->rotate.phase != DETOUR_NONE;
	memcpy(r->detour_key, p->rotate.second_public, r->has_detour ? sizeof(r->detour_key) : 0);
	memcpy(r->addrs, p->conf.addrs, sizeof(r->addrs));
	memcpy(r->endpoints, p->conf.endpoints, sizeof(r->endpoints));
	memcpy(r->services, p->conf.services, sizeof(r->services));
	r->n_services = p->conf.n_services;
	r->epoch = next_epoch(p, now);
	r->not_before = now - CLOCK_SKEW_S;
	r->not_after = now + p->conf.record_life_s;
	if (r->not_before < p->self.not_before)
		r->not_before = p->self.not_before;
	if (r->not_after > p->self.not_after)
		r->not_after = p->self.not_after;
	ipc_send(p->edge.ipc, MSG_EDGE_SELF, r, sizeof(*r), -1);
	event_add(p->renew, &renew);
}
