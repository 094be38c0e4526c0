// SPDX-License-Identifier: Apache-2.0
/* bailey genkey, bailey pubkey: WireGuard keys in base64, as `wg` writes them. Secrets by standard streams only. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/text.h"
#include "cmds.h"
#include "overlay/overlay.h"

#define EXIT_USAGE 2
#define INPUT_MAX  256

static int usage(char **argv, const char *rest)
{
	bool is_asked = argv[1] && strcmp(argv[1], "--help") == 0;

	fprintf(is_asked ? stdout : stderr, "usage: bailey %s%s\n", argv[0], rest);
	return is_asked ? EXIT_SUCCESS : EXIT_USAGE;
}

static int fail(const char *command, int code)
{
	fprintf(stderr, "bailey %s: %s\n", command, strerror(-code));
	return EXIT_FAILURE;
}

static int print_key(const char *command, const uint8_t key[static OV_KEY_LEN])
{
	char text[BASE64_LEN(OV_KEY_LEN)];
	bool failed;

	base64_print(text, key, OV_KEY_LEN);
	failed = puts(text) < 0 || fflush(stdout) != 0;
	explicit_bzero(text, sizeof(text));
	return failed ? fail(command, -errno) : EXIT_SUCCESS;
}

int cmd_genkey(int argc, char **argv)
{
	bool is_asked = argc == 2 && strcmp(argv[1], "--world-readable") == 0;
	uint8_t key[OV_KEY_LEN];
	struct stat st;
	int rc;

	if (argc != 1 && !is_asked)
		return usage(argv, " [--world-readable] > PRIVATE");
	if (!is_asked && !fstat(STDOUT_FILENO, &st) && S_ISREG(st.st_mode) && (st.st_mode & S_IRWXO)) {
		fprintf(stderr,
			"bailey %s: standard output is a file that everybody may read: use umask 077, or "
			"--world-readable\n",
			argv[0]);
		return EXIT_FAILURE;
	}
	rc = ov_key_generate(key);
	rc = rc ? fail(argv[0], rc) : print_key(argv[0], key);
	explicit_bzero(key, sizeof(key));
	return rc;
}

/* One key and white space behind it. */
static bool key_parse(uint8_t key[static OV_KEY_LEN], const char *text, size_t len)
{
	uint8_t got[OV_KEY_LEN];
	size_t n;
	bool good;

	while (len && strchr(" \t\r\n", text[len - 1]))
		len--;
	good = base64_parse(got, sizeof(got), &n, text, len) && n == OV_KEY_LEN;
	if (good)
		memcpy(key, got, sizeof(got));
	explicit_bzero(got, sizeof(got));
	return good;
}

int cmd_pubkey(int argc, char **argv)
{
	uint8_t private_key[OV_KEY_LEN], public_key[OV_KEY_LEN];
	struct err e = ERR_INIT;
	char *text = NULL, line[600];
	size_t len = 0;
	bool good;
	int rc;

	if (argc != 1)
		return usage(argv, " < PRIVATE > PUBLIC");
	rc = file_read_arg("-", INPUT_MAX, &text, &len, &e);
	if (rc < 0) {
		fprintf(stderr, "bailey %s: %s\n", argv[0], err_text(&e, line, sizeof(line)));
		return EXIT_FAILURE;
	}
	good = key_parse(private_key, text, len);
	explicit_bzero(text, len);
	free(text);
	if (!good) {
		fprintf(stderr, "bailey %s: standard input: needed one private key: 44 characters of base64\n",
			argv[0]);
		return EXIT_FAILURE;
	}
	rc = ov_key_public(private_key, public_key);
	explicit_bzero(private_key, sizeof(private_key));
	return rc ? fail(argv[0], rc) : print_key(argv[0], public_key);
}
