/* SPDX-License-Identifier: Apache-2.0 */
/* Several values in one text, with commas and blanks between, as an option or a variable has them. No files, no
 * sockets. */
#pragma once

#include "base/addr.h"

#define NODE_ENDPOINTS_MAX 4
#define NODE_VIA_MAX       64

struct node_via {
	struct ip_endpoint recorded, dialled;
};

/* "192.0.2.2:51820, [2001:db8::2]:51820": how many; 0: malformed, none, or too many. */
uint32_t node_endpoints_parse(const char *text, struct ip_endpoint list[NODE_ENDPOINTS_MAX]);
/* "192.0.2.2:51820=127.0.0.1:51821, ...": of a record, and where it is reached from here. Likewise. */
uint32_t node_via_parse(const char *text, struct node_via list[NODE_VIA_MAX]);
