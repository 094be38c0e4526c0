// SPDX-License-Identifier: Apache-2.0
/* SCALE and MessagePack, and the attestations written in them. */
#include <errno.h>
#include <jansson.h>

#include "att_world.h"
#include "identity/claims.h"
#include "identity/msgpack.h"
#include "identity/scale.h"

static void scale_numbers_have_one_form(void **state)
{
	static const struct {
		const char *bytes;
		size_t len;
		int64_t n; /* -1: refused */
	} cases[] = {
		{ "\x00", 1, 0 },
		{ "\xfc", 1, 63 },
		{ "\x01\x01", 2, 64 },
		{ "\xfd\xff", 2, 16383 },
		{ "\x02\x00\x01\x00", 4, 16384 },
		{ "\xfe\xff\xff\xff", 4, 1073741823 },
		{ "\x01\x00", 2, -1 },         /* 0 in two bytes */
		{ "\xfd\x00", 2, -1 },         /* 63 in two */
		{ "\xfe\xff\x00\x00", 4, -1 }, /* 16383 in four */
		{ "\x03\x00\x00\x00\x40", 5, -1 },
		{ "\x13\0\0\0\0\0\0\0\1", 9, -1 },
		{ "", 0, -1 },
		{ "\x01", 1, -1 },
		{ "\x02\x00\x01", 3, -1 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct in in = in_of(cases[i].bytes, cases[i].len);
		uint32_t n = 0;
		bool ok = scale_compact(&in, &n);

		assert_int_equal(ok, cases[i].n >= 0);
		if (ok)
			assert_true(n == cases[i].n && !in.left);
	}
}

static void msgpack_items_have_one_form(void **state)
{
	static const struct {
		const char *bytes;
		size_t len;
		int type; /* -1: refused */
		uint32_t n;
	} cases[] = {
		{ "\xc0", 1, MP_NIL, 0 },
		{ "\x00", 1, MP_UINT, 0 },
		{ "\x7f", 1, MP_UINT, 127 },
		{ "\xcc\x80", 2, MP_UINT, 128 },
		{ "\xcd\x01\x00", 3, MP_UINT, 256 },
		{ "\xce\x00\x01\x00\x00", 5, MP_UINT, 65536 },
		{ "\xce\x08\x00\x00\x01", 5, MP_UINT, ID_EVENT_RUNTIME },
		{ "\xa1x", 2, MP_STR, 1 },
		{ "\xc4\x01x", 3, MP_BIN, 1 },
		{ "\x93", 1, MP_ARRAY, 3 },
		{ "\xdc\x00\x10", 3, MP_ARRAY, 16 },
		{ "\xdd\x00\x01\x00\x00", 5, MP_ARRAY, 65536 },
		{ "\x82", 1, MP_MAP, 2 },
		{ "\xde\x00\x10", 3, MP_MAP, 16 },
		{ "\xcc\x7f", 2, -1, 0 },
		{ "\xcd\x00\xff", 3, -1, 0 },
		{ "\xce\x00\x00\xff\xff", 5, -1, 0 },
		{ "\xcf\0\0\0\0\0\0\0\1", 9, -1, 0 }, /* 64 bits */
		{ "\xd0\x01", 2, -1, 0 },             /* signed */
		{ "\xff", 1, -1, 0 },
		{ "\xc1", 1, -1, 0 }, /* never used */
		{ "\xc2", 1, -1, 0 }, /* false */
		{ "\xca\0\0\0\0", 5, -1, 0 },
		{ "\xd4\0\0", 3, -1, 0 }, /* extension */
		{ "\xd9\x01x", 3, -1, 0 },
		{ "\xda\x00\x20", 3, -1, 0 },
		{ "\xc5\x00\x01x", 4, -1, 0 },
		{ "\xc6\xff\xff\xff\xff", 5, -1, 0 },
		{ "\xdc\x00\x0f", 3, -1, 0 },
		{ "\xdf\x00\x00\x00\x01", 5, -1, 0 },
		{ "\xa2x", 2, -1, 0 },
		{ "\xc4\x02x", 3, -1, 0 },
		{ "", 0, -1, 0 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct in in = in_of(cases[i].bytes, cases[i].len);
		struct mp_item item = { 0 };
		bool ok = mp_read(&in, &item);

		assert_int_equal(ok, cases[i].type >= 0);
		if (ok)
			assert_true((int)item.type == cases[i].type && item.n == cases[i].n && !in.left);
	}
}

static void numbers_become_bytes(void **state)
{
	static const uint8_t good[] = { 0x93, 0x01, 0xcc, 0xff, 0x7f }, big[] = { 0x91, 0xcd, 0x01, 0x00 },
			     much[] = { 0xdd, 0xff, 0xff, 0xff, 0xff, 1 }, text[] = { 0x91, 0xa1, 'x' };
	const struct {
		const uint8_t *bytes;
		size_t len;
	} bad[] = { { big, sizeof(big) }, { much, sizeof(much) }, { text, sizeof(text) }, { good, 4 } };
	uint8_t room[8], *p = room;
	struct in in = in_of(good, sizeof(good)), bytes;

	(void)state;
	assert_true(mp_blob(&in, &p, &bytes) && bytes.left == 3 && p == room + 3);
	assert_memory_equal(bytes.p, "\x01\xff\x7f", 3);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		in = in_of(bad[i].bytes, bad[i].len);
		p = room;
		assert_false(mp_blob(&in, &p, &bytes));
	}
}

static const struct att_forge good[] = {
	{ .version = 0 },
	{ .version = 0, .no_platform_log = true },
	{ .version = 1 },
	{ .version = 1, .as_arrays = true },
	{ .version = 1, .runtime_v2 = true },
	{ .version = 1, .runtime_v2 = true, .with_preimage = true, .as_arrays = true },
	{ .version = 1, .is_pod = true },
};

/* What the writer says is what the reader reads; and a written attestation is the fixture's form of the same events. */
static void what_is_written_is_read(void **state)
{
	static const uint8_t report_data[64] = { 0xd0 };
	struct id_sim_request req = world_request();

	(void)state;
	for (int is_stripped = 0; is_stripped < 2; is_stripped++) {
		auto_call(id_attestation_fini) struct id_attestation att = { 0 }, again = { 0 };
		auto_out struct out forged = { 0 }, out = { 0 };
		struct err e = ERR_INIT;

		att_write(&forged, &good[0], &req, report_data);
		assert_int_equal(id_attestation_read(forged.data, forged.len, &att, &e), 0);
		assert_true(id_attestation_write(&out, att.evidence, &att.events, report_data, is_stripped));
		assert_int_equal(id_attestation_read(out.data, out.len, &again, &e), 0);
		assert_int_equal(again.events.n, att.events.n);
		assert_int_equal(again.runtime.n, att.runtime.n);
		assert_memory_equal(again.evidence.p, att.evidence.p, att.evidence.left);
		for (size_t i = 0; i < att.runtime.n; i++) {
			assert_memory_equal(again.runtime.at[i].name.p, att.runtime.at[i].name.p,
					    att.runtime.at[i].name.left);
			assert_int_equal(again.runtime.at[i].payload.left, att.runtime.at[i].payload.left);
			assert_int_equal(again.events.at[i].digest != NULL,
					 !is_stripped && att.events.at[i].digest != NULL);
		}
	}
}

/* Version 0 has no word for digests of version 2; what is written instead is, byte by byte, dstack's. */
static void digests_of_version_2_make_version_1(void **state)
{
	static const uint8_t report_data[64] = { 0xd0 };
	static const struct att_forge v2 = { .version = 1, .runtime_v2 = true, .as_arrays = true };
	struct id_sim_request req = world_request();

	(void)state;
	for (int is_stripped = 0; is_stripped < 2; is_stripped++) {
		auto_call(id_attestation_fini) struct id_attestation att = { 0 }, again = { 0 };
		auto_out struct out forged = { 0 }, out = { 0 };
		struct err e = ERR_INIT;
		struct id_log log;

		att_write(&forged, &v2, &req, report_data);
		assert_int_equal(id_attestation_read(forged.data, forged.len, &att, &e), 0);
		assert_true(id_attestation_write(&out, att.evidence, &att.events, report_data, is_stripped));
		assert_int_equal(out.len, forged.len - 2); /* its config is "{}", ours "" */
		assert_memory_equal(out.data, forged.data, out.len - 1);
		assert_int_equal(id_attestation_read(out.data, out.len, &again, &e), 0);
		assert_true(again.version == 1 && again.runtime.n == att.runtime.n && again.runtime.n > 5);
		assert_memory_equal(again.evidence.p, att.evidence.p, att.evidence.left);
		assert_memory_equal(again.report_data.p, report_data, sizeof(report_data));
		assert_int_equal(id_events_replay(&again.runtime, &log, &e), 0);
		assert_int_equal(id_events_identity(&again.runtime, &log, &e), 0);
		assert_memory_equal(log.app_id, req.app_id, sizeof(req.app_id));
	}
}

static void written_app_info_is_read(void **state)
{
	static const char provider[] = "{\"name\":\"none\",\"id\":\"\"}";
	struct id_app_info info = { .has_instance_id = true, .key_provider = in_of(provider, strlen(provider)) }, read;

	(void)state;
	memset(info.app_id, 1, sizeof(info.app_id));
	memset(info.instance_id, 2, sizeof(info.instance_id));
	memset(info.mr_system, 3, sizeof(info.mr_system));
	for (int i = 0; i < 3; i++) {
		auto_out struct out out = { 0 };
		struct err e = ERR_INIT;

		info.has_instance_id = i > 0;
		info.has_init_scripts = i > 1;
		info.n_init_scripts = i > 1 ? 2 : 0;
		id_app_info_write(&out, &info);
		assert_true(out_ok(&out));
		assert_int_equal(id_app_info_read(in_of(out.data, out.len), &read, &e), 0);
		assert_int_equal(read.has_instance_id, info.has_instance_id);
		assert_int_equal(read.n_init_scripts, info.n_init_scripts);
		assert_memory_equal(read.app_id, info.app_id, sizeof(info.app_id));
		assert_memory_equal(read.mr_system, info.mr_system, sizeof(info.mr_system));
		assert_memory_equal(read.key_provider.p, provider, strlen(provider));
		assert_false(read.has_os_image_hash);
	}
}

static void both_versions_are_read(void **state)
{
	static const uint8_t report_data[64] = { 0xd0 };
	struct id_sim_request req = world_request();

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		auto_call(id_attestation_fini) struct id_attestation att = { 0 };
		auto_out struct out out = { 0 };
		struct err e = ERR_INIT;
		struct id_log log;

		att_write(&out, &good[i], &req, report_data);
		assert_int_equal(id_attestation_read(out.data, out.len, &att, &e), 0);
		assert_int_equal(att.version, good[i].version);
		assert_memory_equal(att.report_data.p, report_data, 64);
		assert_int_equal(att.runtime.n, 9);
		assert_int_equal(att.events.n, good[i].no_platform_log ? 0 : 9);
		assert_int_equal(id_events_replay(&att.runtime, &log, &e), 0);
		assert_int_equal(id_events_identity(&att.runtime, &log, &e), 0);
		assert_memory_equal(log.app_id, req.app_id, sizeof(log.app_id));
		assert_string_equal(log.key_provider, "kms");
		assert_int_equal(id_events_replay(&att.events, &log, &e), 0);
		assert_true(log.is_stripped);
	}
}

