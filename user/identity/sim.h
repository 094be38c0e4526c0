/* SPDX-License-Identifier: Apache-2.0 */
/* Simulated identities, piece by piece: id_sim_issue() puts them together, tests put them together wrongly. */
#pragma once

#include "identity/identity.h"
#include "identity/quote_tdx.h"
#include "identity/x509.h"

/* RTMR3 and the log of a booted app: JSON, malloc'ed. */
char *id_sim_eventlog(const struct id_sim_request *req, uint8_t rtmr3[ID_MR_LEN]);
/* Header and TD report with fake measurements, readable as text in a hex dump. */
bool id_sim_quote_body(uint8_t body[ID_QUOTE_SIGNED_LEN], const uint8_t rtmr3[ID_MR_LEN],
		       const uint8_t report_data[ID_REPORT_DATA_LEN]);
/* Signs a body with a fresh attestation key and that key's QE report with the root's PCK. *quote is malloc'ed. */
int id_sim_quote_sign(const struct id_sim_root *root, const uint8_t body[ID_QUOTE_SIGNED_LEN], uint8_t **quote,
		      size_t *len, struct err *e);
/* A leaf by dstack's profile, not yet signed and without RA-TLS extensions. */
X509 *id_sim_leaf_new(const struct id_sim_request *req, EVP_PKEY *key);
