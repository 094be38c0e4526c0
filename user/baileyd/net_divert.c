// SPDX-License-Identifier: Apache-2.0
/* Captured destinations: the programs on cgroups, as the configuration names them. */
#include <errno.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "net.h"

/* What an earlier daemon set goes on until here, and what both name goes on without a gap. */
int divert_set(struct net *net, const struct dp_divert_conf *conf, struct err *e)
{
	int ret = 0;

	if (!conf || conf->n_cgroups > DP_DIVERT_CGROUPS || conf->n_devices > DP_DIVERT_DEVICES ||
	    conf->n_rules > DP_DIVERT_RULES)
		return err_at(e, -EPROTO, "net process", "capture message is wrong");
	net->divert_conf = *conf;
	for (uint32_t i = 0; i < conf->n_cgroups; i++)
		msg_terminate(net->divert_conf.cgroup[i]);
	msg_terminate(net->divert_conf.proxy_cgroup);
	for (uint32_t i = 0; i < DP_DIVERT_DEVICES; i++)
		msg_terminate(net->divert_conf.device[i]);
	if (!conf->n_devices && dp_divert_has_devices(net->conf.bpffs, net->conf.instance))
		ret = ov_local_set(false, BY_DIVERT_MARK, e);
	if (!ret && !conf->n_cgroups && !conf->n_devices)
		return dp_divert_destroy(net->conf.bpffs, net->conf.instance, e);
	if (!ret && !net->divert)
		ret = dp_divert_open(net->conf.bpffs, net->conf.instance, &net->divert, e);
	if (!ret && conf->n_devices)
		ret = ov_local_set(true, BY_DIVERT_MARK, e);
	if (!ret)
		ret = dp_divert_set(net->divert, &net->divert_conf, e);
	if (!ret)
		log_info("capture: what %u cgroups and %u devices dial, %u networks and ports", conf->n_cgroups,
			 conf->n_devices, conf->n_rules);
	return ret;
}

/* A cgroup that was removed and made again is another one. */
void divert_watch(struct net *net)
{
	struct err e = ERR_INIT;
	char text[600];

	if (net->divert && !dp_divert_is_placed(net->divert, &net->divert_conf) &&
	    dp_divert_set(net->divert, &net->divert_conf, &e) < 0)
		log_limited(LOG_ERR, "capture: %s", err_text(&e, text, sizeof(text)));
}

void divert_status(struct net *net, struct msg_status *m)
{
	struct err e = ERR_INIT;

	m->is_capturing = net->divert && dp_divert_status(net->divert, &m->divert, &e) == 0;
}

static int origin_add(const struct by_origin_key *key, const struct by_origin *origin, void *arg)
{
	struct msg_flow_page *page = arg;
	uint64_t now_ns = (uint64_t)clock_ns(CLOCK_MONOTONIC);

	page->item[page->n++] = (struct dp_flow){
		.key = { .local = key->client,
			 .peer = origin->addr,
			 .local_port_be = key->client_port_be,
			 .peer_port_be = origin->port_be,
			 .l4_proto = IPPROTO_TCP },
		.ct = { .dir = BY_DIR_OUT, .state = BY_CT_ESTABLISHED },
		.age_ms = now_ns > origin->opened_ns ? (now_ns - origin->opened_ns) / 1000000 : 0,
		.is_judged = true,
	};
	return 0;
}

/* As flows, a page at a time. */
void divert_page(struct net *net, struct msg_flow_page *page)
{
	struct err e = ERR_INIT;

	page->code = 0;
	page->at.is_over |= !net->divert;
	if (!page->at.is_over)
		page->code = dp_divert_origins(net->divert, &page->at, PAGE_ITEMS, origin_add, page, &e);
}
