// SPDX-License-Identifier: Apache-2.0
#include "trace.h"

#include <bpf/bpf.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <cmocka.h>

#include "base/cleanup.h"

#define CPUS_MAX 64

static uint64_t mix(uint64_t sum, const uint8_t *bytes, size_t n)
{
	for (size_t i = 0; i < n; i++)
		sum = (sum ^ bytes[i]) * 1099511628211u;
	return sum;
}

uint64_t map_fingerprint(int fd)
{
	struct bpf_map_info info = { 0 };
	__u32 len = sizeof(info);
	uint64_t sum = 14695981039346656037u;
	auto_free uint8_t *key = NULL, *value = NULL;
	size_t size;
	void *at = NULL;

	assert_int_equal(bpf_obj_get_info_by_fd(fd, &info, &len), 0);
	if (info.type == BPF_MAP_TYPE_RINGBUF)
		return 0;
	size = ((info.value_size + 7) & ~7u) * CPUS_MAX;
	key = calloc(1, info.key_size);
	value = calloc(1, size);
	assert_true(key && value);
	for (; bpf_map_get_next_key(fd, at, key) == 0; at = key) {
		assert_int_equal(bpf_map_lookup_elem(fd, key, value), 0);
		sum = mix(mix(sum, key, info.key_size), value, size);
	}
	return sum;
}