static void refused(const uint8_t *bytes, size_t len, const char *reason)
{
	struct id_attestation att = { .version = 77 };
	struct err e = ERR_INIT;

	assert_int_equal(id_attestation_read(bytes, len, &att, &e), -EBADMSG);
	assert_string_equal(id_reason_name(e.reason), reason);
	assert_int_equal(att.version, 77);
}

static void nothing_may_be_cut_off_or_added(void **state)
{
	static const uint8_t report_data[64] = { 0xd0 };
	struct id_sim_request req = world_request();

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		struct att_forge longer = good[i];
		auto_out struct out out = { 0 }, more = { 0 };

		att_write(&out, &good[i], &req, report_data);
		for (size_t cut = 0; cut < out.len; cut++) {
			auto_free uint8_t *part = malloc(cut ? cut : 1);

			memcpy(part, out.data, cut);
			refused(part, cut, "ATTESTATION_MALFORMED");
		}
		longer.tail = "\xc0";
		longer.tail_len = 1;
		att_write(&more, &longer, &req, report_data);
		refused(more.data, more.len, "ATTESTATION_MALFORMED");
	}
}

/* Whatever one bit makes of it: no crash, no read outside, and nothing but the two reasons. */
static void flips_are_harmless(void **state)
{
	static const uint8_t report_data[64] = { 0xd0 };
	struct id_sim_request req = world_request();
	unsigned read = 0, flips = 0;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		auto_out struct out out = { 0 };

		att_write(&out, &good[i], &req, report_data);
		for (size_t bit = 0; bit < 8 * out.len; bit += 3) {
			auto_call(id_attestation_fini) struct id_attestation att = { 0 };
			struct err e = ERR_INIT;

			out.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
			if (id_attestation_read(out.data, out.len, &att, &e) == 0)
				read++;
			else
				assert_true(e.reason == ID_ATTESTATION_MALFORMED || e.reason == ID_QUOTE_UNSUPPORTED);
			out.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
			flips++;
		}
	}
	print_message("# %u flips, %u still have the form of an attestation\n", flips, read);
}

