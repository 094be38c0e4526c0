// SPDX-License-Identifier: Apache-2.0
#include "client.h"

#include <curl/curl.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"

#define RUN_DIR    "/run/bailey"
#define ANSWER_MAX (256u << 20)

int ctl_socket_path(const char *instance, char *path, size_t size, struct err *e)
{
	return ctl_socket_below(RUN_DIR, "baileyd", instance, path, size, e);
}

int ctl_socket_below(const char *run, const char *program, const char *instance, char *path, size_t size, struct err *e)
{
	auto_out struct out all = { 0 };
	char only[256] = "";
	struct dirent *entry;
	unsigned n = 0;
	DIR *dir;

	if (instance) {
		snprintf(path, size, "%s/%s/ctl.sock", run, instance);
		return 0;
	}
	dir = opendir(run);
	while (dir && (entry = readdir(dir))) {
		if (entry->d_name[0] == '.')
			continue;
		snprintf(only, sizeof(only), "%s", entry->d_name);
		out_print(&all, " %s", entry->d_name);
		n++;
	}
	if (dir)
		closedir(dir);
	if (!n)
		return err_at(e, -ENOENT, run, "no instance of %s runs here", program);
	if (n > 1)
		return err_at(e, -ENOENT, run, "several instances run:%.*s; say which with --instance", (int)all.len,
			      (const char *)all.data);
	snprintf(path, size, "%s/%s/ctl.sock", run, only);
	return 0;
}

struct call {
	CURL *curl;
	struct out body;
	const char *send; /* NULL: nothing */
	bool (*line)(const json_t *obj, void *arg);
	bool (*bytes)(const void *data, size_t n, void *arg);
	void *arg;
	const volatile sig_atomic_t *stop;
	unsigned seconds;
	bool is_stopped;
};

static size_t on_body(char *data, size_t size, size_t n, void *arg)
{
	struct call *c = arg;

	return out_bytes_max(&c->body, ANSWER_MAX, data, size * n);
}

static int status_of(const struct call *c)
{
	long status = 0;

	curl_easy_getinfo(c->curl, CURLINFO_RESPONSE_CODE, &status);
	return (int)status;
}

/* Hands out whole lines and keeps the rest. */
static size_t on_lines(char *data, size_t size, size_t n, void *arg)
{
	struct call *c = arg;
	uint8_t *end;

	if (on_body(data, size, n, arg) != size * n)
		return 0;
	if (status_of(c) >= 300) /* an error, kept whole */
		return size * n;
	while (!c->is_stopped && (end = memchr(c->body.data, '\n', c->body.len))) {
		size_t len = (size_t)(end - c->body.data);
		json_t *obj = json_loadb((char *)c->body.data, len, 0, NULL);

		if (obj && !c->line(obj, c->arg))
			c->is_stopped = true;
		json_decref(obj);
		memmove(c->body.data, end + 1, c->body.len - len - 1);
		c->body.len -= len + 1;
	}
	return c->is_stopped ? 0 : size * n;
}

static size_t on_stream(char *data, size_t size, size_t n, void *arg)
{
	struct call *c = arg;

	if (status_of(c) >= 300)
		return on_body(data, size, n, arg);
	c->is_stopped = !c->bytes(data, size * n, c->arg);
	return c->is_stopped ? 0 : size * n;
}

/* Called about once a second and with each piece. */
static int on_progress(void *arg, curl_off_t a, curl_off_t b, curl_off_t x, curl_off_t y)
{
	struct call *c = arg;

	(void)a, (void)b, (void)x, (void)y;
	if (c->stop && *c->stop)
		c->is_stopped = true;
	return c->is_stopped;
}

static int perform(struct call *c, const char *socket, const char *method, const char *url_path, struct err *e)
{
	char url[1024], why[CURL_ERROR_SIZE] = "";
	CURLcode code;

	snprintf(url, sizeof(url), "http://localhost%s", url_path);
	curl_easy_setopt(c->curl, CURLOPT_UNIX_SOCKET_PATH, socket);
	curl_easy_setopt(c->curl, CURLOPT_URL, url);
	curl_easy_setopt(c->curl, CURLOPT_NOPROXY, "*");
	if (c->send)
		curl_easy_setopt(c->curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)strlen(c->send));
	if (c->send)
		curl_easy_setopt(c->curl, CURLOPT_POSTFIELDS, c->send);
	curl_easy_setopt(c->curl, CURLOPT_CUSTOMREQUEST, method);
	curl_easy_setopt(c->curl, CURLOPT_WRITEFUNCTION, c->line ? on_lines : c->bytes ? on_stream : on_body);
	curl_easy_setopt(c->curl, CURLOPT_NOPROGRESS, 0L);
	curl_easy_setopt(c->curl, CURLOPT_XFERINFOFUNCTION, on_progress);
	curl_easy_setopt(c->curl, CURLOPT_XFERINFODATA, c);
	curl_easy_setopt(c->curl, CURLOPT_WRITEDATA, c);
	curl_easy_setopt(c->curl, CURLOPT_ERRORBUFFER, why);
	curl_easy_setopt(c->curl, CURLOPT_TIMEOUT, c->line ? 0L : c->bytes ? (long)c->seconds : 30L);
	code = curl_easy_perform(c->curl);
	if (code == CURLE_OPERATION_TIMEDOUT && c->seconds) /* that is what was asked for */
		return status_of(c);
	if (code == CURLE_COULDNT_CONNECT && access(socket, W_OK) < 0 && errno == EACCES)
		return err_at(e, -EACCES, socket, "%s: only root is answered", strerror(EACCES));
	if (code == CURLE_COULDNT_CONNECT) /* curl would speak of localhost and a port */
		return err_at(e, -ECONNREFUSED, socket, "nobody listens there: the daemon is not running");
	if (code != CURLE_OK && !c->is_stopped)
		return err_at(e, -ECONNREFUSED, socket, "no answer: %s", why[0] ? why : curl_easy_strerror(code));
	return status_of(c);
}

