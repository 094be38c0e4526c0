// SPDX-License-Identifier: Apache-2.0
/* bailey policy check|test|diff: offline and unprivileged. Exit 0 yes, 1 no, 2 could not be asked. The
 * rest of `bailey policy` is in cmd_policy_*.c. */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/text.h"
#include "cmd_policy.h"
#include "cmds.h"
#include "policy/diff.h"
#include "policy/policy.h"
#include "policy/sources.h"

struct options {
	bool is_json, is_help;
};

int policy_say(const struct err *e)
{
	char text[sizeof(e->where) + sizeof(e->msg) + 3];

	fprintf(stderr, "bailey policy: %s\n", err_text(e, text, sizeof(text)));
	return EXIT_USAGE;
}

int policy_misused(const char *command, const char *why)
{
	fprintf(stderr, "bailey policy %s: %s; see bailey policy %s --help\n", command, why, command);
	return EXIT_USAGE;
}

char *policy_shown(int n, char **paths)
{
	char *text = NULL;
	size_t size;
	FILE *to = open_memstream(&text, &size);

	for (int i = 0; to && i < n; i++)
		fprintf(to, "%s%s", i ? ", " : "", strcmp(paths[i], "-") == 0 ? "<stdin>" : paths[i]);
	if (to)
		fclose(to);
	return text;
}

void loaded_fini(struct loaded *l)
{
	pol_free(l->model);
}

static int load_warn(int n, char **paths, bool with_warnings, struct loaded *l)
{
	auto_call(pol_sources_fini) struct pol_sources s = { 0 };
	auto_diags struct diags d = { 0 };
	struct err e = ERR_INIT;
	int ret = pol_sources_load(&s, (const char *const *)paths, (size_t)n, file_get, NULL, &d, &e);

	if (!ret)
		ret = pol_sources_parse(&s, with_warnings, &l->model, &d);
	diags_print(&d, stderr);
	l->n_warnings = d.n;
	l->n_files = s.n;
	if (!ret)
		ret = pol_sources_digest(&s, l->digest);
	if (ret && ret != -EINVAL)
		return policy_say(&e);
	return ret ? EXIT_NO : EXIT_YES;
}

int policy_load(int n, char **paths, struct loaded *l)
{
	return load_warn(n, paths, false, l);
}

static int options_read(int argc, char **argv, struct options *o)
{
	static const struct option longs[] = { { "json", no_argument, NULL, 'j' },
					       { "help", no_argument, NULL, 'h' },
					       { 0 } };
	int c;

	optind = 0; /* glibc: start afresh */
	while ((c = getopt_long(argc, argv, "h", longs, NULL)) != -1) {
		if (c != 'j' && c != 'h')
			return -EINVAL;
		o->is_json |= c == 'j';
		o->is_help |= c == 'h';
	}
	return 0;
}

int policy_print_json(json_t *value)
{
	json_dumpf(value, stdout, JSON_INDENT(2));
	putchar('\n');
	return value ? 0 : EXIT_USAGE;
}

/* --- check ------------------------------------------------------------------------------------------------- */

static const char *plural(size_t n)
{
	return n == 1 ? "" : "s";
}

static int run_check(const struct options *o, int argc, char **argv)
{
	auto_call(loaded_fini) struct loaded l = { 0 };
	auto_free char *name = policy_shown(argc, argv);
	auto_diags struct diags d = { 0 };
	size_t n_rules, n_apps, n_tests;
	int ret;

	(void)o;
	if (argc < 1)
		return policy_misused("check", "no file is named");
	ret = load_warn(argc, argv, true, &l);
	if (ret)
		return ret;
	if (pol_run_tests(l.model, &d, &n_tests)) {
		diags_print(&d, stderr);
		return EXIT_NO;
	}
	n_rules = pol_rule_count(l.model);
	n_apps = pol_app_count(l.model);
	printf("%s: ok, ", name ? name : "policy");
	if (l.n_files > 1)
		printf("%zu files, ", l.n_files);
	printf("%zu rule%s, %zu app%s, %zu test%s passed", n_rules, plural(n_rules), n_apps, plural(n_apps), n_tests,
	       plural(n_tests));
	if (l.n_warnings)
		printf(", %zu warning%s", l.n_warnings, plural(l.n_warnings));
	putchar('\n');
	return EXIT_YES;
}

/* --- test -------------------------------------------------------------------------------------------------- */

