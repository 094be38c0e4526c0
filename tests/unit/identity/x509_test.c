// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <openssl/pem.h>

#include "world.h"

static X509 *plain_leaf(EVP_PKEY *key)
{
	struct id_sim_request req = world_request();

	return id_sim_leaf_new(&req, key);
}

static int parse_signed(X509 *leaf, struct id_cert *cert, struct err *e)
{
	unsigned char *der = NULL;
	int len = i2d_X509(leaf, &der), ret = id_cert_parse(der, (size_t)len, cert, e);

	OPENSSL_free(der);
	return ret;
}

static int parse(X509 *leaf, EVP_PKEY *key, struct id_cert *cert, struct err *e)
{
	assert_true(X509_sign(leaf, key, EVP_sha256()) > 0);
	return parse_signed(leaf, cert, e);
}

/* Complete DER of two Extension SEQUENCEs, computed from dstack's writer. */
static void writes_the_bytes_that_dstack_writes(void **state)
{
	static const struct {
		enum id_ext n;
		const char *payload_hex, *der_hex;
	} c[] = {
		{ ID_EXT_APP_ID, "5bb4ff9a3837357f19dc176407a5709c62eb6c56",
		  "3024060a2b0601040183e73d0103041604145bb4ff9a3837357f19dc176407a5709c62eb6c56" },
		{ ID_EXT_USAGE, "6170703a637573746f6d", "301a060a2b0601040183e73d0104040c040a6170703a637573746f6d" },
	};
	auto_call(cleanup_x509) X509 *leaf = X509_new();

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(c); i++) {
		uint8_t payload[20];
		char hex[200];
		unsigned char *der = NULL;
		size_t n = strlen(c[i].payload_hex) / 2;
		int len;

		assert_true(hex_parse(payload, n, c[i].payload_hex));
		assert_true(id_x509_add_ext(leaf, c[i].n, payload, n));
		len = i2d_X509_EXTENSION(X509_get_ext(leaf, (int)i), &der);
		hex_print(hex, der, (size_t)len);
		OPENSSL_free(der);
		assert_string_equal(hex, c[i].der_hex);
	}
}

static void binds_the_key_as_dstack_does(void **state)
{
	uint8_t spki[ID_SPKI_LEN], report_data[ID_REPORT_DATA_LEN];
	char hex[2 * ID_REPORT_DATA_LEN + 1];

	(void)state;
	assert_true(hex_parse(spki, sizeof(spki),
			      "3059301306072a8648ce3d020106082a8648ce3d0301070342000419b2457dd9b8aa6446d980f136fff7812e"
			      "cd6c77740eeb0e28b10d56c0c00028a5b6e59dcea307d583bd1f70769e9c116df2bcfb1758a95d8613e7de1c"
			      "8482c0"));
	assert_true(id_cert_report_data(spki, report_data));
	hex_print(hex, report_data, sizeof(report_data));
	assert_string_equal(hex, "2d3a4b5a928758be8ffa0de31cbb716d1c5969c244b165c414d9dc3cadee93d8"
				 "497d9d099beae3832a5f17798c18a08a8b407fdaed3b22aba002492a4402cd3b");
}

static void reads_back_what_it_wrote(void **state)
{
	static uint8_t sizes[] = { 0, 1, 127, 128, 255 };
	uint8_t payload[70000];

	(void)state;
	memset(payload, 'x', sizeof(payload));
	for (size_t i = 0; i <= ARRAY_LEN(sizes); i++) {
		auto_call(cleanup_pkey) EVP_PKEY *key = id_p256_new();
		auto_call(cleanup_x509) X509 *leaf = plain_leaf(key);
		size_t len = i < ARRAY_LEN(sizes) ? sizes[i] : sizeof(payload);
		struct id_cert cert;
		struct err e = ERR_INIT;

		assert_true(id_x509_add_ext(leaf, ID_EXT_EVENTLOG, payload, len));
		assert_int_equal(parse(leaf, key, &cert, &e), 0);
		assert_non_null(cert.ext[ID_EXT_EVENTLOG].p);
		assert_int_equal(cert.ext[ID_EXT_EVENTLOG].left, len);
		assert_memory_equal(cert.ext[ID_EXT_EVENTLOG].p, payload, len);
		assert_null(cert.ext[ID_EXT_QUOTE].p);
		assert_true(cert.is_self_issued && cert.is_self_signed);
		id_cert_fini(&cert);
	}
}

