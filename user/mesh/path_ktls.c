// SPDX-License-Identifier: Apache-2.0
/*
 * TLS in the kernel, for tunnels that have shown to be bulk: the handshake and the first bytes are OpenSSL's, whose
 * secrets and numbers of records are noted here, so that a direction can be handed over between two records. It never
 * comes back: what the kernel can not do any more (new keys) ends the connection, and so does a hand-over that fails.
 * OpenSSL's own kTLS is no way to this: it decides in the handshake, and Debian 12's is built without.
 */
#include <errno.h>
#include <linux/tls.h>
#include <netinet/tcp.h>
#include <openssl/core_names.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "proxy_internal.h"

#ifndef SOL_TLS
#define SOL_TLS 282
#endif

#define SECRET_MAX 48
#define HEADER     5u
#define IV         12

enum { ALERT = 21, HANDSHAKE = 22, DATA = 23, KEY_UPDATE = 24 };
enum { RX, TX, DIRS };

struct ktls {
	struct {
		uint8_t secret[SECRET_MAX];
		uint8_t len;      /* 0: not known yet */
		uint64_t records; /* under it */
	} dir[DIRS];
	uint8_t head[HEADER], n_head; /* of the record that is being read */
	uint16_t left;                /* of its body */
	bool must_align;              /* OpenSSL gets no byte of another record */
	bool is_writing;              /* a record of OpenSSL's is not out yet */
	bool is_rx, is_tx;            /* the kernel's */
	bool is_off;                  /* its keys have changed, or the kernel has no such cipher */
};

bool ktls_has(const struct conn *c, bool to_read)
{
	return c->ktls && (to_read ? c->ktls->is_rx : c->ktls->is_tx);
}

/* --- what OpenSSL does --- */

static struct conn *conn_of(const SSL *ssl)
{
	return BIO_get_data(SSL_get_rbio(ssl));
}

/* "SERVER_TRAFFIC_SECRET_0 <client random> <secret>" */
static void on_key(const SSL *ssl, const char *line)
{
	static const char *const labels[2] = { "CLIENT_TRAFFIC_SECRET_0 ", "SERVER_TRAFFIC_SECRET_0 " };
	struct ktls *k = conn_of(ssl)->ktls;
	const char *hex = strrchr(line, ' ');
	size_t len = hex ? strlen(++hex) / 2 : 0;

	for (int server = 0; server < 2 && k; server++) {
		int dir = server == SSL_is_server(ssl) ? TX : RX;

		if (strncmp(line, labels[server], strlen(labels[server])) != 0 || len > SECRET_MAX ||
		    !hex_parse(k->dir[dir].secret, len, hex))
			continue;
		k->dir[dir].len = (uint8_t)len;
		k->dir[dir].records = 0;
	}
}

void ktls_message(struct conn *c, bool write, int type, const uint8_t *p, size_t len)
{
	if (!c->ktls || !len)
		return;
	if (type == SSL3_RT_HEADER)
		c->ktls->dir[write ? TX : RX].records += p[0] == DATA;
	else if (type == SSL3_RT_HANDSHAKE && p[0] == KEY_UPDATE)
		c->ktls->is_off = true, c->ktls->must_align = false;
}

void ktls_prepare(struct conn *c)
{
	if (!c->mp->conf.ktls || c->mp->conf.no_paths & 1u << MP_PATH_KTLS)
		return;
	c->ktls = calloc(1, sizeof(*c->ktls));
	if (!c->ktls)
		return;
	SSL_CTX_set_keylog_callback(SSL_get_SSL_CTX(c->ssl), on_key);
}

void ktls_free(struct conn *c)
{
	if (!c->ktls)
		return;
	OPENSSL_cleanse(c->ktls, sizeof(*c->ktls));
	free(c->ktls);
	c->ktls = NULL;
}

void ktls_wrote(struct conn *c, bool is_pending)
{
	if (c->ktls)
		c->ktls->is_writing = is_pending;
}

/* How much of it OpenSSL may have: once the records must be kept apart, the rest of this one. */
size_t ktls_read_max(const struct conn *c, size_t len)
{
	const struct ktls *k = c->ktls;
	size_t rest;

	if (!k || !k->must_align)
		return len;
	rest = k->left ? k->left : k->n_head ? HEADER - k->n_head : 0u;
	return rest < len ? rest : len;
}

void ktls_saw(struct conn *c, const uint8_t *p, size_t len)
{
	struct ktls *k = c->ktls;

	while (k && len) {
		size_t n = k->left < len ? k->left : len;

		k->left = (uint16_t)(k->left - n);
		p += n, len -= n;
		if (!len)
			return;
		k->head[k->n_head++] = *p++, len--;
		if (k->n_head < HEADER)
			continue;
		k->left = (uint16_t)(k->head[3] << 8 | k->head[4]);
		k->n_head = 0;
	}
}

/* --- keys --- */

