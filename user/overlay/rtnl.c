// SPDX-License-Identifier: Apache-2.0
#include "rtnl.h"

#include <errno.h>
#include <linux/if.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/cleanup.h"

#define DUMP_TRIES 5
#define WHAT_TEXT  96

static struct nlmsghdr *put_link(void *buf, int type, uint16_t flags, unsigned ifindex)
{
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
	struct ifinfomsg *ifi;

	nlh->nlmsg_type = (uint16_t)type;
	nlh->nlmsg_flags = NLM_F_REQUEST | flags;
	ifi = mnl_nlmsg_put_extra_header(nlh, sizeof(*ifi));
	ifi->ifi_family = AF_UNSPEC;
	ifi->ifi_index = (int)ifindex;
	return nlh;
}

struct nlmsghdr *ov_link_put_create(void *buf, const char *name, const char *kind)
{
	struct nlmsghdr *nlh = put_link(buf, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, 0);
	struct nlattr *info;

	mnl_attr_put_strz(nlh, IFLA_IFNAME, name);
	info = mnl_attr_nest_start(nlh, IFLA_LINKINFO);
	mnl_attr_put_strz(nlh, IFLA_INFO_KIND, kind);
	mnl_attr_nest_end(nlh, info);
	return nlh;
}

struct nlmsghdr *ov_link_put_quiet(void *buf, unsigned ifindex)
{
	struct nlmsghdr *nlh = put_link(buf, RTM_NEWLINK, 0, ifindex);
	struct nlattr *spec = mnl_attr_nest_start(nlh, IFLA_AF_SPEC);
	struct nlattr *inet6 = mnl_attr_nest_start(nlh, AF_INET6);

	mnl_attr_put_u8(nlh, IFLA_INET6_ADDR_GEN_MODE, IN6_ADDR_GEN_MODE_NONE);
	mnl_attr_nest_end(nlh, inet6);
	mnl_attr_nest_end(nlh, spec);
	return nlh;
}

struct nlmsghdr *ov_link_put_alias(void *buf, unsigned ifindex, const char *alias)
{
	struct nlmsghdr *nlh = put_link(buf, RTM_NEWLINK, 0, ifindex);

	mnl_attr_put_strz(nlh, IFLA_IFALIAS, alias);
	return nlh;
}

static void parse_af_spec(const struct nlattr *spec, struct ov_link *link)
{
	const struct nlattr *family, *attr;

	mnl_attr_for_each_nested(family, spec)
	{
		if (mnl_attr_get_type(family) != AF_INET6)
			continue;
		mnl_attr_for_each_nested(attr, family) if (mnl_attr_get_type(attr) == IFLA_INET6_ADDR_GEN_MODE)
			link->has_gen_mode = ov_nl_bytes(attr, &link->gen_mode, 1);
	}
}

static void parse_stats(const struct nlattr *attr, struct ov_link *link)
{
	struct rtnl_link_stats64 stats; /* longer with each kernel */

	if (mnl_attr_get_payload_len(attr) < offsetof(struct rtnl_link_stats64, tx_packets))
		return;
	memcpy(&stats, mnl_attr_get_payload(attr), offsetof(struct rtnl_link_stats64, tx_packets));
	link->rx_packets = stats.rx_packets;
}

