// SPDX-License-Identifier: Apache-2.0
/*
 * Who has which address. by_addr is what the programs read; by_ident is for people, and keeps the numbers over a
 * restart. Order of writes, so that every moment and every crash in between is on the closed side:
 *   join    by_ident, then addresses: an address never names a number that nobody can explain
 *   change  addresses that left, then the new values, then the generation: flows judged under the old class are
 *           judged again
 *   leave   addresses, the generation, the number's counters, by_ident last: the next packet has no identity, a flow
 *           can not wait for the address to be given to another node, and a number that is free has counters of 0
 * Of many that join or change together the same: by_ident of all, then the addresses of all. An address whose number
 * by_ident does not have was left by a crash and is removed on recovery.
 */
#include <bpf/bpf.h>
#include <errno.h>
#include <string.h>

#include "base/addr.h"
#include "base/cleanup.h"
#include "internal.h"

#define AT_ONCE 64 /* identities that share system calls */

/* The addresses of `n` identities, with the classes that they have by now. */
int identity_addrs_write(struct dp *dp, struct entry *const *en, size_t n)
{
	struct by_addr addr[AT_ONCE + ARRAY_LEN(en[0]->id.addrs)];
	struct by_addr_val val[ARRAY_LEN(addr)];
	size_t n_addrs = 0;
	int ret = 0;

	for (size_t i = 0; i < n && !ret; i++) {
		for (uint32_t a = 0; a < en[i]->id.n_addrs; a++) {
			addr[n_addrs] = en[i]->id.addrs[a];
			val[n_addrs] = (struct by_addr_val){ .identity = en[i]->number };
			memcpy(val[n_addrs++].peer_class, en[i]->peer_class, sizeof(val->peer_class));
		}
		if (n_addrs < AT_ONCE && i + 1 < n)
			continue;
		ret = map_write_all(dp->map[MAP_ADDR], addr, sizeof(*addr), val, sizeof(*val), n_addrs);
		n_addrs = 0;
	}
	return ret;
}

int via_write(struct dp *dp, uint32_t identity, uint32_t ifindex)
{
	return bpf_map_update_elem(dp->map[MAP_VIA], &identity, &ifindex, BPF_ANY) < 0 ? -errno : 0;
}

static int addr_delete(struct dp *dp, const struct by_addr *a)
{
	return bpf_map_delete_elem(dp->map[MAP_ADDR], a) < 0 && errno != ENOENT ? -errno : 0;
}

static bool has_addr(const struct dp_identity *id, const struct by_addr *a)
{
	for (uint32_t i = 0; i < id->n_addrs; i++)
		if (addr_equal(&id->addrs[i], a))
			return true;
	return false;
}

/* Addresses of `had` that `keeps` (NULL: nothing) does not name. Returns how many went, or -errno. */
static int addrs_drop(struct dp *dp, const struct dp_identity *had, const struct dp_identity *keeps)
{
	int n = 0, failed = 0;

	for (uint32_t i = 0; i < had->n_addrs; i++) {
		int ret;

		if (keeps && has_addr(keeps, &had->addrs[i]))
			continue;
		ret = addr_delete(dp, &had->addrs[i]);
		if (ret < 0)
			failed = ret; /* go on: the others must not stay because of this one */
		n++;
	}
	return failed ? failed : n;
}

static int leave(struct dp *dp, struct entry *en)
{
	uint32_t number = en->number;
	int ret = addrs_drop(dp, &en->id, NULL);

	gen_bump(dp);
	rates_forget(dp, number);
	if (ret >= 0)
		ret = pair_clear(dp, number); /* the number's next owner begins at 0 */
	if (ret < 0)
		return ret;
	if (bpf_map_delete_elem(dp->map[MAP_IDENT], &number) < 0 && errno != ENOENT)
		return -errno;
	table_del(&dp->table, en);
	return 0;
}

static struct by_ident ident_of(const struct entry *en)
{
	struct by_ident v = { .flags = en->id.flags };

	memcpy(v.app_id, en->id.app_id, sizeof(v.app_id));
	memcpy(v.instance_id, en->id.instance_id, sizeof(v.instance_id));
	memcpy(v.node, en->id.node, sizeof(v.node));
	return v;
}

/* All that the kernel knows of `n` identities, AT_ONCE at most. */
static int write_all(struct dp *dp, struct entry *const *en, size_t n)
{
	uint32_t number[AT_ONCE], comes[AT_ONCE], via[AT_ONCE];
	struct by_ident ident[AT_ONCE];
	size_t n_vias = 0;
	int ret;

	for (size_t i = 0; i < n; i++) {
		number[i] = en[i]->number;
		ident[i] = ident_of(en[i]);
		if (en[i]->id.is_local) /* the machine's own is dp_attach()'s */
			continue;
		comes[n_vias] = en[i]->number;
		via[n_vias++] = en[i]->id.via;
	}
	ret = map_write_all(dp->map[MAP_IDENT], number, sizeof(*number), ident, sizeof(*ident), n);
	if (!ret)
		ret = map_write_all(dp->map[MAP_VIA], comes, sizeof(*comes), via, sizeof(*via), n_vias);
	return ret ? ret : identity_addrs_write(dp, en, n);
}

