// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "compile.h"

void pol_work_fini(struct pol_work *work)
{
	pol_view_fini(&work->view);
	pol_ports_fini(&work->ports[BY_DIR_IN]);
	pol_ports_fini(&work->ports[BY_DIR_OUT]);
	pol_peers_fini(&work->peers);
	free(work->verdicts.item);
	free(work->member);
	free(work->cells.prefix);
}

static int by_instance(const void *a, const void *b)
{
	const struct member *x = a, *y = b;
	int order = memcmp(x->instance_id, y->instance_id, BY_INSTANCE_ID_LEN);

	return order ? order : (x->kind > y->kind) - (x->kind < y->kind);
}

static int two_kinds(const struct pol_work *w, const struct member *a, const struct member *b, struct err *e)
{
	bool is_app = pol_kind_get(w->model, a->kind).app != pol_kind_get(w->model, b->kind).app;
	char hex[2 * BY_INSTANCE_ID_LEN + 1];

	hex_print(hex, a->instance_id, BY_INSTANCE_ID_LEN);
	return err_at(e, -EINVAL, "peers", "instance %s is there with two %s", hex,
		      is_app ? "app-ids" : "sets of claims");
}

static int sort_members(struct pol_work *w, const struct pol_subject *peers, size_t n_peers, struct err *e)
{
	if (n_peers > BY_MAX_IDENTITIES)
		return err_at(e, -E2BIG, "peers", "%zu nodes, the limit is %d", n_peers, BY_MAX_IDENTITIES);
	w->member = calloc(n_peers + 1, sizeof(*w->member));
	if (!w->member)
		return -ENOMEM;
	for (size_t i = 0; i < n_peers; i++)
		w->member[i] = (struct member){ peers[i].instance_id, pol_kind_of(w->model, &peers[i]) };
	qsort(w->member, n_peers, sizeof(*w->member), by_instance);
	for (size_t i = 0; i < n_peers; i++) {
		const struct member *last = w->n_members ? &w->member[w->n_members - 1] : NULL;

		if (!last || memcmp(last->instance_id, w->member[i].instance_id, BY_INSTANCE_ID_LEN) != 0)
			w->member[w->n_members++] = w->member[i];
		else if (last->kind != w->member[i].kind)
			return two_kinds(w, last, &w->member[i], e);
	}
	return 0;
}

int pol_work_fold(struct pol_work *w, uint32_t n_points, struct err *e)
{
	int ret;

	if (w->view.n > BY_MAX_RULES / BY_SLOTS)
		return err_at(e, -E2BIG, "policy", "%zu rules concern this node, the limit is %d", w->view.n,
			      BY_MAX_RULES / BY_SLOTS);
	ret = pol_peers_fold(&w->view, n_points, &w->peers);
	for (int dir = 0; !ret && dir < BY_DIR_COUNT; dir++) {
		ret = pol_ports_fold(&w->view, (enum by_dir)dir, w->model->digest, &w->ports[dir], e);
		if (!ret)
			ret = pol_verdicts_add(&w->view, (enum by_dir)dir, &w->ports[dir], &w->peers, &w->verdicts, e);
	}
	return ret;
}

/* --- writing ----------------------------------------------------------------------------------------------- */

/* The port ranges, counted when `to` is NULL. */
static uint32_t write_ports(const struct pol_work *w, struct pol_port_range *to)
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

static void write_rules(const struct pol_work *w, struct by_rule *to)
{
	for (size_t i = 0; i < w->view.n; i++) {
		const struct pol_rule *rule = w->view.item[i].rule;
		const struct pol_opening *opening = w->view.item[i].opening;

		memcpy(to[i].name, rule->name, strlen(rule->name)); /* POL_NAME_MAX fits, the rest is zero */
		to[i].flags = rule->flags;
		to[i].rate = rule->rate;
		to[i].burst = rule->burst;
		if (opening)
			memcpy(to[i].where, opening->where, strnlen(opening->where, sizeof(to[i].where) - 1));
		else
			pol_rule_where(w->model, rule, to[i].where, sizeof(to[i].where));
	}
}

