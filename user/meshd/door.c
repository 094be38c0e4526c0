// SPDX-License-Identifier: Apache-2.0
/* Sockets that listen: handed over by the parent before APPLY, opened and closed by it. */
#include <stdio.h>

#include "base/cleanup.h"
#include "worker.h"

static bool is_tls_door(uint32_t kind)
{
	return kind == MD_LISTEN_SERVICE;
}

static bool tcp_at(const struct md_worker_state *w, const struct ip_endpoint *at)
{
	for (uint32_t i = 0; i < w->conf->n_services; i++)
		if (w->conf->service[i].listen.port == at->port &&
		    addr_equal(&w->conf->service[i].listen.addr, &at->addr))
			return w->conf->service[i].is_tcp;
	return false;
}

static struct md_door *door_at(struct md_worker_state *w, const struct md_listen *l)
{
	for (size_t i = 0; i < ARRAY_LEN(w->door); i++)
		if (w->door[i].listener && w->door[i].listen.kind == l->kind &&
		    w->door[i].listen.at.port == l->at.port && addr_equal(&w->door[i].listen.at.addr, &l->at.addr))
			return &w->door[i];
	return NULL;
}

static struct md_door *door_free(struct md_worker_state *w)
{
	for (size_t i = 0; i < ARRAY_LEN(w->door); i++)
		if (!w->door[i].listener && w->door[i].fd < 0)
			return &w->door[i];
	return NULL;
}

void md_on_listen(struct md_worker_state *w, struct ipc_msg *msg)
{
	const struct md_listen *l = ipc_as(msg, sizeof(*l));
	struct md_door *door;

	if (!l || msg->fd < 0 || l->kind >= MD_LISTEN_KINDS)
		return;
	door = door_at(w, l);
	if (!door && (door = door_free(w))) {
		door->listen = *l;
		door->fd = take_fd(&msg->fd);
	}
	if (door)
		door->is_named = true;
}

static int door_open(struct md_worker_state *w, struct md_door *door, struct err *e)
{
	const uint32_t kind = door->listen.kind;
	struct mp_listener_conf conf = { .is_tls = is_tls_door(kind),
					 .is_captured = kind == MD_LISTEN_CAPTURED,
					 .data = door };
	char at[ENDPOINT_TEXT];

	conf.proto = kind == MD_LISTEN_TUNNEL || conf.is_captured || (conf.is_tls && tcp_at(w, &door->listen.at))
			     ? MP_TCP
			     : MP_HTTP;
	snprintf(conf.name, sizeof(conf.name), "%s %s", md_listen_name(kind), endpoint_print(&door->listen.at, at));
	door->is_tcp = conf.proto == MP_TCP;
	conf.h2 = kind == MD_LISTEN_CLIENT || kind == MD_LISTEN_SERVICE || kind == MD_LISTEN_CAPTURED;
	return mp_listen(w->mp, take_fd(&door->fd), &conf, &door->listener, e);
}

/* Those that were handed over and not opened: their configuration is not applied. */
void md_doors_forget(struct md_worker_state *w)
{
	for (size_t i = 0; i < ARRAY_LEN(w->door); i++) {
		close_at(&w->door[i].fd);
		w->door[i].fd = -1;
		w->door[i].is_named = false;
	}
}

int md_doors_apply(struct md_worker_state *w, struct err *e)
{
	int ret = 0;

	for (size_t i = 0; i < ARRAY_LEN(w->door); i++) {
		struct md_door *door = &w->door[i];

		if (!door->is_named && door->listener)
			mp_listener_close(take_ptr(door->listener));
		if (!door->is_named)
			close_at(&door->fd), door->fd = -1;
		if (door->is_named && !door->listener && !ret)
			ret = door_open(w, door, e);
		door->is_named = false;
	}
	return ret;
}
