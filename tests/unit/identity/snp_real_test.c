// SPDX-License-Identifier: Apache-2.0
/* Reports of real processors (skipped where the collection of evidence is absent), and certificate tables. */
#include <errno.h>

#include "identity/snp.h"
#include "world.h"

#define AT_2025_04_30 INT64_C(1745971200)
#define AT_2025_06_15 INT64_C(1749945600)
#define AT_2026_01_01 INT64_C(1767225600)
#define AT_2026_09_01 INT64_C(1788220800)

struct real {
	char *report, *vek_file;
	uint8_t *vek, *intermediate;
	struct id_snp_certs certs;
	struct id_snp_trust trust;
};

static void real_open(struct real *r, const char *report, const char *vek, const char *chain, int64_t now)
{
	size_t report_len = 0, vek_len = 0, chain_len = 0;
	auto_free char *pem = NULL;

	*r = (struct real){ .report = shared_file(report, &report_len), .vek_file = shared_file(vek, &vek_len) };
	pem = shared_file(chain, &chain_len);
	assert_int_equal(report_len, ID_SNP_REPORT_LEN);
	if (r->vek_file[0] == '-')
		r->vek = pem_to_der(r->vek_file, &r->certs.vek.left);
	else
		r->certs.vek = in_of(r->vek_file, vek_len);
	if (r->vek)
		r->certs.vek.p = r->vek;
	*strstr(pem, "-----END CERTIFICATE-----\n") = 0; /* the first one alone */
	strcat(pem, "-----END CERTIFICATE-----\n");
	r->intermediate = pem_to_der(pem, &r->certs.intermediate.left);
	r->certs.intermediate.p = r->intermediate;
	r->trust.now = now;
}

static void real_close(struct real *r)
{
	free(r->report);
	free(r->vek_file);
	free(r->vek);
	free(r->intermediate);
}

static const char *judge(const struct real *r)
{
	struct id_snp_result result;
	struct err e = ERR_INIT;

	id_snp_verify((uint8_t *)r->report, ID_SNP_REPORT_LEN, &r->certs, &r->trust, &result, &e);
	assert_int_equal(e.reason, result.n_reasons ? result.reasons[0] : 0);
	return id_reason_name(e.reason);
}

#define S1 "snp/s1-v3-milan-vcek.report.bin", "snp/s1-vcek.pem", "snp/amd-roots/ask_ark_milan.pem"
#define S2 "snp/s2-v2-milan-debug.report.bin", "snp/s2-vcek.der", "snp/amd-roots/ask_ark_milan.pem"
#define S3 "snp/s3-v3-milan-vlek.report.bin", "snp/s3-vlek.der", "snp/amd-roots/ask_ark_milan_vlek.pem"
#define S4 "snp/s4-v2-milan-vcek.report.bin", "snp/s4-vcek.der", "snp/amd-roots/ask_ark_milan.pem"

static void s1_is_accepted(void **state)
{
	static const struct id_snp_tcb reported = { 4, 0, 0x17, 0xd5, 0 };
	struct id_snp_result result;
	struct err e = ERR_INIT;
	struct real r;

	(void)state;
	real_open(&r, S1, AT_2026_09_01);
	assert_int_equal(id_snp_verify((uint8_t *)r.report, ID_SNP_REPORT_LEN, &r.certs, &r.trust, &result, &e), 0);
	assert_int_equal(result.product, ID_SNP_MILAN);
	assert_memory_equal(&result.reported, &reported, sizeof(reported));
	assert_int_equal(result.current.snp, 0x18);
	assert_int_equal(result.not_after, 2002583104); /* 2033-06-17, of the VCEK */
	r.trust.policy.tcb_min = reported;
	assert_string_equal(judge(&r), "NONE");
	r.trust.policy.tcb_min.microcode++;
	assert_string_equal(judge(&r), "SNP_TCB");
	real_close(&r);
}

static void s2_may_be_debugged(void **state)
{
	struct real r;

	(void)state;
	real_open(&r, S2, AT_2025_06_15);
	assert_string_equal(judge(&r), "SNP_DEBUG");
	r.trust.policy.allow_debug = true;
	assert_string_equal(judge(&r), "NONE");
	real_close(&r);
}

static void s3_came_from_vmpl_1_and_its_vlek_ends(void **state)
{
	struct real r;

	(void)state;
	real_open(&r, S3, AT_2025_04_30);
	assert_string_equal(judge(&r), "SNP_VMPL");
	r.trust.policy.vmpl_max = 1;
	assert_string_equal(judge(&r), "NONE");
	strcpy(r.trust.policy.csp_id, "CN=cc-us-east-2.amazonaws.com");
	assert_string_equal(judge(&r), "NONE");
	r.trust.now = AT_2026_01_01;
	assert_string_equal(judge(&r), "SNP_VALIDITY");
	real_close(&r);
}

