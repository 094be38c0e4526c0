/* SPDX-License-Identifier: Apache-2.0 */
/* Scalars as fmt.c writes them: as they were, without quotes that nothing needs. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

void fmt_text_write(const char *text, bool is_quoted, FILE *to);
size_t fmt_text_width(const char *text, bool is_quoted); /* columns */
/* Without quotes it would be, or look like, something else than a text. */
bool fmt_text_needs_quotes(const char *text);
