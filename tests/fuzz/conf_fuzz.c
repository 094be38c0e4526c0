// SPDX-License-Identifier: Apache-2.0
/* The daemon's configuration file. Invariant: what is accepted is inside its own bounds. */
#include <assert.h>

#include "baileyd/conf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct conf conf;
	struct diags d = { 0 };

	if (conf_parse("/etc/bailey/fuzz.yaml", (const char *)data, size, &conf, &d) == 0) {
		assert(d.n_errors == 0);
		assert(conf.n_addrs && conf.n_addrs <= ID_MAX_ADDRS);
		assert(conf.n_peers <= CONF_MAX_PEERS && conf.n_listen <= CONF_MAX_LISTEN);
		for (uint32_t i = 0; i < conf.n_addrs; i++)
			assert(conf_network_of(&conf, &conf.addrs[i]));
	} else {
		assert(d.n_errors > 0);
	}
	diags_fini(&d);
	return 0;
}
