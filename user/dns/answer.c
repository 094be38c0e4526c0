// SPDX-License-Identifier: Apache-2.0
/*
 * DNS messages, by ldns: what it reads is copied out of its own structures, and what is answered is built in them.
 * A zone has no records that somebody wrote: each answer is made from the nodes that live now.
 */
#include <arpa/inet.h>
#include <ldns/ldns.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "dns.h"
#include "zone.h"

#define HEADER        12
#define NODES_MAX     1024 /* of one name in one answer */
#define TXT_MAX       64
#define SOA_REFRESH   3600
#define SOA_RETRY     600
#define SOA_EXPIRE    86400
#define RR_A_LEN      16 /* the least that an address takes in a message */
#define FLAG_QR       0x80
#define FLAG_RD       0x01
#define FLAG_CD       0x10
#define FLAG_DO       0x80 /* of OPT */
#define OPT_LEN       11
#define RCODE_BADVERS 16

DEFINE_CLEANUP(pkt, ldns_pkt, ldns_pkt_free)
#define auto_pkt auto_call(cleanup_pkt) ldns_pkt

/* One question being answered. */
struct job {
	struct dns_names *names;
	const struct dns_zone *zone;
	const struct dns_asker *asker;
	const ldns_rr *question;
	ldns_rr_type type;
	ldns_pkt *out;
	struct dns_place place;
	const struct dns_node *found[NODES_MAX];
	size_t n_found;
	bool failed; /* no memory */
};

/* --- records --- */

static ldns_rdf *rdf_name(const struct dns_wire *name)
{
	return ldns_rdf_new_frm_data(LDNS_RDF_TYPE_DNAME, name->len, name->b);
}

static ldns_rdf *rdf_u16(uint16_t v)
{
	return ldns_native2rdf_int16(LDNS_RDF_TYPE_INT16, v);
}

/* Takes the rdfs over; one that is NULL fails the job. */
static void rr_add(struct job *j, ldns_pkt_section section, const ldns_rdf *owner, ldns_rr_type type, uint32_t ttl,
		   ldns_rdf *const *rdfs, size_t n)
{
	ldns_rr *rr = ldns_rr_new();
	bool ok = rr != NULL;

	for (size_t i = 0; i < n; i++) {
		ok = ok && rdfs[i] && ldns_rr_push_rdf(rr, rdfs[i]);
		if (!ok)
			ldns_rdf_deep_free(rdfs[i]);
	}
	if (ok) {
		ldns_rr_set_owner(rr, ldns_rdf_clone(owner));
		ldns_rr_set_type(rr, type);
		ldns_rr_set_class(rr, LDNS_RR_CLASS_IN);
		ldns_rr_set_ttl(rr, ttl);
		ok = ldns_rr_owner(rr) && ldns_pkt_push_rr(j->out, section, rr);
	}
	if (!ok) {
		ldns_rr_free(rr);
		j->failed = true;
	}
}

static void answer_add(struct job *j, ldns_rr_type type, uint32_t ttl, ldns_rdf *const *rdfs, size_t n)
{
	rr_add(j, LDNS_SECTION_ANSWER, ldns_rr_owner(j->question), type, ttl, rdfs, n);
}

/* Nobody keeps an answer longer than its node lives. */
static uint32_t ttl_of(const struct job *j, const struct dns_node *node)
{
	int64_t left = node->until - j->asker->now;

	return left < (int64_t)j->zone->ttl ? (uint32_t)left : j->zone->ttl;
}

static void add_addresses(struct job *j, const struct dns_node *node, bool v4)
{
	for (uint32_t i = 0; i < node->n_addrs; i++) {
		const uint8_t *b = node->addrs[i].b;
		ldns_rdf *rdf;

		if (addr_is_v4(&node->addrs[i]) != v4)
			continue;
		rdf = v4 ? ldns_rdf_new_frm_data(LDNS_RDF_TYPE_A, 4, b + 12)
			 : ldns_rdf_new_frm_data(LDNS_RDF_TYPE_AAAA, 16, b);
		answer_add(j, v4 ? LDNS_RR_TYPE_A : LDNS_RR_TYPE_AAAA, ttl_of(j, node), &rdf, 1);
	}
}

