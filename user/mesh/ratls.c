// SPDX-License-Identifier: Apache-2.0
#include "ratls.h"

#include <errno.h>
#include <event2/bufferevent_ssl.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdlib.h>
#include <string.h>

#define ALPN_MAX 32

/* As TLS writes a list of one name. */
static unsigned alpn_wire(const struct ratls *r, unsigned char wire[ALPN_MAX])
{
	int n = snprintf((char *)wire + 1, ALPN_MAX - 1, "%s", r->alpn ? r->alpn : RATLS_ALPN_RECORD);

	wire[0] = (unsigned char)n;
	return (unsigned)n + 1;
}

static void peer_free(void *parent, void *ptr, CRYPTO_EX_DATA *ad, int idx, long argl, void *argp)
{
	(void)parent, (void)ad, (void)idx, (void)argl, (void)argp;
	free(ptr);
}

static int peer_index(void)
{
	static int index = -1;

	if (index < 0)
		index = SSL_get_ex_new_index(0, NULL, NULL, NULL, peer_free);
	return index;
}

struct ratls_peer *ratls_peer(SSL *ssl)
{
	return SSL_get_ex_data(ssl, peer_index());
}

const char *ratls_error(char *buf, size_t size)
{
	unsigned long code = ERR_get_error();

	if (code)
		ERR_error_string_n(code, buf, size);
	else
		snprintf(buf, size, "connection closed");
	ERR_clear_error();
	return buf;
}

static bool is_of_network(int sys)
{
	return sys == ECONNREFUSED || sys == ECONNRESET || sys == EHOSTUNREACH || sys == ENETUNREACH ||
	       sys == ETIMEDOUT;
}

/* libevent passes SSL_get_error()'s SSL_ERROR_SYSCALL on as if it were a code: one of no library. */
void ratls_explain_end(struct bufferevent *bev, const char *where, const char *otherwise, struct err *e)
{
	int sys = EVUTIL_SOCKET_ERROR();
	const struct ratls_peer *peer = ratls_peer(bufferevent_openssl_get_ssl(bev));
	unsigned long code = bufferevent_get_openssl_error(bev);
	char text[160];

	if (peer->err.code) {
		*e = peer->err;
		err_wrap(e, "%s", where);
		return;
	}
	if (ERR_GET_LIB(code))
		ERR_error_string_n(code, text, sizeof(text));
	else
		snprintf(text, sizeof(text), "%s", is_of_network(sys) ? strerror(sys) : otherwise);
	err_at(e, -ECONNRESET, where, "connection failed: %s", text);
}

/* Replaces OpenSSL's chain building: only the leaf's evidence decides. */
static int verify_evidence(X509_STORE_CTX *store, void *arg)
{
	struct ratls *r = arg;
	SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
	struct ratls_peer *peer = ratls_peer(ssl);
	X509 *leaf = X509_STORE_CTX_get0_cert(store);
	struct id_trust trust = { 0 };
	unsigned char *der = NULL;
	int len = i2d_X509(leaf, &der);

	if (len > 0) {
		r->trust(&trust, r->arg);
		peer->is_verified = id_cert_verify(der, (size_t)len, &trust, &peer->claims, &peer->err) == 0;
	}
	OPENSSL_free(der);
	ERR_clear_error();
	X509_STORE_CTX_set_error(store, peer->is_verified ? X509_V_OK : X509_V_ERR_APPLICATION_VERIFICATION);
	return peer->is_verified;
}

static int choose_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_len, const unsigned char *in,
		       unsigned int in_len, void *arg)
{
	unsigned char wire[ALPN_MAX];
	unsigned char *chosen;

	(void)ssl;
	/* the chosen name is the one in `in` where both have it, so nothing points at our stack afterwards */
	if (SSL_select_next_proto(&chosen, out_len, in, in_len, wire, alpn_wire(arg, wire)) != OPENSSL_NPN_NEGOTIATED)
		return SSL_TLSEXT_ERR_ALERT_FATAL;
	*out = chosen;
	return SSL_TLSEXT_ERR_OK;
}

