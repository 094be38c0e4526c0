// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <string.h>

#include "base/text.h"
#include "internal.h"

static int not_a(const char *name, const char *what, struct err *e)
{
	return err_at(e, -EINVAL, name, "is not %s", what);
}

int arg_text(const json_t *args, const char *name, const char **text, struct err *e)
{
	const json_t *value = json_object_get(args, name);

	if (value && !json_is_null(value) && !json_is_string(value))
		return not_a(name, "a text", e);
	*text = json_is_string(value) ? json_string_value(value) : "";
	return 0;
}

int arg_bool(const json_t *args, const char *name, bool *value, struct err *e)
{
	const json_t *found = json_object_get(args, name);

	if (found && !json_is_null(found) && !json_is_boolean(found))
		return not_a(name, "true or false", e);
	*value = json_is_true(found);
	return 0;
}

int arg_time(const json_t *args, const char *name, bool *has, int64_t *value, struct err *e)
{
	const json_t *found = json_object_get(args, name);

	*has = found && !json_is_null(found);
	if (!*has)
		return 0;
	/* what an ASN.1 time can say: up to the year 9999 */
	if (!json_is_integer(found) || json_integer_value(found) < 0 || json_integer_value(found) > 253402300799ll)
		return not_a(name, "a time in seconds since 1970", e);
	*value = json_integer_value(found);
	return 0;
}

int arg_bytes(const json_t *args, const char *name, size_t max, uint8_t **bytes, size_t *len, struct err *e)
{
	const char *hex;
	uint8_t *made;
	size_t n;
	int ret = arg_text(args, name, &hex, e);

	if (ret < 0)
		return ret;
	while (strncmp(hex, "0x", 2) == 0)
		hex += 2;
	n = strlen(hex) / 2;
	if (n > max)
		return err_at(e, -EINVAL, name, "has %zu bytes, the limit is %zu", n, max);
	made = malloc(n + 1);
	if (!made)
		return err_at(e, -ENOMEM, name, "out of memory");
	if (strlen(hex) % 2 || !hex_parse(made, n, hex)) {
		free(made);
		return not_a(name, "hex", e);
	}
	*bytes = made;
	*len = n;
	return 0;
}
