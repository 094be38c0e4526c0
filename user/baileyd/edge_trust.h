/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the edge judges evidence by: the evidence policy and the collateral that the parent hands over. Nothing is
 * fetched while a peer waits: what is missing, or ends soon, is told to the parent, and serves the next handshake.
 */
#pragma once

#include "ipc.h"
#include "msg.h"

struct edge_trust;
struct id_evidence_policy;

int edge_trust_new(struct event_base *base, struct ipc *parent, struct edge_trust **trust, struct err *e);
void edge_trust_free(struct edge_trust *trust); /* accepts NULL */
void edge_trust_policy(struct edge_trust *trust, const struct ipc_msg *msg);
/* *policy is in use from now on, and what was is in it; NULL: the strict one. */
void edge_trust_exchange(struct edge_trust *trust, struct id_evidence_policy **policy);
/* Verified and taken into use, or refused: then `origin` and `e` say which and why. */
int edge_trust_collateral(struct edge_trust *trust, const struct ipc_msg *msg, char origin[MSG_ORIGIN_LEN],
			  struct err *e);
void edge_trust_fill(const struct edge_trust *trust, struct id_trust *fill);
void edge_trust_refused(struct edge_trust *trust); /* evidence was: was it for want of collateral? */
