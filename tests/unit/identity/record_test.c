// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <time.h>

#include "identity/record.h"
#include "world.h"

static char *cert_pem, *key_pem;

static int start(void **state)
{
	struct id_sim_request req = world_request();
	struct err e = ERR_INIT;

	return world_new(state) < 0 || id_sim_issue(&world_root, &req, &cert_pem, &key_pem, &e) < 0 ? -1 : 0;
}

static int stop(void **state)
{
	free(cert_pem);
	free(key_pem);
	return world_free(state);
}

static struct id_record good(void)
{
	struct id_sim_request req = world_request();
	struct id_record r = { .node = "web-1", .epoch = 7, .not_before = NOW, .not_after = NOW + DAY };

	memcpy(r.app_id, req.app_id, sizeof(r.app_id));
	memcpy(r.instance_id, req.instance_id, sizeof(r.instance_id));
	memset(r.wg_key, 0x77, sizeof(r.wg_key));
	assert_true(addr_parse(&r.addrs[0], "100.64.0.2"));
	r.n_addrs = 1;
	assert_true(endpoint_parse(&r.endpoints[0], "192.0.2.7:51820"));
	r.n_endpoints = 1;
	return r;
}

static uint8_t *sign(const struct id_record *r, size_t *len)
{
	struct err e = ERR_INIT;
	uint8_t *bytes;

	assert_int_equal(id_record_sign(r, cert_pem, key_pem, &bytes, len, &e), 0);
	return bytes;
}

static void refused_at(const uint8_t *bytes, size_t len, int64_t now, const char *reason)
{
	struct id_trust trust = world_trust;
	struct id_node node, before;
	struct err e = ERR_INIT;

	trust.now = now;
	memset(&node, 0x5a, sizeof(node));
	before = node;
	assert_int_equal(id_record_verify(bytes, len, &trust, &node, &e), -EBADMSG);
	assert_string_equal(id_reason_name(e.reason), reason);
	assert_memory_equal(&node, &before, sizeof(node));
}

static void refused_record(const struct id_record *r, const char *reason)
{
	size_t len;
	auto_free uint8_t *bytes = sign(r, &len);

	refused_at(bytes, len, NOW, reason);
}

static void accepts_what_the_certificate_key_signed(void **state)
{
	struct id_record r = good();
	size_t len;
	auto_free uint8_t *bytes = sign(&r, &len);
	uint8_t digest[32];
	struct id_node node;
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(id_record_verify(bytes, len, &world_trust, &node, &e), 0);
	assert_string_equal(node.record.node, "web-1");
	assert_memory_equal(node.record.wg_key, r.wg_key, sizeof(r.wg_key));
	assert_memory_equal(node.claims.app_id, r.app_id, sizeof(r.app_id));
	assert_true(node.claims.is_simulated);
	assert_true(id_hash(EVP_sha256(), digest, bytes, len, NULL, 0));
	assert_memory_equal(node.digest, digest, sizeof(digest));
}

static void a_chain_gives_its_leaf(void **state)
{
	struct id_record r = good();
	auto_free char *chain = malloc(strlen(cert_pem) + strlen(world_root.root_cert) + 1);
	auto_free uint8_t *bytes = NULL;
	struct id_node node;
	struct err e = ERR_INIT;
	size_t len;

	(void)state;
	sprintf(chain, "%s%s", cert_pem, world_root.root_cert);
	assert_int_equal(id_record_sign(&r, chain, key_pem, &bytes, &len, &e), 0);
	assert_int_equal(id_record_verify(bytes, len, &world_trust, &node, &e), 0);
}

static void signs_only_with_the_certificates_key(void **state)
{
	struct id_record r = good(), bad = good();
	uint8_t *bytes = NULL;
	struct err e = ERR_INIT;
	size_t len;

	(void)state;
	assert_int_equal(id_record_sign(&r, cert_pem, world_root.pck_key, &bytes, &len, &e), -EINVAL);
	e = ERR_INIT;
	assert_int_equal(id_record_sign(&r, cert_pem, "", &bytes, &len, &e), -EINVAL);
	e = ERR_INIT;
	assert_int_equal(id_record_sign(&r, "", key_pem, &bytes, &len, &e), -EINVAL);
	bad.n_addrs = 0;
	e = ERR_INIT;
	assert_int_equal(id_record_sign(&bad, cert_pem, key_pem, &bytes, &len, &e), -EBADMSG);
	assert_null(bytes);
}

