// SPDX-License-Identifier: Apache-2.0
/* bailey up: from nothing to a node of a network. Writes a configuration, starts baileyd, waits until it has joined. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/listen.h"
#include "base/text.h"
#include "cmds.h"
#include "ctl/client.h"
#include "daemon.h"
#include "node_conf.h"
#include "up.h"

#define WAIT_S       30
#define POLL_NS      100000000
#define CONF_MAX     (256 * 1024)
#define LOG_MAX      (16 * 1024 * 1024) /* of which the last line is wanted */
#define APP_HEX      40
#define NETWORKS_MAX 4

static const char usage[] =
	"usage: bailey up --server ADDRESS:PORT --app APP-ID|any --policy FILE [--network PREFIX]... [--interface "
	"NAME]\n"
	"                 [--agent SOCKET | --certificate FILE --key FILE] [--simulated-root PEM]\n"
	"                 [--endpoint ADDRESS:PORT[,...]] [--authkey KEY|file:PATH] [--name NAME] [--config FILE]\n"
	"                 [--wait SECONDS]\n"
	"       bailey up [--name NAME] [--config FILE]       with a configuration that is there\n"
	"       bailey up --env                               by dstack-vpc's variables of a node; it is baileyd then\n"
	"\n"
	"Joins the network of a control plane (bailey-vpc): FILE, by default /etc/bailey/NAME.yaml, is written where "
	"it is\n"
	"not there yet, checked, and baileyd is started with it, by systemd where that runs. NAME is the host's. "
	"APP-ID is\n"
	"what the control plane's evidence must prove. A pre-auth key (bailey authkey) is better in a file or in "
	"BAILEY_AUTHKEY\n"
	"than among the arguments. Exit status: 0 joined, 1 not (and why), 2 usage. As root.\n";

DEFINE_CLEANUP(json, json_t, json_decref)

struct request {
	struct node_conf conf;
	char name[64], interface[IF_NAMESIZE], wg_key[PATH_MAX], file[PATH_MAX];
	const char *config;
	char authkey[PATH_MAX], authkey_file[PATH_MAX]; /* as given, "": none; where it is */
	struct ip_prefix networks[NETWORKS_MAX];
	unsigned wait_s;
	bool has_settings;  /* beside name and config */
	bool is_new;        /* the configuration is of this call */
	char log[PATH_MAX]; /* of a daemon that we started ourselves, which is */
	pid_t daemon;       /* our child as long as we are; 0: none */
};

/* What an option says can not be: usage. */
static int failed(const struct err *e)
{
	fprintf(stderr, "bailey up: %s: %s\n", e->where, e->msg);
	return strncmp(e->where, "--", 2) == 0 ? EXIT_USAGE : EXIT_NO;
}

/* --- what is asked for --- */

static bool take_network(struct request *r, const char *text)
{
	struct node_conf *c = &r->conf;

	c->networks = r->networks;
	return c->n_networks < NETWORKS_MAX && prefix_parse(&r->networks[c->n_networks++], text);
}

/* Whoever lists processes sees arguments. */
static bool take_authkey(struct request *r, char *value)
{
	bool is_good = *value && strlen(value) < sizeof(r->authkey);

	if (is_good)
		snprintf(r->authkey, sizeof(r->authkey), "%s", value);
	up_authkey_forget(value);
	return is_good;
}

static bool take_option(struct request *r, int letter, char *value)
{
	char *end;

	r->has_settings |= letter != 'n' && letter != 'C' && letter != 'w';
	switch (letter) {
	case 's':
		r->conf.server = value;
		return true;
	case 'A':
		r->conf.app = value;
		return true;
	case 'i':
		r->conf.interface = value;
		return true;
	case 'N':
		return take_network(r, value);
	case 'C':
		r->config = value;
		return true;
	case 'K':
		return take_authkey(r, value);
	case 'w':
		r->wait_s = (unsigned)strtoul(value, &end, 10);
		return *value && !*end && r->wait_s <= 3600;
	default:
		return node_conf_option(&r->conf, letter, value);
	}
}

