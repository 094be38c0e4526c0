/* SPDX-License-Identifier: Apache-2.0 */
/* A machine behind the host, as `bailey workload list` and `bailey status` print it. */
#pragma once

#include <jansson.h>

void print_workload(const json_t *w);
