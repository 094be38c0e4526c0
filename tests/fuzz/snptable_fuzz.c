// SPDX-License-Identifier: Apache-2.0
/* A certificate table: whatever it hands out lies inside it. */
#include <stdlib.h>

#include "identity/snp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct id_snp_certs certs;
	struct err e = ERR_INIT;
	const struct in *all[] = { &certs.vek, &certs.intermediate, &certs.root };

	if (id_snp_table_parse(data, size, &certs, &e) < 0)
		return 0;
	for (size_t i = 0; i < 3; i++)
		if (all[i]->p &&
		    (all[i]->p < data || all[i]->left > size || (size_t)(all[i]->p - data) > size - all[i]->left))
			abort();
	return 0;
}
