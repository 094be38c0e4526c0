// SPDX-License-Identifier: Apache-2.0
/*
 * 1,000 reloads under load (RELOADS=N for another number). Two policies that answer alike and number their classes so
 * that each mixture answers otherwise (pair.h) take turns, and identities come and go between, while three threads
 * send: two ask the programs directly, each packet the first one of a flow; one writes packets into a TUN device and
 * listens behind it. Every packet must be decided as both policies say.
 */
#include <bpf/bpf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../lib/pair.h"
#include "base/cleanup.h"

#define RESIDUE 0

struct load {
	struct world *w;
	enum by_dir dir;
	int tun, ear; /* the device, and what reached the stack behind it */
	bool stop;
	uint64_t passed, dropped, wrong;
	unsigned wrong_port;
};

static bool is_stopped(const struct load *l)
{
	return __atomic_load_n(&l->stop, __ATOMIC_RELAXED);
}

static bool is_open(unsigned port)
{
	return (BY_PORT_TCP + port) % 4 == RESIDUE;
}

static void note(struct load *l, unsigned port, bool passes)
{
	*(passes ? &l->passed : &l->dropped) += 1;
	if (passes == is_open(port))
		return;
	l->wrong++;
	l->wrong_port = port;
}

/* The n-th packet: another port each time, and another flow for 60,000 times. */
static struct pkt nth_packet(uint64_t n, enum by_dir dir)
{
	uint16_t port = (uint16_t)(PAIR_FIRST + n % PAIR_PORTS), own = (uint16_t)(2000 + n / PAIR_PORTS % 60000);
	struct pkt in = { TCP(DB4, WEB4, own, port, F_SYN) }, out = { TCP(WEB4, DB4, own, port, F_SYN) };

	return dir == BY_DIR_IN ? in : out;
}

static void *ask(void *arg)
{
	struct load *l = arg;

	for (uint64_t n = 0; !is_stopped(l); n++) {
		struct pkt p = nth_packet(n, l->dir);

		note(l, p.dport, pair_passes(l->w->prog[l->dir], l->dir, 0, &p));
	}
	return NULL;
}

static void checksum_set(struct frame *f)
{
	uint32_t sum = 0;

	for (int i = 0; i < 20; i += 2)
		sum += (uint32_t)f->data[i] << 8 | f->data[i + 1];
	sum = ~((sum & 0xffff) + (sum >> 16)) & 0xffff;
	f->data[10] = (uint8_t)(sum >> 8);
	f->data[11] = (uint8_t)sum;
}

/* The port that the next TCP packet behind the device was sent to; 0: none comes. */
static unsigned heard(const struct load *l, int wait_ms)
{
	struct pollfd p = { .fd = l->ear, .events = POLLIN };
	uint8_t buf[256];

	if (poll(&p, 1, wait_ms) <= 0 || recv(l->ear, buf, sizeof(buf), 0) < 24)
		return 0;
	return (unsigned)buf[22] << 8 | buf[23];
}

/* What should pass must come; what should not is there at once, or before the next one that should. */
static void *send_through_device(void *arg)
{
	struct load *l = arg;

	for (uint64_t n = 0; !is_stopped(l); n++) {
		struct pkt p = nth_packet(n, BY_DIR_IN);
		bool should = is_open(p.dport);
		struct frame f;
		unsigned port;

		p.sport = (uint16_t)(p.sport ^ 0x8000); /* flows of its own */
		frame_build(&f, &p);
		checksum_set(&f);
		if (write(l->tun, f.data, f.len) != (ssize_t)f.len)
			l->wrong++;
		port = heard(l, should ? 1000 : 0);
		note(l, port && port != p.dport ? port : p.dport, port != 0);
	}
	return NULL;
}

