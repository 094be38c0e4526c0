// SPDX-License-Identifier: Apache-2.0
/* What the host takes of one source and of all: new flows, WireGuard handshakes, SYNs and the cookies in their stead.
 */
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "../lib/host.h"

#define FLOOD_RATE 1

static struct host_world *w;

static void opened(const struct dp_host_options *o)
{
	w = host_world_open(o);
	host_world_policy(w);
}

static int gone(void **state)
{
	(void)state;
	host_world_close(w);
	return 0;
}

static enum by_drop syn_at(enum host_hook hook, const char *src, const char *dst, uint16_t port)
{
	return host_send(w, hook, &(struct pkt){ TCP(src, dst, port, 22, F_SYN) });
}

/* A burst, then one a second: what comes sooner is refused, flows that are there go on. */
static void new_flows(void **state)
{
	struct dp_host_options o = { .flows = { .rate = 1, .burst = 3 } };

	(void)state;
	opened(&o);
	for (int hook = HOOK_XDP; hook <= HOOK_TC; hook++) {
		const char *src = hook == HOOK_XDP ? "192.0.2.10" : "192.0.2.11";

		for (uint16_t i = 0; i < 3; i++)
			assert_int_equal(syn_at(hook, src, HOST4, 1000 + i), 0);
		assert_int_equal(syn_at(hook, src, HOST4, 1003), BY_DROP_SOURCE_LIMIT);
		assert_int_equal(host_send(w, hook, &(struct pkt){ UDP(src, HOST4, 5, 22) }), BY_DROP_SOURCE_LIMIT);
		assert_int_equal(host_send(w, hook, &(struct pkt){ TCP(src, HOST4, 1000, 22, F_ACK) }), 0);
		assert_int_equal(syn_at(hook, "192.0.2.12", HOST4, (uint16_t)(1 + hook)), 0);
		assert_int_equal(syn_at(hook, src, HOST4, 1003), BY_DROP_SOURCE_LIMIT);
	}
	/* what the host itself opens is not its guests' business */
	for (uint16_t i = 0; i < 6; i++)
		assert_int_equal(host_send(w, HOOK_OUT, &(struct pkt){ UDP(HOST4, WORLD4, 100 + i, 53) }), 0);
}

static void refill(void **state)
{
	const struct timespec token = { .tv_nsec = 120000000 };
	struct dp_host_options o = { .flows = { .rate = 10, .burst = 1 } };

	(void)state;
	opened(&o);
	assert_int_equal(syn_at(HOOK_XDP, FRIEND4, HOST4, 1), 0);
	assert_int_equal(syn_at(HOOK_XDP, FRIEND4, HOST4, 2), BY_DROP_SOURCE_LIMIT);
	nanosleep(&token, NULL);
	assert_int_equal(syn_at(HOOK_XDP, FRIEND4, HOST4, 3), 0);
}

/* A machine has a /64 to choose from, and gets one bucket for it; the next /64 has its own. */
static void ipv6_sources(void **state)
{
	struct dp_host_options o = { .flows = { .rate = 1, .burst = 1 } };

	(void)state;
	opened(&o);
	assert_int_equal(syn_at(HOOK_XDP, "2001:db8::a", HOST6, 1), 0);
	assert_int_equal(syn_at(HOOK_XDP, "2001:db8::b", HOST6, 2), BY_DROP_SOURCE_LIMIT);
	assert_int_equal(syn_at(HOOK_XDP, "2001:db8:0:0:ffff::c", HOST6, 3), BY_DROP_SOURCE_LIMIT);
	assert_int_equal(syn_at(HOOK_XDP, FRIEND4, HOST4, 4), 0);
}

static enum by_drop wg_at(enum host_hook hook, const char *src, const char *dst, uint8_t type, uint16_t bytes)
{
	struct frame f;

	host_frame(&f, &(struct pkt){ UDP(src, dst, 1234, WG_PORT), .payload = bytes }, 0);
	f.data[host_l4_of(&f) + 8] = type;
	return host_send_frame(w, hook, &f);
}

