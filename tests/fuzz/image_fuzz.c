// SPDX-License-Identifier: Apache-2.0
/* Any bytes as an image: what passes the check can be looked up, indexed and dumped without another look. */
#include <stdlib.h>
#include <string.h>

#include "policy/policy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void use(const struct pol_image *img)
{
	const struct pol_verdict *v = pol_image_verdicts(img);
	char *text = NULL;
	size_t text_len;
	FILE *out = open_memstream(&text, &text_len);

	for (size_t i = 0; i < img->n_verdicts; i++)
		if (v[i].verdict.rule &&
		    !memchr(pol_image_rules(img)[v[i].verdict.rule - 1].name, 0, sizeof(struct by_rule)))
			abort();
	for (uint32_t s = 0; s < BY_PORT_SPACE + 2; s += 1021)
		for (uint32_t c = 0; c < 4; c++)
			if (pol_image_lookup(img, BY_DIR_OUT, c, s).rule > img->n_rules)
				abort();
	if (img->n_nets && (!pol_image_net_lookup(img, &(struct by_addr){ { 1 } }) ||
			    !pol_image_net_lookup(img, &(struct by_addr){ { [10] = 255, 255, 10, 0, 0, 1 } })))
		abort();
	pol_image_dump(img, NULL, out);
	fclose(out);
	free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct err e = ERR_INIT;
	void *copy = malloc(size ? size : 1); /* aligned, and its end is known to the sanitizer */

	memcpy(copy, data, size);
	if (pol_image_check(copy, size, &e) == 0)
		use(copy);
	else if (!e.code || !e.msg[0])
		abort();
	free(copy);
	return 0;
}
