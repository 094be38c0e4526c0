// SPDX-License-Identifier: Apache-2.0
/*
 * The calls. Those that give something away run in this order: arguments, evidence, authority, keys. Whatever fails on
 * the way is the answer; nothing is tried again.
 */
#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent_ssl.h>
#include <openssl/crypto.h>
#include <string.h>
#include <time.h>

#include "agent/prpc.h"
#include "base/log.h"
#include "base/text.h"
#include "front.h"

#define KEYS_WAIT_S 20

/* --- calls that wait --- */

static void call_free(struct call *call)
{
	struct front *front = call->front;

	TAILQ_REMOVE(&front->calls, call, link);
	front->n_calls--;
	if (call->req)
		evhttp_connection_set_closecb(evhttp_request_get_connection(call->req), NULL, NULL);
	if (call->is_asked)
		front->n_asks--;
	if (call->deadline)
		event_free(call->deadline);
	out_fini(&call->blob);
	free(call);
}

static void refuse(struct front *front, struct evhttp_request *req, const struct err *e)
{
	char text[sizeof(e->where) + sizeof(e->msg) + 3];

	front->count.refused++;
	log_limited(LOG_WARN, "refused: %s%s%s", e->reason ? id_reason_name(e->reason) : "", e->reason ? ": " : "",
		    err_text(e, text, sizeof(text)));
	prpc_reply_error(req, e);
}

static void call_fail(struct call *call, const struct err *e)
{
	struct evhttp_request *req = call->req;

	if (req)
		refuse(call->front, req, e);
	call_free(call);
}

static void on_close(struct evhttp_connection *conn, void *arg)
{
	struct call *call = arg;

	(void)conn;
	call->req = NULL; /* what comes for it is dropped when it comes */
}

static void on_deadline(evutil_socket_t fd, short what, void *arg)
{
	struct call *call = arg;
	struct err e = ERR_INIT;

	(void)fd, (void)what;
	err_at(&e, -ETIMEDOUT, "request", "%s does not answer in time",
	       call->is_asked ? "authorization" : "the key process");
	if (call->req)
		refuse(call->front, call->req, &e);
	if (call->req)
		evhttp_connection_set_closecb(evhttp_request_get_connection(call->req), NULL, NULL);
	call->req = NULL;
	if (!call->is_asked) /* the asker works on: the call counts until it has answered */
		call_free(call);
}

static struct call *call_new(struct front *front, struct evhttp_request *req, enum kms_msg_type op)
{
	const struct timeval wait = { .tv_sec = (time_t)front->conf->timeout_s + KEYS_WAIT_S };
	struct call *call = front->n_calls < FRONT_CALLS_MAX ? calloc(1, sizeof(*call)) : NULL;
	char *host = NULL;
	uint16_t port = 0;

	if (!call)
		return NULL;
	call->front = front;
	call->op = op;
	call->m.id = ++front->next_id;
	evhttp_connection_get_peer(evhttp_request_get_connection(req), &host, &port);
	snprintf(call->m.from, sizeof(call->m.from), "%.46s", host ? host : "");
	TAILQ_INSERT_TAIL(&front->calls, call, link);
	front->n_calls++;
	call->deadline = evtimer_new(front->base, on_deadline, call);
	if (!call->deadline || event_add(call->deadline, &wait) < 0) {
		call_free(call);
		return NULL;
	}
	return call;
}

static struct call *call_find(struct front *front, uint64_t id)
{
	struct call *call;

	TAILQ_FOREACH(call, &front->calls, link)
	if (call->m.id == id)
		return call;
	return NULL;
}

/* --- authority, keys --- */

static int to_keys(struct call *call, struct err *e)
{
	int ret = ipc_send_blob(call->front->keys, call->op, &call->m, sizeof(call->m),
				call->blob.data ? (void *)call->blob.data : "", call->blob.len);

	return ret < 0 ? err_at(e, ret, "request", "the key process is not there") : 0;
}

static int decided(struct call *call, const struct kms_decision *decision, struct err *e)
{
	if (!decision->is_allowed)
		return err_at(e, -EACCES, "request", "Boot denied: %.200s",
			      decision->reason[0] ? decision->reason : "no reason given");
	memcpy(call->m.gateway_app_id, decision->gateway_app_id, sizeof(call->m.gateway_app_id));
	return to_keys(call, e);
}

