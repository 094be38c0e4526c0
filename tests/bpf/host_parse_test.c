// SPDX-License-Identifier: Apache-2.0
/* The host's programs before a rule is asked: frames, martians, what the link itself needs, WireGuard's port. */
#include <string.h>

#include "../lib/host.h"

static struct host_world *w;

static int fresh(void **state)
{
	struct dp_host_options o = { .wg_port = WG_PORT };

	(void)state;
	w = host_world_open(&o);
	host_world_policy(w);
	return 0;
}

static int gone(void **state)
{
	(void)state;
	host_world_close(w);
	return 0;
}

/* On both ways in. */
static void check_frame(const struct frame *f, const char *want)
{
	for (int hook = HOOK_XDP; hook <= HOOK_TC; hook++)
		assert_string_equal(dp_drop_name(host_send_frame(w, (enum host_hook)hook, f)), want);
}

static void check(const struct pkt *p, const char *want)
{
	struct frame f;

	host_frame(&f, p, 0);
	check_frame(&f, want);
}

#define check_in(want, ...) check(&(struct pkt){ __VA_ARGS__ }, want)

static void rules(void **state)
{
	(void)state;
	check_in("NONE", UDP(FRIEND4, HOST4, 999, 22));
	check_in("NONE", UDP(FRIEND6, HOST6, 999, 22));
	check_in("POLICY_DENY", UDP(FRIEND4, HOST4, 999, 23));
	check_in("POLICY_DENY", UDP(WORLD4, HOST4, 999, 22));
	check_in("POLICY_DENY", UDP(WORLD6, HOST6, 999, 22));
	check_in("NONE", ICMP(FRIEND4, HOST4, 8, 1));
	check_in("NONE", ICMPV6(FRIEND6, HOST6, 128, 1));
	check_in("POLICY_DENY", IP(FRIEND4, HOST4, P_GRE));
	check_in("NO_FLOW", TCP(FRIEND4, HOST4, 999, 22, F_ACK));
}

/* As it is, and behind a tag, where it is no plain packet any more. */
static void check_alike(const struct frame *f, const char *how, size_t at)
{
	static const uint8_t tag[] = { 0x81, 0x00, 0x00, 0x05 };
	struct frame tagged = { .len = f->len + sizeof(tag) };

	memcpy(tagged.data, f->data, 12);
	memcpy(tagged.data + 12, tag, sizeof(tag));
	memcpy(tagged.data + 12 + sizeof(tag), f->data + 12, f->len - 12);
	for (int hook = HOOK_XDP; hook <= HOOK_TC; hook++) {
		enum by_drop plain = host_send_frame(w, (enum host_hook)hook, f),
			     parsed = host_send_frame(w, (enum host_hook)hook, &tagged);

		if (plain != parsed)
			fail_msg("%s %zu: %s, behind a tag %s", how, at, dp_drop_name(plain), dp_drop_name(parsed));
	}
}

/*
 * plain.h reads most packets by a way of its own: every bit of the headers turned over, and every length down to the IP
 * header's, is the same to parse(). Not the bits of IPv4's fragments, which the second to see them takes for a
 * repetition.
 */
