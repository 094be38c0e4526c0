// SPDX-License-Identifier: Apache-2.0
/* SEV-SNP with a platform of our own: what is accepted, and every attack of the list (docs/evidence.md) by its name. */
#include <errno.h>

#include "snp_world.h"

static void good_reports_are_accepted(void **state)
{
	(void)state;
	for (int product = 0; product < ID_SNP_PRODUCTS; product++)
		for (int signer = 0; signer < 2; signer++) {
			struct snp_forge f = { .product = (enum id_snp_product)product,
					       .signer = signer ? ID_SNP_VLEK : ID_SNP_VCEK };

			is_judged(&f, "NONE");
		}
}

static void claims_are_those_of_the_report(void **state)
{
	static const struct snp_forge f = { .product = ID_SNP_TURIN };
	uint8_t sum[32], measurement[48], host_data[32];
	struct id_snp_result result;
	struct snp_case c;
	struct err e = ERR_INIT;

	(void)state;
	memset(measurement, 0x3e, sizeof(measurement));
	memset(host_data, 0x4c, sizeof(host_data));
	snp_case_new(&f, &c);
	assert_int_equal(id_snp_verify(c.report, sizeof(c.report), &c.certs, &c.trust, &result, &e), 0);
	assert_int_equal(result.claims.tee, ID_TEE_SNP);
	assert_false(result.claims.is_simulated);
	assert_memory_equal(result.claims.mrtd, measurement, 48);
	assert_true(id_hash(EVP_sha256(), sum, measurement, 48, NULL, 0));
	assert_memory_equal(result.claims.mr_system, sum, 32);
	assert_true(id_hash(EVP_sha256(), sum, measurement, 48, host_data, 32));
	assert_memory_equal(result.claims.mr_aggregated, sum, 32);
	assert_true(id_hash(EVP_sha256(), sum, c.report + 0x1a0, 64, NULL, 0) && result.claims.has_device_id);
	assert_memory_equal(result.claims.device_id, sum, 32);
	assert_int_equal(result.product, ID_SNP_TURIN);
	assert_true(result.reported.fmc == 2 && result.reported.boot_loader == 3 && result.reported.microcode == 200);
	assert_int_equal(result.not_after, NOW + 365 * DAY);
	snp_case_free(&c);
}

/* --- form --- */

static void sizes_and_versions(void **state)
{
	static const struct snp_forge f;
	static const uint8_t versions[] = { 0, 1, 6, 255 }, algorithms[] = { 0, 2 };
	uint8_t longer[ID_SNP_REPORT_LEN + 1] = { 0 };
	struct id_snp_result result;
	struct snp_case c;

	(void)state;
	snp_case_new(&f, &c);
	memcpy(longer, c.report, sizeof(c.report));
	for (size_t len = 0; len <= sizeof(longer); len++) {
		auto_free uint8_t *part = malloc(len ? len : 1);
		struct err e = ERR_INIT;

		memcpy(part, longer, len);
		assert_int_equal(id_snp_verify(part, len, &c.certs, &c.trust, &result, &e),
				 len == ID_SNP_REPORT_LEN ? 0 : -EBADMSG);
		if (len != ID_SNP_REPORT_LEN)
			assert_reason(e, SNP_MALFORMED);
	}
	for (size_t i = 0; i < ARRAY_LEN(versions); i++) {
		c.report[0] = versions[i];
		assert_string_equal(judge(&c), "SNP_UNSUPPORTED");
	}
	c.report[0] = 3;
	for (size_t i = 0; i < ARRAY_LEN(algorithms); i++) {
		c.report[0x34] = algorithms[i];
		assert_string_equal(judge(&c), "SNP_UNSUPPORTED");
	}
	c.report[0x34] = 1;
	for (uint8_t key = 2; key <= 7; key++) {
		c.report[0x48] = (uint8_t)(key << 2);
		assert_string_equal(judge(&c), "SNP_UNSUPPORTED");
	}
	snp_case_free(&c);
}

