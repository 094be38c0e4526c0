// SPDX-License-Identifier: Apache-2.0
/* bailey-kms: the issuer, which speaks as dstack's KMS does. docs/man/bailey-kms.8. */
#include <curl/curl.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <string.h>

#include "base/file.h"
#include "base/log.h"
#include "base/text.h"
#include "internal.h"

#define EXIT_USAGE 2
#define CA_MAX     (64 * 1024)

static const char usage[] =
	"usage: bailey-kms --config FILE             serve\n"
	"       bailey-kms check --config FILE       read the configuration and what it names\n"
	"       bailey-kms bootstrap --config FILE   make root keys, once\n"
	"       bailey-kms onboard --config FILE --from URL\n"
	"                                            take the root keys of another KMS, by mutual evidence\n"
	"       bailey-kms audit verify --state DIR [--ca FILE] [--contains HASH]\n"
	"                                            check the audit log: chain, signatures, end\n";

struct args {
	const char *config, *from, *state, *ca, *contains;
	const char *command, *what;
};

static int failed(const struct err *e)
{
	char text[sizeof(e->where) + sizeof(e->msg) + 3];

	fprintf(stderr, "bailey-kms: %s%s%s\n", e->reason ? id_reason_name(e->reason) : "", e->reason ? ": " : "",
		err_text(e, text, sizeof(text)));
	return 1;
}

static int misused(void)
{
	fputs(usage, stderr);
	return EXIT_USAGE;
}

/* 0, 1: told what it is for, -1 */
static int args_read(int argc, char **argv, struct args *a)
{
	static const struct option longs[] = { { "config", required_argument, NULL, 'c' },
					       { "from", required_argument, NULL, 'f' },
					       { "state", required_argument, NULL, 's' },
					       { "ca", required_argument, NULL, 'a' },
					       { "contains", required_argument, NULL, 'n' },
					       { "help", no_argument, NULL, 'h' },
					       { 0 } };
	const char **const into[] = {
		['c'] = &a->config, ['f'] = &a->from, ['s'] = &a->state, ['a'] = &a->ca, ['n'] = &a->contains
	};
	int c;

	while ((c = getopt_long(argc, argv, "h", longs, NULL)) != -1) {
		if (c == 'h') {
			fputs(usage, stdout);
			return 1;
		}
		if (c == '?')
			return -1;
		*into[c] = optarg;
	}
	if (optind < argc)
		a->command = argv[optind++];
	if (optind < argc)
		a->what = argv[optind++];
	return optind < argc ? -1 : 0;
}

static int check(const struct kms_conf *conf, struct err *e)
{
	struct kms_allow *allow = NULL;
	struct evp_files trust = { 0 };
	int ret = evp_files_load(&conf->evidence, &trust, e);

	if (!ret && conf->allow[0])
		ret = kms_allow_load(conf->allow, &allow, e);
	kms_allow_free(allow);
	evp_files_fini(&trust);
	return ret;
}

static int with_config(const struct args *a)
{
	struct err e = ERR_INIT;
	static struct kms_conf conf;
	int ret;

	if (!a->config || a->what || !a->from != !(a->command && strcmp(a->command, "onboard") == 0))
		return misused();
	if (!a->command)
		return kms_run(a->config);
	ret = kms_conf_load(a->config, &conf, &e);
	if (ret < 0)
		return failed(&e);
	if (strcmp(a->command, "check") == 0)
		ret = check(&conf, &e);
	else if (strcmp(a->command, "bootstrap") == 0)
		ret = kms_bootstrap(&conf, &e);
	else if (strcmp(a->command, "onboard") == 0)
		ret = kms_onboard(&conf, a->from, &e);
	else
		return misused();
	return ret < 0 ? failed(&e) : 0;
}

/* --- audit --- */

static int ca_key(const char *path, EVP_PKEY **key, struct err *e)
{
	auto_free char *pem = NULL;
	X509 *x509 = NULL;
	size_t len;
	int ret = file_read(path, CA_MAX, &pem, &len, e);

	if (ret < 0)
		return ret;
	if (id_x509_from_pem(pem, len, &x509, 1) != 1)
		return err_at(e, -EINVAL, path, "is not one certificate in PEM");
	*key = X509_get_pubkey(x509);
	X509_free(x509);
	return *key ? 0 : err_at(e, -EINVAL, path, "has no key that can be read");
}

static int audit_verify(const struct args *a, const uint8_t *seen, struct err *e)
{
	auto_call(cleanup_pkey) EVP_PKEY *key = NULL;
	struct kms_audit_report report;
	char log[PATH_MAX], head[PATH_MAX], ca[PATH_MAX], hex[2 * ID_HASH_LEN + 1];
	int ret;

	if (snprintf(log, sizeof(log), "%s/audit.log", a->state) >= PATH_MAX ||
	    snprintf(head, sizeof(head), "%s/audit.head", a->state) >= PATH_MAX ||
	    snprintf(ca, sizeof(ca), "%s/root-ca.pem", a->state) >= PATH_MAX)
		return err_at(e, -ENAMETOOLONG, a->state, "path is too long");
	ret = ca_key(a->ca ? a->ca : ca, &key, e);
	if (!ret)
		ret = kms_audit_verify(log, head, key, seen, &report, e);
	if (ret < 0)
		return ret;
	if (seen && !report.has_seen)
		return err_at(e, -EBADMSG, log, "does not contain %s: it is another log, or was rolled back",
			      a->contains);
	hex_print(hex, report.hash, sizeof(report.hash));
	printf("%" PRIu64 " records, the last is %s\n", report.n, hex);
	return 0;
}

static int audit(const struct args *a)
{
	struct err e = ERR_INIT;
	uint8_t seen[ID_HASH_LEN];

	if (!a->what || strcmp(a->what, "verify") != 0 || !a->state || a->config || a->from)
		return misused();
	if (a->contains && !hex_parse(seen, sizeof(seen), a->contains)) {
		err_at(&e, -EINVAL, "--contains", "\"%.100s\" is not 64 hex digits", a->contains);
		return failed(&e);
	}
	return audit_verify(a, a->contains ? seen : NULL, &e) < 0 ? failed(&e) : 0;
}

int main(int argc, char **argv)
{
	struct args a = { 0 };
	int ret = args_read(argc, argv, &a);

	if (ret)
		return ret > 0 ? 0 : misused();
	signal(SIGPIPE, SIG_IGN);
	log_init("bailey-kms", LOG_INFO);
	curl_global_init(CURL_GLOBAL_DEFAULT);
	return a.command && strcmp(a.command, "audit") == 0 ? audit(&a) : with_config(&a);
}
