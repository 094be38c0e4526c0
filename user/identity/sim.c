// SPDX-License-Identifier: Apache-2.0
/*
 * A platform that exists nowhere: its own root, PCK and quoting enclave. Everything says SIMULATED, and the QE vendor
 * id is not Intel's, so that no verifier of real quotes can take one for real.
 */
#include "sim.h"

#include <errno.h>
#include <jansson.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <string.h>

#include "base/text.h"
#include "eventlog.h"

#define WHERE         "simulated identity"
#define ROOT_LIFE_S   (10LL * 365 * 86400)
#define ROOT_BACK_S   86400LL /* clocks of test machines differ */
#define ORGANISATION  "Bailey SIMULATED"
#define AUTH_DATA_LEN 32

DEFINE_CLEANUP(json, json_t, json_decref)

/* --- certificates --- */

static bool name_set(X509_NAME *name, const char *cn)
{
	return id_x509_name(name, "O", ORGANISATION) && id_x509_name(name, "CN", cn);
}

/* Version, serial, validity, key, subject; issued by itself until issuer_set(). */
static X509 *cert_new(const char *cn, EVP_PKEY *key, int64_t not_before, int64_t not_after)
{
	auto_call(cleanup_x509) X509 *x509 = id_x509_new(key, not_before, not_after);

	if (!x509 || !name_set(X509_get_subject_name(x509), cn) ||
	    X509_set_issuer_name(x509, X509_get_subject_name(x509)) != 1)
		return NULL;
	return take_ptr(x509);
}

/* RFC 5280 in full (X509_V_FLAG_X509_STRICT). `issuer` is NULL for the root. */
static X509 *platform_cert(const char *cn, EVP_PKEY *key, int64_t now, const char *basic, const char *usage,
			   X509 *issuer, EVP_PKEY *issuer_key)
{
	auto_call(cleanup_x509) X509 *x509 = cert_new(cn, key, now - ROOT_BACK_S, now + ROOT_LIFE_S);

	if (!x509 || (issuer && X509_set_issuer_name(x509, X509_get_subject_name(issuer)) != 1) ||
	    !id_x509_ext(x509, issuer, NID_basic_constraints, basic) ||
	    !id_x509_ext(x509, issuer, NID_key_usage, usage) ||
	    !id_x509_ext(x509, issuer, NID_subject_key_identifier, "hash") ||
	    !id_x509_ext(x509, issuer ? issuer : x509, NID_authority_key_identifier, "keyid:always") ||
	    X509_sign(x509, issuer_key, EVP_sha256()) <= 0)
		return NULL;
	return take_ptr(x509);
}

/* A host name fit for a SAN; other names stay in the subject. */
static bool is_dns_name(const char *name)
{
	return name[0] &&
	       strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-.") == strlen(name);
}

X509 *id_sim_leaf_new(const struct id_sim_request *req, EVP_PKEY *key)
{
	auto_call(cleanup_x509) X509 *x509 = cert_new(req->common_name, key, req->not_before, req->not_after);
	char san[300];

	snprintf(san, sizeof(san), "DNS:%s", req->common_name);
	if (!x509 || (is_dns_name(req->common_name) && !id_x509_ext(x509, NULL, NID_subject_alt_name, san)) ||
	    !id_x509_ext(x509, NULL, NID_key_usage, "critical,digitalSignature") ||
	    !id_x509_ext(x509, NULL, NID_ext_key_usage, "serverAuth,clientAuth"))
		return NULL;
	return take_ptr(x509);
}

/* --- event log --- */

static bool event_add(json_t *log, uint8_t rtmr3[ID_MR_LEN], const char *name, const void *payload, size_t len)
{
	uint8_t digest[ID_MR_LEN];
	char digest_hex[2 * ID_MR_LEN + 1], payload_hex[257];

	if (len * 2 >= sizeof(payload_hex) ||
	    !id_event_digest(1, in_of(name, strlen(name)), in_of(payload, len), digest) ||
	    !id_rtmr_extend(rtmr3, digest))
		return false;
	hex_print(digest_hex, digest, sizeof(digest));
	hex_print(payload_hex, payload, len);
	return json_array_append_new(log, json_pack("{s:i, s:I, s:s, s:s, s:s}", "imr", 3, "event_type",
						    (json_int_t)ID_EVENT_RUNTIME, "digest", digest_hex, "event", name,
						    "event_payload", payload_hex)) == 0;
}

