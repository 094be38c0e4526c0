// SPDX-License-Identifier: Apache-2.0
#include "ping.h"

#include <errno.h>
#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <netinet/ip_icmp.h>
#include <poll.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"

#define PACKET_MAX 65535
#define HEAD       8 /* of an ICMP echo, both families */

static int64_t now_us(void)
{
	return clock_ns(CLOCK_MONOTONIC) / 1000;
}

static int open_socket(struct ping *p, struct err *e)
{
	int family = p->is_ip4 ? AF_INET : AF_INET6, proto = p->is_ip4 ? IPPROTO_ICMP : (int)IPPROTO_ICMPV6;
	int unprivileged;

	p->fd = socket(family, SOCK_DGRAM | SOCK_CLOEXEC, proto);
	unprivileged = errno;
	if (p->fd < 0)
		p->fd = socket(family, SOCK_RAW | SOCK_CLOEXEC, proto);
	else
		return 0;
	p->is_raw = true;
	if (p->fd >= 0)
		return 0;
	return err_at(e, -errno, "ping",
		      "no ICMP socket: %s (net.ipv4.ping_group_range leaves this group out), and a raw one takes "
		      "CAP_NET_RAW",
		      strerror(unprivileged));
}

int ping_open(const struct by_addr *to, struct ping *p, struct err *e)
{
	const struct ip_endpoint at = { .addr = *to };
	struct sockaddr_storage ss;
	socklen_t len;
	int probe, ret;

	*p = (struct ping){ .fd = -1, .is_ip4 = addr_is_v4(to), .id = (uint16_t)getpid() };
	if (getrandom(&p->nonce, sizeof(p->nonce), 0) != (ssize_t)sizeof(p->nonce))
		return err_at(e, -EIO, "ping", "no randomness");
	ret = open_socket(p, e);
	if (ret)
		return ret;
	probe = p->is_ip4 ? IP_PMTUDISC_PROBE : IPV6_PMTUDISC_PROBE;
	len = endpoint_to_sockaddr(&at, &ss);
	if (setsockopt(p->fd, p->is_ip4 ? IPPROTO_IP : IPPROTO_IPV6, p->is_ip4 ? IP_MTU_DISCOVER : IPV6_MTU_DISCOVER,
		       &probe, sizeof(probe)) < 0 ||
	    connect(p->fd, (struct sockaddr *)&ss, len) < 0) {
		ret = err_at(e, -errno, "ping", "can not dial: %s", strerror(errno));
		ping_close(p);
	}
	return ret;
}

void ping_close(struct ping *p)
{
	if (p->fd >= 0)
		close(p->fd);
	p->fd = -1;
}

unsigned ping_size_min(const struct ping *p)
{
	return (p->is_ip4 ? 20 : 40) + HEAD + sizeof(p->nonce);
}

static uint16_t checksum(const uint8_t *b, size_t n)
{
	uint32_t sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += i & 1 ? b[i] : (uint32_t)b[i] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

static int send_one(struct ping *p, unsigned size)
{
	static uint8_t packet[PACKET_MAX];
	size_t n = size - (p->is_ip4 ? 20 : 40);
	uint16_t sum;

	memset(packet, 0, n);
	packet[0] = p->is_ip4 ? ICMP_ECHO : ICMP6_ECHO_REQUEST;
	packet[4] = (uint8_t)(p->id >> 8);
	packet[5] = (uint8_t)p->id;
	packet[6] = (uint8_t)(++p->seq >> 8);
	packet[7] = (uint8_t)p->seq;
	memcpy(packet + HEAD, &p->nonce, sizeof(p->nonce));
	if (p->is_ip4) { /* the kernel fills in IPv6's, which covers addresses */
		sum = checksum(packet, n);
		packet[2] = (uint8_t)(sum >> 8);
		packet[3] = (uint8_t)sum;
	}
	return send(p->fd, packet, n, 0) < 0 ? -errno : 0;
}

/* The identifier is the kernel's own on an unprivileged socket, so number and nonce decide. */
static bool is_answer(const struct ping *p, const uint8_t *b, size_t n)
{
	if (p->is_raw && p->is_ip4) {
		size_t head = n ? (size_t)(b[0] & 15) * 4 : 0;

		if (n < head)
			return false;
		b += head;
		n -= head;
	}
	return n >= HEAD + sizeof(p->nonce) && b[0] == (p->is_ip4 ? ICMP_ECHOREPLY : ICMP6_ECHO_REPLY) &&
	       b[6] == (uint8_t)(p->seq >> 8) && b[7] == (uint8_t)p->seq &&
	       memcmp(b + HEAD, &p->nonce, sizeof(p->nonce)) == 0;
}

int64_t ping_once(struct ping *p, unsigned size, unsigned timeout_ms)
{
	static uint8_t packet[PACKET_MAX];
	int64_t began = now_us(), left;
	struct pollfd fd = { .fd = p->fd, .events = POLLIN };
	int ret = send_one(p, size);

	/* an error that came for an earlier request is told to the next one */
	if (ret && ret != -EMSGSIZE)
		ret = send_one(p, size);
	if (ret)
		return ret;
	while ((left = began + timeout_ms * 1000 - now_us()) > 0) {
		ssize_t n;

		if (poll(&fd, 1, (int)(left / 1000) + 1) <= 0)
			continue;
		n = recv(p->fd, packet, sizeof(packet), MSG_DONTWAIT);
		if (n > 0 && is_answer(p, packet, (size_t)n))
			return now_us() - began;
	}
	return -ETIMEDOUT;
}
