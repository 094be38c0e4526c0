// SPDX-License-Identifier: Apache-2.0
/*
 * The parent's part of names: sockets, and which names there are. They are those of the nodes that it knows, whose
 * records the edge verified; a query is read by the dns process.
 */
#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "parent.h"

#define DNS_PORT    53
#define LOOPBACK    "lo"
#define BACKLOG     128
#define UDP_RECEIVE (1 << 20) /* bytes of queries that wait */

/* --- names --- */

static const char *app_of(const struct parent *p, const uint8_t app_id[BY_APP_ID_LEN])
{
	const char *name = p->model ? pol_app_name(p->model, app_id) : NULL;

	return name && strlen(name) <= DNS_LABEL_MAX ? name : "";
}

static void fill(const struct parent *p, const struct id_record *r, const struct id_claims *claims,
		 struct dns_node *node)
{
	*node = (struct dns_node){ .n_addrs = r->n_addrs,
				   .n_services = r->n_services,
				   .is_simulated = claims->is_simulated };
	memcpy(node->instance_id, r->instance_id, sizeof(node->instance_id));
	memcpy(node->app_id, r->app_id, sizeof(node->app_id));
	memcpy(node->node, r->node, sizeof(node->node));
	snprintf(node->app, sizeof(node->app), "%s", app_of(p, r->app_id));
	memcpy(node->addrs, r->addrs, sizeof(node->addrs));
	memcpy(node->services, r->services, sizeof(node->services));
}

void dns_node(struct parent *p, const struct node *n)
{
	struct dns_node node;

	if (!p->dns.proc.ipc)
		return;
	fill(p, &n->id.record, &n->id.claims, &node);
	node.until = node_until(n);
	node.since = n->since;
	ipc_send(p->dns.proc.ipc, MSG_DNS_NODE, &node, sizeof(node), -1);
}

void dns_node_gone(struct parent *p, const uint8_t instance_id[BY_INSTANCE_ID_LEN])
{
	struct msg_instance m = { 0 };

	if (!p->dns.proc.ipc)
		return;
	memcpy(m.instance_id, instance_id, sizeof(m.instance_id));
	ipc_send(p->dns.proc.ipc, MSG_DNS_GONE, &m, sizeof(m), -1);
}

/* This node had its name before it knew of anybody, and has it as long as it runs. */
static void send_self(struct parent *p)
{
	struct dns_node node;

	fill(p, &p->record, &p->self, &node);
	node.until = INT64_MAX;
	ipc_send(p->dns.proc.ipc, MSG_DNS_NODE, &node, sizeof(node), -1);
}

void dns_names_again(struct parent *p)
{
	if (!p->dns.proc.ipc)
		return;
	send_self(p);
	for (size_t i = 0; i < p->n_nodes; i++)
		dns_node(p, p->nodes[i]);
}

/* --- sockets --- */

static int options_set(int fd, int family, const char *device, bool is_tcp)
{
	int one = 1, size = UDP_RECEIVE;

	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0 && is_tcp)
		return -errno;
	/* overlay addresses come and go with the device; two sockets of one address are told apart by theirs */
	if ((family == AF_INET ? setsockopt(fd, IPPROTO_IP, IP_FREEBIND, &one, sizeof(one))
			       : setsockopt(fd, IPPROTO_IPV6, IPV6_FREEBIND, &one, sizeof(one))) < 0)
		return -errno;
	if (device && setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, device, (socklen_t)strlen(device)) < 0)
		return -errno;
	if (!is_tcp)
		setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	return 0;
}

