// SPDX-License-Identifier: Apache-2.0
/*
 * A thousand nodes of one control plane in one process: real connections, real evidence, real records, and with -k a
 * kernel map each with the addresses of all others. What the nodes are told is recognized, not verified: a thousand
 * nodes' verifying is not the control plane's cost.
 *
 *   vpc_storm [-a ACKS] [-k] [-m MAP]... [-n RENEWALS -q QUIET] [-r REVOKE] [-s RESTART] SERVER NODES ROOT_DIR ROOT.pem
 *
 * Prints, one a line: "join", the seconds until all had joined and knew of all; "real", until each MAP, a pinned one of
 * a real node's, had all addresses; "renew", the mean of RENEWALS seconds from a new record of one node until all
 * others had it, one after the other with a pause between, QUIET being a command that is run before the first and
 * behind the last; "revoke", from REVOKE, a command that revokes node-1, until its addresses were in no map any more;
 * "restart", from RESTART until all others were connected again, with the addresses that they had. ACKS: a file; a line
 * for each node whose record the control plane has taken, when it says so.
 */
#include <bpf/bpf.h>
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "bailey/maps.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "base/hash.h"
#include "identity/crypto.h"
#include "identity/sim.h"
#include "vpc/join.h"

#define LIMIT_S  400
#define MAPS_MAX 8
#define POLL_US  1000
#define QUIET_US 100000

struct storm;

struct node {
	struct storm *storm;
	struct vpc_join *join;
	unsigned number;
	char *cert, *key;
	struct id_record record;
	uint8_t *own; /* signed */
	size_t own_len;
	uint8_t digest[VPC_DIGEST]; /* of own */
	struct hash_item by_digest;
	bool *heard; /* by number of the other, from 0 */
	unsigned n_heard;
	bool is_up, was_down, has_lost;
	int map; /* -1: none */
};

struct storm {
	struct event_base *base;
	struct event *limit, *poll;
	struct node *node;
	struct hash by_digest;
	unsigned n, n_complete, n_lost, n_back, n_refused;
	char *roots;
	size_t roots_len;
	int acks;
	struct node *renewed; /* whose new record is under way */
	unsigned n_renewed;   /* who have it */
	bool is_real_due;     /* the poll looks whether the real nodes have all, else whether they have lost node-1 */
	int real[MAPS_MAX];
	unsigned n_real;
};

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void die(const char *what, const struct err *e)
{
	fprintf(stderr, "vpc_storm: %s: %s: %s\n", what, e->where, e->msg);
	exit(1);
}

static void stop_when(struct storm *s, bool is_done)
{
	if (is_done)
		event_base_loopbreak(s->base);
}

/* --- kernel maps --- */

static void map_make(struct node *n)
{
	LIBBPF_OPTS(bpf_map_create_opts, opts, .map_flags = BPF_F_NO_PREALLOC);

	n->map = bpf_map_create(BPF_MAP_TYPE_HASH, "storm_addr", sizeof(struct by_addr), sizeof(struct by_addr_val),
				(uint32_t)(4 * n->storm->n), &opts);
	if (n->map < 0) {
		fprintf(stderr, "vpc_storm: map of node %u: %s\n", n->number, strerror(errno));
		exit(1);
	}
}

static void map_put(struct node *n, const struct node *other)
{
	struct by_addr_val v = { .identity = other->number + 1, .peer_class = { 1, 1 } };

	for (uint32_t i = 0; n->map >= 0 && i < other->record.n_addrs; i++)
		bpf_map_update_elem(n->map, &other->record.addrs[i], &v, BPF_ANY);
}

static void map_drop(struct node *n, const struct node *other)
{
	for (uint32_t i = 0; n->map >= 0 && i < other->record.n_addrs; i++)
		if (bpf_map_delete_elem(n->map, &other->record.addrs[i]) < 0)
			fprintf(stderr, "vpc_storm: node %u did not have node %u\n", n->number, other->number);
}

static bool map_has(int map, const struct node *other)
{
	struct by_addr_val v;

	return bpf_map_lookup_elem(map, &other->record.addrs[0], &v) == 0;
}

