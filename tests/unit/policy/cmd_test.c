// SPDX-License-Identifier: Apache-2.0
/* `bailey policy` as people run it: what it prints where, and how it exits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/cleanup.h"
#include "cli/cmds.h"

#define TIER "policy/examples/three-tier.yaml"
#define BAD  "tests/golden/policy/version-unknown.yaml"
#define ONE  "tests/golden/policy/deny-all.yaml"
#define MANY "tests/golden/policy/several"
#define FAIL "tests/golden/policy/tests-fail.yaml"
#define HOST "tests/golden/policy/hosts.yaml"
#define HTTP "tests/golden/policy/http.yaml"
#define EVID "tests/golden/policy/evidence.yaml"

struct outcome {
	char out[8192], err[8192];
	int status;
};

static void slurp(FILE *from, char *buf, size_t size)
{
	rewind(from);
	buf[fread(buf, 1, size - 1, from)] = '\0';
	fclose(from);
}

/* line: words with one blank between, a tab is a blank within one; `input` is the standard input */
static struct outcome run(const char *line, const char *input)
{
	char words[512], *argv[32] = { 0 };
	FILE *in = tmpfile(), *out = tmpfile(), *err = tmpfile();
	struct outcome o = { 0 };
	int argc = 0, status;
	pid_t pid;

