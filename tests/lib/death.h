/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kill -9 at every step. A child does the deed under ptrace; a step is the entry or the end of a system call that
 * changes what the kernel holds, so that stores to mapped maps between two calls fall between two steps. Nothing in
 * the product knows of it.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* Runs in the child, on what the parent had open when it was forked. */
typedef int (*deed_fn)(void *arg);

/* Kills the child at step `at`, counted from 0. Returns false when it came to its end before (it must say 0). */
bool death_at(deed_fn deed, void *arg, unsigned at, const char **call);
/* Steps of the deed when nothing stops it. */
unsigned death_steps(deed_fn deed, void *arg);
/* Kills it after about `us` microseconds, wherever it is. Returns false when it had ended. */
bool death_after(deed_fn deed, void *arg, unsigned us);
