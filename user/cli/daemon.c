// SPDX-License-Identifier: Apache-2.0
#include "daemon.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cmds.h"
#include "ctl/client.h"

int daemon_args(int argc, char **argv, const char *usage, struct daemon_args *a)
{
	static const struct option options[] = {
		{ "instance", required_argument, NULL, 'i' }, { "socket", required_argument, NULL, 's' },
		{ "json", no_argument, NULL, 'j' },           { "drops", no_argument, NULL, 'd' },
		{ "help", no_argument, NULL, 'h' },           { 0 },
	};
	struct err e = ERR_INIT;
	int c;

	*a = (struct daemon_args){ 0 };
	optind = 1;
	while ((c = getopt_long(argc, argv, "i:s:jh", options, NULL)) != -1) {
		if (c == 'i')
			a->instance = optarg;
		else if (c == 's')
			snprintf(a->socket, sizeof(a->socket), "%s", optarg);
		else if (c == 'j')
			a->json = true;
		else if (c == 'd')
			a->drops_only = true;
		else {
			fputs(usage, c == 'h' ? stdout : stderr);
			return c == 'h' ? EXIT_YES : EXIT_USAGE;
		}
	}
	if (optind != argc) {
		fputs(usage, stderr);
		return EXIT_USAGE;
	}
	if (!a->socket[0] && ctl_socket_path(a->instance, a->socket, sizeof(a->socket), &e) < 0) {
		fprintf(stderr, "bailey: %s: %s\n", e.where, e.msg);
		return EXIT_NO;
	}
	return -1;
}

json_t *daemon_call(const struct daemon_args *a, const char *method, const char *path)
{
	struct err e = ERR_INIT;
	json_t *body = NULL;

	if (ctl_call(a->socket, method, path, &body, &e) < 0)
		fprintf(stderr, "bailey: %s: %s\n", e.where, e.msg);
	return body;
}

const char *js(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s ? s : "";
}

long long ji(const json_t *o, const char *key)
{
	return json_integer_value(json_object_get(o, key));
}

static bool has_colour(void)
{
	return isatty(STDOUT_FILENO) && !getenv("NO_COLOR");
}

const char *red(void)
{
	return has_colour() ? "\033[31m" : "";
}

const char *plain(void)
{
	return has_colour() ? "\033[0m" : "";
}
