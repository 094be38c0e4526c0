// SPDX-License-Identifier: Apache-2.0
/* bailey cert: what a certificate carries (inspect), and what it proves (verify). */
#include "cmds.h"

#include <ctype.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "cert.h"
#include "identity/evidence.h"
#include "quote.h"

static const char usage[] =
	"usage: bailey cert inspect FILE [--json] [--root ROOT.pem [--allow-simulated]] [--at UNIX]\n"
	"       bailey cert verify FILE [--collateral FILE]... [--policy FILE] [--ca FILE [--ca-without-keycertsign]]\n"
	"                               [--root ROOT.pem [--allow-simulated]] [--at UNIX] [--json]\n"
	"\n"
	"Shows what a certificate (PEM or DER, \"-\": standard input) carries. Nothing of it is verified unless "
	"--root\n"
	"names the simulation roots to trust. Exit status: 0 readable, or accepted; 1 refused; 2 usage or no such "
	"file.\n"
	"\n"
	"  --root FILE        verify, with these simulation roots (PEM)\n"
	"  --allow-simulated  believe simulated quotes of those roots\n"
	"  --at UNIX          verify as of that time, not now\n"
	"  --json             for programs\n"
	"\n"
	"verify judges quote, event log and binding of the leaf, with collateral and policy as `bailey quote verify` "
	"does,\n"
	"and with --ca also the chain that FILE brings, up to one of those CAs (PEM). The claims of both are told "
	"apart.\n"
	"\n"
	"  --ca-without-keycertsign  let CAs of the chain pass whose keyUsage has no keyCertSign, as those of older "
	"dstack KMS\n";

static json_t *name_text(const X509_NAME *name)
{
	auto_call(cleanup_bio) BIO *bio = BIO_new(BIO_s_mem());
	char *text;
	long len;

	/* control characters come out escaped: a certificate must not steer a terminal */
	if (!bio || X509_NAME_print_ex(bio, name, 0, XN_FLAG_ONELINE) < 0)
		return json_string("");
	len = BIO_get_mem_data(bio, &text);
	return json_stringn(text, len > 0 ? (size_t)len : 0);
}

static json_t *usage_text(const struct in *ext)
{
	for (size_t i = 0; i < ext->left; i++)
		if (!isprint(ext->p[i]))
			return json_hex(ext->p, ext->left);
	return json_stringn((const char *)ext->p, ext->left);
}

static json_t *exts_report(const struct id_cert *cert)
{
	static const struct {
		enum id_ext n;
		const char *name;
	} sized[] = { { ID_EXT_QUOTE, "quote_bytes" },
		      { ID_EXT_EVENTLOG, "event_log_bytes" },
		      { ID_EXT_ATTESTATION, "attestation_bytes" },
		      { ID_EXT_APP_INFO, "app_info_bytes" } };
	json_t *o = json_object();

	for (size_t i = 0; i < ARRAY_LEN(sized); i++)
		if (cert->ext[sized[i].n].p)
			json_object_set_new(o, sized[i].name, json_integer((json_int_t)cert->ext[sized[i].n].left));
	if (cert->ext[ID_EXT_APP_ID].p)
		json_object_set_new(o, "app_id", json_hex(cert->ext[ID_EXT_APP_ID].p, cert->ext[ID_EXT_APP_ID].left));
	if (cert->ext[ID_EXT_USAGE].p)
		json_object_set_new(o, "usage", usage_text(&cert->ext[ID_EXT_USAGE]));
	return o;
}

static json_t *log_report(const struct id_log *log, const struct id_quote *q)
{
	json_t *o = ev_log_identity(log);

	if (q) {
		json_object_set_new(o, "runtime_events", json_integer(log->n_events[3]));
		json_object_set_new(o, "replays_to_rtmr3",
				    json_boolean(memcmp(log->rtmr[3], q->rtmr[3], ID_MR_LEN) == 0));
	}
	return o;
}

static void cert_report(const struct id_cert *cert, json_t *o)
{
	uint8_t sha256[32] = { 0 };

	id_hash(EVP_sha256(), sha256, cert->spki, sizeof(cert->spki), NULL, 0);
	json_object_set_new(o, "subject", name_text(X509_get_subject_name(cert->x509)));
	json_object_set_new(o, "issuer", name_text(X509_get_issuer_name(cert->x509)));
	json_object_set_new(o, "self_signed", json_boolean(cert->is_self_signed));
	json_object_set_new(o, "not_before", ev_time(cert->not_before));
	json_object_set_new(o, "not_after", ev_time(cert->not_after));
	json_object_set_new(o, "key_sha256", json_hex(sha256, sizeof(sha256)));
	json_object_set_new(o, "extensions", exts_report(cert));
}

/* The quote or report as far as it can be read. */
static json_t *body_report(const struct id_cert *cert, const struct id_evidence *ev, struct id_quote *quote,
			   struct err *e)
{
	const struct in *bytes = &ev->att.evidence;
	struct id_snp_report r;
	const uint8_t *bound;
	json_t *o;

