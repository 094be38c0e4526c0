// SPDX-License-Identifier: Apache-2.0
#include "wg_netlink.h"

#include <errno.h>
#include <linux/genetlink.h>
#include <linux/wireguard.h>
#include <netinet/in.h>
#include <string.h>

#include "base/cleanup.h"

#define DUMP_TRIES 5
#define PEER_ROOM  1024 /* more than the longest peer: endpoint, key and OV_MAX_ALLOWED addresses make 430 bytes */

_Static_assert(OV_KEY_LEN == WG_KEY_LEN, "one key length");

static void put_allowed(struct nlmsghdr *nlh, const struct ov_peer *peer)
{
	struct nlattr *list = mnl_attr_nest_start(nlh, WGPEER_A_ALLOWEDIPS);

	for (uint32_t i = 0; i < peer->n_allowed; i++) {
		const struct ip_prefix *p = &peer->allowed[i];
		bool v4 = addr_is_v4(&p->addr);
		struct nlattr *entry = mnl_attr_nest_start(nlh, 0);

		mnl_attr_put_u16(nlh, WGALLOWEDIP_A_FAMILY, v4 ? AF_INET : AF_INET6);
		mnl_attr_put(nlh, WGALLOWEDIP_A_IPADDR, v4 ? 4 : 16, p->addr.b + (v4 ? 12 : 0));
		mnl_attr_put_u8(nlh, WGALLOWEDIP_A_CIDR_MASK, p->bits);
		mnl_attr_nest_end(nlh, entry);
	}
	mnl_attr_nest_end(nlh, list);
}

static void put_set(struct nlmsghdr *nlh, const struct ov_peer *peer, bool replace_allowed)
{
	struct sockaddr_storage ss;
	socklen_t len;

	if (replace_allowed)
		mnl_attr_put_u32(nlh, WGPEER_A_FLAGS, WGPEER_F_REPLACE_ALLOWEDIPS);
	if (peer->has_endpoint) {
		len = endpoint_to_sockaddr(&peer->endpoint, &ss);
		mnl_attr_put(nlh, WGPEER_A_ENDPOINT, len, &ss);
	}
	if (peer->has_keepalive)
		mnl_attr_put_u16(nlh, WGPEER_A_PERSISTENT_KEEPALIVE_INTERVAL, peer->keepalive_s);
	if (replace_allowed)
		put_allowed(nlh, peer);
}

static void put_peer(struct nlmsghdr *nlh, const struct ov_diff *diff, size_t at)
{
	struct nlattr *peer = mnl_attr_nest_start(nlh, 0);

	if (at < diff->n_remove) {
		mnl_attr_put(nlh, WGPEER_A_PUBLIC_KEY, OV_KEY_LEN, diff->remove[at]);
		mnl_attr_put_u32(nlh, WGPEER_A_FLAGS, WGPEER_F_REMOVE_ME);
	} else {
		at -= diff->n_remove;
		mnl_attr_put(nlh, WGPEER_A_PUBLIC_KEY, OV_KEY_LEN, diff->set[at].public_key);
		put_set(nlh, &diff->set[at], diff->replace_allowed[at]);
	}
	mnl_attr_nest_end(nlh, peer);
}

struct nlmsghdr *ov_wgnl_build(void *buf, size_t cap, uint16_t family, const char *name, const struct ov_device *want,
			       const struct ov_diff *diff, size_t *at)
{
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
	size_t n = diff->n_remove + diff->n_set;
	struct genlmsghdr *genl;
	struct nlattr *peers;

	nlh->nlmsg_type = family;
	nlh->nlmsg_flags = NLM_F_REQUEST;
	genl = mnl_nlmsg_put_extra_header(nlh, sizeof(*genl));
	genl->cmd = WG_CMD_SET_DEVICE;
	genl->version = WG_GENL_VERSION;
	mnl_attr_put_strz(nlh, WGDEVICE_A_IFNAME, name);
	if (!*at && diff->set_private_key)
		mnl_attr_put(nlh, WGDEVICE_A_PRIVATE_KEY, OV_KEY_LEN, want->private_key);
	if (!*at && diff->set_listen_port)
		mnl_attr_put_u16(nlh, WGDEVICE_A_LISTEN_PORT, want->listen_port);
	if (*at == n)
		return nlh;
	peers = mnl_attr_nest_start(nlh, WGDEVICE_A_PEERS);
	while (*at < n && nlh->nlmsg_len + PEER_ROOM <= cap)
		put_peer(nlh, diff, (*at)++);
	mnl_attr_nest_end(nlh, peers);
	return nlh;
}

