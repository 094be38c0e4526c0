// SPDX-License-Identifier: Apache-2.0
/* A record by the quote of a made-up Intel's platform, judged again and again by newer collateral. */
#include "../../lib/channel.h"
#include "../../lib/intel.h"
#include "../identity/world.h"

#include <event2/event.h>
#include <openssl/pem.h>

#include "baileyd/edge_judge.h"
#include "identity/attestation.h"
#include "identity/evidence_policy.h"
#include "identity/sim.h"
#include "identity/x509.h"

#define EPOCH 7

struct body {
	uint8_t rtmr3[ID_MR_LEN], data[ID_REPORT_DATA_LEN];
};

struct edge {
	struct edge_judge judge;
	struct msg_edge_conf conf;
	struct id_claims self;
	struct event_base *base;
	struct ipc *parent; /* its end */
	struct intel_opts opts;
	struct body body;
	struct intel_made made; /* the first: its set is what is judged by */
	struct id_evidence_policy policy;
	char *cert_pem, *key_pem;
	uint8_t *record;
	size_t len;
	unsigned n_nodes, n_withdrawn, n_refused;
	struct msg_withdrawn withdrawn; /* the last */
	enum id_tcb_status status;      /* of the last node */
	int reason;                     /* of the last refusal */
};

static void body_fill(uint8_t *bytes, void *arg)
{
	const struct body *b = arg;

	memcpy(bytes + AT_RTMR0 + 3 * ID_MR_LEN, b->rtmr3, ID_MR_LEN);
	memcpy(bytes + AT_REPORT_DATA, b->data, ID_REPORT_DATA_LEN);
}

static char *key_to_pem(EVP_PKEY *key)
{
	BIO *bio = BIO_new(BIO_s_mem());
	char *text, *copy;
	long n;

	assert_int_equal(PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL), 1);
	n = BIO_get_mem_data(bio, &text);
	copy = strndup(text, (size_t)n);
	BIO_free(bio);
	return copy;
}

/* A node on a platform that is up to date. */
static void cert_make(struct edge *edge, const struct id_sim_request *who)
{
	auto_call(cleanup_pkey) EVP_PKEY *key = id_p256_new();
	auto_call(cleanup_x509) X509 *leaf = id_sim_leaf_new(who, key);
	auto_free char *log = id_sim_eventlog(who, edge->body.rtmr3);
	uint8_t spki[ID_SPKI_LEN];

	assert_non_null(leaf);
	assert_true(id_p256_spki(key, spki) && id_cert_report_data(spki, edge->body.data));
	edge->opts = intel_opts();
	edge->opts.edit_body = body_fill;
	edge->opts.arg = &edge->body;
	intel_make(&edge->opts, &edge->made);
	assert_int_equal(edge->made.refused.code, 0);
	assert_true(id_x509_add_ext(leaf, ID_EXT_QUOTE, edge->made.quote, edge->made.quote_len));
	assert_true(id_x509_add_ext(leaf, ID_EXT_EVENTLOG, log, strlen(log)));
	assert_true(X509_sign(leaf, key, EVP_sha256()) > 0);
	edge->cert_pem = id_x509_to_pem(leaf);
	edge->key_pem = key_to_pem(key);
}

static void record_make(struct edge *edge, const struct id_sim_request *who, uint64_t epoch)
{
	struct id_record r = {
		.n_addrs = 1, .epoch = epoch, .not_before = INTEL_NOW - 60, .not_after = INTEL_NOW + 60
	};
	struct err e = ERR_INIT;

	memcpy(r.app_id, who->app_id, sizeof(r.app_id));
	memcpy(r.instance_id, who->instance_id, sizeof(r.instance_id));
	strcpy(r.node, "web");
	memset(r.wg_key, 5, sizeof(r.wg_key));
	assert_true(addr_parse(&r.addrs[0], "100.64.0.9"));
	free(edge->record);
	if (id_record_sign(&r, edge->cert_pem, edge->key_pem, &edge->record, &edge->len, &e) < 0)
		fail_msg("%s: %s", e.where, e.msg);
}

