// SPDX-License-Identifier: Apache-2.0
/* bailey doctor: whether this machine can do what Bailey needs, and what on it is in the way. */
#include "doctor.h"

#include <errno.h>
#include <getopt.h>
#include <net/if.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/timex.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "cmds.h"
#include "ctl/client.h"
#include "daemon.h"
#include "datapath/datapath.h"
#include "overlay/overlay.h"

#define DEFAULT_PORT 51820
#define WRITTEN_AT   1790000000 /* September 2026: this file is no older */
#define HOUR_S       3600
#define SOON_DAYS    10

static const char usage[] =
	"usage: bailey doctor [--json]\n"
	"Looks at the kernel, other firewalls and networks, the clock, certificate and collateral, and\n"
	"the running baileyd. As root. Exit status: 0 nothing is wrong, 1 something is, 2 usage.\n"
	"options: --instance NAME  --socket PATH  --help\n";

DEFINE_CLEANUP(json, json_t, json_decref)

static const char *const state_name[] = { "well", "look", "WRONG" };

void doctor_say(struct doctor *d, enum doctor_state state, const char *area, const char *fmt, ...)
{
	char text[600];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	d->n[state]++;
	json_array_append_new(d->findings,
			      json_pack("{s:s, s:s, s:s}", "area", area, "state", state_name[state], "text", text));
}

/* --- the daemon, its certificate and collateral --- */

static void say_left(struct doctor *d, const char *area, long long seconds, const char *what, bool is_renewed)
{
	if (seconds < 0)
		doctor_say(d, DOC_WRONG, area, "%s ended %lld s ago", what, -seconds);
	else if (seconds < HOUR_S && !is_renewed)
		doctor_say(d, DOC_LOOK, area, "%s ends in %lld s", what, seconds);
	else
		doctor_say(d, DOC_WELL, area, "%s: %.1f days left", what, (double)seconds / 86400);
}

static void judge_evidence(struct doctor *d, const json_t *s)
{
	const json_t *c = json_object_get(s, "collateral");

	if (json_object_get(s, "evidence_expires_in_s"))
		say_left(d, "certificate", ji(s, "evidence_expires_in_s"), "own certificate", false);
	if (json_is_true(json_object_get(s, "simulated")))
		doctor_say(d, DOC_LOOK, "certificate", "own evidence is SIMULATED: it proves nothing about hardware");
	if (!json_is_object(c))
		doctor_say(d, DOC_WELL, "collateral", "none is configured: no evidence of real hardware is believed");
	else if (!ji(c, "bundles"))
		doctor_say(d, DOC_LOOK, "collateral", "there is none yet: evidence of real hardware is refused");
	else if (ji(c, "days") < 0)
		doctor_say(d, DOC_WRONG, "collateral", "out of date for %lld days", -ji(c, "days"));
	else
		doctor_say(d, ji(c, "days") < SOON_DAYS ? DOC_LOOK : DOC_WELL, "collateral", "%lld days left",
			   ji(c, "days"));
	if (json_is_object(c) && *js(c, "last_failure"))
		doctor_say(d, DOC_LOOK, "collateral", "last fetch failed: %s", js(c, "last_failure"));
}

static void judge_processes(struct doctor *d, const json_t *s)
{
	const json_t *process, *vpc = json_object_get(s, "vpc");
	const char *name;

	json_object_foreach (json_object_get(s, "processes"), name, process)
		if (!json_is_true(json_object_get(process, "running")))
			doctor_say(d, DOC_WRONG, "baileyd", "its process %s does not run", name);
	if (!json_is_true(json_object_get(s, "ready")))
		doctor_say(d, DOC_WRONG, "baileyd",
			   "instance %s is not ready: policy, identities or device are not in "
			   "place",
			   js(s, "instance"));
	else
		doctor_say(d, DOC_WELL, "baileyd", "instance %s is ready and knows %zu nodes", js(s, "instance"),
			   json_array_size(json_object_get(s, "peers")));
	if (json_is_object(vpc) && !json_is_true(json_object_get(vpc, "connected")))
		doctor_say(d, DOC_LOOK, "baileyd", "the control plane %s is not connected; what was verified goes on",
			   js(vpc, "server"));
}

static void add_port(struct doctor *d, bool is_udp, long long port, const char *used_for)
{
	if (d->n_ports < DOC_PORTS && port > 0 && port < 65536)
		d->ports[d->n_ports++] = (struct doctor_port){ is_udp, (uint16_t)port, used_for, false };
}

