// SPDX-License-Identifier: Apache-2.0
/* Rungs 3 and 4: addresses, and what user space may do with them. */
#include <errno.h>
#include <string.h>

#include "base/cleanup.h"

#include "../lib/world.h"
#include "base/addr.h"

#define SYN_IN(from, to)  send_in(w, TCP(from, to, 40000, 5432, F_SYN))
#define SYN_OUT(from, to) send_out(w, TCP(from, to, 40000, 5432, F_SYN))

static void allow_both_ways(struct world *w)
{
	struct img *img = img_new();

	img_rule(img, BY_DIR_IN, BY_PORT_TCP + 5432, BY_PORT_TCP + 5432, CLASS_DB, BY_ALLOW);
	img_rule(img, BY_DIR_OUT, BY_PORT_TCP + 5432, BY_PORT_TCP + 5432, CLASS_DB, BY_ALLOW);
	world_commit(w, img);
}

static void an_unknown_peer_has_no_identity(void **state)
{
	struct world *w = *state;

	allow_both_ways(w);
	assert_verdict(SYN_IN(NOBODY4, WEB4), NO_IDENTITY);
	assert_verdict(SYN_IN(NOBODY6, WEB6), NO_IDENTITY);
	assert_verdict(SYN_OUT(WEB4, NOBODY4), NO_IDENTITY);
	assert_verdict(SYN_OUT(WEB6, NOBODY6), NO_IDENTITY);
	assert_verdict(SYN_IN(DB4, WEB4), NONE);
}

static void this_nodes_own_address_is_no_peer(void **state)
{
	struct world *w = *state;

	allow_both_ways(w);
	assert_verdict(SYN_IN(WEB4, WEB4), NO_IDENTITY);
	assert_verdict(SYN_OUT(WEB6, WEB6), NO_IDENTITY);
}

static void the_local_side_must_be_this_node(void **state)
{
	struct world *w = *state;

	allow_both_ways(w);
	assert_verdict(SYN_IN(DB4, EVE4), NOT_LOCAL); /* another peer: no transit */
	assert_verdict(SYN_IN(DB4, NOBODY4), NOT_LOCAL);
	assert_verdict(SYN_IN(DB6, "ff02::1"), NOT_LOCAL);
	assert_verdict(SYN_OUT(EVE4, DB4), SPOOFED);
	assert_verdict(SYN_OUT(NOBODY6, DB6), SPOOFED);
	assert_verdict(SYN_OUT(EVE4, NOBODY4), SPOOFED); /* whomever it is for */
}

/* A flow that the live policy judged is not asked for its local address again: who takes one away says so. */
static void a_flow_ends_with_this_nodes_address(void **state)
{
	struct world *w = *state;
	struct dp_identity web = world_node(WEB, 0);
	struct err e = ERR_INIT;

	allow_both_ways(w);
	assert_verdict(SYN_IN(DB4, WEB4), NONE);
	assert_verdict(SYN_IN(DB6, WEB6), NONE);
	assert_true(addr_parse(&web.addrs[0], "100.64.0.200"));
	assert_int_equal(dp_identity_set(w->dp, &web, NULL, &e), 0);
	assert_verdict(send_in(w, TCP(DB4, WEB4, 40000, 5432, F_ACK)), NOT_LOCAL);
	assert_verdict(send_out(w, TCP(WEB4, DB4, 5432, 40000, F_SYN | F_ACK)), SPOOFED);
	assert_verdict(send_in(w, TCP(DB6, WEB6, 40000, 5432, F_ACK)), NONE);
}

static void a_v4_address_in_v6_clothes_is_not_that_address(void **state)
{
	struct world *w = *state;

	allow_both_ways(w);
	/* The packet is IPv6 with ::ffff:a.b.c.d addresses; no WireGuard peer has such an AllowedIP. */
	assert_verdict(SYN_IN("::ffff:100.64.0.3", "::ffff:100.64.0.2"), IP_HEADER);
	assert_verdict(SYN_OUT("::ffff:100.64.0.2", "fd00::3"), IP_HEADER);
}

