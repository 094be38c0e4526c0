// SPDX-License-Identifier: Apache-2.0
#include "intel.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>
#include <openssl/x509v3.h>
#include <time.h>

#include "base/text.h"
#include "identity/der.h"
#include "identity/x509.h"

#define AUTH_LEN 32

enum key { KEY_ROOT, KEY_CA, KEY_PCK, KEY_SIGNER, KEY_STRANGER, KEY_ATT, KEY_COUNT };

static EVP_PKEY *key[KEY_COUNT];
static X509 *usual_root; /* what is made under one root fits together */

DEFINE_CLEANUP(crl, X509_CRL, X509_CRL_free)
DEFINE_CLEANUP(revoked, X509_REVOKED, X509_REVOKED_free)

int intel_start(void **state)
{
	(void)state;
	for (int i = 0; i < KEY_COUNT; i++)
		if (!(key[i] = id_p256_new()))
			return -1;
	return 0;
}

int intel_stop(void **state)
{
	(void)state;
	for (int i = 0; i < KEY_COUNT; i++)
		EVP_PKEY_free(key[i]);
	X509_free(usual_root);
	return 0;
}

static EVP_PKEY *signer_key(enum intel_signer by, enum key normal)
{
	static const enum key keys[] = { [BY_ROOT] = KEY_ROOT,
					 [BY_CA] = KEY_CA,
					 [BY_PCK] = KEY_PCK,
					 [BY_TCB_SIGNER] = KEY_SIGNER,
					 [BY_STRANGER] = KEY_STRANGER };

	return key[by == BY_DEFAULT ? normal : keys[by]];
}

struct intel_opts intel_opts(void)
{
	int64_t from = INTEL_NOW - 100 * INTEL_DAY, to = INTEL_NOW + 1000 * INTEL_DAY;
	struct intel_opts o = {
		.root = { "Intel SGX Root CA", "critical,CA:TRUE,pathlen:1", "critical,keyCertSign,cRLSign", from, to,
			  false },
		.ca = { "Intel SGX PCK Platform CA", "critical,CA:TRUE,pathlen:0", "critical,keyCertSign,cRLSign", from,
			to, false },
		.pck = { "Intel SGX PCK Certificate", "critical,CA:FALSE", "critical,digitalSignature,nonRepudiation",
			 from, to, false },
		.signer = { "Intel SGX TCB Signing", "critical,CA:FALSE", "critical,digitalSignature,nonRepudiation",
			    from, to, false },
		.crl_from = INTEL_NOW - INTEL_DAY,
		.crl_to = INTEL_NOW + 20 * INTEL_DAY,
		.root_crl_from = INTEL_NOW - INTEL_DAY,
		.root_crl_to = INTEL_NOW + 300 * INTEL_DAY,
		.platform_status = "UpToDate",
		.module_status = "UpToDate",
		.qe_status = "UpToDate",
		.version = 4,
		.body = ID_TD_REPORT_10,
		.platform = { .pce_svn = 13, .fmspc = { 0x00, 0x90, 0x6e, 0xd5, 0, 0 }, .has_instance = true },
	};

	memset(o.platform.ppid, 0x77, sizeof(o.platform.ppid));
	memset(o.platform.instance, 0x99, sizeof(o.platform.instance));
	memset(o.platform.svn, 5, sizeof(o.platform.svn));
	memset(o.platform.cpu_svn, 5, sizeof(o.platform.cpu_svn));
	return o;
}

/* --- DER --- */

static void der_put(struct out *out, uint8_t tag, const void *p, size_t len)
{
	out_u8(out, tag);
	if (len >= 0x100) {
		out_u8(out, 0x82);
		out_u8(out, (uint8_t)(len >> 8));
	} else if (len >= 0x80) {
		out_u8(out, 0x81);
	}
	out_u8(out, (uint8_t)len);
	out_bytes(out, p, len);
}

