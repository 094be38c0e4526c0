// SPDX-License-Identifier: Apache-2.0
#include "addr.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

static const uint8_t v4_mapped[12] = { [10] = 0xff, [11] = 0xff };

bool addr_is_v4(const struct by_addr *a)
{
	return memcmp(a->b, v4_mapped, sizeof(v4_mapped)) == 0;
}

bool addr_equal(const struct by_addr *a, const struct by_addr *b)
{
	return memcmp(a, b, sizeof(*a)) == 0;
}

bool endpoint_equal(const struct ip_endpoint *a, const struct ip_endpoint *b)
{
	return a->port == b->port && addr_equal(&a->addr, &b->addr);
}

bool addr_in_prefix(const struct by_addr *a, const struct ip_prefix *p)
{
	unsigned bits = p->bits + (addr_is_v4(&p->addr) ? 96u : 0u);

	if (addr_is_v4(a) != addr_is_v4(&p->addr))
		return false;
	if (memcmp(a->b, p->addr.b, bits / 8) != 0)
		return false;
	return bits % 8 == 0 || (a->b[bits / 8] ^ p->addr.b[bits / 8]) >> (8 - bits % 8) == 0;
}

bool addr_parse(struct by_addr *a, const char *text)
{
	struct by_addr parsed;

	memcpy(parsed.b, v4_mapped, sizeof(v4_mapped));
	if (inet_pton(AF_INET, text, parsed.b + 12) != 1 && inet_pton(AF_INET6, text, parsed.b) != 1)
		return false;
	*a = parsed;
	return true;
}

/* A decimal number without sign, blanks or leading zeros, at most max. */
static bool number_parse(unsigned *v, const char *text, unsigned max)
{
	unsigned n = 0;

	if (!*text || (text[0] == '0' && text[1]))
		return false;
	for (; *text; text++) {
		if (*text < '0' || *text > '9')
			return false;
		n = n * 10 + (unsigned)(*text - '0');
		if (n > max)
			return false;
	}
	*v = n;
	return true;
}

bool prefix_parse(struct ip_prefix *p, const char *text)
{
	const char *slash = strchr(text, '/');
	char host[ADDR_TEXT];
	struct by_addr a;
	unsigned bits;

	if (!slash || (size_t)(slash - text) >= sizeof(host))
		return false;
	memcpy(host, text, (size_t)(slash - text));
	host[slash - text] = '\0';
	if (!addr_parse(&a, host) || !number_parse(&bits, slash + 1, addr_is_v4(&a) ? 32 : 128))
		return false;
	*p = (struct ip_prefix){ .addr = a, .bits = (uint8_t)bits };
	return true;
}

struct ip_prefix prefix_masked(struct ip_prefix net)
{
	unsigned bits = net.bits + (addr_is_v4(&net.addr) ? 96 : 0);

	for (unsigned i = 0; i < 16; i++)
		net.addr.b[i] &= bits >= 8 * (i + 1) ? 0xff : bits <= 8 * i ? 0 : (uint8_t)(0xff00 >> (bits - 8 * i));
	return net;
}

bool endpoint_parse(struct ip_endpoint *e, const char *text)
{
	const char *colon = strrchr(text, ':');
	bool bracketed = text[0] == '[';
	char host[ADDR_TEXT];
	struct by_addr a;
	unsigned port;
	size_t len;

	if (!colon || (bracketed && (colon == text || colon[-1] != ']')))
		return false;
	text += bracketed;
	len = (size_t)(colon - text) - bracketed;
	if (colon < text + bracketed || len >= sizeof(host))
		return false;
	memcpy(host, text, len);
	host[len] = '\0';
	if (!addr_parse(&a, host) || bracketed == addr_is_v4(&a))
		return false;
	if (!number_parse(&port, colon + 1, 65535) || !port)
		return false;
	*e = (struct ip_endpoint){ .addr = a, .port = (uint16_t)port };
	return true;
}

const char *addr_print(const struct by_addr *a, char buf[static ADDR_TEXT])
{
	if (addr_is_v4(a))
		inet_ntop(AF_INET, a->b + 12, buf, ADDR_TEXT);
	else
		inet_ntop(AF_INET6, a->b, buf, ADDR_TEXT);
	return buf;
}

const char *prefix_print(const struct ip_prefix *p, char buf[static PREFIX_TEXT])
{
	char host[ADDR_TEXT];

	snprintf(buf, PREFIX_TEXT, "%s/%u", addr_print(&p->addr, host), p->bits);
	return buf;
}

const char *endpoint_print(const struct ip_endpoint *e, char buf[static ENDPOINT_TEXT])
{
	bool v4 = addr_is_v4(&e->addr);
	char host[ADDR_TEXT];

	snprintf(buf, ENDPOINT_TEXT, "%s%s%s:%u", v4 ? "" : "[", addr_print(&e->addr, host), v4 ? "" : "]", e->port);
	return buf;
}

socklen_t endpoint_to_sockaddr(const struct ip_endpoint *e, struct sockaddr_storage *ss)
{
	struct sockaddr_in6 v6 = { .sin6_family = AF_INET6, .sin6_port = htons(e->port) };
	struct sockaddr_in v4 = { .sin_family = AF_INET, .sin_port = htons(e->port) };

	memset(ss, 0, sizeof(*ss));
	if (addr_is_v4(&e->addr)) {
		memcpy(&v4.sin_addr, e->addr.b + 12, 4);
		memcpy(ss, &v4, sizeof(v4));
		return sizeof(v4);
	}
	memcpy(&v6.sin6_addr, e->addr.b, 16);
	memcpy(ss, &v6, sizeof(v6));
	return sizeof(v6);
}

bool endpoint_from_sockaddr(struct ip_endpoint *e, const struct sockaddr *sa)
{
	if (sa->sa_family == AF_INET) {
		const struct sockaddr_in *v4 = (const void *)sa;

		memcpy(e->addr.b, v4_mapped, sizeof(v4_mapped));
		memcpy(e->addr.b + 12, &v4->sin_addr, 4);
		e->port = ntohs(v4->sin_port);
		return true;
	}
	if (sa->sa_family == AF_INET6) {
		const struct sockaddr_in6 *v6 = (const void *)sa;

		memcpy(e->addr.b, &v6->sin6_addr, 16);
		e->port = ntohs(v6->sin6_port);
		return true;
	}
	return false;
}
