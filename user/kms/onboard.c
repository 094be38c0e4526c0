// SPDX-License-Identifier: Apache-2.0
/* Where root keys come from: made here once (bootstrap), or from another KMS that evidence proves (onboard). */
#include <errno.h>
#include <openssl/crypto.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "agent/kms.h"
#include "base/file.h"
#include "base/text.h"
#include "internal.h"

#define CLIENT_LIFE_S 3600
#define BOOT_NOTE     "dstack-kms-genereted-keys-v1:" /* the spelling is the protocol's */

static int no_memory(struct err *e)
{
	return err_at(e, -ENOMEM, "keys", "out of memory");
}

int kms_own_evidence(const struct kms_conf *conf, const uint8_t report_data[ID_REPORT_DATA_LEN], uint8_t **attestation,
		     size_t *len, struct err *e)
{
	auto_json json_t *args = json_pack("{s:o}", "report_data", json_hex(report_data, ID_REPORT_DATA_LEN)),
			 *answer = NULL;
	const char *hex, *log;
	auto_call(id_events_fini) struct id_events events = { 0 };
	auto_out struct out out = { 0 };
	auto_free uint8_t *quote = NULL;
	size_t n;
	int ret = kms_agent_ask(conf->agent, "/GetQuote", args, &answer, e);

	if (ret < 0)
		return ret;
	hex = json_string_value(json_object_get(answer, "quote"));
	log = json_string_value(json_object_get(answer, "event_log"));
	n = hex ? strlen(hex) / 2 : 0;
	quote = malloc(n + 1);
	if (!hex || !log || !quote || !hex_parse(quote, n, hex))
		return err_at(e, -EBADMSG, conf->agent, "agent answers without quote or event log");
	ret = id_events_from_json(log, strlen(log), &events, e);
	if (ret < 0)
		return ret;
	if (!id_attestation_write(&out, in_of(quote, n), &events, report_data, true))
		return err_at(e, -EOPNOTSUPP, conf->agent, "agent's event log fits no attestation of version 0");
	*attestation = out_take(&out, len);
	return 0;
}

/* --- what both do --- */

static int state_make(const struct kms_conf *conf, struct err *e)
{
	struct stat st;
	int ret = dir_make(conf->state, 0700, e);

	if (ret < 0)
		return ret;
	if (stat(conf->state, &st) < 0)
		return err_at(e, -errno, conf->state, "%s", strerror(errno));
	if (st.st_uid != geteuid() || (st.st_mode & 077))
		return err_at(e, -EPERM, conf->state, "is not ours alone (mode %04o, 0700 is needed)",
			      st.st_mode & 07777);
	return 0;
}

/* The log first: keys without one are refused, so nothing is issued that is not in it. */
static int keep(const struct kms_conf *conf, const struct kms_roots *roots, const struct id_authority *ca,
		const char *members, struct err *e)
{
	auto_free char *pem = id_x509_to_pem(ca->x509);
	struct kms_audit audit;
	char path[PATH_MAX];
	int ret = pem ? kms_audit_create(conf->state, ca->key, &audit, e) : no_memory(e);

	if (ret < 0)
		return ret;
	ret = kms_audit_append(&audit, time(NULL), members, e);
	kms_audit_close(&audit);
	if (!ret)
		ret = kms_path(conf, "root-ca.pem", path, e);
	if (!ret)
		ret = file_write(path, pem, strlen(pem), 0644, e);
	return ret ? ret : kms_roots_store(conf, roots, e);
}

static int must_be_empty(const struct kms_conf *conf, struct err *e)
{
	static const char *const names[] = { "keys.sealed", "audit.log", "audit.head" };
	char path[PATH_MAX];

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		if (kms_path(conf, names[i], path, e) < 0)
			return e->code;
		if (access(path, F_OK) == 0)
			return err_at(e, -EEXIST, path, "is there already, and keys are never replaced");
	}
	return 0;
}

/* --- bootstrap --- */

static int publics_of(const struct kms_roots *roots, const struct id_authority *ca, uint8_t spki[ID_SPKI_LEN],
		      uint8_t k256[ID_K256_POINT_LEN], struct err *e)
{
	return id_p256_spki(ca->key, spki) && id_k256_public(roots->k256, k256)
		       ? 0
		       : err_at(e, -EIO, "keys", "can not be made");
}

