// SPDX-License-Identifier: Apache-2.0
/*
 * The host's own device. Our programs come onto it once a policy decides, not before: until then what an earlier daemon
 * left goes on, and a host that is judged for the first time is not cut off while evidence is looked at.
 */
#include <errno.h>
#include <net/if.h>

#include "base/log.h"
#include "net.h"

static int no_device(const struct target *t, struct err *e)
{
	return err_at(e, -ENODEV, "underlay.interface", "there is no network device '%s'", t->conf.interface);
}

int underlay_open(struct target *t, struct err *e)
{
	const struct msg_net_conf *conf = &t->net->conf;
	int ret;

	if (!if_nametoindex(t->conf.interface))
		return no_device(t, e);
	ret = dp_host_open(conf->bpffs, conf->instance, &t->conf.host, &t->dp, e);
	return ret ? ret : open_ring(t, e);
}

static void say(const struct target *t)
{
	struct dp_host_status st;

	dp_host_status(t->dp, &st);
	log_info("underlay %s: %s judges what comes in%s%s%s", t->conf.interface, st.attach,
		 st.not_better[0] ? " (" : "", st.not_better, st.not_better[0] ? ")" : "");
	if (st.no_cookies[0] && t->conf.host.syns.rate)
		log_warn("underlay %s: no SYN cookies: %s", t->conf.interface, st.no_cookies);
}

int underlay_attach(struct target *t, struct err *e)
{
	unsigned ifindex = if_nametoindex(t->conf.interface);
	int ret;

	if (t->ifindex && ifindex == t->ifindex)
		return 0;
	ret = ifindex ? dp_host_attach(t->dp, ifindex, e) : no_device(t, e);
	if (ret)
		return ret;
	t->ifindex = ifindex;
	say(t);
	return 0;
}

/* A device that comes back under its name (a driver that was loaded again) has none of our programs. */
static void watch(struct target *t)
{
	unsigned ifindex = if_nametoindex(t->conf.interface);
	struct err e = ERR_INIT;
	char text[600];

	if (!t->ifindex || ifindex == t->ifindex)
		return;
	if (!ifindex)
		log_limited(LOG_ERR, "underlay %s: the device is gone", t->conf.interface);
	else if (underlay_attach(t, &e) < 0)
		log_limited(LOG_ERR, "underlay %s is not judged: %s", t->conf.interface,
			    err_text(&e, text, sizeof(text)));
}

void underlay_watch(struct net *net)
{
	for (uint32_t i = 0; i < net->n_targets; i++)
		if (net->targets[i].conf.kind == TARGET_IS_UNDERLAY)
			watch(&net->targets[i]);
}

/* What an earlier daemon left on a device that the configuration names no more. */
int underlay_remove_unnamed(struct net *net, struct err *e)
{
	for (uint32_t i = 0; i < net->n_targets; i++)
		if (net->targets[i].conf.kind == TARGET_IS_UNDERLAY)
			return 0;
	return dp_host_destroy(net->conf.bpffs, net->conf.instance, 0, e);
}
