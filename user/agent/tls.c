// SPDX-License-Identifier: Apache-2.0
/* A TLS key with its certificate chain: a fresh key each time, signed by the app's CA, with evidence when asked. */
#include <errno.h>
#include <string.h>
#include <time.h>

#include "internal.h"

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

/* A quote over the key. */
static int key_evidence(struct agent *agent, EVP_PKEY *key, struct evidence *ev, struct err *e)
{
	uint8_t spki[ID_SPKI_LEN];

	if (!id_p256_spki(key, spki) || !id_cert_report_data(spki, ev->report_data))
		return err_at(e, -EIO, "key", "can not be bound to a quote");
	return evidence_get(agent, ev, e);
}

static int app_info_of(const struct evidence *ev, struct out *out, struct err *e)
{
	struct id_app_info info;

	if (evidence_app_info(ev, &info, e) < 0)
		return err_wrap(e, "with_app_info");
	id_app_info_write(out, &info);
	return out_ok(out) ? 0 : err_at(e, -ENOMEM, "with_app_info", "out of memory");
}

/* Leaf, app CA, root. */
static json_t *chain_of(struct agent *agent, X509 *leaf)
{
	auto_free char *own = id_x509_to_pem(leaf), *app = id_x509_to_pem(agent->keys.app.x509);
	auto_free char *root = id_x509_to_pem(agent->keys.root.x509);

	return own && app && root ? json_pack("[s, s, s]", own, app, root) : NULL;
}

static int sign_here(struct agent *agent, EVP_PKEY *key, const struct id_leaf_request *request, json_t **chain,
		     struct err *e)
{
	auto_call(cleanup_x509) X509 *leaf = NULL;
	int ret = id_leaf(&agent->keys.app, key, request, &leaf, e);

	if (ret < 0)
		return ret;
	*chain = chain_of(agent, leaf);
	return *chain ? 0 : err_at(e, -ENOMEM, "key", "out of memory");
}

/* The leaf with whatever of this was asked for, and its chain. */
static int chain_make(struct agent *agent, const struct tls_request *req, EVP_PKEY *key, json_t **chain, struct err *e)
{
	auto_call(evidence_fini) struct evidence ev = { 0 };
	auto_out struct out attestation = { 0 }, app_info = { 0 };
	struct id_leaf_request request = { .app_id = agent->conf.app_id };
	bool with_evidence, with_app_info;
	int ret = request_read(req->args, &request, &with_evidence, &with_app_info, e);

	if (!ret && agent->kms_ca)
		return ag_kms_sign(agent, key, &request, with_evidence, with_app_info, chain, e);
	if (!ret && (with_evidence || with_app_info))
		ret = key_evidence(agent, key, &ev, e);
	if (!ret && with_evidence && !req->is_legacy)
		ret = evidence_attestation(&ev, true, &attestation, e);
	if (!ret && with_app_info)
		ret = app_info_of(&ev, &app_info, e);
	if (ret < 0)
		return ret;
	request.attestation = in_of(attestation.data, attestation.len);
	request.app_info = in_of(app_info.data, app_info.len);
	if (with_evidence && req->is_legacy) {
		request.quote = in_of(ev.quote, ev.quote_len);
		request.event_log = ev.event_log;
	}
	return sign_here(agent, key, &request, chain, e);
}

int ag_tls_key(struct agent *agent, const struct tls_request *req, json_t **answer, struct err *e)
{
	auto_call(cleanup_pkey) EVP_PKEY *key = req->seed ? id_key_from_scalar("prime256v1", req->seed) : id_p256_new();
	auto_free char *secret = key ? id_key_to_pem(key) : NULL;
	json_t *chain = NULL;
	int ret = secret ? chain_make(agent, req, key, &chain, e) : err_at(e, -EIO, "key", "can not be made");

	if (ret < 0)
		return ret;
	*answer = json_pack("{s:s, s:o}", "key", secret, "certificate_chain", chain);
	return *answer ? 0 : err_at(e, -ENOMEM, "key", "out of memory");
}