static void trust_fill(struct id_trust *trust, void *arg)
{
	const struct edge *edge = arg;

	*trust = (struct id_trust){ .now = INTEL_NOW, .collaterals = edge->made.set, .policy = &edge->policy };
}

static void on_refused(const char *origin, const struct err *e, bool is_remote, void *arg)
{
	struct edge *edge = arg;

	(void)origin, (void)is_remote;
	edge->n_refused++;
	edge->reason = e->reason;
}

static void parent_takes(struct ipc_msg *msg, void *arg)
{
	struct edge *edge = arg;

	if (msg->type == MSG_EDGE_NODE) {
		edge->n_nodes++;
		edge->status = ((const struct msg_node *)ipc_as(msg, sizeof(struct msg_node)))->node.claims.tcb_status;
	} else if (msg->type == MSG_EDGE_WITHDRAWN) {
		edge->n_withdrawn++;
		edge->withdrawn = *(const struct msg_withdrawn *)ipc_as(msg, sizeof(struct msg_withdrawn));
	}
}

static int set_up(void **state)
{
	struct edge *edge = calloc(1, sizeof(*edge));
	struct id_registry_conf conf = { .n_networks = 1, .max_nodes = 8 };
	struct id_sim_request who = world_request();
	struct err e = ERR_INIT;

	*state = edge;
	id_evidence_policy_strict(&edge->policy);
	cert_make(edge, &who);
	record_make(edge, &who, EPOCH);
	assert_true(prefix_parse(&conf.networks[0], "100.64.0.0/10"));
	edge->base = event_base_new();
	edge->judge = (struct edge_judge){
		.conf = &edge->conf, .self = &edge->self, .trust = trust_fill, .refused = on_refused, .arg = edge
	};
	memset(edge->self.instance_id, 0xee, sizeof(edge->self.instance_id));
	assert_int_equal(id_registry_new(&conf, &edge->judge.registry, &e), 0);
	channel_open(edge->base, &edge->judge.parent, &edge->parent, parent_takes, edge);
	return 0;
}

static int tear_down(void **state)
{
	struct edge *edge = *state;

	ipc_free(edge->parent);
	ipc_free(edge->judge.parent);
	event_base_free(edge->base);
	id_registry_free(edge->judge.registry);
	intel_fini(&edge->made);
	free(edge->record);
	free(edge->cert_pem);
	free(edge->key_pem);
	free(edge);
	return 0;
}

static void judged(struct edge *edge, const uint8_t *bytes, size_t len)
{
	edge_judge_record(&edge->judge, bytes, len, "stored", ID_FRESH_OFF, 0);
	for (int i = 0; i < 4; i++)
		event_base_loop(edge->base, EVLOOP_NONBLOCK);
}

static size_t n_known(const struct edge *edge)
{
	return id_registry_count(edge->judge.registry);
}

static void admitted(struct edge *edge)
{
	judged(edge, edge->record, edge->len);
	assert_int_equal(edge->reason, ID_NONE);
	assert_int_equal(n_known(edge), 1);
	assert_int_equal(edge->n_nodes, 1);
	assert_int_equal(edge->status, ID_TCB_UP_TO_DATE);
}

/* A bundle of this Intel's, in the words of its TCB Info; what it says of the platform. */
static int bundle_comes(struct edge *edge, const char *evaluation, const char *status, bool is_revoked, bool is_forged)
{
	auto_call(intel_fini) struct intel_made made = { 0 };
	struct intel_opts o = edge->opts;
	struct err e = ERR_INIT;

	o.platform_status = status;
	o.pck.is_revoked = is_revoked;
	o.json_by = is_forged ? BY_STRANGER : BY_DEFAULT;
	o.tcb[0] = (struct intel_edit){ "\"tcbEvaluationDataNumber\":17", evaluation };
	intel_make(&o, &made);
	return id_collaterals_add(edge->made.set, made.bundle, strlen(made.bundle), &e);
}

