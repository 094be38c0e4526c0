// SPDX-License-Identifier: Apache-2.0
/* What the kernel is told of a peer: the node of baileyd's that it is, and what policy is asked on the overlay. */
#include <string.h>

#include "worker.h"

static const struct md_node *node_of(const struct md_worker_state *w, const uint8_t instance[BY_INSTANCE_ID_LEN])
{
	for (size_t i = 0; i < w->n_nodes; i++)
		if (memcmp(w->nodes[i].instance, instance, BY_INSTANCE_ID_LEN) == 0)
			return &w->nodes[i];
	return NULL;
}

static const struct by_addr *addr_of(const struct md_node *node, const struct by_addr *addr)
{
	for (uint32_t i = 0; i < node->n_addrs; i++)
		if (addr_equal(&node->addr[i], addr))
			return &node->addr[i];
	return NULL;
}

/* Dialled on the overlay, or come by it: the same rules as those of the firewall there. Else the identity alone. */
static void ask_policy(struct by_leg_set *leg, const struct md_node *node, const struct by_addr *addr, enum by_dir dir,
		       uint16_t port)
{
	if (!addr_of(node, addr))
		return;
	leg->addr = *addr;
	leg->dir = dir;
	leg->port = port;
}

bool md_leg(struct mp_peer *mp, struct mp_upstream *up, void *listener_data, const struct sockaddr *from,
	    struct by_leg_set *leg, void *arg)
{
	const struct id_claims *claims = &((struct md_peer *)mp)->verdict.claims;
	const struct md_target *target = up ? mp_upstream_data(up) : NULL;
	const struct md_node *node = claims->has_instance_id ? node_of(arg, claims->instance_id) : NULL;
	const struct md_door *door = listener_data;
	struct ip_endpoint at;

	*leg = (struct by_leg_set){ 0 };
	if (!node)
		return true;
	leg->addr = node->addr[0];
	memcpy(leg->instance_id, node->instance, sizeof(leg->instance_id));
	if (target && target->want.on_overlay &&
	    endpoint_from_sockaddr(&at, (const struct sockaddr *)&mp_upstream_conf_of(up)->addr))
		ask_policy(leg, node, &at.addr, BY_DIR_OUT, at.port);
	else if (!target && door && from && endpoint_from_sockaddr(&at, from))
		ask_policy(leg, node, &at.addr, BY_DIR_IN, door->listen.at.port);
	return true;
}

void md_on_round(struct md_worker_state *w, const struct md_number *m)
{
	if (m)
		w->round = m->n;
	if (m && w->mp)
		mp_renew(w->mp, m->n);
}
