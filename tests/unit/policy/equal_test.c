// SPDX-License-Identifier: Apache-2.0
/*
 * Three answers to one question, over random policies: the images of both ends, explain, and an evaluator that reads
 * the words of the policy rule by rule. The packet passes when the sender's image lets it out and the receiver's
 * lets it in.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "policy/policy.h"
#include "world.h"

#define WORLDS  400
#define NODES   6  /* of each world that enforce it */
#define PACKETS 64 /* of each world */

struct images {
	struct world w;
	struct node node[NODES];
	struct pol_image *img[NODES];
};

static unsigned n_allowed, n_denied, n_default, n_audited; /* all ends of the ladder must be met */

static void compile_all(struct images *w)
{
	struct err e = ERR_INIT;

	for (unsigned i = 0; i < NODES; i++) {
		struct pol_subject self;

		w->node[i] = node_of(roll(ALL_NODES));
		self = subject(w->node[i]);
		assert_int_equal(pol_compile(w->w.model, &self, NULL, 0, &w->img[i], &e), 0);
		assert_int_equal(pol_image_check(w->img[i], w->img[i]->size, &e), 0);
	}
}

static struct by_verdict ask_image(const struct images *w, unsigned self, unsigned peer, enum by_dir dir,
				   uint32_t selector)
{
	struct pol_subject s = subject(w->node[peer]);
	uint32_t peer_class;

	assert_int_equal(pol_classify(w->w.model, w->img[self], &s, &peer_class), 0);
	return pol_image_lookup(w->img[self], dir, peer_class, selector);
}

static void same_verdict(const struct pol_image *img, struct by_verdict v, const struct decision *wanted)
{
	char name[16];

	assert_int_equal(v.action == BY_ALLOW, wanted->is_allowed);
	assert_int_equal(!v.rule, !wanted->rule);
	assert_int_equal(!v.audit, !wanted->audit);
	snprintf(name, sizeof(name), "rule-%u", wanted->rule);
	if (v.rule)
		assert_string_equal(pol_image_rules(img)[v.rule - 1].name, name);
	snprintf(name, sizeof(name), "rule-%u", wanted->audit);
	if (v.audit)
		assert_string_equal(pol_image_rules(img)[v.audit - 1].name, name);
	assert_int_equal(v.flags, v.rule ? pol_image_rules(img)[v.rule - 1].flags : 0);
}

static void same_answer(const struct pol_answer *answer, const struct decision *wanted)
{
	char rule[16] = "default", audit[16] = "none";

	if (wanted->rule)
		snprintf(rule, sizeof(rule), "rule-%u", wanted->rule);
	if (wanted->audit)
		snprintf(audit, sizeof(audit), "rule-%u", wanted->audit);
	assert_int_equal(answer->action == BY_ALLOW, wanted->is_allowed);
	assert_string_equal(answer->rule ? answer->rule : "default", rule);
	assert_string_equal(answer->audit.name ? answer->audit.name : "none", audit);
}

static void check_packet(const struct images *w, unsigned from, unsigned to, uint32_t selector)
{
	struct decision wanted = naive(&w->w, &w->node[from], &w->node[to], selector);
	struct pol_subject f = subject(w->node[from]), t = subject(w->node[to]);
	struct pol_answer answer;

	same_verdict(w->img[from], ask_image(w, from, to, BY_DIR_OUT, selector), &wanted);
	same_verdict(w->img[to], ask_image(w, to, from, BY_DIR_IN, selector), &wanted);
	pol_explain_nodes(w->w.model, &f, &t, selector, &answer);
	same_answer(&answer, &wanted);
	n_allowed += wanted.is_allowed;
	n_denied += wanted.rule && !wanted.is_allowed;
	n_default += !wanted.rule;
	n_audited += wanted.audit != 0;
}

static void images_explain_and_words_agree(void **state)
{
	(void)state;
	for (unsigned i = 0; i < WORLDS; i++) {
		struct images w = { 0 };
		auto_free char *text = write_world(&w.w);
		struct diags d = { 0 };

		if (pol_parse("w.yaml", text, strlen(text), &w.w.model, &d) < 0)
			fail_msg("%s: %s", d.item[0].msg, text);
		compile_all(&w);
		for (unsigned p = 0; p < PACKETS; p++)
			check_packet(&w, roll(NODES), roll(NODES), roll_selector());
		for (unsigned n = 0; n < NODES; n++)
			free(w.img[n]);
		pol_free(w.w.model);
		diags_fini(&d);
	}
	print_message("# %u allowed, %u denied by a rule, %u by default, %u that an audit rule would drop\n", n_allowed,
		      n_denied, n_default, n_audited);
	assert_true(n_allowed > 1000 && n_denied > 1000 && n_default > 1000 && n_audited > 1000);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(images_explain_and_words_agree) };

	return cmocka_run_group_tests_name("policy/equal", tests, NULL, NULL);
}
