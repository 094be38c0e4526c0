/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What of verified evidence is good enough. One flat structure: it goes between processes as it is. The file that it
 * is read from: docs/evidence.md, user/evidence/.
 */
#pragma once

#include "identity/pck.h"
#include "identity/snp.h"
#include "identity/verdict.h"

#define ID_PINS_MAX       16  /* values of one register */
#define ID_HARDWARE_MAX   256 /* platforms */
#define ID_SERVICE_TD_MAX 16

enum id_register {
	ID_REG_MRTD,
	ID_REG_RTMR0,
	ID_REG_RTMR1,
	ID_REG_RTMR2,
	ID_REG_RTMR3,
	ID_REG_MRCONFIGID,
	ID_REG_MROWNER,
	ID_REG_MROWNERCONFIG,
	ID_REG_MRSEAM,
	ID_REG_COUNT,
};

const char *id_register_name(enum id_register reg); /* "mrtd", "rtmr0" */

struct id_evidence_policy {
	struct {
		bool is_accepted, has_grace;
		int64_t grace_s;       /* since the date of the TCB level */
	} status[ID_TCB_STATUS_COUNT]; /* Revoked and NotSupported are never accepted */
	bool any_advisory;             /* else those that are listed, when the status is not UpToDate */
	char advisory[ID_ADVISORIES_MAX][ID_ADVISORY_LEN];
	unsigned n_advisories;
	uint32_t min_evaluation; /* tcbEvaluationDataNumber */
	int64_t min_tcb_date;
	int64_t collateral_grace_s; /* that TCB Info, QE identity and CRLs may be used beyond their end */
	uint64_t td_attributes;     /* those that may be set beside SEPT_VE_DISABLE */
	struct {
		uint8_t value[ID_PINS_MAX][ID_MR_LEN];
		unsigned n; /* 0: not pinned */
	} pin[ID_REG_COUNT];
	bool has_hardware;                              /* the list below is to be judged by, even an empty one */
	uint8_t hardware[ID_HARDWARE_MAX][ID_PPID_LEN]; /* PPIDs and platform instance ids */
	unsigned n_hardware;
	uint8_t service_td[ID_SERVICE_TD_MAX][ID_MR_LEN]; /* MR_SERVICETD beside zero; its TDs may migrate */
	unsigned n_service_td;
	bool allow_simulated;
	struct {
		bool is_allowed; /* AMD publishes no list of good TCBs: who accepts reports has to say */
		struct id_snp_policy demand;
		uint8_t measurement[ID_PINS_MAX][ID_MR_LEN];
		uint8_t host_data[ID_PINS_MAX][ID_SNP_HOST_DATA_LEN];
		uint8_t chip[ID_HARDWARE_MAX][ID_SNP_CHIP_ID_LEN];
		unsigned n_measurements, n_host_data, n_chips; /* 0: not pinned */
	} snp;
};

/* UpToDate, nothing pinned, no service TD, nothing simulated, no SEV-SNP. */
void id_evidence_policy_strict(struct id_evidence_policy *policy);

struct id_quote;
/* Judges a body whose signature is proved. `pck` is NULL when the platform is simulated. */
void id_evidence_policy_judge(const struct id_evidence_policy *policy, const struct id_quote *q,
			      const struct id_pck *pck, int64_t now, struct id_verdict *v);
/* The same for a report of SEV-SNP. Pins of TDX must not be got around by coming as SEV-SNP: they want some here, too.
 */
void id_evidence_policy_judge_snp(const struct id_evidence_policy *policy, const struct id_snp_report *r,
				  struct id_verdict *v);
