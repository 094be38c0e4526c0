// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <time.h>

#include "world.h"

static struct id_registry *reg;

static int with_nodes(size_t max_nodes)
{
	struct id_registry_conf conf = { .n_networks = 2, .max_nodes = max_nodes };
	struct err e = ERR_INIT;

	assert_true(prefix_parse(&conf.networks[0], "100.64.0.0/10") && prefix_parse(&conf.networks[1], "fd00::/8"));
	return id_registry_new(&conf, &reg, &e);
}

static int start(void **state)
{
	(void)state;
	return with_nodes(4);
}

static int stop(void **state)
{
	(void)state;
	id_registry_free(reg);
	reg = NULL;
	return 0;
}

/* Instance `n` with key `n` and address 100.64.x.y of `n`; the digest follows from instance and epoch. */
static struct id_node node_of(uint32_t n, uint64_t epoch)
{
	struct id_node node = { .claims = { .has_instance_id = true, .not_after = NOW + 90 * DAY } };
	struct id_record *r = &node.record;

	snprintf(r->node, sizeof(r->node), "node-%u", n);
	memcpy(r->instance_id, &n, sizeof(n));
	memset(r->wg_key, 0x77, sizeof(r->wg_key));
	memcpy(r->wg_key, &n, sizeof(n));
	r->addrs[0] = (struct by_addr){
		.b = { [10] = 0xff, 0xff, 100, 64 | (uint8_t)(n >> 16), (uint8_t)(n >> 8), (uint8_t)n }
	};
	r->n_addrs = 1;
	r->epoch = epoch;
	r->not_before = NOW;
	r->not_after = NOW + DAY;
	memcpy(node.digest, &n, sizeof(n));
	memcpy(node.digest + 8, &epoch, sizeof(epoch));
	return node;
}

static void admitted(const struct id_node *node, enum id_admit expected)
{
	struct err e = ERR_INIT;
	enum id_admit what = 77;

	assert_int_equal(id_registry_admit(reg, node, &what, &e), 0);
	assert_int_equal(what, expected);
	assert_int_equal(e.code, 0);
}

static void refused(const struct id_node *node, const char *reason)
{
	size_t count = id_registry_count(reg);
	enum id_admit what = 77;
	struct err e = ERR_INIT;

	assert_int_equal(id_registry_admit(reg, node, &what, &e), -EBADMSG);
	assert_string_equal(id_reason_name(e.reason), reason);
	assert_int_equal(what, 77);
	assert_int_equal(id_registry_count(reg), count);
}

static void admits_updates_and_repeats(void **state)
{
	struct id_node a = node_of(1, 5), b = node_of(2, 1), newer = node_of(1, 6);

	(void)state;
	admitted(&a, ID_ADMIT_NEW);
	admitted(&a, ID_ADMIT_SAME);
	admitted(&b, ID_ADMIT_NEW);
	admitted(&newer, ID_ADMIT_UPDATED);
	assert_int_equal(id_registry_count(reg), 2);
	assert_int_equal(id_registry_at(reg, 0)->record.epoch, 6);
	assert_null(id_registry_at(reg, 2));
}

/* Newer collateral judges the same record: it may say worse of the platform, and of no longer time. */
static void another_tcb_status_is_taken(void **state)
{
	struct id_node a = node_of(1, 5);

	(void)state;
	a.claims.tcb_status = ID_TCB_UP_TO_DATE;
	admitted(&a, ID_ADMIT_NEW);
	a.claims.tcb_status = ID_TCB_OUT_OF_DATE;
	a.claims.not_after -= DAY;
	admitted(&a, ID_ADMIT_PROVED);
	admitted(&a, ID_ADMIT_SAME);
	assert_int_equal(id_registry_at(reg, 0)->claims.tcb_status, ID_TCB_OUT_OF_DATE);
	assert_int_equal(id_registry_at(reg, 0)->claims.not_after, a.claims.not_after);
}

