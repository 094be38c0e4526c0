// SPDX-License-Identifier: Apache-2.0
/* A handshake initiation: whatever it is, either its sender's key or a refusal. The seed is a real one for this key. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "overlay/overlay.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char own_private[] = "809e3626c28620152a87c754b0b49c72f29fea78785abba93cf3bd5a69dae268";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t own[OV_KEY_LEN], own_pub[OV_KEY_LEN], sender[OV_KEY_LEN], untouched[OV_KEY_LEN];
	int ret;

	if (!hex_parse(own, sizeof(own), own_private) || ov_key_public(own, own_pub) < 0)
		abort();
	memset(sender, 0xa5, sizeof(sender));
	memcpy(untouched, sender, sizeof(sender));
	ret = ov_initiation_sender(own, own_pub, data, size, sender);
	if (ret != 0 && (ret != -EBADMSG || memcmp(sender, untouched, sizeof(sender)) != 0))
		abort();
	return 0;
}
