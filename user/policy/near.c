// SPDX-License-Identifier: Apache-2.0
#include "near.h"

#include <string.h>

#define WORD_MAX 64 /* longer words get no suggestion */

static unsigned least(unsigned a, unsigned b, unsigned c)
{
	unsigned ab = a < b ? a : b;

	return ab < c ? ab : c;
}

/* Insertions, deletions, substitutions and swaps of neighbours that turn a into b. */
static unsigned distance(const char *a, size_t a_len, const char *b, size_t b_len)
{
	unsigned rows[3][WORD_MAX + 1];
	unsigned *before = rows[0], *prev = rows[1], *cur = rows[2];

	for (size_t j = 0; j <= b_len; j++)
		prev[j] = (unsigned)j;
	for (size_t i = 1; i <= a_len; i++) {
		unsigned *oldest = before;

		cur[0] = (unsigned)i;
		for (size_t j = 1; j <= b_len; j++) {
			cur[j] = least(prev[j] + 1, cur[j - 1] + 1, prev[j - 1] + (a[i - 1] != b[j - 1]));
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
			    before[j - 2] + 1 < cur[j])
				cur[j] = before[j - 2] + 1;
		}
		before = prev;
		prev = cur;
		cur = oldest;
	}
	return prev[b_len];
}

void near_offer(struct near *near, const char *candidate)
{
	size_t a = strlen(near->word), b = strlen(candidate);
	unsigned limit = a <= 4 ? 1 : a <= 8 ? 2 : 3, d;

	if (!a || a > WORD_MAX || b > WORD_MAX || (a > b ? a - b : b - a) > limit)
		return;
	d = distance(near->word, a, candidate, b);
	if (d > limit || (near->best && d >= near->distance))
		return;
	near->best = candidate;
	near->distance = d;
}

const char *near_of(const char *word, const char *const *list)
{
	struct near near = NEAR_INIT(word);

	for (; *list; list++)
		near_offer(&near, *list);
	return near.best;
}
