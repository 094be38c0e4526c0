// SPDX-License-Identifier: Apache-2.0
#include "base/env.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

bool env_split(struct env_var *var, const char *text)
{
	const char *is = strchr(text, '=');

	if (!is || is == text || !is[1])
		return false;
	*var = (struct env_var){ .name = text, .value = is + 1, .len = (size_t)(is - text) };
	return true;
}

bool env_is(const struct env_var *var, const char *name)
{
	return strlen(name) == var->len && memcmp(name, var->name, var->len) == 0;
}

int env_unknown(const struct env_var *var, const char *const *prefixes, const char *whose, struct err *e)
{
	for (; *prefixes; prefixes++)
		if (strncmp(var->name, *prefixes, strlen(*prefixes)) == 0)
			return err_at(e, -EINVAL, "environment", "%.*s is no variable of %s", (int)var->len, var->name,
				      whose);
	return 0;
}

int env_flag(const char *value, bool *to, struct err *e)
{
	bool is_true = strcmp(value, "true") == 0;

	if (!is_true && strcmp(value, "false") != 0)
		return err_at(e, -EINVAL, NULL, "needs true or false, found '%.100s'", value);
	*to = is_true;
	return 0;
}

int env_port(const char *value, uint16_t *to, struct err *e)
{
	if (!*value || strlen(value) > 5 || strspn(value, "0123456789") != strlen(value) ||
	    strtoul(value, NULL, 10) - 1 >= 65535)
		return err_at(e, -EINVAL, NULL, "needs a port, found '%.100s'", value);
	*to = (uint16_t)strtoul(value, NULL, 10);
	return 0;
}

int env_path(const char *value, char *to, size_t size, struct err *e)
{
	if (*value != '/' || strlen(value) >= size)
		return err_at(e, -EINVAL, NULL, "needs a path from the root, found '%.100s'", value);
	strcpy(to, value);
	return 0;
}
