// SPDX-License-Identifier: Apache-2.0
/* A query of an application or of another node, answered and asked on; and an answer of a resolver. */
#include <stdlib.h>
#include <string.h>

#include "dns/dns.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct dns_names *world(struct dns_zone *zone)
{
	struct dns_names *names = dns_names_new();
	struct dns_node node = { .n_addrs = 2, .n_services = 1, .until = 100, .node = "a", .app = "b" };

	*zone = (struct dns_zone){ .suffix = "d.i", .self = "a", .ttl = 5, .n_networks = 2 };
	if (!names || !prefix_parse(&zone->networks[0], "100.64.0.0/10") ||
	    !prefix_parse(&zone->networks[1], "fdba:11e7::/48") || !addr_parse(&node.addrs[0], "100.64.0.1") ||
	    !addr_parse(&node.addrs[1], "fdba:11e7::1") || !id_service_parse(&node.services[0], "s/tcp/1") ||
	    dns_names_set(names, &node) < 0)
		abort();
	return names;
}

static void check(const uint8_t *data, size_t size, const struct dns_reply *reply, bool is_tcp)
{
	if (reply->len < 12 || !(reply->bytes[2] & 0x80) || memcmp(reply->bytes, data, 2) != 0)
		abort();
	if (!is_tcp && reply->len > DNS_UDP_MAX)
		abort();
	(void)size;
}

static void forward(const uint8_t *data, size_t size)
{
	size_t len, failure_len;
	uint8_t *again = dns_query_again(data, size, 0x1234, false, &len), *failure;

	if (!again)
		return;
	failure = dns_failure(again, len, &failure_len);
	if (!failure || !dns_is_answer(again, len, failure, failure_len))
		abort();
	free(failure);
	free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct dns_names *names;
	static struct dns_zone zone;
	struct dns_asker asker = { .now = 50 };
	struct dns_reply reply;

	if (!names)
		names = world(&zone);
	for (unsigned i = 0; i < 2; i++) {
		asker.is_tcp = asker.may_forward = i;
		switch (dns_answer(names, &zone, &asker, data, size, &reply)) {
		case DNS_REPLY:
			check(data, size, &reply, asker.is_tcp);
			break;
		case DNS_FORWARD:
			forward(data, size);
			break;
		case DNS_DROP:
			break;
		}
		free(reply.bytes);
	}
	if (size > 64)
		dns_is_answer(data, 64, data + 64, size - 64);
	return 0;
}
