// SPDX-License-Identifier: Apache-2.0
#include <string.h>

#include "files.h"

/* A policy has no word for the others: what it can not name is unknown to it, which meets no requirement. */
static enum pol_tcb tcb_of(enum id_tcb_status status)
{
	switch (status) {
	case ID_TCB_UP_TO_DATE:
		return POL_TCB_UP_TO_DATE;
	case ID_TCB_SW_HARDENING:
		return POL_TCB_SW_HARDENING;
	case ID_TCB_CONFIGURATION:
		return POL_TCB_CONFIGURATION;
	case ID_TCB_CONFIGURATION_SW:
		return POL_TCB_CONFIGURATION_AND_SW_HARDENING;
	case ID_TCB_OUT_OF_DATE:
		return POL_TCB_OUT_OF_DATE;
	case ID_TCB_OUT_OF_DATE_CONFIGURATION:
		return POL_TCB_OUT_OF_DATE_CONFIGURATION;
	case ID_TCB_REVOKED:
		return POL_TCB_REVOKED;
	default:
		return POL_TCB_UNKNOWN;
	}
}

struct pol_subject evp_subject(const struct id_claims *claims)
{
	bool is_proved = claims->tee != ID_TEE_NONE, has_rtmr = is_proved && claims->tee != ID_TEE_SNP;
	struct pol_subject s = { .is_simulated = claims->is_simulated,
				 .tcb = tcb_of(claims->tcb_status),
				 .has_compose_hash = is_proved,
				 .has_os_image_hash = claims->has_os_image_hash,
				 .has_mrtd = is_proved,
				 .has_rtmr = { has_rtmr, has_rtmr, has_rtmr, has_rtmr } };

	memcpy(s.app_id, claims->app_id, sizeof(s.app_id));
	memcpy(s.instance_id, claims->instance_id, sizeof(s.instance_id));
	memcpy(s.compose_hash, claims->compose_hash, sizeof(s.compose_hash));
	memcpy(s.os_image_hash, claims->os_image_hash, sizeof(s.os_image_hash));
	memcpy(s.mrtd, claims->mrtd, sizeof(s.mrtd));
	memcpy(s.rtmr, claims->rtmr, sizeof(s.rtmr));
	memcpy(s.key_provider, claims->key_provider, sizeof(s.key_provider));
	return s;
}
