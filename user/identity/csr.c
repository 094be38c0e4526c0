// SPDX-License-Identifier: Apache-2.0
#include "csr.h"

#include <errno.h>
#include <string.h>

#include "scale.h"

#define WHERE   "certificate request"
#define CONFIRM "please sign cert:"

/* --- reading --- */

/* A text without NUL; it must fit. */
static bool text_read(struct in *in, char *dst, size_t size)
{
	struct in text;

	if (!scale_bytes(in, &text) || text.left >= size || memchr(text.p, 0, text.left))
		return false;
	memcpy(dst, text.p, text.left);
	dst[text.left] = '\0';
	return true;
}

static bool flag_read(struct in *in, bool *flag)
{
	uint8_t v;

	if (!in_u8(in, &v) || v > 1)
		return false;
	*flag = v;
	return true;
}

static bool org_read(struct in *in, struct id_csr *csr)
{
	bool has;

	return flag_read(in, &has) && (!has || text_read(in, csr->org, sizeof(csr->org)));
}

static bool names_read(struct in *in, struct id_csr *csr)
{
	if (!scale_compact(in, &csr->n_alt_names) || csr->n_alt_names > ID_ISSUE_MAX_NAMES)
		return false;
	for (uint32_t i = 0; i < csr->n_alt_names; i++)
		if (!text_read(in, csr->alt_name[i], sizeof(csr->alt_name[i])))
			return false;
	return true;
}

static bool time_read(struct in *in, bool *has, int64_t *at)
{
	uint64_t v = 0;

	if (!flag_read(in, has) || (*has && !in_u64le(in, &v)) || v > 253402300799ull) /* the year 9999 */
		return false;
	*at = (int64_t)v;
	return true;
}

static bool rest_read(struct in *in, unsigned version, struct id_csr *csr, struct id_csr_evidence *evidence)
{
	if (version == 1)
		return scale_bytes(in, &evidence->quote) && scale_bytes(in, &evidence->event_log) && !in->left;
	if (!flag_read(in, &csr->with_app_info) || !time_read(in, &csr->has_not_before, &csr->not_before) ||
	    !time_read(in, &csr->has_not_after, &csr->not_after))
		return false;
	evidence->attestation = *in;
	return in->left > 0;
}

int id_csr_parse(const uint8_t *bytes, size_t len, unsigned version, struct id_csr *csr, struct in *pubkey,
		 struct id_csr_evidence *evidence, struct err *e)
{
	struct id_csr_evidence found = { 0 };
	struct in in = in_of(bytes, len), confirm, key;
	struct id_csr made = { 0 };

	if (len > ID_CSR_MAX || !scale_bytes(&in, &confirm) || confirm.left != strlen(CONFIRM) ||
	    memcmp(confirm.p, CONFIRM, confirm.left) != 0 || !scale_bytes(&in, &key) || !org_read(&in, &made) ||
	    !text_read(&in, made.subject, sizeof(made.subject)) || !names_read(&in, &made) ||
	    !flag_read(&in, &made.for_server) || !flag_read(&in, &made.for_client) ||
	    !flag_read(&in, &made.with_evidence) || !rest_read(&in, version, &made, &found))
		return err_reason(e, ID_CSR_MALFORMED, WHERE, "is not one of version %u", version);
	*csr = made;
	*pubkey = key;
	*evidence = found;
	return 0;
}

static EVP_PKEY *key_of(struct in pubkey, uint8_t spki[ID_SPKI_LEN])
{
	auto_call(cleanup_pkey) EVP_PKEY *key = NULL;

	if (pubkey.left != ID_SPKI_LEN)
		return NULL;
	key = id_p256_from_raw(pubkey.p + ID_SPKI_LEN - ID_P256_RAW_LEN);
	if (!key || !id_p256_spki(key, spki) || memcmp(spki, pubkey.p, ID_SPKI_LEN) != 0)
		return NULL;
	return take_ptr(key);
}

int id_csr_read(const uint8_t *bytes, size_t len, unsigned version, const uint8_t *sig, size_t sig_len,
		struct id_csr *csr, struct id_csr_evidence *evidence, struct err *e)
{
	auto_call(cleanup_pkey) EVP_PKEY *key = NULL;
	struct id_csr_evidence found;
	struct id_csr made;
	struct in pubkey;
	int ret = id_csr_parse(bytes, len, version, &made, &pubkey, &found, e);

	if (ret < 0)
		return ret;
	key = key_of(pubkey, made.spki);
	if (!key)
		return err_reason(e, ID_CSR_MALFORMED, WHERE, "public key is not a P-256 SubjectPublicKeyInfo");
	if (!id_ecdsa_verify(key, sig, sig_len, bytes, len))
		return err_reason(e, ID_CSR_SIGNATURE, WHERE, "Failed to verify csr signature");
	*csr = made;
	*evidence = found;
	return 0;
}

/* --- writing --- */

static void put_text(struct out *out, const char *text)
{
	scale_put_bytes(out, text, strlen(text));
}

static void put_time(struct out *out, bool has, int64_t at)
{
	out_u8(out, has);
	if (has)
		out_u64le(out, (uint64_t)at);
}

static void csr_put(struct out *out, const struct id_csr *csr, const uint8_t spki[ID_SPKI_LEN])
{
	put_text(out, CONFIRM);
	scale_put_bytes(out, spki, ID_SPKI_LEN);
	out_u8(out, csr->org[0] != '\0');
	if (csr->org[0])
		put_text(out, csr->org);
	put_text(out, csr->subject);
	scale_put_compact(out, csr->n_alt_names);
	for (uint32_t i = 0; i < csr->n_alt_names; i++)
		put_text(out, csr->alt_name[i]);
	out_u8(out, csr->for_server);
	out_u8(out, csr->for_client);
	out_u8(out, csr->with_evidence);
	out_u8(out, csr->with_app_info);
	put_time(out, csr->has_not_before, csr->not_before);
	put_time(out, csr->has_not_after, csr->not_after);
}

int id_csr_write(const struct id_csr *csr, EVP_PKEY *key, const uint8_t *attestation, size_t attestation_len,
		 uint8_t **bytes, size_t *len, uint8_t sig[ID_ECDSA_MAX], size_t *sig_len, struct err *e)
{
	auto_out struct out out = { 0 };
	uint8_t spki[ID_SPKI_LEN];

	if (!id_p256_spki(key, spki))
		return err_at(e, -EINVAL, WHERE, "needs a P-256 key");
	csr_put(&out, csr, spki);
	out_bytes(&out, attestation, attestation_len);
	if (!out_ok(&out) || !id_ecdsa_sign(key, sig, sig_len, out.data, out.len))
		return err_at(e, -ENOMEM, WHERE, "can not be made");
	*bytes = out_take(&out, len);
	return 0;
}