bool ov_link_parse(const struct nlmsghdr *nlh, struct ov_link *link)
{
	const struct ifinfomsg *ifi = mnl_nlmsg_get_payload(nlh);
	const struct nlattr *attr, *info;
	struct ov_link l = { 0 };

	if (mnl_nlmsg_get_payload_len(nlh) < sizeof(*ifi) || nlh->nlmsg_type != RTM_NEWLINK)
		return false;
	l.ifindex = (unsigned)ifi->ifi_index;
	l.is_up = ifi->ifi_flags & IFF_UP;
	mnl_attr_for_each(attr, nlh, sizeof(*ifi))
	{
		switch (mnl_attr_get_type(attr)) {
		case IFLA_MTU:
			ov_nl_bytes(attr, &l.mtu, sizeof(l.mtu));
			break;
		case IFLA_IFALIAS:
			ov_nl_text(attr, l.alias, sizeof(l.alias));
			break;
		case IFLA_STATS64:
			parse_stats(attr, &l);
			break;
		case IFLA_LINKINFO:
			mnl_attr_for_each_nested(info, attr) if (mnl_attr_get_type(info) == IFLA_INFO_KIND)
				ov_nl_text(info, l.kind, sizeof(l.kind));
			break;
		case IFLA_AF_SPEC:
			parse_af_spec(attr, &l);
			break;
		}
	}
	*link = l;
	return true;
}

static int take_link(const struct nlmsghdr *nlh, void *data)
{
	return ov_link_parse(nlh, data) ? 0 : -EPROTO;
}

int ov_link_find(struct ov_nl *nl, const char *name, struct ov_link *link, struct err *e)
{
	char buf[OV_RT_BUF] __attribute__((aligned(4)));
	struct nlmsghdr *nlh = put_link(buf, RTM_GETLINK, 0, 0);
	struct err inner = ERR_INIT;
	struct ov_link found = { 0 };
	int rc;

	mnl_attr_put_strz(nlh, IFLA_IFNAME, name);
	rc = ov_nl_talk(nl, nlh, take_link, &found, name, &inner);
	if (!rc && !found.ifindex)
		rc = -ENODEV;
	if (!rc)
		*link = found;
	else if (rc != -ENODEV && e)
		*e = inner;
	return rc;
}

/* One request about one link; `verb` goes into the error's place. */
static int change(struct ov_nl *nl, struct nlmsghdr *nlh, const char *name, const char *verb, struct err *e)
{
	char what[WHAT_TEXT + 32];

	snprintf(what, sizeof(what), "%s: %s", name, verb);
	return ov_nl_talk(nl, nlh, NULL, NULL, what, e);
}

int ov_link_create(struct ov_nl *nl, const char *name, const char *kind, struct err *e)
{
	char buf[OV_RT_BUF] __attribute__((aligned(4)));

	return change(nl, ov_link_put_create(buf, name, kind), name, "create link", e);
}

int ov_link_delete(struct ov_nl *nl, const char *name, unsigned ifindex, struct err *e)
{
	char buf[OV_RT_BUF] __attribute__((aligned(4)));

	return change(nl, put_link(buf, RTM_DELLINK, 0, ifindex), name, "delete link", e);
}

int ov_link_set_mtu(struct ov_nl *nl, const char *name, unsigned ifindex, uint32_t mtu, struct err *e)
{
	char buf[OV_RT_BUF] __attribute__((aligned(4)));
	struct nlmsghdr *nlh = put_link(buf, RTM_NEWLINK, 0, ifindex);

	mnl_attr_put_u32(nlh, IFLA_MTU, mtu);
	return change(nl, nlh, name, "set MTU", e);
}

int ov_link_set_up(struct ov_nl *nl, const char *name, unsigned ifindex, struct err *e)
{
	char buf[OV_RT_BUF] __attribute__((aligned(4)));
	struct nlmsghdr *nlh = put_link(buf, RTM_NEWLINK, 0, ifindex);
	struct ifinfomsg *ifi = mnl_nlmsg_get_payload(nlh);

	ifi->ifi_flags = IFF_UP;
	ifi->ifi_change = IFF_UP;
	return change(nl, nlh, name, "bring up", e);
}

int ov_link_set_quiet(struct ov_nl *nl, const char *name, unsigned ifindex, struct err *e)
{
	char buf[OV_RT_BUF] __attribute__((aligned(4)));

	return change(nl, ov_link_put_quiet(buf, ifindex), name, "turn link-local addresses off", e);
}

