// SPDX-License-Identifier: Apache-2.0
/*
 * One more identity in a network of n: from a record that is verified to the kernel's maps, through the daemon's own
 * three processes and messages. This process is the edge (registry), one child the parent (node_upsert), one net
 * (dp_identity_set), which says when the maps were written. WireGuard's peer follows a millisecond later and is not in
 * it. Milliseconds, median of the samples. Prints one JSON object a line for run.sh.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "baileyd/parent.h"
#include "base/cleanup.h"
#include "policy/diag.h"

#include "../lib/bench.h"
#include "../lib/world.h"

#define SAMPLES 51

struct setting {
	uint32_t n;
	struct pol_model *model;
	struct pol_image *img;
	struct world *world;
	int edge_fd, parent_fd; /* between them */
	int to_net_fd, net_fd;  /* likewise */
	int said_fd, says_fd;   /* when the maps were written */
	struct id_registry *registry;
};

static struct id_node node_of(uint32_t i, uint32_t n)
{
	struct dp_identity id = network_identity(i, n);
	struct id_node node = { .record = { .n_addrs = id.n_addrs,
					    .epoch = 1,
					    .not_before = time(NULL),
					    .not_after = time(NULL) + 3600 } };

	memcpy(node.record.node, id.node, sizeof(node.record.node));
	memcpy(node.record.app_id, id.app_id, sizeof(id.app_id));
	memcpy(node.record.instance_id, id.instance_id, sizeof(id.instance_id));
	memcpy(node.record.wg_key, &i, sizeof(i));
	memcpy(node.record.addrs, id.addrs, id.n_addrs * sizeof(id.addrs[0]));
	memcpy(node.claims.app_id, id.app_id, sizeof(id.app_id));
	memcpy(node.claims.instance_id, id.instance_id, sizeof(id.instance_id));
	node.claims.has_instance_id = true;
	node.claims.tee = ID_TEE_TDX;
	node.claims.not_after = time(NULL) + 7200;
	return node;
}

/* --- net --- */

static void net_takes(struct ipc_msg *msg, void *arg)
{
	const struct msg_node_set *m = ipc_as(msg, sizeof(*m));
	struct setting *s = arg;
	struct err e = ERR_INIT;
	double at;

	if (!m)
		bench_must(-EPROTO, NULL, "net's message");
	bench_must(dp_identity_set(s->world->dp, &m->identity, NULL, &e), &e, "identity");
	at = bench_now_s();
	if (write(s->says_fd, &at, sizeof(at)) != sizeof(at))
		exit(1);
}

static void on_end(void *arg)
{
	(void)arg;
	_exit(0); /* the other end is gone */
}

static void net_run(struct setting *s)
{
	struct event_base *base = event_base_new();
	struct ipc *ipc;

	bench_must(ipc_new(base, s->net_fd, net_takes, on_end, s, &ipc), NULL, "net");
	event_base_dispatch(base);
	_exit(1);
}

/* --- parent --- */

static void nobody_speaks(struct ipc_msg *msg, void *arg)
{
	(void)msg, (void)arg;
}

static void parent_takes(struct ipc_msg *msg, void *arg)
{
	const struct msg_node *m = ipc_as(msg, sizeof(*m));
	auto_free uint8_t *record = NULL;
	size_t len;

	if (!m || ipc_blob_read(msg->fd, ID_RECORD_MAX, &record, &len) < 0)
		bench_must(-EPROTO, NULL, "parent's message");
	bench_must(node_upsert(arg, m, record, len), NULL, "node");
}

/* The nodes that are there already are not stored; those that come are, in a directory of this run. */
static void parent_run(struct setting *s, const char *state)
{
	struct event_base *base = event_base_new();
	struct parent *p = calloc(1, sizeof(*p));
	struct ipc *ipc;
	char ready = 1;

	if (!p)
		bench_must(-ENOMEM, NULL, "parent");
	p->model = s->model;
	p->targets[0].image = s->img;
	p->n_targets = 1;
	snprintf(p->conf.state, sizeof(p->conf.state), "/nonexistent");
	for (uint32_t i = 0; i < s->n; i++) {
		struct msg_node m = { .node = node_of(i, s->n), .origin = "bench" };

		bench_must(node_upsert(p, &m, (const uint8_t *)"", 0), NULL, "node");
	}
	snprintf(p->conf.state, sizeof(p->conf.state), "%s", state);
	p->is_loaded = true;
	bench_must(ipc_new(base, s->to_net_fd, nobody_speaks, on_end, p, &p->net.ipc), NULL, "parent");
	bench_must(ipc_new(base, s->parent_fd, parent_takes, on_end, p, &ipc), NULL, "parent");
	if (write(s->says_fd, &ready, 1) != 1)
		_exit(1);
	event_base_dispatch(base);
	_exit(1);
}

