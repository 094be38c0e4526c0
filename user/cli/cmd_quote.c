// SPDX-License-Identifier: Apache-2.0
/* bailey quote: what a TDX quote or SEV-SNP report carries (show), and whether it is to be believed (verify). */
#include "cmds.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "identity/quote_tdx.h"
#include "quote.h"

static const char usage[] =
	"usage: bailey quote verify --quote FILE [--collateral FILE]... [--at UNIX] [--policy FILE] [--json]\n"
	"                           [--root FILE [--allow-simulated]]\n"
	"       bailey quote show FILE [--json]\n"
	"\n"
	"verify judges a TDX quote (version 4 or 5) or a SEV-SNP report (version 2 to 5) with collateral: signatures "
	"up "
	"to the\n"
	"vendor's pinned root, revocation, TCB, attributes. show prints what it carries and proves nothing. Exit "
	"status:\n"
	"0 accepted, or readable; 1 refused; 2 usage or no such file.\n"
	"\n"
	"  --collateral FILE  TDX: bundle in JSON (bailey.1). SEV-SNP: VEK and intermediate certificate, CRL (PEM or "
	"DER), or\n"
	"                     the kernel's certificate table. Several may be given\n"
	"  --at UNIX          judge as of that time, not now\n"
	"  --policy FILE      what is good enough (evidence policy, YAML); without it, only UpToDate production TDs\n"
	"                     and no SEV-SNP, for which it has to say the minimum TCB\n"
	"  --root FILE        simulation roots (PEM), with --allow-simulated\n"
	"  --json             for programs\n";

struct args {
	struct verify_args v;
	const char *quote;
};

json_t *quote_number(uint64_t v)
{
	char text[32];

	snprintf(text, sizeof(text), "0x%016llx", (unsigned long long)v);
	return json_string(text);
}

/* --- what a body says --- */

json_t *quote_body(const struct id_quote *q)
{
	static const char *const rtmr[] = { "rtmr0", "rtmr1", "rtmr2", "rtmr3" };
	json_t *o = json_object();

	json_object_set_new(o, "tee", json_string(id_quote_is_simulated(q) ? "SIMULATED TDX" : "TDX"));
	json_object_set_new(o, "quote_version", json_integer(q->version));
	json_object_set_new(o, "td_report", json_string(q->body == ID_TD_REPORT_10 ? "1.0" : "1.5"));
	json_object_set_new(o, "td_attributes", quote_number(q->td_attributes));
	json_object_set_new(o, "xfam", quote_number(q->xfam));
	json_object_set_new(o, "tee_tcb_svn", json_hex(q->tee_tcb_svn, sizeof(q->tee_tcb_svn)));
	if (q->body != ID_TD_REPORT_10)
		json_object_set_new(o, "tee_tcb_svn2", json_hex(q->tee_tcb_svn2, sizeof(q->tee_tcb_svn2)));
	json_object_set_new(o, "mrseam", json_hex(q->mr_seam, ID_MR_LEN));
	json_object_set_new(o, "mrtd", json_hex(q->mrtd, ID_MR_LEN));
	for (int i = 0; i < 4; i++)
		json_object_set_new(o, rtmr[i], json_hex(q->rtmr[i], ID_MR_LEN));
	json_object_set_new(o, "mrconfigid", json_hex(q->mr_config_id, ID_MR_LEN));
	json_object_set_new(o, "mrowner", json_hex(q->mr_owner, ID_MR_LEN));
	json_object_set_new(o, "mrownerconfig", json_hex(q->mr_owner_config, ID_MR_LEN));
	if (q->body != ID_TD_REPORT_10)
		json_object_set_new(o, "mr_servicetd", json_hex(q->mr_service_td, ID_MR_LEN));
	json_object_set_new(o, "report_data", json_hex(q->report_data, sizeof(q->report_data)));
	return o;
}

static void platform_report(const struct id_pck *pck, json_t *o)
{
	json_object_set_new(o, "fmspc", json_hex(pck->fmspc, sizeof(pck->fmspc)));
	json_object_set_new(o, "ppid", json_hex(pck->ppid, sizeof(pck->ppid)));
	if (pck->has_instance)
		json_object_set_new(o, "platform_instance_id", json_hex(pck->instance, sizeof(pck->instance)));
	json_object_set_new(o, "pce_svn", json_integer(pck->pce_svn));
}

static void collateral_report(const struct id_verdict *v, int64_t now, json_t *o)
{
	if (!v->collateral_until)
		return;
	json_object_set_new(o, "tcb_evaluation_data_number", json_integer(v->evaluation));
	if (v->tcb_date)
		json_object_set_new(o, "tcb_date", ev_time(v->tcb_date));
	ev_until("collateral", v->collateral_until, now, o);
}

/* --- verify --- */

/* Nothing of a body that is not proved. */
static json_t *claims_report(const struct id_quote *q, const struct id_pck *pck, const struct id_verdict *v,
			     int64_t now)
{
	json_t *o;

	if (v->tee == ID_TEE_NONE)
		return json_object();
	o = quote_body(q);
	if (v->tee == ID_TEE_TDX)
		platform_report(pck, o);
	collateral_report(v, now, o);
	return o;
}