/* SEQUENCE { OID arc.a[.b], value } */
static void pair_put(struct out *out, uint8_t a, uint8_t b, uint8_t tag, const void *p, size_t len)
{
	uint8_t oid[] = { 0x2a, 0x86, 0x48, 0x86, 0xf8, 0x4d, 0x01, 0x0d, 0x01, a, b };
	auto_out struct out pair = { 0 };

	der_put(&pair, DER_OID, oid, b ? sizeof(oid) : sizeof(oid) - 1);
	der_put(&pair, tag, p, len);
	der_put(out, DER_SEQ, pair.data, pair.len);
}

static void number_put(struct out *out, uint8_t b, uint16_t v)
{
	uint8_t bytes[] = { 0, (uint8_t)(v >> 8), (uint8_t)v };
	size_t skip = v < 0x80 ? 2 : v < 0x8000 ? 1 : 0;

	pair_put(out, 2, b, DER_INTEGER, bytes + skip, sizeof(bytes) - skip);
}

static void extension_make(const struct id_pck *p, struct out *ext)
{
	auto_out struct out all = { 0 }, tcb = { 0 };

	for (uint8_t i = 0; i < ID_TCB_COMPONENTS; i++)
		number_put(&tcb, (uint8_t)(i + 1), p->svn[i]);
	number_put(&tcb, 17, p->pce_svn);
	pair_put(&tcb, 2, 18, DER_OCTETS, p->cpu_svn, sizeof(p->cpu_svn));
	pair_put(&all, 1, 0, DER_OCTETS, p->ppid, sizeof(p->ppid));
	pair_put(&all, 2, 0, DER_SEQ, tcb.data, tcb.len);
	pair_put(&all, 3, 0, DER_OCTETS, p->pce_id, sizeof(p->pce_id));
	pair_put(&all, 4, 0, DER_OCTETS, p->fmspc, sizeof(p->fmspc));
	pair_put(&all, 5, 0, DER_ENUM, &p->sgx_type, 1);
	if (p->has_instance)
		pair_put(&all, 6, 0, DER_OCTETS, p->instance, sizeof(p->instance));
	der_put(ext, DER_SEQ, all.data, all.len);
}

/* --- certificates --- */

static void name_set(X509_NAME *name, const char *cn)
{
	assert_int_equal(X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, (const uint8_t *)cn, -1, -1, 0), 1);
	assert_int_equal(
		X509_NAME_add_entry_by_txt(name, "O", MBSTRING_UTF8, (const uint8_t *)"Test of Intel", -1, -1, 0), 1);
}

static void ext_add(X509 *x509, X509 *issuer, int nid, const char *value)
{
	X509V3_CTX ctx;
	X509_EXTENSION *ext;

	X509V3_set_ctx(&ctx, issuer, x509, NULL, NULL, 0);
	ext = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
	assert_non_null(ext);
	assert_int_equal(X509_add_ext(x509, ext, -1), 1);
	X509_EXTENSION_free(ext);
}

static void sgx_add(X509 *x509, const struct intel_opts *o)
{
	auto_out struct out made = { 0 };
	ASN1_OBJECT *oid = OBJ_txt2obj("1.2.840.113741.1.13.1", 1);
	ASN1_OCTET_STRING *value = ASN1_OCTET_STRING_new();
	X509_EXTENSION *ext;

	extension_make(&o->platform, &made);
	assert_int_equal(
		ASN1_OCTET_STRING_set(value, o->ext ? o->ext : made.data, (int)(o->ext ? o->ext_len : made.len)), 1);
	ext = X509_EXTENSION_create_by_OBJ(NULL, oid, 0, value);
	assert_int_equal(X509_add_ext(x509, ext, -1), 1);
	X509_EXTENSION_free(ext);
	ASN1_OCTET_STRING_free(value);
	ASN1_OBJECT_free(oid);
}

