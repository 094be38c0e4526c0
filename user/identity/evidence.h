/* SPDX-License-Identifier: Apache-2.0 */
/* Where a certificate has its evidence: extensions .1.1 and .1.2, or .1.8. */
#pragma once

#include "attestation.h"
#include "snp.h"
#include "x509.h"

struct id_evidence {
	bool is_legacy;            /* .1.1 and .1.2 */
	struct id_attestation att; /* of a legacy certificate: quote and events */
};

void id_evidence_fini(struct id_evidence *ev);
/* CERT_EXTENSION when there is none or two, EVENTLOG_MALFORMED, ATTESTATION_MALFORMED, QUOTE_UNSUPPORTED. */
int id_evidence_read(const struct id_cert *cert, struct id_evidence *ev, struct err *e);
/* Replays all lists against a quote's registers; then the identity. rtmr NULL: nothing is compared. */
int id_evidence_replay(const struct id_evidence *ev, const uint8_t (*rtmr)[ID_MR_LEN], struct id_log *log,
		       struct err *e);
/* Who it says that it is of, with nothing compared that a signature would have to prove. */
int id_evidence_identity(const struct id_evidence *ev, struct id_log *log, struct err *e);
bool id_evidence_is_simulated(const struct id_evidence *ev);
/* The certificates that came along with a SEV-SNP report. */
int id_evidence_snp_certs(const struct id_attestation *att, struct id_snp_certs *certs, struct err *e);

/* What the issuer says; good for nothing unless the chain was verified. */
struct id_issuer_claims {
	bool has_app_id, has_app_info;
	uint8_t app_id[BY_APP_ID_LEN];
	char usage[32]; /* "": not said */
	struct id_app_info app_info;
};

int id_issuer_claims_read(const struct id_cert *cert, struct id_issuer_claims *claims, struct err *e);
