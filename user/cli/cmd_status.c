// SPDX-License-Identifier: Apache-2.0
/* bailey status, metrics: the daemon's answers for people. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "cmds.h"
#include "ctl/client.h"
#include "daemon.h"
#include "workload.h"

#define COMMON_OPTIONS "options: --instance NAME  --socket PATH  --help\n"

static void print_json(const json_t *o)
{
	json_dumpf(o, stdout, JSON_INDENT(2));
	putchar('\n');
}

static const char *mark(const json_t *o)
{
	return json_is_true(json_object_get(o, "simulated")) ? "SIMULATED" : "";
}

/* "12 d", "5 h", "7 min", "40 s": the largest unit that is there twice. */
static const char *duration(long long seconds, char buf[32])
{
	static const struct {
		const char *name;
		long long s;
	} units[] = { { "d", 86400 }, { "h", 3600 }, { "min", 60 }, { "s", 1 } };
	size_t i = 0;

	while (i + 1 < ARRAY_LEN(units) && seconds < 2 * units[i].s)
		i++;
	snprintf(buf, 32, "%lld %s", seconds / units[i].s, units[i].name);
	return buf;
}

/* How long what was proved is still good, and what was proved. */
static void print_evidence(const json_t *o)
{
	const json_t *ago = json_object_get(o, "proved_s_ago");
	long long left = ji(o, "evidence_expires_in_s");
	char text[32];

	if (!json_object_get(o, "evidence_expires_in_s"))
		return;
	if (left < 0)
		printf("%sevidence ended%s", red(), plain());
	else
		printf("evidence %s left", duration(left, text));
	if (ago)
		printf(", %s proved %s ago", js(o, "freshness"), duration((long long)json_integer_value(ago), text));
}

/* The app's name in the policy, or the start of its id. */
static const char *app_label(const json_t *o, char buf[16])
{
	const char *name = js(o, "app");

	if (*name)
		return name;
	snprintf(buf, 16, "%.12s", js(o, "app_id"));
	return buf;
}

static void print_addrs(const json_t *list)
{
	const json_t *item;
	size_t i;

	json_array_foreach (list, i, item)
		printf("%s%s", i ? " " : "", json_string_value(item));
}

static void print_audit(const json_t *policy)
{
	const json_t *list = json_object_get(policy, "audit"), *o;
	long long more = ji(policy, "audit_rules") - (long long)json_array_size(list);
	size_t i;

	json_array_foreach (list, i, o)
		printf("%s%s %s", i ? ", " : "          in audit mode, drops nothing: ", js(o, "name"), js(o, "where"));
	if (more > 0)
		printf(", and %lld more", more);
	if (json_array_size(list))
		putchar('\n');
}

static void print_policy(const json_t *policy)
{
	const json_t *left = json_object_get(policy, "confirm_in_s"), *previous = json_object_get(policy, "previous");
	char more[32] = "";

	if (ji(policy, "files") > 1)
		snprintf(more, sizeof(more), " and %lld more", ji(policy, "files") - 1);
	printf("policy    %s%s (%s), %lld rules, generation %lld, %.12s\n", js(policy, "file"), more,
	       js(policy, "origin"), ji(policy, "rules"), ji(policy, "generation"), js(policy, "digest"));
	print_audit(policy);
	if (left)
		printf("          %snot confirmed%s: back to %.12s in %lld s\n", red(), plain(), js(previous, "digest"),
		       (long long)json_integer_value(left));
	if (*js(policy, "last_refusal"))
		printf("          %slast one refused%s, this one decides: %s\n", red(), plain(),
		       js(policy, "last_refusal"));
}

/* A mesh is not worth a word. */
static void print_topology(const json_t *overlay)
{
	const json_t *wg = json_object_get(overlay, "wireguard");

	if (strcmp(js(overlay, "topology"), "hub") == 0)
		printf(", a hub: forwards, opens nothing");
	else if (strcmp(js(overlay, "topology"), "spoke") == 0 && *js(overlay, "hub"))
		printf(", a spoke of %s", js(overlay, "hub"));
	else if (strcmp(js(overlay, "topology"), "spoke") == 0)
		printf(", a spoke %swithout a hub%s", red(), plain());
	if (json_is_true(json_object_get(wg, "lazy")))
		printf(", WireGuard has %lld peers, %lld are asleep", ji(wg, "configured"), ji(wg, "asleep"));
	putchar('\n');
}

static void print_key(const json_t *key)
{
	printf("key       %lld s old", ji(key, "age_s"));
	if (*js(key, "phase"))
		printf(", being rotated for %lld s: %s, %lld nodes to go", ji(key, "phase_s"), js(key, "phase"),
		       ji(key, "waiting"));
	else if (json_object_get(key, "next_s"))
		printf(", rotated in %lld s", ji(key, "next_s"));
	if (*js(key, "trouble"))
		printf(", %s%s%s", red(), js(key, "trouble"), plain());
	putchar('\n');
}