static void take_facts(struct doctor *d, const json_t *s)
{
	const json_t *overlay = json_object_get(s, "overlay"), *item;
	struct ip_endpoint at;
	size_t i;

	snprintf(d->overlay, sizeof(d->overlay), "%s", js(overlay, "interface"));
	snprintf(d->underlay, sizeof(d->underlay), "%s", js(json_object_get(s, "underlay"), "interface"));
	add_port(d, true, s ? ji(overlay, "listen_port") : DEFAULT_PORT, "WireGuard");
	if (s)
		add_port(d, true, ji(overlay, "listen_port") + 1, "WireGuard while a key is rotated");
	json_array_foreach (json_object_get(s, "listens"), i, item)
		if (endpoint_parse(&at, json_string_value(item)))
			add_port(d, false, at.port, "records");
	json_array_foreach (json_object_get(overlay, "networks"), i, item)
		if (d->n_nets < DOC_NETS && prefix_parse(&d->nets[d->n_nets], json_string_value(item)))
			d->n_nets++;
}

void doctor_daemon(struct doctor *d, const json_t *s)
{
	take_facts(d, s);
	if (!s) {
		doctor_say(d, DOC_LOOK, "baileyd",
			   "none runs that could be asked: kernel, clock and firewalls are looked "
			   "at alone");
		return;
	}
	judge_processes(d, s);
	judge_evidence(d, s);
	doctor_via(d, json_object_get(s, "overlay"));
}

/* --- kernel --- */

static void take_feature(const struct dp_feature *f, void *arg)
{
	struct doctor *d = arg;

	if (f->has == 1)
		doctor_say(d, DOC_WELL, "kernel", "%s", f->name);
	else if (f->has == 0)
		doctor_say(d, f->is_needed ? DOC_WRONG : DOC_LOOK, "kernel", "no %s, used for %s", f->name,
			   f->used_for);
	else
		doctor_say(d, DOC_LOOK, "kernel", "%s: the kernel does not say (%s)", f->name, strerror(-f->has));
}

static bool has_wireguard_go(void)
{
	return access("/usr/bin/wireguard-go", X_OK) == 0 || access("/usr/local/bin/wireguard-go", X_OK) == 0 ||
	       access("/usr/sbin/wireguard-go", X_OK) == 0;
}

void doctor_kernel(struct doctor *d)
{
	struct dp_features ask = { .fn = take_feature, .arg = d };

	if (geteuid() != 0) {
		doctor_say(d, DOC_LOOK, "kernel", "not asked: that takes root");
	} else {
		dp_features(&ask);
	}
	if (ov_kernel_has_wireguard() == 1)
		doctor_say(d, DOC_WELL, "kernel", "WireGuard");
	else if (has_wireguard_go())
		doctor_say(d, DOC_LOOK, "kernel", "no WireGuard; wireguard-go is installed and slower");
	else
		doctor_say(d, DOC_WRONG, "kernel", "no WireGuard, and no wireguard-go is installed");
}

/* --- clock --- */

void doctor_clock(struct doctor *d)
{
	struct timex tx = { 0 };
	int state = adjtimex(&tx);

	if (time(NULL) < WRITTEN_AT)
		doctor_say(d, DOC_WRONG, "clock",
			   "is before this program was written: all evidence looks not yet valid");
	if (state < 0)
		doctor_say(d, DOC_LOOK, "clock", "the kernel does not say how good it is: %s", strerror(errno));
	else if (state == TIME_ERROR || tx.status & STA_UNSYNC)
		doctor_say(d, DOC_LOOK, "clock", "nothing keeps it in time (NTP): records and evidence end by it");
	else
		doctor_say(d, DOC_WELL, "clock", "in time, within %ld us", tx.maxerror);
}

/* --- devices and routes --- */

static void take_program(const char *hook, const char *name, uint32_t id, void *arg)
{
	struct doctor *d = arg;

	if (strncmp(name, "by_", 3) == 0)
		doctor_say(d, DOC_LOOK, "programs",
			   "another baileyd's program, %s (%u), is on %s of our device and drops by its own policy: "
			   "another instance, or this one as it was started with another /sys/fs/bpf",
			   name, id, hook);
	else
		doctor_say(d, DOC_LOOK, "programs",
			   "another program, %s (%u), is on %s of our device: it sees packets too", name, id, hook);
}

static void take_filter(bool is_ingress, const char *kind, const char *name, void *arg)
{
	struct doctor *d = arg;

	doctor_say(d, DOC_LOOK, "programs", "another tc filter, %s %s, is on %s of our device: it sees packets too",
		   kind, name, is_ingress ? "ingress" : "egress");
}