/* The local address is on the device; answers of the stack (RST) leave by it and are dropped there. */
static int device(struct load *l)
{
	struct ifreq ifr = { .ifr_flags = IFF_TUN | IFF_NO_PI, .ifr_name = "byreload" };
	struct err e = ERR_INIT;

	assert_int_equal(unshare(CLONE_NEWNET), 0);
	l->tun = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
	if (l->tun < 0 && system("modprobe tun 2>/dev/null") == 0)
		l->tun = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
	if (l->tun < 0)
		return -errno;
	assert_int_equal(ioctl(l->tun, TUNSETIFF, &ifr), 0);
	assert_int_equal(system("ip addr add " WEB4 "/24 dev byreload && ip link set byreload up"), 0);
	l->ear = socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_TCP);
	assert_true(l->ear >= 0);
	assert_int_equal(dp_attach(l->w->dp, if_nametoindex("byreload"), &e), 0);
	return 0;
}

/* A node of EVE's class joins, changes its addresses, and leaves. */
static void churn(struct world *w, bool is_rotated, int i)
{
	struct dp_identity id = world_node(10 + i % 20, pair_class(EVE, is_rotated));
	struct err e = ERR_INIT;

	assert_int_equal(dp_identity_set(w->dp, &id, NULL, &e), 0);
	id.n_addrs = 1;
	assert_int_equal(dp_identity_set(w->dp, &id, NULL, &e), 0);
	if (i % 3 == 0)
		assert_int_equal(dp_identity_remove(w->dp, id.instance_id, &e), 0);
}

static void told(const struct load *l, const char *what)
{
	printf("# %s: %llu passed, %llu dropped, %llu decided wrongly\n", what, (unsigned long long)l->passed,
	       (unsigned long long)l->dropped, (unsigned long long)l->wrong);
	if (l->wrong)
		fail_msg("%s: for example port %u", what, l->wrong_port);
	assert_true(l->passed > 0 && l->dropped > 0);
}

static void a_mixture_would_show(void **state)
{
	struct img *a = img_new(), *b = img_new();
	const struct pol_image *of[] = { pair_image(a, false, RESIDUE), pair_image(b, true, RESIDUE) };

	(void)state;
	for (int i = 0; i < 8; i++)
		assert_int_equal(pair_same(pair_mixture(of[i & 1], of[i >> 1 & 1], of[i >> 2]), pair_expect(RESIDUE)),
				 i == 0 || i == 7);
	img_free(a);
	img_free(b);
}

static void no_packet_meets_a_mixture(void **state)
{
	const char *text = getenv("RELOADS");
	int reloads = text ? atoi(text) : 1000;
	struct world *w = world_open_with(&(struct dp_options){ .sizes = dp_sizes_small });
	struct load load[] = { { .w = w, .dir = BY_DIR_IN }, { .w = w, .dir = BY_DIR_OUT }, { .w = w } };
	pthread_t thread[3];

	(void)state;
	world_cast(w);
	assert_int_equal(pair_commit(w->dp, true, RESIDUE), 0);
	if (device(&load[2]) < 0) {
		world_close(w);
		skip();
	}
	for (int i = 0; i < 3; i++)
		assert_int_equal(pthread_create(&thread[i], NULL, i == 2 ? send_through_device : ask, &load[i]), 0);
	for (int i = 0; i < reloads; i++) {
		assert_int_equal(pair_commit(w->dp, i % 2, RESIDUE), 0);
		churn(w, i % 2, i);
	}
	for (int i = 0; i < 3; i++) {
		__atomic_store_n(&load[i].stop, true, __ATOMIC_RELAXED);
		pthread_join(thread[i], NULL);
	}
	printf("# %d reloads\n", reloads);
	told(&load[0], "in, asked");
	told(&load[1], "out, asked");
	told(&load[2], "in, through the device");
	close(load[2].tun);
	close(load[2].ear);
	world_close(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_mixture_would_show),
		cmocka_unit_test(no_packet_meets_a_mixture),
	};

	setvbuf(stdout, NULL, _IOLBF, 0);
	return cmocka_run_group_tests_name("bpf/reload", tests, NULL, NULL);
}
