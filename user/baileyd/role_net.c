// SPDX-License-Identifier: Apache-2.0
/*
 * The net process: holds CAP_BPF and CAP_NET_ADMIN, owns the datapath and the WireGuard device, and does what the
 * parent says in fixed-size messages. It parses no YAML, TLS, X.509, JSON or record.
 */
#include "role.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "box.h"
#include "ipc.h"
#include "msg.h"

#define IMAGE_MAX   (256u << 20)
#define HELD_EVENTS 4096 /* queued for a parent that does not read; more are counted and dropped */

/* A node and its WireGuard half. The identity half is in the datapath. */
struct peer {
	uint8_t instance_id[BY_INSTANCE_ID_LEN];
	struct ov_peer wg;
};

struct net {
	struct event_base *base;
	struct ipc *parent;
	struct msg_net_conf conf;
	struct dp *dp;
	struct ov *ov;
	struct peer *peers; /* sorted by instance */
	size_t n_peers, cap_peers;
	bool is_synced;      /* all nodes were named once; from then on changes go to the device at once */
	struct event *apply; /* coalesces a burst of changes into one reconcile */
	struct event *ring;
	uint64_t events_held;
};

static void answer(struct net *net, enum msg_type request, int code, const struct err *e)
{
	struct msg_done m = { .request = request, .code = code };

	if (code)
		m.err = *e;
	ipc_send(net->parent, MSG_NET_DONE, &m, sizeof(m), -1);
}

/* --- peers of the device --- */

static int compare_instance(const void *a, const void *b)
{
	return memcmp(a, b, BY_INSTANCE_ID_LEN); /* the key is struct peer's first member */
}

static struct peer *peer_find(struct net *net, const uint8_t instance_id[BY_INSTANCE_ID_LEN])
{
	return net->n_peers ? bsearch(instance_id, net->peers, net->n_peers, sizeof(*net->peers), compare_instance)
			    : NULL;
}

static struct peer *peer_add(struct net *net, const uint8_t instance_id[BY_INSTANCE_ID_LEN])
{
	struct peer *p = peer_find(net, instance_id);
	size_t at = 0;

	if (p)
		return p;
	if (net->n_peers == net->cap_peers) {
		size_t cap = net->cap_peers ? 2 * net->cap_peers : 16;

		p = realloc(net->peers, cap * sizeof(*p));
		if (!p)
			return NULL;
		net->peers = p;
		net->cap_peers = cap;
	}
	while (at < net->n_peers && compare_instance(&net->peers[at], instance_id) < 0)
		at++;
	memmove(&net->peers[at + 1], &net->peers[at], (net->n_peers - at) * sizeof(*p));
	net->n_peers++;
	net->peers[at] = (struct peer){ 0 };
	memcpy(net->peers[at].instance_id, instance_id, BY_INSTANCE_ID_LEN);
	return &net->peers[at];
}

static void peer_remove(struct net *net, const uint8_t instance_id[BY_INSTANCE_ID_LEN])
{
	struct peer *p = peer_find(net, instance_id);
	size_t at;

	if (!p)
		return;
	at = (size_t)(p - net->peers);
	net->n_peers--;
	memmove(p, p + 1, (net->n_peers - at) * sizeof(*p));
}

static void peer_fill(const struct net *net, struct ov_peer *wg, const struct msg_node_set *m)
{
	*wg = (struct ov_peer){ .has_endpoint = m->has_endpoint,
				.endpoint = m->endpoint,
				.has_keepalive = true,
				.keepalive_s = (uint16_t)net->conf.keepalive_s };
	memcpy(wg->public_key, m->wg_key, sizeof(wg->public_key));
	for (uint32_t i = 0; i < m->identity.n_addrs && i < OV_MAX_ALLOWED; i++)
		wg->allowed[wg->n_allowed++] =
			(struct ip_prefix){ .addr = m->identity.addrs[i],
					    .bits = addr_is_v4(&m->identity.addrs[i]) ? 32 : 128 };
}

