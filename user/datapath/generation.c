// SPDX-License-Identifier: Apache-2.0
/*
 * A policy becomes live.
 *  1 wait until no program still reads the slot that decided before the live one
 *  2 purge that slot: counters and rules, rates, verdicts, ports, networks
 *  3 write ports, verdicts, rules
 *  4 write the classes of the identities, or of the networks, in that slot
 *  5 read verdicts, rules and networks back
 *  6 flip: one 8-byte store of {slot, gen + 1}
 * Until 6 the live slot is not written, so a failure or a crash anywhere before changes no decision, and the next
 * stage starts at 1 over whatever lies there. After 6 there is nothing left to do.
 */
#include <bpf/bpf.h>
#include <errno.h>
#include <linux/membarrier.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "bailey/host.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "internal.h"

static uint64_t gen_word(struct by_gen g)
{
	uint64_t word;

	memcpy(&word, &g, sizeof(word));
	return word;
}

struct by_gen gen_live(const struct dp *dp)
{
	uint64_t word = __atomic_load_n((uint64_t *)(void *)dp->gen, __ATOMIC_ACQUIRE);
	struct by_gen g;

	memcpy(&g, &word, sizeof(g));
	return g;
}

static void gen_store(struct dp *dp, uint32_t slot, uint32_t gen)
{
	struct by_gen g = { .slot = slot, .gen = gen ? gen : 1 }; /* 0 means that there is no policy */

	__atomic_store_n((uint64_t *)(void *)dp->gen, gen_word(g), __ATOMIC_RELEASE);
}

void gen_bump(struct dp *dp)
{
	struct by_gen g = gen_live(dp);

	if (g.gen)
		gen_store(dp, g.slot, g.gen + 1);
}

/* The programs run inside RCU read sections; a global barrier returns when all that ran have ended. */
static void readers_wait(void)
{
	const struct timespec long_enough = { .tv_nsec = 50000000 };

	if (syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0) == 0)
		return;
	log_debug("membarrier: %s; waiting instead", strerror(errno));
	nanosleep(&long_enough, NULL);
}

struct purge {
	struct dp *dp;
	uint32_t slot;
};

static int purge_verdict(const void *key, const void *value, void *arg)
{
	const struct by_verdict_key *k = key;
	const struct purge *p = arg;

	(void)value;
	if (k->slot != p->slot)
		return 0;
	return bpf_map_delete_elem(p->dp->map[MAP_VERDICT], k) < 0 ? -errno : 0;
}

static int purge_rate(const void *key, const void *value, void *arg)
{
	const struct by_rate_key *k = key;
	const struct purge *p = arg;

	(void)value;
	if (k->slot != p->slot)
		return 0;
	return bpf_map_delete_elem(p->dp->map[MAP_RATE], k) < 0 ? -errno : 0;
}

/* The counter first: by_rule is how counters are found. */
static int purge_rule(const void *key, const void *value, void *arg)
{
	const struct by_rule_key *k = key;
	const struct purge *p = arg;

	(void)value;
	if (k->slot != p->slot)
		return 0;
	if (bpf_map_delete_elem(p->dp->map[MAP_RULE_STAT], k) < 0 && errno != ENOENT)
		return -errno;
	return bpf_map_delete_elem(p->dp->map[MAP_RULE], k) < 0 ? -errno : 0;
}

static int purge(struct dp *dp, uint32_t slot)
{
	struct purge p = { dp, slot };
	int ret;

	memset(dp->port + slot * BY_PORT_SPACE, 0, BY_PORT_SPACE * sizeof(*dp->port));
	ret = map_walk(dp->map[MAP_RULE], sizeof(struct by_rule_key), sizeof(struct by_rule), purge_rule, &p);
	if (ret < 0)
		return ret;
	dp->n_rules[slot] = 0;
	rated_clear(dp, slot);
	ret = map_walk(dp->map[MAP_RATE], sizeof(struct by_rate_key), sizeof(struct by_rate), purge_rate, &p);
	if (ret < 0)
		return ret;
	ret = map_walk(dp->map[MAP_VERDICT], sizeof(struct by_verdict_key), sizeof(struct by_verdict), purge_verdict,
		       &p);
	return ret ? ret : nets_purge(dp, slot);
}

