// SPDX-License-Identifier: Apache-2.0
/*
 * The edge process: TLS, X.509, quotes, event logs and records of strangers are parsed here and nowhere else in the
 * daemon. It holds the certificate key (until keys get a process of their own), no capability, no files.
 */
#include "role.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/ssl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "box.h"
#include "edge_judge.h"
#include "edge_knock.h"
#include "edge_quote.h"
#include "edge_trust.h"
#include "edge_vpc.h"
#include "proc.h"
#include "mesh/exchange.h"
#include "identity/x509.h"
#include "msg.h"
#include "source.h"

#define PEM_MAX       (1 << 20)
#define EXPIRE_EACH_S 1

struct edge {
	struct event_base *base;
	struct ipc *parent;
	struct msg_edge_conf conf;
	bool has_conf;
	char *cert_pem, *key_pem, *roots_pem;
	char *next_cert, *next_key; /* from the agent, in use as soon as a record is signed with them */
	size_t roots_len;
	struct id_claims self; /* what cert_pem proves */
	struct edge_trust *trust;
	struct agent_link *link;
	struct source *source;
	struct id_registry *registry;
	struct edge_judge judge;
	struct mx *mx;
	struct edge_vpc *vpc;
	struct event *expire;
};

static void trust_now(struct id_trust *trust, void *arg)
{
	struct edge *edge = arg;

	*trust = (struct id_trust){ .now = time(NULL),
				    .allow_simulated = edge->conf.allow_simulated,
				    .simulated_roots = edge->roots_pem,
				    .simulated_roots_len = edge->roots_len };
	edge_trust_fill(edge->trust, trust);
}

static void tell_refused(const char *origin, const struct err *err, bool is_remote, void *arg)
{
	struct edge *edge = arg;
	struct msg_refused m = { .err = *err };

	(void)is_remote;
	edge_trust_refused(edge->trust);
	snprintf(m.origin, sizeof(m.origin), "%s", origin);
	ipc_send(edge->parent, MSG_EDGE_REFUSED, &m, sizeof(m), -1);
}

static int admit(const struct id_node *node, const uint8_t *bytes, size_t len, const char *origin, struct err *e,
		 void *arg)
{
	return edge_judge_admit(&((struct edge *)arg)->judge, node, bytes, len, origin, e);
}

static void on_quoted(uint64_t token, const uint8_t *attestation, size_t len, const struct err *e, void *arg)
{
	struct edge *edge = arg;

	if (!len)
		tell_refused("agent", e, false, edge);
	mx_quoted(edge->mx, token, attestation, len);
}

/* The node's own TEE, when a peer demands a quote of it. */
static int own_quote(uint64_t token, const uint8_t report_data[ID_REPORT_DATA_LEN], void *arg)
{
	struct edge *edge = arg;
	struct quote_ask ask = { .link = edge->link,
				 .is_legacy = edge->conf.agent_is_legacy,
				 .budget_s = edge->conf.fresh_budget_s,
				 .token = token,
				 .fn = on_quoted,
				 .arg = edge };
	struct err e = ERR_INIT;
	int ret = edge_quote(&ask, report_data, &e);

	if (ret < 0)
		tell_refused("agent", &e, false, edge);
	return ret;
}

/* Frees addresses and keys for others. The parent ends the node itself, by the same clock. */
static void on_expire(evutil_socket_t fd, short what, void *arg)
{
	struct timeval each = { .tv_sec = EXPIRE_EACH_S };
	struct edge *edge = arg;
	struct id_node gone;

	(void)fd, (void)what;
	while (id_registry_expire(edge->registry, time(NULL), &gone))
		;
	event_add(edge->expire, &each);
}

static int start_registry(struct edge *edge, struct err *e)
{
	struct id_registry_conf conf = { .n_networks = edge->conf.n_networks,
					 .max_nodes = BY_MAX_IDENTITIES - 2,
					 .names_are_unique = edge->conf.vpc.is_on };

	int ret;

	memcpy(conf.networks, edge->conf.networks, sizeof(conf.networks));
	ret = id_registry_new(&conf, &edge->registry, e);
	edge->judge = (struct edge_judge){ .parent = edge->parent,
					   .conf = &edge->conf,
					   .self = &edge->self,
					   .registry = edge->registry,
					   .trust = trust_now,
					   .refused = tell_refused,
					   .arg = edge };
	return ret;
}

