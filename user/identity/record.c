// SPDX-License-Identifier: Apache-2.0
#include "record.h"

#include <errno.h>
#include <jansson.h>
#include <openssl/err.h>
#include <string.h>

#include "base/buf.h"
#include "base/text.h"
#include "x509.h"

#define WHERE     "record"
#define CHAIN_MAX 8 /* certificates in the PEM of the signer; the leaf is the first */

DEFINE_CLEANUP(json, json_t, json_decref)

struct chain {
	X509 *at[CHAIN_MAX];
};

static void chain_fini(struct chain *chain)
{
	for (size_t i = 0; i < CHAIN_MAX; i++)
		X509_free(chain->at[i]);
}

void id_envelope_fini(struct id_envelope *envelope)
{
	free(envelope->cert);
	*envelope = (struct id_envelope){ 0 };
}

/* --- bytes <-> parts --- */

static char *base64_new(const void *data, size_t len)
{
	char *text = malloc(BASE64_LEN(len));

	if (text)
		base64_print(text, data, len);
	return text;
}

int id_envelope_write(const struct id_envelope *envelope, uint8_t **bytes, size_t *len, struct err *e)
{
	auto_free char *payload = base64_new(envelope->payload, envelope->payload_len);
	auto_free char *cert = base64_new(envelope->cert, envelope->cert_len);
	auto_free char *sig = base64_new(envelope->sig, envelope->sig_len);
	auto_call(cleanup_json) json_t *object = NULL;
	char *text;

	if (payload && cert && sig)
		object = json_pack("{s:i, s:s, s:s, s:s}", "bailey_record", ID_RECORD_VERSION, "payload", payload,
				   "cert", cert, "sig", sig);
	text = object ? json_dumps(object, JSON_COMPACT | JSON_SORT_KEYS) : NULL;
	if (!text)
		return err_at(e, -ENOMEM, WHERE, "out of memory");
	*bytes = (uint8_t *)text;
	*len = strlen(text);
	return 0;
}

static bool read_parts(json_t *object, struct id_envelope *made)
{
	const char *payload, *cert, *sig;
	size_t payload_len, cert_len, sig_len;
	int version;

	if (json_unpack(object, "{s:i, s:s%, s:s%, s:s% !}", "bailey_record", &version, "payload", &payload,
			&payload_len, "cert", &cert, &cert_len, "sig", &sig, &sig_len) != 0 ||
	    version != ID_RECORD_VERSION)
		return false;
	made->cert = malloc(cert_len + 1); /* base64 only shrinks */
	return made->cert && base64_parse(made->cert, cert_len, &made->cert_len, cert, cert_len) &&
	       base64_parse(made->payload, sizeof(made->payload), &made->payload_len, payload, payload_len) &&
	       base64_parse(made->sig, sizeof(made->sig), &made->sig_len, sig, sig_len);
}

static bool is_canonical(const struct id_envelope *envelope, const uint8_t *bytes, size_t len)
{
	auto_free uint8_t *again = NULL;
	size_t again_len;

	return id_envelope_write(envelope, &again, &again_len, NULL) == 0 && again_len == len &&
	       memcmp(again, bytes, len) == 0;
}

int id_envelope_read(const uint8_t *bytes, size_t len, struct id_envelope *envelope, struct err *e)
{
	auto_call(id_envelope_fini) struct id_envelope made = { 0 };
	auto_call(cleanup_json) json_t *object = NULL;
	int ret;

	if (len > ID_RECORD_MAX)
		return err_reason(e, ID_RECORD_MALFORMED, WHERE, "%zu bytes, at most %d are read", len, ID_RECORD_MAX);
	object = json_loadb((const char *)bytes, len, JSON_REJECT_DUPLICATES, NULL);
	if (!object || !read_parts(object, &made))
		return err_reason(e, ID_RECORD_MALFORMED, WHERE,
				  "is not JSON with bailey_record (%d), payload, cert and sig in base64",
				  ID_RECORD_VERSION);
	if (!is_canonical(&made, bytes, len))
		return err_reason(e, ID_RECORD_MALFORMED, WHERE, "is not in canonical form");
	ret = id_payload_read(made.payload, made.payload_len, &made.record, made.cert_sha256, e);
	if (ret < 0)
		return ret;
	*envelope = made;
	made = (struct id_envelope){ 0 };
	return 0;
}