/* How far the real nodes are: all of us, or without node-1. */
static bool real_done(const struct storm *s)
{
	for (unsigned i = 0; i < s->n_real; i++)
		for (unsigned k = 0; k < (s->is_real_due ? s->n : 1); k++)
			if (map_has(s->real[i], &s->node[k]) != s->is_real_due)
				return false;
	return true;
}

static bool revoke_done(const struct storm *s)
{
	return s->n_lost == s->n - 1 && real_done(s);
}

static void on_poll(evutil_socket_t fd, short what, void *arg)
{
	struct storm *s = arg;

	(void)fd, (void)what;
	stop_when(s, s->is_real_due ? real_done(s) : revoke_done(s));
}

/* --- a node --- */

static void trust(struct id_trust *t, void *arg)
{
	const struct node *n = arg;

	*t = (struct id_trust){ .now = time(NULL),
				.allow_simulated = true,
				.simulated_roots = n->storm->roots,
				.simulated_roots_len = n->storm->roots_len };
}

static void have(struct out *out, void *arg)
{
	const struct node *n = arg;

	for (unsigned i = 0; i < n->storm->n; i++)
		if (n->heard[i])
			out_bytes(out, n->storm->node[i].digest, VPC_DIGEST);
}

static void sign(struct node *n)
{
	struct err e = ERR_INIT;

	if (id_record_sign(&n->record, n->cert, n->key, &n->own, &n->own_len, &e) < 0)
		die("record", &e);
	n->storm->by_digest.key_len = VPC_DIGEST;
	if (!id_hash(EVP_sha256(), n->digest, n->own, n->own_len, NULL, 0) ||
	    hash_add(&n->storm->by_digest, &n->by_digest, n->digest) < 0)
		exit(1);
}

static int granted(const struct vpc_grant *grant, struct err *e, void *arg)
{
	struct node *n = arg;

	(void)e;
	if (!n->own) {
		memcpy(n->record.addrs, grant->addrs, sizeof(n->record.addrs));
		n->record.n_addrs = grant->n_addrs;
		sign(n);
	}
	if (grant->n_addrs != n->record.n_addrs ||
	    memcmp(grant->addrs, n->record.addrs, grant->n_addrs * sizeof(grant->addrs[0])) != 0) {
		fprintf(stderr, "vpc_storm: node %u was granted other addresses than before\n", n->number);
		exit(1);
	}
	return vpc_join_publish(n->join, n->own, n->own_len);
}

static void on_taken(void *arg)
{
	const struct node *n = arg;

	if (n->storm->acks >= 0)
		dprintf(n->storm->acks, "%s %llu\n", n->record.node, (unsigned long long)n->record.epoch);
}

static void on_record(const uint8_t *bytes, size_t len, void *arg)
{
	uint8_t digest[VPC_DIGEST];
	struct node *n = arg, *other;

	if (!id_hash(EVP_sha256(), digest, bytes, len, NULL, 0))
		exit(1);
	other = hash_of(hash_find(&n->storm->by_digest, digest), struct node, by_digest);
	if (other && other == n->storm->renewed)
		stop_when(n->storm, ++n->storm->n_renewed == n->storm->n - 1);
	if (!other || n->heard[other->number - 1]) /* a real node's */
		return;
	n->heard[other->number - 1] = true;
	map_put(n, other);
	if (++n->n_heard == n->storm->n - 1)
		stop_when(n->storm, ++n->storm->n_complete == n->storm->n);
}

static void on_revoked(const uint8_t instance_id[BY_INSTANCE_ID_LEN], bool is_revoked, void *arg)
{
	struct node *n = arg;
	struct storm *s = n->storm;

	if (!is_revoked || n->has_lost || memcmp(instance_id, s->node[0].record.instance_id, BY_INSTANCE_ID_LEN) != 0)
		return;
	n->has_lost = true;
	map_drop(n, &s->node[0]);
	s->n_lost++;
	stop_when(s, revoke_done(s));
}

static void on_seen(const struct vpc_seen *seen, void *arg)
{
	(void)seen, (void)arg;
}

