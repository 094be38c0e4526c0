// SPDX-License-Identifier: Apache-2.0
/* bailey-agent: a guest agent that speaks as dstack's does. docs/man/bailey-agent.8. */
#include <errno.h>
#include <event2/event.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/file.h"
#include "base/log.h"
#include "base/text.h"
#include "internal.h"
#include "server.h"

#define EXIT_USAGE     2
#define SOCKET_DEFAULT "/run/dstack.sock"

static const char usage[] =
	"usage: bailey-agent --state DIR --compose FILE [--tee sim|tsm|tdx] [option...]\n"
	"\n"
	"Answers dstack's guest agent calls on a Unix socket, with keys of its own and evidence of this machine.\n"
	"\n"
	"  --state DIR         where the seed of all keys is kept (made, mode 0700)\n"
	"  --compose FILE      app-compose.json; its SHA-256 is the compose hash\n"
	"  --tee NAME          sim: SIMULATED evidence; tsm: Linux configfs-tsm (default); tdx: /dev/tdx_guest\n"
	"  --app-id HEX        40 digits; default: the first 20 bytes of the compose hash\n"
	"  --instance-id HEX   40 digits; default: made from the state directory's seed on first start\n"
	"  --listen PATH       socket for current clients (default " SOCKET_DEFAULT ")\n"
	"  --tappd PATH        socket for legacy clients (default: none)\n"
	"  --mode OCTAL        of the sockets (default 0666: every process of this machine may ask)\n"
	"  --sim-root DIR      with --tee sim: what `bailey dev-identity root` wrote\n"
	"  --event-log FILE    with tsm and tdx: JSON array of events, handed out with each quote\n"
	"  --configfs DIR      with --tee tsm: where configfs is mounted (default /sys/kernel/config)\n"
	"  --device PATH       with --tee tdx: (default /dev/tdx_guest)\n"
	"  --qgs ADDRESS       with --tee tdx: vsock:CID:PORT or a socket (default vsock:2:4050)\n"
	"  --kms URL           take the app's keys and certificates from this KMS\n"
	"  --kms-ca FILE       with --kms: its root certificate\n";

struct options {
	struct ag_conf conf;
	const char *tee, *app_id, *instance_id, *listen, *tappd, *sim_root, *event_log, *configfs, *device, *qgs;
	unsigned mode;
};

static int misused(const char *why)
{
	fprintf(stderr, "bailey-agent: %s; see bailey-agent --help\n", why);
	return EXIT_USAGE;
}

static int failed(const struct err *e)
{
	char text[sizeof(e->where) + sizeof(e->msg) + 3];

	fprintf(stderr, "bailey-agent: %s\n", err_text(e, text, sizeof(text)));
	return 1;
}

static bool mode_read(const char *text, unsigned *mode)
{
	char *end;
	unsigned long value = strtoul(text, &end, 8);

	*mode = (unsigned)value;
	return *text && !*end && value <= 0777;
}

/* 0, 1: told what it is for, -EINVAL: said what is wrong. */
static int options_read(int argc, char **argv, struct options *o)
{
	static const char *const names[] = { "state",    "compose", "tee",  "app-id",   "instance-id",
					     "listen",   "tappd",   "mode", "sim-root", "event-log",
					     "configfs", "device",  "qgs",  "kms",      "kms-ca" };
	const char *mode = "0666";
	const char **const values[] = { &o->conf.state, &o->conf.compose, &o->tee, &o->app_id,   &o->instance_id,
					&o->listen,     &o->tappd,        &mode,   &o->sim_root, &o->event_log,
					&o->configfs,   &o->device,       &o->qgs, &o->conf.kms, &o->conf.kms_ca };
	struct option longs[ARRAY_LEN(names) + 2] = { 0 };
	int c, at;

	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		longs[i] = (struct option){ names[i], required_argument, NULL, 'o' };
	longs[ARRAY_LEN(names)] = (struct option){ "help", no_argument, NULL, 'h' };
	while ((c = getopt_long(argc, argv, "h", longs, &at)) != -1) {
		if (c == 'h') {
			fputs(usage, stdout);
			return 1;
		}
		if (c != 'o')
			return -EINVAL;
		*values[at] = optarg;
	}
	if (optind < argc || !o->conf.state || !o->conf.compose || !o->conf.kms != !o->conf.kms_ca ||
	    !mode_read(mode, &o->mode)) {
		misused(optind < argc                     ? "takes no arguments"
			: !o->conf.state                  ? "--state is needed"
			: !o->conf.compose                ? "--compose is needed"
			: !o->conf.kms != !o->conf.kms_ca ? "--kms and --kms-ca need each other"
							  : "--mode is not octal");
		return -EINVAL;
	}
	return 0;
}

/* --- identity --- */

static int compose_hash(struct ag_conf *conf, struct err *e)
{
	auto_free char *text = NULL;
	size_t len;

	if (file_read(conf->compose, AG_COMPOSE_MAX, &text, &len, e) < 0)
		return e->code;
	return id_hash(EVP_sha256(), conf->compose_hash, text, len, NULL, 0)
		       ? 0
		       : err_at(e, -ENOMEM, conf->compose, "out of memory");
}

