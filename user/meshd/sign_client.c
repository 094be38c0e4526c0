// SPDX-License-Identifier: Apache-2.0
/*
 * A provider for OpenSSL with one kind of key: EC on P-256 whose private half is in the key process. It can tell its
 * public half and sign a TLS 1.3 handshake, and nothing else.
 *
 * The provider's algorithms have the names of OpenSSL's own, or TLS would not take the key for an EC key. So that
 * nobody else's key ends up here, everything is asked of the provider "default" first.
 */
#include <errno.h>
#include <fcntl.h>
#include <openssl/core_dispatch.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/provider.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "sign.h"

#define NAME      "bailey-key"
#define PROPERTY  "provider=" NAME
#define P_REMOTE  "bailey-remote" /* parameter: struct remote */
#define POINT_LEN 65              /* uncompressed, the end of the SPKI */
#define ANSWER_S  2               /* a key process that takes longer is as good as none */

struct sign_client {
	int fd; /* -1: none */
	uint64_t last_token;
	OSSL_PROVIDER *own, *standard;
};

struct remote {
	struct sign_client *client;
	uint32_t number;
};

/* Key data: the public point, and where the rest is (client NULL: only public). */
struct key {
	uint8_t point[POINT_LEN];
	struct remote remote;
};

struct signing {
	struct key *key; /* borrowed: the EVP_PKEY outlives its context */
};

/* --- the channel --- */

static int receive(struct sign_client *c, uint64_t token, struct sign_answer *answer)
{
	ssize_t n;

	/* an answer that came too late for the one who asked is passed over */
	do {
		n = recv(c->fd, answer, sizeof(*answer), 0);
		if (n < 0 && errno == EINTR)
			continue;
		if (n != sizeof(*answer))
			return n < 0 ? -errno : -EPIPE;
	} while (n < 0 || answer->token != token);
	return answer->code;
}

static int ask_for(struct sign_client *c, struct sign_ask *ask, struct sign_answer *answer)
{
	int ret;

	if (c->fd < 0)
		return -ENOTCONN;
	ask->token = ++c->last_token;
	if (send(c->fd, ask, sizeof(*ask), MSG_NOSIGNAL) != sizeof(*ask))
		return -errno;
	ret = receive(c, ask->token, answer);
	return !ret && answer->len > sizeof(answer->sig) ? -EPROTO : ret;
}

/* --- keys --- */

static void *key_new(void *prov)
{
	(void)prov;
	return calloc(1, sizeof(struct key));
}

static int key_has(const void *data, int selection)
{
	const struct key *key = data;

	return !(selection & OSSL_KEYMGMT_SELECT_PRIVATE_KEY) || key->remote.client;
}

static int key_match(const void *a, const void *b, int selection)
{
	(void)selection;
	return memcmp(((const struct key *)a)->point, ((const struct key *)b)->point, POINT_LEN) == 0;
}

static int key_import(void *data, int selection, const OSSL_PARAM params[])
{
	const OSSL_PARAM *point = OSSL_PARAM_locate_const(params, OSSL_PKEY_PARAM_PUB_KEY),
			 *remote = OSSL_PARAM_locate_const(params, P_REMOTE);
	struct key *key = data;

	(void)selection;
	if (!point || point->data_size != POINT_LEN)
		return 0;
	memcpy(key->point, point->data, POINT_LEN);
	if (remote && remote->data_size == sizeof(key->remote))
		memcpy(&key->remote, remote->data, sizeof(key->remote));
	return 1;
}

static const OSSL_PARAM *key_import_types(int selection)
{
	static const OSSL_PARAM types[] = { OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, NULL, 0),
					    OSSL_PARAM_octet_string(OSSL_PKEY_PARAM_PUB_KEY, NULL, 0),
					    OSSL_PARAM_octet_string(P_REMOTE, NULL, 0), OSSL_PARAM_END };

	(void)selection;
	return types;
}