static void finds_who_has_something(void **state)
{
	struct id_node a = node_of(1, 1), b = node_of(2, 1);

	(void)state;
	admitted(&a, ID_ADMIT_NEW);
	admitted(&b, ID_ADMIT_NEW);
	assert_string_equal(id_registry_find(reg, b.record.instance_id)->record.node, "node-2");
	assert_string_equal(id_registry_find_addr(reg, &a.record.addrs[0])->record.node, "node-1");
	assert_string_equal(id_registry_find_key(reg, b.record.wg_key)->record.node, "node-2");
	assert_int_equal(id_registry_remove(reg, b.record.instance_id), 0);
	assert_null(id_registry_find(reg, b.record.instance_id)); /* remembered, but gone */
	assert_null(id_registry_find_addr(reg, &b.record.addrs[0]));
	assert_null(id_registry_find_key(reg, b.record.wg_key));
	assert_non_null(id_registry_find(reg, a.record.instance_id));
}

static void record_epoch(void **state)
{
	struct id_node a = node_of(1, 5), older = node_of(1, 4), other = node_of(1, 5);

	(void)state;
	admitted(&a, ID_ADMIT_NEW);
	refused(&older, "RECORD_EPOCH");
	other.digest[31] ^= 1;
	refused(&other, "RECORD_EPOCH");
	assert_int_equal(id_registry_at(reg, 0)->record.epoch, 5);
}

static void record_name(void **state)
{
	struct id_registry_conf conf = { .n_networks = 1, .max_nodes = 4, .names_are_unique = true };
	struct id_node a = node_of(1, 1), thief = node_of(2, 1), renamed = node_of(1, 2);
	struct err e = ERR_INIT;

	(void)state;
	id_registry_free(reg);
	assert_true(prefix_parse(&conf.networks[0], "100.64.0.0/10"));
	assert_int_equal(id_registry_new(&conf, &reg, &e), 0);
	admitted(&a, ID_ADMIT_NEW);
	strcpy(thief.record.node, "node-1");
	refused(&thief, "RECORD_NAME");
	strcpy(renamed.record.node, "node-9");
	admitted(&renamed, ID_ADMIT_UPDATED);
	admitted(&thief, ID_ADMIT_NEW); /* nobody's any more */
}

static void record_revoked(void **state)
{
	struct id_node a = node_of(1, 5), newer = node_of(1, 6), b = node_of(2, 1), gone;

	(void)state;
	admitted(&a, ID_ADMIT_NEW);
	assert_int_equal(id_registry_revoke(reg, a.record.instance_id, true), 0);
	assert_null(id_registry_find(reg, a.record.instance_id));
	refused(&a, "RECORD_REVOKED");
	refused(&newer, "RECORD_REVOKED");
	assert_int_equal(id_registry_revoke(reg, b.record.instance_id, true), 0); /* never seen */
	refused(&b, "RECORD_REVOKED");
	assert_false(id_registry_expire(reg, NOW + 1000 * DAY, &gone)); /* nor is it forgotten */
	refused(&newer, "RECORD_REVOKED");
	for (uint32_t i = 10; i < 12; i++) {
		struct id_node other = node_of(i, 1);

		assert_int_equal(id_registry_revoke(reg, other.record.instance_id, true), 0);
	}
	gone = node_of(12, 1);
	assert_int_equal(id_registry_revoke(reg, gone.record.instance_id, true), -ENOSPC); /* four are remembered */
	assert_int_equal(id_registry_revoke(reg, a.record.instance_id, false), 0);
	admitted(&a, ID_ADMIT_NEW);
	admitted(&newer, ID_ADMIT_UPDATED);
}

static void record_epoch_survives_removal_and_expiry(void **state)
{
	struct id_node a = node_of(1, 5), older = node_of(1, 4), gone;

	(void)state;
	admitted(&a, ID_ADMIT_NEW);
	assert_int_equal(id_registry_remove(reg, a.record.instance_id), 0);
	assert_int_equal(id_registry_remove(reg, a.record.instance_id), -ENOENT);
	assert_int_equal(id_registry_count(reg), 0);
	refused(&older, "RECORD_EPOCH");
	admitted(&a, ID_ADMIT_NEW); /* the same record is no rollback */
	assert_true(id_registry_expire(reg, NOW + DAY + 1, &gone));
	assert_false(id_registry_expire(reg, NOW + DAY + 1, &gone));
	refused(&older, "RECORD_EPOCH");
	/* forgotten when no record of then can be valid any more */
	assert_false(id_registry_expire(reg, NOW + DAY + ID_RECORD_LIFE_MAX_S, &gone));
	refused(&older, "RECORD_EPOCH");
	assert_false(id_registry_expire(reg, NOW + DAY + ID_RECORD_LIFE_MAX_S + 1, &gone));
	admitted(&older, ID_ADMIT_NEW);
}

