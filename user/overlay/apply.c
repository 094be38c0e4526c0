// SPDX-License-Identifier: Apache-2.0
/* Reading a device, and bringing it to what is wanted. */
#include <errno.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"
#include "handle.h"
#include "wg_netlink.h"
#include "wg_uapi.h"

#define auto_device __attribute__((cleanup(ov_device_fini)))
#define auto_diff   __attribute__((cleanup(ov_diff_fini)))

/* The link as it is, if it still is the one that was opened. */
static int find_link(struct ov *ov, struct ov_link *link, struct err *e)
{
	struct ov_link l;
	int rc;

	rc = ov_link_find(&ov->nl, ov->name, &l, e);
	if (rc == -ENODEV || (!rc && l.ifindex != ov->ifindex))
		return err_at(e, -ENODEV, ov->name, "the link that was opened is gone");
	if (!rc)
		*link = l;
	return rc;
}

static int get_device(const struct ov *ov, struct ov_device *dev, struct err *e)
{
	return ov->backend == OV_KERNEL ? ov_wgnl_get(ov->name, dev, e) : ov_uapi_get(ov->name, dev, e);
}

int ov_read(struct ov *ov, struct ov_device *dev, struct err *e)
{
	auto_prefixes struct ov_prefixes addrs = { 0 };
	auto_device struct ov_device got = { 0 };
	struct ov_link link;
	int rc;

	rc = find_link(ov, &link, e);
	if (!rc)
		rc = get_device(ov, &got, e);
	if (!rc)
		rc = ov_rt_dump(&ov->nl, RTM_GETADDR, ov->name, ov->ifindex, &addrs, e);
	if (rc < 0)
		return rc;
	memcpy(got.name, ov->name, sizeof(got.name));
	got.mtu = link.mtu;
	got.rx_packets = link.rx_packets;
	memcpy(got.note, link.alias, sizeof(got.note));
	for (size_t i = 0; i < addrs.n && got.n_addrs < ARRAY_LEN(got.addrs); i++)
		got.addrs[got.n_addrs++] = addrs.v[i];
	*dev = got;
	got = (struct ov_device){ 0 };
	return 0;
}

int ov_note(struct ov *ov, const char *text, struct err *e)
{
	return ov_link_set_alias(&ov->nl, ov->name, ov->ifindex, text, e);
}

static int send_diff(struct ov *ov, const struct ov_device *want, const struct ov_diff *diff, struct err *e)
{
	if (!diff->set_private_key && !diff->set_listen_port && !diff->n_set && !diff->n_remove)
		return 0;
	return ov->backend == OV_KERNEL ? ov_wgnl_set(ov->name, want, diff, e) : ov_uapi_set(ov->name, want, diff, e);
}

static void count(const struct ov_diff *diff, struct ov_changes *did)
{
	did->device_changed = diff->set_private_key || diff->set_listen_port;
	did->peers_removed = (unsigned)diff->n_remove;
	for (size_t i = 0; i < diff->n_set; i++)
		if (diff->is_new[i])
			did->peers_added++;
		else
			did->peers_changed++;
}

/* Key, port and peers. */
static int apply_device(struct ov *ov, const struct ov_device *want, struct ov_changes *did, struct err *e)
{
	auto_free struct ov_peer *peers = NULL;
	auto_device struct ov_device have = { 0 };
	auto_diff struct ov_diff diff = { 0 };
	struct ov_device shall = *want;
	int rc;

	rc = get_device(ov, &have, e);
	if (rc < 0)
		return rc;
	rc = ov_want_peers(&have, want, &ov->asked, time(NULL), &peers);
	if (rc < 0)
		return rc;
	shall.peers = peers;
	rc = ov_diff(&have, &shall, &diff);
	explicit_bzero(shall.private_key, sizeof(shall.private_key));
	if (rc < 0)
		return err_at(e, rc, ov->name, "a peer is there twice");
	count(&diff, did);
	rc = send_diff(ov, want, &diff, e);
	return rc ? rc : ov_asked_next(want, peers, &ov->asked);
}

static int apply_link(struct ov *ov, const struct ov_device *want, const struct ov_link *link, struct ov_changes *did,
		      struct err *e)
{
	int rc = 0;

