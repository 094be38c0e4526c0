// SPDX-License-Identifier: Apache-2.0
#include "evidence.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/text.h"
#include "identity/x509.h"

#define ROOTS_MAX_BYTES (64 * 1024)
#define CHAIN_MAX       8
#define LABEL_WIDTH     18

bool ev_wants_help(int argc, char **argv)
{
	return (argc > 1 && strcmp(argv[1], "--help") == 0) || (argc > 2 && strcmp(argv[2], "--help") == 0);
}

bool ev_int(const char *text, int64_t min, int64_t max, int64_t *v)
{
	char *end;
	long long n;

	errno = 0;
	n = strtoll(text, &end, 10);
	if (errno || end == text || *end || n < min || n > max)
		return false;
	*v = n;
	return true;
}

int ev_trust(const struct ev_args *args, struct id_trust *trust, char **roots, struct err *e)
{
	auto_free char *data = NULL;
	size_t len = 0;

	if (args->root) {
		int ret = file_read_arg(args->root, ROOTS_MAX_BYTES, &data, &len, e);

		if (ret < 0)
			return ret;
	}
	*trust = (struct id_trust){ .now = args->has_at ? args->at_s : time(NULL),
				    .allow_simulated = args->allow_simulated,
				    .simulated_roots = data,
				    .simulated_roots_len = len };
	*roots = take_ptr(data);
	return 0;
}

static int pem_first(const char *path, const char *pem, size_t len, uint8_t **der, size_t *der_len, struct err *e)
{
	X509 *certs[CHAIN_MAX];
	int n = id_x509_from_pem(pem, len, certs, CHAIN_MAX);
	unsigned char *made = NULL;
	int made_len;

	if (n < 1)
		return err_reason(e, ID_CERT_MALFORMED, path, "is neither DER nor PEM with 1 to %d certificates",
				  CHAIN_MAX);
	made_len = i2d_X509(certs[0], &made);
	*der = made_len > 0 ? malloc((size_t)made_len) : NULL;
	if (*der) {
		memcpy(*der, made, (size_t)made_len);
		*der_len = (size_t)made_len;
	}
	OPENSSL_free(made);
	while (n)
		X509_free(certs[--n]);
	return *der ? 0 : err_at(e, -ENOMEM, path, "out of memory");
}

int ev_cert_first(const char *where, const char *data, size_t data_len, uint8_t **der, size_t *len, struct err *e)
{
	if (!data_len || data[0] != 0x30) /* a DER SEQUENCE; in PEM, '0' could only be text before the block */
		return pem_first(where, data, data_len, der, len, e);
	*der = malloc(data_len);
	if (!*der)
		return err_at(e, -ENOMEM, where, "out of memory");
	memcpy(*der, data, data_len);
	*len = data_len;
	return 0;
}

int ev_cert_read(const char *path, uint8_t **der, size_t *len, struct err *e)
{
	auto_free char *data = NULL;
	size_t data_len;
	int ret = file_read_arg(path, 2 * ID_CERT_MAX, &data, &data_len, e);

	if (ret < 0)
		return ret;
	return ev_cert_first(path, data, data_len, der, len, e);
}

json_t *ev_time(int64_t unix_s)
{
	time_t t = (time_t)unix_s;
	char text[64];
	struct tm tm;

	if (!gmtime_r(&t, &tm) || !strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm))
		return json_integer(unix_s);
	return json_string(text);
}

json_t *ev_log_identity(const struct id_log *log)
{
	json_t *o = json_object();

	json_object_set_new(o, "app_id", json_hex(log->app_id, sizeof(log->app_id)));
	json_object_set_new(o, "compose_hash", json_hex(log->compose_hash, sizeof(log->compose_hash)));
	if (log->has_instance_id)
		json_object_set_new(o, "instance_id", json_hex(log->instance_id, sizeof(log->instance_id)));
	if (log->has_os_image_hash)
		json_object_set_new(o, "os_image_hash", json_hex(log->os_image_hash, sizeof(log->os_image_hash)));
	if (log->key_provider[0])
		json_object_set_new(o, "key_provider", json_string(log->key_provider));
	return o;
}

static const char *tee_name(enum id_tee tee)
{
	return tee == ID_TEE_SNP ? "SEV-SNP" : tee == ID_TEE_TDX ? "TDX" : "SIMULATED TDX";
}

