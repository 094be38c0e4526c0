// SPDX-License-Identifier: Apache-2.0
/* Queries as bytes, answers as bytes: judged by a reader of its own, not by the library that made them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "dns/dns.h"

#define NOW 1790000000

enum { A = 1, NS = 2, SOA = 6, PTR = 12, TXT = 16, AAAA = 28, SRV = 33, AXFR = 252, ANY = 255 };
enum { OK = 0, FORMERR = 1, NXDOMAIN = 3, NOTIMP = 4, REFUSED = 5 };

static struct dns_zone zone = { .suffix = "dstack.internal", .self = "me", .ttl = 5 };
static struct dns_names *names;

static struct dns_node node_of(unsigned n, const char *name)
{
	struct dns_node node = { .until = NOW + 100, .since = n, .n_addrs = 2, .app = "web" };
	char text[ADDR_TEXT];

	node.instance_id[0] = (uint8_t)n;
	node.instance_id[1] = (uint8_t)(n >> 8);
	memset(node.app_id, 0xa1, sizeof(node.app_id));
	snprintf(node.node, sizeof(node.node), "%s", name);
	snprintf(text, sizeof(text), "100.64.%u.%u", n >> 8, n & 255);
	assert_true(addr_parse(&node.addrs[0], text));
	snprintf(text, sizeof(text), "fdba:11e7::%x", n);
	assert_true(addr_parse(&node.addrs[1], text));
	return node;
}

static void know(const struct dns_node *node)
{
	assert_int_equal(dns_names_set(names, node), 0);
}

static int set_up(void **state)
{
	struct dns_node me, db;

	(void)state;
	names = dns_names_new();
	assert_true(prefix_parse(&zone.networks[0], "100.64.0.0/10") &&
		    prefix_parse(&zone.networks[1], "fdba:11e7::/48"));
	zone.n_networks = 2;
	me = node_of(1, "me");
	know(&me);
	db = node_of(2, "db-1");
	snprintf(db.app, sizeof(db.app), "db");
	memset(db.app_id, 0xb2, sizeof(db.app_id));
	assert_true(id_service_parse(&db.services[0], "mongodb/tcp/27017"));
	assert_true(id_service_parse(&db.services[1], "mongodb/tcp/27018"));
	db.n_services = 2;
	know(&db);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	dns_names_free(names);
	return 0;
}

/* --- a query --- */

struct query {
	uint8_t b[600];
	size_t len;
};

static struct query ask(const char *name, unsigned type)
{
	struct query q = { .b = { 0x12, 0x34, 0x01, 0, 0, 1 }, .len = 12 };

	while (*name) {
		size_t n = strcspn(name, ".");

		q.b[q.len++] = (uint8_t)n;
		memcpy(q.b + q.len, name, n);
		q.len += n;
		name += n + (name[n] == '.');
	}
	q.len++;
	q.b[q.len++] = (uint8_t)(type >> 8);
	q.b[q.len++] = (uint8_t)type;
	q.b[q.len + 1] = 1;
	q.len += 2;
	return q;
}

static struct query with_edns(struct query q, unsigned version, unsigned size)
{
	const uint8_t opt[] = { 0, 0, 41, (uint8_t)(size >> 8), (uint8_t)size, 0, (uint8_t)version, 0, 0, 0, 0 };

	memcpy(q.b + q.len, opt, sizeof(opt));
	q.len += sizeof(opt);
	q.b[11] = 1;
	return q;
}

/* --- its answer --- */

struct got {
	enum dns_do what;
	struct dns_reply r;
	unsigned rcode, n_answers, n_authority, n_additional;
	bool is_aa, is_tc, is_ra;
};

static struct got answer_of(const struct query *q, bool may_forward, bool is_tcp)
{
	struct dns_asker asker = { .may_forward = may_forward, .is_tcp = is_tcp, .now = NOW };
	struct got g = { 0 };

