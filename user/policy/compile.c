// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "verdict.h"

/* Everything between the model and the bytes. */
struct work {
	const struct pol_model *model;
	struct pol_view view;
	struct pol_ports ports[BY_DIR_COUNT];
	struct pol_peers peers;
	struct pol_verdicts verdicts;
	const struct pol_subject **member; /* sorted by instance, each once */
	size_t n_members;
};

static void work_fini(struct work *w)
{
	pol_view_fini(&w->view);
	pol_ports_fini(&w->ports[BY_DIR_IN]);
	pol_ports_fini(&w->ports[BY_DIR_OUT]);
	pol_peers_fini(&w->peers);
	free(w->verdicts.item);
	free(w->member);
}

static int by_instance(const void *a, const void *b)
{
	const struct pol_subject *const *x = a, *const *y = b;
	int order = memcmp((*x)->instance_id, (*y)->instance_id, BY_INSTANCE_ID_LEN);

	return order ? order : memcmp((*x)->app_id, (*y)->app_id, BY_APP_ID_LEN);
}

static int two_apps(const struct pol_subject *subject, struct err *e)
{
	char hex[2 * BY_INSTANCE_ID_LEN + 1];

	hex_print(hex, subject->instance_id, BY_INSTANCE_ID_LEN);
	return err_at(e, -EINVAL, "peers", "instance %s is there with two app-ids", hex);
}

static int sort_members(struct work *w, const struct pol_subject *peers, size_t n_peers, struct err *e)
{
	if (n_peers > BY_MAX_IDENTITIES)
		return err_at(e, -E2BIG, "peers", "%zu nodes, the limit is %d", n_peers, BY_MAX_IDENTITIES);
	w->member = calloc(n_peers + 1, sizeof(*w->member));
	if (!w->member)
		return -ENOMEM;
	for (size_t i = 0; i < n_peers; i++)
		w->member[i] = &peers[i];
	qsort(w->member, n_peers, sizeof(*w->member), by_instance);
	for (size_t i = 0; i < n_peers; i++) {
		const struct pol_subject *last = w->n_members ? w->member[w->n_members - 1] : NULL;

		if (!last || memcmp(last->instance_id, w->member[i]->instance_id, BY_INSTANCE_ID_LEN) != 0)
			w->member[w->n_members++] = w->member[i];
		else if (memcmp(last->app_id, w->member[i]->app_id, BY_APP_ID_LEN) != 0)
			return two_apps(last, e);
	}
	return 0;
}

static int fold(struct work *w, const struct pol_subject *self, struct err *e)
{
	int ret = pol_view_of(w->model, pol_app_by_id(w->model, self->app_id), &w->view);

	if (!ret && w->view.n > BY_MAX_RULES / BY_SLOTS)
		return err_at(e, -E2BIG, "policy", "%zu rules concern this node, the limit is %d", w->view.n,
			      BY_MAX_RULES / BY_SLOTS);
	if (!ret)
		ret = pol_peers_fold(w->model, &w->view, &w->peers);
	for (int dir = 0; !ret && dir < BY_DIR_COUNT; dir++) {
		ret = pol_ports_fold(&w->view, (enum by_dir)dir, w->model->digest, &w->ports[dir], e);
		if (!ret)
			ret = pol_verdicts_add(&w->view, (enum by_dir)dir, &w->ports[dir], &w->peers, &w->verdicts, e);
	}
	return ret;
}

/* --- writing ----------------------------------------------------------------------------------------------- */

/* The port ranges, counted when `to` is NULL. */
static uint32_t write_ports(const struct work *w, struct pol_port_range *to)
{
	const uint16_t *in = w->ports[BY_DIR_IN].class_at, *out = w->ports[BY_DIR_OUT].class_at;
	uint32_t n = 0;

	for (uint32_t s = 0, first; s < BY_PORT_SPACE; s++) {
		first = s;
		while (s + 1 < BY_PORT_SPACE && in[s + 1] == in[first] && out[s + 1] == out[first])
			s++;
		if (!in[first] && !out[first])
			continue;
		if (to)
			to[n] = (struct pol_port_range){ first, s, { .port_class = { in[first], out[first] } } };
		n++;
	}
	return n;
}

