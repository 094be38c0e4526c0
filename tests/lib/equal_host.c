// SPDX-License-Identifier: Apache-2.0
/* The same for rules about host: XDP, its stand-in at tc, and the way out. */
#include <bpf/bpf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "ctmap.h"
#include "equal.h"
#include "host.h"
#include "policy/policy.h"

#define RULES 10

static const char *const prefixes[] = {
	"10.0.0.0/8",    "10.1.0.0/16",     "10.1.2.3",      "198.51.100.0/24", "128.0.0.0/1", "198.51.100.128/25",
	"2001:db8::/32", "2001:db8:1::/48", "2001:db8:1::7", "2001:db8:1::/64", "8000::/1",    "fd00::/8",
};
static const char *const addresses[] = {
	"10.0.0.1",     "10.1.0.1",      "10.1.2.3",      "198.51.100.7",    "198.51.100.200", "203.0.113.9",
	"2001:db8::99", "2001:db8:1::7", "2001:db8:1::8", "2001:db8:1:1::8", "2600::1",        "fd00::5",
};
static const char *const selves[] = { "app0", "app1", "app2", "0900000000000000000000000000000000000000" };
static const char *const proofs[] = { NULL, "simulated=true", "tcb=OutOfDate", "tcb=unknown" };

struct run {
	struct equal *eq;
	struct host_world *w;
	struct pol_model *model;
	struct pol_image *img;
	char *text;
	const char *self, *proof;
	struct ct_map ct;
	int net;
	uint32_t hits[RULES + 1];
	uint16_t port;
};

struct packet {
	enum host_hook hook;
	const char *peer;
	uint32_t selector;
	struct pkt pkt;
};

static uint32_t roll(struct run *r, uint32_t n)
{
	uint64_t *s = &r->eq->seed;

	*s ^= *s << 13;
	*s ^= *s >> 7;
	*s ^= *s << 17;
	return (uint32_t)(*s >> 33) % n;
}

/* --- policies ---------------------------------------------------------------------------------------------- */

static void write_some(struct run *r, const char *const *word, unsigned n, FILE *to)
{
	unsigned set = 1 + roll(r, (1u << n) - 1), thin = 1 + roll(r, (1u << n) - 1);
	const char *comma = "";

	set = set & thin ? set & thin : set;
	fputc('[', to);
	for (unsigned i = 0; i < n; i++) {
		if (!(set & 1u << i))
			continue;
		fprintf(to, "%s\"%s\"", comma, word[i]);
		comma = ", ";
	}
	fputc(']', to);
}

static void write_other(struct run *r, FILE *to)
{
	switch (roll(r, 4)) {
	case 0:
		fputs("world", to);
		return;
	case 1:
		fprintf(to, "net%u", roll(r, 2));
		return;
	default:
		write_some(r, prefixes, ARRAY_LEN(prefixes), to);
	}
}

static void write_port(struct run *r, FILE *to)
{
	static const char *const plain[] = {
		"tcp", "udp", "icmp", "icmpv6", "any", "icmp/8", "icmpv6/128", "proto/47"
	};
	uint32_t kind = roll(r, 16), a = 1 + roll(r, 8);

	if (kind < ARRAY_LEN(plain))
		fputs(plain[kind], to);
	else
		fprintf(to, "%s/%u-%u", kind % 2 ? "tcp" : "udp", a, a + roll(r, 4));
}

static void write_rule(struct run *r, FILE *to)
{
	bool is_in = roll(r, 3);
	unsigned n_ports = 1 + roll(r, 2);

	fputs(is_in ? "  - { to: host, from: " : "  - { from: host, to: ", to);
	write_other(r, to);
	if (roll(r, 2)) {
		fputs(", on: ", to);
		write_some(r, selves, 3, to);
	}
	fprintf(to, ", %s: [", roll(r, 3) ? "allow" : "deny");
	for (unsigned i = 0; i < n_ports; i++) {
		fputs(i ? ", " : "", to);
		write_port(r, to);
	}
	fprintf(to, "]%s }\n", roll(r, 4) ? "" : ", mode: audit");
}

