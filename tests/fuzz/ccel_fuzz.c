// SPDX-License-Identifier: Apache-2.0
/* A binary log; one that can be read replays, to its own registers and to no others, and is nobody's identity. */
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "identity/eventlog.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	auto_call(id_events_fini) struct id_events events = { 0 };
	uint8_t rtmr[ID_RTMRS][ID_MR_LEN];
	struct id_log log;
	struct err e = ERR_INIT;

	if (id_events_from_ccel(data, size, &events, &e) < 0)
		return 0;
	if (id_events_replay(&events, &log, &e) < 0)
		abort();
	memcpy(rtmr, log.rtmr, sizeof(rtmr));
	if (id_log_compare(&log, rtmr, &e) < 0)
		abort();
	rtmr[0][0] ^= 1;
	if (id_log_compare(&log, rtmr, &e) == 0 || id_events_identity(&events, &log, &e) == 0)
		abort();
	return 0;
}