static int start_exchange(struct edge *edge, struct err *e)
{
	struct mx_conf conf = { .base = edge->base,
				.cert_pem = edge->cert_pem,
				.key_pem = edge->key_pem,
				.trust = trust_now,
				.node = admit,
				.refused = tell_refused,
				.fresh = edge->conf.fresh,
				.budget_s = edge->conf.fresh_budget_s,
				.quote = edge->conf.has_agent ? own_quote : NULL,
				.arg = edge };
	int ret = mx_new(&conf, &edge->mx, e);

	for (uint32_t i = 0; i < edge->conf.n_peers && ret == 0; i++)
		ret = mx_dial(edge->mx, &edge->conf.peers[i], edge->conf.refresh_s, e);
	return ret;
}

/* Our own evidence is judged like a peer's: a node whose own certificate others would refuse says so at start. */
static int verify_self(struct edge *edge, const char *cert, struct id_claims *claims, struct err *e)
{
	struct id_trust trust;
	int ret;

	trust_now(&trust, edge);
	ret = id_cert_verify_pem(cert, strlen(cert), &trust, claims, e);
	return ret < 0 ? err_wrap(e, "own certificate") : 0;
}

/* Collateral or evidence policy are others now. The parent signs a record that fits, and compiles its policy anew. */
static void self_judge(struct edge *edge)
{
	struct msg_started m = { 0 };

	if (!edge->mx || /* it comes with the start */
	    !edge_judge_self(&edge->judge, edge->next_cert ? edge->next_cert : edge->cert_pem, &m.claims))
		return;
	edge->self.tcb_status = m.claims.tcb_status;
	edge->self.not_after = m.claims.not_after;
	ipc_send(edge->parent, MSG_EDGE_RENEWED, &m, sizeof(m), -1);
}

/* --- the control plane --- */

static void on_vpc_record(const uint8_t *bytes, size_t len, const char *origin, void *arg)
{
	edge_judge_record(&((struct edge *)arg)->judge, bytes, len, origin, ID_FRESH_OFF, 0);
}

static int vpc_start(struct edge *edge, struct err *e)
{
	struct edge_vpc_conf conf = { .base = edge->base,
				      .parent = edge->parent,
				      .conf = &edge->conf,
				      .registry = edge->registry,
				      .self = &edge->self,
				      .trust = trust_now,
				      .record = on_vpc_record,
				      .refused = tell_refused,
				      .arg = edge };

	return edge->conf.vpc.is_on ? edge_vpc_new(&conf, &edge->vpc, e) : 0;
}

/* With cert_pem and key_pem. */
static int start_all(struct edge *edge, struct err *e)
{
	struct msg_started m = { 0 };

	m.code = verify_self(edge, edge->cert_pem, &edge->self, &m.err);
	if (!m.code)
		m.code = start_registry(edge, &m.err);
	if (!m.code)
		m.code = start_exchange(edge, &m.err);
	if (!m.code)
		m.code = vpc_start(edge, &m.err);
	if (!m.code)
		on_expire(-1, 0, edge);
	m.claims = edge->self;
	ipc_send(edge->parent, MSG_EDGE_STARTED, &m, sizeof(m), -1);
	if (m.code)
		*e = m.err;
	return m.code;
}

/* A node does not become another one by asking its agent again. */
static int renew(struct edge *edge, const char *cert, const char *key, int64_t *until, struct err *e)
{
	struct msg_started m = { 0 };
	int ret = verify_self(edge, cert, &m.claims, e);

	if (ret < 0)
		return ret;
	if (memcmp(m.claims.app_id, edge->self.app_id, BY_APP_ID_LEN) != 0 ||
	    memcmp(m.claims.instance_id, edge->self.instance_id, BY_INSTANCE_ID_LEN) != 0)
		return err_at(e, -EPERM, "agent", "answers for another app or instance than at the start");
	ret = mx_renew(edge->mx, cert, key, e);
	if (!ret && edge->vpc)
		ret = edge_vpc_renew(edge->vpc, cert, key, e);
	if (ret < 0)
		return ret;
	*until = edge->self.not_after = m.claims.not_after;
	edge->self.tcb_status = m.claims.tcb_status;
	return ipc_send(edge->parent, MSG_EDGE_RENEWED, &m, sizeof(m), -1);
}

