// SPDX-License-Identifier: Apache-2.0
/* What the datapath did: counters, rules, events. */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "internal.h"

static int count_one(const void *key, const void *value, void *arg)
{
	(void)key;
	(void)value;
	++*(size_t *)arg;
	return 0;
}

int limit_lost(struct dp *dp, uint32_t budget, uint64_t *lost)
{
	auto_free struct by_limit *per_cpu = calloc((size_t)dp->n_cpus, sizeof(*per_cpu));

	if (!per_cpu)
		return -ENOMEM;
	if (bpf_map_lookup_elem(dp->map[MAP_LIMIT], &budget, per_cpu) < 0)
		return -errno;
	for (int cpu = 0; cpu < dp->n_cpus; cpu++)
		*lost += per_cpu[cpu].lost;
	return 0;
}

int dp_events_lost(struct dp *dp, uint64_t *lost)
{
	int ret = 0;

	*lost = 0;
	for (uint32_t budget = 0; budget < BY_LIMIT_COUNT && !ret; budget++)
		if (budget < BY_DROP_COUNT || budget == BY_LIMIT_LOG || budget == BY_LIMIT_AUDIT)
			ret = limit_lost(dp, budget, lost);
	return ret;
}

static int stat_sum(struct dp *dp, struct dp_status *st)
{
	for (uint32_t dir = 0; dir < BY_DIR_COUNT; dir++)
		for (uint32_t reason = 0; reason < BY_DROP_COUNT; reason++) {
			uint32_t at = dir * BY_MAX_REASONS + reason;
			int ret = map_sum(dp, MAP_STAT, &at, &st->stat[dir][reason]);

			if (ret < 0)
				return ret;
		}
	return 0;
}

int dp_status_get(struct dp *dp, struct dp_status *out, struct err *e)
{
	struct dp_status st = { .gen = gen_live(dp), .n_identities = dp->table.n };
	int ret;

	for (size_t i = 0; i < dp->table.n; i++)
		st.n_addrs += dp->table.all[i]->id.n_addrs;
	st.n_rules = st.gen.gen ? dp->n_rules[st.gen.slot] : 0;
	ret = map_walk(dp->map[MAP_CT4], sizeof(struct by_ct4_key), sizeof(struct by_ct), count_one, &st.n_flows);
	if (!ret)
		ret = map_walk(dp->map[MAP_CT6], sizeof(struct by_ct_key), sizeof(struct by_ct), count_one,
			       &st.n_flows);
	if (!ret)
		ret = stat_sum(dp, &st);
	if (!ret)
		ret = dp_events_lost(dp, &st.events_lost);
	if (ret < 0)
		return err_at(e, ret, "datapath", "counters can not be read: %s", strerror(-ret));
	*out = st;
	return 0;
}

struct by_gen dp_gen(const struct dp *dp)
{
	return gen_live(dp);
}

int dp_rule_get(struct dp *dp, uint32_t slot, uint32_t rule, struct by_rule *meta, struct by_counter *hits)
{
	struct by_rule_key key = { .slot = slot, .rule = rule };
	struct by_counter n = { 0 };
	struct by_rule found;
	int ret;

	if (bpf_map_lookup_elem(dp->map[MAP_RULE], &key, &found) < 0)
		return -errno;
	ret = map_sum(dp, MAP_RULE_STAT, &key, &n);
	if (ret < 0 && ret != -ENOENT) /* a rule that decided nothing has no counter */
		return ret;
	if (hits)
		*hits = n;
	if (meta)
		*meta = found;
	return 0;
}

static int event_take(void *arg, void *data, size_t size)
{
	const struct by_event *ev = data;
	struct dp *dp = arg;

	if (size >= sizeof(*ev) && ev->version == BY_EVENT_VERSION)
		dp->event_fn(ev, dp->event_arg);
	return 0;
}

int dp_events_open(struct dp *dp, dp_event_fn fn, void *arg, int *fd, struct err *e)
{
	if (dp->ring)
		return err_at(e, -EBUSY, "events", "are being read already");
	dp->ring = ring_buffer__new(dp->map[MAP_EVENTS], event_take, dp, NULL);
	if (!dp->ring)
		return err_at(e, -errno, "events", "ring buffer can not be opened: %s", strerror(errno));
	dp->event_fn = fn;
	dp->event_arg = arg;
	if (fd)
		*fd = ring_buffer__epoll_fd(dp->ring);
	return 0;
}

int dp_events_read(struct dp *dp)
{
	return dp->ring ? ring_buffer__consume(dp->ring) : -EBADF;
}

static const struct {
	const char *name, *text;
} drop_reason[] = {
#define DROP(name, code, text) [code] = { #name, text },
#include "tbl/drop.h"
#undef DROP
};

const char *dp_drop_name(unsigned reason)
{
	return reason < ARRAY_LEN(drop_reason) && drop_reason[reason].name ? drop_reason[reason].name : "UNKNOWN";
}

const char *dp_drop_text(unsigned reason)
{
	return reason < ARRAY_LEN(drop_reason) && drop_reason[reason].text ? drop_reason[reason].text
									   : "unknown to this version";
}
