// SPDX-License-Identifier: Apache-2.0
/*
 * The net process: holds CAP_BPF and CAP_NET_ADMIN, owns the datapaths and the WireGuard device, and does what the
 * parent says in fixed-size messages. It parses no YAML, TLS, X.509, JSON or record.
 */
#include "role.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "box.h"
#include "net.h"
#include "proc.h"

#define IMAGE_MAX (256u << 20)

static void answer(struct net *net, enum msg_type request, uint32_t target, int code, const struct err *e)
{
	struct msg_done m = { .target = target, .request = request, .code = code };

	if (code)
		m.err = *e;
	ipc_send(net->parent, MSG_NET_DONE, &m, sizeof(m), -1);
}

static void on_apply(evutil_socket_t fd, short what, void *arg)
{
	struct net *net = arg;
	struct err e = ERR_INIT;
	char text[600];

	(void)fd, (void)what;
	if (device_apply(net, &e) < 0 || detour_apply(net, &e) < 0)
		log_err("%s", err_text(&e, text, sizeof(text)));
}

void device_apply_soon(struct net *net)
{
	struct timeval soon = { .tv_usec = 1000 };

	if (net->is_synced && !event_pending(net->apply, EV_TIMEOUT, NULL))
		event_add(net->apply, &soon);
}

/* --- requests --- */

static int conf_take(struct net *net, const struct msg_net_conf *conf, struct err *e)
{
	if (!conf || net->n_targets)
		return err_at(e, -EPROTO, "net process", "configuration message is wrong");
	net->conf = *conf;
	msg_terminate(net->conf.instance);
	msg_terminate(net->conf.bpffs);
	msg_terminate(net->conf.interface);
	if (conf->addrs.n_addrs > ID_MAX_ADDRS || conf->n_networks > CONF_MAX_NETWORKS || !conf->wg_port ||
	    conf->wg_port > 65535)
		return err_at(e, -EPROTO, "net process", "configuration message is out of range");
	return 0;
}

/* The programs are on the device before it is up: there is no moment without a policy, only one without packets. */
static int open_overlay(struct target *t, struct err *e)
{
	const struct msg_net_conf *conf = &t->net->conf;
	const struct dp_options options = { .topology = (enum by_topology)conf->topology };
	int ret = dp_open(conf->bpffs, conf->instance, &options, &t->dp, e);

	if (!ret)
		ret = dp_attach(t->dp, ov_ifindex(t->net->ov), e);
	return ret ? ret : open_ring(t, e);
}

static int target_open(struct net *net, const struct msg_target *conf, struct err *e)
{
	struct target *t;
	int ret;

	if (!conf || conf->target >= TARGETS_MAX || net->targets[conf->target].dp)
		return err_at(e, -EPROTO, "net process", "target message is wrong");
	t = &net->targets[conf->target];
	*t = (struct target){ .net = net, .conf = *conf };
	msg_terminate(t->conf.interface);
	switch ((enum target_kind)conf->kind) {
	case TARGET_IS_OVERLAY:
		ret = open_overlay(t, e);
		break;
	case TARGET_IS_UNDERLAY:
		ret = underlay_open(t, e);
		break;
	case TARGET_IS_WORKLOAD:
		ret = workload_open(t, e);
		break;
	default:
		ret = err_at(e, -EPROTO, "net process", "target of unknown kind %u", conf->kind);
	}
	if (!ret && conf->target >= net->n_targets)
		net->n_targets = conf->target + 1;
	return ret;
}

static int on_conf(struct net *net, const struct msg_net_conf *conf, struct err *e)
{
	struct msg_target overlay = { .target = TARGET_OVERLAY, .kind = TARGET_IS_OVERLAY };
	int ret = conf_take(net, conf, e);

	if (!ret)
		ret = ov_open(net->conf.interface, (enum ov_backend)net->conf.backend, &net->ov, e);
	memcpy(overlay.interface, net->conf.interface, sizeof(overlay.interface));
	detour_find(net);
	return ret ? ret : target_open(net, &overlay, e);
}

