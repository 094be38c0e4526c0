// SPDX-License-Identifier: Apache-2.0
/* What others have on this machine that the overlay meets: routes over the same addresses, tc filters. */
#include <errno.h>
#include <linux/genetlink.h>
#include <linux/pkt_cls.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <linux/wireguard.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "overlay.h"
#include "rtnl.h"

#define BUF 256

int ov_kernel_has_wireguard(void)
{
	char buf[BUF] __attribute__((aligned(4)));
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
	auto_nl struct ov_nl nl = { 0 };
	struct err e = ERR_INIT;
	struct genlmsghdr *genl;
	int ret = ov_nl_open(&nl, NETLINK_GENERIC, &e);

	nlh->nlmsg_type = GENL_ID_CTRL;
	genl = mnl_nlmsg_put_extra_header(nlh, sizeof(*genl));
	genl->cmd = CTRL_CMD_GETFAMILY;
	genl->version = 1;
	mnl_attr_put_strz(nlh, CTRL_ATTR_FAMILY_NAME, WG_GENL_NAME); /* the kernel loads the module for it */
	if (!ret)
		ret = ov_nl_talk(&nl, nlh, NULL, NULL, "wireguard", &e);
	return ret == 0 ? 1 : ret == -ENOENT ? 0 : ret;
}

/* --- routes --- */

struct routes {
	unsigned own;
	const struct ip_prefix *nets;
	size_t n;
	struct ov_nl *links; /* a second socket: the first is in the middle of its dump */
	void (*fn)(const struct ov_route *route, void *arg);
	void *arg;
};

/* Of one family; is one inside the other? */
static bool overlap(const struct ip_prefix *a, const struct ip_prefix *b)
{
	if (addr_is_v4(&a->addr) != addr_is_v4(&b->addr))
		return false;
	return addr_in_prefix(&a->addr, b) || addr_in_prefix(&b->addr, a);
}

/* The kernel takes the longest prefix of a table, and other tables are asked before the main one. */
static bool takes_packets(const struct ov_route *r, const struct ip_prefix *net)
{
	return overlap(&r->net, net) && r->net.bits && (r->net.bits >= net->bits || r->table != RT_TABLE_MAIN);
}

static bool route_read(const struct nlmsghdr *nlh, struct ov_route *r, unsigned *oif)
{
	const struct rtmsg *rtm = mnl_nlmsg_get_payload(nlh);
	const struct nlattr *attr;
	bool has_dst = false;

	if (mnl_nlmsg_get_payload_len(nlh) < sizeof(*rtm) || nlh->nlmsg_type != RTM_NEWROUTE ||
	    rtm->rtm_type != RTN_UNICAST || (rtm->rtm_family != AF_INET && rtm->rtm_family != AF_INET6))
		return false;
	*r = (struct ov_route){ .net.bits = rtm->rtm_dst_len,
				.net.addr.b = { [10] = 0xff, [11] = 0xff },
				.table = rtm->rtm_table };
	mnl_attr_for_each(attr, nlh, sizeof(*rtm))
	{
		int type = mnl_attr_get_type(attr);

		if (type == RTA_DST)
			has_dst = rtm->rtm_family == AF_INET ? ov_nl_bytes(attr, r->net.addr.b + 12, 4)
							     : ov_nl_bytes(attr, r->net.addr.b, 16);
		else if (type == RTA_OIF)
			ov_nl_bytes(attr, oif, sizeof(*oif));
		else if (type == RTA_TABLE)
			ov_nl_bytes(attr, &r->table, sizeof(r->table));
	}
	return has_dst;
}

