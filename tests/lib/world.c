// SPDX-License-Identifier: Apache-2.0
#include "world.h"

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

static void must(int ret, struct err *e)
{
	char text[512];

	if (ret < 0)
		fail_msg("%s", err_text(e, text, sizeof(text)));
}

static void programs_open(struct world *w)
{
	struct err e = ERR_INIT;
	char path[128];

	must(dp_open(w->bpffs, INSTANCE, &w->options, &w->dp, &e), &e);
	for (int dir = 0; dir < BY_DIR_COUNT; dir++) {
		snprintf(path, sizeof(path), "%s/bailey/" INSTANCE "/v%d/%s", w->bpffs, BY_ABI_VERSION,
			 dir == BY_DIR_IN ? BY_PROG_IN : BY_PROG_OUT);
		w->prog[dir] = bpf_obj_get(path);
		assert_true(w->prog[dir] >= 0);
	}
}

static void programs_close(struct world *w)
{
	for (int dir = 0; dir < BY_DIR_COUNT; dir++)
		close(w->prog[dir]);
	dp_close(w->dp);
}

struct world *world_open(uint32_t l3_offset)
{
	return world_open_with(&(struct dp_options){ .l3_offset = l3_offset });
}

struct world *world_open_with(const struct dp_options *options)
{
	struct world *w = calloc(1, sizeof(*w));

	assert_non_null(w);
	w->options = *options;
	snprintf(w->bpffs, sizeof(w->bpffs), "/tmp/bailey-test-XXXXXX");
	assert_non_null(mkdtemp(w->bpffs));
	assert_int_equal(mount("bpf", w->bpffs, "bpf", 0, NULL), 0);
	programs_open(w);
	return w;
}

void world_reopen(struct world *w)
{
	programs_close(w);
	programs_open(w);
}

void world_close(struct world *w)
{
	struct err e = ERR_INIT;

	programs_close(w);
	must(dp_destroy(w->bpffs, INSTANCE, 0, &e), &e);
	assert_int_equal(umount(w->bpffs), 0);
	assert_int_equal(rmdir(w->bpffs), 0);
	free(w);
}

static void pin_of(const struct world *w, const char *name, char path[128])
{
	snprintf(path, 128, "%s/bailey/" INSTANCE "/v%d/%s", w->bpffs, BY_ABI_VERSION, name);
}

int world_map(const struct world *w, const char *name)
{
	char path[128];
	int fd;

	pin_of(w, name, path);
	fd = bpf_obj_get(path);
	assert_true(fd >= 0);
	return fd;
}

struct ct_map world_flows(const struct world *w)
{
	return (struct ct_map){ .fd4 = world_map(w, "by_ct4"), .fd6 = world_map(w, "by_ct6") };
}

bool world_has_pin(const struct world *w, const char *name)
{
	char path[128];

	pin_of(w, name, path);
	return access(path, F_OK) == 0;
}

struct dp_identity world_node(int n, uint32_t peer_class)
{
	struct dp_identity id = { .is_local = n == WEB, .peer_class = peer_class, .n_addrs = 2 };
	char text[ADDR_TEXT];

	memset(id.app_id, 0xa0 + n, sizeof(id.app_id));
	memset(id.instance_id, n, sizeof(id.instance_id));
	snprintf(id.node, sizeof(id.node), "node-%d", n);
	snprintf(text, sizeof(text), "100.64.0.%d", n);
	assert_true(addr_parse(&id.addrs[0], text));
	snprintf(text, sizeof(text), "fd00::%d", n);
	assert_true(addr_parse(&id.addrs[1], text));
	return id;
}

uint32_t world_join(struct world *w, int n, uint32_t peer_class)
{
	struct dp_identity id = world_node(n, peer_class);
	struct err e = ERR_INIT;
	uint32_t number = 0;

	must(dp_identity_set(w->dp, &id, &number, &e), &e);
	return number;
}

void world_cast(struct world *w)
{
	world_join(w, WEB, 0);
	world_join(w, DB, CLASS_DB);
	world_join(w, EVE, 0);
}

static int fresh_with(void **state, const struct dp_options *options)
{
	struct world *w = world_open_with(options);

	world_cast(w);
	*state = w;
	return 0;
}

int world_fresh(void **state)
{
	return fresh_with(state, &(struct dp_options){ 0 });
}

int world_fresh_small(void **state)
{
	return fresh_with(state, &(struct dp_options){ .sizes = dp_sizes_small });
}

int world_gone(void **state)
{
	world_close(*state);
	return 0;
}

void world_open_both(struct world *worlds[2], void (*allow)(struct world *w))
{
	for (int framed = 0; framed < 2; framed++) {
		worlds[framed] = world_open(framed ? 14 : 0);
		world_cast(worlds[framed]);
		allow(worlds[framed]);
	}
}

void world_close_both(struct world *worlds[2])
{
	world_close(worlds[0]);
	world_close(worlds[1]);
}

void world_commit(struct world *w, struct img *img)
{
	struct dp_identity db = world_node(DB, 0);
	struct err e = ERR_INIT;

	img_member(img, db.instance_id, CLASS_DB);
	must(dp_policy_commit(w->dp, img_done(img), &e), &e);
	img_free(img);
}

void world_allow(struct world *w, enum by_dir dir, uint32_t first, uint32_t last)
{
	struct img *img = img_new();

	img_rule(img, dir, first, last, CLASS_DB, BY_ALLOW);
	world_commit(w, img);
}

bool world_try_frame(struct world *w, enum by_dir dir, const struct frame *f, enum by_drop *got)
{
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = f->data, .data_size_in = (uint32_t)f->len, .repeat = 1);
	struct dp_status before, after;
	struct err e = ERR_INIT;
	int ret;

	must(dp_status_get(w->dp, &before, &e), &e);
	ret = bpf_prog_test_run_opts(w->prog[dir], &opts);
	if (ret == -EINVAL)
		return false;
	assert_int_equal(ret, 0);
	must(dp_status_get(w->dp, &after, &e), &e);
	*got = counted(&before, &after, dir);
	assert_int_equal((int)opts.retval, *got ? 2 : -1); /* TC_ACT_SHOT, or on to the next program */
	return true;
}

enum by_drop world_send_frame(struct world *w, enum by_dir dir, const struct frame *f)
{
	enum by_drop reason;

	assert_true(world_try_frame(w, dir, f, &reason));
	return reason;
}

enum by_drop world_send(struct world *w, enum by_dir dir, const struct pkt *p)
{
	struct frame f;

	frame_build(&f, p);
	return world_send_frame(w, dir, &f);
}
