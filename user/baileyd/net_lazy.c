// SPDX-License-Identifier: Apache-2.0
/*
 * Peers that WireGuard is told of when somebody wants to talk, in a network of more than lazy_peers: by this node's own
 * packet (the datapath drops it as PEER_ASLEEP and says so; its sender tries again), or by the other's handshake
 * (knock.c). Whoever talks to nobody for lazy_idle seconds goes again.
 */
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "net.h"

#define WAKE_S           10 /* as long it has a keepalive: setting one makes WireGuard shake hands at once */
#define WAKE_KEEPALIVE_S 25

static struct dp *dp_of(const struct net *net)
{
	return net->targets[TARGET_OVERLAY].dp;
}

static bool is_connected(const struct net *net, const struct by_addr *addr)
{
	for (uint32_t i = 0; i < net->conf.addrs.n_addrs; i++)
		if (addr_in_prefix(addr, &net->conf.addrs.addrs[i]))
			return true;
	return false;
}

/* Who names no endpoint can be found by nobody but whom it has found; whom no network leads to needs a route. */
static bool may_sleep(const struct net *net, const struct peer *p)
{
	for (uint32_t i = 0; i < p->wg.n_allowed; i++)
		if (!is_connected(net, &p->wg.allowed[i].addr))
			return false;
	return p->has_wg && p->wg.has_endpoint && !p->wg.is_way;
}

/* A node without an endpoint of its own keeps all its ways open: see keepalive_s. */
static bool shall_be_on(const struct net *net)
{
	size_t n = 0;

	for (size_t i = 0; i < net->n_peers; i++)
		n += net->peers[i]->has_wg;
	return !net->conf.keepalive_s && n > net->conf.lazy_peers;
}

/* Sessions of an earlier daemon, or of before there were so many, go on until they are idle. */
static void keep_configured(struct net *net)
{
	struct ov_device dev = { 0 };
	struct err e = ERR_INIT;
	int64_t now = clock_s(CLOCK_BOOTTIME);

	if (ov_read(net->ov, &dev, &e) < 0)
		return;
	ov_device_sort(&dev);
	for (size_t i = 0; i < net->n_peers && dev.n_peers; i++) {
		struct peer *p = net->peers[i];

		p->is_settled = p->has_wg && (ov_device_find(&dev, p->wg.public_key) ||
					      (p->has_detour && ov_device_find(&dev, p->detour_key)));
		p->used_s = now;
	}
	ov_device_fini(&dev);
}

/* The bit goes before the peer does, and comes off when the peer is there: no packet meets a WireGuard without it. */
static void mark(struct net *net, struct peer *p, bool is_asleep)
{
	if (p->is_marked != is_asleep && dp_asleep_set(dp_of(net), p->instance_id, is_asleep) == 0)
		p->is_marked = is_asleep;
}

void lazy_settle(struct net *net)
{
	bool is_on = shall_be_on(net);

	if (is_on && !net->is_lazy) {
		log_info("more than %u peers: those that nobody talks to are not configured", net->conf.lazy_peers);
		keep_configured(net);
	}
	net->is_lazy = is_on;
	for (size_t i = 0; i < net->n_peers; i++) {
		struct peer *p = net->peers[i];
		bool may = is_on && may_sleep(net, p);

		p->is_asleep = may && (p->is_asleep || !p->is_settled);
		p->is_settled = may;
		if (p->is_asleep)
			mark(net, p, true);
	}
}

void lazy_applied(struct net *net)
{
	for (size_t i = 0; i < net->n_peers; i++)
		if (net->peers[i]->is_marked && !net->peers[i]->is_asleep)
			mark(net, net->peers[i], false);
}

uint16_t lazy_keepalive(const struct net *net, const struct peer *p)
{
	return p->woken_s ? WAKE_KEEPALIVE_S : (uint16_t)net->conf.keepalive_s;
}

bool lazy_wake(struct net *net, const uint8_t instance_id[BY_INSTANCE_ID_LEN])
{
	struct peer *p = peer_find(net, instance_id);

	if (!p || !p->is_asleep)
		return false;
	p->is_asleep = false;
	p->woken_s = p->used_s = clock_s(CLOCK_BOOTTIME);
	net->n_woken++;
	return true;
}

/* Packets that passed, either way. */
static uint64_t packets_of(const struct net *net, const struct peer *p)
{
	struct by_pair n;

	if (dp_pair_get(dp_of(net), p->instance_id, &n) < 0)
		return p->used_packets;
	return n.n[BY_DIR_IN][BY_PASSED].packets + n.n[BY_DIR_OUT][BY_PASSED].packets;
}

static bool tick_peer(struct net *net, struct peer *p, int64_t now)
{
	uint64_t packets = packets_of(net, p);
	bool is_settling = p->woken_s && now - p->woken_s >= WAKE_S;

	if (packets != p->used_packets)
		p->used_s = now;
	p->used_packets = packets;
	if (is_settling)
		p->woken_s = 0;
	p->is_asleep = now - p->used_s >= net->conf.lazy_idle_s && may_sleep(net, p) && !detour_holds(net, p);
	return p->is_asleep || is_settling;
}

bool lazy_tick(struct net *net)
{
	int64_t now = clock_s(CLOCK_BOOTTIME);
	bool has_changed = false;

	for (size_t i = 0; i < net->n_peers && net->is_lazy; i++)
		if (net->peers[i]->has_wg && !net->peers[i]->is_asleep)
			has_changed |= tick_peer(net, net->peers[i], now);
	return has_changed;
}

uint32_t lazy_asleep(const struct net *net)
{
	uint32_t n = 0;

	for (size_t i = 0; i < net->n_peers; i++)
		n += net->peers[i]->is_asleep;
	return n;
}
