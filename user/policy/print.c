// SPDX-License-Identifier: Apache-2.0
/* Images, kinds and answers as text for people. */
#include <stdio.h>

#include "base/text.h"
#include "model.h"

void pol_rate_print(uint32_t flags, uint32_t rate, uint32_t burst, char *buf, size_t size)
{
	buf[0] = '\0';
	if (rate)
		snprintf(buf, size, "%u %s/s%s, %u at once", rate, flags & BY_RULE_RATE_FLOWS ? "new flows" : "packets",
			 flags & BY_RULE_RATE_PEER ? " for each peer" : "", burst);
}

/* What a rule asks for beside its action, each with a comma before it. */
static void how_print(uint32_t flags, uint32_t rate, uint32_t burst, FILE *out)
{
	char text[96];

	pol_rate_print(flags, rate, burst, text, sizeof(text));
	fprintf(out, "%s%s%s%s", flags & BY_RULE_HTTP ? ", HTTP" : "", flags & BY_RULE_LOG ? ", logged" : "",
		rate ? ", at most " : "", text);
}

static void print_rule(const struct pol_answer *a, const char *http, FILE *out)
{
	fprintf(out, "%-6s rule %s (%s:%u)", a->action == BY_ALLOW ? "ALLOW" : "DENY", a->rule, a->file, a->line);
	how_print(a->flags, a->rate, a->burst, out);
	if (a->flags & BY_RULE_HTTP && !http)
		fputs(": some requests; ask with --http", out);
	if (a->audit.name && a->audit.name == a->rule)
		fputs("; AUDIT: no enforcing rule allows it, it would drop", out);
	else if (a->audit.name)
		fprintf(out, "; AUDIT: rule %s (%s:%u) would drop", a->audit.name, a->audit.file, a->audit.line);
	fputc('\n', out);
}

/* An http rule of the same port is near a question that names no request: the way to ask is said. */
static void print_nearest(const struct pol_answer *a, const char *http, FILE *out)
{
	if (!a->nearest_rule)
		return;
	fprintf(out, "       nearest: %s (%s:%u) allows %s", a->nearest_rule, a->nearest_file, a->nearest_line,
		a->nearest_ports);
	if (a->nearest_http[0])
		fprintf(out, ", of HTTP %s%s", a->nearest_http, http ? "" : "; ask with --http");
	fputc('\n', out);
}

static void print_lacks(const struct pol_answer *a, const char *from, const char *to, FILE *out)
{
	struct pol_lack lack[POL_LACKS_MAX];
	size_t n = pol_lacks(a, lack);

	for (size_t i = 0; i < n; i++)
		fprintf(out, "       needs of %s: %s %s; it is %s\n", lack[i].is_to ? to : from, lack[i].claim,
			lack[i].needed, lack[i].has[0] ? lack[i].has : "unknown");
}

void pol_answer_print(const struct pol_answer *answer, const char *from, const char *to, uint32_t selector,
		      const char *http, FILE *out)
{
	char port[32];

	if (answer->rule) {
		print_rule(answer, http, out);
		return;
	}
	pol_selector_print(selector, port, sizeof(port));
	fprintf(out, "%-6s %s: no rule from %s to %s covers %s%s%s\n", "DENY", answer->rung, from, to, port,
		http ? " " : "", http ? http : "");
	print_nearest(answer, http, out);
	print_lacks(answer, from, to, out);
}

/* --- kinds ------------------------------------------------------------------------------------------------- */

static void list_met(const struct pol_model *model, const struct pol_kind *kind, FILE *out)
{
	const struct pol_vector *met = &kind->met;
	bool has_require = kind->app != POL_APP_OTHER && model->app[kind->app].require;
	const char *comma = "";

	for (uint32_t bit = 0; bit < 64; bit++) {
		bool is_sure = met->sure >> bit & 1, may_be = met->maybe >> bit & 1;

		if (bit == POL_REQUIRE && has_require && !may_be)
			fprintf(out, "%snot require", comma);
		if (!may_be)
			continue;
		fprintf(out, "%s%s%s", comma, is_sure ? "" : "perhaps ",
			bit == POL_REQUIRE ? "require" : model->claim[bit].name);
		comma = ", ";
	}
}

