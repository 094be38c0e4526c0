// SPDX-License-Identifier: Apache-2.0
/* Words for the BY_PORT_* space: selectors and ranges of them. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "model.h"
#include "near.h"

struct proto {
	const char *name, *noun;
	uint32_t base, count; /* indices base .. base + count - 1 */
	uint32_t least;       /* number that can be written */
	bool has_ranges;
};

static const struct proto protos[] = {
	{ "tcp", "port", BY_PORT_TCP, 65536, 1, true },        { "udp", "port", BY_PORT_UDP, 65536, 1, true },
	{ "icmp", "type", BY_PORT_ICMP, 256, 0, false },       { "icmpv6", "type", BY_PORT_ICMPV6, 256, 0, false },
	{ "proto", "protocol", BY_PORT_OTHER, 256, 0, false },
};

const char *const pol_port_words[] = { "tcp", "udp", "icmp", "icmpv6", "proto", "any", NULL };

#define SHAPE "needed tcp/PORT, tcp/FIRST-LAST, udp/..., icmp/TYPE, icmpv6/TYPE, proto/NUMBER or any"

static bool refuse(struct err *e, const char *text)
{
	char word[16];
	const char *nearest;

	snprintf(word, sizeof(word), "%.*s", (int)strcspn(text, "/"), text);
	nearest = near_of(word, pol_port_words);
	if (nearest && strcmp(nearest, word) != 0)
		err_at(e, -EINVAL, NULL, "found '%s', did you mean '%s%s'?", text, nearest, text + strcspn(text, "/"));
	else
		err_at(e, -EINVAL, NULL, "found '%s', " SHAPE, text);
	return false;
}

static const struct proto *proto_of(const char *text, const char **rest)
{
	size_t len = strcspn(text, "/");

	for (size_t i = 0; i < ARRAY_LEN(protos); i++) {
		if (strlen(protos[i].name) != len || memcmp(protos[i].name, text, len) != 0)
			continue;
		*rest = text + len;
		return &protos[i];
	}
	return NULL;
}

/* The protocols that have words of their own, so that one selector has one name. */
static const char *own_word(uint32_t number)
{
	return number == 1 ? "icmp" : number == 6 ? "tcp" : number == 17 ? "udp" : number == 58 ? "icmpv6" : NULL;
}

static bool number_parse(const struct proto *p, const char *text, const char **end, uint32_t *v, const char *whole,
			 struct err *e)
{
	size_t digits = strspn(text, "0123456789");
	unsigned long n = digits && digits < 10 ? strtoul(text, NULL, 10) : 0;

	if (!digits || (digits > 1 && text[0] == '0')) {
		err_at(e, -EINVAL, NULL, "found '%s', needed a %s as a plain number", whole, p->noun);
		return false;
	}
	if (digits >= 10 || n >= p->count) {
		err_at(e, -EINVAL, NULL, "%s %.*s is above %u", p->noun, (int)(digits > 20 ? 20 : digits), text,
		       p->count - 1);
		return false;
	}
	if (n < p->least) {
		err_at(e, -EINVAL, NULL, "%s %lu does not exist, the least is %u", p->noun, n, p->least);
		return false;
	}
	if (p->base == BY_PORT_OTHER && own_word((uint32_t)n)) {
		err_at(e, -EINVAL, NULL, "protocol %lu is written %s", n, own_word((uint32_t)n));
		return false;
	}
	*end = text + digits;
	*v = (uint32_t)n;
	return true;
}

static bool numbers_parse(const struct proto *p, const char *text, const char *whole, struct pol_range *range,
			  struct err *e)
{
	uint32_t first, last;

	if (!number_parse(p, text, &text, &first, whole, e))
		return false;
	last = first;
	if (*text == '-' && p->has_ranges && !number_parse(p, text + 1, &text, &last, whole, e))
		return false;
	if (*text)
		return refuse(e, whole);
	if (last < first) {
		err_at(e, -EINVAL, NULL, "range %u-%u is the wrong way round", first, last);
		return false;
	}
	*range = (struct pol_range){ p->base + first, p->base + last };
	return true;
}

bool pol_range_parse(const char *text, struct pol_range *range, struct err *e)
{
	const struct proto *p;
	const char *rest;

	if (strcmp(text, "any") == 0) {
		*range = (struct pol_range){ 0, BY_PORT_SPACE - 1 };
		return true;
	}
	p = proto_of(text, &rest);
	if (!p || (!*rest && p->base == BY_PORT_OTHER))
		return refuse(e, text);
	if (*rest)
		return numbers_parse(p, rest + 1, text, range, e);
	*range = (struct pol_range){ p->base, p->base + p->count - 1 };
	return true;
}

bool pol_selector_parse(const char *text, uint32_t *selector, struct err *e)
{
	struct pol_range range;

	if (!pol_range_parse(text, &range, e))
		return false;
	if (range.first != range.last) {
		err_at(e, -EINVAL, NULL, "found '%s', needed one port or type, such as tcp/443 or icmp/8", text);
		return false;
	}
	*selector = range.first;
	return true;
}

static const struct proto *proto_at(uint32_t selector)
{
	size_t i = 0;

	while (i + 1 < ARRAY_LEN(protos) && selector >= protos[i + 1].base)
		i++;
	return &protos[i];
}

void pol_selector_print(uint32_t selector, char *buf, size_t size)
{
	const struct proto *p = proto_at(selector);

	snprintf(buf, size, "%s/%u", p->name, selector - p->base);
}

static int by_first(const void *a, const void *b)
{
	const struct pol_range *x = a, *y = b;

	return (x->first > y->first) - (x->first < y->first);
}

void pol_range_merge(struct pol_range *range, size_t *n)
{
	size_t kept = 0;

	qsort(range, *n, sizeof(*range), by_first);
	for (size_t i = 0; i < *n; i++) {
		if (kept && range[i].first <= range[kept - 1].last + 1) {
			if (range[i].last > range[kept - 1].last)
				range[kept - 1].last = range[i].last;
		} else {
			range[kept++] = range[i];
		}
	}
	*n = kept;
}

/* One protocol's part of a range. */
static void part_print(const struct proto *p, uint32_t first, uint32_t last, char *buf, size_t size)
{
	uint32_t a = first - p->base, b = last - p->base;

	if (b - a + 1 == p->count)
		snprintf(buf, size, "%s", p->name);
	else if (a == b)
		snprintf(buf, size, "%s/%u", p->name, a);
	else
		snprintf(buf, size, "%s/%u-%u", p->name, a, b);
}

bool pol_list_append(char *buf, size_t size, const char *part)
{
	size_t len = strlen(buf), need = strlen(part) + (len ? 2 : 0);

	if (len + need + sizeof(", ...") > size) {
		snprintf(buf + len, size - len, "%s...", len ? ", " : "");
		return false;
	}
	snprintf(buf + len, size - len, "%s%s", len ? ", " : "", part);
	return true;
}

void pol_ranges_print(const struct pol_range *range, size_t n, char *buf, size_t size)
{
	char part[40];

	buf[0] = '\0';
	if (n == 1 && range[0].first == 0 && range[0].last == BY_PORT_SPACE - 1) {
		pol_list_append(buf, size, "any");
		return;
	}
	for (size_t i = 0; i < n; i++) {
		for (uint32_t at = range[i].first, last; at <= range[i].last; at = last + 1) {
			const struct proto *p = proto_at(at);

			last = p->base + p->count - 1 < range[i].last ? p->base + p->count - 1 : range[i].last;
			part_print(p, at, last, part, sizeof(part));
			if (!pol_list_append(buf, size, part))
				return;
		}
	}
}
