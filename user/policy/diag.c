// SPDX-License-Identifier: Apache-2.0
#include "diag.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

static void item_fini(struct diag *item)
{
	free(item->file);
	free(item->path);
	free(item->msg);
}

void diags_fini(struct diags *d)
{
	for (size_t i = 0; i < d->n; i++)
		item_fini(&d->item[i]);
	for (size_t i = 0; i < d->n_files; i++)
		free(d->file[i]);
	free(d->file);
	free(d->item);
	*d = (struct diags){ 0 };
}

/* A policy is somebody else's text: what it holds must not steer the reader's terminal. */
static char *printable(char *text)
{
	for (char *p = text; p && *p; p++)
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			*p = '?';
	return text;
}

unsigned diags_file(struct diags *d, const char *file)
{
	char **grown;
	size_t i = 0;

	while (i < d->n_files && strcmp(d->file[i], file) != 0)
		i++;
	if (i < d->n_files)
		return (unsigned)i;
	grown = realloc(d->file, (i + 1) * sizeof(*grown));
	if (!grown)
		return (unsigned)i; /* among the last, then */
	d->file = grown;
	d->file[i] = strdup(file);
	d->n_files += d->file[i] != NULL;
	return (unsigned)i;
}

static int is_after(const struct diag *a, const struct diag *b)
{
	if (a->rank != b->rank)
		return a->rank > b->rank;
	return a->line > b->line || (a->line == b->line && a->col > b->col);
}

/* File order, whatever the order in which checks ran; equal places keep theirs. */
static void insert(struct diags *d, const struct diag *item)
{
	size_t at = d->n;

	while (at && is_after(&d->item[at - 1], item))
		at--;
	memmove(&d->item[at + 1], &d->item[at], (d->n - at) * sizeof(*item));
	d->item[at] = *item;
	d->n++;
}

static void add(struct diags *d, struct diag item, const char *file, const char *path, const char *msg)
{
	item.rank = item.rank ? item.rank : diags_file(d, file ? file : "");
	item.file = printable(strdup(file ? file : ""));
	item.path = printable(strdup(path ? path : ""));
	item.msg = printable(strdup(msg));
	if (!d->item)
		d->item = calloc(DIAGS_MAX + 1, sizeof(*d->item));
	if (d->item && item.file && item.path && item.msg)
		insert(d, &item);
	else
		item_fini(&item);
}

/* The item that stands for all those beyond DIAGS_MAX: it is an error as soon as one of them is. */
static void add_more(struct diags *d, const struct diag *item, const char *file)
{
	char msg[64];

	if (d->n == DIAGS_MAX + 1) {
		d->item[DIAGS_MAX].is_warning &= item->is_warning;
		return;
	}
	snprintf(msg, sizeof(msg), "more problems than these %d; they are not shown", DIAGS_MAX);
	add(d, (struct diag){ .rank = ~0u, .is_warning = item->is_warning }, file, "", msg);
}

static void vadd(struct diags *d, struct diag item, const char *file, const char *path, const char *fmt, va_list ap)
{
	char msg[1024];

	/* counted before anything can fail: a lost text must not turn a refusal into a success */
	d->n_errors += !item.is_warning;
	if (d->n >= DIAGS_MAX) {
		add_more(d, &item, file);
		return;
	}
	vsnprintf(msg, sizeof(msg), fmt, ap);
	add(d, item, file, path, msg);
}

void diags_add(struct diags *d, const char *file, unsigned line, unsigned col, const char *path, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vadd(d, (struct diag){ .line = line, .col = col }, file, path, fmt, ap);
	va_end(ap);
}

void diags_warn(struct diags *d, const char *file, unsigned line, unsigned col, const char *path, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vadd(d, (struct diag){ .line = line, .col = col, .is_warning = 1 }, file, path, fmt, ap);
	va_end(ap);
}

static void place(const struct diag *item, char *buf, size_t size)
{
	if (item->line)
		snprintf(buf, size, "%s:%u:%u", item->file, item->line, item->col);
	else
		snprintf(buf, size, "%s", item->file);
}

void diags_print(const struct diags *d, FILE *to)
{
	char where[512];

	for (size_t i = 0; i < d->n; i++) {
		const struct diag *item = &d->item[i];

		place(item, where, sizeof(where));
		fprintf(to, "%s: %s%s%s%s\n", where, item->is_warning ? "warning: " : "", item->path,
			item->path[0] ? ": " : "", item->msg);
	}
}

int diags_first(const struct diags *d, struct err *e)
{
	char where[512];

	if (!d->n_errors)
		return 0;
	for (size_t i = 0; i < d->n; i++) {
		const struct diag *item = &d->item[i];

		if (item->is_warning)
			continue;
		place(item, where, sizeof(where));
		return err_at(e, -EINVAL, where, "%s%s%s", item->path, item->path[0] ? ": " : "", item->msg);
	}
	return err_at(e, -EINVAL, NULL, "out of memory");
}
