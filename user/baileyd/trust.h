/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A parent's part of what evidence is judged by: it reads the evidence policy, hands bundles of collateral to who
 * judges without reading them, and has those that are missing or end soon fetched. A bundle that was fetched is kept in
 * the state directory, and one that can not be fetched stays in use until it ends.
 */
#pragma once

#include "msg.h"
#include "proc.h"

#define TRUST_ASKED_MAX 64 /* platforms */

struct id_evidence_policy;

/* What it is told; texts are kept by reference. */
struct trust_conf {
	const char *evidence_policy;     /* file; "": the strict one */
	const char *collateral;          /* folder of bundles; "": none */
	const char *state;               /* bundles that were fetched are kept below it; "": they are not kept */
	const char *url, *root_crl, *ca; /* of the service; url "": nothing is fetched */
	void (*refused)(const char *origin, const struct err *e, void *arg);
	/* A bundle came: for whoever judges now, by trust_send_bundle(). */
	void (*fetched)(const char *origin, const char *text, size_t len, void *arg);
	void *arg;
};

struct trust {
	struct trust_conf conf;
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

void trust_init(struct trust *trust, const struct trust_conf *conf);
int trust_read(struct trust *trust, struct err *e); /* the evidence policy */
/* The process that fetches, as this user. */
int trust_start(struct trust *trust, struct event_base *base, uid_t uid, gid_t gid, struct err *e);
void trust_send(struct trust *trust, struct ipc *to); /* to a process that judges and has nothing yet */
void trust_send_bundle(struct ipc *to, const char *origin, const char *text, size_t len);
void trust_wants(struct trust *trust, const struct id_missed *m);
void trust_retry(struct trust *trust); /* whatever failed, without waiting; a person asks */
void trust_stop(struct trust *trust);