static bool expand(const SSL *ssl, const uint8_t *secret, size_t secret_len, const char *label, uint8_t *out,
		   size_t len)
{
	const EVP_MD *md = SSL_CIPHER_get_handshake_digest(SSL_get_current_cipher(ssl));
	EVP_KDF *kdf = EVP_KDF_fetch(NULL, OSSL_KDF_NAME_TLS1_3_KDF, NULL);
	EVP_KDF_CTX *ctx = kdf ? EVP_KDF_CTX_new(kdf) : NULL;
	int mode = EVP_KDF_HKDF_MODE_EXPAND_ONLY;
	const OSSL_PARAM params[] = {
		OSSL_PARAM_construct_int(OSSL_KDF_PARAM_MODE, &mode),
		OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, (char *)EVP_MD_get0_name(md), 0),
		OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, (void *)secret, secret_len),
		OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_PREFIX, (void *)"tls13 ", 6),
		OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_LABEL, (void *)label, strlen(label)),
		OSSL_PARAM_construct_end(),
	};
	bool good = ctx && EVP_KDF_derive(ctx, out, len, params) == 1;

	EVP_KDF_CTX_free(ctx);
	EVP_KDF_free(kdf);
	return good;
}

union info {
	struct tls_crypto_info info;
	struct tls12_crypto_info_aes_gcm_128 aes128;
	struct tls12_crypto_info_aes_gcm_256 aes256;
	struct tls12_crypto_info_chacha20_poly1305 chacha;
};

#define SALTED(member, cipher)                                                                                         \
	do {                                                                                                           \
		u->info.cipher_type = cipher;                                                                          \
		memcpy(u->member.key, key, sizeof(u->member.key));                                                     \
		memcpy(u->member.salt, iv, sizeof(u->member.salt));                                                    \
		memcpy(u->member.iv, iv + sizeof(u->member.salt), sizeof(u->member.iv));                               \
		memcpy(u->member.rec_seq, seq, sizeof(u->member.rec_seq));                                             \
		*len = sizeof(u->member);                                                                              \
	} while (0)

static bool fill_in(union info *u, uint32_t suite, const uint8_t *key, const uint8_t iv[IV], uint64_t number,
		    socklen_t *len)
{
	uint8_t seq[8];

	for (int i = 0; i < 8; i++)
		seq[i] = (uint8_t)(number >> (56 - 8 * i));
	memset(u, 0, sizeof(*u));
	u->info.version = TLS_1_3_VERSION;
	switch (suite) {
	case 0x1301:
		SALTED(aes128, TLS_CIPHER_AES_GCM_128);
		return true;
	case 0x1302:
		SALTED(aes256, TLS_CIPHER_AES_GCM_256);
		return true;
	case 0x1303:
		u->info.cipher_type = TLS_CIPHER_CHACHA20_POLY1305;
		memcpy(u->chacha.key, key, sizeof(u->chacha.key));
		memcpy(u->chacha.iv, iv, sizeof(u->chacha.iv));
		memcpy(u->chacha.rec_seq, seq, sizeof(u->chacha.rec_seq));
		*len = sizeof(u->chacha);
		return true;
	default:
		return false;
	}
}

static uint32_t suite_of(const SSL *ssl)
{
	return SSL_CIPHER_get_protocol_id(SSL_get_current_cipher(ssl));
}

static bool has_suite(const SSL *ssl)
{
	return SSL_version(ssl) == TLS1_3_VERSION && suite_of(ssl) >= 0x1301 && suite_of(ssl) <= 0x1303;
}

/* Twice is no matter: each direction comes when it pays. An end that is half closed can not have it any more. */
static int add_layer(int fd)
{
	return setsockopt(fd, IPPROTO_TCP, TCP_ULP, "tls", 3) < 0 && errno != EEXIST ? -errno : 0;
}

static bool set_keys(struct conn *c, int dir)
{
	struct ktls *k = c->ktls;
	uint8_t key[32], iv[IV];
	union info u;
	socklen_t len;
	size_t key_len = suite_of(c->ssl) == 0x1301 ? 16 : 32;
	bool good = k->dir[dir].len && expand(c->ssl, k->dir[dir].secret, k->dir[dir].len, "key", key, key_len) &&
		    expand(c->ssl, k->dir[dir].secret, k->dir[dir].len, "iv", iv, sizeof(iv)) &&
		    fill_in(&u, suite_of(c->ssl), key, iv, k->dir[dir].records, &len) &&
		    setsockopt(c->fd, SOL_TLS, dir == TX ? TLS_TX : TLS_RX, &u, len) == 0;

	OPENSSL_cleanse(key, sizeof(key));
	OPENSSL_cleanse(&u, sizeof(u));
	OPENSSL_cleanse(k->dir[dir].secret, sizeof(k->dir[dir].secret));
	return good;
}

/* False: it failed, and whatever would be said from now on would not be TLS. */
static bool hand_over(struct conn *c, int dir)
{
	struct ktls *k = c->ktls;
	int ret = add_layer(c->fd);

	if (ret == -ENOTCONN) {
		k->is_off = true;
		k->must_align = false;
		return true;
	}
	if (ret < 0 || !set_keys(c, dir)) {
		c->mp->counters.ktls_failed++;
		c->is_broken = c->is_eof = c->cannot_write = true;
		return false;
	}
	*(dir == TX ? &k->is_tx : &k->is_rx) = true;
	c->mp->counters.ktls_directions++;
	return true;
}

