/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Evidence -> claims. Pure: no sockets, no files, the clock is an argument. Room prefix id_. Every refusal fills
 * struct err with a reason from include/tbl/evidence.h (enum id_reason) and returns -EBADMSG; outputs are untouched.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/buf.h"
#include "base/err.h"
#include "bailey/types.h"

enum id_reason {
#define EVIDENCE(name, text) ID_##name,
#include "tbl/evidence.h"
#undef EVIDENCE
	ID_REASON_COUNT
};

const char *id_reason_name(int reason); /* "QUOTE_SIGNATURE" */
const char *id_reason_text(int reason);
int id_reason_of(const char *name, size_t len); /* ID_NONE: no reason of this version */

#define ID_MR_LEN          48
#define ID_HASH_LEN        32
#define ID_REPORT_DATA_LEN 64
#define ID_CERT_MAX        (256 * 1024) /* DER, with quote and event log */

struct id_collaterals;     /* collateral.h */
struct id_evidence_policy; /* evidence_policy.h */

/* Whose evidence is believed. */
struct id_trust {
	int64_t now; /* unix seconds */
	bool allow_simulated;
	const char *simulated_roots; /* PEM of the simulation roots, NULL: none */
	size_t simulated_roots_len;
	struct id_collaterals *collaterals;      /* what Intel says of platforms; NULL: no real quote is accepted */
	const struct id_evidence_policy *policy; /* NULL: the strict one */
	const struct in *snp_roots;              /* DER by product, for tests; NULL: AMD's */
	const char *usage;                       /* that a leaf may name; NULL: app:custom */
};

enum id_tee {
	ID_TEE_NONE = 0, /* nothing proved */
	ID_TEE_SIM,      /* TDX layout, signed by a simulation root */
	ID_TEE_TDX,
	ID_TEE_SNP,
};

/* Of a platform, by Intel's collateral. The worse, the later; the relaunch ones are made here, from two of the others.
 */
enum id_tcb_status {
	ID_TCB_NONE = 0, /* not evaluated */
	ID_TCB_UP_TO_DATE,
	ID_TCB_SW_HARDENING,
	ID_TCB_CONFIGURATION,
	ID_TCB_CONFIGURATION_SW,
	ID_TCB_OUT_OF_DATE,
	ID_TCB_OUT_OF_DATE_CONFIGURATION,
	ID_TCB_REVOKED,
	ID_TCB_RELAUNCH,
	ID_TCB_RELAUNCH_CONFIGURATION,
	ID_TCB_NOT_SUPPORTED, /* no TCB level matches */
	ID_TCB_STATUS_COUNT,
};

const char *id_tcb_status_name(enum id_tcb_status status); /* Intel's word */

/* How a peer proves that it is there now, and not only whoever has its certificate's key. docs/threat-model.md */
enum id_fresh {
	ID_FRESH_OFF,   /* by the TLS handshake alone */
	ID_FRESH_KEY,   /* the certificate's key signs the session */
	ID_FRESH_QUOTE, /* and its TEE quotes it */
	ID_FRESH_COUNT,
};

const char *id_fresh_name(unsigned level); /* "quote" */

/* What a verified certificate proves. All fields come from the quote and its event log. */
struct id_claims {
	enum id_tee tee;
	enum id_tcb_status tcb_status; /* by the collateral at hand when it was judged; TDX only */
	bool is_simulated;
	uint8_t app_id[BY_APP_ID_LEN];
	uint8_t instance_id[BY_INSTANCE_ID_LEN]; /* zero when the log has an empty one (has_instance_id false) */
	bool has_instance_id;
	uint8_t compose_hash[ID_HASH_LEN];
	uint8_t os_image_hash[ID_HASH_LEN];
	bool has_os_image_hash;
	char key_provider[64];      /* "name" of the key-provider event, "" when absent */
	uint8_t mrtd[ID_MR_LEN];    /* what was in memory at the start: MRTD, on SEV-SNP the launch measurement */
	uint8_t rtmr[4][ID_MR_LEN]; /* TDX only */
	uint8_t mr_system[ID_HASH_LEN], mr_aggregated[ID_HASH_LEN]; /* as dstack sums the measurements up */
	uint8_t device_id[ID_HASH_LEN];                             /* SHA-256 of the PPID, on SEV-SNP of the chip id */
	bool has_device_id;
	uint64_t td_attributes;
	uint8_t spki_sha256[32]; /* of the certificate's key */
	int64_t evidence_until;  /* end of the collateral that judged the quote; 0: none was needed */
	/* of the certificate; not_after is the end of the evidence or of the live proof where that is earlier */
	int64_t not_before, not_after;
	/* what the node proved in a session of its own, and when. Not by the certificate: the exchange sets it */
	enum id_fresh fresh;
	int64_t fresh_at;
};

