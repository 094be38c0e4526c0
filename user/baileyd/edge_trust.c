// SPDX-License-Identifier: Apache-2.0
#include "edge_trust.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"
#include "identity/evidence_policy.h"

#define AHEAD_S (10 * 86400) /* of the end; Intel's documents are good for 30 days */
#define LOOK_S  60

struct edge_trust {
	struct ipc *parent;
	struct event *look;
	struct id_collaterals *set;
	struct id_evidence_policy *policy; /* NULL: the strict one */
};

static void want(const struct edge_trust *t, const struct id_missed *m)
{
	ipc_send(t->parent, MSG_EDGE_WANTS, m, sizeof(*m), -1);
}

/* The parent knows whom it has asked, and when. */
static void on_look(evutil_socket_t fd, short what, void *arg)
{
	const struct edge_trust *t = arg;
	int64_t soon = (int64_t)time(NULL) + AHEAD_S;

	(void)fd, (void)what;
	for (size_t i = 0; i < id_collaterals_count(t->set); i++) {
		const struct id_collateral *c = id_collaterals_at(t->set, i);
		struct id_missed m = { .is_processor_ca = id_collateral_is_processor_ca(c) };

		memcpy(m.fmspc, c->tcb.fmspc, ID_FMSPC_LEN);
		if (id_collateral_until(c) < soon && id_collaterals_pick(t->set, m.fmspc, time(NULL)) == c)
			want(t, &m);
	}
}

int edge_trust_new(struct event_base *base, struct ipc *parent, struct edge_trust **trust, struct err *e)
{
	static const struct timeval each = { .tv_sec = LOOK_S };
	struct edge_trust *t = calloc(1, sizeof(*t));

	if (!t)
		return err_at(e, -ENOMEM, "edge process", "out of memory");
	t->parent = parent;
	t->look = event_new(base, -1, EV_PERSIST, on_look, t);
	if (!t->look || event_add(t->look, &each) < 0 || id_collaterals_new(NULL, 0, &t->set, e) < 0) {
		edge_trust_free(t);
		return e->code ? e->code : err_at(e, -ENOMEM, "edge process", "out of memory");
	}
	*trust = t;
	return 0;
}

void edge_trust_free(struct edge_trust *t)
{
	if (!t)
		return;
	if (t->look)
		event_free(t->look);
	id_collaterals_free(t->set);
	free(t->policy);
	free(t);
}

void edge_trust_policy(struct edge_trust *t, const struct ipc_msg *msg)
{
	uint8_t *data;
	size_t len;

	if (ipc_blob_read(msg->fd, sizeof(*t->policy), &data, &len) < 0)
		return;
	if (len != sizeof(*t->policy)) {
		free(data);
		return;
	}
	free(t->policy);
	t->policy = (struct id_evidence_policy *)(void *)data;
}

void edge_trust_exchange(struct edge_trust *t, struct id_evidence_policy **policy)
{
	struct id_evidence_policy *was = t->policy;

	t->policy = *policy;
	*policy = was;
}

static void tell(const struct edge_trust *t)
{
	struct msg_bundles m = { .n = (uint32_t)id_collaterals_count(t->set) };

	for (size_t i = 0; i < m.n; i++) {
		int64_t until = id_collateral_until(id_collaterals_at(t->set, i));

		m.until = !i || until < m.until ? until : m.until;
	}
	ipc_send(t->parent, MSG_EDGE_BUNDLES, &m, sizeof(m), -1);
}

int edge_trust_collateral(struct edge_trust *t, const struct ipc_msg *msg, char origin[MSG_ORIGIN_LEN], struct err *e)
{
	const struct msg_origin *m = ipc_as(msg, sizeof(*m));
	auto_free uint8_t *bundle = NULL;
	size_t len;
	int ret;

	if (!m || ipc_blob_read(msg->fd, ID_BUNDLE_MAX, &bundle, &len) < 0)
		return 0; /* ours, and the parent has said that it is too long */
	snprintf(origin, MSG_ORIGIN_LEN, "%.*s", MSG_ORIGIN_LEN - 1, m->origin);
	ret = id_collaterals_add(t->set, (const char *)bundle, len, e);
	tell(t);
	on_look(-1, 0, t);
	return ret;
}

void edge_trust_fill(const struct edge_trust *t, struct id_trust *fill)
{
	fill->collaterals = t->set;
	fill->policy = t->policy;
}

void edge_trust_refused(struct edge_trust *t)
{
	struct id_missed m;

	if (id_collaterals_missed(t->set, &m))
		want(t, &m);
}