static int on_policy(struct target *t, const struct ipc_msg *msg, struct err *e)
{
	auto_free uint8_t *image = NULL;
	size_t len;
	int ret = ipc_blob_read(msg->fd, IMAGE_MAX, &image, &len);

	if (ret < 0)
		return err_at(e, ret, "policy image", "can not be read: %s", strerror(-ret));
	ret = pol_image_check(image, len, e);
	if (!ret)
		ret = dp_policy_commit(t->dp, (const struct pol_image *)image, e);
	if (!ret && t->conf.kind == TARGET_IS_UNDERLAY)
		ret = underlay_attach(t, e);
	/* a firewall that never began to decide is none: the parent ends, and says why */
	if (ret && t->conf.kind == TARGET_IS_UNDERLAY && !t->ifindex)
		answer(t->net, MSG_NET_TARGET, t->conf.target, ret, e);
	return ret;
}

/* A record that is renewed wakes nobody. */
static uint32_t via_asleep(const struct net *net, const struct msg_node_set *m)
{
	const struct peer *p = m->target == TARGET_OVERLAY ? peer_find(net, m->identity.instance_id) : NULL;

	return p && p->is_marked ? BY_VIA_ASLEEP : 0;
}

static int node_read(struct target *t, const struct msg_node_set *m, struct dp_identity *id, struct err *e)
{
	if (m->target != t->conf.target || m->identity.n_addrs > ARRAY_LEN(m->identity.addrs))
		return err_at(e, -EPROTO, "net process", "node message is wrong");
	*id = m->identity;
	id->via = m->target == TARGET_OVERLAY && m->way == TARGET_OVERLAY ? detour_via(t->net, m)
									  : way_of(t->net, m->way);
	id->via |= via_asleep(t->net, m);
	msg_terminate(id->node);
	return 0;
}

static int name_all(struct net *net, const struct msg_node_set *m, size_t n, struct err *e)
{
	for (size_t i = 0; i < n; i++)
		if (peer_name(net, &m[i]) < 0)
			return err_at(e, -ENOMEM, m[i].identity.node, "out of memory");
	return 0;
}

/* One that can not be set does not keep the others out: it is told of, the last one by the caller. */
static int on_node_set(struct target *t, const struct ipc_msg *msg, struct err *e)
{
	const struct msg_node_set *m = msg->data;
	struct dp_identity id[NODES_AT_ONCE];
	size_t n = msg->len / sizeof(*m), n_set;
	int ret = 0;

	if (msg->len % sizeof(*m) || n > NODES_AT_ONCE)
		return err_at(e, -EPROTO, "net process", "node message is wrong");
	for (size_t i = 0; i < n && !ret; i++)
		ret = node_read(t, &m[i], &id[i], e);
	if (ret < 0)
		return ret;
	for (size_t i = 0; i < n; i += n_set + (ret < 0)) {
		if (ret < 0)
			answer(t->net, MSG_NET_NODE_SET, t->conf.target, ret, e);
		*e = ERR_INIT;
		ret = dp_identities_set(t->dp, &id[i], n - i, &n_set, e);
		if (name_all(t->net, &m[i], n_set, e) < 0)
			ret = e->code;
	}
	if (t->conf.target == TARGET_OVERLAY)
		device_apply_soon(t->net);
	return ret;
}

/* The identity first: from the next packet on nothing of that node passes, whatever WireGuard still does. */
static int on_node_del(struct target *t, const struct msg_instance *m, struct err *e)
{
	int ret;

	if (!m)
		return err_at(e, -EPROTO, "net process", "node message is wrong");
	ret = dp_identity_remove(t->dp, m->instance_id, e);
	peer_forget(t->net, m->instance_id, m->target);
	device_apply_soon(t->net);
	return ret;
}

/* What an earlier daemon left and nobody named again goes. */
static int remove_unnamed(struct target *t, struct err *e)
{
	struct dp_identity id;
	uint32_t number;
	int ret = 0;

	for (size_t i = dp_identity_count(t->dp); i-- > 0 && !ret;)
		if (dp_identity_get(t->dp, i, &number, &id) && !peer_is_named(t->net, id.instance_id, t->conf.target))
			ret = dp_identity_remove(t->dp, id.instance_id, e);
	return ret;
}

