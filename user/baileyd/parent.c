// SPDX-License-Identifier: Apache-2.0
/* The life of the parent: start, children's messages, signals, end. */
#include "parent.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"
#include "agent_link.h"
#include "role.h"

/* A node that names no endpoint is dialled by nobody: it keeps its own way out open. */
#define BEHIND_NAT_KEEPALIVE_S 25

/* --- net --- */

static void send_targets(struct parent *p)
{
	for (uint32_t i = TARGET_OVERLAY + 1; i < p->n_targets; i++) {
		struct msg_target m = { .target = i, .kind = p->targets[i].kind, .host = p->conf.underlay.host };

		memcpy(m.interface, p->targets[i].interface, sizeof(m.interface));
		if (m.kind == TARGET_IS_UNDERLAY)
			ipc_send(p->net.ipc, MSG_NET_TARGET, &m, sizeof(m), -1);
	}
	workloads_send(p);
}

static void on_net_up(void *arg)
{
	struct parent *p = arg;
	struct msg_net_conf m = { .backend = p->conf.backend,
				  .wg_port = p->conf.wg_port,
				  .mtu = p->conf.mtu,
				  .keepalive_s = p->conf.n_endpoints ? 0 : BEHIND_NAT_KEEPALIVE_S,
				  .topology = p->conf.topology,
				  .lazy_peers = p->conf.lazy_peers,
				  .lazy_idle_s = p->conf.lazy_idle_s,
				  .n_networks = p->conf.n_networks };

	memcpy(m.instance, p->conf.instance, sizeof(m.instance));
	memcpy(m.bpffs, p->conf.bpffs, sizeof(m.bpffs));
	memcpy(m.interface, p->conf.interface, sizeof(m.interface));
	memcpy(m.private_key, p->wg_private, sizeof(m.private_key));
	memcpy(m.networks, p->conf.networks, sizeof(m.networks));
	m.addrs = plan_addrs(p);
	ipc_send(p->net.ipc, MSG_NET_CONF, &m, sizeof(m), -1);
	explicit_bzero(&m, sizeof(m));
	rotate_send(p);
	ipc_send(p->net.ipc, MSG_NET_DIVERT, &p->conf.capture, sizeof(p->conf.capture), -1);
	ipc_send(p->net.ipc, MSG_NET_GUARD, &p->conf.guard, sizeof(p->conf.guard), -1);
	send_targets(p);
	plan_send_all(p);
	report_capture_resume(p);
}

static void stop(struct parent *p, int status)
{
	p->exit_status = status;
	event_base_loopbreak(p->base);
}

/* What was in the way, as another program on WireGuard's port, may go: after 5, 10, 20 .. 60 seconds, for ever. */
static void sync_later(struct parent *p)
{
	unsigned pause = p->sync_pause_s ? 2 * p->sync_pause_s : 5;

	p->sync_pause_s = p->sync_in_s = pause < 60 ? pause : 60;
}

static void sync_tick(struct parent *p)
{
	if (p->sync_in_s && --p->sync_in_s == 0)
		plan_send_all(p);
}

/* A device or a datapath that can not be set up is nothing that a restart mends: the daemon says why and ends. */
static void on_net_done(struct parent *p, const struct msg_done *m)
{
	struct err e = m->err;
	char text[600];

	if (m->target >= TARGETS_MAX)
		return;
	if (m->request == MSG_NET_CONF)
		p->net_ok = m->code == 0;
	if (m->code == 0) {
		if (m->request == MSG_NET_TARGET)
			workload_opened(p, m->target, 0, &e);
		if (m->request == MSG_NET_POLICY)
			life_answered(p, m->target, 0, &e);
		if (m->request == MSG_NET_SYNC && (p->is_synced = true)) {
			log_info("overlay %s is up, policy decides", p->conf.interface);
			dns_overlay_up(p);
			p->sync_in_s = p->sync_pause_s = 0;
		}
		return;
	}
	msg_terminate_err(&e);
	log_err("%s", err_text(&e, text, sizeof(text)));
	if (m->request == MSG_NET_CONF || m->request == MSG_NET_DIVERT || m->request == MSG_NET_GUARD ||
	    (m->request == MSG_NET_TARGET && !p->targets[m->target].is_hot))
		stop(p, 1);
	else if (m->request == MSG_NET_TARGET)
		workload_opened(p, m->target, m->code, &e);
	if (m->request == MSG_NET_POLICY)
		life_answered(p, m->target, m->code, &e);
	if (m->request == MSG_NET_SYNC)
		sync_later(p);
}

