// SPDX-License-Identifier: Apache-2.0
/* Chains as dstack's KMS presents them: root, App CA, leaf; and what must not pass for one. */
#include <openssl/x509v3.h>

#include "identity/issue.h"
#include "identity/issuer_chain.h"
#include "world.h"

static const uint8_t app[BY_APP_ID_LEN] = { 0xa1 }, other_app[BY_APP_ID_LEN] = { 0xa2 };
static struct id_authority root, stranger, app_ca;
static EVP_PKEY *leaf_key;

static struct id_authority ca_of(const struct id_authority *by, const uint8_t *app_id, uint8_t number)
{
	uint8_t scalar[ID_SCALAR_LEN] = { [31] = number };
	struct id_authority made;
	struct err e = ERR_INIT;

	if (by)
		assert_int_equal(id_app_ca(by, scalar, app_id, NOW, &made, &e), 0);
	else
		assert_int_equal(id_root_ca(scalar, "Dstack KMS CA", NOW, &made, &e), 0);
	return made;
}

static X509 *leaf_of(const struct id_authority *by, const uint8_t *app_id, int64_t from, int64_t to)
{
	struct id_leaf_request req = { .subject = "web", .not_before = from, .not_after = to, .app_id = app_id };
	struct err e = ERR_INIT;
	X509 *leaf;

	assert_int_equal(id_leaf(by, leaf_key, &req, &leaf, &e), 0);
	return leaf;
}

static int start(void **state)
{
	(void)state;
	root = ca_of(NULL, NULL, 1);
	stranger = ca_of(NULL, NULL, 2);
	app_ca = ca_of(&root, app, 3);
	leaf_key = id_p256_new();
	return leaf_key ? 0 : -1;
}

static int stop(void **state)
{
	(void)state;
	id_authority_fini(&root);
	id_authority_fini(&stranger);
	id_authority_fini(&app_ca);
	EVP_PKEY_free(leaf_key);
	return 0;
}

/* "NONE", or the reason. trusted: the root. */
static const char *judge(X509 *const *path, size_t n, X509 *trusted, bool is_lenient, struct id_issuer *issuer)
{
	auto_free char *roots = id_x509_to_pem(trusted);
	struct id_issuer_trust trust = {
		.now = NOW, .roots = roots, .roots_len = strlen(roots), .allow_ca_without_key_cert_sign = is_lenient
	};
	char chain[16384] = "";
	struct err e = ERR_INIT;

	for (size_t i = 0; i < n; i++) {
		auto_free char *pem = id_x509_to_pem(path[i]);

		strcat(chain, pem);
	}
	*issuer = (struct id_issuer){ 0 };
	return id_issuer_verify(chain, strlen(chain), &trust, issuer, &e) == 0 ? "NONE" : id_reason_name(e.reason);
}

#define JUDGE(trusted, ...)                                                                                            \
	judge((X509 *const[]){ __VA_ARGS__ }, sizeof((X509 *const[]){ __VA_ARGS__ }) / sizeof(X509 *), trusted, false, \
	      &(struct id_issuer){ 0 })

static void good_chains_are_accepted(void **state)
{
	auto_call(cleanup_x509) X509 *leaf = leaf_of(&app_ca, app, NOW - DAY, NOW + DAY);
	X509 *const path[] = { leaf, app_ca.x509, root.x509 };
	struct id_issuer issuer;

	(void)state;
	assert_string_equal(judge(path, 3, root.x509, false, &issuer), "NONE");
	assert_true(issuer.claims.has_app_id && !issuer.used_exception);
	assert_memory_equal(issuer.claims.app_id, app, sizeof(app));
	assert_string_equal(issuer.claims.usage, ID_USAGE_LEAF);
	assert_string_equal(judge(path, 2, root.x509, true, &issuer), "NONE"); /* the root may be left out */
	assert_false(issuer.used_exception);
}

static void other_roots_are_not_believed(void **state)
{
	auto_call(cleanup_x509) X509 *leaf = leaf_of(&app_ca, app, NOW - DAY, NOW + DAY);

	(void)state;
	assert_string_equal(JUDGE(stranger.x509, leaf, app_ca.x509, root.x509), "CERT_CHAIN");
	assert_string_equal(JUDGE(stranger.x509, leaf, app_ca.x509), "CERT_CHAIN"); /* the name is the same */
	assert_string_equal(JUDGE(root.x509, leaf, app_ca.x509, stranger.x509), "CERT_CHAIN");
	assert_string_equal(JUDGE(root.x509, leaf), "CERT_CHAIN");
	assert_string_equal(JUDGE(root.x509, leaf, root.x509), "CERT_CHAIN");
	assert_string_equal(JUDGE(root.x509, app_ca.x509, leaf, root.x509), "CERT_CHAIN");
	assert_string_equal(JUDGE(root.x509, app_ca.x509, root.x509), "CERT_CHAIN");
	assert_string_equal(JUDGE(root.x509, root.x509), "CERT_CHAIN");
}

