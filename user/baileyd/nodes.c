// SPDX-License-Identifier: Apache-2.0
/* Who is known: verified nodes in memory, their records in the state directory. */
#include <dirent.h>
#include <errno.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/text.h"
#include "parent.h"

#define STORED_AT_ONCE 256

struct node *node_find(struct parent *p, const uint8_t instance_id[BY_INSTANCE_ID_LEN])
{
	return hash_of(hash_find(&p->by_instance, instance_id), struct node, by_instance);
}

struct who node_who(struct parent *p, const struct by_addr *addr)
{
	const struct node_addr *at;
	const struct id_record *r;

	for (uint32_t i = 0; i < p->conf.n_addrs; i++)
		if (addr_equal(&p->conf.addrs[i], addr))
			return (struct who){ p->conf.node, p->self.app_id, &p->self };
	at = hash_of(hash_find(&p->by_addr, addr), struct node_addr, by_addr);
	if (!at)
		return (struct who){ 0 };
	r = &at->node->id.record;
	return (struct who){ r->node, r->app_id, &at->node->id.claims };
}

static void addrs_forget(struct parent *p, struct node *n)
{
	for (uint32_t i = 0; i < n->id.record.n_addrs; i++)
		if (n->addr[i].node)
			hash_del(&p->by_addr, &n->addr[i].by_addr);
	memset(n->addr, 0, sizeof(n->addr));
}

/* For people: without memory an address has no name. */
static void addrs_index(struct parent *p, struct node *n)
{
	p->by_addr.key_len = sizeof(struct by_addr);
	for (uint32_t i = 0; i < n->id.record.n_addrs; i++)
		if (hash_add(&p->by_addr, &n->addr[i].by_addr, &n->id.record.addrs[i]) == 0)
			n->addr[i].node = n;
}

static bool row_grow(struct parent *p)
{
	size_t cap = p->cap_nodes ? 2 * p->cap_nodes : 16;
	struct node **grown;

	if (p->n_nodes < p->cap_nodes)
		return true;
	grown = realloc(p->nodes, cap * sizeof(struct node *));
	if (!grown)
		return false;
	p->nodes = grown;
	p->cap_nodes = cap;
	return true;
}

static void record_path(const struct parent *p, const uint8_t instance_id[BY_INSTANCE_ID_LEN], char path[PATH_MAX])
{
	char hex[2 * BY_INSTANCE_ID_LEN + 1];

	hex_print(hex, instance_id, BY_INSTANCE_ID_LEN);
	snprintf(path, PATH_MAX, "%.*s/records/%s.record", PATH_MAX - 64, p->conf.state, hex);
}

static struct node *node_add(struct parent *p, const uint8_t instance_id[BY_INSTANCE_ID_LEN])
{
	struct node *n = row_grow(p) ? calloc(1, sizeof(*n)) : NULL;
	struct seen seen;
	char path[PATH_MAX];

	if (!n)
		return NULL;
	p->by_instance.key_len = BY_INSTANCE_ID_LEN;
	memcpy(n->id.record.instance_id, instance_id, BY_INSTANCE_ID_LEN);
	if (hash_add(&p->by_instance, &n->by_instance, n->id.record.instance_id) < 0) {
		free(n);
		return NULL;
	}
	record_path(p, instance_id, path);
	if (access(path, F_OK) == 0 && seen_read(path, &seen, NULL) == 0)
		n->since = seen.since;
	else /* new, or back after its end */
		n->since = (uint64_t)(clock_ns(CLOCK_REALTIME) / 1000);
	n->pos = p->n_nodes;
	p->nodes[p->n_nodes++] = n;
	return n;
}

/* The epoch first: a record whose epoch a crash has lost could be followed by an older one. */
static void record_store(const struct parent *p, const struct node *n, const uint8_t *bytes, size_t len)
{
	struct err e = ERR_INIT;
	char path[PATH_MAX], text[600];

	record_path(p, n->id.record.instance_id, path);
	if (seen_write(path, n, &e) < 0 || file_write(path, bytes, len, 0600, &e) < 0)
		log_err("record of %s is not kept for a restart: %s", n->id.record.node,
			err_text(&e, text, sizeof(text)));
}

bool node_is_stored(const struct parent *p, const struct node *n)
{
	uint8_t digest[sizeof(n->id.digest)];
	auto_free char *text = NULL;
	struct err e = ERR_INIT;
	char path[PATH_MAX];
	size_t len;

	record_path(p, n->id.record.instance_id, path);
	return file_read(path, ID_RECORD_MAX, &text, &len, &e) == 0 &&
	       EVP_Digest(text, len, digest, NULL, EVP_sha256(), NULL) == 1 &&
	       memcmp(digest, n->id.digest, sizeof(digest)) == 0;
}

