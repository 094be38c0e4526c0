// SPDX-License-Identifier: Apache-2.0
/* bailey policy compile: what a node would load, for the overlay and for its host. */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "cmd_policy.h"
#include "cmds.h"

static const char help[] =
	"usage: bailey policy compile FILE... --self WHO [--self-claims CLAIMS] [--peer WHO]...\n"
	"                             [--mesh PORTS]... [--dump] [--json]\n\n"
	"  --self WHO  the node at hand: an app or an instance of the policy, or an app-id of 40 hex digits\n"
	"  --self-claims CLAIMS\n"
	"              what it proves, as in `explain`\n"
	"  --peer WHO  a node known already; may be repeated\n"
	"  --mesh PORTS\n"
	"              where the node's mesh listens, such as tcp/443: what rules with http open; may be repeated\n"
	"  --dump      all of it as text, not only sizes: the overlay's image, and the host's where there are rules\n"
	"              about host\n"
	"  --json      all of it as JSON\n\n"
	"Nothing is loaded. What baileyd.conf keeps open on the host, whatever the policy says, is not in it.\n\n"
	"exit status: 0 compiled, 1 rejected, 2 no answer\n";

struct compile {
	const char *self;
	char *claims;
	const char **peer;
	size_t n_peers;
	struct pol_range *mesh; /* sorted, neither overlapping nor touching */
	size_t n_mesh;
	bool is_dump, is_json;
	struct loaded l;
	struct pol_image *overlay, *host; /* host NULL: there are no rules about it */
};

static void compile_fini(struct compile *c)
{
	free(c->claims);
	free(c->peer);
	free(c->mesh);
	free(c->overlay);
	free(c->host);
	loaded_fini(&c->l);
}

/* --- JSON -------------------------------------------------------------------------------------------------- */

static json_t *ports_text(uint32_t first, uint32_t last)
{
	char text[256];

	pol_ranges_print(&(struct pol_range){ first, last }, 1, text, sizeof(text));
	return json_string(text);
}

static json_t *rules_json(const struct pol_image *img)
{
	const struct by_rule *rule = pol_image_rules(img);
	json_t *list = json_array();

	for (uint32_t i = 0; i < img->n_rules; i++) {
		json_t *o = json_pack("{s:I, s:s, s:s, s:b, s:b, s:b}", "number", (json_int_t)i + 1, "name",
				      rule[i].name, "where", rule[i].where, "audit", !!(rule[i].flags & BY_RULE_AUDIT),
				      "log", !!(rule[i].flags & BY_RULE_LOG), "http", !!(rule[i].flags & BY_RULE_HTTP));

		if (rule[i].rate)
			json_object_set_new(o, "rate", policy_rate_json(rule[i].flags, rule[i].rate, rule[i].burst));
		json_array_append_new(list, o);
	}
	return list;
}

/* Who is of which class: kinds and known peers on the overlay, networks of the underlay. */
static json_t *classes_json(const struct pol_image *img, const struct pol_model *model)
{
	const struct pol_kind_class *kind = pol_image_kinds(img);
	const struct pol_member *member = pol_image_members(img);
	const struct pol_net *net = pol_image_nets(img);
	json_t *list = json_array();
	char text[512];

	if (img->other_class)
		json_array_append_new(list, json_pack("{s:n, s:I}", "kind", "class", (json_int_t)img->other_class));
	for (uint32_t i = 0; i < img->n_kinds; i++) {
		pol_kind_print(model, kind[i].kind, text, sizeof(text));
		json_array_append_new(list,
				      json_pack("{s:s, s:I}", "kind", text, "class", (json_int_t)kind[i].peer_class));
	}
	for (uint32_t i = 0; i < img->n_members; i++) {
		hex_print(text, member[i].instance_id, BY_INSTANCE_ID_LEN);
		json_array_append_new(
			list, json_pack("{s:s, s:I}", "instance_id", text, "class", (json_int_t)member[i].peer_class));
	}
	for (uint32_t i = 0; i < img->n_nets; i++) {
		struct ip_prefix p = { .addr = net[i].addr, .bits = net[i].bits };

		p.bits = (uint8_t)(addr_is_v4(&p.addr) && p.bits >= 96 ? p.bits - 96 : p.bits);
		json_array_append_new(list, json_pack("{s:s, s:I}", "network", prefix_print(&p, text), "class",
						      (json_int_t)net[i].peer_class));
	}
	return list;
}