static void ports_write(struct dp *dp, uint32_t slot, const struct pol_image *img)
{
	const struct pol_port_range *r = pol_image_ports(img);
	struct port_cell *cell = dp->port + slot * BY_PORT_SPACE;

	for (uint32_t i = 0; i < img->n_ports; i++)
		for (uint32_t sel = r[i].first; sel <= r[i].last; sel++)
			cell[sel].port = r[i].port;
}

static struct by_verdict_key verdict_key(uint32_t slot, const struct pol_verdict *v)
{
	return (struct by_verdict_key){
		.slot = (uint8_t)slot,
		.dir = v->dir,
		.port_class = v->port_class,
		.peer_class = v->peer_class,
	};
}

static int verdicts_write(struct dp *dp, uint32_t slot, const struct pol_image *img)
{
	const struct pol_verdict *v = pol_image_verdicts(img);
	auto_free struct by_verdict_key *keys = calloc(img->n_verdicts + 1, sizeof(*keys));
	auto_free struct by_verdict *values = calloc(img->n_verdicts + 1, sizeof(*values));

	if (!keys || !values)
		return -ENOMEM;
	for (uint32_t i = 0; i < img->n_verdicts; i++) {
		keys[i] = verdict_key(slot, &v[i]);
		values[i] = v[i].verdict;
	}
	return map_write_all(dp->map[MAP_VERDICT], keys, sizeof(*keys), values, sizeof(*values), img->n_verdicts);
}

static int rules_write(struct dp *dp, uint32_t slot, const struct pol_image *img)
{
	auto_free struct by_rule_key *keys = calloc(img->n_rules + 1, sizeof(*keys));
	int ret = 0;

	if (!keys)
		return -ENOMEM;
	for (uint32_t i = 0; i < img->n_rules && !ret; i++) {
		keys[i] = (struct by_rule_key){ .slot = slot, .rule = i + 1 };
		ret = rated_add(dp, slot, i + 1, &pol_image_rules(img)[i]);
	}
	if (ret < 0)
		return ret;
	ret = map_write_all(dp->map[MAP_RULE], keys, sizeof(*keys), pol_image_rules(img), sizeof(struct by_rule),
			    img->n_rules);
	if (!ret)
		dp->n_rules[slot] = img->n_rules;
	return ret;
}

static int classes_write(struct dp *dp, uint32_t slot, const struct pol_image *img)
{
	const struct pol_member *m = pol_image_members(img);
	struct table *t = &dp->table;

	for (size_t i = 0; i < t->n; i++)
		t->all[i]->peer_class[slot] = 0;
	for (uint32_t i = 0; i < img->n_members; i++) {
		struct entry *en = table_find(t, m[i].instance_id);

		if (en)
			en->peer_class[slot] = m[i].peer_class;
	}
	return identity_addrs_write(dp, t->all, t->n);
}

/* Every byte of what the programs will read, and nothing beside it. */
struct back {
	const struct pol_image *img;
	uint32_t slot, n; /* entries of the slot so far */
};

static int order_verdicts(const void *a, const void *b)
{
	const struct pol_verdict *x = a, *y = b;

	if (x->dir != y->dir)
		return x->dir < y->dir ? -1 : 1;
	if (x->peer_class != y->peer_class)
		return x->peer_class < y->peer_class ? -1 : 1;
	return (x->port_class > y->port_class) - (x->port_class < y->port_class);
}

static int back_verdict(const void *key, const void *value, void *arg)
{
	const struct by_verdict_key *k = key;
	const struct pol_verdict wanted = { .dir = k->dir, .port_class = k->port_class, .peer_class = k->peer_class };
	const struct pol_verdict *v;
	struct back *back = arg;

	if (k->slot != back->slot)
		return 0;
	v = bsearch(&wanted, pol_image_verdicts(back->img), back->img->n_verdicts, sizeof(*v), order_verdicts);
	back->n++;
	return v && memcmp(&v->verdict, value, sizeof(v->verdict)) == 0 ? 0 : -EUCLEAN;
}