/* --- edge, and the measurement --- */

static double sample(struct setting *s, struct ipc *to_parent, uint32_t i)
{
	struct msg_node m = { .node = node_of(i, s->n), .origin = "bench" };
	static uint8_t record[4096]; /* as long as one is */
	double start = bench_now_s(), end;
	struct err e = ERR_INIT;
	enum id_admit what;

	bench_must(id_registry_admit(s->registry, &m.node, &what, &e), &e, "registry");
	bench_must(ipc_send_blob(to_parent, MSG_EDGE_NODE, &m, sizeof(m), record, sizeof(record)), NULL, "edge");
	if (ipc_queued(to_parent) || read(s->said_fd, &end, sizeof(end)) != sizeof(end))
		bench_must(-EIO, NULL, "no answer of net");
	usleep(2000); /* the record is being stored */
	return (end - start) * 1e3;
}

static double measure(struct setting *s)
{
	struct event_base *base = event_base_new();
	struct ipc *to_parent;
	double all[SAMPLES];

	bench_must(ipc_new(base, s->edge_fd, nobody_speaks, on_end, s, &to_parent), NULL, "edge");
	for (uint32_t i = 0; i < SAMPLES; i++)
		all[i] = sample(s, to_parent, s->n + i);
	ipc_free(to_parent);
	event_base_free(base);
	return bench_median(all, SAMPLES);
}

static void registry_fill(struct setting *s)
{
	struct id_registry_conf conf = { .n_networks = 2, .max_nodes = BY_MAX_IDENTITIES - 2 };
	struct err e = ERR_INIT;
	enum id_admit what;

	prefix_parse(&conf.networks[0], "100.64.0.0/10");
	prefix_parse(&conf.networks[1], "fd00::/8");
	bench_must(id_registry_new(&conf, &s->registry, &e), &e, "registry");
	for (uint32_t i = 0; i < s->n; i++) {
		struct id_node node = node_of(i, s->n);

		bench_must(id_registry_admit(s->registry, &node, &what, &e), &e, "registry");
	}
}

/* The policy, and the identities that are there already. */
static void world_fill(struct setting *s)
{
	struct pol_subject self = network_self(), *peers = calloc(s->n, sizeof(*peers));
	struct diags d = { 0 };
	struct err e = ERR_INIT;
	size_t len;
	auto_free char *text = network_policy(s->n, &len);

	for (uint32_t i = 0; i < s->n; i++)
		peers[i] = network_subject(i, s->n);
	bench_must(pol_parse("bench.yaml", text, len, &s->model, &d), &e, "policy");
	bench_must(pol_compile(s->model, &self, peers, s->n, &s->img, &e), &e, "compile");
	bench_must(dp_policy_commit(s->world->dp, s->img, &e), &e, "commit");
	for (uint32_t i = 0; i < s->n; i++) {
		struct dp_identity id = network_identity(i, s->n);

		bench_must(pol_classify(s->model, s->img, &peers[i], &id.peer_class), &e, "class");
		bench_must(dp_identity_set(s->world->dp, &id, NULL, &e), &e, "identity");
	}
	free(peers);
	diags_fini(&d);
}

