// SPDX-License-Identifier: Apache-2.0
/* Rung 2: what can not be read does not pass. Every case in both directions, as raw IP and as Ethernet frames. */
#include <bpf/bpf.h>
#include <linux/bpf.h>
#include <string.h>
#include <unistd.h>

#include "../lib/world.h"

static struct world *worlds[2]; /* raw IP, Ethernet */

/* Every selector 4000 and the pings, both ways: what is dropped is dropped for its form. */
static void allow_4000(struct world *w)
{
	static const uint32_t sel[] = { BY_PORT_TCP + 4000, BY_PORT_UDP + 4000, BY_PORT_ICMP + 8,
					BY_PORT_ICMPV6 + 128 };
	struct img *img = img_new();

	for (size_t i = 0; i < sizeof(sel) / sizeof(sel[0]); i++) {
		img_rule(img, BY_DIR_IN, sel[i], sel[i], CLASS_DB, BY_ALLOW);
		img_rule(img, BY_DIR_OUT, sel[i], sel[i], CLASS_DB, BY_ALLOW);
	}
	world_commit(w, img);
}

static int fresh(void **state)
{
	(void)state;
	world_open_both(worlds, allow_4000);
	return 0;
}

static int gone(void **state)
{
	(void)state;
	world_close_both(worlds);
	return 0;
}

/* One packet four ways: inbound and outbound, on an L3 device and in a frame. */
static void check(const struct pkt *in, const char *want)
{
	struct pkt p = *in;
	bool is_v6 = strchr(in->src, ':') != NULL;

	for (int framed = 0; framed < 2; framed++) {
		p.ether = framed ? is_v6 ? 0x86dd : 0x0800 : 0;
		p.src = in->src;
		p.dst = in->dst;
		assert_string_equal(dp_drop_name(world_send(worlds[framed], BY_DIR_IN, &p)), want);
		p.src = in->dst;
		p.dst = in->src;
		assert_string_equal(dp_drop_name(world_send(worlds[framed], BY_DIR_OUT, &p)), want);
	}
}

#define expect(want, ...) check(&(struct pkt){ __VA_ARGS__ }, want)
#define TCP4              TCP(DB4, WEB4, 4000, 4000, F_SYN)
#define TCP6              TCP(DB6, WEB6, 4000, 4000, F_SYN)

static void options_are_skipped(void **state)
{
	(void)state;
	expect("NONE", TCP4, .frag = 0x4000); /* do not fragment */
	for (uint8_t n = 0; n <= 40; n += 4) {
		expect("NONE", TCP4, .options = n);
		expect("POLICY_DENY", TCP(DB4, WEB4, 4000, 1, F_SYN), .options = n);
	}
}

static void bad_header_lengths_are_malformed(void **state)
{
	(void)state;
	for (uint8_t ihl = 1; ihl < 5; ihl++)
		expect("IP_HEADER", TCP4, .ihl = ihl);
	expect("SHORT", TCP4, .ihl = 6); /* leaves too little for TCP */
	expect("IP_HEADER", TCP4, .ihl = 15);
	expect("SHORT", TCP4, .len_change = 1);
	expect("SHORT", TCP4, .len_change = -1);
	expect("IP_HEADER", TCP4, .len_change = -21);
	expect("IP_HEADER", TCP4, .len_change = -40);
	expect("SHORT", TCP6, .len_change = 1);
	expect("SHORT", TCP6, .len_change = -1);
	expect("SHORT", TCP6, .len_change = -20);
}

static void bytes_behind_the_packet_do_not_count(void **state)
{
	struct pkt padded = { UDP(DB4, WEB4, 4000, 4000), .payload = 30, .len_change = -30, .udp_len = 8 };

	(void)state;
	check(&padded, "NONE");
	/* a TCP header that lies in the padding is no header */
	expect("SHORT", TCP4, .payload = 20, .len_change = -25);
}

static void only_ip_passes(void **state)
{
	struct pkt p = { TCP4 };

	(void)state;
	for (uint8_t v = 1; v < 16; v++)
		if (v != 4 && v != 6)
			expect("NOT_IP", TCP4, .version = v);
	p.ether = 0x0806;                                                /* ARP */
	assert_verdict(world_send(worlds[1], BY_DIR_IN, &p), ARP_SPOOF); /* and is none */
	p.ether = 0x86dd;                                                /* says IPv6, is IPv4 */
	assert_verdict(world_send(worlds[1], BY_DIR_IN, &p), NOT_IP);
	p.ether = 0x88cc;
	assert_verdict(world_send(worlds[1], BY_DIR_IN, &p), NOT_IP);
}

