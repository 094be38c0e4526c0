// SPDX-License-Identifier: Apache-2.0
/* Rules of other firewalls that name our ports or marks, as their own tools print them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bailey/divert.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "doctor.h"

#define TEXT_MAX (16 << 20)

DEFINE_CLEANUP(json, json_t, json_decref)

static bool is_text(const json_t *o, const char *key, const char *text)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s && strcmp(s, text) == 0;
}

/* --- nftables --- */

/* A number, { "range": [a, b] }, { "set": [...] }; names of services are printed as numbers. */
static bool has_number(const json_t *right, uint64_t v)
{
	const json_t *range = json_object_get(right, "range"), *set = json_object_get(right, "set"), *item;
	size_t i;

	if (json_is_integer(right))
		return (uint64_t)json_integer_value(right) == v;
	if (json_is_array(range))
		return v >= (uint64_t)json_integer_value(json_array_get(range, 0)) &&
		       v <= (uint64_t)json_integer_value(json_array_get(range, 1));
	json_array_foreach (set, i, item)
		if (has_number(item, v))
			return true;
	return false;
}

static bool names_port(const json_t *expr, const struct doctor_port *port)
{
	const json_t *one;
	size_t i;

	json_array_foreach (expr, i, one) {
		const json_t *match = json_object_get(one, "match");
		const json_t *payload = json_object_get(json_object_get(match, "left"), "payload");

		if (is_text(payload, "field", "dport") &&
		    (is_text(payload, "protocol", port->is_udp ? "udp" : "tcp") ||
		     is_text(payload, "protocol", "th")) &&
		    has_number(json_object_get(match, "right"), port->port))
			return true;
	}
	return false;
}

/* What a rule does that keeps a packet from us; NULL: nothing. */
static const char *harm(const json_t *expr)
{
	static const char *const bad[] = { "drop", "reject", "dnat", "redirect", "tproxy", "queue" };
	const json_t *one;
	size_t i;

	json_array_foreach (expr, i, one)
		for (size_t b = 0; b < ARRAY_LEN(bad); b++)
			if (json_object_get(one, bad[b]))
				return bad[b];
	return NULL;
}

static bool is_accepted(const json_t *expr)
{
	const json_t *one;
	size_t i;

	json_array_foreach (expr, i, one)
		if (json_object_get(one, "accept"))
			return true;
	return false;
}

static bool names_mark(const json_t *expr)
{
	const json_t *one;
	size_t i;

	json_array_foreach (expr, i, one) {
		const json_t *match = json_object_get(one, "match"), *set = json_object_get(one, "mangle");
		const json_t *meta =
			json_object_get(json_object_get(match ? match : set, match ? "left" : "key"), "meta");

		if (is_text(meta, "key", "mark") &&
		    has_number(json_object_get(match ? match : set, match ? "right" : "value"), BY_DIVERT_MARK))
			return true;
	}
	return false;
}

static const char *text_of(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s ? s : "?";
}

static void judge_rule(struct doctor *d, const json_t *rule)
{
	const json_t *expr = json_object_get(rule, "expr");

	for (uint32_t i = 0; i < d->n_ports; i++)
		if (harm(expr) && names_port(expr, &d->ports[i]))
			doctor_say(d, DOC_WRONG, "firewall", "nftables: %s %s %s: a rule has '%s' for %s/%u (%s)",
				   text_of(rule, "family"), text_of(rule, "table"), text_of(rule, "chain"), harm(expr),
				   d->ports[i].is_udp ? "udp" : "tcp", d->ports[i].port, d->ports[i].used_for);
	if (names_mark(expr))
		doctor_say(d, DOC_WRONG, "firewall", "nftables: %s %s %s: a rule uses the mark %#x, which is capture's",
			   text_of(rule, "family"), text_of(rule, "table"), text_of(rule, "chain"), BY_DIVERT_MARK);
}

/* iif "lo" or iifname "lo" */
static bool is_of_loopback(const json_t *expr)
{
	const json_t *one;
	size_t i;

	json_array_foreach (expr, i, one) {
		const json_t *match = json_object_get(one, "match");
		const json_t *meta = json_object_get(json_object_get(match, "left"), "meta");

		if ((is_text(meta, "key", "iif") || is_text(meta, "key", "iifname")) && is_text(match, "right", "lo") &&
		    is_text(match, "op", "=="))
			return true;
	}
	return false;
}

static bool accepts_port(const json_t *list, const char *table, const struct doctor_port *port)
{
	const json_t *one;
	size_t i;

	json_array_foreach (list, i, one) {
		const json_t *rule = json_object_get(one, "rule"), *expr = json_object_get(rule, "expr");

		if (is_text(rule, "table", table) && is_accepted(expr) &&
		    (names_port(expr, port) || (port->is_loopback && is_of_loopback(expr))))
			return true;
	}
	return false;
}

