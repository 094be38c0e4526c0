// SPDX-License-Identifier: Apache-2.0
/* The asker: dstack's authorisation webhook. Whatever is not a clear yes in time is a no. */
#include <curl/curl.h>
#include <errno.h>
#include <event2/event.h>
#include <pwd.h>
#include <signal.h>
#include <string.h>

#include "base/buf.h"
#include "base/log.h"
#include "baileyd/box.h"
#include "baileyd/ipc.h"
#include "internal.h"
#include "process.h"

#define ANSWER_MAX (64u * 1024)

DEFINE_CLEANUP(curl, CURL, curl_easy_cleanup)
DEFINE_CLEANUP(headers, struct curl_slist, curl_slist_free_all)

static int text_take(const json_t *object, const char *key, char dst[KMS_TEXT_LEN], struct err *e)
{
	const json_t *value = json_object_get(object, key);

	if (value && !json_is_null(value) && (!json_is_string(value) || json_string_length(value) >= KMS_TEXT_LEN))
		return err_at(e, -EBADMSG, "authorization", "%s is no text below %d bytes", key, KMS_TEXT_LEN);
	snprintf(dst, KMS_TEXT_LEN, "%s", json_is_string(value) ? json_string_value(value) : "");
	return 0;
}

int kms_webhook_answer(const char *text, size_t len, struct kms_decision *decision, struct err *e)
{
	auto_json json_t *object = json_loadb(text, len, JSON_REJECT_DUPLICATES, NULL);
	const json_t *allowed = json_object_get(object, "isAllowed");
	struct kms_decision made = { 0 };

	if (!json_is_boolean(allowed))
		return err_at(e, -EBADMSG, "authorization", "the webhook answers no object with a boolean isAllowed");
	if (text_take(object, "gatewayAppId", made.gateway_app_id, e) < 0 ||
	    text_take(object, "reason", made.reason, e) < 0)
		return -EBADMSG;
	made.is_allowed = json_is_true(allowed);
	*decision = made;
	return 0;
}

static size_t on_body(char *data, size_t size, size_t n, void *arg)
{
	return out_bytes_max(arg, ANSWER_MAX, data, size * n);
}

static CURL *request_new(const char *url, unsigned timeout_s, enum kms_ask ask, const char *body,
			 struct curl_slist *headers, struct out *answer)
{
	CURL *curl = curl_easy_init();
	size_t len = strlen(url);
	char full[PATH_MAX + 32];

	if (!curl)
		return NULL;
	snprintf(full, sizeof(full), "%.*s/bootAuth/%s", (int)(len && url[len - 1] == '/' ? len - 1 : len), url,
		 ask == KMS_ASK_KMS ? "kms" : "app");
	curl_easy_setopt(curl, CURLOPT_URL, full);
	curl_easy_setopt(curl, CURLOPT_USERAGENT, "dstack-kms/" KMS_VERSION);
	curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
	curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body);
	curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(curl, CURLOPT_NOPROXY, "*");
	curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(curl, CURLOPT_TIMEOUT, (long)timeout_s);
	curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, (long)timeout_s);
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, answer);
	return curl;
}

int kms_webhook_ask(const char *url, unsigned timeout_s, enum kms_ask ask, const char *body,
		    struct kms_decision *decision, struct err *e)
{
	auto_call(cleanup_headers) struct curl_slist *headers =
		curl_slist_append(NULL, "Content-Type: application/json");
	auto_out struct out answer = { 0 };
	auto_call(cleanup_curl) CURL *curl = headers ? request_new(url, timeout_s, ask, body, headers, &answer) : NULL;
	char why[CURL_ERROR_SIZE] = "";
	long status = 0;
	CURLcode code;

	if (!curl)
		return err_at(e, -ENOMEM, "authorization", "out of memory");
	curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, why);
	code = curl_easy_perform(curl);
	if (code == CURLE_WRITE_ERROR)
		return err_at(e, -EFBIG, "authorization", "the webhook answers more than %u bytes", ANSWER_MAX);
	if (code != CURLE_OK)
		return err_at(e, -EHOSTUNREACH, "authorization", "the webhook does not answer: %.200s",
			      why[0] ? why : curl_easy_strerror(code));
	curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
	if (status / 100 != 2)
		return err_at(e, -EREMOTEIO, "authorization", "the webhook answers HTTP %ld", status);
	return kms_webhook_answer(answer.data ? (char *)answer.data : "", answer.len, decision, e);
}

/* --- the process --- */

struct asker {
	const struct kms_conf *conf;
	struct event_base *base;
	struct ipc *front;
};

static void on_message(struct ipc_msg *msg, void *arg)
{
	const struct kms_msg_ask *m = ipc_as(msg, sizeof(*m));
	struct kms_msg_told told = { 0 };
	struct asker *asker = arg;
	auto_free uint8_t *body = NULL;
	size_t len;

	if (msg->type != KMS_MSG_ASK || !m || ipc_blob_read(msg->fd, 64 * 1024, &body, &len) < 0)
		return;
	told.id = m->id;
	told.code = kms_webhook_ask(asker->conf->webhook, asker->conf->timeout_s, m->ask, (char *)body, &told.decision,
				    &told.err);
	ipc_send(asker->front, KMS_MSG_TOLD, &told, sizeof(told), -1);
}

int kms_asker(const struct kms_conf *conf, int front_fd)
{
	struct asker asker = { .conf = conf, .base = event_base_new() };
	struct err e = ERR_INIT;
	int ret = asker.base ? 0 : -ENOMEM;

	curl_global_init(CURL_GLOBAL_DEFAULT);
	if (!ret)
		ret = kms_box(conf, box_asker, &e);
	if (!ret)
		ret = ipc_new(asker.base, front_fd, on_message, NULL, &asker, &asker.front);
	if (ret < 0)
		return kms_process_failed("asker", ret, &e);
	event_base_dispatch(asker.base);
	return 1;
}