static int authorize(struct call *call, enum kms_ask ask, struct err *e)
{
	struct kms_msg_ask m = { .id = call->m.id, .ask = ask };
	struct front *front = call->front;
	struct kms_decision decision;
	auto_free char *body = NULL;

	if (front->allow) {
		kms_allow_decide(front->allow, ask, &call->m.boot, &decision);
		return decided(call, &decision, e);
	}
	if (front->n_asks >= FRONT_ASKS_MAX)
		return err_at(e, -EBUSY, "request", "authorization is busy");
	body = kms_boot_json(&call->m.boot);
	if (!body || ipc_send_blob(front->asker, KMS_MSG_ASK, &m, sizeof(m), body, strlen(body)) < 0)
		return err_at(e, -EPIPE, "request", "authorization can not be asked");
	call->is_asked = true;
	front->n_asks++;
	return 0;
}

void kms_rpc_told(struct front *front, const struct kms_msg_told *told)
{
	struct call *call = told ? call_find(front, told->id) : NULL;
	struct err e = ERR_INIT;
	int ret;

	if (!call || !call->is_asked)
		return;
	call->is_asked = false;
	front->n_asks--;
	if (!call->req) {
		call_free(call);
		return;
	}
	ret = told->code;
	if (ret < 0)
		e = told->err;
	else
		ret = decided(call, &told->decision, &e);
	if (ret < 0)
		call_fail(call, &e);
}

void kms_rpc_answered(struct front *front, struct ipc_msg *msg)
{
	const struct kms_msg_answer *m = ipc_as(msg, sizeof(*m));
	struct call *call = m ? call_find(front, m->id) : NULL;
	auto_json json_t *answer = NULL;
	uint8_t *text = NULL;
	size_t len = 0;

	if (!call)
		return;
	if (!call->req || m->code) {
		call_fail(call, &m->err);
		return;
	}
	if (ipc_blob_read(msg->fd, 4u << 20, &text, &len) == 0)
		answer = json_loadb((char *)text, len, 0, NULL);
	front->count.answered++;
	prpc_reply(call->req, 200, answer);
	if (text)
		OPENSSL_cleanse(text, len);
	free(text);
	call_free(call);
}

/* --- evidence --- */

static int attested(struct front *front, int ret)
{
	front->count.attestations++;
	front->count.attestations_failed += ret < 0;
	return ret;
}

/* Of the client's certificate: TLS has proved its key, the CA that it may come from proves nothing. */
static int peer_verify(struct front *front, struct evhttp_request *req, const char *usage, struct kms_msg_request *m,
		       struct err *e)
{
	struct bufferevent *bev = evhttp_connection_get_bufferevent(evhttp_request_get_connection(req));
	X509 *cert = SSL_get0_peer_certificate(bufferevent_openssl_get_ssl(bev));
	struct id_trust trust = evp_trust_now(front->trust);
	unsigned char *der = NULL;
	int len, ret;

	if (!cert)
		return err_at(e, -EACCES, "request", "a client certificate with evidence is needed");
	trust.usage = usage;
	len = i2d_X509(cert, &der);
	ret = len > 0 ? kms_verify_cert(der, (size_t)len, &trust, &m->boot, e) : -ENOMEM;
	if (!ret) {
		uint8_t spki[ID_SPKI_LEN];

		if (!id_p256_spki(X509_get0_pubkey(cert), spki) ||
		    !id_hash(EVP_sha256(), m->spki_sha256, spki, sizeof(spki), NULL, 0))
			ret = err_at(e, -ENOMEM, "request", "out of memory");
	}
	OPENSSL_free(der);
	return attested(front, ret);
}

/* --- arguments --- */

static int version_check(const json_t *args, json_int_t min, json_int_t max, json_int_t *version, struct err *e)
{
	const json_t *value = json_object_get(args, "api_version");

	*version = json_is_integer(value) ? json_integer_value(value) : 0;
	if ((value && !json_is_integer(value)) || *version < min || *version > max)
		return err_at(e, -EINVAL, "request", "Unsupported API version: %lld", (long long)*version);
	return 0;
}

