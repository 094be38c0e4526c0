// SPDX-License-Identifier: Apache-2.0
/*
 * A whole policy and a whole network into the kernel: YAML text of n rules -> model -> image for n peers -> the policy
 * committed -> n identities of two addresses in the maps. Seconds, the best of a few rounds, against nftables, which
 * loads a set of as many pairs of address and port. Then what an identity costs in the kernel's memory. Prints one JSON
 * object a line for run.sh.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "policy/diag.h"

#include "../lib/bench.h"
#include "../lib/world.h"
#include "datapath/internal.h"

#define ROUNDS 4

static const char *const filter_file[] = {
	"/usr/lib/x86_64-linux-gnu/bpf/xdpfilt_alw_all.o",
	"/usr/lib/aarch64-linux-gnu/bpf/xdpfilt_alw_all.o",
	"/usr/lib/bpf/xdpfilt_alw_all.o",
};

struct took {
	double parse, compile, commit, identities, all, cpu;
	double bytes; /* of the kernel, for all identities */
};

/* A network that the daemon has verified already. */
struct network {
	uint32_t n;
	struct dp_identity *identity;
	struct pol_subject *subject;
	char *text;
	size_t len;
};

static struct network network_of(uint32_t n)
{
	struct network net = { .n = n,
			       .identity = calloc(n, sizeof(*net.identity)),
			       .subject = calloc(n, sizeof(*net.subject)) };

	net.text = network_policy(n, &net.len);
	if (!net.identity || !net.subject || !net.text)
		bench_must(-ENOMEM, NULL, "network");
	for (uint32_t i = 0; i < n; i++) {
		net.identity[i] = network_identity(i, n);
		net.subject[i] = network_subject(i, n);
	}
	return net;
}

static void network_free(struct network *net)
{
	free(net->identity);
	free(net->subject);
	free(net->text);
}

/* What the kernel says that a map takes; those that fill as they go say what is in them from 6.4 on. */
static double map_bytes(int fd)
{
	char path[64], line[128];
	double bytes = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	f = fopen(path, "r");
	while (f && fgets(line, sizeof(line), f))
		sscanf(line, "memlock: %lf", &bytes);
	if (f)
		fclose(f);
	return bytes;
}

static double world_bytes(const struct world *w)
{
	double sum = 0;

	for (int i = 0; i < MAP_COUNT; i++)
		sum += w->dp->map[i] >= 0 ? map_bytes(w->dp->map[i]) : 0;
	return sum;
}

static double cpu_s(void)
{
	return (double)clock() / CLOCKS_PER_SEC;
}

static void identities_set(struct world *w, struct network *net, const struct pol_model *model,
			   const struct pol_image *img)
{
	struct err e = ERR_INIT;
	size_t n_set;

	for (uint32_t i = 0; i < net->n; i++)
		bench_must(pol_classify(model, img, &net->subject[i], &net->identity[i].peer_class), &e, "class");
	bench_must(dp_identities_set(w->dp, net->identity, net->n, &n_set, &e), &e, "identities");
}

static struct took load(struct world *w, struct network *net)
{
	struct pol_subject self = network_self();
	double start = bench_now_s(), cpu = cpu_s(), before, at;
	auto_free struct pol_image *img = NULL;
	struct pol_model *model = NULL;
	struct diags d = { 0 };
	struct err e = ERR_INIT;
	struct took t;

	bench_must(pol_parse("bench.yaml", net->text, net->len, &model, &d), &e, "policy");
	t.parse = bench_now_s() - start;
	at = bench_now_s();
	bench_must(pol_compile(model, &self, net->subject, net->n, &img, &e), &e, "compile");
	t.compile = bench_now_s() - at;
	at = bench_now_s();
	bench_must(dp_policy_commit(w->dp, img, &e), &e, "commit");
	t.commit = bench_now_s() - at;
	before = world_bytes(w);
	at = bench_now_s();
	identities_set(w, net, model, img);
	t.identities = bench_now_s() - at;
	t.all = bench_now_s() - start;
	t.cpu = cpu_s() - cpu;
	t.bytes = world_bytes(w) - before;
	if (img->n_rules != net->n || img->n_members != net->n || dp_identity_count(w->dp) != net->n)
		bench_must(-EIO, NULL, "not everything was loaded");
	pol_free(model);
	diags_fini(&d);
	return t;
}

