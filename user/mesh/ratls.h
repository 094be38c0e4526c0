/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A TLS context whose peers are judged by their evidence instead of a CA: TLS 1.3 only, both sides present a
 * certificate, no session is resumed (each handshake proves the key and the evidence anew).
 */
#pragma once

#include <openssl/ssl.h>

#include "base/err.h"
#include "identity/identity.h"

/* What one handshake learnt of its peer; lives as long as the SSL, see ratls_peer(). */
struct ratls_peer {
	bool is_verified;
	struct id_claims claims;
	struct err err; /* why not */
};

struct ratls {
	SSL_CTX *ctx;
	void (*trust)(struct id_trust *trust, void *arg);
	void *arg;
	const char *alpn; /* the one protocol that is spoken; NULL: RATLS_ALPN_RECORD */
};

#define RATLS_ALPN_RECORD "bailey-record/2"

/* The certificate chain (leaf first) and its key as PEM. `judge`: whose trust() judges peers; it outlives the context.
 */
int ratls_init(struct ratls *r, struct ratls *judge, const char *cert_pem, const char *key_pem, struct err *e);
/* The same for a context of the caller's own; the chain alone, where the key is elsewhere. */
int ratls_use(SSL_CTX *ctx, const char *cert_pem, const char *key_pem, struct err *e);
int ratls_use_chain(SSL_CTX *ctx, const char *cert_pem, struct err *e);
void ratls_fini(struct ratls *r);
SSL *ratls_session(struct ratls *r, bool is_server, struct err *e);
struct ratls_peer *ratls_peer(SSL *ssl);
/* The OpenSSL queue's first entry as text; empties the queue. */
const char *ratls_error(char *buf, size_t size);
struct bufferevent;
/*
 * Why a handshake or a connection to `where` failed, from within the event that says so: our own verdict on the peer's
 * evidence, TLS's words, or the system's, which may be older ones and count where they are of a network; else
 * `otherwise`.
 */
void ratls_explain_end(struct bufferevent *bev, const char *where, const char *otherwise, struct err *e);
