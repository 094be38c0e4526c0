// SPDX-License-Identifier: Apache-2.0
/*
 * The signed part of a record: JSON <-> struct id_record. There is one text per record: what was read is written
 * again, and only the same bytes are taken. So unknown and repeated members, spaces, escapes and other spellings of an
 * address or a number all fail in one place.
 */
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "record.h"

#define WHERE         "record payload"
#define WITH_SERVICES 2 /* version of a payload that has some: who knows only the first refuses it */
#define WITH_DETOUR   3 /* likewise; it may have services */
#define HEX(field)    (2 * sizeof(field) + 1)
#define WG_KEY_TEXT   BASE64_LEN(ID_WG_KEY_LEN)

DEFINE_CLEANUP(json, json_t, json_decref)

bool id_node_name_ok(const char *name)
{
	size_t len = strnlen(name, BY_NODE_NAME_LEN);

	return len > 0 && len < BY_NODE_NAME_LEN && strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-") == len;
}

const char *id_service_print(const struct id_service *s, char buf[static ID_SERVICE_TEXT])
{
	snprintf(buf, ID_SERVICE_TEXT, "%s/%s/%u", s->type, s->is_udp ? "udp" : "tcp", s->port);
	return buf;
}

bool id_service_parse(struct id_service *s, const char *text)
{
	struct id_service made = { 0 };
	char proto[4], again[ID_SERVICE_TEXT];

	if (sscanf(text, "%31[a-z0-9-]/%3[a-z]/%5hu", made.type, proto, &made.port) != 3 || !made.port)
		return false;
	made.is_udp = strcmp(proto, "udp") == 0;
	if (strcmp(id_service_print(&made, again), text) != 0)
		return false;
	*s = made;
	return true;
}

/* One machine's own: not unspecified, loopback, link-local (IPv6, no scope here), multicast or reserved. */
static bool is_unicast(const struct by_addr *a)
{
	static const struct by_addr none, loopback = { .b = { [15] = 1 } };

	if (addr_is_v4(a))
		return a->b[12] != 0 && a->b[12] != 127 && a->b[12] < 224;
	return !addr_equal(a, &none) && !addr_equal(a, &loopback) && a->b[0] != 0xff &&
	       !(a->b[0] == 0xfe && (a->b[1] & 0xc0) == 0x80);
}

static bool addrs_are_good(const struct id_record *r)
{
	if (r->n_addrs < 1 || r->n_addrs > ID_MAX_ADDRS)
		return false;
	for (uint32_t i = 0; i < r->n_addrs; i++) {
		if (!is_unicast(&r->addrs[i]))
			return false;
		for (uint32_t j = 0; j < i; j++)
			if (addr_equal(&r->addrs[i], &r->addrs[j]))
				return false;
	}
	return true;
}

static bool endpoints_are_good(const struct id_record *r)
{
	if (r->n_endpoints > ID_MAX_ENDPOINTS)
		return false;
	for (uint32_t i = 0; i < r->n_endpoints; i++)
		if (!is_unicast(&r->endpoints[i].addr) || !r->endpoints[i].port)
			return false;
	return true;
}

static bool services_are_good(const struct id_record *r)
{
	struct id_service again;
	char text[ID_SERVICE_TEXT];

	if (r->n_services > ID_MAX_SERVICES)
		return false;
	for (uint32_t i = 0; i < r->n_services; i++) {
		if (!id_service_parse(&again, id_service_print(&r->services[i], text)))
			return false;
		for (uint32_t j = 0; j < i; j++)
			if (memcmp(&r->services[i], &r->services[j], sizeof(again)) == 0)
				return false;
	}
	return true;
}

static bool is_zero(const uint8_t key[ID_WG_KEY_LEN])
{
	static const uint8_t none[ID_WG_KEY_LEN];

	return memcmp(key, none, sizeof(none)) == 0;
}

/* The second device is at the next port. */
static bool detour_is_good(const struct id_record *r)
{
	for (uint32_t i = 0; i < r->n_endpoints && r->has_detour; i++)
		if (r->endpoints[i].port == 65535)
			return false;
	return !r->has_detour || !is_zero(r->detour_key);
}

