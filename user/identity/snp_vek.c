// SPDX-License-Identifier: Apache-2.0
/*
 * VEK certificates and their chain: VEK <- ASK (or the VLEK intermediate) <- ARK. Checked by hand: a VEK has serial 0
 * and no key identifiers, which X509_verify_cert() refuses when strict, and what must hold here is little: names, the
 * CA bits, RSASSA-PSS with SHA-384, dates, the CRL.
 */
#include <errno.h>
#include <openssl/obj_mac.h>
#include <openssl/objects.h>
#include <openssl/x509v3.h>
#include <string.h>
#include <time.h>

#include "snp.h"
#include "x509.h"

#define WHERE          "VEK certificate"
#define EXTENSIONS_MAX 32

DEFINE_CLEANUP(crl, X509_CRL, X509_CRL_free)

/* DER of 1.3.6.1.4.1.3704.1 */
static const uint8_t arc[] = { 0x2b, 0x06, 0x01, 0x04, 0x01, 0x9c, 0x78, 0x01 };

#define TAG_INTEGER   0x02
#define TAG_IA5STRING 0x16

/* What lies behind the arc: 1, 2, 4, 5 or 3.1 to 3.9, as one number. */
enum { EXT_PRODUCT = 2, EXT_HWID = 4, EXT_CSP_ID = 5, EXT_TCB = 0x30, EXT_TCB_LAST = EXT_TCB + 9, EXTS };

void id_snp_vek_fini(struct id_snp_vek *vek)
{
	X509_free(vek->x509);
	*vek = (struct id_snp_vek){ 0 };
}

static int ext_number(const ASN1_OBJECT *object)
{
	const uint8_t *oid = OBJ_get0_data(object);
	size_t len = OBJ_length(object), tail = len - sizeof(arc);

	if (len <= sizeof(arc) || memcmp(oid, arc, sizeof(arc)) != 0)
		return -1;
	oid += sizeof(arc);
	if (tail == 1 && (oid[0] == EXT_PRODUCT || oid[0] == EXT_HWID || oid[0] == EXT_CSP_ID))
		return oid[0];
	return tail == 2 && oid[0] == 3 && oid[1] >= 1 && oid[1] <= 9 ? EXT_TCB + oid[1] : -1;
}

static int exts_read(X509 *x509, struct in ext[EXTS], struct err *e)
{
	int count = X509_get_ext_count(x509);

	if (count > EXTENSIONS_MAX)
		return err_reason(e, ID_SNP_VEK, WHERE, "has %d extensions, at most %d are read", count,
				  EXTENSIONS_MAX);
	for (int i = 0; i < count; i++) {
		X509_EXTENSION *extension = X509_get_ext(x509, i);
		const ASN1_OCTET_STRING *value = X509_EXTENSION_get_data(extension);
		int n = ext_number(X509_EXTENSION_get_object(extension));

		if (n < 0)
			continue;
		if (ext[n].p)
			return err_reason(e, ID_SNP_VEK, WHERE, "the same extension occurs twice");
		ext[n] = in_of(ASN1_STRING_get0_data(value), (size_t)ASN1_STRING_length(value));
	}
	return 0;
}

/* The content of a short DER value of that tag. */
static bool der_read(struct in in, uint8_t tag, struct in *content)
{
	uint8_t found, len;

	if (!in_u8(&in, &found) || found != tag || !in_u8(&in, &len) || len > 0x7f || len != in.left || !len)
		return false;
	*content = in;
	return true;
}

/* INTEGER 0..255 in the one form that DER has for it */
static bool svn_read(struct in in, uint8_t *svn)
{
	struct in content;

	if (!der_read(in, TAG_INTEGER, &content) || content.left > 2)
		return false;
	if (content.left == 2 ? content.p[0] || content.p[1] < 0x80 : content.p[0] >= 0x80)
		return false;
	*svn = content.p[content.left - 1];
	return true;
}

/* "Milan-B0", "Milan" */
static bool product_read(struct in in, enum id_snp_product *product)
{
	struct in text;

	if (!der_read(in, TAG_IA5STRING, &text))
		return false;
	for (int i = 0; i < ID_SNP_PRODUCTS; i++) {
		const char *name = id_snp_product_name((enum id_snp_product)i);
		size_t len = strlen(name);

		if (text.left >= len && memcmp(text.p, name, len) == 0 && (text.left == len || text.p[len] == '-')) {
			*product = (enum id_snp_product)i;
			return true;
		}
	}
	return false;
}

static bool csp_id_read(struct in in, char csp_id[ID_SNP_CSP_ID_MAX])
{
	struct in text;

	if (!der_read(in, TAG_IA5STRING, &text) || text.left >= ID_SNP_CSP_ID_MAX)
		return false;
	for (size_t i = 0; i < text.left; i++)
		if (text.p[i] < 0x20 || text.p[i] > 0x7e)
			return false;
	memcpy(csp_id, text.p, text.left);
	return true;
}

