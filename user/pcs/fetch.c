// SPDX-License-Identifier: Apache-2.0
#include "pcs.h"

#include <curl/curl.h>
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/json.h"
#include "base/text.h"
#include "identity/collateral.h"

#define BODY_MAX   (1u << 20) /* a CRL of every platform there is would fit */
#define HEADER_MAX 65536      /* of a percent-encoded chain of two or three certificates */
#define URL_MAX    1024

DEFINE_CLEANUP(curl, CURL, curl_easy_cleanup)
DEFINE_CLEANUP(json, json_t, json_decref)

/* One answer: its body, and the issuer chain of one of its headers. */
struct answer {
	struct out body;
	char *chain;               /* PEM */
	const char *const *header; /* names under which the chain may come; ended by NULL */
	CURL *curl;
};

static void answer_fini(struct answer *a)
{
	out_fini(&a->body);
	free(a->chain);
}

static size_t on_body(char *data, size_t size, size_t n, void *arg)
{
	struct answer *a = arg;

	return out_bytes_max(&a->body, BODY_MAX, data, size * n);
}

/* "Name: percent-encoded PEM" */
static void chain_take(struct answer *a, const char *line, size_t len, const char *name)
{
	size_t at = strlen(name);
	int decoded_len = 0;
	char *decoded;

	if (len <= at + 1 || len > HEADER_MAX || line[at] != ':' || strncasecmp(line, name, at) != 0)
		return;
	at++;
	while (at < len && line[at] == ' ')
		at++;
	while (len > at && (line[len - 1] == '\r' || line[len - 1] == '\n'))
		len--;
	if (at == len)
		return; /* a length of 0 would be measured anew */
	decoded = curl_easy_unescape(a->curl, line + at, (int)(len - at), &decoded_len);
	if (decoded && strlen(decoded) == (size_t)decoded_len) {
		free(a->chain);
		a->chain = strdup(decoded);
	}
	curl_free(decoded);
}

static size_t on_header(char *data, size_t size, size_t n, void *arg)
{
	struct answer *a = arg;

	for (const char *const *name = a->header; *name; name++)
		chain_take(a, data, size * n, *name);
	return size * n;
}

