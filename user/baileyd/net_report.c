// SPDX-License-Identifier: Apache-2.0
/* What net tells the parent: events as they come, counters when it asks. */
#include <errno.h>
#include <string.h>

#include "net.h"

#define HELD_EVENTS 4096 /* queued for a parent that does not read; more are counted and dropped */

static void wake(struct target *t, uint32_t identity)
{
	struct dp_identity id;

	if (t->conf.kind == TARGET_IS_OVERLAY && dp_identity_find(t->dp, identity, &id) &&
	    lazy_wake(t->net, id.instance_id))
		device_apply_soon(t->net);
}

/* The rule's words are looked up now: its number means nothing once the generation is gone. */
static void on_ring_event(const struct by_event *ev, void *arg)
{
	struct target *t = arg;
	struct net *net = t->net;
	struct msg_event m = { .target = t->conf.target, .event = *ev };
	struct by_counter hits;
	struct by_rule rule;

	if (ev->reason == BY_DROP_PEER_ASLEEP)
		wake(t, ev->peer);
	if (ev->rule && dp_rule_get(t->dp, dp_gen(t->dp).slot, ev->rule, &rule, &hits) == 0) {
		memcpy(m.rule, rule.name, sizeof(m.rule));
		memcpy(m.where, rule.where, sizeof(m.where));
	}
	if (ipc_queued(net->parent) >= HELD_EVENTS || ipc_send(net->parent, MSG_NET_EVENT, &m, sizeof(m), -1) < 0)
		net->events_held++;
}

static void on_ring(evutil_socket_t fd, short what, void *arg)
{
	struct target *t = arg;

	(void)fd, (void)what;
	dp_events_read(t->dp);
}

int open_ring(struct target *t, struct err *e)
{
	int fd, ret = dp_events_open(t->dp, on_ring_event, t, &fd, e);

	if (ret < 0)
		return ret;
	t->ring = event_new(t->net->base, fd, EV_READ | EV_PERSIST, on_ring, t);
	return t->ring && event_add(t->ring, NULL) == 0 ? 0 : err_at(e, -ENOMEM, "events", "out of memory");
}

/* What no event tells: how many there are that nobody was told of. */
static void send_loss(struct target *t)
{
	struct msg_loss m = { .target = t->conf.target, .held = t->net->events_held };

	if (dp_events_lost(t->dp, &m.kernel) < 0)
		return;
	if (t->is_told && m.kernel == t->told.kernel && m.held == t->told.held)
		return;
	t->told = m;
	t->is_told = true; /* also of a start from nothing */
	ipc_send(t->net->parent, MSG_NET_LOSS, &m, sizeof(m), -1);
}

void send_losses(struct net *net)
{
	for (uint32_t i = 0; i < net->n_targets; i++)
		if (net->targets[i].dp)
			send_loss(&net->targets[i]);
}

/* A page that is being filled. */
struct rules_out {
	struct target *t;
	struct msg_rules page;
};

static void rules_flush(struct rules_out *out)
{
	if (out->page.n)
		ipc_send(out->t->net->parent, MSG_NET_RULES, &out->page, msg_page_size(out->page, out->page.n), -1);
	out->page.n = 0;
}

static int rules_add(uint32_t rule, const struct by_counter *hits, void *arg)
{
	struct rules_out *out = arg;

	out->page.item[out->page.n++] =
		(struct rule_hits){ .target = out->t->conf.target, .number = rule, .hits = *hits };
	if (out->page.n == PAGE_ITEMS)
		rules_flush(out);
	return 0;
}

static int send_rules(struct target *t, struct err *e)
{
	static struct rules_out out;
	int ret;

	out.t = t;
	out.page.n = 0;
	ret = dp_rule_hits(t->dp, rules_add, &out, e);
	rules_flush(&out);
	return ret;
}

#define IDLE_LOOKS 16 /* for each peer that is wanted so many may be looked at: a scrape costs this much at most */

struct pairs_out {
	struct target *t;
	uint32_t wanted;
	uint64_t looks;
	struct msg_pairs page;
};

static void pairs_flush(struct pairs_out *out)
{
	if (out->page.n)
		ipc_send(out->t->net->parent, MSG_NET_PAIRS, &out->page, msg_page_size(out->page, out->page.n), -1);
	out->page.n = 0;
}

static int pairs_add(uint32_t identity, const struct by_pair *pair, void *arg)
{
	struct pairs_out *out = arg;
	struct pair_count *item = &out->page.item[out->page.n];
	static const struct by_pair nothing;
	struct dp_identity id;

	if (!out->wanted || out->looks == 0)
		return 1;
	out->looks--;
	if (memcmp(pair, &nothing, sizeof(nothing)) == 0 || !dp_identity_find(out->t->dp, identity, &id))
		return 0;
	out->wanted--;
	*item = (struct pair_count){ .target = out->t->conf.target, .n = *pair };
	memcpy(item->instance_id, id.instance_id, sizeof(item->instance_id));
	if (++out->page.n == PAGE_ITEMS)
		pairs_flush(out);
	return 0;
}

static int send_pairs(struct target *t, uint32_t wanted, uint32_t *left, struct err *e)
{
	size_t n = dp_identity_count(t->dp) - (dp_identity_count(t->dp) > 0); /* without the own one */
	uint64_t looks = (uint64_t)wanted * IDLE_LOOKS;
	static struct pairs_out out;
	int ret;

	out.t = t;
	out.wanted = wanted;
	out.looks = looks;
	out.page.n = 0;
	ret = dp_pairs(t->dp, pairs_add, &out, e);
	pairs_flush(&out);
	*left = n > looks - out.looks ? (uint32_t)(n - (looks - out.looks)) : 0;
	return ret < 0 ? ret : 0;
}

