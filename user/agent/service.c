// SPDX-License-Identifier: Apache-2.0
/* DstackGuest: the calls of dstack.sock. */
#include <errno.h>
#include <openssl/crypto.h>
#include <string.h>
#include <time.h>

#include "base/file.h"
#include "internal.h"
#include "kms.h"

static int no_memory(struct err *e)
{
	return err_at(e, -ENOMEM, "agent", "out of memory");
}

static int get_tls_key(struct agent *agent, const json_t *args, json_t **answer, struct err *e)
{
	return ag_tls_key(agent, &(struct tls_request){ .args = args }, answer, e);
}

static int algorithm_read(const json_t *args, enum ag_algorithm *algorithm, struct err *e)
{
	const char *name;
	int ret = arg_text(args, "algorithm", &name, e);

	if (ret < 0)
		return ret;
	return ag_algorithm_parse(name, algorithm)
		       ? 0
		       : err_at(e, -EINVAL, "algorithm",
				"Unsupported algorithm: \"%.32s\"; there are secp256k1 and ed25519", name);
}

int ag_key_answer(struct agent *agent, const json_t *args, const char *key_name, const char *chain_name,
		  json_t **answer, struct err *e)
{
	const char *path, *purpose;
	enum ag_algorithm algorithm;
	struct ag_key key;
	int ret;

	if (arg_text(args, "path", &path, e) < 0 || arg_text(args, "purpose", &purpose, e) < 0 ||
	    algorithm_read(args, &algorithm, e) < 0)
		return e->code;
	if (algorithm == AG_K256_PREHASHED)
		return err_at(e, -EINVAL, "algorithm", "Unsupported algorithm: it is one for signatures");
	ret = ag_key_derive(&agent->keys, path, purpose, algorithm, &key, e);
	if (ret < 0)
		return ret;
	*answer = json_pack("{s:o, s:[o, o]}", key_name, json_hex(key.secret, sizeof(key.secret)), chain_name,
			    json_hex(key.signature, sizeof(key.signature)),
			    json_hex(agent->keys.app_signature, sizeof(agent->keys.app_signature)));
	OPENSSL_cleanse(&key, sizeof(key));
	return *answer ? 0 : no_memory(e);
}

static int get_key(struct agent *agent, const json_t *args, json_t **answer, struct err *e)
{
	return ag_key_answer(agent, args, "key", "signature_chain", answer, e);
}

/* report_data of a request, zeros behind it, and a quote over it. */
static int quote_asked(struct agent *agent, const json_t *args, struct evidence *ev, struct err *e)
{
	auto_free uint8_t *given = NULL;
	size_t len;
	int ret = arg_bytes(args, "report_data", sizeof(ev->report_data), &given, &len, e);

	if (ret < 0)
		return ret;
	memcpy(ev->report_data, given, len);
	return evidence_get(agent, ev, e);
}

static int get_quote(struct agent *agent, const json_t *args, json_t **answer, struct err *e)
{
	auto_call(evidence_fini) struct evidence ev = { 0 };
	int ret = quote_asked(agent, args, &ev, e);

	if (ret < 0)
		return ret;
	*answer =
		json_pack("{s:o, s:s, s:o, s:s}", "quote", json_hex(ev.quote, ev.quote_len), "event_log", ev.event_log,
			  "report_data", json_hex(ev.report_data, sizeof(ev.report_data)), "vm_config", "");
	return *answer ? 0 : no_memory(e);
}

static int attest(struct agent *agent, const json_t *args, json_t **answer, struct err *e)
{
	auto_call(evidence_fini) struct evidence ev = { 0 };
	auto_out struct out attestation = { 0 };
	int ret = quote_asked(agent, args, &ev, e);

	if (!ret)
		ret = evidence_attestation(&ev, false, &attestation, e);
	if (ret < 0)
		return ret;
	*answer = json_pack("{s:o}", "attestation", json_hex(attestation.data, attestation.len));
	return *answer ? 0 : no_memory(e);
}

/* As dstack's agents up to 0.5.11: what is emitted is in every later quote and can not be taken back. */
static int emit_event(struct agent *agent, const json_t *args, json_t **answer, struct err *e)
{
	auto_free uint8_t *payload = NULL;
	const char *event;
	size_t len;

	if (arg_text(args, "event", &event, e) < 0 || arg_bytes(args, "payload", AG_EVENT_MAX, &payload, &len, e) < 0)
		return e->code;
	if (!event[0])
		return err_at(e, -EINVAL, "event", "a name is needed");
	if (!agent->tee->ops->emit)
		return err_at(e, -EOPNOTSUPP, "event", "RTMR3 can not be extended by way of %s", agent->tee->ops->name);
	if (agent->tee->ops->emit(agent->tee, event, payload, len, e) < 0)
		return e->code;
	*answer = json_null();
	return 0;
}

#define SIGN_PATH    "vms"
#define SIGN_PURPOSE "signing"

