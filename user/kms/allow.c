// SPDX-License-Identifier: Apache-2.0
/* The local list of who may have keys. What platforms are good enough is the evidence policy's to say, not its. */
#include <errno.h>
#include <string.h>

#include "base/file.h"
#include "base/text.h"
#include "internal.h"
#include "policy/yaml.h"

#define ALLOW_FILE_MAX (1u << 20)
#define ITEMS_MAX      4096

struct hashes {
	uint8_t (*at)[ID_HASH_LEN]; /* owned; NULL: the key is not there */
	size_t n;
};

struct app {
	uint8_t id[BY_APP_ID_LEN];
	struct hashes compose, devices;
};

struct kms_allow {
	char gateway_app_id[KMS_TEXT_LEN];
	struct hashes os_images;
	struct hashes kms_mrs, kms_devices;
	struct app *app; /* owned */
	size_t n_apps;
};

struct parse {
	const struct yaml_doc *doc;
	struct diags *d;
};

static void hashes_read(struct parse *p, const struct yaml_node *map, const char *key, bool is_needed,
			struct hashes *hashes)
{
	const struct yaml_node *list =
		is_needed || yaml_get(map, key) ? yaml_need(p->doc, map, key, YAML_LIST, p->d) : NULL;

	if (!list)
		return;
	if (!list->n || list->n > ITEMS_MAX) {
		yaml_error(p->doc, list, p->d, "has %zu entries, needs 1 to %d", list->n, ITEMS_MAX);
		return;
	}
	hashes->at = calloc(list->n, sizeof(*hashes->at));
	for (size_t i = 0; i < list->n && hashes->at; i++) {
		const char *text = yaml_str(p->doc, list->child[i], p->d);

		if (text && hex_parse(hashes->at[hashes->n], ID_HASH_LEN, strncmp(text, "0x", 2) ? text : text + 2))
			hashes->n++;
		else if (text)
			yaml_error(p->doc, list->child[i], p->d, "needs 64 hex digits, found '%.100s'", text);
	}
}

static const struct yaml_node *map_of(struct parse *p, const struct yaml_node *root, const char *key,
				      const char *const *known)
{
	const struct yaml_node *map = yaml_get(root, key) ? yaml_need(p->doc, root, key, YAML_MAP, p->d) : NULL;

	return map && (!known || yaml_known_keys(p->doc, map, known, p->d)) ? map : NULL;
}

static void app_read(struct parse *p, const struct yaml_node *apps, size_t i, struct kms_allow *allow)
{
	static const char *const known[] = { "compose_hashes", "devices", NULL };
	struct app *app = &allow->app[allow->n_apps];
	const char *id = apps->child[i]->key;

	if (apps->child[i]->kind != YAML_MAP) {
		yaml_error(p->doc, apps->child[i], p->d, "needs a map with compose_hashes");
		return;
	}
	if (!hex_parse(app->id, BY_APP_ID_LEN, strncmp(id, "0x", 2) ? id : id + 2))
		yaml_error(p->doc, apps->child[i], p->d, "an app-id has 40 hex digits, found '%.100s'", id);
	for (size_t j = 0; j < allow->n_apps; j++)
		if (memcmp(allow->app[j].id, app->id, BY_APP_ID_LEN) == 0)
			yaml_error(p->doc, apps->child[i], p->d, "this app is there already");
	if (!yaml_known_keys(p->doc, apps->child[i], known, p->d))
		return;
	hashes_read(p, apps->child[i], "compose_hashes", true, &app->compose);
	hashes_read(p, apps->child[i], "devices", false, &app->devices);
	allow->n_apps++;
}

static void apps_read(struct parse *p, const struct yaml_node *root, struct kms_allow *allow)
{
	const struct yaml_node *apps = map_of(p, root, "apps", NULL);

	if (!apps)
		return;
	if (apps->n > ITEMS_MAX) {
		yaml_error(p->doc, apps, p->d, "has %zu apps, the limit is %d", apps->n, ITEMS_MAX);
		return;
	}
	allow->app = calloc(apps->n + 1, sizeof(*allow->app));
	for (size_t i = 0; i < apps->n && allow->app; i++)
		app_read(p, apps, i, allow);
}

static void gateway_read(struct parse *p, const struct yaml_node *root, struct kms_allow *allow)
{
	const struct yaml_node *node = yaml_get(root, "gateway_app_id");
	const char *text = node ? yaml_str(p->doc, node, p->d) : NULL;
	uint8_t id[BY_APP_ID_LEN];

	if (text && !hex_parse(id, sizeof(id), text))
		yaml_error(p->doc, node, p->d, "needs 40 hex digits, found '%.100s'", text);
	else if (text)
		snprintf(allow->gateway_app_id, sizeof(allow->gateway_app_id), "%s", text);
}

