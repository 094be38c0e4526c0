// SPDX-License-Identifier: Apache-2.0
/*
 * Programs and maps into the kernel. Programs are always this build's: they are loaded afresh and the pins renamed
 * over; those that a device runs stay until dp_attach() swaps them. Maps are the state and are adopted as they are,
 * provided that they are shaped as this build expects.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bailey/conf.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "internal.h"
#include "skel/tc.skel.h"

#define VLAN_MAX 4094

static char libbpf_said[256];

static int libbpf_print(enum libbpf_print_level level, const char *fmt, va_list ap)
{
	char line[512];
	size_t len;

	vsnprintf(line, sizeof(line), fmt, ap);
	len = strcspn(line, "\n");
	line[len] = '\0';
	if (level == LIBBPF_WARN && strncmp(line, "libbpf: -- ", 11) != 0)
		snprintf(libbpf_said, sizeof(libbpf_said), "%.255s", line);
	if (level != LIBBPF_DEBUG && len)
		log_debug("%s", line);
	return 0;
}

void dp_libbpf_quiet(void)
{
	libbpf_said[0] = '\0';
	libbpf_set_print(libbpf_print);
}

const char *dp_libbpf_said(void)
{
	return libbpf_said;
}

int kernel_refused(struct err *e, int code, const char *what)
{
	if (code == -EPERM || code == -EACCES)
		return err_at(e, code, what, "%s: CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON are needed", strerror(-code));
	return err_at(e, code, what, "%s%s%s", strerror(-code), libbpf_said[0] ? "; " : "", libbpf_said);
}

/* A pinned map is taken as it is, or not at all: a map of another shape would be read as something it is not. */
static int shape_check(const struct bpf_map *map, const struct bpf_map_info *in, const char *path, struct err *e)
{
	const struct {
		const char *what;
		uint32_t pinned, needed;
	} c[] = {
		{ "type", in->type, bpf_map__type(map) },
		{ "key size", in->key_size, bpf_map__key_size(map) },
		{ "value size", in->value_size, bpf_map__value_size(map) },
		{ "max_entries", in->max_entries, bpf_map__max_entries(map) },
		{ "flags", in->map_flags, bpf_map__map_flags(map) },
	};

	for (size_t i = 0; i < ARRAY_LEN(c); i++)
		if (c[i].pinned != c[i].needed)
			return err_at(e, -ESTALE, path,
				      "pinned by another build or with other sizes: %s is %u, needed: %u; remove the "
				      "instance first",
				      c[i].what, c[i].pinned, c[i].needed);
	return 0;
}

static int map_adopt(struct bpf_map *map, const char *dir, struct err *e)
{
	struct bpf_map_info info = { 0 };
	__u32 len = sizeof(info);
	char path[PATH_LEN];
	auto_fd int fd = -1;
	int ret;

	pin_path(path, dir, bpf_map__name(map));
	fd = bpf_obj_get(path);
	if (fd < 0)
		return errno == ENOENT ? 0 : err_at(e, -errno, path, "%s", strerror(errno));
	if (bpf_obj_get_info_by_fd(fd, &info, &len) < 0)
		return err_at(e, -errno, path, "is no map: %s", strerror(errno));
	ret = shape_check(map, &info, path, e);
	if (ret < 0)
		return ret;
	ret = bpf_map__reuse_fd(map, fd);
	return ret < 0 ? err_at(e, ret, path, "%s", strerror(-ret)) : 0;
}

int maps_adopt(const char *dir, struct bpf_object *obj, struct err *e)
{
	struct bpf_map *map;

	bpf_object__for_each_map(map, obj)
	{
		int ret = bpf_map__is_internal(map) ? 0 : map_adopt(map, dir, e);

		if (ret < 0)
			return ret;
	}
	return 0;
}

/* What lies in the directory of one version has the layout of that version: sizes alone may differ. */
int maps_borrow(const char *dir, struct bpf_object *obj, struct err *e)
{
	struct bpf_map *map;
	char path[PATH_LEN];

	bpf_object__for_each_map(map, obj)
	{
		auto_fd int fd = -1;
		int ret;

		pin_path(path, dir, bpf_map__name(map));
		if (bpf_map__is_internal(map) || (fd = bpf_obj_get(path)) < 0)
			continue;
		ret = bpf_map__reuse_fd(map, fd);
		if (ret < 0)
			return err_at(e, ret, path, "%s", strerror(-ret));
	}
	return 0;
}

int maps_pin_all(const char *dir, const char *borrowed, struct bpf_object *obj, struct err *e)
{
	struct bpf_map *map;
	char path[PATH_LEN];

	bpf_object__for_each_map(map, obj)
	{
		if (bpf_map__is_internal(map))
			continue;
		if (borrowed) {
			pin_path(path, borrowed, bpf_map__name(map));
			if (access(path, F_OK) == 0)
				continue;
		}
		pin_path(path, dir, bpf_map__name(map));
		if (access(path, F_OK) < 0 && bpf_obj_pin(bpf_map__fd(map), path) < 0)
			return err_at(e, -errno, path, "can not be pinned: %s", strerror(errno));
	}
	return 0;
}