static void on_net_message(struct ipc_msg *msg, void *arg)
{
	struct parent *p = arg;
	const void *m;

	if (msg->type == MSG_NET_DONE && (m = ipc_as(msg, sizeof(struct msg_done))))
		on_net_done(p, m);
	else if (msg->type == MSG_NET_EVENT && (m = ipc_as(msg, sizeof(struct msg_event))))
		report_event(p, m);
	else if (msg->type == MSG_NET_DETOUR && (m = ipc_as(msg, sizeof(struct msg_detour))))
		rotate_seen(p, m);
	else if (msg->type == MSG_NET_LOSS && (m = ipc_as(msg, sizeof(struct msg_loss))))
		report_loss(p, m);
	else if (msg->type == MSG_NET_PACKET && (m = ipc_as(msg, sizeof(struct msg_packet))))
		report_packet(p, m);
	else if (msg->type == MSG_NET_FLOW_PAGE)
		report_flow_page(p, msg);
	else if (msg->type == MSG_NET_ASKED)
		report_asked(p, ipc_as(msg, sizeof(struct msg_asked)));
	else
		report_net_message(p, msg);
}

/* --- edge --- */

static void send_blob(struct parent *p, enum msg_type type, const char *text)
{
	int ret = ipc_send_blob(p->edge.ipc, type, NULL, 0, text, strlen(text));

	if (ret < 0)
		log_err("edge: %s", strerror(-ret));
}

/* Often enough for three tries before what peers proved is too old. */
static uint32_t refresh_s(const struct conf *conf)
{
	uint32_t record = conf->record_life_s / 4, proof = conf->fresh_max_age_s / 3;

	return conf->fresh && proof < record ? proof : record;
}

static void on_edge_up(void *arg)
{
	struct parent *p = arg;
	struct msg_edge_conf m = { .allow_simulated = p->conf.allow_simulated,
				   .n_networks = p->conf.n_networks,
				   .n_peers = p->conf.n_peers,
				   .refresh_s = refresh_s(&p->conf),
				   .fresh = p->conf.fresh,
				   .fresh_max_age_s = p->conf.fresh_max_age_s,
				   .fresh_budget_s = p->conf.fresh_budget_s,
				   .has_agent = p->conf.agent[0] != '\0',
				   .agent_is_legacy = p->conf.agent_is_legacy,
				   .agent_life_s = p->conf.agent_life_s };

	memcpy(m.node, p->conf.node, sizeof(m.node));
	memcpy(m.networks, p->conf.networks, sizeof(m.networks));
	memcpy(m.peers, p->conf.peers, sizeof(m.peers));
	m.vpc = p->conf.vpc;
	ipc_send(p->edge.ipc, MSG_EDGE_CONF, &m, sizeof(m), -1);
	if (p->cert_pem) {
		send_blob(p, MSG_EDGE_CERT, p->cert_pem);
		send_blob(p, MSG_EDGE_KEY, p->key_pem);
	}
	if (p->roots_pem)
		send_blob(p, MSG_EDGE_ROOTS, p->roots_pem);
	trust_send(&p->trust, p->edge.ipc);
	ipc_send(p->edge.ipc, MSG_EDGE_START, NULL, 0, -1);
	p->is_listening = false;
}

/* The edge can judge evidence now: give it the stored records, then let it listen. */
static void on_edge_started(struct parent *p, const struct msg_started *m)
{
	struct err e = m->err;
	int ret = m->code;
	char text[600];

	if (!ret) {
		vpc_send_revoked(p);
		ret = seen_send(p, &e);
	}
	if (ret) {
		msg_terminate_err(&e);
		log_err("%s: %s", e.reason ? id_reason_name(e.reason) : "edge", err_text(&e, text, sizeof(text)));
		stop(p, 1);
		return;
	}
	if (m->claims.is_simulated && !p->has_self)
		log_warn("this node's evidence is SIMULATED: it proves nothing about hardware");
	p->self = m->claims;
	p->has_self = true;
	nodes_send_stored(p);
	if (vpc_has_addresses(p))
		plan_sign_self(p);
	for (uint32_t i = 0; i < p->conf.n_listen; i++)
		ipc_send(p->edge.ipc, MSG_EDGE_LISTEN, NULL, 0, p->listen_fd[i]);
}