static int test_json(const char *path, const struct diags *d, size_t n_tests, size_t n_failed)
{
	auto_json json_t *failures = json_array();
	auto_json json_t *all = NULL;

	for (size_t i = 0; i < d->n; i++)
		json_array_append_new(failures, json_pack("{s:s, s:i, s:i, s:s, s:s}", "file", d->item[i].file, "line",
							  (int)d->item[i].line, "column", (int)d->item[i].col, "path",
							  d->item[i].path, "message", d->item[i].msg));
	all = json_pack("{s:s, s:I, s:I, s:O}", "file", path, "tests", (json_int_t)n_tests, "failed",
			(json_int_t)n_failed, "failures", failures);
	return policy_print_json(all);
}

static int run_test(const struct options *o, int argc, char **argv)
{
	auto_call(loaded_fini) struct loaded l = { 0 };
	auto_free char *name = policy_shown(argc, argv);
	auto_diags struct diags d = { 0 };
	size_t n_tests, n_failed;
	int ret;

	if (argc < 1 || !name)
		return policy_misused("test", "no file is named");
	ret = policy_load(argc, argv, &l);
	if (ret)
		return ret;
	n_failed = pol_run_tests(l.model, &d, &n_tests);
	if (o->is_json) {
		if (test_json(name, &d, n_tests, n_failed) != 0)
			return EXIT_USAGE;
	} else {
		diags_print(&d, stderr);
		printf("%s: %zu of %zu test%s passed\n", name, n_tests - n_failed, n_tests, plural(n_tests));
	}
	return n_failed ? EXIT_NO : EXIT_YES;
}

/* --- diff -------------------------------------------------------------------------------------------------- */

struct side_json {
	json_t *apps, *networks;
	bool has_others; /* every kind of every other app */
};

static void add_to_side(void *arg, const char *text, const struct pol_diff_app *app)
{
	struct side_json *side = arg;
	char hex[2 * BY_APP_ID_LEN + 1];

	if (!app) {
		json_array_append_new(side->networks, json_string(text));
		return;
	}
	if (app->is_other && strcmp(text, app->label) == 0) {
		side->has_others = true;
		return;
	}
	hex_print(hex, app->app_id, BY_APP_ID_LEN);
	json_array_append_new(side->apps, json_pack("{s:s, s:o}", "name", text, "app_id",
						    app->is_other ? json_null() : json_string(hex)));
}

static json_t *side_json(const struct pol_diff *diff, const struct pol_diff_side *side)
{
	struct side_json to = { .apps = json_array(), .networks = json_array() };

	if (pol_diff_side_walk(diff, side, add_to_side, &to) < 0) {
		json_decref(to.apps);
		json_decref(to.networks);
		return NULL;
	}
	return json_pack("{s:o, s:b, s:o}", "apps", to.apps, "others", to.has_others, "networks", to.networks);
}

static json_t *ports_json(const struct pol_change *c)
{
	json_t *ports = json_array();
	char text[256], *rest;

	for (size_t i = 0; i < c->n_ports; i++) {
		pol_ranges_print(&c->port[i], 1, text, sizeof(text));
		for (char *word = strtok_r(text, ", ", &rest); word; word = strtok_r(NULL, ", ", &rest))
			json_array_append_new(ports, json_string(word));
	}
	return ports;
}

static json_t *rule_json(const struct pol_diff_rule *r)
{
	return json_pack("{s:s, s:s, s:s, s:i, s:s, s:s}", "now", r->is_new ? "new" : "gone", "name", r->rule.name,
			 "file", r->rule.file, "line", (int)r->rule.line, "action",
			 r->action == BY_ALLOW ? "allow" : "deny", "http", r->http);
}

static int diff_json(const struct pol_diff *diff)
{
	auto_json json_t *changes = json_array(), *rules = json_array(), *all = NULL;

	for (size_t i = 0; i < diff->n_changes; i++) {
		const struct pol_change *c = &diff->change[i];

		if (json_array_append_new(changes, json_pack("{s:s, s:o, s:o, s:o, s:b}", "now",
							     c->now == BY_ALLOW ? "allow" : "deny", "from",
							     side_json(diff, &c->from), "to", side_json(diff, &c->to),
							     "ports", ports_json(c), "http", c->is_http)) < 0)
			return -ENOMEM;
	}
	for (size_t i = 0; i < diff->n_rules; i++)
		json_array_append_new(rules, rule_json(&diff->rule[i]));
	all = json_pack("{s:O, s:O}", "changes", changes, "http_rules", rules);
	return policy_print_json(all) ? -ENOMEM : 0;
}

