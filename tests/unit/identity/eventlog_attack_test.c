// SPDX-License-Identifier: Apache-2.0
/*
 * Binary logs, and the attacks on logs by their number in the list of negative tests (docs/evidence.md): 47 to 50.
 */
#include <errno.h>
#include <jansson.h>

#include "base/buf.h"
#include "identity/quote_tdx.h"
#include "world.h"

#define FILLER_LEN 32

/* --- a CCEL, made wrongly on demand --- */

struct forge_ccel {
	uint32_t digest_count, reg, event_len; /* of the second event; 0: as it should be */
	uint16_t algorithm;
	bool two_algorithms, no_marker, dirty_filler, no_header;
	const char *signature;
};

static void spec_id_write(struct out *out, const struct forge_ccel *f)
{
	static const char good[16] = "Spec ID Event03";

	out_bytes(out, f->signature ? f->signature : good, sizeof(good));
	out_zero(out, 4);
	out_bytes(out, "\0\2\0\2", 4);
	out_u32le(out, f->two_algorithms ? 2 : 1);
	out_u16le(out, 0x0c);
	out_u16le(out, 48);
	if (f->two_algorithms) {
		out_u16le(out, 0x0b);
		out_u16le(out, 32);
	}
	out_u8(out, 0);
}

static void header_write(struct out *out, const struct forge_ccel *f)
{
	auto_out struct out spec = { 0 };

	spec_id_write(&spec, f);
	out_u32le(out, 1);
	out_u32le(out, f->no_header ? 4 : ID_EVENT_NO_ACTION);
	out_zero(out, 20);
	out_u32le(out, (uint32_t)spec.len);
	out_bytes(out, spec.data, spec.len);
}

static void event_write(struct out *out, const struct forge_ccel *f, uint32_t reg, uint32_t type, uint8_t fill)
{
	uint8_t digest[ID_MR_LEN], other[32] = { 0 };

	memset(digest, fill, sizeof(digest));
	out_u32le(out, f->reg ? f->reg : reg);
	out_u32le(out, type);
	out_u32le(out, f->digest_count ? f->digest_count : f->two_algorithms ? 2 : 1);
	if (f->two_algorithms) {
		out_u16le(out, 0x0b);
		out_bytes(out, other, sizeof(other));
	}
	out_u16le(out, f->algorithm ? f->algorithm : 0x0c);
	out_bytes(out, digest, sizeof(digest));
	out_u32le(out, f->event_len ? f->event_len : 4);
	out_bytes(out, "data", 4);
}

static void ccel_write(struct out *out, const struct forge_ccel *f)
{
	struct forge_ccel first = { .two_algorithms = f->two_algorithms };
	uint8_t filler[FILLER_LEN];

	memset(filler, 0xff, sizeof(filler));
	if (f->dirty_filler)
		filler[FILLER_LEN - 1] = 0;
	header_write(out, f);
	event_write(out, &first, 1, 4, 0xa0);
	event_write(out, &first, 1, ID_EVENT_NO_ACTION, 0xee); /* never extended */
	event_write(out, f, 4, 6, 0xa3);
	if (!f->no_marker)
		out_bytes(out, filler, sizeof(filler));
	assert_true(out_ok(out));
}

static int ccel_replay(const uint8_t *bytes, size_t len, struct id_log *log, struct err *e)
{
	auto_call(id_events_fini) struct id_events events = { 0 };
	int ret;

	*e = ERR_INIT;
	ret = id_events_from_ccel(bytes, len, &events, e);
	return ret < 0 ? ret : id_events_replay(&events, log, e);
}

static void ccel_refused(const struct forge_ccel *f)
{
	auto_out struct out out = { 0 };
	struct id_log log;
	struct err e;

	ccel_write(&out, f);
	assert_int_equal(ccel_replay(out.data, out.len, &log, &e), -EBADMSG);
	assert_reason(e, EVENTLOG_MALFORMED);
}

