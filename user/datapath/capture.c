// SPDX-License-Identifier: Apache-2.0
/* The bytes of dropped packets, to whoever asks for them. */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <string.h>

#include "internal.h"

int capture_switch(struct dp *dp, uint32_t snaplen)
{
	struct by_switch on = { .snaplen = snaplen };
	uint32_t zero = 0;

	return bpf_map_update_elem(dp->map[MAP_SWITCH], &zero, &on, BPF_ANY) < 0 ? -errno : 0;
}

static int record_take(void *arg, void *data, size_t size)
{
	const struct by_capture *rec = data;
	struct dp *dp = arg;

	if (size >= sizeof(*rec) && rec->version == BY_EVENT_VERSION && rec->n <= sizeof(rec->data))
		dp->capture_fn(rec, dp->capture_arg);
	return 0;
}

static int record_skip(void *arg, void *data, size_t size)
{
	(void)arg;
	(void)data;
	(void)size;
	return 0;
}

/* What an earlier capture left in the ring is nobody's any more. */
static void leftovers_skip(struct dp *dp)
{
	struct ring_buffer *ring = ring_buffer__new(dp->map[MAP_CAPTURE], record_skip, NULL, NULL);

	if (ring)
		ring_buffer__consume(ring);
	ring_buffer__free(ring);
}

int dp_capture_open(struct dp *dp, uint32_t snaplen, dp_capture_fn fn, void *arg, int *fd, struct err *e)
{
	int ret;

	if (!snaplen || snaplen > BY_SNAPLEN_MAX)
		return err_at(e, -EINVAL, "capture", "%u bytes of a packet, needed: 1 to %d", snaplen, BY_SNAPLEN_MAX);
	if (dp->capture)
		return err_at(e, -EBUSY, "capture", "is running already");
	leftovers_skip(dp);
	dp->capture = ring_buffer__new(dp->map[MAP_CAPTURE], record_take, dp, NULL);
	if (!dp->capture)
		return err_at(e, -errno, "capture", "ring buffer can not be opened: %s", strerror(errno));
	dp->capture_fn = fn;
	dp->capture_arg = arg;
	ret = capture_switch(dp, snaplen);
	if (ret < 0) {
		dp_capture_close(dp);
		return err_at(e, ret, "capture", "can not be turned on: %s", strerror(-ret));
	}
	if (fd)
		*fd = ring_buffer__epoll_fd(dp->capture);
	return 0;
}

int dp_capture_read(struct dp *dp)
{
	return dp->capture ? ring_buffer__consume(dp->capture) : -EBADF;
}

void dp_capture_close(struct dp *dp)
{
	if (!dp->capture)
		return;
	capture_switch(dp, 0);
	ring_buffer__free(dp->capture);
	dp->capture = NULL;
}

int dp_capture_lost(struct dp *dp, uint64_t *lost, struct err *e)
{
	uint64_t n = 0;
	int ret = limit_lost(dp, BY_LIMIT_CAPTURE, &n);

	if (ret < 0)
		return err_at(e, ret, "capture", "counter can not be read: %s", strerror(-ret));
	*lost = n;
	return 0;
}
