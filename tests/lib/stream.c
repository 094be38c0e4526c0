// SPDX-License-Identifier: Apache-2.0
#include "stream.h"

#include <stdlib.h>
#include <sys/socket.h>

#include "proxy.h"

uint8_t stream_byte(uint32_t *state)
{
	*state = *state * 1664525u + 1013904223u;
	return (uint8_t)(*state >> 24);
}

static void *stream_send(void *arg)
{
	struct stream *s = arg;
	uint32_t state = s->seed;
	static __thread uint8_t bytes[70000];

	for (size_t left = s->len; left;) {
		size_t n = 1 + (state >> 8) % sizeof(bytes);

		n = n < left ? n : left;
		for (size_t i = 0; i < n; i++)
			bytes[i] = stream_byte(&state);
		pw_send_bytes(s->fd, bytes, n);
		left -= n;
	}
	if (s->shut)
		shutdown(s->fd, SHUT_WR);
	return NULL;
}

void stream_start(struct stream *s)
{
	if (pthread_create(&s->thread, NULL, stream_send, s) != 0)
		abort();
}

bool stream_arrives(int fd, uint32_t seed, size_t len)
{
	static __thread uint8_t bytes[65536];
	uint32_t state = seed;

	for (size_t left = len; left;) {
		ssize_t n = recv(fd, bytes, left < sizeof(bytes) ? left : sizeof(bytes), 0);

		if (n <= 0)
			return false;
		for (ssize_t i = 0; i < n; i++)
			if (bytes[i] != stream_byte(&state))
				return false;
		left -= (size_t)n;
	}
	return true;
}

void *stream_check(void *arg)
{
	struct stream *s = arg;

	return stream_arrives(s->fd, s->seed, s->len) ? s : NULL;
}
