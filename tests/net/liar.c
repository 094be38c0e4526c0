// SPDX-License-Identifier: Apache-2.0
/*
 * A control plane that was stolen: its certificate and key are the real one's, what it says is the attacker's choice.
 *
 *   liar LISTEN CERT.pem KEY.pem NETWORK SERIAL MARK ADDRESS,... [RECORD|revoked=INSTANCE|allowed=INSTANCE]...
 *
 * To each node that dials it grants these addresses in this network at this serial, tells it the rest, and marks.
 * ADDRESS may be `garbage`: then a grant that is no grant. MARK - : none.
 */
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/listen.h"
#include "base/text.h"
#include "mesh/ratls.h"
#include "vpc/wire.h"

static int accept_any(X509_STORE_CTX *store, void *arg)
{
	(void)arg;
	X509_STORE_CTX_set_error(store, X509_V_OK);
	return 1;
}

static int choose(SSL *ssl, const unsigned char **out, unsigned char *len, const unsigned char *in, unsigned in_len,
		  void *arg)
{
	(void)ssl, (void)in_len, (void)arg;
	*len = in[0];
	*out = in + 1;
	return SSL_TLSEXT_ERR_OK;
}

static SSL_CTX *context(const char *cert_path, const char *key_path)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
	auto_free char *cert = NULL, *key = NULL;
	struct err e = ERR_INIT;
	size_t len;

	SSL_CTX_set_max_cert_list(ctx, ID_CERT_MAX);
	SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
	SSL_CTX_set_cert_verify_callback(ctx, accept_any, NULL);
	SSL_CTX_set_alpn_select_cb(ctx, choose, NULL);
	if (file_read(cert_path, ID_CERT_MAX, &cert, &len, &e) < 0 ||
	    file_read(key_path, ID_CERT_MAX, &key, &len, &e) < 0 || ratls_use(ctx, cert, key, &e) < 0) {
		fprintf(stderr, "liar: %s: %s\n", e.where, e.msg);
		exit(1);
	}
	return ctx;
}

struct lie {
	struct vpc_grant grant;
	bool is_garbage;
	const char *mark;
	char **word;
	int n_words;
};

static bool tell_instance(const struct lie *lie, const char *word, const char *what, enum vpc_frame type,
			  struct evbuffer *out)
{
	uint8_t instance_id[BY_INSTANCE_ID_LEN];
	size_t len = strlen(what);

	if (strncmp(word, what, len) != 0 || !hex_parse(instance_id, sizeof(instance_id), word + len))
		return false;
	vpc_send_serial(out, type, lie->grant.serial, instance_id, sizeof(instance_id));
	return true;
}

static void tell(const struct lie *lie, const char *word, struct evbuffer *out)
{
	auto_free char *bytes = NULL;
	struct err e = ERR_INIT;
	size_t len;

	if (tell_instance(lie, word, "revoked=", VPC_REVOKED, out) ||
	    tell_instance(lie, word, "allowed=", VPC_ALLOWED, out))
		return;
	if (file_read(word, ID_RECORD_MAX, &bytes, &len, &e) == 0)
		vpc_send_serial(out, VPC_CHANGE, lie->grant.serial, bytes, len);
}

static void compose(const struct lie *lie, struct evbuffer *out)
{
	auto_free char *text = lie->is_garbage ? strdup("{\"v\":1,\"addrs\":[]}") : vpc_grant_text(&lie->grant);

	vpc_send(out, VPC_GRANT, text, strlen(text));
	for (int i = 0; i < lie->n_words; i++)
		tell(lie, lie->word[i], out);
	if (strcmp(lie->mark, "-") != 0)
		vpc_send_serial(out, VPC_MARK, strtoull(lie->mark, NULL, 10), NULL, 0);
}

/* Takes nothing of what the node says, and holds the line until it hangs up. */
static void serve(SSL *ssl, const struct lie *lie)
{
	struct evbuffer *out = evbuffer_new();
	char buf[4096];

	if (SSL_accept(ssl) == 1 && SSL_read(ssl, buf, sizeof(buf)) > 0) {
		size_t len;

		compose(lie, out);
		len = evbuffer_get_length(out);
		SSL_write(ssl, evbuffer_pullup(out, -1), (int)len);
		while (SSL_read(ssl, buf, sizeof(buf)) > 0)
			;
	}
	evbuffer_free(out);
}

static bool grant_read(struct lie *lie, char *addrs)
{
	char *rest;

	lie->is_garbage = strcmp(addrs, "garbage") == 0;
	for (char *a = strtok_r(addrs, ",", &rest); a && !lie->is_garbage; a = strtok_r(NULL, ",", &rest))
		if (lie->grant.n_addrs == ID_MAX_ADDRS || !addr_parse(&lie->grant.addrs[lie->grant.n_addrs++], a))
			return false;
	return true;
}

int main(int argc, char **argv)
{
	struct lie lie = { 0 };
	struct ip_endpoint at;
	struct err e = ERR_INIT;
	SSL_CTX *ctx;
	int fd;

	if (argc < 8 || !endpoint_parse(&at, argv[1]) ||
	    !hex_parse(lie.grant.network, sizeof(lie.grant.network), argv[4]) || !grant_read(&lie, argv[7])) {
		fprintf(stderr, "usage: liar LISTEN CERT KEY NETWORK SERIAL MARK ADDRESS,... [WORD...]\n");
		return 2;
	}
	signal(SIGPIPE, SIG_IGN);
	signal(SIGCHLD, SIG_IGN);
	lie.grant.serial = strtoull(argv[5], NULL, 10);
	lie.mark = argv[6];
	lie.word = argv + 8;
	lie.n_words = argc - 8;
	ctx = context(argv[2], argv[3]);
	fd = tcp_listen(&at, "liar", &e);
	if (fd < 0) {
		fprintf(stderr, "liar: %s: %s\n", e.where, e.msg);
		return 1;
	}
	for (;;) {
		struct timeval limit = { .tv_sec = 20 };
		fd_set set;
		int conn;
		SSL *ssl;

		FD_ZERO(&set);
		FD_SET(fd, &set);
		if (select(fd + 1, &set, NULL, NULL, NULL) < 0)
			return 1;
		conn = accept(fd, NULL, NULL);
		if (conn < 0)
			continue;
		if (fork() == 0) { /* each node is served alone, and the child ends with it */
			close(fd);
			setsockopt(conn, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
			ssl = SSL_new(ctx);
			SSL_set_fd(ssl, conn);
			serve(ssl, &lie);
			_exit(0);
		}
		close(conn);
	}
}
