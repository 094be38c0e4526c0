// SPDX-License-Identifier: Apache-2.0
#include "pair.h"

#include <bpf/bpf.h>
#include <stdio.h>
#include <string.h>

#define CLASS_EVE 2
#define ETH_P_IP  0x0800

/* The port that comes n-th gets port class n + 1: img_rule() numbers ports as they come. */
static uint32_t nth_port(bool is_rotated, uint32_t n)
{
	return BY_PORT_TCP + PAIR_FIRST + (is_rotated ? n + PAIR_PORTS - 1 : n) % PAIR_PORTS;
}

uint32_t pair_class(int node, bool is_rotated)
{
	return (node == DB) != is_rotated ? CLASS_DB : CLASS_EVE;
}

static void rules_of_port(struct img *img, uint32_t sel, bool is_rotated, unsigned residue)
{
	uint32_t db = pair_class(DB, is_rotated), eve = pair_class(EVE, is_rotated);
	enum by_action action = sel % 4 == residue ? BY_ALLOW : BY_DENY;

	for (int dir = 0; dir < BY_DIR_COUNT; dir++) {
		img_rule(img, (enum by_dir)dir, sel, sel, db, action);
		img_rule(img, (enum by_dir)dir, sel, sel, eve, BY_DENY);
	}
}

const struct pol_image *pair_image(struct img *img, bool is_rotated, unsigned residue)
{
	struct dp_identity db = world_node(DB, 0), eve = world_node(EVE, 0);

	for (uint32_t i = 0; i < PAIR_PORTS; i++)
		rules_of_port(img, nth_port(is_rotated, i), is_rotated, residue);
	img_member(img, db.instance_id, pair_class(DB, is_rotated));
	img_member(img, eve.instance_id, pair_class(EVE, is_rotated));
	return img_done(img);
}

int pair_commit(struct dp *dp, bool is_rotated, unsigned residue)
{
	struct img *img = img_new();
	struct err e = ERR_INIT;
	int ret = dp_policy_commit(dp, pair_image(img, is_rotated, residue), &e);

	if (ret < 0)
		fprintf(stderr, "# %s: %s\n", e.where, e.msg);
	img_free(img);
	return ret;
}

bool pair_passes(int prog, enum by_dir dir, uint32_t l3_offset, const struct pkt *p)
{
	struct pkt framed = *p;
	struct frame f;

	if (l3_offset)
		framed.ether = ETH_P_IP;
	frame_build(&f, &framed);
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = f.data, .data_size_in = (uint32_t)f.len, .repeat = 1);
	if (bpf_prog_test_run_opts(prog, &opts) < 0)
		fail_msg("BPF_PROG_TEST_RUN, direction %d", dir);
	return (int)opts.retval != 2; /* TC_ACT_SHOT */
}

static uint32_t ask_ports(const int prog[BY_DIR_COUNT], enum by_dir dir, uint32_t l3_offset, const char *peer)
{
	static uint16_t fresh_port = 2000;
	uint32_t mask = 0;

	for (uint32_t i = 0; i < PAIR_PORTS; i++) {
		struct pkt p = { TCP(peer, WEB4, fresh_port, (uint16_t)(PAIR_FIRST + i), F_SYN) };

		if (dir == BY_DIR_OUT) {
			p.src = WEB4;
			p.dst = peer;
		}
		mask |= (uint32_t)pair_passes(prog[dir], dir, l3_offset, &p) << i;
	}
	fresh_port = fresh_port < 60000 ? fresh_port + 1 : 2000;
	return mask;
}

struct pair_answer pair_ask(const int prog[BY_DIR_COUNT], uint32_t l3_offset)
{
	return (struct pair_answer){
		.db_in = ask_ports(prog, BY_DIR_IN, l3_offset, DB4),
		.db_out = ask_ports(prog, BY_DIR_OUT, l3_offset, DB4),
		.eve_in = ask_ports(prog, BY_DIR_IN, l3_offset, EVE4),
	};
}

struct pair_answer pair_expect(unsigned residue)
{
	struct pair_answer a = { 0 };

	for (uint32_t i = 0; i < PAIR_PORTS; i++)
		a.db_in |= (uint32_t)((BY_PORT_TCP + PAIR_FIRST + i) % 4 == residue) << i;
	a.db_out = a.db_in;
	return a;
}

struct pair_answer pair_nothing(void)
{
	return (struct pair_answer){ 0 };
}

bool pair_same(struct pair_answer a, struct pair_answer b)
{
	return a.db_in == b.db_in && a.db_out == b.db_out && a.eve_in == b.eve_in;
}

static uint32_t class_of(const struct pol_image *img, int node)
{
	const struct pol_member *m = pol_image_members(img);
	struct dp_identity id = world_node(node, 0);

	for (uint32_t i = 0; i < img->n_members; i++)
		if (memcmp(m[i].instance_id, id.instance_id, sizeof(id.instance_id)) == 0)
			return m[i].peer_class;
	return 0;
}

static uint32_t port_class_of(const struct pol_image *img, enum by_dir dir, uint32_t sel)
{
	const struct pol_port_range *r = pol_image_ports(img);

	for (uint32_t i = 0; i < img->n_ports; i++)
		if (r[i].first <= sel && sel <= r[i].last)
			return r[i].port.port_class[dir];
	return 0;
}

static bool allows(const struct pol_image *img, enum by_dir dir, uint32_t port_class, uint32_t peer_class)
{
	const struct pol_verdict *v = pol_image_verdicts(img);

	for (uint32_t i = 0; i < img->n_verdicts; i++)
		if (v[i].dir == dir && v[i].port_class == port_class && v[i].peer_class == peer_class)
			return v[i].verdict.action == BY_ALLOW;
	return false;
}

struct pair_answer pair_mixture(const struct pol_image *ports, const struct pol_image *verdicts,
				const struct pol_image *members)
{
	uint32_t db = class_of(members, DB), eve = class_of(members, EVE);
	struct pair_answer a = { 0 };

	for (uint32_t i = 0; i < PAIR_PORTS; i++) {
		uint32_t sel = BY_PORT_TCP + PAIR_FIRST + i, in = port_class_of(ports, BY_DIR_IN, sel);

		a.db_in |= (uint32_t)allows(verdicts, BY_DIR_IN, in, db) << i;
		a.db_out |= (uint32_t)allows(verdicts, BY_DIR_OUT, port_class_of(ports, BY_DIR_OUT, sel), db) << i;
		a.eve_in |= (uint32_t)allows(verdicts, BY_DIR_IN, in, eve) << i;
	}
	return a;
}