char *id_sim_eventlog(const struct id_sim_request *req, uint8_t rtmr3[ID_MR_LEN])
{
	static const char provider[] = "{\"name\":\"none\",\"id\":\"\"}";
	static const uint8_t none[BY_INSTANCE_ID_LEN];
	auto_call(cleanup_json) json_t *log = json_array();
	bool has_instance = memcmp(req->instance_id, none, sizeof(none)) != 0;
	uint8_t mr[ID_MR_LEN] = { 0 };

	if (!log || !event_add(log, mr, "system-preparing", "", 0) ||
	    !event_add(log, mr, "app-id", req->app_id, sizeof(req->app_id)) ||
	    !event_add(log, mr, "compose-hash", req->compose_hash, sizeof(req->compose_hash)) ||
	    !event_add(log, mr, "instance-id", req->instance_id, has_instance ? sizeof(req->instance_id) : 0) ||
	    !event_add(log, mr, "boot-mr-done", "", 0) ||
	    !event_add(log, mr, "key-provider", provider, strlen(provider)) ||
	    !event_add(log, mr, "system-ready", "", 0))
		return NULL;
	memcpy(rtmr3, mr, sizeof(mr));
	return json_dumps(log, JSON_COMPACT);
}

/* --- quote --- */

/* A measurement of nothing: its own name as text, zero-padded. */
static void fake_mr(struct out *out, const char *text)
{
	out_bytes(out, text, strlen(text));
	out_zero(out, ID_MR_LEN - strlen(text));
}

bool id_sim_quote_body(uint8_t body[ID_QUOTE_SIGNED_LEN], const uint8_t rtmr3[ID_MR_LEN],
		       const uint8_t report_data[ID_REPORT_DATA_LEN])
{
	auto_out struct out out = { 0 };

	out_u16le(&out, ID_QUOTE_VERSION);
	out_u16le(&out, ID_QUOTE_KEY_P256);
	out_u32le(&out, ID_QUOTE_TEE_TDX);
	out_zero(&out, 4); /* SVNs */
	out_bytes(&out, id_qe_vendor_sim, ID_QE_VENDOR_LEN);
	out_zero(&out, 20); /* user data */
	out_zero(&out, 16); /* TEE TCB SVN */
	fake_mr(&out, "BAILEY-SIMULATED-MRSEAM");
	out_zero(&out, ID_MR_LEN); /* MRSIGNERSEAM */
	out_u64le(&out, 0);        /* SEAM attributes */
	out_u64le(&out, ID_TD_SEPT_VE_DISABLE);
	out_u64le(&out, 0x3); /* XFAM */
	fake_mr(&out, "BAILEY-SIMULATED-MRTD");
	out_zero(&out, 3 * ID_MR_LEN); /* MRCONFIGID, MROWNER, MROWNERCONFIG */
	fake_mr(&out, "BAILEY-SIMULATED-RTMR0");
	fake_mr(&out, "BAILEY-SIMULATED-RTMR1");
	fake_mr(&out, "BAILEY-SIMULATED-RTMR2");
	out_bytes(&out, rtmr3, ID_MR_LEN);
	out_bytes(&out, report_data, ID_REPORT_DATA_LEN);
	if (!out_ok(&out) || out.len != ID_QUOTE_SIGNED_LEN)
		return false;
	memcpy(body, out.data, ID_QUOTE_SIGNED_LEN);
	return true;
}