/* An RA-TLS extension whose value is these bytes, without the inner OCTET STRING being made for us. */
static void add_raw(X509 *leaf, const char *oid, const void *value, int len, int critical)
{
	ASN1_OBJECT *object = OBJ_txt2obj(oid, 1);
	ASN1_OCTET_STRING *data = ASN1_OCTET_STRING_new();
	X509_EXTENSION *ext;

	assert_int_equal(ASN1_OCTET_STRING_set(data, value, len), 1);
	ext = X509_EXTENSION_create_by_OBJ(NULL, object, critical, data);
	assert_int_equal(X509_add_ext(leaf, ext, -1), 1);
	X509_EXTENSION_free(ext);
	ASN1_OCTET_STRING_free(data);
	ASN1_OBJECT_free(object);
}

static void refuses_extensions_that_are_not_double_octets(void **state)
{
	static const struct {
		const char *value;
		int len;
	} bad[] = {
		{ "", 0 },
		{ "quote", 5 },
		{ "\x04\x05quot", 6 },          /* longer than the value */
		{ "\x04\x03quote", 7 },         /* bytes after it */
		{ "\x04\x81\x05quote", 8 },     /* not the shortest length */
		{ "\x04\x82\x00\x80", 4 },      /* the same, and cut off */
		{ "\x04\x80quote\x00\x00", 9 }, /* indefinite length */
		{ "\x04\x84\xff\xff\xff\xff", 6 },
		{ "\x24\x07\x04\x05quote", 9 }, /* constructed */
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		auto_call(cleanup_pkey) EVP_PKEY *key = id_p256_new();
		auto_call(cleanup_x509) X509 *leaf = plain_leaf(key);
		struct id_cert cert;
		struct err e = ERR_INIT;

		add_raw(leaf, "1.3.6.1.4.1.62397.1.1", bad[i].value, bad[i].len, 0);
		assert_int_equal(parse(leaf, key, &cert, &e), -EBADMSG);
		assert_reason(e, CERT_EXTENSION);
	}
}

static void refuses_the_same_extension_twice(void **state)
{
	for (enum id_ext n = ID_EXT_QUOTE; n < ID_EXT_COUNT; n++) {
		auto_call(cleanup_pkey) EVP_PKEY *key = id_p256_new();
		auto_call(cleanup_x509) X509 *leaf = plain_leaf(key);
		struct id_cert cert;
		struct err e = ERR_INIT;

		assert_true(id_x509_add_ext(leaf, n, "a", 1) && id_x509_add_ext(leaf, n, "a", 1));
		assert_int_equal(parse(leaf, key, &cert, &e), -EBADMSG);
		assert_reason(e, CERT_EXTENSION);
	}
	(void)state;
}

static void refuses_unknown_critical_extensions_and_floods(void **state)
{
	auto_call(cleanup_pkey) EVP_PKEY *key = id_p256_new();
	auto_call(cleanup_x509) X509 *critical = plain_leaf(key), *flood = plain_leaf(key);
	struct id_cert cert;
	struct err e = ERR_INIT;

	(void)state;
	add_raw(critical, "1.2.3.4", "\x05\x00", 2, 1);
	assert_int_equal(parse(critical, key, &cert, &e), -EBADMSG);
	assert_reason(e, CERT_EXTENSION);
	for (int i = 0; i < 40; i++) {
		char oid[32];

		snprintf(oid, sizeof(oid), "1.2.3.4.%d", i);
		add_raw(flood, oid, "\x05\x00", 2, 0);
	}
	e = ERR_INIT;
	assert_int_equal(parse(flood, key, &cert, &e), -EBADMSG);
	assert_reason(e, CERT_EXTENSION);
}

