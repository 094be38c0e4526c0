// SPDX-License-Identifier: Apache-2.0
/* The networks of a slot: what classes the addresses of the host's underlay have. */
#include <bpf/bpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bailey/host.h"
#include "base/cleanup.h"
#include "internal.h"

#define SLOT_BITS 32

struct found {
	struct by_net_key *key;
	uint32_t slot;
	size_t n;
};

static int keep_key(const void *key, const void *value, void *arg)
{
	const struct by_net_key *k = key;
	struct found *f = arg;

	(void)value;
	if (k->slot == f->slot && f->n < BY_MAX_NETS)
		f->key[f->n++] = *k;
	return 0;
}

/* Listed before they are deleted: whoever asks a trie for the key behind one that is gone begins anew. */
int nets_purge(struct dp *dp, uint32_t slot)
{
	struct found f = { .slot = slot };
	auto_free struct by_net_key *keys = NULL;
	int ret;

	if (!dp->host)
		return 0;
	f.key = keys = calloc(BY_MAX_NETS, sizeof(*keys));
	if (!keys)
		return -ENOMEM;
	ret = map_walk(dp->map[MAP_NET], sizeof(struct by_net_key), sizeof(struct by_net), keep_key, &f);
	for (size_t i = 0; i < f.n && !ret; i++)
		ret = bpf_map_delete_elem(dp->map[MAP_NET], &keys[i]) < 0 ? -errno : 0;
	return ret;
}

static struct by_net_key key_of(uint32_t slot, const struct pol_net *net)
{
	return (struct by_net_key){ .prefix_bits = SLOT_BITS + net->bits, .slot = slot, .addr = net->addr };
}

int nets_write(struct dp *dp, uint32_t slot, const struct pol_image *img)
{
	const struct pol_net *net = pol_image_nets(img);
	auto_free struct by_net_key *keys = calloc(img->n_nets + 1, sizeof(*keys));
	auto_free struct by_net *values = calloc(img->n_nets + 1, sizeof(*values));

	if (!keys || !values)
		return -ENOMEM;
	for (uint32_t i = 0; i < img->n_nets; i++) {
		keys[i] = key_of(slot, &net[i]);
		values[i].peer_class = net[i].peer_class;
	}
	return map_write_all(dp->map[MAP_NET], keys, sizeof(*keys), values, sizeof(*values), img->n_nets);
}

/* A trie answers a prefix that it lacks with a shorter one: what is not there at all shows unless the classes agree. */
int nets_read_back(struct dp *dp, uint32_t slot, const struct pol_image *img)
{
	const struct pol_net *net = pol_image_nets(img);

	for (uint32_t i = 0; i < img->n_nets; i++) {
		struct by_net_key key = key_of(slot, &net[i]);
		struct by_net got;

		if (bpf_map_lookup_elem(dp->map[MAP_NET], &key, &got) < 0)
			return -errno;
		if (got.peer_class != net[i].peer_class)
			return -EUCLEAN;
	}
	return 0;
}
