// SPDX-License-Identifier: Apache-2.0
/* Frames of a machine behind a tap, a veth or a bridge port. The local node, WEB, is that machine: OUT is what it
 * sends. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../lib/world.h"
#include "base/addr.h"
#include "base/cleanup.h"

/* Whose frames they are: of WEB, of DB, of somebody else. */
static const uint8_t web_mac[6] = { 0x02, 0, 0, 0, 0, 2 }, db_mac[6] = { 0x02, 0, 0, 0, 0, 3 };
static const uint8_t other_mac[6] = { 0x02, 0, 0, 0, 0, 9 };

#define WEB_LL "fe80::ff:fe00:2" /* made of the MACs above */
#define DB_LL  "fe80::ff:fe00:3"

static struct world *open_as(const struct dp_options *o)
{
	struct world *w = world_open_with(o);
	struct img *img = img_new();

	world_cast(w);
	img_rule(img, BY_DIR_IN, BY_PORT_TCP + 80, BY_PORT_TCP + 80, CLASS_DB, BY_ALLOW);
	img_rule(img, BY_DIR_OUT, BY_PORT_TCP + 443, BY_PORT_TCP + 443, CLASS_DB, BY_ALLOW);
	img_rule(img, BY_DIR_IN, BY_PORT_ICMPV6, BY_PORT_OTHER - 1, CLASS_DB, BY_ALLOW);
	img_rule(img, BY_DIR_OUT, BY_PORT_ICMPV6, BY_PORT_OTHER - 1, CLASS_DB, BY_ALLOW);
	world_commit(w, img);
	return w;
}

static int fresh(void **state)
{
	*state = open_as(&(struct dp_options){ .l3_offset = 14, .is_workload = true, .sizes = dp_sizes_small });
	return 0;
}

static int fresh_tagged(void **state)
{
	*state = open_as(&(struct dp_options){ .l3_offset = 14, .vlan = { 7 }, .sizes = dp_sizes_small });
	return 0;
}

static int fresh_twice_tagged(void **state)
{
	*state = open_as(&(struct dp_options){ .l3_offset = 14, .vlan = { 7, 8 }, .sizes = dp_sizes_small });
	return 0;
}

static int fresh_with_mac(void **state)
{
	*state = open_as(&(struct dp_options){
		.l3_offset = 14, .mac = { 0x02, 0, 0, 0, 0, 2 }, .is_workload = true, .sizes = dp_sizes_small });
	return 0;
}

static void put(struct frame *f, const void *bytes, size_t n)
{
	memcpy(f->data + f->len, bytes, n);
	f->len += n;
}

static void put16(struct frame *f, uint16_t v)
{
	v = htons(v);
	put(f, &v, sizeof(v));
}

static void put_addr(struct frame *f, const char *text)
{
	struct by_addr a;

	assert_true(addr_parse(&a, text));
	if (addr_is_v4(&a))
		put(f, a.b + 12, 4);
	else
		put(f, a.b, 16);
}

static void put_link(struct frame *f, const uint8_t src[6], uint16_t type)
{
	memset(f, 0, sizeof(*f));
	f->len = 6;
	put(f, src, 6);
	put16(f, type);
}

/* --- tags --- */

/* A SYN that the rules allow, behind these tags; 0 ends them. */
static enum by_drop send_tagged(struct world *w, uint16_t tpid, const uint16_t tags[4], const char *src)
{
	struct pkt p = { TCP(src, WEB4, 40000, 80, F_SYN) };
	struct frame f, ip;

	frame_build(&ip, &p);
	put_link(&f, db_mac, tags[0] ? tpid : 0x0800);
	for (int i = 0; i < 4 && tags[i]; i++) {
		put16(&f, tags[i]);
		put16(&f, i < 3 && tags[i + 1] ? 0x8100 : 0x0800);
	}
	put(&f, ip.data, ip.len);
	return world_send_frame(w, BY_DIR_IN, &f);
}

#define TAGS(...)                                                                                                      \
	(const uint16_t[4])                                                                                            \
	{                                                                                                              \
		__VA_ARGS__                                                                                            \
	}

