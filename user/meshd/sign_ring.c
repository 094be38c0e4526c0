// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "sign.h"

#define PAD_LEN 64 /* spaces in front, RFC 8446, 4.4.3 */
#define BATCH   32 /* signatures before other workers have their turn */

struct asker {
	LIST_ENTRY(asker) link;
	struct sign_ring *ring;
	struct event *readable;
	int fd;
};

struct sign_ring {
	struct event_base *base;
	struct {
		uint32_t number; /* 0: none */
		EVP_PKEY *key;
	} key[SIGN_KEYS_MAX]; /* the newest first */
	LIST_HEAD(, asker) askers;
};

static void asker_free(struct asker *a)
{
	LIST_REMOVE(a, link);
	event_free(a->readable);
	close(a->fd);
	free(a);
}

int sign_ring_new(struct event_base *base, struct sign_ring **ring, struct err *e)
{
	struct sign_ring *made = calloc(1, sizeof(*made));

	if (!made)
		return err_at(e, -ENOMEM, "key process", "out of memory");
	made->base = base;
	*ring = made;
	return 0;
}

void sign_ring_free(struct sign_ring *ring)
{
	struct asker *a;

	if (!ring)
		return;
	while ((a = LIST_FIRST(&ring->askers)))
		asker_free(a);
	for (size_t i = 0; i < SIGN_KEYS_MAX; i++)
		EVP_PKEY_free(ring->key[i].key);
	free(ring);
}

/* --- keys --- */

int sign_ring_add(struct sign_ring *ring, uint32_t number, const char *key_pem, uint8_t spki[ID_SPKI_LEN],
		  struct err *e)
{
	EVP_PKEY *key = id_p256_from_pem(key_pem);

	if (!key || !id_p256_spki(key, spki)) {
		EVP_PKEY_free(key);
		return err_at(e, -EINVAL, "own key", "is no P-256 key in PEM");
	}
	EVP_PKEY_free(ring->key[SIGN_KEYS_MAX - 1].key);
	memmove(ring->key + 1, ring->key, sizeof(ring->key) - sizeof(ring->key[0]));
	ring->key[0].number = number;
	ring->key[0].key = key;
	return 0;
}

void sign_ring_forget(struct sign_ring *ring, uint32_t number)
{
	size_t kept = 0;

	for (size_t i = 0; i < SIGN_KEYS_MAX; i++) {
		if (number && ring->key[i].number == number)
			EVP_PKEY_free(ring->key[i].key);
		else
			ring->key[kept++] = ring->key[i];
	}
	memset(ring->key + kept, 0, (SIGN_KEYS_MAX - kept) * sizeof(ring->key[0]));
}

static EVP_PKEY *find(const struct sign_ring *ring, uint32_t number)
{
	for (size_t i = 0; number && i < SIGN_KEYS_MAX; i++)
		if (ring->key[i].number == number)
			return ring->key[i].key;
	return NULL;
}

/* --- signing --- */

/* What RFC 8446 has signed: spaces, who speaks, a zero, the hash of the handshake so far. */
static size_t signed_bytes(const struct sign_ask *ask, uint8_t bytes[PAD_LEN + 40 + SIGN_HASH_MAX])
{
	static const char *const words[SIGN_SIDES] = { "TLS 1.3, client CertificateVerify",
						       "TLS 1.3, server CertificateVerify" };
	size_t len = strlen(words[ask->side]) + 1; /* with the zero */

	memset(bytes, ' ', PAD_LEN);
	memcpy(bytes + PAD_LEN, words[ask->side], len);
	memcpy(bytes + PAD_LEN + len, ask->hash, ask->hash_len);
	return PAD_LEN + len + ask->hash_len;
}

static int sign(EVP_PKEY *key, const struct sign_ask *ask, struct sign_answer *answer)
{
	uint8_t bytes[PAD_LEN + 40 + SIGN_HASH_MAX];
	size_t len;

	if (!id_ecdsa_sign(key, answer->sig, &len, bytes, signed_bytes(ask, bytes)))
		return -EIO;
	answer->len = (uint32_t)len;
	return 0;
}

void sign_ring_answer(const struct sign_ring *ring, const struct sign_ask *ask, struct sign_answer *answer)
{
	EVP_PKEY *key = find(ring, ask->key);

	*answer = (struct sign_answer){ .token = ask->token };
	if (ask->side >= SIGN_SIDES || (ask->hash_len != 32 && ask->hash_len != 48))
		answer->code = -EINVAL;
	else if (!key)
		answer->code = -ENOKEY;
	else
		answer->code = sign(key, ask, answer);
}

/* 1: one was answered, 0: none is there, -1: this worker is finished. */
static int serve_one(struct asker *a)
{
	struct {
		struct sign_ask ask;
		uint8_t more;
	} in;
	struct sign_answer answer;
	ssize_t n = recv(a->fd, &in, sizeof(in), MSG_DONTWAIT);

	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -1;
	if (n != sizeof(in.ask)) {
		if (n)
			log_limited(LOG_ERR, "a worker sent %zd bytes where %zu are a question; its channel is closed",
				    n, sizeof(in.ask));
		return -1;
	}
	sign_ring_answer(a->ring, &in.ask, &answer);
	if (answer.code == -ENOKEY || answer.code == -EINVAL)
		log_limited(LOG_ERR, "a worker asked for key %u, side %u, %u bytes: refused", in.ask.key, in.ask.side,
			    in.ask.hash_len);
	/* who does not read its answers has asked enough */
	return send(a->fd, &answer, sizeof(answer), MSG_DONTWAIT | MSG_NOSIGNAL) == sizeof(answer) ? 1 : -1;
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct asker *a = arg;
	int ret = 1;

	(void)fd, (void)what;
	for (int i = 0; i < BATCH && ret > 0; i++)
		ret = serve_one(a);
	if (ret < 0)
		asker_free(a);
}

int sign_ring_serve(struct sign_ring *ring, int fd)
{
	struct asker *a = calloc(1, sizeof(*a));

	if (a)
		a->readable = event_new(ring->base, fd, EV_READ | EV_PERSIST, on_readable, a);
	if (!a || !a->readable || event_add(a->readable, NULL) < 0) {
		if (a && a->readable)
			event_free(a->readable);
		free(a);
		close(fd);
		return -ENOMEM;
	}
	a->ring = ring;
	a->fd = fd;
	LIST_INSERT_HEAD(&ring->askers, a, link);
	return 0;
}