static ldns_rdf *rdf_text(const char *text)
{
	uint8_t b[1 + TXT_MAX];
	size_t len = strlen(text);

	b[0] = (uint8_t)len;
	memcpy(b + 1, text, len);
	return ldns_rdf_new_frm_data(LDNS_RDF_TYPE_STR, len + 1, b);
}

static void add_text(struct job *j, const struct dns_node *node)
{
	char app[TXT_MAX] = "app-id=", instance[TXT_MAX] = "instance-id=";
	ldns_rdf *rdfs[3];
	size_t n = 2;

	hex_print(app + strlen(app), node->app_id, sizeof(node->app_id));
	hex_print(instance + strlen(instance), node->instance_id, sizeof(node->instance_id));
	rdfs[0] = rdf_text(app);
	rdfs[1] = rdf_text(instance);
	if (node->is_simulated)
		rdfs[n++] = rdf_text("simulated=true");
	answer_add(j, LDNS_RR_TYPE_TXT, ttl_of(j, node), rdfs, n);
}

/* Whether the node's name leads to it, and not to one that had it before. */
static bool has_name(const struct job *j, const struct dns_node *node)
{
	const struct dns_node *owner;

	return dns_names_find(j->names, DNS_BY_NODE, node->node, strlen(node->node), j->asker->now, 0, &owner, 1) &&
	       owner == node;
}

static void add_services(struct job *j, const struct dns_node *node)
{
	struct dns_wire target;

	if (!has_name(j, node) || !dns_wire_make(&target, node->node, j->zone->suffix))
		return;
	for (uint32_t i = 0; i < node->n_services; i++) {
		const struct id_service *s = &node->services[i];
		ldns_rdf *rdfs[4];

		if (s->is_udp != j->place.is_udp || strcmp(s->type, j->place.label) != 0)
			continue;
		rdfs[0] = rdf_u16(0);
		rdfs[1] = rdf_u16(0);
		rdfs[2] = rdf_u16(s->port);
		rdfs[3] = rdf_name(&target);
		answer_add(j, LDNS_RR_TYPE_SRV, ttl_of(j, node), rdfs, 4);
	}
}

static void add_pointer(struct job *j, const struct dns_node *node)
{
	struct dns_wire target;
	ldns_rdf *rdf;

	if (!has_name(j, node) || !dns_wire_make(&target, node->node, j->zone->suffix))
		return;
	rdf = rdf_name(&target);
	answer_add(j, LDNS_RR_TYPE_PTR, ttl_of(j, node), &rdf, 1);
}

static void add_soa(struct job *j, ldns_pkt_section section)
{
	struct dns_wire self, mail, apex = j->place.apex;
	ldns_rdf *rdfs[7], *owner = rdf_name(&apex);

	if (!owner || !dns_wire_make(&self, j->zone->self, j->zone->suffix) ||
	    !dns_wire_make(&mail, "hostmaster", j->zone->suffix)) {
		ldns_rdf_deep_free(owner);
		j->failed = true;
		return;
	}
	rdfs[0] = rdf_name(&self);
	rdfs[1] = rdf_name(&mail);
	rdfs[2] = ldns_native2rdf_int32(LDNS_RDF_TYPE_INT32, dns_names_serial(j->names));
	rdfs[3] = ldns_native2rdf_int32(LDNS_RDF_TYPE_PERIOD, SOA_REFRESH);
	rdfs[4] = ldns_native2rdf_int32(LDNS_RDF_TYPE_PERIOD, SOA_RETRY);
	rdfs[5] = ldns_native2rdf_int32(LDNS_RDF_TYPE_PERIOD, SOA_EXPIRE);
	rdfs[6] = ldns_native2rdf_int32(LDNS_RDF_TYPE_PERIOD, j->zone->ttl);
	rr_add(j, section, owner, LDNS_RR_TYPE_SOA, j->zone->ttl, rdfs, 7);
	ldns_rdf_deep_free(owner);
}

