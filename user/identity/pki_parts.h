/* SPDX-License-Identifier: Apache-2.0 */
/* What certificates and CRLs have in common. */
#pragma once

#include "pki.h"

#define ID_PKI_OID(...)                                                                                                \
	{                                                                                                              \
		(const uint8_t[]){ __VA_ARGS__ }, sizeof((const uint8_t[]){ __VA_ARGS__ })                             \
	}

/* SEQUENCE { tbs, AlgorithmIdentifier, BIT STRING }. NULL, or what is wrong. */
const char *id_pki_signed(struct in der, struct in *tbs, struct in *tbs_content, struct in *sig);
/* The algorithm inside, which is signed, must be the one outside. */
bool id_pki_algorithm(struct in *tbs);
/* The next Extension. */
bool id_pki_ext(struct in *exts, struct in *oid, bool *is_critical, struct in *value);
/* AuthorityKeyIdentifier with the key identifier alone. */
bool id_pki_aki(struct in value, struct in *aki);
