// SPDX-License-Identifier: Apache-2.0
#include "divert.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <dirent.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bailey/conf.h"
#include "internal.h"
#include "skel/sock.skel.h"

#define DEVICE_PREFIX "d-"
#define ETHERNET      14

struct dp_divert {
	struct sock_bpf *skel;
	char dir[DIR_LEN];
	uint64_t id[DP_DIVERT_CGROUPS], proxy; /* of the cgroups that the programs are on; 0: none */
	uint32_t n_cgroups;
	unsigned ifindex[DP_DIVERT_DEVICES]; /* 0: it is not there */
	uint32_t n_devices;
};

void dp_divert_close(struct dp_divert *d)
{
	if (!d)
		return;
	sock_bpf__destroy(d->skel);
	free(d);
}

/* --- loading ----------------------------------------------------------------------------------------------- */

static int load(struct dp_divert *d, struct err *e)
{
	int ret;

	d->skel = sock_bpf__open();
	if (!d->skel)
		return kernel_refused(e, -errno, "BPF object");
	d->skel->rodata->conf.l3_offset = ETHERNET;
	ret = maps_adopt(d->dir, d->skel->obj, e);
	if (ret)
		return ret;
	ret = sock_bpf__load(d->skel);
	return ret ? kernel_refused(e, ret, "the kernel refused the BPF programs of capture")
		   : maps_pin_all(d->dir, NULL, d->skel->obj, e);
}

int dp_divert_open(const char *bpffs, const char *instance, struct dp_divert **out, struct err *e)
{
	struct dp_divert *d = calloc(1, sizeof(*d));
	int ret;

	if (!d)
		return err_at(e, -ENOMEM, NULL, "out of memory");
	dp_libbpf_quiet();
	ret = pin_dir_make(bpffs, instance, PIN_DIVERT, d->dir, e);
	if (!ret)
		ret = load(d, e);
	if (ret) {
		dp_divert_close(d);
		return ret;
	}
	*out = d;
	return 0;
}

/* --- rules ------------------------------------------------------------------------------------------------- */

static struct by_divert_key key_of(const struct dp_divert_rule *r)
{
	uint32_t bits = addr_is_v4(&r->net.addr) ? 96u + r->net.bits : r->net.bits;

	return (struct by_divert_key){ .prefix_len = BY_DIVERT_BITS + bits,
				       .l4_proto = r->l4_proto,
				       .port_be = htons(r->port),
				       .addr = r->net.addr };
}

static bool same_key(const struct by_divert_key *a, const struct by_divert_key *b)
{
	return memcmp(a, b, sizeof(*a)) == 0;
}

static int rule_check(const struct dp_divert_rule *r, struct err *e)
{
	if (r->l4_proto != IPPROTO_TCP && r->l4_proto != IPPROTO_UDP)
		return err_at(e, -EINVAL, "capture", "protocol %u is neither TCP nor UDP", r->l4_proto);
	if (addr_is_v4(&r->net.addr) != addr_is_v4(&r->to))
		return err_at(e, -EINVAL, "capture",
			      "an address of one family can not be dialled for one of the other");
	return 0;
}

static int rules_write(struct dp_divert *d, const struct dp_divert_conf *conf, struct err *e)
{
	int fd = bpf_map__fd(d->skel->maps.by_divert);

	for (uint32_t i = 0; i < conf->n_rules; i++) {
		const struct dp_divert_rule *r = &conf->rule[i];
		struct by_divert_key key = key_of(r);
		struct by_divert value = { .addr = r->to, .port_be = htons(r->to_port), .is_peer = r->is_peer };
		int ret = rule_check(r, e);

		if (ret)
			return ret;
		if (bpf_map_update_elem(fd, &key, &value, BPF_ANY) < 0)
			return err_at(e, -errno, "by_divert", "can not be written: %s", strerror(errno));
	}
	return 0;
}

struct keep {
	const struct dp_divert_conf *conf;
	int fd;
	uint32_t n;
};

static int drop_unnamed(const void *key, const void *value, void *arg)
{
	struct keep *keep = arg;

	(void)value;
	keep->n++;
	for (uint32_t i = 0; keep->conf && i < keep->conf->n_rules; i++) {
		struct by_divert_key named = key_of(&keep->conf->rule[i]);

		if (same_key(key, &named))
			return 0;
	}
	return keep->conf && bpf_map_delete_elem(keep->fd, key) < 0 ? -errno : 0;
}

static int rules_walk(struct dp_divert *d, struct keep *keep, struct err *e)
{
	int ret;

	keep->fd = bpf_map__fd(d->skel->maps.by_divert);
	ret = map_walk(keep->fd, sizeof(struct by_divert_key), sizeof(struct by_divert), drop_unnamed, keep);
	return ret ? err_at(e, ret, "by_divert", "can not be read: %s", strerror(-ret)) : 0;
}

