// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <jansson.h>

#include "identity/quote_tdx.h"
#include "world.h"

#define APP     "5bb4ff9a3837357f19dc176407a5709c62eb6c56"
#define COMPOSE "c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0"

#define EV(name, payload)                                                                                              \
	"{\"imr\":3,\"event_type\":134217729,\"digest\":\"\",\"event\":\"" name "\",\"event_payload\":\"" payload "\"" \
	"}"
#define EV2(name, payload, more)                                                                                       \
	"{\"imr\":3,\"event_type\":134217729,\"digest\":\"\",\"event\":\"" name "\",\"event_payload\":\"" payload      \
	"\",\"version\":2" more "}"
#define BASE  EV("system-preparing", "") "," EV("app-id", APP) "," EV("compose-hash", COMPOSE)
#define READY EV("system-ready", "")
/* {"name":"app-id","payload":"5bb4...","type":134217729} in hex, with and without a blank */
#define PREIMAGE_OF(blank)                                                                                             \
	",\"preimage\":\"7b226e616d65223a" blank "226170702d6964222c227061796c6f6164223a22"                            \
	"35626234666639613338333733353766313964633137363430376135373039633632656236633536"                             \
	"222c2274797065223a3133343231373732397d\""
#define PREIMAGE     PREIMAGE_OF("")
#define KEY_PROVIDER "7b226e616d65223a226e6f6e65222c226964223a22227d" /* {"name":"none","id":""} */

static int read_log(const char *json, struct id_log *log, struct err *e)
{
	*e = ERR_INIT;
	return id_eventlog_read(json, strlen(json), NULL, log, e);
}

static bool digest_of(unsigned version, const char *name, const void *payload, size_t len, uint8_t digest[ID_MR_LEN])
{
	return id_event_digest(version, in_of(name, strlen(name)), in_of(payload, len), digest);
}

static void hex_is(const uint8_t *bytes, size_t len, const char *hex)
{
	char text[2 * ID_MR_LEN + 1];

	hex_print(text, bytes, len);
	assert_string_equal(text, hex);
}

/* Vectors that equal the stored digests of dstack's own fixture (version 1) or follow its text (version 2). */
static void digests_are_those_of_dstack(void **state)
{
	uint8_t app[BY_APP_ID_LEN], digest[ID_MR_LEN], mr[ID_MR_LEN] = { 0 };

	(void)state;
	assert_true(hex_parse(app, sizeof(app), APP));
	assert_true(digest_of(1, "system-preparing", "", 0, digest));
	hex_is(digest, sizeof(digest),
	       "f9974020ef507068183313d0ca808e0d1ca9b2d1ad0c61f5784e7157c362c065"
	       "36f5ddacdad4451693f48fcc72fff624");
	assert_true(id_rtmr_extend(mr, digest));
	assert_true(digest_of(1, "app-id", app, sizeof(app), digest));
	hex_is(digest, sizeof(digest),
	       "ddd202447c612b8bb8723d2ce3b9882b7cfc0ede203c36b15639cc80b181b61a"
	       "7692850c5333a1c6effef82a73d0a4f2");
	assert_true(id_rtmr_extend(mr, digest));
	hex_is(mr, sizeof(mr),
	       "38a080724e4eb976f7bc89b05c80b32300c7a307e3813457c76327e61d9ffd5e"
	       "7f3f60574871b494b5ae5a08b0cc27b0");
	assert_true(digest_of(2, "system-preparing", "", 0, digest));
	hex_is(digest, sizeof(digest),
	       "918e390aef67de4520d37d7e046dd222038e0a8385825072383ab194543ffa30"
	       "46a9a48fdabbc16e6ba9ff24249ba88f");
	assert_true(digest_of(2, "app-id", app, sizeof(app), digest));
	hex_is(digest, sizeof(digest),
	       "f47c886443745c881b9b56ff908516c83817f25ca9187bfa4e972959281128e3"
	       "220d47ce057e580e30eb57bfdc04d69a");
}

static void reads_the_identity(void **state)
{
	struct id_log log;
	struct err e;

	(void)state;
	assert_int_equal(read_log("[" BASE "," EV("instance-id", APP) "," EV("os-image-hash", COMPOSE) "," EV(
					  "key-provider", KEY_PROVIDER) "," READY "]",
				  &log, &e),
			 0);
	hex_is(log.app_id, sizeof(log.app_id), APP);
	hex_is(log.instance_id, sizeof(log.instance_id), APP);
	hex_is(log.compose_hash, sizeof(log.compose_hash), COMPOSE);
	assert_true(log.has_instance_id && log.has_os_image_hash);
	assert_string_equal(log.key_provider, "none");
	assert_int_equal(log.n_events[3], 7);
	assert_int_equal(read_log("[" BASE "," EV("instance-id", "") "," READY "]", &log, &e), 0);
	assert_false(log.has_instance_id || log.has_os_image_hash || log.key_provider[0]);
}

