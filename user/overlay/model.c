// SPDX-License-Identifier: Apache-2.0
/* What a device holds: lifetime, checks, and the roaming rule. */
#include "model.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/text.h"

void ov_key_clamp(uint8_t key[OV_KEY_LEN])
{
	key[0] &= 248;
	key[31] = (uint8_t)((key[31] & 127) | 64);
}

void ov_device_fini(struct ov_device *dev)
{
	if (!dev)
		return;
	free(dev->peers);
	explicit_bzero(dev, sizeof(*dev));
}

/* The list doubles when its length is a power of two, so the length alone says how much room there is. */
struct ov_peer *ov_device_grow(struct ov_device *dev)
{
	size_t n = dev->n_peers;
	struct ov_peer *peers;

	if (n >= OV_PEERS_MAX)
		return NULL;
	if ((n & (n - 1)) == 0 || !n) {
		peers = realloc(dev->peers, (n ? 2 * n : 1) * sizeof(*peers));
		if (!peers)
			return NULL;
		dev->peers = peers;
	}
	memset(&dev->peers[n], 0, sizeof(dev->peers[n]));
	dev->n_peers++;
	return &dev->peers[n];
}

void ov_peer_allow(struct ov_peer *peer, const struct ip_prefix *p)
{
	if (peer->n_allowed < OV_MAX_ALLOWED)
		peer->allowed[peer->n_allowed++] = *p;
	else
		peer->has_more_allowed = true;
}

/* "peer 4rEN...=": a public key is no secret, and the way an operator finds the peer. */
static const char *peer_name(char buf[static 64], const struct ov_peer *peer)
{
	char key[BASE64_LEN(OV_KEY_LEN)];

	base64_print(key, peer->public_key, OV_KEY_LEN);
	snprintf(buf, 64, "peer %s", key);
	return buf;
}

static bool is_network(const struct ip_prefix *p)
{
	struct ip_prefix net = prefix_masked(*p);

	return addr_equal(&net.addr, &p->addr);
}

static int check_peer(const struct ov_peer *peer, const uint8_t own[OV_KEY_LEN], struct err *e)
{
	char where[64], text[PREFIX_TEXT];

	peer_name(where, peer);
	if (!memcmp(peer->public_key, own, OV_KEY_LEN))
		return err_at(e, -EINVAL, where, "has this node's own key; a node is no peer of itself");
	if (peer->n_allowed > OV_MAX_ALLOWED)
		return err_at(e, -EINVAL, where, "has %u addresses, at most %d fit", peer->n_allowed, OV_MAX_ALLOWED);
	for (uint32_t i = 0; i < peer->n_allowed; i++) {
		const struct ip_prefix *p = &peer->allowed[i];

		if (p->bits != (addr_is_v4(&p->addr) ? 32 : 128) && !(peer->is_way && is_network(p)))
			return err_at(e, -EINVAL, where,
				      "%s: a peer has single addresses (/32, /128), and networks without host bits "
				      "where it is the way to others",
				      prefix_print(p, text));
	}
	return 0;
}

static int by_address(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct ip_prefix));
}

/* WireGuard gives an address to the peer that asked last: two owners would take it from each other forever. */
static int check_owners(const struct ov_device *want, struct err *e)
{
	auto_free struct ip_prefix *all = NULL;
	char text[PREFIX_TEXT];
	size_t n = 0;

	all = calloc(want->n_peers ? want->n_peers * OV_MAX_ALLOWED : 1, sizeof(*all));
	if (!all)
		return -ENOMEM;
	for (size_t i = 0; i < want->n_peers; i++)
		for (uint32_t k = 0; k < want->peers[i].n_allowed; k++)
			all[n++] = want->peers[i].allowed[k];
	qsort(all, n, sizeof(*all), by_address);
	for (size_t i = 1; i < n; i++)
		if (!by_address(&all[i - 1], &all[i]))
			return err_at(e, -EINVAL, want->name, "%s is given twice; an address has one owner",
				      prefix_print(&all[i], text));
	return 0;
}

static int check_link(const struct ov_device *want, struct err *e)
{
	if (want->n_addrs > ARRAY_LEN(want->addrs))
		return err_at(e, -EINVAL, want->name, "%u addresses, at most %zu fit", want->n_addrs,
			      ARRAY_LEN(want->addrs));
	for (uint32_t i = 0; i < want->n_addrs; i++)
		if (want->mtu && want->mtu < 1280 && !addr_is_v4(&want->addrs[i].addr))
			return err_at(e, -EINVAL, want->name, "MTU %u is below 1280, which IPv6 needs (RFC 8200 5)",
				      want->mtu);
	return 0;
}

