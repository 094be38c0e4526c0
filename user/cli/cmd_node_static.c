// SPDX-License-Identifier: Apache-2.0
/* bailey node add, remove, readmit: whom a baileyd believes that no control plane tells. */
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "cmds.h"
#include "ctl/client.h"
#include "daemon.h"

#define RECORD_MAX (512 * 1024)

static const char usage[] = "usage: bailey node add FILE...\n"
			    "       bailey node remove NODE\n"
			    "       bailey node readmit INSTANCE\n"
			    "options: --instance NAME  --socket PATH  --help\n";

DEFINE_CLEANUP(json, json_t, json_decref)

bool cmd_node_is_static(const char *verb)
{
	return strcmp(verb, "add") == 0 || strcmp(verb, "remove") == 0 || strcmp(verb, "readmit") == 0;
}

static int failed(const char *what, const json_t *answer, const struct err *e)
{
	const char *reason = js(answer, "reason");

	if (*reason)
		fprintf(stderr, "bailey: %s: refused: %s: %s: %s\n", what, reason, js(answer, "where"),
			js(answer, "error"));
	else
		fprintf(stderr, "bailey: %s: %s: %s\n", what, e->where, e->msg);
	return EXIT_NO;
}

static int add(const char *socket, const char *file)
{
	auto_call(cleanup_json) json_t *answer = NULL, *body = NULL;
	struct err e = ERR_INIT;
	auto_free char *text = NULL;
	time_t until;
	char end[32];
	size_t len;

	if (file_read_arg(file, RECORD_MAX, &text, &len, &e) < 0) {
		fprintf(stderr, "bailey: %s: %s\n", e.where, e.msg);
		return EXIT_USAGE;
	}
	body = json_pack("{s:s#}", "record", text, len);
	if (!body) {
		fprintf(stderr, "bailey: %s: is no record: it has bytes that are no text\n", file);
		return EXIT_NO;
	}
	if (ctl_post(socket, "/v1/records/add", body, &answer, &e) < 0)
		return failed(file, answer, &e);
	until = (time_t)ji(answer, "until");
	strftime(end, sizeof(end), "%FT%TZ", gmtime(&until));
	printf("%s: node %s, instance %s, until %s%s\n", file, js(answer, "node"), js(answer, "instance_id"), end,
	       json_is_true(json_object_get(answer, "simulated")) ? ", SIMULATED" : "");
	return EXIT_YES;
}

static int set(const char *socket, const char *verb, const char *node)
{
	auto_call(cleanup_json) json_t *body = json_pack("{s:s}", "node", node), *answer = NULL;
	struct err e = ERR_INIT;
	char path[40];

	snprintf(path, sizeof(path), "/v1/records/%s", verb);
	if (ctl_post(socket, path, body, &answer, &e) < 0)
		return failed(node, answer, &e);
	printf("%s: instance %s\n", verb, js(answer, "instance_id"));
	return EXIT_YES;
}

int cmd_node_static(int argc, char **argv)
{
	static const struct option options[] = { { "instance", required_argument, NULL, 'i' },
						 { "socket", required_argument, NULL, 's' },
						 { "help", no_argument, NULL, 'h' },
						 { 0 } };
	const char *instance = NULL, *socket = NULL;
	struct err e = ERR_INIT;
	char path[256];
	int c, ret = EXIT_YES;

	optind = 1;
	while ((c = getopt_long(argc, argv, "i:s:h", options, NULL)) != -1) {
		if (c == 'i') {
			instance = optarg;
		} else if (c == 's') {
			socket = optarg;
		} else {
			fputs(usage, c == 'h' ? stdout : stderr);
			return c == 'h' ? EXIT_YES : EXIT_USAGE;
		}
	}
	if (optind == argc || (strcmp(argv[0], "add") != 0 && optind != argc - 1)) {
		fputs(usage, stderr);
		return EXIT_USAGE;
	}
	if (!socket && ctl_socket_path(instance, path, sizeof(path), &e) < 0)
		return failed(argv[0], NULL, &e);
	for (; optind < argc; optind++) {
		int one = strcmp(argv[0], "add") == 0 ? add(socket ? socket : path, argv[optind])
						      : set(socket ? socket : path, argv[0], argv[optind]);

		ret = one > ret ? one : ret;
	}
	return ret;
}
