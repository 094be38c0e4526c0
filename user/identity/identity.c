// SPDX-License-Identifier: Apache-2.0
#include "identity.h"

#include <string.h>

#include "base/cleanup.h"

static const struct {
	const char *name, *text;
} reasons[] = {
#define EVIDENCE(name, text) { #name, text },
#include "tbl/evidence.h"
#undef EVIDENCE
};

_Static_assert(ARRAY_LEN(reasons) == ID_REASON_COUNT, "one line per reason");

const char *id_reason_name(int reason)
{
	return reason >= 0 && reason < ID_REASON_COUNT ? reasons[reason].name : "UNKNOWN";
}

const char *id_reason_text(int reason)
{
	return reason >= 0 && reason < ID_REASON_COUNT ? reasons[reason].text : "unknown reason";
}

int id_reason_of(const char *name, size_t len)
{
	for (int r = ID_NONE + 1; r < ID_REASON_COUNT; r++)
		if (strlen(reasons[r].name) == len && memcmp(reasons[r].name, name, len) == 0)
			return r;
	return ID_NONE;
}

const char *id_fresh_name(unsigned level)
{
	static const char *const names[] = { "off", "key", "quote" };

	return level < ARRAY_LEN(names) ? names[level] : "unknown";
}
