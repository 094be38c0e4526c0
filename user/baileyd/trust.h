/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The parent's part of what evidence is judged by: it reads the evidence policy, hands bundles of collateral to the
 * edge without reading them, and has those that are missing or end soon fetched. A bundle that was fetched is kept in
 * the state directory, and one that can not be fetched stays in use until it ends.
 */
#pragma once

#include "msg.h"
#include "proc.h"

#define TRUST_ASKED_MAX 64 /* platforms */

struct parent;
struct id_evidence_policy;

struct trust {
	struct id_evidence_policy *policy; /* NULL: the strict one */
	struct proc fetch;                 /* pid -1 where no service is configured */
	struct {
		struct id_missed platform;
		int64_t next_s; /* unix seconds; not before */
		unsigned failures;
		bool is_open; /* asked, not answered */
	} asked[TRUST_ASKED_MAX];
	size_t n_asked;
	struct msg_bundles bundles;
	uint64_t fetched, failed; /* ever */
	struct err last;          /* of the last that failed, until one is fetched */
};

int trust_read(struct parent *p, struct err *e); /* the evidence policy */
int trust_start(struct parent *p, struct err *e);
void trust_send(struct parent *p); /* to an edge that has none */
void trust_wants(struct parent *p, const struct id_missed *m);
void trust_retry(struct parent *p); /* whatever failed, without waiting; a person asks */
void trust_stop(struct parent *p);