/* Both public keys and a quote over them: proof, for whoever registers this KMS, that they were made inside. */
static int info_write(const struct kms_conf *conf, const struct kms_roots *roots, const struct id_authority *ca,
		      struct err *e)
{
	uint8_t spki[ID_SPKI_LEN], k256[ID_K256_POINT_LEN], report_data[ID_REPORT_DATA_LEN] = { 0 };
	char hex_spki[2 * ID_SPKI_LEN + 1], hex_k256[2 * ID_K256_POINT_LEN + 1], path[PATH_MAX], note[512];
	auto_free uint8_t *attestation = NULL;
	auto_json json_t *o = NULL;
	auto_free char *text = NULL;
	size_t len = 0;
	int ret = publics_of(roots, ca, spki, k256, e);

	if (ret < 0)
		return ret;
	hex_print(hex_spki, spki, sizeof(spki));
	hex_print(hex_k256, k256, sizeof(k256));
	snprintf(note, sizeof(note), BOOT_NOTE "%s;%s;", hex_spki, hex_k256);
	id_keccak256(report_data, note, strlen(note));
	if (conf->agent[0])
		ret = kms_own_evidence(conf, report_data, &attestation, &len, e);
	if (!ret)
		ret = kms_path(conf, "bootstrap-info.json", path, e);
	if (ret < 0)
		return ret;
	o = json_pack("{s:s, s:s, s:o}", "ca_pubkey", hex_spki, "k256_pubkey", hex_k256, "attestation",
		      json_hex(attestation ? attestation : (const uint8_t *)"", len));
	text = o ? json_dumps(o, JSON_COMPACT) : NULL;
	return text ? file_write(path, text, strlen(text), 0644, e) : no_memory(e);
}

int kms_bootstrap(const struct kms_conf *conf, struct err *e)
{
	auto_call(id_authority_fini) struct id_authority ca = { 0 };
	auto_call(kms_roots_fini) struct kms_roots roots = { 0 };
	int64_t now = time(NULL);
	int ret = state_make(conf, e);

	if (!ret)
		ret = must_be_empty(conf, e);
	if (!ret)
		ret = kms_roots_new(now, &roots, e);
	if (!ret)
		ret = id_root_ca(roots.p256, "Dstack KMS CA", now, &ca, e);
	if (!ret)
		ret = info_write(conf, &roots, &ca, e);
	return ret ? ret : keep(conf, &roots, &ca, "\"what\":\"bootstrap\"", e);
}

/* --- onboard --- */

struct source {
	const struct kms_conf *conf;
	const struct evp_files *trust;
	const struct kms_allow *allow;
};

/* The other side: the same evidence policy and the same authority as for one that asks us. */
static int source_judge(X509 *leaf, void *arg, struct err *e)
{
	const struct source *source = arg;
	struct id_trust trust = evp_trust_now(source->trust);
	struct kms_decision decision;
	struct kms_boot boot;
	auto_free char *body = NULL;
	unsigned char *der = NULL;
	int len = i2d_X509(leaf, &der), ret;

	trust.usage = ID_USAGE_KMS;
	ret = len > 0 ? kms_verify_cert(der, (size_t)len, &trust, &boot, e) : no_memory(e);
	OPENSSL_free(der);
	if (ret < 0)
		return err_wrap(e, "other KMS");
	if (source->allow) {
		kms_allow_decide(source->allow, KMS_ASK_KMS, &boot, &decision);
	} else {
		body = kms_boot_json(&boot);
		ret = body ? kms_webhook_ask(source->conf->webhook, source->conf->timeout_s, KMS_ASK_KMS, body,
					     &decision, e)
			   : no_memory(e);
	}
	if (ret < 0)
		return ret;
	return decision.is_allowed ? 0 : err_at(e, -EACCES, "other KMS", "is not allowed: %.200s", decision.reason);
}

static int client_make(const struct kms_conf *conf, char **cert, char **secret, struct err *e)
{
	auto_call(cleanup_pkey) EVP_PKEY *key = id_p256_new();
	auto_free uint8_t *attestation = NULL;
	auto_call(cleanup_x509) X509 *leaf = NULL;
	struct id_leaf_request req = { .subject = conf->domain,
				       .for_client = true,
				       .not_before = time(NULL) - 300,
				       .not_after = time(NULL) + CLIENT_LIFE_S,
				       .usage = ID_USAGE_KMS };
	uint8_t spki[ID_SPKI_LEN], report_data[ID_REPORT_DATA_LEN];
	size_t len;
	int ret = key && id_p256_spki(key, spki) && id_cert_report_data(spki, report_data) ? 0 : no_memory(e);

	if (!ret)
		ret = kms_own_evidence(conf, report_data, &attestation, &len, e);
	if (ret < 0)
		return ret;
	req.attestation = in_of(attestation, len);
	ret = id_leaf(NULL, key, &req, &leaf, e);
	if (ret < 0)
		return ret;
	*cert = id_x509_to_pem(leaf);
	*secret = id_key_to_pem(key);
	return *cert && *secret ? 0 : no_memory(e);
}