static void version_2(uint8_t *b)
{
	b[0] = 2;
	memset(b + 0x188, 0, 3);
}

static void version_4(uint8_t *b)
{
	b[0] = 4;
}

static void version_5(uint8_t *b)
{
	b[0] = 5;
	b[0x1f8] = b[0x200] = 0x0f; /* mitigation vectors */
}

static void vectors_too_early(uint8_t *b)
{
	b[0] = 4;
	b[0x1f8] = 1;
}

static void cpuid_too_early(uint8_t *b)
{
	b[0] = 2;
}

static void other_versions_are_read(void **state)
{
	struct snp_forge f = { .report = version_2 };

	(void)state;
	is_judged(&f, "NONE");
	f.report = version_4;
	is_judged(&f, "NONE");
	f.report = version_5;
	is_judged(&f, "NONE");
	f.report = vectors_too_early;
	is_judged(&f, "SNP_MALFORMED");
	f.report = cpuid_too_early;
	is_judged(&f, "SNP_MALFORMED");
}

static void unknown_cpu(uint8_t *b)
{
	b[0x188] = 0x17;
}

static void cpu_of_genoa(uint8_t *b)
{
	b[0x189] = 0xa0;
}

static void product_is_the_processors(void **state)
{
	struct snp_forge f = { .report = unknown_cpu };

	(void)state;
	is_judged(&f, "SNP_UNSUPPORTED");
	f.report = cpu_of_genoa; /* and the VEK says Milan */
	is_judged(&f, "SNP_VEK");
	f.product = ID_SNP_GENOA;
	is_judged(&f, "NONE");
}

/* Each reserved byte, though the signature is good over it. */
static size_t dirty_at;

static void dirty(uint8_t *b)
{
	b[dirty_at] |= 0x80;
}

static void reserved_bytes_must_be_zero(void **state)
{
	static const size_t at[] = { 0x0b,  0x48,  0x4b,  0x4c,  0x4f, 0x18b, 0x19f, 0x1eb, 0x1ef,
				     0x1f8, 0x207, 0x208, 0x29f, 0x3a, 0x182, 0x1e2, 0x1f2 };
	struct snp_forge f = { .report = dirty };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(at); i++) {
		dirty_at = at[i];
		is_judged(&f, "SNP_MALFORMED");
	}
}

static void policy_bit_17_clear(uint8_t *b)
{
	b[0x0a] &= (uint8_t)~2;
}

static void policy_bit_17_must_be_set(void **state)
{
	static const struct snp_forge f = { .report = policy_bit_17_clear };

	(void)state;
	is_judged(&f, "SNP_MALFORMED");
}

/* --- signature --- */

static void no_flip_is_accepted(void **state)
{
	static const struct snp_forge f;
	struct snp_case c;
	unsigned flips = 0;

	(void)state;
	snp_case_new(&f, &c);
	for (size_t i = 0; i < 8 * ID_SNP_REPORT_LEN; i += i < 8 * 0x330 ? 5 : 61) {
		c.report[i / 8] ^= (uint8_t)(1 << i % 8);
		assert_string_not_equal(judge(&c), "NONE");
		c.report[i / 8] ^= (uint8_t)(1 << i % 8);
		flips++;
	}
	print_message("# %u flips, none accepted\n", flips);
	assert_string_equal(judge(&c), "NONE");
	snp_case_free(&c);
}

