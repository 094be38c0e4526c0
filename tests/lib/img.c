// SPDX-License-Identifier: Apache-2.0
#include "img.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/addr.h"

struct img {
	struct pol_port_range *ports;
	struct pol_verdict *verdicts;
	struct by_rule *rules;
	struct pol_member *members;
	struct pol_net *nets;
	uint32_t n_nets, n_ports, n_verdicts, n_rules, n_members, n_peer_classes, n_port_classes;
	struct pol_image *done;
};

struct img *img_new(void)
{
	struct img *img = calloc(1, sizeof(*img));

	assert(img);
	return img;
}

void img_free(struct img *img)
{
	if (!img)
		return;
	free(img->ports);
	free(img->verdicts);
	free(img->rules);
	free(img->members);
	free(img->nets);
	free(img->done);
	free(img);
}

/* Room for one more in an array that grows by doubling; zeroed. */
static void *push(void *array, uint32_t *n, size_t size)
{
	void **a = array;
	char *at;

	if ((*n & (*n - 1)) == 0) {
		*a = realloc(*a, (*n ? 2 * *n : 1) * size);
		assert(*a);
	}
	at = (char *)*a + *n * size;
	memset(at, 0, size);
	++*n;
	return at;
}

static struct pol_port_range *range_of(struct img *img, uint32_t first, uint32_t last)
{
	struct pol_port_range *r;

	for (uint32_t i = 0; i < img->n_ports; i++) {
		r = &img->ports[i];
		if (r->first == first && r->last == last)
			return r;
		assert(last < r->first || first > r->last);
	}
	r = push(&img->ports, &img->n_ports, sizeof(*r));
	r->first = first;
	r->last = last;
	return r;
}

uint32_t img_rule(struct img *img, enum by_dir dir, uint32_t first, uint32_t last, uint32_t peer_class,
		  enum by_action action)
{
	struct pol_port_range *r = range_of(img, first, last);
	struct by_rule *rule = push(&img->rules, &img->n_rules, sizeof(*rule));
	struct pol_verdict *v = push(&img->verdicts, &img->n_verdicts, sizeof(*v));

	snprintf(rule->name, sizeof(rule->name), "rule-%u", img->n_rules);
	snprintf(rule->where, sizeof(rule->where), "test.yaml:%u", img->n_rules);
	if (!r->port.port_class[dir])
		r->port.port_class[dir] = (uint16_t)++img->n_port_classes;
	if (peer_class > img->n_peer_classes)
		img->n_peer_classes = peer_class;
	v->dir = (uint8_t)dir;
	v->port_class = r->port.port_class[dir];
	v->peer_class = peer_class;
	v->verdict = (struct by_verdict){ .rule = img->n_rules, .action = action };
	return img->n_rules;
}

static struct pol_verdict *verdict_of(struct img *img, uint32_t rule)
{
	for (uint32_t i = 0; i < img->n_verdicts; i++)
		if (img->verdicts[i].verdict.rule == rule)
			return &img->verdicts[i];
	assert(!"a rule without a verdict");
	return NULL;
}

void img_flags(struct img *img, uint32_t rule, uint32_t flags, uint32_t rate, uint32_t burst)
{
	struct by_rule *r = &img->rules[rule - 1];

	r->flags = flags;
	r->rate = rate;
	r->burst = burst;
	verdict_of(img, rule)->verdict.flags = (uint8_t)flags;
}

uint32_t img_audit(struct img *img, uint32_t rule)
{
	struct by_rule *r = push(&img->rules, &img->n_rules, sizeof(*r));

	snprintf(r->name, sizeof(r->name), "rule-%u", img->n_rules);
	snprintf(r->where, sizeof(r->where), "test.yaml:%u", img->n_rules);
	r->flags = BY_RULE_AUDIT;
	verdict_of(img, rule)->verdict.audit = img->n_rules;
	return img->n_rules;
}

void img_member(struct img *img, const uint8_t instance_id[BY_INSTANCE_ID_LEN], uint32_t peer_class)
{
	struct pol_member *m = push(&img->members, &img->n_members, sizeof(*m));

	memcpy(m->instance_id, instance_id, BY_INSTANCE_ID_LEN);
	m->peer_class = peer_class;
	if (peer_class > img->n_peer_classes)
		img->n_peer_classes = peer_class;
}

void img_net(struct img *img, const char *prefix, uint32_t peer_class)
{
	struct pol_net *n = push(&img->nets, &img->n_nets, sizeof(*n));
	struct ip_prefix p;

	assert(prefix_parse(&p, prefix));
	n->addr = p.addr;
	n->bits = p.bits + (addr_is_v4(&p.addr) ? 96 : 0);
	n->peer_class = peer_class;
}

static size_t put(char *base, size_t at, const void *src, size_t n)
{
	if (base && n)
		memcpy(base + at, src, n);
	return (at + n + 7) & ~(size_t)7;
}

/* base NULL: only the size. */
static size_t lay_out(const struct img *img, const struct pol_image *head, char *base)
{
	size_t at = put(base, 0, head, sizeof(*head));

	at = put(base, at, img->ports, img->n_ports * sizeof(*img->ports));
	at = put(base, at, img->verdicts, img->n_verdicts * sizeof(*img->verdicts));
	at = put(base, at, img->rules, img->n_rules * sizeof(*img->rules));
	at = put(base, at, img->members, img->n_members * sizeof(*img->members));
	return put(base, at, img->nets, img->n_nets * sizeof(*img->nets));
}

static int by_first(const void *a, const void *b)
{
	const struct pol_port_range *x = a, *y = b;

	return x->first < y->first ? -1 : x->first > y->first;
}

static int by_instance(const void *a, const void *b)
{
	return memcmp(a, b, BY_INSTANCE_ID_LEN);
}

static int by_key(const void *a, const void *b)
{
	const struct pol_verdict *x = a, *y = b;

	if (x->dir != y->dir)
		return x->dir < y->dir ? -1 : 1;
	if (x->peer_class != y->peer_class)
		return x->peer_class < y->peer_class ? -1 : 1;
	return x->port_class < y->port_class ? -1 : x->port_class > y->port_class;
}

const struct pol_image *img_done(struct img *img)
{
	struct pol_image head = {
		.magic = POL_IMAGE_MAGIC,
		.abi = BY_ABI_VERSION,
		.n_ports = img->n_ports,
		.n_verdicts = img->n_verdicts,
		.n_rules = img->n_rules,
		.n_members = img->n_members,
		.n_peer_classes = img->n_peer_classes,
		.n_port_classes = img->n_port_classes,
		.n_nets = img->n_nets,
	};

	if (img->n_ports)
		qsort(img->ports, img->n_ports, sizeof(*img->ports), by_first);
	if (img->n_verdicts)
		qsort(img->verdicts, img->n_verdicts, sizeof(*img->verdicts), by_key);
	if (img->n_members)
		qsort(img->members, img->n_members, sizeof(*img->members), by_instance);
	head.size = lay_out(img, &head, NULL);
	free(img->done);
	img->done = calloc(1, head.size);
	assert(img->done);
	lay_out(img, &head, (char *)img->done);
	return img->done;
}
