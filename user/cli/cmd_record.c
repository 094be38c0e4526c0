// SPDX-License-Identifier: Apache-2.0
/* bailey record: sign, show and verify attested node records (docs/record.md). */
#include "cmds.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/text.h"
#include "identity/evidence.h"
#include "identity/record.h"
#include "verify.h"

#define PEM_MAX   (2 * ID_CERT_MAX)
#define HOUR_S    3600
#define HOURS     24
#define BACKDATED 300

static const char usage[] =
	"usage: bailey record show FILE [--json]\n"
	"       bailey record verify FILE [--collateral FILE]... [--policy FILE] [--at UNIX] [--json]\n"
	"                            [--root ROOT.pem --allow-simulated]\n"
	"       bailey record sign --cert FILE --key FILE --node NAME --wg-key BASE64 --addr ADDR... [--endpoint "
	"A:P]...\n"
	"                          [--service TYPE/tcp|udp/PORT]... [--detour-key BASE64] [--epoch N]\n"
	"                          [--not-before UNIX] [--hours N] [--out FILE]\n"
	"\n"
	"  show    what a record says; nothing is verified\n"
	"  verify  certificate, quote, signature, validity, identity, with collateral and policy as `bailey quote "
	"verify`.\n"
	"          Exit status: 0 accepted, 1 refused\n"
	"  sign    app-id and instance-id come from the certificate's evidence. The epoch is the current time unless\n"
	"          given. It begins five minutes ago and ends after --hours (24, at most 744).\n";

static int usage_error(const char *what)
{
	fprintf(stderr, "bailey record: %s\n\n%s", what, usage);
	return EV_USAGE;
}

/* --- show, verify --- */

static void record_report(const struct id_record *r, json_t *o)
{
	char text[ENDPOINT_TEXT], key[BASE64_LEN(ID_WG_KEY_LEN)], detour[BASE64_LEN(ID_WG_KEY_LEN)];
	json_t *addrs = json_array(), *endpoints = json_array(), *services = json_array();

	base64_print(key, r->wg_key, sizeof(r->wg_key));
	base64_print(detour, r->detour_key, sizeof(r->detour_key));
	for (uint32_t i = 0; i < r->n_addrs; i++)
		json_array_append_new(addrs, json_string(addr_print(&r->addrs[i], text)));
	for (uint32_t i = 0; i < r->n_endpoints; i++)
		json_array_append_new(endpoints, json_string(endpoint_print(&r->endpoints[i], text)));
	for (uint32_t i = 0; i < r->n_services; i++)
		json_array_append_new(services, json_string(id_service_print(&r->services[i], text)));
	json_object_set_new(o, "node", json_string(r->node));
	json_object_set_new(o, "app_id", json_hex(r->app_id, sizeof(r->app_id)));
	json_object_set_new(o, "instance_id", json_hex(r->instance_id, sizeof(r->instance_id)));
	json_object_set_new(o, "wg_key", json_string(key));
	json_object_set_new(o, "addrs", addrs);
	json_object_set_new(o, "endpoints", endpoints);
	json_object_set_new(o, "services", services);
	if (r->has_detour)
		json_object_set_new(o, "detour_key", json_string(detour));
	json_object_set_new(o, "epoch", json_integer((json_int_t)r->epoch));
	json_object_set_new(o, "not_before", ev_time(r->not_before));
	json_object_set_new(o, "not_after", ev_time(r->not_after));
}

/* Whether the certificate says itself that it is simulated. */
static bool is_simulated(const struct id_envelope *envelope)
{
	auto_call(id_evidence_fini) struct id_evidence evidence = { 0 };
	auto_call(id_cert_fini) struct id_cert cert = { 0 };

	return id_cert_parse(envelope->cert, envelope->cert_len, &cert, NULL) == 0 &&
	       id_evidence_read(&cert, &evidence, NULL) == 0 && id_evidence_is_simulated(&evidence);
}

static int show(const uint8_t *bytes, size_t len, const struct ev_args *args)
{
	auto_call(id_envelope_fini) struct id_envelope envelope = { 0 };
	struct err e = ERR_INIT;
	uint8_t digest[32] = { 0 };
	json_t *report;
	bool simulated;

	if (id_envelope_read(bytes, len, &envelope, &e) < 0)
		return ev_fail(&e);
	report = json_object();
	simulated = is_simulated(&envelope);
	record_report(&envelope.record, report);
	json_object_set_new(report, "certificate_bytes", json_integer((json_int_t)envelope.cert_len));
	id_hash(EVP_sha256(), digest, bytes, len, NULL, 0);
	json_object_set_new(report, "digest", json_hex(digest, sizeof(digest)));
	json_object_set_new(report, "simulated", json_boolean(simulated));
	json_object_set_new(report, "verified", json_false());
	json_object_set_new(
		report, "verdict",
		json_string(simulated ? "not verified, SIMULATED" : "not verified: use bailey record verify"));
	ev_print(report, args->is_json);
	return EV_OK;
}