/* A chain that drops what no rule names, and no rule names our port. A rule may let it in by other signs. */
static void judge_chain(struct doctor *d, const json_t *list, const json_t *chain)
{
	const char *table = text_of(chain, "table");

	if (!is_text(chain, "hook", "input") || !is_text(chain, "policy", "drop"))
		return;
	for (uint32_t i = 0; i < d->n_ports; i++)
		if (!accepts_port(list, table, &d->ports[i]))
			doctor_say(d, DOC_LOOK, "firewall",
				   "nftables: %s %s %s drops what no rule accepts, and none names %s/%u (%s)",
				   text_of(chain, "family"), table, text_of(chain, "name"),
				   d->ports[i].is_udp ? "udp" : "tcp", d->ports[i].port, d->ports[i].used_for);
}

void doctor_nft(struct doctor *d, const json_t *ruleset)
{
	const json_t *list = json_object_get(ruleset, "nftables"), *one;
	size_t i;

	json_array_foreach (list, i, one) {
		if (json_object_get(one, "rule"))
			judge_rule(d, json_object_get(one, "rule"));
		if (json_object_get(one, "chain"))
			judge_chain(d, list, json_object_get(one, "chain"));
	}
}

/* --- iptables --- */

/* "51820", "51000:52000", "22,51820" */
static bool list_has(const char *ports, uint16_t port)
{
	unsigned long from, to;
	char *end;

	for (;; ports = end + 1) {
		from = to = strtoul(ports, &end, 10);
		if (*end == ':')
			to = strtoul(end + 1, &end, 10);
		if (port >= from && port <= to)
			return true;
		if (*end != ',')
			return false;
	}
}

static bool line_names(const char *line, const struct doctor_port *port)
{
	static const char *const option[] = { "--dport ", "--dports " };

	if (!strstr(line, port->is_udp ? "-p udp " : "-p tcp "))
		return false;
	for (size_t i = 0; i < ARRAY_LEN(option); i++) {
		const char *at = strstr(line, option[i]);

		if (at && strncmp(at - (at > line ? 2 : 0), "! ", 2) != 0 &&
		    list_has(at + strlen(option[i]), port->port))
			return true;
	}
	return false;
}

static bool line_harms(const char *line)
{
	static const char *const target[] = { "-j DROP",     "-j REJECT", "-j DNAT",
					      "-j REDIRECT", "-j TPROXY", "-j NFQUEUE" };

	for (size_t i = 0; i < ARRAY_LEN(target); i++)
		if (strstr(line, target[i]))
			return true;
	return false;
}

static void judge_line(struct doctor *d, const char *tool, const char *line)
{
	char mark[32];

	if (strncmp(line, "-A ", 3) != 0)
		return;
	for (uint32_t i = 0; i < d->n_ports; i++)
		if (line_harms(line) && line_names(line, &d->ports[i]))
			doctor_say(d, DOC_WRONG, "firewall", "%s: '%s' (%s)", tool, line, d->ports[i].used_for);
	snprintf(mark, sizeof(mark), "%#x", BY_DIVERT_MARK);
	if (strstr(line, mark))
		doctor_say(d, DOC_WRONG, "firewall", "%s: '%s' uses the mark %s, which is capture's", tool, line, mark);
}

void doctor_iptables(struct doctor *d, const char *tool, char *text)
{
	char *rest;

	for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
		judge_line(d, tool, line);
}

/* --- asking the tools --- */

/* What a command prints. NULL: it is not installed, or failed, or said too much. */
static char *output_of(const char *command)
{
	FILE *from = popen(command, "r");
	struct out out = { 0 };
	char part[8192];
	size_t n, len;

	if (!from)
		return NULL;
	while (out.len < TEXT_MAX && (n = fread(part, 1, sizeof(part), from)) > 0)
		out_bytes(&out, part, n);
	out_u8(&out, 0);
	if (pclose(from) == 0 && out.len < TEXT_MAX)
		return (char *)out_take(&out, &len);
	out_fini(&out);
	return NULL;
}

static bool ask_nft(struct doctor *d)
{
	auto_free char *text = output_of("PATH=/usr/sbin:/sbin nft -j list ruleset 2>/dev/null");
	auto_call(cleanup_json) json_t *ruleset = text ? json_loads(text, 0, NULL) : NULL;

	if (ruleset)
		doctor_nft(d, ruleset);
	return ruleset;
}

void doctor_firewalls(struct doctor *d)
{
	static const char *const tool[] = { "iptables-save", "ip6tables-save", "iptables-legacy-save",
					    "ip6tables-legacy-save" };
	unsigned before = d->n[DOC_WRONG] + d->n[DOC_LOOK];
	bool has_any = ask_nft(d);
	char command[100];

	for (size_t i = 0; i < ARRAY_LEN(tool); i++) {
		auto_free char *text = NULL;

		snprintf(command, sizeof(command), "PATH=/usr/sbin:/sbin %s 2>/dev/null", tool[i]);
		text = output_of(command);
		has_any |= text != NULL;
		if (text)
			doctor_iptables(d, tool[i], text);
	}
	if (!has_any)
		doctor_say(d, DOC_LOOK, "firewall",
			   "neither nft nor iptables-save could be asked: as root, and installed?");
	else if (before == d->n[DOC_WRONG] + d->n[DOC_LOOK])
		doctor_say(d, DOC_WELL, "firewall", "no rule of nftables or iptables is in the way of our ports");
}
