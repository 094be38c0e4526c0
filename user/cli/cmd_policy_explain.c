// SPDX-License-Identifier: Apache-2.0
/* bailey policy explain: one question to the model of the files. */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "cmd_policy.h"
#include "cmds.h"

#define CLAIMS_MAX_BYTES 65536

static const char help[] =
	"usage: bailey policy explain FILE... --from WHO --to WHO PORT [--http REQUEST] [--on WHO]\n"
	"                             [--from-claims CLAIMS] [--to-claims CLAIMS] [--json]\n"
	"       bailey policy explain [FILE...] --live --from WHO --to WHO PORT [--instance NAME] [--socket PATH]\n"
	"                             [--json]\n\n"
	"  --from WHO    who opens the connection: an app, an instance or a claim of the policy, or an app-id of 40\n"
	"                hex digits; or `host`, or an address of the underlay\n"
	"  --to WHO      who is asked\n"
	"  --on WHO      beside `host`: the node whose host it is; without it one of an app that the policy does not\n"
	"                name\n"
	"  --from-claims, --to-claims CLAIMS\n"
	"                what the node proves, in the place of what its name implies: words such as\n"
	"                tcb=OutOfDate,simulated=true, or a FILE with a map of claims in YAML or JSON (- is standard\n"
	"                input); beside `host` they are about --on\n"
	"  --http REQUEST\n"
	"                a request on the port, 'GET /v1/items': what the mesh of the node that is asked decides; "
	"without\n"
	"                it the question is of whatever may be said there\n"
	"  PORT          tcp/443, udp/53, icmp/8, icmpv6/128 or proto/47\n"
	"  --json        the answer as JSON\n\n"
	"Prints the rule that decides, or the nearest one when the default denies, and the claims that it needs.\n\n"
	"  --live        asks the programs that a running baileyd has loaded (as root), with a packet that nobody "
	"sends;\n"
	"                WHO is a node, an app or an address, one of them this node; or `host`, this one's, and an\n"
	"                address. With FILE it is refused when another policy is loaded.\n\n"
	"exit status: 0 allowed, 1 denied, 2 no answer\n";

struct asked {
	struct pol_question q;
	const char *port;
	char *claims[2]; /* owned, from and to */
	const char *instance, *socket;
	bool is_json, is_live;
};

static void asked_fini(struct asked *a)
{
	free(a->claims[0]);
	free(a->claims[1]);
}

/* The place of words that are no claims is the option; of a map in a file it is the line. */
int policy_claims_take(const char *option, const char *arg, char **claims)
{
	auto_diags struct diags d = { 0 };
	struct pol_subject nobody = { 0 };
	struct err e = ERR_INIT;
	size_t len;

	if (pol_claims_are_words(arg)) {
		*claims = strdup(arg);
		return *claims ? EXIT_YES : EXIT_USAGE;
	}
	if (file_read_arg(arg, CLAIMS_MAX_BYTES, claims, &len, &e) < 0) {
		err_wrap(&e, "%s", option);
		return policy_say(&e);
	}
	if (pol_claims_read(strcmp(arg, "-") == 0 ? "<stdin>" : arg, *claims, len, &nobody, &d) == 0)
		return EXIT_YES;
	diags_print(&d, stderr);
	return EXIT_USAGE;
}

/* --- the answer in JSON ------------------------------------------------------------------------------------ */

static json_t *place_json(const char *name, const char *file, unsigned line)
{
	return name ? json_pack("{s:s, s:s, s:i}", "name", name, "file", file, "line", (int)line) : json_null();
}

json_t *policy_rate_json(uint32_t flags, uint32_t rate, uint32_t burst)
{
	if (!rate)
		return json_null();
	return json_pack("{s:I, s:I, s:s}", flags & BY_RULE_RATE_FLOWS ? "flows" : "packets", (json_int_t)rate, "burst",
			 (json_int_t)burst, "per", flags & BY_RULE_RATE_PEER ? "peer" : "rule");
}

static int print_json(const struct pol_answer *a, const struct asked *asked)
{
	json_t *near = place_json(a->nearest_rule, a->nearest_file, a->nearest_line);
	auto_json json_t *o = json_pack("{s:s, s:s, s:s, s:s, s:s}", "action", a->action == BY_ALLOW ? "allow" : "deny",
					"from", asked->q.from, "to", asked->q.to, "port", asked->port, "rung", a->rung);

	if (asked->q.on)
		json_object_set_new(o, "on", json_string(asked->q.on));
	if (asked->q.http)
		json_object_set_new(o, "http", json_string(asked->q.http));
	json_object_set_new(o, "rule", place_json(a->rule, a->file, a->line));
	json_object_set_new(o, "log", json_boolean(a->flags & BY_RULE_LOG));
	json_object_set_new(o, "rate", policy_rate_json(a->flags, a->rate, a->burst));
	json_object_set_new(o, "audit", place_json(a->audit.name, a->audit.file, a->audit.line));
	if (a->nearest_rule)
		json_object_set_new(near, "allows", json_string(a->nearest_ports));
	if (a->nearest_rule && a->nearest_http[0])
		json_object_set_new(near, "http", json_string(a->nearest_http));
	if (a->unmet[0] || a->unmet[1])
		json_object_set_new(near, "needs", pol_lacks_json(a));
	json_object_set_new(o, "nearest", near);
	return policy_print_json(o);
}

