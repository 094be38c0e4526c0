// SPDX-License-Identifier: Apache-2.0
/* bailey collateral: what Intel says of a platform, fetched ahead of its use (fetch) and looked at (show). */
#include "cmds.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/text.h"
#include "evidence.h"
#include "identity/collateral.h"
#include "identity/quote_tdx.h"
#include "pcs/pcs.h"

#define TIMEOUT_S 20

static const char usage[] =
	"usage: bailey collateral fetch (--quote FILE | --fmspc HEX [--ca platform|processor]) -o FILE\n"
	"                               [--url URL] [--root-crl URL] [--tls-ca FILE] [--early] [--timeout SECONDS]\n"
	"       bailey collateral show FILE... [--at UNIX] [--json]\n"
	"\n"
	"fetch gets TCB Info, QE identity and CRLs of a platform from Intel's service, or from a cache of it (PCCS), "
	"and "
	"verifies\n"
	"them up to Intel's root before FILE is written; what FILE has is never replaced by something older. show says "
	"which\n"
	"platform bundles are for and how long they are good. Exit status: 0 ok; 1 refused, or show found one out of "
	"date;\n"
	"2 usage, no such file or no answer.\n"
	"\n"
	"  --quote FILE     a TDX quote of the platform\n"
	"  --fmspc HEX      the platform's FMSPC, 12 digits; --ca who issued its PCK certificate (platform)\n"
	"  --url URL        the service, without a path (" PCS_INTEL ")\n"
	"  --root-crl URL   where the root's CRL is, when the service has none\n"
	"  --tls-ca FILE    PEM of whoever vouches for the service's TLS certificate\n"
	"  --early          the newest evaluation, before it is the default\n"
	"  --timeout S      for each of four requests (20)\n"
	"  -o FILE          the bundle\n";

struct args {
	struct pcs_request req;
	const char *quote, *out;
	bool has_fmspc, has_ca;
};

static int64_t now_or(const struct ev_args *ev)
{
	return ev->has_at ? ev->at_s : (int64_t)time(NULL);
}

/* --- fetch --- */

/* Which platform a quote comes from, as its PCK certificate says under Intel's root. */
static int platform_of(const char *path, struct pcs_request *req, struct err *e)
{
	auto_free struct id_pck_chain *chain = calloc(1, sizeof(*chain));
	struct id_root root = { 0 };
	auto_free char *bytes = NULL;
	struct id_quote q = { 0 };
	size_t len;
	int ret;

	if (!chain)
		return err_at(e, -ENOMEM, path, "out of memory");
	ret = file_read_arg(path, ID_QUOTE_MAX, &bytes, &len, e);
	if (!ret)
		ret = id_quote_parse((const uint8_t *)bytes, len, &q, e);
	if (!ret)
		ret = id_root_load(id_intel_root, id_intel_root_len, &root, e);
	if (!ret)
		ret = id_pck_chain_load(q.pck_pem, q.pck_pem_len, &root, 1, true, chain, e);
	if (!ret) {
		memcpy(req->fmspc, chain->pck.fmspc, PCS_FMSPC_LEN);
		req->is_processor_ca = id_pki_cn_is(&chain->ca, "Intel SGX PCK Processor CA");
		id_pck_chain_fini(chain);
	}
	id_root_fini(&root);
	return ret;
}

/* What FILE has may not be newer than what a service tells now: it may be an old answer that is told again. */
static int no_rollback(const char *path, const struct id_collateral *made, struct err *e)
{
	struct id_collateral *old = NULL;
	struct err ignored = ERR_INIT;
	auto_free char *text = NULL;
	size_t len;
	int ret = 0;

	if (file_read(path, ID_BUNDLE_MAX, &text, &len, &ignored) < 0 ||
	    id_collateral_load(text, len, NULL, &old, &ignored) < 0)
		return 0;
	if (memcmp(old->tcb.fmspc, made->tcb.fmspc, ID_FMSPC_LEN) != 0)
		ret = err_at(e, -EEXIST, path, "is for another platform");
	else if (old->tcb.evaluation > made->tcb.evaluation || id_collateral_until(old) > id_collateral_until(made))
		ret = err_reason(e, ID_COLLATERAL_ROLLBACK, path, "has newer collateral than the service gives");
	id_collateral_free(old);
	return ret;
}

static int keep(const char *path, const char *bundle, size_t len, struct err *e)
{
	struct id_collateral *made = NULL;
	int ret = id_collateral_load(bundle, len, NULL, &made, e);

	if (!ret)
		ret = no_rollback(path, made, e);
	if (!ret)
		ret = file_write(path, bundle, len, 0644, e);
	id_collateral_free(made);
	return ret;
}

static int fetch(const struct args *args)
{
	struct pcs_request req = args->req;
	auto_free char *bundle = NULL;
	struct err e = ERR_INIT;
	size_t len;
	int ret = args->quote ? platform_of(args->quote, &req, &e) : 0;

	if (!ret)
		ret = pcs_fetch(&req, &bundle, &len, &e);
	if (!ret)
		ret = keep(args->out, bundle, len, &e);
	return ret ? ev_fail(&e) : EV_OK;
}

