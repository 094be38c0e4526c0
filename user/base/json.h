/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <jansson.h>

json_t *json_hex(const void *bytes, size_t len); /* lower case; NULL: out of memory */
