// SPDX-License-Identifier: Apache-2.0
/* bailey key rotate: a new WireGuard key for this node, now. */
#include <stdio.h>
#include <string.h>

#include "cmds.h"
#include "daemon.h"

static const char usage[] = "usage: bailey key rotate [--instance NAME] [--socket PATH] [--json]\n";

int cmd_key(int argc, char **argv)
{
	struct daemon_args a = { 0 };
	json_t *answer;
	int ret;

	if (argc >= 2 && strcmp(argv[1], "--help") == 0) {
		fputs(usage, stdout);
		return EXIT_YES;
	}
	if (argc < 2 || strcmp(argv[1], "rotate") != 0) {
		fputs(usage, stderr);
		return EXIT_USAGE;
	}
	ret = daemon_args(argc - 1, argv + 1, usage, &a);
	if (ret >= 0)
		return ret;
	answer = daemon_call(&a, "POST", "/v1/key/rotate");
	if (!answer)
		return EXIT_NO;
	if (a.json)
		puts("{\"phase\":\"leaving\"}");
	else
		puts("the rotation has begun; `bailey status` says where it is");
	json_decref(answer);
	return EXIT_YES;
}
