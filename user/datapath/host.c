// SPDX-License-Identifier: Apache-2.0
/* The host's own datapath: two objects, one for XDP and one for tc, over one set of maps. */
#include "host.h"

#include <arpa/inet.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/bpf.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/file.h"

#define SECOND_NS       1000000000ull
#define SYNCOOKIES_FILE "/proc/sys/net/ipv4/tcp_syncookies"

static const char *const host_prog_name[BY_DIR_COUNT] = {
	[BY_DIR_IN] = BY_PROG_HOST_IN, [BY_DIR_OUT] = BY_PROG_HOST_OUT
};
static const char *const host_ask_name[BY_DIR_COUNT] = {
	[BY_DIR_IN] = BY_PROG_HOST_ASK_IN, [BY_DIR_OUT] = BY_PROG_HOST_ASK_OUT
};

static struct by_host_limit limit_of(const struct dp_limit *l)
{
	struct by_host_limit limit = { 0 };

	if (!l->rate)
		return limit;
	limit.each_ns = SECOND_NS / l->rate;
	limit.depth_ns = l->burst ? (l->burst - 1) * limit.each_ns : 0;
	return limit;
}

/* The stack believes a cookie without having had a full queue only with 2, and so do the helpers. */
static bool stack_takes_cookies(char *why, size_t size)
{
	auto_free char *text = NULL;
	struct err e = ERR_INIT;
	size_t len;

	if (file_read(SYNCOOKIES_FILE, 16, &text, &len, &e) == 0 && strcmp(text, "2\n") == 0)
		return true;
	snprintf(why, size, "net.ipv4.tcp_syncookies is %.*s, needed: 2", text ? (int)strcspn(text, "\n") : 7,
		 text ? text : "unknown");
	return false;
}

static bool has_helpers(char *why, size_t size)
{
	static const enum bpf_func_id need[] = { BPF_FUNC_skc_lookup_tcp, BPF_FUNC_tcp_gen_syncookie,
						 BPF_FUNC_tcp_check_syncookie };

	for (size_t i = 0; i < ARRAY_LEN(need); i++)
		if (libbpf_probe_bpf_helper(BPF_PROG_TYPE_XDP, need[i], NULL) != 1) {
			snprintf(why, size, "the kernel's XDP lacks helper %d", need[i]);
			return false;
		}
	return true;
}

static struct by_host_conf constants(struct host *h)
{
	struct dp_host_status *st = &h->status;
	struct by_host_conf c = { .wg_port_be = htons(h->options.wg_port),
				  .wg_second_be = htons((uint16_t)(h->options.wg_port + (h->options.wg_port != 65535))),
				  .flows = limit_of(&h->options.flows),
				  .handshakes = limit_of(&h->options.handshakes),
				  .handshakes_total = limit_of(&h->options.handshakes_total),
				  .syns = limit_of(&h->options.syns) };

	if (!h->options.syns.rate)
		snprintf(st->no_cookies, sizeof(st->no_cookies), "limits.syns is 0");
	else if (has_helpers(st->no_cookies, sizeof(st->no_cookies)) &&
		 stack_takes_cookies(st->no_cookies, sizeof(st->no_cookies)))
		c.has_cookies = 1;
	return c;
}

int host_xdp_open(const char *dir, const struct by_host_conf *c, struct xdp_bpf **out, struct err *e)
{
	struct xdp_bpf *xdp = xdp_bpf__open();

	*out = xdp;
	if (!xdp)
		return kernel_refused(e, -errno, "BPF object");
	xdp->rodata->host = *c;
	xdp->rodata->conf.events_per_sec = EVENTS_PER_SEC;
	xdp->rodata->conf.captures_per_sec = CAPTURES_PER_SEC;
	xdp->rodata->conf.has_pairs = 0;
	return maps_adopt(dir, xdp->obj, e);
}

static int load_xdp(struct dp *dp, struct err *e)
{
	struct host *h = dp->host;
	int ret = host_xdp_open(dp->dir, &h->conf, &h->xdp, e);

	if (ret < 0)
		return ret;
	dp->obj = h->xdp->obj;
	ret = xdp_bpf__load(h->xdp);
	if (ret < 0)
		return kernel_refused(e, ret, "the kernel refused the XDP program");
	h->xdp_prog = bpf_program__fd(h->xdp->progs.by_xdp_in);
	ret = maps_pin(dp, e);
	return ret ? ret : prog_pin(dp, h->xdp_prog, BY_PROG_XDP, e);
}

/* After load_xdp(): all maps are pinned, so this object adopts them. */
static int load_tc(struct dp *dp, struct err *e)
{
	struct host *h = dp->host;
	int ret;

	h->tc = host_bpf__open();
	if (!h->tc)
		return kernel_refused(e, -errno, "BPF object");
	h->tc->rodata->host = h->conf;
	h->tc->rodata->conf.events_per_sec = EVENTS_PER_SEC;
	h->tc->rodata->conf.captures_per_sec = CAPTURES_PER_SEC;
	h->tc->rodata->conf.has_pairs = 0;
	ret = maps_adopt(dp->dir, h->tc->obj, e);
	if (ret < 0)
		return ret;
	ret = host_bpf__load(h->tc);
	if (ret < 0)
		return kernel_refused(e, ret, "the kernel refused the tc programs");
	dp->prog[BY_DIR_IN] = bpf_program__fd(h->tc->progs.by_host_in);
	dp->prog[BY_DIR_OUT] = bpf_program__fd(h->tc->progs.by_host_out);
	dp->ask[BY_DIR_IN] = bpf_program__fd(h->tc->progs.by_host_ask_in);
	dp->ask[BY_DIR_OUT] = bpf_program__fd(h->tc->progs.by_host_ask_out);
	return progs_pin(dp, host_prog_name, host_ask_name, e);
}

static int load(struct dp *dp, struct err *e)
{
	int ret;

	dp->host = calloc(1, sizeof(*dp->host));
	if (!dp->host)
		return err_at(e, -ENOMEM, NULL, "out of memory");
	dp->host->options = dp->options.host;
	snprintf(dp->host->status.attach, sizeof(dp->host->status.attach), "none");
	dp->host->conf = constants(dp->host);
	ret = load_xdp(dp, e);
	return ret ? ret : load_tc(dp, e);
}

int dp_host_open(const char *bpffs, const char *instance, const struct dp_host_options *options, struct dp **dp,
		 struct err *e)
{
	struct dp_options o = { .l3_offset = 0, .no_pairs = true, .host = *options };

	return dp_make(bpffs, instance, PIN_HOST, &o, load, dp, e);
}

void host_close(struct host *h)
{
	if (!h)
		return;
	host_bpf__destroy(h->tc);
	xdp_bpf__destroy(h->xdp);
	free(h);
}

void dp_host_status(const struct dp *dp, struct dp_host_status *st)
{
	*st = dp->host->status;
}
