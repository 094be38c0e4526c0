// SPDX-License-Identifier: Apache-2.0
/* Meshes whose sockets the kernel stops: the programs on their cgroups, as the configuration names them. */
#include <errno.h>

#include "base/log.h"
#include "net.h"

int guard_set(struct net *net, const struct dp_guard_conf *conf, struct err *e)
{
	int ret = 0;

	if (!conf || conf->n_cgroups > DP_GUARD_CGROUPS)
		return err_at(e, -EPROTO, "net process", "guard message is wrong");
	net->guard_conf = *conf;
	for (uint32_t i = 0; i < conf->n_cgroups; i++)
		msg_terminate(net->guard_conf.cgroup[i]);
	if (!conf->n_cgroups)
		return dp_guard_destroy(net->conf.bpffs, net->conf.instance, e);
	if (!net->guard)
		ret = dp_guard_open(net->conf.bpffs, net->conf.instance, &net->guard, e);
	return ret ? ret : dp_guard_set(net->guard, &net->guard_conf, e);
}

/* The cgroup of a service comes and goes with it. */
void guard_watch(struct net *net)
{
	struct err e = ERR_INIT;
	char text[600];

	if (net->guard && !dp_guard_is_placed(net->guard, &net->guard_conf) &&
	    dp_guard_set(net->guard, &net->guard_conf, &e) < 0)
		log_limited(LOG_ERR, "mesh: %s", err_text(&e, text, sizeof(text)));
}

void guard_status(struct net *net, struct msg_status *m)
{
	struct err e = ERR_INIT;

	m->is_guarding = net->guard && dp_guard_status(net->guard, &m->guard, &e) == 0;
}
