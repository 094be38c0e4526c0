// SPDX-License-Identifier: Apache-2.0
#include "etcd.h"

#include <curl/curl.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/select.h>
#include <time.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/clock.h"

#define WHERE      "etcd"
#define CONNECT_MS 1000L
#define ATTEMPT_MS 2000L /* one endpoint: a follower without a leader answers nothing for seconds */
#define CALL_MS    4000  /* all of them */
#define PATH       320

struct etcd {
	struct etcd_conf conf;
	struct etcd_pems pems;
	struct curl_slist *headers;
	CURL *call;
	uint32_t at; /* endpoint */
	struct out body;
	/* the watch */
	CURLM *multi;
	CURL *stream; /* NULL: none */
	struct out line;
	char *request;
	char why[CURL_ERROR_SIZE];
	etcd_watch_fn fn;
	void *arg;
	size_t n_came;
	struct err fault;
};

/* --- handles --- */

static void pem_set(CURL *curl, CURLoption option, char *pem)
{
	struct curl_blob blob = { .data = pem, .len = pem ? strlen(pem) : 0, .flags = CURL_BLOB_NOCOPY };

	if (pem)
		curl_easy_setopt(curl, option, &blob);
}

static CURL *handle_new(struct etcd *c)
{
	CURL *curl = curl_easy_init();

	if (!curl)
		return NULL;
	curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(curl, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1); /* a stream is one connection */
	curl_easy_setopt(curl, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
	curl_easy_setopt(curl, CURLOPT_HTTPHEADER, c->headers);
	curl_easy_setopt(curl, CURLOPT_NOPROXY, "*");
	curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(curl, CURLOPT_TCP_KEEPALIVE, 1L);
	curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, CONNECT_MS);
	pem_set(curl, CURLOPT_CAINFO_BLOB, c->pems.ca);
	pem_set(curl, CURLOPT_SSLCERT_BLOB, c->pems.certificate);
	pem_set(curl, CURLOPT_SSLKEY_BLOB, c->pems.key);
	return curl;
}

static void url_of(const struct etcd *c, const char *path, char url[PATH])
{
	snprintf(url, PATH, "%s/v3/%s", c->conf.endpoint[c->at], path);
}

void etcd_next(struct etcd *c)
{
	c->at = (c->at + 1) % c->conf.n_endpoints;
}

int etcd_new(const struct etcd_conf *conf, const struct etcd_pems *pems, struct etcd **etcd, struct err *e)
{
	struct etcd *c = calloc(1, sizeof(*c));

	if (!c || curl_global_init(CURL_GLOBAL_DEFAULT) != 0) {
		free(c);
		return err_at(e, -ENOMEM, WHERE, "out of memory");
	}
	c->conf = *conf;
	c->pems = *pems;
	c->headers = curl_slist_append(NULL, "Content-Type: application/json");
	if (c->headers && !curl_slist_append(c->headers, "Expect:"))
		curl_slist_free_all(take_ptr(c->headers));
	c->multi = curl_multi_init();
	c->call = c->headers ? handle_new(c) : NULL;
	if (!c->multi || !c->call) {
		etcd_free(c);
		return err_at(e, -ENOMEM, WHERE, "out of memory");
	}
	*etcd = c;
	return 0;
}

static void watch_end(struct etcd *c)
{
	if (c->stream) {
		curl_multi_remove_handle(c->multi, c->stream);
		curl_easy_cleanup(take_ptr(c->stream));
	}
	free(take_ptr(c->request));
	out_fini(&c->line);
	c->line = (struct out){ 0 };
}

void etcd_free(struct etcd *c)
{
	if (!c)
		return;
	watch_end(c);
	out_fini(&c->body);
	if (c->call)
		curl_easy_cleanup(c->call);
	if (c->multi)
		curl_multi_cleanup(c->multi);
	curl_slist_free_all(c->headers);
	free(c);
	curl_global_cleanup();
}

/* --- one question, one answer --- */

static size_t on_body(char *data, size_t size, size_t n, void *arg)
{
	return out_bytes_max(arg, ETCD_BODY_MAX, data, size * n);
}