static void no_flip_of_a_certificate_is_accepted(void **state)
{
	struct snp_case c;
	const struct der *certs[] = { &c.vek, &c.intermediate };

	(void)state;
	snp_case_new(&(struct snp_forge){ 0 }, &c);
	for (size_t n = 0; n < 2; n++)
		for (size_t i = 0; i < 8 * certs[n]->len; i += 7) {
			certs[n]->p[i / 8] ^= (uint8_t)(1 << i % 8);
			assert_string_not_equal(judge(&c), "NONE");
			certs[n]->p[i / 8] ^= (uint8_t)(1 << i % 8);
		}
	for (size_t n = 0; n < 2; n++)
		for (struct in *in = n ? &c.certs.intermediate : &c.certs.vek; in->left; in->left--)
			if (in->left < certs[n]->len)
				assert_string_not_equal(judge(&c), "NONE");
	snp_case_free(&c);
}

static void reverse(uint8_t *p, size_t len)
{
	for (size_t i = 0; i < len / 2; i++) {
		uint8_t kept = p[i];

		p[i] = p[len - 1 - i];
		p[len - 1 - i] = kept;
	}
}

static void signature_is_little_endian(void **state)
{
	static const struct snp_forge f;
	struct snp_case c;

	(void)state;
	snp_case_new(&f, &c);
	reverse(c.report + 0x2a0, 48);
	assert_string_equal(judge(&c), "SNP_SIGNATURE");
	reverse(c.report + 0x2a0, 48);
	reverse(c.report + 0x2a0 + 72, 48);
	assert_string_equal(judge(&c), "SNP_SIGNATURE");
	reverse(c.report + 0x2a0 + 72, 48);
	for (size_t i = 48; i < 512; i++) {
		if (i >= 72 && i < 72 + 48)
			continue;
		c.report[0x2a0 + i] = 1; /* behind R, behind S, behind both */
		assert_string_equal(judge(&c), "SNP_MALFORMED");
		c.report[0x2a0 + i] = 0;
	}
	memset(c.report + 0x2a0, 0, 144);
	assert_string_equal(judge(&c), "SNP_SIGNATURE");
	snp_case_free(&c);
}

/* --- chain --- */

static void keys_of_the_other_kind(void **state)
{
	struct snp_forge vcek = { 0 }, vlek = { .signer = ID_SNP_VLEK };
	struct snp_case one, two;

	(void)state;
	snp_case_new(&vcek, &one);
	snp_case_new(&vlek, &two);
	one.certs.intermediate = two.certs.intermediate; /* VLEK intermediate under the VCEK flag */
	assert_string_equal(judge(&one), "SNP_CHAIN");
	one.certs.vek = two.certs.vek;
	assert_string_equal(judge(&one), "SNP_CHAIN");
	two.certs.intermediate = in_of(one.intermediate.p, one.intermediate.len);
	assert_string_equal(judge(&two), "SNP_CHAIN");
	two.certs.vek = in_of(one.vek.p, one.vek.len);
	assert_string_equal(judge(&two), "SNP_CHAIN");
	snp_case_free(&one);
	snp_case_free(&two);
	vcek.vek_cn = "SEV-VLEK";
	is_judged(&vcek, "SNP_CHAIN");
	vlek.vek_cn = "SEV-VCEK";
	is_judged(&vlek, "SNP_CHAIN");
}

static void other_products_do_not_vouch(void **state)
{
	struct snp_forge f = { .ask_cn = "SEV-Genoa" }, genoa = { .product = ID_SNP_GENOA };
	struct snp_case one, two;

	(void)state;
	is_judged(&f, "SNP_CHAIN");
	snp_case_new(&(struct snp_forge){ 0 }, &one);
	snp_case_new(&genoa, &two);
	one.certs.intermediate = two.certs.intermediate;
	assert_string_equal(judge(&one), "SNP_CHAIN");
	one.certs.intermediate = in_of(one.intermediate.p, one.intermediate.len);
	one.certs.root = snp.roots[ID_SNP_GENOA]; /* a root that came along is not trusted for that */
	assert_string_equal(judge(&one), "SNP_CHAIN");
	one.certs.root = snp.roots[ID_SNP_MILAN];
	assert_string_equal(judge(&one), "NONE");
	one.trust.roots = NULL; /* AMD's own: none of them signed this */
	one.certs.root = (struct in){ 0 };
	assert_string_equal(judge(&one), "SNP_CHAIN");
	one.certs.intermediate = (struct in){ 0 };
	assert_string_equal(judge(&one), "SNP_CHAIN");
	snp_case_free(&one);
	snp_case_free(&two);
}

