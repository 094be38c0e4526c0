// SPDX-License-Identifier: Apache-2.0
/*
 * The front process: TLS, HTTP, JSON, certificates, quotes. No root key, no file, no capability. The listening socket
 * is served once the key process has said what it has; until then clients wait in the backlog.
 */
#include "front.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent_ssl.h>
#include <event2/listener.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <string.h>

#include "agent/prpc.h"
#include "base/log.h"
#include "baileyd/box.h"
#include "mesh/ratls.h"
#include "process.h"

#define HEADERS_MAX 8192
#define IDLE_S      30
#define MOUNT       "/prpc/"

/* --- TLS --- */

/* Any certificate may come; what it proves is asked by the call that needs it, which can say what is wrong. */
static int accept_any(X509_STORE_CTX *store, void *arg)
{
	(void)arg;
	X509_STORE_CTX_set_error(store, X509_V_OK);
	return 1;
}

static int tls_open(struct front *front, const char *cert, const char *key, struct err *e)
{
	char why[256];

	front->tls = SSL_CTX_new(TLS_server_method());
	if (!front->tls || !SSL_CTX_set_min_proto_version(front->tls, TLS1_3_VERSION) ||
	    !SSL_CTX_set_num_tickets(front->tls, 0))
		return err_at(e, -ENOMEM, "TLS", "can not set up: %s", ratls_error(why, sizeof(why)));
	SSL_CTX_set_verify(front->tls, SSL_VERIFY_PEER, NULL);
	SSL_CTX_set_cert_verify_callback(front->tls, accept_any, NULL);
	SSL_CTX_set_max_cert_list(front->tls, ID_CERT_MAX);
	SSL_CTX_set_session_cache_mode(front->tls, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_options(front->tls, SSL_OP_NO_TICKET | SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION);
	return ratls_use(front->tls, cert, key, e);
}

static struct bufferevent *connection_new(struct event_base *base, void *arg)
{
	struct front *front = arg;
	SSL *ssl = SSL_new(front->tls);
	struct bufferevent *bev =
		ssl ? bufferevent_openssl_socket_new(base, -1, ssl, BUFFEREVENT_SSL_ACCEPTING, BEV_OPT_CLOSE_ON_FREE)
		    : NULL;

	if (ssl && !bev)
		SSL_free(ssl);
	return bev;
}

/* --- HTTP --- */

static void reply_text(struct evhttp_request *req, const char *type)
{
	evhttp_add_header(evhttp_request_get_output_headers(req), "Content-Type", type);
	evhttp_send_reply(req, 200, NULL, NULL);
}

static void metrics(struct front *front, struct evhttp_request *req)
{
	struct evbuffer *out = evhttp_request_get_output_buffer(req);

	evbuffer_add_printf(
		out,
		"# TYPE dstack_kms_attestation_requests_total counter\n"
		"dstack_kms_attestation_requests_total %llu\n"
		"# TYPE dstack_kms_attestation_failures_total counter\n"
		"dstack_kms_attestation_failures_total %llu\n"
		"# TYPE bailey_kms_answered_total counter\n"
		"bailey_kms_answered_total %llu\n"
		"# TYPE bailey_kms_refused_total counter\n"
		"bailey_kms_refused_total %llu\n"
		"# TYPE bailey_kms_waiting gauge\n"
		"bailey_kms_waiting %zu\n",
		(unsigned long long)front->count.attestations, (unsigned long long)front->count.attestations_failed,
		(unsigned long long)front->count.answered, (unsigned long long)front->count.refused, front->n_calls);
	reply_text(req, "text/plain; version=0.0.4");
}

static void on_request(struct evhttp_request *req, void *arg)
{
	const char *path = evhttp_uri_get_path(evhttp_request_get_evhttp_uri(req));
	struct front *front = arg;

	if (path && strncmp(path, MOUNT, strlen(MOUNT)) == 0)
		kms_rpc(front, req, path + strlen(MOUNT));
	else if (path && strcmp(path, "/metrics") == 0)
		metrics(front, req);
	else if (path && strcmp(path, "/health") == 0)
		reply_text(req, "text/plain");
	else
		evhttp_send_error(req, 404, NULL);
}

static int serve(struct front *front, struct err *e)
{
	struct evconnlistener *listener = evconnlistener_new(
		front->base, NULL, NULL, LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC, 0, front->listener);

	front->http = evhttp_new(front->base);
	if (!listener || !front->http || !evhttp_bind_listener(front->http, listener))
		return err_at(e, -ENOMEM, "listener", "out of memory");
	evhttp_set_bevcb(front->http, connection_new, front);
	evhttp_set_gencb(front->http, on_request, front);
	evhttp_set_max_body_size(front->http, KMS_BODY_MAX);
	evhttp_set_max_headers_size(front->http, HEADERS_MAX);
	evhttp_set_timeout(front->http, IDLE_S);
	evhttp_set_allowed_methods(front->http, EVHTTP_REQ_GET | EVHTTP_REQ_POST);
	return 0;
}

/* --- the other processes --- */

static int on_ready(struct front *front, struct ipc_msg *msg, struct err *e)
{
	uint8_t *text = NULL;
	size_t len;
	int ret;

	if (front->ready || ipc_blob_read(msg->fd, 4u << 20, &text, &len) < 0)
		return err_at(e, -EPROTO, "key process", "says nothing that can be read");
	front->ready = json_loadb((char *)text, len, 0, NULL);
	OPENSSL_cleanse(text, len);
	free(text);
	ret = tls_open(front, json_string_value(json_object_get(front->ready, "cert")),
		       json_string_value(json_object_get(front->ready, "key")), e);
	json_object_del(front->ready, "key");
	return ret ? ret : serve(front, e);
}

static void on_keys(struct ipc_msg *msg, void *arg)
{
	struct front *front = arg;
	struct err e = ERR_INIT;
	char text[600];

	if (msg->type == KMS_MSG_ANSWER) {
		kms_rpc_answered(front, msg);
	} else if (msg->type == KMS_MSG_READY && on_ready(front, msg, &e) < 0) {
		log_err("%s", err_text(&e, text, sizeof(text)));
		event_base_loopbreak(front->base);
	} else if (msg->type == KMS_MSG_READY) {
		log_info("serves %s", front->conf->domain);
	}
}

static void on_asker(struct ipc_msg *msg, void *arg)
{
	if (msg->type == KMS_MSG_TOLD)
		kms_rpc_told(arg, ipc_as(msg, sizeof(struct kms_msg_told)));
}

int kms_front(const struct kms_conf *conf, struct evp_files *trust, const struct kms_allow *allow, int listener,
	      int keys_fd, int asker_fd)
{
	struct front front = { .conf = conf, .trust = trust, .allow = allow, .listener = listener };
	struct err e = ERR_INIT;
	int ret;

	/* what a library opens lazily must be open before the box closes */
	OPENSSL_init_ssl(OPENSSL_INIT_NO_LOAD_CONFIG, NULL);
	TAILQ_INIT(&front.calls);
	front.base = event_base_new();
	ret = front.base ? kms_box(conf, box_edge, &e) : -ENOMEM;
	if (!ret)
		ret = ipc_new(front.base, keys_fd, on_keys, NULL, &front, &front.keys);
	if (!ret && asker_fd >= 0)
		ret = ipc_new(front.base, asker_fd, on_asker, NULL, &front, &front.asker);
	if (ret < 0)
		return kms_process_failed("front", ret, &e);
	event_base_dispatch(front.base);
	return 1; /* one of the others is gone; the parent ends and starts all */
}
