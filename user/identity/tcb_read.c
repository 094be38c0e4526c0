// SPDX-License-Identifier: Apache-2.0
/* TCB Info and QE identity: JSON -> structures. A member that is needed and missing, of another kind, of another length
 * or out of its range refuses the whole document; members that are not known are let be. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tcb.h"

#define WHERE_TCB "TCB Info"
#define WHERE_QE  "QE identity"

typedef bool level_fn(const struct id_js *js, int v, struct id_tcb_level *level);

static bool read_status(const struct id_js *js, int v, enum id_tcb_status *status)
{
	for (int s = ID_TCB_UP_TO_DATE; s <= ID_TCB_REVOKED; s++) {
		if (id_js_text_is(js, v, id_tcb_status_name((enum id_tcb_status)s))) {
			*status = (enum id_tcb_status)s;
			return true;
		}
	}
	return false;
}

/* advisoryIDs may be missing; each is a short plain text. */
static bool read_advisories(const struct id_js *js, int level, struct id_tcb_level *l)
{
	const char *text;
	size_t len;

	l->advisories = id_js_get(js, level, "advisoryIDs");
	if (l->advisories < 0)
		return true;
	if (!id_js_is(js, l->advisories, ID_JS_ARRAY) || id_js_count(js, l->advisories) > ID_ADVISORIES_MAX)
		return false;
	for (int i = id_js_first(js, l->advisories); i >= 0; i = id_js_next(js, l->advisories, i)) {
		if (!id_js_text(js, i, &text, &len) || !len || len >= ID_ADVISORY_LEN)
			return false;
		for (size_t c = 0; c < len; c++)
			if (text[c] <= ' ' || text[c] > '~' || text[c] == ',')
				return false;
	}
	return true;
}

static bool read_svns(const struct id_js *js, int array, uint8_t svn[ID_TCB_COMPONENTS])
{
	uint64_t v;
	size_t n = 0;

	if (id_js_count(js, array) != ID_TCB_COMPONENTS)
		return false;
	for (int i = id_js_first(js, array); i >= 0; i = id_js_next(js, array, i)) {
		if (!id_js_uint(js, id_js_get(js, i, "svn"), 0xff, &v))
			return false;
		svn[n++] = (uint8_t)v;
	}
	return true;
}

static bool read_u16(const struct id_js *js, int v, uint16_t *n)
{
	uint64_t wide;

	if (!id_js_uint(js, v, 0xffff, &wide))
		return false;
	*n = (uint16_t)wide;
	return true;
}

static bool read_platform_tcb(const struct id_js *js, int tcb, struct id_tcb_level *l)
{
	return read_svns(js, id_js_get(js, tcb, "sgxtcbcomponents"), l->sgx) &&
	       read_svns(js, id_js_get(js, tcb, "tdxtcbcomponents"), l->tdx) &&
	       read_u16(js, id_js_get(js, tcb, "pcesvn"), &l->svn);
}

static bool read_svn_tcb(const struct id_js *js, int tcb, struct id_tcb_level *l)
{
	return read_u16(js, id_js_get(js, tcb, "isvsvn"), &l->svn);
}

/* Descending: SGX components, then PCESVN (or isvsvn), then TDX components. */
static int by_height(const void *a, const void *b)
{
	const struct id_tcb_level *x = a, *y = b;
	int order = memcmp(y->sgx, x->sgx, sizeof(x->sgx));

	if (!order)
		order = (int)y->svn - (int)x->svn;
	return order ? order : memcmp(y->tdx, x->tdx, sizeof(x->tdx));
}

/* The order of the document is not relied on; two levels of the same height would leave it the word. */
static bool read_levels(const struct id_js *js, int array, size_t max, level_fn *tcb, struct id_tcb_levels *levels)
{
	size_t n = id_js_count(js, array);
	struct id_tcb_level *l = n && n <= max ? calloc(n, sizeof(*l)) : NULL;

	levels->at = l;
	if (!l)
		return false;
	for (int i = id_js_first(js, array); i >= 0; i = id_js_next(js, array, i), l++)
		if (!tcb(js, id_js_get(js, i, "tcb"), l) ||
		    !read_status(js, id_js_get(js, i, "tcbStatus"), &l->status) ||
		    !id_js_date(js, id_js_get(js, i, "tcbDate"), &l->date) || !read_advisories(js, i, l))
			return false;
	levels->n = n;
	qsort(levels->at, n, sizeof(*l), by_height);
	for (size_t i = 1; i < n; i++)
		if (by_height(&levels->at[i - 1], &levels->at[i]) == 0)
			return false;
	return true;
}

