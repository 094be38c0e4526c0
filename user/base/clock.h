/* SPDX-License-Identifier: Apache-2.0 */
/* Readings of a clock of the kernel. CLOCK_BOOTTIME counts what a machine slept; CLOCK_MONOTONIC does not. */
#pragma once

#include <stdint.h>
#include <time.h>

static inline int64_t clock_ns(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static inline int64_t clock_ms(clockid_t clock)
{
	return clock_ns(clock) / 1000000;
}

static inline int64_t clock_s(clockid_t clock)
{
	return clock_ns(clock) / 1000000000;
}