static int no_password(char *buf, int size, int rwflag, void *arg)
{
	(void)buf, (void)size, (void)rwflag, (void)arg;
	return -1; /* never ask on the terminal */
}

static int use_chain(SSL_CTX *ctx, const char *pem)
{
	BIO *bio = BIO_new_mem_buf(pem, -1);
	X509 *cert = bio ? PEM_read_bio_X509(bio, NULL, no_password, NULL) : NULL;
	int ok = cert && SSL_CTX_use_certificate(ctx, cert) == 1;

	X509_free(cert);
	while (ok && (cert = PEM_read_bio_X509(bio, NULL, no_password, NULL))) {
		ok = SSL_CTX_add0_chain_cert(ctx, cert);
		if (!ok)
			X509_free(cert);
	}
	if (ok)
		ERR_clear_error(); /* the end of the PEM text is not an error */
	BIO_free(bio);
	return ok;
}

static int use_key(SSL_CTX *ctx, const char *pem)
{
	BIO *bio = BIO_new_mem_buf(pem, -1);
	EVP_PKEY *key = bio ? PEM_read_bio_PrivateKey(bio, NULL, no_password, NULL) : NULL;
	int ok = key && SSL_CTX_use_PrivateKey(ctx, key) == 1 && SSL_CTX_check_private_key(ctx) == 1;

	EVP_PKEY_free(key);
	BIO_free(bio);
	return ok;
}

static int set_up(SSL_CTX *ctx, struct ratls *judge)
{
	unsigned char wire[ALPN_MAX];

	SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
	SSL_CTX_set_cert_verify_callback(ctx, verify_evidence, judge);
	SSL_CTX_set_max_cert_list(ctx, ID_CERT_MAX);
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET | SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION);
	SSL_CTX_set_alpn_select_cb(ctx, choose_alpn, judge);
	SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS); /* a connection that is quiet holds none */
	return SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION) &&
	       SSL_CTX_set_max_proto_version(ctx, TLS1_3_VERSION) && SSL_CTX_set_num_tickets(ctx, 0) &&
	       SSL_CTX_set_alpn_protos(ctx, wire, alpn_wire(judge, wire)) == 0;
}

int ratls_init(struct ratls *r, struct ratls *judge, const char *cert_pem, const char *key_pem, struct err *e)
{
	char why[256];

	ERR_clear_error();
	r->ctx = SSL_CTX_new(TLS_method());
	if (!r->ctx || !set_up(r->ctx, judge))
		return err_at(e, -ENOMEM, "TLS", "can not set up: %s", ratls_error(why, sizeof(why)));
	return ratls_use(r->ctx, cert_pem, key_pem, e);
}

int ratls_use_chain(SSL_CTX *ctx, const char *cert_pem, struct err *e)
{
	char why[256];

	if (use_chain(ctx, cert_pem))
		return 0;
	return err_at(e, -EINVAL, "own certificate", "is no PEM certificate: %s", ratls_error(why, sizeof(why)));
}

int ratls_use(SSL_CTX *ctx, const char *cert_pem, const char *key_pem, struct err *e)
{
	char why[256];

	if (ratls_use_chain(ctx, cert_pem, e) < 0)
		return e->code;
	if (!use_key(ctx, key_pem))
		return err_at(e, -EINVAL, "own key", "is not the certificate's key: %s", ratls_error(why, sizeof(why)));
	return 0;
}

void ratls_fini(struct ratls *r)
{
	SSL_CTX_free(r->ctx);
	r->ctx = NULL;
}

SSL *ratls_session(struct ratls *r, bool is_server, struct err *e)
{
	struct ratls_peer *peer = calloc(1, sizeof(*peer));
	SSL *ssl = peer ? SSL_new(r->ctx) : NULL;

	if (!ssl || SSL_set_ex_data(ssl, peer_index(), peer) != 1) {
		SSL_free(ssl);
		free(peer);
		err_at(e, -ENOMEM, "TLS", "out of memory");
		return NULL;
	}
	if (is_server)
		SSL_set_accept_state(ssl);
	else
		SSL_set_connect_state(ssl);
	return ssl;
}
