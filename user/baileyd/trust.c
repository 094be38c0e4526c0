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

#define AGAIN_S     86400 /* a platform whose collateral was fetched is not asked for again before */
#define BACKOFF_S   60
#define BACKOFF_MAX 3600

void trust_init(struct trust *t, const struct trust_conf *conf)
{
	*t = (struct trust){ .conf = *conf };
	t->fetch.pid = -1;
}

int trust_read(struct trust *t, struct err *e)
{
	auto_free struct id_evidence_policy *made = malloc(sizeof(*made));

	if (!t->conf.evidence_policy[0])
		return 0;
	if (!made)
		return err_at(e, -ENOMEM, t->conf.evidence_policy, "out of memory");
	if (evp_load(t->conf.evidence_policy, made, e) < 0)
		return e->code;
	free(t->policy);
	t->policy = take_ptr(made);
	return 0;
}

/* --- bundles that are there --- */

void trust_send_bundle(struct ipc *to, const char *origin, const char *text, size_t len)
{
	struct msg_origin m = { 0 };

	snprintf(m.origin, sizeof(m.origin), "%.*s", (int)sizeof(m.origin) - 1, origin);
	if (to)
		ipc_send_blob(to, MSG_EDGE_COLLATERAL, &m, sizeof(m), text, len);
}

static void send_file(struct trust *t, struct ipc *to, const char *dir, const char *name)
{
	auto_free char *text = NULL;
	struct err e = ERR_INIT;
	char path[PATH_MAX];
	size_t len;

	if (snprintf(path, sizeof(path), "%s/%s", dir, name) >= (int)sizeof(path))
		return;
	if (file_read(path, ID_BUNDLE_MAX, &text, &len, &e) < 0)
		t->conf.refused(path, &e, t->conf.arg);
	else
		trust_send_bundle(to, path, text, len);
}

static void send_folder(struct trust *t, struct ipc *to, const char *dir, bool may_lack)
{
	struct file_found found = { 0 };
	struct err e = ERR_INIT;

	if (file_get(NULL, dir, ID_BUNDLE_MAX, &found, &e) < 0) {
		if (!may_lack || e.code != -ENOENT)
			t->conf.refused(dir, &e, t->conf.arg);
		return;
	}
	for (size_t i = 0; i < found.n; i++) {
		const char *end = strrchr(found.name[i], '.');

		if (end && end != found.name[i] &&
		    (strcmp(end, ".json") == 0 || strcmp(end, ".pem") == 0 || strcmp(end, ".der") == 0))
			send_file(t, to, dir, found.name[i]);
	}
	file_found_fini(&found);
}

static void kept_dir(const struct trust *t, char path[PATH_MAX])
{
	snprintf(path, PATH_MAX, "%.*s/collateral", PATH_MAX - 16, t->conf.state);
}

void trust_send(struct trust *t, struct ipc *to)
{
	char path[PATH_MAX];

	if (t->policy)
		ipc_send_blob(to, MSG_EDGE_POLICY, NULL, 0, t->policy, sizeof(*t->policy));
	if (t->conf.collateral[0])
		send_folder(t, to, t->conf.collateral, false);
	if (!t->conf.state[0])
		return;
	kept_dir(t, path);
	send_folder(t, to, path, true);
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

void trust_wants(struct trust *t, const struct id_missed *m)
{
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
	snprintf(ask.url, sizeof(ask.url), "%s", t->conf.url);
	snprintf(ask.root_crl, sizeof(ask.root_crl), "%s", t->conf.root_crl);
	snprintf(ask.ca_file, sizeof(ask.ca_file), "%s", t->conf.ca);
	ipc_send(t->fetch.ipc, MSG_FETCH_ASK, &ask, sizeof(ask), -1);
}

static void fetch_failed(struct trust *t, const struct msg_fetched *m)
{
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
static void fetch_done(struct trust *t, const struct msg_fetched *m, const char *bundle, size_t len)
{
	char fmspc[2 * ID_FMSPC_LEN + 1], dir[PATH_MAX], path[PATH_MAX];
	size_t i = place_of(t, &m->platform);
	struct err e = ERR_INIT;

	t->fetched++;
	t->last = ERR_INIT;
	t->asked[i].failures = 0;
	t->asked[i].is_open = false;
	hex_print(fmspc, m->platform.fmspc, ID_FMSPC_LEN);
	kept_dir(t, dir);
	snprintf(path, sizeof(path), "%.*s/%s.json", PATH_MAX - 20, dir, fmspc);
	if (t->conf.state[0] && (dir_make(dir, 0700, &e) < 0 || file_write(path, bundle, len, 0600, &e) < 0))
		log_err("%s: %s", e.where, e.msg);
	t->conf.fetched(path, bundle, len, t->conf.arg);
}

static void on_fetch_message(struct ipc_msg *msg, void *arg)
{
	const struct msg_fetched *m = ipc_as(msg, sizeof(*m));
	auto_free uint8_t *bundle = NULL;
	struct trust *t = arg;
	size_t len;

	if (msg->type != MSG_FETCH_GOT || !m)
		log_err("fetch: message of unknown type %u", msg->type);
	else if (m->code)
		fetch_failed(t, m);
	else if (ipc_blob_read(msg->fd, ID_BUNDLE_MAX, &bundle, &len) == 0)
		fetch_done(t, m, (const char *)bundle, len);
}

void trust_retry(struct trust *t)
{
	for (size_t i = 0; i < t->n_asked; i++)
		t->asked[i].next_s = 0;
}

/* What the one before has not answered is asked again. */
static void on_fetch_up(void *arg)
{
	struct trust *t = arg;

	for (size_t i = 0; i < t->n_asked; i++) {
		if (!t->asked[i].is_open)
			continue;
		t->asked[i].next_s = 0;
		trust_wants(t, &t->asked[i].platform);
	}
}

int trust_start(struct trust *t, struct event_base *base, uid_t uid, gid_t gid, struct err *e)
{
	struct proc *fetch = &t->fetch;
	int ret;

	if (!t->conf.url[0])
		return 0;
	ret = proc_init(fetch, base, "fetch", on_fetch_message, on_fetch_up, t);
	fetch->uid = uid;
	fetch->gid = gid;
	if (!ret)
		ret = proc_start(fetch);
	return ret ? err_at(e, ret, "fetch process", "%s", strerror(-ret)) : 0;
}

void trust_stop(struct trust *t)
{
	proc_stop(&t->fetch);
	proc_fini(&t->fetch);
	free(t->policy);
}