static void plain_packets_are_read_alike(void **state)
{
	const struct pkt packet[] = {
		{ TCP(FRIEND4, HOST4, 999, 22, F_SYN), .payload = 12 },
		{ TCP(FRIEND4, HOST4, 999, 23, F_ACK) },
		{ UDP(FRIEND4, HOST4, 999, 22), .payload = 12 },
		{ TCP(FRIEND6, HOST6, 999, 22, F_SYN), .payload = 12 },
		{ UDP(FRIEND6, HOST6, 999, 22), .payload = 12 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(packet) / sizeof(packet[0]); i++) {
		struct frame f;

		host_frame(&f, &packet[i], 0);
		for (size_t bit = 12 * 8; bit < f.len * 8; bit++) {
			bool is_frag = f.data[12] == 0x08 && bit / 8 >= 20 && bit / 8 <= 21;

			f.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
			if (!is_frag)
				check_alike(&f, "bit", bit);
			f.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
		}
		for (; f.len >= host_l4_of(&f); f.len--) /* the kernel makes no shorter one an skb */
			check_alike(&f, "length", f.len);
	}
}

/* One flow, both programs and both directions: opened at one, followed at the other. */
static void flows(void **state)
{
	(void)state;
	for (int hook = HOOK_XDP; hook <= HOOK_TC; hook++) {
		uint16_t port = (uint16_t)(1000 + hook);

		assert_int_equal(host_send(w, hook, &(struct pkt){ TCP(FRIEND4, HOST4, port, 22, F_SYN) }), 0);
		assert_int_equal(host_send(w, HOOK_OUT, &(struct pkt){ TCP(HOST4, FRIEND4, 22, port, F_SYN | F_ACK) }),
				 0);
		check_in("NONE", TCP(FRIEND4, HOST4, port, 22, F_ACK));
		/* opened by the host */
		check_in("POLICY_DENY", UDP(WORLD6, HOST6, 53, port));
		assert_int_equal(host_send(w, HOOK_OUT, &(struct pkt){ UDP(HOST6, WORLD6, port, 53) }), 0);
		check_in("NONE", UDP(WORLD6, HOST6, 53, port));
	}
	assert_int_equal(host_send(w, HOOK_OUT, &(struct pkt){ UDP(HOST4, WORLD4, 5, 54) }), BY_DROP_POLICY_DENY);
	assert_int_equal(host_send(w, HOOK_OUT, &(struct pkt){ TCP(HOST4, WORLD4, 5, 53, F_ACK) }), BY_DROP_NO_FLOW);
}

/* A router on the way speaks of a flow; nobody speaks of what is none. */
static void errors(void **state)
{
	struct frame quoted4, quoted6, other;

	(void)state;
	frame_build(&quoted4, &(struct pkt){ UDP(HOST4, WORLD4, 700, 53) });
	frame_build(&quoted6, &(struct pkt){ UDP(HOST6, WORLD6, 700, 53) });
	frame_build(&other, &(struct pkt){ UDP(HOST4, WORLD4, 701, 53) });
	check_in("POLICY_DENY", ICMP("203.0.113.1", HOST4, 11, 0), .quoted = &quoted4);
	assert_int_equal(host_send(w, HOOK_OUT, &(struct pkt){ UDP(HOST4, WORLD4, 700, 53) }), 0);
	assert_int_equal(host_send(w, HOOK_OUT, &(struct pkt){ UDP(HOST6, WORLD6, 700, 53) }), 0);
	check_in("NONE", ICMP("203.0.113.1", HOST4, 11, 0), .quoted = &quoted4);
	check_in("NONE", ICMPV6("2001:db8:f::1", HOST6, 2, 0), .quoted = &quoted6);
	check_in("POLICY_DENY", ICMP("203.0.113.1", HOST4, 11, 0), .quoted = &other);
	check_in("POLICY_DENY", ICMP("203.0.113.1", "192.0.2.3", 11, 0), .quoted = &quoted4);
}

static void frames(void **state)
{
	const struct pkt p4 = { UDP(FRIEND4, HOST4, 999, 22) }, p6 = { UDP(FRIEND6, HOST6, 999, 22) };
	struct frame f;

	(void)state;
	for (int tags = 0; tags < 4; tags++) {
		host_frame(&f, &p4, tags);
		check_frame(&f, tags < 3 ? "NONE" : "NOT_IP");
		host_frame(&f, &p6, tags);
		check_frame(&f, tags < 3 ? "NONE" : "NOT_IP");
	}
	check_in("NONE", UDP(FRIEND4, HOST4, 999, 22), .ether = 0x0806); /* ARP */
	check_in("NOT_IP", UDP(FRIEND4, HOST4, 999, 22), .ether = 0x88cc);
	check_in("NOT_IP", UDP(FRIEND4, HOST4, 999, 22), .ether = 0x86dd, .payload = 20); /* not what the frame says */
	check_in("NOT_IP", UDP(FRIEND6, HOST6, 999, 22), .ether = 0x0800);
	host_frame(&f, &p4, 1);
	f.len = 20;
	check_frame(&f, "SHORT");
	host_frame(&f, &p4, 0);
	f.data[f.len++] = 0; /* padding behind the packet */
	check_frame(&f, "NONE");
}

static void malformed(void **state)
{
	(void)state;
	check_in("IP_HEADER", UDP(FRIEND4, HOST4, 999, 22), .ihl = 4);
	check_in("SHORT", UDP(FRIEND4, HOST4, 999, 22), .len_change = 1);
	check_in("SHORT", UDP(FRIEND6, HOST6, 999, 22), .len_change = 1);
	check_in("L4_HEADER", UDP(FRIEND4, HOST4, 999, 22), .udp_len = 7);
	check_in("L4_HEADER", TCP(FRIEND4, HOST4, 999, 22, 0));
	check_in("L4_HEADER", TCP(FRIEND6, HOST6, 999, 22, F_SYN | F_FIN));
	check_in("L4_HEADER", ICMPV6(FRIEND4, HOST4, 128, 1));
	check_in("NONE", UDP(FRIEND4, HOST4, 999, 22), .options = 40);
	check_in("NONE", UDP(FRIEND6, HOST6, 999, 22), .ext = { 0, 60 }, .n_ext = 2);
	check_in("EXT_HEADERS", UDP(FRIEND6, HOST6, 999, 22), .ext = { 60, 0 }, .n_ext = 2);
	check_in("EXT_HEADERS", UDP(FRIEND6, HOST6, 999, 22), .ext = { 43 }, .n_ext = 1, .segments = 1);
	check_in("EXT_HEADERS", UDP(FRIEND6, HOST6, 999, 22), .ext = { 60, 60, 60, 60, 60, 60, 60 }, .n_ext = 7);
}

/* Each datagram at one hook: the other would take it for a copy. */
static void fragments(void **state)
{
	(void)state;
	for (int hook = HOOK_XDP; hook <= HOOK_TC; hook++) {
		const struct pkt first4 = { UDP(FRIEND4, HOST4, 9, 22), .payload = 8, .frag = 0x2000, .ip_id = 7 };
		const struct pkt first6 = { UDP(FRIEND6, HOST6, 9, 22), .payload = 8, .frag = 1, .ip_id = 7,
					    .ext = { EXT_FRAGMENT },    .n_ext = 1 };
		const struct pkt last4 = { IP(FRIEND4, HOST4, P_UDP), .is_later = true, .payload = 5, .frag = 2,
					   .ip_id = 7 };
		const struct pkt last6 = {
			IP(FRIEND6, HOST6, P_UDP), .is_later = true, .payload = 5, .frag = 16, .ip_id = 7,
			.ext = { EXT_FRAGMENT },   .n_ext = 1
		};

		assert_int_equal(host_send(w, hook, &last4), BY_DROP_FRAGMENT);
		assert_int_equal(host_send(w, hook, &last6), BY_DROP_FRAGMENT);
		assert_int_equal(host_send(w, hook, &first4), 0);
		assert_int_equal(host_send(w, hook, &first6), 0);
		assert_int_equal(host_send(w, hook, &first4), BY_DROP_FRAG_OVERLAP);
		assert_int_equal(host_send(w, hook, &last4), BY_DROP_FRAG_OVERLAP); /* spoilt */
		assert_int_equal(host_send(w, hook, &last6), 0);
		host_world_close(w);
		fresh(NULL);
	}
}

static void martians(void **state)
{
	static const char *const bad4[] = { "127.0.0.1",       "0.0.0.0",   "0.1.2.3", "224.0.0.1",
					    "255.255.255.255", "240.0.0.1", HOST4 };
	static const char *const bad6[] = { "::1", "::", "ff02::1", HOST6 };

	(void)state;
	for (size_t i = 0; i < sizeof(bad4) / sizeof(bad4[0]); i++)
		check_in("MARTIAN", UDP(bad4[i], HOST4, 999, 22));
	for (size_t i = 0; i < sizeof(bad6) / sizeof(bad6[0]); i++)
		check_in("MARTIAN", UDP(bad6[i], HOST6, 999, 22));
	check_in("MARTIAN", UDP(FRIEND4, "127.0.0.1", 999, 22));
	check_in("MARTIAN", UDP(FRIEND4, "0.0.0.0", 999, 22));
	check_in("MARTIAN", UDP(FRIEND6, "::1", 999, 22));
	check_in("MARTIAN", UDP(FRIEND6, "::", 999, 22));
	check_in("IP_HEADER", UDP("::ffff:192.0.2.7", HOST6, 999, 22));
	/* who has no address yet, and the answer: judged, not impossible */
	check_in("POLICY_DENY", UDP("0.0.0.0", "255.255.255.255", 68, 67));
	check_in("POLICY_DENY", UDP(FRIEND4, "255.255.255.255", 67, 68));
	assert_int_equal(host_send(w, HOOK_OUT, &(struct pkt){ UDP("0.0.0.0", "255.255.255.255", 68, 67) }),
			 BY_DROP_POLICY_DENY);
	assert_int_equal(host_send(w, HOOK_OUT, &(struct pkt){ UDP("0.0.0.0", "255.255.255.255", 69, 67) }),
			 BY_DROP_MARTIAN);
	assert_int_equal(host_send(w, HOOK_OUT, &(struct pkt){ UDP("127.0.0.1", WORLD4, 68, 53) }), BY_DROP_MARTIAN);
}

static void check_link(uint8_t type, uint8_t hops, const char *src, const char *want)
{
	struct frame f;

	host_frame(&f, &(struct pkt){ ICMPV6(src, HOST6, type, 0) }, 0);
	f.data[14 + 7] = hops;
	check_frame(&f, want);
	assert_string_equal(dp_drop_name(host_send_frame(w, HOOK_OUT, &f)), want);
}

static void the_link(void **state)
{
	static const uint8_t nd[] = { 133, 134, 135, 136, 141, 142 }, mld[] = { 130, 131, 132, 143, 151, 152, 153 };

	(void)state;
	for (size_t i = 0; i < sizeof(nd); i++) {
		check_link(nd[i], 255, "fe80::1", "NONE");
		check_link(nd[i], 255, "::", "NONE");
		check_link(nd[i], 254, "fe80::1", "MARTIAN"); /* a router has forwarded it */
	}
	for (size_t i = 0; i < sizeof(mld); i++) {
		check_link(mld[i], 1, "fe80::1", "NONE");
		check_link(mld[i], 64, "fe80::1", "MARTIAN");
	}
	check_link(137, 255, "fe80::1", "POLICY_DENY"); /* a redirect is for rules to say */
	check_in("MARTIAN", ICMPV6("fe80::1", HOST6, 135, 0), .ext = { EXT_FRAGMENT }, .n_ext = 1, .frag = 1,
		 .payload = 8, .ip_id = 3);
}

static void check_wg(const char *src, const char *dst, uint8_t type, uint16_t bytes, const char *want)
{
	struct frame f;

	host_frame(&f, &(struct pkt){ UDP(src, dst, 1234, WG_PORT), .payload = bytes }, 0);
	if (bytes)
		f.data[host_l4_of(&f) + 8] = type;
	check_frame(&f, want);
}

static void wireguard(void **state)
{
	static const struct {
		uint8_t type;
		uint16_t bytes;
		const char *want;
	} c[] = {
		{ 1, 148, "NONE" },        { 1, 147, "NOT_WIREGUARD" }, { 1, 149, "NOT_WIREGUARD" },
		{ 2, 92, "NONE" },         { 2, 148, "NOT_WIREGUARD" }, { 3, 64, "NONE" },
		{ 4, 32, "NONE" },         { 4, 1440, "NONE" },         { 4, 31, "NOT_WIREGUARD" },
		{ 4, 1452, "NONE" },       { 0, 148, "NOT_WIREGUARD" }, { 5, 148, "NOT_WIREGUARD" },
		{ 1, 0, "NOT_WIREGUARD" },
	};
	struct frame f;

	(void)state;
	for (size_t i = 0; i < sizeof(c) / sizeof(c[0]); i++) {
		check_wg(WORLD4, HOST4, c[i].type, c[i].bytes, c[i].want);
		check_wg(WORLD6, HOST6, c[i].type, c[i].bytes, c[i].want);
	}
	host_frame(&f, &(struct pkt){ UDP(WORLD4, HOST4, 1234, WG_PORT), .payload = 32 }, 0);
	f.data[42] = 4;
	f.data[43] = 1; /* reserved */
	check_frame(&f, "NOT_WIREGUARD");
	/* what UDP says of its length is not what there is */
	check_in("NOT_WIREGUARD", UDP(WORLD4, HOST4, 1234, WG_PORT), .payload = 160, .udp_len = 156);
	assert_int_equal(host_send(w, HOOK_OUT, &(struct pkt){ UDP(HOST4, WORLD4, WG_PORT, 1) }), 0);
	assert_int_equal(host_send(w, HOOK_OUT, &(struct pkt){ UDP(HOST6, WORLD6, WG_PORT, 1) }), 0);
	assert_int_equal(host_send(w, HOOK_OUT, &(struct pkt){ UDP(HOST4, WORLD4, 1, WG_PORT) }), BY_DROP_POLICY_DENY);
}

/* A data message may be cut on its way; a handshake message never is. */
static void wireguard_fragments(void **state)
{
	(void)state;
	for (int hook = HOOK_XDP; hook <= HOOK_TC; hook++)
		for (uint8_t type = 1; type <= 4; type += 3) {
			struct pkt first = { UDP(WORLD4, HOST4, 1234, WG_PORT), .payload = 88, .frag = 0x2000,
					     .ip_id = 10u + type, .udp_len = 8 + (type == 1 ? 148 : 160) };
			struct pkt last = { IP(WORLD4, HOST4, P_UDP), .is_later = true, .payload = 72, .frag = 12,
					    .ip_id = 10u + type };
			struct frame f;

			host_frame(&f, &first, 0);
			f.data[42] = type;
			assert_int_equal(host_send_frame(w, hook, &f), type == 4 ? 0 : BY_DROP_NOT_WIREGUARD);
			assert_int_equal(host_send(w, hook, &last), type == 4 ? 0 : BY_DROP_FRAGMENT);
		}
}

static void no_policy(void **state)
{
	struct dp_host_options o = { .wg_port = WG_PORT };
	struct host_world *bare = host_world_open(&o);
	const struct pkt p = { UDP(FRIEND4, HOST4, 999, 22) };

	(void)state;
	for (int hook = HOOK_XDP; hook < HOOK_COUNT; hook++)
		assert_int_equal(host_send(bare, (enum host_hook)hook, &p), BY_DROP_NO_POLICY);
	host_world_close(bare);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(plain_packets_are_read_alike, fresh, gone),
		cmocka_unit_test_setup_teardown(rules, fresh, gone),
		cmocka_unit_test_setup_teardown(flows, fresh, gone),
		cmocka_unit_test_setup_teardown(errors, fresh, gone),
		cmocka_unit_test_setup_teardown(frames, fresh, gone),
		cmocka_unit_test_setup_teardown(malformed, fresh, gone),
		cmocka_unit_test_setup_teardown(fragments, fresh, gone),
		cmocka_unit_test_setup_teardown(martians, fresh, gone),
		cmocka_unit_test_setup_teardown(the_link, fresh, gone),
		cmocka_unit_test_setup_teardown(wireguard, fresh, gone),
		cmocka_unit_test_setup_teardown(wireguard_fragments, fresh, gone),
		cmocka_unit_test(no_policy),
	};

	return cmocka_run_group_tests_name("host packets", tests, NULL, NULL);
}