int ov_check(const struct ov_device *want, struct err *e)
{
	static const uint8_t none[OV_KEY_LEN];
	uint8_t own[OV_KEY_LEN];
	int rc;

	if (!memcmp(want->private_key, none, OV_KEY_LEN))
		return err_at(e, -EINVAL, want->name, "private key is empty");
	rc = ov_key_public(want->private_key, own);
	if (rc < 0)
		return err_at(e, rc, want->name, "no public key for this private key");
	rc = check_link(want, e);
	for (size_t i = 0; i < want->n_peers && !rc; i++)
		rc = check_peer(&want->peers[i], own, e);
	return rc ? rc : check_owners(want, e);
}

static int by_key(const void *a, const void *b)
{
	return memcmp(a, b, OV_KEY_LEN);
}

_Static_assert(offsetof(struct ov_asked, public_key) == 0, "by_key compares from the start");
_Static_assert(offsetof(struct ov_peer, public_key) == 0, "by_key compares from the start");

void ov_device_sort(struct ov_device *dev)
{
	if (dev->n_peers)
		qsort(dev->peers, dev->n_peers, sizeof(*dev->peers), by_key);
}

const struct ov_peer *ov_device_find(const struct ov_device *dev, const uint8_t key[OV_KEY_LEN])
{
	return dev->n_peers ? bsearch(key, dev->peers, dev->n_peers, sizeof(*dev->peers), by_key) : NULL;
}

static const struct ov_asked *find_asked(const struct ov_asked_list *asked, const uint8_t key[OV_KEY_LEN])
{
	return asked->n ? bsearch(key, asked->v, asked->n, sizeof(*asked->v), by_key) : NULL;
}

static void keep_roamed(struct ov_peer *peer, const struct ov_peer *have, const struct ov_asked *last, int64_t now_s)
{
	bool keep;

	if (!have || !have->has_endpoint || !peer->has_endpoint)
		return;
	if (last)
		keep = last->has_endpoint && endpoint_equal(&last->endpoint, &peer->endpoint);
	else
		keep = have->last_handshake_s && now_s - have->last_handshake_s < OV_SESSION_S;
	if (keep)
		peer->endpoint = have->endpoint;
}

int ov_want_peers(const struct ov_device *have, const struct ov_device *want, const struct ov_asked_list *asked,
		  int64_t now_s, struct ov_peer **peers)
{
	auto_free struct ov_peer *mine = calloc(have->n_peers ? have->n_peers : 1, sizeof(*mine));
	struct ov_device sorted = { .peers = mine, .n_peers = have->n_peers };
	auto_free struct ov_peer *copy = calloc(want->n_peers ? want->n_peers : 1, sizeof(*copy));

	if (!mine || !copy)
		return -ENOMEM;
	if (have->n_peers)
		memcpy(mine, have->peers, have->n_peers * sizeof(*mine));
	if (want->n_peers)
		memcpy(copy, want->peers, want->n_peers * sizeof(*copy));
	ov_device_sort(&sorted);
	for (size_t i = 0; i < want->n_peers; i++)
		keep_roamed(&copy[i], ov_device_find(&sorted, copy[i].public_key),
			    find_asked(asked, copy[i].public_key), now_s);
	*peers = take_ptr(copy);
	return 0;
}

int ov_asked_next(const struct ov_device *want, const struct ov_peer *sent, struct ov_asked_list *asked)
{
	struct ov_asked_list next = { .v = calloc(want->n_peers ? want->n_peers : 1, sizeof(*next.v)) };

	if (!next.v)
		return -ENOMEM;
	for (size_t i = 0; i < want->n_peers; i++) {
		const struct ov_peer *peer = &want->peers[i];
		struct ov_asked *at = &next.v[next.n];

		if (peer->has_endpoint && !endpoint_equal(&sent[i].endpoint, &peer->endpoint) &&
		    !find_asked(asked, peer->public_key))
			continue;
		memcpy(at->public_key, peer->public_key, OV_KEY_LEN);
		at->has_endpoint = peer->has_endpoint;
		at->endpoint = peer->endpoint;
		next.n++;
	}
	qsort(next.v, next.n, sizeof(*next.v), by_key);
	free(asked->v);
	*asked = next;
	return 0;
}