/* Makes the device what the peers say. Sessions of peers that did not change go on. */
static int device_apply(struct net *net, struct err *e)
{
	struct ov_device want = { .listen_port = (uint16_t)net->conf.wg_port, .mtu = net->conf.mtu };
	struct ov_changes changes = { 0 };
	int ret;

	snprintf(want.name, sizeof(want.name), "%s", net->conf.interface);
	memcpy(want.private_key, net->conf.private_key, sizeof(want.private_key));
	memcpy(want.addrs, net->conf.addrs, net->conf.n_addrs * sizeof(want.addrs[0]));
	want.n_addrs = net->conf.n_addrs;
	want.peers = calloc(net->n_peers + 1, sizeof(*want.peers));
	if (!want.peers)
		return err_at(e, -ENOMEM, want.name, "out of memory");
	for (size_t i = 0; i < net->n_peers; i++)
		want.peers[want.n_peers++] = net->peers[i].wg;
	ret = ov_apply(net->ov, &want, &changes, e);
	ov_device_fini(&want);
	if (!ret)
		log_debug("%s: %u peers added, %u changed, %u removed", net->conf.interface, changes.peers_added,
			  changes.peers_changed, changes.peers_removed);
	return ret;
}

static void on_apply(evutil_socket_t fd, short what, void *arg)
{
	struct net *net = arg;
	struct err e = ERR_INIT;
	char text[600];

	(void)fd, (void)what;
	if (device_apply(net, &e) < 0)
		log_err("%s", err_text(&e, text, sizeof(text)));
}

static void apply_soon(struct net *net)
{
	struct timeval soon = { .tv_usec = 1000 };

	if (net->is_synced && !event_pending(net->apply, EV_TIMEOUT, NULL))
		event_add(net->apply, &soon);
}

/* --- events --- */

/* The rule's words are looked up now: its number means nothing once the generation is gone. */
static void on_ring_event(const struct by_event *ev, void *arg)
{
	struct msg_event m = { .event = *ev };
	struct by_counter hits;
	struct by_rule rule;
	struct net *net = arg;

	if (ev->rule && dp_rule_get(net->dp, dp_gen(net->dp).slot, ev->rule, &rule, &hits) == 0) {
		memcpy(m.rule, rule.name, sizeof(m.rule));
		memcpy(m.where, rule.where, sizeof(m.where));
	}
	if (ipc_queued(net->parent) >= HELD_EVENTS || ipc_send(net->parent, MSG_NET_EVENT, &m, sizeof(m), -1) < 0)
		net->events_held++;
}

static void on_ring(evutil_socket_t fd, short what, void *arg)
{
	struct net *net = arg;

	(void)fd, (void)what;
	dp_events_read(net->dp);
}

static int open_ring(struct net *net, struct err *e)
{
	int fd, ret = dp_events_open(net->dp, on_ring_event, net, &fd, e);

	if (ret < 0)
		return ret;
	net->ring = event_new(net->base, fd, EV_READ | EV_PERSIST, on_ring, net);
	return net->ring && event_add(net->ring, NULL) == 0 ? 0 : err_at(e, -ENOMEM, "events", "out of memory");
}

/* --- requests --- */

static int conf_take(struct net *net, const struct msg_net_conf *conf, struct err *e)
{
	if (!conf || net->dp)
		return err_at(e, -EPROTO, "net process", "configuration message is wrong");
	net->conf = *conf;
	msg_terminate(net->conf.instance);
	msg_terminate(net->conf.bpffs);
	msg_terminate(net->conf.interface);
	if (conf->n_addrs > ID_MAX_ADDRS || !conf->wg_port || conf->wg_port > 65535)
		return err_at(e, -EPROTO, "net process", "configuration message is out of range");
	return 0;
}

