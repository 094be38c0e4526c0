// SPDX-License-Identifier: Apache-2.0
/* Rung 5: fragments, and what attackers make of them. Both families, both framings, both directions. */
#include <bpf/bpf.h>
#include <string.h>
#include <unistd.h>

#include "../lib/world.h"

static struct world *worlds[2]; /* raw IP, Ethernet */

#define SECOND 1000000000ull
#define ID     0xbeef
#define MORE   1

static void allow_4000(struct world *w)
{
	static const uint32_t sel[] = { BY_PORT_TCP + 4000, BY_PORT_UDP + 4000, BY_PORT_ICMP + 3, BY_PORT_ICMPV6 + 2 };
	struct img *img = img_new();

	for (size_t i = 0; i < sizeof(sel) / sizeof(sel[0]); i++)
		for (int dir = 0; dir < BY_DIR_COUNT; dir++)
			img_rule(img, (enum by_dir)dir, sel[i], sel[i], CLASS_DB, BY_ALLOW);
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

static void send_one(const struct pkt *in, enum by_dir dir, int framed, const char *want)
{
	bool is_v6 = strchr(in->src, ':') != NULL;
	struct pkt p = *in;

	p.ether = framed ? is_v6 ? 0x86dd : 0x0800 : 0;
	if (dir == BY_DIR_OUT) {
		p.src = in->dst;
		p.dst = in->src;
	}
	assert_string_equal(dp_drop_name(world_send(worlds[framed], dir, &p)), want);
}

static void check(const struct pkt *p, const char *want)
{
	for (int framed = 0; framed < 2; framed++)
		for (int dir = 0; dir < BY_DIR_COUNT; dir++)
			send_one(p, (enum by_dir)dir, framed, want);
}

/* `p` as the fragment of datagram `id` at byte `off`. */
static struct pkt fragment(struct pkt p, uint32_t id, uint16_t off, int more)
{
	p.ip_id = id;
	p.is_later |= off != 0;
	if (strchr(p.src, ':')) {
		p.ext[p.n_ext++] = EXT_FRAGMENT;
		p.frag = (uint16_t)(off | more);
	} else {
		p.frag = (uint16_t)(off / 8 | (more ? 0x2000 : 0));
	}
	return p;
}

static void send_frag(struct pkt p, uint32_t id, uint16_t off, int more, const char *want)
{
	p = fragment(p, id, off, more);
	check(&p, want);
}

/* One datagram of UDP to port `port` in both families: offset, payload, more, verdict of each fragment in order. */
struct step {
	uint16_t off, payload;
	int more;
	const char *want;
	uint32_t id;
};

static void play(uint16_t port, const struct step *s, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct pkt p4 = { UDP(DB4, WEB4, 4000, port), .payload = s[i].payload };
		struct pkt p6 = { UDP(DB6, WEB6, 4000, port), .payload = s[i].payload };

		send_frag(p4, s[i].id, s[i].off, s[i].more, s[i].want);
		send_frag(p6, s[i].id, s[i].off, s[i].more, s[i].want);
	}
}

#define story(port, ...)                                                                                               \
	play(port, (const struct step[]){ __VA_ARGS__ },                                                               \
	     sizeof((const struct step[]){ __VA_ARGS__ }) / sizeof(struct step))

static void in_order_a_datagram_passes_whole(void **state)
{
	(void)state;
	/* the first one has eight bytes of UDP header more than its payload */
	story(4000, { 0, 8, MORE, "NONE", ID }, { 16, 64, MORE, "NONE", ID }, { 80, 1400, MORE, "NONE", ID },
	      { 1480, 3, 0, "NONE", ID });
	/* it is over, and the identification free again */
	story(4000, { 1480, 3, 0, "FRAGMENT", ID }, { 16, 64, MORE, "FRAGMENT", ID });
	story(4000, { 0, 0, MORE, "NONE", ID }, { 8, 1, 0, "NONE", ID });
}

static void the_first_one_is_judged_and_the_others_follow_it(void **state)
{
	struct pkt syn4 = { TCP(DB4, WEB4, 4000, 4000, F_SYN), .payload = 12 };
	struct pkt ack6 = { TCP(DB6, WEB6, 4000, 4000, F_ACK), .payload = 12 };

	(void)state;
	story(4001, { 0, 8, MORE, "POLICY_DENY", ID }, { 16, 64, MORE, "FRAGMENT", ID }, { 80, 8, 0, "FRAGMENT", ID });
	send_frag(syn4, 7, 0, MORE, "NONE");
	send_frag(syn4, 7, 32, 0, "NONE");
	send_frag(ack6, 7, 0, MORE, "NO_FLOW");
	send_frag(ack6, 7, 32, 0, "FRAGMENT");
}