static int answer_error(const struct out *body, int status, struct err *e)
{
	json_t *obj = json_loadb((const char *)body->data, body->len, 0, NULL);
	const char *where = json_string_value(json_object_get(obj, "where"));
	const char *error = json_string_value(json_object_get(obj, "error"));
	int ret = err_at(e, -EREMOTEIO, where ? where : "daemon", "%s (HTTP %d)", error ? error : "no reason given",
			 status);

	json_decref(obj);
	return ret;
}

static int call_text(const char *socket, const char *method, const char *url_path, struct out *body, struct err *e)
{
	struct call c = { .curl = curl_easy_init() };
	int ret;

	if (!c.curl)
		return err_at(e, -ENOMEM, socket, "out of memory");
	ret = perform(&c, socket, method, url_path, e);
	curl_easy_cleanup(c.curl);
	if (ret >= 200 && ret < 300)
		ret = 0;
	else if (ret >= 0)
		ret = answer_error(&c.body, ret, e);
	*body = c.body;
	return ret;
}

int ctl_call(const char *socket, const char *method, const char *url_path, json_t **body, struct err *e)
{
	auto_out struct out text = { 0 };
	json_error_t why;
	json_t *obj;
	int ret = call_text(socket, method, url_path, &text, e);

	if (ret < 0)
		return ret;
	obj = json_loadb((const char *)text.data, text.len, 0, &why);
	if (!obj)
		return err_at(e, -EPROTO, socket, "answer is no JSON: %s", why.text);
	*body = obj;
	return 0;
}

int ctl_post(const char *socket, const char *url_path, const json_t *body, json_t **answer, struct err *e)
{
	auto_free char *text = body ? json_dumps(body, JSON_COMPACT) : strdup("");
	struct call c = { .curl = curl_easy_init(), .send = text };
	int ret;

	if (!c.curl || !text) {
		curl_easy_cleanup(c.curl);
		return err_at(e, -ENOMEM, socket, "out of memory");
	}
	ret = perform(&c, socket, "POST", url_path, e);
	curl_easy_cleanup(c.curl);
	*answer = ret >= 0 ? json_loadb((const char *)c.body.data, c.body.len, 0, NULL) : NULL;
	if (ret >= 300)
		ret = answer_error(&c.body, ret, e);
	else if (ret >= 0)
		ret = *answer ? 0 : err_at(e, -EPROTO, socket, "answer is no JSON");
	out_fini(&c.body);
	return ret;
}

int ctl_text(const char *socket, const char *url_path, char **text, struct err *e)
{
	auto_out struct out body = { 0 };
	size_t len;
	int ret = call_text(socket, "GET", url_path, &body, e);

	if (ret < 0)
		return ret;
	out_u8(&body, 0);
	*text = (char *)out_take(&body, &len);
	return *text ? 0 : err_at(e, -ENOMEM, socket, "out of memory");
}

/* What comes is given to the call's functions; only a refusal's body is kept. */
static int follow(struct call *c, const char *socket, const char *url_path, struct err *e)
{
	int ret;

	if (!c->curl)
		return err_at(e, -ENOMEM, socket, "out of memory");
	ret = perform(c, socket, "GET", url_path, e);
	curl_easy_cleanup(c->curl);
	if (ret >= 300)
		ret = answer_error(&c->body, ret, e);
	out_fini(&c->body);
	return ret < 0 ? ret : 0;
}

int ctl_follow(const char *socket, const char *url_path, bool (*line)(const json_t *obj, void *arg), void *arg,
	       struct err *e)
{
	struct call c = { .curl = curl_easy_init(), .line = line, .arg = arg };

	return follow(&c, socket, url_path, e);
}

int ctl_stream(const char *socket, const char *url_path, unsigned seconds, const volatile sig_atomic_t *stop,
	       bool (*bytes)(const void *data, size_t n, void *arg), void *arg, struct err *e)
{
	struct call c = { .curl = curl_easy_init(), .bytes = bytes, .arg = arg, .stop = stop, .seconds = seconds };

	return follow(&c, socket, url_path, e);
}
