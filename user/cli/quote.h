/* SPDX-License-Identifier: Apache-2.0 */
/* What `bailey quote` does with reports of SEV-SNP (quote_snp.c), and what it shares with TDX quotes. */
#pragma once

#include "identity/quote_tdx.h"
#include "verify.h"

json_t *quote_number(uint64_t v); /* 0x and 16 digits */
/* What a body says. */
json_t *quote_body(const struct id_quote *quote);
json_t *quote_snp_body(const struct id_snp_report *report);
/* Prints and frees claims; the exit status. */
int quote_verdict_print(const struct id_verdict *v, json_t *claims, bool is_json);
/* Refused before anything could be judged. */
int quote_refused_print(const struct err *e, bool is_json);

int quote_snp_verify(const uint8_t *report, size_t len, const struct verify_files *files, const struct id_trust *trust,
		     bool is_json);
int quote_snp_show(const uint8_t *report, size_t len, bool is_json);
