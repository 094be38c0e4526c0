/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who is admitted, and who is not any longer. A record is judged when it comes, and again when what evidence is judged
 * by has changed: newer collateral, another evidence policy. A node whose very record is not good any more goes then.
 */
#pragma once

#include "ipc.h"
#include "msg.h"

struct edge_judge {
	struct ipc *parent;
	const struct msg_edge_conf *conf; /* kept by reference, like all here */
	const struct id_claims *self;
	struct id_registry *registry;
	void (*trust)(struct id_trust *trust, void *arg);
	void (*refused)(const char *origin, const struct err *e, bool is_remote, void *arg);
	void *arg;
};

/* One that verified by itself: what others say about its epoch, addresses and key decides. 0 or a refusal. */
int edge_judge_admit(const struct edge_judge *j, const struct id_node *node, const uint8_t *bytes, size_t len,
		     const char *origin, struct err *e);
/* One that came without a session of its node: what the node proved in one before, or nothing. Refusals are told. */
void edge_judge_record(const struct edge_judge *j, const uint8_t *bytes, size_t len, const char *origin,
		       enum id_fresh fresh, int64_t fresh_at);
/* What this node itself proves now. False: its TCB status and the end of its evidence are as before. Refusals are told;
 * the status is unknown then, which meets no allow rule. Whether others take this node is theirs to judge. */
bool edge_judge_self(const struct edge_judge *j, const char *cert_pem, struct id_claims *claims);
