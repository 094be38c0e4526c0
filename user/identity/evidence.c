// SPDX-License-Identifier: Apache-2.0
#include "evidence.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

#include "base/cleanup.h"
#include "quote_tdx.h"
#include "snp.h"

#define WHERE "certificate"

void id_evidence_fini(struct id_evidence *ev)
{
	id_attestation_fini(&ev->att);
}

static int legacy_read(const struct id_cert *cert, struct id_evidence *ev, struct err *e)
{
	const struct in *quote = &cert->ext[ID_EXT_QUOTE], *log = &cert->ext[ID_EXT_EVENTLOG];

	if (!quote->p || !log->p)
		return err_reason(e, ID_CERT_EXTENSION, WHERE, "carries no %s",
				  quote->p ? "event log (.1.2)" : "quote (.1.1)");
	ev->is_legacy = true;
	ev->att.kind = ID_ATTESTATION_TDX;
	ev->att.evidence = *quote;
	return id_events_from_json((const char *)log->p, log->left, &ev->att.events, e);
}

int id_evidence_read(const struct id_cert *cert, struct id_evidence *ev, struct err *e)
{
	auto_call(id_evidence_fini) struct id_evidence made = { 0 };
	const struct in *newer = &cert->ext[ID_EXT_ATTESTATION];
	int ret;

	/* one of them could say what the other does not */
	if (newer->p && (cert->ext[ID_EXT_QUOTE].p || cert->ext[ID_EXT_EVENTLOG].p))
		return err_reason(e, ID_CERT_EXTENSION, WHERE,
				  "carries an attestation (.1.8) beside a quote (.1.1) or event log (.1.2)");
	ret = newer->p ? id_attestation_read(newer->p, newer->left, &made.att, e) : legacy_read(cert, &made, e);
	if (ret < 0)
		return ret;
	*ev = made;
	made = (struct id_evidence){ 0 };
	return 0;
}

static int list_replay(const struct id_events *events, const uint8_t (*rtmr)[ID_MR_LEN], struct id_log *log,
		       struct err *e)
{
	int ret = id_events_replay(events, log, e);

	return ret < 0 || !rtmr ? ret : id_log_compare(log, rtmr, e);
}

/* An attestation has RTMR3's events twice: both must be what the quote signed. */
int id_evidence_replay(const struct id_evidence *ev, const uint8_t (*rtmr)[ID_MR_LEN], struct id_log *log,
		       struct err *e)
{
	const struct id_attestation *att = &ev->att;
	const struct id_events *own = ev->is_legacy ? &att->events : &att->runtime;
	struct id_log made;
	int ret = !ev->is_legacy && att->events.n ? list_replay(&att->events, rtmr, &made, e) : 0;

	if (!ret)
		ret = list_replay(own, rtmr, &made, e);
	if (!ret)
		ret = id_events_identity(own, &made, e);
	if (!ret)
		*log = made;
	return ret;
}

int id_evidence_identity(const struct id_evidence *ev, struct id_log *log, struct err *e)
{
	struct id_snp_report r;
	int ret;

	if (ev->att.kind != ID_ATTESTATION_SNP)
		return id_evidence_replay(ev, NULL, log, e);
	ret = id_snp_parse(ev->att.evidence.p, ev->att.evidence.left, &r, e);
	return ret < 0 ? ret : id_mr_config_read(ev->att.mr_config, r.host_data, log, e);
}

bool id_evidence_is_simulated(const struct id_evidence *ev)
{
	struct id_quote quote;

	return ev->att.kind == ID_ATTESTATION_TDX &&
	       id_quote_parse(ev->att.evidence.p, ev->att.evidence.left, &quote, NULL) == 0 &&
	       id_quote_is_simulated(&quote);
}

/* dstack has [ASK, VCEK], or one certificate table as the kernel gives it; DER in both. */
int id_evidence_snp_certs(const struct id_attestation *att, struct id_snp_certs *certs, struct err *e)
{
	if (att->n_certs == 1)
		return id_snp_table_parse(att->certs[0].p, att->certs[0].left, certs, e);
	if (att->n_certs != 2)
		return err_reason(e, ID_SNP_CHAIN, "attestation", "has %u certificates; [ASK, VEK] or a table are read",
				  att->n_certs);
	*certs = (struct id_snp_certs){ .intermediate = att->certs[0], .vek = att->certs[1] };
	return 0;
}

/* --- issuer --- */

int id_issuer_claims_read(const struct id_cert *cert, struct id_issuer_claims *claims, struct err *e)
{
	const struct in *app_id = &cert->ext[ID_EXT_APP_ID], *usage = &cert->ext[ID_EXT_USAGE],
			*app_info = &cert->ext[ID_EXT_APP_INFO];
	struct id_issuer_claims made = { .has_app_id = app_id->p, .has_app_info = app_info->p };
	int ret;

	if (app_id->p && app_id->left != BY_APP_ID_LEN)
		return err_reason(e, ID_CERT_CLAIM, WHERE, "app-id extension (.1.3) has %zu bytes, %d are needed",
				  app_id->left, BY_APP_ID_LEN);
	if (app_id->p)
		memcpy(made.app_id, app_id->p, BY_APP_ID_LEN);
	if (usage->p && (!usage->left || usage->left >= sizeof(made.usage)))
		return err_reason(e, ID_CERT_CLAIM, WHERE, "usage extension (.1.4) is empty or too long");
	for (size_t i = 0; usage->p && i < usage->left; i++)
		if (!isgraph(usage->p[i]))
			return err_reason(e, ID_CERT_CLAIM, WHERE, "usage extension (.1.4) is not a word");
	if (usage->p)
		memcpy(made.usage, usage->p, usage->left);
	ret = app_info->p ? id_app_info_read(*app_info, &made.app_info, e) : 0;
	if (ret < 0)
		return ret;
	if (made.has_app_id && made.has_app_info && memcmp(made.app_id, made.app_info.app_id, BY_APP_ID_LEN) != 0)
		return err_reason(e, ID_CERT_CLAIM, WHERE, "app-id (.1.3) and app_info (.1.9) name different apps");
	*claims = made;
	return 0;
}