	g.what = dns_answer(names, &zone, &asker, q->b, q->len, &g.r);
	if (g.what != DNS_REPLY)
		return g;
	assert_true(g.r.len >= 12 && (g.r.bytes[2] & 0x80) && memcmp(g.r.bytes, q->b, 2) == 0);
	g.rcode = g.r.bytes[3] & 0xf;
	g.is_aa = g.r.bytes[2] & 4;
	g.is_tc = g.r.bytes[2] & 2;
	g.is_ra = g.r.bytes[3] & 0x80;
	g.n_answers = g.r.bytes[6] << 8u | g.r.bytes[7];
	g.n_authority = g.r.bytes[9];
	g.n_additional = g.r.bytes[11];
	return g;
}

static bool has(const struct got *g, const void *bytes, size_t len)
{
	return memmem(g->r.bytes, g->r.len, bytes, len) != NULL;
}

static struct got answer(const char *name, unsigned type)
{
	struct query q = ask(name, type);

	return answer_of(&q, false, false);
}

/* What is asked, the code and how many answers; none: then there is a SOA. */
static void expect(const char *name, unsigned type, unsigned rcode, unsigned n)
{
	struct got g = answer(name, type);

	if (g.what != DNS_REPLY || g.rcode != rcode || g.n_answers != n || g.n_authority != !n)
		fail_msg("%s %u: %d rcode %u, %u answers, %u authority", name, type, g.what, g.rcode, g.n_answers,
			 g.n_authority);
	assert_true(g.is_aa);
	free(g.r.bytes);
}

static void names_have_what_the_records_say(void **state)
{
	static const uint8_t v4[] = { 0, 4, 100, 64, 0, 2 };
	struct got g = answer("db-1.dstack.internal", A);

	(void)state;
	assert_true(has(&g, v4, sizeof(v4)));
	free(g.r.bytes);
	expect("db-1.dstack.internal", A, OK, 1);
	expect("db-1.dstack.internal", AAAA, OK, 1);
	expect("db-1.dstack.internal", TXT, OK, 1);
	expect("db-1.dstack.internal", ANY, OK, 1);
	expect("web.app.dstack.internal", A, OK, 1);
	expect("a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1.app.dstack.internal", AAAA, OK, 1);
	expect("mongodb.svc.dstack.internal", A, OK, 1);
	expect("_mongodb._tcp.dstack.internal", SRV, OK, 2);
	expect("dstack.internal", SOA, OK, 1);
	expect("dstack.internal", NS, OK, 1);
	expect("2.0.64.100.in-addr.arpa", PTR, OK, 1);
	expect("2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.7.e.1.1.a.b.d.f.ip6.arpa", PTR, OK, 1);
	g = answer("db-1.dstack.internal", TXT);
	assert_true(has(&g, "app-id=b2b2", 11) && has(&g, "instance-id=0200", 16));
	free(g.r.bytes);
}

static void no_data_is_not_no_name(void **state)
{
	(void)state;
	expect("db-1.dstack.internal", 15, OK, 0);
	expect("dstack.internal", A, OK, 0);
	expect("app.dstack.internal", A, OK, 0);
	expect("_tcp.dstack.internal", SRV, OK, 0);
	expect("_mongodb._tcp.dstack.internal", A, OK, 0);
	expect("64.100.in-addr.arpa", PTR, OK, 0);
	expect("0.64.100.in-addr.arpa", PTR, OK, 0);
	expect("2.0.64.100.in-addr.arpa", A, OK, 0);
	expect("nobody.dstack.internal", A, NXDOMAIN, 0);
	expect("x.db-1.dstack.internal", A, NXDOMAIN, 0);
	expect("no.app.dstack.internal", A, NXDOMAIN, 0);
	expect("_mongodb._udp.dstack.internal", SRV, NXDOMAIN, 0);
	expect("mongodb._tcp.dstack.internal", SRV, NXDOMAIN, 0);
	expect("9.0.64.100.in-addr.arpa", PTR, NXDOMAIN, 0);
	expect("02.0.64.100.in-addr.arpa", PTR, NXDOMAIN, 0);
	expect("2.2.0.64.100.in-addr.arpa", PTR, NXDOMAIN, 0);
}