/* What the certificate key signs: the tag with its NUL, then the payload. */
static bool signed_message(const struct id_envelope *envelope, struct out *out)
{
	out_bytes(out, ID_RECORD_TAG, sizeof(ID_RECORD_TAG));
	out_bytes(out, envelope->payload, envelope->payload_len);
	return out_ok(out);
}

/* --- verify --- */

static int signature_check(const struct id_envelope *envelope, EVP_PKEY *key, struct err *e)
{
	auto_out struct out message = { 0 };
	uint8_t sha256[32];

	if (!id_hash(EVP_sha256(), sha256, envelope->cert, envelope->cert_len, NULL, 0) ||
	    memcmp(sha256, envelope->cert_sha256, sizeof(sha256)) != 0)
		return err_reason(e, ID_RECORD_SIGNATURE, WHERE, "was signed for another certificate (cert_sha256)");
	/* a high s would be a second text of the same record, with another digest */
	if (!id_ecdsa_is_low(envelope->sig, envelope->sig_len) || !signed_message(envelope, &message) ||
	    !id_ecdsa_verify(key, envelope->sig, envelope->sig_len, message.data, message.len))
		return err_reason(e, ID_RECORD_SIGNATURE, WHERE, "is not signed by the key of its certificate");
	return 0;
}

static int validity_check(const struct id_record *r, const struct id_claims *claims, int64_t now, struct err *e)
{
	if (now < r->not_before)
		return err_reason(e, ID_RECORD_VALIDITY, WHERE, "is not valid for another %lld s",
				  (long long)(r->not_before - now));
	if (now > r->not_after)
		return err_reason(e, ID_RECORD_VALIDITY, WHERE, "expired %lld s ago", (long long)(now - r->not_after));
	if (r->not_after - r->not_before > ID_RECORD_LIFE_MAX_S)
		return err_reason(e, ID_RECORD_VALIDITY, WHERE, "lives %lld s, at most %d are allowed",
				  (long long)(r->not_after - r->not_before), ID_RECORD_LIFE_MAX_S);
	if (r->not_before < claims->not_before || r->not_after > claims->not_after)
		return err_reason(e, ID_RECORD_VALIDITY, WHERE, "is valid beyond its certificate");
	return 0;
}

static int identity_check(const struct id_record *r, const struct id_claims *claims, struct err *e)
{
	if (!claims->has_instance_id)
		return err_reason(e, ID_RECORD_IDENTITY, WHERE, "the certificate proves no instance-id");
	if (memcmp(r->app_id, claims->app_id, sizeof(r->app_id)) != 0 ||
	    memcmp(r->instance_id, claims->instance_id, sizeof(r->instance_id)) != 0)
		return err_reason(e, ID_RECORD_IDENTITY, WHERE, "%s is not the certificate's",
				  memcmp(r->app_id, claims->app_id, sizeof(r->app_id)) ? "app_id" : "instance_id");
	return 0;
}

static int envelope_verify(const struct id_envelope *envelope, const struct id_trust *trust, struct id_claims *claims,
			   struct err *e)
{
	auto_call(id_cert_fini) struct id_cert cert = { 0 };
	int ret = id_cert_parse(envelope->cert, envelope->cert_len, &cert, e);

	if (!ret)
		ret = id_cert_check(&cert, trust, claims, e);
	if (!ret)
		ret = signature_check(envelope, cert.key, e);
	if (!ret)
		ret = validity_check(&envelope->record, claims, trust->now, e);
	if (!ret)
		ret = identity_check(&envelope->record, claims, e);
	return ret;
}

