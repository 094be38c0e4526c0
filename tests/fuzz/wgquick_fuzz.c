// SPDX-License-Identifier: Apache-2.0
/* A wg-quick file: whatever it says, a refusal with its place, or a configuration that baileyd takes. */
#include <stdlib.h>

#include "baileyd/conf.h"
#include "cli/node_conf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must_be_taken(const struct ov_quick *q)
{
	struct node_conf c = { .name = "wg0",
			       .interface = "wg0",
			       .policy = "it's here.yaml",
			       .wg_key = "wg0.wgkey",
			       .endpoint = "192.0.2.1:51820",
			       .port = q->listen_port,
			       .mtu = q->mtu,
			       .networks = q->networks,
			       .n_networks = q->n_networks,
			       .addrs = q->addrs,
			       .n_addrs = q->n_addrs,
			       .peers = q->peers,
			       .n_peers = q->n_peers };
	static struct conf conf;
	struct out out = { 0 };
	struct err e = ERR_INIT;
	struct diags d = { 0 };

	if (node_conf_check(&c, &e) < 0)
		abort();
	node_conf_print(&c, &out);
	if (!out_ok(&out) || conf_parse("/etc/bailey/wg0.yaml", (char *)out.data, out.len, &conf, &d) < 0)
		abort();
	if (conf.n_addrs != q->n_addrs || conf.n_peers != q->n_peers)
		abort();
	out_fini(&out);
	diags_fini(&d);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct ov_quick q;
	struct err e = ERR_INIT;
	int rc = ov_quick_parse("fuzz", (const char *)data, size, &q, &e);

	if ((rc < 0) != (e.code < 0) || (rc < 0 && q.notes))
		abort();
	if (rc < 0)
		return 0;
	if (q.n_notes > OV_QUICK_NOTES || q.n_left_out > q.n_notes || !q.n_networks)
		abort();
	must_be_taken(&q);
	ov_quick_fini(&q);
	return 0;
}