static void standard_extensions_must_be_well_formed(void **state)
{
	auto_call(cleanup_pkey) EVP_PKEY *key = id_p256_new();
	auto_call(cleanup_x509) X509 *broken = plain_leaf(key), *old = plain_leaf(key);
	struct id_cert cert;
	struct err e = ERR_INIT;

	(void)state;
	add_raw(broken, "2.5.29.19", "\x30\x03\x01\x01", 4, 0); /* basicConstraints, cut off */
	assert_int_equal(parse(broken, key, &cert, &e), -EBADMSG);
	assert_reason(e, CERT_EXTENSION);
	/* version 1 has no extensions; set after signing, for OpenSSL 3.5 makes it 3 when it signs */
	assert_true(X509_sign(old, key, EVP_sha256()) > 0);
	assert_int_equal(X509_set_version(old, X509_VERSION_1), 1);
	e = ERR_INIT;
	assert_int_equal(parse_signed(old, &cert, &e), -EBADMSG);
	assert_reason(e, CERT_EXTENSION);
}

static void der_must_be_the_one_encoding(void **state)
{
	struct forge f = { .req = world_request() };
	size_t len;
	auto_free uint8_t *der = forge_cert(&f, &len);
	auto_free uint8_t *ber = malloc(len + 1);
	X509 *good = id_x509_from_der(der, len);

	(void)state;
	assert_non_null(good);
	X509_free(good);
	/* the same certificate with a length of 3 bytes where 2 do: 30 82 xx xx -> 30 83 00 xx xx */
	memcpy(ber, "\x30\x83\x00", 3);
	memcpy(ber + 3, der + 2, len - 2);
	assert_null(id_x509_from_der(ber, len + 1));
	assert_null(id_x509_from_der(der, 0));
}

static void pem_takes_certificates_only(void **state)
{
	auto_free char *two = malloc(2 * strlen(world_root.root_cert) + 32);
	X509 *certs[2];

	(void)state;
	sprintf(two, "text\n%s%s", world_root.root_cert, world_root.pck_cert);
	assert_int_equal(id_x509_from_pem(two, strlen(two), certs, 1), -E2BIG);
	assert_int_equal(id_x509_from_pem(two, strlen(two), certs, 2), 2);
	X509_free(certs[0]);
	X509_free(certs[1]);
	assert_int_equal(id_x509_from_pem("", 0, certs, 2), 0);
	assert_int_equal(id_x509_from_pem(world_root.root_key, strlen(world_root.root_key), certs, 2), -EBADMSG);
	two[strlen(two) - 40] = '!'; /* broken base64 in the second one: none is handed out */
	assert_int_equal(id_x509_from_pem(two, strlen(two), certs, 2), -EBADMSG);
}

static void reads_a_real_dstack_leaf(void **state)
{
	size_t len = 0;
	auto_free char *der = shared_file("ratls/dstack-ratls-leaf.der", &len);
	struct id_cert cert;
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(id_cert_parse((uint8_t *)der, len, &cert, &e), 0);
	assert_int_equal(cert.ext[ID_EXT_QUOTE].left, 5006);
	assert_int_equal(cert.ext[ID_EXT_APP_ID].left, BY_APP_ID_LEN);
	assert_int_equal(cert.ext[ID_EXT_USAGE].left, strlen(ID_USAGE_LEAF));
	assert_memory_equal(cert.ext[ID_EXT_USAGE].p, ID_USAGE_LEAF, strlen(ID_USAGE_LEAF));
	assert_false(cert.is_self_issued);
	assert_int_equal(cert.not_before, 157766400); /* 1975-01-01 */
	id_cert_fini(&cert);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(writes_the_bytes_that_dstack_writes),
		cmocka_unit_test(binds_the_key_as_dstack_does),
		cmocka_unit_test(reads_back_what_it_wrote),
		cmocka_unit_test(refuses_extensions_that_are_not_double_octets),
		cmocka_unit_test(refuses_the_same_extension_twice),
		cmocka_unit_test(refuses_unknown_critical_extensions_and_floods),
		cmocka_unit_test(standard_extensions_must_be_well_formed),
		cmocka_unit_test(der_must_be_the_one_encoding),
		cmocka_unit_test(pem_takes_certificates_only),
		cmocka_unit_test(reads_a_real_dstack_leaf),
	};

	return cmocka_run_group_tests_name("identity/x509", tests, world_new, world_free);
}
