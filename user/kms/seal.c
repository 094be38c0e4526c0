// SPDX-License-Identifier: Apache-2.0
/*
 * The root keys on disk: header (magic, version, source, salt, nonce), AES-256-GCM over the keys with the header as
 * additional data. The key is derived from the source's secret and the salt, both fresh for each file.
 */
#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/text.h"
#include "internal.h"

#define WHERE      "sealed keys"
#define MAGIC      "BAILEY-KMS"
#define MAGIC_LEN  10
#define VERSION    1
#define SALT_LEN   32
#define NONCE_LEN  12
#define TAG_LEN    16
#define HEADER_LEN (MAGIC_LEN + 2 + SALT_LEN + NONCE_LEN)
#define PLAIN_LEN  (3 * ID_SCALAR_LEN + 8)
_Static_assert(HEADER_LEN + PLAIN_LEN + TAG_LEN == KMS_SEALED_LEN, "sealed file");

#define AGENT_PATH    "bailey-kms/seal/v1"
#define AGENT_PURPOSE "seal"
#define KEYS_FILE     "keys.sealed"

DEFINE_CLEANUP(cipher, EVP_CIPHER_CTX, EVP_CIPHER_CTX_free)

int kms_roots_new(int64_t now, struct kms_roots *roots, struct err *e)
{
	uint8_t *const scalars[] = { roots->p256, roots->k256, roots->temp };
	uint8_t point[ID_K256_POINT_LEN];

	for (size_t i = 0; i < ARRAY_LEN(scalars); i++)
		if (RAND_priv_bytes(scalars[i], ID_SCALAR_LEN) != 1)
			return err_at(e, -EIO, "root keys", "no random bytes");
	roots->made_s = now;
	/* one in 2^32 scalars is not below P-256's order; deriving from it would fail each time */
	for (size_t i = 0; i < ARRAY_LEN(scalars); i += 2) {
		EVP_PKEY *key = id_key_from_scalar("prime256v1", scalars[i]);

		EVP_PKEY_free(key);
		if (!key)
			return kms_roots_new(now, roots, e);
	}
	return id_k256_public(roots->k256, point) ? 0 : kms_roots_new(now, roots, e);
}

void kms_roots_fini(struct kms_roots *roots)
{
	OPENSSL_cleanse(roots, sizeof(*roots));
}

static bool sealing_key(const uint8_t secret[ID_SCALAR_LEN], const uint8_t *salt, uint8_t key[ID_SCALAR_LEN])
{
	const struct id_part parts[] = { id_part_text("bailey-kms-sealed-keys"), { salt, SALT_LEN } };

	return id_derive(secret, parts, ARRAY_LEN(parts), key);
}

static void plain_put(const struct kms_roots *roots, uint8_t plain[PLAIN_LEN])
{
	memcpy(plain, roots->p256, ID_SCALAR_LEN);
	memcpy(plain + ID_SCALAR_LEN, roots->k256, ID_SCALAR_LEN);
	memcpy(plain + 2 * ID_SCALAR_LEN, roots->temp, ID_SCALAR_LEN);
	for (unsigned i = 0; i < 8; i++)
		plain[3 * ID_SCALAR_LEN + i] = (uint8_t)((uint64_t)roots->made_s >> (8 * i));
}

static void plain_get(const uint8_t plain[PLAIN_LEN], struct kms_roots *roots)
{
	uint64_t made = 0;

	memcpy(roots->p256, plain, ID_SCALAR_LEN);
	memcpy(roots->k256, plain + ID_SCALAR_LEN, ID_SCALAR_LEN);
	memcpy(roots->temp, plain + 2 * ID_SCALAR_LEN, ID_SCALAR_LEN);
	for (unsigned i = 0; i < 8; i++)
		made |= (uint64_t)plain[3 * ID_SCALAR_LEN + i] << (8 * i);
	roots->made_s = (int64_t)made;
}

