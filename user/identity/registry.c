// SPDX-License-Identifier: Apache-2.0
/*
 * Verified nodes, and what must hold between them. Two search trees of libc (tsearch, O(log n)): one by instance, one
 * by what a node claims for itself alone, its addresses and its WireGuard key.
 *
 * An instance that is gone keeps a slot with its last epoch, so that an older record can not come back. A record can
 * not be presented once its own end has passed, and lives ID_RECORD_LIFE_MAX_S at most; a slot is forgotten that long
 * after the end of the last record seen. There are at most max_nodes live and max_nodes remembered instances; when
 * both are full, a new instance is refused (-ENOSPC) rather than an old one forgotten early. What another registry knew
 * (id_registry_remember) is of nodes that may come back, and may fill both places until they have.
 */
#include <errno.h>
#include <search.h>
#include <string.h>
#include <sys/queue.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "identity.h"

#define WHERE      "record"
#define NODES_MAX  (1u << 20)
#define CLAIMS_MAX (ID_MAX_ADDRS + 3)

enum claim_kind { CLAIM_ADDR, CLAIM_WG_KEY, CLAIM_NAME };

struct slot;

/* Something that only one node may have. */
struct claim {
	uint8_t key[1 + ID_WG_KEY_LEN]; /* kind, then the value, zero-padded */
	struct slot *slot;
};

struct live {
	struct id_node node;
	struct claim claims[CLAIMS_MAX];
	unsigned n_claims;
};

/* What is remembered of an instance. */
struct slot {
	uint8_t instance_id[BY_INSTANCE_ID_LEN];
	uint64_t epoch;
	uint8_t digest[32];
	int64_t forget_s;  /* a slot without a node goes after this time */
	bool is_revoked;   /* it has no node and gets none, and is not forgotten */
	struct live *live; /* NULL: the node is gone */
	size_t index;      /* of live, in reg->nodes */
	TAILQ_ENTRY(slot) gone_link;
};

struct id_registry {
	struct id_registry_conf conf;
	struct slot **nodes; /* those with a node, dense, max_nodes long */
	size_t n_nodes;
	void *by_instance, *by_claim;
	TAILQ_HEAD(gone_list, slot) gone;
	size_t n_gone;
	size_t sweep; /* id_registry_expire() goes on here */
};

static int slot_cmp(const void *a, const void *b)
{
	return memcmp(((const struct slot *)a)->instance_id, ((const struct slot *)b)->instance_id, BY_INSTANCE_ID_LEN);
}

static int claim_cmp(const void *a, const void *b)
{
	return memcmp(((const struct claim *)a)->key, ((const struct claim *)b)->key, sizeof(((struct claim *)0)->key));
}

static void keep(void *node)
{
	(void)node;
}

static void slot_free(void *p)
{
	struct slot *slot = p;

	free(slot->live);
	free(slot);
}

int id_registry_new(const struct id_registry_conf *conf, struct id_registry **reg, struct err *e)
{
	struct id_registry *made;

	if (!conf->max_nodes || conf->max_nodes > NODES_MAX || conf->n_networks > ARRAY_LEN(conf->networks))
		return err_at(e, -EINVAL, "registry", "max_nodes must lie in 1..%u, networks be at most %zu", NODES_MAX,
			      ARRAY_LEN(conf->networks));
	made = calloc(1, sizeof(*made));
	if (made)
		made->nodes = calloc(conf->max_nodes, sizeof(*made->nodes));
	if (!made || !made->nodes) {
		free(made);
		return err_at(e, -ENOMEM, "registry", "out of memory");
	}
	made->conf = *conf;
	TAILQ_INIT(&made->gone);
	*reg = made;
	return 0;
}

void id_registry_free(struct id_registry *reg)
{
	if (!reg)
		return;
	tdestroy(reg->by_claim, keep);
	tdestroy(reg->by_instance, slot_free);
	free(reg->nodes);
	free(reg);
}

static struct slot *slot_find(const struct id_registry *reg, const uint8_t instance_id[BY_INSTANCE_ID_LEN])
{
	struct slot wanted;
	struct slot **found;

	memcpy(wanted.instance_id, instance_id, sizeof(wanted.instance_id));
	found = tfind(&wanted, &reg->by_instance, slot_cmp);
	return found ? *found : NULL;
}

/* --- claims --- */

static void claim_add(struct live *live, enum claim_kind kind, const void *value, size_t len, struct slot *slot)
{
	struct claim *claim = &live->claims[live->n_claims++];

	claim->key[0] = (uint8_t)kind;
	memcpy(claim->key + 1, value, len);
	claim->slot = slot;
}

