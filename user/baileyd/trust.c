// SPDX-License-Identifier: Apache-2.0
#include "trust.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"
#include "base/text.h"
#include "evidence/policy_file.h"
#include "parent.h"

#define AGAIN_S     86400 /* a platform whose collateral was fetched is not asked for again before */
#define BACKOFF_S   60
#define BACKOFF_MAX 3600

int trust_read(struct parent *p, struct err *e)
{
	auto_free struct id_evidence_policy *made = malloc(sizeof(*made));

	if (!p->conf.evidence_policy[0])
		return 0;
	if (!made)
		return err_at(e, -ENOMEM, p->conf.evidence_policy, "out of memory");
	if (evp_load(p->conf.evidence_policy, made, e) < 0)
		return e->code;
	free(p->trust.policy);
	p->trust.policy = take_ptr(made);
	return 0;
}

/* --- bundles that are there --- */

static void send_bundle(struct parent *p, const char *origin, const char *text, size_t len)
{
	struct msg_origin m = { 0 };

	snprintf(m.origin, sizeof(m.origin), "%.*s", (int)sizeof(m.origin) - 1, origin);
	if (p->edge.ipc)
		ipc_send_blob(p->edge.ipc, MSG_EDGE_COLLATERAL, &m, sizeof(m), text, len);
}

static void send_file(struct parent *p, const char *dir, const char *name)
{
	auto_free char *text = NULL;
	struct err e = ERR_INIT;
	char path[PATH_MAX];
	size_t len;

	if (snprintf(path, sizeof(path), "%s/%s", dir, name) >= (int)sizeof(path))
		return;
	if (file_read(path, ID_BUNDLE_MAX, &text, &len, &e) < 0)
		report_refused(p, path, &e);
	else
		send_bundle(p, path, text, len);
}

static void send_folder(struct parent *p, const char *dir, bool may_lack)
{
	struct file_found found = { 0 };
	struct err e = ERR_INIT;

	if (file_get(NULL, dir, ID_BUNDLE_MAX, &found, &e) < 0) {
		if (!may_lack || e.code != -ENOENT)
			report_refused(p, dir, &e);
		return;
	}
	for (size_t i = 0; i < found.n; i++) {
		const char *end = strrchr(found.name[i], '.');

		if (end && end != found.name[i] &&
		    (strcmp(end, ".json") == 0 || strcmp(end, ".pem") == 0 || strcmp(end, ".der") == 0))
			send_file(p, dir, found.name[i]);
	}
	file_found_fini(&found);
}

static void kept_dir(const struct parent *p, char path[PATH_MAX])
{
	snprintf(path, PATH_MAX, "%.*s/collateral", PATH_MAX - 16, p->conf.state);
}

void trust_send(struct parent *p)
{
	char path[PATH_MAX];

	if (p->trust.policy)
		ipc_send_blob(p->edge.ipc, MSG_EDGE_POLICY, NULL, 0, p->trust.policy, sizeof(*p->trust.policy));
	if (p->conf.collateral[0])
		send_folder(p, p->conf.collateral, false);
	kept_dir(p, path);
	send_folder(p, path, true);
}

/* --- those that are fetched --- */

static size_t place_of(struct trust *t, const struct id_missed *m)
{
	size_t i = 0, oldest = 0;

	for (; i < t->n_asked; i++) {
		if (memcmp(t->asked[i].platform.fmspc, m->fmspc, ID_FMSPC_LEN) == 0)
			return i;
		if (t->asked[i].next_s < t->asked[oldest].next_s)
			oldest = i;
	}
	i = t->n_asked < TRUST_ASKED_MAX ? t->n_asked++ : oldest;
	memset(&t->asked[i], 0, sizeof(t->asked[i]));
	t->asked[i].platform = *m;
	return i;
}