/* Verifies a leaf certificate's evidence: extensions, quote, event log, binding to the key. */
int id_cert_verify(const uint8_t *der, size_t len, const struct id_trust *trust, struct id_claims *claims,
		   struct err *e);

/* The same for the first certificate of a PEM text. */
int id_cert_verify_pem(const char *pem, size_t len, const struct id_trust *trust, struct id_claims *claims,
		       struct err *e);

/* Evidence by itself: a versioned attestation whose quote must be bound to these 64 bytes. The certificate's part of
 * the claims (spki_sha256, validity) stays zero. */
int id_attestation_prove(const uint8_t *bytes, size_t len, const uint8_t report_data[ID_REPORT_DATA_LEN],
			 const struct id_trust *trust, struct id_claims *claims, struct err *e);

/* --- attested node record (docs/record.md) --- */

#define ID_RECORD_MAX        (512 * 1024)
#define ID_MAX_ADDRS         4
#define ID_MAX_ENDPOINTS     4
#define ID_MAX_SERVICES      8
#define ID_WG_KEY_LEN        32
#define ID_RECORD_LIFE_MAX_S (31 * 86400)

/* What runs there, for those who look for it by its kind: nobody is let in for it. */
struct id_service {
	char type[BY_NODE_NAME_LEN]; /* [a-z0-9-]: "mongodb" */
	uint16_t port;
	bool is_udp;
};

/* What a node says of itself, under the key that its evidence proves. */
struct id_record {
	char node[BY_NODE_NAME_LEN]; /* self-chosen name [a-z0-9-]: for display, never for policy */
	uint8_t app_id[BY_APP_ID_LEN];
	uint8_t instance_id[BY_INSTANCE_ID_LEN];
	uint8_t wg_key[ID_WG_KEY_LEN];
	struct by_addr addrs[ID_MAX_ADDRS]; /* overlay addresses */
	uint32_t n_addrs;
	struct ip_endpoint endpoints[ID_MAX_ENDPOINTS]; /* of WireGuard, on the underlay */
	uint32_t n_endpoints;
	struct id_service services[ID_MAX_SERVICES];
	uint32_t n_services;
	/*
	 * While the WireGuard key is rotated: the key of the node's second device, at the next port of its endpoints.
	 * The same as wg_key: others shall send by that device now. Another one: the first device has its new key, and
	 * they shall come back to it.
	 */
	bool has_detour;
	uint8_t detour_key[ID_WG_KEY_LEN];
	uint64_t epoch; /* grows with every issue */
	int64_t not_before, not_after;
};

/* A record and what its certificate proves. */
struct id_node {
	struct id_record record;
	struct id_claims claims;
	uint8_t digest[32]; /* SHA-256 of the record's bytes */
};

bool id_node_name_ok(const char *name); /* 1 to 31 of a-z, 0-9 and '-' */
#define ID_SERVICE_TEXT (BY_NODE_NAME_LEN + 10)
bool id_service_parse(struct id_service *s, const char *text); /* "mongodb/tcp/27017", whole and canonical */
const char *id_service_print(const struct id_service *s, char buf[static ID_SERVICE_TEXT]);
/* cert_pem: the leaf; key_pem: its P-256 key. *bytes is malloc'ed. */
int id_record_sign(const struct id_record *record, const char *cert_pem, const char *key_pem, uint8_t **bytes,
		   size_t *len, struct err *e);
/* Everything that the bytes alone can prove: form, certificate, signature, validity, same identity. */
int id_record_verify(const uint8_t *bytes, size_t len, const struct id_trust *trust, struct id_node *node,
		     struct err *e);
