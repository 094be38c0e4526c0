// SPDX-License-Identifier: Apache-2.0
#include <string.h>

#include "files.h"

/* No evidence that is verified today says a TCB status: it stays unknown, which meets no requirement. */
struct pol_subject evp_subject(const struct id_claims *claims)
{
	bool is_proved = claims->tee != ID_TEE_NONE;
	struct pol_subject s = { .is_simulated = claims->is_simulated,
				 .has_compose_hash = is_proved,
				 .has_os_image_hash = claims->has_os_image_hash,
				 .has_mrtd = is_proved,
				 .has_rtmr = { is_proved, is_proved, is_proved, is_proved } };

	memcpy(s.app_id, claims->app_id, sizeof(s.app_id));
	memcpy(s.instance_id, claims->instance_id, sizeof(s.instance_id));
	memcpy(s.compose_hash, claims->compose_hash, sizeof(s.compose_hash));
	memcpy(s.os_image_hash, claims->os_image_hash, sizeof(s.os_image_hash));
	memcpy(s.mrtd, claims->mrtd, sizeof(s.mrtd));
	memcpy(s.rtmr, claims->rtmr, sizeof(s.rtmr));
	memcpy(s.key_provider, claims->key_provider, sizeof(s.key_provider));
	return s;
}