static void other_platforms_are_named(void **state)
{
	static const uint8_t report_data[64];
	static const char *const kinds[] = { "gcp-tdx", "nitro-enclave", "aws-nitro-tpm" };
	struct id_sim_request req = world_request();
	struct att_forge f = { .version = 1 };

	(void)state;
	refused((const uint8_t *)"\0\1", 2, "QUOTE_UNSUPPORTED");
	refused((const uint8_t *)"\0\2", 2, "QUOTE_UNSUPPORTED");
	refused((const uint8_t *)"\0\4", 2, "QUOTE_UNSUPPORTED");
	refused((const uint8_t *)"\0\5", 2, "ATTESTATION_MALFORMED");
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		auto_out struct out out = { 0 };

		f.kind = kinds[i];
		att_write(&out, &f, &req, report_data);
		refused(out.data, out.len, "QUOTE_UNSUPPORTED");
	}
	f.kind = "sgx";
	auto_out struct out out = { 0 };
	att_write(&out, &f, &req, report_data);
	refused(out.data, out.len, "ATTESTATION_MALFORMED");
}

static void oversize_is_refused_unread(void **state)
{
	auto_free uint8_t *big = calloc(1, ID_ATTESTATION_MAX + 1);

	(void)state;
	refused(big, ID_ATTESTATION_MAX + 1, "ATTESTATION_MALFORMED");
	refused(big, 0, "ATTESTATION_MALFORMED");
	/* a vector of 2^30 - 1 events in few bytes */
	refused((const uint8_t *)"\0\0\0\xfe\xff\xff\xff", 7, "ATTESTATION_MALFORMED");
}

