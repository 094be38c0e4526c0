/* SPDX-License-Identifier: Apache-2.0 */
/* TDX quotes, version 4 with a TD report 1.0 (Intel TDX DCAP Quoting Library API, appendix A.3). */
#pragma once

#include "identity/crypto.h"
#include "identity/identity.h"

#define ID_QUOTE_SIGNED_LEN 632 /* header and TD report: what the quote signature covers */
#define ID_QE_REPORT_LEN    384
#define ID_QE_VENDOR_LEN    16

#define ID_QUOTE_VERSION  4
#define ID_QUOTE_KEY_P256 2
#define ID_QUOTE_TEE_TDX  0x81
#define ID_CERT_DATA_QE   6 /* outer certification data: QE report and what signed it */
#define ID_CERT_DATA_PEM  5 /* inner: PCK chain in PEM */

#define ID_TD_TUD_MASK        UINT64_C(0xff) /* any of these: the TD is not trusted; bit 0 is DEBUG */
#define ID_TD_DEBUG           (UINT64_C(1) << 0)
#define ID_TD_LASS            (UINT64_C(1) << 27)
#define ID_TD_SEPT_VE_DISABLE (UINT64_C(1) << 28)
#define ID_TD_PKS             (UINT64_C(1) << 30)
#define ID_TD_KL              (UINT64_C(1) << 31)
#define ID_TD_PERFMON         (UINT64_C(1) << 63)

extern const uint8_t id_qe_vendor_intel[ID_QE_VENDOR_LEN];
extern const uint8_t id_qe_vendor_sim[ID_QE_VENDOR_LEN]; /* "BAILEY-SIMULATED" */

/* Pointers go into the quote's bytes. */
struct id_quote {
	const uint8_t *signed_bytes; /* ID_QUOTE_SIGNED_LEN */
	uint8_t qe_vendor[ID_QE_VENDOR_LEN];
	uint8_t tee_tcb_svn[16];
	uint8_t mr_seam[ID_MR_LEN], mr_signer_seam[ID_MR_LEN];
	uint64_t seam_attributes, td_attributes, xfam;
	uint8_t mrtd[ID_MR_LEN];
	uint8_t mr_config_id[ID_MR_LEN], mr_owner[ID_MR_LEN], mr_owner_config[ID_MR_LEN];
	uint8_t rtmr[4][ID_MR_LEN];
	uint8_t report_data[ID_REPORT_DATA_LEN];
	const uint8_t *signature; /* r || s over signed_bytes */
	const uint8_t *att_key;   /* X || Y */
	const uint8_t *qe_report; /* ID_QE_REPORT_LEN */
	const uint8_t *qe_report_signature;
	const uint8_t *auth;
	size_t auth_len;
	const char *pck_pem; /* leaf, intermediate, root; not NUL-terminated */
	size_t pck_pem_len;
};

/* QUOTE_MALFORMED, or QUOTE_UNSUPPORTED for other versions, TEEs, key types and certification data. */
int id_quote_parse(const uint8_t *bytes, size_t len, struct id_quote *quote, struct err *e);
bool id_quote_is_simulated(const struct id_quote *quote);
/* Who signed it, and whether that is believed; then what kind of TD it is. */
int id_quote_verify(const struct id_quote *quote, const struct id_trust *trust, enum id_tee *tee, struct err *e);
