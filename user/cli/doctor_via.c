// SPDX-License-Identifier: Apache-2.0
/* `overlay.via`: does something of this machine take what is dialled there, and the port behind it, of key rotations?
 */
#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "ctl/client.h"
#include "daemon.h"
#include "doctor.h"

enum port_state { PORT_ELSEWHERE, PORT_FREE, PORT_TAKEN };

/* A port that can be had is one that nobody listens at; an address that can not is not this machine's. */
static enum port_state ask_port(const struct ip_endpoint *at)
{
	struct sockaddr_storage ss;
	socklen_t len = endpoint_to_sockaddr(at, &ss);
	auto_fd int fd = socket(ss.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return PORT_ELSEWHERE;
	if (bind(fd, (struct sockaddr *)&ss, len) == 0)
		return PORT_FREE;
	return errno == EADDRINUSE ? PORT_TAKEN : PORT_ELSEWHERE;
}

static bool is_loopback(const struct by_addr *a)
{
	static const struct ip_prefix v4 = { .addr.b = { [10] = 0xff, [11] = 0xff, [12] = 127 }, .bits = 8 },
				      v6 = { .addr.b = { [15] = 1 }, .bits = 128 };

	return addr_in_prefix(a, addr_is_v4(a) ? &v4 : &v6);
}

static void add(struct doctor *d, const struct ip_endpoint *at)
{
	for (uint32_t i = 0; i < d->n_ports; i++)
		if (d->ports[i].is_udp && d->ports[i].port == at->port)
			return;
	if (d->n_ports < DOC_PORTS)
		d->ports[d->n_ports++] = (struct doctor_port){ true, at->port, "overlay.via", is_loopback(&at->addr) };
}

/* Returns whether the endpoint is this machine's. */
static bool judge_first(struct doctor *d, const struct ip_endpoint *at, const char *recorded)
{
	enum port_state state = ask_port(at);
	char text[ENDPOINT_TEXT];

	if (state == PORT_FREE)
		doctor_say(d, DOC_WRONG, "via", "%s is dialled at %s, where nothing listens", recorded,
			   endpoint_print(at, text));
	else if (state == PORT_TAKEN)
		doctor_say(d, DOC_WELL, "via", "%s is dialled at %s, and taken there", recorded,
			   endpoint_print(at, text));
	return state != PORT_ELSEWHERE;
}

/* A second device of ours listens there itself: what is dialled would come back. */
static void judge_next(struct doctor *d, struct ip_endpoint at, const char *recorded, long long own)
{
	char text[ENDPOINT_TEXT];

	if (at.port == UINT16_MAX) {
		doctor_say(d, DOC_LOOK, "via", "%s is dialled at %s, behind which there is no port for key rotations",
			   recorded, endpoint_print(&at, text));
		return;
	}
	at.port++;
	add(d, &at);
	if (at.port == own || at.port == own + 1)
		doctor_say(d, DOC_LOOK, "via", "%s is WireGuard's own, and where %s is dialled while a key is rotated",
			   endpoint_print(&at, text), recorded);
	else if (ask_port(&at) == PORT_FREE)
		doctor_say(d, DOC_LOOK, "via", "nothing listens at %s, where %s is dialled while a key is rotated",
			   endpoint_print(&at, text), recorded);
}

void doctor_via(struct doctor *d, const json_t *overlay)
{
	long long own = ji(overlay, "listen_port");
	const char *recorded;
	json_t *dialled;

	json_object_foreach (json_object_get(overlay, "via"), recorded, dialled) {
		struct ip_endpoint at;

		if (!json_is_string(dialled) || !endpoint_parse(&at, json_string_value(dialled)))
			continue;
		if (is_loopback(&at.addr) && (at.port == own || at.port == own + 1))
			doctor_say(d, DOC_WRONG, "via",
				   "%s is dialled at port %u, which is this node's WireGuard's own", recorded, at.port);
		else if (judge_first(d, &at, recorded)) {
			add(d, &at);
			judge_next(d, at, recorded, own);
		}
	}
}
