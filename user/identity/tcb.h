/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How far a platform is patched: TCB Info (version 3, TDX), QE identity (version 2, TD_QE), and Intel's rules that turn
 * them and a quote's security version numbers into one status.
 */
#pragma once

#include "identity/identity.h"
#include "identity/js.h"
#include "identity/pck.h"
#include "identity/verdict.h"

#define ID_TCB_LEVELS_MAX 64
#define ID_MODULES_MAX    16
#define ID_MODULE_SVN_MAX 32 /* levels of one module, or of the QE */
#define ID_TCB_JSON_MAX   65536

struct id_tcb_level {
	uint8_t sgx[ID_TCB_COMPONENTS], tdx[ID_TCB_COMPONENTS];
	uint16_t svn; /* PCESVN of a platform's level, isvsvn of a module's or the QE's */
	enum id_tcb_status status;
	int64_t date;
	int advisories; /* array in the JSON; -1: none */
};

struct id_tcb_levels { /* highest first */
	struct id_tcb_level *at;
	size_t n;
};

struct id_tdx_module {
	uint8_t major; /* of "TDX_%02x"; TEE_TCB_SVN[1] */
	uint8_t mr_signer[ID_MR_LEN], attributes[8], mask[8];
	struct id_tcb_levels levels; /* none for the module of major 0 */
};

struct id_tcb_info {
	int64_t issued, next_update;
	uint32_t evaluation; /* tcbEvaluationDataNumber */
	uint8_t fmspc[ID_FMSPC_LEN], pce_id[2];
	struct id_tdx_module module[1 + ID_MODULES_MAX]; /* [0]: tdxModule */
	size_t n_modules;
	struct id_tcb_levels levels;
	struct id_js js;
};

struct id_qe_identity {
	int64_t issued, next_update;
	uint32_t evaluation;
	uint8_t miscselect[4], miscselect_mask[4], attributes[16], attributes_mask[16], mr_signer[32];
	uint16_t product;
	struct id_tcb_levels levels;
	struct id_js js;
};

/* The text must outlive what is read from it. On refusal (COLLATERAL_MALFORMED, COLLATERAL_KIND) nothing is owned. */
int id_tcb_info_parse(const char *text, size_t len, struct id_tcb_info *info, struct err *e);
void id_tcb_info_fini(struct id_tcb_info *info);
int id_qe_identity_parse(const char *text, size_t len, struct id_qe_identity *qe, struct err *e);
void id_qe_identity_fini(struct id_qe_identity *qe);

/* First level whose svn is not above `svn`; NULL: not supported. */
const struct id_tcb_level *id_tcb_svn_level(const struct id_tcb_levels *levels, uint16_t svn);
/* First level that PCK and TEE_TCB_SVN reach. Components 0 and 1 are the module's when TEE_TCB_SVN[1] is not 0. */
const struct id_tcb_level *id_tcb_platform_level(const struct id_tcb_levels *levels, const struct id_pck *pck,
						 const uint8_t tee_tcb_svn[16]);
const struct id_tdx_module *id_tcb_module(const struct id_tcb_info *info, uint8_t major);

/* The platform's status after that of a part of it (TDX module, QE): Intel's convergence. */
enum id_tcb_status id_tcb_converge(enum id_tcb_status platform, enum id_tcb_status part);
/* TD report 1.5: status at the launch of the TD, and with the module that runs now. */
enum id_tcb_status id_tcb_relaunch(enum id_tcb_status launch, enum id_tcb_status current);
