// SPDX-License-Identifier: Apache-2.0
#include "host.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include "base/addr.h"
#include "counted.h"

#define INSTANCE "test"

#define OTHER_FIRST   3 /* peer class */
#define OTHER_CLASSES 1000
#define OTHER_NETS    50000

static const char *const prog_name[HOOK_COUNT] = { BY_PROG_XDP, BY_PROG_HOST_IN, BY_PROG_HOST_OUT };

static void must(int ret, struct err *e)
{
	char text[512];

	if (ret < 0)
		fail_msg("%s", err_text(e, text, sizeof(text)));
}

static int pin_get(const struct host_world *w, const char *name)
{
	char path[160];
	int fd;

	snprintf(path, sizeof(path), "%s/bailey/" INSTANCE "/v%d/host/%s", w->bpffs, BY_ABI_VERSION, name);
	fd = bpf_obj_get(path);
	assert_true(fd >= 0);
	return fd;
}

struct host_world *host_world_open(const struct dp_host_options *options)
{
	struct host_world *w = calloc(1, sizeof(*w));
	struct err e = ERR_INIT;

	assert_non_null(w);
	w->options = *options;
	snprintf(w->bpffs, sizeof(w->bpffs), "/tmp/bailey-host-XXXXXX");
	assert_non_null(mkdtemp(w->bpffs));
	assert_int_equal(mount("bpf", w->bpffs, "bpf", 0, NULL), 0);
	must(dp_host_open(w->bpffs, INSTANCE, &w->options, &w->dp, &e), &e);
	for (int i = 0; i < HOOK_COUNT; i++)
		w->prog[i] = pin_get(w, prog_name[i]);
	return w;
}

void host_world_close(struct host_world *w)
{
	struct err e = ERR_INIT;

	for (int i = 0; i < HOOK_COUNT; i++)
		close(w->prog[i]);
	dp_close(w->dp);
	must(dp_destroy(w->bpffs, INSTANCE, 0, &e), &e);
	assert_int_equal(umount(w->bpffs), 0);
	assert_int_equal(rmdir(w->bpffs), 0);
	free(w);
}

int host_world_map(const struct host_world *w, const char *name)
{
	return pin_get(w, name);
}

static void other_rules(struct img *img, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		uint32_t port = BY_PORT_TCP + 10000 + i / OTHER_CLASSES;

		img_rule(img, BY_DIR_IN, port, port, OTHER_FIRST + i % OTHER_CLASSES, BY_ALLOW);
	}
}

static void other_nets(struct img *img, uint32_t n)
{
	char net[32];

	for (uint32_t i = 0; i < n && i < OTHER_NETS; i++) {
		snprintf(net, sizeof(net), "10.%u.%u.%u/32", i >> 16, i >> 8 & 255, i & 255);
		img_net(img, net, OTHER_FIRST + i % OTHER_CLASSES);
	}
}

void host_world_commit(struct host_world *w, struct img *img)
{
	host_world_commit_among(w, img, 0);
}

void host_world_commit_among(struct host_world *w, struct img *img, uint32_t n)
{
	struct err e = ERR_INIT;

	other_rules(img, n);
	img_net(img, "::/0", CLASS_WORLD);
	img_net(img, "0.0.0.0/0", CLASS_WORLD);
	other_nets(img, n);
	img_net(img, "192.0.2.0/24", CLASS_FRIEND);
	img_net(img, "2001:db8::/64", CLASS_FRIEND);
	must(dp_policy_commit(w->dp, img_done(img), &e), &e);
	img_free(img);
}

void host_world_policy(struct host_world *w)
{
	static const uint32_t in[] = { BY_PORT_TCP + 22, BY_PORT_UDP + 22, BY_PORT_ICMP + 8, BY_PORT_ICMPV6 + 128 };
	static const uint32_t out[] = { BY_PORT_TCP + 53, BY_PORT_UDP + 53 };
	struct img *img = img_new();

	for (size_t i = 0; i < sizeof(in) / sizeof(in[0]); i++)
		img_rule(img, BY_DIR_IN, in[i], in[i], CLASS_FRIEND, BY_ALLOW);
	for (size_t i = 0; i < sizeof(out) / sizeof(out[0]); i++)
		for (uint32_t c = CLASS_FRIEND; c <= CLASS_WORLD; c++)
			img_rule(img, BY_DIR_OUT, out[i], out[i], c, BY_ALLOW);
	host_world_commit(w, img);
}

/* XDP_DROP, XDP_PASS, XDP_TX; TC_ACT_SHOT, or on to the next program */
static void check_retval(enum host_hook hook, enum by_drop reason, uint32_t retval)
{
	if (hook != HOOK_XDP)
		assert_int_equal((int)retval, reason ? 2 : -1);
	else if (reason != BY_DROP_SYN_COOKIE)
		assert_int_equal(retval, reason ? 1 : 2);
}

enum by_drop host_send_frame(struct host_world *w, enum host_hook hook, const struct frame *f)
{
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = f->data, .data_size_in = (uint32_t)f->len,
		    .data_out = w->back.data, .data_size_out = sizeof(w->back.data), .repeat = 1);
	struct dp_status before, after;
	struct err e = ERR_INIT;
	enum by_drop reason;

	must(dp_status_get(w->dp, &before, &e), &e);
	assert_int_equal(bpf_prog_test_run_opts(w->prog[hook], &opts), 0);
	must(dp_status_get(w->dp, &after, &e), &e);
	w->back.len = opts.data_size_out;
	w->retval = opts.retval;
	reason = counted(&before, &after, hook == HOOK_OUT ? BY_DIR_OUT : BY_DIR_IN);
	check_retval(hook, reason, opts.retval);
	return reason;
}

void host_frame(struct frame *f, const struct pkt *p, int n_tags)
{
	struct pkt framed = *p;
	size_t tags = 4u * (size_t)n_tags;

	if (!framed.ether)
		framed.ether = strchr(p->src, ':') ? 0x86dd : 0x0800;
	frame_build(f, &framed);
	memmove(f->data + 12 + tags, f->data + 12, f->len - 12);
	f->len += tags;
	for (int i = 0; i < n_tags; i++) {
		static const uint8_t tag[2][4] = { { 0x81, 0x00, 0x00, 0x07 }, { 0x88, 0xa8, 0x00, 0x09 } };

		memcpy(f->data + 12 + 4 * i, tag[i + 1 < n_tags], 4);
	}
	memcpy(f->data, "\x02\x00\x00\x00\x00\x01\x02\x00\x00\x00\x00\x07", 12);
}

enum by_drop host_send(struct host_world *w, enum host_hook hook, const struct pkt *p)
{
	struct frame f;

	host_frame(&f, p, 0);
	return host_send_frame(w, hook, &f);
}

size_t host_l4_of(const struct frame *f)
{
	return f->data[12] == 0x08 ? 34 : 54;
}
