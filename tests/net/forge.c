// SPDX-License-Identifier: Apache-2.0
/*
 * What an attacker makes of evidence that is public anyway. Used by the demo and the namespace tests.
 *
 *   forge stolen-quote VICTIM.pem OUT     a certificate of a new key with the victim's quote and log: OUT.pem OUT.key
 *   forge altered-quote VICTIM.pem OUT    the same, and the quote's report_data made to name the new key
 *   forge snp-report IDENTITY.json OUT    a certificate of a new key with a SEV-SNP report that no processor signed
 *   forge altered-key RECORD OUT          a record whose WireGuard key is another
 *   forge altered-detour RECORD OUT       a record with the key of a second device that its signer never named
 *   forge altered-signature RECORD OUT    a record with one bit of the signature flipped
 */
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/text.h"
#include "identity/scale.h"
#include "identity/sim.h"
#include "identity/snp.h"

#define REPORT_DATA_AT 568 /* in a v4 quote */

/* Takes over text. */
static int write_text(const char *prefix, const char *suffix, char *text)
{
	auto_free char *owned = text;
	struct err e = ERR_INIT;
	char path[512];

	snprintf(path, sizeof(path), "%s%s", prefix, suffix);
	return owned ? file_write(path, owned, strlen(owned), 0600, &e) : -1;
}

/* The first certificate of a PEM text, parsed; id_cert_fini() it. */
static int read_victim(const char *pem, struct id_cert *victim)
{
	struct err e = ERR_INIT;
	unsigned char *der = NULL;
	X509 *x509[4];
	int n = id_x509_from_pem(pem, strlen(pem), x509, 4), len = n > 0 ? i2d_X509(x509[0], &der) : -1;
	int ret = len > 0 ? id_cert_parse(der, (size_t)len, victim, &e) : -1;

	OPENSSL_free(der);
	while (n > 0)
		X509_free(x509[--n]);
	return ret;
}

/* The victim's quote and log in `leaf`; with `alter` its report_data names `key`. */
static int copy_evidence(const struct id_cert *victim, X509 *leaf, EVP_PKEY *key, bool alter)
{
	const struct in *quote = &victim->ext[ID_EXT_QUOTE], *log = &victim->ext[ID_EXT_EVENTLOG];
	auto_free uint8_t *copy = malloc(quote->left);
	uint8_t spki[ID_SPKI_LEN];

	if (!copy || quote->left < REPORT_DATA_AT + ID_REPORT_DATA_LEN)
		return -1;
	memcpy(copy, quote->p, quote->left);
	if (alter && (!id_p256_spki(key, spki) || !id_cert_report_data(spki, copy + REPORT_DATA_AT)))
		return -1;
	return id_x509_add_ext(leaf, ID_EXT_QUOTE, copy, quote->left) &&
			       id_x509_add_ext(leaf, ID_EXT_EVENTLOG, log->p, log->left)
		       ? 0
		       : -1;
}

/* The leaf with the victim's evidence under our own key. */
static int forge_cert(const char *victim_pem, const char *out, bool alter)
{
	struct id_sim_request req = { .common_name = "forged", .not_before = 0, .not_after = INT64_C(4000000000) };
	auto_call(cleanup_pkey) EVP_PKEY *key = id_p256_new();
	auto_call(cleanup_x509) X509 *leaf = id_sim_leaf_new(&req, key);
	struct id_cert victim;
	int ret;

	if (!leaf || read_victim(victim_pem, &victim) < 0)
		return -1;
	ret = copy_evidence(&victim, leaf, key, alter);
	id_cert_fini(&victim);
	if (ret < 0 || X509_sign(leaf, key, EVP_sha256()) <= 0)
		return -1;
	return write_text(out, ".pem", id_x509_to_pem(leaf)) || write_text(out, ".key", id_key_to_pem(key));
}

