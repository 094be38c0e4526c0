// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <jansson.h>
#include <netinet/in.h>
#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/child.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "base/listen.h"
#include "base/log.h"
#include "evidence/policy_file.h"
#include "parent.h"
#include "policy/sources.h"

DEFINE_CLEANUP(json, json_t, json_decref)

/* --- files --- */

void md_loaded_fini(struct md_loaded *l)
{
	if (l->key)
		OPENSSL_cleanse(l->key, strlen(l->key));
	free(l->cert);
	free(l->key);
	free(l->ca);
	free(l->public_ca);
	free(l->roots);
	free(l->rules);
	free(l->evidence);
	*l = (struct md_loaded){ 0 };
}

/* A policy travels as its texts; whoever decides parses it again. Here it is only looked at. */
static char *rules_text(const struct pol_sources *s)
{
	auto_call(cleanup_json) json_t *list = json_array();

	for (size_t i = 0; i < s->n; i++)
		json_array_append_new(list, json_pack("{s:s, s:s%}", "name", s->text[i].name, "text", s->text[i].text,
						      s->text[i].len));
	return json_dumps(list, JSON_COMPACT);
}

static int rules_load(const struct md_conf *conf, char **rules, struct err *e)
{
	auto_call(pol_sources_fini) struct pol_sources s = { 0 };
	auto_call(diags_fini) struct diags d = { 0 };
	const char *path[MD_POLICY_MAX];
	struct pol_model *model = NULL;
	int ret;

	for (uint32_t i = 0; i < conf->n_policy; i++)
		path[i] = conf->policy[i];
	ret = pol_sources_load(&s, path, conf->n_policy, file_get, NULL, &d, e);
	if (!ret)
		ret = pol_sources_parse(&s, false, &model, &d);
	pol_free(model);
	if (ret < 0)
		return diags_first(&d, e) ? e->code : err_at(e, ret, "policy", "%s", strerror(-ret));
	pol_sources_settle(&s);
	*rules = rules_text(&s);
	return *rules ? 0 : err_at(e, -ENOMEM, "policy", "out of memory");
}

static int read_if(const char *path, char **text, struct err *e)
{
	size_t len;

	return path[0] ? file_read(path, MD_PEM_MAX, text, &len, e) : 0;
}

static int evidence_load(const struct md_conf *conf, struct id_evidence_policy **evidence, struct err *e)
{
	*evidence = malloc(sizeof(**evidence));
	if (!*evidence)
		return err_at(e, -ENOMEM, "evidence policy", "out of memory");
	if (conf->evidence_policy[0])
		return evp_load(conf->evidence_policy, *evidence, e);
	id_evidence_policy_strict(*evidence);
	return 0;
}

int md_load(const struct md_conf *conf, struct md_loaded *loaded, struct err *e)
{
	auto_call(md_loaded_fini) struct md_loaded made = { 0 };
	int ret = 0;

	if (conf->certificate[0]) {
		ret = read_if(conf->certificate, &made.cert, e);
		if (!ret)
			ret = read_if(conf->key, &made.key, e);
	}
	if (!ret)
		ret = read_if(conf->ca, &made.ca, e);
	if (!ret)
		ret = read_if(conf->public_ca, &made.public_ca, e);
	if (!ret)
		ret = read_if(conf->simulated_roots, &made.roots, e);
	if (!ret && conf->n_policy)
		ret = rules_load(conf, &made.rules, e);
	if (!ret)
		ret = evidence_load(conf, &made.evidence, e);
	if (ret < 0)
		return ret;
	*loaded = made;
	made = (struct md_loaded){ 0 };
	return 0;
}

/* --- sockets --- */

/*
 * What a device of a container brings has another address than the listener's. Without the capability only what
 * applications of cgroups dial comes here.
 */
static void allow_any_address(int fd, const struct ip_endpoint *at)
{
	char text[ENDPOINT_TEXT];
	int on = 1;

	if (addr_is_v4(&at->addr) ? setsockopt(fd, SOL_IP, IP_TRANSPARENT, &on, sizeof(on))
				  : setsockopt(fd, SOL_IPV6, IPV6_TRANSPARENT, &on, sizeof(on)))
		log_warn("%s: connections of containers can not come: IP_TRANSPARENT: %s", endpoint_print(at, text),
			 strerror(errno));
}

