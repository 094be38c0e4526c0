// SPDX-License-Identifier: Apache-2.0
/* Whom `trust: { ca: .. }` believes, with and without the switch for the CAs of dstack's older KMS. */
#include <openssl/x509v3.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "identity/issue.h"
#include "meshd/worker.h"

static const uint8_t app[BY_APP_ID_LEN] = { 0xa1 };
static struct id_authority root, app_ca;
static X509 *leaf;
static struct event_base *base;
static struct ipc *parent;
static int fds[2];
static struct md_conf conf;
static struct md_judge judge = { .conf = &conf };

static int start(void **state)
{
	struct id_leaf_request req = { .subject = "web", .app_id = app };
	uint8_t one[ID_SCALAR_LEN] = { [31] = 1 }, two[ID_SCALAR_LEN] = { [31] = 2 };
	EVP_PKEY *key = id_p256_new();
	int64_t now = time(NULL);
	struct err e = ERR_INIT;

	(void)state;
	req.not_before = now - 60;
	req.not_after = now + 3600;
	if (!key || id_root_ca(one, "Dstack KMS CA", now, &root, &e) < 0 ||
	    id_app_ca(&root, two, app, now, &app_ca, &e) < 0 || id_leaf(&app_ca, key, &req, &leaf, &e) < 0)
		return -1;
	EVP_PKEY_free(key);
	judge.ca = id_x509_to_pem(root.x509);
	conf.trust_ca = true;
	conf.verdict_s = 3600;
	base = event_base_new();
	if (ipc_pair(fds) < 0 || ipc_new(base, fds[0], NULL, NULL, NULL, &parent) < 0)
		return -1;
	return edge_trust_new(base, parent, &judge.evidence, &e);
}

static int stop(void **state)
{
	(void)state;
	md_judge_forget(&judge);
	edge_trust_free(judge.evidence);
	ipc_free(parent);
	close(fds[1]);
	event_base_free(base);
	free(judge.ca);
	X509_free(leaf);
	id_authority_fini(&app_ca);
	id_authority_fini(&root);
	return 0;
}

/* "NONE", or the reason */
static const char *asked(X509 *ca)
{
	STACK_OF(X509) *chain = sk_X509_new_null();
	struct md_verdict v;
	struct err e = ERR_INIT;
	uint8_t *der = NULL;
	int len = i2d_X509(leaf, &der), ret;

	assert_true(len > 0 && sk_X509_push(chain, leaf) && sk_X509_push(chain, ca));
	ret = md_judge_peer(&judge, der, (size_t)len, chain, &v, &e);
	sk_X509_free(chain);
	OPENSSL_free(der);
	if (!ret) {
		assert_true(v.by_issuer && v.until > time(NULL));
		assert_memory_equal(v.claims.app_id, app, sizeof(app));
	}
	return ret == 0 ? "NONE" : id_reason_name(e.reason);
}

static const char *judged(X509 *ca)
{
	md_judge_settle(&judge);
	return asked(ca);
}

static void a_ca_that_may_sign_is_believed(void **state)
{
	(void)state;
	conf.ca_without_keycertsign = false;
	assert_string_equal(judged(app_ca.x509), "NONE");
}

static void a_ca_that_may_not_needs_the_switch(void **state)
{
	X509_EXTENSION *usage = X509V3_EXT_conf_nid(NULL, NULL, NID_key_usage, "critical,digitalSignature");
	X509 *ca = X509_dup(app_ca.x509);
	uint8_t before[sizeof(judge.meaning)];

	(void)state;
	X509_EXTENSION_free(X509_delete_ext(ca, X509_get_ext_by_NID(ca, NID_key_usage, -1)));
	assert_true(X509_add_ext(ca, usage, -1) == 1 && X509_sign(ca, root.key, EVP_sha256()) > 0);
	conf.ca_without_keycertsign = false;
	assert_string_equal(judged(ca), "CERT_CA_USAGE");
	memcpy(before, judge.meaning, sizeof(before));
	conf.ca_without_keycertsign = true;
	assert_string_equal(judged(ca), "NONE");
	assert_memory_not_equal(before, judge.meaning, sizeof(before)); /* tickets do not outlive the switch */
	X509_EXTENSION_free(usage);
	X509_free(ca);
}

/* A verdict is remembered with its certificates, until it ends or the trust is another. */
static void what_was_judged_is_remembered(void **state)
{
	char *ca = judge.ca;

	(void)state;
	conf.ca_without_keycertsign = false;
	md_judge_forget(&judge);
	assert_string_equal(judged(app_ca.x509), "NONE");
	judge.ca = strdup("no CA any more"); /* and nobody has settled it: whoever asks that one, is refused */
	assert_string_equal(asked(app_ca.x509), "NONE");
	assert_string_not_equal(asked(root.x509), "NONE"); /* another chain */
	for (size_t i = 0; i < MD_SEEN_MAX; i++)
		if (judge.seen[i])
			judge.seen[i]->verdict.until = time(NULL);
	assert_string_not_equal(asked(app_ca.x509), "NONE"); /* it is over */
	free(judge.ca);
	judge.ca = ca;
	assert_string_equal(asked(app_ca.x509), "NONE");
	judge.ca = strdup("no CA any more");
	assert_string_equal(asked(app_ca.x509), "NONE");
	assert_string_not_equal(judged(app_ca.x509), "NONE"); /* another trust */
	free(judge.ca);
	judge.ca = ca;
	md_judge_settle(&judge);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_ca_that_may_sign_is_believed),
		cmocka_unit_test(a_ca_that_may_not_needs_the_switch),
		cmocka_unit_test(what_was_judged_is_remembered),
	};

	return cmocka_run_group_tests(tests, start, stop);
}
