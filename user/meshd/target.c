// SPDX-License-Identifier: Apache-2.0
/*
 * Whom to dial: names become addresses without anybody waiting in the loop, and each target keeps the TLS session of
 * its last connection. There are at most NAMES_MAX: local applications name what they like.
 */
#include <errno.h>
#include <event2/util.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "worker.h"

#define NAMES_MAX   4096
#define WAITING_MAX 1024
#define FRESH_MS    30000 /* an address is asked for again after this */
#define FAILED_MS   2000
#define BUCKETS     1024
#define IDLE_MAX    64 /* kept connections of one target */

struct md_targets {
	struct md_worker_state *w;
	LIST_HEAD(, md_target) bucket[BUCKETS];
	TAILQ_HEAD(ages, md_target) ages; /* the one used last is at the end */
	size_t n;
};

int md_targets_new(struct md_worker_state *w, struct md_targets **targets, struct err *e)
{
	struct md_targets *made = calloc(1, sizeof(*made));

	if (!made)
		return err_at(e, -ENOMEM, "targets", "out of memory");
	made->w = w;
	TAILQ_INIT(&made->ages);
	*targets = made;
	return 0;
}

void md_target_unref(struct md_target *t)
{
	if (!t || --t->refs)
		return;
	SSL_SESSION_free(t->session);
	if (t->session_peer)
		mp_peer_unref(&t->session_peer->mp);
	if (t->last_peer)
		mp_peer_unref(&t->last_peer->mp);
	free(t->waiting);
	free(t);
}

void md_target_met(struct md_target *t, struct md_peer *peer)
{
	mp_peer_ref(&peer->mp);
	if (t->last_peer)
		mp_peer_unref(&t->last_peer->mp);
	t->last_peer = peer;
}

static void remove_one(struct md_targets *targets, struct md_target *t)
{
	struct mp_upstream *up = t->up;

	LIST_REMOVE(t, link);
	TAILQ_REMOVE(&targets->ages, t, age);
	targets->n--;
	t->w = NULL;
	t->up = NULL;
	mp_upstream_drop(up);
	md_target_unref(t);
}

void md_targets_forget(struct md_targets *targets)
{
	struct md_target *t, *next;

	/* somebody waits for a name that is being resolved: it is the same name afterwards */
	for (t = TAILQ_FIRST(&targets->ages); t; t = next) {
		next = TAILQ_NEXT(t, age);
		if (!t->is_resolving)
			remove_one(targets, t);
	}
}

void md_targets_free(struct md_targets *targets)
{
	if (!targets)
		return;
	while (!TAILQ_EMPTY(&targets->ages))
		remove_one(targets, TAILQ_FIRST(&targets->ages));
	free(targets);
}

/* --- addresses --- */

static void wake(struct md_target *t)
{
	auto_free uint64_t *waiting = take_ptr(t->waiting);
	size_t n = t->n_waiting;

	t->n_waiting = 0;
	for (size_t i = 0; i < n && t->w; i++)
		mp_again(t->w->mp, waiting[i]);
}

static void data_free(void *data)
{
	md_target_unref(data);
}

static void name_print(const struct md_want *want, char *name, size_t size)
{
	if (want->way == MD_WAY_MTLS)
		snprintf(name, size, "app %.8s%s%.8s port %u", want->app, want->instance[0] ? "/" : "", want->instance,
			 want->policy_port);
	else
		snprintf(name, size, "%.100s:%u", want->host, want->port);
}

/* The first, and where it can not be connected to the others. */
static void use_address(struct md_target *t, const void *addr, socklen_t len, const struct evutil_addrinfo *others)
{
	struct mp_upstream_conf conf = { .addr_len = len,
					 .is_tls = t->want.way != MD_WAY_PLAIN,
					 .h2 = t->want.is_h2                 ? MP_H2_PRIOR
					       : t->want.way != MD_WAY_PLAIN ? MP_H2_ALPN
									     : MP_H2_NO,
					 .max_idle = IDLE_MAX,
					 .allow_shared = t->want.way == MD_WAY_PLAIN,
					 .data = t,
					 .free = data_free };
	struct mp_upstream *old = t->up;

	memcpy(&conf.addr, addr, len);
	for (; others && conf.n_more < MP_ADDRS_MORE; others = others->ai_next)
		if (others->ai_addrlen <= sizeof(conf.more[0]))
			memcpy(&conf.more[conf.n_more++], others->ai_addr, others->ai_addrlen);
	name_print(&t->want, conf.name, sizeof(conf.name));
	if (t->want.way == MD_WAY_PUBLIC)
		snprintf(conf.host, sizeof(conf.host), "%.127s", t->want.host);
	t->up = mp_upstream_new(t->w->mp, &conf);
	if (t->up)
		t->refs++;
	else
		err_at(&t->err, -ENOMEM, t->want.host, "out of memory");
	mp_upstream_drop(old);
}

static bool is_among(const void *addr, const struct evutil_addrinfo *found)
{
	while (found && memcmp(addr, found->ai_addr, found->ai_addrlen) != 0)
		found = found->ai_next;
	return found;
}

/* The same addresses, in whichever order: kept connections stay. */
static bool is_same(const struct md_target *t, const struct evutil_addrinfo *found)
{
	const struct mp_upstream_conf *now = t->up ? mp_upstream_conf_of(t->up) : NULL;
	unsigned n = 0;

	if (!now || !is_among(&now->addr, found))
		return false;
	for (const struct evutil_addrinfo *f = found; f && n <= MP_ADDRS_MORE; f = f->ai_next)
		n++;
	for (unsigned i = 0; i < now->n_more; i++)
		if (!is_among(&now->more[i], found))
			return false;
	return n == now->n_more + 1;
}

