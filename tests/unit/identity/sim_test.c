// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <openssl/x509v3.h>

#include "world.h"

static void every_certificate_says_simulated(void **state)
{
	const char *const pems[] = { world_root.root_cert, world_root.intermediate_cert, world_root.pck_cert };
	struct id_sim_request req = world_request();
	auto_call(cleanup_pkey) EVP_PKEY *key = id_p256_new();
	auto_call(cleanup_x509) X509 *leaf = id_sim_leaf_new(&req, key);
	char name[200];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(pems); i++) {
		X509 *cert;

		assert_int_equal(id_x509_from_pem(pems[i], strlen(pems[i]), &cert, 1), 1);
		X509_NAME_oneline(X509_get_subject_name(cert), name, sizeof(name));
		assert_non_null(strstr(name, "CN=Bailey SIMULATED"));
		X509_free(cert);
	}
	X509_NAME_oneline(X509_get_subject_name(leaf), name, sizeof(name));
	assert_non_null(strstr(name, "SIMULATED"));
	assert_non_null(strstr(name, "CN=web-1"));
}

static void leaf_has_dstacks_profile(void **state)
{
	struct id_sim_request req = world_request();
	auto_free char *cert_pem = NULL, *key_pem = NULL;
	auto_call(cleanup_x509) X509 *leaf = NULL;
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(id_sim_issue(&world_root, &req, &cert_pem, &key_pem, &e), 0);
	assert_int_equal(id_x509_from_pem(cert_pem, strlen(cert_pem), &leaf, 1), 1);
	assert_int_equal(X509_get_key_usage(leaf), KU_DIGITAL_SIGNATURE);
	assert_int_equal(X509_get_extended_key_usage(leaf), XKU_SSL_SERVER | XKU_SSL_CLIENT);
	assert_int_equal(X509_check_ca(leaf), 0);
	assert_int_equal(X509_check_host(leaf, "web-1", 0, 0, NULL), 1);
	assert_null(X509_get0_subject_key_id(leaf));
	assert_null(X509_get0_authority_key_id(leaf));
	assert_int_equal(X509_get_signature_nid(leaf), NID_ecdsa_with_SHA256);
}

static void key_and_certificate_fit(void **state)
{
	struct id_sim_request req = world_request();
	auto_free char *cert_pem = NULL, *key_pem = NULL;
	auto_call(cleanup_pkey) EVP_PKEY *key = NULL;
	auto_call(cleanup_x509) X509 *cert = NULL;
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(id_sim_issue(&world_root, &req, &cert_pem, &key_pem, &e), 0);
	key = id_p256_from_pem(key_pem);
	assert_int_equal(id_x509_from_pem(cert_pem, strlen(cert_pem), &cert, 1), 1);
	assert_int_equal(X509_check_private_key(cert, key), 1);
	assert_int_equal(X509_verify(cert, key), 1);
}

static void refuses_what_can_not_be_made(void **state)
{
	struct id_sim_request req = world_request();
	struct id_sim_root broken = world_root;
	char *cert_pem = NULL, *key_pem = NULL;
	char name[66];
	struct err e = ERR_INIT;

	(void)state;
	memset(name, 'x', sizeof(name)); /* X.520: a common name has 64 characters */
	name[65] = '\0';
	req.common_name = name;
	assert_int_equal(id_sim_issue(&world_root, &req, &cert_pem, &key_pem, &e), -EINVAL);
	req = world_request();
	broken.pck_key = (char[]){ "no key" };
	e = ERR_INIT;
	assert_int_equal(id_sim_issue(&broken, &req, &cert_pem, &key_pem, &e), -EINVAL);
	assert_null(cert_pem);
	assert_null(key_pem);
}

static void names_that_are_no_host_names_are_kept(void **state)
{
	struct id_sim_request req = world_request();
	auto_call(cleanup_pkey) EVP_PKEY *key = id_p256_new();
	auto_call(cleanup_x509) X509 *leaf = NULL;

	(void)state;
	req.common_name = "two words, DNS:evil";
	leaf = id_sim_leaf_new(&req, key);
	assert_non_null(leaf);
	assert_int_equal(X509_get_ext_by_NID(leaf, NID_subject_alt_name, -1), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_certificate_says_simulated),
		cmocka_unit_test(leaf_has_dstacks_profile),
		cmocka_unit_test(key_and_certificate_fit),
		cmocka_unit_test(refuses_what_can_not_be_made),
		cmocka_unit_test(names_that_are_no_host_names_are_kept),
	};

	return cmocka_run_group_tests_name("identity/sim", tests, world_new, world_free);
}
