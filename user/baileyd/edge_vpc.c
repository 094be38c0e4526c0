// SPDX-License-Identifier: Apache-2.0
#include "edge_vpc.h"

#include <errno.h>
#include <string.h>

#include "base/cleanup.h"

struct edge_vpc {
	struct edge_vpc_conf conf;
	struct vpc_join *join;
	char origin[MSG_ORIGIN_LEN];
	struct vpc_grant grant; /* the last one; n_addrs 0: none yet */
	uint8_t *record;        /* signed, but not for the addresses of `grant`, or before one came */
	size_t record_len;
	struct id_record meta;
};

static bool is_own(const struct edge_vpc *v, const uint8_t instance_id[BY_INSTANCE_ID_LEN])
{
	return memcmp(v->conf.self->instance_id, instance_id, BY_INSTANCE_ID_LEN) == 0;
}

static void trust(struct id_trust *trust, void *arg)
{
	const struct edge_vpc *v = arg;

	v->conf.trust(trust, v->conf.arg);
}

static void have(struct out *out, void *arg)
{
	const struct edge_vpc *v = arg;

	for (size_t i = 0; i < id_registry_count(v->conf.registry); i++) {
		const struct id_node *n = id_registry_at(v->conf.registry, i);

		if (!is_own(v, n->record.instance_id))
			out_bytes(out, n->digest, sizeof(n->digest));
	}
}

/* --- addresses --- */

static bool in_networks(const struct edge_vpc *v, const struct by_addr *addr)
{
	for (uint32_t i = 0; i < v->conf.conf->n_networks; i++)
		if (addr_in_prefix(addr, &v->conf.conf->networks[i]))
			return true;
	return false;
}

static int addr_check(const struct edge_vpc *v, const struct by_addr *addr, struct err *e)
{
	const struct id_node *other = id_registry_find_addr(v->conf.registry, addr);
	char text[ADDR_TEXT];

	addr_print(addr, text);
	if (!in_networks(v, addr))
		return err_reason(e, ID_RECORD_ADDRESS, v->origin, "grants %s, which is outside of overlay.networks",
				  text);
	if (other && !is_own(v, other->record.instance_id))
		return err_reason(e, ID_RECORD_ADDRESS, v->origin, "grants %s, which belongs to node %s", text,
				  other->record.node);
	return 0;
}

static bool fits(const struct edge_vpc *v)
{
	return v->record && v->grant.n_addrs == v->meta.n_addrs &&
	       memcmp(v->grant.addrs, v->meta.addrs, v->meta.n_addrs * sizeof(v->meta.addrs[0])) == 0;
}

static int publish(struct edge_vpc *v)
{
	return v->join && fits(v) ? vpc_join_publish(v->join, v->record, v->record_len) : 0;
}

static void origin_print(struct edge_vpc *v, uint32_t server)
{
	char text[ENDPOINT_TEXT];

	snprintf(v->origin, sizeof(v->origin), "vpc %s", endpoint_print(&v->conf.conf->vpc.server[server], text));
}

static int granted(const struct vpc_grant *grant, struct err *e, void *arg)
{
	struct edge_vpc *v = arg;
	int ret = 0;

	origin_print(v, vpc_join_server(v->join));
	for (uint32_t i = 0; i < grant->n_addrs && !ret; i++)
		ret = addr_check(v, &grant->addrs[i], e);
	if (ret < 0)
		return ret;
	v->grant = *grant;
	ipc_send(v->conf.parent, MSG_EDGE_GRANT, grant, sizeof(*grant), -1);
	return publish(v);
}

/* --- what is told --- */

static void on_record(const uint8_t *bytes, size_t len, void *arg)
{
	struct edge_vpc *v = arg;

	v->conf.record(bytes, len, v->origin, v->conf.arg);
}

