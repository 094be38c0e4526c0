// SPDX-License-Identifier: Apache-2.0
#include "equal.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "policy/policy.h"
#include "world.h"

#define APPS  6 /* app number APPS is attested, but not in the policy */
#define INSTS 3 /* nodes WEB (this one), DB and DB + 1 have names */
#define RULES 12
#define PEERS 12 /* nodes 3 on; two of each app but the last ones */

struct run {
	struct equal *eq;
	struct world *w;
	struct pol_model *model;
	struct pol_image *img;
	char *text;
	unsigned self;   /* its app */
	bool has_claims; /* and instances */
	struct ct_map ct;
	uint32_t hits[RULES + 1];
	unsigned n_packet;
};

struct packet {
	enum by_dir dir;
	int node;
	bool is_v6;
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

/* Nodes differ in what they prove, also those of one app. */
static struct pol_subject subject(unsigned app, int node)
{
	static const enum pol_tcb tcb[] = { POL_TCB_UP_TO_DATE, POL_TCB_UNKNOWN, POL_TCB_OUT_OF_DATE };
	unsigned n = (unsigned)node;
	struct pol_subject s = { .app_id = { (uint8_t)(app * 37 + 1) },
				 .tcb = tcb[n % 3],
				 .is_simulated = n % 4 == 1,
				 .has_compose_hash = n % 5 != 4,
				 .compose_hash = { (uint8_t)(n % 5) } };