static void s4_is_accepted(void **state)
{
	struct real r;

	(void)state;
	real_open(&r, S4, AT_2025_06_15);
	assert_string_equal(judge(&r), "NONE");
	real_close(&r);
}

static void s1_with_other_certificates(void **state)
{
	struct real r, other;

	(void)state;
	real_open(&r, S1, AT_2026_09_01);
	real_open(&other, S4, AT_2026_09_01);
	memcpy(other.report, r.report, ID_SNP_REPORT_LEN);
	assert_string_equal(judge(&other), "SNP_SIGNATURE");
	real_close(&other);
	real_open(&other, "snp/s1-v3-milan-vcek.report.bin", "snp/s1-vcek.pem", "snp/amd-roots/ask_ark_genoa.pem",
		  AT_2026_09_01);
	assert_string_equal(judge(&other), "SNP_CHAIN");
	real_close(&other);
	real_open(&other, "snp/s1-v3-milan-vcek.report.bin", "snp/s1-vcek.pem", "snp/amd-roots/ask_ark_milan_vlek.pem",
		  AT_2026_09_01);
	assert_string_equal(judge(&other), "SNP_CHAIN");
	real_close(&other);
	real_close(&r);
}

static void no_flip_of_s1_is_accepted(void **state)
{
	struct real r;

	(void)state;
	real_open(&r, S1, AT_2026_09_01);
	for (size_t i = 0; i < 0x330; i++) {
		r.report[i] ^= (char)(1 << i % 8);
		assert_string_not_equal(judge(&r), "NONE");
		r.report[i] ^= (char)(1 << i % 8);
	}
	assert_string_equal(judge(&r), "NONE");
	real_close(&r);
}

/* The pinned roots are those that AMD serves. */
static void roots_are_amds(void **state)
{
	static const char *const files[] = { "snp/amd-roots/ask_ark_milan.pem", "snp/amd-roots/ask_ark_genoa.pem",
					     "snp/amd-roots/ask_ark_turin_vcek.pem" };

	(void)state;
	for (int i = 0; i < ID_SNP_PRODUCTS; i++) {
		size_t len = 0;
		auto_free char *pem = shared_file(files[i], &len);
		X509 *served[2], *pinned = id_snp_root((enum id_snp_product)i);

		assert_int_equal(id_x509_from_pem(pem, len, served, 2), 2);
		assert_non_null(pinned);
		assert_int_equal(X509_cmp(served[1], pinned), 0);
		X509_free(served[0]);
		X509_free(served[1]);
		X509_free(pinned);
	}
}

/* The same by their published fingerprints, where the files are absent. */
static void roots_have_their_fingerprints(void **state)
{
	static const char *const hex[] = { "69d063b45344d26a2e94e1f4210de49ef555308287d4c174445c95639a540bcd",
					   "4c6598d19c18719c5dfd4a7d335f674e5bfe1d8f800cea2cf270c10d103db2f1",
					   "1f084161a44bb6d93778a904877d4819cafa5d05ef4193b2ded9dd9c73dd3f6a" };

	(void)state;
	for (int i = 0; i < ID_SNP_PRODUCTS; i++) {
		X509 *root = id_snp_root((enum id_snp_product)i);
		uint8_t digest[32];
		char text[65];

		assert_int_equal(X509_digest(root, EVP_sha256(), digest, NULL), 1);
		hex_print(text, digest, sizeof(digest));
		assert_string_equal(text, hex[i]);
		X509_free(root);
	}
}

/* --- certificate table --- */

#define VCEK "\x63\xda\x75\x8d\xe6\x64\x45\x64\xad\xc5\xf4\xb9\x3b\xe8\xac\xcd"
#define VLEK "\xa8\x07\x4b\xc2\xa2\x5a\x48\x3e\xaa\xe6\x39\xc0\x45\xa0\xb8\xa1"
#define ASK  "\x4a\xb7\xb3\x79\xbb\xac\x4f\xe4\xa0\x2f\x05\xae\xf3\x27\xc7\x82"
#define ARK  "\xc0\xb4\x06\xa4\xa8\x03\x49\x52\x97\x43\x3f\xb6\x01\x4c\xd0\xae"
#define NEW  "0123456789abcdef"
#define END  "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"

struct row {
	const char *guid;
	uint32_t offset, len;
};

/* Rows, then 64 bytes of certificates and a page's padding. */
static void table_write(struct out *out, const struct row *rows, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		out_bytes(out, rows[i].guid, 16);
		out_u32le(out, rows[i].offset);
		out_u32le(out, rows[i].len);
	}
	for (uint8_t i = 0; i < 64; i++)
		out_u8(out, i);
	out_zero(out, 8);
}

