/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The quoting service of a TDX host, which makes a quote of a TDREPORT. The host is not trusted: its answer is bounded
 * here, and what the quote is worth is its verifier's business.
 */
#pragma once

#include "agent.h"

#define AG_TDREPORT_LEN 1024

/* "vsock:CID:PORT" or the path of a Unix socket. */
bool ag_qgs_is_address(const char *text, struct err *e);
/* *quote is malloc'ed. Waits 30 s for each part of the answer. */
int ag_qgs_quote(const char *where, const uint8_t report[AG_TDREPORT_LEN], uint8_t **quote, size_t *len, struct err *e);
