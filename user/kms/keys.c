// SPDX-License-Identifier: Apache-2.0
/*
 * The key process: root keys and audit log. It takes structures of fixed size from the front, never a stranger's
 * bytes to parse: of a request it looks at a P-256 point, bounded texts and numbers; attestation, quote and log are
 * copied into certificates as they are. It records each thing before it hands it out. What the front says of who asks
 * is believed: a front that was taken over can have keys of any app, not the root keys (unless onboarding is on), and
 * not unrecorded.
 */
#include <errno.h>
#include <event2/event.h>
#include <openssl/crypto.h>
#include <string.h>
#include <time.h>

#include "base/file.h"
#include "base/log.h"
#include "base/text.h"
#include "baileyd/box.h"
#include "baileyd/ipc.h"
#include "internal.h"
#include "process.h"

#define RPC_LIFE_S ID_CERT_LIFE_S

struct keys {
	const struct kms_conf *conf;
	struct event_base *base;
	struct ipc *front;
	struct kms_roots roots;
	struct id_authority root;
	char *root_pem;
	struct kms_audit audit;
};

static int no_memory(struct err *e)
{
	return err_at(e, -ENOMEM, "keys", "out of memory");
}

/* --- audit --- */

/* The inside of a record: what was issued and for whom. */
static char *members_of(const char *what, const struct kms_msg_request *m, json_t *more)
{
	const struct kms_boot *boot = &m->boot;
	auto_json json_t *o = json_pack(
		"{s:s, s:s, s:s, s:o, s:o, s:o, s:o, s:o, s:s, s:o}", "what", what, "from", m->from, "tee",
		boot->tee_variant, "app_id", json_hex(boot->app_id, BY_APP_ID_LEN), "instance_id",
		json_hex(boot->instance_id, boot->has_instance_id ? BY_INSTANCE_ID_LEN : 0), "compose_hash",
		json_hex(boot->compose_hash, ID_HASH_LEN), "mr_aggregated", json_hex(boot->mr_aggregated, ID_HASH_LEN),
		"device_id", json_hex(boot->device_id, boot->has_device_id ? ID_HASH_LEN : 0), "tcb_status",
		boot->tcb_status, "key_sha256", json_hex(m->spki_sha256, ID_HASH_LEN));
	char *text, *inside;

	if (more)
		json_object_update(o, more);
	json_decref(more);
	text = o ? json_dumps(o, JSON_COMPACT) : NULL;
	if (!text)
		return NULL;
	text[strlen(text) - 1] = '\0'; /* without its braces */
	inside = strdup(text + 1);
	free(text);
	return inside;
}

static int record(struct keys *k, const char *what, const struct kms_msg_request *m, json_t *more, struct err *e)
{
	auto_free char *members = members_of(what, m, more);

	return members ? kms_audit_append(&k->audit, time(NULL), members, e) : no_memory(e);
}

/* --- what is issued --- */

static int app_keys(struct keys *k, const struct kms_msg_request *m, struct in blob, json_t **answer, struct err *e)
{
	uint8_t disk[ID_SCALAR_LEN], env[ID_SCALAR_LEN], k256[ID_SCALAR_LEN], sig[ID_K256_SIG_LEN];
	const struct kms_boot *boot = &m->boot;
	int ret = 0;

	(void)blob;
	if (!id_app_disk_key(k->roots.p256, boot->app_id, boot->has_instance_id ? boot->instance_id : NULL, disk) ||
	    !id_app_env_key(k->roots.p256, boot->app_id, env, NULL) ||
	    !id_app_k256_key(k->roots.k256, boot->app_id, k256, sig))
		ret = err_at(e, -EIO, "keys", "can not be derived");
	if (!ret)
		ret = record(k, "app-keys", m, NULL, e);
	if (!ret)
		*answer = json_pack("{s:s, s:o, s:o, s:o, s:o, s:s, s:s, s:o}", "ca_cert", k->root_pem,
				    "disk_crypt_key", json_hex(disk, sizeof(disk)), "env_crypt_key",
				    json_hex(env, sizeof(env)), "k256_key", json_hex(k256, sizeof(k256)),
				    "k256_signature", json_hex(sig, sizeof(sig)), "tproxy_app_id", m->gateway_app_id,
				    "gateway_app_id", m->gateway_app_id, "os_image_hash",
				    json_hex(boot->os_image_hash, boot->has_os_image_hash ? ID_HASH_LEN : 0));
	OPENSSL_cleanse(disk, sizeof(disk));
	OPENSSL_cleanse(env, sizeof(env));
	OPENSSL_cleanse(k256, sizeof(k256));
	return ret || *answer ? ret : no_memory(e);
}