_Static_assert(BY_NODE_NAME_LEN <= ID_WG_KEY_LEN && sizeof(struct by_addr) <= ID_WG_KEY_LEN, "a claim holds them");

static struct live *live_new(const struct id_registry *reg, const struct id_node *node, struct slot *slot)
{
	struct live *live = calloc(1, sizeof(*live));

	if (!live)
		return NULL;
	live->node = *node;
	claim_add(live, CLAIM_WG_KEY, node->record.wg_key, sizeof(node->record.wg_key), slot);
	if (node->record.has_detour && memcmp(node->record.detour_key, node->record.wg_key, ID_WG_KEY_LEN) != 0)
		claim_add(live, CLAIM_WG_KEY, node->record.detour_key, sizeof(node->record.detour_key), slot);
	for (uint32_t i = 0; i < node->record.n_addrs; i++)
		claim_add(live, CLAIM_ADDR, &node->record.addrs[i], sizeof(node->record.addrs[i]), slot);
	if (reg->conf.names_are_unique)
		claim_add(live, CLAIM_NAME, node->record.node, strlen(node->record.node), slot);
	return live;
}

static bool is_claimed_by(const struct id_registry *reg, const struct claim *claim)
{
	struct claim **found = tfind(claim, &reg->by_claim, claim_cmp);

	return found && *found == claim;
}

/* Points the tree at these claims; false when memory ran out. Those of the same slot are taken over in place. */
static bool claims_put(struct id_registry *reg, struct live *live)
{
	for (unsigned i = 0; i < live->n_claims; i++) {
		struct claim **at = tsearch(&live->claims[i], &reg->by_claim, claim_cmp);

		if (!at)
			return false;
		*at = &live->claims[i];
	}
	return true;
}

/* Gives back to `old` what was taken over from it: no allocation. */
static void claims_restore(struct id_registry *reg, struct live *old)
{
	for (unsigned i = 0; i < old->n_claims; i++) {
		struct claim **at = tfind(&old->claims[i], &reg->by_claim, claim_cmp);

		if (at)
			*at = &old->claims[i];
	}
}

static void claims_drop(struct id_registry *reg, struct live *live)
{
	for (unsigned i = 0; i < live->n_claims; i++)
		if (is_claimed_by(reg, &live->claims[i]))
			tdelete(&live->claims[i], &reg->by_claim, claim_cmp);
}

/* --- rules --- */

static bool in_networks(const struct id_registry *reg, const struct by_addr *addr)
{
	for (uint32_t i = 0; i < reg->conf.n_networks; i++)
		if (addr_in_prefix(addr, &reg->conf.networks[i]))
			return true;
	return false;
}

static const struct slot *holder(const struct id_registry *reg, enum claim_kind kind, const void *value, size_t len)
{
	struct claim wanted = { .key = { (uint8_t)kind } };
	struct claim **found;

	memcpy(wanted.key + 1, value, len);
	found = tfind(&wanted, &reg->by_claim, claim_cmp);
	return found ? (*found)->slot : NULL;
}

static int claims_check(const struct id_registry *reg, const struct id_record *r, const struct slot *slot,
			struct err *e)
{
	const struct slot *other = holder(reg, CLAIM_WG_KEY, r->wg_key, sizeof(r->wg_key));
	char text[ADDR_TEXT];

	if (r->has_detour && (!other || other == slot))
		other = holder(reg, CLAIM_WG_KEY, r->detour_key, sizeof(r->detour_key));
	if (other && other != slot)
		return err_reason(e, ID_RECORD_KEY, WHERE, "WireGuard key belongs to node %s",
				  other->live->node.record.node);
	other = reg->conf.names_are_unique ? holder(reg, CLAIM_NAME, r->node, strlen(r->node)) : NULL;
	if (other && other != slot)
		return err_reason(e, ID_RECORD_NAME, WHERE, "the name %s belongs to another instance", r->node);
	for (uint32_t i = 0; i < r->n_addrs; i++) {
		addr_print(&r->addrs[i], text);
		if (!in_networks(reg, &r->addrs[i]))
			return err_reason(e, ID_RECORD_ADDRESS, WHERE, "address %s is outside the overlay networks",
					  text);
		other = holder(reg, CLAIM_ADDR, &r->addrs[i], sizeof(r->addrs[i]));
		if (other && other != slot)
			return err_reason(e, ID_RECORD_ADDRESS, WHERE, "address %s belongs to node %s", text,
					  other->live->node.record.node);
	}
	return 0;
}