static bool fetch_option(struct args *a, int c)
{
	int64_t timeout;

	switch (c) {
	case 'q':
		a->quote = optarg;
		return true;
	case 'f':
		return a->has_fmspc = hex_parse(a->req.fmspc, PCS_FMSPC_LEN, optarg);
	case 'c':
		a->has_ca = true;
		a->req.is_processor_ca = strcmp(optarg, "processor") == 0;
		return a->req.is_processor_ca || strcmp(optarg, "platform") == 0;
	case 'u':
		a->req.url = optarg;
		return true;
	case 'r':
		a->req.root_crl = optarg;
		return true;
	case 't':
		a->req.ca_file = optarg;
		return true;
	case 'e':
		return a->req.is_early = true;
	case 's':
		if (!ev_int(optarg, 1, 3600, &timeout))
			return false;
		a->req.timeout_s = (long)timeout;
		return true;
	case 'o':
		a->out = optarg;
		return true;
	default:
		return false;
	}
}

static int fetch_main(int argc, char **argv)
{
	static const struct option options[] = { { "quote", required_argument, NULL, 'q' },
						 { "fmspc", required_argument, NULL, 'f' },
						 { "ca", required_argument, NULL, 'c' },
						 { "url", required_argument, NULL, 'u' },
						 { "root-crl", required_argument, NULL, 'r' },
						 { "tls-ca", required_argument, NULL, 't' },
						 { "early", no_argument, NULL, 'e' },
						 { "timeout", required_argument, NULL, 's' },
						 { NULL, 0, NULL, 0 } };
	struct args args = { .req = { .url = PCS_INTEL, .timeout_s = TIMEOUT_S } };
	bool ok = true;
	int c;

	optind = 0;
	while ((c = getopt_long(argc, argv, "o:", options, NULL)) != -1)
		ok = fetch_option(&args, c) && ok;
	/* a quote says who issued its PCK certificate */
	if (!ok || optind != argc || !args.out || !args.quote == !args.has_fmspc || (args.quote && args.has_ca)) {
		fputs(usage, stderr);
		return EV_USAGE;
	}
	return fetch(&args);
}

/* --- show --- */

static json_t *bundle_report(const struct id_collateral *c, int64_t now)
{
	int64_t until = id_collateral_until(c);
	json_t *o = json_object();

	json_object_set_new(o, "fmspc", json_hex(c->tcb.fmspc, ID_FMSPC_LEN));
	json_object_set_new(o, "tcb_evaluation_data_number", json_integer(c->tcb.evaluation));
	json_object_set_new(o, "tcb_info_until", ev_time(c->tcb.next_update));
	json_object_set_new(o, "qe_identity_until", ev_time(c->qe.next_update));
	json_object_set_new(o, "pck_crl_until", ev_time(c->pck_crl.next_update));
	json_object_set_new(o, "root_ca_crl_until", ev_time(c->root_crl.next_update));
	json_object_set_new(o, "until", ev_time(until));
	json_object_set_new(o, "days", json_integer((until - now) / 86400));
	json_object_set_new(o, "state", json_string(until >= now ? "good" : "OUT OF DATE"));
	return o;
}

static int show_file(const char *path, const struct ev_args *ev, json_t *all, struct err *e)
{
	struct id_collateral *c = NULL;
	auto_free char *text = NULL;
	bool is_good = false;
	size_t len;
	int ret = file_read_arg(path, ID_BUNDLE_MAX, &text, &len, e);

	if (!ret)
		ret = id_collateral_load(text, len, NULL, &c, e);
	if (!ret) {
		is_good = id_collateral_until(c) >= now_or(ev);
		json_object_set_new(all, path, bundle_report(c, now_or(ev)));
	}
	id_collateral_free(c);
	return ret ? ret : is_good;
}

static int show_failed(const char *path, struct err *e)
{
	if (e->reason)
		err_wrap(e, "%s", path);
	return ev_fail(e);
}

static int show(const struct ev_args *ev, int n, char **path)
{
	json_t *all = json_object();
	int status = EV_OK;

	for (int i = 0; i < n; i++) {
		struct err e = ERR_INIT;
		int ret = show_file(path[i], ev, all, &e);
		int one = ret < 0 ? show_failed(path[i], &e) : ret ? EV_OK : EV_REFUSED;

		status = one > status ? one : status;
	}
	ev_print(all, ev->is_json);
	return status;
}

static int show_main(int argc, char **argv)
{
	static const struct option options[] = { { "at", required_argument, NULL, 'a' },
						 { "json", no_argument, NULL, 'j' },
						 { NULL, 0, NULL, 0 } };
	struct ev_args ev = { 0 };
	bool ok = true;
	int c;

	optind = 0;
	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (c == 'a')
			ok = ok && (ev.has_at = ev_int(optarg, 0, INT64_MAX, &ev.at_s));
		else
			ok = ok && c == 'j' && (ev.is_json = true);
	}
	if (!ok || optind == argc) {
		fputs(usage, stderr);
		return EV_USAGE;
	}
	return show(&ev, argc - optind, argv + optind);
}

int cmd_collateral(int argc, char **argv)
{
	if (ev_wants_help(argc, argv)) {
		fputs(usage, stdout);
		return EV_OK;
	}
	if (argc >= 2 && strcmp(argv[1], "fetch") == 0)
		return fetch_main(argc - 1, argv + 1);
	if (argc >= 2 && strcmp(argv[1], "show") == 0)
		return show_main(argc - 1, argv + 1);
	fputs(usage, stderr);
	return EV_USAGE;
}