/* A part of the blob; absent when its length is 0. */
static bool part(struct in *blob, size_t len, struct in *into)
{
	*into = (struct in){ 0 };
	return !len || in_sub(blob, into, len);
}

static int leaf_request(const struct kms_msg_request *m, struct in blob, char *log, struct id_leaf_request *req,
			struct err *e)
{
	const struct id_csr *csr = &m->csr;
	struct in event_log;

	*req = (struct id_leaf_request){ .org = csr->org,
					 .subject = csr->subject,
					 .for_server = csr->for_server,
					 .for_client = csr->for_client,
					 .not_before = csr->has_not_before ? csr->not_before : ID_LEAF_NOT_BEFORE,
					 .not_after = csr->has_not_after ? csr->not_after : time(NULL) + ID_CERT_LIFE_S,
					 .app_id = m->boot.app_id };
	if (req->not_after > time(NULL) + ID_CERT_LIFE_S)
		return err_at(e, -EINVAL, "not_after", "is more than ten years ahead");
	if (csr->n_alt_names > ID_ISSUE_MAX_NAMES || !part(&blob, m->attestation_len, &req->attestation) ||
	    !part(&blob, m->quote_len, &req->quote) || !part(&blob, m->event_log_len, &event_log) ||
	    !part(&blob, m->app_info_len, &req->app_info) || blob.left || !req->quote.p != !event_log.p)
		return err_at(e, -EPROTO, "keys", "message is no request");
	for (uint32_t i = 0; i < csr->n_alt_names; i++)
		req->alt_name[req->n_alt_names++] = csr->alt_name[i];
	if (event_log.p)
		memcpy(log, event_log.p, event_log.left);
	req->event_log = event_log.p ? log : NULL;
	return 0;
}

static int leaf_make(struct keys *k, const struct kms_msg_request *m, struct in blob, struct id_authority *ca,
		     X509 **leaf, struct err *e)
{
	auto_call(cleanup_pkey) EVP_PKEY *key = id_p256_from_raw(m->csr.spki + ID_SPKI_LEN - ID_P256_RAW_LEN);
	auto_free char *log = calloc(1, blob.left + 1);
	uint8_t scalar[ID_SCALAR_LEN];
	struct id_leaf_request req;
	int ret = log ? leaf_request(m, blob, log, &req, e) : no_memory(e);

	if (!ret && (!key || !id_app_ca_scalar(k->roots.p256, m->boot.app_id, scalar)))
		ret = err_at(e, -EINVAL, "csr", "no certificate can be made for this key");
	if (!ret)
		ret = id_app_ca(&k->root, scalar, m->boot.app_id, time(NULL), ca, e);
	OPENSSL_cleanse(scalar, sizeof(scalar));
	return ret ? ret : id_leaf(ca, key, &req, leaf, e);
}

static json_t *cert_digest(X509 *leaf)
{
	uint8_t digest[EVP_MAX_MD_SIZE];
	unsigned n = 0;

	return X509_digest(leaf, EVP_sha256(), digest, &n) == 1 ? json_hex(digest, n) : NULL;
}

static int sign(struct keys *k, const struct kms_msg_request *m, struct in blob, json_t **answer, struct err *e)
{
	auto_call(id_authority_fini) struct id_authority ca = { 0 };
	auto_call(cleanup_x509) X509 *leaf = NULL;
	auto_free char *leaf_pem = NULL, *ca_pem = NULL;
	int ret = leaf_make(k, m, blob, &ca, &leaf, e);

	if (!ret)
		ret = record(k, "certificate", m,
			     json_pack("{s:s, s:o}", "subject", m->csr.subject, "cert_sha256", cert_digest(leaf)), e);
	if (ret < 0)
		return ret;
	leaf_pem = id_x509_to_pem(leaf);
	ca_pem = id_x509_to_pem(ca.x509);
	if (leaf_pem && ca_pem)
		*answer = json_pack("{s:[s, s, s]}", "certificate_chain", leaf_pem, ca_pem, k->root_pem);
	return *answer ? 0 : no_memory(e);
}

