/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Variables of an environment that stands in place of a file: "NAME=VALUE", as dstack-vpc's containers are told
 * what to be. The readers of values refuse without a place; whoever knows the name puts it in front with err_wrap().
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/* Points into the text that was split. The name has no end of its own: len says where it is. */
struct env_var {
	const char *name, *value;
	size_t len;
};

/* False: it has no name, or is empty, which is as good as absent, as in dstack-vpc's scripts. */
bool env_split(struct env_var *var, const char *text);
bool env_is(const struct env_var *var, const char *name);
/*
 * For a variable that none of the known names is: -EINVAL if it is of a family (one of `prefixes`, NULL at the end),
 * which is a mistake and not a wish to be passed over; 0 of any other. whose: "bailey-mesh".
 */
int env_unknown(const struct env_var *var, const char *const *prefixes, const char *whose, struct err *e);

/* 0, or -EINVAL and `to` as it was. */
int env_flag(const char *value, bool *to, struct err *e); /* true or false */
int env_port(const char *value, uint16_t *to, struct err *e);
int env_path(const char *value, char *to, size_t size, struct err *e); /* from the root, shorter than size */