/* Not yet signed. `serial` tells the certificates of one root apart. */
static X509 *cert_new(const struct intel_cert *c, int serial, EVP_PKEY *own, X509 *issuer)
{
	X509 *x509 = X509_new();

	assert_non_null(x509);
	X509_set_version(x509, X509_VERSION_3);
	ASN1_INTEGER_set(X509_get_serialNumber(x509), serial);
	ASN1_TIME_set(X509_getm_notBefore(x509), (time_t)c->not_before);
	ASN1_TIME_set(X509_getm_notAfter(x509), (time_t)c->not_after);
	X509_set_pubkey(x509, own);
	name_set(X509_get_subject_name(x509), c->cn);
	X509_set_issuer_name(x509, X509_get_subject_name(issuer ? issuer : x509));
	ext_add(x509, issuer, NID_basic_constraints, c->basic);
	ext_add(x509, issuer, NID_key_usage, c->usage);
	ext_add(x509, issuer, NID_subject_key_identifier, "hash");
	return x509;
}

static X509_CRL *crl_new(X509 *issuer, EVP_PKEY *signer, int64_t from, int64_t to, X509 *const revoked[2])
{
	X509_CRL *crl = X509_CRL_new();
	ASN1_TIME *t = ASN1_TIME_set(NULL, (time_t)from);
	ASN1_INTEGER *number = ASN1_INTEGER_new();

	X509_CRL_set_version(crl, X509_CRL_VERSION_2);
	X509_CRL_set_issuer_name(crl, X509_get_subject_name(issuer));
	X509_CRL_set1_lastUpdate(crl, t);
	for (int i = 0; i < 2; i++) {
		X509_REVOKED *entry = revoked[i] ? X509_REVOKED_new() : NULL;

		if (!entry)
			continue;
		X509_REVOKED_set_serialNumber(entry, X509_get_serialNumber(revoked[i]));
		X509_REVOKED_set_revocationDate(entry, t);
		X509_CRL_add0_revoked(crl, entry);
	}
	ASN1_TIME_set(t, (time_t)to);
	X509_CRL_set1_nextUpdate(crl, t);
	ASN1_INTEGER_set(number, 1);
	X509_CRL_add1_ext_i2d(crl, NID_crl_number, number, 0, 0);
	X509_CRL_sort(crl);
	assert_true(X509_CRL_sign(crl, signer, EVP_sha256()) > 0);
	ASN1_INTEGER_free(number);
	ASN1_TIME_free(t);
	return crl;
}

static char *crl_hex(X509_CRL *crl)
{
	unsigned char *der = NULL;
	int len = i2d_X509_CRL(crl, &der);
	char *hex = malloc(2 * (size_t)len + 1);

	hex_print(hex, der, (size_t)len);
	OPENSSL_free(der);
	return hex;
}

struct pki {
	X509 *root, *ca, *pck, *signer;
	char *root_crl, *crl; /* hex */
};

static void pki_fini(struct pki *p)
{
	X509_free(p->root);
	X509_free(p->ca);
	X509_free(p->pck);
	X509_free(p->signer);
	free(p->root_crl);
	free(p->crl);
}

static X509 *root_get(const struct intel_cert *c)
{
	struct intel_cert usual = intel_opts().root;
	bool is_usual = c->basic == usual.basic && c->usage == usual.usage && c->not_before == usual.not_before &&
			c->not_after == usual.not_after;
	X509 *root;

	if (is_usual && usual_root) {
		X509_up_ref(usual_root);
		return usual_root;
	}
	root = cert_new(c, 1, key[KEY_ROOT], NULL);
	assert_true(X509_sign(root, key[KEY_ROOT], EVP_sha256()) > 0);
	if (is_usual && X509_up_ref(root) == 1)
		usual_root = root;
	return root;
}