static void what_is_not_ours_is_not_answered(void **state)
{
	static const char *const foreign[] = { "example.org",
					       "internal",
					       "xdstack.internal",
					       "dstack.internal.org",
					       "1.2.0.192.in-addr.arpa",
					       "100.in-addr.arpa",
					       "in-addr.arpa",
					       "" };

	(void)state;
	for (size_t i = 0; i < sizeof(foreign) / sizeof(foreign[0]); i++) {
		struct query q = ask(foreign[i], A);
		struct got g = answer_of(&q, false, false);

		assert_int_equal(g.what, DNS_REPLY);
		assert_int_equal(g.rcode, REFUSED);
		assert_false(g.is_aa || g.is_ra);
		free(g.r.bytes);
		assert_int_equal(answer_of(&q, true, false).what, DNS_FORWARD);
		q.b[2] = 0; /* no recursion desired */
		g = answer_of(&q, true, false);
		assert_int_equal(g.rcode, REFUSED);
		free(g.r.bytes);
	}
}

static void case_is_kept_and_does_not_matter(void **state)
{
	struct query q = ask("dB-1.DsTaCk.InTeRnAl", A);
	struct got g = answer_of(&q, false, false);

	(void)state;
	assert_int_equal(g.n_answers, 1);
	assert_memory_equal(g.r.bytes + 12, q.b + 12, q.len - 12);
	free(g.r.bytes);
}

static void edns_is_answered_where_it_was_asked(void **state)
{
	struct query q = with_edns(ask("db-1.dstack.internal", A), 0, 4096);
	struct got g = answer_of(&q, false, false);
	static const uint8_t opt[] = { 0, 0, 41, DNS_UDP_MAX >> 8, DNS_UDP_MAX & 255 };

	(void)state;
	assert_int_equal(g.n_additional, 1);
	assert_true(has(&g, opt, sizeof(opt)));
	free(g.r.bytes);
	g = answer("db-1.dstack.internal", A);
	assert_int_equal(g.n_additional, 0);
	free(g.r.bytes);
	q = with_edns(ask("db-1.dstack.internal", A), 1, 4096);
	g = answer_of(&q, false, false);
	assert_int_equal(g.rcode, 0); /* BADVERS is 16: its upper bits are in OPT's TTL */
	assert_int_equal(g.n_answers, 0);
	assert_true(has(&g, "\0\0\x29\x04\xd0\x01", 6));
	free(g.r.bytes);
}

static void what_does_not_fit_comes_by_tcp(void **state)
{
	struct query q = ask("big.app.dstack.internal", A), more;
	struct got g;

	(void)state;
	for (unsigned i = 0; i < 60; i++) {
		char name[16];
		struct dns_node n;

		snprintf(name, sizeof(name), "big-%u", i);
		n = node_of(1000 + i, name);
		snprintf(n.app, sizeof(n.app), "big");
		know(&n);
	}
	g = answer_of(&q, false, false);
	assert_true(g.is_tc && g.n_answers == 0 && g.r.len <= 512);
	free(g.r.bytes);
	g = answer_of(&q, false, true);
	assert_true(!g.is_tc && g.n_answers == 60);
	free(g.r.bytes);
	more = with_edns(q, 0, 1232);
	g = answer_of(&more, false, false);
	assert_true(!g.is_tc && g.n_answers == 60 && g.r.len <= 1232);
	free(g.r.bytes);
	more = with_edns(ask("big.app.dstack.internal", TXT), 0, 1232);
	g = answer_of(&more, false, false);
	assert_true(g.is_tc && g.r.len <= 1232 && g.n_additional == 1);
	free(g.r.bytes);
}

