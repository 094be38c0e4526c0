// SPDX-License-Identifier: Apache-2.0
/* The image crosses from the process that reads policies to the one that may load them: nothing in it is believed. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/cleanup.h"
#include "policy/policy.h"

#define ROUNDS 20000

static const char policy[] = "version: 1\n"
			     "apps:\n"
			     "  a: { app-id: 0100000000000000000000000000000000000000 }\n"
			     "  b: { app-id: 0200000000000000000000000000000000000000 }\n"
			     "rules:\n"
			     "  - { name: one, from: a, to: b, allow: [tcp/80-90, udp/53] }\n"
			     "  - { name: two, from: any-attested, to: [a, b], allow: [icmp, icmpv6] }\n"
			     "  - { name: three, from: b, to: any-attested, deny: [tcp/22] }\n";

static struct pol_image *image(void)
{
	struct pol_subject self = { .app_id = { 2 } };
	struct pol_subject peers[] = { { .app_id = { 1 }, .instance_id = { 1 } },
				       { .app_id = { 9 }, .instance_id = { 2 } } };
	struct pol_model *model = NULL;
	struct pol_image *img = NULL;
	struct diags d = { 0 };
	struct err e = ERR_INIT;

	assert_int_equal(pol_parse("p.yaml", policy, sizeof(policy) - 1, &model, &d), 0);
	assert_int_equal(pol_compile(model, &self, peers, 2, &img, &e), 0);
	pol_free(model);
	diags_fini(&d);
	return img;
}

/* What the process that loads would do with an image that passed. */
static void use(const struct pol_image *img)
{
	const struct pol_verdict *v = pol_image_verdicts(img);
	FILE *null = fopen("/dev/null", "w");

	for (size_t i = 0; i < img->n_verdicts; i++)
		assert_true(pol_image_rules(img)[v[i].verdict.rule - 1].name[0]);
	for (uint32_t s = 0; s < BY_PORT_SPACE + 2; s += 61)
		for (uint32_t c = 0; c <= img->n_peer_classes && c < 8; c++) {
			struct by_verdict got = pol_image_lookup(img, BY_DIR_IN, c, s);

			assert_true(got.rule <= img->n_rules && (got.rule || got.action == BY_DENY));
		}
	pol_image_dump(img, NULL, null);
	fclose(null);
}

static void every_truncation_is_refused(void **state)
{
	auto_free struct pol_image *img = image();
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(pol_image_check(img, img->size, &e), 0);
	for (size_t len = 0; len < img->size; len++) {
		auto_free void *part = malloc(len ? len : 1); /* of its own, so that a sanitizer sees its end */

		memcpy(part, img, len);
		assert_true(pol_image_check(part, len, NULL) < 0);
	}
}

static void trailing_bytes_are_refused(void **state)
{
	auto_free struct pol_image *img = image();
	auto_free char *longer = calloc(1, img->size + 8);
	struct err e = ERR_INIT;

	(void)state;
	memcpy(longer, img, img->size);
	assert_int_equal(pol_image_check(longer, img->size + 8, &e), -EBADMSG);
	((struct pol_image *)longer)->size += 8;
	assert_int_equal(pol_image_check(longer, img->size + 8, NULL), -EBADMSG);
}

static void unaligned_bytes_are_refused(void **state)
{
	auto_free struct pol_image *img = image();
	auto_free char *moved = malloc(img->size + 1);
	struct err e = ERR_INIT;

	(void)state;
	memcpy(moved + 1, img, img->size);
	assert_int_equal(pol_image_check(moved + 1, img->size, &e), -EINVAL);
}

static void random_corruption_is_refused_or_harmless(void **state)
{
	auto_free struct pol_image *img = image();
	auto_free uint8_t *copy = malloc(img->size);
	unsigned n_refused = 0;

	(void)state;
	srand(7);
	for (unsigned i = 0; i < ROUNDS; i++) {
		memcpy(copy, img, img->size);
		for (int n = rand() % 3; n >= 0; n--)
			copy[(size_t)rand() % img->size] = (uint8_t)(rand() % 4 ? rand() : rand() % 3);
		if (pol_image_check(copy, img->size, NULL) < 0)
			n_refused++;
		else if (i % 20 == 0)
			use((struct pol_image *)copy);
	}
	assert_true(n_refused > ROUNDS / 2);
	use(img);
}