static void on_resolved(int code, struct evutil_addrinfo *found, void *arg)
{
	struct md_target *t = arg;

	t->is_resolving = false;
	t->resolved_ms = clock_ms(CLOCK_MONOTONIC);
	t->err = ERR_INIT;
	if (t->w && (code || !found)) {
		t->w->counts.unresolved++;
		err_at(&t->err, -EHOSTUNREACH, t->want.host, "can not be resolved: %s",
		       code ? evutil_gai_strerror(code) : "no address");
	} else if (t->w && !is_same(t, found)) {
		t->w->counts.resolved++;
		use_address(t, found->ai_addr, (socklen_t)found->ai_addrlen, found->ai_next);
	}
	if (found)
		evutil_freeaddrinfo(found);
	wake(t);
	md_target_unref(t);
}

static void resolve(struct md_target *t)
{
	struct evutil_addrinfo hints = { .ai_family = AF_UNSPEC,
					 .ai_socktype = SOCK_STREAM,
					 .ai_protocol = IPPROTO_TCP };
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	struct ip_endpoint numeric = { .port = t->want.port };
	struct sockaddr_storage ss;
	char port[8];

	t->resolved_ms = clock_ms(CLOCK_MONOTONIC);
	t->is_fixed = true;
	if (t->want.host[0] == '/') {
		snprintf(sun.sun_path, sizeof(sun.sun_path), "%.107s", t->want.host);
		use_address(t, &sun, sizeof(sun), NULL);
		return;
	}
	if (addr_parse(&numeric.addr, t->want.host)) {
		socklen_t len = endpoint_to_sockaddr(&numeric, &ss);

		use_address(t, &ss, len, NULL);
		return;
	}
	snprintf(port, sizeof(port), "%u", t->want.port);
	t->is_fixed = false;
	t->is_resolving = true;
	t->refs++; /* the answer's */
	evdns_getaddrinfo(t->w->dns, t->want.host, port, &hints, on_resolved, t);
}

/* --- the table --- */

static size_t hash_of(const struct md_want *want)
{
	const char *parts[] = { want->host, want->app, want->instance };
	uint64_t h =
		1469598103934665603ull ^ want->port ^ (uint64_t)want->way << 16 ^ (uint64_t)want->policy_port << 20;

	for (size_t i = 0; i < ARRAY_LEN(parts); i++)
		for (const char *p = parts[i]; *p; p++)
			h = (h ^ (uint8_t)*p) * 1099511628211ull;
	return (size_t)(h % BUCKETS);
}

static bool same_want(const struct md_want *a, const struct md_want *b)
{
	return a->way == b->way && a->is_h2 == b->is_h2 && a->port == b->port && a->policy_port == b->policy_port &&
	       strcmp(a->host, b->host) == 0 && strcmp(a->app, b->app) == 0 && strcmp(a->instance, b->instance) == 0;
}

static struct md_target *find(struct md_targets *targets, const struct md_want *want)
{
	struct md_target *t;

	LIST_FOREACH(t, &targets->bucket[hash_of(want)], link)
	if (same_want(&t->want, want))
		break;
	if (t) {
		TAILQ_REMOVE(&targets->ages, t, age);
		TAILQ_INSERT_TAIL(&targets->ages, t, age);
		return t;
	}
	if (targets->n >= NAMES_MAX)
		remove_one(targets, TAILQ_FIRST(&targets->ages));
	t = calloc(1, sizeof(*t));
	if (!t)
		return NULL;
	t->refs = 1;
	t->want = *want;
	t->w = targets->w;
	LIST_INSERT_HEAD(&targets->bucket[hash_of(want)], t, link);
	TAILQ_INSERT_TAIL(&targets->ages, t, age);
	targets->n++;
	return t;
}

static enum mp_verdict wait_for(struct md_target *t, uint64_t token, struct err *e)
{
	uint64_t *more = t->n_waiting < WAITING_MAX ? realloc(t->waiting, (t->n_waiting + 1) * sizeof(*more)) : NULL;

	if (!more) {
		err_at(e, -EBUSY, t->want.host, "too many requests wait for its address");
		return MP_REFUSE;
	}
	t->waiting = more;
	t->waiting[t->n_waiting++] = token;
	return MP_LATER;
}

enum mp_verdict md_target_find(struct md_targets *targets, const struct md_want *want, uint64_t token,
			       struct mp_upstream **up, struct err *e)
{
	struct md_target *t = find(targets, want);
	int64_t age;

	if (!t) {
		err_at(e, -ENOMEM, want->host, "out of memory");
		return MP_REFUSE;
	}
	age = clock_ms(CLOCK_MONOTONIC) - t->resolved_ms;
	if (!t->is_resolving && (!t->up || !t->is_fixed) &&
	    (!t->resolved_ms || age > (t->err.code ? FAILED_MS : FRESH_MS)))
		resolve(t);
	/* an address that is asked for anew is good until the answer is there */
	if (t->up) {
		*up = t->up;
		return MP_GO;
	}
	if (t->is_resolving)
		return wait_for(t, token, e);
	*e = t->err;
	return MP_REFUSE;
}