static int record_check(const struct id_record *r, struct err *e)
{

	if (!id_node_name_ok(r->node))
		return err_reason(e, ID_RECORD_MALFORMED, WHERE, "node: 1 to %d of [a-z0-9-] are needed",
				  BY_NODE_NAME_LEN - 1);
	if (is_zero(r->wg_key))
		return err_reason(e, ID_RECORD_MALFORMED, WHERE, "wg_key is zero");
	if (!detour_is_good(r))
		return err_reason(e, ID_RECORD_MALFORMED, WHERE, "detour_key is zero, or an endpoint has no next port");
	if (!addrs_are_good(r))
		return err_reason(e, ID_RECORD_MALFORMED, WHERE,
				  "addrs: 1 to %d different unicast addresses are needed", ID_MAX_ADDRS);
	if (!endpoints_are_good(r))
		return err_reason(e, ID_RECORD_MALFORMED, WHERE, "endpoints: at most %d unicast ones, with a port",
				  ID_MAX_ENDPOINTS);
	if (!services_are_good(r))
		return err_reason(e, ID_RECORD_MALFORMED, WHERE,
				  "services: at most %d different ones like mongodb/tcp/27017", ID_MAX_SERVICES);
	if (!r->epoch || r->epoch > ID_RECORD_EPOCH_MAX)
		return err_reason(e, ID_RECORD_MALFORMED, WHERE, "epoch must lie in 1..2^53-1");
	if (r->not_before < 0 || r->not_after <= r->not_before || r->not_after > (int64_t)ID_RECORD_EPOCH_MAX)
		return err_reason(e, ID_RECORD_MALFORMED, WHERE, "not_after must be later than not_before");
	return 0;
}

static json_t *addrs_json(const struct id_record *r)
{
	char text[ADDR_TEXT];
	auto_call(cleanup_json) json_t *array = json_array();

	for (uint32_t i = 0; i < r->n_addrs; i++)
		json_array_append_new(array, json_string(addr_print(&r->addrs[i], text)));
	return json_array_size(array) == r->n_addrs ? take_ptr(array) : NULL;
}

static json_t *endpoints_json(const struct id_record *r)
{
	char text[ENDPOINT_TEXT];
	auto_call(cleanup_json) json_t *array = json_array();

	for (uint32_t i = 0; i < r->n_endpoints; i++)
		json_array_append_new(array, json_string(endpoint_print(&r->endpoints[i], text)));
	return json_array_size(array) == r->n_endpoints ? take_ptr(array) : NULL;
}

static json_t *services_json(const struct id_record *r)
{
	char text[ID_SERVICE_TEXT];
	auto_call(cleanup_json) json_t *array = json_array();

	for (uint32_t i = 0; i < r->n_services; i++)
		json_array_append_new(array, json_string(id_service_print(&r->services[i], text)));
	return json_array_size(array) == r->n_services ? take_ptr(array) : NULL;
}

static int version_of(const struct id_record *r)
{
	return r->has_detour ? WITH_DETOUR : r->n_services ? WITH_SERVICES : ID_RECORD_VERSION;
}

static json_t *record_json(const struct id_record *r, const uint8_t cert_sha256[32])
{
	auto_call(cleanup_json) json_t *o = NULL;
	char app_id[HEX(r->app_id)], instance_id[HEX(r->instance_id)], cert[65], wg_key[WG_KEY_TEXT],
		detour[WG_KEY_TEXT];

	hex_print(app_id, r->app_id, sizeof(r->app_id));
	hex_print(instance_id, r->instance_id, sizeof(r->instance_id));
	hex_print(cert, cert_sha256, 32);
	base64_print(wg_key, r->wg_key, sizeof(r->wg_key));
	base64_print(detour, r->detour_key, sizeof(r->detour_key));
	o = json_pack("{s:i, s:s, s:s, s:s, s:s, s:s, s:o, s:o, s:I, s:I, s:I}", "v", version_of(r), "node", r->node,
		      "app_id", app_id, "instance_id", instance_id, "cert_sha256", cert, "wg_key", wg_key, "addrs",
		      addrs_json(r), "endpoints", endpoints_json(r), "epoch", (json_int_t)r->epoch, "not_before",
		      (json_int_t)r->not_before, "not_after", (json_int_t)r->not_after);
	if (r->n_services && json_object_set_new(o, "services", services_json(r)) < 0)
		return NULL;
	if (r->has_detour && json_object_set_new(o, "detour_key", json_string(detour)) < 0)
		return NULL;
	return take_ptr(o);
}

int id_payload_write(const struct id_record *record, const uint8_t cert_sha256[32], uint8_t *payload, size_t *len,
		     struct err *e)
{
	auto_call(cleanup_json) json_t *object = NULL;
	auto_free char *text = NULL;
	int ret = record_check(record, e);