/* dstack's own fixture of a SEV-SNP guest: SCALE, read to its last byte. */
static void real_snp_attestation_is_read(void **state)
{
	size_t len = 0;
	auto_free char *bytes = shared_file("snp/s1-dstack-attestation.scale.bin", &len);
	auto_call(id_attestation_fini) struct id_attestation att = { 0 };
	struct err e = ERR_INIT;
	struct id_log log;

	(void)state;
	assert_int_equal(id_attestation_read((uint8_t *)bytes, len, &att, &e), 0);
	assert_int_equal(att.kind, ID_ATTESTATION_SNP);
	assert_int_equal(att.evidence.left, 1184);
	assert_int_equal(att.n_certs, 0);
	assert_int_equal(att.runtime.n, 9);
	assert_int_equal(id_mr_config_read(att.mr_config, att.evidence.p + 0xc0, &log, &e), 0);
	assert_int_equal(log.app_id[0], 0x86);
	assert_memory_equal(log.compose_hash, log.app_id,
			    BY_APP_ID_LEN); /* a new app: its id is the hash's beginning */
	assert_true(log.has_instance_id);
	assert_string_equal(log.key_provider, "kms");
	((uint8_t *)bytes)[4 + 0xc0] ^= 1;
	assert_int_equal(id_mr_config_read(att.mr_config, att.evidence.p + 0xc0, &log, &e), -EBADMSG);
	assert_reason(e, EVENTLOG_REPLAY);
	for (size_t cut = 0; cut < len; cut++) {
		auto_free uint8_t *part = malloc(cut ? cut : 1);

		memcpy(part, bytes, cut);
		refused(part, cut, "ATTESTATION_MALFORMED");
	}
}

/* --- mr_config --- */

static const char *config_reason(const char *document)
{
	static const char tag[] = "dstack-mr-config-v3:";
	uint8_t hash[32];
	struct id_log log;
	struct err e = ERR_INIT;

	assert_true(id_hash(EVP_sha256(), hash, tag, sizeof(tag), document, strlen(document)));
	return id_mr_config_read(in_of(document, strlen(document)), hash, &log, &e) == 0 ? "NONE"
											 : id_reason_name(e.reason);
}

