// SPDX-License-Identifier: Apache-2.0
/* The commands as a user calls them, in a temporary directory: exit status, files, JSON. */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <limits.h>
#include <sys/stat.h>

#include "cli/cmds.h"
#include "cli/evidence.h"
#include "world.h"

#define ARGS_MAX 40
#define APP      "5bb4ff9a3837357f19dc176407a5709c62eb6c56"
#define INSTANCE "1111111111111111111111111111111111111111"
#define WG_KEY   "d3d3d3d3d3d3d3d3d3d3d3d3d3d3d3d3d3d3d3d3d3c="

#define ZERO_MR                                                                                                        \
	"000000000000000000000000000000000000000000000000"                                                             \
	"000000000000000000000000000000000000000000000000"

static char dir[PATH_MAX], home[PATH_MAX];

/* Runs "cert inspect x": standard output goes to the file "out". */
static int run(const char *line)
{
	auto_free char *words = strdup(line);
	char *argv[ARGS_MAX + 1] = { NULL };
	int argc = 0, status, kept_out, kept_err, fd;

	for (char *w = strtok(words, " "); w && argc < ARGS_MAX; w = strtok(NULL, " "))
		argv[argc++] = w;
	fflush(stdout);
	fflush(stderr);
	kept_out = dup(STDOUT_FILENO);
	kept_err = dup(STDERR_FILENO);
	fd = open("out", O_WRONLY | O_CREAT | O_TRUNC, 0600);
	dup2(fd, STDOUT_FILENO);
	dup2(fd, STDERR_FILENO);
	status = strcmp(argv[0], "cert") == 0       ? cmd_cert(argc, argv)
		 : strcmp(argv[0], "eventlog") == 0 ? cmd_eventlog(argc, argv)
		 : strcmp(argv[0], "quote") == 0    ? cmd_quote(argc, argv)
		 : strcmp(argv[0], "record") == 0   ? cmd_record(argc, argv)
						    : cmd_dev_identity(argc, argv);
	fflush(stdout);
	fflush(stderr);
	dup2(kept_out, STDOUT_FILENO);
	dup2(kept_err, STDERR_FILENO);
	close(kept_out);
	close(kept_err);
	close(fd);
	return status;
}

static bool out_has(const char *text)
{
	struct err e = ERR_INIT;
	auto_free char *data = NULL;
	size_t len;

	assert_int_equal(file_read("out", 1 << 20, &data, &len, &e), 0);
	return strstr(data, text) != NULL;
}

static mode_t mode_of(const char *path)
{
	struct stat st;

	assert_int_equal(stat(path, &st), 0);
	return st.st_mode & 07777;
}

static int start(void **state)
{
	(void)state;
	snprintf(dir, sizeof(dir), "%s/bailey-cli-XXXXXX", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
	if (!getcwd(home, sizeof(home)) || !mkdtemp(dir) || chdir(dir) < 0)
		return -1;
	return run("dev-identity root --out r") ||
	       run("dev-identity issue --root r --app-id " APP " --instance-id " INSTANCE " --name web-1 --out web") ||
	       run("record sign --cert web.pem --key web.key --node web-1 --wg-key " WG_KEY
		   " --addr 100.64.0.2 --addr fd00::2 --endpoint 192.0.2.7:51820 --epoch 7 --out web.rec");
}

static int stop(void **state)
{
	static const char *const files[] = { "r/root.pem", "r/root.key", "r/pck.pem", "r/pck.key", "r/pck-ca.pem",
					     "web.pem",    "web.key",    "web.rec",   "out" };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(files); i++)
		unlink(files[i]);
	rmdir("r");
	return chdir(home) < 0 || rmdir(dir) < 0 ? -1 : 0;
}

static void keys_are_private(void **state)
{
	(void)state;
	assert_int_equal(mode_of("r/root.key"), 0600);
	assert_int_equal(mode_of("r/pck.key"), 0600);
	assert_int_equal(mode_of("web.key"), 0600);
	assert_int_equal(mode_of("r/root.pem"), 0644);
}

