/* SPDX-License-Identifier: Apache-2.0 */
/* Cgroups of version 2, for tests of programs that are attached to them. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

bool cgroup2_find(char *path, size_t size); /* where they are mounted; false: nowhere */
void cgroup2_enter(const char *cgroup);     /* what is made from now on is of it */