/* A report of zeros, two certificates that are none, and IDENTITY as the document that HOST_DATA names. */
static bool put_report(struct out *out, const char *identity)
{
	static const char tag[] = "dstack-mr-config-v3:";
	uint8_t report[ID_SNP_REPORT_LEN] = { 3, [0x0a] = 3, [0x34] = 1, [0x188] = 0x19, [0x189] = 1 },
		zero[ID_REPORT_DATA_LEN] = { 0 };

	if (!id_hash(EVP_sha256(), report + 0xc0, tag, sizeof(tag), identity, strlen(identity)))
		return false;
	out_u8(out, 0); /* version */
	out_u8(out, 3); /* SEV-SNP */
	scale_put_bytes(out, report, sizeof(report));
	scale_put_compact(out, 2);
	scale_put_bytes(out, "ASK", 3);
	scale_put_bytes(out, "VCEK", 4);
	scale_put_bytes(out, identity, strlen(identity));
	scale_put_compact(out, 0); /* runtime events */
	out_bytes(out, zero, sizeof(zero));
	scale_put_bytes(out, "", 0);
	return out_ok(out);
}

static int forge_snp(const char *identity, const char *out)
{
	struct id_sim_request req = { .common_name = "forged", .not_before = 0, .not_after = INT64_C(4000000000) };
	auto_call(cleanup_pkey) EVP_PKEY *key = id_p256_new();
	auto_call(cleanup_x509) X509 *leaf = id_sim_leaf_new(&req, key);
	auto_out struct out bytes = { 0 };

	if (!leaf || !put_report(&bytes, identity) ||
	    !id_x509_add_ext(leaf, ID_EXT_ATTESTATION, bytes.data, bytes.len) ||
	    X509_sign(leaf, key, EVP_sha256()) <= 0)
		return -1;
	return write_text(out, ".pem", id_x509_to_pem(leaf)) || write_text(out, ".key", id_key_to_pem(key));
}

/* A key whose owner the attacker is. */
static void put_key(json_t *payload, const char *member)
{
	json_object_set_new(payload, member, json_string("AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE="));
}

static int alter_payload(json_t *record, bool is_detour)
{
	const char *old = json_string_value(json_object_get(record, "payload"));
	static char raw[8192], coded[16384];
	size_t len = 0;
	json_t *payload;

	if (!base64_parse(raw, sizeof(raw), &len, old, strlen(old)))
		return -1;
	payload = json_loadb(raw, len, 0, NULL);
	put_key(payload, is_detour ? "detour_key" : "wg_key");
	if (is_detour)
		json_object_set_new(payload, "v", json_integer(3));
	len = json_dumpb(payload, raw, sizeof(raw), JSON_COMPACT | JSON_SORT_KEYS);
	json_decref(payload);
	base64_print(coded, raw, len);
	return json_object_set_new(record, "payload", json_string(coded));
}

static int alter_key(json_t *record)
{
	return alter_payload(record, false);
}

static int alter_detour(json_t *record)
{
	return alter_payload(record, true);
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
	int ret = record ? alter(record) : -1;

	if (ret == 0)
		ret = write_text(out, "", json_dumps(record, JSON_COMPACT | JSON_SORT_KEYS));
	json_decref(record);
	return ret;
}

int main(int argc, char **argv)
{
	struct err e = ERR_INIT;
	auto_free char *text = NULL;
	size_t len;
	int ret = -1;

	if (argc != 4 || file_read(argv[2], 1 << 20, &text, &len, &e) < 0)
		return 2;
	if (strcmp(argv[1], "stolen-quote") == 0 || strcmp(argv[1], "altered-quote") == 0)
		ret = forge_cert(text, argv[3], argv[1][0] == 'a');
	else if (strcmp(argv[1], "snp-report") == 0)
		ret = forge_snp(text, argv[3]);
	else if (strcmp(argv[1], "altered-key") == 0)
		ret = forge_record(text, argv[3], alter_key);
	else if (strcmp(argv[1], "altered-detour") == 0)
		ret = forge_record(text, argv[3], alter_detour);
	else if (strcmp(argv[1], "altered-signature") == 0)
		ret = forge_record(text, argv[3], alter_signature);
	return ret == 0 ? 0 : 1;
}
