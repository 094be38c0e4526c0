// SPDX-License-Identifier: Apache-2.0
/*
 * Fetching collateral, from a service of our own on the loopback: what it serves is made by tests/lib/intel.h, what is
 * fetched must verify as before, and each way to answer badly is refused. The first part of the path says how it
 * answers.
 */
#include <arpa/inet.h>
#include <curl/curl.h>
#include <errno.h>
#include <event2/buffer.h>
#include <event2/event.h>
#include <event2/http.h>
#include <jansson.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "../../lib/intel.h"
#include "base/file.h"
#include "../identity/world.h"
#include "cli/cmds.h"
#include "base/cleanup.h"
#include "base/text.h"
#include "pcs/pcs.h"

#define SERVICE_LIFE_S 120

static struct intel_made made;
static json_t *bundle; /* that the service has */
static char dir[] = "/tmp/bailey-test-XXXXXX";
static uint16_t port;
static pid_t service;

static const char *text_of(const char *key)
{
	return json_string_value(json_object_get(bundle, key));
}

/* --- the service: a child, so that the fetch may block --- */

static void chain_header(struct evhttp_request *req, const char *name, const char *key)
{
	char *encoded = curl_easy_escape(NULL, text_of(key), 0);

	evhttp_add_header(evhttp_request_get_output_headers(req), name, encoded);
	curl_free(encoded);
}

static void give_signed(struct evhttp_request *req, struct evbuffer *body, const char *member, const char *key)
{
	char name[64];

	snprintf(name, sizeof(name), "%s_signature", key);
	evbuffer_add_printf(body, "{\"%s\":%s,\"signature\":\"%s\"}\n", member, text_of(key), text_of(name));
	snprintf(name, sizeof(name), "%s_issuer_chain", key);
	chain_header(req, strcmp(key, "tcb_info") == 0 ? "TCB-Info-Issuer-Chain" : "sgx-enclave-identity-issuer-chain",
		     name);
}

static void give_crl(struct evbuffer *body, const char *key, bool is_hex)
{
	const char *hex = text_of(key);
	size_t len = strlen(hex) / 2;
	auto_free uint8_t *der = malloc(len);

	assert_true(der && hex_parse(der, len, hex));
	evbuffer_add(body, is_hex ? (const void *)hex : der, is_hex ? 2 * len : len);
}

static bool wants(const char *uri, const char *word)
{
	return strstr(uri, word) != NULL;
}

static void answer_all(struct evhttp_request *req, struct evbuffer *body, const char *uri)
{
	if (wants(uri, "/tdx/certification/v4/tcb?fmspc=90c06f000000&update=standard"))
		give_signed(req, body, "tcbInfo", "tcb_info");
	else if (wants(uri, "/tdx/certification/v4/qe/identity?update=standard"))
		give_signed(req, body, "enclaveIdentity", "qe_identity");
	else if (wants(uri, "/sgx/certification/v4/rootcacrl"))
		give_crl(body, "root_ca_crl", true); /* as caches do */
	else if (wants(uri, "/sgx/certification/v4/pckcrl?ca=platform&encoding=der"))
		give_crl(body, "pck_crl", false);
}

static void on_request(struct evhttp_request *req, void *arg)
{
	const char *uri = evhttp_request_get_uri(req);
	struct evbuffer *body = evbuffer_new();
	int status = 200;

	(void)arg;
	if (wants(uri, "/silent/"))
		return;
	if (wants(uri, "/huge/"))
		for (int i = 0; i < 1100; i++)
			evbuffer_add_printf(body, "%01024d", 0);
	else if (wants(uri, "/garbage/"))
		evbuffer_add_printf(body, "<html>");
	else
		answer_all(req, body, uri);
	if (wants(uri, "/elsewhere/")) {
		evhttp_add_header(evhttp_request_get_output_headers(req), "Location", "/good/");
		status = 302;
	}
	if (wants(uri, "/pckcrl"))
		chain_header(req, "SGX-PCK-CRL-Issuer-Chain", "tcb_info_issuer_chain");
	if (wants(uri, "/bare/"))
		evhttp_remove_header(evhttp_request_get_output_headers(req), "TCB-Info-Issuer-Chain");
	if (!evbuffer_get_length(body) || (wants(uri, "/half/") && wants(uri, "rootcacrl")))
		status = 404;
	evhttp_send_reply(req, status, NULL, body);
	evbuffer_free(body);
}

