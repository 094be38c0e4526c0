// SPDX-License-Identifier: Apache-2.0
/* The answer of a userspace WireGuard: whatever it says, either a device that can be compared, or a located refusal. */
#include <stdlib.h>

#include "overlay/wg_uapi.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct ov_device dev = { 0 }, none = { 0 };
	struct ov_diff diff = { 0 };
	struct err e = ERR_INIT;
	struct out out = { 0 };
	int rc;

	rc = ov_uapi_parse((const char *)data, size, "fuzz", &dev, &e);
	if ((rc < 0) != (e.code < 0) || (rc < 0 && dev.peers))
		abort();
	if (rc < 0)
		return 0;
	for (size_t i = 0; i < dev.n_peers; i++)
		if (dev.peers[i].n_allowed > OV_MAX_ALLOWED)
			abort();
	if (!ov_diff(&none, &dev, &diff))
		ov_uapi_print_set(&out, &dev, &diff);
	out_fini(&out);
	ov_diff_fini(&diff);
	ov_device_fini(&dev);
	return 0;
}
