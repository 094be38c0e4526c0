// SPDX-License-Identifier: Apache-2.0
/* bailey monitor: the datapath's events in words, as they happen. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"
#include "cmds.h"
#include "daemon.h"

void side_text(const json_t *side, char *buf, size_t size)
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

/* ", but the sender's tcb is OutOfDate": which claims keep the nearest rule from covering a packet. */
static void needs_text(const json_t *needs, char *buf, size_t size)
{
	size_t i, len = 0;
	const json_t *one;

	buf[0] = '\0';
	json_array_foreach (needs, i, one) {
		const char *has = js(one, "has");

		len += (size_t)snprintf(buf + len, size - len, "%s the %s's %s is %s", i ? " and" : ", but",
					strcmp(js(one, "side"), "to") == 0 ? "receiver" : "sender", js(one, "claim"),
					*has ? has : "unknown");
		if (len >= size)
			return;
	}
}

void nearest_text(const json_t *ev, char *buf, size_t size)
{
	const json_t *near = json_object_get(ev, "nearest");
	char needs[256];

	needs_text(json_object_get(near, "needs"), needs, sizeof(needs));
	buf[0] = '\0';
	if (near)
		snprintf(buf, size, "nearest %s %s:%lld allows %s%s", js(near, "rule"), js(near, "file"),
			 ji(near, "line"), js(near, "allows"), needs);
}

/* Which rule decided, or which comes nearest when none did. */
void rule_text(const json_t *ev, char *buf, size_t size)
{
	bool by_policy = strcmp(js(ev, "reason"), "POLICY_DENY") == 0;
	char near[512];

	nearest_text(ev, near, sizeof(near));
	if (*js(ev, "rule"))
		snprintf(buf, size, "%s %s%s%s", js(ev, "rule"), js(ev, "where"),
			 by_policy || !*js(ev, "text") ? "" : ": ", by_policy ? "" : js(ev, "text"));
	else if (*near)
		snprintf(buf, size, "no rule; %s", near);
	else
		snprintf(buf, size, "%s", by_policy ? "no rule" : js(ev, "text"));
}

static const char *verdict_of(const json_t *ev)
{
	if (strcmp(js(ev, "event"), "flow") == 0)
		return "ALLOW";
	return strcmp(js(ev, "event"), "audit") == 0 ? "WOULD-DROP" : js(ev, "reason");
}

/* What nobody will see, and where it was lost. */
static void loss_text(const json_t *ev, char *buf, size_t size)
{
	snprintf(buf, size,
		 "LOST          %s: %lld events in the kernel, %lld on the way, %lld that this reader left unread",
		 *js(ev, "interface") ? js(ev, "interface") : "monitor", ji(ev, "kernel"), ji(ev, "net"),
		 ji(ev, "unread"));
}

void event_text(const json_t *ev, char *buf, size_t size)
{
	char src[160], dst[160], rule[576];

	if (strcmp(js(ev, "event"), "loss") == 0) {
		loss_text(ev, buf, size);
		return;
	}
	side_text(json_object_get(ev, "src"), src, sizeof(src));
	side_text(json_object_get(ev, "dst"), dst, sizeof(dst));
	rule_text(ev, rule, sizeof(rule));
	snprintf(buf, size, "%-13s %-3s  %s -> %s %s on %s  %s", verdict_of(ev), js(ev, "dir"), src, dst,
		 js(ev, "proto"), js(ev, "interface"), rule);
}

struct watch {
	const struct daemon_args *args;
	unsigned seen;
};

static bool on_line(const json_t *ev, void *arg)
{
	struct watch *w = arg;
	time_t at = (time_t)ji(ev, "at");
	char text[1056], when[16];
	struct tm tm;

	if (w->args->json) {
		json_dumpf(ev, stdout, JSON_COMPACT);
		putchar('\n');
	} else {
		strftime(when, sizeof(when), "%H:%M:%S", localtime_r(&at, &tm));
		event_text(ev, text, sizeof(text));
		printf("%s  %s\n", when, text);
	}
	if (fflush(stdout) != 0) /* whoever read us is gone */
		return false;
	if (strcmp(js(ev, "event"), "loss") != 0)
		w->seen++;
	return !w->args->count || w->seen < w->args->count;
}

int cmd_monitor(int argc, char **argv)
{
	struct daemon_args a;
	struct watch w = { .args = &a };
	int ret = daemon_args_take(
		argc, argv,
		"usage: bailey monitor [--drops] [--audit] [--from WHO] [--to WHO] [--port tcp/22]\n"
		"                      [--reason NAME] [--interface NAME] [--count N] [--json]\n"
		"Prints each new flow, each drop and what audit rules would drop, as it happens, until it\n"
		"is stopped or has printed N. WHO is a node, an app, an address or a prefix.\n"
		"options: --instance NAME  --socket PATH  --help\n",
		TAKES_DROPS | TAKES_AUDIT | TAKES_SIDES | TAKES_REASON | TAKES_COUNT, &a);

	return ret >= 0 ? ret : daemon_follow(&a, "/v1/monitor", on_line, &w);
}
