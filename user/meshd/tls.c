// SPDX-License-Identifier: Apache-2.0
/*
 * TLS 1.3 contexts. A full handshake judges the peer's certificate before it ends; what was found goes into the session
 * ticket, with its end, and a ticket whose verdict is over, or was given by another trust, is refused: the peer then
 * makes a full handshake. Tickets are encrypted with keys that the parent makes and all workers share.
 */
#include <errno.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"
#include "mesh/ratls.h"
#include "worker.h"

#define SUITES "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"
#define GROUPS "X25519:P-256"
/* also of the certificates in a chain; OpenSSL's own list has SHA-224 */
#define SIGNATURES                                                                                                     \
	"ECDSA+SHA256:ECDSA+SHA384:ECDSA+SHA512:ed25519:rsa_pss_pss_sha256:rsa_pss_pss_sha384:rsa_pss_pss_sha512:"     \
	"rsa_pss_rsae_sha256:rsa_pss_rsae_sha384:rsa_pss_rsae_sha512:RSA+SHA256:RSA+SHA384:RSA+SHA512"
#define TICKET_S (6 * 3600) /* as long as its key is used to encrypt; decrypted for as long again */

/* --- what hangs on an SSL --- */

static void shake_free(struct md_shake *s)
{
	if (!s)
		return;
	md_target_unref(s->target);
	if (s->peer)
		mp_peer_unref(&s->peer->mp);
	free(s);
}

static void on_ssl_free(void *parent, void *ptr, CRYPTO_EX_DATA *ad, int idx, long argl, void *argp)
{
	(void)parent, (void)ad, (void)idx, (void)argl, (void)argp;
	shake_free(ptr);
}

static int shake_index(void)
{
	static int index = -1;

	if (index < 0)
		index = SSL_get_ex_new_index(0, NULL, NULL, NULL, on_ssl_free);
	return index;
}

struct md_shake *md_shake_of(SSL *ssl)
{
	return SSL_get_ex_data(ssl, shake_index());
}

const struct md_verdict *md_shake_verdict(SSL *ssl)
{
	const struct md_shake *s = md_shake_of(ssl);

	return s && s->has_verdict && (s->is_fresh || SSL_session_reused(ssl)) ? &s->verdict : NULL;
}

static struct md_worker_state *state_of(SSL *ssl)
{
	return SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
}

void md_shake_done(SSL *ssl, struct md_peer *peer)
{
	struct md_shake *s = md_shake_of(ssl), *small;

	if (!s || SSL_is_server(ssl) || s->is_public || !peer) {
		SSL_set_ex_data(ssl, shake_index(), NULL);
		shake_free(s);
		return;
	}
	/* tickets are still to come: whose they are, and nothing else */
	s->peer = peer;
	mp_peer_ref(&peer->mp);
	small = realloc(s, offsetof(struct md_shake, verdict));
	SSL_set_ex_data(ssl, shake_index(), small ? small : s);
}

/* --- the peer's certificate --- */

/*
 * Evidence makes a certificate of ten or more kilobytes. OpenSSL keeps the peer's certificates as long as the
 * connection, and writes the leaf into each ticket. Once judged, all that is still needed of them is the leaf's key.
 */
static void slim(X509_STORE_CTX *store)
{
	STACK_OF(X509) *chain = X509_STORE_CTX_get0_untrusted(store);
	X509 *leaf = X509_STORE_CTX_get0_cert(store);

	while (X509_get_ext_count(leaf) > 0)
		X509_EXTENSION_free(X509_delete_ext(leaf, 0));
	i2d_re_X509_tbs(leaf, NULL); /* what was encoded before is let go */
	while (chain && sk_X509_num(chain) > 1)
		X509_free(sk_X509_pop(chain));
}

static int x509_error(const struct err *e)
{
	switch (e->reason) {
	case ID_CERT_VALIDITY:
		return X509_V_ERR_CERT_HAS_EXPIRED;
	case ID_CERT_CHAIN:
		return X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY;
	default:
		return X509_V_ERR_APPLICATION_VERIFICATION;
	}
}

static int judge_certificate(X509_STORE_CTX *store, void *arg)
{
	SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
	struct md_shake *s = md_shake_of(ssl);
	struct md_worker_state *w = arg;
	unsigned char *der = NULL;
	int len = i2d_X509(X509_STORE_CTX_get0_cert(store), &der);

	s->has_verdict = s->is_fresh = false;
	if (len > 0 &&
	    md_judge_peer(&w->judge, der, (size_t)len, X509_STORE_CTX_get0_untrusted(store), &s->verdict, &s->err) == 0)
		s->has_verdict = s->is_fresh = true;
	OPENSSL_free(der);
	ERR_clear_error();
	if (s->is_fresh)
		w->counts.verified++;
	else
		w->counts.refused++;
	slim(store);
	X509_STORE_CTX_set_error(store, s->is_fresh ? X509_V_OK : x509_error(&s->err));
	return s->is_fresh;
}

