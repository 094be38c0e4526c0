// SPDX-License-Identifier: Apache-2.0
/* bailey import: a wg-quick file becomes a configuration of baileyd; what does not, is said line by line. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/text.h"
#include "cmds.h"
#include "node_conf.h"

static const char usage[] =
	"usage: bailey import FILE --policy FILE [--out DIR] [--partial]\n"
	"                     [--agent SOCKET | --certificate FILE --key FILE] [--simulated-root PEM]\n"
	"                     [--endpoint ADDRESS:PORT] [--name NAME]\n"
	"\n"
	"FILE is of wg-quick, such as wg0.conf. DIR/NAME.yaml, for baileyd, and DIR/NAME.wgkey, for root alone, are "
	"made;\n"
	"NAME is the file's, DIR is where you are. What can not be taken over is said with its line, and nothing is\n"
	"written then without --partial. --endpoint is where others reach this node's WireGuard.\n";

struct request {
	const char *file, *dir;
	bool is_partial;
	struct node_conf conf;
	char name[64];
};

/* "wg0" of /etc/wireguard/wg0.conf: what wg-quick names the interface. */
static void name_take(struct request *r)
{
	const char *slash = strrchr(r->file, '/'), *base = slash ? slash + 1 : r->file, *dot = strrchr(base, '.');

	snprintf(r->name, sizeof(r->name), "%.*s", dot ? (int)(dot - base) : (int)strlen(base), base);
	r->conf.interface = r->name;
	if (!r->conf.name)
		r->conf.name = r->name;
}

/* -1 to go on, else the exit status. */
static int request_read(int argc, char **argv, struct request *r)
{
	static const struct option options[] = { NODE_CONF_OPTIONS,
						 { "out", required_argument, NULL, 'o' },
						 { "partial", no_argument, NULL, 'P' },
						 { "help", no_argument, NULL, 'h' },
						 { 0 } };
	int c;

	optind = 1;
	while ((c = getopt_long(argc, argv, "o:h", options, NULL)) != -1) {
		if (node_conf_option(&r->conf, c, optarg))
			continue;
		if (c == 'o') {
			r->dir = optarg;
		} else if (c == 'P') {
			r->is_partial = true;
		} else {
			fputs(usage, c == 'h' ? stdout : stderr);
			return c == 'h' ? EXIT_YES : EXIT_USAGE;
		}
	}
	if (optind != argc - 1) {
		fputs(usage, stderr);
		return EXIT_USAGE;
	}
	r->file = argv[optind];
	name_take(r);
	return -1;
}

static int failed(const struct err *e)
{
	fprintf(stderr, "bailey import: %s: %s\n", e->where, e->msg);
	return EXIT_NO;
}

static void tell(const struct request *r, const struct ov_quick *q)
{
	for (uint32_t i = 0; i < q->n_notes; i++) {
		const struct ov_quick_note *n = &q->notes[i];

		fprintf(stderr, "%s", r->file);
		if (n->line)
			fprintf(stderr, ":%u", n->line);
		fprintf(stderr, ": %s%s\n", n->is_left_out ? "NOT TAKEN OVER: " : "", n->text);
	}
	if (!r->conf.endpoint)
		fprintf(stderr, "%s: without --endpoint nobody can begin to talk to this node\n", r->file);
	if (access(r->conf.policy, F_OK) < 0)
		fprintf(stderr, "%s: is not there yet: baileyd will not start without it\n", r->conf.policy);
}

static int path_of(const struct request *r, const char *suffix, char path[PATH_MAX], struct err *e)
{
	if (snprintf(path, PATH_MAX, "%s/%s%s", r->dir, r->conf.name, suffix) >= PATH_MAX)
		return err_at(e, -ENAMETOOLONG, r->dir, "is too long");
	return access(path, F_OK) < 0 ? 0 : err_at(e, -EEXIST, path, "is there already");
}

static int write_all(struct request *r, const struct ov_quick *q)
{
	char yaml[PATH_MAX], key[PATH_MAX], key_name[80];
	auto_out struct out text = { 0 };
	struct err e = ERR_INIT;

	snprintf(key_name, sizeof(key_name), "%s.wgkey", r->conf.name);
	r->conf.wg_key = key_name;
	if (path_of(r, ".yaml", yaml, &e) < 0 || path_of(r, ".wgkey", key, &e) < 0)
		return failed(&e);
	node_conf_print(&r->conf, &text);
	if (!out_ok(&text))
		return failed(&(struct err){ .where = "configuration", .msg = "can not be written down" });
	if (ov_key_write(key, q->private_key, &e) < 0 || file_write(yaml, text.data, text.len, 0644, &e) < 0)
		return failed(&e);
	printf("%s\n", yaml);
	return EXIT_YES;
}

static int import(struct request *r, const struct ov_quick *q)
{
	struct err e = ERR_INIT;

	r->conf.port = q->listen_port;
	r->conf.mtu = q->mtu;
	r->conf.networks = q->networks;
	r->conf.n_networks = q->n_networks;
	r->conf.addrs = q->addrs;
	r->conf.n_addrs = q->n_addrs;
	r->conf.peers = q->peers;
	r->conf.n_peers = q->n_peers;
	if (node_conf_check(&r->conf, &e) < 0)
		return failed(&e);
	node_conf_absolute(&r->conf);
	tell(r, q);
	if (q->n_left_out && !r->is_partial) {
		fprintf(stderr,
			"bailey import: %s: %u things can not be taken over; nothing is written. --partial "
			"writes the rest\n",
			r->file, q->n_left_out);
		return EXIT_NO;
	}
	return write_all(r, q);
}

int cmd_import(int argc, char **argv)
{
	struct request r = { .dir = "." };
	auto_call(ov_quick_fini) struct ov_quick q = { 0 };
	auto_free char *text = NULL;
	struct err e = ERR_INIT;
	size_t len;
	int ret = request_read(argc, argv, &r);

	if (ret >= 0)
		return ret;
	if (file_read(r.file, OV_QUICK_MAX, &text, &len, &e) < 0) {
		failed(&e);
		return EXIT_USAGE;
	}
	ret = ov_quick_parse(r.file, text, len, &q, &e);
	explicit_bzero(text, len);
	return ret < 0 ? failed(&e) : import(&r, &q);
}
