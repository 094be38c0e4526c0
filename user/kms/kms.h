/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The issuer: dstack's KMS calls over TLS. Room prefix kms_. Three processes (docs/kms.md): keys (root keys, audit log;
 * parses nothing of a stranger), front (TLS, JSON, evidence), asker (the authorisation webhook). The same program
 * starts them and waits.
 */
#pragma once

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/addr.h"
#include "base/err.h"
#include "evidence/files.h"
#include "identity/appkeys.h"
#include "identity/csr.h"

#define KMS_VERSION      "0.5.8" /* of dstack's KMS: the calls that we serve are those of this version */
#define KMS_TEXT_LEN     256     /* reasons and ids from the authority */
#define KMS_PROVIDER_MAX 512     /* bytes of a key-provider event */
#define KMS_BODY_MAX     (1u << 20)

/* --- configuration (docs/man/bailey-kms.8) --- */

struct kms_conf {
	struct ip_endpoint listen;
	char domain[ID_CSR_NAME_MAX + 1];
	char state[PATH_MAX];
	char agent[PATH_MAX];    /* guest agent; "": none */
	char key_file[PATH_MAX]; /* "": the sealing key is the agent's */
	char user[64];
	struct evp_paths evidence;
	char allow[PATH_MAX]; /* "": the webhook decides */
	char webhook[PATH_MAX];
	unsigned timeout_s;
	bool onboard; /* root keys may be handed to another KMS */
};

int kms_conf_parse(const char *file, const char *text, size_t len, struct kms_conf *conf, struct diags *d);
int kms_conf_load(const char *path, struct kms_conf *conf, struct err *e);

/* --- who asks: what evidence proves, as dstack's authorities are told (boot info) --- */

struct kms_boot {
	char tee_variant[32];
	uint8_t app_id[BY_APP_ID_LEN], compose_hash[ID_HASH_LEN], device_id[ID_HASH_LEN];
	uint8_t instance_id[BY_INSTANCE_ID_LEN], os_image_hash[ID_HASH_LEN];
	uint8_t mr_aggregated[ID_HASH_LEN], mr_system[ID_HASH_LEN];
	bool has_instance_id, has_os_image_hash, has_device_id;
	uint8_t key_provider[KMS_PROVIDER_MAX];
	uint32_t key_provider_len;
	char tcb_status[32];
	char advisory[ID_ADVISORIES_MAX][ID_ADVISORY_LEN];
	uint32_t n_advisories;
};

/* A client certificate, whose key TLS has proved. */
int kms_verify_cert(const uint8_t *der, size_t len, const struct id_trust *trust, struct kms_boot *boot, struct err *e);
/* A request's evidence against the request's key, which has signed it. */
int kms_verify_csr(const struct id_csr *csr, const struct id_csr_evidence *evidence, const struct id_trust *trust,
		   struct kms_boot *boot, struct err *e);
/* The body of POST /bootAuth/app; malloc'ed JSON text. */
char *kms_boot_json(const struct kms_boot *boot);

/* --- who may have keys --- */

enum kms_ask { KMS_ASK_APP, KMS_ASK_KMS };

struct kms_decision {
	bool is_allowed;
	char gateway_app_id[KMS_TEXT_LEN], reason[KMS_TEXT_LEN];
};

struct kms_allow; /* a local list */

int kms_allow_parse(const char *file, const char *text, size_t len, struct kms_allow **allow, struct diags *d);
int kms_allow_load(const char *path, struct kms_allow **allow, struct err *e);
void kms_allow_free(struct kms_allow *allow);
void kms_allow_decide(const struct kms_allow *allow, enum kms_ask ask, const struct kms_boot *boot,
		      struct kms_decision *decision);
/* The answer of a webhook. Anything but an object with a boolean isAllowed is an error. */
int kms_webhook_answer(const char *text, size_t len, struct kms_decision *decision, struct err *e);
/* Asks it; blocks for at most timeout_s. */
int kms_webhook_ask(const char *url, unsigned timeout_s, enum kms_ask ask, const char *body,
		    struct kms_decision *decision, struct err *e);

