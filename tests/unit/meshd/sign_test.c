// SPDX-License-Identifier: Apache-2.0
/* The key process: what it signs, for whom, and what a worker that was taken over gets from it. */
#include <errno.h>
#include <fcntl.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "baileyd/ipc.h"
#include "base/log.h"
#include "identity/x509.h"
#include "meshd/sign.h"

/* A thread stands for the process: it has the keys and the far end of the channels. */
struct keys {
	struct event_base *base;
	struct sign_ring *ring;
	pthread_t thread;
	int channel[2]; /* our ends */
	uint8_t spki[ID_SPKI_LEN];
	EVP_PKEY *key; /* the same, for what a test wants to compare */
};

static void *run(void *arg)
{
	struct keys *k = arg;

	event_base_loop(k->base, EVLOOP_NO_EXIT_ON_EMPTY);
	return NULL;
}

static void on_stop(evutil_socket_t fd, short what, void *arg)
{
	char byte;

	(void)what;
	assert_true(read(fd, &byte, 1) >= 0);
	event_base_loopbreak(arg);
}

static int stop_pipe[2];

static void start(struct keys *k)
{
	struct err e = ERR_INIT;
	char *pem;

	k->key = id_p256_new();
	pem = id_key_to_pem(k->key);
	k->base = event_base_new();
	assert_int_equal(sign_ring_new(k->base, &k->ring, &e), 0);
	assert_int_equal(sign_ring_add(k->ring, 7, pem, k->spki, &e), 0);
	free(pem);
	for (int i = 0; i < 2; i++) {
		int fds[2];

		assert_int_equal(ipc_pair(fds), 0);
		assert_int_equal(sign_ring_serve(k->ring, fds[0]), 0);
		k->channel[i] = fds[1];
	}
	assert_int_equal(pipe(stop_pipe), 0);
	event_base_once(k->base, stop_pipe[0], EV_READ, on_stop, k->base, NULL);
	assert_int_equal(pthread_create(&k->thread, NULL, run, k), 0);
}

static void stop(struct keys *k)
{
	assert_int_equal(write(stop_pipe[1], "", 1), 1);
	pthread_join(k->thread, NULL);
	sign_ring_free(k->ring);
	event_base_free(k->base);
	EVP_PKEY_free(k->key);
	close(stop_pipe[0]);
	close(stop_pipe[1]);
}

static void blocking(int fd)
{
	struct timeval tv = { .tv_sec = 5 };

	assert_int_equal(fcntl(fd, F_SETFL, 0), 0);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
}

static struct sign_answer ask(int fd, struct sign_ask q)
{
	struct sign_answer a;

	assert_int_equal(send(fd, &q, sizeof(q), MSG_NOSIGNAL), sizeof(q));
	assert_int_equal(recv(fd, &a, sizeof(a), 0), sizeof(a));
	return a;
}

/* What it signs is the handshake's message and no other: the hash alone, or other words around it, do not verify. */
static void signs_handshakes_only(void **state)
{
	struct keys k = { 0 };
	struct sign_ask q = { .token = 5, .key = 7, .side = SIGN_SERVER, .hash_len = 32, .hash = "some hash" };
	struct sign_answer a;
	uint8_t bytes[64 + 34 + 32];

	(void)state;
	start(&k);
	blocking(k.channel[0]);
	a = ask(k.channel[0], q);
	assert_int_equal(a.code, 0);
	assert_int_equal(a.token, 5);
	memset(bytes, ' ', 64);
	memcpy(bytes + 64, "TLS 1.3, server CertificateVerify", 34);
	memcpy(bytes + 98, q.hash, 32);
	assert_true(id_ecdsa_verify(k.key, a.sig, a.len, bytes, sizeof(bytes)));
	assert_false(id_ecdsa_verify(k.key, a.sig, a.len, q.hash, 32));
	bytes[73] = 'c';
	assert_false(id_ecdsa_verify(k.key, a.sig, a.len, bytes, sizeof(bytes)));
	close(k.channel[0]);
	close(k.channel[1]);
	stop(&k);
}

