/* SPDX-License-Identifier: Apache-2.0 */
/* A configuration file of wg-quick(8): what of it means something here, and what does not. Pure. */
#pragma once

#include "overlay.h"

#define OV_QUICK_MAX   (64 * 1024) /* bytes of a file */
#define OV_QUICK_NOTES 512
#define OV_QUICK_PEERS 256
#define OV_QUICK_ADDRS 4 /* a record has no more */

/* What a person should know of one line. Never a secret. */
struct ov_quick_note {
	uint32_t line;
	bool is_left_out; /* it did something that will not be done any more; else it is done in another way */
	char text[160];
};

struct ov_quick {
	bool has_private_key;
	uint8_t private_key[OV_KEY_LEN];
	uint16_t listen_port; /* 0: the file has none */
	uint32_t mtu;         /* the same */
	struct ip_prefix addrs[OV_QUICK_ADDRS];
	uint32_t n_addrs;
	struct ip_prefix networks[OV_QUICK_ADDRS]; /* where the addresses are; host bits are 0 */
	uint32_t n_networks;
	struct ip_endpoint peers[OV_QUICK_PEERS]; /* of those that have one, in order */
	uint32_t n_peers;
	struct ov_quick_note *notes; /* owned */
	uint32_t n_notes, n_left_out;
};

/* -EINVAL with the line in `e` where wg-quick would not take it either, or where nothing could be made of it. */
int ov_quick_parse(const char *file, const char *text, size_t len, struct ov_quick *q, struct err *e);
void ov_quick_fini(struct ov_quick *q); /* wipes the key */