static int on_sync(struct net *net, struct err *e)
{
	int ret = 0;

	for (uint32_t i = 0; i < net->n_targets && !ret; i++)
		if (net->targets[i].dp)
			ret = remove_unnamed(&net->targets[i], e);
	if (!ret)
		ret = workloads_prune(net, e);
	if (!ret)
		ret = underlay_remove_unnamed(net, e);
	if (!ret)
		ret = device_apply(net, e);
	if (!ret)
		ret = detour_apply(net, e);
	net->is_synced = true;
	return ret;
}

static int on_wake(struct net *net, const struct msg_instance *m, struct err *e)
{
	if (!m)
		return err_at(e, -EPROTO, "net process", "wake message is wrong");
	if (lazy_wake(net, m->instance_id))
		device_apply_soon(net);
	return 0;
}

/* With the SYNC that follows they are the device's. */
static int on_addrs(struct net *net, const struct msg_addrs *m, struct err *e)
{
	if (!m || m->n_addrs > ID_MAX_ADDRS)
		return err_at(e, -EPROTO, "net process", "address message is wrong");
	net->conf.addrs = *m;
	return 0;
}

static int on_capture(struct net *net, const struct msg_capture *m, struct err *e)
{
	return m ? capture_set(net, m->is_on, e) : err_at(e, -EPROTO, "net process", "capture message is wrong");
}

/* Messages about one target begin with its number. */
static int dispatch_target(struct net *net, struct ipc_msg *msg, uint32_t *number, struct err *e)
{
	const struct msg_number *head = msg->data;
	struct target *t;

	if (msg->len < sizeof(*head) || head->target >= net->n_targets)
		return err_at(e, -EPROTO, "net process", "message of type %u names no target", msg->type);
	*number = head->target;
	t = &net->targets[head->target];
	if (!t->dp) /* it was removed, or could not be opened, while this was under way */
		return err_at(e, -ENOENT, "net process", "there is no target %u", head->target);
	switch (msg->type) {
	case MSG_NET_TARGET_DEL:
		return workload_close(net, head->target, e);
	case MSG_NET_POLICY:
		return on_policy(t, msg, e);
	case MSG_NET_NODE_SET:
		return on_node_set(t, msg, e);
	case MSG_NET_NODE_DEL:
		return on_node_del(t, ipc_as(msg, sizeof(struct msg_instance)), e);
	default:
		return err_at(e, -EPROTO, "net process", "message of unknown type %u", msg->type);
	}
}

static int dispatch(struct net *net, struct ipc_msg *msg, uint32_t *number, struct err *e)
{
	if (msg->type == MSG_NET_CONF)
		return on_conf(net, ipc_as(msg, sizeof(struct msg_net_conf)), e);
	if (!net->n_targets)
		return err_at(e, -ENOTCONN, "net process", "has no configuration yet");
	switch (msg->type) {
	case MSG_NET_TARGET:
		*number = msg->len < sizeof(struct msg_number) ? 0 : ((const struct msg_number *)msg->data)->target;
		return target_open(net, ipc_as(msg, sizeof(struct msg_target)), e);
	case MSG_NET_DIVERT:
		return divert_set(net, ipc_as(msg, sizeof(struct dp_divert_conf)), e);
	case MSG_NET_GUARD:
		return guard_set(net, ipc_as(msg, sizeof(struct dp_guard_conf)), e);
	case MSG_NET_ADDRS:
		return on_addrs(net, ipc_as(msg, sizeof(struct msg_addrs)), e);
	case MSG_NET_SYNC:
		return on_sync(net, e);
	case MSG_NET_ROTATE:
		return detour_rotate(net, ipc_as(msg, sizeof(struct msg_rotate)), e);
	case MSG_NET_WAKE:
		return on_wake(net, ipc_as(msg, sizeof(struct msg_instance)), e);
	case MSG_NET_CAPTURE:
		return on_capture(net, ipc_as(msg, sizeof(struct msg_capture)), e);
	default:
		return dispatch_target(net, msg, number, e);
	}
}

