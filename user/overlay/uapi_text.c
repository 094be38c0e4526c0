// SPDX-License-Identifier: Apache-2.0
/* The text of the UAPI protocol: what is asked, what is answered. Pure. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "wg_uapi.h"

#define KEY_TEXT   40
#define VALUE_TEXT 128

static bool number(uint64_t *v, const char *text, uint64_t max)
{
	uint64_t n = 0;

	if (!*text)
		return false;
	for (; *text; text++) {
		uint64_t digit = (uint64_t)*text - '0';

		if (*text < '0' || *text > '9' || digit > max || n > (max - digit) / 10)
			return false;
		n = n * 10 + digit;
	}
	*v = n;
	return true;
}

struct parse {
	struct ov_device dev;
	struct ov_peer *peer; /* the one that lines describe now */
	uint64_t code;        /* errno=, valid with has_code */
	bool has_code;
	bool no_memory;
};

static bool take_private_key(struct parse *p, const char *value)
{
	return hex_parse(p->dev.private_key, OV_KEY_LEN, value);
}

static bool take_listen_port(struct parse *p, const char *value)
{
	uint64_t v;

	if (!number(&v, value, UINT16_MAX))
		return false;
	p->dev.listen_port = (uint16_t)v;
	return true;
}

static bool take_public_key(struct parse *p, const char *value)
{
	uint8_t key[OV_KEY_LEN];

	if (!hex_parse(key, OV_KEY_LEN, value))
		return false;
	p->peer = ov_device_grow(&p->dev);
	p->no_memory = !p->peer;
	if (p->peer)
		memcpy(p->peer->public_key, key, OV_KEY_LEN);
	return true;
}

static bool take_preshared_key(struct parse *p, const char *value)
{
	if (strlen(value) != 2 * OV_KEY_LEN || strspn(value, "0123456789abcdefABCDEF") != 2 * OV_KEY_LEN)
		return false;
	p->peer->has_preshared_key = strspn(value, "0") != 2 * OV_KEY_LEN;
	return true;
}

/* A link-local endpoint is printed with its zone, which the model has no place for. */
static bool take_endpoint(struct parse *p, const char *value)
{
	const char *zone = strchr(value, '%'), *rest = zone ? strchr(zone, ']') : NULL;
	char plain[VALUE_TEXT];

	if (zone && !rest)
		return false;
	snprintf(plain, sizeof(plain), "%.*s%s", (int)(zone ? zone - value : VALUE_TEXT), value, rest ? rest : "");
	return p->peer->has_endpoint = endpoint_parse(&p->peer->endpoint, plain);
}

static bool take_keepalive(struct parse *p, const char *value)
{
	uint64_t v;

	if (!number(&v, value, UINT16_MAX))
		return false;
	p->peer->keepalive_s = (uint16_t)v;
	return p->peer->has_keepalive = true;
}

static bool take_allowed(struct parse *p, const char *value)
{
	struct ip_prefix prefix;

	if (!prefix_parse(&prefix, value))
		return false;
	ov_peer_allow(p->peer, &prefix);
	return true;
}

static bool take_handshake(struct parse *p, const char *value)
{
	uint64_t v;

	if (!number(&v, value, INT64_MAX))
		return false;
	p->peer->last_handshake_s = (int64_t)v;
	return true;
}

static bool take_rx(struct parse *p, const char *value)
{
	return number(&p->peer->rx_bytes, value, UINT64_MAX);
}

static bool take_tx(struct parse *p, const char *value)
{
	return number(&p->peer->tx_bytes, value, UINT64_MAX);
}

/* wireguard-go writes its codes negative, the protocol has them positive. */
static bool take_errno(struct parse *p, const char *value)
{
	return p->has_code = number(&p->code, value + (*value == '-'), 4095);
}

static const struct key {
	const char *name;
	bool is_of_peer;
	bool (*take)(struct parse *p, const char *value);
} keys[] = {
	{ "private_key", false, take_private_key },
	{ "listen_port", false, take_listen_port },
	{ "public_key", false, take_public_key },
	{ "preshared_key", true, take_preshared_key },
	{ "endpoint", true, take_endpoint },
	{ "persistent_keepalive_interval", true, take_keepalive },
	{ "allowed_ip", true, take_allowed },
	{ "last_handshake_time_sec", true, take_handshake },
	{ "rx_bytes", true, take_rx },
	{ "tx_bytes", true, take_tx },
	{ "errno", false, take_errno },
};

static const struct key *find_key(const char *name, size_t len)
{
	for (size_t i = 0; i < ARRAY_LEN(keys); i++)
		if (strlen(keys[i].name) == len && !memcmp(keys[i].name, name, len))
			return &keys[i];
	return NULL;
}

