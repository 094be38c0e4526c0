// SPDX-License-Identifier: Apache-2.0
#include "claims.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "near.h"

const char *const pol_dim_key[POL_DIM_COUNT + 1] = { "tcb",   "simulated",   "compose-hash", "os-image-hash",
						     "mrtd",  "rtmr0",       "rtmr1",        "rtmr2",
						     "rtmr3", "key-provider" };

/* As Intel's collateral spells them; by enum pol_tcb. */
static const char *const tcb_name[POL_TCB_COUNT + 1] = {
	"unknown",
	"UpToDate",
	"SWHardeningNeeded",
	"ConfigurationNeeded",
	"ConfigurationAndSWHardeningNeeded",
	"OutOfDate",
	"OutOfDateConfigurationNeeded",
	"Revoked",
};

void pol_claim_fini(struct pol_claim *claim)
{
	free(claim->name);
	for (int d = 0; d < POL_DIM_COUNT; d++)
		free(claim->dim[d].value);
}

int pol_value_order(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct pol_value));
}

/* --- what a node has --------------------------------------------------------------------------------------- */

/* Where a measured dimension is kept; 0: in another way. */
static size_t measured(struct pol_subject *s, enum pol_dim dim, uint8_t **bytes, bool **is_known)
{
	if (dim == POL_DIM_COMPOSE_HASH || dim == POL_DIM_OS_IMAGE_HASH) {
		*bytes = dim == POL_DIM_COMPOSE_HASH ? s->compose_hash : s->os_image_hash;
		*is_known = dim == POL_DIM_COMPOSE_HASH ? &s->has_compose_hash : &s->has_os_image_hash;
		return POL_HASH_LEN;
	}
	if (dim < POL_DIM_MRTD || dim > POL_DIM_RTMR3)
		return 0;
	*bytes = dim == POL_DIM_MRTD ? s->mrtd : s->rtmr[dim - POL_DIM_RTMR0];
	*is_known = dim == POL_DIM_MRTD ? &s->has_mrtd : &s->has_rtmr[dim - POL_DIM_RTMR0];
	return POL_MR_LEN;
}

bool pol_subject_get(const struct pol_subject *subject, enum pol_dim dim, struct pol_value *value)
{
	struct pol_subject s = *subject;
	uint8_t *bytes;
	bool *is_known;
	size_t n = measured(&s, dim, &bytes, &is_known);

	*value = (struct pol_value){ 0 };
	if (n && *is_known)
		memcpy(value->byte, bytes, n);
	else if (dim == POL_DIM_TCB)
		value->byte[0] = s.tcb < POL_TCB_COUNT ? (uint8_t)s.tcb : POL_TCB_UNKNOWN;
	else if (dim == POL_DIM_SIMULATED)
		value->byte[0] = s.is_simulated;
	else if (dim == POL_DIM_KEY_PROVIDER)
		memcpy(value->byte, s.key_provider, strnlen(s.key_provider, sizeof(s.key_provider)));
	return dim == POL_DIM_SIMULATED || (n ? *is_known : value->byte[0] != 0);
}

void pol_subject_set(struct pol_subject *subject, enum pol_dim dim, const struct pol_value *value)
{
	const struct pol_value none = { 0 }, *v = value ? value : &none;
	uint8_t *bytes;
	bool *is_known;
	size_t n = measured(subject, dim, &bytes, &is_known);

	if (n) {
		memcpy(bytes, v->byte, n);
		*is_known = value != NULL;
	} else if (dim == POL_DIM_TCB) {
		subject->tcb = (enum pol_tcb)v->byte[0];
	} else if (dim == POL_DIM_SIMULATED) {
		subject->is_simulated = v->byte[0];
	} else {
		memcpy(subject->key_provider, v->byte, sizeof(subject->key_provider));
	}
}

enum pol_met pol_dim_met(const struct pol_claim *claim, enum pol_dim dim, const struct pol_subject *subject)
{
	struct pol_value v;

	if (!claim->dim[dim].n)
		return POL_MET;
	if (!pol_subject_get(subject, dim, &v))
		return POL_MAY_BE_MET;
	return bsearch(&v, claim->dim[dim].value, claim->dim[dim].n, sizeof(v), pol_value_order) ? POL_MET
												 : POL_NOT_MET;
}

enum pol_met pol_claim_met(const struct pol_claim *claim, const struct pol_subject *subject)
{
	enum pol_met met = POL_MET;

	for (int d = 0; d < POL_DIM_COUNT && met != POL_NOT_MET; d++) {
		enum pol_met one = pol_dim_met(claim, (enum pol_dim)d, subject);

		met = one < met ? one : met;
	}
	return met;
}

