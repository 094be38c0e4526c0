// SPDX-License-Identifier: Apache-2.0
#include "nets.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct pol_prefix first_v6 = { .bits = 0 };
static const struct pol_prefix first_v4 = { .addr = { .b = { [10] = 0xff, [11] = 0xff } }, .bits = 96, .is_v4 = true };

bool pol_prefix_is_text(const char *text)
{
	return text[strspn(text, "0123456789abcdefABCDEF")] == ':' || text[strspn(text, "0123456789")] == '.' ||
	       text[strcspn(text, "/")] == '/';
}

static void cut(struct pol_prefix *p)
{
	for (unsigned i = 0; i < 16; i++) {
		unsigned kept = p->bits <= 8 * i ? 0 : p->bits >= 8 * i + 8 ? 8 : p->bits - 8 * i;

		p->addr.b[i] = (uint8_t)(p->addr.b[i] & (0xff00u >> kept));
	}
}

struct pol_prefix pol_prefix_of(const struct ip_prefix *ip)
{
	bool is_v4 = addr_is_v4(&ip->addr);
	struct pol_prefix p = { .addr = ip->addr, .bits = (uint8_t)(ip->bits + (is_v4 ? 96 : 0)), .is_v4 = is_v4 };

	cut(&p);
	return p;
}

bool pol_prefix_parse(const char *text, struct pol_prefix *prefix, struct err *e)
{
	struct ip_prefix ip = { 0 };
	char meant[PREFIX_TEXT];

	if (addr_parse(&ip.addr, text))
		ip.bits = addr_is_v4(&ip.addr) ? 32 : 128;
	else if (!prefix_parse(&ip, text)) {
		err_at(e, -EINVAL, NULL,
		       "found '%.80s', needed a network such as 10.0.0.0/8 or 2001:db8::/32, or an address", text);
		return false;
	}
	*prefix = pol_prefix_of(&ip);
	if (memcmp(&prefix->addr, &ip.addr, sizeof(ip.addr)) == 0)
		return true;
	pol_prefix_print(prefix, meant, sizeof(meant));
	err_at(e, -EINVAL, NULL, "%s has bits beyond its length; the network is %s", text, meant);
	return false;
}

void pol_prefix_print(const struct pol_prefix *prefix, char *buf, size_t size)
{
	struct ip_prefix ip = { .addr = prefix->addr, .bits = (uint8_t)(prefix->bits - (prefix->is_v4 ? 96 : 0)) };
	char text[PREFIX_TEXT];

	if (prefix->bits == 128)
		snprintf(buf, size, "%s", addr_print(&prefix->addr, text));
	else
		snprintf(buf, size, "%s", prefix_print(&ip, text));
}

struct pol_prefix pol_prefix_shorter(const struct pol_prefix *p)
{
	struct pol_prefix shorter = *p;

	shorter.bits--;
	cut(&shorter);
	return shorter;
}

/* Of the addresses alone; the families are the caller's. */
static bool has_bits(const struct by_addr *outer, unsigned bits, const struct by_addr *inner)
{
	return memcmp(outer->b, inner->b, bits / 8) == 0 &&
	       (bits % 8 == 0 || (outer->b[bits / 8] ^ inner->b[bits / 8]) >> (8 - bits % 8) == 0);
}

bool pol_prefix_has(const struct pol_prefix *outer, const struct pol_prefix *inner)
{
	return outer->is_v4 == inner->is_v4 && outer->bits <= inner->bits &&
	       has_bits(&outer->addr, outer->bits, &inner->addr);
}

static int order(const void *a, const void *b)
{
	const struct pol_prefix *x = a, *y = b;
	int by_addr = memcmp(&x->addr, &y->addr, sizeof(x->addr));

	return by_addr ? by_addr : (x->bits > y->bits) - (x->bits < y->bits);
}

void pol_cells_make(struct pol_cells *cells)
{
	size_t kept = 0;

	cells->prefix[cells->n++] = first_v6;
	cells->prefix[cells->n++] = first_v4;
	qsort(cells->prefix, cells->n, sizeof(*cells->prefix), order);
	for (size_t i = 0; i < cells->n; i++)
		if (!kept || order(&cells->prefix[kept - 1], &cells->prefix[i]) != 0)
			cells->prefix[kept++] = cells->prefix[i];
	cells->n = kept;
}

/* The last one that does not stand behind the prefix. */
static size_t place_of(const struct pol_cells *cells, const struct pol_prefix *prefix)
{
	size_t low = 0, high = cells->n;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (order(&cells->prefix[mid], prefix) <= 0)
			low = mid + 1;
		else
			high = mid;
	}
	return low - 1; /* the first of all is ::/0 */
}

/* The bits that both addresses begin with. */
static unsigned common_bits(const struct by_addr *a, const struct by_addr *b)
{
	unsigned i = 0;

	while (i < 16 && a->b[i] == b->b[i])
		i++;
	return i == 16 ? 128 : 8 * i + (unsigned)__builtin_clz((unsigned)(a->b[i] ^ b->b[i])) - 24;
}

/* Whoever has the prefix also has the longest of the cells before it in common with it, so each step back is to a
 * shorter one: at most 128. */
uint32_t pol_cell_of(const struct pol_cells *cells, const struct pol_prefix *prefix)
{
	struct pol_prefix at = *prefix;
	size_t i = place_of(cells, &at);

	while (!pol_prefix_has(&cells->prefix[i], prefix)) {
		unsigned bits = common_bits(&cells->prefix[i].addr, &at.addr);

		at.bits = (uint8_t)(bits < at.bits ? bits : at.bits - 1u);
		cut(&at);
		i = place_of(cells, &at);
	}
	return (uint32_t)i;
}

size_t pol_cells_within(const struct pol_cells *cells, const struct pol_prefix *prefix, uint32_t *cell)
{
	size_t n = 0;

	for (size_t i = place_of(cells, prefix);
	     i < cells->n && has_bits(&prefix->addr, prefix->bits, &cells->prefix[i].addr) &&
	     cells->prefix[i].bits >= prefix->bits;
	     i++) {
		if (!pol_prefix_has(prefix, &cells->prefix[i]))
			continue;
		if (cell)
			cell[n] = (uint32_t)i;
		n++;
	}
	return n;
}
