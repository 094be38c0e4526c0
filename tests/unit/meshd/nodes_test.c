// SPDX-License-Identifier: Apache-2.0
/* Of what was dialled on the overlay: whether the node is there still, by what baileyd says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/addr.h"
#include "base/text.h"
#include "meshd/worker.h"

static struct md_node nodes[3];
static struct md_worker_state *w;

static void node_set(struct md_node *n, uint8_t app, uint8_t instance, const char *v4, const char *v6)
{
	*n = (struct md_node){ .n_addrs = 2 };
	memset(n->app, app, sizeof(n->app));
	memset(n->instance, instance, sizeof(n->instance));
	assert_true(addr_parse(&n->addr[0], v4) && addr_parse(&n->addr[1], v6));
}

/* Two instances of app 1, one of app 2. */
static int start(void **state)
{
	(void)state;
	w = calloc(1, sizeof(*w));
	node_set(&nodes[0], 1, 0x11, "100.64.0.1", "fd00::1");
	node_set(&nodes[1], 1, 0x12, "100.64.0.2", "fd00::2");
	node_set(&nodes[2], 2, 0x21, "100.64.0.3", "fd00::3");
	w->nodes = nodes;
	w->n_nodes = 3;
	w->has_nodes = true;
	return w ? 0 : -1;
}

static int stop(void **state)
{
	(void)state;
	free(w);
	return 0;
}

static struct md_want dialled(uint8_t app, uint8_t instance, const char *at)
{
	struct md_want want = { .way = MD_WAY_MTLS, .on_overlay = true };
	uint8_t id[BY_APP_ID_LEN];

	memset(id, app, sizeof(id));
	hex_print(want.app, id, sizeof(id));
	memset(id, instance, sizeof(id));
	if (instance)
		hex_print(want.instance, id, sizeof(id));
	strcpy(want.host, at);
	return want;
}

static bool is_gone(uint8_t app, uint8_t instance, const char *at)
{
	const struct md_want want = dialled(app, instance, at);

	return md_node_is_gone(w, &want);
}

static void who_is_there_is_not_gone(void **state)
{
	struct md_want elsewhere = dialled(1, 0, "192.0.2.1");

	(void)state;
	assert_false(is_gone(1, 0, "100.64.0.1"));
	assert_false(is_gone(1, 0x11, "100.64.0.1"));
	assert_false(is_gone(1, 0x12, "fd00::2"));
	elsewhere.on_overlay = false;
	assert_false(md_node_is_gone(w, &elsewhere));
}

static void another_of_its_app_is_not_it(void **state)
{
	(void)state;
	w->nodes = &nodes[1];
	w->n_nodes = 2;
	assert_true(is_gone(1, 0, "100.64.0.1"));
	assert_true(is_gone(1, 0x11, "100.64.0.1"));
	assert_false(is_gone(1, 0, "100.64.0.2"));
}

/* Somebody else has its address now. */
static void nor_is_who_has_its_address(void **state)
{
	(void)state;
	assert_true(is_gone(2, 0, "100.64.0.1"));
	assert_true(is_gone(1, 0x12, "100.64.0.1"));
	assert_true(is_gone(3, 0, "100.64.0.3"));
}

static void before_baileyd_has_said_anything_nobody_is(void **state)
{
	(void)state;
	w->has_nodes = false;
	w->n_nodes = 0;
	assert_false(is_gone(1, 0, "100.64.0.1"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, start, stop)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(who_is_there_is_not_gone),
		TEST(another_of_its_app_is_not_it),
		TEST(nor_is_who_has_its_address),
		TEST(before_baileyd_has_said_anything_nobody_is),
	};

	return cmocka_run_group_tests_name("meshd, nodes", tests, NULL, NULL);
}
