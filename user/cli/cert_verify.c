// SPDX-License-Identifier: Apache-2.0
/* bailey cert verify: what the quote of a certificate proves, and apart from it what its issuer vouches for. */
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "cert.h"
#include "evidence/policy_file.h"
#include "identity/collateral.h"
#include "identity/issuer_chain.h"
#include "identity/quote_tdx.h"
#include "quote.h"

struct args {
	struct ev_args ev;
	const char *cert, *policy, *ca;
	bool allow_ca_without_key_cert_sign;
	struct quote_files collateral;
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
		json_object_set_new(claims, "quote", ev_claims(&proved));
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
	int ret = file_read_arg(args->ca, QUOTE_FILE_MAX, &roots, &trust.roots_len, e);

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
	return quote_verdict_print(&v, claims, args->ev.is_json);
}

static int verify(const struct args *args)
{
	auto_free char *pem = NULL, *roots = NULL;
	struct id_evidence_policy policy;
	struct id_snp_trust snp = { 0 };
	struct err e = ERR_INIT;
	struct id_trust trust;
	size_t len;
	int status;

	if (file_read_arg(args->cert, QUOTE_FILE_MAX, &pem, &len, &e) < 0 ||
	    ev_trust(&args->ev, &trust, &roots, &e) < 0 || (args->policy && evp_load(args->policy, &policy, &e) < 0) ||
	    id_collaterals_new(NULL, 0, &trust.collaterals, &e) < 0)
		return ev_fail(&e);
	trust.policy = args->policy ? &policy : NULL;
	if (args->policy && policy.snp.is_allowed) {
		snp.policy = policy.snp.demand;
		trust.snp = &snp;
	}
	status = quote_collateral_read(&args->collateral, trust.collaterals, &e) < 0
			 ? quote_refused_print(&e, args->ev.is_json)
			 : judge(args, pem, len, &trust);
	id_collaterals_free(trust.collaterals);
	return status;
}

static bool option(struct args *a, int c)
{
	switch (c) {
	case 'c':
		if (a->collateral.n == QUOTE_FILES_MAX)
			return false;
		a->collateral.path[a->collateral.n++] = optarg;
		return true;
	case 'p':
		a->policy = optarg;
		return true;
	case 'i':
		a->ca = optarg;
		return true;
	case 'k':
		return a->allow_ca_without_key_cert_sign = true;
	case 'j':
		return a->ev.is_json = true;
	case 'r':
		a->ev.root = optarg;
		return true;
	case 's':
		return a->ev.allow_simulated = true;
	case 'a':
		return a->ev.has_at = ev_int(optarg, 0, INT64_MAX, &a->ev.at_s);
	default:
		return false;
	}
}

int cert_verify_main(int argc, char **argv, const char *usage)
{
	static const struct option options[] = { { "collateral", required_argument, NULL, 'c' },
						 { "policy", required_argument, NULL, 'p' },
						 { "ca", required_argument, NULL, 'i' },
						 { "ca-without-keycertsign", no_argument, NULL, 'k' },
						 { "json", no_argument, NULL, 'j' },
						 { "root", required_argument, NULL, 'r' },
						 { "allow-simulated", no_argument, NULL, 's' },
						 { "at", required_argument, NULL, 'a' },
						 { NULL, 0, NULL, 0 } };
	struct args args = { 0 };
	bool ok = true;
	int c;

	optind = 0;
	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1)
		ok = option(&args, c) && ok;
	if (!ok || optind != argc - 1 || (args.allow_ca_without_key_cert_sign && !args.ca)) {
		fputs(usage, stderr);
		return EV_USAGE;
	}
	args.cert = argv[optind];
	return verify(&args);
}
