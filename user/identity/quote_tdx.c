// SPDX-License-Identifier: Apache-2.0
/*
 * Checks, in this order:
 *   1. header: version 4, ECDSA P-256, TEE type TDX                         QUOTE_UNSUPPORTED
 *   2. sizes: signature data, outer type 6, inner type 5, all used up;
 *      only zero bytes after them (guests return a padded buffer)           QUOTE_MALFORMED
 *   3. QE vendor: simulated ones only where that is allowed                 QUOTE_SIMULATED, QUOTE_UNSUPPORTED
 *   4. PCK chain: leaf, intermediate, root; the root is a pinned one        QUOTE_CHAIN
 *   5. QE report: signed by the PCK, bound to attestation key and auth data QUOTE_QE
 *   6. quote: signed by the attestation key                                 QUOTE_SIGNATURE
 *   7. TD attributes, XFAM, TDX module: those of a production TD            QUOTE_ATTRIBUTES
 */
#include "quote_tdx.h"

#include <errno.h>
#include <openssl/x509_vfy.h>
#include <string.h>

#include "base/buf.h"
#include "x509.h"

#define WHERE "quote"

#define QE_REPORT_DATA 320
#define CHAIN_LEN      3
#define ROOTS_MAX      16
#define XFAM_NEEDED    UINT64_C(0x3)     /* x87 and SSE: always on */
#define XFAM_ALLOWED   UINT64_C(0x6dbe7) /* what a TD may enable (Intel TDX module ABI, XFAM) */
#define TD_ALLOWED     (ID_TD_LASS | ID_TD_SEPT_VE_DISABLE | ID_TD_PKS | ID_TD_KL | ID_TD_PERFMON)

const uint8_t id_qe_vendor_intel[ID_QE_VENDOR_LEN] = { 0x93, 0x9a, 0x72, 0x33, 0xf7, 0x9c, 0x4c, 0xa9,
						       0x94, 0x0a, 0x0d, 0xb3, 0x95, 0x7f, 0x06, 0x07 };
const uint8_t id_qe_vendor_sim[ID_QE_VENDOR_LEN] = { 'B', 'A', 'I', 'L', 'E', 'Y', '-', 'S',
						     'I', 'M', 'U', 'L', 'A', 'T', 'E', 'D' };

DEFINE_CLEANUP(store, X509_STORE, X509_STORE_free)
DEFINE_CLEANUP(store_ctx, X509_STORE_CTX, X509_STORE_CTX_free)
DEFINE_CLEANUP(x509_stack, STACK_OF(X509), sk_X509_free)

/* Certificates that a local array owns; free from the front, the rest is NULL. */
struct certs {
	X509 *at[ROOTS_MAX];
};

static void certs_fini(struct certs *certs)
{
	for (size_t i = 0; i < ROOTS_MAX; i++)
		X509_free(certs->at[i]);
}

static int parse_header(struct in *in, struct id_quote *q, struct err *e)
{
	uint16_t version, key_type;
	uint32_t tee_type;
	const uint8_t *skipped;

	if (!in_u16le(in, &version))
		return err_reason(e, ID_QUOTE_MALFORMED, WHERE, "is cut off in the header");
	if (version != ID_QUOTE_VERSION)
		return err_reason(e, ID_QUOTE_UNSUPPORTED, WHERE, "version %u, only %d is read", version,
				  ID_QUOTE_VERSION);
	/* 4 bytes: SVNs that sources order differently; 20 bytes: user data. Neither is used. */
	if (!in_u16le(in, &key_type) || !in_u32le(in, &tee_type) || !in_ref(in, &skipped, 4) ||
	    !in_bytes(in, q->qe_vendor, sizeof(q->qe_vendor)) || !in_ref(in, &skipped, 20))
		return err_reason(e, ID_QUOTE_MALFORMED, WHERE, "is cut off in the header");
	if (key_type != ID_QUOTE_KEY_P256 || tee_type != ID_QUOTE_TEE_TDX)
		return err_reason(e, ID_QUOTE_UNSUPPORTED, WHERE,
				  "key type %u and TEE type 0x%x, only ECDSA P-256 (2) and TDX (0x81) are read",
				  key_type, tee_type);
	return 0;
}

