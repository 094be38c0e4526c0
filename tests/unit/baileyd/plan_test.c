// SPDX-License-Identifier: Apache-2.0
/*
 * What net is told, with the test at the other end of its channel. A commit gives each identity the class that the
 * image has for it, and denies the flows of those that it has none for: so an image that is handed over must have all.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#include "baileyd/parent.h"
#include "policy/compile.h"

static const char policy[] = "version: 1\n"
			     "apps:\n"
			     "  web: { app-id: 1111111111111111111111111111111111111111 }\n"
			     "  db: { app-id: 2222222222222222222222222222222222222222 }\n"
			     "rules:\n"
			     "  - { name: r, from: web, to: db, allow: [tcp/5432] }\n";

struct world {
	struct parent *p;
	struct ipc *net;
	struct pol_image *image; /* the last that came */
	unsigned n_images, n_nodes;
};

static void net_takes(struct ipc_msg *msg, void *arg)
{
	struct world *w = arg;
	size_t len;

	w->n_nodes += msg->type == MSG_NET_NODE_SET;
	if (msg->type != MSG_NET_POLICY)
		return;
	free(w->image);
	assert_int_equal(ipc_blob_read(msg->fd, 1 << 20, (uint8_t **)(void *)&w->image, &len), 0);
	w->n_images++;
}

static void parent_takes(struct ipc_msg *msg, void *arg)
{
	(void)msg, (void)arg;
}

static void nobody_left(void *arg)
{
	(void)arg;
}

static int set_up(void **state)
{
	struct world *w = calloc(1, sizeof(*w));
	struct parent *p = w->p = calloc(1, sizeof(*p));
	struct diags d = { 0 };
	int fds[2];

	snprintf(p->conf.state, sizeof(p->conf.state), "/tmp/bailey-plan-XXXXXX");
	assert_non_null(mkdtemp(p->conf.state));
	p->base = event_base_new();
	assert_int_equal(ipc_pair(fds), 0);
	assert_int_equal(ipc_new(p->base, fds[0], parent_takes, nobody_left, w, &p->net.ipc), 0);
	assert_int_equal(ipc_new(p->base, fds[1], net_takes, nobody_left, w, &w->net), 0);
	assert_int_equal(pol_parse("p.yaml", policy, strlen(policy), &p->model, &d), 0);
	diags_fini(&d);
	memset(p->self.app_id, 0x22, sizeof(p->self.app_id));
	p->self.tee = ID_TEE_SIM;
	p->n_targets = 1;
	p->is_loaded = true;
	*state = w;
	return 0;
}

static int tear_down(void **state)
{
	struct world *w = *state;
	char cmd[PATH_MAX + 16];

	snprintf(cmd, sizeof(cmd), "rm -rf '%s'", w->p->conf.state);
	assert_int_equal(system(cmd), 0);
	nodes_fini(w->p);
	pol_free(w->p->model);
	free(w->p->targets[0].image);
	ipc_free(w->net);
	ipc_free(w->p->net.ipc);
	event_base_free(w->p->base);
	free(w->image);
	free(w->p);
	free(w);
	return 0;
}

static void spin(struct world *w)
{
	for (int i = 0; i < 20; i++)
		event_base_loop(w->p->base, EVLOOP_NONBLOCK);
}

static void web_joins(struct world *w)
{
	struct msg_node m = { 0 };

	m.node.claims.tee = ID_TEE_SIM;
	memset(m.node.claims.app_id, 0x11, sizeof(m.node.claims.app_id));
	memset(m.node.claims.instance_id, 7, sizeof(m.node.claims.instance_id));
	memcpy(m.node.record.instance_id, m.node.claims.instance_id, sizeof(m.node.record.instance_id));
	m.node.record.not_after = m.node.claims.not_after = (int64_t)time(NULL) + 3600;
	m.node.record.n_addrs = 1;
	m.node.record.addrs[0].b[15] = 9;
	strcpy(m.node.record.node, "web");
	assert_int_equal(node_upsert(w->p, &m, (const uint8_t *)"x", 1), 0);
}

static void a_newcomer_needs_no_new_image(void **state)
{
	struct world *w = *state;

	plan_send_all(w->p);
	web_joins(w);
	spin(w);
	assert_int_equal(w->n_images, 1);
	assert_int_equal(w->n_nodes, 2); /* itself, and web */
}

/* net was started anew, adopts what the one before left, and commits: the flows of web go on. */
static void the_image_of_a_new_net_has_those_that_joined(void **state)
{
	struct world *w = *state;

	plan_send_all(w->p);
	web_joins(w);
	spin(w);
	assert_int_equal(w->image->n_members, 0);
	plan_send_all(w->p);
	spin(w);
	assert_int_equal(w->n_images, 2);
	assert_int_equal(w->image->n_members, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_newcomer_needs_no_new_image, set_up, tear_down),
		cmocka_unit_test_setup_teardown(the_image_of_a_new_net_has_those_that_joined, set_up, tear_down),
	};

	return cmocka_run_group_tests_name("baileyd/plan", tests, NULL, NULL);
}
