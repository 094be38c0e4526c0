// SPDX-License-Identifier: Apache-2.0
/* bailey-mesh.yaml, and the questions that a worker can put to the key process. */
#include <stdlib.h>
#include <string.h>

#include "meshd/conf.h"
#include "meshd/sign.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void question(const uint8_t *data, size_t size)
{
	static struct event_base *base;
	static struct sign_ring *ring;
	struct sign_answer answer;
	struct err e = ERR_INIT;
	struct sign_ask ask;

	if (!ring && ((base = event_base_new()) == NULL || sign_ring_new(base, &ring, &e) < 0))
		abort();
	memset(&ask, 0, sizeof(ask));
	memcpy(&ask, data, size < sizeof(ask) ? size : sizeof(ask));
	sign_ring_answer(ring, &ask, &answer);
	/* there is no key, so nothing may be signed */
	if (!answer.code || answer.len)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct md_conf conf;
	struct diags d = { 0 };
	struct md_place place;
	struct err e = ERR_INIT;
	char text[MD_HOST_LEN + 16];

	question(data, size);
	snprintf(text, sizeof(text), "%.*s", (int)(size < sizeof(text) ? size : sizeof(text) - 1), (const char *)data);
	if (md_place_parse(&place, text, 0) && (!place.port || !place.host[0]))
		abort();
	if (md_conf_parse("mesh.yaml", (const char *)data, size, &conf, &d) == 0 && md_conf_check(&conf, &e) < 0)
		abort();
	diags_fini(&d);
	return 0;
}