/* --- tickets, as a server --- */

static int on_ticket_made(SSL *ssl, void *arg)
{
	const struct md_verdict *v = md_shake_verdict(ssl);

	(void)arg;
	/* a ticket without a verdict brings nobody back: on_ticket() refuses it */
	return SSL_SESSION_set1_ticket_appdata(SSL_get_session(ssl), v, v ? sizeof(*v) : 0);
}

static SSL_TICKET_RETURN on_ticket(SSL *ssl, SSL_SESSION *session, const unsigned char *name, size_t name_len,
				   SSL_TICKET_STATUS status, void *arg)
{
	struct md_worker_state *w = arg;
	struct md_shake *s = md_shake_of(ssl);
	void *data = NULL;
	size_t len = 0;

	(void)name, (void)name_len;
	if (status != SSL_TICKET_SUCCESS && status != SSL_TICKET_SUCCESS_RENEW)
		return SSL_TICKET_RETURN_IGNORE_RENEW;
	if (!s || !SSL_SESSION_get0_ticket_appdata(session, &data, &len) || len != sizeof(s->verdict))
		return SSL_TICKET_RETURN_IGNORE_RENEW;
	memcpy(&s->verdict, data, len);
	if (!md_verdict_holds(&w->judge, &s->verdict)) {
		w->counts.tickets_refused++;
		return SSL_TICKET_RETURN_IGNORE_RENEW;
	}
	s->has_verdict = true;
	return SSL_TICKET_RETURN_USE_RENEW;
}

static int ticket_cipher(EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac, const struct md_ticket_key *key,
			 unsigned char iv[EVP_MAX_IV_LENGTH], int encrypt)
{
	OSSL_PARAM params[] = { OSSL_PARAM_octet_string(OSSL_MAC_PARAM_KEY, (void *)key->mac, sizeof(key->mac)),
				OSSL_PARAM_utf8_string(OSSL_MAC_PARAM_DIGEST, (char *)"SHA256", 0), OSSL_PARAM_END };

	return EVP_CipherInit_ex(cipher, EVP_aes_256_cbc(), NULL, key->aes, iv, encrypt) == 1 &&
	       EVP_MAC_CTX_set_params(mac, params) == 1;
}

static int on_ticket_key(SSL *ssl, unsigned char name[16], unsigned char iv[EVP_MAX_IV_LENGTH], EVP_CIPHER_CTX *cipher,
			 EVP_MAC_CTX *mac, int encrypt)
{
	const struct md_tickets *t = &state_of(ssl)->tickets;

	if (encrypt) {
		memcpy(name, t->key[0].name, sizeof(t->key[0].name));
		return RAND_bytes(iv, EVP_MAX_IV_LENGTH) == 1 && ticket_cipher(cipher, mac, &t->key[0], iv, 1) ? 1 : -1;
	}
	for (size_t i = 0; i < ARRAY_LEN(t->key); i++)
		if (memcmp(name, t->key[i].name, sizeof(t->key[i].name)) == 0)
			return ticket_cipher(cipher, mac, &t->key[i], iv, 0) ? (i ? 2 : 1) : -1;
	return 0;
}

/* --- sessions, as a client --- */

static int on_session(SSL *ssl, SSL_SESSION *session)
{
	struct md_shake *s = md_shake_of(ssl);

	if (!s || !s->target || !s->peer)
		return 0;
	SSL_SESSION_free(s->target->session);
	if (s->target->session_peer)
		mp_peer_unref(&s->target->session_peer->mp);
	s->target->session = session; /* the reference is ours with 1 */
	s->target->session_peer = s->peer;
	mp_peer_ref(&s->peer->mp);
	return 1;
}

/* The session of before, when the verdict of before still holds: whoever can go on with it is the same peer. */
static void resume(SSL *ssl, struct md_shake *s)
{
	struct md_target *t = s->target;

	if (!t->session || !md_verdict_holds(&s->w->judge, &t->session_peer->verdict) ||
	    SSL_set_session(ssl, t->session) != 1)
		return;
	s->verdict = t->session_peer->verdict;
	s->has_verdict = true;
}

