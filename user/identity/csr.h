/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dstack's certificate signing request: SCALE, not PKCS#10, with the evidence inside, signed by the key that it is for.
 * Version 1 carries quote and event log, version 2 an attestation. docs/kms.md has the fields.
 */
#pragma once

#include "identity/issue.h"

#define ID_CSR_MAX      (ID_CERT_MAX + 16 * 1024)
#define ID_CSR_NAME_MAX 253

/* What is asked for. Flat: it goes between processes as it is. */
struct id_csr {
	uint8_t spki[ID_SPKI_LEN];
	char org[65], subject[65];
	char alt_name[ID_ISSUE_MAX_NAMES][ID_CSR_NAME_MAX + 1];
	uint32_t n_alt_names;
	bool for_server, for_client, with_evidence, with_app_info;
	bool has_not_before, has_not_after;
	int64_t not_before, not_after;
};

/* Its evidence; points into the request. */
struct id_csr_evidence {
	struct in attestation;      /* version 2 */
	struct in quote, event_log; /* version 1 */
};

/* Form alone: `pubkey` is not looked at. CSR_MALFORMED. */
int id_csr_parse(const uint8_t *bytes, size_t len, unsigned version, struct id_csr *csr, struct in *pubkey,
		 struct id_csr_evidence *evidence, struct err *e);
/* Form, key and signature over all bytes: CSR_MALFORMED, CSR_SIGNATURE. */
int id_csr_read(const uint8_t *bytes, size_t len, unsigned version, const uint8_t *sig, size_t sig_len,
		struct id_csr *csr, struct id_csr_evidence *evidence, struct err *e);
/* Version 2, signed. The spki of `csr` is not used, it is `key`'s. */
int id_csr_write(const struct id_csr *csr, EVP_PKEY *key, const uint8_t *attestation, size_t attestation_len,
		 uint8_t **bytes, size_t *len, uint8_t sig[ID_ECDSA_MAX], size_t *sig_len, struct err *e);
