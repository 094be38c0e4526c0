// SPDX-License-Identifier: Apache-2.0
/*
 * Who has which address. by_addr is what the programs read; by_ident is for people, and keeps the numbers over a
 * restart. Order of writes, so that every moment and every crash in between is on the closed side:
 *   join    by_ident, then addresses: an address never names a number that nobody can explain
 *   change  addresses that left, then the new values, then the generation: flows judged under the old class are
 *           judged again
 *   leave   addresses, the generation, the number's counters, by_ident last: the next packet has no identity, a flow
 * can not wait for the address to be given to another node, and a number that is free has counters of 0 An address
 * whose number by_ident does not have was left by a crash and is removed on recovery.
 */
#include <bpf/bpf.h>
#include <errno.h>
#include <string.h>

#include "base/addr.h"
#include "base/cleanup.h"
#include "internal.h"

int identity_addr_write(struct dp *dp, const struct entry *en, const struct by_addr *a)
{
	struct by_addr_val v = { .identity = en->number };

	memcpy(v.peer_class, en->peer_class, sizeof(v.peer_class));
	return bpf_map_update_elem(dp->map[MAP_ADDR], a, &v, BPF_ANY) < 0 ? -errno : 0;
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

static int ident_write(struct dp *dp, const struct entry *en)
{
	struct by_ident v = { .flags = en->id.flags };

	memcpy(v.app_id, en->id.app_id, sizeof(v.app_id));
	memcpy(v.instance_id, en->id.instance_id, sizeof(v.instance_id));
	memcpy(v.node, en->id.node, sizeof(v.node));
	return bpf_map_update_elem(dp->map[MAP_IDENT], &en->number, &v, BPF_ANY) < 0 ? -errno : 0;
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

/* Makes the kernel's entries those of `id`. A failure in between ends with the identity removed. */
static int change(struct dp *dp, struct entry *en, const struct dp_identity *id)
{
	struct dp_identity had = en->id;
	uint32_t live = gen_live(dp).slot;
	int gone, ret;

	table_addrs_drop(&dp->table, en);
	en->id = *id;
	ret = table_addrs_take(&dp->table, en);
	if (!ret)
		ret = ident_write(dp, en);
	if (!ret && !id->is_local) /* the machine's own is dp_attach()'s */
		ret = via_write(dp, en->number, id->via);
	gone = addrs_drop(dp, &had, id);
	if (ret < 0 || gone < 0)
		return ret < 0 ? ret : gone;
	gone += en->peer_class[live] != id->peer_class;
	en->peer_class[live] = id->peer_class;
	for (uint32_t i = 0; i < id->n_addrs; i++) {
		ret = identity_addr_write(dp, en, &id->addrs[i]);
		if (ret < 0)
			return ret;
	}
	if (gone)
		gen_bump(dp);
	return 0;
}

static struct entry *join(struct dp *dp, const struct dp_identity *id, struct err *e)
{
	uint32_t capacity = map_capacity(dp, MAP_IDENT);
	uint32_t number = id->is_local ? BY_IDENT_LOCAL : table_free_number(&dp->table, capacity);
	struct dp_identity bare = *id;
	struct entry *en;

	bare.n_addrs = 0; /* none is in the kernel yet */
	if (!number) {
		err_at(e, -ENOSPC, id->node, "all %u identities are taken", capacity - 2);
		return NULL;
	}
	en = table_add(&dp->table, &bare, number);
	if (!en)
		err_at(e, -ENOMEM, id->node, "out of memory");
	return en;
}

/* The entry that must go first: this node under its former instance, or this instance in its former part. */
static struct entry *obstacle(struct dp *dp, const struct dp_identity *id, struct entry *self)
{
	struct entry *local = dp->table.by_number[BY_IDENT_LOCAL];

	if (self && self->id.is_local != id->is_local)
		return self;
	return id->is_local && local && local != self ? local : NULL;
}

int dp_identity_set(struct dp *dp, const struct dp_identity *id, uint32_t *identity, struct err *e)
{
	struct entry *en = table_find(&dp->table, id->instance_id);
	struct entry *old = obstacle(dp, id, en);
	int ret;

	if (old) {
		ret = leave(dp, old);
		if (ret < 0)
			return err_at(e, ret, id->node, "former identity can not be removed: %s", strerror(-ret));
		en = en == old ? NULL : en;
	}
	ret = check(dp, id, en, e);
	if (ret < 0)
		return ret;
	if (!en)
		en = join(dp, id, e);
	if (!en)
		return e ? e->code : -ENOMEM;
	ret = change(dp, en, id);
	if (ret < 0) {
		leave(dp, en);
		return err_at(e, ret, id->node, "identity can not be written: %s", strerror(-ret));
	}
	if (identity)
		*identity = en->number;
	return 0;
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
