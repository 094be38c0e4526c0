/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages between the daemon's processes: one datagram of a SOCK_SEQPACKET pair each, a type and a payload of at most
 * IPC_MAX bytes, with at most one file descriptor. Bigger things travel as a sealed memfd (ipc_blob_*): the sender
 * can not change what the receiver has checked. Both ends are the same binary, so payloads are C structures whose
 * size the receiver checks.
 */
#pragma once

#include <event2/event.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define IPC_MAX       (60 * 1024)
#define IPC_QUEUE_MAX 262144 /* messages waiting for a peer that does not read; then it counts as dead */
#define IPC_CHILD_FD  3      /* a child finds its end here */

struct ipc;

struct ipc_msg {
	uint16_t type;
	const void *data;
	size_t len;
	int fd; /* -1: none; closed after the call unless taken with take_fd() */
};

typedef void (*ipc_fn)(struct ipc_msg *msg, void *arg);
typedef void (*ipc_down_fn)(void *arg); /* the other end is gone or broke the rules; ipc_free() may be called here */

int ipc_pair(int fds[2]);
/* Takes over fd. Without `down` the loop ends then: a child has nothing to do without those that it serves. */
int ipc_new(struct event_base *base, int fd, ipc_fn fn, ipc_down_fn down, void *arg, struct ipc **ipc);
void ipc_free(struct ipc *ipc); /* accepts NULL */
/* Queued when the socket is full. `fd` is duplicated; -1: none. */
int ipc_send(struct ipc *ipc, uint16_t type, const void *data, size_t len, int fd);
size_t ipc_queued(const struct ipc *ipc); /* messages that wait for the peer to read */
/* The payload as a structure of exactly this size, else NULL. */
const void *ipc_as(const struct ipc_msg *msg, size_t size);

int ipc_blob_make(const void *data, size_t len);                    /* fd or -errno */
int ipc_blob_read(int fd, size_t max, uint8_t **data, size_t *len); /* a private copy, NUL beyond the end */
int ipc_send_blob(struct ipc *ipc, uint16_t type, const void *head, size_t head_len, const void *blob, size_t len);
