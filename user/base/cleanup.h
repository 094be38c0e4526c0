/* SPDX-License-Identifier: Apache-2.0 */
/* Owning locals wear their destructor: `auto_free char *s = ...`. Hand over with take_ptr() or take_fd(). */
#pragma once

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define auto_call(fn) __attribute__((cleanup(fn)))

static inline void free_at(void *p)
{
	free(*(void **)p);
}

static inline void close_at(const int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

static inline void fclose_at(FILE **f)
{
	if (*f)
		fclose(*f);
}

#define auto_free   auto_call(free_at)
#define auto_fd     auto_call(close_at)
#define auto_fclose auto_call(fclose_at)

/* Declares cleanup_<name>(), for `auto_call(cleanup_<name>) struct x *p`. `fn` accepts NULL. */
#define DEFINE_CLEANUP(name, type, fn)                                                                                 \
	static inline void cleanup_##name(type **p)                                                                    \
	{                                                                                                              \
		if (*p)                                                                                                \
			fn(*p);                                                                                        \
	}

#define take_ptr(p)                                                                                                    \
	({                                                                                                             \
		__typeof__(p) taken_ = (p);                                                                            \
		(p) = NULL;                                                                                            \
		taken_;                                                                                                \
	})

static inline int take_fd(int *fd)
{
	int taken = *fd;

	*fd = -1;
	return taken;
}

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
