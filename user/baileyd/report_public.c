// SPDX-License-Identifier: Apache-2.0
/*
 * What anybody who reaches the status process's port may know: the read-only JSON of dstack's VPN experiment. No key,
 * no name or address but this node's own, nothing of the policy.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "parent.h"
#include "report_json.h"

DEFINE_CLEANUP(json, json_t, json_decref)

static bool is_healthy(const struct parent *p)
{
	return p->is_synced && p->report.is_known && p->edge.ipc;
}

/* null: no peer ever came. */
static json_t *oldest_handshake(const struct net_report *r, int64_t now)
{
	int64_t oldest = -1;

	for (size_t i = 0; i < r->n_peers; i++)
		if (r->peers[i].last_handshake_s && now - r->peers[i].last_handshake_s > oldest)
			oldest = now - r->peers[i].last_handshake_s;
	return oldest < 0 ? json_null() : json_integer(oldest);
}

static json_t *disk_free(const struct parent *p)
{
	struct statvfs fs;

	if (statvfs(p->conf.state, &fs) < 0)
		return json_null();
	return json_integer((json_int_t)((uint64_t)fs.f_bavail * fs.f_frsize / 1000000000));
}

static json_t *status_json(const struct parent *p)
{
	int64_t now = time(NULL);
	const time_t at = (time_t)now;
	char text[ADDR_TEXT], clock[32];
	json_t *o;

	strftime(clock, sizeof(clock), "%FT%TZ", gmtime(&at));
	o = json_pack("{s:s, s:s, s:{s:s, s:i, s:o}, s:o, s:s}", "node", p->conf.node, "status",
		      is_healthy(p) ? "healthy" : "degraded", "wg", "interface", p->conf.interface, "peer_count",
		      (int)p->report.n_peers, "max_last_handshake_sec", oldest_handshake(&p->report, now),
		      "disk_free_gb", disk_free(p), "time", clock);
	json_object_set_new(o, "overlay_ip",
			    p->conf.n_addrs ? json_string(addr_print(&p->conf.addrs[0], text)) : json_null());
	return o;
}

static void send_snapshot(struct parent *p, struct evhttp_request *nobody)
{
	auto_call(cleanup_json) json_t *o = status_json(p);
	auto_free char *text = o ? json_dumps(o, JSON_COMPACT | JSON_SORT_KEYS) : NULL;
	struct msg_snapshot m = { .is_healthy = is_healthy(p) };

	(void)nobody;
	p->is_status_asked = false;
	if (text && p->status.ipc)
		ipc_send_blob(p->status.ipc, MSG_STATUS_SNAPSHOT, &m, sizeof(m), text, strlen(text));
}

/* One question at a time, whatever the process sends. */
static void on_message(struct ipc_msg *msg, void *arg)
{
	struct parent *p = arg;

	if (msg->type != MSG_STATUS_ASK || p->is_status_asked)
		return;
	p->is_status_asked = true;
	report_ask_net(p, NULL, 0, send_snapshot);
}

static void on_up(void *arg)
{
	struct parent *p = arg;

	for (uint32_t i = 0; i < p->conf.n_status; i++)
		ipc_send(p->status.ipc, MSG_STATUS_LISTEN, NULL, 0, p->status_fd[i]);
}

int report_public_start(struct parent *p)
{
	int ret = 0;

	if (!p->conf.n_status)
		return 0;
	ret = proc_init(&p->status, p->base, "status", on_message, on_up, p);
	p->status.uid = p->edge.uid;
	p->status.gid = p->edge.gid;
	return ret ? ret : proc_start(&p->status);
}

void report_public_stop(struct parent *p)
{
	proc_stop(&p->status);
	proc_fini(&p->status);
}