int kms_seal(const struct kms_roots *roots, enum kms_seal_source source, const uint8_t secret[ID_SCALAR_LEN],
	     uint8_t sealed[KMS_SEALED_LEN], struct err *e)
{
	auto_call(cleanup_cipher) EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
	uint8_t *salt = sealed + MAGIC_LEN + 2, *nonce = salt + SALT_LEN, *body = sealed + HEADER_LEN;
	uint8_t key[ID_SCALAR_LEN], plain[PLAIN_LEN];
	bool ok;
	int n;

	memcpy(sealed, MAGIC, MAGIC_LEN);
	sealed[MAGIC_LEN] = VERSION;
	sealed[MAGIC_LEN + 1] = (uint8_t)source;
	plain_put(roots, plain);
	ok = ctx && RAND_bytes(salt, SALT_LEN + NONCE_LEN) == 1 && sealing_key(secret, salt, key) &&
	     EVP_EncryptInit_ex(ctx, EVP_aes_256_gcm(), NULL, key, nonce) == 1 &&
	     EVP_EncryptUpdate(ctx, NULL, &n, sealed, HEADER_LEN) == 1 &&
	     EVP_EncryptUpdate(ctx, body, &n, plain, PLAIN_LEN) == 1 && n == PLAIN_LEN &&
	     EVP_EncryptFinal_ex(ctx, body + n, &n) == 1 &&
	     EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_GCM_GET_TAG, TAG_LEN, body + PLAIN_LEN) == 1;
	OPENSSL_cleanse(key, sizeof(key));
	OPENSSL_cleanse(plain, sizeof(plain));
	return ok ? 0 : err_at(e, -EIO, WHERE, "can not be encrypted");
}

static int header_check(const uint8_t *sealed, size_t len, enum kms_seal_source source, struct err *e)
{
	if (len != KMS_SEALED_LEN || memcmp(sealed, MAGIC, MAGIC_LEN) != 0)
		return err_at(e, -EBADMSG, WHERE, "%zu bytes that are no sealed keys (%d are needed)", len,
			      KMS_SEALED_LEN);
	if (sealed[MAGIC_LEN] != VERSION)
		return err_at(e, -EBADMSG, WHERE, "version is %u, %d is read", sealed[MAGIC_LEN], VERSION);
	if (sealed[MAGIC_LEN + 1] != source)
		return err_at(e, -EBADMSG, WHERE, "were sealed with %s, the configuration says %s",
			      sealed[MAGIC_LEN + 1] == KMS_SEAL_AGENT ? "the guest agent's key" : "a key file",
			      source == KMS_SEAL_AGENT ? "the guest agent's key" : "a key file");
	return 0;
}

int kms_unseal(const uint8_t *sealed, size_t len, enum kms_seal_source source, const uint8_t secret[ID_SCALAR_LEN],
	       struct kms_roots *roots, struct err *e)
{
	auto_call(cleanup_cipher) EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
	uint8_t key[ID_SCALAR_LEN], plain[PLAIN_LEN], tag[TAG_LEN];
	const uint8_t *salt = sealed + MAGIC_LEN + 2, *body = sealed + HEADER_LEN;
	int n, ret = header_check(sealed, len, source, e);
	bool ok;

	if (ret < 0)
		return ret;
	memcpy(tag, body + PLAIN_LEN, TAG_LEN);
	ok = ctx && sealing_key(secret, salt, key) &&
	     EVP_DecryptInit_ex(ctx, EVP_aes_256_gcm(), NULL, key, salt + SALT_LEN) == 1 &&
	     EVP_DecryptUpdate(ctx, NULL, &n, sealed, HEADER_LEN) == 1 &&
	     EVP_DecryptUpdate(ctx, plain, &n, body, PLAIN_LEN) == 1 &&
	     EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_GCM_SET_TAG, TAG_LEN, tag) == 1 &&
	     EVP_DecryptFinal_ex(ctx, plain + n, &n) == 1;
	if (ok)
		plain_get(plain, roots);
	OPENSSL_cleanse(key, sizeof(key));
	OPENSSL_cleanse(plain, sizeof(plain));
	return ok ? 0 : err_at(e, -EBADMSG, WHERE, "do not open: another sealing key, or the file was changed");
}

/* --- files --- */

int kms_path(const struct kms_conf *conf, const char *name, char path[PATH_MAX], struct err *e)
{
	if (snprintf(path, PATH_MAX, "%s/%s", conf->state, name) >= PATH_MAX)
		return err_at(e, -ENAMETOOLONG, conf->state, "path is too long");
	return 0;
}

int kms_private_fd(const char *path, int fd, struct err *e)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return err_at(e, -errno, path, "%s", strerror(errno));
	if (!S_ISREG(st.st_mode))
		return err_at(e, -EINVAL, path, "is no regular file");
	if (st.st_uid != geteuid())
		return err_at(e, -EPERM, path, "belongs to uid %u, not to %u", st.st_uid, geteuid());
	if (st.st_mode & 077)
		return err_at(e, -EPERM, path, "has mode %04o, others may have no part in it (0600)",
			      st.st_mode & 07777);
	return 0;
}