static void issuing_says_simulated(void **state)
{
	(void)state;
	assert_int_equal(run("dev-identity root --out r2/sub"), 0);
	assert_true(out_has("SIMULATED"));
	for (const char *const *f =
		     (const char *const[]){ "root.pem", "root.key", "pck.pem", "pck.key", "pck-ca.pem", NULL };
	     *f; f++) {
		char path[64];

		snprintf(path, sizeof(path), "r2/sub/%s", *f);
		assert_int_equal(unlink(path), 0);
	}
	rmdir("r2/sub");
	rmdir("r2");
}

static void inspect_claims_nothing_without_a_root(void **state)
{
	(void)state;
	assert_int_equal(run("cert inspect web.pem"), 0);
	assert_true(out_has("not verified") && out_has("SIMULATED") && out_has(APP) && out_has("replays_to_rtmr3 yes"));
	assert_false(out_has("\033["));
	assert_int_equal(run("cert inspect web.pem --json --allow-simulated"), 0);
	assert_true(out_has("\"verified\": false") && out_has("\"simulated\": true"));
}

static void inspect_gives_verdicts_with_one(void **state)
{
	(void)state;
	assert_int_equal(run("cert inspect web.pem --root r/root.pem --allow-simulated"), 0);
	assert_true(out_has("accepted, SIMULATED"));
	assert_int_equal(run("cert inspect web.pem --root r/root.pem"), 1);
	assert_true(out_has("QUOTE_SIMULATED"));
	assert_int_equal(run("cert inspect web.pem --root r/pck.pem --allow-simulated"), 1);
	assert_true(out_has("QUOTE_CHAIN"));
	assert_int_equal(run("cert inspect web.pem --root r/root.pem --allow-simulated --at 1000 --json"), 1);
	assert_true(out_has("\"CERT_VALIDITY\"") && out_has("\"verified\": false"));
}

static void json_is_json(void **state)
{
	static const char *const lines[] = { "cert inspect web.pem --json",
					     "cert inspect web.pem --json --root r/root.pem --allow-simulated",
					     "record show web.rec --json",
					     "record verify web.rec --json --root r/root.pem --allow-simulated" };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
		json_t *o;

		assert_int_equal(run(lines[i]), 0);
		o = json_load_file("out", JSON_REJECT_DUPLICATES, NULL);
		assert_true(json_is_true(json_object_get(o, "simulated")));
		assert_int_equal(json_is_true(json_object_get(o, "verified")), i % 2);
		json_decref(o);
	}
}

static void records_are_shown_and_verified(void **state)
{
	(void)state;
	assert_int_equal(run("record show web.rec"), 0);
	assert_true(out_has("100.64.0.2") && out_has(WG_KEY) && out_has("not verified, SIMULATED"));
	assert_int_equal(run("record verify web.rec --root r/root.pem --allow-simulated"), 0);
	assert_true(out_has("accepted, SIMULATED"));
	assert_int_equal(run("record verify web.rec --root r/root.pem"), 1);
	assert_true(out_has("QUOTE_SIMULATED"));
	assert_int_equal(run("record verify web.rec --root r/root.pem --allow-simulated --at 4000000000"), 1);
	assert_true(out_has("CERT_VALIDITY"));
	assert_int_equal(run("record verify web.pem --root r/root.pem --allow-simulated"), 1);
	assert_true(out_has("RECORD_MALFORMED"));
	assert_int_equal(system("echo 'simulated: true' >sim.yaml; echo 'measurements: { mrtd: " ZERO_MR
				" }' >zero.yaml; echo '{}' >none.json"),
			 0);
	assert_int_equal(run("record verify web.rec --root r/root.pem --policy sim.yaml"), 0);
	assert_int_equal(run("record verify web.rec --root r/root.pem --allow-simulated --policy zero.yaml"), 1);
	assert_true(out_has("MEASUREMENT"));
	assert_int_equal(run("record verify web.rec --collateral none.json"), 1);
	assert_true(out_has("COLLATERAL_MALFORMED"));
	assert_int_equal(run("record verify web.rec --collateral gone.json"), 2);
	assert_int_equal(system("rm sim.yaml zero.yaml none.json"), 0);
}

