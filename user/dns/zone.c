// SPDX-License-Identifier: Apache-2.0
#include "zone.h"

#include <string.h>

#define LABELS_MAX 128

/* A name's labels, in lower case, from its first to its last. */
struct name {
	uint8_t b[DNS_NAME_MAX];
	size_t at[LABELS_MAX]; /* of the length byte */
	size_t n, len;
};

static uint8_t lower(uint8_t c)
{
	return c >= 'A' && c <= 'Z' ? (uint8_t)(c | 0x20) : c;
}

bool dns_wire_equal(const uint8_t *a, const uint8_t *b, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (lower(a[i]) != lower(b[i])) /* lengths are below 'A' */
			return false;
	return true;
}

/* Appends the labels of a text; false: one is empty or too long, or all are. */
static bool wire_append(struct dns_wire *wire, const char *text)
{
	while (*text) {
		size_t n = strcspn(text, ".");

		if (!n || n > DNS_LABEL_MAX || wire->len + n + 2 > sizeof(wire->b))
			return false;
		wire->b[wire->len++] = (uint8_t)n;
		memcpy(wire->b + wire->len, text, n);
		wire->len += n;
		text += n + (text[n] == '.');
	}
	return true;
}

bool dns_wire_make(struct dns_wire *wire, const char *label, const char *suffix)
{
	wire->len = 0;
	if (!wire_append(wire, label) || !wire_append(wire, suffix))
		return false;
	wire->b[wire->len++] = 0;
	return true;
}

bool dns_suffix_ok(const char *text)
{
	struct dns_wire wire = { 0 };
	size_t len = strlen(text);

	return len > 0 && len <= 100 && text[len - 1] != '.' &&
	       strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789-.") == len && wire_append(&wire, text);
}

static bool name_read(struct name *name, const uint8_t *b, size_t len)
{
	size_t at = 0;

	name->n = 0;
	if (len > sizeof(name->b))
		return false;
	while (at < len && b[at]) {
		if (b[at] > DNS_LABEL_MAX || at + 1 + b[at] >= len || name->n == LABELS_MAX)
			return false;
		name->at[name->n++] = at;
		at += 1u + b[at];
	}
	if (at + 1 != len)
		return false;
	for (size_t i = 0; i < len; i++)
		name->b[i] = lower(b[i]);
	name->len = len;
	return true;
}

static bool is_label(const struct name *name, size_t i, const char *text)
{
	const uint8_t *b = name->b + name->at[i];

	return b[0] == strlen(text) && memcmp(b + 1, text, b[0]) == 0;
}

static void label_take(const struct name *name, size_t i, size_t skip, char label[DNS_LABEL_MAX + 1])
{
	const uint8_t *b = name->b + name->at[i];

	memcpy(label, b + 1 + skip, b[0] - skip);
	label[b[0] - skip] = '\0';
	if (strlen(label) != b[0] - skip) /* a zero byte: nobody has such a name */
		label[0] = '\0';
}

/* The name from its i-th label on. */
static void tail_take(const struct name *name, size_t i, struct dns_wire *wire)
{
	size_t at = i < name->n ? name->at[i] : name->len - 1;

	wire->len = name->len - at;
	memcpy(wire->b, name->b + at, wire->len);
}

/* How many labels stand before the suffix; -1: it is not there. */
static int labels_before(const struct name *name, const char *suffix)
{
	struct dns_wire wire = { 0 };
	size_t n = 1;

	if (!wire_append(&wire, suffix))
		return -1;
	wire.b[wire.len++] = 0;
	for (const char *c = suffix; *c; c++)
		n += *c == '.';
	if (name->n < n || wire.len > name->len || memcmp(name->b + name->len - wire.len, wire.b, wire.len) != 0)
		return -1;
	return name->n == n || name->at[name->n - n] == name->len - wire.len ? (int)(name->n - n) : -1;
}

/* --- names --- */

static bool is_branch(const struct name *name, size_t i)
{
	return is_label(name, i, "app") || is_label(name, i, "svc") || is_label(name, i, "_tcp") ||
	       is_label(name, i, "_udp");
}

static void forward_one(const struct name *name, struct dns_place *place)
{
	label_take(name, 0, 0, place->label);
	place->what = DNS_AT_NODE;
	place->has_below = is_branch(name, 0);
}

