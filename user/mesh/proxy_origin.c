// SPDX-License-Identifier: Apache-2.0
/*
 * Where a connection was meant to go that the kernel brought here instead. What a device of a container brought has
 * that address for its own end; of what a cgroup's socket dialled the kernel tells (docs/capture.md).
 */
#include <string.h>
#include <sys/socket.h>

#include "proxy_internal.h"

#include <linux/netfilter_ipv4.h> /* after netinet/in.h */

static bool same_name(const union sock_name *a, const union sock_name *b)
{
	if (a->sa.sa_family != b->sa.sa_family)
		return false;
	if (a->sa.sa_family == AF_INET)
		return a->v4.sin_port == b->v4.sin_port && a->v4.sin_addr.s_addr == b->v4.sin_addr.s_addr;
	return a->v6.sin6_port == b->v6.sin6_port &&
	       memcmp(&a->v6.sin6_addr, &b->v6.sin6_addr, sizeof(a->v6.sin6_addr)) == 0;
}

/* False, and `to` of no family: nobody knows. A connection that was meant for the listener itself is none that was
 * captured, whoever says so: who took it for one would dial itself for ever. */
bool origin_of(int fd, int listening, union sock_name *to)
{
	union sock_name own, here = { 0 };
	socklen_t own_len = sizeof(own), len = sizeof(here);
	int level;

	memset(to, 0, sizeof(*to));
	if (getsockname(listening, &own.sa, &own_len) < 0 || getsockname(fd, &here.sa, &len) < 0 ||
	    (own.sa.sa_family != AF_INET && own.sa.sa_family != AF_INET6))
		return false;
	if (same_name(&own, &here)) {
		level = own.sa.sa_family == AF_INET ? SOL_IP : SOL_IPV6;
		len = own.sa.sa_family == AF_INET ? sizeof(here.v4) : sizeof(here.v6);
		if (getsockopt(fd, level, SO_ORIGINAL_DST, &here, &len) < 0 || same_name(&own, &here))
			return false;
	}
	*to = here;
	return true;
}
