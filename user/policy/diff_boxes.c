// SPDX-License-Identifier: Apache-2.0
/* What two policies together tell apart by claims, and some of it in words. */
#include "diff_boxes.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "diff.h"
#include "model.h"

#define BOXES_MAX  4096u
#define VALUES_MAX 6u /* told of one dimension */
#define DIGITS_MAX 12 /* of a hash */

void pol_diff_boxes_free(struct pol_diff_boxes *boxes)
{
	if (boxes) {
		pol_splits_fini(&boxes->splits);
		free(boxes->shape);
		free(boxes->masks);
	}
	free(boxes);
}

/* --- made -------------------------------------------------------------------------------------------------- */

static int box_add(struct pol_diff_boxes *b, const struct pol_masks *masks, const bool *shape)
{
	if (b->n == BOXES_MAX)
		return -E2BIG;
	if ((b->n & (b->n - 1)) == 0) { /* full at each power of two */
		size_t room = b->n ? 2 * b->n : 1;
		struct pol_masks *m = reallocarray(b->masks, room, sizeof(*m));
		bool *s;

		if (!m)
			return -ENOMEM;
		b->masks = m;
		s = reallocarray(b->shape, room, b->width + 1);
		if (!s)
			return -ENOMEM;
		b->shape = s;
	}
	b->masks[b->n] = *masks;
	memcpy(&b->shape[b->n++ * b->width], shape, b->width);
	return 0;
}

/* Each set of parts of a dimension with which the same is met, by the rest of the dimensions. */
static int cut(struct pol_diff_boxes *b, int dim, const struct pol_masks *masks, bool *shape)
{
	const struct pol_split *split = &b->splits.dim[dim];
	auto_free bool *is_done = NULL;
	int ret = 0;

	if (dim == POL_DIM_COUNT)
		return box_add(b, masks, shape);
	if (!split->n)
		return cut(b, dim + 1, masks, shape);
	is_done = calloc(split->n, sizeof(*is_done));
	if (!is_done)
		return -ENOMEM;
	for (size_t p = 0; !ret && p < split->n; p++) {
		struct pol_masks met = pol_masks_and(masks, &split->part[p].masks);

		if (is_done[p])
			continue;
		for (size_t q = 0; q < split->n; q++) {
			struct pol_masks other = pol_masks_and(masks, &split->part[q].masks);
			bool is_in = !is_done[q] && memcmp(&met, &other, sizeof(met)) == 0;

			shape[b->at[dim] + q] = is_in;
			is_done[q] |= is_in;
		}
		ret = cut(b, dim + 1, &met, shape);
	}
	return ret;
}

int pol_diff_boxes_make(const struct pol_predicate *predicate, size_t n, struct pol_diff_boxes **boxes)
{
	struct pol_diff_boxes *b = *boxes = calloc(1, sizeof(*b));
	auto_free bool *shape = NULL;
	int ret = b ? pol_splits_make(predicate, n, &b->splits) : -ENOMEM;

	if (ret)
		return ret;
	for (int d = 0; d < POL_DIM_COUNT; d++) {
		b->at[d] = b->width;
		b->width += b->splits.dim[d].n;
	}
	shape = calloc(b->width + 1, sizeof(*shape));
	return shape ? cut(b, 0, &b->splits.all, shape) : -ENOMEM;
}

/* --- joined ------------------------------------------------------------------------------------------------ */

/* Where a dimension's parts lie in a shape. */
struct seam {
	size_t at, n, width;
};

static int order_but_seam(const void *a, const void *b, void *seam)
{
	const struct seam *s = seam;
	const bool *x = a, *y = b;
	size_t behind = s->at + s->n;
	int order = memcmp(x, y, s->at);

	return order ? order : memcmp(x + behind, y + behind, s->width - behind);
}

