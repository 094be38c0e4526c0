// SPDX-License-Identifier: Apache-2.0
#include "edge_knock.h"

#include <openssl/crypto.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "msg.h"

#define KNOCKS_PER_S 200 /* each costs a tenth of a millisecond; who sends more sends again in five seconds */
#define UDP_HEADER   8

static struct ear {
	struct event *event; /* NULL: none listens */
	struct ipc *parent;
	struct msg_knocks conf;
} ears[2]; /* IPv4, IPv6 */

static bool is_over_limit(void)
{
	static unsigned heard;
	static time_t second;
	time_t now = time(NULL);

	if (now != second) {
		second = now;
		heard = 0;
	}
	return ++heard > KNOCKS_PER_S;
}

/* Of a raw socket: IPv4 with its header, IPv6 without. The filter has seen that it is UDP to our port. */
static void hear(const struct ear *ear, const uint8_t *packet, size_t len)
{
	size_t skip = UDP_HEADER + (ear->conf.is_v4 && len ? (packet[0] & 15u) * 4 : 0);
	struct msg_knock m;

	if (len <= skip || is_over_limit())
		return;
	for (uint32_t i = 0; i < ear->conf.n_keys; i++)
		if (ov_initiation_sender(ear->conf.private_key[i], ear->conf.public_key[i], packet + skip, len - skip,
					 m.wg_key) == 0)
			ipc_send(ear->parent, MSG_EDGE_KNOCK, &m, sizeof(m), -1);
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
	uint8_t packet[256];
	ssize_t n;

	(void)what;
	for (int i = 0; i < 64 && (n = recv(fd, packet, sizeof(packet), MSG_DONTWAIT)) >= 0; i++)
		hear(arg, packet, (size_t)n);
}

static void ear_close(struct ear *ear)
{
	if (ear->event) {
		close(event_get_fd(ear->event));
		event_free(ear->event);
	}
	OPENSSL_cleanse(ear, sizeof(*ear));
}

void edge_knock_listen(struct event_base *base, struct ipc *parent, struct ipc_msg *msg)
{
	const struct msg_knocks *m = ipc_as(msg, sizeof(*m));
	struct ear *ear = m ? &ears[!m->is_v4] : NULL;

	if (!m || msg->fd < 0 || m->n_keys > ARRAY_LEN(m->private_key))
		return;
	ear_close(ear);
	*ear = (struct ear){ .parent = parent, .conf = *m };
	ear->event = event_new(base, msg->fd, EV_READ | EV_PERSIST, on_readable, ear);
	if (!ear->event)
		return;
	take_fd(&msg->fd);
	event_add(ear->event, NULL);
}

void edge_knock_end(void)
{
	ear_close(&ears[0]);
	ear_close(&ears[1]);
}
