// SPDX-License-Identifier: Apache-2.0
/* bailey ping: whether a verified node answers over the overlay, how soon, by which path, and how long packets may be.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"
#include "cmds.h"
#include "daemon.h"
#include "ping.h"

#define COUNT         3
#define COUNT_MAX     1000
#define TIMEOUT_MS    1000
#define PROBE_MS      400
#define PROBE_TRIES   2
#define BETWEEN_NS    200000000
#define INSTANCE_PART 8
#define MTU4_MIN      576
#define MTU6_MIN      1280

static const char usage[] = "usage: bailey ping NODE [--count N] [--json]\n"
			    "NODE is a verified node's name, instance-id (8 digits or more) or overlay address.\n"
			    "options: --instance NAME  --socket PATH  --help\n";

DEFINE_CLEANUP(json, json_t, json_decref)

struct result {
	int64_t rtt[COUNT_MAX]; /* microseconds, of those that were answered, sorted at the end */
	unsigned sent, answered;
	unsigned mtu; /* the longest packet that is answered; 0: not known */
};

/* --- who is meant --- */

static bool has_address(const json_t *peer, const struct by_addr *addr)
{
	const json_t *item;
	struct by_addr one;
	size_t i;

	json_array_foreach (json_object_get(peer, "addresses"), i, item)
		if (addr_parse(&one, json_string_value(item)) && addr_equal(&one, addr))
			return true;
	return false;
}

static bool is_self(const json_t *status, const char *node, const struct by_addr *addr)
{
	return addr ? has_address(json_object_get(status, "overlay"), addr) : strcmp(js(status, "node"), node) == 0;
}

/* The peer that `node` names, and the address to ask. */
static const json_t *peer_find(const json_t *status, const char *node, struct by_addr *addr)
{
	bool is_address = addr_parse(addr, node);
	const json_t *peers = json_object_get(status, "peers"), *peer, *found = NULL;
	size_t i;

	json_array_foreach (peers, i, peer) {
		if (is_address ? has_address(peer, addr)
			       : strcmp(js(peer, "node"), node) == 0 ||
					 (strlen(node) >= INSTANCE_PART &&
					  strncmp(js(peer, "instance_id"), node, strlen(node)) == 0)) {
			if (found) {
				fprintf(stderr, "bailey ping: %s: more than one node has this name: give an address\n",
					node);
				return NULL;
			}
			found = peer;
		}
	}
	if (!found)
		fprintf(stderr, "bailey ping: %s: %s\n", node,
			is_self(status, node, is_address ? addr : NULL) ? "is this node itself"
									: "this node has verified no such node");
	else if (!is_address &&
		 !addr_parse(addr, json_string_value(json_array_get(json_object_get(found, "addresses"), 0))))
		return NULL;
	return found;
}

/* Whom packets to it are handed to: a spoke's hub, else itself. */
static const json_t *way_to(const json_t *status, const json_t *peer)
{
	const json_t *peers = json_object_get(status, "peers"), *o;
	size_t i;

	json_array_foreach (peers, i, o)
		if (*js(peer, "via") && strcmp(js(o, "node"), js(peer, "via")) == 0)
			return o;
	return peer;
}

static bool is_asleep(const json_t *status, const json_t *peer)
{
	return json_is_false(json_object_get(way_to(status, peer), "configured"));
}

static const char *endpoint_of(const json_t *status, const json_t *peer, const char *without)
{
	const char *endpoint = js(way_to(status, peer), "endpoint");

	if (*endpoint)
		return endpoint;
	return is_asleep(status, peer) ? "where its record says: asleep until somebody talks to it" : without;
}

/* --- asking --- */

static int by_size(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return x < y ? -1 : x > y;
}

static void ask(struct ping *p, struct result *r, unsigned count, bool is_json)
{
	const struct timespec between = { .tv_nsec = BETWEEN_NS };

	for (; r->sent < count; r->sent++) {
		int64_t us = ping_once(p, ping_size_min(p) + 48, TIMEOUT_MS);

		if (us >= 0)
			r->rtt[r->answered++] = us;
		if (!is_json && us >= 0)
			printf("%u  %.3f ms\n", r->sent + 1, (double)us / 1000);
		else if (!is_json)
			printf("%u  %s\n", r->sent + 1, us == -ETIMEDOUT ? "no answer" : strerror((int)-us));
		fflush(stdout);
		if (us >= 0 && r->sent + 1 < count)
			nanosleep(&between, NULL);
	}
	qsort(r->rtt, r->answered, sizeof(r->rtt[0]), by_size);
}

static bool passes(struct ping *p, unsigned size)
{
	for (unsigned i = 0; i < PROBE_TRIES; i++)
		if (ping_once(p, size, PROBE_MS) >= 0)
			return true;
	return false;
}

/* The device's own is what it should be; else half by half. */
static unsigned mtu_find(struct ping *p, unsigned mtu)
{
	unsigned good = p->is_ip4 ? MTU4_MIN : MTU6_MIN, bad = mtu;

	if (passes(p, mtu))
		return mtu;
	if (good >= mtu || !passes(p, good))
		return 0;
	while (bad - good > 1) {
		unsigned middle = good + (bad - good) / 2;

		if (passes(p, middle))
			good = middle;
		else
			bad = middle;
	}
	return good;
}

/* --- saying --- */