static void on_up(bool is_up, void *arg)
{
	struct node *n = arg;

	n->is_up = is_up;
	n->was_down |= !is_up;
	if (n->number > 1 && is_up && n->was_down)
		stop_when(n->storm, ++n->storm->n_back == n->storm->n - 1);
}

static void on_refused(const struct err *e, bool is_remote, void *arg)
{
	struct node *n = arg;

	n->storm->n_refused++;
	if (is_remote && n->number > 1)
		fprintf(stderr, "vpc_storm: node %u: %s: %s\n", n->number, e->where, e->msg);
}

static void identity_make(struct node *n, const struct id_sim_root *root)
{
	struct id_sim_request req = { .not_before = time(NULL) - 60, .not_after = time(NULL) + 86400 };
	struct id_record *r = &n->record;
	struct err e = ERR_INIT;

	*r = (struct id_record){ .epoch = (uint64_t)time(NULL),
				 .not_before = req.not_before,
				 .not_after = time(NULL) + 3600 };
	snprintf(r->node, sizeof(r->node), "node-%u", n->number);
	req.common_name = r->node;
	memset(req.app_id, 0x5b, sizeof(req.app_id));
	memcpy(req.instance_id, &n->number, sizeof(n->number));
	memset(req.instance_id + 8, 0x11, 12);
	if (id_sim_issue(root, &req, &n->cert, &n->key, &e) < 0)
		die("identity", &e);
	memcpy(r->app_id, req.app_id, sizeof(r->app_id));
	memcpy(r->instance_id, req.instance_id, sizeof(r->instance_id));
	memset(r->wg_key, 0x77, sizeof(r->wg_key));
	memcpy(r->wg_key, &n->number, sizeof(n->number));
}

static void node_start(struct node *n, const struct ip_endpoint *server)
{
	struct vpc_join_conf conf = { .base = n->storm->base,
				      .servers = { .at = { *server }, .n = 1, .any_app = true },
				      .cert_pem = n->cert,
				      .key_pem = n->key,
				      .trust = trust,
				      .have = have,
				      .granted = granted,
				      .taken = on_taken,
				      .record = on_record,
				      .revoked = on_revoked,
				      .seen_fn = on_seen,
				      .up = on_up,
				      .refused = on_refused,
				      .arg = n };
	struct err e = ERR_INIT;

	memcpy(conf.node, n->record.node, sizeof(conf.node));
	if (vpc_join_new(&conf, &n->join, &e) < 0)
		die("join", &e);
}

/* --- the storm --- */

static void on_limit(evutil_socket_t fd, short what, void *arg)
{
	const struct storm *s = arg;

	(void)fd, (void)what;
	fprintf(stderr, "vpc_storm: after %d s %u of %u know all, %u have lost node-1, %u are back, %u refusals\n",
		LIMIT_S, s->n_complete, s->n, s->n_lost, s->n_back, s->n_refused);
	exit(1);
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
			die("root", &e);
	}
}

/* Until it is done; whatever `poll` looks at is looked at each millisecond. */
static void run(struct storm *s, const char *what, double begin, bool is_polled)
{
	static const struct timeval limit = { .tv_sec = LIMIT_S }, often = { .tv_usec = POLL_US };

	event_add(s->limit, &limit);
	if (is_polled)
		event_add(s->poll, &often);
	event_base_dispatch(s->base);
	event_del(s->poll);
	printf("%s %.3f\n", what, now() - begin);
	fflush(stdout);
}

static void command(const char *text)
{
	if (system(text) != 0) {
		fprintf(stderr, "vpc_storm: failed: %s\n", text);
		exit(1);
	}
}

/* Renewals as in quiet times: one node's at a time. */
static double renew(struct storm *s, struct node *n)
{
	static const struct timeval pause = { .tv_usec = QUIET_US }, limit = { .tv_sec = LIMIT_S };
	double begin = now(), took;

	hash_del(&s->by_digest, &n->by_digest);
	free(take_ptr(n->own));
	n->record.epoch++;
	sign(n);
	s->renewed = n;
	s->n_renewed = 0;
	event_add(s->limit, &limit);
	vpc_join_publish(n->join, n->own, n->own_len);
	event_base_dispatch(s->base);
	took = now() - begin;
	s->renewed = NULL;
	event_base_loopexit(s->base, &pause);
	event_base_dispatch(s->base);
	return took;
}

