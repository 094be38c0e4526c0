/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Collateral from Intel's Provisioning Certification Service or a cache of it (PCCS), version 4 of both interfaces.
 * What comes is put together to the bundle of docs/evidence.md as it is; whoever uses it verifies it. Room prefix pcs_.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define PCS_INTEL    "https://api.trustedservices.intel.com"
#define PCS_ROOT_CRL "https://certificates.trustedservices.intel.com/IntelSGXRootCA.der"

#define PCS_FMSPC_LEN 6

struct pcs_request {
	const char *url;      /* without a path: "https://pccs.example:8081" */
	const char *root_crl; /* NULL: Intel's where `url` is Intel's, else the cache's own */
	const char *ca_file;  /* PEM of whoever vouches for a cache's TLS certificate; NULL: the system's */
	uint8_t fmspc[PCS_FMSPC_LEN];
	bool is_processor_ca; /* the PCK comes from the Processor CA; else from the Platform CA */
	bool is_early;        /* the newest evaluation data, before it is the default */
	long timeout_s;       /* of each of the four requests */
};

/* *bundle is malloc'ed text. */
int pcs_fetch(const struct pcs_request *req, char **bundle, size_t *len, struct err *e);