/* 5xx: this member can not say now, as it has no leader. What it says with 4xx is final. */
static int status_judge(struct etcd *c, const char *url, struct etcd_answer *a, struct err *e)
{
	long status = 0;
	int ret;

	curl_easy_getinfo(c->call, CURLINFO_RESPONSE_CODE, &status);
	ret = etcd_answer_read((const char *)c->body.data, c->body.len, a, e);
	if (status == 200)
		return ret ? err_wrap(e, "%s", url) : 0;
	if (!ret)
		etcd_answer_fini(a);
	if (ret != -EPROTO)
		err_at(e, -EREMOTEIO, url, "answers with HTTP status %ld", status);
	e->code = status == 404 ? -ENOENT : status >= 400 && status < 500 && status != 429 ? -EPROTO : -EREMOTEIO;
	return e->code;
}

static int attempt(struct etcd *c, const char *path, const char *body, long ms, struct etcd_answer *a, struct err *e)
{
	char url[PATH], why[CURL_ERROR_SIZE] = "";
	CURLcode code;

	url_of(c, path, url);
	c->body.len = 0;
	*e = ERR_INIT;
	curl_easy_setopt(c->call, CURLOPT_URL, url);
	curl_easy_setopt(c->call, CURLOPT_POSTFIELDS, body);
	curl_easy_setopt(c->call, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)strlen(body));
	curl_easy_setopt(c->call, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(c->call, CURLOPT_WRITEDATA, &c->body);
	curl_easy_setopt(c->call, CURLOPT_TIMEOUT_MS, ms);
	curl_easy_setopt(c->call, CURLOPT_ERRORBUFFER, why);
	code = curl_easy_perform(c->call);
	curl_easy_setopt(c->call, CURLOPT_ERRORBUFFER, NULL);
	if (code != CURLE_OK)
		return err_at(e, -EHOSTUNREACH, url, "%s", why[0] ? why : curl_easy_strerror(code));
	return status_judge(c, url, a, e);
}

/* Each endpoint once, from the last good one on, while there is time. */
static int call(struct etcd *c, const char *path, json_t *request, struct etcd_answer *a, struct err *e)
{
	auto_free char *body = request ? json_dumps(request, JSON_COMPACT) : NULL;
	int64_t end = clock_ms(CLOCK_MONOTONIC) + CALL_MS;
	int ret = -ENOMEM;

	json_decref(request);
	if (!body)
		return err_at(e, -ENOMEM, WHERE, "out of memory");
	for (uint32_t i = 0; i < c->conf.n_endpoints && clock_ms(CLOCK_MONOTONIC) < end; i++) {
		ret = attempt(c, path, body, ATTEMPT_MS, a, e);
		if (!ret || ret == -EPROTO || ret == -ENOENT)
			break;
		etcd_next(c);
	}
	return ret;
}

static json_t *list_of(json_t *list)
{
	return list ? list : json_array();
}

int etcd_txn(struct etcd *c, json_t *compare, json_t *success, json_t *failure, struct etcd_answer *a, struct err *e)
{
	return call(c, "kv/txn",
		    json_pack("{s:o, s:o, s:o}", "compare", list_of(compare), "success", list_of(success), "failure",
			      list_of(failure)),
		    a, e);
}

int etcd_lease_grant(struct etcd *c, int64_t ttl_s, int64_t *lease, struct err *e)
{
	struct etcd_answer a;
	int ret = call(c, "lease/grant", json_pack("{s:I}", "TTL", (json_int_t)ttl_s), &a, e);

	if (ret < 0)
		return ret;
	*lease = a.lease;
	etcd_answer_fini(&a);
	return a.lease ? 0 : err_at(e, -EBADMSG, WHERE, "grants a lease without a number");
}

int etcd_lease_renew(struct etcd *c, int64_t lease, int64_t *ttl_s, struct err *e)
{
	struct etcd_answer a;
	int ret = call(c, "lease/keepalive", json_pack("{s:I}", "ID", (json_int_t)lease), &a, e);

	if (ret < 0)
		return ret;
	*ttl_s = a.ttl;
	etcd_answer_fini(&a);
	return 0;
}

int etcd_lease_revoke(struct etcd *c, int64_t lease, struct err *e)
{
	struct etcd_answer a;
	int ret = call(c, "lease/revoke", json_pack("{s:I}", "ID", (json_int_t)lease), &a, e);

	if (!ret)
		etcd_answer_fini(&a);
	return ret;
}

/* --- the watch: one JSON object a line --- */

static int line_take(struct etcd *c, const char *line, size_t len)
{
	struct etcd_answer a;
	int ret = etcd_answer_read(line, len, &a, &c->fault);

	if (ret < 0)
		return ret;
	ret = c->fn(&a, c->arg, &c->fault);
	if (!ret && a.is_over)
		ret = err_at(&c->fault, -ESTALE, WHERE, "has ended the watch");
	etcd_answer_fini(&a);
	return ret;
}

