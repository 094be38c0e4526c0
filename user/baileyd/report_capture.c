// SPDX-License-Identifier: Apache-2.0
/*
 * GET /v1/capture: dropped packets as a pcapng stream. The kernel copies packets only while somebody reads: the first
 * reader turns that on, the last one's end turns it off, however it ends. Several may read at once, each with its
 * own filter.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <net/ethernet.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/buf.h"
#include "base/clock.h"
#include "pcapng.h"
#include "report_filter.h"
#include "report_json.h"

#define CAPTURES_MAX   4
#define CAPTURE_UNREAD (4 << 20) /* bytes that a reader may leave; further packets are counted */

struct capture {
	struct capture *next;
	struct parent *p;
	struct evhttp_request *req;
	struct filter filter;
	uint64_t sent;
	bool is_framed;                                /* all of its interfaces have Ethernet */
	uint32_t n_interfaces;                         /* described to the reader */
	uint64_t base[TARGETS_MAX], lost[TARGETS_MAX]; /* as net counts: when this one began, and last told */
	bool has_base[TARGETS_MAX];
	uint64_t unread;
};

static void net_switch(struct parent *p, bool on)
{
	struct msg_capture m = { .is_on = on };

	if (p->net.ipc)
		ipc_send(p->net.ipc, MSG_NET_CAPTURE, &m, sizeof(m), -1);
}

/* A new net captures nothing until it is told to. */
void report_capture_resume(struct parent *p)
{
	if (p->captures)
		net_switch(p, true);
}

static void capture_drop(struct capture *c)
{
	struct parent *p = c->p;

	for (struct capture **at = &p->captures; *at; at = &(*at)->next) {
		if (*at == c) {
			*at = c->next;
			break;
		}
	}
	free(c);
	if (!p->captures)
		net_switch(p, false);
}

static void on_capture_gone(struct evhttp_connection *conn, void *arg)
{
	(void)conn;
	capture_drop(arg);
}

static void capture_end(struct capture *c)
{
	evhttp_connection_set_closecb(evhttp_request_get_connection(c->req), NULL, NULL);
	evhttp_send_reply_end(c->req);
	capture_drop(c);
}

static bool put(struct capture *c, struct out *out)
{
	struct bufferevent *bev = evhttp_connection_get_bufferevent(evhttp_request_get_connection(c->req));
	struct evbuffer *chunk;
	bool fits = out_ok(out) && evbuffer_get_length(bufferevent_get_output(bev)) < CAPTURE_UNREAD;

	chunk = fits ? evbuffer_new() : NULL;
	if (chunk) {
		evbuffer_add(chunk, out->data, out->len);
		evhttp_send_reply_chunk(c->req, chunk);
		evbuffer_free(chunk);
	}
	return chunk;
}

static void packet_comment(const struct parent *p, const struct msg_packet *m, char *buf, size_t size)
{
	const struct by_rule *rule = report_rule(p, m->target, m->rec.rule);

	snprintf(buf, size, "%s %s: %s%s%s%s%s%s", dp_drop_name(m->rec.reason), m->rec.dir == BY_DIR_IN ? "in" : "out",
		 dp_drop_text(m->rec.reason), rule ? "; rule " : "", rule ? rule->name : "", rule ? " (" : "",
		 rule ? rule->where : "", rule ? ")" : "");
}

/* tcpdump reads no file with two kinds of frames: beside a device with Ethernet the overlay's packets get a header. */
static bool has_ethernet(const struct parent *p)
{
	for (uint32_t i = 0; i < p->n_targets; i++)
		if (p->targets[i].kind != TARGET_IS_OVERLAY && p->targets[i].kind != TARGET_IS_FREE)
			return true;
	return false;
}

#define ETHER_BYTES 14

/* A header without addresses in front of a packet that has none; `framed` has room for both. */
static void frame_packet(struct pcapng_packet *packet, uint8_t *framed)
{
	const uint8_t *data = packet->data;
	bool is_v6 = packet->n && data[0] >> 4 == 6;
	uint16_t type_be = htons(is_v6 ? ETHERTYPE_IPV6 : ETHERTYPE_IP);

	memset(framed, 0, ETHER_BYTES);
	memcpy(framed + ETHER_BYTES - sizeof(type_be), &type_be, sizeof(type_be));
	memcpy(framed + ETHER_BYTES, packet->data, packet->n);
	packet->data = framed;
	packet->n += ETHER_BYTES;
	packet->len += ETHER_BYTES;
}