static void a_later_one_before_its_first_is_dropped(void **state)
{
	(void)state;
	story(4000, { 16, 8, 0, "FRAGMENT", ID }, { 0, 8, MORE, "NONE", ID }, { 16, 8, 0, "NONE", ID });
}

static void behind_a_gap_nothing_passes_until_it_is_filled(void **state)
{
	(void)state;
	story(4000, { 0, 8, MORE, "NONE", ID }, { 24, 8, MORE, "FRAG_ORDER", ID }, { 32, 8, 0, "FRAG_ORDER", ID },
	      { 16, 8, MORE, "NONE", ID }, { 24, 8, MORE, "NONE", ID }, { 32, 8, 0, "NONE", ID });
}

static void overlaps_spoil_the_datagram(void **state)
{
	(void)state;
	story(4000, { 0, 24, MORE, "NONE", 1 }, { 24, 16, MORE, "FRAG_OVERLAP", 1 }, /* into the first one */
	      { 32, 8, 0, "FRAG_OVERLAP", 1 });
	story(4000, { 0, 24, MORE, "NONE", 2 }, { 32, 8, MORE, "NONE", 2 },
	      { 32, 8, MORE, "FRAG_OVERLAP", 2 }, /* again */
	      { 40, 8, 0, "FRAG_OVERLAP", 2 });
	story(4000, { 0, 24, MORE, "NONE", 3 }, { 0, 24, MORE, "FRAG_OVERLAP", 3 }, { 32, 8, 0, "FRAG_OVERLAP", 3 });
	story(4000, { 0, 24, MORE, "NONE", 4 }, { 8, 8, 0, "FRAG_OVERLAP", 4 }, /* over the TCP flags of RFC 1858 */
	      { 32, 8, 0, "FRAG_OVERLAP", 4 });
	story(4000, { 0, 24, MORE, "NONE", 5 }, { 32, 8, 0, "NONE", 5 }); /* others are none the worse */
}

static void another_first_can_not_take_the_place_of_one(void **state)
{
	struct pkt denied4 = { UDP(DB4, WEB4, 4000, 4001), .payload = 8 };
	struct pkt tcp4 = { TCP(DB4, WEB4, 4000, 4000, F_SYN), .payload = 4 };
	struct pkt tcp6 = { TCP(DB6, WEB6, 4000, 4000, F_SYN), .payload = 4 };

	(void)state;
	story(4000, { 0, 8, MORE, "NONE", ID });
	send_frag(denied4, ID, 0, MORE, "FRAG_OVERLAP");
	story(4000, { 0, 8, MORE, "NONE", 9 });
	send_frag(tcp4, 9, 0, MORE, "NONE");         /* IPv4: another protocol is another datagram */
	send_frag(tcp6, 9, 0, MORE, "FRAG_OVERLAP"); /* IPv6: it is not */
}

static void keys_are_kept_apart(void **state)
{
	struct pkt eve4 = { UDP(EVE4, WEB4, 4000, 4000), .payload = 8 };
	struct pkt eve6 = { UDP(EVE6, WEB6, 4000, 4000), .payload = 8 };
	struct pkt nobody = { UDP(NOBODY4, WEB4, 4000, 4000), .payload = 8 };

	(void)state;
	story(4000, { 0, 8, MORE, "NONE", ID }, { 16, 8, 0, "FRAGMENT", ID + 1 });
	send_frag(eve4, ID, 16, 0, "FRAGMENT");
	send_frag(eve6, ID, 16, 0, "FRAGMENT");
	send_frag(nobody, ID, 16, 0, "NO_IDENTITY");
	story(4000, { 16, 8, 0, "NONE", ID });
}

static void directions_are_kept_apart(void **state)
{
	struct pkt p = fragment((struct pkt){ UDP(DB4, WEB4, 4000, 4000), .payload = 8 }, ID, 0, MORE);
	struct pkt later = fragment((struct pkt){ UDP(DB4, WEB4, 4000, 4000), .payload = 8 }, ID, 16, 0);

	(void)state;
	send_one(&p, BY_DIR_IN, 0, "NONE");
	send_one(&later, BY_DIR_OUT, 0, "FRAGMENT");
	send_one(&later, BY_DIR_IN, 0, "NONE");
}