static int map_pin(struct dp *dp, enum dp_map i, struct err *e)
{
	char path[PATH_LEN];

	const struct bpf_map *map = bpf_object__find_map_by_name(dp->obj, dp_map_name[i]);

	dp->map[i] = map ? bpf_map__fd(map) : -1;
	if (!map) /* another sort of datapath has it */
		return 0;
	pin_path(path, dp->dir, dp_map_name[i]);
	if (access(path, F_OK) < 0 && bpf_obj_pin(dp->map[i], path) < 0)
		return err_at(e, -errno, path, "can not be pinned: %s", strerror(errno));
	return 0;
}

int prog_pin(struct dp *dp, int fd, const char *name, struct err *e)
{
	int ret = pin_replace(fd, dp->dir, name);

	return ret < 0 ? err_at(e, ret, name, "can not be pinned: %s", strerror(-ret)) : 0;
}

int maps_pin(struct dp *dp, struct err *e)
{
	int ret = 0;

	for (int i = 0; i < MAP_COUNT && !ret; i++)
		ret = map_pin(dp, (enum dp_map)i, e);
	return ret;
}

int progs_pin(struct dp *dp, const char *const *prog_name, const char *const *ask_name, struct err *e)
{
	for (int dir = 0; dir < BY_DIR_COUNT; dir++) {
		int ret = prog_pin(dp, dp->prog[dir], prog_name[dir], e);

		if (!ret)
			ret = prog_pin(dp, dp->ask[dir], ask_name[dir], e);
		if (ret < 0)
			return ret;
	}
	return 0;
}

static int map_memory(struct dp *dp, enum dp_map map, size_t size, void **at, struct err *e)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, dp->map[map], 0);

	if (p == MAP_FAILED)
		return err_at(e, -errno, dp_map_name[map], "can not be mapped: %s", strerror(errno));
	*at = p;
	return 0;
}

#define PORT_BYTES (BY_SLOTS * BY_PORT_SPACE * sizeof(struct port_cell))

static bool has_mac(const struct dp_options *o)
{
	static const uint8_t none[sizeof(o->mac)];

	return memcmp(o->mac, none, sizeof(none)) != 0;
}

static void constants_set(struct dp *dp)
{
	dp->skel->rodata->conf.l3_offset = dp->options.l3_offset;
	dp->skel->rodata->conf.events_per_sec = EVENTS_PER_SEC;
	dp->skel->rodata->conf.captures_per_sec = CAPTURES_PER_SEC;
	dp->skel->rodata->conf.has_pairs = !dp->options.no_pairs;
	memcpy(dp->skel->rodata->conf.vlan, dp->options.vlan, sizeof(dp->options.vlan));
	memcpy(dp->skel->rodata->conf.mac, dp->options.mac, sizeof(dp->options.mac));
	dp->skel->rodata->conf.has_mac = has_mac(&dp->options);
	dp->skel->rodata->conf.is_workload = dp->options.is_workload;
	dp->skel->rodata->conf.topology = (uint8_t)dp->options.topology;
}

static int load_tc(struct dp *dp, struct err *e)
{
	int ret;

	dp->skel = tc_bpf__open();
	if (!dp->skel)
		return kernel_refused(e, -errno, "BPF object");
	dp->obj = dp->skel->obj;
	constants_set(dp);
	ret = sizes_set(dp, e);
	if (!ret)
		ret = maps_adopt(dp->dir, dp->obj, e);
	if (ret < 0)
		return ret;
	ret = tc_bpf__load(dp->skel);
	if (ret < 0)
		return kernel_refused(e, ret, "the kernel refused the BPF programs");
	dp->prog[BY_DIR_IN] = bpf_program__fd(dp->skel->progs.by_tc_in);
	dp->prog[BY_DIR_OUT] = bpf_program__fd(dp->skel->progs.by_tc_out);
	dp->ask[BY_DIR_IN] = bpf_program__fd(dp->skel->progs.by_ask_in);
	dp->ask[BY_DIR_OUT] = bpf_program__fd(dp->skel->progs.by_ask_out);
	ret = maps_pin(dp, e);
	return ret ? ret : progs_pin(dp, dp_prog_name, dp_ask_name, e);
}

static int memory_map(struct dp *dp, struct err *e)
{
	int ret = map_memory(dp, MAP_GEN, sizeof(struct by_gen), (void **)&dp->gen, e);
	if (!ret)
		ret = map_memory(dp, MAP_PORT, PORT_BYTES, (void **)&dp->port, e);
	return ret;
}