static struct id_seen seen_of(const struct id_node *node)
{
	struct id_seen seen = { .epoch = node->record.epoch, .until = id_record_seen_until(&node->record) };

	memcpy(seen.instance_id, node->record.instance_id, sizeof(seen.instance_id));
	memcpy(seen.digest, node->digest, sizeof(seen.digest));
	return seen;
}

/* As after a restart: the registry is new, the node that it is about has ended or not come yet. */
static void what_another_registry_knew_counts(void **state)
{
	struct id_node a = node_of(1, 7), older = node_of(1, 6), other = a, newer = node_of(1, 8);
	struct id_seen seen = seen_of(&a), before = seen_of(&older);

	(void)state;
	other.digest[31] ^= 1;
	assert_int_equal(id_registry_remember(reg, &seen), 0);
	assert_int_equal(id_registry_remember(reg, &before), 0); /* says less */
	assert_int_equal(id_registry_count(reg), 0);
	refused(&older, "RECORD_EPOCH");
	refused(&other, "RECORD_EPOCH");
	admitted(&a, ID_ADMIT_NEW);
	admitted(&newer, ID_ADMIT_UPDATED);
	assert_int_equal(id_registry_remember(reg, &seen), 0);
	refused(&a, "RECORD_EPOCH");
}

static void a_revocation_taken_back_brings_nothing_older(void **state)
{
	struct id_node a = node_of(1, 7), older = node_of(1, 6);
	struct id_seen seen = seen_of(&a);

	(void)state;
	assert_int_equal(id_registry_revoke(reg, seen.instance_id, true), 0);
	assert_int_equal(id_registry_remember(reg, &seen), 0);
	refused(&a, "RECORD_REVOKED");
	assert_int_equal(id_registry_revoke(reg, seen.instance_id, false), 0);
	refused(&older, "RECORD_EPOCH");
	admitted(&a, ID_ADMIT_NEW);
}

static void who_was_seen_and_forgotten_is_not_taken(void **state)
{
	struct id_node a = node_of(1, (UINT64_C(1) << 53) - 1), gone;
	struct id_seen lost = seen_of(&a);

	(void)state;
	lost.epoch = ID_EPOCH_LOST;
	assert_int_equal(id_registry_remember(reg, &lost), 0);
	refused(&a, "RECORD_EPOCH");
	assert_false(id_registry_expire(reg, lost.until, &gone));
	refused(&a, "RECORD_EPOCH");
	assert_false(id_registry_expire(reg, lost.until + 1, &gone));
	admitted(&a, ID_ADMIT_NEW);
}

/* Four live and four gone (start()) may have been known before; with all of them, nobody new has a place. */
static void what_is_remembered_is_bounded(void **state)
{
	struct id_node node, newcomer = node_of(9, 1);
	enum id_admit what;
	struct err e = ERR_INIT;
	struct id_seen seen;

	(void)state;
	for (uint32_t n = 1; n <= 8; n++) {
		node = node_of(n, 1);
		seen = seen_of(&node);
		assert_int_equal(id_registry_remember(reg, &seen), 0);
		assert_int_equal(id_registry_remember(reg, &seen), 0);
	}
	seen = seen_of(&newcomer);
	assert_int_equal(id_registry_remember(reg, &seen), -ENOSPC);
	assert_int_equal(id_registry_admit(reg, &newcomer, &what, &e), -ENOSPC);
	for (uint32_t n = 1; n <= 4; n++) {
		node = node_of(n, 1);
		admitted(&node, ID_ADMIT_NEW);
	}
	assert_int_equal(id_registry_remember(reg, &seen), -ENOSPC);
}

