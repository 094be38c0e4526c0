// SPDX-License-Identifier: Apache-2.0
/* baileyd: reads the command line and becomes one of the processes. docs/man/baileyd.8 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/listen.h"
#include "base/log.h"
#include "conf.h"
#include "ctl/server.h"
#include "datapath/datapath.h"
#include "overlay/overlay.h"
#include "role.h"

static const char usage_text[] =
	"usage: baileyd -c FILE            run\n"
	"       baileyd -c FILE --check    check the configuration and the policy, change nothing\n"
	"       baileyd -c FILE --down     remove overlay device, host firewall and kernel's policy of this instance\n"
	"       baileyd -c FILE --forget-flows    let the next start cut what a daemon with other maps tracks\n"
	"options: -v  debug log   -h  this help\n"
	"exit status: 0 ended as asked or all is well, 1 refused, 2 usage\n";

enum action { RUN, CHECK, DOWN, FORGET };

struct args {
	const char *conf_file;
	enum action action;
	const char *role;
	unsigned uid, gid;
	enum log_level level;
};

static int parse_args(int argc, char **argv, struct args *a)
{
	static const struct option options[] = {
		{ "config", required_argument, NULL, 'c' },
		{ "check", no_argument, NULL, 'C' },
		{ "down", no_argument, NULL, 'D' },
		{ "verbose", no_argument, NULL, 'v' },
		{ "help", no_argument, NULL, 'h' },
		{ "role", required_argument, NULL, 'R' },
		{ "user", required_argument, NULL, 'U' },
		{ "forget-flows", no_argument, NULL, 'F' },
		{ 0 },
	};
	int c;

	while ((c = getopt_long(argc, argv, "c:vh", options, NULL)) != -1) {
		if (c == 'c')
			a->conf_file = optarg;
		else if (c == 'C' || c == 'D')
			a->action = c == 'C' ? CHECK : DOWN;
		else if (c == 'F')
			a->action = FORGET;
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
	return optind == argc && (a->conf_file || a->role) ? 0 : -1;
}

/* A role is only reached through exec by the parent, which leaves the channel on its descriptor. */
static int run_role(const struct args *a)
{
	static char name[32];

	snprintf(name, sizeof(name), "baileyd[%s]", a->role);
	log_init(name, a->level);
	if (strcmp(a->role, "net") == 0)
		return role_net();
	if (strcmp(a->role, "edge") == 0 && a->uid)
		return role_edge(a->uid, a->gid);
	if (strcmp(a->role, "fetch") == 0 && a->uid)
		return role_fetch(a->uid, a->gid);
	if (strcmp(a->role, "status") == 0 && a->uid)
		return role_status(a->uid, a->gid);
	if (strcmp(a->role, "dns") == 0 && a->uid)
		return role_dns(a->uid, a->gid);
	return 2;
}

static int take_down(const struct conf *conf)
{
	struct err e = ERR_INIT, pins = ERR_INIT;
	char text[600], sock[PATH_MAX], second[IF_NAMESIZE];

	snprintf(sock, sizeof(sock), "%.*s/ctl.sock", PATH_MAX - 16, conf->run);
	if (unix_is_served(sock)) {
		log_err("%s: baileyd runs; end it before its overlay is taken down", sock);
		return 1;
	}
	/* the device first: its programs go with it, so there is no moment with a device and without a policy */
	if (ov_destroy(conf->interface, &e) < 0 || ov_destroy(conf_second_device(conf->interface, second), &e) < 0 ||
	    dp_host_destroy(conf->bpffs, conf->instance, if_nametoindex(conf->underlay.interface), &pins) < 0 ||
	    (dp_divert_has_devices(conf->bpffs, conf->instance) && ov_local_set(false, BY_DIVERT_MARK, &pins) < 0) ||
	    dp_destroy(conf->bpffs, conf->instance, 0, &pins) < 0) {
		log_err("%s", err_text(e.code ? &e : &pins, text, sizeof(text)));
		return 1;
	}
	return 0;
}

/* Flows that would be cut: a start refuses, and so does a check, which can be asked before the old daemon ends. */
static int flows(const struct conf *conf, bool forget)
{
	struct err e = ERR_INIT;
	char text[600];

	if ((forget ? dp_flows_forget : dp_flows_check)(conf->bpffs, conf->instance, &e) == 0)
		return 0;
	log_err("%s", err_text(&e, text, sizeof(text)));
	return 1;
}

int main(int argc, char **argv)
{
	struct args a = { .level = LOG_INFO };
	struct diags d = { 0 };
	static struct conf conf;
	int ret;

	if (parse_args(argc, argv, &a) < 0) {
		fputs(usage_text, stderr);
		return 2;
	}
	if (a.role)
		return run_role(&a);
	log_init("baileyd", a.level);
	ret = conf_load(a.conf_file, &conf, &d);
	diags_print(&d, stderr);
	diags_fini(&d);
	if (ret < 0)
		return 1;
	if (a.action == DOWN)
		return take_down(&conf);
	ret = flows(&conf, a.action == FORGET);
	if (ret || a.action == FORGET)
		return ret;
	return a.action == CHECK ? parent_check(&conf) : parent_run(&conf);
}