static int take_route(const struct nlmsghdr *nlh, void *data)
{
	struct routes *all = data;
	struct ov_link link = { 0 };
	struct ov_route r;
	unsigned oif = 0;
	bool is_met = false;

	if (!route_read(nlh, &r, &oif) || !oif || oif == all->own || !if_indextoname(oif, r.interface))
		return 0;
	for (size_t i = 0; i < all->n; i++)
		is_met |= takes_packets(&r, &all->nets[i]);
	if (!is_met)
		return 0;
	if (ov_link_find(all->links, r.interface, &link, NULL) == 0)
		snprintf(r.kind, sizeof(r.kind), "%s", link.kind);
	all->fn(&r, all->arg);
	return 0;
}

int ov_routes_overlapping(const char *interface, const struct ip_prefix *nets, size_t n,
			  void (*fn)(const struct ov_route *route, void *arg), void *arg, struct err *e)
{
	char buf[BUF] __attribute__((aligned(4)));
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
	auto_nl struct ov_nl nl = { 0 }, links = { 0 };
	struct routes all = {
		.own = if_nametoindex(interface), .nets = nets, .n = n, .links = &links, .fn = fn, .arg = arg
	};
	int ret = ov_nl_open(&nl, NETLINK_ROUTE, e);

	nlh->nlmsg_type = RTM_GETROUTE;
	nlh->nlmsg_flags = NLM_F_DUMP;
	mnl_nlmsg_put_extra_header(nlh, sizeof(struct rtmsg));
	if (!ret)
		ret = ov_nl_open(&links, NETLINK_ROUTE, e);
	if (!ret)
		ret = ov_nl_talk(&nl, nlh, take_route, &all, "routes", e);
	return ret == -EINTR ? 0 : ret; /* the list moved meanwhile: good enough to look at */
}

/* --- tc filters --- */

struct filters {
	bool is_ingress;
	void (*fn)(bool is_ingress, const char *kind, const char *name, void *arg);
	void *arg;
};

static int take_filter(const struct nlmsghdr *nlh, void *data)
{
	char kind[16] = "", name[64] = "";
	const struct nlattr *attr, *option;
	const struct filters *f = data;
	bool is_one = false;

	if (mnl_nlmsg_get_payload_len(nlh) < sizeof(struct tcmsg) || nlh->nlmsg_type != RTM_NEWTFILTER)
		return 0;
	mnl_attr_for_each(attr, nlh, sizeof(struct tcmsg))
	{
		if (mnl_attr_get_type(attr) == TCA_KIND)
			ov_nl_text(attr, kind, sizeof(kind));
		if (mnl_attr_get_type(attr) != TCA_OPTIONS)
			continue;
		is_one = true; /* a chain's head comes without */
		mnl_attr_for_each_nested(option, attr) if (mnl_attr_get_type(option) == TCA_BPF_NAME)
			ov_nl_text(option, name, sizeof(name));
	}
	if (is_one && strncmp(name, "by_", 3) != 0)
		f->fn(f->is_ingress, kind, name, f->arg);
	return 0;
}

int ov_filters(unsigned ifindex, void (*fn)(bool is_ingress, const char *kind, const char *name, void *arg), void *arg,
	       struct err *e)
{
	char buf[BUF] __attribute__((aligned(4)));
	auto_nl struct ov_nl nl = { 0 };
	int ret = ov_nl_open(&nl, NETLINK_ROUTE, e);

	for (int i = 0; i < 2 && !ret; i++) {
		struct filters f = { .is_ingress = !i, .fn = fn, .arg = arg };
		struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
		struct err none = ERR_INIT;
		struct tcmsg *tc;

		nlh->nlmsg_type = RTM_GETTFILTER;
		nlh->nlmsg_flags = NLM_F_DUMP;
		tc = mnl_nlmsg_put_extra_header(nlh, sizeof(*tc));
		tc->tcm_ifindex = (int)ifindex;
		tc->tcm_parent = TC_H_MAKE(TC_H_CLSACT, i ? TC_H_MIN_EGRESS : TC_H_MIN_INGRESS);
		ov_nl_talk(&nl, nlh, take_filter, &f, "tc filters", &none); /* refused where there is no clsact */
	}
	return ret;
}
