// SPDX-License-Identifier: Apache-2.0
#include <curl/curl.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "identity/evidence.h"
#include "identity/issue.h"
#include "internal.h"
#include "kms.h"

DEFINE_CLEANUP(curl, CURL, curl_easy_cleanup)
DEFINE_CLEANUP(headers, struct curl_slist, curl_slist_free_all)
DEFINE_CLEANUP(store, X509_STORE, X509_STORE_free)
DEFINE_CLEANUP(store_ctx, X509_STORE_CTX, X509_STORE_CTX_free)

/* One handshake: what the callback needs, and why it refused. */
struct handshake {
	const struct ag_kms *kms;
	struct err err;
};

int ag_kms_usage_check(X509 *leaf, struct err *e)
{
	auto_call(id_cert_fini) struct id_cert cert = { 0 };
	struct id_issuer_claims claims;
	unsigned char *der = NULL;
	int len = i2d_X509(leaf, &der);
	int ret = len > 0 ? id_cert_parse(der, (size_t)len, &cert, e) : err_at(e, -ENOMEM, "KMS", "out of memory");

	OPENSSL_free(der);
	if (!ret)
		ret = id_issuer_claims_read(&cert, &claims, e);
	if (ret < 0)
		return ret;
	return strcmp(claims.usage, ID_USAGE_KMS) == 0
		       ? 0
		       : err_reason(e, ID_CERT_CLAIM, "KMS",
				    "certificate's usage is \"%s\", " ID_USAGE_KMS " is needed", claims.usage);
}

static int chain_check(const char *ca_pem, X509_STORE_CTX *given, struct err *e)
{
	auto_call(cleanup_store) X509_STORE *store = X509_STORE_new();
	auto_call(cleanup_store_ctx) X509_STORE_CTX *ctx = X509_STORE_CTX_new();
	X509 *root = NULL;
	int n = id_x509_from_pem(ca_pem, strlen(ca_pem), &root, 1);
	bool ok = n == 1 && store && ctx && X509_STORE_add_cert(store, root) == 1 &&
		  X509_STORE_CTX_init(ctx, store, X509_STORE_CTX_get0_cert(given),
				      X509_STORE_CTX_get0_untrusted(given)) == 1 &&
		  X509_verify_cert(ctx) == 1;

	X509_free(root);
	if (ok)
		return 0;
	return err_at(e, -EACCES, "KMS", "certificate does not lead to the root that is expected: %s",
		      n == 1 && ctx ? X509_verify_cert_error_string(X509_STORE_CTX_get_error(ctx)) : "no root");
}

static int server_judge(X509_STORE_CTX *given, void *arg)
{
	struct handshake *hs = arg;
	const struct ag_kms *kms = hs->kms;
	X509 *leaf = X509_STORE_CTX_get0_cert(given);
	int ret = leaf ? 0 : -EACCES;

	ERR_set_mark();
	if (!ret && kms->ca_pem)
		ret = chain_check(kms->ca_pem, given, &hs->err);
	if (!ret)
		ret = ag_kms_usage_check(leaf, &hs->err);
	if (!ret && kms->judge)
		ret = kms->judge(leaf, kms->arg, &hs->err);
	if (!ret && !kms->judge && !kms->ca_pem)
		ret = err_at(&hs->err, -EACCES, "KMS", "nothing says which one is right");
	ERR_pop_to_mark();
	X509_STORE_CTX_set_error(given, ret ? X509_V_ERR_APPLICATION_VERIFICATION : X509_V_OK);
	return !ret;
}

static CURLcode context_set(CURL *curl, void *ctx, void *arg)
{
	(void)curl;
	SSL_CTX_set_cert_verify_callback(ctx, server_judge, arg);
	SSL_CTX_set_max_cert_list(ctx, ID_CERT_MAX);
	return CURLE_OK;
}

static size_t on_body(char *data, size_t size, size_t n, void *arg)
{
	return out_bytes_max(arg, AG_ANSWER_MAX, data, size * n);
}

