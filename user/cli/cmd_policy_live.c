// SPDX-License-Identifier: Apache-2.0
/* bailey reload, bailey policy apply|confirm|rollback: which policy a running baileyd decides by. Exit 0 done, 1
 * refused. */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "cmds.h"
#include "ctl/client.h"
#include "daemon.h"
#include "policy/sources.h"

#define CONFIRM_MAX 86400u

struct live {
	const char *instance;
	char socket[256];
	unsigned confirm_s; /* 0: for good */
};

static int say(const struct err *e)
{
	char text[sizeof(e->where) + sizeof(e->msg) + 3];

	fprintf(stderr, "bailey: %s\n", err_text(e, text, sizeof(text)));
	return EXIT_NO;
}

/* "60", "60s", "5m", "1h" -> seconds, 0 when it is none of these or out of bounds. */
static unsigned seconds_of(const char *text)
{
	static const struct {
		const char *unit;
		unsigned long seconds;
	} units[] = { { "", 1 }, { "s", 1 }, { "m", 60 }, { "h", 3600 } };
	unsigned long n;
	char *end;

	if (text[0] < '1' || text[0] > '9' || strlen(text) > 6)
		return 0;
	n = strtoul(text, &end, 10);
	for (size_t i = 0; i < ARRAY_LEN(units); i++)
		if (strcmp(end, units[i].unit) == 0)
			return n * units[i].seconds <= CONFIRM_MAX ? (unsigned)(n * units[i].seconds) : 0;
	return 0;
}