#define NUMBER(n) "\"tcbEvaluationDataNumber\":" n

static void gone(struct edge *edge, unsigned times, int reason)
{
	uint8_t instance_id[BY_INSTANCE_ID_LEN], digest[32];

	judged(edge, edge->record, edge->len);
	assert_int_equal(edge->reason, reason);
	assert_int_equal(n_known(edge), 0);
	assert_int_equal(edge->n_withdrawn, times);
	assert_int_equal(edge->withdrawn.err.reason, reason);
	assert_true(id_record_peek(edge->record, edge->len, instance_id, digest));
	assert_memory_equal(edge->withdrawn.instance_id, instance_id, sizeof(instance_id));
	assert_memory_equal(edge->withdrawn.digest, digest, sizeof(digest));
}

static void a_revoked_platform_goes_at_once_and_comes_back(void **state)
{
	struct edge *edge = *state;

	admitted(edge);
	assert_int_equal(bundle_comes(edge, NUMBER("18"), "Revoked", false, false), 0);
	gone(edge, 1, ID_TCB_STATUS);
	assert_int_equal(bundle_comes(edge, NUMBER("19"), "UpToDate", false, false), 0);
	edge->reason = ID_NONE;
	judged(edge, edge->record, edge->len); /* the very record: it was never said to be older */
	assert_int_equal(edge->reason, ID_NONE);
	assert_int_equal(n_known(edge), 1);
	assert_int_equal(edge->n_nodes, 2);
	assert_int_equal(edge->n_withdrawn, 1);
}

static void so_does_one_whose_certificate_is_revoked(void **state)
{
	struct edge *edge = *state;

	admitted(edge);
	assert_int_equal(bundle_comes(edge, NUMBER("18"), "UpToDate", true, false), 0);
	gone(edge, 1, ID_CERT_REVOKED);
}

/* The status is what the policy does not admit; then the policy does, and then it does not, by a reload. */
static void and_one_that_the_policy_does_not_admit(void **state)
{
	struct edge *edge = *state;

	admitted(edge);
	assert_int_equal(bundle_comes(edge, NUMBER("18"), "OutOfDate", false, false), 0);
	gone(edge, 1, ID_TCB_STATUS);
	edge->policy.status[ID_TCB_OUT_OF_DATE].is_accepted = edge->policy.any_advisory = true;
	judged(edge, edge->record, edge->len);
	assert_int_equal(n_known(edge), 1);
	assert_int_equal(edge->status, ID_TCB_OUT_OF_DATE);
	edge->policy.status[ID_TCB_OUT_OF_DATE].is_accepted = false;
	gone(edge, 2, ID_TCB_STATUS);
}

/* A bundle that nobody at Intel signed, and one from before: the node stays. */
static void a_bad_or_an_older_bundle_changes_nothing(void **state)
{
	struct edge *edge = *state;

	admitted(edge);
	assert_true(bundle_comes(edge, NUMBER("18"), "Revoked", false, true) < 0);
	judged(edge, edge->record, edge->len);
	assert_int_equal(bundle_comes(edge, NUMBER("16"), "Revoked", true, false), 0);
	judged(edge, edge->record, edge->len);
	assert_int_equal(edge->n_refused, 0);
	assert_int_equal(edge->n_withdrawn, 0);
	assert_int_equal(n_known(edge), 1);
}

