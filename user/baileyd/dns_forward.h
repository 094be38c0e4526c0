/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names that are not ours, asked of the resolvers that this machine has. Part of the dns process. Each question has a
 * random id and a socket of its own, so a random port; its answer must come from that resolver, with that id and that
 * question. What waits is bounded.
 */
#pragma once

#include <event2/event.h>
#include <sys/socket.h>

#include "msg.h"

/* Who waits for an answer. */
struct dns_client {
	uint64_t conn; /* TCP: number of the connection; 0: UDP */
	int fd;        /* UDP: to answer on */
	struct sockaddr_storage from;
	socklen_t from_len;
};

struct dns_forward;

/* Called once for each question: an answer, or one that says that there is none (is_failure). */
typedef void (*dns_forwarded_fn)(const struct dns_client *client, const uint8_t *answer, size_t len, bool is_failure,
				 void *arg);

struct dns_forward *dns_forward_new(struct event_base *base, dns_forwarded_fn fn, void *arg); /* NULL: no memory */
void dns_forward_free(struct dns_forward *f); /* accepts NULL; nobody is answered any more */
void dns_forward_servers(struct dns_forward *f, const struct msg_dns_forward *servers);
void dns_forward_ask(struct dns_forward *f, const struct dns_client *client, const uint8_t *query, size_t len);
