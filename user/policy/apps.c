// SPDX-License-Identifier: Apache-2.0
#include "apps.h"

#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/text.h"

bool pol_apps_have(const struct pol_apps *apps, const uint8_t app_id[BY_APP_ID_LEN])
{
	for (uint32_t i = 0; i < apps->n; i++)
		if (memcmp(apps->app[i], app_id, BY_APP_ID_LEN) == 0)
			return true;
	return apps->any;
}

bool pol_apps_add(struct pol_apps *apps, const char *text, size_t len)
{
	char hex[2 * BY_APP_ID_LEN + 1];
	uint8_t id[BY_APP_ID_LEN];

	while (len && *text == ' ')
		text++, len--;
	while (len && text[len - 1] == ' ')
		len--;
	if (len != sizeof(hex) - 1)
		return false;
	memcpy(hex, text, len);
	hex[len] = '\0';
	if (!hex_parse(id, sizeof(id), hex))
		return false;
	if (pol_apps_have(apps, id))
		return true;
	if (apps->n == POL_APPS_MAX)
		return false;
	memcpy(apps->app[apps->n++], id, sizeof(id));
	return true;
}

bool pol_apps_parse(struct pol_apps *apps, const char *text)
{
	bool good = true;

	apps->any = strcmp(text, "any") == 0;
	while (good && !apps->any && text) {
		const char *comma = strchr(text, ',');

		good = pol_apps_add(apps, text, comma ? (size_t)(comma - text) : strlen(text));
		text = comma ? comma + 1 : NULL;
	}
	return good;
}

static void put_names(struct out *out, const struct pol_apps *apps)
{
	if (apps->any) {
		out_print(out, "any-attested");
		return;
	}
	for (uint32_t i = 0; i < apps->n; i++)
		out_print(out, "%sapp-%u", i ? ", " : "[", i);
	out_print(out, "]");
}

char *pol_apps_text(const struct pol_apps *apps, const char *to, const char *allow)
{
	char hex[2 * BY_APP_ID_LEN + 1];
	auto_out struct out out = { 0 };
	size_t len;

	out_print(&out, "version: 1\n%s", apps->any ? "" : "apps:\n");
	for (uint32_t i = 0; i < apps->n && !apps->any; i++) {
		hex_print(hex, apps->app[i], BY_APP_ID_LEN);
		out_print(&out, "  app-%u: { app-id: %s }\n", i, hex);
	}
	out_print(&out, "rules:\n  - { name: allowed-apps, from: ");
	put_names(&out, apps);
	out_print(&out, ", to: ");
	if (to)
		out_print(&out, "%s", to);
	else
		put_names(&out, apps);
	out_print(&out, ", allow: [%s] }\n", allow);
	out_u8(&out, 0);
	return (char *)out_take(&out, &len);
}