static void add_ns(struct job *j)
{
	struct dns_wire self;
	ldns_rdf *rdf = dns_wire_make(&self, j->zone->self, j->zone->suffix) ? rdf_name(&self) : NULL;

	answer_add(j, LDNS_RR_TYPE_NS, j->zone->ttl, &rdf, 1);
}

/* --- one type of one name --- */

static void add_type(struct job *j, ldns_rr_type type)
{
	enum dns_what what = j->place.what;
	bool has_addrs = what == DNS_AT_NODE || what == DNS_AT_APP || what == DNS_AT_SERVICE;

	if (what == DNS_AT_APEX && type == LDNS_RR_TYPE_SOA)
		add_soa(j, LDNS_SECTION_ANSWER);
	if (what == DNS_AT_APEX && type == LDNS_RR_TYPE_NS)
		add_ns(j);
	for (size_t i = 0; i < j->n_found; i++) {
		if (has_addrs && (type == LDNS_RR_TYPE_A || type == LDNS_RR_TYPE_AAAA))
			add_addresses(j, j->found[i], type == LDNS_RR_TYPE_A);
		if (has_addrs && type == LDNS_RR_TYPE_TXT)
			add_text(j, j->found[i]);
		if (what == DNS_AT_SRV && type == LDNS_RR_TYPE_SRV)
			add_services(j, j->found[i]);
		if (what == DNS_AT_ADDR && type == LDNS_RR_TYPE_PTR)
			add_pointer(j, j->found[i]);
	}
}

/* ANY gets one of the types that there are (RFC 8482). */
static void add_answers(struct job *j)
{
	static const ldns_rr_type any[] = { LDNS_RR_TYPE_SOA, LDNS_RR_TYPE_A,   LDNS_RR_TYPE_AAAA,
					    LDNS_RR_TYPE_SRV, LDNS_RR_TYPE_PTR, LDNS_RR_TYPE_TXT };

	if (j->type != LDNS_RR_TYPE_ANY) {
		add_type(j, j->type);
		return;
	}
	for (size_t i = 0; i < ARRAY_LEN(any) && !ldns_pkt_ancount(j->out); i++)
		add_type(j, any[i]);
}

/* Nodes that have the name. Those of a service that no port of this protocol is for are not its. */
static void find(struct job *j)
{
	const struct dns_place *p = &j->place;
	static const enum dns_kind kinds[] = { [DNS_AT_NODE] = DNS_BY_NODE,
					       [DNS_AT_APP] = DNS_BY_APP,
					       [DNS_AT_SERVICE] = DNS_BY_SERVICE,
					       [DNS_AT_SRV] = DNS_BY_SERVICE,
					       [DNS_AT_ADDR] = DNS_BY_ADDR };
	bool is_one = p->what == DNS_AT_NODE || p->what == DNS_AT_ADDR;
	const void *key = p->what == DNS_AT_ADDR ? (const void *)&p->addr : p->label;
	size_t len = p->what == DNS_AT_ADDR ? sizeof(p->addr) : strlen(p->label);

	if (p->what < DNS_AT_NODE)
		return;
	j->n_found = dns_names_find(j->names, kinds[p->what], key, len, j->asker->now, is_one ? 0 : j->asker->turn,
				    j->found, is_one ? 1 : NODES_MAX);
}

static bool has_proto(const struct dns_node *node, const struct dns_place *p)
{
	for (uint32_t i = 0; i < node->n_services; i++)
		if (node->services[i].is_udp == p->is_udp && strcmp(node->services[i].type, p->label) == 0)
			return true;
	return false;
}

static bool exists(const struct job *j)
{
	const struct dns_place *p = &j->place;

	if (p->what < DNS_AT_NODE || p->has_below)
		return p->what != DNS_AT_NOTHING;
	for (size_t i = 0; i < j->n_found; i++)
		if (p->what == DNS_AT_ADDR ? has_name(j, j->found[i])
					   : p->what != DNS_AT_SRV || has_proto(j->found[i], p))
			return true;
	return false;
}

/* --- messages --- */

