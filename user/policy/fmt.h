/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A policy file in its canonical form: keys of known maps in one order, two blanks a level, brackets where a collection
 * fits on its line and was written in them, quotes where they are needed, at most one empty line. Comments are kept,
 * and the text means what it meant: what has been written is read again and compared, or refused.
 */
#pragma once

#include <stddef.h>

#include "diag.h"

#define POL_FORMAT_WIDTH 120 /* columns of a line that ends in a bracket */

/* 0 and the malloc'ed text, or -EINVAL with the reasons in `d`. Any YAML of the language's kind, also a part of a
 * policy. */
int pol_format(const char *file, const char *text, size_t len, char **out, struct diags *d);
