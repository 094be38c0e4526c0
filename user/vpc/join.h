/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A node's end: one connection to the control plane, made again for ever (1, 2, 4 .. 60 s), to one of its servers after
 * the other. What comes is handed on
 * unbelieved: records are verified by whoever takes them, addresses are looked at by whoever would use them.
 */
#pragma once

#include <event2/event.h>

#include "wire.h"

#define VPC_SERVERS 8
#define VPC_HOST    254

struct vpc_join;

/* What the node remembers of the network over restarts. Zero serial: it has not joined yet. */
struct vpc_seen {
	uint8_t network[VPC_NETWORK];
	uint64_t serial;
};

/* With whom a node registers, and by what. */
struct vpc_servers {
	struct ip_endpoint at[VPC_SERVERS]; /* tried in turn, in this order */
	uint32_t n;
	bool any_app; /* whoever has evidence that is believed; else: */
	uint8_t app_id[BY_APP_ID_LEN];
	char host[VPC_HOST];    /* the name that the TLS handshake asks for (SNI); "": none */
	char key[VPC_KEY_TEXT]; /* pre-auth key; "": none. Told to who has proved to be the control plane */
};

struct vpc_join_conf {
	struct event_base *base;
	struct vpc_servers servers;
	char node[BY_NODE_NAME_LEN];
	const char *cert_pem, *key_pem; /* kept by the TLS library, not by reference */
	struct vpc_seen seen;
	void (*trust)(struct id_trust *trust, void *arg);
	/* Digests of the records that are known now, VPC_DIGEST bytes each, into `out`. */
	void (*have)(struct out *out, void *arg);
	/* Addresses for the record to be published, at once where there is one with them. <0: none that this node
	 * takes. */
	int (*granted)(const struct vpc_grant *grant, struct err *e, void *arg);
	void (*taken)(void *arg); /* the record that was published outlives the server; may be NULL */
	void (*record)(const uint8_t *bytes, size_t len, void *arg);
	void (*revoked)(const uint8_t instance_id[BY_INSTANCE_ID_LEN], bool is_revoked, void *arg);
	void (*seen_fn)(const struct vpc_seen *seen, void *arg);
	/* The connection, as people see it: up, or why not. is_remote: the server refused. */
	void (*up)(bool is_up, void *arg);
	void (*refused)(const struct err *e, bool is_remote, void *arg);
	void *arg;
};

/* Which of `n` servers this is; n: none of them. */
uint32_t vpc_server_at(const struct ip_endpoint *servers, uint32_t n, const struct ip_endpoint *server);
int vpc_join_new(const struct vpc_join_conf *conf, struct vpc_join **join, struct err *e);
void vpc_join_free(struct vpc_join *join); /* accepts NULL */
/* Whole seconds until the next try after so many failed ones: the next server at once; 1, 2, 4 .. 60 when all failed.
 */
unsigned vpc_join_pause_s(unsigned failures, uint32_t n_servers);
uint32_t vpc_join_server(const struct vpc_join *join); /* which one it is connected to, or dials */
/*
 * Others from now on. A connection that stands stays where its server is still one of them and need prove nothing else;
 * a node that was granted nothing tries again at once, whatever its pause was.
 */
void vpc_join_change(struct vpc_join *join, const struct vpc_servers *to);
/* The node's record, with the addresses of the last grant; copied. Without a connection: of the next one. */
int vpc_join_publish(struct vpc_join *join, const uint8_t *bytes, size_t len);
/*
 * Another certificate and key. They come into use with their record, the next that is published, and the connection is
 * made again with them; where none was published yet, at once.
 */
int vpc_join_renew(struct vpc_join *join, const char *cert_pem, const char *key_pem, struct err *e);