static void version_read(struct parse *p, const struct yaml_node *root)
{
	const struct yaml_node *node = yaml_need(p->doc, root, "version", YAML_SCALAR, p->d);
	uint64_t v = 0;

	if (node && yaml_uint(p->doc, node, 1000, &v, p->d) && v != 1)
		yaml_error(p->doc, node, p->d, "is %u, this program reads version 1", (unsigned)v);
}

static void root_read(struct parse *p, struct kms_allow *allow)
{
	static const char *const known[] = { "version", "gateway_app_id", "os_images", "kms", "apps", NULL };
	static const char *const known_kms[] = { "mr_aggregated", "devices", NULL };
	const struct yaml_node *root = yaml_root(p->doc), *kms;

	if (!yaml_known_keys(p->doc, root, known, p->d))
		return;
	version_read(p, root);
	gateway_read(p, root, allow);
	hashes_read(p, root, "os_images", false, &allow->os_images);
	kms = map_of(p, root, "kms", known_kms);
	if (kms) {
		hashes_read(p, kms, "mr_aggregated", true, &allow->kms_mrs);
		hashes_read(p, kms, "devices", false, &allow->kms_devices);
	}
	apps_read(p, root, allow);
}

int kms_allow_parse(const char *file, const char *text, size_t len, struct kms_allow **allow, struct diags *d)
{
	struct kms_allow *made = calloc(1, sizeof(*made));
	struct yaml_doc *doc = NULL;
	struct parse p = { .d = d };

	if (!made || yaml_parse(file, text, len, &doc, d) < 0) {
		free(made);
		return made ? -EINVAL : -ENOMEM;
	}
	p.doc = doc;
	root_read(&p, made);
	yaml_free(doc);
	if (d->n_errors) {
		kms_allow_free(made);
		return -EINVAL;
	}
	*allow = made;
	return 0;
}

int kms_allow_load(const char *path, struct kms_allow **allow, struct err *e)
{
	auto_call(diags_fini) struct diags d = { 0 };
	auto_free char *text = NULL;
	size_t len;
	int ret = file_read(path, ALLOW_FILE_MAX, &text, &len, e);

	if (ret < 0)
		return ret;
	ret = kms_allow_parse(path, text, len, allow, &d);
	return ret < 0 && diags_first(&d, e) == 0 ? err_at(e, ret, path, "out of memory") : ret;
}

void kms_allow_free(struct kms_allow *allow)
{
	if (!allow)
		return;
	for (size_t i = 0; i < allow->n_apps; i++) {
		free(allow->app[i].compose.at);
		free(allow->app[i].devices.at);
	}
	free(allow->app);
	free(allow->os_images.at);
	free(allow->kms_mrs.at);
	free(allow->kms_devices.at);
	free(allow);
}

/* --- deciding --- */

static bool has(const struct hashes *hashes, const uint8_t hash[ID_HASH_LEN])
{
	for (size_t i = 0; i < hashes->n; i++)
		if (memcmp(hashes->at[i], hash, ID_HASH_LEN) == 0)
			return true;
	return false;
}

/* A list that is not there says "any"; one that is there needs the claim. */
static bool may(const struct hashes *hashes, bool is_known, const uint8_t hash[ID_HASH_LEN])
{
	return !hashes->at || (is_known && has(hashes, hash));
}

static const struct app *app_find(const struct kms_allow *allow, const uint8_t id[BY_APP_ID_LEN])
{
	for (size_t i = 0; i < allow->n_apps; i++)
		if (memcmp(allow->app[i].id, id, BY_APP_ID_LEN) == 0)
			return &allow->app[i];
	return NULL;
}

static const char *app_refusal(const struct kms_allow *allow, const struct kms_boot *boot)
{
	const struct app *app = app_find(allow, boot->app_id);

	return !app                                                        ? "App not registered"
	       : !has(&app->compose, boot->compose_hash)                   ? "Compose hash not allowed"
	       : !may(&app->devices, boot->has_device_id, boot->device_id) ? "Device not allowed"
									   : NULL;
}

static const char *kms_refusal(const struct kms_allow *allow, const struct kms_boot *boot)
{
	return !has(&allow->kms_mrs, boot->mr_aggregated) ? "Aggregated MR not allowed"
	       : !may(&allow->kms_devices, boot->has_device_id, boot->device_id)
		       ? "KMS is not allowed to boot on this device"
		       : NULL;
}

void kms_allow_decide(const struct kms_allow *allow, enum kms_ask ask, const struct kms_boot *boot,
		      struct kms_decision *decision)
{
	const char *why = !may(&allow->os_images, boot->has_os_image_hash, boot->os_image_hash)
				  ? "OS image is not allowed"
			  : ask == KMS_ASK_KMS ? kms_refusal(allow, boot)
					       : app_refusal(allow, boot);

	*decision = (struct kms_decision){ .is_allowed = !why };
	snprintf(decision->reason, sizeof(decision->reason), "%s", why ? why : "");
	snprintf(decision->gateway_app_id, sizeof(decision->gateway_app_id), "%s", allow->gateway_app_id);
}
