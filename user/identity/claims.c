// SPDX-License-Identifier: Apache-2.0
/* What quote and log prove, in the words of a policy. mr_system and mr_aggregated are dstack's sums of it. */
#include "claims.h"

#include <string.h>

#include "base/buf.h"
#include "crypto.h"

void id_claims_from_log(const struct id_log *log, struct id_claims *claims)
{
	memcpy(claims->app_id, log->app_id, sizeof(claims->app_id));
	memcpy(claims->instance_id, log->instance_id, sizeof(claims->instance_id));
	claims->has_instance_id = log->has_instance_id;
	memcpy(claims->compose_hash, log->compose_hash, sizeof(claims->compose_hash));
	memcpy(claims->os_image_hash, log->os_image_hash, sizeof(claims->os_image_hash));
	claims->has_os_image_hash = log->has_os_image_hash;
	memcpy(claims->key_provider, log->key_provider, sizeof(claims->key_provider));
}

/* SHA-256(MRTD || RTMR0..2 || SHA-256(key provider)), 32 zero bytes where there is no key provider */
static bool system_sum(const struct id_quote *quote, const struct id_log *log, uint8_t sum[ID_HASH_LEN])
{
	uint8_t all[4 * ID_MR_LEN];

	memcpy(all, quote->mrtd, ID_MR_LEN);
	memcpy(all + ID_MR_LEN, quote->rtmr, 3 * ID_MR_LEN);
	return id_hash(EVP_sha256(), sum, all, sizeof(all), log->key_provider_sha256, ID_HASH_LEN);
}

/* SHA-256(MRTD || RTMR0..3), and MRCONFIGID || MROWNER || MROWNERCONFIG behind it when one of them is set */
static bool aggregated_sum(const struct id_quote *quote, uint8_t sum[ID_HASH_LEN])
{
	uint8_t all[5 * ID_MR_LEN], host[3 * ID_MR_LEN];

	memcpy(all, quote->mrtd, ID_MR_LEN);
	memcpy(all + ID_MR_LEN, quote->rtmr, 4 * ID_MR_LEN);
	memcpy(host, quote->mr_config_id, ID_MR_LEN);
	memcpy(host + ID_MR_LEN, quote->mr_owner, ID_MR_LEN);
	memcpy(host + 2 * ID_MR_LEN, quote->mr_owner_config, ID_MR_LEN);
	return id_hash(EVP_sha256(), sum, all, sizeof(all), host,
		       bytes_are_zero(host, sizeof(host)) ? 0 : sizeof(host));
}

bool id_claims_from_quote(const struct id_quote *quote, const struct id_log *log, struct id_claims *claims)
{
	memcpy(claims->mrtd, quote->mrtd, sizeof(claims->mrtd));
	memcpy(claims->rtmr, quote->rtmr, sizeof(claims->rtmr));
	claims->td_attributes = quote->td_attributes;
	return system_sum(quote, log, claims->mr_system) && aggregated_sum(quote, claims->mr_aggregated);
}