static void who_is_gone_has_no_name(void **state)
{
	struct dns_node db = node_of(2, "db-1");
	struct got g;
	struct dns_asker later = { .now = NOW + 98 };
	struct query q = ask("db-1.dstack.internal", A);
	size_t at;

	(void)state;
	know(&db); /* without services now */
	expect("mongodb.svc.dstack.internal", A, NXDOMAIN, 0);
	expect("web.app.dstack.internal", A, OK, 2);
	g.what = dns_answer(names, &zone, &later, q.b, q.len, &g.r);
	at = q.len + 2 + 4;                     /* behind the pointer to the name: type, class, TTL */
	assert_int_equal(g.r.bytes[at + 3], 2); /* no longer than the record has */
	free(g.r.bytes);
	later.now = NOW + 101;
	g.what = dns_answer(names, &zone, &later, q.b, q.len, &g.r);
	assert_int_equal(g.r.rcode, NXDOMAIN);
	free(g.r.bytes);
	dns_names_del(names, db.instance_id);
	expect("db-1.dstack.internal", A, NXDOMAIN, 0);
	expect("2.0.64.100.in-addr.arpa", PTR, NXDOMAIN, 0);
	expect("web.app.dstack.internal", A, OK, 1);
}

static void the_first_living_owner_keeps_a_name(void **state)
{
	struct dns_node thief = node_of(7, "db-1"), me = node_of(8, "me"), db = node_of(2, "db-1");
	static const uint8_t first[] = { 100, 64, 0, 2 }, second[] = { 100, 64, 0, 7 };
	struct got g;

	(void)state;
	know(&thief);
	know(&me);
	db.addrs[1].b[15] = 0x22; /* a change of its own does not cost it the name */
	know(&db);
	expect("db-1.dstack.internal", A, OK, 1);
	g = answer("db-1.dstack.internal", A);
	assert_true(has(&g, first, 4) && !has(&g, second, 4));
	free(g.r.bytes);
	expect("7.0.64.100.in-addr.arpa", PTR, NXDOMAIN, 0);
	expect("8.0.64.100.in-addr.arpa", PTR, NXDOMAIN, 0);
	expect("1.0.64.100.in-addr.arpa", PTR, OK, 1);
	dns_names_del(names, db.instance_id);
	g = answer("db-1.dstack.internal", A);
	assert_true(has(&g, second, 4) && !has(&g, first, 4));
	free(g.r.bytes);
}

static void what_is_no_query_is_refused_or_dropped(void **state)
{
	struct query q = ask("db-1.dstack.internal", A);
	static const struct {
		size_t at;
		uint8_t value;
		enum dns_do what;
		unsigned rcode;
	} c[] = {
		{ 2, 0x81, DNS_DROP, 0 },       /* an answer */
		{ 2, 0x11, DNS_REPLY, NOTIMP }, /* status */
		{ 2, 0x29, DNS_REPLY, NOTIMP }, /* update */
		{ 5, 0, DNS_REPLY, FORMERR },   /* no question */
		{ 5, 2, DNS_REPLY, FORMERR },   /* two */
		{ 7, 1, DNS_REPLY, FORMERR },   /* with an answer */
		{ 9, 1, DNS_REPLY, FORMERR },     { 11, 3, DNS_REPLY, FORMERR },
		{ 11, 1, DNS_REPLY, FORMERR },    /* which is not there */
		{ 12, 0x40, DNS_REPLY, FORMERR }, /* no label */
		{ 12, 0xc0, DNS_REPLY, FORMERR }, /* points at itself */
	};

	struct got g;

	(void)state;
	for (size_t i = 0; i < sizeof(c) / sizeof(c[0]); i++) {
		struct query bad = q;

		bad.b[c[i].at] = c[i].value;
		if (c[i].value == 0xc0)
			bad.b[13] = 12;
		g = answer_of(&bad, true, false);
		if (g.what != c[i].what || g.rcode != c[i].rcode)
			fail_msg("case %zu: %d, rcode %u", i, g.what, g.rcode);
		free(g.r.bytes);
	}
	for (size_t len = 0; len < q.len; len++) {
		struct query cut = q;

		cut.len = len;
		g = answer_of(&cut, true, false);
		assert_true(len < 12 ? g.what == DNS_DROP : g.what == DNS_REPLY && g.rcode == FORMERR);
		free(g.r.bytes);
	}
	expect("dstack.internal", 43, OK, 0);
	q = ask("dstack.internal", AXFR);
	g = answer_of(&q, true, true);
	assert_int_equal(g.rcode, REFUSED);
	free(g.r.bytes);
}