/* Anybody may have it: it is what an app's environment is encrypted with. Not recorded. */
static int env_key(struct keys *k, const struct kms_msg_request *m, struct in blob, json_t **answer, struct err *e)
{
	uint8_t secret[ID_SCALAR_LEN], public[ID_X25519_LEN], sig[ID_K256_SIG_LEN], sig_v1[ID_K256_SIG_LEN];
	uint64_t now = (uint64_t)time(NULL);
	bool ok = id_app_env_key(k->roots.p256, m->boot.app_id, secret, public) &&
		  id_app_env_signature(k->roots.k256, m->boot.app_id, public, NULL, sig) &&
		  id_app_env_signature(k->roots.k256, m->boot.app_id, public, &now, sig_v1);

	(void)blob;
	OPENSSL_cleanse(secret, sizeof(secret));
	if (!ok)
		return err_at(e, -EIO, "keys", "can not be derived");
	*answer = json_pack("{s:o, s:o, s:I, s:o}", "public_key", json_hex(public, sizeof(public)), "signature",
			    json_hex(sig, sizeof(sig)), "timestamp", (json_int_t)now, "signature_v1",
			    json_hex(sig_v1, sizeof(sig_v1)));
	return *answer ? 0 : no_memory(e);
}

static char *key_pem(const uint8_t scalar[ID_SCALAR_LEN])
{
	EVP_PKEY *key = id_key_from_scalar("prime256v1", scalar);
	char *pem = key ? id_key_to_pem(key) : NULL;

	EVP_PKEY_free(key);
	return pem;
}

static int kms_keys_out(struct keys *k, const struct kms_msg_request *m, struct in blob, json_t **answer, struct err *e)
{
	auto_free char *root = key_pem(k->roots.p256), *temp = key_pem(k->roots.temp);
	int ret;

	(void)blob;
	if (!k->conf->onboard)
		return err_at(e, -EPERM, "request", "this KMS hands its keys to nobody (onboard is off)");
	ret = root && temp ? record(k, "root-keys", m, NULL, e) : no_memory(e);
	if (!ret)
		*answer = json_pack("{s:s, s:[{s:s, s:o}]}", "temp_ca_key", temp, "keys", "ca_key", root, "k256_key",
				    json_hex(k->roots.k256, ID_SCALAR_LEN));
	if (root)
		OPENSSL_cleanse(root, strlen(root));
	return ret || *answer ? ret : no_memory(e);
}

/* --- messages --- */

static int run(struct keys *k, const struct ipc_msg *msg, const struct kms_msg_request *m, json_t **answer,
	       struct err *e)
{
	static int (*const runs[])(struct keys * k, const struct kms_msg_request *m, struct in blob, json_t **answer,
				   struct err *e) = { [KMS_MSG_APP_KEYS] = app_keys,
						      [KMS_MSG_SIGN] = sign,
						      [KMS_MSG_ENV_KEY] = env_key,
						      [KMS_MSG_KMS_KEYS] = kms_keys_out };
	auto_free uint8_t *blob = NULL;
	size_t len = 0;

	if (msg->type >= ARRAY_LEN(runs) || !runs[msg->type])
		return err_at(e, -EPROTO, "keys", "message of unknown type %u", msg->type);
	if (msg->fd >= 0 && ipc_blob_read(msg->fd, ID_CSR_MAX, &blob, &len) < 0)
		return err_at(e, -EPROTO, "keys", "message can not be read");
	return runs[msg->type](k, m, in_of(blob, len), answer, e);
}

