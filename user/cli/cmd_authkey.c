// SPDX-License-Identifier: Apache-2.0
/* bailey authkey: pre-auth keys of a network, made and revoked at its control plane. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "cmds.h"
#include "ctl/client.h"
#include "daemon.h"

#define SOCKET "/run/bailey-vpc/ctl.sock"

static const char usage[] =
	"usage: bailey authkey create [--reusable] [--ephemeral] [--expires DURATION] [--instance INSTANCE-ID] "
	"[--json]\n"
	"       bailey authkey list [--json]\n"
	"       bailey authkey revoke ID\n"
	"A pre-auth key stands in for `bailey node approve`: whoever shows it and is admitted by policy is a member. "
	"It is\n"
	"printed once, and kept nowhere. Without --reusable it is for the first instance that uses it; with --instance "
	"for\n"
	"that one alone. --ephemeral: a node that joined with it is forgotten when its lease has ended. DURATION is "
	"like\n"
	"90s, 30m, 24h (the default) or 7d, a year at most. ID is as `list` shows it, or its first 8 digits and more.\n"
	"On the host of bailey-vpc, as root (--socket PATH, default " SOCKET ").\n";

struct request {
	const char *socket, *instance;
	bool json, is_reusable, is_ephemeral;
	long long expires_s; /* 0: the default */
	const char *verb, *id;
};

static bool duration(const char *text, long long *s)
{
	static const char units[] = "smhd";
	static const long long factor[] = { 1, 60, 3600, 86400 };
	char *end;
	long long n = strtoll(text, &end, 10);
	const char *unit = *end ? strchr(units, *end) : NULL;

	if (n <= 0 || n > 31536000 || !unit || end[1] || *text < '0' || *text > '9')
		return false;
	*s = n * factor[unit - units];
	return true;
}

static bool option_take(struct request *r, int c)
{
	switch (c) {
	case 's':
		r->socket = optarg;
		return true;
	case 'j':
		return r->json = true;
	case 'r':
		return r->is_reusable = true;
	case 'e':
		return r->is_ephemeral = true;
	case 'i':
		r->instance = optarg;
		return true;
	case 'x':
		if (duration(optarg, &r->expires_s))
			return true;
		fprintf(stderr, "bailey authkey: --expires: needs a duration like 90s, 30m, 24h or 7d, found '%s'\n",
			optarg);
		return false;
	default:
		return false;
	}
}

static int misused(bool is_asked)
{
	fputs(usage, is_asked ? stdout : stderr);
	return is_asked ? EXIT_YES : EXIT_USAGE;
}

/* -1 to go on, else the exit status. */
static int request_read(int argc, char **argv, struct request *r)
{
	static const struct option options[] = {
		{ "socket", required_argument, NULL, 's' },   { "json", no_argument, NULL, 'j' },
		{ "reusable", no_argument, NULL, 'r' },       { "ephemeral", no_argument, NULL, 'e' },
		{ "instance", required_argument, NULL, 'i' }, { "expires", required_argument, NULL, 'x' },
		{ "help", no_argument, NULL, 'h' },           { 0 }
	};
	int c;

	optind = 1;
	while ((c = getopt_long(argc, argv, "h", options, NULL)) != -1)
		if (c == 'h' || !option_take(r, c))
			return misused(c == 'h');
	r->verb = optind < argc ? argv[optind++] : "";
	r->id = optind < argc ? argv[optind++] : NULL;
	return optind == argc ? -1 : misused(false);
}

static int failed(const struct err *e)
{
	fprintf(stderr, "bailey: %s: %s\n", e->where, e->msg);
	return EXIT_NO;
}

static int create(const struct request *r)
{
	json_t *ask = json_pack("{s:b, s:b, s:s*}", "reusable", r->is_reusable, "ephemeral", r->is_ephemeral,
				"instance_id", r->instance);
	json_t *answer = NULL;
	struct err e = ERR_INIT;
	int ret;

	if (r->expires_s)
		json_object_set_new(ask, "expires_s", json_integer(r->expires_s));
	ret = ctl_post(r->socket, "/v1/authkeys/create", ask, &answer, &e);
	json_decref(ask);
	if (ret < 0) {
		json_decref(answer);
		return failed(&e);
	}
	if (r->json)
		json_dumpf(answer, stdout, JSON_INDENT(2));
	else
		fputs(js(answer, "key"), stdout);
	putchar('\n');
	json_decref(answer);
	return EXIT_YES;
}

static void print_one(const json_t *k)
{
	bool is_good = strcmp(js(k, "state"), "good") == 0;

	printf("%s  %-7s  %-8s%s", js(k, "id"), js(k, "state"),
	       json_is_true(json_object_get(k, "reusable")) ? "reusable" : "one-time",
	       json_is_true(json_object_get(k, "ephemeral")) ? "  ephemeral" : "");
	if (*js(k, "instance_id"))
		printf("  for instance %.12s", js(k, "instance_id"));
	if (*js(k, "used_by"))
		printf("  %lld times used, last by %.12s", ji(k, "uses"), js(k, "used_by"));
	if (is_good)
		printf("  %lld s left", ji(k, "expires_in_s"));
	printf("  made by %s%.40s\n", strcmp(js(k, "made_by"), "people") == 0 ? "" : "app ", js(k, "made_by"));
}

static int list(const struct request *r)
{
	json_t *answer = NULL;
	const json_t *keys, *k;
	struct err e = ERR_INIT;
	size_t i;

	if (ctl_call(r->socket, "GET", "/v1/authkeys", &answer, &e) < 0) {
		json_decref(answer);
		return failed(&e);
	}
	keys = json_object_get(answer, "keys");
	if (r->json) {
		json_dumpf(keys, stdout, JSON_INDENT(2));
		putchar('\n');
	} else {
		json_array_foreach (keys, i, k)
			print_one(k);
	}
	json_decref(answer);
	return EXIT_YES;
}

static int take_back(const struct request *r)
{
	json_t *ask = json_pack("{s:s}", "id", r->id), *answer = NULL;
	struct err e = ERR_INIT;
	int ret = ctl_post(r->socket, "/v1/authkeys/revoke", ask, &answer, &e);

	if (!ret)
		printf("%s: revoked; who is a member stays one\n", js(answer, "id"));
	json_decref(ask);
	json_decref(answer);
	return ret < 0 ? failed(&e) : EXIT_YES;
}

int cmd_authkey(int argc, char **argv)
{
	struct request r = { .socket = SOCKET };
	int ret = request_read(argc, argv, &r);

	if (ret >= 0)
		return ret;
	if (strcmp(r.verb, "create") == 0 && !r.id)
		return create(&r);
	if (strcmp(r.verb, "list") == 0 && !r.id)
		return list(&r);
	if (strcmp(r.verb, "revoke") == 0 && r.id)
		return take_back(&r);
	return misused(false);
}
