// SPDX-License-Identifier: Apache-2.0
/* bailey-vpc: the control plane. docs/man/bailey-vpc.8 */
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "vpcd.h"

#define EXIT_USAGE 2

static const char usage[] =
	"usage: bailey-vpc --config FILE                     serve\n"
	"       bailey-vpc --env                             the same, by dstack-vpc's variables\n"
	"       bailey-vpc check --config FILE | --env       read the configuration and what it names\n"
	"       bailey-vpc backup --config FILE --out FILE   copy the database while it is in use\n";

struct args {
	const char *config, *out, *command; /* config NULL: the environment */
	bool is_env;
};

static int misused(void)
{
	fputs(usage, stderr);
	return EXIT_USAGE;
}

static int failed(const struct err *e)
{
	char text[600];

	fprintf(stderr, "bailey-vpc: %s\n", err_text(e, text, sizeof(text)));
	return 1;
}

/* 0, 1: told what it is for, -1 */
static int args_read(int argc, char **argv, struct args *a)
{
	static const struct option longs[] = { { "config", required_argument, NULL, 'c' },
					       { "env", no_argument, NULL, 'e' },
					       { "out", required_argument, NULL, 'o' },
					       { "help", no_argument, NULL, 'h' },
					       { 0 } };
	int c;

	while ((c = getopt_long(argc, argv, "h", longs, NULL)) != -1) {
		if (c == 'h') {
			fputs(usage, stdout);
			return 1;
		}
		if (c == 'c')
			a->config = optarg;
		else if (c == 'e')
			a->is_env = true;
		else if (c == 'o')
			a->out = optarg;
		else
			return -1;
	}
	if (optind < argc)
		a->command = argv[optind++];
	return optind < argc || !a->config == !a->is_env ? -1 : 0;
}

static int check(const struct args *a)
{
	struct vs_loaded loaded = { 0 };
	struct err e = ERR_INIT;
	int ret = vs_load(a->config, &loaded, &e);

	if (!ret)
		printf("configuration is good: %zu apps may be named, addresses for %u nodes\n",
		       pol_app_count(loaded.admit), vs_conf_numbers(&loaded.conf));
	vs_unload(&loaded);
	return ret < 0 ? failed(&e) : 0;
}

static int backup(const struct args *a)
{
	static struct vs_conf conf;
	struct err e = ERR_INIT;
	char path[PATH_MAX];
	int ret = vs_conf_load(a->config, &conf, &e);

	vs_store_path(&conf, path);
	if (!ret && conf.etcd.n_endpoints)
		ret = err_at(&e, -ENOTSUP, a->config,
			     "the store is etcd, whose copies are etcd's: etcdctl snapshot save");
	if (!ret)
		ret = vs_store_backup(path, a->out, &e);
	return ret < 0 ? failed(&e) : 0;
}

int main(int argc, char **argv)
{
	struct args a = { 0 };
	int ret = args_read(argc, argv, &a);

	if (ret)
		return ret > 0 ? 0 : misused();
	signal(SIGPIPE, SIG_IGN);
	log_init("bailey-vpc", LOG_INFO);
	if (!a.command && !a.out)
		return vs_run(a.config, argv);
	if (a.command && strcmp(a.command, "check") == 0 && !a.out)
		return check(&a);
	if (a.command && strcmp(a.command, "backup") == 0 && a.out && a.config)
		return backup(&a);
	return misused();
}
