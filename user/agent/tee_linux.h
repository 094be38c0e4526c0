/* SPDX-License-Identifier: Apache-2.0 */
/* What the back ends of real machines share. */
#pragma once

#include "internal.h"

/* The event log for a quote: the file's text when it is JSON, "[]" without a file. */
int tee_event_log(const char *path, char **event_log, struct err *e);