static json_t *port_classes_json(const struct pol_image *img)
{
	const struct pol_port_range *range = pol_image_ports(img);
	json_t *list = json_array();

	for (uint32_t i = 0; i < img->n_ports; i++)
		json_array_append_new(list,
				      json_pack("{s:o, s:i, s:i}", "ports", ports_text(range[i].first, range[i].last),
						"in", range[i].port.port_class[BY_DIR_IN], "out",
						range[i].port.port_class[BY_DIR_OUT]));
	return list;
}

static json_t *verdicts_json(const struct pol_image *img)
{
	const struct pol_verdict *v = pol_image_verdicts(img);
	json_t *list = json_array();

	for (uint32_t i = 0; i < img->n_verdicts; i++)
		json_array_append_new(
			list, json_pack("{s:s, s:I, s:i, s:s, s:I, s:I}", "dir", v[i].dir == BY_DIR_IN ? "in" : "out",
					"class", (json_int_t)v[i].peer_class, "port_class", (int)v[i].port_class,
					"action", v[i].verdict.action == BY_ALLOW ? "allow" : "deny", "rule",
					(json_int_t)v[i].verdict.rule, "audit", (json_int_t)v[i].verdict.audit));
	return list;
}

static json_t *image_json(const struct pol_image *img, const struct pol_model *model)
{
	if (!img)
		return json_null();
	return json_pack("{s:I, s:o, s:o, s:o, s:o}", "bytes", (json_int_t)img->size, "rules", rules_json(img),
			 "classes", classes_json(img, model), "ports", port_classes_json(img), "verdicts",
			 verdicts_json(img));
}

/* --- the images -------------------------------------------------------------------------------------------- */

/* Peers named on the command line are no machines: those that are no named instances are numbered from 1. */
static int subjects(const struct compile *c, struct pol_subject *self, struct pol_subject *peers, struct err *e)
{
	static const uint8_t none[BY_INSTANCE_ID_LEN];
	int ret = pol_subject_named(c->l.model, c->self, c->claims, self, e);

	for (size_t i = 0; !ret && i < c->n_peers; i++) {
		ret = pol_subject_named(c->l.model, c->peer[i], NULL, &peers[i], e);
		if (memcmp(peers[i].instance_id, none, sizeof(none)) != 0)
			continue;
		peers[i].instance_id[BY_INSTANCE_ID_LEN - 2] = (uint8_t)((i + 1) >> 8);
		peers[i].instance_id[BY_INSTANCE_ID_LEN - 1] = (uint8_t)(i + 1);
	}
	return ret;
}

static int make(struct compile *c)
{
	auto_free struct pol_subject *peers = calloc(c->n_peers + 1, sizeof(*peers));
	struct pol_subject self = { 0 };
	struct err e = ERR_INIT;
	int ret;

	if (!peers || subjects(c, &self, peers, &e) < 0)
		return policy_say(&e);
	ret = pol_compile_mesh(c->l.model, &self, c->mesh, c->n_mesh, peers, c->n_peers, &c->overlay, &e);
	if (!ret && pol_has_host_rules(c->l.model))
		ret = pol_compile_host(c->l.model, &self, NULL, 0, &c->host, &e);
	if (!ret)
		return EXIT_YES;
	policy_say(&e);
	return EXIT_NO;
}