static char *write_policy(struct run *r)
{
	unsigned n_rules = 1 + roll(r, RULES);
	char *text = NULL;
	size_t size;
	FILE *to = open_memstream(&text, &size);

	assert_non_null(to);
	fputs("version: 1\napps:\n"
	      "  app0: { app-id: 0100000000000000000000000000000000000000 }\n"
	      "  app1: { app-id: 0200000000000000000000000000000000000000, require: { simulated: false } }\n"
	      "  app2: { app-id: 0300000000000000000000000000000000000000, require: { tcb: UpToDate } }\n"
	      "networks:\n",
	      to);
	for (unsigned i = 0; i < 2; i++) {
		fprintf(to, "  net%u: ", i);
		write_some(r, prefixes, ARRAY_LEN(prefixes), to);
		fputc('\n', to);
	}
	fputs("rules:\n", to);
	for (unsigned i = 0; i < n_rules; i++)
		write_rule(r, to);
	fclose(to);
	return text;
}

/* --- loading ----------------------------------------------------------------------------------------------- */

static void load_nets(struct run *r, uint32_t slot)
{
	const struct pol_net *net = pol_image_nets(r->img);

	for (uint32_t i = 0; i < r->img->n_nets; i++) {
		struct by_net_key key = { .prefix_bits = 32u + net[i].bits, .slot = slot, .addr = net[i].addr };
		struct by_net value = { .peer_class = net[i].peer_class };

		assert_int_equal(bpf_map_update_elem(r->net, &key, &value, BPF_ANY), 0);
	}
}

/* Looks for the next key before the last one goes: from the beginning each time is the whole table each time. */
static void purge(int map, size_t key_size)
{
	uint8_t key[64], next[64];
	bool has_key = false, is_more;

	assert_true(key_size <= sizeof(key));
	do {
		is_more = bpf_map_get_next_key(map, has_key ? key : NULL, next) == 0;
		if (has_key)
			assert_int_equal(bpf_map_delete_elem(map, key), 0);
		memcpy(key, next, key_size);
		has_key = is_more;
	} while (is_more);
}

static void policy_load(struct run *r)
{
	struct pol_subject self;
	struct diags d = { 0 };
	struct err e = ERR_INIT;

	r->text = write_policy(r);
	r->self = selves[roll(r, ARRAY_LEN(selves))];
	r->proof = proofs[roll(r, ARRAY_LEN(proofs))];
	if (pol_parse("h.yaml", r->text, strlen(r->text), &r->model, &d) < 0)
		fail_msg("%s\n%s", d.item[0].msg, r->text);
	diags_fini(&d);
	purge(r->ct.fd4, sizeof(struct by_ct4_key));
	purge(r->ct.fd6, sizeof(struct by_ct_key));
	purge(r->net, sizeof(struct by_net_key));
	if (pol_subject_named(r->model, r->self, r->proof, &self, &e) < 0 ||
	    pol_compile_host(r->model, &self, NULL, 0, &r->img, &e) < 0 || dp_policy_stage(r->w->dp, r->img, &e) < 0)
		fail_msg("%s: %s\n%s", e.where, e.msg, r->text);
	load_nets(r, dp_gen(r->w->dp).slot ^ 1);
	assert_int_equal(dp_policy_flip(r->w->dp, &e), 0);
	memset(r->hits, 0, sizeof(r->hits));
}

/* --- packets ----------------------------------------------------------------------------------------------- */

/* Types by which the link itself works; they are not judged. */
static bool is_of_link(uint32_t type)
{
	return (type >= 130 && type <= 137) || (type >= 141 && type <= 143) || (type >= 151 && type <= 153);
}