int id_record_verify(const uint8_t *bytes, size_t len, const struct id_trust *trust, struct id_node *node,
		     struct err *e)
{
	auto_call(id_envelope_fini) struct id_envelope envelope = { 0 };
	struct id_node made = { 0 };
	int ret = id_envelope_read(bytes, len, &envelope, e);

	if (ret < 0)
		return ret;
	ERR_set_mark();
	ret = envelope_verify(&envelope, trust, &made.claims, e);
	ERR_pop_to_mark();
	if (ret < 0)
		return ret;
	if (!id_hash(EVP_sha256(), made.digest, bytes, len, NULL, 0))
		return err_at(e, -ENOMEM, WHERE, "out of memory");
	made.record = envelope.record;
	*node = made;
	return 0;
}

bool id_record_peek(const uint8_t *bytes, size_t len, uint8_t instance_id[BY_INSTANCE_ID_LEN], uint8_t digest[32])
{
	auto_call(id_envelope_fini) struct id_envelope envelope = { 0 };

	if (id_envelope_read(bytes, len, &envelope, NULL) < 0 || !id_hash(EVP_sha256(), digest, bytes, len, NULL, 0))
		return false;
	memcpy(instance_id, envelope.record.instance_id, BY_INSTANCE_ID_LEN);
	return true;
}

/* --- sign --- */

static int cert_take(const char *cert_pem, EVP_PKEY *key, struct id_envelope *envelope, struct err *e)
{
	auto_call(chain_fini) struct chain chain = { 0 };
	unsigned char *der = NULL;
	int len;

	if (id_x509_from_pem(cert_pem, strlen(cert_pem), chain.at, CHAIN_MAX) < 1)
		return err_at(e, -EINVAL, WHERE, "the certificate is not PEM");
	if (X509_check_private_key(chain.at[0], key) != 1)
		return err_at(e, -EINVAL, WHERE, "the key is not the certificate's");
	len = i2d_X509(chain.at[0], &der);
	if (len > 0 && len <= ID_CERT_MAX)
		envelope->cert = malloc((size_t)len);
	if (envelope->cert) {
		memcpy(envelope->cert, der, (size_t)len);
		envelope->cert_len = (size_t)len;
	}
	OPENSSL_free(der);
	return envelope->cert ? 0 : err_at(e, -ENOMEM, WHERE, "the certificate can not be taken");
}

static int envelope_sign(struct id_envelope *envelope, EVP_PKEY *key, struct err *e)
{
	auto_out struct out message = { 0 };
	int ret;

	if (!id_hash(EVP_sha256(), envelope->cert_sha256, envelope->cert, envelope->cert_len, NULL, 0))
		return err_at(e, -ENOMEM, WHERE, "out of memory");
	ret = id_payload_write(&envelope->record, envelope->cert_sha256, envelope->payload, &envelope->payload_len, e);
	if (ret < 0)
		return ret;
	if (!signed_message(envelope, &message) ||
	    !id_ecdsa_sign_low(key, envelope->sig, &envelope->sig_len, message.data, message.len))
		return err_at(e, -EIO, WHERE, "signing failed");
	return 0;
}

int id_record_sign(const struct id_record *record, const char *cert_pem, const char *key_pem, uint8_t **bytes,
		   size_t *len, struct err *e)
{
	auto_call(id_envelope_fini) struct id_envelope envelope = { .record = *record };
	auto_call(cleanup_pkey) EVP_PKEY *key = NULL;
	int ret;

	ERR_set_mark();
	key = id_p256_from_pem(key_pem);
	ret = key ? cert_take(cert_pem, key, &envelope, e)
		  : err_at(e, -EINVAL, WHERE, "the key is not a P-256 key in PEM");
	if (!ret)
		ret = envelope_sign(&envelope, key, e);
	ERR_pop_to_mark();
	return ret < 0 ? ret : id_envelope_write(&envelope, bytes, len, e);
}
