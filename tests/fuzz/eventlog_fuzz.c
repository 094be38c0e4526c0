// SPDX-License-Identifier: Apache-2.0
/* A log without a quote; one that is read must also replay to its own register, and to no other. */
#include <stdlib.h>
#include <string.h>

#include "identity/eventlog.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct id_log log, again;
	struct err e = ERR_INIT;
	uint8_t rtmr[ID_RTMRS][ID_MR_LEN];

	if (id_eventlog_read((const char *)data, size, NULL, &log, &e) < 0)
		return 0;
	memcpy(rtmr, log.rtmr, sizeof(rtmr));
	if (id_eventlog_read((const char *)data, size, rtmr, &again, &e) < 0)
		abort();
	rtmr[3][ID_MR_LEN - 1] ^= 1;
	if (id_eventlog_read((const char *)data, size, rtmr, &again, &e) == 0)
		abort();
	return 0;
}
