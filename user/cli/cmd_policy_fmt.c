// SPDX-License-Identifier: Apache-2.0
/* bailey policy fmt: files in their canonical form. */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "cmd_policy.h"
#include "cmds.h"
#include "policy/fmt.h"

static const char help[] =
	"usage: bailey policy fmt [--check] [FILE...]\n\n"
	"  FILE...  files, and folders with their *.yaml, which are rewritten; without one, or with -, standard input\n"
	"           goes to standard output\n"
	"  --check  writes nothing and names the files that would change\n\n"
	"Comments are kept and the meaning stays; a file that can not be written again like that is left alone.\n\n"
	"exit status: 0 done, 1 a file is refused or, with --check, would change, 2 a file cannot be read or written\n";

struct fmt {
	bool is_check;
	int status; /* the worst yet */
};

static void worsen(struct fmt *f, int status)
{
	f->status = status > f->status ? status : f->status;
}

/* A link stays one: what it leads to is replaced. */
static int rewrite(const char *path, const char *text, struct err *e)
{
	auto_free char *real = realpath(path, NULL);
	struct stat st;

	if (!real || stat(real, &st) < 0)
		return err_at(e, -errno, path, "%s", strerror(errno));
	return file_write(real, text, strlen(text), st.st_mode & 07777, e);
}

static void fmt_text(struct fmt *f, const char *path, const char *text, size_t len)
{
	bool is_stdin = strcmp(path, "-") == 0;
	const char *shown = is_stdin ? "<stdin>" : path;
	auto_diags struct diags d = { 0 };
	auto_free char *made = NULL;
	struct err e = ERR_INIT;
	bool is_same;

	if (pol_format(shown, text, len, &made, &d) < 0) {
		diags_print(&d, stderr);
		worsen(f, EXIT_NO);
		return;
	}
	is_same = strlen(made) == len && memcmp(made, text, len) == 0;
	if (is_stdin && !f->is_check)
		fputs(made, stdout);
	else if (!is_same && !f->is_check && rewrite(path, made, &e) < 0)
		worsen(f, policy_say(&e));
	else if (!is_same)
		puts(shown);
	if (!is_same && f->is_check)
		worsen(f, EXIT_NO);
}

static void fmt_path(struct fmt *f, const char *path, bool is_named);

static void fmt_folder(struct fmt *f, const char *path, const struct file_found *found)
{
	for (size_t i = 0; i < found->n; i++) {
		size_t len = strlen(found->name[i]);
		auto_free char *inner = NULL;

		if (len <= 5 || strcmp(found->name[i] + len - 5, ".yaml") != 0)
			continue;
		if (asprintf(&inner, "%s%s%s", path, path[strlen(path) - 1] == '/' ? "" : "/", found->name[i]) < 0) {
			inner = NULL;
			worsen(f, EXIT_USAGE);
			return;
		}
		fmt_path(f, inner, false);
	}
}

static void fmt_path(struct fmt *f, const char *path, bool is_named)
{
	auto_call(file_found_fini) struct file_found found = { 0 };
	struct err e = ERR_INIT;

	if (file_get(NULL, path, POL_TEXT_MAX, &found, &e) < 0)
		worsen(f, policy_say(&e));
	else if (!found.is_dir)
		fmt_text(f, path, found.text, found.len);
	else if (is_named)
		fmt_folder(f, path, &found);
}

int cmd_policy_fmt(int argc, char **argv)
{
	static const struct option longs[] = { { "check", no_argument, NULL, 'c' },
					       { "help", no_argument, NULL, 'h' },
					       { 0 } };
	struct fmt f = { 0 };
	int c;

	optind = 0; /* glibc: start afresh */
	while ((c = getopt_long(argc, argv, "h", longs, NULL)) != -1) {
		if (c == 'h') {
			fputs(help, stdout);
			return EXIT_YES;
		}
		if (c != 'c')
			return policy_misused("fmt", "bad option");
		f.is_check = true;
	}
	if (optind == argc)
		fmt_path(&f, "-", true);
	for (; optind < argc; optind++)
		fmt_path(&f, argv[optind], true);
	return f.status;
}
