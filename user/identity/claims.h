/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "eventlog.h"
#include "quote_tdx.h"

/* Each fills its part. Quote and log must have been verified, and the one replayed against the other. */
void id_claims_from_log(const struct id_log *log, struct id_claims *claims);
bool id_claims_from_quote(const struct id_quote *quote, const struct id_log *log, struct id_claims *claims);