static bool packet_of(struct run *r, struct packet *p)
{
	uint32_t kind = roll(r, 8), type = roll(r, 3) ? 8 : roll(r, 256);
	bool is_v6;

	*p = (struct packet){ .hook = (enum host_hook)roll(r, HOOK_COUNT),
			      .peer = addresses[roll(r, ARRAY_LEN(addresses))] };
	is_v6 = strchr(p->peer, ':');
	p->pkt.src = p->hook == HOOK_OUT ? (is_v6 ? HOST6 : HOST4) : p->peer;
	p->pkt.dst = p->hook == HOOK_OUT ? p->peer : (is_v6 ? HOST6 : HOST4);
	p->pkt.sport = p->pkt.id = (uint16_t)(1024 + r->port++ % 60000);
	p->pkt.payload = (uint16_t)roll(r, 3);
	if (kind < 6) {
		p->pkt.proto = kind < 3 ? P_TCP : P_UDP;
		p->pkt.dport = (uint16_t)(1 + roll(r, 14));
		p->pkt.flags = F_SYN;
		p->selector = (kind < 3 ? BY_PORT_TCP : BY_PORT_UDP) + p->pkt.dport;
		return true;
	}
	if (kind == 6) {
		type = is_v6 && type == 8 ? 128 : type;
		p->pkt.proto = is_v6 ? P_ICMPV6 : P_ICMP;
		p->pkt.type = (uint8_t)type;
		p->selector = (is_v6 ? BY_PORT_ICMPV6 : BY_PORT_ICMP) + type;
		return !is_v6 || !is_of_link(type);
	}
	p->pkt.proto = P_GRE;
	p->selector = BY_PORT_OTHER + P_GRE;
	return true;
}

static bool is_passed(struct run *r, const struct packet *p)
{
	struct frame f;

	host_frame(&f, &p->pkt, (int)roll(r, 2));
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = f.data, .data_size_in = (uint32_t)f.len, .repeat = 1);
	assert_int_equal(bpf_prog_test_run_opts(r->w->prog[p->hook], &opts), 0);
	if (p->hook == HOOK_XDP)
		assert_true(opts.retval == 1 || opts.retval == 2); /* XDP_DROP, XDP_PASS */
	else
		assert_true((int)opts.retval == -1 || opts.retval == 2); /* on to the next program, TC_ACT_SHOT */
	return p->hook == HOOK_XDP ? opts.retval == 2 : (int)opts.retval == -1;
}

/* A flow without ports is the next one's, too, whichever way that goes. */
static void forget_portless(const struct run *r, const struct packet *p)
{
	struct by_ct_key key = { .l4_proto = p->pkt.proto };
	struct by_ct ct;

	if (p->pkt.proto != P_GRE)
		return;
	assert_true(addr_parse(&key.peer, p->peer));
	assert_true(addr_parse(&key.local, strchr(p->peer, ':') ? HOST6 : HOST4));
	ct_map_take(r->ct, &key, &ct);
}

static bool differ(const struct run *r, const struct packet *p, const char *what, long got, long want)
{
	char port[32];

	pol_selector_print(p->selector, port, sizeof(port));
	fprintf(stderr, "# seed now %#llx: host of %s (%s), hook %d, %s %s: %s: %ld, wanted %ld\n%s",
		(unsigned long long)r->eq->seed, r->self, r->proof ? r->proof : "as named", (int)p->hook, p->peer, port,
		what, got, want, r->text);
	return false;
}

static bool is_named(const struct run *r, uint32_t rule, const char *name)
{
	return name ? rule && strcmp(name, pol_image_rules(r->img)[rule - 1].name) == 0 : !rule;
}