/* Writes a log of two events; its RTMR3 is `eventlog replay`'s own answer. */
static void logs_are_replayed(void **state)
{
#define EVENT(name) "{\"imr\":3,\"event_type\":134217729,\"digest\":\"\",\"event\":\"" name "\",\"event_payload\":\"\"}"
	static const char array[] = " [" EVENT("system-preparing") "]", object[] = "{\"event_log\":[" EVENT("a") "]}";
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(file_write("log", array, strlen(array), 0600, &e), 0);
	assert_int_equal(run("eventlog replay log"), 1); /* nobody's identity */
	assert_true(out_has("EVENTLOG_IDENTITY") && out_has("not compared"));
	assert_int_equal(run("eventlog replay log --json --rtmr 0=" ZERO_MR), 1);
	assert_true(out_has("\"stripped log, not compared\""));
	assert_int_equal(file_write("log", object, strlen(object), 0600, &e), 0);
	assert_int_equal(run("eventlog replay log --rtmr 3=" ZERO_MR), 1);
	assert_true(out_has("differs"));
	assert_int_equal(file_write("log", "[]", 2, 0600, &e), 0);
	assert_int_equal(run("eventlog replay log --rtmr 3=" ZERO_MR), 0);
	assert_true(out_has("replays to the registers given") && out_has("equal"));
	assert_int_equal(file_write("log", "nonsense", 8, 0600, &e), 0);
	assert_int_equal(run("eventlog replay log"), 1);
	assert_true(out_has("EVENTLOG_MALFORMED"));
	unlink("log");
}

static void shared_copy(const char *name, const char *as)
{
	auto_free char *data = NULL;
	struct err e = ERR_INIT;
	size_t len = 0;

	assert_int_equal(chdir(home), 0); /* the collection is found from there */
	data = shared_file(name, &len);
	assert_int_equal(chdir(dir), 0);
	assert_int_equal(file_write(as, data, len, 0600, &e), 0);
}

/* A skip leaves shared_copy() half way. */
static int back(void **state)
{
	(void)state;
	return chdir(dir);
}

static void real_logs_are_compared(void **state)
{
	static const struct {
		const char *log, *quote;
		int status;
	} real[] = { { "eventlog/dstack-quote-report.json", "quotes/q09-v4-90c06f-dstack.bin", 0 },
		     { "eventlog/dstack-tdx-lite-getquote.json", "quotes/q10-v4-90c06f-dstack.bin", 0 },
		     { "eventlog/gcp-cos-ccel-data.bin", "quotes/q07-v4-00806f05-gcp.bin", 0 },
		     { "eventlog/dstack-ccel.bin", "quotes/q11-v4-b0c06f-tappd.bin", 1 },
		     { "eventlog/dstack-quote-report.json", "quotes/q10-v4-90c06f-dstack.bin", 1 } };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(real); i++) {
		shared_copy(real[i].log, "log");
		shared_copy(real[i].quote, "quote");
		assert_int_equal(run("eventlog replay log --quote quote"), real[i].status);
		assert_true(out_has(real[i].status ? "differs" : "replays to the quote, which was not verified"));
		unlink("log");
		unlink("quote");
	}
}

