// SPDX-License-Identifier: Apache-2.0
/* Who was named by the parent, and the WireGuard device made to match. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "net.h"

struct peer *peer_find(const struct net *net, const uint8_t instance_id[BY_INSTANCE_ID_LEN])
{
	return hash_of(hash_find(&net->by_instance, instance_id), struct peer, by_instance);
}

static bool row_grow(struct net *net)
{
	size_t cap = net->cap_peers ? 2 * net->cap_peers : 16;
	struct peer **grown;

	if (net->n_peers < net->cap_peers)
		return true;
	grown = realloc(net->peers, cap * sizeof(struct peer *));
	if (!grown)
		return false;
	net->peers = grown;
	net->cap_peers = cap;
	return true;
}

static struct peer *peer_add(struct net *net, const uint8_t instance_id[BY_INSTANCE_ID_LEN])
{
	struct peer *p = row_grow(net) ? calloc(1, sizeof(*p)) : NULL;

	if (!p)
		return NULL;
	net->by_instance.key_len = BY_INSTANCE_ID_LEN;
	memcpy(p->instance_id, instance_id, BY_INSTANCE_ID_LEN);
	if (hash_add(&net->by_instance, &p->by_instance, p->instance_id) < 0) {
		free(p);
		return NULL;
	}
	p->pos = net->n_peers;
	net->peers[net->n_peers++] = p;
	return p;
}

static void peer_remove(struct net *net, struct peer *p)
{
	hash_del(&net->by_instance, &p->by_instance);
	net->peers[p->pos] = net->peers[--net->n_peers];
	net->peers[p->pos]->pos = p->pos;
	free(p);
}

void peers_fini(struct net *net)
{
	for (size_t i = 0; i < net->n_peers; i++)
		free(net->peers[i]);
	free(net->peers);
	hash_fini(&net->by_instance);
}

/* Everybody is behind a spoke's hub: who of them there is, and whose an address is, the datapath knows. */
static void allow_networks(const struct net *net, struct ov_peer *wg)
{
	wg->is_way = true;
	for (uint32_t i = 0; i < net->conf.n_networks; i++)
		wg->allowed[wg->n_allowed++] = prefix_masked(net->conf.networks[i]);
}

static void peer_fill(const struct net *net, struct ov_peer *wg, const struct msg_node_set *m)
{
	*wg = (struct ov_peer){ .has_endpoint = m->has_endpoint,
				.endpoint = m->endpoint,
				.has_keepalive = true,
				.keepalive_s = (uint16_t)net->conf.keepalive_s };
	memcpy(wg->public_key, m->wg_key, sizeof(wg->public_key));
	if (m->is_way) {
		allow_networks(net, wg);
		return;
	}
	for (uint32_t i = 0; i < m->identity.n_addrs && i < OV_MAX_ALLOWED; i++)
		wg->allowed[wg->n_allowed++] =
			(struct ip_prefix){ .addr = m->identity.addrs[i],
					    .bits = addr_is_v4(&m->identity.addrs[i]) ? 32 : 128 };
}

bool peer_is_named(const struct net *net, const uint8_t instance_id[BY_INSTANCE_ID_LEN], uint32_t target)
{
	const struct peer *p = peer_find(net, instance_id);

	return p && p->named & 1ull << target;
}

int peer_name(struct net *net, const struct msg_node_set *m)
{
	struct peer *p = peer_find(net, m->identity.instance_id);

	if (!p)
		p = peer_add(net, m->identity.instance_id);
	if (!p)
		return -ENOMEM;
	p->named |= 1ull << m->target;
	if (m->target == TARGET_OVERLAY) {
		p->has_wg = m->is_wg_peer;
		p->is_behind = !m->is_wg_peer && !m->identity.is_local && m->way == TARGET_OVERLAY;
	}
	if (m->is_wg_peer) {
		peer_fill(net, &p->wg, m);
		p->has_detour = m->has_detour;
		memcpy(p->detour_key, m->detour_key, sizeof(p->detour_key));
	}
	return 0;
}

void peer_forget(struct net *net, const uint8_t instance_id[BY_INSTANCE_ID_LEN], uint32_t target)
{
	struct peer *p = peer_find(net, instance_id);

	if (!p)
		return;
	p->named &= ~(1ull << target);
	if (target == TARGET_OVERLAY)
		p->has_wg = p->is_behind = false;
	if (!p->named)
		peer_remove(net, p);
}

void peers_forget_target(struct net *net, uint32_t target)
{
	for (size_t i = net->n_peers; i-- > 0;) {
		struct peer *p = net->peers[i];

		p->named &= ~(1ull << target);
		if (!p->named)
			peer_remove(net, p); /* the last one, seen already, takes its place */
	}
}

int device_apply(struct net *net, struct err *e)
{
	struct ov_device want = { .listen_port = (uint16_t)net->conf.wg_port, .mtu = net->conf.mtu };
	struct ov_changes changes = { 0 };
	int ret;

	snprintf(want.name, sizeof(want.name), "%s", net->conf.interface);
	memcpy(want.private_key, net->conf.private_key, sizeof(want.private_key));
	memcpy(want.addrs, net->conf.addrs.addrs, net->conf.addrs.n_addrs * sizeof(want.addrs[0]));
	want.n_addrs = net->conf.addrs.n_addrs;
	want.peers = calloc(net->n_peers + 1, sizeof(*want.peers));
	if (!want.peers)
		return err_at(e, -ENOMEM, want.name, "out of memory");
	lazy_settle(net);
	for (size_t i = 0; i < net->n_peers; i++) {
		if (!net->peers[i]->has_wg || net->peers[i]->is_asleep)
			continue;
		want.peers[want.n_peers] = net->peers[i]->wg;
		want.peers[want.n_peers++].keepalive_s = detour_keepalive(net, net->peers[i]);
	}
	ret = ov_apply(net->ov, &want, &changes, e);
	ov_device_fini(&want);
	if (!ret)
		lazy_applied(net);
	if (!ret)
		log_debug("%s: %u peers added, %u changed, %u removed", net->conf.interface, changes.peers_added,
			  changes.peers_changed, changes.peers_removed);
	return ret;
}
