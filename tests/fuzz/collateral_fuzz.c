// SPDX-License-Identifier: Apache-2.0
/*
 * A bundle of collateral, and TCB Info, QE identity and a body of Intel's service by themselves, because no mutation
 * gets past a signature. The root that a bundle brings is trusted. What is read has levels, highest first.
 */
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "identity/collateral.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool is_so)
{
	if (!is_so)
		abort();
}

static void levels_check(const struct id_tcb_levels *levels, const struct id_js *js)
{
	must(levels->n);
	for (size_t i = 0; i < levels->n; i++) {
		must(levels->at[i].status > ID_TCB_NONE && levels->at[i].status < ID_TCB_STATUS_COUNT);
		must(levels->at[i].advisories < (int)js->n);
	}
}

static void documents(const char *text, size_t len)
{
	struct id_tcb_info info = { 0 };
	struct id_qe_identity qe = { 0 };
	uint8_t svn[16] = { 0 };
	struct id_pck pck = { 0 };

	if (id_tcb_info_parse(text, len, &info, NULL) == 0) {
		levels_check(&info.levels, &info.js);
		for (unsigned major = 0; major < 4; major++)
			id_tcb_module(&info, (uint8_t)major);
		id_tcb_platform_level(&info.levels, &pck, svn);
		id_tcb_info_fini(&info);
	}
	if (id_qe_identity_parse(text, len, &qe, NULL) == 0) {
		levels_check(&qe.levels, &qe.js);
		for (size_t i = 1; i < qe.levels.n; i++)
			must(qe.levels.at[i].svn < qe.levels.at[i - 1].svn);
		id_qe_identity_fini(&qe);
	}
}

static void signed_body(const char *text, size_t len)
{
	struct in signed_bytes;
	uint8_t signature[64];

	if (id_signed_body(text, len, "tcbInfo", &signed_bytes, signature))
		must(signed_bytes.p >= (const uint8_t *)text && signed_bytes.p[0] == '{' &&
		     signed_bytes.p[signed_bytes.left - 1] == '}' &&
		     signed_bytes.p + signed_bytes.left < (const uint8_t *)text + len);
}

/* The second certificate of the TCB signing chain. */
static bool own_root(const char *text, size_t len, struct id_root *root)
{
	auto_call(id_js_fini) struct id_js js = { 0 };
	auto_free char *pem = NULL;
	uint8_t der[2 * ID_PKI_CERT_MAX];
	struct in cert[2];
	size_t pem_len = 0;

	if (!id_js_scan(text, len, &js))
		return false;
	pem = id_js_string(&js, id_js_get(&js, 0, "tcb_info_issuer_chain"), &pem_len);
	return pem && id_pki_pem(pem, pem_len, der, sizeof(der), cert, 2) == 2 &&
	       id_root_load(cert[1].p, cert[1].left, root, NULL) == 0;
}

static void bundle(const char *text, size_t len)
{
	struct id_collateral *made = NULL;
	struct err e = ERR_INIT;
	struct id_root root;

	if (!own_root(text, len, &root))
		return;
	if (id_collateral_load(text, len, &root, &made, &e) == 0)
		must(made && made->tcb.levels.n && made->qe.levels.n);
	else
		must(!made && e.reason);
	id_collateral_free(made);
	id_root_fini(&root);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *text = (const char *)data;

	documents(text, size);
	signed_body(text, size);
	bundle(text, size);
	return 0;
}