static int take_identity(char *cert, char *key, int64_t *until, struct err *e, void *arg)
{
	struct edge *edge = arg;
	int ret;

	if (edge->mx) {
		ret = renew(edge, cert, key, until, e);
		if (ret < 0)
			return ret;
		free(edge->next_cert);
		id_secret_free(edge->next_key);
		edge->next_cert = cert;
		edge->next_key = key;
		return 0;
	}
	edge->cert_pem = cert;
	edge->key_pem = key;
	ret = start_all(edge, e);
	if (ret < 0)
		edge->cert_pem = edge->key_pem = NULL;
	*until = edge->self.not_after;
	return ret;
}

static void tell_agent_failed(const struct err *e, void *arg)
{
	tell_refused("agent", e, false, arg);
}

static int start_source(struct edge *edge, struct err *e)
{
	struct source_conf conf = { .base = edge->base,
				    .link = edge->link,
				    .subject = edge->conf.node,
				    .is_legacy = edge->conf.agent_is_legacy,
				    .life_s = edge->conf.agent_life_s,
				    .take = take_identity,
				    .failed = tell_agent_failed,
				    .arg = edge };

	return source_new(&conf, &edge->source, e);
}

static void on_start(struct edge *edge)
{
	struct msg_started m = { 0 };

	if (edge->has_conf && edge->conf.has_agent && !edge->source)
		m.code = start_source(edge, &m.err);
	else if (edge->has_conf && edge->cert_pem && edge->key_pem && !edge->mx)
		start_all(edge, &m.err); /* has told */
	else
		m.code = err_at(&m.err, -EPROTO, "edge process", "was started without its configuration");
	if (m.code)
		ipc_send(edge->parent, MSG_EDGE_STARTED, &m, sizeof(m), -1);
}

/* The certificate that is waiting takes the old one's place together with the record that it signed. */
static int sign_self(struct edge *edge, const struct id_record *record, uint8_t **bytes, size_t *len, struct err *e)
{
	int ret;

	if (!edge->next_cert)
		return id_record_sign(record, edge->cert_pem, edge->key_pem, bytes, len, e);
	ret = id_record_sign(record, edge->next_cert, edge->next_key, bytes, len, e);
	if (ret < 0)
		return ret;
	free(edge->cert_pem);
	id_secret_free(edge->key_pem);
	edge->cert_pem = take_ptr(edge->next_cert);
	edge->key_pem = take_ptr(edge->next_key);
	return 0;
}

/* What is ours is no other's: its addresses, its key and, under a control plane, its name. */
static void own_keep(struct edge *edge, const uint8_t *bytes, size_t len)
{
	struct err e = ERR_INIT;
	struct id_trust trust;
	enum id_admit what;
	struct id_node node;
	int ret;

	trust_now(&trust, edge);
	ret = id_record_verify(bytes, len, &trust, &node, &e);
	if (ret == 0) {
		memcpy(edge->self.spki_sha256, node.claims.spki_sha256, sizeof(edge->self.spki_sha256));
		ret = id_registry_admit(edge->registry, &node, &what, &e);
	}
	if (ret < 0)
		tell_refused("own record", &e, false, edge);
}

static void on_self(struct edge *edge, const struct id_record *record)
{
	auto_free uint8_t *bytes = NULL;
	struct err e = ERR_INIT;
	size_t len;

	if (!edge->mx)
		return;
	if (sign_self(edge, record, &bytes, &len, &e) < 0) {
		tell_refused("own record", &e, false, edge);
		return;
	}
	own_keep(edge, bytes, len);
	mx_set_record(edge->mx, bytes, len);
	if (edge->vpc)
		edge_vpc_publish(edge->vpc, record, bytes, len);
	ipc_send_blob(edge->parent, MSG_EDGE_SIGNED, NULL, 0, bytes, len);
}