/* The programs are on the device before it is up: there is no moment without a policy, only one without packets. */
static int on_conf(struct net *net, const struct msg_net_conf *conf, struct err *e)
{
	int ret = conf_take(net, conf, e);

	if (!ret)
		ret = ov_open(net->conf.interface, (enum ov_backend)net->conf.backend, &net->ov, e);
	if (!ret)
		ret = dp_open(net->conf.bpffs, net->conf.instance, 0, &net->dp, e);
	if (!ret)
		ret = dp_attach(net->dp, ov_ifindex(net->ov), e);
	if (!ret)
		ret = open_ring(net, e);
	return ret;
}

static int on_policy(struct net *net, const struct ipc_msg *msg, struct err *e)
{
	auto_free uint8_t *image = NULL;
	size_t len;
	int ret = ipc_blob_read(msg->fd, IMAGE_MAX, &image, &len);

	if (ret < 0)
		return err_at(e, ret, "policy image", "can not be read: %s", strerror(-ret));
	ret = pol_image_check(image, len, e);
	return ret < 0 ? ret : dp_policy_commit(net->dp, (const struct pol_image *)image, e);
}

static int on_node_set(struct net *net, const struct msg_node_set *m, struct err *e)
{
	struct dp_identity id;
	struct peer *peer;
	uint32_t number;
	int ret;

	if (!m || m->identity.n_addrs > ARRAY_LEN(m->identity.addrs))
		return err_at(e, -EPROTO, "net process", "node message is wrong");
	id = m->identity;
	msg_terminate(id.node);
	ret = dp_identity_set(net->dp, &id, &number, e);
	if (ret < 0 || id.is_local)
		return ret;
	peer = peer_add(net, id.instance_id);
	if (!peer)
		return err_at(e, -ENOMEM, id.node, "out of memory");
	peer_fill(net, &peer->wg, m);
	apply_soon(net);
	return 0;
}

/* The identity first: from the next packet on nothing of that node passes, whatever WireGuard still does. */
static int on_node_del(struct net *net, const struct msg_instance *m, struct err *e)
{
	int ret;

	if (!m)
		return err_at(e, -EPROTO, "net process", "node message is wrong");
	ret = dp_identity_remove(net->dp, m->instance_id, e);
	peer_remove(net, m->instance_id);
	apply_soon(net);
	return ret;
}

/* What an earlier daemon left and nobody named again goes. */
static int remove_unnamed(struct net *net, struct err *e)
{
	struct dp_identity id;
	uint32_t number;
	int ret = 0;

	for (size_t i = dp_identity_count(net->dp); i-- > 0 && !ret;)
		if (dp_identity_get(net->dp, i, &number, &id) && !id.is_local && !peer_find(net, id.instance_id))
			ret = dp_identity_remove(net->dp, id.instance_id, e);
	return ret;
}

static int on_sync(struct net *net, struct err *e)
{
	int ret = remove_unnamed(net, e);

	if (!ret)
		ret = device_apply(net, e);
	net->is_synced = true;
	return ret;
}

/* --- status --- */

static void send_rules(struct net *net, const struct by_gen *gen, size_t n)
{
	struct msg_rule m;

	for (uint32_t i = 1; i <= n; i++) {
		m = (struct msg_rule){ .number = i };
		if (dp_rule_get(net->dp, gen->slot, i, &m.rule, &m.hits) == 0 && m.hits.packets)
			ipc_send(net->parent, MSG_NET_RULE, &m, sizeof(m), -1);
	}
}

