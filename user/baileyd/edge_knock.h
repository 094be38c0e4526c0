/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The edge's ear at WireGuard's port: copies of handshake initiations, which WireGuard itself drops when it has no such
 * peer. By whose key one was made goes to the parent (MSG_EDGE_KNOCK).
 */
#pragma once

#include "ipc.h"

/* MSG_EDGE_KNOCKS: listens on the socket that came along, in place of an earlier one of its family. */
void edge_knock_listen(struct event_base *base, struct ipc *parent, struct ipc_msg *msg);
void edge_knock_end(void); /* wipes the key */
