// SPDX-License-Identifier: Apache-2.0
#include "log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <time.h>

#include "clock.h"

#define LIMIT_WINDOW_S 60
#define LIMIT_LINES    10

static const char *process_name = "bailey";
static enum log_level max_level = LOG_INFO;

void log_init(const char *process, enum log_level level)
{
	process_name = process;
	max_level = level;
}

void log_at(enum log_level level, const char *fmt, ...)
{
	static const char *const name[] = { "error", "warn", "info", "debug" };
	int saved = errno;
	char line[1024];
	va_list ap;

	if (level <= max_level) {
		va_start(ap, fmt);
		vsnprintf(line, sizeof(line), fmt, ap);
		va_end(ap);
		fprintf(stderr, "%s %s: %s\n", process_name, name[level], line);
	}
	errno = saved;
}

int log_allowed(struct log_limit *limit)
{
	int64_t now_s = clock_s(CLOCK_MONOTONIC);

	if (now_s - limit->window_s >= LIMIT_WINDOW_S || !limit->window_s) {
		if (limit->held)
			log_warn("%u similar lines held back", limit->held);
		*limit = (struct log_limit){ .window_s = now_s ? now_s : 1 };
	}
	if (limit->sent < LIMIT_LINES)
		return (int)++limit->sent;
	limit->held++;
	return 0;
}
