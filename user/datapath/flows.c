// SPDX-License-Identifier: Apache-2.0
/* Tracked flows and what peers sent, as the programs remember them. */
#include <bpf/bpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bailey/flow.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "internal.h"

struct flow_walk {
	struct dp *dp;
	struct by_gen gen;
	uint64_t now_ns;
	bool is_ip4;
	dp_flow_fn fn;
	void *arg;
	int ret; /* of fn */
};

/* dp_place.at_map counts in these. */
static const struct {
	enum dp_map map;
	size_t key_size;
} flow_map[] = {
	{ MAP_CT4, sizeof(struct by_ct4_key) },
	{ MAP_CT6, sizeof(struct by_ct_key) },
};

static uint64_t since_ms(uint64_t now_ns, uint64_t then_ns)
{
	return now_ns > then_ns ? (now_ns - then_ns) / 1000000 : 0; /* stamped after we read the clock: now */
}

static uint32_t identity_of(const struct dp *dp, const struct by_addr *a)
{
	struct by_addr_val v;

	return bpf_map_lookup_elem(dp->map[MAP_ADDR], a, &v) < 0 ? BY_IDENT_NONE : v.identity;
}

static int flow_show(const void *key, const void *value, void *arg)
{
	struct flow_walk *w = arg;
	struct dp_flow f;

	f.key = w->is_ip4 ? by_ct_key_of4(key) : *(const struct by_ct_key *)key;
	memcpy(&f.ct, value, sizeof(f.ct));
	f.peer = identity_of(w->dp, &f.key.peer);
	f.idle_ms = since_ms(w->now_ns, f.ct.last_ns);
	f.age_ms = since_ms(w->now_ns, f.ct.opened_ns);
	f.is_over = (int64_t)(w->now_ns - f.ct.last_ns) > by_flow_idle_max(f.key.l4_proto, f.ct.state);
	f.is_judged = f.ct.gen == w->gen.gen;
	w->ret = w->fn(&f, w->arg);
	return w->ret;
}

static int walk_failed(struct err *e, const char *what, int ret)
{
	return err_at(e, ret, what, "can not be read: %s", strerror(-ret));
}

int dp_flows_on(struct dp *dp, struct dp_place *at, uint32_t chunk, dp_flow_fn fn, void *arg, struct err *e)
{
	struct flow_walk w = { .dp = dp, .gen = gen_live(dp), .fn = fn, .arg = arg };
	enum dp_map map;
	int ret;

	if (at->at_map >= ARRAY_LEN(flow_map))
		return err_at(e, -EINVAL, "flows", "there is no map %u of them", at->at_map);
	map = flow_map[at->at_map].map;
	w.is_ip4 = map == MAP_CT4;
	w.now_ns = (uint64_t)clock_ns(CLOCK_MONOTONIC);
	ret = map_walk_on(dp->map[map], flow_map[at->at_map].key_size, sizeof(struct by_ct), at, chunk, flow_show, &w);
	if (w.ret)
		return w.ret;
	if (ret < 0)
		return walk_failed(e, dp_map_name[map], ret);
	if (at->is_over && at->at_map + 1 < ARRAY_LEN(flow_map))
		*at = (struct dp_place){ .at_map = at->at_map + 1 };
	return 0;
}

int dp_flows(struct dp *dp, dp_flow_fn fn, void *arg, struct err *e)
{
	struct dp_place at = { 0 };
	int ret = 0;

	while (!at.is_over && !ret)
		ret = dp_flows_on(dp, &at, 4096, fn, arg, e);
	return ret;
}

static void pair_add(struct by_pair *sum, const struct by_pair *one)
{
	for (int dir = 0; dir < BY_DIR_COUNT; dir++)
		for (int outcome = 0; outcome < BY_OUTCOME_COUNT; outcome++) {
			sum->n[dir][outcome].packets += one->n[dir][outcome].packets;
			sum->n[dir][outcome].bytes += one->n[dir][outcome].bytes;
		}
}

int dp_pair_get(struct dp *dp, const uint8_t instance_id[BY_INSTANCE_ID_LEN], struct by_pair *n)
{
	auto_free struct by_pair *per_cpu = calloc((size_t)dp->n_cpus, sizeof(*per_cpu));
	const struct entry *en = table_find(&dp->table, instance_id);
	struct by_pair sum = { 0 };

	if (!per_cpu)
		return -ENOMEM;
	if (!en)
		return -ENOENT;
	if (bpf_map_lookup_elem(dp->map[MAP_PAIR], &en->number, per_cpu) < 0)
		return -errno;
	for (int cpu = 0; cpu < dp->n_cpus; cpu++)
		pair_add(&sum, &per_cpu[cpu]);
	*n = sum;
	return 0;
}

int dp_pairs(struct dp *dp, dp_pair_fn fn, void *arg, struct err *e)
{
	auto_free struct by_pair *per_cpu = calloc((size_t)dp->n_cpus, sizeof(*per_cpu));
	int ret = 0;

	if (!per_cpu)
		return walk_failed(e, dp_map_name[MAP_PAIR], -ENOMEM);
	for (size_t i = 0; i < dp->table.n && !ret; i++) {
		const struct entry *en = dp->table.all[i];
		struct by_pair sum = { 0 };

		if (en->number == BY_IDENT_LOCAL)
			continue;
		if (bpf_map_lookup_elem(dp->map[MAP_PAIR], &en->number, per_cpu) < 0)
			return walk_failed(e, dp_map_name[MAP_PAIR], -errno);
		for (int cpu = 0; cpu < dp->n_cpus; cpu++)
			pair_add(&sum, &per_cpu[cpu]);
		ret = fn(en->number, &sum, arg);
	}
	return ret;
}

struct hit_walk {
	uint32_t slot;
	int n_cpus;
	dp_rule_fn fn;
	void *arg;
	int ret;
};

static int hit_show(const void *key, const void *value, void *arg)
{
	const struct by_rule_key *k = key;
	const struct by_counter *per_cpu = value;
	struct by_counter sum = { 0 };
	struct hit_walk *w = arg;

	if (k->slot != w->slot)
		return 0;
	for (int cpu = 0; cpu < w->n_cpus; cpu++) {
		sum.packets += per_cpu[cpu].packets;
		sum.bytes += per_cpu[cpu].bytes;
	}
	w->ret = w->fn(k->rule, &sum, w->arg);
	return w->ret;
}

int dp_rule_hits(struct dp *dp, dp_rule_fn fn, void *arg, struct err *e)
{
	struct hit_walk w = { .slot = gen_live(dp).slot, .n_cpus = dp->n_cpus, .fn = fn, .arg = arg };
	size_t size = (size_t)dp->n_cpus * sizeof(struct by_counter);
	int ret = map_walk(dp->map[MAP_RULE_STAT], sizeof(struct by_rule_key), size, hit_show, &w);

	if (w.ret)
		return w.ret;
	return ret < 0 ? walk_failed(e, dp_map_name[MAP_RULE_STAT], ret) : 0;
}

int pair_clear(struct dp *dp, uint32_t identity)
{
	auto_free struct by_pair *zero = calloc((size_t)dp->n_cpus, sizeof(*zero));

	if (!zero)
		return -ENOMEM;
	return bpf_map_update_elem(dp->map[MAP_PAIR], &identity, zero, BPF_ANY) < 0 ? -errno : 0;
}
