// SPDX-License-Identifier: Apache-2.0
/*
 * What net is told, with the test at the other end of its channel. A commit gives each identity the class that the
 * image has for it, and denies the flows of those that it has none for: so an image that is handed over must have all.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#include "../../lib/channel.h"
#include "base/text.h"
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
	unsigned n_images, n_nodes, n_gone, n_messages;
	struct {
		bool is_peer, is_way;
		uint32_t flags, peer_class;
	} said[256]; /* last, by the first byte of the instance-id */
};

static void net_takes(struct ipc_msg *msg, void *arg)
{
	struct world *w = arg;
	size_t len;

	w->n_messages++;
	for (size_t at = 0; msg->type == MSG_NET_NODE_SET && at < msg->len; at += sizeof(struct msg_node_set)) {
		const struct msg_node_set *m = (const void *)((const uint8_t *)msg->data + at);
		unsigned n = m->identity.instance_id[0];

		w->n_nodes++;

		w->said[n].is_peer = m->is_wg_peer;
		w->said[n].is_way = m->is_way;
		w->said[n].flags = m->identity.flags;
		w->said[n].peer_class = m->identity.peer_class;
		for (unsigned i = 0; i < 256 && m->is_way;
		     i++) /* never two at once: they would have the same networks */
			assert_true(i == n || !w->said[i].is_way);
	}
	w->n_gone += msg->type == MSG_NET_NODE_DEL;
	if (msg->type == MSG_NET_NODE_DEL)
		w->said[((const struct msg_instance *)msg->data)->instance_id[0]].is_way = false;
	if (msg->type != MSG_NET_POLICY)
		return;
	free(w->image);
	assert_int_equal(ipc_blob_read(msg->fd, 1 << 20, (uint8_t **)(void *)&w->image, &len), 0);
	w->n_images++;
}

