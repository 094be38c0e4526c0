// SPDX-License-Identifier: Apache-2.0
#include "fresh.h"

#include <errno.h>
#include <string.h>

#include "identity/crypto.h"

#define WHERE    "freshness"
#define TAG      "bailey-fresh-v1" /* with its NUL in front of what is signed */
#define EXPORTER "EXPORTER-bailey-fresh-v1"

_Static_assert(sizeof(TAG) == 16, "FRESH_MESSAGE_LEN counts it");

/* SHA-256 of the key in one side's certificate. */
static bool key_hash(SSL *ssl, bool is_own, uint8_t hash[32])
{
	X509 *cert = is_own ? SSL_get_certificate(ssl) : SSL_get0_peer_certificate(ssl);
	EVP_PKEY *key = cert ? X509_get0_pubkey(cert) : NULL;
	uint8_t spki[ID_SPKI_LEN];

	return key && id_p256_spki(key, spki) && id_hash(EVP_sha256(), hash, spki, sizeof(spki), NULL, 0);
}

bool fresh_bind(SSL *ssl, bool is_own, bool by_dialler, const uint8_t *challenge, struct fresh *fresh)
{
	static const char quote_tag[] = "bailey-fresh:";
	uint8_t *at = fresh->message;

	memcpy(at, TAG, sizeof(TAG));
	at += sizeof(TAG);
	*at++ = by_dialler;
	memcpy(at, challenge, FRESH_CHALLENGE_LEN);
	at += FRESH_CHALLENGE_LEN;
	return SSL_export_keying_material(ssl, at, 32, EXPORTER, strlen(EXPORTER), NULL, 0, 0) == 1 &&
	       key_hash(ssl, is_own, at + 32) &&
	       id_hash(EVP_sha512(), fresh->report_data, quote_tag, strlen(quote_tag), fresh->message,
		       FRESH_MESSAGE_LEN);
}

bool fresh_prove(SSL *ssl, const struct fresh *fresh, enum id_fresh level, struct in attestation, struct out *proof)
{
	uint8_t sig[ID_ECDSA_MAX];
	size_t len;

	out_u8(proof, (uint8_t)level);
	if (level == ID_FRESH_OFF)
		return out_ok(proof);
	if (!id_ecdsa_sign(SSL_get_privatekey(ssl), sig, &len, fresh->message, FRESH_MESSAGE_LEN))
		return false;
	out_u8(proof, (uint8_t)len);
	out_bytes(proof, sig, len);
	if (level == ID_FRESH_QUOTE)
		out_bytes(proof, attestation.p, attestation.left);
	return out_ok(proof);
}

/* The TEE that answers is the one of the certificate. RTMR3 may have grown since by events of the application. */
static int same_machine(const struct id_claims *now, const struct id_claims *then, struct err *e)
{
	bool same = now->tee == then->tee && now->has_instance_id == then->has_instance_id &&
		    now->has_device_id == then->has_device_id && now->td_attributes == then->td_attributes &&
		    memcmp(now->app_id, then->app_id, sizeof(now->app_id)) == 0 &&
		    memcmp(now->instance_id, then->instance_id, sizeof(now->instance_id)) == 0 &&
		    memcmp(now->compose_hash, then->compose_hash, sizeof(now->compose_hash)) == 0 &&
		    memcmp(now->mr_system, then->mr_system, sizeof(now->mr_system)) == 0 &&
		    memcmp(now->mrtd, then->mrtd, sizeof(now->mrtd)) == 0 &&
		    memcmp(now->rtmr, then->rtmr, 3 * ID_MR_LEN) == 0;

	return same ? 0
		    : err_reason(e, ID_FRESH_IDENTITY, WHERE,
				 "the fresh quote is of another app, instance or machine than the certificate's");
}

static int signature_check(SSL *ssl, const struct fresh *fresh, struct in *proof, struct err *e)
{
	EVP_PKEY *key = X509_get0_pubkey(SSL_get0_peer_certificate(ssl));
	struct in sig;
	uint8_t len;

	if (!in_u8(proof, &len) || len > ID_ECDSA_MAX || !in_sub(proof, &sig, len))
		return err_reason(e, ID_FRESH_MALFORMED, WHERE, "the proof's signature is cut off");
	if (!id_ecdsa_verify(key, sig.p, sig.left, fresh->message, FRESH_MESSAGE_LEN))
		return err_reason(e, ID_FRESH_SIGNATURE, WHERE,
				  "the proof is not signed for this session by the certificate's key");
	return 0;
}

int fresh_check(SSL *ssl, const struct fresh *fresh, enum id_fresh demanded, struct in proof,
		const struct id_trust *trust, const struct id_claims *peer, struct err *e)
{
	struct id_claims now;
	uint8_t level;
	int ret;

	if (!in_u8(&proof, &level) || level > demanded)
		return err_reason(e, ID_FRESH_MALFORMED, WHERE, "the proof is of no level that was asked for");
	if (level < demanded)
		return err_reason(e, ID_FRESH_LEVEL, WHERE, "%s is proved, %s is demanded", id_fresh_name(level),
				  id_fresh_name(demanded));
	ret = level > ID_FRESH_OFF ? signature_check(ssl, fresh, &proof, e) : 0;
	if (ret < 0)
		return ret;
	if (level < ID_FRESH_QUOTE)
		return proof.left ? err_reason(e, ID_FRESH_MALFORMED, WHERE, "%zu bytes behind the proof", proof.left)
				  : 0;
	ret = id_attestation_prove(proof.p, proof.left, fresh->report_data, trust, &now, e);
	return ret < 0 ? err_wrap(e, WHERE) : same_machine(&now, peer, e);
}