static void pki_make(const struct intel_opts *o, struct pki *p)
{
	auto_call(cleanup_crl) X509_CRL *root_crl = NULL, *crl = NULL;
	bool by_root = o->pck_by == BY_ROOT, by_signer = o->pck_by == BY_TCB_SIGNER;

	p->root = root_get(&o->root);
	p->ca = cert_new(&o->ca, 2, key[KEY_CA], p->root);
	p->signer = cert_new(&o->signer, 3, key[KEY_SIGNER], o->signer_by == BY_CA ? p->ca : p->root);
	p->pck = cert_new(&o->pck, 4, key[KEY_PCK], by_root ? p->root : by_signer ? p->signer : p->ca);
	if (!o->ext_missing)
		sgx_add(p->pck, o);
	assert_true(X509_sign(p->ca, key[KEY_ROOT], EVP_sha256()) > 0);
	assert_true(X509_sign(p->signer, signer_key(o->signer_by, KEY_ROOT), EVP_sha256()) > 0);
	assert_true(X509_sign(p->pck, signer_key(o->pck_by, KEY_CA), EVP_sha256()) > 0);
	root_crl = crl_new(p->root, signer_key(o->root_crl_by, KEY_ROOT), o->root_crl_from, o->root_crl_to,
			   (X509 *const[]){ o->ca.is_revoked ? p->ca : NULL, o->signer.is_revoked ? p->signer : NULL });
	crl = crl_new(o->has_crl_name_of_root ? p->root : p->ca, signer_key(o->crl_by, KEY_CA), o->crl_from, o->crl_to,
		      (X509 *const[]){ o->pck.is_revoked ? p->pck : NULL, NULL });
	p->root_crl = crl_hex(root_crl);
	p->crl = crl_hex(crl);
}

/* --- JSON --- */

static char *edited(char *text, const struct intel_edit *edit)
{
	for (; edit->find; edit++) {
		char *at = strstr(text, edit->find), *longer = NULL;

		if (!at)
			fail_msg("nothing to edit: %s", edit->find);
		if (asprintf(&longer, "%.*s%s%s", (int)(at - text), text, edit->put, at + strlen(edit->find)) < 0)
			fail();
		free(text);
		text = longer;
	}
	return text;
}

static void date_put(char text[32], int64_t t)
{
	time_t when = (time_t)t;
	struct tm tm;

	strftime(text, 32, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&when, &tm));
}

#define S8(n)  "{\"svn\":" n "},{\"svn\":" n "},{\"svn\":" n "},{\"svn\":" n "}"
#define SGX(n) "\"sgxtcbcomponents\":[" S8(n) "," S8(n) "," S8(n) "," S8(n) "]"
/* bytes 0 and 1 are the module's, so no platform level may hang on them */
#define TDX(n)                                                                                                         \
	"\"tdxtcbcomponents\":[{\"svn\":255},{\"svn\":255},{\"svn\":" n "},{\"svn\":" n                                \
	"}," S8(n) "," S8(n) "," S8(n) "]"
#define ZERO_MR "000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000"
#define MODULE                                                                                                         \
	"\"mrsigner\":\"" ZERO_MR "\",\"attributes\":\"0000000000000000\",\"attributesMask\":\"FFFFFFFFFFFFFFFF\""

