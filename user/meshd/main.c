// SPDX-License-Identifier: Apache-2.0
/* bailey-mesh: reads the command line and becomes one of the processes. docs/man/bailey-mesh.8 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "baileyd/role.h"
#include "role.h"

static const char usage_text[] =
	"usage: bailey-mesh -c FILE            run\n"
	"       bailey-mesh -c FILE --check    read the configuration and what it names, change nothing\n"
	"       bailey-mesh --env [--check]    the same with dstack-vpc's environment variables for a file\n"
	"options: -t, --takeover  in the place of the bailey-mesh that runs this instance, whose connections drain\n"
	"         -v  debug log   -h  this help\n"
	"exit status: 0 ended as asked or all is well, 1 refused, 2 usage\n";

struct args {
	const char *conf_file, *role;
	bool is_env, is_check, is_takeover;
	unsigned uid, gid;
	enum log_level level;
};

static int parse_args(int argc, char **argv, struct args *a)
{
	static const struct option options[] = {
		{ "config", required_argument, NULL, 'c' },
		{ "check", no_argument, NULL, 'C' },
		{ "env", no_argument, NULL, 'e' },
		{ "verbose", no_argument, NULL, 'v' },
		{ "help", no_argument, NULL, 'h' },
		{ "role", required_argument, NULL, 'R' },
		{ "user", required_argument, NULL, 'U' },
		{ "takeover", no_argument, NULL, 't' },
		{ 0 },
	};
	int c;

	while ((c = getopt_long(argc, argv, "c:tvh", options, NULL)) != -1) {
		if (c == 'c')
			a->conf_file = optarg;
		else if (c == 'C')
			a->is_check = true;
		else if (c == 'e')
			a->is_env = true;
		else if (c == 't')
			a->is_takeover = true;
		else if (c == 'v')
			a->level = LOG_DEBUG;
		else if (c == 'R')
			a->role = optarg;
		else if (c == 'U' && sscanf(optarg, "%u:%u", &a->uid, &a->gid) == 2)
			continue;
		else if (c == 'h') {
			fputs(usage_text, stdout);
			exit(0);
		} else {
			return -1;
		}
	}
	if (a->is_check && a->is_takeover)
		return -1;
	return optind == argc && (a->role || !a->conf_file == a->is_env) ? 0 : -1;
}

/* A role is only reached through exec by the parent, which leaves the channel on its descriptor. */
static int run_role(const struct args *a)
{
	static char name[32];

	snprintf(name, sizeof(name), "bailey-mesh[%s]", a->role);
	log_init(name, a->level);
	if (!a->uid)
		return 2;
	if (strcmp(a->role, "key") == 0)
		return md_role_key(a->uid, a->gid);
	if (strcmp(a->role, "worker") == 0 || strcmp(a->role, "worker-unix") == 0)
		return md_role_worker(a->uid, a->gid, strcmp(a->role, "worker") != 0);
	if (strcmp(a->role, "fetch") == 0)
		return role_fetch(a->uid, a->gid);
	return 2;
}

static int read_conf(const struct args *a, struct md_conf *conf)
{
	struct diags d = { 0 };
	struct err e = ERR_INIT;
	char text[600];
	int ret;

	if (a->is_env) {
		ret = md_conf_env(environ, conf, &e);
		if (ret < 0)
			log_err("%s", err_text(&e, text, sizeof(text)));
		return ret;
	}
	ret = md_conf_load(a->conf_file, conf, &d);
	diags_print(&d, stderr);
	diags_fini(&d);
	return ret;
}

int main(int argc, char **argv)
{
	struct args a = { .level = LOG_INFO };
	static struct md_conf conf;

	if (parse_args(argc, argv, &a) < 0) {
		fputs(usage_text, stderr);
		return 2;
	}
	if (a.role)
		return run_role(&a);
	log_init("bailey-mesh", a.level);
	if (read_conf(&a, &conf) < 0)
		return 1;
	return a.is_check ? md_parent_check(&conf) : md_parent(&conf, a.is_takeover);
}
