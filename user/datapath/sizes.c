// SPDX-License-Identifier: Apache-2.0
/* How large the maps of an instance are: as abi.h says, or as the caller does. */
#include <bpf/libbpf.h>
#include <errno.h>
#include <stddef.h>

#include "bailey/conf.h"
#include "base/cleanup.h"
#include "internal.h"
#include "skel/tc.skel.h"

const struct dp_sizes dp_sizes_small = {
	.flows = 8192,
	.frags = 256,
	.rates = 1024,
	.addrs = 4096,
	.identities = 2048,
	.verdicts = 16384,
	.rules = 2048,
	.event_bytes = 1 << 16,
	.capture_bytes = 1 << 16,
};

#define IN_SIZES(field) offsetof(struct dp_sizes, field)

static const struct {
	size_t field;
	enum dp_map map;
	uint32_t most; /* and the default; 0: a ring, any power of two */
} sized[] = {
	{ IN_SIZES(flows), MAP_CT4, BY_MAX_FLOWS },           { IN_SIZES(flows), MAP_CT6, BY_MAX_FLOWS },
	{ IN_SIZES(frags), MAP_FRAG, BY_MAX_FRAGS },          { IN_SIZES(rates), MAP_RATE, BY_MAX_RATES },
	{ IN_SIZES(addrs), MAP_ADDR, BY_MAX_ADDRS },          { IN_SIZES(identities), MAP_IDENT, BY_MAX_IDENTITIES },
	{ IN_SIZES(identities), MAP_VIA, BY_MAX_IDENTITIES }, { IN_SIZES(identities), MAP_PAIR, BY_MAX_IDENTITIES },
	{ IN_SIZES(verdicts), MAP_VERDICT, BY_MAX_VERDICTS }, { IN_SIZES(rules), MAP_RULE, BY_MAX_RULES },
	{ IN_SIZES(rules), MAP_RULE_STAT, BY_MAX_RULES },     { IN_SIZES(event_bytes), MAP_EVENTS, 0 },
	{ IN_SIZES(capture_bytes), MAP_CAPTURE, 0 },
};

static struct bpf_map *map_of(const struct dp *dp, enum dp_map map)
{
	return bpf_object__find_map_by_name(dp->obj, dp_map_name[map]);
}

uint32_t map_capacity(const struct dp *dp, enum dp_map map)
{
	return bpf_map__max_entries(map_of(dp, map));
}

static int size_check(const char *name, uint32_t n, uint32_t most, struct err *e)
{
	if (most && n > most)
		return err_at(e, -EINVAL, name, "%u entries, at most %u are possible", n, most);
	if (!most && (n < 4096 || (n & (n - 1))))
		return err_at(e, -EINVAL, name, "%u bytes, needed: a power of two, at least 4096", n);
	return 0;
}

int sizes_set(struct dp *dp, struct err *e)
{
	for (size_t i = 0; i < ARRAY_LEN(sized); i++) {
		const char *field = (const char *)&dp->options.sizes + sized[i].field;
		uint32_t n = *(const uint32_t *)(const void *)field;
		int ret = n ? size_check(dp_map_name[sized[i].map], n, sized[i].most, e) : 0;

		if (!map_of(dp, sized[i].map)) /* another sort of datapath has it */
			continue;

		if (n && !ret)
			ret = bpf_map__set_max_entries(map_of(dp, sized[i].map), n);
		if (ret < 0)
			return ret;
	}
	return 0;
}
