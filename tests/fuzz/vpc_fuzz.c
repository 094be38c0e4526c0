// SPDX-License-Identifier: Apache-2.0
/* What node and control plane read of each other, and the control plane's configuration. The first byte says which. */
#include <stdlib.h>
#include <string.h>

#include "vpcd/vpcd.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void payload(enum vpc_frame type, struct in in)
{
	struct vpc_hello hello;
	struct vpc_grant grant;
	struct err e = ERR_INIT;
	uint64_t serial;
	char *text = NULL;

	if (type == VPC_HELLO && vpc_hello_read(in, &hello, &e) == 0) {
		if (!id_node_name_ok(hello.node))
			abort();
		text = vpc_hello_text(&hello);
	} else if (type == VPC_GRANT && vpc_grant_read(in, &grant, &e) == 0) {
		if (!grant.n_addrs || grant.n_addrs > ID_MAX_ADDRS)
			abort();
		text = vpc_grant_text(&grant);
	} else if (type > VPC_GRANT && type < VPC_REFUSED && !vpc_serial_read(&in, &serial)) {
		abort(); /* the frame's bounds let it have one */
	}
	free(text);
}

static void frames(const uint8_t *data, size_t size, bool from_node)
{
	struct evbuffer *in = evbuffer_new();
	enum vpc_frame type;
	struct in part;
	struct err e = ERR_INIT;

	evbuffer_add(in, data, size);
	while (vpc_frame_next(in, from_node, &type, &part, &e) > 0) {
		size_t len = part.left;

		payload(type, part);
		vpc_frame_drop(in, len);
	}
	evbuffer_free(in);
}

static void conf(const uint8_t *data, size_t size)
{
	static struct vs_conf made;
	struct diags d = { 0 };

	if (vs_conf_parse("f", (const char *)data, size, &made, &d) == 0) {
		struct by_addr last = vs_conf_address(&made, 0, vs_conf_numbers(&made));

		if (!addr_in_prefix(&last, &made.pools[0]))
			abort();
	}
	diags_fini(&d);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!size)
		return 0;
	if (data[0] == 'c')
		conf(data + 1, size - 1);
	else
		frames(data + 1, size - 1, data[0] & 1);
	return 0;
}