/* --- contexts --- */

static bool common(SSL_CTX *ctx, struct md_worker_state *w)
{
	SSL_CTX_set_app_data(ctx, w);
	SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
				      SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	SSL_CTX_set_options(ctx, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION);
	return SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION) && SSL_CTX_set_ciphersuites(ctx, SUITES) &&
	       SSL_CTX_set1_groups_list(ctx, GROUPS) && SSL_CTX_set1_sigalgs_list(ctx, SIGNATURES);
}

static bool judged(SSL_CTX *ctx, struct md_worker_state *w, int mode)
{
	SSL_CTX_set_verify(ctx, mode, NULL);
	SSL_CTX_set_cert_verify_callback(ctx, judge_certificate, w);
	SSL_CTX_set_max_cert_list(ctx, ID_CERT_MAX);
	return SSL_CTX_set_max_proto_version(ctx, TLS1_3_VERSION);
}

/* HTTP/2 before HTTP/1.1 where the peer asks for a protocol, whatever it speaks in a tunnel where it does not. */
static int choose_protocol(SSL *ssl, const unsigned char **out, unsigned char *out_len, const unsigned char *in,
			   unsigned int in_len, void *arg)
{
	static const unsigned char ours[] = "\x02h2\x08http/1.1";
	const struct md_shake *s = md_shake_of(ssl);
	unsigned skip = s && s->is_http ? 0 : 3;

	(void)arg;
	return SSL_select_next_proto((unsigned char **)out, out_len, ours + skip, sizeof(ours) - 1 - skip, in,
				     in_len) == OPENSSL_NPN_NEGOTIATED
		       ? SSL_TLSEXT_ERR_OK
		       : SSL_TLSEXT_ERR_NOACK;
}