/* Whose record the bytes say that they are, and their digest. Nothing is verified. */
bool id_record_peek(const uint8_t *bytes, size_t len, uint8_t instance_id[BY_INSTANCE_ID_LEN], uint8_t digest[32]);

/* --- what must hold between records: epochs, addresses, keys --- */

struct id_registry; /* verified nodes by instance */

struct id_registry_conf {
	struct ip_prefix networks[4]; /* overlay addresses must lie in one of these */
	uint32_t n_networks;
	size_t max_nodes;
	bool names_are_unique; /* a living node's name is no other's */
};

int id_registry_new(const struct id_registry_conf *conf, struct id_registry **reg, struct err *e);
void id_registry_free(struct id_registry *reg);

enum id_admit {
	ID_ADMIT_NEW,
	ID_ADMIT_UPDATED,
	ID_ADMIT_PROVED, /* the same record, proved for longer or with another TCB status */
	ID_ADMIT_SAME,
};
/* 0 and what happened, or a refusal (RECORD_EPOCH, _ADDRESS, _KEY, _NAME, _REVOKED). Addresses go to who came first. */
int id_registry_admit(struct id_registry *reg, const struct id_node *node, enum id_admit *what, struct err *e);
int id_registry_remove(struct id_registry *reg, const uint8_t instance_id[BY_INSTANCE_ID_LEN]);
/* No record of this instance is admitted until that is taken back; the node that it has is removed. */
int id_registry_revoke(struct id_registry *reg, const uint8_t instance_id[BY_INSTANCE_ID_LEN], bool is_revoked);
/* Removes one node whose record's or certificate's end has passed and hands it out; false when there is none. */
bool id_registry_expire(struct id_registry *reg, int64_t now, struct id_node *gone);

/* What is known of an instance after its node has gone, for a registry that has just been made. */
struct id_seen {
	uint8_t instance_id[BY_INSTANCE_ID_LEN];
	uint8_t digest[32]; /* of the last record */
	uint64_t epoch;     /* its epoch; ID_EPOCH_LOST: no record is newer than that */
	int64_t until;      /* unix seconds: no older record can be valid after it */
};
#define ID_EPOCH_LOST UINT64_MAX
/* When an older record than this one can not be valid any more: it was made before, for ID_RECORD_LIFE_MAX_S at most.
 */
int64_t id_record_seen_until(const struct id_record *r);
/* 0 or -ENOSPC, -ENOMEM. What is known already stays unless this is of a higher epoch. */
int id_registry_remember(struct id_registry *reg, const struct id_seen *seen);
/* Who has it; NULL: nobody. Valid until the registry is next changed. */
const struct id_node *id_registry_find(const struct id_registry *reg, const uint8_t instance_id[BY_INSTANCE_ID_LEN]);
const struct id_node *id_registry_find_addr(const struct id_registry *reg, const struct by_addr *addr);
const struct id_node *id_registry_find_key(const struct id_registry *reg, const uint8_t wg_key[ID_WG_KEY_LEN]);
size_t id_registry_count(const struct id_registry *reg);
const struct id_node *id_registry_at(const struct id_registry *reg, size_t i);

/* --- simulated identities, for development (refused unless the trust allows them) --- */

struct id_sim_root {                /* PEM texts, malloc'ed; id_sim_root_fini() */
	char *root_cert, *root_key; /* pinned by verifiers as simulated_roots */
	char *pck_cert, *pck_key;   /* signs the QE report, as a platform's PCK does */
	char *intermediate_cert;
};

struct id_sim_request {
	uint8_t app_id[BY_APP_ID_LEN];
	uint8_t instance_id[BY_INSTANCE_ID_LEN];
	uint8_t compose_hash[ID_HASH_LEN];
	const char *common_name;
	int64_t not_before, not_after;
};

int id_sim_root_new(int64_t now, struct id_sim_root *root, struct err *e);
void id_sim_root_fini(struct id_sim_root *root);
/* A fresh P-256 key and a certificate that carries quote, event log, app-id and usage. PEM, malloc'ed. */
int id_sim_issue(const struct id_sim_root *root, const struct id_sim_request *req, char **cert_pem, char **key_pem,
		 struct err *e);
