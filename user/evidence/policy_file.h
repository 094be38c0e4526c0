/* SPDX-License-Identifier: Apache-2.0 */
/* The evidence policy in YAML: docs/evidence.md. Room prefix evp_. */
#pragma once

#include "identity/evidence_policy.h"
#include "policy/diag.h"

#define EVP_FILE_MAX (256 * 1024)

/* What a file leaves out stays as in the strict policy. 0, or -EINVAL with every problem, located, in `d`. */
int evp_parse(const char *file, const char *text, size_t len, struct id_evidence_policy *policy, struct diags *d);
/* Reads the file, too; the first problem as an err. */
int evp_load(const char *path, struct id_evidence_policy *policy, struct err *e);
