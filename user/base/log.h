/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For operators: one line an event on standard error, "LEVEL room: text". errno survives a call. Sites that a
 * peer can trigger use log_limited(), which lets ten lines a minute through and says how many it held back.
 */
#pragma once

#include <stdint.h>

enum log_level { LOG_ERR, LOG_WARN, LOG_INFO, LOG_DEBUG };

void log_init(const char *process, enum log_level level);
void log_at(enum log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

struct log_limit {
	int64_t window_s;
	unsigned sent, held;
};

/* 1: the caller may log. Reports what was held back when a new window opens. */
int log_allowed(struct log_limit *limit);

#define log_err(...)   log_at(LOG_ERR, __VA_ARGS__)
#define log_warn(...)  log_at(LOG_WARN, __VA_ARGS__)
#define log_info(...)  log_at(LOG_INFO, __VA_ARGS__)
#define log_debug(...) log_at(LOG_DEBUG, __VA_ARGS__)
#define log_limited(level, ...)                                                                                        \
	do {                                                                                                           \
		static struct log_limit limit_;                                                                        \
		if (log_allowed(&limit_))                                                                              \
			log_at(level, __VA_ARGS__);                                                                    \
	} while (0)