static void forged_chains(void **state)
{
	static const struct snp_forge bad[] = {
		{ .ask_no_ca = true }, { .ask_foreign = true }, { .vek_foreign = true },
		{ .pkcs1 = true },     { .is_ca = true },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		is_judged(&bad[i], "SNP_CHAIN");
}

static void dates(void **state)
{
	struct snp_forge expired = { .signer = ID_SNP_VLEK, .vek_from = NOW - 2 * DAY, .vek_to = NOW - 1 };
	struct snp_forge early = { .vek_from = NOW + 1 };
	struct snp_case c;

	(void)state;
	is_judged(&expired, "SNP_VALIDITY");
	is_judged(&early, "SNP_VALIDITY");
	snp_case_new(&(struct snp_forge){ .vek_to = NOW + 10000 * DAY }, &c);
	c.trust.now = NOW + 3650 * DAY;
	assert_string_equal(judge(&c), "NONE");
	c.trust.now++; /* intermediate and root */
	assert_string_equal(judge(&c), "SNP_VALIDITY");
	snp_case_free(&c);
}

static struct der crl_new(long revoked, EVP_PKEY *key, int64_t from, int64_t to)
{
	X509_CRL *crl = X509_CRL_new();
	ASN1_TIME *t = ASN1_TIME_set(NULL, (time_t)from);
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	EVP_PKEY_CTX *pctx;
	struct der der = { 0 };
	unsigned char *made = NULL;

	X509_CRL_set_version(crl, X509_CRL_VERSION_2);
	X509_CRL_set_issuer_name(crl, X509_get_subject_name(snp.ark[ID_SNP_MILAN]));
	X509_CRL_set1_lastUpdate(crl, t);
	ASN1_TIME_set(t, (time_t)to);
	X509_CRL_set1_nextUpdate(crl, t);
	if (revoked) {
		X509_REVOKED *entry = X509_REVOKED_new();
		ASN1_INTEGER *serial = ASN1_INTEGER_new();

		ASN1_INTEGER_set(serial, revoked);
		X509_REVOKED_set_serialNumber(entry, serial);
		X509_REVOKED_set_revocationDate(entry, t);
		X509_CRL_add0_revoked(crl, entry);
		ASN1_INTEGER_free(serial);
	}
	EVP_DigestSignInit(ctx, &pctx, EVP_sha384(), NULL, key);
	EVP_PKEY_CTX_set_rsa_padding(pctx, RSA_PKCS1_PSS_PADDING);
	EVP_PKEY_CTX_set_rsa_pss_saltlen(pctx, 48);
	assert_true(X509_CRL_sign_ctx(crl, ctx) > 0);
	der.len = (size_t)i2d_X509_CRL(crl, &made);
	der.p = malloc(der.len);
	memcpy(der.p, made, der.len);
	OPENSSL_free(made);
	EVP_MD_CTX_free(ctx);
	ASN1_TIME_free(t);
	X509_CRL_free(crl);
	return der;
}

static void revocation(void **state)
{
	const struct {
		long serial; /* of the test's intermediates: the length of their name */
		EVP_PKEY *key;
		int64_t from, to;
		const char *reason;
	} cases[] = {
		{ 0, snp.ark_key, NOW - DAY, NOW + DAY, "NONE" },
		{ 1, snp.ark_key, NOW - DAY, NOW + DAY, "NONE" },
		{ (long)strlen("SEV-Milan"), snp.ark_key, NOW - DAY, NOW + DAY, "SNP_REVOKED" },
		{ 0, snp.ask_key, NOW - DAY, NOW + DAY, "SNP_REVOKED" },
		{ 0, snp.ark_key, NOW - 2 * DAY, NOW - 1, "SNP_VALIDITY" },
		{ 0, snp.ark_key, NOW + 1, NOW + DAY, "SNP_VALIDITY" },
	};
	struct snp_case c;

	(void)state;
	snp_case_new(&(struct snp_forge){ 0 }, &c);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct der crl = crl_new(cases[i].serial, cases[i].key, cases[i].from, cases[i].to);

		c.certs.crl = in_of(crl.p, crl.len);
		assert_string_equal(judge(&c), cases[i].reason);
		c.certs.crl.left--;
		assert_string_equal(judge(&c), "SNP_REVOKED");
		free(crl.p);
	}
	c.certs.crl = (struct in){ 0 };
	c.trust.policy.need_crl = true;
	assert_string_equal(judge(&c), "SNP_REVOKED");
	snp_case_free(&c);
}