static void a_removed_peer_is_cut_off_at_once(void **state)
{
	struct world *w = *state;
	struct dp_identity db = world_node(DB, 0);
	struct err e = ERR_INIT;

	allow_both_ways(w);
	assert_verdict(SYN_IN(DB4, WEB4), NONE);
	assert_int_equal(dp_identity_remove(w->dp, db.instance_id, &e), 0);
	assert_verdict(send_in(w, TCP(DB4, WEB4, 40000, 5432, F_ACK)), NO_IDENTITY);
	assert_int_equal(dp_identity_count(w->dp), 2);
	assert_int_equal(dp_identity_remove(w->dp, db.instance_id, &e), -ENOENT);
}

static void a_flow_does_not_pass_to_the_next_owner_of_the_address(void **state)
{
	struct world *w = *state;
	struct dp_identity db = world_node(DB, 0), heir = world_node(DB, 0);
	struct err e = ERR_INIT;

	allow_both_ways(w);
	assert_verdict(SYN_IN(DB4, WEB4), NONE);
	assert_int_equal(dp_identity_remove(w->dp, db.instance_id, &e), 0);
	heir.instance_id[0] = 77;
	assert_int_equal(dp_identity_set(w->dp, &heir, NULL, &e), 0);
	assert_verdict(send_in(w, TCP(DB4, WEB4, 40000, 5432, F_ACK)), POLICY_DENY);
}

static void a_changed_class_judges_flows_again(void **state)
{
	struct world *w = *state;

	allow_both_ways(w);
	assert_verdict(SYN_IN(DB4, WEB4), NONE);
	world_join(w, DB, 0);
	assert_verdict(send_in(w, TCP(DB4, WEB4, 40000, 5432, F_ACK)), POLICY_DENY);
	world_join(w, DB, CLASS_DB);
	assert_verdict(SYN_IN(DB4, WEB4), NONE);
}

static void an_address_no_longer_named_is_gone(void **state)
{
	struct world *w = *state;
	struct dp_identity db = world_node(DB, CLASS_DB);
	struct err e = ERR_INIT;
	struct dp_status st;
	uint32_t before, after;

	before = world_join(w, DB, CLASS_DB);
	allow_both_ways(w);
	db.n_addrs = 1;
	assert_int_equal(dp_identity_set(w->dp, &db, &after, &e), 0);
	assert_int_equal(before, after);
	assert_verdict(SYN_IN(DB4, WEB4), NONE);
	assert_verdict(SYN_IN(DB6, WEB6), NO_IDENTITY);
	assert_int_equal(dp_status_get(w->dp, &st, &e), 0);
	assert_int_equal(st.n_addrs, 5);
	assert_int_equal(st.n_identities, 3);
}

static void an_address_has_one_owner(void **state)
{
	struct world *w = *state;
	struct dp_identity thief = world_node(9, CLASS_DB);
	struct err e = ERR_INIT;
	struct dp_status st;

	thief.addrs[1] = world_node(DB, 0).addrs[0];
	assert_int_equal(dp_identity_set(w->dp, &thief, NULL, &e), -EEXIST);
	assert_non_null(strstr(e.msg, DB4));
	assert_int_equal(dp_identity_count(w->dp), 3);
	e = ERR_INIT;
	assert_int_equal(dp_status_get(w->dp, &st, &e), 0);
	assert_int_equal(st.n_addrs, 6);
}

static void a_new_local_instance_takes_the_formers_place(void **state)
{
	struct world *w = *state;
	struct dp_identity web = world_node(WEB, 0), out;
	struct err e = ERR_INIT;
	uint32_t number;

	allow_both_ways(w);
	web.instance_id[0] = 88;
	assert_int_equal(dp_identity_set(w->dp, &web, &number, &e), 0);
	assert_int_equal(number, BY_IDENT_LOCAL);
	assert_int_equal(dp_identity_count(w->dp), 3);
	assert_verdict(SYN_IN(DB4, WEB4), NONE);
	for (size_t i = 0; dp_identity_get(w->dp, i, &number, &out); i++)
		assert_int_equal(out.is_local, number == BY_IDENT_LOCAL);
}

