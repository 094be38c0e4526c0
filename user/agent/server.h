/* SPDX-License-Identifier: Apache-2.0 */
/* The agent's calls over HTTP on Unix sockets: prpc's JSON form (docs/agent.md). */
#pragma once

#include <event2/event.h>

#include "agent.h"

struct ag_server;

/* `mode` is the socket's: 0666 lets every process of the machine ask, as dstack does. Replaces a dead socket. */
int ag_listen(struct event_base *base, const char *path, unsigned mode, enum ag_service service, struct agent *agent,
	      struct ag_server **server, struct err *e);
void ag_server_close(struct ag_server *server); /* accepts NULL; removes the socket */
