// SPDX-License-Identifier: Apache-2.0
#include "node_lists.h"

#include <stdio.h>
#include <string.h>

#define ITEM_MAX 160

/* Cuts one off; false when it is longer than any good one. *text is NULL behind the last one. */
static bool item_take(const char **text, char item[ITEM_MAX])
{
	const char *at = *text + strspn(*text, " ");
	size_t len = strcspn(at, ","), n = len;

	*text = at[len] ? at + len + 1 : NULL;
	while (n && at[n - 1] == ' ')
		n--;
	return snprintf(item, ITEM_MAX, "%.*s", (int)n, at) < ITEM_MAX;
}

uint32_t node_endpoints_parse(const char *text, struct ip_endpoint list[NODE_ENDPOINTS_MAX])
{
	char item[ITEM_MAX];
	uint32_t n = 0;

	while (text)
		if (n == NODE_ENDPOINTS_MAX || !item_take(&text, item) || !endpoint_parse(&list[n++], item))
			return 0;
	return n;
}

uint32_t node_via_parse(const char *text, struct node_via list[NODE_VIA_MAX])
{
	char item[ITEM_MAX], *is;
	uint32_t n = 0;

	while (text) {
		if (n == NODE_VIA_MAX || !item_take(&text, item))
			return 0;
		is = strchr(item, '=');
		if (!is)
			return 0;
		*is = '\0';
		if (!endpoint_parse(&list[n].recorded, item) || !endpoint_parse(&list[n].dialled, is + 1))
			return 0;
		n++;
	}
	return n;
}