static void a_binary_log_replays(void **state)
{
	uint8_t digest[ID_MR_LEN], mr[ID_MR_LEN] = { 0 }, none[ID_MR_LEN] = { 0 };

	(void)state;
	for (int two = 0; two < 2; two++) {
		struct forge_ccel f = { .two_algorithms = two };
		auto_out struct out out = { 0 };
		struct id_log log;
		struct err e;

		ccel_write(&out, &f);
		assert_int_equal(ccel_replay(out.data, out.len, &log, &e), 0);
		memset(mr, 0, sizeof(mr));
		memset(digest, 0xa0, sizeof(digest));
		assert_true(id_rtmr_extend(mr, digest));
		assert_memory_equal(log.rtmr[0], mr, sizeof(mr));
		assert_memory_equal(log.rtmr[1], none, sizeof(none));
		assert_int_equal(log.n_events[0], 1);
		assert_int_equal(log.n_events[3], 1);
		assert_false(log.is_stripped);
	}
}

/* Nothing in a binary log is a name: whatever it says, it is no identity. */
static void a_binary_log_is_no_identity(void **state)
{
	static const struct forge_ccel f;
	auto_call(id_events_fini) struct id_events events = { 0 };
	auto_out struct out out = { 0 };
	struct id_log log;
	struct err e = ERR_INIT;

	(void)state;
	ccel_write(&out, &f);
	assert_int_equal(id_events_from_ccel(out.data, out.len, &events, &e), 0);
	assert_int_equal(id_events_replay(&events, &log, &e), 0);
	assert_int_equal(id_events_identity(&events, &log, &e), -EBADMSG);
	assert_reason(e, EVENTLOG_IDENTITY);
}

static void test_49_binary_logs(void **state)
{
	static const struct forge_ccel bad[] = {
		{ .digest_count = 2 },
		{ .digest_count = 0xffffffff },
		{ .two_algorithms = true, .digest_count = 1 },
		{ .two_algorithms = true, .algorithm = 0x0b }, /* the same one twice */
		{ .algorithm = 0x0b },
		{ .algorithm = 0xffff },
		{ .event_len = 5 + FILLER_LEN },
		{ .event_len = 0xffffffff },
		{ .event_len = 0x80000000 },
		{ .reg = 5 },
		{ .reg = 0xfffffffe },
		{ .no_marker = true },
		{ .dirty_filler = true },
		{ .no_header = true },
		{ .signature = "Spec ID Event02" },
	};
	static const struct forge_ccel good;
	auto_out struct out out = { 0 };
	auto_free uint8_t *big = calloc(1, ID_CCEL_MAX + 1);
	struct id_log log;
	struct err e;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		ccel_refused(&bad[i]);
	ccel_write(&out, &good);
	for (size_t cut = 0; cut < out.len - FILLER_LEN + 4; cut++) {
		auto_free uint8_t *part = malloc(cut ? cut : 1);

		memcpy(part, out.data, cut);
		assert_int_equal(ccel_replay(part, cut, &log, &e), -EBADMSG);
		assert_reason(e, EVENTLOG_MALFORMED);
	}
	memset(big, 0xff, ID_CCEL_MAX + 1);
	memcpy(big, out.data, out.len);
	assert_int_equal(ccel_replay(big, ID_CCEL_MAX, &log, &e), 0);
	assert_int_equal(ccel_replay(big, ID_CCEL_MAX + 1, &log, &e), -EBADMSG);
	assert_reason(e, EVENTLOG_MALFORMED);
}

/* A digest count of zero, and register 0 (MRTD, which no guest extends): zero is "as it should be" above. */
static void test_49_zeros(void **state)
{
	static const struct forge_ccel f;
	const size_t first = 32 + 33; /* header record and its data */
	auto_out struct out out = { 0 };
	struct id_log log;
	struct err e;

	(void)state;
	ccel_write(&out, &f);
	assert_int_equal(out.data[first], 1);
	out.data[first] = 0;
	assert_int_equal(ccel_replay(out.data, out.len, &log, &e), -EBADMSG);
	out.data[first] = 1;
	assert_int_equal(out.data[first + 8], 1);
	out.data[first + 8] = 0;
	assert_int_equal(ccel_replay(out.data, out.len, &log, &e), -EBADMSG);
	assert_reason(e, EVENTLOG_MALFORMED);
}