static int judge(const uint8_t *bytes, size_t len, const struct id_trust *trust, const struct ev_args *args)
{
	struct err e = ERR_INIT;
	struct id_node node;
	json_t *report;

	if (id_record_verify(bytes, len, trust, &node, &e) < 0) {
		if (args->is_json)
			ev_print(json_pack("{s:b, s:s, s:o}", "verified", 0, "verdict", "refused", "refusal",
					   ev_refusal(&e)),
				 true);
		return ev_fail(&e);
	}
	report = json_object();
	record_report(&node.record, report);
	json_object_set_new(report, "certificate", ev_claims(&node.claims, trust->now));
	json_object_set_new(report, "digest", json_hex(node.digest, sizeof(node.digest)));
	json_object_set_new(report, "simulated", json_boolean(node.claims.is_simulated));
	json_object_set_new(report, "verified", json_true());
	json_object_set_new(report, "verdict",
			    json_string(node.claims.is_simulated ? "accepted, SIMULATED" : "accepted"));
	ev_print(report, args->is_json);
	return EV_OK;
}

static int verify(const uint8_t *bytes, size_t len, const struct verify_args *args)
{
	auto_call(verify_trust_fini) struct verify_trust t = { 0 };
	struct err e = ERR_INIT;

	if (verify_trust_open(args, &t, &e) < 0 ||
	    verify_collateral_read(&args->collateral, t.trust.collaterals, &e) < 0)
		return ev_fail(&e);
	return judge(bytes, len, &t.trust, &args->ev);
}

static int read_main(int argc, char **argv, bool is_verify)
{
	static const struct option options[] = { VERIFY_OPTIONS, { NULL, 0, NULL, 0 } };
	struct verify_args args = { 0 };
	auto_free char *data = NULL;
	struct err e = ERR_INIT;
	bool ok = true;
	size_t len;
	int c;

	optind = 0;
	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		ok = (is_verify || c == 'j') && verify_option(&args, c) && ok;
	}
	if (!ok || optind != argc - 1)
		return usage_error("one FILE is needed");
	if (is_verify && !args.ev.root && !args.collateral.n)
		return usage_error("--collateral, or --root for simulated evidence, is needed to verify");
	if (file_read_arg(argv[optind], ID_RECORD_MAX, &data, &len, &e) < 0)
		return ev_fail(&e);
	return is_verify ? verify((uint8_t *)data, len, &args) : show((uint8_t *)data, len, &args.ev);
}

/* --- sign --- */

struct sign_args {
	const char *cert, *key, *out;
	struct id_record record;
	int64_t hours;
	bool has_key, has_not_before;
};

static int identity_take(const char *path, struct id_record *r, struct err *e)
{
	auto_call(id_evidence_fini) struct id_evidence evidence = { 0 };
	auto_call(id_cert_fini) struct id_cert cert = { 0 };
	auto_free uint8_t *der = NULL;
	struct id_log log;
	size_t len;
	int ret = ev_cert_read(path, &der, &len, e);

	if (!ret)
		ret = id_cert_parse(der, len, &cert, e);
	if (!ret)
		ret = id_evidence_read(&cert, &evidence, e);
	if (!ret)
		ret = id_evidence_identity(&evidence, &log, e);
	if (!ret && !log.has_instance_id)
		ret = err_reason(e, ID_RECORD_IDENTITY, path, "proves no instance-id");
	if (ret < 0)
		return ret;
	memcpy(r->app_id, log.app_id, sizeof(r->app_id));
	memcpy(r->instance_id, log.instance_id, sizeof(r->instance_id));
	return 0;
}

static int sign(struct sign_args *args)
{
	auto_free char *cert = NULL, *key = NULL;
	auto_free uint8_t *bytes = NULL;
	struct err e = ERR_INIT;
	size_t len;

	if (identity_take(args->cert, &args->record, &e) < 0 || file_read(args->cert, PEM_MAX, &cert, &len, &e) < 0 ||
	    file_read(args->key, PEM_MAX, &key, &len, &e) < 0 ||
	    id_record_sign(&args->record, cert, key, &bytes, &len, &e) < 0)
		return ev_fail(&e);
	if (args->out)
		return file_write(args->out, bytes, len, 0644, &e) < 0 ? ev_fail(&e) : EV_OK;
	return fwrite(bytes, 1, len, stdout) == len && fflush(stdout) == 0 ? EV_OK : EV_USAGE;
}