static int back_rule(const void *key, const void *value, void *arg)
{
	const struct by_rule_key *k = key;
	struct back *back = arg;

	if (k->slot != back->slot)
		return 0;
	back->n++;
	if (!k->rule || k->rule > back->img->n_rules)
		return -EUCLEAN;
	return memcmp(&pol_image_rules(back->img)[k->rule - 1], value, sizeof(struct by_rule)) == 0 ? 0 : -EUCLEAN;
}

static int read_back(struct dp *dp, uint32_t slot, const struct pol_image *img)
{
	struct back verdicts = { img, slot, 0 }, rules = { img, slot, 0 };
	int ret = map_walk(dp->map[MAP_VERDICT], sizeof(struct by_verdict_key), sizeof(struct by_verdict), back_verdict,
			   &verdicts);

	if (!ret)
		ret = map_walk(dp->map[MAP_RULE], sizeof(struct by_rule_key), sizeof(struct by_rule), back_rule,
			       &rules);
	if (!ret && (verdicts.n != img->n_verdicts || rules.n != img->n_rules))
		ret = -EUCLEAN;
	return ret ? ret : nets_read_back(dp, slot, img);
}

/* Both slots must fit at once, else a commit could fail half-way for want of room. */
static int limits_check(const struct dp *dp, const struct pol_image *img, struct err *e)
{
	uint32_t verdicts = map_capacity(dp, MAP_VERDICT) / BY_SLOTS, rules = map_capacity(dp, MAP_RULE) / BY_SLOTS;

	if (img->magic != POL_IMAGE_MAGIC || img->abi != BY_ABI_VERSION)
		return err_at(e, -EINVAL, "policy image", "ABI %u, this build needs %d", img->abi, BY_ABI_VERSION);
	if (img->n_verdicts > verdicts)
		return err_at(e, -E2BIG, "policy image", "%u verdicts, at most %u fit", img->n_verdicts, verdicts);
	if (img->n_rules > rules)
		return err_at(e, -E2BIG, "policy image", "%u rules, at most %u fit", img->n_rules, rules);
	if (!!dp->host != !!img->n_nets)
		return err_at(e, -EINVAL, "policy image", "is for the %s", dp->host ? "overlay" : "underlay");
	if (img->n_nets > BY_MAX_NETS / BY_SLOTS)
		return err_at(e, -E2BIG, "policy image", "%u networks, at most %d fit", img->n_nets,
			      BY_MAX_NETS / BY_SLOTS);
	return 0;
}

static int stage_failed(struct err *e, const char *step, int ret)
{
	return err_at(e, ret, "policy", "%s: %s; the live policy is untouched", step, strerror(-ret));
}

int dp_policy_stage(struct dp *dp, const struct pol_image *img, struct err *e)
{
	uint32_t slot = gen_live(dp).slot ^ 1;
	int ret = limits_check(dp, img, e);

	if (ret < 0)
		return ret;
	dp->is_staged = false;
	readers_wait();        /* 1 */
	ret = purge(dp, slot); /* 2 */
	if (ret < 0)
		return stage_failed(e, "old generation can not be purged", ret);
	ports_write(dp, slot, img); /* 3 */
	ret = verdicts_write(dp, slot, img);
	if (ret < 0)
		return stage_failed(e, "verdicts can not be written", ret);
	ret = rules_write(dp, slot, img);
	if (ret < 0)
		return stage_failed(e, "rules can not be written", ret);
	ret = dp->host ? nets_write(dp, slot, img) : classes_write(dp, slot, img); /* 4 */
	if (ret < 0)
		return stage_failed(e, "classes can not be written", ret);
	ret = read_back(dp, slot, img); /* 5 */
	if (ret < 0)
		return stage_failed(e, "what was written reads back differently", ret);
	dp->is_staged = true;
	return 0;
}

int dp_policy_flip(struct dp *dp, struct err *e)
{
	struct by_gen g = gen_live(dp);

	if (!dp->is_staged)
		return err_at(e, -EINVAL, "policy", "nothing is staged");
	dp->is_staged = false;
	gen_store(dp, g.slot ^ 1, g.gen + 1); /* 6 */
	return 0;
}

int dp_policy_commit(struct dp *dp, const struct pol_image *img, struct err *e)
{
	int ret = dp_policy_stage(dp, img, e);

	return ret < 0 ? ret : dp_policy_flip(dp, e);
}
