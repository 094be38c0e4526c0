/* SPDX-License-Identifier: Apache-2.0 */
/* A fresh quote over bytes of ours, from the guest agent, as an attestation of version 0. */
#pragma once

#include "agent_link.h"
#include "identity/identity.h"

/* len 0: none came; `e` says why. */
typedef void (*quote_fn)(uint64_t token, const uint8_t *attestation, size_t len, const struct err *e, void *arg);

struct quote_ask {
	struct agent_link *link;
	bool is_legacy;
	unsigned budget_s;
	uint64_t token; /* handed back */
	quote_fn fn;
	void *arg;
};

/* `fn` is called once, from the loop, when this returns 0. */
int edge_quote(const struct quote_ask *ask, const uint8_t report_data[ID_REPORT_DATA_LEN], struct err *e);