static bool read_module(const struct id_js *js, int v, struct id_tdx_module *m)
{
	return id_js_hex(js, id_js_get(js, v, "mrsigner"), m->mr_signer, sizeof(m->mr_signer)) &&
	       id_js_hex(js, id_js_get(js, v, "attributes"), m->attributes, sizeof(m->attributes)) &&
	       id_js_hex(js, id_js_get(js, v, "attributesMask"), m->mask, sizeof(m->mask));
}

/* "TDX_" and two hex digits of either case */
static bool read_major(const struct id_js *js, int v, uint8_t *major)
{
	const char *text;
	char digits[3] = { 0 }, *end;
	size_t len;

	if (!id_js_text(js, v, &text, &len) || len != 6 || memcmp(text, "TDX_", 4) != 0)
		return false;
	memcpy(digits, text + 4, 2);
	*major = (uint8_t)strtoul(digits, &end, 16);
	return !*end && digits[0] != '+' && digits[0] != '-' && digits[0] != ' ';
}

static bool read_modules(const struct id_js *js, int array, struct id_tcb_info *info)
{
	if (array >= 0 && (!id_js_is(js, array, ID_JS_ARRAY) || id_js_count(js, array) > ID_MODULES_MAX))
		return false;
	for (int i = id_js_first(js, array); i >= 0; i = id_js_next(js, array, i)) {
		struct id_tdx_module *m = &info->module[info->n_modules++];

		if (!read_module(js, i, m) || !read_major(js, id_js_get(js, i, "id"), &m->major) || !m->major ||
		    !read_levels(js, id_js_get(js, i, "tcbLevels"), ID_MODULE_SVN_MAX, read_svn_tcb, &m->levels))
			return false;
		if (id_tcb_module(info, m->major) != m) /* there before */
			return false;
	}
	return true;
}

/* What both documents begin with. */
static bool read_head(const struct id_js *js, int64_t *issued, int64_t *next_update, uint32_t *evaluation)
{
	uint64_t v;

	if (!id_js_date(js, id_js_get(js, 0, "issueDate"), issued) ||
	    !id_js_date(js, id_js_get(js, 0, "nextUpdate"), next_update) ||
	    !id_js_uint(js, id_js_get(js, 0, "tcbEvaluationDataNumber"), UINT32_MAX, &v))
		return false;
	*evaluation = (uint32_t)v;
	return true;
}

static int scan(const char *text, size_t len, struct id_js *js, const char *where, struct err *e)
{
	if (len > ID_TCB_JSON_MAX)
		return err_reason(e, ID_COLLATERAL_MALFORMED, where, "is longer than %d bytes", ID_TCB_JSON_MAX);
	if (!id_js_scan(text, len, js))
		return err_reason(e, ID_COLLATERAL_MALFORMED, where, "is not strict JSON at byte %zu", js->error_at);
	return 0;
}

static int kind_check(const struct id_js *js, const char *id, uint64_t version, const char *where, struct err *e)
{
	uint64_t found;

	if (!id_js_text_is(js, id_js_get(js, 0, "id"), id) ||
	    !id_js_uint(js, id_js_get(js, 0, "version"), version, &found) || found != version)
		return err_reason(e, ID_COLLATERAL_KIND, where, "is not of id %s and version %d", id, (int)version);
	return 0;
}

