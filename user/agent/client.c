// SPDX-License-Identifier: Apache-2.0
/* Asks an agent, ours or dstack's. */
#include <curl/curl.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "internal.h"

DEFINE_CLEANUP(curl, CURL, curl_easy_cleanup)
DEFINE_CLEANUP(headers, struct curl_slist, curl_slist_free_all)

static size_t on_body(char *data, size_t size, size_t n, void *arg)
{
	struct out *body = arg;

	if (body->len + size * n > AG_ANSWER_MAX)
		return 0;
	out_bytes(body, data, size * n);
	return out_ok(body) ? size * n : 0;
}

/* A path is a Unix socket, "unix:" in front of it is allowed; anything else is a URL. */
static void address_set(CURL *curl, const char *address, const char *path)
{
	const char *socket = strncmp(address, "unix:", 5) == 0 ? address + 5 : address[0] == '/' ? address : NULL;
	char url[512];

	snprintf(url, sizeof(url), "%s%s", socket ? "http://localhost" : address, path);
	curl_easy_setopt(curl, CURLOPT_URL, url);
	if (socket)
		curl_easy_setopt(curl, CURLOPT_UNIX_SOCKET_PATH, socket);
	curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(curl, CURLOPT_NOPROXY, "*");
}

static int perform(CURL *curl, const char *address, struct out *body, long *status, struct err *e)
{
	char why[CURL_ERROR_SIZE] = "";
	CURLcode code;

	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, body);
	curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, why);
	curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, 5L);
	curl_easy_setopt(curl, CURLOPT_TIMEOUT, (long)AG_CALL_TIMEOUT);
	curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	code = curl_easy_perform(curl);
	if (code == CURLE_WRITE_ERROR)
		return err_at(e, -EFBIG, address, "agent answers more than %u bytes", AG_ANSWER_MAX);
	if (code != CURLE_OK)
		return err_at(e, code == CURLE_OPERATION_TIMEDOUT ? -ETIMEDOUT : -ECONNREFUSED, address,
			      "agent does not answer: %s", why[0] ? why : curl_easy_strerror(code));
	curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, status);
	return 0;
}

static int answer_read(const char *address, const struct out *body, long status, json_t **answer, struct err *e)
{
	json_t *value = json_loadb((const char *)body->data, body->len, JSON_REJECT_DUPLICATES, NULL);
	const char *error = json_string_value(json_object_get(value, "error"));
	int ret = 0;

	if (error || status != 200)
		ret = err_at(e, -EREMOTEIO, address, "agent refuses: %.300s (HTTP %ld)",
			     error ? error : "no reason given", status);
	else if (!json_is_object(value))
		ret = err_at(e, -EBADMSG, address, "agent answers no JSON object");
	if (ret < 0)
		json_decref(value);
	else
		*answer = value;
	return ret;
}

int ag_ask(const char *address, const char *path, const json_t *args, json_t **answer, struct err *e)
{
	auto_call(cleanup_curl) CURL *curl = curl_easy_init();
	auto_call(cleanup_headers) struct curl_slist *headers =
		curl_slist_append(NULL, "Content-Type: application/json");
	auto_free char *text = args ? json_dumps(args, JSON_COMPACT) : strdup("{}");
	auto_out struct out body = { 0 };
	long status = 0;
	int ret;

	if (!curl || !headers || !text)
		return err_at(e, -ENOMEM, address, "out of memory");
	address_set(curl, address, path);
	curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
	curl_easy_setopt(curl, CURLOPT_POSTFIELDS, text);
	ret = perform(curl, address, &body, &status, e);
	return ret ? ret : answer_read(address, &body, status, answer, e);
}