static bool parse_allowed(const struct nlattr *list, struct ov_peer *peer)
{
	const struct nlattr *entry, *attr;

	mnl_attr_for_each_nested(entry, list)
	{
		struct ip_prefix v4 = { .addr.b = { [10] = 0xff, [11] = 0xff } }, v6 = { 0 };
		bool has_v4 = false, has_v6 = false;
		uint16_t family = 0;
		uint8_t bits = 255;

		mnl_attr_for_each_nested(attr, entry)
		{
			switch (mnl_attr_get_type(attr)) {
			case WGALLOWEDIP_A_FAMILY:
				ov_nl_bytes(attr, &family, sizeof(family));
				break;
			case WGALLOWEDIP_A_IPADDR:
				has_v4 = ov_nl_bytes(attr, v4.addr.b + 12, 4);
				has_v6 = ov_nl_bytes(attr, v6.addr.b, 16);
				break;
			case WGALLOWEDIP_A_CIDR_MASK:
				ov_nl_bytes(attr, &bits, sizeof(bits));
				break;
			}
		}
		if (bits > (family == AF_INET ? 32 : 128) || (family == AF_INET ? !has_v4 : !has_v6))
			return false;
		v4.bits = v6.bits = bits;
		ov_peer_allow(peer, family == AF_INET ? &v4 : &v6);
	}
	return true;
}

static bool parse_endpoint(const struct nlattr *attr, struct ov_peer *peer)
{
	union {
		struct sockaddr sa;
		struct sockaddr_in v4;
		struct sockaddr_in6 v6;
	} at = { 0 };

	if (!ov_nl_bytes(attr, &at.v4, sizeof(at.v4)) && !ov_nl_bytes(attr, &at.v6, sizeof(at.v6)))
		return false;
	if (at.sa.sa_family == AF_INET6 && mnl_attr_get_payload_len(attr) != sizeof(at.v6))
		return false;
	peer->has_endpoint = endpoint_from_sockaddr(&peer->endpoint, &at.sa);
	return true;
}

static bool parse_psk(const struct nlattr *attr, struct ov_peer *peer)
{
	static const uint8_t none[OV_KEY_LEN];
	uint8_t key[OV_KEY_LEN];
	bool whole = ov_nl_bytes(attr, key, sizeof(key));

	peer->has_preshared_key = whole && memcmp(key, none, sizeof(none)) != 0;
	explicit_bzero(key, sizeof(key));
	return whole;
}

static bool parse_value(const struct nlattr *attr, struct ov_peer *peer)
{
	int64_t time[2]; /* struct __kernel_timespec */

	switch (mnl_attr_get_type(attr)) {
	case WGPEER_A_PRESHARED_KEY:
		return parse_psk(attr, peer);
	case WGPEER_A_ENDPOINT:
		return parse_endpoint(attr, peer);
	case WGPEER_A_PERSISTENT_KEEPALIVE_INTERVAL:
		return peer->has_keepalive = ov_nl_bytes(attr, &peer->keepalive_s, sizeof(peer->keepalive_s));
	case WGPEER_A_LAST_HANDSHAKE_TIME:
		if (!ov_nl_bytes(attr, time, sizeof(time)))
			return false;
		peer->last_handshake_s = time[0];
		return true;
	case WGPEER_A_RX_BYTES:
		return ov_nl_bytes(attr, &peer->rx_bytes, sizeof(peer->rx_bytes));
	case WGPEER_A_TX_BYTES:
		return ov_nl_bytes(attr, &peer->tx_bytes, sizeof(peer->tx_bytes));
	case WGPEER_A_ALLOWEDIPS:
		return parse_allowed(attr, peer);
	}
	return true;
}

static int parse_peer(const struct nlattr *entry, struct ov_device *dev)
{
	struct ov_peer *last = dev->n_peers ? &dev->peers[dev->n_peers - 1] : NULL;
	uint8_t key[OV_KEY_LEN];
	const struct nlattr *attr;
	bool has_key = false;

	mnl_attr_for_each_nested(attr, entry) if (mnl_attr_get_type(attr) == WGPEER_A_PUBLIC_KEY) has_key =
		ov_nl_bytes(attr, key, sizeof(key));
	if (!has_key)
		return -EPROTO;
	/* the kernel repeats the key alone in front of the addresses that did not fit before */
	if (!last || memcmp(last->public_key, key, sizeof(key)) != 0) {
		last = ov_device_grow(dev);
		if (!last)
			return -ENOMEM;
		memcpy(last->public_key, key, sizeof(key));
	}
	mnl_attr_for_each_nested(attr, entry) if (!parse_value(attr, last)) return -EPROTO;
	return 0;
}

static int parse_peers(const struct nlattr *list, struct ov_device *dev)
{
	const struct nlattr *entry;
	int rc;

	mnl_attr_for_each_nested(entry, list)
	{
		rc = parse_peer(entry, dev);
		if (rc < 0)
			return rc;
	}
	return 0;
}

