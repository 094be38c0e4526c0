// SPDX-License-Identifier: Apache-2.0
/* What is read again while the daemon runs: of its configuration `workloads:` and `vpc:`, the policy, trust, records.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "parent.h"

static void conf_drop(struct conf *conf)
{
	if (conf)
		explicit_bzero(conf->vpc.key, sizeof(conf->vpc.key));
	free(conf);
}

DEFINE_CLEANUP(conf, struct conf, conf_drop)

/* *fresh NULL: the daemon has no file. */
static int conf_again(const struct parent *p, struct conf **fresh, struct diags *d, struct err *e)
{
	if (!p->conf.file[0])
		return 0;
	*fresh = calloc(1, sizeof(**fresh));
	if (!*fresh)
		return err_at(e, -ENOMEM, "configuration", "out of memory");
	return conf_load(p->conf.file, *fresh, d) < 0 ? diags_first(d, e) : vpc_key_load(p, *fresh, e);
}

int parent_reload(struct parent *p, struct diags *d, struct err *e)
{
	auto_call(cleanup_conf) struct conf *fresh = NULL;
	int ret = conf_again(p, &fresh, d, e);

	if (!ret)
		ret = workloads_reload(p, fresh, e);
	if (!ret)
		ret = trust_read(&p->trust, e);
	if (!ret)
		ret = life_apply(p, NULL, 0, d, e);
	if (ret >= 0 && fresh)
		vpc_change(p, fresh);
	if (ret >= 0 && p->edge.ipc) {
		trust_retry(&p->trust);
		trust_send(&p->trust, p->edge.ipc);
		nodes_send_stored(p);
	}
	return ret;
}
