// SPDX-License-Identifier: Apache-2.0
/* Maps in bulk. */
#include <bpf/bpf.h>
#include <errno.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "internal.h"

#define WALK_CHUNK 4096

int map_walk_on(int fd, size_t key_size, size_t value_size, struct dp_place *at, uint32_t chunk, map_walk_fn fn,
		void *arg)
{
	auto_free char *keys = malloc(chunk * key_size);
	auto_free char *values = malloc(chunk * value_size);
	__u32 n = chunk;
	int ret;

	if (!keys || !values)
		return -ENOMEM;
	ret = bpf_map_lookup_batch(fd, at->is_inside ? at->token : NULL, at->token, keys, values, &n, NULL);
	if (ret && ret != -ENOENT)
		return ret;
	at->is_inside = true;
	at->is_over = ret == -ENOENT;
	for (__u32 i = 0; i < n; i++) {
		int stop = fn(keys + i * key_size, values + i * value_size, arg);

		if (stop)
			return stop;
	}
	return 0;
}

int map_walk(int fd, size_t key_size, size_t value_size, map_walk_fn fn, void *arg)
{
	struct dp_place at = { 0 };
	int ret = 0;

	while (!at.is_over && !ret)
		ret = map_walk_on(fd, key_size, value_size, &at, WALK_CHUNK, fn, arg);
	return ret;
}

int map_write_all(int fd, const void *keys, size_t key_size, const void *values, size_t value_size, size_t n)
{
	size_t done = 0;

	while (done < n) {
		__u32 part = (__u32)(n - done);
		int ret = bpf_map_update_batch(fd, (const char *)keys + done * key_size,
					       (const char *)values + done * value_size, &part, NULL);

		if (ret && ret != -EINTR && ret != -EAGAIN)
			return ret;
		done += part;
	}
	return 0;
}

int map_sum(const struct dp *dp, enum dp_map map, const void *key, struct by_counter *sum)
{
	auto_free struct by_counter *per_cpu = calloc((size_t)dp->n_cpus, sizeof(*per_cpu));
	struct by_counter n = { 0 };

	if (!per_cpu)
		return -ENOMEM;
	if (bpf_map_lookup_elem(dp->map[map], key, per_cpu) < 0)
		return -errno;
	for (int i = 0; i < dp->n_cpus; i++) {
		n.packets += per_cpu[i].packets;
		n.bytes += per_cpu[i].bytes;
	}
	*sum = n;
	return 0;
}
