// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <string.h>

#include "base/text.h"
#include "collateral.h"

#define WHERE "collateral"

struct id_collaterals {
	struct id_root root;
	struct id_collateral *at[ID_COLLATERALS_MAX];
	size_t n;
	struct id_platform *platform[ID_PLATFORMS_MAX]; /* remembered; NULL: free */
	uint64_t uses;
	bool has_missed;
	struct id_missed missed;
	struct id_snp_store snp;
};

DEFINE_CLEANUP(set, struct id_collaterals, id_collaterals_free)

static void platform_free(struct id_platform *p)
{
	if (p)
		id_pck_chain_fini(&p->chain);
	free(p);
}

DEFINE_CLEANUP(platform, struct id_platform, platform_free)

static void forget(struct id_collaterals *set)
{
	for (size_t i = 0; i < ID_PLATFORMS_MAX; i++) {
		platform_free(set->platform[i]);
		set->platform[i] = NULL;
	}
}

void id_collaterals_free(struct id_collaterals *set)
{
	if (!set)
		return;
	forget(set);
	for (size_t i = 0; i < set->n; i++)
		id_collateral_free(set->at[i]);
	id_root_fini(&set->root);
	id_snp_store_fini(&set->snp);
	free(set);
}

int id_collaterals_new(const uint8_t *root, size_t root_len, struct id_collaterals **set, struct err *e)
{
	auto_call(cleanup_set) struct id_collaterals *made = calloc(1, sizeof(*made));
	int ret;

	if (!made)
		return err_at(e, -ENOMEM, WHERE, "out of memory");
	ret = id_root_load(root ? root : id_intel_root, root ? root_len : id_intel_root_len, &made->root, e);
	if (ret < 0)
		return ret;
	*set = take_ptr(made);
	return 0;
}

size_t id_collaterals_count(const struct id_collaterals *set)
{
	return set->n;
}

const struct id_collateral *id_collaterals_at(const struct id_collaterals *set, size_t i)
{
	return i < set->n ? set->at[i] : NULL;
}

static struct id_collateral **same_set(struct id_collaterals *set, const struct id_collateral *c)
{
	for (size_t i = 0; i < set->n; i++)
		if (memcmp(set->at[i]->tcb.fmspc, c->tcb.fmspc, ID_FMSPC_LEN) == 0 &&
		    set->at[i]->tcb.evaluation == c->tcb.evaluation)
			return &set->at[i];
	return NULL;
}

const struct id_snp_store *id_collaterals_snp(const struct id_collaterals *set)
{
	return set ? &set->snp : NULL;
}

/* A bundle is a JSON object, and may begin with white space. */
static bool is_bundle(const char *bytes, size_t len)
{
	size_t blanks = 0;

	while (blanks < len && strchr(" \t\r\n", bytes[blanks]))
		blanks++;
	return blanks < len && bytes[blanks] == '{';
}

int id_collaterals_add(struct id_collaterals *set, const char *bundle, size_t len, struct err *e)
{
	struct id_collateral *made = NULL, **old;
	int ret;

	if (!is_bundle(bundle, len))
		return id_snp_store_add(&set->snp, (const uint8_t *)bundle, len, e);
	ret = id_collateral_load(bundle, len, &set->root, &made, e);
	if (ret < 0)
		return ret;
	old = same_set(set, made);
	if ((old && id_collateral_until(*old) > id_collateral_until(made)) || (!old && set->n == ID_COLLATERALS_MAX)) {
		id_collateral_free(made);
		return old ? 0 : err_at(e, -ENOSPC, WHERE, "more than %d sets", ID_COLLATERALS_MAX);
	}
	forget(set); /* what is remembered was held against other CRLs */
	if (old) {
		id_collateral_free(*old);
		*old = made;
	} else {
		set->at[set->n++] = made;
	}
	return 0;
}

static bool is_current(const struct id_collateral *c, int64_t now)
{
	return now >= c->tcb.issued && now >= c->qe.issued && now <= id_collateral_until(c);
}

static bool is_better(const struct id_collateral *a, const struct id_collateral *b, int64_t now)
{
	if (is_current(a, now) != is_current(b, now))
		return is_current(a, now);
	if (a->tcb.evaluation != b->tcb.evaluation)
		return a->tcb.evaluation > b->tcb.evaluation;
	return a->tcb.issued > b->tcb.issued;
}