static void refuses(void **state)
{
	static const struct {
		struct sign_ask q;
		int code;
	} tries[] = {
		{ { .key = 8, .side = SIGN_SERVER, .hash_len = 32 }, -ENOKEY }, /* another key */
		{ { .key = 0, .side = SIGN_SERVER, .hash_len = 32 }, -ENOKEY }, /* the number of an empty place */
		{ { .key = 7, .side = SIGN_SIDES, .hash_len = 32 }, -EINVAL },  /* words that there are not */
		{ { .key = 7, .side = UINT32_MAX, .hash_len = 32 }, -EINVAL },
		{ { .key = 7, .side = SIGN_CLIENT, .hash_len = 0 }, -EINVAL },
		{ { .key = 7, .side = SIGN_CLIENT, .hash_len = 31 }, -EINVAL },
		{ { .key = 7, .side = SIGN_CLIENT, .hash_len = 64 }, -EINVAL },
		{ { .key = 7, .side = SIGN_CLIENT, .hash_len = UINT32_MAX }, -EINVAL },
	};
	struct keys k = { 0 };

	(void)state;
	start(&k);
	blocking(k.channel[0]);
	for (size_t i = 0; i < ARRAY_LEN(tries); i++) {
		struct sign_answer a = ask(k.channel[0], tries[i].q);

		assert_int_equal(a.code, tries[i].code);
		assert_int_equal(a.len, 0);
		assert_true(bytes_are_zero(a.sig, sizeof(a.sig)));
	}
	close(k.channel[0]);
	close(k.channel[1]);
	stop(&k);
}

/* Bytes that are no question end that worker's channel; the other worker is served on. */
static void ends_who_is_malformed(void **state)
{
	static const size_t sizes[] = { 1, 8, sizeof(struct sign_ask) - 1, sizeof(struct sign_ask) + 1, 4096 };
	struct sign_ask q = { .key = 7, .side = SIGN_CLIENT, .hash_len = 48 };
	char bytes[4096] = { 0 }, got;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
		struct keys k = { 0 };

		start(&k);
		blocking(k.channel[0]);
		blocking(k.channel[1]);
		assert_int_equal(send(k.channel[0], bytes, sizes[i], MSG_NOSIGNAL), sizes[i]);
		assert_int_equal(recv(k.channel[0], &got, 1, 0), 0);
		assert_int_equal(ask(k.channel[1], q).code, 0);
		close(k.channel[0]);
		close(k.channel[1]);
		stop(&k);
	}
}

/* A worker that asks without reading fills its own channel and is dropped; the key process waits for nobody. */
static void drops_who_does_not_read(void **state)
{
	struct sign_ask q = { .key = 9, .side = SIGN_CLIENT, .hash_len = 48 }, good = q;
	struct keys k = { 0 };
	struct timespec pause = { .tv_nsec = 1000000 };
	int sent = 0;

	(void)state;
	good.key = 7;
	start(&k);
	blocking(k.channel[1]);
	for (int i = 0; i < 20000 && sent >= 0; i++) {
		sent = (int)send(k.channel[0], &q, sizeof(q), MSG_NOSIGNAL | MSG_DONTWAIT);
		if (sent < 0 && errno == EAGAIN) {
			nanosleep(&pause, NULL);
			sent = 0;
		}
	}
	assert_true(sent < 0); /* EPIPE: its channel was closed */
	assert_int_equal(ask(k.channel[1], good).code, 0);
	close(k.channel[0]);
	close(k.channel[1]);
	stop(&k);
}

static void keeps_the_keys_before(void **state)
{
	struct event_base *base = event_base_new();
	struct sign_ring *ring;
	struct sign_answer a;
	struct err e = ERR_INIT;
	uint8_t spki[ID_SPKI_LEN];

	(void)state;
	assert_int_equal(sign_ring_new(base, &ring, &e), 0);
	for (uint32_t i = 1; i <= SIGN_KEYS_MAX + 1; i++) {
		EVP_PKEY *key = id_p256_new();
		char *pem = id_key_to_pem(key);

		assert_int_equal(sign_ring_add(ring, i, pem, spki, &e), 0);
		free(pem);
		EVP_PKEY_free(key);
	}
	for (uint32_t i = 1; i <= SIGN_KEYS_MAX + 1; i++) {
		sign_ring_answer(ring, &(struct sign_ask){ .key = i, .hash_len = 32 }, &a);
		assert_int_equal(a.code, i == 1 ? -ENOKEY : 0);
	}
	sign_ring_forget(ring, 3);
	for (uint32_t i = 2; i <= SIGN_KEYS_MAX + 1; i++) {
		sign_ring_answer(ring, &(struct sign_ask){ .key = i, .hash_len = 32 }, &a);
		assert_int_equal(a.code, i == 3 ? -ENOKEY : 0);
	}
	assert_int_equal(sign_ring_add(ring, 99, "no key", spki, &e), -EINVAL);
	sign_ring_free(ring);
	event_base_free(base);
}

/* --- the worker's half --- */