/* This node's own policy, asked of the loaded programs: the other's word is not heard from here. */
static void explain_silence(struct daemon_args *a, const json_t *status, const json_t *peer, bool is_ip4)
{
	auto_call(cleanup_json) json_t *answer = NULL;
	const json_t *one, *rule;

	a->query[0] = '\0';
	query_add(a, "from", js(status, "node"));
	query_add(a, "to", js(peer, "node"));
	query_add(a, "port", is_ip4 ? "icmp/8" : "icmpv6/128");
	answer = daemon_call(a, "GET", "/v1/policy/ask");
	one = json_array_get(json_object_get(answer, "answers"), 0);
	rule = json_object_get(one, "rule");
	if (strcmp(js(one, "action"), "deny") == 0)
		printf("this node's own policy denies it: %s%s%s\n", js(one, "reason"),
		       json_is_object(rule) ? ", rule " : "", js(rule, "name"));
	else if (is_asleep(status, peer))
		printf("%s was asleep and may be on its way now: ask again\n", js(way_to(status, peer), "node"));
	else if (!*endpoint_of(status, peer, ""))
		printf("%s says no endpoint, so it has to dial this node, and has not: one of the two needs "
		       "overlay.endpoints\n",
		       js(way_to(status, peer), "node"));
	else if (!json_object_get(way_to(status, peer), "handshake_age_s"))
		printf("there never was a WireGuard handshake with %s: the path to %s is cut, or it does not know "
		       "this node\n",
		       js(way_to(status, peer), "node"), endpoint_of(status, peer, ""));
	else
		printf("this node's policy allows it, and the last handshake was %lld s ago: its own policy may deny "
		       "%s\n",
		       ji(way_to(status, peer), "handshake_age_s"), is_ip4 ? "icmp/8" : "icmpv6/128");
}

static void tell(const struct result *r, const json_t *overlay)
{
	printf("%u of %u answered", r->answered, r->sent);
	if (r->answered)
		printf(", %.3f/%.3f/%.3f ms (least, median, most)", (double)r->rtt[0] / 1000,
		       (double)r->rtt[r->answered / 2] / 1000, (double)r->rtt[r->answered - 1] / 1000);
	putchar('\n');
	if (!r->answered)
		return;
	if (!r->mtu)
		printf("mtu: no longer packet is answered\n");
	else if (r->mtu == ji(overlay, "mtu"))
		printf("mtu %u, all of %s's\n", r->mtu, js(overlay, "interface"));
	else
		printf("%smtu %u%s, less than the %lld of %s: set overlay.mtu to it\n", red(), r->mtu, plain(),
		       ji(overlay, "mtu"), js(overlay, "interface"));
}

static void tell_json(const struct result *r, const json_t *status, const json_t *peer, const char *addr)
{
	const json_t *overlay = json_object_get(status, "overlay");
	auto_call(cleanup_json) json_t *o =
		json_pack("{s:s, s:s, s:s, s:s, s:s, s:i, s:i}", "node", js(peer, "node"), "address", addr, "path",
			  js(way_to(status, peer), "endpoint"), "via", js(peer, "via"), "interface",
			  js(overlay, "interface"), "sent", (int)r->sent, "answered", (int)r->answered);

	if (r->answered) {
		json_object_set_new(o, "rtt_us",
				    json_pack("{s:I, s:I, s:I}", "least", (json_int_t)r->rtt[0], "median",
					      (json_int_t)r->rtt[r->answered / 2], "most",
					      (json_int_t)r->rtt[r->answered - 1]));
		json_object_set_new(o, "mtu", r->mtu ? json_integer(r->mtu) : json_null());
	}
	if (json_object_get(way_to(status, peer), "handshake_age_s"))
		json_object_set(o, "handshake_age_s", json_object_get(way_to(status, peer), "handshake_age_s"));
	json_dumpf(o, stdout, JSON_INDENT(2));
	putchar('\n');
}

static int ping(struct daemon_args *a, const json_t *status, const char *node)
{
	const json_t *overlay = json_object_get(status, "overlay"), *peer;
	struct ping p = { .fd = -1 };
	struct err e = ERR_INIT;
	struct by_addr addr;
	char text[ADDR_TEXT];
	static struct result r;

	peer = peer_find(status, node, &addr);
	if (!peer)
		return EXIT_NO;
	if (ping_open(&addr, &p, &e) < 0) {
		fprintf(stderr, "bailey ping: %s\n", e.msg);
		return EXIT_NO;
	}
	addr_print(&addr, text);
	if (!a->json)
		printf("%s at %s, path %s%s%s to %s\n", js(peer, "node"), text, js(overlay, "interface"),
		       *js(peer, "via") ? " and hub " : "", js(peer, "via"),
		       endpoint_of(status, peer, "nowhere: it has no endpoint and never came"));
	ask(&p, &r, a->count ? a->count : COUNT, a->json);
	if (r.answered)
		r.mtu = mtu_find(&p, (unsigned)ji(overlay, "mtu"));
	ping_close(&p);
	if (a->json)
		tell_json(&r, status, peer, text);
	else
		tell(&r, overlay);
	if (!r.answered && !a->json)
		explain_silence(a, status, peer, addr_is_v4(&addr));
	return r.answered ? EXIT_YES : EXIT_NO;
}

static int misused(void)
{
	fputs(usage, stderr);
	return EXIT_USAGE;
}

int cmd_ping(int argc, char **argv)
{
	auto_call(cleanup_json) json_t *status = NULL;
	struct daemon_args a;
	bool has_node = argc > 1 && argv[1][0] != '-';
	int ret;

	if (argc == 1)
		return misused();
	ret = daemon_args_take(argc - has_node, argv + has_node, usage, TAKES_COUNT, &a);
	if (ret >= 0)
		return ret;
	if (!has_node || a.count > COUNT_MAX)
		return misused();
	status = daemon_call(&a, "GET", "/v1/status");
	return status ? ping(&a, status, argv[1]) : EXIT_NO;
}
