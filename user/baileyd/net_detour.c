// SPDX-License-Identifier: Apache-2.0
/*
 * The second device, while a WireGuard key is rotated (docs/overlay.md). An address belongs to one peer of a device, so
 * one device can not receive from a node by its old key and by its new one; two can. Traffic with a node moves to the
 * second device, the first gets its new key, traffic comes back. Which device what goes to a node leaves by is in the
 * kernel (by_via); what comes is taken by either at any time. A direction is moved by its sender, and only to a device
 * on which the two have shaken hands: the other end then receives there.
 */
#include <errno.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "net.h"

#define SESSION_S 150 /* a handshake carries data for 180 s: with some to spare */
#define WAKE_S    5   /* keepalive where a handshake is wanted: the first is sent at once */

static struct dp *datapath(const struct net *net)
{
	return net->targets[TARGET_OVERLAY].dp;
}

/* What goes to this node shall leave by the second device. */
static bool shall_leave(const struct net *net, const struct peer *p)
{
	return net->detour.phase == DETOUR_OUT ||
	       (p->has_detour && memcmp(p->detour_key, p->wg.public_key, OV_KEY_LEN) == 0);
}

static bool is_away(const struct net *net, const struct peer *p)
{
	return net->detour.ifindex && dp_via_get(datapath(net), p->instance_id) == dp_via_second(net->detour.ifindex);
}

static bool is_on_second(const struct net *net, const struct peer *p)
{
	return p->has_wg && !p->is_asleep && (net->detour.phase != DETOUR_NONE || p->has_detour);
}

bool detour_holds(const struct net *net, const struct peer *p)
{
	return is_on_second(net, p) || is_away(net, p);
}

static bool is_needed(const struct net *net)
{
	if (net->detour.phase != DETOUR_NONE)
		return true;
	for (size_t i = 0; i < net->n_peers; i++)
		if (is_on_second(net, net->peers[i]))
			return true;
	return false;
}

static const struct peer *way_peer(const struct net *net)
{
	for (size_t i = 0; i < net->n_peers && net->conf.topology == BY_TOPOLOGY_SPOKE; i++)
		if (net->peers[i]->has_wg && net->peers[i]->wg.is_way)
			return net->peers[i];
	return NULL;
}

uint32_t detour_via(const struct net *net, const struct msg_node_set *m)
{
	const struct peer *way = net->detour.ifindex && !m->is_wg_peer ? way_peer(net) : NULL;
	const uint8_t *id = way ? way->instance_id : m->identity.instance_id;
	uint32_t second = dp_via_second(net->detour.ifindex);

	if (net->detour.ifindex && !m->identity.is_local && dp_via_get(datapath(net), id) == second)
		return second;
	return ov_ifindex(net->ov);
}

/* Who shall come back needs a session to come back to. */
uint16_t detour_keepalive(const struct net *net, const struct peer *p)
{
	return is_away(net, p) && !shall_leave(net, p) ? WAKE_S : lazy_keepalive(net, p);
}

/* --- the device --- */

static int send_by(struct net *net, const struct peer *p, uint32_t via)
{
	struct err e = ERR_INIT;
	char text[600];
	int ret = dp_via_set(datapath(net), p->instance_id, via, &e);

	if (ret < 0)
		log_err("%s", err_text(&e, text, sizeof(text)));
	return ret;
}

static void all_come_back(struct net *net)
{
	for (size_t i = 0; i < net->n_peers; i++)
		if (is_away(net, net->peers[i]))
			send_by(net, net->peers[i], ov_ifindex(net->ov));
}

/* Who is reached by way of a spoke's hub goes where that goes. */
static void follow(struct net *net)
{
	const struct peer *way = way_peer(net);
	bool away = way && is_away(net, way);

	for (size_t i = 0; i < net->n_peers && way; i++)
		if (net->peers[i]->is_behind && is_away(net, net->peers[i]) != away)
			send_by(net, net->peers[i], away ? dp_via_second(net->detour.ifindex) : ov_ifindex(net->ov));
}

