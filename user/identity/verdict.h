/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What came out of judging a quote or a report: everything that is wrong with it, not only the first thing. A zeroed
 * verdict accepts nothing.
 */
#pragma once

#include "identity/identity.h"

#define ID_FINDINGS_MAX   32
#define ID_FINDING_TEXT   192
#define ID_ADVISORIES_MAX 64
#define ID_ADVISORY_LEN   32

struct id_finding {
	enum id_reason reason;
	char text[ID_FINDING_TEXT]; /* what was found, what was needed */
};

struct id_verdict {
	bool is_accepted;
	enum id_tee tee; /* ID_TEE_NONE: no signature chain proves the body, so nothing of it is told */
	enum id_tcb_status tcb_status;
	struct id_finding finding[ID_FINDINGS_MAX]; /* each reason once */
	unsigned n_findings;
	char advisory[ID_ADVISORIES_MAX][ID_ADVISORY_LEN]; /* sorted */
	unsigned n_advisories;
	int64_t tcb_date;         /* the earliest of the TCB levels that count; 0: none */
	int64_t collateral_until; /* when the first part of the collateral ends; 0: none was used */
	int64_t good_until;       /* when it must be judged anew: collateral, PCK chain or a grace ends; 0: as above */
	uint32_t evaluation;      /* the lower tcbEvaluationDataNumber of the two documents */
};

/* Adds a finding, unless the reason is there already. */
void id_verdict_add(struct id_verdict *v, enum id_reason reason, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
bool id_verdict_has(const struct id_verdict *v, enum id_reason reason);
/* Keeps the list sorted and free of repetitions; false when it is full. */
bool id_verdict_advise(struct id_verdict *v, const char *advisory, size_t len);
/* The finding as operators and programs name it: "td-debug", "tcb-OutOfDate". */
const char *id_verdict_word(const struct id_verdict *v, const struct id_finding *finding, char buf[static 64]);
/* 0 when accepted; else the first finding as an err. */
int id_verdict_err(const struct id_verdict *v, const char *where, struct err *e);