static void handshakes(void **state)
{
	struct dp_host_options o = { .wg_port = WG_PORT,
				     .handshakes = { .rate = 1, .burst = 2 },
				     .handshakes_total = { .rate = 1, .burst = 5 } };

	(void)state;
	opened(&o);
	for (int i = 0; i < 2; i++)
		assert_int_equal(wg_at(HOOK_XDP, WORLD4, HOST4, 1, 148), 0);
	assert_int_equal(wg_at(HOOK_XDP, WORLD4, HOST4, 1, 148), BY_DROP_HANDSHAKE_LIMIT);
	assert_int_equal(wg_at(HOOK_TC, WORLD4, HOST4, 1, 148), BY_DROP_HANDSHAKE_LIMIT); /* one bucket for both */
	assert_int_equal(wg_at(HOOK_XDP, WORLD4, HOST4, 4, 32), 0);                       /* sessions go on */
	assert_int_equal(wg_at(HOOK_XDP, WORLD4, HOST4, 2, 92), 0);
	assert_int_equal(wg_at(HOOK_XDP, WORLD6, HOST6, 1, 148), 0);
	/* others still get in, until all together are too many */
	assert_int_equal(wg_at(HOOK_TC, "198.51.100.10", HOST4, 1, 148), 0);
	assert_int_equal(wg_at(HOOK_TC, "198.51.100.11", HOST4, 1, 148), 0);
	assert_int_equal(wg_at(HOOK_TC, "198.51.100.12", HOST4, 1, 148), BY_DROP_HANDSHAKE_LIMIT);
}

/* --- cookies, against the stack's own listener on the loopback device of this namespace --- */

static int listener(int family)
{
	struct sockaddr_in6 a6 = { .sin6_family = AF_INET6, .sin6_port = htons(22) };
	struct sockaddr_in a4 = { .sin_family = AF_INET, .sin_port = htons(22) };
	int fd = socket(family, SOCK_STREAM, 0), one = 1;

	assert_true(fd >= 0);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one));
	assert_int_equal(
		bind(fd, family == AF_INET6 ? (void *)&a6 : (void *)&a4, family == AF_INET6 ? sizeof(a6) : sizeof(a4)),
		0);
	assert_int_equal(listen(fd, 8), 0);
	return fd;
}

static void sysctl_set(const char *value)
{
	FILE *f = fopen("/proc/sys/net/ipv4/tcp_syncookies", "w");

	assert_non_null(f);
	assert_true(fputs(value, f) >= 0);
	assert_int_equal(fclose(f), 0);
}

static uint16_t get16(const uint8_t *at)
{
	return (uint16_t)(at[0] << 8 | at[1]);
}

static uint32_t get32(const uint8_t *at)
{
	return (uint32_t)get16(at) << 16 | get16(at + 2);
}