static int second_close(struct net *net, struct err *e)
{
	char name[IF_NAMESIZE];
	int ret;

	conf_second_device(net->conf.interface, name);
	all_come_back(net);
	ov_close(net->detour.ov);
	net->detour.ov = NULL;
	net->detour.ifindex = 0;
	explicit_bzero(net->detour.second_key, sizeof(net->detour.second_key));
	ret = ov_destroy(name, e);
	return ret ? ret : dp_second_remove(datapath(net), e);
}

static int second_open(struct net *net, struct err *e)
{
	char name[IF_NAMESIZE];
	unsigned ifindex;
	int ret;

	conf_second_device(net->conf.interface, name);
	ret = ov_open(name, (enum ov_backend)net->conf.backend, &net->detour.ov, e);
	if (ret < 0)
		return ret;
	ifindex = ov_ifindex(net->detour.ov);
	ret = dp_second_attach(datapath(net), ifindex, e);
	if (ret < 0) {
		ov_close(net->detour.ov);
		net->detour.ov = NULL;
		return ret;
	}
	if (net->detour.ifindex != ifindex)
		all_come_back(net); /* those that were sent by one that is gone */
	net->detour.ifindex = ifindex;
	return 0;
}

/* The same node with the same addresses, at its next port. */
static struct ov_peer on_second(const struct peer *p)
{
	struct ov_peer wg = p->wg;

	if (p->has_detour)
		memcpy(wg.public_key, p->detour_key, sizeof(wg.public_key));
	wg.has_endpoint = wg.has_endpoint && wg.endpoint.port != 65535;
	wg.endpoint.port++;
	wg.has_keepalive = true;
	wg.keepalive_s = WAKE_S;
	return wg;
}

/* The second of the last handshake. Waits until that is over. */
static int64_t last_of_key(const struct ov_device *dev)
{
	int64_t last = 0;

	for (size_t i = 0; i < dev->n_peers; i++)
		if (dev->peers[i].last_handshake_s > last)
			last = dev->peers[i].last_handshake_s;
	if (last >= time(NULL))
		sleep(1);
	return last;
}

#define NOTE "bailey: key set after %lld" /* unix seconds */

static int64_t noted(const struct ov_device *dev)
{
	long long last = 0;

	return sscanf(dev->note, NOTE, &last) == 1 ? last : 0;
}

/*
 * A session by the former key of a device is none to send by: handshakes are told apart by their second, so another key
 * is set in one in which there was none. *last_s: the one before. The device has it, for the next process, before it
 * has the key.
 */
static int rekey(struct ov *ov, const uint8_t key[OV_KEY_LEN], int64_t *last_s, struct err *e)
{
	struct ov_device dev = { 0 };
	char note[OV_NOTE_LEN];
	int64_t last = 0;
	int ret = 0;

	if (ov_read(ov, &dev, e) < 0)
		return e->code;
	if (memcmp(dev.private_key, key, OV_KEY_LEN) == 0) { /* by an earlier process */
		last = noted(&dev);
	} else {
		last = last_of_key(&dev);
		snprintf(note, sizeof(note), NOTE, (long long)last);
		ret = last ? ov_note(ov, note, e) : 0;
	}
	ov_device_fini(&dev);
	if (!ret)
		*last_s = last;
	return ret;
}

/* The second device stays when this node's rotation is over and a peer's is not: its key is then another. */
static int second_rekey(struct net *net, const uint8_t key[OV_KEY_LEN], struct err *e)
{
	if (memcmp(net->detour.second_key, key, OV_KEY_LEN) == 0)
		return 0;
	if (rekey(net->detour.ov, key, &net->detour.second_s, e) < 0)
		return e->code;
	memcpy(net->detour.second_key, key, OV_KEY_LEN);
	return 0;
}