static void extension_headers_are_walked(void **state)
{
	(void)state;
	expect("NONE", TCP6, .ext = { 0 }, .n_ext = 1);
	expect("NONE", TCP6, .ext = { 60 }, .n_ext = 1);
	expect("NONE", TCP6, .ext = { 43 }, .n_ext = 1);
	expect("NONE", TCP6, .ext = { 0, 60, 43, 60 }, .n_ext = 4);
	expect("NONE", TCP6, .ext = { 60, 60, 60, 60, 60, 60 }, .n_ext = 6);
	expect("NONE", TCP6, .ext = { 0, 60 }, .n_ext = 2, .ext_len8 = 31);
	expect("POLICY_DENY", TCP(DB6, WEB6, 4000, 1, F_SYN), .ext = { 0, 60, 43, 60 }, .n_ext = 4, .ext_len8 = 3);
}

static void odd_extension_headers_are_dropped(void **state)
{
	(void)state;
	expect("EXT_HEADERS", TCP6, .ext = { 60, 60, 60, 60, 60, 60, 60 }, .n_ext = 7);
	expect("EXT_HEADERS", TCP6, .ext = { 60, 0 }, .n_ext = 2); /* hop-by-hop comes first or not at all */
	expect("EXT_HEADERS", TCP6, .ext = { 43 }, .n_ext = 1, .segments = 1);
	expect("EXT_HEADERS", TCP6, .ext = { 135 }, .n_ext = 1);
	expect("EXT_HEADERS", TCP6, .ext = { 139 }, .n_ext = 1);
	expect("EXT_HEADERS", TCP6, .ext = { 140 }, .n_ext = 1);
}

static void tcp_headers_are_sane_or_dropped(void **state)
{
	static const uint8_t mad[] = { 0, F_FIN, F_PSH, F_FIN | F_PSH | 0x20, F_SYN | F_FIN, F_SYN | F_RST };

	(void)state;
	for (size_t i = 0; i < sizeof(mad); i++) {
		expect("L4_HEADER", TCP(DB4, WEB4, 4000, 4000, mad[i]));
		expect("L4_HEADER", TCP(DB6, WEB6, 4000, 4000, mad[i]));
	}
	for (uint8_t words = 1; words < 5; words++)
		expect("L4_HEADER", TCP4, .tcp_words = words);
	expect("SHORT", TCP4, .tcp_words = 6);
	expect("NONE", TCP4, .tcp_words = 15, .payload = 40);
}

static void other_transports_are_sane_or_dropped(void **state)
{
	(void)state;
	expect("L4_HEADER", UDP(DB4, WEB4, 4000, 4000), .udp_len = 7);
	expect("L4_HEADER", ICMP(DB4, WEB4, 8, 1), .code = 1);
	expect("L4_HEADER", ICMPV6(DB4, WEB4, 128, 1)); /* of the other family */
	expect("L4_HEADER", ICMP(DB6, WEB6, 8, 1));
}

static void must_not_pass(struct world *w, const struct frame *f)
{
	enum by_drop got;

	if (world_try_frame(w, BY_DIR_IN, f, &got))
		assert_int_not_equal(got, BY_DROP_NONE);
}

/* Cut after every byte: once with the IP length as it was, once with one that fits. */
static void cut(struct world *w, struct pkt p, bool framed)
{
	bool is_v6 = strchr(p.src, ':') != NULL;
	size_t ip = framed ? 14 : 0;
	struct frame f;

	p.ether = framed ? is_v6 ? 0x86dd : 0x0800 : 0;
	frame_build(&f, &p);
	assert_verdict(world_send_frame(w, BY_DIR_IN, &f), NONE);
	while (--f.len > 14)
		must_not_pass(w, &f);
	frame_build(&f, &p);
	while (--f.len > ip + (is_v6 ? 40 : 20)) {
		size_t says = is_v6 ? f.len - ip - 40 : f.len - ip;

		f.data[ip + (is_v6 ? 4 : 2)] = (uint8_t)(says >> 8);
		f.data[ip + (is_v6 ? 5 : 3)] = (uint8_t)says;
		must_not_pass(w, &f);
	}
}