	snprintf(words, sizeof(words), "%s", line);
	for (char *w = strtok(words, " "); w; w = strtok(NULL, " "))
		argv[argc++] = w;
	for (int i = 0; i < argc; i++)
		for (char *tab = argv[i]; (tab = strchr(tab, '\t'));)
			*tab = ' ';
	fputs(input, in);
	rewind(in);
	fflush(NULL);
	pid = fork();
	if (pid == 0) {
		dup2(fileno(in), 0);
		dup2(fileno(out), 1);
		dup2(fileno(err), 2);
		status = cmd_policy(argc, argv);
		fflush(NULL);
		_exit(status);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	o.status = WEXITSTATUS(status);
	slurp(out, o.out, sizeof(o.out));
	slurp(err, o.err, sizeof(o.err));
	fclose(in);
	return o;
}

static void expect(const char *line, const char *input, int status, const char *out, const char *err)
{
	struct outcome o = run(line, input);

	if (o.status != status || strcmp(o.out, out) != 0 || strcmp(o.err, err) != 0)
		fail_msg("%s: exit %d\n-- stdout\n%s\n-- stderr\n%s", line, o.status, o.out, o.err);
}

static void check_says_ok_or_why_not(void **state)
{
	static const char one[] = "version: 1\nrules: [{ from: any-attested, to: any-attested, allow: [any] }]\n";
	static const char two[] = "version: 1\nrules:\n- { from: any-attested, to: any-attested, allow: [any] }\n"
				  "- { from: any-attested, to: any-attested, allow: [tcp/1] }\n";

	(void)state;
	expect("policy check " TIER, "", 0, TIER ": ok, 2 rules, 3 apps, 5 tests passed\n", "");
	expect("policy check -", one, 0, "<stdin>: ok, 1 rule, 0 apps, 0 tests passed\n", "");
	expect("policy check -", "version: 3\nrules: []\n", 1, "",
	       "<stdin>:1:10: version: found '3', needed 1\n"
	       "<stdin>:2:8: rules: needed a list of at least one rule; { from: any-attested, to: any-attested, deny: "
	       "[any] } denies everything\n");
	assert_int_equal(run("policy check " FAIL, "").status, 1);
	expect("policy check -", two, 0, "<stdin>: ok, 2 rules, 0 apps, 0 tests passed, 1 warning\n",
	       "<stdin>:4:3: warning: rules[1]: rule 'rule-2' can never decide: rule 'rule-1' on line 3 allows all of "
	       "it "
	       "already\n");
	expect("policy test -", two, 0, "<stdin>: 0 of 0 tests passed\n", "");
	expect("policy check /nonexistent " BAD, "", 2, "", "bailey policy: /nonexistent: No such file or directory\n");
}

static void several_files_are_one_policy(void **state)
{
	static const char more[] = "version: 1\nrules: [{ from: web, to: db, allow: [tcp/22] }]\n";

	(void)state;
	expect("policy check " TIER " -", more, 1, "",
	       TIER ":14:5: tests[1]: web to db tcp/22 is allowed (rule rule-3, at <stdin>:2), expected deny\n");
	expect("policy explain " TIER " - --from web --to db tcp/22", more, 0, "ALLOW  rule rule-3 (<stdin>:2)\n", "");
	expect("policy check - -", more, 1, "", "-: is part of the policy already, as -\n");
	expect("policy check " TIER " " MANY "/10-base.yaml", "", 1, "",
	       MANY "/10-base.yaml:5:3: apps.web: 'web' is in " TIER ":4:3 already\n" MANY
		    "/10-base.yaml:6:3: apps.db: 'db' is in " TIER ":5:3 already\n");
	expect("policy check " MANY "/", "", 0, MANY "/: ok, 3 files, 3 rules, 2 apps, 2 tests passed, 1 warning\n",
	       MANY "/teams/web.yaml:4:5: warning: rules[1]: rule 'ssh' can never decide: rule 'no-ssh' at "
		    "20-guard.yaml:3 denies all of it\n");
	expect("policy test " MANY, "", 0, MANY ": 2 of 2 tests passed\n", "");
	expect("policy diff " MANY "/10-base.yaml " MANY, "", 1, "- web -> db: tcp/22\n", "");
	expect("policy explain " MANY " --from web --to db tcp/22", "", 1, "DENY   rule no-ssh (20-guard.yaml:3)\n",
	       "");
	expect("policy check tests/golden/policy/several/teams/..", "", 0,
	       "tests/golden/policy/several/teams/..: ok, 3 files, 3 rules, 2 apps, 2 tests passed, 1 warning\n",
	       "tests/golden/policy/several/teams/../teams/web.yaml:4:5: warning: rules[1]: rule 'ssh' can never "
	       "decide: "
	       "rule 'no-ssh' at 20-guard.yaml:3 denies all of it\n");
	expect("policy check tests/unit", "", 1, "", "tests/unit: has no file whose name ends in .yaml\n");
}

static void explain_answers_in_words(void **state)
{
	(void)state;
	expect("policy explain " TIER " --from web --to db tcp/5432", "", 0,
	       "ALLOW  rule web-to-db (three-tier.yaml:9)\n", "");
	expect("policy explain --from web " TIER " tcp/22 --to=db", "", 1,
	       "DENY   default deny: no rule from web to db covers tcp/22\n"
	       "       nearest: web-to-db (three-tier.yaml:9) allows tcp/5432\n",
	       "");
	expect("policy explain " TIER " --from intruder --to db tcp/5432", "", 1,
	       "DENY   default deny: no rule from intruder to db covers tcp/5432\n", "");
	expect("policy explain " TIER " --from wbe --to db tcp/1", "", 2, "",
	       "bailey policy: unknown app 'wbe'; did you mean 'web'?\n");
	expect("policy explain " TIER " --from any-attested --to db tcp/1", "", 2, "",
	       "bailey policy: 'any-attested' is every node; needed one: an app, an instance, a claim or 40 hex digits "
	       "that no app has\n");
	expect("policy apply " TIER " --socket /nonexistent", "", 1, "",
	       "bailey: /nonexistent: nobody listens there: the daemon is not running\n");
	expect("policy explain " TIER " --from web --to db tcp/70000", "", 2, "",
	       "bailey policy: port 70000 is above 65535\n");
	expect("policy explain " BAD " --from web --to db tcp/1", "", 2, "",
	       BAD ":1:10: version: found '2', needed 1\n");
}

static void explain_knows_hosts(void **state)
{
	(void)state;
	expect("policy explain " HOST " --from 10.0.0.1 --to host tcp/22", "", 0,
	       "ALLOW  rule ssh (hosts.yaml:9), logged\n", "");
	expect("policy explain " HOST " --from 10.1.2.3 --to host tcp/22", "", 1,
	       "DENY   rule not-one (hosts.yaml:11)\n", "");
	expect("policy explain " HOST " --from 192.0.2.1 --to host --on db tcp/443", "", 1,
	       "DENY   default deny: no rule from 192.0.2.1 to host on db covers tcp/443\n", "");
	expect("policy explain " HOST " --from 192.0.2.1 --to host --on web tcp/443", "", 0,
	       "ALLOW  rule pages (hosts.yaml:12), at most 1000 packets/s, 1000 at once\n", "");
	expect("policy explain " HOST " --from 192.0.2.1 --to host --on web --to-claims simulated=true tcp/443", "", 1,
	       "DENY   default deny: no rule from 192.0.2.1 to host on web covers tcp/443\n"
	       "       nearest: pages (hosts.yaml:12) allows tcp/443\n"
	       "       needs of host on web: simulated false; it is true\n",
	       "");
	expect("policy explain " HOST " --from host --to 2001:db8::1 --on db udp/53", "", 0,
	       "ALLOW  rule out (hosts.yaml:13), at most 20 new flows/s, 20 at once\n", "");
	expect("policy explain " HOST " --from 10.0.0.0/8 --to host tcp/22", "", 2, "",
	       "bailey policy: '10.0.0.0/8' is a network; needed one address of it\n");
	expect("policy explain " HOST " --from web --to host tcp/22", "", 2, "",
	       "bailey policy: found 'web', the other side of host is one address such as 203.0.113.7\n");
	expect("policy explain " HOST " --from host --to host tcp/22", "", 2, "",
	       "bailey policy: host is on both sides; the other one is an address\n");
	expect("policy explain " HOST " --from web --to db --on db tcp/22", "", 2, "",
	       "bailey policy: 'on' is for questions about host\n");
	expect("policy explain " HOST " --from 10.0.0.1 --to db tcp/22", "", 2, "",
	       "bailey policy: '10.0.0.1' has no identity; it can only be the other side of host\n");
	expect("policy explain " HOST " --from 10.0.0.1 --from-claims tcb=Revoked --to host tcp/22", "", 2, "",
	       "bailey policy: an address proves no claims\n");
}

static void explain_knows_claims(void **state)
{
	static const char good[] =
		"ALLOW  rule store (evidence.yaml:16), logged, at most 100 new flows/s for each peer, 200 "
		"at once\n";
	static const char unknown[] = "DENY   default deny: no rule from web to db covers tcp/5432\n"
				      "       nearest: store (evidence.yaml:16) allows tcp/5432\n"
				      "       needs of db: tcb UpToDate, SWHardeningNeeded; it is unknown\n";
	static const char simulated[] = "DENY   default deny: no rule from web to db covers tcp/5432\n"
					"       nearest: store (evidence.yaml:16) allows tcp/5432\n"
					"       needs of db: simulated false; it is true\n";

	(void)state;
	expect("policy explain " EVID " --from web --to db tcp/5432 --to-claims tcb=SWHardeningNeeded", "", 0, good,
	       "");
	expect("policy explain " EVID " --from web --to db tcp/5432 --to-claims tcb=unknown", "", 1, unknown, "");
	expect("policy explain " EVID " --from web --to db tcp/5432 --to-claims -",
	       "{ \"tcb\": \"UpToDate\", \"simulated\": false }", 0, good, "");
	expect("policy explain " EVID " --from web --to db tcp/5432 --to-claims -", "tcb: UpToDate\nsimulated: true\n",
	       1, simulated, "");
	expect("policy explain " EVID " --from web --from-claims tcb=Revoked --to db tcp/5432", "", 1,
	       "DENY   rule no-old (evidence.yaml:20)\n", "");
	expect("policy explain " EVID " --from web --to db-1 tcp/5432", "", 0,
	       "ALLOW  rule store (evidence.yaml:16), logged, at most 100 new flows/s for each peer, 200 at once; "
	       "AUDIT: rule watch (evidence.yaml:17) would drop\n",
	       "");
	/* every problem of a map at once, with its place */
	expect("policy explain " EVID " --from web --to db tcp/5432 --to-claims -",
	       "tbc: UpToDate\nsimulated: 1\nmrtd: 00\n", 2, "",
	       "<stdin>:1:1: tbc: unknown key 'tbc'; did you mean 'tcb'?\n");
	expect("policy explain " EVID " --from web --to db tcp/5432 --to-claims -", "simulated: 1\nmrtd: 00\n", 2, "",
	       "<stdin>:1:12: simulated: found '1', needed true or false\n"
	       "<stdin>:2:7: mrtd: found '00' (2 characters), needed 96 hex digits\n");
	expect("policy explain " EVID " --from web --to db tcp/5432 --to-claims tcb=Good", "", 2, "",
	       "bailey policy: found 'Good', needed a TCB status, such as UpToDate\n");
	expect("policy explain " EVID " --from web --to db tcp/5432 --to-claims /nonexistent", "", 2, "",
	       "bailey policy: --to-claims: /nonexistent: No such file or directory\n");
}

static void json_is_a_contract(void **state)
{
	struct outcome o;

	(void)state;
	expect("policy explain " TIER " --from web --to db tcp/22 --json", "", 1,
	       "{\n  \"action\": \"deny\",\n  \"from\": \"web\",\n  \"to\": \"db\",\n  \"port\": \"tcp/22\",\n"
	       "  \"rung\": \"default deny\",\n  \"rule\": null,\n  \"log\": false,\n  \"rate\": null,\n  \"audit\": "
	       "null,\n"
	       "  \"nearest\": {\n    \"name\": \"web-to-db\",\n"
	       "    \"file\": \"three-tier.yaml\",\n    \"line\": 9,\n    \"allows\": \"tcp/5432\"\n  }\n}\n",
	       "");
	expect("policy explain " TIER " --from web --to db tcp/5432 --json", "", 0,
	       "{\n  \"action\": \"allow\",\n  \"from\": \"web\",\n  \"to\": \"db\",\n  \"port\": \"tcp/5432\",\n"
	       "  \"rung\": \"allow rule\",\n  \"rule\": {\n    \"name\": \"web-to-db\",\n    \"file\": "
	       "\"three-tier.yaml\",\n"
	       "    \"line\": 9\n  },\n  \"log\": false,\n  \"rate\": null,\n  \"audit\": null,\n  \"nearest\": "
	       "null\n}\n",
	       "");
	expect("policy explain " EVID " --from web --to db-1 tcp/5432 --json", "", 0,
	       "{\n  \"action\": \"allow\",\n  \"from\": \"web\",\n  \"to\": \"db-1\",\n  \"port\": \"tcp/5432\",\n"
	       "  \"rung\": \"allow rule\",\n  \"rule\": {\n    \"name\": \"store\",\n    \"file\": "
	       "\"evidence.yaml\",\n"
	       "    \"line\": 16\n  },\n  \"log\": true,\n  \"rate\": {\n    \"flows\": 100,\n    \"burst\": 200,\n"
	       "    \"per\": \"peer\"\n  },\n  \"audit\": {\n    \"name\": \"watch\",\n    \"file\": "
	       "\"evidence.yaml\",\n"
	       "    \"line\": 17\n  },\n  \"nearest\": null\n}\n",
	       "");
	o = run("policy explain " EVID " --from web --to db tcp/5432 --to-claims tcb=unknown,simulated=true --json",
		"");
	assert_int_equal(o.status, 1);
	assert_non_null(strstr(o.out, "  \"nearest\": {\n    \"name\": \"store\",\n"
				      "    \"file\": \"evidence.yaml\",\n    \"line\": 16,\n"
				      "    \"allows\": \"tcp/5432\",\n    \"needs\": [\n      {\n"
				      "        \"side\": \"to\",\n        \"claim\": \"tcb\",\n"
				      "        \"needed\": \"UpToDate, SWHardeningNeeded\",\n"
				      "        \"has\": null\n      },\n      {\n"
				      "        \"side\": \"to\",\n        \"claim\": \"simulated\",\n"
				      "        \"needed\": \"false\",\n        \"has\": \"true\"\n"
				      "      }\n    ]\n  }\n}\n"));
	expect("policy test " TIER " --json", "", 0,
	       "{\n  \"file\": \"" TIER "\",\n  \"tests\": 5,\n  \"failed\": 0,\n  \"failures\": []\n}\n", "");
	assert_non_null(strstr(run("policy test --json " FAIL, "").out,
			       "  \"tests\": 5,\n  \"failed\": 4,\n  \"failures\": [\n    {\n      \"file\": \"" FAIL
			       "\",\n      \"line\": 9,\n"
			       "      \"column\": 5,\n      \"path\": \"tests[0]\",\n"));
}

static void test_counts(void **state)
{
	struct outcome o;

	(void)state;
	expect("policy test " TIER, "", 0, TIER ": 5 of 5 tests passed\n", "");
	o = run("policy test " FAIL, "");
	assert_int_equal(o.status, 1);
	assert_string_equal(o.out, FAIL ": 1 of 5 tests passed\n");
	assert_non_null(strstr(o.err, FAIL ":9:5: tests[0]: web to db tcp/5432 is allowed"));
}

static void compile_dumps(void **state)
{
	struct outcome o = run("policy compile " TIER " --self db --peer web --peer intruder --dump", "");

	(void)state;
	assert_int_equal(o.status, 0);
	assert_non_null(strstr(o.out, "rule 1: web-to-db (three-tier.yaml:9)\n"));
	assert_non_null(strstr(o.out, "member 0000000000000000000000000000000000000002: peer class 1\n"));
	assert_non_null(strstr(o.out, "in  peer class 2, port class 1: allow by rule 1\n"));
	assert_null(strstr(o.out, "host"));
	assert_int_equal(run("policy compile " TIER " --self db", "").status, 0);
	o = run("policy compile " HOST " --self web --dump", "");
	assert_non_null(strstr(o.out, "\nhost\npolicy sha256 "));
	assert_non_null(strstr(o.out, "net 10.1.2.3/32: peer class 4\n"));
	assert_non_null(strstr(o.out, "in  peer class 1, port class 3: allow by rule 4\n"));
	o = run("policy compile " HOST " --self web --self-claims simulated=true --dump", "");
	assert_null(strstr(o.out, "pages")); /* of web, and this one does not meet what web requires */
	assert_non_null(strstr(o.out, "rule 1: ssh (hosts.yaml:9), logged\n"));
	expect("policy compile " TIER " --self dbb", "", 2, "",
	       "bailey policy: unknown app 'dbb'; did you mean 'db'?\n");
	assert_int_equal(run("policy compile " BAD " --self db", "").status, 1);
}

static void compile_dumps_json(void **state)
{
	static const char policy[] = "version: 1\nrules:\n"
				     "- { from: world, to: host, allow: [tcp/80], rate: { flows: 5 } }\n";
	struct outcome o = run("policy compile - --self 0100000000000000000000000000000000000000 --json", policy);

	(void)state;
	assert_int_equal(o.status, 0);
	assert_non_null(strstr(o.out, "\"overlay\": {\n    \"bytes\": 88,\n    \"rules\": [],\n    \"classes\": [\n"
				      "      {\n        \"kind\": null,\n        \"class\": 1\n      }\n    ],\n"
				      "    \"ports\": [],\n    \"verdicts\": []\n  },\n"));
	assert_non_null(strstr(o.out,
			       "\"rules\": [\n      {\n        \"number\": 1,\n        \"name\": \"rule-1\",\n"
			       "        \"where\": \"<stdin>:3\",\n        \"audit\": false,\n        \"log\": false,\n"
			       "        \"http\": false,\n"
			       "        \"rate\": {\n          \"flows\": 5,\n          \"burst\": 5,\n"
			       "          \"per\": \"rule\"\n        }\n      }\n    ],\n"));
	assert_non_null(strstr(o.out, "{\n        \"network\": \"0.0.0.0/0\",\n        \"class\": 1\n      }"));
	assert_non_null(
		strstr(o.out, "{\n        \"ports\": \"tcp/80\",\n        \"in\": 1,\n        \"out\": 0\n      }"));
	assert_non_null(strstr(o.out,
			       "{\n        \"dir\": \"in\",\n        \"class\": 1,\n        \"port_class\": 1,\n"
			       "        \"action\": \"allow\",\n        \"rule\": 1,\n        \"audit\": 0\n      }"));
	o = run("policy compile " TIER " --self db --json", "");
	assert_non_null(strstr(o.out, "\"host\": null\n}"));
}

static void diff_tells_flows(void **state)
{
	static const char open_all[] =
		"version: 1\nrules: [{ from: any-attested, to: any-attested, allow: [tcp/1] }]\n";
	static const char named[] = "version: 1\napps: { a: { app-id: 0100000000000000000000000000000000000000 } }\n"
				    "rules: [{ from: a, to: any-attested, allow: [udp, icmp] }]\n";

	(void)state;
	expect("policy diff " TIER " " TIER, "", 0, "", "");
	expect("policy diff " ONE " -", open_all, 1, "+ any-attested -> any-attested: tcp/1\n", "");
	expect("policy diff --json " ONE " -", named, 1,
	       "{\n  \"changes\": [\n    {\n      \"now\": \"allow\",\n      \"from\": {\n        \"apps\": [\n"
	       "          {\n            \"name\": \"a\",\n            \"app_id\": "
	       "\"0100000000000000000000000000000000000000\"\n          }\n        ],\n        \"others\": false,\n"
	       "        \"networks\": []\n"
	       "      },\n      \"to\": {\n        \"apps\": [\n          {\n            \"name\": \"a\",\n"
	       "            \"app_id\": \"0100000000000000000000000000000000000000\"\n          }\n        ],\n"
	       "        \"others\": true,\n        \"networks\": []\n      },\n      \"ports\": [\n        \"udp\",\n  "
	       "      \"icmp\"\n      ],\n      \"http\": false\n"
	       "    }\n  ],\n  \"http_rules\": []\n}\n",
	       "");
	expect("policy diff --json " TIER " " TIER, "", 0, "{\n  \"changes\": [],\n  \"http_rules\": []\n}\n", "");
	expect("policy diff " TIER " " BAD, "", 2, "", BAD ":1:10: version: found '2', needed 1\n");
	expect("policy diff " TIER " /nonexistent", "", 2, "",
	       "bailey policy: /nonexistent: No such file or directory\n");
}

static void requests_are_asked_for(void **state)
{
	struct outcome o;

	(void)state;
	expect("policy explain " HTTP " --from web --to db tcp/443 --http GET\t/v1/items/3?a=b", "", 0,
	       "ALLOW  rule api (http.yaml:9), HTTP\n", "");
	expect("policy explain " HTTP " --from web --to db tcp/443 --http DELETE\t/v1/items/3", "", 1,
	       "DENY   default deny: no rule from web to db covers tcp/443 DELETE /v1/items/3\n"
	       "       nearest: api (http.yaml:9) allows tcp/443, of HTTP GET, HEAD /v1/items/**; POST /v1/*/search\n",
	       "");
	expect("policy explain " HTTP " --from web --to db udp/443 --http GET\t/", "", 2, "",
	       "bailey policy: HTTP is asked about between nodes, on a port of tcp\n");
	expect("policy explain " HTTP " --from web --to db tcp/443 --http GET\t/a/../b", "", 2, "",
	       "bailey policy: path has a segment ..\n");
	expect("policy explain " HTTP " --from web --to db tcp/443 --http GET", "", 2, "",
	       "bailey policy: found 'GET', needed a method and a path, such as 'GET /v1/items'\n");
	o = run("policy explain " HTTP " --from web --to db tcp/443 --http GET\t/admin --json", "");
	assert_int_equal(o.status, 1);
	assert_non_null(strstr(o.out, "\"http\": \"GET /admin\""));
	o = run("policy diff --json " HTTP " tests/golden/policy/http.new", "");
	assert_int_equal(o.status, 1);
	assert_non_null(strstr(o.out, "\"http\": true"));
	assert_non_null(strstr(o.out, "\"http_rules\": [\n    {\n      \"now\": \"gone\",\n      \"name\": \"api\""));
}

/* The port of a rule about requests is in the image where a mesh listens, and nowhere else. */
static void a_mesh_opens_ports(void **state)
{
	struct outcome o = run("policy compile " HTTP " --self db --dump", "");

	(void)state;
	assert_null(strstr(o.out, "allow by rule"));
	assert_non_null(strstr(o.out, "in  peer class 1, port class 1: deny by rule 2"));
	o = run("policy compile " HTTP " --self db --mesh tcp/443 --mesh tcp/8080-8081 --dump", "");
	assert_int_equal(o.status, 0);
	assert_non_null(strstr(o.out, "rule 1: api (http.yaml:9), HTTP\n"));
	assert_non_null(strstr(o.out, "ports tcp/443: port class in 1"));
	assert_non_null(strstr(o.out, "in  peer class 2, port class 1: allow by rule 1"));
	assert_null(strstr(o.out, "port class 1: deny"));
	assert_non_null(strstr(o.out, "in  peer class 1, port class 2: deny by rule 2")); /* tcp/8443 */
	o = run("policy compile " HTTP " --self db --mesh udp/443", "");
	assert_int_equal(o.status, 2);
	assert_non_null(strstr(o.err, "--mesh is about ports of tcp, such as tcp/443"));
}

static void put(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	assert_int_equal(fputs(text, f) < 0, 0);
	assert_int_equal(fclose(f), 0);
}

static void has(const char *path, const char *text)
{
	char got[512];
	FILE *f = fopen(path, "r");

	assert_non_null(f);
	slurp(f, got, sizeof(got));
	assert_string_equal(got, text);
}

#define UGLY "version: 1 # one\nrules:\n- {to: b, from: a,   allow: [tcp]}\n"
#define FAIR "version: 1 # one\nrules:\n  - { from: a, to: b, allow: [tcp] }\n"

static void fmt_rewrites(void **state)
{
	char dir[] = "/tmp/bailey-fmt-XXXXXX", a[64], b[64], c[64], link[64], line[256], said[256];
	struct stat st;

	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(a, sizeof(a), "%s/a.yaml", dir);
	snprintf(b, sizeof(b), "%s/b.yaml", dir);
	snprintf(c, sizeof(c), "%s/c.yaml", dir);
	snprintf(link, sizeof(link), "%s/link", dir);
	put(a, UGLY);
	put(b, FAIR);
	put(c, "a: |\n  b\n");
	assert_int_equal(chmod(a, 0640), 0);
	assert_int_equal(symlink("a.yaml", link), 0);

	expect("policy fmt", UGLY, 0, FAIR, "");
	expect("policy fmt --check -", UGLY, 1, "<stdin>\n", "");
	expect("policy fmt --check -", FAIR, 0, "", "");
	snprintf(line, sizeof(line), "policy fmt --check %s", dir);
	snprintf(said, sizeof(said), "%s:1:4: a block of text can not be kept; write it in quotes\n", c);
	assert_string_equal(run(line, "").err, said);
	snprintf(said, sizeof(said), "%s\n", a);
	assert_string_equal(run(line, "").out, said);
	assert_int_equal(run(line, "").status, 1);
	has(a, UGLY);

	snprintf(line, sizeof(line), "policy fmt %s %s", link, b);
	snprintf(said, sizeof(said), "%s\n", link);
	expect(line, "", 0, said, "");
	has(a, FAIR);
	assert_int_equal(lstat(link, &st), 0);
	assert_true(S_ISLNK(st.st_mode));
	assert_int_equal(stat(a, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0640);
	expect("policy fmt /nonexistent", "", 2, "", "bailey policy: /nonexistent: No such file or directory\n");
	expect("policy fmt --check policy/examples", "", 0, "", "");
	assert_int_equal(unlink(a) | unlink(b) | unlink(c) | unlink(link) | rmdir(dir), 0);
}

static void misuse_exits_2(void **state)
{
	static const char *const lines[] = { "policy",
					     "policy chek",
					     "policy check",
					     "policy check --zebra",
					     "policy explain " TIER,
					     "policy explain " TIER " --from web --to db",
					     "policy explain " TIER " --from web tcp/1",
					     "policy test",
					     "policy fmt --zebra",
					     "policy apply " TIER " --confirm 0 --socket /nonexistent",
					     "policy apply " TIER " --confirm 25h --socket /nonexistent",
					     "policy apply " TIER " --confirm 60x --socket /nonexistent",
					     "policy apply /nonexistent --socket /nonexistent",
					     "policy confirm " TIER,
					     "policy confirm --confirm 60s",
					     "policy rollback 2",
					     "policy diff " TIER,
					     "policy diff " TIER " " TIER " " TIER,
					     "policy compile " TIER,
					     "policy compile --self db" };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
		struct outcome o = run(lines[i], "");

		if (o.status != 2 || o.out[0] || !o.err[0])
			fail_msg("%s: exit %d\n%s\n%s", lines[i], o.status, o.out, o.err);
	}
}

static void help_is_no_error(void **state)
{
	static const char *const lines[] = { "policy --help",         "policy check --help", "policy explain -h",
					     "policy fmt --help",     "policy test --help",  "policy diff --help",
					     "policy compile --help", "policy apply --help", "policy confirm -h",
					     "policy rollback --help" };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
		struct outcome o = run(lines[i], "");

		assert_int_equal(o.status, 0);
		assert_memory_equal(o.out, "usage: bailey policy ", 21);
		assert_string_equal(o.err, "");
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(check_says_ok_or_why_not),
		cmocka_unit_test(several_files_are_one_policy),
		cmocka_unit_test(explain_answers_in_words),
		cmocka_unit_test(explain_knows_hosts),
		cmocka_unit_test(explain_knows_claims),
		cmocka_unit_test(json_is_a_contract),
		cmocka_unit_test(test_counts),
		cmocka_unit_test(compile_dumps),
		cmocka_unit_test(compile_dumps_json),
		cmocka_unit_test(diff_tells_flows),
		cmocka_unit_test(requests_are_asked_for),
		cmocka_unit_test(a_mesh_opens_ports),
		cmocka_unit_test(fmt_rewrites),
		cmocka_unit_test(misuse_exits_2),
		cmocka_unit_test(help_is_no_error),
	};

	return cmocka_run_group_tests_name("policy/cmd", tests, NULL, NULL);
}
