/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Certificates as dstack issues them: root CA, one CA for each app, leaves with RA-TLS extensions. For whoever holds
 * the keys: the guest agent without a KMS, and the KMS.
 */
#pragma once

#include "identity/attestation.h"
#include "identity/derive.h"
#include "identity/x509.h"

#define ID_USAGE_APP_CA    "app:ca"
#define ID_USAGE_KMS       "kms:rpc"
#define ID_LEAF_NOT_BEFORE 157766400ll      /* 1975-01-01, dstack's default */
#define ID_CERT_LIFE_S     (3650ll * 86400) /* from now on; likewise */
#define ID_ISSUE_MAX_NAMES 32

struct id_authority {
	EVP_PKEY *key;
	X509 *x509;
};

struct id_leaf_request {
	const char *org;                          /* NULL or "": none */
	const char *subject;                      /* common name, "" for none */
	const char *alt_name[ID_ISSUE_MAX_NAMES]; /* DNS names and addresses */
	size_t n_alt_names;
	bool for_server, for_client;
	int64_t not_before, not_after;
	const uint8_t *app_id; /* BY_APP_ID_LEN, or NULL */
	struct in attestation; /* .1.8; p NULL: none */
	struct in quote;       /* .1.1, with the event log: what .1.8 replaces. p NULL: none */
	const char *event_log;
	struct in app_info; /* .1.9; p NULL: none */
	const char *usage;  /* NULL: app:custom */
};

/* Self-signed, path length 1. Takes over neither scalar nor name. */
int id_root_ca(const uint8_t scalar[ID_SCALAR_LEN], const char *name, int64_t now, struct id_authority *ca,
	       struct err *e);
/* Signed by `root`, path length 0, with app-id and usage. */
int id_app_ca(const struct id_authority *root, const uint8_t scalar[ID_SCALAR_LEN], const uint8_t app_id[BY_APP_ID_LEN],
	      int64_t now, struct id_authority *ca, struct err *e);
/* `ca` NULL: self-signed, and then with a subject. */
int id_leaf(const struct id_authority *ca, EVP_PKEY *key, const struct id_leaf_request *req, X509 **leaf,
	    struct err *e);
void id_authority_fini(struct id_authority *ca);
