/* SPDX-License-Identifier: Apache-2.0 */
/* bailey doctor: what was found, and who looks. */
#pragma once

#include <jansson.h>
#include <stdint.h>

#include "base/addr.h"

enum doctor_state { DOC_WELL, DOC_LOOK, DOC_WRONG };

#define DOC_PORTS 64
#define DOC_NETS  4

struct doctor {
	json_t *findings;
	unsigned n[DOC_WRONG + 1];
	/* of the running daemon; without one the defaults */
	char overlay[16], underlay[16];
	struct ip_prefix nets[DOC_NETS];
	uint32_t n_nets;
	struct doctor_port {
		bool is_udp;
		uint16_t port;
		const char *used_for;
		bool is_loopback; /* only this machine dials it: a rule that accepts all of `lo` lets it in */
	} ports[DOC_PORTS];
	uint32_t n_ports;
};

void doctor_say(struct doctor *d, enum doctor_state state, const char *area, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

void doctor_daemon(struct doctor *d, const json_t *status); /* cmd_doctor.c; status NULL: none runs */
void doctor_via(struct doctor *d, const json_t *overlay);   /* doctor_via.c; what the status says of the overlay */
void doctor_kernel(struct doctor *d);
void doctor_clock(struct doctor *d);
void doctor_devices(struct doctor *d);
void doctor_firewalls(struct doctor *d); /* doctor_firewall.c */
/* What nft -j or iptables-save print; for tests. */
void doctor_nft(struct doctor *d, const json_t *ruleset);
void doctor_iptables(struct doctor *d, const char *tool, char *text);