static int second_set(struct net *net, struct err *e)
{
	struct ov_device want = { .mtu = net->conf.mtu, .is_carrier = true };
	struct ov_changes changes = { 0 };
	int ret;

	conf_second_device(net->conf.interface, want.name);
	want.listen_port = (uint16_t)(net->conf.wg_port == 65535 ? 0 : net->conf.wg_port + 1);
	memcpy(want.private_key, net->detour.phase == DETOUR_NONE ? net->conf.private_key : net->detour.key,
	       sizeof(want.private_key));
	if (second_rekey(net, want.private_key, e) < 0)
		return e->code;
	want.peers = calloc(net->n_peers + 1, sizeof(*want.peers));
	if (!want.peers)
		return err_at(e, -ENOMEM, want.name, "out of memory");
	for (size_t i = 0; i < net->n_peers; i++)
		if (is_on_second(net, net->peers[i]))
			want.peers[want.n_peers++] = on_second(net->peers[i]);
	ret = ov_apply(net->detour.ov, &want, &changes, e);
	ov_device_fini(&want);
	return ret;
}

static int second_make(struct net *net, struct err *e)
{
	int ret = net->detour.ov ? 0 : second_open(net, e);

	if (!ret)
		ret = second_set(net, e);
	if (ret == -ENODEV && net->detour.ov) { /* somebody removed it: made anew by the next look */
		ov_close(net->detour.ov);
		net->detour.ov = NULL;
	}
	return ret;
}

/* Before the first node is named: who was sent by a second device of an earlier process has a session on no other. */
void detour_find(struct net *net)
{
	char name[IF_NAMESIZE];

	conf_second_device(net->conf.interface, name);
	net->detour.ifindex = if_nametoindex(name);
}

int detour_apply(struct net *net, struct err *e)
{
	int ret;

	if (is_needed(net))
		ret = second_make(net, e);
	else
		ret = net->detour.ifindex ? second_close(net, e) : 0;
	snprintf(net->detour.trouble, sizeof(net->detour.trouble), "%s", ret ? e->msg : "");
	return ret;
}

int detour_rotate(struct net *net, const struct msg_rotate *m, struct err *e)
{
	if (!m || m->phase >= DETOUR_PHASES)
		return err_at(e, -EPROTO, "net process", "rotation message is wrong");
	if (rekey(net->ov, m->private_key, &net->detour.rekeyed_s, e) < 0)
		return e->code;
	net->detour.phase = m->phase;
	net->detour.quiet_s = 0;
	net->detour.is_told = true; /* that it is no more is news */
	memcpy(net->detour.key, m->second_key, sizeof(net->detour.key));
	memcpy(net->conf.private_key, m->private_key, sizeof(net->conf.private_key));
	if (!net->is_synced)
		return 0;
	if (device_apply(net, e) < 0)
		return e->code;
	return detour_apply(net, e);
}

/* --- who goes where --- */

static int64_t handshake_on(const struct ov_device *dev, const uint8_t key[OV_KEY_LEN])
{
	const struct ov_peer *wg = ov_device_find(dev, key);

	return wg ? wg->last_handshake_s : 0;
}

struct look { /* at both devices */
	struct ov_device first, second;
	int64_t now;
	uint32_t waiting, idle;
};

static bool has_session(const struct look *look, int64_t handshake_s, int64_t after_s)
{
	return handshake_s > after_s && look->now - handshake_s < SESSION_S;
}

static void choose(struct net *net, const struct peer *p, struct look *look)
{
	bool leaves = shall_leave(net, p), away = is_away(net, p), first, second, to;

	first = has_session(look, handshake_on(&look->first, p->wg.public_key), net->detour.rekeyed_s);
	second = is_on_second(net, p) &&
		 has_session(look, handshake_on(&look->second, p->has_detour ? p->detour_key : p->wg.public_key),
			     net->detour.second_s);
	to = away;
	if (leaves ? second : first)
		to = leaves;
	else if (!(away ? second : first) && (away ? first : second))
		to = !away;
	if (to != away && send_by(net, p, to ? dp_via_second(net->detour.ifindex) : ov_ifindex(net->ov)) == 0)
		away = to;
	if (net->detour.phase == DETOUR_OUT ? !away : net->detour.phase == DETOUR_BACK && away) {
		look->waiting += first || second;
		look->idle += !first && !second;
	}
}