/* .3.1 boot loader, .3.2 TEE, .3.3 SNP, .3.8 microcode, .3.9 FMC (Turin); .3.4 to .3.7 are reserved: zero where given
 */
static bool tcb_read(const struct in ext[EXTS], struct id_snp_vek *vek)
{
	uint8_t svn[10] = { 0 };

	for (int i = 1; i <= 9; i++) {
		bool is_reserved = i >= 4 && i <= 7, is_needed = i == 9 ? vek->product == ID_SNP_TURIN : !is_reserved;

		if (ext[EXT_TCB + i].p ? !svn_read(ext[EXT_TCB + i], &svn[i]) : is_needed)
			return false;
		if ((is_reserved || !is_needed) && svn[i])
			return false;
	}
	vek->tcb = (struct id_snp_tcb){
		.boot_loader = svn[1], .tee = svn[2], .snp = svn[3], .microcode = svn[8], .fmc = svn[9]
	};
	return true;
}

int id_snp_vek_parse(struct in der, struct id_snp_vek *vek, struct err *e)
{
	auto_call(id_snp_vek_fini) struct id_snp_vek made = { .x509 = id_x509_from_der(der.p, der.left) };
	struct in ext[EXTS] = { 0 };
	int ret;

	if (!made.x509)
		return err_reason(e, ID_SNP_VEK, WHERE, "is not one DER certificate");
	ret = exts_read(made.x509, ext, e);
	if (ret < 0)
		return ret;
	if (!product_read(ext[EXT_PRODUCT], &made.product))
		return err_reason(e, ID_SNP_VEK, WHERE, "names no product that is known");
	if (!tcb_read(ext, &made))
		return err_reason(e, ID_SNP_VEK, WHERE, "a TCB extension is missing or malformed");
	if (ext[EXT_CSP_ID].p && !csp_id_read(ext[EXT_CSP_ID], made.csp_id))
		return err_reason(e, ID_SNP_VEK, WHERE, "the CSP id is malformed");
	made.hwid = ext[EXT_HWID];
	*vek = made;
	made = (struct id_snp_vek){ 0 };
	return 0;
}

/* --- chain --- */

static bool has_cn(X509 *x509, const char *cn)
{
	char text[128];

	return X509_NAME_get_text_by_NID(X509_get_subject_name(x509), NID_commonName, text, sizeof(text)) ==
		       (int)strlen(cn) &&
	       strcmp(text, cn) == 0;
}

static int signature_check(X509 *x509, X509 *issuer, const char *what, struct err *e)
{
	EVP_PKEY *key = X509_get0_pubkey(issuer);
	int md = 0, pkey = 0;

	if (X509_NAME_cmp(X509_get_issuer_name(x509), X509_get_subject_name(issuer)) != 0)
		return err_reason(e, ID_SNP_CHAIN, what, "was issued by another name");
	if (X509_get_signature_info(x509, &md, &pkey, NULL, NULL) != 1 || md != NID_sha384 || pkey != NID_rsassaPss ||
	    !key || X509_verify(x509, key) != 1)
		return err_reason(e, ID_SNP_CHAIN, what, "is not signed by its issuer (RSASSA-PSS with SHA-384)");
	return 0;
}

static bool is_ca(X509 *x509)
{
	return X509_check_ca(x509) == 1 && X509_get_key_usage(x509) & KU_KEY_CERT_SIGN;
}

static int dates_check(const ASN1_TIME *from, const ASN1_TIME *to, const char *what, const struct id_snp_trust *trust,
		       struct id_snp_result *result, struct err *e)
{
	time_t now = (time_t)trust->now;
	struct tm tm;
	int64_t end;

	if (!to || ASN1_TIME_to_tm(to, &tm) != 1)
		return err_reason(e, ID_SNP_VALIDITY, what, "has no end that can be read");
	end = timegm(&tm);
	if (!result->not_after || end < result->not_after)
		result->not_after = end;
	if (ASN1_TIME_cmp_time_t(from, now) != 0 && ASN1_TIME_cmp_time_t(from, now) != -1)
		return err_reason(e, ID_SNP_VALIDITY, what, "is not valid yet");
	if (now > end)
		return err_reason(e, ID_SNP_VALIDITY, what, "expired %lld s ago", (long long)(now - end));
	return 0;
}

/* The CRL that the ARK issues. It lists intermediates by serial number. */
static int crl_check(X509_CRL *crl, X509 *intermediate, X509 *root, struct err *e)
{
	X509_REVOKED *entry = NULL;
	EVP_PKEY *key = X509_get0_pubkey(root);

	if (X509_NAME_cmp(X509_CRL_get_issuer(crl), X509_get_subject_name(root)) != 0 || !key ||
	    X509_CRL_verify(crl, key) != 1)
		return err_reason(e, ID_SNP_REVOKED, "CRL", "is not signed by AMD's root of that product");
	if (X509_CRL_get0_by_serial(crl, &entry, X509_get_serialNumber(intermediate)) != 0)
		return err_reason(e, ID_SNP_REVOKED, "CRL", "the intermediate is revoked");
	return 0;
}

