// SPDX-License-Identifier: Apache-2.0
/* Lists of prefixes and their difference. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "rtnl.h"

void ov_prefixes_fini(struct ov_prefixes *list)
{
	free(list->v);
	*list = (struct ov_prefixes){ 0 };
}

/* Doubles at powers of two, so the length alone says how much room there is; never shrinks its length otherwise. */
int ov_prefixes_add(struct ov_prefixes *list, const struct ip_prefix *p)
{
	struct ip_prefix *v;

	if (list->n >= OV_PREFIXES_MAX)
		return -E2BIG;
	if ((list->n & (list->n - 1)) == 0 || !list->n) {
		v = realloc(list->v, (list->n ? 2 * list->n : 1) * sizeof(*v));
		if (!v)
			return -ENOMEM;
		list->v = v;
	}
	list->v[list->n++] = *p;
	return 0;
}

static int by_prefix(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct ip_prefix));
}

/* Sorted, each once. */
static void normalize(struct ov_prefixes *list)
{
	size_t kept = 0;

	if (!list->n)
		return;
	qsort(list->v, list->n, sizeof(*list->v), by_prefix);
	for (size_t i = 1; i < list->n; i++)
		if (by_prefix(&list->v[kept], &list->v[i]))
			list->v[++kept] = list->v[i];
	list->n = kept + 1;
}

int ov_prefixes_diff(struct ov_prefixes *have, struct ov_prefixes *want, struct ov_prefixes *del,
		     struct ov_prefixes *add)
{
	size_t h = 0, w = 0;
	int rc = 0;

	normalize(have);
	normalize(want);
	while (!rc && (h < have->n || w < want->n)) {
		int order = h == have->n ? 1 : w == want->n ? -1 : by_prefix(&have->v[h], &want->v[w]);

		if (order < 0)
			rc = ov_prefixes_add(del, &have->v[h]);
		if (order > 0)
			rc = ov_prefixes_add(add, &want->v[w]);
		h += order <= 0;
		w += order >= 0;
	}
	return rc;
}