static void on_stored_record(struct edge *edge, struct ipc_msg *msg)
{
	const struct msg_stored *m = ipc_as(msg, sizeof(*m));
	auto_free uint8_t *bytes = NULL;
	char origin[MSG_ORIGIN_LEN];
	size_t len;

	if (!m || !edge->registry || ipc_blob_read(msg->fd, ID_RECORD_MAX, &bytes, &len) < 0)
		return;
	snprintf(origin, sizeof(origin), "%.*s", (int)sizeof(origin) - 1, m->origin);
	edge_judge_record(&edge->judge, bytes, len, origin, m->fresh, m->fresh_at);
}

static void on_join(struct edge *edge, const struct vpc_seen *seen)
{
	struct err e = ERR_INIT;
	int ret = edge->vpc ? edge_vpc_join(edge->vpc, seen, edge->cert_pem, edge->key_pem, &e) : 0;

	if (!ret && edge->vpc && edge->next_cert)
		ret = edge_vpc_renew(edge->vpc, edge->next_cert, edge->next_key, &e);
	if (ret < 0)
		tell_refused("control plane", &e, false, edge);
}

/* Of no use before the join is: it begins with what is here then. */
static void on_vpc(struct edge *edge, const struct conf_vpc *m)
{
	if (!edge->has_conf || !edge->conf.vpc.is_on || !m->n_servers || m->n_servers > VPC_SERVERS)
		return;
	edge->conf.vpc = *m;
	msg_terminate(edge->conf.vpc.host);
	msg_terminate(edge->conf.vpc.key);
	if (edge->vpc)
		edge_vpc_change(edge->vpc);
}

static void on_revoke(struct edge *edge, const struct msg_revoked *m)
{
	if (edge->registry)
		id_registry_revoke(edge->registry, m->instance_id, m->is_revoked);
}

/* A registry that knows less than this node did would take older records: rather none at all. */
static void on_remember(struct edge *edge, const struct ipc_msg *msg)
{
	const struct id_seen *seen = msg->data;
	size_t n = msg->len / sizeof(*seen);
	int ret = edge->registry && msg->len % sizeof(*seen) == 0 ? 0 : -EPROTO;

	for (size_t i = 0; i < n && !ret; i++)
		ret = id_registry_remember(edge->registry, &seen[i]);
	if (!ret)
		return;
	log_err("what was seen of other nodes can not be kept in mind: %s", strerror(-ret));
	event_base_loopbreak(edge->base);
}

static void take_blob(const struct ipc_msg *msg, char **text, size_t *len)
{
	uint8_t *data;
	size_t n;

	if (ipc_blob_read(msg->fd, PEM_MAX, &data, &n) < 0)
		return;
	free(*text);
	*text = (char *)data;
	if (len)
		*len = n;
}

static void on_conf(struct edge *edge, const struct msg_edge_conf *conf)
{
	if (!conf || conf->n_networks > CONF_MAX_NETWORKS || conf->n_peers > CONF_MAX_PEERS ||
	    conf->fresh >= ID_FRESH_COUNT)
		return;
	edge->conf = *conf;
	edge->has_conf = true;
}

static void on_listen(struct edge *edge, struct ipc_msg *msg)
{
	struct err e = ERR_INIT;

	if (edge->mx && msg->fd >= 0 && mx_listen(edge->mx, take_fd(&msg->fd), &e) < 0)
		tell_refused("listener", &e, false, edge);
}

static void on_collateral(struct edge *edge, struct ipc_msg *msg)
{
	char origin[MSG_ORIGIN_LEN];
	struct err e = ERR_INIT;

	if (edge_trust_collateral(edge->trust, msg, origin, &e) < 0)
		tell_refused(origin, &e, false, edge);
	else
		self_judge(edge);
}