static int rule_tally(const void *key, const void *value, void *arg)
{
	const struct by_rule_key *k = key;
	struct dp *dp = arg;

	if (k->slot >= BY_SLOTS)
		return 0;
	dp->n_rules[k->slot]++;
	return rated_add(dp, k->slot, k->rule, value);
}

/* The former process may have died between a new class and the generation that makes flows be judged by it. */
static int recover(struct dp *dp, struct err *e)
{
	int ret = map_walk(dp->map[MAP_RULE], sizeof(struct by_rule_key), sizeof(struct by_rule), rule_tally, dp);

	if (ret < 0)
		return err_at(e, ret, dp_map_name[MAP_RULE], "can not be read: %s", strerror(-ret));
	ret = capture_switch(dp, 0); /* whoever captured is gone */
	if (ret < 0)
		return err_at(e, ret, dp_map_name[MAP_SWITCH], "can not be written: %s", strerror(-ret));
	ret = dp->host ? 0 : identity_recover(dp, e);
	if (!ret)
		gen_bump(dp);
	return ret;
}

static int options_check(const struct dp_options *o, struct err *e)
{
	if (o->l3_offset != 0 && o->l3_offset != 14)
		return err_at(e, -EINVAL, "l3_offset", "is %u, needed: 0 (WireGuard, TUN) or 14 (Ethernet)",
			      o->l3_offset);
	if (!o->l3_offset && (o->vlan[0] || o->vlan[1] || has_mac(o)))
		return err_at(e, -EINVAL, "device", "has no frames, and so no VLAN tags or MAC");
	for (int i = 0; i < 2; i++)
		if (o->vlan[i] > VLAN_MAX)
			return err_at(e, -EINVAL, "vlan", "is %u, needed: 1 to %d", o->vlan[i], VLAN_MAX);
	if (o->vlan[1] && !o->vlan[0])
		return err_at(e, -EINVAL, "vlan", "inner tag %u without an outer one", o->vlan[1]);
	return 0;
}

DEFINE_CLEANUP(dp, struct dp, dp_close)

int dp_make(const char *bpffs, const char *instance, const char *sub, const struct dp_options *options,
	    int (*load)(struct dp *dp, struct err *e), struct dp **out, struct err *e)
{
	auto_call(cleanup_dp) struct dp *dp = calloc(1, sizeof(*dp));
	int ret;

	if (!dp)
		return err_at(e, -ENOMEM, NULL, "out of memory");
	if (options)
		dp->options = *options;
	ret = options_check(&dp->options, e);
	if (ret < 0)
		return ret;
	dp->attach_mode = "none";
	dp_libbpf_quiet();
	dp->n_cpus = libbpf_num_possible_cpus();
	if (dp->n_cpus < 0)
		return err_at(e, dp->n_cpus, NULL, "number of CPUs is unknown");
	ret = pin_dir_make(bpffs, instance, sub, dp->dir, e);
	dp->version_at = strlen(bpffs) + strlen("/bailey/") + strlen(instance);
	if (!ret)
		ret = load(dp, e);
	if (!ret)
		ret = memory_map(dp, e);
	if (!ret)
		ret = recover(dp, e);
	if (ret < 0)
		return ret;
	*out = take_ptr(dp);
	return 0;
}

int dp_open(const char *bpffs, const char *instance, const struct dp_options *options, struct dp **out, struct err *e)
{
	return dp_make(bpffs, instance, NULL, options, load_tc, out, e);
}

int dp_workload_open(const char *bpffs, const char *instance, const char *name, const struct dp_options *options,
		     struct dp **out, struct err *e)
{
	char sub[sizeof(PIN_WORKLOAD) + WORKLOAD_NAME_MAX];

	if (!name_is_valid(name, WORKLOAD_NAME_MAX))
		return err_at(e, -EINVAL, name, "a name is 1 to %d of a-z, 0-9 and '-'", WORKLOAD_NAME_MAX);
	if (!options->is_workload)
		return err_at(e, -EINVAL, name, "is_workload is not set");
	snprintf(sub, sizeof(sub), PIN_WORKLOAD "%s", name);
	return dp_make(bpffs, instance, sub, options, load_tc, out, e);
}

void dp_close(struct dp *dp)
{
	if (!dp)
		return;
	dp_capture_close(dp);
	ring_buffer__free(dp->ring);
	if (dp->gen)
		munmap(dp->gen, sizeof(*dp->gen));
	if (dp->port)
		munmap(dp->port, PORT_BYTES);
	for (uint32_t slot = 0; slot < BY_SLOTS; slot++)
		rated_clear(dp, slot);
	table_fini(&dp->table);
	tc_bpf__destroy(dp->skel);
	host_close(dp->host);
	free(dp);
}
