// SPDX-License-Identifier: Apache-2.0
/* Who may have keys: the local list, the webhook's answer, the configuration. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "kms/kms.h"

#define APP   "a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1"
#define HASH1 "c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0"
#define HASH2 "d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0"

static struct kms_boot web(void)
{
	struct kms_boot boot = { .tee_variant = "dstack-tdx",
				 .has_device_id = true,
				 .has_os_image_hash = true,
				 .has_instance_id = true,
				 .tcb_status = "UpToDate" };

	memset(boot.app_id, 0xa1, sizeof(boot.app_id));
	memset(boot.compose_hash, 0xc0, sizeof(boot.compose_hash));
	memset(boot.device_id, 0xd0, sizeof(boot.device_id));
	memset(boot.os_image_hash, 0xc0, sizeof(boot.os_image_hash));
	memset(boot.mr_aggregated, 0xc0, sizeof(boot.mr_aggregated));
	return boot;
}

static struct kms_allow *list_of(const char *text)
{
	struct diags d = { 0 };
	struct kms_allow *allow = NULL;

	if (kms_allow_parse("allow.yaml", text, strlen(text), &allow, &d) < 0)
		diags_print(&d, stderr);
	diags_fini(&d);
	return allow;
}

static void decided(const char *text, enum kms_ask ask, const struct kms_boot *boot, const char *reason)
{
	struct kms_allow *allow = list_of(text);
	struct kms_decision d;

	assert_non_null(allow);
	kms_allow_decide(allow, ask, boot, &d);
	assert_string_equal(d.reason, reason);
	assert_int_equal(d.is_allowed, !*reason);
	kms_allow_free(allow);
}

#define LIST "version: 1\napps:\n  '" APP "':\n    compose_hashes: [" HASH1 "]\n"

static void an_app_needs_its_line(void **state)
{
	struct kms_boot boot = web();

	(void)state;
	decided(LIST, KMS_ASK_APP, &boot, "");
	decided(LIST "    devices: [" HASH2 "]\n", KMS_ASK_APP, &boot, "");
	decided(LIST "    devices: [" HASH1 "]\n", KMS_ASK_APP, &boot, "Device not allowed");
	decided(LIST "os_images: [" HASH1 "]\n", KMS_ASK_APP, &boot, "");
	decided(LIST "os_images: [" HASH2 "]\n", KMS_ASK_APP, &boot, "OS image is not allowed");
	decided("version: 1\n", KMS_ASK_APP, &boot, "App not registered");
	boot.compose_hash[31] ^= 1;
	decided(LIST, KMS_ASK_APP, &boot, "Compose hash not allowed");
	boot.compose_hash[31] ^= 1;
	boot.app_id[0] ^= 1;
	decided(LIST, KMS_ASK_APP, &boot, "App not registered");
}

/* What evidence does not say is no match, not even of zeros. */
static void an_unknown_claim_matches_nothing(void **state)
{
	struct kms_boot boot = web();

	(void)state;
	boot.has_device_id = false;
	decided(LIST "    devices: [" HASH2 "]\n", KMS_ASK_APP, &boot, "Device not allowed");
	boot.has_os_image_hash = false;
	decided(LIST "os_images: [" HASH1 "]\n", KMS_ASK_APP, &boot, "OS image is not allowed");
}

static void a_kms_needs_its_measurement(void **state)
{
	struct kms_boot boot = web();

	(void)state;
	decided(LIST, KMS_ASK_KMS, &boot, "Aggregated MR not allowed");
	decided("version: 1\nkms: { mr_aggregated: [" HASH1 "] }\n", KMS_ASK_KMS, &boot, "");
	decided("version: 1\nkms: { mr_aggregated: [" HASH2 "] }\n", KMS_ASK_KMS, &boot, "Aggregated MR not allowed");
	decided("version: 1\nkms: { mr_aggregated: [" HASH1 "], devices: [" HASH1 "] }\n", KMS_ASK_KMS, &boot,
		"KMS is not allowed to boot on this device");
}

static void lists_that_say_too_little_are_refused(void **state)
{
	static const char *const bad[] = {
		"apps: {}\n",
		"version: 2\n",
		"version: 1\nappz: {}\n",
		"version: 1\napps: { '12': { compose_hashes: [" HASH1 "] } }\n",
		"version: 1\napps: { '" APP "': {} }\n",
		"version: 1\napps: { '" APP "': { compose_hashes: [] } }\n",
		"version: 1\napps: { '" APP "': { compose_hashes: [12] } }\n",
		"version: 1\napps: { '" APP "': { compose_hashes: [" HASH1 "], devices: [] } }\n",
		"version: 1\napps: { '" APP "': any }\n",
		"version: 1\napps: { '" APP "': { compose_hashes: [" HASH1 "] }, '0x" APP "': { compose_hashes: [" HASH1
		"] } }\n",
		"version: 1\nkms: {}\n",
		"version: 1\nos_images: []\n",
		"version: 1\ngateway_app_id: any\n",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct diags d = { 0 };
		struct kms_allow *allow = NULL;

		if (kms_allow_parse("x", bad[i], strlen(bad[i]), &allow, &d) != -EINVAL || !d.n_errors)
			fail_msg("taken: %s", bad[i]);
		diags_fini(&d);
	}
}

