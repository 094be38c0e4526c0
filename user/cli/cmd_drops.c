// SPDX-License-Identifier: Apache-2.0
/* bailey drops: the last drops, those of a kind together, each with its latest example. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"
#include "cmds.h"
#include "daemon.h"

struct kind {
	char text[800]; /* what its packets have in common */
	char why[576];
	const json_t *last;
	unsigned long long packets;
};

/* Without the sender's port: a client that tries again is one kind. */
static void kind_text(const json_t *ev, char *buf, size_t size)
{
	const json_t *dst = json_object_get(ev, "dst"), *icmp = json_object_get(ev, "icmp_type");
	json_t *src = json_deep_copy(json_object_get(ev, "src"));
	char from[160], to[160], type[16] = "";

	json_object_del(src, "port");
	side_text(src, from, sizeof(from));
	side_text(dst, to, sizeof(to));
	json_decref(src);
	if (icmp)
		snprintf(type, sizeof(type), " type %lld", (long long)json_integer_value(icmp));
	snprintf(buf, size, "%-13s %-3s  %s -> %s %s%s  on %s", js(ev, "reason"), js(ev, "dir"), from, to,
		 js(ev, "proto"), type, js(ev, "interface"));
}

static void collect(struct kind *kinds, size_t *n, const json_t *ev)
{
	char text[sizeof(kinds->text)], why[sizeof(kinds->why)];
	size_t i;

	kind_text(ev, text, sizeof(text));
	rule_text(ev, why, sizeof(why));
	for (i = 0; i < *n && (strcmp(kinds[i].text, text) != 0 || strcmp(kinds[i].why, why) != 0); i++)
		;
	if (i == *n) {
		memcpy(kinds[i].text, text, sizeof(text));
		memcpy(kinds[i].why, why, sizeof(why));
		(*n)++;
	}
	kinds[i].packets += 1 + (unsigned long long)ji(ev, "suppressed");
	kinds[i].last = ev;
}

static int compare_last(const void *a, const void *b)
{
	const struct kind *x = a, *y = b;

	return (ji(x->last, "at") < ji(y->last, "at")) - (ji(x->last, "at") > ji(y->last, "at"));
}

static void print_kind(const struct kind *k)
{
	const json_t *src = json_object_get(k->last, "src");
	long long ago = (long long)time(NULL) - ji(k->last, "at");

	printf("%6llu  %s\n        %s\n        last %llds ago: %lld bytes", k->packets, k->text, k->why,
	       ago > 0 ? ago : 0, ji(k->last, "bytes"));
	if (json_object_get(src, "port"))
		printf(" from port %lld", ji(src, "port"));
	putchar('\n');
}

static void print_drops(const json_t *events)
{
	auto_free struct kind *kinds = calloc(json_array_size(events) + 1, sizeof(*kinds));
	const json_t *ev;
	size_t i, n = 0;

	if (!kinds)
		return;
	json_array_foreach (events, i, ev)
		collect(kinds, &n, ev);
	qsort(kinds, n, sizeof(kinds[0]), compare_last);
	for (i = 0; i < n; i++)
		print_kind(&kinds[i]);
}

int cmd_drops(int argc, char **argv)
{
	struct daemon_args a;
	json_t *events;
	int ret = daemon_args_take(
		argc, argv,
		"usage: bailey drops [--from WHO] [--to WHO] [--port tcp/22] [--reason NAME]\n"
		"                    [--interface NAME] [--json]\n"
		"The last 256 dropped packets of each reason that were told, those of a kind together, newest\n"
		"first: how many, why, who, the rule or the nearest one, and the latest example.\n"
		"options: --instance NAME  --socket PATH  --help\n",
		TAKES_SIDES | TAKES_REASON, &a);

	if (ret >= 0)
		return ret;
	query_add(&a, "drops", "1");
	events = daemon_call(&a, "GET", "/v1/events");
	if (!events)
		return EXIT_NO;
	if (a.json)
		json_dumpf(events, stdout, JSON_INDENT(2));
	else
		print_drops(events);
	json_decref(events);
	return EXIT_YES;
}
