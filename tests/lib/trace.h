/* SPDX-License-Identifier: Apache-2.0 */
/* Whether something was written to a map. */
#pragma once

#include <stdint.h>

/* Of every key and value; 0 for what has none to read (ring buffers). */
uint64_t map_fingerprint(int fd);