	if (ev->att.kind == ID_ATTESTATION_SNP) {
		if (id_snp_parse(bytes->p, bytes->left, &r, e) < 0)
			return ev_refusal(e);
		o = quote_snp_body(&r);
		bound = r.report_data;
	} else {
		if (id_quote_parse(bytes->p, bytes->left, quote, e) < 0)
			return ev_refusal(e);
		o = quote_body(quote);
		bound = quote->report_data;
	}
	json_object_set_new(o, "binds_key", json_boolean(id_cert_is_bound(cert, bound)));
	return o;
}

/* Returns whether all that is there could be read. A certificate without evidence, as a CA's, is none to object to. */
static bool evidence_report(const struct id_cert *cert, json_t *o)
{
	auto_call(id_evidence_fini) struct id_evidence ev = { 0 };
	struct err quote_err = ERR_INIT, log_err = ERR_INIT;
	struct id_quote quote;
	struct id_log log;
	bool is_tdx;

	json_object_set_new(o, "simulated", json_false());
	if (!cert->ext[ID_EXT_QUOTE].p && !cert->ext[ID_EXT_EVENTLOG].p && !cert->ext[ID_EXT_ATTESTATION].p)
		return true;
	if (id_evidence_read(cert, &ev, &log_err) < 0) {
		json_object_set_new(o, "evidence", ev_refusal(&log_err));
		return false;
	}
	is_tdx = ev.att.kind == ID_ATTESTATION_TDX;
	json_object_set_new(o, "simulated", json_boolean(id_evidence_is_simulated(&ev)));
	json_object_set_new(o, is_tdx ? "quote" : "report", body_report(cert, &ev, &quote, &quote_err));
	id_evidence_identity(&ev, &log, &log_err);
	json_object_set_new(o, is_tdx ? "event_log" : "mr_config",
			    log_err.code ? ev_refusal(&log_err)
					 : log_report(&log, is_tdx && !quote_err.code ? &quote : NULL));
	return !quote_err.code && !log_err.code;
}

static int verdict_report(const struct id_cert *cert, const struct ev_args *args, json_t *o)
{
	auto_free char *roots = NULL;
	struct id_claims claims;
	struct err e = ERR_INIT;
	struct id_trust trust;

	if (ev_trust(args, &trust, &roots, &e) < 0)
		return ev_fail(&e);
	if (id_cert_check(cert, &trust, &claims, &e) < 0) {
		json_object_set_new(o, "verified", json_false());
		json_object_set_new(o, "verdict", json_string("refused"));
		json_object_set_new(o, "refusal", ev_refusal(&e));
		return EV_REFUSED;
	}
	json_object_set_new(o, "verified", json_true());
	json_object_set_new(o, "verdict", json_string(claims.is_simulated ? "accepted, SIMULATED" : "accepted"));
	return EV_OK;
}

static int inspect(const char *path, const struct ev_args *args)
{
	auto_call(id_cert_fini) struct id_cert cert = { 0 };
	auto_free uint8_t *der = NULL;
	struct err e = ERR_INIT;
	json_t *report;
	size_t len;
	int status;

	if (ev_cert_read(path, &der, &len, &e) < 0 || id_cert_parse(der, len, &cert, &e) < 0)
		return ev_fail(&e);
	report = json_object();
	cert_report(&cert, report);
	status = evidence_report(&cert, report) ? EV_OK : EV_REFUSED;
	if (args->root) {
		status = verdict_report(&cert, args, report);
	} else {
		json_object_set_new(report, "verified", json_false());
		json_object_set_new(report, "verdict", json_string("not verified: bailey cert verify does that"));
	}
	ev_print(report, args->is_json);
	return status;
}

static int inspect_main(int argc, char **argv)
{
	static const struct option options[] = { { "json", no_argument, NULL, 'j' },
						 { "root", required_argument, NULL, 'r' },
						 { "allow-simulated", no_argument, NULL, 's' },
						 { "at", required_argument, NULL, 'a' },
						 { NULL, 0, NULL, 0 } };
	struct ev_args args = { 0 };
	bool ok = true;
	int c;

	optind = 0;
	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (c == 'j')
			args.is_json = true;
		else if (c == 'r')
			args.root = optarg;
		else if (c == 's')
			args.allow_simulated = true;
		else if (c == 'a')
			ok = ok && (args.has_at = ev_int(optarg, 0, INT64_MAX, &args.at_s));
		else
			ok = false;
	}
	if (!ok || optind != argc - 1) {
		fputs(usage, stderr);
		return EV_USAGE;
	}
	return inspect(argv[optind], &args);
}

int cmd_cert(int argc, char **argv)
{
	if (ev_wants_help(argc, argv)) {
		fputs(usage, stdout);
		return EV_OK;
	}
	if (argc >= 2 && strcmp(argv[1], "inspect") == 0)
		return inspect_main(argc - 1, argv + 1);
	if (argc >= 2 && strcmp(argv[1], "verify") == 0)
		return cert_verify_main(argc - 1, argv + 1, usage);
	fputs(usage, stderr);
	return EV_USAGE;
}