/* --- 47: what was replayed is not what was signed --- */

struct real {
	json_t *log;
	struct id_quote quote;
	char *bytes;
};

static void real_open(struct real *real)
{
	size_t len = 0, quote_len = 0;
	auto_free char *report = shared_file("eventlog/dstack-quote-report.json", &len);
	struct err e = ERR_INIT;
	json_t *object = json_loadb(report, len, 0, NULL), *log = json_object_get(object, "event_log");

	real->bytes = shared_file("quotes/q09-v4-90c06f-dstack.bin", &quote_len);
	real->log = json_is_string(log) ? json_loads(json_string_value(log), 0, NULL) : json_deep_copy(log);
	json_decref(object);
	assert_int_equal(id_quote_parse((uint8_t *)real->bytes, quote_len, &real->quote, &e), 0);
}

static void real_close(struct real *real)
{
	json_decref(real->log);
	free(real->bytes);
}

/* Refused as a replay or as no log at all; never read. Frees `log`. */
static void log_refused(const struct real *real, json_t *log)
{
	auto_free char *text = json_dumps(log, JSON_COMPACT);
	struct id_log read;
	struct err e = ERR_INIT;

	json_decref(log);
	assert_int_equal(id_eventlog_read(text, strlen(text), real->quote.rtmr, &read, &e), -EBADMSG);
	assert_true(e.reason == ID_EVENTLOG_REPLAY || e.reason == ID_EVENTLOG_MALFORMED);
}

static void set_member(json_t *log, size_t i, const char *key, json_t *value)
{
	json_object_set_new(json_array_get(log, i), key, value);
}

static void test_47_real_log_changed(void **state)
{
	struct real real;
	size_t n;

	(void)state;
	real_open(&real);
	n = json_array_size(real.log);
	for (size_t i = 0; i < n; i++) {
		json_t *event = json_array_get(real.log, i), *log;
		char *digest = strdup(json_string_value(json_object_get(event, "digest")));

		json_array_remove((log = json_deep_copy(real.log)), i); /* removed */
		log_refused(&real, log);
		json_array_insert((log = json_deep_copy(real.log)), i, event); /* doubled */
		log_refused(&real, log);
		log = json_deep_copy(real.log); /* another register */
		set_member(log, i, "imr", json_integer((json_integer_value(json_object_get(event, "imr")) + 1) % 4));
		log_refused(&real, log);
		digest[0] = digest[0] == '0' ? '1' : '0';
		set_member((log = json_deep_copy(real.log)), i, "digest", json_string(digest));
		log_refused(&real, log);
		if (json_integer_value(json_object_get(event, "imr")) == 3) { /* payload under its old digest */
			set_member((log = json_deep_copy(real.log)), i, "event_payload", json_string("00"));
			log_refused(&real, log);
			set_member((log = json_deep_copy(real.log)), i, "event", json_string("other"));
			log_refused(&real, log);
			set_member(log = json_deep_copy(real.log), i, "event_payload", json_string("00"));
			set_member(log, i, "digest", json_string("")); /* and under none */
			log_refused(&real, log);
		}
		free(digest);
	}
	real_close(&real);
}

static void test_47_real_log_reordered(void **state)
{
	struct real real;

	(void)state;
	real_open(&real);
	for (size_t i = 0; i + 1 < json_array_size(real.log); i++) {
		json_t *one = json_array_get(real.log, i), *two = json_array_get(real.log, i + 1), *log;

		/* of two registers, or twice the same digest: no other log */
		if (json_integer_value(json_object_get(one, "imr")) !=
			    json_integer_value(json_object_get(two, "imr")) ||
		    json_equal(json_object_get(one, "digest"), json_object_get(two, "digest")))
			continue;
		log = json_deep_copy(real.log);
		json_array_set(log, i, two);
		json_array_set(log, i + 1, one);
		log_refused(&real, log);
	}
	real_close(&real);
}