static bool may_hand_over(const struct conn *c, int dir)
{
	const struct ktls *k = c->ktls;

	if (!k || k->is_off || c->is_broken || !has_suite(c->ssl))
		return false;
	return dir == TX ? !k->is_tx && !c->cannot_write && !c->has_shut : !k->is_rx && !c->is_eof;
}

bool ktls_is_due(const struct conn *c)
{
	const struct ktls *k = c->ktls;

	return k && k->must_align && !k->is_rx && !k->left && !k->n_head && !c->is_eof && !SSL_has_pending(c->ssl);
}

bool ktls_turn(struct conn *src, struct conn *dst, bool pays)
{
	if (pays && may_hand_over(dst, TX) && !dst->ktls->is_writing && !hand_over(dst, TX))
		return false;
	if (pays && may_hand_over(src, RX))
		src->ktls->must_align = true;
	return !ktls_is_due(src) || hand_over(src, RX);
}

/* --- records that are not data --- */

/* close_notify; false: no room for it now. */
bool ktls_shut(struct conn *c)
{
	uint8_t alert[2] = { 1, 0 };
	char control[CMSG_SPACE(1)] = { 0 };
	struct iovec iov = { alert, sizeof(alert) };
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)
	};
	struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg);

	cmsg->cmsg_level = SOL_TLS;
	cmsg->cmsg_type = TLS_SET_RECORD_TYPE;
	cmsg->cmsg_len = CMSG_LEN(1);
	*CMSG_DATA(cmsg) = ALERT;
	return sendmsg(c->fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0 || (errno != EAGAIN && errno != EINTR);
}

static void end(struct conn *c, bool in_order)
{
	c->is_eof = true;
	if (!in_order)
		c->is_truncated = c->is_broken = c->cannot_write = true;
}

/* True: it is no matter. */
static bool on_control(struct conn *c, int type, const uint8_t *p, size_t len)
{
	if (type == HANDSHAKE && len && p[0] != KEY_UPDATE) /* a ticket */
		return true;
	c->mp->counters.ktls_rekeys += type == HANDSHAKE;
	end(c, type == ALERT && len == 2 && p[1] == 0);
	return false;
}

size_t ktls_read(struct conn *c, char *p, size_t len)
{
	char control[CMSG_SPACE(1)];
	struct iovec iov = { p, len };

	while (!c->is_drained && !c->is_eof) {
		struct msghdr msg = {
			.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)
		};
		ssize_t n = recvmsg(c->fd, &msg, MSG_DONTWAIT);
		struct cmsghdr *cmsg = n >= 0 ? CMSG_FIRSTHDR(&msg) : NULL;
		int type = cmsg && cmsg->cmsg_type == TLS_GET_RECORD_TYPE ? *CMSG_DATA(cmsg) : DATA;

		if (n > 0 && type == DATA)
			return (size_t)n;
		if (n > 0 && on_control(c, type, (uint8_t *)p, (size_t)n))
			continue;
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			c->is_drained = true;
		else if (n <= 0) /* not even a close_notify, or a record that is not the peer's */
			end(c, false);
	}
	return 0;
}

/* --- has this kernel it? --- */

static int pair_make(int fd[2])
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(at);
	auto_fd int lfd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	fd[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (lfd < 0 || fd[0] < 0 || bind(lfd, (struct sockaddr *)&at, len) < 0 || listen(lfd, 1) < 0 ||
	    getsockname(lfd, (struct sockaddr *)&at, &len) < 0 || connect(fd[0], (struct sockaddr *)&at, len) < 0)
		return -errno;
	fd[1] = accept4(lfd, NULL, NULL, SOCK_CLOEXEC);
	return fd[1] < 0 ? -errno : 0;
}

static int try_keys(int fd, uint32_t suite)
{
	static const uint8_t key[32], iv[IV];
	socklen_t len;
	union info u;
	int ret = add_layer(fd);

	fill_in(&u, suite, key, iv, 0, &len);
	for (int dir = TLS_TX; dir <= TLS_RX && !ret; dir++)
		ret = setsockopt(fd, SOL_TLS, dir, &u, len) < 0 ? -errno : 0;
	return ret;
}

int mp_ktls_probe(struct err *e)
{
	auto_fd int a = -1, b = -1;
	int fd[2] = { -1, -1 }, ret = pair_make(fd);

	a = fd[0], b = fd[1];
	if (ret < 0)
		return err_at(e, ret, "kTLS", "can not be tried: %s", strerror(-ret));
	ret = add_layer(a);
	if (ret < 0)
		return err_at(e, ret, "kTLS", "the kernel has none, or its module tls is not loaded: %s",
			      strerror(-ret));
	ret = try_keys(a, 0x1301);
	if (!ret)
		ret = try_keys(b, 0x1302);
	return ret ? err_at(e, ret, "kTLS", "the kernel does not take keys of TLS 1.3: %s", strerror(-ret)) : 0;
}