/* The program that `bailey policy explain --live` asks. */
static bool is_answered_alike(struct run *r, const struct packet *p, const struct by_addr *peer, bool is_allowed,
			      const struct by_verdict *v)
{
	struct dp_question q = { .dir = p->hook == HOOK_OUT ? BY_DIR_OUT : BY_DIR_IN,
				 .peer = *peer,
				 .selector = p->selector };
	struct dp_answer a;
	struct err e = ERR_INIT;

	assert_true(addr_parse(&q.local, addr_is_v4(peer) ? HOST4 : HOST6));
	if (dp_ask(r->w->dp, &q, &a, &e) < 0)
		fail_msg("%s: %s", e.where, e.msg);
	if ((a.reason == BY_DROP_NONE) != is_allowed)
		return differ(r, p, "passed (asked)", a.reason == BY_DROP_NONE, is_allowed);
	return (a.rule == v->rule && a.audit == v->audit) || differ(r, p, "rule (asked)", a.rule, v->rule);
}

static bool check_packet(struct run *r, const struct packet *p)
{
	bool is_out = p->hook == HOOK_OUT;
	struct pol_question q = { .from = is_out ? "host" : p->peer,
				  .to = is_out ? p->peer : "host",
				  .on = r->self,
				  .selector = p->selector };
	struct pol_answer answer;
	struct by_verdict v;
	struct by_addr addr;
	struct err e = ERR_INIT;
	bool is_allowed;

	*(is_out ? &q.from_claims : &q.to_claims) = r->proof;
	assert_true(addr_parse(&addr, p->peer));
	if (pol_ask(r->model, &q, &answer, &e) < 0)
		fail_msg("%s", e.msg);
	is_allowed = answer.action == BY_ALLOW;
	v = pol_image_lookup(r->img, is_out ? BY_DIR_OUT : BY_DIR_IN, pol_image_net_lookup(r->img, &addr), p->selector);
	if ((v.action == BY_ALLOW) != is_allowed)
		return differ(r, p, "passed (image)", v.action == BY_ALLOW, is_allowed);
	if (!is_named(r, v.rule, answer.rule) || !is_named(r, v.audit, answer.audit.name))
		return differ(r, p, "rule of the image, of explain another one", v.rule, 0);
	if (!is_answered_alike(r, p, &addr, is_allowed, &v))
		return false;
	if (is_passed(r, p) != is_allowed)
		return differ(r, p, "passed (program)", !is_allowed, is_allowed);
	forget_portless(r, p);
	r->hits[v.rule]++;
	if (v.audit != v.rule)
		r->hits[v.audit]++;
	r->eq->n_audited += v.audit != 0;
	r->eq->n_cases++;
	*(is_allowed ? &r->eq->n_allowed : v.rule ? &r->eq->n_denied : &r->eq->n_default) += 1;
	return true;
}

static bool check_counters(struct run *r)
{
	for (uint32_t rule = 1; rule <= r->img->n_rules; rule++) {
		struct by_counter n;

		assert_int_equal(dp_rule_get(r->w->dp, dp_gen(r->w->dp).slot, rule, NULL, &n), 0);
		if (n.packets == r->hits[rule])
			continue;
		fprintf(stderr, "# rule %u counted %llu packets, %u were decided by it\n%s", rule,
			(unsigned long long)n.packets, r->hits[rule], r->text);
		return false;
	}
	return true;
}

static bool one_policy(struct run *r)
{
	bool is_good = true;
	struct packet p;

	policy_load(r);
	for (uint32_t i = 0; i < r->eq->packets && is_good;) {
		if (!packet_of(r, &p))
			continue;
		is_good = check_packet(r, &p);
		i++;
	}
	is_good = is_good && check_counters(r);
	r->eq->n_policies++;
	free(r->img);
	free(r->text);
	pol_free(r->model);
	return is_good;
}

bool equal_host_run(struct equal *eq, uint32_t policies)
{
	struct dp_host_options options = { 0 };
	struct run r = { .eq = eq, .w = host_world_open(&options) };
	bool is_good = true;

	r.ct = (struct ct_map){ host_world_map(r.w, "by_ct4"), host_world_map(r.w, "by_ct6") };
	r.net = host_world_map(r.w, "by_net");
	for (uint32_t i = 0; i < policies && is_good; i++)
		is_good = one_policy(&r);
	ct_map_close(r.ct);
	close(r.net);
	host_world_close(r.w);
	return is_good;
}
