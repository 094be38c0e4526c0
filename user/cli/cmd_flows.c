// SPDX-License-Identifier: Apache-2.0
/* bailey flows: tracked flows, the ones that moved last first. The daemon streams all; only as many as are printed are
 * kept. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "cmds.h"
#include "daemon.h"

#define LIMIT_DEFAULT 1000

struct flows {
	json_t **kept; /* a heap: the first one is the next to go */
	size_t n, limit;
	unsigned long long seen;
	char error[128];
};

/* Idle for longer, and of those who are alike the older one, comes later. */
static int compare(const json_t *a, const json_t *b)
{
	double x = json_number_value(json_object_get(a, "idle_s")), y = json_number_value(json_object_get(b, "idle_s"));

	if (x == y) {
		x = json_number_value(json_object_get(a, "age_s"));
		y = json_number_value(json_object_get(b, "age_s"));
	}
	return (x > y) - (x < y);
}

static void swap(json_t **a, json_t **b)
{
	json_t *was = *a;

	*a = *b;
	*b = was;
}

static void sift_down(struct flows *f, size_t at)
{
	for (;;) {
		size_t child = 2 * at + 1;

		if (child >= f->n)
			return;
		if (child + 1 < f->n && compare(f->kept[child + 1], f->kept[child]) > 0)
			child++;
		if (compare(f->kept[child], f->kept[at]) <= 0)
			return;
		swap(&f->kept[child], &f->kept[at]);
		at = child;
	}
}

static void keep(struct flows *f, const json_t *flow)
{
	size_t at = f->n;

	if (f->n == f->limit) {
		if (compare(flow, f->kept[0]) >= 0)
			return;
		json_decref(f->kept[0]);
		f->kept[0] = json_deep_copy(flow);
		sift_down(f, 0);
		return;
	}
	f->kept[f->n++] = json_deep_copy(flow);
	for (; at && compare(f->kept[at], f->kept[(at - 1) / 2]) > 0; at = (at - 1) / 2)
		swap(&f->kept[at], &f->kept[(at - 1) / 2]);
}

static bool on_flow(const json_t *flow, void *arg)
{
	struct flows *f = arg;

	if (*js(flow, "error")) {
		snprintf(f->error, sizeof(f->error), "%s", js(flow, "error"));
		return true;
	}
	f->seen++;
	keep(f, flow);
	return true;
}

static int by_idle(const void *a, const void *b)
{
	return compare(*(json_t *const *)a, *(json_t *const *)b);
}

/* "7s", "12m", "3h" */
static const char *span(double s, char buf[16])
{
	if (s < 120)
		snprintf(buf, 16, "%.0fs", s);
	else if (s < 7200)
		snprintf(buf, 16, "%.0fm", s / 60);
	else
		snprintf(buf, 16, "%.0fh", s / 3600);
	return buf;
}

static void print_flow(const json_t *flow)
{
	char src[160], dst[160], age[16], idle[16];

	side_text(json_object_get(flow, "src"), src, sizeof(src));
	side_text(json_object_get(flow, "dst"), dst, sizeof(dst));
	if (*js(flow, "path")) {
		printf("%-3s  %s -> %s %s  %-11s  age %s  captured, to the %s\n", js(flow, "dir"), src, dst,
		       js(flow, "proto"), js(flow, "state"),
		       span(json_number_value(json_object_get(flow, "age_s")), age), js(flow, "path"));
		return;
	}
	printf("%-3s  %s -> %s %s  %-11s  age %s idle %s  %s %s%s  on %s\n", js(flow, "dir"), src, dst,
	       js(flow, "proto"), js(flow, "state"), span(json_number_value(json_object_get(flow, "age_s")), age),
	       span(json_number_value(json_object_get(flow, "idle_s")), idle), js(flow, "rule"), js(flow, "where"),
	       json_is_true(json_object_get(flow, "stale")) ? "judged again with its next packet" : "",
	       js(flow, "interface"));
}

static int print_flows(struct flows *f, bool json)
{
	qsort(f->kept, f->n, sizeof(json_t *), by_idle);
	for (size_t i = 0; i < f->n; i++) {
		if (json) {
			json_dumpf(f->kept[i], stdout, JSON_COMPACT);
			putchar('\n');
		} else {
			print_flow(f->kept[i]);
		}
	}
	if (f->seen > f->n)
		fprintf(stderr, "bailey: %llu more flows; --limit shows them\n", f->seen - f->n);
	if (*f->error)
		fprintf(stderr, "bailey: flows: %s\n", f->error);
	return *f->error ? EXIT_NO : EXIT_YES;
}

int cmd_flows(int argc, char **argv)
{
	struct daemon_args a;
	struct flows f = { .limit = LIMIT_DEFAULT };
	int ret = daemon_args_take(
		argc, argv,
		"usage: bailey flows [--from WHO] [--to WHO] [--port tcp/22] [--interface NAME]\n"
		"                    [--limit N] [--mesh SOCKET] [--json]\n"
		"Tracked flows: who opened them, state, age, and the rule that let them; those that moved\n"
		"last first, 1000 at most or N. Without filters also the connections of meshes on this\n"
		"machine, and by which path their bytes go.\n"
		"options: --instance NAME  --socket PATH  --help\n",
		TAKES_SIDES | TAKES_LIMIT | TAKES_MESH, &a);

	if (ret >= 0)
		return ret;
	if (a.limit)
		f.limit = a.limit;
	f.kept = calloc(f.limit, sizeof(json_t *));
	ret = f.kept ? daemon_follow(&a, "/v1/flows", on_flow, &f) : EXIT_NO;
	if (ret == EXIT_YES)
		ret = print_flows(&f, a.json);
	if (ret == EXIT_YES && (a.mesh || !a.query[0]))
		ret = mesh_flows(a.mesh, a.json);
	for (size_t i = 0; i < f.n; i++)
		json_decref(f.kept[i]);
	free(f.kept);
	return ret;
}