/* The host's name up to its first dot, where --name does not say. */
static void name_take(struct request *r)
{
	if (!r->conf.name && gethostname(r->name, sizeof(r->name) - 1) == 0) {
		r->name[strcspn(r->name, ".")] = '\0';
		r->conf.name = r->name;
	}
	if (!r->conf.name)
		r->conf.name = "";
	if (!r->conf.interface) {
		node_conf_interface(r->interface, r->conf.name);
		r->conf.interface = r->interface;
	}
	snprintf(r->wg_key, sizeof(r->wg_key), "/var/lib/bailey/%.31s/wg.key", r->conf.name);
	r->conf.wg_key = r->wg_key;
}

/* -1 to go on, else the exit status. */
static int request_read(int argc, char **argv, struct request *r)
{
	static const struct option options[] = { NODE_CONF_OPTIONS,
						 { "server", required_argument, NULL, 's' },
						 { "app", required_argument, NULL, 'A' },
						 { "network", required_argument, NULL, 'N' },
						 { "interface", required_argument, NULL, 'i' },
						 { "config", required_argument, NULL, 'C' },
						 { "authkey", required_argument, NULL, 'K' },
						 { "wait", required_argument, NULL, 'w' },
						 { "help", no_argument, NULL, 'h' },
						 { 0 } };
	int c;

	optind = 1;
	while ((c = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		if (c != 'h' && c != '?' && take_option(r, c, optarg))
			continue;
		fputs(usage, c == 'h' ? stdout : stderr);
		return c == 'h' ? EXIT_YES : EXIT_USAGE;
	}
	if (optind != argc || (r->has_settings && (!r->conf.server || !r->conf.app))) {
		fputs(usage, stderr);
		return EXIT_USAGE;
	}
	if (!r->authkey[0] && r->has_settings && getenv("BAILEY_AUTHKEY"))
		take_authkey(r, getenv("BAILEY_AUTHKEY"));
	name_take(r);
	return -1;
}

/* --- the configuration --- */

static int check_server(const struct node_conf *c, struct err *e)
{
	struct ip_endpoint at;
	uint8_t app[APP_HEX / 2];

	if (!endpoint_parse(&at, c->server))
		return err_at(e, -EINVAL, "--server", "needs address:port, found '%.60s'", c->server);
	if (strcmp(c->app, "any") != 0 && !hex_parse(app, sizeof(app), c->app))
		return err_at(e, -EINVAL, "--app", "needs %d hex digits, or any", APP_HEX);
	return 0;
}

static int authkey_place(struct request *r, struct err *e)
{
	char keep[PATH_MAX];

	if (!r->authkey[0])
		return 0;
	snprintf(keep, sizeof(keep), "/var/lib/bailey/%.31s/authkey", r->conf.name);
	r->conf.auth_key = r->authkey_file;
	return up_authkey(r->authkey, keep, r->authkey_file, e);
}

static int authkey_keep(struct request *r, struct err *e)
{
	int ret = up_authkey_keep(r->authkey, r->authkey_file, e);

	return ret ? ret : up_authkey_check(r->authkey_file, e);
}

static int conf_text(struct request *r, struct out *text, struct err *e)
{
	int ret = node_conf_check(&r->conf, e);

	if (!ret)
		ret = check_server(&r->conf, e);
	if (!ret)
		ret = authkey_place(r, e);
	if (ret)
		return ret;
	if (!r->conf.n_networks) {
		take_network(r, "100.64.0.0/10");
		take_network(r, "fdba:11e7::/48");
	}
	node_conf_print(&r->conf, text);
	return out_ok(text) ? 0 : err_at(e, -ENOMEM, r->file, "can not be written down");
}

/* One that is there stays as it is: what was asked for must be in it. */
static int conf_settle(struct request *r, struct err *e)
{
	auto_out struct out text = { 0 };
	auto_free char *there = NULL;
	size_t len;
	int ret;

	if (access(r->file, F_OK) < 0 && !r->has_settings)
		return err_at(e, -ENOENT, r->file, "is not there: --server, --app and --policy say what to write");
	if (!r->has_settings)
		return 0;
	ret = conf_text(r, &text, e);
	if (ret)
		return ret;
	r->is_new = access(r->file, F_OK) < 0;
	if (!r->is_new)
		ret = file_read(r->file, CONF_MAX, &there, &len, e);
	if (!ret && there && (len != text.len || memcmp(there, text.data, len) != 0))
		ret = err_at(e, -EEXIST, r->file, "is there and says otherwise: remove it, or leave the options out");
	if (!ret && r->authkey[0])
		ret = authkey_keep(r, e);
	return ret || !r->is_new ? ret : file_write(r->file, text.data, text.len, 0644, e);
}

static int conf_place(struct request *r, struct err *e)
{
	node_conf_absolute(&r->conf);
	if (r->config)
		snprintf(r->file, sizeof(r->file), "%s", r->config);
	else if (dir_make("/etc/bailey", 0755, e) < 0)
		return e->code;
	else
		snprintf(r->file, sizeof(r->file), "/etc/bailey/%.31s.yaml", r->conf.name);
	return conf_settle(r, e);
}

/* --- the daemon --- */

/* Beside this program, or where `make install` puts it. */
int up_daemon_find(char path[PATH_MAX], struct err *e)
{
	char dir[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", dir, sizeof(dir) - 1);
	char *slash;

	dir[n > 0 ? n : 0] = '\0';
	slash = strrchr(dir, '/');
	if (slash)
		*slash = '\0';
	for (int i = 0; i < 2; i++)
		if (snprintf(path, PATH_MAX, i ? "%s/../sbin/baileyd" : "%s/baileyd", dir) < PATH_MAX &&
		    access(path, X_OK) == 0)
			return 0;
	return err_at(e, -ENOENT, "baileyd", "is neither in %.150s nor in sbin beside it", dir);
}

static int run(char *const argv[])
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		execvp(argv[0], argv);
		_exit(127);
	}
	while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return pid > 0 && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* On its own from here: its own session, its words in a file. */
static int start_alone(const char *program, struct request *r, struct err *e)
{
	auto_fd int out = -1;

	snprintf(r->log, sizeof(r->log), "/var/log/bailey-%.31s.log", r->conf.name);
	out = open(r->log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (out < 0)
		return err_at(e, -errno, r->log, "%s", strerror(errno));
	r->daemon = fork();
	if (r->daemon < 0)
		return err_at(e, -errno, "baileyd", "%s", strerror(errno));
	if (r->daemon == 0) {
		int null = open("/dev/null", O_RDONLY | O_CLOEXEC);

		setsid();
		if (null < 0 || dup2(null, 0) < 0 || dup2(out, 1) < 0 || dup2(out, 2) < 0)
			_exit(127);
		execl(program, "baileyd", "-c", r->file, (char *)NULL);
		_exit(127);
	}
	printf("started, log in %s\n", r->log);
	fflush(stdout);
	return 0;
}

static bool has_unit(const struct request *r)
{
	static const char *const place[] = { "/etc/systemd/system/baileyd@.service",
					     "/usr/local/lib/systemd/system/baileyd@.service",
					     "/usr/lib/systemd/system/baileyd@.service",
					     "/lib/systemd/system/baileyd@.service" };

	if (r->config || access("/run/systemd/system", F_OK) < 0)
		return false; /* the unit reads /etc/bailey alone */
	for (size_t i = 0; i < ARRAY_LEN(place); i++)
		if (access(place[i], F_OK) == 0)
			return true;
	return false;
}

static int start(struct request *r, struct err *e)
{
	char program[PATH_MAX], unit[64];
	char *const check[] = { program, (char *)"-c", r->file, (char *)"--check", NULL };
	char *const enable[] = { (char *)"systemctl", (char *)"enable", (char *)"--now", unit, NULL };

	if (up_daemon_find(program, e) < 0)
		return e->code;
	if (run(check) != 0) {
		if (r->is_new)
			unlink(r->file);
		return err_at(e, -EINVAL, r->file, "baileyd refuses it, as above; nothing was started%s",
			      r->is_new ? ", and it is gone again" : "");
	}
	if (!has_unit(r))
		return start_alone(program, r, e);
	snprintf(unit, sizeof(unit), "baileyd@%.31s", r->conf.name);
	return run(enable) == 0 ? 0 : err_at(e, -EIO, unit, "systemctl could not start it");
}

/* --- until it has joined --- */

json_t *up_ask(const char *socket)
{
	struct err e = ERR_INIT;
	json_t *status = NULL;

	if (ctl_call(socket, "GET", "/v1/status", &status, &e) == 0)
		return status;
	json_decref(status);
	return NULL;
}

bool up_has_joined(const json_t *s)
{
	const json_t *vpc = json_object_get(s, "vpc");

	return json_is_true(json_object_get(s, "ready")) &&
	       (!json_is_object(vpc) || json_is_true(json_object_get(vpc, "connected")));
}

/* A network goes on without its control plane. */
static void tell_what_works(const json_t *s)
{
	const json_t *overlay = json_object_get(s, "overlay"), *addrs = json_object_get(overlay, "addresses");

	if (json_array_size(addrs))
		fprintf(stderr, "  meanwhile %s is %s, and has verified %zu nodes by the records of before\n",
			js(overlay, "interface"), json_string_value(json_array_get(addrs, 0)),
			json_array_size(json_object_get(s, "peers")));
}

static void tell_why_not(const struct request *r, const json_t *s)
{
	const json_t *refusals = json_object_get(s, "refusals"), *o;
	size_t i;

	fprintf(stderr, "bailey up: not joined after %u s; baileyd %s\n", r->wait_s,
		s ? "goes on trying" : "does not answer: see its log");
	json_array_foreach (refusals, i, o)
		fprintf(stderr, "  %s%s%s: %s\n", js(o, "reason"), *js(o, "reason") ? " " : "", js(o, "where"),
			js(o, "text"));
	tell_what_works(s);
}

/* The daemon that we started has ended: it has said why in the last line of its log. */
static bool has_ended(struct request *r)
{
	auto_free char *text = NULL;
	struct err e = ERR_INIT;
	char *line;
	size_t len;

	if (r->daemon <= 0 || waitpid(r->daemon, NULL, WNOHANG) != r->daemon)
		return false;
	if (file_read(r->log, LOG_MAX, &text, &len, &e) < 0)
		return fprintf(stderr, "bailey up: baileyd has ended: see %s\n", r->log) > 0;
	while (len && text[len - 1] == '\n')
		text[--len] = '\0';
	line = strrchr(text, '\n');
	fprintf(stderr, "bailey up: baileyd has ended: %s\n", line ? line + 1 : text);
	return true;
}

static int wait_joined(struct request *r, const char *socket)
{
	const struct timespec pause = { .tv_nsec = POLL_NS };
	time_t end = time(NULL) + r->wait_s;
	json_t *s;

	for (;;) {
		const json_t *overlay;

		s = up_ask(socket);
		overlay = json_object_get(s, "overlay");
		if (up_has_joined(s)) {
			printf("%s: up as %s, %s, %zu nodes verified\n", js(s, "node"),
			       json_string_value(json_array_get(json_object_get(overlay, "addresses"), 0)),
			       js(overlay, "interface"), json_array_size(json_object_get(s, "peers")));
			json_decref(s);
			return EXIT_YES;
		}
		if (time(NULL) >= end)
			break;
		json_decref(s);
		if (has_ended(r))
			return EXIT_NO;
		nanosleep(&pause, NULL);
	}
	tell_why_not(r, s);
	json_decref(s);
	return EXIT_NO;
}

/* One that runs has read its configuration when it started; a reload takes the control plane, the key and the policy
 * again. */
static void tell_daemon(const struct request *r, const char *socket)
{
	auto_call(cleanup_json) json_t *answer = NULL;
	struct err e = ERR_INIT;

	if (!r->is_new && !r->authkey[0])
		return;
	if (ctl_call(socket, "POST", "/v1/reload", &answer, &e) < 0)
		fprintf(stderr, "bailey up: reload: %s: %s\n", e.where, e.msg);
	if (r->is_new)
		fprintf(stderr,
			"bailey up: baileyd runs already, and has read vpc, its key and the policy again; what "
			"else %s says counts when it is started again\n",
			r->file);
}

int cmd_up(int argc, char **argv)
{
	struct request r = { .wait_s = WAIT_S };
	struct err e = ERR_INIT;
	char socket[PATH_MAX];
	int ret;

	if (argc == 2 && strcmp(argv[1], "--env") == 0)
		return up_env();
	ret = request_read(argc, argv, &r);
	if (ret >= 0)
		return ret;
	if (geteuid() != 0)
		return failed(&(struct err){ .where = "user", .msg = "needs root, for the network device and BPF" });
	if (conf_place(&r, &e) < 0)
		return failed(&e);
	snprintf(socket, sizeof(socket), "/run/bailey/%.31s/ctl.sock", r.conf.name);
	if (unix_is_served(socket))
		tell_daemon(&r, socket);
	else if (start(&r, &e) < 0)
		return failed(&e);
	return wait_joined(&r, socket);
}
