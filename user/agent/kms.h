/* SPDX-License-Identifier: Apache-2.0 */
/* The client's side of a KMS, ours or dstack's: calls over TLS with a certificate that carries evidence. */
#pragma once

#include <jansson.h>
#include <openssl/x509.h>

#include "base/err.h"

#define AG_KMS_CA_MAX (64 * 1024)

struct ag_kms {
	const char *url;                /* "https://kms.internal:8000" */
	const char *cert_pem, *key_pem; /* the client's */
	const char *ca_pem;             /* the KMS's root; NULL: judge alone decides */
	/* Whether this is the server to talk to; asked after the root. NULL: the root decides. */
	int (*judge)(X509 *leaf, void *arg, struct err *e);
	void *arg;
};

/* The server must have a chain to the root and the usage kms:rpc: an app's certificate has the same root. */
int ag_kms_call(const struct ag_kms *kms, const char *method, const json_t *args, json_t **answer, struct err *e);
/* That of the certificate's usage extension. */
int ag_kms_usage_check(X509 *leaf, struct err *e);
