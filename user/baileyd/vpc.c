// SPDX-License-Identifier: Apache-2.0
/*
 * The parent's part of joining a network: what the control plane granted and how far it was heard, kept for a restart
 * with no control plane, and who was revoked, which outlives both.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"
#include "base/text.h"
#include "parent.h"

#define STATE_MAX   4096
#define LINE        (2 * BY_INSTANCE_ID_LEN + 1)
#define REVOKED_MAX 65536 /* whoever says so; beyond it a record's own end must do */

static void path_of(const struct parent *p, const char *name, char path[PATH_MAX])
{
	snprintf(path, PATH_MAX, "%.*s/%s", PATH_MAX - 16, p->conf.state, name);
}

/* --- vpc: "network HEX\nserial N\naddress A\n..." --- */

static void state_save(struct parent *p)
{
	char path[PATH_MAX], text[STATE_MAX], hex[2 * VPC_NETWORK + 1], addr[ADDR_TEXT];
	struct err e = ERR_INIT;
	int n;

	hex_print(hex, p->vpc.seen.network, VPC_NETWORK);
	n = snprintf(text, sizeof(text), "network %s\nserial %" PRIu64 "\n", hex, p->vpc.seen.serial);
	for (uint32_t i = 0; i < p->conf.n_addrs; i++)
		n += snprintf(text + n, sizeof(text) - (size_t)n, "address %s\n", addr_print(&p->conf.addrs[i], addr));
	path_of(p, "vpc", path);
	if (file_write(path, text, (size_t)n, 0600, &e) < 0)
		log_err("%s: %s", e.where, e.msg);
	p->vpc.is_dirty = false;
}

static bool line_take(struct parent *p, const char *line)
{
	struct by_addr addr;

	if (strncmp(line, "network ", 8) == 0)
		return hex_parse(p->vpc.seen.network, VPC_NETWORK, line + 8);
	if (strncmp(line, "serial ", 7) == 0)
		return sscanf(line + 7, "%" SCNu64, &p->vpc.seen.serial) == 1;
	if (strncmp(line, "address ", 8) != 0 || !addr_parse(&addr, line + 8) || p->conf.n_addrs == ID_MAX_ADDRS)
		return false;
	if (conf_network_of(&p->conf, &addr)) /* else the networks are others now: a new grant will say more */
		p->conf.addrs[p->conf.n_addrs++] = addr;
	return true;
}

static int state_load(struct parent *p, struct err *e)
{
	auto_free char *text = NULL;
	char path[PATH_MAX], *rest;
	size_t len;

	path_of(p, "vpc", path);
	if (access(path, F_OK) < 0)
		return 0;
	if (file_read(path, STATE_MAX, &text, &len, e) < 0)
		return e->code;
	for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
		if (!line_take(p, line))
			return err_at(e, -EBADMSG, path, "does not say 'network', 'serial' and 'address' in '%.60s'",
				      line);
	return 0;
}

/* --- revoked: an instance-id a line --- */

static bool revoked_add(struct parent *p, const uint8_t instance_id[BY_INSTANCE_ID_LEN])
{
	uint8_t(*grown)[BY_INSTANCE_ID_LEN] = realloc(p->vpc.revoked, (p->vpc.n_revoked + 1) * sizeof(*grown));

	if (!grown)
		return false;
	memcpy(grown[p->vpc.n_revoked++], instance_id, BY_INSTANCE_ID_LEN);
	p->vpc.revoked = grown;
	return true;
}

static size_t revoked_at(const struct parent *p, const uint8_t instance_id[BY_INSTANCE_ID_LEN])
{
	size_t i = 0;

	while (i < p->vpc.n_revoked && memcmp(p->vpc.revoked[i], instance_id, BY_INSTANCE_ID_LEN) != 0)
		i++;
	return i;
}

static int revoked_load(struct parent *p, struct err *e)
{
	auto_free char *text = NULL;
	uint8_t instance_id[BY_INSTANCE_ID_LEN];
	char path[PATH_MAX], *rest;
	size_t len;

	path_of(p, "revoked", path);
	if (access(path, F_OK) < 0)
		return 0;
	if (file_read(path, (size_t)REVOKED_MAX * LINE, &text, &len, e) < 0)
		return e->code;
	for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
		if (!hex_parse(instance_id, sizeof(instance_id), line) || !revoked_add(p, instance_id))
			return err_at(e, -EBADMSG, path, "needs one instance-id a line, found '%.60s'", line);
	return 0;
}

