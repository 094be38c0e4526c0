/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names of the overlay, and DNS messages about them. Room prefix dns_. Pure: no sockets, no files, the clock is an
 * argument. What is in the table was verified by somebody else; what a query says is a stranger's. Names: docs/dns.md
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "identity/identity.h"

/* --- names.c: who has which name --- */

#define DNS_LABEL_MAX  63
#define DNS_SUFFIX_LEN 128 /* text, with NUL */

struct dns_node {
	uint8_t instance_id[BY_INSTANCE_ID_LEN], app_id[BY_APP_ID_LEN];
	char node[BY_NODE_NAME_LEN];
	char app[DNS_LABEL_MAX + 1]; /* the app's name in the policy; "": it has none */
	struct by_addr addrs[ID_MAX_ADDRS];
	uint32_t n_addrs;
	struct id_service services[ID_MAX_SERVICES];
	uint32_t n_services;
	uint32_t is_simulated;
	int64_t until;  /* it is nobody after this second */
	uint64_t since; /* of two that want one name, the smaller one has it */
};

struct dns_names;

struct dns_names *dns_names_new(void); /* NULL: no memory */
void dns_names_free(struct dns_names *names);
/* New, or in place of what was known of this instance. -ENOMEM: it is not there at all. */
int dns_names_set(struct dns_names *names, const struct dns_node *node);
void dns_names_del(struct dns_names *names, const uint8_t instance_id[BY_INSTANCE_ID_LEN]);
size_t dns_names_count(const struct dns_names *names);
uint32_t dns_names_serial(const struct dns_names *names); /* one more with each change */

enum dns_kind {
	DNS_BY_NODE,    /* a node's own name: one living node has it */
	DNS_BY_APP,     /* an app's name or id: all its living nodes */
	DNS_BY_SERVICE, /* "mongodb": all living nodes that say so */
	DNS_BY_ADDR,    /* 16 bytes */
};

/* Living nodes under a key, in order of `since`; at most `cap`, of more the ones from the `turn`th on. How many. */
size_t dns_names_find(struct dns_names *names, enum dns_kind kind, const void *key, size_t len, int64_t now,
		      uint32_t turn, const struct dns_node **found, size_t cap);

/* --- answer.c: a query's bytes -> an answer's --- */

#define DNS_UDP_MAX   1232  /* bytes of an answer by UDP, if the asker takes as many */
#define DNS_QUERY_MAX 4096  /* a longer query is none */
#define DNS_WIRE_MAX  65535 /* by TCP */

struct dns_zone {
	char suffix[DNS_SUFFIX_LEN]; /* lower case, without a dot at the end: "dstack.internal" */
	char self[BY_NODE_NAME_LEN];
	struct ip_prefix networks[4]; /* reverse zones */
	uint32_t n_networks;
	uint32_t ttl;
};

enum dns_do {
	DNS_DROP,    /* no query: silence */
	DNS_REPLY,   /* with the bytes of the answer */
	DNS_FORWARD, /* not ours to answer */
};

struct dns_asker {
	bool may_forward; /* what is not ours is asked elsewhere */
	bool is_tcp;
	int64_t now;
	uint32_t turn; /* differs from query to query */
};

struct dns_reply {
	uint8_t *bytes; /* malloc'ed */
	size_t len;
	unsigned rcode;
};

/* DNS_FORWARD: nothing in `reply`, and the query is well-formed with one question. */
enum dns_do dns_answer(struct dns_names *names, const struct dns_zone *zone, const struct dns_asker *asker,
		       const uint8_t *query, size_t len, struct dns_reply *reply);

/* A query in our own words with the same question, for a resolver: malloc'ed, NULL: it is none. */
uint8_t *dns_query_again(const uint8_t *query, size_t len, uint16_t id, bool is_tcp, size_t *again_len);
/* Whether these bytes answer that query of ours: id and question are the same. */
bool dns_is_answer(const uint8_t *query, size_t query_len, const uint8_t *answer, size_t len);
/* In place of an answer that did not come: malloc'ed, NULL: no memory. */
uint8_t *dns_failure(const uint8_t *query, size_t len, size_t *failure_len);
bool dns_suffix_ok(const char *text); /* labels of [a-z0-9-], each at most 63, 100 in all */