#define APP  "\"app_id\":\"5bb4ff9a3837357f19dc176407a5709c62eb6c56\""
#define HASH "\"compose_hash\":\"c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0\""
#define KEY  "\"key_provider\":\"kms\""

static void mr_config_documents(void **state)
{
	auto_free char *big = malloc(ID_MR_CONFIG_MAX + 2);

	(void)state;
	assert_string_equal(config_reason("{" APP "," HASH "," KEY "}"), "NONE");
	assert_string_equal(config_reason("{" APP "," HASH "," KEY ",\"version\":3}"), "NONE");
	assert_string_equal(config_reason("{" APP "," HASH "," KEY ",\"version\":2}"), "EVENTLOG_IDENTITY");
	assert_string_equal(config_reason("{" APP "," HASH "," KEY ",\"more\":1}"), "EVENTLOG_IDENTITY");
	assert_string_equal(config_reason("{" APP "," APP "," HASH "," KEY "}"), "EVENTLOG_IDENTITY");
	assert_string_equal(config_reason("{" HASH "," KEY "}"), "EVENTLOG_IDENTITY");
	assert_string_equal(config_reason("{" APP "," KEY "}"), "EVENTLOG_IDENTITY");
	assert_string_equal(config_reason("{" APP "," HASH "}"), "EVENTLOG_IDENTITY");
	assert_string_equal(config_reason("{" APP "," HASH ",\"key_provider\":\"x\"}"), "EVENTLOG_IDENTITY");
	assert_string_equal(config_reason("{\"app_id\":\"5b\"," HASH "," KEY "}"), "EVENTLOG_IDENTITY");
	assert_string_equal(config_reason("[]"), "EVENTLOG_IDENTITY");
	assert_string_equal(config_reason(""), "EVENTLOG_IDENTITY");
	memset(big, ' ', ID_MR_CONFIG_MAX + 1);
	big[ID_MR_CONFIG_MAX + 1] = '\0';
	assert_string_equal(config_reason(big), "EVENTLOG_MALFORMED");
}

/* --- app_info --- */

/* sizes of the first seven elements, then what is put at the end */
static bool info_read(const size_t sizes[7], uint32_t n, const char *tail, size_t tail_len, struct id_app_info *info)
{
	static const uint8_t fill[64] = { [0 ... 63] = 0xaa };
	auto_out struct out out = { 0 };
	struct err e = ERR_INIT;
	int ret;

	mp_add_array(&out, n);
	for (int i = 0; i < 7; i++)
		mp_add_bin(&out, fill, sizes[i]);
	mp_add_bin(&out, "{}", 2);
	out_bytes(&out, tail, tail_len);
	ret = id_app_info_read(in_of(out.data, out.len), info, &e);
	if (ret < 0)
		assert_reason(e, CERT_EXTENSION);
	for (size_t cut = 0; ret == 0 && cut < out.len; cut++) {
		struct id_app_info part;

		e = ERR_INIT;
		assert_int_equal(id_app_info_read(in_of(out.data, cut), &part, &e), -EBADMSG);
	}
	return ret == 0;
}

