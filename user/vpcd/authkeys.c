// SPDX-License-Identifier: Apache-2.0
/* Pre-auth keys, as people make, see and revoke them: part of the store process. */
#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "base/log.h"
#include "base/text.h"
#include "identity/crypto.h"
#include "store_process.h"

#define RANDOM_LEN 24
#define ID_LEN     8 /* bytes of the hash that people see */
#define YEAR_S     31536000
#define DAY_S      86400
#define PEOPLE     "people"

DEFINE_CLEANUP(json, json_t, json_decref)

int vs_key_new(char text[VS_KEY_TEXT], uint8_t hash[VS_KEY_HASH], struct err *e)
{
	uint8_t random[RANDOM_LEN];
	int n = snprintf(text, VS_KEY_TEXT, "%s", VS_KEY_PREFIX);

	if (RAND_bytes(random, sizeof(random)) != 1)
		return err_at(e, -EIO, "pre-auth key", "no randomness");
	hex_print(text + n, random, sizeof(random));
	OPENSSL_cleanse(random, sizeof(random));
	return id_hash(EVP_sha256(), hash, text, strlen(text), NULL, 0)
		       ? 0
		       : err_at(e, -EIO, "pre-auth key", "can not be hashed");
}

/* --- seeing them --- */

static const char *state_of(const struct vs_key *key, int64_t now)
{
	return key->is_revoked                         ? "revoked"
	       : key->expires < now                    ? "over"
	       : !key->is_reusable && key->has_used_by ? "used"
						       : "good";
}

struct listing {
	json_t *list;
	int64_t now, n_good;
};

static json_t *instance(bool is_there, const uint8_t id[BY_INSTANCE_ID_LEN])
{
	return is_there ? json_hex(id, BY_INSTANCE_ID_LEN) : json_null();
}

static void key_list(const struct vs_key *key, void *arg)
{
	struct listing *l = arg;

	json_array_append_new(l->list, json_pack("{s:o, s:s, s:b, s:b, s:o, s:s, s:I, s:I, s:I, s:o}", "id",
						 json_hex(key->hash, ID_LEN), "state", state_of(key, l->now),
						 "reusable", key->is_reusable, "ephemeral", key->is_ephemeral,
						 "instance_id", instance(key->has_instance, key->instance), "made_by",
						 key->origin, "created", (json_int_t)key->created, "expires_in_s",
						 (json_int_t)(key->expires - l->now), "uses", (json_int_t)key->uses,
						 "used_by", instance(key->has_used_by, key->used_by)));
}

static void key_count(const struct vs_key *key, void *arg)
{
	struct listing *l = arg;

	l->n_good += strcmp(state_of(key, l->now), "good") == 0;
}

int64_t vs_keys_good(struct vs_store *store)
{
	struct listing l = { .now = time(NULL) };
	struct err e = ERR_INIT;

	return vs_key_each(store, key_count, &l, &e) < 0 ? -1 : l.n_good;
}

void vs_on_keys(struct evhttp_request *req, void *arg)
{
	struct process *p = arg;
	struct listing l = { .list = json_array(), .now = time(NULL) };
	struct err e = ERR_INIT;

	if (vs_key_each(p->store, key_list, &l, &e) == 0) {
		ctl_reply_json(req, 200, json_pack("{s:o}", "keys", l.list));
		return;
	}
	json_decref(l.list);
	ctl_reply_error(req, 500, &e);
}

/* --- making one --- */

struct making {
	struct vs_key key;
	struct err e;
	int code;
};

static void make_do(struct process *p, void *arg)
{
	struct making *m = arg;

	m->e = ERR_INIT;
	m->code = vs_key_add(p->store, &m->key, false, m->key.created, &m->e);
}

/* {"reusable":false,"ephemeral":false,"expires_s":86400,"instance_id":null}, each of them or not */
static int asked_read(const json_t *o, struct vs_key *key, struct err *e)
{
	int is_reusable = 0, is_ephemeral = 0;
	json_int_t expires_s = DAY_S;
	const char *hex = NULL;

	if (!json_is_object(o) ||
	    json_unpack((json_t *)o, "{s?b, s?b, s?I, s?s !}", "reusable", &is_reusable, "ephemeral", &is_ephemeral,
			"expires_s", &expires_s, "instance_id", &hex) < 0)
		return err_at(e, -EINVAL, "request",
			      "is no JSON object of reusable, ephemeral, expires_s and instance_id");
	if (expires_s < 1 || expires_s > YEAR_S)
		return err_at(e, -EINVAL, "expires_s", "needs 1 to %d, found %lld", YEAR_S, (long long)expires_s);
	if (hex && !hex_parse(key->instance, sizeof(key->instance), hex))
		return err_at(e, -EINVAL, "instance_id", "needs %d hex digits, found '%.60s'", 2 * BY_INSTANCE_ID_LEN,
			      hex);
	key->has_instance = hex != NULL;
	key->is_reusable = (uint32_t)is_reusable;
	key->is_ephemeral = (uint32_t)is_ephemeral;
	key->created = time(NULL);
	key->expires = key->created + expires_s;
	snprintf(key->origin, sizeof(key->origin), PEOPLE);
	return 0;
}

void vs_on_key_create(struct evhttp_request *req, void *arg)
{
	auto_call(cleanup_json) json_t *asked = vs_report_body(req);
	struct process *p = arg;
	struct making m = { .e = ERR_INIT };
	char text[VS_KEY_TEXT], id[2 * ID_LEN + 1];
	int ret = asked_read(asked, &m.key, &m.e);

	if (!ret)
		ret = vs_key_new(text, m.key.hash, &m.e);
	if (!ret)
		ret = vs_decide(p, make_do, &m, &m.e);
	if (!ret)
		ret = m.code;
	if (ret < 0) {
		ctl_reply_error(req, 400, &m.e);
		return;
	}
	hex_print(id, m.key.hash, ID_LEN);
	log_info("pre-auth key %s made by people: %s%s%s", id, m.key.is_reusable ? "reusable" : "one-time",
		 m.key.is_ephemeral ? ", ephemeral" : "", m.key.has_instance ? ", bound to an instance" : "");
	ctl_reply_json(req, 200,
		       json_pack("{s:s, s:s, s:I}", "key", text, "id", id, "expires_in_s",
				 (json_int_t)(m.key.expires - m.key.created)));
	OPENSSL_cleanse(text, sizeof(text));
}

/* --- taking one back --- */

struct revoking {
	const char *id;
	uint8_t hash[VS_KEY_HASH];
	struct err e;
	int code;
};

static void revoke_do(struct process *p, void *arg)
{
	struct revoking *r = arg;

	r->e = ERR_INIT;
	r->code = vs_key_revoke(p->store, r->id, r->hash, &r->e);
}

void vs_on_key_revoke(struct evhttp_request *req, void *arg)
{
	auto_free char *id = vs_report_asked(req, "id");
	struct process *p = arg;
	struct revoking r = { .id = id, .e = ERR_INIT };
	int ret = id ? vs_decide(p, revoke_do, &r, &r.e) : err_at(&r.e, -EINVAL, "request", "needs {\"id\": ...}");

	if (!ret)
		ret = r.code;
	if (ret < 0) {
		ctl_reply_error(req, ret == -ENOENT ? 404 : 400, &r.e);
		return;
	}
	log_info("pre-auth key %s revoked", id);
	ctl_reply_json(req, 200, json_pack("{s:o}", "id", json_hex(r.hash, ID_LEN)));
}