/* The control plane can not make a member; it can take one away, as by withholding its record, but at once. */
static void on_revoked(const uint8_t instance_id[BY_INSTANCE_ID_LEN], bool is_revoked, void *arg)
{
	struct edge_vpc *v = arg;
	struct msg_revoked m = { .is_revoked = is_revoked };

	if (is_own(v, instance_id))
		return; /* others do not talk to us any more; there is nothing to take from ourselves */
	memcpy(m.instance_id, instance_id, sizeof(m.instance_id));
	if (id_registry_revoke(v->conf.registry, instance_id, is_revoked) == 0)
		ipc_send(v->conf.parent, MSG_EDGE_REVOKED, &m, sizeof(m), -1);
}

static void on_seen(const struct vpc_seen *seen, void *arg)
{
	struct edge_vpc *v = arg;

	ipc_send(v->conf.parent, MSG_EDGE_SEEN, seen, sizeof(*seen), -1);
}

static void on_up(bool is_up, void *arg)
{
	struct edge_vpc *v = arg;
	struct msg_vpc_link m = { .is_up = is_up, .server = vpc_join_server(v->join) };

	ipc_send(v->conf.parent, MSG_EDGE_VPC_LINK, &m, sizeof(m), -1);
}

static void on_refused(const struct err *e, bool is_remote, void *arg)
{
	struct edge_vpc *v = arg;

	origin_print(v, vpc_join_server(v->join));
	v->conf.refused(v->origin, e, is_remote, v->conf.arg);
}

/* --- the whole --- */

int edge_vpc_new(const struct edge_vpc_conf *conf, struct edge_vpc **vpc, struct err *e)
{
	struct edge_vpc *v = calloc(1, sizeof(*v));

	if (!v)
		return err_at(e, -ENOMEM, "control plane", "out of memory");
	v->conf = *conf;
	origin_print(v, 0);
	*vpc = v;
	return 0;
}

static void servers_use(const struct edge_vpc *v, struct vpc_servers *to)
{
	const struct conf_vpc *vpc = &v->conf.conf->vpc;

	*to = (struct vpc_servers){ .n = vpc->n_servers, .any_app = vpc->any_app };
	memcpy(to->at, vpc->server, sizeof(to->at));
	memcpy(to->app_id, vpc->app_id, sizeof(to->app_id));
	memcpy(to->host, vpc->host, sizeof(to->host));
	memcpy(to->key, vpc->key, sizeof(to->key));
}

void edge_vpc_change(struct edge_vpc *v)
{
	struct vpc_servers to;

	servers_use(v, &to);
	if (v->join)
		vpc_join_change(v->join, &to);
}

int edge_vpc_join(struct edge_vpc *v, const struct vpc_seen *seen, const char *cert_pem, const char *key_pem,
		  struct err *e)
{
	const struct msg_edge_conf *c = v->conf.conf;
	struct vpc_join_conf join = { .base = v->conf.base,
				      .cert_pem = cert_pem,
				      .key_pem = key_pem,
				      .seen = *seen,
				      .trust = trust,
				      .have = have,
				      .granted = granted,
				      .record = on_record,
				      .revoked = on_revoked,
				      .seen_fn = on_seen,
				      .up = on_up,
				      .refused = on_refused,
				      .arg = v };

	if (v->join)
		return 0;
	memcpy(join.node, c->node, sizeof(join.node));
	servers_use(v, &join.servers);
	return vpc_join_new(&join, &v->join, e);
}

void edge_vpc_free(struct edge_vpc *v)
{
	if (!v)
		return;
	vpc_join_free(v->join);
	free(v->record);
	free(v);
}

int edge_vpc_publish(struct edge_vpc *v, const struct id_record *record, const uint8_t *bytes, size_t len)
{
	uint8_t *copy = malloc(len);

	if (!copy)
		return -ENOMEM;
	memcpy(copy, bytes, len);
	free(v->record);
	v->record = copy;
	v->record_len = len;
	v->meta = *record;
	return publish(v);
}

int edge_vpc_renew(struct edge_vpc *v, const char *cert_pem, const char *key_pem, struct err *e)
{
	return v->join ? vpc_join_renew(v->join, cert_pem, key_pem, e) : 0;
}