static void record_malformed(void **state)
{
	struct id_record r = good();
	size_t len;
	auto_free uint8_t *bytes = sign(&r, &len);
	auto_free uint8_t *longer = malloc(len + 1);
	auto_free uint8_t *huge = calloc(1, ID_RECORD_MAX + 1);

	(void)state;
	for (size_t cut = 0; cut < len; cut++) {
		auto_free uint8_t *part = malloc(cut + 1);

		memcpy(part, bytes, cut);
		refused_at(part, cut, NOW, "RECORD_MALFORMED");
	}
	memcpy(longer, bytes, len);
	longer[len] = '\n'; /* no white space, not even here */
	refused_at(longer, len + 1, NOW, "RECORD_MALFORMED");
	refused_at(huge, ID_RECORD_MAX + 1, NOW, "RECORD_MALFORMED");
}

/* Same parts, other envelope. */
static void outer_form_is_canonical(void **state)
{
	static const struct {
		const char *from, *to;
	} c[] = {
		{ "{\"bailey_record\":1", "{\"bailey_record\": 1" },
		{ "{\"bailey_record\":1", "{\"bailey_record\":2" },
		{ "{\"bailey_record\":1", "{\"a\":0,\"bailey_record\":1" },
		{ "{\"bailey_record\":1", "{\"bailey_record\":1,\"bailey_record\":1" },
		{ "\"cert\":\"MII", "\"cert\":\"\\u004dII" },
		{ "\"cert\":\"MII", "\"cert\":\"M II" },
	};
	struct id_record r = good();
	size_t len;
	auto_free uint8_t *bytes = sign(&r, &len);
	auto_free char *text = malloc(len + 64);

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(c); i++) {
		const char *at = strstr((char *)bytes, c[i].from);
		int n;

		assert_non_null(at);
		n = snprintf(text, len + 64, "%.*s%s%s", (int)(at - (char *)bytes), (char *)bytes, c[i].to,
			     at + strlen(c[i].from));
		refused_at((uint8_t *)text, (size_t)n, NOW, "RECORD_MALFORMED");
	}
}

static void envelope_of(const uint8_t *bytes, size_t len, struct id_envelope *envelope)
{
	struct err e = ERR_INIT;

	assert_int_equal(id_envelope_read(bytes, len, envelope, &e), 0);
}

static void refused_envelope(const struct id_envelope *envelope, const char *reason)
{
	auto_free uint8_t *bytes = NULL;
	struct err e = ERR_INIT;
	size_t len;

	assert_int_equal(id_envelope_write(envelope, &bytes, &len, &e), 0);
	refused_at(bytes, len, NOW, reason);
}

/* What a control plane could try with a record that it passes on. */
static void record_signature(void **state)
{
	struct id_record r = good(), edited;
	size_t len;
	auto_free uint8_t *bytes = sign(&r, &len);
	auto_call(id_envelope_fini) struct id_envelope envelope = { 0 };
	struct err e = ERR_INIT;

	(void)state;
	envelope_of(bytes, len, &envelope);
	edited = r;
	edited.wg_key[0] ^= 1; /* its own WireGuard key in the place of the node's */
	assert_int_equal(id_payload_write(&edited, envelope.cert_sha256, envelope.payload, &envelope.payload_len, &e),
			 0);
	refused_envelope(&envelope, "RECORD_SIGNATURE");
	edited = r;
	edited.not_after += 1;
	assert_int_equal(id_payload_write(&edited, envelope.cert_sha256, envelope.payload, &envelope.payload_len, &e),
			 0);
	refused_envelope(&envelope, "RECORD_SIGNATURE");
}