/* Another machine's log: RTMR0 and RTMR2 are the same, RTMR1 is not. */
static void test_47_real_ccel_of_another_guest(void **state)
{
	size_t len = 0, quote_len = 0;
	auto_free char *ccel = shared_file("eventlog/dstack-ccel.bin", &len);
	auto_free char *bytes = shared_file("quotes/q11-v4-b0c06f-tappd.bin", &quote_len);
	struct id_quote quote;
	struct id_log log;
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(id_quote_parse((uint8_t *)bytes, quote_len, &quote, &e), 0);
	assert_int_equal(ccel_replay((uint8_t *)ccel, len, &log, &e), 0);
	assert_memory_equal(log.rtmr[0], quote.rtmr[0], ID_MR_LEN);
	assert_memory_equal(log.rtmr[2], quote.rtmr[2], ID_MR_LEN);
	assert_int_equal(id_log_compare(&log, quote.rtmr, &e), -EBADMSG);
	assert_reason(e, EVENTLOG_REPLAY);
}

static void real_ccel_replays_to_its_quote(void **state)
{
	size_t len = 0, quote_len = 0;
	auto_free char *ccel = shared_file("eventlog/gcp-cos-ccel-data.bin", &len);
	auto_free char *bytes = shared_file("quotes/q07-v4-00806f05-gcp.bin", &quote_len);
	struct id_quote quote;
	struct id_log log;
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(id_quote_parse((uint8_t *)bytes, quote_len, &quote, &e), 0);
	assert_int_equal(ccel_replay((uint8_t *)ccel, len, &log, &e), 0);
	assert_int_equal(id_log_compare(&log, quote.rtmr, &e), 0);
	assert_int_equal(log.n_events[0] + log.n_events[1] + log.n_events[2], 43);
	for (size_t cut = 0; cut < 18101 + 4; cut += 13) {
		assert_int_equal(ccel_replay((uint8_t *)ccel, cut, &log, &e), -EBADMSG);
		assert_reason(e, EVENTLOG_MALFORMED);
	}
}

/* --- 48: names in the wrong place --- */

#define EV(imr, type, name, payload)                                                                                   \
	"{\"imr\":" imr ",\"event_type\":" type ",\"digest\":\"\",\"event\":\"" name "\",\"event_payload\":\"" payload \
	"\"}"
#define RUNTIME "134217729"
#define APP     "5bb4ff9a3837357f19dc176407a5709c62eb6c56"
#define HASH    "c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0"
#define READY   EV("3", RUNTIME, "system-ready", "")
#define ZEROS   "000000000000000000000000000000000000000000000000"

static const char *reason_of(const char *json)
{
	struct id_log log;
	struct err e = ERR_INIT;

	return id_eventlog_read(json, strlen(json), NULL, &log, &e) == 0 ? "NONE" : id_reason_name(e.reason);
}

static void test_48_names_elsewhere_are_no_identity(void **state)
{
	(void)state;
	/* in RTMR2, with a digest of its own: the name is not the runtime's */
	assert_string_equal(reason_of("[" EV("3", RUNTIME, "app-id",
					     APP) ",{\"imr\":2,\"event_type\":" RUNTIME ",\"digest\":\"" ZEROS ZEROS
						  "\",\"event\":\"compose-hash\",\"event_payload\":\"" HASH "\"}," READY
						  "]"),
			    "EVENTLOG_IDENTITY");
	/* another event type in RTMR3 */
	assert_string_equal(
		reason_of("[" EV("3", RUNTIME, "app-id", APP) "," EV("3", "1", "compose-hash", HASH) "," READY "]"),
		"EVENTLOG_MALFORMED");
	/* behind system-ready */
	assert_string_equal(
		reason_of("[" EV("3", RUNTIME, "app-id", APP) "," READY "," EV("3", RUNTIME, "compose-hash", HASH) "]"),
		"EVENTLOG_IDENTITY");
	assert_string_equal(reason_of("[" EV("3", RUNTIME, "app-id", APP) "," EV("3", RUNTIME, "app-id", APP) "," EV(
				    "3", RUNTIME, "compose-hash", HASH) "," READY "]"),
			    "EVENTLOG_IDENTITY");
}