static void tls_set(CURL *curl, struct handshake *hs)
{
	const struct ag_kms *kms = hs->kms;
	struct curl_blob cert = { (void *)kms->cert_pem, kms->cert_pem ? strlen(kms->cert_pem) : 0, CURL_BLOB_COPY };
	struct curl_blob key = { (void *)kms->key_pem, kms->key_pem ? strlen(kms->key_pem) : 0, CURL_BLOB_COPY };

	if (kms->cert_pem) {
		curl_easy_setopt(curl, CURLOPT_SSLCERT_BLOB, &cert);
		curl_easy_setopt(curl, CURLOPT_SSLKEY_BLOB, &key);
	}
	/* the callback judges; a name proves nothing that the root and the usage do not */
	curl_easy_setopt(curl, CURLOPT_CAINFO, NULL);
	curl_easy_setopt(curl, CURLOPT_CAPATH, NULL);
	curl_easy_setopt(curl, CURLOPT_SSL_VERIFYPEER, 1L);
	curl_easy_setopt(curl, CURLOPT_SSL_VERIFYHOST, 0L);
	curl_easy_setopt(curl, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_3);
	curl_easy_setopt(curl, CURLOPT_SSL_SESSIONID_CACHE, 0L);
}

static int perform(CURL *curl, struct handshake *hs, struct out *body, long *status, struct err *e)
{
	const char *url = hs->kms->url;
	char why[CURL_ERROR_SIZE] = "";
	CURLcode code;

	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, body);
	curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, why);
	curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "https");
	curl_easy_setopt(curl, CURLOPT_NOPROXY, "*");
	curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, 5L);
	curl_easy_setopt(curl, CURLOPT_TIMEOUT, (long)AG_CALL_TIMEOUT);
	curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	/* a libcurl that is built on another library can not be told whom to trust */
	if (curl_easy_setopt(curl, CURLOPT_SSL_CTX_DATA, hs) != CURLE_OK ||
	    curl_easy_setopt(curl, CURLOPT_SSL_CTX_FUNCTION, context_set) != CURLE_OK)
		return err_at(e, -EOPNOTSUPP, url, "libcurl without OpenSSL can not judge a KMS");
	code = curl_easy_perform(curl);
	if (hs->err.code) {
		*e = hs->err;
		return e->code;
	}
	if (code != CURLE_OK)
		return err_at(e, code == CURLE_OPERATION_TIMEDOUT ? -ETIMEDOUT : -ECONNREFUSED, url,
			      "KMS does not answer: %s", why[0] ? why : curl_easy_strerror(code));
	curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, status);
	return 0;
}

static int answer_read(const char *url, const struct out *body, long status, json_t **answer, struct err *e)
{
	auto_json json_t *value =
		json_loadb(body->data ? (char *)body->data : "", body->len, JSON_REJECT_DUPLICATES, NULL);
	const char *error = json_string_value(json_object_get(value, "error"));

	if (error || status != 200)
		return err_at(e, -EREMOTEIO, url, "KMS refuses: %.250s (HTTP %ld)", error ? error : "no reason given",
			      status);
	if (!json_is_object(value))
		return err_at(e, -EBADMSG, url, "KMS answers no JSON object");
	*answer = take_ptr(value);
	return 0;
}

int ag_kms_call(const struct ag_kms *kms, const char *method, const json_t *args, json_t **answer, struct err *e)
{
	auto_call(cleanup_curl) CURL *curl = curl_easy_init();
	auto_call(cleanup_headers) struct curl_slist *headers =
		curl_slist_append(NULL, "Content-Type: application/json");
	auto_free char *text = args ? json_dumps(args, JSON_COMPACT) : strdup("{}");
	struct handshake hs = { .kms = kms };
	auto_out struct out body = { 0 };
	size_t len = strlen(kms->url);
	char url[512];
	long status = 0;
	int ret;

	if (!curl || !headers || !text)
		return err_at(e, -ENOMEM, kms->url, "out of memory");
	while (len && kms->url[len - 1] == '/')
		len--;
	snprintf(url, sizeof(url), "%.*s/prpc/%s?json", (int)len, kms->url, method);
	curl_easy_setopt(curl, CURLOPT_URL, url);
	curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
	curl_easy_setopt(curl, CURLOPT_POSTFIELDS, text);
	tls_set(curl, &hs);
	ret = perform(curl, &hs, &body, &status, e);
	return ret ? ret : answer_read(kms->url, &body, status, answer, e);
}