/* The record that goes with the new certificate: the edge changes both at once. Rules are compiled for what this node
 * proves. */
static void on_edge_renewed(struct parent *p, const struct msg_started *m)
{
	bool is_same = p->self.tcb_status == m->claims.tcb_status;

	if (!p->has_self)
		return;
	p->self = m->claims;
	if (vpc_has_addresses(p))
		plan_sign_self(p);
	if (!is_same)
		plan_send_all(p);
}

static void on_edge_marked(struct parent *p, const struct msg_token *m)
{
	if (m->token & MARK_OF_ADD) {
		report_record_marked(p, m->token);
		return;
	}
	if (!nodes_stored_done(p, m->token))
		return;
	vpc_send_join(p);
	if (p->is_loaded)
		return; /* the edge started again, or a reload; net has everything */
	p->is_loaded = true;
	plan_send_all(p);
}

static void on_edge_refused(struct parent *p, const struct msg_refused *m)
{
	struct msg_refused copy = *m;

	msg_terminate(copy.origin);
	msg_terminate_err(&copy.err);
	report_refused(p, copy.origin, &copy.err);
	report_record_refused(p, copy.origin, &copy.err);
}

/* Kept beside the state so that it can be shown and carried to others by hand. */
static void on_edge_signed(struct parent *p, const struct ipc_msg *msg)
{
	auto_free uint8_t *bytes = NULL;
	struct err e = ERR_INIT;
	char path[PATH_MAX];
	size_t len;

	snprintf(path, sizeof(path), "%.*s/self.record", PATH_MAX - 16, p->conf.state);
	if (ipc_blob_read(msg->fd, ID_RECORD_MAX, &bytes, &len) == 0 && file_write(path, bytes, len, 0644, &e) < 0)
		log_err("%s: %s", e.where, e.msg);
}

static void on_edge_message(struct ipc_msg *msg, void *arg)
{
	struct parent *p = arg;
	const void *m;

	switch (msg->type) {
	case MSG_EDGE_STARTED:
		if ((m = ipc_as(msg, sizeof(struct msg_started))))
			on_edge_started(p, m);
		break;
	case MSG_EDGE_RENEWED:
		if ((m = ipc_as(msg, sizeof(struct msg_started))))
			on_edge_renewed(p, m);
		break;
	case MSG_EDGE_AGENT_ASK:
		if ((m = ipc_as(msg, sizeof(struct msg_token))))
			link_answer(p->edge.ipc, m, p->conf.agent);
		break;
	case MSG_EDGE_BUNDLES:
		if ((m = ipc_as(msg, sizeof(struct msg_bundles))))
			p->trust.bundles = *(const struct msg_bundles *)m;
		break;
	case MSG_EDGE_WANTS:
		if ((m = ipc_as(msg, sizeof(struct id_missed))))
			trust_wants(&p->trust, m);
		break;
	case MSG_EDGE_MARKED:
		if ((m = ipc_as(msg, sizeof(struct msg_token))))
			on_edge_marked(p, m);
		break;
	case MSG_EDGE_KNOCK:
		if ((m = ipc_as(msg, sizeof(struct msg_knock))))
			knock_heard(p, m);
		break;
	case MSG_EDGE_NODE:
		node_came(p, msg);
		break;
	case MSG_EDGE_REFUSED:
		if ((m = ipc_as(msg, sizeof(struct msg_refused))))
			on_edge_refused(p, m);
		break;
	case MSG_EDGE_WITHDRAWN:
		if ((m = ipc_as(msg, sizeof(struct msg_withdrawn))))
			node_withdraw(p, m);
		break;
	case MSG_EDGE_SIGNED:
		on_edge_signed(p, msg);
		break;
	default:
		if (!vpc_on_message(p, msg))
			log_err("edge: message of unknown type %u", msg->type);
	}
}