static int bytes_read(const json_t *args, const char *name, size_t max, struct out *bytes, struct err *e)
{
	const json_t *value = json_object_get(args, name);
	const char *hex = json_is_string(value) ? json_string_value(value) : value ? "x" : "";
	auto_free uint8_t *made = NULL;
	size_t len;

	while (strncmp(hex, "0x", 2) == 0)
		hex += 2;
	len = strlen(hex);
	if (len / 2 > max)
		return err_at(e, -EINVAL, name, "has %zu bytes, the limit is %zu", len / 2, max);
	made = malloc(len / 2 + 1);
	if (!made)
		return err_at(e, -ENOMEM, name, "out of memory");
	if (len % 2 || !hex_parse(made, len / 2, hex))
		return err_at(e, -EINVAL, name, "is not hex");
	out_bytes(bytes, made, len / 2);
	return out_ok(bytes) ? 0 : err_at(e, -ENOMEM, name, "out of memory");
}

/* --- the calls --- */

static int get_app_key(struct call *call, const json_t *args, struct err *e)
{
	json_int_t version;
	int ret = version_check(args, 0, 1, &version, e);

	if (!ret)
		ret = peer_verify(call->front, call->req, NULL, &call->m, e);
	return ret ? ret : authorize(call, KMS_ASK_APP, e);
}

static int get_kms_key(struct call *call, const json_t *args, struct err *e)
{
	int ret;

	(void)args;
	if (!call->front->conf->onboard)
		return err_at(e, -EPERM, "request", "this KMS hands its keys to nobody (onboard is off)");
	ret = peer_verify(call->front, call->req, ID_USAGE_KMS, &call->m, e);
	return ret ? ret : authorize(call, KMS_ASK_KMS, e);
}

static int get_env_key(struct call *call, const json_t *args, struct err *e)
{
	auto_out struct out id = { 0 };
	int ret = bytes_read(args, "app_id", 64, &id, e);

	if (ret < 0)
		return ret;
	if (id.len != BY_APP_ID_LEN)
		return err_at(e, -EINVAL, "request", "app_id must be 20 bytes");
	memcpy(call->m.boot.app_id, id.data, BY_APP_ID_LEN);
	return to_keys(call, e);
}

/* What evidence proves, in the certificate; the issuer's word for whoever trusts it. */
static void put_app_info(struct call *call)
{
	const struct kms_boot *boot = &call->m.boot;
	struct id_app_info info = { .has_instance_id = boot->has_instance_id,
				    .has_os_image_hash = boot->has_os_image_hash,
				    .key_provider = in_of(boot->key_provider, boot->key_provider_len) };
	size_t before = call->blob.len;

	memcpy(info.app_id, boot->app_id, BY_APP_ID_LEN);
	memcpy(info.compose_hash, boot->compose_hash, ID_HASH_LEN);
	memcpy(info.instance_id, boot->instance_id, BY_INSTANCE_ID_LEN);
	memcpy(info.device_id, boot->device_id, ID_HASH_LEN);
	memcpy(info.mr_system, boot->mr_system, ID_HASH_LEN);
	memcpy(info.mr_aggregated, boot->mr_aggregated, ID_HASH_LEN);
	memcpy(info.os_image_hash, boot->os_image_hash, ID_HASH_LEN);
	id_app_info_write(&call->blob, &info);
	call->m.app_info_len = (uint32_t)(call->blob.len - before);
}

static uint32_t put_part(struct call *call, const struct in *part)
{
	if (part->p)
		out_bytes(&call->blob, part->p, part->left);
	return part->p ? (uint32_t)part->left : 0;
}

