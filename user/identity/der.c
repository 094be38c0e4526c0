// SPDX-License-Identifier: Apache-2.0
#include "der.h"

#include <string.h>
#include <time.h>

#define LEN_BYTES_MAX 4

static bool get_len(struct in *in, size_t *len)
{
	uint8_t first, byte;
	size_t n = 0;

	if (!in_u8(in, &first))
		return false;
	if (first < 0x80) {
		*len = first;
		return true;
	}
	if (first == 0x80 || first > 0x80 + LEN_BYTES_MAX)
		return false;
	for (int i = first & 0x7f; i > 0; i--) {
		if (!in_u8(in, &byte))
			return false;
		n = n << 8 | byte;
	}
	if (n < 0x80 || n >> (8 * ((first & 0x7f) - 1)) == 0) /* not the shortest form */
		return false;
	*len = n;
	return true;
}

bool id_der_next(struct in *in, uint8_t *tag, struct in *content, struct in *whole)
{
	struct in at = *in, body;
	uint8_t t;
	size_t len;

	if (!in_u8(&at, &t) || (t & 0x1f) == 0x1f || !get_len(&at, &len) || !in_sub(&at, &body, len))
		return false;
	if (whole)
		*whole = in_of(in->p, in->left - at.left);
	*tag = t;
	*content = body;
	*in = at;
	return true;
}

bool id_der_is(const struct in *in, uint8_t tag)
{
	return in->left && in->p[0] == tag;
}

bool id_der_get(struct in *in, uint8_t tag, struct in *content)
{
	uint8_t t;

	return id_der_is(in, tag) && id_der_next(in, &t, content, NULL);
}

bool id_der_only(struct in in, uint8_t tag, struct in *content)
{
	return id_der_get(&in, tag, content) && !in.left;
}

bool id_der_uint(struct in *in, uint8_t tag, uint64_t max, uint64_t *v)
{
	struct in at = *in, n;
	uint64_t sum = 0;
	uint8_t byte;

	if (!id_der_get(&at, tag, &n) || !n.left || n.p[0] & 0x80 || n.left > 9 ||
	    (n.left > 1 && !n.p[0] && !(n.p[1] & 0x80)) || (n.left == 9 && n.p[0]))
		return false;
	while (in_u8(&n, &byte))
		sum = sum << 8 | byte;
	if (sum > max)
		return false;
	*v = sum;
	*in = at;
	return true;
}

bool id_der_bool(struct in *in, bool *v)
{
	struct in at = *in, b;

	if (!id_der_get(&at, DER_BOOLEAN, &b) || b.left != 1 || (b.p[0] != 0 && b.p[0] != 0xff))
		return false;
	*v = b.p[0] != 0;
	*in = at;
	return true;
}

static bool two_digits(struct in *in, int min, int max, int *v)
{
	uint8_t a, b;

	if (!in_u8(in, &a) || !in_u8(in, &b) || a < '0' || a > '9' || b < '0' || b > '9')
		return false;
	*v = (a - '0') * 10 + b - '0';
	return *v >= min && *v <= max;
}

/* MMDDHHMMSSZ, and a date that there is. */
static bool rest_of_time(struct in *in, int year, int64_t *unix_s)
{
	struct tm tm = { .tm_year = year - 1900 }, same;
	uint8_t z;
	time_t t;

	if (!two_digits(in, 1, 12, &tm.tm_mon) || !two_digits(in, 1, 31, &tm.tm_mday) ||
	    !two_digits(in, 0, 23, &tm.tm_hour) || !two_digits(in, 0, 59, &tm.tm_min) ||
	    !two_digits(in, 0, 59, &tm.tm_sec) || !in_u8(in, &z) || z != 'Z' || in->left)
		return false;
	tm.tm_mon--;
	same = tm;
	t = timegm(&same);
	if (same.tm_mday != tm.tm_mday)
		return false;
	*unix_s = t;
	return true;
}

bool id_der_time(struct in *in, int64_t *unix_s)
{
	struct in at = *in, text;
	int century = 0, year;
	uint8_t tag;

	if (!id_der_next(&at, &tag, &text, NULL) || (tag != DER_UTC_TIME && tag != DER_TIME) ||
	    (tag == DER_TIME && !two_digits(&text, 19, 99, &century)) || !two_digits(&text, 0, 99, &year))
		return false;
	if (tag == DER_UTC_TIME)
		century = year < 50 ? 20 : 19; /* RFC 5280, 4.1.2.5.1 */
	if (!rest_of_time(&text, century * 100 + year, unix_s))
		return false;
	*in = at;
	return true;
}

bool id_der_equal(const struct in *a, const struct in *b)
{
	return a->left == b->left && memcmp(a->p, b->p, a->left) == 0;
}
