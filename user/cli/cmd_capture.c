// SPDX-License-Identifier: Apache-2.0
/* bailey capture: the daemon's pcapng stream of dropped packets into a file, whole blocks only. */
#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "cmds.h"
#include "ctl/client.h"
#include "daemon.h"

#define BLOCK_STATISTICS 5
#define BLOCK_PACKET     6
#define BLOCK_MAX        (1 << 20)
#define IFDROP           5 /* the first option of the daemon's statistics block */

struct capture {
	FILE *file;
	const char *name;
	struct out rest; /* of a block that has not come whole */
	uint64_t packets, lost;
	int error;
};

static volatile sig_atomic_t is_stopped;

static void on_signal(int sig)
{
	(void)sig;
	is_stopped = 1;
}

static uint32_t u32_at(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

/* Block: type, length, body ..., length. The statistics' count lies behind interface, time and the option's head. */
static void block_count(struct capture *c, const uint8_t *block, uint32_t len)
{
	if (u32_at(block) == BLOCK_PACKET)
		c->packets++;
	if (u32_at(block) == BLOCK_STATISTICS && len >= 36 && u32_at(block + 20) == (8u << 16 | IFDROP))
		memcpy(&c->lost, block + 24, sizeof(c->lost));
}

static bool on_bytes(const void *data, size_t n, void *arg)
{
	struct capture *c = arg;
	uint32_t len;

	out_bytes(&c->rest, data, n);
	while (out_ok(&c->rest) && c->rest.len >= 8) {
		len = u32_at(c->rest.data + 4);
		if (len < 12 || len % 4 || len > BLOCK_MAX) {
			c->error = EPROTO;
			return false;
		}
		if (c->rest.len < len)
			break;
		block_count(c, c->rest.data, len);
		if (fwrite(c->rest.data, 1, len, c->file) != len || fflush(c->file) != 0) {
			c->error = errno;
			return false;
		}
		c->rest.len -= len;
		memmove(c->rest.data, c->rest.data + len, c->rest.len);
	}
	return !is_stopped && out_ok(&c->rest);
}

static int capture(struct capture *c, struct daemon_args *a)
{
	struct err e = ERR_INIT;
	char count[16], url[900];
	int ret;

	snprintf(count, sizeof(count), "%u", a->count);
	if (a->count)
		query_add(a, "limit", count);
	snprintf(url, sizeof(url), "/v1/capture%s", a->query);
	ret = ctl_stream(a->socket, url, a->seconds, &is_stopped, on_bytes, c, &e);
	out_fini(&c->rest);
	if (c->error)
		fprintf(stderr, "bailey: %s: %s\n", c->name, strerror(c->error));
	else if (ret < 0)
		fprintf(stderr, "bailey: %s: %s\n", e.where, e.msg);
	else
		fprintf(stderr, "%llu packets, %llu more were dropped and not captured\n",
			(unsigned long long)c->packets, (unsigned long long)c->lost);
	return ret < 0 || c->error ? EXIT_NO : EXIT_YES;
}

static const char usage[] =
	"usage: bailey capture --drops -w FILE [--reason NAME] [--interface NAME] [--count N] [--seconds N]\n"
	"Writes dropped packets as pcapng, with reason and rule as comments, until N came, N seconds are over or\n"
	"it is stopped. FILE may be - for standard output.\n"
	"options: --instance NAME  --socket PATH  --help\n";

int cmd_capture(int argc, char **argv)
{
	struct sigaction stop = { .sa_handler = on_signal };
	struct daemon_args a;
	struct capture c = { 0 };
	int ret = daemon_args_take(argc, argv, usage,
				   TAKES_CAPTURE | TAKES_WRITE | TAKES_REASON | TAKES_COUNT | TAKES_SECONDS, &a);

	if (ret >= 0)
		return ret;
	if (!a.write || !a.drops) {
		fputs(usage, stderr);
		return EXIT_USAGE;
	}
	c.name = a.write;
	c.file = strcmp(a.write, "-") == 0 ? stdout : fopen(a.write, "we");
	if (!c.file) {
		fprintf(stderr, "bailey: %s: %s\n", a.write, strerror(errno));
		return EXIT_NO;
	}
	sigaction(SIGINT, &stop, NULL);
	sigaction(SIGTERM, &stop, NULL);
	ret = capture(&c, &a);
	if (fclose(c.file) != 0 && ret == EXIT_YES) {
		fprintf(stderr, "bailey: %s: %s\n", a.write, strerror(errno));
		ret = EXIT_NO;
	}
	return ret;
}