const struct id_collateral *id_collaterals_pick(const struct id_collaterals *set, const uint8_t fmspc[ID_FMSPC_LEN],
						int64_t now)
{
	const struct id_collateral *best = NULL;

	for (size_t i = 0; i < set->n; i++)
		if (memcmp(set->at[i]->tcb.fmspc, fmspc, ID_FMSPC_LEN) == 0 &&
		    (!best || is_better(set->at[i], best, now)))
			best = set->at[i];
	return best ? best : set->n ? set->at[0] : NULL;
}

static int crls_check(const struct id_pck_chain *chain, const struct id_collateral *c, struct err *e)
{
	const char *why = id_pki_crl_issued(&c->pck_crl, &chain->ca, chain->ca_key);

	if (why)
		return err_reason(e, ID_CRL_INVALID, WHERE, "PCK CRL %s", why);
	if (id_pki_is_revoked(&c->root_crl, &chain->ca))
		return err_reason(e, ID_CERT_REVOKED, WHERE, "the root CRL revokes the intermediate of the PCK chain");
	if (id_pki_is_revoked(&c->pck_crl, &chain->leaf))
		return err_reason(e, ID_CERT_REVOKED, WHERE, "the PCK CRL revokes the platform's certificate");
	return 0;
}

/* Remembered, and the collateral it was held against is still the one to use; else it is forgotten. */
static struct id_platform *find(struct id_collaterals *set, const uint8_t sha256[32], int64_t now)
{
	for (size_t i = 0; i < ID_PLATFORMS_MAX; i++) {
		struct id_platform *p = set->platform[i];

		if (!p || memcmp(p->pem_sha256, sha256, 32) != 0)
			continue;
		if (id_collaterals_pick(set, p->chain.pck.fmspc, now) == p->collateral)
			return p;
		platform_free(p);
		set->platform[i] = NULL;
	}
	return NULL;
}

/* In a free place, or in that of the one that was not used for longest. */
static void remember(struct id_collaterals *set, struct id_platform *p)
{
	size_t place = 0;

	for (size_t i = 0; i < ID_PLATFORMS_MAX && set->platform[place]; i++)
		if (!set->platform[i] || set->platform[i]->used < set->platform[place]->used)
			place = i;
	platform_free(set->platform[place]);
	set->platform[place] = p;
}

static void note_missed(struct id_collaterals *set, const struct id_pck_chain *chain, const struct id_collateral *c)
{
	if (c && memcmp(c->tcb.fmspc, chain->pck.fmspc, ID_FMSPC_LEN) == 0)
		return;
	set->has_missed = true;
	memcpy(set->missed.fmspc, chain->pck.fmspc, ID_FMSPC_LEN);
	set->missed.is_processor_ca = id_pki_cn_is(&chain->ca, ID_PROCESSOR_CA);
}

bool id_collaterals_missed(struct id_collaterals *set, struct id_missed *missed)
{
	if (!set->has_missed)
		return false;
	set->has_missed = false;
	*missed = set->missed;
	return true;
}

int id_collaterals_platform(struct id_collaterals *set, const char *pem, size_t len, int64_t now,
			    const struct id_platform **platform, struct err *e)
{
	auto_call(cleanup_platform) struct id_platform *made = NULL;
	char fmspc[2 * ID_FMSPC_LEN + 1];
	struct id_platform *seen;
	uint8_t sha256[32];
	int ret;

	if (!id_hash(EVP_sha256(), sha256, pem, len, NULL, 0))
		return err_at(e, -ENOMEM, WHERE, "out of memory");
	seen = find(set, sha256, now);
	if (seen) {
		note_missed(set, &seen->chain, seen->collateral);
		seen->used = ++set->uses;
		*platform = seen;
		return 0;
	}
	made = malloc(sizeof(*made)); /* 12 KiB that need not be zero */
	if (!made)
		return err_at(e, -ENOMEM, WHERE, "out of memory");
	made->chain.leaf_key = made->chain.ca_key = NULL;
	ret = id_pck_chain_load(pem, len, &set->root, 1, true, &made->chain, e);
	if (ret < 0)
		return ret;
	made->collateral = id_collaterals_pick(set, made->chain.pck.fmspc, now);
	note_missed(set, &made->chain, made->collateral);
	if (!made->collateral) {
		hex_print(fmspc, made->chain.pck.fmspc, ID_FMSPC_LEN);
		return err_reason(e, ID_COLLATERAL_MISSING, WHERE, "none is at hand for this platform, FMSPC %s",
				  fmspc);
	}
	ret = crls_check(&made->chain, made->collateral, e);
	if (ret < 0)
		return ret;
	memcpy(made->pem_sha256, sha256, sizeof(sha256));
	made->used = ++set->uses;
	*platform = made;
	remember(set, take_ptr(made));
	return 0;
}
