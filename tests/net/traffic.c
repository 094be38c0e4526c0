// SPDX-License-Identifier: Apache-2.0
/*
 * Traffic that goes on while something is done to the network, for namespace tests. Each ends on SIGTERM and then says
 * how it went.
 *
 *   traffic stream ADDR PORT   bytes to an echo server, as fast as it takes them; "N bytes" and why it ended early;
 *                              status 0 when all of them came back, in order, over one connection
 *   traffic knock ADDR PORT    a numbered UDP datagram each millisecond; "N sent"
 *   traffic ask ADDR PORT      likewise to an echo server; "N sent, M came back", status 0 when all did
 *   traffic count PORT         UDP datagrams that came; "N received", and which did not come in their turn, and when
 *
 * Where PATIENCE is above 1, on an emulated machine, a stream gives a block each 25 ms times that and a knock comes
 * each 4 ms times that: the machine would do nothing else.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/addr.h"

#define LATE_MS  10000 /* of an answer, when nothing more is asked */
#define DRAIN_MS 60000 /* a lost segment is sent again after seconds, on a busy machine after tens of them */

static volatile sig_atomic_t is_over;

static void on_term(int sig)
{
	(void)sig;
	is_over = 1;
}

static int socket_to(const char *addr, unsigned port, int type, bool is_server)
{
	struct ip_endpoint e = { .port = (uint16_t)port };
	struct sockaddr_storage ss;
	socklen_t len;
	int fd;

	if (!addr_parse(&e.addr, addr))
		return -1;
	len = endpoint_to_sockaddr(&e, &ss);
	fd = socket(ss.ss_family, type | SOCK_CLOEXEC, 0);
	if (fd < 0 || (is_server ? bind : connect)(fd, (struct sockaddr *)&ss, len) < 0)
		return -1;
	return fd;
}

static uint8_t byte_at(uint64_t n)
{
	return (uint8_t)(n * 2654435761u >> 13);
}

/* false: what came back is not what was sent. */
static bool take(int fd, uint64_t *got)
{
	uint8_t buf[16384];
	ssize_t n = recv(fd, buf, sizeof(buf), MSG_DONTWAIT);

	if (n < 0)
		return errno == EAGAIN || errno == EINTR;
	for (ssize_t i = 0; i < n; i++)
		if (buf[i] != byte_at(*got + (uint64_t)i))
			return false;
	*got += (uint64_t)n;
	return n > 0;
}

static bool give(int fd, uint64_t *sent)
{
	uint8_t buf[4096];
	ssize_t n;

	for (size_t i = 0; i < sizeof(buf); i++)
		buf[i] = byte_at(*sent + i);
	n = send(fd, buf, sizeof(buf), MSG_DONTWAIT | MSG_NOSIGNAL);
	if (n > 0)
		*sent += (uint64_t)n;
	return n >= 0 || errno == EAGAIN || errno == EINTR;
}

/* As often as that, or more slowly where the environment says so. */
static struct timespec pause_of(long ns, long patient_ns)
{
	const char *text = getenv("PATIENCE");
	int patience = text ? atoi(text) : 1;
	long all = patience > 1 ? patience * patient_ns : ns;

	return (struct timespec){ .tv_sec = all / 1000000000, .tv_nsec = all % 1000000000 };
}

static int stream(int fd)
{
	const struct timespec pause = pause_of(0, 25000000);
	uint64_t sent = 0, got = 0;
	const char *why = "";

	while (!is_over || got < sent) {
		struct pollfd p = { .fd = fd, .events = (short)(is_over ? POLLIN : POLLIN | POLLOUT) };
		int ready = poll(&p, 1, DRAIN_MS);

		if (ready < 0 && errno == EINTR)
			continue;
		errno = 0;
		if (ready <= 0)
			why = ", then nothing moved";
		else if (p.revents & ~POLLOUT && !take(fd, &got))
			why = errno ? strerror(errno) : ", then its end or other bytes";
		else if (p.revents & POLLOUT && !give(fd, &sent))
			why = strerror(errno);
		if (*why)
			break;
		if ((pause.tv_sec || pause.tv_nsec) && !is_over)
			nanosleep(&pause, NULL);
	}
	printf("%llu bytes %s\n", (unsigned long long)got, why);
	return !(is_over && got == sent && sent);
}

/* Answers that come within `ms` of each other; stops when there are as many as wanted. */
static uint64_t answers(int fd, uint64_t want, int ms)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	uint64_t number, n = 0;

	while (n < want && poll(&p, 1, ms) > 0)
		n += recv(fd, &number, sizeof(number), MSG_DONTWAIT) == sizeof(number);
	return n;
}

static int knock(int fd, bool is_asked)
{
	const struct timespec pause = pause_of(1000000, 4000000);
	uint64_t sent = 0, came = 0;

	while (!is_over) {
		sent += send(fd, &sent, sizeof(sent), 0) == sizeof(sent);
		nanosleep(&pause, NULL);
		came += is_asked ? answers(fd, sent - came, 0) : 0;
	}
	if (!is_asked) {
		printf("%llu sent\n", (unsigned long long)sent);
		return 0;
	}
	came += answers(fd, sent - came, LATE_MS);
	printf("%llu sent, %llu came back\n", (unsigned long long)sent, (unsigned long long)came);
	return !(sent && came == sent);
}

/* Of one sender: its numbers rise. */
static int count(int fd)
{
	uint64_t n = 0, number, next = 0;
	char missed[400] = "";
	int len = 0;

	while (!is_over) {
		struct timespec now;

		if (recv(fd, &number, sizeof(number), 0) != sizeof(number))
			continue;
		clock_gettime(CLOCK_REALTIME, &now);
		if (number > next && len < 320)
			len += snprintf(missed + len, sizeof(missed) - (size_t)len,
					", not in turn %llu to %llu at %.8s.%03ld", (unsigned long long)next,
					(unsigned long long)number - 1, ctime(&now.tv_sec) + 11, now.tv_nsec / 1000000);
		next = number >= next ? number + 1 : next;
		n++;
	}
	printf("%llu received%s\n", (unsigned long long)n, missed);
	return 0;
}

int main(int argc, char **argv)
{
	struct sigaction sa = { .sa_handler = on_term };
	unsigned port = argc > 2 ? (unsigned)strtoul(argv[argc - 1], NULL, 10) : 0;
	bool is_count = argc == 3 && strcmp(argv[1], "count") == 0;
	bool is_stream = argc == 4 && strcmp(argv[1], "stream") == 0, is_asked = argc == 4 && !strcmp(argv[1], "ask");
	int fd;

	if (!port || port > 65535 ||
	    (!is_count && !is_stream && !is_asked && (argc != 4 || strcmp(argv[1], "knock") != 0)))
		return 2;
	sigaction(SIGTERM, &sa, NULL);
	fd = socket_to(is_count ? "::" : argv[2], port, is_stream ? SOCK_STREAM : SOCK_DGRAM, is_count);
	if (fd < 0) {
		perror("traffic");
		return 1;
	}
	return is_count ? count(fd) : is_stream ? stream(fd) : knock(fd, is_asked);
}