static void record_address(void **state)
{
	struct id_node a = node_of(1, 1), thief = node_of(2, 1), outside = node_of(3, 1), second = node_of(4, 1);

	(void)state;
	admitted(&a, ID_ADMIT_NEW);
	thief.record.addrs[0] = a.record.addrs[0];
	refused(&thief, "RECORD_ADDRESS");
	assert_true(addr_parse(&outside.record.addrs[0], "10.0.0.1"));
	refused(&outside, "RECORD_ADDRESS");
	assert_true(addr_parse(&outside.record.addrs[0], "2001:db8::1"));
	refused(&outside, "RECORD_ADDRESS");
	second.record.addrs[1] = a.record.addrs[0]; /* behind one of its own */
	second.record.n_addrs = 2;
	refused(&second, "RECORD_ADDRESS");
	second.record.n_addrs = 1;
	admitted(&second, ID_ADMIT_NEW); /* nothing of the refused one stayed behind */
}

static void record_key(void **state)
{
	struct id_node a = node_of(1, 1), thief = node_of(2, 1);

	(void)state;
	admitted(&a, ID_ADMIT_NEW);
	memcpy(thief.record.wg_key, a.record.wg_key, sizeof(a.record.wg_key));
	refused(&thief, "RECORD_KEY");
}

/* While a key is rotated both are the node's own, and then the new one alone. */
static void record_detour_key(void **state)
{
	struct id_node a = node_of(1, 1), thief = node_of(2, 1), heir = node_of(3, 1);
	uint8_t former[ID_WG_KEY_LEN];

	(void)state;
	memcpy(former, a.record.wg_key, sizeof(former));
	admitted(&a, ID_ADMIT_NEW);
	thief.record.has_detour = true; /* a peer on the second device with another's key would take its place */
	memcpy(thief.record.detour_key, former, sizeof(former));
	refused(&thief, "RECORD_KEY");
	a = node_of(1, 2); /* leave */
	a.record.has_detour = true;
	memcpy(a.record.detour_key, former, sizeof(former));
	admitted(&a, ID_ADMIT_UPDATED);
	a = node_of(1, 3); /* come back */
	a.record.has_detour = true;
	memcpy(a.record.detour_key, former, sizeof(former));
	a.record.wg_key[31] ^= 1;
	admitted(&a, ID_ADMIT_UPDATED);
	refused(&thief, "RECORD_KEY");
	memcpy(thief.record.detour_key, thief.record.wg_key, sizeof(former));
	memcpy(thief.record.wg_key, former, sizeof(former));
	refused(&thief, "RECORD_KEY");
	memcpy(thief.record.detour_key, a.record.wg_key, sizeof(former));
	memcpy(thief.record.wg_key, heir.record.wg_key, sizeof(former));
	refused(&thief, "RECORD_KEY");
	a = node_of(1, 4); /* done */
	a.record.wg_key[31] ^= 1;
	admitted(&a, ID_ADMIT_UPDATED);
	memcpy(heir.record.wg_key, former, sizeof(former));
	admitted(&heir, ID_ADMIT_NEW);
	a = node_of(1, 3); /* the former key, played back */
	a.record.has_detour = true;
	memcpy(a.record.detour_key, former, sizeof(former));
	refused(&a, "RECORD_EPOCH");
}

static void record_identity(void **state)
{
	struct id_node a = node_of(1, 1);

	(void)state;
	a.claims.has_instance_id = false;
	refused(&a, "RECORD_IDENTITY");
}

static void an_update_frees_what_it_gives_up(void **state)
{
	struct id_node a = node_of(1, 1), b = node_of(2, 1);

	(void)state;
	a.record.n_addrs = 2;
	assert_true(addr_parse(&a.record.addrs[1], "fd00::1"));
	admitted(&a, ID_ADMIT_NEW);
	b.record.addrs[0] = a.record.addrs[1];
	refused(&b, "RECORD_ADDRESS");
	a = node_of(1, 2);
	a.record.wg_key[31] ^= 1;
	admitted(&a, ID_ADMIT_UPDATED);
	admitted(&b, ID_ADMIT_NEW);
	b = node_of(2, 2);
	memcpy(b.record.wg_key, node_of(1, 1).record.wg_key, sizeof(b.record.wg_key)); /* the key that a gave up */
	admitted(&b, ID_ADMIT_UPDATED);
	refused(&(struct id_node){ .claims.has_instance_id = true, .record = node_of(1, 1).record }, "RECORD_EPOCH");
}