static int check(struct dp *dp, const struct dp_identity *id, const struct entry *self, struct err *e)
{
	if (id->n_addrs > ARRAY_LEN(id->addrs))
		return err_at(e, -EINVAL, "identity", "%u addresses, at most %zu are possible", id->n_addrs,
			      ARRAY_LEN(id->addrs));
	if (!memchr(id->node, 0, sizeof(id->node)))
		return err_at(e, -EINVAL, "identity", "node name is longer than %d characters", BY_NODE_NAME_LEN - 1);
	for (uint32_t i = 0; i < id->n_addrs; i++) {
		const struct entry *owner = table_find_addr(&dp->table, &id->addrs[i]);
		char text[ADDR_TEXT];

		if (owner && owner != self)
			return err_at(e, -EEXIST, id->node, "address %s belongs to identity %u already",
				      addr_print(&id->addrs[i], text), owner->number);
	}
	return 0;
}

/*
 * Makes an entry what `id` says, and takes addresses away that it no longer has; the others are to be written. Whether
 * its flows are to be judged again, or -errno.
 */
static int change(struct dp *dp, struct entry *en, const struct dp_identity *id)
{
	struct dp_identity had = en->id;
	uint32_t live = gen_live(dp).slot;
	int ret, gone;

	table_addrs_drop(&dp->table, en);
	en->id = *id;
	ret = table_addrs_take(&dp->table, en);
	gone = addrs_drop(dp, &had, id);
	if (ret < 0 || gone < 0)
		return ret < 0 ? ret : gone;
	gone += en->peer_class[live] != id->peer_class;
	en->peer_class[live] = id->peer_class;
	return gone > 0;
}

static int join(struct dp *dp, const struct dp_identity *id, struct entry **en, struct err *e)
{
	uint32_t capacity = map_capacity(dp, MAP_IDENT);
	uint32_t number = id->is_local ? BY_IDENT_LOCAL : table_free_number(&dp->table, capacity);
	struct dp_identity bare = *id;

	bare.n_addrs = 0; /* none is in the kernel yet */
	if (!number)
		return err_at(e, -ENOSPC, id->node, "all %u identities are taken", capacity - 2);
	*en = table_add(&dp->table, &bare, number);
	return *en ? 0 : err_at(e, -ENOMEM, id->node, "out of memory");
}

/* The entry that must go first: this node under its former instance, or this instance in its former part. */
static struct entry *obstacle(struct dp *dp, const struct dp_identity *id, struct entry *self)
{
	struct entry *local = dp->table.by_number[BY_IDENT_LOCAL];

	if (self && self->id.is_local != id->is_local)
		return self;
	return id->is_local && local && local != self ? local : NULL;
}

static int lost(struct dp *dp, struct entry *en, int ret, struct err *e)
{
	err_at(e, ret, en->id.node, "identity can not be written: %s", strerror(-ret));
	leave(dp, en);
	return ret;
}

/* The entry of `id`, which had `en` (NULL: none): as change(). A failure ends with the identity removed. */
static int take(struct dp *dp, const struct dp_identity *id, struct entry **en, struct err *e)
{
	struct entry *old = obstacle(dp, id, *en);
	int ret = old ? leave(dp, old) : 0;

	if (ret < 0)
		return err_at(e, ret, id->node, "former identity can not be removed: %s", strerror(-ret));
	*en = *en == old ? NULL : *en;
	ret = check(dp, id, *en, e);
	if (!ret && !*en)
		ret = join(dp, id, en, e);
	if (ret < 0)
		return ret;
	ret = change(dp, *en, id);
	return ret < 0 ? lost(dp, *en, ret, e) : ret;
}

/* Where all together could not be written: those that can, and the first error. */
static int write_each(struct dp *dp, struct entry *const *en, size_t n, size_t *n_set, struct err *e)
{
	int first = 0;

	for (size_t i = 0; i < n; i++) {
		int ret = write_all(dp, &en[i], 1);

		if (ret < 0)
			ret = lost(dp, en[i], ret, e);
		first = first ? first : ret;
		*n_set += !first;
	}
	return first;
}

static bool is_among(struct entry *const *en, size_t n, const struct entry *wanted)
{
	while (n && en[n - 1] != wanted)
		n--;
	return n;
}

/*
 * Those from the first on that can be written together: an entry once, and none goes while others wait. What is wrong
 * with a later one is told when it is the first.
 */
