// SPDX-License-Identifier: Apache-2.0
/*
 * Packets that a BPF program gave to a socket are for addresses that this machine does not have. A rule for their mark
 * and a table in which every address is local keep routing from sending them on.
 */
#include <errno.h>
#include <linux/fib_rules.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <string.h>
#include <sys/socket.h>

#include "overlay.h"
#include "rtnl.h"

#define LOCAL_TABLE    177
#define LOCAL_PRIORITY 177

static struct nlmsghdr *put(void *buf, int type, bool is_new)
{
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);

	nlh->nlmsg_type = (uint16_t)type;
	nlh->nlmsg_flags = NLM_F_REQUEST | (is_new ? NLM_F_CREATE | NLM_F_EXCL : 0);
	return nlh;
}

static struct nlmsghdr *put_rule(void *buf, bool is_new, int family, uint32_t mark)
{
	struct nlmsghdr *nlh = put(buf, is_new ? RTM_NEWRULE : RTM_DELRULE, is_new);
	struct fib_rule_hdr *rule = mnl_nlmsg_put_extra_header(nlh, sizeof(*rule));

	rule->family = (uint8_t)family;
	rule->table = LOCAL_TABLE;
	rule->action = FR_ACT_TO_TBL;
	mnl_attr_put_u32(nlh, FRA_PRIORITY, LOCAL_PRIORITY);
	mnl_attr_put_u32(nlh, FRA_FWMARK, mark);
	mnl_attr_put_u32(nlh, FRA_FWMASK, UINT32_MAX);
	mnl_attr_put_u8(nlh, FRA_PROTOCOL, OV_ROUTE_PROTO);
	return nlh;
}

static struct nlmsghdr *put_table(void *buf, bool is_new, int family, unsigned loopback)
{
	struct nlmsghdr *nlh = put(buf, is_new ? RTM_NEWROUTE : RTM_DELROUTE, is_new);
	struct rtmsg *rtm = mnl_nlmsg_put_extra_header(nlh, sizeof(*rtm));

	rtm->rtm_family = (uint8_t)family;
	rtm->rtm_table = LOCAL_TABLE;
	rtm->rtm_protocol = OV_ROUTE_PROTO;
	rtm->rtm_scope = RT_SCOPE_HOST;
	rtm->rtm_type = RTN_LOCAL;
	mnl_attr_put_u32(nlh, RTA_OIF, loopback);
	return nlh;
}

/* It is there already, it has gone already, the kernel has no IPv6: all as good. */
static int talk(struct ov_nl *nl, struct nlmsghdr *nlh, bool is_new, int family, const char *what, struct err *e)
{
	struct err inner = ERR_INIT;
	int ret = ov_nl_talk(nl, nlh, NULL, NULL, what, &inner);

	if (is_new ? ret == -EEXIST : ret == -ENOENT || ret == -ESRCH || ret == -EAFNOSUPPORT)
		return 0;
	if (family == AF_INET6 && (ret == -EAFNOSUPPORT || ret == -EOPNOTSUPP))
		return 0;
	if (ret && e)
		*e = inner;
	return ret;
}

int ov_local_set(bool is_on, uint32_t mark, struct err *e)
{
	static const int family[] = { AF_INET, AF_INET6 };
	char buf[OV_RT_BUF] __attribute__((aligned(4)));
	auto_nl struct ov_nl nl = { 0 };
	unsigned loopback = if_nametoindex("lo");
	int ret = ov_nl_open(&nl, NETLINK_ROUTE, e);

	for (int i = 0; !ret && i < 2; i++) {
		ret = talk(&nl, put_table(buf, is_on, family[i], loopback), is_on, family[i], "local table", e);
		if (!ret)
			ret = talk(&nl, put_rule(buf, is_on, family[i], mark), is_on, family[i],
				   "rule for marked packets", e);
	}
	return ret;
}
