// SPDX-License-Identifier: Apache-2.0
/* bailey node: the members of a network, asked of its control plane. */
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "cmds.h"
#include "ctl/client.h"
#include "daemon.h"

#define SOCKET "/run/bailey-vpc/ctl.sock"

static const char usage[] =
	"usage: bailey node list [--json]\n"
	"       bailey node show NODE\n"
	"       bailey node approve NODE    a member, from now on or again\n"
	"       bailey node revoke NODE     no member any more: every node drops its packets at once\n"
	"  Those on the host of bailey-vpc (--socket PATH, default " SOCKET ").\n"
	"       bailey node add FILE...     records that baileyd verifies and keeps, or refuses\n"
	"       bailey node remove NODE     whose packets are dropped from now on, and its records refused\n"
	"       bailey node readmit INSTANCE\n"
	"  Those of the baileyd on this machine, without a control plane (--instance NAME, --socket PATH).\n"
	"NODE is a name, an instance-id, or its first 8 digits and more. As root.\n";

struct request {
	const char *socket;
	bool json;
	const char *verb, *node;
};

/* -1 to go on, else the exit status. */
static int request_read(int argc, char **argv, struct request *r)
{
	static const struct option options[] = { { "socket", required_argument, NULL, 's' },
						 { "json", no_argument, NULL, 'j' },
						 { "help", no_argument, NULL, 'h' },
						 { 0 } };
	int c;

	optind = 1;
	while ((c = getopt_long(argc, argv, "s:jh", options, NULL)) != -1) {
		if (c == 's') {
			r->socket = optarg;
		} else if (c == 'j') {
			r->json = true;
		} else {
			fputs(usage, c == 'h' ? stdout : stderr);
			return c == 'h' ? EXIT_YES : EXIT_USAGE;
		}
	}
	r->verb = optind < argc ? argv[optind++] : "";
	r->node = optind < argc ? argv[optind++] : NULL;
	return optind == argc ? -1 : EXIT_USAGE;
}

static int failed(const struct err *e)
{
	fprintf(stderr, "bailey: %s: %s\n", e->where, e->msg);
	return EXIT_NO;
}

static void print_one(const json_t *n)
{
	const json_t *addrs = json_object_get(n, "addresses"), *o;
	bool is_bad = strcmp(js(n, "state"), "revoked") == 0;
	size_t i;

	printf("%-16s %s%-8s%s %-4s ", *js(n, "node") ? js(n, "node") : "-", is_bad ? red() : "", js(n, "state"),
	       is_bad ? plain() : "", json_is_true(json_object_get(n, "connected")) ? "up" : "down");
	json_array_foreach (addrs, i, o)
		printf("%s%s", i ? " " : "", json_string_value(o));
	printf("  app %.12s  instance %.12s", js(n, "app_id"), js(n, "instance_id"));
	if (ji(n, "expires_in_s") >= 0 && !is_bad)
		printf("  %lld s left", ji(n, "expires_in_s"));
	printf(" %s%s%s\n", red(), json_is_true(json_object_get(n, "simulated")) ? "SIMULATED" : "", plain());
}

static bool is_meant(const json_t *n, const char *node)
{
	return strcmp(js(n, "node"), node) == 0 ||
	       (strlen(node) >= 8 && strncmp(js(n, "instance_id"), node, strlen(node)) == 0);
}

static int show(const struct request *r, const json_t *nodes)
{
	const json_t *n;
	size_t i;

	json_array_foreach (nodes, i, n) {
		if (!is_meant(n, r->node))
			continue;
		json_dumpf(n, stdout, JSON_INDENT(2));
		putchar('\n');
		return EXIT_YES;
	}
	fprintf(stderr, "bailey: %s: there is no such node\n", r->node);
	return EXIT_NO;
}

static int list(const struct request *r)
{
	json_t *answer = NULL;
	const json_t *nodes, *n;
	struct err e = ERR_INIT;
	int ret = EXIT_YES;
	size_t i;

	if (ctl_call(r->socket, "GET", "/v1/nodes", &answer, &e) < 0)
		return failed(&e);
	nodes = json_object_get(answer, "nodes");
	if (r->node)
		ret = show(r, nodes);
	else if (r->json && json_dumpf(nodes, stdout, JSON_INDENT(2)) == 0)
		putchar('\n');
	json_array_foreach (nodes, i, n)
		if (!r->node && !r->json)
			print_one(n);
	json_decref(answer);
	return ret;
}

static int set(const struct request *r, const char *path)
{
	json_t *body = json_pack("{s:s}", "node", r->node), *answer = NULL;
	struct err e = ERR_INIT;
	int ret = ctl_post(r->socket, path, body, &answer, &e);

	json_decref(body);
	if (ret == 0)
		printf("%s: %s, instance %s\n", r->node, strcmp(r->verb, "revoke") == 0 ? "revoked" : "approved",
		       js(answer, "instance_id"));
	json_decref(answer);
	return ret < 0 ? failed(&e) : EXIT_YES;
}

int cmd_node(int argc, char **argv)
{
	struct request r = { .socket = SOCKET };
	int ret;

	if (argc > 1 && cmd_node_is_static(argv[1]))
		return cmd_node_static(argc - 1, argv + 1);
	ret = request_read(argc, argv, &r);
	if (ret == EXIT_YES)
		return ret;
	if (ret == -1 && strcmp(r.verb, "list") == 0 && !r.node)
		return list(&r);
	if (ret == -1 && strcmp(r.verb, "show") == 0 && r.node)
		return list(&r);
	if (ret == -1 && strcmp(r.verb, "revoke") == 0 && r.node)
		return set(&r, "/v1/nodes/revoke");
	if (ret == -1 && strcmp(r.verb, "approve") == 0 && r.node)
		return set(&r, "/v1/nodes/approve");
	fputs(usage, stderr);
	return EXIT_USAGE;
}