/* One line without its newline. Keys that we do not know are a newer peer's and pass. */
static int take_line(struct parse *p, const char *line, size_t len, const char *place, struct err *e)
{
	const char *equals = memchr(line, '=', len);
	const struct key *key;
	char value[VALUE_TEXT];
	size_t value_len;
	bool good;

	if (!equals)
		return err_at(e, -EPROTO, place, "a line without '=', needed key=value");
	key = find_key(line, (size_t)(equals - line));
	if (!key)
		return 0;
	if (key->is_of_peer && !p->peer)
		return err_at(e, -EPROTO, place, "%s before any public_key", key->name);
	value_len = len - (size_t)(equals + 1 - line);
	if (value_len >= sizeof(value) || memchr(equals + 1, '\0', value_len))
		return err_at(e, -EPROTO, place, "%s: %zu bytes are no such value", key->name, value_len);
	memcpy(value, equals + 1, value_len);
	value[value_len] = '\0';
	good = key->take(p, value);
	explicit_bzero(value, sizeof(value));
	if (p->no_memory)
		return err_at(e, -ENOMEM, place, "more than %d peers, or no memory", OV_PEERS_MAX);
	return good ? 0 : err_at(e, -EPROTO, place, "%s: not a value of this key", key->name);
}

/* All lines up to the empty one that ends the answer. */
static int take_lines(struct parse *p, const char *text, size_t len, const char *where, struct err *e)
{
	const char *end = text + len, *eol;
	char place[96];
	unsigned line;
	int rc;

	for (line = 1; text < end; line++, text = eol + 1) {
		snprintf(place, sizeof(place), "%.64s:%u", where, line);
		eol = memchr(text, '\n', (size_t)(end - text));
		if (!eol)
			return err_at(e, -EPROTO, place, "the answer ends inside a line");
		if (eol == text)
			break;
		rc = take_line(p, text, (size_t)(eol - text), place, e);
		if (rc < 0)
			return rc;
	}
	if (text != end - 1 || !p->has_code)
		return err_at(e, -EPROTO, where, "the answer does not end with errno and one empty line");
	if (p->code)
		return err_at(e, -(int)p->code, where, "refused: %s%s", strerror((int)p->code),
			      p->code == EADDRINUSE ? " (the UDP port that it shall listen on)" : "");
	return 0;
}

int ov_uapi_parse(const char *text, size_t len, const char *where, struct ov_device *dev, struct err *e)
{
	struct parse p = { 0 };
	int rc;

	rc = take_lines(&p, text, len, where, e);
	if (rc < 0) {
		ov_device_fini(&p.dev);
		return rc;
	}
	*dev = p.dev;
	return 0;
}

static void line(struct out *out, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void line(struct out *out, const char *fmt, ...)
{
	char text[VALUE_TEXT];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	out_bytes(out, text, (size_t)n);
	out_u8(out, '\n');
	explicit_bzero(text, sizeof(text));
}

static void print_peer(struct out *out, const struct ov_peer *peer, bool replace_allowed)
{
	char key[2 * OV_KEY_LEN + 1], text[PREFIX_TEXT > ENDPOINT_TEXT ? PREFIX_TEXT : ENDPOINT_TEXT];

	hex_print(key, peer->public_key, OV_KEY_LEN);
	line(out, "public_key=%s", key);
	if (peer->has_endpoint)
		line(out, "endpoint=%s", endpoint_print(&peer->endpoint, text));
	if (peer->has_keepalive)
		line(out, "persistent_keepalive_interval=%u", peer->keepalive_s);
	if (!replace_allowed)
		return;
	line(out, "replace_allowed_ips=true");
	for (uint32_t i = 0; i < peer->n_allowed; i++)
		line(out, "allowed_ip=%s", prefix_print(&peer->allowed[i], text));
}

void ov_uapi_print_set(struct out *out, const struct ov_device *want, const struct ov_diff *diff)
{
	char key[2 * OV_KEY_LEN + 1];

	line(out, "set=1");
	if (diff->set_private_key) {
		hex_print(key, want->private_key, OV_KEY_LEN);
		line(out, "private_key=%s", key);
	}
	if (diff->set_listen_port)
		line(out, "listen_port=%u", want->listen_port);
	for (size_t i = 0; i < diff->n_remove; i++) {
		hex_print(key, diff->remove[i], OV_KEY_LEN);
		line(out, "public_key=%s", key);
		line(out, "remove=true");
	}
	for (size_t i = 0; i < diff->n_set; i++)
		print_peer(out, &diff->set[i], diff->replace_allowed[i]);
	out_u8(out, '\n');
	explicit_bzero(key, sizeof(key));
}
