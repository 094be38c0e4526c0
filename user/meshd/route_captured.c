// SPDX-License-Identifier: Apache-2.0
/*
 * Connections that the kernel brought here, of applications that know nothing of a mesh: they dialled a node's address
 * on the overlay, and come to that very instance or nowhere. What nobody knows where it was meant to go is refused.
 */
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "worker.h"

static const struct md_node *node_at(const struct md_worker_state *w, const struct by_addr *addr)
{
	for (size_t i = 0; i < w->n_nodes; i++)
		for (uint32_t a = 0; a < w->nodes[i].n_addrs; a++)
			if (addr_equal(&w->nodes[i].addr[a], addr))
				return &w->nodes[i];
	return NULL;
}

static void want_node(struct md_want *want, const struct md_node *node, const struct ip_endpoint *to)
{
	*want = (struct md_want){ .way = MD_WAY_MTLS, .port = to->port, .policy_port = to->port, .on_overlay = true };
	addr_print(&to->addr, want->host);
	hex_print(want->app, node->app, sizeof(node->app));
	hex_print(want->instance, node->instance, sizeof(node->instance));
}

enum mp_verdict md_route_captured(struct md_worker_state *w, const struct mp_request *req, struct mp_route *route,
				  struct err *e)
{
	char text[ENDPOINT_TEXT];
	const struct md_node *node;
	struct ip_endpoint to;
	struct md_want want;

	if (!req->to || !endpoint_from_sockaddr(&to, req->to))
		return md_refuse(route, MP_ERR_DENIED, e, "this door is for what the kernel captured, and was dialled");
	node = node_at(w, &to.addr);
	if (!node)
		return md_refuse(route, MP_ERR_DENIED, e, "%s was captured, and is no node that is known here",
				 endpoint_print(&to, text));
	if (!req->is_http && md_speaks_http(w->rules, to.port))
		return MP_SPEAKS_HTTP;
	want_node(&want, node, &to);
	return md_dial(w, req, &want, route, e);
}