static void app_info_has_8_or_9_elements(void **state)
{
	static const size_t full[7] = { 20, 32, 20, 32, 32, 32, 32 }, bare[7] = { 20, 32, 0, 32, 32, 32, 0 };
	char scripts[3 + 5 * 34 + 34];
	struct id_app_info info;

	(void)state;
	assert_true(info_read(full, 8, "", 0, &info));
	assert_true(info.has_instance_id && info.has_os_image_hash && !info.has_init_scripts);
	assert_int_equal(info.key_provider.left, 2);
	assert_true(info_read(bare, 8, "", 0, &info) && !info.has_instance_id && !info.has_os_image_hash);
	assert_true(info_read(full, 9, "\xc0", 1, &info) && !info.has_init_scripts);
	assert_true(info_read(full, 9, "\x90", 1, &info) && info.has_init_scripts && !info.n_init_scripts);
	memset(scripts, 0xbb, sizeof(scripts));
	for (size_t i = 0; i < 6; i++)
		memcpy(scripts + 1 + 34 * i, "\xc4\x20", 2);
	scripts[0] = (char)0x95;
	assert_true(info_read(full, 9, scripts, 1 + 5 * 34, &info) && info.n_init_scripts == 5);
	assert_int_equal(info.init_script[4][31], 0xbb);
	scripts[0] = (char)0x96;
	assert_false(info_read(full, 9, scripts, 1 + 6 * 34, &info));
	assert_false(info_read(full, 7, "", 0, &info));
	assert_false(info_read(full, 10, "\xc0\xc0", 2, &info));
	assert_false(info_read(full, 8, "\xc0", 1, &info));
	assert_false(info_read(full, 9, "\x00", 1, &info));
	for (int i = 0; i < 7; i++) {
		size_t sizes[7];

		memcpy(sizes, full, sizeof(sizes));
		sizes[i]++;
		assert_false(info_read(sizes, 8, "", 0, &info));
		sizes[i] -= 2;
		assert_false(info_read(sizes, 8, "", 0, &info));
	}
}

/* --- dstack's sums --- */

#define SUM_Q09_SYSTEM     "e1ae776a1492d4f87937b7e563d265c16300be4aba5d748207587023bb7dbb75"
#define SUM_Q09_AGGREGATED "233c659f83048505bb1ef7f105245aa80f5d04e3d096c329da272d7ee13fbf38"
#define SUM_Q10_SYSTEM     "118f754a080ecb8527df65656ee4e7e97b891cf488ad6a38886ff0dbca0c8f70"
#define SUM_Q10_AGGREGATED "c758fa624b62536ca77504c4c52745e70880220a178a615a859c52f8b101d2ee"

/* Computed with another program over q09 and q10. */
static void real_sums_are_dstacks(void **state)
{
	static const struct {
		const char *report, *quote, *system, *aggregated;
	} real[] = {
		{ "eventlog/dstack-quote-report.json", "quotes/q09-v4-90c06f-dstack.bin", SUM_Q09_SYSTEM,
		  SUM_Q09_AGGREGATED },
		{ "eventlog/dstack-tdx-lite-getquote.json", "quotes/q10-v4-90c06f-dstack.bin", SUM_Q10_SYSTEM,
		  SUM_Q10_AGGREGATED },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(real); i++) {
		size_t len = 0, quote_len = 0;
		auto_free char *report = shared_file(real[i].report, &len);
		auto_free char *bytes = shared_file(real[i].quote, &quote_len);
		json_t *object = json_loadb(report, len, 0, NULL), *events = json_object_get(object, "event_log");
		auto_free char *text =
			json_is_string(events) ? strdup(json_string_value(events)) : json_dumps(events, JSON_COMPACT);
		struct id_claims claims = { 0 };
		struct id_quote quote;
		struct id_log log;
		struct err e = ERR_INIT;
		char hex[65];

		json_decref(object);
		assert_int_equal(id_quote_parse((uint8_t *)bytes, quote_len, &quote, &e), 0);
		assert_int_equal(id_eventlog_read(text, strlen(text), quote.rtmr, &log, &e), 0);
		assert_true(id_claims_from_quote(&quote, &log, &claims));
		hex_print(hex, claims.mr_system, 32);
		assert_string_equal(hex, real[i].system);
		hex_print(hex, claims.mr_aggregated, 32);
		assert_string_equal(hex, real[i].aggregated);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(scale_numbers_have_one_form),  cmocka_unit_test(msgpack_items_have_one_form),
		cmocka_unit_test(numbers_become_bytes),         cmocka_unit_test(both_versions_are_read),
		cmocka_unit_test(what_is_written_is_read),      cmocka_unit_test(digests_of_version_2_make_version_1),
		cmocka_unit_test(written_app_info_is_read),     cmocka_unit_test(nothing_may_be_cut_off_or_added),
		cmocka_unit_test(flips_are_harmless),           cmocka_unit_test(other_platforms_are_named),
		cmocka_unit_test(oversize_is_refused_unread),   cmocka_unit_test(real_snp_attestation_is_read),
		cmocka_unit_test(mr_config_documents),          cmocka_unit_test(real_sums_are_dstacks),
		cmocka_unit_test(app_info_has_8_or_9_elements),
	};

	return cmocka_run_group_tests_name("identity/attestation", tests, world_new, world_free);
}