/* A handshake in which both sides have their key elsewhere. */
static bool shake(EVP_PKEY *key, X509 *cert)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_method());
	SSL *side[2];
	BIO *bio[2];
	bool done = false;

	SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION);
	assert_int_equal(SSL_CTX_use_certificate(ctx, cert), 1);
	if (SSL_CTX_use_PrivateKey(ctx, key) != 1) {
		SSL_CTX_free(ctx);
		return false;
	}
	SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
	X509_STORE_add_cert(SSL_CTX_get_cert_store(ctx), cert);
	assert_int_equal(BIO_new_bio_pair(&bio[0], 0, &bio[1], 0), 1);
	for (int i = 0; i < 2; i++) {
		side[i] = SSL_new(ctx);
		SSL_set_bio(side[i], bio[i], bio[i]);
	}
	SSL_set_accept_state(side[0]);
	SSL_set_connect_state(side[1]);
	for (int i = 0; i < 20 && !done; i++)
		done = (SSL_do_handshake(side[1]) == 1) & (SSL_do_handshake(side[0]) == 1);
	SSL_free(side[0]);
	SSL_free(side[1]);
	SSL_CTX_free(ctx);
	return done;
}

static X509 *self_signed(EVP_PKEY *key)
{
	X509 *x = X509_new();

	X509_set_version(x, 2);
	ASN1_INTEGER_set(X509_get_serialNumber(x), 1);
	X509_gmtime_adj(X509_getm_notBefore(x), -60);
	X509_gmtime_adj(X509_getm_notAfter(x), 3600);
	X509_set_pubkey(x, key);
	X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_ASC, (const unsigned char *)"t", -1, -1, 0);
	X509_set_issuer_name(x, X509_get_subject_name(x));
	assert_true(X509_sign(x, key, EVP_sha256()) > 0);
	return x;
}

static void handshakes_without_the_key(void **state)
{
	struct sign_client *client;
	EVP_PKEY *remote, *wrong, *other = id_p256_new();
	struct keys k = { 0 };
	struct err e = ERR_INIT;
	X509 *cert, *not_ours;

	(void)state;
	start(&k);
	cert = self_signed(k.key);
	not_ours = self_signed(other);
	assert_int_equal(sign_client_new(&client, &e), 0);
	sign_client_use(client, k.channel[0]);
	assert_int_equal(sign_client_key(client, 7, k.spki, &remote, &e), 0);
	assert_true(shake(remote, cert));
	assert_false(shake(remote, not_ours)); /* the certificate is of another key */
	assert_int_equal(sign_client_key(client, 8, k.spki, &wrong, &e), 0);
	assert_false(shake(wrong, cert)); /* a key that the key process does not have */
	assert_true(shake(k.key, cert));  /* keys that are here work as before */
	EVP_PKEY_free(wrong);
	sign_client_use(client, -1);
	assert_false(shake(remote, cert)); /* nobody to ask: no handshake, and no crash */
	EVP_PKEY_free(remote);
	sign_client_free(client);
	X509_free(cert);
	X509_free(not_ours);
	EVP_PKEY_free(other);
	close(k.channel[1]);
	stop(&k);
}

/* What is no handshake is not even asked for. */
static void signs_nothing_else(void **state)
{
	struct sign_client *client;
	struct keys k = { 0 };
	struct err e = ERR_INIT;
	EVP_PKEY *remote;
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	uint8_t sig[128];
	size_t len = sizeof(sig);

	(void)state;
	start(&k);
	assert_int_equal(sign_client_new(&client, &e), 0);
	sign_client_use(client, k.channel[0]);
	assert_int_equal(sign_client_key(client, 7, k.spki, &remote, &e), 0);
	assert_int_equal(EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, remote), 1);
	assert_int_not_equal(EVP_DigestSign(ctx, sig, &len, (const uint8_t *)"a record", 8), 1);
	EVP_MD_CTX_free(ctx);
	assert_null(id_key_to_pem(remote)); /* there is no private half to write */
	EVP_PKEY_free(remote);
	sign_client_free(client);
	close(k.channel[1]);
	stop(&k);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(signs_handshakes_only), cmocka_unit_test(refuses),
		cmocka_unit_test(ends_who_is_malformed), cmocka_unit_test(drops_who_does_not_read),
		cmocka_unit_test(keeps_the_keys_before), cmocka_unit_test(handshakes_without_the_key),
		cmocka_unit_test(signs_nothing_else),
	};

	log_init("sign_test", LOG_ERR);
	return cmocka_run_group_tests_name("sign", tests, NULL, NULL);
}
