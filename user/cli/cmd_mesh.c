// SPDX-License-Identifier: Apache-2.0
/* bailey mesh: what a running bailey-mesh is and does. */
#include <getopt.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "cmds.h"
#include "ctl/client.h"
#include "daemon.h"

#define RUN_DIR "/run/bailey-mesh"

DEFINE_CLEANUP(json, json_t, json_decref)

static const char usage[] =
	"usage: bailey mesh [status|flows|metrics|reload|drain] [--instance NAME | --socket PATH] [--json]\n"
	"  status   what it is, whom it believes, what it counted (the default)\n"
	"  flows    connections: who, where to, which rule, by which way their bytes go\n"
	"  metrics  counters in Prometheus text format\n"
	"  reload   read the configuration, the policy and the certificate again\n"
	"  drain    no new connections; it ends when those that are there have ended\n";

struct mesh_args {
	const char *instance, *command;
	bool json;
	char socket[256];
};

static int fail(const struct err *e)
{
	fprintf(stderr, "bailey: %s: %s\n", e->where, e->msg);
	return EXIT_NO;
}

/* --- status --- */

static void identity_print(const json_t *o)
{
	const json_t *id = json_object_get(o, "identity");

	if (!json_is_object(id)) {
		puts("identity  none yet: clients wait");
		return;
	}
	printf("identity  app %s instance %s%s%s%s\n", js(id, "app_id"), js(id, "instance_id"),
	       json_is_true(json_object_get(id, "simulated")) ? red() : "",
	       json_is_true(json_object_get(id, "simulated")) ? " SIMULATED" : "",
	       json_is_true(json_object_get(id, "simulated")) ? plain() : "");
}

static void trust_print(const json_t *o)
{
	const json_t *trust = json_object_get(o, "trust"), *policy = json_object_get(o, "policy");
	bool is_weaker = json_is_true(json_object_get(trust, "weaker")),
	     is_any = json_is_true(json_object_get(policy, "any"));

	printf("trust     %sby %s: %s%s\n", is_weaker ? red() : "", js(trust, "by"), js(trust, "says"),
	       is_weaker ? plain() : "");
	if (is_any)
		printf("policy    %snone: %s%s\n", red(), js(policy, "says"), plain());
	else
		printf("policy    %lld rules, sha256 %.16s\n", ji(policy, "rules"), js(policy, "sha256"));
}

static void counters_print(const json_t *o)
{
	const json_t *c = json_object_get(o, "counters"), *errors = json_object_get(o, "errors"), *v;
	const char *name;

	printf("now       %lld connections, %lld under way, %lld kept to upstreams, %lld of HTTP/2 with %lld streams "
	       "in\n",
	       ji(c, "connections"), ji(c, "active"), ji(c, "pooled"), ji(c, "sessions"), ji(c, "streams"));
	printf("ever      %lld requests, %lld tunnels, %lld denied, %lld cut\n", ji(c, "requests"), ji(c, "tunnels"),
	       ji(c, "denied"), ji(c, "cuts"));
	printf("TLS       %lld in (%lld resumed), %lld out (%lld resumed), %lld failed\n", ji(c, "handshakes_in"),
	       ji(c, "resumed_in"), ji(c, "handshakes_out"), ji(c, "resumed_out"), ji(c, "handshake_failures"));
	json_object_foreach ((json_t *)errors, name, v)
		printf("error     %s %lld\n", name, (long long)json_integer_value(v));
}

static void paths_print(const json_t *o)
{
	const json_t *paths = json_object_get(o, "paths"), *path;
	const char *name;

	printf("paths     copied");
	json_object_foreach ((json_t *)paths, name, path)
		if (json_is_true(json_object_get(path, "available")))
			printf(", %s", name);
	putchar('\n');
	json_object_foreach ((json_t *)paths, name, path)
		if (!json_is_true(json_object_get(path, "available")))
			printf("no path   %s: %s\n", name, js(path, "why_not"));
}

static void guard_print(const json_t *o)
{
	const json_t *guard = json_object_get(o, "guard");

	if (json_is_true(json_object_get(guard, "available")))
		printf("guard     the kernel stops what is gone: %lld sockets%s\n", ji(guard, "sockets"),
		       json_is_true(json_object_get(guard, "identities"))
			       ? ""
			       : "; by rules alone, client.baileyd is not set");
	else
		printf("guard     none, the workers alone close what is gone: %s\n", js(guard, "why_not"));
}

static void status_print(const json_t *o)
{
	const json_t *list = json_object_get(o, "listen"), *door, *refused = json_object_get(o, "last_refused");
	size_t i;

	printf("mesh      %s%s\n", js(o, "instance"), json_is_true(json_object_get(o, "draining")) ? ", draining" : "");
	identity_print(o);
	trust_print(o);
	json_array_foreach (list, i, door)
		printf("%-9s %s\n", js(door, "kind"), js(door, "listen"));
	paths_print(o);
	guard_print(o);
	counters_print(o);
	if (ji(o, "silent_workers"))
		printf("workers   %s%lld do not answer%s\n", red(), ji(o, "silent_workers"), plain());
	if (refused)
		printf("refused   %s: %s\n", js(refused, "what"), js(refused, "why"));
}

/* --- flows --- */

static void who_print(const char *arrow, const json_t *peer)
{
	if (peer)
		printf("%sapp %.8s/%.8s", arrow, js(peer, "app_id"), js(peer, "instance_id"));
}