/* --- the question ------------------------------------------------------------------------------------------ */

static int option_take(struct asked *a, int c)
{
	switch (c) {
	case 'f':
		a->q.from = optarg;
		return EXIT_YES;
	case 't':
		a->q.to = optarg;
		return EXIT_YES;
	case 'o':
		a->q.on = optarg;
		return EXIT_YES;
	case 'H':
		a->q.http = optarg;
		return EXIT_YES;
	case 'j':
		a->is_json = true;
		return EXIT_YES;
	case 'l':
		a->is_live = true;
		return EXIT_YES;
	case 'i':
		a->instance = optarg;
		return EXIT_YES;
	case 's':
		a->socket = optarg;
		return EXIT_YES;
	case 'F':
		return policy_claims_take("--from-claims", optarg, &a->claims[0]);
	case 'T':
		return policy_claims_take("--to-claims", optarg, &a->claims[1]);
	default:
		return policy_misused("explain", "bad option");
	}
}

/* -1 to go on, else the exit status. */
static int options_read(int argc, char **argv, struct asked *a)
{
	static const struct option longs[] = { { "from", required_argument, NULL, 'f' },
					       { "to", required_argument, NULL, 't' },
					       { "on", required_argument, NULL, 'o' },
					       { "from-claims", required_argument, NULL, 'F' },
					       { "to-claims", required_argument, NULL, 'T' },
					       { "http", required_argument, NULL, 'H' },
					       { "json", no_argument, NULL, 'j' },
					       { "live", no_argument, NULL, 'l' },
					       { "instance", required_argument, NULL, 'i' },
					       { "socket", required_argument, NULL, 's' },
					       { "help", no_argument, NULL, 'h' },
					       { 0 } };
	int c, ret;

	optind = 0; /* glibc: start afresh */
	while ((c = getopt_long(argc, argv, "h", longs, NULL)) != -1) {
		if (c == 'h') {
			fputs(help, stdout);
			return EXIT_YES;
		}
		ret = option_take(a, c);
		if (ret)
			return ret;
	}
	a->q.from_claims = a->claims[0];
	a->q.to_claims = a->claims[1];
	return -1;
}

static const char *shown(const struct asked *a, const char *who, char *buf, size_t size)
{
	if (!a->q.on || strcmp(who, "host") != 0)
		return who;
	snprintf(buf, size, "host on %s", a->q.on);
	return buf;
}

static int ask_files(struct asked *a, int n, char **paths)
{
	auto_call(loaded_fini) struct loaded l = { 0 };
	char from[160], to[160];
	struct pol_answer answer;
	struct err e = ERR_INIT;

	if (policy_load(n, paths, &l) != EXIT_YES)
		return EXIT_USAGE;
	if (pol_ask(l.model, &a->q, &answer, &e) < 0)
		return policy_say(&e);
	if (!a->is_json)
		pol_answer_print(&answer, shown(a, a->q.from, from, sizeof(from)), shown(a, a->q.to, to, sizeof(to)),
				 a->q.selector, a->q.http, stdout);
	else if (print_json(&answer, a) != 0)
		return EXIT_USAGE;
	return answer.action == BY_ALLOW ? EXIT_YES : EXIT_NO;
}

static int ask_live(const struct asked *a, int n, char **paths)
{
	auto_call(loaded_fini) struct loaded l = { 0 };
	struct policy_live q = { .from = a->q.from,
				 .to = a->q.to,
				 .port = a->port,
				 .instance = a->instance,
				 .socket = a->socket,
				 .is_json = a->is_json };

	if (a->q.on || a->q.from_claims || a->q.to_claims || a->q.http)
		return policy_misused(
			"explain", "--live asks the kernel about nodes as they are, without --on, claims and --http");
	if (n && policy_load(n, paths, &l) != EXIT_YES)
		return EXIT_USAGE;
	q.digest = n ? l.digest : NULL;
	return policy_ask_live(&q);
}

int cmd_policy_explain(int argc, char **argv)
{
	auto_call(asked_fini) struct asked a = { 0 };
	struct err e = ERR_INIT;
	int ret = options_read(argc, argv, &a);

	if (ret >= 0)
		return ret;
	argc -= optind;
	argv += optind;
	if (argc < 2 - a.is_live || !a.q.from || !a.q.to)
		return policy_misused("explain", "needed FILE, --from WHO, --to WHO and one port such as tcp/443");
	if (!a.is_live && (a.instance || a.socket))
		return policy_misused("explain", "--instance and --socket are for --live");
	a.port = argv[argc - 1];
	if (!pol_selector_parse(a.port, &a.q.selector, &e))
		return policy_say(&e);
	return a.is_live ? ask_live(&a, argc - 1, argv) : ask_files(&a, argc - 1, argv);
}