static char *tcb_make(const struct intel_opts *o)
{
	char from[32], to[32], *text = NULL;

	date_put(from, INTEL_NOW - 2 * INTEL_DAY);
	date_put(to, INTEL_NOW + 28 * INTEL_DAY);
	if (asprintf(&text,
		     "{\"id\":\"TDX\",\"version\":3,\"issueDate\":\"%s\",\"nextUpdate\":\"%s\",\"fmspc\":"
		     "\"00906ED50000\","
		     "\"pceId\":\"0000\",\"tcbType\":0,\"tcbEvaluationDataNumber\":17,\"tdxModule\":{" MODULE "},"
		     "\"tdxModuleIdentities\":[{\"id\":\"TDX_01\"," MODULE ",\"tcbLevels\":["
		     "{\"tcb\":{\"isvsvn\":5},\"tcbDate\":\"2026-03-01T00:00:00Z\",\"tcbStatus\":\"%s\","
		     "\"advisoryIDs\":[\"INTEL-SA-00003\"]},"
		     "{\"tcb\":{\"isvsvn\":2},\"tcbDate\":\"2025-03-01T00:00:00Z\",\"tcbStatus\":\"OutOfDate\","
		     "\"advisoryIDs\":[\"INTEL-SA-00004\"]}]}],"
		     "\"tcbLevels\":[{\"tcb\":{" SGX("5") ",\"pcesvn\":13," TDX(
			     "3") "},\"tcbDate\":\"2026-01-01T00:00:00Z\","
				  "\"tcbStatus\":\"%s\",\"advisoryIDs\":[\"INTEL-SA-00002\",\"INTEL-SA-00001\"]},{"
				  "\"tcb\":{" SGX("4") ",\"pcesvn\":12," TDX(
					  "2") "},\"tcbDate\":\"2024-01-01T00:00:00Z\",\"tcbStatus\":\"OutOfDate\","
					       "\"advisoryIDs\":[\"INTEL-SA-00009\"]}]}",
		     from, to, o->module_status, o->platform_status) < 0)
		fail();
	return edited(text, o->tcb);
}

static char *qe_make(const struct intel_opts *o)
{
	char from[32], to[32], *text = NULL;

	date_put(from, INTEL_NOW - 2 * INTEL_DAY);
	date_put(to, INTEL_NOW + 28 * INTEL_DAY);
	if (asprintf(&text,
		     "{\"id\":\"TD_QE\",\"version\":2,\"issueDate\":\"%s\",\"nextUpdate\":\"%s\","
		     "\"tcbEvaluationDataNumber\":17,"
		     "\"miscselect\":\"00000000\",\"miscselectMask\":\"FFFFFFFF\",\"attributes\":"
		     "\"11000000000000000000000000000000\","
		     "\"attributesMask\":\"FBFFFFFFFFFFFFFF0000000000000000\",\"mrsigner\":"
		     "\"DCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDC\",\"isvprodid\":2,"
		     "\"tcbLevels\":["
		     "{\"tcb\":{\"isvsvn\":4},\"tcbDate\":\"2026-02-01T00:00:00Z\",\"tcbStatus\":\"%s\"}]}",
		     from, to, o->qe_status) < 0)
		fail();
	return edited(text, o->qe);
}

static void sign_hex(EVP_PKEY *by, const char *text, char hex[129])
{
	uint8_t raw[64];

	assert_true(id_ecdsa_sign_raw(by, raw, text, strlen(text)));
	hex_print(hex, raw, sizeof(raw));
}

/* A JSON string of a text. */
static char *quoted(const char *text)
{
	char *q = malloc(2 * strlen(text) + 3), *p = q;

	*p++ = '"';
	for (; *text; text++) {
		if (*text == '"' || *text == '\\' || *text == '\n')
			*p++ = '\\';
		*p++ = *text == '\n' ? 'n' : *text;
	}
	strcpy(p, "\"");
	return q;
}

static char *bundle_make(const struct intel_opts *o, const struct pki *p)
{
	auto_free char *tcb = tcb_make(o), *qe = qe_make(o), *signer = id_x509_to_pem(p->signer),
		       *root = id_x509_to_pem(p->root), *chain = NULL, *text = NULL;
	char tcb_sig[129], qe_sig[129];

	sign_hex(signer_key(o->json_by, KEY_SIGNER), tcb, tcb_sig);
	sign_hex(signer_key(o->json_by, KEY_SIGNER), qe, qe_sig);
	if (asprintf(&chain, "%s%s", signer, root) < 0)
		fail();
	auto_free char *chain_q = quoted(chain), *tcb_q = quoted(tcb), *qe_q = quoted(qe);

	if (asprintf(&text,
		     "{\"pck_crl_issuer_chain\":\"\",\"root_ca_crl\":\"%s\",\"pck_crl\":\"%s\",\"tcb_info_issuer_"
		     "chain\":%s,"
		     "\"tcb_info\":%s,\"tcb_info_signature\":\"%s\",\"qe_identity_issuer_chain\":%s,\"qe_identity\":%s,"
		     "\"qe_identity_signature\":\"%s\"}",
		     p->root_crl, p->crl, chain_q, tcb_q, tcb_sig, chain_q, qe_q, qe_sig) < 0)
		fail();
	return edited(take_ptr(text), o->bundle);
}

