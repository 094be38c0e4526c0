// SPDX-License-Identifier: Apache-2.0
/* bailey monitor and bailey drops: the datapath's events in words. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"
#include "cmds.h"
#include "ctl/client.h"
#include "daemon.h"

static void side_text(const json_t *side, char *buf, size_t size)
{
	const json_t *port = json_object_get(side, "port");
	const char *node = js(side, "node");
	char tail[16] = "";

	if (port)
		snprintf(tail, sizeof(tail), " %lld", (long long)json_integer_value(port));
	if (*node)
		snprintf(buf, size, "%s (%s)%s", node, js(side, "addr"), tail);
	else
		snprintf(buf, size, "%s%s", js(side, "addr"), tail);
}

/* Which rule decided, or which comes nearest when none did. */
static void rule_text(const json_t *ev, char *buf, size_t size)
{
	const json_t *near = json_object_get(ev, "nearest");
	bool by_policy = strcmp(js(ev, "reason"), "POLICY_DENY") == 0;

	if (*js(ev, "rule"))
		snprintf(buf, size, "%s %s", js(ev, "rule"), js(ev, "where"));
	else if (near)
		snprintf(buf, size, "no rule; nearest %s %s:%lld allows %s", js(near, "rule"), js(near, "file"),
			 ji(near, "line"), js(near, "allows"));
	else
		snprintf(buf, size, "%s", by_policy ? "no rule" : js(ev, "text"));
}

static void event_text(const json_t *ev, char *buf, size_t size)
{
	char src[160], dst[160], rule[320];
	const char *verdict = strcmp(js(ev, "event"), "flow") == 0 ? "ALLOW" : js(ev, "reason");

	side_text(json_object_get(ev, "src"), src, sizeof(src));
	side_text(json_object_get(ev, "dst"), dst, sizeof(dst));
	rule_text(ev, rule, sizeof(rule));
	snprintf(buf, size, "%-13s %-3s  %s -> %s %s  %s", verdict, js(ev, "dir"), src, dst, js(ev, "proto"), rule);
}

static bool on_line(const json_t *ev, void *arg)
{
	const struct daemon_args *a = arg;
	time_t at = (time_t)ji(ev, "at");
	char text[800], when[16];
	struct tm tm;

	if (a->drops_only && strcmp(js(ev, "event"), "drop") != 0)
		return true;
	if (a->json) {
		json_dumpf(ev, stdout, JSON_COMPACT);
		putchar('\n');
	} else {
		strftime(when, sizeof(when), "%H:%M:%S", localtime_r(&at, &tm));
		event_text(ev, text, sizeof(text));
		printf("%s  %s\n", when, text);
	}
	return fflush(stdout) == 0; /* whoever read us is gone */
}

int cmd_monitor(int argc, char **argv)
{
	struct daemon_args a;
	struct err e = ERR_INIT;
	int ret = daemon_args(argc, argv,
			      "usage: bailey monitor [--drops] [--json]\n"
			      "Prints each new flow and each drop as it happens, until it is stopped.\n"
			      "options: --instance NAME  --socket PATH  --help\n",
			      &a);

	if (ret >= 0)
		return ret;
	if (ctl_follow(a.socket, "/v1/monitor", on_line, &a, &e) < 0) {
		fprintf(stderr, "bailey: %s: %s\n", e.where, e.msg);
		return EXIT_NO;
	}
	return EXIT_YES;
}

struct drop_line {
	char text[800];
	unsigned packets;
	long long last;
};

static void collect(struct drop_line *lines, size_t *n, size_t max, const json_t *ev)
{
	char text[800];
	size_t i;

	event_text(ev, text, sizeof(text));
	for (i = 0; i < *n && strcmp(lines[i].text, text) != 0; i++)
		;
	if (i == max)
		return;
	if (i == *n) {
		memcpy(lines[i].text, text, sizeof(text));
		(*n)++;
	}
	lines[i].packets += 1 + (unsigned)ji(ev, "suppressed");
	lines[i].last = ji(ev, "at");
}

static int compare_last(const void *a, const void *b)
{
	const struct drop_line *x = a, *y = b;

	return (x->last < y->last) - (x->last > y->last);
}

static void print_drops(const json_t *events)
{
	static struct drop_line lines[256];
	const json_t *ev;
	size_t i, n = 0;

	json_array_foreach (events, i, ev)
		if (strcmp(js(ev, "event"), "drop") == 0)
			collect(lines, &n, ARRAY_LEN(lines), ev);
	qsort(lines, n, sizeof(lines[0]), compare_last);
	for (i = 0; i < n; i++)
		printf("%6u  %s  last %llds ago\n", lines[i].packets, lines[i].text,
		       (long long)time(NULL) - lines[i].last);
}

int cmd_drops(int argc, char **argv)
{
	struct daemon_args a;
	json_t *events;
	int ret = daemon_args(argc, argv,
			      "usage: bailey drops [--json]\n"
			      "The last dropped packets (of the daemon's last 256 events), newest first.\n"
			      "options: --instance NAME  --socket PATH  --help\n",
			      &a);

	if (ret >= 0)
		return ret;
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
