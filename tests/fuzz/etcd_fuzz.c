// SPDX-License-Identifier: Apache-2.0
/* What etcd answers, and what its values say. It is trusted to be there, not to be right. */
#include <stdlib.h>
#include <string.h>

#include "vpcd/store_internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct vs_store *copy_of_nothing(void)
{
	static struct vs_store s;
	struct err e = ERR_INIT;

	if (!s.db && (sqlite3_open(":memory:", &s.db) != SQLITE_OK || store_migrate(&s, "fuzz", &e) < 0))
		abort();
	return &s;
}

static void check(const struct vs_row *row, const void *record, size_t len, void *arg)
{
	(void)record, (void)arg;
	if (!row->number || row->state >= VS_STATES || len > ID_RECORD_MAX)
		abort();
}

static void value(const struct etcd_kv *kv)
{
	struct vs_store *s = copy_of_nothing();
	const char *key = strstr(kv->key, "node/");
	struct err e = ERR_INIT;

	if (store_run(s, "BEGIN", &e) < 0)
		abort();
	if (row_put(s, key ? key : kv->key, (const char *)kv->value, kv->len, &e) == 0 &&
	    vs_store_each(s, check, NULL, &e) < 0)
		abort();
	store_run(s, "ROLLBACK", &e);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct etcd_answer a;
	struct err e = ERR_INIT;

	if (etcd_answer_read((const char *)data, size, &a, &e) < 0)
		return 0;
	for (size_t i = 0; i < a.n; i++) {
		if (strlen(a.kv[i].key) == 0 || a.kv[i].revision < 0)
			abort();
		value(&a.kv[i]);
	}
	etcd_answer_fini(&a);
	return 0;
}