static void flow_print(const json_t *f)
{
	printf("%-8s %s", js(f, "path"), js(f, "listener"));
	who_print(" from ", json_object_get(f, "peer"));
	if (json_object_get(f, "captured"))
		printf(", captured %s", js(f, "captured"));
	if (js(f, "upstream")[0])
		printf(" -> %s", js(f, "upstream"));
	who_print(" is ", json_object_get(f, "target"));
	if (json_object_get(f, "streams"))
		printf("  HTTP/2, %lld streams", ji(f, "streams"));
	printf("  %s%s%s%lld up, %lld down, %lld requests, idle %lld ms",
	       json_is_true(json_object_get(f, "tunnel")) ? "tunnel, " : "",
	       json_is_true(json_object_get(f, "stream")) ? "HTTP/2 stream, " : "",
	       json_is_true(json_object_get(f, "pooled"))   ? "kept, "
	       : json_is_true(json_object_get(f, "active")) ? ""
							    : "waiting, ",
	       ji(f, "bytes_up"), ji(f, "bytes_down"), ji(f, "requests"), ji(f, "idle_ms"));
	if (js(f, "rule")[0])
		printf(", rule %s", js(f, "rule"));
	putchar('\n');
}

static void flows_print(const json_t *o)
{
	const json_t *list = json_object_get(o, "flows"), *f;
	size_t i;

	json_array_foreach (list, i, f)
		flow_print(f);
}

/* As rows of `bailey flows`, in which the mesh and its path say where the bytes of a connection go. */
static int flows_list(const char *socket, bool json, struct err *e)
{
	auto_call(cleanup_json) json_t *o = NULL;
	const json_t *list;
	json_t *f;
	size_t i;

	if (ctl_call(socket, "GET", "/v1/flows", &o, e) < 0)
		return e->code;
	list = json_object_get(o, "flows");
	json_array_foreach (list, i, f) {
		if (json) {
			json_object_set_new(f, "mesh", json_string(socket));
			json_dumpf(f, stdout, JSON_COMPACT);
			putchar('\n');
		} else {
			fputs("mesh ", stdout);
			flow_print(f);
		}
	}
	return 0;
}

int mesh_flows(const char *socket, bool json)
{
	struct err e = ERR_INIT;
	glob_t found;

	if (socket)
		return flows_list(socket, json, &e) < 0 ? fail(&e) : EXIT_YES;
	if (glob(RUN_DIR "/*/ctl.sock", 0, NULL, &found) != 0)
		return EXIT_YES;
	for (size_t i = 0; i < found.gl_pathc; i++)
		flows_list(found.gl_pathv[i], json, &e); /* one that has ended has none */
	globfree(&found);
	return EXIT_YES;
}

/* --- commands --- */

static int show(const struct mesh_args *a, const char *path, void (*print)(const json_t *o))
{
	auto_call(cleanup_json) json_t *o = NULL;
	struct err e = ERR_INIT;

	if (ctl_call(a->socket, "GET", path, &o, &e) < 0)
		return fail(&e);
	if (a->json) {
		json_dumpf(o, stdout, JSON_INDENT(2));
		putchar('\n');
	} else {
		print(o);
	}
	return EXIT_YES;
}

static int act(const struct mesh_args *a, const char *path)
{
	auto_call(cleanup_json) json_t *answer = NULL;
	struct err e = ERR_INIT;

	return ctl_post(a->socket, path, NULL, &answer, &e) < 0 ? fail(&e) : EXIT_YES;
}

static int metrics(const struct mesh_args *a)
{
	auto_free char *text = NULL;
	struct err e = ERR_INIT;

	if (ctl_text(a->socket, "/metrics", &text, &e) < 0)
		return fail(&e);
	fputs(text, stdout);
	return EXIT_YES;
}

static int run(const struct mesh_args *a)
{
	if (!a->command || strcmp(a->command, "status") == 0)
		return show(a, "/v1/status", status_print);
	if (strcmp(a->command, "flows") == 0)
		return show(a, "/v1/flows", flows_print);
	if (strcmp(a->command, "metrics") == 0)
		return metrics(a);
	if (strcmp(a->command, "reload") == 0)
		return act(a, "/v1/reload");
	return act(a, "/v1/drain");
}

static bool is_command(const char *name)
{
	static const char *const known[] = { "status", "flows", "metrics", "reload", "drain" };

	for (size_t i = 0; i < ARRAY_LEN(known); i++)
		if (strcmp(name, known[i]) == 0)
			return true;
	return false;
}

int cmd_mesh(int argc, char **argv)
{
	static const struct option options[] = { { "instance", required_argument, NULL, 'i' },
						 { "socket", required_argument, NULL, 's' },
						 { "json", no_argument, NULL, 'j' },
						 { "help", no_argument, NULL, 'h' },
						 { 0 } };
	struct mesh_args a = { 0 };
	struct err e = ERR_INIT;
	int c;

	optind = 1;
	while ((c = getopt_long(argc, argv, "i:s:jh", options, NULL)) != -1) {
		if (c == 'i')
			a.instance = optarg;
		else if (c == 's')
			snprintf(a.socket, sizeof(a.socket), "%s", optarg);
		else if (c == 'j')
			a.json = true;
		else {
			fputs(usage, c == 'h' ? stdout : stderr);
			return c == 'h' ? EXIT_YES : EXIT_USAGE;
		}
	}
	if (optind < argc)
		a.command = argv[optind++];
	if (optind < argc || (a.command && !is_command(a.command))) {
		fputs(usage, stderr);
		return EXIT_USAGE;
	}
	if (!a.socket[0] && ctl_socket_below(RUN_DIR, "bailey-mesh", a.instance, a.socket, sizeof(a.socket), &e) < 0)
		return fail(&e);
	return run(&a);
}
