// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/log.h"
#include "identity/issuer_chain.h"
#include "worker.h"

#define WHERE    "peer"
#define HOUR_S   3600
#define USAGE_OK "app:custom"

static void trust_fill(const struct md_judge *j, struct id_trust *trust)
{
	*trust = (struct id_trust){ .now = time(NULL),
				    .simulated_roots = j->roots,
				    .simulated_roots_len = j->roots ? strlen(j->roots) : 0 };
	edge_trust_fill(j->evidence, trust);
	trust->allow_simulated = trust->policy && trust->policy->allow_simulated;
}

/* --- what is judged by --- */

static void add(EVP_MD_CTX *ctx, const void *p, size_t len)
{
	uint64_t n = len;

	EVP_DigestUpdate(ctx, &n, sizeof(n));
	EVP_DigestUpdate(ctx, p, len);
}

static void add_text(EVP_MD_CTX *ctx, const char *text)
{
	add(ctx, text, text ? strlen(text) : 0);
}

void md_judge_settle(struct md_judge *j)
{
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	struct id_trust trust;
	uint32_t by_ca[] = { j->conf->trust_ca, j->conf->ca_without_keycertsign };

	trust_fill(j, &trust);
	memset(j->trust, 0, sizeof(j->trust));
	memset(j->meaning, 0, sizeof(j->meaning));
	if (!ctx || EVP_DigestInit_ex(ctx, EVP_sha256(), NULL) != 1) {
		EVP_MD_CTX_free(ctx);
		return;
	}
	add(ctx, by_ca, sizeof(by_ca));
	add_text(ctx, j->ca);
	add_text(ctx, j->roots);
	add(ctx, trust.policy, trust.policy ? sizeof(*trust.policy) : 0);
	EVP_DigestFinal_ex(ctx, j->meaning, NULL);
	EVP_DigestInit_ex(ctx, EVP_sha256(), NULL);
	add(ctx, j->meaning, sizeof(j->meaning));
	for (size_t i = 0; trust.collaterals && i < id_collaterals_count(trust.collaterals); i++) {
		const struct id_collateral *c = id_collaterals_at(trust.collaterals, i);
		int64_t until = id_collateral_until(c);

		add(ctx, c->tcb.fmspc, ID_FMSPC_LEN);
		add(ctx, &until, sizeof(until));
	}
	EVP_DigestFinal_ex(ctx, j->trust, NULL);
	EVP_MD_CTX_free(ctx);
}

/* --- by evidence --- */

static int by_evidence(const struct md_judge *j, const uint8_t *der, size_t len, struct id_claims *claims,
		       struct err *e)
{
	struct id_trust trust;
	int ret;

	trust_fill(j, &trust);
	ret = id_cert_verify(der, len, &trust, claims, e);
	if (ret < 0)
		edge_trust_refused(j->evidence);
	return ret;
}

/* --- by issuer --- */

static void claims_of(const struct id_issuer *issuer, struct id_claims *claims)
{
	const struct id_app_info *info = &issuer->claims.app_info;

	memcpy(claims->app_id, issuer->claims.app_id, sizeof(claims->app_id));
	claims->not_before = issuer->not_before;
	claims->not_after = issuer->not_after;
	if (!issuer->claims.has_app_info)
		return;
	claims->has_instance_id = info->has_instance_id;
	memcpy(claims->instance_id, info->instance_id, sizeof(claims->instance_id));
	/* compose hash and image are the requester's own words in what the KMS signs: they are not taken for claims */
}

static int by_issuer(const struct md_judge *j, X509 *const *chain, int n, struct id_claims *claims, struct err *e)
{
	const struct id_issuer_trust trust = { .now = time(NULL),
					       .roots = j->ca,
					       .roots_len = j->ca ? strlen(j->ca) : 0,
					       .allow_ca_without_key_cert_sign = j->conf->ca_without_keycertsign };
	struct id_issuer issuer;
	int ret;

	if (!j->ca)
		return err_reason(e, ID_CERT_CHAIN, WHERE, "there is no CA yet that could vouch for it");
	ret = id_issuer_verify_path(chain, n, &trust, &issuer, e);
	if (ret < 0)
		return ret;
	if (!issuer.claims.has_app_id)
		return err_reason(e, ID_CERT_CLAIM, WHERE, "certificate names no app-id (.1.3)");
	/* a certificate of the KMS itself, or of a CA, is no app's */
	if (strcmp(issuer.claims.usage, USAGE_OK) != 0)
		return err_reason(e, ID_CERT_CLAIM, WHERE, "certificate is for '%s', %s is needed", issuer.claims.usage,
				  USAGE_OK);
	claims_of(&issuer, claims);
	return 0;
}

/* --- both --- */