static bool scalar_of(const json_t *pem, uint8_t scalar[ID_SCALAR_LEN])
{
	auto_call(cleanup_pkey) EVP_PKEY *key = json_is_string(pem) ? id_p256_from_pem(json_string_value(pem)) : NULL;

	return key && id_key_to_scalar(key, scalar);
}

static int roots_take(const json_t *answer, struct kms_roots *roots, struct err *e)
{
	const json_t *list = json_object_get(answer, "keys"), *keys = json_array_get(list, 0);
	const char *k256 = json_string_value(json_object_get(keys, "k256_key"));

	if (json_array_size(list) != 1 || !scalar_of(json_object_get(keys, "ca_key"), roots->p256) ||
	    !scalar_of(json_object_get(answer, "temp_ca_key"), roots->temp) || !k256 ||
	    !hex_parse(roots->k256, ID_SCALAR_LEN, k256))
		return err_at(e, -EBADMSG, "other KMS", "answers no keys that can be read");
	roots->made_s = time(NULL);
	return 0;
}

/* What the other one shows to everybody must be what it gave to us. */
static int meta_check(const json_t *meta, const struct kms_roots *roots, const struct id_authority *ca, struct err *e)
{
	uint8_t spki[ID_SPKI_LEN], k256[ID_K256_POINT_LEN], shown[ID_K256_POINT_LEN];
	const char *pem = json_string_value(json_object_get(meta, "ca_cert"));
	const char *hex = json_string_value(json_object_get(meta, "k256_pubkey"));
	X509 *x509 = NULL;
	int n = pem ? id_x509_from_pem(pem, strlen(pem), &x509, 1) : 0;
	bool ok = n == 1 && hex && hex_parse(shown, sizeof(shown), hex) && publics_of(roots, ca, spki, k256, e) == 0 &&
		  X509_check_private_key(x509, ca->key) == 1 && memcmp(k256, shown, sizeof(k256)) == 0;

	X509_free(x509);
	return ok ? 0 : err_at(e, -EBADMSG, "other KMS", "gave keys that are not those of its GetMeta");
}

static int fetch(const struct kms_conf *conf, const char *url, struct source *source, struct kms_roots *roots,
		 struct id_authority *ca, struct err *e)
{
	auto_free char *cert = NULL, *secret = NULL;
	auto_json json_t *meta = NULL, *answer = NULL;
	struct ag_kms kms = { .url = url, .judge = source_judge, .arg = source };
	int ret = client_make(conf, &cert, &secret, e);

	kms.cert_pem = cert;
	kms.key_pem = secret;
	if (!ret)
		ret = ag_kms_call(&kms, "GetMeta", NULL, &meta, e);
	if (!ret)
		ret = ag_kms_call(&kms, "GetKmsKey", NULL, &answer, e);
	if (!ret)
		ret = roots_take(answer, roots, e);
	if (!ret)
		ret = id_root_ca(roots->p256, "Dstack KMS CA", time(NULL), ca, e);
	return ret ? ret : meta_check(meta, roots, ca, e);
}

int kms_onboard(const struct kms_conf *conf, const char *url, struct err *e)
{
	auto_call(id_authority_fini) struct id_authority ca = { 0 };
	auto_call(kms_roots_fini) struct kms_roots roots = { 0 };
	struct kms_allow *allow = NULL;
	struct evp_files trust = { 0 };
	struct source source = { .conf = conf, .trust = &trust };
	int ret = conf->agent[0]
			  ? 0
			  : err_at(e, -EINVAL, "onboard", "needs a guest agent: the other KMS asks for evidence");

	if (!ret)
		ret = state_make(conf, e);
	if (!ret)
		ret = must_be_empty(conf, e);
	if (!ret)
		ret = evp_files_load(&conf->evidence, &trust, e);
	if (!ret && conf->allow[0])
		ret = kms_allow_load(conf->allow, &allow, e);
	source.allow = allow;
	if (!ret)
		ret = fetch(conf, url, &source, &roots, &ca, e);
	if (!ret)
		ret = keep(conf, &roots, &ca, "\"what\":\"onboard\"", e);
	kms_allow_free(allow);
	evp_files_fini(&trust);
	return ret;
}
