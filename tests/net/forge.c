// SPDX-License-Identifier: Apache-2.0
/*
 * What an attacker makes of evidence that is public anyway. Used by the demo and the namespace tests.
 *
 *   forge stolen-quote VICTIM.pem OUT     a certificate of a new key with the victim's quote and log: OUT.pem OUT.key
 *   forge altered-quote VICTIM.pem OUT    the same, and the quote's report_data made to name the new key
 *   forge altered-key RECORD OUT          a record whose WireGuard key is another
 *   forge altered-signature RECORD OUT    a record with one bit of the signature flipped
 */
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/text.h"
#include "identity/sim.h"

#define REPORT_DATA_AT 568 /* in a v4 quote */

static int write_text(const char *prefix, const char *suffix, const char *text)
{
	struct err e = ERR_INIT;
	char path[512];

	snprintf(path, sizeof(path), "%s%s", prefix, suffix);
	return text ? file_write(path, text, strlen(text), 0600, &e) : -1;
}

/* The leaf with the victim's extensions under our own key. */
static int forge_cert(const char *victim_pem, const char *out, bool alter)
{
	struct id_sim_request req = { .common_name = "forged", .not_before = 0, .not_after = INT64_C(4000000000) };
	auto_call(cleanup_pkey) EVP_PKEY *key = id_p256_new();
	auto_call(cleanup_x509) X509 *leaf = id_sim_leaf_new(&req, key);
	auto_free unsigned char *quote = NULL;
	unsigned char *der = NULL;
	uint8_t spki[ID_SPKI_LEN];
	struct id_cert victim;
	struct err e = ERR_INIT;
	X509 *x509[4];
	int n = id_x509_from_pem(victim_pem, strlen(victim_pem), x509, 4);
	int len = n > 0 ? i2d_X509(x509[0], &der) : -1;

	if (len < 0 || !leaf || id_cert_parse(der, (size_t)len, &victim, &e) < 0)
		return -1;
	quote = malloc(victim.ext[ID_EXT_QUOTE].left);
	memcpy(quote, victim.ext[ID_EXT_QUOTE].p, victim.ext[ID_EXT_QUOTE].left);
	if (alter && (!id_p256_spki(key, spki) || !id_cert_report_data(spki, quote + REPORT_DATA_AT)))
		return -1;
	id_x509_add_ext(leaf, ID_EXT_QUOTE, quote, victim.ext[ID_EXT_QUOTE].left);
	id_x509_add_ext(leaf, ID_EXT_EVENTLOG, victim.ext[ID_EXT_EVENTLOG].p, victim.ext[ID_EXT_EVENTLOG].left);
	if (X509_sign(leaf, key, EVP_sha256()) <= 0)
		return -1;
	return write_text(out, ".pem", id_x509_to_pem(leaf)) || write_text(out, ".key", id_key_to_pem(key));
}

static int alter_payload(json_t *record)
{
	const char *old = json_string_value(json_object_get(record, "payload"));
	static char raw[8192], coded[16384];
	size_t len = 0;
	json_t *payload;

	if (!base64_parse(raw, sizeof(raw), &len, old, strlen(old)))
		return -1;
	payload = json_loadb(raw, len, 0, NULL);
	/* a key whose owner the attacker is */
	json_object_set_new(payload, "wg_key", json_string("AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE="));
	len = json_dumpb(payload, raw, sizeof(raw), JSON_COMPACT | JSON_SORT_KEYS);
	base64_print(coded, raw, len);
	return json_object_set_new(record, "payload", json_string(coded));
}

static int alter_signature(json_t *record)
{
	const char *old = json_string_value(json_object_get(record, "sig"));
	uint8_t raw[128];
	char coded[256];
	size_t len = 0;

	if (!base64_parse(raw, sizeof(raw), &len, old, strlen(old)))
		return -1;
	raw[len - 1] ^= 1;
	base64_print(coded, raw, len);
	return json_object_set_new(record, "sig", json_string(coded));
}

static int forge_record(const char *text, const char *out, int (*alter)(json_t *record))
{
	json_t *record = json_loads(text, 0, NULL);

	if (!record || alter(record) < 0)
		return -1;
	return write_text(out, "", json_dumps(record, JSON_COMPACT | JSON_SORT_KEYS));
}

int main(int argc, char **argv)
{
	struct err e = ERR_INIT;
	char *text = NULL;
	size_t len;
	int ret = -1;

	if (argc != 4 || file_read(argv[2], 1 << 20, &text, &len, &e) < 0)
		return 2;
	if (strcmp(argv[1], "stolen-quote") == 0 || strcmp(argv[1], "altered-quote") == 0)
		ret = forge_cert(text, argv[3], argv[1][0] == 'a');
	else if (strcmp(argv[1], "altered-key") == 0)
		ret = forge_record(text, argv[3], alter_payload);
	else if (strcmp(argv[1], "altered-signature") == 0)
		ret = forge_record(text, argv[3], alter_signature);
	return ret == 0 ? 0 : 1;
}
