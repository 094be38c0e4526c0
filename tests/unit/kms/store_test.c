// SPDX-License-Identifier: Apache-2.0
/* What is on disk: sealed keys and the audit log, and what becomes of them when somebody lays hands on them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/text.h"
#include "identity/issue.h"
#include "kms/kms.h"

static char dir[] = "/tmp/bailey-kms-store-XXXXXX";
static struct kms_roots roots;
static struct id_authority ca;
static char log_path[PATH_MAX], head_path[PATH_MAX];

/* --- sealed keys --- */

static void what_is_sealed_opens_again(void **state)
{
	uint8_t secret[ID_SCALAR_LEN] = { 7 }, sealed[KMS_SEALED_LEN], again[KMS_SEALED_LEN];
	struct kms_roots opened = { 0 };
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(kms_seal(&roots, KMS_SEAL_FILE, secret, sealed, &e), 0);
	assert_int_equal(kms_unseal(sealed, sizeof(sealed), KMS_SEAL_FILE, secret, &opened, &e), 0);
	assert_memory_equal(&opened, &roots, sizeof(roots));
	assert_int_equal(kms_seal(&roots, KMS_SEAL_FILE, secret, again, &e), 0);
	assert_memory_not_equal(sealed, again, sizeof(sealed)); /* salt and nonce are fresh */
	assert_null(memmem(sealed, sizeof(sealed), roots.p256, ID_SCALAR_LEN));
}

static void every_bit_and_cut_of_the_sealed_file_counts(void **state)
{
	uint8_t secret[ID_SCALAR_LEN] = { 7 }, sealed[KMS_SEALED_LEN];
	struct kms_roots opened = { 0 }, zero = { 0 };
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(kms_seal(&roots, KMS_SEAL_FILE, secret, sealed, &e), 0);
	for (size_t bit = 0; bit < 8 * sizeof(sealed); bit++) {
		sealed[bit / 8] ^= (uint8_t)(1 << (bit % 8));
		assert_int_equal(kms_unseal(sealed, sizeof(sealed), KMS_SEAL_FILE, secret, &opened, &e), -EBADMSG);
		sealed[bit / 8] ^= (uint8_t)(1 << (bit % 8));
	}
	for (size_t len = 0; len < sizeof(sealed); len++)
		assert_int_equal(kms_unseal(sealed, len, KMS_SEAL_FILE, secret, &opened, &e), -EBADMSG);
	assert_int_equal(kms_unseal(sealed, sizeof(sealed), KMS_SEAL_AGENT, secret, &opened, &e), -EBADMSG);
	secret[31] ^= 1;
	assert_int_equal(kms_unseal(sealed, sizeof(sealed), KMS_SEAL_FILE, secret, &opened, &e), -EBADMSG);
	assert_memory_equal(&opened, &zero, sizeof(zero)); /* a refusal hands out nothing */
}

static void loose_files_are_refused(void **state)
{
	char path[PATH_MAX], other[PATH_MAX];
	auto_free char *data = NULL;
	struct err e = ERR_INIT;
	size_t len;

	(void)state;
	snprintf(path, sizeof(path), "%s/private", dir);
	snprintf(other, sizeof(other), "%s/link", dir);
	assert_int_equal(file_write(path, "x", 1, 0600, &e), 0);
	assert_int_equal(kms_file_private(path, 10, &data, &len, &e), 0);
	assert_int_equal(chmod(path, 0640), 0);
	assert_int_equal(kms_file_private(path, 10, &data, &len, &e), -EPERM);
	e = ERR_INIT;
	assert_int_equal(chmod(path, 0600), 0);
	assert_int_equal(symlink(path, other), 0);
	assert_true(kms_file_private(other, 10, &data, &len, &e) < 0);
	assert_non_null(strstr(e.msg, "symbolic link"));
	e = ERR_INIT;
	assert_int_equal(kms_file_private(dir, 10, &data, &len, &e), -EINVAL);
	e = ERR_INIT;
	assert_int_equal(file_write(path, "0123456789a", 11, 0600, &e), 0);
	assert_int_equal(kms_file_private(path, 10, &data, &len, &e), -EFBIG);
	unlink(path);
	unlink(other);
}

/* --- audit log --- */

static void log_new(unsigned n)
{
	static unsigned logs; /* no two are the same */
	struct kms_audit audit;
	struct err e = ERR_INIT;

	logs++;
	unlink(log_path);
	unlink(head_path);
	assert_int_equal(kms_audit_create(dir, ca.key, &audit, &e), 0);
	for (unsigned i = 0; i < n; i++) {
		char members[64];

		snprintf(members, sizeof(members), "\"what\":\"test\",\"n\":%u", 100 * logs + i);
		assert_int_equal(kms_audit_append(&audit, 1000 + i, members, &e), 0);
	}
	kms_audit_close(&audit);
}