/* Those that came since the last time; a file may name one anywhere before its first packet. */
static void put_interfaces(struct capture *c, struct out *out)
{
	for (; c->n_interfaces < c->p->n_targets; c->n_interfaces++) {
		const struct target *t = &c->p->targets[c->n_interfaces];

		pcapng_interface(out, t->interface, c->is_framed ? PCAPNG_ETHERNET : PCAPNG_RAW,
				 ETHER_BYTES + BY_SNAPLEN_MAX);
	}
}

static void put_packet(struct capture *c, const struct msg_packet *m)
{
	uint8_t framed[ETHER_BYTES + sizeof(m->rec.data)];
	auto_out struct out out = { 0 };
	char comment[320];
	struct pcapng_packet packet = {
		.interface = m->target,
		.at_ns = (uint64_t)clock_ns(CLOCK_REALTIME) - ((uint64_t)clock_ns(CLOCK_BOOTTIME) - m->rec.ts_ns),
		.len = m->rec.packet_bytes,
		.data = m->rec.data,
		.n = m->rec.n,
		.comment = comment,
	};

	packet_comment(c->p, m, comment, sizeof(comment));
	if (c->p->targets[m->target].kind != TARGET_IS_OVERLAY &&
	    !c->is_framed) { /* its device came after the file's head */
		c->unread++;
		return;
	}
	if (c->p->targets[m->target].kind == TARGET_IS_OVERLAY && c->is_framed)
		frame_packet(&packet, framed);
	put_interfaces(c, &out);
	pcapng_packet(&out, &packet);
	if (put(c, &out))
		c->sent++;
	else
		c->unread++;
}

static void put_lost(struct capture *c, uint32_t target, uint64_t kernel)
{
	auto_out struct out out = { 0 };
	uint64_t lost;

	if (!c->has_base[target]) {
		c->base[target] = kernel;
		c->has_base[target] = true;
	}
	lost = kernel - c->base[target] + (target == TARGET_OVERLAY ? c->unread : 0);
	if (lost == c->lost[target])
		return;
	put_interfaces(c, &out);
	pcapng_lost(&out, target, (uint64_t)clock_ns(CLOCK_REALTIME), lost);
	if (put(c, &out))
		c->lost[target] = lost;
}

void report_packet(struct parent *p, const struct msg_packet *m)
{
	struct filter_item item = { .target = m->target, .type = BY_EVENT_DROP, .reason = m->rec.reason };
	struct capture *next;

	if (m->target >= p->n_targets || m->rec.n > sizeof(m->rec.data))
		return;
	for (struct capture *c = p->captures; c; c = next) {
		next = c->next;
		if (m->rec.version && filter_takes(p, &c->filter, &item))
			put_packet(c, m);
		if (!m->rec.version)
			put_lost(c, m->target, m->lost);
		if (c->filter.limit && c->sent >= c->filter.limit)
			capture_end(c);
	}
}

static bool put_head(struct capture *c)
{
	auto_out struct out out = { 0 };

	pcapng_section(&out, "bailey capture");
	c->is_framed = has_ethernet(c->p);
	put_interfaces(c, &out);
	return put(c, &out);
}

static struct capture *capture_add(struct parent *p, struct evhttp_request *req, struct err *e)
{
	struct capture *c;
	size_t n = 0;

	for (c = p->captures; c; c = c->next)
		n++;
	if (n >= CAPTURES_MAX) {
		err_at(e, -EBUSY, "capture", "%d captures run already", CAPTURES_MAX);
		return NULL;
	}
	c = calloc(1, sizeof(*c));
	if (!c) {
		err_at(e, -ENOMEM, "capture", "out of memory");
		return NULL;
	}
	*c = (struct capture){ .p = p, .req = req };
	if (filter_parse(p, req, FILTER_REASON | FILTER_INTERFACE | FILTER_LIMIT, &c->filter, e) < 0) {
		free(c);
		return NULL;
	}
	c->next = p->captures;
	p->captures = c;
	return c;
}

void report_on_capture(struct evhttp_request *req, void *arg)
{
	struct err e = ERR_INIT;
	struct capture *c = capture_add(arg, req, &e);
	struct evhttp_connection *conn = evhttp_request_get_connection(req);

	if (!c) {
		ctl_reply_error(req, e.code == -EINVAL ? 400 : 503, &e);
		return;
	}
	evhttp_connection_set_closecb(conn, on_capture_gone, c);
	evhttp_connection_set_timeout(conn, 0x7fffffff); /* no drop is no reason to hang up */
	evhttp_add_header(evhttp_request_get_output_headers(req), "Content-Type", "application/x-pcapng");
	evhttp_send_reply_start(req, 200, "OK");
	if (put_head(c))
		net_switch(c->p, true);
	else
		capture_end(c);
}