static int set_up(void **state)
{
	struct world *w = calloc(1, sizeof(*w));
	struct parent *p = w->p = calloc(1, sizeof(*p));
	struct diags d = { 0 };

	snprintf(p->conf.state, sizeof(p->conf.state), "/tmp/bailey-plan-XXXXXX");
	assert_non_null(mkdtemp(p->conf.state));
	p->base = event_base_new();
	channel_open(p->base, &p->net.ipc, &w->net, net_takes, w);
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

static void joins_proved(struct world *w, uint8_t instance, uint8_t app, enum id_tcb_status tcb)
{
	struct msg_node m = { 0 };

	m.node.claims.tee = ID_TEE_SIM;
	memset(m.node.claims.app_id, app, sizeof(m.node.claims.app_id));
	memset(m.node.claims.instance_id, instance, sizeof(m.node.claims.instance_id));
	memcpy(m.node.record.instance_id, m.node.claims.instance_id, sizeof(m.node.record.instance_id));
	m.node.record.not_after = m.node.claims.not_after = (int64_t)time(NULL) + 3600;
	m.node.record.n_addrs = 1;
	m.node.record.addrs[0].b[15] = instance;
	memset(m.node.digest, instance, sizeof(m.node.digest));
	strcpy(m.node.record.node, "web");
	m.node.claims.tcb_status = tcb;
	assert_int_equal(node_upsert(w->p, &m, (const uint8_t *)"x", 1), 0);
}

static void joins(struct world *w, uint8_t instance, uint8_t app)
{
	joins_proved(w, instance, app, ID_TCB_NONE);
}

static void web_joins(struct world *w)
{
	joins(w, 7, 0x11);
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

/* Those that are known when net starts: all of them, in few messages. */
static void nodes_go_together(void **state)
{
	struct world *w = *state;

	for (unsigned i = 1; i <= 200; i++)
		joins(w, (uint8_t)i, i == 200 ? 0x22 : 0x11);
	plan_send_all(w->p);
	spin(w);
	assert_int_equal(w->n_nodes, 201);
	assert_int_equal(w->n_messages, 5); /* policy, this node, 128 and 72 others, that these were all */
	assert_int_equal(w->said[1].peer_class, w->said[199].peer_class);
	assert_int_not_equal(w->said[1].peer_class, w->said[200].peer_class);
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

/* The class of a peer that proves this now. */
static uint32_t class_with(struct world *w, enum id_tcb_status tcb)
{
	w->said[7].peer_class = UINT32_MAX;
	joins_proved(w, 7, 0x11, tcb);
	spin(w);
	return w->said[7].peer_class;
}

/* The same record, judged by other collateral: net has the class by the new status at once, and needs no new image. */
static void a_rule_follows_the_claim(void **state)
{
	static const char text[] = "version: 1\n"
				   "apps:\n"
				   "  web: { app-id: 1111111111111111111111111111111111111111 }\n"
				   "  db: { app-id: 2222222222222222222222222222222222222222 }\n"
				   "claims:\n"
				   "  outdated: { tcb: [OutOfDate, Revoked] }\n"
				   "  current: { tcb: UpToDate }\n"
				   "rules:\n"
				   "  - { name: r, from: current, to: db, allow: [tcp/5432] }\n"
				   "  - { name: no, from: outdated, to: db, deny: [any] }\n";
	struct world *w = *state;
	struct diags d = { 0 };
	uint32_t current, outdated;

	pol_free(w->p->model);
	assert_int_equal(pol_parse("p.yaml", text, strlen(text), &w->p->model, &d), 0);
	diags_fini(&d);
	plan_send_all(w->p);
	current = class_with(w, ID_TCB_UP_TO_DATE);
	outdated = class_with(w, ID_TCB_OUT_OF_DATE);
	assert_int_not_equal(current, outdated);
	assert_int_not_equal(current, UINT32_MAX);
	assert_int_equal(class_with(w, ID_TCB_OUT_OF_DATE), UINT32_MAX); /* nothing new: net is told nothing */
	assert_int_equal(class_with(w, ID_TCB_REVOKED), outdated);
	assert_int_equal(class_with(w, ID_TCB_NONE), outdated); /* unknown is worst */
	assert_int_equal(class_with(w, ID_TCB_UP_TO_DATE), current);
	assert_int_equal(w->n_images, 1);
}

static unsigned n_stored(const struct world *w)
{
	uint8_t instance[BY_INSTANCE_ID_LEN];
	char path[PATH_MAX], hex[2 * BY_INSTANCE_ID_LEN + 1];

	memset(instance, 7, sizeof(instance));
	hex_print(hex, instance, sizeof(instance));
	snprintf(path, sizeof(path), "%.*s/records/%s.record", PATH_MAX - 64, w->p->conf.state, hex);
	return access(path, F_OK) == 0;
}

static void withdrawn(struct world *w, uint8_t digest)
{
	struct msg_withdrawn m = { .err = { .code = -EBADMSG, .reason = ID_TCB_STATUS } };

	memset(m.instance_id, 7, sizeof(m.instance_id));
	memset(m.digest, digest, sizeof(m.digest));
	node_withdraw(w->p, &m);
	spin(w);
}

/* Nobody vouches for it any more: the kernel hears it at once. Its record stays to be judged again. */
static void a_withdrawn_node_goes_and_its_record_stays(void **state)
{
	struct world *w = *state;
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%.*s/records", PATH_MAX - 64, w->p->conf.state);
	assert_int_equal(mkdir(path, 0700), 0);
	plan_send_all(w->p);
	web_joins(w);
	spin(w);
	withdrawn(w, 8); /* by a record that it is not here by */
	assert_int_equal(w->p->n_nodes, 1);
	assert_int_equal(w->n_gone, 0);
	withdrawn(w, 7);
	assert_int_equal(w->p->n_nodes, 0);
	assert_int_equal(w->n_gone, 1);
	assert_int_equal(n_stored(w), 1);
	withdrawn(w, 7);
	assert_int_equal(w->n_gone, 1);
	web_joins(w);
	spin(w);
	assert_int_equal(w->p->n_nodes, 1);
}

#define HUB_APP 0x33

static void a_spoke_has_no_peers_but_hubs(void **state)
{
	struct world *w = *state;

	w->p->conf.topology = BY_TOPOLOGY_SPOKE;
	memset(w->p->conf.hub_app, HUB_APP, sizeof(w->p->conf.hub_app));
	joins(w, 9, HUB_APP);
	joins(w, 7, 0x11);
	plan_send_all(w->p);
	spin(w);
	assert_true(w->said[9].is_peer && w->said[9].is_way && w->said[9].flags == BY_IDENT_HUB);
	assert_true(!w->said[7].is_peer && !w->said[7].is_way && !w->said[7].flags);
	joins(w, 8, 0x22);
	joins(w, 5, HUB_APP); /* the lower one, as all others choose */
	spin(w);
	assert_true(!w->said[8].is_peer && !w->said[8].is_way);
	assert_true(w->said[5].is_peer && w->said[5].is_way);
	assert_true(w->said[9].is_peer && !w->said[9].is_way && w->said[9].flags == BY_IDENT_HUB);
	node_revoke(w->p, node_find(w->p, (const uint8_t[BY_INSTANCE_ID_LEN]){ [0 ... 19] = 5 }));
	spin(w);
	assert_true(w->said[9].is_way);
	node_revoke(w->p, node_find(w->p, (const uint8_t[BY_INSTANCE_ID_LEN]){ [0 ... 19] = 9 }));
	spin(w);
	assert_null(w->p->hub);
}

static void in_a_mesh_and_at_a_hub_everybody_is_a_peer(void **state)
{
	struct world *w = *state;

	w->p->conf.topology = BY_TOPOLOGY_HUB;
	memset(w->p->conf.hub_app, HUB_APP, sizeof(w->p->conf.hub_app));
	joins(w, 9, HUB_APP);
	joins(w, 7, 0x11);
	plan_send_all(w->p);
	spin(w);
	assert_true(w->said[7].is_peer && w->said[9].is_peer);
	assert_true(!w->said[7].is_way && !w->said[9].is_way && !w->said[9].flags);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_newcomer_needs_no_new_image, set_up, tear_down),
		cmocka_unit_test_setup_teardown(nodes_go_together, set_up, tear_down),
		cmocka_unit_test_setup_teardown(the_image_of_a_new_net_has_those_that_joined, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_rule_follows_the_claim, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_withdrawn_node_goes_and_its_record_stays, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_spoke_has_no_peers_but_hubs, set_up, tear_down),
		cmocka_unit_test_setup_teardown(in_a_mesh_and_at_a_hub_everybody_is_a_peer, set_up, tear_down),
	};

	return cmocka_run_group_tests_name("baileyd/plan", tests, NULL, NULL);
}