int ov_link_set_alias(struct ov_nl *nl, const char *name, unsigned ifindex, const char *alias, struct err *e)
{
	char buf[OV_RT_BUF] __attribute__((aligned(4)));

	return change(nl, ov_link_put_alias(buf, ifindex, alias), name, "set alias", e);
}

static void put_address(struct nlmsghdr *nlh, uint16_t attr, const struct by_addr *a)
{
	if (addr_is_v4(a))
		mnl_attr_put(nlh, attr, 4, a->b + 12);
	else
		mnl_attr_put(nlh, attr, 16, a->b);
}

static void put_addr(struct nlmsghdr *nlh, unsigned ifindex, const struct ip_prefix *p)
{
	struct ifaddrmsg *ifa = mnl_nlmsg_put_extra_header(nlh, sizeof(*ifa));

	ifa->ifa_family = addr_is_v4(&p->addr) ? AF_INET : AF_INET6;
	ifa->ifa_prefixlen = p->bits;
	ifa->ifa_index = ifindex;
	/* nobody on an overlay answers neighbour solicitations: an address that waits for them is late */
	ifa->ifa_flags = ifa->ifa_family == AF_INET6 ? IFA_F_NODAD : 0;
	put_address(nlh, IFA_LOCAL, &p->addr);
	put_address(nlh, IFA_ADDRESS, &p->addr);
}

static void put_route(struct nlmsghdr *nlh, unsigned ifindex, const struct ip_prefix *p)
{
	struct rtmsg *rtm = mnl_nlmsg_put_extra_header(nlh, sizeof(*rtm));

	rtm->rtm_family = addr_is_v4(&p->addr) ? AF_INET : AF_INET6;
	rtm->rtm_dst_len = p->bits;
	rtm->rtm_table = RT_TABLE_MAIN;
	rtm->rtm_protocol = OV_ROUTE_PROTO;
	rtm->rtm_scope = rtm->rtm_family == AF_INET ? RT_SCOPE_LINK : RT_SCOPE_UNIVERSE;
	rtm->rtm_type = RTN_UNICAST;
	put_address(nlh, RTA_DST, &p->addr);
	mnl_attr_put_u32(nlh, RTA_OIF, ifindex);
}

struct nlmsghdr *ov_rt_put(void *buf, int type, unsigned ifindex, const struct ip_prefix *p)
{
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);

	nlh->nlmsg_type = (uint16_t)type;
	nlh->nlmsg_flags = NLM_F_REQUEST;
	if (type == RTM_NEWADDR || type == RTM_NEWROUTE)
		nlh->nlmsg_flags |= NLM_F_CREATE | NLM_F_EXCL;
	if (type == RTM_NEWADDR || type == RTM_DELADDR)
		put_addr(nlh, ifindex, p);
	else
		put_route(nlh, ifindex, p);
	return nlh;
}

static bool parse_address(const struct nlattr *attr, int family, struct by_addr *a)
{
	struct by_addr got = { .b = { [10] = 0xff, [11] = 0xff } };

	if (family == AF_INET ? !ov_nl_bytes(attr, got.b + 12, 4) : !ov_nl_bytes(attr, got.b, 16))
		return false;
	*a = got;
	return true;
}

bool ov_addr_parse(const struct nlmsghdr *nlh, unsigned ifindex, struct ip_prefix *p)
{
	const struct ifaddrmsg *ifa = mnl_nlmsg_get_payload(nlh);
	bool has_local = false, has_address = false;
	struct by_addr local, address;
	const struct nlattr *attr;

	if (mnl_nlmsg_get_payload_len(nlh) < sizeof(*ifa) || nlh->nlmsg_type != RTM_NEWADDR ||
	    ifa->ifa_index != ifindex || (ifa->ifa_family != AF_INET && ifa->ifa_family != AF_INET6))
		return false;
	mnl_attr_for_each(attr, nlh, sizeof(*ifa))
	{
		if (mnl_attr_get_type(attr) == IFA_LOCAL)
			has_local = parse_address(attr, ifa->ifa_family, &local);
		else if (mnl_attr_get_type(attr) == IFA_ADDRESS)
			has_address = parse_address(attr, ifa->ifa_family, &address);
	}
	/* on a point-to-point link IFA_ADDRESS is the other end; IPv6 says IFA_LOCAL only there */
	if (!has_local && !has_address)
		return false;
	*p = (struct ip_prefix){ .addr = has_local ? local : address, .bits = ifa->ifa_prefixlen };
	return true;
}

