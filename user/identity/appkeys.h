/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The keys that dstack's KMS gives an app, from its two roots: a P-256 key R (the CA's) and a secp256k1 key K. The same
 * formulas for whoever holds roots: the KMS, and the guest agent without one.
 */
#pragma once

#include "identity/identity.h"
#include "identity/k256.h"

#define ID_X25519_LEN 32

/* Scalar of the app's CA key, from R. */
bool id_app_ca_scalar(const uint8_t root[ID_SCALAR_LEN], const uint8_t app_id[BY_APP_ID_LEN],
		      uint8_t scalar[ID_SCALAR_LEN]);
/* Of an instance's disk, from R; instance_id NULL: the app has none. */
bool id_app_disk_key(const uint8_t root[ID_SCALAR_LEN], const uint8_t app_id[BY_APP_ID_LEN], const uint8_t *instance_id,
		     uint8_t key[ID_SCALAR_LEN]);
/* X25519 key that the app's environment is encrypted for, from R; public may be NULL. */
bool id_app_env_key(const uint8_t root[ID_SCALAR_LEN], const uint8_t app_id[BY_APP_ID_LEN], uint8_t key[ID_SCALAR_LEN],
		    uint8_t public[ID_X25519_LEN]);
/* The app's secp256k1 key, and K's signature that says so. */
bool id_app_k256_key(const uint8_t root_k256[ID_SCALAR_LEN], const uint8_t app_id[BY_APP_ID_LEN],
		     uint8_t key[ID_SCALAR_LEN], uint8_t signature[ID_K256_SIG_LEN]);
/* K says: this is the app's environment key. `at` NULL: the form without a time. */
bool id_app_env_signature(const uint8_t root_k256[ID_SCALAR_LEN], const uint8_t app_id[BY_APP_ID_LEN],
			  const uint8_t public[ID_X25519_LEN], const uint64_t *at, uint8_t signature[ID_K256_SIG_LEN]);