static size_t room_of(const struct job *j, const ldns_pkt *query)
{
	size_t asked = ldns_pkt_edns(query) ? ldns_pkt_edns_udp_size(query) : 0;

	if (j->asker->is_tcp)
		return DNS_WIRE_MAX;
	if (asked < LDNS_MIN_BUFLEN)
		asked = LDNS_MIN_BUFLEN;
	return asked < DNS_UDP_MAX ? asked : DNS_UDP_MAX;
}

static ldns_pkt *pkt_reply(const ldns_pkt *query, const ldns_rr *question, const struct dns_asker *asker,
			   unsigned rcode)
{
	ldns_pkt *out = ldns_pkt_new();
	ldns_rr *again = question ? ldns_rr_clone(question) : NULL;

	if (!out || (question && (!again || !ldns_pkt_push_rr(out, LDNS_SECTION_QUESTION, again)))) {
		ldns_pkt_free(out);
		ldns_rr_free(again);
		return NULL;
	}
	ldns_pkt_set_id(out, ldns_pkt_id(query));
	ldns_pkt_set_opcode(out, ldns_pkt_get_opcode(query));
	ldns_pkt_set_qr(out, true);
	ldns_pkt_set_rd(out, ldns_pkt_rd(query));
	ldns_pkt_set_cd(out, ldns_pkt_cd(query));
	ldns_pkt_set_ra(out, asker->may_forward);
	ldns_pkt_set_rcode(out, rcode & 0xf);
	if (ldns_pkt_edns(query)) {
		ldns_pkt_set_edns_udp_size(out, DNS_UDP_MAX);
		ldns_pkt_set_edns_do(out, ldns_pkt_edns_do(query));
		ldns_pkt_set_edns_extended_rcode(out, (uint8_t)(rcode >> 4));
	}
	return out;
}

/* Nothing of what did not fit: the asker comes again by TCP. */
static void truncate_pkt(ldns_pkt *out)
{
	static const ldns_pkt_section sections[] = { LDNS_SECTION_ANSWER, LDNS_SECTION_AUTHORITY };

	for (size_t i = 0; i < ARRAY_LEN(sections); i++) {
		ldns_rr_list *list =
			sections[i] == LDNS_SECTION_ANSWER ? ldns_pkt_answer(out) : ldns_pkt_authority(out);
		ldns_rr *rr;

		while ((rr = ldns_rr_list_pop_rr(list)))
			ldns_rr_free(rr);
		ldns_pkt_set_section_count(out, sections[i], 0);
	}
	ldns_pkt_set_tc(out, true);
}

/* ldns_pkt2wire() would take 64 KiB for each answer. */
static bool wire_make(const ldns_pkt *pkt, uint8_t **bytes, size_t *len)
{
	ldns_buffer *buf = ldns_buffer_new(LDNS_MIN_BUFLEN);
	bool ok = buf && ldns_pkt2buffer_wire(buf, pkt) == LDNS_STATUS_OK;

	if (ok) {
		*len = ldns_buffer_position(buf);
		*bytes = ldns_buffer_export(buf);
	}
	ldns_buffer_free(buf);
	return ok;
}

static bool write_pkt(ldns_pkt *out, size_t room, struct dns_reply *reply)
{
	if (!wire_make(out, &reply->bytes, &reply->len))
		return false;
	if (reply->len <= room)
		return true;
	free(take_ptr(reply->bytes));
	truncate_pkt(out);
	return wire_make(out, &reply->bytes, &reply->len);
}

static enum dns_do refuse(const ldns_pkt *query, const ldns_rr *question, const struct dns_asker *asker, unsigned rcode,
			  struct dns_reply *reply)
{
	auto_pkt *out = pkt_reply(query, question, asker, rcode);

	reply->rcode = rcode;
	return out && write_pkt(out, DNS_WIRE_MAX, reply) ? DNS_REPLY : DNS_DROP;
}

/* Answers of which it is clear without making them that they do not fit are not made. */
static bool is_hopeless(const struct job *j, size_t room)
{
	return j->n_found * RR_A_LEN > room && !j->asker->is_tcp;
}

static enum dns_do answer_place(struct job *j, const ldns_pkt *query, struct dns_reply *reply)
{
	size_t room = room_of(j, query);
	bool there;

