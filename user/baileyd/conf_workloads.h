/* SPDX-License-Identifier: Apache-2.0 */
/* `workloads:`, the machines behind this host: in baileyd.conf, in the daemon's state and in a request to add one. */
#pragma once

#include <net/if.h>
#include <stdint.h>

#include "bailey/types.h"
#include "policy/diag.h"

struct yaml_doc;

#define CONF_MAX_WORKLOADS 60
#define WORKLOAD_NAME_LEN  16

struct conf_workload {
	char name[WORKLOAD_NAME_LEN]; /* [a-z0-9-] */
	char interface[IF_NAMESIZE];  /* tap, veth or bridge port that leads to it */
	uint8_t instance_id[BY_INSTANCE_ID_LEN];
	uint8_t mac[6];   /* all 0: whatever it says */
	uint16_t vlan[2]; /* tags that each of its frames must have, outer and inner; 0: none */
};

struct conf_workloads {
	struct conf_workload item[CONF_MAX_WORKLOADS];
	uint32_t n;
};

/* The key of the document's root; none: nothing. Problems go to `d`. */
void conf_workloads_read(const struct yaml_doc *doc, struct conf_workloads *list, struct diags *d);
/* A text that has this key alone. 0, or -EINVAL with every problem in `d`. */
int conf_workloads_parse(const char *file, const char *text, size_t len, struct conf_workloads *list, struct diags *d);