static int key_get_params(void *data, OSSL_PARAM params[])
{
	const struct key *key = data;
	OSSL_PARAM *p;

	if ((p = OSSL_PARAM_locate(params, OSSL_PKEY_PARAM_BITS)) && !OSSL_PARAM_set_int(p, 256))
		return 0;
	if ((p = OSSL_PARAM_locate(params, OSSL_PKEY_PARAM_SECURITY_BITS)) && !OSSL_PARAM_set_int(p, 128))
		return 0;
	if ((p = OSSL_PARAM_locate(params, OSSL_PKEY_PARAM_MAX_SIZE)) && !OSSL_PARAM_set_int(p, SIGN_SIG_MAX))
		return 0;
	if ((p = OSSL_PARAM_locate(params, OSSL_PKEY_PARAM_GROUP_NAME)) && !OSSL_PARAM_set_utf8_string(p, "prime256v1"))
		return 0;
	p = OSSL_PARAM_locate(params, OSSL_PKEY_PARAM_PUB_KEY);
	return !p || OSSL_PARAM_set_octet_string(p, key->point, POINT_LEN);
}

static const OSSL_PARAM *key_gettable_params(void *prov)
{
	static const OSSL_PARAM known[] = { OSSL_PARAM_int(OSSL_PKEY_PARAM_BITS, NULL),
					    OSSL_PARAM_int(OSSL_PKEY_PARAM_SECURITY_BITS, NULL),
					    OSSL_PARAM_int(OSSL_PKEY_PARAM_MAX_SIZE, NULL),
					    OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, NULL, 0),
					    OSSL_PARAM_octet_string(OSSL_PKEY_PARAM_PUB_KEY, NULL, 0),
					    OSSL_PARAM_END };

	(void)prov;
	return known;
}

static const char *key_operation(int id)
{
	return id == OSSL_OP_SIGNATURE ? "ECDSA" : NULL;
}

#define FN(id, function)                                                                                               \
	{                                                                                                              \
		id, (void (*)(void))(function)                                                                         \
	}

static const OSSL_DISPATCH key_functions[] = { FN(OSSL_FUNC_KEYMGMT_NEW, key_new),
					       FN(OSSL_FUNC_KEYMGMT_FREE, free),
					       FN(OSSL_FUNC_KEYMGMT_HAS, key_has),
					       FN(OSSL_FUNC_KEYMGMT_MATCH, key_match),
					       FN(OSSL_FUNC_KEYMGMT_IMPORT, key_import),
					       FN(OSSL_FUNC_KEYMGMT_IMPORT_TYPES, key_import_types),
					       FN(OSSL_FUNC_KEYMGMT_GET_PARAMS, key_get_params),
					       FN(OSSL_FUNC_KEYMGMT_GETTABLE_PARAMS, key_gettable_params),
					       FN(OSSL_FUNC_KEYMGMT_QUERY_OPERATION_NAME, key_operation),
					       FN(0, NULL) };

/* --- signatures --- */

static void *signing_new(void *prov, const char *properties)
{
	(void)prov, (void)properties;
	return calloc(1, sizeof(struct signing));
}

static int signing_init(void *ctx, const char *digest, void *key, const OSSL_PARAM params[])
{
	struct signing *s = ctx;

	(void)params;
	if (key)
		s->key = key;
	return s->key && s->key->remote.client && digest &&
	       (strcasecmp(digest, "SHA256") == 0 || strcasecmp(digest, "SHA2-256") == 0);
}

/* The hash of a handshake out of what TLS wants signed; false: this is no TLS 1.3 handshake. */
static bool handshake_of(const unsigned char *bytes, size_t len, struct sign_ask *ask)
{
	static const char client[] = "TLS 1.3, client CertificateVerify",
			  server[] = "TLS 1.3, server CertificateVerify";
	size_t head = 64 + sizeof(client); /* both have the same length, and the zero is of it */

	if (len != head + 32 && len != head + 48)
		return false;
	for (size_t i = 0; i < 64; i++)
		if (bytes[i] != ' ')
			return false;
	if (memcmp(bytes + 64, client, sizeof(client)) == 0)
		ask->side = SIGN_CLIENT;
	else if (memcmp(bytes + 64, server, sizeof(server)) == 0)
		ask->side = SIGN_SERVER;
	else
		return false;
	ask->hash_len = (uint32_t)(len - head);
	memcpy(ask->hash, bytes + head, ask->hash_len);
	return true;
}

static int signing_sign(void *ctx, unsigned char *sig, size_t *sig_len, size_t size, const unsigned char *bytes,
			size_t len)
{
	struct signing *s = ctx;
	struct sign_ask ask = { .key = s->key->remote.number };
	struct sign_answer answer;
	int ret;

	if (!sig) {
		*sig_len = SIGN_SIG_MAX;
		return 1;
	}
	if (!handshake_of(bytes, len, &ask))
		return 0;
	ret = ask_for(s->key->remote.client, &ask, &answer);
	if (ret || answer.len > size) {
		log_limited(LOG_ERR, "the key process signs nothing: %s", strerror(-ret));
		return 0;
	}
	memcpy(sig, answer.sig, answer.len);
	*sig_len = answer.len;
	return 1;
}

