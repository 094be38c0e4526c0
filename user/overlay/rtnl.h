/* SPDX-License-Identifier: Apache-2.0 */
/* Links, addresses and routes over rtnetlink. */
#pragma once

#include "base/addr.h"
#include "nl.h"
#include "overlay.h"

#define OV_ROUTE_PROTO 177 /* marks the routes that are ours to remove; free in linux/rtnetlink.h */

struct ov_link {
	unsigned ifindex;
	char kind[16]; /* "wireguard", "tun", "" */
	uint32_t mtu;
	bool is_up;
	uint64_t rx_packets;
	bool has_gen_mode; /* the kernel has IPv6 on this link */
	uint8_t gen_mode;  /* IN6_ADDR_GEN_MODE_* */
	char alias[OV_NOTE_LEN];
};

/* -ENODEV when there is none; `e` is then untouched. */
int ov_link_find(struct ov_nl *nl, const char *name, struct ov_link *link, struct err *e);
int ov_link_create(struct ov_nl *nl, const char *name, const char *kind, struct err *e); /* DOWN */
int ov_link_delete(struct ov_nl *nl, const char *name, unsigned ifindex, struct err *e);
int ov_link_set_mtu(struct ov_nl *nl, const char *name, unsigned ifindex, uint32_t mtu, struct err *e);
int ov_link_set_up(struct ov_nl *nl, const char *name, unsigned ifindex, struct err *e);
int ov_link_set_alias(struct ov_nl *nl, const char *name, unsigned ifindex, const char *alias, struct err *e);
/* No link-local address made by the kernel: the mesh knows no such address. */
int ov_link_set_quiet(struct ov_nl *nl, const char *name, unsigned ifindex, struct err *e);

#define OV_PREFIXES_MAX 65536

struct ov_prefixes {
	struct ip_prefix *v; /* owned */
	size_t n;
};

void ov_prefixes_fini(struct ov_prefixes *list);
int ov_prefixes_add(struct ov_prefixes *list, const struct ip_prefix *p);

#define auto_prefixes __attribute__((cleanup(ov_prefixes_fini)))

/* What a sorted merge of both lists says has to go and to come. Sorts both. */
int ov_prefixes_diff(struct ov_prefixes *have, struct ov_prefixes *want, struct ov_prefixes *del,
		     struct ov_prefixes *add);

/* The addresses of a link, or our routes over it: RTM_GETADDR or RTM_GETROUTE. */
int ov_rt_dump(struct ov_nl *nl, int type, const char *name, unsigned ifindex, struct ov_prefixes *list, struct err *e);
/* type: RTM_NEWADDR, RTM_DELADDR, RTM_NEWROUTE, RTM_DELROUTE. */
int ov_rt_change(struct ov_nl *nl, int type, const char *name, unsigned ifindex, const struct ip_prefix *p,
		 struct err *e);

/* Pure halves, for tests: messages into buf (OV_RT_BUF bytes), messages into structures. */
#define OV_RT_BUF 256
struct nlmsghdr *ov_link_put_create(void *buf, const char *name, const char *kind);
struct nlmsghdr *ov_link_put_quiet(void *buf, unsigned ifindex);
struct nlmsghdr *ov_link_put_alias(void *buf, unsigned ifindex, const char *alias);
struct nlmsghdr *ov_rt_put(void *buf, int type, unsigned ifindex, const struct ip_prefix *p);
bool ov_link_parse(const struct nlmsghdr *nlh, struct ov_link *link);
bool ov_addr_parse(const struct nlmsghdr *nlh, unsigned ifindex, struct ip_prefix *p);
bool ov_route_parse(const struct nlmsghdr *nlh, unsigned ifindex, struct ip_prefix *p);