static int perform(const struct pcs_request *req, const char *url, struct answer *a, struct err *e)
{
	char why[CURL_ERROR_SIZE] = "";
	CURLcode code;
	long status = 0;

	curl_easy_setopt(a->curl, CURLOPT_URL, url);
	curl_easy_setopt(a->curl, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(a->curl, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(a->curl, CURLOPT_WRITEDATA, a);
	curl_easy_setopt(a->curl, CURLOPT_HEADERFUNCTION, on_header);
	curl_easy_setopt(a->curl, CURLOPT_HEADERDATA, a);
	curl_easy_setopt(a->curl, CURLOPT_ERRORBUFFER, why);
	curl_easy_setopt(a->curl, CURLOPT_TIMEOUT, req->timeout_s);
	curl_easy_setopt(a->curl, CURLOPT_NOSIGNAL, 1L);
	if (req->ca_file)
		curl_easy_setopt(a->curl, CURLOPT_CAINFO, req->ca_file);
	code = curl_easy_perform(a->curl);
	if (code == CURLE_WRITE_ERROR)
		return err_at(e, -EFBIG, url, "answers more than %u bytes", BODY_MAX);
	if (code != CURLE_OK)
		return err_at(e, -EHOSTUNREACH, url, "%s", why[0] ? why : curl_easy_strerror(code));
	curl_easy_getinfo(a->curl, CURLINFO_RESPONSE_CODE, &status);
	if (status != 200)
		return err_at(e, status == 404 ? -ENOENT : -EREMOTEIO, url, "answers with HTTP status %ld", status);
	return 0;
}

static int get(const struct pcs_request *req, const char *url, const char *const *header, struct answer *a,
	       struct err *e)
{
	auto_call(cleanup_curl) CURL *curl = curl_easy_init();
	int ret;

	if (!curl)
		return err_at(e, -ENOMEM, url, "out of memory");
	*a = (struct answer){ .header = header, .curl = curl };
	ret = perform(req, url, a, e);
	if (!ret && header[0] && !a->chain)
		ret = err_at(e, -EBADMSG, url, "answers without the header %s", header[0]);
	return ret;
}

/* --- parts of the bundle --- */

static bool set(json_t *bundle, const char *key, json_t *value)
{
	return value && json_object_set_new(bundle, key, value) == 0;
}

/* The signed object is kept to the byte: its signature covers these characters. */
static int add_signed(const struct pcs_request *req, const char *url, const char *const *header, const char *member,
		      const char *prefix, json_t *bundle, struct err *e)
{
	auto_call(answer_fini) struct answer a = { 0 };
	char chain[64], sig[64];
	uint8_t signature[64];
	struct in text;
	int ret = get(req, url, header, &a, e);

	if (ret < 0)
		return ret;
	if (!id_signed_body((const char *)a.body.data, a.body.len, member, &text, signature))
		return err_at(e, -EBADMSG, url, "answers no object with %s and its signature", member);
	snprintf(chain, sizeof(chain), "%s_issuer_chain", prefix);
	snprintf(sig, sizeof(sig), "%s_signature", prefix);
	if (!set(bundle, chain, json_string(a.chain)) ||
	    !set(bundle, prefix, json_stringn((const char *)text.p, text.left)) ||
	    !set(bundle, sig, json_hex(signature, sizeof(signature))))
		return err_at(e, -ENOMEM, url, "out of memory");
	return 0;
}

/* DER, or its hex as caches give it. */
static json_t *crl_hex(const struct out *body)
{
	auto_free uint8_t *der = NULL;
	size_t len = body->len;

	if (len && body->data[0] == 0x30 && len > 1 && body->data[1] >= 0x80)
		return json_hex(body->data, len);
	while (len && (body->data[len - 1] == '\n' || body->data[len - 1] == '\r'))
		len--;
	{
		auto_free char *text = strndup((const char *)body->data, len);

		der = malloc(len / 2 + 1);
		if (!text || !der || !len || len % 2 || !hex_parse(der, len / 2, text))
			return NULL;
	}
	return json_hex(der, len / 2);
}

static int add_crl(const struct pcs_request *req, const char *url, const char *const *header, const char *key,
		   json_t *bundle, struct err *e)
{
	auto_call(answer_fini) struct answer a = { 0 };
	json_t *hex;
	int ret = get(req, url, header, &a, e);

	if (ret < 0)
		return ret;
	hex = a.body.len ? crl_hex(&a.body) : NULL;
	if (!hex)
		return err_at(e, -EBADMSG, url, "answers neither DER nor hex");
	if (!set(bundle, key, hex) || (a.chain && !set(bundle, "pck_crl_issuer_chain", json_string(a.chain))))
		return err_at(e, -ENOMEM, url, "out of memory");
	return 0;
}

static int url_make(char url[URL_MAX], struct err *e, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

static int url_make(char url[URL_MAX], struct err *e, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(url, URL_MAX, fmt, ap);
	va_end(ap);
	return n < URL_MAX ? 0 : err_at(e, -ENAMETOOLONG, "url", "is longer than %d bytes", URL_MAX - 1);
}

static int root_crl_url(const struct pcs_request *req, char url[URL_MAX], struct err *e)
{
	if (req->root_crl)
		return url_make(url, e, "%s", req->root_crl);
	if (strcmp(req->url, PCS_INTEL) == 0)
		return url_make(url, e, "%s", PCS_ROOT_CRL);
	return url_make(url, e, "%s/sgx/certification/v4/rootcacrl", req->url);
}

static int add_all(const struct pcs_request *req, json_t *bundle, struct err *e)
{
	static const char *const tcb_header[] = { "TCB-Info-Issuer-Chain", "SGX-TCB-Info-Issuer-Chain", NULL };
	static const char *const qe_header[] = { "SGX-Enclave-Identity-Issuer-Chain", NULL };
	static const char *const crl_header[] = { "SGX-PCK-CRL-Issuer-Chain", NULL }, *const none[] = { NULL };
	const char *update = req->is_early ? "early" : "standard";
	char fmspc[2 * PCS_FMSPC_LEN + 1], url[URL_MAX];
	int ret;

	hex_print(fmspc, req->fmspc, PCS_FMSPC_LEN);
	ret = url_make(url, e, "%s/tdx/certification/v4/tcb?fmspc=%s&update=%s", req->url, fmspc, update);
	if (!ret)
		ret = add_signed(req, url, tcb_header, "tcbInfo", "tcb_info", bundle, e);
	if (!ret)
		ret = url_make(url, e, "%s/tdx/certification/v4/qe/identity?update=%s", req->url, update);
	if (!ret)
		ret = add_signed(req, url, qe_header, "enclaveIdentity", "qe_identity", bundle, e);
	if (!ret)
		ret = url_make(url, e, "%s/sgx/certification/v4/pckcrl?ca=%s&encoding=der", req->url,
			       req->is_processor_ca ? "processor" : "platform");
	if (!ret)
		ret = add_crl(req, url, crl_header, "pck_crl", bundle, e);
	if (!ret)
		ret = root_crl_url(req, url, e);
	return ret ? ret : add_crl(req, url, none, "root_ca_crl", bundle, e);
}

int pcs_fetch(const struct pcs_request *req, char **bundle, size_t *len, struct err *e)
{
	auto_call(cleanup_json) json_t *made = json_object();
	char *text;
	int ret = made ? add_all(req, made, e) : -ENOMEM;

	if (ret < 0)
		return err_at(e, ret, req->url, "out of memory");
	text = json_dumps(made, JSON_INDENT(2));
	if (!text)
		return err_at(e, -ENOMEM, req->url, "out of memory");
	*bundle = text;
	*len = strlen(text);
	return 0;
}
