// SPDX-License-Identifier: Apache-2.0
/*
 * bailey top: what moves now. Two samples of the counters and the time between them make rates: of pairs, rules and
 * drop reasons, the busiest first. On a terminal the picture is drawn over the last one with two escape sequences;
 * elsewhere one block follows the other.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "cmds.h"
#include "daemon.h"

#define ROWS_MAX 10 /* of each kind in a picture */

static double per_s(const json_t *now, const json_t *before, const char *key, double seconds)
{
	long long n = ji(now, key) - (before ? ji(before, key) : 0);

	/* a counter that went back started anew, with a policy or a peer: all it has is new */
	return (double)(n < 0 ? ji(now, key) : n) / seconds;
}

/* The one of `list` that has the same words as `o` under these keys. */
static const json_t *same(const json_t *list, const json_t *o, const char *key, const char *key2)
{
	const json_t *item;
	size_t i;

	json_array_foreach (list, i, item)
		if (strcmp(js(item, key), js(o, key)) == 0 && strcmp(js(item, key2), js(o, key2)) == 0)
			return item;
	return NULL;
}

static void add_rate(json_t *row, const char *key, const json_t *now, const json_t *before, double seconds)
{
	json_object_set_new(row, key,
			    json_pack("{s:f, s:f}", "packets", per_s(now, before, "packets", seconds), "bytes",
				      per_s(now, before, "bytes", seconds)));
}

static double rate_of(const json_t *row, const char *key)
{
	return json_number_value(json_object_get(json_object_get(row, key), "packets"));
}

static double weight(const json_t *row)
{
	return rate_of(row, "in") + rate_of(row, "out") + rate_of(row, "dropped_in") + rate_of(row, "dropped_out") +
	       rate_of(row, "rate");
}

static int by_weight(const void *a, const void *b)
{
	double x = weight(*(json_t *const *)a), y = weight(*(json_t *const *)b);

	return (x < y) - (x > y);
}

/* What moved, the busiest first. */
static json_t *sorted(json_t *rows)
{
	size_t i, n = 0;
	json_t *row, *out = json_array();
	auto_free json_t **all = calloc(json_array_size(rows) + 1, sizeof(json_t *));

	json_array_foreach (rows, i, row)
		if (all && weight(row) > 0)
			all[n++] = row;
	if (n)
		qsort(all, n, sizeof(json_t *), by_weight);
	for (i = 0; i < n; i++)
		json_array_append(out, all[i]);
	json_decref(rows);
	return out;
}

static json_t *pair_rates(const json_t *now, const json_t *before, double seconds)
{
	static const char *const way[] = { "in", "out", "dropped_in", "dropped_out" };
	json_t *rows = json_array(), *row;
	const json_t *pair;
	size_t i;

	json_array_foreach (json_object_get(now, "pairs"), i, pair) {
		const json_t *had = same(json_object_get(before, "pairs"), pair, "instance_id", "node");

		row = json_pack("{s:s}", "node", js(pair, "node"));
		for (size_t k = 0; k < ARRAY_LEN(way); k++)
			add_rate(row, way[k], json_object_get(pair, way[k]), json_object_get(had, way[k]), seconds);
		json_array_append_new(rows, row);
	}
	return sorted(rows);
}

/* Rules and drop reasons: both are packets and bytes under two words. */
static json_t *plain_rates(const json_t *now, const json_t *before, const char *part, const char *key, const char *key2,
			   double seconds)
{
	json_t *rows = json_array(), *row;
	const json_t *item;
	size_t i;

	json_array_foreach (json_object_get(now, part), i, item) {
		row = json_pack("{s:s, s:s}", key, js(item, key), key2, js(item, key2));
		add_rate(row, "rate", item, same(json_object_get(before, part), item, key, key2), seconds);
		json_array_append_new(rows, row);
	}
	return sorted(rows);
}

static json_t *rates(const json_t *now, const json_t *before)
{
	double seconds = (double)(ji(now, "at_ms") - ji(before, "at_ms")) / 1000;
	json_t *targets = json_array();
	const json_t *t;
	size_t i;

	if (seconds <= 0)
		seconds = 0.001;
	json_array_foreach (json_object_get(now, "targets"), i, t) {
		const json_t *had = same(json_object_get(before, "targets"), t, "interface", "interface");
		json_t *row =
			json_pack("{s:s, s:I}", "interface", js(t, "interface"), "flows", (json_int_t)ji(t, "flows"));

		add_rate(row, "in", json_object_get(t, "in"), json_object_get(had, "in"), seconds);
		add_rate(row, "out", json_object_get(t, "out"), json_object_get(had, "out"), seconds);
		json_object_set_new(row, "pairs", pair_rates(t, had, seconds));
		json_object_set_new(row, "rules", plain_rates(t, had, "rules", "name", "where", seconds));
		json_object_set_new(row, "drops", plain_rates(t, had, "drops", "reason", "dir", seconds));
		json_array_append_new(targets, row);
	}
	return json_pack("{s:f, s:o}", "seconds", seconds, "targets", targets);
}

