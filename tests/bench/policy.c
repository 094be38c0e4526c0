// SPDX-License-Identifier: Apache-2.0
/*
 * For overlay.sh. policy BPFFS on DEVICE: programs and a policy (node 3 to node 2, tcp/5432 and echo requests) onto the
 * device. policy BPFFS off DEVICE: takes them away and prints how many packets they let pass.
 */
#include <net/if.h>
#include <stdio.h>
#include <string.h>

#include "../lib/world.h"

#define INSTANCE "bench"

static int on(const char *bpffs, unsigned ifindex, struct err *e)
{
	struct dp_identity web = world_node(WEB, 0), db = world_node(DB, CLASS_DB);
	struct img *img = img_new();
	struct dp *dp = NULL;
	int ret;

	img_rule(img, BY_DIR_IN, BY_PORT_TCP + 5432, BY_PORT_TCP + 5432, CLASS_DB, BY_ALLOW);
	img_rule(img, BY_DIR_IN, BY_PORT_ICMP + 8, BY_PORT_ICMP + 8, CLASS_DB, BY_ALLOW);
	img_member(img, db.instance_id, CLASS_DB);
	ret = dp_open(bpffs, INSTANCE, NULL, &dp, e);
	if (!ret)
		ret = dp_identity_set(dp, &web, NULL, e);
	if (!ret)
		ret = dp_identity_set(dp, &db, NULL, e);
	if (!ret)
		ret = dp_policy_commit(dp, img_done(img), e);
	if (!ret)
		ret = dp_attach(dp, ifindex, e);
	img_free(img);
	dp_close(dp);
	return ret;
}

static int off(const char *bpffs, unsigned ifindex, struct err *e)
{
	struct dp_status st;
	struct dp *dp = NULL;
	int ret = dp_open(bpffs, INSTANCE, NULL, &dp, e);

	if (!ret)
		ret = dp_status_get(dp, &st, e);
	if (!ret)
		printf("%llu\n", (unsigned long long)(st.stat[BY_DIR_IN][BY_DROP_NONE].packets +
						      st.stat[BY_DIR_OUT][BY_DROP_NONE].packets));
	dp_close(dp);
	return ret ? ret : dp_destroy(bpffs, INSTANCE, ifindex, e);
}

int main(int argc, char **argv)
{
	struct err e = ERR_INIT;
	char text[512];
	int ret;

	if (argc != 4) {
		fprintf(stderr, "usage: policy BPFFS on|off DEVICE\n");
		return 2;
	}
	ret = (strcmp(argv[2], "on") == 0 ? on : off)(argv[1], if_nametoindex(argv[3]), &e);
	if (ret < 0)
		fprintf(stderr, "policy: %s\n", err_text(&e, text, sizeof(text)));
	return ret < 0;
}