static int verify(const uint8_t *seen, struct kms_audit_report *report, struct err *e)
{
	*e = ERR_INIT;
	return kms_audit_verify(log_path, head_path, ca.key, seen, report, e);
}

static int open_again(struct err *e)
{
	struct kms_audit audit;
	int ret;

	*e = ERR_INIT;
	ret = kms_audit_open(dir, ca.key, &audit, e);
	if (!ret)
		kms_audit_close(&audit);
	return ret;
}

/* Both the operator's check and the start of the KMS say no. */
static void both_refuse(const char *text)
{
	struct kms_audit_report report;
	struct err e;

	assert_true(verify(NULL, &report, &e) < 0);
	if (!strstr(e.msg, text))
		fail_msg("'%s' is not in '%s'", text, e.msg);
	assert_true(open_again(&e) < 0);
}

static char *slurp(const char *path, size_t *len)
{
	struct err e = ERR_INIT;
	char *data;

	assert_int_equal(file_read(path, 1 << 20, &data, len, &e), 0);
	return data;
}

static void spill(const char *path, const char *data, size_t len)
{
	struct err e = ERR_INIT;

	assert_int_equal(file_write(path, data, len, 0600, &e), 0);
}

static void a_log_goes_on_after_a_restart(void **state)
{
	struct kms_audit_report report;
	struct kms_audit audit;
	uint8_t seen[ID_HASH_LEN];
	struct err e = ERR_INIT;

	(void)state;
	log_new(3);
	assert_int_equal(kms_audit_open(dir, ca.key, &audit, &e), 0);
	assert_int_equal(audit.seq, 3);
	memcpy(seen, audit.hash, sizeof(seen));
	assert_int_equal(kms_audit_append(&audit, 2000, "\"what\":\"more\"", &e), 0);
	kms_audit_close(&audit);
	assert_int_equal(verify(seen, &report, &e), 0);
	assert_int_equal(report.n, 4);
	assert_true(report.has_seen);
	seen[0] ^= 1;
	assert_int_equal(verify(seen, &report, &e), 0);
	assert_false(report.has_seen);
}

static void every_byte_of_the_log_counts(void **state)
{
	struct kms_audit_report report;
	auto_free char *data = NULL;
	struct err e;
	size_t len;

	(void)state;
	log_new(3);
	data = slurp(log_path, &len);
	for (size_t i = 0; i < len; i++) {
		data[i] ^= 1;
		spill(log_path, data, len);
		assert_true(verify(NULL, &report, &e) < 0);
		data[i] ^= 1;
	}
	spill(log_path, data, len);
	assert_int_equal(verify(NULL, &report, &e), 0);
}

/* Wherever it is cut: a record is missing, or half of one is there. */
static void a_cut_log_is_refused(void **state)
{
	struct kms_audit_report report;
	auto_free char *data = NULL;
	struct err e;
	size_t len;

	(void)state;
	log_new(3);
	data = slurp(log_path, &len);
	for (size_t cut = 0; cut < len; cut++) {
		spill(log_path, data, cut);
		assert_true(verify(NULL, &report, &e) < 0);
		assert_true(open_again(&e) < 0);
	}
}

static void records_neither_vanish_nor_change_places(void **state)
{
	auto_free char *data = NULL, *made = NULL;
	char *second, *third;
	size_t len;

	(void)state;
	log_new(3);
	data = slurp(log_path, &len);
	second = strchr(data, '\n') + 1;
	third = strchr(second, '\n') + 1;
	spill(log_path, second, len - (size_t)(second - data));
	both_refuse("missing");
	made = calloc(1, len);
	memcpy(made, data, (size_t)(second - data));
	memcpy(made + (second - data), third, len - (size_t)(third - data));
	spill(log_path, made, len - (size_t)(third - second));
	both_refuse("missing");
	spill(log_path, data, (size_t)(third - data));
	both_refuse("it was cut");
}

/* A log that somebody else made, in full and by the rules, with a key of his own. */
static void another_s_log_is_refused(void **state)
{
	struct id_authority mine = ca;
	struct kms_roots other;
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(kms_roots_new(1, &other, &e), 0);
	assert_int_equal(id_root_ca(other.p256, "other", 1000, &ca, &e), 0);
	log_new(3);
	id_authority_fini(&ca);
	ca = mine;
	both_refuse("no head");
}

static void a_head_of_an_earlier_time_does_not_hide_a_record(void **state)
{
	auto_free char *data = NULL, *head = NULL;
	size_t len, head_len;

	(void)state;
	log_new(2);
	head = slurp(head_path, &head_len);
	log_new(2); /* another log of the same key */
	spill(head_path, head, head_len);
	data = slurp(log_path, &len);
	assert_true(len > 0);
	both_refuse("not the one that the head names");
	unlink(head_path);
	both_refuse("No such file");
}

