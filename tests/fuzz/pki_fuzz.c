// SPDX-License-Identifier: Apache-2.0
/* A certificate, CRL or SGX extension in DER, and a chain in PEM: all that is handed out lies inside the input. */
#include <stdlib.h>

#include "identity/pck_chain.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool is_so)
{
	if (!is_so)
		abort();
}

static void inside(struct in part, struct in whole)
{
	must(!part.p ||
	     (part.p >= whole.p && part.left <= whole.left && (size_t)(part.p - whole.p) <= whole.left - part.left));
}

static void cert_check(struct in der)
{
	struct id_pki_cert cert;
	struct id_pck pck;

	if (id_pki_cert_parse(der, &cert))
		return;
	inside(cert.tbs, der);
	inside(cert.sig, der);
	inside(cert.serial, der);
	inside(cert.issuer, der);
	inside(cert.subject, der);
	inside(cert.cn, der);
	inside(cert.ski, der);
	inside(cert.aki, der);
	inside(cert.sgx, der);
	inside(in_of(cert.key_raw, ID_P256_RAW_LEN), der);
	id_pki_cn_is(&cert, "Intel SGX Root CA");
	if (cert.sgx.p)
		id_pck_parse(cert.sgx, &pck);
}

static void crl_check(struct in der)
{
	static const uint8_t number[] = { 0x01 };
	struct id_pki_cert cert = { .serial = in_of(number, sizeof(number)) };
	struct id_pki_crl crl;

	if (id_pki_crl_parse(der, &crl))
		return;
	inside(crl.tbs, der);
	inside(crl.sig, der);
	inside(crl.issuer, der);
	inside(crl.aki, der);
	inside(crl.revoked, der);
	id_pki_is_revoked(&crl, &cert);
}

static void chain_check(const char *pem, size_t len)
{
	static uint8_t der[ID_PKI_CHAIN_MAX * ID_PKI_CERT_MAX];
	struct id_pck_chain chain;
	struct in cert[ID_PKI_CHAIN_MAX];
	int n = id_pki_pem(pem, len, der, sizeof(der), cert, ID_PKI_CHAIN_MAX);
	struct id_root root;

	must(n >= -1 && n <= ID_PKI_CHAIN_MAX);
	if (n < 1 || id_root_load(cert[n - 1].p, cert[n - 1].left, &root, NULL) < 0)
		return;
	for (int is_intel = 0; is_intel < 2; is_intel++) {
		if (id_pck_chain_load(pem, len, &root, 1, is_intel, &chain, NULL) < 0)
			continue;
		must(n == ID_PCK_CHAIN_LEN && chain.leaf_key && chain.ca_key);
		id_pck_chain_fini(&chain);
	}
	id_root_fini(&root);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct id_pck pck;

	cert_check(in_of(data, size));
	crl_check(in_of(data, size));
	id_pck_parse(in_of(data, size), &pck);
	chain_check((const char *)data, size);
	return 0;
}
