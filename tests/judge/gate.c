// SPDX-License-Identifier: Apache-2.0
/*
 * A policy in front of a device, without a daemon: what the judges of this folder judge.
 *
 *   gate BPFFS DEVICE CAST POLICY   loads POLICY as a daemon would and attaches; again: the next policy
 *   gate BPFFS DEVICE off           takes everything away
 *
 * CAST has a line for each attested node, this one first: APP (a name of the policy or 40 hex digits) ADDRESS...
 */
#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/addr.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "datapath/datapath.h"
#include "policy/policy.h"

#define INSTANCE  "judge"
#define NODES_MAX 64
#define TEXT_MAX  (1u << 20)

struct gate {
	struct dp_identity node[NODES_MAX];
	size_t n;
	struct pol_model *model;
	struct pol_image *img;
	struct dp *dp;
};

static int node_read(struct gate *g, char *line, struct err *e)
{
	char *word = strtok(line, " ");
	struct dp_identity *id = &g->node[g->n];

	if (g->n == NODES_MAX || !word || pol_app_id(g->model, word, id->app_id, e) < 0)
		return err_at(e, -EINVAL, "cast", "line %zu is no node", g->n + 1);
	id->is_local = g->n == 0;
	memset(id->instance_id, (int)++g->n, sizeof(id->instance_id));
	snprintf(id->node, sizeof(id->node), "node-%zu", g->n);
	while ((word = strtok(NULL, " ")))
		if (id->n_addrs == ARRAY_LEN(id->addrs) || !addr_parse(&id->addrs[id->n_addrs++], word))
			return err_at(e, -EINVAL, "cast", "%s is no address", word);
	return 0;
}

static int cast_read(struct gate *g, const char *path, struct err *e)
{
	auto_free char *text = NULL;
	char *save, *line;
	size_t len;
	int ret = file_read(path, TEXT_MAX, &text, &len, e);

	for (line = ret ? NULL : strtok_r(text, "\n", &save); line && !ret; line = strtok_r(NULL, "\n", &save))
		ret = node_read(g, line, e);
	return ret;
}

static int policy_read(struct gate *g, const char *path, struct err *e)
{
	auto_free char *text = NULL;
	struct diags d = { 0 };
	size_t len;
	int ret = file_read(path, TEXT_MAX, &text, &len, e);

	if (ret < 0)
		return ret;
	ret = pol_parse(path, text, len, &g->model, &d);
	if (ret < 0)
		diags_first(&d, e);
	diags_fini(&d);
	return ret;
}

static struct pol_subject subject_of(const struct dp_identity *id)
{
	struct pol_subject s = { 0 };

	memcpy(s.app_id, id->app_id, sizeof(s.app_id));
	memcpy(s.instance_id, id->instance_id, sizeof(s.instance_id));
	return s;
}

static int compile(struct gate *g, struct err *e)
{
	struct pol_subject subject[NODES_MAX];

	for (size_t i = 0; i < g->n; i++)
		subject[i] = subject_of(&g->node[i]);
	return pol_compile(g->model, &subject[0], &subject[1], g->n - 1, &g->img, e);
}

/* The order of the daemon: the policy, then who it is about. */
static int load(struct gate *g, const char *bpffs, const char *device, struct err *e)
{
	const struct dp_options options = { .l3_offset = 14, .sizes = dp_sizes_small };
	int ret = dp_open(bpffs, INSTANCE, &options, &g->dp, e);

	if (!ret)
		ret = dp_policy_commit(g->dp, g->img, e);
	for (size_t i = 0; i < g->n && !ret; i++) {
		struct pol_subject s = subject_of(&g->node[i]);

		if (i)
			ret = pol_classify(g->model, g->img, &s, &g->node[i].peer_class);
		if (!ret)
			ret = dp_identity_set(g->dp, &g->node[i], NULL, e);
	}
	return ret ? ret : dp_attach(g->dp, if_nametoindex(device), e);
}

static int on(const char *bpffs, const char *device, const char *cast, const char *policy, struct err *e)
{
	struct gate g = { 0 };
	int ret = policy_read(&g, policy, e);

	if (!ret)
		ret = cast_read(&g, cast, e);
	if (!ret)
		ret = compile(&g, e);
	if (!ret)
		ret = load(&g, bpffs, device, e);
	dp_close(g.dp);
	free(g.img);
	pol_free(g.model);
	return ret;
}

int main(int argc, char **argv)
{
	struct err e = ERR_INIT;
	char text[600];
	int ret;

	if (argc != 5 && !(argc == 4 && strcmp(argv[3], "off") == 0)) {
		fprintf(stderr, "usage: gate BPFFS DEVICE CAST POLICY | gate BPFFS DEVICE off\n");
		return 2;
	}
	if (argc == 4)
		ret = dp_destroy(argv[1], INSTANCE, if_nametoindex(argv[2]), &e);
	else
		ret = on(argv[1], argv[2], argv[3], argv[4], &e);
	if (ret < 0)
		fprintf(stderr, "gate: %s\n", err_text(&e, text, sizeof(text)));
	return ret < 0;
}