int quote_verdict_print(const struct id_verdict *v, json_t *claims, bool is_json)
{
	json_t *o = json_object(), *reasons = json_array(), *advisories = json_array(), *details = json_array();
	char word[64], text[300];

	for (unsigned i = 0; i < v->n_findings; i++) {
		id_verdict_word(v, &v->finding[i], word);
		json_array_append_new(reasons, json_string(id_verdict_word(v, &v->finding[i], word)));
		snprintf(text, sizeof(text), "%s: %s", id_verdict_word(v, &v->finding[i], word), v->finding[i].text);
		json_array_append_new(details, json_string(text));
	}
	for (unsigned i = 0; i < v->n_advisories; i++)
		json_array_append_new(advisories, json_string(v->advisory[i]));
	json_object_set_new(o, "verdict", json_string(v->is_accepted ? "accept" : "reject"));
	json_object_set_new(o, "tcb_status", json_string(id_tcb_status_name(v->tcb_status)));
	json_object_set_new(o, "reasons", is_json ? json_incref(reasons) : json_incref(details));
	json_object_set_new(o, "advisories", advisories);
	json_object_set_new(o, "claims", claims);
	json_decref(reasons);
	json_decref(details);
	ev_print(o, is_json);
	return v->is_accepted ? EV_OK : EV_REFUSED;
}

int quote_refused_print(const struct err *e, bool is_json)
{
	struct id_verdict v = { 0 };

	if (!e->reason)
		return ev_fail(e);
	id_verdict_add(&v, (enum id_reason)e->reason, "%s: %s", e->where, e->msg);
	return quote_verdict_print(&v, json_object(), is_json);
}

static int judge(const struct args *args, const char *bytes, size_t len, struct id_trust *trust)
{
	struct id_verdict verdict;
	struct id_pck pck = { 0 };
	struct err e = ERR_INIT;
	struct id_quote quote;

	if (id_snp_is_report((const uint8_t *)bytes, len))
		return quote_snp_verify((const uint8_t *)bytes, len, &args->v.collateral, trust, args->v.ev.is_json);
	/* the quote first: what is no TDX quote needs no collateral to be refused */
	if (id_quote_parse((const uint8_t *)bytes, len, &quote, &e) < 0 ||
	    verify_collateral_read(&args->v.collateral, trust->collaterals, &e) < 0)
		return quote_refused_print(&e, args->v.ev.is_json);
	id_quote_judge(&quote, trust, &verdict, &pck);
	return quote_verdict_print(&verdict, claims_report(&quote, &pck, &verdict, trust->now), args->v.ev.is_json);
}

static int verify(const struct args *args)
{
	auto_call(verify_trust_fini) struct verify_trust t = { 0 };
	auto_free char *bytes = NULL;
	struct err e = ERR_INIT;
	size_t len;

	if (file_read_arg(args->quote, VERIFY_FILE_MAX, &bytes, &len, &e) < 0 ||
	    verify_trust_open(&args->v, &t, &e) < 0)
		return ev_fail(&e);
	return judge(args, bytes, len, &t.trust);
}

/* --- show --- */

static int show(const struct args *args)
{
	auto_free char *bytes = NULL;
	struct err e = ERR_INIT;
	struct id_quote q;
	size_t len;
	json_t *o;

	if (file_read_arg(args->quote, VERIFY_FILE_MAX, &bytes, &len, &e) < 0)
		return ev_fail(&e);
	if (id_snp_is_report((const uint8_t *)bytes, len))
		return quote_snp_show((const uint8_t *)bytes, len, args->v.ev.is_json);
	if (id_quote_parse((const uint8_t *)bytes, len, &q, &e) < 0)
		return ev_fail(&e);
	o = quote_body(&q);
	json_object_set_new(o, "mrsignerseam", json_hex(q.mr_signer_seam, ID_MR_LEN));
	json_object_set_new(o, "seam_attributes", quote_number(q.seam_attributes));
	json_object_set_new(o, "qe_vendor", json_hex(q.qe_vendor, sizeof(q.qe_vendor)));
	json_object_set_new(o, "qe_auth_data", json_hex(q.auth, q.auth_len));
	json_object_set_new(o, "pck_chain_bytes", json_integer((json_int_t)q.pck_pem_len));
	json_object_set_new(o, "nonzero_trailing_bytes", json_boolean(q.has_trailing));
	json_object_set_new(o, "verdict", json_string("not verified: bailey quote verify does that"));
	ev_print(o, args->v.ev.is_json);
	return EV_OK;
}

/* --- arguments --- */

static int quote_main(int argc, char **argv, bool is_verify)
{
	static const struct option options[] = { { "quote", required_argument, NULL, 'q' },
						 VERIFY_OPTIONS,
						 { NULL, 0, NULL, 0 } };
	struct args args = { 0 };
	bool ok = true;
	int c;

	optind = 0;
	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1)
		if (c == 'q')
			args.quote = optarg;
		else
			ok = (is_verify || c == 'j') && verify_option(&args.v, c) && ok;
	if (!args.quote && optind == argc - 1)
		args.quote = argv[optind++];
	if (!ok || !args.quote || optind != argc) {
		fputs(usage, stderr);
		return EV_USAGE;
	}
	return is_verify ? verify(&args) : show(&args);
}

int cmd_quote(int argc, char **argv)
{
	if (ev_wants_help(argc, argv)) {
		fputs(usage, stdout);
		return EV_OK;
	}
	if (argc >= 2 && strcmp(argv[1], "verify") == 0)
		return quote_main(argc - 1, argv + 1, true);
	if (argc >= 2 && strcmp(argv[1], "show") == 0)
		return quote_main(argc - 1, argv + 1, false);
	fputs(usage, stderr);
	return EV_USAGE;
}