static void quiet(struct storm *s, unsigned renewals, const char *text)
{
	double sum = 0;

	command(text);
	for (unsigned i = 0; i < renewals; i++)
		sum += renew(s, &s->node[i % s->n]);
	command(text);
	event_del(s->limit);
	printf("renew %.4f\n", sum / renewals);
}

static void nodes_make(struct storm *s, const char *root_dir, bool has_maps)
{
	struct id_sim_root root = { 0 };

	root_read(root_dir, &root);
	s->node = calloc(s->n, sizeof(*s->node));
	for (unsigned i = 0; i < s->n; i++) {
		s->node[i] = (struct node){ .storm = s, .number = i + 1, .map = -1 };
		s->node[i].heard = calloc(s->n, sizeof(bool));
		identity_make(&s->node[i], &root);
		if (has_maps)
			map_make(&s->node[i]);
	}
}

static void real_open(struct storm *s, const char *pin)
{
	int fd = s->n_real < MAPS_MAX ? bpf_obj_get(pin) : -1;

	if (fd < 0) {
		fprintf(stderr, "vpc_storm: %s: %s\n", pin, strerror(errno));
		exit(1);
	}
	s->real[s->n_real++] = fd;
}

struct plan {
	unsigned renewals;
	const char *quiet, *revoke, *restart; /* NULL: left out */
};

static void storm(struct storm *s, const struct ip_endpoint *server, const struct plan *plan)
{
	double begin = now();

	for (unsigned i = 0; i < s->n; i++)
		node_start(&s->node[i], server);
	run(s, "join", begin, false);
	s->is_real_due = true;
	if (s->n_real)
		run(s, "real", begin, true);
	s->is_real_due = false;
	if (plan->renewals && plan->quiet)
		quiet(s, plan->renewals, plan->quiet);
	for (unsigned i = 0; i < s->n; i++)
		s->node[i].was_down = false;
	s->n_back = 0;
	if (plan->revoke) {
		begin = now();
		command(plan->revoke);
		run(s, "revoke", begin, true);
	}
	if (plan->restart) {
		begin = now();
		command(plan->restart);
		run(s, "restart", begin, false);
	}
}

int main(int argc, char **argv)
{
	struct rlimit files = { .rlim_cur = 65536, .rlim_max = 65536 };
	struct storm s = { .base = event_base_new(), .acks = -1 };
	struct plan plan = { 0 };
	struct ip_endpoint server;
	struct err e = ERR_INIT;
	bool has_maps = false;
	int c;

	while ((c = getopt(argc, argv, "a:km:n:q:r:s:")) != -1)
		if (c == 'a')
			s.acks = open(optarg, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
		else if (c == 'k')
			has_maps = true;
		else if (c == 'm')
			real_open(&s, optarg);
		else if (c == 'r')
			plan.revoke = optarg;
		else if (c == 's')
			plan.restart = optarg;
		else if (c == 'n')
			plan.renewals = (unsigned)strtoul(optarg, NULL, 10);
		else if (c == 'q')
			plan.quiet = optarg;
		else
			return 2;
	if (argc - optind != 4 || !endpoint_parse(&server, argv[optind]) || sscanf(argv[optind + 1], "%u", &s.n) != 1 ||
	    s.n < 2)
		return 2;
	setrlimit(RLIMIT_NOFILE, &files);
	signal(SIGPIPE, SIG_IGN);
	if (file_read(argv[optind + 3], 1 << 20, &s.roots, &s.roots_len, &e) < 0)
		die("roots", &e);
	s.limit = evtimer_new(s.base, on_limit, &s);
	s.poll = event_new(s.base, -1, EV_PERSIST, on_poll, &s);
	nodes_make(&s, argv[optind + 2], has_maps);
	storm(&s, &server, &plan);
	return 0;
}