/* A firmware event without a digest can not be replayed, so the log is not whole. */
static void firmware_events_need_their_digest(void **state)
{
	(void)state;
	assert_string_equal(reason_of("[" EV("0", "4", "", "") "," READY "]"), "EVENTLOG_MALFORMED");
}

/* What dstack strips a log to: RTMR3, and the digests of ACPI DATA. Any other event makes it a whole log again. */
static void stripped_logs_are_known_as_such(void **state)
{
#define ACPI                                                                                                           \
	"{\"imr\":0,\"event_type\":10,\"digest\":\"" ZEROS ZEROS                                                       \
	"\",\"event\":\"acpi-tables\",\"event_payload\":\"414350492044415441\"}"
#define OTHER "{\"imr\":0,\"event_type\":10,\"digest\":\"" ZEROS ZEROS "\",\"event\":\"\",\"event_payload\":\"\"}"
#define TAIL  EV("3", RUNTIME, "app-id", APP) "," EV("3", RUNTIME, "compose-hash", HASH) "," READY "]"
	static const char stripped[] = "[" ACPI "," TAIL, whole[] = "[" ACPI "," OTHER "," TAIL;
	uint8_t rtmr[ID_RTMRS][ID_MR_LEN];
	struct id_log log;
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(id_eventlog_read(stripped, strlen(stripped), NULL, &log, &e), 0);
	assert_true(log.is_stripped);
	memset(rtmr, 0x77, sizeof(rtmr));
	memcpy(rtmr[3], log.rtmr[3], ID_MR_LEN);
	assert_int_equal(id_eventlog_read(stripped, strlen(stripped), rtmr, &log, &e), 0);
	assert_int_equal(id_eventlog_read(whole, strlen(whole), rtmr, &log, &e), -EBADMSG);
	assert_reason(e, EVENTLOG_REPLAY);
}

/* --- 50: too much, and what is no JSON log --- */

static void test_50_oversize_and_nonsense(void **state)
{
	static const char gzip[] = "ELGZv1\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03";
	static const char event[] = EV("3", RUNTIME, "x", "");
	const size_t n = 1000000, len = n * sizeof(event) + 1;
	auto_free char *many = malloc(len + 1);
	char *p = many;

	(void)state;
	*p++ = '[';
	for (size_t i = 0; i < n; i++) {
		memcpy(p, event, sizeof(event) - 1);
		p += sizeof(event) - 1;
		*p++ = i + 1 < n ? ',' : ']';
	}
	*p = '\0';
	assert_string_equal(reason_of(many), "EVENTLOG_MALFORMED");
	assert_string_equal(reason_of(gzip), "EVENTLOG_MALFORMED");
	assert_string_equal(reason_of("[" EV("3", RUNTIME, "x", "000") "]"), "EVENTLOG_MALFORMED");
	assert_string_equal(reason_of("[" EV("4", RUNTIME, "x", "") "]"), "EVENTLOG_MALFORMED");
	assert_string_equal(reason_of("[" EV("-1", RUNTIME, "x", "") "]"), "EVENTLOG_MALFORMED");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_binary_log_replays),
		cmocka_unit_test(a_binary_log_is_no_identity),
		cmocka_unit_test(test_47_real_log_changed),
		cmocka_unit_test(test_47_real_log_reordered),
		cmocka_unit_test(test_47_real_ccel_of_another_guest),
		cmocka_unit_test(real_ccel_replays_to_its_quote),
		cmocka_unit_test(test_48_names_elsewhere_are_no_identity),
		cmocka_unit_test(firmware_events_need_their_digest),
		cmocka_unit_test(stripped_logs_are_known_as_such),
		cmocka_unit_test(test_49_binary_logs),
		cmocka_unit_test(test_49_zeros),
		cmocka_unit_test(test_50_oversize_and_nonsense),
	};

	return cmocka_run_group_tests_name("identity/eventlog_attack", tests, NULL, NULL);
}
