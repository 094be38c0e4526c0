/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TDX quotes: version 4 with a TD report 1.0, version 5 with a TD report 1.0 or 1.5 (Intel TDX DCAP Quoting Library
 * API, appendix A.3 and A.4).
 */
#pragma once

#include "identity/crypto.h"
#include "identity/evidence_policy.h"

#define ID_QUOTE_MAX        (128 * 1024) /* with the zeros of the guest's buffer */
#define ID_QUOTE_SIGNED_LEN 632          /* version 4: header and TD report, what the quote signature covers */
#define ID_QE_REPORT_LEN    384
#define ID_QE_VENDOR_LEN    16

#define ID_QUOTE_VERSION  4 /* what sim.c writes */
#define ID_QUOTE_KEY_P256 2
#define ID_QUOTE_TEE_TDX  0x81
#define ID_CERT_DATA_QE   6 /* outer certification data: QE report and what signed it */
#define ID_CERT_DATA_PEM  5 /* inner: PCK chain in PEM */

enum id_td_body { ID_TD_REPORT_10 = 2, ID_TD_REPORT_15 = 3, ID_TD_REPORT_15_EXT = 4 }; /* as version 5 numbers them */

#define ID_TD_TUD_MASK        UINT64_C(0xff) /* any of these: the TD is not trusted; bit 0 is DEBUG */
#define ID_TD_DEBUG_BIT       (UINT64_C(1) << 0)
#define ID_TD_ICSSD           (UINT64_C(1) << 16)
#define ID_TD_SERVTD_EXT      (UINT64_C(1) << 17)
#define ID_TD_LASS            (UINT64_C(1) << 27)
#define ID_TD_SEPT_VE_DISABLE (UINT64_C(1) << 28)
#define ID_TD_MIGRATABLE      (UINT64_C(1) << 29)
#define ID_TD_PKS             (UINT64_C(1) << 30)
#define ID_TD_KL              (UINT64_C(1) << 31)
#define ID_TD_TPA             (UINT64_C(1) << 62)
#define ID_TD_PERFMON         (UINT64_C(1) << 63)
#define ID_TD_HARMLESS        (ID_TD_LASS | ID_TD_PKS | ID_TD_KL | ID_TD_PERFMON) /* may be set by default */

extern const uint8_t id_qe_vendor_intel[ID_QE_VENDOR_LEN];
extern const uint8_t id_qe_vendor_sim[ID_QE_VENDOR_LEN]; /* "BAILEY-SIMULATED" */

/* Pointers go into the quote's bytes. */
struct id_quote {
	uint16_t version;
	enum id_td_body body;
	const uint8_t *signed_bytes; /* header, body descriptor, body */
	size_t signed_len;
	uint8_t qe_vendor[ID_QE_VENDOR_LEN];
	uint8_t tee_tcb_svn[16];
	uint8_t mr_seam[ID_MR_LEN], mr_signer_seam[ID_MR_LEN];
	uint64_t seam_attributes, td_attributes, xfam;
	uint8_t mrtd[ID_MR_LEN];
	uint8_t mr_config_id[ID_MR_LEN], mr_owner[ID_MR_LEN], mr_owner_config[ID_MR_LEN];
	uint8_t rtmr[4][ID_MR_LEN];
	uint8_t report_data[ID_REPORT_DATA_LEN];
	uint8_t tee_tcb_svn2[16], mr_service_td[ID_MR_LEN]; /* TD report 1.5; zero in 1.0 */
	const uint8_t *signature;                           /* r || s over signed_bytes */
	const uint8_t *att_key;                             /* X || Y */
	const uint8_t *qe_report;                           /* ID_QE_REPORT_LEN */
	const uint8_t *qe_report_signature;
	const uint8_t *auth;
	size_t auth_len;
	const char *pck_pem; /* leaf, intermediate, root; not NUL-terminated */
	size_t pck_pem_len;
	bool has_trailing; /* bytes other than zero after the signature data */
};

/* QUOTE_MALFORMED, NOT_TDX, or QUOTE_UNSUPPORTED for other versions, bodies, key types and certification data. */
int id_quote_parse(const uint8_t *bytes, size_t len, struct id_quote *quote, struct err *e);
bool id_quote_is_simulated(const struct id_quote *quote);

/* Who signed it and whether that is believed; how far its platform is patched; what kind of TD it is: quote_judge.c. */
void id_quote_judge(const struct id_quote *quote, const struct id_trust *trust, struct id_verdict *verdict,
		    struct id_pck *pck);
