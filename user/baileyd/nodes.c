// SPDX-License-Identifier: Apache-2.0
/* Who is known: verified nodes in memory, their records in the state directory. */
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"
#include "base/text.h"
#include "parent.h"

static int compare_instance(const void *key, const void *item)
{
	return memcmp(key, ((const struct node *)item)->id.record.instance_id, BY_INSTANCE_ID_LEN);
}

struct node *node_find(struct parent *p, const uint8_t instance_id[BY_INSTANCE_ID_LEN])
{
	return p->n_nodes ? bsearch(instance_id, p->nodes, p->n_nodes, sizeof(*p->nodes), compare_instance) : NULL;
}

struct addr_index {
	struct by_addr addr;
	size_t node; /* place in parent.nodes */
};

static int compare_addr(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct by_addr)); /* struct addr_index's first member */
}

static void addrs_forget(struct parent *p)
{
	free(p->addrs);
	p->addrs = NULL;
}

/* Made when it is first asked for after a change: a table of flows asks for a name a hundred thousand times. */
static void addrs_index(struct parent *p)
{
	p->n_addrs = 0;
	p->addrs = calloc(p->n_nodes * ID_MAX_ADDRS + 1, sizeof(*p->addrs));
	for (size_t i = 0; i < p->n_nodes && p->addrs; i++)
		for (uint32_t j = 0; j < p->nodes[i].id.record.n_addrs; j++)
			p->addrs[p->n_addrs++] =
				(struct addr_index){ .addr = p->nodes[i].id.record.addrs[j], .node = i };
	if (p->addrs)
		qsort(p->addrs, p->n_addrs, sizeof(*p->addrs), compare_addr);
}

struct who node_who(struct parent *p, const struct by_addr *addr)
{
	const struct addr_index *at;
	const struct id_record *r;

	for (uint32_t i = 0; i < p->conf.n_addrs; i++)
		if (addr_equal(&p->conf.addrs[i], addr))
			return (struct who){ p->conf.node, p->self.app_id };
	if (!p->addrs)
		addrs_index(p);
	at = p->addrs ? bsearch(addr, p->addrs, p->n_addrs, sizeof(*p->addrs), compare_addr) : NULL;
	if (!at)
		return (struct who){ 0 };
	r = &p->nodes[at->node].id.record;
	return (struct who){ r->node, r->app_id };
}

static struct node *insert(struct parent *p, const uint8_t instance_id[BY_INSTANCE_ID_LEN])
{
	size_t at = 0;

	if (p->n_nodes == p->cap_nodes) {
		size_t cap = p->cap_nodes ? 2 * p->cap_nodes : 16;
		struct node *grown = realloc(p->nodes, cap * sizeof(*grown));

		if (!grown)
			return NULL;
		p->nodes = grown;
		p->cap_nodes = cap;
	}
	while (at < p->n_nodes && compare_instance(instance_id, &p->nodes[at]) > 0)
		at++;
	memmove(&p->nodes[at + 1], &p->nodes[at], (p->n_nodes - at) * sizeof(*p->nodes));
	p->n_nodes++;
	return &p->nodes[at];
}

static void record_path(const struct parent *p, const uint8_t instance_id[BY_INSTANCE_ID_LEN], char path[PATH_MAX])
{
	char hex[2 * BY_INSTANCE_ID_LEN + 1];

	hex_print(hex, instance_id, BY_INSTANCE_ID_LEN);
	snprintf(path, PATH_MAX, "%.*s/records/%s.record", PATH_MAX - 64, p->conf.state, hex);
}

/* Beside a stored record: what its node proved in a session, and when. "quote 1790000000" */
static void proof_path(const char *record, char path[PATH_MAX])
{
	snprintf(path, PATH_MAX, "%.*s.proof", PATH_MAX - 8, record);
}

static void proof_load(const char *record, struct msg_stored *m)
{
	struct err e = ERR_INIT;
	auto_free char *text = NULL;
	char path[PATH_MAX], level[16];
	long long at;
	size_t len;

	proof_path(record, path);
	if (access(path, F_OK) < 0 || file_read(path, 64, &text, &len, &e) < 0 ||
	    sscanf(text, "%15s %lld", level, &at) != 2)
		return;
	for (unsigned i = 0; i < ID_FRESH_COUNT; i++)
		if (strcmp(level, id_fresh_name(i)) == 0)
			m->fresh = i;
	m->fresh_at = at;
}

static int proof_store(const char *record, const struct id_claims *claims, struct err *e)
{
	char path[PATH_MAX], text[64];

	proof_path(record, path);
	snprintf(text, sizeof(text), "%s %lld\n", id_fresh_name(claims->fresh), (long long)claims->fresh_at);
	return file_write(path, text, strlen(text), 0600, e);
}

