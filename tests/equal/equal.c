// SPDX-License-Identifier: Apache-2.0
/* The long run of tests/lib/equal.h. usage: equal [CASES [SEED]]   (1000000, the time) */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "../lib/equal.h"

#define PACKETS 2000

int main(int argc, char **argv)
{
	uint64_t cases = argc > 1 ? strtoull(argv[1], NULL, 0) : 1000000;
	struct equal eq = { .packets = PACKETS };
	struct timespec a, b;
	uint32_t policies;
	double s;

	clock_gettime(CLOCK_REALTIME, &a);
	eq.seed = argc > 2 ? strtoull(argv[2], NULL, 0) : (uint64_t)a.tv_sec * 1000000007u ^ (uint64_t)a.tv_nsec;
	eq.seed |= !eq.seed; /* 0 stays 0 */
	printf("seed %#llx\n", (unsigned long long)eq.seed);
	fflush(stdout);
	clock_gettime(CLOCK_MONOTONIC, &a);
	policies = (uint32_t)((cases + PACKETS - 1) / PACKETS);
	if (!equal_run(&eq, policies - policies / 4) || !equal_host_run(&eq, policies / 4))
		return 1;
	clock_gettime(CLOCK_MONOTONIC, &b);
	s = (double)(b.tv_sec - a.tv_sec) + (double)(b.tv_nsec - a.tv_nsec) / 1e9;
	printf("%llu cases of %llu policies agree: %llu allowed, %llu denied by a rule, %llu by default, an audit rule "
	       "would "
	       "drop %llu; %.0f cases/s\n",
	       (unsigned long long)eq.n_cases, (unsigned long long)eq.n_policies, (unsigned long long)eq.n_allowed,
	       (unsigned long long)eq.n_denied, (unsigned long long)eq.n_default, (unsigned long long)eq.n_audited,
	       (double)eq.n_cases / s);
	return 0;
}
