// SPDX-License-Identifier: Apache-2.0
#include "wg_quick.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/cleanup.h"
#include "base/text.h"

#define LINE_MAX_LEN 4096
#define MTU_MIN      1280
#define MTU_MAX      65455

enum section { NOWHERE, INTERFACE, PEER };

struct parse {
	const char *file;
	struct ov_quick *q;
	struct err *e;
	uint32_t line;
	enum section section;
	bool has_interface;
	uint32_t peer_line; /* of the [Peer] that is being read */
	bool has_peer_key, has_endpoint;
	/* AllowedIPs wait until every address is known */
	struct {
		uint32_t line;
		struct ip_prefix net;
	} * allowed;
	size_t n_allowed;
};

static int wrong(struct parse *p, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static int wrong(struct parse *p, const char *fmt, ...)
{
	char where[160], msg[200];
	va_list ap;

	snprintf(where, sizeof(where), "%.140s:%u", p->file, p->line);
	va_start(ap, fmt);
	vsnprintf(msg, sizeof(msg), fmt, ap);
	va_end(ap);
	return err_at(p->e, -EINVAL, where, "%s", msg);
}

static int note(struct parse *p, uint32_t line, bool is_left_out, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

static int note(struct parse *p, uint32_t line, bool is_left_out, const char *fmt, ...)
{
	struct ov_quick *q = p->q;
	struct ov_quick_note *n;
	va_list ap;

	if (q->n_notes == OV_QUICK_NOTES)
		return wrong(p, "there is more to say of this file than %d lines", OV_QUICK_NOTES);
	n = &q->notes[q->n_notes++];
	*n = (struct ov_quick_note){ .line = line, .is_left_out = is_left_out };
	q->n_left_out += is_left_out;
	va_start(ap, fmt);
	vsnprintf(n->text, sizeof(n->text), fmt, ap);
	va_end(ap);
	return 0;
}

static bool key_parse(const char *text, uint8_t key[OV_KEY_LEN])
{
	size_t n;

	return base64_parse(key, OV_KEY_LEN, &n, text, strlen(text)) && n == OV_KEY_LEN;
}

static bool number(const char *text, uint64_t max, uint64_t *v)
{
	char *end;

	if (strspn(text, "0123456789") != strlen(text) || !*text || strlen(text) > 10)
		return false;
	*v = strtoull(text, &end, 10);
	return *v <= max;
}

/* --- [Interface] --- */

static int take_private_key(struct parse *p, const char *value)
{
	p->q->has_private_key = key_parse(value, p->q->private_key);
	return p->q->has_private_key ? 0 : wrong(p, "PrivateKey is no key: 44 characters of base64 are needed");
}

static int take_port(struct parse *p, const char *value)
{
	uint64_t v;

	if (!number(value, 65535, &v))
		return wrong(p, "ListenPort needs 0 to 65535, found '%.20s'", value);
	p->q->listen_port = (uint16_t)v;
	return 0;
}

static int take_mtu(struct parse *p, const char *value)
{
	uint64_t v;

	if (!number(value, UINT32_MAX, &v))
		return wrong(p, "MTU needs a number, found '%.20s'", value);
	if (v < MTU_MIN || v > MTU_MAX)
		return note(p, p->line, true, "MTU %llu is outside of %d to %d: the overlay has IPv6",
			    (unsigned long long)v, MTU_MIN, MTU_MAX);
	p->q->mtu = (uint32_t)v;
	return 0;
}

/* An address alone is a single one. */
static bool net_parse(const char *text, struct ip_prefix *net)
{
	if (strchr(text, '/'))
		return prefix_parse(net, text);
	if (!addr_parse(&net->addr, text))
		return false;
	net->bits = addr_is_v4(&net->addr) ? 32 : 128;
	return true;
}

static int each_of(struct parse *p, char *value, int (*take)(struct parse *p, const char *item))
{
	char *rest, *item = strtok_r(value, ", \t", &rest);
	int ret = 0;

	for (; item && !ret; item = strtok_r(NULL, ", \t", &rest))
		ret = take(p, item);
	return ret;
}

static int take_address(struct parse *p, const char *item)
{
	struct ov_quick *q = p->q;

	if (q->n_addrs == OV_QUICK_ADDRS)
		return wrong(p, "has more than %d addresses", OV_QUICK_ADDRS);
	if (!net_parse(item, &q->addrs[q->n_addrs]))
		return wrong(p, "Address needs addresses like 10.0.0.1/24, found '%.50s'", item);
	q->n_addrs++;
	return 0;
}

static int take_addresses(struct parse *p, char *value)
{
	return each_of(p, value, take_address);
}

static const struct {
	const char *key, *why;
	const char *harmless; /* this value does nothing */
} left_out[] = {
	{ "PreUp", "a script: nothing is run. What it does belongs into the policy, or into a unit of yours", NULL },
	{ "PostUp", "a script: nothing is run. What it does belongs into the policy, or into a unit of yours", NULL },
	{ "PreDown", "a script: nothing is run. What it does belongs into the policy, or into a unit of yours", NULL },
	{ "PostDown", "a script: nothing is run. What it does belongs into the policy, or into a unit of yours", NULL },
	{ "DNS", "resolv.conf is not touched", NULL },
	{ "Table", "routes go to the main table", "auto" },
	{ "FwMark", "packets of WireGuard get no mark", "off" },
	{ "SaveConfig", "what the daemon learns is kept in its state directory, never in its configuration", "false" },
};

static int take_interface(struct parse *p, const char *key, char *value)
{
	if (strcasecmp(key, "PrivateKey") == 0)
		return take_private_key(p, value);
	if (strcasecmp(key, "ListenPort") == 0)
		return take_port(p, value);
	if (strcasecmp(key, "MTU") == 0)
		return take_mtu(p, value);
	if (strcasecmp(key, "Address") == 0)
		return take_addresses(p, value);
	for (size_t i = 0; i < ARRAY_LEN(left_out); i++) {
		if (strcasecmp(key, left_out[i].key) != 0)
			continue;
		if (left_out[i].harmless && strcasecmp(value, left_out[i].harmless) == 0)
			return 0;
		return note(p, p->line, true, "%s: %s", left_out[i].key, left_out[i].why);
	}
	return wrong(p, "[Interface] has no '%.40s'", key);
}

/* --- [Peer] --- */

static int take_allowed(struct parse *p, const char *item)
{
	struct ip_prefix net;
	void *grown;

	if (!net_parse(item, &net))
		return wrong(p, "AllowedIPs needs prefixes like 10.0.0.2/32, found '%.50s'", item);
	if (p->n_allowed >= (size_t)OV_QUICK_PEERS * OV_MAX_ALLOWED)
		return wrong(p, "has more than %d AllowedIPs", OV_QUICK_PEERS * OV_MAX_ALLOWED);
	grown = realloc(p->allowed, (p->n_allowed + 1) * sizeof(*p->allowed));
	if (!grown)
		return err_at(p->e, -ENOMEM, p->file, "out of memory");
	p->allowed = grown;
	p->allowed[p->n_allowed].line = p->line;
	p->allowed[p->n_allowed++].net = net;
	return 0;
}

static int take_endpoint(struct parse *p, const char *value)
{
	struct ov_quick *q = p->q;

	p->has_endpoint = true;
	if (q->n_peers == OV_QUICK_PEERS)
		return wrong(p, "has more than %d peers", OV_QUICK_PEERS);
	if (endpoint_parse(&q->peers[q->n_peers], value)) {
		q->n_peers++;
		return 0;
	}
	if (!strrchr(value, ':'))
		return wrong(p, "Endpoint needs address:port, found '%.60s'", value);
	return note(p, p->line, true, "Endpoint %.60s: names are not resolved. Give its address in exchange.peers",
		    value);
}

static int take_peer(struct parse *p, const char *key, char *value)
{
	uint8_t public_key[OV_KEY_LEN];
	uint64_t v;

	if (strcasecmp(key, "PublicKey") == 0) {
		p->has_peer_key = key_parse(value, public_key);
		return p->has_peer_key ? 0 : wrong(p, "PublicKey is no key: 44 characters of base64 are needed");
	}
	if (strcasecmp(key, "AllowedIPs") == 0)
		return each_of(p, value, take_allowed);
	if (strcasecmp(key, "Endpoint") == 0)
		return take_endpoint(p, value);
	if (strcasecmp(key, "PresharedKey") == 0)
		return note(p, p->line, true, "PresharedKey: there are no secrets between two nodes");
	if (strcasecmp(key, "PersistentKeepalive") != 0)
		return wrong(p, "[Peer] has no '%.40s'", key);
	if (strcasecmp(value, "off") != 0 && !number(value, 65535, &v))
		return wrong(p, "PersistentKeepalive needs 0 to 65535 or off, found '%.20s'", value);
	return 0; /* the daemon keeps open what needs it */
}

static int peer_end(struct parse *p)
{
	if (p->section != PEER)
		return 0;
	if (!p->has_peer_key) {
		p->line = p->peer_line;
		return wrong(p, "a [Peer] without PublicKey");
	}
	return note(p, p->peer_line, false, "its key and addresses come with its record, once that is verified%s",
		    p->has_endpoint ? "" : "; it has no Endpoint: it asks us, or `bailey node add` brings its record");
}

/* --- lines --- */

static int take_section(struct parse *p, const char *name)
{
	int ret = peer_end(p);

	if (ret)
		return ret;
	p->has_peer_key = p->has_endpoint = false;
	p->peer_line = p->line;
	if (strcasecmp(name, "[Peer]") == 0) {
		p->section = PEER;
		return 0;
	}
	if (strcasecmp(name, "[Interface]") != 0)
		return wrong(p, "needs [Interface] or [Peer], found '%.40s'", name);
	if (p->has_interface)
		return wrong(p, "a second [Interface]");
	p->section = INTERFACE;
	p->has_interface = true;
	return 0;
}

static char *trimmed(char *s)
{
	size_t len;

	s += strspn(s, " \t\r");
	len = strlen(s);
	while (len && strchr(" \t\r", s[len - 1]))
		s[--len] = '\0';
	return s;
}

static int take_line(struct parse *p, char *line)
{
	char *key, *value;

	line[strcspn(line, "#")] = '\0';
	key = trimmed(line);
	if (!*key)
		return 0;
	if (*key == '[')
		return take_section(p, key);
	value = strchr(key, '=');
	if (!value)
		return wrong(p, "needs 'Key = value'");
	*value++ = '\0';
	key = trimmed(key);
	value = trimmed(value);
	if (p->section == NOWHERE)
		return wrong(p, "stands before [Interface]");
	if (!*value)
		return wrong(p, "'%.40s' has no value", key);
	return p->section == INTERFACE ? take_interface(p, key, value) : take_peer(p, key, value);
}

/* --- networks --- */

static bool is_single(const struct ip_prefix *net)
{
	return net->bits == (addr_is_v4(&net->addr) ? 32 : 128);
}

static bool is_inside(const struct ov_quick *q, const struct by_addr *addr)
{
	for (uint32_t i = 0; i < q->n_networks; i++)
		if (addr_in_prefix(addr, &q->networks[i]))
			return true;
	return false;
}

/* An address without a network of its own is in the one that a peer forwards for. */
static struct ip_prefix network_of(const struct parse *p, const struct ip_prefix *addr)
{
	struct ip_prefix net = *addr;

	for (size_t i = 0; is_single(&net) && i < p->n_allowed; i++)
		if (p->allowed[i].net.bits && addr_in_prefix(&addr->addr, &p->allowed[i].net))
			net = p->allowed[i].net;
	return prefix_masked(net);
}

static int find_networks(struct parse *p)
{
	struct ov_quick *q = p->q;
	char text[PREFIX_TEXT];

	for (uint32_t i = 0; i < q->n_addrs; i++) {
		struct ip_prefix net = network_of(p, &q->addrs[i]);

		if (is_inside(q, &q->addrs[i].addr))
			continue;
		if (is_single(&net) &&
		    note(p, 0, true, "Address %s: is in no network; nobody fits into overlay.networks",
			 prefix_print(&net, text)))
			return p->e->code;
		if (!net.bits)
			return wrong(p, "Address: a network of the whole Internet can be no overlay");
		q->networks[q->n_networks++] = net;
	}
	return 0;
}

static int judge_allowed(struct parse *p)
{
	char text[PREFIX_TEXT];
	int ret = 0;

	for (size_t i = 0; i < p->n_allowed && !ret; i++) {
		const struct ip_prefix *net = &p->allowed[i].net;

		prefix_print(net, text);
		if (!is_single(net))
			ret = note(p, p->allowed[i].line, true,
				   "AllowedIPs %s: a node has the addresses of its record and forwards for nobody",
				   text);
		else if (!is_inside(p->q, &net->addr))
			ret = note(p, p->allowed[i].line, true,
				   "AllowedIPs %s: is outside of the networks of Address; add one to overlay.networks",
				   text);
	}
	return ret;
}

static int finish(struct parse *p)
{
	int ret = peer_end(p);

	p->line++;
	if (!ret && !p->q->has_private_key)
		ret = wrong(p, "the file has no PrivateKey");
	if (!ret && !p->q->n_addrs)
		ret = wrong(p, "the file has no Address");
	if (!ret)
		ret = find_networks(p);
	return ret ? ret : judge_allowed(p);
}

int ov_quick_parse(const char *file, const char *text, size_t len, struct ov_quick *q, struct err *e)
{
	struct parse p = { .file = file, .q = q, .e = e };
	char line[LINE_MAX_LEN];
	size_t at = 0;
	int ret = 0;

	*q = (struct ov_quick){ .notes = calloc(OV_QUICK_NOTES, sizeof(*q->notes)) };
	if (!q->notes)
		return err_at(e, -ENOMEM, file, "out of memory");
	if (len > OV_QUICK_MAX)
		ret = err_at(e, -EFBIG, file, "is longer than %d bytes", OV_QUICK_MAX);
	while (at < len && !ret) {
		const char *end = memchr(text + at, '\n', len - at);
		size_t n = end ? (size_t)(end - text) - at : len - at;

		p.line++;
		if (n >= sizeof(line) || memchr(text + at, '\0', n)) {
			ret = wrong(&p, "the line is too long, or has a zero byte");
			break;
		}
		memcpy(line, text + at, n);
		line[n] = '\0';
		ret = take_line(&p, line);
		at += n + 1;
	}
	explicit_bzero(line, sizeof(line));
	if (!ret)
		ret = finish(&p);
	free(p.allowed);
	if (ret)
		ov_quick_fini(q);
	return ret;
}

void ov_quick_fini(struct ov_quick *q)
{
	explicit_bzero(q->private_key, sizeof(q->private_key));
	free(q->notes);
	*q = (struct ov_quick){ 0 };
}