static void a_first_one_has_the_whole_transport_header(void **state)
{
	struct pkt tcp4 = { IP(DB4, WEB4, P_TCP), .is_later = true }, tcp6 = { IP(DB6, WEB6, P_TCP), .is_later = true };
	struct pkt long4 = { TCP(DB4, WEB4, 4000, 4000, F_SYN), .tcp_words = 15, .payload = 4 };
	struct pkt chain = { IP(DB6, WEB6, P_UDP), .is_later = true, .ext = { EXT_FRAGMENT, 60 }, .n_ext = 2,
			     .frag = MORE };

	(void)state;
	for (uint16_t n = 8; n <= 16; n += 8) {
		tcp4.payload = tcp6.payload = n;
		send_frag(tcp4, n, 0, MORE, "FRAG_TINY");
		send_frag(tcp6, n, 0, MORE, "FRAG_TINY");
	}
	send_frag(long4, 1, 0, MORE, "FRAG_TINY");
	/* the chain of headers goes on in the next fragment, RFC 7112 */
	check(&chain, "FRAG_TINY");
	story(4000, { 16, 8, 0, "FRAGMENT", 1 });
}

static void lengths_that_no_datagram_has_are_dropped(void **state)
{
	(void)state;
	story(4000, { 0, 1, MORE, "FRAG_BOUNDS", ID }, { 0, 7, MORE, "FRAG_BOUNDS", ID }, { 16, 8, 0, "FRAGMENT", ID });
	story(4000, { 0, 8, MORE, "NONE", ID }, { 16, 9, MORE, "FRAG_BOUNDS", ID }, { 16, 0, 0, "FRAG_BOUNDS", ID },
	      { 16, 0, MORE, "FRAG_BOUNDS", ID }, { 16, 9, 0, "NONE", ID });
}

static void nothing_reaches_beyond_64_kib(void **state)
{
	struct pkt p4 = { IP(DB4, WEB4, P_UDP) }, p6 = { IP(DB6, WEB6, P_UDP) }, opt = p4, ext = p6;

	(void)state;
	p4.payload = opt.payload = 65535 - 65512 - 20;
	p6.payload = ext.payload = 65535 - 65528;
	opt.options = 4;
	ext.ext[0] = 60;
	ext.n_ext = 1;
	send_frag(p4, ID, 65512, 0, "FRAGMENT"); /* 65535 just fits */
	send_frag(p6, ID, 65528, 0, "FRAGMENT");
	send_frag(opt, ID, 65512, 0, "FRAG_BOUNDS");
	send_frag(ext, ID, 65528, 0, "FRAG_BOUNDS");
	p4.payload++;
	p6.payload++;
	send_frag(p4, ID, 65512, 0, "FRAG_BOUNDS");
	send_frag(p6, ID, 65528, 0, "FRAG_BOUNDS");
	send_frag(p4, ID, 65528, 0, "FRAG_BOUNDS");
}

static void an_atomic_fragment_is_a_whole_packet(void **state)
{
	struct pkt p = { UDP(DB6, WEB6, 4000, 4000), .payload = 3 };

	(void)state;
	send_frag(p, ID, 0, 0, "NONE");
	story(4000, { 16, 8, 0, "FRAGMENT", ID }); /* and leaves nothing */
	story(4000, { 0, 8, MORE, "NONE", 5 });
	send_frag(p, 5, 0, 0, "NONE"); /* RFC 6946: nor has it to do with others of its number */
	story(4000, { 16, 8, 0, "NONE", 5 });
	p.dport = 4001;
	send_frag(p, ID, 0, 0, "POLICY_DENY");
}

static void fragments_have_the_other_headers_too(void **state)
{
	struct pkt p4 = { UDP(DB4, WEB4, 4000, 4000), .payload = 8, .options = 12 };
	struct pkt p6 = { UDP(DB6, WEB6, 4000, 4000), .payload = 8, .ext = { 0, 60 }, .n_ext = 2 };
	struct pkt twice = { UDP(DB6, WEB6, 4000, 4000), .payload = 8, .ext = { 44 }, .n_ext = 1 };

	(void)state;
	send_frag(p4, 1, 0, MORE, "NONE");
	send_frag(p4, 1, 16, 0, "NONE");
	send_frag(p6, 1, 0, MORE, "NONE");
	send_frag(p6, 1, 16, 0, "NONE");
	twice = fragment(twice, 2, 0, MORE);
	check(&twice, "EXT_HEADERS");
}