static void another_certificate_does_not_fit(void **state)
{
	struct id_sim_request req = world_request();
	struct id_record r = good();
	size_t len;
	auto_free uint8_t *bytes = sign(&r, &len);
	auto_free char *other = NULL, *other_key = NULL;
	auto_call(id_envelope_fini) struct id_envelope envelope = { 0 };
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(id_sim_issue(&world_root, &req, &other, &other_key, &e), 0);
	envelope_of(bytes, len, &envelope);
	free(envelope.cert);
	envelope.cert = pem_to_der(other, &envelope.cert_len);
	refused_envelope(&envelope, "RECORD_SIGNATURE");
}

/* (r, n - s) verifies as well, but would be a second text of the same record. */
static void a_signature_has_no_twin(void **state)
{
	struct id_record r = good();
	size_t len;
	auto_free uint8_t *bytes = sign(&r, &len);
	auto_call(id_envelope_fini) struct id_envelope envelope = { 0 };
	auto_call(cleanup_pkey) EVP_PKEY *key = id_p256_from_pem(key_pem);
	uint8_t message[sizeof(ID_RECORD_TAG) + ID_RECORD_PAYLOAD_MAX];

	(void)state;
	envelope_of(bytes, len, &envelope);
	memcpy(message, ID_RECORD_TAG, sizeof(ID_RECORD_TAG));
	memcpy(message + sizeof(ID_RECORD_TAG), envelope.payload, envelope.payload_len);
	do
		assert_true(id_ecdsa_sign(key, envelope.sig, &envelope.sig_len, message,
					  sizeof(ID_RECORD_TAG) + envelope.payload_len));
	while (id_ecdsa_is_low(envelope.sig, envelope.sig_len));
	refused_envelope(&envelope, "RECORD_SIGNATURE");
	envelope.sig_len = 0;
	refused_envelope(&envelope, "RECORD_SIGNATURE");
}

static void record_validity(void **state)
{
	struct id_record r = good(), longer = good(), early = good();
	size_t len;
	auto_free uint8_t *bytes = sign(&r, &len);

	(void)state;
	refused_at(bytes, len, NOW - 1, "RECORD_VALIDITY");
	refused_at(bytes, len, NOW + DAY + 1, "RECORD_VALIDITY");
	longer.not_after = longer.not_before + ID_RECORD_LIFE_MAX_S + 1;
	refused_record(&longer, "RECORD_VALIDITY");
	early.not_before = NOW - DAY - 1; /* before the certificate's own beginning */
	refused_record(&early, "RECORD_VALIDITY");
}

static void record_ends_with_its_certificate(void **state)
{
	struct id_sim_request req = world_request();
	auto_free char *cert = NULL, *key = NULL;
	auto_free uint8_t *bytes = NULL;
	struct id_record r = good();
	struct err e = ERR_INIT;
	size_t len;

	(void)state;
	req.not_after = r.not_after - 1;
	assert_int_equal(id_sim_issue(&world_root, &req, &cert, &key, &e), 0);
	assert_int_equal(id_record_sign(&r, cert, key, &bytes, &len, &e), 0);
	refused_at(bytes, len, NOW, "RECORD_VALIDITY");
	refused_at(bytes, len, req.not_after + 1, "CERT_VALIDITY");
}

static void record_identity(void **state)
{
	struct id_record app = good(), instance = good();

	(void)state;
	app.app_id[0] ^= 1;
	refused_record(&app, "RECORD_IDENTITY");
	instance.instance_id[19] ^= 1;
	refused_record(&instance, "RECORD_IDENTITY");
}

static void record_needs_an_instance_id(void **state)
{
	struct id_sim_request req = world_request();
	auto_free char *cert = NULL, *key = NULL;
	auto_free uint8_t *bytes = NULL;
	struct id_record r = good();
	struct err e = ERR_INIT;
	size_t len;

	(void)state;
	memset(req.instance_id, 0, sizeof(req.instance_id));
	memset(r.instance_id, 0, sizeof(r.instance_id));
	assert_int_equal(id_sim_issue(&world_root, &req, &cert, &key, &e), 0);
	assert_int_equal(id_record_sign(&r, cert, key, &bytes, &len, &e), 0);
	refused_at(bytes, len, NOW, "RECORD_IDENTITY");
}

