// SPDX-License-Identifier: Apache-2.0
#include "guard.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "internal.h"
#include "skel/guard.skel.h"

struct dp_guard {
	struct guard_bpf *skel;
	char dir[DIR_LEN];
	uint64_t id[DP_GUARD_CGROUPS]; /* of the cgroups that the programs are on */
	uint32_t n_cgroups;
	int n_cpus;
};

void dp_guard_close(struct dp_guard *g)
{
	if (!g)
		return;
	guard_bpf__destroy(g->skel);
	free(g);
}

static int load(struct dp_guard *g, struct err *e)
{
	char overlay[DIR_LEN];
	int ret;

	snprintf(overlay, sizeof(overlay), "%s", g->dir);
	*strrchr(overlay, '/') = '\0';
	g->skel = guard_bpf__open();
	if (!g->skel)
		return kernel_refused(e, -errno, "BPF object");
	ret = maps_borrow(overlay, g->skel->obj, e);
	if (!ret)
		ret = maps_adopt(g->dir, g->skel->obj, e);
	if (ret)
		return ret;
	ret = guard_bpf__load(g->skel);
	return ret ? kernel_refused(e, ret, "the kernel refused the BPF programs that guard a mesh")
		   : maps_pin_all(g->dir, overlay, g->skel->obj, e);
}

int dp_guard_open(const char *bpffs, const char *instance, struct dp_guard **out, struct err *e)
{
	struct dp_guard *g = calloc(1, sizeof(*g));
	int ret;

	if (!g)
		return err_at(e, -ENOMEM, NULL, "out of memory");
	dp_libbpf_quiet();
	g->n_cpus = libbpf_num_possible_cpus();
	ret = g->n_cpus < 0 ? err_at(e, g->n_cpus, NULL, "number of CPUs is unknown")
			    : pin_dir_make(bpffs, instance, PIN_GUARD, g->dir, e);
	if (!ret)
		ret = load(g, e);
	if (ret) {
		dp_guard_close(g);
		return ret;
	}
	*out = g;
	return 0;
}

/* A cgroup that is not there is one whose service does not run. */
static int attach_all(struct dp_guard *g, const char *path, uint64_t *id, struct err *e)
{
	struct bpf_program *prog;
	struct cgroup at;
	int ret;

	*id = 0;
	if (access(path, F_OK) < 0 && errno == ENOENT)
		return 0;
	ret = cgroup_open(path, &at, e);
	if (ret)
		return ret;
	bpf_object__for_each_program(prog, g->skel->obj)
	{
		if (!ret)
			ret = cgroup_attach(g->dir, prog, &at, path, e);
	}
	*id = at.id;
	close(at.fd);
	return ret;
}

static bool is_named(uint64_t cgroup, const char *prog, const void *arg)
{
	const struct dp_guard *g = arg;

	(void)prog;
	for (uint32_t i = 0; i < g->n_cgroups; i++)
		if (g->id[i] == cgroup)
			return true;
	return false;
}

int dp_guard_set(struct dp_guard *g, const struct dp_guard_conf *conf, struct err *e)
{
	int ret = 0;

	if (conf->n_cgroups > DP_GUARD_CGROUPS)
		return err_at(e, -E2BIG, "mesh", "more than %d cgroups", DP_GUARD_CGROUPS);
	g->n_cgroups = conf->n_cgroups;
	for (uint32_t i = 0; i < conf->n_cgroups && !ret; i++)
		ret = attach_all(g, conf->cgroup[i], &g->id[i], e);
	if (!ret)
		ret = cgroup_prune(g->dir, is_named, g, e);
	return ret ? ret : guard_supersede(g->dir, e); /* whose programs were on the same cgroups until here */
}

bool dp_guard_is_placed(const struct dp_guard *g, const struct dp_guard_conf *conf)
{
	bool is_placed = g->n_cgroups == conf->n_cgroups;

	for (uint32_t i = 0; is_placed && i < conf->n_cgroups; i++)
		is_placed = g->id[i] ? cgroup_is(conf->cgroup[i], g->id[i]) : access(conf->cgroup[i], F_OK) < 0;
	return is_placed;
}

int dp_guard_status(struct dp_guard *g, struct dp_guard_status *st, struct err *e)
{
	auto_free struct by_counter *each = calloc((size_t)g->n_cpus, sizeof(*each));
	int fd = bpf_map__fd(g->skel->maps.by_leg_stat);

	*st = (struct dp_guard_status){ 0 };
	for (uint32_t i = 0; i < g->n_cgroups; i++)
		st->n_cgroups += g->id[i] != 0;
	if (!each)
		return err_at(e, -ENOMEM, NULL, "out of memory");
	for (uint32_t key = 0; key < BY_DIR_COUNT * BY_MAX_REASONS; key++) {
		struct by_counter *sum = &st->dropped[key % BY_MAX_REASONS];

		if (bpf_map_lookup_elem(fd, &key, each) < 0)
			return err_at(e, -errno, "by_leg_stat", "can not be read: %s", strerror(errno));
		for (int i = 0; i < g->n_cpus; i++) {
			sum->packets += each[i].packets;
			sum->bytes += each[i].bytes;
		}
	}
	return 0;
}

int guard_remove(const char *version, struct err *e)
{
	char path[PATH_LEN];
	int ret;

	pin_path(path, version, PIN_GUARD);
	if (access(path, F_OK) < 0)
		return 0;
	ret = cgroup_prune(path, NULL, NULL, e);
	return ret ? ret : version_dir_remove(path, e);
}