static size_t on_stream(char *data, size_t size, size_t n, void *arg)
{
	struct etcd *c = arg;
	size_t len = size * n, at = 0;

	c->n_came += len;
	while (at < len && !c->fault.code) {
		const char *end = memchr(data + at, '\n', len - at);
		size_t part = end ? (size_t)(end - (data + at)) : len - at;

		if (c->line.len + part > ETCD_BODY_MAX)
			err_at(&c->fault, -EBADMSG, WHERE, "sends a line of more than %u bytes", ETCD_BODY_MAX);
		out_bytes(&c->line, data + at, part);
		at += part + !!end;
		if (!out_ok(&c->line))
			err_at(&c->fault, -ENOMEM, WHERE, "out of memory");
		if (!end || c->fault.code)
			continue;
		line_take(c, (const char *)c->line.data, c->line.len);
		c->line.len = 0;
	}
	return c->fault.code ? 0 : len;
}

static char *watch_text(const char *from, const char *end, int64_t revision)
{
	json_t *range = etcd_range(from, end, 0, 0), *o = json_object_get(range, "request_range");
	json_t *request =
		json_pack("{s:{s:O, s:O, s:I}}", "create_request", "key", json_object_get(o, "key"), "range_end",
			  json_object_get(o, "range_end"), "start_revision", (json_int_t)revision);
	char *text = request ? json_dumps(request, JSON_COMPACT) : NULL;

	json_decref(range);
	json_decref(request);
	return text;
}

int etcd_watch(struct etcd *c, const char *from, const char *end, int64_t revision, etcd_watch_fn fn, void *arg,
	       struct err *e)
{
	char url[PATH];

	watch_end(c);
	c->fn = fn;
	c->arg = arg;
	c->fault = ERR_INIT;
	c->why[0] = '\0';
	c->request = watch_text(from, end, revision);
	c->stream = c->request ? handle_new(c) : NULL;
	if (!c->stream)
		return err_at(e, -ENOMEM, WHERE, "out of memory");
	url_of(c, "watch", url);
	curl_easy_setopt(c->stream, CURLOPT_URL, url);
	curl_easy_setopt(c->stream, CURLOPT_POSTFIELDS, c->request);
	curl_easy_setopt(c->stream, CURLOPT_WRITEFUNCTION, on_stream);
	curl_easy_setopt(c->stream, CURLOPT_WRITEDATA, c);
	curl_easy_setopt(c->stream, CURLOPT_ERRORBUFFER, c->why);
	return curl_multi_add_handle(c->multi, c->stream) == CURLM_OK ? 0 : err_at(e, -ENOMEM, WHERE, "out of memory");
}

/* The only one there is: has it ended? */
static int stream_judge(struct etcd *c, struct err *e)
{
	int left;
	CURLMsg *m = curl_multi_info_read(c->multi, &left);

	if (c->fault.code)
		*e = c->fault;
	else if (m && m->msg == CURLMSG_DONE)
		err_at(e, -ECONNRESET, c->conf.endpoint[c->at], "the watch has ended: %s",
		       c->why[0] ? c->why : curl_easy_strerror(m->data.result));
	else
		return 0;
	watch_end(c);
	return e->code;
}

int etcd_watch_pump(struct etcd *c, int wait_ms, struct err *e)
{
	int running = 0, ret;
	size_t before;

	if (!c->stream)
		return err_at(e, -ECONNRESET, WHERE, "there is no watch");
	do { /* TLS may hold more than the socket shows */
		before = c->n_came;
		curl_multi_perform(c->multi, &running);
		ret = stream_judge(c, e);
	} while (!ret && c->n_came != before);
	if (ret || !wait_ms)
		return ret;
	curl_multi_poll(c->multi, NULL, 0, wait_ms, NULL);
	return etcd_watch_pump(c, 0, e);
}

/* One transfer, one connection; this process has few descriptors, so that none is beyond a set. */
int etcd_watch_fd(struct etcd *c)
{
	fd_set in, out, error;
	int last = -1;

	FD_ZERO(&in);
	FD_ZERO(&out);
	FD_ZERO(&error);
	if (!c->stream || curl_multi_fdset(c->multi, &in, &out, &error, &last) != CURLM_OK)
		return -1;
	while (last >= 0 && !FD_ISSET(last, &in))
		last--;
	return last;
}