static int run_diff(const struct options *o, int argc, char **argv)
{
	auto_call(loaded_fini) struct loaded old = { 0 }, new = { 0 };
	auto_call(pol_diff_fini) struct pol_diff diff = { 0 };
	struct err e = ERR_INIT;

	if (argc != 2)
		return policy_misused("diff", "needed two files or folders, OLD and NEW");
	if (policy_load(1, argv, &old) | policy_load(1, argv + 1, &new))
		return EXIT_USAGE;
	if (pol_diff_make(old.model, new.model, &diff, &e) < 0)
		return policy_say(&e);
	if ((o->is_json ? diff_json(&diff) : pol_diff_print(&diff, stdout)) < 0) {
		err_at(&e, -ENOMEM, NULL, "out of memory");
		return policy_say(&e);
	}
	return diff.n_changes || diff.n_rules ? EXIT_NO : EXIT_YES;
}

/* --- the table --------------------------------------------------------------------------------------------- */

static const struct command {
	const char *name, *summary, *help;
	int (*run)(const struct options *o, int argc, char **argv); /* argv: what is no option */
} commands[] = {
	{ "check", "is this a policy, and do its own tests pass?",
	  "usage: bailey policy check FILE...\n\n"
	  "Reads the policy in FILE, or in several files and folders together (a folder: its *.yaml; - is standard\n"
	  "input), prints every problem with its file, line and column, and runs the policy's own tests. Nothing is\n"
	  "applied. Warnings (rules that can never decide, entries of lists that add nothing) change no exit "
	  "status.\n\n"
	  "exit status: 0 the policy is good, 1 it is rejected, 2 a file cannot be read\n",
	  run_check },
	{ "test", "run the policy's tests: section",
	  "usage: bailey policy test FILE... [--json]\n\n"
	  "  --json      the result as JSON\n\n"
	  "exit status: 0 all pass, 1 some fail or the policy is rejected, 2 the file cannot be read\n",
	  run_test },
	{ "diff", "what another policy would allow and deny",
	  "usage: bailey policy diff OLD NEW [--json]\n\n"
	  "  --json      the changes as JSON\n\n"
	  "Flows, not text: `+ web -> db: tcp/5432` is newly allowed, `-` newly denied. Apps are compared by "
	  "app-id.\n\n"
	  "exit status: 0 no flow is judged otherwise, 1 some are, 2 no answer\n",
	  run_diff },
};

/* With options of their own. */
static const struct {
	const char *name, *summary;
	int (*run)(int argc, char **argv);
	bool needs_daemon;
} others[] = {
	{ "explain", "may this app reach that one, and which rule says so?", cmd_policy_explain, false },
	{ "compile", "what a node would load", cmd_policy_compile, false },
	{ "fmt", "files in their canonical form, comments kept", cmd_policy_fmt, false },
	{ "apply", "make this policy decide, for good or until it is not confirmed", cmd_policy_apply, true },
	{ "confirm", "keep what was applied with --confirm", cmd_policy_confirm, true },
	{ "rollback", "back to the policy before", cmd_policy_rollback, true },
};

static void usage(FILE *to)
{
	fprintf(to, "usage: bailey policy COMMAND ...\n\nFiles only: no daemon, no root.\n");
	for (size_t i = 0; i < ARRAY_LEN(commands); i++)
		fprintf(to, "  %-8s %s\n", commands[i].name, commands[i].summary);
	for (int needs_daemon = 0; needs_daemon < 2; needs_daemon++) {
		if (needs_daemon)
			fprintf(to, "\nOf a running baileyd, as root:\n");
		for (size_t i = 0; i < ARRAY_LEN(others); i++)
			if (others[i].needs_daemon == needs_daemon)
				fprintf(to, "  %-8s %s\n", others[i].name, others[i].summary);
	}
	fprintf(to, "\nEach has a --help. The language: bailey-policy(5).\n");
}

static int run_command(const struct command *command, int argc, char **argv)
{
	struct options o = { 0 };

	if (options_read(argc, argv, &o) < 0)
		return policy_misused(command->name, "bad option");
	if (o.is_help) {
		fputs(command->help, stdout);
		return EXIT_YES;
	}
	return command->run(&o, argc - optind, argv + optind);
}

int cmd_policy(int argc, char **argv)
{
	if (argc < 2) {
		usage(stderr);
		return EXIT_USAGE;
	}
	if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
		usage(stdout);
		return EXIT_YES;
	}
	for (size_t i = 0; i < ARRAY_LEN(commands); i++)
		if (strcmp(argv[1], commands[i].name) == 0)
			return run_command(&commands[i], argc - 1, argv + 1);
	for (size_t i = 0; i < ARRAY_LEN(others); i++)
		if (strcmp(argv[1], others[i].name) == 0)
			return others[i].run(argc - 1, argv + 1);
	fprintf(stderr, "bailey policy: no command '%s'\n", argv[1]);
	usage(stderr);
	return EXIT_USAGE;
}