static const OSSL_DISPATCH signature_functions[] = { FN(OSSL_FUNC_SIGNATURE_NEWCTX, signing_new),
						     FN(OSSL_FUNC_SIGNATURE_FREECTX, free),
						     FN(OSSL_FUNC_SIGNATURE_DIGEST_SIGN_INIT, signing_init),
						     FN(OSSL_FUNC_SIGNATURE_DIGEST_SIGN, signing_sign), FN(0, NULL) };

/* --- the provider --- */

static const OSSL_ALGORITHM keys[] = { { "EC:id-ecPublicKey:1.2.840.10045.2.1", PROPERTY, key_functions, NULL },
				       { 0 } };
static const OSSL_ALGORITHM signatures[] = { { "ECDSA", PROPERTY, signature_functions, NULL }, { 0 } };

static const OSSL_ALGORITHM *query(void *prov, int operation, int *no_cache)
{
	(void)prov;
	*no_cache = 0;
	if (operation == OSSL_OP_KEYMGMT)
		return keys;
	return operation == OSSL_OP_SIGNATURE ? signatures : NULL;
}

static int provider_init(const OSSL_CORE_HANDLE *handle, const OSSL_DISPATCH *in, const OSSL_DISPATCH **out, void **ctx)
{
	static const OSSL_DISPATCH functions[] = { FN(OSSL_FUNC_PROVIDER_QUERY_OPERATION, query), FN(0, NULL) };

	(void)handle, (void)in;
	*out = functions;
	*ctx = (void *)functions; /* something that is not NULL: there is no state */
	return 1;
}

int sign_client_new(struct sign_client **client, struct err *e)
{
	struct sign_client *c = calloc(1, sizeof(*c));

	if (!c)
		return err_at(e, -ENOMEM, "own key", "out of memory");
	c->fd = -1;
	c->standard = OSSL_PROVIDER_load(NULL, "default");
	if (c->standard && OSSL_PROVIDER_add_builtin(NULL, NAME, provider_init))
		c->own = OSSL_PROVIDER_load(NULL, NAME);
	if (!c->own || !EVP_set_default_properties(NULL, "?provider=default")) {
		sign_client_free(c);
		return err_at(e, -EIO, "own key", "OpenSSL does not take the provider");
	}
	*client = c;
	return 0;
}

void sign_client_free(struct sign_client *c)
{
	if (!c)
		return;
	sign_client_use(c, -1);
	if (c->own)
		OSSL_PROVIDER_unload(c->own);
	if (c->standard)
		OSSL_PROVIDER_unload(c->standard);
	free(c);
}

void sign_client_use(struct sign_client *c, int fd)
{
	struct timeval patience = { .tv_sec = ANSWER_S };

	close_at(&c->fd);
	c->fd = fd;
	if (fd < 0)
		return;
	fcntl(fd, F_SETFL, 0); /* it waits for the signature */
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
}

int sign_client_key(struct sign_client *c, uint32_t number, const uint8_t spki[ID_SPKI_LEN], EVP_PKEY **key,
		    struct err *e)
{
	struct remote remote = { .client = c, .number = number };
	uint8_t point[POINT_LEN];
	OSSL_PARAM params[] = { OSSL_PARAM_octet_string(OSSL_PKEY_PARAM_PUB_KEY, point, sizeof(point)),
				OSSL_PARAM_octet_string(P_REMOTE, &remote, sizeof(remote)), OSSL_PARAM_END };
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "EC", PROPERTY);
	EVP_PKEY *made = NULL;

	memcpy(point, spki + ID_SPKI_LEN - POINT_LEN, POINT_LEN);
	if (ctx && EVP_PKEY_fromdata_init(ctx) == 1)
		EVP_PKEY_fromdata(ctx, &made, EVP_PKEY_KEYPAIR, params);
	EVP_PKEY_CTX_free(ctx);
	if (!made)
		return err_at(e, -EIO, "own key", "OpenSSL does not take it");
	*key = made;
	return 0;
}
