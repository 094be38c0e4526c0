// SPDX-License-Identifier: Apache-2.0
/* What a person asks of a running mesh: another configuration, or an end that nobody notices. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "parent.h"

static int reload_conf(const struct md_parent *p, struct md_conf *conf, struct err *e)
{
	auto_call(diags_fini) struct diags d = { 0 };

	if (!p->conf.file[0]) {
		*conf = p->conf;
		return 0;
	}
	if (md_conf_load(p->conf.file, conf, &d) < 0)
		return diags_first(&d, e) ? e->code : err_at(e, -EINVAL, p->conf.file, "can not be read");
	if (conf->workers != p->conf.workers || strcmp(conf->user, p->conf.user) != 0 ||
	    strcmp(conf->instance, p->conf.instance) != 0 || strcmp(conf->run, p->conf.run) != 0 ||
	    strcmp(conf->agent, p->conf.agent) != 0 || strcmp(conf->certificate, p->conf.certificate) != 0 ||
	    strcmp(conf->state, p->conf.state) != 0 || strcmp(conf->baileyd, p->conf.baileyd) != 0 ||
	    conf->agent_access != p->conf.agent_access || md_needs_unix(conf) != md_needs_unix(&p->conf) ||
	    conf->no_splice != p->conf.no_splice || conf->no_ktls != p->conf.no_ktls ||
	    memcmp(&conf->limits, &p->conf.limits, sizeof(conf->limits)) != 0)
		return err_at(e, -EINVAL, p->conf.file,
			      "workers, user, instance, run, state, limits, paths, identity's files and agent, "
			      "client.agent, client.baileyd and whether any backend is unix: change with a restart "
			      "only");
	return 0;
}

static int reload(struct md_parent *p, struct md_conf *conf, struct err *e)
{
	struct md_socket socket[MD_SOCKETS_MAX];
	struct md_loaded loaded = { 0 };
	uint32_t n = 0;
	bool has_new_key;
	int ret = reload_conf(p, conf, e);

	if (!ret)
		ret = md_load(conf, &loaded, e);
	if (!ret)
		ret = md_sockets(conf, socket, &n, p->socket, p->n_sockets, e);
	if (!ret)
		ret = trust_read(&p->trust, e);
	if (ret < 0) {
		md_loaded_fini(&loaded);
		return ret;
	}
	has_new_key =
		loaded.key && (strcmp(loaded.key, p->loaded.key) != 0 || strcmp(loaded.cert, p->loaded.cert) != 0);
	md_sockets_close(p->socket, p->n_sockets, socket, n);
	memcpy(p->socket, socket, sizeof(socket));
	p->n_sockets = n;
	md_loaded_fini(&p->loaded);
	p->loaded = loaded;
	p->conf = *conf;
	if (has_new_key)
		md_send_key(p);
	return 0;
}

int md_reload(struct md_parent *p, struct err *e)
{
	auto_free struct md_conf *conf = malloc(sizeof(*conf));
	int ret = conf ? reload(p, conf, e) : -ENOMEM;

	if (ret < 0) {
		p->told.reloads_refused++;
		return ret;
	}
	p->told.reloads++;
	p->applies++;
	trust_retry(&p->trust);
	md_round_begin(p);
	for (uint32_t i = 0; i < p->conf.workers; i++) {
		md_send_all(p, &p->worker[i]);
		md_round_send(p, &p->worker[i]);
	}
	return 0;
}

void md_drain(struct md_parent *p)
{
	struct md_number m = { .n = p->conf.limits.drain_s * 1000 };
	struct timeval deadline = { .tv_sec = p->conf.limits.drain_s + 1 };

	if (p->is_draining)
		return;
	p->is_draining = true;
	log_info("no new connections; waits up to %u s for those that are there", p->conf.limits.drain_s);
	for (uint32_t i = 0; i < p->n_sockets; i++)
		close_at(&p->socket[i].fd);
	p->n_sockets = 0;
	for (uint32_t i = 0; i < p->conf.workers; i++)
		if (p->worker[i].proc.ipc)
			ipc_send(p->worker[i].proc.ipc, MD_DRAIN, &m, sizeof(m), -1);
	event_add(p->deadline, &deadline);
}
