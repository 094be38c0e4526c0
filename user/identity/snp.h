/* SPDX-License-Identifier: Apache-2.0 */
/*
 * AMD SEV-SNP attestation reports (SEV Secure Nested Paging Firmware ABI, document 56860, table "ATTESTATION_REPORT"),
 * the certificates of the keys that sign them (documents 57230 and 58369), and the certificate table of an extended
 * request (GHCB, document 56421).
 */
#pragma once

#include <openssl/x509.h>

#include "base/buf.h"
#include "identity/verdict.h"

#define ID_SNP_REPORT_LEN    1184
#define ID_SNP_SIGNED_LEN    0x2a0
#define ID_SNP_VERSION_MIN   2
#define ID_SNP_VERSION_MAX   5
#define ID_SNP_CHIP_ID_LEN   64
#define ID_SNP_HOST_DATA_LEN 32
#define ID_SNP_CSP_ID_MAX    128
#define ID_SNP_TABLE_MAX     (64 * 1024)

#define ID_SNP_POLICY_SMT             (UINT64_C(1) << 16)
#define ID_SNP_POLICY_ONE             (UINT64_C(1) << 17) /* must be set */
#define ID_SNP_POLICY_MIGRATION_AGENT (UINT64_C(1) << 18)
#define ID_SNP_POLICY_DEBUG           (UINT64_C(1) << 19)
#define ID_SNP_POLICY_KNOWN           ((UINT64_C(1) << 26) - 1)
#define ID_SNP_PLATFORM_ALIAS_CHECK   (UINT64_C(1) << 5)

enum id_snp_product { ID_SNP_MILAN, ID_SNP_GENOA, ID_SNP_TURIN, ID_SNP_PRODUCTS };
enum id_snp_signer { ID_SNP_VCEK, ID_SNP_VLEK };

/* Security versions of the parts of the firmware; each is compared by itself. */
struct id_snp_tcb {
	uint8_t boot_loader, tee, snp, microcode;
	uint8_t fmc; /* Turin */
};

/* Pointers go into the report. */
struct id_snp_report {
	const uint8_t *bytes;
	uint32_t version, guest_svn, vmpl;
	uint64_t policy, platform;
	enum id_snp_signer signer;
	bool is_chip_masked;
	bool has_product; /* by CPUID: version 3 and later */
	enum id_snp_product product;
	uint8_t cpu_family, cpu_model, cpu_stepping;
	const uint8_t *report_data, *measurement, *host_data, *id_key_digest, *author_key_digest, *chip_id;
	/* 8 bytes each: what they mean depends on the product */
	const uint8_t *current_tcb, *reported_tcb, *committed_tcb, *launch_tcb;
	const uint8_t *signature;
};

/* DER. The root may be missing (it is pinned anyway), and so may the CRL. */
struct id_snp_certs {
	struct in vek, intermediate, root, crl;
};

/* What is demanded. Zero is the strict choice but for the TCB, of which AMD publishes no list: the operator must say.
 */
struct id_snp_policy {
	uint32_t vmpl_max;
	bool allow_debug, allow_migration_agent, deny_smt;
	bool need_alias_check; /* firmware that checks for memory aliases (BadRAM) */
	bool need_crl;
	uint8_t abi_major_min, abi_minor_min; /* that the guest's own policy demands */
	struct id_snp_tcb tcb_min;
	char csp_id[ID_SNP_CSP_ID_MAX]; /* of a VLEK; "": any */
};

struct id_snp_trust {
	int64_t now;
	const struct in *roots; /* DER by product, for tests; NULL: AMD's */
	struct id_snp_policy policy;
};

#define ID_SNP_REASONS_MAX 8

struct id_snp_result {
	struct id_claims claims; /* of the report alone: who runs inside is not in it (see id_snp_config.c) */
	enum id_snp_product product;
	struct id_snp_tcb current, reported, committed, launch;
	char csp_id[ID_SNP_CSP_ID_MAX];
	bool has_crl;                    /* one was checked */
	int64_t not_after;               /* the first end of certificates and CRL */
	int reasons[ID_SNP_REASONS_MAX]; /* enum id_reason, each once; none: accepted */
	unsigned n_reasons;
};

const char *id_snp_product_name(enum id_snp_product product);
/* SNP_MALFORMED, or SNP_UNSUPPORTED for other versions, signature algorithms and signers. */
int id_snp_parse(const uint8_t *bytes, size_t len, struct id_snp_report *report, struct err *e);
/* Of the right size, and by its version no TDX quote. */
bool id_snp_is_report(const uint8_t *bytes, size_t len);
/* Entries of GUID, offset, length; unknown GUIDs are passed over. */
int id_snp_table_parse(const uint8_t *bytes, size_t len, struct id_snp_certs *certs, struct err *e);
/*
 * 0: result->n_reasons is 0. Else -EBADMSG: the reasons are all that apply, as far as the checks could go, and `e` has
 * the first. Nothing of a result with reasons may be used as a claim.
 */
int id_snp_verify(const uint8_t *bytes, size_t len, const struct id_snp_certs *certs, const struct id_snp_trust *trust,
		  struct id_snp_result *result, struct err *e);

/* The verdict under an evidence policy; NULL: the strict one, which accepts none. trust->policy is not used. */
void id_snp_judge(const uint8_t *bytes, size_t len, const struct id_snp_certs *certs, const struct id_snp_trust *trust,
		  const struct id_evidence_policy *policy, struct id_snp_result *result, struct id_verdict *verdict);

/* --- parts (snp_vek.c, snp_roots.c) --- */

/* A VEK and what its extensions say. */
struct id_snp_vek {
	X509 *x509;
	enum id_snp_product product;
	struct id_snp_tcb tcb;
	struct in hwid;                 /* p NULL: none */
	char csp_id[ID_SNP_CSP_ID_MAX]; /* "": none */
};

void id_snp_vek_fini(struct id_snp_vek *vek);
int id_snp_vek_parse(struct in der, struct id_snp_vek *vek, struct err *e);
/* By chip or provider, and TCB: it may have signed the report. */
bool id_snp_vek_fits(const struct id_snp_vek *vek, const struct id_snp_report *r);
/* Signatures, names, dates, CRL up to the root of the product. Sets not_after and has_crl. */
int id_snp_chain_check(const struct id_snp_vek *vek, const struct id_snp_certs *certs, const struct id_snp_trust *trust,
		       enum id_snp_signer signer, struct id_snp_result *result, struct err *e);
/* AMD's root key certificate (ARK). */
X509 *id_snp_root(enum id_snp_product product);

/* --- certificates at hand, for reports that come without (snp_store.c) --- */

#define ID_SNP_STORE_MAX 128

struct id_snp_item;

struct id_snp_store {
	struct id_snp_item *at; /* owned */
	size_t n;
};

void id_snp_store_fini(struct id_snp_store *s);
/* Certificates or a CRL in PEM, one in DER, or a certificate table. What is there already is none to object to. */
int id_snp_store_add(struct id_snp_store *s, const uint8_t *bytes, size_t len, struct err *e);
/* Those of a report's chip, or provider, and TCB; COLLATERAL_MISSING. Valid until the store is next changed. */
int id_snp_store_pick(const struct id_snp_store *s, const struct id_snp_report *r, struct id_snp_certs *certs,
		      struct err *e);
/* The CRL of the root that issued certs->intermediate, if it is there. */
void id_snp_store_crl(const struct id_snp_store *s, struct id_snp_certs *certs);