static uint32_t sum16(uint32_t sum, const uint8_t *at, size_t n)
{
	for (size_t i = 0; i + 1 < n; i += 2)
		sum += get16(at + i);
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

/*
 * The answer to a SYN from port `port`, whose frame ended `padding` bytes behind its header: a SYN-ACK that a stack
 * takes, with MSS where there is room. Returns its sequence number.
 */
static uint32_t check_answer(bool is_v6, uint16_t port, uint32_t seq, size_t padding)
{
	const struct frame *f = &w->back;
	size_t l4 = is_v6 ? 54 : 34, segment = padding < 4 ? 20 : 24;
	const uint8_t *tcp = f->data + l4;

	assert_int_equal(f->len, l4 + 20 + padding);
	assert_int_equal(get16(f->data + (is_v6 ? 18 : 16)), segment + (is_v6 ? 0 : 20));
	assert_int_equal(tcp[12] >> 4, segment / 4);
	assert_memory_equal(f->data, "\x02\x00\x00\x00\x00\x07\x02\x00\x00\x00\x00\x01", 12); /* turned round */
	assert_int_equal(get16(tcp), 22);
	assert_int_equal(get16(tcp + 2), port);
	assert_int_equal(get32(tcp + 8), seq + 1);
	assert_int_equal(tcp[13], F_SYN | F_ACK);
	if (segment == 24)
		assert_memory_equal(tcp + 20, "\x02\x04", 2);
	assert_true(segment == 20 || get16(tcp + 22) >= 536);
	if (!is_v6)
		assert_int_equal(sum16(0, f->data + 14, 20), 0xffff);
	/* addresses, protocol, length, segment */
	assert_int_equal(sum16(P_TCP + (uint32_t)segment, f->data + (is_v6 ? 22 : 26), (is_v6 ? 32 : 8) + segment),
			 0xffff);
	return get32(tcp + 4);
}

static void seq_set(struct frame *f, uint32_t seq, uint32_t ack)
{
	uint32_t be[2] = { htonl(seq), htonl(ack) };

	memcpy(f->data + host_l4_of(f) + 4, be, sizeof(be));
}

/* `padding` bytes behind the packet, as a device adds them to a short frame. */
static enum by_drop padded(const char *src, const char *dst, uint16_t port, uint8_t flags, uint32_t seq, uint32_t ack,
			   size_t padding)
{
	struct frame f;

	host_frame(&f, &(struct pkt){ TCP(src, dst, port, 22, flags) }, 0);
	f.len = host_l4_of(&f) + 20;
	memset(f.data + f.len, 0xee, padding);
	f.len += padding;
	seq_set(&f, seq, ack);
	return host_send_frame(w, HOOK_XDP, &f);
}

static enum by_drop segment(const char *src, const char *dst, uint16_t port, uint8_t flags, uint32_t seq, uint32_t ack)
{
	return padded(src, dst, port, flags, seq, ack, 0);
}

static void cookie_round(const char *src, const char *dst, size_t padding)
{
	bool is_v6 = strchr(src, ':') != NULL;
	uint32_t cookie;

	assert_int_equal(segment(src, dst, 1, F_SYN, 100, 0), 0); /* the burst: the stack may have it */
	assert_int_equal(padded(src, dst, 2, F_SYN, 0x01020304, 0, padding), BY_DROP_SYN_COOKIE);
	assert_int_equal(w->retval, 3); /* XDP_TX */
	cookie = check_answer(is_v6, 2, 0x01020304, padding);
	assert_int_equal(segment(src, dst, 2, F_ACK, 0x01020305, cookie), BY_DROP_NO_FLOW);     /* not plus one */
	assert_int_equal(segment(src, dst, 3, F_ACK, 0x01020305, cookie + 1), BY_DROP_NO_FLOW); /* another's */
	assert_int_equal(segment(src, dst, 2, F_ACK | F_RST, 0x01020305, cookie + 1), BY_DROP_NO_FLOW);
	assert_int_equal(segment(src, dst, 2, F_ACK, 0x01020305, cookie + 1), 0);
	assert_int_equal(segment(src, dst, 2, F_ACK, 77, 78), 0); /* it is a flow now */
}

/* In a network namespace of its own: the sysctl and the ports are this test's. */
static void cookies(void **state)
{
	static const size_t padding[] = { 0, 3, 4, 40 };
	struct dp_host_options o = { .syns = { .rate = FLOOD_RATE, .burst = 1 } };
	int fd4, fd6;

	(void)state;
	assert_int_equal(unshare(CLONE_NEWNET), 0);
	sysctl_set("2");
	fd4 = listener(AF_INET);
	fd6 = listener(AF_INET6);
	for (size_t i = 0; i < 4; i++) {
		if (i)
			gone(NULL);
		opened(&o);
		cookie_round(FRIEND4, HOST4, padding[i]);
		gone(NULL);
		opened(&o);
		cookie_round(FRIEND6, HOST6, padding[i]);
	}
	/* what brings data would send it back, and gets no answer */
	assert_int_equal(padded(FRIEND4, HOST4, 8, F_SYN, 1, 0, 41), BY_DROP_SYN_COOKIE);
	assert_int_equal(w->retval, 1);
	/* who is not allowed in gets no answer, and neither does what can not be read */
	assert_int_equal(segment(WORLD4, HOST4, 5, F_SYN, 1, 0), BY_DROP_POLICY_DENY);
	assert_int_equal(host_send(w, HOOK_XDP, &(struct pkt){ TCP(FRIEND4, HOST4, 6, 22, F_SYN), .options = 4 }),
			 BY_DROP_SYN_COOKIE);
	assert_int_equal(w->retval, 1);
	close(fd4);
	close(fd6);
	/* nobody listens: the stack shall say so */
	assert_int_equal(segment(FRIEND4, HOST4, 7, F_SYN, 1, 0), 0);
}

static void no_cookies(void **state)
{
	struct dp_host_options o = { .syns = { .rate = FLOOD_RATE, .burst = 1 } };
	struct dp_host_status st;

	(void)state;
	sysctl_set("1");
	opened(&o);
	dp_host_status(w->dp, &st);
	assert_string_equal(st.no_cookies, "net.ipv4.tcp_syncookies is 1, needed: 2");
	for (uint16_t i = 0; i < 5; i++)
		assert_int_equal(syn_at(HOOK_XDP, FRIEND4, HOST4, 50 + i), 0);
	gone(NULL);
	o.syns.rate = 0;
	opened(&o);
	dp_host_status(w->dp, &st);
	assert_string_equal(st.no_cookies, "limits.syns is 0");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(new_flows, gone),    cmocka_unit_test_teardown(refill, gone),
		cmocka_unit_test_teardown(ipv6_sources, gone), cmocka_unit_test_teardown(handshakes, gone),
		cmocka_unit_test_teardown(cookies, gone),      cmocka_unit_test_teardown(no_cookies, gone),
	};

	return cmocka_run_group_tests_name("host limits", tests, NULL, NULL);
}