static bool server_new(struct md_worker_state *w, SSL_CTX **ctx)
{
	static const unsigned char id[] = "bailey-mesh";

	*ctx = SSL_CTX_new(TLS_server_method());
	if (!*ctx || !common(*ctx, w) || !judged(*ctx, w, SSL_VERIFY_PEER))
		return false;
	SSL_CTX_set_session_cache_mode(*ctx, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_timeout(*ctx, TICKET_S);
	SSL_CTX_set_alpn_select_cb(*ctx, choose_protocol, NULL);
	return SSL_CTX_set_session_id_context(*ctx, id, sizeof(id) - 1) && SSL_CTX_set_num_tickets(*ctx, 1) &&
	       SSL_CTX_set_tlsext_ticket_key_evp_cb(*ctx, on_ticket_key) &&
	       SSL_CTX_set_session_ticket_cb(*ctx, on_ticket_made, on_ticket, w);
}

static bool client_new(struct md_worker_state *w, SSL_CTX **ctx)
{
	*ctx = SSL_CTX_new(TLS_client_method());
	if (!*ctx || !common(*ctx, w) || !judged(*ctx, w, SSL_VERIFY_PEER))
		return false;
	SSL_CTX_set_session_cache_mode(*ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
	SSL_CTX_sess_set_new_cb(*ctx, on_session);
	return true;
}

/* Towards a gateway that ends TLS: its name and the public roots decide, TLS 1.2 will do, and we stay anonymous. */
static bool open_new(struct md_worker_state *w, const char *roots, SSL_CTX **ctx)
{
	BIO *bio = BIO_new_mem_buf(roots, -1);
	X509_STORE *store;
	X509 *root;
	int n = 0;

	*ctx = SSL_CTX_new(TLS_client_method());
	if (!*ctx || !bio || !common(*ctx, w) || !SSL_CTX_set_min_proto_version(*ctx, TLS1_2_VERSION)) {
		BIO_free(bio);
		return false;
	}
	SSL_CTX_set_verify(*ctx, SSL_VERIFY_PEER, NULL);
	SSL_CTX_set_session_cache_mode(*ctx, SSL_SESS_CACHE_OFF);
	store = SSL_CTX_get_cert_store(*ctx);
	while ((root = PEM_read_bio_X509(bio, NULL, NULL, NULL))) {
		n += X509_STORE_add_cert(store, root) == 1;
		X509_free(root);
	}
	ERR_clear_error(); /* the end of the text is not an error */
	BIO_free(bio);
	return n > 0;
}

static int use(SSL_CTX *ctx, const char *chain, EVP_PKEY *key, struct err *e)
{
	char why[256];
	int ret = ratls_use_chain(ctx, chain, e);

	if (!ret && SSL_CTX_use_PrivateKey(ctx, key) != 1)
		ret = err_at(e, -EINVAL, "own key", "is not the certificate's key: %s", ratls_error(why, sizeof(why)));
	return ret;
}

void md_tls_fini(struct md_tls *tls)
{
	SSL_CTX_free(tls->server);
	SSL_CTX_free(tls->client);
	SSL_CTX_free(tls->open);
	*tls = (struct md_tls){ 0 };
}

int md_tls_new(struct md_worker_state *w, const char *chain, EVP_PKEY *key, const char *public_ca, struct md_tls *tls,
	       struct err *e)
{
	struct md_tls made = { 0 };
	char why[256];
	int ret = 0;

	ERR_clear_error();
	if (!server_new(w, &made.server) || !client_new(w, &made.client))
		ret = err_at(e, -EIO, "TLS", "can not set up: %s", ratls_error(why, sizeof(why)));
	else if (public_ca && !open_new(w, public_ca, &made.open))
		ret = err_at(e, -EINVAL, "client.public_ca", "has no certificate that can be read");
	if (!ret)
		ret = use(made.server, chain, key, e);
	if (!ret)
		ret = use(made.client, chain, key, e);
	if (ret < 0) {
		md_tls_fini(&made);
		return ret;
	}
	*tls = made;
	return 0;
}

/* --- sessions --- */

static SSL *session_new(SSL_CTX *ctx, struct md_worker_state *w, struct md_target *target, struct err *e)
{
	struct md_shake *s = calloc(1, sizeof(*s));
	SSL *ssl = ctx && s ? SSL_new(ctx) : NULL;

	if (!ssl || SSL_set_ex_data(ssl, shake_index(), s) != 1) {
		SSL_free(ssl);
		free(s);
		err_at(e, -ENOMEM, "TLS", ctx ? "out of memory" : "has no certificate yet");
		return NULL;
	}
	s->w = w;
	s->target = target;
	if (target)
		target->refs++;
	return ssl;
}

SSL *md_tls_server(struct md_worker_state *w, bool is_http, struct err *e)
{
	SSL *ssl = session_new(w->tls.server, w, NULL, e);

	if (ssl) {
		SSL_set_accept_state(ssl);
		md_shake_of(ssl)->is_http = is_http;
	}
	return ssl;
}

static bool is_address(const char *host)
{
	struct by_addr addr;

	return addr_parse(&addr, host);
}

SSL *md_tls_client(struct md_worker_state *w, struct md_target *target, struct err *e)
{
	bool is_public = target->want.way == MD_WAY_PUBLIC;
	SSL *ssl = session_new(is_public ? w->tls.open : w->tls.client, w, target, e);
	const char *host = target->want.host;

	if (!ssl)
		return NULL;
	SSL_set_connect_state(ssl);
	md_shake_of(ssl)->is_public = is_public;
	if (!is_address(host))
		SSL_set_tlsext_host_name(ssl, host);
	if (is_public)
		SSL_set1_host(ssl, host);
	else
		resume(ssl, md_shake_of(ssl));
	return ssl;
}

/* --- why a handshake failed --- */

static enum mp_error by_reason(const struct err *e)
{
	switch (e->reason) {
	case ID_CERT_VALIDITY:
		return MP_ERR_CERT_EXPIRED;
	case ID_CERT_CHAIN:
		return MP_ERR_UNKNOWN_ISSUER;
	default:
		return MP_ERR_VERIFICATION_FAILED;
	}
}

static enum mp_error by_x509(long code, struct err *e)
{
	err_at(e, -EACCES, "peer", "%s", X509_verify_cert_error_string(code));
	if (code == X509_V_ERR_CERT_HAS_EXPIRED || code == X509_V_ERR_CERT_NOT_YET_VALID)
		return MP_ERR_CERT_EXPIRED;
	return code == X509_V_ERR_HOSTNAME_MISMATCH ? MP_ERR_VERIFICATION_FAILED : MP_ERR_UNKNOWN_ISSUER;
}

enum mp_error md_shake_error(SSL *ssl, struct err *e)
{
	struct md_shake *s = md_shake_of(ssl);
	long code = SSL_get_verify_result(ssl);
	char why[256];

	if (s && s->err.code) {
		*e = s->err;
		ERR_clear_error();
		return by_reason(&s->err);
	}
	if (code != X509_V_OK && s && s->is_public) {
		ERR_clear_error();
		return by_x509(code, e);
	}
	err_at(e, -EPROTO, "peer", "TLS: %s", ratls_error(why, sizeof(why)));
	return MP_ERR_HANDSHAKE_FAILED;
}
