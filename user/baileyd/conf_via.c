// SPDX-License-Identifier: Apache-2.0
/* `overlay.via`: what is at another endpoint from here than a record says, as where `bailey tunnel` leads there. */
#include "conf_read.h"

static void take(struct conf_parse *p, const struct yaml_node *map, size_t i)
{
	struct conf_via *via = &p->conf->via[p->conf->n_via];
	const char *to = yaml_str(p->doc, map->child[i], p->d);

	if (!endpoint_parse(&via->recorded, map->child[i]->key))
		yaml_error(p->doc, map->child[i], p->d, "its key is to be an endpoint of a record, found '%s'",
			   map->child[i]->key);
	else if (to && !endpoint_parse(&via->dialled, to))
		yaml_error(p->doc, map->child[i], p->d, "needs an endpoint like 127.0.0.1:51821, found '%s'", to);
	else if (to)
		p->conf->n_via++;
}

void conf_via(struct conf_parse *p, const struct yaml_node *overlay)
{
	const struct yaml_node *map = yaml_get(overlay, "via");

	if (!map)
		return;
	if (map->kind != YAML_MAP || map->n > CONF_MAX_VIA) {
		yaml_error(p->doc, map, p->d, "needs a map of at most %d endpoints of records to others", CONF_MAX_VIA);
		return;
	}
	for (size_t i = 0; i < map->n; i++)
		take(p, map, i);
}

bool conf_endpoint(const struct conf *conf, const struct ip_endpoint *recorded, size_t n, struct ip_endpoint *at)
{
	for (size_t i = 0; i < n; i++)
		for (uint32_t k = 0; k < conf->n_via; k++)
			if (endpoint_equal(&recorded[i], &conf->via[k].recorded)) {
				*at = conf->via[k].dialled;
				return true;
			}
	if (n)
		*at = recorded[0];
	return n;
}