static void bad_identities_are_refused(void **state)
{
	struct world *w = *state;
	struct dp_identity id = world_node(9, 0);
	struct err e = ERR_INIT;

	id.n_addrs = 9;
	assert_int_equal(dp_identity_set(w->dp, &id, NULL, &e), -EINVAL);
	id = world_node(9, 0);
	memset(id.node, 'x', sizeof(id.node));
	e = ERR_INIT;
	assert_int_equal(dp_identity_set(w->dp, &id, NULL, &e), -EINVAL);
	assert_int_equal(dp_identity_count(w->dp), 3);
}

static void many_come_and_go(void **state)
{
	struct world *w = *state;
	struct err e = ERR_INIT;

	for (uint32_t i = 0; i < 2000; i++) {
		struct dp_identity id = { .n_addrs = 1 };

		memcpy(id.instance_id, &i, sizeof(i));
		id.instance_id[19] = 1;
		id.addrs[0] = world_node(9, 0).addrs[1];
		memcpy(id.addrs[0].b + 4, &i, sizeof(i));
		assert_int_equal(dp_identity_set(w->dp, &id, NULL, &e), 0);
	}
	assert_int_equal(dp_identity_count(w->dp), 2003);
	for (uint32_t i = 0; i < 2000; i++) {
		uint8_t instance[BY_INSTANCE_ID_LEN] = { 0 };

		memcpy(instance, &i, sizeof(i));
		instance[19] = 1;
		assert_int_equal(dp_identity_remove(w->dp, instance, &e), 0);
	}
	assert_int_equal(dp_identity_count(w->dp), 3);
}

static void many_are_set_at_once(void **state)
{
	struct dp_identity id[200];
	struct world *w = *state;
	struct err e = ERR_INIT;
	struct dp_status st;
	size_t n_set;

	allow_both_ways(w);
	for (int i = 0; i < 200; i++)
		id[i] = world_node(20 + i, i == 150 ? CLASS_DB : 0);
	assert_int_equal(dp_identities_set(w->dp, id, 200, &n_set, &e), 0);
	assert_int_equal(n_set, 200);
	assert_int_equal(dp_identities_set(w->dp, id, 200, &n_set, &e), 0); /* as they are */
	assert_int_equal(n_set, 200);
	assert_int_equal(dp_status_get(w->dp, &st, &e), 0);
	assert_int_equal(st.n_identities, 203);
	assert_int_equal(st.n_addrs, 406);
	assert_verdict(SYN_IN("100.64.0.170", WEB4), NONE);
	assert_verdict(SYN_IN("100.64.0.171", WEB4), POLICY_DENY);
}

/* In their order: what one leaves another one may have, and the last word about one counts. */
static void of_many_each_is_set_after_the_one_before(void **state)
{
	struct dp_identity id[] = { world_node(20, 0), world_node(DB, CLASS_DB), world_node(21, 0),
				    world_node(20, CLASS_DB), world_node(WEB, 0) };
	struct world *w = *state;
	struct err e = ERR_INIT;
	struct dp_status st;
	size_t n_set;

	allow_both_ways(w);
	id[1].n_addrs = 1;
	id[2].addrs[1] = world_node(DB, 0).addrs[1];
	id[3].n_addrs = 1;
	id[4].instance_id[0] = 88; /* this node anew: the former goes */
	assert_int_equal(dp_identities_set(w->dp, id, ARRAY_LEN(id), &n_set, &e), 0);
	assert_int_equal(n_set, ARRAY_LEN(id));
	assert_verdict(SYN_IN(DB4, WEB4), NONE);
	assert_verdict(SYN_IN(DB6, WEB6), POLICY_DENY);
	assert_verdict(SYN_IN("100.64.0.20", WEB4), NONE);
	assert_verdict(SYN_IN("fd00::20", WEB6), NO_IDENTITY);
	assert_int_equal(dp_status_get(w->dp, &st, &e), 0);
	assert_int_equal(st.n_identities, 5);
	assert_int_equal(st.n_addrs, 8);
}

