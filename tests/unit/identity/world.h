/* SPDX-License-Identifier: Apache-2.0 */
/* A simulation root, requests and ways to put certificates together wrongly. One world per test program. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/text.h"
#include "identity/eventlog.h"
#include "identity/sim.h"
#include "identity/x509.h"

#define NOW INT64_C(1790000000)
#define DAY INT64_C(86400)

static struct id_sim_root world_root;
static struct id_trust world_trust;

static inline struct id_sim_request world_request(void)
{
	struct id_sim_request req = { .common_name = "web-1", .not_before = NOW - DAY, .not_after = NOW + 90 * DAY };

	memset(req.app_id, 0xa1, sizeof(req.app_id));
	memset(req.instance_id, 0x11, sizeof(req.instance_id));
	memset(req.compose_hash, 0xc0, sizeof(req.compose_hash));
	return req;
}

static inline int world_new(void **state)
{
	struct err e = ERR_INIT;

	(void)state;
	if (id_sim_root_new(NOW, &world_root, &e) < 0)
		return -1;
	world_trust = (struct id_trust){ .now = NOW,
					 .allow_simulated = true,
					 .simulated_roots = world_root.root_cert,
					 .simulated_roots_len = strlen(world_root.root_cert) };
	return 0;
}

static inline int world_free(void **state)
{
	(void)state;
	id_sim_root_fini(&world_root);
	return 0;
}

/* What to do differently from id_sim_issue(). Zero: nothing. */
struct forge {
	struct id_sim_request req;
	const struct id_sim_root *root; /* NULL: the trusted one */
	const char *log;                /* another event log; RTMR3 is `rtmr3` */
	uint8_t rtmr3[ID_MR_LEN];
	void (*body)(uint8_t body[ID_QUOTE_SIGNED_LEN]); /* before the quote is signed */
	void (*quote)(uint8_t *quote, size_t len);       /* after that */
	void (*leaf)(X509 *leaf);                        /* before the certificate is signed */
	EVP_PKEY *bound;                                 /* key in report_data */
	EVP_PKEY *signer;                                /* of the certificate */
	const void *app_id, *usage;                      /* other extension values */
	size_t app_id_len, usage_len;
	bool no_quote, no_log;
};

static inline void forge_exts(const struct forge *f, EVP_PKEY *key, X509 *leaf)
{
	uint8_t spki[ID_SPKI_LEN], report_data[ID_REPORT_DATA_LEN], rtmr3[ID_MR_LEN], body[ID_QUOTE_SIGNED_LEN];
	struct err e = ERR_INIT;
	auto_free char *log = id_sim_eventlog(&f->req, rtmr3);
	auto_free uint8_t *quote = NULL;
	const char *log_used = f->log ? f->log : log;
	size_t len;

	assert_true(id_p256_spki(f->bound ? f->bound : key, spki) && id_cert_report_data(spki, report_data));
	assert_true(id_sim_quote_body(body, f->log ? f->rtmr3 : rtmr3, report_data));
	if (f->body)
		f->body(body);
	assert_int_equal(id_sim_quote_sign(f->root ? f->root : &world_root, body, &quote, &len, &e), 0);
	if (f->quote)
		f->quote(quote, len);
	if (!f->no_quote)
		assert_true(id_x509_add_ext(leaf, ID_EXT_QUOTE, quote, len));
	if (!f->no_log)
		assert_true(id_x509_add_ext(leaf, ID_EXT_EVENTLOG, log_used, strlen(log_used)));
	if (f->app_id)
		assert_true(id_x509_add_ext(leaf, ID_EXT_APP_ID, f->app_id, f->app_id_len));
	if (f->usage)
		assert_true(id_x509_add_ext(leaf, ID_EXT_USAGE, f->usage, f->usage_len));
}

/* DER, malloc'ed */
static inline uint8_t *forge_cert(const struct forge *f, size_t *len)
{
	auto_call(cleanup_pkey) EVP_PKEY *key = id_p256_new();
	auto_call(cleanup_x509) X509 *leaf = id_sim_leaf_new(&f->req, key);
	unsigned char *der = NULL;
	uint8_t *copy;
	int n;

	assert_non_null(leaf);
	forge_exts(f, key, leaf);
	if (f->leaf)
		f->leaf(leaf);
	assert_true(X509_sign(leaf, f->signer ? f->signer : key, EVP_sha256()) > 0);
	n = i2d_X509(leaf, &der);
	assert_true(n > 0);
	copy = malloc((size_t)n);
	memcpy(copy, der, (size_t)n);
	OPENSSL_free(der);
	*len = (size_t)n;
	return copy;
}

static inline uint8_t *pem_to_der(const char *pem, size_t *len)
{
	X509 *certs[1];
	unsigned char *der = NULL;
	uint8_t *copy;
	int n;

	assert_int_equal(id_x509_from_pem(pem, strlen(pem), certs, 1), 1);
	n = i2d_X509(certs[0], &der);
	copy = malloc((size_t)n);
	memcpy(copy, der, (size_t)n);
	OPENSSL_free(der);
	X509_free(certs[0]);
	*len = (size_t)n;
	return copy;
}

#define assert_reason(e, name)                                                                                         \
	do {                                                                                                           \
		assert_int_equal((e).code, -EBADMSG);                                                                  \
		assert_string_equal(id_reason_name((e).reason), #name);                                                \
	} while (0)

/* A file of the shared evidence collection; skips the test where there is none. */
static inline char *shared_file(const char *name, size_t *len)
{
	static const char *const roots[] = { "../shared", "../../shared", NULL };
	const char *env = getenv("BAILEY_SHARED");
	struct err e = ERR_INIT;
	char path[512], *data = NULL;

	for (size_t i = 0; i < ARRAY_LEN(roots); i++) {
		const char *root = i == ARRAY_LEN(roots) - 1 ? env : roots[i];

		if (!root)
			continue;
		snprintf(path, sizeof(path), "%s/data/quotes/%s", root, name);
		e = ERR_INIT;
		if (file_read(path, 1 << 20, &data, len, &e) == 0)
			return data;
	}
	print_message("# no %s in ../shared/data/quotes or $BAILEY_SHARED\n", name);
	skip();
	return NULL;
}