static int set_some(struct dp *dp, const struct dp_identity *id, size_t n, size_t *n_set, struct err *e)
{
	struct entry *en[AT_ONCE];
	bool is_judged_again = false;
	size_t k = 0;
	int ret = 0;

	for (; k < n && k < AT_ONCE; k++) {
		en[k] = table_find(&dp->table, id[k].instance_id);
		if (k && ((en[k] && is_among(en, k, en[k])) || obstacle(dp, &id[k], en[k])))
			break;
		ret = take(dp, &id[k], &en[k], k ? NULL : e);
		if (ret < 0)
			break;
		is_judged_again |= ret;
	}
	if (!k)
		return ret;
	ret = write_all(dp, en, k);
	if (ret < 0)
		ret = write_each(dp, en, k, n_set, e);
	else
		*n_set += k;
	if (is_judged_again)
		gen_bump(dp);
	return ret;
}

int dp_identities_set(struct dp *dp, const struct dp_identity *id, size_t n, size_t *n_set, struct err *e)
{
	int ret = 0;

	for (*n_set = 0; *n_set < n && !ret;)
		ret = set_some(dp, id + *n_set, n - *n_set, n_set, e);
	return ret;
}

int dp_identity_set(struct dp *dp, const struct dp_identity *id, uint32_t *identity, struct err *e)
{
	size_t n_set;
	int ret = dp_identities_set(dp, id, 1, &n_set, e);

	if (!ret && identity)
		*identity = table_find(&dp->table, id->instance_id)->number;
	return ret;
}

int dp_identity_remove(struct dp *dp, const uint8_t instance_id[BY_INSTANCE_ID_LEN], struct err *e)
{
	struct entry *en = table_find(&dp->table, instance_id);
	int ret;

	if (!en)
		return err_at(e, -ENOENT, "identity", "no such instance");
	ret = leave(dp, en);
	return ret < 0 ? err_at(e, ret, "identity", "can not be removed: %s", strerror(-ret)) : 0;
}

int dp_asleep_set(struct dp *dp, const uint8_t instance_id[BY_INSTANCE_ID_LEN], bool is_asleep)
{
	struct entry *en = table_find(&dp->table, instance_id);

	if (!en)
		return -ENOENT;
	en->id.via = is_asleep ? en->id.via | BY_VIA_ASLEEP : en->id.via & ~BY_VIA_ASLEEP;
	return via_write(dp, en->number, en->id.via);
}

size_t dp_identity_count(const struct dp *dp)
{
	return dp->table.n;
}

bool dp_identity_find(const struct dp *dp, uint32_t identity, struct dp_identity *out)
{
	const struct entry *en = identity < BY_MAX_IDENTITIES ? dp->table.by_number[identity] : NULL;

	if (en)
		*out = en->id;
	return en;
}

bool dp_identity_get(const struct dp *dp, size_t i, uint32_t *identity, struct dp_identity *out)
{
	const struct entry *en;

	if (i >= dp->table.n)
		return false;
	en = dp->table.all[i];
	if (identity)
		*identity = en->number;
	*out = en->id;
	out->peer_class = en->peer_class[gen_live(dp).slot];
	return true;
}

static int recover_ident(const void *key, const void *value, void *arg)
{
	const struct by_ident *v = value;
	struct dp_identity id = { .flags = v->flags };
	struct dp *dp = arg;
	uint32_t number;

	memcpy(&number, key, sizeof(number));
	if (number == BY_IDENT_NONE || number >= BY_MAX_IDENTITIES)
		return bpf_map_delete_elem(dp->map[MAP_IDENT], key) < 0 ? -errno : 0;
	memcpy(id.app_id, v->app_id, sizeof(id.app_id));
	memcpy(id.instance_id, v->instance_id, sizeof(id.instance_id));
	memcpy(id.node, v->node, sizeof(id.node));
	id.is_local = number == BY_IDENT_LOCAL;
	if (number > dp->table.last_number)
		dp->table.last_number = number;
	return table_add(&dp->table, &id, number) ? 0 : -ENOMEM;
}

static int recover_addr(const void *key, const void *value, void *arg)
{
	const struct by_addr_val *v = value;
	struct dp *dp = arg;
	struct entry *en = v->identity < BY_MAX_IDENTITIES ? dp->table.by_number[v->identity] : NULL;

	if (!en || en->id.n_addrs == ARRAY_LEN(en->id.addrs))
		return bpf_map_delete_elem(dp->map[MAP_ADDR], key) < 0 ? -errno : 0;
	table_addrs_drop(&dp->table, en);
	memcpy(&en->id.addrs[en->id.n_addrs++], key, sizeof(struct by_addr));
	memcpy(en->peer_class, v->peer_class, sizeof(en->peer_class));
	return table_addrs_take(&dp->table, en);
}

int identity_recover(struct dp *dp, struct err *e)
{
	int ret = map_walk(dp->map[MAP_IDENT], sizeof(uint32_t), sizeof(struct by_ident), recover_ident, dp);

	if (!ret)
		ret = map_walk(dp->map[MAP_ADDR], sizeof(struct by_addr), sizeof(struct by_addr_val), recover_addr, dp);
	return ret < 0 ? err_at(e, ret, "identities", "can not be read back: %s", strerror(-ret)) : 0;
}
