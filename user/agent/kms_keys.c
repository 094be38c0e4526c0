// SPDX-License-Identifier: Apache-2.0
/* Keys and certificates of an app from a KMS, instead of from a seed of our own. */
#include <errno.h>
#include <openssl/crypto.h>
#include <string.h>
#include <time.h>

#include "base/text.h"
#include "identity/csr.h"
#include "internal.h"
#include "kms.h"

#define CLIENT_LIFE_S 86400

/* The attestation of a key. */
static int attest(struct agent *agent, EVP_PKEY *key, struct out *out, struct err *e)
{
	auto_call(evidence_fini) struct evidence ev = { 0 };
	uint8_t spki[ID_SPKI_LEN];
	int ret;

	if (!key || !id_p256_spki(key, spki) || !id_cert_report_data(spki, ev.report_data))
		return err_at(e, -EIO, "key", "can not be bound to a quote");
	ret = evidence_get(agent, &ev, e);
	return ret ? ret : evidence_attestation(&ev, true, out, e);
}

/* A certificate for one connection: its key signs it, its evidence is all that counts. */
static int client_cert(struct agent *agent, char **cert, char **secret, struct err *e)
{
	auto_call(cleanup_pkey) EVP_PKEY *key = id_p256_new();
	auto_out struct out attestation = { 0 };
	auto_call(cleanup_x509) X509 *leaf = NULL;
	struct id_leaf_request req = { .subject = "RA-TLS TEMP Cert",
				       .for_client = true,
				       .not_before = time(NULL) - 300,
				       .not_after = time(NULL) + CLIENT_LIFE_S };
	int ret = attest(agent, key, &attestation, e);

	if (ret < 0)
		return ret;
	req.attestation = in_of(attestation.data, attestation.len);
	ret = id_leaf(NULL, key, &req, &leaf, e);
	if (ret < 0)
		return ret;
	*cert = id_x509_to_pem(leaf);
	*secret = id_key_to_pem(key);
	return *cert && *secret ? 0 : err_at(e, -ENOMEM, "key", "out of memory");
}

static bool hex_member(const json_t *answer, const char *name, uint8_t *dst, size_t len)
{
	const char *hex = json_string_value(json_object_get(answer, name));

	return hex && hex_parse(dst, len, hex);
}

/* The root of the answer must be the one that was expected, and its word for the app's key good. */
static int answer_take(const json_t *answer, struct ag_keys *keys, struct err *e)
{
	uint8_t note[18 + BY_APP_ID_LEN + ID_K256_POINT_LEN], digest[ID_KECCAK_LEN], who[ID_K256_POINT_LEN];

	if (!hex_member(answer, "k256_key", keys->app_k256, ID_SCALAR_LEN) ||
	    !hex_member(answer, "k256_signature", keys->app_signature, ID_K256_SIG_LEN))
		return err_at(e, -EBADMSG, "KMS", "answers without k256_key or k256_signature");
	memcpy(note, "dstack-kms-issued:", 18);
	memcpy(note + 18, keys->app_id, BY_APP_ID_LEN);
	if (!id_k256_public(keys->app_k256, note + 18 + BY_APP_ID_LEN))
		return err_at(e, -EBADMSG, "KMS", "answers with a key that is none");
	id_keccak256(digest, note, sizeof(note));
	return id_k256_recover(keys->app_signature, digest, who)
		       ? 0
		       : err_at(e, -EBADMSG, "KMS", "answers with a signature that is none");
}

int ag_kms_keys(struct agent *agent, struct err *e)
{
	auto_free char *cert = NULL, *secret = NULL;
	auto_json json_t *args = json_pack("{s:i, s:s}", "api_version", 1, "vm_config", ""), *answer = NULL;
	struct ag_kms kms = { .url = agent->conf.kms, .ca_pem = agent->kms_ca };
	int ret = client_cert(agent, &cert, &secret, e);

	kms.cert_pem = cert;
	kms.key_pem = secret;
	if (!ret)
		ret = ag_kms_call(&kms, "GetAppKey", args, &answer, e);
	return ret ? ret : answer_take(answer, &agent->keys, e);
}

static int chain_take(const json_t *answer, json_t **chain, struct err *e)
{
	json_t *list = json_object_get(answer, "certificate_chain");

	if (json_array_size(list) != 3 || !json_is_string(json_array_get(list, 0)) ||
	    !json_is_string(json_array_get(list, 1)) || !json_is_string(json_array_get(list, 2)))
		return err_at(e, -EBADMSG, "KMS", "answers no chain of three certificates");
	*chain = json_incref(list);
	return 0;
}

static int csr_fill(const struct id_leaf_request *req, struct id_csr *csr, struct err *e)
{
	*csr = (struct id_csr){ .for_server = req->for_server,
				.for_client = req->for_client,
				.n_alt_names = (uint32_t)req->n_alt_names,
				.has_not_before = true,
				.has_not_after = true,
				.not_before = req->not_before,
				.not_after = req->not_after };
	if (strlen(req->subject) >= sizeof(csr->subject))
		return err_at(e, -EINVAL, "subject", "\"%.64s\" can not be a common name (64 characters at most)",
			      req->subject);
	strcpy(csr->subject, req->subject);
	for (size_t i = 0; i < req->n_alt_names; i++) {
		if (strlen(req->alt_name[i]) > ID_CSR_NAME_MAX)
			return err_at(e, -EINVAL, "alt_names", "entry %zu is too long", i);
		strcpy(csr->alt_name[i], req->alt_name[i]);
	}
	return 0;
}

int ag_kms_sign(struct agent *agent, EVP_PKEY *key, const struct id_leaf_request *req, bool with_evidence,
		bool with_app_info, json_t **chain, struct err *e)
{
	auto_out struct out attestation = { 0 };
	auto_free uint8_t *bytes = NULL;
	auto_json json_t *args = NULL, *answer = NULL;
	struct ag_kms kms = { .url = agent->conf.kms, .ca_pem = agent->kms_ca };
	uint8_t sig[ID_ECDSA_MAX];
	size_t len, sig_len;
	struct id_csr csr;
	int ret = csr_fill(req, &csr, e);

	if (!ret)
		ret = attest(agent, key, &attestation, e);
	if (ret < 0)
		return ret;
	csr.with_evidence = with_evidence;
	csr.with_app_info = with_app_info;
	ret = id_csr_write(&csr, key, attestation.data, attestation.len, &bytes, &len, sig, &sig_len, e);
	if (ret < 0)
		return ret;
	args = json_pack("{s:i, s:o, s:o, s:s}", "api_version", 2, "csr", json_hex(bytes, len), "signature",
			 json_hex(sig, sig_len), "vm_config", "");
	ret = ag_kms_call(&kms, "SignCert", args, &answer, e);
	return ret ? ret : chain_take(answer, chain, e);
}
