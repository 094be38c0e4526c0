/* SPDX-License-Identifier: Apache-2.0 */
/* "Did you mean": the word of a list that a mistyped one most likely stood for. */
#pragma once

#include <stddef.h>

/* Keeps the best candidate offered so far. Start from NEAR_INIT(word). */
struct near {
	const char *word;
	const char *best; /* one of the candidates; NULL: none is near enough to be worth saying */
	unsigned distance;
};

#define NEAR_INIT(w) ((struct near){ .word = (w) })

void near_offer(struct near *near, const char *candidate);
/* Nearest of a NULL-terminated list, or NULL. */
const char *near_of(const char *word, const char *const *list);