	find(j);
	there = exists(j);
	reply->rcode = there ? LDNS_RCODE_NOERROR : LDNS_RCODE_NXDOMAIN;
	ldns_pkt_set_rcode(j->out, (uint8_t)reply->rcode);
	ldns_pkt_set_aa(j->out, true);
	if (there && is_hopeless(j, room))
		ldns_pkt_set_tc(j->out, true);
	else if (there)
		add_answers(j);
	if (!ldns_pkt_ancount(j->out) && !ldns_pkt_tc(j->out))
		add_soa(j, LDNS_SECTION_AUTHORITY);
	return !j->failed && write_pkt(j->out, room, reply) ? DNS_REPLY : DNS_DROP;
}

static enum dns_do answer_question(struct dns_names *names, const struct dns_zone *zone, const struct dns_asker *asker,
				   const ldns_pkt *query, const ldns_rr *question, struct dns_reply *reply)
{
	const ldns_rdf *owner = ldns_rr_owner(question);
	struct job j = { .names = names, .zone = zone, .asker = asker, .question = question };
	auto_pkt *out = NULL;

	j.type = ldns_rr_get_type(question);
	if (ldns_rr_get_class(question) != LDNS_RR_CLASS_IN || j.type == LDNS_RR_TYPE_AXFR ||
	    j.type == LDNS_RR_TYPE_IXFR)
		return refuse(query, question, asker, LDNS_RCODE_REFUSED, reply);
	if (!dns_place_of(zone, ldns_rdf_data(owner), ldns_rdf_size(owner), &j.place)) {
		if (asker->may_forward && ldns_pkt_rd(query))
			return DNS_FORWARD;
		return refuse(query, question, asker, LDNS_RCODE_REFUSED, reply);
	}
	out = pkt_reply(query, question, asker, LDNS_RCODE_NOERROR);
	j.out = out;
	return out ? answer_place(&j, query, reply) : DNS_DROP;
}

/* Twelve bytes that say that the rest could not be read. */
static enum dns_do malformed(const uint8_t *query, struct dns_reply *reply)
{
	reply->rcode = LDNS_RCODE_FORMERR;
	reply->bytes = calloc(1, HEADER);
	if (!reply->bytes)
		return DNS_DROP;
	memcpy(reply->bytes, query, 4);
	reply->bytes[2] = (uint8_t)((query[2] & 0x79) | FLAG_QR);
	reply->bytes[3] = LDNS_RCODE_FORMERR;
	reply->len = HEADER;
	return DNS_REPLY;
}

static unsigned count_at(const uint8_t *query, size_t at)
{
	return (unsigned)query[at] << 8 | query[at + 1];
}

/* A query has one question, no answers, and behind them at most OPT and a signature. */
static bool has_form_of_query(const uint8_t *query, size_t len)
{
	return len <= DNS_QUERY_MAX && count_at(query, 4) == 1 && !count_at(query, 6) && !count_at(query, 8) &&
	       count_at(query, 10) <= 2;
}

static unsigned opcode_of(const uint8_t *query)
{
	return query[2] >> 3 & 0xf;
}

enum dns_do dns_answer(struct dns_names *names, const struct dns_zone *zone, const struct dns_asker *asker,
		       const uint8_t *query, size_t len, struct dns_reply *reply)
{
	auto_pkt *in = NULL;
	const ldns_rr *question;

	*reply = (struct dns_reply){ 0 };
	if (len < HEADER || query[2] & FLAG_QR)
		return DNS_DROP;
	if (opcode_of(query) == LDNS_PACKET_QUERY && !has_form_of_query(query, len))
		return malformed(query, reply);
	if (opcode_of(query) != LDNS_PACKET_QUERY) {
		enum dns_do what = malformed(query, reply);

		reply->rcode = LDNS_RCODE_NOTIMPL;
		if (reply->bytes)
			reply->bytes[3] = LDNS_RCODE_NOTIMPL;
		return what;
	}
	if (ldns_wire2pkt(&in, query, len) != LDNS_STATUS_OK)
		return malformed(query, reply);
	question = ldns_rr_list_rr(ldns_pkt_question(in), 0);
	if (ldns_pkt_edns(in) && ldns_pkt_edns_version(in) != 0)
		return refuse(in, question, asker, RCODE_BADVERS, reply);
	return answer_question(names, zone, asker, in, question, reply);
}