static void no_tag_passes_where_none_is_said(void **state)
{
	struct world *w = *state;

	assert_verdict(send_tagged(w, 0x8100, TAGS(0), DB4), NONE);
	assert_verdict(send_tagged(w, 0x8100, TAGS(7), DB4), VLAN);
	assert_verdict(send_tagged(w, 0x88a8, TAGS(7), DB4), VLAN);
	assert_verdict(send_tagged(w, 0x8100, TAGS(0x2000), DB4), VLAN); /* a priority, VLAN 0 */
	assert_verdict(send_tagged(w, 0x88a8, TAGS(7, 8), DB4), VLAN);
	assert_verdict(send_tagged(w, 0x88a8, TAGS(7, 8, 9), DB4), VLAN);
}

static void a_tagged_frame_is_judged_behind_its_tag(void **state)
{
	struct world *w = *state;

	assert_verdict(send_tagged(w, 0x8100, TAGS(7), DB4), NONE);
	assert_verdict(send_tagged(w, 0x8100, TAGS(0xe007), DB4), NONE); /* with a priority */
	assert_verdict(send_tagged(w, 0x8100, TAGS(7), EVE4), POLICY_DENY);
	assert_verdict(send_tagged(w, 0x8100, TAGS(7), NOBODY4), NO_IDENTITY);
	assert_verdict(send_tagged(w, 0x8100, TAGS(8), DB4), VLAN);
	assert_verdict(send_tagged(w, 0x8100, TAGS(0), DB4), VLAN);
	assert_verdict(send_tagged(w, 0x8100, TAGS(7, 7), DB4), VLAN);
	assert_verdict(send_tagged(w, 0x88a8, TAGS(7, 7, 7), DB4), VLAN);
}

static void both_tags_must_be_right(void **state)
{
	struct world *w = *state;

	assert_verdict(send_tagged(w, 0x88a8, TAGS(7, 8), DB4), NONE);
	assert_verdict(send_tagged(w, 0x88a8, TAGS(7, 8), EVE4), POLICY_DENY);
	assert_verdict(send_tagged(w, 0x88a8, TAGS(8, 7), DB4), VLAN);
	assert_verdict(send_tagged(w, 0x88a8, TAGS(7), DB4), VLAN);
	assert_verdict(send_tagged(w, 0x88a8, TAGS(7, 8, 9), DB4), VLAN);
	assert_verdict(send_tagged(w, 0x8100, TAGS(0), DB4), VLAN);
}

static void a_question_has_the_tags(void **state)
{
	struct world *w = *state;
	struct dp_question q = { .dir = BY_DIR_IN, .selector = BY_PORT_TCP + 80 };
	struct dp_answer a;
	struct err e = ERR_INIT;

	assert_true(addr_parse(&q.local, WEB4) && addr_parse(&q.peer, DB4));
	assert_int_equal(dp_ask(w->dp, &q, &a, &e), 0);
	assert_verdict(a.reason, NONE);
	q.dir = BY_DIR_OUT;
	q.selector = BY_PORT_TCP + 443;
	assert_int_equal(dp_ask(w->dp, &q, &a, &e), 0);
	assert_verdict(a.reason, NONE);
}

/* --- ARP --- */

struct arp {
	const uint8_t *from; /* of the frame */
	const uint8_t *mac;  /* that the message claims */
	const char *sender, *target;
	uint16_t op;
};

static enum by_drop send_arp(struct world *w, enum by_dir dir, const struct arp *a)
{
	static const uint8_t fixed[] = { 0, 1, 8, 0, 6, 4 };
	struct frame f;

	put_link(&f, a->from, 0x0806);
	put(&f, fixed, sizeof(fixed));
	put16(&f, a->op);
	put(&f, a->mac, 6);
	put_addr(&f, a->sender);
	f.len += 6;
	put_addr(&f, a->target);
	return world_send_frame(w, dir, &f);
}

#define ARP(dir, ...) send_arp(w, dir, &(struct arp){ __VA_ARGS__ })

static void a_machine_speaks_for_its_own_address(void **state)
{
	struct world *w = *state;

	assert_verdict(ARP(BY_DIR_OUT, web_mac, web_mac, WEB4, DB4, 1), NONE);
	assert_verdict(ARP(BY_DIR_OUT, web_mac, web_mac, WEB4, DB4, 2), NONE);
	assert_verdict(ARP(BY_DIR_OUT, web_mac, web_mac, WEB4, WEB4, 1), NONE);      /* gratuitous */
	assert_verdict(ARP(BY_DIR_OUT, web_mac, web_mac, "0.0.0.0", WEB4, 1), NONE); /* probe */
	assert_verdict(ARP(BY_DIR_IN, db_mac, db_mac, DB4, WEB4, 1), NONE);
	assert_verdict(ARP(BY_DIR_IN, db_mac, db_mac, DB4, WEB4, 2), NONE);
}