static void on_message(struct ipc_msg *msg, void *arg)
{
	struct edge *edge = arg;
	const void *p;

	switch (msg->type) {
	case MSG_EDGE_CONF:
		on_conf(edge, ipc_as(msg, sizeof(struct msg_edge_conf)));
		break;
	case MSG_EDGE_CERT:
		take_blob(msg, &edge->cert_pem, NULL);
		break;
	case MSG_EDGE_KEY:
		take_blob(msg, &edge->key_pem, NULL);
		break;
	case MSG_EDGE_ROOTS:
		take_blob(msg, &edge->roots_pem, &edge->roots_len);
		break;
	case MSG_EDGE_POLICY:
		edge_trust_policy(edge->trust, msg);
		self_judge(edge);
		break;
	case MSG_EDGE_COLLATERAL:
		on_collateral(edge, msg);
		break;
	case MSG_EDGE_START:
		on_start(edge);
		break;
	case MSG_EDGE_LISTEN:
		on_listen(edge, msg);
		break;
	case MSG_EDGE_SELF:
		if ((p = ipc_as(msg, sizeof(struct id_record))))
			on_self(edge, p);
		break;
	case MSG_EDGE_RECORD:
		on_stored_record(edge, msg);
		break;
	case MSG_EDGE_AGENT:
		if ((p = ipc_as(msg, sizeof(struct msg_agent))) && edge->link)
			link_socket(edge->link, p, &msg->fd);
		break;
	case MSG_EDGE_REVOKE:
		if ((p = ipc_as(msg, sizeof(struct msg_revoked))))
			on_revoke(edge, p);
		break;
	case MSG_EDGE_REMEMBER:
		on_remember(edge, msg);
		break;
	case MSG_EDGE_JOIN:
		if ((p = ipc_as(msg, sizeof(struct vpc_seen))))
			on_join(edge, p);
		break;
	case MSG_EDGE_VPC:
		if ((p = ipc_as(msg, sizeof(struct conf_vpc))))
			on_vpc(edge, p);
		break;
	case MSG_EDGE_KNOCKS:
		edge_knock_listen(edge->base, edge->parent, msg);
		break;
	case MSG_EDGE_MARK:
		ipc_send(edge->parent, MSG_EDGE_MARKED, msg->data, msg->len, -1);
		break;
	default:
		log_err("message of unknown type %u", msg->type);
	}
}

static int open_channel(struct edge *edge)
{
	edge->base = event_base_new();
	if (!edge->base)
		return -ENOMEM;
	edge->expire = evtimer_new(edge->base, on_expire, edge);
	if (!edge->expire)
		return -ENOMEM;
	return ipc_new(edge->base, IPC_CHILD_FD, on_message, NULL, edge, &edge->parent);
}

static int open_parts(struct edge *edge)
{
	struct err e = ERR_INIT;
	int ret = edge_trust_new(edge->base, edge->parent, &edge->trust, &e);

	return ret ? ret : link_new(edge->base, edge->parent, &edge->link, &e);
}

static void edge_fini(struct edge *edge)
{
	source_free(edge->source);
	link_free(edge->link);
	edge_vpc_free(edge->vpc);
	edge_knock_end();
	mx_free(edge->mx);
	id_registry_free(edge->registry);
	edge_trust_free(edge->trust);
	ipc_free(edge->parent);
	if (edge->expire)
		event_free(edge->expire);
	if (edge->base)
		event_base_free(edge->base);
	free(edge->cert_pem);
	free(edge->next_cert);
	id_secret_free(edge->key_pem);
	id_secret_free(edge->next_key);
	free(edge->roots_pem);
}

int role_edge(uid_t uid, gid_t gid)
{
	struct edge edge = { 0 };
	struct err e = ERR_INIT;
	int ret;

	/* what a library opens lazily must be open before the box closes */
	OPENSSL_init_ssl(OPENSSL_INIT_NO_LOAD_CONFIG, NULL);
	ret = open_channel(&edge);
	if (!ret)
		ret = open_parts(&edge);
	if (!ret)
		ret = box_edge(uid, gid, &e);
	ret = proc_serve(edge.base, ret, &e);
	edge_fini(&edge);
	return ret;
}