static int epoch_check(const struct slot *slot, const struct id_node *node, struct err *e)
{
	if (slot->epoch == ID_EPOCH_LOST)
		return err_reason(e, ID_RECORD_EPOCH, WHERE, "epoch %llu, and what was seen before can not be read",
				  (unsigned long long)node->record.epoch);
	if (node->record.epoch < slot->epoch)
		return err_reason(e, ID_RECORD_EPOCH, WHERE, "epoch %llu, %llu was already seen",
				  (unsigned long long)node->record.epoch, (unsigned long long)slot->epoch);
	if (node->record.epoch == slot->epoch && memcmp(node->digest, slot->digest, sizeof(slot->digest)) != 0)
		return err_reason(e, ID_RECORD_EPOCH, WHERE, "epoch %llu was already seen with another content",
				  (unsigned long long)node->record.epoch);
	return 0;
}

/* --- admit and remove --- */

static struct slot *slot_new(struct id_registry *reg, const uint8_t instance_id[BY_INSTANCE_ID_LEN])
{
	struct slot *slot = calloc(1, sizeof(*slot));

	if (!slot)
		return NULL;
	memcpy(slot->instance_id, instance_id, sizeof(slot->instance_id));
	if (!tsearch(slot, &reg->by_instance, slot_cmp)) {
		free(slot);
		return NULL;
	}
	TAILQ_INSERT_TAIL(&reg->gone, slot, gone_link);
	reg->n_gone++;
	return slot;
}

static void slot_forget(struct id_registry *reg, struct slot *slot)
{
	TAILQ_REMOVE(&reg->gone, slot, gone_link);
	reg->n_gone--;
	tdelete(slot, &reg->by_instance, slot_cmp);
	free(slot);
}

int64_t id_record_seen_until(const struct id_record *r)
{
	return r->not_after + ID_RECORD_LIFE_MAX_S;
}

/* Puts `live` in the place of slot->live. Nothing can fail any more. */
static void slot_fill(struct id_registry *reg, struct slot *slot, struct live *live)
{
	if (slot->live) {
		claims_drop(reg, slot->live);
		free(slot->live);
	} else {
		TAILQ_REMOVE(&reg->gone, slot, gone_link);
		reg->n_gone--;
		slot->index = reg->n_nodes++;
		reg->nodes[slot->index] = slot;
	}
	slot->live = live;
	slot->epoch = live->node.record.epoch;
	memcpy(slot->digest, live->node.digest, sizeof(slot->digest));
	if (slot->forget_s < id_record_seen_until(&live->node.record))
		slot->forget_s = id_record_seen_until(&live->node.record);
}

static int slot_update(struct id_registry *reg, struct slot *slot, const struct id_node *node, struct err *e)
{
	struct live *live = live_new(reg, node, slot);

	if (live && claims_put(reg, live)) {
		slot_fill(reg, slot, live);
		return 0;
	}
	if (live && slot->live)
		claims_restore(reg, slot->live);
	if (live)
		claims_drop(reg, live);
	free(live);
	return err_at(e, -ENOMEM, WHERE, "out of memory");
}

static int room_check(const struct id_registry *reg, const struct slot *slot, struct err *e)
{
	if ((slot && slot->live) || reg->n_nodes < reg->conf.max_nodes) {
		if (slot || reg->n_gone < reg->conf.max_nodes)
			return 0;
		return err_at(e, -ENOSPC, WHERE, "%zu removed instances are remembered, no room for another",
			      reg->n_gone);
	}
	return err_at(e, -ENOSPC, WHERE, "%zu nodes are known, no room for another", reg->n_nodes);
}

int id_registry_admit(struct id_registry *reg, const struct id_node *node, enum id_admit *what, struct err *e)
{
	struct slot *slot = slot_find(reg, node->record.instance_id);
	bool is_new = !slot || !slot->live;
	int ret = 0;

	if (!node->claims.has_instance_id)
		return err_reason(e, ID_RECORD_IDENTITY, WHERE, "the certificate proves no instance-id");
	if (slot && slot->is_revoked)
		return err_reason(e, ID_RECORD_REVOKED, WHERE, "%s was revoked", node->record.node);
	if (slot)
		ret = epoch_check(slot, node, e);
	if (ret < 0)
		return ret;
	if (!is_new && node->record.epoch == slot->epoch) {
		const struct id_claims *had = &slot->live->node.claims;
		bool is_other = node->claims.not_after > had->not_after || node->claims.tcb_status != had->tcb_status;

		if (is_other)
			slot->live->node.claims = node->claims;
		*what = is_other ? ID_ADMIT_PROVED : ID_ADMIT_SAME;
		return 0;
	}
	ret = claims_check(reg, &node->record, slot, e);
	if (!ret)
		ret = room_check(reg, slot, e);
	if (ret < 0)
		return ret;
	if (!slot)
		slot = slot_new(reg, node->record.instance_id);
	ret = slot ? slot_update(reg, slot, node, e) : err_at(e, -ENOMEM, WHERE, "out of memory");
	if (ret < 0) {
		if (slot && !slot->epoch) /* made just now */
			slot_forget(reg, slot);
		return ret;
	}
	*what = is_new ? ID_ADMIT_NEW : ID_ADMIT_UPDATED;
	return 0;
}