static void wrong_use_is_status_2(void **state)
{
	static const char *const lines[] = {
		"cert",
		"cert inspect",
		"cert inspect a b",
		"cert inspect --nonsense web.pem",
		"cert inspect no-such-file",
		"cert inspect web.pem --root no-such-file",
		"cert inspect web.pem --at never",
		"eventlog",
		"eventlog replay",
		"eventlog replay no-such-file",
		"eventlog replay web.pem --quote no-such-file",
		"eventlog replay web.pem --rtmr 4=" ZERO_MR,
		"eventlog replay web.pem --rtmr 3=00",
		"eventlog replay web.pem --rtmr 3=" ZERO_MR " --quote web.pem",
		"dev-identity",
		"dev-identity root",
		"dev-identity issue --root r --out x",
		"dev-identity issue --root r --app-id 5b --instance-id " INSTANCE " --out x",
		"dev-identity issue --root r --app-id " APP " --instance-id " INSTANCE " --compose-hash 0 --out x",
		"dev-identity issue --root none --app-id " APP " --instance-id " INSTANCE " --out x",
		"record",
		"record show",
		"record show no-such-file",
		"record show web.rec --root r/root.pem",
		"record verify web.rec",
		"record sign",
		"record sign --cert web.pem --key web.key --node web-1 --wg-key short --addr 100.64.0.2",
		"record sign --cert web.pem --key web.key --node web-1 --wg-key " WG_KEY " --addr nowhere",
		"record sign --cert web.pem --key web.key --node web-1 --wg-key " WG_KEY
		" --addr 100.64.0.2 --hours 745",
		"record sign --cert web.pem --key r/pck.key --node web-1 --wg-key " WG_KEY " --addr 100.64.0.2",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(lines); i++)
		if (run(lines[i]) != 2)
			fail_msg("not refused: %s", lines[i]);
	assert_int_equal(run("cert --help"), 0);
	assert_int_equal(run("eventlog --help"), 0);
	assert_int_equal(run("record --help"), 0);
	assert_int_equal(run("dev-identity --help"), 0);
}

static void file_put(const char *name, const void *data, size_t len)
{
	struct err e = ERR_INIT;

	assert_int_equal(file_write(name, data, len, 0600, &e), 0);
}

static void text_put(const char *name, const char *text)
{
	file_put(name, text, strlen(text));
}

/* The quote inside the certificate, into the file "q". */
static void quote_extract(void)
{
	auto_call(id_cert_fini) struct id_cert cert = { 0 };
	auto_free uint8_t *der = NULL;
	struct err e = ERR_INIT;
	size_t len;

	assert_int_equal(ev_cert_read("web.pem", &der, &len, &e), 0);
	assert_int_equal(id_cert_parse(der, len, &cert, &e), 0);
	file_put("q", cert.ext[ID_EXT_QUOTE].p, cert.ext[ID_EXT_QUOTE].left);
}

static void quotes_are_judged(void **state)
{
	(void)state;
	quote_extract();
	assert_int_equal(run("quote show q"), 0);
	assert_true(out_has("SIMULATED TDX") && out_has("not verified"));
	assert_int_equal(run("quote verify --quote q --json"), 1);
	assert_true(out_has("\"verdict\": \"reject\"") && out_has("quote-simulated") && out_has("\"claims\": {}"));
	assert_int_equal(run("quote verify --quote q --root r/root.pem --allow-simulated"), 0);
	assert_true(out_has("accept") && out_has("SIMULATED"));
	assert_int_equal(run("quote verify --quote q --root r/root.pem --allow-simulated --at 1000000000"), 1);
	assert_true(out_has("pck-chain"));
	text_put("p", "simulated: true\nhardware: [00112233445566778899aabbccddeeff]\n");
	assert_int_equal(run("quote verify --quote q --root r/root.pem --policy p"), 1);
	assert_true(out_has("hardware: a simulated platform is none"));
	text_put("p", "simulated: maybe\n");
	assert_int_equal(run("quote verify --quote q --root r/root.pem --policy p"), 2);
	assert_true(out_has("p:1:12"));
	text_put("p", "{}");
	assert_int_equal(run("quote verify --quote q --collateral p --json"), 1);
	assert_true(out_has("collateral-malformed"));
	file_put("q", "\x03\x00\x02\x00\x00\x00\x00\x00", 8);
	assert_int_equal(run("quote verify --quote q --json"), 1);
	assert_true(out_has("quote-malformed"));
	assert_int_equal(run("quote show q"), 1);
	assert_int_equal(run("quote verify --quote no-such-file"), 2);
	assert_int_equal(run("quote verify --quote q --at x"), 2);
	assert_int_equal(run("quote show q --at 5"), 2);
	assert_int_equal(run("quote verify"), 2);
	assert_int_equal(run("quote"), 2);
	assert_int_equal(run("quote --help"), 0);
	unlink("q");
	unlink("p");
}