static void only_the_answer_to_a_question_is_one(void **state)
{
	struct query q = ask("eXample.org", A);
	uint8_t reply[600];
	size_t len, failure_len;
	uint8_t *again = dns_query_again(q.b, q.len, 0x7788, false, &len), *failure;

	(void)state;
	assert_non_null(again);
	memcpy(reply, again, len);
	assert_false(dns_is_answer(again, len, reply, len)); /* a query */
	reply[2] |= 0x80;
	assert_true(dns_is_answer(again, len, reply, len));
	reply[13] ^= 0x20; /* case */
	assert_true(dns_is_answer(again, len, reply, len));
	reply[13] ^= 0x01;
	assert_false(dns_is_answer(again, len, reply, len));
	reply[13] ^= 0x21;
	reply[len - 3] ^= 1; /* type */
	assert_false(dns_is_answer(again, len, reply, len));
	reply[len - 3] ^= 1;
	reply[1] ^= 1; /* id */
	assert_false(dns_is_answer(again, len, reply, len));
	reply[1] ^= 1;
	assert_false(dns_is_answer(again, len, reply, len - 1));
	failure = dns_failure(again, len, &failure_len);
	assert_true(dns_is_answer(again, len, failure, failure_len) && (failure[3] & 0xf) == 2);
	assert_true(failure[11] == 0 && failure_len == len);
	free(failure);
	free(again);
}

static void a_failure_has_edns_where_the_query_has(void **state)
{
	static const uint8_t opt[] = { 0, 0, 41, 1232 >> 8, 1232 & 0xff, 0, 0, 0x80, 0, 0, 0 };
	struct query plain = ask("example.org", A), q = with_edns(plain, 0, 4096);
	uint8_t *failure;
	size_t len;

	(void)state;
	q.b[q.len - 4] = 0x80; /* DO */
	failure = dns_failure(q.b, q.len, &len);
	assert_non_null(failure);
	assert_int_equal(len, q.len);
	assert_true(failure[11] == 1 && (failure[3] & 0xf) == 2);
	assert_memory_equal(failure + plain.len, opt, sizeof(opt));
	free(failure);
}

static void a_suffix_is_a_name(void **state)
{
	(void)state;
	assert_true(dns_suffix_ok("dstack.internal") && dns_suffix_ok("a"));
	assert_false(dns_suffix_ok("") || dns_suffix_ok(".a") || dns_suffix_ok("a.") || dns_suffix_ok("a..b") ||
		     dns_suffix_ok("A") || dns_suffix_ok("a_b"));
	assert_false(dns_suffix_ok("a-label-that-is-longer-than-the-sixty-three-bytes-that-a-label-may-have.x"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(names_have_what_the_records_say, set_up, tear_down),
		cmocka_unit_test_setup_teardown(no_data_is_not_no_name, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_is_not_ours_is_not_answered, set_up, tear_down),
		cmocka_unit_test_setup_teardown(case_is_kept_and_does_not_matter, set_up, tear_down),
		cmocka_unit_test_setup_teardown(edns_is_answered_where_it_was_asked, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_does_not_fit_comes_by_tcp, set_up, tear_down),
		cmocka_unit_test_setup_teardown(who_is_gone_has_no_name, set_up, tear_down),
		cmocka_unit_test_setup_teardown(the_first_living_owner_keeps_a_name, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_is_no_query_is_refused_or_dropped, set_up, tear_down),
		cmocka_unit_test_setup_teardown(only_the_answer_to_a_question_is_one, set_up, tear_down),
		cmocka_unit_test(a_failure_has_edns_where_the_query_has),
		cmocka_unit_test(a_suffix_is_a_name),
	};

	return cmocka_run_group_tests_name("dns answer", tests, NULL, NULL);
}
