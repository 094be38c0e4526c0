// SPDX-License-Identifier: Apache-2.0
#include "wire.h"

#include <errno.h>
#include <jansson.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/text.h"

#define WHERE   "control plane"
#define VERSION 1
#define KEY_MIN 16

DEFINE_CLEANUP(json, json_t, json_decref)
#define auto_json auto_call(cleanup_json)

/* --- JSON of both sides --- */

static int malformed(struct err *e, const char *what)
{
	return err_reason(e, ID_SERVER_MALFORMED, WHERE, "%s", what);
}

static json_t *object_of(struct in in)
{
	return json_loadb((const char *)in.p, in.left, JSON_REJECT_DUPLICATES, NULL);
}

bool vpc_key_ok(const char *key)
{
	size_t len = strlen(key);

	for (size_t i = 0; i < len; i++)
		if (key[i] <= ' ' || key[i] > '~')
			return false;
	return len >= KEY_MIN && len < VPC_KEY_TEXT;
}

int vpc_hello_read(struct in in, struct vpc_hello *hello, struct err *e)
{
	auto_json json_t *o = object_of(in);
	const char *node, *key = NULL;
	json_int_t serial;
	int v;

	if (!o ||
	    json_unpack(o, "{s:i, s:s, s:I, s?s !}", "v", &v, "node", &node, "serial", &serial, "key", &key) != 0 ||
	    v != VERSION || serial < 0)
		return malformed(e, "hello is not JSON with exactly v, node and serial, and key or not");
	if (!id_node_name_ok(node))
		return malformed(e, "node: 1 to 31 of a-z, 0-9 and '-' are needed");
	if (key && !vpc_key_ok(key))
		return malformed(e, "key: 16 to 127 printable characters are needed");
	*hello = (struct vpc_hello){ .serial = (uint64_t)serial };
	snprintf(hello->node, sizeof(hello->node), "%s", node);
	snprintf(hello->key, sizeof(hello->key), "%s", key ? key : "");
	return 0;
}

static bool addrs_read(const json_t *list, struct vpc_grant *grant)
{
	size_t i;
	json_t *item;

	if (!json_is_array(list) || !json_array_size(list) || json_array_size(list) > ID_MAX_ADDRS)
		return false;
	json_array_foreach (list, i, item)
		if (!json_is_string(item) || !addr_parse(&grant->addrs[i], json_string_value(item)))
			return false;
	grant->n_addrs = (uint32_t)json_array_size(list);
	return true;
}

int vpc_grant_read(struct in in, struct vpc_grant *grant, struct err *e)
{
	auto_json json_t *o = object_of(in);
	struct vpc_grant made = { 0 };
	const char *network;
	json_int_t serial;
	json_t *addrs;
	int v;

	if (!o || json_unpack(o, "{s:i, s:s, s:I, s:o !}", "v", &v, "network", &network, "serial", &serial, "addrs",
			      &addrs) != 0)
		return malformed(e, "grant is not JSON with exactly v, network, serial and addrs");
	if (v != VERSION || serial < 0 || !hex_parse(made.network, sizeof(made.network), network) ||
	    !addrs_read(addrs, &made))
		return malformed(e, "grant: network, serial or addrs are out of their bounds");
	made.serial = (uint64_t)serial;
	*grant = made;
	return 0;
}

char *vpc_hello_text(const struct vpc_hello *hello)
{
	auto_json json_t *o = json_pack("{s:i, s:s, s:I, s:s*}", "v", VERSION, "node", hello->node, "serial",
					(json_int_t)hello->serial, "key", hello->key[0] ? hello->key : NULL);

	return o ? json_dumps(o, JSON_COMPACT) : NULL;
}

char *vpc_grant_text(const struct vpc_grant *grant)
{
	char network[2 * VPC_NETWORK + 1], text[ADDR_TEXT];
	json_t *addrs = json_array();
	auto_json json_t *o = NULL;

	for (uint32_t i = 0; i < grant->n_addrs; i++)
		json_array_append_new(addrs, json_string(addr_print(&grant->addrs[i], text)));
	hex_print(network, grant->network, sizeof(grant->network));
	o = json_pack("{s:i, s:s, s:I, s:o}", "v", VERSION, "network", network, "serial", (json_int_t)grant->serial,
		      "addrs", addrs);
	return o ? json_dumps(o, JSON_COMPACT) : NULL;
}