static void serve(int fd)
{
	struct event_base *base = event_base_new();
	struct evhttp *http = evhttp_new(base);

	evhttp_set_gencb(http, on_request, NULL);
	evhttp_accept_socket(http, fd);
	alarm(SERVICE_LIFE_S);
	event_base_dispatch(base);
	_exit(0);
}

/* A service of its own, with another bundle. */
static uint16_t start_service(json_t *has, pid_t *pid)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	socklen_t len = sizeof(at);

	if (bind(fd, (struct sockaddr *)&at, len) < 0 || listen(fd, 16) < 0 ||
	    getsockname(fd, (struct sockaddr *)&at, &len) < 0)
		return 0;
	*pid = fork();
	if (*pid == 0) {
		bundle = has;
		serve(fd);
	}
	close(fd);
	return ntohs(at.sin_port);
}

static void end_service(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

static int start(void **state)
{
	struct intel_opts o = intel_opts();

	if (intel_start(state) < 0 || !mkdtemp(dir))
		return -1;
	intel_make(&o, &made);
	bundle = json_loads(made.bundle, 0, NULL);
	port = bundle ? start_service(bundle, &service) : 0;
	return port ? 0 : -1;
}

static int stop(void **state)
{
	end_service(service);
	json_decref(bundle);
	intel_fini(&made);
	rmdir(dir);
	return intel_stop(state);
}

/* --- the fetch --- */

static int fetch(const char *how, char **text, size_t *len, struct err *e)
{
	static const uint8_t fmspc[PCS_FMSPC_LEN] = { 0x90, 0xc0, 0x6f };
	struct pcs_request req = { .timeout_s = 5 };
	char url[100];

	snprintf(url, sizeof(url), "http://127.0.0.1:%u/%s", port, how);
	req.url = url;
	memcpy(req.fmspc, fmspc, sizeof(fmspc));
	if (strcmp(how, "silent") == 0)
		req.timeout_s = 1;
	return pcs_fetch(&req, text, len, e);
}

static void what_is_fetched_verifies(void **state)
{
	auto_free char *text = NULL;
	struct id_collaterals *set;
	struct err e = ERR_INIT;
	struct id_verdict v;
	size_t len;

	(void)state;
	assert_int_equal(fetch("good", &text, &len, &e), 0);
	assert_int_equal(id_collaterals_new(made.root, made.root_len, &set, &e), 0);
	assert_int_equal(id_collaterals_add(set, text, len, &e), 0);
	assert_string_equal(intel_judge_bytes(made.quote, made.quote_len, set, INTEL_NOW, NULL, &v), "");
	id_collaterals_free(set);
}

static void the_signed_bytes_are_kept(void **state)
{
	static const char *const key[] = { "tcb_info",
					   "tcb_info_signature",
					   "tcb_info_issuer_chain",
					   "qe_identity",
					   "qe_identity_signature",
					   "qe_identity_issuer_chain",
					   "pck_crl",
					   "root_ca_crl" };
	auto_free char *text = NULL;
	struct err e = ERR_INIT;
	json_t *got;
	size_t len;

	(void)state;
	assert_int_equal(fetch("good", &text, &len, &e), 0);
	got = json_loadb(text, len, 0, NULL);
	for (size_t i = 0; i < ARRAY_LEN(key); i++)
		assert_string_equal(json_string_value(json_object_get(got, key[i])), text_of(key[i]));
	json_decref(got);
}

static void bad_answers_are_refused(void **state)
{
	static const struct {
		const char *how;
		int code;
		const char *says;
	} bad[] = {
		{ "silent", -EHOSTUNREACH, "imed out" },
		{ "huge", -EFBIG, "answers more than 1048576 bytes" },
		{ "garbage", -EBADMSG, "" },
		{ "bare", -EBADMSG, "without the header TCB-Info-Issuer-Chain" },
		{ "elsewhere", -EREMOTEIO, "HTTP status 302" }, /* redirections are not followed */
		{ "half", -ENOENT, "HTTP status 404" },         /* all or nothing */
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct err e = ERR_INIT;
		char *text = NULL;
		size_t len;

		assert_int_equal(fetch(bad[i].how, &text, &len, &e), bad[i].code);
		assert_null(text);
		assert_non_null(strstr(e.msg, bad[i].says));
		assert_non_null(strstr(e.where, bad[i].how));
	}
}

static void no_service_is_an_error_not_a_wait(void **state)
{
	struct pcs_request req = { .url = "http://127.0.0.1:1", .timeout_s = 5 };
	struct err e = ERR_INIT;
	char *text = NULL;
	size_t len;

	(void)state;
	assert_int_equal(pcs_fetch(&req, &text, &len, &e), -EHOSTUNREACH);
	req.url = "file:///etc/passwd?";
	assert_int_equal(pcs_fetch(&req, &text, &len, &e), -EHOSTUNREACH);
	assert_null(text);
}

/* --- bailey collateral --- */

static int run(uint16_t at_port, const char *more)
{
	char line[512], *argv[24] = { NULL };
	int argc = 0;

	snprintf(line, sizeof(line), "collateral fetch --fmspc 90c06f000000 --url http://127.0.0.1:%u/good %s", at_port,
		 more);
	for (char *w = strtok(line, " "); w; w = strtok(NULL, " "))
		argv[argc++] = w;
	return cmd_collateral(argc, argv);
}

static char *path(const char *name)
{
	static char text[100];

	snprintf(text, sizeof(text), "%s/%s", dir, name);
	return text;
}

static void a_lying_service_leaves_the_file(void **state)
{
	struct err e = ERR_INIT;
	auto_free char *text = NULL;
	char more[200];
	size_t len;

	(void)state;
	snprintf(more, sizeof(more), "-o %s", path("c.json"));
	assert_int_equal(run(port, more), EXIT_NO); /* no root that the command believes */
	assert_int_equal(access(path("c.json"), F_OK), -1);
	assert_int_equal(file_write(path("c.json"), "mine", 4, 0600, &e), 0);
	assert_int_equal(run(port, more), EXIT_NO);
	assert_int_equal(file_read(path("c.json"), 10, &text, &len, &e), 0);
	assert_string_equal(text, "mine");
	unlink(path("c.json"));
}

static void wrong_use_is_status_2(void **state)
{
	static const char *const wrong[] = { "",       "-o x --ca none", "-o x --fmspc 90", "-o x --timeout 0",
					     "-o x y", "-o x --quote q" };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(wrong); i++)
		assert_int_equal(run(port, wrong[i]), EXIT_USAGE);
}