bool ov_route_parse(const struct nlmsghdr *nlh, unsigned ifindex, struct ip_prefix *p)
{
	const struct rtmsg *rtm = mnl_nlmsg_get_payload(nlh);
	struct ip_prefix got = { 0 };
	const struct nlattr *attr;
	bool has_dst = false;
	uint32_t oif = 0;

	if (mnl_nlmsg_get_payload_len(nlh) < sizeof(*rtm) || nlh->nlmsg_type != RTM_NEWROUTE ||
	    rtm->rtm_protocol != OV_ROUTE_PROTO || (rtm->rtm_family != AF_INET && rtm->rtm_family != AF_INET6))
		return false;
	got.bits = rtm->rtm_dst_len;
	mnl_attr_for_each(attr, nlh, sizeof(*rtm))
	{
		if (mnl_attr_get_type(attr) == RTA_DST)
			has_dst = parse_address(attr, rtm->rtm_family, &got.addr);
		else if (mnl_attr_get_type(attr) == RTA_OIF)
			ov_nl_bytes(attr, &oif, sizeof(oif));
	}
	if (!has_dst || oif != ifindex)
		return false;
	*p = got;
	return true;
}

struct dump {
	unsigned ifindex;
	struct ov_prefixes *list;
};

static int take_prefix(const struct nlmsghdr *nlh, void *data)
{
	struct dump *d = data;
	struct ip_prefix p;

	if (!ov_addr_parse(nlh, d->ifindex, &p) && !ov_route_parse(nlh, d->ifindex, &p))
		return 0;
	return ov_prefixes_add(d->list, &p);
}

int ov_rt_dump(struct ov_nl *nl, int type, const char *name, unsigned ifindex, struct ov_prefixes *list, struct err *e)
{
	char buf[OV_RT_BUF] __attribute__((aligned(4)));
	auto_prefixes struct ov_prefixes got = { 0 };
	struct dump d = { .ifindex = ifindex, .list = &got };
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
	size_t head = type == RTM_GETADDR ? sizeof(struct ifaddrmsg) : sizeof(struct rtmsg);
	int rc = -EINTR;

	nlh->nlmsg_type = (uint16_t)type;
	nlh->nlmsg_flags = NLM_F_DUMP;
	mnl_nlmsg_put_extra_header(nlh, head);
	for (int i = 0; i < DUMP_TRIES && rc == -EINTR; i++) {
		got.n = 0;
		rc = ov_nl_talk(nl, nlh, take_prefix, &d, name, e);
	}
	if (rc < 0)
		return err_at(e, rc, name, "no stable list of addresses or routes");
	ov_prefixes_fini(list);
	*list = got;
	got = (struct ov_prefixes){ 0 };
	return 0;
}

int ov_rt_change(struct ov_nl *nl, int type, const char *name, unsigned ifindex, const struct ip_prefix *p,
		 struct err *e)
{
	const char *verb = type == RTM_NEWADDR    ? "add address"
			   : type == RTM_DELADDR  ? "remove address"
			   : type == RTM_NEWROUTE ? "add route"
						  : "remove route";
	char buf[OV_RT_BUF] __attribute__((aligned(4)));
	char text[PREFIX_TEXT], what[WHAT_TEXT];

	snprintf(what, sizeof(what), "%s %s", verb, prefix_print(p, text));
	return change(nl, ov_rt_put(buf, type, ifindex, p), name, what, e);
}
