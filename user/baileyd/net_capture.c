// SPDX-License-Identifier: Apache-2.0
/* Dropped packets on their way to the parent, while somebody captures. */
#include <errno.h>

#include "net.h"

#define HELD_PACKETS 2048 /* queued for a parent that does not read; more are counted and dropped */

static void on_packet(const struct by_capture *rec, void *arg)
{
	struct target *t = arg;
	struct msg_packet m = { .target = t->conf.target, .rec = *rec };

	if (ipc_queued(t->net->parent) >= HELD_PACKETS ||
	    ipc_send(t->net->parent, MSG_NET_PACKET, &m, sizeof(m), -1) < 0)
		t->packets_held++;
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct target *t = arg;

	(void)fd, (void)what;
	dp_capture_read(t->dp);
}

static void tell_lost(struct target *t, bool always)
{
	struct msg_packet m = { .target = t->conf.target };
	struct err e = ERR_INIT;

	if (dp_capture_lost(t->dp, &m.lost, &e) < 0)
		return;
	m.lost += t->packets_held;
	if (!always && m.lost == t->packets_told)
		return;
	t->packets_told = m.lost;
	ipc_send(t->net->parent, MSG_NET_PACKET, &m, sizeof(m), -1);
}

void capture_stop(struct target *t)
{
	if (!t->capture)
		return;
	event_free(t->capture);
	t->capture = NULL;
	dp_capture_close(t->dp);
}

int capture_start(struct target *t, struct err *e)
{
	int fd, ret;

	tell_lost(t, true); /* where a new reader starts to count from */
	if (t->capture)
		return 0;
	ret = dp_capture_open(t->dp, BY_SNAPLEN_MAX, on_packet, t, &fd, e);
	if (ret < 0)
		return ret;
	t->capture = event_new(t->net->base, fd, EV_READ | EV_PERSIST, on_readable, t);
	if (t->capture && event_add(t->capture, NULL) == 0)
		return 0;
	dp_capture_close(t->dp);
	return err_at(e, -ENOMEM, "capture", "out of memory");
}

int capture_set(struct net *net, bool is_on, struct err *e)
{
	int ret = 0;

	net->is_capturing = is_on;
	for (uint32_t i = 0; i < net->n_targets && !ret; i++) {
		if (is_on && net->targets[i].dp)
			ret = capture_start(&net->targets[i], e);
		else
			capture_stop(&net->targets[i]);
	}
	return ret;
}

void capture_losses(struct net *net)
{
	for (uint32_t i = 0; i < net->n_targets; i++)
		if (net->targets[i].capture)
			tell_lost(&net->targets[i], false);
}
