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

/* Where the control plane is, and nothing else: of a program, which is no person who chooses a policy. */
void report_on_vpc_reload(struct evhttp_request *req, void *arg)
{
	auto_call(cleanup_conf) struct conf *fresh = NULL;
	auto_call(diags_fini) struct diags d = { 0 };
	struct parent *p = arg;
	struct err e = ERR_INIT;
	char text[600];

	if (conf_again(p, &fresh, &d, &e) < 0) {
		ctl_reply_json(req, 400, json_pack("{s:s}", "error", err_text(&e, text, sizeof(text))));
		return;
	}
	if (fresh)
		vpc_change(p, fresh);
	ctl_reply_json(req, 200, json_pack("{s:i}", "servers", (int)p->conf.vpc.n_servers));
}
