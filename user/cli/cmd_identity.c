// SPDX-License-Identifier: Apache-2.0
/* bailey dev-identity: a simulation root, and identities under it. For development; refused unless allowed. */
#include "cmds.h"

#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/text.h"
#include "evidence.h"

#define PEM_MAX   (64 * 1024)
#define DAY_S     86400
#define DAYS      90
#define DAYS_MAX  3650
#define BACKDATED 300 /* seconds: clocks of a test bed differ */

static const char usage[] =
	"usage: bailey dev-identity root --out DIR\n"
	"       bailey dev-identity issue --root DIR --app-id HEX --instance-id HEX [--compose-hash HEX] [--name CN]\n"
	"                                 [--days N] --out PREFIX\n"
	"\n"
	"SIMULATED identities: true in structure, signed by a root of your own, accepted only where simulated "
	"evidence\n"
	"is allowed and this root is named.\n"
	"\n"
	"  root   writes root.pem (to be trusted), root.key, pck.pem, pck.key, pck-ca.pem into DIR; keys are mode "
	"0600\n"
	"  issue  writes PREFIX.pem and PREFIX.key: a fresh P-256 key, a certificate with quote and event log\n";

struct file {
	const char *name;
	char **text;
	mode_t mode;
};

static bool path_of(char path[PATH_MAX], const char *dir, const char *name, struct err *e)
{
	if (snprintf(path, PATH_MAX, "%s/%s", dir, name) < PATH_MAX)
		return true;
	err_at(e, -ENAMETOOLONG, dir, "path is too long");
	return false;
}

/* The root's files, in the order of their writing: the certificate to be trusted last, when all is there. */
#define ROOT_FILES(root)                                                                                               \
	{                                                                                                              \
		{ "root.key", &(root).root_key, 0600 }, { "pck.key", &(root).pck_key, 0600 },                          \
			{ "pck.pem", &(root).pck_cert, 0644 }, { "pck-ca.pem", &(root).intermediate_cert, 0644 },      \
			{ "root.pem", &(root).root_cert, 0644 },                                                       \
	}

static int root_write(const char *dir)
{
	auto_call(id_sim_root_fini) struct id_sim_root root = { 0 };
	const struct file files[] = ROOT_FILES(root);
	struct err e = ERR_INIT;
	char path[PATH_MAX];

	if (id_sim_root_new(time(NULL), &root, &e) < 0 || dir_make(dir, 0755, &e) < 0)
		return ev_fail(&e);
	for (size_t i = 0; i < ARRAY_LEN(files); i++)
		if (!path_of(path, dir, files[i].name, &e) ||
		    file_write(path, *files[i].text, strlen(*files[i].text), files[i].mode, &e) < 0)
			return ev_fail(&e);
	printf("SIMULATED root written: trust %s/root.pem in development only\n", dir);
	return EV_OK;
}

static int root_read(const char *dir, struct id_sim_root *root, struct err *e)
{
	auto_call(id_sim_root_fini) struct id_sim_root made = { 0 };
	const struct file files[] = ROOT_FILES(made);
	char path[PATH_MAX];
	size_t len;

	for (size_t i = 0; i < ARRAY_LEN(files); i++)
		if (!path_of(path, dir, files[i].name, e) || file_read(path, PEM_MAX, files[i].text, &len, e) < 0)
			return e->code;
	*root = made;
	made = (struct id_sim_root){ 0 };
	return 0;
}

static int identity_write(const char *prefix, const char *cert, const char *key, struct err *e)
{
	char path[PATH_MAX];

	if (snprintf(path, sizeof(path), "%s.key", prefix) >= (int)sizeof(path))
		return err_at(e, -ENAMETOOLONG, prefix, "path is too long");
	if (file_write(path, key, strlen(key), 0600, e) < 0)
		return e->code;
	snprintf(path, sizeof(path), "%s.pem", prefix);
	return file_write(path, cert, strlen(cert), 0644, e);
}