static void on_message(struct ipc_msg *msg, void *arg)
{
	const struct kms_msg_request *given = ipc_as(msg, sizeof(*given));
	struct kms_msg_request *m = given ? malloc(sizeof(*m)) : NULL;
	auto_json json_t *answer = NULL;
	struct kms_msg_answer told = { 0 };
	struct keys *k = arg;
	char *text = NULL;

	if (!m)
		return;
	*m = *given;
	/* texts end, whoever wrote them */
	m->from[sizeof(m->from) - 1] = m->gateway_app_id[sizeof(m->gateway_app_id) - 1] = '\0';
	m->boot.tee_variant[sizeof(m->boot.tee_variant) - 1] = '\0';
	m->boot.tcb_status[sizeof(m->boot.tcb_status) - 1] = '\0';
	m->csr.org[sizeof(m->csr.org) - 1] = m->csr.subject[sizeof(m->csr.subject) - 1] = '\0';
	for (size_t i = 0; i < ID_ISSUE_MAX_NAMES; i++)
		m->csr.alt_name[i][ID_CSR_NAME_MAX] = '\0';
	told.id = m->id;
	told.code = run(k, msg, m, &answer, &told.err);
	text = told.code ? NULL : json_dumps(answer, JSON_COMPACT);
	if (!told.code && !text)
		told.code = no_memory(&told.err);
	if (ipc_send_blob(k->front, KMS_MSG_ANSWER, &told, sizeof(told), text ? text : "", text ? strlen(text) : 0) < 0)
		log_err("an answer can not be sent");
	if (text)
		OPENSSL_clear_free(text, strlen(text) + 1);
	free(m);
}

/* --- start --- */

static int rpc_record(struct keys *k, X509 *cert, struct err *e)
{
	auto_json json_t *o = json_pack("{s:s, s:s, s:o}", "what", "start", "domain", k->conf->domain, "cert_sha256",
					cert_digest(cert));
	auto_free char *text = o ? json_dumps(o, JSON_COMPACT) : NULL;

	if (!text)
		return no_memory(e);
	text[strlen(text) - 1] = '\0'; /* without its braces */
	return kms_audit_append(&k->audit, time(NULL), text + 1, e);
}

/* Issued anew at each start; its key is the front's, its evidence the agent's. */
static int rpc_cert(struct keys *k, char **cert, char **secret, struct err *e)
{
	auto_call(cleanup_pkey) EVP_PKEY *key = id_p256_new();
	auto_free uint8_t *attestation = NULL;
	auto_call(cleanup_x509) X509 *leaf = NULL;
	auto_free char *pem = NULL;
	struct id_leaf_request req = { .subject = k->conf->domain,
				       .alt_name = { k->conf->domain },
				       .n_alt_names = 1,
				       .for_server = true,
				       .for_client = true,
				       .not_before = time(NULL) - 300,
				       .not_after = time(NULL) + RPC_LIFE_S,
				       .usage = ID_USAGE_KMS };
	uint8_t spki[ID_SPKI_LEN], report_data[ID_REPORT_DATA_LEN];
	size_t len = 0;
	int ret = key && id_p256_spki(key, spki) && id_cert_report_data(spki, report_data) ? 0 : no_memory(e);

	if (!ret && k->conf->agent[0])
		ret = kms_own_evidence(k->conf, report_data, &attestation, &len, e);
	if (attestation)
		req.attestation = in_of(attestation, len);
	if (!ret)
		ret = id_leaf(&k->root, key, &req, &leaf, e);
	if (!ret)
		ret = rpc_record(k, leaf, e);
	if (ret < 0)
		return ret;
	pem = id_x509_to_pem(leaf);
	*secret = id_key_to_pem(key);
	if (!pem || !*secret || asprintf(cert, "%s%s", pem, k->root_pem) < 0) {
		*cert = NULL;
		return no_memory(e);
	}
	return 0;
}

static json_t *bootstrap_info(const struct kms_conf *conf)
{
	auto_free char *text = NULL;
	char path[PATH_MAX];
	struct err e = ERR_INIT;
	size_t len;

	if (kms_path(conf, "bootstrap-info.json", path, &e) < 0 || file_read(path, KMS_BODY_MAX, &text, &len, &e) < 0)
		return json_null(); /* a KMS that was on-boarded has none */
	return json_loadb(text, len, 0, NULL) ?: json_null();
}

