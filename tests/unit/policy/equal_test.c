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

#define WORLDS  250
#define PACKETS 128 /* of each world: 32,000 in all */

struct images {
	struct world w;
	struct pol_image *img[APPS + 1];
};

static unsigned n_allowed, n_denied, n_default; /* the three ends of the ladder must all be met */

static void compile_all(struct images *w)
{
	struct err e = ERR_INIT;

	for (unsigned a = 0; a <= APPS; a++) {
		struct pol_subject self = subject(a);

		assert_int_equal(pol_compile(w->w.model, &self, NULL, 0, &w->img[a], &e), 0);
		assert_int_equal(pol_image_check(w->img[a], w->img[a]->size, &e), 0);
	}
}

static struct by_verdict ask_image(const struct images *w, unsigned self, unsigned peer, enum by_dir dir,
				   uint32_t selector)
{
	struct pol_subject s = subject(peer);
	uint32_t peer_class;

	assert_int_equal(pol_classify(w->w.model, w->img[self], &s, &peer_class), 0);
	return pol_image_lookup(w->img[self], dir, peer_class, selector);
}

static const char *rule_name(const struct pol_image *img, uint32_t rule)
{
	return rule ? pol_image_rules(img)[rule - 1].name : "default";
}

static void check_packet(const struct images *w, unsigned from, unsigned to, uint32_t selector)
{
	struct by_verdict out = ask_image(w, from, to, BY_DIR_OUT, selector);
	struct by_verdict in = ask_image(w, to, from, BY_DIR_IN, selector);
	char from_name[2 * BY_APP_ID_LEN + 1], to_name[2 * BY_APP_ID_LEN + 1], wanted[16] = "default";
	struct pol_subject f = subject(from), t = subject(to);
	struct pol_answer answer;
	struct err e = ERR_INIT;
	bool is_allowed;
	unsigned rule = naive(&w->w, from, to, selector, &is_allowed);

	hex_print(from_name, f.app_id, sizeof(f.app_id));
	hex_print(to_name, t.app_id, sizeof(t.app_id));
	assert_int_equal(pol_explain(w->w.model, from_name, to_name, selector, &answer, &e), 0);
	assert_int_equal(answer.action == BY_ALLOW, is_allowed);
	assert_int_equal(out.action == BY_ALLOW && in.action == BY_ALLOW, is_allowed);
	assert_int_equal(out.action, in.action);
	n_allowed += is_allowed;
	n_denied += rule && !is_allowed;
	n_default += !rule;
	if (rule)
		snprintf(wanted, sizeof(wanted), "rule-%u", rule);
	assert_string_equal(rule_name(w->img[from], out.rule), wanted);
	assert_string_equal(rule_name(w->img[to], in.rule), wanted);
	assert_string_equal(answer.rule ? answer.rule : "default", wanted);
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
			check_packet(&w, roll(APPS + 1), roll(APPS + 1), roll_selector());
		for (unsigned a = 0; a <= APPS; a++)
			free(w.img[a]);
		pol_free(w.w.model);
		diags_fini(&d);
	}
	print_message("# %u allowed, %u denied by a rule, %u by default\n", n_allowed, n_denied, n_default);
	assert_true(n_allowed > 1000 && n_denied > 1000 && n_default > 1000);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(images_explain_and_words_agree) };

	return cmocka_run_group_tests_name("policy/equal", tests, NULL, NULL);
}