static void leaves_and_deep_cas_issue_nothing(void **state)
{
	auto_call(cleanup_x509) X509 *leaf = leaf_of(&app_ca, app, NOW - DAY, NOW + DAY);
	struct id_authority as_ca = { .key = leaf_key, .x509 = leaf }, below = ca_of(&app_ca, app, 4);
	auto_call(cleanup_x509) X509 *of_leaf = leaf_of(&as_ca, app, NOW - DAY, NOW + DAY);
	auto_call(cleanup_x509) X509 *of_below = leaf_of(&below, app, NOW - DAY, NOW + DAY);

	(void)state;
	assert_string_equal(JUDGE(root.x509, of_leaf, leaf, app_ca.x509, root.x509), "CERT_CHAIN");
	assert_string_equal(JUDGE(root.x509, of_below, below.x509, app_ca.x509, root.x509), "CERT_CHAIN");
	id_authority_fini(&below);
}

static void an_app_ca_speaks_for_its_app(void **state)
{
	auto_call(cleanup_x509) X509 *leaf = leaf_of(&app_ca, other_app, NOW - DAY, NOW + DAY);
	auto_call(cleanup_x509) X509 *unnamed = leaf_of(&app_ca, NULL, NOW - DAY, NOW + DAY);

	(void)state;
	assert_string_equal(JUDGE(root.x509, leaf, app_ca.x509, root.x509), "CERT_CLAIM");
	assert_string_equal(JUDGE(root.x509, unnamed, app_ca.x509, root.x509), "CERT_CLAIM");
}

static void dates_are_held(void **state)
{
	auto_call(cleanup_x509) X509 *old = leaf_of(&app_ca, app, NOW - 2 * DAY, NOW - DAY);
	auto_call(cleanup_x509) X509 *young = leaf_of(&app_ca, app, NOW + DAY, NOW + 2 * DAY);

	(void)state;
	assert_string_equal(JUDGE(root.x509, old, app_ca.x509, root.x509), "CERT_VALIDITY");
	assert_string_equal(JUDGE(root.x509, young, app_ca.x509, root.x509), "CERT_VALIDITY");
}

/* The App CA with another keyUsage or basicConstraints (NULL: without), signed anew. */
static X509 *ca_changed(int nid, const char *value)
{
	X509 *ca = X509_dup(app_ca.x509);
	int at = X509_get_ext_by_NID(ca, nid, -1);

	X509_EXTENSION_free(X509_delete_ext(ca, at));
	if (value) {
		X509_EXTENSION *ext = X509V3_EXT_conf_nid(NULL, NULL, nid, value);

		assert_true(X509_add_ext(ca, ext, -1) == 1);
		X509_EXTENSION_free(ext);
	}
	assert_true(X509_sign(ca, root.key, EVP_sha256()) > 0);
	return ca;
}

static void cas_without_keycertsign_need_the_switch(void **state)
{
	static const char *const usage[] = { "critical,digitalSignature", NULL };
	auto_call(cleanup_x509) X509 *leaf = leaf_of(&app_ca, app, NOW - DAY, NOW + DAY);
	struct id_issuer issuer;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(usage); i++) {
		auto_call(cleanup_x509) X509 *ca = ca_changed(NID_key_usage, usage[i]);
		X509 *const path[] = { leaf, ca, root.x509 };

		assert_string_equal(judge(path, 3, root.x509, false, &issuer), "CERT_CA_USAGE");
		assert_string_equal(judge(path, 3, root.x509, true, &issuer), "NONE");
		assert_true(issuer.used_exception);
	}
}

/* The switch is about keyCertSign and nothing else. */
static void the_switch_makes_no_ca(void **state)
{
	static const char *const basic[] = { "critical,CA:FALSE", NULL };
	auto_call(cleanup_x509) X509 *leaf = leaf_of(&app_ca, app, NOW - DAY, NOW + DAY);
	struct id_issuer issuer;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(basic); i++) {
		auto_call(cleanup_x509) X509 *ca = ca_changed(NID_basic_constraints, basic[i]);
		X509 *const path[] = { leaf, ca, root.x509 };

		assert_string_equal(judge(path, 3, root.x509, true, &issuer), "CERT_CHAIN");
	}
}