/* TD report 1.0, 584 bytes */
static bool parse_report(struct in *in, struct id_quote *q)
{
	return in_bytes(in, q->tee_tcb_svn, sizeof(q->tee_tcb_svn)) && in_bytes(in, q->mr_seam, ID_MR_LEN) &&
	       in_bytes(in, q->mr_signer_seam, ID_MR_LEN) && in_u64le(in, &q->seam_attributes) &&
	       in_u64le(in, &q->td_attributes) && in_u64le(in, &q->xfam) && in_bytes(in, q->mrtd, ID_MR_LEN) &&
	       in_bytes(in, q->mr_config_id, ID_MR_LEN) && in_bytes(in, q->mr_owner, ID_MR_LEN) &&
	       in_bytes(in, q->mr_owner_config, ID_MR_LEN) && in_bytes(in, q->rtmr, sizeof(q->rtmr)) &&
	       in_bytes(in, q->report_data, sizeof(q->report_data));
}

/* Inner part of the signature data: QE report, its signature, auth data, PCK chain. Must use up `in`. */
static int parse_qe(struct in in, struct id_quote *q, struct err *e)
{
	uint16_t auth_len, type;
	uint32_t pem_len;
	const uint8_t *pem;

	if (!in_ref(&in, &q->qe_report, ID_QE_REPORT_LEN) || !in_ref(&in, &q->qe_report_signature, ID_P256_RAW_LEN) ||
	    !in_u16le(&in, &auth_len) || !in_ref(&in, &q->auth, auth_len) || !in_u16le(&in, &type) ||
	    !in_u32le(&in, &pem_len) || !in_ref(&in, &pem, pem_len) || in.left)
		return err_reason(e, ID_QUOTE_MALFORMED, WHERE, "sizes inside the QE certification data disagree");
	if (type != ID_CERT_DATA_PEM)
		return err_reason(e, ID_QUOTE_UNSUPPORTED, WHERE,
				  "certification data type %u, a PCK chain (%d) is needed", type, ID_CERT_DATA_PEM);
	q->auth_len = auth_len;
	q->pck_pem = (const char *)pem;
	q->pck_pem_len = pem_len;
	return 0;
}

static int parse_signature(struct in in, struct id_quote *q, struct err *e)
{
	struct in qe;
	uint16_t type;
	uint32_t len;

	if (!in_ref(&in, &q->signature, ID_P256_RAW_LEN) || !in_ref(&in, &q->att_key, ID_P256_RAW_LEN) ||
	    !in_u16le(&in, &type) || !in_u32le(&in, &len) || !in_sub(&in, &qe, len) || in.left)
		return err_reason(e, ID_QUOTE_MALFORMED, WHERE, "sizes inside the signature data disagree");
	if (type != ID_CERT_DATA_QE)
		return err_reason(e, ID_QUOTE_UNSUPPORTED, WHERE,
				  "certification data type %u, a QE report (%d) is needed", type, ID_CERT_DATA_QE);
	return parse_qe(qe, q, e);
}

static bool is_zero(const void *p, size_t len)
{
	const uint8_t *b = p;
	uint8_t any = 0;

	for (size_t i = 0; i < len; i++)
		any |= b[i];
	return !any;
}

int id_quote_parse(const uint8_t *bytes, size_t len, struct id_quote *quote, struct err *e)
{
	struct id_quote q = { .signed_bytes = bytes };
	struct in in = in_of(bytes, len), signature;
	uint32_t signature_len;
	int ret = parse_header(&in, &q, e);

	if (ret < 0)
		return ret;
	if (!parse_report(&in, &q) || !in_u32le(&in, &signature_len) || !in_sub(&in, &signature, signature_len))
		return err_reason(e, ID_QUOTE_MALFORMED, WHERE, "is cut off: %zu bytes", len);
	ret = parse_signature(signature, &q, e);
	if (ret < 0)
		return ret;
	if (!is_zero(in.p, in.left))
		return err_reason(e, ID_QUOTE_MALFORMED, WHERE, "has bytes other than zero after the signature data");
	*quote = q;
	return 0;
}

