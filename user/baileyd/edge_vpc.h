/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The edge's part of joining a network: the control plane's connection, and what is made of what comes over it. Nothing
 * is believed: records go the way of all records, addresses must lie in our networks and be nobody else's.
 */
#pragma once

#include "ipc.h"
#include "msg.h"

struct edge_vpc;

struct edge_vpc_conf {
	struct event_base *base;
	struct ipc *parent;
	const struct msg_edge_conf *conf; /* kept by reference, like the next two */
	struct id_registry *registry;
	const struct id_claims *self;
	void (*trust)(struct id_trust *trust, void *arg);
	void (*record)(const uint8_t *bytes, size_t len, const char *origin, void *arg); /* of somebody */
	void (*refused)(const char *origin, const struct err *e, bool is_remote, void *arg);
	void *arg;
};

int edge_vpc_new(const struct edge_vpc_conf *conf, struct edge_vpc **vpc, struct err *e);
void edge_vpc_free(struct edge_vpc *vpc); /* accepts NULL */
/* Connects, and goes on connecting. Nothing the second time. */
int edge_vpc_join(struct edge_vpc *vpc, const struct vpc_seen *seen, const char *cert_pem, const char *key_pem,
		  struct err *e);
/* Servers, app and key in conf->conf are others: for the next registration (vpc_join_change). */
void edge_vpc_change(struct edge_vpc *vpc);
/* The node's record was signed. It is published once the control plane has granted these addresses. */
int edge_vpc_publish(struct edge_vpc *vpc, const struct id_record *record, const uint8_t *bytes, size_t len);
int edge_vpc_renew(struct edge_vpc *vpc, const char *cert_pem, const char *key_pem, struct err *e);
