/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An Intel of our own: root, Platform CA, PCK, TCB signing certificate, CRLs, TCB Info, QE identity and quotes, all of
 * the real form, under a root that only tests believe. By default everything is in order and the quote is accepted;
 * each test spoils one thing, before it is signed or after.
 */
#pragma once

#include "identity/collateral.h"
#include "identity/quote_tdx.h"

#define INTEL_NOW   INT64_C(1790000000) /* 2026-09-21 */
#define INTEL_DAY   INT64_C(86400)
#define INTEL_EDITS 8

/* Offsets in the quotes made here, 32 bytes of QE auth data; version 5 adds 6, a TD report 1.5 another 64. */
enum {
	AT_VENDOR = 12,
	AT_TCB_SVN = 48,
	AT_SIGNER_SEAM = 112,
	AT_SEAM_ATTRIBUTES = 160,
	AT_TD_ATTRIBUTES = 168,
	AT_XFAM = 176,
	AT_MRTD = 184,
	AT_MRCONFIGID = 232,
	AT_RTMR0 = 376,
	AT_REPORT_DATA = 568,
	AT_SIG_LEN = 632,
	AT_SIGNATURE = 636,
	AT_ATT_KEY = 700,
	AT_OUTER_TYPE = 764,
	AT_OUTER_LEN = 766,
	AT_QE_REPORT = 770,
	AT_QE_SIGNATURE = 1154,
	AT_AUTH_LEN = 1218,
	AT_AUTH = 1220,
	AT_INNER_TYPE = 1252,
	AT_INNER_LEN = 1254,
	AT_PEM = 1258,
};

struct intel_edit {
	const char *find, *put; /* the first occurrence; find NULL: the end of the list */
};

struct intel_cert {
	const char *cn, *basic, *usage;
	int64_t not_before, not_after;
	bool is_revoked;
};

enum intel_signer { BY_DEFAULT, BY_ROOT, BY_CA, BY_PCK, BY_TCB_SIGNER, BY_STRANGER };

struct intel_opts {
	struct intel_cert root, ca, pck, signer;
	enum intel_signer pck_by, crl_by, root_crl_by, signer_by, json_by, qe_report_by;
	bool has_crl_name_of_root; /* the PCK CRL says the root issued it */
	int64_t crl_from, crl_to, root_crl_from, root_crl_to;
	struct id_pck platform;
	const uint8_t *ext; /* the PCK's SGX extension as it stands; NULL: made from platform */
	size_t ext_len;
	bool ext_missing;
	const char *platform_status, *module_status, *qe_status; /* of the level that the quote reaches */
	struct intel_edit tcb[INTEL_EDITS], qe[INTEL_EDITS];     /* before signing */
	struct intel_edit bundle[INTEL_EDITS];                   /* of the whole, in the end */
	int version;                                             /* 4 (default) or 5 */
	enum id_td_body body;
	void (*edit_body)(uint8_t *bytes, void *arg); /* header, descriptor, body; before signing */
	void (*edit_qe)(uint8_t *report, void *arg);  /* before signing */
	void *arg;
	const char *pem; /* another PCK chain */
};

struct intel_opts intel_opts(void); /* everything in order */

struct intel_made {
	uint8_t *quote;
	size_t quote_len;
	char *bundle;
	struct id_collaterals *set;    /* believes this Intel's root; empty when its bundle was refused */
	struct err refused;            /* why */
	char *pem[3];                  /* leaf, intermediate, root */
	uint8_t root[ID_PKI_CERT_MAX]; /* DER */
	size_t root_len;
};

int intel_start(void **state); /* makes the keys; a cmocka group's setup */
int intel_stop(void **state);
void intel_make(const struct intel_opts *opts, struct intel_made *made);
void intel_fini(struct intel_made *made);

/* Makes, judges at INTEL_NOW under `policy` (NULL: strict), and gives the words of all reasons, "" when accepted. */
const char *intel_judge(const struct intel_opts *opts, const struct id_evidence_policy *policy,
			struct id_verdict *verdict);
/* The same for bytes and a set at hand. */
const char *intel_judge_bytes(const uint8_t *bytes, size_t len, struct id_collaterals *set, int64_t now,
			      const struct id_evidence_policy *policy, struct id_verdict *verdict);