bool id_quote_is_simulated(const struct id_quote *quote)
{
	return memcmp(quote->qe_vendor, id_qe_vendor_sim, ID_QE_VENDOR_LEN) == 0;
}

/* Trusts exactly these roots: no default paths, no intermediate found elsewhere, the caller's clock. */
static int chain_check(X509 *const chain[CHAIN_LEN], const char *roots, size_t roots_len, int64_t now, struct err *e)
{
	auto_call(cleanup_store) X509_STORE *store = X509_STORE_new();
	auto_call(cleanup_store_ctx) X509_STORE_CTX *ctx = X509_STORE_CTX_new();
	auto_call(cleanup_x509_stack) STACK_OF(X509) *untrusted = sk_X509_new_null();
	auto_call(certs_fini) struct certs pinned = { 0 };
	int n = id_x509_from_pem(roots, roots_len, pinned.at, ROOTS_MAX);
	bool is_pinned = false;

	if (n < 0)
		return err_reason(e, ID_QUOTE_CHAIN, WHERE, "the trusted roots can not be read");
	if (!store || !ctx || !untrusted || !sk_X509_push(untrusted, chain[1]))
		return err_at(e, -ENOMEM, WHERE, "out of memory");
	for (int i = 0; i < n; i++) {
		is_pinned = is_pinned || X509_cmp(pinned.at[i], chain[CHAIN_LEN - 1]) == 0;
		if (X509_STORE_add_cert(store, pinned.at[i]) != 1)
			return err_at(e, -ENOMEM, WHERE, "out of memory");
	}
	if (!is_pinned)
		return err_reason(e, ID_QUOTE_CHAIN, WHERE, "root of the PCK chain is none of the %d trusted ones", n);
	if (X509_STORE_CTX_init(ctx, store, chain[0], untrusted) != 1)
		return err_at(e, -ENOMEM, WHERE, "out of memory");
	X509_STORE_CTX_set_time(ctx, 0, (time_t)now);
	X509_STORE_CTX_set_flags(ctx, X509_V_FLAG_X509_STRICT);
	X509_STORE_CTX_set_depth(ctx, CHAIN_LEN - 2);
	if (X509_verify_cert(ctx) != 1)
		return err_reason(e, ID_QUOTE_CHAIN, WHERE, "PCK chain: %s",
				  X509_verify_cert_error_string(X509_STORE_CTX_get_error(ctx)));
	return 0;
}

static int qe_check(const struct id_quote *q, X509 *pck, struct err *e)
{
	EVP_PKEY *key = X509_get0_pubkey(pck);
	uint8_t spki[ID_SPKI_LEN], bound[ID_REPORT_DATA_LEN] = { 0 };

	if (!key || !id_p256_spki(key, spki))
		return err_reason(e, ID_QUOTE_CHAIN, WHERE, "PCK is not an ECDSA P-256 key");
	if (!id_ecdsa_verify_raw(key, q->qe_report_signature, q->qe_report, ID_QE_REPORT_LEN))
		return err_reason(e, ID_QUOTE_QE, WHERE, "QE report is not signed by the PCK");
	/* 32 bytes of hash; Intel's verifier leaves the other 32 alone, here they must be zero */
	if (!id_hash(EVP_sha256(), bound, q->att_key, ID_P256_RAW_LEN, q->auth, q->auth_len) ||
	    memcmp(bound, q->qe_report + QE_REPORT_DATA, sizeof(bound)) != 0)
		return err_reason(e, ID_QUOTE_QE, WHERE, "QE report is bound to another attestation key");
	return 0;
}

