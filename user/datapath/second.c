// SPDX-License-Identifier: Apache-2.0
/* The second device of a key rotation: its programs, and who is reached by it. Pins: <instance>/v<ABI>/second/. */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "bailey/conf.h"
#include "internal.h"
#include "skel/tc.skel.h"

DEFINE_CLEANUP(dp, struct dp, free)

int dp_second_attach(struct dp *dp, unsigned ifindex, struct err *e)
{
	auto_call(cleanup_dp) struct dp *second = calloc(1, sizeof(*second));
	int ret;

	if (!second)
		return err_at(e, -ENOMEM, NULL, "out of memory");
	snprintf(second->dir, sizeof(second->dir), "%.240s/" PIN_SECOND, dp->dir);
	if (mkdir(second->dir, 0700) < 0 && errno != EEXIST)
		return err_at(e, -errno, second->dir, "%s", strerror(errno));
	second->prog[BY_DIR_IN] = bpf_program__fd(dp->skel->progs.by_second_in);
	second->prog[BY_DIR_OUT] = bpf_program__fd(dp->skel->progs.by_second_out);
	ret = attach_one(second, BY_DIR_OUT, ifindex, e); /* first: nothing ever leaves it unjudged */
	return ret ? ret : attach_one(second, BY_DIR_IN, ifindex, e);
}

/* Filters of clsact go with the device. */
int second_remove(const char *version, struct err *e)
{
	char dir[PATH_LEN];
	int ret = 0;

	snprintf(dir, sizeof(dir), "%.*s/" PIN_SECOND, DIR_LEN, version);
	if (access(dir, F_OK) < 0)
		return errno == ENOENT ? 0 : err_at(e, -errno, dir, "%s", strerror(errno));
	for (int i = 0; i < BY_DIR_COUNT && !ret; i++)
		ret = link_remove(dir, dp_link_name[i], e);
	return ret ? ret : version_dir_remove(dir, e);
}

int dp_second_remove(struct dp *dp, struct err *e)
{
	return second_remove(dp->dir, e);
}

uint32_t dp_via_second(unsigned ifindex)
{
	return ifindex | BY_VIA_SECOND;
}

int dp_via_set(struct dp *dp, const uint8_t instance_id[BY_INSTANCE_ID_LEN], uint32_t via, struct err *e)
{
	struct entry *en = table_find(&dp->table, instance_id);
	int ret = en ? via_write(dp, en->number, via) : -ENOENT;

	if (ret < 0)
		return err_at(e, ret, dp_map_name[MAP_VIA], "can not be written: %s", strerror(-ret));
	en->id.via = via;
	return 0;
}

uint32_t dp_via_get(const struct dp *dp, const uint8_t instance_id[BY_INSTANCE_ID_LEN])
{
	const struct entry *en = table_find(&dp->table, instance_id);
	uint32_t via = 0;

	return en && bpf_map_lookup_elem(dp->map[MAP_VIA], &en->number, &via) == 0 ? via : 0;
}