/* --- frames --- */

bool vpc_serial_read(struct in *in, uint64_t *serial)
{
	uint32_t high, low;

	if (in->left < 8 || !in_u32be(in, &high) || !in_u32be(in, &low))
		return false;
	*serial = (uint64_t)high << 32 | low;
	return true;
}

void vpc_serial_put(uint8_t at[8], uint64_t serial)
{
	for (int i = 7; i >= 0; i--, serial >>= 8)
		at[i] = (uint8_t)serial;
}

void vpc_head_put(uint8_t head[VPC_HEAD], enum vpc_frame type, size_t len)
{
	head[0] = (uint8_t)type;
	for (int i = 4; i > 0; i--, len >>= 8)
		head[i] = (uint8_t)len;
}

void vpc_send(struct evbuffer *out, enum vpc_frame type, const void *data, size_t len)
{
	uint8_t head[VPC_HEAD];

	vpc_head_put(head, type, len);
	evbuffer_add(out, head, sizeof(head));
	if (len)
		evbuffer_add(out, data, len);
}

void vpc_send_serial(struct evbuffer *out, enum vpc_frame type, uint64_t serial, const void *data, size_t len)
{
	uint8_t head[VPC_HEAD + 8];

	vpc_head_put(head, type, len + 8);
	vpc_serial_put(head + VPC_HEAD, serial);
	evbuffer_add(out, head, sizeof(head));
	if (len && data)
		evbuffer_add(out, data, len);
}

static bool is_bounded(bool from_node, unsigned type, size_t len)
{
	static const struct {
		size_t min, max;
	} bound[] = {
		[VPC_HELLO] = { 1, VPC_HELLO_MAX },
		[VPC_HAVE] = { 0, VPC_HAVE_MAX },
		[VPC_RECORD] = { 1, ID_RECORD_MAX },
		[VPC_GRANT] = { 1, VPC_HELLO_MAX },
		[VPC_CHANGE] = { 9, 8 + ID_RECORD_MAX },
		[VPC_REVOKED] = { 8 + BY_INSTANCE_ID_LEN, 8 + BY_INSTANCE_ID_LEN },
		[VPC_ALLOWED] = { 8 + BY_INSTANCE_ID_LEN, 8 + BY_INSTANCE_ID_LEN },
		[VPC_MARK] = { 8, 8 },
		[VPC_TAKEN] = { 8, 8 },
		[VPC_REFUSED] = { 1, VPC_REASON_MAX },
	};

	if (type == VPC_PING)
		return from_node && !len;
	return type < ARRAY_LEN(bound) && bound[type].max && from_node == (type < VPC_GRANT) &&
	       len >= bound[type].min && len <= bound[type].max && (type != VPC_HAVE || len % VPC_DIGEST == 0);
}

int vpc_frame_next(struct evbuffer *in, bool from_node, enum vpc_frame *type, struct in *payload, struct err *e)
{
	uint8_t head[VPC_HEAD];
	const uint8_t *frame;
	size_t len;

	if (evbuffer_copyout(in, head, sizeof(head)) < (ssize_t)sizeof(head))
		return 0;
	len = (size_t)head[1] << 24 | (size_t)head[2] << 16 | (size_t)head[3] << 8 | head[4];
	if (!is_bounded(from_node, head[0], len))
		return err_reason(e, ID_SERVER_MALFORMED, WHERE, "frame of type %u with %zu bytes", head[0], len);
	if (evbuffer_get_length(in) < VPC_HEAD + len)
		return 0;
	frame = evbuffer_pullup(in, (ssize_t)(VPC_HEAD + len));
	if (!frame)
		return err_at(e, -ENOMEM, WHERE, "out of memory");
	*type = head[0];
	*payload = in_of(frame + VPC_HEAD, len);
	return 1;
}

void vpc_frame_drop(struct evbuffer *in, size_t len)
{
	evbuffer_drain(in, VPC_HEAD + len);
}
