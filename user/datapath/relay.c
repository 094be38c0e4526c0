// SPDX-License-Identifier: Apache-2.0
#include "relay.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "internal.h"
#include "skel/relay.skel.h"

struct dp_relays {
	struct relay_bpf *skel;
	int relay, sock; /* maps */
};

void dp_relays_close(struct dp_relays *r)
{
	if (!r)
		return;
	relay_bpf__destroy(r->skel);
	free(r);
}

int dp_relays_open(struct dp_relays **out, struct err *e)
{
	struct dp_relays *r = calloc(1, sizeof(*r));
	int ret;

	if (!r)
		return err_at(e, -ENOMEM, "sockmap", "out of memory");
	dp_libbpf_quiet();
	r->skel = relay_bpf__open_and_load();
	if (!r->skel) {
		ret = kernel_refused(e, -errno, "sockmap");
		free(r);
		return ret;
	}
	r->relay = bpf_map__fd(r->skel->maps.by_relay);
	r->sock = bpf_map__fd(r->skel->maps.by_relay_sock);
	if (bpf_prog_attach(bpf_program__fd(r->skel->progs.by_relay_verdict), r->sock, BPF_SK_SKB_STREAM_VERDICT, 0) <
	    0) {
		ret = kernel_refused(e, -errno, "sockmap");
		dp_relays_close(r);
		return ret;
	}
	*out = r;
	return 0;
}

/* What has been acknowledged of it; an end that is closed already can not be joined. */
static int acked_of(int fd, __u64 *acked)
{
	struct tcp_info ti = { 0 };
	socklen_t len = sizeof(ti);

	if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &ti, &len) < 0)
		return -errno;
	*acked = ti.tcpi_bytes_acked;
	return ti.tcpi_state == 1 ? 0 : -ENOTCONN; /* TCP_ESTABLISHED */
}

static int put(const struct dp_relays *r, uint64_t cookie, const struct by_relay *relay)
{
	return bpf_map_update_elem(r->relay, &cookie, relay, BPF_ANY) < 0 ? -errno : 0;
}

static void put_state(const struct dp_relays *r, const uint64_t cookie[2], uint32_t state)
{
	for (int i = 0; i < 2; i++) {
		struct by_relay relay = { .state = state };

		put(r, cookie[i], &relay);
	}
}

void dp_relay_cut(const struct dp_relays *r, const uint64_t cookie[2])
{
	put_state(r, cookie, BY_RELAY_CUT);
}

void dp_relay_leave(const struct dp_relays *r, const uint64_t cookie[2])
{
	for (int i = 0; i < 2; i++)
		bpf_map_delete_elem(r->relay, &cookie[i]);
}

void dp_relay_kick(int fd)
{
	int one = 1;

	setsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &one, sizeof(one));
}

/*
 * What comes to the second finds the first. What comes to the first before the second is there leaves, and so does all
 * when the second can not be had: a socket does not come out of the map with bytes in it.
 */
int dp_relay_join(struct dp_relays *r, int a, int b, uint32_t bound, uint64_t cookie[2])
{
	struct by_relay dir[2] = { { .bound = bound }, { .bound = bound } };
	const int fd[2] = { a, b };
	int ret = 0;

	for (int i = 0; i < 2 && !ret; i++) {
		socklen_t len = sizeof(cookie[i]);

		ret = acked_of(fd[i], &dir[!i].acked);
		if (!ret && getsockopt(fd[i], SOL_SOCKET, SO_COOKIE, &cookie[i], &len) < 0)
			ret = -errno;
		dir[!i].peer = cookie[i];
	}
	for (int i = 0; i < 2 && !ret; i++)
		ret = put(r, cookie[i], &dir[i]);
	if (!ret && bpf_map_update_elem(r->sock, &cookie[1], &(uint64_t){ (uint64_t)b }, BPF_NOEXIST) < 0)
		ret = -errno;
	if (ret < 0) {
		dp_relay_leave(r, cookie);
		return ret;
	}
	if (bpf_map_update_elem(r->sock, &cookie[0], &(uint64_t){ (uint64_t)a }, BPF_NOEXIST) < 0)
		put_state(r, cookie, BY_RELAY_LEFT);
	dp_relay_kick(a);
	dp_relay_kick(b);
	return 0;
}

int dp_relay_read(const struct dp_relays *r, uint64_t cookie, struct by_relay *relay)
{
	return bpf_map_lookup_elem(r->relay, &cookie, relay) < 0 ? -errno : 0;
}