static bool same_at(const struct ip_endpoint *a, const struct ip_endpoint *b)
{
	return a->port == b->port && addr_equal(&a->addr, &b->addr);
}

static int add(struct md_socket *socket, uint32_t *n, enum md_listener kind, const struct ip_endpoint *at,
	       struct err *e)
{
	char text[ENDPOINT_TEXT];

	for (uint32_t i = 0; i < *n; i++) {
		if (!same_at(&socket[i].listen.at, at))
			continue;
		/* services that share an address are told apart by the worker */
		if (kind == MD_LISTEN_SERVICE && socket[i].listen.kind == kind)
			return 0;
		return err_at(e, -EINVAL, endpoint_print(at, text), "is named for two things");
	}
	socket[*n] = (struct md_socket){ .listen = { .kind = kind, .at = *at }, .fd = -1 };
	(*n)++;
	return 0;
}

static int collect(const struct md_conf *c, struct md_socket *socket, uint32_t *n, struct err *e)
{
	int ret = 0;

	for (uint32_t i = 0; i < c->n_client && !ret; i++)
		ret = add(socket, n, MD_LISTEN_CLIENT, &c->client[i], e);
	for (uint32_t i = 0; i < c->n_captured && !ret; i++)
		ret = add(socket, n, MD_LISTEN_CAPTURED, &c->captured[i], e);
	for (uint32_t i = 0; i < c->n_tunnels && !ret; i++)
		ret = add(socket, n, MD_LISTEN_TUNNEL, &c->tunnel[i].listen, e);
	for (uint32_t i = 0; i < c->n_services && !ret; i++)
		ret = add(socket, n, MD_LISTEN_SERVICE, &c->service[i].listen, e);
	for (uint32_t i = 0; i < c->n_auth && !ret; i++)
		ret = add(socket, n, MD_LISTEN_AUTH, &c->auth[i], e);
	return ret;
}

static int old_fd(const struct md_socket *old, uint32_t n_old, const struct ip_endpoint *at)
{
	for (uint32_t i = 0; i < n_old; i++)
		if (same_at(&old[i].listen.at, at))
			return old[i].fd;
	return -1;
}

int md_sockets_check(const struct md_conf *conf, struct err *e)
{
	struct md_socket socket[MD_SOCKETS_MAX];
	uint32_t n = 0;

	return collect(conf, socket, &n, e);
}

int md_sockets(const struct md_conf *conf, struct md_socket *socket, uint32_t *n, const struct md_socket *old,
	       uint32_t n_old, struct err *e)
{
	uint32_t made = 0;
	int ret = collect(conf, socket, &made, e);

	for (uint32_t i = 0; i < made && !ret; i++) {
		int fd = old_fd(old, n_old, &socket[i].listen.at);

		socket[i].fd = fd >= 0 ? fd : tcp_listen(&socket[i].listen.at, "listen", e);
		ret = socket[i].fd < 0 ? socket[i].fd : 0;
		if (!ret && socket[i].listen.kind == MD_LISTEN_CAPTURED)
			allow_any_address(socket[i].fd, &socket[i].listen.at);
	}
	for (uint32_t i = 0; i < made && ret; i++)
		if (old_fd(old, n_old, &socket[i].listen.at) < 0)
			close_at(&socket[i].fd);
	*n = ret ? 0 : made;
	return ret;
}

void md_sockets_close(struct md_socket *old, uint32_t n_old, const struct md_socket *now, uint32_t n_now)
{
	for (uint32_t i = 0; i < n_old; i++) {
		bool is_used = false;

		for (uint32_t j = 0; j < n_now; j++)
			is_used |= now[j].fd == old[i].fd;
		if (!is_used)
			close_at(&old[i].fd);
	}
}

/* --- whom the others become --- */

int md_user(const struct md_conf *conf, uid_t *uid, gid_t *gid, struct err *e)
{
	if (geteuid() != 0) {
		*uid = geteuid();
		*gid = getegid();
		return 0;
	}
	return user_find("user", conf->user, uid, gid, e);
}
