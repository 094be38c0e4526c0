// SPDX-License-Identifier: Apache-2.0
/* Tappd: the calls of tappd.sock, which applications of old images still make. */
#include <errno.h>
#include <openssl/crypto.h>
#include <string.h>

#include "base/buf.h"
#include "internal.h"

#define CONTENT_MAX 65536 /* bytes that TdxQuote hashes */

static int derive_key(struct agent *agent, const json_t *args, json_t **answer, struct err *e)
{
	struct tls_request req = { .args = args, .is_legacy = true };
	uint8_t scalar[ID_SCALAR_LEN];
	const char *path;
	bool is_random;
	int ret;

	if (arg_text(args, "path", &path, e) < 0 || arg_bool(args, "random_seed", &is_random, e) < 0)
		return e->code;
	if (!is_random) {
		const struct id_part part = id_part_text(path);

		if (!id_derive(agent->keys.app_k256, &part, 1, scalar))
			return err_at(e, -EIO, "key", "can not be derived");
		req.seed = scalar;
	}
	ret = ag_tls_key(agent, &req, answer, e);
	OPENSSL_cleanse(scalar, sizeof(scalar));
	return ret;
}

static int derive_k256_key(struct agent *agent, const json_t *args, json_t **answer, struct err *e)
{
	auto_json json_t *k256 = json_pack("{s:O*, s:O*}", "path", json_object_get(args, "path"), "purpose",
					   json_object_get(args, "purpose"));

	if (!k256)
		return err_at(e, -ENOMEM, "agent", "out of memory");
	return ag_key_answer(agent, k256, "k256_key", "k256_signature_chain", answer, e);
}

/* OpenSSL's name of a hash, by dstack's. */
static const EVP_MD *hash_of(const char *name)
{
	static const char *const names[][2] = { { "", "SHA512" },           { "sha256", "SHA256" },
						{ "sha384", "SHA384" },     { "sha512", "SHA512" },
						{ "sha3-256", "SHA3-256" }, { "sha3-384", "SHA3-384" },
						{ "sha3-512", "SHA3-512" } };

	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (strcmp(name, names[i][0]) == 0)
			return EVP_get_digestbyname(names[i][1]);
	return NULL;
}

/* Ethereum's hashes, which are not SHA-3 and not in OpenSSL. Their length; 0: it is none of them. */
static size_t keccak_len(const char *name)
{
	return strcmp(name, "keccak256") == 0   ? 32
	       : strcmp(name, "keccak384") == 0 ? 48
	       : strcmp(name, "keccak512") == 0 ? 64
						: 0;
}

/* report_data = H(prefix ":" content), zeros behind it. */
static int report_data_make(const char *hash, const char *prefix, const uint8_t *content, size_t len,
			    uint8_t report_data[ID_REPORT_DATA_LEN], struct err *e)
{
	auto_out struct out front = { 0 };
	const EVP_MD *md = hash_of(hash);

	memset(report_data, 0, ID_REPORT_DATA_LEN);
	if (strcmp(hash, "raw") == 0) {
		if (len != ID_REPORT_DATA_LEN)
			return err_at(e, -EINVAL, "report_data", "has %zu bytes, raw needs %d", len,
				      ID_REPORT_DATA_LEN);
		memcpy(report_data, content, len);
		return 0;
	}
	out_bytes(&front, prefix, strlen(prefix));
	out_bytes(&front, ":", 1);
	out_bytes(&front, content, len);
	if (!md && !keccak_len(hash))
		return err_at(e, -EINVAL, "hash_algorithm", "Unsupported algorithm: \"%.32s\"", hash);
	if (out_ok(&front) && !md)
		id_keccak(report_data, keccak_len(hash), front.data, front.len);
	return out_ok(&front) && (!md || id_hash(md, report_data, front.data, front.len, NULL, 0))
		       ? 0
		       : err_at(e, -ENOMEM, "report_data", "out of memory");
}

static int quote_answer(struct agent *agent, const uint8_t report_data[ID_REPORT_DATA_LEN], const char *hash,
			const char *prefix, json_t **answer, struct err *e)
{
	auto_free uint8_t *quote = NULL;
	auto_free char *event_log = NULL;
	size_t len;
	int ret = agent->tee->ops->quote(agent->tee, report_data, &quote, &len, &event_log, e);

	if (ret < 0)
		return ret;
	*answer = json_pack("{s:o, s:s, s:s, s:s}", "quote", json_hex(quote, len), "event_log", event_log,
			    "hash_algorithm", hash, "prefix", prefix);
	return *answer ? 0 : err_at(e, -ENOMEM, "quote", "out of memory");
}

static int tdx_quote(struct agent *agent, const json_t *args, json_t **answer, struct err *e)
{
	uint8_t report_data[ID_REPORT_DATA_LEN];
	auto_free uint8_t *content = NULL;
	const char *hash, *prefix;
	size_t len;

	if (arg_text(args, "hash_algorithm", &hash, e) < 0 || arg_text(args, "prefix", &prefix, e) < 0 ||
	    arg_bytes(args, "report_data", CONTENT_MAX, &content, &len, e) < 0)
		return e->code;
	hash = hash[0] ? hash : "sha512";
	prefix = strcmp(hash, "raw") == 0 ? "" : prefix[0] ? prefix : "app-data";
	if (report_data_make(hash, prefix, content, len, report_data, e) < 0)
		return e->code;
	return quote_answer(agent, report_data, hash, prefix, answer, e);
}

static int raw_quote(struct agent *agent, const json_t *args, json_t **answer, struct err *e)
{
	uint8_t report_data[ID_REPORT_DATA_LEN];
	auto_free uint8_t *content = NULL;
	size_t len;

	if (arg_bytes(args, "report_data", ID_REPORT_DATA_LEN, &content, &len, e) < 0 ||
	    report_data_make("raw", "", content, len, report_data, e) < 0)
		return e->code;
	return quote_answer(agent, report_data, "raw", "", answer, e);
}

int ag_tappd_call(struct agent *agent, const char *method, const json_t *args, json_t **answer, struct err *e)
{
	if (strncmp(method, "Tappd.", 6) == 0)
		method += 6;
	if (strcmp(method, "DeriveKey") == 0)
		return derive_key(agent, args, answer, e);
	if (strcmp(method, "DeriveK256Key") == 0)
		return derive_k256_key(agent, args, answer, e);
	if (strcmp(method, "TdxQuote") == 0)
		return tdx_quote(agent, args, answer, e);
	if (strcmp(method, "RawQuote") == 0)
		return raw_quote(agent, args, answer, e);
	if (strcmp(method, "Info") == 0)
		return ag_info(agent, answer, e);
	if (strcmp(method, "Version") == 0)
		return ag_version(agent, args, answer, e);
	return err_at(e, -ENOENT, "request", "Service not found: %.64s", method);
}