static const char *judge_text(const char *chain, size_t len)
{
	auto_free char *roots = id_x509_to_pem(root.x509);
	struct id_issuer_trust trust = { .now = NOW, .roots = roots, .roots_len = strlen(roots) };
	struct id_issuer issuer;
	struct err e = ERR_INIT;

	return id_issuer_verify(chain, len, &trust, &issuer, &e) == 0 ? "NONE" : id_reason_name(e.reason);
}

static void no_flip_and_no_cut_is_accepted(void **state)
{
	auto_call(cleanup_x509) X509 *leaf = leaf_of(&app_ca, app, NOW - DAY, NOW + DAY);
	auto_free char *pem = id_x509_to_pem(leaf), *ca = id_x509_to_pem(app_ca.x509);
	char chain[8192];
	size_t len = (size_t)snprintf(chain, sizeof(chain), "%s%s", pem, ca), flips = 0;

	(void)state;
	assert_string_equal(judge_text(chain, len), "NONE");
	for (size_t cut = 0; cut + 1 < len; cut++) /* the last newline may be missing */
		assert_string_not_equal(judge_text(chain, cut), "NONE");
	for (size_t i = 40; i < strlen(pem) - 40; i++, flips++) { /* within the base64 of the leaf */
		if (chain[i] == '\n')
			continue;
		chain[i] = chain[i] == 'A' ? 'B' : 'A';
		if (chain[i] != pem[i] && strcmp(judge_text(chain, len), "NONE") == 0)
			fail_msg("byte %zu of the leaf is not looked at", i);
		chain[i] = pem[i];
	}
	assert_true(flips > 400);
}

static void nonsense_is_malformed(void **state)
{
	auto_free char *pem = id_x509_to_pem(app_ca.x509);
	char many[16384] = "";

	(void)state;
	assert_string_equal(judge_text("", 0), "CERT_MALFORMED");
	assert_string_equal(judge_text("text", 4), "CERT_MALFORMED");
	for (int i = 0; i < ID_CHAIN_MAX + 1; i++)
		strcat(many, pem);
	assert_string_equal(judge_text(many, strlen(many)), "CERT_MALFORMED");
}

static const char *judge_real(bool is_lenient, bool with_root, struct id_issuer *issuer)
{
	size_t len;
	auto_free char *pem = shared_file("ratls/dstack-ratls-chain.pem", &len);
	char *last = strrchr(pem, 'B'); /* of the last line that begins a certificate */
	struct id_issuer_trust trust = { .now = 1751328000, .allow_ca_without_key_cert_sign = is_lenient };
	struct err e = ERR_INIT;

	while (strncmp(last, "BEGIN CERTIFICATE", 17) != 0)
		last--;
	trust.roots = last - 5;
	trust.roots_len = strlen(last - 5);
	return id_issuer_verify(pem, with_root ? len : (size_t)(last - 5 - pem), &trust, issuer, &e) == 0
		       ? "NONE"
		       : id_reason_name(e.reason);
}

static void a_real_chain_of_dstack_needs_the_switch(void **state)
{
	struct id_issuer issuer;

	(void)state;
	for (int with_root = 0; with_root < 2; with_root++) {
		assert_string_equal(judge_real(false, with_root, &issuer), "CERT_CA_USAGE");
		assert_string_equal(judge_real(true, with_root, &issuer), "NONE");
		assert_true(issuer.used_exception && issuer.claims.has_app_id);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(good_chains_are_accepted),
		cmocka_unit_test(other_roots_are_not_believed),
		cmocka_unit_test(leaves_and_deep_cas_issue_nothing),
		cmocka_unit_test(an_app_ca_speaks_for_its_app),
		cmocka_unit_test(dates_are_held),
		cmocka_unit_test(cas_without_keycertsign_need_the_switch),
		cmocka_unit_test(the_switch_makes_no_ca),
		cmocka_unit_test(no_flip_and_no_cut_is_accepted),
		cmocka_unit_test(nonsense_is_malformed),
		cmocka_unit_test(a_real_chain_of_dstack_needs_the_switch),
	};

	return cmocka_run_group_tests_name("identity/issuer_chain", tests, start, stop);
}