static void write_members(const struct pol_work *w, struct pol_member *to)
{
	for (size_t i = 0; i < w->n_members; i++) {
		memcpy(to[i].instance_id, w->member[i].instance_id, BY_INSTANCE_ID_LEN);
		to[i].peer_class = w->peers.class_of[w->member[i].kind];
	}
}

/* Only kinds that have a class of their own; counted when `to` is NULL. */
static uint32_t write_kinds(const struct pol_work *w, struct pol_kind_class *to)
{
	uint32_t n = 0;

	for (uint32_t k = 0; !w->cells.n && k < w->peers.n_points; k++) {
		if (w->peers.class_of[k] == POL_CLASS_OTHER)
			continue;
		if (to)
			to[n] = (struct pol_kind_class){ k, w->peers.class_of[k] };
		n++;
	}
	return n;
}

/* Whether the next longer prefix has the same class, so that the cell need not be said. The first ones of both families
 * always are. */
static bool is_implied(const struct pol_work *w, uint32_t cell)
{
	struct pol_prefix outer = w->cells.prefix[cell];

	if (outer.bits == (outer.is_v4 ? 96 : 0))
		return false;
	outer = pol_prefix_shorter(&outer);
	return w->peers.class_of[pol_cell_of(&w->cells, &outer)] == w->peers.class_of[cell];
}

static uint32_t write_nets(const struct pol_work *w, struct pol_net *to)
{
	uint32_t n = 0;

	for (uint32_t c = 0; c < w->cells.n; c++) {
		if (is_implied(w, c))
			continue;
		if (to)
			to[n] = (struct pol_net){ .addr = w->cells.prefix[c].addr,
						  .bits = w->cells.prefix[c].bits,
						  .peer_class = w->peers.class_of[c] };
		n++;
	}
	return n;
}

static struct pol_image *write_image(const struct pol_work *w)
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
				  .n_kinds = write_kinds(w, NULL),
				  .other_class = w->cells.n ? 0 : POL_CLASS_OTHER,
				  .n_nets = write_nets(w, NULL),
				  .n_openings = w->n_openings };
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
	write_kinds(w, (struct pol_kind_class *)pol_image_kinds(img));
	write_nets(w, (struct pol_net *)pol_image_nets(img));
	return img;
}

int pol_work_write(const struct pol_work *work, struct pol_image **img, struct err *e)
{
	struct pol_image *made = write_image(work);

	if (!made)
		return err_at(e, -ENOMEM, "policy", "out of memory");
	*img = made;
	return 0;
}

int pol_compile_mesh(const struct pol_model *model, const struct pol_subject *self, const struct pol_range *mesh,
		     size_t n_mesh, const struct pol_subject *peers, size_t n_peers, struct pol_image **img,
		     struct err *e)
{
	auto_call(pol_work_fini) struct pol_work w = { .model = model };
	int ret = sort_members(&w, peers, n_peers, e);

	if (!ret)
		ret = pol_view_of(model, pol_kind_of(model, self), false, &w.view);
	if (!ret)
		ret = pol_view_narrow(&w.view, mesh, n_mesh);
	if (!ret)
		ret = pol_work_fold(&w, model->kinds.n, e);
	if (!ret)
		return pol_work_write(&w, img, e);
	return err_at(e, ret, "policy", "%s", strerror(-ret)); /* unless a reason is given already */
}

int pol_compile(const struct pol_model *model, const struct pol_subject *self, const struct pol_subject *peers,
		size_t n_peers, struct pol_image **img, struct err *e)
{
	return pol_compile_mesh(model, self, NULL, 0, peers, n_peers, img, e);
}

int pol_classify(const struct pol_model *model, const struct pol_image *img, const struct pol_subject *peer,
		 uint32_t *peer_class)
{
	const struct pol_kind_class *kind = pol_image_kinds(img);
	uint32_t of_peer;
	size_t low = 0, high = img->n_kinds;

	if (memcmp(model->digest, img->digest, sizeof(img->digest)) != 0 || !img->other_class)
		return -ENOENT;
	of_peer = pol_kind_of(model, peer);
	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (kind[mid].kind < of_peer)
			low = mid + 1;
		else
			high = mid;
	}
	*peer_class = low < img->n_kinds && kind[low].kind == of_peer ? kind[low].peer_class : img->other_class;
	return 0;
}