static void of_many_a_bad_one_is_named(void **state)
{
	struct dp_identity id[100];
	struct world *w = *state;
	struct err e = ERR_INIT;
	size_t n_set;

	for (int i = 0; i < 100; i++)
		id[i] = world_node(20 + i, 0);
	id[70].addrs[1] = id[3].addrs[0];
	assert_int_equal(dp_identities_set(w->dp, id, 100, &n_set, &e), -EEXIST);
	assert_int_equal(n_set, 70);
	assert_string_equal(e.where, "node-90");
	assert_int_equal(dp_identity_count(w->dp), 73);
	e = ERR_INIT;
	assert_int_equal(dp_identities_set(w->dp, id + 71, 29, &n_set, &e), 0);
	assert_int_equal(dp_identity_count(w->dp), 102);
}

/* The kernel refuses one in the middle of what it is given at once: there is no room for its second address. */
static void of_many_the_one_that_does_not_fit_is_not_there(void **state)
{
	const struct dp_options options = { .sizes = { .addrs = 9 } };
	struct world *w = world_open_with(&options);
	struct dp_identity id[8], out;
	struct err e = ERR_INIT;
	struct dp_status st;
	size_t n_set;

	(void)state;
	world_join(w, WEB, 0);
	allow_both_ways(w);
	for (int i = 0; i < 8; i++)
		id[i] = world_node(20 + i, CLASS_DB);
	id[7].n_addrs = 1; /* fits where the one before left room */
	assert_int_equal(dp_identities_set(w->dp, id, 8, &n_set, &e), -E2BIG);
	assert_int_equal(n_set, 3);
	assert_string_equal(e.where, "node-23");
	assert_verdict(SYN_IN("100.64.0.22", WEB4), NONE);
	assert_verdict(SYN_IN("100.64.0.23", WEB4), NO_IDENTITY);
	assert_verdict(SYN_IN("100.64.0.27", WEB4), NONE);
	e = ERR_INIT;
	assert_int_equal(dp_status_get(w->dp, &st, &e), 0);
	assert_int_equal(st.n_identities, 5);
	assert_int_equal(st.n_addrs, 9);
	for (uint32_t number = 0, i = 0; dp_identity_get(w->dp, i, &number, &out); i++)
		assert_string_not_equal(out.node, "node-23");
	world_close(w);
}

#define t(name) cmocka_unit_test_setup_teardown(name, world_fresh, world_gone)

int main(void)
{
	const struct CMUnitTest tests[] = {
		t(an_unknown_peer_has_no_identity),
		t(this_nodes_own_address_is_no_peer),
		t(the_local_side_must_be_this_node),
		t(a_flow_ends_with_this_nodes_address),
		t(a_v4_address_in_v6_clothes_is_not_that_address),
		t(a_removed_peer_is_cut_off_at_once),
		t(a_flow_does_not_pass_to_the_next_owner_of_the_address),
		t(a_changed_class_judges_flows_again),
		t(an_address_no_longer_named_is_gone),
		t(an_address_has_one_owner),
		t(a_new_local_instance_takes_the_formers_place),
		t(bad_identities_are_refused),
		t(many_come_and_go),
		t(many_are_set_at_once),
		t(of_many_each_is_set_after_the_one_before),
		t(of_many_a_bad_one_is_named),
		cmocka_unit_test(of_many_the_one_that_does_not_fit_is_not_there),
	};

	return cmocka_run_group_tests_name("bpf/identity", tests, NULL, NULL);
}
