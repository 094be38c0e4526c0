// SPDX-License-Identifier: Apache-2.0
/*
 * A node that says to the control plane what it likes, with a certificate that is its own, or none's.
 *
 *   false_node SERVER CERT.pem KEY.pem WORD...
 *
 *   hello=NAME   have   record=FILE   ping   frame=TYPE:LENGTH (the head of one; nothing follows)
 *
 * A record waits until addresses were granted. Prints what the server says, one a line: `granted ADDRESS,...`, `taken`,
 * `refused REASON`; in the end `closed`, or `silent` after five seconds without a word. What it tells of others is not
 * printed, and nothing is verified.
 */
#include <errno.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/text.h"
#include "mesh/ratls.h"
#include "vpc/wire.h"

#define SILENCE_S 5

static struct evbuffer *heard;

static int accept_any(X509_STORE_CTX *store, void *arg)
{
	(void)arg;
	X509_STORE_CTX_set_error(store, X509_V_OK);
	return 1;
}

static void die(const struct err *e)
{
	fprintf(stderr, "false_node: %s: %s\n", e->where, e->msg);
	exit(2);
}

static SSL *dial(const char *server, const char *cert_path, const char *key_path)
{
	static const uint8_t alpn[] = "\x0c" VPC_ALPN;
	struct timeval limit = { .tv_sec = SILENCE_S };
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
	auto_free char *cert = NULL, *key = NULL;
	struct err e = ERR_INIT;
	struct sockaddr_storage ss;
	struct ip_endpoint at;
	socklen_t addr_len;
	size_t len;
	SSL *ssl;
	int fd;

	SSL_CTX_set_max_cert_list(ctx, ID_CERT_MAX);
	SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
	SSL_CTX_set_cert_verify_callback(ctx, accept_any, NULL);
	if (!endpoint_parse(&at, server) || file_read(cert_path, ID_CERT_MAX, &cert, &len, &e) < 0 ||
	    file_read(key_path, ID_CERT_MAX, &key, &len, &e) < 0 || ratls_use(ctx, cert, key, &e) < 0)
		die(&e);
	addr_len = endpoint_to_sockaddr(&at, &ss);
	fd = socket(ss.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	ssl = SSL_new(ctx);
	SSL_set_alpn_protos(ssl, alpn, sizeof(alpn) - 1);
	SSL_set_fd(ssl, fd);
	if (connect(fd, (struct sockaddr *)&ss, addr_len) < 0 || SSL_connect(ssl) != 1) {
		puts("closed");
		exit(0);
	}
	return ssl;
}

/* --- what the server says --- */

static void print_grant(struct in in)
{
	struct vpc_grant grant;
	struct err e = ERR_INIT;
	char text[ADDR_TEXT];

	if (vpc_grant_read(in, &grant, &e) < 0)
		die(&e);
	printf("granted ");
	for (uint32_t i = 0; i < grant.n_addrs; i++)
		printf("%s%s", i ? "," : "", addr_print(&grant.addrs[i], text));
	putchar('\n');
}

/* Until a frame of this type has come; 0: to the end. */
static void hear(SSL *ssl, enum vpc_frame until)
{
	struct err e = ERR_INIT;
	enum vpc_frame type = 0;
	struct in payload;
	char buf[4096];
	int ret;

	while (!until || type != until) {
		while ((ret = vpc_frame_next(heard, false, &type, &payload, &e)) == 0) {
			int n = SSL_read(ssl, buf, sizeof(buf));

			if (n <= 0) {
				puts(SSL_get_error(ssl, n) == SSL_ERROR_WANT_READ || errno == EAGAIN ? "silent"
												     : "closed");
				exit(0);
			}
			evbuffer_add(heard, buf, (size_t)n);
		}
		if (ret < 0)
			die(&e);
		ret = (int)payload.left;
		if (type == VPC_GRANT)
			print_grant(payload);
		else if (type == VPC_TAKEN)
			puts("taken");
		else if (type == VPC_REFUSED)
			printf("refused %.*s\n", ret, (const char *)payload.p);
		vpc_frame_drop(heard, (size_t)ret);
	}
}

/* --- what it says --- */

static void say(SSL *ssl, enum vpc_frame type, const void *data, size_t len)
{
	struct evbuffer *out = evbuffer_new();

	vpc_send(out, type, data, len);
	SSL_write(ssl, evbuffer_pullup(out, -1), (int)evbuffer_get_length(out));
	evbuffer_free(out);
}

static void say_hello(SSL *ssl, const char *name)
{
	struct vpc_hello hello = { 0 };
	auto_free char *text = NULL;

	snprintf(hello.node, sizeof(hello.node), "%s", name);
	text = vpc_hello_text(&hello);
	say(ssl, VPC_HELLO, text, strlen(text));
}

static void say_record(SSL *ssl, const char *path)
{
	auto_free char *bytes = NULL;
	struct err e = ERR_INIT;
	size_t len;

	if (file_read(path, ID_RECORD_MAX, &bytes, &len, &e) < 0)
		die(&e);
	hear(ssl, VPC_GRANT);
	say(ssl, VPC_RECORD, bytes, len);
}

static void say_head(SSL *ssl, const char *text)
{
	uint8_t head[VPC_HEAD];
	unsigned type;
	size_t len;

	if (sscanf(text, "%u:%zu", &type, &len) != 2)
		exit(2);
	vpc_head_put(head, type, len);
	SSL_write(ssl, head, sizeof(head));
}

static void say_word(SSL *ssl, const char *word)
{
	const char *value = strchr(word, '=');

	if (strncmp(word, "hello=", 6) == 0)
		say_hello(ssl, value + 1);
	else if (strncmp(word, "record=", 7) == 0)
		say_record(ssl, value + 1);
	else if (strncmp(word, "frame=", 6) == 0)
		say_head(ssl, value + 1);
	else if (strcmp(word, "have") == 0)
		say(ssl, VPC_HAVE, NULL, 0);
	else if (strcmp(word, "ping") == 0)
		say(ssl, VPC_PING, NULL, 0);
	else
		exit(2);
}

int main(int argc, char **argv)
{
	SSL *ssl;

	if (argc < 5) {
		fprintf(stderr, "usage: false_node SERVER CERT.pem KEY.pem WORD...\n");
		return 2;
	}
	signal(SIGPIPE, SIG_IGN);
	heard = evbuffer_new();
	ssl = dial(argv[1], argv[2], argv[3]);
	for (int i = 4; i < argc; i++)
		say_word(ssl, argv[i]);
	hear(ssl, 0);
	return 0;
}
