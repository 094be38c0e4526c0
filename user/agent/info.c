// SPDX-License-Identifier: Apache-2.0
/* What the agent says of its machine: measurements out of a quote of its own, and what dstack derives from them. */
#include <errno.h>
#include <string.h>

#include "identity/claims.h"
#include "internal.h"

#define WHERE "info"

/* dstack hashes the PPID, which the agent does not know: the hash of nothing then, as it says itself. */
static json_t *device_id(void)
{
	uint8_t hash[ID_HASH_LEN];

	return id_hash(EVP_sha256(), hash, "", 0, NULL, 0) ? json_hex(hash, sizeof(hash)) : NULL;
}

static json_t *tcb_info(const struct agent *agent, const struct id_quote *q, const char *event_log,
			const uint8_t aggregated[ID_HASH_LEN])
{
	json_t *log = json_loads(event_log, 0, NULL);

	return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:s, s:o, s:o, s:o, s:s}", "mrtd",
			 json_hex(q->mrtd, ID_MR_LEN), "rtmr0", json_hex(q->rtmr[0], ID_MR_LEN), "rtmr1",
			 json_hex(q->rtmr[1], ID_MR_LEN), "rtmr2", json_hex(q->rtmr[2], ID_MR_LEN), "rtmr3",
			 json_hex(q->rtmr[3], ID_MR_LEN), "mr_aggregated", json_hex(aggregated, ID_HASH_LEN),
			 "os_image_hash", "", "compose_hash", json_hex(agent->conf.compose_hash, ID_HASH_LEN),
			 "device_id", device_id(), "event_log", log ? log : json_array(), "app_compose",
			 agent->compose);
}

/* The value of "name" in app-compose.json. */
static const char *app_name(const json_t *compose)
{
	const char *name = json_string_value(json_object_get(compose, "name"));

	return name ? name : "";
}

static int answer_make(struct agent *agent, const struct id_quote *q, const char *event_log, json_t **answer,
		       struct err *e)
{
	struct tls_request cert = { .args = NULL };
	auto_json json_t *args =
		json_pack("{s:s, s:b, s:b}", "subject", "demo-cert", "usage_ra_tls", 1, "usage_server_auth", 1);
	auto_json json_t *tls = NULL, *tcb = NULL, *compose = json_loads(agent->compose, 0, NULL);
	const struct id_log none = { 0 }; /* mr_aggregated is of the registers alone */
	auto_free char *tcb_text = NULL;
	struct id_claims claims;
	int ret;

	if (!args || !id_claims_from_quote(q, &none, &claims))
		return err_at(e, -ENOMEM, WHERE, "out of memory");
	cert.args = args;
	ret = ag_tls_key(agent, &cert, &tls, e);
	if (ret < 0)
		return ret;
	tcb = tcb_info(agent, q, event_log, claims.mr_aggregated);
	tcb_text = tcb ? json_dumps(tcb, JSON_INDENT(2)) : NULL;
	*answer = tcb_text ? json_pack("{s:o, s:o, s:s, s:s, s:s, s:o, s:o, s:s, s:s, s:o, s:s, s:s, s:s}", "app_id",
				       json_hex(agent->conf.app_id, BY_APP_ID_LEN), "instance_id",
				       json_hex(agent->conf.instance_id, BY_INSTANCE_ID_LEN), "app_cert",
				       json_string_value(json_array_get(json_object_get(tls, "certificate_chain"), 0)),
				       "tcb_info", tcb_text, "app_name", app_name(compose), "device_id", device_id(),
				       "mr_aggregated", json_hex(claims.mr_aggregated, ID_HASH_LEN), "os_image_hash",
				       "", "key_provider_info", "{\"name\":\"none\",\"id\":\"\"}", "compose_hash",
				       json_hex(agent->conf.compose_hash, ID_HASH_LEN), "vm_config", "", "cloud_vendor",
				       "", "cloud_product", "")
			   : NULL;
	return *answer ? 0 : err_at(e, -ENOMEM, WHERE, "out of memory");
}

int ag_info(struct agent *agent, json_t **answer, struct err *e)
{
	auto_call(evidence_fini) struct evidence ev = { 0 };
	struct id_quote q;
	int ret = evidence_get(agent, &ev, e);

	if (!ret)
		ret = id_quote_parse(ev.quote, ev.quote_len, &q, e);
	return ret < 0 ? ret : answer_make(agent, &q, ev.event_log, answer, e);
}
