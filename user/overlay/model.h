/* SPDX-License-Identifier: Apache-2.0 */
/* The overlay's model, for the files of this room: growing and checking a device, and what roaming may keep. */
#pragma once

#include "overlay.h"

#define OV_PEERS_MAX 131072 /* read from a device; a larger answer is refused */

void ov_key_clamp(uint8_t key[OV_KEY_LEN]);

/* A zeroed peer at the end of the list; NULL without memory or beyond OV_PEERS_MAX. */
struct ov_peer *ov_device_grow(struct ov_device *dev);
void ov_peer_allow(struct ov_peer *peer, const struct ip_prefix *p);

/* Refuses what no device can hold, or what it would hold differently: a reconcile would then never end. */
int ov_check(const struct ov_device *want, struct err *e);

/* What was asked for, beside the key it was asked for. Sorted by key. */
struct ov_asked {
	uint8_t public_key[OV_KEY_LEN];
	bool has_endpoint;
	struct ip_endpoint endpoint;
};

struct ov_asked_list {
	struct ov_asked *v; /* owned */
	size_t n;
};

#define OV_SESSION_S 180 /* WireGuard's REJECT_AFTER_TIME: an older handshake carries no data */

/*
 * The roaming rule, over a copy of the wanted peers: the endpoint that the device has replaces the wanted one when
 * the wanted one is what we asked for last time, so the device's was learned since; or when nothing was asked yet
 * (this process is new) and a session is alive at the device's.
 */
int ov_want_peers(const struct ov_device *have, const struct ov_device *want, const struct ov_asked_list *asked,
		  int64_t now_s, struct ov_peer **peers);

/*
 * What the next apply shall take for asked, when `sent` (of ov_want_peers) reached the device. A wish that only waits
 * for the end of a live session is not in it, so it is judged again.
 */
int ov_asked_next(const struct ov_device *want, const struct ov_peer *sent, struct ov_asked_list *asked);