static void take_route(const struct ov_route *r, void *arg)
{
	struct doctor *d = arg;
	char text[PREFIX_TEXT];

	doctor_say(d, DOC_WRONG, "routes", "%s goes by %s%s%s%s, table %u: those addresses are the overlay's",
		   prefix_print(&r->net, text), r->interface, *r->kind ? " (" : "", r->kind, *r->kind ? ")" : "",
		   r->table);
}

void doctor_devices(struct doctor *d)
{
	const char *const device[] = { d->overlay, d->underlay };
	unsigned before = d->n[DOC_WRONG] + d->n[DOC_LOOK];
	struct err e = ERR_INIT;

	for (size_t i = 0; i < ARRAY_LEN(device); i++) {
		unsigned ifindex = *device[i] ? if_nametoindex(device[i]) : 0;

		if (!ifindex)
			continue;
		dp_foreign_programs(ifindex, take_program, d);
		ov_filters(ifindex, take_filter, d, &e);
	}
	if (ov_routes_overlapping(d->overlay, d->nets, d->n_nets, take_route, d, &e) < 0)
		doctor_say(d, DOC_LOOK, "routes", "can not be read: %s", e.msg);
	if (before == d->n[DOC_WRONG] + d->n[DOC_LOOK])
		doctor_say(d, DOC_WELL, "routes",
			   "no other network has the overlay's addresses, no other program its "
			   "packets");
}

/* --- saying --- */

static void print_all(const struct doctor *d)
{
	const json_t *o;
	size_t i;

	json_array_foreach (d->findings, i, o) {
		bool is_bad = strcmp(js(o, "state"), state_name[DOC_WRONG]) == 0;

		printf("%s%-5s%s  %-11s  %s\n", is_bad ? red() : "", js(o, "state"), is_bad ? plain() : "",
		       js(o, "area"), js(o, "text"));
	}
	printf("%u well, %u to look at, %u wrong\n", d->n[DOC_WELL], d->n[DOC_LOOK], d->n[DOC_WRONG]);
}

static void print_json(const struct doctor *d)
{
	auto_call(cleanup_json) json_t *o =
		json_pack("{s:i, s:i, s:i, s:O}", "well", (int)d->n[DOC_WELL], "look", (int)d->n[DOC_LOOK], "wrong",
			  (int)d->n[DOC_WRONG], "findings", d->findings);

	json_dumpf(o, stdout, JSON_INDENT(2));
	putchar('\n');
}

/* The daemon need not run: what it would say is then missing. */
static json_t *ask_daemon(const char *instance, const char *socket)
{
	struct err e = ERR_INIT;
	json_t *status = NULL;
	char path[256];

	if (!socket && ctl_socket_path(instance, path, sizeof(path), &e) < 0)
		return NULL;
	if (ctl_call(socket ? socket : path, "GET", "/v1/status", &status, &e) == 0)
		return status;
	json_decref(status);
	return NULL;
}

static int examine(const char *instance, const char *socket, bool is_json)
{
	auto_call(cleanup_json) json_t *status = ask_daemon(instance, socket);
	struct doctor d = { .findings = json_array() };

	doctor_daemon(&d, status);
	doctor_kernel(&d);
	doctor_clock(&d);
	doctor_devices(&d);
	doctor_firewalls(&d);
	if (is_json)
		print_json(&d);
	else
		print_all(&d);
	json_decref(d.findings);
	return d.n[DOC_WRONG] ? EXIT_NO : EXIT_YES;
}

int cmd_doctor(int argc, char **argv)
{
	static const struct option options[] = { { "instance", required_argument, NULL, 'i' },
						 { "socket", required_argument, NULL, 's' },
						 { "json", no_argument, NULL, 'j' },
						 { "help", no_argument, NULL, 'h' },
						 { 0 } };
	const char *instance = NULL, *socket = NULL;
	bool is_json = false;
	int c;

	optind = 1;
	while ((c = getopt_long(argc, argv, "i:s:jh", options, NULL)) != -1) {
		if (c == 'i') {
			instance = optarg;
		} else if (c == 's') {
			socket = optarg;
		} else if (c == 'j') {
			is_json = true;
		} else {
			fputs(usage, c == 'h' ? stdout : stderr);
			return c == 'h' ? EXIT_YES : EXIT_USAGE;
		}
	}
	if (optind != argc) {
		fputs(usage, stderr);
		return EXIT_USAGE;
	}
	return examine(instance, socket, is_json);
}