/* --- cgroups ----------------------------------------------------------------------------------------------- */

/* All programs but the proxy's, or that one alone. */
static int attach_all(struct dp_divert *d, const char *path, bool is_proxy, uint64_t *id, struct err *e)
{
	struct bpf_program *prog;
	struct cgroup at;
	int ret = cgroup_open(path, &at, e);

	if (ret)
		return ret;
	bpf_object__for_each_program(prog, d->skel->obj)
	{
		if (!ret && prog != d->skel->progs.by_assign && (prog == d->skel->progs.by_getsockopt) == is_proxy)
			ret = cgroup_attach(d->dir, prog, &at, path, e);
	}
	*id = at.id;
	close(at.fd);
	return ret;
}

struct named {
	const uint64_t *id;
	size_t n;
	uint64_t proxy;
};

static bool is_named(uint64_t cgroup, const char *prog, const void *arg)
{
	const struct named *named = arg;

	if (strcmp(prog, "by_getsockopt") == 0)
		return named->proxy == cgroup;
	for (size_t i = 0; i < named->n; i++)
		if (named->id[i] == cgroup)
			return true;
	return false;
}

/* --- devices ----------------------------------------------------------------------------------------------- */

DEFINE_CLEANUP(dp, struct dp, free)

/* A device has a directory, "d-7", with a link in it as an overlay has one; none where tc has no links. */
static int device_attach(struct dp_divert *d, unsigned ifindex, struct err *e)
{
	auto_call(cleanup_dp) struct dp *dp = calloc(1, sizeof(*dp));
	char name[32];

	if (!dp)
		return err_at(e, -ENOMEM, NULL, "out of memory");
	snprintf(name, sizeof(name), DEVICE_PREFIX "%u", ifindex);
	snprintf(dp->dir, sizeof(dp->dir), "%.200s/%s", d->dir, name);
	if (mkdir(dp->dir, 0700) < 0 && errno != EEXIST)
		return err_at(e, -errno, dp->dir, "%s", strerror(errno));
	dp->prog[BY_DIR_IN] = bpf_program__fd(d->skel->progs.by_assign);
	return attach_one(dp, BY_DIR_IN, ifindex, e);
}

static int devices_prune(const char *dir, const unsigned *ifindex, size_t n, struct err *e)
{
	char path[PATH_LEN];
	struct dirent *file;
	DIR *at = opendir(dir);
	int ret = 0;

	if (!at)
		return err_at(e, -errno, dir, "%s", strerror(errno));
	while (!ret && (file = readdir(at))) {
		bool is_named = false;
		unsigned of;

		if (sscanf(file->d_name, DEVICE_PREFIX "%u", &of) != 1)
			continue;
		for (size_t i = 0; i < n; i++)
			is_named |= ifindex[i] == of;
		if (is_named)
			continue;
		pin_path(path, dir, file->d_name);
		ret = attach_remove(path, of, e);
		if (!ret)
			ret = version_dir_remove(path, e);
	}
	closedir(at);
	return ret;
}

static int devices_set(struct dp_divert *d, const struct dp_divert_conf *conf, struct err *e)
{
	int ret = 0;

	d->n_devices = conf->n_devices;
	for (uint32_t i = 0; !ret && i < conf->n_devices; i++) {
		d->ifindex[i] = if_nametoindex(conf->device[i]);
		if (d->ifindex[i])
			ret = device_attach(d, d->ifindex[i], e);
	}
	return ret ? ret : devices_prune(d->dir, d->ifindex, d->n_devices, e);
}

bool dp_divert_is_placed(const struct dp_divert *d, const struct dp_divert_conf *conf)
{
	bool is_placed = !conf->proxy_cgroup[0] || cgroup_is(conf->proxy_cgroup, d->proxy);

	for (uint32_t i = 0; is_placed && i < conf->n_cgroups; i++)
		is_placed = cgroup_is(conf->cgroup[i], d->id[i]);
	for (uint32_t i = 0; is_placed && i < conf->n_devices; i++)
		is_placed = if_nametoindex(conf->device[i]) == d->ifindex[i];
	return is_placed && d->n_cgroups == conf->n_cgroups && d->n_devices == conf->n_devices;
}

