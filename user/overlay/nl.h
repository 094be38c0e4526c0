/* SPDX-License-Identifier: Apache-2.0 */
/* Netlink for this room: one request, its answers, the kernel's own words when it refuses. */
#pragma once

#include <libmnl/libmnl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define OV_NL_BUF 32768 /* the kernel fills dump messages up to this size */

struct ov_nl {
	struct mnl_socket *sock;
	uint32_t seq;
};

int ov_nl_open(struct ov_nl *nl, int bus, struct err *e);
void ov_nl_fini(struct ov_nl *nl);

/* 0, or a negative errno, which ends the talk. */
typedef int (*ov_nl_cb)(const struct nlmsghdr *nlh, void *data);

/*
 * Sends and waits for the acknowledgement or the end of the dump. `what` says what was wanted ("bly0: add address").
 * -EINTR: the dump was not of one moment, to be asked again.
 */
int ov_nl_talk(struct ov_nl *nl, struct nlmsghdr *req, ov_nl_cb cb, void *data, const char *what, struct err *e);

/* Payloads of exactly n bytes, strings that fit. */
bool ov_nl_bytes(const struct nlattr *attr, void *dst, size_t n);
bool ov_nl_text(const struct nlattr *attr, char *dst, size_t size);

#define auto_nl __attribute__((cleanup(ov_nl_fini)))