/* What the front answers with by itself. The temp CA's key is everybody's. */
static int ready_make(struct keys *k, json_t **ready, struct err *e)
{
	auto_call(id_authority_fini) struct id_authority temp = { 0 };
	auto_free char *cert = NULL, *secret = NULL, *temp_cert = NULL, *temp_key = key_pem(k->roots.temp);
	uint8_t k256[ID_K256_POINT_LEN];
	int ret = rpc_cert(k, &cert, &secret, e);

	if (!ret)
		ret = id_root_ca(k->roots.temp, "Dstack Client Temp CA", time(NULL), &temp, e);
	if (ret < 0)
		return ret;
	temp_cert = id_x509_to_pem(temp.x509);
	if (!id_k256_public(k->roots.k256, k256) || !temp_cert || !temp_key)
		return no_memory(e);
	*ready = json_pack("{s:s, s:s, s:s, s:s, s:s, s:o, s:o}", "ca_cert", k->root_pem, "temp_ca_cert", temp_cert,
			   "temp_ca_key", temp_key, "cert", cert, "key", secret, "k256_pubkey",
			   json_hex(k256, sizeof(k256)), "bootstrap_info", bootstrap_info(k->conf));
	OPENSSL_cleanse(secret, strlen(secret));
	return *ready ? 0 : no_memory(e);
}

/* The certificate that clients have pinned stays the same file. It is public; that it is of our key is checked. */
static int root_load(struct keys *k, struct err *e)
{
	auto_free char *pem = NULL;
	char path[PATH_MAX];
	X509 *x509 = NULL;
	size_t len;
	int ret = kms_path(k->conf, "root-ca.pem", path, e);

	if (!ret)
		ret = file_read(path, KMS_BODY_MAX, &pem, &len, e);
	if (ret < 0)
		return ret;
	if (id_x509_from_pem(pem, len, &x509, 1) != 1 || X509_check_private_key(x509, k->root.key) != 1) {
		X509_free(x509);
		return err_at(e, -EBADMSG, path, "is not the certificate of the sealed root key");
	}
	X509_free(k->root.x509);
	k->root.x509 = x509;
	k->root_pem = take_ptr(pem);
	return 0;
}

static int open_all(struct keys *k, struct err *e)
{
	int ret = kms_roots_load(k->conf, &k->roots, e);

	if (!ret)
		ret = id_root_ca(k->roots.p256, "Dstack KMS CA", time(NULL), &k->root, e);
	if (!ret)
		ret = root_load(k, e);
	return ret ? ret : kms_audit_open(k->conf->state, k->root.key, &k->audit, e);
}

static int send_ready(struct keys *k, struct err *e)
{
	auto_json json_t *ready = NULL;
	char *text;
	int ret = ready_make(k, &ready, e);

	if (ret < 0)
		return ret;
	text = json_dumps(ready, JSON_COMPACT);
	ret = text ? ipc_send_blob(k->front, KMS_MSG_READY, NULL, 0, text, strlen(text)) : -ENOMEM;
	if (text)
		OPENSSL_clear_free(text, strlen(text) + 1);
	return ret < 0 ? err_at(e, ret, "front process", "is not there: %s", strerror(-ret)) : 0;
}

int kms_keys(const struct kms_conf *conf, int front_fd)
{
	struct keys k = { .conf = conf, .base = event_base_new(), .audit = { .log = -1, .head = -1 } };
	struct err e = ERR_INIT;
	int ret = k.base ? 0 : no_memory(&e);

	if (!ret)
		ret = open_all(&k, &e);
	if (!ret)
		ret = ipc_new(k.base, front_fd, on_message, NULL, &k, &k.front);
	if (!ret)
		ret = send_ready(&k, &e);
	if (!ret)
		ret = kms_box(conf, box_keys, &e);
	if (!ret)
		event_base_dispatch(k.base);
	ipc_free(k.front);
	kms_audit_close(&k.audit);
	id_authority_fini(&k.root);
	kms_roots_fini(&k.roots);
	free(k.root_pem);
	return ret < 0 ? kms_process_failed("keys", ret, &e) : 1;
}