void trust_wants(struct parent *p, const struct id_missed *m)
{
	struct trust *t = &p->trust;
	struct msg_fetch ask = { .platform = *m };
	int64_t now = time(NULL);
	size_t i;

	if (!t->fetch.ipc)
		return; /* nobody to ask: status shows the days that are left */
	i = place_of(t, m);
	if (now < t->asked[i].next_s)
		return;
	t->asked[i].next_s = now + AGAIN_S;
	t->asked[i].is_open = true;
	snprintf(ask.url, sizeof(ask.url), "%s", p->conf.pcs_url);
	snprintf(ask.root_crl, sizeof(ask.root_crl), "%s", p->conf.pcs_root_crl);
	snprintf(ask.ca_file, sizeof(ask.ca_file), "%s", p->conf.pcs_ca);
	ipc_send(t->fetch.ipc, MSG_FETCH_ASK, &ask, sizeof(ask), -1);
}

static void fetch_failed(struct parent *p, const struct msg_fetched *m)
{
	struct trust *t = &p->trust;
	size_t i = place_of(t, &m->platform);
	int64_t wait = (int64_t)BACKOFF_S << (t->asked[i].failures < 6 ? t->asked[i].failures : 6);
	char text[600];

	t->asked[i].is_open = false;
	t->asked[i].failures++;
	t->asked[i].next_s = time(NULL) + (wait < BACKOFF_MAX ? wait : BACKOFF_MAX);
	t->failed++;
	t->last = m->err;
	msg_terminate(t->last.where);
	msg_terminate(t->last.msg);
	log_warn("collateral: %s", err_text(&t->last, text, sizeof(text)));
}

/* Kept as it came: the edge reads and verifies it, now and after each start. */
static void fetch_done(struct parent *p, const struct msg_fetched *m, const char *bundle, size_t len)
{
	char fmspc[2 * ID_FMSPC_LEN + 1], dir[PATH_MAX], path[PATH_MAX];
	size_t i = place_of(&p->trust, &m->platform);
	struct err e = ERR_INIT;

	p->trust.fetched++;
	p->trust.last = ERR_INIT;
	p->trust.asked[i].failures = 0;
	p->trust.asked[i].is_open = false;
	hex_print(fmspc, m->platform.fmspc, ID_FMSPC_LEN);
	kept_dir(p, dir);
	snprintf(path, sizeof(path), "%.*s/%s.json", PATH_MAX - 20, dir, fmspc);
	if (dir_make(dir, 0700, &e) < 0 || file_write(path, bundle, len, 0600, &e) < 0)
		log_err("%s: %s", e.where, e.msg);
	send_bundle(p, path, bundle, len);
}

static void on_fetch_message(struct ipc_msg *msg, void *arg)
{
	const struct msg_fetched *m = ipc_as(msg, sizeof(*m));
	auto_free uint8_t *bundle = NULL;
	struct parent *p = arg;
	size_t len;

	if (msg->type != MSG_FETCH_GOT || !m)
		log_err("fetch: message of unknown type %u", msg->type);
	else if (m->code)
		fetch_failed(p, m);
	else if (ipc_blob_read(msg->fd, ID_BUNDLE_MAX, &bundle, &len) == 0)
		fetch_done(p, m, (const char *)bundle, len);
}

void trust_retry(struct parent *p)
{
	for (size_t i = 0; i < p->trust.n_asked; i++)
		p->trust.asked[i].next_s = 0;
}

/* What the one before has not answered is asked again. */
static void on_fetch_up(void *arg)
{
	struct parent *p = arg;
	struct trust *t = &p->trust;

	for (size_t i = 0; i < t->n_asked; i++) {
		if (!t->asked[i].is_open)
			continue;
		t->asked[i].next_s = 0;
		trust_wants(p, &t->asked[i].platform);
	}
}

int trust_start(struct parent *p, struct err *e)
{
	struct proc *fetch = &p->trust.fetch;
	int ret;

	if (!p->conf.pcs_url[0])
		return 0;
	ret = proc_init(fetch, p->base, "fetch", on_fetch_message, on_fetch_up, p);
	fetch->uid = p->edge.uid;
	fetch->gid = p->edge.gid;
	if (!ret)
		ret = proc_start(fetch);
	return ret ? err_at(e, ret, "fetch process", "%s", strerror(-ret)) : 0;
}

void trust_stop(struct parent *p)
{
	proc_stop(&p->trust.fetch);
	proc_fini(&p->trust.fetch);
	free(p->trust.policy);
}
