/* SPDX-License-Identifier: Apache-2.0 */
/* Settings out of a YAML tree, for conf*.c alone, here and of the other programs. Each says what was needed, and where.
 */
#pragma once

#include "conf.h"
#include "policy/yaml.h"

/* One parse: where errors go and whether there were any is `d`'s business. */
struct conf_parse {
	const struct yaml_doc *doc;
	struct diags *d;
	struct conf *conf;  /* baileyd's own; NULL elsewhere, and conf_list is not called there */
	char dir[PATH_MAX]; /* of the file, for relative paths */
};

/* A map under the root with known keys; NULL: absent, or wrong. */
const struct yaml_node *conf_section(struct conf_parse *p, const char *name, const char *const *known, bool required);
const char *conf_text(struct conf_parse *p, const struct yaml_node *map, const char *key, bool required);
void conf_name(struct conf_parse *p, const struct yaml_node *map, const char *key, char *dst, size_t size);
/* Relative to the folder of the file. */
void conf_take_path(struct conf_parse *p, const struct yaml_node *at, const char *s, char dst[PATH_MAX]);
/* fallback NULL: the key is required. */
void conf_path(struct conf_parse *p, const struct yaml_node *map, const char *key, char dst[PATH_MAX],
	       const char *fallback);
/* The same for the programs whose paths begin at the root. "" is the fallback of what may be absent. */
void conf_root_path(struct conf_parse *p, const struct yaml_node *map, const char *key, char dst[PATH_MAX],
		    const char *fallback);
void conf_version(struct conf_parse *p); /* `version: 1` is needed */
uint64_t conf_number(struct conf_parse *p, const struct yaml_node *map, const char *key, uint64_t min, uint64_t max,
		     uint64_t fallback);
/* Walks a list of strings; `take` parses item i and says whether it could; `needed` is said then. How many. */
uint32_t conf_list(struct conf_parse *p, const struct yaml_node *map, const char *key, bool required, uint32_t max,
		   const char *needed, bool (*take)(struct conf *conf, uint32_t i, const char *text));

/* conf_capture.c: after the sections that name devices and networks */
void conf_capture(struct conf_parse *p);

/* conf_via.c */
void conf_via(struct conf_parse *p, const struct yaml_node *overlay);

/* conf_dns.c */
void conf_dns(struct conf_parse *p);

/* conf_underlay.c: after overlay and exchange, whose ports it keeps open */
void conf_underlay(struct conf_parse *p);