static void print_sizes(const struct pol_image *img, const char *part)
{
	printf(", %s %llu bytes, %u verdicts, %u port classes, %u peer classes", part, (unsigned long long)img->size,
	       img->n_verdicts, img->n_port_classes, img->n_peer_classes);
}

static int print(const struct compile *c, int n, char **paths)
{
	auto_free char *name = policy_shown(n, paths);
	char digest[2 * sizeof(c->overlay->digest) + 1];

	hex_print(digest, c->overlay->digest, sizeof(c->overlay->digest));
	if (c->is_json) {
		auto_json json_t *o =
			json_pack("{s:s, s:s, s:o, s:o}", "policy", digest, "self", c->self, "overlay",
				  image_json(c->overlay, c->l.model), "host", image_json(c->host, c->l.model));

		return policy_print_json(o);
	}
	if (c->is_dump) {
		pol_image_dump(c->overlay, c->l.model, stdout);
		if (c->host) {
			puts("\nhost");
			pol_image_dump(c->host, c->l.model, stdout);
		}
		return EXIT_YES;
	}
	printf("%s: ok for %s", name ? name : "policy", c->self);
	print_sizes(c->overlay, "overlay");
	if (c->host)
		print_sizes(c->host, "host");
	putchar('\n');
	return EXIT_YES;
}

static int mesh_take(struct compile *c, const char *arg)
{
	struct err e = ERR_INIT;

	if (!pol_range_parse(arg, &c->mesh[c->n_mesh], &e))
		return policy_say(&e);
	if (!pol_is_tcp(c->mesh[c->n_mesh].first) || !pol_is_tcp(c->mesh[c->n_mesh].last))
		return policy_misused("compile", "--mesh is about ports of tcp, such as tcp/443");
	c->n_mesh++;
	pol_range_merge(c->mesh, &c->n_mesh);
	return EXIT_YES;
}

/* -1 to go on, else the exit status. */
static int options_read(int argc, char **argv, struct compile *c)
{
	static const struct option longs[] = {
		{ "self", required_argument, NULL, 's' }, { "self-claims", required_argument, NULL, 'S' },
		{ "peer", required_argument, NULL, 'p' }, { "mesh", required_argument, NULL, 'm' },
		{ "dump", no_argument, NULL, 'd' },       { "json", no_argument, NULL, 'j' },
		{ "help", no_argument, NULL, 'h' },       { 0 }
	};
	int letter, ret;

	c->peer = calloc((size_t)argc + 1, sizeof(*c->peer));
	c->mesh = calloc((size_t)argc + 1, sizeof(*c->mesh));
	if (!c->peer || !c->mesh)
		return EXIT_USAGE;
	optind = 0; /* glibc: start afresh */
	while ((letter = getopt_long(argc, argv, "h", longs, NULL)) != -1) {
		if (letter == 'h') {
			fputs(help, stdout);
			return EXIT_YES;
		}
		if (letter == 's')
			c->self = optarg;
		else if (letter == 'p')
			c->peer[c->n_peers++] = optarg;
		else if (letter == 'm' && (ret = mesh_take(c, optarg)))
			return ret;
		else if (letter == 'd')
			c->is_dump = true;
		else if (letter == 'j')
			c->is_json = true;
		else if (letter != 'S' && letter != 'm')
			return policy_misused("compile", "bad option");
		else if (letter == 'S' && (ret = policy_claims_take("--self-claims", optarg, &c->claims)))
			return ret;
	}
	return -1;
}

int cmd_policy_compile(int argc, char **argv)
{
	auto_call(compile_fini) struct compile c = { 0 };
	int ret = options_read(argc, argv, &c);

	if (ret >= 0)
		return ret;
	argc -= optind;
	argv += optind;
	if (argc < 1 || !c.self)
		return policy_misused("compile", "needed FILE and --self WHO");
	ret = policy_load(argc, argv, &c.l);
	if (!ret)
		ret = make(&c);
	return ret ? ret : print(&c, argc, argv);
}
