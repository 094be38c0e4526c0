// SPDX-License-Identifier: Apache-2.0
/* bailey policy explain --live: the question to the loaded programs, by way of baileyd. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "cmd_policy.h"
#include "cmds.h"
#include "ctl/client.h"
#include "daemon.h"

static void print_answer(const json_t *a)
{
	const json_t *rule = json_object_get(a, "rule"), *audit = json_object_get(a, "audit");
	char src[160], dst[160], near[512];

	side_text(json_object_get(a, "src"), src, sizeof(src));
	side_text(json_object_get(a, "dst"), dst, sizeof(dst));
	printf("%-6s %s -> %s %s %s on %s: ", strcmp(js(a, "action"), "allow") == 0 ? "ALLOW" : "DENY", src, dst,
	       js(a, "port"), js(a, "dir"), js(a, "interface"));
	if (json_is_object(rule))
		printf("rule %s (%s)", js(rule, "name"), js(rule, "where"));
	else if (*js(a, "error"))
		printf("no answer: %s", js(a, "error"));
	else if (strcmp(js(a, "action"), "allow") == 0)
		printf("passes by itself, no rule is asked");
	else
		printf("%s: %s", js(a, "reason"), js(a, "text"));
	nearest_text(a, near, sizeof(near));
	if (*near)
		printf("; %s", near);
	if (json_is_object(rule) && *js(a, "reason") && strcmp(js(a, "reason"), "POLICY_DENY") != 0)
		printf(", %s", js(a, "reason"));
	if (json_is_object(audit))
		printf("; AUDIT: rule %s (%s) would drop", js(audit, "name"), js(audit, "where"));
	putchar('\n');
}

/* Rules and places of a file say nothing about a program that has another policy. */
static bool is_same_policy(const json_t *reply, const uint8_t *digest)
{
	char hex[65];

	if (!digest)
		return true;
	hex_print(hex, digest, 32);
	if (strcmp(hex, js(reply, "policy")) == 0)
		return true;
	fprintf(stderr,
		"bailey policy: the files are policy %.12s, and what %s has loaded is %.12s; `bailey policy apply` "
		"makes "
		"them the same, and without a file --live asks what is loaded\n",
		hex, js(reply, "node"), *js(reply, "policy") ? js(reply, "policy") : "none");
	return false;
}

static int print_answers(json_t *reply, bool is_json)
{
	const json_t *answer;
	int status = EXIT_YES;
	size_t i;

	json_array_foreach (json_object_get(reply, "answers"), i, answer) {
		if (!is_json)
			print_answer(answer);
		if (strcmp(js(answer, "action"), "allow") != 0 && status == EXIT_YES)
			status = EXIT_NO;
		if (*js(answer, "error"))
			status = EXIT_USAGE;
	}
	if (is_json && policy_print_json(reply) != 0)
		return EXIT_USAGE;
	if (ji(reply, "more"))
		fprintf(stderr, "bailey policy: %lld more pairs of nodes fit; name one node\n", ji(reply, "more"));
	return i && !ji(reply, "more") ? status : EXIT_USAGE;
}

int policy_ask_live(const struct policy_live *q)
{
	struct daemon_args a = { .instance = q->instance };
	struct err e = ERR_INIT;
	json_t *reply;
	int ret;

	if (q->socket)
		snprintf(a.socket, sizeof(a.socket), "%s", q->socket);
	else if (ctl_socket_path(q->instance, a.socket, sizeof(a.socket), &e) < 0)
		return policy_say(&e);
	if (!query_add(&a, "from", q->from) || !query_add(&a, "to", q->to) || !query_add(&a, "port", q->port))
		return policy_misused("explain", "a name is too long");
	reply = daemon_call(&a, "GET", "/v1/policy/ask");
	if (!reply)
		return EXIT_USAGE;
	ret = is_same_policy(reply, q->digest) ? print_answers(reply, q->is_json) : EXIT_USAGE;
	json_decref(reply);
	return ret;
}