	memset(s.instance_id, node, sizeof(s.instance_id));
	return s;
}

static unsigned app_of(int node)
{
	return (unsigned)node % (APPS + 1);
}

static void write_port(struct run *r, FILE *to)
{
	static const char *const plain[] = { "tcp",    "udp",        "icmp",     "icmpv6",    "any",
					     "icmp/8", "icmpv6/128", "proto/47", "tcp/65535", "udp/65535" };
	uint32_t kind = roll(r, 24), a = 1 + roll(r, 12), b = a + roll(r, 5);
	const char *proto = roll(r, 2) ? "tcp" : "udp";

	if (kind < ARRAY_LEN(plain))
		fputs(plain[kind], to);
	else if (a == b)
		fprintf(to, "%s/%u", proto, a);
	else
		fprintf(to, "%s/%u-%u", proto, a, b);
}

static void write_side(struct run *r, FILE *to)
{
	static const char *const others[] = { "inst0", "inst1", "inst2", "claim0", "claim1" };
	unsigned apps = roll(r, 1u << APPS), more = r->has_claims ? roll(r, 1u << ARRAY_LEN(others)) : 0;
	const char *comma = "";

	if (!roll(r, 4)) {
		fputs("any-attested", to);
		return;
	}
	if (more && roll(r, 2))
		apps = 0;
	fputc('[', to);
	for (unsigned a = 0; a < APPS; a++) {
		if (!(apps & 1u << a) && (apps || more || a))
			continue;
		fprintf(to, "%sapp%u", comma, a);
		comma = ", ";
	}
	for (unsigned i = 0; i < ARRAY_LEN(others); i++) {
		if (!(more & 1u << i))
			continue;
		fprintf(to, "%s%s", comma, others[i]);
		comma = ", ";
	}
	fputc(']', to);
}

static void write_want(struct run *r, FILE *to)
{
	fprintf(to, "{ tcb: [UpToDate%s]", roll(r, 2) ? ", OutOfDate" : "");
	if (roll(r, 2))
		fprintf(to, ", simulated: %s", roll(r, 2) ? "true" : "false");
	if (!roll(r, 3))
		fprintf(to, ", compose-hash: [%02x%062x, %02x%062x]", roll(r, 5), 0, 5 + roll(r, 2), 0);
	fprintf(to, " }");
}

static void write_claims(struct run *r, FILE *to)
{
	static const int node[INSTS] = { WEB, DB, DB + 1 };

	fprintf(to, "instances:\n");
	for (unsigned i = 0; i < INSTS; i++) {
		fprintf(to, "  inst%u: { instance-id: ", i);
		for (unsigned b = 0; b < BY_INSTANCE_ID_LEN; b++)
			fprintf(to, "%02x", (unsigned)node[i]);
		if (roll(r, 2))
			fprintf(to, ", app: app%u", roll(r, APPS));
		fprintf(to, " }\n");
	}
	fprintf(to, "claims:\n");
	for (unsigned c = 0; c < 2; c++) {
		fprintf(to, "  claim%u: ", c);
		write_want(r, to);
		fprintf(to, "\n");
	}
}

static char *write_policy(struct run *r)
{
	unsigned n_rules = 1 + roll(r, RULES);
	char *text = NULL, hex[2 * BY_APP_ID_LEN + 1];
	size_t size;
	FILE *to = open_memstream(&text, &size);

	assert_non_null(to);
	r->has_claims = roll(r, 3);
	fprintf(to, "version: 1\napps:\n");
	for (unsigned a = 0; a < APPS; a++) {
		struct pol_subject s = subject(a, 0);

		hex_print(hex, s.app_id, sizeof(s.app_id));
		fprintf(to, "  app%u: { app-id: %s", a, hex);
		if (r->has_claims && !roll(r, 3)) {
			fprintf(to, ", require: ");
			write_want(r, to);
		}
		fprintf(to, " }\n");
	}
	if (r->has_claims)
		write_claims(r, to);
	fprintf(to, "rules:\n");
	for (unsigned i = 0; i < n_rules; i++) {
		unsigned n_ports = 1 + roll(r, 3);

		fprintf(to, "  - { from: ");
		write_side(r, to);
		fprintf(to, ", to: ");
		write_side(r, to);
		fprintf(to, ", %s: [", roll(r, 4) ? "allow" : "deny");
		for (unsigned p = 0; p < n_ports; p++) {
			fputs(p ? ", " : "", to);
			write_port(r, to);
		}
		fprintf(to, "]%s }\n", roll(r, 4) ? "" : ", mode: audit");
	}
	fclose(to);
	return text;
}

static void policy_load(struct run *r)
{
	struct pol_subject peer[PEERS], self;
	struct err e = ERR_INIT;
	struct diags d = { 0 };

	r->text = write_policy(r);
	r->self = roll(r, APPS + 1);
	self = subject(r->self, WEB);
	for (int i = 0; i < PEERS; i++)
		peer[i] = subject(app_of(DB + i), DB + i);
	if (pol_parse("w.yaml", r->text, strlen(r->text), &r->model, &d) < 0)
		fail_msg("%s\n%s", d.item[0].msg, r->text);
	diags_fini(&d);
	if (pol_compile(r->model, &self, peer, PEERS, &r->img, &e) < 0 || dp_policy_commit(r->w->dp, r->img, &e) < 0)
		fail_msg("%s: %s\n%s", e.where, e.msg, r->text);
	memset(r->hits, 0, sizeof(r->hits));
}

/* Where rules begin and end, and anywhere. */
static uint32_t roll_selector(struct run *r)
{
	static const uint32_t spots[] = { BY_PORT_TCP,          BY_PORT_UDP - 1,   BY_PORT_UDP,
					  BY_PORT_ICMP - 1,     BY_PORT_ICMP + 8,  BY_PORT_ICMPV6 - 1,
					  BY_PORT_ICMPV6 + 128, BY_PORT_OTHER + 2, BY_PORT_OTHER + 47,
					  BY_PORT_SPACE - 1,    BY_PORT_ICMP,      BY_PORT_ICMPV6 + 129 };
	uint32_t kind = roll(r, 24);

	if (kind < ARRAY_LEN(spots))
		return spots[kind];
	return kind < 23 ? (roll(r, 2) ? BY_PORT_TCP : BY_PORT_UDP) + roll(r, 20) : roll(r, BY_PORT_SPACE);
}

/* Protocols that other selectors or the parser of IPv6 have the word for. */
static bool is_plain(uint32_t proto)
{
	static const uint8_t taken[] = { 0, P_ICMP, P_TCP, P_UDP, 43, 44, P_ICMPV6, 60, 135, 139, 140 };

	return !memchr(taken, (int)proto, sizeof(taken));
}

/* A packet that opens what the selector says; false: there is none. */
static bool packet_of(struct run *r, uint32_t sel, struct packet *p)
{
	uint16_t fresh_port = (uint16_t)(1 + r->n_packet++ % 65000);
	static const uint8_t ext[] = { 0, 60 };

	*p = (struct packet){ .selector = sel, .dir = roll(r, 2) ? BY_DIR_IN : BY_DIR_OUT };
	p->node = DB + (int)roll(r, PEERS);
	p->is_v6 = sel >= BY_PORT_ICMPV6 && sel < BY_PORT_OTHER  ? true
		   : sel >= BY_PORT_ICMP && sel < BY_PORT_ICMPV6 ? false
								 : roll(r, 2);
	p->pkt.sport = p->pkt.id = fresh_port;
	p->pkt.payload = (uint16_t)roll(r, 3);
	if (p->is_v6 && !roll(r, 4)) {
		memcpy(p->pkt.ext, ext, sizeof(ext));
		p->pkt.n_ext = (uint8_t)(1 + roll(r, 2));
	} else if (!p->is_v6 && !roll(r, 4)) {
		p->pkt.options = (uint8_t)(4 * roll(r, 11));
	}
	if (sel < BY_PORT_ICMP) {
		p->pkt.proto = sel < BY_PORT_UDP ? P_TCP : P_UDP;
		p->pkt.dport = (uint16_t)sel;
		p->pkt.flags = F_SYN;
		return true;
	}
	p->pkt.proto = p->is_v6 ? P_ICMPV6 : P_ICMP;
	p->pkt.type = (uint8_t)(sel - (p->is_v6 ? BY_PORT_ICMPV6 : BY_PORT_ICMP));
	if (sel < BY_PORT_OTHER)
		return true;
	p->pkt.proto = (uint8_t)(sel - BY_PORT_OTHER);
	return is_plain(sel - BY_PORT_OTHER);
}

static int run_program(struct run *r, const struct packet *p)
{
	char local[32], peer[32];
	struct pkt pkt = p->pkt;
	struct frame f;

	snprintf(local, sizeof(local), p->is_v6 ? "fd00::%d" : "100.64.0.%d", WEB);
	snprintf(peer, sizeof(peer), p->is_v6 ? "fd00::%d" : "100.64.0.%d", p->node);
	pkt.src = p->dir == BY_DIR_IN ? peer : local;
	pkt.dst = p->dir == BY_DIR_IN ? local : peer;
	frame_build(&f, &pkt);

	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = f.data, .data_size_in = (uint32_t)f.len, .repeat = 1);
	assert_int_equal(bpf_prog_test_run_opts(r->w->prog[p->dir], &opts), 0);
	return (int)opts.retval;
}