static int issue(const char *dir, const struct id_sim_request *req, const char *prefix)
{
	auto_call(id_sim_root_fini) struct id_sim_root root = { 0 };
	auto_free char *cert = NULL, *key = NULL;
	char app_id[2 * BY_APP_ID_LEN + 1];
	struct err e = ERR_INIT;

	if (root_read(dir, &root, &e) < 0 || id_sim_issue(&root, req, &cert, &key, &e) < 0 ||
	    identity_write(prefix, cert, key, &e) < 0)
		return ev_fail(&e);
	hex_print(app_id, req->app_id, sizeof(req->app_id));
	printf("SIMULATED identity written: %s.pem, %s.key (app-id %s)\n", prefix, prefix, app_id);
	return EV_OK;
}

/* dstack's default is that the app-id begins the compose hash; the rest says what this is. */
static void default_compose_hash(struct id_sim_request *req)
{
	static const uint8_t rest[ID_HASH_LEN - BY_APP_ID_LEN] = "SIMULATED";

	memcpy(req->compose_hash, req->app_id, BY_APP_ID_LEN);
	memcpy(req->compose_hash + BY_APP_ID_LEN, rest, sizeof(rest));
}

static int usage_error(const char *what)
{
	fprintf(stderr, "bailey dev-identity: %s\n\n%s", what, usage);
	return EV_USAGE;
}

struct issue_args {
	const char *root, *out, *app_id, *instance_id, *compose_hash, *name;
	int64_t days;
};

static int issue_checked(const struct issue_args *args)
{
	struct id_sim_request req = { .common_name = args->name, .not_before = time(NULL) - BACKDATED };

	if (!args->root || !args->out || !args->app_id || !args->instance_id)
		return usage_error("--root, --app-id, --instance-id and --out are needed");
	if (!hex_parse(req.app_id, sizeof(req.app_id), args->app_id) ||
	    !hex_parse(req.instance_id, sizeof(req.instance_id), args->instance_id))
		return usage_error("--app-id and --instance-id take 40 hex digits");
	default_compose_hash(&req);
	if (args->compose_hash && !hex_parse(req.compose_hash, sizeof(req.compose_hash), args->compose_hash))
		return usage_error("--compose-hash takes 64 hex digits");
	req.not_after = req.not_before + BACKDATED + args->days * DAY_S;
	return issue(args->root, &req, args->out);
}

static int issue_main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "root", required_argument, NULL, 'r' },        { "app-id", required_argument, NULL, 'a' },
		{ "instance-id", required_argument, NULL, 'i' }, { "compose-hash", required_argument, NULL, 'c' },
		{ "name", required_argument, NULL, 'n' },        { "days", required_argument, NULL, 'd' },
		{ "out", required_argument, NULL, 'o' },         { NULL, 0, NULL, 0 }
	};
	struct issue_args args = { .name = "dev-identity", .days = DAYS };
	bool ok = true;
	int c;

	optind = 0;
	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (c) {
		case 'r':
			args.root = optarg;
			break;
		case 'a':
			args.app_id = optarg;
			break;
		case 'i':
			args.instance_id = optarg;
			break;
		case 'c':
			args.compose_hash = optarg;
			break;
		case 'n':
			args.name = optarg;
			break;
		case 'd':
			ok = ok && ev_int(optarg, 1, DAYS_MAX, &args.days);
			break;
		case 'o':
			args.out = optarg;
			break;
		default:
			ok = false;
		}
	}
	return ok && optind == argc ? issue_checked(&args) : usage_error("wrong arguments");
}

static int root_main(int argc, char **argv)
{
	static const struct option options[] = { { "out", required_argument, NULL, 'o' }, { NULL, 0, NULL, 0 } };
	const char *out = NULL;
	bool ok = true;
	int c;

	optind = 0;
	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		ok = ok && c == 'o';
		out = optarg;
	}
	return ok && out && optind == argc ? root_write(out) : usage_error("--out DIR is needed");
}

int cmd_dev_identity(int argc, char **argv)
{
	if (ev_wants_help(argc, argv)) {
		fputs(usage, stdout);
		return EV_OK;
	}
	if (argc >= 2 && strcmp(argv[1], "root") == 0)
		return root_main(argc - 1, argv + 1);
	if (argc >= 2 && strcmp(argv[1], "issue") == 0)
		return issue_main(argc - 1, argv + 1);
	return usage_error("root or issue is needed");
}