/* --- what is asked elsewhere --- */

uint8_t *dns_query_again(const uint8_t *query, size_t len, uint16_t id, bool is_tcp, size_t *again_len)
{
	auto_pkt *in = NULL, *out = ldns_pkt_new();
	uint8_t *bytes = NULL;
	ldns_rr *question;

	if (!out || ldns_wire2pkt(&in, query, len) != LDNS_STATUS_OK)
		return NULL;
	question = ldns_rr_clone(ldns_rr_list_rr(ldns_pkt_question(in), 0));
	if (!question || !ldns_pkt_push_rr(out, LDNS_SECTION_QUESTION, question)) {
		ldns_rr_free(question);
		return NULL;
	}
	ldns_pkt_set_id(out, id);
	ldns_pkt_set_rd(out, true);
	ldns_pkt_set_cd(out, ldns_pkt_cd(in));
	ldns_pkt_set_ad(out, ldns_pkt_ad(in));
	if (ldns_pkt_edns(in)) {
		size_t room = ldns_pkt_edns_udp_size(in);

		room = room < LDNS_MIN_BUFLEN ? LDNS_MIN_BUFLEN : room;
		ldns_pkt_set_edns_udp_size(out, is_tcp || room > DNS_UDP_MAX ? DNS_UDP_MAX : (uint16_t)room);
		ldns_pkt_set_edns_do(out, ldns_pkt_edns_do(in));
	}
	return wire_make(out, &bytes, again_len) ? bytes : NULL;
}

/* How long a question is that begins behind the header, its name uncompressed; 0: it is none. */
static size_t question_len(const uint8_t *p, size_t len)
{
	size_t at = HEADER;

	while (at < len && p[at] && p[at] <= DNS_LABEL_MAX)
		at += 1u + p[at];
	return at < len && !p[at] && at + 5 <= len ? at + 5 - HEADER : 0;
}

bool dns_is_answer(const uint8_t *query, size_t query_len, const uint8_t *answer, size_t len)
{
	size_t n = query_len > HEADER ? question_len(query, query_len) : 0;

	if (!n || len < HEADER + n || memcmp(query, answer, 2) != 0 || !(answer[2] & FLAG_QR) ||
	    count_at(answer, 4) != 1)
		return false;
	return memcmp(query + HEADER + n - 4, answer + HEADER + n - 4, 4) == 0 &&
	       dns_wire_equal(query + HEADER, answer + HEADER, n - 4);
}

/* OPT of ours where the query has one (RFC 6891, 6.1.1). How many bytes. */
static size_t put_opt(uint8_t opt[static OPT_LEN], const uint8_t *query, size_t len)
{
	static const uint8_t plain[OPT_LEN] = { 0, 0, LDNS_RR_TYPE_OPT, DNS_UDP_MAX >> 8, DNS_UDP_MAX & 0xff };
	auto_pkt *in = NULL;

	if (ldns_wire2pkt(&in, query, len) != LDNS_STATUS_OK || !ldns_pkt_edns(in))
		return 0;
	memcpy(opt, plain, OPT_LEN);
	opt[7] = ldns_pkt_edns_do(in) ? FLAG_DO : 0;
	return OPT_LEN;
}

uint8_t *dns_failure(const uint8_t *query, size_t len, size_t *failure_len)
{
	size_t n = question_len(query, len), opt;
	uint8_t *bytes = malloc(HEADER + n + OPT_LEN);

	if (!bytes)
		return NULL;
	memcpy(bytes, query, HEADER + n);
	bytes[2] = (uint8_t)((query[2] & 0x79) | FLAG_QR);
	bytes[3] = 0x80 | (query[3] & FLAG_CD) | LDNS_RCODE_SERVFAIL;
	bytes[5] = n != 0;
	memset(bytes + 6, 0, 6);
	opt = put_opt(bytes + HEADER + n, query, len);
	bytes[11] = opt != 0;
	*failure_len = HEADER + n + opt;
	return bytes;
}