/* Intel's own, as published: the newer one is not replaced by the older. */
static void real_collateral_is_kept_and_never_older(void **state)
{
	size_t len;
	auto_free char *newer = shared_file("collateral/c-90c06f-2026-06.json", &len);
	auto_free char *older = shared_file("collateral/c-90c06f-2026-02.json", &len);
	json_t *has_newer = json_loads(newer, 0, NULL), *has_older = json_loads(older, 0, NULL);
	pid_t pid[2];
	uint16_t at[2] = { start_service(has_newer, &pid[0]), start_service(has_older, &pid[1]) };
	char *show[] = { (char *)"collateral", (char *)"show",       path("real.json"),
			 (char *)"--at",       (char *)"1781000000", NULL };
	char more[200];

	(void)state;
	snprintf(more, sizeof(more), "-o %s", path("real.json"));
	assert_int_equal(run(at[1], more), EXIT_YES);
	assert_int_equal(run(at[0], more), EXIT_YES);
	assert_int_equal(run(at[1], more), EXIT_NO);
	assert_int_equal(cmd_collateral(5, show), EXIT_YES);
	unlink(path("real.json"));
	end_service(pid[0]);
	end_service(pid[1]);
	json_decref(has_newer);
	json_decref(has_older);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_fetched_verifies),
		cmocka_unit_test(the_signed_bytes_are_kept),
		cmocka_unit_test(bad_answers_are_refused),
		cmocka_unit_test(no_service_is_an_error_not_a_wait),
		cmocka_unit_test(a_lying_service_leaves_the_file),
		cmocka_unit_test(wrong_use_is_status_2),
		cmocka_unit_test(real_collateral_is_kept_and_never_older),
	};

	return cmocka_run_group_tests_name("pcs/fetch", tests, start, stop);
}