static void send_peers(struct net *net)
{
	struct ov_device dev = { 0 }, second = { 0 };
	struct err e = ERR_INIT;
	struct msg_peer m;

	if (ov_read(net->ov, &dev, &e) < 0)
		return;
	detour_read(net, &second);
	for (size_t i = 0; i < dev.n_peers; i++) {
		const struct ov_peer *p = &dev.peers[i];

		m = (struct msg_peer){ .has_endpoint = p->has_endpoint,
				       .endpoint = p->endpoint,
				       .last_handshake_s = p->last_handshake_s,
				       .rx_bytes = p->rx_bytes,
				       .tx_bytes = p->tx_bytes };
		memcpy(m.wg_key, p->public_key, sizeof(m.wg_key));
		detour_count(net, &second, &m);
		ipc_send(net->parent, MSG_NET_PEER, &m, sizeof(m), -1);
	}
	ov_device_fini(&second);
	ov_device_fini(&dev);
}

static void send_counts(struct target *t, uint32_t pairs)
{
	struct msg_counts m = { .target = t->conf.target };
	struct err e = ERR_INIT;

	m.code = dp_status_get(t->dp, &m.dp, &e);
	if (!m.code)
		m.code = send_rules(t, &e);
	if (!m.code && pairs)
		m.code = send_pairs(t, pairs, &m.pairs_left, &e);
	snprintf(m.trouble, sizeof(m.trouble), "%s", t->trouble);
	snprintf(m.attach, sizeof(m.attach), "%s", t->trouble[0] ? "none" : dp_attach_mode(t->dp));
	if (t->conf.kind == TARGET_IS_UNDERLAY)
		dp_host_status(t->dp, &m.host);
	ipc_send(t->net->parent, MSG_NET_COUNTS, &m, sizeof(m), -1);
}

void send_status(struct net *net, const struct msg_ask_status *request)
{
	struct msg_status m = { .token = request->token,
				.events_held = net->events_held,
				.is_lazy = net->is_lazy,
				.n_asleep = lazy_asleep(net),
				.n_woken = net->n_woken };

	for (uint32_t i = 0; i < net->n_targets; i++)
		if (net->targets[i].dp)
			send_counts(&net->targets[i], request->pairs);
	divert_status(net, &m);
	guard_status(net, &m);
	if (net->n_targets) {
		snprintf(m.backend, sizeof(m.backend), "%s", ov_backend_name(ov_backend_of(net->ov)));
		send_peers(net);
	}
	ipc_send(net->parent, MSG_NET_STATUS_REPLY, &m, sizeof(m), -1);
}

static int flow_add(const struct dp_flow *flow, void *arg)
{
	struct msg_flow_page *page = arg;

	page->item[page->n++] = *flow;
	return 0;
}

/* One page for one question: however large the table, what it costs at once is this much. */
void send_flow_page(struct net *net, const struct msg_ask_flows *request)
{
	static struct msg_flow_page page;
	struct err e = ERR_INIT;

	page.token = request->token;
	page.at = request->at;
	page.n = 0;
	page.code = -ENOENT;
	if (request->target == TARGET_DIVERT)
		divert_page(net, &page);
	else if (request->target < net->n_targets && !net->targets[request->target].dp)
		page.code = 0, page.at.is_over = true;
	else if (request->target < net->n_targets)
		page.code = dp_flows_on(net->targets[request->target].dp, &page.at, PAGE_ITEMS, flow_add, &page, &e);
	ipc_send(net->parent, MSG_NET_FLOW_PAGE, &page, msg_page_size(page, page.n), -1);
}

static void asked_rule(struct dp *dp, const struct by_gen *gen, uint32_t number, struct asked_rule *to)
{
	struct by_counter hits;
	struct by_rule rule;

	if (!number || dp_rule_get(dp, gen->slot, number, &rule, &hits) < 0)
		return;
	memcpy(to->name, rule.name, sizeof(to->name));
	memcpy(to->where, rule.where, sizeof(to->where));
}

/* A program that judges no packet of the device has nothing to say about it. */
static struct dp *judging(const struct net *net, uint32_t target)
{
	const struct target *t = &net->targets[target];

	if (target >= net->n_targets || (t->conf.kind == TARGET_IS_UNDERLAY && !t->ifindex))
		return NULL;
	return t->dp;
}

/* The program is asked, and then the maps for the words of its rule: nothing here knows the policy. */
void send_asked(struct net *net, const struct msg_ask *request)
{
	struct msg_asked m = { .token = request->token, .n = request->n };
	struct dp *dp = judging(net, request->target);
	struct err e = ERR_INIT;

	for (uint32_t i = 0; i < m.n && i < ASK_MAX; i++) {
		struct asked *a = &m.answer[i];

		a->code = dp ? dp_ask(dp, &request->question[i], &a->dp, &e) : -ENODEV;
		if (a->code)
			continue;
		asked_rule(dp, &a->dp.gen, a->dp.rule, &a->rule);
		asked_rule(dp, &a->dp.gen, a->dp.audit, &a->audit);
	}
	ipc_send(net->parent, MSG_NET_ASKED, &m, sizeof(m), -1);
}
