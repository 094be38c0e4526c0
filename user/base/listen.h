/* SPDX-License-Identifier: Apache-2.0 */
/* Listening sockets that do not block, or -errno. */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "addr.h"
#include "err.h"

/* `where` is the setting that names the address. */
int tcp_listen(const struct ip_endpoint *at, const char *where, struct err *e);
/* The same at an address that may come only later. */
int tcp_listen_early(const struct ip_endpoint *at, const char *where, struct err *e);
/* Takes the place of a socket that nobody answers at. `taken`: what to say where somebody does. */
int unix_listen(const char *path, mode_t mode, const char *taken, struct err *e);
/* The same for SOCK_SEQPACKET. */
int unix_listen_packets(const char *path, mode_t mode, const char *taken, struct err *e);
int unix_connect(const char *path, int type); /* blocks where it is full */
bool unix_is_served(const char *path);