	if (ret < 0)
		return ret;
	object = record_json(record, cert_sha256);
	text = json_dumps(object, JSON_COMPACT | JSON_SORT_KEYS);
	if (!text)
		return err_at(e, -ENOMEM, WHERE, "out of memory");
	if (strlen(text) > ID_RECORD_PAYLOAD_MAX)
		return err_reason(e, ID_RECORD_MALFORMED, WHERE, "is longer than %d bytes", ID_RECORD_PAYLOAD_MAX);
	*len = strlen(text);
	memcpy(payload, text, *len);
	return 0;
}

static bool read_addrs(const json_t *array, struct id_record *r)
{
	size_t i;
	json_t *item;

	if (!json_is_array(array) || json_array_size(array) > ID_MAX_ADDRS)
		return false;
	json_array_foreach (array, i, item)
		if (!json_is_string(item) || !addr_parse(&r->addrs[i], json_string_value(item)))
			return false;
	r->n_addrs = (uint32_t)json_array_size(array);
	return true;
}

static bool read_endpoints(const json_t *array, struct id_record *r)
{
	size_t i;
	json_t *item;

	if (!json_is_array(array) || json_array_size(array) > ID_MAX_ENDPOINTS)
		return false;
	json_array_foreach (array, i, item)
		if (!json_is_string(item) || !endpoint_parse(&r->endpoints[i], json_string_value(item)))
			return false;
	r->n_endpoints = (uint32_t)json_array_size(array);
	return true;
}

static bool read_services(const json_t *array, struct id_record *r)
{
	size_t i;
	json_t *item;

	if (!array)
		return true;
	if (!json_is_array(array) || !json_array_size(array) || json_array_size(array) > ID_MAX_SERVICES)
		return false;
	json_array_foreach (array, i, item)
		if (!json_is_string(item) || !id_service_parse(&r->services[i], json_string_value(item)))
			return false;
	r->n_services = (uint32_t)json_array_size(array);
	return true;
}

static bool read_key(uint8_t key[ID_WG_KEY_LEN], const char *text)
{
	size_t len;

	return base64_parse(key, ID_WG_KEY_LEN, &len, text, strlen(text)) && len == ID_WG_KEY_LEN;
}

static bool read_record(json_t *object, struct id_record *r, uint8_t cert_sha256[32])
{
	const char *node, *app_id, *instance_id, *cert, *wg_key, *detour = NULL;
	json_int_t epoch, not_before, not_after;
	json_t *addrs, *endpoints, *services = NULL;
	int v;

	if (json_unpack(object, "{s:i, s:s, s:s, s:s, s:s, s:s, s:o, s:o, s:I, s:I, s:I, s?o, s?s !}", "v", &v, "node",
			&node, "app_id", &app_id, "instance_id", &instance_id, "cert_sha256", &cert, "wg_key", &wg_key,
			"addrs", &addrs, "endpoints", &endpoints, "epoch", &epoch, "not_before", &not_before,
			"not_after", &not_after, "services", &services, "detour_key", &detour) != 0)
		return false;
	r->has_detour = detour;
	if (!read_services(services, r) || strlen(node) >= sizeof(r->node) || epoch < 0 || v != version_of(r))
		return false;
	strcpy(r->node, node);
	r->epoch = (uint64_t)epoch;
	r->not_before = not_before;
	r->not_after = not_after;
	return hex_parse(r->app_id, sizeof(r->app_id), app_id) &&
	       hex_parse(r->instance_id, sizeof(r->instance_id), instance_id) && hex_parse(cert_sha256, 32, cert) &&
	       read_key(r->wg_key, wg_key) && (!detour || read_key(r->detour_key, detour)) && read_addrs(addrs, r) &&
	       read_endpoints(endpoints, r);
}

int id_payload_read(const uint8_t *payload, size_t len, struct id_record *record, uint8_t cert_sha256[32],
		    struct err *e)
{
	auto_call(cleanup_json) json_t *object = NULL;
	struct id_record made = { 0 };
	uint8_t again[ID_RECORD_PAYLOAD_MAX], cert[32];
	size_t again_len;
	int ret;

	object = json_loadb((const char *)payload, len, JSON_REJECT_DUPLICATES, NULL);
	if (!object || !read_record(object, &made, cert))
		return err_reason(e, ID_RECORD_MALFORMED, WHERE,
				  "is not JSON with exactly the members of a version from %d to %d", ID_RECORD_VERSION,
				  WITH_DETOUR);
	ret = id_payload_write(&made, cert, again, &again_len, e);
	if (ret < 0)
		return ret;
	if (again_len != len || memcmp(again, payload, len) != 0)
		return err_reason(e, ID_RECORD_MALFORMED, WHERE, "is not in canonical form");
	*record = made;
	memcpy(cert_sha256, cert, sizeof(cert));
	return 0;
}