static void and_for_no_other(void **state)
{
	struct world *w = *state;

	for (uint16_t op = 1; op <= 2; op++) {
		assert_verdict(ARP(BY_DIR_OUT, web_mac, web_mac, DB4, EVE4, op), ARP_SPOOF);
		assert_verdict(ARP(BY_DIR_OUT, web_mac, web_mac, DB4, DB4, op), ARP_SPOOF);
		assert_verdict(ARP(BY_DIR_OUT, web_mac, web_mac, NOBODY4, DB4, op), ARP_SPOOF);
		assert_verdict(ARP(BY_DIR_OUT, web_mac, db_mac, WEB4, DB4, op), ARP_SPOOF); /* its own, elsewhere */
		assert_verdict(ARP(BY_DIR_IN, db_mac, db_mac, WEB4, EVE4, op), ARP_SPOOF);  /* the machine's */
		assert_verdict(ARP(BY_DIR_IN, db_mac, web_mac, DB4, WEB4, op), ARP_SPOOF);
		assert_verdict(ARP(BY_DIR_IN, db_mac, db_mac, NOBODY4, WEB4, op), ARP_SPOOF);
	}
	assert_verdict(ARP(BY_DIR_OUT, web_mac, web_mac, "0.0.0.0", DB4, 1), ARP_SPOOF); /* may I have it? no */
	assert_verdict(ARP(BY_DIR_OUT, web_mac, web_mac, "0.0.0.0", WEB4, 2), ARP_SPOOF);
	assert_verdict(ARP(BY_DIR_IN, db_mac, db_mac, "0.0.0.0", WEB4, 1), ARP_SPOOF);
	assert_verdict(ARP(BY_DIR_OUT, web_mac, web_mac, WEB4, DB4, 3), ARP_SPOOF); /* RARP and the like */
}

static void a_cut_message_does_not_pass(void **state)
{
	struct world *w = *state;
	struct frame f;
	enum by_drop got;

	put_link(&f, web_mac, 0x0806);
	for (f.len = 14; f.len < 42; f.len++)
		if (world_try_frame(w, BY_DIR_OUT, &f, &got))
			assert_verdict(got, SHORT);
}

/* --- neighbour discovery --- */

struct nd {
	const uint8_t *from, *option; /* frame's source; MAC in an option, NULL: none */
	const char *src, *target;
	uint8_t type, option_type, hops, code;
	bool is_padded; /* a destination options header in front */
};

static enum by_drop send_nd(struct world *w, enum by_dir dir, const struct nd *m)
{
	const uint8_t head[] = { 0x60, 0, 0, 0, 0, (uint8_t)(24 + (m->option ? 8 : 0) + (m->is_padded ? 8 : 0)) };
	const uint8_t next[] = { m->is_padded ? 60 : 58, m->hops ? m->hops : 255 };
	const uint8_t pad[] = { 58, 0, 1, 4, 0, 0, 0, 0 }, icmp[] = { m->type, m->code, 0, 0, 0, 0, 0, 0 };
	const uint8_t opt[] = { m->option_type, 1 };
	struct frame f;

	put_link(&f, m->from, 0x86dd);
	put(&f, head, sizeof(head));
	put(&f, next, sizeof(next));
	put_addr(&f, m->src);
	put_addr(&f, dir == BY_DIR_OUT ? DB6 : WEB6);
	if (m->is_padded)
		put(&f, pad, sizeof(pad));
	put(&f, icmp, sizeof(icmp));
	put_addr(&f, m->target);
	if (m->option) {
		put(&f, opt, sizeof(opt));
		put(&f, m->option, 6);
	}
	return world_send_frame(w, dir, &f);
}

#define ND(dir, ...) send_nd(w, dir, &(struct nd){ __VA_ARGS__ })
#define SOLICIT(frame_mac, source, of, mac)                                                                            \
	.from = (frame_mac), .option = (mac), .src = (source), .target = (of), .type = 135, .option_type = 1
