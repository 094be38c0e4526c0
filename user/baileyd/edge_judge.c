// SPDX-License-Identifier: Apache-2.0
#include "edge_judge.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

/* What a node proved in a session is good for a while. Where nothing live is demanded its certificate is enough. */
static int freshness_check(const struct msg_edge_conf *conf, struct id_claims *claims, struct err *e)
{
	int64_t now = time(NULL), until = (claims->fresh_at < now ? claims->fresh_at : now) + conf->fresh_max_age_s;

	if (conf->fresh == ID_FRESH_OFF)
		return 0;
	if (claims->fresh < conf->fresh || until < now)
		return err_reason(e, ID_FRESH_MISSING, "record",
				  "the node proved %s, %lld s ago; %s every %u s is demanded",
				  id_fresh_name(claims->fresh), (long long)(claims->fresh ? now - claims->fresh_at : 0),
				  id_fresh_name(conf->fresh), conf->fresh_max_age_s);
	if (until < claims->not_after)
		claims->not_after = until;
	return 0;
}

static bool is_own(const struct edge_judge *j, const struct id_node *node)
{
	return memcmp(node->record.instance_id, j->self->instance_id, BY_INSTANCE_ID_LEN) == 0;
}

/* Ours may come back to us. One of another key is of a second machine that says it is this one. */
static int own_check(const struct edge_judge *j, const struct id_node *node, struct err *e)
{
	if (memcmp(node->claims.spki_sha256, j->self->spki_sha256, sizeof(j->self->spki_sha256)) == 0)
		return 0;
	return err_reason(e, ID_PEER_MISMATCH, "record", "is of this node's own instance, by another key");
}

int edge_judge_admit(const struct edge_judge *j, const struct id_node *node, const uint8_t *bytes, size_t len,
		     const char *origin, struct err *e)
{
	struct msg_node m = { .node = *node };
	enum id_admit what;
	int ret;

	if (is_own(j, node))
		return own_check(j, node, e);
	ret = freshness_check(j->conf, &m.node.claims, e);
	if (!ret)
		ret = id_registry_admit(j->registry, &m.node, &what, e);
	if (ret < 0)
		return ret;
	snprintf(m.origin, sizeof(m.origin), "%s", origin);
	if (what != ID_ADMIT_SAME)
		ret = ipc_send_blob(j->parent, MSG_EDGE_NODE, &m, sizeof(m), bytes, len);
	return ret < 0 ? err_at(e, ret, origin, "can not hand the record on: %s", strerror(-ret)) : 0;
}

/*
 * The record does not verify. If it is, to the byte, the one that a node is here by, the node goes: nothing vouches for
 * it any more. Whoever else is named in such bytes is not touched, for anybody can write them. The parent is told in
 * any case, because it may know a node from before this process was started anew. The registry remembers epoch and
 * digest: the same record brings the node back when it verifies again, an older one does not.
 */
static void withdraw(const struct edge_judge *j, const uint8_t *bytes, size_t len, const struct err *why)
{
	struct msg_withdrawn m = { .err = *why };
	const struct id_node *node;

	if (!why->reason || !id_record_peek(bytes, len, m.instance_id, m.digest) ||
	    memcmp(m.instance_id, j->self->instance_id, sizeof(m.instance_id)) == 0)
		return;
	node = id_registry_find(j->registry, m.instance_id);
	if (node && memcmp(node->digest, m.digest, sizeof(m.digest)) == 0)
		id_registry_remove(j->registry, m.instance_id);
	ipc_send(j->parent, MSG_EDGE_WITHDRAWN, &m, sizeof(m), -1);
}

void edge_judge_record(const struct edge_judge *j, const uint8_t *bytes, size_t len, const char *origin,
		       enum id_fresh fresh, int64_t fresh_at)
{
	struct err e = ERR_INIT;
	struct id_trust trust;
	struct id_node node;
	int ret;

	j->trust(&trust, j->arg);
	ret = id_record_verify(bytes, len, &trust, &node, &e);
	if (ret < 0) {
		withdraw(j, bytes, len, &e);
	} else {
		node.claims.fresh = fresh;
		node.claims.fresh_at = fresh_at;
		ret = edge_judge_admit(j, &node, bytes, len, origin, &e);
	}
	if (ret < 0)
		j->refused(origin, &e, false, j->arg);
}

bool edge_judge_self(const struct edge_judge *j, const char *cert_pem, struct id_claims *claims)
{
	struct err e = ERR_INIT;
	struct id_trust trust;

	*claims = *j->self;
	j->trust(&trust, j->arg);
	if (id_cert_verify_pem(cert_pem, strlen(cert_pem), &trust, claims, &e) < 0) {
		j->refused("own certificate", &e, false, j->arg);
		claims->tcb_status = ID_TCB_NONE;
	}
	return claims->tcb_status != j->self->tcb_status || claims->not_after != j->self->not_after;
}
