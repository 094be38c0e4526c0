// SPDX-License-Identifier: Apache-2.0
/* A TLS key with its certificate chain: a fresh key each time, signed by the app's CA, with evidence when asked. */
#include <errno.h>
#include <string.h>
#include <time.h>

#include "internal.h"

struct evidence {
	uint8_t *quote;
	size_t quote_len;
	char *event_log;
};

static void evidence_fini(struct evidence *ev)
{
	free(ev->quote);
	free(ev->event_log);
}

static int alt_names_read(const json_t *args, struct id_leaf_request *leaf, struct err *e)
{
	const json_t *names = json_object_get(args, "alt_names"), *name;
	size_t i;

	if (!names || json_is_null(names))
		return 0;
	if (!json_is_array(names) || json_array_size(names) > ID_ISSUE_MAX_NAMES)
		return err_at(e, -EINVAL, "alt_names", "is not a list of at most %d names", ID_ISSUE_MAX_NAMES);
	json_array_foreach (names, i, name) {
		if (!json_is_string(name))
			return err_at(e, -EINVAL, "alt_names", "entry %zu is not a text", i);
		leaf->alt_name[leaf->n_alt_names++] = json_string_value(name);
	}
	return 0;
}

static int request_read(const json_t *args, struct id_leaf_request *leaf, bool *with_evidence, bool *with_app_info,
			struct err *e)
{
	bool has_before, has_after;

	leaf->not_before = ID_LEAF_NOT_BEFORE;
	leaf->not_after = time(NULL) + ID_CERT_LIFE_S;
	if (arg_text(args, "subject", &leaf->subject, e) < 0 || alt_names_read(args, leaf, e) < 0 ||
	    arg_bool(args, "usage_ra_tls", with_evidence, e) < 0 ||
	    arg_bool(args, "usage_server_auth", &leaf->for_server, e) < 0 ||
	    arg_bool(args, "usage_client_auth", &leaf->for_client, e) < 0 ||
	    arg_time(args, "not_before", &has_before, &leaf->not_before, e) < 0 ||
	    arg_time(args, "not_after", &has_after, &leaf->not_after, e) < 0 ||
	    arg_bool(args, "with_app_info", with_app_info, e) < 0)
		return e->code;
	return 0;
}

static int evidence_get(struct agent *agent, EVP_PKEY *key, struct evidence *ev, struct err *e)
{
	uint8_t spki[ID_SPKI_LEN], report_data[ID_REPORT_DATA_LEN];

	if (!id_p256_spki(key, spki) || !id_cert_report_data(spki, report_data))
		return err_at(e, -EIO, "key", "can not be bound to a quote");
	return agent->tee->ops->quote(agent->tee, report_data, &ev->quote, &ev->quote_len, &ev->event_log, e);
}

/* Leaf, app CA, root. */
static json_t *chain_of(struct agent *agent, X509 *leaf)
{
	auto_free char *own = id_x509_to_pem(leaf), *app = id_x509_to_pem(agent->keys.app.x509);
	auto_free char *root = id_x509_to_pem(agent->keys.root.x509);

	return own && app && root ? json_pack("[s, s, s]", own, app, root) : NULL;
}

int ag_tls_key(struct agent *agent, const struct tls_request *req, json_t **answer, struct err *e)
{
	auto_call(cleanup_pkey) EVP_PKEY *key = req->seed ? id_key_from_scalar("prime256v1", req->seed) : id_p256_new();
	auto_call(evidence_fini) struct evidence ev = { 0 };
	auto_call(cleanup_x509) X509 *leaf = NULL;
	struct id_leaf_request request = { .app_id = agent->conf.app_id };
	bool with_evidence, with_app_info;
	auto_free char *secret = key ? id_key_to_pem(key) : NULL;
	int ret = request_read(req->args, &request, &with_evidence, &with_app_info, e);

	if (ret < 0)
		return ret;
	if (!secret)
		return err_at(e, -EIO, "key", "can not be made");
	if (with_app_info)
		return err_at(e, -EOPNOTSUPP, "with_app_info", "is not supported by this agent");
	if (with_evidence)
		ret = evidence_get(agent, key, &ev, e);
	request.quote = ev.quote;
	request.quote_len = ev.quote_len;
	request.event_log = ev.event_log;
	if (!ret)
		ret = id_leaf(&agent->keys.app, key, &request, &leaf, e);
	if (ret < 0)
		return ret;
	*answer = json_pack("{s:s, s:o}", "key", secret, "certificate_chain", chain_of(agent, leaf));
	return *answer ? 0 : err_at(e, -ENOMEM, "key", "out of memory");
}