static void tables_are_read(void **state)
{
	static const struct row rows[] = {
		{ ARK, 120, 8 }, { VCEK, 136, 16 }, { ASK, 128, 8 }, { NEW, 152, 1 }, { END, 0, 0 }
	};
	auto_out struct out out = { 0 };
	struct id_snp_certs certs;
	struct err e = ERR_INIT;

	(void)state;
	table_write(&out, rows, ARRAY_LEN(rows));
	assert_int_equal(id_snp_table_parse(out.data, out.len, &certs, &e), 0);
	assert_true(certs.vek.p == out.data + 136 && certs.vek.left == 16);
	assert_true(certs.intermediate.p == out.data + 128 && certs.root.p == out.data + 120);
	for (size_t cut = 0; cut < 153; cut++) {
		auto_free uint8_t *part = malloc(cut ? cut : 1);

		memcpy(part, out.data, cut);
		e = ERR_INIT;
		assert_int_equal(id_snp_table_parse(part, cut, &certs, &e), -EBADMSG);
		assert_reason(e, SNP_MALFORMED);
	}
}

static void bad_tables_are_refused(void **state)
{
	static const struct row bad[][3] = {
		{ { VCEK, 72, 8 }, { ASK, 80, 8 }, { NEW, 90, 1 } },         /* no terminator */
		{ { VCEK, 72, 0xffffffff }, { ASK, 80, 8 }, { END, 0, 0 } }, /* beyond 2^32 together */
		{ { VCEK, 0xffffffff, 72 }, { ASK, 80, 8 }, { END, 0, 0 } },
		{ { VCEK, 0x80000000, 0x80000000 }, { ASK, 80, 8 }, { END, 0, 0 } }, /* 0 in 32 bits */
		{ { VCEK, 72, 16 }, { ASK, 80, 8 }, { END, 0, 0 } },                 /* overlapping */
		{ { VCEK, 80, 8 }, { ASK, 72, 40 }, { END, 0, 0 } },
		{ { VCEK, 71, 8 }, { ASK, 80, 8 }, { END, 0, 0 } }, /* inside the table */
		{ { VCEK, 0, 8 }, { ASK, 80, 8 }, { END, 0, 0 } },
		{ { VCEK, 72, 0 }, { ASK, 80, 8 }, { END, 0, 0 } },  /* empty */
		{ { VCEK, 72, 8 }, { ASK, 137, 8 }, { END, 0, 0 } }, /* one byte too long */
		{ { VCEK, 72, 8 }, { VCEK, 80, 8 }, { END, 0, 0 } }, /* twice */
		{ { VCEK, 72, 8 }, { VLEK, 80, 8 }, { END, 0, 0 } }, /* which one? */
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct id_snp_certs certs = { .root.left = 77 };
		auto_out struct out out = { 0 };
		struct err e = ERR_INIT;

		table_write(&out, bad[i], 3);
		assert_int_equal(out.len, 144);
		assert_int_equal(id_snp_table_parse(out.data, i ? out.len : 72, &certs, &e), -EBADMSG);
		assert_reason(e, SNP_MALFORMED);
		assert_int_equal(certs.root.left, 77);
	}
}

static void big_tables_are_refused(void **state)
{
	auto_free uint8_t *bytes = calloc(1, ID_SNP_TABLE_MAX + 1);
	struct id_snp_certs certs;
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(id_snp_table_parse(bytes, ID_SNP_TABLE_MAX, &certs, &e), 0); /* an empty table */
	assert_null(certs.vek.p);
	assert_int_equal(id_snp_table_parse(bytes, ID_SNP_TABLE_MAX + 1, &certs, &e), -EBADMSG);
	e = ERR_INIT;
	for (size_t i = 0; i < 33; i++) /* 33 unknown entries, all good but for their number */
		memcpy(bytes + 24 * i, (uint8_t[24]){ 1, (uint8_t)i, [17] = 0x10, [16] = (uint8_t)i, [20] = 1 }, 24);
	assert_int_equal(id_snp_table_parse(bytes, ID_SNP_TABLE_MAX, &certs, &e), -EBADMSG);
	assert_reason(e, SNP_MALFORMED);
	memset(bytes + 24 * 32, 0, 24);
	assert_int_equal(id_snp_table_parse(bytes, ID_SNP_TABLE_MAX, &certs, &e), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(s1_is_accepted),
		cmocka_unit_test(s2_may_be_debugged),
		cmocka_unit_test(s3_came_from_vmpl_1_and_its_vlek_ends),
		cmocka_unit_test(s4_is_accepted),
		cmocka_unit_test(s1_with_other_certificates),
		cmocka_unit_test(no_flip_of_s1_is_accepted),
		cmocka_unit_test(roots_are_amds),
		cmocka_unit_test(roots_have_their_fingerprints),
		cmocka_unit_test(tables_are_read),
		cmocka_unit_test(bad_tables_are_refused),
		cmocka_unit_test(big_tables_are_refused),
	};

	return cmocka_run_group_tests_name("identity/snp_real", tests, NULL, NULL);
}