static int signatures_check(const struct id_quote *q, const char *roots, size_t roots_len, int64_t now, struct err *e)
{
	auto_call(certs_fini) struct certs chain = { 0 };
	auto_call(cleanup_pkey) EVP_PKEY *key = NULL;
	int ret = id_x509_from_pem(q->pck_pem, q->pck_pem_len, chain.at, CHAIN_LEN);

	if (ret != CHAIN_LEN)
		return err_reason(e, ID_QUOTE_CHAIN, WHERE, "PCK chain must be %d certificates in PEM", CHAIN_LEN);
	ret = chain_check(chain.at, roots, roots_len, now, e);
	if (ret < 0)
		return ret;
	ret = qe_check(q, chain.at[0], e);
	if (ret < 0)
		return ret;
	key = id_p256_from_raw(q->att_key);
	if (!key)
		return err_reason(e, ID_QUOTE_SIGNATURE, WHERE, "attestation key is not a point of P-256");
	if (!id_ecdsa_verify_raw(key, q->signature, q->signed_bytes, ID_QUOTE_SIGNED_LEN))
		return err_reason(e, ID_QUOTE_SIGNATURE, WHERE, "is not signed by its attestation key");
	return 0;
}

static int attributes_check(const struct id_quote *q, struct err *e)
{
	if (q->td_attributes & ID_TD_TUD_MASK)
		return err_reason(e, ID_QUOTE_ATTRIBUTES, WHERE, "TD attributes 0x%016llx: %s",
				  (unsigned long long)q->td_attributes,
				  q->td_attributes & ID_TD_DEBUG ? "the host may debug this TD" : "TD under debug");
	if (!(q->td_attributes & ID_TD_SEPT_VE_DISABLE))
		return err_reason(e, ID_QUOTE_ATTRIBUTES, WHERE,
				  "TD attributes 0x%016llx: SEPT_VE_DISABLE is clear, the host may inject #VE",
				  (unsigned long long)q->td_attributes);
	if (q->td_attributes & ~TD_ALLOWED)
		return err_reason(e, ID_QUOTE_ATTRIBUTES, WHERE,
				  "TD attributes 0x%016llx: migratable, or a bit that is not known",
				  (unsigned long long)q->td_attributes);
	if ((q->xfam & XFAM_NEEDED) != XFAM_NEEDED || q->xfam & ~XFAM_ALLOWED)
		return err_reason(e, ID_QUOTE_ATTRIBUTES, WHERE, "XFAM 0x%llx", (unsigned long long)q->xfam);
	if (q->seam_attributes || !is_zero(q->mr_signer_seam, ID_MR_LEN))
		return err_reason(e, ID_QUOTE_ATTRIBUTES, WHERE, "TDX module is not a production module of Intel");
	return 0;
}

int id_quote_verify(const struct id_quote *quote, const struct id_trust *trust, enum id_tee *tee, struct err *e)
{
	int ret;

	if (memcmp(quote->qe_vendor, id_qe_vendor_intel, ID_QE_VENDOR_LEN) == 0)
		return err_reason(e, ID_QUOTE_UNSUPPORTED, WHERE, "TDX collateral verification is not built yet");
	if (!id_quote_is_simulated(quote))
		return err_reason(e, ID_QUOTE_UNSUPPORTED, WHERE, "QE vendor is not known");
	if (!trust->allow_simulated)
		return err_reason(e, ID_QUOTE_SIMULATED, WHERE, "is SIMULATED and allow_simulated is not set");
	if (!trust->simulated_roots)
		return err_reason(e, ID_QUOTE_CHAIN, WHERE, "is SIMULATED and no simulation root is trusted");
	ret = signatures_check(quote, trust->simulated_roots, trust->simulated_roots_len, trust->now, e);
	if (ret < 0)
		return ret;
	ret = attributes_check(quote, e);
	if (ret < 0)
		return ret;
	*tee = ID_TEE_SIM;
	return 0;
}