int ov_wgnl_parse(const struct nlmsghdr *nlh, struct ov_device *dev)
{
	const struct nlattr *attr;
	int rc = 0;

	if (mnl_nlmsg_get_payload_len(nlh) < sizeof(struct genlmsghdr))
		return -EPROTO;
	mnl_attr_for_each(attr, nlh, sizeof(struct genlmsghdr))
	{
		switch (mnl_attr_get_type(attr)) {
		case WGDEVICE_A_PRIVATE_KEY:
			rc = ov_nl_bytes(attr, dev->private_key, OV_KEY_LEN) ? 0 : -EPROTO;
			break;
		case WGDEVICE_A_LISTEN_PORT:
			rc = ov_nl_bytes(attr, &dev->listen_port, sizeof(dev->listen_port)) ? 0 : -EPROTO;
			break;
		case WGDEVICE_A_PEERS:
			rc = parse_peers(attr, dev);
			break;
		}
		if (rc < 0)
			return rc;
	}
	return 0;
}

static int take_family(const struct nlmsghdr *nlh, void *data)
{
	const struct nlattr *attr;

	if (mnl_nlmsg_get_payload_len(nlh) < sizeof(struct genlmsghdr))
		return -EPROTO;
	mnl_attr_for_each(attr, nlh, sizeof(struct genlmsghdr)) if (mnl_attr_get_type(attr) == CTRL_ATTR_FAMILY_ID)
		ov_nl_bytes(attr, data, sizeof(uint16_t));
	return 0;
}

static struct nlmsghdr *put_genl(void *buf, uint16_t family, uint8_t cmd, uint8_t version, uint16_t flags)
{
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
	struct genlmsghdr *genl;

	nlh->nlmsg_type = family;
	nlh->nlmsg_flags = NLM_F_REQUEST | flags;
	genl = mnl_nlmsg_put_extra_header(nlh, sizeof(*genl));
	genl->cmd = cmd;
	genl->version = version;
	return nlh;
}

static int open_family(struct ov_nl *nl, uint16_t *family, struct err *e)
{
	char buf[128] __attribute__((aligned(4)));
	struct nlmsghdr *nlh = put_genl(buf, GENL_ID_CTRL, CTRL_CMD_GETFAMILY, 1, 0);
	uint16_t id = 0;
	int rc;

	rc = ov_nl_open(nl, NETLINK_GENERIC, e);
	if (rc < 0)
		return rc;
	mnl_attr_put_strz(nlh, CTRL_ATTR_FAMILY_NAME, WG_GENL_NAME);
	rc = ov_nl_talk(nl, nlh, take_family, &id, "generic netlink family " WG_GENL_NAME, e);
	if (!rc && !id)
		rc = err_at(e, -EPROTO, WG_GENL_NAME, "generic netlink gave no family number");
	if (!rc)
		*family = id;
	return rc;
}

static int take_device(const struct nlmsghdr *nlh, void *data)
{
	return ov_wgnl_parse(nlh, data);
}

int ov_wgnl_get(const char *name, struct ov_device *dev, struct err *e)
{
	__attribute__((cleanup(ov_device_fini))) struct ov_device got = { 0 };
	char buf[128] __attribute__((aligned(4)));
	auto_nl struct ov_nl nl = { 0 };
	struct nlmsghdr *nlh;
	uint16_t family;
	int rc;

	rc = open_family(&nl, &family, e);
	if (rc < 0)
		return rc;
	nlh = put_genl(buf, family, WG_CMD_GET_DEVICE, WG_GENL_VERSION, NLM_F_DUMP);
	mnl_attr_put_strz(nlh, WGDEVICE_A_IFNAME, name);
	rc = -EINTR;
	for (int i = 0; i < DUMP_TRIES && rc == -EINTR; i++) {
		ov_device_fini(&got);
		rc = ov_nl_talk(&nl, nlh, take_device, &got, name, e);
	}
	if (rc < 0)
		return err_at(e, rc, name, "WireGuard device not read: %s", strerror(-rc));
	*dev = got;
	got = (struct ov_device){ 0 };
	return 0;
}

int ov_wgnl_set(const char *name, const struct ov_device *want, const struct ov_diff *diff, struct err *e)
{
	char buf[OV_NL_BUF] __attribute__((aligned(4)));
	auto_nl struct ov_nl nl = { 0 };
	uint16_t family;
	size_t at = 0;
	int rc;

	rc = open_family(&nl, &family, e);
	if (rc < 0)
		return rc;
	do {
		rc = ov_nl_talk(&nl, ov_wgnl_build(buf, sizeof(buf), family, name, want, diff, &at), NULL, NULL, name,
				e);
	} while (!rc && at < diff->n_remove + diff->n_set);
	explicit_bzero(buf, sizeof(buf));
	return rc;
}
