// SPDX-License-Identifier: Apache-2.0
/*
 * Checks, in this order. Those above the line end the verification; below it, all that fail are reported.
 *   1. form, version, signature algorithm, reserved bytes (snp_report.c)    SNP_MALFORMED, SNP_UNSUPPORTED
 *   2. VEK: extensions; product by CPUID, or by the VEK for version 2       SNP_VEK
 *   3. chain to the pinned root of that product alone (snp_vek.c)           SNP_CHAIN, SNP_VALIDITY, SNP_REVOKED
 *   4. signature of the report                                              SNP_SIGNATURE
 *   5. VEK belongs to chip (VCEK) or provider (VLEK), and to reported TCB   SNP_VEK
 *   ---
 *   6. reported <= committed <= current TCB, reported TCB >= minimum        SNP_TCB
 *   7. guest policy: DEBUG                                                  SNP_DEBUG
 *   8. guest policy: migration agent, SMT, ABI; platform: alias check       SNP_POLICY
 *   9. VMPL                                                                 SNP_VMPL
 */
#include "snp.h"

#include <errno.h>
#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <string.h>

#include "crypto.h"

#define WHERE             "SNP report"
#define P384_LEN          48
#define RS_LEN            72
#define DER_MAX           104 /* ECDSA-Sig-Value of P-384 */
#define TURIN_CHIP_ID_LEN 8

DEFINE_CLEANUP(md_ctx, EVP_MD_CTX, EVP_MD_CTX_free)
DEFINE_CLEANUP(ecdsa_sig, ECDSA_SIG, ECDSA_SIG_free)

/* Eight bytes, laid out by product; those that have no meaning must be zero. */
static bool tcb_read(const uint8_t b[8], enum id_snp_product product, struct id_snp_tcb *tcb)
{
	if (product == ID_SNP_TURIN) {
		*tcb = (struct id_snp_tcb){
			.fmc = b[0], .boot_loader = b[1], .tee = b[2], .snp = b[3], .microcode = b[7]
		};
		return !b[4] && !b[5] && !b[6];
	}
	*tcb = (struct id_snp_tcb){ .boot_loader = b[0], .tee = b[1], .snp = b[6], .microcode = b[7] };
	return !b[2] && !b[3] && !b[4] && !b[5];
}

static bool tcb_at_most(const struct id_snp_tcb *a, const struct id_snp_tcb *b)
{
	return a->boot_loader <= b->boot_loader && a->tee <= b->tee && a->snp <= b->snp &&
	       a->microcode <= b->microcode && a->fmc <= b->fmc;
}

static bool tcb_equal(const struct id_snp_tcb *a, const struct id_snp_tcb *b)
{
	return tcb_at_most(a, b) && tcb_at_most(b, a);
}

static int tcbs_read(const struct id_snp_report *r, struct id_snp_result *result, struct err *e)
{
	if (!tcb_read(r->current_tcb, result->product, &result->current) ||
	    !tcb_read(r->reported_tcb, result->product, &result->reported) ||
	    !tcb_read(r->committed_tcb, result->product, &result->committed) ||
	    !tcb_read(r->launch_tcb, result->product, &result->launch))
		return err_reason(e, ID_SNP_MALFORMED, WHERE, "a TCB has bytes that %s does not define",
				  id_snp_product_name(result->product));
	return 0;
}

static int product_check(const struct id_snp_report *r, const struct id_snp_vek *vek, struct id_snp_result *result,
			 struct err *e)
{
	if (r->has_product && r->product != vek->product)
		return err_reason(e, ID_SNP_VEK, WHERE, "comes from %s, the VEK is one of %s",
				  id_snp_product_name(r->product), id_snp_product_name(vek->product));
	result->product = vek->product;
	return 0;
}

/* R and S are little-endian, 48 bytes and zeros (snp_report.c). */
static size_t signature_der(const uint8_t *signature, uint8_t der[DER_MAX])
{
	auto_call(cleanup_ecdsa_sig) ECDSA_SIG *parts = ECDSA_SIG_new();
	BIGNUM *r = BN_lebin2bn(signature, P384_LEN, NULL), *s = BN_lebin2bn(signature + RS_LEN, P384_LEN, NULL);
	uint8_t *p = der;
	int len;

	if (!parts || !r || !s || ECDSA_SIG_set0(parts, r, s) != 1) {
		BN_free(r);
		BN_free(s);
		return 0;
	}
	len = i2d_ECDSA_SIG(parts, NULL);
	return len > 0 && len <= DER_MAX && i2d_ECDSA_SIG(parts, &p) == len ? (size_t)len : 0;
}

