// SPDX-License-Identifier: Apache-2.0
#include "json.h"

#include "cleanup.h"
#include "text.h"

json_t *json_hex(const void *bytes, size_t len)
{
	auto_free char *text = malloc(2 * len + 1);

	if (!text)
		return NULL;
	hex_print(text, bytes, len);
	return json_string(text);
}