static void send_peers(struct net *net)
{
	struct ov_device dev = { 0 };
	struct err e = ERR_INIT;
	struct msg_peer m;

	if (ov_read(net->ov, &dev, &e) < 0)
		return;
	for (size_t i = 0; i < dev.n_peers; i++) {
		const struct ov_peer *p = &dev.peers[i];

		m = (struct msg_peer){ .has_endpoint = p->has_endpoint,
				       .endpoint = p->endpoint,
				       .last_handshake_s = p->last_handshake_s,
				       .rx_bytes = p->rx_bytes,
				       .tx_bytes = p->tx_bytes };
		memcpy(m.wg_key, p->public_key, sizeof(m.wg_key));
		ipc_send(net->parent, MSG_NET_PEER, &m, sizeof(m), -1);
	}
	ov_device_fini(&dev);
}

static void on_status(struct net *net, const struct msg_token *request)
{
	struct msg_status m = { .token = request->token, .events_held = net->events_held };
	struct err e = ERR_INIT;

	m.code = net->dp ? dp_status_get(net->dp, &m.dp, &e) : -ENOTCONN;
	if (!m.code) {
		snprintf(m.backend, sizeof(m.backend), "%s", ov_backend_name(ov_backend_of(net->ov)));
		snprintf(m.attach, sizeof(m.attach), "%s", dp_attach_mode(net->dp));
		send_rules(net, &m.dp.gen, m.dp.n_rules);
		send_peers(net);
	}
	ipc_send(net->parent, MSG_NET_STATUS_REPLY, &m, sizeof(m), -1);
}

static int dispatch(struct net *net, struct ipc_msg *msg, struct err *e)
{
	if (msg->type == MSG_NET_CONF)
		return on_conf(net, ipc_as(msg, sizeof(struct msg_net_conf)), e);
	if (!net->dp || !net->ov)
		return err_at(e, -ENOTCONN, "net process", "has no configuration yet");
	switch (msg->type) {
	case MSG_NET_POLICY:
		return on_policy(net, msg, e);
	case MSG_NET_NODE_SET:
		return on_node_set(net, ipc_as(msg, sizeof(struct msg_node_set)), e);
	case MSG_NET_NODE_DEL:
		return on_node_del(net, ipc_as(msg, sizeof(struct msg_instance)), e);
	case MSG_NET_SYNC:
		return on_sync(net, e);
	default:
		return err_at(e, -EPROTO, "net process", "message of unknown type %u", msg->type);
	}
}

static void on_message(struct ipc_msg *msg, void *arg)
{
	const struct msg_token *token = ipc_as(msg, sizeof(*token));
	struct net *net = arg;
	struct err e = ERR_INIT;
	int ret;

	if (msg->type == MSG_NET_STATUS) {
		if (token)
			on_status(net, token);
		return;
	}
	ret = dispatch(net, msg, &e);
	answer(net, (enum msg_type)msg->type, ret, &e);
}

static void on_down(void *arg)
{
	struct net *net = arg;

	event_base_loopbreak(net->base);
}

static int open_channel(struct net *net)
{
	net->base = event_base_new();
	if (!net->base)
		return -ENOMEM;
	net->apply = evtimer_new(net->base, on_apply, net);
	if (!net->apply)
		return -ENOMEM;
	return ipc_new(net->base, IPC_CHILD_FD, on_message, on_down, net, &net->parent);
}

/* Handles close; what they stand for (pins, programs, device) stays and goes on deciding. */
static void net_fini(struct net *net)
{
	if (net->ring)
		event_free(net->ring);
	if (net->apply)
		event_free(net->apply);
	dp_close(net->dp);
	ov_close(net->ov);
	ipc_free(net->parent);
	if (net->base)
		event_base_free(net->base);
	free(net->peers);
	explicit_bzero(&net->conf, sizeof(net->conf));
}

int role_net(void)
{
	struct net net = { 0 };
	struct err e = ERR_INIT;
	char text[600];
	int ret = box_net(&e);

	if (!ret)
		ret = open_channel(&net);
	if (ret)
		log_err("%s", e.code ? err_text(&e, text, sizeof(text)) : strerror(-ret));
	else
		event_base_dispatch(net.base);
	net_fini(&net);
	return ret ? 1 : 0;
}
