/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Collateral: what Intel says of platforms. A bundle (docs/evidence.md) is read and its signatures are verified once;
 * it is judged against the clock each time it is used. The set also remembers PCK chains that verified, so that a
 * second quote of a platform costs two signatures. What it remembers changes no verdict. Beside that it keeps AMD's
 * certificates as they are.
 */
#pragma once

#include "identity/pck_chain.h"
#include "identity/snp.h"
#include "identity/tcb.h"

#define ID_BUNDLE_MAX      (512 * 1024)
#define ID_COLLATERALS_MAX 64
#define ID_PLATFORMS_MAX   64 /* remembered chains */

struct id_collateral {
	struct id_tcb_info tcb;
	struct id_qe_identity qe;
	struct id_pki_crl root_crl, pck_crl; /* the PCK CRL's signature is checked against each chain's intermediate */
	int64_t signer_not_before, signer_not_after;
	char *tcb_text, *qe_text; /* owned; the signed bytes */
	uint8_t *crl_der;         /* owned; both CRLs */
};

/* A chain that verified and that a collateral's CRLs do not revoke. */
struct id_platform {
	uint8_t pem_sha256[32];
	struct id_pck_chain chain;
	const struct id_collateral *collateral;
	uint64_t used;
};

struct id_collaterals;

/* A platform for which a set had nothing; its PCK chain verified. */
struct id_missed {
	uint8_t fmspc[ID_FMSPC_LEN];
	bool is_processor_ca; /* who issued the PCK certificate; else the Platform CA */
};

/* `root`: DER of the root to believe; NULL: Intel's. Tests have their own. */
int id_collaterals_new(const uint8_t *root, size_t root_len, struct id_collaterals **set, struct err *e);
void id_collaterals_free(struct id_collaterals *set); /* accepts NULL */
size_t id_collaterals_count(const struct id_collaterals *set);
const struct id_collateral *id_collaterals_at(const struct id_collaterals *set, size_t i);
/*
 * Reads and verifies one bundle; or, by its form, takes certificates for SEV-SNP (SNP_CHAIN: there are none). One of
 * the same FMSPC and evaluation number is replaced, unless it is the newer one. Refused by name: COLLATERAL_MALFORMED,
 * _KIND, _CHAIN, _SIGNATURE, CRL_INVALID, CERT_REVOKED.
 */
int id_collaterals_add(struct id_collaterals *set, const char *bundle, size_t len, struct err *e);
/* Never NULL but for a set that is. */
const struct id_snp_store *id_collaterals_snp(const struct id_collaterals *set);
/* Reads one bundle without a set. `root` NULL: Intel's. */
int id_collateral_load(const char *bundle, size_t len, const struct id_root *root, struct id_collateral **made,
		       struct err *e);
void id_collateral_free(struct id_collateral *c);
/* The bytes that a signature of the form {"tcbInfo":{...},"signature":"hex"} covers: the value of `member`. */
bool id_signed_body(const char *body, size_t len, const char *member, struct in *signed_bytes, uint8_t signature[64]);

/* For this FMSPC: in date at `now` before out of date, then the highest evaluation number, then the newest. When there
 * is none for it, the first of all. NULL: the set is empty. */
const struct id_collateral *id_collaterals_pick(const struct id_collaterals *set, const uint8_t fmspc[ID_FMSPC_LEN],
						int64_t now);
/*
 * Chain and collateral of a quote. When the set has seen the chain before, nothing is verified again. Refused:
 * QUOTE_CHAIN, PCK_EXTENSION, COLLATERAL_MISSING, CRL_INVALID, CERT_REVOKED. Valid until the set is next used.
 */
int id_collaterals_platform(struct id_collaterals *set, const char *pem, size_t len, int64_t now,
			    const struct id_platform **platform, struct err *e);
/* The last platform for which there was nothing, once. */
bool id_collaterals_missed(struct id_collaterals *set, struct id_missed *missed);
/* Whose CRL of PCK certificates it holds. */
bool id_collateral_is_processor_ca(const struct id_collateral *c);
/* The first end among its dates. */
int64_t id_collateral_until(const struct id_collateral *c);