static bool answer_question(struct net *net, struct ipc_msg *msg)
{
	const void *m;

	if (msg->type != MSG_NET_STATUS && msg->type != MSG_NET_FLOWS && msg->type != MSG_NET_ASK)
		return false;
	if (msg->type == MSG_NET_ASK && (m = ipc_as(msg, sizeof(struct msg_ask))))
		send_asked(net, m);
	if (msg->type == MSG_NET_STATUS && (m = ipc_as(msg, sizeof(struct msg_ask_status))))
		send_status(net, m);
	if (msg->type == MSG_NET_FLOWS && (m = ipc_as(msg, sizeof(struct msg_ask_flows))))
		send_flow_page(net, m);
	return true;
}

static void on_message(struct ipc_msg *msg, void *arg)
{
	uint32_t target = TARGET_OVERLAY;
	struct net *net = arg;
	struct err e = ERR_INIT;
	int ret;

	if (answer_question(net, msg))
		return;
	ret = dispatch(net, msg, &target, &e);
	answer(net, (enum msg_type)msg->type, target, ret, &e);
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what;
	if (lazy_tick(arg))
		device_apply_soon(arg);
	workloads_watch(arg);
	send_losses(arg);
	capture_losses(arg);
	underlay_watch(arg);
	divert_watch(arg);
	guard_watch(arg);
	detour_watch(arg);
}

static int open_channel(struct net *net)
{
	static const struct timeval each_second = { .tv_sec = 1 };

	net->base = event_base_new();
	if (!net->base)
		return -ENOMEM;
	net->apply = evtimer_new(net->base, on_apply, net);
	net->tick = event_new(net->base, -1, EV_PERSIST, on_tick, net);
	if (!net->apply || !net->tick || event_add(net->tick, &each_second) < 0)
		return -ENOMEM;
	if (links_open(net) < 0)
		log_warn("network devices are looked for once a second: the kernel does not tell of them");
	return ipc_new(net->base, IPC_CHILD_FD, on_message, NULL, net, &net->parent);
}

/* Handles close; what they stand for (pins, programs, device) stays and goes on deciding. */
static void net_fini(struct net *net)
{
	capture_set(net, false, NULL);
	for (size_t i = 0; i < ARRAY_LEN(net->targets); i++) {
		if (net->targets[i].ring)
			event_free(net->targets[i].ring);
		dp_close(net->targets[i].dp);
	}
	if (net->links) {
		close(event_get_fd(net->links));
		event_free(net->links);
	}
	if (net->apply)
		event_free(net->apply);
	if (net->tick)
		event_free(net->tick);
	dp_divert_close(net->divert);
	dp_guard_close(net->guard);
	detour_fini(net);
	ov_close(net->ov);
	ipc_free(net->parent);
	if (net->base)
		event_base_free(net->base);
	peers_fini(net);
	explicit_bzero(&net->conf, sizeof(net->conf));
}

static void dispatcher_main(int fd)
{
	struct err e = ERR_INIT;
	char text[600];

	close(IPC_CHILD_FD);
	if (box_dispatcher(&e) < 0)
		log_err("%s", err_text(&e, text, sizeof(text)));
	else
		dp_dispatcher_serve(fd);
	_exit(0);
}

/* Before the net process drops CAP_SYS_ADMIN. It ends when this process does, which alone holds the other end. */
static int dispatcher_start(struct err *e)
{
	int fds[2];
	pid_t pid;

	if (!dp_dispatcher_is_possible())
		return 0;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0)
		return err_at(e, -errno, "dispatcher process", "%s", strerror(errno));
	pid = fork();
	if (pid < 0)
		return err_at(e, -errno, "dispatcher process", "%s", strerror(errno));
	if (!pid) {
		close(fds[0]);
		dispatcher_main(fds[1]);
	}
	close(fds[1]);
	dp_dispatcher_helper(fds[0]);
	return 0;
}

int role_net(void)
{
	static struct net net;
	struct err e = ERR_INIT;
	int ret = dispatcher_start(&e);

	if (!ret)
		ret = box_net(&e);
	if (!ret)
		ret = open_channel(&net);
	ret = proc_serve(net.base, ret, &e);
	net_fini(&net);
	return ret;
}
