// SPDX-License-Identifier: Apache-2.0
/* Each key has the nodes that want it, in the order in which they were first known. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "base/hash.h"
#include "base/text.h"
#include "dns.h"

#define KEYS_MAX (3 + ID_MAX_SERVICES + ID_MAX_ADDRS)
#define TURN_MAX 4096 /* of more only the first ones come first in turn */

/* kind, then the value, zero-padded */
struct key {
	uint8_t b[1 + DNS_LABEL_MAX];
};

struct link {
	TAILQ_ENTRY(link) next;
	struct group *group;
	struct entry *entry;
};

struct group {
	struct hash_item item;
	struct key key;
	TAILQ_HEAD(links, link) links;
	size_t n;
};

struct entry {
	struct hash_item item;
	struct dns_node node;
	struct link links[KEYS_MAX];
	unsigned n_links;
};

struct dns_names {
	struct hash by_instance, by_key;
	uint32_t serial;
};

struct dns_names *dns_names_new(void)
{
	struct dns_names *names = calloc(1, sizeof(*names));

	if (!names)
		return NULL;
	names->by_instance.key_len = BY_INSTANCE_ID_LEN;
	names->by_key.key_len = sizeof(struct key);
	names->serial = 1;
	return names;
}

static struct key key_of(enum dns_kind kind, const void *value, size_t len)
{
	struct key key = { .b = { (uint8_t)kind } };

	memcpy(key.b + 1, value, len < DNS_LABEL_MAX ? len : DNS_LABEL_MAX);
	return key;
}

static struct group *group_find(const struct dns_names *names, const struct key *key)
{
	return hash_of(hash_find(&names->by_key, key), struct group, item);
}

static struct group *group_get(struct dns_names *names, const struct key *key)
{
	struct group *g = group_find(names, key);

	if (g)
		return g;
	g = calloc(1, sizeof(*g));
	if (!g)
		return NULL;
	g->key = *key;
	TAILQ_INIT(&g->links);
	if (hash_add(&names->by_key, &g->item, &g->key) < 0) {
		free(g);
		return NULL;
	}
	return g;
}

static bool link_add(struct dns_names *names, struct entry *e, enum dns_kind kind, const void *value, size_t len)
{
	struct key key = key_of(kind, value, len);
	struct group *g = group_get(names, &key);
	struct link *l = &e->links[e->n_links], *before;

	if (!g)
		return false;
	e->n_links++;
	*l = (struct link){ .group = g, .entry = e };
	g->n++;
	before = TAILQ_LAST(&g->links, links);
	while (before && before->entry->node.since > e->node.since)
		before = TAILQ_PREV(before, links, next);
	if (before)
		TAILQ_INSERT_AFTER(&g->links, before, l, next);
	else
		TAILQ_INSERT_HEAD(&g->links, l, next);
	return true;
}

static void links_drop(struct dns_names *names, struct entry *e)
{
	while (e->n_links) {
		struct link *l = &e->links[--e->n_links];

		TAILQ_REMOVE(&l->group->links, l, next);
		if (--l->group->n == 0) {
			hash_del(&names->by_key, &l->group->item);
			free(l->group);
		}
	}
}

static bool is_repeated(const struct dns_node *n, uint32_t service)
{
	for (uint32_t i = 0; i < service; i++)
		if (strcmp(n->services[i].type, n->services[service].type) == 0)
			return true;
	return false;
}

static bool links_make(struct dns_names *names, struct entry *e)
{
	char hex[2 * BY_APP_ID_LEN + 1];
	const struct dns_node *n = &e->node;
	bool ok = link_add(names, e, DNS_BY_NODE, n->node, strlen(n->node));

	hex_print(hex, n->app_id, BY_APP_ID_LEN);
	ok = ok && link_add(names, e, DNS_BY_APP, hex, strlen(hex));
	if (n->app[0] && strcmp(n->app, hex) != 0)
		ok = ok && link_add(names, e, DNS_BY_APP, n->app, strlen(n->app));
	for (uint32_t i = 0; i < n->n_services && ok; i++) /* one of several ports is one name */
		ok = is_repeated(n, i) ||
		     link_add(names, e, DNS_BY_SERVICE, n->services[i].type, strlen(n->services[i].type));
	for (uint32_t i = 0; i < n->n_addrs && ok; i++)
		ok = link_add(names, e, DNS_BY_ADDR, &n->addrs[i], sizeof(n->addrs[i]));
	return ok;
}

static void entry_free(struct dns_names *names, struct entry *e)
{
	links_drop(names, e);
	hash_del(&names->by_instance, &e->item);
	free(e);
}

static struct entry *entry_get(struct dns_names *names, const struct dns_node *node)
{
	struct entry *e = hash_of(hash_find(&names->by_instance, node->instance_id), struct entry, item);

	if (e)
		return e;
	e = calloc(1, sizeof(*e));
	if (!e)
		return NULL;
	memcpy(e->node.instance_id, node->instance_id, BY_INSTANCE_ID_LEN);
	if (hash_add(&names->by_instance, &e->item, e->node.instance_id) < 0) {
		free(e);
		return NULL;
	}
	return e;
}

int dns_names_set(struct dns_names *names, const struct dns_node *node)
{
	struct entry *e;

	if (node->n_addrs > ID_MAX_ADDRS || node->n_services > ID_MAX_SERVICES)
		return -EINVAL;
	e = entry_get(names, node);
	if (!e)
		return -ENOMEM;
	links_drop(names, e);
	e->node = *node;
	names->serial++;
	if (links_make(names, e))
		return 0;
	entry_free(names, e);
	return -ENOMEM;
}

void dns_names_del(struct dns_names *names, const uint8_t instance_id[BY_INSTANCE_ID_LEN])
{
	struct entry *e = hash_of(hash_find(&names->by_instance, instance_id), struct entry, item);

	if (!e)
		return;
	entry_free(names, e);
	names->serial++;
}

/* Buckets are the table's own business, but for this walk to its end. */
void dns_names_free(struct dns_names *names)
{
	if (!names)
		return;
	for (size_t i = 0; i < names->by_instance.n_buckets; i++)
		while (names->by_instance.bucket[i])
			entry_free(names, hash_of(names->by_instance.bucket[i], struct entry, item));
	hash_fini(&names->by_instance);
	hash_fini(&names->by_key);
	free(names);
}

size_t dns_names_count(const struct dns_names *names)
{
	return names->by_instance.n;
}

uint32_t dns_names_serial(const struct dns_names *names)
{
	return names->serial;
}

static bool is_alive(const struct link *l, int64_t now)
{
	return l->entry->node.until >= now;
}

size_t dns_names_find(struct dns_names *names, enum dns_kind kind, const void *value, size_t len, int64_t now,
		      uint32_t turn, const struct dns_node **found, size_t cap)
{
	struct key key = key_of(kind, value, len);
	struct group *g = len <= DNS_LABEL_MAX ? group_find(names, &key) : NULL;
	size_t skip = g ? turn % (g->n < TURN_MAX ? g->n : TURN_MAX) : 0, n = 0;
	struct link *l;

	if (!g)
		return 0;
	l = TAILQ_FIRST(&g->links);
	while (skip--)
		l = TAILQ_NEXT(l, next);
	for (size_t seen = 0; seen < g->n && n < cap; seen++) {
		if (is_alive(l, now))
			found[n++] = &l->entry->node;
		l = TAILQ_NEXT(l, next) ? TAILQ_NEXT(l, next) : TAILQ_FIRST(&g->links);
	}
	return n;
}