/* The edge is trusted to verify, not to be free of faults: counts and strings that would break the parent are checked.
 */
static bool is_sound(const struct msg_node *m)
{
	const struct id_record *r = &m->node.record;

	for (uint32_t i = 0; i < r->n_services && i < ID_MAX_SERVICES; i++)
		if (!memchr(r->services[i].type, 0, sizeof(r->services[i].type)))
			return false;
	return r->n_services <= ID_MAX_SERVICES && r->n_addrs && r->n_addrs <= ID_MAX_ADDRS &&
	       r->n_endpoints <= ID_MAX_ENDPOINTS && memchr(r->node, 0, sizeof(r->node)) &&
	       memchr(m->origin, 0, sizeof(m->origin)) &&
	       memchr(m->node.claims.key_provider, 0, sizeof(m->node.claims.key_provider));
}

int64_t node_until(const struct node *n)
{
	int64_t record = n->id.record.not_after, evidence = n->id.claims.not_after;

	return record < evidence ? record : evidence;
}

/* Its record stays where it is. */
static void node_take_out(struct parent *p, struct node *n)
{
	bool is_hub = n == p->hub;

	plan_remove_node(p, n->id.record.instance_id);
	dns_node_gone(p, n->id.record.instance_id);
	report_peer(p, &n->id, true);
	addrs_forget(p, n);
	hash_del(&p->by_instance, &n->by_instance);
	p->nodes[n->pos] = p->nodes[--p->n_nodes];
	p->nodes[n->pos]->pos = n->pos;
	free(n);
	if (!is_hub)
		return;
	p->hub = NULL;
	plan_elect_hub(p);
}

static void node_remove(struct parent *p, struct node *n, const char *why)
{
	char path[PATH_MAX];

	log_info("%s: %s", n->id.record.node, why);
	record_path(p, n->id.record.instance_id, path);
	node_take_out(p, n); /* the kernel first, then the disk */
	unlink(path);        /* what was seen of it stays (seen.c) */
}

/* The record is kept: it is judged again with each bundle, reload and start, and may be good again. */
void node_withdraw(struct parent *p, const struct msg_withdrawn *m)
{
	struct node *n = node_find(p, m->instance_id);
	struct err e = m->err;

	if (!n || memcmp(n->id.digest, m->digest, sizeof(m->digest)) != 0)
		return; /* refused before it was anybody's, or a newer one has come */
	msg_terminate_err(&e);
	log_warn("%s: taken out, its evidence is not accepted any more: %s: %s", n->id.record.node,
		 id_reason_name(e.reason), e.msg);
	node_take_out(p, n);
}

void node_revoke(struct parent *p, struct node *n)
{
	node_remove(p, n, "revoked");
}

static bool is_first_to_end(const struct parent *p, const struct node *n)
{
	return p->n_nodes == 1 || node_until(n) < p->soonest_end;
}

/* All are looked at only when one may have ended: a newcomer does not pay for a hundred thousand others. */
void nodes_expire(struct parent *p, int64_t now)
{
	int64_t soonest = INT64_MAX;

	if (!p->n_nodes || now <= p->soonest_end)
		return;
	for (size_t i = p->n_nodes; i-- > 0;) {
		int64_t until = node_until(p->nodes[i]);

		if (until < now)
			node_remove(p, p->nodes[i], "record or evidence ended");
		else if (until < soonest)
			soonest = until;
	}
	p->soonest_end = soonest;
}

/* Net is told before the record is stored, which waits for the disk: a node that a crash leaves without a record is one
 * that nobody vouches for at the next start. */
int node_upsert(struct parent *p, const struct msg_node *m, const uint8_t *record, size_t len)
{
	enum id_tcb_status tcb = m->node.claims.tcb_status;
	bool is_known, is_same;
	struct node *n;

	if (!is_sound(m))
		return -EPROTO;
	nodes_expire(p, time(NULL)); /* the edge may have given an ended node's address to this one */
	n = node_find(p, m->node.record.instance_id);
	is_known = n && memcmp(n->id.digest, m->node.digest, sizeof(n->id.digest)) == 0;
	is_same = is_known && n->id.claims.tcb_status == tcb; /* the rest of what it proves is in the record */
	if (!n)
		n = node_add(p, m->node.record.instance_id);
	if (!n)
		return -ENOMEM;
	addrs_forget(p, n);
	n->id = m->node;
	memcpy(n->origin, m->origin, sizeof(n->origin));
	addrs_index(p, n);
	if (is_first_to_end(p, n))
		p->soonest_end = node_until(n);
	dns_node(p, n);
	if (p->is_loaded && !is_same) /* proved anew: nothing that net has changes */
		plan_send_node(p, n);
	if (!is_known)
		report_peer(p, &n->id, false);
	record_store(p, n, record, len);
	if (is_known && !is_same)
		log_info("%s: TCB status is %s now", n->id.record.node, id_tcb_status_name(tcb));
	if (is_known)
		return 0;
	log_info("%s%s: record %llu from %s accepted", n->id.record.node,
		 n->id.claims.is_simulated ? " (SIMULATED)" : "", (unsigned long long)n->id.record.epoch, n->origin);
	return 0;
}