/* One more element in a set of n, each by a process of its own, as an administrator or a script does it. */
static double nft_measure(uint32_t n)
{
	FILE *f = popen("nft -f - 2>/dev/null", "w");
	double all[SAMPLES / 3];

	if (!f)
		return -1;
	fprintf(f, "table ip b {\nset s { type ipv4_addr . inet_service; elements = { ");
	for (uint32_t i = 0; i < n; i++)
		fprintf(f, "%s100.64.%u.%u . %u", i ? ", " : "", i % BENCH_APPS >> 8, i % BENCH_APPS & 255,
			1000 + i / BENCH_APPS);
	fprintf(f, " }\n}\n}\n");
	if (pclose(f) != 0)
		return -1;
	for (uint32_t i = 0; i < ARRAY_LEN(all); i++) {
		double at = bench_now_s();
		char cmd[96];

		snprintf(cmd, sizeof(cmd), "nft add element ip b s '{ 100.65.0.%u . 1 }'", i);
		if (system(cmd) != 0)
			return -1;
		all[i] = (bench_now_s() - at) * 1e3;
	}
	if (system("nft delete table ip b") != 0)
		return -1;
	return bench_median(all, ARRAY_LEN(all));
}

static void pair(int *a, int *b)
{
	int fds[2];

	bench_must(ipc_pair(fds), NULL, "socket pair");
	*a = fds[0];
	*b = fds[1];
}

/* A child that has `keep` of the descriptors only, so that the end of one side is seen by the other. */
static pid_t child(struct setting *s, void (*run)(struct setting *s, const char *state), const char *state,
		   const int *drop, size_t n_drop)
{
	pid_t pid = fork();

	if (pid)
		return pid;
	for (size_t i = 0; i < n_drop; i++)
		close(drop[i]);
	run(s, state);
	_exit(1);
}

static void net_child(struct setting *s, const char *state)
{
	(void)state;
	net_run(s);
}

static double measure_size(uint32_t n, const char *state)
{
	struct setting s = { .n = n, .world = world_open(0) };
	int pipe_fds[2];
	pid_t net, parent;
	char ready;
	double ms;

	world_fill(&s);
	registry_fill(&s);
	pair(&s.edge_fd, &s.parent_fd);
	pair(&s.to_net_fd, &s.net_fd);
	bench_must(pipe(pipe_fds) < 0 ? -errno : 0, NULL, "pipe");
	s.said_fd = pipe_fds[0];
	s.says_fd = pipe_fds[1];
	net = child(&s, net_child, state, (int[]){ s.edge_fd, s.parent_fd, s.to_net_fd, s.said_fd }, 4);
	parent = child(&s, parent_run, state, (int[]){ s.edge_fd, s.net_fd, s.said_fd }, 3);
	close(s.parent_fd);
	close(s.to_net_fd);
	close(s.net_fd);
	close(s.says_fd);
	if (read(s.said_fd, &ready, 1) != 1)
		bench_must(-EIO, NULL, "the parent did not start");
	ms = measure(&s); /* closes edge_fd, so the parent ends, and then net */
	waitpid(parent, NULL, 0);
	waitpid(net, NULL, 0);
	close(s.said_fd);
	id_registry_free(s.registry);
	free(s.img);
	pol_free(s.model);
	world_close(s.world);
	return ms;
}

static void report(const struct bench_scale *scale, double ms, double nft)
{
	char name[64];

	snprintf(name, sizeof(name), scale->n == 100000 ? "policy.update_one_ms" : "policy.update_one_%s_ms",
		 scale->name);
	bench_row(name, ms, nft, "nft add element, a process each", "ms",
		  "one more identity: verified record -> registry -> parent -> net -> maps, three processes; median");
	bench_point("update", "Bailey", scale->n, ms);
	bench_point("update", "nft add element", scale->n, nft);
}

int main(void)
{
	char state[] = "/tmp/bailey-bench-XXXXXX", records[64], cmd[96];

	if (!mkdtemp(state) || unshare(CLONE_NEWNET) < 0)
		bench_must(-errno, NULL, "set-up");
	snprintf(records, sizeof(records), "%s/records", state);
	bench_must(mkdir(records, 0700) < 0 ? -errno : 0, NULL, records);
	if (!freopen("/dev/null", "w", stderr)) /* what a parent says of each node */
		return 1;
	for (size_t i = 0; i < BENCH_SCALES; i++)
		report(&bench_scale[i], measure_size(bench_scale[i].n, state), nft_measure(bench_scale[i].n));
	snprintf(cmd, sizeof(cmd), "rm -rf %s", state);
	return system(cmd) != 0;
}