static void a_cut_packet_never_passes(void **state)
{
	static const struct pkt whole[] = {
		{ TCP4, .options = 8 },         { TCP6, .ext = { 0, 60 }, .n_ext = 2 },
		{ UDP(DB4, WEB4, 4000, 4000) }, { UDP(DB6, WEB6, 4000, 4000) },
		{ ICMP(DB4, WEB4, 8, 1) },      { ICMPV6(DB6, WEB6, 128, 1) },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(whole) / sizeof(whole[0]); i++) {
		cut(worlds[0], whole[i], false);
		cut(worlds[1], whole[i], true);
	}
}

/* What ask.h says, which has parse() alone. */
static enum by_drop asked(const struct world *w, const struct frame *f)
{
	struct __sk_buff out = { 0 };
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = f->data, .data_size_in = (uint32_t)f->len, .repeat = 1,
		    .ctx_out = &out, .ctx_size_out = sizeof(out));
	int fd = world_map(w, "by_ask_in");

	assert_int_equal(bpf_prog_test_run_opts(fd, &opts), 0);
	close(fd);
	return (enum by_drop)(out.cb[0] & 0xff);
}

/* Of a packet that was read and whose peer is known: what then becomes of it hangs on flows, which are not asked for.
 */
static bool is_judged(enum by_drop reason)
{
	return reason == BY_DROP_NONE || reason == BY_DROP_POLICY_DENY || reason == BY_DROP_NO_FLOW;
}

static void check_alike(struct world *w, const struct frame *f, const char *how, size_t at)
{
	enum by_drop got, parsed;

	if (!world_try_frame(w, BY_DIR_IN, f, &got))
		return;
	parsed = asked(w, f);
	if (got != parsed && !(is_judged(got) && is_judged(parsed)))
		fail_msg("%s %zu: %s, by parse() %s", how, at, dp_drop_name(got), dp_drop_name(parsed));
}

static void read_alike(struct world *w, const struct pkt *p, size_t ip)
{
	bool is_v4 = !strchr(p->src, ':');
	struct frame f;

	frame_build(&f, p);
	for (size_t bit = (ip ? 12 : 0) * 8; bit < f.len * 8; bit++) {
		bool is_frag = is_v4 && bit / 8 >= ip + 6 && bit / 8 <= ip + 7; /* ask.h knows no datagrams */

		f.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
		if (!is_frag)
			check_alike(w, &f, "bit", bit);
		f.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
	for (; f.len > 14; f.len--)
		check_alike(w, &f, "length", f.len);
}

/* plain.h reads most packets by a way of its own: every bit of the headers turned over, and every length. */
static void plain_packets_are_read_as_parse_does(void **state)
{
	static const struct pkt packet[] = {
		{ TCP4, .payload = 12 },
		{ TCP(DB4, WEB4, 4000, 4001, F_ACK) },
		{ UDP(DB4, WEB4, 4000, 4000), .payload = 12 },
		{ TCP6, .payload = 12 },
		{ UDP(DB6, WEB6, 4000, 4000) },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(packet) / sizeof(packet[0]); i++) {
		struct pkt p = packet[i];

		read_alike(worlds[0], &p, 0);
		p.ether = strchr(p.src, ':') ? 0x86dd : 0x0800;
		read_alike(worlds[1], &p, 14);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(options_are_skipped),
		cmocka_unit_test(bad_header_lengths_are_malformed),
		cmocka_unit_test(bytes_behind_the_packet_do_not_count),
		cmocka_unit_test(only_ip_passes),
		cmocka_unit_test(extension_headers_are_walked),
		cmocka_unit_test(odd_extension_headers_are_dropped),
		cmocka_unit_test(tcp_headers_are_sane_or_dropped),
		cmocka_unit_test(other_transports_are_sane_or_dropped),
		cmocka_unit_test(a_cut_packet_never_passes),
		cmocka_unit_test(plain_packets_are_read_as_parse_does),
	};

	return cmocka_run_group_tests_name("bpf/parse", tests, fresh, gone);
}