/* -1 to go on, else the exit status. */
static int options_read(int argc, char **argv, const char *usage, bool has_files, struct live *l)
{
	static const struct option longs[] = {
		{ "instance", required_argument, NULL, 'i' },
		{ "socket", required_argument, NULL, 's' },
		{ "confirm", required_argument, NULL, 'c' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	struct err e = ERR_INIT;
	int c;

	optind = 0; /* glibc: start afresh */
	while ((c = getopt_long(argc, argv, "i:s:h", longs, NULL)) != -1) {
		if (c == 'i') {
			l->instance = optarg;
		} else if (c == 's') {
			snprintf(l->socket, sizeof(l->socket), "%s", optarg);
		} else if (c == 'c' && has_files && (l->confirm_s = seconds_of(optarg))) {
			continue;
		} else {
			if (c == 'c' && has_files)
				fprintf(stderr, "bailey: --confirm %s: needs 1 s to 24 h, such as 60s or 5m\n", optarg);
			fputs(usage, c == 'h' ? stdout : stderr);
			return c == 'h' ? EXIT_YES : EXIT_USAGE;
		}
	}
	if (optind < argc && !has_files) {
		fputs(usage, stderr);
		return EXIT_USAGE;
	}
	if (!l->socket[0] && ctl_socket_path(l->instance, l->socket, sizeof(l->socket), &e) < 0)
		return say(&e);
	return -1;
}

/* Every problem as `check` prints it, or the one reason. */
static int post(const struct live *l, const char *path, const json_t *body, json_t **answer)
{
	struct err e = ERR_INIT;
	int ret = ctl_post(l->socket, path, body, answer, &e);
	const char *problems = json_string_value(json_object_get(*answer, "problems"));

	if (!ret)
		return EXIT_YES;
	if (problems)
		fputs(problems, stderr);
	else
		say(&e);
	json_decref(*answer);
	*answer = NULL;
	return EXIT_NO;
}

static int ask(const struct live *l, const char *path, const json_t *body)
{
	json_t *answer = NULL;
	const json_t *left;

	if (post(l, path, body, &answer) != EXIT_YES)
		return EXIT_NO;
	left = json_object_get(answer, "confirm_in_s");
	printf("policy %.12s decides, %lld rules", js(answer, "digest"), ji(answer, "rules"));
	if (left)
		printf("; it goes in %lld s unless `bailey policy confirm` keeps it",
		       (long long)json_integer_value(left));
	putchar('\n');
	json_decref(answer);
	return EXIT_YES;
}

/* --- apply ------------------------------------------------------------------------------------------------- */

static json_t *files_json(const struct pol_sources *s)
{
	json_t *files = json_array();

	for (size_t i = 0; i < s->n; i++)
		json_array_append_new(files, json_pack("{s:s, s:s%}", "name", s->text[i].name, "text", s->text[i].text,
						       s->text[i].len));
	return files;
}

/* The texts are sent, with all that they include: the daemon judges them, and needs no access to these files. */
static int read_files(int n, char **paths, json_t *body)
{
	auto_call(pol_sources_fini) struct pol_sources s = { 0 };
	auto_call(diags_fini) struct diags d = { 0 };
	struct err e = ERR_INIT;
	int ret = pol_sources_load(&s, (const char *const *)paths, (size_t)n, file_get, NULL, &d, &e);

	diags_print(&d, stderr);
	if (ret && ret != -EINVAL) {
		say(&e);
		return EXIT_USAGE;
	}
	if (ret)
		return EXIT_NO;
	json_object_set_new(body, "files", files_json(&s));
	return EXIT_YES;
}

int cmd_policy_apply(int argc, char **argv)
{
	static const char usage[] =
		"usage: bailey policy apply [FILE...] [--confirm TIME] [--instance NAME] [--socket PATH]\n\n"
		"  FILE...         files and folders, one policy (- is standard input); none: the configured ones\n"
		"  --confirm TIME  go back by itself after TIME (60s, 5m, 1h) unless `bailey policy confirm` comes\n\n"
		"The policy is checked, and its tests must hold, before anything is loaded.\n\n"
		"exit status: 0 it decides, 1 refused and nothing changed, 2 a file cannot be read\n";
	struct live l = { 0 };
	json_t *body;
	int ret = options_read(argc, argv, usage, true, &l);

	if (ret >= 0)
		return ret;
	body = json_object();
	if (l.confirm_s)
		json_object_set_new(body, "confirm_s", json_integer(l.confirm_s));
	ret = optind < argc ? read_files(argc - optind, argv + optind, body) : EXIT_YES;
	if (ret == EXIT_YES)
		ret = ask(&l, "/v1/policy/apply", body);
	json_decref(body);
	return ret;
}

/* --- confirm, rollback, reload ----------------------------------------------------------------------------- */

int cmd_policy_confirm(int argc, char **argv)
{
	static const char usage[] = "usage: bailey policy confirm [--instance NAME] [--socket PATH]\n\n"
				    "Keeps the policy that was applied with --confirm.\n\n"
				    "exit status: 0 kept, 1 there is nothing to confirm\n";
	struct live l = { 0 };
	int ret = options_read(argc, argv, usage, false, &l);

	return ret >= 0 ? ret : ask(&l, "/v1/policy/confirm", NULL);
}

int cmd_policy_rollback(int argc, char **argv)
{
	static const char usage[] = "usage: bailey policy rollback [--instance NAME] [--socket PATH]\n\n"
				    "Back to the policy before; a second one returns. What waits for its confirmation\n"
				    "is given up.\n\n"
				    "exit status: 0 the other one decides, 1 there is none, or it is refused\n";
	struct live l = { 0 };
	int ret = options_read(argc, argv, usage, false, &l);

	return ret >= 0 ? ret : ask(&l, "/v1/policy/rollback", NULL);
}

int cmd_reload(int argc, char **argv)
{
	static const char usage[] = "usage: bailey reload [--instance NAME] [--socket PATH]\n";
	struct live l = { 0 };
	json_t *answer = NULL;
	int ret = options_read(argc, argv, usage, false, &l);

	if (ret >= 0)
		return ret;
	ret = post(&l, "/v1/reload", NULL, &answer);
	json_decref(answer);
	return ret;
}