/* An SGX report of the quoting enclave: MRENCLAVE says what it is, report data binds the attestation key. */
static bool qe_report(uint8_t report[ID_QE_REPORT_LEN], const uint8_t att_key[ID_P256_RAW_LEN],
		      const uint8_t auth[AUTH_DATA_LEN])
{
	static const char mrenclave[] = "BAILEY-SIMULATED-QE";

	memset(report, 0, ID_QE_REPORT_LEN);
	memcpy(report + 64, mrenclave, strlen(mrenclave));
	return id_hash(EVP_sha256(), report + 320, att_key, ID_P256_RAW_LEN, auth, AUTH_DATA_LEN);
}

/* QE report, its signature, auth data, PCK chain */
static bool qe_write(struct out *out, const struct id_sim_root *root, const uint8_t att_key[ID_P256_RAW_LEN])
{
	auto_call(cleanup_pkey) EVP_PKEY *pck = id_p256_from_pem(root->pck_key);
	const char *const chain[] = { root->pck_cert, root->intermediate_cert, root->root_cert };
	uint8_t report[ID_QE_REPORT_LEN], signature[ID_P256_RAW_LEN], auth[AUTH_DATA_LEN];
	uint32_t pem_len = 0;

	for (uint8_t i = 0; i < AUTH_DATA_LEN; i++)
		auth[i] = i;
	if (!pck || !qe_report(report, att_key, auth) || !id_ecdsa_sign_raw(pck, signature, report, sizeof(report)))
		return false;
	out_bytes(out, report, sizeof(report));
	out_bytes(out, signature, sizeof(signature));
	out_u16le(out, AUTH_DATA_LEN);
	out_bytes(out, auth, sizeof(auth));
	out_u16le(out, ID_CERT_DATA_PEM);
	for (size_t i = 0; i < ARRAY_LEN(chain); i++)
		pem_len += (uint32_t)strlen(chain[i]);
	out_u32le(out, pem_len);
	for (size_t i = 0; i < ARRAY_LEN(chain); i++)
		out_bytes(out, chain[i], strlen(chain[i]));
	return out_ok(out);
}

int id_sim_quote_sign(const struct id_sim_root *root, const uint8_t body[ID_QUOTE_SIGNED_LEN], uint8_t **quote,
		      size_t *len, struct err *e)
{
	auto_call(cleanup_pkey) EVP_PKEY *key = id_p256_new();
	uint8_t att_key[ID_P256_RAW_LEN], signature[ID_P256_RAW_LEN];
	auto_out struct out out = { 0 }, qe = { 0 };
	uint8_t *made;
	size_t made_len;

	if (!key || !id_p256_to_raw(key, att_key) || !id_ecdsa_sign_raw(key, signature, body, ID_QUOTE_SIGNED_LEN) ||
	    !qe_write(&qe, root, att_key))
		return err_at(e, -EINVAL, WHERE, "the simulation root's PCK key can not sign a quote");
	out_bytes(&out, body, ID_QUOTE_SIGNED_LEN);
	out_u32le(&out, (uint32_t)(2 * ID_P256_RAW_LEN + 2 + 4 + qe.len));
	out_bytes(&out, signature, sizeof(signature));
	out_bytes(&out, att_key, sizeof(att_key));
	out_u16le(&out, ID_CERT_DATA_QE);
	out_u32le(&out, (uint32_t)qe.len);
	out_bytes(&out, qe.data, qe.len);
	made = out_take(&out, &made_len);
	if (!made)
		return err_at(e, -ENOMEM, WHERE, "out of memory");
	*quote = made;
	*len = made_len;
	return 0;
}

/* --- the whole --- */

static int evidence_make(const struct id_sim_root *root, const struct id_sim_request *req, EVP_PKEY *key, X509 *leaf,
			 struct err *e)
{
	uint8_t spki[ID_SPKI_LEN], report_data[ID_REPORT_DATA_LEN], rtmr3[ID_MR_LEN], body[ID_QUOTE_SIGNED_LEN];
	auto_free char *log = id_sim_eventlog(req, rtmr3);
	auto_free uint8_t *quote = NULL;
	size_t len = 0;
	int ret;