static void a_refused_update_keeps_the_old_record(void **state)
{
	struct id_node a = node_of(1, 1), b = node_of(2, 1), bad = node_of(1, 9);

	(void)state;
	admitted(&a, ID_ADMIT_NEW);
	admitted(&b, ID_ADMIT_NEW);
	bad.record.addrs[0] = b.record.addrs[0];
	refused(&bad, "RECORD_ADDRESS");
	a = node_of(1, 2);
	admitted(&a, ID_ADMIT_UPDATED); /* epoch 9 was not remembered */
}

static void bounds_hold(void **state)
{
	struct id_registry_conf none = { .max_nodes = 0 };
	struct id_registry *unmade = NULL;
	struct id_node a, gone;
	enum id_admit what;
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(id_registry_new(&none, &unmade, &e), -EINVAL);
	assert_null(unmade);
	for (uint32_t i = 1; i <= 4; i++) {
		a = node_of(i, 1);
		admitted(&a, ID_ADMIT_NEW);
	}
	a = node_of(5, 1);
	e = ERR_INIT;
	assert_int_equal(id_registry_admit(reg, &a, &what, &e), -ENOSPC);
	a = node_of(4, 2);
	admitted(&a, ID_ADMIT_UPDATED);
	/* four instances come, go and are remembered: a fifth has to wait until they are forgotten */
	while (id_registry_expire(reg, NOW + 2 * DAY, &gone))
		;
	assert_int_equal(id_registry_count(reg), 0);
	a = node_of(5, 1);
	e = ERR_INIT;
	assert_int_equal(id_registry_admit(reg, &a, &what, &e), -ENOSPC);
	a = node_of(1, 2);
	admitted(&a, ID_ADMIT_NEW);
	assert_false(id_registry_expire(reg, NOW + DAY, &gone));
	assert_int_equal(id_registry_remove(reg, a.record.instance_id), 0);
	assert_false(id_registry_expire(reg, NOW + 40 * DAY, &gone));
	a = node_of(5, 1);
	admitted(&a, ID_ADMIT_NEW);
}

static void expiry_hands_out_each_node_once(void **state)
{
	struct id_node a, gone;
	unsigned seen = 0;

	(void)state;
	for (uint32_t i = 1; i <= 4; i++) {
		a = node_of(i, 1);
		if (i == 2)
			a.record.not_after = NOW + 3 * DAY;
		if (i == 3)
			a.claims.not_after = NOW + 3; /* the certificate ends first */
		admitted(&a, ID_ADMIT_NEW);
	}
	assert_true(id_registry_expire(reg, NOW + 4, &gone));
	assert_string_equal(gone.record.node, "node-3");
	assert_false(id_registry_expire(reg, NOW + 4, &gone));
	while (id_registry_expire(reg, NOW + 2 * DAY, &gone))
		seen |= 1u << gone.record.instance_id[0];
	assert_int_equal(seen, 1 << 1 | 1 << 4);
	assert_int_equal(id_registry_count(reg), 1);
	assert_string_equal(id_registry_at(reg, 0)->record.node, "node-2");
}