static bool take_key(uint8_t key[ID_WG_KEY_LEN], const char *text)
{
	size_t len;

	return base64_parse(key, ID_WG_KEY_LEN, &len, text, strlen(text)) && len == ID_WG_KEY_LEN;
}

static bool take_option(struct sign_args *args, int c, const char *text)
{
	struct id_record *r = &args->record;
	int64_t epoch;

	switch (c) {
	case 'c':
		return (args->cert = text) != NULL;
	case 'k':
		return (args->key = text) != NULL;
	case 'o':
		return (args->out = text) != NULL;
	case 'n':
		return snprintf(r->node, sizeof(r->node), "%s", text) < (int)sizeof(r->node);
	case 'w':
		return (args->has_key = take_key(r->wg_key, text));
	case 'd':
		return (r->has_detour = take_key(r->detour_key, text));
	case 'a':
		return r->n_addrs < ID_MAX_ADDRS && addr_parse(&r->addrs[r->n_addrs++], text);
	case 'p':
		return r->n_endpoints < ID_MAX_ENDPOINTS && endpoint_parse(&r->endpoints[r->n_endpoints++], text);
	case 's':
		return r->n_services < ID_MAX_SERVICES && id_service_parse(&r->services[r->n_services++], text);
	case 'e':
		return ev_int(text, 1, (int64_t)ID_RECORD_EPOCH_MAX, &epoch) && (r->epoch = (uint64_t)epoch);
	case 'b':
		return (args->has_not_before = ev_int(text, 0, INT32_MAX * INT64_C(1000), &r->not_before));
	case 'h':
		return ev_int(text, 1, ID_RECORD_LIFE_MAX_S / HOUR_S, &args->hours);
	default:
		return false;
	}
}

static int sign_main(int argc, char **argv)
{
	static const struct option options[] = { { "cert", required_argument, NULL, 'c' },
						 { "key", required_argument, NULL, 'k' },
						 { "node", required_argument, NULL, 'n' },
						 { "wg-key", required_argument, NULL, 'w' },
						 { "addr", required_argument, NULL, 'a' },
						 { "endpoint", required_argument, NULL, 'p' },
						 { "service", required_argument, NULL, 's' },
						 { "epoch", required_argument, NULL, 'e' },
						 { "not-before", required_argument, NULL, 'b' },
						 { "hours", required_argument, NULL, 'h' },
						 { "out", required_argument, NULL, 'o' },
						 { "detour-key", required_argument, NULL, 'd' },
						 { NULL, 0, NULL, 0 } };
	struct sign_args args = { .hours = HOURS };
	int64_t now = time(NULL), backdated;
	int c;

	optind = 0;
	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (c == '?')
			return usage_error("unknown option, or a value is missing");
		if (!take_option(&args, c, optarg)) {
			fprintf(stderr, "bailey record sign: value can not be taken: %s\n", optarg);
			return EV_USAGE;
		}
	}
	if (optind != argc || !args.cert || !args.key || !args.record.node[0] || !args.has_key || !args.record.n_addrs)
		return usage_error("--cert, --key, --node, --wg-key and --addr are needed");
	backdated = args.has_not_before || args.hours * HOUR_S + BACKDATED > ID_RECORD_LIFE_MAX_S ? 0 : BACKDATED;
	if (!args.has_not_before)
		args.record.not_before = now - backdated;
	args.record.not_after = args.record.not_before + backdated + args.hours * HOUR_S;
	if (!args.record.epoch)
		args.record.epoch = (uint64_t)now;
	return sign(&args);
}

int cmd_record(int argc, char **argv)
{
	if (ev_wants_help(argc, argv)) {
		fputs(usage, stdout);
		return EV_OK;
	}
	if (argc >= 2 && strcmp(argv[1], "show") == 0)
		return read_main(argc - 1, argv + 1, false);
	if (argc >= 2 && strcmp(argv[1], "verify") == 0)
		return read_main(argc - 1, argv + 1, true);
	if (argc >= 2 && strcmp(argv[1], "sign") == 0)
		return sign_main(argc - 1, argv + 1);
	return usage_error("show, verify or sign is needed");
}