/* No packet of a peer came by the device that is to be left. */
static void listen_for(struct net *net, const struct look *look)
{
	const struct ov_device *dev = net->detour.phase == DETOUR_OUT ? &look->first : &look->second;

	net->detour.quiet_s = dev->rx_packets == net->detour.rx_packets ? net->detour.quiet_s + 1 : 0;
	net->detour.rx_packets = dev->rx_packets;
}

static void tell(struct net *net, const struct look *look)
{
	struct msg_detour m = { .phase = net->detour.phase,
				.is_open = net->detour.ov != NULL,
				.waiting = look->waiting,
				.idle = look->idle,
				.quiet_s = net->detour.quiet_s };

	snprintf(m.trouble, sizeof(m.trouble), "%s", net->detour.trouble);
	if (net->detour.is_told || m.is_open)
		ipc_send(net->parent, MSG_NET_DETOUR, &m, sizeof(m), -1);
	net->detour.is_told = m.is_open || m.phase;
}

int detour_read(const struct net *net, struct ov_device *second)
{
	struct err e = ERR_INIT;

	if (!net->detour.ov || ov_read(net->detour.ov, second, &e) < 0)
		return -ENODEV;
	ov_device_sort(second);
	return 0;
}

void detour_watch(struct net *net)
{
	struct look look = { .now = time(NULL) };
	char text[600], trouble[sizeof(net->detour.trouble)];
	struct err e = ERR_INIT;

	if (!net->is_synced)
		return;
	if (net->detour.ov && ov_read(net->ov, &look.first, &e) == 0 &&
	    ov_read(net->detour.ov, &look.second, &e) == 0) {
		ov_device_sort(&look.first);
		ov_device_sort(&look.second);
		for (size_t i = 0; i < net->n_peers; i++)
			if (net->peers[i]->has_wg && !net->peers[i]->is_asleep)
				choose(net, net->peers[i], &look);
		follow(net);
		listen_for(net, &look);
	}
	tell(net, &look);
	ov_device_fini(&look.first);
	ov_device_fini(&look.second);
	memcpy(trouble, net->detour.trouble, sizeof(trouble));
	e = ERR_INIT;
	if ((net->detour.ov || is_needed(net)) && (device_apply(net, &e) < 0 || detour_apply(net, &e) < 0) &&
	    strcmp(trouble, net->detour.trouble) != 0)
		log_err("%s", err_text(&e, text, sizeof(text)));
}

static const struct peer *peer_of_key(const struct net *net, const uint8_t key[OV_KEY_LEN])
{
	for (size_t i = 0; i < net->n_peers; i++)
		if (net->peers[i]->has_wg && memcmp(net->peers[i]->wg.public_key, key, OV_KEY_LEN) == 0)
			return net->peers[i];
	return NULL;
}

void detour_count(const struct net *net, const struct ov_device *second, struct msg_peer *m)
{
	const struct peer *p = second->n_peers ? peer_of_key(net, m->wg_key) : NULL;
	const uint8_t *key = p && p->has_detour ? p->detour_key : m->wg_key;
	const struct ov_peer *wg = ov_device_find(second, key);

	if (!wg)
		return;
	m->rx_bytes += wg->rx_bytes;
	m->tx_bytes += wg->tx_bytes;
	if (wg->last_handshake_s > m->last_handshake_s)
		m->last_handshake_s = wg->last_handshake_s;
}

void detour_fini(struct net *net)
{
	struct detour *d = &net->detour;

	ov_close(d->ov);
	explicit_bzero(d, sizeof(*d));
}