static int socket_open(const struct ip_endpoint *at, const char *device, bool is_tcp, struct err *e)
{
	struct sockaddr_storage ss;
	socklen_t len = endpoint_to_sockaddr(at, &ss);
	auto_fd int fd = socket(ss.ss_family, (is_tcp ? SOCK_STREAM : SOCK_DGRAM) | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int ret = fd < 0 ? -errno : options_set(fd, ss.ss_family, device, is_tcp);
	char text[ENDPOINT_TEXT];

	if (!ret && bind(fd, (struct sockaddr *)&ss, len) < 0)
		ret = -errno;
	if (!ret && is_tcp && listen(fd, BACKLOG) < 0)
		ret = -errno;
	return ret ? err_at(e, ret, "dns", "can not listen on %s (%s%s%s): %s", endpoint_print(at, text),
			    is_tcp ? "TCP" : "UDP", device ? ", " : "", device ? device : "", strerror(-ret))
		   : take_fd(&fd);
}

/* What can not be opened is said, and the rest answers all the same. */
static void listen_at(struct parent *p, const struct ip_endpoint *at, const char *device, enum dns_from from)
{
	for (uint32_t is_tcp = 0; is_tcp < 2; is_tcp++) {
		struct msg_dns_listen m = { .from = from, .is_tcp = is_tcp };
		struct err e = ERR_INIT;
		auto_fd int fd = socket_open(at, device, is_tcp, &e);

		if (fd >= 0)
			ipc_send(p->dns.proc.ipc, MSG_DNS_LISTEN, &m, sizeof(m), fd);
		else
			log_err("%s: %s", e.where, e.msg);
		if (fd < 0)
			p->dns.err = e;
	}
}

static bool is_loopback(const struct by_addr *addr)
{
	static const struct by_addr v6 = { .b = { [15] = 1 } };

	return addr_is_v4(addr) ? addr->b[12] == 127 : addr_equal(addr, &v6);
}

static void listen_all(struct parent *p)
{
	p->dns.err = ERR_INIT;
	for (uint32_t i = 0; i < p->conf.n_addrs; i++) {
		struct ip_endpoint at = { .addr = p->conf.addrs[i], .port = DNS_PORT };

		listen_at(p, &at, LOOPBACK, DNS_FROM_LOCAL);
		listen_at(p, &at, p->conf.interface, DNS_FROM_OVERLAY);
	}
	for (uint32_t i = 0; i < p->conf.dns.n_listen; i++) {
		const struct ip_endpoint *at = &p->conf.dns.listen[i];

		listen_at(p, at, is_loopback(&at->addr) ? LOOPBACK : NULL,
			  is_loopback(&at->addr) ? DNS_FROM_LOCAL : DNS_FROM_CLIENTS);
	}
}

/* --- the process --- */

static void send_conf(struct parent *p)
{
	const struct conf *c = &p->conf;
	struct msg_dns_conf m = { .n_own = c->n_addrs, .members = c->dns.members, .n_clients = c->dns.n_clients };

	memcpy(m.zone.suffix, c->dns.suffix, sizeof(m.zone.suffix));
	memcpy(m.zone.self, c->node, sizeof(m.zone.self));
	memcpy(m.zone.networks, c->networks, sizeof(m.zone.networks));
	m.zone.n_networks = c->n_networks;
	m.zone.ttl = c->dns.ttl;
	memcpy(m.own, c->addrs, sizeof(m.own));
	memcpy(m.clients, c->dns.clients, sizeof(m.clients));
	ipc_send(p->dns.proc.ipc, MSG_DNS_CONF, &m, sizeof(m), -1);
}

static void send_forward(struct parent *p)
{
	ipc_send(p->dns.proc.ipc, MSG_DNS_FORWARD, &p->dns.forward, sizeof(p->dns.forward), -1);
}

static void on_up(void *arg)
{
	struct parent *p = arg;

	p->dns.ifindex = if_nametoindex(p->conf.interface);
	memcpy(p->dns.addrs, p->conf.addrs, sizeof(p->dns.addrs));
	send_conf(p);
	resolver_servers(p, &p->dns.forward);
	send_forward(p);
	dns_names_again(p);
	listen_all(p);
}

static void on_message(struct ipc_msg *msg, void *arg)
{
	struct parent *p = arg;
	const struct msg_dns_stats *m = ipc_as(msg, sizeof(*m));

	if (msg->type == MSG_DNS_STATS && m)
		p->dns.stats = *m;
}

int dns_init(struct parent *p, struct err *e)
{
	int ret = proc_init(&p->dns.proc, p->base, "dns", on_message, on_up, p);

	p->dns.proc.uid = p->edge.uid;
	p->dns.proc.gid = p->edge.gid;
	if (ret)
		return err_at(e, ret, "event loop", "%s", strerror(-ret));
	resolver_restore(p);
	return 0;
}

/* Sockets are bound to a device and an address: of another device of that name, or of a new grant, they hear nothing.
 */
static bool is_moved(const struct parent *p)
{
	return p->dns.ifindex != if_nametoindex(p->conf.interface) ||
	       memcmp(p->dns.addrs, p->conf.addrs, sizeof(p->dns.addrs)) != 0;
}

void dns_overlay_up(struct parent *p)
{
	if (!p->conf.dns.is_on)
		return;
	if (!p->dns.is_started && proc_start(&p->dns.proc) < 0)
		log_err("dns process can not start");
	else if (p->dns.is_started && is_moved(p))
		proc_again(&p->dns.proc);
	p->dns.is_started = true;
	resolver_take(p);
}

void dns_tick(struct parent *p)
{
	if (p->dns.proc.ipc && resolver_servers(p, &p->dns.forward))
		send_forward(p);
}

void dns_stop(struct parent *p)
{
	resolver_release(p);
	proc_stop(&p->dns.proc);
	proc_fini(&p->dns.proc);
}