static void print_self(const json_t *s)
{
	const json_t *overlay = json_object_get(s, "overlay"), *policy = json_object_get(s, "policy");
	const json_t *dp = json_object_get(s, "datapath");
	char app[16];

	printf("node      %s (instance %s), app %s %s%s%s\n", js(s, "node"), js(s, "instance"), app_label(s, app),
	       red(), mark(s), plain());
	if (json_object_get(s, "evidence_expires_in_s")) {
		printf("identity  ");
		print_evidence(s);
		printf("; peers prove freshness: %s\n", js(s, "freshness_demanded"));
	}
	printf("overlay   %s, %s, ", js(overlay, "interface"),
	       *js(overlay, "backend") ? js(overlay, "backend") : "net does not answer");
	print_addrs(json_object_get(overlay, "addresses"));
	print_topology(overlay);
	print_key(json_object_get(overlay, "key"));
	print_policy(policy);
	if (json_is_object(dp))
		printf("datapath  %s, %lld identities, %lld flows, passed %lld in %lld out, %lld events lost\n",
		       js(dp, "attach"), ji(dp, "identities"), ji(dp, "flows"), ji(dp, "passed_in"),
		       ji(dp, "passed_out"), ji(dp, "events_lost"));
	else
		printf("datapath  %snet process does not answer%s; the kernel goes on with what is pinned\n", red(),
		       plain());
}

static void print_underlay(const json_t *u)
{
	if (!json_is_object(u))
		return;
	if (!json_object_get(u, "attach")) {
		printf("underlay  %s\n", js(u, "interface"));
		return;
	}
	printf("underlay  %s, %s, %lld flows, passed %lld in %lld out, %lld events lost\n", js(u, "interface"),
	       js(u, "attach"), ji(u, "flows"), ji(u, "passed_in"), ji(u, "passed_out"), ji(u, "events_lost"));
	if (*js(u, "not_better"))
		printf("          %s\n", js(u, "not_better"));
	if (*js(u, "no_cookies"))
		printf("          no SYN cookies: %s\n", js(u, "no_cookies"));
}

static void print_capture(const json_t *c)
{
	if (json_is_object(c))
		printf("capture   %lld cgroups, %lld devices, %lld networks and ports: %lld connections to the proxy "
		       "now, %lld TCP "
		       "and %lld "
		       "UDP in all\n",
		       ji(c, "cgroups"), ji(c, "devices"), ji(c, "networks"), ji(c, "connections"), ji(c, "tcp"),
		       ji(c, "udp"));
}

static void print_peer(const json_t *p)
{
	const json_t *age = json_object_get(p, "handshake_age_s");
	char seen[32] = "no handshake", app[16], left[32];

	if (age)
		snprintf(seen, sizeof(seen), "handshake %lld s ago", (long long)json_integer_value(age));
	else if (json_is_false(json_object_get(p, "configured")))
		snprintf(seen, sizeof(seen), "asleep");
	if (*js(p, "via"))
		snprintf(seen, sizeof(seen), "via %.27s", js(p, "via"));
	printf("  %-12s app %-12s ", js(p, "node"), app_label(p, app));
	print_addrs(json_object_get(p, "addresses"));
	printf("  %s  %s, record %s left, ", js(p, "endpoint"), seen, duration(ji(p, "expires_in_s"), left));
	print_evidence(p);
	printf(" %s%s%s\n", red(), mark(p), plain());
}

static void print_peers(const json_t *list)
{
	const json_t *p;
	size_t i;

	printf("peers     %zu verified\n", json_array_size(list));
	json_array_foreach (list, i, p)
		print_peer(p);
}

static void print_workloads(const json_t *list)
{
	const json_t *w;
	size_t i;

	if (json_array_size(list))
		printf("workloads behind this host\n");
	json_array_foreach (list, i, w)
		print_workload(w);
}

static void print_counters(const json_t *drops, const json_t *rules, const char *interface)
{
	const json_t *o;
	size_t i;

	if (json_array_size(rules))
		printf("rules     on %s: packets that a rule decided (first of a flow, or denied)\n", interface);
	json_array_foreach (rules, i, o)
		printf("  %10lld  %-24s %s%s\n", ji(o, "packets"), js(o, "name"), js(o, "where"),
		       *js(o, "mode") ? "  audit: would have been dropped" : "");
	if (json_array_size(drops))
		printf("drops     on %s\n", interface);
	json_array_foreach (drops, i, o)
		printf("  %10lld  %-14s %-3s  %s\n", ji(o, "packets"), js(o, "reason"), js(o, "dir"), js(o, "text"));
}

