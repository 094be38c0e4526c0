// SPDX-License-Identifier: Apache-2.0
#include "attestation.h"

#include <errno.h>
#include <jansson.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "crypto.h"
#include "msgpack.h"

#define WHERE     "attestation"
#define APP_INFO  "app_info"
#define MR_CONFIG "mr_config"

DEFINE_CLEANUP(json, json_t, json_decref)

void id_attestation_fini(struct id_attestation *att)
{
	id_events_fini(&att->events);
	id_events_fini(&att->runtime);
	free(att->bytes);
	*att = (struct id_attestation){ 0 };
}

int id_attestation_read(const uint8_t *bytes, size_t len, struct id_attestation *att, struct err *e)
{
	auto_call(id_attestation_fini) struct id_attestation made = { 0 };
	bool is_unsupported = false, ok;

	if (!len || len > ID_ATTESTATION_MAX)
		return err_reason(e, ID_ATTESTATION_MALFORMED, WHERE, "%zu bytes, 1 to %d are read", len,
				  ID_ATTESTATION_MAX);
	made.bytes = malloc(len); /* an array of numbers takes at least a byte for each */
	if (!made.bytes)
		return err_at(e, -ENOMEM, WHERE, "out of memory");
	made.version = bytes[0] != 0;
	ok = made.version ? id_attestation_msgpack(in_of(bytes, len), &made, &is_unsupported)
			  : id_attestation_scale(in_of(bytes, len), &made, &is_unsupported);
	if (is_unsupported)
		return err_reason(e, ID_QUOTE_UNSUPPORTED, WHERE, "is of a platform that can not be verified here");
	if (!ok)
		return err_reason(e, ID_ATTESTATION_MALFORMED, WHERE, "is not exactly dstack's version %u",
				  made.version);
	*att = made;
	made = (struct id_attestation){ 0 };
	return 0;
}

/* --- app_info --- */

static bool fixed(struct in *in, uint8_t *dst, size_t len)
{
	struct in bytes;

	return mp_bin(in, &bytes) && in_bytes(&bytes, dst, len) && !bytes.left;
}

static bool fixed_or_empty(struct in *in, uint8_t *dst, size_t len, bool *has)
{
	struct in bytes;

	if (!mp_bin(in, &bytes))
		return false;
	*has = bytes.left > 0;
	return !*has || (in_bytes(&bytes, dst, len) && !bytes.left);
}

/* nil, or an array of at most five hashes */
static bool scripts_read(struct in *in, struct id_app_info *info)
{
	struct mp_item item;

	if (!mp_read(in, &item) || (item.type != MP_NIL && item.type != MP_ARRAY) || item.n > ID_INIT_SCRIPTS_MAX)
		return false;
	info->has_init_scripts = item.type == MP_ARRAY;
	info->n_init_scripts = item.n;
	for (uint32_t i = 0; i < item.n; i++)
		if (!fixed(in, info->init_script[i], ID_HASH_LEN))
			return false;
	return true;
}

int id_app_info_read(struct in in, struct id_app_info *info, struct err *e)
{
	struct id_app_info made = { 0 };
	uint32_t n;

	if (!mp_array(&in, &n) || n < 8 || n > 9 || !fixed(&in, made.app_id, sizeof(made.app_id)) ||
	    !fixed(&in, made.compose_hash, ID_HASH_LEN) ||
	    !fixed_or_empty(&in, made.instance_id, BY_INSTANCE_ID_LEN, &made.has_instance_id) ||
	    !fixed(&in, made.device_id, ID_HASH_LEN) || !fixed(&in, made.mr_system, ID_HASH_LEN) ||
	    !fixed(&in, made.mr_aggregated, ID_HASH_LEN) ||
	    !fixed_or_empty(&in, made.os_image_hash, ID_HASH_LEN, &made.has_os_image_hash) ||
	    !mp_bin(&in, &made.key_provider) || (n == 9 && !scripts_read(&in, &made)) || in.left)
		return err_reason(e, ID_CERT_EXTENSION, APP_INFO,
				  "extension .1.9 is not an app_info of 8 or 9 elements");
	*info = made;
	return 0;
}

/* --- mr_config --- */

static bool hex_member(const json_t *object, const char *name, uint8_t *dst, size_t len, bool *has)
{
	const json_t *member = json_object_get(object, name);

	*has = member && !json_is_null(member) && json_string_length(member);
	return !*has || hex_parse(dst, len, json_string_value(member));
}

static bool members_are_known(json_t *object)
{
	static const char *const known[] = { "version",      "app_id",          "compose_hash", "gpu_policy_hash",
					     "key_provider", "key_provider_id", "instance_id",  "init_script_hashes" };
	const char *name;
	json_t *member;

	json_object_foreach (object, name, member) {
		bool found = false;

		for (size_t i = 0; i < ARRAY_LEN(known); i++)
			found = found || strcmp(name, known[i]) == 0;
		if (!found)
			return false;
	}
	return true;
}

static bool document_read(json_t *object, struct id_log *log)
{
	static const struct {
		const char *word, *name; /* of the document, and of key-provider events */
	} providers[] = { { "none", "none" }, { "local", "local-sgx" }, { "kms", "kms" }, { "tpm", "tpm" } };
	const json_t *version = json_object_get(object, "version");
	const char *provider = json_string_value(json_object_get(object, "key_provider"));
	bool has_app_id, has_compose;

	if (!json_is_object(object) || !members_are_known(object) || (version && json_integer_value(version) != 3) ||
	    !hex_member(object, "app_id", log->app_id, BY_APP_ID_LEN, &has_app_id) || !has_app_id ||
	    !hex_member(object, "compose_hash", log->compose_hash, ID_HASH_LEN, &has_compose) || !has_compose ||
	    !hex_member(object, "instance_id", log->instance_id, BY_INSTANCE_ID_LEN, &log->has_instance_id) ||
	    !provider)
		return false;
	for (size_t i = 0; i < ARRAY_LEN(providers); i++)
		if (strcmp(provider, providers[i].word) == 0)
			strcpy(log->key_provider, providers[i].name);
	return log->key_provider[0];
}

int id_mr_config_read(struct in document, const uint8_t host_data[32], struct id_log *log, struct err *e)
{
	static const char tag[] = "dstack-mr-config-v3:"; /* with its final zero byte */
	auto_call(cleanup_json) json_t *object = NULL;
	struct id_log made = { 0 };
	uint8_t hash[32];

	if (document.left > ID_MR_CONFIG_MAX)
		return err_reason(e, ID_EVENTLOG_MALFORMED, MR_CONFIG, "%zu bytes, at most %d are read", document.left,
				  ID_MR_CONFIG_MAX);
	if (!id_hash(EVP_sha256(), hash, tag, sizeof(tag), document.p, document.left))
		return err_at(e, -ENOMEM, MR_CONFIG, "out of memory");
	if (memcmp(hash, host_data, sizeof(hash)) != 0)
		return err_reason(e, ID_EVENTLOG_REPLAY, MR_CONFIG, "HOST_DATA of the report is not its hash");
	object = json_loadb((const char *)document.p, document.left, JSON_REJECT_DUPLICATES, NULL);
	if (!document_read(object, &made))
		return err_reason(e, ID_EVENTLOG_IDENTITY, MR_CONFIG,
				  "app_id, compose_hash and key_provider of version 3 are needed, and nothing unknown");
	*log = made;
	return 0;
}