/* Boxes that differ in one dimension alone are one box. */
static size_t join_along(struct seam seam, bool *shape, size_t n)
{
	size_t kept = 0;

	qsort_r(shape, n, seam.width, order_but_seam, &seam);
	for (size_t i = 0; i < n; i++) {
		bool *box = &shape[i * seam.width], *last = kept ? &shape[(kept - 1) * seam.width] : NULL;

		if (!last || order_but_seam(last, box, &seam) != 0) {
			memmove(&shape[kept++ * seam.width], box, seam.width);
			continue;
		}
		for (size_t p = seam.at; p < seam.at + seam.n; p++)
			last[p] |= box[p];
	}
	return kept;
}

static int order_shown(const void *a, const void *b, void *width)
{
	return memcmp(b, a, *(const size_t *)width);
}

/* Backwards, as they were cut: all boxes that there are become one. */
static size_t join(const struct pol_diff_boxes *b, bool *shape, size_t n)
{
	size_t before, width = b->width;

	do {
		before = n;
		for (int d = POL_DIM_COUNT; d-- > 0;)
			if (b->splits.dim[d].n)
				n = join_along((struct seam){ b->at[d], b->splits.dim[d].n, width }, shape, n);
	} while (n < before);
	if (width)
		qsort_r(shape, n, width, order_shown, &width);
	return n;
}

/* --- in words ---------------------------------------------------------------------------------------------- */

static void value_print(enum pol_dim dim, const struct pol_value *value, FILE *out)
{
	char text[2 * sizeof(*value) + 1];

	pol_value_print(dim, value, text, sizeof(text));
	if (strlen(text) >= 2 * POL_HASH_LEN)
		fprintf(out, "%.*s..", DIGITS_MAX, text);
	else
		fputs(text, out);
}

/* The values of the parts that are in the group, or of those that are not. */
static void values_print(enum pol_dim dim, const struct pol_split *split, const bool *is_in, bool which, FILE *out)
{
	size_t n = 0;
	bool has_unknown = false;

	for (size_t p = 0; p < split->n; p++) {
		const struct pol_part *part = &split->part[p];

		if (is_in[p] != which)
			continue;
		has_unknown |= part->has_unknown;
		for (size_t v = 0; v < part->n; v++, n++) {
			if (n >= VALUES_MAX)
				continue;
			fputs(n ? "|" : "", out);
			value_print(dim, &part->value[v], out);
		}
	}
	if (n > VALUES_MAX)
		fprintf(out, "|%zu more", n - VALUES_MAX);
	if (has_unknown)
		fprintf(out, "%sunknown", n ? "|" : "");
}

static void group_print(enum pol_dim dim, const struct pol_split *split, const bool *is_in, FILE *out)
{
	size_t n_in = 0, n_out = 0;
	bool has_rest = false;

	for (size_t p = 0; p < split->n; p++) {
		*(is_in[p] ? &n_in : &n_out) += split->part[p].n + split->part[p].has_unknown + split->part[p].has_rest;
		has_rest |= is_in[p] && split->part[p].has_rest;
	}
	if (!n_out) /* all there are */
		return;
	has_rest |= n_in > n_out && pol_dim_values(dim, (struct pol_value[POL_TCB_COUNT]){ 0 });
	fprintf(out, "%s%s%s", ftell(out) ? ", " : "", pol_dim_key[dim], has_rest ? "!=" : "=");
	values_print(dim, split, is_in, !has_rest, out);
}

static char *words(const struct pol_diff_boxes *b, const bool *shape)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	if (!out)
		return NULL;
	for (int d = 0; d < POL_DIM_COUNT; d++)
		group_print((enum pol_dim)d, &b->splits.dim[d], &shape[b->at[d]], out);
	if (fclose(out) == 0)
		return text;
	free(text);
	return NULL;
}

int pol_diff_boxes_tell(const struct pol_diff_boxes *b, const uint32_t *box, size_t n,
			void (*take)(void *arg, const char *claims), void *arg)
{
	auto_free bool *shape = calloc(n + 1, b->width + 1);

	if (!shape)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++)
		memcpy(&shape[i * b->width], &b->shape[box[i] * b->width], b->width);
	n = join(b, shape, n);
	for (size_t i = 0; i < n; i++) {
		auto_free char *text = words(b, &shape[i * b->width]);

		if (!text)
			return -ENOMEM;
		take(arg, text);
	}
	return 0;
}
