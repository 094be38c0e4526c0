// SPDX-License-Identifier: Apache-2.0
/* Images and answers as text for people. */
#include <stdio.h>

#include "base/text.h"
#include "model.h"

void pol_answer_print(const struct pol_answer *answer, const char *from, const char *to, uint32_t selector, FILE *out)
{
	const char *word = answer->action == BY_ALLOW ? "ALLOW" : "DENY";
	char port[32];

	if (answer->rule) {
		fprintf(out, "%-6s rule %s (%s:%u)\n", word, answer->rule, answer->file, answer->line);
		return;
	}
	pol_selector_print(selector, port, sizeof(port));
	fprintf(out, "%-6s %s: no rule from %s to %s covers %s\n", word, answer->rung, from, to, port);
	if (answer->nearest_rule)
		fprintf(out, "       nearest: %s (%s:%u) allows %s\n", answer->nearest_rule, answer->nearest_file,
			answer->nearest_line, answer->nearest_ports);
}

static void dump_peers(const struct pol_image *img, FILE *out)
{
	const struct pol_app_class *app = pol_image_apps(img);
	const struct pol_member *member = pol_image_members(img);
	char hex[2 * BY_APP_ID_LEN + 1];

	if (img->other_class)
		fprintf(out, "app other: peer class %u\n", img->other_class);
	for (size_t i = 0; i < img->n_apps; i++) {
		hex_print(hex, app[i].app_id, BY_APP_ID_LEN);
		fprintf(out, "app %s: peer class %u\n", hex, app[i].peer_class);
	}
	for (size_t i = 0; i < img->n_members; i++) {
		hex_print(hex, member[i].instance_id, BY_INSTANCE_ID_LEN);
		fprintf(out, "member %s: peer class %u\n", hex, member[i].peer_class);
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

void pol_image_dump(const struct pol_image *img, FILE *out)
{
	const struct by_rule *rule = pol_image_rules(img);
	const struct pol_verdict *v = pol_image_verdicts(img);
	char digest[2 * sizeof(img->digest) + 1];

	hex_print(digest, img->digest, sizeof(img->digest));
	fprintf(out, "policy sha256 %s\n", digest);
	for (size_t i = 0; i < img->n_rules; i++)
		fprintf(out, "rule %zu: %s (%s)\n", i + 1, rule[i].name, rule[i].where);
	dump_peers(img, out);
	dump_ports(img, out);
	for (size_t i = 0; i < img->n_verdicts; i++)
		fprintf(out, "%s peer class %u, port class %u: %s by rule %u\n", v[i].dir == BY_DIR_IN ? "in " : "out",
			v[i].peer_class, v[i].port_class, v[i].verdict.action == BY_ALLOW ? "allow" : "deny",
			v[i].verdict.rule);
}