static X509_CRL *crl_read(struct in der)
{
	const uint8_t *p = der.p;
	auto_call(cleanup_crl) X509_CRL *crl = der.left <= ID_CERT_MAX ? d2i_X509_CRL(NULL, &p, (long)der.left) : NULL;

	return crl && p == der.p + der.left ? take_ptr(crl) : NULL;
}

static int revocation_check(const struct id_snp_certs *certs, X509 *intermediate, X509 *root,
			    const struct id_snp_trust *trust, struct id_snp_result *result, struct err *e)
{
	auto_call(cleanup_crl) X509_CRL *crl = NULL;
	int ret;

	if (!certs->crl.p)
		return trust->policy.need_crl ? err_reason(e, ID_SNP_REVOKED, "CRL", "is demanded and was not given")
					      : 0;
	crl = crl_read(certs->crl);
	if (!crl)
		return err_reason(e, ID_SNP_REVOKED, "CRL", "is not one DER CRL");
	ret = crl_check(crl, intermediate, root, e);
	if (!ret)
		ret = dates_check(X509_CRL_get0_lastUpdate(crl), X509_CRL_get0_nextUpdate(crl), "CRL", trust, result,
				  e);
	result->has_crl = !ret;
	return ret;
}

/* The pinned root of the product, and no other; one that came along must be the same. */
static int root_get(const struct id_snp_certs *certs, const struct id_snp_trust *trust, enum id_snp_product product,
		    X509 **root, struct err *e)
{
	auto_call(cleanup_x509) X509 *pinned =
		trust->roots ? id_x509_from_der(trust->roots[product].p, trust->roots[product].left)
			     : id_snp_root(product);
	auto_call(cleanup_x509) X509 *given = certs->root.p ? id_x509_from_der(certs->root.p, certs->root.left) : NULL;

	if (!pinned)
		return err_reason(e, ID_SNP_CHAIN, "ARK", "no root of %s is trusted", id_snp_product_name(product));
	if (certs->root.p && (!given || X509_cmp(given, pinned) != 0))
		return err_reason(e, ID_SNP_CHAIN, "ARK", "is not the trusted root of %s",
				  id_snp_product_name(product));
	*root = take_ptr(pinned);
	return 0;
}

static int names_check(const struct id_snp_vek *vek, X509 *intermediate, enum id_snp_signer signer, struct err *e)
{
	char cn[64];

	snprintf(cn, sizeof(cn), "SEV-%s%s", signer == ID_SNP_VLEK ? "VLEK-" : "", id_snp_product_name(vek->product));
	if (!has_cn(intermediate, cn) || !is_ca(intermediate))
		return err_reason(e, ID_SNP_CHAIN, "intermediate", "is not a CA named %s", cn);
	if (!has_cn(vek->x509, signer == ID_SNP_VLEK ? "SEV-VLEK" : "SEV-VCEK") || X509_check_ca(vek->x509))
		return err_reason(e, ID_SNP_CHAIN, WHERE, "is not a %s", signer == ID_SNP_VLEK ? "VLEK" : "VCEK");
	return 0;
}

int id_snp_chain_check(const struct id_snp_vek *vek, const struct id_snp_certs *certs, const struct id_snp_trust *trust,
		       enum id_snp_signer signer, struct id_snp_result *result, struct err *e)
{
	auto_call(cleanup_x509) X509 *intermediate = NULL, *root = NULL;
	X509 *chain[3];
	int ret = root_get(certs, trust, vek->product, &root, e);

	if (ret < 0)
		return ret;
	intermediate = certs->intermediate.p ? id_x509_from_der(certs->intermediate.p, certs->intermediate.left) : NULL;
	if (!intermediate)
		return err_reason(e, ID_SNP_CHAIN, "intermediate", "is missing or not one DER certificate");
	ret = names_check(vek, intermediate, signer, e);
	if (!ret)
		ret = signature_check(intermediate, root, "intermediate", e);
	if (!ret)
		ret = signature_check(vek->x509, intermediate, WHERE, e);
	chain[0] = vek->x509, chain[1] = intermediate, chain[2] = root;
	for (int i = 0; !ret && i < 3; i++)
		ret = dates_check(X509_get0_notBefore(chain[i]), X509_get0_notAfter(chain[i]),
				  i == 0   ? WHERE
				  : i == 1 ? "intermediate"
					   : "ARK",
				  trust, result, e);
	if (!ret)
		ret = revocation_check(certs, intermediate, root, trust, result, e);
	return ret;
}
