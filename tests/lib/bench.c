// SPDX-License-Identifier: Apache-2.0
#include "bench.h"

#include <errno.h>
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/addr.h"

#define SELF_APP 0xffffffffu

const struct bench_scale bench_scale[BENCH_SCALES] = {
	{ "10", 10 }, { "1k", 1000 }, { "10k", 10000 }, { "100k", 100000 }
};

double bench_now_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

void bench_must(int ret, struct err *e, const char *what)
{
	char text[512];

	if (ret >= 0)
		return;
	fprintf(stderr, "bench: %s: %s\n", what, e && e->code ? err_text(e, text, sizeof(text)) : strerror(-ret));
	exit(1);
}

void bench_row(const char *name, double ours, double peer, const char *peer_name, const char *unit, const char *note)
{
	printf("{\"name\":\"%s\",\"ours\":%.4g,", name, ours);
	if (peer > 0)
		printf("\"peer\":%.4g,\"peer_name\":\"%s\",\"ratio\":%.3f,", peer, peer_name, ours / peer);
	printf("\"unit\":\"%s\",\"note\":\"%s\"}\n", unit, note);
	fflush(stdout);
}

void bench_point(const char *curve, const char *who, double x, double y)
{
	const char *dir = getenv("CURVES");
	char path[512];
	FILE *f;

	if (!dir || y <= 0)
		return;
	snprintf(path, sizeof(path), "%s/%s.%s.dat", dir, curve, who);
	f = fopen(path, "a");
	if (!f)
		return;
	fprintf(f, "%g %g\n", x, y);
	fclose(f);
}

void bench_gro_on(const char *device)
{
	struct ethtool_value on = { .cmd = ETHTOOL_SGRO, .data = 1 };
	struct ifreq ifr = { .ifr_data = (char *)&on };
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", device);
	bench_must(fd < 0 || ioctl(fd, SIOCETHTOOL, &ifr) < 0 ? -errno : 0, NULL, "GRO");
	close(fd);
}

static int order(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

double bench_median(double *all, size_t n)
{
	qsort(all, n, sizeof(*all), order);
	return all[n / 2];
}

/* --- a network --- */

static uint32_t apps_of(uint32_t n)
{
	return n / 10 < BENCH_APPS ? n / 10 : BENCH_APPS;
}

static void number_into(uint8_t id[BY_APP_ID_LEN], uint32_t n)
{
	memset(id, 0, BY_APP_ID_LEN);
	for (int i = 0; i < 4; i++)
		id[BY_APP_ID_LEN - 1 - i] = (uint8_t)(n >> 8 * i);
}

struct dp_identity network_identity(uint32_t i, uint32_t n)
{
	struct dp_identity id = { .n_addrs = 2 };

	number_into(id.app_id, i % apps_of(n) + 1);
	number_into(id.instance_id, i + 10);
	snprintf(id.node, sizeof(id.node), "node-%u", i);
	addr_parse(&id.addrs[0], "100.64.0.0");
	addr_parse(&id.addrs[1], "fd00::");
	for (int b = 0; b < 3; b++)
		for (int a = 0; a < 2; a++)
			id.addrs[a].b[15 - b] = (uint8_t)(id.addrs[a].b[15 - b] | (i + 10) >> 8 * b);
	return id;
}

struct pol_subject network_subject(uint32_t i, uint32_t n)
{
	struct pol_subject s = { 0 };

	number_into(s.app_id, i % apps_of(n) + 1);
	number_into(s.instance_id, i + 10);
	return s;
}

struct pol_subject network_self(void)
{
	struct pol_subject s = { 0 };

	number_into(s.app_id, SELF_APP);
	return s;
}

char *network_policy(uint32_t n, size_t *len)
{
	char *text = NULL;
	FILE *f = open_memstream(&text, len);

	if (!f)
		return NULL;
	fprintf(f, "version: 1\napps:\n  self: { app-id: %040x }\n", SELF_APP);
	for (uint32_t i = 0; i < apps_of(n); i++)
		fprintf(f, "  app-%u: { app-id: %040x }\n", i, i + 1);
	fprintf(f, "rules:\n");
	for (uint32_t i = 0; i < n; i++)
		fprintf(f, "  - { name: rule-%u, from: app-%u, to: self, allow: [tcp/%u] }\n", i, i % apps_of(n),
			1000 + i / apps_of(n));
	fclose(f);
	return text;
}
