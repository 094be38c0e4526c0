// SPDX-License-Identifier: Apache-2.0
/*
 * Simulated nodes that join a network at once: real connections, evidence and records; what they are told is not
 * verified here.
 *
 *   joiners SERVER,... NODES SECONDS ROOT_DIR ROOT.pem
 *
 * Says `granted NAME ADDRESS` and `taken NAME DIGEST` (base64) for each, as the servers acknowledge, and ends when all
 * are taken, 0, or when the seconds are over, 1.
 */
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/text.h"
#include "identity/crypto.h"
#include "identity/sim.h"
#include "vpc/join.h"

#define NODES_MAX 2000

struct node {
	struct vpc_join *join;
	char *cert, *key;
	struct id_record record;
	uint8_t *own; /* signed; NULL: not yet */
	size_t own_len;
	bool is_taken;
};

static struct event_base *base;
static struct vpc_join_conf common;
static struct node node[NODES_MAX];
static unsigned n_nodes, n_taken;
static char *roots;
static size_t roots_len;

static void die(const struct err *e)
{
	fprintf(stderr, "joiners: %s: %s\n", e->where, e->msg);
	exit(2);
}

static void trust(struct id_trust *t, void *arg)
{
	(void)arg;
	*t = (struct id_trust){
		.now = time(NULL), .allow_simulated = true, .simulated_roots = roots, .simulated_roots_len = roots_len
	};
}

static void have(struct out *out, void *arg)
{
	(void)out, (void)arg;
}

/* The addresses may be others than a server that died has granted, where that was not acknowledged. */
static int granted(const struct vpc_grant *grant, struct err *e, void *arg)
{
	struct node *n = arg;
	struct id_record *r = &n->record;
	char text[ADDR_TEXT];

	printf("granted %s %s\n", r->node, addr_print(&grant->addrs[0], text));
	if (!n->own || memcmp(r->addrs, grant->addrs, sizeof(r->addrs)) != 0) {
		memcpy(r->addrs, grant->addrs, sizeof(r->addrs));
		r->n_addrs = grant->n_addrs;
		r->epoch++;
		free(take_ptr(n->own));
		if (id_record_sign(r, n->cert, n->key, &n->own, &n->own_len, e) < 0)
			die(e);
	}
	return vpc_join_publish(n->join, n->own, n->own_len);
}

static void taken(void *arg)
{
	struct node *n = arg;
	uint8_t digest[VPC_DIGEST];
	char text[BASE64_LEN(VPC_DIGEST)];

	if (!id_hash(EVP_sha256(), digest, n->own, n->own_len, NULL, 0))
		exit(2);
	base64_print(text, digest, sizeof(digest));
	printf("taken %s %s\n", n->record.node, text);
	n_taken += !n->is_taken;
	n->is_taken = true;
	if (n_taken == n_nodes)
		event_base_loopbreak(base);
}

static void on_record(const uint8_t *bytes, size_t len, void *arg)
{
	(void)bytes, (void)len, (void)arg;
}

static void on_revoked(const uint8_t instance_id[BY_INSTANCE_ID_LEN], bool is_revoked, void *arg)
{
	(void)instance_id, (void)is_revoked, (void)arg;
}

static void on_seen(const struct vpc_seen *seen, void *arg)
{
	(void)seen, (void)arg;
}

static void on_up(bool is_up, void *arg)
{
	(void)is_up, (void)arg;
}

static void on_refused(const struct err *e, bool is_remote, void *arg)
{
	const struct node *n = arg;

	(void)is_remote;
	printf("refused %s %s: %s\n", n->record.node, e->where, e->msg);
}

static void identity_make(struct node *n, unsigned number, const struct id_sim_root *root)
{
	struct id_sim_request req = { .not_before = time(NULL) - 60, .not_after = time(NULL) + 86400 };
	struct id_record *r = &n->record;
	struct err e = ERR_INIT;

	*r = (struct id_record){ .epoch = (uint64_t)time(NULL),
				 .not_before = req.not_before,
				 .not_after = time(NULL) + 3600 };
	snprintf(r->node, sizeof(r->node), "storm-%u", number);
	req.common_name = r->node;
	memset(req.app_id, 0x5b, sizeof(req.app_id));
	memcpy(req.instance_id, &number, sizeof(number));
	memset(req.instance_id + 8, 0x22, 12);
	if (id_sim_issue(root, &req, &n->cert, &n->key, &e) < 0)
		die(&e);
	memcpy(r->app_id, req.app_id, sizeof(r->app_id));
	memcpy(r->instance_id, req.instance_id, sizeof(r->instance_id));
	memset(r->wg_key, 0x66, sizeof(r->wg_key));
	memcpy(r->wg_key, &number, sizeof(number));
}

/* Each begins at another server. */
static void node_start(struct node *n, unsigned number)
{
	struct vpc_join_conf conf = common;
	struct err e = ERR_INIT;

	for (uint32_t i = 0; i < conf.servers.n; i++)
		conf.servers.at[i] = common.servers.at[(number + i) % conf.servers.n];
	conf.cert_pem = n->cert;
	conf.key_pem = n->key;
	conf.arg = n;
	memcpy(conf.node, n->record.node, sizeof(conf.node));
	if (vpc_join_new(&conf, &n->join, &e) < 0)
		die(&e);
}

static void root_read(const char *dir, struct id_sim_root *root)
{
	static const char *const names[] = { "root.pem", "root.key", "pck.pem", "pck.key", "pck-ca.pem" };
	char **const into[] = { &root->root_cert, &root->root_key, &root->pck_cert, &root->pck_key,
				&root->intermediate_cert };
	struct err e = ERR_INIT;
	char path[512];
	size_t len;

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
		if (file_read(path, 1 << 20, into[i], &len, &e) < 0)
			die(&e);
	}
}

static bool servers_read(char *list)
{
	char *rest;

	for (char *at = strtok_r(list, ",", &rest); at; at = strtok_r(NULL, ",", &rest))
		if (common.servers.n == VPC_SERVERS || !endpoint_parse(&common.servers.at[common.servers.n++], at))
			return false;
	return common.servers.n;
}

int main(int argc, char **argv)
{
	struct id_sim_root root = { 0 };
	struct timeval limit = { 0 };
	struct err e = ERR_INIT;

	base = event_base_new();
	common = (struct vpc_join_conf){ .base = base,
					 .servers = { .any_app = true },
					 .trust = trust,
					 .have = have,
					 .granted = granted,
					 .record = on_record,
					 .revoked = on_revoked,
					 .seen_fn = on_seen,
					 .up = on_up,
					 .refused = on_refused,
					 .taken = taken };
	if (argc != 6 || !servers_read(argv[1]) || sscanf(argv[2], "%u", &n_nodes) != 1 || !n_nodes ||
	    n_nodes > NODES_MAX || sscanf(argv[3], "%ld", &limit.tv_sec) != 1)
		return 2;
	setlinebuf(stdout);
	root_read(argv[4], &root);
	if (file_read(argv[5], 1 << 20, &roots, &roots_len, &e) < 0)
		die(&e);
	for (unsigned i = 0; i < n_nodes; i++)
		identity_make(&node[i], i + 1, &root);
	printf("start\n");
	for (unsigned i = 0; i < n_nodes; i++)
		node_start(&node[i], i);
	event_base_loopexit(base, &limit);
	event_base_dispatch(base);
	return n_taken == n_nodes ? 0 : 1;
}