/* Bytes that name a node and do not verify are anybody's: another record of it, or the same with a bit turned. */
static void nobody_takes_another_node_out(void **state)
{
	struct edge *edge = *state;
	struct id_sim_request who = world_request();
	auto_free uint8_t *first = malloc(edge->len + 1);
	size_t first_len = edge->len;

	admitted(edge);
	memcpy(first, edge->record, first_len);
	record_make(edge, &who, EPOCH + 1); /* good, but never admitted here */
	assert_int_equal(bundle_comes(edge, NUMBER("18"), "Revoked", false, false), 0);
	judged(edge, edge->record, edge->len);
	assert_int_equal(edge->reason, ID_TCB_STATUS);
	assert_int_equal(n_known(edge), 1);
	for (size_t i = 0; i < first_len; i += 97) {
		first[i] ^= 1;
		judged(edge, first, first_len);
		first[i] ^= 1;
		assert_int_equal(n_known(edge), 1);
	}
	judged(edge, first, first_len);
	assert_int_equal(n_known(edge), 0);
}

/* This node's own addresses and key stay its own, whatever is said of its platform. */
static void the_own_record_stays(void **state)
{
	struct edge *edge = *state;
	struct id_sim_request who = world_request();

	admitted(edge);
	memcpy(edge->self.instance_id, who.instance_id, sizeof(edge->self.instance_id));
	assert_int_equal(bundle_comes(edge, NUMBER("18"), "Revoked", false, false), 0);
	judged(edge, edge->record, edge->len);
	assert_int_equal(edge->reason, ID_TCB_STATUS);
	assert_int_equal(edge->n_withdrawn, 0);
	assert_int_equal(n_known(edge), 1);
}

/* Its status by the newer bundle; refused, it is nothing that an allow rule asks for. */
static void this_node_follows_its_collateral(void **state)
{
	struct edge *edge = *state;
	struct id_claims now;

	assert_true(edge_judge_self(&edge->judge, edge->cert_pem, &now));
	edge->self = now;
	assert_int_equal(edge->self.tcb_status, ID_TCB_UP_TO_DATE);
	assert_false(edge_judge_self(&edge->judge, edge->cert_pem, &now));
	edge->policy.status[ID_TCB_OUT_OF_DATE].is_accepted = edge->policy.any_advisory = true;
	assert_int_equal(bundle_comes(edge, NUMBER("18"), "OutOfDate", false, false), 0);
	assert_true(edge_judge_self(&edge->judge, edge->cert_pem, &now));
	assert_int_equal(now.tcb_status, ID_TCB_OUT_OF_DATE);
	assert_int_equal(edge->n_refused, 0);
	assert_int_equal(bundle_comes(edge, NUMBER("19"), "Revoked", false, false), 0);
	assert_true(edge_judge_self(&edge->judge, edge->cert_pem, &now));
	assert_int_equal(now.tcb_status, ID_TCB_NONE);
	assert_memory_equal(now.app_id, edge->self.app_id, sizeof(now.app_id));
	assert_int_equal(edge->reason, ID_TCB_STATUS);
}

/* A process that was started anew knows nobody; the parent does, and is told. */
static void the_parent_hears_it_from_a_new_edge(void **state)
{
	struct edge *edge = *state;

	assert_int_equal(bundle_comes(edge, NUMBER("18"), "Revoked", false, false), 0);
	gone(edge, 1, ID_TCB_STATUS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_revoked_platform_goes_at_once_and_comes_back, set_up, tear_down),
		cmocka_unit_test_setup_teardown(so_does_one_whose_certificate_is_revoked, set_up, tear_down),
		cmocka_unit_test_setup_teardown(and_one_that_the_policy_does_not_admit, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_bad_or_an_older_bundle_changes_nothing, set_up, tear_down),
		cmocka_unit_test_setup_teardown(nobody_takes_another_node_out, set_up, tear_down),
		cmocka_unit_test_setup_teardown(the_own_record_stays, set_up, tear_down),
		cmocka_unit_test_setup_teardown(this_node_follows_its_collateral, set_up, tear_down),
		cmocka_unit_test_setup_teardown(the_parent_hears_it_from_a_new_edge, set_up, tear_down),
	};

	return cmocka_run_group_tests_name("baileyd/edge_judge", tests, intel_start, intel_stop);
}