int kms_file_private(const char *path, size_t max, char **data, size_t *len, struct err *e)
{
	auto_fd int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	auto_free char *buf = NULL;
	size_t done = 0;
	ssize_t n;
	int ret;

	if (fd < 0)
		return err_at(e, -errno, path, "%s", errno == ELOOP ? "is a symbolic link" : strerror(errno));
	ret = kms_private_fd(path, fd, e);
	if (ret < 0)
		return ret;
	buf = malloc(max + 1);
	if (!buf)
		return err_at(e, -ENOMEM, path, "out of memory");
	while (done < max + 1 && (n = read(fd, buf + done, max + 1 - done)) != 0) {
		if (n < 0 && errno != EINTR)
			return err_at(e, -errno, path, "%s", strerror(errno));
		done += n > 0 ? (size_t)n : 0;
	}
	if (done > max)
		return err_at(e, -EFBIG, path, "is larger than %zu bytes", max);
	*data = take_ptr(buf);
	*len = done;
	return 0;
}

/* Not there yet: what holds keys is never replaced. */
static int must_be_new(const char *path, struct err *e)
{
	return access(path, F_OK) == 0 ? err_at(e, -EEXIST, path, "is there already, and keys are never replaced") : 0;
}

/* --- the sealing secret --- */

static int secret_of_agent(const char *agent, uint8_t secret[ID_SCALAR_LEN], struct err *e)
{
	auto_json json_t *args = json_pack("{s:s, s:s}", "path", AGENT_PATH, "purpose", AGENT_PURPOSE), *answer = NULL;
	const char *hex;
	int ret = kms_agent_ask(agent, "/GetKey", args, &answer, e);

	if (ret < 0)
		return ret;
	hex = json_string_value(json_object_get(answer, "key"));
	if (!hex || !hex_parse(secret, ID_SCALAR_LEN, hex))
		return err_at(e, -EBADMSG, agent, "agent gives no key of 32 bytes");
	return 0;
}

static int secret_of_file(const char *path, bool may_make, uint8_t secret[ID_SCALAR_LEN], struct err *e)
{
	auto_free char *data = NULL;
	size_t len;
	int ret;

	if (may_make && access(path, F_OK) < 0 && errno == ENOENT) {
		if (RAND_priv_bytes(secret, ID_SCALAR_LEN) != 1)
			return err_at(e, -EIO, path, "no random bytes");
		return file_write(path, secret, ID_SCALAR_LEN, 0600, e);
	}
	ret = kms_file_private(path, ID_SCALAR_LEN, &data, &len, e);
	if (ret < 0)
		return ret;
	if (len != ID_SCALAR_LEN)
		return err_at(e, -EBADMSG, path, "is %zu bytes long, a sealing key has %d", len, ID_SCALAR_LEN);
	memcpy(secret, data, ID_SCALAR_LEN);
	OPENSSL_cleanse(data, len);
	return 0;
}

int kms_seal_secret(const struct kms_conf *conf, bool may_make, uint8_t secret[ID_SCALAR_LEN], struct err *e)
{
	return conf->key_file[0] ? secret_of_file(conf->key_file, may_make, secret, e)
				 : secret_of_agent(conf->agent, secret, e);
}

static enum kms_seal_source source_of(const struct kms_conf *conf)
{
	return conf->key_file[0] ? KMS_SEAL_FILE : KMS_SEAL_AGENT;
}

int kms_roots_store(const struct kms_conf *conf, const struct kms_roots *roots, struct err *e)
{
	uint8_t secret[ID_SCALAR_LEN], sealed[KMS_SEALED_LEN];
	char path[PATH_MAX];
	int ret = kms_path(conf, KEYS_FILE, path, e);

	if (!ret)
		ret = must_be_new(path, e);
	if (!ret)
		ret = kms_seal_secret(conf, true, secret, e);
	if (!ret)
		ret = kms_seal(roots, source_of(conf), secret, sealed, e);
	if (!ret)
		ret = file_write(path, sealed, sizeof(sealed), 0600, e);
	OPENSSL_cleanse(secret, sizeof(secret));
	return ret;
}

int kms_roots_load(const struct kms_conf *conf, struct kms_roots *roots, struct err *e)
{
	uint8_t secret[ID_SCALAR_LEN];
	auto_free char *data = NULL;
	char path[PATH_MAX];
	size_t len;
	int ret = kms_path(conf, KEYS_FILE, path, e);

	if (!ret)
		ret = kms_file_private(path, 4096, &data, &len, e);
	if (ret == -ENOENT)
		err_wrap(e, "no keys yet, `bailey-kms bootstrap` makes them");
	if (!ret)
		ret = kms_seal_secret(conf, false, secret, e);
	if (!ret)
		ret = kms_unseal((const uint8_t *)data, len, source_of(conf), secret, roots, e);
	OPENSSL_cleanse(secret, sizeof(secret));
	return ret < 0 ? err_wrap(e, "%.96s", conf->state) : 0;
}