static void on_renew(evutil_socket_t fd, short what, void *arg)
{
	struct parent *p = arg;

	(void)fd, (void)what;
	if (p->edge.ipc && p->has_self && vpc_has_addresses(p))
		plan_sign_self(p);
}

/* Just behind the next full second, for then records end; time() may lag a clock tick behind. */
static int tick_add(struct parent *p)
{
	struct timespec now;
	struct timeval left;
	long us;

	clock_gettime(CLOCK_REALTIME, &now);
	us = 1010000 - now.tv_nsec / 1000;
	left = (struct timeval){ .tv_sec = us / 1000000, .tv_usec = us % 1000000 };
	return event_add(p->tick, &left);
}

/* Records end whether or not the edge lives to say so. */
static void on_tick(evutil_socket_t fd, short what, void *arg)
{
	struct parent *p = arg;

	(void)fd, (void)what;
	tick_add(p);
	nodes_expire(p, time(NULL));
	sync_tick(p);
	seen_tick(p, time(NULL));
	knock_tick(p);
	vpc_tick(p);
	rotate_tick(p);
	dns_tick(p);
	report_tick(p);
	report_peers_tick(p);
}

/* --- signals --- */

static void on_hangup(evutil_socket_t sig, short what, void *arg)
{
	struct diags d = { 0 };
	struct err e = ERR_INIT;
	char text[600];

	(void)sig, (void)what;
	if (parent_reload(arg, &d, &e) < 0)
		log_err("reload refused, the old policy goes on: %s", err_text(&e, text, sizeof(text)));
	diags_fini(&d);
}

static void on_child(evutil_socket_t sig, short what, void *arg)
{
	struct parent *p = arg;
	int status;
	pid_t pid;

	(void)sig, (void)what;
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		if (proc_reaped(&p->net, pid, status)) {
			p->net_ok = p->is_synced = false;
			life_net_down(p);
			report_net_down(p);
		} else if (proc_reaped(&p->edge, pid, status)) {
			p->vpc.is_up = false;
			report_records_end(p);
		} else if (!proc_reaped(&p->status, pid, status) && !proc_reaped(&p->dns.proc, pid, status)) {
			proc_reaped(&p->trust.fetch, pid, status);
		}
	}
}

static void on_stop(evutil_socket_t sig, short what, void *arg)
{
	(void)sig, (void)what;
	stop(arg, 0);
}

static int watch_signals(struct parent *p, struct err *e)
{
	static const struct proc_signal want[] = {
		{ SIGTERM, on_stop }, { SIGINT, on_stop }, { SIGHUP, on_hangup }, { SIGCHLD, on_child }
	};

	return proc_signals(p->base, want, ARRAY_LEN(want), p, p->signals, e);
}

/* --- start and end --- */

static int start(struct parent *p, struct err *e)
{
	int ret;

	p->base = event_base_new();
	p->renew = p->base ? evtimer_new(p->base, on_renew, p) : NULL;
	p->tick = p->base ? evtimer_new(p->base, on_tick, p) : NULL;
	if (!p->renew || !p->tick)
		return err_at(e, -ENOMEM, "event loop", "out of memory");
	ret = proc_init(&p->net, p->base, "net", on_net_message, on_net_up, p);
	if (!ret)
		ret = proc_init(&p->edge, p->base, "edge", on_edge_message, on_edge_up, p);
	if (ret)
		return err_at(e, ret, "event loop", "%s", strerror(-ret));
	ret = life_timer(p, e);
	if (!ret)
		ret = prepare_user(p, e);
	if (!ret)
		ret = dns_init(p, e);
	if (!ret)
		ret = watch_signals(p, e);
	if (!ret)
		ret = report_open(p, e);
	if (!ret && tick_add(p) < 0)
		ret = err_at(e, -ENOMEM, "event loop", "out of memory");
	if (ret)
		return ret;
	ret = proc_start(&p->edge);
	if (!ret) /* what it loads takes longer than joining */
		ret = proc_start(&p->net);
	if (!ret)
		ret = report_public_start(p);
	if (!ret)
		return trust_start(&p->trust, p->base, p->edge.uid, p->edge.gid, e);
	return ret ? err_at(e, ret, "child process", "%s", strerror(-ret)) : 0;
}