static void forward_two(const struct name *name, struct dns_place *place)
{
	bool is_tcp = is_label(name, 1, "_tcp");

	place->is_udp = is_label(name, 1, "_udp");
	label_take(name, 0, 0, place->label);
	if (is_label(name, 1, "app"))
		place->what = DNS_AT_APP;
	else if (is_label(name, 1, "svc"))
		place->what = DNS_AT_SERVICE;
	else if ((is_tcp || place->is_udp) && place->label[0] == '_') {
		place->what = DNS_AT_SRV;
		label_take(name, 0, 1, place->label);
	}
}

static bool forward(const struct dns_zone *zone, const struct name *name, struct dns_place *place)
{
	int n = labels_before(name, zone->suffix);

	if (n < 0)
		return false;
	tail_take(name, (size_t)n, &place->apex);
	if (n == 0)
		place->what = DNS_AT_APEX;
	else if (n == 1)
		forward_one(name, place);
	else if (n == 2)
		forward_two(name, place);
	return true;
}

/* --- addresses: labels are read from the last one, as the address is from its first byte --- */

static int octet_of(const struct name *name, size_t i)
{
	const uint8_t *b = name->b + name->at[i];
	int v = 0;

	if (b[0] < 1 || b[0] > 3 || (b[0] > 1 && b[1] == '0'))
		return -1;
	for (unsigned k = 1; k <= b[0]; k++) {
		if (b[k] < '0' || b[k] > '9')
			return -1;
		v = v * 10 + (b[k] - '0');
	}
	return v < 256 ? v : -1;
}

static int nibble_of(const struct name *name, size_t i)
{
	const uint8_t *b = name->b + name->at[i];

	if (b[0] != 1)
		return -1;
	return b[1] >= '0' && b[1] <= '9' ? b[1] - '0' : b[1] >= 'a' && b[1] <= 'f' ? b[1] - 'a' + 10 : -1;
}

/* What a reverse tree is made of. */
struct tree {
	const char *suffix;
	unsigned bits, labels; /* of one label, and of a whole address */
	int (*digit)(const struct name *name, size_t i);
};

/* How many labels were an address' part; those are in `addr`, whose other bits are 0. */
static size_t digits_read(const struct tree *tree, const struct name *name, size_t n, struct by_addr *addr)
{
	size_t done = 0;

	*addr = (struct by_addr){ 0 };
	if (tree->bits == 8)
		addr->b[10] = addr->b[11] = 0xff;
	while (done < n && done < tree->labels) {
		int v = tree->digit(name, n - 1 - done);

		if (v < 0)
			break;
		if (tree->bits == 8)
			addr->b[12 + done] = (uint8_t)v;
		else
			addr->b[done / 2] |= (uint8_t)(v << (done % 2 ? 0 : 4));
		done++;
	}
	return done;
}

static bool reverse(const struct dns_zone *zone, const struct tree *tree, const struct name *name,
		    struct dns_place *place)
{
	int n = labels_before(name, tree->suffix);
	size_t done = n > 0 ? digits_read(tree, name, (size_t)n, &place->addr) : 0;

	for (uint32_t i = 0; i < zone->n_networks && n > 0; i++) {
		const struct ip_prefix *net = &zone->networks[i];
		size_t cut = (net->bits + tree->bits - 1) / tree->bits; /* labels of the zone's own name */

		cut = cut ? cut : 1;
		if (addr_is_v4(&net->addr) != (tree->bits == 8) || done < cut || !addr_in_prefix(&place->addr, net))
			continue;
		tail_take(name, (size_t)n - cut, &place->apex);
		place->what = done < (size_t)n ? DNS_AT_NOTHING : done == cut ? DNS_AT_APEX : DNS_AT_BRANCH;
		if (done == (size_t)n && done == tree->labels)
			place->what = DNS_AT_ADDR;
		return true;
	}
	return false;
}

bool dns_place_of(const struct dns_zone *zone, const uint8_t *b, size_t len, struct dns_place *place)
{
	static const struct tree v4 = { "in-addr.arpa", 8, 4, octet_of }, v6 = { "ip6.arpa", 4, 32, nibble_of };
	struct name name;

	*place = (struct dns_place){ 0 };
	if (!name_read(&name, b, len))
		return false;
	return forward(zone, &name, place) || reverse(zone, &v4, &name, place) || reverse(zone, &v6, &name, place);
}