static void events_after_system_ready_are_the_applications(void **state)
{
	struct id_log log;
	struct err e;

	(void)state;
	assert_int_equal(read_log("[" BASE "," READY "," EV("app-id", "00") "," EV("compose-hash", APP) "," EV(
					  "instance-id", APP) "," EV("key-provider", "00") "]",
				  &log, &e),
			 0);
	hex_is(log.app_id, sizeof(log.app_id), APP);
	assert_false(log.has_instance_id);
	assert_int_equal(log.n_events[3], 8);
	/* an identity that comes only after it is none */
	assert_int_equal(read_log("[" READY "," BASE "]", &log, &e), -EBADMSG);
	assert_reason(e, EVENTLOG_IDENTITY);
	assert_int_equal(read_log("[" EV("app-id", APP) "," READY "," EV("compose-hash", COMPOSE) "]", &log, &e),
			 -EBADMSG);
	assert_reason(e, EVENTLOG_IDENTITY);
}

static void version_2_events_replay_by_their_text(void **state)
{
	struct id_log one, two;
	struct err e;

	(void)state;
	assert_int_equal(
		read_log("[" EV2("app-id", APP, "") "," EV2("compose-hash", COMPOSE, "") "," READY "]", &two, &e), 0);
	assert_int_equal(read_log("[" EV("app-id", APP) "," EV("compose-hash", COMPOSE) "," READY "]", &one, &e), 0);
	assert_memory_not_equal(one.rtmr[3], two.rtmr[3], ID_MR_LEN);
	assert_int_equal(
		read_log("[" EV2("app-id", APP, PREIMAGE) "," EV("compose-hash", COMPOSE) "," READY "]", &two, &e), 0);
	/* a text with a blank in it is not canonical; in the clear it is not the preimage either */
	assert_int_equal(read_log("[" EV2("app-id", APP, PREIMAGE_OF("20")) "," EV("compose-hash", COMPOSE) "," READY
													    "]",
				  &two, &e),
			 -EBADMSG);
	assert_reason(e, EVENTLOG_REPLAY);
	assert_int_equal(
		read_log("[" EV2("app-id", APP, ",\"preimage\":\"{}\"") "," EV("compose-hash", COMPOSE) "," READY "]",
			 &two, &e),
		-EBADMSG);
	assert_reason(e, EVENTLOG_MALFORMED);
}

static void refuses_logs_without_one_identity(void **state)
{
	static const char *const bad[] = {
		"[]",
		"[" READY "]",
		"[" BASE "]", /* never ready */
		"[" EV("app-id", APP) "," READY "]",
		"[" EV("compose-hash", COMPOSE) "," READY "]",
		"[" BASE "," EV("app-id", APP) "," READY "]",
		"[" BASE "," EV("compose-hash", COMPOSE) "," READY "]",
		"[" BASE "," EV("instance-id", APP) "," EV("instance-id", APP) "," READY "]",
		"[" BASE "," EV("instance-id", "") "," EV("instance-id", APP) "," READY "]",
		"[" BASE "," EV("os-image-hash", COMPOSE) "," EV("os-image-hash", COMPOSE) "," READY "]",
		"[" BASE "," EV("key-provider", KEY_PROVIDER) "," EV("key-provider", KEY_PROVIDER) "," READY "]",
		"[" EV("app-id", "5bb4") "," EV("compose-hash", COMPOSE) "," READY "]",
		"[" EV("app-id", "") "," EV("compose-hash", COMPOSE) "," READY "]",
		"[" EV("app-id", APP "00") "," EV("compose-hash", COMPOSE) "," READY "]",
		"[" EV("app-id", APP) "," EV("compose-hash", APP) "," READY "]",
		"[" BASE "," EV("instance-id", "11") "," READY "]",
		"[" BASE "," EV("os-image-hash", "") "," READY "]",
		"[" BASE "," EV("key-provider", "") "," READY "]",
		"[" BASE "," EV("key-provider", "7b7d") "," READY "]",
		/* the names in another register are not the runtime's */
		"[{\"imr\":2,\"event_type\":134217729,\"digest\":\"" APP APP
		"0000000000000000\",\"event\":\"app-id\",\"event_payload\":\"" APP
		"\"}," EV("compose-hash", COMPOSE) "," READY "]",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct id_log log;
		struct err e;

		assert_int_equal(read_log(bad[i], &log, &e), -EBADMSG);
		assert_reason(e, EVENTLOG_IDENTITY);
	}
}

