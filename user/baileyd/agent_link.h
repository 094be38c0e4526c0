/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The edge's way to a guest agent. The edge may open no Unix socket, the parent shall see no private key: so the parent
 * connects and hands the socket over, and what is said on it stays in the edge.
 */
#pragma once

#include "agent/client.h"
#include "ipc.h"
#include "msg.h"

#define LINK_ASKS_MAX 8 /* at once: peers can make us ask for quotes */

struct agent_link;

int link_new(struct event_base *base, struct ipc *parent, struct agent_link **link, struct err *e);
void link_free(struct agent_link *link); /* accepts NULL; nobody is called */
/* -EBUSY: there are LINK_ASKS_MAX already. */
int link_ask(struct agent_link *link, const struct ag_question *q, struct err *e);
/* The parent's answer; *fd is taken over where it is used. */
void link_socket(struct agent_link *link, const struct msg_agent *m, int *fd);
/* In the parent, when it is asked: a connection to the agent at this path, or why there is none. "": none is
 * configured. */
void link_answer(struct ipc *asker, const struct msg_token *ask, const char *path);