static int signature_check(const struct id_snp_report *r, X509 *vek, struct err *e)
{
	auto_call(cleanup_md_ctx) EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	EVP_PKEY *key = X509_get0_pubkey(vek);
	uint8_t der[DER_MAX];
	char group[32];
	size_t len = signature_der(r->signature, der);

	if (!key || !EVP_PKEY_is_a(key, "EC") || EVP_PKEY_get_group_name(key, group, sizeof(group), NULL) != 1 ||
	    strcmp(group, SN_secp384r1) != 0)
		return err_reason(e, ID_SNP_VEK, "VEK certificate", "key is not ECDSA P-384");
	if (!ctx || !len || EVP_DigestVerifyInit(ctx, NULL, EVP_sha384(), NULL, key) != 1 ||
	    EVP_DigestVerify(ctx, der, len, r->bytes, ID_SNP_SIGNED_LEN) != 1)
		return err_reason(e, ID_SNP_SIGNATURE, WHERE, "is not signed by this VEK");
	return 0;
}

/* The VCEK is one chip's, and its HWID says which: 64 raw bytes, on Turin 8. */
static int chip_check(const struct id_snp_report *r, const struct id_snp_vek *vek, struct err *e)
{
	size_t len = vek->product == ID_SNP_TURIN ? TURIN_CHIP_ID_LEN : ID_SNP_CHIP_ID_LEN;

	if (r->is_chip_masked || bytes_are_zero(r->chip_id, ID_SNP_CHIP_ID_LEN))
		return err_reason(e, ID_SNP_VEK, WHERE, "the chip id is masked: no VCEK can be matched to it");
	if (!vek->hwid.p || vek->hwid.left != len)
		return err_reason(e, ID_SNP_VEK, "VEK certificate", "HWID is missing or not %zu raw bytes", len);
	if (memcmp(vek->hwid.p, r->chip_id, len) != 0 || !bytes_are_zero(r->chip_id + len, ID_SNP_CHIP_ID_LEN - len))
		return err_reason(e, ID_SNP_VEK, WHERE, "chip id is not the HWID of the VEK");
	return 0;
}

static int vek_check(const struct id_snp_report *r, const struct id_snp_vek *vek, const struct id_snp_policy *policy,
		     struct id_snp_result *result, struct err *e)
{
	if (!tcb_equal(&vek->tcb, &result->reported))
		return err_reason(e, ID_SNP_VEK, WHERE, "reported TCB is not that of the VEK");
	if (r->signer == ID_SNP_VCEK)
		return vek->csp_id[0] ? err_reason(e, ID_SNP_VEK, "VEK certificate", "a VCEK has no CSP id")
				      : chip_check(r, vek, e);
	if (!vek->csp_id[0] || vek->hwid.p)
		return err_reason(e, ID_SNP_VEK, "VEK certificate", "a VLEK has a CSP id and no HWID");
	if (policy->csp_id[0] && strcmp(policy->csp_id, vek->csp_id) != 0)
		return err_reason(e, ID_SNP_VEK, "VEK certificate", "CSP id is %s, %s is demanded", vek->csp_id,
				  policy->csp_id);
	strcpy(result->csp_id, vek->csp_id);
	return 0;
}

bool id_snp_vek_fits(const struct id_snp_vek *vek, const struct id_snp_report *r)
{
	const struct id_snp_policy any = { 0 };
	struct id_snp_result result = { .product = vek->product };

	return product_check(r, vek, &result, NULL) == 0 && tcb_read(r->reported_tcb, vek->product, &result.reported) &&
	       vek_check(r, vek, &any, &result, NULL) == 0;
}

/* --- what the operator demands --- */

static void refuse(struct id_snp_result *result, struct err *e, enum id_reason reason, const char *why)
{
	for (unsigned i = 0; i < result->n_reasons; i++)
		if (result->reasons[i] == (int)reason)
			return;
	if (result->n_reasons < ID_SNP_REASONS_MAX)
		result->reasons[result->n_reasons++] = reason;
	err_reason(e, reason, WHERE, "%s", why); /* the first one stays */
}

