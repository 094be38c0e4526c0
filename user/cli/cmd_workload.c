// SPDX-License-Identifier: Apache-2.0
/* bailey workload: the machines behind this host. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "cmds.h"
#include "ctl/client.h"
#include "daemon.h"
#include "workload.h"

static const char usage[] =
	"usage: bailey workload list [--json]\n"
	"       bailey workload add NAME INTERFACE INSTANCE-ID [--mac MAC] [--vlan TAG[,INNER]]\n"
	"       bailey workload remove NAME\n"
	"INTERFACE is the tap, veth or bridge port that leads to the machine, INSTANCE-ID is that of its record.\n"
	"What is added stays over a restart of the daemon. A removed one's interface is not guarded any more.\n"
	"options: --instance NAME  --socket PATH  --help\n";

#define ARGS_MAX 4

struct request {
	const char *instance, *mac, *vlan;
	char socket[256];
	bool json;
	char **arg;
	int n;
};

static bool option_take(struct request *r, int c)
{
	switch (c) {
	case 'i':
		r->instance = optarg;
		return true;
	case 's':
		return snprintf(r->socket, sizeof(r->socket), "%s", optarg) < (int)sizeof(r->socket);
	case 'j':
		return r->json = true;
	case 'm':
		r->mac = optarg;
		return true;
	case 'v':
		r->vlan = optarg;
		return true;
	default:
		return false;
	}
}

/* -1 to go on, else the exit status. */
static int request_read(int argc, char **argv, struct request *r)
{
	static const struct option options[] = {
		{ "instance", required_argument, NULL, 'i' },
		{ "socket", required_argument, NULL, 's' },
		{ "json", no_argument, NULL, 'j' },
		{ "mac", required_argument, NULL, 'm' },
		{ "vlan", required_argument, NULL, 'v' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	struct err e = ERR_INIT;
	int c;

	optind = 1;
	while ((c = getopt_long(argc, argv, "i:s:jh", options, NULL)) != -1) {
		if (c != 'h' && option_take(r, c))
			continue;
		fputs(usage, c == 'h' ? stdout : stderr);
		return c == 'h' ? EXIT_YES : EXIT_USAGE;
	}
	r->arg = argv + optind;
	r->n = argc - optind;
	if (!r->socket[0] && ctl_socket_path(r->instance, r->socket, sizeof(r->socket), &e) < 0) {
		fprintf(stderr, "bailey: %s: %s\n", e.where, e.msg);
		return EXIT_NO;
	}
	return -1;
}

void print_workload(const json_t *w)
{
	const json_t *drops = json_object_get(w, "drops"), *addrs = json_object_get(w, "addresses"), *o;
	bool is_guarded = *js(w, "attach") && !*js(w, "trouble");
	size_t i;

	printf("  %-12s %-12s ", js(w, "name"), js(w, "interface"));
	if (is_guarded)
		printf("%s, ", js(w, "attach"));
	else
		printf("%sNOT GUARDED%s: %s, ", red(), plain(),
		       *js(w, "trouble") ? js(w, "trouble") : "net does not answer");
	if (json_is_true(json_object_get(w, "verified")))
		printf("%s app %s", js(w, "node"), *js(w, "app") ? js(w, "app") : js(w, "app_id"));
	else
		printf("%sno verified record%s of %s: everything is dropped", red(), plain(), js(w, "instance_id"));
	json_array_foreach (addrs, i, o)
		printf(" %s", json_string_value(o));
	printf("%s%s%s\n", red(), json_is_true(json_object_get(w, "simulated")) ? " SIMULATED" : "", plain());
	printf("  %25s %lld flows, passed %lld in %lld out\n", "", ji(w, "flows"), ji(w, "passed_in"),
	       ji(w, "passed_out"));
	json_array_foreach (drops, i, o)
		printf("  %25s %lld dropped %s %s: %s\n", "", ji(o, "packets"), js(o, "dir"), js(o, "reason"),
		       js(o, "text"));
}

static void print_list(const json_t *list)
{
	const json_t *w;
	size_t i;

	if (!json_array_size(list))
		printf("no workloads\n");
	json_array_foreach (list, i, w)
		print_workload(w);
}

static int show(const struct request *r, json_t *answer)
{
	if (!answer)
		return EXIT_NO;
	if (r->json) {
		json_dumpf(answer, stdout, JSON_INDENT(2));
		putchar('\n');
	} else {
		print_list(answer);
	}
	json_decref(answer);
	return EXIT_YES;
}

static int post(const struct request *r, const char *path, json_t *body)
{
	struct err e = ERR_INIT;
	json_t *answer = NULL;

	if (ctl_post(r->socket, path, body, &answer, &e) < 0) {
		fprintf(stderr, "bailey: %s: %s\n", e.where, e.msg);
		json_decref(answer);
		answer = NULL;
	}
	json_decref(body);
	return show(r, answer);
}

/* As text: what is no number is the daemon's to refuse, with the place. */
static json_t *vlan_list(const char *text)
{
	json_t *list = json_array();

	while (*text) {
		size_t n = strcspn(text, ",");
		char tag[16], *end;
		long v;

		snprintf(tag, sizeof(tag), "%.*s", (int)n, text);
		v = strtol(tag, &end, 10);
		json_array_append_new(list, *tag && !*end ? json_integer(v) : json_string(tag));
		text += n + (text[n] == ',');
	}
	return list;
}

static int add(const struct request *r)
{
	json_t *w = json_pack("{s:s, s:s, s:s}", "name", r->arg[1], "interface", r->arg[2], "instance", r->arg[3]);

	if (!w) {
		fprintf(stderr, "bailey: an argument is no UTF-8\n");
		return EXIT_USAGE;
	}
	if (r->mac)
		json_object_set_new(w, "mac", json_string(r->mac));
	if (r->vlan)
		json_object_set_new(w, "vlan", vlan_list(r->vlan));
	return post(r, "/v1/workloads/add", json_pack("{s:[o]}", "workloads", w));
}

static int list(const struct request *r)
{
	struct err e = ERR_INIT;
	json_t *answer = NULL;

	if (ctl_call(r->socket, "GET", "/v1/workloads", &answer, &e) < 0)
		fprintf(stderr, "bailey: %s: %s\n", e.where, e.msg);
	return show(r, answer);
}

int cmd_workload(int argc, char **argv)
{
	struct request r = { 0 };
	int ret = request_read(argc, argv, &r);

	if (ret >= 0)
		return ret;
	if (r.n == ARGS_MAX && strcmp(r.arg[0], "add") == 0)
		return add(&r);
	if (r.mac || r.vlan)
		r.n = 0; /* of `add` alone */
	if (r.n == 1 && strcmp(r.arg[0], "list") == 0)
		return list(&r);
	if (r.n == 2 && strcmp(r.arg[0], "remove") == 0)
		return post(&r, "/v1/workloads/remove", json_pack("{s:s}", "name", r.arg[1]));
	fputs(usage, stderr);
	return EXIT_USAGE;
}