static void a_webhook_s_answer_is_a_clear_yes_or_none(void **state)
{
	static const char *const bad[] = { "",
					   "true",
					   "[]",
					   "{}",
					   "{\"isAllowed\":1}",
					   "{\"isAllowed\":\"true\"}",
					   "{\"isallowed\":true}",
					   "{\"isAllowed\":false,\"isAllowed\":true}",
					   "{\"isAllowed\":true",
					   "{\"isAllowed\":true} x",
					   "{\"isAllowed\":true,\"gatewayAppId\":7}",
					   "<html>isAllowed: true</html>" };
	struct kms_decision d = { 0 };
	char text[600];

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct err e = ERR_INIT;

		if (kms_webhook_answer(bad[i], strlen(bad[i]), &d, &e) != -EBADMSG || d.is_allowed)
			fail_msg("taken: %s", bad[i]);
	}
	snprintf(text, sizeof(text), "{\"isAllowed\":true,\"reason\":\"%0300d\"}", 0);
	assert_int_equal(kms_webhook_answer(text, strlen(text), &d, NULL), -EBADMSG);
	strcpy(text, "{\"isAllowed\":true,\"gatewayAppId\":\"ab\",\"reason\":null,\"more\":[]}");
	assert_int_equal(kms_webhook_answer(text, strlen(text), &d, NULL), 0);
	assert_true(d.is_allowed);
	assert_string_equal(d.gateway_app_id, "ab");
	strcpy(text, "{\"isAllowed\":false,\"reason\":\"no\"}");
	assert_int_equal(kms_webhook_answer(text, strlen(text), &d, NULL), 0);
	assert_false(d.is_allowed);
	assert_string_equal(d.reason, "no");
}

static void boot_info_has_dstack_s_names(void **state)
{
	static const char *const names[] = { "mrAggregated", "osImageHash", "mrSystem", "appId",
					     "composeHash",  "instanceId",  "deviceId", "keyProviderInfo" };
	struct kms_boot boot = web();
	char *text;
	json_t *o;

	(void)state;
	strcpy(boot.advisory[0], "INTEL-SA-00615");
	boot.n_advisories = 1;
	boot.has_device_id = false;
	text = kms_boot_json(&boot);
	o = json_loads(text, 0, NULL);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		assert_true(json_is_string(json_object_get(o, names[i])));
	assert_string_equal(json_string_value(json_object_get(o, "teeVariant")), "dstack-tdx");
	assert_string_equal(json_string_value(json_object_get(o, "appId")), APP);
	assert_string_equal(json_string_value(json_object_get(o, "deviceId")), "");
	assert_string_equal(json_string_value(json_object_get(o, "tcbStatus")), "UpToDate");
	assert_string_equal(json_string_value(json_array_get(json_object_get(o, "advisoryIds"), 0)), "INTEL-SA-00615");
	json_decref(o);
	free(text);
}

#define CONF                                                                                                           \
	"version: 1\nlisten: 127.0.0.1:8000\ndomain: kms.internal\nstate: /s\nevidence: { policy: /e }\n"              \
	"seal: /key\n"

static int conf_parse(const char *text, struct kms_conf *conf)
{
	struct diags d = { 0 };
	int ret = kms_conf_parse("kms.yaml", text, strlen(text), conf, &d);

	diags_fini(&d);
	return ret;
}

static void configurations(void **state)
{
	static const char *const bad[] = {
		CONF,
		CONF "authorize: {}\n",
		CONF "authorize: { allow: /a, webhook: 'http://x' }\n",
		CONF "authorize: { webhook: 'ftp://x' }\n",
		CONF "authorize: { webhook: 'http://x', timeout_s: 0 }\n",
		CONF "authorize: { webhook: 'http://x', timeout_s: 21 }\n",
		CONF "authorize: { allow: a }\n",
		CONF "authorize: { allow: /a }\nseals: agent\n",
		"version: 1\nlisten: 127.0.0.1:8000\ndomain: k\nstate: /s\nevidence: { policy: /e }\nseal: agent\n"
		"authorize: { allow: /a }\n",
		"version: 1\nlisten: 127.0.0.1\ndomain: k\nstate: /s\nevidence: { policy: /e }\nseal: /k\n"
		"authorize: { allow: /a }\n",
		"version: 1\nlisten: 127.0.0.1:1\ndomain: 'k k'\nstate: /s\nevidence: { policy: /e }\nseal: /k\n"
		"authorize: { allow: /a }\n",
	};
	static struct kms_conf conf;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (conf_parse(bad[i], &conf) != -EINVAL)
			fail_msg("taken: %s", bad[i]);
	assert_int_equal(conf_parse(CONF "authorize: { webhook: 'https://x/', timeout_s: 3 }\n", &conf), 0);
	assert_int_equal(conf.timeout_s, 3);
	assert_string_equal(conf.user, "nobody");
	assert_false(conf.onboard);
	assert_int_equal(conf_parse(CONF "authorize: { allow: /a }\nonboard: true\nagent: /a.sock\n", &conf), 0);
	assert_true(conf.onboard);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_app_needs_its_line),
		cmocka_unit_test(an_unknown_claim_matches_nothing),
		cmocka_unit_test(a_kms_needs_its_measurement),
		cmocka_unit_test(lists_that_say_too_little_are_refused),
		cmocka_unit_test(a_webhook_s_answer_is_a_clear_yes_or_none),
		cmocka_unit_test(boot_info_has_dstack_s_names),
		cmocka_unit_test(configurations),
	};

	return cmocka_run_group_tests_name("kms: authorisation and configuration", tests, NULL, NULL);
}