/* Against a plain model: random admits, removals and expiries; what holds must hold after each. */
static void random_steps_agree_with_a_model(void **state)
{
	uint64_t epochs[8] = { 0 };
	bool is_live[8] = { 0 };
	uint64_t seed = 42;

	(void)state;
	stop(NULL);
	assert_int_equal(with_nodes(8), 0);
	for (int step = 0; step < 20000; step++) {
		uint32_t n, owner;
		struct id_node a;
		enum id_admit what;
		struct err e = ERR_INIT;
		size_t live = 0;

		seed = seed * 6364136223846793005u + 1442695040888963407u;
		n = (uint32_t)(seed >> 33) % 8;
		owner = (uint32_t)(seed >> 40) % 8;
		a = node_of(n, epochs[n] + (seed >> 50) % 3);
		if (seed >> 62 == 0) {
			assert_int_equal(id_registry_remove(reg, a.record.instance_id), is_live[n] ? 0 : -ENOENT);
			is_live[n] = false;
		} else if (seed >> 62 == 1) { /* somebody's address: good only if it is one's own or free */
			a.record.addrs[0] = node_of(owner, 0).record.addrs[0];
			a.record.epoch = epochs[n] + 1;
			if (owner != n && is_live[owner])
				assert_int_equal(id_registry_admit(reg, &a, &what, &e), -EBADMSG);
		} else {
			bool good = a.record.epoch > 0;

			if (good && id_registry_admit(reg, &a, &what, &e) == 0) {
				is_live[n] = true;
				epochs[n] = a.record.epoch;
			}
		}
		for (uint32_t i = 0; i < 8; i++) {
			struct id_node of = node_of(i, 1);
			const struct id_node *found = id_registry_find(reg, of.record.instance_id);

			live += is_live[i];
			assert_int_equal(found != NULL, is_live[i]);
			if (found) {
				assert_int_equal(found->record.epoch, epochs[i]);
				assert_ptr_equal(id_registry_find_addr(reg, &found->record.addrs[0]), found);
				assert_ptr_equal(id_registry_find_key(reg, found->record.wg_key), found);
			}
		}
		assert_int_equal(id_registry_count(reg), live);
	}
}

static void sixty_four_thousand_nodes(void **state)
{
	const uint32_t n = 65536;
	struct timespec t[2];
	struct id_node gone;

	(void)state;
	stop(NULL);
	assert_int_equal(with_nodes(n), 0);
	clock_gettime(CLOCK_MONOTONIC, &t[0]);
	for (uint32_t i = 0; i < n; i++) {
		struct id_node a = node_of(i, 1);

		admitted(&a, ID_ADMIT_NEW);
	}
	for (uint32_t i = 0; i < n; i++)
		assert_true(id_registry_expire(reg, NOW + 2 * DAY, &gone));
	assert_false(id_registry_expire(reg, NOW + 2 * DAY, &gone));
	assert_false(id_registry_expire(reg, NOW + 99 * DAY, &gone));
	clock_gettime(CLOCK_MONOTONIC, &t[1]);
	print_message("# %u nodes came and went, %.2f us each\n", n,
		      ((double)(t[1].tv_sec - t[0].tv_sec) * 1e6 + (double)(t[1].tv_nsec - t[0].tv_nsec) / 1e3) / n);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(admits_updates_and_repeats, start, stop),
		cmocka_unit_test_setup_teardown(another_tcb_status_is_taken, start, stop),
		cmocka_unit_test_setup_teardown(finds_who_has_something, start, stop),
		cmocka_unit_test_setup_teardown(record_epoch, start, stop),
		cmocka_unit_test_setup_teardown(record_name, start, stop),
		cmocka_unit_test_setup_teardown(record_revoked, start, stop),
		cmocka_unit_test_setup_teardown(record_epoch_survives_removal_and_expiry, start, stop),
		cmocka_unit_test_setup_teardown(what_another_registry_knew_counts, start, stop),
		cmocka_unit_test_setup_teardown(a_revocation_taken_back_brings_nothing_older, start, stop),
		cmocka_unit_test_setup_teardown(who_was_seen_and_forgotten_is_not_taken, start, stop),
		cmocka_unit_test_setup_teardown(what_is_remembered_is_bounded, start, stop),
		cmocka_unit_test_setup_teardown(record_address, start, stop),
		cmocka_unit_test_setup_teardown(record_key, start, stop),
		cmocka_unit_test_setup_teardown(record_detour_key, start, stop),
		cmocka_unit_test_setup_teardown(record_identity, start, stop),
		cmocka_unit_test_setup_teardown(an_update_frees_what_it_gives_up, start, stop),
		cmocka_unit_test_setup_teardown(a_refused_update_keeps_the_old_record, start, stop),
		cmocka_unit_test_setup_teardown(bounds_hold, start, stop),
		cmocka_unit_test_setup_teardown(expiry_hands_out_each_node_once, start, stop),
		cmocka_unit_test_setup_teardown(random_steps_agree_with_a_model, start, stop),
		cmocka_unit_test_setup_teardown(sixty_four_thousand_nodes, start, stop),
	};

	return cmocka_run_group_tests_name("identity/registry", tests, NULL, NULL);
}