static int sign_cert(struct call *call, const json_t *args, struct err *e)
{
	auto_out struct out csr = { 0 }, sig = { 0 };
	struct id_trust trust = evp_trust_now(call->front->trust);
	struct kms_msg_request *m = &call->m;
	struct id_csr_evidence evidence;
	json_int_t version;
	int ret = version_check(args, 1, 2, &version, e);

	if (ret || bytes_read(args, "csr", ID_CSR_MAX, &csr, e) < 0 ||
	    bytes_read(args, "signature", ID_ECDSA_MAX, &sig, e) < 0)
		return e->code;
	ret = id_csr_read(csr.data, csr.len, (unsigned)version, sig.data, sig.len, &m->csr, &evidence, e);
	if (!ret)
		ret = attested(call->front, kms_verify_csr(&m->csr, &evidence, &trust, &m->boot, e));
	if (ret < 0)
		return ret;
	if (m->csr.with_evidence) {
		m->attestation_len = put_part(call, &evidence.attestation);
		m->quote_len = put_part(call, &evidence.quote);
		m->event_log_len = put_part(call, &evidence.event_log);
	}
	if (m->csr.with_app_info)
		put_app_info(call);
	if (!id_hash(EVP_sha256(), m->spki_sha256, m->csr.spki, ID_SPKI_LEN, NULL, 0) ||
	    (call->blob.len && !out_ok(&call->blob)))
		return err_at(e, -ENOMEM, "request", "out of memory");
	return authorize(call, KMS_ASK_APP, e);
}

static json_t *get_meta(const struct front *front)
{
	return json_pack("{s:O, s:b, s:O, s:O, s:b, s:s, s:n, s:n, s:s}", "ca_cert",
			 json_object_get(front->ready, "ca_cert"), "allow_any_upgrade", 0, "k256_pubkey",
			 json_object_get(front->ready, "k256_pubkey"), "bootstrap_info",
			 json_object_get(front->ready, "bootstrap_info"), "is_dev",
			 front->trust->policy.allow_simulated, "gateway_app_id", "", "kms_contract_address", "chain_id",
			 "app_auth_implementation", front->allow ? "bailey-allow-list" : "webhook");
}

static json_t *get_temp_ca_cert(const struct front *front)
{
	return json_pack("{s:O, s:O, s:O}", "temp_ca_cert", json_object_get(front->ready, "temp_ca_cert"),
			 "temp_ca_key", json_object_get(front->ready, "temp_ca_key"), "ca_cert",
			 json_object_get(front->ready, "ca_cert"));
}

static const struct method {
	const char *name;
	json_t *(*now)(const struct front *front);
	int (*later)(struct call *call, const json_t *args, struct err *e);
	enum kms_msg_type op;
} methods[] = { { .name = "GetMeta", .now = get_meta },
		{ .name = "GetTempCaCert", .now = get_temp_ca_cert },
		{ .name = "GetAppKey", .later = get_app_key, .op = KMS_MSG_APP_KEYS },
		{ .name = "SignCert", .later = sign_cert, .op = KMS_MSG_SIGN },
		{ .name = "GetAppEnvEncryptPubKey", .later = get_env_key, .op = KMS_MSG_ENV_KEY },
		{ .name = "GetKmsKey", .later = get_kms_key, .op = KMS_MSG_KMS_KEYS } };

static const struct method *method_find(const char *name)
{
	if (strncmp(name, "KMS.", 4) == 0)
		name += 4;
	for (size_t i = 0; i < ARRAY_LEN(methods); i++)
		if (strcmp(name, methods[i].name) == 0)
			return &methods[i];
	return NULL;
}

static void run_now(struct front *front, struct evhttp_request *req, const struct method *method)
{
	auto_json json_t *answer = method->now(front);

	front->count.answered++;
	prpc_reply(req, 200, answer);
}

static void run_later(struct front *front, struct evhttp_request *req, const struct method *method, const json_t *args)
{
	struct call *call = call_new(front, req, method->op);
	struct err e = ERR_INIT;

	if (!call) {
		err_at(&e, -EBUSY, "request", "too many calls at once");
		refuse(front, req, &e);
		return;
	}
	call->req = req;
	evhttp_connection_set_closecb(evhttp_request_get_connection(req), on_close, call);
	if (method->later(call, args, &e) < 0)
		call_fail(call, &e);
}

void kms_rpc(struct front *front, struct evhttp_request *req, const char *name)
{
	const struct method *method = method_find(name);
	auto_json json_t *args = NULL;
	struct err e = ERR_INIT;

	if (!method)
		err_at(&e, -ENOENT, "request", "Service not found: %.64s", name);
	else if (!front->ready)
		err_at(&e, -EAGAIN, "request", "the key process is not ready");
	else
		args = prpc_args(req, &e);
	if (!args)
		refuse(front, req, &e);
	else if (method->now)
		run_now(front, req, method);
	else
		run_later(front, req, method, args);
}
