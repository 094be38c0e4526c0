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
/*
 * Why a connection ended: `code` as TLS says it (bufferevent_get_openssl_error) or, where that only says that a call of
 * the system failed, `sys`, the errno of then: it may be an older one, and counts where it is of a network. False, and
 * buf as it was: neither says anything.
 */
bool ratls_end_text(unsigned long code, int sys, char *buf, size_t size);
