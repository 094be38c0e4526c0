/* SPDX-License-Identifier: Apache-2.0 */
/* The kernel's WireGuard over generic netlink. */
#pragma once

#include "model.h"
#include "nl.h"

int ov_wgnl_get(const char *name, struct ov_device *dev, struct err *e);
int ov_wgnl_set(const char *name, const struct ov_device *want, const struct ov_diff *diff, struct err *e);

/*
 * Pure halves. Build puts the removals and settings from *at on into one message of at most `cap` bytes and moves
 * *at; the whole is n_remove + n_set. The first message (*at 0) carries the device's own values too.
 */
struct nlmsghdr *ov_wgnl_build(void *buf, size_t cap, uint16_t family, const char *name, const struct ov_device *want,
			       const struct ov_diff *diff, size_t *at);
/* One message of a dump, added to what earlier ones gave: a long peer goes on in the next message. */
int ov_wgnl_parse(const struct nlmsghdr *nlh, struct ov_device *dev);