/* The same for all that are judged within the hour: an identity shall be one object, not one for each connection. */
static int64_t until_of(const struct md_judge *j, const struct id_claims *claims)
{
	int64_t until = time(NULL) / HOUR_S * HOUR_S + j->conf->verdict_s;

	if (until <= time(NULL))
		until += HOUR_S;
	if (claims->not_after < until)
		until = claims->not_after;
	if (claims->evidence_until && claims->evidence_until < until)
		until = claims->evidence_until;
	return until;
}

static int verdict_make(const struct md_judge *j, const struct id_claims *claims, struct md_verdict *v)
{
	memset(v, 0, sizeof(*v));
	memcpy(v->trust, j->trust, sizeof(v->trust));
	memcpy(v->meaning, j->meaning, sizeof(v->meaning));
	v->until = until_of(j, claims);
	v->by_issuer = j->conf->trust_ca;
	v->claims = *claims;
	return 0;
}

static int judge_anew(const struct md_judge *j, const uint8_t *der, size_t len, STACK_OF(X509) * chain,
		      struct md_verdict *v, struct err *e)
{
	struct id_claims claims = { 0 };
	X509 *certs[ID_CHAIN_MAX];
	int n = sk_X509_num(chain), ret;

	for (int i = 0; i < n && i < ID_CHAIN_MAX; i++)
		certs[i] = sk_X509_value(chain, i);
	ret = j->conf->trust_ca ? by_issuer(j, certs, n, &claims, e) : by_evidence(j, der, len, &claims, e);
	return ret < 0 ? ret : verdict_make(j, &claims, v);
}

/* --- what was judged before --- */

static bool digest_of(const uint8_t *der, size_t len, STACK_OF(X509) * chain, uint8_t digest[32])
{
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	bool ok = ctx && EVP_DigestInit_ex(ctx, EVP_sha256(), NULL) == 1;

	if (ok)
		add(ctx, der, len);
	for (int i = 0; ok && i < sk_X509_num(chain); i++) {
		uint8_t *bytes = NULL;
		int n = i2d_X509(sk_X509_value(chain, i), &bytes);

		ok = n > 0;
		if (ok)
			add(ctx, bytes, (size_t)n);
		OPENSSL_free(bytes);
	}
	ok = ok && EVP_DigestFinal_ex(ctx, digest, NULL) == 1;
	EVP_MD_CTX_free(ctx);
	return ok;
}

void md_judge_forget(struct md_judge *j)
{
	for (size_t i = 0; i < ARRAY_LEN(j->seen); i++) {
		free(j->seen[i]);
		j->seen[i] = NULL;
	}
}

/*
 * The same certificates get the same answer as long as their verdict holds: it ends with them and with their evidence,
 * and a change of trust ends all. That the peer has the key is proved by each handshake, not here. What was refused is
 * judged each time.
 */
int md_judge_peer(struct md_judge *j, const uint8_t *der, size_t len, STACK_OF(X509) * chain, struct md_verdict *v,
		  struct err *e)
{
	uint8_t digest[32];
	struct md_seen **seen;
	int ret;

	if (!digest_of(der, len, chain, digest))
		return err_at(e, -ENOMEM, WHERE, "out of memory");
	seen = &j->seen[digest[0] % ARRAY_LEN(j->seen)];
	if (*seen && memcmp((*seen)->digest, digest, sizeof(digest)) == 0 && md_verdict_holds(j, &(*seen)->verdict)) {
		*v = (*seen)->verdict;
		return 0;
	}
	ret = judge_anew(j, der, len, chain, v, e);
	if (!ret && !*seen)
		*seen = calloc(1, sizeof(**seen));
	if (!ret && *seen) {
		memcpy((*seen)->digest, digest, sizeof(digest));
		(*seen)->verdict = *v;
	}
	return ret;
}

int md_judge_self(const struct md_judge *j, const char *chain, struct md_verdict *v, struct err *e)
{
	struct id_claims claims = { 0 };
	X509 *x509[ID_CHAIN_MAX] = { 0 };
	uint8_t *der = NULL;
	int n = id_x509_from_pem(chain, strlen(chain), x509, ID_CHAIN_MAX), len, ret = -EBADMSG;

	len = n > 0 ? i2d_X509(x509[0], &der) : -1;
	if (len <= 0)
		err_at(e, ret, "own certificate", "is no PEM certificate, or more than %d", ID_CHAIN_MAX);
	else if (j->conf->trust_ca)
		ret = by_issuer(j, x509, n, &claims, e);
	else
		ret = by_evidence(j, der, (size_t)len, &claims, e);
	for (int i = 0; i < n; i++)
		X509_free(x509[i]);
	OPENSSL_free(der);
	if (ret < 0)
		return err_wrap(e, "own certificate");
	return verdict_make(j, &claims, v);
}

bool md_verdict_holds(const struct md_judge *j, const struct md_verdict *v)
{
	return v->until > time(NULL) + MP_LAST_S && memcmp(v->trust, j->trust, sizeof(v->trust)) == 0 &&
	       v->by_issuer == j->conf->trust_ca;
}