static void tcb_demand(const struct id_snp_policy *policy, struct id_snp_result *result, struct err *e)
{
	if (!tcb_at_most(&result->reported, &result->committed) || !tcb_at_most(&result->committed, &result->current))
		refuse(result, e, ID_SNP_TCB, "TCB: reported <= committed <= current does not hold");
	if (!tcb_at_most(&policy->tcb_min, &result->reported))
		refuse(result, e, ID_SNP_TCB, "the reported TCB is below the minimum");
}

static void policy_demand(const struct id_snp_report *r, const struct id_snp_policy *policy,
			  struct id_snp_result *result, struct err *e)
{
	unsigned minor = r->policy & 0xff, major = r->policy >> 8 & 0xff;

	if (r->policy & ID_SNP_POLICY_DEBUG && !policy->allow_debug)
		refuse(result, e, ID_SNP_DEBUG, "policy: the host may debug this guest");
	if (r->policy & ID_SNP_POLICY_MIGRATION_AGENT && !policy->allow_migration_agent)
		refuse(result, e, ID_SNP_POLICY, "policy: a migration agent may move this guest");
	if (r->policy & ID_SNP_POLICY_SMT && policy->deny_smt)
		refuse(result, e, ID_SNP_POLICY, "policy: SMT is allowed");
	if (major < policy->abi_major_min || (major == policy->abi_major_min && minor < policy->abi_minor_min))
		refuse(result, e, ID_SNP_POLICY, "policy: the guest accepts an older firmware ABI than is demanded");
	if (policy->need_alias_check && !(r->platform & ID_SNP_PLATFORM_ALIAS_CHECK))
		refuse(result, e, ID_SNP_POLICY, "platform: memory was not checked for aliases");
	if (r->vmpl > policy->vmpl_max) /* 0xffffffff: asked for by the host */
		refuse(result, e, ID_SNP_VMPL, "VMPL: asked for from a less privileged level than is allowed");
}

/* mr_* as dstack computes them. */
static bool claims_fill(const struct id_snp_report *r, struct id_claims *claims)
{
	claims->tee = ID_TEE_SNP;
	memcpy(claims->mrtd, r->measurement, sizeof(claims->mrtd));
	claims->has_device_id = r->signer == ID_SNP_VCEK;
	return id_hash(EVP_sha256(), claims->mr_system, r->measurement, ID_MR_LEN, NULL, 0) &&
	       id_hash(EVP_sha256(), claims->mr_aggregated, r->measurement, ID_MR_LEN, r->host_data,
		       ID_SNP_HOST_DATA_LEN) &&
	       (!claims->has_device_id ||
		id_hash(EVP_sha256(), claims->device_id, r->chip_id, ID_SNP_CHIP_ID_LEN, NULL, 0));
}

static int evidence_check(const struct id_snp_report *r, const struct id_snp_certs *certs,
			  const struct id_snp_trust *trust, struct id_snp_result *result, struct err *e)
{
	auto_call(id_snp_vek_fini) struct id_snp_vek vek = { 0 };
	int ret = id_snp_vek_parse(certs->vek, &vek, e);

	if (!ret)
		ret = product_check(r, &vek, result, e);
	if (!ret)
		ret = id_snp_chain_check(&vek, certs, trust, r->signer, result, e);
	if (!ret)
		ret = signature_check(r, vek.x509, e);
	if (!ret)
		ret = tcbs_read(r, result, e);
	if (!ret)
		ret = vek_check(r, &vek, &trust->policy, result, e);
	return ret;
}

int id_snp_verify(const uint8_t *bytes, size_t len, const struct id_snp_certs *certs, const struct id_snp_trust *trust,
		  struct id_snp_result *result, struct err *e)
{
	struct id_snp_result made = { 0 };
	struct err why = ERR_INIT;
	struct id_snp_report r;
	int ret;

	ERR_set_mark(); /* callers that speak TLS read OpenSSL's error queue */
	ret = id_snp_parse(bytes, len, &r, &why);
	if (!ret)
		ret = evidence_check(&r, certs, trust, &made, &why);
	ERR_pop_to_mark();
	if (ret < 0) {
		made.reasons[made.n_reasons++] = why.reason;
	} else {
		tcb_demand(&trust->policy, &made, &why);
		policy_demand(&r, &trust->policy, &made, &why);
		if (!claims_fill(&r, &made.claims))
			return err_at(e, -ENOMEM, WHERE, "out of memory");
	}
	*result = made;
	if (why.code)
		return err_reason(e, why.reason, why.where, "%s", why.msg);
	return 0;
}