#define SNP_AT " --json --at 1788220800 --policy policy --quote report "

/* s1: accepted; s2: debug; and what must not stand in for a certificate. */
static void real_reports_are_judged(void **state)
{
	(void)state;
	shared_copy("snp/s1-v3-milan-vcek.report.bin", "report");
	shared_copy("snp/s1-vcek.pem", "vek");
	shared_copy("snp/s1-ask.pem", "ask");
	text_put("policy", "snp: {min_tcb: {boot_loader: 2, tee: 0, snp: 5, microcode: 68}}\n");
	assert_int_equal(run("quote show report"), 0);
	assert_true(out_has("SEV-SNP") && out_has("not verified"));
	assert_int_equal(run("quote verify" SNP_AT "--collateral vek --collateral ask"), 0);
	assert_true(out_has("\"accept\"") && out_has("\"Milan\"") && out_has("\"collateral_days\": 2481"));
	assert_int_equal(run("quote verify --at 1788220800 --quote report --collateral vek --collateral ask"), 1);
	assert_true(out_has("snp-tcb") && out_has("no section snp"));
	assert_int_equal(run("quote verify" SNP_AT), 1);
	assert_true(out_has("collateral-missing") && out_has("\"claims\": {}"));
	assert_int_equal(run("quote verify" SNP_AT "--collateral vek --collateral vek"), 1);
	assert_true(out_has("collateral-missing")); /* the intermediate */
	assert_int_equal(run("quote verify" SNP_AT "--collateral vek --collateral policy"), 1);
	assert_true(out_has("snp-malformed"));
	shared_copy("snp/s4-vcek.der", "other");
	assert_int_equal(run("quote verify" SNP_AT "--collateral other --collateral ask"), 1);
	assert_true(out_has("collateral-missing") && out_has("\"claims\": {}")); /* that chip's is not this one's */
	assert_int_equal(run("quote verify" SNP_AT "--collateral other --collateral ask --collateral vek"), 0);
	unlink("other");
	shared_copy("snp/s2-v2-milan-debug.report.bin", "report");
	shared_copy("snp/s2-vcek.der", "vek");
	assert_int_equal(run("quote verify" SNP_AT "--collateral vek --collateral ask"), 1);
	assert_true(out_has("snp-debug") && out_has("guest_policy"));
	assert_int_equal(run("quote verify" SNP_AT "--collateral vek --collateral none"), 2);
	unlink("policy");
	unlink("report");
	unlink("vek");
	unlink("ask");
}

/* A self-signed certificate of a new key around a file with an attestation. */
static void attested(const char *attestation, const char *as)
{
	struct id_sim_request req = { .common_name = "snp", .not_before = NOW, .not_after = NOW + 90 * DAY };
	auto_call(cleanup_pkey) EVP_PKEY *key = id_p256_new();
	auto_call(cleanup_x509) X509 *leaf = id_sim_leaf_new(&req, key);
	auto_free char *data = NULL, *pem = NULL;
	struct err e = ERR_INIT;
	size_t len;

	assert_int_equal(file_read(attestation, 1 << 20, &data, &len, &e), 0);
	assert_true(id_x509_add_ext(leaf, ID_EXT_ATTESTATION, data, len) && X509_sign(leaf, key, EVP_sha256()) > 0);
	pem = id_x509_to_pem(leaf);
	text_put(as, pem);
}