static void certificate_reasons_come_through(void **state)
{
	struct id_record r = good();
	size_t len;
	auto_free uint8_t *bytes = sign(&r, &len);
	struct id_trust trust = world_trust;
	struct id_node node;
	struct err e = ERR_INIT;

	(void)state;
	trust.allow_simulated = false;
	assert_int_equal(id_record_verify(bytes, len, &trust, &node, &e), -EBADMSG);
	assert_reason(e, QUOTE_SIMULATED);
}

/* Bits at random places from a fixed seed, and each bit of the first and last 300 bytes. */
static void no_flipped_bit_is_accepted(void **state)
{
	struct id_record r = good();
	size_t len, flips = 0;
	auto_free uint8_t *bytes = sign(&r, &len);
	uint64_t seed = 0x5eed;

	(void)state;
	for (size_t i = 0; i < 8 * 600 + 3000; i++) {
		size_t bit = i < 2400 ? i : i < 4800 ? 8 * len - 1 - (i - 2400) : (seed >> 16) % (8 * len);
		struct id_node node;
		struct err e = ERR_INIT;

		seed = seed * 6364136223846793005u + 1442695040888963407u;
		bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
		assert_int_equal(id_record_verify(bytes, len, &world_trust, &node, &e), -EBADMSG);
		assert_true(e.reason > ID_NONE && e.reason < ID_REASON_COUNT);
		bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
		flips++;
	}
	print_message("# %zu flips of %zu bytes, none accepted\n", flips, len);
}

static void verifying_is_cheap(void **state)
{
	struct id_record r = good();
	size_t len, der_len;
	auto_free uint8_t *bytes = sign(&r, &len);
	auto_free uint8_t *der = pem_to_der(cert_pem, &der_len);
	struct timespec t[3];
	struct id_claims claims;
	struct id_node node;
	struct err e = ERR_INIT;

	(void)state;
	clock_gettime(CLOCK_MONOTONIC, &t[0]);
	for (int i = 0; i < 100; i++)
		assert_int_equal(id_cert_verify(der, der_len, &world_trust, &claims, &e), 0);
	clock_gettime(CLOCK_MONOTONIC, &t[1]);
	for (int i = 0; i < 100; i++)
		assert_int_equal(id_record_verify(bytes, len, &world_trust, &node, &e), 0);
	clock_gettime(CLOCK_MONOTONIC, &t[2]);
	print_message("# id_cert_verify %.0f us (%zu bytes), id_record_verify %.0f us (%zu bytes)\n",
		      (double)(t[1].tv_sec - t[0].tv_sec) * 1e4 + (double)(t[1].tv_nsec - t[0].tv_nsec) / 1e5, der_len,
		      (double)(t[2].tv_sec - t[1].tv_sec) * 1e4 + (double)(t[2].tv_nsec - t[1].tv_nsec) / 1e5, len);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(accepts_what_the_certificate_key_signed),
		cmocka_unit_test(a_chain_gives_its_leaf),
		cmocka_unit_test(signs_only_with_the_certificates_key),
		cmocka_unit_test(record_malformed),
		cmocka_unit_test(outer_form_is_canonical),
		cmocka_unit_test(record_signature),
		cmocka_unit_test(another_certificate_does_not_fit),
		cmocka_unit_test(a_signature_has_no_twin),
		cmocka_unit_test(record_validity),
		cmocka_unit_test(record_ends_with_its_certificate),
		cmocka_unit_test(record_identity),
		cmocka_unit_test(record_needs_an_instance_id),
		cmocka_unit_test(certificate_reasons_come_through),
		cmocka_unit_test(no_flipped_bit_is_accepted),
		cmocka_unit_test(verifying_is_cheap),
	};

	return cmocka_run_group_tests_name("identity/record", tests, start, stop);
}
