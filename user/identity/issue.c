// SPDX-License-Identifier: Apache-2.0
#include "issue.h"

#include <arpa/inet.h>
#include <errno.h>
#include <openssl/x509v3.h>
#include <string.h>

#define WHERE        "certificate"
#define ORGANISATION "Dstack" /* what its CAs say; verifiers go by keys */
#define NAME_MAX_LEN 253      /* of a DNS name, RFC 1035 */

DEFINE_CLEANUP(names, GENERAL_NAMES, GENERAL_NAMES_free)
DEFINE_CLEANUP(asn1, ASN1_OCTET_STRING, ASN1_OCTET_STRING_free)

static bool sign_by(X509 *x509, X509 *issuer, EVP_PKEY *key)
{
	return X509_set_issuer_name(x509, X509_get_subject_name(issuer)) == 1 && X509_sign(x509, key, EVP_sha256()) > 0;
}

/* --- authorities --- */

static X509 *ca_new(EVP_PKEY *key, const char *cn, const char *basic, int64_t now)
{
	auto_call(cleanup_x509) X509 *x509 = key ? id_x509_new(key, ID_LEAF_NOT_BEFORE, now + ID_CERT_LIFE_S) : NULL;

	if (!x509 || !id_x509_name(X509_get_subject_name(x509), "O", ORGANISATION) ||
	    !id_x509_name(X509_get_subject_name(x509), "CN", cn) ||
	    !id_x509_ext(x509, x509, NID_basic_constraints, basic) ||
	    !id_x509_ext(x509, x509, NID_key_usage, "critical,digitalSignature,keyCertSign,cRLSign") ||
	    !id_x509_ext(x509, x509, NID_subject_key_identifier, "hash"))
		return NULL;
	return take_ptr(x509);
}

int id_root_ca(const uint8_t scalar[ID_SCALAR_LEN], const char *name, int64_t now, struct id_authority *ca,
	       struct err *e)
{
	auto_call(cleanup_pkey) EVP_PKEY *key = id_key_from_scalar("prime256v1", scalar);
	auto_call(cleanup_x509) X509 *x509 = ca_new(key, name, "critical,CA:TRUE,pathlen:1", now);

	if (!x509 || !sign_by(x509, x509, key))
		return err_at(e, -EIO, WHERE, "root CA can not be made");
	*ca = (struct id_authority){ .key = take_ptr(key), .x509 = take_ptr(x509) };
	return 0;
}

int id_app_ca(const struct id_authority *root, const uint8_t scalar[ID_SCALAR_LEN], const uint8_t app_id[BY_APP_ID_LEN],
	      int64_t now, struct id_authority *ca, struct err *e)
{
	auto_call(cleanup_pkey) EVP_PKEY *key = id_key_from_scalar("prime256v1", scalar);
	auto_call(cleanup_x509) X509 *x509 = ca_new(key, "Dstack App CA", "critical,CA:TRUE,pathlen:0", now);

	if (!x509 || !id_x509_add_ext(x509, ID_EXT_APP_ID, app_id, BY_APP_ID_LEN) ||
	    !id_x509_add_ext(x509, ID_EXT_USAGE, ID_USAGE_APP_CA, strlen(ID_USAGE_APP_CA)) ||
	    !sign_by(x509, root->x509, root->key))
		return err_at(e, -EIO, WHERE, "app CA can not be made");
	*ca = (struct id_authority){ .key = take_ptr(key), .x509 = take_ptr(x509) };
	return 0;
}

void id_authority_fini(struct id_authority *ca)
{
	EVP_PKEY_free(ca->key);
	X509_free(ca->x509);
	*ca = (struct id_authority){ 0 };
}

/* --- leaves --- */

static bool is_dns_name(const char *name)
{
	size_t len = strlen(name);

	return len && len <= NAME_MAX_LEN &&
	       strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._*") == len;
}