	if (!log || !id_p256_spki(key, spki) || !id_cert_report_data(spki, report_data) ||
	    !id_sim_quote_body(body, rtmr3, report_data))
		return err_at(e, -ENOMEM, WHERE, "out of memory");
	ret = id_sim_quote_sign(root, body, &quote, &len, e);
	if (ret < 0)
		return ret;
	if (!id_x509_add_ext(leaf, ID_EXT_QUOTE, quote, len) ||
	    !id_x509_add_ext(leaf, ID_EXT_EVENTLOG, log, strlen(log)) ||
	    !id_x509_add_ext(leaf, ID_EXT_APP_ID, req->app_id, sizeof(req->app_id)) ||
	    !id_x509_add_ext(leaf, ID_EXT_USAGE, ID_USAGE_LEAF, strlen(ID_USAGE_LEAF)))
		return err_at(e, -ENOMEM, WHERE, "out of memory");
	return 0;
}

int id_sim_issue(const struct id_sim_root *root, const struct id_sim_request *req, char **cert_pem, char **key_pem,
		 struct err *e)
{
	auto_call(cleanup_pkey) EVP_PKEY *key = id_p256_new();
	auto_call(cleanup_x509) X509 *leaf = NULL;
	auto_free char *cert = NULL, *secret = NULL;
	int ret;

	leaf = key ? id_sim_leaf_new(req, key) : NULL;
	if (!leaf)
		return err_at(e, -EINVAL, WHERE, "no certificate can be made for \"%.64s\"", req->common_name);
	ret = evidence_make(root, req, key, leaf, e);
	if (ret < 0)
		return ret;
	if (X509_sign(leaf, key, EVP_sha256()) <= 0)
		return err_at(e, -EIO, WHERE, "signing failed");
	cert = id_x509_to_pem(leaf);
	secret = id_key_to_pem(key);
	if (!cert || !secret)
		return err_at(e, -ENOMEM, WHERE, "out of memory");
	*cert_pem = take_ptr(cert);
	*key_pem = take_ptr(secret);
	return 0;
}

void id_sim_root_fini(struct id_sim_root *root)
{
	free(root->root_cert);
	free(root->root_key);
	free(root->pck_cert);
	free(root->pck_key);
	free(root->intermediate_cert);
	*root = (struct id_sim_root){ 0 };
}

int id_sim_root_new(int64_t now, struct id_sim_root *root, struct err *e)
{
	static const char ca_usage[] = "critical,keyCertSign,cRLSign";
	auto_call(id_sim_root_fini) struct id_sim_root made = { 0 };
	auto_call(cleanup_pkey) EVP_PKEY *root_key = id_p256_new();
	auto_call(cleanup_pkey) EVP_PKEY *ca_key = id_p256_new();
	auto_call(cleanup_pkey) EVP_PKEY *pck_key = id_p256_new();
	auto_call(cleanup_x509) X509 *top = NULL, *ca = NULL, *pck = NULL;

	if (root_key && ca_key && pck_key)
		top = platform_cert("Bailey SIMULATED Root CA", root_key, now, "critical,CA:TRUE,pathlen:1", ca_usage,
				    NULL, root_key);
	if (top)
		ca = platform_cert("Bailey SIMULATED PCK Platform CA", ca_key, now, "critical,CA:TRUE,pathlen:0",
				   ca_usage, top, root_key);
	if (ca)
		pck = platform_cert("Bailey SIMULATED PCK", pck_key, now, "critical,CA:FALSE",
				    "critical,digitalSignature,nonRepudiation", ca, ca_key);
	if (!pck)
		return err_at(e, -EIO, WHERE, "the simulation root can not be made");
	made = (struct id_sim_root){ .root_cert = id_x509_to_pem(top),
				     .root_key = id_key_to_pem(root_key),
				     .pck_cert = id_x509_to_pem(pck),
				     .pck_key = id_key_to_pem(pck_key),
				     .intermediate_cert = id_x509_to_pem(ca) };
	if (!made.root_cert || !made.root_key || !made.pck_cert || !made.pck_key || !made.intermediate_cert)
		return err_at(e, -ENOMEM, WHERE, "out of memory");
	*root = made;
	made = (struct id_sim_root){ 0 };
	return 0;
}