static void node_remove(struct id_registry *reg, struct slot *slot)
{
	struct slot *last = reg->nodes[--reg->n_nodes];

	reg->nodes[slot->index] = last;
	last->index = slot->index;
	claims_drop(reg, slot->live);
	free(slot->live);
	slot->live = NULL;
	TAILQ_INSERT_TAIL(&reg->gone, slot, gone_link);
	reg->n_gone++;
}

int id_registry_remove(struct id_registry *reg, const uint8_t instance_id[BY_INSTANCE_ID_LEN])
{
	struct slot *slot = slot_find(reg, instance_id);

	if (!slot || !slot->live)
		return -ENOENT;
	node_remove(reg, slot);
	return 0;
}

int id_registry_revoke(struct id_registry *reg, const uint8_t instance_id[BY_INSTANCE_ID_LEN], bool is_revoked)
{
	struct slot *slot = slot_find(reg, instance_id);

	if (!slot && !is_revoked)
		return 0;
	if (!slot && reg->n_gone >= reg->conf.max_nodes)
		return -ENOSPC;
	if (!slot)
		slot = slot_new(reg, instance_id);
	if (!slot)
		return -ENOMEM;
	if (is_revoked && slot->live)
		node_remove(reg, slot);
	slot->is_revoked = is_revoked;
	return 0;
}

int id_registry_remember(struct id_registry *reg, const struct id_seen *seen)
{
	struct slot *slot = slot_find(reg, seen->instance_id);

	if (!slot && reg->n_gone + reg->n_nodes >= 2 * reg->conf.max_nodes)
		return -ENOSPC;
	if (!slot)
		slot = slot_new(reg, seen->instance_id);
	if (!slot)
		return -ENOMEM;
	if (seen->epoch > slot->epoch) {
		slot->epoch = seen->epoch;
		memcpy(slot->digest, seen->digest, sizeof(slot->digest));
	}
	if (slot->forget_s < seen->until)
		slot->forget_s = seen->until;
	return 0;
}

static void gone_purge(struct id_registry *reg, int64_t now)
{
	struct slot *slot = TAILQ_FIRST(&reg->gone), *next;

	for (; slot; slot = next) {
		next = TAILQ_NEXT(slot, gone_link);
		if (now > slot->forget_s && !slot->is_revoked)
			slot_forget(reg, slot);
	}
}

bool id_registry_expire(struct id_registry *reg, int64_t now, struct id_node *gone)
{
	/* the last node moves into a removed one's place, so a sweep goes on at the same index and sees all of them
	 * once */
	while (reg->sweep < reg->n_nodes) {
		struct slot *slot = reg->nodes[reg->sweep];
		const struct id_node *node = &slot->live->node;

		if (now > node->record.not_after || now > node->claims.not_after) {
			*gone = *node;
			node_remove(reg, slot);
			return true;
		}
		reg->sweep++;
	}
	reg->sweep = 0;
	gone_purge(reg, now);
	return false;
}

static const struct id_node *node_of(const struct slot *slot)
{
	return slot && slot->live ? &slot->live->node : NULL;
}

const struct id_node *id_registry_find(const struct id_registry *reg, const uint8_t instance_id[BY_INSTANCE_ID_LEN])
{
	return node_of(slot_find(reg, instance_id));
}

const struct id_node *id_registry_find_addr(const struct id_registry *reg, const struct by_addr *addr)
{
	return node_of(holder(reg, CLAIM_ADDR, addr, sizeof(*addr)));
}

const struct id_node *id_registry_find_key(const struct id_registry *reg, const uint8_t wg_key[ID_WG_KEY_LEN])
{
	return node_of(holder(reg, CLAIM_WG_KEY, wg_key, ID_WG_KEY_LEN));
}

size_t id_registry_count(const struct id_registry *reg)
{
	return reg->n_nodes;
}

const struct id_node *id_registry_at(const struct id_registry *reg, size_t i)
{
	return i < reg->n_nodes ? &reg->nodes[i]->live->node : NULL;
}