/* Seconds; negative: there is no nftables. */
static double nft_load(uint32_t n)
{
	char path[] = "/tmp/bailey-bench-XXXXXX", cmd[64];
	int fd = mkstemp(path), ret;
	FILE *f = fd < 0 ? NULL : fdopen(fd, "w");
	double at;

	if (!f)
		return -1;
	fprintf(f, "table ip b {\nset s { type ipv4_addr . inet_service; elements = { ");
	for (uint32_t i = 0; i < n; i++)
		fprintf(f, "%s100.64.%u.%u . %u", i ? ", " : "", i % BENCH_APPS >> 8, i % BENCH_APPS & 255,
			1000 + i / BENCH_APPS);
	fprintf(f,
		" }\n}\nchain c { type filter hook input priority 0;\nip saddr . tcp dport @s counter accept\n}\n}\n");
	fclose(f);
	snprintf(cmd, sizeof(cmd), "nft -f %s 2>/dev/null", path);
	at = bench_now_s();
	ret = system(cmd);
	at = bench_now_s() - at;
	unlink(path);
	return ret == 0 && system("nft delete table ip b") == 0 ? at : -1;
}

/* Bytes that n addresses take in xdp-filter's map; negative: it is not there, or the kernel does not say. */
static double filter_bytes(uint32_t n)
{
	struct bpf_object *obj = NULL;
	const struct bpf_map *map;
	struct bpf_map *each;
	char value[1024] = { 1 };
	double bytes, empty;

	for (size_t i = 0; i < ARRAY_LEN(filter_file) && !obj; i++)
		obj = bpf_object__open_file(filter_file[i], NULL);
	map = obj ? bpf_object__find_map_by_name(obj, "filter_ipv4") : NULL;
	if (!map)
		return -1;
	bpf_object__for_each_map(each, obj)
	{
		bpf_map__set_pin_path(each, NULL);
		if (each == map)
			bpf_map__set_max_entries(each, n);
	}
	bpf_program__set_type(bpf_object__next_program(obj, NULL), BPF_PROG_TYPE_XDP);
	if (bpf_object__load(obj) < 0)
		return -1;
	empty = map_bytes(bpf_map__fd(map));
	for (uint32_t i = 0; i < n; i++)
		bench_must(bpf_map_update_elem(bpf_map__fd(map), &i, value, BPF_ANY), NULL, "xdp-filter's map");
	bytes = map_bytes(bpf_map__fd(map));
	bytes -= bytes > empty ? empty : 0; /* the same: all of it was allocated beforehand */
	bpf_object__close(obj);
	return bytes;
}

static void report_load(const struct bench_scale *s, const struct took *t, double nft)
{
	char name[64], note[256];

	snprintf(name, sizeof(name), "policy.load_%s_s", s->name);
	snprintf(note, sizeof(note),
		 "%s rules and %s identities: read YAML %.2f, compile %.2f, commit %.2f, identities %.2f; CPU %.2f",
		 s->name, s->name, t->parse, t->compile, t->commit, t->identities, t->cpu);
	bench_row(name, t->all, nft, "nft -f, a set of as many pairs of address and port", "s", note);
	bench_point("load", "Bailey", s->n, t->all);
	bench_point("load", "nftables set", s->n, nft);
}

static void report_bytes(const struct bench_scale *s, double bytes, double peer)
{
	char name[64];

	snprintf(name, sizeof(name), s->n == 100000 ? "policy.bytes_per_identity" : "policy.bytes_per_identity_%s",
		 s->name);
	if (bytes <= 0) {
		printf("{\"name\":\"%s\",\"skipped\":\"this kernel does not say what is in a map\"}\n", name);
		return;
	}
	bench_row(name, bytes / s->n, peer / s->n, "xdp-filter, an IPv4 address", "bytes",
		  "kernel memory that grows with identities of two addresses; tables of fixed size: docs/abi.md");
	bench_point("bytes", "Bailey, an identity of two addresses", s->n, bytes / s->n);
	bench_point("bytes", "xdp-filter, an IPv4 address", s->n, peer / s->n);
}

static void measure(const struct bench_scale *s)
{
	struct network net = network_of(s->n);
	struct took best = { 0 };
	double nft = -1;

	for (int round = 0; round < ROUNDS; round++) {
		struct world *w = world_open(0);
		struct took t = load(w, &net);
		double theirs = nft_load(s->n);

		if (!round || t.all < best.all)
			best = t;
		if (theirs > 0 && (nft < 0 || theirs < nft))
			nft = theirs;
		world_close(w);
	}
	report_load(s, &best, nft);
	report_bytes(s, best.bytes, filter_bytes(s->n));
	network_free(&net);
}

int main(void)
{
	const struct sched_param first = { .sched_priority = 1 };

	libbpf_set_print(NULL);
	sched_setscheduler(0, SCHED_FIFO, &first); /* before whatever else runs on the machine; nft inherits it */
	if (unshare(CLONE_NEWNET) < 0)             /* nftables' tables are its own */
		bench_must(-errno, NULL, "unshare");
	for (size_t i = 0; i < BENCH_SCALES; i++)
		measure(&bench_scale[i]);
	return 0;
}