/* A real guest's, which came without the certificates of its processor. */
static void real_report_in_a_certificate(void **state)
{
	(void)state;
	shared_copy("snp/s1-dstack-attestation.scale.bin", "att");
	attested("att", "snp.pem");
	text_put("policy", "snp: {min_tcb: {boot_loader: 2, tee: 0, snp: 5, microcode: 68}}\n");
	assert_int_equal(run("cert inspect snp.pem"), 0);
	assert_true(out_has("SEV-SNP") && out_has("mr_config") && out_has("binds_key        no"));
	assert_int_equal(run("cert verify snp.pem --at 1790000100"), 1);
	assert_true(out_has("snp-tcb") && out_has("no section snp"));
	assert_int_equal(run("cert verify snp.pem --at 1790000100 --policy policy"), 1);
	assert_true(out_has("collateral-missing"));
	/* AMD's chain vouches for the report now; what it does not say is that it is of this key */
	shared_copy("snp/s1-vcek.pem", "vek");
	shared_copy("snp/s1-ask.pem", "ask");
	assert_int_equal(run("cert verify snp.pem --at 1790000100 --policy policy --collateral vek --collateral ask"),
			 1);
	assert_true(out_has("quote-binding") && !out_has("snp-"));
	unlink("policy");
	unlink("snp.pem");
	unlink("att");
	unlink("vek");
	unlink("ask");
}

/* One real TDX quote, and the very form of the answer. */
static void real_quotes_are_judged(void **state)
{
	static const char *const keys[] = { "verdict", "tcb_status", "reasons", "advisories", "claims" };
	const char *key;
	json_t *o, *value;
	size_t i = 0;

	(void)state;
	shared_copy("quotes/q05-v5-90c06f-alibaba.bin", "q");
	shared_copy("collateral/c-90c06f-2026-02.json", "c");
	assert_int_equal(run("quote verify --quote q --collateral c --at 1772323200 --json"), 1);
	o = json_load_file("out", JSON_REJECT_DUPLICATES, NULL);
	json_object_foreach (o, key, value)
		assert_string_equal(key, keys[i++]);
	assert_int_equal(i, ARRAY_LEN(keys));
	assert_string_equal(json_string_value(json_object_get(o, "verdict")), "reject");
	assert_string_equal(json_string_value(json_object_get(o, "tcb_status")), "OutOfDate");
	assert_int_equal(json_array_size(json_object_get(o, "advisories")), 5);
	value = json_object_get(o, "reasons");
	assert_int_equal(json_array_size(value), 2);
	assert_string_equal(json_string_value(json_array_get(value, 0)), "tcb-OutOfDate");
	assert_string_equal(json_string_value(json_array_get(value, 1)), "service-td");
	json_decref(o);
	shared_copy("quotes/q01-v4-b0c06f.bin", "q");
	shared_copy("collateral/c-b0c06f-2025-06.json", "c");
	assert_int_equal(run("quote verify --quote q --collateral c --at 1751328000 --json"), 0);
	assert_true(out_has("\"accept\"") && out_has("\"UpToDate\"") && out_has("\"reasons\": []"));
	unlink("q");
	unlink("c");
}

static void certificates_are_verified(void **state)
{
	(void)state;
	assert_int_equal(run("cert verify web.pem --root r/root.pem --allow-simulated --json"), 0);
	assert_true(out_has("\"accept\"") && out_has("\"quote\"") && out_has(APP));
	assert_int_equal(run("cert verify web.pem --json"), 1);
	assert_true(out_has("quote-simulated") && out_has("\"claims\": {}"));
	/* it has no issuer but itself */
	assert_int_equal(run("cert verify web.pem --root r/root.pem --allow-simulated --ca r/root.pem"), 1);
	assert_true(out_has("cert-chain") && out_has("SIMULATED"));
	assert_int_equal(run("cert verify web.key"), 1);
	assert_true(out_has("cert-malformed"));
	assert_int_equal(run("cert verify web.pem --ca none"), 2);
	assert_int_equal(run("cert verify none"), 2);
	assert_int_equal(run("cert verify web.pem --ca-without-keycertsign"), 2);
	assert_int_equal(run("cert verify web.pem --policy web.key"), 2);
	assert_int_equal(run("cert verify"), 2);
}