	if (link->has_gen_mode && link->gen_mode != IN6_ADDR_GEN_MODE_NONE) {
		rc = ov_link_set_quiet(&ov->nl, ov->name, ov->ifindex, e);
		did->link_changed = true;
	}
	if (!rc && want->mtu && link->mtu != want->mtu) {
		rc = ov_link_set_mtu(&ov->nl, ov->name, ov->ifindex, want->mtu, e);
		did->link_changed = true;
	}
	return rc;
}

static int change_all(struct ov *ov, int type, const struct ov_prefixes *list, unsigned *did, struct err *e)
{
	int rc = 0;

	for (size_t i = 0; i < list->n && !rc; i++) {
		rc = ov_rt_change(&ov->nl, type, ov->name, ov->ifindex, &list->v[i], e);
		*did += 1;
	}
	return rc;
}

/* Addresses (RTM_*ADDR) or our routes (RTM_*ROUTE): removes what is not wanted, adds what is not there. */
static int apply_prefixes(struct ov *ov, bool routes, struct ov_prefixes *want, unsigned *did, struct err *e)
{
	auto_prefixes struct ov_prefixes have = { 0 }, del = { 0 }, add = { 0 };
	int get = routes ? RTM_GETROUTE : RTM_GETADDR, rc;

	rc = ov_rt_dump(&ov->nl, get, ov->name, ov->ifindex, &have, e);
	if (!rc)
		rc = ov_prefixes_diff(&have, want, &del, &add);
	if (!rc)
		rc = change_all(ov, routes ? RTM_DELROUTE : RTM_DELADDR, &del, did, e);
	if (!rc && del.n) {
		/* an IPv4 address takes the others of its network along when it goes: look again */
		ov_prefixes_fini(&del);
		ov_prefixes_fini(&add);
		rc = ov_rt_dump(&ov->nl, get, ov->name, ov->ifindex, &have, e);
		if (!rc)
			rc = ov_prefixes_diff(&have, want, &del, &add);
	}
	return rc ? rc : change_all(ov, routes ? RTM_NEWROUTE : RTM_NEWADDR, &add, did, e);
}

static int apply_addrs(struct ov *ov, const struct ov_device *want, struct ov_changes *did, struct err *e)
{
	auto_prefixes struct ov_prefixes list = { 0 };
	int rc = 0;

	for (uint32_t i = 0; i < want->n_addrs && !rc; i++)
		rc = ov_prefixes_add(&list, &want->addrs[i]);
	return rc ? rc : apply_prefixes(ov, false, &list, &did->addrs_changed, e);
}

static bool is_connected(const struct ov_device *want, const struct by_addr *a)
{
	for (uint32_t i = 0; i < want->n_addrs; i++)
		if (addr_in_prefix(a, &want->addrs[i]))
			return true;
	return false;
}

/* The addresses' networks are routed by the kernel; only peers outside of them need a route. */
static int apply_routes(struct ov *ov, const struct ov_device *want, struct ov_changes *did, struct err *e)
{
	auto_prefixes struct ov_prefixes list = { 0 };
	int rc = 0;

	for (size_t i = 0; i < want->n_peers && !want->is_carrier; i++)
		for (uint32_t k = 0; k < want->peers[i].n_allowed && !rc; k++)
			if (!is_connected(want, &want->peers[i].allowed[k].addr))
				rc = ov_prefixes_add(&list, &want->peers[i].allowed[k]);
	return rc ? rc : apply_prefixes(ov, true, &list, &did->routes_changed, e);
}

static int apply_up(struct ov *ov, const struct ov_link *link, struct ov_changes *did, struct err *e)
{
	if (link->is_up)
		return 0;
	did->link_changed = true;
	return ov_link_set_up(&ov->nl, ov->name, ov->ifindex, e);
}

/* Peers go first: when the link comes up, whoever was removed is gone and every address has its owner. */
int ov_apply(struct ov *ov, const struct ov_device *want, struct ov_changes *changes, struct err *e)
{
	struct ov_changes did = { 0 };
	struct ov_link link;
	int rc;

	rc = ov_check(want, e);
	if (!rc)
		rc = find_link(ov, &link, e);
	if (!rc)
		rc = apply_device(ov, want, &did, e);
	if (!rc)
		rc = apply_link(ov, want, &link, &did, e);
	if (!rc)
		rc = apply_addrs(ov, want, &did, e);
	if (!rc)
		rc = apply_up(ov, &link, &did, e);
	if (!rc)
		rc = apply_routes(ov, want, &did, e);
	if (rc < 0)
		return rc;
	*changes = did;
	return 0;
}
