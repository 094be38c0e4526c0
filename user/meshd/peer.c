// SPDX-License-Identifier: Apache-2.0
/* Identities: the same verdict is the same object, so that the engine can tell peers apart by their address. */
#include <jansson.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "worker.h"

DEFINE_CLEANUP(json, json_t, json_decref)

struct md_peers {
	void *tree;
};

struct held {
	struct md_peer peer; /* first */
	struct md_peers *peers;
};

static int compare(const void *a, const void *b)
{
	return memcmp(&((const struct md_peer *)a)->verdict, &((const struct md_peer *)b)->verdict,
		      sizeof(struct md_verdict));
}

struct md_peers *md_peers_new(void)
{
	return calloc(1, sizeof(struct md_peers));
}

static void keep(void *node)
{
	((struct held *)node)->peers = NULL;
}

void md_peers_free(struct md_peers *peers)
{
	if (peers)
		tdestroy(peers->tree, keep);
	free(peers);
}

static void peer_free(struct mp_peer *mp)
{
	struct held *held = mp->data;

	if (held->peers)
		tdelete(&held->peer, &held->peers->tree, compare);
	free(held->peer.claims);
	free(held);
}

static struct held *held_new(struct md_peers *peers, const struct md_verdict *v)
{
	struct held *held = calloc(1, sizeof(*held));

	if (!held)
		return NULL;
	held->peers = peers;
	held->peer.verdict = *v;
	held->peer.subject = evp_subject(&v->claims);
	held->peer.mp.expires_s = v->until;
	held->peer.mp.data = held;
	held->peer.mp.free = peer_free;
	hex_print(held->peer.mp.app, v->claims.app_id, BY_APP_ID_LEN);
	if (v->claims.has_instance_id)
		hex_print(held->peer.mp.instance, v->claims.instance_id, BY_INSTANCE_ID_LEN);
	return held;
}

struct md_peer *md_peer_get(struct md_peers *peers, const struct md_verdict *v)
{
	struct md_peer wanted = { .verdict = *v };
	struct held **at = tfind(&wanted, &peers->tree, compare), *held;

	if (at) {
		mp_peer_ref(&(*at)->peer.mp);
		return &(*at)->peer;
	}
	held = held_new(peers, v);
	if (!held || !tsearch(&held->peer, &peers->tree, compare)) {
		free(held);
		return NULL;
	}
	held->peer.mp.refs = 1;
	return &held->peer;
}

/* --- what it proves, for backends --- */

static void put_hex(json_t *o, const char *name, bool has, const uint8_t *bytes, size_t len)
{
	char hex[2 * ID_MR_LEN + 1];

	if (!has)
		return;
	hex_print(hex, bytes, len);
	json_object_set_new(o, name, json_string(hex));
}

const char *md_peer_claims(struct md_peer *peer)
{
	static const char *const tees[] = { "none", "simulated", "tdx", "sev-snp" };
	const struct pol_subject *s = &peer->subject;
	auto_call(cleanup_json) json_t *o = json_object();

	if (peer->claims)
		return peer->claims;
	json_object_set_new(o, "app-id", json_string(peer->mp.app));
	if (peer->mp.instance[0])
		json_object_set_new(o, "instance-id", json_string(peer->mp.instance));
	json_object_set_new(o, "verified-by", json_string(peer->verdict.by_issuer ? "issuer" : "evidence"));
	if (!peer->verdict.by_issuer) {
		json_object_set_new(o, "tee", json_string(tees[peer->verdict.claims.tee]));
		json_object_set_new(o, "simulated", json_boolean(s->is_simulated));
	}
	put_hex(o, "compose-hash", s->has_compose_hash, s->compose_hash, sizeof(s->compose_hash));
	put_hex(o, "os-image-hash", s->has_os_image_hash, s->os_image_hash, sizeof(s->os_image_hash));
	put_hex(o, "mrtd", s->has_mrtd, s->mrtd, sizeof(s->mrtd));
	if (s->key_provider[0])
		json_object_set_new(o, "key-provider", json_string(s->key_provider));
	peer->claims = json_dumps(o, JSON_COMPACT | JSON_ENSURE_ASCII);
	return peer->claims;
}
