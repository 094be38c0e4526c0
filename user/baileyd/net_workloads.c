// SPDX-License-Identifier: Apache-2.0
/*
 * Machines behind this host. A device may come later than its workload, go, and come again under another number: then
 * the programs are put on it as soon as the kernel tells, and the other datapaths learn by which device that machine's
 * packets come now.
 */
#include <errno.h>
#include <net/if_arp.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "net.h"

uint32_t way_of(const struct net *net, uint32_t way)
{
	if (way == TARGET_OVERLAY)
		return ov_ifindex(net->ov);
	return way < net->n_targets ? net->targets[way].ifindex : 0; /* WAY_HOST: none */
}

/* Its machine is one of many to the others. */
static void tell_others(struct net *net, const struct target *t)
{
	const uint8_t *instance_id = t->conf.workload.instance_id;
	char text[600];

	for (uint32_t i = 0; i < net->n_targets; i++) {
		struct dp *dp = net->targets[i].dp;

		for (size_t at = 0; dp && dp != t->dp && at < dp_identity_count(dp); at++) {
			struct dp_identity id;
			struct err e = ERR_INIT;

			if (!dp_identity_get(dp, at, NULL, &id) ||
			    memcmp(id.instance_id, instance_id, BY_INSTANCE_ID_LEN) != 0)
				continue;
			id.via = t->ifindex;
			if (dp_identity_set(dp, &id, NULL, &e) < 0)
				log_err("%s", err_text(&e, text, sizeof(text)));
			break;
		}
	}
}

static void in_trouble(struct target *t, const char *why)
{
	if (strcmp(t->trouble, why) == 0)
		return;
	snprintf(t->trouble, sizeof(t->trouble), "%s", why);
	log_warn("workload %s: %s is not guarded: %s", t->conf.workload.name, t->conf.interface, why);
}

static bool has_frames(const char *interface)
{
	struct ifreq ifr = { 0 };
	auto_fd int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", interface);
	return fd >= 0 && ioctl(fd, SIOCGIFHWADDR, &ifr) == 0 && ifr.ifr_hwaddr.sa_family == ARPHRD_ETHER;
}

static int guard(struct target *t, unsigned ifindex, struct err *e)
{
	if (!has_frames(t->conf.interface))
		return err_at(e, -EINVAL, t->conf.interface, "is no device with Ethernet frames");
	return dp_attach(t->dp, ifindex, e);
}

static void watch_one(struct target *t)
{
	unsigned ifindex = if_nametoindex(t->conf.interface), had = t->ifindex;
	struct err e = ERR_INIT;

	if (ifindex && ifindex == had)
		return;
	t->ifindex = 0;
	if (!ifindex)
		in_trouble(t, "there is no such device");
	else if (guard(t, ifindex, &e) < 0)
		in_trouble(t, e.msg);
	else {
		t->ifindex = ifindex;
		t->trouble[0] = '\0';
		log_info("workload %s: guarded on %s (%s)", t->conf.workload.name, t->conf.interface,
			 dp_attach_mode(t->dp));
	}
	if (t->ifindex != had)
		tell_others(t->net, t);
}

void workloads_watch(struct net *net)
{
	for (uint32_t i = 0; i < net->n_targets; i++)
		if (net->targets[i].dp && net->targets[i].conf.kind == TARGET_IS_WORKLOAD)
			watch_one(&net->targets[i]);
}

/* --- opening and closing --- */

static void close_all(struct target *t)
{
	capture_stop(t);
	if (t->ring)
		event_free(t->ring);
	dp_close(t->dp);
	*t = (struct target){ 0 };
}

int workload_open(struct target *t, struct err *e)
{
	const struct conf_workload *w = &t->conf.workload;
	struct dp_options o = { .l3_offset = 14, .is_workload = true, .sizes = dp_sizes_small };
	struct net *net = t->net;
	int ret;

	msg_terminate(t->conf.workload.name);
	memcpy(o.vlan, w->vlan, sizeof(o.vlan));
	memcpy(o.mac, w->mac, sizeof(o.mac));
	ret = dp_workload_open(net->conf.bpffs, net->conf.instance, w->name, &o, &t->dp, e);
	if (!ret)
		ret = open_ring(t, e);
	if (!ret && net->is_capturing)
		ret = capture_start(t, e);
	if (ret)
		close_all(t);
	else
		watch_one(t);
	return ret;
}

int workload_close(struct net *net, uint32_t target, struct err *e)
{
	struct target *t = &net->targets[target];
	struct conf_workload w = t->conf.workload;

	if (t->conf.kind != TARGET_IS_WORKLOAD)
		return err_at(e, -EPROTO, "net process", "target %u is no workload", target);
	t->ifindex = 0;
	tell_others(net, t);
	close_all(t);
	peers_forget_target(net, target);
	return dp_workload_destroy(net->conf.bpffs, net->conf.instance, w.name, e);
}

static int prune(const char *name, void *arg, struct err *e)
{
	struct net *net = arg;

	for (uint32_t i = 0; i < net->n_targets; i++)
		if (net->targets[i].dp && strcmp(net->targets[i].conf.workload.name, name) == 0)
			return 0;
	log_info("workload %s: is not configured any more and not guarded", name);
	return dp_workload_destroy(net->conf.bpffs, net->conf.instance, name, e);
}

int workloads_prune(struct net *net, struct err *e)
{
	return dp_workloads(net->conf.bpffs, net->conf.instance, prune, net, e);
}

/* --- what the kernel tells of devices --- */

static void on_links(evutil_socket_t fd, short what, void *arg)
{
	char buf[16384];

	(void)what;
	while (recv(fd, buf, sizeof(buf), MSG_DONTWAIT) > 0 || errno == ENOBUFS)
		; /* what it says is looked up: a message may be lost */
	workloads_watch(arg);
	divert_watch(arg);
}

int links_open(struct net *net)
{
	struct sockaddr_nl at = { .nl_family = AF_NETLINK, .nl_groups = RTMGRP_LINK };
	auto_fd int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);

	if (fd < 0 || bind(fd, (struct sockaddr *)&at, sizeof(at)) < 0)
		return -errno;
	net->links = event_new(net->base, fd, EV_READ | EV_PERSIST, on_links, net);
	if (!net->links || event_add(net->links, NULL) < 0)
		return -ENOMEM;
	take_fd(&fd);
	return 0;
}
