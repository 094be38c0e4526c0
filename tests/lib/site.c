// SPDX-License-Identifier: Apache-2.0
#include "site.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "datapath/internal.h"

#define TCX_INGRESS 46 /* newer than the headers of Debian 12 */
#define TCX_EGRESS  47
#define FLOW_PORT   777
#define LINKS_MAX   8

/* --- the site --- */

int site_attach(struct dp *dp, unsigned ifindex)
{
	struct err e = ERR_INIT;

	return dp_attach(dp, ifindex, &e);
}

int site_open(struct site *s)
{
	const struct dp_options options = { .l3_offset = SITE_L3, .sizes = dp_sizes_small };
	struct err e = ERR_INIT;
	int ret = dp_open(s->bpffs, SITE_INSTANCE, &options, &s->dp, &e);

	if (ret < 0)
		fprintf(stderr, "# %s: %s\n", e.where, e.msg);
	return ret;
}

/* With the class that it has in a policy numbered so. */
int site_join(struct site *s, int node, bool is_rotated)
{
	struct dp_identity id = world_node(node, node == WEB ? 0 : pair_class(node, is_rotated));
	struct err e = ERR_INIT;

	return dp_identity_set(s->dp, &id, NULL, &e);
}

int site_join_all(struct site *s, bool is_rotated)
{
	int ret = site_join(s, WEB, is_rotated);

	if (!ret)
		ret = site_join(s, DB, is_rotated);
	return ret ? ret : site_join(s, EVE, is_rotated);
}

void site_reopen(struct site *s)
{
	dp_close(s->dp);
	s->dp = NULL;
	assert_int_equal(site_open(s), 0);
}

void site_destroy(struct site *s)
{
	struct err e = ERR_INIT;

	dp_close(s->dp);
	s->dp = NULL;
	if (dp_destroy(s->bpffs, SITE_INSTANCE, s->dev, &e) < 0)
		fail_msg("%s: %s", e.where, e.msg);
}

/* --- what the kernel says --- */

static bool pinned(const struct site *s, int prog[BY_DIR_COUNT])
{
	static const char *const name[] = { [BY_DIR_IN] = BY_PROG_IN, [BY_DIR_OUT] = BY_PROG_OUT };

	for (int dir = 0; dir < BY_DIR_COUNT; dir++) {
		char path[128];

		snprintf(path, sizeof(path), "%s/bailey/" SITE_INSTANCE "/v%d/%s", s->bpffs, BY_ABI_VERSION, name[dir]);
		prog[dir] = bpf_obj_get(path);
	}
	return prog[BY_DIR_IN] >= 0 && prog[BY_DIR_OUT] >= 0;
}

/* Programs of a direction of a device, by id: tcx, or clsact at the place that is ours. */
uint32_t site_programs_on(const struct site *s, unsigned ifindex, int dir, uint32_t id[LINKS_MAX])
{
	char pins[128];
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = (int)ifindex,
		    .attach_point = dir == BY_DIR_IN ? BPF_TC_INGRESS : BPF_TC_EGRESS);
	LIBBPF_OPTS(bpf_tc_opts, opts, .priority = 1);
	uint32_t n = LINKS_MAX;

	snprintf(pins, sizeof(pins), "%s/bailey/" SITE_INSTANCE, s->bpffs);
	opts.handle = clsact_handle(pins);
	if (bpf_prog_query((int)ifindex, (enum bpf_attach_type)(dir == BY_DIR_IN ? TCX_INGRESS : TCX_EGRESS), 0, NULL,
			   id, &n) == 0 &&
	    n)
		return n;
	if (bpf_tc_query(&hook, &opts) < 0)
		return 0;
	id[0] = opts.prog_id;
	return 1;
}

/* The programs that packets of the device meet; false when a direction has none. Never two. */
static bool attached(const struct site *s, unsigned ifindex, int prog[BY_DIR_COUNT])
{
	for (int dir = 0; dir < BY_DIR_COUNT; dir++) {
		uint32_t id[LINKS_MAX], n = site_programs_on(s, ifindex, dir, id);

		assert_true(n <= 1);
		prog[dir] = n ? bpf_prog_get_fd_by_id(id[0]) : -1;
	}
	return prog[BY_DIR_IN] >= 0 && prog[BY_DIR_OUT] >= 0;
}

static void close_both(int prog[BY_DIR_COUNT])
{
	close_at(&prog[BY_DIR_IN]);
	close_at(&prog[BY_DIR_OUT]);
}

static int on_name(const struct dirent *a)
{
	return a->d_name[0] != '.';
}

/* The names in the instance's directory, one string. */
void site_pins(const struct site *s, char *text, size_t size)
{
	struct dirent **file;
	char path[128];
	int n;

	snprintf(path, sizeof(path), "%s/bailey/" SITE_INSTANCE "/v%d", s->bpffs, BY_ABI_VERSION);
	n = scandir(path, &file, on_name, alphasort);
	text[0] = '\0';
	for (int i = 0; i < n; i++) {
		snprintf(text + strlen(text), size - strlen(text), "%s ", file[i]->d_name);
		free(file[i]);
	}
	if (n >= 0)
		free(file);
}

void answer_is(struct pair_answer got, struct pair_answer want, int line)
{
	if (!pair_same(got, want))
		fail_msg("line %d: in %08x, out %08x, eve %08x; wanted %08x, %08x, %08x", line, got.db_in, got.db_out,
			 got.eve_in, want.db_in, want.db_out, want.eve_in);
}

struct pair_answer site_answer(const struct site *s)
{
	struct pair_answer a = { 0 };
	int prog[BY_DIR_COUNT];

	if (pinned(s, prog))
		a = pair_ask(prog, SITE_L3);
	close_both(prog);
	return a;
}

struct pair_answer site_device_answer(const struct site *s, unsigned ifindex)
{
	struct pair_answer a = { 0 };
	int prog[BY_DIR_COUNT];

	assert_true(attached(s, ifindex, prog));
	a = pair_ask(prog, SITE_L3);
	close_both(prog);
	return a;
}

/* --- flows: one that the policy of the moment allows --- */

static uint16_t open_port(unsigned residue)
{
	for (uint16_t port = PAIR_FIRST;; port++)
		if ((BY_PORT_TCP + port) % 4 == residue)
			return port;
}

bool site_flow(const struct site *s, unsigned residue, uint8_t flags)
{
	const struct pkt p = { TCP(DB4, WEB4, FLOW_PORT, open_port(residue), flags) };
	int prog[BY_DIR_COUNT];
	bool passes;

	assert_true(pinned(s, prog));
	passes = pair_passes(prog[BY_DIR_IN], BY_DIR_IN, SITE_L3, &p);
	close_both(prog);
	return passes;
}