/* --- words ------------------------------------------------------------------------------------------------- */

size_t pol_dim_values(enum pol_dim dim, struct pol_value value[POL_TCB_COUNT])
{
	size_t n = 0;

	if (dim == POL_DIM_SIMULATED)
		for (uint8_t v = 0; v < 2; v++)
			value[n++] = (struct pol_value){ { v } };
	if (dim == POL_DIM_TCB)
		for (int v = POL_TCB_UP_TO_DATE; v < POL_TCB_COUNT; v++)
			value[n++] = (struct pol_value){ { (uint8_t)v } };
	return n;
}

bool pol_dim_can_be_unknown(enum pol_dim dim)
{
	return dim != POL_DIM_SIMULATED;
}

static size_t hex_bytes(enum pol_dim dim)
{
	return dim == POL_DIM_COMPOSE_HASH || dim == POL_DIM_OS_IMAGE_HASH ? POL_HASH_LEN
	       : dim >= POL_DIM_MRTD && dim <= POL_DIM_RTMR3               ? POL_MR_LEN
									   : 0;
}

static bool tcb_parse(const char *text, struct pol_value *value, struct err *e)
{
	const char *nearest = near_of(text, tcb_name + 1);

	for (int v = POL_TCB_UP_TO_DATE; v < POL_TCB_COUNT; v++) {
		value->byte[0] = (uint8_t)v;
		if (strcmp(text, tcb_name[v]) == 0)
			return true;
	}
	if (nearest)
		err_at(e, -EINVAL, NULL, "found '%.60s', did you mean '%s'?", text, nearest);
	else
		err_at(e, -EINVAL, NULL, "found '%.60s', needed a TCB status, such as UpToDate", text);
	return false;
}

static bool provider_parse(const char *text, struct pol_value *value, struct err *e)
{
	size_t len = strlen(text);

	if (len && len < POL_PROVIDER_LEN) {
		memcpy(value->byte, text, len);
		return true;
	}
	err_at(e, -EINVAL, NULL, "found a name of %zu characters, needed 1 to %d", len, POL_PROVIDER_LEN - 1);
	return false;
}

bool pol_value_parse(enum pol_dim dim, const char *text, struct pol_value *value, struct err *e)
{
	size_t n = hex_bytes(dim);

	*value = (struct pol_value){ 0 };
	if (dim == POL_DIM_TCB)
		return tcb_parse(text, value, e);
	if (dim == POL_DIM_KEY_PROVIDER)
		return provider_parse(text, value, e);
	if (n && hex_parse(value->byte, n, text))
		return true;
	value->byte[0] = !n && strcmp(text, "true") == 0;
	if (!n && (value->byte[0] || strcmp(text, "false") == 0))
		return true;
	if (n)
		err_at(e, -EINVAL, NULL, "found '%.100s' (%zu characters), needed %zu hex digits", text, strlen(text),
		       2 * n);
	else
		err_at(e, -EINVAL, NULL, "found '%.60s', needed true or false", text);
	return false;
}

void pol_value_print(enum pol_dim dim, const struct pol_value *value, char *buf, size_t size)
{
	size_t n = hex_bytes(dim);
	char hex[2 * sizeof(*value) + 1];

	hex_print(hex, value->byte, n);
	snprintf(buf, size, "%s",
		 n                          ? hex
		 : dim == POL_DIM_TCB       ? tcb_name[value->byte[0] % POL_TCB_COUNT]
		 : dim == POL_DIM_SIMULATED ? value->byte[0] ? "true" : "false"
					    : (const char *)value->byte);
}

bool pol_subject_set_text(struct pol_subject *subject, const char *key, const char *text, struct err *e)
{
	struct pol_value v;
	int d = 0;

	while (d < POL_DIM_COUNT && strcmp(key, pol_dim_key[d]) != 0)
		d++;
	if (d == POL_DIM_COUNT) {
		const char *nearest = near_of(key, pol_dim_key);

		err_at(e, -EINVAL, NULL, "unknown claim '%.40s'%s%s%s", key, nearest ? "; did you mean '" : "",
		       nearest ? nearest : "", nearest ? "'?" : "");
		return false;
	}
	if (pol_dim_can_be_unknown((enum pol_dim)d) && strcmp(text, "unknown") == 0) {
		pol_subject_set(subject, (enum pol_dim)d, NULL);
		return true;
	}
	if (!pol_value_parse((enum pol_dim)d, text, &v, e))
		return false;
	pol_subject_set(subject, (enum pol_dim)d, &v);
	return true;
}