/* --- root keys at rest --- */

struct kms_roots {
	uint8_t p256[ID_SCALAR_LEN], k256[ID_SCALAR_LEN];
	uint8_t temp[ID_SCALAR_LEN]; /* of the temp CA, which everybody may have */
	int64_t made_s;
};

enum kms_seal_source { KMS_SEAL_FILE = 1, KMS_SEAL_AGENT = 2 };

#define KMS_SEALED_LEN 176

int kms_roots_new(int64_t now, struct kms_roots *roots, struct err *e);
void kms_roots_fini(struct kms_roots *roots);
int kms_seal(const struct kms_roots *roots, enum kms_seal_source source, const uint8_t secret[ID_SCALAR_LEN],
	     uint8_t sealed[KMS_SEALED_LEN], struct err *e);
int kms_unseal(const uint8_t *sealed, size_t len, enum kms_seal_source source, const uint8_t secret[ID_SCALAR_LEN],
	       struct kms_roots *roots, struct err *e);
/* The sealing secret: the agent's GetKey, or the key file, which is made if `may_make`. */
int kms_seal_secret(const struct kms_conf *conf, bool may_make, uint8_t secret[ID_SCALAR_LEN], struct err *e);
int kms_roots_store(const struct kms_conf *conf, const struct kms_roots *roots, struct err *e); /* never replaces */
int kms_roots_load(const struct kms_conf *conf, struct kms_roots *roots, struct err *e);
/* A file of ours: regular, the caller's own, nobody else may read or write it. */
int kms_file_private(const char *path, size_t max, char **data, size_t *len, struct err *e);

/* --- audit log --- */

#define KMS_AUDIT_LINE_MAX 8192

struct kms_audit {
	int log, head; /* descriptors, -1: none */
	uint64_t seq;  /* of the last record */
	uint8_t hash[ID_HASH_LEN];
	int64_t size;
	EVP_PKEY *key;
};

/* Opens what kms_audit_create() made; refuses one that is not whole. `key`: the root CA's. */
int kms_audit_create(const char *state, EVP_PKEY *key, struct kms_audit *audit, struct err *e);
int kms_audit_open(const char *state, EVP_PKEY *key, struct kms_audit *audit, struct err *e);
void kms_audit_close(struct kms_audit *audit);
/* On disk when it returns 0. `members` is the inside of a JSON object. */
int kms_audit_append(struct kms_audit *audit, int64_t now, const char *members, struct err *e);

struct kms_audit_report {
	uint64_t n;
	uint8_t hash[ID_HASH_LEN]; /* of the last record */
	bool has_seen;             /* a record has the hash that was asked for */
};

/* All of it: chain, each signature, the head. `seen`: a hash that must be in it, or NULL. */
int kms_audit_verify(const char *log, const char *head, EVP_PKEY *ca, const uint8_t *seen,
		     struct kms_audit_report *report, struct err *e);
/* Paths in the state directory. */
int kms_path(const struct kms_conf *conf, const char *name, char path[PATH_MAX], struct err *e);

/* --- processes --- */

int kms_front(const struct kms_conf *conf, struct evp_files *trust, const struct kms_allow *allow, int listener,
	      int keys_fd, int asker_fd);
int kms_keys(const struct kms_conf *conf, int front_fd);
int kms_asker(const struct kms_conf *conf, int front_fd);
int kms_run(const char *conf_path);

/* --- one-time commands --- */

int kms_bootstrap(const struct kms_conf *conf, struct err *e);
int kms_onboard(const struct kms_conf *conf, const char *url, struct err *e);
/* A self-signed certificate of `key` with the agent's evidence. */
int kms_own_evidence(const struct kms_conf *conf, const uint8_t report_data[ID_REPORT_DATA_LEN], uint8_t **attestation,
		     size_t *len, struct err *e);