static void record_store(const struct parent *p, const struct node *n, const uint8_t *bytes, size_t len)
{
	struct err e = ERR_INIT;
	char path[PATH_MAX], text[600];

	record_path(p, n->id.record.instance_id, path);
	if (file_write(path, bytes, len, 0600, &e) < 0 || proof_store(path, &n->id.claims, &e) < 0)
		log_err("record of %s is not kept for a restart: %s", n->id.record.node,
			err_text(&e, text, sizeof(text)));
}

/* The edge is trusted to verify, not to be free of faults: counts and strings that would break the parent are checked.
 */
static bool is_sound(const struct msg_node *m)
{
	const struct id_record *r = &m->node.record;

	return r->n_addrs && r->n_addrs <= ID_MAX_ADDRS && r->n_endpoints <= ID_MAX_ENDPOINTS &&
	       memchr(r->node, 0, sizeof(r->node)) && memchr(m->origin, 0, sizeof(m->origin)) &&
	       memchr(m->node.claims.key_provider, 0, sizeof(m->node.claims.key_provider));
}

int64_t node_until(const struct node *n)
{
	int64_t record = n->id.record.not_after, evidence = n->id.claims.not_after;

	return record < evidence ? record : evidence;
}

static void node_remove(struct parent *p, struct node *n)
{
	char path[PATH_MAX], proof[PATH_MAX];

	log_info("%s: record or evidence ended", n->id.record.node);
	addrs_forget(p);
	plan_remove_node(p, n->id.record.instance_id);
	record_path(p, n->id.record.instance_id, path);
	proof_path(path, proof);
	unlink(path);
	unlink(proof);
	p->n_nodes--;
	memmove(n, n + 1, (size_t)(&p->nodes[p->n_nodes] - n) * sizeof(*n));
}

void nodes_expire(struct parent *p, int64_t now)
{
	for (size_t i = p->n_nodes; i-- > 0;)
		if (node_until(&p->nodes[i]) < now)
			node_remove(p, &p->nodes[i]);
}

int node_upsert(struct parent *p, const struct msg_node *m, const uint8_t *record, size_t len)
{
	bool is_known;
	struct node *n;

	if (!is_sound(m))
		return -EPROTO;
	nodes_expire(p, time(NULL)); /* the edge may have given an ended node's address to this one */
	n = node_find(p, m->node.record.instance_id);
	is_known = n && memcmp(n->id.digest, m->node.digest, sizeof(n->id.digest)) == 0;
	if (!n)
		n = insert(p, m->node.record.instance_id);
	if (!n)
		return -ENOMEM;
	addrs_forget(p);
	n->id = m->node;
	memcpy(n->origin, m->origin, sizeof(n->origin));
	record_store(p, n, record, len);
	if (is_known) /* proved anew: nothing that net has changes */
		return 0;
	log_info("%s%s: record %llu from %s accepted", n->id.record.node,
		 n->id.claims.is_simulated ? " (SIMULATED)" : "", (unsigned long long)n->id.record.epoch, n->origin);
	if (p->is_loaded)
		plan_send_node(p, n);
	return 0;
}

static bool is_record_name(const char *name)
{
	const char *dot = strrchr(name, '.');

	return name[0] != '.' && dot && strcmp(dot, ".record") == 0;
}

static void send_file(struct parent *p, const char *path, bool is_own)
{
	struct msg_stored m = { 0 };
	struct err e = ERR_INIT;
	auto_free char *bytes = NULL;
	size_t len;

	snprintf(m.origin, sizeof(m.origin), "%.*s", (int)sizeof(m.origin) - 1, path);
	if (is_own)
		proof_load(path, &m);
	if (file_read(path, ID_RECORD_MAX, &bytes, &len, &e) < 0)
		report_refused(p, m.origin, &e);
	else
		ipc_send_blob(p->edge.ipc, MSG_EDGE_RECORD, &m, sizeof(m), bytes, len);
}

/* is_own: what lies there this daemon has written itself. */
static void send_directory(struct parent *p, const char *dir, bool is_own)
{
	struct dirent **names;
	char path[PATH_MAX];
	int n = scandir(dir, &names, NULL, alphasort);

	if (n < 0) {
		log_warn("%s: %s", dir, strerror(errno));
		return;
	}
	for (int i = 0; i < n; i++) {
		if (is_record_name(names[i]->d_name) &&
		    snprintf(path, sizeof(path), "%s/%s", dir, names[i]->d_name) < PATH_MAX)
			send_file(p, path, is_own);
		free(names[i]);
	}
	free(names);
}

void nodes_send_stored(struct parent *p)
{
	char dir[PATH_MAX];

	snprintf(dir, sizeof(dir), "%.*s/records", PATH_MAX - 16, p->conf.state);
	send_directory(p, dir, true);
	if (p->conf.records[0])
		send_directory(p, p->conf.records, false);
}