static void an_icmp_error_in_parts_is_no_error(void **state)
{
	struct pkt answer = { UDP(WEB4, DB4, 4000, 4000), .payload = 12 };
	struct pkt error = { IP(DB4, WEB4, P_ICMP), .type = 11 };
	struct frame quoted;

	(void)state;
	story(4000, { 0, 8, MORE, "NONE", ID });
	frame_build(&quoted, &answer);
	error.quoted = &quoted;
	error = fragment(error, 3, 0, MORE);
	send_one(&error, BY_DIR_IN, 0, "POLICY_DENY");
	error.frag = 0;
	send_one(&error, BY_DIR_IN, 0, "NONE");
}

static void age(struct world *w, unsigned seconds)
{
	int fd = world_map(w, "by_frag");
	struct by_frag_key key;
	struct by_frag f;

	for (int ret = bpf_map_get_next_key(fd, NULL, &key); !ret; ret = bpf_map_get_next_key(fd, &key, &key)) {
		assert_int_equal(bpf_map_lookup_elem(fd, &key, &f), 0);
		f.first_ns -= seconds * SECOND;
		assert_int_equal(bpf_map_update_elem(fd, &key, &f, BPF_EXIST), 0);
	}
	close(fd);
}

static void the_rest_must_come_in_time(void **state)
{
	struct pkt p4 = { UDP(DB4, WEB4, 4000, 4000), .payload = 8 }, p6 = { UDP(DB6, WEB6, 4000, 4000), .payload = 8 };

	(void)state;
	story(4000, { 0, 8, MORE, "NONE", ID });
	for (int framed = 0; framed < 2; framed++)
		age(worlds[framed], 20);
	story(4000, { 16, 8, MORE, "NONE", ID });
	for (int framed = 0; framed < 2; framed++)
		age(worlds[framed], 11);
	send_frag(p4, ID, 24, MORE, "FRAGMENT");
	send_frag(p6, ID, 24, MORE, "NONE");
	for (int framed = 0; framed < 2; framed++)
		age(worlds[framed], 30);
	send_frag(p6, ID, 32, 0, "FRAGMENT");
	story(4000, { 0, 8, MORE, "NONE", ID }, { 16, 8, 0, "NONE", ID });
}

static void a_new_generation_ends_what_is_under_way(void **state)
{
	(void)state;
	story(4000, { 0, 8, MORE, "NONE", ID });
	for (int framed = 0; framed < 2; framed++)
		allow_4000(worlds[framed]);
	story(4000, { 16, 8, 0, "FRAGMENT", ID });
	story(4000, { 0, 8, MORE, "FRAG_OVERLAP", ID }); /* the receiver still has the old one */
	story(4000, { 0, 8, MORE, "NONE", 8 }, { 16, 8, 0, "NONE", 8 });
}

static void a_cut_fragment_never_passes(void **state)
{
	struct pkt whole[] = {
		fragment((struct pkt){ UDP(DB4, WEB4, 4000, 4000), .payload = 8, .options = 8 }, 1, 0, MORE),
		fragment((struct pkt){ UDP(DB6, WEB6, 4000, 4000), .payload = 8, .ext = { 0 }, .n_ext = 1 }, 1, 0, MORE)
	};
	enum by_drop got;
	struct frame f;

	(void)state;
	for (int framed = 0; framed < 2; framed++)
		for (size_t i = 0; i < sizeof(whole) / sizeof(whole[0]); i++) {
			whole[i].ether = framed ? i ? 0x86dd : 0x0800 : 0;
			frame_build(&f, &whole[i]);
			while (--f.len > 14)
				if (world_try_frame(worlds[framed], BY_DIR_IN, &f, &got))
					assert_int_not_equal(got, BY_DROP_NONE);
		}
}

#define t(name) cmocka_unit_test_setup_teardown(name, fresh, gone)

int main(void)
{
	const struct CMUnitTest tests[] = {
		t(in_order_a_datagram_passes_whole),
		t(the_first_one_is_judged_and_the_others_follow_it),
		t(a_later_one_before_its_first_is_dropped),
		t(behind_a_gap_nothing_passes_until_it_is_filled),
		t(overlaps_spoil_the_datagram),
		t(another_first_can_not_take_the_place_of_one),
		t(keys_are_kept_apart),
		t(directions_are_kept_apart),
		t(a_first_one_has_the_whole_transport_header),
		t(lengths_that_no_datagram_has_are_dropped),
		t(nothing_reaches_beyond_64_kib),
		t(an_atomic_fragment_is_a_whole_packet),
		t(fragments_have_the_other_headers_too),
		t(an_icmp_error_in_parts_is_no_error),
		t(the_rest_must_come_in_time),
		t(a_new_generation_ends_what_is_under_way),
		t(a_cut_fragment_never_passes),
	};

	return cmocka_run_group_tests_name("bpf/frag", tests, NULL, NULL);
}
