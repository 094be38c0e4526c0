// SPDX-License-Identifier: Apache-2.0
/*
 * A quote's verification against one ECDSA P-256 verification by OpenSSL with a key at hand, microseconds, best of
 * interleaved rounds. Cold: the bundle is parsed and verified, then the quote, nothing remembered. Warm: the platform
 * was seen before. Real files (../shared/data/quotes or $BAILEY_SHARED/data/quotes) where there are any, else an Intel
 * of our own (tests/lib/intel.h). Prints one JSON object a line for run.sh.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../lib/intel.h"
#include "base/cleanup.h"
#include "base/file.h"

#define ROUNDS 400

struct bench {
	uint8_t *quote;
	size_t quote_len;
	char *bundle;
	size_t bundle_len;
	const uint8_t *root; /* NULL: Intel's */
	size_t root_len;
	int64_t now;
	struct id_collaterals *warm;
	EVP_PKEY *key;
	uint8_t signature[ID_ECDSA_MAX];
	size_t signature_len;
};

static void die(const char *what)
{
	fprintf(stderr, "quote: %s\n", what);
	exit(1);
}

static void judge(const struct bench *b, struct id_collaterals *set)
{
	struct id_trust trust = { .now = b->now, .collaterals = set };
	static struct id_verdict v;
	struct id_quote q;

	if (id_quote_parse(b->quote, b->quote_len, &q, NULL) < 0)
		die("can not be parsed");
	id_quote_judge(&q, &trust, &v, NULL);
	if (!v.is_accepted)
		die(v.finding[0].text);
}

static struct id_collaterals *load(const struct bench *b)
{
	struct id_collaterals *set = NULL;

	if (id_collaterals_new(b->root, b->root_len, &set, NULL) < 0 ||
	    id_collaterals_add(set, b->bundle, b->bundle_len, NULL) < 0)
		die("collateral is refused");
	return set;
}

static void cold(const struct bench *b)
{
	struct id_collaterals *set = load(b);

	judge(b, set);
	id_collaterals_free(set);
}

static void warm(const struct bench *b)
{
	judge(b, b->warm);
}

static void p256(const struct bench *b)
{
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();

	if (EVP_DigestVerifyInit(ctx, NULL, EVP_sha256(), NULL, b->key) != 1 ||
	    EVP_DigestVerify(ctx, b->signature, b->signature_len, b->quote, AT_SIG_LEN) != 1)
		die("OpenSSL does not verify");
	EVP_MD_CTX_free(ctx);
}

/* A sample is about a millisecond of each contender: short enough to fit between the works of other processes. */
static double once(void (*run)(const struct bench *), const struct bench *b, int repeat)
{
	struct timespec from, to;

	clock_gettime(CLOCK_MONOTONIC, &from);
	for (int i = 0; i < repeat; i++)
		run(b);
	clock_gettime(CLOCK_MONOTONIC, &to);
	return ((double)(to.tv_sec - from.tv_sec) * 1e9 + (double)(to.tv_nsec - from.tv_nsec)) / 1e3 / repeat;
}

static bool read_real(struct bench *b)
{
	const char *root = getenv("BAILEY_SHARED") ? getenv("BAILEY_SHARED") : "../shared";
	char path[512];

	snprintf(path, sizeof(path), "%s/data/quotes/quotes/q01-v4-b0c06f.bin", root);
	if (file_read(path, 1 << 20, (char **)&b->quote, &b->quote_len, NULL) < 0)
		return false;
	snprintf(path, sizeof(path), "%s/data/quotes/collateral/c-b0c06f-2025-06.json", root);
	if (file_read(path, 1 << 20, &b->bundle, &b->bundle_len, NULL) < 0)
		return false;
	b->now = 1751328000;
	return true;
}

static void row(const char *name, double ours, double peer, const char *note)
{
	printf("{\"name\":\"%s\",\"ours\":%.1f,\"peer\":%.1f,\"peer_name\":\"OpenSSL ECDSA P-256 "
	       "verify\",\"ratio\":%.3f,"
	       "\"unit\":\"us\",\"note\":\"%s\"}\n",
	       name, ours, peer, ours / peer, note);
}

int main(void)
{
	struct bench b = { 0 };
	struct intel_made made = { 0 };
	double best_cold = 1e9, best_warm = 1e9, best_p256 = 1e9;
	bool is_real = read_real(&b);

	if (!is_real) {
		struct intel_opts o = intel_opts();

		if (intel_start(NULL) < 0)
			die("no keys");
		intel_make(&o, &made);
		b = (struct bench){ .quote = made.quote,
				    .quote_len = made.quote_len,
				    .bundle = made.bundle,
				    .bundle_len = strlen(made.bundle),
				    .root = made.root,
				    .root_len = made.root_len,
				    .now = INTEL_NOW };
	}
	b.key = id_p256_new();
	if (!b.key || !id_ecdsa_sign(b.key, b.signature, &b.signature_len, b.quote, AT_SIG_LEN))
		die("no key");
	b.warm = load(&b);
	for (int i = 0; i < ROUNDS; i++) {
		double t;

		best_p256 = (t = once(p256, &b, 12)) < best_p256 ? t : best_p256;
		best_cold = (t = once(cold, &b, 1)) < best_cold ? t : best_cold;
		best_warm = (t = once(warm, &b, 6)) < best_warm ? t : best_warm;
	}
	row("quote.cold_vs_p256_verify", best_cold, best_p256,
	    is_real ? "TDX v4 of a real platform with its collateral, nothing remembered: 9 signatures"
		    : "TDX v4 with made-up collateral, nothing remembered: 9 signatures");
	row("quote.warm_vs_p256_verify", best_warm, best_p256, "the platform was seen before: 2 signatures");
	id_collaterals_free(b.warm);
	EVP_PKEY_free(b.key);
	return 0;
}