static void claims_say_how_long_evidence_is_good(void **state)
{
	const struct id_claims claims = { .tee = ID_TEE_SNP,
					  .evidence_until = NOW + 3 * DAY + 1,
					  .mr_aggregated = { 0xab },
					  .has_device_id = true,
					  .device_id = { 0xcd } };
	json_t *o = ev_claims(&claims, NOW);

	(void)state;
	assert_string_equal(json_string_value(json_object_get(o, "tee")), "SEV-SNP");
	assert_int_equal(json_integer_value(json_object_get(o, "evidence_days")), 3);
	assert_memory_equal(json_string_value(json_object_get(o, "mr_aggregated")), "ab00", 4);
	assert_memory_equal(json_string_value(json_object_get(o, "device_id")), "cd00", 4);
	assert_string_equal(json_string_value(json_object_get(o, "evidence_until")), "2026-09-24T14:13:21Z");
	json_decref(o);
}

#define REAL_CERT "cert verify chain --collateral c --ca ca --at 1751328000 --json"

static void real_chain_is_verified(void **state)
{
	struct err e = ERR_INIT;
	char *pem, *last;
	size_t len;

	(void)state;
	shared_copy("ratls/dstack-ratls-chain.pem", "chain");
	shared_copy("collateral/c-b0c06f-2025-06.json", "c");
	assert_int_equal(file_read("chain", 1 << 20, &pem, &len, &e), 0);
	for (char *at = last = pem; (at = strstr(at, "-----BEGIN")); at++)
		last = at;
	text_put("ca", last);
	free(pem);
	assert_int_equal(run(REAL_CERT), 1);
	assert_true(out_has("\"NotSupported\"") && out_has("tcb-NotSupported") && out_has("cert-ca-usage"));
	assert_true(out_has("\"claims\": {}"));
	assert_int_equal(run(REAL_CERT " --ca-without-keycertsign"), 1);
	assert_true(out_has("tcb-NotSupported") && !out_has("cert-ca-usage"));
	assert_true(out_has("\"issuer\"") && out_has("\"ca_without_keycertsign\": true") && !out_has("\"quote\""));
	unlink("chain");
	unlink("c");
	unlink("ca");
}

static void real_dstack_files_are_shown(void **state)
{
	static const char *const names[] = { "ratls/dstack-ratls-leaf.der", "ratls/dstack-ratls-chain.pem" };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		shared_copy(names[i], "web.rec");
		assert_int_equal(run("cert inspect web.rec"), 0);
		assert_true(out_has("CN = demo-server") && out_has("binds_key        yes") &&
			    out_has("replays_to_rtmr3 yes") && out_has("9e8af4fc80bde3bea655a161280910c770c8d561"));
		assert_false(out_has("SIMULATED"));
		assert_int_equal(run("cert inspect web.rec --root r/root.pem --allow-simulated"), 1);
		assert_true(out_has("COLLATERAL_MISSING"));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(keys_are_private),
		cmocka_unit_test(issuing_says_simulated),
		cmocka_unit_test(inspect_claims_nothing_without_a_root),
		cmocka_unit_test(inspect_gives_verdicts_with_one),
		cmocka_unit_test(json_is_json),
		cmocka_unit_test(records_are_shown_and_verified),
		cmocka_unit_test(logs_are_replayed),
		cmocka_unit_test_teardown(real_logs_are_compared, back),
		cmocka_unit_test(wrong_use_is_status_2),
		cmocka_unit_test(quotes_are_judged),
		cmocka_unit_test_teardown(real_reports_are_judged, back),
		cmocka_unit_test_teardown(real_report_in_a_certificate, back),
		cmocka_unit_test_teardown(real_quotes_are_judged, back),
		cmocka_unit_test(certificates_are_verified),
		cmocka_unit_test(claims_say_how_long_evidence_is_good),
		cmocka_unit_test_teardown(real_chain_is_verified, back),
		cmocka_unit_test_teardown(real_dstack_files_are_shown, back), /* last: it takes web.rec's place */
	};

	return cmocka_run_group_tests_name("identity/cli", tests, start, stop);
}