/* --- quote --- */

static void body_make(const struct intel_opts *o, struct out *out)
{
	static const uint8_t svn[16] = { 5, 1, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3 };
	uint8_t mr[ID_MR_LEN];
	size_t from;

	out_u16le(out, (uint16_t)o->version);
	out_u16le(out, ID_QUOTE_KEY_P256);
	out_u32le(out, ID_QUOTE_TEE_TDX);
	out_zero(out, 4);
	out_bytes(out, id_qe_vendor_intel, ID_QE_VENDOR_LEN);
	out_zero(out, 20);
	if (o->version == 5) {
		out_u16le(out, (uint16_t)o->body);
		out_u32le(out, o->body == ID_TD_REPORT_15 ? 648 : 584);
	}
	from = out->len;
	out_bytes(out, svn, sizeof(svn));
	out_zero(out, 2 * ID_MR_LEN + 8);
	out_u64le(out, ID_TD_SEPT_VE_DISABLE);
	out_u64le(out, 0xe7);
	for (uint8_t i = 0; i < 8; i++) { /* MRTD, MRCONFIGID, MROWNER, MROWNERCONFIG, RTMR0..3 */
		memset(mr, 0xa0 + i, sizeof(mr));
		out_bytes(out, mr, sizeof(mr));
	}
	out_zero(out, ID_REPORT_DATA_LEN);
	if (o->body == ID_TD_REPORT_15) {
		out_bytes(out, svn, sizeof(svn));
		out_zero(out, ID_MR_LEN);
	}
	assert_int_equal(out->len - from, o->body == ID_TD_REPORT_15 ? 648 : 584);
}

static void qe_put(const struct intel_opts *o, const char *pem, struct out *out)
{
	uint8_t report[ID_QE_REPORT_LEN] = { 0 }, auth[AUTH_LEN], raw[ID_P256_RAW_LEN], signature[ID_P256_RAW_LEN];

	for (uint8_t i = 0; i < AUTH_LEN; i++)
		auth[i] = i;
	assert_true(id_p256_to_raw(key[KEY_ATT], raw));
	report[48] = 0x15; /* INIT, MODE64BIT and PROVISIONKEY, the bit that the mask leaves out */
	memset(report + 128, 0xdc, 32);
	report[256] = 2;
	report[258] = 4;
	assert_true(id_hash(EVP_sha256(), report + 320, raw, sizeof(raw), auth, sizeof(auth)));
	if (o->edit_qe)
		o->edit_qe(report, o->arg);
	assert_true(id_ecdsa_sign_raw(signer_key(o->qe_report_by, KEY_PCK), signature, report, sizeof(report)));
	out_bytes(out, report, sizeof(report));
	out_bytes(out, signature, sizeof(signature));
	out_u16le(out, AUTH_LEN);
	out_bytes(out, auth, AUTH_LEN);
	out_u16le(out, ID_CERT_DATA_PEM);
	out_u32le(out, (uint32_t)strlen(pem));
	out_bytes(out, pem, strlen(pem));
}

