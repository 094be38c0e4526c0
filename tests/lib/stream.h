/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes that follow from a seed: sent by a thread of their own, and checked one by one where they arrive. */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct stream {
	int fd;
	uint32_t seed;
	size_t len;
	bool shut; /* our side, behind the last byte */
	pthread_t thread;
};

uint8_t stream_byte(uint32_t *state); /* the next; *state is the seed at first */
void stream_start(struct stream *s);  /* pthread_join() is the caller's */
bool stream_arrives(int fd, uint32_t seed, size_t len);
void *stream_check(void *arg); /* a thread's: a struct stream to receive; NULL: it did not arrive */