static int info_read(struct id_tcb_info *info, struct err *e)
{
	const struct id_js *js = &info->js;
	uint64_t type;
	int ret = kind_check(js, "TDX", 3, WHERE_TCB, e);

	if (ret < 0)
		return ret;
	if (!id_js_uint(js, id_js_get(js, 0, "tcbType"), UINT32_MAX, &type))
		return err_reason(e, ID_COLLATERAL_MALFORMED, WHERE_TCB, "tcbType is missing or no number");
	if (type)
		return err_reason(e, ID_COLLATERAL_KIND, WHERE_TCB, "tcbType %llu, only 0 is known",
				  (unsigned long long)type);
	if (!read_head(js, &info->issued, &info->next_update, &info->evaluation) ||
	    !id_js_hex(js, id_js_get(js, 0, "fmspc"), info->fmspc, sizeof(info->fmspc)) ||
	    !id_js_hex(js, id_js_get(js, 0, "pceId"), info->pce_id, sizeof(info->pce_id)))
		return err_reason(e, ID_COLLATERAL_MALFORMED, WHERE_TCB, "dates, number, fmspc or pceId are malformed");
	info->n_modules = 1;
	if (!read_module(js, id_js_get(js, 0, "tdxModule"), &info->module[0]) ||
	    !read_modules(js, id_js_get(js, 0, "tdxModuleIdentities"), info))
		return err_reason(e, ID_COLLATERAL_MALFORMED, WHERE_TCB, "TDX modules are malformed or repeated");
	if (!read_levels(js, id_js_get(js, 0, "tcbLevels"), ID_TCB_LEVELS_MAX, read_platform_tcb, &info->levels))
		return err_reason(e, ID_COLLATERAL_MALFORMED, WHERE_TCB,
				  "tcbLevels are missing, malformed, repeated or of an unknown status");
	return 0;
}

void id_tcb_info_fini(struct id_tcb_info *info)
{
	for (size_t i = 0; i < info->n_modules; i++)
		free(info->module[i].levels.at);
	free(info->levels.at);
	id_js_fini(&info->js);
	*info = (struct id_tcb_info){ 0 };
}

int id_tcb_info_parse(const char *text, size_t len, struct id_tcb_info *info, struct err *e)
{
	int ret;

	*info = (struct id_tcb_info){ 0 };
	ret = scan(text, len, &info->js, WHERE_TCB, e);
	if (ret < 0)
		return ret;
	ret = info_read(info, e);
	if (ret < 0)
		id_tcb_info_fini(info);
	return ret;
}

static int qe_read(struct id_qe_identity *qe, struct err *e)
{
	const struct id_js *js = &qe->js;
	int ret = kind_check(js, "TD_QE", 2, WHERE_QE, e);

	if (ret < 0)
		return ret;
	if (!read_head(js, &qe->issued, &qe->next_update, &qe->evaluation) ||
	    !id_js_hex(js, id_js_get(js, 0, "miscselect"), qe->miscselect, sizeof(qe->miscselect)) ||
	    !id_js_hex(js, id_js_get(js, 0, "miscselectMask"), qe->miscselect_mask, sizeof(qe->miscselect_mask)) ||
	    !id_js_hex(js, id_js_get(js, 0, "attributes"), qe->attributes, sizeof(qe->attributes)) ||
	    !id_js_hex(js, id_js_get(js, 0, "attributesMask"), qe->attributes_mask, sizeof(qe->attributes_mask)) ||
	    !id_js_hex(js, id_js_get(js, 0, "mrsigner"), qe->mr_signer, sizeof(qe->mr_signer)) ||
	    !read_u16(js, id_js_get(js, 0, "isvprodid"), &qe->product))
		return err_reason(e, ID_COLLATERAL_MALFORMED, WHERE_QE, "a member is missing or malformed");
	if (!read_levels(js, id_js_get(js, 0, "tcbLevels"), ID_MODULE_SVN_MAX, read_svn_tcb, &qe->levels))
		return err_reason(e, ID_COLLATERAL_MALFORMED, WHERE_QE,
				  "tcbLevels are missing, malformed, repeated or of an unknown status");
	return 0;
}

void id_qe_identity_fini(struct id_qe_identity *qe)
{
	free(qe->levels.at);
	id_js_fini(&qe->js);
	*qe = (struct id_qe_identity){ 0 };
}

int id_qe_identity_parse(const char *text, size_t len, struct id_qe_identity *qe, struct err *e)
{
	int ret;

	*qe = (struct id_qe_identity){ 0 };
	ret = scan(text, len, &qe->js, WHERE_QE, e);
	if (ret < 0)
		return ret;
	ret = qe_read(qe, e);
	if (ret < 0)
		id_qe_identity_fini(qe);
	return ret;
}
