/* SPDX-License-Identifier: Apache-2.0 */
/* What a program made of one packet, by its counters. */
#pragma once

#include "datapath/datapath.h"

/* The one counter that moved between two readings: asserts that there is one, of this direction, and by one packet. */
enum by_drop counted(const struct dp_status *before, const struct dp_status *after, enum by_dir dir);