/* "10.0.0.1" and "::1" are addresses, everything else is a name. */
static GENERAL_NAME *alt_name(const char *text)
{
	auto_call(cleanup_asn1) ASN1_OCTET_STRING *value = NULL;
	GENERAL_NAME *name;
	uint8_t addr[16];
	int type = GEN_IPADD, len = inet_pton(AF_INET, text, addr) == 1    ? 4
				    : inet_pton(AF_INET6, text, addr) == 1 ? 16
									   : 0;

	if (!len && !is_dns_name(text))
		return NULL;
	if (!len)
		type = GEN_DNS;
	value = ASN1_STRING_type_new(type == GEN_DNS ? V_ASN1_IA5STRING : V_ASN1_OCTET_STRING);
	name = GENERAL_NAME_new();
	if (!value || !name ||
	    ASN1_STRING_set(value, type == GEN_DNS ? (const void *)text : addr, len ? len : -1) != 1) {
		GENERAL_NAME_free(name);
		return NULL;
	}
	GENERAL_NAME_set0_value(name, type, take_ptr(value));
	return name;
}

static int alt_names_add(X509 *x509, const struct id_leaf_request *req, struct err *e)
{
	auto_call(cleanup_names) GENERAL_NAMES *names = GENERAL_NAMES_new();

	for (size_t i = 0; i < req->n_alt_names; i++) {
		GENERAL_NAME *name = alt_name(req->alt_name[i]);

		if (!name)
			return err_at(e, -EINVAL, "alt_names", "\"%.64s\" is neither a DNS name nor an address",
				      req->alt_name[i]);
		if (!names || sk_GENERAL_NAME_push(names, name) <= 0) {
			GENERAL_NAME_free(name);
			return err_at(e, -ENOMEM, WHERE, "out of memory");
		}
	}
	if (req->n_alt_names && X509_add1_ext_i2d(x509, NID_subject_alt_name, names, 0, 0) != 1)
		return err_at(e, -ENOMEM, WHERE, "out of memory");
	return 0;
}

static bool usage_add(X509 *x509, const struct id_leaf_request *req)
{
	const char *usage = req->for_server && req->for_client ? "serverAuth,clientAuth"
			    : req->for_server                  ? "serverAuth"
			    : req->for_client                  ? "clientAuth"
							       : NULL;

	return id_x509_ext(x509, x509, NID_key_usage, "critical,digitalSignature") &&
	       (!usage || id_x509_ext(x509, x509, NID_ext_key_usage, usage));
}

static bool ext_or_none(X509 *x509, enum id_ext n, struct in value)
{
	return !value.p || id_x509_add_ext(x509, n, value.p, value.left);
}

static bool evidence_add(X509 *x509, const struct id_leaf_request *req)
{
	struct in log = in_of(req->event_log, req->event_log ? strlen(req->event_log) : 0);
	const char *usage = req->usage ? req->usage : ID_USAGE_LEAF;

	return (!req->app_id || id_x509_add_ext(x509, ID_EXT_APP_ID, req->app_id, BY_APP_ID_LEN)) &&
	       ext_or_none(x509, ID_EXT_ATTESTATION, req->attestation) && ext_or_none(x509, ID_EXT_QUOTE, req->quote) &&
	       ext_or_none(x509, ID_EXT_EVENTLOG, log) && ext_or_none(x509, ID_EXT_APP_INFO, req->app_info) &&
	       id_x509_add_ext(x509, ID_EXT_USAGE, usage, strlen(usage));
}

int id_leaf(const struct id_authority *ca, EVP_PKEY *key, const struct id_leaf_request *req, X509 **leaf, struct err *e)
{
	auto_call(cleanup_x509) X509 *x509 = NULL;
	int ret;

	if (req->not_before >= req->not_after)
		return err_at(e, -EINVAL, WHERE, "not_before must be earlier than not_after");
	x509 = id_x509_new(key, req->not_before, req->not_after);
	if (!x509)
		return err_at(e, -EINVAL, WHERE, "can not be made for this key and validity");
	if (req->org && req->org[0] && !id_x509_name(X509_get_subject_name(x509), "O", req->org))
		return err_at(e, -EINVAL, "org_name", "\"%.64s\" can not be an organisation (64 characters at most)",
			      req->org);
	if (req->subject[0] && !id_x509_name(X509_get_subject_name(x509), "CN", req->subject))
		return err_at(e, -EINVAL, "subject", "\"%.64s\" can not be a common name (64 characters at most)",
			      req->subject);
	ret = alt_names_add(x509, req, e);
	if (ret < 0)
		return ret;
	if (!usage_add(x509, req) || !evidence_add(x509, req) ||
	    !sign_by(x509, ca ? ca->x509 : x509, ca ? ca->key : key))
		return err_at(e, -EIO, WHERE, "can not be signed");
	*leaf = take_ptr(x509);
	return 0;
}
