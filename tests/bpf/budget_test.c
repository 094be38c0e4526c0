// SPDX-License-Identifier: Apache-2.0
/*
 * How many instructions the verifier walked for each program on this kernel: a quarter of its limit is the budget, so
 * that a kernel that prunes less does not refuse what this one takes. Each program is loaded with everything turned on
 * that can be. The table goes to $BUILD/verifier/RELEASE; vmtest/run.sh shows it.
 */
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>

#include "../lib/world.h"
#include "bailey/conf.h"
#include "bailey/host.h"
#include "base/cleanup.h"
#include "skel/guard.skel.h"
#include "skel/host.skel.h"
#include "skel/tc.skel.h"
#include "skel/xdp.skel.h"

#define LIMIT         1000000ul
#define BUDGET        (LIMIT / 4)
#define LOG_STATS     4
#define LOG_BYTES     65536
#define SYNCOOKIE_GEN 204 /* bpf_tcp_raw_gen_syncookie_ipv4, 6.0 */

static FILE *table;

/* Everything that can be on a framed device, or on one of packets. */
static struct by_tc_conf all_on(uint32_t l3_offset)
{
	struct by_tc_conf c = {
		.l3_offset = l3_offset, .events_per_sec = 100, .captures_per_sec = 100, .has_pairs = 1
	};

	if (l3_offset) {
		c.vlan[0] = 5;
		c.vlan[1] = 6;
		c.has_mac = 1;
	}
	return c;
}

static struct by_host_conf host_on(void)
{
	struct by_host_limit some = { .each_ns = 1000000, .depth_ns = 100000000 };

	return (struct by_host_conf){
		.wg_port_be = 0x1234,
		.has_cookies = libbpf_probe_bpf_helper(BPF_PROG_TYPE_XDP, (enum bpf_func_id)SYNCOOKIE_GEN, NULL) == 1,
		.flows = some,
		.handshakes = some,
		.handshakes_total = some,
		.syns = some,
	};
}

/* "processed 4711 insns (limit 1000000) max_states_per_insn ..." */
static unsigned long insns_of(const char *log)
{
	const char *line = strstr(log, "processed ");

	return line ? strtoul(line + strlen("processed "), NULL, 10) : 0;
}

static void within_budget(struct bpf_object *obj, const char *what)
{
	struct bpf_program *prog;
	char *log[8] = { NULL };
	size_t n = 0;
	int ret;

	bpf_object__for_each_program(prog, obj)
	{
		assert_true(n < ARRAY_LEN(log));
		log[n] = calloc(1, LOG_BYTES);
		assert_non_null(log[n]);
		bpf_program__set_log_level(prog, LOG_STATS);
		bpf_program__set_log_buf(prog, log[n++], LOG_BYTES);
	}
	assert_true(n > 0);
	ret = bpf_object__load(obj);
	n = 0;
	bpf_object__for_each_program(prog, obj)
	{
		unsigned long insns = insns_of(log[n]);

		printf("# %-14s %-10s %7lu instructions, %4.1f %%\n", bpf_program__name(prog), what, insns,
		       100.0 * (double)insns / LIMIT);
		if (table)
			fprintf(table, "%-14s %-10s %7lu\n", bpf_program__name(prog), what, insns);
		if (ret)
			fail_msg("the kernel refused the program: %d\n%.2000s", ret, log[n]);
		assert_true(insns > 0);
		assert_true(insns <= BUDGET);
		free(log[n++]);
	}
}

static void overlay(void **state)
{
	struct tc_bpf *skel = tc_bpf__open();
	struct by_tc_conf conf = all_on(0);

	(void)state;
	assert_non_null(skel);
	memcpy((void *)&skel->rodata->conf, &conf, sizeof(conf));
	within_budget(skel->obj, "packets");
	tc_bpf__destroy(skel);
}

static void workloads(void **state)
{
	struct tc_bpf *skel = tc_bpf__open();
	struct by_tc_conf conf = all_on(14);

	(void)state;
	assert_non_null(skel);
	memcpy((void *)&skel->rodata->conf, &conf, sizeof(conf));
	within_budget(skel->obj, "frames");
	tc_bpf__destroy(skel);
}

static void host_at_tc(void **state)
{
	struct host_bpf *skel = host_bpf__open();
	struct by_tc_conf conf = all_on(14);
	struct by_host_conf host = host_on();

	(void)state;
	assert_non_null(skel);
	memcpy((void *)&skel->rodata->conf, &conf, sizeof(conf));
	memcpy((void *)&skel->rodata->host, &host, sizeof(host));
	within_budget(skel->obj, "frames");
	host_bpf__destroy(skel);
}

static void host_in_xdp(void **state)
{
	struct xdp_bpf *skel = xdp_bpf__open();
	struct by_tc_conf conf = all_on(14);
	struct by_host_conf host = host_on();

	(void)state;
	assert_non_null(skel);
	memcpy((void *)&skel->rodata->conf, &conf, sizeof(conf));
	memcpy((void *)&skel->rodata->host, &host, sizeof(host));
	within_budget(skel->obj, host.has_cookies ? "cookies" : "frames");
	xdp_bpf__destroy(skel);
}

static void mesh_guard(void **state)
{
	struct guard_bpf *skel = guard_bpf__open();

	(void)state;
	assert_non_null(skel);
	within_budget(skel->obj, "sockets");
	guard_bpf__destroy(skel);
}

/* $BUILD/verifier/RELEASE */
static int table_open(void **state)
{
	const char *build = getenv("BUILD");
	struct utsname u;
	char path[300];

	(void)state;
	libbpf_set_print(NULL);
	uname(&u);
	snprintf(path, sizeof(path), "%.200s/verifier", build ? build : "build");
	mkdir(path, 0755);
	snprintf(path + strlen(path), sizeof(path) - strlen(path), "/%.65s", u.release);
	table = fopen(path, "w");
	return table ? 0 : -errno;
}

static int table_close(void **state)
{
	(void)state;
	return fclose(table);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(overlay),     cmocka_unit_test(workloads),  cmocka_unit_test(host_at_tc),
		cmocka_unit_test(host_in_xdp), cmocka_unit_test(mesh_guard),
	};

	setvbuf(stdout, NULL, _IOLBF, 0);
	return cmocka_run_group_tests_name("bpf/budget", tests, table_open, table_close);
}
