/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The WireGuard overlay of one node: one model, two backends (generic netlink for the kernel's WireGuard, the UAPI
 * socket for wireguard-go), links, addresses and routes over rtnetlink. Never runs `ip` or `wg`. Room prefix ov_.
 */
#pragma once

#include <net/if.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/err.h"

#define OV_KEY_LEN     32
#define OV_MAX_ALLOWED 8
#define OV_NOTE_LEN    64

enum ov_backend { OV_AUTO, OV_KERNEL, OV_USERSPACE };

struct ov_peer {
	uint8_t public_key[OV_KEY_LEN];
	bool has_endpoint;
	struct ip_endpoint endpoint;
	bool has_keepalive;
	uint16_t keepalive_s;
	struct ip_prefix allowed[OV_MAX_ALLOWED]; /* single addresses of one node: /32 and /128 */
	bool is_way; /* wanted: to others behind it, so `allowed` may have networks, whose host bits are 0 */
	uint32_t n_allowed;
	/* read back, never set */
	int64_t last_handshake_s; /* unix seconds, 0: never */
	uint64_t rx_bytes, tx_bytes;
	bool has_more_allowed;  /* the device has more than fit here: equals no wanted peer */
	bool has_preshared_key; /* somebody else's: a wanted peer that has one is made anew */
};

/*
 * What a device has, or shall have. A wanted value that is absent (has_endpoint, has_keepalive false; listen_port,
 * mtu 0) leaves what the device has; keepalive_s 0 with has_keepalive turns it off.
 */
struct ov_device {
	char name[IF_NAMESIZE];
	uint8_t private_key[OV_KEY_LEN];
	uint16_t listen_port;
	uint32_t mtu;
	struct ip_prefix addrs[8]; /* of the interface, with the network's length: gives the connected route */
	uint32_t n_addrs;
	struct ov_peer *peers; /* owned; ov_device_fini() */
	size_t n_peers;
	bool is_carrier; /* packets of another device: no routes to peers */
	/* read back, never set */
	uint64_t rx_packets;    /* that peers sent through it; a keepalive is none */
	char note[OV_NOTE_LEN]; /* of ov_note(); "": none, or it is too long to be one */
};

void ov_device_fini(struct ov_device *dev);
/* By key, so that ov_device_find() finds. */
void ov_device_sort(struct ov_device *dev);
const struct ov_peer *ov_device_find(const struct ov_device *dev, const uint8_t key[OV_KEY_LEN]); /* NULL: none */

struct ov; /* handle of one device */

/*
 * Finds the device or creates it, DOWN: the caller attaches its programs before ov_apply() brings it up. OV_AUTO takes
 * the kernel's WireGuard and, where the kernel has none, starts `wireguard-go` (found in PATH), which outlives this
 * process; a running one is adopted through its socket.
 */
int ov_open(const char *name, enum ov_backend want, struct ov **ov, struct err *e);
void ov_close(struct ov *ov);                    /* the device stays */
int ov_destroy(const char *name, struct err *e); /* removes the device; 0 when there is none */
unsigned ov_ifindex(const struct ov *ov);
enum ov_backend ov_backend_of(const struct ov *ov);
const char *ov_backend_name(enum ov_backend b); /* "kernel", "wireguard-go" */

/* How much a reconcile changed; all zero: nothing was touched. */
struct ov_changes {
	unsigned peers_added, peers_changed, peers_removed, addrs_changed, routes_changed;
	bool device_changed, link_changed;
};

/*
 * Makes the device what `want` says: reads what is, sends only the difference, sets addresses, MTU, UP and the routes
 * to peers outside the addresses' networks. An endpoint learned by roaming stays until the wanted one changes.
 */
int ov_apply(struct ov *ov, const struct ov_device *want, struct ov_changes *changes, struct err *e);
int ov_read(struct ov *ov, struct ov_device *dev, struct err *e);
/* A line that the device keeps as long as it lives, whoever made it: its alias in `ip link`. Shorter than OV_NOTE_LEN.
 */
int ov_note(struct ov *ov, const char *text, struct err *e);

/*
 * Pure: what to send so that `have` becomes `want`. Entries of `set` carry only what differs (has_endpoint,
 * has_keepalive); their allowed list is meant where replace_allowed says so. Removals go first: a peer that must be
 * made anew is in both lists. -EINVAL when a list has one key twice.
 */
struct ov_diff {
	bool set_private_key, set_listen_port;
	struct ov_peer *set;   /* add or change */
	bool *is_new;          /* beside set */
	bool *replace_allowed; /* beside set */
	size_t n_set;
	uint8_t (*remove)[OV_KEY_LEN];
	size_t n_remove;
};
int ov_diff(const struct ov_device *have, const struct ov_device *want, struct ov_diff *diff);
void ov_diff_fini(struct ov_diff *diff);

/* Packets with this mark are this machine's, whatever address they are for; both families. Idempotent, either way. */
int ov_local_set(bool is_on, uint32_t mark, struct err *e);

/* What else on this machine has to do with the overlay; for people. Each calls `fn` for what it finds. */
struct ov_route {
	struct ip_prefix net;
	char interface[IF_NAMESIZE];
	char kind[16]; /* of the link: "wireguard", "tun", ""... */
	uint32_t table;
};

/* 1: the kernel has WireGuard, 0: it has not, or -errno. */
int ov_kernel_has_wireguard(void);
/* Routes of others that take packets for addresses in `nets`: as long as theirs at least, or in a table of their own.
 */
int ov_routes_overlapping(const char *interface, const struct ip_prefix *nets, size_t n,
			  void (*fn)(const struct ov_route *route, void *arg), void *arg, struct err *e);
/* tc filters on a device that are not Bailey's: clsact's, any kind. */
int ov_filters(unsigned ifindex, void (*fn)(bool is_ingress, const char *kind, const char *name, void *arg), void *arg,
	       struct err *e);

#define OV_INITIATION_LEN 148
/* By whose key a handshake initiation was made that came to this one. -EBADMSG: none, or not for this key. Pure. */
int ov_initiation_sender(const uint8_t private_key[OV_KEY_LEN], const uint8_t public_key[OV_KEY_LEN],
			 const uint8_t *msg, size_t len, uint8_t sender[OV_KEY_LEN]);

/* Curve25519 keys. */
int ov_key_generate(uint8_t private_key[OV_KEY_LEN]);
/* Base64 and a line end, for the owner alone. */
int ov_key_write(const char *path, const uint8_t private_key[OV_KEY_LEN], struct err *e);
int ov_key_public(const uint8_t private_key[OV_KEY_LEN], uint8_t public_key[OV_KEY_LEN]);