void node_came(struct parent *p, struct ipc_msg *msg)
{
	const struct msg_node *m = ipc_as(msg, sizeof(*m));
	auto_free uint8_t *record = NULL;
	size_t len;
	int ret = m ? ipc_blob_read(msg->fd, ID_RECORD_MAX, &record, &len) : -EPROTO;

	if (!ret)
		ret = node_upsert(p, m, record, len);
	if (ret < 0)
		log_err("edge: node message is wrong: %s", strerror(-ret));
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
	struct seen seen;
	size_t len;

	snprintf(m.origin, sizeof(m.origin), "%.*s", (int)sizeof(m.origin) - 1, path);
	if (is_own && seen_read(path, &seen, NULL) == 0) {
		m.fresh = seen.fresh;
		m.fresh_at = seen.fresh_at;
	}
	if (file_read(path, ID_RECORD_MAX, &bytes, &len, &e) < 0)
		report_refused(p, m.origin, &e);
	else
		ipc_send_blob(p->edge.ipc, MSG_EDGE_RECORD, &m, sizeof(m), bytes, len);
}

static void backlog_forget(struct parent *p)
{
	for (size_t i = 0; i < p->backlog.n; i++)
		free(p->backlog.path[i]);
	free(p->backlog.path);
	p->backlog = (struct backlog){ .mark = p->backlog.mark };
}

static void backlog_add(struct parent *p, const char *path)
{
	struct backlog *b = &p->backlog;

	if ((b->n & (b->n - 1)) == 0) { /* the list doubles when its length is a power of two */
		char **grown = realloc(b->path, (b->n ? 2 * b->n : 1) * sizeof(*grown));

		if (!grown)
			return;
		b->path = grown;
	}
	b->path[b->n] = strdup(path);
	if (b->path[b->n])
		b->n++;
}

static void backlog_find(struct parent *p, const char *dir)
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
			backlog_add(p, path);
		free(names[i]);
	}
	free(names);
}

/* Records of the state directory that none can live as long as: their nodes were not here to end with them. */
static void records_sweep(struct parent *p)
{
	int64_t now = time(NULL);
	struct stat st;
	size_t kept = 0;

	for (size_t i = 0; i < p->backlog.n; i++) {
		char *path = p->backlog.path[i];

		if (stat(path, &st) < 0 || st.st_mtime >= now - ID_RECORD_LIFE_MAX_S) {
			p->backlog.path[kept++] = path;
			continue;
		}
		unlink(path);
		free(path);
	}
	p->backlog.n = kept;
}

/* Each record waits as an open file until the edge took it, so a few at a time; the mark behind them comes back. */
static void backlog_send(struct parent *p)
{
	struct backlog *b = &p->backlog;
	struct msg_token m = { .token = ++b->mark };

	for (size_t i = 0; i < STORED_AT_ONCE && b->n_sent < b->n; i++, b->n_sent++)
		send_file(p, b->path[b->n_sent], b->n_sent < b->n_own); /* own: with the proof beside it */
	ipc_send(p->edge.ipc, MSG_EDGE_MARK, &m, sizeof(m), -1);
}

void nodes_send_stored(struct parent *p)
{
	char dir[PATH_MAX];

	backlog_forget(p);
	snprintf(dir, sizeof(dir), "%.*s/records", PATH_MAX - 16, p->conf.state);
	backlog_find(p, dir);
	records_sweep(p);
	p->backlog.n_own = p->backlog.n;
	if (p->conf.records[0])
		backlog_find(p, p->conf.records);
	backlog_send(p);
}

bool nodes_stored_done(struct parent *p, uint64_t mark)
{
	if (mark != p->backlog.mark) /* of an earlier list, or of an edge that died */
		return false;
	if (p->backlog.n_sent < p->backlog.n) {
		backlog_send(p);
		return false;
	}
	backlog_forget(p);
	return true;
}

void nodes_fini(struct parent *p)
{
	for (size_t i = 0; i < p->n_nodes; i++)
		free(p->nodes[i]);
	free(p->nodes);
	hash_fini(&p->by_instance);
	hash_fini(&p->by_addr);
	backlog_forget(p);
}