/* The crash between record and head, and the one within a record. */
static void a_crash_while_writing_is_put_right(void **state)
{
	struct kms_audit_report report;
	auto_free char *data = NULL, *head = NULL, *longer = NULL;
	size_t len, head_len, longer_len;
	struct kms_audit audit;
	struct err e = ERR_INIT;

	(void)state;
	log_new(2);
	data = slurp(log_path, &len);
	head = slurp(head_path, &head_len);
	assert_int_equal(kms_audit_open(dir, ca.key, &audit, &e), 0);
	assert_int_equal(kms_audit_append(&audit, 3000, "\"what\":\"third\"", &e), 0);
	kms_audit_close(&audit);
	longer = slurp(log_path, &longer_len);

	spill(head_path, head, head_len); /* record 3 is there, its head is not */
	assert_int_equal(verify(NULL, &report, &e), 0);
	assert_int_equal(report.n, 3);
	assert_int_equal(open_again(&e), 0);

	spill(log_path, longer, longer_len - 10); /* half of record 3, which was never answered for */
	assert_true(verify(NULL, &report, &e) < 0);
	assert_int_equal(open_again(&e), 0);
	assert_int_equal(verify(NULL, &report, &e), 0);
	assert_int_equal(report.n, 2);
}

static void what_can_not_be_recorded_is_not_done(void **state)
{
	struct kms_audit_report report;
	auto_free char *huge = malloc(KMS_AUDIT_LINE_MAX + 1);
	struct kms_audit audit;
	struct err e = ERR_INIT;
	int log;

	(void)state;
	log_new(1);
	assert_int_equal(kms_audit_open(dir, ca.key, &audit, &e), 0);
	memset(huge, ' ', KMS_AUDIT_LINE_MAX);
	huge[KMS_AUDIT_LINE_MAX] = '\0';
	assert_int_equal(kms_audit_append(&audit, 1, huge, &e), -E2BIG);
	log = audit.log;
	audit.log = open(log_path, O_RDONLY);
	e = ERR_INIT;
	assert_true(kms_audit_append(&audit, 1, "\"what\":\"x\"", &e) < 0);
	close(audit.log);
	audit.log = log;
	assert_int_equal(audit.seq, 1);
	kms_audit_close(&audit);
	assert_int_equal(verify(NULL, &report, &e), 0);
	assert_int_equal(report.n, 1);
}

static void two_do_not_write_one_log(void **state)
{
	struct kms_audit one, two;
	struct err e = ERR_INIT;

	(void)state;
	log_new(1);
	assert_int_equal(kms_audit_open(dir, ca.key, &one, &e), 0);
	assert_true(kms_audit_open(dir, ca.key, &two, &e) < 0);
	assert_non_null(strstr(e.msg, "in use"));
	kms_audit_close(&one);
	e = ERR_INIT;
	assert_int_equal(chmod(log_path, 0644), 0);
	assert_int_equal(kms_audit_open(dir, ca.key, &one, &e), -EPERM);
}

static int start(void **state)
{
	struct err e = ERR_INIT;

	(void)state;
	if (!mkdtemp(dir) || kms_roots_new(1000, &roots, &e) < 0 ||
	    id_root_ca(roots.p256, "Dstack KMS CA", 1000, &ca, &e) < 0)
		return -1;
	snprintf(log_path, sizeof(log_path), "%s/audit.log", dir);
	snprintf(head_path, sizeof(head_path), "%s/audit.head", dir);
	return 0;
}

static int end(void **state)
{
	(void)state;
	id_authority_fini(&ca);
	unlink(log_path);
	unlink(head_path);
	return rmdir(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_sealed_opens_again),
		cmocka_unit_test(every_bit_and_cut_of_the_sealed_file_counts),
		cmocka_unit_test(loose_files_are_refused),
		cmocka_unit_test(a_log_goes_on_after_a_restart),
		cmocka_unit_test(every_byte_of_the_log_counts),
		cmocka_unit_test(a_cut_log_is_refused),
		cmocka_unit_test(records_neither_vanish_nor_change_places),
		cmocka_unit_test(another_s_log_is_refused),
		cmocka_unit_test(a_head_of_an_earlier_time_does_not_hide_a_record),
		cmocka_unit_test(a_crash_while_writing_is_put_right),
		cmocka_unit_test(what_can_not_be_recorded_is_not_done),
		cmocka_unit_test(two_do_not_write_one_log),
	};

	return cmocka_run_group_tests_name("kms: sealed keys and audit log", tests, start, end);
}