#define ADVERT(frame_mac, source, of, mac)                                                                             \
	.from = (frame_mac), .option = (mac), .src = (source), .target = (of), .type = 136, .option_type = 2

static void neighbours_find_each_other(void **state)
{
	struct world *w = *state;

	assert_verdict(ND(BY_DIR_OUT, SOLICIT(web_mac, WEB6, DB6, web_mac)), NONE);
	assert_verdict(ND(BY_DIR_OUT, SOLICIT(web_mac, WEB_LL, DB6, web_mac)), NONE);
	assert_verdict(ND(BY_DIR_OUT, SOLICIT(web_mac, "::", WEB6, NULL)), NONE); /* duplicate address detection */
	assert_verdict(ND(BY_DIR_OUT, SOLICIT(web_mac, "::", WEB_LL, NULL)), NONE);
	assert_verdict(ND(BY_DIR_OUT, ADVERT(web_mac, WEB6, WEB6, web_mac)), NONE);
	assert_verdict(ND(BY_DIR_OUT, ADVERT(web_mac, WEB_LL, WEB6, web_mac)), NONE);
	assert_verdict(ND(BY_DIR_IN, SOLICIT(db_mac, DB6, WEB6, db_mac)), NONE);
	assert_verdict(ND(BY_DIR_IN, SOLICIT(db_mac, DB_LL, WEB6, NULL)), NONE);
	assert_verdict(ND(BY_DIR_IN, ADVERT(db_mac, DB6, DB6, db_mac)), NONE);
}

static void and_claim_no_address_of_others(void **state)
{
	struct world *w = *state;

	assert_verdict(ND(BY_DIR_OUT, ADVERT(web_mac, WEB6, DB6, web_mac)), ARP_SPOOF);
	assert_verdict(ND(BY_DIR_OUT, ADVERT(web_mac, DB6, DB6, web_mac)), ARP_SPOOF);
	assert_verdict(ND(BY_DIR_OUT, ADVERT(web_mac, WEB6, WEB6, other_mac)), ARP_SPOOF);
	assert_verdict(ND(BY_DIR_OUT, ADVERT(web_mac, WEB6, DB_LL, web_mac)), ARP_SPOOF);
	assert_verdict(ND(BY_DIR_OUT, SOLICIT(web_mac, DB6, EVE6, web_mac)), ARP_SPOOF);
	assert_verdict(ND(BY_DIR_OUT, SOLICIT(web_mac, DB_LL, EVE6, web_mac)), ARP_SPOOF);
	assert_verdict(ND(BY_DIR_OUT, SOLICIT(web_mac, WEB6, DB6, db_mac)), ARP_SPOOF);
	assert_verdict(ND(BY_DIR_OUT, SOLICIT(web_mac, "::", DB6, NULL)), ARP_SPOOF);
	assert_verdict(ND(BY_DIR_IN, ADVERT(db_mac, DB6, WEB6, db_mac)), ARP_SPOOF);
	assert_verdict(ND(BY_DIR_IN, ADVERT(db_mac, DB6, NOBODY6, db_mac)), ARP_SPOOF);
	assert_verdict(ND(BY_DIR_IN, SOLICIT(db_mac, WEB6, DB6, db_mac)), ARP_SPOOF);
	assert_verdict(ND(BY_DIR_IN, SOLICIT(db_mac, "::", WEB6, NULL)), ARP_SPOOF);
}

/* The rules of this world allow every ICMPv6 type between WEB and DB. */
static void no_disguise_gets_it_to_the_rules(void **state)
{
	struct world *w = *state;

	assert_verdict(ND(BY_DIR_OUT, ADVERT(web_mac, WEB6, EVE6, web_mac), .is_padded = true), ARP_SPOOF);
	assert_verdict(ND(BY_DIR_OUT, ADVERT(web_mac, WEB6, WEB6, web_mac), .hops = 64), ARP_SPOOF);
	assert_verdict(ND(BY_DIR_OUT, ADVERT(web_mac, WEB6, WEB6, web_mac), .code = 1), ARP_SPOOF);
	assert_verdict(send_out(w, ICMPV6(WEB6, DB6, 136, 0), .payload = 32, .ext = { EXT_FRAGMENT }, .n_ext = 1,
				.frag = 1, .ether = 0x86dd),
		       ARP_SPOOF);
	assert_verdict(send_out(w, ICMPV6(WEB6, DB6, 137, 0), .payload = 32, .ether = 0x86dd), ARP_SPOOF);
	assert_verdict(send_out(w, ICMPV6(WEB6, DB6, 134, 0), .payload = 32, .ether = 0x86dd), ARP_SPOOF);
	assert_verdict(send_out(w, ICMPV6(WEB6, DB6, 138, 0), .payload = 32, .ether = 0x86dd), NONE);
}