static int id_read(const char *option, const char *hex, uint8_t id[20], struct err *e)
{
	return hex_parse(id, 20, hex) ? 0 : err_at(e, -EINVAL, option, "\"%.64s\" is not 40 hex digits", hex);
}

/* dstack hashes a seed of the instance's disk with the app-id; ours is a file of the state directory. */
static int instance_of(struct ag_conf *conf, struct err *e)
{
	uint8_t hash[ID_HASH_LEN];
	struct ag_keys keys;
	int ret = ag_keys_load(conf->state, conf->app_id, time(NULL), &keys, e);

	if (ret < 0)
		return ret;
	if (!id_hash(EVP_sha256(), hash, keys.instance_seed, ID_SCALAR_LEN, conf->app_id, BY_APP_ID_LEN))
		ret = err_at(e, -ENOMEM, conf->state, "out of memory");
	memcpy(conf->instance_id, hash, BY_INSTANCE_ID_LEN);
	ag_keys_fini(&keys);
	return ret;
}

static int identity_make(struct options *o, struct err *e)
{
	struct ag_conf *conf = &o->conf;
	int ret = compose_hash(conf, e);

	if (!ret && o->app_id)
		ret = id_read("--app-id", o->app_id, conf->app_id, e);
	else if (!ret)
		memcpy(conf->app_id, conf->compose_hash, BY_APP_ID_LEN);
	if (!ret)
		ret = o->instance_id ? id_read("--instance-id", o->instance_id, conf->instance_id, e)
				     : instance_of(conf, e);
	return ret;
}

static int tee_open(const struct options *o, struct ag_tee **tee, struct err *e)
{
	struct id_sim_request sim = { .common_name = "" };

	if (strcmp(o->tee, "tsm") == 0)
		return ag_tee_tsm(o->configfs, o->event_log, tee, e);
	if (strcmp(o->tee, "tdx") == 0)
		return ag_tee_tdx(o->device, o->qgs, o->event_log, tee, e);
	if (strcmp(o->tee, "sim") != 0)
		return err_at(e, -EINVAL, "--tee", "\"%.32s\" is not sim, tsm or tdx", o->tee);
	if (!o->sim_root)
		return err_at(e, -EINVAL, "--tee", "sim needs --sim-root");
	memcpy(sim.app_id, o->conf.app_id, sizeof(sim.app_id));
	memcpy(sim.instance_id, o->conf.instance_id, sizeof(sim.instance_id));
	memcpy(sim.compose_hash, o->conf.compose_hash, sizeof(sim.compose_hash));
	return ag_tee_sim(o->sim_root, &sim, tee, e);
}

/* --- life --- */

static void on_signal(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	event_base_loopbreak(arg);
}

static int serve(const struct options *o, struct agent *agent, struct err *e)
{
	struct event_base *base = event_base_new();
	struct event *term = base ? evsignal_new(base, SIGTERM, on_signal, base) : NULL;
	struct event *stop = base ? evsignal_new(base, SIGINT, on_signal, base) : NULL;
	struct ag_server *dstack = NULL, *tappd = NULL;
	int ret = term && stop ? 0 : err_at(e, -ENOMEM, "agent", "out of memory");

	if (!ret) {
		event_add(term, NULL);
		event_add(stop, NULL);
		ret = ag_listen(base, o->listen, o->mode, AG_DSTACK, agent, &dstack, e);
	}
	if (!ret && o->tappd)
		ret = ag_listen(base, o->tappd, o->mode, AG_TAPPD, agent, &tappd, e);
	if (!ret) {
		log_info("answers on %s with %s evidence", o->listen,
			 strcmp(o->tee, "sim") == 0 ? "SIMULATED" : o->tee);
		event_base_dispatch(base);
	}
	ag_server_close(tappd);
	ag_server_close(dstack);
	if (term)
		event_free(term);
	if (stop)
		event_free(stop);
	event_base_free(base);
	return ret;
}

int main(int argc, char **argv)
{
	struct options o = { .tee = "tsm",
			     .listen = SOCKET_DEFAULT,
			     .configfs = "/sys/kernel/config",
			     .device = "/dev/tdx_guest",
			     .qgs = "vsock:2:4050" };
	struct err e = ERR_INIT;
	struct agent *agent = NULL;
	struct ag_tee *tee = NULL;
	int ret = options_read(argc, argv, &o);

	if (ret)
		return ret > 0 ? 0 : EXIT_USAGE;
	signal(SIGPIPE, SIG_IGN);
	log_init("bailey-agent", LOG_INFO);
	if (identity_make(&o, &e) < 0 || tee_open(&o, &tee, &e) < 0)
		return failed(&e);
	ret = ag_new(&o.conf, tee, &agent, &e);
	if (ret < 0) {
		ag_tee_close(tee);
		return failed(&e);
	}
	ret = serve(&o, agent, &e);
	ag_free(agent);
	return ret < 0 ? failed(&e) : 0;
}