static void refuses_what_is_not_a_log(void **state)
{
#define FIELDS(imr, type, digest, name, payload, more)                                                                 \
	"[{\"imr\":" imr ",\"event_type\":" type ",\"digest\":" digest ",\"event\":" name                              \
	",\"event_payload\":" payload more "}]"
	static const char *const bad[] = {
		"",
		"{}",
		"[",
		"[]x",
		"[] []",
		"null",
		"[1]",
		"[[]]",
		"[{}]",
		FIELDS("4", "134217729", "\"\"", "\"x\"", "\"\"", ""),
		FIELDS("-1", "134217729", "\"\"", "\"x\"", "\"\"", ""),
		FIELDS("3.0", "134217729", "\"\"", "\"x\"", "\"\"", ""),
		FIELDS("\"3\"", "134217729", "\"\"", "\"x\"", "\"\"", ""),
		FIELDS("3", "1", "\"\"", "\"x\"", "\"\"", ""), /* another type in RTMR3 */
		FIELDS("3", "4294967296", "\"\"", "\"x\"", "\"\"", ""),
		FIELDS("3", "134217729", "\"00\"", "\"x\"", "\"\"", ""),
		FIELDS("3", "134217729", "1", "\"x\"", "\"\"", ""),
		FIELDS("3", "134217729", "\"\"", "\"\"", "\"\"", ""),
		FIELDS("3", "134217729", "\"\"", "\"a:b\"", "\"\"", ""), /* ambiguous in version 1 */
		FIELDS("3", "134217729", "\"\"", "\"a b\"", "\"\"", ""),
		FIELDS("3", "134217729", "\"\"", "\"a\\u0000\"", "\"\"", ""),
		FIELDS("3", "134217729", "\"\"", "\"x\"", "\"0\"", ""),
		FIELDS("3", "134217729", "\"\"", "\"x\"", "\"0g\"", ""),
		FIELDS("3", "134217729", "\"\"", "\"x\"", "null", ""),
		FIELDS("3", "134217729", "\"\"", "\"x\"", "\"\"", ",\"version\":0"),
		FIELDS("3", "134217729", "\"\"", "\"x\"", "\"\"", ",\"version\":3"),
		FIELDS("3", "134217729", "\"\"", "\"x\"", "\"\"", ",\"preimage\":1"),
		FIELDS("3", "134217729", "\"\"", "\"x\"", "\"\"", ",\"imr\":0"), /* twice */
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct id_log log;
		struct err e;

		assert_int_equal(read_log(bad[i], &log, &e), -EBADMSG);
		assert_reason(e, EVENTLOG_MALFORMED);
	}
}

static void refuses_what_is_too_much(void **state)
{
	size_t len = (ID_EVENTS_MAX + 1) * 3;
	auto_free char *many = malloc(len + 2), *deep = malloc(ID_EVENTLOG_MAX + 1);
	struct id_log log;
	struct err e = ERR_INIT;

	(void)state;
	for (size_t i = 0; i <= ID_EVENTS_MAX; i++)
		memcpy(many + 1 + 3 * i, "{},", 3);
	many[0] = '[';
	many[len] = ']';
	assert_int_equal(id_eventlog_read(many, len + 1, NULL, &log, &e), -EBADMSG);
	assert_reason(e, EVENTLOG_MALFORMED);
	memset(deep, '[', ID_EVENTLOG_MAX + 1);
	e = ERR_INIT;
	assert_int_equal(id_eventlog_read(deep, ID_EVENTLOG_MAX, NULL, &log, &e), -EBADMSG);
	assert_reason(e, EVENTLOG_MALFORMED);
	e = ERR_INIT;
	assert_int_equal(id_eventlog_read(deep, ID_EVENTLOG_MAX + 1, NULL, &log, &e), -EBADMSG);
	assert_reason(e, EVENTLOG_MALFORMED);
}

