// SPDX-License-Identifier: Apache-2.0
/*
 * Peers that WireGuard is not told of until somebody wants to talk: what comes from them. The kernel gives copies of
 * handshake initiations to a raw socket, the edge says by whose key each was made, and net is told when it is a node's.
 */
#include <errno.h>
#include <linux/filter.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "parent.h"

#define UDP_INITIATION (8 + OV_INITIATION_LEN)

/* UDP to the port of one of the devices, as long as an initiation, and one by its first word. */
static int filter(int fd, bool is_v4, uint16_t port, uint16_t second)
{
	struct sock_filter code[] = {
		is_v4 ? (struct sock_filter)BPF_STMT(BPF_LDX | BPF_B | BPF_MSH, 0)
		      : (struct sock_filter)BPF_STMT(BPF_LDX | BPF_W | BPF_IMM, 0),
		BPF_STMT(BPF_LD | BPF_H | BPF_IND, 2),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, port, 1, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, second, 0, 5),
		BPF_STMT(BPF_LD | BPF_H | BPF_IND, 4),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, UDP_INITIATION, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_IND, 8),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0x01000000, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, UINT16_MAX),
		BPF_STMT(BPF_RET | BPF_K, 0),
	};
	struct sock_fprog prog = { .len = ARRAY_LEN(code), .filter = code };

	return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &prog, sizeof(prog)) < 0 ? -errno : 0;
}

/* What came between socket() and the filter is not what it lets through: the edge reads every packet as a stranger's.
 */
static void listen_on(struct parent *p, bool is_v4)
{
	auto_fd int fd = socket(is_v4 ? AF_INET : AF_INET6, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_UDP);
	struct msg_knocks m = { .is_v4 = is_v4, .n_keys = p->rotate.phase == DETOUR_BACK ? 2 : 1 };
	uint16_t port = p->conf.wg_port, second = port == UINT16_MAX ? port : (uint16_t)(port + 1);

	if (fd < 0 && !is_v4 && errno == EAFNOSUPPORT)
		return;
	if (fd < 0 || filter(fd, is_v4, port, second) < 0) {
		log_err("nodes that are not configured in WireGuard can not wake this one: %s", strerror(errno));
		return;
	}
	memcpy(m.private_key[0], p->wg_private, OV_KEY_LEN);
	memcpy(m.public_key[0], p->wg_public, OV_KEY_LEN);
	memcpy(m.private_key[1], p->rotate.second_private, OV_KEY_LEN);
	memcpy(m.public_key[1], p->rotate.second_public, OV_KEY_LEN);
	ipc_send(p->edge.ipc, MSG_EDGE_KNOCKS, &m, sizeof(m), fd);
	explicit_bzero(&m, sizeof(m));
}

static void listen_now(struct parent *p)
{
	p->is_listening = true;
	listen_on(p, true);
	listen_on(p, false);
}

/* Net decides by the peers that it has: here it is enough to be as early. */
void knock_tick(struct parent *p)
{
	if (p->is_listening || !p->edge.ipc || !p->conf.n_endpoints || p->n_nodes <= p->conf.lazy_peers)
		return;
	listen_now(p);
}

void knock_rekey(struct parent *p)
{
	if (p->is_listening && p->edge.ipc)
		listen_now(p);
}

static bool is_by_key(const struct id_record *r, const uint8_t key[OV_KEY_LEN])
{
	return memcmp(r->wg_key, key, OV_KEY_LEN) == 0 ||
	       (r->has_detour && memcmp(r->detour_key, key, OV_KEY_LEN) == 0);
}

void knock_heard(struct parent *p, const struct msg_knock *m)
{
	struct msg_instance wake = { .target = TARGET_OVERLAY };

	for (size_t i = 0; i < p->n_nodes && p->net.ipc; i++) {
		const struct id_record *r = &p->nodes[i]->id.record;

		if (!is_by_key(r, m->wg_key))
			continue;
		memcpy(wake.instance_id, r->instance_id, sizeof(wake.instance_id));
		ipc_send(p->net.ipc, MSG_NET_WAKE, &wake, sizeof(wake), -1);
	}
}
