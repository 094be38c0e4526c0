// SPDX-License-Identifier: Apache-2.0
/* bailey cert verify: what the quote of a certificate proves, and apart from it what its issuer vouches for. */
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "cert.h"
#include "identity/issuer_chain.h"
#include "identity/quote_tdx.h"
#include "quote.h"

struct args {
	struct verify_args v;
	const char *cert, *ca;
	bool allow_ca_without_key_cert_sign;
};

/* All reasons against a TDX quote, where the certificate's own verification names the first. */
static void quote_judge(const uint8_t *der, size_t len, const struct id_trust *trust, struct id_verdict *v)
{
	auto_call(id_evidence_fini) struct id_evidence evidence = { 0 };
	auto_call(id_cert_fini) struct id_cert cert = { 0 };
	struct id_quote quote;

	if (id_cert_parse(der, len, &cert, NULL) == 0 && id_evidence_read(&cert, &evidence, NULL) == 0 &&
	    evidence.att.kind == ID_ATTESTATION_TDX &&
	    id_quote_parse(evidence.att.evidence.p, evidence.att.evidence.left, &quote, NULL) == 0)
		id_quote_judge(&quote, trust, v, NULL);
}

static void finding_add(struct id_verdict *v, const struct err *e)
{
	id_verdict_add(v, e->reason ? (enum id_reason)e->reason : ID_CERT_MALFORMED, "%s: %s", e->where, e->msg);
}

static void quote_part(const struct args *args, const char *data, size_t len, const struct id_trust *trust,
		       struct id_verdict *v, json_t *claims)
{
	auto_free uint8_t *der = NULL;
	struct id_claims proved;
	struct err e = ERR_INIT;
	size_t der_len;

	if (ev_cert_first(args->cert, data, len, &der, &der_len, &e) < 0) {
		finding_add(v, &e);
		return;
	}
	quote_judge(der, der_len, trust, v);
	if (id_cert_verify(der, der_len, trust, &proved, &e) < 0)
		finding_add(v, &e);
	else
		json_object_set_new(claims, "quote", ev_claims(&proved, trust->now));
}

static json_t *issuer_report(const struct id_issuer *issuer)
{
	const struct id_issuer_claims *c = &issuer->claims;
	json_t *o = json_object();

	if (c->has_app_id)
		json_object_set_new(o, "app_id", json_hex(c->app_id, sizeof(c->app_id)));
	if (c->usage[0])
		json_object_set_new(o, "usage", json_string(c->usage));
	if (c->has_app_info) {
		json_object_set_new(o, "compose_hash", json_hex(c->app_info.compose_hash, ID_HASH_LEN));
		json_object_set_new(o, "device_id", json_hex(c->app_info.device_id, ID_HASH_LEN));
	}
	json_object_set_new(o, "ca_without_keycertsign", json_boolean(issuer->used_exception));
	return o;
}

static int issuer_part(const struct args *args, const char *pem, size_t len, int64_t now, struct id_verdict *v,
		       json_t *claims, struct err *e)
{
	struct id_issuer_trust trust = { .now = now,
					 .allow_ca_without_key_cert_sign = args->allow_ca_without_key_cert_sign };
	auto_free char *roots = NULL;
	struct id_issuer issuer;
	struct err why = ERR_INIT;
	int ret = file_read_arg(args->ca, VERIFY_FILE_MAX, &roots, &trust.roots_len, e);

	if (ret < 0)
		return ret;
	trust.roots = roots;
	if (id_issuer_verify(pem, len, &trust, &issuer, &why) < 0)
		finding_add(v, &why);
	else
		json_object_set_new(claims, "issuer", issuer_report(&issuer));
	return 0;
}

static int judge(const struct args *args, const char *pem, size_t len, const struct id_trust *trust)
{
	json_t *claims = json_object();
	struct id_verdict v = { 0 };
	struct err e = ERR_INIT;

	quote_part(args, pem, len, trust, &v, claims);
	if (args->ca && issuer_part(args, pem, len, trust->now, &v, claims, &e) < 0) {
		json_decref(claims);
		return ev_fail(&e);
	}
	v.is_accepted = v.n_findings == 0;
	return quote_verdict_print(&v, claims, args->v.ev.is_json);
}

static int verify(const struct args *args)
{
	auto_call(verify_trust_fini) struct verify_trust t = { 0 };
	auto_free char *pem = NULL;
	struct err e = ERR_INIT;
	size_t len;

	if (file_read_arg(args->cert, VERIFY_FILE_MAX, &pem, &len, &e) < 0 || verify_trust_open(&args->v, &t, &e) < 0)
		return ev_fail(&e);
	if (verify_collateral_read(&args->v.collateral, t.trust.collaterals, &e) < 0)
		return quote_refused_print(&e, args->v.ev.is_json);
	return judge(args, pem, len, &t.trust);
}

int cert_verify_main(int argc, char **argv, const char *usage)
{
	static const struct option options[] = { { "ca", required_argument, NULL, 'i' },
						 { "ca-without-keycertsign", no_argument, NULL, 'k' },
						 VERIFY_OPTIONS,
						 { NULL, 0, NULL, 0 } };
	struct args args = { 0 };
	bool ok = true;
	int c;

	optind = 0;
	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1)
		if (c == 'i')
			args.ca = optarg;
		else if (c == 'k')
			args.allow_ca_without_key_cert_sign = true;
		else
			ok = verify_option(&args.v, c) && ok;
	if (!ok || optind != argc - 1 || (args.allow_ca_without_key_cert_sign && !args.ca)) {
		fputs(usage, stderr);
		return EV_USAGE;
	}
	args.cert = argv[optind];
	return verify(&args);
}