int dp_divert_set(struct dp_divert *d, const struct dp_divert_conf *conf, struct err *e)
{
	struct keep keep = { .conf = conf };
	int ret;

	if (conf->n_cgroups > DP_DIVERT_CGROUPS || conf->n_devices > DP_DIVERT_DEVICES ||
	    conf->n_rules > DP_DIVERT_RULES)
		return err_at(e, -E2BIG, "capture", "more than %d cgroups, %d devices or %d rules", DP_DIVERT_CGROUPS,
			      DP_DIVERT_DEVICES, DP_DIVERT_RULES);
	d->proxy = 0;
	ret = rules_write(d, conf, e);
	if (!ret)
		ret = rules_walk(d, &keep, e);
	if (!ret && conf->proxy_cgroup[0])
		ret = attach_all(d, conf->proxy_cgroup, true, &d->proxy, e);
	for (uint32_t i = 0; !ret && i < conf->n_cgroups; i++)
		ret = attach_all(d, conf->cgroup[i], false, &d->id[i], e);
	if (!ret)
		ret = devices_set(d, conf, e);
	if (ret)
		return ret;
	d->n_cgroups = conf->n_cgroups;
	ret = cgroup_prune(d->dir, is_named, &(struct named){ d->id, conf->n_cgroups, d->proxy }, e);
	return ret ? ret : divert_supersede(d->dir, e); /* whose programs were on the same cgroups until here */
}

/* --- what it did ------------------------------------------------------------------------------------------- */

static int stat_sum(struct dp_divert *d, uint32_t what, uint64_t *sum)
{
	int n_cpus = libbpf_num_possible_cpus();
	auto_free uint64_t *each = calloc(n_cpus > 0 ? (size_t)n_cpus : 1, sizeof(*each));

	*sum = 0;
	if (!each || bpf_map_lookup_elem(bpf_map__fd(d->skel->maps.by_divert_stat), &what, each) < 0)
		return each ? -errno : -ENOMEM;
	for (int i = 0; i < n_cpus; i++)
		*sum += each[i];
	return 0;
}

static int origin_count(const struct by_origin_key *key, const struct by_origin *origin, void *arg)
{
	(void)key, (void)origin;
	++*(uint32_t *)arg;
	return 0;
}

int dp_divert_status(struct dp_divert *d, struct dp_divert_status *st, struct err *e)
{
	struct keep keep = { 0 };
	struct dp_place at = { 0 };
	int ret = rules_walk(d, &keep, e);

	*st = (struct dp_divert_status){ .n_cgroups = d->n_cgroups, .n_rules = keep.n };
	for (uint32_t i = 0; i < d->n_devices; i++)
		st->n_devices += d->ifindex[i] != 0;
	while (!ret && !at.is_over)
		ret = dp_divert_origins(d, &at, 4096, origin_count, &st->n_origins, e);
	for (uint32_t i = 0; !ret && i < BY_DIVERT_STATS; i++)
		ret = stat_sum(d, i, &st->count[i]);
	return ret ? err_at(e, ret, "by_divert_stat", "can not be read: %s", strerror(-ret)) : 0;
}

struct origin_walk {
	dp_origin_fn fn;
	void *arg;
};

static int origin_visit(const void *key, const void *value, void *arg)
{
	const struct origin_walk *w = arg;

	return w->fn(key, value, w->arg);
}

int dp_divert_origins(struct dp_divert *d, struct dp_place *at, uint32_t chunk, dp_origin_fn fn, void *arg,
		      struct err *e)
{
	struct origin_walk w = { fn, arg };
	int ret = map_walk_on(bpf_map__fd(d->skel->maps.by_origin), sizeof(struct by_origin_key),
			      sizeof(struct by_origin), at, chunk, origin_visit, &w);

	return ret < 0 ? err_at(e, ret, "by_origin", "can not be read: %s", strerror(-ret)) : ret;
}

bool dp_divert_has_devices(const char *bpffs, const char *instance)
{
	char dir[DIR_LEN], path[PATH_LEN];
	struct err e = ERR_INIT;
	bool has_devices = false;
	struct dirent *file;
	DIR *at;

	if (instance_dir(bpffs, instance, dir, &e) < 0)
		return false;
	snprintf(path, sizeof(path), "%s/v%d/" PIN_DIVERT, dir, BY_ABI_VERSION);
	at = opendir(path);
	while (at && (file = readdir(at)))
		has_devices |= strncmp(file->d_name, DEVICE_PREFIX, strlen(DEVICE_PREFIX)) == 0;
	if (at)
		closedir(at);
	return has_devices;
}

/* --- the end ----------------------------------------------------------------------------------------------- */

int divert_remove(const char *version, struct err *e)
{
	char path[PATH_LEN];
	int ret;

	pin_path(path, version, PIN_DIVERT);
	if (access(path, F_OK) < 0)
		return 0;
	ret = cgroup_prune(path, NULL, NULL, e);
	if (!ret)
		ret = devices_prune(path, NULL, 0, e);
	return ret ? ret : version_dir_remove(path, e);
}