static void revoked_save(struct parent *p)
{
	auto_free char *text = malloc(p->vpc.n_revoked * LINE + 1);
	struct err e = ERR_INIT;
	char path[PATH_MAX];

	path_of(p, "revoked", path);
	if (!text)
		err_at(&e, -ENOMEM, path, "out of memory");
	for (size_t i = 0; i < p->vpc.n_revoked && text; i++) {
		hex_print(text + i * LINE, p->vpc.revoked[i], BY_INSTANCE_ID_LEN);
		text[(i + 1) * LINE - 1] = '\n';
	}
	if (text)
		file_write(path, text, p->vpc.n_revoked * LINE, 0600, &e);
	if (e.code)
		log_err("a restart will not know who was revoked: %s: %s", e.where, e.msg);
	p->vpc.revoked_saved_s = time(NULL);
	p->vpc.is_revoked_dirty = false;
}

/* --- pre-auth key --- */

/* Who was granted addresses once is a member and needs none, so that its file may go. */
int vpc_key_load(const struct parent *p, struct conf *conf, struct err *e)
{
	auto_free char *text = NULL;
	size_t len;

	conf->vpc.key[0] = '\0';
	if (!conf->vpc_key[0] || (p->vpc.seen.serial && access(conf->vpc_key, F_OK) < 0))
		return 0;
	if (file_read(conf->vpc_key, VPC_KEY_TEXT, &text, &len, e) < 0)
		return err_wrap(e, "vpc.key");
	text[strcspn(text, "\r\n")] = '\0';
	if (vpc_key_ok(text))
		snprintf(conf->vpc.key, sizeof(conf->vpc.key), "%s", text);
	else
		err_at(e, -EINVAL, conf->vpc_key, "is no pre-auth key: one line of 16 to 127 characters");
	explicit_bzero(text, len);
	return e->code;
}

/* --- the life of it --- */

int vpc_load(struct parent *p, struct err *e)
{
	int ret = p->conf.vpc.is_on ? state_load(p, e) : 0;

	if (!ret)
		ret = vpc_key_load(p, &p->conf, e);
	return ret ? ret : revoked_load(p, e);
}

static bool is_vpc_same(const struct conf_vpc *a, const struct conf_vpc *b)
{
	for (uint32_t i = 0; i < a->n_servers && i < b->n_servers; i++)
		if (!endpoint_equal(&a->server[i], &b->server[i]))
			return false;
	return a->n_servers == b->n_servers && a->any_app == b->any_app && strcmp(a->host, b->host) == 0 &&
	       strcmp(a->key, b->key) == 0 && memcmp(a->app_id, b->app_id, sizeof(a->app_id)) == 0;
}

/* The edge has its own number for the server that it is connected to, found in the same way. */
void vpc_change(struct parent *p, const struct conf *fresh)
{
	struct conf_vpc *vpc = &p->conf.vpc;
	uint32_t at;

	if (!vpc->is_on || !fresh->vpc.is_on)
		return; /* to be in a network at all, or not, is decided at the start */
	memcpy(p->conf.vpc_key, fresh->vpc_key, sizeof(p->conf.vpc_key));
	if (is_vpc_same(vpc, &fresh->vpc))
		return;
	at = vpc_server_at(fresh->vpc.server, fresh->vpc.n_servers, &vpc->server[p->vpc.server]);
	p->vpc.server = at < fresh->vpc.n_servers ? at : 0;
	*vpc = fresh->vpc;
	log_info("control plane: servers, app and key are those of %s now", p->conf.file);
	if (p->edge.ipc)
		ipc_send(p->edge.ipc, MSG_EDGE_VPC, vpc, sizeof(*vpc), -1);
}

void vpc_fini(struct parent *p)
{
	vpc_tick(p);
	free(p->vpc.revoked);
}

bool vpc_has_addresses(const struct parent *p)
{
	return !p->conf.vpc.is_on || p->conf.n_addrs;
}

/* Before any record: what is revoked is never admitted, not even for a moment. */
void vpc_send_revoked(struct parent *p)
{
	struct msg_revoked m = { .is_revoked = true };

	for (size_t i = 0; i < p->vpc.n_revoked; i++) {
		memcpy(m.instance_id, p->vpc.revoked[i], sizeof(m.instance_id));
		ipc_send(p->edge.ipc, MSG_EDGE_REVOKE, &m, sizeof(m), -1);
	}
}