static void a_wrong_register_or_digest_is_no_replay(void **state)
{
	struct id_sim_request req = world_request();
	uint8_t rtmr[ID_RTMRS][ID_MR_LEN] = { 0 };
	auto_free char *json = id_sim_eventlog(&req, rtmr[3]);
	struct id_log log;
	struct err e = ERR_INIT;
	char *at;

	(void)state;
	assert_int_equal(id_eventlog_read(json, strlen(json), rtmr, &log, &e), 0);
	assert_memory_equal(log.rtmr[3], rtmr[3], ID_MR_LEN);
	rtmr[3][0] ^= 1;
	assert_int_equal(id_eventlog_read(json, strlen(json), rtmr, &log, &e), -EBADMSG);
	assert_reason(e, EVENTLOG_REPLAY);
	rtmr[3][0] ^= 1;
	at = strstr(json, "a1a1"); /* app-id's payload, under the digest of the old one */
	at[0] = 'b';
	e = ERR_INIT;
	assert_int_equal(id_eventlog_read(json, strlen(json), rtmr, &log, &e), -EBADMSG);
	assert_reason(e, EVENTLOG_REPLAY);
}

/* --- logs of real machines --- */

static void replays(const char *quote_bytes, size_t quote_len, const char *json, size_t len, const char *app_id)
{
	struct id_quote quote;
	struct id_log log;
	struct err e = ERR_INIT;

	assert_int_equal(id_quote_parse((const uint8_t *)quote_bytes, quote_len, &quote, &e), 0);
	assert_int_equal(id_eventlog_read(json, len, quote.rtmr, &log, &e), 0);
	hex_is(log.app_id, sizeof(log.app_id), app_id);
	assert_true(log.has_instance_id);
	assert_false(log.is_stripped); /* so all four registers were compared */
	assert_true(log.n_events[0] > 5 && log.n_events[1] > 3 && log.n_events[2] == 2);
	for (size_t at = 0; at < ID_RTMRS * ID_MR_LEN; at += ID_MR_LEN - 1) {
		((uint8_t *)quote.rtmr)[at] ^= 1;
		e = ERR_INIT;
		assert_int_equal(id_eventlog_read(json, len, quote.rtmr, &log, &e), -EBADMSG);
		assert_reason(e, EVENTLOG_REPLAY);
		((uint8_t *)quote.rtmr)[at] ^= 1;
	}
}

static void real_report(const char *report_file, const char *quote_file, const char *app_id)
{
	size_t len = 0, quote_len = 0;
	auto_free char *report = shared_file(report_file, &len);
	auto_free char *quote = shared_file(quote_file, &quote_len);
	json_t *object = json_loadb(report, len, 0, NULL), *log = json_object_get(object, "event_log");
	auto_free char *text = json_is_string(log) ? strdup(json_string_value(log)) : json_dumps(log, JSON_COMPACT);

	json_decref(object);
	replays(quote, quote_len, text, strlen(text), app_id);
}

static void real_log_with_digests_replays(void **state)
{
	(void)state;
	real_report("eventlog/dstack-quote-report.json", "quotes/q09-v4-90c06f-dstack.bin",
		    "3763bc34552cf3a27ff71ad5f7a90471562a1a2d");
}

static void real_log_without_digests_replays(void **state)
{
	(void)state;
	real_report("eventlog/dstack-tdx-lite-getquote.json", "quotes/q10-v4-90c06f-dstack.bin",
		    "86b0e55f2fa8e4fb69d890f14f54d5612707646e");
}

static void real_certificate_log_replays(void **state)
{
	size_t len = 0, quote_len = 0;
	auto_free char *der = shared_file("ratls/dstack-ratls-leaf.der", &len);
	auto_free char *quote = shared_file("quotes/q15-v4-b0c06f-ratls.bin", &quote_len);
	struct id_cert cert;
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(id_cert_parse((uint8_t *)der, len, &cert, &e), 0);
	assert_int_equal(cert.ext[ID_EXT_QUOTE].left, quote_len);
	assert_memory_equal(cert.ext[ID_EXT_QUOTE].p, quote, quote_len);
	replays(quote, quote_len, (const char *)cert.ext[ID_EXT_EVENTLOG].p, cert.ext[ID_EXT_EVENTLOG].left,
		"9e8af4fc80bde3bea655a161280910c770c8d561");
	id_cert_fini(&cert);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(digests_are_those_of_dstack),
		cmocka_unit_test(reads_the_identity),
		cmocka_unit_test(events_after_system_ready_are_the_applications),
		cmocka_unit_test(version_2_events_replay_by_their_text),
		cmocka_unit_test(refuses_logs_without_one_identity),
		cmocka_unit_test(refuses_what_is_not_a_log),
		cmocka_unit_test(refuses_what_is_too_much),
		cmocka_unit_test(a_wrong_register_or_digest_is_no_replay),
		cmocka_unit_test(real_log_with_digests_replays),
		cmocka_unit_test(real_log_without_digests_replays),
		cmocka_unit_test(real_certificate_log_replays),
	};

	return cmocka_run_group_tests_name("identity/eventlog", tests, world_new, world_free);
}
