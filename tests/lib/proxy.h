/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two proxy engines in a thread of their own, a client's and a server's side with mutual TLS 1.3 between them, and what
 * is at both ends: sockets of the test, which blocks. App ids are twenty times the byte: PW_CLIENT, PW_SERVER.
 */
#pragma once

#include <pthread.h>

#include "mesh/proxy.h"

#define PW_CLIENT  0xaa
#define PW_SERVER  0xbb
#define PW_OTHER   0xcc
#define PW_TIMEOUT 10 /* seconds, for every blocking call of the test */

#define PW_APP_SERVER "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
#define PW_APP_CLIENT "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define PW_APP_OTHER  "cccccccccccccccccccccccccccccccccccccccc"

enum pw_entry { PW_HTTP, PW_TCP, PW_PLAIN, PW_TLS_HTTP, PW_TLS_TCP, PW_ENTRIES };

struct pw_conf {
	struct mp_conf client, server; /* base and ops are filled in */
	uint8_t server_is;             /* which certificate the server shows; 0: PW_SERVER */
	unsigned peer_s;               /* how long a peer is good; 0: for ever */
	uint16_t backend;              /* port; 0: the test accepts (pw_accept) */
	uint16_t bad[2];               /* ports that do not answer, dialled before the backend's; 0: none */
	uint16_t tls_tcp;              /* port of another process's server side, for PW_TCP; 0: the own one */
	bool h2_backend;               /* it speaks HTTP/2 */
	bool is_old;                   /* the server's side chooses HTTP/1.1 */
};

struct pw {
	struct pw_conf conf;
	struct event_base *base;
	struct mp *client, *server;
	pthread_t thread;
	int wake[2];
	struct event *task;
	EVP_PKEY *ca_key, *key[256];
	X509 *ca, *cert[256];
	SSL_CTX *out[256], *in[256];
	struct mp_peer *peers[256];
	struct mp_upstream *to[256], *to_tcp, *plain, *backend;
	struct mp_listener *listeners[PW_ENTRIES];
	uint16_t port[PW_ENTRIES];
	int backend_fd;
	uint16_t backend_port;
	/* told by the loop's thread */
	_Atomic unsigned refused;
	_Atomic int last_error;
	_Atomic unsigned routes, judged;
	_Atomic bool later, deny_all;
	char last_text[256];
	unsigned waited;
};

/* Before a fork: every pw that is started from then on has the same CA, keys and certificates. */
void pw_certs_share(void);
void pw_start(struct pw *w, const struct pw_conf *conf);
void pw_stop(struct pw *w);
/* Runs fn in the loop's thread and waits for its end. */
void pw_do(struct pw *w, void (*fn)(struct pw *w, void *arg), void *arg);
struct mp_counters pw_counters(struct pw *w, bool of_server);
SSL_CTX *pw_client_ctx(struct pw *w, uint8_t who); /* for a TLS client of the test's own */

struct dp_relays;
/*
 * A kernel, or whoever runs this, may not have it: the tests of `name` are then told as skipped. A path by a sockmap
 * has one opened, which is the caller's to close; *sockmap is NULL else.
 */
bool pw_has_path(enum mp_path path, const char *name, struct dp_relays **sockmap);

/* Blocking sockets. */
int pw_dial_port(uint16_t port);
int pw_dial(struct pw *w, enum pw_entry entry);
int pw_accept(struct pw *w);
int pw_listen_any(uint16_t *port);
void pw_send(int fd, const char *text);
void pw_send_bytes(int fd, const void *p, size_t len);
/* Up to and with `mark`, as a string; what came behind it stays in the socket. NULL: the connection ended before. */
char *pw_until(int fd, const char *mark);
char *pw_head(int fd); /* until the empty line */
bool pw_exactly(int fd, void *p, size_t len);
bool pw_is_eof(int fd);   /* an orderly end is next */
bool pw_is_reset(int fd); /* a reset is next */

void pw_get(int fd);         /* of PW_SERVER */
void pw_answer(int back);    /* 200, with a body */
bool pw_is_answered(int fd); /* that is next */