/* Once the edge has judged what is stored: it then asks for what it has not. */
void vpc_send_join(struct parent *p)
{
	if (p->conf.vpc.is_on)
		ipc_send(p->edge.ipc, MSG_EDGE_JOIN, &p->vpc.seen, sizeof(p->vpc.seen), -1);
}

static bool is_same(const struct parent *p, const struct vpc_grant *g)
{
	return p->conf.n_addrs == g->n_addrs && memcmp(p->conf.addrs, g->addrs, g->n_addrs * sizeof(g->addrs[0])) == 0;
}

static void on_grant(struct parent *p, const struct vpc_grant *g)
{
	char text[ADDR_TEXT];

	if (!g->n_addrs || g->n_addrs > ID_MAX_ADDRS)
		return;
	memcpy(p->vpc.seen.network, g->network, sizeof(g->network));
	if (is_same(p, g))
		return;
	for (uint32_t i = 0; i < g->n_addrs; i++) {
		if (!conf_network_of(&p->conf, &g->addrs[i]))
			return; /* the edge has looked; its word is not enough */
		log_info("address %s granted", addr_print(&g->addrs[i], text));
	}
	memcpy(p->conf.addrs, g->addrs, g->n_addrs * sizeof(g->addrs[0]));
	p->conf.n_addrs = g->n_addrs;
	state_save(p);
	plan_sign_self(p);
	plan_send_addrs(p);
}

static void on_seen(struct parent *p, const struct vpc_seen *seen)
{
	p->vpc.seen = *seen;
	p->vpc.is_dirty = true; /* written each second at most */
}

static void on_link(struct parent *p, const struct msg_vpc_link *m)
{
	if (m->is_up != p->vpc.is_up)
		log_info("control plane: %s", m->is_up ? "connected" : "connection lost; what was verified goes on");
	p->vpc.is_up = m->is_up;
	if (m->server < p->conf.vpc.n_servers)
		p->vpc.server = m->server;
	p->vpc.since_s = time(NULL);
}

void vpc_on_revoked(struct parent *p, const struct msg_revoked *m)
{
	struct node *n = node_find(p, m->instance_id);
	size_t at = revoked_at(p, m->instance_id);
	char hex[LINE];

	hex_print(hex, m->instance_id, BY_INSTANCE_ID_LEN);
	if (m->is_revoked && n)
		node_revoke(p, n); /* the kernel first, then the disk */
	if (m->is_revoked == (at < p->vpc.n_revoked))
		return;
	if (m->is_revoked && (p->vpc.n_revoked == REVOKED_MAX || !revoked_add(p, m->instance_id))) {
		log_limited(LOG_ERR, "instance %s: revoked, but a restart will not know it: there are %zu", hex,
			    p->vpc.n_revoked);
		return;
	}
	if (!m->is_revoked)
		memcpy(p->vpc.revoked[at], p->vpc.revoked[--p->vpc.n_revoked], BY_INSTANCE_ID_LEN);
	p->vpc.is_revoked_dirty = true;
	if (p->vpc.revoked_saved_s != time(NULL)) /* many at once are written once a second */
		revoked_save(p);
	log_limited(LOG_INFO, "instance %s: %s", hex, m->is_revoked ? "revoked" : "not revoked any more");
}

bool vpc_on_message(struct parent *p, const struct ipc_msg *msg)
{
	const void *m;

	switch (msg->type) {
	case MSG_EDGE_GRANT:
		if ((m = ipc_as(msg, sizeof(struct vpc_grant))))
			on_grant(p, m);
		return true;
	case MSG_EDGE_REVOKED:
		if ((m = ipc_as(msg, sizeof(struct msg_revoked))))
			vpc_on_revoked(p, m);
		return true;
	case MSG_EDGE_SEEN:
		if ((m = ipc_as(msg, sizeof(struct vpc_seen))))
			on_seen(p, m);
		return true;
	case MSG_EDGE_VPC_LINK:
		if ((m = ipc_as(msg, sizeof(struct msg_vpc_link))))
			on_link(p, m);
		return true;
	default:
		return false;
	}
}

void vpc_tick(struct parent *p)
{
	if (p->vpc.is_dirty)
		state_save(p);
	if (p->vpc.is_revoked_dirty)
		revoked_save(p);
}
