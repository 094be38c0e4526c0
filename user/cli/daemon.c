// SPDX-License-Identifier: Apache-2.0
#include "daemon.h"

#include <ctype.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "cmds.h"
#include "ctl/client.h"

static const struct {
	const char *name;
	int has_arg;
	int letter;
	unsigned takes; /* 0: every command */
} known[] = {
	{ "instance", required_argument, 'i', 0 },
	{ "socket", required_argument, 's', 0 },
	{ "json", no_argument, 'j', 0 },
	{ "help", no_argument, 'h', 0 },
	{ "drops", no_argument, 'd', TAKES_DROPS },
	{ "drops", no_argument, 'D', TAKES_CAPTURE },
	{ "interface", required_argument, 'I', TAKES_CAPTURE },
	{ "audit", no_argument, 'a', TAKES_AUDIT },
	{ "from", required_argument, 'f', TAKES_SIDES },
	{ "to", required_argument, 't', TAKES_SIDES },
	{ "port", required_argument, 'p', TAKES_SIDES },
	{ "interface", required_argument, 'I', TAKES_SIDES },
	{ "reason", required_argument, 'r', TAKES_REASON },
	{ "limit", required_argument, 'l', TAKES_LIMIT },
	{ "count", required_argument, 'c', TAKES_COUNT },
	{ "seconds", required_argument, 'S', TAKES_SECONDS },
	{ "once", no_argument, 'o', TAKES_ONCE },
	{ "write", required_argument, 'w', TAKES_WRITE },
	{ "mesh", required_argument, 'm', TAKES_MESH },
};

static void offer(struct option *options, unsigned takes)
{
	size_t n = 0;

	for (size_t i = 0; i < ARRAY_LEN(known); i++)
		if (!known[i].takes || known[i].takes & takes)
			options[n++] = (struct option){ known[i].name, known[i].has_arg, NULL, known[i].letter };
	options[n] = (struct option){ 0 };
}

static const char *name_of(int letter)
{
	size_t i = 0;

	while (known[i].letter != letter)
		i++;
	return known[i].name;
}

/* Everything but plain characters is escaped. */
bool query_add(struct daemon_args *a, const char *name, const char *value)
{
	size_t len = strlen(a->query);

	len += (size_t)snprintf(a->query + len, sizeof(a->query) - len, "%c%s=", len ? '&' : '?', name);
	for (; *value && len + 4 < sizeof(a->query); value++)
		len += (size_t)snprintf(a->query + len, sizeof(a->query) - len,
					isalnum((unsigned char)*value) || strchr("-._", *value) ? "%c" : "%%%02X",
					(unsigned char)*value);
	return !*value;
}

static bool number_of(const char *name, const char *text, unsigned *n)
{
	char *end;
	unsigned long v = strtoul(text, &end, 10);

	*n = (unsigned)v;
	if (isdigit((unsigned char)*text) && !*end && v && v <= 1000000000)
		return true;
	fprintf(stderr, "bailey: --%s: found '%s', needed a number from 1 on\n", name, text);
	return false;
}

static bool option_take(struct daemon_args *a, int c)
{
	switch (c) {
	case 'i':
		a->instance = optarg;
		return true;
	case 's':
		return snprintf(a->socket, sizeof(a->socket), "%s", optarg) < (int)sizeof(a->socket);
	case 'j':
		return a->json = true;
	case 'D':
		return a->drops = true;
	case 'o':
		return a->once = true;
	case 'w':
		a->write = optarg;
		return true;
	case 'm':
		a->mesh = optarg;
		return true;
	case 'c':
		return number_of("count", optarg, &a->count);
	case 'l':
		return number_of("limit", optarg, &a->limit);
	case 'S':
		return number_of("seconds", optarg, &a->seconds);
	case 'd':
		return query_add(a, "drops", "1");
	case 'a':
		return query_add(a, "audit", "1");
	default:
		return c != '?' && query_add(a, name_of(c), optarg);
	}
}

int daemon_args_take(int argc, char **argv, const char *usage, unsigned takes, struct daemon_args *a)
{
	const char *letters = takes & TAKES_WRITE ? "i:s:jhw:" : "i:s:jh";
	struct option options[ARRAY_LEN(known) + 1];
	struct err e = ERR_INIT;
	int c;

	*a = (struct daemon_args){ 0 };
	offer(options, takes);
	optind = 1;
	while ((c = getopt_long(argc, argv, letters, options, NULL)) != -1) {
		if (c != 'h' && option_take(a, c))
			continue;
		fputs(usage, c == 'h' ? stdout : stderr);
		return c == 'h' ? EXIT_YES : EXIT_USAGE;
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

int daemon_args(int argc, char **argv, const char *usage, struct daemon_args *a)
{
	return daemon_args_take(argc, argv, usage, 0, a);
}

int daemon_follow(const struct daemon_args *a, const char *path, bool (*line)(const json_t *obj, void *arg), void *arg)
{
	struct err e = ERR_INIT;
	char url[900];

	snprintf(url, sizeof(url), "%s%s", path, a->query);
	if (ctl_follow(a->socket, url, line, arg, &e) == 0)
		return EXIT_YES;
	fprintf(stderr, "bailey: %s: %s\n", e.where, e.msg);
	return EXIT_NO;
}

json_t *daemon_call(const struct daemon_args *a, const char *method, const char *path)
{
	struct err e = ERR_INIT;
	json_t *body = NULL;
	char url[900];

	snprintf(url, sizeof(url), "%s%s", path, a->query);
	if (ctl_call(a->socket, method, url, &body, &e) < 0)
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