void ev_until(const char *what, int64_t until, int64_t now, json_t *report)
{
	char name[32];

	snprintf(name, sizeof(name), "%s_until", what);
	json_object_set_new(report, name, ev_time(until));
	snprintf(name, sizeof(name), "%s_days", what);
	json_object_set_new(report, name, json_integer((until - now) / 86400));
}

json_t *ev_claims(const struct id_claims *claims, int64_t now)
{
	json_t *o = json_object();

	json_object_set_new(o, "tee", json_string(tee_name(claims->tee)));
	json_object_set_new(o, "app_id", json_hex(claims->app_id, sizeof(claims->app_id)));
	if (claims->has_instance_id)
		json_object_set_new(o, "instance_id", json_hex(claims->instance_id, sizeof(claims->instance_id)));
	json_object_set_new(o, "compose_hash", json_hex(claims->compose_hash, sizeof(claims->compose_hash)));
	if (claims->has_os_image_hash)
		json_object_set_new(o, "os_image_hash", json_hex(claims->os_image_hash, sizeof(claims->os_image_hash)));
	if (claims->key_provider[0])
		json_object_set_new(o, "key_provider", json_string(claims->key_provider));
	json_object_set_new(o, "mrtd", json_hex(claims->mrtd, sizeof(claims->mrtd)));
	json_object_set_new(o, "mr_aggregated", json_hex(claims->mr_aggregated, sizeof(claims->mr_aggregated)));
	json_object_set_new(o, "mr_system", json_hex(claims->mr_system, sizeof(claims->mr_system)));
	if (claims->has_device_id)
		json_object_set_new(o, "device_id", json_hex(claims->device_id, sizeof(claims->device_id)));
	json_object_set_new(o, "key_sha256", json_hex(claims->spki_sha256, sizeof(claims->spki_sha256)));
	json_object_set_new(o, "not_after", ev_time(claims->not_after));
	if (claims->evidence_until)
		ev_until("evidence", claims->evidence_until, now, o);
	return o;
}

json_t *ev_refusal(const struct err *e)
{
	char text[600];

	return json_pack("{s:s, s:s}", "reason", e->reason ? id_reason_name(e->reason) : "ERROR", "message",
			 err_text(e, text, sizeof(text)));
}

/* --- printing --- */

static bool has_colour(void)
{
	const char *no_color = getenv("NO_COLOR");

	return isatty(STDOUT_FILENO) && !(no_color && no_color[0]);
}

static void print_text(const char *text)
{
	if (has_colour() && strstr(text, "SIMULATED"))
		printf("\033[1;31m%s\033[0m\n", text);
	else
		printf("%s\n", text);
}

static void print_value(const json_t *value)
{
	if (json_is_string(value))
		print_text(json_string_value(value));
	else if (json_is_integer(value))
		printf("%" JSON_INTEGER_FORMAT "\n", json_integer_value(value));
	else
		printf("%s\n", json_is_true(value) ? "yes" : "no");
}

static void print_tree(const char *key, json_t *value, int depth)
{
	const char *name;
	size_t i;
	json_t *item;

	if (!json_is_object(value) && !json_is_array(value)) {
		printf("%*s%-*s ", 2 * depth, "", LABEL_WIDTH - 2 * depth, key);
		print_value(value);
		return;
	}
	if (json_is_array(value)) {
		json_array_foreach (value, i, item)
			print_tree(i ? "" : key, item, depth);
		return;
	}
	printf("%*s%s\n", 2 * depth, "", key);
	json_object_foreach (value, name, item)
		print_tree(name, item, depth + 1);
}

void ev_print(json_t *report, bool is_json)
{
	const char *name;
	json_t *item;

	if (is_json) {
		json_dumpf(report, stdout, JSON_INDENT(2));
		putchar('\n');
	} else {
		json_object_foreach (report, name, item)
			print_tree(name, item, 0);
	}
	json_decref(report);
}

int ev_fail(const struct err *e)
{
	char text[600];

	err_text(e, text, sizeof(text));
	if (e->reason)
		fprintf(stderr, "bailey: refused: %s: %s\n", id_reason_name(e->reason), text);
	else
		fprintf(stderr, "bailey: %s\n", text);
	return e->reason ? EV_REFUSED : EV_USAGE;
}