/* --- sources --- */

static void a_source_that_is_not_the_machines_is_spoofed(void **state)
{
	struct world *w = *state;

	assert_verdict(send_out(w, TCP(WEB4, DB4, 1, 443, F_SYN), .ether = 0x0800), NONE);
	assert_verdict(send_out(w, TCP(EVE4, DB4, 1, 443, F_SYN), .ether = 0x0800), SPOOFED);
	assert_verdict(send_out(w, TCP(DB4, DB4, 1, 443, F_SYN), .ether = 0x0800), SPOOFED);
	assert_verdict(send_out(w, TCP(NOBODY6, DB6, 1, 443, F_SYN), .ether = 0x86dd), SPOOFED);
	assert_verdict(send_out(w, TCP(NOBODY4, NOBODY4, 1, 443, F_SYN), .ether = 0x0800), SPOOFED);
}

static void nor_is_another_mac(void **state)
{
	struct world *w = *state;

	assert_verdict(ARP(BY_DIR_OUT, web_mac, web_mac, WEB4, DB4, 1), NONE);
	assert_verdict(ARP(BY_DIR_OUT, other_mac, other_mac, WEB4, DB4, 1), SPOOFED);
	assert_verdict(send_out(w, TCP(WEB4, DB4, 1, 443, F_SYN), .ether = 0x0800), SPOOFED); /* from 00:..:00 */
	assert_verdict(ARP(BY_DIR_IN, db_mac, db_mac, DB4, WEB4, 1), NONE);                   /* others have others */
}

static void nothing_passes_without_a_policy(void **state)
{
	struct world *w = world_open(14);

	(void)state;
	world_cast(w);
	assert_verdict(ARP(BY_DIR_OUT, web_mac, web_mac, WEB4, DB4, 1), NO_POLICY);
	assert_verdict(ND(BY_DIR_OUT, SOLICIT(web_mac, WEB6, DB6, web_mac)), NO_POLICY);
	world_close(w);
}

static void senseless_options_are_refused(void **state)
{
	static const struct dp_options bad[] = {
		{ .vlan = { 7 } },
		{ .mac = { 2 } },
		{ .l3_offset = 14, .vlan = { 4095 } },
		{ .l3_offset = 14, .vlan = { 7, 4095 } },
		{ .l3_offset = 14, .vlan = { 0, 7 } },
	};
	struct world *w = *state;
	struct err e = ERR_INIT;
	struct dp *dp = NULL;

	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_int_equal(dp_open(w->bpffs, "senseless", &bad[i], &dp, &e), -EINVAL);
	assert_null(dp);
}

#define t(name)           cmocka_unit_test_setup_teardown(name, fresh, world_gone)
#define as(opening, name) cmocka_unit_test_setup_teardown(name, opening, world_gone)

int main(void)
{
	const struct CMUnitTest tests[] = {
		t(no_tag_passes_where_none_is_said),
		as(fresh_tagged, a_tagged_frame_is_judged_behind_its_tag),
		as(fresh_twice_tagged, both_tags_must_be_right),
		as(fresh_tagged, a_question_has_the_tags),
		as(fresh_twice_tagged, a_question_has_the_tags),
		as(fresh_with_mac, a_question_has_the_tags),
		t(a_machine_speaks_for_its_own_address),
		t(and_for_no_other),
		t(a_cut_message_does_not_pass),
		t(neighbours_find_each_other),
		t(and_claim_no_address_of_others),
		t(no_disguise_gets_it_to_the_rules),
		t(a_source_that_is_not_the_machines_is_spoofed),
		as(fresh_with_mac, nor_is_another_mac),
		cmocka_unit_test(nothing_passes_without_a_policy),
		t(senseless_options_are_refused),
	};

	return cmocka_run_group_tests_name("bpf/link", tests, NULL, NULL);
}