static int sign(struct agent *agent, const json_t *args, json_t **answer, struct err *e)
{
	uint8_t signature[AG_SIGNATURE_LEN];
	auto_free uint8_t *data = NULL;
	enum ag_algorithm algorithm;
	struct ag_key key;
	size_t len;
	int ret;

	if (algorithm_read(args, &algorithm, e) < 0 || arg_bytes(args, "data", AG_DATA_MAX, &data, &len, e) < 0)
		return e->code;
	ret = ag_key_derive(&agent->keys, SIGN_PATH, SIGN_PURPOSE, algorithm, &key, e);
	if (!ret)
		ret = ag_key_sign(&key, data, len, signature, e);
	if (!ret) {
		*answer = json_pack("{s:o, s:[o, o, o], s:o}", "signature", json_hex(signature, sizeof(signature)),
				    "signature_chain", json_hex(signature, sizeof(signature)),
				    json_hex(key.signature, sizeof(key.signature)),
				    json_hex(agent->keys.app_signature, sizeof(agent->keys.app_signature)),
				    "public_key", json_hex(key.public, key.public_len));
		ret = *answer ? 0 : no_memory(e);
	}
	OPENSSL_cleanse(&key, sizeof(key));
	return ret;
}

static int verify(struct agent *agent, const json_t *args, json_t **answer, struct err *e)
{
	auto_free uint8_t *data = NULL, *signature = NULL, *public = NULL;
	size_t len, signature_len, public_len;
	enum ag_algorithm algorithm;
	bool is_valid;

	(void)agent;
	if (algorithm_read(args, &algorithm, e) < 0 || arg_bytes(args, "data", AG_DATA_MAX, &data, &len, e) < 0 ||
	    arg_bytes(args, "signature", 128, &signature, &signature_len, e) < 0 ||
	    arg_bytes(args, "public_key", 128, &public, &public_len, e) < 0 ||
	    ag_verify(algorithm, public, public_len, data, len, signature, signature_len, &is_valid, e) < 0)
		return e->code;
	*answer = json_pack("{s:b}", "valid", is_valid);
	return *answer ? 0 : no_memory(e);
}

static int info(struct agent *agent, const json_t *args, json_t **answer, struct err *e)
{
	(void)args;
	return ag_info(agent, answer, e);
}

/* dstack gives what its boot saved of a GPU; nothing is saved here, and dstack says that by an empty text. */
static int gpu_info(struct agent *agent, const json_t *args, json_t **answer, struct err *e)
{
	(void)agent;
	(void)args;
	*answer = json_pack("{s:s}", "attestation", "");
	return *answer ? 0 : no_memory(e);
}

int ag_version(struct agent *agent, const json_t *args, json_t **answer, struct err *e)
{
	(void)agent;
	(void)args;
	*answer = json_pack("{s:s, s:s}", "version", AG_VERSION, "rev", "bailey");
	return *answer ? 0 : no_memory(e);
}

int ag_call(struct agent *agent, enum ag_service service, const char *method, const json_t *args, json_t **answer,
	    struct err *e)
{
	static const struct {
		const char *name;
		int (*run)(struct agent *agent, const json_t *args, json_t **answer, struct err *e);
	} methods[] = {
		{ "GetTlsKey", get_tls_key }, { "GetKey", get_key },    { "GetQuote", get_quote }, { "Attest", attest },
		{ "EmitEvent", emit_event },  { "Info", info },         { "Sign", sign },          { "Verify", verify },
		{ "GpuInfo", gpu_info },      { "Version", ag_version }
	};

	if (service == AG_TAPPD)
		return ag_tappd_call(agent, method, args, answer, e);
	for (size_t i = 0; i < ARRAY_LEN(methods); i++)
		if (strcmp(method, methods[i].name) == 0)
			return methods[i].run(agent, args, answer, e);
	return err_at(e, -ENOENT, "request", "Service not found: %.64s", method);
}

int ag_new(const struct ag_conf *conf, struct ag_tee *tee, struct agent **agent, struct err *e)
{
	struct agent *made = calloc(1, sizeof(*made));
	size_t len;
	int ret;

	if (!made)
		return no_memory(e);
	made->conf = *conf;
	ret = ag_keys_load(conf->state, conf->app_id, time(NULL), &made->keys, e);
	if (!ret)
		ret = file_read(conf->compose, AG_COMPOSE_MAX, &made->compose, &len, e);
	made->tee = tee;
	if (!ret && conf->kms)
		ret = file_read(conf->kms_ca, AG_KMS_CA_MAX, &made->kms_ca, &len, e);
	if (!ret && conf->kms)
		ret = ag_kms_keys(made, e);
	if (ret < 0) {
		made->tee = NULL; /* still the caller's */
		ag_free(made);
		return ret;
	}
	*agent = made;
	return 0;
}

void ag_free(struct agent *agent)
{
	if (!agent)
		return;
	ag_tee_close(agent->tee);
	ag_keys_fini(&agent->keys);
	free(agent->compose);
	free(agent->kms_ca);
	free(agent);
}

void ag_tee_close(struct ag_tee *tee)
{
	if (tee)
		tee->ops->close(tee);
}
