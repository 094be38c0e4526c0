/* SPDX-License-Identifier: Apache-2.0 */
/*
 * etcd v3 by its JSON gateway: transactions, leases, one watch. Calls block for a bounded time and go on with the next
 * endpoint where one does not answer; the watch is a descriptor of the caller's loop. Room prefix etcd_.
 */
#pragma once

#include <jansson.h>
#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define ETCD_ENDPOINTS 8
#define ETCD_URL       256
#define ETCD_PREFIX    128
#define ETCD_OPS       128      /* of one transaction: etcd's own default */
#define ETCD_BYTES     1400000u /* of one transaction: below etcd's default of 1.5 MiB, which counts keys, too */
#define ETCD_BODY_MAX  (48u << 20)

struct etcd_conf {
	char endpoint[ETCD_ENDPOINTS][ETCD_URL];
	uint32_t n_endpoints; /* 0: there is no etcd */
	char ca[PATH_MAX], certificate[PATH_MAX], key[PATH_MAX];
	char prefix[ETCD_PREFIX];
};

/* What the paths name; NULL without. */
struct etcd_pems {
	char *ca, *certificate, *key;
};

/* --- what it answers --- */

struct etcd_kv {
	char *key; /* printable, NUL-terminated */
	uint8_t *value;
	size_t len;
	int64_t revision; /* of its last change */
	bool is_deleted;
};

struct etcd_answer {
	int64_t revision; /* of the store */
	bool is_met;      /* the compares held */
	bool is_more;     /* there are more keys than `limit` */
	bool is_over;     /* the watch has ended: */
	int64_t oldest;   /* where `revision` is not to be had any more, the first that is; else 0 */
	int64_t lease, ttl;
	struct etcd_kv *kv;
	size_t n;
};

int etcd_answer_read(const char *text, size_t len, struct etcd_answer *a, struct err *e);
void etcd_answer_fini(struct etcd_answer *a);
const struct etcd_kv *etcd_answer_find(const struct etcd_answer *a, const char *key); /* NULL: none */

/* --- parts of a transaction; all are owned by who gets them --- */

json_t *etcd_compare_revision(const char *key, int64_t revision); /* 0: the key must not be there */
json_t *etcd_put(const char *key, const void *value, size_t len, int64_t lease);
json_t *etcd_delete(const char *key);
/* end NULL: this key alone. revision 0: now. */
json_t *etcd_range(const char *key, const char *end, int64_t revision, int64_t limit);

/* --- talking --- */

struct etcd;

int etcd_new(const struct etcd_conf *conf, const struct etcd_pems *pems, struct etcd **etcd, struct err *e);
void etcd_free(struct etcd *etcd); /* accepts NULL */
/*
 * The lists are taken over; NULL: empty. 0; -EPROTO, -ENOENT: etcd has refused, nothing was changed; else nobody has
 * answered in time, and whether anything was changed is not known.
 */
int etcd_txn(struct etcd *etcd, json_t *compare, json_t *success, json_t *failure, struct etcd_answer *a,
	     struct err *e);
int etcd_lease_grant(struct etcd *etcd, int64_t ttl_s, int64_t *lease, struct err *e);
/* *ttl_s 0: there is no such lease any more. */
int etcd_lease_renew(struct etcd *etcd, int64_t lease, int64_t *ttl_s, struct err *e);
int etcd_lease_revoke(struct etcd *etcd, int64_t lease, struct err *e);

/* fn's <0 ends the watch; so does what it says in `e`. */
typedef int (*etcd_watch_fn)(const struct etcd_answer *a, void *arg, struct err *e);
/* All changes in [from, end) since `revision`, itself included, in their order. Ends the last one. */
int etcd_watch(struct etcd *etcd, const char *from, const char *end, int64_t revision, etcd_watch_fn fn, void *arg,
	       struct err *e);
/* Takes what has come, and waits up to `wait_ms` for something. <0: the watch has ended, for the reason in `e`. */
int etcd_watch_pump(struct etcd *etcd, int wait_ms, struct err *e);
int etcd_watch_fd(struct etcd *etcd); /* to be pumped when it is readable; -1: not connected */
void etcd_next(struct etcd *etcd);    /* another endpoint for what comes next */
