/* SPDX-License-Identifier: Apache-2.0 */
/*
 * WireGuard's datagrams in a TCP connection, for where UDP does not get through. A datagram is its length in two
 * octets, big endian, and then itself; so does the udp-over-tcp of others. Nothing is encrypted or verified here: that
 * is WireGuard's. Room prefix ov_.
 */
#pragma once

#include "base/addr.h"
#include "base/err.h"

#define OV_TUNNEL_LINKS     256    /* connections at once */
#define OV_TUNNEL_QUEUE     262144 /* bytes that wait for a connection; datagrams beyond are dropped, as a network does */
#define OV_TUNNEL_DATAGRAM  65507 /* the longest that UDP over IPv4 has; a longer frame ends its connection */
#define OV_TUNNEL_SILENCE_S 180   /* after which a connection is given up: WireGuard speaks each 120 s */

/*
 * Until SIGTERM or SIGINT. From UDP: one sender, the first; another when it has been silent for SENDER_S (tunnel.c).
 * Its datagrams go into one connection to `tcp`, which is made when there is something to send. 0, or <0 when it can
 * not listen.
 */
int ov_tunnel_from_udp(const struct ip_endpoint *udp, const struct ip_endpoint *tcp, struct err *e);
/* Each connection has a socket of its own, so that who is behind `udp` can tell them apart. */
int ov_tunnel_from_tcp(const struct ip_endpoint *tcp, const struct ip_endpoint *udp, struct err *e);
