/* SPDX-License-Identifier: Apache-2.0 */
/* Named peers and devices for the tests of the overlay room. Include after cmocka.h. */
#pragma once

#include "overlay/model.h"

static inline struct ip_endpoint endpoint_of(const char *text)
{
	struct ip_endpoint e = { 0 };

	assert_true(endpoint_parse(&e, text));
	return e;
}

/* Peer number n: its key is n in every byte, its addresses are 100.64.0.n and fd64::n, its endpoint 10.0.0.n:51820. */
static inline struct ov_peer peer_of(uint8_t n)
{
	struct ov_peer p = { .has_endpoint = true, .has_keepalive = true, .keepalive_s = 25, .n_allowed = 2 };
	char text[ENDPOINT_TEXT];

	memset(p.public_key, n, OV_KEY_LEN);
	snprintf(text, sizeof(text), "10.0.0.%u:51820", n);
	p.endpoint = endpoint_of(text);
	snprintf(text, sizeof(text), "100.64.0.%u/32", n);
	assert_true(prefix_parse(&p.allowed[0], text));
	snprintf(text, sizeof(text), "fd64::%x/128", n);
	assert_true(prefix_parse(&p.allowed[1], text));
	return p;
}

/* Peers first..last, in falling order, so that sorting has work. */
static inline void device_of(struct ov_device *dev, uint8_t first, uint8_t last)
{
	memset(dev, 0, sizeof(*dev));
	memset(dev->private_key, 0x40, OV_KEY_LEN);
	dev->listen_port = 51820;
	for (unsigned n = last; n >= first && n; n--)
		*ov_device_grow(dev) = peer_of((uint8_t)n);
}

static inline struct ov_peer *find_peer(struct ov_device *dev, uint8_t n)
{
	for (size_t i = 0; i < dev->n_peers; i++)
		if (dev->peers[i].public_key[0] == n)
			return &dev->peers[i];
	return NULL;
}