void pol_kind_print(const struct pol_model *model, uint32_t kind, char *buf, size_t size)
{
	struct pol_kind k = pol_kind_get(model, kind);
	const char *app = k.app == POL_APP_OTHER ? "other" : model->app[k.app].name;
	bool is_told = pol_kind_vectors(&model->kinds, k.app == POL_APP_OTHER ? model->kinds.n_apps : k.app)->n > 1;
	FILE *out = fmemopen(buf, size, "w");

	buf[0] = '\0';
	if (!out)
		return;
	fputs(app, out);
	if (k.instance != UINT32_MAX)
		fprintf(out, "#%s", model->instance[k.instance].name);
	if (is_told) {
		fputc('{', out);
		list_met(model, &k, out);
		fputc('}', out);
	}
	fclose(out);
	buf[size - 1] = '\0';
}

/* --- images ------------------------------------------------------------------------------------------------ */

static void dump_kinds(const struct pol_image *img, const struct pol_model *model, FILE *out)
{
	const struct pol_kind_class *kind = pol_image_kinds(img);
	char text[512];

	if (img->other_class)
		fprintf(out, "kind of no rule: peer class %u\n", img->other_class);
	for (size_t i = 0; i < img->n_kinds; i++) {
		snprintf(text, sizeof(text), "%u", kind[i].kind);
		if (model)
			pol_kind_print(model, kind[i].kind, text, sizeof(text));
		fprintf(out, "kind %s: peer class %u\n", text, kind[i].peer_class);
	}
}

static void dump_peers(const struct pol_image *img, FILE *out)
{
	const struct pol_member *member = pol_image_members(img);
	const struct pol_net *net = pol_image_nets(img);
	char text[PREFIX_TEXT];

	for (size_t i = 0; i < img->n_members; i++) {
		hex_print(text, member[i].instance_id, BY_INSTANCE_ID_LEN);
		fprintf(out, "member %s: peer class %u\n", text, member[i].peer_class);
	}
	for (size_t i = 0; i < img->n_nets; i++) {
		struct ip_prefix p = { .addr = net[i].addr, .bits = net[i].bits };

		p.bits = (uint8_t)(addr_is_v4(&p.addr) && p.bits >= 96 ? p.bits - 96 : p.bits);
		fprintf(out, "net %s: peer class %u\n", prefix_print(&p, text), net[i].peer_class);
	}
}

static void dump_rules(const struct pol_image *img, FILE *out)
{
	const struct by_rule *rule = pol_image_rules(img);

	for (size_t i = 0; i < img->n_rules; i++) {
		fprintf(out, "rule %zu: %s (%s)%s%s", i + 1, rule[i].name, rule[i].where,
			i < img->n_openings ? ", opening" : "", rule[i].flags & BY_RULE_AUDIT ? ", audit" : "");
		how_print(rule[i].flags, rule[i].rate, rule[i].burst, out);
		fputc('\n', out);
	}
}

static void dump_ports(const struct pol_image *img, FILE *out)
{
	const struct pol_port_range *range = pol_image_ports(img);
	char text[256];

	for (size_t i = 0; i < img->n_ports; i++) {
		pol_ranges_print(&(struct pol_range){ range[i].first, range[i].last }, 1, text, sizeof(text));
		fprintf(out, "ports %s: port class in %u, out %u\n", text, range[i].port.port_class[BY_DIR_IN],
			range[i].port.port_class[BY_DIR_OUT]);
	}
}

static void dump_verdict(const struct pol_verdict *v, FILE *out)
{
	fprintf(out, "%s peer class %u, port class %u: %s by rule %u", v->dir == BY_DIR_IN ? "in " : "out",
		v->peer_class, v->port_class, v->verdict.action == BY_ALLOW ? "allow" : "deny", v->verdict.rule);
	if (v->verdict.audit)
		fprintf(out, ", rule %u would drop", v->verdict.audit);
	fputc('\n', out);
}

void pol_image_dump(const struct pol_image *img, const struct pol_model *model, FILE *out)
{
	const struct pol_verdict *v = pol_image_verdicts(img);
	char digest[2 * sizeof(img->digest) + 1];

	hex_print(digest, img->digest, sizeof(img->digest));
	fprintf(out, "policy sha256 %s\n", digest);
	dump_rules(img, out);
	dump_kinds(img, model, out);
	dump_peers(img, out);
	dump_ports(img, out);
	for (size_t i = 0; i < img->n_verdicts; i++)
		dump_verdict(&v[i], out);
}