static void print_collateral(const json_t *o)
{
	long long days = ji(o, "days");

	if (!json_is_object(o))
		return;
	printf("collateral %lld bundles", ji(o, "bundles"));
	if (ji(o, "bundles"))
		printf(", %s%lld days left%s", days < 0 ? red() : "", days, days < 0 ? plain() : "");
	printf(", %lld fetched, %lld failed\n", ji(o, "fetched"), ji(o, "failed"));
	if (*js(o, "last_failure"))
		printf("          %slast fetch failed%s: %s\n", red(), plain(), js(o, "last_failure"));
}

static void print_refusals(const json_t *list)
{
	const json_t *r;
	size_t i;

	if (json_array_size(list))
		printf("refused   certificates, records and connections\n");
	json_array_foreach (list, i, r) {
		printf("  %4lldx %-18s %s, %lld s ago\n", ji(r, "times"), *js(r, "reason") ? js(r, "reason") : "-",
		       js(r, "origin"), ji(r, "age_s"));
		printf("        %s: %s\n", js(r, "where"), js(r, "text"));
	}
}

static void print_vpc(const json_t *o)
{
	bool is_up = json_is_true(json_object_get(o, "connected"));
	char text[32];

	if (!json_is_object(o))
		return;
	printf("network   %.12s, control plane %s %s%s%s", js(o, "network"), js(o, "server"), is_up ? "" : red(),
	       is_up ? "connected" : "NOT CONNECTED", is_up ? "" : plain());
	if (json_object_get(o, "since_s"))
		printf(" for %s", duration(ji(o, "since_s"), text));
	printf(", change %lld, %lld revoked\n", ji(o, "serial"), ji(o, "revoked"));
}

static void print_dns(const json_t *o)
{
	if (!json_is_object(o))
		return;
	printf("names     .%s, %lld nodes, %lld queries, %lld forwarded, %lld dropped, this host's resolver: %s\n",
	       js(o, "suffix"), ji(o, "names"), ji(o, "queries"), ji(o, "forwarded"), ji(o, "dropped"),
	       js(o, "resolver"));
	if (!json_is_true(json_object_get(o, "running")))
		printf("          %snobody answers%s: the dns process does not run\n", red(), plain());
	if (*js(o, "error"))
		printf("          %s%s%s\n", red(), js(o, "error"), plain());
}

static void print_all(const json_t *s)
{
	const json_t *underlay = json_object_get(s, "underlay");

	print_self(s);
	print_underlay(underlay);
	print_capture(json_object_get(s, "capture"));
	print_vpc(json_object_get(s, "vpc"));
	print_dns(json_object_get(s, "dns"));
	print_peers(json_object_get(s, "peers"));
	print_workloads(json_object_get(s, "workloads"));
	print_collateral(json_object_get(s, "collateral"));
	print_counters(json_object_get(json_object_get(s, "datapath"), "drops"), json_object_get(s, "rules"),
		       js(json_object_get(s, "overlay"), "interface"));
	print_counters(json_object_get(underlay, "drops"), json_object_get(underlay, "rules"),
		       js(underlay, "interface"));
	print_refusals(json_object_get(s, "refusals"));
}

/* `part` of the daemon's status, or all of it (NULL). */
static int show(int argc, char **argv, const char *usage, const char *part, void (*print)(const json_t *))
{
	struct daemon_args a;
	const json_t *shown;
	json_t *s;
	int ret = daemon_args(argc, argv, usage, &a);

	if (ret >= 0)
		return ret;
	s = daemon_call(&a, "GET", "/v1/status");
	if (!s)
		return EXIT_NO;
	shown = part ? json_object_get(s, part) : s;
	if (a.json)
		print_json(shown);
	else
		print(shown);
	json_decref(s);
	return EXIT_YES;
}

int cmd_status(int argc, char **argv)
{
	return show(argc, argv, "usage: bailey status [--json]\n" COMMON_OPTIONS, NULL, print_all);
}

int cmd_peers(int argc, char **argv)
{
	return show(argc, argv, "usage: bailey peers [--json]\n" COMMON_OPTIONS, "peers", print_peers);
}

int cmd_metrics(int argc, char **argv)
{
	struct daemon_args a;
	struct err e = ERR_INIT;
	auto_free char *text = NULL;
	int ret = daemon_args(argc, argv, "usage: bailey metrics\n" COMMON_OPTIONS, &a);

	if (ret >= 0)
		return ret;
	if (ctl_text(a.socket, "/metrics", &text, &e) < 0) {
		fprintf(stderr, "bailey: %s: %s\n", e.where, e.msg);
		return EXIT_NO;
	}
	fputs(text, stdout);
	return EXIT_YES;
}
