// SPDX-License-Identifier: Apache-2.0
/* What this kernel has of what the programs use, asked of the kernel itself; and whose programs are on a device. */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/if_link.h>
#include <linux/magic.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "internal.h"

#define PROGRAMS_MAX 64

static const struct {
	enum bpf_prog_type type;
	const char *name, *used_for;
	bool is_needed;
} programs[] = {
	{ BPF_PROG_TYPE_SCHED_CLS, "tc programs", "the overlay", true },
	{ BPF_PROG_TYPE_XDP, "XDP programs", "the host firewall (else tc)", false },
	{ BPF_PROG_TYPE_EXT, "replaced functions", "the host firewall beside other XDP programs", false },
	{ BPF_PROG_TYPE_CGROUP_SOCK_ADDR, "cgroup socket programs", "capture", false },
};

static const struct {
	enum bpf_map_type type;
	const char *name;
	bool is_needed;
} maps[] = {
	{ BPF_MAP_TYPE_HASH, "hash maps", true },       { BPF_MAP_TYPE_PERCPU_ARRAY, "per-CPU maps", true },
	{ BPF_MAP_TYPE_LRU_HASH, "LRU maps", true },    { BPF_MAP_TYPE_LPM_TRIE, "prefix maps", true },
	{ BPF_MAP_TYPE_RINGBUF, "ring buffers", true }, { BPF_MAP_TYPE_SK_STORAGE, "socket storage", false },
};

static const struct {
	enum bpf_prog_type program;
	enum bpf_func_id helper;
	const char *name, *used_for;
	bool is_needed;
} helpers[] = {
	{ BPF_PROG_TYPE_SCHED_CLS, BPF_FUNC_ringbuf_reserve, "events", "drops, flows", true },
	{ BPF_PROG_TYPE_SCHED_CLS, BPF_FUNC_skb_load_bytes, "packet bytes", "the overlay", true },
	{ BPF_PROG_TYPE_XDP, BPF_FUNC_xdp_load_bytes, "XDP packet bytes", "the host firewall", false },
	{ BPF_PROG_TYPE_XDP, BPF_FUNC_tcp_gen_syncookie, "SYN cookies", "the host firewall", false },
};

/* A kernel without tcx does not know the kind of attachment. */
static int has_tcx(void)
{
	__u32 ids[1], n = 1;

	if (bpf_prog_query((int)if_nametoindex("lo"), (enum bpf_attach_type)ATTACH_TCX_INGRESS, 0, NULL, ids, &n) ==
		    0 ||
	    errno == ENOSPC)
		return 1;
	return errno == EINVAL ? 0 : -errno;
}

static void say(const struct dp_features *f, const char *name, const char *used_for, bool is_needed, int has)
{
	struct dp_feature one = { .name = name, .used_for = used_for, .is_needed = is_needed, .has = has };

	f->fn(&one, f->arg);
}

void dp_features(const struct dp_features *f)
{
	struct statfs fs;

	dp_libbpf_quiet();
	for (size_t i = 0; i < ARRAY_LEN(programs); i++)
		say(f, programs[i].name, programs[i].used_for, programs[i].is_needed,
		    libbpf_probe_bpf_prog_type(programs[i].type, NULL));
	for (size_t i = 0; i < ARRAY_LEN(maps); i++)
		say(f, maps[i].name, maps[i].is_needed ? "the overlay" : "capture", maps[i].is_needed,
		    libbpf_probe_bpf_map_type(maps[i].type, NULL));
	for (size_t i = 0; i < ARRAY_LEN(helpers); i++)
		say(f, helpers[i].name, helpers[i].used_for, helpers[i].is_needed,
		    libbpf_probe_bpf_helper(helpers[i].program, helpers[i].helper, NULL));
	say(f, "tcx", "programs changed without a gap (else clsact filters, replaced at once)", false, has_tcx());
	say(f, "BTF", "bpftool's names for what the maps hold", false, access("/sys/kernel/btf/vmlinux", R_OK) == 0);
	say(f, "a BPF file system", "pins (baileyd mounts one)", false,
	    statfs("/sys/fs/bpf", &fs) == 0 && fs.f_type == BPF_FS_MAGIC);
}

/* --- programs of others --- */

/* Ours begin with it, and the dispatcher is libxdp's, which runs ours among others'. */
static bool is_ours(const char *name)
{
	return strncmp(name, "by_", 3) == 0 || strcmp(name, "xdp_dispatcher") == 0;
}

/* One of ours judges a hook; a second one is another instance's, or of ours with pins that we can not see. */
static void tell(uint32_t id, const char *hook, unsigned *n_ours,
		 void (*fn)(const char *hook, const char *name, uint32_t id, void *arg), void *arg)
{
	struct bpf_prog_info info = { 0 };
	__u32 len = sizeof(info);
	auto_fd int fd = bpf_prog_get_fd_by_id(id);

	if (fd >= 0 && bpf_obj_get_info_by_fd(fd, &info, &len) == 0 && is_ours(info.name) && !(*n_ours)++)
		return;
	fn(hook, info.name[0] ? info.name : "?", id, arg);
}

void dp_foreign_programs(unsigned ifindex, void (*fn)(const char *hook, const char *name, uint32_t id, void *arg),
			 void *arg)
{
	static const char *const hook[] = { "tcx ingress", "tcx egress" };
	LIBBPF_OPTS(bpf_xdp_query_opts, xdp);
	__u32 ids[PROGRAMS_MAX];
	unsigned n_ours;

	for (int dir = 0; dir < 2; dir++) {
		__u32 n = PROGRAMS_MAX;

		n_ours = 0;
		if (bpf_prog_query((int)ifindex, (enum bpf_attach_type)(ATTACH_TCX_INGRESS + dir), 0, NULL, ids, &n) <
		    0)
			n = 0;
		for (__u32 i = 0; i < n; i++)
			tell(ids[i], hook[dir], &n_ours, fn, arg);
	}
	n_ours = 0;
	if (bpf_xdp_query((int)ifindex, 0, &xdp) == 0 && xdp.prog_id)
		tell(xdp.prog_id, "XDP", &n_ours, fn, arg);
}