/* --- certificates at hand --- */

static void store_der(struct id_snp_store *s, struct der der, bool is_owned)
{
	assert_int_equal(id_snp_store_add(s, der.p, der.len, NULL), 0);
	if (is_owned)
		free(der.p);
}

/* Of what an operator keeps: this chip's VEK, of its TCB; the newest CRL, in whatever order they came. */
static void what_is_at_hand_is_picked(void **state)
{
	struct id_snp_store s = { 0 };
	struct id_snp_report r;
	struct err e = ERR_INIT;
	struct snp_case c, other;

	(void)state;
	snp_case_new(&(struct snp_forge){ 0 }, &c);
	snp_case_new(&(struct snp_forge){ .off = "3.8" }, &other); /* the chip after an update */
	assert_int_equal(id_snp_parse(c.report, sizeof(c.report), &r, &e), 0);
	c.certs = (struct id_snp_certs){ 0 };
	assert_int_equal(id_snp_store_pick(&s, &r, &c.certs, &e), -EBADMSG);
	assert_string_equal(id_reason_name(e.reason), "COLLATERAL_MISSING");
	store_der(&s, other.vek, false);
	store_der(&s, c.intermediate, false);
	assert_int_equal(id_snp_store_pick(&s, &r, &c.certs, NULL), -EBADMSG);
	store_der(&s, c.vek, false);
	store_der(&s, c.vek, false);
	assert_int_equal(s.n, 3);
	assert_int_equal(id_snp_store_pick(&s, &r, &c.certs, NULL), 0);
	id_snp_store_crl(&s, &c.certs);
	assert_null(c.certs.crl.p);
	assert_string_equal(judge(&c), "NONE");
	store_der(&s, crl_new((long)strlen("SEV-Milan"), snp.ark_key, NOW - DAY, NOW + DAY), true);
	store_der(&s, crl_new(0, snp.ark_key, NOW - 2 * DAY, NOW + DAY), true);
	assert_int_equal(id_snp_store_pick(&s, &r, &c.certs, NULL), 0);
	id_snp_store_crl(&s, &c.certs);
	assert_string_equal(judge(&c), "SNP_REVOKED");
	assert_int_equal(id_snp_store_add(&s, (const uint8_t *)"\x30\x00rubbish", 9, NULL), -EBADMSG);
	assert_int_equal(id_snp_store_add(&s, (const uint8_t *)"", 0, NULL), -EBADMSG);
	assert_int_equal(id_snp_store_add(&s, (const uint8_t[24]){ 0 }, 24, NULL), -EBADMSG);
	assert_int_equal(s.n, 5);
	id_snp_store_fini(&s);
	snp_case_free(&c);
	snp_case_free(&other);
}

/* --- VEK against report --- */

