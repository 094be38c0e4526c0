/* SPDX-License-Identifier: Apache-2.0 */
/* The SGX extension of a PCK certificate, 1.2.840.113741.1.13.1: which platform it is and how far it is patched. */
#pragma once

#include "base/buf.h"
#include "identity/identity.h"

#define ID_FMSPC_LEN      6
#define ID_PPID_LEN       16
#define ID_TCB_COMPONENTS 16

struct id_pck {
	uint8_t ppid[ID_PPID_LEN];
	uint8_t svn[ID_TCB_COMPONENTS]; /* SGX TCB component SVNs, .2.1 to .2.16 */
	uint16_t pce_svn;
	uint8_t cpu_svn[16]; /* raw; never compared */
	uint8_t pce_id[2];
	uint8_t fmspc[ID_FMSPC_LEN];
	uint8_t sgx_type; /* 0 standard, 1 scalable, 2 scalable with integrity */
	bool has_instance;
	uint8_t instance[16];       /* of the platform; Platform CA only */
	bool has_flags[3], flag[3]; /* dynamic platform, cached keys, SMT enabled */
};

/* `ext` is the extension's value. NULL, or what is wrong. */
const char *id_pck_parse(struct in ext, struct id_pck *pck);