static void write_rules(const struct work *w, struct by_rule *to)
{
	for (size_t i = 0; i < w->view.n; i++) {
		const struct pol_rule *rule = w->view.item[i].rule;

		memcpy(to[i].name, rule->name, strlen(rule->name)); /* POL_NAME_MAX fits, the rest is zero */
		pol_rule_where(w->model, rule, to[i].where, sizeof(to[i].where));
	}
}

static uint32_t class_of(const struct work *w, const uint8_t app_id[BY_APP_ID_LEN])
{
	uint32_t app = pol_app_by_id(w->model, app_id);

	return app == POL_APP_OTHER ? POL_CLASS_OTHER : w->peers.class_of[app];
}

static void write_members(const struct work *w, struct pol_member *to)
{
	for (size_t i = 0; i < w->n_members; i++) {
		memcpy(to[i].instance_id, w->member[i]->instance_id, BY_INSTANCE_ID_LEN);
		to[i].peer_class = class_of(w, w->member[i]->app_id);
	}
}

/* Only apps that have a class of their own; counted when `to` is NULL. */
static uint32_t write_apps(const struct work *w, struct pol_app_class *to)
{
	const struct pol_model *model = w->model;
	uint32_t n = 0;

	for (size_t i = 0; i < model->n_apps; i++) {
		uint32_t app = model->by_id[i];

		if (w->peers.class_of[app] == POL_CLASS_OTHER)
			continue;
		if (to) {
			memcpy(to[n].app_id, model->app[app].app_id, BY_APP_ID_LEN);
			to[n].peer_class = w->peers.class_of[app];
		}
		n++;
	}
	return n;
}

static struct pol_image *write_image(const struct work *w)
{
	uint32_t n_in = w->ports[BY_DIR_IN].n, n_out = w->ports[BY_DIR_OUT].n;
	struct pol_image head = { .magic = POL_IMAGE_MAGIC,
				  .abi = BY_ABI_VERSION,
				  .n_ports = write_ports(w, NULL),
				  .n_verdicts = (uint32_t)w->verdicts.n,
				  .n_rules = (uint32_t)w->view.n,
				  .n_members = (uint32_t)w->n_members,
				  .n_peer_classes = w->peers.n,
				  .n_port_classes = n_in > n_out ? n_in : n_out,
				  .n_apps = write_apps(w, NULL),
				  .other_class = POL_CLASS_OTHER };
	struct pol_image *img;

	memcpy(head.digest, w->model->digest, sizeof(head.digest));
	head.size = pol_image_size(&head);
	img = calloc(1, head.size);
	if (!img)
		return NULL;
	*img = head;
	write_ports(w, (struct pol_port_range *)pol_image_ports(img));
	if (w->verdicts.n)
		memcpy((struct pol_verdict *)pol_image_verdicts(img), w->verdicts.item,
		       w->verdicts.n * sizeof(*w->verdicts.item));
	write_rules(w, (struct by_rule *)pol_image_rules(img));
	write_members(w, (struct pol_member *)pol_image_members(img));
	write_apps(w, (struct pol_app_class *)pol_image_apps(img));
	return img;
}

int pol_compile(const struct pol_model *model, const struct pol_subject *self, const struct pol_subject *peers,
		size_t n_peers, struct pol_image **img, struct err *e)
{
	auto_call(work_fini) struct work w = { .model = model };
	struct pol_image *made;
	int ret = sort_members(&w, peers, n_peers, e);

	if (!ret)
		ret = fold(&w, self, e);
	if (ret)
		return err_at(e, ret, "policy", "%s", strerror(-ret)); /* unless a reason is given already */
	made = write_image(&w);
	if (!made)
		return err_at(e, -ENOMEM, "policy", "out of memory");
	*img = made;
	return 0;
}

int pol_classify(const struct pol_model *model, const struct pol_image *img, const struct pol_subject *peer,
		 uint32_t *peer_class)
{
	const struct pol_app_class *app = pol_image_apps(img);
	size_t low = 0, high = img->n_apps;

	if (memcmp(model->digest, img->digest, sizeof(img->digest)) != 0)
		return -ENOENT;
	while (low < high) {
		size_t mid = low + (high - low) / 2;
		int order = memcmp(peer->app_id, app[mid].app_id, BY_APP_ID_LEN);

		if (order == 0) {
			*peer_class = app[mid].peer_class;
			return 0;
		}
		if (order < 0)
			high = mid;
		else
			low = mid + 1;
	}
	if (!img->other_class)
		return -ENOENT;
	*peer_class = img->other_class;
	return 0;
}
