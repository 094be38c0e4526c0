// SPDX-License-Identifier: Apache-2.0
/*
 * kill -9 of the loading process at every step of open, stage, flip, attach, identity and destroy (tests/lib/death.h).
 * After each death the programs that are pinned and those that a device runs are asked with packets: the old policy or
 * the new one, whole. Then the next process opens what is there: same answer, commits work, nothing is left over.
 *
 * CRASH_STEPS steps of each deed are tried, evenly spread (default 16); 0: every one (make check-crash).
 */
#include <errno.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include "../lib/death.h"
#include "../lib/site.h"
#include "datapath/internal.h"

/* Everything in namespaces of the test's own: they end with it, whatever happens. */
static int own_namespaces(void **state)
{
	(void)state;
	return unshare(CLONE_NEWNET | CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	       system("ip link add va type veth peer name vb && ip link set va up && ip link set vb up") != 0;
}

static int bare(void **state)
{
	struct site *s = calloc(1, sizeof(*s));

	assert_non_null(s);
	s->attach = site_attach;
	s->dev = if_nametoindex("va");
	s->dev2 = if_nametoindex("vb");
	snprintf(s->bpffs, sizeof(s->bpffs), "/tmp/bailey-crash-XXXXXX");
	assert_non_null(mkdtemp(s->bpffs));
	assert_int_equal(mount("bpf", s->bpffs, "bpf", 0, NULL), 0);
	*state = s;
	return 0;
}

static int running(void **state)
{
	struct site *s;

	bare(state);
	s = *state;
	assert_int_equal(site_open(s), 0);
	assert_int_equal(site_join_all(s, s->is_rotated), 0);
	assert_int_equal(pair_commit(s->dp, s->is_rotated, s->residue), 0);
	return 0;
}

static int gone(void **state)
{
	struct site *s = *state;

	site_destroy(s);
	assert_int_equal(umount(s->bpffs), 0);
	assert_int_equal(rmdir(s->bpffs), 0);
	free(s);
	return 0;
}

/* --- deeds: run in the child, so they assert nothing --- */

static int commit_next(void *arg)
{
	struct site *s = arg;

	return pair_commit(s->dp, !s->is_rotated, (s->residue + 1) % 4);
}

static int start_first(void *arg)
{
	struct site *s = arg;
	int ret = site_open(s);

	if (!ret)
		ret = site_join_all(s, s->is_rotated);
	if (!ret)
		ret = pair_commit(s->dp, s->is_rotated, s->residue);
	return ret ? ret : s->attach(s->dp, s->dev);
}

static int start_again(void *arg)
{
	struct site *s = arg;
	int ret = site_open(s);

	if (!ret)
		ret = commit_next(s);
	if (!ret)
		ret = site_join_all(s, !s->is_rotated);
	return ret ? ret : s->attach(s->dp, s->dev);
}

static int attach_dev2(void *arg)
{
	struct site *s = arg;

	return s->attach(s->dp, s->dev2);
}

/* DB has proved something else: no rule is about it any more. */
static int revoke_db(void *arg)
{
	struct dp_identity id = world_node(DB, 0);
	struct site *s = arg;
	struct err e = ERR_INIT;

	return dp_identity_set(s->dp, &id, NULL, &e);
}

static int remove_db(void *arg)
{
	struct dp_identity id = world_node(DB, 0);
	struct site *s = arg;
	struct err e = ERR_INIT;

	return dp_identity_remove(s->dp, id.instance_id, &e);
}

static int go_away(void *arg)
{
	struct site *s = arg;
	struct err e = ERR_INIT;

	return dp_destroy(s->bpffs, SITE_INSTANCE, s->dev, &e);
}

/* --- which steps --- */

struct steps {
	unsigned n, stride, at, died;
};

/* The first and the last few steps always: there the switch is thrown. */
static bool next_step(struct steps *t)
{
	t->at += t->at < 2 || t->at + 6 >= t->n ? 1 : t->stride;
	return t->at < t->n;
}

static struct steps steps_of(deed_fn deed, struct site *s)
{
	const char *text = getenv("CRASH_STEPS");
	unsigned want = text ? (unsigned)strtoul(text, NULL, 10) : 16;
	struct steps t = { .n = death_steps(deed, s) };

	t.stride = want && t.n > want ? t.n / want : 1;
	return t;
}

static void told(const char *what, const struct steps *t)
{
	assert_true(t->died > 0);
	printf("# %s: died at %u of %u steps\n", what, t->died, t->n);
}

/* --- tests --- */

/* Can they fail? Each mixture of ports, verdicts and members of the two policies answers like neither. */
static void a_mixture_would_show(void **state)
{
	struct img *a = img_new(), *b = img_new();
	const struct pol_image *of[] = { pair_image(a, false, 0), pair_image(b, true, 1) };

	(void)state;
	for (int i = 0; i < 8; i++) {
		struct pair_answer got = pair_mixture(of[i & 1], of[i >> 1 & 1], of[i >> 2 & 1]);

		assert_int_equal(pair_same(got, pair_expect(0)), i == 0);
		assert_int_equal(pair_same(got, pair_expect(1)), i == 7);
	}
	img_free(a);
	img_free(b);
}

/* The policy that decides is the old one, or the next; notes which. */
static void old_or_next(struct site *s, struct pair_answer got)
{
	unsigned next = (s->residue + 1) % 4;

	if (pair_same(got, pair_expect(next))) {
		s->residue = next;
		s->is_rotated = !s->is_rotated;
	}
	assert_answer(got, pair_expect(s->residue));
}

static void commits_work(struct site *s)
{
	s->residue = (s->residue + 1) % 4;
	s->is_rotated = !s->is_rotated;
	assert_int_equal(pair_commit(s->dp, s->is_rotated, s->residue), 0);
	assert_answer(site_answer(s), pair_expect(s->residue));
}

static void after_commit(struct site *s, const char *all, unsigned was)
{
	char now[512];

	old_or_next(s, site_answer(s));
	assert_int_equal(site_flow(s, was, F_ACK), s->residue == was);
	site_reopen(s);
	assert_answer(site_answer(s), pair_expect(s->residue));
	site_pins(s, now, sizeof(now));
	assert_string_equal(now, all);
	commits_work(s);
}

static void commit_is_whole_at_each_step(void **state)
{
	struct site *s = *state;
	const char *call;
	struct steps t;
	char all[512];

	site_pins(s, all, sizeof(all));
	commits_work(s); /* both slots are full: a commit purges */
	t = steps_of(commit_next, s);
	old_or_next(s, site_answer(s));
	for (t.at = 0; t.at < t.n; next_step(&t)) {
		unsigned was = s->residue;

		assert_true(site_flow(s, was, F_SYN));
		t.died += death_at(commit_next, s, t.at, &call);
		after_commit(s, all, was);
	}
	told("commit", &t);
}

/* Not between calls but anywhere, as the kernel's own clock has it. */
static void commit_is_whole_at_any_moment(void **state)
{
	struct site *s = *state;
	unsigned died = 0, us = 0;
	char all[512];

	site_pins(s, all, sizeof(all));
	for (int i = 0; i < 40; i++, us = (us + 1777) % 16000) {
		unsigned was = s->residue;

		assert_true(site_flow(s, was, F_SYN));
		died += death_after(commit_next, s, us);
		after_commit(s, all, was);
	}
	printf("# commit: died at %u of 40 moments\n", died);
	assert_true(died > 0);
}

static void first_start_is_nothing_or_whole(void **state)
{
	struct site *s = *state;
	struct steps t = steps_of(start_first, s);
	const char *call;

	for (site_destroy(s), t.at = 0; t.at < t.n; next_step(&t)) {
		struct pair_answer got;

		t.died += death_at(start_first, s, t.at, &call);
		got = site_answer(s);
		if (!pair_same(got, pair_nothing()))
			assert_answer(got, pair_expect(s->residue));
		assert_int_equal(site_open(s), 0);
		assert_answer(site_answer(s), got);
		assert_int_equal(site_join_all(s, s->is_rotated), 0);
		assert_int_equal(pair_commit(s->dp, s->is_rotated, s->residue), 0);
		assert_int_equal(s->attach(s->dp, s->dev), 0);
		assert_answer(site_device_answer(s, s->dev), pair_expect(s->residue));
		site_destroy(s);
	}
	told("first start", &t);
}

/* An upgrade: the device runs the former process's programs until the new one's take their place. */
static void restart_at(struct site *s, const char *all)
{
	char now[512];

	old_or_next(s, site_device_answer(s, s->dev));
	assert_answer(site_answer(s), pair_expect(s->residue));
	site_reopen(s);
	assert_answer(site_device_answer(s, s->dev), pair_expect(s->residue));
	assert_int_equal(s->attach(s->dp, s->dev), 0);
	assert_answer(site_device_answer(s, s->dev), pair_expect(s->residue));
	site_pins(s, now, sizeof(now));
	assert_string_equal(now, all);
	commits_work(s);
	assert_answer(site_device_answer(s, s->dev), pair_expect(s->residue));
}

static void restart_is_whole(struct site *s, const char *what)
{
	const char *call;
	struct steps t;
	char all[512];

	assert_int_equal(s->attach(s->dp, s->dev), 0);
	site_pins(s, all, sizeof(all));
	t = steps_of(start_again, s);
	old_or_next(s, site_device_answer(s, s->dev));
	for (t.at = 0; t.at < t.n; next_step(&t)) {
		t.died += death_at(start_again, s, t.at, &call);
		restart_at(s, all);
	}
	told(what, &t);
}

static void restart_on_a_device_is_whole_at_each_step(void **state)
{
	restart_is_whole(*state, "restart");
}

static void restart_with_clsact_is_whole_at_each_step(void **state)
{
	struct site *s = *state;

	s->attach = attach_clsact;
	restart_is_whole(s, "restart with clsact");
}

/* A link whose pin went is taken away after a grace period. */
static void no_program_on(const struct site *s, unsigned ifindex)
{
	uint32_t id[8], n = 1;

	for (int tries = 0; n && tries < 200; tries++) {
		if (tries)
			usleep(10000);
		n = site_programs_on(s, ifindex, BY_DIR_IN, id) + site_programs_on(s, ifindex, BY_DIR_OUT, id);
	}
	assert_int_equal(n, 0);
}

/* Who goes back to the old device after all leaves nothing on the other one, and the other way round. */
static void moving_to_another_device_leaves_nothing_behind(void **state)
{
	struct site *s = *state;
	const char *call;
	struct steps t;

	if (attach_tcx(s->dp, s->dev) == -EINVAL)
		skip(); /* clsact filters go with their device */
	t = steps_of(attach_dev2, s);
	site_reopen(s);
	for (t.at = 0; t.at < 2 * t.n; t.at++) {
		unsigned to = t.at % 2 ? s->dev2 : s->dev, from = t.at % 2 ? s->dev : s->dev2;

		assert_int_equal(s->attach(s->dp, s->dev), 0);
		t.died += death_at(attach_dev2, s, t.at / 2, &call);
		site_reopen(s);
		assert_int_equal(s->attach(s->dp, to), 0);
		assert_answer(site_device_answer(s, to), pair_expect(s->residue));
		no_program_on(s, from);
		site_reopen(s); /* the kernel takes no program that it is just letting go of */
	}
	told("attach to another device", &t);
}

/* What the next daemon does: it takes the change from the start again. The flow that stood must be judged by it. */
static void a_change_cuts_flows_whoever_finishes_it(void **state)
{
	struct site *s = *state;
	struct steps t = steps_of(revoke_db, s);
	const char *call;

	for (t.at = 0; t.at < t.n; t.at++) {
		assert_int_equal(site_join(s, DB, s->is_rotated), 0);
		assert_true(site_flow(s, s->residue, F_SYN));
		t.died += death_at(revoke_db, s, t.at, &call);
		site_reopen(s);
		assert_int_equal(revoke_db(s), 0);
		assert_false(site_flow(s, s->residue, F_ACK));
	}
	told("change of a class", &t);
}

static void an_address_gives_no_flows_to_its_next_owner(void **state)
{
	struct dp_identity heir = world_node(EVE, 0), db = world_node(DB, 0);
	struct site *s = *state;
	struct steps t = steps_of(remove_db, s);
	struct err e = ERR_INIT;
	const char *call;

	heir.peer_class = pair_class(EVE, s->is_rotated);
	heir.addrs[heir.n_addrs++] = db.addrs[0];
	for (t.at = 0; t.at < t.n; t.at++) {
		assert_int_equal(site_join(s, EVE, s->is_rotated), 0);
		assert_int_equal(site_join(s, DB, s->is_rotated), 0);
		assert_true(site_flow(s, s->residue, F_SYN));
		t.died += death_at(remove_db, s, t.at, &call);
		site_reopen(s);
		remove_db(s); /* it may be gone */
		assert_int_equal(dp_identity_set(s->dp, &heir, NULL, &e), 0);
		assert_false(site_flow(s, s->residue, F_ACK));
	}
	told("removal of an identity", &t);
}

static void a_broken_off_end_is_finished_by_the_next(void **state)
{
	struct site *s = *state;
	const char *call;
	struct steps t;

	assert_int_equal(s->attach(s->dp, s->dev), 0);
	t = steps_of(go_away, s);
	for (t.at = 0; t.at < t.n; next_step(&t)) {
		assert_int_equal(start_first(s), 0);
		dp_close(s->dp);
		s->dp = NULL;
		t.died += death_at(go_away, s, t.at, &call);
		site_destroy(s);
		no_program_on(s, s->dev);
	}
	told("destroy", &t);
}

#define t(name, setup) cmocka_unit_test_setup_teardown(name, setup, gone)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_mixture_would_show),
		t(commit_is_whole_at_each_step, running),
		t(commit_is_whole_at_any_moment, running),
		t(first_start_is_nothing_or_whole, bare),
		t(restart_on_a_device_is_whole_at_each_step, running),
		t(restart_with_clsact_is_whole_at_each_step, running),
		t(moving_to_another_device_leaves_nothing_behind, running),
		t(a_change_cuts_flows_whoever_finishes_it, running),
		t(an_address_gives_no_flows_to_its_next_owner, running),
		t(a_broken_off_end_is_finished_by_the_next, running),
	};

	setvbuf(stdout, NULL, _IOLBF, 0);
	return cmocka_run_group_tests_name("crash/crash", tests, own_namespaces, NULL);
}
