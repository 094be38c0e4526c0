/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The agent's keys, all from one seed in the state directory. The tree is dstack's KMS's: root keys, and from them what
 * belongs to the app; so an application cannot tell the two apart, nor can whoever verifies its signature chains.
 */
#pragma once

#include "agent.h"
#include "identity/k256.h"

struct ag_keys {
	uint8_t app_id[BY_APP_ID_LEN];
	uint8_t instance_seed[ID_SCALAR_LEN]; /* as the one that dstack keeps on an instance's disk */
	uint8_t root_k256[ID_SCALAR_LEN];
	uint8_t app_k256[ID_SCALAR_LEN];
	uint8_t app_signature[ID_K256_SIG_LEN]; /* the root's, over the app's public key */
	struct id_authority root, app;
};

int ag_keys_load(const char *state, const uint8_t app_id[BY_APP_ID_LEN], int64_t now, struct ag_keys *keys,
		 struct err *e);
void ag_keys_fini(struct ag_keys *keys);

enum ag_algorithm { AG_K256, AG_K256_PREHASHED, AG_ED25519 };

bool ag_algorithm_parse(const char *name, enum ag_algorithm *algorithm); /* "" is k256 */

struct ag_key {
	enum ag_algorithm algorithm;
	uint8_t secret[ID_SCALAR_LEN];
	uint8_t public[ID_K256_POINT_LEN];
	size_t public_len;
	uint8_t signature[ID_K256_SIG_LEN]; /* the app key's, over "<purpose>:<public key in hex>" */
};

int ag_key_derive(const struct ag_keys *keys, const char *path, const char *purpose, enum ag_algorithm algorithm,
		  struct ag_key *key, struct err *e);
#define AG_SIGNATURE_LEN 64
int ag_key_sign(const struct ag_key *key, const uint8_t *data, size_t len, uint8_t signature[AG_SIGNATURE_LEN],
		struct err *e);
int ag_verify(enum ag_algorithm algorithm, const uint8_t *public, size_t public_len, const uint8_t *data, size_t len,
	      const uint8_t *signature, size_t signature_len, bool *is_valid, struct err *e);
