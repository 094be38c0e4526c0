// SPDX-License-Identifier: Apache-2.0
#include "counted.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

enum by_drop counted(const struct dp_status *before, const struct dp_status *after, enum by_dir dir)
{
	int reason = -1;

	for (int d = 0; d < BY_DIR_COUNT; d++)
		for (int r = 0; r < BY_DROP_COUNT; r++) {
			uint64_t n = after->stat[d][r].packets - before->stat[d][r].packets;

			assert_true(n <= 1);
			if (!n)
				continue;
			assert_int_equal(d, dir);
			assert_int_equal(reason, -1);
			reason = r;
		}
	assert_int_not_equal(reason, -1);
	return (enum by_drop)reason;
}