static void vek_extensions(void **state)
{
	static const char *const numbers[] = { "3.1", "3.2", "3.3", "3.8" };
	static const uint8_t wrapped[66] = { 4, 64, [2 ... 65] = 0xc1 };
	struct snp_forge f = { .product = ID_SNP_TURIN };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
		is_judged(&(struct snp_forge){ .skip = numbers[i] }, "SNP_VEK");
		is_judged(&(struct snp_forge){ .twice = numbers[i] }, "SNP_VEK");
		is_judged(&(struct snp_forge){ .off = numbers[i] }, "SNP_VEK");
	}
	is_judged(&(struct snp_forge){ .off = "3.4" }, "SNP_VEK"); /* reserved */
	f.skip = "3.9";
	is_judged(&f, "SNP_VEK");
	f.skip = NULL;
	f.off = "3.9";
	is_judged(&f, "SNP_VEK");
	is_judged(&(struct snp_forge){ .no_hwid = true }, "SNP_VEK");
	is_judged(&(struct snp_forge){ .hwid = wrapped + 2, .hwid_len = 63 }, "SNP_VEK");
	is_judged(&(struct snp_forge){ .hwid = wrapped, .hwid_len = 66 }, "SNP_VEK");
	is_judged(&(struct snp_forge){ .hwid = wrapped, .hwid_len = 64 }, "SNP_VEK"); /* another chip's */
	is_judged(&(struct snp_forge){ .product_text = "Milano" }, "SNP_VEK");
	is_judged(&(struct snp_forge){ .product_text = "Milan-B1" }, "NONE");
	is_judged(&(struct snp_forge){ .with_csp = true }, "SNP_VEK");
	is_judged(&(struct snp_forge){ .signer = ID_SNP_VLEK, .no_csp = true }, "SNP_VEK");
}

static void mask_by_flag(uint8_t *b)
{
	b[0x48] |= 2;
}

static void mask_by_zeros(uint8_t *b)
{
	memset(b + 0x1a0, 0, 64);
}

static void masked_chip_id_with_vcek(void **state)
{
	is_judged(&(struct snp_forge){ .report = mask_by_flag }, "SNP_VEK");
	is_judged(&(struct snp_forge){ .report = mask_by_zeros }, "SNP_VEK");
	is_judged(&(struct snp_forge){ .report = mask_by_flag, .signer = ID_SNP_VLEK }, "NONE");
	(void)state;
}

static void provider_of_a_vlek(void **state)
{
	struct snp_case c;

	(void)state;
	snp_case_new(&(struct snp_forge){ .signer = ID_SNP_VLEK }, &c);
	strcpy(c.trust.policy.csp_id, SNP_CSP);
	assert_string_equal(judge(&c), "NONE");
	strcpy(c.trust.policy.csp_id, "CN=other.example");
	assert_string_equal(judge(&c), "SNP_VEK");
	snp_case_free(&c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(good_reports_are_accepted),
		cmocka_unit_test(claims_are_those_of_the_report),
		cmocka_unit_test(sizes_and_versions),
		cmocka_unit_test(other_versions_are_read),
		cmocka_unit_test(product_is_the_processors),
		cmocka_unit_test(reserved_bytes_must_be_zero),
		cmocka_unit_test(policy_bit_17_must_be_set),
		cmocka_unit_test(no_flip_is_accepted),
		cmocka_unit_test(no_flip_of_a_certificate_is_accepted),
		cmocka_unit_test(signature_is_little_endian),
		cmocka_unit_test(keys_of_the_other_kind),
		cmocka_unit_test(other_products_do_not_vouch),
		cmocka_unit_test(forged_chains),
		cmocka_unit_test(dates),
		cmocka_unit_test(revocation),
		cmocka_unit_test(what_is_at_hand_is_picked),
		cmocka_unit_test(vek_extensions),
		cmocka_unit_test(masked_chip_id_with_vcek),
		cmocka_unit_test(provider_of_a_vlek),
	};

	return cmocka_run_group_tests_name("identity/snp", tests, snp_world_new, snp_world_free);
}
