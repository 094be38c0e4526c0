// SPDX-License-Identifier: Apache-2.0
/*
 * The WireGuard key's rotation (docs/overlay.md). Where it is, is in the key files beside each other, so that a process
 * that is killed goes on with it:
 *   KEY                 nothing
 *   KEY, KEY.next       OUT: traffic leaves the first device
 *   KEY.old, KEY.next   between two names: the next key becomes KEY
 *   KEY, KEY.old        BACK: the first device has KEY, the second still KEY.old
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"
#include "base/text.h"
#include "parent.h"

#define QUIET_S      3  /* a device that nobody uses any more: others look once a second */
#define IDLE_S       60 /* patience with nodes that have no session */
#define RETRY_S      60
#define KEY_FILE_LEN BASE64_LEN(OV_KEY_LEN) /* with the line's end in place of the string's */

static const char *beside(const struct parent *p, const char *what, char path[static PATH_MAX])
{
	snprintf(path, PATH_MAX, "%.*s.%s", PATH_MAX - 8, p->conf.wg_key, what);
	return path;
}

static int64_t changed_s(const char *path)
{
	struct stat st;

	return stat(path, &st) < 0 ? time(NULL) : st.st_ctim.tv_sec;
}

/* What was renamed or removed is so after a power cut, too. */
static int sync_names(const struct parent *p, struct err *e)
{
	char dir[PATH_MAX];
	auto_fd int fd = -1;

	snprintf(dir, sizeof(dir), "%s", p->conf.wg_key);
	*strrchr(dir, '/') = '\0';
	fd = open(dir[0] ? dir : "/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 || fsync(fd) < 0 ? err_at(e, -errno, dir, "%s", strerror(errno)) : 0;
}

static int give_name(const struct parent *p, const char *from, const char *to, struct err *e)
{
	if (rename(from, to) < 0)
		return err_at(e, -errno, from, "can not become %s: %s", to, strerror(errno));
	return sync_names(p, e);
}

/* Its bytes first: a name alone would leave them on the disk. */
static int wipe(const struct parent *p, const char *path, struct err *e)
{
	static const char nothing[KEY_FILE_LEN];
	auto_fd int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		return errno == ENOENT ? 0 : err_at(e, -errno, path, "%s", strerror(errno));
	if (pwrite(fd, nothing, sizeof(nothing), 0) < 0 || fsync(fd) < 0 || unlink(path) < 0)
		return err_at(e, -errno, path, "can not be wiped: %s", strerror(errno));
	return sync_names(p, e);
}

static int keys_read(struct parent *p, const char *old, struct err *e)
{
	int ret = own_wg_key(p, e);

	if (!ret && ov_key_public(p->wg_private, p->wg_public) < 0)
		ret = err_at(e, -EINVAL, p->conf.wg_key, "is no usable WireGuard key");
	memcpy(p->rotate.second_private, p->wg_private, OV_KEY_LEN);
	if (!ret && old)
		ret = own_wg_read(old, p->rotate.second_private, e);
	if (!ret && ov_key_public(p->rotate.second_private, p->rotate.second_public) < 0)
		ret = err_at(e, -EINVAL, old, "is no usable WireGuard key");
	p->rotate.key_s = changed_s(p->conf.wg_key);
	return ret;
}

int rotate_load(struct parent *p, struct err *e)
{
	char next[PATH_MAX], old[PATH_MAX];
	bool has_key = access(p->conf.wg_key, F_OK) == 0, has_next, has_old;
	int ret = 0;

	has_next = access(beside(p, "next", next), F_OK) == 0;
	has_old = access(beside(p, "old", old), F_OK) == 0;
	if (!has_key && has_next && has_old) {
		ret = give_name(p, next, p->conf.wg_key, e);
		has_next = false;
	} else if (has_old && !has_key) {
		ret = err_at(e, -ENOENT, p->conf.wg_key, "is not there, and %s is: one of them is needed", old);
	} else if (has_old && has_next) {
		ret = wipe(p, next, e); /* nobody was ever told of it */
		has_next = false;
	}
	if (ret)
		return ret;
	p->rotate.phase = has_old ? DETOUR_BACK : has_next && has_key ? DETOUR_OUT : DETOUR_NONE;
	p->rotate.phase_s = changed_s(has_old ? old : next);
	return keys_read(p, has_old ? old : NULL, e);
}

void rotate_send(struct parent *p)
{
	struct msg_rotate m = { .phase = p->rotate.phase };

	memcpy(m.private_key, p->wg_private, sizeof(m.private_key));
	memcpy(m.second_key, p->rotate.second_private, sizeof(m.second_key));
	if (p->net.ipc)
		ipc_send(p->net.ipc, MSG_NET_ROTATE, &m, sizeof(m), -1);
	explicit_bzero(&m, sizeof(m));
}

/* To net first: it has the key before anybody calls it by that. */
static void enter(struct parent *p, enum detour_phase phase)
{
	p->rotate.phase = phase;
	p->rotate.phase_s = time(NULL);
	p->rotate.seen = (struct msg_detour){ 0 };
	rotate_send(p);
	knock_rekey(p);
	if (p->edge.ipc && p->has_self && vpc_has_addresses(p))
		plan_sign_self(p);
}

int rotate_begin(struct parent *p, struct err *e)
{
	uint8_t key[OV_KEY_LEN];
	char next[PATH_MAX];
	int ret;

	if (p->rotate.phase != DETOUR_NONE)
		return err_at(e, -EALREADY, "key", "is being rotated");
	if (!conf_has_next_port(&p->conf))
		return err_at(e, -EINVAL, "overlay",
			      "a rotation needs the port behind listen_port and those of "
			      "endpoints, and 65535 has none");
	if (!p->is_synced)
		return err_at(e, -EAGAIN, "key", "the overlay is not up yet");
	if (ov_key_generate(key) < 0)
		return err_at(e, -EIO, "key", "no randomness for a key");
	ret = ov_key_write(beside(p, "next", next), key, e);
	explicit_bzero(key, sizeof(key));
	if (!ret)
		ret = sync_names(p, e);
	if (ret)
		return ret;
	p->rotate.err = ERR_INIT;
	log_info("%s: rotation begins", p->conf.wg_key);
	enter(p, DETOUR_OUT);
	return 0;
}

/* The first device gets its new key, the second goes on with the old one. */
static int change_keys(struct parent *p, struct err *e)
{
	char next[PATH_MAX], old[PATH_MAX];
	int ret = give_name(p, p->conf.wg_key, beside(p, "old", old), e);

	if (!ret)
		ret = give_name(p, beside(p, "next", next), p->conf.wg_key, e);
	if (!ret)
		ret = keys_read(p, old, e);
	if (!ret)
		enter(p, DETOUR_BACK);
	return ret;
}

static int finish(struct parent *p, struct err *e)
{
	char old[PATH_MAX];
	int ret = wipe(p, beside(p, "old", old), e);

	if (ret)
		return ret;
	explicit_bzero(p->rotate.second_private, sizeof(p->rotate.second_private));
	memcpy(p->rotate.second_private, p->wg_private, OV_KEY_LEN);
	memcpy(p->rotate.second_public, p->wg_public, OV_KEY_LEN);
	p->rotate.done++;
	log_info("%s: rotation is done", p->conf.wg_key);
	enter(p, DETOUR_NONE);
	return 0;
}

/* Without a second device nobody can leave the first: the key stays what it is. */
static int give_up(struct parent *p, struct err *e)
{
	char next[PATH_MAX];
	int ret = wipe(p, beside(p, "next", next), e);

	if (ret)
		return ret;
	err_at(&p->rotate.err, -EIO, "second device", "%s", p->rotate.seen.trouble);
	log_err("key rotation is given up: second device: %s", p->rotate.seen.trouble);
	enter(p, DETOUR_NONE);
	return 0;
}

void rotate_seen(struct parent *p, const struct msg_detour *m)
{
	p->rotate.seen = *m;
	msg_terminate(p->rotate.seen.trouble);
}

/* Everybody is where he shall be, or had all the time that a record lives. */
static bool is_over(const struct parent *p, int64_t for_s, bool *is_forced)
{
	const struct msg_detour *m = &p->rotate.seen;

	*is_forced = for_s > p->conf.record_life_s;
	if (*is_forced)
		return true;
	return m->phase == p->rotate.phase && m->is_open && m->quiet_s >= QUIET_S && for_s >= QUIET_S && !m->waiting &&
	       (!m->idle || for_s >= IDLE_S);
}

static bool is_due(const struct parent *p, int64_t now)
{
	return p->conf.rotate_s && p->is_synced && now - p->rotate.key_s >= p->conf.rotate_s &&
	       (!p->rotate.err.code || now - p->rotate.phase_s >= RETRY_S);
}

static int step(struct parent *p, int64_t now, struct err *e)
{
	int64_t for_s = now - p->rotate.phase_s;
	bool is_forced;

	if (p->rotate.phase == DETOUR_NONE)
		return is_due(p, now) ? rotate_begin(p, e) : 0;
	if (p->rotate.phase == DETOUR_OUT && p->rotate.seen.trouble[0] && for_s >= QUIET_S)
		return give_up(p, e);
	if (!is_over(p, for_s, &is_forced))
		return 0;
	if (is_forced) {
		p->rotate.forced++;
		log_warn("key rotation goes on without %u nodes", p->rotate.seen.waiting + p->rotate.seen.idle);
	}
	return p->rotate.phase == DETOUR_OUT ? change_keys(p, e) : finish(p, e);
}

void rotate_tick(struct parent *p)
{
	int64_t now = time(NULL);
	struct err e = ERR_INIT;
	char text[600];

	if (step(p, now, &e) >= 0)
		return;
	if (strcmp(e.msg, p->rotate.err.msg) != 0)
		log_err("key rotation: %s", err_text(&e, text, sizeof(text)));
	p->rotate.err = e;
	p->rotate.phase_s = p->rotate.phase == DETOUR_NONE ? now : p->rotate.phase_s;
}

/* --- for people --- */

json_t *rotate_json(const struct parent *p, int64_t now)
{
	static const char *const phase[DETOUR_PHASES] = { "", "leaving", "returning" };
	json_t *o = json_pack("{s:I, s:I, s:I, s:s, s:I, s:s}", "age_s", (json_int_t)(now - p->rotate.key_s), "rotated",
			      (json_int_t)p->rotate.done, "forced", (json_int_t)p->rotate.forced, "phase",
			      phase[p->rotate.phase], "waiting",
			      (json_int_t)(p->rotate.seen.waiting + p->rotate.seen.idle), "trouble", p->rotate.err.msg);

	if (p->conf.rotate_s)
		json_object_set_new(o, "next_s", json_integer(p->rotate.key_s + p->conf.rotate_s - now));
	if (p->rotate.phase != DETOUR_NONE)
		json_object_set_new(o, "phase_s", json_integer(now - p->rotate.phase_s));
	return o;
}

void report_on_rotate(struct evhttp_request *req, void *arg)
{
	struct parent *p = arg;
	struct err e = ERR_INIT;
	char text[600];

	if (rotate_begin(p, &e) < 0)
		ctl_reply_json(req, e.code == -EALREADY || e.code == -EAGAIN ? 409 : 500,
			       json_pack("{s:s}", "error", err_text(&e, text, sizeof(text))));
	else
		ctl_reply_json(req, 200, json_pack("{s:s}", "phase", "leaving"));
}