static void parent_fini(struct parent *p)
{
	trust_stop(&p->trust);
	report_public_stop(p);
	dns_stop(p);
	proc_stop(&p->edge);
	proc_stop(&p->net);
	proc_fini(&p->edge);
	proc_fini(&p->net);
	if (p->ctl)
		report_close(p);
	life_fini(p);
	for (size_t i = 0; i < ARRAY_LEN(p->signals); i++)
		if (p->signals[i])
			event_free(p->signals[i]);
	if (p->renew)
		event_free(p->renew);
	if (p->tick)
		event_free(p->tick);
	if (p->base)
		event_base_free(p->base);
	for (size_t i = 0; i < ARRAY_LEN(p->listen_fd); i++)
		close_at(&p->listen_fd[i]), close_at(&p->status_fd[i]);
	pol_free(p->model);
	for (uint32_t i = 0; i < p->n_targets; i++)
		free(p->targets[i].image);
	nodes_fini(p);
	vpc_fini(p);
	free(p->cert_pem);
	if (p->key_pem)
		explicit_bzero(p->key_pem, strlen(p->key_pem));
	free(p->key_pem);
	free(p->roots_pem);
	free(p);
}

static void on_trust_refused(const char *origin, const struct err *e, void *arg)
{
	report_refused(arg, origin, e);
}

static void on_fetched(const char *origin, const char *text, size_t len, void *arg)
{
	struct parent *p = arg;

	trust_send_bundle(p->edge.ipc, origin, text, len);
	if (p->edge.ipc && p->has_self)
		nodes_send_stored(p); /* to be judged by it: the TCB status of those that are here may be another now */
}

static void init_trust(struct parent *p)
{
	const struct trust_conf conf = { .evidence_policy = p->conf.evidence_policy,
					 .collateral = p->conf.collateral,
					 .state = p->conf.state,
					 .url = p->conf.pcs_url,
					 .root_crl = p->conf.pcs_root_crl,
					 .ca = p->conf.pcs_ca,
					 .refused = on_trust_refused,
					 .fetched = on_fetched,
					 .arg = p };

	trust_init(&p->trust, &conf);
}

static struct parent *parent_new(const struct conf *conf)
{
	struct parent *p = calloc(1, sizeof(*p));

	if (!p) {
		log_err("out of memory");
		return NULL;
	}
	p->conf = *conf;
	p->n_targets = 1;
	memcpy(p->targets[TARGET_OVERLAY].interface, conf->interface, sizeof(conf->interface));
	if (conf->underlay.interface[0]) {
		struct target *t = &p->targets[p->n_targets++];

		t->kind = TARGET_IS_UNDERLAY;
		memcpy(t->interface, conf->underlay.interface, sizeof(t->interface));
	}
	p->net.pid = p->edge.pid = p->status.pid = p->dns.proc.pid = -1;
	init_trust(p);
	for (size_t i = 0; i < ARRAY_LEN(p->listen_fd); i++)
		p->listen_fd[i] = p->status_fd[i] = -1;
	return p;
}

int parent_check(const struct conf *conf)
{
	struct parent *p = parent_new(conf);
	struct err e = ERR_INIT;
	char text[600];
	int status;

	if (!p)
		return 1;
	status = life_check(p, &e) < 0 || own_identity(p, &e) < 0 || trust_read(&p->trust, &e) < 0 ||
		 prepare_user(p, &e) < 0;
	if (status)
		log_err("%s", err_text(&e, text, sizeof(text)));
	else
		log_info("configuration and policy are good: %zu rules", pol_rule_count(p->model));
	parent_fini(p);
	return status;
}

int parent_run(const struct conf *conf)
{
	struct parent *p = parent_new(conf);
	struct err e = ERR_INIT;
	char text[600];
	int status;

	if (!p)
		return 1;
	if (prepare(p, &e) < 0 || start(p, &e) < 0) {
		log_err("%s", err_text(&e, text, sizeof(text)));
		p->exit_status = 1;
	} else {
		log_info("node %s, instance %s: starting", p->conf.node, p->conf.instance);
		event_base_dispatch(p->base);
	}
	status = p->exit_status;
	parent_fini(p);
	return status;
}