enum change {
	MAGIC,
	ABI,
	OTHER_CLASS,
	MANY_VERDICTS,
	PORTS_OVERLAP,
	PORT_BEYOND,
	PORT_BACKWARDS,
	PORT_CLASS,
	VERDICT_DIR,
	VERDICT_PAD,
	VERDICT_PEER_ZERO,
	VERDICT_PEER_BEYOND,
	VERDICT_PORT_ZERO,
	VERDICT_RULE_ZERO,
	VERDICT_RULE_BEYOND,
	VERDICT_ACTION,
	VERDICT_TWICE,
	RULE_UNENDED,
	RULE_UNNAMED,
	RULE_CONTROL,
	RULE_HIDDEN,
	MEMBER_CLASS,
	MEMBER_ORDER,
	KIND_CLASS,
	KIND_ORDER,
	NET_OF_OVERLAY,
	OPENINGS_BEYOND,
	CHANGE_COUNT,
};

static void corrupt(struct pol_image *img, enum change change)
{
	struct pol_port_range *p = (struct pol_port_range *)pol_image_ports(img);
	struct pol_verdict *v = (struct pol_verdict *)pol_image_verdicts(img);
	struct by_rule *r = (struct by_rule *)pol_image_rules(img);
	struct pol_member *m = (struct pol_member *)pol_image_members(img);
	struct pol_kind_class *k = (struct pol_kind_class *)pol_image_kinds(img);

	switch (change) {
	case MAGIC:
		img->magic++;
		break;
	case ABI:
		img->abi++;
		break;
	case OTHER_CLASS:
		img->other_class = img->n_peer_classes + 1;
		break;
	case MANY_VERDICTS:
		img->n_verdicts = 1 << 20;
		break;
	case PORTS_OVERLAP:
		p[1].first = p[0].last;
		break;
	case PORT_BEYOND:
		p[img->n_ports - 1].last = BY_PORT_SPACE;
		break;
	case PORT_BACKWARDS:
		p[img->n_ports - 1].last = p[img->n_ports - 1].first - 1;
		break;
	case PORT_CLASS:
		p[0].port.port_class[BY_DIR_OUT] = (uint16_t)(img->n_port_classes + 1);
		break;
	case VERDICT_DIR:
		v[img->n_verdicts - 1].dir = BY_DIR_COUNT;
		break;
	case VERDICT_PAD:
		v[0].pad = 1;
		break;
	case VERDICT_PEER_ZERO:
		v[0].peer_class = 0;
		break;
	case VERDICT_PEER_BEYOND:
		v[0].peer_class = img->n_peer_classes + 1;
		break;
	case VERDICT_PORT_ZERO:
		v[0].port_class = 0;
		break;
	case VERDICT_RULE_ZERO:
		v[0].verdict.rule = 0;
		break;
	case VERDICT_RULE_BEYOND:
		v[0].verdict.rule = img->n_rules + 1;
		break;
	case VERDICT_ACTION:
		v[0].verdict.action = 2;
		break;
	case VERDICT_TWICE:
		v[1] = v[0];
		break;
	case RULE_UNENDED:
		memset(r[0].name, 'x', sizeof(r[0].name));
		break;
	case RULE_UNNAMED:
		memset(r[0].name, 0, sizeof(r[0].name));
		break;
	case RULE_CONTROL:
		r[0].where[0] = '\033';
		break;
	case RULE_HIDDEN:
		r[0].where[sizeof(r[0].where) - 2] = 'x';
		break;
	case MEMBER_CLASS:
		m[0].peer_class = 0;
		break;
	case MEMBER_ORDER:
		m[1] = m[0];
		break;
	case KIND_CLASS:
		k[0].peer_class = img->n_peer_classes + 1;
		break;
	case KIND_ORDER:
		k[1].kind = k[0].kind;
		break;
	case OPENINGS_BEYOND:
		img->n_openings = img->n_rules + 1;
		break;
	default: /* as long as before: kinds give way to networks */
		img->n_kinds -= 3;
		img->n_nets++;
	}
}

static void each_fault_is_refused(void **state)
{
	(void)state;
	for (int change = 0; change < CHANGE_COUNT; change++) {
		auto_free struct pol_image *img = image();
		uint64_t len = img->size;

		corrupt(img, (enum change)change);
		if (pol_image_check(img, len, NULL) != -EBADMSG)
			fail_msg("change %d passed", change);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_truncation_is_refused),
		cmocka_unit_test(trailing_bytes_are_refused),
		cmocka_unit_test(unaligned_bytes_are_refused),
		cmocka_unit_test(random_corruption_is_refused_or_harmless),
		cmocka_unit_test(each_fault_is_refused),
	};

	return cmocka_run_group_tests_name("policy/image", tests, NULL, NULL);
}