static uint8_t *quote_make(const struct intel_opts *o, const char *pem, size_t *len)
{
	auto_out struct out out = { 0 }, qe = { 0 };
	uint8_t raw[ID_P256_RAW_LEN], signature[ID_P256_RAW_LEN];

	body_make(o, &out);
	if (o->edit_body)
		o->edit_body(out.data, o->arg);
	assert_true(id_ecdsa_sign_raw(key[KEY_ATT], signature, out.data, out.len) && id_p256_to_raw(key[KEY_ATT], raw));
	qe_put(o, pem, &qe);
	out_u32le(&out, (uint32_t)(134 + qe.len));
	out_bytes(&out, signature, sizeof(signature));
	out_bytes(&out, raw, sizeof(raw));
	out_u16le(&out, ID_CERT_DATA_QE);
	out_u32le(&out, (uint32_t)qe.len);
	out_bytes(&out, qe.data, qe.len);
	return out_take(&out, len);
}

void intel_make(const struct intel_opts *o, struct intel_made *made)
{
	auto_call(pki_fini) struct pki pki = { 0 };
	auto_free char *pem = NULL;
	unsigned char *root = NULL;
	struct err e = ERR_INIT;
	int root_len;

	pki_make(o, &pki);
	*made = (struct intel_made){ .pem = { id_x509_to_pem(pki.pck), id_x509_to_pem(pki.ca),
					      id_x509_to_pem(pki.root) },
				     .bundle = bundle_make(o, &pki) };
	if (asprintf(&pem, "%s%s%s", made->pem[0], made->pem[1], made->pem[2]) < 0)
		fail();
	made->quote = quote_make(o, o->pem ? o->pem : pem, &made->quote_len);
	root_len = i2d_X509(pki.root, &root);
	assert_in_range(root_len, 1, (int)sizeof(made->root));
	memcpy(made->root, root, (size_t)root_len);
	made->root_len = (size_t)root_len;
	OPENSSL_free(root);
	assert_int_equal(id_collaterals_new(made->root, made->root_len, &made->set, &e), 0);
	id_collaterals_add(made->set, made->bundle, strlen(made->bundle), &made->refused);
}

void intel_fini(struct intel_made *made)
{
	free(made->quote);
	free(made->bundle);
	for (int i = 0; i < 3; i++)
		free(made->pem[i]);
	id_collaterals_free(made->set);
}

static const char *words(const struct id_verdict *v)
{
	static char text[1024];
	char word[64];
	size_t n = 0;

	text[0] = '\0';
	for (unsigned i = 0; i < v->n_findings; i++)
		n += (size_t)snprintf(text + n, sizeof(text) - n, "%s%s", i ? "," : "",
				      id_verdict_word(v, &v->finding[i], word));
	assert_int_equal(v->is_accepted, n == 0);
	return text;
}

const char *intel_judge_bytes(const uint8_t *bytes, size_t len, struct id_collaterals *set, int64_t now,
			      const struct id_evidence_policy *policy, struct id_verdict *verdict)
{
	struct id_trust trust = { .now = now, .collaterals = set, .policy = policy };
	struct err e = ERR_INIT;
	struct id_quote quote;

	*verdict = (struct id_verdict){ 0 };
	if (id_quote_parse(bytes, len, &quote, &e) < 0)
		id_verdict_add(verdict, (enum id_reason)e.reason, "%s", e.msg);
	else
		id_quote_judge(&quote, &trust, verdict, NULL);
	return words(verdict);
}

const char *intel_judge(const struct intel_opts *opts, const struct id_evidence_policy *policy,
			struct id_verdict *verdict)
{
	auto_call(intel_fini) struct intel_made made = { 0 };

	intel_make(opts, &made);
	*verdict = (struct id_verdict){ 0 };
	if (made.refused.code) {
		id_verdict_add(verdict, (enum id_reason)made.refused.reason, "%s", made.refused.msg);
		return words(verdict);
	}
	return intel_judge_bytes(made.quote, made.quote_len, made.set, INTEL_NOW, policy, verdict);
}