/* The flow that the packet opened, taken out of the map: the next packet is a new one again. */
static bool take_flow(struct run *r, const struct packet *p, struct by_ct *ct)
{
	struct dp_identity web = world_node(WEB, 0), peer = world_node(p->node, 0);
	bool is_in = p->dir == BY_DIR_IN, has_ports = p->pkt.proto == P_TCP || p->pkt.proto == P_UDP;
	bool is_echo = p->selector == BY_PORT_ICMP + 8 || p->selector == BY_PORT_ICMPV6 + 128;
	uint16_t sport = has_ports || is_echo ? htons(p->pkt.sport) : 0, dport = has_ports ? htons(p->pkt.dport) : 0;
	struct by_ct_key key = { .local = web.addrs[p->is_v6],
				 .peer = peer.addrs[p->is_v6],
				 .local_port_be = is_in ? dport : sport,
				 .peer_port_be = is_in ? sport : dport,
				 .l4_proto = p->pkt.proto };

	return ct_map_take(r->ct, &key, ct);
}

static bool differ(const struct run *r, const struct packet *p, const char *what, long got, long want)
{
	char port[32];

	pol_selector_print(p->selector, port, sizeof(port));
	fprintf(stderr,
		"# seed now %#llx: %s %s app %u, node %d of app %u, IPv%d: %s: the program says %ld, wanted %ld\n%s",
		(unsigned long long)r->eq->seed, p->dir == BY_DIR_IN ? "in" : "out", port, r->self, p->node,
		app_of(p->node), p->is_v6 ? 6 : 4, what, got, want, r->text);
	return false;
}