static const char *bits(double bytes, char buf[16])
{
	static const char unit[] = " kMGT";
	size_t u = 0;
	double v = bytes * 8;

	for (; v >= 1000 && u + 2 < sizeof(unit); u++)
		v /= 1000;
	snprintf(buf, 16, u ? "%.1f%cbit/s" : "%.0fbit/s", v, unit[u]);
	return buf;
}

static const char *both(const json_t *row, const char *key, char buf[48])
{
	char b[16];

	snprintf(buf, 48, "%.1f/s %s", rate_of(row, key),
		 bits(json_number_value(json_object_get(json_object_get(row, key), "bytes")), b));
	return buf;
}

static void print_pairs(const json_t *list)
{
	char in[48], out[48];
	const json_t *row;
	size_t i;

	json_array_foreach (list, i, row)
		if (i < ROWS_MAX)
			printf("  %-20s in %-22s out %-22s dropped in %.1f/s out %.1f/s\n", js(row, "node"),
			       both(row, "in", in), both(row, "out", out), rate_of(row, "dropped_in"),
			       rate_of(row, "dropped_out"));
}

static void print_plain(const json_t *list, const char *key, const char *key2)
{
	char rate[48];
	const json_t *row;
	size_t i;

	json_array_foreach (list, i, row)
		if (i < ROWS_MAX)
			printf("  %-24s %-24s %s\n", both(row, "rate", rate), js(row, key), js(row, key2));
}

static void print_target(const json_t *t)
{
	char in[48], out[48];

	printf("%s  passed in %s, out %s, %lld flows\n", js(t, "interface"), both(t, "in", in), both(t, "out", out),
	       ji(t, "flows"));
	if (json_array_size(json_object_get(t, "pairs")))
		printf(" peers\n");
	print_pairs(json_object_get(t, "pairs"));
	if (json_array_size(json_object_get(t, "rules")))
		printf(" rules (first packets of flows, denials)\n");
	print_plain(json_object_get(t, "rules"), "name", "where");
	if (json_array_size(json_object_get(t, "drops")))
		printf(" drops\n");
	print_plain(json_object_get(t, "drops"), "reason", "dir");
}

static void print_rates(const json_t *r, bool json)
{
	const json_t *t;
	size_t i;

	if (json) {
		json_dumpf(r, stdout, JSON_COMPACT);
		putchar('\n');
		return;
	}
	if (isatty(STDOUT_FILENO))
		fputs("\033[H\033[J", stdout); /* home, and clear what is below */
	json_array_foreach (json_object_get(r, "targets"), i, t)
		print_target(t);
	putchar('\n');
}

/* One picture after the other until the reader is gone or there were enough; the exit status. */
static int watch(const struct daemon_args *a, unsigned pause_s, unsigned pictures)
{
	json_t *before = daemon_call(a, "GET", "/v1/counters"), *now, *r;
	int status = before ? EXIT_YES : EXIT_NO;

	for (unsigned n = 0; before && (!pictures || n < pictures); n++) {
		sleep(pause_s);
		now = daemon_call(a, "GET", "/v1/counters");
		if (!now) {
			status = EXIT_NO;
			break;
		}
		r = rates(now, before);
		print_rates(r, a->json);
		json_decref(r);
		json_decref(before);
		before = now;
		if (fflush(stdout) != 0)
			break;
	}
	json_decref(before);
	return status;
}

int cmd_top(int argc, char **argv)
{
	struct daemon_args a;
	int ret = daemon_args_take(
		argc, argv,
		"usage: bailey top [--seconds N] [--once | --count N] [--json]\n"
		"What moves now, every second or N: rates of each peer, rule and drop reason, the busiest\n"
		"first. --json has all of them, one object a line.\n"
		"options: --instance NAME  --socket PATH  --help\n",
		TAKES_SECONDS | TAKES_ONCE | TAKES_COUNT, &a);

	return ret >= 0 ? ret : watch(&a, a.seconds ? a.seconds : 1, a.once ? 1 : a.count);
}
