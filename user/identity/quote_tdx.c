// SPDX-License-Identifier: Apache-2.0
/*
 * Reads a quote; proves nothing. In this order:
 *   1. header: version, TEE type, key type                                  QUOTE_UNSUPPORTED, NOT_TDX
 *   2. version 5: type and size of the body                                 QUOTE_UNSUPPORTED, QUOTE_MALFORMED
 *   3. sizes: signature data, outer type 6, inner type 5, all used up       QUOTE_MALFORMED, QUOTE_UNSUPPORTED
 *   4. what follows (guests return a padded buffer): noted, judged later    has_trailing
 */
#include "quote_tdx.h"

#include <string.h>

#include "base/buf.h"

#define WHERE "quote"

const uint8_t id_qe_vendor_intel[ID_QE_VENDOR_LEN] = { 0x93, 0x9a, 0x72, 0x33, 0xf7, 0x9c, 0x4c, 0xa9,
						       0x94, 0x0a, 0x0d, 0xb3, 0x95, 0x7f, 0x06, 0x07 };
const uint8_t id_qe_vendor_sim[ID_QE_VENDOR_LEN] = { 'B', 'A', 'I', 'L', 'E', 'Y', '-', 'S',
						     'I', 'M', 'U', 'L', 'A', 'T', 'E', 'D' };

static const uint32_t body_len[] = { [ID_TD_REPORT_10] = 584, [ID_TD_REPORT_15] = 648, [ID_TD_REPORT_15_EXT] = 885 };

static int kind_check(uint16_t version, uint32_t tee_type, uint16_t key_type, struct err *e)
{
	if (version < 3 || version > 5)
		return err_reason(e, ID_QUOTE_UNSUPPORTED, WHERE, "version %u, only 4 and 5 are read", version);
	if (tee_type != ID_QUOTE_TEE_TDX)
		return err_reason(e, ID_NOT_TDX, WHERE, "version %u of TEE type 0x%x%s, needed TDX (0x81)", version,
				  tee_type, tee_type ? "" : " (SGX)");
	if (version == 3)
		return err_reason(e, ID_QUOTE_UNSUPPORTED, WHERE, "version 3 is of SGX alone, but says TDX");
	if (key_type != ID_QUOTE_KEY_P256)
		return err_reason(e, ID_QUOTE_UNSUPPORTED, WHERE,
				  "attestation key type %u, only ECDSA P-256 (2) is read", key_type);
	return 0;
}

static int parse_header(struct in *in, struct id_quote *q, struct err *e)
{
	uint16_t key_type;
	uint32_t tee_type;
	const uint8_t *skipped;

	/* 4 bytes: SVNs that sources order differently; 20 bytes: user data. Neither is used. */
	if (!in_u16le(in, &q->version) || !in_u16le(in, &key_type) || !in_u32le(in, &tee_type) ||
	    !in_ref(in, &skipped, 4) || !in_bytes(in, q->qe_vendor, sizeof(q->qe_vendor)) || !in_ref(in, &skipped, 20))
		return err_reason(e, ID_QUOTE_MALFORMED, WHERE, "is cut off in the header");
	return kind_check(q->version, tee_type, key_type, e);
}

/* Version 5: which body follows, and its size, which must be the one of that type. */
static int parse_descriptor(struct in *in, struct id_quote *q, struct err *e)
{
	uint16_t type;
	uint32_t len;

	q->body = ID_TD_REPORT_10;
	if (q->version == ID_QUOTE_VERSION)
		return 0;
	if (!in_u16le(in, &type) || !in_u32le(in, &len))
		return err_reason(e, ID_QUOTE_MALFORMED, WHERE, "is cut off in the body descriptor");
	if (type < ID_TD_REPORT_10 || type > ID_TD_REPORT_15_EXT)
		return err_reason(e, ID_QUOTE_MALFORMED, WHERE, "body type %u is no TD report", type);
	if (len != body_len[type])
		return err_reason(e, ID_QUOTE_MALFORMED, WHERE, "body of %u bytes, type %u has %u", len, type,
				  body_len[type]);
	if (type == ID_TD_REPORT_15_EXT)
		return err_reason(e, ID_QUOTE_UNSUPPORTED, WHERE,
				  "TD report 1.5 extended (body type 4) is known and not taken yet");
	q->body = (enum id_td_body)type;
	return 0;
}

/* TD report 1.0, and the two fields that 1.5 adds */
static bool parse_report(struct in *in, struct id_quote *q)
{
	return in_bytes(in, q->tee_tcb_svn, sizeof(q->tee_tcb_svn)) && in_bytes(in, q->mr_seam, ID_MR_LEN) &&
	       in_bytes(in, q->mr_signer_seam, ID_MR_LEN) && in_u64le(in, &q->seam_attributes) &&
	       in_u64le(in, &q->td_attributes) && in_u64le(in, &q->xfam) && in_bytes(in, q->mrtd, ID_MR_LEN) &&
	       in_bytes(in, q->mr_config_id, ID_MR_LEN) && in_bytes(in, q->mr_owner, ID_MR_LEN) &&
	       in_bytes(in, q->mr_owner_config, ID_MR_LEN) && in_bytes(in, q->rtmr, sizeof(q->rtmr)) &&
	       in_bytes(in, q->report_data, sizeof(q->report_data)) &&
	       (q->body == ID_TD_REPORT_10 ||
		(in_bytes(in, q->tee_tcb_svn2, sizeof(q->tee_tcb_svn2)) && in_bytes(in, q->mr_service_td, ID_MR_LEN)));
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

int id_quote_parse(const uint8_t *bytes, size_t len, struct id_quote *quote, struct err *e)
{
	struct id_quote q = { .signed_bytes = bytes };
	struct in in = in_of(bytes, len), signature;
	uint32_t signature_len;
	int ret;

	if (len > ID_QUOTE_MAX)
		return err_reason(e, ID_QUOTE_MALFORMED, WHERE, "is longer than %d bytes", ID_QUOTE_MAX);
	ret = parse_header(&in, &q, e);
	if (!ret)
		ret = parse_descriptor(&in, &q, e);
	if (ret < 0)
		return ret;
	if (!parse_report(&in, &q))
		return err_reason(e, ID_QUOTE_MALFORMED, WHERE, "is cut off: %zu bytes", len);
	q.signed_len = len - in.left;
	if (!in_u32le(&in, &signature_len) || !in_sub(&in, &signature, signature_len))
		return err_reason(e, ID_QUOTE_MALFORMED, WHERE, "is cut off: %zu bytes", len);
	ret = parse_signature(signature, &q, e);
	if (ret < 0)
		return ret;
	q.has_trailing = !bytes_are_zero(in.p, in.left);
	*quote = q;
	return 0;
}

bool id_quote_is_simulated(const struct id_quote *quote)
{
	return memcmp(quote->qe_vendor, id_qe_vendor_sim, ID_QE_VENDOR_LEN) == 0;
}