static bool is_named(const struct run *r, uint32_t rule, const char *name)
{
	return name ? rule && strcmp(name, pol_image_rules(r->img)[rule - 1].name) == 0 : !rule;
}

static bool check_packet(struct run *r, const struct packet *p)
{
	struct pol_subject peer = subject(app_of(p->node), p->node), self = subject(r->self, WEB);
	bool is_in = p->dir == BY_DIR_IN, is_allowed, is_echo, opens;
	struct pol_answer answer;
	struct by_verdict want;
	struct by_ct ct = { 0 };
	uint32_t peer_class;

	assert_int_equal(pol_classify(r->model, r->img, &peer, &peer_class), 0);
	want = pol_image_lookup(r->img, p->dir, peer_class, p->selector);
	is_allowed = want.action == BY_ALLOW;
	pol_explain_nodes(r->model, is_in ? &peer : &self, is_in ? &self : &peer, p->selector, &answer);
	if (run_program(r, p) != (answer.action == BY_ALLOW ? -1 : 2))
		return differ(r, p, "passed (explain)", answer.action != BY_ALLOW, answer.action == BY_ALLOW);
	if (is_allowed != (answer.action == BY_ALLOW))
		return differ(r, p, "passed (image)", answer.action == BY_ALLOW, is_allowed);
	if (!is_named(r, want.rule, answer.rule))
		return differ(r, p, "rule (image against explain)", want.rule, 0);
	if (!is_named(r, want.audit, answer.audit.name))
		return differ(r, p, "audit rule (image against explain)", want.audit, 0);
	is_echo = p->selector == BY_PORT_ICMP + 8 || p->selector == BY_PORT_ICMPV6 + 128;
	opens = is_allowed && (is_echo || (p->pkt.proto != P_ICMP && p->pkt.proto != P_ICMPV6));
	if (take_flow(r, p, &ct) != opens)
		return differ(r, p, "opened a flow", !opens, opens);
	if (opens && (ct.rule != want.rule || ct.dir != p->dir))
		return differ(r, p, "rule of the flow", ct.rule, want.rule);
	r->hits[want.rule]++;
	if (want.audit != want.rule) /* one that lets pass what it would drop is counted once */
		r->hits[want.audit]++;
	r->eq->n_audited += want.audit != 0;
	r->eq->n_cases++;
	*(is_allowed ? &r->eq->n_allowed : want.rule ? &r->eq->n_denied : &r->eq->n_default) += 1;
	return true;
}

/* Each rule has counted what it decided. */
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
		if (!packet_of(r, roll_selector(r), &p))
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

bool equal_run(struct equal *eq, uint32_t policies)
{
	struct run r = { .eq = eq, .w = world_open(0) };
	bool is_good = true;

	world_join(r.w, WEB, 0);
	for (int i = 0; i < PEERS; i++)
		world_join(r.w, DB + i, 0);
	r.ct = world_flows(r.w);
	for (uint32_t i = 0; i < policies && is_good; i++)
		is_good = one_policy(&r);
	ct_map_close(r.ct);
	world_close(r.w);
	return is_good;
}
